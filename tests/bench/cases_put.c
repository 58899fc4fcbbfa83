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

int case_put_small(struct bench *bench)
{
    struct line line = { .name = "put_small", .unit = "ns" };
    ROOST_TRY(session_open(bench, UINT64_C(192) << 20, 1));
    roost_ref *refs = calloc(PUTS, sizeof *refs);
    void *area = bench_map(AREA_BYTES);
    int runs = bench_runs(bench, SMALL_RUNS);
    int status = refs == NULL || area == NULL ? error_set(ROOST_ENOMEM, "no memory for the refs") : 0;
    for (int run = -BENCH_WARM_UPS; status == 0 && run < runs; run++) {
        double ns = 0, limit = limit_small_copy_ns(area, AREA_BYTES, BENCH_SMALL_BYTES, PUTS);
        report_progress(bench, run, runs);
        status = time_small(bench, refs, &ns);
        if (status == 0 && run >= 0) {
            samples_add(&line.found, ns);
            samples_add(&line.limit, limit);
        }
    }
    free(refs);
    bench_unmap(area, AREA_BYTES);
    int said = report_line(bench, &line);
    return status != 0 ? status : said;
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
        if (i == 0) { /* not before: a worker comes no further than the line above */
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
