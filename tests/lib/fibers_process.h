/* fibers_process.h - what stands before a file of libroost that is compiled again for fibers
 *
 * Mutexes, clocks and naps become those of tests/lib/fibers.h; what only a real agent can answer (memory over its socket,
 * whether it lives) becomes the test's own. Included by the compiler, before everything else in the file. */
#ifndef ROOST_TESTS_LIB_FIBERS_PROCESS_H
#define ROOST_TESTS_LIB_FIBERS_PROCESS_H

#include "tests/lib/fibers.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

static inline int fibers_mutex_lock(pthread_mutex_t *mutex)
{
    fibers_lock(mutex);
    return 0;
}
static inline int fibers_mutex_trylock(pthread_mutex_t *mutex) { return fibers_try_lock(mutex) ? 0 : 1; }
static inline int fibers_mutex_unlock(pthread_mutex_t *mutex)
{
    fibers_unlock(mutex);
    return 0;
}

static inline int fibers_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    uint64_t ns = hook_now_ns();
    *now = (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    return 0;
}

static inline int fibers_sched_yield(void)
{
    hook_yield();
    return 0;
}

/* As long as a yield takes, or longer: others go on meanwhile. */
static inline int fibers_nanosleep(const struct timespec *pause, struct timespec *left)
{
    (void)pause, (void)left;
    return fibers_sched_yield();
}

#define pthread_mutex_lock    fibers_mutex_lock
#define pthread_mutex_trylock fibers_mutex_trylock
#define pthread_mutex_unlock  fibers_mutex_unlock
#define clock_gettime         fibers_clock_gettime
#define sched_yield           fibers_sched_yield
#define nanosleep             fibers_nanosleep

/* Of api/agent_link.c. */
#define link_check_peer fibers_check_peer
#define link_lease_map  fibers_lease_map

#endif
