/* cluster_of_one.c - `roost cluster-of-one`: what roost_open() starts when there is no address
 *
 *     roost cluster-of-one --parent PID [--store-bytes N] [--cpus HUNDREDTHS]
 *
 * The contract with the library is at the top of api/agent_start.c: fd 3 gets one line, the socket's path or what went
 * wrong; the cluster ends when fd 4 does, or when PID ends. It is one agent without a head: everything that one node
 * can decide, it decides.
 *
 * Failures: cannot start -> the reason as the line on fd 3, and exit code 1; its folder is removed in any case, at the
 *           latest by the next folder_create().
 */
#include "api/cli/command.h"
#include "api/cli/folder.h"
#include "api/cli/launch.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READY_FD = 3, LIFE_FD = 4 };

static uint64_t parent, store_bytes, cpus_hundredths;

static const struct option_spec specs[] = {
    OPT_NUMBER("parent", "PID", 1, INT32_MAX, &parent, "of the program, our parent"),
    OPT_NUMBER("store-bytes", "N", 1, UINT64_MAX, &store_bytes, "of the store"),
    OPT_NUMBER("cpus", "HUNDREDTHS", 1, UINT32_MAX, &cpus_hundredths, "of a CPU"),
    OPT_END,
};

static const struct option_set set = {
    .command = "cluster-of-one",
    .usage = "--parent PID [--store-bytes N] [--cpus HUNDREDTHS]",
    .text = "For libroost only: the cluster of a program that has none. Descriptor 3 is told when it is ready, and it\n"
            "ends with descriptor 4.",
    .specs = specs,
};

static void say_failure(void)
{
    char line[ERROR_TEXT_BYTES + 2];
    int length = snprintf(line, sizeof line, "%s\n", error_text()[0] == '/' ? error_text() + 1 : error_text());
    ssize_t written = write(READY_FD, line, (size_t)length);
    (void)written; /* the library then sees the end of the pipe instead */
}

/* A descriptor of the process that wants the cluster; -1 when it is gone already. */
static int parent_pidfd(void)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)parent, 0);
    return fd >= 0 && getppid() == (pid_t)parent ? fd : -1;
}

int command_cluster_of_one(int argc, char **argv)
{
    char name[FOLDER_NAME_BYTES];
    struct folder folder;
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (parent == 0) {
        return options_refuse(&set, "for libroost only");
    }
    struct agent_options options = { .command = launch_self(),
                                     .cpus = (double)cpus_hundredths / 100,
                                     .store_bytes = store_bytes,
                                     .ready_fd = READY_FD,
                                     .lifeline_fd = LIFE_FD,
                                     .parent_fd = parent_pidfd(),
                                     .populate = true };
    if (options.parent_fd < 0) {
        return EXIT_FAILED; /* nobody is there to be told */
    }
    log_start("one", LOG_WARN);
    snprintf(name, sizeof name, "one-%d", (int)getpid());
    int status = folder_create(name, "one", false, &folder);
    if (status == 0) {
        options.folder = folder.path;
        status = agent_run(&options);
        folder_remove(folder.path);
    }
    if (status != 0) {
        say_failure();
    }
    return status == 0 ? EXIT_OK : EXIT_FAILED;
}
