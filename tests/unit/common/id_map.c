#include "common/id_map.h"
#include "common/hash.h"
#include "tests/lib/test.h"

static struct id_key key_of(uint64_t number) { return hash128(&number, sizeof number, 0); }

TEST(id_map, gives_back_what_was_put_and_nothing_else)
{
    struct id_map map = { 0 };
    int values[2];
    CHECK(id_map_get(&map, key_of(1)) == NULL);
    CHECK_EQ(id_map_put(&map, key_of(1), &values[0]), 0);
    CHECK_EQ(id_map_put(&map, key_of(2), &values[1]), 0);
    CHECK(id_map_get(&map, key_of(1)) == &values[0]);
    CHECK(id_map_get(&map, key_of(2)) == &values[1]);
    CHECK(id_map_get(&map, key_of(3)) == NULL);
    id_map_fini(&map);
}

TEST(id_map, agrees_with_an_array_through_many_puts_and_removals)
{
    enum { NUMBERS = 5000, STEPS = 200000 };
    static bool present[NUMBERS];
    static int values[NUMBERS];
    struct id_map map = { 0 };
    uint64_t random = 42;
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        random = hash_mix(random, (uint64_t)step);
        size_t number = random % NUMBERS;
        CHECK(id_map_get(&map, key_of(number)) == (present[number] ? &values[number] : NULL));
        if (present[number]) {
            CHECK(id_map_remove(&map, key_of(number)) == &values[number]);
            count--;
        } else {
            CHECK_EQ(id_map_put(&map, key_of(number), &values[number]), 0);
            count++;
        }
        present[number] = !present[number];
        CHECK_EQ(map.count, count);
    }
    for (size_t number = 0; number < NUMBERS; number++) {
        CHECK(id_map_get(&map, key_of(number)) == (present[number] ? &values[number] : NULL));
    }
    id_map_fini(&map);
}

TEST(id_map, a_place_is_found_or_made_in_one_search)
{
    struct id_map map = { 0 };
    int value;
    void **at = id_map_at(&map, key_of(1));
    CHECK(at != NULL && *at == NULL);
    *at = &value;
    CHECK_EQ(map.count, 1);
    CHECK(id_map_at(&map, key_of(1)) == at);
    CHECK(id_map_get(&map, key_of(1)) == &value);
    at = id_map_at(&map, key_of(2));
    CHECK(at != NULL && *at == NULL);
    CHECK(id_map_remove(&map, key_of(2)) == NULL); /* nothing came of it */
    CHECK_EQ(map.count, 1);
    CHECK(id_map_get(&map, key_of(1)) == &value);
    id_map_fini(&map);
}

TEST(id_map, removing_what_is_absent_changes_nothing)
{
    struct id_map map = { 0 };
    int value;
    CHECK(id_map_remove(&map, key_of(1)) == NULL);
    CHECK_EQ(id_map_put(&map, key_of(1), &value), 0);
    CHECK(id_map_remove(&map, key_of(2)) == NULL);
    CHECK_EQ(map.count, 1);
    id_map_fini(&map);
}
