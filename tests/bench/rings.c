/* rings.c - what the rings and bells cost on this machine: bench_rings [seconds-scale, default 1]
 *
 * Prints one line per figure: name=value ns. Not a test: the numbers are for people and for performance.md. */
#include "tests/lib/rings.h"
#include "common/doorbell.h"
#include "common/ring.h"
#include "common/task_ring.h"
#include "common/thread_hooks.h"

#include <sched.h>

enum { CAPACITY = 64 << 10, SLOTS = 64, SMALL_TASK_BYTES = 40, DONE_BYTES = 24 };

/* Everything that two processes share in these measurements. */
struct shared {
    struct doorbell bell[2];
    unsigned char spare[56]; /* the flags of who goes first are not on the bells' line */
    _Atomic uint32_t go;
    unsigned char there[192 + CAPACITY] __attribute__((__aligned__(64)));
    unsigned char back[192 + CAPACITY] __attribute__((__aligned__(64)));
    unsigned char tasks[64 + SLOTS * TASK_SLOT_BYTES] __attribute__((__aligned__(64)));
};

static struct shared *shared_make(void)
{
    struct shared *shared = rings_shared(sizeof *shared);
    ring_format(shared->there, CAPACITY);
    ring_format(shared->back, CAPACITY);
    task_ring_format(shared->tasks, SLOTS);
    return shared;
}

static void run_on(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(sched_setaffinity(0, sizeof set, &set) == 0); /* a bench that measures the wrong thing is worse than none */
}

static void print_ns(const char *name, uint64_t started_ns, uint64_t count)
{
    printf("%-44s %10.1f ns\n", name, (double)(hook_now_ns() - started_ns) / (double)count);
    fflush(stdout);
}

/* Runs `other` in a child on `cpu`, `self` here on processor 0, and prints the time per message. */
static void measure(const char *name, unsigned cpu, uint64_t count, void (*other)(struct shared *, uint64_t),
                    void (*self)(struct shared *, uint64_t))
{
    struct shared *shared = shared_make();
    pid_t child = rings_fork();
    if (child == 0) {
        run_on(cpu);
        other(shared, count);
        _exit(0);
    }
    run_on(0);
    uint64_t started_ns = hook_now_ns();
    self(shared, count);
    print_ns(name, started_ns, count);
    CHECK(rings_child_succeeded(child));
    munmap(shared, sizeof *shared);
}

/* ---- a stream of messages ---- */

static void stream_out(struct shared *shared, uint64_t count)
{
    struct ring_producer out;
    struct waiter waiter;
    ring_producer_attach(&out, shared->there, CAPACITY);
    waiter_init(&waiter, &shared->bell[1]);
    for (uint64_t sent = 0; sent < count; sent++) {
        uint64_t *message;
        waiter_begin(&waiter, ROOST_FOREVER);
        while ((message = ring_reserve(&out, 32)) == NULL) {
            waiter_pause(&waiter);
        }
        waiter_end(&waiter);
        message[0] = sent;
        if (sent % 8 == 7 || sent + 1 == count) {
            ring_commit(&out);
            doorbell_ring(&shared->bell[0]);
        }
    }
}

static void stream_in(struct shared *shared, uint64_t count)
{
    struct ring_consumer in;
    struct waiter waiter;
    ring_consumer_attach(&in, shared->there, CAPACITY);
    waiter_init(&waiter, &shared->bell[0]);
    for (uint64_t taken = 0; taken < count;) {
        uint64_t copy[4];
        size_t size;
        waiter_begin(&waiter, ROOST_FOREVER);
        while (ring_is_empty(&in)) {
            waiter_pause(&waiter);
        }
        waiter_end(&waiter);
        for (int batch = 0; batch < 64 && ring_take(&in, copy, sizeof copy, &size) == 1; batch++) {
            CHECK(copy[0] == taken++);
        }
        ring_consumed(&in);
        doorbell_ring(&shared->bell[1]);
    }
}

static void one_thread(uint64_t count)
{
    struct shared *shared = shared_make();
    struct ring_producer out;
    struct ring_consumer in;
    ring_producer_attach(&out, shared->there, CAPACITY);
    ring_consumer_attach(&in, shared->there, CAPACITY);
    uint64_t copy[4], started_ns = hook_now_ns();
    size_t size;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *message = ring_reserve(&out, 32);
        message[0] = i;
        ring_commit(&out);
        CHECK(ring_take(&in, copy, sizeof copy, &size) == 1 && copy[0] == i);
        ring_consumed(&in);
    }
    print_ns("ring, both ends on one thread, 32 B", started_ns, count);
    munmap(shared, sizeof *shared);
}

/* ---- tasks and completions ---- */

static void work(struct shared *shared, uint64_t count)
{
    struct task_ring tasks;
    struct ring_producer done;
    struct waiter waiter;
    struct task_ring_item item;
    task_ring_attach(&tasks, shared->tasks, SLOTS, 1);
    ring_producer_attach(&done, shared->back, CAPACITY);
    waiter_init(&waiter, &shared->bell[0]);
    for (uint64_t ran = 0; ran < count; ran++) {
        waiter_begin(&waiter, ROOST_FOREVER);
        while (task_ring_claim(&tasks, &item) != 1) {
            waiter_pause(&waiter);
        }
        waiter_end(&waiter);
        uint64_t *completion = ring_reserve(&done, DONE_BYTES);
        CHECK(completion != NULL);
        completion[0] = item.ticket;
        ring_commit(&done);
        doorbell_ring(&shared->bell[1]);
    }
}

/* Keeps at most `window` tasks under way. */
static void drive(struct shared *shared, uint64_t count, uint64_t window)
{
    struct task_ring tasks;
    struct ring_consumer done;
    struct waiter waiter;
    unsigned char payload[SMALL_TASK_BYTES] = { 0 };
    task_ring_attach(&tasks, shared->tasks, SLOTS, 2);
    ring_consumer_attach(&done, shared->back, CAPACITY);
    waiter_init(&waiter, &shared->bell[1]);
    for (uint64_t pushed = 0, completed = 0; completed < count;) {
        while (pushed < count && pushed - completed < window &&
               task_ring_push(&tasks, 1, 1, payload, sizeof payload, NULL) == 0) {
            pushed++;
        }
        doorbell_ring(&shared->bell[0]);
        waiter_begin(&waiter, ROOST_FOREVER);
        while (ring_is_empty(&done)) {
            waiter_pause(&waiter);
        }
        waiter_end(&waiter);
        uint64_t copy[3];
        size_t size;
        while (ring_take(&done, copy, sizeof copy, &size) == 1) {
            completed++;
        }
        ring_consumed(&done);
    }
}

static void drive_many(struct shared *shared, uint64_t count) { drive(shared, count, SLOTS); }
static void drive_one(struct shared *shared, uint64_t count) { drive(shared, count, 1); }

/* ---- wake-ups: each round the other side is fast asleep ---- */

static void wake_other(struct shared *shared, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t turn = (uint32_t)(2 * i + 1);
        doorbell_arm(&shared->bell[0]);
        while (atomic_load(&shared->go) != turn) {
            doorbell_sleep(&shared->bell[0], WAIT_SLEEP_NS_MAX);
            doorbell_arm(&shared->bell[0]);
        }
        doorbell_disarm(&shared->bell[0]);
        atomic_store(&shared->go, turn + 1);
        doorbell_ring(&shared->bell[1]);
    }
}

static void wake_self(struct shared *shared, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t turn = (uint32_t)(2 * i + 1);
        atomic_store(&shared->go, turn);
        doorbell_ring(&shared->bell[0]);
        doorbell_arm(&shared->bell[1]);
        while (atomic_load(&shared->go) != turn + 1) {
            doorbell_sleep(&shared->bell[1], WAIT_SLEEP_NS_MAX);
            doorbell_arm(&shared->bell[1]);
        }
        doorbell_disarm(&shared->bell[1]);
    }
}

int main(int argc, char **argv)
{
    uint64_t scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned other = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    printf("%-44s %10llu ns\n", "wake-up time, as measured by waiter_wake_ns", (unsigned long long)waiter_wake_ns());
    one_thread(5000000 * scale);
    measure("ring, one core, 32 B, commits of 8", 0, 2000000 * scale, stream_out, stream_in);
    measure("task + completion, one core, 64 under way", 0, 500000 * scale, work, drive_many);
    measure("task round trip, one core, 1 under way", 0, 50000 * scale, work, drive_one);
    measure("two futex wake-ups, one core", 0, 20000 * scale, wake_other, wake_self);
    if (other == 0) {
        printf("skipped: only one core\n");
        return 0;
    }
    measure("ring, two cores, 32 B, commits of 8", other, 5000000 * scale, stream_out, stream_in);
    measure("task + completion, two cores, 64 under way", other, 1000000 * scale, work, drive_many);
    measure("task round trip, two cores, 1 under way", other, 200000 * scale, work, drive_one);
    measure("two futex wake-ups, two cores", other, 10000 * scale, wake_other, wake_self);
    return 0;
}
