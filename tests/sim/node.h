/* node.h - one node: an agent's core, its host's part, the processes that speak to it */
#ifndef ROOST_TESTS_SIM_NODE_H
#define ROOST_TESTS_SIM_NODE_H

#include "common/id_map.h"
#include "common/list.h"
#include "proto/marks.h"
#include "proto/message.h"
#include "tests/sim/world.h"
#include "worker/agent/core/agent.h"

enum { NODE_TIMERS = 8, NODE_TRIES = 3 };

struct way {               /* to the agent of another place (worker/agent/network.c) */
    struct core_peer peer; /* number 0: none */
    uint32_t tries, waiting_count;
    struct proto_message *waiting; /* for a session; they point to nothing; owned */
};

struct node {
    struct list_node clients; /* struct client.all */
    uint32_t place;
    uint64_t life; /* 0: down */
    struct node_id id;
    struct core_peer self; /* as WELCOME had it */
    uint64_t news;         /* what the head has said of nodes */
    uint64_t epoch;
    struct agent *core;
    uint64_t armed[NODE_TIMERS], arming;
    struct core_peer neighbours[SIM_PLACES]; /* number 0: not heard of */
    struct way ways[SIM_PLACES];
    struct list_node unreachable; /* struct unreachable: to be told in a later turn */
    struct marks marks;           /* of the session with the head */

    unsigned char *memory;
    uint64_t memory_bytes;
    struct id_map table; /* struct entry */
    struct list_node entries, incoming, copies;
    uint64_t copies_waiting; /* retired, and still read */

    struct id_map spawned; /* token -> struct spawned */
    uint32_t slots;
    bool drain_wanted, turn_is_due;
    uint64_t drains;
};

void node_create(struct world *world, uint32_t place);
void node_begin(struct world *world, uint32_t place);            /* a new process, with the node's id */
void node_end(struct world *world, uint32_t place, bool silent); /* killed, with all its processes */
void node_destroy(struct world *world, struct node *node);
uint64_t node_life(const struct world *world, uint32_t place); /* 0: it is down */
bool node_is_there(const struct world *world, const struct node *node, uint64_t life);

void node_step(struct world *world, struct node *node, struct core_event *event);
/* CORE_DONE, in a later turn. `data` is copied. */
void node_done(struct world *world, struct node *node, uint64_t delay_ns, uint64_t token, int status, uint64_t value,
               const void *data, size_t bytes);
void node_turn_soon(struct world *world, struct node *node);
/* Straight to the agent of another place, as a call would carry them; somebody here must hold them. */
void node_give_names(struct world *world, struct node *node, uint32_t to, const struct object_id *ids, uint32_t count);

void node_hello(struct world *world, uint32_t place, uint32_t to, struct proto_hello *hello_out);
void node_up(struct world *world, uint32_t place, uint32_t other, bool resumed, const struct proto_hello *hello);
void node_message(struct world *world, uint32_t place, uint32_t other, uint32_t batch, uint32_t seen,
                  const struct proto_message *message);
void node_batch_end(struct world *world, uint32_t place, uint32_t other, uint32_t batch, uint32_t seen);
void node_lost(struct world *world, uint32_t place, uint32_t other);
void node_down(struct world *world, uint32_t place, uint32_t other);

#endif
