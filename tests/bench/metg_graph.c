/* metg_graph.c - see the header. Ranges are clipped at the ends, not periodic: at width 2 stencil, fft and nearest are
 * the same graph. */
#include "tests/bench/metg_graph.h"
#include "common/hash.h"

#include <stdbool.h>
#include <string.h>

enum { RADIX = 5, RANDOM_PERIOD = 3, STEPS_MIN = 8, FULL_SIZE_BYTES = 64 << 20 };

static const char *const names[METG_PATTERNS] = {
    [METG_TRIVIAL] = "trivial",       [METG_NO_COMM] = "no_comm",
    [METG_STENCIL_1D] = "stencil_1d", [METG_FFT] = "fft",
    [METG_NEAREST] = "nearest",       [METG_TREE] = "tree",
    [METG_ALL_TO_ALL] = "all_to_all", [METG_RANDOM_NEAREST] = "random_nearest",
};

const char *metg_pattern_name(enum metg_pattern pattern) { return names[pattern]; }

enum metg_pattern metg_pattern_find(const char *name)
{
    int pattern = 0;
    while (pattern < METG_PATTERNS && strcmp(names[pattern], name) != 0) {
        pattern++;
    }
    return (enum metg_pattern)pattern;
}

uint32_t metg_steps(uint64_t bytes, uint32_t usual)
{
    uint32_t steps = bytes < FULL_SIZE_BYTES ? (uint32_t)(bytes * usual / FULL_SIZE_BYTES) : usual;
    return steps > STEPS_MIN ? steps : STEPS_MIN;
}

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

uint64_t metg_tasks(enum metg_pattern pattern, uint32_t width, uint32_t steps)
{
    uint64_t count = 0;
    for (uint32_t step = 0; step < steps; step++) {
        count += metg_row_tasks(pattern, width, step);
    }
    return count;
}

int metg_check(const struct metg_place *place, const void *const *inputs, const size_t *sizes, uint32_t count)
{
    uint32_t columns[METG_WIDTH_MAX];
    uint32_t reads = metg_reads((enum metg_pattern)place->pattern, place->width, place->step, place->column, columns);
    for (uint32_t i = 0; i < reads; i++) {
        struct metg_output output = { -1, -1 };
        if (i < count && sizes[i] == sizeof output) {
            memcpy(&output, inputs[i], sizeof output);
        }
        if (output.step != (int64_t)place->step - 1 || output.column != columns[i]) {
            return (int)i;
        }
    }
    return METG_ALL_RIGHT;
}
