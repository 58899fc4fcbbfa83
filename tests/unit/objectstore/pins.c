#include "objectstore/pins.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/lib/test.h"

#include <sched.h>
#include <string.h>

/* The agent's side of asking for a page: memory of its own that it can look through. */
struct asker {
    struct pins_page *pages[PINS_PAGES_MAX];
    uint32_t count;
    int status;
};

static void *zeroed(size_t bytes)
{
    void *memory;
    CHECK_EQ(posix_memalign(&memory, 4096, bytes), 0);
    memset(memory, 0, bytes);
    return memory;
}

static int ask(void *context, uint32_t page, struct pins_page **page_out)
{
    struct asker *asker = context;
    CHECK_EQ(page, asker->count);
    if (asker->status != 0) {
        return asker->status;
    }
    *page_out = asker->pages[asker->count++] = zeroed(pins_page_bytes(page));
    return 0;
}

static struct asker asker;
static struct pins pins;
static struct table table;

static void setup(uint32_t entries)
{
    table_format(&table, zeroed(table_bytes(1024)), 1024);
    for (uint64_t number = 1; number <= entries; number++) {
        uint32_t index;
        struct table_entry entry = { .id = object_id_from(hash128(&number, 8, 0)), .state = TABLE_SEALED };
        CHECK_EQ(table_insert(&table, &entry, &index), 0);
    }
    CHECK_EQ(pins_init(&pins, ask, &asker), 0);
}

static void teardown(void)
{
    pins_fini(&pins);
    for (uint32_t page = 0; page < asker.count; page++) {
        free(asker.pages[page]);
    }
    free(table.header);
}

static uint32_t index_of(uint64_t number)
{
    uint32_t index = 0;
    CHECK_EQ(table_find(&table, object_id_from(hash128(&number, 8, 0)), &index), TABLE_FOUND);
    return index;
}

/* How many pins there are, and whether this one is among them. */
static bool scan_finds(uint64_t name, uint32_t *pins_out)
{
    struct pins_set set;
    CHECK_EQ(pins_set_init(&set, 1), 0);
    pins_set_add(&set, name);
    *pins_out = 0;
    for (uint32_t page = 0; page < asker.count; page++) {
        *pins_out += pins_set_scan(&set, asker.pages[page], page);
    }
    bool found = pins_set_is_pinned(&set, name);
    pins_set_fini(&set);
    return found;
}

TEST(pins, a_pin_is_found_by_a_scan_until_it_is_released)
{
    struct pins_thread *thread;
    uint64_t pin;
    uint32_t count;
    setup(3);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    uint32_t index = index_of(2);
    uint64_t generation = table_peek(&table, index).generation;
    CHECK_EQ(pins_pin(thread, &table, index, generation, &pin), 0);
    CHECK(pin != 0);
    CHECK_EQ(table_retire(&table, index), generation);
    CHECK(scan_finds(pins_name(index, generation), &count));
    CHECK_EQ(count, 1);
    CHECK(!scan_finds(pins_name(index, generation + 2), &count)); /* another life of the entry */
    CHECK(!scan_finds(pins_name(index_of(1), generation), &count));
    pins_unpin(&pins, thread, pin);
    CHECK(!scan_finds(pins_name(index, generation), &count));
    CHECK_EQ(count, 0);
    teardown();
}

TEST(pins, a_pin_that_is_released_again_ends_no_other_one)
{
    struct pins_thread *thread;
    uint64_t first, second;
    uint32_t count;
    setup(1);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    uint32_t index = index_of(1);
    uint64_t generation = table_peek(&table, index).generation;
    CHECK_EQ(pins_pin(thread, &table, index, generation, &first), 0);
    CHECK(pins_unpin(&pins, thread, first));
    CHECK(!pins_unpin(&pins, thread, first));
    CHECK_EQ(pins_pin(thread, &table, index, generation, &second), 0);
    CHECK_EQ((uint32_t)second, (uint32_t)first); /* the same slot */
    CHECK(!pins_unpin(&pins, thread, first));
    CHECK(!pins_unpin(&pins, NULL, first));
    CHECK(scan_finds(pins_name(index, generation), &count));
    CHECK(pins_unpin(&pins, thread, second));
    CHECK(!scan_finds(pins_name(index, generation), &count));
    static const uint64_t made_up[] = { 0, 5, 1u << 19, UINT32_MAX, UINT64_MAX >> 2, UINT64_C(1) << 32 };
    for (size_t i = 0; i < ROOST_COUNT_OF(made_up); i++) {
        CHECK(!pins_unpin(&pins, thread, made_up[i]));
    }
    teardown();
}

TEST(pins, a_pin_on_what_changed_is_stale_and_leaves_nothing)
{
    struct pins_thread *thread;
    uint64_t pin = 77;
    uint32_t count, index;
    setup(1);
    index = index_of(1);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    uint64_t generation = table_retire(&table, index);
    CHECK_EQ(pins_pin(thread, &table, index, generation, &pin), PINS_STALE);
    CHECK_EQ(pin, 77);
    CHECK(!scan_finds(pins_name(index, generation), &count));
    CHECK_EQ(count, 0);
    teardown();
}

TEST(pins, ten_thousand_views_take_pages_that_grow)
{
    enum { VIEWS = 10000 };
    static uint64_t held[VIEWS];
    struct pins_thread *thread;
    uint32_t count, index;
    setup(1);
    index = index_of(1);
    uint64_t generation = table_peek(&table, index).generation;
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    for (int i = 0; i < VIEWS; i++) {
        CHECK_EQ(pins_pin(thread, &table, index, generation, &held[i]), 0);
    }
    CHECK_EQ(asker.count, 4);
    scan_finds(pins_name(index, generation), &count);
    CHECK_EQ(count, VIEWS);
    for (int i = 0; i < VIEWS; i++) {
        pins_unpin(&pins, thread, held[i]);
    }
    scan_finds(pins_name(index, generation), &count);
    CHECK_EQ(count, 0);
    CHECK(thread->free_count <= 2 * PINS_KEEP + 1); /* the rest is everybody's */
    for (int i = 0; i < VIEWS; i++) {
        CHECK_EQ(pins_pin(thread, &table, index, generation, &held[i]), 0);
    }
    CHECK_EQ(asker.count, 4); /* and is used again */
    teardown();
}

TEST(pins, the_limit_is_an_error_with_words_and_a_refusal_is_passed_on)
{
    struct pins_thread *thread;
    uint64_t pin;
    uint32_t index, held = 0;
    int status;
    setup(1);
    index = index_of(1);
    uint64_t generation = table_peek(&table, index).generation;
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    asker.status = ROOST_EDISCONNECTED;
    CHECK_EQ(pins_pin(thread, &table, index, generation, &pin), ROOST_EDISCONNECTED);
    asker.status = 0;
    while ((status = pins_pin(thread, &table, index, generation, &pin)) == 0) {
        held++;
    }
    CHECK_EQ(status, ROOST_ELIMIT);
    CHECK(strstr(error_text(), "1048576") != NULL);
    CHECK_EQ(held, CLIENT_PINS_MAX);
    pins_unpin(&pins, thread, pin);
    CHECK_EQ(pins_pin(thread, &table, index, generation, &pin), 0);
    teardown();
}

TEST(pins, a_mark_beyond_the_page_and_wild_notes_do_no_harm)
{
    uint32_t indices[CLIENT_TOUCHED], count;
    struct pins_thread *thread;
    uint64_t pin;
    setup(1);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    uint32_t index = index_of(1);
    CHECK_EQ(pins_pin(thread, &table, index, table_peek(&table, index).generation, &pin), 0);
    atomic_store(&asker.pages[0]->high_water, UINT32_MAX);
    scan_finds(1, &count);
    CHECK_EQ(count, 1);
    pins_touch(thread, 5);
    pins_touch(thread, UINT32_MAX - 7);
    pins_touch(thread, 1024);
    CHECK_EQ(pins_touched_take(asker.pages[0], 1024, indices), 1);
    CHECK_EQ(indices[0], 5);
    CHECK_EQ(pins_touched_take(asker.pages[0], 1024, indices), 0);
    teardown();
}

TEST(pins, an_ended_threads_slots_serve_the_next_thread)
{
    struct pins_thread *first, *second;
    uint64_t pin, other;
    setup(1);
    uint32_t index = index_of(1);
    uint64_t generation = table_peek(&table, index).generation;
    CHECK_EQ(pins_thread_start(&pins, &first), 0);
    CHECK_EQ(pins_pin(first, &table, index, generation, &pin), 0);
    pins_thread_close(first);
    CHECK_EQ(pins_thread_start(&pins, &second), 0);
    CHECK(second == first);
    CHECK_EQ(pins_pin(second, &table, index, generation, &other), 0);
    CHECK(other != pin);
    pins_unpin(&pins, NULL, pin); /* by a thread without a record */
    for (int i = 0; i < 3 * PINS_BATCH; i++) {
        CHECK_EQ(pins_pin(second, &table, index, generation, &pin), 0);
    }
    pins_thread_close(NULL);
    teardown();
}

/* Threads pin, check and release, partly each other's pins, while the agent moves objects and uses their old bytes
 * again as soon as a scan allows it. The bytes of a pinned object say the generation that was pinned. */
enum { RACE_READERS = 2, RACE_OBJECTS = 8, RACE_PLACES = 3 * RACE_OBJECTS, RACE_MOVES = 30000 };

struct race {
    uint64_t places[RACE_PLACES][8]; /* plain memory: tsan sees a read that a pin did not protect */
    _Atomic uint64_t passed_on[RACE_READERS];
    atomic_bool is_over;
    atomic_ullong reads, corrupt;
};
static struct race race;

static void read_one(struct pins_thread *thread, uint64_t random, uint32_t me)
{
    uint32_t index = index_of(1 + random % RACE_OBJECTS);
    struct table_entry entry;
    uint64_t pin;
    if (table_read(&table, index, &entry) != TABLE_FOUND ||
        pins_pin(thread, &table, index, entry.generation, &pin) != 0) {
        return;
    }
    for (int i = 0; i < 8; i++) {
        if (race.places[entry.offset][i] != entry.size) {
            atomic_fetch_add(&race.corrupt, 1);
        }
    }
    atomic_fetch_add_explicit(&race.reads, 1, memory_order_relaxed);
    if (random >> 20 & 1) { /* let another thread release it */
        pin = atomic_exchange(&race.passed_on[(me + 1) % RACE_READERS], pin);
    }
    if (pin != 0) {
        pins_unpin(&pins, thread, pin);
    }
}

static void *race_reader(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;
    struct pins_thread *thread;
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    uint64_t random = me;
    while (!atomic_load(&race.is_over)) {
        random = hash_mix(random, 1);
        read_one(thread, random, me);
        uint64_t pin = atomic_exchange(&race.passed_on[me], 0);
        if (pin != 0) {
            pins_unpin(&pins, thread, pin);
        }
    }
    pins_thread_close(thread);
    return NULL;
}

/* Old places wait here until no pin names them. */
struct waiting {
    uint64_t name, place;
};

static uint32_t race_scan(struct waiting *waiting, uint32_t count, uint64_t *free_places, uint32_t *free_count)
{
    struct pins_set set;
    CHECK_EQ(pins_set_init(&set, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        pins_set_add(&set, waiting[i].name);
    }
    pthread_mutex_lock(&pins.lock);
    uint32_t pages = asker.count;
    pthread_mutex_unlock(&pins.lock);
    for (uint32_t page = 0; page < pages; page++) {
        pins_set_scan(&set, asker.pages[page], page);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pins_set_is_pinned(&set, waiting[i].name)) {
            waiting[kept++] = waiting[i];
        } else {
            free_places[(*free_count)++] = waiting[i].place;
        }
    }
    pins_set_fini(&set);
    return kept;
}

TEST(pins, no_reader_sees_bytes_that_are_used_again)
{
    struct waiting waiting[RACE_PLACES];
    uint64_t free_places[RACE_PLACES], random = 9;
    uint32_t waiting_count = 0, free_count = 0;
    setup(RACE_OBJECTS);
    for (uint64_t place = 0; place < RACE_PLACES; place++) {
        free_places[free_count++] = place;
    }
    for (uint64_t number = 1; number <= RACE_OBJECTS; number++) {
        struct table_entry entry = table_peek(&table, index_of(number));
        entry.offset = free_places[--free_count];
        table_update(&table, index_of(number), &entry);
    }
    pthread_t readers[RACE_READERS];
    for (uintptr_t i = 0; i < RACE_READERS; i++) {
        CHECK_EQ(pthread_create(&readers[i], NULL, race_reader, (void *)i), 0);
    }
    for (uint64_t move = 1; move <= RACE_MOVES || atomic_load(&race.reads) < 1000; move++) {
        while (free_count == 0) {
            waiting_count = race_scan(waiting, waiting_count, free_places, &free_count);
            if (free_count == 0) {
                sched_yield();
            }
        }
        random = hash_mix(random, move);
        uint32_t index = index_of(1 + random % RACE_OBJECTS);
        struct table_entry entry = table_peek(&table, index);
        uint64_t old_place = entry.offset;
        entry.offset = free_places[--free_count];
        entry.size = move;
        for (int i = 0; i < 8; i++) {
            race.places[entry.offset][i] = move;
        }
        uint64_t old_generation = table_update(&table, index, &entry);
        waiting[waiting_count++] = (struct waiting){ pins_name(index, old_generation), old_place };
    }
    atomic_store(&race.is_over, true);
    for (int i = 0; i < RACE_READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    printf("%llu reads\n", (unsigned long long)race.reads);
    CHECK_EQ(race.corrupt, 0);
    teardown();
}
