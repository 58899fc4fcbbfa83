/* samples.h - the figures of a series, as many as it takes */
#ifndef ROOST_TESTS_BENCH_SAMPLES_H
#define ROOST_TESTS_BENCH_SAMPLES_H

#include <stddef.h>

/* All zero: empty. */
struct samples {
    double *values; /* in ns, or in the case's own unit when that is no time */
    size_t count, capacity;
};

/* No memory for it ends the program: half a series would be a wrong figure. */
void samples_add(struct samples *samples, double value);
/* Frees; empty again. */
void samples_fini(struct samples *samples);
/* Sorts a copy; 0 of no samples. */
double samples_median(const struct samples *samples);
/* Sorts them. The smallest value that at least `share` of all do not exceed. At least one sample. */
double samples_quantile(struct samples *samples, double share);

#endif
