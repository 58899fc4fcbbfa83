/* own_results.c - results of calls through leases, while they are this process's own
 *
 * Owns each such result: its value, who waits for it, and how it ends or becomes the agent's. Until a result's name leaves,
 * nobody but this process knows of it.
 *
 *              its call is done          its last name goes
 *     PENDING ------------------> SEALED ------------------> dropped
 *      | | |                       | '--its bytes are brought into the store (settle)--> a private object (objects.c)
 *      | | |                       '--its name leaves (ESCAPE, SETTLE)-----> the agent's
 *      | | '--its name leaves (ESCAPE)--> it is done (SETTLE or ADOPT)-----> the agent's
 *      | '--it is done, and lies in the store (ADOPT)----------------------> the agent's
 *      '--its call goes the agent's way (move)-----------------------------> the agent's
 *
 * Happy path: begin -> (a thread attends, or a call needs it) -> take -> look -> its last name goes.
 * Failures:   its call fails             -> it is sealed all the same, and its value is the failure.
 *             its last name goes first   -> it is dropped when it comes; a stored one is said to be unwanted.
 *             no memory for its value    -> the process ends: others would wait for it for ever.
 * Invariants: a pending or sealed own result has one name; the agent knows that only if the call has escaped, and then it is
 *             pending. Results escape with all others of their call. results_left is how many of a call's have a name,
 *             owned_count how many of all calls', and objects that such have become.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "objectstore/table.h"

#include <stdlib.h>
#include <string.h>

static void drop_data(struct own_result *result)
{
    if (result->data != result->few) {
        free(result->data);
    }
    result->data = NULL;
}

static void unname(struct client_core *core, struct client_call *call, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct client_name *name = call->results[i].name;
        name->result = NULL;
        core->owned_count--;
        name->holds = 0;
        name_settle(core, name);
    }
}

int own_results_begin(struct client_core *core, struct client_scope *scope, struct client_call *call)
{
    call->results_count = call->results_left = call->spec->returns;
    for (uint32_t i = 0; i < call->results_left; i++) {
        struct own_result *result = &call->results[i];
        result->call = call;
        list_init(&result->waits);
        list_init(&result->needs);
        result->name = name_need(core, scope, result_id(call->spec->task, i));
        if (result->name == NULL || result->name->holds + result->name->ties > 0) {
            bool is_known = result->name != NULL; /* a call made again by a later attempt: the agent's way knows how */
            unname(core, call, i);
            return is_known ? ROOST_EEXIST : ROOST_ENOMEM;
        }
        result->name->holds = 1;
        result->name->result = result;
        core->owned_count++;
    }
    return 0;
}

void own_results_fini(struct client_call *call)
{
    for (uint32_t i = 0; i < call->results_count; i++) {
        drop_data(&call->results[i]);
    }
}

/* ---- found, and looked at ---- */

struct own_result *own_find(const struct client_core *core, struct object_id id)
{
    if (id_is_of_put(core, id)) {
        return NULL;
    }
    LIST_EACH (at, &core->scopes) {
        const struct client_name *name = name_find(CONTAINER_OF(at, struct client_scope, node), id);
        if (name != NULL && name->result != NULL) {
            return name->result;
        }
    }
    return NULL;
}

bool client_owns_any(const struct client_core *core) { return core->owned_count > 0; }

enum client_own client_own_look(const struct client_core *core, struct object_id id, struct client_own_value *value_out)
{
    const struct own_result *result = own_find(core, id);
    if (result == NULL) {
        return CLIENT_OWN_NOT;
    }
    if (!result->is_sealed) {
        return CLIENT_OWN_PENDING;
    }
    if (value_out != NULL) {
        *value_out = (struct client_own_value){ result->data, result->bytes, result->format };
    }
    return CLIENT_OWN_SEALED;
}

/* ---- waited for ---- */

enum client_own client_own_attend(struct client_core *core, struct object_id id, struct client_own_node *node)
{
    struct own_result *result = own_find(core, id);
    if (result == NULL) {
        return CLIENT_OWN_NOT;
    }
    if (result->is_sealed) {
        return CLIENT_OWN_SEALED;
    }
    list_append(&result->waits, &node->of_result);
    return CLIENT_OWN_PENDING;
}

void client_own_leave(struct client_own_node *node) { list_remove(&node->of_result); }

/* Whoever waits for it, and the calls that need it. */
static void tell(struct client_core *core, struct own_result *result, bool is_moved)
{
    needs_tell(core, result, is_moved);
    LIST_EACH_SAFE (at, &result->waits) {
        struct client_own_node *node = CONTAINER_OF(at, struct client_own_node, of_result);
        struct client_own_wait *wait = node->wait;
        list_remove(&node->of_result);
        wait->is_moved = wait->is_moved || is_moved;
        if (!is_moved) {
            *node->ready = 1;
            wait->left -= wait->left > 0;
        }
        if (!wait->is_over && (wait->left == 0 || wait->is_moved)) {
            wait->is_over = true;
            wait->on_over(wait);
        }
    }
}

/* ---- not this process's own any more ---- */

/* The result is nobody's own any more: its name goes on without it. */
static void let_go(struct client_core *core, struct own_result *result)
{
    struct client_call *call = result->call;
    core->owned_count--;
    result->name->result = NULL;
    result->name = NULL;
    result->is_gone = true;
    drop_data(result);
    call->results_left--;
}

void own_result_unwanted(struct client_core *core, struct own_result *result)
{
    struct client_call *call = result->call;
    result->name = NULL;
    core->owned_count--;
    tell(core, result, true);
    drop_data(result);
    call->results_left--;
    call_drop_if_over(call);
}

void own_results_move(struct client_core *core, struct client_call *call)
{
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        struct own_result *result = &call->results[i];
        if (result->name != NULL) {
            tell(core, result, true);
            result->name->holds--; /* client_submit() has taken one for the agent's results */
            let_go(core, result);
        } else if (!call->is_orphan) {
            client_free(core, call->scope, result_id(call->spec->task, i)); /* nobody wants it: once it is taken */
        }
    }
}

int client_own_settle(struct client_core *core, const struct wire_object *wire, bool in_slab)
{
    struct own_result *result = own_find(core, wire->id);
    if (result == NULL || !result->is_sealed) {
        return ROOST_ENOENT;
    }
    struct client_call *call = result->call;
    struct client_object *object = object_adopt(core, wire, in_slab, result->name);
    if (object == NULL) {
        return ROOST_ENOMEM;
    }
    object->task = call->spec->task;
    core->owned_count++;
    object->index = (uint32_t)(result - call->results);
    if (result->name->ties > 0) { /* a call that has not begun may need it */
        object_announce(core, object);
    }
    let_go(core, result);
    call_drop_if_over(call);
    return 0;
}

/* ---- a name leaves ---- */

/* The agent writes the value; a name goes on as one of any object that the agent knows. */
static void settle(struct client_core *core, const struct client_call *call, uint32_t index, const void *data,
                   uint32_t bytes, uint32_t format)
{
    size_t size = align_up(offsetof(struct wire_settle, bytes) + bytes, 8);
    struct say_entry *entry = say_entry_new(WIRE_SETTLE, size);
    ROOST_INVARIANT(entry != NULL);
    entry->u.settle.task = call->spec->task;
    entry->u.settle.index = index;
    entry->u.settle.format = format;
    entry->u.settle.bytes_count = bytes;
    if (bytes > 0) {
        memcpy(entry->u.settle.bytes, data, bytes);
    }
    say(core, &entry->say, SAY_ENTRY);
}

/* The other results of the call go along: the agent knows tasks, and a task has all of them. */
static void escape(struct client_core *core, struct client_call *call)
{
    scope_tell(core, core_scope(core, call->scope));
    size_t size = align_up(offsetof(struct wire_escape, spec) + call->spec->bytes, 8);
    struct say_entry *entry = say_entry_new(WIRE_ESCAPE, size);
    ROOST_INVARIANT(entry != NULL);
    entry->u.escape.scope = call->scope;
    entry->u.escape.attempt = call->attempt;
    entry->u.escape.spec_bytes = call->spec->bytes;
    memcpy(entry->u.escape.spec, call->spec, call->spec->bytes);
    say(core, &entry->say, SAY_ENTRY);
    call->is_escaped = true;
    bool is_done = call->state == CALL_DONE;
    call_set_urgent(core, call, call->state == CALL_PUSHED);
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        struct own_result *result = &call->results[i];
        if (is_done && result->is_sealed && result->data != NULL) {
            settle(core, call, i, result->data, result->bytes, result->format);
        }
        if (result->is_gone) {
            continue;
        }
        if (result->name == NULL) {
            say_free(core, call->scope, result_id(call->spec->task, i));
            continue;
        }
        result->name->is_registered = true;
        if (is_done) {
            let_go(core, result);
        }
    }
    call_drop_if_over(call);
}

/* What a call needs goes out before it: whoever has to make its attempt without us finds it. A list, no recursion. */
void call_let_out(struct client_core *core, struct client_call *call)
{
    call->above = NULL;
    call->needs_visited = 0;
    for (struct client_call *top = call; top != NULL;) {
        struct client_call *below = need_below(core, top), *above = top->above;
        if (below != NULL) {
            below->above = top;
            below->needs_visited = 0;
            top = below;
        } else {
            escape(core, top);
            top = above;
        }
    }
}

void own_let_out(struct client_core *core, struct object_id id)
{
    const struct own_result *wanted = own_find(core, id);
    if (wanted != NULL && !wanted->call->is_escaped) {
        call_let_out(core, wanted->call);
    }
}

/* ---- the call is done ---- */

static void seal(struct client_core *core, struct own_result *result, const void *data, uint32_t bytes, uint32_t format)
{
    result->data = bytes <= sizeof result->few ? result->few : malloc(bytes);
    ROOST_INVARIANT(result->data != NULL); /* at most ROOST_SMALL_BYTES: a process without them cannot go on */
    if (bytes > 0) {
        memcpy(result->data, data, bytes);
    }
    result->bytes = bytes;
    result->format = format;
    result->is_sealed = true;
    tell(core, result, false);
}

/* It lies in the store, staged: it is the scope's from now on, or nobody's. */
static void adopt(struct client_core *core, const struct client_call *call, uint64_t run, uint32_t index,
                  bool is_wanted)
{
    struct client_scope *scope = core_scope(core, call->scope);
    if (is_wanted && scope != NULL) { /* else the agent would take it for one that has ended */
        scope_tell(core, scope);
    }
    struct say_entry *entry = say_entry_new(WIRE_ADOPT, sizeof entry->u.adopt);
    ROOST_INVARIANT(entry != NULL);
    entry->u.adopt.scope = call->scope;
    entry->u.adopt.lease = call->lease->number;
    entry->u.adopt.run = run;
    entry->u.adopt.task = call->spec->task;
    entry->u.adopt.index = index;
    entry->u.adopt.is_wanted = is_wanted;
    say(core, &entry->say, SAY_ENTRY);
}

void own_results_take(struct client_core *core, struct client_call *call, const struct client_done *done)
{
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        struct own_result *result = &call->results[i];
        bool is_stored = done->status == 0 && done->result[i].is_stored;
        if (is_stored) {
            adopt(core, call, done->run, i, result->name != NULL || call->is_escaped);
        }
        bool is_error = done->status != 0;
        size_t error_bytes = is_error ? offsetof(struct wire_failure, text) + strlen(done->failure->text) + 1 : 0;
        if (call->is_escaped && !is_stored) {
            settle(core, call, i, is_error ? (const void *)done->failure : done->result[i].data,
                   is_error ? (uint32_t)error_bytes : done->result[i].bytes, is_error ? TABLE_ERROR : TABLE_RAW);
        }
        if (result->name == NULL && is_stored && call->is_escaped && core_scope(core, call->scope) != NULL) {
            /* Adopted for others alone. Of a scope that has ended the agent hears by its completion, and lets go then:
             * that may be what makes the name known to others, and goes by another ring. */
            say_free(core, call->scope, result_id(call->spec->task, i));
        }
        if (result->name == NULL) {
            continue;
        }
        if (is_stored || call->is_escaped) {
            result->name->is_registered = true;
            tell(core, result, true); /* the agent says when it is there */
            let_go(core, result);
        } else if (!is_error) {
            seal(core, result, done->result[i].data, done->result[i].bytes, TABLE_RAW);
        } else {
            seal(core, result, done->failure, (uint32_t)error_bytes, TABLE_ERROR);
        }
    }
}
