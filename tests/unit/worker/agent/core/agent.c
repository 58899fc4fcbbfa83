#include "common/hash.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;

static int8_t readiness(struct core_client client, uint64_t token, uint32_t index)
{
    const struct wire_ready *ready = bench_said(&bench, client, WIRE_READY);
    CHECK(ready != NULL);
    CHECK_EQ(ready->head.token, token);
    CHECK(index < ready->count);
    return ready->ready[index];
}

TEST(agent_objects, an_announced_object_is_published_and_goes_with_its_last_hold)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = bench_put(&bench, driver, 5000, NULL, 0);
    CHECK(bench_find(&bench, id) != NULL);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 8192);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK(bench_find(&bench, id) == NULL);
    bench_end(&bench, true);
}

TEST(agent_objects, bytes_stay_while_a_client_has_them_pinned)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = bench_put(&bench, driver, 5000, NULL, 0);
    bench_pin(&bench, id);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 8192);
    bench_unpin(&bench, id);
    bench_end(&bench, true);
}

TEST(agent_objects, what_an_object_contains_lives_as_long_as_it)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id inner = bench_put(&bench, driver, 100, NULL, 0);
    roost_ref ref = object_ref(inner);
    struct object_id outer = bench_put(&bench, driver, 100, &ref, 1);
    bench_names(&bench, driver, WIRE_FREE, 0, inner);
    CHECK(bench_find(&bench, inner) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, outer);
    CHECK(bench_find(&bench, inner) == NULL);
    bench_end(&bench, true);
}

TEST(agent_objects, a_long_chain_of_containers_is_freed_without_recursion)
{
    bench_start(&bench, ROOST_MIB(64), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id last = bench_put(&bench, driver, 8, NULL, 0);
    for (int i = 0; i < 1000; i++) {
        roost_ref ref = object_ref(last);
        struct object_id next = bench_put(&bench, driver, 8, &ref, 1);
        bench_names(&bench, driver, WIRE_FREE, 0, last);
        last = next;
    }
    bench_names(&bench, driver, WIRE_FREE, 0, last);
    bench_end(&bench, true);
}

TEST(agent_objects, a_name_that_nobody_made_known_is_freed_only_after_every_ring_was_read)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id nothing = { 1, 2 };
    uint64_t token = bench_wait(&bench, driver, 0, 0, 1, &nothing, 1);
    CHECK(bench_said(&bench, driver, WIRE_READY) == NULL);
    bench_drain(&bench);
    CHECK_EQ(readiness(driver, token, 0), ROOST_EFREED);
    bench_end(&bench, true);
}

TEST(agent_objects, a_name_that_overtook_its_announcement_is_found)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct object_id soon = { agent_client_prefix(bench.agent, driver), 1 };
    uint64_t token = bench_wait(&bench, driver, 0, 0, 1, &soon, 1);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    CHECK(object_id_eq(id, soon));
    CHECK_EQ(readiness(driver, token, 0), 1);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_end(&bench, true);
}

TEST(agent_clients, everything_that_a_dead_client_held_goes)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct wire_place place;
    bench_put(&bench, driver, 5000, NULL, 0);
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_SLAB, 65536, &place), 0);
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, 65536, &place), 0);
    bench_gone(&bench, driver, 9);
    bench_end(&bench, true);
}

TEST(agent_room, the_oldest_task_is_served_before_a_younger_one_that_asked_first)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1 };
    bench_submit(&bench, driver, 0, &draft);
    bench_submit(&bench, driver, 0, &draft);
    struct bench_task old = bench_take(&bench), young = bench_take(&bench);
    struct object_id all = bench_put(&bench, driver, ROOST_MIB(1) - 4096, NULL, 0);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, young.client, young.task.run, WIRE_ROOM_OBJECT, 100000, &place), 1);
    CHECK_EQ(bench_room(&bench, old.client, old.task.run, WIRE_ROOM_OBJECT, 1000000, &place), 1);
    bench_names(&bench, driver, WIRE_FREE, 0, all);
    CHECK_EQ(bench_said_count(&bench, old.client, WIRE_ROOM_GIVEN), 1);
    CHECK_EQ(bench_said_count(&bench, young.client, WIRE_ROOM_GIVEN), 0);
    bench_end(&bench, false);
}

TEST(agent_room, a_full_store_answers_efull_when_its_patience_ends_and_not_before)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_put(&bench, driver, ROOST_MIB(1) - 4096, NULL, 0);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, 100000, &place), 1);
    bench_time(&bench, (uint64_t)STORE_PATIENCE_MS * 1000000);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_ROOM_GIVEN), 1);
    bench_time(&bench, (uint64_t)STORE_PATIENCE_MS * 1000000 + 2);
    const struct wire_room_given *given = bench_said(&bench, driver, WIRE_ROOM_GIVEN);
    CHECK_EQ(given->status, ROOST_EFULL);
    bench_end(&bench, false);
}

TEST(agent_room, more_than_the_store_can_ever_hold_is_refused_at_once)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, ROOST_MIB(2), &place), ROOST_EFULL);
    bench_end(&bench, true);
}

TEST(agent_tasks, a_task_runs_and_its_result_is_there_for_who_waits)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct object_id result = result_id(id, 0);
    uint64_t token = bench_wait(&bench, driver, 0, 0, 1, &result, 1);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 300);
    CHECK(bench_find(&bench, result) == NULL); /* not before the attempt has completed */
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(readiness(driver, token, 0), 1);
    CHECK(bench_find(&bench, result) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result);
    bench_end(&bench, true);
}

TEST(agent_tasks, a_task_starts_when_its_last_input_is_made_and_keeps_it_alive)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id first = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    roost_in in = roost_in_ref(object_ref(result_id(first, 0)));
    struct task_id second = bench_submit(
        &bench, driver, 0, &(struct spec_draft){ .function = "g", .returns = 1, .args = &in, .args_count = 1 });
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(first, 0));
    struct bench_task task = bench_take(&bench);
    CHECK_EQ(bench.tasks_count, 0);
    bench_result(&bench, &task, 0, 300);
    bench_complete(&bench, &task, 0, "");
    CHECK(bench_find(&bench, result_id(first, 0)) != NULL);
    task = bench_take(&bench);
    CHECK(task_id_eq(task.id, second));
    bench_complete(&bench, &task, 0, "");
    CHECK(bench_find(&bench, result_id(first, 0)) == NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(second, 0));
    bench_end(&bench, true);
}

TEST(agent_tasks, a_gather_waits_for_everything_that_its_list_names)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    roost_ref made[2];
    struct task_id ids[2];
    for (int i = 0; i < 2; i++) {
        ids[i] = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "map", .returns = 1 });
        made[i] = object_ref(result_id(ids[i], 0));
    }
    struct object_id list = bench_put(&bench, driver, 64, made, 2);
    roost_in in = roost_in_gather(object_ref(list), 3);
    struct task_id reduce = bench_submit(
        &bench, driver, 0, &(struct spec_draft){ .function = "reduce", .returns = 1, .args = &in, .args_count = 1 });
    struct bench_task one = bench_take(&bench), two = bench_take(&bench);
    bench_result(&bench, &one, 0, 100);
    bench_complete(&bench, &one, 0, "");
    CHECK_EQ(bench.tasks_count, 0);
    bench_result(&bench, &two, 0, 100);
    bench_complete(&bench, &two, 0, "");
    struct bench_task task = bench_take(&bench);
    CHECK(task_id_eq(task.id, reduce));
    bench_complete(&bench, &task, 0, "");
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(ids[0], 0));
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(ids[1], 0));
    bench_names(&bench, driver, WIRE_FREE, 0, list);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(reduce, 0));
    bench_end(&bench, true);
}

TEST(agent_tasks, a_gather_s_list_may_be_what_tasks_returned_under_other_names)
{
    bench_start(&bench, ROOST_MIB(1), 4);
    struct core_client driver = bench_driver(&bench);
    struct task_id map = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "map", .returns = 1 });
    roost_ref made = object_ref(result_id(map, 0));
    struct object_id list = bench_put(&bench, driver, 32, &made, 1);
    struct task_id inner = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "list", .returns = 1 });
    struct task_id outer = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "list", .returns = 1 });
    roost_in in = roost_in_gather(object_ref(result_id(outer, 0)), 3);
    struct task_id reduce = bench_submit(
        &bench, driver, 0, &(struct spec_draft){ .function = "reduce", .returns = 1, .args = &in, .args_count = 1 });
    struct bench_task mapper = bench_take(&bench), first = bench_take(&bench), second = bench_take(&bench);
    bench_result_ref(&bench, &first, 0, object_ref(list));
    bench_complete(&bench, &first, 0, "");
    bench_result_ref(&bench, &second, 0, object_ref(result_id(inner, 0)));
    bench_complete(&bench, &second, 0, "");
    CHECK_EQ(bench.tasks_count, 0); /* what the list names is not there */
    bench_result(&bench, &mapper, 0, 100);
    bench_complete(&bench, &mapper, 0, "");
    struct bench_task task = bench_take(&bench);
    CHECK(task_id_eq(task.id, reduce));
    bench_complete(&bench, &task, 0, "");
    struct task_id all[] = { map, inner, outer, reduce };
    for (size_t i = 0; i < ROOST_COUNT_OF(all); i++) {
        bench_names(&bench, driver, WIRE_FREE, 0, result_id(all[i], 0));
    }
    bench_names(&bench, driver, WIRE_FREE, 0, list);
    bench_end(&bench, true);
}

TEST(agent_tasks, a_task_waits_for_what_lies_behind_all_the_names_of_its_argument)
{
    bench_start(&bench, ROOST_MIB(1), 4);
    struct core_client driver = bench_driver(&bench);
    struct task_id ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    }
    struct bench_task value = bench_take(&bench), inner = bench_take(&bench), outer = bench_take(&bench);
    bench_result_ref(&bench, &inner, 0, object_ref(result_id(ids[0], 0)));
    bench_complete(&bench, &inner, 0, "");
    bench_result_ref(&bench, &outer, 0, object_ref(result_id(ids[1], 0)));
    bench_complete(&bench, &outer, 0, "");
    roost_in in = roost_in_ref(object_ref(result_id(ids[2], 0)));
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "g", .args = &in, .args_count = 1 });
    CHECK_EQ(bench.tasks_count, 0);
    bench_result(&bench, &value, 0, 100);
    bench_complete(&bench, &value, 0, "");
    bench_take(&bench);
    bench_end(&bench, false);
}

TEST(agent_tasks, a_dead_worker_s_task_is_tried_again_until_max_retries_and_then_fails_with_the_signal)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0,
                                     &(struct spec_draft){ .function = "f", .returns = 1, .max_retries = 2 });
    for (uint32_t attempt = 0; attempt < 3; attempt++) {
        struct bench_task task = bench_take(&bench);
        CHECK_EQ(task.task.attempt, attempt);
        CHECK(bench_find(&bench, result_id(id, 0)) == NULL);
        bench_gone(&bench, task.client, 11);
    }
    const struct agent_entry *entry = bench_find(&bench, result_id(id, 0));
    CHECK(entry != NULL);
    CHECK_EQ(entry->object.format, TABLE_ERROR);
    CHECK_EQ(agent_counts(bench.agent).retries, 2);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_end(&bench, true);
}

TEST(agent_tasks, a_given_result_keeps_its_bytes_when_its_slab_goes_back_before_the_task_completes)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task task = bench_take(&bench);
    struct wire_place slab, other;
    CHECK_EQ(bench_room(&bench, task.client, task.task.run, WIRE_ROOM_SLAB, 64 << 10, &slab), 0);
    struct wire_result result = { .head = { WIRE_RESULT, sizeof result, 0 },
                                  .run = task.task.run,
                                  .object = { .id = result_id(id, 0), .place = slab, .size = 8 } };
    result.object.place.bytes = 64;
    bench_entry(&bench, task.client, &result.head);
    struct wire_room_back back = { .head = { WIRE_ROOM_BACK, sizeof back, 0 }, .place = slab };
    bench_entry(&bench, task.client, &back.head); /* full: it wants another one */
    CHECK_EQ(bench_room(&bench, task.client, task.task.run, WIRE_ROOM_SLAB, 64 << 10, &other), 0);
    CHECK(other.offset != slab.offset);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(bench_find(&bench, result_id(id, 0))->object.place.offset, slab.offset);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_gone(&bench, task.client, 0);
    bench_end(&bench, true);
}

TEST(agent_tasks, a_failure_is_retried_only_when_asked_for)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1, .max_retries = 3 };
    struct task_id once = bench_submit(&bench, driver, 0, &draft);
    struct bench_task task = bench_take(&bench);
    bench_complete(&bench, &task, ROOST_EFAILED, "no");
    CHECK_EQ(bench_find(&bench, result_id(once, 0))->object.format, TABLE_ERROR);

    draft.flags = SPEC_RETRY_ON_FAILURE;
    draft.max_retries = 1;
    struct task_id twice = bench_submit(&bench, driver, 0, &draft);
    task = bench_take(&bench);
    bench_complete(&bench, &task, ROOST_EFAILED, "no");
    CHECK(bench_find(&bench, result_id(twice, 0)) == NULL);
    task = bench_take(&bench);
    CHECK_EQ(task.task.attempt, 1);
    bench_complete(&bench, &task, ROOST_EFAILED, "no");
    CHECK_EQ(bench_find(&bench, result_id(twice, 0))->object.format, TABLE_ERROR);
    bench_end(&bench, false);
}

TEST(agent_tasks, a_call_that_is_made_again_for_a_lost_result_and_fails_leaves_the_other_result_alone)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "f", .returns = 2, .call = 1 };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 10);
    bench_result(&bench, &task, 1, 10);
    bench_complete(&bench, &task, 0, "");
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    CHECK(bench_find(&bench, result_id(id, 0)) == NULL);
    bench_submit(&bench, driver, 0, &draft);
    task = bench_take(&bench);
    bench_complete(&bench, &task, ROOST_EFAILED, "no");
    CHECK_EQ(bench_find(&bench, result_id(id, 0))->object.format, TABLE_ERROR);
    CHECK_EQ(bench_find(&bench, result_id(id, 1))->object.format, TABLE_RAW);
    bench_end(&bench, false);
}

TEST(agent_tasks, the_failure_of_an_input_leads_on_to_whoever_gets_the_result)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id bad = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    roost_in in = roost_in_ref(object_ref(result_id(bad, 0)));
    struct task_id next = bench_submit(
        &bench, driver, 0, &(struct spec_draft){ .function = "g", .returns = 1, .args = &in, .args_count = 1 });
    struct bench_task task = bench_take(&bench);
    bench_complete(&bench, &task, ROOST_EFAILED, "no");
    const struct agent_entry *entry = bench_find(&bench, result_id(next, 0));
    CHECK(entry != NULL);
    CHECK_EQ(entry->object.format, TABLE_FORWARD);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(bad, 0));
    CHECK(bench_find(&bench, result_id(bad, 0)) != NULL); /* the forward names it */
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(next, 0));
    bench_end(&bench, true);
}

TEST(agent_tasks, no_more_cpus_are_given_out_than_there_are_and_a_blocked_task_gives_its_own_back)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "parent", .returns = 1 };
    bench_submit(&bench, driver, 0, &draft);
    bench_submit(&bench, driver, 0, &draft);
    struct bench_task parent = bench_take(&bench);
    bench_workers_come(&bench);
    CHECK_EQ(bench.tasks_count, 0);

    draft.function = "child";
    draft.parent = parent.id;
    struct task_id child = bench_submit(&bench, parent.client, parent.task.run, &draft);
    struct object_id result = result_id(child, 0);
    uint64_t token = bench_wait(&bench, parent.client, parent.task.run, WIRE_WAIT_BLOCKS, 1, &result, 1);
    struct bench_task second = bench_take(&bench);
    CHECK_EQ(agent_counts(bench.agent).cpus_hundredths_free, 0);
    bench_complete(&bench, &second, 0, "");
    struct bench_task running = bench_take(&bench);
    CHECK(task_id_eq(running.id, child));
    bench_complete(&bench, &running, 0, "");
    CHECK_EQ(readiness(parent.client, token, 0), 1);
    CHECK_EQ(agent_counts(bench.agent).tasks_blocked, 0);
    bench_complete(&bench, &parent, 0, "");
    CHECK_EQ(agent_counts(bench.agent).cpus_hundredths_free, 100);
    bench_end(&bench, false);
}

TEST(agent_tasks, when_every_worker_is_blocked_and_none_may_be_started_the_newest_wait_fails)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "nest", .returns = 1 };
    bench_submit(&bench, driver, 0, &draft);
    struct bench_task deepest = { 0 };
    uint64_t token = 0;
    for (uint32_t depth = 0; depth < 4; depth++) { /* workers_max of one CPU here */
        deepest = bench_take(&bench);
        draft.parent = deepest.id;
        struct task_id child = bench_submit(&bench, deepest.client, deepest.task.run, &draft);
        struct object_id result = result_id(child, 0);
        token = bench_wait(&bench, deepest.client, deepest.task.run, WIRE_WAIT_BLOCKS, 1, &result, 1);
    }
    CHECK_EQ(readiness(deepest.client, token, 0), ROOST_ELIMIT);
    bench_end(&bench, false);
}

TEST(agent_tasks, what_no_node_can_ever_run_fails_at_once)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0,
                                     &(struct spec_draft){ .function = "f", .returns = 1, .cpus_hundredths = 300 });
    CHECK_EQ(bench_find(&bench, result_id(id, 0))->object.format, TABLE_ERROR);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_end(&bench, true);
}

TEST(agent_jobs, a_driver_s_death_cancels_what_waits_kills_what_runs_and_leaves_no_byte)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1 };
    bench_submit(&bench, driver, 0, &draft);
    bench_submit(&bench, driver, 0, &draft);
    bench_put(&bench, driver, 1000, NULL, 0);
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 1000);
    bench_gone(&bench, driver, 9);
    CHECK_EQ(bench.killed_count, 1);
    bench_gone(&bench, task.client, 9);
    struct agent_counts counts = agent_counts(bench.agent);
    CHECK_EQ(counts.workers, 0);
    CHECK_EQ(counts.tasks_running + counts.tasks_ready + counts.tasks_waiting, 0);
    bench_end(&bench, true);
}

TEST(agent_jobs, a_program_that_ends_before_it_connects_fails_its_tasks_with_its_last_words)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct task_id id = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    CHECK_EQ(bench.spawns_count, 1);
    static const char words[] = "no such file";
    struct core_event event = { .now_ns = bench.now_ns,
                                .kind = CORE_DONE,
                                .u.done = { .token = bench.spawns[0], .status = 3 << 8, .data = words, .bytes = 12 } };
    core_out_clear(&bench.out);
    agent_core.step(bench.agent, &event, &bench.out);
    bool told = false;
    for (const struct core_command *c = core_next(&bench.out, NULL); c != NULL; c = core_next(&bench.out, c)) {
        if (c->kind == CORE_WRITE) {
            const struct agent_write *write = core_body(c);
            const struct wire_failure *failure = write->data;
            told = failure->status == ROOST_EWORKER && strstr(failure->text, "status 3") != NULL &&
                   strstr(failure->text, words) != NULL;
        }
    }
    CHECK(told);
    (void)id;
    bench_end(&bench, false);
}

static void starting_worker_ends(int32_t wait_status)
{
    struct core_event event = { .now_ns = bench.now_ns,
                                .kind = CORE_DONE,
                                .u.done = { .token = bench.spawns[--bench.spawns_count], .status = wait_status } };
    core_out_clear(&bench.out);
    agent_core.step(bench.agent, &event, &bench.out);
    for (const struct core_command *c = core_next(&bench.out, NULL); c != NULL; c = core_next(&bench.out, c)) {
        if (c->kind == CORE_SPAWN) {
            bench.spawns[bench.spawns_count++] = c->token;
        }
    }
}

TEST(agent_jobs, a_step_that_changes_no_deadline_arms_no_timer)
{
    uint64_t *timer = &bench.timers[0]; /* of the deadlines */
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    CHECK_EQ(*timer, UINT64_MAX);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    CHECK_EQ(*timer, bench.now_ns + (uint64_t)WORKER_START_MS * 1000000); /* of the worker that was started */
    uint64_t due = *timer;
    *timer = UINT64_MAX;
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK_EQ(*timer, UINT64_MAX);
    *timer = due;
    bench_time(&bench, due);
    CHECK_EQ(bench.killed_count, 1);
    CHECK_EQ(*timer, due + (uint64_t)WORKER_START_MS * 1000000); /* of the next one */
    bench_end(&bench, false);
}

TEST(agent_jobs, a_worker_that_somebody_kills_before_it_connects_is_started_again_but_not_for_ever)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    for (int kills = 1; kills <= 16; kills++) {
        CHECK_EQ(bench.spawns_count, 1);
        CHECK_EQ(agent_counts(bench.agent).tasks_failed, 0);
        starting_worker_ends(9);
    }
    CHECK_EQ(agent_counts(bench.agent).tasks_failed, 1);
    bench_end(&bench, false);
}

/* ------------------------------------------------------------------ a full table */

TEST(agent_table, when_few_entries_are_left_room_waits_until_there_are_more_or_is_refused)
{
    enum { ENTRIES = 128, PUT = 124 }; /* one in 64 is kept back, twice */
    struct object_id ids[PUT];
    struct wire_place place;
    bench_start_with_entries(&bench, ROOST_MIB(4), 1, ENTRIES);
    struct core_client driver = bench_driver(&bench);
    for (int i = 0; i < PUT; i++) {
        ids[i] = bench_put(&bench, driver, 100, NULL, 0);
    }
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, 100, &place), 1);
    bench_names(&bench, driver, WIRE_FREE, 0, ids[0]);
    const struct wire_room_given *given = bench_said(&bench, driver, WIRE_ROOM_GIVEN);
    CHECK_EQ(given->head.token, bench.next_token);
    CHECK_EQ(given->status, 0);
    ids[0] = (struct object_id){ agent_client_prefix(bench.agent, driver), ++bench.next_put };
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                      .object = { .id = ids[0], .place = given->place, .size = 100 } };
    bench_entry(&bench, driver, &announce.head);

    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, 100, &place), 1);
    bench_time(&bench, bench.now_ns + (uint64_t)STORE_PATIENCE_MS * 1000000);
    given = bench_said(&bench, driver, WIRE_ROOM_GIVEN);
    CHECK_EQ(given->head.token, bench.next_token);
    CHECK_EQ(given->status, ROOST_EFULL);
    bench_gone(&bench, driver, 0);
    bench_end(&bench, true);
}

TEST(agent_table, an_object_that_finds_no_entry_fails_and_says_the_limit_while_there_are_entries_for_that)
{
    enum { ENTRIES = 128, MADE = 126, TOLD = 2, REFUSED = 3 };
    struct wire_place slab;
    bench_start_with_entries(&bench, ROOST_MIB(4), 1, ENTRIES);
    struct core_client driver = bench_driver(&bench);
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_SLAB, ROOST_KIB(64), &slab), 0);
    struct object_id ids[MADE + TOLD + REFUSED];
    for (uint32_t i = 0; i < ROOST_COUNT_OF(ids); i++) {
        ids[i] = (struct object_id){ agent_client_prefix(bench.agent, driver), 1 + i };
        struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                          .object = { .id = ids[i], .place = slab, .size = 10 } };
        announce.object.place.offset += i * (uint64_t)64;
        bench_entry(&bench, driver, &announce.head);
        const struct agent_entry *entry = bench_find(&bench, ids[i]);
        CHECK_EQ(entry != NULL, i < MADE + TOLD);
        CHECK(entry == NULL || (entry->object.format == TABLE_ERROR) == (i >= MADE));
    }
    uint64_t token = bench_wait(&bench, driver, 0, 0, REFUSED, ids + MADE + TOLD, REFUSED);
    for (uint32_t i = 0; i < REFUSED; i++) {
        CHECK_EQ(readiness(driver, token, i), ROOST_EFULL);
    }
    bench_gone(&bench, driver, 0);
    bench_end(&bench, true);
}

/* ------------------------------------------------------------------ more than a step has room for */

/* The driver names so many objects that nobody has made. */
static void hold_unknown(struct core_client driver, uint32_t count)
{
    struct {
        struct wire_names names;
        struct object_id ids[WIRE_REFS_PER_ENTRY];
    } entry = { .names.head = { WIRE_HOLD, 0, 0 } };
    for (uint32_t done = 0; done < count; done += entry.names.count) {
        entry.names.count = count - done < WIRE_REFS_PER_ENTRY ? count - done : WIRE_REFS_PER_ENTRY;
        entry.names.head.bytes = (uint32_t)(sizeof entry.names + entry.names.count * sizeof entry.ids[0]);
        for (uint32_t i = 0; i < entry.names.count; i++) {
            entry.ids[i] = (struct object_id){ 77, 1 + done + i };
        }
        bench_entry(&bench, driver, &entry.names.head);
    }
    bench_drain(&bench);
}

/* Steps that the core asks for by itself; then nobody reads any more what was given up. */
static void settle(uint64_t retired)
{
    for (int i = 0; i < 1000 && bench.retired_count < retired; i++) {
        bench_tick(&bench);
    }
    CHECK_EQ(bench.retired_count, retired);
    bench_reclaim_all(&bench);
    CHECK(bench_is_valid(&bench));
}

TEST(agent_core, what_a_driver_held_goes_in_several_steps_when_it_is_very_much)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench.is_crowded = true;
    struct core_client driver = bench_driver(&bench);
    hold_unknown(driver, 100000);
    CHECK_EQ(agent_counts(bench.agent).objects, 100000);
    bench.step_bytes_max = 0;
    bench_gone(&bench, driver, 9);
    CHECK(bench.retired_count < 100000);
    CHECK(bench_is_valid(&bench));
    settle(100000);
    CHECK(bench.step_bytes_max <= agent_core.out_bytes_max);
    bench_end(&bench, true);
}

TEST(agent_core, a_driver_that_has_very_many_calls_queued_ends)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench.is_crowded = true;
    struct core_client driver = bench_driver(&bench);
    for (int i = 0; i < 45000; i++) {
        bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    }
    bench_gone(&bench, driver, 9);
    settle(45000);
    CHECK_EQ(agent_counts(bench.agent).tasks_waiting + agent_counts(bench.agent).tasks_ready, 0);
    bench_end(&bench, true);
}

TEST(agent_core, an_object_of_very_many_refs_comes_and_goes)
{
    enum { REFS = 100000 };
    bench_start(&bench, ROOST_MIB(8), 1);
    struct core_client driver = bench_driver(&bench);
    roost_ref *refs = calloc(REFS, sizeof *refs);
    for (uint64_t i = 0; i < REFS; i++) {
        refs[i] = object_ref((struct object_id){ 77, 1 + i });
    }
    struct wire_place place = { 0 };
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, wire_object_bytes(0, 0, REFS), &place), 0);
    bench.is_crowded = true;
    struct object_id id = { agent_client_prefix(bench.agent, driver), 1 };
    size_t size = sizeof(struct wire_refs) + REFS * sizeof *refs;
    struct wire_refs *told = calloc(1, size);
    *told = (struct wire_refs){ .head = { WIRE_REFS, (uint32_t)size, 0 }, .container = id, .count = REFS };
    memcpy(told->refs, refs, REFS * sizeof *refs);
    bench_entry(&bench, driver, &told->head);
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                      .object = { .id = id, .place = place, .refs = REFS } };
    bench_entry(&bench, driver, &announce.head);
    bench_drain(&bench);
    CHECK_EQ(agent_counts(bench.agent).objects, REFS + 1);
    bench.step_bytes_max = 0;
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    settle(REFS + 1);
    CHECK(bench.step_bytes_max <= agent_core.out_bytes_max);
    bench_end(&bench, true);
    free(told);
    free(refs);
}

TEST(agent_core, a_new_head_is_told_of_very_many_objects)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    bench.is_crowded = true;
    struct core_client driver = bench_driver(&bench);
    hold_unknown(driver, 200000);
    bench_session(&bench, (struct core_peer){ 0, 0 }, false);
    bench_head_comes(&bench);
    CHECK_EQ(bench.listed_objects, 200000);
    CHECK(bench_is_valid(&bench));
    bench_end(&bench, false);
}

TEST(agent_core, the_same_events_give_the_same_hash)
{
    uint64_t hashes[2];
    for (int round = 0; round < 2; round++) {
        bench_start(&bench, ROOST_MIB(4), 2);
        struct core_client driver = bench_driver(&bench);
        for (int i = 0; i < 20; i++) {
            bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 2 });
            struct bench_task task = bench_take(&bench);
            bench_result(&bench, &task, 1, (uint64_t)i * 10);
            bench_complete(&bench, &task, 0, "");
        }
        hashes[round] = agent_core.hash(bench.agent);
        bench_end(&bench, false);
    }
    CHECK(hashes[0] == hashes[1]);
}
