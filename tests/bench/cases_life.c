/* cases_life.c - starting, and being there
 *
 * startup: a program that opens a cluster of its own, up to its first result; and a worker of a known program, needed
 * because the only one that there was has just died: started, and then forked from the job's forker, which it has once
 * it has wanted three workers. The limit is to start and end as many processes that do nothing.
 * footprint: an idle cluster of one node with two workers, without the bytes of its store, which are told apart. Its
 * limits are as many processes of one thread as it has, with the memory of a `cat` each, and two sockets that listen.
 *
 * Failures: a status; what /proc does not tell counts as nothing.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/process_tree.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPEN_RUNS = 10, COLD_RUNS = 20, OPEN_PROCESSES = 2, IDLE_PROCESSES = 4, IDLE_LISTENERS = 2, WORKERS = 2 };
enum { FORKER_WORKERS = 3, FORKER_TRIES = 100 };
#define SMALL_STORE_BYTES (UINT64_C(16) << 20)

extern char **environ;

/* ns to start `count` processes at once and see them end. */
static int time_processes(int count, double *ns_out)
{
    char *const words[] = { (char *)"true", NULL };
    pid_t pids[OPEN_PROCESSES];
    int started_count = 0, failed = 0;
    double started = bench_now_ns();
    for (; started_count < count && failed == 0; started_count += failed == 0) {
        failed = posix_spawnp(&pids[started_count], "true", NULL, NULL, words, environ);
    }
    for (int i = 0; i < started_count; i++) {
        waitpid(pids[i], NULL, 0);
    }
    *ns_out = bench_now_ns() - started;
    errno = failed;
    return failed == 0 ? 0 : error_from_errno("starting \"true\"");
}

static int get_nothing(struct roost *rt)
{
    roost_ref ref;
    roost_view view;
    ROOST_TRY(roost_call(rt, bench_nothing, &ref));
    int status = roost_get(rt, ref, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(rt, &view);
    }
    roost_free(rt, ref);
    return status;
}

static int open_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    (void)arg;
    const struct roost_options options = ROOST_OPTIONS(.job_name = "roost-bench", .cpus = 1,
                                                       .store_bytes = SMALL_STORE_BYTES);
    ROOST_TRY(time_processes(OPEN_PROCESSES, limit_out));
    double started = bench_now_ns();
    ROOST_TRY(roost_open(&bench->rt, &options));
    ROOST_TRY(get_nothing(bench->rt));
    *found_out = bench_now_ns() - started;
    session_close(bench);
    return 0;
}

/* The end of a worker. */
ROOST_TASK(bench_die);
int bench_die(struct roost_task *task)
{
    (void)task;
    _exit(0);
}

static int end_a_worker(struct bench *bench)
{
    const struct roost_task_options once = ROOST_TASK_OPTIONS(.max_retries = ROOST_NONE);
    roost_ref ref;
    roost_view view;
    ROOST_TRY(roost_call_with(bench->rt, bench_die, &once, &ref));
    int status = roost_get(bench->rt, ref, &view, BENCH_GET_MS);
    if (status != ROOST_EWORKER) {
        return error_set(ROOST_ESTATE, "a worker that ends itself is %s", roost_strerror(status));
    }
    roost_free(bench->rt, ref);
    return 0;
}

static int cold_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    (void)arg;
    ROOST_TRY(time_processes(1, limit_out));
    ROOST_TRY(end_a_worker(bench));
    double started = bench_now_ns();
    ROOST_TRY(get_nothing(bench->rt));
    *found_out = bench_now_ns() - started;
    return 0;
}

/* ------------------------------------------------------------------ forked workers */

static pid_t born; /* the process that came to main(): of a forked worker, its forker */

__attribute__((__constructor__)) static void note_birth(void) { born = getpid(); }

ROOST_TASK(bench_was_forked);
int bench_was_forked(struct roost_task *task)
{
    uint64_t was_forked = getpid() != born;
    return roost_return_value(task, 0, was_forked);
}

static int ask_whether_forked(struct bench *bench, uint64_t *was_forked_out)
{
    roost_ref ref;
    ROOST_TRY(roost_call(bench->rt, bench_was_forked, &ref));
    int status = roost_get_value(bench->rt, ref, was_forked_out, BENCH_GET_MS);
    roost_free(bench->rt, ref);
    return status;
}

/* Waits for another of its kind, so many of them in all: each has a worker at the same time. */
ROOST_TASK(bench_deep);
int bench_deep(struct roost_task *task)
{
    uint64_t depth = roost_arg_uint(task, 0), below = 0;
    if (depth > 1) {
        roost_ref ref;
        ROOST_TRY(roost_call(roost_of(task), bench_deep, &ref, depth - 1));
        ROOST_TRY(roost_get_value(roost_of(task), ref, &below, BENCH_GET_MS));
    }
    below++;
    return roost_return_value(task, 0, below);
}

/* Three workers at once, of which none is left; then single ones until one is forked. */
static int get_a_forker(struct bench *bench)
{
    roost_ref ref;
    uint64_t depth;
    ROOST_TRY(roost_call(bench->rt, bench_deep, &ref, FORKER_WORKERS));
    ROOST_TRY(roost_get_value(bench->rt, ref, &depth, BENCH_GET_MS));
    roost_free(bench->rt, ref);
    uint64_t was_forked = 0;
    for (int i = 0; i < FORKER_TRIES && (i < FORKER_WORKERS || was_forked == 0); i++) {
        ROOST_TRY(end_a_worker(bench));
        if (i + 1 >= FORKER_WORKERS) {
            ROOST_TRY(ask_whether_forked(bench, &was_forked));
        }
    }
    return was_forked != 0 ? 0 : error_set(ROOST_ESTATE, "no worker is forked: see the agent's log, topic forker");
}

static int forked_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    (void)arg;
    uint64_t was_forked;
    ROOST_TRY(time_processes(1, limit_out));
    ROOST_TRY(end_a_worker(bench));
    double started = bench_now_ns();
    ROOST_TRY(ask_whether_forked(bench, &was_forked));
    *found_out = bench_now_ns() - started;
    return was_forked != 0 ? 0 : error_set(ROOST_ESTATE, "a worker was started where one should be forked");
}

int case_startup(struct bench *bench)
{
    const struct line open = { .name = "startup/open", .unit = "ms" };
    const struct line cold = { .name = "startup/cold_worker", .unit = "ms" };
    const struct line forked = { .name = "startup/forked_worker", .unit = "ms" };
    ROOST_TRY(bench_series(bench, open, OPEN_RUNS, open_once, NULL));
    ROOST_TRY(session_open_nodes(bench, 1, SMALL_STORE_BYTES)); /* whose agent writes of dead workers into its log */
    ROOST_TRY(bench_series(bench, cold, COLD_RUNS, cold_once, NULL));
    if (!bench_wants(bench, forked.name)) {
        return 0;
    }
    ROOST_TRY(get_a_forker(bench));
    return bench_series(bench, forked, COLD_RUNS, forked_once, NULL);
}

/* ------------------------------------------------------------------ footprint */

/* A task that waits for another keeps its worker: the other one needs a second. */
static int start_workers(struct bench *bench)
{
    roost_ref ref;
    roost_view view;
    ROOST_TRY(roost_call(bench->rt, bench_client, &ref, 1));
    int status = roost_get(bench->rt, ref, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
    }
    roost_free(bench->rt, ref);
    return status;
}

/* The memory of one process that waits for its input: of a `cat` that has given a byte back. */
static int least_memory(double *bytes_out)
{
    char *const words[] = { (char *)"cat", NULL };
    posix_spawn_file_actions_t actions;
    struct process_use use = { 0 };
    int ends[2];
    char byte = 1;
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return error_from_errno("a socket pair");
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int failed = posix_spawnp(&pid, "cat", &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed == 0 && write(ends[0], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1) {
        process_add_memory(pid, &use);
    }
    close(ends[0]);
    if (failed == 0) {
        waitpid(pid, NULL, 0);
    }
    *bytes_out = use.private_bytes;
    errno = failed;
    return failed == 0 ? 0 : error_from_errno("starting \"cat\"");
}

static int print_one(struct bench *bench, const char *name, const char *unit, double found, double limit)
{
    struct line line = { .name = name, .unit = unit };
    samples_add(&line.found, found);
    samples_add(&line.limit, limit);
    return report_line(bench, &line);
}

int case_footprint(struct bench *bench)
{
    static const char *const around[] = { "sh", NULL }; /* of `roost local`, which is the root and not counted */
    struct process_use use;
    double least = 0;
    bench->cpus_of_node = WORKERS;
    int status = session_open_nodes(bench, 1, SMALL_STORE_BYTES);
    bench->cpus_of_node = 0;
    ROOST_TRY(status);
    ROOST_TRY(start_workers(bench));
    ROOST_TRY(least_memory(&least));
    process_tree_use(bench->cluster, around, &use);
    ROOST_TRY(
        print_one(bench, "footprint/memory", "MiB", use.private_bytes / 1048576, IDLE_PROCESSES * least / 1048576));
    ROOST_TRY(print_one(bench, "footprint/store", "MiB", use.shared_bytes / 1048576,
                        (double)(SMALL_STORE_BYTES + SESSION_SPARE_BYTES) / 1048576));
    ROOST_TRY(print_one(bench, "footprint/processes", "x", use.processes, IDLE_PROCESSES));
    ROOST_TRY(print_one(bench, "footprint/threads", "x", use.threads, IDLE_PROCESSES));
    ROOST_TRY(print_one(bench, "footprint/listeners", "x", use.listeners, IDLE_LISTENERS));
    return use.listeners_beyond_loopback == 0
               ? 0
               : error_set(ROOST_ESTATE, "%u sockets listen beyond loopback", use.listeners_beyond_loopback);
}
