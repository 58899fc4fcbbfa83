/* host.h - the head's core among live sessions: events in, commands out
 *
 * The host gives the core what comes over its peers and its timers, and runs what it says (scheduler/core/head.h). It
 * knows nothing of tasks. Thread: the loop's. */
#ifndef ROOST_SCHEDULER_HOST_H
#define ROOST_SCHEDULER_HOST_H

#include "common/core.h"
#include "proto/message.h"

struct loop;
struct record;
struct host;

struct host_options {
    const struct core_vtable *vtable; /* with `core` borrowed until host_close() */
    void *core;
    const char *listen; /* HOST:PORT */
    struct cluster_id cluster;
    uint64_t epoch;
    unsigned suspect_ms, dead_ms; /* 0: NODE_SUSPECT_MS, NODE_DEAD_MS */
    struct record *record;        /* of every event; NULL: none; borrowed */

    /* CORE_COMMIT: makes the fact durable before it returns; negative: it is not, and the head cannot go on. */
    int (*commit)(void *arg, const void *fact, size_t bytes);
    /* Somebody has told the core to end the cluster, after its tasks when `drain`. */
    void (*on_stop)(void *arg, bool drain);
    void *arg;
};

/* Errors: those of peers_open(), ROOST_ENOMEM. */
int host_open(struct host **host_out, struct loop *loop, const struct host_options *options);

/* No more events. What was sent goes out if it still can. Accepts NULL. Before the loop is destroyed. */
void host_close(struct host *host);

/* "HOST:PORT", valid until host_close(). */
const char *host_address(const struct host *host);

/* At the end of each turn of the loop. */
void host_turn(struct host *host);

/* No new agents from here on. */
void host_refuse_agents(struct host *host);

/* Tells every agent to end. */
void host_stop_agents(struct host *host);

/* How many agents are connected. */
unsigned host_agents_count(const struct host *host);

#endif
