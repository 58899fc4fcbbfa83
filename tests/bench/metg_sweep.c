/* metg_sweep.c - see the header */
#include "tests/bench/metg_sweep.h"
#include "tests/bench/metg_kernel.h"

#include <roost.h>

/* The search begins at so many times an empty task: an overhead that nothing hides is half of METG. The grid looks four
 * times as far up, should that have been too short. */
enum { EMPTY_TASKS_BEFORE = 4 };
#define HALF      0.5
#define GRID_FROM 4.0  /* times the crossing */
#define GRID_TO   0.35 /* likewise */
#define GRID_STEP 1.4142135623730951

static int measure_peak(struct metg_sweep *sweep)
{
    double rate = 0;
    ROOST_TRY(sweep->peak(sweep->cores, &rate));
    samples_add(&sweep->peaks, rate);
    return 0;
}

static double core_seconds_per_task(const struct metg_sweep *sweep, double seconds)
{
    return seconds * sweep->cores / sweep->tasks;
}

static double efficiency(const struct metg_sweep *sweep, uint64_t iterations, double seconds)
{
    return sweep->tasks * metg_kernel_flop(iterations) / seconds / samples_median(&sweep->peaks);
}

/* Iterations of a task that takes so long when it is alone. */
static uint64_t iterations_of(const struct metg_sweep *sweep, double core_seconds)
{
    double flop = core_seconds * samples_median(&sweep->peaks) / sweep->cores;
    return flop > 128 ? (uint64_t)(flop / 128) : 1;
}

/* The first length, from a long one downwards by halves, at which less than half of the machine is used. */
static int find_crossing(struct metg_sweep *sweep, uint64_t *iterations_out)
{
    double seconds = 0;
    ROOST_TRY(sweep->run(sweep->arg, 0, &seconds)); /* warms up, and says how long a task must be to be long */
    ROOST_TRY(sweep->run(sweep->arg, 0, &seconds));
    uint64_t iterations = iterations_of(sweep, EMPTY_TASKS_BEFORE * core_seconds_per_task(sweep, seconds));
    double now = 1;
    for (; iterations > 1 && now >= HALF; iterations /= 2) {
        ROOST_TRY(sweep->run(sweep->arg, iterations, &seconds));
        now = efficiency(sweep, iterations, seconds);
    }
    *iterations_out = 2 * iterations;
    return 0;
}

static void make_grid(struct metg_sweep *sweep, uint64_t crossing)
{
    uint64_t before = 0;
    for (double times = GRID_FROM; times > GRID_TO && sweep->points_count < METG_POINTS_MAX; times /= GRID_STEP) {
        uint64_t iterations = (uint64_t)(times * (double)crossing);
        if (iterations != before && iterations > 0) {
            sweep->points[sweep->points_count++].iterations = before = iterations;
        }
    }
}

int metg_sweep_begin(struct metg_sweep *sweep)
{
    uint64_t crossing = 0;
    ROOST_TRY(measure_peak(sweep));
    ROOST_TRY(find_crossing(sweep, &crossing));
    make_grid(sweep, crossing);
    return 0;
}

int metg_sweep_repeat(struct metg_sweep *sweep)
{
    ROOST_TRY(measure_peak(sweep));
    for (size_t p = 0; p < sweep->points_count; p++) {
        double seconds = 0;
        ROOST_TRY(sweep->run(sweep->arg, sweep->points[p].iterations, &seconds));
        samples_add(&sweep->points[p].seconds, seconds);
    }
    return 0;
}

void metg_sweep_fini(struct metg_sweep *sweep)
{
    samples_fini(&sweep->peaks);
    for (size_t p = 0; p < sweep->points_count; p++) {
        samples_fini(&sweep->points[p].seconds);
    }
    sweep->points_count = 0;
}

double metg_sweep_ns(const struct metg_sweep *sweep, int repetition, bool *is_above_out)
{
    double best = -1, longest = 0, length_before = 0, efficiency_before = 0;
    for (size_t p = 0; p < sweep->points_count; p++) {
        const struct metg_point *point = &sweep->points[p];
        double seconds = repetition == METG_OF_MEDIANS ? samples_median(&point->seconds)
                                                       : point->seconds.values[repetition];
        double length = core_seconds_per_task(sweep, seconds) * 1e9;
        double now = efficiency(sweep, point->iterations, seconds);
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

double metg_sweep_task_us(const struct metg_sweep *sweep, size_t point)
{
    return core_seconds_per_task(sweep, samples_median(&sweep->points[point].seconds)) * 1e6;
}

double metg_sweep_efficiency(const struct metg_sweep *sweep, size_t point)
{
    return efficiency(sweep, sweep->points[point].iterations, samples_median(&sweep->points[point].seconds));
}
