/* One connection, many threads. */
#include "tests/integration/cluster/cluster.h"

#include <pthread.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 2, .store_bytes = 128 << 20 };

enum { THREADS = 8, ROUNDS = 150, LARGE_EVERY = 25, LARGE_BYTES = 1 << 20 };

ROOST_TASK(add);
int add(struct roost_task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        sum += roost_arg_uint(task, i);
    }
    return roost_return_value(task, 0, sum);
}

static roost_ref shared; /* 1000, used by all of them at once */

static void put_and_see(uint64_t seed, size_t size)
{
    roost_buffer buffer;
    roost_ref ref;
    roost_view view;
    OK(roost_create(rt, size, &buffer));
    memset(buffer.data, (int)(seed % 251), size);
    OK(roost_seal(rt, &buffer, size, &ref));
    OK(roost_get(rt, ref, &view, LONG_MS));
    CHECK_EQ(view.size, size);
    CHECK_EQ(((const unsigned char *)view.data)[size - 1], seed % 251);
    roost_release(rt, &view);
    roost_free(rt, ref);
}

static void call_some(uint64_t seed)
{
    roost_ref mine, sums[3];
    roost_view views[3];
    bool ready[3];
    OK(roost_put_value(rt, seed, &mine));
    OK(roost_call(rt, add, &sums[0], mine, shared));
    OK(roost_call(rt, add, &sums[1], sums[0], 1));
    OK(roost_call(rt, add, &sums[2], roost_in_refs(sums, 2)));
    roost_free(rt, mine);
    OK(roost_wait(rt, sums, 3, 1, false, ready, LONG_MS));
    OK(roost_get_many(rt, sums, 3, views, LONG_MS));
    CHECK_EQ(*(const uint64_t *)views[1].data, seed + 1001);
    CHECK_EQ(*(const uint64_t *)views[2].data, 2 * seed + 2001);
    roost_release_many(rt, views, 3);
    roost_free_many(rt, sums, 3);
}

static void *work(void *number)
{
    uint64_t seed = (uint64_t)(uintptr_t)number * 1000003;
    for (int round = 0; round < ROUNDS; round++, seed++) {
        uint64_t value;
        put_and_see(seed, round % LARGE_EVERY == 0 ? LARGE_BYTES : 1 + seed % 5000);
        call_some(seed);
        OK(roost_get_value(rt, shared, &value, LONG_MS));
        CHECK_EQ(value, 1000);
    }
    return NULL;
}

TEST(threads, eight_threads_put_get_call_and_free_at_once)
{
    pthread_t threads[THREADS];
    uint64_t value = 1000;
    OK(roost_put_value(rt, value, &shared));
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    roost_free(rt, shared);
}
