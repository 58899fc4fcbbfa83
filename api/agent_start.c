/* agent_start.c - a cluster of one, for a program that has none
 *
 * The command is $ROOST_COMMAND, else `roost` beside this library or in ../bin from it, else the one in PATH. It is run
 * as
 *
 *     roost cluster-of-one --parent PID [--store-bytes N] [--cpus HUNDREDTHS]
 *
 * with standard input from /dev/null, standard output and error ours, all signals at their defaults and none blocked,
 * and
 *
 *     fd 3  write end of a pipe: one line, ended by '\n', as soon as clients can connect: the path of the agent's socket;
 *           or, when that cannot be, what went wrong (a line that does not begin with '/'), and the command ends
 *     fd 4  read end of a pipe that says nothing: its end of file is roost_close()
 *
 * It ends, with everything it started, when fd 4 does or when the process PID ends, which it learns from a pidfd that
 * it opens first (and checks: PID must still be its parent then). A child that this process forked may keep the pipe
 * open for longer than it lives itself; therefore both.
 *
 * Failures: no command, no line before the timeout, another line -> ROOST_ECONNECT with the reason; nothing stays
 * behind. */
#include "api/agent_link.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_FD = 3, LIFE_FD = 4, STOP_TRIES = 1000, STOP_PAUSE_NS = 10000000 };

extern char **environ;

/* `roost` in the folder of `file`, or in bin/ beside that folder. */
static bool command_near(const char *file, char *path_out)
{
    char folder[PATH_MAX];
    static const char *const places[] = { "", "/../bin", "/../../bin" };
    if (realpath(file, folder) == NULL) {
        return false;
    }
    char *slash = strrchr(folder, '/');
    *(slash == NULL ? folder : slash) = '\0';
    for (size_t i = 0; i < ROOST_COUNT_OF(places); i++) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s%s/roost", folder, places[i]);
        if (strlen(path) < PATH_MAX && access(path, X_OK) == 0) {
            memcpy(path_out, path, strlen(path) + 1);
            return true;
        }
    }
    return false;
}

/* A path, or a name for PATH. */
static int find_command(char *path_out)
{
    const char *named = getenv("ROOST_COMMAND");
    Dl_info info;
    if (named != NULL && named[0] != '\0') {
        if (strlen(named) >= PATH_MAX) {
            return error_set(ROOST_EINVAL, "$ROOST_COMMAND is too long for a path");
        }
        memcpy(path_out, named, strlen(named) + 1);
        return 0;
    }
    if (dladdr((void *)(uintptr_t)&agent_start, &info) != 0 && info.dli_fname != NULL &&
        command_near(info.dli_fname, path_out)) {
        return 0;
    }
    memcpy(path_out, "roost", sizeof "roost");
    return 0;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            close(pair[i]);
        }
        pair[i] = -1;
    }
}

static void add_actions(posix_spawn_file_actions_t *actions, int ready, int life)
{
    posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(actions, ready, READY_FD);
    posix_spawn_file_actions_adddup2(actions, life, LIFE_FD);
}

static void set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
}

static int spawn(const struct open_request *request, int ready, int life, pid_t *pid_out)
{
    char command[PATH_MAX], parent[32], store[32], cpus[32];
    ROOST_TRY(find_command(command));
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    snprintf(store, sizeof store, "%llu", (unsigned long long)request->store_bytes);
    snprintf(cpus, sizeof cpus, "%u", request->cpus_hundredths);
    char *args[10] = { command, (char *)"cluster-of-one", (char *)"--parent", parent };
    size_t count = 4;
    if (request->store_bytes > 0) {
        args[count++] = (char *)"--store-bytes";
        args[count++] = store;
    }
    if (request->cpus_hundredths > 0) {
        args[count++] = (char *)"--cpus";
        args[count++] = cpus;
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    add_actions(&actions, ready, life);
    set_attributes(&attributes);
    int failed = posix_spawnp(pid_out, command, &actions, &attributes, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed == 0 ? 0
                       : error_set(ROOST_ECONNECT,
                                   "starting a cluster: cannot run %s: %s (set $ROOST_COMMAND, or give an address)",
                                   command, strerror(failed));
}

/* One line, or what there was before the end. */
static int read_line(int fd, uint64_t deadline, char *line_out)
{
    size_t used = 0;
    for (;;) {
        struct pollfd poll_fd = { fd, POLLIN, 0 };
        int ready = poll(&poll_fd, 1, client_time_left(deadline));
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return error_set(ROOST_ECONNECT, "starting a cluster: not ready in time");
        }
        ssize_t got = read(fd, line_out + used, LINK_PATH_BYTES - 1 - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        used += got > 0 ? (size_t)got : 0;
        line_out[used] = '\0';
        char *newline = strchr(line_out, '\n');
        if (newline != NULL) {
            *newline = '\0';
            return 0;
        }
        if (got <= 0 || used == LINK_PATH_BYTES - 1) {
            return error_set(ROOST_ECONNECT, "starting a cluster: the command ended before it was ready%s%s",
                             used > 0 ? ": " : "", line_out);
        }
    }
}

/* Descriptors above the numbers that the child wants them under, so that one dup2 cannot hit the other's source. */
static int make_pipe(int pair[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0) {
        return error_from_errno("pipe");
    }
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, LIFE_FD + 1);
    }
    close_pair(low);
    return pair[0] >= 0 && pair[1] >= 0 ? 0 : error_from_errno("dup of a pipe");
}

int agent_start(const struct open_request *request, char *path_out, int *fd_out, pid_t *pid_out)
{
    int ready[2] = { -1, -1 }, life[2] = { -1, -1 };
    pid_t pid = 0;
    uint64_t deadline = client_deadline(request->timeout_ms);
    int status = make_pipe(ready);
    if (status == 0) {
        status = make_pipe(life);
    }
    if (status == 0) {
        status = spawn(request, ready[1], life[0], &pid);
    }
    if (status == 0) {
        close(ready[1]);
        close(life[0]);
        ready[1] = life[0] = -1;
        status = read_line(ready[0], deadline, path_out);
    }
    if (status == 0 && path_out[0] != '/') {
        status = error_set(ROOST_ECONNECT, "starting a cluster: %s", path_out);
    }
    if (status != 0) {
        int keep = life[1];
        life[1] = -1;
        close_pair(ready);
        close_pair(life);
        agent_stop(keep, pid);
        return status;
    }
    close_pair(ready);
    *fd_out = life[1];
    *pid_out = pid;
    return 0;
}

void agent_stop(int fd, pid_t pid)
{
    if (fd >= 0) {
        close(fd);
    }
    for (int tries = 0; pid > 0 && tries < STOP_TRIES; tries++) {
        pid_t got = waitpid(pid, NULL, WNOHANG);
        if (got == pid || (got < 0 && errno == ECHILD)) {
            return; /* it has ended; perhaps the program itself has waited for it */
        }
        if (tries == STOP_TRIES / 2) {
            kill(pid, SIGTERM);
        }
        const struct timespec pause = { 0, STOP_PAUSE_NS };
        nanosleep(&pause, NULL);
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}
