/* query.h - one question to the head, for the command line
 *
 * Runs a loop of its own until the answer is there, so it blocks; not for daemons. nng's threads stay: the caller ends
 * them with nng_threads_end(). */
#ifndef ROOST_PROTO_IO_QUERY_H
#define ROOST_PROTO_IO_QUERY_H

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

#endif
