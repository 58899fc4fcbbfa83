/* slabs.c - room for small objects, through the store's book of slabs (objectstore/slab.h)
 *
 * Happy path: take (wanted -> the host leases and adds one) -> the object leaves: announced or gone -> the slab, when
 *             it is closed and empty, goes back by a saying.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"

static struct store_place store_place_of(const struct wire_place *place)
{
    return (struct store_place){ place->offset, place->bytes, place->segment };
}

static struct wire_place wire_place_of(struct store_place place)
{
    return (struct wire_place){ place.offset, place.size, place.segment, 0 };
}

static void give_empty_back(struct client_core *core)
{
    struct store_place empty;
    while (slab_next_empty(&core->slabs, &empty)) {
        struct wire_place place = wire_place_of(empty);
        say_room_back(core, &place);
    }
}

int client_slab_take(struct client_core *core, uint64_t bytes, uint64_t now_ns, struct wire_place *place_out,
                     uint64_t *slab_bytes_out)
{
    struct store_place place;
    int status = slab_take(&core->slabs, bytes == 0 ? 1 : bytes, now_ns, &place, slab_bytes_out);
    if (status == 0) {
        *place_out = wire_place_of(place);
    } else {
        give_empty_back(core);
    }
    return status;
}

int client_slab_add(struct client_core *core, const struct wire_place *place, uint64_t now_ns)
{
    int status = slab_add(&core->slabs, store_place_of(place), now_ns);
    core_note(core, 30, place->offset);
    give_empty_back(core); /* the one that was allotted from until now may hold nothing */
    return status;
}

void client_slab_trim(struct client_core *core, struct wire_place *place, uint64_t bytes)
{
    struct store_place trimmed = store_place_of(place);
    slab_trim(&core->slabs, &trimmed, bytes == 0 ? 1 : bytes);
    *place = wire_place_of(trimmed);
}

void slab_left(struct client_core *core, const struct wire_place *place, bool announced)
{
    if (announced) {
        slab_hand_over(&core->slabs, store_place_of(place));
    } else {
        slab_drop(&core->slabs, store_place_of(place));
    }
    give_empty_back(core);
}

void client_room_drop(struct client_core *core, const struct wire_place *place, bool in_slab)
{
    if (in_slab) {
        slab_left(core, place, false);
    } else {
        say_room_back(core, place);
    }
}
