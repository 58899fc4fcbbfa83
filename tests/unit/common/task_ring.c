#include "common/task_ring.h"
#include "common/error.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { WORKER = 5, DRIVER = 6 };

struct fixture {
    void *memory;
    uint32_t slots;
    struct task_ring producer, worker, agent;
};

static struct fixture fixture_make(uint32_t slots)
{
    struct fixture f = { .memory = aligned_alloc(64, task_ring_bytes(slots)), .slots = slots };
    CHECK(f.memory != NULL);
    task_ring_format(f.memory, slots);
    CHECK_EQ(task_ring_attach(&f.producer, f.memory, slots, DRIVER), 0);
    CHECK_EQ(task_ring_attach(&f.worker, f.memory, slots, WORKER), 0);
    CHECK_EQ(task_ring_attach(&f.agent, f.memory, slots, TASK_TAKER_AGENT), 0);
    return f;
}

/* The payload is the task's number, over and over, in a size that follows from it. */
static int push_numbered(struct task_ring *ring, uint64_t number, uint64_t *ticket_out)
{
    uint64_t payload[TASK_PAYLOAD_BYTES_MAX / 8];
    for (size_t i = 0; i < ROOST_COUNT_OF(payload); i++) {
        payload[i] = number;
    }
    return task_ring_push(ring, number * 3, (uint32_t)number, payload, 8 + number % 60 * 8, ticket_out);
}

static uint64_t check_numbered(const struct task_ring_item *item)
{
    uint64_t number = item->lease / 3, word;
    CHECK_EQ(item->attempt, (uint32_t)number);
    CHECK_EQ(item->bytes, 8 + number % 60 * 8);
    for (uint32_t i = 0; i < item->bytes; i += 8) {
        memcpy(&word, item->payload + i, 8);
        CHECK_EQ(word, number);
    }
    return number;
}

TEST(task_ring, claims_the_oldest_and_takes_back_the_newest)
{
    struct fixture f = fixture_make(8);
    struct task_ring_item item;
    CHECK_EQ(task_ring_claim(&f.worker, &item), 0);
    CHECK_EQ(task_ring_take_back(&f.producer, TASK_NEWEST, &item), 0);
    uint64_t ticket[6];
    for (uint64_t number = 0; number < 6; number++) {
        CHECK_EQ(push_numbered(&f.producer, number, &ticket[number]), 0);
    }
    CHECK_EQ(task_ring_queued_count(&f.agent), 6);
    CHECK_EQ(task_ring_claim(&f.worker, &item), 1);
    CHECK_EQ(check_numbered(&item), 0);
    CHECK_EQ(item.ticket, ticket[0]);
    CHECK_EQ(task_ring_take_back(&f.agent, TASK_NEWEST, &item), 1);
    CHECK_EQ(check_numbered(&item), 5);
    CHECK_EQ(task_ring_take_back(&f.producer, ticket[1], &item), 1); /* this one */
    CHECK_EQ(check_numbered(&item), 1);
    CHECK_EQ(task_ring_take_back(&f.producer, ticket[1], &item), 0); /* no longer */
    CHECK_EQ(task_ring_take_back(&f.producer, ticket[0], &item), 0);
    CHECK_EQ(task_ring_take_back(&f.producer, ticket[2] + (UINT64_C(1) << 48), &item), 0); /* nobody's */
    for (uint64_t number = 2; number < 5; number++) {                                      /* steps over the hole */
        CHECK(task_ring_has_queued(&f.worker));
        CHECK_EQ(task_ring_claim(&f.worker, &item), 1);
        CHECK_EQ(check_numbered(&item), number);
    }
    CHECK(!task_ring_has_queued(&f.worker));
    CHECK_EQ(task_ring_queued_count(&f.agent), 0);
    free(f.memory);
}

TEST(task_ring, what_is_queued_can_be_looked_at_without_being_taken)
{
    struct fixture f = fixture_make(8);
    struct task_ring_item item;
    uint64_t ticket;
    for (uint64_t number = 0; number < 3; number++) {
        CHECK_EQ(push_numbered(&f.producer, number, &ticket), 0);
    }
    for (int look = 0; look < 2; look++) {
        CHECK_EQ(task_ring_peek(&f.agent, (uint32_t)ticket % 8, &item), 1);
        CHECK_EQ(item.ticket, ticket);
        CHECK_EQ(check_numbered(&item), 2);
    }
    CHECK_EQ(task_ring_peek(&f.agent, (uint32_t)(ticket + 1) % 8, &item), 0);
    CHECK_EQ(task_ring_take_back(&f.producer, ticket, &item), 1);
    CHECK_EQ(task_ring_peek(&f.agent, (uint32_t)ticket % 8, &item), 0);
    CHECK_EQ(task_ring_queued_count(&f.agent), 2);
    free(f.memory);
}

TEST(task_ring, every_task_has_one_taker_against_a_model)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t random = seed;
        struct fixture f = fixture_make(2u << seed % 6);
        bool queued[3000] = { false };
        uint64_t ticket_of[3000], pushed = 0, oldest = 0;
        struct task_ring_item item;
        for (int step = 0; step < 3000; step++) {
            while (oldest < pushed && !queued[oldest]) {
                oldest++;
            }
            switch (rings_random(&random, 5)) {
            case 0:
            case 1: /* full is when the oldest queued one is `slots` old */
                if (push_numbered(&f.producer, pushed, &ticket_of[pushed]) == 0) {
                    CHECK(oldest == pushed || pushed - oldest < f.slots);
                    CHECK_EQ(ticket_of[pushed], f.slots + pushed);
                    queued[pushed++] = true;
                } else {
                    CHECK(pushed - oldest == f.slots);
                }
                break;
            case 2:
                CHECK_EQ(task_ring_has_queued(&f.worker), oldest < pushed);
                CHECK_EQ(task_ring_claim(&f.worker, &item), oldest < pushed);
                if (oldest < pushed) {
                    CHECK_EQ(check_numbered(&item), oldest);
                    queued[oldest] = false;
                }
                break;
            case 3: {
                uint64_t newest = pushed;
                while (newest > oldest && !queued[newest - 1]) {
                    newest--;
                }
                struct task_ring *taker = rings_random(&random, 2) == 0 ? &f.producer : &f.agent;
                CHECK_EQ(task_ring_take_back(taker, TASK_NEWEST, &item), newest > oldest);
                if (newest > oldest) {
                    CHECK_EQ(check_numbered(&item), newest - 1);
                    queued[newest - 1] = false;
                }
                break;
            }
            default:
                if (pushed > 0) {
                    uint64_t number = pushed - 1 - rings_random(&random, pushed < 100 ? pushed : 100);
                    CHECK_EQ(task_ring_take_back(&f.producer, ticket_of[number], &item), queued[number]);
                    queued[number] = false;
                }
            }
        }
        CHECK(pushed > 300);
        free(f.memory);
    }
}

TEST(task_ring, attach_refuses_another_layout_and_push_refuses_too_much)
{
    struct fixture f = fixture_make(4);
    struct task_ring other;
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX + 1] = { 0 };
    CHECK_EQ(task_ring_attach(&other, f.memory, 8, 1), ROOST_EVERSION);
    CHECK_EQ(task_ring_push(&f.producer, 1, 1, payload, sizeof payload, NULL), ROOST_ETOOBIG);
    CHECK_EQ(task_ring_push(&f.producer, 1, 1, payload, sizeof payload - 1, NULL), 0);
    CHECK_EQ(task_ring_push(&f.producer, 1, 1, NULL, 0, NULL), 0);
    ((uint32_t *)f.memory)[1]++;
    CHECK_EQ(task_ring_attach(&other, f.memory, 4, 1), ROOST_EVERSION);
    free(f.memory);
}

TEST(task_ring, a_late_handle_finds_what_is_queued_and_goes_on_with_the_tickets)
{
    struct fixture f = fixture_make(4);
    struct task_ring_item item;
    uint64_t last = 0, next = 0;
    for (uint64_t number = 0; number < 11; number++) {
        if (push_numbered(&f.producer, number, &last) == ROOST_EBUSY) {
            CHECK_EQ(task_ring_claim(&f.worker, &item), 1);
            CHECK_EQ(push_numbered(&f.producer, number, &last), 0);
        }
    }
    struct task_ring late;
    CHECK_EQ(task_ring_attach(&late, f.memory, 4, TASK_TAKER_AGENT), 0);
    CHECK_EQ(task_ring_claim(&late, &item), 1);
    CHECK_EQ(check_numbered(&item), 7);
    CHECK_EQ(push_numbered(&late, 11, &next), 0);
    CHECK_EQ(next, last + 1);
    for (uint64_t number = 8; number < 12; number++) {
        CHECK_EQ(task_ring_claim(&f.worker, &item), 1);
        CHECK_EQ(check_numbered(&item), number);
    }
    free(f.memory);
}

/* ---- a hostile other side: asan is the judge ---- */

TEST(task_ring, garbage_from_the_other_side_never_leads_outside_the_memory)
{
    int broken = 0, taken = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t random = seed;
        struct fixture f = fixture_make(4u << rings_random(&random, 3));
        struct task_ring *rings[] = { &f.producer, &f.worker, &f.agent };
        struct task_ring_item item;
        for (int step = 0; step < 60; step++) {
            uint64_t *slot = (uint64_t *)f.memory + 8 + rings_random(&random, f.slots) * (TASK_SLOT_BYTES / 8);
            switch (rings_random(&random, 24)) {
            case 0:
                *slot = rings_random(&random, UINT64_MAX);
                break;
            case 1: /* nearly a word */
                *slot = rings_random(&random, 4 * f.slots) << 16 | rings_random(&random, 12);
                break;
            case 2:
                *slot += (uint64_t)f.slots << 16;
                break;
            case 3: /* the length */
                ((uint32_t *)slot)[5] = (uint32_t)rings_random(&random, UINT32_MAX);
                break;
            default: {
                struct task_ring *ring = rings[rings_random(&random, 3)];
                item.bytes = 0;
                int status = rings_random(&random, 2) == 0 ? push_numbered(&f.producer, 1, NULL)
                             : rings_random(&random, 2) == 0
                                 ? task_ring_claim(ring, &item)
                                 : task_ring_take_back(ring, rings_random(&random, 2) * rings_random(&random, 60),
                                                       &item);
                CHECK(status == 0 || status == 1 || status == ROOST_EINVAL || status == ROOST_EBUSY);
                CHECK(item.bytes <= TASK_PAYLOAD_BYTES_MAX);
                taken += status == 1;
                task_ring_has_queued(ring);
                task_ring_peek(ring, (uint32_t)rings_random(&random, f.slots), &item);
                task_ring_recover(&f.agent, (uint32_t)rings_random(&random, 4), &item);
            }
            }
        }
        CHECK(task_ring_queued_count(&f.agent) <= f.slots);
        broken += f.producer.broken + f.worker.broken;
        free(f.memory);
    }
    CHECK(broken > 1000);
    CHECK(taken > 1000);
}

/* ---- threads and processes ---- */

enum { STRESS_TASKS = 60000, STRESS_SLOTS = 16 };

struct stress {
    void *memory;
    _Atomic uint32_t taken[STRESS_TASKS]; /* how often each task was taken */
    _Atomic uint64_t done;                /* how many, in all */
};

static void account(struct stress *stress, const struct task_ring_item *item)
{
    atomic_fetch_add(&stress->taken[check_numbered(item)], 1);
    atomic_fetch_add(&stress->done, 1);
}

static void *stress_worker(void *arg)
{
    struct stress *stress = arg;
    struct task_ring ring;
    struct task_ring_item item;
    CHECK_EQ(task_ring_attach(&ring, stress->memory, STRESS_SLOTS, WORKER), 0);
    while (atomic_load(&stress->done) < STRESS_TASKS) {
        int status = task_ring_claim(&ring, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(stress, &item);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void *stress_agent(void *arg)
{
    struct stress *stress = arg;
    struct task_ring ring;
    struct task_ring_item item;
    uint64_t random = 7;
    CHECK_EQ(task_ring_attach(&ring, stress->memory, STRESS_SLOTS, TASK_TAKER_AGENT), 0);
    while (atomic_load(&stress->done) < STRESS_TASKS) {
        int status = rings_random(&random, 2) == 0 ? task_ring_take_back(&ring, TASK_NEWEST, &item)
                                                   : task_ring_claim(&ring, &item);
        CHECK(status >= 0);
        if (status == 1) {
            account(stress, &item);
        }
        sched_yield();
    }
    return NULL;
}

static void stress_produce(struct stress *stress)
{
    struct task_ring ring;
    struct task_ring_item item;
    uint64_t random = 3;
    CHECK_EQ(task_ring_attach(&ring, stress->memory, STRESS_SLOTS, DRIVER), 0);
    for (uint64_t number = 0; number < STRESS_TASKS;) {
        int status = push_numbered(&ring, number, NULL);
        CHECK(status == 0 || status == ROOST_EBUSY);
        number += status == 0;
        if (status == ROOST_EBUSY) {
            sched_yield();
        }
        if (rings_random(&random, 16) == 0 && task_ring_take_back(&ring, TASK_NEWEST, &item) == 1) {
            account(stress, &item);
        }
    }
    CHECK(!ring.broken);
}

static struct stress *stress_make(void)
{
    struct stress *stress = rings_shared(sizeof *stress);
    stress->memory = rings_shared(task_ring_bytes(STRESS_SLOTS));
    task_ring_format(stress->memory, STRESS_SLOTS);
    return stress;
}

static void check_each_taken_once(struct stress *stress)
{
    for (size_t i = 0; i < STRESS_TASKS; i++) {
        CHECK_EQ(atomic_load(&stress->taken[i]), 1);
    }
}

TEST(task_ring, three_threads_take_every_task_once)
{
    struct stress *stress = stress_make();
    pthread_t worker, agent;
    CHECK_EQ(pthread_create(&worker, NULL, stress_worker, stress), 0);
    CHECK_EQ(pthread_create(&agent, NULL, stress_agent, stress), 0);
    stress_produce(stress);
    pthread_join(worker, NULL);
    pthread_join(agent, NULL);
    check_each_taken_once(stress);
}

TEST(task_ring, three_processes_take_every_task_once)
{
    struct stress *stress = stress_make();
    pid_t worker = rings_fork();
    if (worker == 0) {
        stress_worker(stress);
        _exit(0);
    }
    pid_t agent = rings_fork();
    if (agent == 0) {
        stress_agent(stress);
        _exit(0);
    }
    stress_produce(stress);
    CHECK(rings_child_succeeded(worker));
    CHECK(rings_child_succeeded(agent));
    check_each_taken_once(stress);
}

TEST(task_ring, after_a_worker_is_killed_the_agent_finds_the_rest)
{
    for (uint64_t round = 1; round <= 40; round++) {
        struct stress *stress = stress_make();
        pid_t worker = rings_fork();
        if (worker == 0) {
            stress_worker(stress);
            _exit(0);
        }
        struct task_ring ring;
        CHECK_EQ(task_ring_attach(&ring, stress->memory, STRESS_SLOTS, DRIVER), 0);
        uint64_t pushed = 0;
        while (atomic_load(&stress->done) < round * 20) {
            pushed += push_numbered(&ring, pushed, NULL) == 0;
        }
        kill(worker, SIGKILL);
        waitpid(worker, NULL, 0);

        struct task_ring agent;
        struct task_ring_item item;
        CHECK_EQ(task_ring_attach(&agent, stress->memory, STRESS_SLOTS, TASK_TAKER_AGENT), 0);
        while (task_ring_recover(&agent, WORKER, &item) == 1) {
            account(stress, &item);
        }
        while (task_ring_take_back(&agent, TASK_NEWEST, &item) == 1) {
            account(stress, &item);
        }
        uint64_t missing = 0;
        for (uint64_t number = 0; number < pushed; number++) {
            uint32_t taken = atomic_load(&stress->taken[number]);
            CHECK(taken <= 1);
            missing += taken == 0;
        }
        CHECK(missing <= 1); /* the one that the worker had its copy of and had not counted */
        for (uint32_t i = 0; i < STRESS_SLOTS; i++) {
            uint64_t ticket;
            uint32_t taker;
            CHECK_EQ(task_ring_slot(&agent, i, &ticket, &taker), TASK_SLOT_FREE);
        }
        CHECK_EQ(push_numbered(&ring, pushed, NULL), 0); /* the producer can go on */
        munmap(stress->memory, task_ring_bytes(STRESS_SLOTS));
        munmap(stress, sizeof *stress);
    }
}
