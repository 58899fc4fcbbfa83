/* Tasks between an agent and its head: calls that leave, and what the head places here. */
#include "common/hash.h"
#include "tests/lib/test.h"
#include "tests/unit/worker/agent/core/link_bench.h"

TEST(agent_link, tasks_beyond_the_window_go_to_the_head_after_their_names)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    const struct bench_sent *submit = busy_until_it_leaves(driver, &id);
    CHECK(submit != NULL);
    CHECK(task_id_eq(submit->message.u.submit.task, id));
    const struct bench_sent *publish = bench_sent(&bench, PROTO_PUBLISH);
    CHECK(publish != NULL && publish < submit);
    CHECK(object_id_eq(publish->message.u.publish.object, result_id(id, 0)));
    CHECK_EQ(publish->message.u.publish.state, PROTO_PENDING);
    bench_end(&bench, false);
}

TEST(agent_link, a_call_leaves_for_a_new_session_after_the_list_that_opens_its_job)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_session(&bench, head, false);
    bench_head_welcomes(&bench);
    struct task_id id = call_elsewhere(driver);
    bench_tick(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_JOB_OPEN), 2); /* the first may be lost with its session */
    const struct bench_sent *submit = bench_sent(&bench, PROTO_SUBMIT);
    CHECK(submit != NULL && submit > bench_sent(&bench, PROTO_JOB_OPEN));
    CHECK(task_id_eq(submit->message.u.submit.task, id));
    bench_end(&bench, false);
}

TEST(agent_link, a_task_of_the_head_pulls_its_argument_runs_and_reports)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct object_id argument = { 77, 1 };
    struct task_id id = place(argument, 500);
    const struct bench_sent *pull = bench_sent(&bench, PROTO_PULL);
    CHECK(pull != NULL);
    CHECK(!bench_sent_names(&bench, PROTO_HOLD, argument)); /* the TASK was a mention */
    give_argument(500);
    struct bench_task task = bench_take(&bench);
    CHECK(task_id_eq(task.id, id));
    bench_result(&bench, &task, 0, 300);
    bench_result(&bench, &task, 1, 0);
    bench_complete(&bench, &task, 0, "");
    const struct bench_sent *complete = bench_sent(&bench, PROTO_COMPLETE);
    CHECK(complete != NULL && complete->message.u.complete.failure == NULL);
    CHECK_EQ(complete->message.u.complete.returns_count, 2);
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, argument));
    CHECK(bench_find(&bench, result_id(id, 0)) != NULL); /* until the head frees it */
    names(PROTO_FREE, result_id(id, 0));
    names(PROTO_FREE, argument);
    CHECK(bench_find(&bench, result_id(id, 0)) == NULL);
    bench_end(&bench, false);
}

TEST(agent_link, the_head_is_told_what_has_come_for_its_task_and_that_it_runs)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    bench_tick(&bench);
    struct task_id id = place((struct object_id){ 77, 1 }, 500);
    give_argument(500);
    bench_take(&bench);
    CHECK(bench_sent(&bench, PROTO_PROGRESS) == NULL); /* in company, a little later */
    bench_time(&bench, bench.now_ns + 100000000);
    const struct bench_sent *sent = bench_sent(&bench, PROTO_PROGRESS);
    CHECK(sent != NULL);
    CHECK_EQ(sent->message.u.progress.count, 2);
    const struct proto_progress_item *items = sent->items;
    CHECK(task_id_eq(items[0].task, id) && task_id_eq(items[1].task, id));
    CHECK_EQ(items[0].source, BENCH_OTHER);
    CHECK_EQ(items[0].bytes, 500);
    CHECK_EQ(items[1].source, 0);
    bench_end(&bench, false);
}

TEST(agent_link, a_task_of_the_head_that_blocks_says_so_at_once)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    place(id, 100);
    bench_workers_come(&bench);
    struct bench_task task = bench_take(&bench);
    uint64_t token = bench_wait(&bench, task.client, task.task.run, WIRE_WAIT_BLOCKS, 1, &(struct object_id){ 4711, 1 },
                                1);
    bench_tick(&bench); /* no time has passed */
    CHECK_EQ(bench_sent(&bench, PROTO_LOAD)->message.u.load.blocked_hundredths, 100);
    struct wire_ask end = { .head = { WIRE_UNWAIT, sizeof end, token } };
    bench_entry(&bench, task.client, &end.head);
    bench_time(&bench, bench.now_ns + 1000000000);
    CHECK_EQ(bench_sent(&bench, PROTO_LOAD)->message.u.load.blocked_hundredths, 0);
    bench_end(&bench, false);
}

TEST(agent_link, the_death_of_a_worker_in_a_task_of_the_head_is_for_the_head_to_judge)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct object_id argument = { 77, 1 };
    place(argument, 0);
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench_gone(&bench, task.client, 9);
    const struct bench_sent *complete = bench_sent(&bench, PROTO_COMPLETE);
    CHECK(complete != NULL && complete->message.u.complete.died);
    CHECK_EQ(agent_counts(bench.agent).tasks_waiting + agent_counts(bench.agent).tasks_ready, 0);
    names(PROTO_FREE, argument);
    bench_end(&bench, false);
}

TEST(agent_link, a_failure_found_by_the_head_becomes_an_error_object_at_home)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct proto_failure failure = { .status = ROOST_ENODE, .function = "f", .node = "n", .text = "the node died" };
    struct proto_message message = {
        .kind = PROTO_FOUND, .u.found = { .object = result_id(id, 0), .state = PROTO_FAILED, .failure = &failure }
    };
    bench_message(&bench, head, &message);
    CHECK_EQ(bench_find(&bench, result_id(id, 0))->object.format, TABLE_ERROR);
    bench_end(&bench, false);
}

TEST(agent_link, a_task_whose_results_are_awaited_here_already_gives_all_of_them)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    /* the names of both results have come ahead of the task: one is asked for, of one the head has told */
    struct object_id argument = { 77, 1 };
    struct task_id id = placed_id(argument);
    struct object_id first = result_id(id, 0), second = result_id(id, 1);
    bench_names(&bench, driver, WIRE_HOLD, 0, first);
    bench_names(&bench, driver, WIRE_HOLD, 0, second);
    bench_drain(&bench);
    struct proto_message told = { .kind = PROTO_FOUND, .u.found = { .object = first, .state = PROTO_PENDING } };
    bench_message(&bench, head, &told);
    uint64_t token = bench_wait(&bench, driver, 0, 0, 2, (struct object_id[]){ first, second }, 2);
    CHECK(task_id_eq(place(argument, 0), id));
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_result(&bench, &task, 1, 100);
    bench_complete(&bench, &task, 0, "");
    const struct proto_complete *complete = &bench_sent(&bench, PROTO_COMPLETE)->message.u.complete;
    CHECK_EQ(complete->returns_count, 2);
    CHECK(bench_find(&bench, first) != NULL && bench_find(&bench, second) != NULL);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->head.token == token && ready->ready[0] == 1 && ready->ready[1] == 1);
    bench_end(&bench, false);
}

TEST(agent_link, a_call_that_is_asked_for_again_and_is_over_is_taken_back)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct task_id over = { 12, 34 };
    hand_back(over, PROTO_HANDBACK_ROOM);
    CHECK(bench_sent(&bench, PROTO_CANCEL) == NULL);
    hand_back(over, PROTO_HANDBACK_AGAIN);
    CHECK(task_id_eq(bench_sent(&bench, PROTO_CANCEL)->message.u.cancel.task, over));
    bench_end(&bench, true);
}

/* A session with a head that has begun since the last one, or its next one; the node lists. */
static void another_head_comes(void)
{
    bench_session(&bench, head, false);
    bench_session(&bench, head, true);
    struct proto_message welcome = {
        .kind = PROTO_WELCOME, .u.welcome = { .cluster = { 1, 1 }, .epoch = 2, .number = BENCH_NODE, .incarnation = 1 }
    };
    bench.head_mark = 0;
    bench_message(&bench, head, &welcome);
    bench_tick(&bench);
}

TEST(agent_link, the_specs_of_what_was_placed_here_are_listed_until_a_head_that_cannot_know_them_has_seen_that)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    place((struct object_id){ 77, 1 }, 500);
    another_head_comes();
    CHECK(bench_sent(&bench, PROTO_LIST_TASKS)->spec_bytes > 0);
    another_head_comes(); /* the first list was lost */
    CHECK(bench_sent(&bench, PROTO_LIST_TASKS)->spec_bytes > 0);
    bench_message(&bench, head, NULL); /* it has seen this one */
    another_head_comes();
    CHECK_EQ(bench_sent(&bench, PROTO_LIST_TASKS)->spec_bytes, 0);
    bench_end(&bench, false);
}

TEST(agent_link, a_call_that_a_head_had_refused_ends_with_the_word_of_the_next_head_on_its_result)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = call_elsewhere(driver);
    hand_back(id, PROTO_HANDBACK_ROOM);
    another_head_comes(); /* and hears of the spec */
    struct proto_failure failure = { .status = ROOST_ENODE, .function = "f", .node = "n", .text = "the node died" };
    struct proto_message found = {
        .kind = PROTO_FOUND, .u.found = { .object = result_id(id, 0), .state = PROTO_FAILED, .failure = &failure }
    };
    bench_message(&bench, head, &found);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_end(&bench, true);
}

TEST(agent_link, a_held_result_that_is_gone_after_it_was_found_is_asked_for_by_its_call_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id result = result_id(call_elsewhere(driver), 0);
    found(result, 100, 0); /* a word on what an earlier attempt of the caller had let go of */
    names(PROTO_GONE, result);
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 2);
    CHECK(bench_find(&bench, result) == NULL); /* no failure */
    bench_end(&bench, false);
}

/* SUBMITs of a call that such an attempt makes. */
static size_t submits_of_attempt(uint32_t attempt)
{
    bench_start(&bench, ROOST_MIB(1), 4);
    bench_head_comes(&bench);
    struct task_id id = place_attempt((struct object_id){ 77, 1 }, 0, attempt);
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench.job = (struct job_id){ 3, 4 };
    bench_submit(&bench, task.client, task.task.run, &(struct spec_draft){ .function = "h", .parent = id });
    size_t submits = bench_sent_count(&bench, PROTO_SUBMIT);
    bench_end(&bench, false);
    return submits;
}

TEST(agent_link, the_calls_of_a_later_attempt_of_the_head_s_go_to_the_head_which_may_know_them)
{
    CHECK_EQ(submits_of_attempt(1), 0);
    CHECK_EQ(submits_of_attempt(2), 1);
}
