/* client.h - a process that speaks to its node's agent: the real client core, played rings, a program
 *
 * Drivers and workers are alike here: both drive the whole of api/core/client_core.h, as api/agent_world.c does, and
 * what it says is what the agent reads. The program runs on a stack of its own and waits where a real one would: for
 * room, for objects, for a task. A process can be killed at each of these places; what it had written until then is
 * read. */
#ifndef ROOST_TESTS_SIM_CLIENT_H
#define ROOST_TESTS_SIM_CLIENT_H

#include "api/core/client_core.h"
#include "tests/sim/node.h"
#include "tests/sim/store.h"

#include <ucontext.h>

enum { CLIENT_VIEWS = 64 };

struct client {
    struct list_node all; /* node.clients */
    struct world *world;
    struct node *node;
    uint64_t life, serial; /* life: of the node; serial: no other process has it */
    struct core_client key;
    struct job_id job;
    uint64_t prefix, token; /* token: of its spawn; 0: a driver */
    int64_t pid;
    int32_t wait_status;
    bool is_dead, has_ended; /* has_ended: the program has returned */
    bool is_void;            /* its node was called dead while it lived: its names are worth nothing */
    struct client_core *core;

    /* what the agent reads: struct written, in order */
    struct list_node requests, submits, completes;
    uint64_t written, floor, tickets; /* floor: what was written when every ring was last read */
    uint64_t reply_ns, taken_ns;      /* when the newest entry of each ring arrives */
    struct list_node tasks;           /* struct given_task, not begun */

    ucontext_t context, *back;
    unsigned char *stack;
    void (*program)(struct client *client);
    uint64_t wakes; /* counts the pauses: a wake-up is for one of them */
    bool waits_for_task;
    struct copy *views[CLIENT_VIEWS]; /* pinned */
    uint64_t run, run_prefix;         /* of the attempt at hand */
    uint64_t dies_after;              /* pauses; 0: not by itself */
    void *state;                      /* the program's, freed with the client */
};

struct given_task {
    struct list_node of_client;
    struct wire_task task;
    struct spec *spec;
};

/* The agent's side. */
void client_spawn(struct world *world, struct node *node, uint64_t token, const struct agent_spawn *spawn);
void client_kill_spawned(struct world *world, struct node *node, uint64_t token);
void client_reply(struct world *world, struct node *node, struct core_client key, const struct wire_entry *entry);
void client_task(struct world *world, struct node *node, struct core_client key, const struct agent_task *body);
/* One turn: every ring, in the agent's order; then the dead are buried. */
void clients_read(struct world *world, struct node *node);
/* Names have come from another agent: some driver takes them, holds them, and then the core is told so. */
void clients_take_names(struct world *world, struct node *node, uint64_t token, const struct agent_names *names);
void clients_end(struct world *world, struct node *node); /* with the node */

/* The world's side. */
struct client *client_driver(struct world *world, struct node *node);
void client_kill(struct world *world, struct client *client, int32_t wait_status);

/* The program's side: on its own stack. */
void client_sleep(struct client *client, uint64_t ns);
/* Until the ask is answered, or at most so long (0: for ever). False: not answered. */
bool client_wait_for(struct client *client, struct client_ask *ask, uint64_t at_most_ns);
struct given_task *client_next_task(struct client *client);
void client_say(struct client *client, bool all); /* what is to be said, or only what is urgent */
void client_publish(struct client *client, uint64_t scope, const struct spec *spec, const struct wire_place *place,
                    struct client_flight *flight);
void client_complete(struct client *client, uint64_t run, int32_t status, const char *text);
void client_pin(struct client *client, struct copy *copy); /* so that it goes with the process */
void client_unpin(struct client *client, struct copy *copy);

#endif
