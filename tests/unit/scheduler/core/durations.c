#include "scheduler/core/durations.h"
#include "common/limits.h"
#include "tests/lib/test.h"

static struct id_key function(uint64_t number) { return (struct id_key){ 1, number }; }

TEST(durations, an_unmeasured_function_counts_the_prior)
{
    struct durations durations;
    durations_init(&durations);
    CHECK_EQ(durations_estimate_ns(&durations, function(1)), PLACEMENT_PRIOR_NS);
    durations_fini(&durations);
}

TEST(durations, a_measured_one_counts_the_mean_of_what_was_seen)
{
    struct durations durations;
    durations_init(&durations);
    durations_learn(&durations, function(1), 1000);
    durations_learn(&durations, function(1), 3000);
    durations_learn(&durations, function(2), 50);
    CHECK_EQ(durations_estimate_ns(&durations, function(1)), 2000);
    CHECK_EQ(durations_estimate_ns(&durations, function(2)), 50);
    durations_fini(&durations);
}

TEST(durations, old_samples_fade)
{
    struct durations durations;
    durations_init(&durations);
    for (int i = 0; i < 100000; i++) {
        durations_learn(&durations, function(1), 1000000);
    }
    for (int i = 0; i < 10 * DURATION_SAMPLES; i++) {
        durations_learn(&durations, function(1), 1000);
    }
    CHECK(durations_estimate_ns(&durations, function(1)) < 2000);
    durations_fini(&durations);
}

TEST(durations, an_estimate_is_never_zero)
{
    struct durations durations;
    durations_init(&durations);
    durations_learn(&durations, function(1), 0);
    CHECK_EQ(durations_estimate_ns(&durations, function(1)), 1);
    durations_fini(&durations);
}

TEST(durations, a_function_without_a_name_teaches_nothing)
{
    struct durations durations;
    durations_init(&durations);
    durations_learn(&durations, (struct id_key){ 0, 0 }, 7);
    CHECK_EQ(durations_estimate_ns(&durations, (struct id_key){ 0, 0 }), PLACEMENT_PRIOR_NS);
    CHECK_EQ(durations.by_function.count, 0);
    durations_fini(&durations);
}

TEST(durations, at_the_limit_the_function_longest_unseen_is_forgotten)
{
    struct durations durations;
    durations_init(&durations);
    for (uint64_t number = 0; number < DURATIONS_MAX; number++) {
        durations_learn(&durations, function(number), 5);
    }
    durations_learn(&durations, function(0), 5); /* seen again, so 1 is the oldest */
    durations_learn(&durations, function(DURATIONS_MAX), 5);
    CHECK_EQ(durations.by_function.count, DURATIONS_MAX);
    CHECK_EQ(durations_estimate_ns(&durations, function(0)), 5);
    CHECK_EQ(durations_estimate_ns(&durations, function(1)), PLACEMENT_PRIOR_NS);
    CHECK_EQ(durations_estimate_ns(&durations, function(DURATIONS_MAX)), 5);
    durations_fini(&durations);
}
