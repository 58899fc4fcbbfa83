/* scatter.h - the map step: records in, the same records grouped by partition out
 *
 * The output holds one column per partition, in order, without gaps; ends_out[p] is the byte after column p, which is
 * what roost_set_columns() takes. Records of one partition keep their order. */
#ifndef ROOST_EXAMPLES_SORT_SCATTER_H
#define ROOST_EXAMPLES_SORT_SCATTER_H

#include "examples/sort/splits.h"

/* Reads `input` twice (once for the keys, once whole) and writes input.size bytes to `out`, which must not overlap it,
 * once. `ends_out` has room for splits->partitions numbers. Uses 2 bytes for each record and 528 bytes for each
 * partition while it runs.
 *
 * On failure `out` and `ends_out` are untouched.
 * Errors: -EINVAL  input.size is no multiple of 100
 *         -ENOMEM
 * Any thread; other threads see the bytes as after ordinary stores. */
int scatter(const struct splits *splits, struct sort_piece input, void *out, uint64_t *ends_out,
            struct sort_fault *fault);

#endif
