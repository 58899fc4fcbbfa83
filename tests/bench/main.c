/* main.c - roost-bench [--json] [--bytes SIZE] [--runs N] [--chart FILE] [CASE...]: which cases run
 *
 * Without a CASE all run, in the order of the table. A case that fails is reported on stderr, the next ones still run.
 * A worker is this program again with the same arguments, and does nothing but serve tasks.
 *
 * Exit status: 0, 1 a case failed, 2 usage.
 * Thread: the driver's. */
#include "api/cli/command.h"
#include "api/cli/options.h"
#include "objectstore/segment.h"
#include "tests/bench/bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_BYTES = 8192, CASES_GIVEN_MAX = 64, MEMORY_SHARE = 8, RUNS_MAX = 100000 };
#define LARGE_BYTES_DEFAULT (UINT64_C(1) << 30)
#define LARGE_BYTES_MIN     (UINT64_C(1) << 20)
#define LARGE_BYTES_MAX     (UINT64_C(1) << 40)

/* Series of a case that are batches: a list of { name, unit, items, runs, function, per item?, unpinned? }. */
#define BATCHES(...)                                          \
    NULL, (const struct bench_batch[])                        \
    {                                                         \
        __VA_ARGS__, { NULL, NULL, 0, 0, NULL, false, false } \
    }

/* clang-format off: a table */
const struct bench_case bench_cases[] = {
    { "get_local", "ns", "single client get calls: 1 KB, the same again, of another process, one large", case_get_local,
      NULL },
    { "get_many_10000", "us", "one get of 10,000 local objects", case_get_many, NULL },
    { "get_refs_10000", "ms", "get of an object that contains 10,000 refs, each kept and freed",
      BATCHES({ "get_refs_10000", "ms", 10000, 15, batch_get_refs, false, false }) },
    { "put_small", "ns", "single client put calls, 100 bytes; the same, freed at once", case_put_small, NULL },
    { "put_large", "ms", "single client put of --bytes: a client's first, and later ones", case_put_large, NULL },
    { "put_multi", "ms", "multi client put: two put a half of --bytes each at once", case_put_multi, NULL },
    { "task_sync", "us", "call an empty task, get its result; the same on busy cores", case_task_sync, NULL },
    { "task_async", "us", "empty tasks, 1,000 under way; the same with a ref as argument", case_task_async, NULL },
    { "task_multi", "us", "four clients call 1,000 empty tasks each and wait",
      BATCHES({ "task_multi", "us", 4000, 10, batch_multi_client, true, true }) },
    { "tasks_and_get", "ms", "1,000 empty tasks and one get of all their results",
      BATCHES({ "tasks_and_get", "ms", 1000, 30, batch_tasks_and_get, false, false }) },
    { "wait_1000", "ms", "1,000 pending results of tasks, waited for one by one and all at once", case_wait, NULL },
    { "args_10000", "ms", "a task with 10,000 refs as arguments",
      BATCHES({ "args_10000", "ms", 10000, 15, batch_arguments, false, false }) },
    { "returns_3000", "ms", "a task with 3,000 results, and one get of all",
      BATCHES({ "returns_3000", "ms", 3000, 15, batch_returns, false, false }) },
    { "chain_1000", "ms", "1,000 tasks, each with the result of the one before",
      BATCHES({ "chain_1000", "ms", 1000, 15, batch_chain, false, false }) },
    { "fan_in_1000", "ms", "1,000 tasks and one that takes all their results",
      BATCHES({ "fan_in_1000", "ms", 1000, 15, batch_fan_in, false, false }) },
    { "queued", "us", "per task, all called before one is got: 10,000, 100,000 and 1,000,000",
      BATCHES({ "queued/10000", "us", 10000, 10, batch_queued, true, true },
              { "queued/100000", "us", 100000, 3, batch_queued, true, true },
              { "queued/1000000", "us", 1000000, 1, batch_queued, true, true }) },
    { "pull_1gb", "ms", "get of an object of --bytes that is on another node, over TCP", case_pull_large, NULL },
    { "pull_1000", "ms", "get of 1,000 objects of 100 KB that are on another node", case_pull_many, NULL },
    { "metg", "us", "METG(50 %): the smallest task that keeps half of the machine busy, by pattern and width",
      case_metg, NULL },
    { "startup", "ms", "opening a cluster up to the first result; a cold worker of a known program", case_startup,
      NULL },
    { "footprint", "MiB", "memory, processes, threads and listeners of an idle cluster with two workers",
      case_footprint, NULL },
    { "sort", "s", "records of --bytes sorted on three nodes, beside GNU sort", case_sort, NULL },
    { "sched_scale", "ns", "the head's core at 10 to 10,000 nodes: a decision, bytes of objects and tasks, a census",
      case_sched_scale, NULL },
    { "placement", "x", "makespans of the placement in the simulator, over work per core", case_placement, NULL },
    { NULL, NULL, NULL, NULL, NULL },
};
/* clang-format on */

/* By its name, or that of one of its series: CASE/VARIANT. */
static const struct bench_case *find_case(const char *name)
{
    size_t length = strcspn(name, "/");
    for (const struct bench_case *one = bench_cases; one->name != NULL; one++) {
        if (strlen(one->name) == length && memcmp(one->name, name, length) == 0) {
            return one;
        }
    }
    return NULL;
}

/* What a case may use: its largest object, a copy of it, a store of two and what the machine needs besides. */
static uint64_t large_bytes_default(void)
{
    struct memory_facts facts = { .processes = 2 };
    uint64_t room = LARGE_BYTES_DEFAULT;
    if (memory_facts_read(&facts, "") == 0) {
        room = (facts.available < facts.cgroup_headroom ? facts.available : facts.cgroup_headroom) / MEMORY_SHARE;
    }
    room = room < LARGE_BYTES_DEFAULT ? room : LARGE_BYTES_DEFAULT;
    return room > LARGE_BYTES_MIN ? room / LARGE_BYTES_MIN * LARGE_BYTES_MIN : LARGE_BYTES_MIN;
}

static void find_cores(int cores_out[2])
{
    cpu_set_t set;
    size_t found = 0;
    cores_out[0] = cores_out[1] = -1;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return;
    }
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++) {
        if (CPU_ISSET((size_t)i, &set)) {
            cores_out[found++] = i;
        }
    }
}

/* What --help says: all cases. */
static const char *describe_cases(void)
{
    static char text[HELP_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "Measures this machine and Roost on it, side by side. Without a CASE all run. A\n"
                                   "SERIES is the rest of a line's name behind the slash: queued/10000.\n\n"
                                   "Cases:");
    for (const struct bench_case *one = bench_cases; one->name != NULL && used < sizeof text; one++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "\n  %-15s %-3s %s", one->name, one->unit, one->what);
    }
    return text;
}

/* -1: run the cases, `*names_out` of them, that are argv's words now; else the exit status. */
static int parse_options(int argc, char **argv, struct bench *bench, int *names_out)
{
    uint64_t runs = 0;
    const struct option_spec specs[] = {
        OPT_FLAG("json", &bench->json, "one JSON object a line"),
        OPT_BYTES("bytes", LARGE_BYTES_MIN, LARGE_BYTES_MAX, &bench->large_bytes,
                  "of the large objects, from which all is sized (default:\n1G, less on a small machine)"),
        OPT_NUMBER("runs", "N", 1, RUNS_MAX, &runs, "of each series (default: each case's own)"),
        OPT_TEXT("chart", "FILE", &bench->chart, "write a chart of all lines there, as SVG"),
        OPT_END,
    };
    const struct option_set set = { .command = "bench",
                                    .usage = "[--json] [--bytes SIZE] [--runs N] [--chart FILE] [CASE[/SERIES]...]",
                                    .text = describe_cases(),
                                    .examples = "roost bench --bytes 64M --runs 3 task_sync put_large\n"
                                                "roost bench metg/stencil_1d_32",
                                    .specs = specs,
                                    .words_max = CASES_GIVEN_MAX };
    int status = options_start(&set, argc, argv, names_out);
    bench->runs = (int)runs;
    for (int i = 1; status == OPTIONS_FINE && i <= *names_out; i++) {
        if (find_case(argv[i]) == NULL) {
            const char *near = options_nearest(argv[i], &bench_cases[0].name,
                                               sizeof bench_cases / sizeof *bench_cases - 1, sizeof *bench_cases);
            status = near != NULL ? options_refuse(&set, "there is no case \"%s\"; did you mean \"%s\"?", argv[i], near)
                                  : options_refuse(&set, "there is no case \"%s\"", argv[i]);
        }
    }
    return status;
}

/* Each in a cluster of its own. */
static int run_batches(struct bench *bench, const struct bench_batch *batch)
{
    int status = 0;
    for (; status == 0 && batch->name != NULL; batch++) {
        if (bench_wants(bench, batch->name)) {
            status = bench_batch_run(bench, batch);
            session_close(bench);
        }
    }
    return status;
}

static bool run_case(const struct bench_case *one, struct bench *bench)
{
    bench->now = one->name;
    int status = one->run != NULL ? one->run(bench) : run_batches(bench, one->batches);
    if (status != 0) {
        fprintf(stderr, "roost bench: %s: %s: %s\n", one->name, roost_strerror(status), roost_last_error());
    }
    session_close(bench);
    return status == 0;
}

int main(int argc, char **argv)
{
    session_serve();
    struct bench bench = { .large_bytes = large_bytes_default() };
    int names = 0, status = parse_options(argc, argv, &bench, &names);
    if (status != OPTIONS_FINE) {
        return status;
    }
    find_cores(bench.cores);
    bool good = true;
    for (const struct bench_case *one = bench_cases; names == 0 && one->name != NULL; one++) {
        good &= run_case(one, &bench);
    }
    for (int i = 1; i <= names; i++) {
        bench.only = strchr(argv[i], '/') != NULL ? argv[i] : NULL;
        good &= run_case(find_case(argv[i]), &bench);
    }
    if (bench.chart != NULL && chart_write(bench.chart) != 0) {
        fprintf(stderr, "roost bench: %s\n", roost_last_error());
        good = false;
    }
    chart_fini();
    return good ? EXIT_OK : EXIT_FAILED;
}
