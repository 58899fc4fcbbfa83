/* cases_pull.c - bytes that come from another node
 *
 * Two nodes on this machine, each with its own agent, store and memory; what goes between them goes over TCP. A task on
 * the other node makes the objects, a get here pulls them. The limit is a bare TCP socket that carries as many bytes
 * from one process into another, both warm.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>

enum { MANY_OBJECTS = 1000, MANY_BYTES = 100000, LARGE_RUNS = 7, MANY_RUNS = 15, MADE_MS = 120000 };

/* Writes `size` bytes for each result. */
ROOST_TASK(bench_make);
int bench_make(struct roost_task *task)
{
    size_t size = (size_t)roost_arg_uint(task, 0), results = (size_t)roost_arg_uint(task, 1);
    for (size_t i = 0; i < results; i++) {
        roost_buffer buffer;
        ROOST_TRY(roost_return_create(task, i, size, &buffer));
        memset(buffer.data, (int)i + 1, size);
    }
    return 0;
}

struct pull {
    uint32_t count;
    uint64_t size;
    roost_node from;
    struct limit_socket *socket;
    roost_ref refs[MANY_OBJECTS];
    roost_view views[MANY_OBJECTS];
};

static int check_bytes(const struct pull *pull)
{
    for (uint32_t i = 0; i < pull->count; i++) {
        const unsigned char *bytes = pull->views[i].data;
        unsigned char wanted = (unsigned char)(i + 1);
        if (pull->views[i].size != pull->size || bytes[0] != wanted || bytes[pull->size / 2] != wanted ||
            bytes[pull->size - 1] != wanted) {
            return error_set(ROOST_EIO, "object %u has not the bytes that were made", i);
        }
    }
    return 0;
}

static int pull_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct pull *pull = arg;
    static bool ready[MANY_OBJECTS];
    const struct roost_task_options there = ROOST_TASK_OPTIONS(.returns = pull->count, .node = pull->from,
                                                               .node_only = true);
    ROOST_TRY(roost_call_with(bench->rt, bench_make, &there, pull->refs, pull->size, pull->count));
    ROOST_TRY(roost_wait(bench->rt, pull->refs, pull->count, pull->count, false, ready, MADE_MS));
    *limit_out = limit_socket_ns(pull->socket);
    double started = bench_now_ns();
    ROOST_TRY(roost_get_many(bench->rt, pull->refs, pull->count, pull->views, BENCH_GET_MS));
    *found_out = bench_now_ns() - started;
    int status = check_bytes(pull);
    roost_release_many(bench->rt, pull->views, pull->count);
    roost_free_many(bench->rt, pull->refs, pull->count);
    return status;
}

/* The node that is not this one. */
static int other_node(struct bench *bench, roost_node *node_out)
{
    struct roost_node_info nodes[2];
    size_t count = 0;
    roost_node here = roost_here(bench->rt);
    ROOST_TRY(roost_nodes(bench->rt, nodes, sizeof nodes[0], 2, &count));
    for (size_t i = 0; i < count && i < 2; i++) {
        if (nodes[i].node.id.hi != here.id.hi || nodes[i].node.id.lo != here.id.lo) {
            *node_out = nodes[i].node;
            return 0;
        }
    }
    return error_set(ROOST_ESTATE, "the cluster has no second node");
}

static int measure_pull(struct bench *bench, const char *name, uint32_t count, uint64_t size, int runs)
{
    const struct line line = { .name = name, .unit = "ms" };
    ROOST_TRY(session_open_nodes(bench, 2, 2 * count * size));
    struct pull *pull = calloc(1, sizeof *pull);
    int status = pull == NULL ? error_set(ROOST_ENOMEM, "no memory for a pull") : other_node(bench, &pull->from);
    status = status == 0 ? limit_socket_start(&pull->socket, count * size) : status;
    if (status == 0) {
        pull->count = count;
        pull->size = size;
        status = bench_series(bench, line, runs, pull_once, pull);
    }
    limit_socket_stop(pull == NULL ? NULL : pull->socket);
    free(pull);
    return status;
}

int case_pull_large(struct bench *bench) { return measure_pull(bench, "pull_1gb", 1, bench->large_bytes, LARGE_RUNS); }

/* As many as fit beside the large object's size; a thousand where there is room. */
int case_pull_many(struct bench *bench)
{
    uint64_t size = bench->large_bytes / MANY_OBJECTS;
    return measure_pull(bench, "pull_1000", MANY_OBJECTS, size < MANY_BYTES ? size : MANY_BYTES, MANY_RUNS);
}
