/* unix_client.h - messages and descriptors over a Unix socket, the blocking half
 *
 * SOCK_SEQPACKET: a message arrives whole or not at all. Each carries 1 to UNIX_MESSAGE_BYTES_MAX bytes and up to
 * UNIX_FDS_MAX descriptors. libroost talks to its agent with this; the agent's half is common/io/unix.h.
 * Any thread; one thread per direction and socket at a time. */
#ifndef ROOST_COMMON_UNIX_CLIENT_H
#define ROOST_COMMON_UNIX_CLIENT_H

#include "common/limits.h"

#include <sys/types.h>

struct sockaddr_un;

struct unix_message {
    size_t size;
    size_t fds_count;
    int fds[UNIX_FDS_MAX]; /* the receiver's, close-on-exec */
};

/* Who is at the other end, as the kernel recorded it at connect. */
struct unix_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* Connect to the socket at `path`. The other end must run under this process's effective uid. The descriptor is the
 * caller's, blocking, close-on-exec. Waits up to `timeout_ms` for a place in the listener's backlog.
 *
 * Errors: ROOST_ECONNECT   nobody listens there
 *         ROOST_EAUTH      the other end is another user's
 *         ROOST_ETIMEDOUT
 *         ROOST_EINVAL     the path is too long for a socket
 *         ROOST_EIO */
int unix_client_connect(const char *path, unsigned timeout_ms, int *fd_out);

/* Send one message; the descriptors are borrowed. Waits for room unless `fd` is non-blocking.
 *
 * Errors: ROOST_EBUSY          no room, on a non-blocking socket; nothing was sent
 *         ROOST_EDISCONNECTED  the other end is gone
 *         ROOST_ETOOBIG        no byte, or too many, or too many descriptors
 *         ROOST_EIO */
int unix_message_send(int fd, const void *data, size_t size, const int *fds, size_t fds_count);

/* ROOST_ETOOBIG as above, without sending. */
int unix_message_check(size_t size, size_t fds_count);

/* Receive one message into `data`. Waits up to `timeout_ms` (ROOST_FOREVER: without end; 0: not at all).
 *
 * Errors: ROOST_ETIMEDOUT      nothing came
 *         ROOST_EDISCONNECTED  the other end is gone
 *         ROOST_ETOOBIG        the message is longer than `capacity`; it is lost, its descriptors were closed
 *         ROOST_ELIMIT         descriptors did not fit (RLIMIT_NOFILE, UNIX_FDS_MAX); the same
 *         ROOST_EIO */
int unix_message_receive(int fd, int timeout_ms, void *data, size_t capacity, struct unix_message *message_out);

/* Close what a message brought and nobody took: every fd that is not -1. */
void unix_message_close(struct unix_message *message);

/* ROOST_EIO */
int unix_peer_of(int fd, struct unix_peer *peer_out);

/* For bind and connect. ROOST_EINVAL when `path` is empty or too long. */
int unix_address_of(const char *path, struct sockaddr_un *address_out);

#endif
