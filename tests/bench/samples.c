/* samples.c - see the header */
#include "tests/bench/samples.h"

#include <stdio.h>
#include <stdlib.h>

void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity == 0 ? 64 : 2 * samples->capacity;
        double *values = realloc(samples->values, capacity * sizeof *values);
        if (values == NULL) {
            fprintf(stderr, "out of memory for samples\n");
            exit(1);
        }
        samples->values = values;
        samples->capacity = capacity;
    }
    samples->values[samples->count++] = value;
}

void samples_fini(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){ 0 };
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double samples_quantile(struct samples *samples, double share)
{
    qsort(samples->values, samples->count, sizeof *samples->values, compare);
    size_t rank = (size_t)(share * (double)samples->count + 0.999999);
    return samples->values[rank == 0 ? 0 : rank - 1];
}

double samples_median(const struct samples *samples)
{
    struct samples copy = { 0 };
    for (size_t i = 0; i < samples->count; i++) {
        samples_add(&copy, samples->values[i]);
    }
    double median = copy.count == 0 ? 0 : samples_quantile(&copy, 0.5);
    samples_fini(&copy);
    return median;
}
