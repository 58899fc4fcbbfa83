/* row_filter.h - which rows of a table are wanted: "state=running node=3", all of which must be so
 *
 * Pure, of the head's tables and of the agents'. */
#ifndef ROOST_PROTO_ROW_FILTER_H
#define ROOST_PROTO_ROW_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROW_FILTERS_MAX = 8, ROW_CELL_BYTES = 256 };

struct row_filter {
    uint32_t count;
    struct {
        uint32_t column;
        char value[ROW_CELL_BYTES];
    } wishes[ROW_FILTERS_MAX];
};

/* What `text` (NULL: "") wants of rows of these columns. False: `*wrong_out` is where it is not understood, or wants more than
 * ROW_FILTERS_MAX things. */
bool row_filter_parse(struct row_filter *filter_out, const char *text, const char *const *columns, size_t columns_count,
                      const char **wrong_out);

/* Must this cell be known to tell? */
bool row_filter_reads(const struct row_filter *filter, uint32_t column);

bool row_filter_matches(const struct row_filter *filter, const char (*cells)[ROW_CELL_BYTES]);

#endif
