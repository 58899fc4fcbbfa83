/* Tasks of the head's that wait here for what others of the head's make here. */
#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;
static const struct core_peer head = { 0, 0 };

/* The job of another node, and tasks of it. */
static void start(void)
{
    static unsigned char bytes[256] __attribute__((__aligned__(8)));
    struct job_spec *job = (struct job_spec *)(void *)bytes;
    *job = (struct job_spec){ .layout = JOB_LAYOUT, .bytes = sizeof bytes };
    struct proto_message open = { .kind = PROTO_JOB_OPEN,
                                  .u.job_open = { .job = { 3, 4 }, .name = "", .spec = { bytes, sizeof bytes } } };
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    bench_message(&bench, head, &open);
}

/* The head places a call here; what it reads, if anything, is not made yet. */
static struct task_id place(uint64_t call, const struct task_id *before)
{
    static unsigned char bytes[1024] __attribute__((__aligned__(8)));
    roost_in in = roost_in_ref(object_ref(before == NULL ? (struct object_id){ 0, 0 } : result_id(*before, 0)));
    struct spec_draft draft = { .parent = { 3, 4 },
                                .job = { 3, 4 },
                                .function = "f",
                                .call = call,
                                .returns = 1,
                                .args = &in,
                                .args_count = before != NULL,
                                .max_retries = 3,
                                .cpus_hundredths = 100 };
    size_t size;
    CHECK_EQ(spec_measure(&draft, &size), 0);
    CHECK(size <= sizeof bytes);
    const struct spec *spec = (struct spec *)(void *)bytes;
    spec_write(&draft, (struct spec *)(void *)bytes, size);
    struct proto_task_arg arg = { .object = before == NULL ? (struct object_id){ 0, 0 } : result_id(*before, 0) };
    struct proto_message task = { .kind = PROTO_TASK,
                                  .u.task = { .task = spec->task,
                                              .attempt = 1,
                                              .spec = { bytes, size },
                                              .args = &arg,
                                              .args_count = before != NULL } };
    bench_message(&bench, head, &task);
    return spec->task;
}

static struct bench_task run_one(void)
{
    struct bench_task task = bench_take(&bench);
    bench_result(&bench, &task, 0, 16);
    bench_complete(&bench, &task, 0, "");
    return task;
}

TEST(agent_follow, a_chain_of_the_head_s_runs_without_a_word_of_the_head)
{
    start();
    struct task_id first = place(1, NULL), second = place(2, &first), third = place(3, &second);
    CHECK(task_id_eq(run_one().id, first));
    CHECK(task_id_eq(run_one().id, second));
    CHECK(task_id_eq(run_one().id, third));
    CHECK_EQ(bench_sent_count(&bench, PROTO_COMPLETE), 3);
    CHECK_EQ(bench_sent_count(&bench, PROTO_WANT), 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_PULL), 0);
    bench_end(&bench, false);
}

TEST(agent_follow, who_waits_for_a_task_whose_worker_dies_asks_the_head)
{
    start();
    struct task_id first = place(1, NULL), second = place(2, &first);
    struct bench_task running = bench_take(&bench);
    CHECK_EQ(bench_sent_count(&bench, PROTO_WANT), 0);
    bench_gone(&bench, running.client, 9);
    CHECK_EQ(bench_sent(&bench, PROTO_COMPLETE)->message.u.complete.died, true);
    CHECK(bench_sent_names(&bench, PROTO_WANT, result_id(first, 0)));
    static const uint32_t holders[] = { BENCH_OTHER }; /* it was made there instead */
    struct proto_message found = { .kind = PROTO_FOUND,
                                   .u.found = { .object = result_id(first, 0),
                                                .state = PROTO_SEALED,
                                                .content = { .size = 16, .version = 2 },
                                                .holders = { holders, 1 } } };
    bench_message(&bench, head, &found);
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = 16, .version = 2 } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, NULL, 0);
    CHECK(task_id_eq(run_one().id, second));
    bench_end(&bench, false);
}

TEST(agent_follow, who_waits_for_a_call_that_leaves_for_the_head_asks_the_head)
{
    start();
    struct core_client driver = bench_driver(&bench);
    struct object_id input = { 77, 1 };
    bench_names(&bench, driver, WIRE_HOLD, 0, input);
    bench_drain(&bench); /* nobody here knows it */
    roost_in in = roost_in_ref(object_ref(input));
    struct spec_draft draft = { .function = "f", .returns = 1, .args = &in, .args_count = 1 };
    struct task_id call = bench_submit(&bench, driver, 0, &draft);
    place(1, &call);
    CHECK(!bench_sent_names(&bench, PROTO_WANT, result_id(call, 0)));
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 0);
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_message found = {
        .kind = PROTO_FOUND,
        .u.found = { .object = input, .state = PROTO_SEALED, .content = { .size = 16 }, .holders = { holders, 1 } }
    };
    bench_message(&bench, head, &found); /* the call goes where its bytes are */
    CHECK_EQ(bench_sent_count(&bench, PROTO_SUBMIT), 1);
    CHECK(bench_sent_names(&bench, PROTO_WANT, result_id(call, 0)));
    bench_end(&bench, false);
}

TEST(agent_follow, who_waits_for_a_canceled_task_asks_the_head_and_fails_by_its_word)
{
    start();
    struct task_id running = place(1, NULL), first = place(2, NULL), second = place(3, &first);
    struct proto_message cancel = { .kind = PROTO_CANCEL, .u.cancel = { .task = first, .attempt = 1 } };
    bench_message(&bench, head, &cancel);
    CHECK(bench_sent_names(&bench, PROTO_WANT, result_id(first, 0)));
    struct proto_failure words = { .status = ROOST_ECANCELED, .function = "f", .node = "there", .text = "canceled" };
    struct proto_message found = {
        .kind = PROTO_FOUND, .u.found = { .object = result_id(first, 0), .state = PROTO_FAILED, .failure = &words }
    };
    bench_message(&bench, head, &found);
    const struct bench_sent *complete = bench_sent(&bench, PROTO_COMPLETE);
    CHECK(task_id_eq(complete->message.u.complete.task, second));
    CHECK(complete->failure_status != 0);
    CHECK(task_id_eq(run_one().id, running));
    bench_end(&bench, false);
}
