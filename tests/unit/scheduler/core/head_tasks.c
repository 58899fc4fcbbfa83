#include "tests/lib/head_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;

static void start(uint32_t agents, uint32_t cpus)
{
    bench_start(&bench, NULL);
    for (uint32_t i = 0; i < agents; i++) {
        bench_agent(&bench, i, cpus);
        bench_list(&bench, i, NULL, 0);
    }
    bench_job(&bench, 0);
}

static struct task_id submit(uint32_t i, const roost_in *args, size_t count, int32_t max_retries)
{
    struct bench_call call = { .args = args, .args_count = count, .returns = 1, .max_retries = max_retries };
    return bench_submit(&bench, i, &call);
}

TEST(head_tasks, a_task_goes_to_the_node_that_has_its_bytes)
{
    start(3, 4);
    struct object_id id = bench_put(&bench, 2, ROOST_GIB(1));
    struct task_id task = submit(0, (roost_in[]){ bench_ref(id) }, 1, 0);
    CHECK_EQ(bench_placed(&bench, task), 2);
    const struct bench_said *said = bench_last(&bench, 2, PROTO_TASK);
    CHECK_EQ(said->attempt, 1);
    CHECK_EQ(said->args_count, 1);
    CHECK_EQ(said->args_sealed, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_node_learns_of_a_job_once_and_before_its_first_task)
{
    start(2, 4);
    struct object_id id = bench_put(&bench, 1, ROOST_GIB(1));
    for (int i = 0; i < 3; i++) {
        submit(0, (roost_in[]){ bench_ref(id) }, 1, 0);
    }
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_JOB_OPEN), 1);
    size_t opened = 0, placed = 0;
    for (size_t k = 0; k < bench.said_count; k++) {
        opened = bench.said[k].kind == PROTO_JOB_OPEN ? k : opened;
        placed = bench.said[k].kind == PROTO_TASK && placed == 0 ? k : placed;
    }
    CHECK(opened < placed);
    bench_end(&bench);
}

TEST(head_tasks, the_submitter_is_told_of_the_result_and_holds_it)
{
    start(2, 4);
    struct object_id id = bench_put(&bench, 1, ROOST_GIB(1));
    struct task_id task = submit(0, (roost_in[]){ bench_ref(id) }, 1, 0);
    bench_complete(&bench, 1, task, 1, 1, 100);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(object_id_eq(found->object, result_id(task, 0)));
    CHECK_EQ(found->state, PROTO_SEALED);
    CHECK_EQ(found->holder, bench.agents[1].number);
    CHECK_EQ(head_counts(bench.head).tasks_done, 1);
    bench_names(&bench, 0, PROTO_DROP, result_id(task, 0));
    CHECK(bench_was_freed(&bench, 1, result_id(task, 0)));
    CHECK_EQ(head_counts(bench.head).tasks, 0); /* the spec goes with the last return */
    bench_end(&bench);
}

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

TEST(head_tasks, at_most_two_tasks_for_each_cpu_are_committed_and_the_rest_stays_queued)
{
    start(2, 2);
    for (int i = 0; i < 20; i++) {
        submit(0, NULL, 0, 0);
    }
    CHECK_EQ(head_counts(bench.head).tasks_placed, 8);
    CHECK_EQ(head_counts(bench.head).tasks_queued, 12);
    bench_complete(&bench, 0, bench_last(&bench, 0, PROTO_TASK)->task, 1, 1, 10);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 8);
    CHECK_EQ(head_counts(bench.head).tasks_queued, 11);
    bench_end(&bench);
}

TEST(head_tasks, completions_are_applied_before_what_they_make_ready_is_placed)
{
    start(1, 2);
    struct task_id first = submit(0, NULL, 0, 0);
    struct task_id second = submit(0, (roost_in[]){ bench_ref(result_id(first, 0)) }, 1, 0);
    bench.turns_are_held = true;
    bench_complete(&bench, 0, first, 1, 1, 10);
    CHECK_EQ(bench_placed(&bench, second), BENCH_AGENTS);
    CHECK_EQ(head_counts(bench.head).tasks_queued, 1);
    bench_turn(&bench);
    CHECK_EQ(bench_placed(&bench, second), 0);
    bench_end(&bench);
}

TEST(head_tasks, a_duplicate_complete_changes_nothing)
{
    start(1, 4);
    struct task_id task = submit(0, NULL, 0, 0);
    bench_complete(&bench, 0, task, 1, 1, 100);
    uint64_t hash = head_core.hash(bench.head);
    bench_forget(&bench);
    bench_complete(&bench, 0, task, 1, 1, 200);
    CHECK(hash == head_core.hash(bench.head));
    CHECK_EQ(bench.said_count, 0);
    CHECK_EQ(head_counts(bench.head).stale, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_death_is_tried_again_and_the_old_attempt_is_dropped)
{
    start(2, 4);
    struct task_id task = submit(0, NULL, 0, 1);
    uint32_t at = bench_placed(&bench, task);
    bench_fail(&bench, at, task, 1, ROOST_EWORKER, true);
    CHECK_EQ(head_counts(bench.head).retries, 1);
    uint32_t again = bench_placed(&bench, task);
    CHECK_EQ(bench_last(&bench, again, PROTO_TASK)->attempt, 2);
    bench_complete(&bench, at, task, 1, 1, 100); /* late, of the first */
    CHECK_EQ(head_counts(bench.head).stale, 1);
    CHECK_EQ(head_counts(bench.head).completed, 0);
    bench_complete(&bench, again, task, 2, 1, 100);
    CHECK_EQ(head_counts(bench.head).completed, 1);
    bench_end(&bench);
}

TEST(head_tasks, deaths_beyond_max_retries_fail_the_returns_and_every_holder_is_told)
{
    start(3, 4);
    struct task_id task = submit(0, NULL, 0, 1);
    bench_names(&bench, 2, PROTO_HOLD, result_id(task, 0));
    bench_fail(&bench, bench_placed(&bench, task), task, 1, ROOST_EWORKER, true);
    CHECK(bench_last(&bench, 2, PROTO_FOUND) == NULL);
    bench_fail(&bench, bench_placed(&bench, task), task, 2, ROOST_EWORKER, true);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_EWORKER);
    CHECK_EQ(bench_last(&bench, 2, PROTO_FOUND)->state, PROTO_FAILED);
    bench_end(&bench);
}

TEST(head_tasks, a_functions_own_failure_is_tried_again_only_if_its_spec_says_so)
{
    start(1, 4);
    struct task_id plain = submit(0, NULL, 0, 3);
    bench_fail(&bench, 0, plain, 1, ROOST_EFAILED, false);
    CHECK_EQ(head_counts(bench.head).failed, 1);
    struct bench_call call = { .returns = 1, .max_retries = 1, .flags = SPEC_RETRY_ON_FAILURE };
    struct task_id again = bench_submit(&bench, 0, &call);
    bench_fail(&bench, 0, again, 1, ROOST_EFAILED, false);
    CHECK_EQ(head_counts(bench.head).retries, 1);
    bench_fail(&bench, 0, again, 2, ROOST_EFAILED, false);
    CHECK_EQ(head_counts(bench.head).failed, 2);
    bench_end(&bench);
}

TEST(head_tasks, the_attempts_of_a_dead_node_are_started_elsewhere)
{
    start(2, 4);
    struct object_id id = bench_put(&bench, 0, 100);
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id) },
                               .args_count = 1,
                               .returns = 1,
                               .max_retries = 1,
                               .node = bench.agents[1].id };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1);
    bench_names(&bench, 0, PROTO_DROP, id); /* only the attempt names it now */
    bench_die(&bench, 1);
    CHECK_EQ(bench_placed(&bench, task), 0);
    CHECK_EQ(bench_last(&bench, 0, PROTO_TASK)->attempt, 2);
    CHECK_EQ(bench_last(&bench, 0, PROTO_TASK)->args_sealed, 1);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_tasks, a_dead_node_fails_a_task_without_retries_and_names_itself)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1);
    bench_die(&bench, 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ENODE);
    CHECK(strstr(bench_last(&bench, 0, PROTO_FOUND)->text, "host1") != NULL);
    bench_end(&bench);
}

TEST(head_tasks, dependents_of_a_lost_object_fail_with_its_reason)
{
    start(2, 4);
    struct object_id id = bench_put(&bench, 1, 100), other = bench_pending(&bench, 0), third = bench_pending(&bench, 0);
    struct task_id task = submit(0, (roost_in[]){ bench_ref(id), bench_ref(other), bench_ref(third) }, 3, 0);
    bench_die(&bench, 1);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(object_id_eq(found->object, result_id(task, 0)));
    CHECK_EQ(found->status, ROOST_ELOST);
    CHECK(strstr(found->text, "host1") != NULL);
    bench_end(&bench);
}

TEST(head_tasks, a_task_handed_back_is_placed_elsewhere_under_the_same_number)
{
    start(2, 4);
    struct task_id task = submit(0, NULL, 0, 0);
    uint32_t at = bench_placed(&bench, task);
    struct proto_message back = { .kind = PROTO_HANDBACK };
    back.u.handback = (struct proto_handback){ task, 1, PROTO_HANDBACK_ROOM, "no room" };
    bench_say(&bench, at, &back);
    CHECK_EQ(bench_placed(&bench, task), 1 - at);
    CHECK_EQ(bench_last(&bench, 1 - at, PROTO_TASK)->attempt, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_task_that_no_node_can_ever_run_fails_at_once_and_says_what_is_lacking)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .cpus_hundredths = 1600 };
    bench_submit(&bench, 0, &call);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK_EQ(found->status, ROOST_EINFEASIBLE);
    CHECK(strstr(found->text, "nearest is node 1") != NULL);
    CHECK(strstr(found->text, "12.00") != NULL);
    bench_end(&bench);
}

TEST(head_tasks, a_task_that_a_bigger_node_could_run_is_demand_until_one_joins)
{
    struct head_config config = { .is_fixed = false };
    bench_start(&bench, &config);
    bench_agent(&bench, 0, 4);
    bench_list(&bench, 0, NULL, 0);
    bench_job(&bench, 0);
    struct bench_call call = { .returns = 1, .cpus_hundredths = 1600 };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(head_counts(bench.head).tasks_queued, 1);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_STATUS, "what=demand")->total, 1);
    bench_agent(&bench, 1, 16);
    CHECK_EQ(bench_placed(&bench, task), 1);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_STATUS, "what=demand")->total, 0);
    bench_end(&bench);
}

TEST(head_tasks, a_cancel_ends_what_waits_and_is_passed_on_to_what_runs)
{
    start(1, 1);
    struct task_id runs = submit(0, NULL, 0, 3),
                   waits = submit(0, (roost_in[]){ bench_ref(bench_pending(&bench, 0)) }, 1, 0);
    struct proto_message cancel = { .kind = PROTO_CANCEL, .u.cancel = { waits, 0, false } };
    bench_say(&bench, 0, &cancel);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ECANCELED);
    cancel.u.cancel.task = runs;
    bench_say(&bench, 0, &cancel);
    CHECK(task_id_eq(bench_last(&bench, 0, PROTO_CANCEL)->task, runs));
    bench_fail(&bench, 0, runs, 1, ROOST_EWORKER, true); /* and is not tried again */
    CHECK_EQ(head_counts(bench.head).retries, 0);
    CHECK_EQ(head_counts(bench.head).failed, 2);
    bench_end(&bench);
}

TEST(head_tasks, the_end_of_a_job_cancels_its_tasks_and_all_agents_are_told)
{
    start(2, 1);
    for (int i = 0; i < 8; i++) {
        submit(0, NULL, 0, 3);
    }
    struct proto_message end = { .kind = PROTO_JOB_END, .u.job_end = { bench.job } };
    bench_say(&bench, 0, &end);
    CHECK_EQ(head_counts(bench.head).failed, 8);
    CHECK_EQ(head_counts(bench.head).jobs, 0);
    CHECK_EQ(head_counts(bench.head).spec_bytes, 0);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_JOB_END), 1);
    struct task_id late = submit(0, NULL, 0, 3);
    CHECK_EQ(bench_placed(&bench, late), BENCH_AGENTS);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ECANCELED);
    bench_end(&bench);
}

TEST(head_tasks, the_death_of_the_drivers_node_ends_its_job)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .max_retries = 3, .node = bench.agents[1].id };
    bench_submit(&bench, 0, &call);
    bench_die(&bench, 0);
    CHECK_EQ(head_counts(bench.head).jobs, 0);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_JOB_END), 1);
    CHECK_EQ(head_counts(bench.head).tasks, 0);
    CHECK_EQ(head_counts(bench.head).objects, 0);
    bench_end(&bench);
}

TEST(head_tasks, over_its_budget_the_head_sends_specs_home_and_asks_for_them_again)
{
    struct head_config config = { .is_fixed = true, .spec_bytes_max = 2048 };
    bench_start(&bench, &config);
    bench_agent(&bench, 0, 1);
    bench_list(&bench, 0, NULL, 0);
    bench_job(&bench, 0);
    struct object_id input = bench_pending(&bench, 0), other = bench_pending(&bench, 0);
    struct bench_call call = { .args = (roost_in[]){ bench_ref(input), bench_ref(other) },
                               .args_count = 2,
                               .returns = 1 };
    while (head_counts(bench.head).tasks_refused == 0) {
        bench_submit(&bench, 0, &call);
    }
    struct spec *spec = bench_spec(&bench, &call);
    struct task_id refused = spec->task;
    struct proto_message submit_it = { .kind = PROTO_SUBMIT };
    submit_it.u.submit = (struct proto_submit){ .task = refused, .spec = { spec, spec->bytes } };
    bench_say(&bench, 0, &submit_it);
    CHECK_EQ(bench_last(&bench, 0, PROTO_HANDBACK)->reason, PROTO_HANDBACK_ROOM);
    CHECK(head_counts(bench.head).spec_bytes <= 2048);
    bench_forget(&bench);
    bench_names(&bench, 0, PROTO_DROP, other); /* the head holds it for the refused ones too */
    CHECK_EQ(head_counts(bench.head).frees, 0);
    bench_seal(&bench, 0, other, 0);
    bench_seal(&bench, 0, input, 0); /* some are placed: there is room */
    CHECK_EQ(bench_last(&bench, 0, PROTO_HANDBACK)->reason, PROTO_HANDBACK_AGAIN);
    for (uint32_t i = 0; i < 100 && bench_placed(&bench, refused) != 0; i++) {
        const struct bench_said *last = bench_last(&bench, 0, PROTO_HANDBACK);
        if (task_id_eq(last->task, refused)) {
            bench_say(&bench, 0, &submit_it);
        }
        bench_complete(&bench, 0, bench_last(&bench, 0, PROTO_TASK)->task, 1, 1, 1);
        if (head_counts(bench.head).tasks_placed == 0 && bench_placed(&bench, refused) != 0) {
            break;
        }
    }
    CHECK_EQ(bench_placed(&bench, refused), 0);
    free(spec);
    bench_end(&bench);
}

TEST(head_tasks, a_result_that_nobody_names_goes_when_its_task_has_ended_and_not_before)
{
    start(1, 1);
    struct task_id task = bench_submit(&bench, 0, &(struct bench_call){ .returns = 1 });
    struct object_id result = result_id(task, 0);
    bench_names(&bench, 0, PROTO_DROP, result);
    bench_all_sign(&bench);
    CHECK_EQ(head_counts(bench.head).frees, 0); /* the same call, made again, is this one */
    bench_complete(&bench, 0, task, 1, 1, 10);
    CHECK_EQ(head_counts(bench.head).frees, 1);
    CHECK(bench_was_freed(&bench, 0, result));
    CHECK_EQ(head_counts(bench.head).tasks, 0);
    bench_end(&bench);
}

static void submit_spec(struct spec *spec)
{
    struct proto_message submit_it = { .kind = PROTO_SUBMIT };
    submit_it.u.submit = (struct proto_submit){ .task = spec->task, .spec = { spec, spec->bytes } };
    bench_say(&bench, 0, &submit_it);
}

static void publish_pending(struct object_id id)
{
    struct proto_message publish = { .kind = PROTO_PUBLISH, .u.publish = { .object = id, .state = PROTO_PENDING } };
    bench_say(&bench, 0, &publish);
}

TEST(head_tasks, what_those_within_the_budget_wait_for_is_asked_for_beyond_it_one_at_a_time)
{
    struct head_config config = { .is_fixed = true, .spec_bytes_max = 2048 };
    bench_start(&bench, &config);
    bench_agent(&bench, 0, 1);
    bench_list(&bench, 0, NULL, 0);
    bench_job(&bench, 0);
    struct object_id input = bench_pending(&bench, 0), made[2];
    struct bench_call maker = { .args = (roost_in[]){ bench_ref(input) }, .args_count = 1, .returns = 1 };
    struct spec *makers[2];
    for (int i = 0; i < 2; i++) {
        makers[i] = bench_spec(&bench, &maker);
        made[i] = result_id(makers[i]->task, 0);
        publish_pending(made[i]);
    }
    struct bench_call waiter = { .args = (roost_in[]){ bench_ref(made[0]), bench_ref(made[1]) },
                                 .args_count = 2,
                                 .returns = 1 };
    while (head_counts(bench.head).tasks_refused == 0) {
        bench_submit(&bench, 0, &waiter);
    }
    submit_spec(makers[0]);
    submit_spec(makers[1]);
    CHECK_EQ(head_counts(bench.head).tasks_refused, 3);
    bench_forget(&bench);
    bench_seal(&bench, 0, input, 0);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_HANDBACK), 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_HANDBACK)->reason, PROTO_HANDBACK_AGAIN);
    for (int i = 0; i < 2; i++) {
        CHECK(task_id_eq(bench_last(&bench, 0, PROTO_HANDBACK)->task, makers[i]->task));
        submit_spec(makers[i]);
        CHECK_EQ(bench_placed(&bench, makers[i]->task), 0);
        bench_complete(&bench, 0, makers[i]->task, 1, 1, 1);
        free(makers[i]);
    }
    bench_end(&bench);
}

TEST(head_tasks, tasks_that_wait_for_their_children_do_not_keep_them_out)
{
    start(1, 1);
    struct bench_call call = { .returns = 1, .cpus_hundredths = 100 };
    struct bench_call only = call;
    only.node = bench.agents[0].id;
    only.flags = SPEC_NODE_ONLY;
    for (int i = 0; i < PLACEMENT_WINDOW_PER_CPU; i++) { /* the parents */
        CHECK_EQ(bench_placed(&bench, bench_submit(&bench, 0, &call)), 0);
    }
    struct task_id child = bench_submit(&bench, 0, &call), bound = bench_submit(&bench, 0, &only);
    CHECK_EQ(bench_placed(&bench, child), BENCH_AGENTS);
    CHECK_EQ(bench_placed(&bench, bound), BENCH_AGENTS);
    struct proto_message load = { .kind = PROTO_LOAD, .u.load = { .blocked_hundredths = 100 } };
    bench_say(&bench, 0, &load);
    CHECK_EQ(bench_placed(&bench, child), 0);
    CHECK_EQ(bench_placed(&bench, bound), BENCH_AGENTS);
    load.u.load.blocked_hundredths = 200;
    bench_say(&bench, 0, &load);
    CHECK_EQ(bench_placed(&bench, bound), 0);
    load.u.load.blocked_hundredths = 0; /* woken: more than its share, and nothing new until some of it has ended */
    bench_say(&bench, 0, &load);
    struct task_id late = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, late), BENCH_AGENTS);
    bench_complete(&bench, 0, child, 1, 1, 1);
    bench_complete(&bench, 0, bound, 1, 1, 1);
    CHECK_EQ(bench_placed(&bench, late), BENCH_AGENTS);
    bench_end(&bench);
}

TEST(head_tasks, a_task_of_a_damaged_spec_is_refused)
{
    start(1, 4);
    struct bench_call call = { .returns = 1 };
    struct spec *spec = bench_spec(&bench, &call);
    spec->call++;
    struct proto_message message = { .kind = PROTO_SUBMIT };
    message.u.submit = (struct proto_submit){ .task = spec->task, .spec = { spec, spec->bytes } };
    bench_say(&bench, 0, &message);
    CHECK_EQ(head_counts(bench.head).bad_messages, 1);
    CHECK_EQ(head_counts(bench.head).tasks, 0);
    free(spec);
    bench_end(&bench);
}

TEST(head_tasks, an_attempt_that_a_list_does_not_name_is_made_again)
{
    start(1, 4);
    struct task_id task = submit(0, NULL, 0, 0);
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, &(struct bench_listed){ result_id(task, 0), true, false }, 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_TASK)->attempt, 2);
    CHECK_EQ(head_counts(bench.head).failed, 0); /* it may not have run: max_retries is untouched */
    bench_end(&bench);
}

TEST(head_tasks, a_result_that_was_freed_and_is_listed_as_pending_is_made_once_more)
{
    start(2, 4);
    struct bench_call call = { .returns = 2, .node = bench.agents[1].id, .flags = SPEC_NODE_ONLY };
    struct task_id task = bench_submit(&bench, 0, &call);
    bench_complete(&bench, 1, task, 1, 2, 100);
    struct object_id kept = result_id(task, 0), freed = result_id(task, 1);
    bench_names(&bench, 0, PROTO_DROP, freed);
    CHECK(bench_was_freed(&bench, 1, freed));
    bench_lost(&bench, 0); /* and with it what was said of both */
    bench_agent_again(&bench, 0);
    struct proto_list_object items[] = { { .object = kept, .held = true, .state = PROTO_PENDING, .task = task },
                                         { .object = freed, .held = true, .state = PROTO_PENDING, .task = task } };
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message list = { .kind = PROTO_LIST_OBJECTS, .u.list_objects = { items, 2 } };
    struct proto_message end = { .kind = PROTO_LIST_END, .u.list_end = { 1 } };
    bench_say(&bench, 0, &begin);
    bench_job(&bench, 0);
    bench_say(&bench, 0, &list);
    bench_say(&bench, 0, &end);
    CHECK_EQ(bench_attempt(&bench, task), 2);
    bench_complete(&bench, 1, task, 2, 2, 100);
    CHECK(object_id_eq(bench_last(&bench, 0, PROTO_FOUND)->object, freed));
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    bench_end(&bench);
}

TEST(head_tasks, after_a_restart_running_attempts_go_on_and_waiting_ones_are_queued_again)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id };
    struct spec *runs = bench_spec(&bench, &call), *waits = bench_spec(&bench, &call);
    struct object_id names[2] = { result_id(runs->task, 0), result_id(waits->task, 0) };
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_agent_again(&bench, 1);
    struct proto_list_task home[2] = { { runs->task, 1, PROTO_TASK_HOME, { runs, runs->bytes } },
                                       { waits->task, 1, PROTO_TASK_HOME, { waits, waits->bytes } } };
    struct proto_list_task there = { runs->task, 1, PROTO_TASK_RUNNING, { NULL, 0 } };
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message end = { .kind = PROTO_LIST_END, .u.list_end = { 1 } };
    struct proto_message tasks = { .kind = PROTO_LIST_TASKS, .u.list_tasks = { home, 2 } };
    struct proto_message running = { .kind = PROTO_LIST_TASKS, .u.list_tasks = { &there, 1 } };
    bench_say(&bench, 0, &begin);
    bench_job(&bench, 0);
    bench_say(&bench, 0, &tasks);
    bench_names(&bench, 0, PROTO_HOLD, names[0]);
    bench_names(&bench, 0, PROTO_HOLD, names[1]);
    bench_say(&bench, 0, &end);
    bench_forget(&bench);
    bench_say(&bench, 1, &begin);
    bench_say(&bench, 1, &running);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_TASK), 0);
    bench_say(&bench, 1, &end);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_TASK), 1);
    CHECK(task_id_eq(bench_last(&bench, 1, PROTO_TASK)->task, waits->task));
    bench_complete(&bench, 1, runs->task, 1, 1, 10);
    CHECK(object_id_eq(bench_last(&bench, 0, PROTO_FOUND)->object, names[0]));
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    free(runs);
    free(waits);
    bench_end(&bench);
}

/* An attempt that went on through the head's end is over before its home has listed; how many it makes known. */
static uint64_t completes_in_census(bool is_held)
{
    start(3, 4);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id };
    struct spec *runs = bench_spec(&bench, &call);
    struct object_id name = result_id(runs->task, 0);
    bench_restart(&bench);
    bench_agent_again(&bench, 1);
    struct proto_list_task there = { runs->task, 1, PROTO_TASK_RUNNING, { runs, runs->bytes } };
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message end = { .kind = PROTO_LIST_END, .u.list_end = { 1 } };
    struct proto_message running = { .kind = PROTO_LIST_TASKS, .u.list_tasks = { &there, 1 } };
    bench_say(&bench, 1, &begin);
    bench_say(&bench, 1, &running);
    bench_say(&bench, 1, &end);
    bench_complete(&bench, 1, runs->task, 1, 1, 100);
    for (uint32_t i = 0; i < 3; i += 2) {
        bench_agent_again(&bench, i);
        bench_list(&bench, i, &(struct bench_listed){ name, true, false }, is_held && i == 0 ? 1 : 0);
    }
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK_EQ(bench_was_freed(&bench, 1, name), !is_held);
    uint64_t objects = head_counts(bench.head).objects;
    free(runs);
    bench_end(&bench);
    return objects;
}

TEST(head_tasks, what_is_made_before_anybody_has_listed_it_is_there_for_who_does_and_else_goes)
{
    CHECK_EQ(completes_in_census(true), 1);
    CHECK_EQ(completes_in_census(false), 0);
}

/* Runs, its result is lost, and the same call is made once more; the object's `why`. */
static const char *make_again(uint64_t bytes, uint64_t bytes_again, enum proto_object_state *state_out)
{
    start(3, 4);
    roost_in arg = bench_ref(bench_put(&bench, 1, ROOST_GIB(1)));
    struct bench_call call = { .args = &arg, .args_count = 1, .returns = 1 };
    struct task_id task = bench_submit(&bench, 0, &call);
    struct object_id result = result_id(task, 0);
    bench_complete(&bench, 1, task, 1, 1, bytes);
    bench_location(&bench, 1, result, bytes, false);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    bench.next_call--;
    bench_submit(&bench, 0, &call);
    bench_complete(&bench, 1, task, 2, 1, bytes_again);
    *state_out = bench_last(&bench, 0, PROTO_FOUND)->state;
    char id[ID_TEXT_BYTES];
    return bench_query(&bench, PROTO_QUERY_WHY, object_id_print(result, id))->text;
}

TEST(head_tasks, a_result_that_is_made_again_as_it_was_is_that_result)
{
    enum proto_object_state state;
    CHECK(strstr(make_again(100, 100, &state), "last copy") == NULL); /* that is over */
    CHECK_EQ(state, PROTO_SEALED);
    bench_end(&bench);
}

TEST(head_tasks, a_result_that_is_made_again_and_differs_has_failed)
{
    enum proto_object_state state;
    CHECK(strstr(make_again(100, 777, &state), "differs from what it was") != NULL);
    CHECK_EQ(state, PROTO_FAILED);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ECHANGED);
    CHECK(bench_was_freed(&bench, 1, bench_last(&bench, 0, PROTO_FOUND)->object));
    bench_end(&bench);
}

TEST(head_tasks, a_gather_of_two_that_were_lost_fails_though_one_has_come_back)
{
    start(3, 4);
    struct object_id made[2] = { bench_put(&bench, 1, 100), bench_put(&bench, 1, 101) };
    bench_names(&bench, 0, PROTO_HOLD, made[0]);
    bench_names(&bench, 0, PROTO_HOLD, made[1]);
    struct object_id list = bench_box(&bench, 0, made, 2);
    submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
    bench_die(&bench, 1);
    for (int i = 1; i >= 0; i--) {
        bench_location(&bench, 2, made[i], 100 + (uint64_t)i, true);
        struct task_id task = submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
        CHECK_EQ(head_counts(bench.head).tasks_waiting, 0);
        CHECK_EQ(bench_placed(&bench, task) < BENCH_AGENTS, i == 0);
    }
    bench_end(&bench);
}

static void list_running(uint32_t i, const struct proto_list_task *listed)
{
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } });
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_TASKS, .u.list_tasks = { listed, 1 } });
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_PLACED, .u.list_placed = { 1 } });
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_END, .u.list_end = { 1 } });
}

TEST(head_tasks, a_cancel_while_the_session_of_its_node_was_lost_is_said_when_that_lists)
{
    start(2, 4);
    roost_in arg = bench_ref(bench_put(&bench, 1, ROOST_GIB(1)));
    struct task_id task = submit(0, &arg, 1, 0);
    bench_lost(&bench, 1);
    bench_say(&bench, 0, &(struct proto_message){ .kind = PROTO_CANCEL, .u.cancel = { task, 0, false } });
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_CANCEL), 0);
    bench_agent_again(&bench, 1);
    list_running(1, &(struct proto_list_task){ .task = task, .attempt = 1, .state = PROTO_TASK_RUNNING });
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_CANCEL), 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_CANCEL)->attempt, 1);
    bench_end(&bench);
}

TEST(head_tasks, a_listed_attempt_that_needs_more_memory_than_its_node_has_goes_on_there)
{
    start(2, 4);
    struct spec *spec = bench_spec(&bench, &(struct bench_call){ .returns = 1, .memory_bytes = ROOST_GIB(5) });
    list_running(1, &(struct proto_list_task){
                        .task = spec->task, .attempt = 1, .state = PROTO_TASK_RUNNING, .spec = { spec, spec->bytes } });
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_complete(&bench, 1, spec->task, 1, 0, 0);
    CHECK_EQ(head_counts(bench.head).completed, 1);
    free(spec);
    bench_end(&bench);
}

TEST(head_tasks, what_no_node_can_run_is_found_out_while_all_are_busy)
{
    struct head_config grows = { .is_fixed = false };
    bench_start(&bench, &grows);
    bench_agent(&bench, 0, 1);
    bench_list(&bench, 0, NULL, 0);
    bench_job(&bench, 0);
    for (int i = 0; i < 4; i++) {
        submit(0, NULL, 0, 0);
    }
    CHECK_EQ(head_counts(bench.head).tasks_queued, 2);
    struct bench_call big = { .cpus_hundredths = 800, .returns = 1 };
    struct task_id task = bench_submit(&bench, 0, &big);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_STATUS, "what=demand")->total, 1);
    struct bench_call nowhere = { .returns = 1, .flags = SPEC_NODE_ONLY, .node = { 9, 9 } };
    bench_submit(&bench, 0, &nowhere);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_EINFEASIBLE);
    bench_agent(&bench, 1, 8);
    CHECK_EQ(bench_placed(&bench, task), 1);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_STATUS, "what=demand")->total, 0);
    bench_end(&bench);
}

TEST(head_tasks, a_call_made_again_goes_with_the_spec_that_came_last)
{
    start(2, 4);
    roost_in arg = bench_ref(bench_put(&bench, 1, ROOST_GIB(1)));
    struct bench_call call = {
        .args = &arg, .args_count = 1, .returns = 1, .name = "a name that is no part of the id"
    };
    struct spec *first = bench_spec(&bench, &call);
    bench.next_call--; /* the same call */
    call.name = NULL;
    struct spec *last = bench_spec(&bench, &call);
    CHECK(task_id_eq(first->task, last->task) && first->bytes > last->bytes);
    struct proto_message publish = { .kind = PROTO_PUBLISH,
                                     .u.publish = { .object = result_id(first->task, 0),
                                                    .state = PROTO_PENDING,
                                                    .task = first->task,
                                                    .spec = { first, first->bytes } } };
    bench_say(&bench, 0, &publish);
    struct proto_message submit = { .kind = PROTO_SUBMIT,
                                    .u.submit = { .task = last->task, .spec = { last, last->bytes } } };
    bench_say(&bench, 0, &submit);
    CHECK_EQ(bench_placed(&bench, last->task), 1); /* and what was sent is exactly a spec */
    bench_complete(&bench, 1, last->task, 1, 1, 100);
    CHECK_EQ(head_counts(bench.head).spec_bytes, 0);
    free(first);
    free(last);
    bench_end(&bench);
}

TEST(head_tasks, a_task_published_by_its_home_is_made_again_when_that_dies)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .max_retries = 1 };
    struct spec *spec = bench_spec(&bench, &call);
    struct object_id id = result_id(spec->task, 0);
    struct proto_message publish = { .kind = PROTO_PUBLISH };
    publish.u.publish = (struct proto_publish){
        .object = id, .state = PROTO_PENDING, .task = spec->task, .spec = { spec, spec->bytes }
    };
    bench_say(&bench, 1, &publish);
    bench_names(&bench, 0, PROTO_HOLD, id);
    bench_die(&bench, 1);
    CHECK_EQ(bench_placed(&bench, spec->task), 0);
    bench_complete(&bench, 0, spec->task, bench_last(&bench, 0, PROTO_TASK)->attempt, 1, 10);
    CHECK_EQ(head_counts(bench.head).completed, 1);
    free(spec);
    bench_end(&bench);
}

TEST(head_tasks, every_task_that_waits_has_its_reason)
{
    start(1, 1);
    struct object_id late = bench_pending(&bench, 0);
    struct task_id waits = submit(0, (roost_in[]){ bench_ref(late) }, 1, 0);
    char text[ID_TEXT_BYTES];
    CHECK(strstr(bench_query(&bench, PROTO_QUERY_WHY, task_id_print(waits, text))->text, "waits for object") != NULL);
    for (int i = 0; i < 3; i++) {
        submit(0, NULL, 0, 0);
    }
    CHECK(strstr(bench_query(&bench, PROTO_QUERY_TASKS, "state=queued")->text, "waits for room") != NULL);
    bench_end(&bench);
}

TEST(head_tasks, a_thousand_tasks_cost_one_message_each_way_and_one_for_each_result)
{
    start(4, 4);
    bench_forget(&bench);
    uint64_t said = head_counts(bench.head).sent;
    uint32_t done = 0;
    struct task_id tasks[1000];
    for (int i = 0; i < 1000; i++) {
        tasks[i] = submit(0, NULL, 0, 0);
    }
    while (done < 1000) {
        for (int i = 0; i < 1000; i++) {
            uint32_t at = task_id_is_none(tasks[i]) ? BENCH_AGENTS : bench_placed(&bench, tasks[i]);
            if (at < BENCH_AGENTS) {
                bench_complete(&bench, at, tasks[i], 1, 1, 10);
                tasks[i] = (struct task_id){ 0, 0 };
                done++;
            }
        }
    }
    size_t given = 0, found = 0;
    for (size_t k = 0; k < bench.said_count; k++) {
        given += bench.said[k].kind == PROTO_TASK ? 1 : 0;
        found += bench.said[k].kind == PROTO_FOUND ? 1 : 0;
    }
    CHECK_EQ(given, 1000);
    CHECK(found <= 1000); /* none for those that the submitter made itself */
    CHECK_EQ(head_counts(bench.head).sent - said, given + found + 3); /* and JOB_OPEN to three */
    bench_end(&bench);
}
