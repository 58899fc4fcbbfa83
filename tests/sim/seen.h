/* seen.h - which names readers have seen in which object */
#ifndef ROOST_TESTS_SIM_SEEN_H
#define ROOST_TESTS_SIM_SEEN_H

#include "common/id_map.h"
#include "tests/sim/world.h"

struct seen {
    struct id_map contents; /* object -> struct contents */
};

void seen_fini(struct seen *seen);
/* A reader sees these names. Fails the world when they are not those that others have seen. `alone`: the life of a node
 * that has made the object, of which the head has not heard yet; node 0: the head knows what it is. */
void seen_note(struct world *world, struct seen *seen, struct object_id id, const void *refs, uint32_t count,
               struct core_peer alone);
/* Nobody can have it any more: the next object of this name is another one. */
void seen_forget(struct seen *seen, struct object_id id);

#endif
