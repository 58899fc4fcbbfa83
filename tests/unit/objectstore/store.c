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
