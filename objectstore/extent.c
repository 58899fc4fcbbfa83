/* extent.c - which bytes of a segment are taken
 *
 * Owns the book of one segment: its blocks, taken and free, without gaps, in one treap by offset; each node knows the
 * largest free block below it. So first fit, look-up by offset and "largest" are walks from the root.
 *
 * Happy path: alloc (the leftmost block that fits is split) -> shrink? -> free (merged with its free neighbours).
 * Failures:   no room or no memory, from alloc alone. There are at most taken + 1 free blocks, as two are never
 *             neighbours; alloc keeps room for that many, so shrink always finds a block.
 * Invariants: blocks cover [0, bytes); no two free neighbours; sums and maxima agree (extent_is_valid).
 * Thread:     the owner's.
 *
 * Why first fit: low addresses are used again first, which clients have mapped already, and it fills the segment. 1 GiB
 * from empty until the first refusal, mean of 20 seeds (the unit test prints these): log-uniform sizes of 1 KiB to
 * 64 MiB 98.7 %, uniform ones of 1 KiB to 64 MiB 97.7 %, log-uniform ones of 1 KiB to 1 MiB 100.0 %. Mean live bytes
 * when each refusal evicts the oldest until it fits: 92.8 % for the first sizes, 100.0 % for the last. A free and an
 * alloc among 100,000 extents in random order: 3.3 us, most of it cache misses. */
#include "objectstore/extent.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"

#include <inttypes.h>
#include <stdlib.h>

enum { NONE = 0, EXTENT_BLOCKS_FIRST = 16, EXTENT_CANDIDATES = 32 };

struct extent_block {
    uint64_t offset, size;
    uint64_t largest; /* free block in this subtree */
    uint32_t left, right;
    uint32_t priority;
    bool is_free;
};

static struct extent_block *at(const struct extents *extents, uint32_t index) { return &extents->blocks[index]; }

static uint64_t max_of(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Block 0 stands for "no subtree": it is free of nothing, so that its `largest` is 0. */
static void refresh(struct extents *extents, uint32_t index)
{
    struct extent_block *block = at(extents, index);
    uint64_t below = max_of(at(extents, block->left)->largest, at(extents, block->right)->largest);
    block->largest = max_of(below, block->is_free ? block->size : 0);
}

static int grow(struct extents *extents, uint32_t wanted)
{
    uint32_t capacity = extents->capacity == 0 ? EXTENT_BLOCKS_FIRST : extents->capacity;
    while (capacity < wanted && capacity <= UINT32_MAX / 2) {
        capacity *= 2;
    }
    if (capacity < wanted) {
        return ROOST_ENOMEM;
    }
    if (capacity == extents->capacity) {
        return 0;
    }
    struct extent_block *blocks = realloc(extents->blocks, capacity * sizeof *blocks);
    if (blocks == NULL) {
        return ROOST_ENOMEM;
    }
    for (uint32_t i = extents->capacity; i < capacity; i++) {
        blocks[i] = (struct extent_block){ .left = i + 1 < capacity ? i + 1 : extents->spare };
    }
    extents->spare = extents->capacity;
    extents->blocks = blocks;
    extents->capacity = capacity;
    return 0;
}

static uint32_t block_new(struct extents *extents, uint64_t offset, uint64_t size, bool is_free)
{
    uint32_t index = extents->spare;
    ROOST_INVARIANT(index != NONE);
    extents->spare = at(extents, index)->left;
    extents->draws = hash_mix(extents->draws, offset);
    *at(extents, index) = (struct extent_block){ .offset = offset,
                                                 .size = size,
                                                 .largest = is_free ? size : 0,
                                                 .priority = (uint32_t)(extents->draws >> 32),
                                                 .is_free = is_free };
    is_free ? extents->free_count++ : extents->taken_count++;
    return index;
}

static void block_delete(struct extents *extents, uint32_t index)
{
    at(extents, index)->is_free ? extents->free_count-- : extents->taken_count--;
    *at(extents, index) = (struct extent_block){ .left = extents->spare };
    extents->spare = index;
}

/* Cut the tree into what begins before `offset` and the rest. */
static void split(struct extents *extents, uint32_t tree, uint64_t offset, uint32_t *before_out, uint32_t *rest_out)
{
    if (tree == NONE) {
        *before_out = *rest_out = NONE;
        return;
    }
    uint32_t part;
    if (at(extents, tree)->offset < offset) {
        split(extents, at(extents, tree)->right, offset, &part, rest_out);
        at(extents, tree)->right = part;
        *before_out = tree;
    } else {
        split(extents, at(extents, tree)->left, offset, before_out, &part);
        at(extents, tree)->left = part;
        *rest_out = tree;
    }
    refresh(extents, tree);
}

static uint32_t join(struct extents *extents, uint32_t before, uint32_t rest)
{
    if (before == NONE || rest == NONE) {
        return before != NONE ? before : rest;
    }
    uint32_t top = at(extents, before)->priority >= at(extents, rest)->priority ? before : rest;
    if (top == before) {
        at(extents, top)->right = join(extents, at(extents, top)->right, rest);
    } else {
        at(extents, top)->left = join(extents, before, at(extents, top)->left);
    }
    refresh(extents, top);
    return top;
}

static uint32_t insert(struct extents *extents, uint32_t tree, uint32_t block)
{
    if (tree == NONE) {
        return block;
    }
    if (at(extents, block)->priority > at(extents, tree)->priority) {
        uint32_t before, rest;
        split(extents, tree, at(extents, block)->offset, &before, &rest);
        at(extents, block)->left = before;
        at(extents, block)->right = rest;
        refresh(extents, block);
        return block;
    }
    if (at(extents, block)->offset < at(extents, tree)->offset) {
        at(extents, tree)->left = insert(extents, at(extents, tree)->left, block);
    } else {
        at(extents, tree)->right = insert(extents, at(extents, tree)->right, block);
    }
    refresh(extents, tree);
    return tree;
}

/* The tree without the block that begins at `offset`. */
static uint32_t take_out(struct extents *extents, uint32_t tree, uint64_t offset)
{
    ROOST_INVARIANT(tree != NONE);
    struct extent_block *block = at(extents, tree);
    if (block->offset == offset) {
        return join(extents, block->left, block->right);
    }
    if (offset < block->offset) {
        block->left = take_out(extents, block->left, offset);
    } else {
        block->right = take_out(extents, block->right, offset);
    }
    refresh(extents, tree);
    return tree;
}

/* Bring `largest` up to date from the root down to the block at `offset`, after that block has changed in place. */
static void refresh_path(struct extents *extents, uint32_t tree, uint64_t offset)
{
    ROOST_INVARIANT(tree != NONE);
    struct extent_block *block = at(extents, tree);
    if (offset != block->offset) {
        refresh_path(extents, offset < block->offset ? block->left : block->right, offset);
    }
    refresh(extents, tree);
}

static uint32_t find(const struct extents *extents, uint64_t offset)
{
    uint32_t tree = extents->root;
    while (tree != NONE && at(extents, tree)->offset != offset) {
        tree = offset < at(extents, tree)->offset ? at(extents, tree)->left : at(extents, tree)->right;
    }
    return tree;
}

/* The last block that begins before `offset`. */
static uint32_t find_before(const struct extents *extents, uint64_t offset)
{
    uint32_t found = NONE;
    for (uint32_t tree = extents->root; tree != NONE;) {
        bool is_before = at(extents, tree)->offset < offset;
        found = is_before ? tree : found;
        tree = is_before ? at(extents, tree)->right : at(extents, tree)->left;
    }
    return found;
}

int extent_init(struct extents *extents, uint64_t bytes)
{
    *extents = (struct extents){ .bytes = bytes / EXTENT_GRANULE * EXTENT_GRANULE };
    if (extents->bytes == 0) {
        return error_set(ROOST_EINVAL, "a segment of %" PRIu64 " bytes", bytes);
    }
    int status = grow(extents, EXTENT_BLOCKS_FIRST);
    if (status != 0) {
        return status;
    }
    extents->spare = at(extents, NONE)->left; /* block 0 is never handed out */
    at(extents, NONE)->left = NONE;
    extents->free_bytes = extents->bytes;
    extents->root = block_new(extents, 0, extents->bytes, true);
    return 0;
}

void extent_fini(struct extents *extents)
{
    free(extents->blocks);
    *extents = (struct extents){ 0 };
}

struct search {
    const struct extents *extents;
    uint64_t need; /* a free block at least so big is a candidate */
    uint64_t size, alignment;
    uint32_t candidates; /* to look at before giving up */
};

/* In address order over the candidates below `tree`, skipping subtrees without one. */
static uint32_t first_fit(struct search *search, uint32_t tree)
{
    const struct extents *extents = search->extents;
    while (tree != NONE && at(extents, tree)->largest >= search->need && search->candidates > 0) {
        const struct extent_block *block = at(extents, tree);
        uint32_t found = first_fit(search, block->left);
        if (found != NONE || search->candidates == 0) {
            return found;
        }
        if (block->is_free && block->size >= search->need) {
            uint64_t pad = align_up(block->offset, search->alignment) - block->offset;
            if (pad <= block->size && search->size <= block->size - pad) {
                return tree;
            }
            search->candidates--;
        }
        tree = block->right;
    }
    return NONE;
}

/* A hole may be big enough and badly aligned, so a few are tried in address order; then one that fits at any offset,
 * which is O(log n); and before giving up, all. */
static uint32_t place_for(const struct extents *extents, uint64_t size, uint64_t alignment)
{
    struct search search = { extents, size, size, alignment, EXTENT_CANDIDATES };
    uint32_t found = first_fit(&search, extents->root);
    if (found != NONE || alignment == EXTENT_GRANULE) {
        return found;
    }
    search.need = size + alignment - EXTENT_GRANULE;
    search.candidates = 1;
    found = first_fit(&search, extents->root);
    if (found != NONE) {
        return found;
    }
    search.need = size;
    search.candidates = UINT32_MAX;
    return first_fit(&search, extents->root);
}

/* A free neighbour's bytes join [offset, offset + size). */
static void absorb(struct extents *extents, uint32_t block, uint64_t *offset, uint64_t *size)
{
    if (block == NONE || !at(extents, block)->is_free) {
        return;
    }
    *offset = *offset < at(extents, block)->offset ? *offset : at(extents, block)->offset;
    *size += at(extents, block)->size;
    extents->root = take_out(extents, extents->root, at(extents, block)->offset);
    block_delete(extents, block);
}

/* Cut the free block `index` to [offset, offset + size): what stays free in front keeps the block, the rest behind gets
 * one of its own. The middle is taken. */
static void carve(struct extents *extents, uint32_t index, uint64_t offset, uint64_t size)
{
    uint64_t begin = at(extents, index)->offset, end = begin + at(extents, index)->size;
    if (begin < offset) {
        at(extents, index)->size = offset - begin;
        refresh_path(extents, extents->root, begin);
        uint32_t middle = block_new(extents, offset, size, false);
        extents->root = insert(extents, extents->root, middle);
    } else {
        at(extents, index)->size = size;
        at(extents, index)->is_free = false;
        extents->free_count--;
        extents->taken_count++;
        refresh_path(extents, extents->root, begin);
    }
    if (offset + size < end) {
        uint32_t behind = block_new(extents, offset + size, end - (offset + size), true);
        extents->root = insert(extents, extents->root, behind);
    }
}

int extent_alloc(struct extents *extents, uint64_t size, uint64_t alignment, uint64_t *offset_out)
{
    ROOST_PRE(size > 0);
    ROOST_PRE(alignment != 0 && (alignment & (alignment - 1)) == 0);
    alignment = max_of(alignment, EXTENT_GRANULE);
    if (size <= extents->bytes && alignment <= UINT64_MAX / 4) {
        uint64_t rounded = align_up(size, EXTENT_GRANULE);
        int status = grow(extents, 2 * extents->taken_count + 5);
        if (status != 0) {
            return status;
        }
        uint32_t place = place_for(extents, rounded, alignment);
        if (place != NONE) {
            *offset_out = align_up(at(extents, place)->offset, alignment);
            carve(extents, place, *offset_out, rounded);
            extents->free_bytes -= rounded;
            return 0;
        }
    }
    return error_set(ROOST_EFULL,
                     "no %" PRIu64 " bytes in one piece: %" PRIu64 " of %" PRIu64
                     " are free, the largest piece has %" PRIu64,
                     size, extents->free_bytes, extents->bytes, extent_largest_free(extents));
}

uint64_t extent_free(struct extents *extents, uint64_t offset)
{
    uint32_t index = find(extents, offset);
    ROOST_PRE(index != NONE);
    ROOST_PRE(!at(extents, index)->is_free);
    uint64_t freed = at(extents, index)->size, size = freed;
    extents->free_bytes += freed;
    absorb(extents, find(extents, offset + freed), &offset, &size);
    uint32_t before = find_before(extents, offset);
    if (before != NONE && at(extents, before)->is_free) {
        extents->root = take_out(extents, extents->root, offset);
        block_delete(extents, index);
        at(extents, before)->size += size;
        refresh_path(extents, extents->root, at(extents, before)->offset);
        return freed;
    }
    at(extents, index)->is_free = true;
    at(extents, index)->size = size;
    extents->taken_count--;
    extents->free_count++;
    refresh_path(extents, extents->root, offset);
    return freed;
}

uint64_t extent_shrink(struct extents *extents, uint64_t offset, uint64_t size)
{
    uint32_t index = find(extents, offset);
    ROOST_PRE(index != NONE);
    ROOST_PRE(!at(extents, index)->is_free);
    ROOST_PRE(size > 0 && size <= at(extents, index)->size);
    uint64_t kept = align_up(size, EXTENT_GRANULE), given = at(extents, index)->size - kept;
    if (given == 0) {
        return 0;
    }
    at(extents, index)->size = kept;
    uint64_t tail = offset + kept, tail_size = given;
    absorb(extents, find(extents, tail + given), &tail, &tail_size);
    uint32_t block = block_new(extents, tail, tail_size, true);
    extents->root = insert(extents, extents->root, block);
    extents->free_bytes += given;
    return given;
}

uint64_t extent_size(const struct extents *extents, uint64_t offset)
{
    uint32_t index = find(extents, offset);
    return index == NONE || at(extents, index)->is_free ? 0 : at(extents, index)->size;
}

uint64_t extent_largest_free(const struct extents *extents) { return at(extents, extents->root)->largest; }

struct audit {
    uint64_t end, free_bytes;
    uint32_t taken, free;
    bool last_was_free, is_good;
};

static void audit_walk(const struct extents *extents, uint32_t tree, struct audit *audit)
{
    if (tree == NONE) {
        return;
    }
    const struct extent_block *block = at(extents, tree);
    audit_walk(extents, block->left, audit);
    audit->is_good &= block->offset == audit->end && block->size > 0 && block->size % EXTENT_GRANULE == 0;
    audit->is_good &= !(block->is_free && audit->last_was_free);
    audit->end += block->size;
    audit->last_was_free = block->is_free;
    block->is_free ? audit->free++ : audit->taken++;
    audit->free_bytes += block->is_free ? block->size : 0;
    audit_walk(extents, block->right, audit);
    uint64_t below = max_of(at(extents, block->left)->largest, at(extents, block->right)->largest);
    audit->is_good &= block->largest == max_of(below, block->is_free ? block->size : 0);
}

bool extent_is_valid(const struct extents *extents)
{
    struct audit audit = { .is_good = at(extents, NONE)->largest == 0 };
    audit_walk(extents, extents->root, &audit);
    return audit.is_good && audit.end == extents->bytes && audit.free_bytes == extents->free_bytes &&
           audit.taken == extents->taken_count && audit.free == extents->free_count;
}
