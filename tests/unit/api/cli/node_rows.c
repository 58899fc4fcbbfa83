/* Rows of agents behind those of the head. */
#include "api/cli/node_rows.h"
#include "common/error.h"
#include "tests/lib/test.h"

enum { NODES = 300 };

static const char *const columns[] = { "task", "node" };
static const char *const head_cells[] = { "h", "0" };
static size_t nodes_count, asked;
static size_t told[NODES];                     /* rows that each node gives; SIZE_MAX: it does not answer */
static const char *first_state, *second_state; /* of the first two; those that are not asked answer nothing */

/* The head: nodes 1 to `nodes_count`, at addresses of their numbers. */
static int answer_of_head(const char *address, unsigned timeout_ms, const struct proto_message *message,
                          query_rows_fn *fn, void *arg)
{
    static const char *const node_columns[] = { "node", "address", "state" };
    static char text[NODES][2][32];
    const char *cells[NODES * 3];
    CHECK_TEXT(address, "h:1");
    CHECK(timeout_ms > 0);
    CHECK_EQ(message->u.query.what, PROTO_QUERY_NODES);
    for (size_t i = 0; i < nodes_count; i++) {
        snprintf(text[i][0], sizeof text[i][0], "%zu", i + 1);
        snprintf(text[i][1], sizeof text[i][1], "n:%zu", i + 1);
        cells[3 * i] = text[i][0];
        cells[3 * i + 1] = text[i][1];
        cells[3 * i + 2] = i == 0 ? first_state : i == 1 ? second_state : "alive";
    }
    const struct proto_rows part = { .columns = node_columns,
                                     .columns_count = 3,
                                     .cells = cells,
                                     .cells_count = 3 * nodes_count,
                                     .total = nodes_count,
                                     .last = true };
    return fn(arg, &part);
}

static int answer_of_agents(struct query_target *targets, size_t count, unsigned timeout_ms,
                            const struct proto_message *message)
{
    CHECK(timeout_ms > 0);
    CHECK_EQ(message->u.query.what, PROTO_QUERY_TASKS);
    for (size_t i = 0; i < count; i++, asked++) {
        char name[8][64], node[32], address[64];
        const char *cells[16];
        size_t wanted = message->u.query.limit, rows = told[asked] < wanted ? told[asked] : wanted;
        snprintf(node, sizeof node, "%zu", asked + 1);
        snprintf(address, sizeof address, "n:%s", node);
        CHECK_TEXT(targets[i].address, address);
        if (told[asked] == SIZE_MAX) {
            targets[i].status = ROOST_ETIMEDOUT;
            snprintf(targets[i].text, sizeof targets[i].text, "late\033");
            continue;
        }
        for (size_t row = 0; row < rows && row < 8; row++) {
            snprintf(name[row], sizeof name[row], "%s.%zu", node, row);
            cells[2 * row] = name[row];
            cells[2 * row + 1] = node;
        }
        const struct proto_rows part = { .columns = columns,
                                         .columns_count = 2,
                                         .cells = cells,
                                         .cells_count = 2 * rows,
                                         .total = told[asked],
                                         .last = true };
        CHECK_EQ(targets[i].fn(targets[i].arg, &part), 0);
    }
    return 0;
}

static struct node_rows_silent silent;

/* The first `not_asked` nodes are not. */
static struct rows add_without(size_t not_asked, bool head_knows, uint32_t limit)
{
    struct rows rows = { .total = 0 };
    const struct proto_rows part = {
        .columns = columns, .columns_count = 2, .cells = head_cells, .cells_count = 2, .total = 10
    };
    if (head_knows) {
        CHECK_EQ(rows_take(&rows, &part), 0);
    }
    rows_ask = answer_of_head;
    node_rows_ask = answer_of_agents;
    asked = not_asked;
    CHECK_EQ(node_rows_add(&rows, "h:1", 500, PROTO_QUERY_TASKS, "", limit, &silent), 0);
    CHECK_EQ(asked, nodes_count);
    return rows;
}

static const char *tasks_of(const struct rows *rows)
{
    static char text[512];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rows->rows_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ", rows_cell(rows, i, "task"));
    }
    return text;
}

static struct rows add(bool head_knows, uint32_t limit)
{
    first_state = "alive";
    second_state = "draining"; /* which has what it began */
    return add_without(0, head_knows, limit);
}

TEST(node_rows, each_node_comes_to_its_turn_and_what_is_not_shown_is_counted)
{
    nodes_count = 3;
    told[0] = 5, told[1] = 0, told[2] = 2;
    struct rows rows = add(true, 100);
    CHECK_TEXT(tasks_of(&rows), "h 1.0 3.0 1.1 3.1 1.2 1.3 1.4 ");
    CHECK_EQ(rows.total, 17);
    CHECK_EQ(silent.count, 0);
    rows_fini(&rows);
    rows = add(true, 3);
    CHECK_TEXT(tasks_of(&rows), "h 1.0 3.0 1.1 ");
    CHECK_EQ(rows.total, 17);
    rows_fini(&rows);
    rows = add(true, 0);
    CHECK_TEXT(tasks_of(&rows), "h ");
    CHECK_EQ(rows.total, 17);
    rows_fini(&rows);
    rows = add(false, 1); /* the head knew nothing */
    CHECK_TEXT(tasks_of(&rows), "1.0 ");
    CHECK_TEXT(rows.columns[1], "node");
    rows_fini(&rows);
}

TEST(node_rows, a_node_that_does_not_answer_keeps_nothing_from_the_others)
{
    nodes_count = NODES; /* more than are asked at once */
    for (size_t i = 0; i < NODES; i++) {
        told[i] = 0;
    }
    told[1] = told[NODES - 2] = SIZE_MAX;
    told[NODES - 1] = 1;
    struct rows rows = add(false, 100);
    CHECK_TEXT(tasks_of(&rows), "300.0 ");
    CHECK_EQ(silent.count, 2);
    CHECK_TEXT(silent.node, "2");
    CHECK_TEXT(silent.text, "late?");
    rows_fini(&rows);
}

TEST(node_rows, who_has_been_silent_for_a_while_is_not_waited_for_and_the_dead_are_passed_over)
{
    nodes_count = 3;
    told[2] = 1;
    first_state = "suspect";
    second_state = "dead";
    struct rows rows = add_without(2, false, 100);
    CHECK_TEXT(tasks_of(&rows), "3.0 ");
    CHECK_EQ(silent.count, 1);
    CHECK_TEXT(silent.node, "1");
    rows_fini(&rows);
}
