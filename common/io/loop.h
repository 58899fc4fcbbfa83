/* loop.h - the one loop thread of a daemon
 *
 * A daemon's state belongs to the thread that runs its loop. Every callback of common/io comes on that thread, one at a
 * time, never from inside the call that asked for it. What other threads have to say comes through loop_post().
 *
 * A turn: wait for events, run their callbacks, run the end-of-turn function. Nothing here may block except loop_run()
 * and loop_destroy().
 *
 * Unless said otherwise a function belongs to the loop's thread, which is the creator's until loop_run() is called. */
#ifndef ROOST_COMMON_IO_LOOP_H
#define ROOST_COMMON_IO_LOOP_H

#include "common/io/timer_heap.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
typedef void loop_fn(void *arg);

/* ROOST_ENOMEM, or ROOST_EIO when the process is out of file descriptors. */
int loop_create(struct loop **loop_out);

/* Everything that was started on the loop must have been closed; this runs turns until the last of it is gone, so
 * callbacks that are still owed (an endpoint's on_closed) come now. The end-of-turn function is not called any more.
 * Something that was never closed is a broken contract after ten seconds. Accepts NULL. Not from a callback. */
void loop_destroy(struct loop *loop);

/* Runs turns on the calling thread until loop_stop(). May be called again afterwards. */
void loop_run(struct loop *loop);

/* loop_run() returns at the end of this turn. */
void loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC, in nanoseconds; the clock of every deadline here. Any thread. */
uint64_t loop_now_ns(void);

/* `fn` is called once at the end of each turn, after all its events: the place to send what the turn has collected.
 * NULL: no more. */
void loop_on_turn_end(struct loop *loop, loop_fn *fn, void *arg);

/* ---- from other threads */

/* Embedded in whatever waits for it; at most once in the queue, so the queue is no longer than there are tasks. */
struct loop_task {
    loop_fn *run;
    void *arg;
    struct loop_task *next;
    bool posted;
};

/* Calls task->run(task->arg) on the loop's thread in a later turn, in the order of posting; once, however often it is
 * posted before it runs. The task is borrowed until then and may be posted again from inside run(). Any thread, also
 * the loop's own. The loop must outlive the call. */
void loop_post(struct loop *loop, struct loop_task *task);

/* ---- timers */

struct loop_timer {
    struct timer_node node;
    struct loop *loop;
    loop_fn *fire;
    void *arg;
};

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fire, void *arg);

/* `fire` is called once, at or after `at_ns`; timers fire in the order of at_ns, equal ones in the order of arming. A
 * time that has passed fires in the next turn. Arming again moves the timer. */
void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns);

/* The timer does not fire after this. No effect on one that is not armed. */
void loop_timer_disarm(struct loop_timer *timer);

/* ---- file descriptors */

enum loop_events {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    LOOP_HANGUP = 4, /* always reported: an error or the other end is gone. Read to the end, then close the watch */
};

struct loop_watch;
typedef void loop_watch_fn(void *arg, unsigned events);

/* Watch `fd`, which becomes non-blocking and stays the caller's: an eventfd, pipe, socket, pidfd; not a file, not a
 * memfd (ROOST_EIO). One watch per fd. Level-triggered: called in each turn in which the fd is ready. */
int loop_watch_start(struct loop *loop, int fd, unsigned events, loop_watch_fn *fn, void *arg,
                     struct loop_watch **watch_out);

/* Wait for other events from now on. 0: for none, not even a hangup. */
void loop_watch_set(struct loop_watch *watch, unsigned events);

/* No callback after this; the fd may be closed at once. Accepts NULL. */
void loop_watch_close(struct loop_watch *watch);

/* ---- signals */

/* SIGTERM and SIGINT call `fn` on the loop's thread, each time, in place of ending the process. SIGPIPE is ignored from
 * here on: that a reader has gone is the error of a write, no end of a daemon. Once per loop.
 * Errors: ROOST_EIO. */
int loop_on_stop_signal(struct loop *loop, void (*fn)(void *arg, int signal_number), void *arg);

/* ---- for what lives on the loop */

/* Something started that loop_destroy() must wait for, and is gone. */
void loop_hold(struct loop *loop);
void loop_release(struct loop *loop);

#endif
