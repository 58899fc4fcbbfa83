/* local.c - `roost local`: a temporary cluster around a command
 *
 * Happy path: folders -> head -> agents, all at once -> the head knows them -> ROOST_ADDRESS, ROOST_AGENT -> COMMAND ->
 *             its exit status.
 * Failures:   a daemon that cannot start, SIGTERM, SIGINT, SIGHUP -> everything is ended, then we. A daemon that ends
 *             in the middle is told of and nothing else: how the rest takes it is often what is being tried. Killed by
 *             SIGKILL -> the daemons see the end of their lifelines, COMMAND gets SIGTERM from the kernel.
 * Invariants: only this process holds the writing ends of the lifelines. It is the reaper of everything that COMMAND
 *             leaves (PR_SET_CHILD_SUBREAPER), so that nothing is left.
 * Signals:    a Ctrl-C at the terminal reaches COMMAND, too, and COMMAND decides; the daemons are in sessions of their
 *             own and see nothing of it. A signal to this process alone is handed on, and COMMAND has so long to end.
 * Thread:     main.
 */
#include "api/cli/command.h"
#include "api/cli/join.h"
#include "api/cli/launch.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "api/cli/progress.h"
#include "common/error.h"
#include "common/limits.h"
#include "objectstore/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOCAL_END_MS = 10000, LOCAL_STRAYS_MS = 2000 };

static uint64_t nodes = 1, cpus, store_bytes, timeout_ms = WAIT_MS_DEFAULT;
static bool is_quiet;

static const struct option_spec specs[] = {
    OPT_NUMBER("nodes", "N", 1, LOCAL_NODES_MAX, &nodes, "how many nodes (default: 1)"),
    OPT_CPUS(&cpus, "CPUs of each node, such as 4 or 0.5 (default: the\nmachine's, shared out)"),
    OPT_STORE_BYTES(&store_bytes, "of shared memory for objects, each node (default: a share\nof what is free)"),
    OPT_TIMEOUT(&timeout_ms, "how long it may take until all is ready (default: 30)"),
    OPT_FLAG("quiet", &is_quiet, "say nothing about the cluster but errors"),
    OPT_END,
};

static const struct option_set set = {
    .command = "local",
    .usage = "[--nodes N] [--cpus C] [--store-bytes SIZE] [--] COMMAND [ARGUMENTS]",
    .text =
        "Runs COMMAND with a temporary cluster around it: a head and N nodes on this machine, each with a store of\n"
        "its own. COMMAND finds it by ROOST_ADDRESS and ROOST_AGENT. When COMMAND ends, or `roost local` does in\n"
        "whatever way, so does the cluster with everything that COMMAND left running. The exit status is\n"
        "COMMAND's, or 128 + N when signal N ended it; 126 or 127 when it could not be run.",
    .examples = "roost local -- ./program\n"
                "roost local --nodes 3 --cpus 2 --store-bytes 500M -- ./program --its-own options\n"
                "roost local --nodes 2 -- bash        a shell to try things in",
    .specs = specs,
    .words_min = 1,
    .rest_is_command = true,
};

struct local {
    struct launch *daemons; /* the head first, if there is one, then the agents */
    size_t daemons_count, agents_from;
    pid_t command; /* 0: not running */
    int command_status;
    int stop_fd, child_fd;
    sigset_t mask_before;
    int stop_signal;          /* that ended us; 0: none */
    uint64_t kill_command_ms; /* when COMMAND's patience ends; 0: never */
};

/* ------------------------------------------------------------------ signals */

static int open_signals(struct local *local)
{
    sigset_t stops, children;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    sigaddset(&stops, SIGQUIT);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &stops, &local->mask_before);
    sigprocmask(SIG_BLOCK, &children, NULL);
    local->stop_fd = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
    local->child_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    return local->stop_fd >= 0 && local->child_fd >= 0 ? 0 : error_from_errno("signalfd");
}

static void take_stop_signals(struct local *local)
{
    struct signalfd_siginfo info;
    while (read(local->stop_fd, &info, sizeof info) == sizeof info) {
        bool from_terminal = info.ssi_code == SI_KERNEL;
        if (local->command > 0 && !from_terminal) {
            kill(local->command, (int)info.ssi_signo); /* ours and not reaped: the number is its own */
            local->kill_command_ms = progress_now_ms() + LOCAL_END_MS;
        }
        if (local->command == 0 || !from_terminal) {
            local->stop_signal = (int)info.ssi_signo;
        }
    }
}

/* ------------------------------------------------------------------ the cluster */

static void share_out(void)
{
    if (cpus == 0) {
        cpus = (uint64_t)get_nprocs() * 100 / nodes;
        cpus = cpus > 100 ? cpus : 100;
    }
    if (store_bytes == 0 && nodes > 1) {
        struct memory_facts facts = { .processes = 8 };
        if (memory_facts_read(&facts, "") == 0) {
            store_bytes = align_up(segment_size_default(&facts) / nodes, ROOST_MIB(1));
        }
    }
}

static int add_daemon(struct local *local, const char *role, const char *name)
{
    char folder_name[FOLDER_NAME_BYTES];
    struct folder folder;
    snprintf(folder_name, sizeof folder_name, "local-%d-%s", (int)getpid(), name);
    ROOST_TRY(folder_create(folder_name, "local", true, &folder));
    struct launch *launch = &local->daemons[local->daemons_count++];
    launch_init(launch, role, &folder);
    launch_arg(launch, "--remove-folder");
    return 0;
}

static int start_head(struct local *local)
{
    ROOST_TRY(add_daemon(local, "head", "head"));
    ROOST_TRY(launch_start(&local->daemons[0], true));
    local->agents_from = 1;
    return launch_wait(local->daemons, 1, timeout_ms, local->stop_fd);
}

static int start_agents(struct local *local)
{
    for (uint64_t i = 1; i <= nodes; i++) {
        char name[24];
        snprintf(name, sizeof name, "%" PRIu64, i);
        ROOST_TRY(add_daemon(local, "agent", name));
        struct launch *agent = &local->daemons[local->daemons_count - 1];
        launch_arg(agent, "--name");
        launch_arg(agent, "node-%" PRIu64, i);
        launch_arg(agent, "--cpus");
        launch_arg(agent, "%" PRIu64 ".%02" PRIu64, cpus / 100, cpus % 100);
        if (store_bytes > 0) {
            launch_arg(agent, "--store-bytes");
            launch_arg(agent, "%" PRIu64, store_bytes);
        }
        launch_arg(agent, "--address");
        launch_arg(agent, "%s", local->daemons[0].ready_line);
        ROOST_TRY(launch_start(agent, true));
    }
    ROOST_TRY(launch_wait(local->daemons + local->agents_from, (size_t)nodes, timeout_ms, local->stop_fd));
    return join_wait(local->daemons[0].ready_line, "", nodes, timeout_ms, local->stop_fd);
}

static int start_cluster(struct local *local)
{
    local->daemons = calloc((size_t)nodes + 1, sizeof *local->daemons);
    if (local->daemons == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for %" PRIu64 " nodes", nodes);
    }
    ROOST_TRY(open_signals(local));
    share_out();
    ROOST_TRY(start_head(local));
    return start_agents(local);
}

/* ------------------------------------------------------------------ the command */

/* In the child. */
static void become_command(const struct local *local, char **argv)
{
    setenv("ROOST_ADDRESS", local->daemons[0].ready_line, 1);
    setenv("ROOST_AGENT", local->daemons[local->agents_from].ready_line, 1);
    sigprocmask(SIG_SETMASK, &local->mask_before, NULL);
    execvp(argv[0], argv);
    int why = errno;
    fprintf(stderr, "roost local: %s: %s\n", argv[0], strerror(why));
    _exit(why == ENOENT ? 127 : 126);
}

static int start_command(struct local *local, char **argv)
{
    pid_t self = getpid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    local->command = fork();
    if (local->command == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != self) {
            _exit(EXIT_FAILED); /* we died in between */
        }
        become_command(local, argv);
    }
    if (local->command < 0) {
        local->command = 0;
        return error_from_errno("starting %s", argv[0]);
    }
    return 0;
}

static void tell_end(const struct launch *launch, int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        fprintf(stderr, "roost local: the %s of %s was killed by signal %d\n", launch->role, launch->folder.name,
                WTERMSIG(wait_status));
    } else {
        fprintf(stderr, "roost local: the %s of %s has ended with status %d\n", launch->role, launch->folder.name,
                WEXITSTATUS(wait_status));
    }
}

/* Everything that has ended: COMMAND, daemons, and what COMMAND's processes have left. */
static void reap(struct local *local)
{
    int wait_status;
    struct signalfd_siginfo info;
    while (read(local->child_fd, &info, sizeof info) == sizeof info) {
    }
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        if (pid == local->command) {
            local->command = 0;
            local->command_status = wait_status;
        }
        for (size_t i = 0; i < local->daemons_count; i++) {
            if (local->daemons[i].pid == pid) {
                local->daemons[i].pid = 0;
                tell_end(&local->daemons[i], wait_status);
            }
        }
    }
}

static void run_command(struct local *local)
{
    while (local->command > 0) {
        struct pollfd fds[2] = { { .fd = local->stop_fd, .events = POLLIN },
                                 { .fd = local->child_fd, .events = POLLIN } };
        uint64_t now_ms = progress_now_ms(), until_ms = local->kill_command_ms;
        poll(fds, 2, until_ms == 0 ? -1 : until_ms > now_ms ? (int)(until_ms - now_ms) : 0);
        take_stop_signals(local);
        reap(local);
        if (local->command > 0 && local->kill_command_ms != 0 && progress_now_ms() >= local->kill_command_ms) {
            kill(local->command, SIGKILL);
            local->kill_command_ms = 0;
        }
    }
}

/* ------------------------------------------------------------------ the end */

/* Signals every child but the daemons; how many there are. */
static size_t signal_strays(const struct local *local, int signal_number)
{
    char path[64];
    size_t found = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    for (int pid; children != NULL && fscanf(children, "%d", &pid) == 1;) {
        bool is_daemon = false;
        for (size_t i = 0; i < local->daemons_count; i++) {
            is_daemon = is_daemon || local->daemons[i].pid == pid;
        }
        if (!is_daemon) {
            kill(pid, signal_number); /* our child, not reaped: the number is its own */
            found++;
        }
    }
    if (children != NULL) {
        fclose(children);
    }
    return found;
}

/* What COMMAND has left behind: asked to end, then killed. A child of one that ends becomes ours and is next. */
static void end_strays(struct local *local)
{
    uint64_t kill_ms = progress_now_ms() + LOCAL_STRAYS_MS;
    int signal_number = SIGTERM;
    reap(local);
    for (size_t before = 0, now; (now = signal_strays(local, signal_number)) > 0; before = now) {
        struct pollfd child = { .fd = local->child_fd, .events = POLLIN };
        if (before == 0 && !is_quiet) {
            fprintf(stderr, "roost local: ending %zu process%s that the command has left\n", now, now > 1 ? "es" : "");
        }
        uint64_t now_ms = progress_now_ms();
        poll(&child, 1, signal_number == SIGKILL ? LOCAL_STRAYS_MS : kill_ms > now_ms ? (int)(kill_ms - now_ms) : 0);
        signal_number = progress_now_ms() >= kill_ms ? SIGKILL : SIGTERM;
        reap(local);
    }
}

static void end_cluster(struct local *local)
{
    if (local->agents_from < local->daemons_count) {
        launch_end(local->daemons + local->agents_from, local->daemons_count - local->agents_from, LOCAL_END_MS);
    }
    if (local->agents_from > 0 || local->daemons_count > 0) {
        launch_end(local->daemons, local->agents_from > 0 ? 1 : local->daemons_count, LOCAL_END_MS);
    }
    free(local->daemons);
}

static int exit_code_of(const struct local *local)
{
    if (WIFSIGNALED(local->command_status)) {
        return 128 + WTERMSIG(local->command_status);
    }
    return WEXITSTATUS(local->command_status);
}

int command_local(int argc, char **argv)
{
    struct local local = { .stop_fd = -1, .child_fd = -1 };
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    int status = start_cluster(&local);
    if (status == 0) {
        if (!is_quiet) {
            fprintf(stderr, "roost local: %" PRIu64 " node%s, head at %s\n", nodes, nodes > 1 ? "s" : "",
                    local.daemons[0].ready_line);
        }
        status = start_command(&local, argv + 1);
    }
    if (status == 0) {
        run_command(&local);
        end_strays(&local);
        code = exit_code_of(&local);
    } else if (status == ROOST_ECANCELED) {
        take_stop_signals(&local);
        code = 128 + local.stop_signal;
    } else {
        command_failed("local", status);
        code = EXIT_FAILED;
    }
    end_cluster(&local);
    return code;
}
