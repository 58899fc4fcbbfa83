/* Objects that members list: after a session that was lost, and after a restart of the head. */
#include "scheduler/core/head_internal.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/object_bench.h"

#include <string.h>

TEST(head_objects, a_census_holds_frees_back_until_every_member_has_listed)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 1, PROTO_HOLD, id);
    bench_restart(&bench);
    CHECK_EQ(head_counts(bench.head).lists_missing, 2);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, &(struct bench_listed){ id, false, true }, 1);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ id, true, false }, 1);
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK(!bench_was_freed(&bench, 0, id)); /* the second one holds it */
    bench_names(&bench, 1, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

/* The first of two has listed, the other not yet, when a pull ends there that began before the head did. */
static struct object_id pull_ends_in_census(void)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, NULL, 0);
    CHECK_EQ(head_counts(bench.head).lists_missing, 1);
    bench_forget(&bench);
    bench_location(&bench, 0, id, 100, true);
    bench_location(&bench, 0, (struct object_id){ 3, 4 }, 100, true);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_LIST), 1); /* all that is there, so one is enough */
    CHECK_EQ(head_counts(bench.head).lists_missing, 2);
    return id;
}

TEST(head_objects, a_copy_that_comes_in_a_census_before_its_name_is_listed_by_its_node_once_more)
{
    struct object_id id = pull_ends_in_census();
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ id, true, false }, 1); /* it has the name alone by now */
    CHECK_EQ(head_counts(bench.head).lists_missing, 1);
    CHECK(bench_last(&bench, 1, PROTO_FOUND) == NULL); /* nothing is declared lost */
    bench_list(&bench, 0, &(struct bench_listed){ id, false, true }, 1);
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->holder, bench.agents[0].number);
    bench_names(&bench, 1, PROTO_DROP, id);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, a_copy_that_comes_in_a_census_and_that_nobody_names_is_freed_when_it_has_ended)
{
    struct object_id id = pull_ends_in_census();
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, NULL, 0);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_list(&bench, 0, &(struct bench_listed){ id, false, true }, 1);
    CHECK(bench_was_freed(&bench, 0, id));
    CHECK_EQ(head_counts(bench.head).objects, 0);
    bench_end(&bench);
}

TEST(head_objects, a_node_that_dies_before_it_has_listed_once_more_ends_the_census)
{
    struct object_id id = pull_ends_in_census();
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ id, true, false }, 1);
    bench_die(&bench, 0);
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_LOST);
    bench_end(&bench);
}

TEST(head_objects, a_copy_that_comes_in_a_census_before_its_node_has_listed_is_in_that_list)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_location(&bench, 0, id, 100, true);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_LIST), 0);
    CHECK_EQ(head_counts(bench.head).lists_missing, 2);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, without_the_census_a_restarted_head_frees_what_others_hold)
{
    start_with_rules_off(HEAD_RULE_CENSUS, 2);
    struct object_id id = bench_put(&bench, 0, 100);
    bench_names(&bench, 1, PROTO_HOLD, id);
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, &(struct bench_listed){ id, false, true }, 1);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, a_member_of_the_ledger_that_never_comes_back_dies_and_ends_the_census)
{
    start(3);
    struct object_id held = bench_put(&bench, 0, 100), there = bench_put(&bench, 2, 100);
    bench_names(&bench, 0, PROTO_HOLD, there);
    bench_restart(&bench);
    for (uint32_t i = 0; i < 2; i++) {
        bench_agent_again(&bench, i);
        bench_list(&bench, i, (struct bench_listed[]){ { held, i == 0, i == 0 }, { there, i == 0, false } }, 2);
    }
    CHECK_EQ(head_counts(bench.head).lists_missing, 1);
    CHECK(bench_last(&bench, 0, PROTO_FOUND) == NULL); /* nothing is declared lost */
    bench_pass(&bench, NODE_DEAD_MS + 1000, true);
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(found != NULL);
    CHECK(object_id_eq(found->object, there));
    CHECK_EQ(found->state, PROTO_LOST);
    bench_end(&bench);
}

TEST(head_objects, what_a_node_was_to_make_that_dies_in_a_census_is_lost_when_that_has_ended)
{
    start(2);
    bench_restart(&bench);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, NULL, 0);
    bench_agent(&bench, 2, 4);
    bench_list(&bench, 2, NULL, 0);
    struct object_id pending = bench_pending(&bench, 2), again = bench_pending(&bench, 2);
    bench_names(&bench, 0, PROTO_HOLD, pending);
    bench_agent(&bench, 2, 4); /* another process: its first life is over */
    bench_list(&bench, 2, NULL, 0);
    struct proto_message makes = { .kind = PROTO_PUBLISH, .u.publish = { .object = again, .state = PROTO_PENDING } };
    bench_say(&bench, 0, &makes);
    bench_forget(&bench);
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, NULL, 0);
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_FOUND), 1);
    CHECK(object_id_eq(bench_last(&bench, 0, PROTO_FOUND)->object, pending));
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->status, ROOST_ENODE);
    bench_end(&bench);
}

TEST(head_objects, what_was_lost_with_a_member_of_the_ledger_is_found_when_that_comes_after_all)
{
    start(3);
    struct object_id there = bench_put(&bench, 2, 100);
    bench_names(&bench, 0, PROTO_HOLD, there);
    bench_restart(&bench);
    for (uint32_t i = 0; i < 2; i++) {
        bench_agent_again(&bench, i);
        bench_list(&bench, i, &(struct bench_listed){ there, i == 0, false }, 1);
    }
    bench_pass(&bench, NODE_DEAD_MS + 1000, true);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    bench_agent_again(&bench, 2);
    bench_list(&bench, 2, &(struct bench_listed){ there, false, true }, 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_SEALED);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->holder, bench.agents[2].number);
    bench_end(&bench);
}

TEST(head_objects, a_list_takes_away_what_it_does_not_name)
{
    start(2);
    struct object_id held = bench_put(&bench, 0, 100), dropped = bench_put(&bench, 0, 100);
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench.agents[0].incarnation, 1); /* the same life */
    bench_list(&bench, 0, &(struct bench_listed){ held, true, true }, 1);
    CHECK_EQ(objects(), 1);
    CHECK(!bench_was_freed(&bench, 0, held));
    bench_names(&bench, 0, PROTO_HOLD, dropped);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_GONE), 1);
    bench_end(&bench);
}

TEST(head_objects, what_only_a_container_in_a_list_names_is_lost_when_nobody_has_it)
{
    start(2);
    struct object_id box = { 66, 1 }, gone = { 66, 2 };
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    struct proto_message edges = { .kind = PROTO_EDGES };
    edges.u.edges.object = box;
    edges.u.edges.contained = (struct proto_objects){ &gone, 1 };
    bench_say(&bench, 0, &edges);
    bench_list(&bench, 0, (struct bench_listed[]){ { box, true, true }, { gone, false, false } }, 2);
    CHECK_EQ(objects(), 2);
    bench_names(&bench, 0, PROTO_WANT, gone);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    bench_end(&bench);
}

/* A copy that is refused is listed and not there; one that lies there is not listed. */
TEST(head_objects, a_list_that_is_as_long_as_what_was_known_is_not_taken_for_the_same)
{
    start(2);
    struct object_id kept = bench_put(&bench, 0, 200), moved = bench_put(&bench, 0, 100);
    bench_location(&bench, 1, moved, 100, true);
    bench_names(&bench, 1, PROTO_HOLD, kept);
    bench_lost(&bench, 1);
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ kept, true, true }, 1); /* of other bytes: it is refused */
    CHECK_EQ(head_counts(bench.head).refused_copies, 1);
    bench_names(&bench, 0, PROTO_WANT, moved);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->holders, 1);
    bench_end(&bench);
}

TEST(head_objects, a_census_walks_over_all_objects_once_however_many_members_list)
{
    enum { MEMBERS = 8, EACH = 20 };
    struct object_id ids[MEMBERS][EACH];
    start(MEMBERS);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        for (size_t k = 0; k < EACH; k++) {
            ids[i][k] = bench_put(&bench, i, 100);
        }
    }
    bench_restart(&bench);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct bench_listed listed[EACH];
        for (size_t k = 0; k < EACH; k++) {
            listed[k] = (struct bench_listed){ ids[i][k], true, true };
        }
        bench_agent_again(&bench, i);
        bench_list(&bench, i, listed, EACH);
    }
    CHECK_EQ(head_counts(bench.head).lists_missing, 0);
    CHECK_EQ(objects(), MEMBERS * EACH);
    CHECK_EQ(head_counts(bench.head).walks, 1);
    bench_end(&bench);
}

TEST(head_objects, a_mention_that_a_list_had_not_seen_stands)
{
    start(2);
    struct object_id id = bench_put(&bench, 0, ROOST_MIB(64));
    bench_lost(&bench, 1);
    bench.agents[1].is_deaf = true;
    bench_agent_again(&bench, 1);
    struct bench_call call = { .args = (roost_in[]){ bench_ref(id) },
                               .args_count = 1,
                               .returns = 1,
                               .node = bench.agents[1].id,
                               .flags = SPEC_NODE_ONLY };
    struct task_id task = bench_submit(&bench, 0, &call);
    CHECK_EQ(bench_placed(&bench, task), 1);
    bench_list(&bench, 1, NULL, 0);
    bench_names(&bench, 0, PROTO_DROP, id);
    CHECK(!bench_was_freed(&bench, 0, id));
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1); /* nor is the task taken for lost */
    bench_end(&bench);
}

TEST(head_objects, what_is_listed_as_stored_and_named_by_nobody_is_freed_there)
{
    start(1);
    struct object_id id = { 66, 1 };
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, &(struct bench_listed){ id, false, true }, 1);
    CHECK(bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, a_publish_that_was_lost_with_its_session_is_made_good_by_the_list)
{
    start(1);
    struct object_id id = { 66, 1 };
    bench_lost(&bench, 0);
    bench_agent_again(&bench, 0);
    bench_list(&bench, 0, &(struct bench_listed){ id, true, true }, 1);
    CHECK_EQ(objects(), 1);
    CHECK(!bench_was_freed(&bench, 0, id));
    bench_end(&bench);
}

TEST(head_objects, who_lists_as_pending_what_has_a_value_is_told_of_it)
{
    start(2);
    struct object_id made = bench_put(&bench, 0, 100), pending = bench_pending(&bench, 0);
    bench_lost(&bench, 1);
    bench_agent_again(&bench, 1);
    struct proto_list_object items[] = { { .object = made, .held = true, .state = PROTO_PENDING },
                                         { .object = pending, .held = true, .state = PROTO_PENDING } };
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message list = { .kind = PROTO_LIST_OBJECTS, .u.list_objects = { items, 2 } };
    bench_say(&bench, 1, &begin);
    bench_say(&bench, 1, &list);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_FOUND), 1);
    CHECK_EQ(bench_last(&bench, 1, PROTO_FOUND)->state, PROTO_SEALED);
    bench_end(&bench);
}
