/* doorbell.c - the two bells and the way to wait
 *
 * Owns the protocol of the flag words and the policy of pausing, yielding and sleeping.
 *
 *     ringer:   publish -> full barrier -> read flag -> (set?) clear it, wake
 *     sleeper:  set flag -> full barrier -> look again -> sleep while the flag is still set
 *
 * Happy path: a busy sleeper is never rung: the ringer pays a barrier and a read.
 * Failures:   rung between the second look and the sleep -> the kernel compares the word and does not sleep.
 *             ringer killed between clearing and waking  -> the sleeper's bound, or the agent's doorbell_ring_always().
 *             a flag that is set for ever                -> the ringer pays a system call each time, nothing else.
 * Invariants: a sleeper that is asleep with nothing published has its flag set.
 * Thread:     a bell has one sleeper and any number of ringers.
 *
 * The agent's word is different, for two reasons: clients must not be able to write it (one client could silence the
 * others), and each client has an eventfd of its own (so that the agent knows where to look). So ringers do not clear
 * it; instead each sleep has a number and a client rings once in it. Skipping is safe: whoever reads number n after its
 * publish precedes the agent's move to n + 1, and the agent looks at the rings after that move. */
#include "common/doorbell.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/thread_hooks.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* ---- towards a thread ---- */

/* False when another ringer was faster. */
static bool wake(struct doorbell *bell)
{
    ROOST_YIELD_POINT();
    /* release: who finds the word cleared sees what was published before it was */
    bool was_set = atomic_exchange_explicit(&bell->sleeping, 0, memory_order_release) != 0;
    ROOST_YIELD_POINT();
    if (was_set) {
        hook_futex_wake(&bell->sleeping);
    }
    return was_set;
}

bool doorbell_ring(struct doorbell *bell)
{
    full_barrier(); /* what was published is visible before the flag is read */
    ROOST_YIELD_POINT();
    /* relaxed: after the barrier */
    return atomic_load_explicit(&bell->sleeping, memory_order_relaxed) != 0 && wake(bell);
}

void doorbell_ring_always(struct doorbell *bell)
{
    full_barrier();
    ROOST_YIELD_POINT();
    atomic_store_explicit(&bell->sleeping, 0, memory_order_release); /* release: as in wake() */
    ROOST_YIELD_POINT();
    hook_futex_wake(&bell->sleeping);
}

void doorbell_arm(struct doorbell *bell)
{
    ROOST_YIELD_POINT();
    atomic_store_explicit(&bell->sleeping, 1, memory_order_relaxed); /* relaxed: the barrier follows */
    full_barrier();                                                  /* the flag is visible before the second look */
    ROOST_YIELD_POINT();
}

void doorbell_disarm(struct doorbell *bell)
{
    ROOST_YIELD_POINT();
    atomic_store_explicit(&bell->sleeping, 0, memory_order_relaxed); /* relaxed: a ring too many does no harm */
}

bool doorbell_sleep(struct doorbell *bell, uint64_t timeout_ns)
{
    ROOST_YIELD_POINT();
    hook_futex_wait(&bell->sleeping, 1, timeout_ns < WAIT_SLEEP_NS_MAX ? timeout_ns : WAIT_SLEEP_NS_MAX);
    ROOST_YIELD_POINT();
    /* acquire: pairs with the ringer's release, so that the next look finds what was published */
    return atomic_exchange_explicit(&bell->sleeping, 0, memory_order_acquire) == 0;
}

/* ---- towards the agent ---- */

static void next_number(struct agent_bell *bell, bool asleep)
{
    /* relaxed: the agent alone writes it, and the barrier follows */
    uint64_t number = atomic_load_explicit(&bell->sleep_number, memory_order_relaxed);
    if ((number & 1) != asleep) {
        ROOST_YIELD_POINT();
        atomic_store_explicit(&bell->sleep_number, number + 1, memory_order_relaxed);
    }
    full_barrier(); /* the number is visible before the rings are looked at */
    ROOST_YIELD_POINT();
}

void agent_bell_asleep(struct agent_bell *bell) { next_number(bell, true); }

void agent_bell_awake(struct agent_bell *bell) { next_number(bell, false); }

int agent_bell_open_event(int *fd_out)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return error_from_errno("eventfd");
    }
    *fd_out = fd;
    return 0;
}

void agent_bell_ringer_init(struct agent_bell_ringer *ringer, const struct agent_bell *bell, int event_fd)
{
    ringer->bell = bell;
    ringer->event_fd = event_fd;
    atomic_init(&ringer->rung_in, 0); /* an even number is no sleep */
}

bool agent_bell_ring(struct agent_bell_ringer *ringer)
{
    full_barrier(); /* what was published is visible before the number is read */
    ROOST_YIELD_POINT();
    uint64_t number = atomic_load_explicit(&ringer->bell->sleep_number,
                                           memory_order_relaxed); /* relaxed: after the barrier */
    if ((number & 1) == 0 || atomic_load_explicit(&ringer->rung_in, memory_order_relaxed) == number) {
        return false;
    }
    ROOST_YIELD_POINT();
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(ringer->event_fd, &one, sizeof one); /* EAGAIN: it is readable to the brim */
    } while (written < 0 && errno == EINTR);
    ROOST_YIELD_POINT();
    /* Only after the write: another thread may skip its own ring because of it. relaxed: the write was a system call */
    atomic_store_explicit(&ringer->rung_in, number, memory_order_relaxed);
    return true;
}

void agent_bell_clear(int event_fd)
{
    uint64_t count;
    ssize_t got;
    do {
        got = read(event_fd, &count, sizeof count); /* EAGAIN: it was not readable */
    } while (got < 0 && errno == EINTR);
}

/* ---- how long a wake-up takes ---- */

enum { WAKE_PROBES = 5, WAKE_PROBE_NS = 20000, WAKE_NS_MIN = 5000, WAKE_NS_MAX = 200000 };

static _Atomic uint64_t known_wake_ns; /* 0: not measured */

static uint64_t clamp_wake_ns(uint64_t ns)
{
    return ns < WAKE_NS_MIN ? WAKE_NS_MIN : ns > WAKE_NS_MAX ? WAKE_NS_MAX : ns;
}

static uint64_t probe_ns(void)
{
    struct timespec nap = { 0, WAKE_PROBE_NS };
    uint64_t before = hook_now_ns();
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
    uint64_t took = hook_now_ns() - before;
    return took > WAKE_PROBE_NS ? took - WAKE_PROBE_NS : 0;
}

/* How late a short sleep ends: interrupt, halted core, scheduler, as with a futex, and needs no second thread (a
 * library must not start one). The median of a few; the kernel's habit of ending sleeps late on purpose is switched off
 * meanwhile. */
static uint64_t measure_wake_ns(void)
{
    int slack = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t sorted[WAKE_PROBES];
    for (int i = 0; i < WAKE_PROBES; i++) {
        uint64_t ns = probe_ns();
        int at = i;
        for (; at > 0 && sorted[at - 1] > ns; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = ns;
    }
    prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0); /* 0: the thread's default */
    return clamp_wake_ns(sorted[WAKE_PROBES / 2]);
}

uint64_t waiter_wake_ns(void)
{
    uint64_t ns = atomic_load_explicit(&known_wake_ns, memory_order_relaxed); /* relaxed: a number by itself */
    if (ns == 0) {
        ns = measure_wake_ns(); /* two threads may both measure */
        atomic_store_explicit(&known_wake_ns, ns, memory_order_relaxed);
    }
    return ns;
}

void waiter_set_wake_ns(uint64_t wake_ns)
{
    atomic_store_explicit(&known_wake_ns, clamp_wake_ns(wake_ns),
                          memory_order_relaxed); /* relaxed: a number by itself */
}

/* ---- the policy ---- */

void waiter_init(struct waiter *waiter, struct doorbell *bell)
{
    *waiter = (struct waiter){ .bell = bell, .wake_ns = waiter_wake_ns() };
}

void waiter_begin(struct waiter *waiter, int timeout_ms)
{
    ROOST_PRE(!waiter->armed);
    waiter->started_ns = 0;
    waiter->has_slept = waiter->goes_on = false;
    waiter->timeout_ms = timeout_ms;
}

/* A wait without a sleep has saved a wake-up. */
static void count_saving(struct waiter *waiter)
{
    waiter->lost_ns -= waiter->lost_ns < waiter->wake_ns ? waiter->lost_ns : waiter->wake_ns;
}

static void count_stretch(struct waiter *waiter)
{
    if (waiter->armed) {
        doorbell_disarm(waiter->bell);
        waiter->armed = false;
    }
    if (waiter->started_ns != 0 && !waiter->has_slept) {
        count_saving(waiter);
    }
}

void waiter_goes_on(struct waiter *waiter)
{
    count_stretch(waiter);
    waiter->goes_on = waiter->started_ns != 0;
    waiter->has_slept = false;
}

void waiter_end(struct waiter *waiter) { count_stretch(waiter); }

static void start_clock(struct waiter *waiter, uint64_t now_ns)
{
    waiter->started_ns = now_ns;
    waiter->deadline_ns = waiter->timeout_ms < 0 ? UINT64_MAX : now_ns + (uint64_t)waiter->timeout_ms * 1000000u;
}

/* What a yield took beyond a wake-up is lost: others computed here. More of that than waits without a sleep have saved:
 * for a while a sleep is cheaper for all. */
static void count_loss(struct waiter *waiter, uint64_t took_ns, uint64_t now_ns)
{
    waiter->lost_ns += took_ns > waiter->wake_ns ? took_ns - waiter->wake_ns : 0;
    if (waiter->lost_ns > WAIT_LOST_WAKES_MAX * waiter->wake_ns) {
        waiter->lost_ns = 0;
        waiter->yield_banned_until_ns = now_ns + WAIT_YIELD_BAN_NS;
    }
}

/* True when it is too early to sleep: this call has given up the processor instead. */
static bool try_yield(struct waiter *waiter, uint64_t now_ns)
{
    if (now_ns - waiter->started_ns >= WAIT_PAUSE_NS + waiter->wake_ns || now_ns < waiter->yield_banned_until_ns) {
        return false;
    }
    hook_yield();
    waiter->yields++;
    uint64_t after_ns = hook_now_ns();
    count_loss(waiter, after_ns - now_ns, after_ns);
    return true;
}

/* The bell is armed and the second look found nothing. */
static int sleep_armed(struct waiter *waiter, uint64_t now_ns)
{
    uint64_t left_ns = waiter->deadline_ns - now_ns;
    waiter->armed = false;
    waiter->has_slept = true;
    waiter->sleeps++;
    if (doorbell_sleep(waiter->bell, left_ns)) {
        waiter->wakes++;
        return 0;
    }
    return hook_now_ns() - now_ns >= WAIT_SLEEP_NS_MAX ? WAITER_LOOK : 0;
}

int waiter_pause(struct waiter *waiter)
{
    uint64_t now_ns = hook_now_ns();
    if (waiter->started_ns == 0) {
        start_clock(waiter, now_ns);
    } else if (waiter->goes_on) {
        waiter->started_ns = now_ns;
    }
    waiter->goes_on = false;
    if (now_ns >= waiter->deadline_ns) {
        return ROOST_ETIMEDOUT;
    }
    if (waiter->armed) {
        return sleep_armed(waiter, now_ns);
    }
    if (now_ns - waiter->started_ns < WAIT_PAUSE_NS) {
        hook_spin();
        return 0;
    }
    if (!try_yield(waiter, now_ns)) {
        doorbell_arm(waiter->bell);
        waiter->armed = true;
    }
    return 0;
}

int waiter_wait(struct waiter *waiter, int timeout_ms, bool (*ready)(void *arg), void *arg)
{
    int status = 0;
    waiter_begin(waiter, timeout_ms);
    for (;;) {
        if (ready(arg)) {
            status = 0;
            break;
        }
        if (status == ROOST_ETIMEDOUT) {
            break;
        }
        status = waiter_pause(waiter);
    }
    waiter_end(waiter);
    return status;
}
