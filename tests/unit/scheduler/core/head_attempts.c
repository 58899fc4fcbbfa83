/* Attempts in the head that were lost or are made again: deaths, lists, a restart. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/task_bench.h"

#include <string.h>

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

TEST(head_tasks, bytes_that_do_not_count_are_given_up_before_their_node_is_told_to_make_them_anew)
{
    start(1, 4);
    struct task_id task = submit(0, NULL, 0, 0);
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    bench.turns_are_held = true;
    bench_list(&bench, 0, &(struct bench_listed){ result_id(task, 0), true, true },
               1); /* of no attempt of the head's */
    bench_turn(&bench);
    CHECK_EQ(bench_attempt(&bench, task), 2);
    CHECK(bench_was_freed(&bench, 0, result_id(task, 0)));
    CHECK(bench_last(&bench, 0, PROTO_FREE) < bench_last(&bench, 0, PROTO_TASK));
    bench_end(&bench);
}

TEST(head_tasks, what_may_run_on_one_node_alone_waits_for_the_next_life_of_an_agent_that_was_started_again)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .max_retries = 1, .node = bench.agents[1].id, .flags = SPEC_NODE_ONLY };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1);
    bench_agent(&bench, 1, 4);
    bench_list(&bench, 1, NULL, 0);
    bench_turn(&bench);
    CHECK_EQ(head_counts(bench.head).failed, 0);
    CHECK_EQ(bench_attempt(&bench, task), 2);
    CHECK_EQ(bench_placed(&bench, task), 1);
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

TEST(head_tasks, the_bytes_of_a_task_that_nobody_has_listed_are_kept_until_the_census_has_ended)
{
    start(2, 4);
    struct bench_call call = { .returns = 1 };
    struct spec *spec = bench_spec(&bench, &call);
    struct object_id name = result_id(spec->task, 0);
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, NULL, 0);
    bench_complete(&bench, 0, spec->task, 1, 1, 100);
    CHECK(!bench_was_freed(&bench, 0, name));
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_LIST), 1);
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ name, true, false }, 1);
    bench_list(&bench, 0, &(struct bench_listed){ name, false, true }, 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK(!bench_was_freed(&bench, 0, name));
    free(spec);
    bench_end(&bench);
}

TEST(head_tasks, the_bytes_of_an_attempt_that_is_over_are_freed_in_a_census_too)
{
    start(3, 4);
    struct bench_call call = { .returns = 1 };
    struct spec *spec = bench_spec(&bench, &call);
    bench_restart(&bench);
    bench_agent_again(&bench, 1);
    struct proto_list_task there = { spec->task, 2, PROTO_TASK_RUNNING, { spec, spec->bytes } };
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message end = { .kind = PROTO_LIST_END, .u.list_end = { 1 } };
    struct proto_message running = { .kind = PROTO_LIST_TASKS, .u.list_tasks = { &there, 1 } };
    bench_say(&bench, 1, &begin);
    bench_say(&bench, 1, &running);
    bench_say(&bench, 1, &end);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, NULL, 0);
    bench_complete(&bench, 0, spec->task, 1, 1, 100); /* the one before */
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_LIST), 0);
    CHECK(bench_was_freed(&bench, 0, result_id(spec->task, 0)));
    free(spec);
    bench_end(&bench);
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

/* It is lost, and another node, where the next attempt of its caller runs, publishes it. */
static struct object_id publish_what_was_lost(uint64_t bytes)
{
    start(3, 4);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id };
    struct task_id task = bench_submit(&bench, 0, &call);
    struct object_id result = result_id(task, 0);
    struct proto_return given = { .object = result, .content = { .size = 100, .version = 1 }, .located = true };
    struct proto_message complete = { .kind = PROTO_COMPLETE };
    complete.u.complete = (struct proto_complete){ .task = task, .attempt = 1, .returns = &given, .returns_count = 1 };
    bench_say(&bench, 1, &complete);
    bench_location(&bench, 1, result, 100, false);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    struct proto_message publish = { .kind = PROTO_PUBLISH,
                                     .u.publish = { .object = result,
                                                    .state = PROTO_SEALED,
                                                    .content = { .size = bytes, .version = 7 },
                                                    .located = true } };
    bench_say(&bench, 2, &publish);
    return result;
}

TEST(head_tasks, a_lost_result_that_another_node_has_made_under_a_lease_is_that_result)
{
    struct object_id result = publish_what_was_lost(100);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK(!bench_was_freed(&bench, 2, result));
    bench_end(&bench);
}

TEST(head_tasks, one_that_differs_from_what_it_was_has_failed)
{
    struct object_id result = publish_what_was_lost(200);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ECHANGED);
    CHECK(bench_was_freed(&bench, 2, result));
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

static void complete_naming(uint32_t i, struct task_id task, uint32_t attempt, struct object_id inner)
{
    struct proto_return given = { .object = result_id(task, 0),
                                  .content = { .size = 100, .version = attempt },
                                  .contained = { &inner, 1 },
                                  .located = true };
    struct proto_message message = { .kind = PROTO_COMPLETE };
    message.u.complete =
        (struct proto_complete){ .task = task, .attempt = attempt, .returns = &given, .returns_count = 1 };
    bench_say(&bench, i, &message);
    bench_names(&bench, i, PROTO_DROP, inner);
}

TEST(head_tasks, a_result_that_is_made_again_contains_what_its_new_value_names)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id };
    struct task_id task = bench_submit(&bench, 0, &call);
    struct object_id first = bench_put(&bench, 1, 10);
    complete_naming(1, task, 1, first);
    bench_location(&bench, 1, result_id(task, 0), 100, false);
    CHECK(!bench_was_freed(&bench, 1, first)); /* its copy may come back */
    bench.next_call--;
    bench_submit(&bench, 0, &call);
    struct object_id second = bench_put(&bench, 1, 10); /* another attempt's, which has another id */
    complete_naming(1, task, 2, second);
    CHECK(bench_was_freed(&bench, 1, first));
    CHECK(!bench_was_freed(&bench, 1, second));
    bench_names(&bench, 0, PROTO_DROP, result_id(task, 0));
    CHECK(bench_was_freed(&bench, 1, second));
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

TEST(head_tasks, a_call_whose_result_another_attempt_of_its_caller_has_published_is_not_made_again)
{
    start(2, 4);
    struct bench_call call = { .returns = 1 };
    struct spec *spec = bench_spec(&bench, &call);
    struct object_id result = result_id(spec->task, 0);
    struct proto_message publish = { .kind = PROTO_PUBLISH,
                                     .u.publish = { .object = result,
                                                    .state = PROTO_SEALED,
                                                    .content = { .size = 100, .version = 7 },
                                                    .located = true } };
    bench_say(&bench, 1, &publish); /* made under a lease of that node: its spec never came here */
    bench.next_call--;
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK(task_id_eq(task, spec->task));
    CHECK_EQ(bench_placed(&bench, task), BENCH_AGENTS);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK_EQ(head_counts(bench.head).tasks_waiting, 0);
    bench_location(&bench, 1, result, 100, false); /* it is lost, and the call is made again after that */
    bench.next_call--;
    bench_submit(&bench, 0, &call);
    CHECK(bench_placed(&bench, task) != BENCH_AGENTS);
    free(spec);
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
