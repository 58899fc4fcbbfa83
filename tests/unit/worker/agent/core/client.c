#include "common/hash.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;

/* The client broke the protocol and is to be ended; nothing else of it is left. */
static void is_ended(struct core_client client)
{
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    bench_gone(&bench, client, 9);
    bench_end(&bench, true);
}

static void tell_refs(struct core_client client, struct object_id container, roost_ref ref)
{
    struct {
        struct wire_refs refs;
        roost_ref ref;
    } entry = { { .head = { WIRE_REFS, sizeof entry, 0 }, .container = container, .count = 1 }, ref };
    bench_entry(&bench, client, &entry.refs.head);
}

static void announce(struct core_client client, const struct wire_object *object)
{
    struct wire_announce entry = { .head = { WIRE_ANNOUNCE, sizeof entry, 0 }, .object = *object };
    bench_entry(&bench, client, &entry.head);
}

static struct object_id own_id(struct core_client client)
{
    return (struct object_id){ agent_client_prefix(bench.agent, client), ++bench.next_put };
}

TEST(agent_names, a_name_given_again_while_its_bytes_are_read_has_no_value_and_harms_no_reader)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    bench_pin(&bench, id);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_names(&bench, driver, WIRE_HOLD, 0, id);
    bench_wait(&bench, driver, 0, 0, 1, &id, 1);
    bench_drain(&bench);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->ready[0] == ROOST_EFREED);
    CHECK(agent_counts(bench.agent).bytes_used > 0); /* the reader is still there */
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_unpin(&bench, id);
    bench_end(&bench, true);
}

TEST(agent_names, what_readers_keep_for_long_does_not_keep_what_was_given_up_after_it)
{
    enum { KEPT = 100, OTHERS = 300 };
    bench_start(&bench, ROOST_MIB(8), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id kept[KEPT];
    for (int i = 0; i < KEPT; i++) {
        kept[i] = bench_put(&bench, driver, 100, NULL, 0);
        bench_pin(&bench, kept[i]);
        bench_names(&bench, driver, WIRE_FREE, 0, kept[i]);
    }
    uint64_t used = agent_counts(bench.agent).bytes_used;
    for (int i = 0; i < OTHERS; i++) {
        struct object_id other = bench_put(&bench, driver, 100, NULL, 0);
        bench_names(&bench, driver, WIRE_FREE, 0, other);
        if (i % 3 == 0 && i / 3 < KEPT / 2) {
            bench_unpin(&bench, kept[i / 3]);
        }
    }
    CHECK_EQ(agent_counts(bench.agent).objects, KEPT / 2);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, used / 2);
    for (int i = KEPT / 2; i < KEPT; i++) {
        bench_unpin(&bench, kept[i]);
    }
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 0);
    bench_end(&bench, true);
}

TEST(agent_names, a_call_made_again_by_a_later_attempt_makes_the_results_that_are_gone_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "parent", .returns = 1, .max_retries = 3 });
    struct bench_task parent = bench_take(&bench);
    struct spec_draft call = { .function = "child", .parent = parent.id, .call = 1, .returns = 2 };
    struct task_id child = bench_submit(&bench, parent.client, parent.task.run, &call);
    struct bench_task run = bench_take(&bench);
    bench_result(&bench, &run, 0, 100);
    bench_result(&bench, &run, 1, 100);
    bench_complete(&bench, &run, 0, "");
    struct object_id first = result_id(child, 0), second = result_id(child, 1);
    bench_names(&bench, driver, WIRE_HOLD, 0, second);
    bench_pin(&bench, first);
    bench_names(&bench, parent.client, WIRE_FREE, parent.task.run, first);
    bench_gone(&bench, parent.client, 9);
    parent = bench_take(&bench);
    bench_submit(&bench, parent.client, parent.task.run, &call);
    run = bench_take(&bench);
    CHECK(task_id_eq(run.id, child));
    bench_result(&bench, &run, 0, 100);
    bench_result(&bench, &run, 1, 100);
    bench_complete(&bench, &run, 0, "");
    CHECK(bench_find(&bench, first)->status == 0);
    CHECK_EQ(bench_find(&bench, first)->op, AGENT_ENTRY_PUBLISH);
    bench_unpin(&bench, first);
    CHECK(bench_find(&bench, first) != NULL);
    bench_complete(&bench, &parent, 0, "");
    CHECK(bench_find(&bench, first) == NULL); /* it went with the attempt that held it */
    CHECK(bench_find(&bench, second) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, second);
    bench_end(&bench, false);
}

TEST(agent_names, what_the_calls_of_a_dead_attempt_have_made_is_there_for_the_next_one)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "parent", .max_retries = 3 });
    struct bench_task parent = bench_take(&bench);
    struct spec_draft call = { .function = "child", .parent = parent.id, .call = 1, .returns = 1 };
    struct object_id made = result_id(bench_submit(&bench, parent.client, parent.task.run, &call), 0);
    struct bench_task run = bench_take(&bench);
    bench_result(&bench, &run, 0, 100);
    bench_complete(&bench, &run, 0, "");
    struct object_id put = bench_put(&bench, parent.client, 100, NULL, 0);
    bench_gone(&bench, parent.client, 9);
    CHECK(bench_find(&bench, put) == NULL);
    CHECK(bench_find(&bench, made) != NULL);
    parent = bench_take(&bench);
    bench_submit(&bench, parent.client, parent.task.run, &call);
    bench_workers_come(&bench);
    CHECK_EQ(bench.tasks_count, 0); /* it does not run again */
    bench_complete(&bench, &parent, 0, "");
    CHECK(bench_find(&bench, made) == NULL);
    bench_end(&bench, true);
}

TEST(agent_names, an_object_that_contains_its_own_name_goes_with_its_last_holder)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = own_id(driver);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, wire_object_bytes(8, 0, 1), &place), 0);
    tell_refs(driver, id, object_ref(id));
    announce(driver, &(struct wire_object){ .id = id, .place = place, .size = 8, .refs = 1 });
    CHECK(bench_find(&bench, id) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_end(&bench, true);
}

TEST(agent_names, objects_that_only_each_other_name_go_with_their_job)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id ids[] = { own_id(driver), own_id(driver) };
    for (int i = 0; i < 2; i++) {
        struct wire_place place;
        CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, wire_object_bytes(8, 0, 1), &place), 0);
        tell_refs(driver, ids[i], object_ref(ids[1 - i]));
        announce(driver, &(struct wire_object){ .id = ids[i], .place = place, .size = 8, .refs = 1 });
    }
    bench_names(&bench, driver, WIRE_FREE, 0, ids[0]);
    bench_names(&bench, driver, WIRE_FREE, 0, ids[1]);
    CHECK(bench_find(&bench, ids[0]) != NULL && bench_find(&bench, ids[1]) != NULL);
    bench_gone(&bench, driver, 9);
    bench_end(&bench, true);
}

TEST(agent_broken, refs_of_nothing_end_the_client)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    tell_refs(driver, own_id(driver), (roost_ref){ .size = ROOST_WHOLE });
    is_ended(driver);
}

TEST(agent_broken, refs_of_more_objects_than_may_be_announced_at_once_end_the_client)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    for (int i = 0; i < CLIENT_TOLD_MAX; i++) {
        tell_refs(driver, own_id(driver), (roost_ref){ { 5, 6 }, 0, ROOST_WHOLE });
    }
    CHECK_EQ(bench.closed_count, 0);
    tell_refs(driver, own_id(driver), (roost_ref){ { 5, 6 }, 0, ROOST_WHOLE });
    is_ended(driver);
}

TEST(agent_broken, columns_or_refs_without_room_for_them_end_the_client)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    announce(driver, &(struct wire_object){ .id = own_id(driver), .columns = 3 });
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct wire_result result = { .head = { WIRE_RESULT, sizeof result, 0 },
                                  .run = task.task.run,
                                  .object = { .id = result_id(task.id, 0), .columns = 3 } };
    bench_entry(&bench, task.client, &result.head);
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    bench_gone(&bench, task.client, 9);
    bench_gone(&bench, driver, 9);
    bench_end(&bench, true);
}

TEST(agent_broken, a_wait_that_is_asked_for_twice_ends_the_client_and_no_cpu_is_given_back_twice)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct object_id result = result_id(id, 0);
    for (int i = 0; i < 2; i++) {
        bench.next_token = 1000;
        bench_wait(&bench, task.client, task.task.run, WIRE_WAIT_BLOCKS, 1, &result, i == 0 ? 1 : 0);
    }
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    CHECK_EQ(agent_counts(bench.agent).tasks_blocked, 1);
    bench_gone(&bench, task.client, 9);
    CHECK_EQ(agent_counts(bench.agent).tasks_blocked, 0);
    bench_gone(&bench, driver, 9);
    CHECK_EQ(agent_counts(bench.agent).cpus_hundredths_free, 100);
    bench_end(&bench, true);
}

TEST(agent_broken, more_waits_or_requests_than_the_limits_end_the_client)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench), other = bench_driver(&bench);
    struct wire_wait wait = { .head = { WIRE_WAIT, sizeof wait, 1 }, .total = 1 << 20, .wanted = 1 };
    for (int i = 0; i < CLIENT_WAITED_MAX >> 20; i++) {
        wait.head.token++;
        bench_entry(&bench, driver, &wait.head);
    }
    CHECK_EQ(bench.closed_count, 0);
    wait.head.token++;
    bench_entry(&bench, driver, &wait.head);
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    bench_gone(&bench, driver, 9);

    struct wire_place place;
    CHECK_EQ(bench_room(&bench, other, 0, WIRE_ROOM_OBJECT, ROOST_MIB(1), &place), 0);
    for (int i = 0; i < CLIENT_ROOM_REQUESTS_MAX; i++) {
        CHECK_EQ(bench_room(&bench, other, 0, WIRE_ROOM_OBJECT, ROOST_MIB(1), &place), 1);
    }
    CHECK_EQ(bench.closed_count, 0);
    CHECK_EQ(bench_room(&bench, other, 0, WIRE_ROOM_OBJECT, ROOST_MIB(1), &place), 1);
    is_ended(other);
}

TEST(agent_nodes, what_is_free_elsewhere_is_not_known_and_not_said_to_be_all)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct proto_node other = { .id = { 8, 8 },
                                .number = BENCH_OTHER,
                                .incarnation = 1,
                                .state = PROTO_NODE_ALIVE,
                                .cpus_hundredths = 400,
                                .memory_bytes = 1000,
                                .store_bytes = 2000,
                                .host = "other",
                                .labels = "" };
    struct proto_message message = { .kind = PROTO_NODES, .u.nodes = { &other, 1 } };
    bench_message(&bench, (struct core_peer){ 0, 0 }, &message);
    struct wire_ask ask = { .head = { WIRE_NODES, sizeof ask, ++bench.next_token } };
    size_t first = bench.said_count;
    bench_entry(&bench, driver, &ask.head);
    CHECK_EQ(bench.said_count, first + 2);
    const struct wire_node *here = (const void *)bench.said[first].bytes,
                           *there = (const void *)bench.said[first + 1].bytes;
    CHECK_EQ(here->cpus_hundredths_free, 200);
    CHECK_EQ(here->store_bytes_free, here->store_bytes_total);
    CHECK_EQ(there->cpus_hundredths_total, 400);
    CHECK_EQ(there->memory_bytes_total, 1000);
    CHECK_EQ(there->store_bytes_total, 2000);
    CHECK_EQ(there->cpus_hundredths_free, 0);
    CHECK_EQ(there->memory_bytes_free, 0);
    CHECK_EQ(there->store_bytes_free, 0);
    bench_end(&bench, false);
}

TEST(agent_tasks, an_attempt_that_ends_while_one_of_its_threads_waits_leaves_nothing_blocked)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct object_id later = { 1, 2 };
    bench_wait(&bench, task.client, task.task.run, WIRE_WAIT_BLOCKS, 1, &later, 1);
    CHECK_EQ(agent_counts(bench.agent).tasks_blocked, 1);
    bench_result(&bench, &task, 0, 0);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(agent_counts(bench.agent).tasks_blocked, 0);
    CHECK_EQ(agent_counts(bench.agent).cpus_hundredths_free, 100);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_drain(&bench);
    bench_end(&bench, true);
}
