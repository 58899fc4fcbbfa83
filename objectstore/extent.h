/* extent.h - which bytes of a segment are taken
 *
 * First fit by address with coalescing over [0, bytes) of one segment. Pure: knows sizes and offsets, never memory, so
 * nothing that a client scribbles into a segment can harm it. The same calls give the same offsets, everywhere. The
 * agent allocates slabs and large objects with it; inside a slab the client's own book (slab.h) goes on.
 * One thread: the owner's. Nothing blocks. */
#ifndef ROOST_OBJECTSTORE_EXTENT_H
#define ROOST_OBJECTSTORE_EXTENT_H

#include "common/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum { EXTENT_GRANULE = STORE_ALIGNMENT }; /* bytes; every offset and size is a multiple of it */

struct extent_block; /* extent.c */

struct extents {
    struct extent_block *blocks; /* a treap by offset, links are indices; owned */
    uint32_t capacity, spare;    /* of `blocks`; spare: first unused one, a chain */
    uint32_t root;
    uint32_t taken_count, free_count; /* blocks of each kind */
    uint64_t bytes, free_bytes;
    uint64_t draws; /* state of the priorities */
};

/* One free block of `bytes`, rounded down to granules. ROOST_ENOMEM, or ROOST_EINVAL for less than a granule. */
int extent_init(struct extents *extents, uint64_t bytes);
void extent_fini(struct extents *extents);

/* The lowest offset that is a multiple of `alignment` (a power of two) and has `size` free bytes, size > 0, rounded up
 * to granules.
 * Errors: ROOST_EFULL   no such place; the text names sizes
 *         ROOST_ENOMEM  no memory for the book. Nothing changed.
 * O(log n); with an alignment above the granule, 32 log n unless that finds nothing. */
int extent_alloc(struct extents *extents, uint64_t size, uint64_t alignment, uint64_t *offset_out);

/* Give back the whole extent that begins at `offset`; anything else is a broken contract. Returns its bytes. Needs no
 * memory, so it cannot fail. O(log n). */
uint64_t extent_free(struct extents *extents, uint64_t offset);

/* Keep the first `size` bytes (rounded up to granules, 0 < size <= its size), give back the rest. Cannot fail: alloc
 * has kept the room in the book. Returns the bytes given back. */
uint64_t extent_shrink(struct extents *extents, uint64_t offset, uint64_t size);

/* Bytes of the extent that begins at `offset`, 0 when none does. For checking what a peer names. */
uint64_t extent_size(const struct extents *extents, uint64_t offset);

/* The biggest free block. O(1). */
uint64_t extent_largest_free(const struct extents *extents);

/* Walks all blocks: order, coalescing, sums, maxima. O(n). */
bool extent_is_valid(const struct extents *extents);

#endif
