/* The rings and the bells, compiled again with the hooks of tests/lib/fibers.h: thousands of orders of their steps, and
 * a kill at every step. */
#include "common/doorbell.h"
#include "common/ring.h"
#include "common/task_ring.h"
#include "common/thread_hooks.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

#include <poll.h>

/* ---- the message ring, and the bells on both sides of it ---- */

enum { MESSAGES = 12, CAPACITY = 128 };

static struct {
    unsigned char memory[4096] __attribute__((__aligned__(64)));
    struct doorbell data_bell, room_bell;
    uint64_t taken;
} talk;

static struct waiter waiter_of(struct doorbell *bell)
{
    struct waiter waiter;
    waiter_init(&waiter, bell);
    return waiter;
}

static void talk_producer(void *arg)
{
    (void)arg;
    struct ring_producer producer;
    struct waiter waiter = waiter_of(&talk.room_bell);
    CHECK_EQ(ring_producer_attach(&producer, talk.memory, CAPACITY), 0);
    for (uint64_t number = 0; number < MESSAGES;) {
        uint64_t *message = ring_reserve(&producer, 8 + number % 5 * 8);
        waiter_begin(&waiter, ROOST_FOREVER);
        while (message == NULL) {
            ring_commit(&producer); /* what was reserved must not wait for room that only the consumer makes */
            doorbell_ring(&talk.data_bell);
            message = ring_reserve(&producer, 8 + number % 5 * 8);
            if (message == NULL) {
                CHECK_EQ(waiter_pause(&waiter), 0);
            }
        }
        waiter_end(&waiter);
        message[0] = number++;
        if (fibers_random(2) == 0 || number == MESSAGES) {
            ring_commit(&producer);
            doorbell_ring(&talk.data_bell);
        }
    }
    CHECK(!producer.broken);
}

static void talk_consumer(void *arg)
{
    (void)arg;
    struct ring_consumer consumer;
    struct waiter waiter = waiter_of(&talk.data_bell);
    CHECK_EQ(ring_consumer_attach(&consumer, talk.memory, CAPACITY), 0);
    while (talk.taken < MESSAGES) {
        waiter_begin(&waiter, ROOST_FOREVER);
        while (ring_is_empty(&consumer)) {
            CHECK_EQ(waiter_pause(&waiter), 0);
        }
        waiter_end(&waiter);
        uint64_t copy[8];
        size_t size;
        while (ring_take(&consumer, copy, sizeof copy, &size) == 1) {
            CHECK_EQ(copy[0], talk.taken);
            CHECK_EQ(size, 8 + talk.taken % 5 * 8);
            talk.taken++;
        }
        ring_consumed(&consumer);
        doorbell_ring(&talk.room_bell);
    }
    CHECK(!consumer.broken);
}

static void talk_begin(uint64_t seed)
{
    memset(&talk, 0, sizeof talk);
    ring_format(talk.memory, CAPACITY);
    waiter_set_wake_ns(5000);
    fibers_begin(seed);
}

TEST(rings_interleaved, no_message_and_no_wake_up_is_lost_between_two)
{
    for (uint64_t seed = 0; seed < 4000; seed++) {
        talk_begin(seed);
        fibers_add(talk_producer, NULL);
        fibers_add(talk_consumer, NULL);
        CHECK_EQ(fibers_run(), FIBERS_DONE);
        CHECK_EQ(talk.taken, MESSAGES);
    }
}

/* The steps of a bell alone, without pauses between: the shortest way into each race. */
static _Atomic uint32_t published;

static void bare_ringer(void *arg)
{
    (void)arg;
    ROOST_YIELD_POINT();
    atomic_fetch_add(&published, 1);
    doorbell_ring(&talk.data_bell);
}

static void bare_sleeper(void *wanted)
{
    for (;;) {
        doorbell_arm(&talk.data_bell);
        if (atomic_load(&published) == *(uint32_t *)wanted) {
            doorbell_disarm(&talk.data_bell);
            return;
        }
        doorbell_sleep(&talk.data_bell, WAIT_SLEEP_NS_MAX);
    }
}

TEST(rings_interleaved, a_bell_with_two_ringers_always_wakes_its_sleeper)
{
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint32_t wanted = 2;
        talk_begin(seed);
        atomic_store(&published, 0);
        fibers_add(bare_sleeper, &wanted);
        fibers_add(bare_ringer, NULL);
        fibers_add(bare_ringer, NULL);
        CHECK_EQ(fibers_run(), FIBERS_DONE);
    }
}

/* Who dies between clearing the flag and waking takes a wake-up with him; what the agent does about it. */
static bool ringer_is_dead(void *arg)
{
    (void)arg;
    return fibers_is_killed(1);
}

static void undertaker(void *wanted)
{
    fibers_wait(ringer_is_dead, NULL);
    *(uint32_t *)wanted = atomic_load(&published); /* the dead one may or may not have published */
    doorbell_ring_always(&talk.data_bell);
}

TEST(rings_interleaved, a_ringer_killed_anywhere_leaves_nobody_asleep_once_the_agent_has_rung)
{
    int kills = 0, sleepers_left = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint32_t wanted = 1;
        bool with_agent = seed % 2 == 0;
        talk_begin(seed / 2);
        atomic_store(&published, 0);
        fibers_add(bare_sleeper, &wanted);
        fibers_add(bare_ringer, NULL);
        fibers_kill_at(1, 1 + seed / 2 % 4);
        if (with_agent) {
            fibers_add(undertaker, &wanted);
        }
        enum fibers_end end = fibers_run();
        kills += fibers_is_killed(1);
        if (with_agent && fibers_is_killed(1)) {
            CHECK_EQ(end, FIBERS_DONE);
        } else if (!with_agent) {
            sleepers_left += end == FIBERS_STUCK;
        }
    }
    CHECK(kills > 10000);
    CHECK(sleepers_left > 100); /* or this test has not been where it hurts */
}

/* ---- kills on both sides of the message ring ---- */

static bool killed_one(void *fiber) { return fibers_is_killed(*(unsigned *)fiber); }

/* Takes the place of a dead consumer: everything from what it had published, in order, once. */
static void heir_of_consumer(void *fiber)
{
    fibers_wait(killed_one, fiber);
    struct ring_consumer consumer;
    struct waiter waiter = waiter_of(&talk.data_bell);
    CHECK_EQ(ring_consumer_attach(&consumer, talk.memory, CAPACITY), 0);
    uint64_t expected = UINT64_MAX;
    while (expected != MESSAGES) {
        uint64_t copy[8];
        size_t size;
        int status = ring_take(&consumer, copy, sizeof copy, &size);
        CHECK(status >= 0);
        if (status == 1) {
            CHECK(expected == UINT64_MAX ? copy[0] <= talk.taken : copy[0] == expected);
            expected = copy[0] + 1;
            continue;
        }
        if (expected == UINT64_MAX && talk.taken == MESSAGES) {
            return; /* it had published everything */
        }
        ring_consumed(&consumer);
        doorbell_ring_always(&talk.room_bell);
        waiter_begin(&waiter, ROOST_FOREVER);
        while (ring_is_empty(&consumer)) {
            CHECK_EQ(waiter_pause(&waiter), 0);
        }
        waiter_end(&waiter);
    }
}

TEST(rings_interleaved, a_consumer_killed_at_any_step_has_a_heir_who_misses_nothing)
{
    int kills = 0;
    for (uint64_t step = 1; step < 160; step++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            unsigned dead = 1;
            talk_begin(step * 1000 + seed);
            fibers_add(talk_producer, NULL);
            fibers_add(talk_consumer, NULL);
            fibers_kill_at(1, step);
            fibers_add(heir_of_consumer, &dead);
            enum fibers_end end = fibers_run();
            kills += fibers_is_killed(1);
            CHECK(end == FIBERS_DONE || !fibers_is_killed(1));
        }
    }
    CHECK(kills > 1000);
}

/* After a producer's death: all that it committed, and the bytes that it had only reserved are room again. */
static void heir_of_producer(void *fiber)
{
    fibers_wait(killed_one, fiber);
    struct ring_producer producer;
    CHECK_EQ(ring_producer_attach(&producer, talk.memory, CAPACITY), 0);
    struct waiter waiter = waiter_of(&talk.room_bell);
    doorbell_ring_always(&talk.data_bell);
    waiter_begin(&waiter, ROOST_FOREVER);
    while (ring_space(&producer) < CAPACITY) { /* the consumer takes what is there, to the end */
        CHECK_EQ(waiter_pause(&waiter), 0);
    }
    waiter_end(&waiter);
    uint64_t *message;
    for (uint64_t number = talk.taken; number < MESSAGES; number++) {
        waiter_begin(&waiter, ROOST_FOREVER);
        while ((message = ring_reserve(&producer, 8 + number % 5 * 8)) == NULL) {
            CHECK_EQ(waiter_pause(&waiter), 0);
        }
        waiter_end(&waiter);
        message[0] = number;
        ring_commit(&producer);
        doorbell_ring(&talk.data_bell);
    }
}

TEST(rings_interleaved, a_producer_killed_at_any_step_has_a_heir_who_can_go_on)
{
    int kills = 0;
    for (uint64_t step = 1; step < 160; step++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            unsigned dead = 0;
            talk_begin(step * 1000 + seed);
            fibers_add(talk_producer, NULL);
            fibers_add(talk_consumer, NULL);
            fibers_kill_at(0, step);
            fibers_add(heir_of_producer, &dead);
            enum fibers_end end = fibers_run();
            kills += fibers_is_killed(0);
            CHECK(!fibers_is_killed(0) || (end == FIBERS_DONE && talk.taken == MESSAGES));
        }
    }
    CHECK(kills > 1000);
}

/* ---- the agent's bell ---- */

enum { CLIENTS = 3, POSTS = 4 };

static struct {
    struct agent_bell bell;
    struct agent_bell_ringer ringers[CLIENTS];
    _Atomic uint32_t posts[CLIENTS];
    uint32_t seen, rings;
} office;

static void office_client(void *ringer)
{
    size_t i = (size_t)((struct agent_bell_ringer *)ringer - office.ringers);
    for (int post = 0; post < POSTS; post++) {
        ROOST_YIELD_POINT();
        atomic_fetch_add(&office.posts[i], 1);
        office.rings += agent_bell_ring(ringer);
    }
}

static bool some_fd_is_readable(void *arg)
{
    (void)arg;
    struct pollfd fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = (struct pollfd){ office.ringers[i].event_fd, POLLIN, 0 };
    }
    return poll(fds, CLIENTS, 0) > 0;
}

static uint32_t all_posts(void)
{
    uint32_t sum = 0;
    for (int i = 0; i < CLIENTS; i++) {
        ROOST_YIELD_POINT();
        sum += atomic_load(&office.posts[i]);
    }
    return sum;
}

static void office_agent(void *sleeps)
{
    while (office.seen < CLIENTS * POSTS) {
        agent_bell_asleep(&office.bell);
        if (all_posts() == office.seen) {
            fibers_wait(some_fd_is_readable, NULL);
            ++*(uint32_t *)sleeps;
        }
        agent_bell_awake(&office.bell);
        for (int i = 0; i < CLIENTS; i++) {
            agent_bell_clear(office.ringers[i].event_fd);
        }
        office.seen = all_posts();
    }
}

TEST(rings_interleaved, an_agent_asleep_is_rung_for_every_post_and_once_per_client_and_sleep)
{
    int fds[CLIENTS];
    uint64_t rings = 0, sleeps_all = 0;
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQ(agent_bell_open_event(&fds[i]), 0);
    }
    for (uint64_t seed = 0; seed < 5000; seed++) {
        uint32_t sleeps = 0;
        memset(&office, 0, sizeof office);
        fibers_begin(seed);
        fibers_add(office_agent, &sleeps);
        for (int i = 0; i < CLIENTS; i++) {
            agent_bell_clear(fds[i]);
            agent_bell_ringer_init(&office.ringers[i], &office.bell, fds[i]);
            fibers_add(office_client, &office.ringers[i]);
        }
        CHECK_EQ(fibers_run(), FIBERS_DONE);
        CHECK(office.rings <= CLIENTS * (atomic_load(&office.bell.sleep_number) + 1) / 2);
        rings += office.rings;
        sleeps_all += sleeps;
    }
    CHECK(sleeps_all > 1000);
    CHECK(rings < 5000 * CLIENTS * POSTS); /* some posts cost nothing */
}

/* ---- how a waiter waits, in virtual time ---- */

static uint64_t waits_until_ns;

static bool time_has_come(void *arg)
{
    (void)arg;
    return hook_now_ns() >= waits_until_ns;
}

static void wait_long(void *arg)
{
    struct waiter *waiter = arg;
    waits_until_ns = hook_now_ns() + 3 * UINT64_C(1000000000);
    CHECK_EQ(waiter_wait(waiter, ROOST_FOREVER, time_has_come, NULL), 0);
    CHECK_EQ(waiter_wait(waiter, 0, time_has_come, NULL), 0);
    waits_until_ns = UINT64_MAX;
    uint64_t before = hook_now_ns();
    CHECK_EQ(waiter_wait(waiter, 2500, time_has_come, NULL), ROOST_ETIMEDOUT);
    uint64_t took = hook_now_ns() - before;
    CHECK(took >= 2500000000 && took < 2500100000);
    CHECK_EQ(waiter_wait(waiter, 0, time_has_come, NULL), ROOST_ETIMEDOUT);
    CHECK(!waiter->armed);
}

TEST(rings_interleaved, a_waiter_pauses_then_yields_then_sleeps_within_the_bound)
{
    struct doorbell bell = { 0 };
    struct waiter waiter;
    waiter_set_wake_ns(10000);
    waiter_init(&waiter, &bell);
    fibers_begin(1);
    fibers_set_timeouts(true);
    fibers_add(wait_long, &waiter);
    CHECK_EQ(fibers_run(), FIBERS_DONE);
    CHECK(waiter.yields > 20 && waiter.yields < 100); /* 10 us of them in each of the two long waits */
    CHECK_EQ(waiter.sleeps, 3 + 3);                   /* one second at most each */
    CHECK_EQ(waiter.wakes, 0);
    CHECK_EQ(atomic_load(&bell.sleeping), 0);
}

static void wait_thrice(void *arg)
{
    struct waiter *waiter = arg;
    waits_until_ns = UINT64_MAX;
    CHECK_EQ(waiter_wait(waiter, 1, time_has_come, NULL), ROOST_ETIMEDOUT);
    CHECK_EQ(waiter->yields, 1);
    CHECK_EQ(waiter_wait(waiter, 1, time_has_come, NULL), ROOST_ETIMEDOUT);
    CHECK_EQ(waiter->yields, 1); /* banned */
    CHECK_EQ(waiter_wait(waiter, 100, time_has_come, NULL), ROOST_ETIMEDOUT);
    CHECK_EQ(waiter->yields, 1); /* its yields would have been at its start */
    CHECK_EQ(waiter_wait(waiter, 1, time_has_come, NULL), ROOST_ETIMEDOUT);
    CHECK_EQ(waiter->yields, 2); /* the ban is over */
}

TEST(rings_interleaved, a_yield_that_lets_others_compute_forbids_yielding_for_a_while)
{
    struct doorbell bell = { 0 };
    struct waiter waiter;
    waiter_set_wake_ns(10000);
    waiter_init(&waiter, &bell);
    fibers_begin(1);
    fibers_set_timeouts(true);
    fibers_set_yield_ns(10000 + WAIT_LOST_WAKES_MAX * 10000 + 1000);
    fibers_add(wait_thrice, &waiter);
    CHECK_EQ(fibers_run(), FIBERS_DONE);
}

enum { WAITS = 1000, LONG_YIELD_NS = 12000 };

/* The peer runs on this very processor: each yield takes longer than a wake-up, and brings what is waited for. */
static void wait_for_a_peer_here(void *arg)
{
    struct waiter *waiter = arg;
    for (int i = 0; i < WAITS; i++) {
        waits_until_ns = hook_now_ns() + WAIT_PAUSE_NS + LONG_YIELD_NS;
        CHECK_EQ(waiter_wait(waiter, ROOST_FOREVER, time_has_come, NULL), 0);
    }
    CHECK_EQ(waiter->sleeps, 0);
    CHECK(waiter->yields >= WAITS);
}

static void wait_for_nothing(void *arg)
{
    struct waiter *waiter = arg;
    for (int i = 0; i < WAITS && waiter->yields == (uint64_t)i; i++) {
        waits_until_ns = UINT64_MAX;
        CHECK_EQ(waiter_wait(waiter, 1, time_has_come, NULL), ROOST_ETIMEDOUT);
    }
    CHECK(waiter->yields > WAIT_LOST_WAKES_MAX && waiter->yields < WAITS);
}

TEST(rings_interleaved, yields_that_are_a_little_too_long_are_forbidden_only_when_they_bring_nothing)
{
    struct doorbell bell = { 0 };
    struct waiter waiter;
    waiter_set_wake_ns(10000);
    waiter_init(&waiter, &bell);
    fibers_begin(1);
    fibers_set_timeouts(true);
    fibers_set_yield_ns(LONG_YIELD_NS);
    fibers_add(wait_for_a_peer_here, &waiter);
    CHECK_EQ(fibers_run(), FIBERS_DONE);
    waiter_init(&waiter, &bell);
    fibers_begin(1);
    fibers_set_timeouts(true);
    fibers_set_yield_ns(LONG_YIELD_NS);
    fibers_add(wait_for_nothing, &waiter);
    CHECK_EQ(fibers_run(), FIBERS_DONE);
}

static bool bell_is_armed(void *bell) { return atomic_load(&((struct doorbell *)bell)->sleeping) != 0; }

TEST(rings_interleaved, a_wait_that_ends_at_the_second_look_leaves_nothing_armed)
{
    struct doorbell bell = { 0 };
    struct waiter waiter;
    waiter_set_wake_ns(10000);
    waiter_init(&waiter, &bell);
    CHECK_EQ(waiter_wait(&waiter, ROOST_FOREVER, bell_is_armed, &bell), 0);
    CHECK_EQ(waiter.sleeps, 0);
    CHECK(!doorbell_ring(&bell));
}
