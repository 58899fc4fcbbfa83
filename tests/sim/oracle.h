/* oracle.h - what must hold across the cores of a world
 *
 * The cores check themselves. What no single core can see is checked here: who truly names an object when the head
 * frees it, whether what is read is what was made, whether a failure has a cause in this world, and, when all is quiet,
 * whether what the head lists is what the nodes have. */
#ifndef ROOST_TESTS_SIM_ORACLE_H
#define ROOST_TESTS_SIM_ORACLE_H

#include "proto/message.h"
#include "tests/sim/client.h"
#include "tests/sim/world.h"

struct oracle *oracle_create(void);
void oracle_destroy(struct oracle *oracle);

/* The objects that a message names so that they must live until it is taken in, and after them *makes_out that it makes
 * known, if need be once more; *ids_out is the caller's. */
size_t oracle_names_of(const struct proto_message *message, struct object_id **ids_out, size_t *makes_out);
/* For the trace: it is said. */
void oracle_tell_message(struct world *world, uint32_t from, uint32_t to, const struct proto_message *message);

/* After each step of the head's core: what it has freed is named by nobody. */
void oracle_head_stepped(struct world *world);
void oracle_head_gone(struct world *world);
/* The head calls a node dead: if it lives, what its processes name is void. */
void oracle_node_dead(struct world *world, struct node_id id);

/* A reader saw these names in an object; every reader sees the same, unless the object is its node's alone. */
void oracle_seen(struct client *client, struct object_id id, const void *refs, uint32_t count);
/* A node has given up its copy: if nobody else may have one, a later attempt may make another object of this name. */
void oracle_retired(struct world *world, struct object_id id);
/* A program meets this failure of something that it holds: may that be? */
void oracle_may_see(struct client *client, roost_ref ref, int32_t status, const char *text);
/* A program waits since then; after the healing that has an end. */
void oracle_waits(struct client *client, roost_ref ref, uint64_t began_ns);

/* Memory of a program that goes with its process. */
void oracle_keep(struct client *client, void *memory);
void oracle_let_go(struct client *client, void *memory);
void oracle_client_gone(struct world *world, struct client *client);

/* What is not done yet, of each node, to the standard error. */
void oracle_explain(struct world *world);
/* Nothing is on its way and programs rest, but hold what they hold. NULL, or what is wrong (not yet, perhaps). */
const char *oracle_quiet(struct world *world);
/* Every job has ended: nothing is left. NULL, or what is. */
const char *oracle_empty(struct world *world);

#endif
