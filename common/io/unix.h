/* unix.h - messages and descriptors over a Unix socket, the daemon's half
 *
 * The other half and the message format are common/unix_client.h. Only processes of the daemon's own uid get in.
 *
 * All functions belong to the loop's thread; none blocks. Callbacks come on it too, never from inside a call. */
#ifndef ROOST_COMMON_IO_UNIX_H
#define ROOST_COMMON_IO_UNIX_H

#include "common/unix_client.h"

struct loop;
struct unix_listener;
struct unix_connection;

struct unix_handler {
    /* A process of this uid has connected: the place for unix_connection_set_arg(). */
    void (*on_open)(struct unix_connection *connection, void *arg);

    /* `data` is borrowed for the call. `message` holds the size and the descriptors: an entry that is set to -1 was
     * taken, the others are closed after the call. */
    void (*on_message)(struct unix_connection *connection, void *arg, const void *data, struct unix_message *message);

    /* The last callback, exactly once; then the connection is freed. ROOST_EDISCONNECTED: the socket was closed at the
     * other end, which says nothing about the process (see the pidfd); ROOST_ECANCELED: unix_connection_close();
     * ROOST_ETOOBIG, ROOST_ELIMIT, ROOST_EIO: what came could not be received. error_text() says it in words. */
    void (*on_closed)(struct unix_connection *connection, void *arg, int status);
};

/* Listen at `path`, mode 0600. A socket that nobody serves any more is replaced; anything else that is there is left
 * alone. Beyond `connections_max` a new connection is closed at once. `handler` and `arg` are borrowed until the last
 * connection has closed.
 *
 * Errors: ROOST_EEXIST  somebody listens there, or it is no socket
 *         ROOST_EINVAL  the path is too long
 *         ROOST_EIO, ROOST_ENOMEM */
int unix_listen(struct loop *loop, const char *path, unsigned connections_max, const struct unix_handler *handler,
                void *arg, struct unix_listener **listener_out);

/* No more connections, and the path is gone, unless something else stands there now; open connections stay. Accepts
 * NULL. */
void unix_listener_close(struct unix_listener *listener);

/* Send one message. The descriptors are borrowed: one that has to wait is duplicated.
 *
 * Errors: ROOST_EBUSY    UNIX_QUEUE_MAX messages wait for the other end
 *         ROOST_ETOOBIG  as unix_message_send()
 *         ROOST_ESTATE   not open (any more)
 *         ROOST_ENOMEM, ROOST_EIO
 * and then it was not sent. A vanished peer shows in on_closed. */
int unix_connection_send(struct unix_connection *connection, const void *data, size_t size, const int *fds,
                         size_t fds_count);

/* Messages that wait are dropped. No on_message after it. Idempotent. */
void unix_connection_close(struct unix_connection *connection);

void unix_connection_set_arg(struct unix_connection *connection, void *arg);

struct unix_peer unix_connection_peer(const struct unix_connection *connection);

/* A descriptor of the peer's process, the connection's own: duplicate it to keep it. Readable when the process has
 * ended. */
int unix_connection_pidfd(const struct unix_connection *connection);

#endif
