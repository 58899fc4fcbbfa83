/* core.c - the arena that carries a core's commands to its host
 *
 * Blocks, each filled from the front: commands and the memory their bodies point to, in order of creation. One block,
 * kept from step to step, is enough for nearly every step. A filler record stands for core_alloc()ed memory, so that
 * the walk can step over it; one whose `to` is set ends a block and leads to the next. */
#include "common/core.h"
#include "common/bytes.h"
#include "common/contract.h"

#include <roost.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct core_command) == 32, "bodies follow at a multiple of 16");

enum { CORE_ALIGNMENT = 16 };

struct core_more { /* before each further block */
    struct core_more *older;
    size_t reserved;
};
_Static_assert(sizeof(struct core_more) % CORE_ALIGNMENT == 0, "the block follows");

int core_out_init(struct core_out *out, size_t capacity)
{
    size_t bytes = align_up(capacity, CORE_ALIGNMENT);
    unsigned char *base = aligned_alloc(CORE_ALIGNMENT, bytes);
    ROOST_PRE(bytes > sizeof(struct core_command));
    if (base == NULL) {
        return ROOST_ENOMEM;
    }
    *out = (struct core_out){ .base = base, .block = base, .capacity = bytes, .block_bytes = bytes };
    return 0;
}

void core_out_fini(struct core_out *out)
{
    if (out->base != NULL) {
        core_out_clear(out);
    }
    free(out->base);
    *out = (struct core_out){ 0 };
}

void core_out_clear(struct core_out *out)
{
    while (out->more != NULL) {
        struct core_more *more = out->more;
        out->more = more->older;
        free(more);
    }
    *out = (struct core_out){
        .base = out->base, .block = out->base, .capacity = out->capacity, .block_bytes = out->capacity
    };
}

size_t core_out_left(const struct core_out *out) { return out->used < out->capacity ? out->capacity - out->used : 0; }

static struct core_command *place(struct core_out *out, size_t bytes)
{
    struct core_command *command = (struct core_command *)(void *)(out->block + out->block_used);
    out->block_used += bytes;
    out->used += bytes;
    return command;
}

/* A block for at least `bytes`; the walk finds the way there. */
static void go_on(struct core_out *out, size_t bytes)
{
    size_t block_bytes = bytes > out->capacity ? bytes : out->capacity;
    struct core_more *more = aligned_alloc(CORE_ALIGNMENT, sizeof *more + block_bytes);
    ROOST_INVARIANT(more != NULL);
    *more = (struct core_more){ .older = out->more };
    unsigned char *block = (unsigned char *)(more + 1);
    *place(out, sizeof(struct core_command)) = (struct core_command){ .kind = CORE_FILLER, .to = (uintptr_t)block };
    out->more = more;
    out->block = block;
    out->block_bytes = block_bytes;
    out->block_used = 0;
}

static struct core_command *append(struct core_out *out, enum core_command_kind kind, uint64_t to, uint64_t token,
                                   size_t body_bytes)
{
    size_t size = align_up(body_bytes, CORE_ALIGNMENT), way_out = sizeof(struct core_command);
    ROOST_PRE(size <= UINT32_MAX);
    if (sizeof(struct core_command) + size + way_out > out->block_bytes - out->block_used) {
        go_on(out, sizeof(struct core_command) + size + way_out);
    }
    struct core_command *command = place(out, sizeof *command + size);
    *command = (struct core_command){ .kind = kind, .size = (uint32_t)size, .to = to, .token = token };
    memset(command + 1, 0, size);
    return command;
}

void *core_put(struct core_out *out, enum core_command_kind kind, uint64_t to, uint64_t token, size_t body_bytes)
{
    return append(out, kind, to, token, body_bytes) + 1;
}

void core_arm(struct core_out *out, uint64_t key, uint64_t at_ns) { append(out, CORE_ARM, 0, key, 0)->at_ns = at_ns; }

void *core_alloc(struct core_out *out, size_t bytes) { return core_put(out, CORE_FILLER, 0, 0, bytes); }

const struct core_command *core_next(const struct core_out *out, const struct core_command *command)
{
    const unsigned char *at = command == NULL ? out->base : (const unsigned char *)(command + 1) + command->size;
    while (at != out->block + out->block_used) {
        const struct core_command *next = (const struct core_command *)(const void *)at;
        if (next->kind != CORE_FILLER) {
            return next;
        }
        at = next->to != 0 ? (const unsigned char *)(uintptr_t)next->to : at + sizeof *next + next->size;
    }
    return NULL;
}
