/* launch.c - daemons that a command starts, until they are ready
 *
 * Happy path: folder -> fork -> session, descriptors, exec -> a line on fd 3 -> released, or kept until the end.
 * Failures:   ends before it is ready -> the last line of its log is the reason; it is reaped and its folder removed
 *             by launch_end().
 * Invariants: between fork and exec only what a signal handler might call; no descriptor of ours but 0 to 4 is left to
 *             the daemon, so nobody else's pipe stays open because of it.
 * Thread:     main.
 */
#include "api/cli/launch.h"
#include "api/cli/daemon_end.h"
#include "api/cli/log_tail.h"
#include "api/cli/progress.h"
#include "common/contract.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const char *launch_self(void)
{
    static char path[PATH_MAX];
    ssize_t length = path[0] != '\0' ? 1 : readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0) {
        perror("roost: /proc/self/exe");
        exit(1);
    }
    return path;
}

void launch_init(struct launch *launch, const char *role, const struct folder *folder)
{
    *launch = (struct launch){ .folder = *folder, .pidfd = -1, .ready_fd = -1, .life_fd = -1 };
    snprintf(launch->role, sizeof launch->role, "%s", role);
    launch_arg(launch, "roost");
    launch_arg(launch, "%s", role);
    launch_arg(launch, "--folder");
    launch_arg(launch, "%s", folder->path);
    launch_arg(launch, "--ready-fd");
    launch_arg(launch, "%d", LAUNCH_READY_FD);
}

void launch_arg(struct launch *launch, const char *format, ...)
{
    va_list args;
    ROOST_PRE(launch->args_count < LAUNCH_ARGS_MAX - 1);
    va_start(args, format);
    int length = vsnprintf(launch->args_text[launch->args_count++], LAUNCH_WORD_BYTES, format, args);
    va_end(args);
    ROOST_PRE(length >= 0 && length < LAUNCH_WORD_BYTES);
}

/* ------------------------------------------------------------------ starting */

/* In the child. `from`: what becomes 0, 1 and 2, 3, 4; all above 4, or -1. */
static void become(const char *self, char *const *argv, const int from[4])
{
    struct sigaction plain = { .sa_handler = SIG_DFL };
    sigset_t none;
    sigemptyset(&none);
    for (int signal_number = 1; signal_number < NSIG; signal_number++) {
        sigaction(signal_number, &plain, NULL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    dup2(from[0], STDIN_FILENO);
    dup2(from[1], STDOUT_FILENO);
    dup2(from[1], STDERR_FILENO);
    dup2(from[2], LAUNCH_READY_FD);
    if (from[3] >= 0) {
        dup2(from[3], LAUNCH_LIFE_FD);
    }
    syscall(SYS_close_range, from[3] >= 0 ? LAUNCH_LIFE_FD + 1 : LAUNCH_LIFE_FD, ~0U, 0);
    if (chdir("/") == 0) {
        execv(self, argv);
    }
    _exit(127);
}

static int move_up(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, LAUNCH_LIFE_FD + 1);
    if (fd >= 0) {
        int why = errno;
        close(fd);
        errno = why;
    }
    return high;
}

static bool make_pipe(int pair[2])
{
    if (pipe2(pair, O_CLOEXEC) != 0) {
        return false;
    }
    pair[0] = move_up(pair[0]);
    pair[1] = move_up(pair[1]);
    return pair[0] >= 0 && pair[1] >= 0;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

int launch_start(struct launch *launch, bool has_lifeline)
{
    char log[PATH_MAX], *argv[LAUNCH_ARGS_MAX + 1];
    int ready[2] = { -1, -1 }, life[2] = { -1, -1 };
    if (has_lifeline) {
        launch_arg(launch, "--lifeline-fd");
        launch_arg(launch, "%d", LAUNCH_LIFE_FD);
    }
    for (size_t i = 0; i < launch->args_count; i++) {
        argv[i] = launch->args_text[i];
    }
    argv[launch->args_count] = NULL;
    const char *self = launch_self();
    snprintf(log, sizeof log, "%s/%s.log", launch->folder.path, launch->role);
    int from[4] = { move_up(open("/dev/null", O_RDONLY | O_CLOEXEC)),
                    move_up(open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600)), -1, -1 };
    bool fine = from[0] >= 0 && from[1] >= 0 && make_pipe(ready) && (!has_lifeline || make_pipe(life));
    pid_t pid = -1;
    if (fine) {
        from[2] = ready[1];
        from[3] = life[0];
        pid = fork();
        if (pid == 0) {
            become(self, argv, from);
        }
        fine = pid > 0;
    }
    int status = fine ? 0 : error_from_errno("starting the %s of %s", launch->role, launch->folder.name);
    close_if_open(&from[0]);
    close_if_open(&from[1]);
    close_if_open(&ready[1]);
    close_if_open(&life[0]);
    if (!fine) {
        close_if_open(&ready[0]);
        close_if_open(&life[1]);
        return status;
    }
    launch->pid = pid;
    launch->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    launch->ready_fd = ready[0];
    launch->life_fd = life[1];
    return 0;
}

/* ------------------------------------------------------------------ waiting */

static int why_it_ended(const struct launch *launch)
{
    char log[PATH_MAX], line[LOG_LINE_BYTES_MAX];
    snprintf(log, sizeof log, "%s/%s.log", launch->folder.path, launch->role);
    log_last_line(log, line, sizeof line);
    return line[0] != '\0'
               ? error_set(ROOST_ESTATE, "the %s of %s ended at once: %s", launch->role, launch->folder.name, line)
               : error_set(ROOST_ESTATE, "the %s of %s ended at once, without a word", launch->role,
                           launch->folder.name);
}

/* Its line has come, or a part of it, or its end. */
static int hear(struct launch *launch)
{
    char *line = launch->ready_line;
    ssize_t got = read(launch->ready_fd, line + launch->ready_bytes,
                       sizeof launch->ready_line - 1 - launch->ready_bytes);
    if (got < 0) {
        return errno == EINTR ? 0 : error_from_errno("waiting for the %s", launch->role);
    }
    launch->ready_bytes += (size_t)got;
    line[launch->ready_bytes] = '\0';
    char *newline = strchr(line, '\n');
    if (newline == NULL) {
        return got > 0 && launch->ready_bytes < sizeof launch->ready_line - 1 ? 0 : why_it_ended(launch);
    }
    *newline = '\0';
    launch->is_ready = true;
    close_if_open(&launch->ready_fd);
    return 0;
}

static int hear_all(struct launch *all, size_t count, const struct pollfd *fds)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i].revents != 0) {
            ROOST_TRY(hear(&all[i]));
        }
    }
    return 0;
}

int launch_wait(struct launch *all, size_t count, uint64_t timeout_ms, int stop_fd)
{
    struct progress progress;
    uint64_t deadline = progress_now_ms() + timeout_ms;
    struct pollfd *fds = calloc(count + 1, sizeof *fds);
    if (fds == NULL) {
        return error_set(ROOST_ENOMEM, "no memory to wait with");
    }
    int status = 0;
    progress_start(&progress);
    while (status == 0) {
        char what[128];
        size_t missing = 0, first = 0;
        for (size_t i = count; i-- > 0;) {
            fds[i] = (struct pollfd){ .fd = all[i].ready_fd, .events = POLLIN };
            missing += !all[i].is_ready;
            first = all[i].is_ready ? first : i;
        }
        if (missing == 0) {
            break;
        }
        fds[count] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
        snprintf(what, sizeof what, missing > 1 ? "the %s of %s and %zu more" : "the %s of %s", all[first].role,
                 all[first].folder.name, missing - 1);
        progress_show(&progress, what);
        int ready = poll(fds, count + 1, progress_patience(&progress, deadline));
        if (ready > 0 && fds[count].revents != 0) {
            status = error_set(ROOST_ECANCELED, "interrupted while waiting for %s", what);
        } else if (ready > 0) {
            status = hear_all(all, count, fds);
        } else if (progress_now_ms() >= deadline) {
            status = error_set(ROOST_ETIMEDOUT, "%s is not ready after %llu s", what,
                               (unsigned long long)timeout_ms / 1000);
        }
    }
    progress_end(&progress);
    free(fds);
    return status;
}

/* ------------------------------------------------------------------ the end */

void launch_release(struct launch *launch)
{
    close_if_open(&launch->pidfd);
    close_if_open(&launch->ready_fd);
    close_if_open(&launch->life_fd);
    launch->pid = 0;
}

void launch_end(struct launch *all, size_t count, uint64_t patience_ms)
{
    struct daemon_end *ends = calloc(count, sizeof *ends);
    for (size_t i = 0; i < count && ends != NULL; i++) {
        snprintf(ends[i].what, sizeof ends[i].what, "the %s of %s", all[i].role, all[i].folder.name);
        ends[i].pidfd = all[i].pidfd;
    }
    if (ends != NULL) {
        daemons_end(ends, count, patience_ms);
    }
    free(ends);
    for (size_t i = 0; i < count; i++) {
        if (all[i].pid > 0) {
            kill(all[i].pid, SIGKILL); /* not reaped yet, so the number is still its own */
            waitpid(all[i].pid, NULL, 0);
        }
        launch_release(&all[i]);
        if (all[i].folder.path[0] != '\0') {
            folder_remove(all[i].folder.path);
        }
    }
}
