/* core.c - the arena that carries a core's commands to its host
 *
 * One block, filled from the front: commands and the memory their bodies point to, in order of creation. A filler
 * record stands for core_alloc()ed memory, so that the walk can step over it. */
#include "common/core.h"
#include "common/bytes.h"
#include "common/contract.h"

#include <roost.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct core_command) == 32, "bodies follow at a multiple of 16");

enum { CORE_ALIGNMENT = 16 };

int core_out_init(struct core_out *out, size_t capacity)
{
    void *base = aligned_alloc(CORE_ALIGNMENT, align_up(capacity, CORE_ALIGNMENT));
    if (base == NULL) {
        return ROOST_ENOMEM;
    }
    *out = (struct core_out){ base, align_up(capacity, CORE_ALIGNMENT), 0 };
    return 0;
}

void core_out_fini(struct core_out *out)
{
    free(out->base);
    *out = (struct core_out){ NULL, 0, 0 };
}

void core_out_clear(struct core_out *out) { out->used = 0; }

size_t core_out_left(const struct core_out *out) { return out->capacity - out->used; }

static struct core_command *append(struct core_out *out, enum core_command_kind kind, uint64_t to, uint64_t token,
                                   size_t body_bytes)
{
    size_t size = align_up(body_bytes, CORE_ALIGNMENT);
    ROOST_PRE(size <= UINT32_MAX);
    ROOST_PRE(sizeof(struct core_command) + size <= core_out_left(out));
    struct core_command *command = (struct core_command *)(void *)(out->base + out->used);
    *command = (struct core_command){ .kind = kind, .size = (uint32_t)size, .to = to, .token = token };
    out->used += sizeof *command + size;
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
    while (at < out->base + out->used) {
        const struct core_command *next = (const struct core_command *)(const void *)at;
        if (next->kind != CORE_FILLER) {
            return next;
        }
        at += sizeof *next + next->size;
    }
    return NULL;
}
