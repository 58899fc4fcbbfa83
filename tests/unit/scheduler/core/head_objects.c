/* Objects in the head: who holds them, what they contain, when they are freed, and who is told. */
#include "scheduler/core/head_internal.h"
#include "tests/lib/head_bench.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/object_bench.h"

#include <string.h>

TEST(head_objects, a_published_object_goes_with_its_last_hold)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 1, PROTO_HOLD, id);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK_EQ(objects(), 1);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_names(&bench, 1, PROTO_DROP, id);
    CHECK_EQ(objects(), 0);
    CHECK(bench_was_freed(&bench, 0, id));
    CHECK(!bench_was_freed(&bench, 1, id)); /* it has no bytes there */
    bench_end(&bench);
}

TEST(head_objects, free_goes_to_every_place_that_has_the_bytes)
{
    start(5);
    struct object_id id = bench_put(&bench, 0, 100);
    for (uint32_t i = 1; i < 5; i++) {
        bench_location(&bench, i, id, 100, true);
    }
    bench_location(&bench, 2, id, 100, false);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 0, id) && bench_was_freed(&bench, 1, id));
    CHECK(!bench_was_freed(&bench, 2, id));
    CHECK(bench_was_freed(&bench, 3, id) && bench_was_freed(&bench, 4, id));
    bench_end(&bench);
}

TEST(head_objects, many_holders_of_one_object_are_each_remembered)
{
    start(8);
    struct object_id id = bench_put(&bench, 0, 100);
    for (uint32_t i = 7; i > 0; i--) {
        bench_names(&bench, i, PROTO_HOLD, id);
    }
    for (uint32_t i = 0; i < 7; i++) {
        bench_names(&bench, (i * 3) % 8, PROTO_DROP, id);
        CHECK_EQ(objects(), 1);
    }
    bench_names(&bench, 7 * 3 % 8, PROTO_DROP, id);
    CHECK_EQ(objects(), 0);
    bench_end(&bench);
}

TEST(head_objects, a_drop_that_has_not_seen_the_last_mention_frees_nothing)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, ROOST_MIB(64));
    bench.agents[1].is_deaf = true;
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id) }, .args_count = 1, .returns = 1 };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1); /* to the bytes */
    bench_names(&bench, 1, PROTO_DROP, id);  /* crosses the TASK */
    CHECK_EQ(head_counts(bench.head).void_drops, 1);
    CHECK(!bench_was_freed(&bench, 1, id));
    bench_hear(&bench, 1);
    bench_names(&bench, 1, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 1, id));
    bench_end(&bench);
}

TEST(head_objects, without_the_rule_of_mentions_that_drop_frees_too_early)
{
    start_with_rules_off(HEAD_RULE_MENTION, 2);
    struct object_id id = bench_put(&bench, 1, ROOST_MIB(64));
    bench.agents[1].is_deaf = true;
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id) }, .args_count = 1, .returns = 1 };
    bench_submit(&bench, 0, &call);
    bench_names(&bench, 1, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 1, id));
    bench_end(&bench);
}

TEST(head_objects, a_submit_holds_its_arguments_until_the_task_is_placed)
{
    start(1);
    struct object_id pending = bench_pending(&bench, 0), id = bench_put(&bench, 0, 100);
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id), bench_ref(pending),
                                                     bench_ref(bench_pending(&bench, 0)) },
                               .args_count = 3,
                               .returns = 1 };
    bench_submit(&bench, 0, &call);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, without_the_rule_of_order_the_arguments_of_a_submit_go)
{
    start_with_rules_off(HEAD_RULE_ORDER, 1);
    struct object_id id = bench_put(&bench, 0, 100);
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id) }, .args_count = 1, .returns = 1 };
    bench.turns_are_held = true;
    bench_submit(&bench, 0, &call);
    bench_names(&bench, 0, PROTO_DROP, id);
    bench.turns_are_held = false;
    bench_turn(&bench);
    CHECK(bench_was_freed(&bench, 0, id));
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_EFREED);
    bench_end(&bench);
}

TEST(head_objects, a_death_delays_frees_until_every_living_agent_has_echoed_it)
{
    start(3);
    struct object_id id = bench_put(&bench, 0, 100);
    bench.agents[1].is_deaf = true;
    bench_die(&bench, 2);
    CHECK_EQ(head_counts(bench.head).deaths, 1);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_DEAD), 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_DEAD)->node, bench.agents[2].number);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 1);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_hear(&bench, 1);
    bench_sign(&bench, 1);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 0);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, without_the_sweep_a_free_does_not_wait_for_echoes)
{
    start_with_rules_off(HEAD_RULE_SWEEP, 3);
    struct object_id id = bench_put(&bench, 0, 100);
    bench.agents[1].is_deaf = true;
    bench_die(&bench, 2);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, a_node_that_dies_before_its_echo_is_not_waited_for)
{
    start(3);
    struct object_id id = bench_put(&bench, 0, 100);
    bench.agents[1].is_deaf = true;
    bench_die(&bench, 2);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_die(&bench, 1);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, what_a_dead_node_held_goes_and_what_others_hold_stays)
{
    start(2);
    struct object_id kept = bench_put(&bench, 0, 100), lost = bench_put(&bench, 0, 100);
    bench_names(&bench, 1, PROTO_HOLD, lost);
    bench_names(&bench, 0, PROTO_DROP, lost);
    bench_die(&bench, 1);
    CHECK(bench_was_freed(&bench, 0, lost));
    CHECK(!bench_was_freed(&bench, 0, kept));
    bench_end(&bench);
}

TEST(head_objects, what_a_living_object_contains_lives_as_long_as_it)
{
    start(2);
    struct object_id inner = bench_put(&bench, 0, 100);
    struct object_id outer = bench_box(&bench, 1, &inner, 1);
    bench_names(&bench, 0, PROTO_DROP, inner);
    CHECK(!bench_was_freed(&bench, 0, inner));
    bench_names(&bench, 1, PROTO_DROP, outer);
    CHECK(bench_was_freed(&bench, 0, inner));
    CHECK(bench_was_freed(&bench, 1, outer));
    bench_end(&bench);
}

TEST(head_objects, without_that_rule_contained_objects_go_before_their_container)
{
    start_with_rules_off(HEAD_RULE_FREE, 2);
    struct object_id inner = bench_put(&bench, 0, 100);
    bench_box(&bench, 1, &inner, 1);
    CHECK_EQ(objects(), 2);
    bench_names(&bench, 0, PROTO_DROP, inner);
    CHECK(bench_was_freed(&bench, 0, inner));
    bench_end(&bench);
}

TEST(head_objects, a_long_chain_of_containers_is_freed_in_a_loop)
{
    start(1);
    struct object_id last = bench_put(&bench, 0, 8);
    for (int i = 0; i < 500; i++) {
        struct object_id next = bench_box(&bench, 0, &last, 1);
        bench_names(&bench, 0, PROTO_DROP, last);
        last = next;
    }
    CHECK_EQ(objects(), 501);
    bench_forget(&bench);
    bench_names(&bench, 0, PROTO_DROP, last);
    CHECK_EQ(objects(), 0);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_FREE), 1); /* one message for all */
    bench_end(&bench);
}

enum { HEAP = 140000 }; /* objects: with a copy on each node of the bench their names fill more than half an arena */

/* Agent `i` has all of them; nobody names them but the agent that holds them. */
static void list_heap(uint32_t i, bool is_held)
{
    static struct proto_list_object items[PROTO_ITEMS_MAX];
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } });
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_PLACED, .u.list_placed = { 1 } });
    for (uint64_t done = 0; done < HEAP;) {
        size_t count = 0;
        while (count < PROTO_ITEMS_MAX && done < HEAP) {
            items[count++] = (struct proto_list_object){ .object = { 7000, ++done },
                                                         .held = is_held,
                                                         .stored = true,
                                                         .state = PROTO_SEALED,
                                                         .content = { .size = 8 } };
        }
        bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_OBJECTS, .u.list_objects = { items, count } });
    }
    bench_say(&bench, i, &(struct proto_message){ .kind = PROTO_LIST_END, .u.list_end = { 1 } });
}

TEST(head_objects, more_than_a_step_has_room_to_free_goes_in_several)
{
    start(BENCH_AGENTS);
    bench.is_large = true;
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        list_heap(i, i == 0);
    }
    CHECK_EQ(objects(), HEAP);
    bench.turns_are_held = true;
    list_heap(0, false);
    CHECK_EQ(objects(), HEAP); /* they go in a turn */
    uint32_t turns = bench.turns;
    bench_turn(&bench);
    CHECK_EQ(objects(), 0);
    CHECK(bench.turns - turns > 1);
    CHECK(bench.room_least > ROOST_MIB(31)); /* what the largest reaction of the next message may take */
    bench_end(&bench);
}

/* Two objects of node 0 that contain each other, and a third that the first of them contains; held there. */
static void make_cycle(struct object_id *first, struct object_id *second, struct object_id *third)
{
    *first = bench_pending(&bench, 0);
    *third = bench_put(&bench, 0, 10);
    *second = bench_box(&bench, 0, first, 1);
    struct object_id inner[] = { *second, *third };
    struct proto_message message = { .kind = PROTO_PUBLISH,
                                     .u.publish = { .object = *first,
                                                    .state = PROTO_SEALED,
                                                    .content = { .size = 64 },
                                                    .located = true,
                                                    .contained = { inner, 2 } } };
    bench_say(&bench, 0, &message);
}

TEST(head_objects, objects_that_only_each_other_name_go_after_the_end_of_a_job)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 1);
    bench_job(&bench, 0);
    struct object_id first, second, third;
    make_cycle(&first, &second, &third);
    struct object_id apart = bench_put(&bench, 0, 10), box = bench_box(&bench, 0, &apart, 1);
    struct object_id *names[] = { &first, &second, &third, &apart };
    for (size_t i = 0; i < ROOST_COUNT_OF(names); i++) {
        bench_names(&bench, 0, PROTO_DROP, *names[i]);
    }
    bench_pass(&bench, 2 * HEAD_CYCLES_MS, true);
    CHECK_EQ(head_counts(bench.head).objects, 5); /* while the job lasts somebody may come to name them */
    bench_say(&bench, 0, &(struct proto_message){ .kind = PROTO_JOB_END, .u.job_end.job = bench.job });
    bench_pass(&bench, 2 * HEAD_CYCLES_MS, true);
    CHECK_EQ(head_counts(bench.head).objects, 2);
    CHECK(bench_was_freed(&bench, 0, first) && bench_was_freed(&bench, 0, second) && bench_was_freed(&bench, 0, third));
    CHECK(!bench_was_freed(&bench, 0, box) && !bench_was_freed(&bench, 0, apart));
    bench_end(&bench);
}

TEST(head_objects, a_cycle_that_another_node_names_stays)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 1);
    bench_agent(&bench, 1, 1);
    bench_job(&bench, 0);
    struct object_id first, second, third;
    make_cycle(&first, &second, &third);
    bench_names(&bench, 1, PROTO_HOLD, second);
    bench_names(&bench, 0, PROTO_DROP, first);
    bench_names(&bench, 0, PROTO_DROP, second);
    bench_names(&bench, 0, PROTO_DROP, third);
    bench_say(&bench, 0, &(struct proto_message){ .kind = PROTO_JOB_END, .u.job_end.job = bench.job });
    bench_pass(&bench, 2 * HEAD_CYCLES_MS, true);
    CHECK_EQ(head_counts(bench.head).objects, 3);
    bench_end(&bench);
}

TEST(head_objects, edges_said_before_count_with_the_object_that_comes_next)
{
    start(1);
    struct object_id a = bench_put(&bench, 0, 8), b = bench_put(&bench, 0, 8), outer = { 77, 1 };
    struct proto_message edges = { .kind = PROTO_EDGES, .u.edges = { outer, { &a, 1 } } };
    bench_say(&bench, 0, &edges);
    struct proto_message publish = { .kind = PROTO_PUBLISH };
    publish.u.publish = (struct proto_publish){
        .object = outer, .state = PROTO_SEALED, .located = true, .content = { .size = 64 }, .contained = { &b, 1 }
    };
    bench_say(&bench, 0, &publish);
    bench_names(&bench, 0, PROTO_DROP, a);
    bench_names(&bench, 0, PROTO_DROP, b);
    CHECK_EQ(objects(), 3);
    bench_names(&bench, 0, PROTO_DROP, outer);
    CHECK_EQ(objects(), 0);
    bench_end(&bench);
}

TEST(head_objects, edges_whose_object_never_comes_end_the_session_at_a_limit)
{
    static struct object_id ids[PROTO_OBJECTS_MAX];
    start(2);
    uint64_t said = 0;
    for (; bench.closed_count == 0 && said <= HEAD_EDGES_MAX / PROTO_OBJECTS_MAX; said++) {
        struct proto_message edges = { .kind = PROTO_EDGES,
                                       .u.edges = { .object = { 8000, said / 8 + 1 },
                                                    .contained = { ids, PROTO_OBJECTS_MAX } } };
        bench_say(&bench, 1, &edges);
    }
    CHECK_EQ(bench.closed_count, 1);
    CHECK_EQ(said, HEAD_EDGES_MAX / PROTO_OBJECTS_MAX);
    bench_end(&bench);
}

TEST(head_objects, a_hold_that_came_too_late_is_answered_with_gone)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 0, PROTO_DROP, id);
    bench_names(&bench, 1, PROTO_HOLD, id);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_GONE), 1);
    CHECK(object_id_eq(bench_last(&bench, 1, PROTO_GONE)->object, id));
    bench_end(&bench);
}

TEST(head_objects, a_want_is_answered_now_and_at_each_change_until_unwant)
{
    start(3);
    struct object_id id = bench_pending(&bench, 0);
    bench_names(&bench, 1, PROTO_WANT, id);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_PENDING);
    bench_seal(&bench, 0, id, 100);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->holder, bench.agents[0].number);
    bench_names(&bench, 1, PROTO_UNWANT, id);
    bench_forget(&bench);
    bench_die(&bench, 0);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_FOUND), 0);
    bench_end(&bench);
}

TEST(head_objects, a_hold_on_what_is_pending_is_told_when_that_is_sealed)
{
    start(2);
    struct object_id id = bench_pending(&bench, 0);
    bench_names(&bench, 1, PROTO_HOLD, id);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_FOUND), 0);
    bench_seal(&bench, 0, id, 100);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_FOUND), 1);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_FOUND), 0); /* it made it */
    bench_end(&bench);
}

TEST(head_objects, an_object_whose_last_copy_died_is_lost_with_the_nodes_name)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_names(&bench, 0, PROTO_HOLD, id);
    bench_die(&bench, 1);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(found != NULL);
    CHECK_EQ(found->state, PROTO_LOST);
    CHECK_EQ(found->status, ROOST_ELOST);
    CHECK(strstr(found->text, "host1") != NULL);
    bench_end(&bench);
}

TEST(head_objects, an_object_with_another_copy_survives_its_maker)
{
    start(3);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_names(&bench, 0, PROTO_HOLD, id);
    bench_location(&bench, 2, id, 100, true);
    bench_forget(&bench);
    bench_die(&bench, 1);
    bench_names(&bench, 0, PROTO_WANT, id);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->holder, bench.agents[2].number);
    bench_end(&bench);
}

TEST(head_objects, a_copy_that_differs_fails_the_object)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 0, PROTO_WANT, id);
    bench_location(&bench, 1, id, 101, true);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_FAILED);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ECHANGED);
    bench_end(&bench);
}

TEST(head_objects, a_copy_that_arrives_after_the_end_is_freed_where_it_lies)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 0, PROTO_DROP, id);
    bench_location(&bench, 1, id, 100, true);
    CHECK(bench_was_freed(&bench, 1, id));
    bench_end(&bench);
}

TEST(head_objects, a_copy_that_came_too_early_and_counts_by_the_word_after_it_is_not_freed)
{
    start(2);
    struct bench_call call = { .returns = 1, .node = bench.agents[1].id, .flags = SPEC_NODE_ONLY };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1);
    bench.turns_are_held = true;
    bench_location(&bench, 1, result_id(task, 0), 100, true); /* made there before, for another attempt of the caller */
    CHECK_EQ(head_counts(bench.head).refused_copies, 1);
    bench_complete(&bench, 1, task, 1, 1, 100);
    bench.turns_are_held = false;
    bench_turn(&bench);
    CHECK(!bench_was_freed(&bench, 1, result_id(task, 0)));
    bench_names(&bench, 0, PROTO_DROP, result_id(task, 0));
    CHECK(bench_was_freed(&bench, 1, result_id(task, 0)));
    bench_end(&bench);
}

TEST(head_objects, a_small_value_lives_at_the_head_and_travels_with_found)
{
    start(2);
    struct proto_message publish = { .kind = PROTO_PUBLISH };
    struct object_id id = { 88, 1 };
    publish.u.publish = (struct proto_publish){
        .object = id, .state = PROTO_SEALED, .has_value = true, .content = { .size = 5 }, .value = { "12345", 5 }
    };
    bench_say(&bench, 0, &publish);
    bench_names(&bench, 1, PROTO_HOLD, id);
    bench_die(&bench, 0);
    bench_names(&bench, 1, PROTO_WANT, id);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK(bench_last(&bench, 1, PROTO_FOUND)->has_value);
    bench_end(&bench);
}

/* Messages come in faster than turns. */
static void publish_many(uint32_t count)
{
    struct core_event event = { .now_ns = 1, .kind = CORE_MESSAGE };
    struct proto_message publish = { .kind = PROTO_PUBLISH };
    event.u.message.peer = (struct core_peer){ 1, 1 };
    event.u.message.body = &publish;
    for (uint32_t i = 1; i <= count; i++) {
        publish.u.publish = (struct proto_publish){
            .object = { 3, i }, .state = PROTO_SEALED, .located = true, .content = { .size = i }
        };
        core_out_clear(&bench.out);
        head_core.step(bench.head, &event, &bench.out);
    }
}

TEST(head_objects, a_record_of_the_directory_costs_less_than_a_hundred_bytes)
{
    bench_start(&bench, NULL);
    bench_agent(&bench, 0, 4);
    publish_many(200000);
    struct head_counts counts = head_counts(bench.head);
    CHECK_EQ(counts.objects, 200000);
    CHECK(counts.object_bytes / counts.objects < 100);
    CHECK(head_core.is_valid(bench.head));
    bench_end(&bench);
}

TEST(head_objects, the_line_on_which_each_object_begins_gives_back_the_memory_of_a_burst)
{
    bench_start(&bench, NULL);
    bench.is_large = true;
    bench_agent(&bench, 0, 4);
    bench_list(&bench, 0, NULL, 0);
    publish_many(200000);
    CHECK(bench.head->unnamed.capacity >= 200000);
    bench.timers[HEAD_TIMER_TURN] = bench.now_ns; /* as the burst has armed it */
    bench_turn(&bench);
    CHECK_EQ(objects(), 200000); /* their publisher holds them */
    CHECK(bench.head->unnamed.capacity < 100000);
    CHECK(head_core.is_valid(bench.head));
    bench_end(&bench);
}
