#include "scheduler/core/ranking.h"
#include "common/hash.h"
#include "tests/lib/test.h"

static const struct ranking_need small = { 1, 0 };

TEST(ranking, the_least_come_first_and_equal_ones_by_number)
{
    struct ranking ranking = { 0 };
    uint32_t least[3];
    uint64_t steps = 0;
    CHECK_EQ(ranking_reserve(&ranking, 8), 0);
    const uint64_t keys[8] = { 7, 5, 5, 9, 3, 5, 8, 5 };
    for (uint32_t node = 0; node < 8; node++) {
        ranking_set(&ranking, node, keys[node], small);
    }
    CHECK_EQ(ranking_least(&ranking, small, 3, least, &steps), 3);
    CHECK_EQ(least[0], 4);
    CHECK_EQ(least[1], 1);
    CHECK_EQ(least[2], 2);
    ranking_fini(&ranking);
}

TEST(ranking, an_empty_one_and_a_removed_node_give_nobody)
{
    struct ranking ranking = { 0 };
    uint32_t least[1];
    uint64_t steps = 0;
    CHECK_EQ(ranking_least(&ranking, small, 1, least, &steps), 0);
    CHECK_EQ(ranking_key(&ranking, 5), UINT64_MAX);
    CHECK_EQ(ranking_reserve(&ranking, 1), 0);
    ranking_set(&ranking, 0, 1, small);
    CHECK_EQ(ranking_least(&ranking, small, 1, least, &steps), 1);
    ranking_remove(&ranking, 0);
    CHECK_EQ(ranking_least(&ranking, small, 1, least, &steps), 0);
    ranking_fini(&ranking);
}

static bool comes_before(const uint64_t *keys, uint32_t a, uint32_t b)
{
    return keys[a] != keys[b] ? keys[a] < keys[b] : a < b;
}

TEST(ranking, agrees_with_a_search_of_everything_through_many_changes)
{
    enum { NODES = 100, COUNT = 4, ROUNDS = 20000 };
    struct ranking ranking = { 0 };
    uint64_t keys[NODES], random = 1, steps = 0;
    struct ranking_need rooms[NODES];
    for (uint32_t node = 0; node < NODES; node++) {
        keys[node] = UINT64_MAX;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        random = hash_mix(random, round);
        uint32_t node = (uint32_t)(random % NODES);
        CHECK_EQ(ranking_reserve(&ranking, node + 1), 0);
        if ((random >> 20) % 5 == 0) {
            ranking_remove(&ranking, node);
            keys[node] = UINT64_MAX;
        } else if (keys[node] != UINT64_MAX && (random >> 60 & 1) != 0) {
            keys[node] = (random >> 24) % 30;
            ranking_move(&ranking, node, keys[node]);
        } else {
            keys[node] = (random >> 24) % 30;
            rooms[node] = (struct ranking_need){ (random >> 32) % 4, (random >> 40) % 4 };
            ranking_set(&ranking, node, keys[node], rooms[node]);
        }
        struct ranking_need need = { (random >> 48) % 4, (random >> 52) % 4 };
        uint32_t found[COUNT], count = ranking_least(&ranking, need, COUNT, found, &steps), fitting = 0;
        for (uint32_t other = 0; other < NODES; other++) {
            bool fits = keys[other] != UINT64_MAX && rooms[other].cpus >= need.cpus &&
                        rooms[other].memory_kib >= need.memory_kib;
            if (!fits) {
                continue;
            }
            fitting++;
            bool is_listed = false;
            for (uint32_t i = 0; i < count; i++) {
                is_listed = is_listed || found[i] == other;
            }
            CHECK(is_listed || (count == COUNT && comes_before(keys, found[COUNT - 1], other)));
        }
        CHECK_EQ(count, fitting < COUNT ? fitting : COUNT);
        CHECK_EQ(ranking_has(&ranking, need, &steps), fitting > 0);
        for (uint32_t i = 1; i < count; i++) {
            CHECK(comes_before(keys, found[i - 1], found[i]));
        }
    }
    ranking_fini(&ranking);
}

TEST(ranking, among_ten_thousand_equal_nodes_looks_at_a_few_dozen_cells)
{
    enum { NODES = 10000 };
    struct ranking ranking = { 0 };
    uint32_t least[4];
    uint64_t steps = 0;
    CHECK_EQ(ranking_reserve(&ranking, NODES), 0);
    for (uint32_t node = 0; node < NODES; node++) {
        ranking_set(&ranking, node, 5, small);
    }
    CHECK_EQ(ranking_least(&ranking, small, 4, least, &steps), 4);
    CHECK(steps < 64);
    ranking_fini(&ranking);
}
