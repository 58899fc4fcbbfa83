/* Tasks in the head whose input only names another result: it is there when that is. */
#include "common/limits.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/core/task_bench.h"

#include <string.h>

static bool waits_at_the_head(struct task_id task) { return bench_placed(&bench, task) == BENCH_AGENTS; }

/* A result of agent 0 that leads to `target`. */
static struct object_id forward_to(struct object_id target)
{
    struct object_id forward = bench_pending(&bench, 0);
    bench_lead(&bench, 0, forward, target);
    return forward;
}

TEST(head_forwards, who_waits_for_what_a_result_leads_to_leaves_the_node_to_who_makes_that)
{
    enum { READERS = 8 };
    start(1, 1);
    struct object_id late = bench_pending(&bench, 0);
    struct task_id maker = submit(0, (roost_in[]){ bench_ref(late) }, 1, 0), readers[READERS];
    struct object_id forward = forward_to(result_id(maker, 0));
    for (int i = 0; i < READERS; i++) {
        readers[i] = submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0);
        CHECK(waits_at_the_head(readers[i]));
    }
    bench_seal(&bench, 0, late, 100);
    CHECK_EQ(bench_placed(&bench, maker), 0);
    bench_complete(&bench, 0, maker, 1, 1, 16);
    for (int i = 0; i < READERS; i++) {
        CHECK_EQ(bench_placed(&bench, readers[i]), 0);
        bench_complete(&bench, 0, readers[i], 1, 1, 16);
    }
    bench_end(&bench);
}

TEST(head_forwards, a_result_that_becomes_a_forward_after_it_was_waited_for_is_followed_to_its_end)
{
    start(1, 4);
    struct object_id chain[3] = { bench_pending(&bench, 0), bench_pending(&bench, 0), bench_pending(&bench, 0) };
    struct task_id task = submit(0, (roost_in[]){ bench_ref(chain[0]) }, 1, 0);
    bench_lead(&bench, 0, chain[0], chain[1]);
    CHECK(waits_at_the_head(task));
    bench_lead(&bench, 0, chain[1], chain[2]);
    CHECK(waits_at_the_head(task));
    bench_seal(&bench, 0, chain[2], 100);
    CHECK_EQ(bench_placed(&bench, task), 0);
    CHECK_EQ(bench_placed(&bench, submit(0, (roost_in[]){ bench_ref(chain[0]) }, 1, 0)), 0);
    bench_end(&bench);
}

TEST(head_forwards, what_leads_to_a_failure_fails_by_it_whether_it_came_before_or_after)
{
    start(1, 4);
    struct object_id late = bench_pending(&bench, 0), forward = forward_to(late);
    struct task_id before = submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0);
    static const struct proto_failure words = {
        .status = ROOST_EWORKER, .function = "first", .node = "there", .text = "the first words", .signal = 9
    };
    struct proto_message failed = { .kind = PROTO_PUBLISH };
    failed.u.publish = (struct proto_publish){ .object = late, .state = PROTO_FAILED, .failure = &words };
    bench_say(&bench, 0, &failed);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(object_id_eq(found->object, result_id(before, 0)) && strstr(found->text, "the first words") != NULL);
    struct task_id after = submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0);
    found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(object_id_eq(found->object, result_id(after, 0)) && strstr(found->text, "the first words") != NULL);
    CHECK(waits_at_the_head(before) && waits_at_the_head(after));
    bench_end(&bench);
}

TEST(head_forwards, what_it_leads_to_is_lost_and_made_again_and_then_it_is_there)
{
    start(2, 4);
    struct object_id lost = bench_put(&bench, 1, 100);
    bench_names(&bench, 0, PROTO_HOLD, lost);
    struct object_id forward = forward_to(lost);
    bench_die(&bench, 1);
    struct task_id early = submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0);
    CHECK(object_id_eq(bench_last(&bench, 0, PROTO_FOUND)->object, result_id(early, 0)));
    CHECK(waits_at_the_head(early));
    bench_location(&bench, 0, lost, 100, true);
    CHECK_EQ(bench_placed(&bench, submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0)), 0);
    bench_end(&bench);
}

TEST(head_forwards, what_leads_in_a_circle_or_further_than_anybody_reads_is_for_the_reader_to_find_out)
{
    start(1, 8);
    struct object_id circle[2] = { bench_pending(&bench, 0), bench_pending(&bench, 0) };
    struct task_id round = submit(0, (roost_in[]){ bench_ref(circle[0]) }, 1, 0);
    bench_lead(&bench, 0, circle[0], circle[1]);
    CHECK(waits_at_the_head(round));
    bench_lead(&bench, 0, circle[1], circle[0]);
    CHECK_EQ(bench_placed(&bench, round), 0);
    struct object_id late = bench_pending(&bench, 0), end = late;
    struct task_id tasks[STORE_FORWARDS_MAX + 1];
    for (int i = 0; i <= STORE_FORWARDS_MAX; i++) {
        end = forward_to(end);
        tasks[i] = submit(0, (roost_in[]){ bench_ref(end) }, 1, 0);
    }
    CHECK(waits_at_the_head(tasks[STORE_FORWARDS_MAX - 1]));
    CHECK_EQ(bench_placed(&bench, tasks[STORE_FORWARDS_MAX]), 0);
    bench_seal(&bench, 0, late, 100);
    for (int i = 0; i < STORE_FORWARDS_MAX; i++) {
        CHECK_EQ(bench_placed(&bench, tasks[i]), 0);
    }
    bench_end(&bench);
}

TEST(head_forwards, a_gather_waits_for_what_its_list_and_what_is_in_it_lead_to)
{
    start(1, 4);
    struct object_id late[2] = { bench_pending(&bench, 0), bench_pending(&bench, 0) };
    struct object_id inner = bench_pending(&bench, 0), inside[] = { forward_to(late[0]), inner };
    struct object_id list = bench_box(&bench, 0, inside, 2), outer = forward_to(forward_to(list));
    struct task_id by_list = submit(0, (roost_in[]){ bench_gather(list) }, 1, 0);
    struct task_id by_forward = submit(0, (roost_in[]){ bench_gather(outer) }, 1, 0);
    struct task_id by_handle = submit(0, (roost_in[]){ roost_in_handle(object_ref(outer)) }, 1, 0);
    CHECK_EQ(bench_placed(&bench, by_handle), 0);
    bench_lead(&bench, 0, inner, late[1]);
    bench_seal(&bench, 0, late[0], 100);
    CHECK_EQ(head_counts(bench.head).tasks_early, 2);
    bench_seal(&bench, 0, late[1], 100);
    CHECK_EQ(head_counts(bench.head).tasks_early, 0);
    CHECK(bench_placed(&bench, by_list) == 0 && bench_placed(&bench, by_forward) == 0);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 3);
    bench_end(&bench);
}

TEST(head_forwards, who_may_follow_goes_where_that_is_made_what_the_result_leads_to)
{
    start(2, 4);
    struct bench_call call = { .returns = 1, .max_retries = 3, .node = bench.agents[1].id, .flags = SPEC_NODE_ONLY };
    struct task_id maker = bench_submit(&bench, 0, &call);
    struct task_id reader = submit(0, (roost_in[]){ bench_ref(forward_to(result_id(maker, 0))) }, 1, 3);
    CHECK_EQ(bench_placed(&bench, reader), 1);
    CHECK_EQ(head_counts(bench.head).tasks_early, 1);
    const struct bench_said *rows = bench_query(&bench, PROTO_QUERY_TASKS, "state=early");
    CHECK(strstr(rows->text, "made by f") != NULL);
    bench_complete(&bench, 1, maker, 1, 1, 16);
    CHECK_EQ(head_counts(bench.head).tasks_placed, 1);
    bench_end(&bench);
}

TEST(head_forwards, a_forward_that_was_waited_for_goes_when_nothing_names_it_and_what_it_names_goes_on)
{
    start(1, 4);
    struct object_id late = bench_pending(&bench, 0), forward = forward_to(late);
    struct task_id task = submit(0, (roost_in[]){ bench_ref(forward) }, 1, 0);
    bench_names(&bench, 0, PROTO_DROP, forward);
    CHECK(!bench_was_freed(&bench, 0, forward));
    struct proto_message cancel = { .kind = PROTO_CANCEL, .u.cancel = { task, 0, false } };
    bench_say(&bench, 0, &cancel);
    bench_turn(&bench);
    CHECK(bench_was_freed(&bench, 0, forward) && !bench_was_freed(&bench, 0, late));
    bench_seal(&bench, 0, late, 100);
    CHECK_EQ(bench_placed(&bench, submit(0, (roost_in[]){ bench_ref(late) }, 1, 0)), 0);
    bench_end(&bench);
}
