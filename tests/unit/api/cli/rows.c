/* Tables that commands print: for people, for programs, and as JSON. */
#include "api/cli/rows.h"
#include "common/bytes.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static const char *const columns[] = { "node", "state", "store_used_bytes", "since_ms", "labels" };
static const char *const cells_a[] = { "1", "alive", "1536", "12", "", "12", "suspect", "9", "2500", "" };
static const char *const cells_b[] = { "3", "dead\033[2J", "x", "7200000", "" };

/* What the false head says: parts one after the other. */
static struct proto_rows parts[2];
static size_t parts_count;
static struct proto_query asked;

static int answer(const char *address, unsigned timeout_ms, const struct proto_message *message, query_rows_fn *fn,
                  void *arg)
{
    CHECK_TEXT(address, "h:1");
    CHECK_EQ(timeout_ms, 500);
    CHECK_EQ(message->kind, PROTO_QUERY);
    asked = message->u.query;
    for (size_t i = 0; i < parts_count; i++) {
        int status = fn(arg, &parts[i]);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

static void set_two_parts(void)
{
    parts[0] = (struct proto_rows){ .columns = columns,
                                    .columns_count = ROOST_COUNT_OF(columns),
                                    .cells = cells_a,
                                    .cells_count = ROOST_COUNT_OF(cells_a),
                                    .total = 2 };
    parts[1] = parts[0];
    parts[1].cells = cells_b;
    parts[1].cells_count = ROOST_COUNT_OF(cells_b);
    parts[1].total = 30;
    parts[1].last = true;
    parts_count = 2;
    rows_ask = answer;
}

static struct rows fetch(void)
{
    struct rows rows;
    set_two_parts();
    CHECK_EQ(rows_fetch("h:1", 500, PROTO_QUERY_NODES, "state=alive", 7, &rows), 0);
    return rows;
}

static char *printed(const struct rows *rows, bool readable)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    rows_print(file, rows, readable);
    fclose(file);
    return text;
}

TEST(rows, parts_come_together)
{
    struct rows rows = fetch();
    CHECK_EQ(asked.what, PROTO_QUERY_NODES);
    CHECK_EQ(asked.limit, 7);
    CHECK_TEXT(asked.filter, "state=alive");
    CHECK_EQ(rows.rows_count, 3);
    CHECK_EQ(rows.total, 30);
    CHECK_TEXT(rows_cell(&rows, 1, "state"), "suspect");
    CHECK_TEXT(rows_cell(&rows, 2, "node"), "3");
    CHECK_TEXT(rows_cell(&rows, 0, "nothing"), "");
    rows_fini(&rows);
}

TEST(rows, people_see_units_numbers_to_the_right_and_no_control_bytes)
{
    struct rows rows = fetch();
    char *text = printed(&rows, true);
    CHECK_TEXT(text, "NODE  STATE     STORE_USED    SINCE\n"
                     "   1  alive        1.5 KiB    12 ms\n"
                     "  12  suspect          9 B    2.5 s\n"
                     "   3  dead?[2J           x  120 min\n");
    free(text);
    rows_fini(&rows);
}

TEST(rows, programs_see_exact_numbers_and_every_column)
{
    struct rows rows = fetch();
    char *text = printed(&rows, false);
    CHECK_TEXT(text, "NODE  STATE     STORE_USED_BYTES  SINCE_MS  LABELS\n"
                     "   1  alive                 1536        12  -\n"
                     "  12  suspect                  9      2500  -\n"
                     "   3  dead?[2J                 x   7200000  -\n");
    free(text);
    rows_fini(&rows);
}

TEST(rows, json_has_numbers_where_columns_are_numbers)
{
    struct rows rows = fetch();
    json_t *json = rows_json(&rows);
    CHECK_EQ(json_array_size(json), 3);
    json_t *first = json_array_get(json, 0), *third = json_array_get(json, 2);
    CHECK_EQ(json_integer_value(json_object_get(first, "store_used_bytes")), 1536);
    CHECK(json_is_integer(json_object_get(first, "node")));
    CHECK_TEXT(json_string_value(json_object_get(first, "labels")), "");
    CHECK(json_is_null(json_object_get(third, "store_used_bytes")));
    CHECK_TEXT(json_string_value(json_object_get(third, "state")), "dead\033[2J");
    json_decref(json);
    rows_fini(&rows);
}

TEST(rows, a_refusal_is_the_error)
{
    struct rows rows;
    set_two_parts();
    parts[0] = (struct proto_rows){ .status = ROOST_EINVAL, .text = "no such column", .last = true };
    CHECK_EQ(rows_fetch("h:1", 500, PROTO_QUERY_TASKS, "x=1", 0, &rows), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "no such column");
    CHECK_EQ(rows.rows_count, 0);
}

TEST(rows, an_answer_that_is_no_table_is_refused)
{
    struct rows rows;
    set_two_parts();
    parts[1].columns_count = 4;
    parts[1].cells_count = 4;
    CHECK_EQ(rows_fetch("h:1", 500, PROTO_QUERY_NODES, "", 0, &rows), ROOST_EIO);
    set_two_parts();
    parts[1].cells_count = 4;
    CHECK_EQ(rows_fetch("h:1", 500, PROTO_QUERY_NODES, "", 0, &rows), ROOST_EIO);
    set_two_parts();
    parts[0].columns_count = 0;
    parts[0].cells_count = 0;
    CHECK_EQ(rows_fetch("h:1", 500, PROTO_QUERY_NODES, "", 0, &rows), ROOST_EIO);
}

TEST(rows, sizes_are_rounded_down_to_what_fits_in_four_digits)
{
    char out[32];
    CHECK_TEXT(size_print(0, out, sizeof out), "0 B");
    CHECK_TEXT(size_print(1023, out, sizeof out), "1023 B");
    CHECK_TEXT(size_print(1024, out, sizeof out), "1.0 KiB");
    CHECK_TEXT(size_print(ROOST_MIB(150), out, sizeof out), "150 MiB");
    CHECK_TEXT(size_print(UINT64_MAX, out, sizeof out), "15.9 EiB");
}
