/* needs.c - calls through leases whose arguments are results of other such calls
 *
 * Owns the waiting of a call for results that are pending, and how their values go along with it.
 *
 * Happy path: a call needs pending results -> each is sealed -> the call is queued -> their values ride in its slot.
 * Failures:   a needed result is a failure               -> so are the call's own, without a run: the first of the chain.
 *             it lies in the store, or the agent makes it -> the call goes the agent's way, who knows when it is there.
 *             the values do not fit into a slot           -> the agent's way, too.
 * Invariants: needs_left is the number of the call's needs that are on a result's list. A call's arguments are tied
 *             from its beginning, so a value that it needs stays.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "objectstore/table.h"

#include <string.h>

/* It is this process's own to give along, or the agent knows of it, or will be told: then it stays while it is tied. A handle
 * is for the function to pass on: then others must know what it names. */
static bool stays(const struct client_name *name, const struct spec_arg *arg)
{
    if (name == NULL || name->holds == 0) {
        return false;
    }
    return name->result != NULL
               ? arg->kind == ROOST_IN_REF && !name->result->call->is_escaped
               : name->is_registered || (name->object != NULL && name->object->state == OBJECT_PRIVATE);
}

int needs_find(const struct client_scope *scope, struct client_call *call, bool others_are_here)
{
    const struct spec_arg *args = spec_args(call->spec);
    struct need *need = call->needs;
    for (uint32_t i = 0; i < call->spec->args_count; i++) {
        roost_ref ref;
        if (!spec_arg_ref(&args[i], &ref)) {
            continue;
        }
        *need = (struct need){ .call = call, .name = name_find(scope, object_id_of(ref)), .arg = i };
        list_init(&need->of_result);
        if (!stays(need->name, &args[i])) {
            return ROOST_EEXIST;
        }
        bool is_here = need->name->result != NULL || need->name->is_made_here || others_are_here;
        if (!is_here && spec_arg_is_input(&args[i])) {
            return ROOST_ENOENT;
        }
        need++;
    }
    return 0;
}

void needs_begin(struct client_core *core, struct client_call *call)
{
    for (uint32_t i = 0; i < call->needs_count; i++) {
        struct need *need = &call->needs[i];
        struct own_result *result = need->name->result;
        need->name->ties++;
        if (result != NULL && !result->is_sealed) {
            list_append(&result->needs, &need->of_result);
            call->needs_left++;
        } else if (need->name->object != NULL && need->name->object->state == OBJECT_PRIVATE) {
            object_announce(core, need->name->object);
        }
    }
    call->state = CALL_WAITING;
    list_append(call->needs_left > 0 ? &core->calls_waiting : &core->calls_met, &call->of_queue);
    core->calls_waiting_count++;
}

/* With the scope its names have gone. */
static bool has_names(const struct client_core *core, const struct client_call *call)
{
    return call->needs_count > 0 && core_scope(core, call->scope) != NULL;
}

void needs_end(struct client_core *core, struct client_call *call)
{
    for (uint32_t i = 0, count = has_names(core, call) ? call->needs_count : 0; i < count; i++) {
        name_untie(core, call->needs[i].name);
    }
}

struct client_call *need_below(struct client_core *core, struct client_call *call)
{
    bool may = call->state != CALL_DONE && has_names(core, call);
    while (may && call->needs_visited < call->needs_count) {
        const struct own_result *own = call->needs[call->needs_visited++].name->result;
        if (own != NULL && !own->call->is_escaped) {
            return own->call;
        }
    }
    return NULL;
}

static void unneed(struct client_call *call)
{
    for (uint32_t i = 0; i < call->needs_count; i++) {
        list_remove(&call->needs[i].of_result);
    }
    call->needs_left = 0;
}

void call_leave(struct client_core *core, struct client_call *call)
{
    ROOST_PRE(call->state == CALL_WAITING);
    unneed(call);
    list_remove(&call->of_queue);
    core->calls_waiting_count--;
    call->state = CALL_LEAVING;
    list_append(&core->calls_leaving, &call->of_queue);
}

void needs_tell(struct client_core *core, struct own_result *result, bool is_moved)
{
    while (!list_is_empty(&result->needs)) {
        struct need *need = CONTAINER_OF(result->needs.next, struct need, of_result);
        struct client_call *call = need->call;
        if (is_moved) {
            call_leave(core, call);
            continue;
        }
        list_remove(&need->of_result);
        if (--call->needs_left == 0) {
            list_remove(&call->of_queue);
            list_append(&core->calls_met, &call->of_queue);
        }
    }
}

/* ---- values ---- */

/* The result of this process's own that the argument is, or NULL. */
static const struct own_result *own_of(const struct need *need) { return need->name->result; }

static size_t measure(const struct client_core *core, const struct client_call *call)
{
    size_t bytes = sizeof(struct lease_task) + align_up(call->spec->bytes, 8);
    for (uint32_t i = 0, count = has_names(core, call) ? call->needs_count : 0; i < count; i++) {
        const struct own_result *own = own_of(&call->needs[i]);
        bytes += own == NULL ? 0 : sizeof(struct lease_value) + align_up(own->bytes, 8);
    }
    return bytes;
}

size_t client_call_write(const struct client_core *core, const struct client_call *call, void *to)
{
    const struct spec *spec = call->spec;
    struct lease_task head = { .spec_bytes = spec->bytes };
    size_t at = sizeof head + align_up(spec->bytes, 8);
    memcpy((unsigned char *)to + sizeof head, spec, spec->bytes);
    for (uint32_t i = 0, count = has_names(core, call) ? call->needs_count : 0; i < count; i++) {
        const struct own_result *own = own_of(&call->needs[i]);
        if (own != NULL) {
            ROOST_PRE(own->is_sealed);
            const struct lease_value value = { call->needs[i].arg, own->bytes };
            memcpy((unsigned char *)to + at, &value, sizeof value);
            memcpy((unsigned char *)to + at + sizeof value, own->data, own->bytes);
            at += sizeof value + align_up(own->bytes, 8);
            head.values++;
        }
    }
    memcpy(to, &head, sizeof head);
    ROOST_POST(at <= TASK_PAYLOAD_BYTES_MAX);
    return at;
}

static const struct own_result *failed_of(const struct client_core *core, const struct client_call *call)
{
    for (uint32_t i = 0, count = has_names(core, call) ? call->needs_count : 0; i < count; i++) {
        const struct own_result *own = own_of(&call->needs[i]);
        if (own != NULL && own->format == TABLE_ERROR) {
            return own;
        }
    }
    return NULL;
}

/* A failure fails calls that need it, and so on: a list, no recursion. */
void needs_settle(struct client_core *core)
{
    while (!list_is_empty(&core->calls_met)) {
        struct client_call *call = CONTAINER_OF(core->calls_met.next, struct client_call, of_queue);
        const struct own_result *failed = failed_of(core, call);
        if (failed == NULL && measure(core, call) > TASK_PAYLOAD_BYTES_MAX) {
            call_leave(core, call);
            continue;
        }
        list_remove(&call->of_queue);
        core->calls_waiting_count--;
        if (failed != NULL) {
            call_fail_by(core, call, failed);
        } else {
            call_queue(core, call);
        }
    }
}
