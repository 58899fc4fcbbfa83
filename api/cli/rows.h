/* rows.h - what the head answered, as a table for people or as JSON
 *
 * On a terminal sizes and times are written to be read (1.5 GiB, 2.3 s); elsewhere and in JSON they are exact, in the
 * unit that the column's name tells. What came from other machines is printed without its control bytes. */
#ifndef ROOST_API_CLI_ROWS_H
#define ROOST_API_CLI_ROWS_H

#include "proto/io/query.h"

#include <jansson.h>
#include <stdio.h>

/* How the commands ask the head: query_head(), or a test's own with the same contract. */
typedef int ask_fn(const char *address, unsigned timeout_ms, const struct proto_message *message, query_rows_fn *fn,
                   void *arg);
extern ask_fn *rows_ask;

struct rows {
    char **columns; /* owned, as everything here */
    size_t columns_count;
    char **cells; /* row by row */
    size_t rows_count;
    size_t cells_capacity;
    uint64_t total; /* that match, beyond the limit too */
};

/* `limit` 0: as many as the head gives. Errors: ask_fn's, with a text; `*rows_out` is then empty. */
int rows_fetch(const char *address, unsigned timeout_ms, enum proto_query_what what, const char *filter, uint32_t limit,
               struct rows *rows_out);
void rows_fini(struct rows *rows);

/* A query_rows_fn: puts one part of an answer behind what `rows`, a struct rows, has. Errors: the part's own; ROOST_EIO: its
 * columns are others, or it is no table; ROOST_ENOMEM. */
int rows_take(void *rows, const struct proto_rows *part);
/* The same with one row of another table; `total` stays. */
int rows_add(struct rows *rows, const struct rows *from, size_t row);

/* The cell in the column of that name, or "" when there is no such column. */
const char *rows_cell(const struct rows *rows, size_t row, const char *column);

/* With a line of titles; numbers to the right. Columns that say nothing in any row are left out when `readable`. */
void rows_print(FILE *to, const struct rows *rows, bool readable);

/* An array of objects; the caller's. Columns that are numbers are numbers. */
json_t *rows_json(const struct rows *rows);

enum { ROWS_TEXT_SHOWN_BYTES = 256 }; /* a reason to wait is a sentence */

/* The text as it may be shown: cut, control bytes replaced, "-" for none. Returns `out`. */
const char *rows_text(const char *text, char out[ROWS_TEXT_SHOWN_BYTES]);

/* 1536 -> "1.5 KiB", exact below 1024. */
char *size_print(uint64_t size_bytes, char *out, size_t bytes);

#endif
