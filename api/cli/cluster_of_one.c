/* cluster_of_one.c - `roost cluster-of-one`: what roost_open() starts when there is no address
 *
 *     roost cluster-of-one --parent PID [--store-bytes N] [--cpus HUNDREDTHS]
 *
 * The contract with the library is at the top of api/agent_start.c: fd 3 gets one line, the socket's path or what went
 * wrong; the cluster ends when fd 4 does, or when PID ends. It is one agent without a head: everything that one node
 * can decide, it decides.
 *
 * Failures: cannot start -> the reason as the line on fd 3, and exit code 1; its folder is removed in any case.
 */
#include "api/cli/command.h"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READY_FD = 3, LIFE_FD = 4 };

/* The folder of all nodes of this user: 0700, and nobody else's. */
static int make_root(char *path, size_t bytes)
{
    const char *named = getenv("ROOST_DIR");
    int length = named != NULL && named[0] != '\0' ? snprintf(path, bytes, "%s", named)
                                                   : snprintf(path, bytes, "/tmp/roost-%u", (unsigned)getuid());
    if (length < 0 || (size_t)length >= bytes) {
        return error_set(ROOST_EINVAL, "the folder for nodes has a path of more than %zu bytes", bytes - 1);
    }
    struct stat about;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_from_errno("the folder for nodes, %s", path);
    }
    if (lstat(path, &about) != 0) {
        return error_from_errno("the folder for nodes, %s", path);
    }
    if (!S_ISDIR(about.st_mode) || about.st_uid != getuid()) {
        return error_set(ROOST_EAUTH, "%s is not a folder of yours; set $ROOST_DIR to one that is", path);
    }
    return 0;
}

static int make_folder(char *path, size_t bytes)
{
    char root[PATH_MAX - 64];
    int status = make_root(root, sizeof root);
    if (status != 0) {
        return status;
    }
    if ((size_t)snprintf(path, bytes, "%s/one-%d", root, (int)getpid()) >= bytes) {
        return error_set(ROOST_EINVAL, "%s is too long a path for a node's folder", root);
    }
    return mkdir(path, 0700) == 0 ? 0 : error_from_errno("the node's folder, %s", path);
}

static void say_failure(void)
{
    char line[ERROR_TEXT_BYTES + 2];
    int length = snprintf(line, sizeof line, "%s\n", error_text()[0] == '/' ? error_text() + 1 : error_text());
    ssize_t written = write(READY_FD, line, (size_t)length);
    (void)written; /* the library then sees the end of the pipe instead */
}

/* A descriptor of the process that wants the cluster; -1 when it is gone already. */
static int parent_pidfd(pid_t parent)
{
    int fd = (int)syscall(SYS_pidfd_open, parent, 0);
    return fd >= 0 && getppid() == parent ? fd : -1;
}

int command_cluster_of_one(int argc, char **argv)
{
    enum { OPT_PARENT = 1, OPT_STORE, OPT_CPUS };
    static const struct option known[] = { { "parent", required_argument, NULL, OPT_PARENT },
                                           { "store-bytes", required_argument, NULL, OPT_STORE },
                                           { "cpus", required_argument, NULL, OPT_CPUS },
                                           { 0 } };
    char self[PATH_MAX], folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    struct agent_options options = { .command = self, .ready_fd = READY_FD, .lifeline_fd = LIFE_FD, .populate = true };
    pid_t parent = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case OPT_PARENT:
            parent = (pid_t)strtol(optarg, NULL, 10);
            break;
        case OPT_STORE:
            options.store_bytes = strtoull(optarg, NULL, 10);
            break;
        case OPT_CPUS:
            options.cpus = strtod(optarg, NULL) / 100;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    if (parent == 0 || length < 0) {
        fprintf(stderr, "roost cluster-of-one: for libroost only\n");
        return EXIT_USAGE;
    }
    self[length] = '\0';
    options.parent_fd = parent_pidfd(parent);
    if (options.parent_fd < 0) {
        return EXIT_FAILED; /* nobody is there to be told */
    }
    log_start("one", LOG_WARN);
    int status = make_folder(folder, sizeof folder);
    if (status == 0) {
        options.folder = folder;
        status = agent_run(&options);
        rmdir(folder);
    }
    if (status != 0) {
        say_failure();
    }
    return status == 0 ? EXIT_OK : EXIT_FAILED;
}
