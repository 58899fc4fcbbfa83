/* Tasks in the head: where each goes, how it ends, and what keeps it waiting. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/task_bench.h"

#include <string.h>

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
