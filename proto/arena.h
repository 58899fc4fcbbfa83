/* arena.h - memory that goes all at once, with a cap
 *
 * What one frame decodes to, or one message needs while it is encoded. Taking is a few instructions; there is no giving
 * back one by one. The cap is what bounds a hostile frame: a megabyte of empty sub-messages would otherwise become a
 * hundred. One thread at a time. */
#ifndef ROOST_PROTO_ARENA_H
#define ROOST_PROTO_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct proto_chunk;

/* How the opaque runs inside messages are checked as they come in: 0, or a negative status with a text. NULL members:
 * only the length is checked. */
struct proto_checks {
    int (*spec)(const void *bytes, size_t size); /* of a task; common/spec.h */
    int (*job)(const void *bytes, size_t size);  /* of a job; common/job.h */
};

struct proto_arena {
    struct proto_chunk *chunks; /* newest first; owned */
    size_t bytes, bytes_max;    /* of all chunks */
    bool is_full;               /* since it was cleared, something did not fit */
    struct proto_checks checks;
};

/* Takes no memory yet. `bytes_max` counts chunks, so a little more than what can be taken. `checks` may be NULL. */
void proto_arena_init(struct proto_arena *arena, size_t bytes_max, const struct proto_checks *checks);
void proto_arena_fini(struct proto_arena *arena);

/* Everything taken is invalid from here on. Keeps one chunk of ordinary size for the next frame. */
void proto_arena_clear(struct proto_arena *arena);

/* `size` bytes aligned to 16, not zeroed; never NULL for a size of 0. NULL beyond the cap or without memory. */
void *proto_arena_take(struct proto_arena *arena, size_t size);

/* `count` zeroed structs of `size` bytes, or NULL. */
void *proto_arena_take_zeroed(struct proto_arena *arena, size_t count, size_t size);

#endif
