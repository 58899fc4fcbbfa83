/* status.c - `roost status`: the cluster on one screen
 *
 * Happy path: one question for the counts and the demand, one for the nodes; printed as what is there, what runs, what
 *             is lacking. More nodes than fit are counted, not listed.
 */
#include "api/cli/cluster.h"
#include "api/cli/command.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "api/cli/rows.h"
#include "common/error.h"
#include "common/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATUS_MS_DEFAULT = 10000, STATUS_NODES_SHOWN = 10, STATUS_DEMAND_SHOWN = 5 };

static const char *address;
static bool wants_json;
static uint64_t timeout_ms = STATUS_MS_DEFAULT;

static const struct option_spec specs[] = {
    OPT_TEXT("address", "HOST:PORT", &address, "of the head (default: $ROOST_ADDRESS, else the only cluster here)"),
    OPT_FLAG("json", &wants_json, "one object, exact"),
    OPT_TIMEOUT(&timeout_ms, "how long the head may take (default: 10)"),
    OPT_END,
};

static const struct option_set set = {
    .command = "status",
    .usage = "[--address HOST:PORT] [--json]",
    .text =
        "Shows nodes, CPUs, store use, tasks by state, and what the cluster lacks to run them. Exit status 3: there\n"
        "is no cluster, or nobody listens at its address.",
    .examples = "roost status\n"
                "watch roost status\n"
                "roost status --json | jq .tasks_queued",
    .specs = specs,
};

/* Of the rows (what, value): the number behind a name, 0 without one. */
static uint64_t fact(const struct rows *facts, const char *what)
{
    for (size_t row = 0; row < facts->rows_count; row++) {
        if (strcmp(rows_cell(facts, row, "what"), what) == 0) {
            return strtoull(rows_cell(facts, row, "value"), NULL, 10);
        }
    }
    return 0;
}

static bool is_demand(const struct rows *facts, size_t row)
{
    return strcmp(rows_cell(facts, row, "what"), "demand") == 0;
}

/* "3.50" as 350. */
static uint64_t hundredths(const char *cell)
{
    char *point;
    uint64_t whole = strtoull(cell, &point, 10);
    uint64_t rest = *point == '.' && strlen(point) >= 3 ? (uint64_t)(point[1] - '0') * 10 + (uint64_t)(point[2] - '0')
                                                        : 0;
    return whole * 100 + rest;
}

static void print_nodes(const struct rows *nodes)
{
    uint64_t cpus = 0, cpus_free = 0, used = 0, store = 0, alive = 0;
    char used_text[32], store_text[32];
    for (size_t row = 0; row < nodes->rows_count; row++) {
        if (strcmp(rows_cell(nodes, row, "state"), "dead") != 0) {
            alive++;
            cpus += hundredths(rows_cell(nodes, row, "cpus"));
            cpus_free += hundredths(rows_cell(nodes, row, "free_cpus"));
            used += strtoull(rows_cell(nodes, row, "store_used_bytes"), NULL, 10);
            store += strtoull(rows_cell(nodes, row, "store_bytes"), NULL, 10);
        }
    }
    printf("nodes    %" PRIu64, alive);
    if (nodes->total > alive) {
        printf(", and %" PRIu64 " %s", nodes->total - alive, nodes->total > nodes->rows_count ? "more" : "dead");
    }
    printf("\ncpus     %" PRIu64 ".%02" PRIu64 " of %" PRIu64 ".%02" PRIu64 " free\n", cpus_free / 100, cpus_free % 100,
           cpus / 100, cpus % 100);
    printf("store    %s of %s used (%" PRIu64 " %%)\n", size_print(used, used_text, sizeof used_text),
           size_print(store, store_text, sizeof store_text), store > 0 ? used / (store / 100 + 1) : 0);
}

static void print_work(const struct rows *facts)
{
    printf("tasks    %" PRIu64 " placed, %" PRIu64 " queued, %" PRIu64 " waiting for inputs, %" PRIu64
           " held back, %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " retries\n",
           fact(facts, "tasks_placed"), fact(facts, "tasks_queued"), fact(facts, "tasks_waiting"),
           fact(facts, "tasks_refused"), fact(facts, "tasks_completed"), fact(facts, "tasks_failed"),
           fact(facts, "retries"));
    char pulled[32];
    printf("jobs     %" PRIu64 "\nobjects  %" PRIu64 "\npulled   %s between nodes\n", fact(facts, "jobs"),
           fact(facts, "objects"), size_print(fact(facts, "pulled_bytes"), pulled, sizeof pulled));
    if (fact(facts, "suspects") > 0) {
        printf("suspect  %" PRIu64 " nodes have been silent for a while\n", fact(facts, "suspects"));
    }
    if (fact(facts, "lists_missing") + fact(facts, "echoes_missing") > 0) {
        printf("frees    held back until %" PRIu64 " nodes have listed and %" PRIu64 " echoes have come\n",
               fact(facts, "lists_missing"), fact(facts, "echoes_missing"));
    }
}

static void print_demand(const struct rows *facts)
{
    size_t count = 0;
    char text[ROWS_TEXT_SHOWN_BYTES];
    for (size_t row = 0; row < facts->rows_count; row++) {
        if (is_demand(facts, row) && count++ < STATUS_DEMAND_SHOWN) {
            printf("%s  %s\n", count == 1 ? "lacking" : "       ", rows_text(rows_cell(facts, row, "value"), text));
        }
    }
    if (count > STATUS_DEMAND_SHOWN) {
        printf("         and %zu more: `roost ls tasks --filter state=queued`\n", count - STATUS_DEMAND_SHOWN);
    }
}

static void print_screen(const char *head, const struct rows *facts, struct rows *nodes)
{
    size_t all = nodes->rows_count;
    printf("head     %s (epoch %" PRIu64 ")\n", head, fact(facts, "epoch"));
    print_nodes(nodes);
    print_work(facts);
    print_demand(facts);
    fputc('\n', stdout);
    size_t shown = all < STATUS_NODES_SHOWN ? all : STATUS_NODES_SHOWN;
    struct rows first = *nodes; /* borrows the first rows */
    first.rows_count = shown;
    rows_print(stdout, &first, isatty(STDOUT_FILENO) != 0);
    if (all > shown) {
        printf("and %zu more: `roost ls nodes`\n", all - shown);
    }
}

static void print_json(const char *head, const struct rows *facts, const struct rows *nodes)
{
    json_t *root = json_object(), *demand = json_array();
    json_object_set_new(root, "address", json_string(head));
    for (size_t row = 0; row < facts->rows_count; row++) {
        const char *what = rows_cell(facts, row, "what"), *value = rows_cell(facts, row, "value");
        if (strcmp(what, "nodes") == 0) {
            json_object_set_new(root, "nodes_count", json_integer((json_int_t)strtoull(value, NULL, 10)));
        } else if (is_demand(facts, row)) {
            json_array_append_new(demand, json_string(value));
        } else {
            json_object_set_new(root, what, json_integer((json_int_t)strtoull(value, NULL, 10)));
        }
    }
    json_object_set_new(root, "demand", demand);
    json_object_set_new(root, "nodes", rows_json(nodes));
    json_dumpf(root, stdout, JSON_INDENT(1));
    fputc('\n', stdout);
    json_decref(root);
}

int command_status(int argc, char **argv)
{
    char head[FOLDER_ADDRESS_BYTES];
    struct rows facts = { .total = 0 }, nodes = { .total = 0 };
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    int status = cluster_find(address, head);
    if (status == ROOST_EINVAL) {
        return options_refuse(&set, "%s", error_text());
    }
    if (status == 0) {
        status = rows_fetch(head, (unsigned)timeout_ms, PROTO_QUERY_STATUS, "", 0, &facts);
    }
    if (status == 0) {
        status = rows_fetch(head, (unsigned)timeout_ms, PROTO_QUERY_NODES, "", 0, &nodes);
    }
    if (status != 0) {
        rows_fini(&facts);
        return command_failed("status", status);
    }
    if (wants_json) {
        print_json(head, &facts, &nodes);
    } else {
        print_screen(head, &facts, &nodes);
    }
    rows_fini(&facts);
    rows_fini(&nodes);
    return EXIT_OK;
}
