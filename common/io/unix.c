/* unix.c - the daemon's half of a Unix socket
 *
 * Owns the listening socket with its path, and each connection with its pidfd and its queue of messages that wait.
 *
 * Happy path: listen -> accept -> (message)* -> closed -> on_closed -> freed.
 * Failures:   another uid, a peer that is dead already, one too many -> closed at once, logged.
 *             accept fails (no descriptors) -> logged once, tried again after a pause.
 *             the peer does not read -> messages wait, then ROOST_EBUSY.
 * Invariants: a waiting message owns duplicates of its descriptors; LOOP_WRITE is watched while one waits.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "unix"
#include "common/io/unix.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "common/list.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5; not in glibc 2.36 */
#endif

enum { MESSAGES_PER_TURN = 16, BACKLOG = 128 };

struct unix_listener {
    struct loop *loop;
    int fd;
    struct loop_watch *watch;
    struct loop_timer retry;
    const struct unix_handler *handler;
    void *arg;
    unsigned connections, connections_max;
    unsigned references; /* one of its own until closed, one of each connection */
    bool has_warned, is_closed;
    struct stat identity; /* of the path, to remove no other's */
    struct sockaddr_un address;
};

struct waiting_message {
    struct list_node node;
    size_t size, fds_count;
    int fds[UNIX_FDS_MAX];
    unsigned char data[];
};

struct unix_connection {
    struct unix_listener *listener;
    struct loop *loop;
    const struct unix_handler *handler;
    void *arg;
    int fd, pidfd;
    struct loop_watch *watch;
    struct unix_peer peer;
    struct list_node queue;
    unsigned queue_count;
    bool closing;
    struct loop_task close_task;
    int status;
    char text[ERROR_TEXT_BYTES / 2];
};

static void listener_unref(struct unix_listener *listener)
{
    if (--listener->references == 0) {
        free(listener);
    }
}

/* ------------------------------------------------------------------------------------------ waiting messages */

static void waiting_destroy(struct waiting_message *waiting)
{
    for (size_t i = 0; i < waiting->fds_count; i++) {
        close(waiting->fds[i]);
    }
    list_remove(&waiting->node);
    free(waiting);
}

static int wait_in_queue(struct unix_connection *connection, const void *data, size_t size, const int *fds,
                         size_t fds_count)
{
    if (connection->queue_count == UNIX_QUEUE_MAX) {
        return error_set(ROOST_EBUSY, "pid %d does not take its messages: %d wait", (int)connection->peer.pid,
                         UNIX_QUEUE_MAX);
    }
    struct waiting_message *waiting = malloc(sizeof *waiting + size);
    if (waiting == NULL) {
        return error_set(ROOST_ENOMEM, "queueing a message: out of memory");
    }
    waiting->size = size;
    waiting->fds_count = 0;
    list_init(&waiting->node);
    memcpy(waiting->data, data, size);
    for (size_t i = 0; i < fds_count; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0) {
            int status = error_from_errno("queueing a message: a descriptor");
            waiting_destroy(waiting);
            return status;
        }
        waiting->fds[waiting->fds_count++] = copy;
    }
    list_append(&connection->queue, &waiting->node);
    connection->queue_count++;
    loop_watch_set(connection->watch, LOOP_READ | LOOP_WRITE);
    return 0;
}

static void drop_queue(struct unix_connection *connection)
{
    while (!list_is_empty(&connection->queue)) {
        waiting_destroy(CONTAINER_OF(connection->queue.next, struct waiting_message, node));
    }
    connection->queue_count = 0;
}

/* ------------------------------------------------------------------------------------------ connections */

static void connection_free(struct unix_connection *connection)
{
    drop_queue(connection);
    loop_watch_close(connection->watch);
    if (connection->pidfd >= 0) {
        close(connection->pidfd);
    }
    close(connection->fd);
    connection->listener->connections--;
    listener_unref(connection->listener);
    loop_release(connection->loop);
    free(connection);
}

static void report_closed(void *arg)
{
    struct unix_connection *connection = arg;
    error_set(connection->status, "%s", connection->text);
    connection->handler->on_closed(connection, connection->arg, connection->status);
    connection_free(connection);
}

/* error_text() holds the reason. */
static void end_with(struct unix_connection *connection, int status)
{
    if (connection->closing) {
        return;
    }
    connection->closing = true;
    connection->status = status;
    snprintf(connection->text, sizeof connection->text, "%s", error_text());
    log_debug("event=closing pid=%d status=%s", (int)connection->peer.pid, error_code_name(status));
    loop_watch_set(connection->watch, 0);
    loop_post(connection->loop, &connection->close_task);
}

void unix_connection_close(struct unix_connection *connection)
{
    if (!connection->closing) {
        end_with(connection, error_set(ROOST_ECANCELED, "the connection was closed here"));
    }
}

static void send_waiting(struct unix_connection *connection)
{
    while (!list_is_empty(&connection->queue)) {
        struct waiting_message *waiting = CONTAINER_OF(connection->queue.next, struct waiting_message, node);
        int status = unix_message_send(connection->fd, waiting->data, waiting->size, waiting->fds, waiting->fds_count);
        if (status == ROOST_EBUSY) {
            return;
        }
        if (status != 0) {
            end_with(connection, status);
            return;
        }
        waiting_destroy(waiting);
        connection->queue_count--;
    }
    loop_watch_set(connection->watch, LOOP_READ);
}

/* Some messages each turn, so that one client cannot hold the loop. */
static void receive_some(struct unix_connection *connection)
{
    unsigned char data[UNIX_MESSAGE_BYTES_MAX];
    for (int i = 0; i < MESSAGES_PER_TURN && !connection->closing; i++) {
        struct unix_message message;
        int status = unix_message_receive(connection->fd, 0, data, sizeof data, &message);
        if (status == ROOST_ETIMEDOUT) {
            return;
        }
        if (status != 0) {
            end_with(connection, status);
            return;
        }
        connection->handler->on_message(connection, connection->arg, data, &message);
        unix_message_close(&message);
    }
}

static void on_ready(void *arg, unsigned events)
{
    struct unix_connection *connection = arg;
    if ((events & LOOP_WRITE) != 0) {
        send_waiting(connection);
    }
    if ((events & (LOOP_READ | LOOP_HANGUP)) != 0 && !connection->closing) {
        receive_some(connection);
    }
}

int unix_connection_send(struct unix_connection *connection, const void *data, size_t size, const int *fds,
                         size_t fds_count)
{
    if (connection->closing) {
        return error_set(ROOST_ESTATE, "the connection with pid %d is not open", (int)connection->peer.pid);
    }
    if (unix_message_check(size, fds_count) != 0) {
        return ROOST_ETOOBIG;
    }
    if (connection->queue_count > 0) {
        return wait_in_queue(connection, data, size, fds, fds_count);
    }
    int status = unix_message_send(connection->fd, data, size, fds, fds_count);
    if (status == ROOST_EBUSY) {
        return wait_in_queue(connection, data, size, fds, fds_count);
    }
    if (status == ROOST_EDISCONNECTED) {
        end_with(connection, status);
        return 0;
    }
    return status;
}

void unix_connection_set_arg(struct unix_connection *connection, void *arg) { connection->arg = arg; }

struct unix_peer unix_connection_peer(const struct unix_connection *connection) { return connection->peer; }

int unix_connection_pidfd(const struct unix_connection *connection) { return connection->pidfd; }

/* ------------------------------------------------------------------------------------------ listener */

/* The kernel's own record of the peer where there is one. By number, which an older kernel offers, a process that ended
 * right after it connected could be taken for a younger one with its number; that one would have to come round within
 * these microseconds. */
static int open_peer_pidfd(int fd, pid_t pid)
{
    int pidfd;
    socklen_t size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0) {
        fcntl(pidfd, F_SETFD, FD_CLOEXEC);
        return pidfd;
    }
    return errno == ENOPROTOOPT ? pidfd_open(pid, 0) : -1;
}

/* NULL when it may not or cannot be; the reason is in the log. Takes `fd` over. */
static struct unix_connection *connection_create(struct unix_listener *listener, int fd)
{
    struct unix_peer peer = { 0 };
    const char *why = NULL;
    int pidfd = -1;
    struct unix_connection *connection = NULL;
    if (unix_peer_of(fd, &peer) != 0 || peer.uid != geteuid()) {
        why = "another user";
    } else if (listener->connections >= listener->connections_max) {
        why = "too many connections";
    } else if ((pidfd = open_peer_pidfd(fd, peer.pid)) < 0) {
        why = "the process has ended";
    } else if ((connection = calloc(1, sizeof *connection)) == NULL ||
               loop_watch_start(listener->loop, fd, LOOP_READ, on_ready, connection, &connection->watch) != 0) {
        why = "out of memory";
    }
    if (why != NULL) {
        log_warn("event=refused pid=%d uid=%u why=\"%s\" path=%s", (int)peer.pid, (unsigned)peer.uid, why,
                 listener->address.sun_path);
        free(connection);
        if (pidfd >= 0) {
            close(pidfd);
        }
        close(fd);
        return NULL;
    }
    connection->fd = fd;
    connection->pidfd = pidfd;
    connection->peer = peer;
    return connection;
}

static void take_accepted(struct unix_listener *listener, int fd)
{
    struct unix_connection *connection = connection_create(listener, fd);
    if (connection == NULL) {
        return;
    }
    connection->listener = listener;
    connection->loop = listener->loop;
    connection->handler = listener->handler;
    connection->arg = listener->arg;
    connection->close_task = (struct loop_task){ .run = report_closed, .arg = connection };
    list_init(&connection->queue);
    listener->connections++;
    listener->references++;
    loop_hold(connection->loop);
    log_debug("event=open pid=%d", (int)connection->peer.pid);
    connection->handler->on_open(connection, connection->arg);
}

static void on_connection(void *arg, unsigned events)
{
    (void)events;
    struct unix_listener *listener = arg;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        listener->has_warned = false;
        take_accepted(listener, fd);
        return;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
        return;
    }
    if (!listener->has_warned) {
        listener->has_warned = true;
        log_warn("event=accept_failed path=%s why=\"%s\"", listener->address.sun_path, strerror(errno));
    }
    loop_watch_set(listener->watch, 0);
    loop_timer_arm(&listener->retry, loop_now_ns() + STREAM_ACCEPT_RETRY_MS * UINT64_C(1000000));
}

static void accept_again(void *arg)
{
    struct unix_listener *listener = arg;
    loop_watch_set(listener->watch, LOOP_READ);
}

/* Removes a socket at the address that nobody serves. True when it is gone. */
static bool remove_stale(const struct sockaddr_un *address)
{
    struct stat found;
    if (lstat(address->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) {
        return false;
    }
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return false;
    }
    bool is_stale = connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(probe);
    return is_stale && unlink(address->sun_path) == 0;
}

/* The mode of an unbound socket's inode is what bind() gives the path, so nobody else gets in even for a moment. */
static int bind_private(int fd, const struct sockaddr_un *address)
{
    fchmod(fd, 0600);
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        return 0;
    }
    if (errno == EADDRINUSE && remove_stale(address) &&
        bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        return 0;
    }
    return error_set(errno == EADDRINUSE ? ROOST_EEXIST : ROOST_EIO, "listening at %s: %s", address->sun_path,
                     errno == EADDRINUSE ? "something is there already" : strerror(errno));
}

static int open_listening(struct unix_listener *listener)
{
    listener->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        return error_from_errno("listening at %s: socket", listener->address.sun_path);
    }
    int status = bind_private(listener->fd, &listener->address);
    if (status != 0) {
        return status;
    }
    if (lstat(listener->address.sun_path, &listener->identity) != 0 || listen(listener->fd, BACKLOG) != 0) {
        return error_from_errno("listening at %s", listener->address.sun_path);
    }
    return loop_watch_start(listener->loop, listener->fd, LOOP_READ, on_connection, listener, &listener->watch);
}

int unix_listen(struct loop *loop, const char *path, unsigned connections_max, const struct unix_handler *handler,
                void *arg, struct unix_listener **listener_out)
{
    struct sockaddr_un address;
    int status = unix_address_of(path, &address);
    if (status != 0) {
        return status;
    }
    struct unix_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return error_set(ROOST_ENOMEM, "listening at %s: out of memory", path);
    }
    listener->loop = loop;
    listener->fd = -1;
    listener->handler = handler;
    listener->arg = arg;
    listener->connections_max = connections_max;
    listener->references = 1;
    listener->address = address;
    loop_timer_init(&listener->retry, loop, accept_again, listener);
    status = open_listening(listener);
    if (status != 0) {
        unix_listener_close(listener);
        return status;
    }
    *listener_out = listener;
    return 0;
}

void unix_listener_close(struct unix_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    ROOST_PRE(!listener->is_closed);
    listener->is_closed = true;
    loop_watch_close(listener->watch);
    loop_timer_disarm(&listener->retry);
    struct stat found;
    if (listener->identity.st_ino != 0 && lstat(listener->address.sun_path, &found) == 0 &&
        found.st_ino == listener->identity.st_ino && found.st_dev == listener->identity.st_dev) {
        unlink(listener->address.sun_path);
    }
    if (listener->fd >= 0) {
        close(listener->fd);
    }
    listener_unref(listener);
}
