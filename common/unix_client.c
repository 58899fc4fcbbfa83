/* unix_client.c - SOCK_SEQPACKET: connecting, one message with its descriptors, who is at the other end
 *
 * Owns nothing; a descriptor is its caller's from the moment it is handed out.
 *
 * Happy path: connect (in time, to our own user) -> (send | receive)*.
 * Failures:   a message or descriptors over their limits -> refused before it is sent; received, it is cut off whole
 *             and its descriptors are closed. A signal -> goes on. No room, nobody there, another user -> their own
 *             codes.
 * Invariants: what is received is close-on-exec; a call that fails leaves no descriptor open.
 * Thread:     any, one for each direction of a socket.
 */
#include "common/unix_client.h"
#include "common/error.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int unix_address_of(const char *path, struct sockaddr_un *address_out)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address_out->sun_path) {
        return error_set(ROOST_EINVAL, "\"%s\" cannot be a socket: its path must have 1 to %zu bytes", path,
                         sizeof address_out->sun_path - 1);
    }
    *address_out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(address_out->sun_path, path, length + 1);
    return 0;
}

int unix_peer_of(int fd, struct unix_peer *peer_out)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return error_from_errno("asking who connected");
    }
    *peer_out = (struct unix_peer){ credentials.pid, credentials.uid, credentials.gid };
    return 0;
}

/* A Unix connect waits for the backlog as long as a send would. */
static void set_send_timeout(int fd, unsigned timeout_ms)
{
    struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

static int connect_to(int fd, const struct sockaddr_un *address, unsigned timeout_ms)
{
    set_send_timeout(fd, timeout_ms > 0 ? timeout_ms : 1); /* 0 would wait without end */
    int failed;
    do {
        failed = connect(fd, (const struct sockaddr *)address, sizeof *address);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0) {
        int status = errno == EAGAIN                            ? ROOST_ETIMEDOUT
                     : errno == ENOENT || errno == ECONNREFUSED ? ROOST_ECONNECT
                                                                : ROOST_EIO;
        return error_set(status, "connecting to %s: %s", address->sun_path, strerror(errno));
    }
    set_send_timeout(fd, 0);
    return 0;
}

static int check_peer(int fd, const char *path)
{
    struct unix_peer peer = { 0 };
    int status = unix_peer_of(fd, &peer);
    if (status == 0 && peer.uid != geteuid()) {
        status = error_set(ROOST_EAUTH, "%s is served by uid %u, and this process is uid %u", path, (unsigned)peer.uid,
                           (unsigned)geteuid());
    }
    return status;
}

int unix_client_connect(const char *path, unsigned timeout_ms, int *fd_out)
{
    struct sockaddr_un address;
    int status = unix_address_of(path, &address);
    if (status != 0) {
        return status;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return error_from_errno("connecting to %s: socket", path);
    }
    status = connect_to(fd, &address, timeout_ms);
    if (status == 0) {
        status = check_peer(fd, path);
    }
    if (status != 0) {
        close(fd);
        return status;
    }
    *fd_out = fd;
    return 0;
}

/* Aligned room for the control message of UNIX_FDS_MAX descriptors. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * UNIX_FDS_MAX)];
};

static void put_fds(struct msghdr *message, union control *control, const int *fds, size_t fds_count)
{
    memset(control, 0, sizeof *control);
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * fds_count);
}

int unix_message_check(size_t size, size_t fds_count)
{
    if (size == 0 || size > UNIX_MESSAGE_BYTES_MAX || fds_count > UNIX_FDS_MAX) {
        return error_set(ROOST_ETOOBIG, "a message of %zu bytes and %zu descriptors; it may have 1 to %d and %d", size,
                         fds_count, UNIX_MESSAGE_BYTES_MAX, UNIX_FDS_MAX);
    }
    return 0;
}

int unix_message_send(int fd, const void *data, size_t size, const int *fds, size_t fds_count)
{
    if (unix_message_check(size, fds_count) != 0) {
        return ROOST_ETOOBIG;
    }
    struct iovec iov = { (void *)(uintptr_t)data, size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    union control control;
    if (fds_count > 0) {
        put_fds(&message, &control, fds, fds_count);
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        /* ETOOMANYREFS: more descriptors are under way than this user may have open; taking some makes room. */
        int status = errno == EAGAIN || errno == ETOOMANYREFS ? ROOST_EBUSY
                     : errno == EPIPE || errno == ECONNRESET  ? ROOST_EDISCONNECTED
                                                              : ROOST_EIO;
        return error_set(status, "sending on a Unix socket: %s", strerror(errno));
    }
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_readable(int fd, int timeout_ms)
{
    int64_t end_ms = now_ms() + timeout_ms;
    for (;;) {
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - now_ms();
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        int ready = poll(&poll_fd, 1, timeout_ms < 0 ? -1 : left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0) {
            return 0;
        }
        if (ready == 0) {
            return error_set(ROOST_ETIMEDOUT, "no message within %d ms", timeout_ms);
        }
        if (errno != EINTR) {
            return error_from_errno("waiting for a message");
        }
    }
}

static void take_fds(struct msghdr *received, struct unix_message *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(received); header != NULL; header = CMSG_NXTHDR(received, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && message->fds_count < UNIX_FDS_MAX; i++) {
            memcpy(&message->fds[message->fds_count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        }
    }
}

void unix_message_close(struct unix_message *message)
{
    for (size_t i = 0; i < message->fds_count; i++) {
        if (message->fds[i] >= 0) {
            close(message->fds[i]);
        }
    }
    message->fds_count = 0;
}

int unix_message_receive(int fd, int timeout_ms, void *data, size_t capacity, struct unix_message *message_out)
{
    struct iovec iov = { data, capacity };
    union control control;
    struct msghdr received = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    int status = timeout_ms != 0 ? wait_readable(fd, timeout_ms) : 0;
    if (status != 0) {
        return status;
    }
    ssize_t size;
    do {
        size = recvmsg(fd, &received, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN) {
        return error_set(ROOST_ETIMEDOUT, "no message");
    }
    if (size < 0 && errno != ECONNRESET) {
        return error_from_errno("receiving on a Unix socket");
    }
    if (size <= 0) {
        return error_set(ROOST_EDISCONNECTED, "the other end of the Unix socket is gone");
    }
    struct unix_message message = { .size = (size_t)size };
    take_fds(&received, &message);
    if ((received.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        unix_message_close(&message);
        return (received.msg_flags & MSG_TRUNC) != 0
                   ? error_set(ROOST_ETOOBIG, "a message is longer than the %zu bytes there are for it", capacity)
                   : error_set(ROOST_ELIMIT, "a message's descriptors could not be opened here");
    }
    *message_out = message;
    return 0;
}
