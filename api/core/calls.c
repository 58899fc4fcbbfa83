/* calls.c - calls through leases: from the caller to a worker of this node and back, with no daemon between
 *
 * Owns such calls and their results. Until a result's name leaves, nobody but this process knows of it.
 *
 *              needs are met         a ring has room               completed
 *     WAITING ------------> QUEUED ------------------> PUSHED ------------------> DONE: its results are sealed, here or
 *        |                   | ^                         |                              (ADOPT) with the agent
 *        |                   | '--taken back, or tried again after its worker's death
 *        |                   |                           '--what it reads is not here any more--> LEAVING
 *        |                   '--nobody takes it for too long--> gone the agent's way
 *        '--what it needs is not to be had here (needs.c)--> LEAVING --> gone the agent's way
 *
 * Happy path: add -> (needs.c) -> next -> pushed -> done -> (a look copies the value, or it is settled in the store) -> freed.
 * Failures:   the worker dies -> what it had not claimed is taken back; what it ran is tried again, or fails.
 *             the result is freed first -> it is dropped when it comes; stored ones are said to be unwanted.
 * Invariants: a pending or sealed own result has one name, not registered with the agent. A queued call is in `queued`, a
 *             pushed one in its lease's list, a done one in none and lives for its results.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "objectstore/table.h"

#include <stdlib.h>
#include <string.h>

enum {
    AHEAD_NS = 1000000, /* of work in one ring: more would wait behind it while others idle */
    PACE_PRIOR_NS = 100000,
    PACE_NS_MIN = 1000,
    PACE_SHIFT = 3 /* a new duration weighs an eighth */
};

void calls_init(struct client_core *core)
{
    struct list_node *lists[] = { &core->calls_waiting, &core->calls_met, &core->calls_queued, &core->calls_leaving,
                                  &core->leases };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
}

static void result_drop_data(struct own_result *result)
{
    if (result->data != result->few) {
        free(result->data);
    }
    result->data = NULL;
}

static void call_free(struct client_call *call)
{
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        result_drop_data(&call->results[i]);
    }
    free(call);
}

static void free_all(struct list_node *calls)
{
    LIST_EACH_SAFE (at, calls) {
        call_free(CONTAINER_OF(at, struct client_call, of_queue));
    }
}

void calls_fini(struct client_core *core)
{
    free_all(&core->calls_waiting);
    free_all(&core->calls_queued);
    free_all(&core->calls_leaving);
    LIST_EACH (at, &core->leases) {
        free_all(&CONTAINER_OF(at, struct client_lease, of_core)->pushed);
    }
}

/* ---- which ---- */

bool client_call_may_lease(const struct spec *spec)
{
    bool is_plain = spec->cpus_hundredths == 100 && spec->memory_bytes == 0 && node_id_is_none(spec->node) &&
                    (spec->flags & ~(uint32_t)SPEC_RETRY_ON_FAILURE) == 0;
    if (!is_plain || spec->bytes > LEASE_SPEC_BYTES_MAX || spec->returns == 0 || spec->returns > LEASE_RETURNS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < spec->args_count; i++) {
        if (spec_args(spec)[i].kind == ROOST_IN_GATHER) {
            return false;
        }
    }
    return true;
}

/* ---- arguments: tied until the call is done, so that frees wait for it ---- */

/* The scope holds it, and it is this process's own to give along, or the agent knows of it, or will be told: then it stays
 * while it is tied. */
static bool arg_stays(const struct client_scope *scope, const struct spec_arg *arg, roost_ref ref)
{
    struct client_name *name = name_find(scope, object_id_of(ref));
    if (name == NULL || name->holds == 0) {
        return false;
    }
    return name->result != NULL
               ? need_is_own_value(name, arg)
               : name->is_registered || (name->object != NULL && name->object->state == OBJECT_PRIVATE);
}

static uint32_t count_refs(const struct spec *spec)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        count += spec_arg_ref(&spec_args(spec)[i], &ref);
    }
    return count;
}

static bool args_stay(const struct client_scope *scope, const struct spec *spec)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref) && !arg_stays(scope, &spec_args(spec)[i], ref)) {
            return false;
        }
    }
    return true;
}

static void tie_args(struct client_core *core, struct client_scope *scope, const struct spec *spec)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            struct client_name *name = name_find(scope, object_id_of(ref));
            name->ties++;
            if (name->object != NULL && name->object->state == OBJECT_PRIVATE) {
                object_announce(core, name->object);
            }
        }
    }
}

static void untie_args(struct client_core *core, uint64_t number, const struct spec *spec)
{
    struct client_scope *scope = core_scope(core, number);
    for (uint32_t i = 0; scope != NULL && i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            name_untie(core, scope, object_id_of(ref));
        }
    }
}

static uint64_t ties_of(const struct client_core *core, const struct list_node *calls)
{
    uint64_t ties = 0;
    LIST_EACH (at, calls) {
        const struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
        ties += core_scope(core, call->scope) == NULL ? 0 : count_refs(call->spec);
    }
    return ties;
}

uint64_t calls_ties(const struct client_core *core)
{
    uint64_t ties = ties_of(core, &core->calls_waiting) + ties_of(core, &core->calls_queued) +
                    ties_of(core, &core->calls_leaving);
    LIST_EACH (at, &core->leases) {
        ties += ties_of(core, &CONTAINER_OF(at, struct client_lease, of_core)->pushed);
    }
    return ties;
}

static struct pace *pace_of(struct client_core *core, const struct spec *spec)
{
    uint64_t function = hash64(spec_function(spec), spec->function.bytes, 0);
    struct pace *pace = &core->paces[function % PACES];
    if (pace->function != function) {
        *pace = (struct pace){ function, PACE_PRIOR_NS };
    }
    return pace;
}

/* ---- queue ---- */

static void queue(struct client_core *core, struct client_call *call, bool is_first)
{
    call->state = CALL_QUEUED;
    call->lease = NULL;
    call->expected_ns = pace_of(core, call->spec)->mean_ns;
    if (is_first) {
        list_prepend(&core->calls_queued, &call->of_queue);
    } else {
        list_append(&core->calls_queued, &call->of_queue);
    }
    core->calls_queued_count++;
    core->calls_queued_ns += call->expected_ns;
}

void call_queue(struct client_core *core, struct client_call *call) { queue(core, call, false); }

static void unqueue(struct client_core *core, struct client_call *call)
{
    list_remove(&call->of_queue);
    core->calls_queued_count--;
    core->calls_queued_ns -= call->expected_ns;
}

uint32_t client_calls_queued(const struct client_core *core) { return core->calls_queued_count; }
uint64_t client_calls_queued_ns(const struct client_core *core) { return core->calls_queued_ns; }

uint64_t client_calls_oldest_ns(const struct client_core *core)
{
    return list_is_empty(&core->calls_queued)
               ? UINT64_MAX
               : CONTAINER_OF(core->calls_queued.next, struct client_call, of_queue)->queued_ns;
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

int client_call_add(struct client_core *core, uint64_t number, const struct spec *spec, uint64_t now_ns)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    if (scope->is_again || !args_stay(scope, spec) || core->calls_waiting_count == CLIENT_CALLS_WAITING_MAX) {
        return ROOST_EEXIST;
    }
    size_t needs = align_up(sizeof(struct client_call) + spec->returns * sizeof(struct own_result), 8);
    size_t head = needs + count_refs(spec) * sizeof(struct need);
    struct client_call *call = malloc(head + spec->bytes);
    if (call == NULL) {
        return ROOST_ENOMEM;
    }
    memset(call, 0, head);
    call->needs = (struct need *)(void *)((unsigned char *)call + needs);
    call->spec = (struct spec *)(void *)((unsigned char *)call + head);
    memcpy(call->spec, spec, spec->bytes);
    call->scope = number;
    call->queued_ns = now_ns;
    call->results_left = spec->returns;
    list_init(&call->of_queue);
    for (uint32_t i = 0; i < spec->returns; i++) {
        struct own_result *result = &call->results[i];
        result->call = call;
        list_init(&result->waits);
        list_init(&result->needs);
        result->name = name_need(scope, result_id(spec->task, i));
        if (result->name == NULL || result->name->holds + result->name->ties > 0) {
            bool is_known = result->name != NULL; /* a call made again by a later attempt: the agent's way knows how */
            unname(core, call, i);
            free(call);
            return is_known ? ROOST_EEXIST : ROOST_ENOMEM;
        }
        result->name->holds = 1;
        result->name->result = result;
        core->owned_count++;
    }
    tie_args(core, scope, spec);
    needs_begin(core, scope, call);
    needs_settle(core);
    return 0;
}

static bool has_room(const struct client_lease *lease, const struct client_call *call)
{
    return client_lease_is_open(lease) && (lease->depth == 0 || (!lease->is_slow && lease->depth < LEASE_SLOTS &&
                                                                 lease->ahead_ns + call->expected_ns <= AHEAD_NS));
}

struct client_call *client_call_next(struct client_core *core, struct client_lease **lease_out)
{
    if (list_is_empty(&core->calls_queued)) {
        return NULL;
    }
    struct client_call *call = CONTAINER_OF(core->calls_queued.next, struct client_call, of_queue);
    struct client_lease *best = NULL;
    LIST_EACH (at, &core->leases) {
        struct client_lease *lease = CONTAINER_OF(at, struct client_lease, of_core);
        if (has_room(lease, call) && (best == NULL || lease->ahead_ns < best->ahead_ns)) {
            best = lease;
        }
    }
    *lease_out = best;
    return best == NULL ? NULL : call;
}

const struct spec *client_call_spec(const struct client_call *call, uint32_t *attempt_out)
{
    *attempt_out = call->attempt;
    return call->spec;
}

bool client_calls_are_urgent(const struct client_core *core)
{
    bool is_urgent = core->calls_queued_count + core->calls_waiting_count + core->calls_urgent_count > 0;
    LIST_EACH (at, &core->leases) {
        const struct client_lease *lease = CONTAINER_OF(at, struct client_lease, of_core);
        is_urgent = is_urgent || (lease->depth > 0 && (lease->is_wanted || lease->is_recalled));
    }
    return is_urgent;
}

static void set_urgent(struct client_core *core, struct client_call *call, bool is_urgent)
{
    core->calls_urgent_count += is_urgent - call->is_urgent;
    call->is_urgent = is_urgent;
}

void client_call_pushed(struct client_core *core, struct client_call *call, struct client_lease *lease, uint64_t ticket,
                        uint64_t now_ns)
{
    ROOST_PRE(call->state == CALL_QUEUED);
    unqueue(core, call);
    call->state = CALL_PUSHED;
    call->lease = lease;
    call->ticket = ticket;
    list_append(&lease->pushed, &call->of_queue);
    if (lease->depth == 0) {
        lease->changed_ns = now_ns;
        lease->is_slow = false; /* what was taken long was taken back, too */
    }
    lease->depth++;
    lease->ahead_ns += call->expected_ns;
    set_urgent(core, call, call->is_escaped || count_refs(call->spec) > 0);
}

static void unpush(struct client_core *core, struct client_call *call)
{
    ROOST_PRE(call->state == CALL_PUSHED);
    set_urgent(core, call, false);
    list_remove(&call->of_queue);
    call->lease->depth--;
    call->lease->ahead_ns -= call->expected_ns;
}

void client_call_taken_back(struct client_core *core, struct client_call *call)
{
    unpush(core, call);
    queue(core, call, true);
}

void client_call_needs_pull(struct client_core *core, struct client_call *call, uint64_t now_ns)
{
    call->lease->changed_ns = now_ns; /* it gets on */
    call->lease->is_slow = false;
    unpush(core, call);
    call->lease = NULL;
    call->state = CALL_LEAVING;
    list_append(&core->calls_leaving, &call->of_queue);
}

bool client_call_try_again(struct client_core *core, struct client_call *call, uint32_t *attempts_out)
{
    *attempts_out = call->attempt + 1;
    if ((int64_t)*attempts_out > call->spec->max_retries) {
        return false;
    }
    call->attempt++;
    client_call_taken_back(core, call);
    return true;
}

/* ---- results ---- */

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

/* Nothing of the call is left but memory. */
static void drop_if_over(struct client_call *call)
{
    if (call->results_left == 0 && call->state == CALL_DONE) {
        call_free(call);
    }
}

void own_result_unwanted(struct client_core *core, struct own_result *result)
{
    struct client_call *call = result->call;
    result->name = NULL;
    core->owned_count--;
    tell(core, result, true);
    result_drop_data(result);
    call->results_left--;
    drop_if_over(call);
}

struct own_result *own_find(const struct client_core *core, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        const struct client_name *name = name_find(CONTAINER_OF(at, struct client_scope, node), id);
        if (name != NULL && name->result != NULL) {
            return name->result;
        }
    }
    return NULL;
}

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

static void let_go(struct client_core *core, struct own_result *result);

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
    set_urgent(core, call, call->state == CALL_PUSHED);
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
    drop_if_over(call);
}

/* What a call needs goes out before it: whoever has to make its attempt without us finds it. A list, no recursion. */
static void let_out(struct client_core *core, struct client_call *call)
{
    call->above = NULL;
    call->args_visited = 0;
    for (struct client_call *top = call; top != NULL;) {
        struct client_call *below = need_below(core, top), *above = top->above;
        if (below != NULL) {
            below->above = top;
            below->args_visited = 0;
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
        let_out(core, wanted->call);
    }
}

uint64_t client_call_scope(const struct client_call *call) { return call->is_orphan ? CLIENT_SCOPE : call->scope; }

/* The result is nobody's own any more: its name goes on without it. */
static void let_go(struct client_core *core, struct own_result *result)
{
    struct client_call *call = result->call;
    core->owned_count--;
    result->name->result = NULL;
    result->name = NULL;
    result->is_gone = true;
    result_drop_data(result);
    call->results_left--;
}

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

struct client_call *client_call_at(struct list_node *of_queue)
{
    return CONTAINER_OF(of_queue, struct client_call, of_queue);
}

uint64_t client_call_ticket(const struct client_call *call) { return call->ticket; }

struct client_call *client_call_of(struct client_lease *lease, uint64_t ticket)
{
    LIST_EACH (at, &lease->pushed) {
        struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
        if (call->ticket == ticket) {
            return call;
        }
    }
    return NULL;
}

static void take_results(struct client_core *core, struct client_call *call, const struct client_done *done)
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

void client_call_done(struct client_core *core, struct client_call *call, const struct client_done *done,
                      uint64_t now_ns)
{
    struct pace *pace = pace_of(core, call->spec);
    if (done->duration_ns > 0) { /* one that was kept from its processor must not make the others look long */
        uint64_t most_ns = 2 * pace->mean_ns, ns = done->duration_ns < most_ns ? done->duration_ns : most_ns;
        pace->mean_ns += (ns >> PACE_SHIFT) - (pace->mean_ns >> PACE_SHIFT);
        pace->mean_ns = pace->mean_ns < PACE_NS_MIN ? PACE_NS_MIN : pace->mean_ns;
    }
    call->lease->changed_ns = now_ns;
    call->lease->is_slow = false;
    uint32_t attempts;
    bool wants_another = done->status != 0 && (call->spec->flags & SPEC_RETRY_ON_FAILURE) != 0 &&
                         done->failure->status != ROOST_EWORKER;
    if (wants_another && client_call_try_again(core, call, &attempts)) {
        return;
    }
    unpush(core, call);
    call->state = CALL_DONE;
    take_results(core, call, done);
    untie_args(core, call->scope, call->spec);
    drop_if_over(call);
    needs_settle(core);
}

void call_fail_by(struct client_core *core, struct client_call *call, const struct own_result *failed)
{
    struct wire_failure failure = { .status = ROOST_EFAILED };
    memcpy(&failure, failed->data, failed->bytes < sizeof failure ? failed->bytes : sizeof failure);
    const struct client_done done = { .status = failure.status, .failure = &failure };
    call->state = CALL_DONE;
    take_results(core, call, &done);
    untie_args(core, call->scope, call->spec);
    drop_if_over(call);
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
    drop_if_over(call);
    return 0;
}

bool client_own_attend(struct client_core *core, struct object_id id, struct client_own_node *node)
{
    struct own_result *result = own_find(core, id);
    if (result == NULL || result->is_sealed) {
        return false;
    }
    list_append(&result->waits, &node->of_result);
    return true;
}

void client_own_leave(struct client_own_node *node) { list_remove(&node->of_result); }

/* ---- the end of a scope ---- */

static void leave_of(struct client_core *core, struct list_node *calls, uint64_t scope)
{
    LIST_EACH_SAFE (at, calls) {
        struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
        if (call->scope != scope) {
            continue;
        }
        if (call->state == CALL_QUEUED) {
            unqueue(core, call);
            call->state = CALL_LEAVING;
            list_append(&core->calls_leaving, &call->of_queue);
        } else {
            call_leave(core, call);
        }
    }
}

void client_calls_scope_ends(struct client_core *core, uint64_t scope)
{
    leave_of(core, &core->calls_queued, scope);
    leave_of(core, &core->calls_waiting, scope);
    LIST_EACH (lease_at, &core->leases) {
        LIST_EACH (at, &CONTAINER_OF(lease_at, struct client_lease, of_core)->pushed) {
            struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
            if (call->scope == scope && !call->is_escaped) {
                let_out(core, call);
            }
            call->is_orphan = call->is_orphan || call->scope == scope;
        }
    }
}

/* ---- the agent's way ---- */

bool client_calls_leave(const struct client_core *core) { return !list_is_empty(&core->calls_leaving); }

int client_call_submit(struct client_core *core, bool is_late, struct client_call **call_out,
                       struct client_flight **flight_out)
{
    struct list_node *from = client_calls_leave(core) ? &core->calls_leaving : &core->calls_queued;
    *call_out = NULL;
    if (list_is_empty(from) || (from == &core->calls_queued && !is_late)) {
        return 0;
    }
    struct client_call *call = CONTAINER_OF(from->next, struct client_call, of_queue);
    *flight_out = NULL;
    int status = 0;
    if (call->is_orphan) { /* the agent has it, and what it reads: this only says whose turn it is */
        *flight_out = flight_orphan(core);
        status = *flight_out == NULL ? ROOST_ENOMEM : 0;
    } else {
        status = client_submit(core, call->scope, call->spec, NULL, flight_out);
    }
    if (status != 0) {
        return status;
    }
    if (call->state == CALL_QUEUED) {
        unqueue(core, call);
    } else {
        list_remove(&call->of_queue);
    }
    call->state = CALL_GONE;
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
    untie_args(core, call->scope, call->spec);
    needs_settle(core);
    *call_out = call;
    return 0;
}

void client_call_forget(struct client_call *call) { call_free(call); }

/* ---- leases ---- */

void client_lease_add(struct client_core *core, struct client_lease *lease, uint64_t number)
{
    *lease = (struct client_lease){ .number = number };
    list_init(&lease->pushed);
    list_append(&core->leases, &lease->of_core);
}

static int say_of_lease(struct client_core *core, enum wire_kind kind, const struct client_lease *lease)
{
    struct say_entry *entry = say_entry_new(kind, sizeof entry->u.lease_back);
    if (entry == NULL) {
        return ROOST_ENOMEM;
    }
    entry->u.lease_back.lease = lease->number;
    say(core, &entry->say, SAY_ENTRY);
    return 0;
}

void client_lease_break(struct client_core *core, struct client_lease *lease)
{
    if (!lease->has_ended) {
        ROOST_INVARIANT(say_of_lease(core, WIRE_LEASE_BROKEN, lease) == 0); /* its calls would stay pending for ever */
        lease->has_ended = true;
    }
}

int client_lease_remove(struct client_core *core, struct client_lease *lease)
{
    ROOST_PRE(list_is_empty(&lease->pushed));
    int status = say_of_lease(core, WIRE_LEASE_BACK, lease);
    if (status != 0) {
        return status;
    }
    list_remove(&lease->of_core);
    return 0;
}
