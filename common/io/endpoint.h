/* endpoint.h - framed messages between machines
 *
 * A frame is a 4-byte little-endian length, 1 to PROTO_FRAME_BYTES_MAX, and so many bytes. What they mean is proto/'s
 * business. Frames of one connection arrive in the order of sending, whole, once, or the connection ends.
 *
 * All functions belong to the loop's thread; none blocks. Callbacks come on it too, never from inside a call. */
#ifndef ROOST_COMMON_IO_ENDPOINT_H
#define ROOST_COMMON_IO_ENDPOINT_H

#include "common/io/address.h"

#include <stddef.h>

struct loop;
struct endpoint;
struct endpoint_listener;

struct endpoint_handler {
    /* The connection stands; sending is possible from here on. An accepted connection begins with its listener's `arg`:
     * this is the place for endpoint_set_arg(). */
    void (*on_open)(struct endpoint *endpoint, void *arg);

    /* One frame. `data` is borrowed for the call and has no particular alignment. */
    void (*on_frame)(struct endpoint *endpoint, void *arg, const void *data, size_t size);

    /* May be NULL. There is room again after a send that was refused with ROOST_EBUSY. */
    void (*on_room)(struct endpoint *endpoint, void *arg);

    /* The last callback, exactly once for each endpoint, also one that never opened. `status` is why:
     *   ROOST_ECANCELED      endpoint_close() or endpoint_finish() was called; also: it has turned out to be a bulk
     *                        connection, which go in at the same port (bulk.h)
     *   ROOST_EDISCONNECTED  the peer closed or vanished
     *   ROOST_ECONNECT, ROOST_ETIMEDOUT, ROOST_ELIMIT  the dial failed; also: no first frame in time
     *   ROOST_ETOOBIG        the peer announced a frame over the limit
     *   ROOST_EINVAL         the peer sent a frame of no bytes, or the host does not exist
     *   ROOST_EIO, ROOST_ENOMEM
     * error_text() says it in words. The endpoint is freed after it. */
    void (*on_closed)(struct endpoint *endpoint, void *arg, int status);
};

/* Accept connections on a loopback HOST; port 0 takes a free one. A connection that has not sent a whole frame within
 * `first_frame_ms` (0: no deadline), or announces a longer first one than `first_frame_bytes_max`, is closed: a
 * stranger gets no more memory than a greeting needs. Beyond `connections_max` a new connection is closed at once.
 * `handler` and `arg` are borrowed until the last accepted endpoint has closed.
 *
 * Errors: ROOST_EAUTH   HOST is not this machine's loopback
 *         ROOST_EEXIST  the port is taken
 *         ROOST_EINVAL, ROOST_EIO, ROOST_ENOMEM */
int endpoint_listen(struct loop *loop, const char *host, unsigned port, unsigned first_frame_ms,
                    size_t first_frame_bytes_max, unsigned connections_max, const struct endpoint_handler *handler,
                    void *arg, struct endpoint_listener **listener_out);

/* With the port that was bound. Valid as long as the listener. */
const struct address *endpoint_listener_address(const struct endpoint_listener *listener);

/* No more connections; those that are open stay. Accepts NULL. */
void endpoint_listener_close(struct endpoint_listener *listener);

/* Connect to "HOST:PORT" within `timeout_ms`. The result is on_open() or on_closed(). Unless this fails:
 * ROOST_EINVAL (no address), ROOST_ENOMEM; then there is no endpoint and no callback. */
int endpoint_dial(struct loop *loop, const char *address, unsigned timeout_ms, const struct endpoint_handler *handler,
                  void *arg, struct endpoint **endpoint_out);

struct endpoint_piece {
    const void *data;
    size_t size;
};

/* Send one frame made of `count` pieces, which are copied. The frame goes out at once when nothing is under way, else
 * together with what else is waiting then.
 *
 * Errors: ROOST_ETOOBIG  more than PROTO_FRAME_BYTES_MAX, or no byte at all
 *         ROOST_EBUSY    ENDPOINT_QUEUE_BYTES_MAX are waiting; on_room() comes when half of that has gone
 *         ROOST_ESTATE   not open (any more)
 *         ROOST_ENOMEM
 * and then nothing was sent. 0 does not mean that the peer has it. */
int endpoint_send(struct endpoint *endpoint, const struct endpoint_piece *pieces, size_t count);

/* Bytes accepted for sending that the socket has not taken yet. */
size_t endpoint_queued_bytes(const struct endpoint *endpoint);

/* Cut the connection; what is queued is dropped. Idempotent. No on_frame after it; on_closed comes in a later turn. */
void endpoint_close(struct endpoint *endpoint);

/* Close after what is queued has been sent and the peer has closed, or after ENDPOINT_LINGER_MS: for a last word such
 * as the reason of a refusal. No on_frame after it. Idempotent. */
void endpoint_finish(struct endpoint *endpoint);

void endpoint_set_arg(struct endpoint *endpoint, void *arg);

/* "HOST:PORT" of the other end, for logs. Valid as long as the endpoint. */
const char *endpoint_peer(const struct endpoint *endpoint);

#endif
