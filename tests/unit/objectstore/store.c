#include "objectstore/store.h"
#include "tests/lib/test.h"

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

TEST(store, a_name_used_again_while_the_old_bytes_are_read_keeps_its_entry_when_they_go)
{
    struct store *store = open_small();
    struct table_entry entry = { .id = { 1, 2 }, .size = 100, .state = TABLE_SEALED };
    uint32_t index;
    uint64_t pin, tokens[4];
    CHECK_EQ(store_publish(store, &entry, &index), 0);
    CHECK_EQ(store_pin(store, index, &pin), 0);
    CHECK_EQ(store_retire(store, index, 7), 0);
    CHECK_EQ(state_of(store, entry.id), TABLE_FREED);
    store_revive(store, index);
    CHECK_EQ(state_of(store, entry.id), TABLE_LOST); /* a reader that comes now asks the agent */
    entry.offset = 4096;
    CHECK_EQ(store_update(store, index, &entry), 0);
    CHECK_EQ(store_scan(store, tokens, 4), 0);
    store_unpin(store, pin);
    CHECK_EQ(store_scan(store, tokens, 4), 1);
    CHECK_EQ(tokens[0], 7);
    CHECK_EQ(state_of(store, entry.id), TABLE_SEALED);
    CHECK_EQ(store_retire(store, index, 8), 0);
    CHECK_EQ(store_scan(store, tokens, 4), 1);
    CHECK_EQ(tokens[0], 8);
    CHECK_EQ(state_of(store, entry.id), 0);
    store_close(store);
}

TEST(store, what_is_read_for_long_does_not_keep_what_nobody_reads)
{
    enum { PINNED = 8, FREE = 100, SCAN = 4 };
    struct store *store;
    CHECK_EQ(store_open(&store, &(struct store_options){ .bytes = ROOST_MIB(4), .entries = 256 }), 0);
    uint64_t pins[PINNED], tokens[SCAN];
    bool has_come[PINNED + FREE] = { false };
    for (uint64_t i = 0; i < PINNED + FREE; i++) {
        struct table_entry entry = { .id = { 1, 1 + i }, .offset = i * 64, .size = 10, .state = TABLE_SEALED };
        uint32_t index;
        CHECK_EQ(store_publish(store, &entry, &index), 0);
        if (i < PINNED) {
            CHECK_EQ(store_pin(store, index, &pins[i]), 0);
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
        store_unpin(store, pins[i]);
    }
    for (int left = PINNED; left > 0; left -= SCAN) {
        CHECK_EQ(store_scan(store, tokens, SCAN), SCAN);
    }
    CHECK_EQ(store->waiting_count, 0);
    store_close(store);
}
