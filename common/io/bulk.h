/* bulk.h - ranges of memory from one machine to another
 *
 * A bulk connection carries ranges, each a header (token, offset, size) and its bytes, in order, both ways. The sender
 * names memory that it has mapped, the receiver is asked by header where the bytes go, and they go there straight from
 * the socket: no copy in between. Control, such as who asks for what, travels elsewhere; `token` is what ties the two
 * together.
 *
 * All functions belong to the loop's thread; none blocks. Callbacks come on it too, never from inside a call. */
#ifndef ROOST_COMMON_IO_BULK_H
#define ROOST_COMMON_IO_BULK_H

#include "common/io/address.h"

#include <stddef.h>
#include <stdint.h>

struct loop;
struct bulk;
struct bulk_listener;
struct endpoint_listener;

struct bulk_range {
    uint64_t token;  /* the two sides have agreed on it */
    uint64_t offset; /* where in the object these bytes begin */
    uint64_t size;   /* 1 to ROOST_OBJECT_BYTES_MAX */
};

struct bulk_handler {
    /* The connection stands. An accepted one begins with its listener's `arg`: the place for bulk_set_arg(). */
    void (*on_open)(struct bulk *bulk, void *arg);

    /* Where do these bytes go? 0 with `*to_out` at `range->size` writable bytes, borrowed until on_received; or 0 with
     * `*to_out` NULL: read and throw away (on_received does not come); or a negative status: this peer may not, the
     * connection is closed with it. The header comes from the peer: only its size limits have been checked. */
    int (*on_range)(struct bulk *bulk, void *arg, const struct bulk_range *range, void **to_out);

    /* Exactly once for each range that was given a place. 0: all of it is there. Else the status that on_closed will
     * have; what was written is not known. */
    void (*on_received)(struct bulk *bulk, void *arg, const struct bulk_range *range, int status);

    /* Exactly once for each bulk_send() that returned 0. 0: the socket has taken all of it and the memory may go; that
     * the peer has it is for the peer to say. Else the status that on_closed will have. */
    void (*on_sent)(struct bulk *bulk, void *arg, const struct bulk_range *range, int status);

    /* May be NULL. `bytes` of the range at hand have moved, in steps of PULL_CHUNK_BYTES; not for the last step. */
    void (*on_progress)(struct bulk *bulk, void *arg, const struct bulk_range *range, uint64_t bytes, bool is_send);

    /* The last callback, exactly once for each bulk; then it is freed. Statuses as for endpoints, and what on_range
     * said; ROOST_EINVAL: what the peer sent is no header. error_text() says it in words. */
    void (*on_closed)(struct bulk *bulk, void *arg, int status);
};

/* One way to carry bulk bytes. */
struct bulk_ops {
    const char *name;

    /* Accept bulk connections at the port of `messages`, beside as many others as that takes: one port a daemon, and
     * one address to tell. A connection without a header within `first_range_ms` is closed unless it sends here (0: no
     * deadline). `handler` and `arg` are borrowed until the last accepted bulk has closed.
     * Errors: ROOST_ENOMEM. */
    int (*listen)(struct loop *loop, struct endpoint_listener *messages, unsigned first_range_ms,
                  unsigned connections_max, const struct bulk_handler *handler, void *arg,
                  struct bulk_listener **listener_out);
    void (*listener_close)(struct bulk_listener *listener); /* before that of messages; accepts NULL */

    /* As endpoint_dial(). */
    int (*dial)(struct loop *loop, const char *address, unsigned timeout_ms, const struct bulk_handler *handler,
                void *arg, struct bulk **bulk_out);

    int (*send)(struct bulk *bulk, const struct bulk_range *range, const void *data);
    void (*close)(struct bulk *bulk);
    const char *(*peer)(const struct bulk *bulk);
};

/* Over nng_stream, tcp. */
extern const struct bulk_ops bulk_stream_ops;

/* What each implementation begins with. */
struct bulk {
    const struct bulk_ops *ops;
    void *arg;
};

/* Send `range->size` bytes at `data`, which are borrowed until on_sent and must not change. Ranges go out one after the
 * other in the order of the calls.
 *
 * Errors: ROOST_EINVAL  size 0 or over the limit
 *         ROOST_EBUSY   BULK_QUEUE_MAX ranges are waiting; an on_sent makes room
 *         ROOST_ESTATE  not open (any more)
 *         ROOST_ENOMEM
 * and then on_sent does not come. */
static inline int bulk_send(struct bulk *bulk, const struct bulk_range *range, const void *data)
{
    return bulk->ops->send(bulk, range, data);
}

/* Cut the connection; what is queued ends with ROOST_ECANCELED. Idempotent. on_range and a good on_received do not come
 * after it. */
static inline void bulk_close(struct bulk *bulk) { bulk->ops->close(bulk); }

/* "HOST:PORT" of the other end. Valid as long as the bulk. */
static inline const char *bulk_peer(const struct bulk *bulk) { return bulk->ops->peer(bulk); }

static inline void bulk_set_arg(struct bulk *bulk, void *arg) { bulk->arg = arg; }

#endif
