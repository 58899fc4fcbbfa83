/* session.c - the cluster of a case, and where its processes run
 *
 * Owns the cluster of the case that runs, the driver's core and, by a task that moves its own process, the worker's. A
 * cluster of one node is roost_open()'s own. One of several is `roost local` around a shell that tells the addresses
 * and waits for the end of its input: it ends with us, however we end. A worker is this program again: it never gets
 * past session_serve().
 *
 * Failures: a status with its text; what was opened is closed by session_close(), which may be called in any state.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/cores.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NODES_START_MS = 30000, ADDRESSES_BYTES = 512 };

extern char **environ;

double bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* All threads of this worker to that core. */
ROOST_TASK(bench_move);
int bench_move(struct roost_task *task)
{
    cpu_set_t set;
    cores_set((int)roost_arg_int(task, 0), &set);
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) {
        return roost_fail(task, 1, "cannot list the worker's threads");
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] != '.') {
            failed |= sched_setaffinity((pid_t)strtol(entry->d_name, NULL, 10), sizeof set, &set);
        }
    }
    closedir(threads);
    return failed == 0 ? 0 : roost_fail(task, 2, "the worker cannot be pinned");
}

ROOST_TASK(bench_nothing);
int bench_nothing(struct roost_task *task)
{
    (void)task;
    return 0;
}

/* The task that does nothing has ended: the worker has started, and will not start in the middle of a measurement. */
static int wait_for_worker(struct bench *bench)
{
    roost_ref ref;
    roost_view view;
    ROOST_TRY(roost_call(bench->rt, bench_nothing, &ref));
    int status = roost_get(bench->rt, ref, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
    }
    roost_free(bench->rt, ref);
    return status;
}

void session_serve(void)
{
    cores_remember();
    if (getenv("ROOST_WORKER") != NULL) {
        struct roost *rt;
        ROOST_CHECK(roost_open(&rt, NULL)); /* serves tasks, and ends with the worker */
    }
}

static int open_and_warm(struct bench *bench, const struct roost_options *options)
{
    ROOST_TRY(roost_open(&bench->rt, options));
    return wait_for_worker(bench);
}

int session_open(struct bench *bench, uint64_t store_bytes, double cpus)
{
    bench_ready_memory(store_bytes + SESSION_SPARE_BYTES);
    const struct roost_options options = ROOST_OPTIONS(.job_name = "roost-bench",
                                                       .store_bytes = store_bytes + SESSION_SPARE_BYTES, .cpus = cpus);
    return open_and_warm(bench, &options);
}

/* `roost local` in a process of its own; our end of its standard input and output is the lifeline. */
static int start_nodes(struct bench *bench, unsigned nodes, uint64_t store_bytes)
{
    const char *command = getenv("ROOST_COMMAND");
    char count[16], cpus[16], bytes[24];
    int pair[2];
    snprintf(count, sizeof count, "%u", nodes);
    snprintf(cpus, sizeof cpus, "%u", bench->cpus_of_node == 0 ? 1 : bench->cpus_of_node);
    snprintf(bytes, sizeof bytes, "%" PRIu64, store_bytes);
    char *const words[] = {
        (char *)"roost",
        (char *)"local",
        (char *)"--quiet",
        (char *)"--cpus",
        cpus,
        (char *)"--nodes",
        count,
        (char *)"--store-bytes",
        bytes,
        (char *)"--",
        (char *)"sh",
        (char *)"-c",
        (char *)"echo \"$ROOST_ADDRESS $ROOST_AGENT\"; read -r end",
        NULL,
    };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_from_errno("a socket pair");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
    int failed = posix_spawnp(&bench->cluster, command == NULL ? "roost" : command, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    if (failed != 0) {
        bench->cluster = 0;
        close(pair[0]);
        errno = failed;
        return error_from_errno("starting \"%s local\"", command == NULL ? "roost" : command);
    }
    bench->lifeline = pair[0];
    return 0;
}

/* "ADDRESS AGENT", a line, within its time. */
static int read_addresses(int lifeline, char text_out[ADDRESSES_BYTES])
{
    size_t bytes = 0;
    while (bytes + 1 < ADDRESSES_BYTES && memchr(text_out, '\n', bytes) == NULL) {
        struct pollfd ready = { .fd = lifeline, .events = POLLIN };
        ssize_t got = poll(&ready, 1, NODES_START_MS) == 1
                          ? read(lifeline, text_out + bytes, ADDRESSES_BYTES - 1 - bytes)
                          : -1;
        if (got <= 0) {
            return error_set(ROOST_ECONNECT, "the cluster of several nodes did not start");
        }
        bytes += (size_t)got;
    }
    text_out[bytes] = '\0';
    return 0;
}

int session_open_nodes(struct bench *bench, unsigned nodes, uint64_t store_bytes)
{
    char text[ADDRESSES_BYTES] = "", *at = text;
    bench_ready_memory(nodes * (store_bytes + SESSION_SPARE_BYTES));
    ROOST_TRY(start_nodes(bench, nodes, store_bytes + SESSION_SPARE_BYTES));
    ROOST_TRY(read_addresses(bench->lifeline, text));
    const char *address = strsep(&at, " \n"), *agent = strsep(&at, " \n");
    setenv("ROOST_ADDRESS", address, 1);
    setenv("ROOST_AGENT", agent == NULL ? "" : agent, 1);
    const struct roost_options options = ROOST_OPTIONS(.job_name = "roost-bench", .address = address);
    return open_and_warm(bench, &options);
}

void session_close(struct bench *bench)
{
    roost_close(bench->rt);
    bench->rt = NULL;
    if (bench->cluster > 0) {
        close(bench->lifeline); /* its command reads the end */
        waitpid(bench->cluster, NULL, 0);
        bench->cluster = 0;
        unsetenv("ROOST_ADDRESS");
        unsetenv("ROOST_AGENT");
    }
    (void)cores_pin(-1); /* what cannot be undone here is found when the next case pins */
}

int session_place(struct bench *bench, enum bench_placement placement, bool *done_out)
{
    int worker_core = placement == PLACED_FREE ? -1 : bench->cores[placement == PLACED_TWO_CORES ? 1 : 0];
    int driver_core = placement == PLACED_FREE ? -1 : bench->cores[0];
    if (placement != PLACED_FREE && worker_core < 0) {
        *done_out = false;
        return 0;
    }
    ROOST_TRY(cores_pin(driver_core));
    roost_ref moved;
    roost_view view;
    ROOST_TRY(roost_call(bench->rt, bench_move, &moved, worker_core));
    int status = roost_get(bench->rt, moved, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
        *done_out = true;
    }
    roost_free(bench->rt, moved);
    return status;
}

void *bench_map(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); /* fewer faults where there are huge pages; the same figures without */
    memset(memory, 1, bytes);
    return memory;
}

void bench_unmap(void *memory, uint64_t bytes)
{
    if (memory != NULL) {
        munmap(memory, bytes);
    }
}

void bench_ready_memory(uint64_t bytes) { bench_unmap(bench_map(bytes), bytes); }
