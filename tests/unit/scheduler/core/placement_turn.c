#include "common/hash.h"
#include "tests/unit/scheduler/core/placement_fixture.h"

#include <string.h>

static const uint32_t on_0[] = { 0 };

static bool is_placed(const struct queued *task) { return task->booking.state == PLACEMENT_ASSIGNED; }
static bool is_planned(const struct queued *task) { return task->booking.state == PLACEMENT_PLANNED; }

static void enqueue_all(struct placement *placement, struct queued *tasks, uint32_t count,
                        const struct placement_request *request)
{
    for (uint32_t i = 0; i < count; i++) {
        enqueue(placement, &tasks[i], request);
    }
}

static void end(struct placement *placement, struct queued *task)
{
    CHECK(is_placed(task));
    placement_completed(placement, &task->booking, 10 * MILLISECONDS);
    take_turn(placement);
    CHECK(placement_is_valid(placement));
}

/* ------------------------------------------------------------------------------------------------ who goes first */

TEST(placement_turn, of_equal_tasks_the_older_goes_first_whichever_node_has_room)
{
    enum { NODES = 5, TASKS = 400 };
    struct placement *placement = cluster_of(NODES, 2);
    struct placement_request request = task_of(1, NULL, 0);
    struct queued tasks[TASKS] = { 0 };
    uint32_t placed = NODES * 2 * PLACEMENT_WINDOW_PER_CPU, ended = 0;
    uint64_t random = 3;
    enqueue_all(placement, tasks, TASKS, &request);
    take_turn(placement);
    for (; placed < TASKS; placed++) {
        random = hash_mix(random, placed);
        uint32_t at = ended; /* any one of those that run */
        for (uint64_t skip = random % 7; skip > 0 || !is_placed(&tasks[at]); at = (at + 1) % placed) {
            skip -= skip > 0 ? 1 : 0;
        }
        end(placement, &tasks[at]);
        while (ended < placed && !is_placed(&tasks[ended])) {
            ended++;
        }
        CHECK(is_placed(&tasks[placed])); /* the next one, and none behind it */
        CHECK_EQ(placement_queued(placement), TASKS - placed - 1);
    }
    placement_destroy(placement);
}

TEST(placement_turn, the_oldest_that_wants_a_node_has_it_first)
{
    enum { TASKS = 12 };
    struct placement *placement = cluster_of(2, 1);
    struct placement_input input = input_at(100 * GB, on_0, 1); /* too much to move */
    struct placement_request filler = task_of(1, NULL, 0), request = task_of(2, &input, 1);
    struct placement_booking full[2] = { 0 };
    struct queued tasks[TASKS] = { 0 };
    assign(placement, &filler, 0, &full[0]);
    assign(placement, &filler, 0, &full[1]);
    enqueue_all(placement, tasks, TASKS, &request);
    take_turn(placement);
    CHECK_EQ(view(placement, 0).planned, TASKS); /* node 1 stays idle */
    placement_completed(placement, &full[0], MILLISECONDS);
    take_turn(placement);
    for (size_t i = 0; i + 1 < TASKS; i++) {
        CHECK(is_placed(&tasks[i]) && is_planned(&tasks[i + 1]));
        end(placement, &tasks[i]);
    }
    CHECK(is_placed(&tasks[TASKS - 1]));
    placement_destroy(placement);
}

TEST(placement_turn, one_that_was_placed_before_goes_before_those_that_wait)
{
    struct placement *placement = cluster_of(1, 1);
    struct placement_request request = task_of(1, NULL, 0);
    struct queued tasks[4] = { 0 }, again = { .request = request };
    enqueue_all(placement, tasks, 4, &request);
    take_turn(placement);
    placement_enqueue(placement, &again.booking, true);
    end(placement, &tasks[0]);
    CHECK(is_placed(&again));
    CHECK(!is_placed(&tasks[2]));
    placement_destroy(placement);
}

/* Its two tasks never end. What was planned behind them is older than what comes, so it is seen when others have room. */
TEST(placement_turn, a_task_does_not_wait_for_a_node_that_does_not_get_on)
{
    enum { STREAM = 60 };
    struct placement *placement = cluster_of(2, 1);
    struct placement_request request = task_of(1, NULL, 0);
    struct queued stuck[2] = { 0 }, stream[STREAM] = { 0 };
    assign(placement, &request, 0, &stuck[0].booking);
    assign(placement, &request, 0, &stuck[1].booking);
    enqueue_all(placement, stream, STREAM, &request);
    take_turn(placement);
    for (size_t i = 0; i < STREAM; i++) { /* all of them on node 1, in order */
        CHECK(is_placed(&stream[i]));
        CHECK_EQ(stream[i].booking.node, 1);
        end(placement, &stream[i]);
    }
    placement_destroy(placement);
}

TEST(placement_turn, data_tasks_of_a_stuck_node_leave_it_when_it_pays_though_the_queue_never_ends)
{
    enum { TASKS = 8, STREAM = 400 };
    struct placement *placement = cluster_of(2, 1);
    struct placement_input input = input_at(GB / 1000, on_0, 1); /* 1 ms, and as much as half a mean of waiting */
    struct placement_request request = task_of(1, &input, 1), other = task_of(2, NULL, 0);
    struct queued tasks[TASKS] = { 0 }, stream[STREAM] = { 0 };
    struct placement_booking stuck[2] = { 0 };
    assign(placement, &other, 0, &stuck[0]);
    assign(placement, &other, 0, &stuck[1]);
    enqueue_all(placement, stream, 2, &other);
    take_turn(placement);
    enqueue_all(placement, tasks, TASKS, &request);
    uint32_t came = 2, ended = 0, left = TASKS;
    for (; left > 0 && came < STREAM; came++) {
        enqueue(placement, &stream[came], &other);
        bool has_ended = false;
        for (size_t i = 0; i < TASKS && !has_ended; i++) {
            has_ended = is_placed(&tasks[i]);
            if (has_ended) {
                end(placement, &tasks[i]);
                left--;
            }
        }
        if (!has_ended) {
            CHECK(is_placed(&stream[ended]));
            end(placement, &stream[ended++]);
        }
    }
    CHECK_EQ(left, 0);
    CHECK(came < 4 * TASKS); /* and not after the whole stream */
    placement_destroy(placement);
}

TEST(placement_turn, a_node_keeps_its_room_for_a_big_task_that_is_next)
{
    enum { SMALL = 40 };
    struct placement *placement = cluster_of(1, 4);
    struct placement_request small = task_of(1, NULL, 0), big = task_of(2, NULL, 0);
    struct queued first[8] = { 0 }, all_cpus = { 0 }, later[SMALL] = { 0 };
    big.cpus = 400;
    enqueue_all(placement, first, 8, &small);
    enqueue(placement, &all_cpus, &big);
    enqueue_all(placement, later, SMALL, &small);
    take_turn(placement);
    for (size_t i = 0; i < 4; i++) {
        CHECK(!is_placed(&all_cpus));
        CHECK(!is_placed(&later[0])); /* there would be room for it */
        end(placement, &first[i]);
    }
    CHECK(is_placed(&all_cpus));
    placement_destroy(placement);
}

TEST(placement_turn, tasks_that_wait_for_one_node_keep_nobody_else_from_being_judged)
{
    enum { BOUND = 3 * PLACEMENT_SCAN_MAX };
    struct placement *placement = cluster_of(2, 1);
    struct placement_request filler = task_of(1, NULL, 0), bound = task_of(2, NULL, 0);
    struct placement_booking full[2] = { 0 };
    static struct queued tasks[BOUND];
    struct queued free_one = { 0 };
    memset(tasks, 0, sizeof tasks);
    bound.wish = PLACEMENT_HARD;
    bound.node = 0;
    assign(placement, &filler, 0, &full[0]);
    assign(placement, &filler, 0, &full[1]);
    enqueue_all(placement, tasks, BOUND, &bound);
    enqueue(placement, &free_one, &filler);
    uint32_t turns = 0;
    for (bool has_more = true; has_more && turns < 10; turns++) {
        struct placement_choice choice;
        placement_turn_begin(placement);
        while (plan_next(placement, &choice) != NULL) {
        }
        has_more = placement_turn_end(placement);
    }
    CHECK(is_placed(&free_one));
    CHECK_EQ(free_one.booking.node, 1);
    CHECK_EQ(turns, 4); /* each ends after so many that stay queued */
    CHECK_EQ(placement_queued(placement), 0);
    CHECK_EQ(view(placement, 0).planned, BOUND);
    CHECK_EQ(take_turn(placement), 0); /* they are not looked at again */
    placement_completed(placement, &full[0], MILLISECONDS);
    CHECK_EQ(take_turn(placement), 1);
    CHECK(is_placed(&tasks[0]));
    CHECK(placement_is_valid(placement));
    for (size_t i = 0; i < BOUND; i++) {
        placement_release(placement, &tasks[i].booking);
    }
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

/* ------------------------------------------------------------------------------------------------ what it costs */

/* Cells, inputs and copies looked at per task that ends, and how many tasks are judged for it. */
static uint64_t steps_per_end(uint32_t queued_count, uint32_t *judged_out)
{
    enum { NODES = 8, ENDS = 200, WINDOW = NODES * 2 * PLACEMENT_WINDOW_PER_CPU };
    struct placement *placement = cluster_of(NODES, 2);
    uint32_t count = WINDOW + queued_count + ENDS, next = 0, judged = 0;
    struct queued *tasks = calloc(count, sizeof *tasks);
    struct placement_input *inputs = calloc(count, sizeof *inputs);
    static const uint32_t places[NODES] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    CHECK(tasks != NULL && inputs != NULL);
    for (uint32_t i = 0; i < WINDOW + queued_count; i++, next++) {
        inputs[i] = input_at(GB, &places[hash_mix(1, i) % NODES], 1);
        struct placement_request request = task_of(1, &inputs[i], 1);
        enqueue(placement, &tasks[i], &request);
    }
    take_turn(placement);
    uint64_t before = placement_steps(placement);
    for (uint32_t i = 0, ended = 0; i < ENDS; i++, ended++) {
        while (!is_placed(&tasks[ended])) {
            ended++;
        }
        placement_completed(placement, &tasks[ended].booking, 10 * MILLISECONDS);
        inputs[next] = input_at(GB, &places[hash_mix(1, next) % NODES], 1);
        struct placement_request request = task_of(1, &inputs[next], 1);
        enqueue(placement, &tasks[next++], &request);
        judged += take_turn(placement);
    }
    uint64_t steps = (placement_steps(placement) - before) / ENDS;
    *judged_out = judged;
    for (uint32_t i = 0; i < next; i++) {
        placement_release(placement, &tasks[i].booking);
    }
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
    free(tasks);
    free(inputs);
    return steps;
}

TEST(placement_turn, with_a_hundred_thousand_queued_the_next_decision_costs_what_it_did_with_a_hundred)
{
    uint32_t judged_few, judged_many;
    uint64_t few = steps_per_end(100, &judged_few), many = steps_per_end(100000, &judged_many);
    fprintf(stderr, "steps per end: %llu and %llu; judged for 200: %u and %u\n", (unsigned long long)few,
            (unsigned long long)many, judged_few, judged_many);
    CHECK(many <= 2 * few);
    CHECK(judged_many <= 200 * 10); /* one, its neighbours at the front of other plans, a new one */
}

/* ------------------------------------------------------------------------------------------------ what changes */

TEST(placement_turn, a_node_that_comes_takes_from_where_the_wait_is_longest)
{
    enum { TASKS = 20 };
    struct placement *placement = cluster_of(1, 1);
    struct placement_input input = input_at(GB / 100, on_0, 1); /* 10 ms */
    struct placement_request request = task_of(1, &input, 1);
    struct placement_shape shape = shape_of(1, ROOST_GIB(16)), small = shape_of(1, ROOST_GIB(1));
    struct queued tasks[TASKS] = { 0 };
    request.memory_bytes = ROOST_GIB(2);
    CHECK_EQ(placement_node_add(placement, 1, &small), 0); /* asks for tasks, and none would do */
    enqueue_all(placement, tasks, TASKS, &request);
    take_turn(placement);
    CHECK_EQ(view(placement, 0).planned, TASKS - 2);
    CHECK(take_turn(placement) <= 2 * PLACEMENT_CANDIDATES); /* in vain, and few looks each time */
    CHECK_EQ(placement_node_add(placement, 2, &shape), 0);
    take_turn(placement);
    CHECK_EQ(view(placement, 2).cpus_committed, 200);
    CHECK(is_placed(&tasks[2]) && !is_placed(&tasks[TASKS - 1])); /* the oldest go */
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_turn, what_was_planned_on_a_node_that_goes_is_judged_anew_in_its_old_order)
{
    for (int dies = 0; dies < 2; dies++) {
        struct placement *placement = cluster_of(2, 1);
        struct placement_input input = input_at(100 * GB, on_0, 1);
        struct placement_request filler = task_of(1, NULL, 0), request = task_of(2, &input, 1);
        struct placement_booking full[2] = { 0 };
        struct queued tasks[4] = { 0 };
        assign(placement, &filler, 0, &full[0]);
        assign(placement, &filler, 0, &full[1]);
        enqueue_all(placement, tasks, 4, &request);
        take_turn(placement);
        CHECK_EQ(view(placement, 0).planned, 4);
        if (dies == 1) {
            placement_node_remove(placement, 0);
        } else {
            placement_node_suspend(placement, 0);
        }
        CHECK_EQ(tasks[3].booking.state, PLACEMENT_NEW);
        CHECK(placement_is_valid(placement));
        take_turn(placement);
        CHECK(is_placed(&tasks[0]) && is_placed(&tasks[1]) && !is_placed(&tasks[2]));
        CHECK_EQ(tasks[0].booking.node, 1);
        end(placement, &tasks[0]);
        CHECK(is_placed(&tasks[2]) && !is_placed(&tasks[3]));
        placement_destroy(placement);
    }
}

TEST(placement_turn, what_waits_for_a_suspect_is_looked_at_when_it_is_heard_of_and_not_before)
{
    struct placement *placement = cluster_of(2, 1);
    struct placement_request request = task_of(1, NULL, 0);
    struct queued task = { 0 };
    request.wish = PLACEMENT_HARD;
    request.node = 0;
    placement_node_suspend(placement, 0);
    enqueue(placement, &task, &request);
    CHECK_EQ(take_turn(placement), 1);
    CHECK_EQ(task.booking.state, PLACEMENT_NEW);
    CHECK_EQ(take_turn(placement), 0);
    placement_node_resume(placement, 0);
    CHECK_EQ(take_turn(placement), 1);
    CHECK(is_placed(&task));
    placement_destroy(placement);
}

/* All want node 0 while a task is thought to take 10 ms; it is then known to take a second, and a gigabyte moves in one. */
TEST(placement_turn, a_plan_is_summed_up_anew_when_durations_turn_out_otherwise)
{
    enum { TASKS = 16 };
    struct placement *placement = cluster_of(2, 1);
    struct placement_input input = input_at(GB, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct queued tasks[TASKS] = { 0 };
    enqueue_all(placement, tasks, TASKS, &request);
    take_turn(placement);
    CHECK_EQ(view(placement, 0).planned, TASKS - 2);
    CHECK_EQ(view(placement, 1).cpus_committed, 0);
    placement_completed(placement, &tasks[0].booking, 1000 * MILLISECONDS);
    take_turn(placement);
    CHECK(view(placement, 1).cpus_committed > 0);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_turn, a_plan_weighs_on_those_that_are_judged_later)
{
    enum { TASKS = 30 };
    struct placement *placement = cluster_of(2, 1);
    struct placement_input input = input_at(GB, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct queued tasks[TASKS] = { 0 };
    teach(placement, 1, 100 * MILLISECONDS);
    enqueue_all(placement, tasks, TASKS, &request);
    take_turn(placement);
    uint32_t queued = view(placement, 0).planned;
    CHECK(queued > 5 && queued < TASKS - 3); /* they want node 0 until its queue costs more than moving */
    CHECK_EQ(view(placement, 1).cpus_committed, 200);
    for (size_t i = 0; i < 8; i++) {
        CHECK_EQ(tasks[i].booking.node, 0);
    }
    CHECK_EQ(view(placement, 0).cpus_committed, 200); /* what is planned is not committed */
    placement_destroy(placement);
}

TEST(placement_turn, a_release_takes_a_task_out_of_the_queue_wherever_it_stands)
{
    struct placement *placement = cluster_of(2, 1);
    struct placement_input input = input_at(100 * GB, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct queued tasks[4] = { 0 }, new = { 0 };
    enqueue_all(placement, tasks, 4, &request);
    take_turn(placement);
    enqueue(placement, &new, &request);
    CHECK(is_planned(&tasks[2]) && is_planned(&tasks[3]));
    placement_release(placement, &tasks[2].booking);
    placement_release(placement, &new.booking);
    CHECK_EQ(placement_queued(placement), 1);
    CHECK(placement_is_valid(placement));
    end(placement, &tasks[0]);
    CHECK(is_placed(&tasks[3]));
    CHECK_EQ(placement_queued(placement), 0);
    placement_destroy(placement);
}

TEST(placement_turn, a_node_that_handed_a_task_back_gets_it_only_if_there_is_no_other)
{
    struct placement *placement = cluster_of(3, 1);
    struct placement_input input = input_at(GB, (const uint32_t[]){ 1 }, 1);
    struct placement_request request = task_of(1, &input, 1);
    CHECK_EQ(choose(placement, &request).node, 1);
    request.avoid = 1;
    CHECK(choose(placement, &request).node != 1);
    placement_node_remove(placement, 0);
    placement_node_remove(placement, 2);
    CHECK_EQ(choose(placement, &request).node, 1);
    placement_destroy(placement);
}
