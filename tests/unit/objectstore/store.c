#include "objectstore/store.h"
#include "tests/lib/test.h"

#include <sys/mman.h>
#include <unistd.h>

/* A client in this process. */
static struct pins pins;
static struct pins_thread *thread;

static int grow(void *client, uint32_t page, struct pins_page **page_out)
{
    int fd, status = store_client_grow(client, &fd);
    if (status == 0) {
        *page_out = mmap(NULL, pins_page_bytes(page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(*page_out != MAP_FAILED);
        close(fd);
    }
    return status;
}

static void client_comes(struct store *store)
{
    struct store_client *client;
    CHECK_EQ(store_client_create(store, &client), 0);
    CHECK_EQ(pins_init(&pins, grow, client), 0);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
}

static uint64_t pin_of(struct store *store, uint32_t index)
{
    uint64_t pin = 0;
    CHECK_EQ(pins_pin(thread, &store->table, index, table_peek(&store->table, index).generation, &pin), 0);
    return pin;
}

static struct store *open_small(void)
{
    struct store *store;
    CHECK_EQ(store_open(&store, &(struct store_options){ .bytes = ROOST_MIB(4), .entries = TABLE_CAPACITY_MIN }), 0);
    return store;
}

static enum table_state state_of(const struct store *store, struct object_id id)
{
    struct table_entry entry;
    uint32_t index;
    return table_look_up(&store->table, id, &index, &entry) == TABLE_FOUND ? (enum table_state)entry.state : 0;
}

TEST(store, is_filled_with_memory_piece_by_piece_and_its_table_only_when_that_is_small_beside_it)
{
    for (int is_large = 0; is_large < 2; is_large++) {
        struct store *store;
        const struct store_options options = { .bytes = ROOST_MIB(4), .entries = is_large ? 1 << 15 : 1 << 10 };
        CHECK_EQ(store_open(&store, &options), 0);
        int pieces = 0;
        for (int status = 1; status != 0; pieces += status) {
            status = store_populate(store, ROOST_MIB(2));
            CHECK(status >= 0);
        }
        CHECK_EQ(pieces, is_large ? 2 : 3);
        CHECK_EQ(store->segments[0].populated, store->segments[0].bytes);
        CHECK_EQ(store->table_memory.populated, is_large ? 0 : store->table_memory.bytes);
        CHECK_EQ(store->table_memory.is_huge, store->segments[0].is_huge && !is_large);
        store_close(store);
    }
}

TEST(store, a_name_used_again_while_the_old_bytes_are_read_keeps_its_entry_when_they_go)
{
    struct store *store = open_small();
    client_comes(store);
    struct table_entry entry = { .id = { 1, 2 }, .size = 100, .state = TABLE_SEALED };
    uint32_t index;
    uint64_t pin, tokens[4];
    CHECK_EQ(store_publish(store, &entry, &index), 0);
    pin = pin_of(store, index);
    CHECK_EQ(store_retire(store, index, 7), 0);
    CHECK_EQ(state_of(store, entry.id), TABLE_FREED);
    store_revive(store, index);
    CHECK_EQ(state_of(store, entry.id), TABLE_LOST); /* a reader that comes now asks the agent */
    entry.offset = 4096;
    CHECK_EQ(store_update(store, index, &entry), 0);
    CHECK_EQ(store_scan(store, tokens, 4), 0);
    CHECK(pins_unpin(&pins, thread, pin));
    CHECK_EQ(store_scan(store, tokens, 4), 1);
    CHECK_EQ(tokens[0], 7);
    CHECK_EQ(state_of(store, entry.id), TABLE_SEALED);
    CHECK_EQ(store_retire(store, index, 8), 0);
    CHECK_EQ(store_scan(store, tokens, 4), 1);
    CHECK_EQ(tokens[0], 8);
    CHECK_EQ(state_of(store, entry.id), 0);
    pins_fini(&pins);
    store_close(store);
}

TEST(store, what_is_read_for_long_does_not_keep_what_nobody_reads)
{
    enum { PINNED = 8, FREE = 100, SCAN = 4 };
    struct store *store;
    CHECK_EQ(store_open(&store, &(struct store_options){ .bytes = ROOST_MIB(4), .entries = 256 }), 0);
    client_comes(store);
    uint64_t held[PINNED], tokens[SCAN];
    bool has_come[PINNED + FREE] = { false };
    for (uint64_t i = 0; i < PINNED + FREE; i++) {
        struct table_entry entry = { .id = { 1, 1 + i }, .offset = i * 64, .size = 10, .state = TABLE_SEALED };
        uint32_t index;
        CHECK_EQ(store_publish(store, &entry, &index), 0);
        if (i < PINNED) {
            held[i] = pin_of(store, index);
        }
        CHECK_EQ(store_retire(store, index, i), 0);
    }
    do {
        int found = store_scan(store, tokens, SCAN);
        CHECK(found >= 0);
        for (int i = 0; i < found; i++) {
            CHECK(tokens[i] >= PINNED && !has_come[tokens[i]]);
            has_come[tokens[i]] = true;
        }
    } while (store->waiting_next != 0);
    CHECK_EQ(store->waiting_count, PINNED);
    for (int i = 0; i < PINNED; i++) {
        CHECK(pins_unpin(&pins, thread, held[i]));
    }
    for (int left = PINNED; left > 0; left -= SCAN) {
        CHECK_EQ(store_scan(store, tokens, SCAN), SCAN);
    }
    CHECK_EQ(store->waiting_count, 0);
    pins_fini(&pins);
    store_close(store);
}
