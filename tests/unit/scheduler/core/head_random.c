/* Agents that say anything at any time, sensible or not: the head never breaks a contract of its own, and when all is
 * quiet and unnamed nothing is left. */
#include "objectstore/table.h"
#include "tests/lib/head_bench.h"
#include "tests/lib/test.h"

enum { AGENTS = 4, IDS = 24, TASKS = 256, STEPS = 3000 };

static struct bench bench;
static uint64_t state;
static struct object_id ids[IDS];
static struct spec *specs[TASKS];
static uint32_t specs_count;

static uint32_t below(uint32_t limit)
{
    state = hash_mix(state, 1);
    return (uint32_t)(state >> 32) % limit;
}

static struct object_id any_id(void)
{
    if (specs_count > 0 && below(3) == 0) {
        return result_id(specs[specs_count - 1 - below(specs_count < 8 ? specs_count : 8)]->task, below(2));
    }
    return ids[below(IDS)];
}

/* What `outer` may contain without a cycle, which would stay. */
static struct object_id any_inner(struct object_id outer)
{
    uint32_t limit = outer.hi == 9 ? (uint32_t)outer.lo - 1 : IDS;
    return limit == 0 ? (struct object_id){ 8, 1 } : ids[below(limit)];
}

/* Mostly what bench_location() says, too. */
static struct proto_content any_content(void)
{
    if (below(12) == 0) {
        return (struct proto_content){ .size = below(3) * 1000, .fingerprint = below(2), .version = below(3) };
    }
    return (struct proto_content){
        .size = 1000, .fingerprint = 31007, .columns = below(3), .format = below(2) == 0 ? TABLE_FORWARD : TABLE_RAW
    };
}

static void say_names(uint32_t i)
{
    static const enum proto_kind kinds[] = { PROTO_HOLD, PROTO_DROP, PROTO_DROP, PROTO_WANT, PROTO_UNWANT };
    bench_names(&bench, i, kinds[below(5)], any_id());
}

static void say_publish(uint32_t i)
{
    struct object_id outer = any_id(), inner[2] = { any_inner(outer), any_inner(outer) };
    struct proto_failure failure = { .status = ROOST_EFAILED, .function = "f", .node = "", .text = "no" };
    struct proto_message message = { .kind = PROTO_PUBLISH };
    struct proto_publish *publish = &message.u.publish;
    publish->object = outer;
    publish->state = (enum proto_object_state)(PROTO_PENDING + below(3));
    publish->content = publish->state == PROTO_SEALED ? any_content() : publish->content;
    publish->located = publish->state == PROTO_SEALED && below(4) > 0;
    publish->has_value = publish->state == PROTO_SEALED && below(4) == 0;
    publish->value = publish->has_value ? (struct proto_bytes){ "value", 5 } : publish->value;
    publish->contained = publish->state == PROTO_SEALED ? (struct proto_objects){ inner, below(3) }
                                                        : publish->contained;
    publish->failure = publish->state == PROTO_FAILED ? &failure : NULL;
    if (specs_count > 0 && below(2) == 0) {
        const struct spec *spec = specs[below(specs_count)];
        publish->task = spec->task;
        publish->spec = (struct proto_bytes){ spec, below(2) == 0 ? spec->bytes : 0 };
    }
    bench_say(&bench, i, &message);
}

static void say_submit(uint32_t i)
{
    const struct spec *spec;
    if (specs_count < TASKS && below(3) > 0) {
        roost_in args[3] = { bench_ref(any_id()), roost_in_handle(object_ref(any_id())), bench_gather(any_id()) };
        struct bench_call call = { .args = args + below(2),
                                   .args_count = below(3),
                                   .returns = below(3),
                                   .max_retries = (int32_t)below(3),
                                   .flags = below(SPEC_FLAGS_ALL + 1),
                                   .cpus_hundredths = 50 + below(4) * 100 };
        if (below(3) == 0) {
            call.node = bench.agents[below(AGENTS)].id;
        }
        spec = specs[specs_count++] = bench_spec(&bench, &call);
    } else if (specs_count > 0) {
        spec = specs[below(specs_count)];
    } else {
        return;
    }
    struct proto_message message = { .kind = PROTO_SUBMIT };
    message.u.submit = (struct proto_submit){ .task = spec->task, .spec = { spec, spec->bytes } };
    bench_say(&bench, i, &message);
}

static void say_end_of_attempt(uint32_t i)
{
    if (specs_count == 0) {
        return;
    }
    struct task_id task = specs[below(specs_count)]->task;
    uint32_t at = bench_placed(&bench, task);
    at = at < AGENTS && bench.agents[at].is_up && below(8) > 0 ? at : i;
    uint32_t attempt = below(4) == 0 ? 1 + below(3) : bench_attempt(&bench, task);
    struct proto_message message = { .kind = PROTO_HANDBACK };
    switch (below(10)) {
    case 0:
        bench_fail(&bench, at, task, attempt, ROOST_EWORKER, below(2) == 0);
        break;
    case 1:
        message.u.handback = (struct proto_handback){ task, attempt, PROTO_HANDBACK_ROOM, "full" };
        bench_say(&bench, at, &message);
        break;
    case 2:
        message.kind = PROTO_CANCEL;
        message.u.cancel = (struct proto_cancel){ task, 0, false };
        bench_say(&bench, i, &message);
        break;
    default:
        bench_complete(&bench, at, task, attempt, below(8) == 0 ? below(3) : 2, 1000);
    }
}

static void say_list(uint32_t i)
{
    struct proto_list_task tasks[3];
    for (uint32_t k = 0; k < 3 && specs_count > 0; k++) {
        const struct spec *spec = specs[below(specs_count)];
        tasks[k] = (struct proto_list_task){ spec->task,
                                             below(3),
                                             (enum proto_task_state)(PROTO_TASK_QUEUED + below(4)),
                                             { spec, below(2) == 0 ? spec->bytes : 0 } };
    }
    struct proto_list_object objects[4];
    for (uint32_t k = 0; k < 4; k++) {
        objects[k] = (struct proto_list_object){ .object = any_id(),
                                                 .held = below(2) == 0,
                                                 .stored = below(2) == 0,
                                                 .state = PROTO_SEALED,
                                                 .content = any_content() };
    }
    struct proto_message parts[5] = { { .kind = PROTO_LIST_BEGIN },
                                      { .kind = PROTO_LIST_TASKS },
                                      { .kind = PROTO_LIST_PLACED },
                                      { .kind = PROTO_LIST_OBJECTS },
                                      { .kind = PROTO_LIST_END } };
    for (uint32_t k = 0; k < 5; k++) {
        parts[k].u.list_begin.list = k == 0 || k == 2 || k == 4 ? 1 : 0;
    }
    parts[1].u.list_tasks = (struct proto_list_tasks){ tasks, specs_count > 0 ? 3 : 0 };
    parts[3].u.list_objects = (struct proto_list_objects){ objects, 4 };
    for (uint32_t k = 0; k < 5; k++) {
        bench_say(&bench, i, &parts[k]);
        if (below(4) == 0 && bench.agents[i].is_up) {
            say_names(i);
        }
    }
}

static void come_or_go(uint32_t i)
{
    if (!bench.agents[i].is_up) {
        if (below(2) == 0) {
            bench_agent(&bench, i, 1 + below(3));
        } else {
            bench_agent_again(&bench, i);
        }
        bench_job(&bench, i);
        say_list(i);
    } else if (below(3) == 0) {
        bench_lost(&bench, i);
    } else if (below(3) == 0) {
        bench_pass(&bench, below(NODE_DEAD_MS), true);
    } else if (below(12) == 0) {
        bench_restart(&bench);
    } else {
        bench.agents[i].is_deaf = below(2) == 0;
        if (!bench.agents[i].is_deaf) {
            bench_hear(&bench, i);
        }
    }
}

static void say_other(uint32_t i)
{
    struct object_id outer = any_id(), inner = any_inner(outer);
    struct proto_message message = { .kind = PROTO_EDGES, .u.edges = { outer, { &inner, 1 } } };
    switch (below(5)) {
    case 0:
        bench_say(&bench, i, &message);
        break;
    case 1:
        message.kind = PROTO_JOB_END;
        message.u.job_end = (struct proto_job_end){ bench.job };
        if (below(60) == 0) {
            bench_say(&bench, i, &message);
        }
        break;
    case 2:
        message.kind = PROTO_LOAD;
        message.u.load = (struct proto_load){ .cpus_free_hundredths = below(400) };
        bench_say(&bench, i, &message);
        break;
    case 3:
        bench_job(&bench, i);
        break;
    default:
        bench_location(&bench, i, any_id(), below(12) == 0 ? 0 : 1000, below(2) == 0);
    }
}

static void one_thing(void)
{
    uint32_t i = below(AGENTS), what = below(16);
    if (bench.said_count > BENCH_SAID_MAX / 2) {
        bench_forget(&bench);
    }
    bench.closed_count = 0;
    if (bench.agents[i].is_up && bench_last(&bench, i, PROTO_LIST) != NULL && below(8) == 0) {
        say_list(i); /* as it was asked to */
    }
    if (what == 0 || !bench.agents[i].is_up) {
        come_or_go(i);
    } else if (what < 5) {
        say_names(i);
    } else if (what < 8) {
        say_publish(i);
    } else if (what < 11) {
        say_submit(i);
    } else if (what < 14) {
        say_end_of_attempt(i);
    } else {
        say_other(i);
    }
}

/* The job ends, every agent begins a new life and lists nothing: then nothing is named. */
static void become_quiet(void)
{
    struct proto_message end = { .kind = PROTO_JOB_END, .u.job_end = { bench.job } };
    bench.closed_count = 0;
    bench_forget(&bench);
    bench_agent(&bench, 0, 2);
    bench_job(&bench, 0); /* a head that began anew may not have heard of it yet */
    bench_say(&bench, 0, &end);
    for (uint32_t i = 0; i < AGENTS; i++) {
        bench_hear(&bench, i);
        bench_agent(&bench, i, 2);
        bench_list(&bench, i, NULL, 0);
        bench.closed_count = 0;
    }
    bench_all_sign(&bench);
    bench_turn(&bench);
}

static uint64_t play(uint64_t seed)
{
    struct head_config config = { .is_fixed = seed % 2 == 0, .spec_bytes_max = seed % 3 == 0 ? 2000 : 0 };
    state = hash_mix(seed, 77);
    specs_count = 0;
    bench_start(&bench, &config);
    for (uint32_t k = 0; k < IDS; k++) {
        ids[k] = (struct object_id){ 9, k + 1 };
    }
    for (uint32_t i = 0; i < AGENTS; i++) {
        bench_agent(&bench, i, 1 + i);
        bench_list(&bench, i, NULL, 0);
    }
    bench_job(&bench, 0);
    for (uint32_t k = 0; k < STEPS; k++) {
        one_thing();
    }
    become_quiet();
    uint64_t hash = head_core.hash(bench.head);
    struct head_counts counts = head_counts(bench.head);
    CHECK_EQ(counts.echoes_missing, 0);
    CHECK_EQ(counts.lists_missing, 0);
    CHECK_EQ(counts.spec_bytes, 0);
    if (counts.objects != 0 || counts.tasks != 0) {
        printf("seed %llu: %s\n%s\n", (unsigned long long)seed, bench_query(&bench, PROTO_QUERY_OBJECTS, "")->text,
               bench_query(&bench, PROTO_QUERY_TASKS, "")->text);
    }
    CHECK_EQ(counts.tasks, 0);
    CHECK_EQ(counts.objects, 0);
    for (uint32_t k = 0; k < specs_count; k++) {
        free(specs[k]);
    }
    bench_end(&bench);
    return hash;
}

TEST(head_random, nothing_that_agents_say_breaks_the_head_and_nothing_is_left_when_all_is_quiet)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        play(seed);
    }
}

TEST(head_random, the_same_seed_gives_the_same_hash)
{
    CHECK(play(7) == play(7));
    CHECK(play(7) != play(8));
}
