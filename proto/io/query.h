/* query.h - one question to the head, or to many agents at once, for the command line
 *
 * Runs a loop of its own until the answer is there, so it blocks; not for daemons. nng's threads stay: the caller ends
 * them with nng_threads_end(). */
#ifndef ROOST_PROTO_IO_QUERY_H
#define ROOST_PROTO_IO_QUERY_H

#include "common/error.h"
#include "proto/message.h"

/* One part of the answer, borrowed for the call. A negative status ends the query with that status. */
typedef int query_rows_fn(void *arg, const struct proto_rows *rows);

/* Connects to HOST:PORT as a command and sends `message`, a QUERY or a STOP. A QUERY ends with the last of its rows; a
 * STOP of the cluster when the head has closed the connection, one of a single node when the head has taken it. `fn`
 * may be NULL for a STOP.
 *
 * Errors: ROOST_ECONNECT     nobody listens there
 *         ROOST_ETIMEDOUT    no answer within `timeout_ms`; what was asked may still happen
 *         ROOST_EDISCONNECTED the head went away
 *         what the head refused with, what the rows' status or `fn` said; ROOST_EINVAL, ROOST_ENOMEM */
int query_head(const char *address, unsigned timeout_ms, const struct proto_message *message, query_rows_fn *fn,
               void *arg);

struct query_target {
    const char *address; /* HOST:PORT of an agent; borrowed for the call */
    query_rows_fn *fn;
    void *arg;
    int status; /* how it went: as of query_head(), of the agent */
    char text[ERROR_TEXT_BYTES];
};

/* Asks all of them the same QUERY, together, and returns when each has answered or failed, at the latest after `timeout_ms`.
 * Errors: ROOST_ENOMEM, or what kept a loop from being made: nobody was asked. */
int query_agents(struct query_target *targets, size_t count, unsigned timeout_ms, const struct proto_message *message);

#endif
