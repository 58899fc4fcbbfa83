/* main.c - roost-bench [--json] [--bytes N] [--runs N] [--list] [CASE...]: which cases run
 *
 * Without a CASE all run, in the order of the table. A case that fails is reported on stderr, the next ones still run.
 * A worker is this program again with the same arguments, and does nothing but serve tasks.
 *
 * Exit status: 0, 1 a case failed, 2 usage.
 * Thread: the driver's. */
#include "objectstore/segment.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 63, MEMORY_SHARE = 8, RUNS_MAX = 100000 };
#define LARGE_BYTES_DEFAULT (UINT64_C(1) << 30)
#define LARGE_BYTES_MIN     (UINT64_C(1) << 20)

const struct bench_case bench_cases[] = {
    { "get_local", "ns", "get and release of local objects: 1 KB, the same again, one large view", case_get_local },
    { "put_small", "ns", "put of 100 bytes", case_put_small },
    { "put_large", "ms", "put of --bytes: a client's first, and later ones", case_put_large },
    { "task_sync", "us", "call an empty task, get its result", case_task_sync },
    { "task_async", "us", "empty tasks, 1,000 under way", case_task_async },
    { "wait_1000", "ms", "1,000 pending results of tasks, waited for one by one and all at once", case_wait },
    { "get_many_10000", "us", "one get of 10,000 local objects", case_get_many },
    { "pull_1gb", "ms", "get of an object of --bytes that is on another node, over TCP", case_pull_large },
    { "pull_1000", "ms", "get of 1,000 objects of 100 KB that are on another node", case_pull_many },
    { "placement", "x", "makespans of the placement in the simulator, over work per core", case_placement },
    { NULL, NULL, NULL, NULL },
};

static void print_help(FILE *to)
{
    fprintf(
        to,
        "usage: roost bench [--json] [--bytes N] [--runs N] [CASE...]\n\n"
        "  --json     one JSON object per line\n"
        "  --bytes N  size of the large objects, from which all is sized (default: 1 GiB, less on a small machine)\n"
        "  --runs N   runs of each series (default: each case's own)\n\ncases:\n");
    for (const struct bench_case *one = bench_cases; one->name != NULL; one++) {
        fprintf(to, "  %-15s %-3s %s\n", one->name, one->unit, one->what);
    }
}

/* Levenshtein's distance, one row of the matrix at a time. */
static size_t distance(const char *left, const char *right)
{
    size_t row[NAME_BYTES_MAX + 1], length = strlen(right);
    for (size_t j = 0; j <= length; j++) {
        row[j] = j;
    }
    for (size_t i = 0; left[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t changed = diagonal + (left[i] != right[j]);
            size_t shorter = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = changed < shorter ? changed : shorter;
        }
    }
    return row[length];
}

static const char *nearest_name(const char *name)
{
    const struct bench_case *best = bench_cases;
    for (const struct bench_case *one = bench_cases; one->name != NULL; one++) {
        if (distance(name, one->name) < distance(name, best->name)) {
            best = one;
        }
    }
    return best->name;
}

static const struct bench_case *find_case(const char *name)
{
    for (const struct bench_case *one = bench_cases; one->name != NULL; one++) {
        if (strcmp(one->name, name) == 0) {
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

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number_out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || number < min || number > max) {
        fprintf(stderr, "roost bench: \"%s\" is not a number from %llu to %llu\n", text, (unsigned long long)min,
                (unsigned long long)max);
        return false;
    }
    *number_out = number;
    return true;
}

/* 0: run; else the exit status plus one. */
static int parse_options(int argc, char **argv, struct bench *bench)
{
    static const struct option known[] = { { "json", no_argument, NULL, 'j' },
                                           { "bytes", required_argument, NULL, 'b' },
                                           { "runs", required_argument, NULL, 'r' },
                                           { "help", no_argument, NULL, 'h' },
                                           { 0 } };
    uint64_t runs = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            print_help(stdout);
            return 1;
        }
        if ((option == 'b' && !parse_number(optarg, LARGE_BYTES_MIN, UINT64_C(1) << 40, &bench->large_bytes)) ||
            (option == 'r' && !parse_number(optarg, 1, RUNS_MAX, &runs)) || option == '?') {
            return 3;
        }
        bench->json |= option == 'j';
    }
    bench->runs = (int)runs;
    for (int i = optind; i < argc; i++) {
        if (find_case(argv[i]) == NULL) {
            fprintf(stderr, "roost bench: there is no case \"%s\"; the nearest is \"%s\"\n", argv[i],
                    nearest_name(argv[i]));
            return 3;
        }
    }
    return 0;
}

static bool run_case(const struct bench_case *one, struct bench *bench)
{
    bench->now = one->name;
    int status = one->run(bench);
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
    int leave = parse_options(argc, argv, &bench);
    if (leave != 0) {
        return leave - 1;
    }
    find_cores(bench.cores);
    bool good = true;
    for (const struct bench_case *one = bench_cases; optind == argc && one->name != NULL; one++) {
        good &= run_case(one, &bench);
    }
    for (int i = optind; i < argc; i++) {
        good &= run_case(find_case(argv[i]), &bench);
    }
    return good ? 0 : 1;
}
