/* metg_sweep.h - the search for METG(50 %), on whatever runs the graphs
 *
 * METG(50 %) is the smallest time of a core per task at which half of the machine's arithmetic is still done (after
 * Slaughter et al., "Task Bench", SC20). The length of a task is halved until less is done; then a grid around that
 * length is run several times over, the machine's own rate in turns with it. METG is interpolated towards the next
 * smaller length.
 *
 * The caller fills the first part of a struct metg_sweep and zeroes the rest, begins, repeats as often as it likes (at
 * least once), reads and ends with metg_sweep_fini(). Functions return 0 or what `run` or `peak` returned. */
#ifndef ROOST_TESTS_BENCH_METG_SWEEP_H
#define ROOST_TESTS_BENCH_METG_SWEEP_H

#include "tests/bench/samples.h"

#include <stdbool.h>
#include <stdint.h>

enum { METG_POINTS_MAX = 16, METG_OF_MEDIANS = -1 };

struct metg_point { /* one length of task */
    uint64_t iterations;
    struct samples seconds; /* of a graph, one of each repetition */
};

struct metg_sweep {
    /* Runs a graph whose tasks have so many iterations: seconds from the first submission until all are known to have
     * ended. */
    int (*run)(void *arg, uint64_t iterations, double *seconds_out);
    /* Operations per second of so many cores that do nothing else. */
    int (*peak)(int cores, double *rate_out);
    void *arg;
    int cores;
    double tasks; /* of a graph */

    struct samples peaks;
    struct metg_point points[METG_POINTS_MAX]; /* of falling length */
    size_t points_count;
};

/* Warms up and finds the grid. */
int metg_sweep_begin(struct metg_sweep *sweep);
/* The peak and each point once. */
int metg_sweep_repeat(struct metg_sweep *sweep);
void metg_sweep_fini(struct metg_sweep *sweep);

/* ns. Of repetition 0, 1, ... alone, or METG_OF_MEDIANS of all. Of points that are all below one half, the longest:
 * METG is above it. */
double metg_sweep_ns(const struct metg_sweep *sweep, int repetition, bool *is_above_out);
/* us of a core per task of that point, and which part of the arithmetic was done; medians. */
double metg_sweep_task_us(const struct metg_sweep *sweep, size_t point);
double metg_sweep_efficiency(const struct metg_sweep *sweep, size_t point);

#endif
