/* The ring between two processes: against a model, against a side that lies, and across threads, processes and deaths. */
#include "common/ring.h"
#include "common/error.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <sched.h>

/* A ring in heap memory of exactly its size, so that asan sees every step outside, with both sides attached. */
struct fixture {
    void *memory;
    size_t capacity;
    struct ring_producer producer;
    struct ring_consumer consumer;
};

static struct fixture fixture_make(size_t capacity)
{
    struct fixture f = { aligned_alloc(64, ring_bytes(capacity)), capacity, { 0 }, { 0 } };
    CHECK(f.memory != NULL);
    ring_format(f.memory, capacity);
    CHECK_EQ(ring_producer_attach(&f.producer, f.memory, capacity), 0);
    CHECK_EQ(ring_consumer_attach(&f.consumer, f.memory, capacity), 0);
    return f;
}

/* A message is its number, and then bytes that follow from number and size. */
static bool send_numbered(struct ring_producer *producer, uint64_t number, size_t size)
{
    unsigned char *message = ring_reserve(producer, size);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        message[i] = (unsigned char)(number * 31 + i);
    }
    return true;
}

static void check_numbered(const unsigned char *message, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        CHECK_EQ(message[i], (unsigned char)(number * 31 + i));
    }
}

TEST(ring, what_comes_out_is_what_went_in_against_a_model)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t random = seed;
        size_t capacity = (size_t)64 << (seed % 6), max = ring_message_bytes_max(capacity);
        struct fixture f = fixture_make(capacity);
        size_t sizes[4096];
        uint64_t sent = 0, committed = 0, taken = 0;
        unsigned char copy[2048];
        for (int step = 0; step < 2000; step++) {
            size_t size = rings_random(&random, max + 1), got = 0;
            switch (rings_random(&random, 5)) {
            case 0:
            case 1:
                if (send_numbered(&f.producer, sent, size)) {
                    sizes[sent++ % 4096] = size;
                } else { /* full is only said when it is */
                    uint64_t at = f.producer.reserved % capacity, needed = ring_message_bytes(size);
                    uint64_t pad = needed > capacity - at ? capacity - at : 0;
                    CHECK(f.producer.reserved - f.consumer.published + pad + needed > capacity);
                }
                break;
            case 2:
                ring_commit(&f.producer);
                committed = sent;
                break;
            case 3:
                CHECK_EQ(ring_is_empty(&f.consumer), taken == committed);
                while (rings_random(&random, 4) != 0) {
                    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), taken < committed);
                    if (taken == committed) {
                        break;
                    }
                    CHECK_EQ(got, sizes[taken % 4096]);
                    check_numbered(copy, taken++, got);
                }
                break;
            default:
                ring_consumed(&f.consumer);
                CHECK_EQ(ring_space(&f.producer), capacity - (f.producer.reserved - f.consumer.taken));
            }
        }
        CHECK(taken > 20);
        free(f.memory);
    }
}

TEST(ring, the_promised_places_are_there_wherever_the_end_lies)
{
    enum { CAPACITY = 1024 };
    for (size_t start = 0; start < CAPACITY; start += 8) {
        for (size_t size = 0; size <= 200; size += 13) {
            struct fixture f = fixture_make(CAPACITY);
            size_t got;
            unsigned char copy[CAPACITY];
            while (f.producer.reserved < start) { /* bring the indices to `start` */
                CHECK(ring_reserve(&f.producer, 0) != NULL);
                ring_commit(&f.producer);
                CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
                ring_consumed(&f.consumer);
            }
            size_t places = ring_space(&f.producer) / ring_message_bytes(size) - 1;
            for (size_t i = 0; i < places; i++) {
                CHECK(ring_reserve(&f.producer, size) != NULL);
            }
            free(f.memory);
        }
    }
}

TEST(ring, the_largest_message_fits_into_an_empty_ring_wherever_the_end_lies)
{
    struct fixture f = fixture_make(256);
    unsigned char copy[256];
    for (uint64_t number = 0; number < 1000; number++) {
        size_t size = ring_message_bytes_max(256) - number % 3, got;
        CHECK(send_numbered(&f.producer, number, size));
        ring_commit(&f.producer);
        CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
        CHECK_EQ(got, size);
        check_numbered(copy, number, got);
        ring_consumed(&f.consumer);
    }
    free(f.memory);
}

TEST(ring, attach_refuses_another_layout_or_capacity_and_impossible_indices)
{
    struct fixture f = fixture_make(256);
    struct ring_consumer other;
    CHECK_EQ(ring_consumer_attach(&other, f.memory, 512), ROOST_EVERSION);
    CHECK(strstr(error_text(), "256 bytes") != NULL);
    ((uint32_t *)f.memory)[1]++; /* the layout's number */
    CHECK_EQ(ring_producer_attach(&f.producer, f.memory, 256), ROOST_EVERSION);
    ((uint32_t *)f.memory)[1]--;
    uint64_t *committed = (uint64_t *)f.memory + 8;
    const uint64_t impossible[] = { 4, 264, UINT64_MAX - 7 };
    for (size_t i = 0; i < ROOST_COUNT_OF(impossible); i++) {
        *committed = impossible[i];
        CHECK_EQ(ring_consumer_attach(&other, f.memory, 256), ROOST_EINVAL);
        CHECK_EQ(ring_producer_attach(&f.producer, f.memory, 256), ROOST_EINVAL);
    }
    free(f.memory);
}

TEST(ring, a_snapshot_ends_a_drain_and_gives_two_rings_an_order)
{
    struct fixture a = fixture_make(256), b = fixture_make(256);
    unsigned char copy[64];
    size_t got;
    CHECK(send_numbered(&a.producer, 1, 8) && send_numbered(&b.producer, 2, 8));
    ring_commit(&a.producer);
    ring_commit(&b.producer);
    uint64_t end_b = ring_snapshot(&b.consumer);
    CHECK(send_numbered(&a.producer, 3, 8) && send_numbered(&b.producer, 4, 8)); /* after the snapshot */
    ring_commit(&a.producer);
    ring_commit(&b.producer);
    CHECK_EQ(ring_take(&a.consumer, copy, sizeof copy, &got), 1);
    CHECK_EQ(ring_take(&a.consumer, copy, sizeof copy, &got), 1);
    check_numbered(copy, 3, 8);
    CHECK_EQ(ring_take_until(&b.consumer, end_b, copy, sizeof copy, &got), 1);
    check_numbered(copy, 2, 8);
    CHECK_EQ(ring_take_until(&b.consumer, end_b, copy, sizeof copy, &got), 0);
    CHECK_EQ(ring_take(&b.consumer, copy, sizeof copy, &got), 1);
    check_numbered(copy, 4, 8);
    free(a.memory);
    free(b.memory);
}

TEST(ring, what_comes_next_is_seen_ahead_only_where_all_of_it_is_committed_and_inside)
{
    struct fixture f = fixture_make(256);
    unsigned char copy[64];
    size_t got;
    for (uint64_t number = 0; number < 100; number++) { /* over every place of the ring */
        CHECK(send_numbered(&f.producer, number, 24));
        ring_snapshot(&f.consumer);
        CHECK(ring_ahead(&f.consumer, 24) == NULL);
        ring_commit(&f.producer);
        ring_snapshot(&f.consumer);
        const unsigned char *ahead = ring_ahead(&f.consumer, 24);
        bool is_pad = f.producer.reserved - f.consumer.taken > ring_message_bytes(24);
        CHECK(is_pad || ahead != NULL);
        if (!is_pad) {
            check_numbered(ahead, number, 24);
        }
        CHECK(ring_ahead(&f.consumer, 256) == NULL);
        CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
        CHECK(ring_ahead(&f.consumer, 1) == NULL);
        ring_consumed(&f.consumer);
    }
    free(f.memory);
}

TEST(ring, a_successor_goes_on_where_the_dead_one_was_last_seen)
{
    struct fixture f = fixture_make(256);
    unsigned char copy[64];
    size_t got;
    for (uint64_t number = 0; number < 3; number++) {
        CHECK(send_numbered(&f.producer, number, 16));
    }
    ring_commit(&f.producer);
    CHECK(send_numbered(&f.producer, 3, 16)); /* never committed */
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
    ring_consumed(&f.consumer);
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1); /* never published: seen again */

    struct ring_consumer next_consumer;
    struct ring_producer next_producer;
    CHECK_EQ(ring_consumer_attach(&next_consumer, f.memory, 256), 0);
    CHECK_EQ(ring_producer_attach(&next_producer, f.memory, 256), 0);
    CHECK(send_numbered(&next_producer, 7, 16));
    ring_commit(&next_producer);
    const uint64_t wanted[] = { 1, 2, 7 };
    for (size_t i = 0; i < ROOST_COUNT_OF(wanted); i++) {
        CHECK_EQ(ring_take(&next_consumer, copy, sizeof copy, &got), 1);
        check_numbered(copy, wanted[i], 16);
    }
    CHECK_EQ(ring_take(&next_consumer, copy, sizeof copy, &got), 0);
    free(f.memory);
}

TEST(ring, a_message_longer_than_the_place_for_it_breaks_the_ring_for_good)
{
    struct fixture f = fixture_make(256);
    unsigned char copy[16];
    size_t got = 99;
    CHECK(send_numbered(&f.producer, 1, 17));
    ring_commit(&f.producer);
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), ROOST_EINVAL);
    CHECK_EQ(got, 99);
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), ROOST_EINVAL);
    CHECK(!ring_is_empty(&f.consumer));
    free(f.memory);
}

/* ---- a hostile other side: asan is the judge ---- */

TEST(ring, a_consumer_refuses_each_way_to_lie)
{
    enum { COMMITTED = 8, BYTES = 24 }; /* in words of the memory */
    const struct {
        uint64_t committed, header;
    } lies[] = {
        { 264, 8 | UINT64_C(1) << 32 }, /* more than the ring holds */
        { 12, 4 | UINT64_C(1) << 32 },  /* not at a message */
        { 16, 9 | UINT64_C(1) << 32 },  /* a message longer than what is committed */
        { 16, UINT32_MAX | UINT64_C(1) << 32 },
        { 16, 8 | UINT64_C(3) << 32 },    /* no such kind */
        { 16, 0 },                        /* nothing was written there */
        { 16, 8 | UINT64_C(2) << 32 },    /* a pad that does not reach the end */
        { 256, 248 | UINT64_C(2) << 32 }, /* a pad with no message behind it */
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(lies); i++) {
        struct fixture f = fixture_make(256);
        uint64_t *words = f.memory;
        words[COMMITTED] = lies[i].committed;
        words[BYTES] = lies[i].header;
        unsigned char copy[256];
        size_t got;
        CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), ROOST_EINVAL);
        free(f.memory);
    }
}

TEST(ring, indices_that_go_back_or_ahead_break_the_side_that_sees_them)
{
    enum { COMMITTED = 8, CONSUMED = 16 };
    struct fixture f = fixture_make(256);
    unsigned char copy[64];
    size_t got;
    CHECK(send_numbered(&f.producer, 1, 8) && send_numbered(&f.producer, 2, 8));
    ring_commit(&f.producer);
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
    ((uint64_t *)f.memory)[COMMITTED] -= 16; /* what was taken was never sent? */
    struct ring_consumer misled = f.consumer;
    CHECK(!ring_is_empty(&misled) && misled.broken);
    CHECK_EQ(ring_take(&misled, copy, sizeof copy, &got), ROOST_EINVAL);
    ((uint64_t *)f.memory)[COMMITTED] += 16;
    ring_consumed(&f.consumer);
    CHECK_EQ(ring_space(&f.producer), 256);
    ((uint64_t *)f.memory)[COMMITTED] -= 8;
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), ROOST_EINVAL);
    struct ring_producer before = f.producer;
    ((uint64_t *)f.memory)[CONSUMED] += 8; /* more than was ever sent */
    CHECK_EQ(ring_space(&f.producer), 0);
    CHECK(f.producer.broken && ring_reserve(&f.producer, 0) == NULL);
    ((uint64_t *)f.memory)[CONSUMED] -= 16;
    CHECK_EQ(ring_space(&before), 0);
    free(f.memory);
}

TEST(ring, a_message_across_the_end_is_refused)
{
    struct fixture f = fixture_make(256);
    unsigned char copy[256];
    size_t got;
    for (int i = 0; i < 2; i++) { /* to 16 bytes before the end */
        CHECK(send_numbered(&f.producer, 1, 112) != 0);
        ring_commit(&f.producer);
        CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), 1);
        ring_consumed(&f.consumer);
    }
    uint64_t *words = f.memory;
    words[24 + 240 / 8] = 40 | UINT64_C(1) << 32;
    words[8] = 240 + 48;
    CHECK_EQ(ring_take(&f.consumer, copy, sizeof copy, &got), ROOST_EINVAL);
    free(f.memory);
}

static void scribble(struct fixture *f, uint64_t *random)
{
    uint64_t *words = f->memory;
    size_t index = 0;
    switch (rings_random(random, 3)) {
    case 0:
        index = 8; /* committed */
        break;
    case 1:
        index = 16; /* consumed */
        break;
    default: /* a header or a message */
        index = 24 + rings_random(random, f->capacity / 8);
    }
    switch (rings_random(random, 4)) {
    case 0:
        words[index] = rings_random(random, UINT64_MAX);
        break;
    case 1:
        words[index] += 8 * rings_random(random, 8);
        break;
    case 2:
        words[index] = (1 + rings_random(random, 2)) << 32 |
                       rings_random(random, f->capacity * 2); /* nearly a header */
        break;
    default:
        words[index] ^= UINT64_C(1) << rings_random(random, 64);
    }
}

TEST(ring, garbage_from_the_other_side_never_leads_outside_the_memory)
{
    int broken_producers = 0, broken_consumers = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t random = seed;
        struct fixture f = fixture_make((size_t)64 << rings_random(&random, 4));
        unsigned char copy[300];
        for (int step = 0; step < 40; step++) {
            size_t got = 0;
            if (rings_random(&random, 8) == 0) {
                scribble(&f, &random);
            }
            unsigned char *message = ring_reserve(&f.producer,
                                                  rings_random(&random, ring_message_bytes_max(f.capacity) + 1));
            ring_commit(&f.producer);
            CHECK(message == NULL || (message > (unsigned char *)f.memory &&
                                      message < (unsigned char *)f.memory + ring_bytes(f.capacity) + 1));
            CHECK(ring_space(&f.producer) <= f.capacity);
            int status = ring_take(&f.consumer, copy, sizeof copy, &got);
            CHECK(status == 0 || status == 1 || status == ROOST_EINVAL);
            CHECK(status != 1 || got <= sizeof copy);
            ring_consumed(&f.consumer);
            struct ring_consumer late = f.consumer;
            status = ring_consumer_attach(&late, f.memory, f.capacity);
            for (int i = 0; status == 0 && i < 50; i++) { /* whoever comes later is as safe */
                status = ring_take(&late, copy, sizeof copy, &got) == 1 ? 0 : 1;
            }
        }
        broken_producers += f.producer.broken;
        broken_consumers += f.consumer.broken;
        free(f.memory);
    }
    CHECK(broken_producers > 1000);
    CHECK(broken_consumers > 1000);
}

/* ---- two threads, two processes ---- */

enum { STRESS_MESSAGES = 100000, STRESS_CAPACITY = 4096 };

static void *produce(void *memory)
{
    struct ring_producer producer;
    CHECK_EQ(ring_producer_attach(&producer, memory, STRESS_CAPACITY), 0);
    uint64_t random = 1;
    for (uint64_t number = 0; number < STRESS_MESSAGES; number++) {
        size_t size = number % 1000 == 0 ? ring_message_bytes_max(STRESS_CAPACITY) : rings_random(&random, 100);
        while (!send_numbered(&producer, number, size)) {
            ring_commit(&producer);
            sched_yield();
        }
        if (rings_random(&random, 4) == 0) {
            ring_commit(&producer);
        }
    }
    ring_commit(&producer);
    return NULL;
}

static void consume_all(void *memory)
{
    struct ring_consumer consumer;
    CHECK_EQ(ring_consumer_attach(&consumer, memory, STRESS_CAPACITY), 0);
    uint64_t random = 1;
    unsigned char copy[STRESS_CAPACITY];
    for (uint64_t number = 0; number < STRESS_MESSAGES;) {
        size_t size = number % 1000 == 0 ? ring_message_bytes_max(STRESS_CAPACITY) : rings_random(&random, 100), got;
        int status;
        while ((status = ring_take(&consumer, copy, sizeof copy, &got)) == 0) {
            ring_consumed(&consumer);
            sched_yield();
        }
        CHECK_EQ(status, 1);
        CHECK_EQ(got, size);
        check_numbered(copy, number++, got);
        rings_random(&random, 4); /* the producer drew here too */
    }
    CHECK(ring_is_empty(&consumer));
}

TEST(ring, two_threads_lose_and_reorder_nothing)
{
    void *memory = rings_shared(ring_bytes(STRESS_CAPACITY));
    ring_format(memory, STRESS_CAPACITY);
    pthread_t producer;
    CHECK_EQ(pthread_create(&producer, NULL, produce, memory), 0);
    consume_all(memory);
    pthread_join(producer, NULL);
}

TEST(ring, two_processes_lose_and_reorder_nothing)
{
    void *memory = rings_shared(ring_bytes(STRESS_CAPACITY));
    ring_format(memory, STRESS_CAPACITY);
    pid_t child = rings_fork();
    if (child == 0) {
        produce(memory);
        _exit(0);
    }
    consume_all(memory);
    CHECK(rings_child_succeeded(child));
}

TEST(ring, what_a_killed_producer_committed_can_be_read_to_the_end)
{
    for (uint64_t round = 1; round <= 30; round++) {
        void *memory = rings_shared(ring_bytes(STRESS_CAPACITY));
        ring_format(memory, STRESS_CAPACITY);
        pid_t child = rings_fork();
        if (child == 0) {
            struct ring_producer producer;
            ring_producer_attach(&producer, memory, STRESS_CAPACITY);
            for (uint64_t number = 0;; number += send_numbered(&producer, number, number % 300)) {
                ring_commit(&producer);
            }
        }
        struct ring_consumer consumer;
        CHECK_EQ(ring_consumer_attach(&consumer, memory, STRESS_CAPACITY), 0);
        unsigned char copy[STRESS_CAPACITY];
        uint64_t number = 0;
        for (bool alive = true;;) {
            size_t got;
            int status = ring_take(&consumer, copy, sizeof copy, &got);
            ring_consumed(&consumer);
            if (status == 0 && !alive) {
                break;
            }
            if (status == 0) {
                sched_yield();
                continue;
            }
            CHECK_EQ(status, 1);
            CHECK_EQ(got, number % 300);
            check_numbered(copy, number++, got);
            if (alive && number == round * 100) {
                kill(child, SIGKILL);
                waitpid(child, NULL, 0);
                alive = false;
            }
        }
        struct ring_producer successor;
        CHECK_EQ(ring_producer_attach(&successor, memory, STRESS_CAPACITY), 0);
        CHECK_EQ(ring_space(&successor), STRESS_CAPACITY);
        munmap(memory, ring_bytes(STRESS_CAPACITY));
    }
}
