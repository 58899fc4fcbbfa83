/* node_rows.h - rows that each node's agent alone knows, put behind what the head has answered
 *
 * A call that its caller has written into the ring of a worker is in that node's memory and nowhere else. */
#ifndef ROOST_API_CLI_NODE_ROWS_H
#define ROOST_API_CLI_NODE_ROWS_H

#include "api/cli/rows.h"

/* How the commands ask agents: query_agents(), or a test's own with the same contract. */
typedef int ask_agents_fn(struct query_target *targets, size_t count, unsigned timeout_ms,
                          const struct proto_message *message);
extern ask_agents_fn *node_rows_ask;

struct node_rows_silent { /* nodes that did not answer */
    size_t count;
    char node[16], text[ROWS_TEXT_SHOWN_BYTES]; /* the first of them, and why */
};

/* Asks the agent of each node that lives, as far as the head knows, and puts at most `limit` of their rows behind `rows`, in turns: the
 * first of each, then the second of each. `rows->total` grows by all that match. A node that does not answer is told in
 * `*silent_out`, and no failure.
 * Errors: those of rows_fetch() for the list of nodes, of node_rows_ask, ROOST_ENOMEM; `rows` is as it was. */
int node_rows_add(struct rows *rows, const char *head, unsigned timeout_ms, enum proto_query_what what,
                  const char *filter, uint32_t limit, struct node_rows_silent *silent_out);

#endif
