#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;
static const struct core_peer head = { 0, 0 };

static void names(enum proto_kind kind, struct object_id id)
{
    struct proto_message message = { .kind = kind, .u.hold.objects = { &id, 1 } };
    bench_message(&bench, head, &message);
}

static void found(struct object_id id, uint64_t size, uint32_t columns)
{
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_message message = { .kind = PROTO_FOUND,
                                     .u.found = { .object = id,
                                                  .state = PROTO_SEALED,
                                                  .content = { .size = size, .columns = columns },
                                                  .holders = { holders, 1 } } };
    bench_message(&bench, head, &message);
}

static const struct bench_sent *busy_until_it_leaves(struct core_client driver, struct task_id *id_out)
{
    struct spec_draft draft = { .function = "f", .returns = 1 };
    for (int i = 0; i < 100 && bench_sent(&bench, PROTO_SUBMIT) == NULL; i++) {
        *id_out = bench_submit(&bench, driver, 0, &draft);
    }
    return bench_sent(&bench, PROTO_SUBMIT);
}

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
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    bench_tick(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_JOB_OPEN), 2); /* the first may be lost with its session */
    const struct bench_sent *submit = bench_sent(&bench, PROTO_SUBMIT);
    CHECK(submit != NULL && submit > bench_sent(&bench, PROTO_JOB_OPEN));
    CHECK(task_id_eq(submit->message.u.submit.task, id));
    bench_end(&bench, false);
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

/* A task of another node's job with one argument; two results. */
static size_t write_spec(struct object_id argument, unsigned char *bytes, size_t capacity)
{
    roost_in in = roost_in_ref(object_ref(argument));
    struct spec_draft draft = { .parent = { 3, 4 },
                                .job = { 3, 4 },
                                .function = "g",
                                .returns = 2,
                                .args = &in,
                                .args_count = 1,
                                .cpus_hundredths = 100 };
    size_t spec_bytes;
    CHECK_EQ(spec_measure(&draft, &spec_bytes), 0);
    CHECK(spec_bytes <= capacity);
    spec_write(&draft, bytes, spec_bytes);
    return spec_bytes;
}

static unsigned char placed[1024] __attribute__((__aligned__(8)));

static struct task_id placed_id(struct object_id argument)
{
    write_spec(argument, placed, sizeof placed);
    return ((struct spec *)(void *)placed)->task;
}

/* The peer sends the argument that is being pulled. */
static void give_argument(uint64_t size)
{
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = size } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, NULL, 0);
}

/* The job, and an attempt of the task, which the head places here; its argument is elsewhere. */
static struct task_id place_attempt(struct object_id argument, uint64_t size, uint32_t attempt)
{
    static unsigned char job_bytes[256] __attribute__((__aligned__(8)));
    struct job_spec *job = (struct job_spec *)(void *)job_bytes;
    *job = (struct job_spec){ .layout = JOB_LAYOUT, .bytes = sizeof job_bytes };
    struct proto_message open = {
        .kind = PROTO_JOB_OPEN, .u.job_open = { .job = { 3, 4 }, .name = "", .spec = { job_bytes, sizeof job_bytes } }
    };
    bench_message(&bench, head, &open);
    size_t spec_bytes = write_spec(argument, placed, sizeof placed);
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_task_arg arg = { .object = argument, .content = { .size = size }, .holders = { holders, 1 } };
    struct task_id id = ((struct spec *)(void *)placed)->task;
    struct proto_message task = {
        .kind = PROTO_TASK,
        .u.task = { .task = id, .attempt = attempt, .spec = { placed, spec_bytes }, .args = &arg, .args_count = 1 }
    };
    bench_message(&bench, head, &task);
    return id;
}

static struct task_id place(struct object_id argument, uint64_t size) { return place_attempt(argument, size, 0); }

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

/* A call of one result that leaves for another node; nobody here holds the result any more. */
static struct task_id leave_unheld(struct core_client driver)
{
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY, .call = 1 };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    CHECK(bench_sent(&bench, PROTO_SUBMIT) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    return id;
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
    struct proto_message back = { .kind = PROTO_HANDBACK, .u.handback = { .task = id, .reason = PROTO_HANDBACK_ROOM } };
    bench_message(&bench, head, &back);
    back.u.handback.reason = PROTO_HANDBACK_AGAIN;
    bench_message(&bench, head, &back);
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 2); /* which names the result */
    names(PROTO_GONE, result_id(id, 0));
    bench_tick(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_DROP), 2);
    bench_end(&bench, false);
}

TEST(agent_link, a_call_that_the_head_placed_at_its_home_ends_with_its_job)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct task_id id = leave_unheld(driver);
    bench_tick(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY, .call = 1 };
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
    names(PROTO_FREE, result_id(id, 0));
    bench_gone(&bench, driver, 0);
    bench_gone(&bench, attempt.client, 9);
    CHECK_EQ(bench_sent(&bench, PROTO_COMPLETE)->message.u.complete.died, true);
    bench_end(&bench, true);
}

TEST(agent_link, a_call_that_is_asked_for_again_and_is_over_is_taken_back)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    struct task_id over = { 12, 34 };
    struct proto_message back = { .kind = PROTO_HANDBACK,
                                  .u.handback = { .task = over, .reason = PROTO_HANDBACK_ROOM } };
    bench_message(&bench, head, &back);
    CHECK(bench_sent(&bench, PROTO_CANCEL) == NULL);
    back.u.handback.reason = PROTO_HANDBACK_AGAIN;
    bench_message(&bench, head, &back);
    CHECK(task_id_eq(bench_sent(&bench, PROTO_CANCEL)->message.u.cancel.task, over));
    bench_end(&bench, true);
}

TEST(agent_link, a_held_result_that_is_gone_after_it_was_found_is_asked_for_by_its_call_once_more)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY };
    struct object_id result = result_id(bench_submit(&bench, driver, 0, &draft), 0);
    found(result, 100, 0); /* a word on what an earlier attempt of the caller had let go of */
    names(PROTO_GONE, result);
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 2);
    CHECK(bench_find(&bench, result) == NULL); /* no failure */
    bench_end(&bench, false);
}

/* The node gives the name of a result to another one, which makes it public. */
static void give_away(struct object_id id)
{
    _Alignas(8) unsigned char bytes[sizeof(struct agent_names) + sizeof id];
    struct agent_names *given = (struct agent_names *)(void *)bytes;
    *given = (struct agent_names){ .peer = { BENCH_OTHER, 1 }, .count = 1 };
    given->ids[0] = id;
    bench_done(&bench, agent_token(AGENT_TOKEN_NAMES, 0), 0, 0, given, sizeof bytes);
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

/* The first result, which names `inner`. */
static void give_result_naming(const struct bench_task *task, struct object_id inner)
{
    roost_ref ref = object_ref(inner);
    struct object_id id = result_id(task->id, 0);
    _Alignas(8) unsigned char bytes[sizeof(struct wire_refs) + sizeof ref];
    struct wire_refs *told = (struct wire_refs *)(void *)bytes;
    *told = (struct wire_refs){ .head = { WIRE_REFS, sizeof bytes, 0 }, .container = id, .count = 1 };
    memcpy(told->refs, &ref, sizeof ref);
    bench_entry(&bench, task->client, &told->head);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, task->client, task->task.run, WIRE_ROOM_OBJECT, wire_object_bytes(10, 0, 1), &place),
             0);
    struct wire_result result = { .head = { WIRE_RESULT, sizeof result, 0 },
                                  .run = task->task.run,
                                  .object = { .id = id, .place = place, .size = 10, .refs = 1 } };
    bench_entry(&bench, task->client, &result.head);
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

TEST(agent_link, a_result_that_a_later_attempt_of_its_caller_names_again_is_made_known_again)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "parent", .returns = 1, .max_retries = 3 });
    struct bench_task parent = bench_take(&bench);
    struct spec_draft call = { .function = "child", .parent = parent.id, .call = 1, .returns = 1 };
    struct object_id result = result_id(bench_submit(&bench, parent.client, parent.task.run, &call), 0);
    struct bench_task child = bench_take(&bench);
    bench_result(&bench, &child, 0, 100);
    give_away(result);
    bench_complete(&bench, &child, 0, "");
    bench_names(&bench, parent.client, WIRE_FREE, parent.task.run, result);
    bench_gone(&bench, parent.client, 9);
    struct proto_message dead = { .kind = PROTO_DEAD, .u.dead = { BENCH_OTHER, 1 } };
    bench_message(&bench, head, &dead);
    bench_tick(&bench);
    CHECK(bench_sent_names(&bench, PROTO_DROP, result));
    parent = bench_take(&bench);
    bench_submit(&bench, parent.client, parent.task.run, &call);
    const struct proto_publish *publish = &bench_sent(&bench, PROTO_PUBLISH)->message.u.publish;
    CHECK_EQ(bench_sent_count(&bench, PROTO_PUBLISH), 3); /* pending, made, and now */
    CHECK(object_id_eq(publish->object, result) && publish->state == PROTO_SEALED && publish->located);
    names(PROTO_FREE, result); /* of what the head knew before */
    CHECK(bench_find(&bench, result) != NULL);
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
    uint32_t now = bench.head_mark;
    bench.head_mark = 0;
    names(PROTO_FREE, id); /* of what had this name before */
    CHECK(bench_find(&bench, id) != NULL);
    bench.head_mark = now;
    names(PROTO_FREE, id);
    CHECK(bench_find(&bench, id) == NULL);
    bench_end(&bench, true);
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
