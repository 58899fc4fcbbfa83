#include "tests/unit/worker/agent/core/link_bench.h"
#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/test.h"

#include <string.h>

struct bench bench;
const struct core_peer head = { 0, 0 };

void names(enum proto_kind kind, struct object_id id)
{
    struct proto_message message = { .kind = kind, .u.hold.objects = { &id, 1 } };
    bench_message(&bench, head, &message);
}

void found(struct object_id id, uint64_t size, uint32_t columns)
{
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_message message = { .kind = PROTO_FOUND,
                                     .u.found = { .object = id,
                                                  .state = PROTO_SEALED,
                                                  .content = { .size = size, .columns = columns },
                                                  .holders = { holders, 1 } } };
    bench_message(&bench, head, &message);
}

const struct bench_sent *busy_until_it_leaves(struct core_client driver, struct task_id *id_out)
{
    struct spec_draft draft = { .function = "f", .returns = 1 };
    for (int i = 0; i < 100 && bench_sent(&bench, PROTO_SUBMIT) == NULL; i++) {
        *id_out = bench_submit(&bench, driver, 0, &draft);
    }
    return bench_sent(&bench, PROTO_SUBMIT);
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

unsigned char placed[1024] __attribute__((__aligned__(8)));

struct task_id placed_id(struct object_id argument)
{
    write_spec(argument, placed, sizeof placed);
    return ((struct spec *)(void *)placed)->task;
}

void give_argument(uint64_t size)
{
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = size } } };
    bench_message(&bench, (struct core_peer){ BENCH_OTHER, 1 }, &answer);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, NULL, 0);
}

struct task_id place_attempt(struct object_id argument, uint64_t size, uint32_t attempt)
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

struct task_id place(struct object_id argument, uint64_t size) { return place_attempt(argument, size, 0); }

struct task_id call_elsewhere(struct core_client driver)
{
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY };
    return bench_submit(&bench, driver, 0, &draft);
}

void hand_back(struct task_id task, enum proto_handback_reason reason)
{
    struct proto_message back = { .kind = PROTO_HANDBACK, .u.handback = { .task = task, .reason = reason } };
    bench_message(&bench, head, &back);
}

struct task_id leave_unheld(struct core_client driver)
{
    struct spec_draft draft = { .function = "f", .returns = 1, .node = { 8, 8 }, .flags = SPEC_NODE_ONLY, .call = 1 };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    CHECK(bench_sent(&bench, PROTO_SUBMIT) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    return id;
}

void give_away(struct object_id id)
{
    _Alignas(8) unsigned char bytes[sizeof(struct agent_names) + sizeof id];
    struct agent_names *given = (struct agent_names *)(void *)bytes;
    *given = (struct agent_names){ .peer = { BENCH_OTHER, 1 }, .count = 1 };
    given->ids[0] = id;
    bench_done(&bench, agent_token(AGENT_TOKEN_NAMES, 0), 0, 0, given, sizeof bytes);
}

void give_result_naming(const struct bench_task *task, struct object_id inner)
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
