/* Tasks in the head that wait for what they read, and those that are placed before it is there. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/task_bench.h"

#include <string.h>

TEST(head_tasks, a_task_waits_for_its_inputs_and_then_goes)
{
    start(1, 4);
    struct object_id a = bench_pending(&bench, 0), b = bench_pending(&bench, 0);
    struct task_id task = submit(0, (roost_in[]){ bench_ref(a), bench_ref(b) }, 2, 0);
    CHECK_EQ(bench_placed(&bench, task), BENCH_AGENTS);
    bench_seal(&bench, 0, a, 0);
    bench_seal(&bench, 0, b, 100);
    CHECK_EQ(bench_placed(&bench, task), 0);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_TASK), 1);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_chain_runs_as_each_result_comes)
{
    start(2, 4);
    struct task_id first = submit(0, NULL, 0, 0);
    struct task_id second = submit(0, (roost_in[]){ bench_ref(result_id(first, 0)) }, 1, 0);
    CHECK_EQ(bench_placed(&bench, second), BENCH_AGENTS);
    uint32_t at = bench_placed(&bench, first);
    bench_complete(&bench, at, first, 1, 1, ROOST_GIB(1));
    CHECK_EQ(bench_placed(&bench, second), at);
    bench_end(&bench);
}

TEST(head_tasks, a_task_with_one_input_missing_is_placed_early_where_the_others_are)
{
    start(3, 4);
    struct object_id big = bench_put(&bench, 2, ROOST_GIB(1)), late = bench_pending(&bench, 0);
    struct task_id task = submit(0, (roost_in[]){ bench_ref(big), bench_ref(late) }, 2, 0);
    CHECK_EQ(bench_placed(&bench, task), 2);
    CHECK_EQ(bench_last(&bench, 2, PROTO_TASK)->args_count, 2);
    CHECK_EQ(bench_last(&bench, 2, PROTO_TASK)->args_sealed, 1);
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    bench_seal(&bench, 0, late, 100);
    CHECK_EQ(bench_said_count(&bench, 2, PROTO_FOUND), 1); /* it starts by this */
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    CHECK_EQ(bench_said_count(&bench, 2, PROTO_TASK), 1);
    bench_end(&bench);
}

TEST(head_tasks, a_task_that_was_placed_early_and_fails_by_its_input_has_the_input_s_words)
{
    start(3, 4);
    struct object_id big = bench_put(&bench, 2, ROOST_GIB(1)), late = bench_pending(&bench, 0);
    struct task_id task = submit(0, (roost_in[]){ bench_ref(big), bench_ref(late) }, 2, 0);
    CHECK_EQ(bench_placed(&bench, task), 2);
    static const struct proto_failure words = {
        .status = ROOST_EWORKER, .function = "first", .node = "there", .text = "the first words", .signal = 9
    };
    struct proto_message failed = { .kind = PROTO_PUBLISH };
    failed.u.publish = (struct proto_publish){ .object = late, .state = PROTO_FAILED, .failure = &words };
    bench_say(&bench, 0, &failed);
    CHECK_EQ(bench_said_count(&bench, 2, PROTO_FOUND), 1);
    bench_forget(&bench);
    bench_fail(&bench, 2, task, 1, ROOST_EFAILED, false);
    CHECK(strstr(bench_last(&bench, 0, PROTO_FOUND)->text, "the first words") != NULL);
    bench_end(&bench);
}

/* Nodes 0 and 3 hold an object each and have too few CPUs for who reads them. Node 1 pulls the first, node 2 is a
 * little busier. Where does the reader of the second go? */
static uint32_t reader_goes_to(bool has_come)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 1);
    bench_agent(&bench, 1, 2);
    bench_agent(&bench, 2, 2);
    bench_agent(&bench, 3, 1);
    bench_job(&bench, 0);
    roost_in first = bench_ref(bench_put(&bench, 0, ROOST_GIB(1)));
    roost_in second = bench_ref(bench_put(&bench, 3, ROOST_GIB(1)));
    struct bench_call call = { .args = &first, .args_count = 1, .cpus_hundredths = 100, .returns = 1 };
    call.flags = SPEC_NODE_ONLY;
    call.node = bench.agents[1].id;
    struct task_id puller = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, puller), 1);
    call = (struct bench_call){ .cpus_hundredths = 100, .returns = 1, .flags = SPEC_NODE_ONLY };
    call.node = bench.agents[2].id;
    bench_submit(&bench, 0, &call);
    bench_submit(&bench, 0, &call);
    if (has_come) {
        struct proto_progress_item item = { puller, 1, bench.agents[0].number, ROOST_GIB(1) };
        struct proto_message message = { .kind = PROTO_PROGRESS, .u.progress = { &item, 1 } };
        bench_say(&bench, 1, &message);
    }
    call = (struct bench_call){ .args = &second, .args_count = 1, .cpus_hundredths = 200, .returns = 1 };
    uint32_t node = bench_placed(&bench, bench_submit(&bench, 0, &call));
    bench_end(&bench);
    return node;
}

TEST(head_tasks, bytes_that_have_come_in_no_longer_keep_the_network_of_their_node_busy)
{
    CHECK_EQ(reader_goes_to(false), 2);
    CHECK_EQ(reader_goes_to(true), 1);
}

TEST(head_tasks, progress_of_an_attempt_that_is_over_or_of_another_node_changes_nothing)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 1);
    bench_agent(&bench, 1, 1);
    bench_job(&bench, 0);
    struct bench_call call = {
        .cpus_hundredths = 100, .returns = 1, .flags = SPEC_NODE_ONLY, .node = bench.agents[1].id
    };
    struct task_id task = bench_submit(&bench, 0, &call);
    uint64_t stale = head_counts(bench.head).stale;
    struct proto_progress_item items[] = { { task, 2, 0, 0 }, { { 9, 9 }, 1, 1, 5 } };
    struct proto_message message = { .kind = PROTO_PROGRESS, .u.progress = { items, 2 } };
    bench_say(&bench, 1, &message);
    items[0].attempt = 1;
    bench_say(&bench, 0, &message);
    CHECK_EQ(head_counts(bench.head).stale, stale + 4);
    bench_complete(&bench, 1, task, 1, 1, 100);
    bench_end(&bench);
}

TEST(head_tasks, a_gather_waits_for_all_that_its_list_names)
{
    start(2, 4);
    struct object_id made[2] = { bench_pending(&bench, 0), bench_pending(&bench, 0) };
    struct object_id list = bench_box(&bench, 0, made, 2);
    struct task_id task = submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
    CHECK_EQ(bench_placed(&bench, task), BENCH_AGENTS);
    bench_seal(&bench, 0, made[0], ROOST_MIB(1));
    bench_seal(&bench, 0, made[1], ROOST_MIB(1));
    CHECK_EQ(bench_placed(&bench, task), 0);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_gather_is_placed_early_when_one_twentieth_exists)
{
    start(2, 4);
    struct object_id made[40];
    for (int i = 0; i < 40; i++) {
        made[i] = bench_pending(&bench, 0);
    }
    struct object_id list = bench_box(&bench, 0, made, 40);
    struct task_id task = submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
    bench_seal(&bench, 0, made[7], ROOST_MIB(1));
    CHECK_EQ(bench_placed(&bench, task), BENCH_AGENTS);
    bench_seal(&bench, 0, made[9], ROOST_MIB(1));
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    CHECK_EQ(bench_placed(&bench, task), 0);
    for (int i = 0; i < 40; i++) {
        if (i != 7 && i != 9) {
            bench_seal(&bench, 0, made[i], ROOST_MIB(1));
        }
    }
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_complete(&bench, 0, task, 1, 1, 10);
    CHECK_EQ(head_counts(bench.head).completed, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_gather_fails_when_one_of_its_objects_does)
{
    start(1, 4);
    struct task_id maker = submit(0, NULL, 0, 0);
    struct object_id made[2] = { bench_put(&bench, 0, 10), result_id(maker, 0) };
    struct object_id list = bench_box(&bench, 0, made, 2);
    struct task_id task = submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
    bench_forget(&bench);
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    bench_fail(&bench, 0, maker, 1, ROOST_EFAILED, false);
    bench_fail(&bench, 0, task, 1, ROOST_EFAILED, false); /* its node was told, and ends it */
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_FAILED);
    CHECK_EQ(head_counts(bench.head).failed, 2);
    bench_end(&bench);
}
