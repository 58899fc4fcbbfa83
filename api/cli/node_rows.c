/* node_rows.c - rows that each node's agent alone knows, put behind what the head has answered
 *
 * Owns nothing that stays.
 *
 * Happy path: the nodes, of the head -> the same question to the agents, NODES_AT_ONCE at a time -> their rows, in turns.
 * Failures:   an agent that cannot be reached, refuses or is late, or of which the head has not heard for a while -> one
 *             silent node.
 * Limits:     of each answer as many rows as are wanted in all are kept.
 * Thread:     main. */
#include "api/cli/node_rows.h"
#include "common/bytes.h"
#include "common/error.h"

#include <stdlib.h>
#include <string.h>

enum { NODES_AT_ONCE = 256 /* descriptors are few */ };

ask_agents_fn *node_rows_ask = query_agents;

static void note_silent(struct node_rows_silent *silent, const char *node, const char *text)
{
    if (silent->count++ == 0) {
        snprintf(silent->node, sizeof silent->node, "%s", node);
        rows_text(text, silent->text);
    }
}

struct asked {                  /* a node that is asked */
    const char *node, *address; /* borrowed from the list of nodes */
    struct rows rows;
};

static int ask_some(struct asked *asked, size_t count, unsigned timeout_ms, const struct proto_message *message,
                    struct node_rows_silent *silent)
{
    struct query_target *targets = calloc(count, sizeof *targets);
    if (targets == NULL) {
        return error_set(ROOST_ENOMEM, "no memory to ask %zu nodes", count);
    }
    for (size_t i = 0; i < count; i++) {
        targets[i] = (struct query_target){ .address = asked[i].address, .fn = rows_take, .arg = &asked[i].rows };
    }
    int status = node_rows_ask(targets, count, timeout_ms, message);
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (targets[i].status != 0) {
            note_silent(silent, asked[i].node, targets[i].text);
            rows_fini(&asked[i].rows);
        }
    }
    free(targets);
    return status;
}

/* Those that live; who has not been heard for a while would only be waited for. How many are to be asked. */
static size_t choose(const struct rows *nodes, struct asked *asked, struct node_rows_silent *silent)
{
    size_t count = 0;
    for (size_t row = 0; row < nodes->rows_count; row++) {
        const char *state = rows_cell(nodes, row, "state"), *node = rows_cell(nodes, row, "node");
        if (strcmp(state, "suspect") == 0) {
            note_silent(silent, node, "it has been silent for a while");
        } else if (strcmp(state, "dead") != 0) {
            asked[count++] = (struct asked){ .node = node, .address = rows_cell(nodes, row, "address") };
        }
    }
    return count;
}

/* The first row of each, then the second of each. */
static int add_in_turns(struct rows *rows, struct asked *asked, size_t count, uint32_t limit)
{
    uint32_t given = 0;
    bool has_more = true;
    int status = 0;
    for (size_t row = 0; has_more && given < limit && status == 0; row++) {
        has_more = false;
        for (size_t i = 0; i < count && given < limit && status == 0; i++) {
            if (row < asked[i].rows.rows_count) {
                status = rows_add(rows, &asked[i].rows, row);
                has_more = true;
                given++;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        rows->total += asked[i].rows.total;
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
    ROOST_TRY(rows_fetch(head, timeout_ms, PROTO_QUERY_NODES, "", 0, &nodes));
    struct asked *asked = calloc(nodes.rows_count + 1, sizeof *asked);
    int status = asked == NULL ? error_set(ROOST_ENOMEM, "no memory for answers of %zu nodes", nodes.rows_count) : 0;
    size_t count = asked == NULL ? 0 : choose(&nodes, asked, silent_out);
    for (size_t from = 0; from < count && status == 0; from += NODES_AT_ONCE) {
        size_t some = count - from < NODES_AT_ONCE ? count - from : NODES_AT_ONCE;
        status = ask_some(asked + from, some, timeout_ms, &message, silent_out);
    }
    if (status == 0) {
        status = add_in_turns(rows, asked, count, limit);
    }
    for (size_t i = 0; i < count; i++) {
        rows_fini(&asked[i].rows);
    }
    free(asked);
    rows_fini(&nodes);
    return status;
}
