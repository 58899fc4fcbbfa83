/* fixture.h - a loop for one test, with a deadline and an end that finds what was left behind */
#ifndef ROOST_TESTS_UNIT_COMMON_IO_FIXTURE_H
#define ROOST_TESTS_UNIT_COMMON_IO_FIXTURE_H

#include "common/error.h"
#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/nng_threads.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <string.h>

enum { FIXTURE_PATIENCE_S = 30 };

/* Present under the address sanitizer. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((__weak__));

static inline int open_fds(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* libnng is not instrumented, so the thread sanitizer does not see the atomic counts by which nng knows that a mutex of
 * its own has no other user when it destroys it. */
__attribute__((__visibility__("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:pthread_mutex_destroy\n"; }

struct fixture {
    struct loop *loop;
    struct loop_timer guard;
    int fds_before;
    const bool *wanted;
};

static inline void fixture_expired(void *arg)
{
    (void)arg;
    bool came_in_time = false;
    CHECK(came_in_time);
}

static inline void fixture_turn_end(void *arg)
{
    struct fixture *fixture = arg;
    if (*fixture->wanted) {
        loop_stop(fixture->loop);
    }
}

static inline void fixture_start(struct fixture *fixture)
{
    CHECK_EQ(loop_create(&fixture->loop), 0); /* the first one opens libuv's signal pipe for good */
    loop_destroy(fixture->loop);
    fixture->fds_before = open_fds();
    CHECK_EQ(loop_create(&fixture->loop), 0);
    loop_timer_init(&fixture->guard, fixture->loop, fixture_expired, NULL);
}

/* Runs the loop until `*wanted`, which a callback sets. */
static inline void fixture_run(struct fixture *fixture, const bool *wanted)
{
    if (*wanted) {
        return;
    }
    fixture->wanted = wanted;
    loop_timer_arm(&fixture->guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(fixture->loop, fixture_turn_end, fixture);
    loop_run(fixture->loop);
    loop_on_turn_end(fixture->loop, NULL, NULL);
    loop_timer_disarm(&fixture->guard);
    CHECK(*wanted);
}

static inline void fixture_stranger_came(struct endpoint *endpoint, void *arg) { (void)endpoint, (void)arg; }

static inline void fixture_stranger_spoke(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    (void)endpoint, (void)arg, (void)data;
    CHECK_EQ(size, 0); /* in frames, and nobody here does */
}

static inline void fixture_stranger_went(struct endpoint *endpoint, void *arg, int status)
{
    (void)endpoint, (void)arg, (void)status;
}

/* A port of loopback for connections that do not speak in frames; `address_out` is where. */
static inline struct endpoint_listener *fixture_listen(struct fixture *fixture, char address_out[ADDRESS_TEXT_BYTES])
{
    static const struct endpoint_handler handler = { fixture_stranger_came, fixture_stranger_spoke, NULL,
                                                     fixture_stranger_went };
    struct endpoint_listener *listener;
    CHECK_EQ(endpoint_listen(fixture->loop, "127.0.0.1", 0, 0, 1, 1, &handler, NULL, &listener), 0);
    address_print(endpoint_listener_address(listener), address_out);
    return listener;
}

/* Destroys the loop and ends nng's threads; no descriptor and no memory may be left. */
static inline void fixture_end(struct fixture *fixture)
{
    loop_destroy(fixture->loop);
    nng_threads_end();
    CHECK_EQ(open_fds(), fixture->fds_before);
    if (__lsan_do_recoverable_leak_check != NULL) {
        CHECK_EQ(__lsan_do_recoverable_leak_check(), 0);
    }
}

#endif
