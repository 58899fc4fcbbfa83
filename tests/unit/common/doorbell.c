/* Doorbells and waiters: who sleeps is woken, from threads and processes, and nobody is rung for nothing. */
#include "common/doorbell.h"
#include "common/ring.h"
#include "common/thread_hooks.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

#include <poll.h>
#include <pthread.h>

TEST(doorbell, is_rung_only_when_somebody_sleeps)
{
    struct doorbell bell = { 0 };
    CHECK(!doorbell_ring(&bell));
    doorbell_arm(&bell);
    CHECK(doorbell_ring(&bell));
    CHECK(!doorbell_ring(&bell));                    /* once is enough */
    CHECK(doorbell_sleep(&bell, WAIT_SLEEP_NS_MAX)); /* rung before the sleep: does not sleep */
    doorbell_arm(&bell);
    doorbell_disarm(&bell);
    CHECK(!doorbell_ring(&bell));
}

TEST(doorbell, a_sleep_without_a_ring_ends_at_its_bound_and_leaves_the_bell_unarmed)
{
    struct doorbell bell = { 0 };
    doorbell_arm(&bell);
    uint64_t before = hook_now_ns();
    CHECK(!doorbell_sleep(&bell, 2000000));
    CHECK(hook_now_ns() - before >= 2000000);
    CHECK(!doorbell_ring(&bell));
}

/* ---- the barriers: each round both sides take their first step at once ---- */

enum { LITMUS_ROUNDS = 100000 };

static struct {
    struct doorbell bell __attribute__((__aligned__(64)));
    struct agent_bell agent __attribute__((__aligned__(64)));
    struct agent_bell_ringer ringer __attribute__((__aligned__(64)));
    _Atomic uint32_t data __attribute__((__aligned__(64)));
    _Atomic uint32_t round __attribute__((__aligned__(64)));
    _Atomic uint32_t ended __attribute__((__aligned__(64)));
    bool rung;
} litmus;

/* Spins shortly, then lets others run: on one core there is nothing to see, but also nothing to wait for. */
static void wait_for(_Atomic uint32_t *word, uint32_t value)
{
    for (uint32_t spins = 0; atomic_load_explicit(word, memory_order_acquire) != value; spins++) {
        spins % 256 == 255 ? hook_yield() : hook_spin();
    }
}

/* Both sides hold all three lines, so that a load is fast and a store is slow: the case in which a processor lets them
 * pass. */
static void touch(void)
{
    (void)atomic_load_explicit(&litmus.data, memory_order_relaxed);
    (void)atomic_load_explicit(&litmus.bell.sleeping, memory_order_relaxed);
    (void)atomic_load_explicit(&litmus.agent.sleep_number, memory_order_relaxed);
}

static void *litmus_ringer(void *arg)
{
    for (uint32_t round = 1; round <= LITMUS_ROUNDS; round++) {
        wait_for(&litmus.round, round);
        touch();
        atomic_store_explicit(&litmus.data, round, memory_order_release); /* as ring_commit() does */
        if (round % 2 == 0) {
            litmus.rung = doorbell_ring(&litmus.bell);
        } else {
            litmus.rung = agent_bell_ring(&litmus.ringer);
        }
        atomic_store_explicit(&litmus.ended, round, memory_order_release);
    }
    return arg;
}

TEST(doorbell, the_ringer_sees_the_flag_or_the_sleeper_sees_the_data)
{
    int fd = -1, both = 0;
    pthread_t ringer;
    CHECK_EQ(agent_bell_open_event(&fd), 0);
    agent_bell_ringer_init(&litmus.ringer, &litmus.agent, fd);
    CHECK_EQ(pthread_create(&ringer, NULL, litmus_ringer, NULL), 0);
    for (uint32_t round = 1; round <= LITMUS_ROUNDS; round++) {
        atomic_store_explicit(&litmus.round, round, memory_order_release);
        touch();
        for (uint32_t spins = round * 7 % 127; spins > 0; spins--) { /* meet the other side at any of its steps */
            __asm__ volatile("" ::: "memory");
        }
        if (round % 2 == 0) {
            doorbell_arm(&litmus.bell);
        } else {
            agent_bell_asleep(&litmus.agent);
        }
        bool seen = atomic_load_explicit(&litmus.data, memory_order_relaxed) == round;
        wait_for(&litmus.ended, round);
        CHECK(seen || litmus.rung);
        both += seen && litmus.rung;
        if (round % 2 == 0) {
            doorbell_disarm(&litmus.bell);
        } else {
            agent_bell_awake(&litmus.agent);
        }
    }
    pthread_join(ringer, NULL);
    close(fd);
    printf("%d of %d rounds met in the middle\n", both, LITMUS_ROUNDS);
}

/* ---- ping-pong over two rings and two bells ---- */

enum { ROUNDS = 20000, CAPACITY = 1024 };

struct table {
    struct {
        struct doorbell bell; /* of who consumes */
        unsigned char memory[192 + CAPACITY] __attribute__((__aligned__(64)));
    } way[2];
};

struct player {
    struct ring_producer out;
    struct ring_consumer in;
    struct doorbell *other;
    struct waiter waiter;
};

static void player_sit_down(struct player *player, struct table *table, int side)
{
    CHECK_EQ(ring_producer_attach(&player->out, table->way[side].memory, CAPACITY), 0);
    CHECK_EQ(ring_consumer_attach(&player->in, table->way[!side].memory, CAPACITY), 0);
    player->other = &table->way[side].bell;
    waiter_init(&player->waiter, &table->way[!side].bell);
}

static void player_send(struct player *player, uint64_t number)
{
    uint64_t *message = ring_reserve(&player->out, 8);
    CHECK(message != NULL);
    *message = number;
    ring_commit(&player->out);
    doorbell_ring(player->other);
}

static uint64_t player_receive(struct player *player)
{
    uint64_t number = 0;
    size_t size;
    int status;
    waiter_begin(&player->waiter, 10000);
    while ((status = ring_take(&player->in, &number, sizeof number, &size)) == 0) {
        CHECK_EQ(waiter_pause(&player->waiter), 0); /* a whole second in silence: a lost wake-up */
    }
    waiter_end(&player->waiter);
    CHECK_EQ(status, 1);
    ring_consumed(&player->in);
    return number;
}

static struct table *table_make(void)
{
    struct table *table = rings_shared(sizeof *table);
    ring_format(table->way[0].memory, CAPACITY);
    ring_format(table->way[1].memory, CAPACITY);
    return table;
}

static void *echo(void *arg)
{
    struct player player;
    player_sit_down(&player, arg, 1);
    for (uint64_t number = 0; number < ROUNDS; number++) {
        player_send(&player, player_receive(&player) + 1);
    }
    return NULL;
}

static void play(struct table *table)
{
    struct player player;
    uint64_t random = 5;
    player_sit_down(&player, table, 0);
    for (uint64_t number = 0; number < ROUNDS; number++) {
        if (number % 64 == 0) { /* let the other side fall asleep, to a different depth each time */
            uint64_t until = hook_now_ns() + rings_random(&random, 100000);
            while (hook_now_ns() < until) {
                hook_yield();
            }
        }
        player_send(&player, number * 7);
        CHECK_EQ(player_receive(&player), number * 7 + 1);
    }
}

TEST(doorbell, two_threads_never_miss_a_wake_up)
{
    struct table *table = table_make();
    pthread_t other;
    waiter_set_wake_ns(5000); /* sleep early and often */
    CHECK_EQ(pthread_create(&other, NULL, echo, table), 0);
    play(table);
    pthread_join(other, NULL);
}

TEST(doorbell, two_processes_never_miss_a_wake_up)
{
    struct table *table = table_make();
    waiter_set_wake_ns(5000);
    pid_t child = rings_fork();
    if (child == 0) {
        echo(table);
        _exit(0);
    }
    play(table);
    CHECK(rings_child_succeeded(child));
}

/* ---- the agent's bell ---- */

enum { CLIENTS = 3, POSTS = 20000 };

struct office {
    struct agent_bell bell;
    struct agent_bell_ringer ringers[CLIENTS];
    _Atomic uint64_t posts[CLIENTS];
    _Atomic uint64_t rings;
};

static void *office_client(void *arg)
{
    struct office *office = arg;
    static _Atomic uint32_t next_client;
    uint32_t i = atomic_fetch_add(&next_client, 1);
    for (int post = 0; post < POSTS; post++) {
        atomic_fetch_add_explicit(&office->posts[i], 1, memory_order_release);
        atomic_fetch_add(&office->rings, agent_bell_ring(&office->ringers[i]));
        if (post % 16 == 0) {
            hook_yield();
        }
    }
    return NULL;
}

static uint64_t office_posts(struct office *office)
{
    uint64_t sum = 0;
    for (int i = 0; i < CLIENTS; i++) {
        sum += atomic_load_explicit(&office->posts[i], memory_order_acquire);
    }
    return sum;
}

TEST(agent_bell, is_never_missed_by_an_agent_in_poll_and_silent_when_it_is_awake)
{
    static struct office office;
    struct pollfd fds[CLIENTS];
    pthread_t clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        int fd = -1;
        CHECK_EQ(agent_bell_open_event(&fd), 0);
        agent_bell_ringer_init(&office.ringers[i], &office.bell, fd);
        fds[i] = (struct pollfd){ fd, POLLIN, 0 };
    }
    CHECK(!agent_bell_ring(&office.ringers[0])); /* awake */
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQ(pthread_create(&clients[i], NULL, office_client, &office), 0);
    }
    uint64_t seen = 0, sleeps = 0;
    while (seen < CLIENTS * POSTS) {
        agent_bell_asleep(&office.bell);
        if (office_posts(&office) == seen) {
            CHECK(poll(fds, CLIENTS, 10000) > 0); /* silence: a lost ring */
            sleeps++;
        }
        agent_bell_awake(&office.bell);
        for (int i = 0; i < CLIENTS; i++) {
            if (fds[i].revents != 0) {
                agent_bell_clear(fds[i].fd);
            }
        }
        seen = office_posts(&office);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
        close(fds[i].fd);
    }
    CHECK(atomic_load(&office.rings) <= CLIENTS * (atomic_load(&office.bell.sleep_number) / 2 + 1));
    printf("%d posts, %llu rings, %llu sleeps\n", CLIENTS * POSTS, (unsigned long long)office.rings,
           (unsigned long long)sleeps);
}

/* ---- waiting ---- */

static bool never(void *looks)
{
    ++*(int *)looks;
    return false;
}

static bool at_once(void *looks) { return ++*(int *)looks > 0; }

TEST(waiter, zero_looks_once_and_a_time_out_is_kept)
{
    struct doorbell bell = { 0 };
    struct waiter waiter;
    waiter_init(&waiter, &bell);
    int looks = 0;
    CHECK_EQ(waiter_wait(&waiter, 0, at_once, &looks), 0);
    CHECK_EQ(looks, 1);
    looks = 0;
    CHECK_EQ(waiter_wait(&waiter, 0, never, &looks), ROOST_ETIMEDOUT);
    CHECK(looks >= 1 && looks <= 2);
    uint64_t before = hook_now_ns();
    CHECK_EQ(waiter_wait(&waiter, 30, never, &looks), ROOST_ETIMEDOUT);
    CHECK(hook_now_ns() - before >= 30000000);
    CHECK(waiter.sleeps >= 1);
    CHECK(!doorbell_ring(&bell)); /* nobody is left armed */
}

TEST(waiter, the_wake_up_time_is_measured_once_and_believable)
{
    uint64_t ns = waiter_wake_ns();
    CHECK(ns >= 5000 && ns <= 200000);
    CHECK_EQ(waiter_wake_ns(), ns);
    waiter_set_wake_ns(7000);
    CHECK_EQ(waiter_wake_ns(), 7000);
}
