/* metg_peak.c - see the header. Threads rather than processes: the peers' programs cannot all be forked. */
#include "tests/bench/metg_peak.h"
#include "common/error.h"
#include "tests/bench/metg_kernel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

enum { ITERATIONS = 20000000 };

struct worker {
    pthread_t thread;
    int core; /* -1: any */
    double rate;
};

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *compute(void *arg)
{
    struct worker *worker = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (worker->core >= 0) {
        CPU_SET((size_t)worker->core, &set);
        (void)sched_setaffinity(0, sizeof set, &set); /* a core that has gone: wherever the kernel puts it */
    }
    double started = now_seconds();
    volatile double result = metg_kernel(ITERATIONS);
    (void)result;
    worker->rate = metg_kernel_flop(ITERATIONS) / (now_seconds() - started);
    return NULL;
}

int metg_cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < METG_CORES_MAX ? count : METG_CORES_MAX;
}

static void place(struct worker workers[METG_CORES_MAX], int cores)
{
    cpu_set_t set;
    int found = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int core = 0; core < CPU_SETSIZE && found < cores; core++) {
            if (CPU_ISSET((size_t)core, &set)) {
                workers[found++].core = core;
            }
        }
    }
    while (found < cores) {
        workers[found++].core = -1;
    }
}

int metg_peak(int cores, double *rate_out)
{
    struct worker workers[METG_CORES_MAX];
    int started_count = 0, failed = 0;
    place(workers, cores);
    while (started_count < cores && failed == 0) {
        failed = pthread_create(&workers[started_count].thread, NULL, compute, &workers[started_count]);
        started_count += failed == 0;
    }
    double rate = 0;
    for (int i = 0; i < started_count; i++) {
        pthread_join(workers[i].thread, NULL);
        rate += workers[i].rate;
    }
    if (failed != 0) {
        errno = failed;
        return error_from_errno("a thread for core %d of %d", started_count, cores);
    }
    *rate_out = rate;
    return 0;
}
