/* fibers.c - ucontext fibers under a seeded scheduler
 *
 * At each yield point the running fiber either goes on or swaps to the scheduler, which picks any fiber that can go on.
 * How often it swaps is part of the seed: from always to one point in 32, because some faults need many switches and
 * some need long runs. */
#include "tests/lib/fibers.h"
#include "tests/lib/test.h"

#include <string.h>
#include <ucontext.h>

enum { FIBER_STACK_BYTES = 128 << 10, CLOCK_STEP_NS = 200, LOCKS_MAX = 16 };

struct fiber {
    ucontext_t context;
    unsigned char *stack;
    void (*run)(void *arg);
    void *arg;
    uint64_t step, kill_at;
    bool ended, killed, futex_asleep;
    bool (*ready)(void *arg); /* waits for this; NULL: runnable */
    void *ready_arg;
    _Atomic uint32_t *futex;
    uint64_t wake_at_ns;
};

static struct {
    struct fiber fibers[FIBERS_MAX];
    unsigned count, current, swap_one_in;
    bool inside, timeouts;
    uint64_t random, now_ns, yield_ns;
    const void *locks[LOCKS_MAX]; /* that are held */
    ucontext_t scheduler;
} world;

uint64_t fibers_random(uint64_t end)
{
    world.random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Steele et al. 2014 */
    uint64_t z = world.random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % end;
}

void fibers_begin(uint64_t seed)
{
    for (unsigned i = 0; i < FIBERS_MAX; i++) {
        unsigned char *stack = world.fibers[i].stack;
        world.fibers[i] = (struct fiber){ .stack = stack };
    }
    world.count = 0;
    world.random = seed;
    world.now_ns = 1000000000;
    world.yield_ns = CLOCK_STEP_NS;
    world.timeouts = false;
    memset(world.locks, 0, sizeof world.locks);
    world.swap_one_in = 1u << (2 * fibers_random(4)) >> 1 | 1; /* 1, 3, 9, 33 */
}

void fibers_add(void (*run)(void *arg), void *arg)
{
    CHECK(world.count < FIBERS_MAX);
    struct fiber *fiber = &world.fibers[world.count++];
    fiber->run = run;
    fiber->arg = arg;
    if (fiber->stack == NULL) {
        fiber->stack = malloc(FIBER_STACK_BYTES); /* kept until the process ends */
        CHECK(fiber->stack != NULL);
    }
}

void fibers_kill_at(unsigned fiber, uint64_t step) { world.fibers[fiber].kill_at = step; }

bool fibers_is_killed(unsigned fiber) { return world.fibers[fiber].killed; }

void fibers_kill(unsigned fiber)
{
    CHECK(fiber != world.current && fiber < world.count);
    world.fibers[fiber].killed = true;
}

void fibers_set_yield_ns(uint64_t ns) { world.yield_ns = ns; }

void fibers_set_timeouts(bool wanted) { world.timeouts = wanted; }

static void enter(void)
{
    struct fiber *fiber = &world.fibers[world.current];
    fiber->run(fiber->arg);
    fiber->ended = true;
    swapcontext(&fiber->context, &world.scheduler);
}

static void to_scheduler(void)
{
    world.inside = false;
    swapcontext(&world.fibers[world.current].context, &world.scheduler);
}

void fibers_yield(void)
{
    if (!world.inside) {
        return;
    }
    struct fiber *fiber = &world.fibers[world.current];
    if (++fiber->step == fiber->kill_at) {
        fiber->killed = true;
        to_scheduler();
    }
    if (fibers_random(world.swap_one_in) == 0) {
        to_scheduler();
    }
}

void fibers_wait(bool (*ready)(void *arg), void *arg)
{
    struct fiber *fiber = &world.fibers[world.current];
    fiber->ready = ready;
    fiber->ready_arg = arg;
    to_scheduler();
}

/* ---- mutexes ---- */

/* The place of a mutex that is held, or (NULL) one where none is. */
static const void **find_lock(const void *mutex)
{
    for (unsigned i = 0; i < LOCKS_MAX; i++) {
        if (world.locks[i] == mutex) {
            return &world.locks[i];
        }
    }
    return NULL;
}

static bool is_free(void *mutex) { return find_lock(mutex) == NULL; }

bool fibers_try_lock(const void *mutex)
{
    fibers_yield();
    if (find_lock(mutex) != NULL) {
        return false;
    }
    const void **place = find_lock(NULL);
    CHECK(place != NULL);
    *place = mutex;
    fibers_yield();
    return true;
}

void fibers_lock(const void *mutex)
{
    while (!fibers_try_lock(mutex)) {
        CHECK(world.inside); /* else nobody would ever give it back */
        fibers_wait(is_free, (void *)(uintptr_t)mutex);
    }
}

void fibers_unlock(const void *mutex)
{
    fibers_yield();
    const void **place = find_lock(mutex);
    CHECK(place != NULL);
    *place = NULL;
    fibers_yield();
}

static bool can_go_on(struct fiber *fiber)
{
    if (fiber->ended || fiber->killed || fiber->futex_asleep) {
        return false;
    }
    if (fiber->ready != NULL && !fiber->ready(fiber->ready_arg)) {
        return false;
    }
    fiber->ready = NULL;
    return true;
}

/* Everybody sleeps: let the first bound pass. */
static bool let_time_pass(void)
{
    struct fiber *first = NULL;
    for (unsigned i = 0; i < world.count && world.timeouts; i++) {
        struct fiber *fiber = &world.fibers[i];
        if (fiber->futex_asleep && !fiber->killed && (first == NULL || fiber->wake_at_ns < first->wake_at_ns)) {
            first = fiber;
        }
    }
    if (first == NULL) {
        return false;
    }
    world.now_ns = first->wake_at_ns;
    first->futex_asleep = false;
    return true;
}

static enum fibers_end end_of_run(void)
{
    for (unsigned i = 0; i < world.count; i++) {
        if (!world.fibers[i].ended && !world.fibers[i].killed) {
            return FIBERS_STUCK;
        }
    }
    return FIBERS_DONE;
}

/* Functions of their own around getcontext() and swapcontext(), which return twice: no local of a loop crosses them. */
static void prepare(struct fiber *fiber)
{
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = FIBER_STACK_BYTES;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, enter, 0);
}

static void give_turn(void)
{
    world.inside = true;
    swapcontext(&world.scheduler, &world.fibers[world.current].context);
    world.inside = false;
}

/* False when nobody can go on. */
static bool pick_next(void)
{
    unsigned able[FIBERS_MAX], able_count = 0;
    for (unsigned i = 0; i < world.count; i++) {
        if (can_go_on(&world.fibers[i])) {
            able[able_count++] = i;
        }
    }
    if (able_count > 0) {
        world.current = able[fibers_random(able_count)];
    }
    return able_count > 0;
}

enum fibers_end fibers_run(void)
{
    for (unsigned i = 0; i < world.count; i++) {
        prepare(&world.fibers[i]);
    }
    for (uint64_t turn = 0; turn < FIBERS_STEPS_MAX; turn++) {
        if (pick_next()) {
            give_turn();
        } else if (!let_time_pass()) {
            return end_of_run();
        }
    }
    return FIBERS_ENDLESS;
}

/* ---- hooks ---- */

uint64_t hook_now_ns(void) { return world.now_ns += CLOCK_STEP_NS; }

void hook_yield(void)
{
    world.now_ns += world.yield_ns;
    fibers_yield();
}

void hook_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct fiber *fiber = &world.fibers[world.current];
    if (atomic_load(word) != value) {
        return;
    }
    fiber->futex = word;
    fiber->wake_at_ns = world.now_ns + timeout_ns;
    fiber->futex_asleep = true;
    to_scheduler();
}

void hook_futex_wake(_Atomic uint32_t *word)
{
    for (unsigned i = 0; i < world.count; i++) {
        struct fiber *fiber = &world.fibers[i];
        if (fiber->futex_asleep && fiber->futex == word) {
            fiber->futex_asleep = false;
        }
    }
}
