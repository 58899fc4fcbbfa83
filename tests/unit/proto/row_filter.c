/* row_filter.c - which rows are wanted */
#include "proto/row_filter.h"
#include "common/bytes.h"
#include "tests/lib/test.h"

#include <string.h>

static const char *const columns[] = { "task", "state", "node" };
static struct row_filter filter;

static bool parse(const char *text, const char **wrong_out)
{
    return row_filter_parse(&filter, text, columns, ROOST_COUNT_OF(columns), wrong_out);
}

TEST(row_filter, wants_all_that_it_says_and_nothing_else)
{
    const char *wrong = NULL;
    const char rows[][3][ROW_CELL_BYTES] = { { "a", "queued", "3" }, { "b", "queued", "4" }, { "c", "queued2", "3" } };
    CHECK(parse("  state=queued   node=3 ", &wrong));
    CHECK(row_filter_matches(&filter, rows[0]));
    CHECK(!row_filter_matches(&filter, rows[1]));
    CHECK(!row_filter_matches(&filter, rows[2]));
    CHECK(row_filter_reads(&filter, 1) && row_filter_reads(&filter, 2) && !row_filter_reads(&filter, 0));
    CHECK(parse(NULL, &wrong) && parse("", &wrong));
    CHECK_EQ(filter.count, 0);
    CHECK(row_filter_matches(&filter, rows[2]));
    CHECK(parse("task=", &wrong)); /* an empty cell */
    CHECK(!row_filter_matches(&filter, rows[0]));
}

TEST(row_filter, what_it_does_not_understand_is_pointed_at)
{
    const char *wrong = NULL;
    char text[ROW_CELL_BYTES + 16] = "node=";
    CHECK(!parse("node=3 colour=red", &wrong));
    CHECK_TEXT(wrong, "colour=red");
    CHECK(!parse("state", &wrong));
    CHECK_TEXT(wrong, "state");
    CHECK(!parse("stat=1", &wrong));
    memset(text + 5, 'x', ROW_CELL_BYTES - 1);
    CHECK(parse(text, &wrong));
    memset(text + 5, 'x', ROW_CELL_BYTES);
    CHECK(!parse(text, &wrong));
    CHECK(parse("node=1 node=1 node=1 node=1 node=1 node=1 node=1 node=1", &wrong));
    CHECK(!parse("node=1 node=1 node=1 node=1 node=1 node=1 node=1 node=1 node=9", &wrong));
    CHECK_TEXT(wrong, "node=9");
}
