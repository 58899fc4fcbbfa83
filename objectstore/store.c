/* store.c - the agent's store: memory, table, and the pins of its clients
 *
 * Owns segments, the table, and the pages in which clients pin.
 *
 * Happy path: publish(creating) -> update(sealed) -> move* -> retire -> scan gives the token back: the bytes are free.
 * Failures:   a client dies -> its pages go, and with them its pins; the next scan frees what only it read. It never
 *             writes anything else that the agent reads, so there is nothing to repair.
 * Invariants: an entry of the table lies inside its segment; bytes whose token has not come back are not used again.
 * Thread:     the agent's loop.
 *
 * Two ways bytes can lose their readers: the object goes (retire) or it goes elsewhere (move). Both write a new
 * generation and then wait for the pins on the old one; a scan serves all that wait at once, as its cost is that of
 * looking at every pin, not that of what is looked for. */
#include "objectstore/store.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/prefetch.h"
#include "objectstore/copy.h"
#include "objectstore/map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITING_FIRST = 256, SCAN_MIN = 64, SCAN_AHEAD = 8 };

struct store_client {
    struct store *store;
    struct store_client *next, *previous;
    struct pins_page *pages[PINS_PAGES_MAX];
    uint32_t pages_count;
};

/* A memfd of a fixed size, mapped writable; -1 with an error set. */
static int create_shared(const char *name, size_t bytes, void **memory_out)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return error_from_errno("memfd_create of %s", name), -1;
    }
    void *memory = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    if (memory == MAP_FAILED) {
        error_from_errno("%zu bytes for %s", bytes, name);
        close(fd);
        return -1;
    }
    madvise(memory, bytes, MADV_DONTFORK);
    *memory_out = memory;
    return fd;
}

static int open_segments(struct store *store, const struct store_options *options)
{
    uint32_t wanted = options->segments == 0 ? 1 : options->segments;
    if (wanted > STORE_SEGMENTS_MAX) {
        return error_set(ROOST_EINVAL, "%u segments, the limit is %d", wanted, STORE_SEGMENTS_MAX);
    }
    for (uint32_t i = 0; i < wanted; i++) {
        int status = segment_create(&store->segments[i], options->bytes / wanted, options->pages);
        if (status != 0) {
            return status;
        }
        store->segments_count++;
    }
    return 0;
}

/* One that is large beside its store takes memory as it is used, so little at a time. */
static bool is_table_filled_ahead(const struct store *store, uint32_t capacity)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < store->segments_count; i++) {
        all += store->segments[i].bytes;
    }
    return table_bytes(capacity) <= all / STORE_TABLE_SHARE;
}

/* Each look is at a line that nobody met: in small pages the walk to it costs more than the line. */
static int open_table(struct store *store, uint32_t capacity, enum segment_pages pages)
{
    int status = segment_create(&store->table_memory, table_bytes(capacity),
                                is_table_filled_ahead(store, capacity) ? pages : SEGMENT_SMALL);
    if (status == 0) {
        table_format(&store->table, store->table_memory.memory, capacity);
    }
    return status;
}

int store_open(struct store **store_out, const struct store_options *options)
{
    uint32_t entries = options->entries != 0 ? options->entries : table_capacity_for(options->bytes);
    if (entries < TABLE_CAPACITY_MIN || entries > STORE_ENTRIES_MAX || (entries & (entries - 1)) != 0) {
        return error_set(ROOST_EINVAL, "a table of %u entries: wanted is a power of two up to %d", entries,
                         STORE_ENTRIES_MAX);
    }
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return ROOST_ENOMEM;
    }
    int status = open_segments(store, options);
    if (status != 0 || (status = open_table(store, entries, options->pages)) != 0) {
        store_close(store);
        return status;
    }
    *store_out = store;
    return 0;
}

int store_populate(struct store *store, uint64_t bytes)
{
    if (store->table_memory.populated < store->table_memory.bytes &&
        is_table_filled_ahead(store, store->table.capacity)) {
        int status = segment_populate(&store->table_memory, bytes);
        return status == 0 ? 1 : status;
    }
    for (uint32_t i = 0; i < store->segments_count; i++) {
        struct segment *segment = &store->segments[i];
        if (segment->populated < segment->bytes) {
            int status = segment_populate(segment, bytes);
            return status == 0 ? 1 : status;
        }
    }
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->clients != NULL) {
        store_client_destroy(store->clients);
    }
    for (uint32_t i = 0; i < store->segments_count; i++) {
        segment_destroy(&store->segments[i]);
    }
    segment_destroy(&store->table_memory);
    free(store->waiting);
    free(store);
}

void store_fds(const struct store *store, struct store_fds *fds_out)
{
    struct store_fds fds = { .table = store->table_memory.ro,
                             .table_bytes = table_bytes(store->table.capacity),
                             .segments_count = store->segments_count };
    for (uint32_t i = 0; i < store->segments_count; i++) {
        const struct segment *segment = &store->segments[i];
        fds.segments[i] = (struct store_segment_fds){ segment->rw, segment->ro, segment->bytes };
    }
    *fds_out = fds;
}

void *store_bytes(const struct store *store, struct store_place place)
{
    bool is_inside = place.segment < store->segments_count &&
                     range_is_inside(place.offset, place.size, store->segments[place.segment].bytes);
    return is_inside ? store->segments[place.segment].memory + place.offset : NULL;
}

int store_write(const struct store *store, struct store_place place, uint64_t at, const void *data, size_t size)
{
    char *bytes = store_bytes(store, place);
    if (bytes == NULL || !range_is_inside(at, size, place.size)) {
        return error_set(ROOST_EINVAL, "%zu bytes at %" PRIu64 " of a place of %" PRIu64 " bytes", size, at,
                         place.size);
    }
    if (size > 0) {
        store_copy(bytes + at, data, size);
    }
    return 0;
}

/* Only states with bytes here name a place. */
static int check_place(const struct store *store, const struct table_entry *entry)
{
    uint64_t trailer, end;
    if (entry->state != TABLE_CREATING && entry->state != TABLE_SEALED) {
        return 0;
    }
    if (entry->segment < store->segments_count && entry->offset % STORE_ALIGNMENT == 0 &&
        table_trailer(entry, &trailer, &end) && end <= store->segments[entry->segment].bytes) {
        return 0;
    }
    return error_set(ROOST_EINVAL,
                     "an object of %" PRIu64 " bytes, %u columns and %u refs at %" PRIu64 " of segment %u", entry->size,
                     entry->columns, entry->refs, entry->offset, entry->segment);
}

int store_publish(struct store *store, const struct table_entry *entry, uint32_t *index_out)
{
    int status = check_place(store, entry);
    return status != 0 ? status : table_insert(&store->table, entry, index_out);
}

int store_update(struct store *store, uint32_t index, const struct table_entry *entry)
{
    int status = check_place(store, entry);
    if (status != 0) {
        return status;
    }
    struct table_entry old = table_peek(&store->table, index);
    ROOST_PRE(old.state != TABLE_SEALED); /* pins name a generation: those on this one would be forgotten */
    table_update(&store->table, index, entry);
    return 0;
}

/* Room for one more that waits: asked for before anything changes. */
static int make_room(struct store *store)
{
    if (store->waiting_count < store->waiting_capacity) {
        return 0;
    }
    uint32_t capacity = store->waiting_capacity == 0 ? WAITING_FIRST : store->waiting_capacity * 2;
    struct store_waiting *waiting = realloc(store->waiting, capacity * sizeof *waiting);
    if (waiting == NULL) {
        return ROOST_ENOMEM;
    }
    store->waiting = waiting;
    store->waiting_capacity = capacity;
    return 0;
}

static void wait_for_pins(struct store *store, uint32_t index, uint64_t generation, uint64_t token, bool is_entry)
{
    store->waiting[store->waiting_count++] = (struct store_waiting){ pins_name(index, generation), token, index,
                                                                     is_entry };
}

int store_move(struct store *store, uint32_t index, const struct table_entry *entry, uint64_t token)
{
    int status = check_place(store, entry);
    if (status != 0 || (status = make_room(store)) != 0) {
        return status;
    }
    struct table_entry old = table_peek(&store->table, index);
    bool is_same_place = old.segment == entry->segment && old.offset == entry->offset;
    ROOST_PRE(entry->state != TABLE_SEALED || !is_same_place);
    wait_for_pins(store, index, table_update(&store->table, index, entry), token, false);
    return 0;
}

int store_retire(struct store *store, uint32_t index, uint64_t token)
{
    int status = make_room(store);
    if (status == 0) {
        wait_for_pins(store, index, table_retire(&store->table, index), token, true);
    }
    return status;
}

void store_revive(struct store *store, uint32_t index)
{
    struct table_entry entry = table_peek(&store->table, index);
    ROOST_PRE(entry.state == TABLE_FREED);
    for (uint32_t i = store->waiting_count; i > 0; i--) { /* one alone removes the entry */
        struct store_waiting *waiting = &store->waiting[i - 1];
        if (waiting->is_entry && waiting->index == index) {
            waiting->is_entry = false;
            break;
        }
    }
    entry.state = TABLE_LOST;
    table_update(&store->table, index, &entry);
}

bool store_scan_is_due(const struct store *store)
{
    uint32_t enough = store->pins_seen > SCAN_MIN / 2 ? 2 * store->pins_seen : SCAN_MIN;
    return store->waiting_count >= enough || (store->waiting_count > 0 && table_room_is_wanted(&store->table));
}

static bool nothing_is_pinned(const struct store *store)
{
    for (const struct store_client *client = store->clients; client != NULL; client = client->next) {
        for (uint32_t page = 0; page < client->pages_count; page++) {
            if (!pins_page_is_empty(client->pages[page], page)) {
                return false;
            }
        }
    }
    return true;
}

static void look_at_all_pins(struct store *store, struct pins_set *set)
{
    store->pins_seen = 0;
    for (struct store_client *client = store->clients; client != NULL; client = client->next) {
        for (uint32_t page = 0; page < client->pages_count; page++) {
            store->pins_seen += pins_set_scan(set, client->pages[page], page);
        }
    }
}

/* Those of [at, end) that are pinned (none, if `set` is NULL) stay in front, the last of all take the places of the others;
 * the next scan begins behind the pinned. */
static int take_unpinned(struct store *store, const struct pins_set *set, uint32_t at, uint32_t end,
                         uint64_t *tokens_out)
{
    uint32_t kept = at;
    int count = 0;
    for (uint32_t i = at; i < end; i++) {
        const struct store_waiting *waiting = &store->waiting[i];
        if (i + SCAN_AHEAD < end) {
            prefetch_lines(&store->table.slots[store->waiting[i + SCAN_AHEAD].index], sizeof(struct table_slot));
        }
        if (set != NULL && pins_set_is_pinned(set, waiting->name)) {
            store->waiting[kept++] = *waiting;
            continue;
        }
        if (waiting->is_entry) {
            table_remove(&store->table, waiting->index);
        }
        tokens_out[count++] = waiting->token;
    }
    uint32_t gone = end - kept, behind = store->waiting_count - end, moved = behind < gone ? behind : gone;
    if (moved > 0) {
        memcpy(store->waiting + kept, store->waiting + store->waiting_count - moved, moved * sizeof *store->waiting);
    }
    store->waiting_count -= gone;
    store->waiting_next = kept < store->waiting_count ? kept : 0;
    return count;
}

int store_scan(struct store *store, uint64_t *tokens_out, uint32_t capacity)
{
    struct pins_set set;
    uint32_t at = store->waiting_next, left = store->waiting_count - at;
    uint32_t end = at + (left < capacity ? left : capacity);
    if (nothing_is_pinned(store)) {
        store->pins_seen = 0;
        return take_unpinned(store, NULL, at, end, tokens_out);
    }
    int status = pins_set_init(&set, end - at);
    if (status != 0) {
        return status;
    }
    for (uint32_t i = at; i < end; i++) {
        pins_set_add(&set, store->waiting[i].name);
    }
    look_at_all_pins(store, &set);
    int count = take_unpinned(store, &set, at, end, tokens_out);
    pins_set_fini(&set);
    return count;
}

void store_set_room_wanted(struct store *store, bool wanted) { table_set_room_wanted(&store->table, wanted); }

int store_client_create(struct store *store, struct store_client **client_out)
{
    if (store->clients_count == CLIENTS_MAX) {
        return error_set(ROOST_ELIMIT, "the agent serves %d clients, the limit", CLIENTS_MAX);
    }
    struct store_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return ROOST_ENOMEM;
    }
    client->store = store;
    client->next = store->clients;
    if (client->next != NULL) {
        client->next->previous = client;
    }
    store->clients = client;
    store->clients_count++;
    *client_out = client;
    return 0;
}

int store_client_grow(struct store_client *client, int *fd_out)
{
    uint32_t page = client->pages_count;
    if (page == PINS_PAGES_MAX) {
        return error_set(ROOST_ELIMIT, "a client has %d pages of pins, the limit", PINS_PAGES_MAX);
    }
    void *memory = NULL;
    int fd = create_shared("roost-pins", pins_page_bytes(page), &memory);
    if (fd < 0) {
        return ROOST_EIO;
    }
    client->pages[page] = memory;
    client->pages_count++;
    *fd_out = fd;
    return 0;
}

uint32_t store_client_touched(struct store_client *client, uint32_t indices_out[CLIENT_TOUCHED])
{
    if (client->pages_count == 0) {
        return 0;
    }
    return pins_touched_take(client->pages[0], client->store->table.capacity, indices_out);
}

void store_client_destroy(struct store_client *client)
{
    if (client == NULL) {
        return;
    }
    for (uint32_t page = 0; page < client->pages_count; page++) {
        munmap(client->pages[page], pins_page_bytes(page));
    }
    if (client->previous != NULL) {
        client->previous->next = client->next;
    } else {
        client->store->clients = client->next;
    }
    if (client->next != NULL) {
        client->next->previous = client->previous;
    }
    client->store->clients_count--;
    free(client);
}
