/* rows.c - what the head answered, as a table for people or as JSON
 *
 * Owns the copies of columns and cells.
 * Failures: parts whose columns differ from the first, or whose cells make no whole rows -> ROOST_EIO: the peer is not
 *           a head of our version.
 * Thread:   main.
 */
#include "api/cli/rows.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/limits.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SHOWN_BYTES = ROWS_TEXT_SHOWN_BYTES };

enum column_kind { COLUMN_TEXT = 1, COLUMN_COUNT, COLUMN_BYTES, COLUMN_DECIMAL, COLUMN_MS };

/* What is a number, so that JSON has one type for each column whatever stands in it today. The rest is text. */
static const struct {
    const char *name;
    enum column_kind kind;
} kinds[] = {
    { "node", COLUMN_COUNT },
    { "incarnation", COLUMN_COUNT },
    { "cpus", COLUMN_DECIMAL },
    { "free_cpus", COLUMN_DECIMAL },
    { "store_used_bytes", COLUMN_BYTES },
    { "store_bytes", COLUMN_BYTES },
    { "workers", COLUMN_COUNT },
    { "leased", COLUMN_COUNT },
    { "running", COLUMN_COUNT },
    { "queued", COLUMN_COUNT },
    { "pid", COLUMN_COUNT },
    { "attempt", COLUMN_COUNT },
    { "since_ms", COLUMN_MS },
    { "size", COLUMN_BYTES },
    { "containers", COLUMN_COUNT },
    { "spec_bytes", COLUMN_BYTES },
    { "done", COLUMN_COUNT },
    { "from", COLUMN_COUNT },
    { "pulled_bytes", COLUMN_BYTES },
    { "free_memory_bytes", COLUMN_BYTES },
};

static enum column_kind kind_of(const char *column)
{
    for (size_t i = 0; i < ROOST_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].name, column) == 0) {
            return kinds[i].kind;
        }
    }
    return COLUMN_TEXT;
}

/* ------------------------------------------------------------------ fetching */

ask_fn *rows_ask = query_head;

static char **copy_texts(const char *const *texts, size_t count)
{
    char **copies = calloc(count + 1, sizeof *copies);
    for (size_t i = 0; copies != NULL && i < count; i++) {
        copies[i] = strdup(texts[i]);
    }
    return copies;
}

static bool columns_agree(const struct rows *rows, const struct proto_rows *part)
{
    bool agree = rows->columns_count == part->columns_count;
    for (size_t i = 0; agree && i < part->columns_count; i++) {
        agree = rows->columns[i] != NULL && strcmp(rows->columns[i], part->columns[i]) == 0;
    }
    return agree;
}

static const char *cell_at(const struct rows *rows, size_t row, size_t column)
{
    const char *cell = rows->cells[row * rows->columns_count + column];
    return cell != NULL ? cell : ""; /* no memory for a copy */
}

int rows_take(void *arg, const struct proto_rows *part)
{
    struct rows *rows = arg;
    if (part->status < 0) {
        return error_set(part->status, "%s", part->text);
    }
    if (rows->columns == NULL) {
        rows->columns = copy_texts(part->columns, part->columns_count);
        rows->columns_count = rows->columns != NULL ? part->columns_count : 0;
    }
    if (!columns_agree(rows, part) || part->columns_count == 0 || part->cells_count % part->columns_count != 0) {
        return error_set(ROOST_EIO, "the answer is no table");
    }
    size_t used = rows->rows_count * rows->columns_count;
    if (used + part->cells_count > rows->cells_capacity) {
        size_t capacity = (used + part->cells_count) * 2;
        char **more = reallocarray(rows->cells, capacity, sizeof *more);
        if (more == NULL) {
            return error_set(ROOST_ENOMEM, "no memory for %zu rows", rows->rows_count);
        }
        rows->cells = more;
        rows->cells_capacity = capacity;
    }
    for (size_t i = 0; i < part->cells_count; i++) {
        rows->cells[used + i] = strdup(part->cells[i]);
    }
    rows->rows_count += part->cells_count / part->columns_count;
    rows->total = part->total;
    return 0;
}

int rows_add(struct rows *rows, const struct rows *from, size_t row)
{
    const char *cells[PROTO_COLUMNS_MAX];
    size_t count = from->columns_count < PROTO_COLUMNS_MAX ? from->columns_count : PROTO_COLUMNS_MAX;
    for (size_t i = 0; i < count; i++) {
        cells[i] = cell_at(from, row, i);
    }
    const struct proto_rows part = { .total = rows->total,
                                     .columns = (const char *const *)from->columns,
                                     .columns_count = count,
                                     .cells = cells,
                                     .cells_count = count };
    return rows_take(rows, &part);
}

int rows_fetch(const char *address, unsigned timeout_ms, enum proto_query_what what, const char *filter, uint32_t limit,
               struct rows *rows_out)
{
    struct rows rows = { .total = 0 };
    struct proto_message message = { .kind = PROTO_QUERY };
    message.u.query = (struct proto_query){ .query = 1, .what = what, .limit = limit, .filter = filter };
    *rows_out = rows;
    int status = rows_ask(address, timeout_ms, &message, rows_take, &rows);
    if (status != 0) {
        rows_fini(&rows);
        return status;
    }
    *rows_out = rows;
    return 0;
}

void rows_fini(struct rows *rows)
{
    for (size_t i = 0; i < rows->rows_count * rows->columns_count; i++) {
        free(rows->cells[i]);
    }
    for (size_t i = 0; i < rows->columns_count; i++) {
        free(rows->columns[i]);
    }
    free(rows->cells);
    free(rows->columns);
    *rows = (struct rows){ .total = 0 };
}

const char *rows_cell(const struct rows *rows, size_t row, const char *column)
{
    for (size_t i = 0; i < rows->columns_count; i++) {
        if (rows->columns[i] != NULL && strcmp(rows->columns[i], column) == 0) {
            return cell_at(rows, row, i);
        }
    }
    return "";
}

/* ------------------------------------------------------------------ for people */

char *size_print(uint64_t size_bytes, char *out, size_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;
    uint64_t whole = size_bytes, rest = 0;
    for (; whole >= 1024; unit++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    if (unit == 0 || whole >= 100) {
        snprintf(out, bytes, "%" PRIu64 " %s", whole, units[unit]);
    } else {
        snprintf(out, bytes, "%" PRIu64 ".%" PRIu64 " %s", whole, rest * 10 / 1024, units[unit]);
    }
    return out;
}

static void ms_print(uint64_t ms, char *out, size_t bytes)
{
    if (ms < 1000) {
        snprintf(out, bytes, "%" PRIu64 " ms", ms);
    } else if (ms < 100000) {
        snprintf(out, bytes, "%" PRIu64 ".%" PRIu64 " s", ms / 1000, ms % 1000 / 100);
    } else {
        snprintf(out, bytes, "%" PRIu64 " min", ms / 60000);
    }
}

static bool is_number(const char *cell)
{
    size_t digits = strspn(cell, "0123456789");
    return digits > 0 && digits < 20 && cell[digits] == '\0';
}

const char *rows_text(const char *text, char out[ROWS_TEXT_SHOWN_BYTES])
{
    snprintf(out, SHOWN_BYTES, "%s", text[0] != '\0' ? text : "-");
    for (char *at = out; *at != '\0'; at++) {
        *at = (unsigned char)*at < ' ' || *at == 127 ? '?' : *at;
    }
    return out;
}

/* The cell as it is shown: readable when it may be, and never with bytes that a terminal obeys. */
static void show(const char *cell, enum column_kind kind, bool readable, char out[SHOWN_BYTES])
{
    if (readable && is_number(cell) && kind == COLUMN_BYTES) {
        size_print(strtoull(cell, NULL, 10), out, SHOWN_BYTES);
    } else if (readable && is_number(cell) && kind == COLUMN_MS) {
        ms_print(strtoull(cell, NULL, 10), out, SHOWN_BYTES);
    } else {
        rows_text(cell, out);
    }
}

/* The title without the unit that readable cells tell themselves. */
static void show_title(const char *column, bool readable, char out[SHOWN_BYTES])
{
    size_t length = strlen(column), cut = 0;
    if (readable && length > 6 && strcmp(column + length - 6, "_bytes") == 0) {
        cut = 6;
    } else if (readable && length > 3 && strcmp(column + length - 3, "_ms") == 0) {
        cut = 3;
    }
    snprintf(out, SHOWN_BYTES, "%.*s", (int)(length - cut), column);
    for (char *at = out; *at != '\0'; at++) {
        *at = (char)toupper((unsigned char)*at);
    }
}

/* 0: the column is left out. */
static size_t width_of(const struct rows *rows, size_t column, bool readable)
{
    char shown[SHOWN_BYTES];
    enum column_kind kind = kind_of(rows->columns[column]);
    show_title(rows->columns[column], readable, shown);
    size_t width = strlen(shown);
    bool says_something = !readable || rows->rows_count == 0;
    for (size_t row = 0; row < rows->rows_count; row++) {
        show(cell_at(rows, row, column), kind, readable, shown);
        size_t length = strlen(shown);
        width = length > width ? length : width;
        says_something = says_something || cell_at(rows, row, column)[0] != '\0';
    }
    return says_something ? width : 0;
}

static void print_cell(FILE *to, const char *shown, size_t width, bool is_right, bool is_last)
{
    if (is_right) {
        fprintf(to, "%*s%s", (int)width, shown, is_last ? "\n" : "  ");
    } else {
        fprintf(to, "%-*s%s", is_last ? 0 : (int)width, shown, is_last ? "\n" : "  ");
    }
}

void rows_print(FILE *to, const struct rows *rows, bool readable)
{
    size_t widths[PROTO_COLUMNS_MAX] = { 0 }, last = 0;
    char shown[SHOWN_BYTES];
    size_t columns_count = rows->columns_count < PROTO_COLUMNS_MAX ? rows->columns_count : PROTO_COLUMNS_MAX;
    for (size_t i = 0; i < columns_count; i++) {
        widths[i] = width_of(rows, i, readable);
        last = widths[i] > 0 ? i : last;
    }
    for (size_t row = 0; row <= rows->rows_count; row++) { /* the titles first */
        for (size_t i = 0; i < columns_count; i++) {
            enum column_kind kind = kind_of(rows->columns[i]);
            if (widths[i] == 0) {
                continue;
            }
            if (row == 0) {
                show_title(rows->columns[i], readable, shown);
            } else {
                show(cell_at(rows, row - 1, i), kind, readable, shown);
            }
            print_cell(to, shown, widths[i], kind != COLUMN_TEXT, i == last);
        }
    }
}

/* ------------------------------------------------------------------ for programs */

static json_t *cell_json(const char *cell, enum column_kind kind)
{
    char *end;
    if (kind == COLUMN_DECIMAL && cell[0] != '\0') {
        double value = strtod(cell, &end);
        return *end == '\0' ? json_real(value) : json_null();
    }
    if (kind != COLUMN_TEXT) {
        return is_number(cell) ? json_integer((json_int_t)strtoull(cell, NULL, 10)) : json_null();
    }
    json_t *text = json_string(cell);
    return text != NULL ? text : json_null(); /* not UTF-8 */
}

json_t *rows_json(const struct rows *rows)
{
    json_t *array = json_array();
    for (size_t row = 0; row < rows->rows_count; row++) {
        json_t *object = json_object();
        for (size_t i = 0; i < rows->columns_count; i++) {
            json_object_set_new(object, rows->columns[i], cell_json(cell_at(rows, row, i), kind_of(rows->columns[i])));
        }
        json_array_append_new(array, object);
    }
    return array;
}
