/* cases_task.c - calling tasks, and waiting for them
 *
 * With one worker, in each placement: driver and worker on one core, on two, and not pinned. The agent's process is
 * left to the kernel in all of them. The limits are a futex ping-pong, and a stream of lines to a second process and
 * back, in the same placement.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>

enum {
    SYNC_RUNS = 100,
    SYNC_CALLS = 100,
    WOKEN_RUNS = 500,
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

/* A window slides over the tasks: the oldest is got, then the next is called. On failure the refs that are out stay
 * held until the session ends. */
static int run_window(struct bench *bench, roost_ref window[IN_FLIGHT])
{
    for (int i = 0; i < TASKS + IN_FLIGHT; i++) {
        roost_ref *slot = &window[i % IN_FLIGHT];
        if (i >= IN_FLIGHT) {
            ROOST_TRY(get_nothing(bench, *slot));
        }
        if (i < TASKS) {
            ROOST_TRY(roost_call(bench->rt, bench_nothing, slot));
        }
    }
    return 0;
}

static int measure_async(struct bench *bench, void *peer, double *found_out, double *limit_out)
{
    static roost_ref window[IN_FLIGHT];
    *limit_out = limit_stream_ns(peer, TASKS);
    double started = bench_now_ns();
    ROOST_TRY(run_window(bench, window));
    *found_out = (bench_now_ns() - started) / TASKS;
    return 0;
}

/* Waits for one more, takes one that is ready out, and again: a list that is worked off as results come in. */
static int wait_one_by_one(struct bench *bench, roost_ref *refs, bool *ready)
{
    for (size_t count = IN_FLIGHT; count > 0; count--) {
        ROOST_TRY(roost_wait(bench->rt, refs, count, 1, false, ready, BENCH_GET_MS));
        size_t which = 0;
        while (which + 1 < count && !ready[which]) {
            which++;
        }
        memmove(&refs[which], &refs[which + 1], (count - which - 1) * sizeof *refs);
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

int case_task_sync(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    ROOST_TRY(measure_all(bench, "task_sync", "us", SYNC_RUNS, measure_sync));
    return measure_all(bench, "task_sync/woken", "us", WOKEN_RUNS, measure_woken);
}

int case_task_async(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    return measure_all(bench, "task_async", "us", ASYNC_RUNS, measure_async);
}

int case_wait(struct bench *bench)
{
    ROOST_TRY(open_warm(bench));
    ROOST_TRY(measure_all(bench, "wait_1000/each", "ms", WAIT_RUNS, measure_wait_each));
    return measure_all(bench, "wait_1000/all", "ms", WAIT_RUNS, measure_wait_all);
}
