/* cases_metg.c - the smallest task at which half of the machine still does useful work: METG(50 %) of Roost
 *
 * After Slaughter et al., "Task Bench" (SC20); the search is metg_sweep.c's. Here are the graphs, as rows of tasks of
 * this program, and the lines about them.
 *
 * Each task validates its inputs: each is the pair (step, column) of the task that it should come from.
 * Failures: a processor without AVX2 and FMA -> ROOST_EINVAL. A wrong input fails its task, and the case.
 * Invariants: results are of 16 bytes, one per task, and all are held until the graph has ended.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/metg_graph.h"
#include "tests/bench/metg_kernel.h"
#include "tests/bench/metg_peak.h"
#include "tests/bench/metg_sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEPS = 1000, REPETITIONS = 5, METG_NAME_BYTES = 64 };
#define METG_STORE_BYTES (UINT64_C(512) << 20)

struct metg {
    struct bench *bench;
    enum metg_pattern pattern;
    uint32_t width, steps;
    roost_ref *refs; /* steps * width */
    bool *ready;
    struct samples limits;
    struct limit_peer *peer;
    struct metg_sweep sweep;
};

ROOST_TASK(bench_metg);
int bench_metg(struct roost_task *task)
{
    const struct metg_place place = roost_arg_value(task, 0, struct metg_place);
    const void *inputs[METG_WIDTH_MAX];
    size_t sizes[METG_WIDTH_MAX];
    uint32_t count = 0;
    for (; count < METG_WIDTH_MAX && 1 + (size_t)count < roost_arg_count(task); count++) {
        roost_view input = roost_arg(task, 1 + count);
        inputs[count] = input.data;
        sizes[count] = input.size;
    }
    int wrong = metg_check(&place, inputs, sizes, count);
    if (wrong != METG_ALL_RIGHT) {
        return roost_fail(task, 1, "step %u column %u: input %d of %u is not the output that it should be", place.step,
                          place.column, wrong, count);
    }
    const struct metg_output output = { place.step, place.column };
    ROOST_TRY(roost_return_value(task, 0, output));
    metg_kernel(place.iterations);
    return 0;
}

/* ------------------------------------------------------------------ one graph */

static int submit_row(struct metg *metg, uint32_t step, uint64_t iterations)
{
    roost_in args[1 + METG_WIDTH_MAX];
    uint32_t columns[METG_WIDTH_MAX], row = metg_row_tasks(metg->pattern, metg->width, step);
    for (uint32_t column = 0; column < row; column++) {
        struct metg_place place = { metg->pattern, metg->width, step, column, iterations };
        uint32_t reads = metg_reads(metg->pattern, metg->width, step, column, columns);
        args[0] = roost_in_value(place);
        for (uint32_t i = 0; i < reads; i++) {
            args[1 + i] = roost_in_ref(metg->refs[(step - 1) * metg->width + columns[i]]);
        }
        ROOST_TRY(roost_submit(metg->bench->rt, bench_metg, NULL, &metg->refs[step * metg->width + column], args,
                               1 + (size_t)reads));
    }
    return 0;
}

/* A row of a tree that is not full leaves places without a ref: they move together. */
static size_t pack_refs(struct metg *metg)
{
    size_t count = 0;
    for (uint32_t step = 0; step < metg->steps; step++) {
        for (uint32_t column = 0; column < metg_row_tasks(metg->pattern, metg->width, step); column++) {
            metg->refs[count++] = metg->refs[step * metg->width + column];
        }
    }
    return count;
}

/* Outside of the time: that every task ended well, and that its result is its own step and column. */
static int check_all(struct metg *metg)
{
    const roost_ref *ref = metg->refs;
    for (uint32_t step = 0; step < metg->steps; step++) {
        for (uint32_t column = 0; column < metg_row_tasks(metg->pattern, metg->width, step); column++, ref++) {
            struct metg_output output;
            ROOST_TRY(roost_get_value(metg->bench->rt, *ref, &output, BENCH_GET_MS));
            if (output.step != step || output.column != column) {
                return error_set(ROOST_EIO, "the result of step %u column %u is of step %" PRId64 " column %" PRId64,
                                 step, column, output.step, output.column);
            }
        }
    }
    return 0;
}

/* Of struct metg_sweep. */
static int run_graph(void *arg, uint64_t iterations, double *seconds_out)
{
    struct metg *metg = arg;
    double started = bench_now_ns();
    for (uint32_t step = 0; step < metg->steps; step++) {
        ROOST_TRY(submit_row(metg, step, iterations));
    }
    size_t count = pack_refs(metg);
    ROOST_TRY(roost_wait(metg->bench->rt, metg->refs, count, count, false, metg->ready, BENCH_BATCH_MS));
    *seconds_out = (bench_now_ns() - started) / 1e9;
    int status = check_all(metg);
    roost_free_many(metg->bench->rt, metg->refs, count);
    return status;
}

/* ------------------------------------------------------------------ the report */

static void print_points(const struct metg_sweep *sweep, bool is_above)
{
    if (is_above) {
        printf("    half of the machine was never used: METG is above that\n");
    }
    for (size_t p = 0; p < sweep->points_count; p++) {
        printf("    task %10.2f us   efficiency %5.3f\n", metg_sweep_task_us(sweep, p),
               metg_sweep_efficiency(sweep, p));
    }
}

/* "\"steps\":..,\"points\":[[us, efficiency],...]"; the caller frees it. NULL: no memory. */
static char *points_member(const struct metg *metg, bool is_above)
{
    const struct metg_sweep *sweep = &metg->sweep;
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL) {
        return NULL;
    }
    fprintf(to, "\"steps\":%u,\"peak_gflops\":%.4g,\"above\":%s,\"points\":[", metg->steps,
            samples_median(&sweep->peaks) / 1e9, is_above ? "true" : "false");
    for (size_t p = 0; p < sweep->points_count; p++) {
        fprintf(to, "%s[%.4g,%.4g]", p == 0 ? "" : ",", metg_sweep_task_us(sweep, p), metg_sweep_efficiency(sweep, p));
    }
    fputs("]", to);
    fclose(to);
    return text;
}

static void name_of(enum metg_pattern pattern, uint32_t width, char name_out[METG_NAME_BYTES])
{
    snprintf(name_out, METG_NAME_BYTES, "metg/%s_%u", metg_pattern_name(pattern), width);
}

static int report(struct metg *metg, int repetitions)
{
    const struct metg_sweep *sweep = &metg->sweep;
    char name[METG_NAME_BYTES];
    bool is_above, ignored;
    name_of(metg->pattern, metg->width, name);
    struct line line = { .name = name,
                         .unit = "us",
                         .limit = metg->limits,
                         .found_median = metg_sweep_ns(sweep, METG_OF_MEDIANS, &is_above) };
    metg->limits = (struct samples){ 0 }; /* the line's now */
    for (int i = 0; i < repetitions; i++) {
        samples_add(&line.found, metg_sweep_ns(sweep, i, &ignored));
    }
    char *more = points_member(metg, is_above);
    line.more = more;
    int status = report_line(metg->bench, &line);
    for (size_t p = 0; p < sweep->points_count; p++) {
        chart_point(CHART_METG, name, metg_sweep_task_us(sweep, p), metg_sweep_efficiency(sweep, p));
    }
    if (!metg->bench->json) {
        print_points(sweep, is_above);
    }
    free(more);
    return status;
}

static int sweep_graph(struct metg *metg)
{
    int repetitions = bench_runs(metg->bench, REPETITIONS);
    ROOST_TRY(metg_sweep_begin(&metg->sweep));
    for (int i = 0; i < repetitions; i++) {
        report_progress(metg->bench, i, repetitions);
        samples_add(&metg->limits, 2 * limit_stream_ns(metg->peer, (int)metg->sweep.tasks));
        ROOST_TRY(metg_sweep_repeat(&metg->sweep));
    }
    return report(metg, repetitions);
}

static int measure_graph(struct bench *bench, enum metg_pattern pattern, uint32_t width)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct metg metg = {
        .bench = bench, .pattern = pattern, .width = width, .steps = metg_steps(bench->large_bytes, STEPS)
    };
    metg.sweep = (struct metg_sweep){ .run = run_graph,
                                      .peak = metg_peak,
                                      .arg = &metg,
                                      .cores = (int)(cores < METG_CORES_MAX ? cores : METG_CORES_MAX),
                                      .tasks = (double)metg_tasks(pattern, width, metg.steps) };
    metg.refs = calloc((size_t)metg.steps * width, sizeof *metg.refs);
    metg.ready = calloc((size_t)metg.steps * width, sizeof *metg.ready);
    int status = metg.refs == NULL || metg.ready == NULL ? error_set(ROOST_ENOMEM, "no memory for the refs of a graph")
                                                         : limit_peer_start(&metg.peer, bench, PLACED_FREE);
    status = status == 0 ? sweep_graph(&metg) : status;
    limit_peer_stop(metg.peer);
    metg_sweep_fini(&metg.sweep);
    samples_fini(&metg.limits);
    free(metg.refs);
    free(metg.ready);
    return status;
}

int case_metg(struct bench *bench)
{
    static const uint32_t widths[] = { 2, METG_WIDTH_MAX };
    if (!metg_kernel_is_possible()) {
        return error_set(ROOST_EINVAL, "its kernel needs a processor with AVX2 and FMA, which this one has not");
    }
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (int pattern = 0; pattern < METG_PATTERNS; pattern++) {
            char name[METG_NAME_BYTES];
            name_of((enum metg_pattern)pattern, widths[w], name);
            if (!bench_wants(bench, name)) {
                continue;
            }
            bench->now = metg_pattern_name((enum metg_pattern)pattern);
            ROOST_TRY(session_open(bench, METG_STORE_BYTES, 0));
            ROOST_TRY(measure_graph(bench, (enum metg_pattern)pattern, widths[w]));
            session_close(bench);
        }
    }
    return 0;
}
