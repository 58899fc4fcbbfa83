#include "common/limits.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <string.h>

enum { CPUS = 8 };

static struct bench bench;

static void ready(void) { bench_done(&bench, bench.forker, 0, AGENT_FORKER_READY, NULL, 0); }
static void over(const char *why) { bench_done(&bench, bench.forker, 0, AGENT_FORKER_OVER, why, strlen(why)); }

static size_t ways_count(enum agent_spawn_way way)
{
    size_t count = 0;
    for (size_t i = 0; i < bench.ways_count; i++) {
        count += bench.ways[i] == way;
    }
    return count;
}

static void submit(struct core_client driver, int count)
{
    for (int i = 0; i < count; i++) {
        bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1, .cpus_hundredths = 1 });
    }
}

TEST(agent_forker, a_job_of_two_workers_has_none)
{
    bench_start_forking(&bench, 2, NULL, NULL);
    bench_driver(&bench);
    bench_workers_come(&bench);
    CHECK_EQ(bench.ways_count, 2);
    CHECK_EQ(bench.forkers_count, 0);
    bench_end(&bench, false);
}

TEST(agent_forker, it_comes_with_the_third_worker_which_does_not_wait_for_it)
{
    bench_start_forking(&bench, 2, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    submit(driver, 3);
    CHECK_EQ(bench.forkers_count, 1);
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), 3);
    bench_workers_come(&bench);
    CHECK_EQ(bench.tasks_count, 3);
    bench_end(&bench, false);
}

TEST(agent_forker, few_are_started_while_it_is_on_its_way_and_the_others_are_forked)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    submit(driver, CPUS + 2);
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), FORKER_MEANWHILE_MAX);
    ready();
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), FORKER_MEANWHILE_MAX);
    CHECK_EQ(ways_count(AGENT_SPAWN_FORK), CPUS + 2 - FORKER_MEANWHILE_MAX);
    bench_workers_come(&bench);
    CHECK_EQ(bench.tasks_count, CPUS + 2);
    bench_end(&bench, false);
}

TEST(agent_forker, prestarted_workers_are_forked_once_it_is_ready_without_any_task)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    bench_driver(&bench);
    CHECK_EQ(bench.ways_count, FORKER_MEANWHILE_MAX);
    ready();
    CHECK_EQ(bench.ways_count, CPUS);
    CHECK_EQ(bench.ways[CPUS - 1], AGENT_SPAWN_FORK);
    bench_end(&bench, false);
}

TEST(agent_forker, a_worker_that_connects_makes_place_for_another_that_is_started)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    submit(driver, CPUS + 2);
    bench_worker(&bench, bench.spawns[0]);
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), FORKER_MEANWHILE_MAX + 1);
    bench_end(&bench, false);
}

TEST(agent_forker, a_program_that_is_not_safe_to_fork_is_started_from_then_on)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    submit(driver, CPUS + 2);
    over("a thread runs before roost_open()");
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), CPUS + 2);
    CHECK_EQ(ways_count(AGENT_SPAWN_FORK), 0);
    submit(driver, 1);
    CHECK_EQ(bench.forkers_count, 1);
    bench_end(&bench, false);
}

TEST(agent_forker, one_that_ends_after_it_was_ready_is_replaced_but_not_for_ever)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    for (int i = 1; i <= FORKERS_LOST_MAX; i++) {
        CHECK_EQ(bench.forkers_count, i);
        ready();
        bench_workers_come(&bench);
        size_t forked = ways_count(AGENT_SPAWN_FORK);
        over("");
        submit(driver, CPUS + 1); /* of which one finds no worker idle at first */
        bench_workers_come(&bench);
        CHECK_EQ(ways_count(AGENT_SPAWN_FORK), forked);
    }
    CHECK_EQ(bench.forkers_count, FORKERS_LOST_MAX);
    bench_end(&bench, false);
}

TEST(agent_forker, one_that_does_not_come_in_time_is_killed_and_keeps_nobody_waiting)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    bench_driver(&bench);
    while (bench.spawns_count > 0) {
        bench_worker(&bench, bench.spawns[0]);
    }
    CHECK_EQ(bench.ways_count, FORKER_MEANWHILE_MAX); /* the rest of the pool waits: nobody needs it */
    bench_time(&bench, bench.now_ns + (uint64_t)WORKER_START_MS * 1000000);
    CHECK_EQ(bench.killed_count, 1);
    CHECK_EQ(bench.killed[0], bench.forker);
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), CPUS);
    ready(); /* too late: of no effect */
    CHECK_EQ(bench.ways_count, CPUS);
    bench_end(&bench, false);
}

TEST(agent_forker, a_forked_worker_that_does_not_come_ends_it_too)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    bench_workers_come(&bench);
    ready();
    CHECK_EQ(bench.spawns_count, CPUS - FORKER_MEANWHILE_MAX);
    bench_time(&bench, bench.now_ns + (uint64_t)WORKER_START_MS * 1000000);
    CHECK_EQ(bench.killed_count, CPUS - FORKER_MEANWHILE_MAX + 1);
    size_t forked = ways_count(AGENT_SPAWN_FORK);
    submit(driver, CPUS);
    CHECK_EQ(ways_count(AGENT_SPAWN_FORK), forked);
    bench_end(&bench, false);
}

TEST(agent_forker, it_ends_with_its_job)
{
    bench_start_forking(&bench, CPUS, NULL, NULL);
    struct core_client driver = bench_driver(&bench);
    ready();
    bench_gone(&bench, driver, 0);
    CHECK_EQ(bench.killed_count, CPUS + 1);
    CHECK_EQ(bench.killed[0], bench.forker);
    over("");
    CHECK_EQ(bench.ways_count, CPUS);
    bench_end(&bench, true);
}

static void check_never_forks(const char *prefix, const char *environment)
{
    bench_start_forking(&bench, CPUS, prefix, environment);
    bench_driver(&bench);
    CHECK_EQ(ways_count(AGENT_SPAWN_EXEC), CPUS);
    CHECK_EQ(bench.forkers_count, 0);
    bench_end(&bench, false);
}

TEST(agent_forker, a_prefix_or_the_environment_is_against_it_but_no_argument)
{
    check_never_forks("valgrind -q", NULL);
    check_never_forks(NULL, "ROOST_FORK=0");
    bench_start_forking(&bench, CPUS, " ", "ROOST_FORK=1"); /* and "ROOST_FORK=0" is its argument */
    bench_driver(&bench);
    CHECK_EQ(bench.forkers_count, 1);
    bench_end(&bench, false);
}
