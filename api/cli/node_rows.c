/* node_rows.c - rows that each node's agent alone knows, put behind what the head has answered
 *
 * Owns nothing that stays.
 *
 * Happy path: the nodes, of the head -> the same question to the agents, NODES_AT_ONCE at a time -> their rows, in turns.
 * Failures:   an agent that cannot be reached, refuses or is late -> one silent node.
 * Limits:     of each answer as many rows as are wanted in all are kept.
 * Thread:     main. */
#include "api/cli/node_rows.h"
#include "common/bytes.h"
#include "common/error.h"

#include <stdlib.h>

enum { NODES_AT_ONCE = 256 /* descriptors are few */ };

ask_agents_fn *node_rows_ask = query_agents;

static void note_silent(struct node_rows_silent *silent, const char *node, const char *text)
{
    if (silent->count++ == 0) {
        snprintf(silent->node, sizeof silent->node, "%s", node);
        rows_text(text, silent->text);
    }
}

static int ask_some(const struct rows *nodes, size_t from, size_t count, struct rows *answers, unsigned timeout_ms,
                    const struct proto_message *message, struct node_rows_silent *silent)
{
    struct query_target *targets = calloc(count, sizeof *targets);
    if (targets == NULL) {
        return error_set(ROOST_ENOMEM, "no memory to ask %zu nodes", count);
    }
    for (size_t i = 0; i < count; i++) {
        targets[i] = (struct query_target){ .address = rows_cell(nodes, from + i, "address"),
                                            .fn = rows_take,
                                            .arg = &answers[from + i] };
    }
    int status = node_rows_ask(targets, count, timeout_ms, message);
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (targets[i].status != 0) {
            note_silent(silent, rows_cell(nodes, from + i, "node"), targets[i].text);
            rows_fini(&answers[from + i]);
        }
    }
    free(targets);
    return status;
}

/* The first row of each, then the second of each. */
static int add_in_turns(struct rows *rows, struct rows *answers, size_t count, uint32_t limit)
{
    uint32_t given = 0;
    bool has_more = true;
    int status = 0;
    for (size_t row = 0; has_more && given < limit && status == 0; row++) {
        has_more = false;
        for (size_t i = 0; i < count && given < limit && status == 0; i++) {
            if (row < answers[i].rows_count) {
                status = rows_add(rows, &answers[i], row);
                has_more = true;
                given++;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        rows->total += answers[i].total;
    }
    return status;
}

int node_rows_add(struct rows *rows, const char *head, unsigned timeout_ms, enum proto_query_what what,
                  const char *filter, uint32_t limit, struct node_rows_silent *silent_out)
{
    struct rows nodes;
    struct proto_message message = { .kind = PROTO_QUERY };
    message.u.query = (struct proto_query){ 1, what, limit == 0 ? 1 : limit, filter };
    *silent_out = (struct node_rows_silent){ .count = 0 };
    ROOST_TRY(rows_fetch(head, timeout_ms, PROTO_QUERY_NODES, "state=alive", 0, &nodes));
    struct rows *answers = calloc(nodes.rows_count + 1, sizeof *answers);
    int status = answers == NULL ? error_set(ROOST_ENOMEM, "no memory for answers of %zu nodes", nodes.rows_count) : 0;
    for (size_t from = 0; from < nodes.rows_count && status == 0; from += NODES_AT_ONCE) {
        size_t left = nodes.rows_count - from;
        status = ask_some(&nodes, from, left < NODES_AT_ONCE ? left : NODES_AT_ONCE, answers, timeout_ms, &message,
                          silent_out);
    }
    if (status == 0) {
        status = add_in_turns(rows, answers, nodes.rows_count, limit);
    }
    for (size_t i = 0; answers != NULL && i < nodes.rows_count; i++) {
        rows_fini(&answers[i]);
    }
    free(answers);
    rows_fini(&nodes);
    return status;
}
