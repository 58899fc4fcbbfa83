/* The slots of a lease, compiled again with the hooks of tests/lib/fibers.h: a producer that pushes and takes back, a
 * worker that claims, an agent that takes back; then each of them killed at each of its steps. */
#include "common/doorbell.h"
#include "common/task_ring.h"
#include "common/thread_hooks.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

enum { TASKS = 10, SLOTS = 4, DRIVER = 6, WORKER = 5, FIBER_DRIVER = 0, FIBER_WORKER = 1 };

static struct {
    unsigned char memory[64 + SLOTS * TASK_SLOT_BYTES] __attribute__((__aligned__(64)));
    struct doorbell worker_bell, driver_bell;
    uint32_t pushed, driver_took, worker_took, agent_took;
    uint32_t taken[TASKS + 1];
} lease;

static struct task_ring attach(uint32_t taker)
{
    struct task_ring ring;
    CHECK_EQ(task_ring_attach(&ring, lease.memory, SLOTS, taker), 0);
    return ring;
}

static uint32_t all_taken(void) { return lease.driver_took + lease.worker_took + lease.agent_took; }

/* A taker has its copy: whatever happens to it from here on, the task had this taker. */
static void account(const struct task_ring_item *item, uint32_t *count)
{
    uint64_t number;
    CHECK_EQ(item->bytes, 8 + item->attempt % 3 * 8);
    memcpy(&number, item->payload, 8);
    CHECK_EQ(number, item->attempt);
    CHECK_EQ(item->lease, 77);
    CHECK(number < TASKS);
    CHECK_EQ(lease.taken[number], 0);
    lease.taken[number]++;
    ++*count;
}

static int push(struct task_ring *ring, uint32_t number)
{
    uint64_t payload[3] = { number, number, number };
    return task_ring_push(ring, 77, number, payload, 8 + number % 3 * 8, NULL);
}

static void driver(void *arg)
{
    (void)arg;
    struct task_ring ring = attach(DRIVER);
    struct task_ring_item item;
    struct waiter waiter;
    waiter_init(&waiter, &lease.driver_bell);
    while (lease.pushed < TASKS) {
        if (fibers_random(4) == 0 && task_ring_take_back(&ring, TASK_NEWEST, &item) == 1) {
            account(&item, &lease.driver_took);
        }
        int status;
        waiter_begin(&waiter, ROOST_FOREVER);
        while ((status = push(&ring, lease.pushed)) == ROOST_EBUSY) {
            CHECK(waiter_pause(&waiter) >= 0);
        }
        waiter_end(&waiter);
        CHECK_EQ(status, 0);
        lease.pushed++;
        doorbell_ring(&lease.worker_bell);
    }
}

static void worker(void *arg)
{
    (void)arg;
    struct task_ring ring = attach(WORKER);
    struct task_ring_item item;
    struct waiter waiter;
    waiter_init(&waiter, &lease.worker_bell);
    while (lease.pushed < TASKS || all_taken() < TASKS) {
        waiter_begin(&waiter, ROOST_FOREVER);
        while (!task_ring_has_queued(&ring) && all_taken() < TASKS) {
            CHECK(waiter_pause(&waiter) >= 0);
        }
        waiter_end(&waiter);
        int status = task_ring_claim(&ring, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(&item, &lease.worker_took);
            doorbell_ring(&lease.driver_bell);
        }
    }
}

/* Takes back at odd moments, while both live. */
static void agent(void *arg)
{
    (void)arg;
    struct task_ring ring = attach(TASK_TAKER_AGENT);
    struct task_ring_item item;
    for (int i = 0; i < 6; i++) {
        ROOST_YIELD_POINT();
        int status = fibers_random(3) == 0 ? task_ring_claim(&ring, &item)
                                           : task_ring_take_back(&ring, TASK_NEWEST, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(&item, &lease.agent_took);
            doorbell_ring(&lease.driver_bell);
            doorbell_ring(&lease.worker_bell);
        }
    }
}

/* The worker also ends when others took the last task: whoever does rings it. */
static bool all_is_taken(void *arg)
{
    (void)arg;
    return all_taken() == TASKS;
}

static void closer(void *arg)
{
    (void)arg;
    fibers_wait(all_is_taken, NULL);
    doorbell_ring(&lease.worker_bell);
}

static void lease_begin(uint64_t seed)
{
    memset(&lease, 0, sizeof lease);
    task_ring_format(lease.memory, SLOTS);
    waiter_set_wake_ns(5000);
    fibers_begin(seed);
}

TEST(task_ring_interleaved, every_task_has_one_taker_and_nobody_sleeps_beside_work)
{
    uint64_t driver_took = 0, worker_took = 0, agent_took = 0;
    for (uint64_t seed = 0; seed < 10000; seed++) {
        lease_begin(seed);
        fibers_add(driver, NULL);
        fibers_add(worker, NULL);
        fibers_add(agent, NULL);
        fibers_add(closer, NULL);
        CHECK_EQ(fibers_run(), FIBERS_DONE);
        CHECK_EQ(all_taken(), TASKS);
        driver_took += lease.driver_took;
        worker_took += lease.worker_took;
        agent_took += lease.agent_took;
    }
    CHECK(driver_took > 1000 && worker_took > 1000 && agent_took > 1000);
}

/* ---- kills ---- */

static bool somebody_is_dead(void *arg)
{
    (void)arg;
    return fibers_is_killed(FIBER_DRIVER) || fibers_is_killed(FIBER_WORKER);
}

/* What an agent does when one side is dead: recover what was claimed and not copied, take back what is queued; after a
 * dead worker, also what the driver, who does not know yet, still pushes. */
static void undertaker(void *arg)
{
    (void)arg;
    fibers_wait(somebody_is_dead, NULL);
    struct task_ring ring = attach(TASK_TAKER_AGENT);
    struct task_ring_item item;
    uint32_t dead = fibers_is_killed(FIBER_WORKER) ? WORKER : DRIVER;
    while (task_ring_recover(&ring, dead, &item) == 1) {
        account(&item, &lease.agent_took);
    }
    for (;;) {
        bool last = dead == DRIVER || lease.pushed == TASKS; /* before the look that must find it */
        int status = task_ring_take_back(&ring, TASK_NEWEST, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(&item, &lease.agent_took);
            doorbell_ring_always(&lease.driver_bell);
        } else if (last) {
            return;
        } else {
            doorbell_ring_always(&lease.driver_bell);
            fibers_yield();
        }
    }
}

static void check_slots_are_free(void)
{
    struct task_ring ring = attach(TASK_TAKER_AGENT);
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint64_t ticket;
        uint32_t taker;
        CHECK_EQ(task_ring_slot(&ring, i, &ticket, &taker), TASK_SLOT_FREE);
    }
}

/* Tasks that were pushed and have no taker: the one that the dead side had its copy of, or none. */
static uint32_t missing(void)
{
    uint32_t count = 0;
    for (uint32_t number = 0; number < lease.pushed; number++) {
        count += lease.taken[number] == 0;
    }
    return count;
}

TEST(task_ring_interleaved, a_worker_killed_at_any_step_loses_at_most_what_it_had_copied)
{
    int kills = 0, copied = 0, recovered_claims = 0;
    for (uint64_t step = 1; step < 150; step++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            lease_begin(step * 1000 + seed);
            fibers_add(driver, NULL);
            fibers_add(worker, NULL);
            fibers_kill_at(FIBER_WORKER, step);
            fibers_add(undertaker, NULL);
            enum fibers_end end = fibers_run();
            if (!fibers_is_killed(FIBER_WORKER)) {
                continue;
            }
            CHECK_EQ(end, FIBERS_DONE);
            CHECK_EQ(lease.pushed, TASKS);
            CHECK(missing() <= 1);
            check_slots_are_free();
            kills++;
            copied += (int)missing();
            recovered_claims += lease.agent_took > 0;
        }
    }
    CHECK(kills > 1000 && copied > 10 && recovered_claims > 100);
}

/* The worker of a dead driver stops when the agent says so. */
static void worker_of_the_dead(void *arg)
{
    (void)arg;
    struct task_ring ring = attach(WORKER);
    struct task_ring_item item;
    for (int i = 0; i < 40; i++) {
        int status = task_ring_claim(&ring, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(&item, &lease.worker_took);
            doorbell_ring(&lease.driver_bell);
        }
        hook_yield();
    }
}

TEST(task_ring_interleaved, a_driver_killed_at_any_step_leaves_whole_tasks_only)
{
    int kills = 0, unpublished = 0;
    for (uint64_t step = 1; step < 150; step++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            lease_begin(step * 1000 + seed);
            fibers_add(driver, NULL);
            fibers_add(worker_of_the_dead, NULL);
            fibers_kill_at(FIBER_DRIVER, step);
            fibers_add(undertaker, NULL);
            fibers_run();
            if (!fibers_is_killed(FIBER_DRIVER)) {
                continue;
            }
            CHECK(missing() <= 1); /* the driver's own copy of what it took back */
            check_slots_are_free();
            struct task_ring heir = attach(DRIVER);
            CHECK_EQ(push(&heir, TASKS - 1), 0);
            kills++;
            unpublished += lease.taken[lease.pushed] == 0;
        }
    }
    CHECK(kills > 1000 && unpublished > 100);
}
