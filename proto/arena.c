/* arena.c - chunks that are filled from the front and go all at once
 *
 * Owns the chunks of one arena, the newest first.
 *
 * Happy path: take* -> clear -> take* -> fini.
 * Failures:   the cap, or no memory -> NULL, and is_full until it is cleared: a decoder looks once, at its end.
 * Invariants: bytes is the sum of the chunks and at most bytes_max; under the address sanitizer what was not taken is
 *             poisoned.
 * Thread:     the owner's.
 */
#include "proto/arena.h"
#include "common/bytes.h"

#include <stdlib.h>

/* Under the address sanitizer what was not taken is poisoned, the gaps between pieces too. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(bytes, size)   ASAN_POISON_MEMORY_REGION((bytes), (size))
#define UNPOISON(bytes, size) ASAN_UNPOISON_MEMORY_REGION((bytes), (size))
#else
#define POISON(bytes, size)   ((void)(bytes), (void)(size))
#define UNPOISON(bytes, size) ((void)(bytes), (void)(size))
#endif

enum { CHUNK_BYTES = 64 << 10, ARENA_ALIGNMENT = 16 };

struct proto_chunk {
    struct proto_chunk *older;
    size_t size, used; /* of bytes[] */
    _Alignas(ARENA_ALIGNMENT) unsigned char bytes[];
};

void proto_arena_init(struct proto_arena *arena, size_t bytes_max, const struct proto_checks *checks)
{
    *arena = (struct proto_arena){ .bytes_max = bytes_max };
    if (checks != NULL) {
        arena->checks = *checks;
    }
}

static void free_chunks(struct proto_chunk *chunk)
{
    while (chunk != NULL) {
        struct proto_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
}

void proto_arena_fini(struct proto_arena *arena)
{
    free_chunks(arena->chunks);
    arena->chunks = NULL;
    arena->bytes = 0;
}

void proto_arena_clear(struct proto_arena *arena)
{
    struct proto_chunk *kept = NULL;
    for (struct proto_chunk **at = &arena->chunks; *at != NULL; at = &(*at)->older) {
        if ((*at)->size == CHUNK_BYTES) {
            kept = *at;
            *at = kept->older;
            break;
        }
    }
    proto_arena_fini(arena);
    arena->is_full = false;
    if (kept != NULL) {
        kept->older = NULL;
        kept->used = 0;
        POISON(kept->bytes, kept->size);
        arena->chunks = kept;
        arena->bytes = CHUNK_BYTES;
    }
}

/* A chunk that has room for `size`: of ordinary size first, then doubling, so that big frames take few of them. */
static struct proto_chunk *add_chunk(struct proto_arena *arena, size_t size)
{
    size_t bytes = arena->bytes < CHUNK_BYTES ? CHUNK_BYTES : arena->bytes;
    if (bytes > arena->bytes_max - arena->bytes) {
        bytes = arena->bytes_max - arena->bytes;
    }
    if (bytes < size) {
        bytes = size;
    }
    if (bytes > arena->bytes_max - arena->bytes) {
        return NULL;
    }
    struct proto_chunk *chunk = malloc(sizeof *chunk + bytes);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->older = arena->chunks;
    chunk->size = bytes;
    chunk->used = 0;
    arena->chunks = chunk;
    arena->bytes += bytes;
    POISON(chunk->bytes, chunk->size);
    return chunk;
}

void *proto_arena_take(struct proto_arena *arena, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGNMENT) {
        arena->is_full = true;
        return NULL;
    }
    size_t needed = size == 0 ? ARENA_ALIGNMENT : (size_t)align_up(size, ARENA_ALIGNMENT);
    struct proto_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < needed) {
        chunk = add_chunk(arena, needed);
        if (chunk == NULL) {
            arena->is_full = true;
            return NULL;
        }
    }
    void *taken = chunk->bytes + chunk->used;
    chunk->used += needed;
    UNPOISON(taken, size);
    return taken;
}

void *proto_arena_take_zeroed(struct proto_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    void *taken = size_mul(count, size, &bytes) ? proto_arena_take(arena, bytes) : NULL;
    if (taken != NULL) {
        memset(taken, 0, bytes);
    }
    return taken;
}
