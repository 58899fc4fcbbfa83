/* metg_graph.h - which tasks read which, after Slaughter et al., "Task Bench" (SC20)
 *
 * A grid of rows (steps) by `width` columns; a task reads outputs of the row before its own, in ascending order of
 * column. Pure; driver and tasks use the same functions. */
#ifndef ROOST_TESTS_BENCH_METG_GRAPH_H
#define ROOST_TESTS_BENCH_METG_GRAPH_H

#include <stdint.h>

enum { METG_WIDTH_MAX = 32 };

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

const char *metg_pattern_name(enum metg_pattern pattern);
/* Tasks of row `step`: `width`, but for the first rows of a tree. */
uint32_t metg_row_tasks(enum metg_pattern pattern, uint32_t width, uint32_t step);
/* How many columns task `column` of row `step` reads; which, in columns_out. */
uint32_t metg_reads(enum metg_pattern pattern, uint32_t width, uint32_t step, uint32_t column,
                    uint32_t columns_out[METG_WIDTH_MAX]);

#endif
