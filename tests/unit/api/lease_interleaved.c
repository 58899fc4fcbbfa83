/* A holder's threads, its library's thread, workers and an agent under a seeded scheduler: libroost's own files, stopped at
 * each access to memory that others write. */
#include "tests/lib/lease_node.h"
#include "tests/lib/test.h"

#include <string.h>

enum { THREADS = 3, CALLS = 20 /* of each */, LEAD_SEEDS = 1500, SEEDS = 400, STEPS = 400, STEP_SEEDS = 2 };

static struct {
    unsigned left;               /* threads */
    unsigned values, dead, gone; /* calls that ended with a value, with their worker, on the agent's way */
    unsigned told;
    int32_t max_retries;
} test;

/* ---- the holder's threads ---- */

static void take_result(uint64_t number, roost_ref ref)
{
    uint64_t value;
    int status = lease_node_value(ref, &value);
    if (status == 0) {
        CHECK_EQ(value, number + 1);
        test.values++;
    } else if (status == ROOST_ENOENT) {
        test.gone++;
    } else {
        CHECK_EQ(status, ROOST_EWORKER);
        CHECK(node.attempts[number] <=
              (unsigned)test.max_retries + 1); /* the last may have been copied and not begun */
        test.dead++;
    }
    lease_node_free(ref);
}

/* Calls up to four tasks at a time and waits for all of them, or for the first and then for the rest. */
static void call_and_wait(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg * CALLS, end = number + CALLS;
    while (number < end) {
        roost_ref refs[4];
        uint32_t count = 0;
        for (uint64_t wanted = 1 + fibers_random(4); count < wanted && number + count < end; count++) {
            refs[count] = lease_node_call(number + count, test.max_retries);
        }
        if (fibers_random(2) == 0) {
            CHECK_EQ(lease_node_wait(refs, count, 1), 0);
        }
        CHECK_EQ(lease_node_wait(refs, count, count), 0);
        for (uint32_t i = 0; i < count; i++) {
            take_result(number++, refs[i]);
        }
    }
    test.left--;
}

static void add_threads(unsigned count)
{
    test.left = count;
    for (uintptr_t i = 0; i < count; i++) {
        lease_node_add(call_and_wait, (void *)i);
    }
}

static bool all_are_done(void *arg)
{
    (void)arg;
    return test.left == 0;
}

static bool all_is_back(void *arg)
{
    (void)arg;
    return test.left == 0 && node.back == node.granted;
}

static void close_when_done(void *arg)
{
    (void)arg;
    fibers_wait(all_are_done, NULL);
    lease_node_close();
}

/* Leases go back by themselves. */
static void close_when_all_is_back(void *arg)
{
    (void)arg;
    fibers_wait(all_is_back, NULL);
    lease_node_close();
}

static void begin(uint64_t seed)
{
    lease_node_begin(seed);
    memset(&test, 0, sizeof test);
    test.max_retries = 3;
}

static void run(uint64_t seed)
{
    enum fibers_end end = fibers_run();
    if (end != FIBERS_DONE) {
        fprintf(stderr, "seed %llu: %u of %u leases are back, %u calls have values, %u went the agent's way, %u wait\n",
                (unsigned long long)seed, node.back, node.granted, test.values, test.gone,
                client_calls_queued(node.link.core));
    }
    CHECK_EQ(end, FIBERS_DONE);
    CHECK_EQ(atomic_load(&node.link.bells->lead), CLIENT_LEAD_NONE);
    CHECK_EQ(node.silent_looks, 0);
    CHECK(client_core_is_valid(node.link.core));
    CHECK(client_core_count(node.link.core).names <= 3 * test.gone); /* the agent has not said TAKEN yet */
}

static unsigned begun(void)
{
    unsigned sum = 0;
    for (int i = 0; i < NODE_NUMBERS; i++) {
        sum += node.begun[i];
    }
    return sum;
}

/* ---- the lead ---- */

/* Without the library's thread: nobody but the threads that wait takes completions in, and no time passes that would end a
 * sleep. */
TEST(lease_interleaved, threads_that_wait_hand_the_lead_on_and_none_sleeps_beside_its_result)
{
    for (uint64_t seed = 0; seed < LEAD_SEEDS; seed++) {
        begin(seed);
        lease_node_hold(lease_node_add_worker());
        add_threads(THREADS);
        lease_node_add(close_when_done, NULL);
        run(seed);
        CHECK_EQ(test.values, THREADS * CALLS);
        lease_node_end();
    }
}

/* ---- what the agent says of a lease that stands ---- */

static bool one_stands(void *arg)
{
    struct node_worker **worker = arg;
    for (int i = 0; i < 2 && test.left > 0; i++) {
        *worker = &node.workers[i];
        if ((*worker)->lease != 0 && !(*worker)->is_recalled) {
            return true;
        }
    }
    *worker = NULL;
    return test.left == 0;
}

static void recall_often(void *arg)
{
    (void)arg;
    for (;;) {
        struct node_worker *worker;
        fibers_wait(one_stands, &worker);
        if (worker == NULL) {
            return;
        }
        for (uint64_t steps = fibers_random(300); steps > 0; steps--) {
            ROOST_YIELD_POINT();
        }
        if (worker->lease != 0) { /* it may have come back by itself */
            worker->is_recalled = true;
            lease_node_tell(worker, WIRE_LEASE_RECALLED);
            test.told++;
        }
    }
}

static void begin_node(uint64_t seed, unsigned workers, unsigned threads)
{
    begin(seed);
    fibers_set_timeouts(true);
    for (unsigned i = 0; i < workers; i++) {
        lease_node_add_worker();
    }
    lease_node_add(lease_node_library, NULL);
    lease_node_add(lease_node_agent, NULL);
    lease_node_add(close_when_all_is_back, NULL);
    add_threads(threads);
}

TEST(lease_interleaved, leases_that_are_asked_back_while_calls_are_queued_come_back_empty_and_no_call_is_lost)
{
    unsigned told = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin_node(seed, 2, 2);
        lease_node_add(recall_often, NULL);
        run(seed);
        CHECK_EQ(test.values + test.gone, 2 * CALLS);
        CHECK_EQ(begun(), test.values);
        told += test.told;
        lease_node_end();
    }
    CHECK(told > SEEDS);
}

static bool others_are_done(void *arg)
{
    (void)arg;
    return test.left == 1;
}

/* The first one waits for all others, as a task does that waits for what others make. */
static void wait_in_the_first(unsigned worker, uint32_t attempt, uint64_t number)
{
    (void)attempt;
    if (number == 0) {
        bool says_so = fibers_random(2) == 0;
        if (says_so) {
            lease_node_tell(&node.workers[worker], WIRE_LEASE_BLOCKED);
        }
        fibers_wait(others_are_done, NULL);
        if (says_so) {
            lease_node_tell(&node.workers[worker], WIRE_LEASE_UNBLOCKED);
        }
    }
}

/* One of its own thread: the others do not wait for it. */
static void call_the_first(void *arg)
{
    (void)arg;
    roost_ref ref = lease_node_call(0, 3);
    CHECK_EQ(lease_node_wait(&ref, 1, 1), 0);
    take_result(0, ref);
    test.left--;
}

static void call_the_others(void *arg)
{
    (void)arg;
    roost_ref refs[2 * CALLS];
    for (uint64_t i = 1; i < 2 * CALLS; i++) {
        refs[i] = lease_node_call(i, 3);
    }
    CHECK_EQ(lease_node_wait(refs + 1, 2 * CALLS - 1, 2 * CALLS - 1), 0);
    for (uint64_t i = 1; i < 2 * CALLS; i++) {
        take_result(i, refs[i]);
    }
    test.left--;
}

TEST(lease_interleaved, what_waits_behind_a_long_or_a_blocked_task_is_taken_back_and_done_elsewhere)
{
    unsigned values = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin_node(seed, 2, 0);
        node.body = wait_in_the_first;
        test.left = 2;
        lease_node_add(call_the_first, NULL);
        lease_node_add(call_the_others, NULL);
        run(seed);
        CHECK_EQ(test.values + test.gone, 2 * CALLS);
        values += test.values;
        lease_node_end();
    }
    CHECK(values > SEEDS * CALLS);
}

/* Both: every call of two threads. */
static void all_go_the_agents_way(uint64_t seed)
{
    run(seed);
    CHECK_EQ(test.gone, 2 * CALLS);
    CHECK_EQ(node.submitted, 2 * CALLS);
    lease_node_end();
}

TEST(lease_interleaved, calls_go_the_agents_way_when_no_lease_is_granted_and_other_nodes_live)
{
    for (uint64_t seed = 0; seed < SEEDS / 4; seed++) {
        begin_node(seed, 1, 2);
        node.refuses = true;
        node.others = 1;
        all_go_the_agents_way(seed);
    }
}

TEST(lease_interleaved, calls_go_the_agents_way_at_once_when_leases_are_denied)
{
    for (uint64_t seed = 0; seed < SEEDS / 4; seed++) {
        begin_node(seed, 1, 2);
        node.denies = true;
        all_go_the_agents_way(seed);
        CHECK_EQ(node.granted, 0);
    }
}

static bool is_late_for_a_lease(void *arg) { return hook_now_ns() > *(const uint64_t *)arg; }

static void grant_late(void *arg)
{
    (void)arg;
    uint64_t grant_ns = hook_now_ns() + 500000000;
    fibers_wait(is_late_for_a_lease, &grant_ns);
    node.refuses = false;
}

TEST(lease_interleaved, calls_wait_for_the_lease_of_a_node_that_is_alone)
{
    for (uint64_t seed = 0; seed < SEEDS / 4; seed++) {
        begin_node(seed, 1, 2);
        lease_node_add(grant_late, NULL);
        node.refuses = true;
        run(seed);
        CHECK_EQ(test.values, 2 * CALLS);
        CHECK_EQ(node.submitted, 0);
        lease_node_end();
    }
}

/* Each reads an object; between two of them one that reads none. */
static void call_with_an_object(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg * CALLS;
    const struct object_id id = { 8, 9 };
    fibers_lock(&node.link.lock);
    CHECK_EQ(client_keep(node.link.core, CLIENT_SCOPE, id), 0);
    fibers_unlock(&node.link.lock);
    for (int i = 0; i < CALLS / 2; i++, number += 2) {
        roost_ref refs[2] = { lease_node_call_with(number, object_ref(id)), lease_node_call(number + 1, 3) };
        CHECK_EQ(lease_node_wait(refs, 2, 2), 0);
        take_result(number, refs[0]);
        take_result(number + 1, refs[1]);
    }
    lease_node_free(object_ref(id));
    test.left--;
}

TEST(lease_interleaved, a_call_whose_argument_is_gone_goes_the_agents_way_unbegun_and_the_next_one_is_done)
{
    unsigned given_back = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool misses = seed % 4 != 0;
        begin_node(seed, 1, 0);
        node.misses = misses;
        test.left = 2;
        lease_node_add(call_with_an_object, (void *)(uintptr_t)0);
        lease_node_add(call_with_an_object, (void *)(uintptr_t)1);
        run(seed);
        CHECK_EQ(test.values + test.gone, 2 * CALLS);
        CHECK_EQ(begun(), test.values);
        CHECK_EQ(node.submitted, test.gone);
        CHECK(!misses || test.gone >= CALLS);
        given_back += test.gone == CALLS;
        lease_node_end();
    }
    CHECK(given_back > SEEDS / 2);
}

/* ---- waits for own results and those of others ---- */

static void wait_for_either(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg * CALLS;
    for (int i = 0; i < CALLS / 2; i++) {
        roost_ref refs[2] = { lease_node_call_elsewhere(number), lease_node_call(number + 1, 3) };
        CHECK_EQ(lease_node_wait(refs, 2, 1), 0);
        lease_node_free(refs[0]);
        take_result(number + 1, refs[1]);
        number += 2;
    }
    test.left--;
}

TEST(lease_interleaved, a_wait_for_an_own_result_or_one_of_the_agents_ends_with_the_own_one)
{
    for (uint64_t seed = 0; seed < SEEDS / 2; seed++) {
        begin_node(seed, 1, 0);
        node.dawdles = true;
        test.left = 2;
        lease_node_add(wait_for_either, (void *)(uintptr_t)0);
        lease_node_add(wait_for_either, (void *)(uintptr_t)1);
        run(seed);
        CHECK_EQ(test.values, CALLS);
        lease_node_end();
    }
}

/* ---- deaths ---- */

static void kill_at_each_step(int32_t max_retries)
{
    unsigned kills = 0, dead = 0, again = 0, claimed = 0;
    for (uint64_t step = 1; step < STEPS; step++) {
        for (uint64_t seed = 0; seed < STEP_SEEDS; seed++) {
            begin_node(step * 1000 + seed, 2, 2);
            test.max_retries = max_retries;
            fibers_kill_at(node.workers[0].fiber, step);
            run(step * 1000 + seed);
            CHECK_EQ(test.values + test.dead + test.gone, 2 * CALLS);
            CHECK(begun() <= 2 * CALLS - test.gone + 1); /* at most one was running */
            CHECK(test.dead + node.claimed <= 1);        /* what was claimed and not copied had not begun */
            claimed += node.claimed;
            kills += fibers_is_killed(node.workers[0].fiber);
            again += begun() > 2 * CALLS - test.gone;
            dead += test.dead;
            lease_node_end();
        }
    }
    CHECK(kills > STEPS / 2 && claimed > STEP_SEEDS);
    CHECK(max_retries > 0 ? again > STEP_SEEDS && dead == 0 : dead > STEP_SEEDS && again == 0);
}

TEST(lease_interleaved, a_worker_killed_at_any_step_costs_one_attempt_and_no_call) { kill_at_each_step(3); }

TEST(lease_interleaved, a_call_without_retries_fails_only_when_it_was_the_dead_workers) { kill_at_each_step(0); }

/* Bytes of ones where its holder reads, as a stray pointer might. */
static void scribble_in_the_tenth(unsigned worker, uint32_t attempt, uint64_t number)
{
    if (number == 10 && attempt == 0) {
        const struct lease_page_layout layout = lease_page_layout();
        unsigned char *base = (unsigned char *)node.workers[worker].page;
        size_t from = fibers_random(2) == 0 ? layout.completes : layout.tasks;
        memset(base + from, 0xff, layout.bytes - from);
        fibers_wait(all_are_done, NULL); /* it lives on */
    }
}

TEST(lease_interleaved, a_worker_that_breaks_its_ring_is_ended_and_its_calls_are_tried_again)
{
    unsigned broken = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin_node(seed, 2, 2);
        node.body = scribble_in_the_tenth;
        run(seed);
        CHECK_EQ(test.values + test.gone, 2 * CALLS);
        CHECK(node.broken <= 1);
        broken += node.broken;
        lease_node_end();
    }
    CHECK(broken > SEEDS / 2);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void wait_for_ever(unsigned worker, uint32_t attempt, uint64_t number)
{
    (void)worker, (void)attempt, (void)number;
    fibers_wait(never, NULL);
}

static void lose_the_agent(void *arg)
{
    (void)arg;
    for (uint64_t i = fibers_random(400); i > 0; i--) {
        ROOST_YIELD_POINT();
    }
    fibers_lock(&node.link.lock);
    link_lose_locked(&node.link, ROOST_EDISCONNECTED, "the agent is gone");
    fibers_unlock(&node.link.lock);
}

static void call_and_be_left(void *arg)
{
    roost_ref ref;
    const roost_in in = roost_in_uint((uint64_t)(uintptr_t)arg);
    struct spec_draft draft = { .function = "f", .cpus_hundredths = 100, .returns = 1, .args = &in, .args_count = 1 };
    int status = agent_submit(&node.rt, CLIENT_SCOPE, &draft, &ref);
    status = status != 0 ? status : lease_node_wait(&ref, 1, 1);
    CHECK_EQ(status, ROOST_EDISCONNECTED);
    if (--test.left == 0) {
        fibers_kill(node.workers[0].fiber);
    }
}

TEST(lease_interleaved, the_agents_death_ends_every_wait_for_a_leased_result)
{
    for (uint64_t seed = 0; seed < LEAD_SEEDS; seed++) {
        begin(seed);
        lease_node_hold(lease_node_add_worker());
        node.body = wait_for_ever;
        test.left = THREADS;
        for (uintptr_t i = 0; i < THREADS; i++) {
            lease_node_add(call_and_be_left, (void *)i);
        }
        lease_node_add(lose_the_agent, NULL);
        CHECK_EQ(fibers_run(), FIBERS_DONE);
        lease_node_end();
    }
}
