/* spawn.c - starting processes and learning of their end
 *
 * Owns each child from its start until it was reaped.
 *
 * Happy path: posix_spawn, or adopted -> pidfd watched -> readable -> reaped -> on_exit -> freed.
 * Failures:   the program cannot be started -> no child. No descriptor for its pidfd -> it is killed and reaped at
 *             once.
 * Invariants: the child is not reaped before on_exit is due, so until then its number and its group's are its own.
 * Thread:     the loop's. posix_spawn and not fork: nng aborts in a forked child, and copying a daemon's page tables
 *             takes long.
 */
#define LOG_TOPIC "spawn"
#include "common/io/spawn.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct spawn {
    pid_t pid;
    int pidfd;
    struct loop_watch *watch;
    bool ends_group;
    spawn_exit_fn *on_exit;
    void *arg;
};

static void spawn_free(struct spawn *spawn)
{
    loop_watch_close(spawn->watch);
    if (spawn->pidfd >= 0) {
        close(spawn->pidfd);
    }
    free(spawn);
}

static int reap(pid_t pid)
{
    int wait_status = 0;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
    }
    return wait_status;
}

static void on_pidfd(void *arg, unsigned events)
{
    (void)events;
    struct spawn *spawn = arg;
    siginfo_t ended = { .si_pid = 0 };
    if (waitid(P_PID, (id_t)spawn->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0) {
        return; /* not yet; the watch is level-triggered */
    }
    if (spawn->ends_group) {
        spawn_kill(spawn, SIGKILL); /* before reaping: the group's number cannot be another's yet */
    }
    spawn_exit_fn *on_exit = spawn->on_exit;
    void *on_exit_arg = spawn->arg;
    pid_t pid = spawn->pid;
    int wait_status = reap(pid);
    log_debug("event=ended pid=%d wait_status=0x%x", (int)pid, (unsigned)wait_status);
    spawn_free(spawn);
    on_exit(on_exit_arg, pid, wait_status);
}

pid_t spawn_pid(const struct spawn *spawn) { return spawn->pid; }

void spawn_spare_group(struct spawn *spawn) { spawn->ends_group = false; }

/* One that was adopted may not have its group yet: then it is alone, too. */
void spawn_kill(struct spawn *spawn, int signal_number)
{
    if (kill(-spawn->pid, signal_number) != 0) {
        kill(spawn->pid, signal_number);
    }
}

/* ------------------------------------------------------------------------------------------ start */

/* The order matters: dup2 before closefrom, which closes what was duplicated. */
static int set_actions(posix_spawn_file_actions_t *actions, const struct spawn_options *options)
{
    int failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failed == 0 && options->stdout_fd >= 0) {
        failed = posix_spawn_file_actions_adddup2(actions, options->stdout_fd, STDOUT_FILENO);
    }
    if (failed == 0 && options->stderr_fd >= 0) {
        failed = posix_spawn_file_actions_adddup2(actions, options->stderr_fd, STDERR_FILENO);
    }
    if (failed == 0 && options->third_fd > 0) {
        failed = posix_spawn_file_actions_adddup2(actions, options->third_fd, STDERR_FILENO + 1);
    }
    if (failed == 0) {
        failed = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1 + (options->third_fd > 0));
    }
    if (failed == 0 && options->cwd != NULL) {
        failed = posix_spawn_file_actions_addchdir_np(actions, options->cwd);
    }
    return failed;
}

/* A session of its own, no blocked signal, and every signal as a program expects it: what this process ignores would
 * stay ignored over exec. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int failed = posix_spawnattr_setsigmask(attributes, &none);
    if (failed == 0) {
        failed = posix_spawnattr_setsigdefault(attributes, &all);
    }
    if (failed == 0) {
        failed = posix_spawnattr_setflags(attributes,
                                          POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    return failed;
}

static int call_spawn(const struct spawn_options *options, pid_t *pid_out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failed = set_actions(&actions, options);
    if (failed == 0) {
        failed = set_attributes(&attributes);
    }
    if (failed == 0) {
        failed = posix_spawn(pid_out, options->path, &actions, &attributes, options->argv,
                             options->envp != NULL ? options->envp : environ);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

static int status_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case ENOEXEC:
        return ROOST_ENOENT;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return ROOST_ELIMIT;
    case ENOMEM:
        return ROOST_ENOMEM;
    default:
        return ROOST_EIO;
    }
}

static int watch_child(struct loop *loop, struct spawn *spawn)
{
    spawn->pidfd = pidfd_open(spawn->pid, 0);
    if (spawn->pidfd < 0) {
        return error_set(status_of_errno(errno), "watching pid %d: %s", (int)spawn->pid, strerror(errno));
    }
    fcntl(spawn->pidfd, F_SETFD, FD_CLOEXEC);
    return loop_watch_start(loop, spawn->pidfd, LOOP_READ, on_pidfd, spawn, &spawn->watch);
}

static void abandon(struct spawn *spawn)
{
    spawn_kill(spawn, SIGKILL);
    reap(spawn->pid);
    spawn_free(spawn);
}

int spawn_start(struct loop *loop, const struct spawn_options *options, spawn_exit_fn *on_exit, void *arg,
                struct spawn **spawn_out)
{
    ROOST_PRE(options->stdout_fd < 0 || options->stdout_fd > STDERR_FILENO);
    ROOST_PRE(options->stderr_fd < 0 || options->stderr_fd > STDERR_FILENO);
    ROOST_PRE(options->third_fd == 0 || options->third_fd > STDERR_FILENO);
    struct spawn *spawn = calloc(1, sizeof *spawn);
    if (spawn == NULL) {
        return error_set(ROOST_ENOMEM, "starting %s: out of memory", options->path);
    }
    *spawn = (struct spawn){ .pidfd = -1, .ends_group = options->ends_group, .on_exit = on_exit, .arg = arg };
    int failed = call_spawn(options, &spawn->pid);
    if (failed != 0) {
        free(spawn);
        return error_set(status_of_errno(failed), "starting %s%s%s: %s", options->path,
                         options->cwd != NULL ? " in " : "", options->cwd != NULL ? options->cwd : "",
                         strerror(failed));
    }
    int status = watch_child(loop, spawn);
    if (status != 0) {
        abandon(spawn);
        return status;
    }
    log_debug("event=started pid=%d path=%s", (int)spawn->pid, options->path);
    *spawn_out = spawn;
    return 0;
}

int spawn_adopt(struct loop *loop, pid_t pid, spawn_exit_fn *on_exit, void *arg, struct spawn **spawn_out)
{
    siginfo_t ended;
    if (pid <= 1 || waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return error_set(ROOST_ENOENT, "pid %d is no child of this process", (int)pid);
    }
    struct spawn *spawn = calloc(1, sizeof *spawn);
    ROOST_INVARIANT(spawn != NULL); /* a few bytes; without them nobody would wait for the child */
    *spawn = (struct spawn){ .pid = pid, .pidfd = -1, .ends_group = true, .on_exit = on_exit, .arg = arg };
    int status = watch_child(loop, spawn);
    if (status != 0) {
        abandon(spawn);
        return status;
    }
    log_debug("event=adopted pid=%d", (int)pid);
    *spawn_out = spawn;
    return 0;
}

uint64_t spawn_raise_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    struct rlimit raised = { limit.rlim_max, limit.rlim_max };
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}
