/* limits_socket.c - what a bare TCP socket carries on this machine
 *
 * Owns a second process that writes, and the connection with it over loopback. Both sides' memory is warm; writes and
 * reads are of 4 MiB, which is as fast here as anything else.
 *
 * Failures: no child or no connection -> a status. A child that dies in the middle ends the program: its parent reads
 *           an end of the stream.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET_CHUNK_BYTES = 4 << 20 };

struct limit_socket {
    int fd;
    pid_t pid;
    char *to;
    uint64_t bytes;
};

static size_t chunk_of(uint64_t left) { return left < SOCKET_CHUNK_BYTES ? (size_t)left : SOCKET_CHUNK_BYTES; }

/* The second process: a byte asks for all of `from`. */
static void serve(int fd, const char *from, uint64_t bytes)
{
    char order;
    while (read(fd, &order, 1) == 1) {
        for (uint64_t sent = 0; sent < bytes;) {
            ssize_t got = write(fd, from + sent, chunk_of(bytes - sent));
            if (got <= 0) {
                _exit(1);
            }
            sent += (uint64_t)got;
        }
    }
    _exit(0);
}

/* A connected pair over loopback. */
static int connect_pair(int pair_out[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int dialed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted = -1;
    if (listener >= 0 && dialed >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
        connect(dialed, (struct sockaddr *)&address, size) == 0) {
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
    int status = accepted < 0 ? error_from_errno("a TCP connection over loopback") : 0;
    if (listener >= 0) {
        close(listener);
    }
    if (status != 0 && dialed >= 0) {
        close(dialed);
    }
    if (status == 0) {
        setsockopt(dialed, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pair_out[0] = dialed;
        pair_out[1] = accepted;
    }
    return status;
}

int limit_socket_start(struct limit_socket **socket_out, uint64_t bytes)
{
    int pair[2] = { -1, -1 };
    struct limit_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for the limit of a socket");
    }
    int status = connect_pair(pair);
    if (status != 0) {
        free(socket);
        return status;
    }
    socket->pid = fork();
    if (socket->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        char *from = bench_map(bytes);
        if (from != NULL) {
            serve(pair[1], from, bytes);
        }
        _exit(1);
    }
    status = socket->pid < 0 ? error_from_errno("fork") : 0;
    close(pair[1]);
    socket->fd = pair[0];
    socket->bytes = bytes;
    socket->to = status == 0 ? bench_map(bytes) : NULL;
    if (socket->to == NULL) {
        status = status != 0 ? status : error_set(ROOST_ENOMEM, "no memory for %llu bytes", (unsigned long long)bytes);
        limit_socket_stop(socket);
        return status;
    }
    *socket_out = socket;
    return 0;
}

double limit_socket_ns(struct limit_socket *socket)
{
    double started = bench_now_ns();
    ssize_t got = write(socket->fd, "", 1);
    for (uint64_t taken = 0; taken < socket->bytes; taken += (uint64_t)got) {
        got = got <= 0 ? got : read(socket->fd, socket->to + taken, chunk_of(socket->bytes - taken));
        if (got <= 0) {
            fprintf(stderr, "roost-bench: the second process of a socket's limit has ended\n");
            exit(1);
        }
    }
    return bench_now_ns() - started;
}

void limit_socket_stop(struct limit_socket *socket)
{
    if (socket == NULL) {
        return;
    }
    close(socket->fd); /* the second process reads the end */
    if (socket->pid > 0) {
        waitpid(socket->pid, NULL, 0);
    }
    bench_unmap(socket->to, socket->bytes);
    free(socket);
}
