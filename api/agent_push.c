/* agent_push.c - calls into the rings of leases
 *
 * Happy path: a call waits in the core -> a lease is asked for, the first one at once -> the call is written into the ring
 *             that has least before it, and the worker is rung.
 * Failures:   no lease, ever              -> all calls go the agent's way.
 *             nobody takes it             -> a call that has waited for PATIENCE_NS goes the agent's way if that knows other
 *                                            nodes, when the leases do not get on.
 *             its inputs are not here     -> the agent's way, too.
 *             too many wait for a lease   -> the caller waits for one in the middle, as for any result.
 * Invariants: what a pushed call reads the agent has been told of before.
 * Thread:     any; what is sent late is the library's.
 */
#include "api/agent_lease.h"

enum {
    PATIENCE_NS = 20000000,
    BACKLOG_NS = 200000, /* more than that for each lease, and another one is worth asking for */
    BACKLOG_NS_MAX = 100000000,
    LOOK_CALLS = 16, /* made between two looks at what came, if nobody waits for it: a look takes lines from a worker */
    IMPATIENT_MAX = 16 /* at each look: a flood at the agent would ask the leases back that it should go through */
};

static struct link_lease *lease_of(struct client_lease *core) { return CONTAINER_OF(core, struct link_lease, core); }

/* ---- asking for leases ---- */

static void ask_answered(struct client_ask *ask)
{
    struct agent_link *link = CONTAINER_OF(ask, struct agent_link, lease_ask);
    link->lease_is_granted = true;
    leases_call_library(link);
}

/* Does one of them take calls, and not just hold a long one? */
static bool leases_get_on(struct agent_link *link)
{
    LIST_EACH (at, &link->leases) {
        const struct client_lease *lease = &CONTAINER_OF(at, struct link_lease, of_link)->core;
        if (client_lease_is_open(lease) && !lease->is_slow) {
            return true;
        }
    }
    return false;
}

/* One at a time: the first as soon as there is a call, another when what is to be done is more than a moment's work, or waits
 * behind long calls. */
static void ask_for_one(struct agent_link *link)
{
    bool is_enough = leases_get_on(link) &&
                     client_calls_ahead_ns(link->core) < (uint64_t)BACKLOG_NS * link->leases_count;
    if (link->lease_is_asked || link->lease_is_denied || is_enough || link->leases_count + 1 >= CLIENT_LEASES_MAX) {
        return;
    }
    link->others = 0; /* it says so when there are any */
    link->lease_ask = (struct client_ask){ .kind = WIRE_LEASE, .bell = CLIENT_BELL_LIBRARY, .on_done = ask_answered };
    link->lease_is_asked = client_ask(link->core, &link->lease_ask) == 0;
    link_flush_locked(link);
}

void leases_need_ticks_locked(struct agent_link *link)
{
    if (!link->lease_ticks) {
        link->lease_ticks = true;
        leases_call_library(link);
    }
}

/* ---- pushing ---- */

/* Written where the worker reads it. */
static bool push(struct agent_link *link, struct link_lease *lease, const struct client_call *call,
                 uint64_t *ticket_out)
{
    void *payload;
    uint32_t attempt;
    int status = task_ring_reserve(&lease->tasks, &payload);
    if (status == 0) {
        client_call_spec(call, &attempt);
        size_t bytes = client_call_write(link->core, call, payload);
        *ticket_out = task_ring_publish(&lease->tasks, lease->core.number, attempt, bytes);
    } else if (status == ROOST_EINVAL) {
        lease_break(link, lease);
    }
    return status == 0;
}

/* What a task reads, the agent has been told of before its worker may ask. */
static bool all_is_said(struct agent_link *link)
{
    bool is_said = link->unsent == NULL && !client_core_is_urgent(link->core);
    return is_said || link_flush_locked(link);
}

static void push_all(struct agent_link *link, uint64_t now_ns)
{
    struct client_lease *core;
    struct client_call *call;
    uint64_t ticket;
    bool any = false;
    while ((call = client_call_next(link->core, &core)) != NULL && push(link, lease_of(core), call, &ticket)) {
        client_call_pushed(link->core, call, core, ticket, now_ns);
        lease_of(core)->is_rung = true;
        any = true;
    }
    bool waits = client_calls_queued(link->core) > 0;
    link->lease_is_busy = link->lease_is_busy || any;
    LIST_EACH (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        if (any && lease->is_rung) {
            lease->is_rung = false;
            doorbell_ring(lease->bell);
        }
        waits = waits || lease->core.depth > 1;
    }
    if (any || client_calls_queued(link->core) > 0) {
        ask_for_one(link);
    }
    if (waits) {
        leases_need_ticks_locked(link);
    }
}

void leases_push_locked(struct agent_link *link, uint64_t now_ns)
{
    bool is_said = all_is_said(link);
    if (!is_said || client_calls_leave(link->core)) {
        leases_need_ticks_locked(link);
    }
    if (is_said) {
        push_all(link, now_ns);
    }
    leases_set_lead_locked(link);
}

/* ---- a call ---- */

/* Is every input a value on this node, as far as this process sees, or will it be this process's own? What is private is. */
static bool inputs_are_here(struct agent_link *link, const struct spec *spec)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        if (!spec_arg_is_input(arg) || client_peek(link->rt, arg->as.ref, NULL) == 0) {
            continue;
        }
        pthread_mutex_lock(&link->lock);
        enum client_own own = client_own_look(link->core, object_id_of(arg->as.ref), NULL);
        pthread_mutex_unlock(&link->lock);
        if (own == CLIENT_OWN_NOT) {
            return false;
        }
    }
    return true;
}

/* Until the queue is a good deal shorter: a wait as any other, so that a task's CPU is its calls' meanwhile. False: that is
 * not to be had. */
static bool wait_for_room_locked(struct agent_link *link, uint64_t scope)
{
    struct object_id id;
    while (client_calls_queued(link->core) >= CLIENT_CALLS_QUEUED_MAX) {
        if (!client_calls_hold_queued(link->core, scope, CLIENT_CALLS_QUEUED_MAX / 4, &id)) {
            return false;
        }
        const roost_ref ref = object_ref(id);
        int8_t ready = 0;
        const struct wait_request request = { &ref, 1, 1, false, &ready, ROOST_FOREVER, NULL };
        pthread_mutex_unlock(&link->lock);
        int status = agent_wait(link->rt, &request);
        agent_free(link->rt, scope, &ref, 1);
        pthread_mutex_lock(&link->lock);
        if (status != 0 || ready < 0) {
            return false;
        }
    }
    return true;
}

bool leases_take(struct agent_link *link, uint64_t scope, const struct spec *spec, int *status_out)
{
    if (!client_call_may_lease(spec)) {
        return false;
    }
    pthread_mutex_lock(&link->lock);
    client_call_foresee(link->core, scope, spec);
    if (client_calls_are_urgent(link->core) || link->calls_made++ % LOOK_CALLS == 0) {
        link_drain_locked(link);
    }
    bool is_denied = link->lease_is_denied && link->leases_count == 0;
    if (is_denied || !wait_for_room_locked(link, scope)) {
        pthread_mutex_unlock(&link->lock);
        return false;
    }
    uint64_t now_ns = link_now_ns();
    int status = client_call_add(link->core, scope, spec, false, now_ns);
    if (status == ROOST_ENOENT) { /* its inputs are not just what other calls return */
        pthread_mutex_unlock(&link->lock);
        if (!inputs_are_here(link, spec)) {
            return false;
        }
        pthread_mutex_lock(&link->lock);
        status = client_call_add(link->core, scope, spec, true, now_ns);
    }
    if (status == 0) {
        link_note_own_locked(link);
        if (client_core_is_urgent(link->core)) { /* arguments that the worker will look for */
            link_flush_locked(link);
        }
        leases_push_locked(link, now_ns);
    }
    pthread_mutex_unlock(&link->lock);
    *status_out = status;
    return status != ROOST_EEXIST;
}

/* ---- late ---- */

/* There will be no lease. Or the oldest call has waited, there are other nodes, which may be idle, and the leases do not get
 * on: there are none, they complete nothing, or there is more than they should do by themselves. On one node alone the
 * agent's way leads to the same processors, only slower, and takes along all that needs its results. */
static bool is_late(struct agent_link *link, uint64_t now_ns)
{
    uint64_t oldest_ns = client_calls_oldest_ns(link->core), progress_ns = 0;
    if (link->lease_is_denied && link->leases_count == 0) {
        return oldest_ns != UINT64_MAX;
    }
    LIST_EACH (at, &link->leases) {
        const struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        progress_ns = lease->core.changed_ns > progress_ns ? lease->core.changed_ns : progress_ns;
    }
    bool is_enough = client_calls_queued_ns(link->core) > (uint64_t)BACKLOG_NS_MAX * link->leases_count;
    bool may_go = link->others > 0 && (is_enough || progress_ns + PATIENCE_NS <= now_ns);
    return may_go && oldest_ns != UINT64_MAX && oldest_ns + PATIENCE_NS <= now_ns;
}

void leases_send_late(struct agent_link *link)
{
    for (int late = 0;;) {
        struct client_call *call = NULL;
        pthread_mutex_lock(&link->lock);
        bool is_leaving = client_calls_leave(link->core);
        bool may_more = late < IMPATIENT_MAX || link->lease_is_denied;
        bool is_next = is_leaving || (may_more && is_late(link, link_now_ns()));
        if (is_next && link_gone(link) == 0) {
            call = link_submit_call_locked(link, !is_leaving);
        }
        pthread_mutex_unlock(&link->lock);
        if (call == NULL) {
            return;
        }
        client_call_forget(call);
        late += !is_leaving;
    }
}
