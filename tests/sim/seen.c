/* seen.c - which names readers have seen in which object
 *
 * Owns what the first reader saw, until the object is gone.
 *
 * Failures: other names than those -> the world fails, unless the object was made again after its last copy was lost, or
 *           who saw them died before the head had heard of what it saw.
 */
#include "tests/sim/seen.h"
#include "common/contract.h"
#include "tests/sim/head_host.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle_views.h"
#include "tests/sim/store.h"

#include <stdlib.h>
#include <string.h>

struct contents {
    struct core_peer alone; /* as in seen_note() */
    uint64_t noted_ns;      /* when the first one saw them */
    uint32_t count;
    roost_ref refs[];
};

void seen_fini(struct seen *seen)
{
    for (uint32_t i = 0; i < seen->contents.capacity; i++) { /* freeing has no order */
        free(seen->contents.slots[i].value);
    }
    id_map_fini(&seen->contents);
}

void seen_forget(struct seen *seen, struct object_id id) { free(id_map_remove(&seen->contents, object_id_key(id))); }

/* What an attempt puts has other ids than what the one before had put, and so an object that is made again after all its
 * copies were lost may name others: but never are there two. Whether the last copy was lost is not known here: a node that
 * may have had it was. */
static bool may_be_another(struct world *world, struct object_id id, const struct contents *before)
{
    if (before->alone.node != 0 && !head_view_lives(head_host_core(world), before->alone)) {
        return true;
    }
    bool is_anywhere = false;
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        if (node_life(world, place) != 0) {
            is_anywhere = is_anywhere || store_names(world, world->nodes[place], id, before->refs, before->count);
        }
    }
    return world->node_lost_ns >= before->noted_ns && (world->wounds & WOUND_NODE_LOST) != 0 && !is_anywhere;
}

void seen_note(struct world *world, struct seen *seen, struct object_id id, const void *refs, uint32_t count,
               struct core_peer alone)
{
    struct contents *before = id_map_get(&seen->contents, object_id_key(id));
    bool is_same = before != NULL && before->count == count &&
                   memcmp(before->refs, refs, count * sizeof(roost_ref)) == 0;
    if (is_same) {
        before->alone = core_peer_key(before->alone) == core_peer_key(alone) ? alone : (struct core_peer){ 0 };
        return;
    }
    if (before != NULL && !may_be_another(world, id, before)) {
        world_fail(world, "object %llx has changed: it names others than it did", world_word(id));
    }
    seen_forget(seen, id);
    struct contents *contents = malloc(sizeof *contents + count * sizeof(roost_ref));
    ROOST_INVARIANT(contents != NULL);
    contents->alone = alone;
    contents->noted_ns = world->now_ns;
    contents->count = count;
    memcpy(contents->refs, refs, count * sizeof(roost_ref));
    ROOST_INVARIANT(id_map_put(&seen->contents, object_id_key(id), contents) == 0);
}
