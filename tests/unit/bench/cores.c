#include "tests/bench/cores.h"
#include "tests/lib/test.h"

#include <stdio.h>

/* The first core that this process may run on, or -1 when that is the only one. */
static int one_of_many(void)
{
    cpu_set_t set;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    for (int core = 0; CPU_COUNT(&set) > 1; core++) {
        if (CPU_ISSET((size_t)core, &set)) {
            return core;
        }
    }
    return -1;
}

TEST(cores, a_process_that_was_started_on_one_core_stays_there_after_a_pin)
{
    int core = one_of_many();
    if (core < 0) {
        printf("skipped: there is one core, and a process cannot leave it\n");
        return;
    }
    CHECK_EQ(cores_pin(core), 0); /* as whoever started it may have done */
    cores_remember();
    CHECK_EQ(cores_pin(core), 0);
    CHECK_EQ(cores_pin(-1), 0);
    cpu_set_t set;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    CHECK_EQ(CPU_COUNT(&set), 1);
    CHECK(CPU_ISSET((size_t)core, &set));
}

TEST(cores, a_pin_is_undone)
{
    cpu_set_t before, after;
    cores_remember();
    CHECK_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    int core = one_of_many();
    CHECK_EQ(cores_pin(core), 0);
    CHECK_EQ(cores_pin(-1), 0);
    CHECK_EQ(sched_getaffinity(0, sizeof after, &after), 0);
    CHECK(CPU_EQUAL(&before, &after));
}
