/* head_load.c - see the header
 *
 * Happy path: create -> publish, submit, decide in any order -> census -> destroy.
 * Failures:   no memory, or a head that does not do what it is there for (nothing to complete) -> a status.
 * Invariants: object k lies on node k % nodes; an agent has seen all that was said to it; time passes only as far as
 *             the head's own turns want it to, so nobody is silent for long.
 * Thread:     one. */
#include "tests/bench/head_load.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "proto/message.h"
#include "scheduler/core/head.h"
#include "scheduler/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGENT_CPUS = 8, OBJECT_BYTES = 1 << 20, LISTED_AT_ONCE = 4096, GIVEN_MAX = 1 << 22 };

struct given { /* a task that a node has */
    struct task_id task;
    uint32_t agent, attempt;
};

struct load_agent {
    uint32_t number, incarnation, mark;
    uint64_t news;
};

struct head_load {
    struct head *head;
    struct head_config config;
    struct core_out out;
    uint64_t now_ns, turn_ns;
    uint32_t nodes, greeting; /* greeting: the agent whose WELCOME is awaited */
    struct load_agent *agents;
    uint32_t *agent_of_number; /* one more than nodes */
    struct ledger ledger;
    struct job_id job;
    uint64_t objects, calls;
    struct given *given; /* a ring of GIVEN_MAX, oldest at given_from */
    uint64_t given_from, given_to;
    size_t spec_bytes;
    int status; /* of what a command found wrong */
};

/* ------------------------------------------------------------------ the head */

static struct object_id object_of(uint64_t number) { return (struct object_id){ hash_mix(1000, number), number + 1 }; }

static struct core_peer peer_of(const struct head_load *load, uint32_t agent)
{
    return (struct core_peer){ load->agents[agent].number, load->agents[agent].incarnation };
}

static void hear(struct head_load *load, const struct core_command *command)
{
    const struct proto_message *message = core_body(command);
    if (message->kind == PROTO_WELCOME) {
        uint32_t number = message->u.welcome.number;
        load->agents[load->greeting].number = number;
        load->agents[load->greeting].incarnation = message->u.welcome.incarnation;
        load->agent_of_number[number <= load->nodes ? number : 0] = load->greeting;
    }
    uint32_t number = core_peer_of(command->to).node;
    if (number == 0 || number > load->nodes) {
        return;
    }
    uint32_t agent = load->agent_of_number[number];
    load->agents[agent].mark = (uint32_t)command->token;
    if (message->kind == PROTO_NODES && message->u.nodes.news != 0) {
        load->agents[agent].news = message->u.nodes.news;
    }
    if (message->kind == PROTO_TASK && load->given_to - load->given_from < GIVEN_MAX) {
        load->given[load->given_to++ % GIVEN_MAX] = (struct given){ message->u.task.task, agent,
                                                                    message->u.task.attempt };
    }
}

static void one_step(struct head_load *load, struct core_event *event)
{
    event->now_ns = load->now_ns;
    core_out_clear(&load->out);
    head_core.step(load->head, event, &load->out);
    for (const struct core_command *c = core_next(&load->out, NULL); c != NULL; c = core_next(&load->out, c)) {
        if (c->kind == CORE_SEND) {
            hear(load, c);
        } else if (c->kind == CORE_COMMIT) {
            int status = ledger_commit(&load->ledger, core_body(c));
            load->status = load->status == 0 ? status : load->status;
        } else if (c->kind == CORE_ARM && c->token == HEAD_TIMER_TURN) {
            load->turn_ns = c->at_ns;
        }
    }
}

/* What the head has put off, at the time for which it has put it off. */
static void turn(struct head_load *load)
{
    while (load->turn_ns != UINT64_MAX) {
        struct core_event event = { .kind = CORE_TICK, .u.timer.key = HEAD_TIMER_TURN };
        load->now_ns = load->turn_ns > load->now_ns ? load->turn_ns : load->now_ns;
        load->turn_ns = UINT64_MAX;
        one_step(load, &event);
    }
}

static void say(struct head_load *load, uint32_t agent, const struct proto_message *message)
{
    struct core_event event = { .kind = CORE_MESSAGE };
    event.u.message.peer = peer_of(load, agent);
    event.u.message.seen = load->agents[agent].mark;
    event.u.message.body = message;
    one_step(load, &event);
}

static void greet(struct head_load *load, uint32_t agent)
{
    char host[16];
    snprintf(host, sizeof host, "host%u", agent);
    struct proto_hello hello = { .role = PROTO_ROLE_AGENT,
                                 .node = { 100, agent + 1 },
                                 .number = load->agents[agent].number,
                                 .incarnation = load->agents[agent].incarnation,
                                 .host = host,
                                 .address = "a:1",
                                 .labels = "",
                                 .cpus_hundredths = AGENT_CPUS * 100,
                                 .memory_bytes = ROOST_GIB(64),
                                 .news = load->agents[agent].news };
    struct core_event event = { .kind = CORE_SESSION_UP };
    event.u.session.peer = (struct core_peer){ 0, agent + 1 };
    event.u.session.hello = &hello;
    load->greeting = agent;
    load->agents[agent].mark = 0;
    one_step(load, &event);
}

static void say_part(struct head_load *load, uint32_t agent, enum proto_kind kind)
{
    struct proto_message message = { .kind = kind };
    message.u.list_begin.list = 1;
    say(load, agent, &message);
}

/* All that lies on this agent's node. */
static void list(struct head_load *load, uint32_t agent, struct proto_list_object *items)
{
    say_part(load, agent, PROTO_LIST_BEGIN);
    say_part(load, agent, PROTO_LIST_PLACED);
    for (uint64_t object = agent; object < load->objects;) {
        size_t count = 0;
        for (; count < LISTED_AT_ONCE && object < load->objects; object += load->nodes) {
            items[count++] = (struct proto_list_object){ .object = object_of(object),
                                                         .held = true,
                                                         .stored = true,
                                                         .state = PROTO_SEALED,
                                                         .content = { .size = OBJECT_BYTES } };
        }
        struct proto_message message = { .kind = PROTO_LIST_OBJECTS, .u.list_objects = { items, count } };
        say(load, agent, &message);
    }
    say_part(load, agent, PROTO_LIST_END);
}

static int come_all(struct head_load *load)
{
    struct proto_list_object *items = calloc(LISTED_AT_ONCE, sizeof *items);
    if (items == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a list of objects");
    }
    for (uint32_t i = 0; i < load->nodes; i++) {
        greet(load, i);
    }
    for (uint32_t i = 0; i < load->nodes; i++) {
        list(load, i, items);
    }
    free(items);
    turn(load);
    uint64_t missing = head_counts(load->head).lists_missing;
    return missing == 0 ? load->status
                        : error_set(ROOST_ESTATE, "the head waits for %llu lists", (unsigned long long)missing);
}

/* ------------------------------------------------------------------ what a bench does */

int head_load_create(struct head_load **load_out, uint32_t nodes)
{
    struct head_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a head");
    }
    load->config =
        (struct head_config){ .cluster = { 5, 5 }, .epoch = 1, .is_fixed = true, .spec_bytes_max = ROOST_GIB(64) };
    load->now_ns = 1;
    load->turn_ns = UINT64_MAX;
    load->nodes = nodes;
    load->job = (struct job_id){ 11, 12 };
    load->agents = calloc(nodes, sizeof *load->agents);
    load->agent_of_number = calloc((size_t)nodes + 1, sizeof *load->agent_of_number);
    load->given = calloc(GIVEN_MAX, sizeof *load->given);
    int status = load->agents == NULL || load->agent_of_number == NULL || load->given == NULL
                     ? error_set(ROOST_ENOMEM, "no memory for %u agents", nodes)
                     : core_out_init(&load->out, head_core.out_bytes_max);
    status = status == 0 ? head_create(&load->head, &load->config) : status;
    status = status == 0 ? come_all(load) : status;
    if (status != 0) {
        head_load_destroy(load);
        return status;
    }
    struct proto_message message = { .kind = PROTO_JOB_OPEN };
    message.u.job_open =
        (struct proto_job_open){ .job = load->job, .name = "bench", .driver_pid = 7, .spec = { "x", 1 } };
    say(load, 0, &message);
    *load_out = load;
    return 0;
}

void head_load_destroy(struct head_load *load)
{
    if (load == NULL) {
        return;
    }
    head_destroy(load->head);
    core_out_fini(&load->out);
    free(load->agents);
    free(load->agent_of_number);
    ledger_close(&load->ledger);
    free(load->given);
    free(load);
}

int head_load_publish(struct head_load *load, uint64_t count)
{
    for (uint64_t end = load->objects + count; load->objects < end; load->objects++) {
        struct proto_message message = { .kind = PROTO_PUBLISH };
        message.u.publish = (struct proto_publish){ .object = object_of(load->objects),
                                                    .state = PROTO_SEALED,
                                                    .content = { .size = OBJECT_BYTES },
                                                    .located = true };
        say(load, (uint32_t)(load->objects % load->nodes), &message);
    }
    turn(load);
    return load->status;
}

static int submit_one(struct head_load *load)
{
    uint64_t call = ++load->calls;
    roost_in args[2];
    for (size_t i = 0; i < 2; i++) {
        args[i] = roost_in_ref(object_ref(object_of(hash_mix(call, i) % load->objects)));
    }
    struct spec_draft draft = { .parent = { load->job.hi, load->job.lo },
                                .job = load->job,
                                .call = call,
                                .function = "task",
                                .cpus_hundredths = 100,
                                .flags = SPEC_UNHELD,
                                .returns = 1,
                                .args = args,
                                .args_count = 2 };
    _Alignas(8) unsigned char bytes[2048];
    size_t size;
    ROOST_TRY(spec_measure(&draft, &size));
    ROOST_PRE(size <= sizeof bytes);
    struct spec *spec = (struct spec *)(void *)bytes;
    spec_write(&draft, spec, size);
    load->spec_bytes = size;
    struct proto_message message = { .kind = PROTO_SUBMIT };
    message.u.submit = (struct proto_submit){ .task = spec->task, .spec = { spec, size } };
    say(load, (uint32_t)(call % load->nodes), &message);
    return load->status;
}

int head_load_submit(struct head_load *load, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        ROOST_TRY(submit_one(load));
    }
    turn(load);
    return load->status;
}

int head_load_decide(struct head_load *load, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (load->given_from == load->given_to) {
            return error_set(ROOST_ESTATE, "no node has a task that it could complete");
        }
        const struct given *given = &load->given[load->given_from++ % GIVEN_MAX];
        struct proto_return result = { .object = result_id(given->task, 0),
                                       .content = { .size = 100 },
                                       .located = true };
        struct proto_message message = { .kind = PROTO_COMPLETE };
        message.u.complete = (struct proto_complete){ .task = given->task,
                                                      .attempt = given->attempt,
                                                      .duration_ns = 20000000,
                                                      .returns = &result,
                                                      .returns_count = 1 };
        say(load, given->agent, &message);
        ROOST_TRY(submit_one(load));
        turn(load);
    }
    return load->status;
}

int head_load_census(struct head_load *load)
{
    head_destroy(load->head);
    load->head = NULL;
    load->config.epoch++;
    load->config.facts = load->ledger.facts;
    load->config.facts_count = load->ledger.facts_count;
    load->turn_ns = UINT64_MAX;
    load->given_from = load->given_to;
    ROOST_TRY(head_create(&load->head, &load->config));
    return come_all(load);
}

size_t head_load_spec_bytes(const struct head_load *load) { return load->spec_bytes; }
