/* fibers.h - threads that take turns where a seed says
 *
 * A file compiled with ROOST_THREAD_HOOKS="tests/lib/fibers.h" comes here at each ROOST_YIELD_POINT(): another fiber
 * may go on. The same seed gives the same interleaving. Sleeping is a state of a fiber, without a time-out unless one
 * is wanted; when nobody can go on and somebody still sleeps, a wake-up was lost. A fiber can be stopped for ever at
 * one of its yield points, as a process is by SIGKILL. All on one thread: what is tested is the order of steps, not the
 * memory model (that is for tsan). */
#ifndef ROOST_TESTS_LIB_FIBERS_H
#define ROOST_TESTS_LIB_FIBERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { FIBERS_MAX = 8, FIBERS_STEPS_MAX = 100000 };

enum fibers_end {
    FIBERS_DONE,   /* each fiber has returned or was killed */
    FIBERS_STUCK,  /* somebody sleeps and nobody is left to wake him */
    FIBERS_ENDLESS /* FIBERS_STEPS_MAX turns were not enough */
};

/* Forget all fibers and begin anew with a seed. */
void fibers_begin(uint64_t seed);

/* Numbered from 0, before fibers_run(). */
void fibers_add(void (*run)(void *arg), void *arg);

/* Fiber number `fiber` never returns from its `step`-th yield point (from 1). Never reached: it is not killed. */
void fibers_kill_at(unsigned fiber, uint64_t step);
bool fibers_is_killed(unsigned fiber);
/* Now, wherever it stands; not oneself. */
void fibers_kill(unsigned fiber);

/* Runs everything. Call it outside of fibers. */
enum fibers_end fibers_run(void);

/* Inside a fiber: */
void fibers_yield(void); /* does nothing outside */
void fibers_wait(bool (*ready)(void *arg), void *arg);

/* A mutex among fibers, by its address: who waits for it is another fiber's turn. Also outside, where nobody else runs. */
void fibers_lock(const void *mutex);
bool fibers_try_lock(const void *mutex);
void fibers_unlock(const void *mutex);

/* From the same seed: a number below `end`. */
uint64_t fibers_random(uint64_t end);

/* ---- what the hooks of common/thread_hooks.h become ---- */

#define ROOST_YIELD_POINT() fibers_yield()

uint64_t hook_now_ns(void); /* moves on a little with each call */
void hook_yield(void);
void hook_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void hook_futex_wake(_Atomic uint32_t *word);

/* How long a hook_yield() takes from now on. Sleeps end at their bound when nobody else can go on (default: no). */
void fibers_set_yield_ns(uint64_t ns);
void fibers_set_timeouts(bool wanted);

#endif
