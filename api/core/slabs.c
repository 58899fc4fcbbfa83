/* slabs.c - room for small objects
 *
 * Owns the slabs leased from the agent. Room is taken off the front of the newest; a slab that is used up goes back once
 * nothing in it is only this process's any more: then everything that lives in it is announced, and the agent's.
 *
 * Happy path: add -> alloc* -> (objects leave)* -> the next slab is added -> back.
 * Failures:   no slab has room -> the host asks for one, twice as large as the last.
 * Invariants: `making` counts room that is being written and private objects. What was used of a slab is used again only
 *             when all of it has gone without being announced.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"

#include <stdlib.h>

static void slab_back(struct client_core *core, struct client_slab *slab)
{
    say_room_back(core, &slab->place);
    list_remove(&slab->node);
    free(slab);
}

int client_slab_add(struct client_core *core, const struct wire_place *place)
{
    struct client_slab *slab = calloc(1, sizeof *slab), *last = core->slab;
    if (slab == NULL) {
        return ROOST_ENOMEM;
    }
    slab->place = *place;
    list_append(&core->slabs, &slab->node);
    core->slab = slab;
    if (last != NULL) {
        last->is_closed = true;
        if (last->making == 0) {
            slab_back(core, last);
        }
    }
    core_note(core, 30, place->offset);
    return 0;
}

uint64_t client_slab_bytes(const struct client_core *core, uint64_t object_bytes)
{
    uint64_t bytes = core->slab == NULL ? STORE_SLAB_BYTES_MIN : core->slab->place.bytes * 2;
    uint64_t least = align_up(object_bytes, STORE_SLAB_BYTES_MIN);
    bytes = bytes < least ? least : bytes;
    return bytes < STORE_SLAB_BYTES_MAX ? bytes : STORE_SLAB_BYTES_MAX;
}

bool client_slab_alloc(struct client_core *core, uint64_t bytes, struct wire_place *place_out,
                       struct client_slab **slab_out)
{
    struct client_slab *slab = core->slab;
    uint64_t wanted = align_up(bytes == 0 ? 1 : bytes, STORE_ALIGNMENT);
    if (slab == NULL || wanted > slab->place.bytes - slab->used) {
        return false;
    }
    *place_out = (struct wire_place) { slab->place.offset + slab->used, wanted, slab->place.segment, 0 };
    *slab_out = slab;
    slab->used += wanted;
    slab->making++;
    return true;
}

void client_slab_shrink(struct client_slab *slab, struct wire_place *place, uint64_t bytes)
{
    uint64_t wanted = align_up(bytes == 0 ? 1 : bytes, STORE_ALIGNMENT);
    ROOST_PRE(wanted <= place->bytes);
    if (place->offset + place->bytes == slab->place.offset + slab->used) {
        slab->used -= place->bytes - wanted; /* nothing was allotted behind it */
    }
    place->bytes = wanted;
}

void slab_left(struct client_core *core, struct client_slab *slab, bool announced)
{
    ROOST_PRE(slab->making > 0);
    slab->making--;
    slab->is_announced |= announced;
    if (slab->making > 0) {
        return;
    }
    if (slab->is_closed) {
        slab_back(core, slab);
    } else if (!slab->is_announced) {
        slab->used = 0;
    }
}

void client_room_drop(struct client_core *core, const struct wire_place *place, struct client_slab *slab)
{
    if (slab != NULL) {
        slab_left(core, slab, false);
    } else {
        say_room_back(core, place);
    }
}
