/* A task whose inputs are being made on one node goes there at once. */
#include "tests/lib/head_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;

static void start(uint32_t agents, uint32_t cpus) { bench_cluster(&bench, NULL, agents, cpus); }

static struct task_id submit(const roost_in *args, size_t count)
{
    struct bench_call call = { .args = args, .args_count = count, .returns = 1, .max_retries = 3 };
    return bench_submit(&bench, 0, &call);
}

static struct task_id submit_to(uint32_t agent)
{
    struct bench_call call = {
        .returns = 1, .max_retries = 3, .node = bench.agents[agent].id, .flags = SPEC_NODE_ONLY
    };
    return bench_submit(&bench, 0, &call);
}

static roost_in result_of(struct task_id task) { return bench_ref(result_id(task, 0)); }

static struct task_id submit_after(struct task_id task) { return submit((roost_in[]){ result_of(task) }, 1); }

static bool waits_at_the_head(struct task_id task) { return bench_placed(&bench, task) == BENCH_AGENTS; }

TEST(head_follow, who_reads_what_is_being_made_on_a_node_goes_there_at_once)
{
    start(2, 4);
    struct task_id first = submit_to(1), second = submit_after(first);
    CHECK_EQ(bench_placed(&bench, second), 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_TASK)->args_count, 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_TASK)->args_sealed, 0);
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    size_t said = bench_said_count(&bench, 1, PROTO_TASK);
    bench_complete(&bench, 1, first, 1, 1, 16);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_complete(&bench, 1, second, 1, 1, 16);
    CHECK_EQ(head_counts(bench.head).tasks_done, 2);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_TASK), said);
    bench_end(&bench);
}

TEST(head_follow, nobody_follows_to_a_node_that_is_to_give_up_bytes_first)
{
    start(2, 4);
    struct task_id first = submit_to(1);
    bench.turns_are_held = true;
    struct object_id gone = { 5, 6 };
    bench_location(&bench, 1, gone, 100, true); /* a copy that came too late: its FREE goes in the turn */
    struct task_id second = submit_after(first);
    CHECK(waits_at_the_head(second));
    bench_turn(&bench);
    CHECK(bench_was_freed(&bench, 1, gone));
    bench_end(&bench);
}

TEST(head_follow, a_chain_that_came_before_its_first_task_was_placed_follows_it)
{
    start(2, 4);
    bench.turns_are_held = true;
    struct task_id first = submit_to(1), second = submit_after(first), third = submit_after(second);
    CHECK(waits_at_the_head(first) && waits_at_the_head(second));
    bench_turn(&bench);
    CHECK(bench_placed(&bench, second) == 1 && bench_placed(&bench, third) == 1);
    bench_end(&bench);
}

TEST(head_follow, one_that_is_made_by_one_is_followed_by_one)
{
    start(2, 4);
    struct task_id first = submit_to(1), second = submit_after(first), third = submit_after(first);
    CHECK_EQ(bench_placed(&bench, second), 1);
    CHECK(waits_at_the_head(third)); /* what goes on at once is shared out among all nodes */
    bench_complete(&bench, 1, first, 1, 1, 16);
    CHECK(!waits_at_the_head(third));
    bench_end(&bench);
}

TEST(head_follow, as_many_follow_as_make_what_several_read)
{
    start(2, 4);
    struct task_id makers[] = { submit_to(1), submit_to(1) };
    roost_in both[] = { result_of(makers[0]), result_of(makers[1]) };
    struct task_id readers[] = { submit(both, 2), submit(both, 2), submit(both, 2) };
    CHECK(bench_placed(&bench, readers[0]) == 1 && bench_placed(&bench, readers[1]) == 1);
    CHECK(waits_at_the_head(readers[2]));
    bench_end(&bench);
}

TEST(head_follow, what_is_being_made_on_two_nodes_is_waited_for_at_the_head)
{
    start(2, 4);
    roost_in both[] = { result_of(submit_to(0)), result_of(submit_to(1)) };
    CHECK(waits_at_the_head(submit(both, 2)));
    bench_end(&bench);
}

TEST(head_follow, a_task_follows_when_the_last_of_its_other_inputs_has_come)
{
    start(2, 4);
    struct task_id here = submit_to(0), there = submit_to(1);
    struct task_id reader = submit((roost_in[]){ result_of(here), result_of(there) }, 2);
    bench_complete(&bench, 0, here, 1, 1, 16);
    CHECK_EQ(bench_placed(&bench, reader), 1);
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    bench_end(&bench);
}

TEST(head_follow, who_reads_much_that_lies_elsewhere_does_not_follow)
{
    start(2, 4);
    struct object_id big = bench_put(&bench, 0, ROOST_GIB(1));
    struct task_id there = submit_to(1);
    struct task_id reader = submit((roost_in[]){ bench_ref(big), result_of(there) }, 2);
    CHECK(bench_placed(&bench, reader) != 1);
    bench_end(&bench);
}

TEST(head_follow, who_may_run_once_only_wishes_for_another_node_or_is_to_be_spread_does_not_follow)
{
    start(2, 4);
    struct task_id first = submit_to(1);
    roost_in arg = result_of(first);
    struct bench_call once = { .args = &arg, .args_count = 1, .returns = 1 }, elsewhere = once, spread = once;
    elsewhere.max_retries = spread.max_retries = 3;
    elsewhere.node = bench.agents[0].id;
    spread.flags = SPEC_SPREAD;
    CHECK(waits_at_the_head(bench_submit(&bench, 0, &once)));
    CHECK(waits_at_the_head(bench_submit(&bench, 0, &elsewhere)));
    CHECK(waits_at_the_head(bench_submit(&bench, 0, &spread)));
    bench_end(&bench);
}

TEST(head_follow, what_follows_on_a_node_is_little_work)
{
    start(2, 4);
    enum { MADE_NS = 1000000, FOLLOWERS = 4 * PLACEMENT_FOLLOW_NS / MADE_NS, CHAIN = FOLLOWERS + 5 };
    for (int i = 0; i < 2; i++) { /* the function is known to take a millisecond */
        bench_complete(&bench, 1, submit_to(1), 1, 1, 16);
    }
    struct task_id tasks[CHAIN] = { submit_to(1) };
    for (int i = 1; i < CHAIN; i++) {
        tasks[i] = submit_after(tasks[i - 1]);
    }
    CHECK_EQ(bench_placed(&bench, tasks[FOLLOWERS]), 1);
    CHECK(waits_at_the_head(tasks[FOLLOWERS + 1]));
    for (int i = 0; i < CHAIN; i++) {
        CHECK_EQ(bench_placed(&bench, tasks[i]), 1);
        bench_complete(&bench, 1, tasks[i], 1, 1, 16);
    }
    CHECK_EQ(head_counts(bench.head).tasks_done, CHAIN + 2);
    bench_end(&bench);
}

TEST(head_follow, who_follows_is_placed_anew_when_the_node_dies_and_it_counts_for_nothing)
{
    start(3, 4);
    struct bench_call call = { .returns = 1, .max_retries = 3, .node = bench.agents[1].id };
    struct task_id first = bench_submit(&bench, 0, &call);
    roost_in arg = result_of(first);
    struct bench_call reader = { .args = &arg, .args_count = 1, .returns = 1, .max_retries = 1 };
    struct task_id second = bench_submit(&bench, 0, &reader);
    CHECK(bench_placed(&bench, first) == 1 && bench_placed(&bench, second) == 1);
    bench_die(&bench, 1);
    uint32_t at = bench_placed(&bench, first);
    CHECK(at != 1 && at != BENCH_AGENTS);
    CHECK_EQ(bench_attempt(&bench, first), 2);
    bench_complete(&bench, at, first, 2, 1, 16);
    at = bench_placed(&bench, second);
    CHECK(at != 1 && at != BENCH_AGENTS);
    bench_fail(&bench, at, second, bench_attempt(&bench, second), ROOST_EWORKER, true); /* its first try */
    at = bench_placed(&bench, second);
    CHECK_EQ(bench_attempt(&bench, second), 3);
    bench_complete(&bench, at, second, 3, 1, 16);
    CHECK_EQ(head_counts(bench.head).tasks_done, 2);
    bench_end(&bench);
}

TEST(head_follow, who_follows_one_that_is_tried_elsewhere_stays_and_is_told)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .max_retries = 3, .node = bench.agents[1].id };
    struct task_id first = bench_submit(&bench, 0, &call), second = submit_after(first);
    CHECK(bench_placed(&bench, first) == 1 && bench_placed(&bench, second) == 1);
    struct proto_message back = {
        .kind = PROTO_HANDBACK, .u.handback = { .task = first, .attempt = 1, .reason = PROTO_HANDBACK_ROOM, .text = "" }
    };
    bench_say(&bench, 1, &back);
    CHECK_EQ(bench_placed(&bench, first), 0);
    bench_complete(&bench, 0, first, 1, 1, 16);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_FOUND), 1);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_complete(&bench, 1, second, 1, 1, 16);
    CHECK_EQ(head_counts(bench.head).tasks_done, 2);
    bench_end(&bench);
}

TEST(head_follow, why_it_waits_names_what_for_and_where)
{
    start(2, 4);
    struct task_id first = submit_to(1);
    submit_after(first);
    const struct bench_said *rows = bench_query(&bench, PROTO_QUERY_TASKS, "state=early");
    CHECK_EQ(rows->total, 1);
    CHECK(strstr(rows->text, "waits for object") != NULL);
    CHECK(strstr(rows->text, "on node 2") != NULL);
    bench_end(&bench);
}

TEST(head_follow, what_only_waits_at_its_node_when_the_head_comes_back_leaves_room_for_what_it_follows)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 1);
    bench_list(&bench, 0, NULL, 0);
    bench_job(&bench, 0);
    struct spec *specs[4];
    struct proto_list_task waiting[3];
    for (uint32_t i = 0; i < 4; i++) {
        struct bench_call call = { .returns = 1, .cpus_hundredths = 100, .max_retries = 1 };
        specs[i] = bench_spec(&bench, &call);
    }
    for (uint32_t i = 0; i < 3; i++) {
        waiting[i] = (struct proto_list_task){ specs[i]->task, 1, PROTO_TASK_QUEUED, { specs[i], specs[i]->bytes } };
    }
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    struct proto_list_task home = { specs[3]->task, 0, PROTO_TASK_HOME, { specs[3], specs[3]->bytes } };
    struct proto_list_object made = {
        .object = result_id(specs[3]->task, 0), .held = true, .state = PROTO_PENDING, .task = specs[3]->task
    };
    struct proto_message parts[] = {
        { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } },
        { .kind = PROTO_LIST_TASKS, .u.list_tasks = { waiting, 3 } },
        { .kind = PROTO_LIST_PLACED, .u.list_placed = { 1 } },
        { .kind = PROTO_LIST_OBJECTS, .u.list_objects = { &made, 1 } },
        { .kind = PROTO_LIST_TASKS, .u.list_tasks = { &home, 1 } },
        { .kind = PROTO_LIST_END, .u.list_end = { 1 } },
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(parts); i++) {
        bench_say(&bench, 0, &parts[i]);
        if (i == 0) {
            bench_job(&bench, 0);
        }
    }
    CHECK_EQ(bench_placed(&bench, specs[3]->task), 0);
    for (uint32_t i = 0; i < 4; i++) {
        free(specs[i]);
    }
    bench_end(&bench);
}
