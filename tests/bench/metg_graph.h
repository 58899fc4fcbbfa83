/* metg_graph.h - which tasks read which, after Slaughter et al., "Task Bench" (SC20)
 *
 * A grid of rows (steps) by `width` columns; a task reads outputs of the row before its own, in ascending order of
 * column. Its own output says which task it is, so that its readers can tell. Pure; driver and tasks use the same
 * functions, on Roost and on its peers. */
#ifndef ROOST_TESTS_BENCH_METG_GRAPH_H
#define ROOST_TESTS_BENCH_METG_GRAPH_H

#include <stddef.h>
#include <stdint.h>

enum { METG_WIDTH_MAX = 32, METG_ALL_RIGHT = -1 };

enum metg_pattern {
    METG_TRIVIAL,
    METG_NO_COMM,
    METG_STENCIL_1D,
    METG_FFT,
    METG_NEAREST, /* radix 5 */
    METG_TREE,
    METG_ALL_TO_ALL,
    METG_RANDOM_NEAREST, /* radix 5 */
    METG_PATTERNS
};

/* What a task is told. */
struct metg_place {
    uint32_t pattern, width, step, column;
    uint64_t iterations;
};

struct metg_output {
    int64_t step, column;
};

const char *metg_pattern_name(enum metg_pattern pattern);
/* METG_PATTERNS: there is none of that name. */
enum metg_pattern metg_pattern_find(const char *name);
/* Rows of a graph: `usual`, fewer where `bytes` (of the largest object of a run) asks for a small one, at least 8. */
uint32_t metg_steps(uint64_t bytes, uint32_t usual);
/* Tasks of row `step`: `width`, but for the first rows of a tree. */
uint32_t metg_row_tasks(enum metg_pattern pattern, uint32_t width, uint32_t step);
/* How many columns task `column` of row `step` reads; which, in columns_out. */
uint32_t metg_reads(enum metg_pattern pattern, uint32_t width, uint32_t step, uint32_t column,
                    uint32_t columns_out[METG_WIDTH_MAX]);
/* Of all rows. */
uint64_t metg_tasks(enum metg_pattern pattern, uint32_t width, uint32_t steps);
/* Are these the outputs that the task reads? METG_ALL_RIGHT, else the first that is not (or is
 * missing). More of them are no error. */
int metg_check(const struct metg_place *place, const void *const *inputs, const size_t *sizes, uint32_t count);

#endif
