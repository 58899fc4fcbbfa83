/* join.c - waiting until the head knows nodes
 *
 * The head is asked by a child: asking takes nng's threads, and this process still has daemons and a command to fork.
 *
 * Happy path: child asks, pauses, asks again -> enough nodes -> ends with 0.
 * Failures:   the head refuses or is not there -> a status and a text through a pipe; the deadline is the parent's, who
 *             then kills the child; a parent that dies takes the child with it, and with that the lifelines it has
 *             inherited.
 */
#include "api/cli/join.h"
#include "api/cli/progress.h"
#include "api/cli/rows.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOIN_ASK_MS = 5000, JOIN_PAUSE_MS = 20 };

struct verdict { /* through the pipe, in one write */
    int status;
    char text[512];
};

/* In the child: asks until there are enough nodes. */
static struct verdict ask_on(const char *address, const char *filter, uint64_t count)
{
    struct verdict verdict = { .status = 0 };
    for (;;) {
        struct rows rows;
        int status = rows_fetch(address, JOIN_ASK_MS, PROTO_QUERY_NODES, filter, 1, &rows);
        if (status != 0) {
            verdict.status = status;
            snprintf(verdict.text, sizeof verdict.text, "%s", error_text());
            return verdict;
        }
        uint64_t there = rows.total;
        rows_fini(&rows);
        if (there >= count) {
            return verdict;
        }
        poll(NULL, 0, JOIN_PAUSE_MS);
    }
}

static pid_t start_child(const char *address, const char *filter, uint64_t count, int pipe_fds[2])
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pipe_fds[0]);
        if (getppid() == parent) {
            struct verdict verdict = ask_on(address, filter, count);
            ssize_t written = write(pipe_fds[1], &verdict, sizeof verdict);
            (void)written; /* the parent then sees an end without a verdict */
        }
        _exit(0);
    }
    return pid;
}

static int read_verdict(int fd)
{
    struct verdict verdict;
    if (read(fd, &verdict, sizeof verdict) != sizeof verdict) {
        return error_set(ROOST_EIO, "asking the head: whoever asked has ended");
    }
    verdict.text[sizeof verdict.text - 1] = '\0';
    return verdict.status == 0 ? 0 : error_set(verdict.status, "%s", verdict.text);
}

static int wait_for_verdict(int fd, const char *what, uint64_t timeout_ms, int stop_fd)
{
    struct progress progress;
    uint64_t deadline = progress_now_ms() + timeout_ms;
    int status = 1;
    progress_start(&progress);
    while (status == 1) {
        struct pollfd fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = stop_fd, .events = POLLIN } };
        progress_show(&progress, what);
        int ready = poll(fds, 2, progress_patience(&progress, deadline));
        if (ready > 0 && fds[0].revents != 0) {
            status = read_verdict(fd);
        } else if (ready > 0) {
            status = error_set(ROOST_ECANCELED, "interrupted while waiting for %s", what);
        } else if (progress_now_ms() >= deadline) {
            status = error_set(ROOST_ETIMEDOUT, "waited %llu s for %s", (unsigned long long)timeout_ms / 1000, what);
        }
    }
    progress_end(&progress);
    return status;
}

int join_wait(const char *address, const char *filter, uint64_t count, uint64_t timeout_ms, int stop_fd)
{
    char what[400], alive[400];
    int pipe_fds[2];
    snprintf(alive, sizeof alive, "state=alive%s%s", filter[0] != '\0' ? " " : "", filter);
    if (count > 1) {
        snprintf(what, sizeof what, "the head at %s to know %llu nodes", address, (unsigned long long)count);
    } else {
        snprintf(what, sizeof what, "the head at %s to know the node", address);
    }
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return error_from_errno("pipe");
    }
    pid_t pid = start_child(address, alive, count, pipe_fds);
    close(pipe_fds[1]);
    int status = pid < 0 ? error_from_errno("fork") : wait_for_verdict(pipe_fds[0], what, timeout_ms, stop_fd);
    close(pipe_fds[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return status;
}
