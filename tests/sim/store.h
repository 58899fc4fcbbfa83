/* store.h - a node's memory, its table of objects, and the transfers between such memories
 *
 * The bytes are real: clients write them, readers read them, transfers copy them. A reader pins a copy; memory that an
 * agent's core has retired is the core's again when no pin is left, as with the shared table. */
#ifndef ROOST_TESTS_SIM_STORE_H
#define ROOST_TESTS_SIM_STORE_H

#include "tests/sim/node.h"

struct copy {             /* bytes at one place, from their publication until they are the core's again */
    struct list_node all; /* node.copies */
    struct wire_object object;
    int32_t status; /* of one that failed: no bytes */
    uint32_t pins;
    uint64_t token; /* retired: of the DONE to come; else 0 */
};

struct entry {
    struct list_node all;
    struct object_id id;
    struct copy *copy; /* NULL: not here now, ask */
};

void store_init(struct node *node, uint64_t bytes);
void store_fini(struct node *node);
void store_entry(struct world *world, struct node *node, uint64_t token, const struct agent_entry *body);
void store_write(struct world *world, struct node *node, const struct agent_write *body);
unsigned char *store_at(struct world *world, struct node *node, const struct wire_place *place, uint64_t bytes);

enum look { LOOK_HERE, LOOK_ASK, LOOK_FAILED, LOOK_ERROR, LOOK_FORWARD };
struct view {
    struct copy *copy; /* pinned when HERE */
    const unsigned char *data;
    uint64_t size;
    int32_t status;    /* of FAILED and ERROR */
    char text[128];    /* of ERROR */
    roost_ref forward; /* of FORWARD */
};
/* What store_map_get() does. */
enum look store_look(struct world *world, struct node *node, roost_ref ref, struct view *view_out);
void store_unpin(struct world *world, struct node *node, struct copy *copy);

void store_pull(struct world *world, struct node *node, uint64_t token, const struct agent_pull *body);

/* Does a copy of the object lie here that names these? */
bool store_names(struct world *world, struct node *node, struct object_id id, const void *refs, uint32_t count);

/* How many entries there are that a reader could find. */
uint64_t store_entries(const struct node *node);

#endif
