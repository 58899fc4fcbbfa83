/* cases_batch.c - the sizes at which others' clusters begin to hurt: many tasks, names, arguments, results at once
 *
 * A batch is one operation on `count` items, with a line to a second process and back per item beside it: what crosses
 * two processes cannot cost less. batches[] says which there are; they are called as Ray's microbenchmark and its
 * envelope call them.
 *
 * Failures: a status; what a batch has made until then goes with its session.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>

/* A store has a table entry for each 4 KiB, of which four fifths may be used. */
enum {
    BATCH_STORE_BYTES = 512 << 20,
    BYTES_PER_ENTRY = 5200,
    MULTI_CLIENTS = 4,
    FULL_SIZE_BYTES = 64 << 20,
    COUNT_MIN = 64
};

struct batch_work {
    struct bench *bench;
    const struct bench_batch *batch;
    struct limit_peer *peer;
    uint32_t count;
    roost_ref *refs; /* one more than count */
    roost_view *views;
    bool *ready;
};

/* Does nothing with any number of arguments, and gives as many empty results as were asked for. */
ROOST_TASK(bench_sink);
int bench_sink(struct roost_task *task)
{
    (void)task;
    return 0;
}

/* A driver's part, done by a task: calls argument 0 empty tasks and waits for them. */
ROOST_TASK(bench_client);
int bench_client(struct roost_task *task)
{
    struct roost *rt = roost_of(task);
    uint32_t count = (uint32_t)roost_arg_uint(task, 0);
    roost_ref *refs = roost_scratch(task, count * sizeof *refs);
    bool *ready = roost_scratch(task, count * sizeof *ready);
    if (refs == NULL || ready == NULL) {
        return roost_fail(task, 1, "no memory for %u refs", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        ROOST_TRY(roost_call(rt, bench_nothing, &refs[i]));
    }
    return roost_wait(rt, refs, count, count, false, ready, BENCH_GET_MS);
}

/* An object that names argument 0 others, each of argument 1 bytes. */
ROOST_TASK(bench_make_refs);
int bench_make_refs(struct roost_task *task)
{
    static const char bytes[BENCH_OBJECT_BYTES_MAX] = "bench";
    struct roost *rt = roost_of(task);
    uint32_t count = (uint32_t)roost_arg_uint(task, 0);
    size_t size = (size_t)roost_arg_uint(task, 1);
    roost_ref *refs = roost_scratch(task, count * sizeof *refs), list;
    if (refs == NULL || size > sizeof bytes) {
        return roost_fail(task, 1, "no memory for %u refs, or for objects of %zu bytes", count, size);
    }
    for (uint32_t i = 0; i < count; i++) {
        ROOST_TRY(roost_put(rt, bytes, size, &refs[i]));
    }
    ROOST_TRY(roost_put_refs(rt, refs, count, &list));
    return roost_return_ref(task, 0, list);
}

/* ------------------------------------------------------------------ what several batches do */

static int call_all(struct batch_work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        ROOST_TRY(roost_call(work->bench->rt, bench_nothing, &work->refs[i]));
    }
    return 0;
}

static int get_all(struct batch_work *work, const roost_ref *refs, uint32_t count)
{
    ROOST_TRY(roost_get_many(work->bench->rt, refs, count, work->views, BENCH_BATCH_MS));
    roost_release_many(work->bench->rt, work->views, count);
    return 0;
}

static int put_all(struct batch_work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        ROOST_TRY(roost_put_value(work->bench->rt, i, &work->refs[i]));
    }
    return 0;
}

static void free_all(struct batch_work *work, uint32_t count) { roost_free_many(work->bench->rt, work->refs, count); }

/* ------------------------------------------------------------------ batches: each gives the time of one run */

int batch_tasks_and_get(struct batch_work *work, double *ns_out)
{
    double started = bench_now_ns();
    ROOST_TRY(call_all(work));
    ROOST_TRY(get_all(work, work->refs, work->count));
    *ns_out = bench_now_ns() - started;
    free_all(work, work->count);
    return 0;
}

int batch_arguments(struct batch_work *work, double *ns_out)
{
    roost_ref *result = &work->refs[work->count];
    ROOST_TRY(put_all(work));
    double started = bench_now_ns();
    ROOST_TRY(roost_call(work->bench->rt, bench_sink, result, roost_in_refs(work->refs, work->count)));
    ROOST_TRY(get_all(work, result, 1));
    *ns_out = bench_now_ns() - started;
    free_all(work, work->count + 1);
    return 0;
}

int batch_returns(struct batch_work *work, double *ns_out)
{
    const struct roost_task_options options = ROOST_TASK_OPTIONS(.returns = work->count);
    double started = bench_now_ns();
    ROOST_TRY(roost_call_with(work->bench->rt, bench_sink, &options, work->refs));
    ROOST_TRY(get_all(work, work->refs, work->count));
    *ns_out = bench_now_ns() - started;
    free_all(work, work->count);
    return 0;
}

/* As Ray does it when it gives a list of refs out: each one is held for itself. */
int batch_get_refs(struct batch_work *work, double *ns_out)
{
    struct roost *rt = work->bench->rt;
    roost_ref list;
    roost_view view;
    ROOST_TRY(roost_call(rt, bench_make_refs, &list, work->count, sizeof(uint64_t)));
    ROOST_TRY(roost_wait(rt, &list, 1, 1, true, work->ready, BENCH_BATCH_MS));
    double started = bench_now_ns();
    ROOST_TRY(roost_get(rt, list, &view, BENCH_BATCH_MS));
    if (view.size != work->count * sizeof(roost_ref)) {
        return error_set(ROOST_EIO, "a list of %u refs has %zu bytes", work->count, view.size);
    }
    memcpy(work->refs, view.data, view.size);
    ROOST_TRY(roost_keep_many(rt, work->refs, work->count));
    free_all(work, work->count);
    roost_release(rt, &view);
    *ns_out = bench_now_ns() - started;
    roost_free(rt, list);
    return 0;
}

int batch_chain(struct batch_work *work, double *ns_out)
{
    struct roost *rt = work->bench->rt;
    double started = bench_now_ns();
    ROOST_TRY(roost_call(rt, bench_sink, &work->refs[0]));
    for (uint32_t i = 1; i < work->count; i++) {
        ROOST_TRY(roost_call(rt, bench_sink, &work->refs[i], work->refs[i - 1]));
    }
    ROOST_TRY(get_all(work, &work->refs[work->count - 1], 1));
    *ns_out = bench_now_ns() - started;
    free_all(work, work->count);
    return 0;
}

int batch_fan_in(struct batch_work *work, double *ns_out)
{
    roost_ref *result = &work->refs[work->count];
    double started = bench_now_ns();
    ROOST_TRY(call_all(work));
    ROOST_TRY(roost_call(work->bench->rt, bench_sink, result, roost_in_refs(work->refs, work->count)));
    ROOST_TRY(get_all(work, result, 1));
    *ns_out = bench_now_ns() - started;
    free_all(work, work->count + 1);
    return 0;
}

/* All are called before one is got. */
int batch_queued(struct batch_work *work, double *ns_out)
{
    double started = bench_now_ns();
    ROOST_TRY(call_all(work));
    for (uint32_t i = 0; i < work->count; i++) {
        ROOST_TRY(roost_get_copy(work->bench->rt, work->refs[i], NULL, 0, BENCH_BATCH_MS));
    }
    *ns_out = (bench_now_ns() - started) / work->count;
    free_all(work, work->count);
    return 0;
}

int batch_multi_client(struct batch_work *work, double *ns_out)
{
    struct roost *rt = work->bench->rt;
    double started = bench_now_ns();
    for (uint32_t i = 0; i < MULTI_CLIENTS; i++) {
        ROOST_TRY(roost_call(rt, bench_client, &work->refs[i], work->count / MULTI_CLIENTS));
    }
    ROOST_TRY(get_all(work, work->refs, MULTI_CLIENTS));
    *ns_out = (bench_now_ns() - started) / work->count;
    free_all(work, MULTI_CLIENTS);
    return 0;
}

/* ------------------------------------------------------------------ running one */

static int run_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct batch_work *work = arg;
    (void)bench;
    double each = limit_stream_ns(work->peer, (int)work->count);
    *limit_out = work->batch->is_per_item ? each : each * work->count;
    return work->batch->run(work, found_out);
}

/* With --bytes below 64 MiB less than the full number: for tries and tests. */
static uint32_t scaled(const struct bench *bench, uint32_t count)
{
    double share = (double)bench->large_bytes / FULL_SIZE_BYTES;
    uint32_t fewer = share < 1 ? (uint32_t)(share * count) : count;
    return fewer > COUNT_MIN ? fewer : COUNT_MIN < count ? COUNT_MIN : count;
}

static int run_all(struct batch_work *work, enum bench_placement placement)
{
    const struct bench_batch *batch = work->batch;
    const struct line line = { .name = batch->name, .unit = batch->unit, .placement = placement };
    ROOST_TRY(limit_peer_start(&work->peer, work->bench, placement));
    return bench_series(work->bench, line, batch->runs, run_once, work);
}

int bench_batch_run(struct bench *bench, const struct bench_batch *batch)
{
    struct batch_work work = { .bench = bench, .batch = batch, .count = scaled(bench, batch->count) };
    enum bench_placement placement = batch->is_free ? PLACED_FREE : PLACED_TWO_CORES;
    uint64_t entries_bytes = (uint64_t)work.count * BYTES_PER_ENTRY;
    bool is_placed = true;
    ROOST_TRY(session_open(bench, entries_bytes > BATCH_STORE_BYTES ? entries_bytes : BATCH_STORE_BYTES,
                           batch->is_free ? 0 : 1));
    ROOST_TRY(session_place(bench, placement, &is_placed));
    work.refs = calloc((size_t)work.count + 1, sizeof *work.refs);
    work.views = calloc((size_t)work.count + 1, sizeof *work.views);
    work.ready = calloc((size_t)work.count + 1, sizeof *work.ready);
    int status = work.refs == NULL || work.views == NULL || work.ready == NULL
                     ? error_set(ROOST_ENOMEM, "no memory for %u refs", work.count)
                     : run_all(&work, is_placed ? placement : PLACED_FREE);
    limit_peer_stop(work.peer);
    free(work.refs);
    free(work.views);
    free(work.ready);
    return status;
}
