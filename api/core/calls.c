/* calls.c - calls through leases: from the caller to a worker of this node and back, with no daemon between
 *
 * Owns such calls, from the one that made them to the leases that they go through, and what their arguments are tied by.
 * Their results are own_results.c's; how they wait for each other is needs.c's.
 *
 *              needs are met         a ring has room               completed
 *     WAITING ------------> QUEUED ------------------> PUSHED ------------------> DONE: its results are sealed, here or
 *        |                   | ^                         |                              (ADOPT) with the agent
 *        |                   | '--taken back, or tried again after its worker's death
 *        |                   |                           '--what it reads is not here any more--> LEAVING
 *        |                   '--nobody takes it for too long--> gone the agent's way
 *        '--what it needs is not to be had here (needs.c)--> LEAVING --> gone the agent's way
 *
 * Happy path: add -> (needs.c) -> next -> pushed -> done -> its last result ends -> freed.
 * Failures:   the worker dies      -> what it had not claimed is taken back; what it ran is tried again, or fails.
 *             its scope ends first -> what runs goes on, and the agent hears of it; the others go the agent's way.
 *             an argument is gone  -> the agent's way, who brings it.
 * Invariants: a queued call is in `calls_queued`, a pushed one in its lease's list, a done one in none and lives for its
 *             results. Its arguments are tied until it is done or gone.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/bytes.h"
#include "common/contract.h"

#include <stdlib.h>
#include <string.h>

enum {
    AHEAD_NS = 1000000, /* of work in one ring: more would wait behind it while others idle */
    PACE_PRIOR_NS = 100000,
    PACE_NS_MIN = 1000,
    PACE_SHIFT = 3, /* a new duration weighs an eighth */
    NEEDS_AHEAD = 4,
    CALL_AHEAD_BYTES = 640
};

void calls_init(struct client_core *core)
{
    struct list_node *lists[] = { &core->calls_waiting, &core->calls_met, &core->calls_queued, &core->calls_leaving,
                                  &core->leases };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
}

static void call_free(struct client_call *call)
{
    own_results_fini(call);
    free(call);
}

void call_drop_if_over(struct client_call *call)
{
    if (call->results_left == 0 && call->state == CALL_DONE) {
        call_free(call);
    }
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

static uint64_t ties_of(const struct client_core *core, const struct list_node *calls)
{
    uint64_t ties = 0;
    LIST_EACH (at, calls) {
        const struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
        ties += core_scope(core, call->scope) == NULL ? 0 : call->needs_count;
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

static struct pace *pace_of(struct client_core *core, const struct client_call *call)
{
    struct pace *pace = &core->paces[call->function % PACES];
    if (pace->function != call->function) {
        *pace = (struct pace){ call->function, PACE_PRIOR_NS };
    }
    return pace;
}

/* ---- queue ---- */

static void queue(struct client_core *core, struct client_call *call, bool is_first)
{
    call->state = CALL_QUEUED;
    call->lease = NULL;
    call->expected_ns = pace_of(core, call)->mean_ns;
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

uint64_t client_calls_ahead_ns(const struct client_core *core)
{
    uint64_t ahead_ns = core->calls_queued_ns;
    LIST_EACH (at, &core->leases) {
        ahead_ns += CONTAINER_OF(at, struct client_lease, of_core)->ahead_ns;
    }
    return ahead_ns;
}

bool client_calls_hold_queued(struct client_core *core, uint64_t scope, uint32_t place, struct object_id *id_out)
{
    uint32_t number = 0;
    LIST_EACH (at, &core->calls_queued) {
        struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
        if (number++ >= place && call->scope == scope && !call->is_orphan && call->results[0].name != NULL) {
            call->results[0].name->holds++;
            *id_out = call->results[0].name->id;
            return true;
        }
    }
    return false;
}

uint64_t client_calls_oldest_ns(const struct client_core *core)
{
    return list_is_empty(&core->calls_queued)
               ? UINT64_MAX
               : CONTAINER_OF(core->calls_queued.next, struct client_call, of_queue)->queued_ns;
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

/* One piece: the call, its results, its needs, its spec. NULL: no memory. */
static struct client_call *call_new(uint64_t scope, const struct spec *spec)
{
    uint32_t refs = count_refs(spec);
    size_t needs = align_up(sizeof(struct client_call) + spec->returns * sizeof(struct own_result), 8);
    size_t head = needs + refs * sizeof(struct need);
    struct client_call *call = malloc(head + spec->bytes);
    if (call != NULL) {
        memset(call, 0, head);
        call->needs = (struct need *)(void *)((unsigned char *)call + needs);
        call->needs_count = refs;
        call->spec = (struct spec *)(void *)((unsigned char *)call + head);
        memcpy(call->spec, spec, spec->bytes);
        call->function = hash64(spec_function(spec), spec->function.bytes, 0);
        call->scope = scope;
        list_init(&call->of_queue);
    }
    return call;
}

void client_call_foresee(const struct client_core *core, uint64_t number, const struct spec *spec)
{
    const struct client_scope *scope = core_scope(core, number);
    for (uint32_t i = 0; scope != NULL && i < spec->args_count && i < NEEDS_AHEAD; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            id_map_prefetch(&scope->names, object_id_key(object_id_of(ref)));
        }
    }
    if (scope != NULL) {
        id_map_prefetch(&scope->names, object_id_key(result_id(spec->task, 0)));
    }
}

int client_call_add(struct client_core *core, uint64_t number, const struct spec *spec, bool others_are_here,
                    uint64_t now_ns)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    if (scope->is_again || core->calls_waiting_count == CLIENT_CALLS_WAITING_MAX) {
        return ROOST_EEXIST;
    }
    struct client_call *call = call_new(number, spec);
    if (call == NULL) {
        return ROOST_ENOMEM;
    }
    call->queued_ns = now_ns;
    int status = needs_find(scope, call, others_are_here);
    status = status == 0 ? own_results_begin(core, scope, call) : status;
    if (status != 0) {
        free(call);
        return status;
    }
    needs_begin(core, call);
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
    if (call->of_queue.next != &core->calls_queued) {
        prefetch_lines(CONTAINER_OF(call->of_queue.next, struct client_call, of_queue), CALL_AHEAD_BYTES);
    }
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

void call_set_urgent(struct client_core *core, struct client_call *call, bool is_urgent)
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
    call_set_urgent(core, call, call->is_escaped || call->needs_count > 0);
}

static void unpush(struct client_core *core, struct client_call *call)
{
    ROOST_PRE(call->state == CALL_PUSHED);
    call_set_urgent(core, call, false);
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

/* ---- completed ---- */

static const struct client_call *call_behind(const struct client_lease *lease, const struct list_node *node)
{
    return node->next == &lease->pushed ? NULL : CONTAINER_OF(node->next, const struct client_call, of_queue);
}

/* The calls at the head of the lease are done one after the other, soon: what that reads is asked for, each step with what
 * the one before has brought. By the time it is done, a call of a large graph is in no cache, nor is the one that needs
 * its result, which is pushed then. */
static void foresee_done(const struct client_lease *lease)
{
    const struct client_call *first = call_behind(lease, &lease->pushed);
    const struct client_call *second = first == NULL ? NULL : call_behind(lease, &first->of_queue);
    const struct client_call *third = second == NULL ? NULL : call_behind(lease, &second->of_queue);
    if (third == NULL) {
        return;
    }
    prefetch_lines(third, sizeof *third + sizeof third->results[0] + NEEDS_AHEAD * sizeof(struct need));
    __builtin_prefetch(second->results[0].name, 1);
    __builtin_prefetch(second->results[0].needs.next, 1);
    for (uint32_t i = 0; i < second->needs_count && i < NEEDS_AHEAD; i++) {
        __builtin_prefetch(second->needs[i].name, 1);
    }
    if (!list_is_empty(&first->results[0].needs)) {
        prefetch_lines(CONTAINER_OF(first->results[0].needs.next, const struct need, of_result)->call,
                       CALL_AHEAD_BYTES);
    }
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

void client_call_done(struct client_core *core, struct client_call *call, const struct client_done *done,
                      uint64_t now_ns)
{
    struct pace *pace = pace_of(core, call);
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
    foresee_done(call->lease);
    own_results_take(core, call, done);
    needs_end(core, call);
    call_drop_if_over(call);
    needs_settle(core);
}

void call_fail_by(struct client_core *core, struct client_call *call, const struct own_result *failed)
{
    struct wire_failure failure = { .status = ROOST_EFAILED };
    memcpy(&failure, failed->data, failed->bytes < sizeof failure ? failed->bytes : sizeof failure);
    const struct client_done done = { .status = failure.status, .failure = &failure };
    call->state = CALL_DONE;
    own_results_take(core, call, &done);
    needs_end(core, call);
    call_drop_if_over(call);
}

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

uint64_t client_call_scope(const struct client_call *call) { return call->is_orphan ? CLIENT_SCOPE : call->scope; }

void client_calls_scope_ends(struct client_core *core, uint64_t scope)
{
    leave_of(core, &core->calls_queued, scope);
    leave_of(core, &core->calls_waiting, scope);
    LIST_EACH (lease_at, &core->leases) {
        LIST_EACH (at, &CONTAINER_OF(lease_at, struct client_lease, of_core)->pushed) {
            struct client_call *call = CONTAINER_OF(at, struct client_call, of_queue);
            if (call->scope == scope && !call->is_escaped) {
                call_let_out(core, call);
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
    own_results_move(core, call);
    needs_end(core, call);
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
