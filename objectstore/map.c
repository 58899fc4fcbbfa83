/* map.c - this process's view of the node's store
 *
 * Owns the mappings. What it reads in the table and in trailers is checked against what it has mapped, every time.
 *
 * Happy path: open -> get (look up, pin, check, resolve the range) -> release; lease -> pointer or write -> unlease.
 * Failures:   an entry that changes under the pin -> looked up again, STORE_GET_TRIES times, then the agent is asked.
 *             A place outside a segment -> ROOST_EINVAL or ROOST_EIO, never a wild pointer.
 * Invariants: no byte of a view range is ever writable here: the kernel refuses PROT_WRITE on a mapping of a read-only
 *             descriptor for as long as it lives.
 * Thread:     any; leases under the client's lock.
 *
 * A lease is populated by reading (MADV_POPULATE_READ, 78 ms per GiB with 4 KiB pages, next to nothing with huge ones):
 * the agent has the pages, only this process's page tables are empty, and a first write to a resident GiB through
 * faults runs at a fifth of memcpy. */
#include "objectstore/map.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "objectstore/copy.h"
#include "objectstore/range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* NULL with an error set when it cannot be mapped, or when the file is shorter: reading behind its end is SIGBUS. */
static void *map_fd(int fd, uint64_t bytes, const char *what)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        error_from_errno("fstat of %s", what);
        return NULL;
    }
    if (bytes == 0 || stat.st_size < 0 || (uint64_t)stat.st_size < bytes || bytes > SIZE_MAX) {
        error_set(ROOST_EINVAL, "%s of %" PRIu64 " bytes in a file of %" PRId64, what, bytes, (int64_t)stat.st_size);
        return NULL;
    }
    void *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED) {
        error_from_errno("mapping %" PRIu64 " bytes of %s", bytes, what);
        return NULL;
    }
    madvise(memory, bytes, MADV_DONTFORK);
    madvise(memory, bytes, MADV_DONTDUMP);
    return memory;
}

static int map_segment(struct store_map *map, const struct store_segment_fds *fds)
{
    struct store_map_segment *segment = &map->segments[map->segments_count];
    segment->bytes = fds->bytes;
    segment->view = map_fd(fds->ro, fds->bytes, "a segment, to read");
    segment->write = segment->view != NULL ? map_fd(fds->rw, fds->bytes, "a segment, to write") : NULL;
    map->segments_count++;
    return segment->write != NULL ? 0 : ROOST_EINVAL;
}

int store_map_open(struct store_map *map, const struct store_fds *fds, struct pins *pins)
{
    *map = (struct store_map){ .pins = pins, .table_bytes = fds->table_bytes };
    if (fds->segments_count == 0 || fds->segments_count > STORE_SEGMENTS_MAX) {
        return error_set(ROOST_EINVAL, "a store of %u segments", fds->segments_count);
    }
    int status = ROOST_EIO;
    map->table_memory = map_fd(fds->table, fds->table_bytes, "the table of objects");
    if (map->table_memory == NULL) {
        goto fail;
    }
    status = table_attach(&map->table, map->table_memory, fds->table_bytes);
    for (uint32_t i = 0; i < fds->segments_count && status == 0; i++) {
        status = map_segment(map, &fds->segments[i]);
    }
    if (status == 0) {
        return 0;
    }
fail:
    store_map_close(map);
    return status;
}

static void unmap(const void *memory, uint64_t bytes)
{
    if (memory != NULL) {
        munmap((void *)(uintptr_t)memory, bytes);
    }
}

void store_map_close(struct store_map *map)
{
    for (uint32_t i = 0; i < map->segments_count; i++) {
        unmap(map->segments[i].view, map->segments[i].bytes);
        unmap(map->segments[i].write, map->segments[i].bytes);
    }
    unmap(map->table_memory, map->table_bytes);
    *map = (struct store_map){ 0 };
}

static bool is_mapped(const struct store_map *map, struct store_place place)
{
    return place.segment < map->segments_count &&
           range_is_inside(place.offset, place.size, map->segments[place.segment].bytes);
}

static int protect(struct store_map *map, struct store_place place, int protection)
{
    if (!is_mapped(map, place) || place.offset % STORE_PAGE_BYTES != 0 || place.size % STORE_PAGE_BYTES != 0 ||
        place.size == 0) {
        return error_set(ROOST_EINVAL, "a lease of %" PRIu64 " bytes at %" PRIu64 " of segment %u", place.size,
                         place.offset, place.segment);
    }
    if (mprotect(map->segments[place.segment].write + place.offset, place.size, protection) != 0) {
        return error_from_errno("mprotect of a lease of %" PRIu64 " bytes", place.size);
    }
    return 0;
}

int store_map_lease(struct store_map *map, struct store_place place)
{
    int status = protect(map, place, PROT_READ | PROT_WRITE);
    if (status != 0) {
        return status;
    }
    void *memory = map->segments[place.segment].write + place.offset;
    if (madvise(memory, place.size, MADV_POPULATE_READ) != 0 && errno != EINVAL) { /* EINVAL: before Linux 5.14 */
        status = error_from_errno("filling the page tables of a lease of %" PRIu64 " bytes", place.size);
        mprotect(memory, place.size, PROT_READ);
    }
    return status;
}

int store_map_unlease(struct store_map *map, struct store_place place) { return protect(map, place, PROT_READ); }

void *store_map_pointer(const struct store_map *map, struct store_place place)
{
    return is_mapped(map, place) ? map->segments[place.segment].write + place.offset : NULL;
}

void store_map_write(const struct store_map *map, struct store_place place, uint64_t at, const void *data, size_t size)
{
    ROOST_PRE(is_mapped(map, place));
    ROOST_PRE(range_is_inside(at, size, place.size));
    if (size > 0) {
        store_copy(map->segments[place.segment].write + place.offset + at, data, size);
    }
}

int store_map_write_trailer(const struct store_map *map, struct store_place place, uint64_t size, const uint64_t *ends,
                            uint32_t columns, const roost_ref *refs, uint32_t refs_count)
{
    uint64_t bytes;
    ROOST_PRE(table_object_bytes(size, columns, refs_count, &bytes) && bytes <= place.size);
    for (uint32_t i = 0; i < columns; i++) {
        if (ends[i] > size || (i > 0 && ends[i] < ends[i - 1])) {
            return error_set(ROOST_EINVAL, "column %u ends at %" PRIu64 " of %" PRIu64 " bytes", i, ends[i], size);
        }
    }
    uint64_t at = align_up(size, sizeof(uint64_t));
    store_map_write(map, place, at, ends, columns * sizeof *ends);
    store_map_write(map, place, at + columns * sizeof *ends, refs, refs_count * sizeof *refs);
    return 0;
}

static bool is_whole(roost_ref ref) { return ref.offset == 0 && ref.size == ROOST_WHOLE; }

static int fill_view(const struct store_map *map, const struct table_entry *entry, roost_ref ref,
                     struct store_view *view)
{
    const unsigned char *segment = map->segments[entry->segment].view, *payload = segment + entry->offset;
    uint64_t trailer = 0, end = 0, begin = 0, size = entry->size;
    table_trailer(entry, &trailer, &end);
    if (entry->format == TABLE_FORWARD) {
        roost_ref target;
        if (entry->size < sizeof target) {
            return error_set(ROOST_EIO, "a forward of %" PRIu64 " bytes", entry->size);
        }
        memcpy(&target, payload, sizeof target);
        int status = range_forward(ref, target, &view->forward);
        return status != 0 ? status : STORE_GET_FORWARD;
    }
    if (entry->format != TABLE_ERROR && !is_whole(ref)) {
        int status = range_resolve(ref, entry->size, (const void *)(segment + trailer), entry->columns, &begin, &size);
        if (status != 0) {
            return status;
        }
    }
    view->data = payload + begin;
    view->size = size;
    view->refs = (const void *)(segment + trailer + entry->columns * sizeof(uint64_t));
    view->refs_count = entry->refs;
    view->version = entry->version;
    view->format = entry->format;
    return entry->format == TABLE_ERROR ? STORE_GET_ERROR : 0;
}

static bool lies_inside(const struct store_map *map, const struct table_entry *entry)
{
    uint64_t trailer, end;
    return entry->segment < map->segments_count && entry->format <= TABLE_USER &&
           table_trailer(entry, &trailer, &end) && end <= map->segments[entry->segment].bytes &&
           entry->offset % STORE_ALIGNMENT == 0;
}

static int damaged(const struct table_entry *entry)
{
    return error_set(ROOST_EIO,
                     "a damaged entry in the table of objects: state %u, format %u, %" PRIu64 " bytes at %" PRIu64
                     " of segment %u, %u columns, %u refs",
                     entry->state, entry->format, entry->size, entry->offset, entry->segment, entry->columns,
                     entry->refs);
}

static int get_sealed(const struct store_map *map, struct pins_thread *thread, uint32_t index,
                      const struct table_entry *entry, roost_ref ref, struct store_view *view)
{
    uint64_t pin;
    if (!lies_inside(map, entry)) {
        return damaged(entry);
    }
    int status = pins_pin(thread, &map->table, index, entry->generation, &pin);
    if (status != 0) {
        return status;
    }
    status = fill_view(map, entry, ref, view);
    if (status != 0 && status != STORE_GET_ERROR) {
        pins_unpin(map->pins, thread, pin);
        return status;
    }
    pins_touch(thread, index);
    view->pin = pin;
    return status;
}

static int get_entry(const struct store_map *map, struct pins_thread *thread, struct object_id id, roost_ref ref,
                     struct store_view *view)
{
    for (int tries = 0; tries < STORE_GET_TRIES; tries++) {
        struct table_entry entry;
        uint32_t index;
        if (table_look_up(&map->table, id, &index, &entry) != TABLE_FOUND) {
            return STORE_GET_ASK;
        }
        switch ((enum table_state)entry.state) {
        case TABLE_CREATING:
            return STORE_GET_WAIT;
        case TABLE_SPILLED:
        case TABLE_LOST:
            return STORE_GET_ASK;
        case TABLE_FREED:
            return error_set(ROOST_EFREED, "the object was given up");
        case TABLE_FAILED:
            view->status = (int64_t)entry.offset < 0 ? (int)(int64_t)entry.offset : ROOST_EFAILED;
            return STORE_GET_FAILED;
        case TABLE_SEALED:
            break;
        }
        if (entry.state != TABLE_SEALED) {
            return damaged(&entry);
        }
        int status = get_sealed(map, thread, index, &entry, ref, view);
        if (status != PINS_STALE) {
            return status;
        }
    }
    return STORE_GET_ASK;
}

int store_map_get(const struct store_map *map, struct pins_thread *thread, roost_ref ref, struct store_view *view_out)
{
    struct store_view view = { 0 };
    int status = get_entry(map, thread, object_id_of(ref), ref, &view);
    if (status == STORE_GET_ASK && !is_whole(ref)) {
        status = get_entry(map, thread, part_id(ref), object_ref(part_id(ref)), &view);
    }
    if (status >= 0) {
        *view_out = view;
    }
    return status;
}

bool store_map_release(const struct store_map *map, struct pins_thread *thread, uint64_t pin)
{
    return pins_unpin(map->pins, thread, pin) && table_room_is_wanted(&map->table);
}
