/* Questions of clients that must wait until an object is known: where copies are, what should come here, what lies
 * behind other names. */
#include "common/hash.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;
static const struct core_peer head = { 0, 0 };

static uint64_t ask(struct core_client client, enum wire_kind kind, roost_ref ref)
{
    struct wire_ask entry = { .head = { kind, sizeof entry, kind == WIRE_LOCATE ? ++bench.next_token : 0 },
                              .ref = ref,
                              .bell = 3 };
    bench_entry(&bench, client, &entry.head);
    return entry.head.token;
}

/* The answer, or NULL as long as there is none. */
static const struct wire_locations *located(struct core_client client, uint64_t token)
{
    const struct wire_locations *answer = bench_said(&bench, client, WIRE_LOCATIONS);
    return answer != NULL && answer->head.token == token ? answer : NULL;
}

static void names(enum proto_kind kind, struct object_id id)
{
    struct proto_message message = { .kind = kind, .u.hold.objects = { &id, 1 } };
    bench_message(&bench, head, &message);
}

static void found(struct object_id id, enum proto_object_state state, const uint32_t *holders, size_t count)
{
    struct proto_message message = {
        .kind = PROTO_FOUND,
        .u.found = { .object = id, .state = state, .content = { .size = 1000 }, .holders = { holders, count } }
    };
    bench_message(&bench, head, &message);
}

/* Of a call that goes to the head, to be run on the other node. */
static struct object_id result_of_a_call_elsewhere(struct core_client driver)
{
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY };
    return result_id(bench_submit(&bench, driver, 0, &draft), 0);
}

static const struct spec_draft plain = { .function = "f", .returns = 1, .call = 7 };

/* Of the call that `plain` will be. */
static struct object_id result_to_be(void)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id id = result_id(bench_submit(&bench, driver, 0, &plain), 0);
    bench_end(&bench, false);
    return id;
}

TEST(agent_locate, a_call_that_is_read_after_the_question_has_no_copies_yet)
{
    struct object_id id = result_to_be();
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) == NULL); /* requests are read before submits */
    bench_submit(&bench, driver, 0, &plain);
    const struct wire_locations *answer = located(driver, token);
    CHECK(answer != NULL && answer->status == 0);
    CHECK_EQ(answer->total, 0);
    bench_end(&bench, false);
}

TEST(agent_locate, what_nobody_has_made_known_after_every_ring_was_read_was_given_up)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t token = ask(driver, WIRE_LOCATE, (roost_ref){ { 5, 6 }, 0, ROOST_WHOLE });
    CHECK(located(driver, token) == NULL);
    bench_drain(&bench);
    CHECK(located(driver, token) != NULL && located(driver, token)->status == ROOST_EFREED);
    bench_end(&bench, true);
}

TEST(agent_locate, the_head_is_asked_for_all_copies_of_what_is_here_too)
{
    static const uint32_t both[] = { BENCH_NODE, BENCH_OTHER };
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    uint64_t token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) != NULL); /* the head knows nothing of it */
    CHECK_EQ(located(driver, token)->total, 1);
    roost_in in = roost_in_ref(object_ref(id));
    struct spec_draft draft = {
        .function = "f", .args = &in, .args_count = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY
    };
    bench_submit(&bench, driver, 0, &draft);
    for (int i = 0; i < 2; i++) { /* each time: what it said once may be old */
        token = ask(driver, WIRE_LOCATE, object_ref(id));
        CHECK(located(driver, token) == NULL);
        CHECK_EQ(bench_sent_count(&bench, PROTO_WANT), i + 1);
        found(id, PROTO_SEALED, both, 2);
        const struct wire_locations *answer = located(driver, token);
        CHECK(answer != NULL && answer->status == 0);
        CHECK_EQ(answer->total, 2);
        CHECK_EQ(answer->nodes[0].hi, 7);
        CHECK_EQ(answer->nodes[1].hi, 8);
    }
    bench_end(&bench, false);
}

TEST(agent_locate, a_call_elsewhere_has_no_copies_while_the_head_says_that_it_is_pending)
{
    static const uint32_t other[] = { BENCH_OTHER };
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = result_of_a_call_elsewhere(driver);
    uint64_t token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) == NULL);
    found(id, PROTO_PENDING, NULL, 0);
    CHECK(located(driver, token) != NULL && located(driver, token)->status == 0);
    CHECK_EQ(located(driver, token)->total, 0);
    token = ask(driver, WIRE_LOCATE, object_ref(id));
    found(id, PROTO_SEALED, other, 1);
    CHECK_EQ(located(driver, token)->total, 1);
    token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) == NULL);
    size_t submits = bench_sent_count(&bench, PROTO_SUBMIT);
    names(PROTO_GONE, id); /* it is held here: the call is made again */
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), submits + 1);
    CHECK(located(driver, token) != NULL && located(driver, token)->status == 0);
    CHECK_EQ(located(driver, token)->total, 0);
    bench_end(&bench, false);
}

TEST(agent_locate, what_the_head_does_not_know_has_been_freed)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id nothing = { 5, 6 };
    uint64_t token = ask(driver, WIRE_LOCATE, object_ref(nothing));
    bench_drain(&bench);
    CHECK(located(driver, token) == NULL);
    names(PROTO_GONE, nothing);
    CHECK(located(driver, token) != NULL && located(driver, token)->status == ROOST_EFREED);
    bench_end(&bench, false);
}

TEST(agent_locate, when_the_head_is_lost_the_answer_is_what_is_known_here)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 100, NULL, 0);
    roost_in in = roost_in_ref(object_ref(id));
    struct spec_draft draft = {
        .function = "f", .args = &in, .args_count = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY
    };
    bench_submit(&bench, driver, 0, &draft);
    uint64_t token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) == NULL);
    bench_session(&bench, head, false);
    CHECK(located(driver, token) != NULL && located(driver, token)->status == 0);
    CHECK_EQ(located(driver, token)->total, 1);
    token = ask(driver, WIRE_LOCATE, object_ref(id));
    CHECK(located(driver, token) != NULL);
    bench_end(&bench, false);
}

TEST(agent_locate, a_client_that_uses_the_token_of_another_question_is_ended)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    ask(driver, WIRE_LOCATE, (roost_ref){ { 5, 6 }, 0, ROOST_WHOLE });
    bench.next_token--;
    ask(driver, WIRE_LOCATE, (roost_ref){ { 5, 7 }, 0, ROOST_WHOLE });
    CHECK_EQ(bench.closed_count, 1);
    bench.closed_count = 0;
    bench_gone(&bench, driver, 9);
    bench_drain(&bench);
    bench_end(&bench, true);
}

TEST(agent_waits, one_that_follows_names_ends_with_what_they_name)
{
    bench_start(&bench, ROOST_MIB(1), 3);
    struct core_client driver = bench_driver(&bench);
    struct task_id ids[3];
    struct bench_task tasks[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    }
    for (int i = 0; i < 3; i++) {
        tasks[i] = bench_take(&bench);
    }
    struct object_id outer = result_id(ids[2], 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH | WIRE_WAIT_FOLLOW, 1, &outer, 1);
    for (int i = 2; i > 0; i--) {
        bench_result_ref(&bench, &tasks[i], 0, object_ref(result_id(ids[i - 1], 0)));
        bench_complete(&bench, &tasks[i], 0, "");
        CHECK(bench_said(&bench, driver, WIRE_READY) == NULL);
    }
    bench_complete(&bench, &tasks[0], 0, "");
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->ready[0] == 1);
    for (int i = 0; i < 3; i++) {
        bench_names(&bench, driver, WIRE_FREE, 0, result_id(ids[i], 0));
    }
    bench_end(&bench, true);
}

TEST(agent_prefetch, what_is_not_known_or_not_made_yet_is_pulled_once_it_is_elsewhere)
{
    static const uint32_t other[] = { BENCH_OTHER };
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id unknown = { 5, 6 }, pending = result_of_a_call_elsewhere(driver);
    ask(driver, WIRE_PREFETCH, object_ref(unknown));
    ask(driver, WIRE_PREFETCH, object_ref(pending));
    bench_names(&bench, driver, WIRE_HOLD, 0, unknown);
    bench_drain(&bench);
    CHECK(bench_sent_names(&bench, PROTO_WANT, unknown) && bench_sent_names(&bench, PROTO_WANT, pending));
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 0);
    found(unknown, PROTO_SEALED, other, 1);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    found(pending, PROTO_SEALED, other, 1);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 2);
    CHECK_EQ(bench_sent(&bench, PROTO_PULL)->message.u.pull.priority, PROTO_PULL_PREFETCH);
    CHECK(bench_said(&bench, driver, WIRE_READY) == NULL);
    bench_end(&bench, false);
}

TEST(agent_prefetch, more_wishes_than_the_limit_are_dropped_and_do_no_harm)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct object_id pending = result_id(bench_submit(&bench, driver, 0, &plain), 0);
    for (int i = 0; i < CLIENT_PREFETCHES_MAX + 10; i++) {
        ask(driver, WIRE_PREFETCH, object_ref(pending));
    }
    CHECK_EQ(bench.closed_count, 0);
    struct bench_task task = bench_take(&bench);
    bench_complete(&bench, &task, 0, "");
    bench_names(&bench, driver, WIRE_FREE, 0, pending);
    bench_end(&bench, true);
}

TEST(agent_prefetch, a_wish_for_what_was_given_up_leaves_nothing)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    ask(driver, WIRE_PREFETCH, (roost_ref){ { 5, 6 }, 0, ROOST_WHOLE });
    ask(driver, WIRE_PREFETCH, (roost_ref){ { 5, 7 }, 0, ROOST_WHOLE });
    bench_drain(&bench);
    bench_end(&bench, true);
}
