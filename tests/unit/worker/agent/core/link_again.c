/* Calls between an agent and its head that another attempt of their caller makes again, and what becomes of results that
 * the head has freed meanwhile. */
#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/test.h"
#include "tests/unit/worker/agent/core/link_bench.h"

enum named { NOTHING, WHAT_LIES_ELSEWHERE, WHAT_IS_MADE_ELSEWHERE };

/* The child's first result, and what it names. */
static void give_result(const struct bench_task *child, enum named named)
{
    struct object_id inner = { 5, 6 };
    if (named == WHAT_IS_MADE_ELSEWHERE) {
        struct spec_draft draft = {
            .function = "g", .parent = child->id, .call = 1, .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY
        };
        inner = result_id(bench_submit(&bench, child->client, child->task.run, &draft), 0);
    }
    if (named == NOTHING) {
        bench_result(&bench, child, 0, 100);
    } else {
        give_result_naming(child, inner);
    }
    if (named == WHAT_LIES_ELSEWHERE) {
        found(inner, 50, 0);
    }
}

/* The second attempt of a task whose first one made the call and gave its result away: the head may have freed it, and
 * what it names. */
static struct bench_task try_again_what_called(uint32_t returns, enum named named, struct spec_draft *call_out,
                                               struct object_id *result_out)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "parent", .returns = 1, .max_retries = 3 });
    struct bench_task parent = bench_take(&bench);
    *call_out = (struct spec_draft){ .function = "child", .parent = parent.id, .call = 1, .returns = returns };
    struct object_id result = result_id(bench_submit(&bench, parent.client, parent.task.run, call_out), 0);
    struct bench_task child = bench_take(&bench);
    for (uint32_t i = 1; i < returns; i++) {
        bench_result(&bench, &child, i, 10);
        give_away(result_id(child.id, i));
    }
    give_result(&child, named);
    give_away(result);
    bench_complete(&bench, &child, 0, "");
    bench_names(&bench, parent.client, WIRE_FREE, parent.task.run, result);
    bench_gone(&bench, parent.client, 9);
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 1 } };
    bench_message(&bench, head, &dead);
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, result));
    *result_out = result;
    return bench_take(&bench);
}

TEST(agent_link, a_result_that_a_later_attempt_of_its_caller_names_again_is_made_known_again)
{
    struct spec_draft call;
    struct object_id result;
    struct bench_task parent = try_again_what_called(1, NOTHING, &call, &result);
    bench_submit(&bench, parent.client, parent.task.run, &call);
    const struct proto_publish *publish = &bench_sent(&bench, PROTO_PUBLISH)->message.u.publish;
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 3); /* pending, made, and now */
    CHECK(object_id_eq(publish->object, result) && publish->state == PROTO_SEALED && publish->located);
    names(PROTO_FREE, result); /* of what the head knew before */
    CHECK(bench_find(&bench, result) != NULL);
    bench_end(&bench, false);
}

TEST(agent_link, a_result_whose_call_is_made_again_is_made_known_again_also_after_what_names_it)
{
    struct spec_draft call;
    struct object_id result;
    struct bench_task parent = try_again_what_called(1, NOTHING, &call, &result);
    roost_ref ref = object_ref(result);
    uint32_t before = bench.head_mark;
    bench_put(&bench, parent.client, 10, &ref, 1); /* it is in another ring than the call, and is read first */
    CHECK(bench_sent_names(&bench, PROTO_HOLD, result));
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 2);
    bench_submit(&bench, parent.client, parent.task.run, &call);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 3);
    CHECK(object_id_eq(bench_sent(&bench, PROTO_PUBLISH)->message.u.publish.object, result));
    bench.head_mark = before;
    names(PROTO_GONE, result); /* the answer to the HOLD: it has not seen that it is known once more, and here */
    CHECK(bench_find(&bench, result) != NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 0);
    bench_end(&bench, false);
}

/* The call is made again and asks the head, which may have freed what the result names; what was said before it. */
static uint32_t call_that_asks_the_head(enum named named, struct object_id *result_out)
{
    struct spec_draft call;
    struct bench_task parent = try_again_what_called(1, named, &call, result_out);
    size_t published = bench_sent_count(&bench, PROTO_PUBLISH);
    uint32_t before = bench.head_mark;
    struct task_id id = bench_submit(&bench, parent.client, parent.task.run, &call);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), published);
    CHECK(task_id_eq(bench_sent(&bench, PROTO_SUBMIT)->message.u.submit.task, id));
    return before;
}

TEST(agent_link, a_result_whose_call_is_made_again_and_which_names_what_lies_elsewhere_is_for_the_head_to_judge)
{
    struct object_id result;
    uint32_t before = call_that_asks_the_head(WHAT_LIES_ELSEWHERE, &result);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 1); /* before it, so that they go if they do not count */
    bench.head_mark = before;
    names(PROTO_FREE, result); /* of what it was */
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 2);
    names(PROTO_FREE, result); /* it is being made once more, and these bytes do not count */
    CHECK_EQ(bench_find(&bench, result)->op, AGENT_ENTRY_EVICT);
    bench_end(&bench, false);
}

TEST(agent_link, a_result_whose_call_is_made_again_and_which_names_what_is_made_elsewhere_is_so_too)
{
    struct object_id result;
    call_that_asks_the_head(WHAT_IS_MADE_ELSEWHERE, &result);
    bench_end(&bench, false);
}

TEST(agent_link, a_result_whose_record_had_gone_and_that_others_name_since_then_is_that_of_the_call_made_again)
{
    struct spec_draft call;
    struct object_id result;
    struct bench_task parent = try_again_what_called(2, NOTHING, &call, &result);
    names(PROTO_FREE, result);
    CHECK(bench_find(&bench, result) == NULL);
    struct core_client other = bench_driver(&bench);
    bench_wait(&bench, other, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    bench_drain(&bench);
    found(result, 50, 0); /* another attempt of the caller has made it on another node */
    bench_submit(&bench, parent.client, parent.task.run, &call);
    struct agent_counts counts = agent_counts(bench.agent);
    CHECK_EQ(counts.tasks_ready + counts.tasks_running, 1); /* the parent: nothing is made once more */
    bench_end(&bench, false);
}

/* The head places the driver's first call at its home. */
static struct bench_task place_draft(struct task_id id, struct spec_draft draft)
{
    draft.call = 1;
    draft.job = bench.job;
    draft.parent = task_id_from(job_id_key(bench.job));
    draft.cpus_hundredths = 100;
    size_t spec_bytes;
    CHECK_EQ(spec_measure(&draft, &spec_bytes), 0);
    CHECK(spec_bytes <= sizeof placed);
    spec_write(&draft, placed, spec_bytes);
    struct proto_message task = { .kind = PROTO_TASK,
                                  .u.task = { .task = id, .attempt = 1, .spec = { placed, spec_bytes } } };
    bench_message(&bench, head, &task);
    struct bench_task attempt = bench_take(&bench);
    CHECK(task_id_eq(attempt.id, id));
    return attempt;
}

/* The call of leave_unheld(). */
static struct bench_task place_at_home(struct task_id id)
{
    return place_draft(id,
                       (struct spec_draft){ .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY });
}

TEST(agent_link, a_call_that_the_head_placed_at_its_home_ends_with_its_job)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = leave_unheld(driver);
    bench_tick(&bench);
    struct bench_task attempt = place_at_home(id);
    names(PROTO_FREE, result_id(id, 0));
    bench_gone(&bench, driver, 0);
    bench_gone(&bench, attempt.client, 9);
    CHECK_EQ(bench_sent(&bench, PROTO_COMPLETE)->message.u.complete.died, true);
    bench_end(&bench, true);
}

TEST(agent_link, a_canceled_call_whose_result_was_freed_while_it_ran_waits_for_no_word_on_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = leave_unheld(driver);
    bench_tick(&bench);
    struct bench_task attempt = place_at_home(id);
    names(PROTO_FREE, result_id(id, 0));
    struct proto_message cancel = { .kind = PROTO_CANCEL, .u.cancel = { .task = id, .attempt = 1 } };
    bench_message(&bench, head, &cancel);
    bench_gone(&bench, attempt.client, 9);
    struct agent_counts counts = agent_counts(bench.agent);
    CHECK_EQ(counts.tasks_running + counts.tasks_away, 0);
    bench_end(&bench, false);
}

TEST(agent_link, what_lies_here_of_a_call_that_the_head_places_here_is_said_also_if_its_attempt_never_completes)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct spec_draft draft = { .function = "f", .returns = 2 };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    struct bench_task attempt = bench_take(&bench);
    bench_result(&bench, &attempt, 0, 10);
    bench_result(&bench, &attempt, 1, 10);
    bench_complete(&bench, &attempt, 0, "");
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 1)); /* so that there is something to be made again */
    bench_reclaim_all(&bench);
    CHECK(task_id_eq(place_draft(id, draft).id, id));
    const struct proto_locations *said = &bench_sent(&bench, PROTO_LOCATIONS)->message.u.locations;
    CHECK_EQ(said->count, 1);
    CHECK(object_id_eq(said->items[0].object, result_id(id, 0)) && said->items[0].added);
    bench_end(&bench, false);
}
