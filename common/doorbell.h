/* doorbell.h - how one process waits for another: pause, yield, sleep; and how it is woken
 *
 * Rule of both bells. Ringer: publish, full barrier, read the flag, ring only if it is set. Sleeper: set the flag, full
 * barrier, look again, sleep. Whatever the order, one of the two sees the other. Every sleep is bounded
 * (WAIT_SLEEP_NS_MAX), so that a peer that died between its two steps costs a second, not for ever. */
#ifndef ROOST_COMMON_DOORBELL_H
#define ROOST_COMMON_DOORBELL_H

#include "common/limits.h"

#include <roost.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- towards a thread of a client: a futex word in shared memory ---- */

/* One per waiting thread, zero to begin with. Two threads must not sleep on one bell. On a cache line with nothing that
 * is written often. */
struct doorbell {
    _Atomic uint32_t sleeping; /* 1: somebody sleeps here or is about to */
};

/* After publishing. True when this call woke a sleeper, or kept one from falling asleep; a system call only then. Any
 * process, any thread. */
bool doorbell_ring(struct doorbell *bell);

/* Would a ring wake somebody? After a full barrier behind the publishing, as a reason to ring later. */
static inline bool doorbell_is_armed(const struct doorbell *bell)
{
    return atomic_load_explicit(&bell->sleeping, memory_order_relaxed) != 0; /* relaxed: after the caller's barrier */
}

/* Wake whoever sleeps, whatever the flag says. For the agent after a death: a ringer killed between clearing the flag
 * and waking leaves a sleeper that doorbell_ring() cannot see. */
void doorbell_ring_always(struct doorbell *bell);

/* The sleeper's steps; waiter_pause() is made of them. Arm, look again, then sleep (or disarm). doorbell_sleep()
 * returns true when it was rung, false after timeout_ns (at most WAIT_SLEEP_NS_MAX is slept); the bell is not armed
 * afterwards. */
void doorbell_arm(struct doorbell *bell);
void doorbell_disarm(struct doorbell *bell);
bool doorbell_sleep(struct doorbell *bell, uint64_t timeout_ns);

/* ---- towards the agent: a word that only the agent writes, and an eventfd per client ---- */

/* In memory that clients may only read, one per agent, zero to begin with. Odd while the agent sleeps; a number of its
 * own for each sleep, so that a client rings once per sleep. */
struct agent_bell {
    _Atomic uint64_t sleep_number;
};

/* Agent, before epoll_wait: then look at every ring again, and call agent_bell_awake() instead of sleeping if one is
 * not empty. After epoll_wait: agent_bell_awake() first, then agent_bell_clear() the fds that are readable, then drain.
 */
void agent_bell_asleep(struct agent_bell *bell);
void agent_bell_awake(struct agent_bell *bell);

/* A client's way to ring; shared by its threads. */
struct agent_bell_ringer {
    const struct agent_bell *bell;
    int event_fd;             /* borrowed */
    _Atomic uint64_t rung_in; /* the last sleep that this client has rung in */
};

/* A new non-blocking, close-on-exec eventfd, owned by the caller. ROOST_EIO with a text. */
int agent_bell_open_event(int *fd_out);
void agent_bell_ringer_init(struct agent_bell_ringer *ringer, const struct agent_bell *bell, int event_fd);

/* After publishing. True when the eventfd was written; a system call only then. Any thread. */
bool agent_bell_ring(struct agent_bell_ringer *ringer);

/* Make the eventfd unreadable again. */
void agent_bell_clear(int event_fd);

/* ---- how to wait ---- */

/* One per waiting thread, kept between waits: it remembers that yielding was slow.
 *
 *     waiter_begin(&waiter, timeout_ms);
 *     while (!ready()) {
 *         if ((status = waiter_pause(&waiter)) == ROOST_ETIMEDOUT) { break; }
 *     }
 *     waiter_end(&waiter);
 *
 * Who makes ready() true rings `bell` afterwards. waiter_pause() pauses the processor for the first WAIT_PAUSE_NS, then
 * gives up the processor for as long as a wake-up takes, then arms the bell (and returns, for a second look), then
 * sleeps. Yields that take longer than a wake-up, because others compute on this processor, forbid yielding for a while
 * once they have lost more time than was saved by waits that needed no sleep. */
struct waiter {
    struct doorbell *bell;
    uint64_t started_ns, deadline_ns; /* started_ns is 0 until the first pause */
    uint64_t yield_banned_until_ns;
    uint64_t wake_ns; /* waiter_wake_ns() */
    int timeout_ms;
    bool armed;
    bool has_slept; /* in this wait, since it went on */
    bool goes_on;
    uint64_t lost_ns;               /* by yields, and not yet saved again */
    uint64_t yields, sleeps, wakes; /* wakes: sleeps ended by a ring */
};

enum { WAITER_LOOK = 1 }; /* waiter_pause(): a whole WAIT_SLEEP_NS_MAX passed in silence */

/* `bell` is borrowed for the waiter's life. The first one of a process may measure waiter_wake_ns(). */
void waiter_init(struct waiter *waiter, struct doorbell *bell);

/* timeout_ms: 0 looks once; negative waits for ever. Reads no clock: a wait that is over at the first look costs
 * nothing. */
void waiter_begin(struct waiter *waiter, int timeout_ms);

/* 0: look again. WAITER_LOOK: look again, also whether the peer lives. ROOST_ETIMEDOUT. Sleeps at most
 * WAIT_SLEEP_NS_MAX. */
int waiter_pause(struct waiter *waiter);
/* Not yet ready, but nearer: it pauses, yields and sleeps from the beginning. */
void waiter_goes_on(struct waiter *waiter);
void waiter_end(struct waiter *waiter);

/* The loop above. 0, or ROOST_ETIMEDOUT (ready() was false at the last look). ready() is called on this thread, at
 * least once, also after each silent second. */
int waiter_wait(struct waiter *waiter, int timeout_ms, bool (*ready)(void *arg), void *arg);

/* How long this machine takes to wake a sleeping thread: measured once per process, at the first use (below 1 ms),
 * unless somebody who has measured it set it first: the agent tells its clients. Any thread. */
uint64_t waiter_wake_ns(void);
void waiter_set_wake_ns(uint64_t wake_ns);

#endif
