/* Objects that are pulled from other agents, and that others pull. */
#include "common/hash.h"
#include "tests/lib/test.h"
#include "tests/unit/worker/agent/core/link_bench.h"

#include <string.h>

TEST(agent_link, a_result_that_was_made_elsewhere_is_pulled_when_somebody_waits_for_it_here)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    uint64_t token = bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 1000, 0);
    const struct bench_sent *pull = bench_sent(&bench, PROTO_PULL);
    CHECK(pull != NULL && pull->to.node == BENCH_OTHER);
    uint64_t transfer = pull->message.u.pull.token;

    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = 1000 } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    const struct bench_pull *receive = bench_pull(&bench, AGENT_PULL_RECEIVE);
    CHECK(receive != NULL);
    CHECK_EQ(receive->command.size, 1000);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_STREAM), 1);
    bench_done(&bench, receive->token, 0, transfer, NULL, 0);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->head.token == token && ready->ready[0] == 1);
    CHECK(bench_find(&bench, result) != NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_DONE), 1);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOCATIONS), 1);
    bench_end(&bench, false);
}

TEST(agent_link, what_is_being_pulled_and_has_failed_is_not_pulled_any_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 1000, 0);
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = 1000 } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    uint64_t receive = bench_pull(&bench, AGENT_PULL_RECEIVE)->token;
    struct proto_failure failure = { .status = ROOST_ELOST, .function = "f", .node = "n", .text = "its node died" };
    struct proto_message lost = { .kind = PROTO_FOUND,
                                  .u.found = { .object = result, .state = PROTO_LOST, .failure = &failure } };
    bench_message(&bench, head, &lost);
    CHECK(bench_said(&bench, driver, WIRE_READY) != NULL);
    CHECK_EQ(bench_find(&bench, result)->object.format, TABLE_ERROR);
    CHECK(bench_pull(&bench, AGENT_PULL_CANCEL) != NULL);
    CHECK_EQ(bench_sent(&bench, PROTO_PULL_DONE)->message.u.pull_done.status, ROOST_ECANCELED);
    bench_done(&bench, receive, 0, transfer, NULL, 0); /* it had come all the same */
    CHECK_EQ(bench_find(&bench, result)->object.format, TABLE_ERROR);
    bench_end(&bench, false);
}

TEST(agent_link, a_holder_that_cannot_is_followed_by_a_question_to_the_head)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 1000, 0);
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    size_t wants = bench_sent_count(&bench, PROTO_WANT);
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .status = ROOST_ELOST } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    CHECK_EQ(bench_sent_count(&bench, PROTO_WANT), wants + 1);
    found(result, 1000, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 2);
    bench_end(&bench, false);
}

TEST(agent_link, what_was_asked_for_before_the_first_session_with_its_holder_is_asked_for_once)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 1000, 0);
    bench_session(&bench, (struct core_peer){ BENCH_OTHER, 1 }, true);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    bench_session(&bench, (struct core_peer){ BENCH_OTHER, 1 }, false);
    found(result, 1000, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 2);
    bench_end(&bench, false);
}

TEST(agent_link, holders_that_cannot_again_and_again_are_asked_after_a_pause)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    size_t pulls = 0;
    for (int round = 0; round < 100; round++) { /* at network speed, without time passing */
        found(result, 1000, 0);
        const struct bench_sent *pull = bench_sent(&bench, PROTO_PULL);
        struct proto_message answer = {
            .kind = PROTO_PULL_ANSWER, .u.pull_answer = { .token = pull->message.u.pull.token, .status = ROOST_ELOST }
        };
        bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
        pulls = bench_sent_count(&bench, PROTO_PULL);
    }
    CHECK_EQ(pulls, 3);
    size_t wants = bench_sent_count(&bench, PROTO_WANT);
    bench_time(&bench, bench.now_ns + 1000000000);
    CHECK_EQ(bench_sent_count(&bench, PROTO_WANT), wants + 1);
    found(result, 1000, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), pulls + 1);
    bench_end(&bench, false);
}

/* A wait for bytes [offset, offset + size) of an object of 1000 that another node has. */
static uint64_t wait_for_part(struct core_client driver, struct object_id id, uint64_t offset, uint64_t size)
{
    union {
        struct wire_wait wait;
        unsigned char bytes[sizeof(struct wire_wait) + sizeof(roost_ref)];
    } entry = { .wait = { .head = { WIRE_WAIT, sizeof entry, ++bench.next_token },
                          .total = 1,
                          .count = 1,
                          .wanted = 1,
                          .flags = WIRE_WAIT_FETCH } };
    roost_ref ref = { object_ref(id).id, offset, size };
    memcpy(entry.wait.refs, &ref, sizeof ref);
    bench_entry(&bench, driver, &entry.wait.head);
    return entry.wait.head.token;
}

static int ready_of(struct core_client driver, uint64_t token)
{
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    return ready != NULL && ready->head.token == token ? ready->ready[0] : 0;
}

TEST(agent_link, a_range_outside_of_an_object_elsewhere_is_said_without_asking_for_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    uint64_t token = wait_for_part(driver, result, 999, 2);
    found(result, 1000, 0);
    CHECK_EQ(ready_of(driver, token), ROOST_ERANGE);
    CHECK_EQ(ready_of(driver, wait_for_part(driver, result, 999, 2)), ROOST_ERANGE);
    CHECK_EQ(ready_of(driver, wait_for_part(driver, result, 0, ROOST_COLUMN)), ROOST_ERANGE);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 0);
    wait_for_part(driver, result, 990, 10); /* the object is as good as before */
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    bench_end(&bench, false);
}

TEST(agent_link, a_range_that_its_holder_does_not_find_is_said_to_who_waits)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    uint64_t token = wait_for_part(driver, result, 1, ROOST_COLUMN);
    found(result, 1000, 2);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = bench_sent(&bench, PROTO_PULL)->message.u.pull.token,
                                                       .status = ROOST_ERANGE } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    CHECK_EQ(ready_of(driver, token), ROOST_ERANGE);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    bench_end(&bench, false);
}

TEST(agent_link, an_object_of_no_bytes_is_served)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = { agent_client_prefix(bench.agent, driver), 77 };
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 }, .object = { .id = id } };
    bench_entry(&bench, driver, &announce.head);
    struct proto_message pull = { .kind = PROTO_PULL,
                                  .u.pull = { .token = 5, .ref = object_ref(id), .priority = PROTO_PULL_ARGUMENT } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &pull);
    CHECK(bench_pull(&bench, AGENT_PULL_OPEN) != NULL);
    bench_end(&bench, false);
}

static void answer_pull(uint64_t transfer, int32_t status)
{
    struct proto_message answer = {
        .kind = PROTO_PULL_ANSWER,
        .u.pull_answer = { .token = transfer, .status = status, .content = { .size = status == 0 ? 1000 : 0 } }
    };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
}

TEST(agent_link, a_holder_that_fails_in_the_middle_is_told_and_its_late_words_are_not_taken_for_the_next_one_s)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id;
    CHECK(busy_until_it_leaves(driver, &id) != NULL);
    struct object_id result = result_id(id, 0);
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &result, 1);
    found(result, 1000, 0);
    uint64_t first = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    answer_pull(first, 0);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, ROOST_EIO, first, NULL, 0);
    CHECK(bench_pull(&bench, AGENT_PULL_CANCEL) != NULL);
    CHECK_EQ(bench_sent(&bench, PROTO_PULL_DONE)->message.u.pull_done.token, first);
    answer_pull(first, 0); /* nobody is asked for the next try yet */
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_DONE), 2);
    found(result, 1000, 0);
    uint64_t second = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    CHECK(second != first);
    size_t streams = bench_sent_count(&bench, PROTO_PULL_STREAM);
    size_t dones = bench_sent_count(&bench, PROTO_PULL_DONE);
    answer_pull(first, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_STREAM), streams);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_DONE), dones + 1); /* it lets the bytes go */
    answer_pull(second, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_STREAM), streams + 1);
    answer_pull(second, ROOST_EDISCONNECTED); /* its connection for the bytes has broken */
    found(result, 1000, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 3);
    bench_end(&bench, false);
}

TEST(agent_link, a_peer_s_pull_is_answered_and_pins_the_object_until_it_has_all)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 1000, NULL, 0);
    struct core_peer asker = { BENCH_OTHER, 1 };
    struct proto_message pull = { .kind = PROTO_PULL,
                                  .u.pull = { .token = 5, .ref = object_ref(id), .priority = PROTO_PULL_ARGUMENT } };
    bench_message(&bench, asker, &pull);
    const struct bench_pull *open = bench_pull(&bench, AGENT_PULL_OPEN);
    CHECK(open != NULL);
    struct agent_opened opened = { 0, 1000, 0 };
    bench_done(&bench, open->token, 0, 0, &opened, sizeof opened);
    const struct bench_sent *answer = bench_sent(&bench, PROTO_PULL_ANSWER);
    CHECK(answer != NULL);
    CHECK_EQ(answer->message.u.pull_answer.content.size, 1000);

    struct proto_message stream = { .kind = PROTO_PULL_STREAM,
                                    .u.pull_stream = { .token = 5, .offset = 100, .size = 200 } };
    bench_message(&bench, asker, &stream);
    CHECK_EQ(bench_pull(&bench, AGENT_PULL_SEND)->command.size, 200);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    CHECK(bench_find(&bench, id) != NULL);
    struct proto_message done = { .kind = PROTO_PULL_DONE, .u.pull_done = { .token = 5 } };
    bench_message(&bench, asker, &done);
    CHECK(bench_pull(&bench, AGENT_PULL_CANCEL) == NULL); /* nothing comes in here */
    CHECK(bench_find(&bench, id) == NULL);
    bench_end(&bench, true);
}

TEST(agent_link, bytes_that_cannot_be_sent_are_said_to_who_waits_for_them)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 1000, NULL, 0);
    struct core_peer asker = { BENCH_OTHER, 1 };
    struct proto_message pull = { .kind = PROTO_PULL,
                                  .u.pull = { .token = 5, .ref = object_ref(id), .priority = PROTO_PULL_ARGUMENT } };
    bench_message(&bench, asker, &pull);
    struct agent_opened opened = { 0, 1000, 0 };
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_OPEN)->token, 0, 0, &opened, sizeof opened);
    struct proto_message stream = { .kind = PROTO_PULL_STREAM, .u.pull_stream = { .token = 5, .size = 1000 } };
    bench_message(&bench, asker, &stream);
    uint64_t token = bench_pull(&bench, AGENT_PULL_SEND)->token;
    for (int ranges = 0; ranges < 2; ranges++) {
        bench_done(&bench, token, ROOST_EDISCONNECTED, 0, NULL, 0);
    }
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL_ANSWER), 2);
    CHECK_EQ(bench_sent(&bench, PROTO_PULL_ANSWER)->message.u.pull_answer.status, ROOST_EDISCONNECTED);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_end(&bench, true);
}

TEST(agent_link, a_range_outside_of_what_was_opened_is_refused)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct object_id id = bench_put(&bench, driver, 1000, NULL, 0);
    struct core_peer asker = { BENCH_OTHER, 1 };
    struct proto_message pull = { .kind = PROTO_PULL,
                                  .u.pull = { .token = 5, .ref = object_ref(id), .priority = PROTO_PULL_ARGUMENT } };
    bench_message(&bench, asker, &pull);
    struct agent_opened opened = { 0, 1000, 0 };
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_OPEN)->token, 0, 0, &opened, sizeof opened);
    struct proto_message stream = { .kind = PROTO_PULL_STREAM,
                                    .u.pull_stream = { .token = 5, .offset = 900, .size = 101 } };
    bench_message(&bench, asker, &stream);
    CHECK(bench_pull(&bench, AGENT_PULL_SEND) == NULL);
    CHECK_EQ(bench_sent(&bench, PROTO_PULL_ANSWER)->message.u.pull_answer.status, ROOST_ERANGE);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_end(&bench, true);
}

/* Everything that is still to come of the newest pull comes, `bytes` in all. */
static void arrive(uint64_t bytes)
{
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = bytes } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    const struct bench_pull *receive = bench_pull(&bench, AGENT_PULL_RECEIVE);
    if (receive != NULL && receive->command.transfer == transfer) {
        bench_done(&bench, receive->token, 0, transfer, NULL, 0);
    }
}

TEST(agent_link, a_pull_without_room_begins_when_a_task_lets_go_of_the_copy_that_can_go_for_it)
{
    enum { SIZE = 600000 }; /* two do not fit */
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct core_client driver = bench_driver(&bench);
    struct object_id argument = { 71, 1 }, wanted = { 71, 2 };
    place(argument, SIZE);
    arrive(SIZE);
    bench_workers_come(&bench);
    struct bench_task task = bench_take(&bench);
    bench_names(&bench, driver, WIRE_HOLD, 0, wanted);
    bench_drain(&bench);
    uint64_t token = bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &wanted, 1);
    found(wanted, SIZE, 0);
    arrive(SIZE);
    CHECK_EQ(ready_of(driver, token), 0);
    size_t pulls = bench.pulls_count;
    bench_complete(&bench, &task, 0, "");
    CHECK(bench.pulls_count > pulls);
    const struct bench_pull *receive = bench_pull(&bench, AGENT_PULL_RECEIVE);
    bench_done(&bench, receive->token, 0, receive->command.transfer, NULL, 0);
    CHECK_EQ(ready_of(driver, token), 1);
    bench_end(&bench, false);
}
