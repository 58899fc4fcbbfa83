/* ls.c - `roost ls` and `roost why`: questions to the head, answered as tables
 *
 * Of calls in rings of leases the head knows nothing: those are asked of the agents. */
#include "api/cli/cluster.h"
#include "api/cli/command.h"
#include "api/cli/node_options.h"
#include "api/cli/node_rows.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/limits.h"

#include <unistd.h>

enum {
    ASK_MS_DEFAULT = 10000,
    AGENTS_MS_MAX = 2000, /* the head calls them alive: who is not there by then is stuck */
    LS_ROWS_DEFAULT = 1000,
    LS_CALLS_SHOWN = 20, /* of what is in rings, to people who have not said how many: the next ones of thousands */
    FILTER_BYTES = 1024
};

static const char *address;
static bool wants_json;
static struct option_list filters;
static uint64_t limit /* 0: not said */, timeout_ms = ASK_MS_DEFAULT;

static const struct option_spec ls_specs[] = {
    OPT_TEXT("address", "HOST:PORT", &address, "of the head (default: $ROOST_ADDRESS, else the only cluster here)"),
    OPT_LIST("filter", "COLUMN=VALUE", &filters, "only rows that have this; several must all be true"),
    OPT_NUMBER("limit", "N", 1, PROTO_ROWS_MAX, &limit,
               "at most so many rows (default: 1000, of which 20 calls in rings of workers)"),
    OPT_FLAG("json", &wants_json, "an array of objects; sizes in bytes, times in milliseconds"),
    OPT_TIMEOUT(&timeout_ms, "how long the head may take (default: 10)"),
    OPT_END,
};

static const struct option_set ls_set = {
    .command = "ls",
    .usage = "nodes|workers|tasks|objects|jobs|pulls [--filter COLUMN=VALUE] [--limit N] [--json]",
    .text =
        "Lists what the head knows. On a terminal sizes and times are rounded, elsewhere they are exact. Pulls are "
        "bytes\n"
        "that each node has copied from each other one, as the nodes count them. Tasks are, too, the calls that their\n"
        "callers have put straight into the rings of workers (in_ring, running): of these the nodes tell, the next "
        "ones\n"
        "first. Calls that still wait in their callers are known there alone.",
    .examples = "roost ls nodes\n"
                "roost ls tasks --filter state=queued\n"
                "roost ls objects --limit 100000 --json | jq 'map(.size) | add'",
    .specs = ls_specs,
    .words_min = 1,
    .words_max = 1,
};

static const struct option_spec why_specs[] = {
    OPT_TEXT("address", "HOST:PORT", &address, "of the head (default: $ROOST_ADDRESS, else the only cluster here)"),
    OPT_FLAG("json", &wants_json, "an array of objects"),
    OPT_TIMEOUT(&timeout_ms, "how long the head may take (default: 10)"),
    OPT_END,
};

static const struct option_set why_set = {
    .command = "why",
    .usage = "ID [--json]",
    .text =
        "Tells why a task waits, or who holds an object and what makes it. IDs are those of `roost ls`, or a ref's:\n"
        "printf(\"%016llx%016llx\", ref.id.hi, ref.id.lo). Of a call that still waits in its caller, for a worker or "
        "for\n"
        "results of other calls, roost_explain() tells there, and nobody else can.",
    .examples = "roost why 00c3a1f2e58b4d6790ab12cd34ef5678",
    .specs = why_specs,
    .words_min = 1,
    .words_max = 1,
};

static const struct {
    const char *name;
    enum proto_query_what what;
} lists[] = { { "nodes", PROTO_QUERY_NODES },     { "workers", PROTO_QUERY_WORKERS }, { "tasks", PROTO_QUERY_TASKS },
              { "objects", PROTO_QUERY_OBJECTS }, { "jobs", PROTO_QUERY_JOBS },       { "pulls", PROTO_QUERY_PULLS } };

/* "state=queued node=3". */
static int join_filters(char out[FILTER_BYTES])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < filters.count; i++) {
        const char *item = filters.items[i], *equals = strchr(item, '=');
        if (equals == NULL || equals == item || strchr(item, ' ') != NULL) {
            return error_set(ROOST_EINVAL, "--filter is \"%s\", wanted COLUMN=VALUE without blanks, as in state=queued",
                             item);
        }
        int length = snprintf(out + used, FILTER_BYTES - used, "%s%s", i > 0 ? " " : "", item);
        used += (size_t)length;
        if (used >= FILTER_BYTES) {
            return error_set(ROOST_ETOOBIG, "all --filter together have more than %d bytes", FILTER_BYTES - 1);
        }
    }
    return 0;
}

/* How many rows of calls in rings go behind the head's. */
static uint32_t calls_limit(enum proto_query_what what, size_t rows_count)
{
    uint64_t most = limit != 0 ? limit : LS_ROWS_DEFAULT;
    uint64_t left = rows_count < most ? most - rows_count : 0;
    bool is_brief = what == PROTO_QUERY_TASKS && limit == 0 && !wants_json;
    return (uint32_t)(is_brief && left > LS_CALLS_SHOWN ? LS_CALLS_SHOWN : left);
}

/* `status`: how the head has answered. */
static int ask_agents(const char *head, enum proto_query_what what, const char *filter, int status, struct rows *rows)
{
    struct node_rows_silent silent;
    uint64_t before = rows->total;
    size_t rows_before = rows->rows_count;
    unsigned patience_ms = (unsigned)(timeout_ms < AGENTS_MS_MAX ? timeout_ms : AGENTS_MS_MAX);
    ROOST_TRY(node_rows_add(rows, head, patience_ms, what, filter, calls_limit(what, rows->rows_count), &silent));
    if (silent.count > 0) {
        fprintf(stderr, "%zu nodes did not tell what is in the rings of their workers; node %s: %s\n", silent.count,
                silent.node, silent.text);
    }
    if (status == ROOST_ENOENT && rows->rows_count == 0) {
        return error_set(ROOST_ENOENT,
                         "the head knows no task and no object of this id, and no ring of a worker has such a "
                         "call; of one that waits in its caller, roost_explain() tells there");
    }
    uint64_t hidden = rows->total - before - (rows->rows_count - rows_before);
    if (hidden > 0 && !wants_json) {
        rows->total -= hidden; /* said here */
        fprintf(stderr, "... and %llu more calls in rings of workers; --limit shows more\n",
                (unsigned long long)hidden);
    }
    return 0;
}

static int ask(const char *head, enum proto_query_what what, const char *filter, struct rows *rows_out)
{
    uint32_t most = (uint32_t)(limit != 0 ? limit : LS_ROWS_DEFAULT);
    int status = rows_fetch(head, (unsigned)timeout_ms, what, filter, most, rows_out);
    bool agents_may_know = what == PROTO_QUERY_TASKS || what == PROTO_QUERY_WHY;
    if (!agents_may_know || (status != 0 && status != ROOST_ENOENT)) {
        return status;
    }
    status = ask_agents(head, what, filter, status, rows_out);
    if (status != 0) {
        rows_fini(rows_out);
    }
    return status;
}

/* The exit code. */
static int ask_and_print(const char *command, enum proto_query_what what, const char *filter)
{
    char head[FOLDER_ADDRESS_BYTES];
    struct rows rows;
    int status = cluster_find(address, head);
    if (status == ROOST_EINVAL) {
        command_failed(command, status);
        return EXIT_USAGE;
    }
    if (status == 0) {
        status = ask(head, what, filter, &rows);
    }
    if (status != 0) {
        return command_failed(command, status);
    }
    if (wants_json) {
        json_t *json = rows_json(&rows);
        json_dumpf(json, stdout, JSON_INDENT(1));
        fputc('\n', stdout);
        json_decref(json);
    } else {
        rows_print(stdout, &rows, isatty(STDOUT_FILENO) != 0);
    }
    if (rows.total > rows.rows_count) {
        fprintf(stderr, "%zu of %llu rows; --limit shows more, --filter others\n", rows.rows_count,
                (unsigned long long)rows.total);
    }
    rows_fini(&rows);
    return EXIT_OK;
}

int command_ls(int argc, char **argv)
{
    char filter[FILTER_BYTES];
    int code = options_start(&ls_set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (join_filters(filter) != 0) {
        return options_refuse(&ls_set, "%s", error_text());
    }
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        if (strcmp(lists[i].name, argv[1]) == 0) {
            return ask_and_print("ls", lists[i].what, filter);
        }
    }
    const char *near = options_nearest(argv[1], &lists[0].name, ROOST_COUNT_OF(lists), sizeof lists[0]);
    return near != NULL ? options_refuse(&ls_set, "there is no list \"%s\"; did you mean \"%s\"?", argv[1], near)
                        : options_refuse(&ls_set, "there is no list \"%s\"", argv[1]);
}

int command_why(int argc, char **argv)
{
    int code = options_start(&why_set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (strspn(argv[1], "0123456789abcdefABCDEF") != 32 || argv[1][32] != '\0') {
        return options_refuse(&why_set, "\"%.64s\" is no id: 32 hexadecimal digits, as `roost ls` shows them", argv[1]);
    }
    return ask_and_print("why", PROTO_QUERY_WHY, argv[1]);
}
