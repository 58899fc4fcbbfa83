/* map.h - this process's view of the node's store
 *
 * Maps the table and every segment, each segment twice: a view that can never be written, from a read-only
 * descriptor, and a write range that is read-only too except where this process holds a lease. Getting an object
 * makes no system call and asks nobody.
 *
 * Any thread, once opened; leases are the owner's to serialise. */
#ifndef ROOST_OBJECTSTORE_MAP_H
#define ROOST_OBJECTSTORE_MAP_H

#include "objectstore/pins.h"
#include "objectstore/slab.h"

enum { STORE_PAGE_BYTES = 4096, STORE_GET_TRIES = 16 };

/* What the agent hands to a client. Descriptors of the same file: `rw` for the write range, `ro` for the view. */
struct store_segment_fds {
    int rw, ro;
    uint64_t bytes;
};
struct store_fds {
    int table; /* opened read-only */
    uint32_t segments_count;
    uint64_t table_bytes;
    struct store_segment_fds segments[STORE_SEGMENTS_MAX];
};

struct store_map_segment {
    const unsigned char *view;
    unsigned char *write;
    uint64_t bytes;
};

struct store_map {
    struct table table;
    struct pins *pins; /* borrowed */
    const void *table_memory;
    uint64_t table_bytes;
    uint32_t segments_count;
    struct store_map_segment segments[STORE_SEGMENTS_MAX];
};

/* Map it all. The descriptors are borrowed for the call and may be closed afterwards; `pins` for as long as the map
 * lives. The mappings do not go to children of fork() nor into core dumps.
 * Errors: ROOST_EINVAL   sizes and files do not agree
 *         ROOST_EVERSION another table layout
 *         ROOST_ENOMEM, ROOST_EIO. Nothing stays mapped. */
int store_map_open(struct store_map *map, const struct store_fds *fds, struct pins *pins);

/* No view may be held. A zeroed or closed map is fine. */
void store_map_close(struct store_map *map);

/* The agent leased [offset, offset + size), whole pages that it has populated: they become writable, and their page
 * tables are filled now rather than fault by fault. ROOST_EINVAL outside the segment or not whole pages;
 * ROOST_ENOMEM. On failure nothing is writable. */
int store_map_lease(struct store_map *map, struct store_place place);

/* Whoever still writes there gets a fault from now on. Also at the seal of a large object, whose late writers it is
 * meant for. Same errors. */
int store_map_unlease(struct store_map *map, struct store_place place);

/* Where an object in the making is written: inside a lease. NULL outside the segment. */
void *store_map_pointer(const struct store_map *map, struct store_place place);

/* Copy `size` bytes to `at` bytes behind the place's beginning; they must fit the place, which must be leased.
 * The write address is not shown. */
void store_map_write(const struct store_map *map, struct store_place place, uint64_t at, const void *data, size_t size);

/* Write the trailer behind `size` bytes of payload. The place has room for table_object_bytes(). `ends` ascend, and end
 * at `size` at most: ROOST_EINVAL otherwise, and nothing is written. */
int store_map_write_trailer(const struct store_map *map, struct store_place place, uint64_t size, const uint64_t *ends,
                            uint32_t columns, const roost_ref *refs, uint32_t refs_count);

struct store_view {
    const void *data;
    uint64_t size;
    uint64_t pin;          /* 0: none */
    const roost_ref *refs; /* declared inside the whole object */
    uint32_t refs_count;
    uint32_t version;
    enum table_format format;
    int status;        /* of STORE_GET_FAILED */
    roost_ref forward; /* of STORE_GET_FORWARD */
};

/* Positive answers of store_map_get; what is not set in the view is zero. */
enum store_get {
    STORE_GET_ASK = 1, /* not here, not readable here, or changing all the while: the agent knows */
    STORE_GET_WAIT,    /* it is being written */
    STORE_GET_FAILED,  /* it never will be: view->status, a negative code */
    STORE_GET_ERROR,   /* pinned; the bytes describe a failure (TABLE_ERROR) */
    STORE_GET_FORWARD /* nothing pinned; get view->forward instead, the range is taken over into it. Count the steps. */
};

/* See the bytes that `ref` names: an object, a range of it, or a column, or the part of it that was pulled here alone
 * (part_id). 0: pinned until store_map_release(view_out->pin).
 * Errors: ROOST_ERANGE  outside the object, or no such column
 *         ROOST_EFREED  it was given up
 *         ROOST_EIO     the table's entry makes no sense; the text has its numbers
 *         what pins_pin says. On errors and other answers nothing is pinned, but with STORE_GET_ERROR.
 * No system call, unless the thread needs further slots for pins. */
int store_map_get(const struct store_map *map, struct pins_thread *thread, roost_ref ref, struct store_view *view_out);

/* Any thread; `thread` is the caller's record or NULL. True: the agent wants room, ring it. */
bool store_map_release(const struct store_map *map, struct pins_thread *thread, uint64_t pin);

#endif
