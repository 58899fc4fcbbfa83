#include "objectstore/range.h"
#include "common/bytes.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <stdatomic.h>

static roost_ref column(uint64_t index) { return (roost_ref){ .offset = index, .size = ROOST_COLUMN }; }

TEST(range, of_an_object_or_a_column_lies_inside_it)
{
    const uint64_t ends[3] = { 10, 10, 100 };
    uint64_t begin = 7, size = 7;
    CHECK_EQ(range_resolve((roost_ref){ .offset = 60, .size = ROOST_WHOLE }, 100, ends, 3, &begin, &size), 0);
    CHECK(begin == 60 && size == 40);
    CHECK_EQ(range_resolve(column(1), 100, ends, 3, &begin, &size), 0);
    CHECK(begin == 10 && size == 0);
    CHECK_EQ(range_resolve(column(2), 100, ends, 3, &begin, &size), 0);
    CHECK(begin == 10 && size == 90);
    CHECK_EQ(range_resolve(column(3), 100, ends, 3, &begin, &size), ROOST_ERANGE);
    CHECK_EQ(range_resolve(column(2), 99, ends, 3, &begin, &size), ROOST_ERANGE);
    CHECK_EQ(range_resolve((roost_ref){ .offset = 60, .size = 41 }, 100, ends, 3, &begin, &size), ROOST_ERANGE);
    CHECK(begin == 10 && size == 90);
}

static _Atomic uint64_t ends_that_change[2];
static atomic_bool is_over;

static void *change(void *arg)
{
    for (uint64_t i = 0; !atomic_load(&is_over); i++) {
        atomic_store_explicit(&ends_that_change[i % 2], i % 3 == 0 ? UINT64_MAX - i : i % 100, memory_order_relaxed);
    }
    return arg;
}

TEST(range, of_a_column_lies_inside_whatever_becomes_of_its_ends_meanwhile)
{
    enum { SIZE = 100, LOOKS = 2000000 };
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, change, NULL), 0);
    for (int i = 0; i < LOOKS; i++) {
        uint64_t begin, size;
        if (range_resolve(column(1), SIZE, (const uint64_t *)(const void *)ends_that_change, 2, &begin, &size) == 0) {
            CHECK(range_is_inside(begin, size, SIZE));
        }
    }
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}
