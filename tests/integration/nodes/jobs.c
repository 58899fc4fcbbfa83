/* jobs.c - drivers that nodes.sh runs while it kills what they stand on
 *
 *     jobs NAME FOLDER     a driver; it and its tasks say in FOLDER how far they are (an empty file each), and wait there
 *                          for files that the script makes. What it finds out goes to stdout.
 *
 * Nodes are named node-1, node-2, ...: the driver waits until those that it uses are there. */
#include <roost.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NODES_MAX_HERE = 16, LONG_MS = 60000 };

static const char *folder = "";

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Between two looks at a file. */
static void moment(void) { nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); }

static void say_in(const char *where, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", where, name);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fclose(file);
    }
}

static void wait_in(const char *where, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", where, name);
    while (access(path, F_OK) != 0) {
        moment();
    }
}

static bool is_same(roost_node a, roost_node b) { return a.id.hi == b.id.hi && a.id.lo == b.id.lo; }

/* "node-2"; "?" for one that the cluster does not list. */
static void name_of(struct roost *rt, roost_node node, char name_out[32])
{
    struct roost_node_info nodes[NODES_MAX_HERE];
    size_t count = 0;
    ROOST_CHECK(roost_nodes(rt, nodes, sizeof nodes[0], NODES_MAX_HERE, &count));
    strcpy(name_out, "?");
    for (size_t i = 0; i < count; i++) {
        if (is_same(nodes[i].node, node)) {
            snprintf(name_out, 32, "%.31s", nodes[i].host);
        }
    }
}

static roost_node node_of(struct roost *rt, int number)
{
    char name[32];
    uint64_t deadline = now_ms() + LONG_MS;
    snprintf(name, sizeof name, "node-%d", number);
    while (now_ms() < deadline) {
        struct roost_node_info nodes[NODES_MAX_HERE];
        size_t count = 0;
        ROOST_CHECK(roost_nodes(rt, nodes, sizeof nodes[0], NODES_MAX_HERE, &count));
        for (size_t i = 0; i < count; i++) {
            if (nodes[i].alive && strcmp(nodes[i].host, name) == 0) {
                return nodes[i].node;
            }
        }
        moment();
    }
    fprintf(stderr, "%s does not come\n", name);
    exit(1);
}

static struct roost_task_options on(struct roost *rt, int number, bool only)
{
    return (struct roost_task_options){ .size = sizeof(struct roost_task_options),
                                        .node = node_of(rt, number),
                                        .node_only = only };
}

/* What became of it, in one line: "VALUE" or "CODE TEXT". */
static void tell(struct roost *rt, const char *what, roost_ref ref)
{
    uint64_t value, before = now_ms();
    int status = roost_get_value(rt, ref, &value, LONG_MS);
    uint64_t took = now_ms() - before;
    if (status == 0) {
        printf("%s: value %llu\n", what, (unsigned long long)value);
    } else {
        printf("%s: %s\n", what, roost_last_error());
    }
    printf("%s took %llu ms\n", what, (unsigned long long)took);
    fflush(stdout);
}

/* ---- tasks ---- */

ROOST_TASK(make_bytes);
int make_bytes(struct roost_task *task)
{
    roost_buffer out;
    uint64_t size = roost_arg_uint(task, 0);
    ROOST_TRY(roost_return_create(task, 0, size, &out));
    memset(out.data, 7, size);
    return 0;
}

/* (folder, name, file): says "name" and waits for "file". */
ROOST_TASK(wait_for);
int wait_for(struct roost_task *task)
{
    say_in(roost_arg_text(task, 0), roost_arg_text(task, 1));
    wait_in(roost_arg_text(task, 0), roost_arg_text(task, 2));
    roost_node node = roost_here(roost_of(task));
    return roost_return_value(task, 0, node);
}

ROOST_TASK(measure);
int measure(struct roost_task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        sum += roost_arg(task, i).size;
    }
    return roost_return_value(task, 0, sum);
}

/* (folder, node): on that node it says so and never returns; elsewhere it names the node. */
ROOST_TASK(avoid);
int avoid(struct roost_task *task)
{
    char name[32];
    roost_node node = roost_here(roost_of(task));
    name_of(roost_of(task), node, name);
    if (strcmp(name, roost_arg_text(task, 1)) == 0) {
        say_in(roost_arg_text(task, 0), "started");
        wait_in(roost_arg_text(task, 0), "never");
    }
    return roost_return(task, 0, name, sizeof name);
}

ROOST_TASK(parent_of);
int parent_of(struct roost_task *task)
{
    roost_ref child;
    roost_node node;
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    ROOST_TRY(roost_call_with(roost_of(task), wait_for, &spread, &child, roost_arg_text(task, 0),
                              roost_arg_text(task, 1), "never"));
    return roost_get_value(roost_of(task), child, &node, ROOST_FOREVER);
}

/* ---- jobs ---- */

/* Tasks on node-3, which dies under them: each is tried again on another node. */
static int job_retry(struct roost *rt)
{
    enum { TASKS = 6 };
    roost_ref refs[TASKS];
    char name[32];
    struct roost_task_options wish = on(rt, 3, false);
    for (int i = 0; i < TASKS; i++) {
        ROOST_CHECK(roost_call_with(rt, avoid, &wish, &refs[i], folder, "node-3"));
    }
    for (int i = 0; i < TASKS; i++) {
        ROOST_CHECK(roost_get_value(rt, refs[i], &name, LONG_MS));
        printf("ran on %s\n", name);
    }
    roost_free_many(rt, refs, TASKS);
    return 0;
}

static void *wait_early(void *arg)
{
    struct {
        struct roost *rt;
        roost_ref ref;
    } *given = arg;
    tell(given->rt, "waiter", given->ref);
    return NULL;
}

/* Bytes on node-3, which dies: who waits for what needs them is told, and with its name. */
static int job_lost(struct roost *rt)
{
    roost_ref bytes, late, sum, bound, box, boxed;
    bool ready;
    pthread_t thread;
    struct roost_task_options third = on(rt, 3, true), second = on(rt, 2, true);
    ROOST_CHECK(roost_call_with(rt, make_bytes, &third, &bytes, 1000000));
    ROOST_CHECK(roost_call_with(rt, make_bytes, &third, &boxed, 2000000));
    ROOST_CHECK(roost_put_refs(rt, &boxed, 1, &box));
    ROOST_CHECK(roost_wait(rt, (roost_ref[]){ bytes, boxed }, 2, 2, false, (bool[2]){ false }, LONG_MS));
    third.max_retries = ROOST_NONE;
    ROOST_CHECK(roost_call_with(rt, wait_for, &third, &late, folder, "started", "never"));
    struct {
        struct roost *rt;
        roost_ref ref;
    } given = { rt, late };
    pthread_create(&thread, NULL, wait_early, &given);
    wait_in(folder, "killed");
    pthread_join(thread, NULL);
    tell(rt, "bytes", roost_slice(bytes, 0, 8));
    ROOST_CHECK(roost_call_with(rt, measure, &second, &sum, bytes));
    tell(rt, "sum", sum);
    roost_free(rt, sum);
    ROOST_CHECK(roost_call_with(rt, measure, &second, &sum, roost_in_gather(box, 0)));
    tell(rt, "gather", sum);
    ROOST_CHECK(roost_call_with(rt, measure, &third, &bound, 1));
    tell(rt, "bound", bound);
    ROOST_CHECK(roost_wait(rt, &bytes, 1, 1, true, &ready, LONG_MS));
    printf("wait: %s\n", ready ? "ready" : "not ready");
    return 0;
}

/* Maps on nodes 1 to 3, then a fourth node comes and takes reducers, and dies. */
static int job_fourth(struct roost *rt)
{
    enum { MAPS = 9, PARTS = 24, BYTES = 300000 };
    roost_ref maps[MAPS], list, parts[PARTS];
    uint64_t sum, all = 0;
    int elsewhere = 0;
    for (int i = 0; i < MAPS; i++) {
        struct roost_task_options only = on(rt, 1 + i % 3, true);
        ROOST_CHECK(roost_call_with(rt, make_bytes, &only, &maps[i], BYTES));
    }
    ROOST_CHECK(roost_wait(rt, maps, MAPS, MAPS, false, (bool[MAPS]){ false }, LONG_MS));
    say_in(folder, "mapped");
    struct roost_task_options wish = on(rt, 4, false);
    for (int p = 0; p < PARTS; p++) {
        roost_ref slices[MAPS], name;
        for (int i = 0; i < MAPS; i++) {
            slices[i] = roost_slice(maps[i], (uint64_t)p * (BYTES / PARTS), BYTES / PARTS);
        }
        ROOST_CHECK(roost_call_with(rt, avoid, &wish, &name, folder, "node-4"));
        ROOST_CHECK(roost_call_with(rt, measure, &wish, &parts[p], roost_in_refs(slices, MAPS), name));
        roost_free(rt, name);
    }
    ROOST_CHECK(roost_put_refs(rt, maps, MAPS, &list));
    roost_free_many(rt, maps, MAPS);
    for (int p = 0; p < PARTS; p++) {
        ROOST_CHECK(roost_get_value(rt, parts[p], &sum, LONG_MS));
        all += sum - 32; /* the name */
        elsewhere++;
    }
    roost_free(rt, list);
    roost_free_many(rt, parts, PARTS);
    printf("%d parts, %llu bytes of %d\n", elsewhere, (unsigned long long)all, MAPS * BYTES);
    return all == (uint64_t)MAPS * BYTES ? 0 : 2;
}

/* Work everywhere that never ends; the driver is killed. */
static int job_busy(struct roost *rt)
{
    char name[32];
    roost_ref ref;
    for (int node = 1; node <= 3; node++) {
        struct roost_task_options only = on(rt, node, true);
        ROOST_CHECK(roost_call_with(rt, make_bytes, &only, &ref, 3000000));
        ROOST_CHECK(roost_wait(rt, &ref, 1, 1, node % 2 == 0, (bool[1]){ false }, LONG_MS));
        ROOST_CHECK(roost_call_with(rt, measure, &only, &ref, ref));
        snprintf(name, sizeof name, "started-%d", node);
        ROOST_CHECK(roost_call_with(rt, wait_for, &only, NULL, folder, name, "never"));
        snprintf(name, sizeof name, "child-%d", node);
        ROOST_CHECK(roost_call_with(rt, parent_of, &only, &ref, folder, name));
        ROOST_CHECK(roost_call(rt, measure, &ref, ref)); /* never gets its argument */
        for (int more = 0; more < 20; more++) {          /* queue up behind them */
            ROOST_CHECK(roost_call_with(rt, wait_for, &only, &ref, folder, "queued", "never"));
        }
    }
    static char bytes[5000000];
    ROOST_CHECK(roost_put(rt, bytes, sizeof bytes, &ref));
    say_in(folder, "submitted");
    wait_in(folder, "never");
    return 0;
}

/* A task on node-3, which sleeps for too long and comes back. */
static int job_sleeper(struct roost *rt)
{
    char name[32];
    roost_ref ref, bytes, sum;
    struct roost_task_options wish = on(rt, 3, false);
    ROOST_CHECK(roost_call_with(rt, make_bytes, &wish, &bytes, 100000)); /* a session between the two agents */
    tell(rt, "bytes", roost_slice(bytes, 0, 8));
    ROOST_CHECK(roost_call_with(rt, avoid, &wish, &ref, folder, "node-3"));
    ROOST_CHECK(roost_get_value(rt, ref, &name, LONG_MS));
    printf("ran on %s\n", name);
    say_in(folder, "ran");
    wait_in(folder, "awake");
    for (int i = 0; i < 3; i++) { /* it is as good as any other again */
        struct roost_task_options third = on(rt, 3, true), second = on(rt, 2, true);
        roost_free(rt, bytes);
        ROOST_CHECK(roost_call_with(rt, make_bytes, &third, &bytes, 500000));
        ROOST_CHECK(roost_call_with(rt, measure, &second, &sum, bytes));
        tell(rt, "sum", sum);
        roost_free(rt, sum);
        ROOST_CHECK(roost_call_with(rt, measure, &third, &sum, bytes));
        tell(rt, "sum", sum);
        roost_view view;
        int status = roost_get(rt, bytes, &view, LONG_MS);
        printf("got %zu bytes: %s\n", status == 0 ? view.size : 0, status == 0 ? "fine" : roost_last_error());
        if (status == 0) {
            roost_release(rt, &view);
        }
    }
    return 0;
}

/* Calls every node, once; what it says is the nodes' names. */
static int job_roll_call(struct roost *rt)
{
    struct roost_node_info nodes[NODES_MAX_HERE];
    size_t count = 0;
    char name[32];
    roost_ref ref;
    ROOST_CHECK(roost_nodes(rt, nodes, sizeof nodes[0], NODES_MAX_HERE, &count));
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].alive) {
            struct roost_task_options only = { .size = sizeof only, .node = nodes[i].node, .node_only = true };
            ROOST_CHECK(roost_call_with(rt, avoid, &only, &ref, folder, "nobody"));
            ROOST_CHECK(roost_get_value(rt, ref, &name, LONG_MS));
            printf("%s\n", name);
            roost_free(rt, ref);
        }
    }
    return 0;
}

/* Bytes of each of two nodes, read on the other. */
static int job_exchange(struct roost *rt)
{
    roost_ref bytes[2], sums[2];
    for (int i = 0; i < 2; i++) {
        struct roost_task_options from = on(rt, 1 + i, true), to = on(rt, 2 - i, true);
        ROOST_CHECK(roost_call_with(rt, make_bytes, &from, &bytes[i], 3000000));
        ROOST_CHECK(roost_call_with(rt, measure, &to, &sums[i], bytes[i]));
    }
    tell(rt, "from node-1", sums[0]);
    tell(rt, "from node-2", sums[1]);
    say_in(folder, "working");
    wait_in(folder, "seen");
    roost_free_many(rt, bytes, 2);
    roost_free_many(rt, sums, 2);
    return 0;
}

/* One task for each reason to wait. */
static int job_reasons(struct roost *rt)
{
    roost_ref gate, behind, huge, bytes, read;
    struct roost_task_options first = on(rt, 1, true), second = on(rt, 2, true);
    first.name = "reader";
    struct roost_task_options many = { .size = sizeof many, .cpus = 64, .name = "too_large" };
    ROOST_CHECK(roost_call_with(rt, make_bytes, &second, &bytes, 20000000));
    ROOST_CHECK(roost_wait(rt, &bytes, 1, 1, false, (bool[1]){ false }, LONG_MS));
    say_in(folder, "made");
    wait_in(folder, "asleep");
    ROOST_CHECK(roost_call_with(rt, measure, &first, &read, bytes));
    second.name = "at_the_gate";
    ROOST_CHECK(roost_call_with(rt, wait_for, &second, &gate, folder, "started", "never"));
    ROOST_CHECK(roost_call_with(rt, wait_for, &second, NULL, folder, "started-too", "never"));
    for (int i = 0; i < 6; i++) { /* two run, two are at hand there, the rest has no place yet */
        second.name = i < 2 ? "next_in_line" : "last_in_line";
        ROOST_CHECK(roost_call_with(rt, wait_for, &second, NULL, folder, "started-last", "never"));
    }
    second.name = "behind_the_gate";
    ROOST_CHECK(roost_call_with(rt, measure, &second, &behind, gate, gate));
    ROOST_CHECK(roost_call_with(rt, measure, &many, &huge, 1));
    say_in(folder, "submitted");
    wait_in(folder, "seen");
    return 0;
}

/* Is the store of the agent empty, this driver's own? Waits for it, 5 s. */
static int job_empty(struct roost *rt)
{
    struct roost_node_info node = { .store_bytes_total = 0 };
    size_t count;
    uint64_t deadline = now_ms() + 5000;
    do {
        moment();
        ROOST_CHECK(roost_nodes(rt, &node, sizeof node, 1, &count));
    } while (node.store_bytes_free < node.store_bytes_total && now_ms() < deadline);
    if (node.store_bytes_free < node.store_bytes_total) {
        printf("%s: %llu bytes are in use\n", node.host,
               (unsigned long long)(node.store_bytes_total - node.store_bytes_free));
    }
    return node.store_bytes_free < node.store_bytes_total ? 2 : 0;
}

static const struct {
    const char *name;
    int (*run)(struct roost *rt);
} jobs[] = {
    { "retry", job_retry },     { "lost", job_lost },       { "fourth", job_fourth },
    { "busy", job_busy },       { "empty", job_empty },     { "roll_call", job_roll_call },
    { "reasons", job_reasons }, { "sleeper", job_sleeper }, { "exchange", job_exchange },
};

static int driver(struct roost *rt, int argc, char **argv)
{
    folder = argc > 2 ? argv[2] : "/nowhere";
    for (size_t i = 0; argc > 1 && i < sizeof jobs / sizeof *jobs; i++) {
        if (strcmp(jobs[i].name, argv[1]) == 0) {
            return jobs[i].run(rt);
        }
    }
    fprintf(stderr, "usage: jobs NAME FOLDER\n");
    return 2;
}

int main(int argc, char **argv) { return roost_main(argc, argv, driver); }
