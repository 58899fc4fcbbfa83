#include "scheduler/core/load.h"
#include "tests/lib/test.h"

TEST(load, a_newcomer_waits_for_nothing_while_there_is_room)
{
    struct load load = { .capacity = 800 };
    load_add(&load, 700, 1000000);
    CHECK_EQ(load_wait_ns(&load, 100), 0);
}

TEST(load, with_every_unit_in_use_a_newcomer_waits_half_a_task)
{
    struct load load = { .capacity = 800 };
    for (int task = 0; task < 8; task++) {
        load_add(&load, 100, 1000);
    }
    CHECK_EQ(load_wait_ns(&load, 100), 500);
}

TEST(load, what_queues_before_a_newcomer_is_shared_by_all_units)
{
    struct load load = { .capacity = 800 };
    for (int task = 0; task < 24; task++) {
        load_add(&load, 100, 1000);
    }
    CHECK_EQ(load_wait_ns(&load, 100), 2500); /* three rounds, the first half done */
}

TEST(load, a_big_task_waits_on_a_node_that_is_only_partly_used)
{
    struct load load = { .capacity = 800 };
    load_add(&load, 100, 1000);
    CHECK_EQ(load_wait_ns(&load, 800), 500);
}

TEST(load, comes_off_exactly_as_it_went_on_however_large)
{
    struct load load = { .capacity = 1 << 20 };
    for (uint64_t task = 1; task <= 1000; task++) {
        load_add(&load, UINT64_C(1) << 36, UINT64_C(1) << 50);
        load_add(&load, task, task * 7);
    }
    CHECK(load_wait_ns(&load, 1) > LOAD_WAIT_NS_MAX / 2);
    for (uint64_t task = 1; task <= 1000; task++) {
        load_remove(&load, UINT64_C(1) << 36, UINT64_C(1) << 50);
        load_remove(&load, task, task * 7);
    }
    CHECK_EQ(load.used, 0);
    CHECK(load.work == 0);
}

TEST(load, bytes_take_as_long_as_the_network_needs)
{
    uint64_t pace = nic_pace(1250000000);
    CHECK_EQ(nic_time_ns(1250000000, pace) / 1000000, 999); /* a second, but for the rounding down */
    CHECK_EQ(nic_time_ns(0, pace), 0);
    CHECK_EQ(nic_time_ns(UINT64_MAX, nic_pace(1)), LOAD_WAIT_NS_MAX);
}
