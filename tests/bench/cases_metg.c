/* cases_metg.c - the smallest task at which half of the machine still does useful work: METG(50 %)
 *
 * After Slaughter et al., "Task Bench" (SC20). Graphs of STEPS rows run with a kernel of known length; efficiency is
 * the rate of arithmetic against that of as many processes as there are cores which do nothing else, measured in turns.
 * The length is halved until efficiency is below one half; then a grid around that point is run several times over.
 * METG is the smallest time of a core per task with an efficiency of one half, interpolated towards the next smaller
 * length.
 *
 * Each task validates its inputs: each is the pair (step, column) of the task that it should come from.
 * Failures: a processor without AVX2 and FMA -> ROOST_EINVAL. A wrong input fails its task, and the case.
 * Invariants: results are of 16 bytes, one per task, and all are held until the graph has ended.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/metg_graph.h"
#include "tests/bench/metg_kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 1000, STEPS_MIN = 8, REPETITIONS = 5, POINTS_MAX = 64, CORES_MAX = 256, FULL_SIZE_BYTES = 64 << 20 };
enum { PEAK_ITERATIONS = 20000000, TASK_LENGTHS_BEFORE = 16, METG_NAME_BYTES = 64 };
#define METG_STORE_BYTES (UINT64_C(512) << 20)
#define HALF             0.5
#define GRID_FROM        4.0  /* times the crossing */
#define GRID_TO          0.35 /* likewise */
#define GRID_STEP        1.4142135623730951

struct metg_place { /* argument 0 of each task */
    uint32_t pattern, width, step, column;
    uint64_t iterations;
};

struct metg_output {
    int64_t step, column;
};

struct point { /* one length of task */
    uint64_t iterations;
    struct samples seconds;
};

struct metg {
    struct bench *bench;
    enum metg_pattern pattern;
    uint32_t width, steps;
    int cores;
    double tasks;
    roost_ref *refs; /* steps * width */
    bool *ready;
    struct samples peaks; /* operations per second */
    struct samples limits;
    struct limit_peer *peer;
    struct point points[POINTS_MAX];
    size_t points_count;
};

ROOST_TASK(bench_metg);
int bench_metg(struct roost_task *task)
{
    const struct metg_place place = roost_arg_value(task, 0, struct metg_place);
    uint32_t columns[METG_WIDTH_MAX];
    uint32_t reads = metg_reads((enum metg_pattern)place.pattern, place.width, place.step, place.column, columns);
    if (roost_arg_count(task) < 1 + (size_t)reads) {
        return roost_fail(task, 1, "%zu inputs of %u", roost_arg_count(task) - 1, reads);
    }
    for (uint32_t i = 0; i < reads; i++) {
        roost_view input = roost_arg(task, 1 + i);
        struct metg_output pair = { -1, -1 };
        if (input.size == sizeof pair) {
            memcpy(&pair, input.data, sizeof pair);
        }
        if (pair.step != (int64_t)place.step - 1 || pair.column != columns[i]) {
            return roost_fail(task, 2, "step %u column %u: input %u is of step %" PRId64 " column %" PRId64, place.step,
                              place.column, i, pair.step, pair.column);
        }
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

static int run_graph(struct metg *metg, uint64_t iterations, double *seconds_out)
{
    double started = bench_now_ns();
    for (uint32_t step = 0; step < metg->steps; step++) {
        ROOST_TRY(submit_row(metg, step, iterations));
    }
    size_t count = pack_refs(metg);
    ROOST_TRY(roost_wait(metg->bench->rt, metg->refs, count, count, false, metg->ready, BENCH_BATCH_MS));
    *seconds_out = (bench_now_ns() - started) / 1e9;
    metg->tasks = (double)count;
    int status = check_all(metg);
    roost_free_many(metg->bench->rt, metg->refs, count);
    return status;
}

/* ------------------------------------------------------------------ the machine */

/* One process: its rate, in operations per second. */
static void compute(struct metg *metg, int which, double *rate_out)
{
    bool has_core = metg->cores <= 2 && metg->bench->cores[which % 2] >= 0;
    bench_pin(has_core ? metg->bench->cores[which] : -1);
    double started = bench_now_ns();
    volatile double result = metg_kernel(PEAK_ITERATIONS);
    (void)result;
    *rate_out = metg_kernel_flop(PEAK_ITERATIONS) / (bench_now_ns() - started) * 1e9;
}

/* The sum of the rates of one process per core that does nothing but the kernel; starting them is not in the time. */
static int measure_peak(struct metg *metg)
{
    pid_t pids[CORES_MAX];
    int started_count = 0, status = 0;
    double *rates = mmap(NULL, CORES_MAX * sizeof *rates, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rates == MAP_FAILED) {
        return error_from_errno("memory for the rates of %d processes", metg->cores);
    }
    for (; status == 0 && started_count < metg->cores; started_count += status == 0) {
        pids[started_count] = fork();
        if (pids[started_count] == 0) {
            compute(metg, started_count, &rates[started_count]);
            _exit(0);
        }
        status = pids[started_count] < 0 ? error_from_errno("fork") : 0;
    }
    double peak = 0;
    for (int i = 0; i < started_count; i++) {
        waitpid(pids[i], NULL, 0);
        peak += rates[i];
    }
    munmap(rates, CORES_MAX * sizeof *rates);
    if (status == 0) {
        samples_add(&metg->peaks, peak);
    }
    return status;
}

static double core_seconds_per_task(const struct metg *metg, double seconds)
{
    return seconds * metg->cores / metg->tasks;
}

static double efficiency(struct metg *metg, uint64_t iterations, double seconds)
{
    return metg->tasks * metg_kernel_flop(iterations) / seconds / samples_median(&metg->peaks);
}

/* ------------------------------------------------------------------ the sweep */

/* Iterations of a task that takes so long when it is alone. */
static uint64_t iterations_of(struct metg *metg, double core_seconds)
{
    double flop = core_seconds * samples_median(&metg->peaks) / metg->cores;
    return flop > 128 ? (uint64_t)(flop / 128) : 1;
}

/* The first length, from a long one downwards by halves, at which less than half of the machine is used. */
static int find_crossing(struct metg *metg, uint64_t *iterations_out)
{
    double seconds = 0;
    ROOST_TRY(run_graph(metg, 0, &seconds)); /* warms up, and says how long a task must be to be long */
    ROOST_TRY(run_graph(metg, 0, &seconds));
    uint64_t iterations = iterations_of(metg, TASK_LENGTHS_BEFORE * core_seconds_per_task(metg, seconds));
    double now = 1;
    for (; iterations > 1 && now >= HALF; iterations /= 2) {
        ROOST_TRY(run_graph(metg, iterations, &seconds));
        now = efficiency(metg, iterations, seconds);
    }
    *iterations_out = 2 * iterations;
    return 0;
}

static void make_grid(struct metg *metg, uint64_t crossing)
{
    uint64_t before = 0;
    for (double times = GRID_FROM; times > GRID_TO && metg->points_count < POINTS_MAX; times /= GRID_STEP) {
        uint64_t iterations = (uint64_t)(times * (double)crossing);
        if (iterations != before && iterations > 0) {
            metg->points[metg->points_count++].iterations = before = iterations;
        }
    }
}

static int run_grid(struct metg *metg, int repetitions)
{
    for (int i = 0; i < repetitions; i++) {
        report_progress(metg->bench, i, repetitions);
        ROOST_TRY(measure_peak(metg));
        samples_add(&metg->limits, 2 * limit_stream_ns(metg->peer, (int)metg->tasks));
        for (size_t p = 0; p < metg->points_count; p++) {
            double seconds = 0;
            ROOST_TRY(run_graph(metg, metg->points[p].iterations, &seconds));
            samples_add(&metg->points[p].seconds, seconds);
        }
    }
    return 0;
}

/* ns; of the medians when `repetition` is below 0, else of that one alone. Of points that are all below one half, the
 * longest: METG is above it. The points are in order of falling length. */
static double metg_of(struct metg *metg, int repetition, bool *is_above_out)
{
    double best = -1, longest = 0, length_before = 0, efficiency_before = 0;
    for (size_t p = 0; p < metg->points_count; p++) {
        struct point *point = &metg->points[p];
        double seconds = repetition < 0 ? samples_median(&point->seconds) : point->seconds.values[repetition];
        double length = core_seconds_per_task(metg, seconds) * 1e9;
        double now = efficiency(metg, point->iterations, seconds);
        if (now >= HALF && (best < 0 || length < best)) {
            best = length;
        } else if (now < HALF && p > 0 && efficiency_before >= HALF && length < length_before &&
                   length_before <= best) {
            best = length + (length_before - length) * (HALF - now) / (efficiency_before - now);
        }
        longest = length > longest ? length : longest;
        length_before = length;
        efficiency_before = now;
    }
    *is_above_out = best < 0;
    return best < 0 ? longest : best;
}

/* ------------------------------------------------------------------ the report */

static void print_points(struct metg *metg, bool is_above)
{
    if (is_above) {
        printf("    half of the machine was never used: METG is above that\n");
    }
    for (size_t p = 0; p < metg->points_count; p++) {
        double seconds = samples_median(&metg->points[p].seconds);
        printf("    task %10.2f us   efficiency %5.3f\n", core_seconds_per_task(metg, seconds) * 1e6,
               efficiency(metg, metg->points[p].iterations, seconds));
    }
}

/* "\"steps\":..,\"points\":[[us, efficiency],...]"; the caller frees it. NULL: no memory. */
static char *points_member(struct metg *metg, bool is_above)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL) {
        return NULL;
    }
    fprintf(to, "\"steps\":%u,\"peak_gflops\":%.4g,\"above\":%s,\"points\":[", metg->steps,
            samples_median(&metg->peaks) / 1e9, is_above ? "true" : "false");
    for (size_t p = 0; p < metg->points_count; p++) {
        double seconds = samples_median(&metg->points[p].seconds);
        fprintf(to, "%s[%.4g,%.4g]", p == 0 ? "" : ",", core_seconds_per_task(metg, seconds) * 1e6,
                efficiency(metg, metg->points[p].iterations, seconds));
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
    char name[METG_NAME_BYTES];
    bool is_above, ignored;
    name_of(metg->pattern, metg->width, name);
    struct line line = {
        .name = name, .unit = "us", .limit = metg->limits, .found_median = metg_of(metg, -1, &is_above)
    };
    metg->limits = (struct samples){ 0 }; /* the line's now */
    for (int i = 0; i < repetitions; i++) {
        samples_add(&line.found, metg_of(metg, i, &ignored));
    }
    char *more = points_member(metg, is_above);
    line.more = more;
    int status = report_line(metg->bench, &line);
    for (size_t p = 0; p < metg->points_count; p++) {
        double seconds = samples_median(&metg->points[p].seconds);
        chart_point(CHART_METG, name, core_seconds_per_task(metg, seconds) * 1e6,
                    efficiency(metg, metg->points[p].iterations, seconds));
    }
    if (!metg->bench->json) {
        print_points(metg, is_above);
    }
    free(more);
    return status;
}

static int sweep(struct metg *metg)
{
    int repetitions = bench_runs(metg->bench, REPETITIONS);
    uint64_t crossing = 0;
    ROOST_TRY(measure_peak(metg));
    ROOST_TRY(find_crossing(metg, &crossing));
    make_grid(metg, crossing);
    ROOST_TRY(run_grid(metg, repetitions));
    return report(metg, repetitions);
}

static int measure_graph(struct bench *bench, enum metg_pattern pattern, uint32_t width)
{
    double share = (double)bench->large_bytes / FULL_SIZE_BYTES;
    uint32_t steps = share < 1 ? (uint32_t)(share * STEPS) : STEPS;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct metg metg = { .bench = bench, .pattern = pattern, .width = width };
    metg.steps = steps > STEPS_MIN ? steps : STEPS_MIN;
    metg.cores = (int)(cores < CORES_MAX ? cores : CORES_MAX);
    metg.refs = calloc((size_t)metg.steps * width, sizeof *metg.refs);
    metg.ready = calloc((size_t)metg.steps * width, sizeof *metg.ready);
    int status = metg.refs == NULL || metg.ready == NULL ? error_set(ROOST_ENOMEM, "no memory for the refs of a graph")
                                                         : limit_peer_start(&metg.peer, bench, PLACED_FREE);
    status = status == 0 ? sweep(&metg) : status;
    limit_peer_stop(metg.peer);
    samples_fini(&metg.peaks);
    samples_fini(&metg.limits);
    for (size_t p = 0; p < metg.points_count; p++) {
        samples_fini(&metg.points[p].seconds);
    }
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
