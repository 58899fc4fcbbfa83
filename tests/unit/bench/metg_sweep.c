/* The search for METG on a machine of arithmetic: tasks of a known overhead on cores of a known rate. */
#include "tests/bench/metg_sweep.h"
#include "tests/bench/metg_kernel.h"
#include "tests/lib/test.h"

#include <math.h>

enum { CORES = 2, TASKS = 32000, REPETITIONS = 3, STOP = -77 };
#define RATE_OF_CORE 50e9

struct machine {
    double overhead_seconds[REPETITIONS]; /* of each task, in that repetition; the first while searching */
    double overhead_of_long_seconds;      /* more, of tasks with arithmetic */
    double share;                         /* of the arithmetic that is ever done */
    int repetition, runs_left;            /* before one fails */
};

static int run(void *arg, uint64_t iterations, double *seconds_out)
{
    struct machine *machine = arg;
    if (machine->runs_left-- == 0) {
        return STOP;
    }
    double kernel = metg_kernel_flop(iterations) / RATE_OF_CORE / machine->share;
    double overhead = machine->overhead_seconds[machine->repetition];
    overhead += iterations > 0 ? machine->overhead_of_long_seconds : 0;
    *seconds_out = TASKS * (overhead + kernel) / CORES;
    return 0;
}

static int peak(int cores, double *rate_out)
{
    *rate_out = cores * RATE_OF_CORE;
    return 0;
}

static int search(struct machine *machine, struct metg_sweep *sweep_out)
{
    *sweep_out = (struct metg_sweep){ .run = run, .peak = peak, .arg = machine, .cores = CORES, .tasks = TASKS };
    int status = metg_sweep_begin(sweep_out);
    for (machine->repetition = 0; status == 0 && machine->repetition < REPETITIONS; machine->repetition++) {
        status = metg_sweep_repeat(sweep_out);
    }
    return status;
}

static struct machine machine_of(double us0, double us1, double us2)
{
    return (
        struct machine){ .overhead_seconds = { us0 / 1e6, us1 / 1e6, us2 / 1e6 }, .share = 1, .runs_left = 1000000 };
}

static void check_us(const struct metg_sweep *sweep, int repetition, double wanted_us)
{
    bool is_above = true;
    double us = metg_sweep_ns(sweep, repetition, &is_above) / 1e3;
    CHECK(!is_above);
    CHECK(fabs(us - wanted_us) < 0.03 * wanted_us); /* efficiency is no straight line between two points */
}

TEST(metg_sweep, of_an_overhead_that_nothing_hides_is_twice_that_overhead)
{
    static const double overheads_us[] = { 0.2, 1, 7.3, 150, 5300 };
    for (size_t i = 0; i < sizeof overheads_us / sizeof *overheads_us; i++) {
        double us = overheads_us[i];
        struct machine machine = machine_of(us, us, us);
        struct metg_sweep sweep;
        CHECK_EQ(search(&machine, &sweep), 0);
        check_us(&sweep, METG_OF_MEDIANS, 2 * us);
        metg_sweep_fini(&sweep);
    }
}

/* As where workers fall asleep between tasks that are not empty. */
TEST(metg_sweep, is_found_above_where_it_began_when_an_empty_task_promised_too_much)
{
    struct machine machine = machine_of(1, 1, 1);
    machine.overhead_of_long_seconds = 9e-6;
    struct metg_sweep sweep;
    CHECK_EQ(search(&machine, &sweep), 0);
    check_us(&sweep, METG_OF_MEDIANS, 20);
    metg_sweep_fini(&sweep);
}

TEST(metg_sweep, of_medians_takes_no_notice_of_one_slow_repetition_which_has_its_own_figure)
{
    struct machine machine = machine_of(10, 14, 10);
    struct metg_sweep sweep;
    CHECK_EQ(search(&machine, &sweep), 0);
    check_us(&sweep, METG_OF_MEDIANS, 20);
    check_us(&sweep, 1, 28);
    check_us(&sweep, 2, 20);
    metg_sweep_fini(&sweep);
}

TEST(metg_sweep, looks_on_both_sides_of_one_half_and_says_what_it_saw)
{
    struct machine machine = machine_of(10, 10, 10);
    struct metg_sweep sweep;
    CHECK_EQ(search(&machine, &sweep), 0);
    CHECK(sweep.points_count >= 8);
    size_t last = sweep.points_count - 1;
    CHECK(metg_sweep_efficiency(&sweep, 0) > 0.6);
    CHECK(metg_sweep_efficiency(&sweep, last) < 0.4);
    double kernel_us = metg_kernel_flop(sweep.points[last].iterations) / RATE_OF_CORE * 1e6;
    CHECK(fabs(metg_sweep_task_us(&sweep, last) - (10 + kernel_us)) < 1e-6);
    metg_sweep_fini(&sweep);
}

/* Whoever does at most 45 % of the arithmetic, however long the task. */
TEST(metg_sweep, of_a_machine_that_is_never_half_used_is_above_the_longest_task)
{
    struct machine machine = machine_of(10, 10, 10);
    machine.share = 0.45;
    struct metg_sweep sweep;
    CHECK_EQ(search(&machine, &sweep), 0);
    bool is_above = false;
    double ns = metg_sweep_ns(&sweep, METG_OF_MEDIANS, &is_above);
    CHECK(is_above);
    CHECK(fabs(ns / 1e3 - metg_sweep_task_us(&sweep, 0)) < 1e-6);
    metg_sweep_fini(&sweep);
}

TEST(metg_sweep, ends_at_the_first_graph_that_fails)
{
    for (int runs = 0; runs < 12; runs++) {
        struct machine machine = machine_of(10, 10, 10);
        machine.runs_left = runs;
        struct metg_sweep sweep;
        CHECK_EQ(search(&machine, &sweep), STOP);
        CHECK_EQ(machine.runs_left, -1); /* and no other was run */
        metg_sweep_fini(&sweep);
    }
}
