/* transfer.h - bytes between this node's store and another's
 *
 * The host's half of pulls: knows memory and streams, decides nothing. The core says what goes where (agent_pull), what
 * came of it comes back through the functions of transfer_owner.
 *
 * Thread: the loop's. */
#ifndef ROOST_WORKER_AGENT_TRANSFER_H
#define ROOST_WORKER_AGENT_TRANSFER_H

#include "common/io/loop.h"
#include "objectstore/store.h"
#include "worker/agent/core/agent.h"

struct endpoint_listener;
struct transfers;

struct transfer_owner {
    /* An answer to a command: CORE_DONE. `data` is borrowed for the call. Never from inside a call of this header. */
    void (*done)(void *arg, uint64_t token, int status, uint64_t value, const void *data, size_t bytes);
    /* "HOST:PORT" of the node, or NULL. */
    const char *(*address_of)(void *arg, uint32_t node);
    void *arg;
};

/* Takes bulk connections at the port of `messages`. `store` is borrowed, and `messages` until transfers_stop().
 * Errors: those of bulk_ops.listen(). */
int transfers_create(struct transfers **transfers_out, struct loop *loop, struct store *store,
                     struct endpoint_listener *messages, const struct transfer_owner *owner);
/* Connections are cut; nothing is answered any more. Before the loop is destroyed. */
void transfers_stop(struct transfers *transfers);
/* After the loop was destroyed: only then the last connection has closed. Accepts NULL. */
void transfers_destroy(struct transfers *transfers);

/* Carries out one CORE_PULL. */
void transfers_run(struct transfers *transfers, uint64_t token, const struct agent_pull *command);

#endif
