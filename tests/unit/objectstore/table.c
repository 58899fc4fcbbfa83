#include "objectstore/table.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

static struct object_id id_number(uint64_t number) { return object_id_from(hash128(&number, sizeof number, 5)); }

static struct table table_new(uint32_t capacity)
{
    struct table table;
    void *memory;
    CHECK_EQ(posix_memalign(&memory, 4096, table_bytes(capacity)), 0);
    memset(memory, 0, table_bytes(capacity));
    table_format(&table, memory, capacity);
    return table;
}

/* Every field says the same number, so that a mixture shows. */
static struct table_entry entry_of(uint64_t id_seed, uint32_t content)
{
    return (struct table_entry){ .id = id_number(id_seed),
                                 .offset = (uint64_t)content * 64,
                                 .size = content,
                                 .columns = content,
                                 .refs = content,
                                 .version = content,
                                 .segment = (uint16_t)content,
                                 .state = TABLE_SEALED,
                                 .format = (uint8_t)(content % 8) };
}

static bool is_whole(const struct table_entry *entry)
{
    uint32_t content = (uint32_t)entry->size;
    return entry->offset == entry->size * 64 && entry->columns == content && entry->refs == content &&
           entry->version == content && entry->segment == (uint16_t)content && entry->format == content % 8;
}

TEST(table, an_entry_reads_as_it_was_written)
{
    struct table table = table_new(1024), reader;
    uint32_t index, found;
    struct table_entry entry = entry_of(1, 77), copy;
    CHECK_EQ(table_attach(&reader, table.header, table_bytes(1024)), 0);
    CHECK_EQ(table_look_up(&reader, entry.id, &found, &copy), TABLE_ABSENT);
    CHECK_EQ(table_insert(&table, &entry, &index), 0);
    CHECK_EQ(table_look_up(&reader, entry.id, &found, &copy), TABLE_FOUND);
    CHECK_EQ(found, index);
    CHECK(is_whole(&copy));
    CHECK_EQ(copy.state, TABLE_SEALED);
    CHECK_EQ(copy.generation % 2, 0);
    free(table.header);
}

TEST(table, each_change_moves_the_generation_on_and_retiring_tells_the_old_one)
{
    struct table table = table_new(16);
    struct table_entry entry = entry_of(1, 5), copy;
    uint32_t index;
    entry.state = TABLE_CREATING;
    CHECK_EQ(table_insert(&table, &entry, &index), 0);
    uint64_t created = table_peek(&table, index).generation;
    entry.state = TABLE_SEALED;
    CHECK_EQ(table_update(&table, index, &entry), created);
    uint64_t sealed = table_peek(&table, index).generation;
    CHECK(sealed > created);
    CHECK_EQ(table_retire(&table, index), sealed);
    CHECK(!table_is_current(&table, index, sealed));
    CHECK_EQ(table_read(&table, index, &copy), TABLE_FOUND);
    CHECK_EQ(copy.state, TABLE_FREED);
    table_remove(&table, index);
    CHECK_EQ(table_read(&table, index, &copy), TABLE_ABSENT);
    uint64_t before = copy.generation;
    CHECK_EQ(table_insert(&table, &entry, &index), 0);
    CHECK(table_peek(&table, index).generation > before);
    free(table.header);
}

TEST(table, is_full_at_four_fifths_and_says_so)
{
    struct table table = table_new(1024);
    uint32_t index;
    uint64_t number = 0;
    struct table_entry entry = entry_of(number, 1);
    while (table_insert(&table, &entry, &index) == 0) {
        entry = entry_of(++number, 1);
    }
    CHECK_EQ(number, 1024 / 5 * 4);
    CHECK_EQ(table_insert(&table, &entry, &index), ROOST_EFULL);
    CHECK(strstr(error_text(), "816") != NULL && strstr(error_text(), "1024") != NULL);
    entry = entry_of(3, 1);
    CHECK_EQ(table_find(&table, entry.id, &index), TABLE_FOUND);
    table_remove(&table, index);
    CHECK_EQ(table_insert(&table, &entry, &index), 0);
    table_remove(&table, index);
    entry = entry_of(5, 1);
    CHECK_EQ(table_insert(&table, &entry, &index), ROOST_EEXIST);
    free(table.header);
}

TEST(table, agrees_with_an_array_through_churn_at_its_limit)
{
    enum { CAPACITY = 2048, NUMBERS = 3000, STEPS = 300000 };
    static uint32_t content[NUMBERS]; /* 0: absent */
    struct table table = table_new(CAPACITY);
    uint64_t random = 1;
    uint32_t count = 0, index, refused = 0;
    for (uint32_t step = 1; step <= STEPS; step++) {
        random = hash_mix(random, step);
        uint32_t number = (uint32_t)(random % NUMBERS);
        struct table_entry entry = entry_of(number, step), copy;
        enum table_answer answer = table_look_up(&table, entry.id, &index, &copy);
        CHECK_EQ(answer, content[number] != 0 ? TABLE_FOUND : TABLE_ABSENT);
        if (answer == TABLE_ABSENT) {
            int status = table_insert(&table, &entry, &index);
            CHECK_EQ(status, count == CAPACITY / 5 * 4 ? ROOST_EFULL : 0);
            refused += status != 0;
            content[number] = status == 0 ? step : 0;
            count += status == 0;
            continue;
        }
        CHECK_EQ(copy.size, content[number]);
        CHECK(is_whole(&copy));
        if (random >> 40 & 1) {
            table_update(&table, index, &entry);
            content[number] = step;
        } else {
            table_retire(&table, index);
            table_remove(&table, index);
            content[number] = 0;
            count--;
        }
    }
    CHECK_EQ(atomic_load(&table.header->count), count);
    CHECK(refused > 100);
    for (uint32_t number = 0; number < NUMBERS; number++) {
        if (content[number] != 0) {
            CHECK_EQ(table_find(&table, id_number(number), &index), TABLE_FOUND);
            table_remove(&table, index);
        }
    }
    for (uint32_t i = 0; i < CAPACITY; i++) { /* nothing is left behind, whatever came and went */
        CHECK_EQ(atomic_load(&table.slots[i].passed), 0);
    }
    free(table.header);
}

TEST(table, absent_names_stay_cheap_to_look_for_after_long_churn)
{
    enum { CAPACITY = 1 << 14, LIVE = CAPACITY / 5 * 4 - 1 };
    struct table table = table_new(CAPACITY);
    static uint64_t live[LIVE];
    uint64_t random = 1, number = 0, walked = 0;
    uint32_t index;
    for (uint32_t i = 0; i < LIVE; i++) {
        struct table_entry entry = entry_of(live[i] = number++, 1);
        CHECK_EQ(table_insert(&table, &entry, &index), 0);
    }
    for (uint32_t step = 0; step < 30 * LIVE; step++) {
        random = hash_mix(random, step);
        uint64_t *victim = &live[random % LIVE];
        CHECK_EQ(table_find(&table, id_number(*victim), &index), TABLE_FOUND);
        table_remove(&table, index);
        struct table_entry entry = entry_of(*victim = number++, 1);
        CHECK_EQ(table_insert(&table, &entry, &index), 0);
    }
    for (uint32_t i = 0; i < CAPACITY; i++) { /* a search that starts at slot i ends at the first that nobody passed */
        for (uint32_t at = i; atomic_load(&table.slots[at % CAPACITY].passed) != 0; at++) {
            walked++;
        }
    }
    printf("mean walk for an absent name after churn at 80 %%: %.1f slots\n", (double)walked / CAPACITY + 1);
    CHECK(walked / CAPACITY < 400); /* with tombstones: all of them */
    free(table.header);
}

TEST(table, foreign_memory_is_refused)
{
    struct table table = table_new(1024), reader;
    uint32_t index;
    struct table_entry copy;
    CHECK_EQ(table_attach(&reader, table.header, 100), ROOST_EINVAL);
    CHECK_EQ(table_attach(&reader, table.header, table_bytes(1024) - 1), ROOST_EINVAL);
    table.header->capacity = 1000;
    CHECK_EQ(table_attach(&reader, table.header, table_bytes(1024)), ROOST_EINVAL);
    table.header->capacity = 1024;
    table.header->layout++;
    CHECK_EQ(table_attach(&reader, table.header, table_bytes(1024)), ROOST_EVERSION);
    table.header->layout--;
    table.header->magic = 0;
    CHECK_EQ(table_attach(&reader, table.header, table_bytes(1024)), ROOST_EINVAL);
    CHECK_EQ(table_read(&table, 1024, &copy), TABLE_ABSENT);
    CHECK_EQ(table_find(&table, (struct object_id){ 0, 0 }, &index), TABLE_ABSENT);
    /* counts that a damaged table claims do not make a search endless */
    for (uint32_t i = 0; i < 1024; i++) {
        atomic_store(&table.slots[i].passed, 1);
    }
    CHECK_EQ(table_find(&table, id_number(1), &index), TABLE_ABSENT);
    /* nor does a writer that died in the middle */
    atomic_store(&table.slots[3].generation, 7);
    CHECK_EQ(table_read(&table, 3, &copy), TABLE_BUSY);
    free(table.header);
}

TEST(table, a_trailer_that_no_object_can_have_is_seen)
{
    uint64_t begin, end;
    struct table_entry entry = { .offset = 64, .size = 13, .columns = 2, .refs = 1 };
    CHECK(table_trailer(&entry, &begin, &end));
    CHECK_EQ(begin, 80);
    CHECK_EQ(end, 80 + 16 + 32);
    entry.size = UINT64_MAX - 3;
    CHECK(!table_trailer(&entry, &begin, &end));
    entry = (struct table_entry){ .offset = UINT64_MAX - 3, .size = 1 };
    CHECK(!table_trailer(&entry, &begin, &end));
}

/* One writer changes, removes and enters again; readers must see whole entries, and must never miss those that stay. */
enum { RACE_STABLE = 400, RACE_MOVING = 400, RACE_ROUNDS = 60000 };

struct race {
    struct table table;
    atomic_bool is_over;
    atomic_ullong found, torn, missed;
};

static void *race_reader(void *argument)
{
    struct race *race = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random;
    while (!atomic_load(&race->is_over)) {
        random = hash_mix(random, 1);
        uint64_t number = random % (RACE_STABLE + RACE_MOVING);
        struct table_entry copy;
        uint32_t index;
        enum table_answer answer = table_look_up(&race->table, id_number(number), &index, &copy);
        if (answer == TABLE_FOUND) {
            atomic_fetch_add_explicit(&race->found, 1, memory_order_relaxed);
            if (!is_whole(&copy)) {
                atomic_fetch_add(&race->torn, 1);
            }
        } else if (number < RACE_STABLE && answer == TABLE_ABSENT) {
            atomic_fetch_add(&race->missed, 1);
        }
    }
    return NULL;
}

TEST(table, readers_see_whole_entries_and_never_miss_one_that_stays)
{
    static struct race race;
    race.table = table_new(1024);
    uint32_t index;
    bool present[RACE_MOVING] = { false };
    for (uint64_t number = 0; number < RACE_STABLE; number++) {
        struct table_entry entry = entry_of(number, 1);
        CHECK_EQ(table_insert(&race.table, &entry, &index), 0);
    }
    pthread_t readers[2];
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&readers[i], NULL, race_reader, &race), 0);
    }
    uint64_t random = 5;
    for (uint32_t round = 0; round < RACE_ROUNDS || atomic_load(&race.found) < 1000; round++) {
        random = hash_mix(random, round);
        uint64_t moving = random % RACE_MOVING, stable = (random >> 20) % RACE_STABLE;
        struct table_entry entry = entry_of(stable, round);
        CHECK_EQ(table_find(&race.table, entry.id, &index), TABLE_FOUND);
        table_update(&race.table, index, &entry);
        entry = entry_of(RACE_STABLE + moving, round);
        if (present[moving]) {
            CHECK_EQ(table_find(&race.table, entry.id, &index), TABLE_FOUND);
            table_remove(&race.table, index);
        } else {
            CHECK_EQ(table_insert(&race.table, &entry, &index), 0);
        }
        present[moving] = !present[moving];
    }
    atomic_store(&race.is_over, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(readers[i], NULL);
    }
    CHECK_EQ(race.torn, 0);
    CHECK_EQ(race.missed, 0);
    free(race.table.header);
}
