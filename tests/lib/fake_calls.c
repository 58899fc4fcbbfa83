/* fake_calls.c - calls to the fake agent: from the ring of submits to a worker, or to the test, and to their results */
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

void fake_call_free(struct fake_agent *agent, struct call *call)
{
    for (uint32_t i = 0; i < call->spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(call->spec)[i], &ref)) {
            fake_object_need(agent, object_id_of(ref))->kept--;
            agent->names_changed = true;
        }
    }
    list_remove(&call->node);
    free(call->spec);
    free(call);
}

void fake_submit_take(struct fake_agent *agent, uint32_t index, const struct task_ring_item *item)
{
    struct client *client = &agent->clients[index];
    const struct wire_submit *submit = (const struct wire_submit *)(const void *)item->payload;
    struct call *call = calloc(1, sizeof *call);
    call->spec = malloc(submit->spec_bytes);
    memcpy(call->spec, submit->is_inline != 0 ? submit->u.bytes : agent->segment + submit->u.place.offset,
           submit->spec_bytes);
    CHECK_EQ(spec_check(call->spec, submit->spec_bytes), 0);
    call->client = index;
    call->scope = submit->scope;
    list_init(&call->results);
    list_append(&agent->calls, &call->node);
    for (uint32_t i = 0; i < call->spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(call->spec)[i], &ref)) {
            fake_object_need(agent, object_id_of(ref))->kept++;
        }
    }
    for (uint32_t i = 0; i < call->spec->returns && (call->spec->flags & SPEC_UNHELD) == 0; i++) {
        fake_hold(agent, result_id(call->spec->task, i), index, submit->scope);
    }
    struct wire_taken *taken = ring_reserve(&client->taken, sizeof *taken);
    CHECK(taken != NULL);
    *taken = (struct wire_taken){ { WIRE_TAKEN, sizeof *taken, item->ticket }, call->spec->task };
    ring_commit(&client->taken);
    agent->counts[WIRE_TAKEN]++;
}

static void fail_call(struct fake_agent *agent, struct call *call, const struct wire_failure *failure)
{
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        struct object *result = fake_object_find(agent, result_id(call->spec->task, i));
        if (result != NULL && !result->is_sealed) {
            fake_object_fail(agent, result, failure);
        }
    }
    fake_call_free(agent, call);
}

static void dispatch(struct fake_agent *agent, struct client *worker, struct call *call)
{
    struct {
        struct wire_task head;
        unsigned char spec[WIRE_TASK_INLINE_BYTES];
    } slot = { .head = { .run = ++agent->runs, .prefix = UINT64_MAX - agent->runs, .spec_bytes = call->spec->bytes } };
    size_t bytes = sizeof slot.head;
    if (call->spec->bytes <= WIRE_TASK_INLINE_BYTES) {
        slot.head.is_inline = 1;
        memcpy((unsigned char *)&slot + offsetof(struct wire_task, u), call->spec, call->spec->bytes);
        bytes = offsetof(struct wire_task, u) + call->spec->bytes;
        bytes = bytes < sizeof slot.head ? sizeof slot.head : bytes;
    } else {
        uint64_t offset; /* stays: a test's store has room for it */
        CHECK_EQ(extent_alloc(&agent->extents, call->spec->bytes, 4096, &offset), 0);
        memcpy(agent->segment + offset, call->spec, call->spec->bytes);
        slot.head.u.place = (struct wire_place){ offset, call->spec->bytes, 0, 0 };
    }
    call->run = slot.head.run;
    worker->call = call;
    worker->is_busy = true;
    list_remove(&call->node);
    CHECK_EQ(task_ring_push(&worker->tasks, 0, 0, &slot, bytes, NULL), 0);
    doorbell_ring(fake_bell(worker, CLIENT_BELL_TASKS));
}

static struct client *idle_worker(struct fake_agent *agent, bool *any_out)
{
    struct client *idle = NULL;
    *any_out = false;
    for (int c = 0; c < CLIENTS; c++) {
        struct client *client = &agent->clients[c];
        bool is_worker = client->is_used && client->role == CLIENT_WORKER;
        *any_out = *any_out || is_worker;
        idle = is_worker && !client->is_busy ? client : idle;
    }
    return idle;
}

/* Inputs ready: to an idle worker. One of them failed: so has the call. Where all workers are busy, the next one that
 * is not asks again. */
void fake_calls_give_out(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->calls) {
        struct call *call = CONTAINER_OF(at, struct call, node);
        bool any_worker;
        struct client *idle = idle_worker(agent, &any_worker);
        if (idle == NULL && any_worker) {
            return;
        }
        int8_t ready = 1;
        struct object_id which = { 0, 0 };
        for (uint32_t i = 0; i < call->spec->args_count && ready == 1; i++) {
            const struct spec_arg *arg = &spec_args(call->spec)[i];
            if (spec_arg_is_input(arg)) {
                ready = fake_readiness(agent, arg->as.ref, arg->kind == ROOST_IN_GATHER, &which);
            }
        }
        if (ready < 0) {
            struct object *failed = fake_object_find(agent, which);
            struct wire_failure failure = { .status = ready };
            if (failed != NULL && failed->format == TABLE_ERROR) {
                memcpy(&failure, agent->segment + failed->place.offset, sizeof failure);
            }
            fail_call(agent, call, &failure);
            continue;
        }
        if (idle != NULL && ready == 1 && !agent->holds_calls) {
            dispatch(agent, idle, call);
        }
    }
}

static void end_scope(struct fake_agent *agent, uint32_t client, uint64_t scope)
{
    if (agent->clients[client].task_holds == 0) {
        return;
    }
    LIST_EACH (at, &agent->objects) {
        fake_drop(agent, CONTAINER_OF(at, struct object, node), client, scope);
    }
}

void fake_complete_take(struct fake_agent *agent, uint32_t index, const struct wire_complete *complete)
{
    struct client *worker = &agent->clients[index];
    struct call *call = worker->call;
    CHECK(call != NULL && call->run == complete->run);
    worker->call = NULL;
    worker->is_busy = false;
    LIST_EACH_SAFE (at, &call->results) {
        struct object *given = CONTAINER_OF(at, struct object, node);
        struct object *result = fake_object_find(agent, given->id);
        list_remove(&given->node);
        if (complete->status == 0 && result != NULL) {
            result->place = given->place;
            result->size = given->size;
            result->format = given->format;
            result->table_index = given->table_index;
            result->refs = given->refs;
            result->refs_count = given->refs_count;
            fake_object_enter(agent, result);
        } else {
            fake_object_give_back(agent, given);
            free(given->refs);
        }
        free(given);
    }
    if (complete->status != 0) {
        struct wire_failure failure = {
            .status = complete->status, .app_code = complete->app_code, .attempts = 1, .pid = 4711
        };
        snprintf(failure.function, sizeof failure.function, "%s", spec_function(call->spec));
        snprintf(failure.node, sizeof failure.node, "fake");
        snprintf(failure.text, sizeof failure.text, "%.*s", (int)complete->text_bytes, complete->text);
        list_append(&agent->calls, &call->node);
        fail_call(agent, call, &failure);
    } else {
        fake_call_free(agent, call);
    }
    end_scope(agent, index, complete->run);
}
