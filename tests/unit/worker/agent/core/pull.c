/* Which pulls begin, in which order, and which give up. */
#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;
static const struct core_peer head = { 0, 0 }, other = { BENCH_OTHER, 1 };

static const uint64_t patience_ns = (uint64_t)STORE_PATIENCE_MS * 1000000;

static struct core_client begin(uint64_t store_bytes)
{
    bench_start(&bench, store_bytes, 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    bench_tick(&bench);
    return driver;
}

static struct object_id nth(uint64_t number) { return (struct object_id){ 77, number }; }

/* The other node has it; `size` bytes. */
static void found(struct object_id id, uint64_t size)
{
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_message message = {
        .kind = PROTO_FOUND,
        .u.found = { .object = id, .state = PROTO_SEALED, .content = { .size = size }, .holders = { holders, 1 } }
    };
    bench_message(&bench, head, &message);
}

/* The transfer of the newest PULL for the object. */
static uint64_t transfer_of(struct object_id id)
{
    for (size_t i = bench.sent_count; i > 0; i--) {
        const struct proto_message *message = &bench.sent[i - 1].message;
        if (message->kind == PROTO_PULL && object_id_eq(object_id_of(message->u.pull.ref), id)) {
            return message->u.pull.token;
        }
    }
    CHECK(false);
    return 0;
}

/* The other node is ready to send it. */
static void offered(struct object_id id, uint64_t size)
{
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer_of(id), .content = { .size = size } } };
    bench_message(&bench, other, &answer);
}

static const struct bench_pull *receiving(struct object_id id)
{
    for (size_t i = bench.pulls_count; i > 0; i--) {
        const struct bench_pull *pull = &bench.pulls[i - 1];
        if (pull->command.op == AGENT_PULL_RECEIVE && pull->command.transfer == transfer_of(id)) {
            return pull;
        }
    }
    return NULL;
}

static void arrives(struct object_id id) { bench_done(&bench, receiving(id)->token, 0, transfer_of(id), NULL, 0); }

static uint64_t get(struct core_client driver, struct object_id id, uint64_t size)
{
    uint64_t token = bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &id, 1);
    found(id, size);
    return token;
}

/* A get whose bytes the other node is ready to send. */
static uint64_t get_offered(struct core_client driver, struct object_id id, uint64_t size)
{
    uint64_t token = get(driver, id, size);
    offered(id, size);
    return token;
}

static void leave(struct core_client driver, uint64_t token)
{
    struct wire_ask end = { .head = { WIRE_UNWAIT, sizeof end, token } };
    bench_entry(&bench, driver, &end.head);
}

static int ready_of(struct core_client driver, uint64_t token)
{
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    return ready != NULL && ready->head.token == token ? ready->ready[0] : 0;
}

/* The words that came with the answer to the wait. */
static const char *why_of(struct core_client driver, uint64_t token)
{
    static char text[WIRE_TEXT_BYTES_MAX + 1];
    const struct wire_why *why = bench_said(&bench, driver, WIRE_WHY);
    CHECK(why != NULL);
    CHECK_EQ(why->head.token, token);
    CHECK_EQ(why->index, 0);
    snprintf(text, sizeof text, "%.*s", (int)why->text_bytes, why->text);
    return text;
}

/* A task of the head's is placed here, with arguments of `size` bytes each that the other node has. */
static struct task_id place(uint64_t call, const struct object_id *arguments, uint32_t count, uint64_t size)
{
    enum { ARGUMENTS_MAX = 4 };
    static unsigned char job_bytes[256] __attribute__((__aligned__(8))),
        spec_bytes[1024] __attribute__((__aligned__(8)));
    *(struct job_spec *)(void *)job_bytes = (struct job_spec){ .layout = JOB_LAYOUT, .bytes = sizeof job_bytes };
    struct proto_message open = {
        .kind = PROTO_JOB_OPEN, .u.job_open = { .job = { 3, 4 }, .name = "", .spec = { job_bytes, sizeof job_bytes } }
    };
    bench_message(&bench, head, &open);
    static const uint32_t holders[] = { BENCH_OTHER };
    roost_in ins[ARGUMENTS_MAX];
    struct proto_task_arg args[ARGUMENTS_MAX];
    CHECK(count <= ARGUMENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ins[i] = roost_in_ref(object_ref(arguments[i]));
        args[i] =
            (struct proto_task_arg){ .object = arguments[i], .content = { .size = size }, .holders = { holders, 1 } };
    }
    struct spec_draft draft = { .parent = { 3, 4 },
                                .job = { 3, 4 },
                                .call = call,
                                .function = "g",
                                .returns = 1,
                                .args = ins,
                                .args_count = count,
                                .cpus_hundredths = 100 };
    size_t bytes;
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    CHECK(bytes <= sizeof spec_bytes);
    struct spec *spec = (struct spec *)(void *)spec_bytes;
    spec_write(&draft, spec, bytes);
    struct proto_message task = {
        .kind = PROTO_TASK,
        .u.task = { .task = spec->task, .spec = { spec, bytes }, .args = args, .args_count = count, .attempt = 1 }
    };
    bench_message(&bench, head, &task);
    return spec->task;
}

/* With one, which the other node is ready to send. */
static struct task_id place_offered(uint64_t call, struct object_id argument, uint64_t size)
{
    struct task_id id = place(call, &argument, 1, size);
    offered(argument, size);
    return id;
}

/* What the head was told of the task's end here, or NULL. */
static const struct bench_sent *completion(struct task_id id)
{
    const struct bench_sent *sent = bench_sent(&bench, PROTO_COMPLETE);
    return sent != NULL && task_id_eq(sent->message.u.complete.task, id) ? sent : NULL;
}

/* ---- no room ---- */

TEST(agent_pull, what_the_store_can_never_hold_is_refused_at_once_in_words_and_its_holder_is_told)
{
    struct core_client driver = begin(ROOST_MIB(1));
    struct object_id large = nth(1);
    uint64_t token = get_offered(driver, large, 3000000);
    CHECK_EQ(ready_of(driver, token), ROOST_EFULL);
    char id[ID_TEXT_BYTES];
    const char *why = why_of(driver, token);
    CHECK(strstr(why, object_id_print(large, id)) != NULL);
    CHECK(strstr(why, "3000000 bytes") != NULL);
    CHECK(strstr(why, "1048576") != NULL);
    const struct bench_sent *done = bench_sent(&bench, PROTO_PULL_DONE);
    CHECK(done != NULL && done->message.u.pull_done.token == transfer_of(large));
    CHECK_EQ(done->message.u.pull_done.status, ROOST_ECANCELED);
    CHECK(receiving(large) == NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, a_task_whose_argument_the_store_can_never_hold_fails_and_says_why)
{
    begin(ROOST_MIB(1));
    struct task_id id = place_offered(1, nth(1), 3000000);
    char text[ID_TEXT_BYTES];
    const struct bench_sent *complete = completion(id);
    CHECK(complete != NULL);
    CHECK_EQ(complete->failure_status, ROOST_EFULL);
    CHECK(strstr(complete->failure_text, object_id_print(nth(1), text)) != NULL);
    CHECK(strstr(complete->failure_text, "3000000 bytes") != NULL);
    CHECK(strstr(complete->failure_text, "1048576") != NULL);
    CHECK_EQ(bench_sent_count(&bench, PROTO_COMPLETE), 1);
    CHECK_EQ(agent_counts(bench.agent).tasks_waiting, 0);
    bench_end(&bench, false);
}

TEST(agent_pull, what_has_no_room_now_is_refused_when_the_store_s_patience_ends_and_not_before)
{
    struct core_client driver = begin(ROOST_MIB(1));
    struct object_id all = bench_put(&bench, driver, ROOST_MIB(1) - 4096, NULL, 0);
    uint64_t began_ns = bench.now_ns, token = get_offered(driver, nth(1), 100000);
    bench_time(&bench, began_ns + patience_ns - 1);
    CHECK_EQ(ready_of(driver, token), 0);
    bench_time(&bench, began_ns + patience_ns);
    CHECK_EQ(ready_of(driver, token), ROOST_EFULL);
    CHECK(strstr(why_of(driver, token), "100000 bytes") != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, all); /* the object is as good as before: */
    token = get(driver, nth(1), 100000);
    offered(nth(1), 100000);
    arrives(nth(1));
    CHECK_EQ(ready_of(driver, token), 1);
    bench_end(&bench, false);
}

TEST(agent_pull, one_that_is_refused_makes_way_for_those_behind_it_that_fit)
{
    struct core_client driver = begin(ROOST_MIB(1));
    bench_put(&bench, driver, ROOST_MIB(1) / 2, NULL, 0);
    uint64_t large = get_offered(driver, nth(1), 900000), small = get_offered(driver, nth(2), 1000);
    CHECK(receiving(nth(2)) == NULL); /* nobody overtakes */
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK_EQ(ready_of(driver, large), ROOST_EFULL);
    arrives(nth(2));
    CHECK_EQ(ready_of(driver, small), 1);
    bench_end(&bench, false);
}

/* Room for one of two arguments; the task of the first goes on waiting, for another argument. The second's task. */
static struct task_id first_of_two_begins(uint64_t after_ns)
{
    struct core_client driver = begin(ROOST_MIB(1));
    struct object_id half[2] = { bench_put(&bench, driver, 500000, NULL, 0),
                                 bench_put(&bench, driver, 500000, NULL, 0) };
    place(1, (struct object_id[]){ nth(1), nth(9) }, 2, 400000);
    offered(nth(1), 400000);
    struct task_id second = place_offered(2, nth(2), 400000);
    bench_time(&bench, bench.now_ns + after_ns);
    bench_names(&bench, driver, WIRE_FREE, 0, half[0]);
    CHECK(receiving(nth(1)) != NULL && receiving(nth(2)) == NULL);
    return second;
}

TEST(agent_pull, patience_begins_again_whenever_room_has_come_for_another)
{
    struct task_id second = first_of_two_begins(patience_ns / 2);
    arrives(nth(1));
    bench_time(&bench, bench.now_ns + patience_ns - 1);
    CHECK(completion(second) == NULL);
    bench_time(&bench, bench.now_ns + 1);
    CHECK(completion(second) != NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, nobody_s_patience_ends_while_something_comes)
{
    struct task_id second = first_of_two_begins(patience_ns / 2);
    for (int i = 0; i < 5; i++) {
        bench_time(&bench, bench.now_ns + patience_ns);
        CHECK(completion(second) == NULL);
    }
    arrives(nth(1));
    CHECK(completion(second) == NULL);
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK(completion(second) != NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, who_asks_when_those_before_have_left_has_all_of_the_patience)
{
    struct core_client driver = begin(ROOST_MIB(1));
    bench_put(&bench, driver, ROOST_MIB(1) - 4096, NULL, 0);
    uint64_t left = get_offered(driver, nth(1), 100000);
    bench_names(&bench, driver, WIRE_HOLD, 0, nth(1));
    bench_time(&bench, bench.now_ns + patience_ns - 1);
    leave(driver, left);
    uint64_t token = bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, (struct object_id[]){ nth(1) }, 1);
    bench_time(&bench, bench.now_ns + patience_ns - 1);
    CHECK_EQ(ready_of(driver, token), 0);
    bench_time(&bench, bench.now_ns + 1);
    CHECK_EQ(ready_of(driver, token), ROOST_EFULL);
    bench_end(&bench, false);
}

TEST(agent_pull, a_task_s_argument_waits_for_a_task_that_runs_and_reads_what_is_in_its_way)
{
    enum { SIZE = 600000 }; /* two do not fit */
    begin(ROOST_MIB(1));
    place_offered(1, nth(1), SIZE);
    arrives(nth(1));
    struct bench_task running = bench_take(&bench);
    struct task_id waits = place_offered(2, nth(2), SIZE);
    bench_time(&bench, bench.now_ns + 3 * patience_ns);
    CHECK(completion(waits) == NULL);
    bench_complete(&bench, &running, 0, "");
    arrives(nth(2));
    CHECK(task_id_eq(bench_take(&bench).id, waits));
    bench_end(&bench, false);
}

TEST(agent_pull, a_task_s_argument_does_not_wait_for_a_task_that_waits_itself)
{
    enum { SIZE = 600000 };
    begin(ROOST_MIB(1));
    place_offered(1, nth(1), SIZE);
    arrives(nth(1));
    struct bench_task blocked = bench_take(&bench);
    bench_wait(&bench, blocked.client, blocked.task.run, WIRE_WAIT_BLOCKS, 1, &(struct object_id){ 4711, 1 }, 1);
    struct task_id waits = place_offered(2, nth(2), SIZE);
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK(completion(waits) != NULL);
    CHECK_EQ(completion(waits)->failure_status, ROOST_EFULL);
    bench_end(&bench, false);
}

TEST(agent_pull, a_task_s_argument_waits_for_a_task_that_will_run_and_reads_what_is_in_its_way)
{
    enum { SIZE = 600000 };
    struct core_client driver = begin(ROOST_MIB(1));
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    struct bench_task busy = bench_take(&bench); /* has the one CPU */
    struct task_id first = place_offered(1, nth(1), SIZE);
    arrives(nth(1));
    CHECK_EQ(agent_counts(bench.agent).tasks_ready, 1);
    struct task_id waits = place_offered(2, nth(2), SIZE);
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK(completion(waits) == NULL);
    bench_complete(&bench, &busy, 0, "");
    struct bench_task task = bench_take(&bench);
    CHECK(task_id_eq(task.id, first));
    bench_complete(&bench, &task, 0, "");
    CHECK(receiving(nth(2)) != NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, of_two_tasks_that_read_what_is_in_each_other_s_way_one_fails_and_the_other_runs)
{
    enum { SIZE = 400000 }; /* three do not fit */
    begin(ROOST_MIB(1));
    struct task_id ids[2] = { place(1, (struct object_id[]){ nth(1), nth(2) }, 2, SIZE),
                              place(2, (struct object_id[]){ nth(3), nth(4) }, 2, SIZE) };
    static const uint64_t order[] = { 1, 3, 2, 4 };
    for (int i = 0; i < 4; i++) {
        offered(nth(order[i]), SIZE);
    }
    arrives(nth(1));
    arrives(nth(3));
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK(completion(ids[0]) != NULL);
    CHECK_EQ(completion(ids[0])->failure_status, ROOST_EFULL);
    arrives(nth(4));
    CHECK(task_id_eq(bench_take(&bench).id, ids[1]));
    CHECK_EQ(bench_sent_count(&bench, PROTO_COMPLETE), 1);
    bench_end(&bench, false);
}

TEST(agent_pull, each_get_has_its_own_patience_from_the_moment_it_could_begin)
{
    struct core_client driver = begin(ROOST_MIB(1));
    bench_put(&bench, driver, ROOST_MIB(1) - 4096, NULL, 0);
    uint64_t began_ns = bench.now_ns, first = get_offered(driver, nth(1), 100000), second = get(driver, nth(2), 100000);
    bench_time(&bench, began_ns + patience_ns / 2);
    offered(nth(2), 100000);
    bench_time(&bench, began_ns + patience_ns);
    CHECK_EQ(ready_of(driver, first), ROOST_EFULL);
    CHECK_EQ(ready_of(driver, second), 0);
    bench_time(&bench, began_ns + patience_ns * 3 / 2);
    CHECK_EQ(ready_of(driver, second), ROOST_EFULL);
    bench_end(&bench, false);
}

TEST(agent_pull, free_bytes_that_lie_in_two_places_are_not_waited_for_in_vain)
{
    struct core_client driver = begin(ROOST_MIB(1));
    struct object_id first = bench_put(&bench, driver, 300000, NULL, 0);
    bench_put(&bench, driver, 300000, NULL, 0);
    bench_names(&bench, driver, WIRE_FREE, 0, first);
    uint64_t token = get_offered(driver, nth(1), 500000);
    bench_time(&bench, bench.now_ns + patience_ns);
    CHECK_EQ(ready_of(driver, token), ROOST_EFULL);
    bench_end(&bench, false);
}

TEST(agent_pull, the_time_that_others_bytes_took_is_no_part_of_the_patience)
{
    struct core_client driver = begin(ROOST_GIB(1));
    bench_put(&bench, driver, ROOST_MIB(800), NULL, 0);
    uint64_t comes = get_offered(driver, nth(1), ROOST_MIB(200)), no_room = get_offered(driver, nth(2), ROOST_MIB(50)),
             waits = get_offered(driver, nth(3), ROOST_MIB(100)); /* too much at once, as long as the first one comes */
    leave(driver, no_room);
    bench_time(&bench, bench.now_ns + 2 * patience_ns);
    leave(driver, comes); /* what has come of it is still being written: now only room is wanted */
    bench_time(&bench, bench.now_ns + patience_ns - 1);
    CHECK_EQ(ready_of(driver, waits), 0);
    bench_time(&bench, bench.now_ns + 1);
    CHECK_EQ(ready_of(driver, waits), ROOST_EFULL);
    bench_end(&bench, false);
}

/* ---- lanes ---- */

/* Of the newest range that was asked for of the object. */
static uint32_t stream_of(struct object_id id)
{
    for (size_t i = bench.sent_count; i > 0; i--) {
        const struct proto_message *message = &bench.sent[i - 1].message;
        if (message->kind == PROTO_PULL_STREAM && message->u.pull_stream.token == transfer_of(id)) {
            return message->u.pull_stream.stream;
        }
    }
    CHECK(false);
    return 0;
}

TEST(agent_pull, a_get_does_not_queue_behind_what_is_brought_ahead_and_has_streams_of_its_own)
{
    struct core_client driver = begin(ROOST_GIB(1));
    place_offered(1, nth(1), ROOST_MIB(200));
    place_offered(2, nth(2), ROOST_MIB(100));
    CHECK(receiving(nth(1)) != NULL && receiving(nth(2)) == NULL);
    get_offered(driver, nth(3), ROOST_MIB(200));
    CHECK(receiving(nth(3)) != NULL);
    get_offered(driver, nth(4), ROOST_MIB(100)); /* it has a limit too */
    CHECK(receiving(nth(4)) == NULL);
    CHECK(stream_of(nth(1)) >= PULL_STREAMS_MAX);
    CHECK(stream_of(nth(3)) < PULL_STREAMS_MAX);
    bench_end(&bench, false);
}

TEST(agent_pull, what_is_brought_ahead_pauses_while_gets_take_all_there_is)
{
    struct core_client driver = begin(ROOST_GIB(1));
    get_offered(driver, nth(1), ROOST_MIB(200));
    place_offered(1, nth(2), ROOST_MIB(100));
    CHECK(receiving(nth(2)) == NULL);
    arrives(nth(1));
    CHECK(receiving(nth(2)) != NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, what_was_to_be_brought_ahead_comes_at_once_when_somebody_blocks_on_it)
{
    struct core_client driver = begin(ROOST_GIB(1));
    place_offered(1, nth(1), ROOST_MIB(200));
    place_offered(2, nth(2), ROOST_MIB(100));
    place_offered(3, nth(3), ROOST_MIB(100));
    get(driver, nth(3), ROOST_MIB(100));
    CHECK(receiving(nth(2)) == NULL && receiving(nth(3)) != NULL);
    CHECK(stream_of(nth(3)) < PULL_STREAMS_MAX);
    bench_end(&bench, false);
}

TEST(agent_pull, the_holder_is_told_when_somebody_blocks_on_what_comes_already_and_others_have_its_place)
{
    struct core_client driver = begin(ROOST_GIB(1));
    place_offered(1, nth(1), ROOST_MIB(200));
    place_offered(2, nth(2), ROOST_MIB(40));
    uint64_t transfer = transfer_of(nth(1));
    size_t pulls = bench_sent_count(&bench, PROTO_PULL);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to say */
        get(driver, nth(1), ROOST_MIB(200));
        CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), pulls + 1);
    }
    const struct proto_pull *said = &bench_sent(&bench, PROTO_PULL)->message.u.pull;
    CHECK_EQ(said->token, transfer);
    CHECK_EQ(said->priority, PROTO_PULL_BLOCKED);
    get_offered(driver, nth(3), ROOST_MIB(100)); /* its bytes are of this lane now */
    CHECK(receiving(nth(3)) == NULL);
    arrives(nth(1));
    CHECK(receiving(nth(3)) != NULL);
    arrives(nth(2));
    arrives(nth(3));
    place_offered(3, nth(4), ROOST_MIB(256)); /* and all of them are accounted for */
    CHECK(receiving(nth(4)) != NULL);
    bench_end(&bench, false);
}

TEST(agent_pull, a_task_that_wants_what_is_prefetched_is_no_reason_to_change_lanes)
{
    struct core_client driver = begin(ROOST_MIB(1));
    bench_names(&bench, driver, WIRE_HOLD, 0, nth(1));
    bench_drain(&bench);
    found(nth(1), 1000);
    struct wire_ask prefetch = { .head = { WIRE_PREFETCH, sizeof prefetch, 0 }, .ref = object_ref(nth(1)) };
    bench_entry(&bench, driver, &prefetch.head);
    offered(nth(1), 1000);
    CHECK(receiving(nth(1)) != NULL);
    place(1, (struct object_id[]){ nth(1) }, 1, 1000);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 1);
    arrives(nth(1));
    CHECK_EQ(agent_counts(bench.agent).tasks_running + agent_counts(bench.agent).tasks_ready, 1);
    bench_end(&bench, false);
}

TEST(agent_pull, a_holder_lets_a_transfer_change_lanes_when_it_is_asked_for_again)
{
    struct core_client driver = begin(ROOST_MIB(1));
    struct object_id id = bench_put(&bench, driver, 1000, NULL, 0);
    struct proto_message pull = { .kind = PROTO_PULL,
                                  .u.pull = { .token = 5, .ref = object_ref(id), .priority = PROTO_PULL_PREFETCH } };
    bench_message(&bench, other, &pull);
    const struct bench_pull *open = bench_pull(&bench, AGENT_PULL_OPEN);
    CHECK(open != NULL && bench_pull(&bench, AGENT_PULL_RAISE) == NULL);
    pull.u.pull.priority = PROTO_PULL_BLOCKED;
    bench_message(&bench, other, &pull);
    CHECK(bench_pull(&bench, AGENT_PULL_OPEN) == open);
    const struct bench_pull *change = bench_pull(&bench, AGENT_PULL_RAISE);
    CHECK(change != NULL && change->command.transfer == 5);
    CHECK_EQ(change->command.peer.node, BENCH_OTHER);
    struct proto_message done = { .kind = PROTO_PULL_DONE, .u.pull_done = { .token = 5 } };
    bench_message(&bench, other, &done);
    bench_names(&bench, driver, WIRE_FREE, 0, id);
    bench_end(&bench, true);
}

TEST(agent_pull, of_the_copies_that_could_go_one_that_was_read_lately_goes_last)
{
    enum { SIZE = 300 << 10 };
    struct core_client driver = begin(ROOST_MIB(1));
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK(!agent_wants_touches(bench.agent));
        bench_names(&bench, driver, WIRE_HOLD, 0, nth(i));
        bench_drain(&bench);
        get_offered(driver, nth(i), SIZE);
        arrives(nth(i));
    }
    CHECK(agent_wants_touches(bench.agent));
    struct {
        struct agent_names names;
        struct object_id ids[2];
    } touched = { .names.count = 2, .ids = { nth(1), nth(99) } };
    bench_done(&bench, agent_token(AGENT_TOKEN_TOUCHED, 0), 0, 0, &touched, sizeof touched);
    bench_time(&bench, bench.now_ns + 10000000); /* who waited for them has seen them */
    get_offered(driver, nth(4), SIZE);
    CHECK_EQ(bench_find(&bench, nth(1))->op, AGENT_ENTRY_PUBLISH);
    CHECK_EQ(bench_find(&bench, nth(2))->op, AGENT_ENTRY_EVICT);
    CHECK_EQ(bench_find(&bench, nth(3))->op, AGENT_ENTRY_PUBLISH);
    bench_end(&bench, false);
}

TEST(agent_pull, a_copy_that_has_come_for_somebody_is_to_be_seen_before_it_goes_for_others)
{
    enum { SIZE = 600 << 10 }; /* two do not fit */
    struct core_client driver = begin(ROOST_MIB(1));
    bench_names(&bench, driver, WIRE_HOLD, 0, nth(1));
    bench_drain(&bench);
    get_offered(driver, nth(1), SIZE);
    struct wire_place place;
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, SIZE, &place), 1); /* it waits */
    arrives(nth(1));
    CHECK_EQ(bench_find(&bench, nth(1))->op, AGENT_ENTRY_PUBLISH);
    bench_time(&bench, bench.now_ns + 10000000);
    CHECK_EQ(bench_find(&bench, nth(1))->op, AGENT_ENTRY_EVICT);
    bench_end(&bench, false);
}
