/* cases_put.c - writing objects
 *
 * The limit of a small put is a copy into the next place and a store that publishes it; that of a large one is memcpy
 * between two areas of this process that are both warm. The source is touched just before each run.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>

enum { PUTS = 10000, SMALL_RUNS = 50, AREA_BYTES = 8 << 20, FIRST_RUNS = 3, LATER_RUNS = 7, OBJECTS_AT_ONCE = 2 };
enum { MULTI_CLIENTS = 2, MULTI_RUNS = 10 };

/* ns per put; the holds are given back outside of the time. */
static int time_small(struct bench *bench, roost_ref *refs, double *ns_out)
{
    static const char bytes[BENCH_SMALL_BYTES] = "bench";
    int made = 0, status = 0;
    double started = bench_now_ns();
    for (; status == 0 && made < PUTS; made += status == 0) {
        status = roost_put(bench->rt, bytes, sizeof bytes, &refs[made]);
    }
    *ns_out = (bench_now_ns() - started) / PUTS;
    roost_free_many(bench->rt, refs, (size_t)made);
    return status;
}

/* ns per put that is given up at once. */
static int time_freed(struct bench *bench, double *ns_out)
{
    static const char bytes[BENCH_SMALL_BYTES] = "bench";
    double started = bench_now_ns();
    for (int i = 0; i < PUTS; i++) {
        roost_ref ref;
        ROOST_TRY(roost_put(bench->rt, bytes, sizeof bytes, &ref));
        roost_free(bench->rt, ref);
    }
    *ns_out = (bench_now_ns() - started) / PUTS;
    return 0;
}

struct small {
    roost_ref *refs;
    void *area;
};

static int put_small_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct small *small = arg;
    *limit_out = limit_small_copy_ns(small->area, AREA_BYTES, BENCH_SMALL_BYTES, PUTS);
    return time_small(bench, small->refs, found_out);
}

static int put_freed_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    const struct small *small = arg;
    *limit_out = limit_small_copy_ns(small->area, AREA_BYTES, BENCH_SMALL_BYTES, PUTS);
    return time_freed(bench, found_out);
}

int case_put_small(struct bench *bench)
{
    const struct line line = { .name = "put_small", .unit = "ns" };
    const struct line freed = { .name = "put_small/freed", .unit = "ns" };
    ROOST_TRY(session_open(bench, UINT64_C(192) << 20, 1));
    struct small small = { calloc(PUTS, sizeof *small.refs), bench_map(AREA_BYTES) };
    int status = small.refs == NULL || small.area == NULL
                     ? error_set(ROOST_ENOMEM, "no memory for the refs")
                     : bench_series(bench, line, SMALL_RUNS, put_small_once, &small);
    status = status == 0 ? bench_series(bench, freed, SMALL_RUNS, put_freed_once, &small) : status;
    free(small.refs);
    bench_unmap(small.area, AREA_BYTES);
    return status;
}

struct large {
    char *from, *to; /* both warm */
    struct line first, later;
};

static int time_large(struct bench *bench, const struct large *large, struct samples *found, struct samples *limit)
{
    roost_ref ref;
    memset(large->from, (int)found->count, bench->large_bytes);
    samples_add(limit, limit_copy_ns(large->to, large->from, bench->large_bytes));
    double started = bench_now_ns();
    ROOST_TRY(roost_put(bench->rt, large->from, bench->large_bytes, &ref));
    samples_add(found, bench_now_ns() - started);
    roost_free(bench->rt, ref);
    return 0;
}

/* A new client and a new store: nothing of it is mapped here. That the agent has filled its memory by then cannot be
 * asked; so the first put also waits for that, as a program's first put does. */
static int measure_session(struct bench *bench, struct large *large, int runs)
{
    for (int run = 0; run < runs + 1; run++) {
        struct line *line = run == 0 ? &large->first : &large->later;
        report_progress(bench, run, runs + 1);
        ROOST_TRY(time_large(bench, large, &line->found, &line->limit));
    }
    return 0;
}

int case_put_large(struct bench *bench)
{
    struct large large = { .first = { .name = "put_large/first", .unit = "ms" },
                           .later = { .name = "put_large/later", .unit = "ms" } };
    int sessions = bench_runs(bench, FIRST_RUNS), status = 0;
    for (int i = 0; status == 0 && i < sessions; i++) {
        status = session_open(bench, OBJECTS_AT_ONCE * bench->large_bytes, 1);
        if (i == 0) {
            large.from = bench_map(bench->large_bytes);
            large.to = bench_map(bench->large_bytes);
        }
        if (status == 0 && (large.from == NULL || large.to == NULL)) {
            status = error_set(ROOST_ENOMEM, "no memory for two times %llu bytes",
                               (unsigned long long)bench->large_bytes);
        }
        status = status == 0 ? measure_session(bench, &large, bench_runs(bench, LATER_RUNS)) : status;
        session_close(bench);
    }
    bench_unmap(large.from, bench->large_bytes);
    bench_unmap(large.to, bench->large_bytes);
    int first = report_line(bench, &large.first), later = report_line(bench, &large.later);
    return status != 0 ? status : first != 0 ? first : later;
}

/* A client's part, done by a task: puts argument 0 bytes, once its source is warm. Gives the times when it began and
 * when it had done so: clients start when they are scheduled, and only the puts count. */
ROOST_TASK(bench_put);
int bench_put(struct roost_task *task)
{
    size_t size = (size_t)roost_arg_uint(task, 0);
    roost_ref ref;
    char *from = bench_map(size);
    if (from == NULL) {
        return roost_fail(task, 1, "no memory for %zu bytes", size);
    }
    double times[2] = { bench_now_ns(), 0 };
    int status = roost_put(roost_of(task), from, size, &ref);
    times[1] = bench_now_ns();
    bench_unmap(from, size);
    return status != 0 ? status : roost_return_value(task, 0, times);
}

static int put_multi_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct large *large = arg;
    roost_ref refs[MULTI_CLIENTS];
    double times[2], first = 0, last = 0;
    memset(large->from, 1, bench->large_bytes);
    *limit_out = limit_copy_ns(large->to, large->from, bench->large_bytes);
    for (int i = 0; i < MULTI_CLIENTS; i++) {
        ROOST_TRY(roost_call(bench->rt, bench_put, &refs[i], bench->large_bytes / MULTI_CLIENTS));
    }
    for (int i = 0; i < MULTI_CLIENTS; i++) {
        ROOST_TRY(roost_get_copy(bench->rt, refs[i], times, sizeof times, BENCH_GET_MS));
        first = i == 0 || times[0] < first ? times[0] : first;
        last = times[1] > last ? times[1] : last;
    }
    *found_out = last - first;
    roost_free_many(bench->rt, refs, MULTI_CLIENTS);
    return 0;
}

int case_put_multi(struct bench *bench)
{
    const struct line line = { .name = "put_multi", .unit = "ms" };
    struct large large = { .from = bench_map(bench->large_bytes), .to = bench_map(bench->large_bytes) };
    int status = large.from == NULL || large.to == NULL
                     ? error_set(ROOST_ENOMEM, "no memory for two times %llu bytes",
                                 (unsigned long long)bench->large_bytes)
                     : session_open(bench, OBJECTS_AT_ONCE * bench->large_bytes, MULTI_CLIENTS);
    status = status == 0 ? bench_series(bench, line, MULTI_RUNS, put_multi_once, &large) : status;
    bench_unmap(large.from, bench->large_bytes);
    bench_unmap(large.to, bench->large_bytes);
    return status;
}
