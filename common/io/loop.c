/* loop.c - the one loop thread of a daemon, on libuv
 *
 * Owns the uv_loop_t and what feeds it. The only file that includes libuv.
 *
 * Happy path: create -> (start, callbacks, close)* inside run -> stop -> destroy.
 * A turn:     prepare sets the timerfd to the earliest deadline or before; poll runs watches, due timers and posted
 *             tasks; check runs the end-of-turn function; libuv then frees closed handles.
 * Failures:   only starting something can fail; a running loop cannot.
 * Timers:     libuv counts milliseconds and orders by them. One timerfd with an absolute time under an own heap gives
 *             nanoseconds, the order that was asked for, and a system call only for a deadline before all others: the
 *             timerfd may fire early, never late.
 * Invariants: posted tasks run in the order of posting; `holds` counts what loop_destroy() must wait for.
 * Thread:     the loop's, except loop_post(), whose queue has a lock of its own.
 */
#include "common/io/loop.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/limits.h"
#include "common/list.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_poll_t timer_poll;
    uv_signal_t signals[2];
    bool uv_is_ready;
    int timer_fd;
    uint64_t timer_fd_at_ns; /* what the timerfd is set to; 0: not set */
    struct timer_heap timers;
    loop_fn *turn_end;
    void *turn_end_arg;
    void (*on_signal)(void *arg, int signal_number);
    void *on_signal_arg;
    unsigned holds;

    pthread_mutex_t lock; /* guards what follows */
    struct loop_task *posted, **posted_end;
};

struct loop_watch {
    uv_poll_t poll;
    struct loop *loop;
    unsigned events;
    loop_watch_fn *fn;
    void *arg;
};

/* The one place where libuv's codes become ours. */
static int error_from_uv(int code, const char *what)
{
    int status = code == UV_ENOMEM ? ROOST_ENOMEM : ROOST_EIO;
    return error_set(status, "%s: %s", what, uv_strerror(code));
}

uint64_t loop_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------ posted tasks */

void loop_post(struct loop *loop, struct loop_task *task)
{
    pthread_mutex_lock(&loop->lock);
    if (task->posted) {
        pthread_mutex_unlock(&loop->lock);
        return;
    }
    bool was_empty = loop->posted == NULL;
    task->posted = true;
    task->next = NULL;
    *loop->posted_end = task;
    loop->posted_end = &task->next;
    if (was_empty) {
        /* Under the lock: once it is released the task may run, and what it ends may end the loop. */
        uv_async_send(&loop->wake);
    }
    pthread_mutex_unlock(&loop->lock);
}

/* What was posted until now; what these post waits for the next turn. */
static struct loop_task *take_posted(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_task *tasks = loop->posted;
    loop->posted = NULL;
    loop->posted_end = &loop->posted;
    pthread_mutex_unlock(&loop->lock);
    return tasks;
}

static void run_posted(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    struct loop_task *task = take_posted(loop);
    while (task != NULL) {
        struct loop_task *next = task->next;
        pthread_mutex_lock(&loop->lock);
        task->posted = false;
        pthread_mutex_unlock(&loop->lock);
        task->run(task->arg);
        task = next;
    }
}

/* ------------------------------------------------------------------------------------------ timers */

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fire, void *arg)
{
    *timer = (struct loop_timer){ .loop = loop, .fire = fire, .arg = arg };
}

void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns)
{
    timer_heap_remove(&timer->loop->timers, &timer->node);
    timer_heap_add(&timer->loop->timers, &timer->node, at_ns);
}

void loop_timer_disarm(struct loop_timer *timer) { timer_heap_remove(&timer->loop->timers, &timer->node); }

/* Timers armed by these callbacks wait for the next turn, so that a timer which arms itself cannot hold the loop. */
static void fire_due(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct loop *loop = poll->data;
    uint64_t expirations;
    ssize_t got = read(loop->timer_fd, &expirations, sizeof expirations);
    (void)got; /* EAGAIN: the deadline was moved after the timerfd had fired; then nothing is due below */
    loop->timer_fd_at_ns = 0;
    uint64_t now_ns = loop_now_ns(), armed_before = loop->timers.added;
    struct timer_node *first;
    while ((first = loop->timers.first) != NULL && first->at_ns <= now_ns && first->order < armed_before) {
        timer_heap_remove(&loop->timers, first);
        struct loop_timer *timer = CONTAINER_OF(first, struct loop_timer, node);
        timer->fire(timer->arg);
    }
}

static void set_timer_fd(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    const struct timer_node *first = loop->timers.first;
    uint64_t at_ns = first == NULL || first->at_ns == 0 ? 1 : first->at_ns; /* 0 would disarm the timerfd */
    if (first == NULL || (loop->timer_fd_at_ns != 0 && loop->timer_fd_at_ns <= at_ns)) {
        return; /* set to no later than that: when nothing is due then, it is set again */
    }
    if (at_ns > INT64_MAX) {
        at_ns = INT64_MAX; /* "never"; the timerfd takes signed seconds */
    }
    struct itimerspec spec = { .it_value = { (time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u) } };
    int failed = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    ROOST_POST(failed == 0);
    loop->timer_fd_at_ns = at_ns;
}

/* ------------------------------------------------------------------------------------------ watches */

static int uv_events_of(unsigned events)
{
    return ((events & LOOP_READ) != 0 ? UV_READABLE : 0) | ((events & LOOP_WRITE) != 0 ? UV_WRITABLE : 0);
}

/* libuv reports a bare EPOLLERR as a failed poll and stops it: the owner reads the reason from the fd itself. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct loop_watch *watch = CONTAINER_OF(poll, struct loop_watch, poll);
    unsigned ready = status < 0 ? watch->events | LOOP_HANGUP : 0;
    ready |= (events & UV_READABLE) != 0 ? LOOP_READ : 0;
    ready |= (events & UV_WRITABLE) != 0 ? LOOP_WRITE : 0;
    ready |= (events & UV_DISCONNECT) != 0 ? LOOP_HANGUP : 0;
    watch->fn(watch->arg, ready);
}

static void poll_wanted(struct loop_watch *watch)
{
    int failed = watch->events == 0 ? uv_poll_stop(&watch->poll)
                                    : uv_poll_start(&watch->poll, uv_events_of(watch->events) | UV_DISCONNECT, on_poll);
    ROOST_POST(failed == 0);
}

int loop_watch_start(struct loop *loop, int fd, unsigned events, loop_watch_fn *fn, void *arg,
                     struct loop_watch **watch_out)
{
    struct loop_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_set(ROOST_ENOMEM, "watching fd %d: out of memory", fd);
    }
    int failed = uv_poll_init(&loop->uv, &watch->poll, fd);
    if (failed != 0) {
        free(watch);
        return error_from_uv(failed, "watching a file descriptor");
    }
    watch->loop = loop;
    watch->events = events;
    watch->fn = fn;
    watch->arg = arg;
    poll_wanted(watch);
    loop_hold(loop);
    *watch_out = watch;
    return 0;
}

void loop_watch_set(struct loop_watch *watch, unsigned events)
{
    if (watch->events != events) {
        watch->events = events;
        poll_wanted(watch);
    }
}

static void free_watch(uv_handle_t *handle)
{
    struct loop_watch *watch = CONTAINER_OF(handle, struct loop_watch, poll);
    loop_release(watch->loop);
    free(watch);
}

void loop_watch_close(struct loop_watch *watch)
{
    if (watch != NULL) {
        uv_close((uv_handle_t *)&watch->poll, free_watch);
    }
}

/* ------------------------------------------------------------------------------------------ signals */

static void on_uv_signal(uv_signal_t *handle, int signal_number)
{
    struct loop *loop = handle->data;
    loop->on_signal(loop->on_signal_arg, signal_number);
}

int loop_on_stop_signal(struct loop *loop, void (*fn)(void *arg, int signal_number), void *arg)
{
    ROOST_PRE(loop->on_signal == NULL);
    signal(SIGPIPE, SIG_IGN);
    static const int numbers[2] = { SIGTERM, SIGINT };
    loop->on_signal = fn;
    loop->on_signal_arg = arg;
    for (int i = 0; i < 2; i++) {
        int failed = uv_signal_init(&loop->uv, &loop->signals[i]);
        if (failed == 0) {
            loop->signals[i].data = loop;
            failed = uv_signal_start(&loop->signals[i], on_uv_signal, numbers[i]);
        }
        if (failed != 0) {
            return error_from_uv(failed, "catching signals");
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ life */

static void end_turn(uv_check_t *check)
{
    struct loop *loop = check->data;
    if (loop->turn_end != NULL) {
        loop->turn_end(loop->turn_end_arg);
    }
}

void loop_on_turn_end(struct loop *loop, loop_fn *fn, void *arg)
{
    loop->turn_end = fn;
    loop->turn_end_arg = arg;
}

void loop_hold(struct loop *loop) { loop->holds++; }

void loop_release(struct loop *loop)
{
    ROOST_PRE(loop->holds > 0);
    loop->holds--;
}

/* The handles that every loop has. */
static int start_handles(struct loop *loop)
{
    int failed = uv_async_init(&loop->uv, &loop->wake, run_posted);
    if (failed != 0) {
        return error_from_uv(failed, "starting a loop");
    }
    loop->wake.data = loop;
    uv_prepare_init(&loop->uv, &loop->prepare);
    loop->prepare.data = loop;
    uv_prepare_start(&loop->prepare, set_timer_fd);
    uv_check_init(&loop->uv, &loop->check);
    loop->check.data = loop;
    uv_check_start(&loop->check, end_turn);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->timer_fd < 0) {
        return error_from_errno("starting a loop: timerfd_create");
    }
    failed = uv_poll_init(&loop->uv, &loop->timer_poll, loop->timer_fd);
    if (failed != 0) {
        return error_from_uv(failed, "starting a loop");
    }
    loop->timer_poll.data = loop;
    uv_poll_start(&loop->timer_poll, UV_READABLE, fire_due);
    return 0;
}

int loop_create(struct loop **loop_out)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return error_set(ROOST_ENOMEM, "starting a loop: out of memory");
    }
    loop->timer_fd = -1;
    loop->posted_end = &loop->posted;
    pthread_mutex_init(&loop->lock, NULL);
    int status;
    int failed = uv_loop_init(&loop->uv);
    if (failed != 0) {
        status = error_from_uv(failed, "starting a loop");
        goto fail;
    }
    loop->uv_is_ready = true;
    status = start_handles(loop);
    if (status != 0) {
        goto fail;
    }
    *loop_out = loop;
    return 0;
fail:
    loop_destroy(loop);
    return status;
}

void loop_run(struct loop *loop) { uv_run(&loop->uv, UV_RUN_DEFAULT); }

void loop_stop(struct loop *loop) { uv_stop(&loop->uv); }

static void give_up(void *arg)
{
    struct loop *loop = arg;
    ROOST_INVARIANT(loop->holds == 0);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    if (loop->uv_is_ready) {
        loop->turn_end = NULL;
        struct loop_timer guard;
        loop_timer_init(&guard, loop, give_up, loop);
        loop_timer_arm(&guard, loop_now_ns() + LOOP_CLOSE_MS * UINT64_C(1000000));
        while (loop->holds > 0) {
            uv_run(&loop->uv, UV_RUN_ONCE);
        }
        loop_timer_disarm(&guard);
        uv_walk(&loop->uv, close_handle, NULL);
        while (uv_loop_alive(&loop->uv)) {
            uv_run(&loop->uv, UV_RUN_DEFAULT);
        }
        int failed = uv_loop_close(&loop->uv);
        ROOST_INVARIANT(failed == 0);
    }
    if (loop->timer_fd >= 0) {
        close(loop->timer_fd);
    }
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
