/* cases_sort.c - a real job: 100-byte records sorted by three nodes, beside GNU sort
 *
 * The example programs `sortgen`, `sort` and `sortcheck` do it; $ROOST_EXAMPLES names their folder, else it is that of
 * the build. Input of --bytes, and four times as much with --bytes of at least 1 GiB where the disk and the memory take
 * it. The cluster stands before the time begins. CPU seconds are those of all processes of the cluster and of the
 * driver. The limit is what GNU sort takes for the same file in turns, with two threads and 128 MB.
 *
 * Failures: no examples -> told on stderr, and no lines. A program that fails, or a result that is not sorted -> a
 *           status.
 * Invariants: everything lies in a folder of its own below $TMPDIR. A shell that waits for our end removes it, however we
 *           end.
 * Thread:     the driver's. */
#include "common/error.h"
#include "objectstore/segment.h"
#include "tests/bench/bench.h"
#include "tests/bench/process_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODES = 3, RECORD_BYTES = 100, RUNS = 3, COMMAND_BYTES = 4 * PATH_MAX };
#define LARGE_SORT_BYTES (UINT64_C(1) << 30)

extern char **environ;

struct sort {
    struct bench *bench;
    char folder[PATH_MAX], examples[PATH_MAX];
    uint64_t bytes;
    pid_t remover; /* 0: there is no folder */
    int lifeline;  /* its standard input */
    char sum[32];
    double cpu_seconds[2]; /* of the last run: the cluster's, GNU sort's */
    struct line wall, cpu;
};

/* Runs a shell's command line; *seconds_out is the user and system time of it and what it waited for. */
static int run_command(const char *command, double *seconds_out)
{
    char *const words[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)command, NULL };
    struct rusage usage;
    pid_t pid;
    int wait_status = 0, failed = posix_spawn(&pid, "/bin/sh", NULL, NULL, words, environ);
    if (failed != 0) {
        errno = failed;
        return error_from_errno("starting a shell");
    }
    while (wait4(pid, &wait_status, 0, &usage) < 0) {
        if (errno != EINTR) {
            return error_from_errno("waiting for a shell");
        }
    }
    *seconds_out = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    return wait_status == 0 ? 0 : error_set(ROOST_EIO, "it failed: %.400s", command);
}

static int run_format(double *seconds_out, const char *format, ...) ROOST_PRINTF(2, 3);
static int run_format(double *seconds_out, const char *format, ...)
{
    static char command[COMMAND_BYTES];
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return bytes < (int)sizeof command ? run_command(command, seconds_out)
                                       : error_set(ROOST_ETOOBIG, "a command line is too long");
}

static double cluster_cpu(struct bench *bench)
{
    static const char *const nobody[] = { NULL };
    struct process_use use;
    process_tree_use(bench->cluster, nobody, &use);
    return use.cpu_seconds;
}

static int sort_on_cluster(struct sort *sort, double *ns_out)
{
    double driver = 0, ignored, before = cluster_cpu(sort->bench), started = bench_now_ns();
    ROOST_TRY(run_format(&driver, "'%s/sort' --input '%s/in' --output '%s/out' >/dev/null", sort->examples,
                         sort->folder, sort->folder));
    *ns_out = bench_now_ns() - started;
    sort->cpu_seconds[0] = driver + cluster_cpu(sort->bench) - before;
    ROOST_TRY(run_format(&ignored, "'%s/sortcheck' --input-sum %s '%s'/out/part-* >/dev/null", sort->examples,
                         sort->sum, sort->folder));
    return run_format(&ignored, "rm -rf '%s/out'", sort->folder);
}

static int sort_by_gnu(struct sort *sort, double *ns_out)
{
    double ignored, started = bench_now_ns();
    ROOST_TRY(run_format(&sort->cpu_seconds[1], "LC_ALL=C sort --parallel=2 -S 128M -T '%s' -o '%s/gnu' '%s/in'",
                         sort->folder, sort->folder, sort->folder));
    *ns_out = bench_now_ns() - started;
    return run_format(&ignored, "rm -f '%s/gnu'", sort->folder);
}

static int make_input(struct sort *sort)
{
    double ignored;
    char path[PATH_MAX + 8];
    ROOST_TRY(run_format(&ignored, "'%s/sortgen' --checksum %" PRIu64 " '%s/in' >'%s/sum'", sort->examples,
                         sort->bytes / RECORD_BYTES, sort->folder, sort->folder));
    snprintf(path, sizeof path, "%s/sum", sort->folder);
    FILE *from = fopen(path, "re");
    if (from == NULL || fscanf(from, "%31s", sort->sum) != 1) {
        sort->sum[0] = '\0';
    }
    if (from != NULL) {
        fclose(from);
    }
    return sort->sum[0] != '\0' ? 0 : error_set(ROOST_EIO, "sortgen told no checksum");
}

/* In a session of its own: what ends us from a terminal does not end it. What we leave behind may write for a moment. */
static int make_folder(struct sort *sort)
{
    char *const words[] = {
        (char *)"sh", (char *)"-c",
        (char *)"read -r end; for i in 1 2 3 4 5 6 7 8 9; do rm -rf \"$0\" && exit; sleep 1; done; exit 1",
        sort->folder, NULL
    };
    int ends[2];
    if (mkdtemp(sort->folder) == NULL) {
        return error_from_errno("making %s", sort->folder);
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        rmdir(sort->folder);
        return error_from_errno("a pipe");
    }
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0); /* who reads ours may go on */
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int failed = posix_spawn(&sort->remover, "/bin/sh", &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[0]);
    if (failed != 0) {
        close(ends[1]);
        rmdir(sort->folder);
        sort->remover = 0;
        errno = failed;
        return error_from_errno("starting a shell");
    }
    sort->lifeline = ends[1];
    return 0;
}

static void remove_folder(struct sort *sort)
{
    int wait_status = 0;
    if (sort->remover == 0) {
        return;
    }
    close(sort->lifeline);
    waitpid(sort->remover, &wait_status, 0);
    if (wait_status != 0) {
        fprintf(stderr, "roost bench: sort: %s could not be removed\n", sort->folder);
    }
}

static int measure(struct sort *sort)
{
    int runs = bench_runs(sort->bench, RUNS);
    sort->bench->now = sort->wall.name;
    ROOST_TRY(make_input(sort));
    ROOST_TRY(session_open_nodes(sort->bench, NODES, sort->bytes * 2 / NODES + SESSION_SPARE_BYTES));
    for (int run = -1; run < runs; run++) { /* the first reads the input into the page cache */
        double found = 0, limit = 0;
        report_progress(sort->bench, run < 0 ? 0 : run, runs);
        ROOST_TRY(sort_on_cluster(sort, &found));
        ROOST_TRY(sort_by_gnu(sort, &limit));
        if (run >= 0) {
            samples_add(&sort->wall.found, found);
            samples_add(&sort->wall.limit, limit);
            samples_add(&sort->cpu.found, sort->cpu_seconds[0] * 1e9);
            samples_add(&sort->cpu.limit, sort->cpu_seconds[1] * 1e9);
        }
    }
    return 0;
}

static int sort_bytes(struct bench *bench, const char *examples, uint64_t bytes, const char *wall, const char *cpu)
{
    const char *temporary = getenv("TMPDIR");
    struct sort *sort = calloc(1, sizeof *sort);
    if (sort == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a sort");
    }
    *sort = (struct sort){
        .bench = bench, .bytes = bytes, .wall = { .name = wall, .unit = "s" }, .cpu = { .name = cpu, .unit = "s" }
    };
    snprintf(sort->examples, sizeof sort->examples, "%s", examples);
    snprintf(sort->folder, sizeof sort->folder, "%s/roost-bench-XXXXXX", temporary == NULL ? "/tmp" : temporary);
    int status = make_folder(sort);
    status = status == 0 ? measure(sort) : status;
    session_close(bench);
    if (status == 0) {
        status = report_line(bench, &sort->wall);
        status = status == 0 ? report_line(bench, &sort->cpu) : status;
    }
    samples_fini(&sort->wall.found);
    samples_fini(&sort->wall.limit);
    samples_fini(&sort->cpu.found);
    samples_fini(&sort->cpu.limit);
    remove_folder(sort);
    free(sort);
    return status;
}

/* Input, output and GNU sort's own files on the disk; stores and page cache in memory. */
static bool fits(uint64_t bytes)
{
    const char *temporary = getenv("TMPDIR");
    struct statvfs disk;
    struct memory_facts facts = { .processes = 2 };
    return statvfs(temporary == NULL ? "/tmp" : temporary, &disk) == 0 && disk.f_bavail * disk.f_frsize > 4 * bytes &&
           memory_facts_read(&facts, "") == 0 && facts.available > 4 * bytes;
}

static bool find_examples(char examples_out[PATH_MAX])
{
    char self[PATH_MAX], program[PATH_MAX + 8];
    const char *named = getenv("ROOST_EXAMPLES");
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    self[bytes > 0 ? bytes : 0] = '\0';
    char *end = strrchr(self, '/');
    if (end != NULL) {
        *end = '\0';
    }
    int used = named != NULL ? snprintf(examples_out, PATH_MAX, "%s", named)
                             : snprintf(examples_out, PATH_MAX, "%.*s/../../examples", PATH_MAX - 32, self);
    snprintf(program, sizeof program, "%.*s/sortgen", PATH_MAX - 1, examples_out);
    return used < PATH_MAX && access(program, X_OK) == 0;
}

int case_sort(struct bench *bench)
{
    char examples[PATH_MAX];
    if (!find_examples(examples)) {
        fprintf(stderr, "roost bench: sort: no example programs in %s; set ROOST_EXAMPLES to their folder\n", examples);
        return 0;
    }
    ROOST_TRY(sort_bytes(bench, examples, bench->large_bytes / RECORD_BYTES * RECORD_BYTES, "sort/wall", "sort/cpu"));
    uint64_t more = 4 * bench->large_bytes / RECORD_BYTES * RECORD_BYTES;
    if (bench->large_bytes < LARGE_SORT_BYTES || !fits(more)) {
        return 0;
    }
    return sort_bytes(bench, examples, more, "sort/wall_4x", "sort/cpu_4x");
}
