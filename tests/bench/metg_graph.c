/* metg_graph.c - see the header. Ranges are clipped at the ends, not periodic: at width 2 stencil, fft and nearest are
 * the same graph. */
#include "tests/bench/metg_graph.h"
#include "common/hash.h"

#include <stdbool.h>

enum { RADIX = 5, RANDOM_PERIOD = 3 };

static const char *const names[METG_PATTERNS] = {
    [METG_TRIVIAL] = "trivial",       [METG_NO_COMM] = "no_comm",
    [METG_STENCIL_1D] = "stencil_1d", [METG_FFT] = "fft",
    [METG_NEAREST] = "nearest",       [METG_TREE] = "tree",
    [METG_ALL_TO_ALL] = "all_to_all", [METG_RANDOM_NEAREST] = "random_nearest",
};

const char *metg_pattern_name(enum metg_pattern pattern) { return names[pattern]; }

uint32_t metg_row_tasks(enum metg_pattern pattern, uint32_t width, uint32_t step)
{
    return pattern == METG_TREE && step < 31 && (UINT32_C(1) << step) < width ? UINT32_C(1) << step : width;
}

/* A quarter of the neighbours, the same in every third row; the task's own column always. */
static bool is_random_neighbour(uint32_t step, uint32_t from, uint32_t column)
{
    uint64_t mixed = hash_mix(hash_mix(hash_mix(RADIX, step % RANDOM_PERIOD), from), column);
    return from == column || mixed >> 62 == 0;
}

static uint32_t log2_up(uint32_t width)
{
    uint32_t log = 0;
    while ((UINT32_C(1) << log) < width) {
        log++;
    }
    return log;
}

/* Columns from column - before to column + after, every `stride`-th. */
static uint32_t range(uint32_t width, uint32_t column, uint32_t before, uint32_t after, uint32_t stride,
                      uint32_t columns_out[METG_WIDTH_MAX])
{
    uint32_t count = 0;
    for (uint32_t at = column >= before ? column - before : column - column / stride * stride;
         at <= column + after && at < width; at += stride) {
        columns_out[count++] = at;
    }
    return count;
}

static uint32_t keep_random(uint32_t step, uint32_t column, uint32_t *columns, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_random_neighbour(step, columns[i], column)) {
            columns[kept++] = columns[i];
        }
    }
    return kept;
}

uint32_t metg_reads(enum metg_pattern pattern, uint32_t width, uint32_t step, uint32_t column,
                    uint32_t columns_out[METG_WIDTH_MAX])
{
    if (step == 0) {
        return 0;
    }
    uint32_t distance;
    switch (pattern) {
    case METG_TRIVIAL:
        return 0;
    case METG_NO_COMM:
        return range(width, column, 0, 0, 1, columns_out);
    case METG_STENCIL_1D:
        return range(width, column, 1, 1, 1, columns_out);
    case METG_FFT:
        distance = UINT32_C(1) << (width > 1 ? (step - 1) % log2_up(width) : 0);
        return range(width, column, distance, distance, distance, columns_out);
    case METG_NEAREST:
        return range(width, column, RADIX / 2, (RADIX - 1) / 2, 1, columns_out);
    case METG_TREE:
        columns_out[0] = column / 2;
        return 1;
    case METG_ALL_TO_ALL:
        return range(width, 0, 0, width - 1, 1, columns_out);
    case METG_RANDOM_NEAREST:
        return keep_random(step, column, columns_out, range(width, column, RADIX / 2, (RADIX - 1) / 2, 1, columns_out));
    case METG_PATTERNS:
        break;
    }
    return 0;
}
