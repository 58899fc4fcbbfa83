#include "objectstore/map.h"
#include "common/error.h"
#include "common/hash.h"
#include "objectstore/store.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* One agent and one client in one process, each with its own mappings. */
static struct store *store;
static struct store_client *client;
static struct pins pins;
static struct pins_thread *thread;
static struct store_map map;

static int grow(void *context, uint32_t page, struct pins_page **page_out)
{
    int fd, status = store_client_grow(context, &fd);
    if (status == 0) {
        *page_out = mmap(NULL, pins_page_bytes(page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(*page_out != MAP_FAILED);
        close(fd);
    }
    return status;
}

static void open_map(void)
{
    struct store_fds fds;
    store_fds(store, &fds);
    CHECK_EQ(pins_init(&pins, grow, client), 0);
    CHECK_EQ(pins_thread_start(&pins, &thread), 0);
    CHECK_EQ(store_map_open(&map, &fds, &pins), 0);
}

static void setup(void)
{
    struct store_options options = { .bytes = ROOST_MIB(16), .segments = 2, .entries = 1024, .pages = SEGMENT_SMALL };
    CHECK_EQ(store_open(&store, &options), 0);
    CHECK_EQ(segment_populate(&store->segments[1], ROOST_MIB(8)), 0);
    CHECK_EQ(store_client_create(store, &client), 0);
    open_map();
}

static void teardown(void)
{
    store_map_close(&map);
    pins_fini(&pins);
    store_close(store);
}

static struct object_id id_number(uint64_t number) { return object_id_from(hash128(&number, sizeof number, 3)); }
static roost_ref ref_number(uint64_t number) { return object_ref(id_number(number)); }

static const struct store_place lease = { 65536, 131072, 1 };

/* Write an object of `size` bytes 0, 1, 2 ... into the lease at `at`, as a client does, and enter it, as the agent
 * does. */
static uint32_t publish(uint64_t number, uint64_t at, uint64_t size, enum table_format format, const uint64_t *ends,
                        uint32_t columns)
{
    unsigned char bytes[4096];
    uint32_t index;
    for (uint64_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)i;
    }
    struct store_place place = { lease.offset + at, 8192, 1 };
    roost_ref inner = ref_number(99);
    CHECK_EQ(store_map_lease(&map, lease), 0);
    store_map_write(&map, place, 0, bytes, size);
    CHECK_EQ(store_map_write_trailer(&map, place, size, ends, columns, &inner, 1), 0);
    struct table_entry entry = { .id = id_number(number),
                                 .offset = place.offset,
                                 .size = size,
                                 .columns = columns,
                                 .refs = 1,
                                 .segment = 1,
                                 .state = TABLE_SEALED,
                                 .format = (uint8_t)format };
    CHECK_EQ(store_publish(store, &entry, &index), 0);
    return index;
}

static struct store_view see(roost_ref ref)
{
    struct store_view view;
    CHECK_EQ(store_map_get(&map, thread, ref, &view), 0);
    CHECK(view.pin != 0);
    store_map_release(&map, thread, view.pin);
    return view;
}

static void shows(roost_ref ref, uint64_t first, uint64_t size)
{
    struct store_view view = see(ref);
    CHECK_EQ(view.size, size);
    for (uint64_t i = 0; i < size; i++) {
        CHECK_EQ(((const unsigned char *)view.data)[i], (unsigned char)(first + i));
    }
}

static int answer(roost_ref ref)
{
    struct store_view view;
    return store_map_get(&map, thread, ref, &view);
}

TEST(map, shows_an_object_its_ranges_and_its_columns)
{
    setup();
    const uint64_t ends[] = { 10, 10, 300 };
    publish(1, 0, 301, TABLE_USER, ends, 3);
    roost_ref ref = ref_number(1);
    shows(ref, 0, 301);
    shows(roost_slice(ref, 5, 20), 5, 20);
    shows(roost_slice(ref, 301, 0), 301, 0);
    shows(roost_slice(ref, 200, ROOST_WHOLE), 200, 101);
    shows(roost_column(ref, 0), 0, 10);
    shows(roost_column(ref, 1), 10, 0);
    shows(roost_column(ref, 2), 10, 290);
    CHECK_EQ(answer(roost_column(ref, 3)), ROOST_ERANGE);
    CHECK(strstr(error_text(), "3 columns") != NULL);
    CHECK_EQ(answer(roost_slice(ref, 300, 2)), ROOST_ERANGE);
    CHECK_EQ(answer(roost_slice(ref, 302, ROOST_WHOLE)), ROOST_ERANGE);
    CHECK_EQ(answer(roost_slice(ref, UINT64_MAX, 2)), ROOST_ERANGE);
    CHECK_EQ(answer(roost_slice(roost_column(ref, 1), 0, 1)), ROOST_ERANGE);
    struct store_view view = see(ref);
    CHECK_EQ(view.refs_count, 1);
    CHECK(view.refs[0].id.hi == id_number(99).hi && view.format == TABLE_USER);
    CHECK_EQ(store_client_touched(client, (uint32_t[CLIENT_TOUCHED]){ 0 }), 8);
    teardown();
}

TEST(map, answers_each_state_in_its_own_way)
{
    struct store_view view;
    uint32_t index;
    setup();
    CHECK_EQ(answer(ref_number(1)), STORE_GET_ASK);
    struct table_entry entry = { .id = id_number(1), .state = TABLE_CREATING };
    CHECK_EQ(store_publish(store, &entry, &index), 0);
    CHECK_EQ(answer(ref_number(1)), STORE_GET_WAIT);
    entry.state = TABLE_SPILLED;
    CHECK_EQ(store_update(store, index, &entry), 0);
    CHECK_EQ(answer(ref_number(1)), STORE_GET_ASK);
    entry.state = TABLE_LOST;
    CHECK_EQ(store_update(store, index, &entry), 0);
    CHECK_EQ(answer(ref_number(1)), STORE_GET_ASK);
    entry.state = TABLE_FAILED;
    entry.offset = (uint64_t)(int64_t)ROOST_EWORKER;
    CHECK_EQ(store_update(store, index, &entry), 0);
    CHECK_EQ(store_map_get(&map, thread, ref_number(1), &view), STORE_GET_FAILED);
    CHECK_EQ(view.status, ROOST_EWORKER);
    CHECK_EQ(store_retire(store, index, 5), 0);
    CHECK_EQ(answer(ref_number(1)), ROOST_EFREED);
    publish(2, 0, 100, TABLE_ERROR, NULL, 0);
    CHECK_EQ(store_map_get(&map, thread, roost_slice(ref_number(2), 1000, 5), &view), STORE_GET_ERROR);
    CHECK_EQ(view.size, 100);
    CHECK(view.pin != 0);
    store_map_release(&map, thread, view.pin);
    teardown();
}

TEST(map, a_forward_takes_the_range_over)
{
    struct store_view view;
    roost_ref target = roost_slice(ref_number(7), 100, 50);
    setup();
    uint32_t index = publish(1, 0, sizeof target, TABLE_FORWARD, NULL, 0);
    struct table_entry entry = table_peek(&store->table, index);
    struct store_place place = { entry.offset, sizeof target, 1 };
    store_map_write(&map, place, 0, &target, sizeof target);
    CHECK_EQ(store_map_get(&map, thread, ref_number(1), &view), STORE_GET_FORWARD);
    CHECK(memcmp(&view.forward, &target, sizeof target) == 0);
    CHECK_EQ(view.pin, 0);
    CHECK_EQ(store_map_get(&map, thread, roost_slice(ref_number(1), 10, 40), &view), STORE_GET_FORWARD);
    CHECK_EQ(view.forward.offset, 110);
    CHECK_EQ(view.forward.size, 40);
    CHECK_EQ(store_map_get(&map, thread, roost_slice(ref_number(1), 10, ROOST_WHOLE), &view), STORE_GET_FORWARD);
    CHECK_EQ(view.forward.size, 40);
    CHECK_EQ(answer(roost_slice(ref_number(1), 10, 41)), ROOST_ERANGE);
    CHECK_EQ(answer(roost_column(ref_number(1), 0)), ROOST_ERANGE);
    target = ref_number(7);
    store_map_write(&map, place, 0, &target, sizeof target);
    CHECK_EQ(store_map_get(&map, thread, roost_column(ref_number(1), 4), &view), STORE_GET_FORWARD);
    CHECK(view.forward.offset == 4 && view.forward.size == ROOST_COLUMN && view.forward.id.lo == target.id.lo);
    teardown();
}

TEST(map, a_part_that_was_pulled_alone_answers_for_its_range_only)
{
    setup();
    roost_ref slice = roost_slice(ref_number(1), 1000, 100);
    uint32_t index = publish(2, 0, 100, TABLE_RAW, NULL, 0);
    struct table_entry entry = table_peek(&store->table, index);
    entry.id = part_id(slice);
    CHECK_EQ(store_publish(store, &entry, &index), 0);
    shows(slice, 0, 100);
    CHECK_EQ(answer(ref_number(1)), STORE_GET_ASK);
    CHECK_EQ(answer(roost_slice(ref_number(1), 1000, 99)), STORE_GET_ASK);
    teardown();
}

TEST(map, a_damaged_entry_is_an_error_and_never_a_wild_pointer)
{
    setup();
    uint32_t index = publish(1, 0, 100, TABLE_RAW, NULL, 0);
    struct table_entry good = table_peek(&store->table, index), bad;
#define DAMAGED(change)                                            \
    do {                                                           \
        bad = good;                                                \
        bad.change;                                                \
        table_update(&store->table, index, &bad);                  \
        CHECK_EQ(answer(ref_number(1)), ROOST_EIO);                \
        CHECK_EQ(store_move(store, index, &bad, 1), ROOST_EINVAL); \
    } while (0)
    DAMAGED(segment = 2);
    DAMAGED(offset = ROOST_MIB(8));
    DAMAGED(offset = UINT64_MAX - 63);
    DAMAGED(offset = good.offset + 8);
    DAMAGED(size = ROOST_MIB(8));
    DAMAGED(size = UINT64_MAX);
    DAMAGED(columns = UINT32_MAX);
    DAMAGED(refs = UINT32_MAX);
#undef DAMAGED
    /* ends of columns come from a client: here beyond the object, and descending */
    const uint64_t ends[] = { 50, 100 };
    publish(2, 16384, 100, TABLE_RAW, ends, 2);
    struct store_place place = { lease.offset + 16384, 8192, 1 };
    const uint64_t wild[] = { 5000, 100 };
    CHECK_EQ(store_map_write_trailer(&map, place, 100, wild, 2, NULL, 0), ROOST_EINVAL);
    store_map_write(&map, place, 104, wild, sizeof wild);
    CHECK_EQ(answer(roost_column(ref_number(2), 0)), ROOST_ERANGE);
    CHECK_EQ(answer(roost_column(ref_number(2), 1)), ROOST_ERANGE);
    teardown();
}

TEST(map, what_is_pinned_is_reclaimed_after_the_release_and_not_before)
{
    struct store_view view;
    uint64_t tokens[8];
    uint32_t index;
    setup();
    index = publish(1, 0, 100, TABLE_RAW, NULL, 0);
    CHECK_EQ(store_map_get(&map, thread, ref_number(1), &view), 0);
    struct table_entry moved = table_peek(&store->table, index);
    moved.offset += 32768;
    CHECK_EQ(store_move(store, index, &moved, 11), 0);
    CHECK_EQ(store_retire(store, index, 12), 0);
    CHECK(!store_scan_is_due(store)); /* two are no batch */
    store_set_room_wanted(store, true);
    CHECK(store_scan_is_due(store));
    CHECK_EQ(store_scan(store, tokens, 8), 1); /* nobody saw the second place */
    CHECK_EQ(tokens[0], 12);
    CHECK_EQ(store_scan(store, tokens, 8), 0);
    CHECK(store_map_release(&map, thread, view.pin)); /* ring the agent */
    CHECK_EQ(store_scan(store, tokens, 0), 0);
    CHECK_EQ(store_scan(store, tokens, 8), 1);
    CHECK_EQ(tokens[0], 11);
    store_set_room_wanted(store, false);
    CHECK_EQ(atomic_load(&store->table.header->count), 0);
    teardown();
}

TEST(map, the_agents_own_pins_count_too)
{
    uint64_t tokens[8], pin;
    setup();
    uint32_t index = publish(1, 0, 100, TABLE_RAW, NULL, 0);
    CHECK_EQ(pins_pin(thread, &map.table, index, table_peek(&store->table, index).generation, &pin), 0);
    CHECK_EQ(store_retire(store, index, 12), 0);
    CHECK_EQ(store_scan(store, tokens, 8), 0);
    CHECK(pins_unpin(&pins, thread, pin));
    CHECK_EQ(store_scan(store, tokens, 8), 1);
    teardown();
}

TEST(map, leases_are_whole_pages_inside_a_segment)
{
    setup();
    CHECK_EQ(store_map_lease(&map, (struct store_place){ 64, 4096, 1 }), ROOST_EINVAL);
    CHECK_EQ(store_map_lease(&map, (struct store_place){ 4096, 64, 1 }), ROOST_EINVAL);
    CHECK_EQ(store_map_lease(&map, (struct store_place){ 4096, 0, 1 }), ROOST_EINVAL);
    CHECK_EQ(store_map_lease(&map, (struct store_place){ 4096, ROOST_MIB(8), 1 }), ROOST_EINVAL);
    CHECK_EQ(store_map_lease(&map, (struct store_place){ 4096, 4096, 2 }), ROOST_EINVAL);
    CHECK_EQ(store_map_lease(&map, (struct store_place){ UINT64_MAX - 4095, 4096, 1 }), ROOST_EINVAL);
    CHECK(store_map_pointer(&map, (struct store_place){ ROOST_MIB(8), 1, 1 }) == NULL);
    teardown();
}

TEST(map, foreign_descriptors_are_refused)
{
    struct store_fds fds, good;
    struct store_map other;
    setup();
    store_fds(store, &good);
    fds = good;
    fds.segments[1].bytes += 4096;
    CHECK_EQ(store_map_open(&other, &fds, &pins), ROOST_EINVAL);
    fds = good;
    fds.table = good.segments[0].ro;
    CHECK_EQ(store_map_open(&other, &fds, &pins), ROOST_EINVAL);
    fds = good;
    fds.segments_count = STORE_SEGMENTS_MAX + 1;
    CHECK_EQ(store_map_open(&other, &fds, &pins), ROOST_EINVAL);
    fds = good;
    fds.table_bytes -= 64;
    CHECK_EQ(store_map_open(&other, &fds, &pins), ROOST_EINVAL);
    teardown();
}

/* How does a child end that does this to a mapped store of its own? */
static int child_ends_with(void (*deed)(void))
{
    store_map_close(&map);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit instead */
        open_map();
        deed();
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void write_through_view(void)
{
    struct store_view view = see(ref_number(1));
    *(volatile unsigned char *)(uintptr_t)view.data = 1;
}

static void open_view_with_mprotect(void)
{
    struct store_view view = see(ref_number(1));
    void *page = (void *)((uintptr_t)view.data / 4096 * 4096);
    _exit(mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0 && errno == EACCES ? 42 : 1);
}

static void write_without_lease(void) { *(volatile unsigned char *)store_map_pointer(&map, lease) = 1; }

static void write_with_lease(void)
{
    CHECK_EQ(store_map_lease(&map, lease), 0);
    *(volatile unsigned char *)store_map_pointer(&map, lease) = 1;
}

static void write_after_seal(void)
{
    write_with_lease();
    CHECK_EQ(store_map_unlease(&map, lease), 0);
    *(volatile unsigned char *)store_map_pointer(&map, lease) = 1;
}

static void write_beside_the_lease(void)
{
    write_with_lease();
    ((volatile unsigned char *)store_map_pointer(&map, lease))[lease.size] = 1;
}

static void write_the_table(void) { atomic_store(&map.table.header->room_wanted, 1); }

TEST(map, only_a_leased_range_can_be_written)
{
    setup();
    publish(1, 0, 100, TABLE_RAW, NULL, 0);
    CHECK_EQ(child_ends_with(write_through_view), SIGSEGV);
    CHECK_EQ(child_ends_with(open_view_with_mprotect), -42);
    CHECK_EQ(child_ends_with(write_without_lease), SIGSEGV);
    CHECK_EQ(child_ends_with(write_with_lease), 0);
    CHECK_EQ(child_ends_with(write_after_seal), SIGSEGV);
    CHECK_EQ(child_ends_with(write_beside_the_lease), SIGSEGV);
    CHECK_EQ(child_ends_with(write_the_table), SIGSEGV);
    teardown();
}
