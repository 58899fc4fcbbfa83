/* session.c - the cluster of a case, and where its processes run
 *
 * Owns the one-node cluster of the case that runs, the driver's core and, by a task that moves its own process, the
 * worker's. A worker is the same program, started by the cluster: it never gets past session_open().
 *
 * Failures: a status with its text; what was opened is closed by session_close(), which may be called in any state.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Room beside the objects' own bytes: their table entries, the ends of slabs, results of tasks. */
#define SESSION_SPARE_BYTES (UINT64_C(64) << 20)

double bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int bench_runs(const struct bench *bench, int usual) { return bench->runs > 0 ? bench->runs : usual; }

static void core_set(int core, cpu_set_t *set_out)
{
    CPU_ZERO(set_out);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (core < 0 || i == core) {
            CPU_SET((size_t)i, set_out);
        }
    }
}

int bench_pin(int core)
{
    cpu_set_t set;
    core_set(core, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : error_from_errno("pinning to core %d", core);
}

/* All threads of this worker to that core. */
ROOST_TASK(bench_move);
int bench_move(struct roost_task *task)
{
    cpu_set_t set;
    core_set((int)roost_arg_int(task, 0), &set);
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) {
        return roost_fail(task, 1, "cannot list the worker's threads");
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] != '.') {
            failed |= sched_setaffinity((pid_t)strtol(entry->d_name, NULL, 10), sizeof set, &set);
        }
    }
    closedir(threads);
    return failed == 0 ? 0 : roost_fail(task, 2, "the worker cannot be pinned");
}

ROOST_TASK(bench_nothing);
int bench_nothing(struct roost_task *task)
{
    (void)task;
    return 0;
}

/* The task that does nothing has ended: the worker has started, and will not start in the middle of a measurement. */
static int wait_for_worker(struct bench *bench)
{
    roost_ref ref;
    roost_view view;
    ROOST_TRY(roost_call(bench->rt, bench_nothing, &ref));
    int status = roost_get(bench->rt, ref, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
    }
    roost_free(bench->rt, ref);
    return status;
}

int session_open(struct bench *bench, uint64_t store_bytes, double cpus)
{
    if (getenv("ROOST_WORKER") == NULL) { /* else this is a worker, and roost_open() does not return */
        bench_ready_memory(store_bytes + SESSION_SPARE_BYTES);
    }
    const struct roost_options options = ROOST_OPTIONS(.job_name = "roost-bench",
                                                       .store_bytes = store_bytes + SESSION_SPARE_BYTES, .cpus = cpus);
    ROOST_TRY(roost_open(&bench->rt, &options));
    return wait_for_worker(bench);
}

void session_close(struct bench *bench)
{
    roost_close(bench->rt);
    bench->rt = NULL;
    (void)bench_pin(-1); /* what cannot be undone here is found when the next case pins */
}

int session_place(struct bench *bench, enum bench_placement placement, bool *done_out)
{
    int worker_core = placement == PLACED_FREE ? -1 : bench->cores[placement == PLACED_TWO_CORES ? 1 : 0];
    int driver_core = placement == PLACED_FREE ? -1 : bench->cores[0];
    if (placement != PLACED_FREE && worker_core < 0) {
        *done_out = false;
        return 0;
    }
    ROOST_TRY(bench_pin(driver_core));
    roost_ref moved;
    roost_view view;
    ROOST_TRY(roost_call(bench->rt, bench_move, &moved, worker_core));
    int status = roost_get(bench->rt, moved, &view, BENCH_GET_MS);
    if (status == 0) {
        roost_release(bench->rt, &view);
        *done_out = true;
    }
    roost_free(bench->rt, moved);
    return status;
}

void *bench_map(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); /* fewer faults where there are huge pages; the same figures without */
    memset(memory, 1, bytes);
    return memory;
}

void bench_unmap(void *memory, uint64_t bytes)
{
    if (memory != NULL) {
        munmap(memory, bytes);
    }
}

void bench_ready_memory(uint64_t bytes) { bench_unmap(bench_map(bytes), bytes); }
