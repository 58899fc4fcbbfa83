/* Names and objects between an agent and its head: what is said, and what a list says again. */
#include "common/hash.h"
#include "tests/lib/test.h"
#include "tests/unit/worker/agent/core/link_bench.h"

#include <string.h>

TEST(agent_link, a_driver_s_job_is_told_to_the_head_once_it_is_there)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    bench_driver(&bench);
    CHECK_EQ(bench.sent_count, 0);
    bench_head_comes(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_JOB_OPEN), 1);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LIST_BEGIN), 1);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LIST_END), 1);
    bench_end(&bench, true);
}

TEST(agent_link, what_stays_on_the_node_sends_no_object_message)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    size_t before = bench.sent_count;
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    roost_in in = roost_in_ref(object_ref(id));
    struct task_id task_id = bench_submit(
        &bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1, .args = &in, .args_count = 1 });
    struct bench_task task = bench_take(&bench);
    bench_complete(&bench, &task, 0, "");
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(task_id, 0));
    CHECK_EQ(bench.sent_count, before);
    bench_end(&bench, true);
}

TEST(agent_link, an_inner_name_is_published_before_the_object_that_contains_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    roost_ref inner = object_ref(bench_put(&bench, driver, 10, NULL, 0));
    struct object_id outer = bench_put(&bench, driver, 10, &inner, 1);
    roost_in in = roost_in_handle(object_ref(outer));
    struct spec_draft draft = {
        .function = "f", .returns = 1, .args = &in, .args_count = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY
    };
    bench_submit(&bench, driver, 0, &draft);
    size_t inner_at = 0, outer_at = 0, submit_at = 0;
    for (size_t i = 0; i < bench.sent_count; i++) {
        const struct proto_message *message = &bench.sent[i].message;
        bool is_publish = message->kind == PROTO_PUBLISH;
        inner_at = is_publish && object_id_eq(message->u.publish.object, object_id_of(inner)) ? i : inner_at;
        outer_at = is_publish && object_id_eq(message->u.publish.object, outer) ? i : outer_at;
        submit_at = message->kind == PROTO_SUBMIT ? i : submit_at;
    }
    CHECK(inner_at > 0 && inner_at < outer_at && outer_at < submit_at);
    bench_end(&bench, false);
}

TEST(agent_link, the_last_hold_given_up_is_a_drop_and_the_bytes_stay_until_free)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 10, NULL, 0);
    roost_in in = roost_in_ref(object_ref(id));
    struct spec_draft draft = {
        .function = "f", .returns = 0, .args = &in, .args_count = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY
    };
    bench_submit(&bench, driver, 0, &draft);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK(!bench_sent_names(&bench, PROTO_DROP, id)); /* from a timer, not from the step */
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, id));
    CHECK(bench_find(&bench, id) != NULL);
    names(PROTO_FREE, id);
    CHECK(bench_find(&bench, id) == NULL);
    bench_end(&bench, true);
}

TEST(agent_link, a_name_that_is_forgotten_and_comes_again_before_the_drop_has_left_is_not_dropped)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_names(&bench, driver, WIRE_FREE, 0, result);
    found(result, 1000, 0); /* the home is done with it: the record goes, a DROP is due */
    place(result, 1000);    /* in the same batch: an argument of a task here */
    bench_tick(&bench);
    CHECK(!bench_sent_names(&bench, PROTO_DROP, result));
    bench_end(&bench, false);
}

TEST(agent_link, a_name_that_the_head_does_not_know_either_is_freed)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id nothing = { 1, 2 };
    uint64_t token = bench_wait(&bench, driver, 0, 0, 1, &nothing, 1);
    bench_drain(&bench);
    CHECK(bench_sent_names(&bench, PROTO_WANT, nothing));
    CHECK(bench_said(&bench, driver, WIRE_READY) == NULL);
    names(PROTO_GONE, nothing);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->head.token == token && ready->ready[0] == ROOST_EFREED);
    bench_end(&bench, true);
}

TEST(agent_link, what_was_to_be_dropped_when_a_session_ended_is_left_out_of_the_next_list_and_not_dropped_before_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    leave_unheld(driver);
    bench_session(&bench, head, false);
    bench_head_comes(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LIST_END), 2);
    CHECK(bench_sent(&bench, PROTO_DROP) == NULL); /* its FREE could meet the name that the list says is here */
    bench_end(&bench, false);
}

TEST(agent_link, a_name_that_is_gone_and_was_said_once_more_meanwhile_is_dropped_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = leave_unheld(driver);
    bench_tick(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_DROP), 1);
    hand_back(id, PROTO_HANDBACK_ROOM);
    hand_back(id, PROTO_HANDBACK_AGAIN);
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 2); /* which names the result */
    names(PROTO_GONE, result_id(id, 0));
    bench_tick(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_DROP), 2);
    bench_end(&bench, false);
}

TEST(agent_link, a_failure_that_has_no_bytes_is_said_again_with_every_list)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1 };
    struct object_id result = result_id(bench_submit(&bench, driver, 0, &draft), 0);
    give_away(result);
    bench_gone(&bench, driver, 0);
    CHECK_EQ(bench_sent(&bench, PROTO_PUBLISH)->message.u.publish.state, PROTO_FAILED);
    size_t published = bench_sent_count(&bench, PROTO_PUBLISH);
    bench_session(&bench, head, false);
    bench_head_comes(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), published + 1);
    CHECK_EQ(bench_sent(&bench, PROTO_PUBLISH)->message.u.publish.state, PROTO_FAILED);
    bench_end(&bench, false);
}

TEST(agent_link, a_failure_that_nobody_here_names_is_said_again_until_the_head_has_heard_of_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1 };
    give_away(result_id(bench_submit(&bench, driver, 0, &draft), 0)); /* others may wait for it */
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 1 } };
    bench_message(&bench, head, &dead);
    bench_gone(&bench, driver, 0);
    CHECK_EQ(bench_sent(&bench, PROTO_PUBLISH)->message.u.publish.state, PROTO_FAILED);
    size_t published = bench_sent_count(&bench, PROTO_PUBLISH);
    for (int heads = 1; heads <= 2; heads++) {
        bench_session(&bench, head, false); /* what was said may be lost with it */
        bench.head_mark = 0;
        bench_head_comes(&bench);
        CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), published + 1);
        bench_message(&bench, head, &dead); /* has seen that */
    }
    bench_end(&bench, false);
}

TEST(agent_link, a_result_that_was_freed_and_is_said_to_be_here_once_more_stays_until_it_is_freed_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct object_id argument = { 77, 1 };
    struct task_id id = place(argument, 0);
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_result(&bench, &task, 1, 100);
    bench_complete(&bench, &task, 0, "");
    struct object_id kept = result_id(id, 0);
    struct core_peer peer = { BENCH_OTHER, 1 };
    struct proto_message pull = { .kind = PROTO_PULL, .u.pull = { .token = 9, .ref = object_ref(kept) } };
    bench_message(&bench, peer, &pull); /* it stays for this */
    names(PROTO_FREE, kept);
    names(PROTO_FREE, result_id(id, 1));
    place(argument, 0); /* the call is made again */
    task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_result(&bench, &task, 1, 100);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(bench_sent(&bench, PROTO_COMPLETE)->message.u.complete.returns_count, 2);
    struct proto_message done = { .kind = PROTO_PULL_DONE, .u.pull_done = { 9, 0 } };
    bench_message(&bench, peer, &done);
    CHECK(bench_find(&bench, kept) != NULL);
    names(PROTO_FREE, kept);
    CHECK(bench_find(&bench, kept) == NULL);
    bench_end(&bench, false);
}

TEST(agent_link, bytes_that_the_head_has_freed_are_told_to_it_when_a_task_names_their_object_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct object_id argument = { 77, 1 };
    struct task_id id = place(argument, 0);
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_result(&bench, &task, 1, 100);
    bench_complete(&bench, &task, 0, "");
    struct object_id kept = result_id(id, 0);
    struct core_peer peer = { BENCH_OTHER, 1 };
    struct proto_message pull = { .kind = PROTO_PULL, .u.pull = { .token = 9, .ref = object_ref(kept) } };
    bench_message(&bench, peer, &pull); /* it stays for this */
    names(PROTO_FREE, kept);
    size_t told = bench_sent_count(&bench, PROTO_LOCATIONS);
    place(kept, 100); /* made again elsewhere, by another attempt of whoever called for it */
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), told + 1);
    struct proto_message done = { .kind = PROTO_PULL_DONE, .u.pull_done = { 9, 0 } };
    bench_message(&bench, peer, &done);
    task = bench_take(&bench);
    bench_complete(&bench, &task, ROOST_EFAILED, "");
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, kept));
    names(PROTO_FREE, kept);
    CHECK(bench_find(&bench, kept) == NULL);
    bench_end(&bench, false);
}

TEST(agent_link, what_a_public_result_names_that_was_made_while_the_head_was_away_is_in_the_list)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct object_id result = result_id(task.id, 0);
    give_away(result);
    bench_session(&bench, head, false);
    struct object_id inner = bench_put(&bench, task.client, 10, NULL, 0);
    give_result_naming(&task, inner);
    bench_complete(&bench, &task, 0, "");
    bench_head_comes(&bench);
    CHECK(bench_sent_names(&bench, PROTO_LIST_OBJECTS, result));
    CHECK(bench_sent_names(&bench, PROTO_LIST_OBJECTS, inner));
    bench_end(&bench, false);
}

TEST(agent_link, objects_that_name_each_other_are_published_once_each_one_of_them_by_its_name_first)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct object_id result = result_id(task.id, 0);
    roost_ref ref = object_ref(result);
    struct object_id inner = bench_put(&bench, task.client, 10, &ref, 1);
    give_result_naming(&task, inner);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 0);
    give_away(result);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 3);
    const struct proto_publish *last = &bench_sent(&bench, PROTO_PUBLISH)->message.u.publish;
    CHECK(object_id_eq(last->object, result) && last->state == PROTO_SEALED && last->contained.count == 1);
    bench_end(&bench, false);
}

TEST(agent_link, a_free_that_has_not_seen_that_the_object_was_made_known_again_is_void)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    give_away(id);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 1 } };
    bench.head_mark = 0;
    bench_message(&bench, head, &dead);
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, id));
    uint32_t said = bench.head_mark;
    bench.head_mark = 0;
    names(PROTO_FREE, id); /* of what had this name before */
    CHECK(bench_find(&bench, id) != NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 0); /* that its bytes are here is on its way */
    bench.head_mark = said;
    names(PROTO_FREE, id); /* it has seen all that was said since */
    CHECK(bench_find(&bench, id) == NULL);
    bench_end(&bench, true);
}

TEST(agent_link, bytes_whose_name_alone_was_said_again_when_a_free_crossed_that_are_told_to_the_head)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = call_elsewhere(driver);
    struct object_id result = result_id(id, 0);
    hand_back(id, PROTO_HANDBACK_ROOM);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 50, 0); /* another attempt of the caller had it made */
    give_argument(50);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 1);
    uint32_t before = bench.head_mark;
    hand_back(id, PROTO_HANDBACK_AGAIN); /* a SUBMIT, which is a word on the name */
    bench.head_mark = before;
    names(PROTO_FREE, result);
    CHECK(bench_find(&bench, result) != NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 2);
    bench_end(&bench, false);
}

TEST(agent_link, a_copy_that_the_head_refuses_is_for_those_here_who_hold_the_object_and_goes_with_them)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    give_away(id);
    names(PROTO_FREE, id); /* has seen all that was said of it, and lists this node among the holders */
    CHECK(bench_find(&bench, id) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK(bench_find(&bench, id) != NULL); /* its name is on its way to another node */
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 1 } };
    bench_message(&bench, head, &dead);
    CHECK(bench_find(&bench, id) == NULL);
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, id));
    bench_end(&bench, true);
}

/* A result of 100 bytes, made here by the agent's own word; the driver holds it. */
static struct object_id make_here(struct core_client driver)
{
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_complete(&bench, &task, 0, "");
    return result_id(task.id, 0);
}

TEST(agent_link, a_result_that_the_head_refuses_makes_way_for_the_one_that_it_has)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id result = make_here(driver);
    give_away(result);
    CHECK(bench_sent(&bench, PROTO_PUBLISH)->message.u.publish.content.version != 0); /* of this making alone */
    names(PROTO_FREE, result); /* the same call was made on another node, whose value was there first */
    CHECK_EQ(bench_find(&bench, result)->op, AGENT_ENTRY_EVICT);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    CHECK(bench_sent_names(&bench, PROTO_WANT, result));
    found(result, 50, 0);
    CHECK(object_id_eq(object_id_of(bench_sent(&bench, PROTO_PULL)->message.u.pull.ref), result));
    give_argument(50);
    CHECK_EQ(bench_find(&bench, result)->object.size, 50);
    bench_end(&bench, false);
}

TEST(agent_link, a_result_that_is_refused_while_a_task_reads_it_makes_way_after_that)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id result = make_here(driver);
    give_away(result);
    roost_in in = roost_in_ref(object_ref(result));
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "g", .args = &in, .args_count = 1, .call = 1 });
    struct bench_task reader = bench_take(&bench);
    names(PROTO_FREE, result);
    CHECK_EQ(bench_find(&bench, result)->op, AGENT_ENTRY_PUBLISH);
    bench_complete(&bench, &reader, 0, "");
    CHECK_EQ(bench_find(&bench, result)->op, AGENT_ENTRY_EVICT);
    bench_end(&bench, false);
}

TEST(agent_link, a_result_that_the_head_refuses_goes_although_a_task_has_named_it_meanwhile)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct object_id argument = { 77, 1 };
    struct object_id result = result_id(place(argument, 0), 0);
    give_argument(0);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 100);
    bench_result(&bench, &task, 1, 100);
    bench_complete(&bench, &task, 0, "");
    uint32_t completed = bench.head_mark;
    bench_tick(&bench); /* the argument is dropped, of which the head does not know yet */
    CHECK(bench.head_mark > completed);
    bench.head_mark = completed;
    place(result, 50); /* whose value is another attempt's */
    struct bench_task reader = bench_take(&bench);
    bench.head_mark = completed;
    names(PROTO_FREE, result);
    bench_complete(&bench, &reader, ROOST_EFAILED, "");
    CHECK(bench_find(&bench, result) == NULL); /* the head will not free it once more */
    bench_end(&bench, false);
}

TEST(agent_link, what_is_named_by_a_copy_from_elsewhere_and_lies_here_for_this_node_alone_is_for_the_head_to_judge)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id inner = make_here(driver), box = { 77, 1 };
    bench_names(&bench, driver, WIRE_HOLD, 0, box);
    bench_drain(&bench);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &box, 1);
    found(box, 10, 0);
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    roost_ref ref = object_ref(inner);
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer,
                                                       .content = { .size = 10 },
                                                       .refs_count = 1,
                                                       .trailer_bytes = wire_object_bytes(10, 0, 1) - 10 } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, &ref, sizeof ref);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 2); /* of both */
    CHECK(bench_sent_names(&bench, PROTO_HOLD, inner));
    bench_end(&bench, false);
}

TEST(agent_link, the_death_of_a_later_life_is_that_of_all_before)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    give_away(id);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 2 } };
    bench_message(&bench, head, &dead); /* nobody has said that its first life ended */
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, id));
    bench_end(&bench, false);
}

/* The head has declared this node dead: it begins a life in which these are all that live. */
static void begin_another_life(struct proto_node *living, size_t count)
{
    bench_session(&bench, head, false);
    bench_session(&bench, head, true);
    struct proto_message welcome = {
        .kind = PROTO_WELCOME, .u.welcome = { .cluster = { 1, 1 }, .epoch = 1, .number = BENCH_NODE, .incarnation = 2 }
    };
    bench.head_mark = 0;
    bench_message(&bench, head, &welcome);
    struct proto_message nodes = { .kind = PROTO_NODES, .u.nodes = { living, count, 7 } };
    bench_message(&bench, head, &nodes);
    bench_tick(&bench);
}

TEST(agent_link, whom_the_head_does_not_name_to_a_new_life_has_died_before_it)
{
    struct proto_node living[] = {
        { .id = { 7, 7 }, .number = BENCH_NODE, .incarnation = 2, .state = PROTO_NODE_ALIVE, .host = "", .labels = "" },
        { .id = { 8, 8 }, .number = BENCH_OTHER, .incarnation = 1, .state = PROTO_NODE_ALIVE, .host = "", .labels = "" }
    };
    for (size_t count = 1; count <= 2; count++) {
        bench_start(&bench, ROOST_MIB(1), 1);
        struct core_client driver = bench_driver(&bench);
        bench_head_comes(&bench);
        struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
        give_away(id);
        bench_message(&bench, head, NULL); /* it has seen that: the name leaves */
        CHECK(bench_sent(&bench, PROTO_NAMES) != NULL);
        bench_names(&bench, driver, WIRE_FREE, 0, id);
        begin_another_life(living, count);
        bench_session(&bench, (struct core_peer){ BENCH_OTHER, 1 }, false);
        bench_time(&bench, bench.now_ns + 1000000000);
        bench_tick(&bench);
        CHECK(bench_sent_names(&bench, PROTO_DROP, id) == (count == 1));
        bench_end(&bench, false);
    }
}

TEST(agent_link, a_name_in_the_list_that_is_neither_here_nor_to_be_made_here_may_be_gone)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = { 77, 1 };
    bench_names(&bench, driver, WIRE_HOLD, 0, id);
    bench_drain(&bench);
    found(id, 100, 0);
    bench_session(&bench, head, false);
    bench_head_comes(&bench);
    CHECK(bench_sent_names(&bench, PROTO_LIST_OBJECTS, id));
    bench.head_mark = 0; /* the answer to the list is said while the list is taken in */
    names(PROTO_GONE, id);
    CHECK_EQ(bench_find(&bench, id)->status, ROOST_EFREED);
    bench_end(&bench, false);
}

TEST(agent_link, names_that_are_said_again_are_acknowledged_again_as_the_first_word_of_it_may_have_been_lost)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_driver(&bench);
    bench_head_comes(&bench);
    struct core_peer peer = { BENCH_OTHER, 1 };
    struct object_id id = { 77, 1 };
    struct proto_message names = { .kind = PROTO_NAMES, .u.names = { 5, { &id, 1 } } };
    bench_session(&bench, peer, true);
    bench_message(&bench, peer, &names);
    CHECK(bench_sent(&bench, PROTO_NAMES_ACK) == NULL); /* the head has not seen the hold */
    bench_message(&bench, head, NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_NAMES_ACK), 1);
    bench_session(&bench, peer, false);
    bench_session(&bench, peer, true);
    bench_message(&bench, peer, &names);
    CHECK_EQ(bench_sent_count(&bench, PROTO_NAMES_ACK), 2);
    bench_end(&bench, false);
}
