/* cases_task.c - calling tasks, and waiting for them
 *
 * With one worker, in each placement: driver and worker on one core, on two, and not pinned. The agent's process is
 * left to the kernel in all of them. The limits are a futex ping-pong, and a stream of lines to a second process and
 * back, in the same placement. What a ref costs as an argument is measured against bytes that go inside the call.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/cores.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SYNC_RUNS = 100,
    SYNC_CALLS = 100,
    WOKEN_RUNS = 500,
    BUSY_MAX = 2,
    IN_FLIGHT = 1000,
    TASKS = 5000,
    ASYNC_RUNS = 10,
    WAIT_RUNS = 10,
    WARM_TASKS = 100
};
#define TASKS_STORE_BYTES (UINT64_C(64) << 20)

static int get_nothing(struct bench *bench, roost_ref ref)
{
    roost_view view;
    int status = roost_get(bench->rt, ref, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
    }
    roost_free(bench->rt, ref);
    return status;
}

static int call_and_get(struct bench *bench)
{
    roost_ref ref;
    ROOST_TRY(roost_call(bench->rt, bench_nothing, &ref));
    return get_nothing(bench, ref);
}

/* One call after the other, as in a loop. */
static int measure_sync(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    double limit_ns = 0;
    for (int i = 0; i < SYNC_CALLS; i++) {
        limit_ns += limit_ping_pong_ns(peer);
    }
    double started = bench_now_ns();
    for (int i = 0; i < SYNC_CALLS; i++) {
        ROOST_TRY(call_and_get(bench));
    }
    *found_out = (bench_now_ns() - started) / SYNC_CALLS;
    *limit_out = limit_ns / SYNC_CALLS;
    return 0;
}

/* One call after a pause in which the worker has fallen asleep: that of a ping-pong, which falls asleep, too. */
static int measure_woken(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    *limit_out = limit_ping_pong_ns(peer);
    double started = bench_now_ns();
    ROOST_TRY(call_and_get(bench));
    *found_out = bench_now_ns() - started;
    return 0;
}

/* A window slides over the tasks: the oldest is got, then the next is called, with that argument if there is one. On
 * failure the refs that are out stay held until the session ends. ns per task. */
static int run_window(struct bench *bench, const roost_in *arg, double *ns_out)
{
    static roost_ref window[IN_FLIGHT];
    double started = bench_now_ns();
    for (int i = 0; i < TASKS + IN_FLIGHT; i++) {
        roost_ref *slot = &window[i % IN_FLIGHT];
        if (i >= IN_FLIGHT) {
            ROOST_TRY(get_nothing(bench, *slot));
        }
        if (i < TASKS) {
            ROOST_TRY(roost_submit(bench->rt, bench_nothing, NULL, slot, arg, arg == NULL ? 0 : 1));
        }
    }
    *ns_out = (bench_now_ns() - started) / TASKS;
    return 0;
}

static int measure_async(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    *limit_out = limit_stream_ns(peer, TASKS);
    return run_window(bench, NULL, found_out);
}

/* With an object of this node as the argument; the limit is the same with as many bytes inside the call. */
static int measure_async_ref(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    static const char bytes[BENCH_SMALL_BYTES] = "bench";
    const roost_in inside = roost_in_bytes(bytes, sizeof bytes);
    roost_ref ref;
    (void)peer;
    ROOST_TRY(run_window(bench, &inside, limit_out));
    ROOST_TRY(roost_put(bench->rt, bytes, sizeof bytes, &ref));
    const roost_in named = roost_in_ref(ref);
    int status = run_window(bench, &named, found_out);
    roost_free(bench->rt, ref);
    return status;
}

/* Waits for one more, takes one that is ready out, and again: a list that is worked off as results come in. Those
 * before it move up, so that the list's own upkeep does not count. */
static int wait_one_by_one(struct bench *bench, roost_ref *refs, bool *ready)
{
    for (size_t count = IN_FLIGHT; count > 0; count--) {
        ROOST_TRY(roost_wait(bench->rt, refs, count, 1, false, ready, BENCH_GET_MS));
        size_t which = 0;
        while (which + 1 < count && !ready[which]) {
            which++;
        }
        memmove(refs + 1, refs, which * sizeof *refs);
        refs++;
    }
    return 0;
}

static int measure_wait(struct bench *bench, struct limit_peer *peer, bool all, double *found_out, double *limit_out)
{
    static roost_ref refs[IN_FLIGHT], left[IN_FLIGHT];
    static bool ready[IN_FLIGHT];
    *limit_out = limit_stream_ns(peer, IN_FLIGHT) * IN_FLIGHT;
    double started = bench_now_ns();
    for (int i = 0; i < IN_FLIGHT; i++) {
        ROOST_TRY(roost_call(bench->rt, bench_nothing, &refs[i]));
    }
    memcpy(left, refs, sizeof left);
    ROOST_TRY(all ? roost_wait(bench->rt, refs, IN_FLIGHT, IN_FLIGHT, false, ready, BENCH_GET_MS)
                  : wait_one_by_one(bench, left, ready));
    *found_out = bench_now_ns() - started;
    roost_free_many(bench->rt, refs, IN_FLIGHT);
    return 0;
}

static int measure_wait_each(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    return measure_wait(bench, peer, false, found_out, limit_out);
}

static int measure_wait_all(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    return measure_wait(bench, peer, true, found_out, limit_out);
}

static int measure_placed(struct bench *bench, struct line line, int runs, bench_run *run_once)
{
    struct limit_peer *peer;
    ROOST_TRY(limit_peer_start(&peer, bench, line.placement));
    int status = bench_series(bench, line, runs, run_once, peer);
    limit_peer_stop(peer);
    return status;
}

/* The series in each placement that this machine has. */
static int measure_all(struct bench *bench, const char *name, const char *unit, int runs, bench_run *run_once)
{
    for (int placement = PLACED_FREE; placement <= PLACED_TWO_CORES; placement++) {
        bool is_placed = false;
        ROOST_TRY(session_place(bench, (enum bench_placement)placement, &is_placed));
        if (is_placed) {
            const struct line line = { .name = name, .unit = unit, .placement = (enum bench_placement)placement };
            ROOST_TRY(measure_placed(bench, line, runs, run_once));
        }
    }
    return 0;
}

static int open_warm(struct bench *bench)
{
    ROOST_TRY(session_open(bench, TASKS_STORE_BYTES, 1));
    for (int i = 0; i < WARM_TASKS; i++) {
        ROOST_TRY(call_and_get(bench));
    }
    return 0;
}

/* Processes that compute, one a core, until busy_stop(). */
struct busy {
    pid_t pids[BUSY_MAX];
    int count;
};

static void busy_stop(struct busy *busy)
{
    while (busy->count > 0) {
        kill(busy->pids[--busy->count], SIGKILL);
        waitpid(busy->pids[busy->count], NULL, 0);
    }
}

static int busy_start(const struct bench *bench, struct busy *busy)
{
    for (; busy->count < BUSY_MAX && bench->cores[busy->count] >= 0; busy->count++) {
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            cores_pin(bench->cores[busy->count]);
            for (volatile uint64_t rounds = 0;; rounds++) {
            }
        }
        if (pid < 0) {
            int status = error_from_errno("fork");
            busy_stop(busy);
            return status;
        }
        busy->pids[busy->count] = pid;
    }
    return 0;
}

/* While others compute on the first two cores: a wake-up waits for one of them to be moved aside. */
static int measure_busy(struct bench *bench)
{
    const struct line line = { .name = "task_sync/busy", .unit = "us" };
    struct busy busy = { .count = 0 };
    bool is_placed;
    ROOST_TRY(session_place(bench, PLACED_FREE, &is_placed));
    ROOST_TRY(busy_start(bench, &busy));
    int status = measure_placed(bench, line, SYNC_RUNS, measure_sync);
    busy_stop(&busy);
    return status;
}

int case_task_sync(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    ROOST_TRY(measure_all(bench, "task_sync", "us", SYNC_RUNS, measure_sync));
    ROOST_TRY(measure_all(bench, "task_sync/woken", "us", WOKEN_RUNS, measure_woken));
    return measure_busy(bench);
}

int case_task_async(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    ROOST_TRY(measure_all(bench, "task_async", "us", ASYNC_RUNS, measure_async));
    return measure_all(bench, "task_async/ref", "us", ASYNC_RUNS, measure_async_ref);
}

int case_wait(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    ROOST_TRY(measure_all(bench, "wait_1000/each", "ms", WAIT_RUNS, measure_wait_each));
    return measure_all(bench, "wait_1000/all", "ms", WAIT_RUNS, measure_wait_all);
}
