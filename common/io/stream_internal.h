/* stream_internal.h - TCP byte streams, the only place that knows nng
 *
 * What endpoint.c and bulk.c stand on. A stream takes one send and one receive at a time, each of up to
 * STREAM_IOVS_MAX pieces. Partial transfers are continued here: a send completes when all of it is in the socket, a
 * receive when it has at least the bytes that were asked for. Completions come exactly once, on the loop's thread, in a
 * later turn. All functions belong to the loop's thread; none blocks longer than an nng callback runs (one copy between
 * socket and memory, at most about a millisecond). */
#ifndef ROOST_COMMON_IO_STREAM_INTERNAL_H
#define ROOST_COMMON_IO_STREAM_INTERNAL_H

#include "common/io/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct loop;
struct stream;
struct stream_listener;
struct stream_dial;

/* `status` 0: `bytes` were moved, all of them for a send. Else why the stream is of no more use: ROOST_EDISCONNECTED
 * (the peer closed or vanished), ROOST_ECANCELED (stream_close() was called), ROOST_EIO; error_text() says it. */
typedef void stream_done_fn(void *arg, int status, size_t bytes);
typedef void stream_closed_fn(void *arg);

/* The memory behind `iov` is borrowed until the completion; the array only for the call. The total is not 0, and for
 * a receive at least `min_bytes` > 0. Not after stream_close(), and one of each kind at a time. */
void stream_send(struct stream *stream, const struct iovec *iov, size_t count, stream_done_fn *fn, void *arg);
void stream_receive(struct stream *stream, const struct iovec *iov, size_t count, size_t min_bytes, stream_done_fn *fn,
                    void *arg);

/* Cuts the connection. What is under way completes with ROOST_ECANCELED (or its result, if it was just done), then
 * `fn` comes, then the stream is gone. What the kernel has taken is still sent. Once. */
void stream_close(struct stream *stream, stream_closed_fn *fn, void *arg);

/* "HOST:PORT" of the other end. Valid as long as the stream. */
const char *stream_peer(const struct stream *stream);

/* `stream` is the callee's, which must close it sometime. */
typedef void stream_accept_fn(void *arg, struct stream *stream);

/* Listen on a loopback address; port 0 takes a free one. At most `streams_max` accepted streams live at a time, a
 * further one is closed at once and counted in the log. Looks the host up at once (numbers only, so without waiting).
 * Errors: ROOST_EAUTH     not a loopback address
 *         ROOST_EEXIST    the port is taken
 *         ROOST_EIO, ROOST_ENOMEM */
int stream_listen(struct loop *loop, const struct address *address, unsigned streams_max, stream_accept_fn *fn,
                  void *arg, struct stream_listener **listener_out);

/* The address with the port that was bound. Valid as long as the listener. */
const struct address *stream_listener_address(const struct stream_listener *listener);

/* `streams_max` from now on. Those that are open stay. */
void stream_listener_limit(struct stream_listener *listener, unsigned streams_max);

/* No accept after this; streams that it gave out live on. Once. Accepts NULL. */
void stream_listener_close(struct stream_listener *listener);

/* `status` 0: `stream` is the callee's. Else it is NULL: ROOST_ECONNECT, ROOST_ETIMEDOUT, ROOST_ECANCELED, ROOST_EINVAL
 * (no such host), ROOST_ELIMIT (no descriptors), ROOST_EIO. */
typedef void stream_dialed_fn(void *arg, int status, struct stream *stream);

/* Connect. `fn` comes exactly once unless this fails (ROOST_ENOMEM, ROOST_EINVAL); then the dial is gone. */
int stream_dial(struct loop *loop, const struct address *address, unsigned timeout_ms, stream_dialed_fn *fn, void *arg,
                struct stream_dial **dial_out);

/* `fn` comes soon, with ROOST_ECANCELED. Idempotent, until then. */
void stream_dial_cancel(struct stream_dial *dial);

#endif
