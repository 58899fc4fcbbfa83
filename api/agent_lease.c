/* agent_lease.c - leases as this process holds them: pushing calls, taking in what was completed, giving back
 *
 * Happy path: a call waits in the core -> a lease is asked for -> its memory is mapped -> the call is pushed and the worker
 *             rung -> the completion is taken in by whichever thread looks first: the lead, whose bell the worker rings, if
 *             somebody waits; the library's thread, if more hangs on it than its value; else whoever calls or waits next.
 * Failures:   asked back, or blocked   -> what nobody has claimed is taken back and pushed elsewhere.
 *             the worker dies          -> what it completed is read, what it had not begun waits again, what it ran is tried
 *                                         again or fails.
 *             behind a long task       -> taken back after LONG_NS; a call that nobody has taken for PATIENCE_NS goes the
 *                                         agent's way if that knows other nodes, when the leases do not get on.
 *             no lease, ever           -> all calls go the agent's way.
 *             an argument is gone      -> the worker gives the call back, and it goes the agent's way.
 *             a broken ring            -> the agent is told, ends the worker, and says so: as when one dies.
 * Invariants: a lease goes back only when every call that was pushed is done or taken back. The lead is a thread that waits,
 *             the library's, or nobody; who begins to lead looks, or is rung, for what came before.
 * Thread:     any, under the link's lock; mapping and the agent's way: the library's.
 */
#define LOG_TOPIC "lease"
#include "api/agent_world.h"
#include "common/bytes.h"
#include "common/log.h"
#include "common/thread_hooks.h"
#include "objectstore/lease_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum {
    LOOK_NS = 1000000,
    LONG_NS = 2000000,
    PATIENCE_NS = 20000000,
    BACKLOG_NS = 200000, /* more than that for each lease, and another one is worth asking for */
    BACKLOG_NS_MAX = 100000000,
    LOOK_CALLS =
        16, /* a look at what came takes lines from the worker: one for so many calls, if nobody waits for it */
    PATIENT_LEFT = 64, /* a thread that waits for more than so many results may get them together */
    IMPATIENT_MAX = 16 /* at each look: a flood at the agent would ask the leases back that it should go through */
};

struct link_lease {
    struct client_lease core;
    struct list_node of_link;
    struct lease_page_head *page;
    struct task_ring tasks;
    struct ring_consumer completes;
    struct doorbell *bell; /* the worker's */
    int64_t pid;
    int32_t wait_status; /* once it has ended */
    bool is_settled;     /* ended, and its calls are elsewhere */
    bool is_rung;        /* pushed to since the worker was last rung: to be */
};

static struct link_lease *lease_of(struct client_lease *core) { return CONTAINER_OF(core, struct link_lease, core); }

uint64_t link_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* There is work for the library's thread. It looks at the mark before it sleeps, as its bell is not armed while it works. */
static void call_library(struct agent_link *link)
{
    link->lease_is_due = true;
    doorbell_ring(link_bell(link, CLIENT_BELL_LIBRARY));
}

/* The library's thread says so to the agent. */
static void break_lease(struct agent_link *link, struct link_lease *lease)
{
    client_lease_break(link->core, &lease->core);
    call_library(link);
}

/* ---- who takes in ---- */

static bool completions_are_empty(struct agent_link *link)
{
    LIST_EACH (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        if (lease->page != NULL && !lease->completes.broken && !ring_is_empty(&lease->completes)) {
            return false;
        }
    }
    return true;
}

/* A thread that waits, the first; else the library's, if more hangs on a completion than its value; else nobody. Who
 * begins to lead is rung for what came before: the worker rang somebody else for it, or nobody. */
void leases_set_lead_locked(struct agent_link *link)
{
    const struct list_node *first = link->own_waits.next;
    bool is_patient = !list_is_empty(&link->own_waits) && first->next == &link->own_waits &&
                      CONTAINER_OF(first, const struct own_wait, all)->wait.left > PATIENT_LEFT;
    atomic_store_explicit(&link->bells->is_patient, is_patient, memory_order_relaxed); /* relaxed: a hint */
    uint32_t lead = !list_is_empty(&link->own_waits) ? CONTAINER_OF(link->own_waits.next, struct own_wait, all)->bell
                    : client_calls_are_urgent(link->core) ? CLIENT_BELL_LIBRARY
                                                          : CLIENT_LEAD_NONE;
    if (lead == link->lead) {
        return;
    }
    link->lead = lead;
    atomic_store_explicit(&link->bells->lead, lead, memory_order_relaxed);
    full_barrier(); /* visible before the rings are looked at once more */
    if (lead != CLIENT_LEAD_NONE && !completions_are_empty(link)) {
        doorbell_ring(link_bell(link, lead));
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
        break_lease(link, lease);
    }
    return status == 0;
}

static void ask_answered(struct client_ask *ask)
{
    struct agent_link *link = CONTAINER_OF(ask, struct agent_link, lease_ask);
    link->lease_is_granted = true;
    call_library(link);
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
        call_library(link);
    }
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

/* `now_ns` is read once for all that is done about a call or a completion: a look at the clock is a tenth of a call. */
static void push_locked(struct agent_link *link, uint64_t now_ns)
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
        push_locked(link, now_ns);
    }
    pthread_mutex_unlock(&link->lock);
    *status_out = status;
    return status != ROOST_EEXIST;
}

/* ---- taking in ---- */

static struct wire_failure failure_begin(const struct agent_link *link, const struct spec *spec, int32_t status,
                                         uint32_t attempts, int64_t pid)
{
    struct wire_failure failure = { .status = status, .attempts = (int32_t)attempts, .pid = pid };
    snprintf(failure.function, sizeof failure.function, "%s", spec_function(spec));
    snprintf(failure.node, sizeof failure.node, "%s", link->rt->node_name);
    return failure;
}

/* The words of a completion, all of them inside its bytes. */
static bool read_done(const unsigned char *entry, size_t bytes, struct lease_done *head, const char **text_out,
                      struct client_done *done)
{
    if (bytes < sizeof *head) {
        return false;
    }
    memcpy(head, entry, sizeof *head);
    size_t at = sizeof *head;
    if (head->text_bytes > WIRE_TEXT_BYTES_MAX || head->results > LEASE_RETURNS_MAX ||
        align_up(head->text_bytes, 8) > bytes - at || head->status > 0 ||
        (head->needs_pull != 0 && (head->status != 0 || head->results != 0))) {
        return false;
    }
    *text_out = (const char *)entry + at;
    at += align_up(head->text_bytes, 8);
    *done = (struct client_done){
        .run = head->run, .status = head->status, .duration_ns = head->duration_ns, .results = head->results
    };
    for (uint32_t i = 0; i < head->results; i++) {
        struct lease_result result;
        if (sizeof result > bytes - at) {
            return false;
        }
        memcpy(&result, entry + at, sizeof result);
        at += sizeof result;
        done->result[i].is_stored = result.kind == LEASE_RESULT_STORED;
        done->result[i].bytes = result.bytes;
        done->result[i].data = entry + at;
        if (!done->result[i].is_stored) {
            if (result.bytes > ROOST_SMALL_BYTES || align_up(result.bytes, 8) > bytes - at) {
                return false;
            }
            at += align_up(result.bytes, 8);
        }
    }
    return true;
}

static void take_done(struct agent_link *link, struct link_lease *lease, size_t bytes, uint64_t now_ns)
{
    struct lease_done head;
    struct client_done done;
    const char *text;
    if (!read_done(link->entry, bytes, &head, &text, &done)) {
        break_lease(link, lease);
        return;
    }
    struct client_call *call = head.lease == lease->core.number ? client_call_of(&lease->core, head.ticket) : NULL;
    uint32_t attempt;
    if (call == NULL) { /* nobody here pushed that */
        break_lease(link, lease);
        return;
    }
    if (head.needs_pull != 0) {
        client_call_needs_pull(link->core, call, now_ns);
        return;
    }
    const struct spec *spec = client_call_spec(call, &attempt);
    if (done.status == 0 && done.results != spec->returns) {
        break_lease(link, lease);
        return;
    }
    struct wire_failure failure;
    if (done.status != 0) {
        failure = failure_begin(link, spec, done.status, attempt + 1, lease->pid);
        failure.app_code = head.app_code;
        memcpy(failure.text, text, head.text_bytes < sizeof failure.text ? head.text_bytes : sizeof failure.text - 1);
        done.failure = &failure;
    }
    client_call_done(link->core, call, &done, now_ns);
}

/* When it took something in, or 0: there was nothing. */
static uint64_t drain_one(struct agent_link *link, struct link_lease *lease)
{
    size_t size;
    int got = 0;
    uint64_t now_ns = 0;
    while (lease->page != NULL &&
           (got = ring_take(&lease->completes, link->entry, CLIENT_MESSAGE_BYTES_MAX, &size)) == 1) {
        now_ns = now_ns == 0 ? link_now_ns() : now_ns;
        link->completions++;
        take_done(link, lease, size, now_ns);
    }
    if (now_ns != 0) {
        ring_consumed(&lease->completes);
    }
    if (got < 0) {
        break_lease(link, lease);
    }
    if (lease->core.depth == 0 && (lease->core.is_wanted || lease->core.is_recalled)) {
        call_library(link); /* which gives it back */
    }
    return now_ns;
}

/* What runs is all that there is: its end is told at once, where a worker with more to do lets its holder sleep. */
static bool nothing_is_behind(const struct agent_link *link)
{
    LIST_EACH (at, (struct list_node *)(uintptr_t)&link->leases) {
        if (CONTAINER_OF(at, struct link_lease, of_link)->core.depth > 1) {
            return false;
        }
    }
    return true;
}

bool leases_drain_locked(struct agent_link *link)
{
    uint64_t last_ns = 0;
    LIST_EACH (at, &link->leases) {
        uint64_t now_ns = drain_one(link, CONTAINER_OF(at, struct link_lease, of_link));
        last_ns = now_ns != 0 ? now_ns : last_ns;
    }
    if (last_ns != 0) {
        push_locked(link, last_ns);
        if (client_core_is_urgent(link->core)) { /* results that others wait for */
            link_flush_locked(link);
        }
    }
    return last_ns != 0 && nothing_is_behind(link);
}

bool leases_are_empty(struct agent_link *link) { return completions_are_empty(link) && !link->lease_is_due; }

/* ---- taking back ---- */

/* What nobody has claimed, newest first, so that the queue ends in the order in which it was. */
static void take_back(struct agent_link *link, struct link_lease *lease)
{
    static struct task_ring_item item; /* under the lock */
    struct list_node *at = lease->core.pushed.previous;
    while (at != &lease->core.pushed) {
        struct list_node *previous = at->previous;
        struct client_call *call = client_call_at(at);
        int taken = task_ring_take_back(&lease->tasks, client_call_ticket(call), &item);
        if (taken == 1) {
            client_call_taken_back(link->core, call);
        } else if (taken < 0) {
            break_lease(link, lease);
            return;
        }
        at = previous;
    }
}

void leases_scope_ends(struct agent_link *link, uint64_t scope)
{
    static struct task_ring_item item; /* under the lock */
    LIST_EACH (lease_at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(lease_at, struct link_lease, of_link);
        for (struct list_node *at = lease->core.pushed.previous, *previous; at != &lease->core.pushed; at = previous) {
            struct client_call *call = client_call_at(at);
            previous = at->previous;
            if (client_call_scope(call) == scope &&
                task_ring_take_back(&lease->tasks, client_call_ticket(call), &item) == 1) {
                client_call_taken_back(link->core, call);
            }
        }
    }
    client_calls_scope_ends(link->core, scope);
    for (unsigned tries = 0; link_gone(link) == 0; tries++) {
        struct client_call *call = link_submit_call_locked(link, false);
        if (call != NULL) {
            client_call_forget(call);
        } else if (!client_calls_leave(link->core) && link->calls_under_way == 0) {
            return;
        } else { /* another thread is at it */
            pthread_mutex_unlock(&link->lock);
            link_back_off(link, tries);
            pthread_mutex_lock(&link->lock);
        }
    }
}

/* Its worker is dead. What it claimed and did not copy out was not begun; then at most one was running. */
static void settle_dead(struct agent_link *link, struct link_lease *lease)
{
    static struct task_ring_item item; /* under the lock */
    drain_one(link, lease);
    take_back(link, lease);
    while (lease->page != NULL && task_ring_recover(&lease->tasks, LEASE_TAKER_WORKER, &item) == 1) {
        struct client_call *call = client_call_of(&lease->core, item.ticket);
        if (call != NULL) {
            client_call_taken_back(link->core, call);
        }
    }
    LIST_EACH_SAFE (at, &lease->core.pushed) {
        struct client_call *call = client_call_at(at);
        uint32_t attempts;
        if (client_call_try_again(link->core, call, &attempts)) {
            continue;
        }
        int status = lease->wait_status;
        const struct spec *spec = client_call_spec(call, &(uint32_t){ 0 });
        struct wire_failure failure = failure_begin(link, spec, ROOST_EWORKER, attempts, lease->pid);
        failure.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        if (failure.signal != 0) {
            snprintf(failure.text, sizeof failure.text, "killed by signal %d (%s)", failure.signal,
                     strsignal(failure.signal));
        } else {
            snprintf(failure.text, sizeof failure.text, "ended with status %d inside the function",
                     WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        }
        const struct client_done done = { .status = ROOST_EWORKER, .failure = &failure };
        client_call_done(link->core, call, &done, link_now_ns());
    }
}

static struct link_lease *find(struct agent_link *link, uint64_t number)
{
    LIST_EACH (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        if (lease->core.number == number) {
            return lease;
        }
    }
    return NULL;
}

/* Of no lease that is held. */
static void take_news_of_asks(struct agent_link *link, const struct wire_lease_news *news)
{
    if (news->what == WIRE_LEASE_OTHERS) {
        link->others = (uint32_t)news->wait_status;
    } else if (link->lease_is_asked && !link->lease_is_granted) {
        client_forget(link->core, &link->lease_ask);
        link->lease_is_asked = false;
        link->lease_is_denied = true;
    }
    call_library(link); /* which sends what may go the agent's way now */
}

void leases_news_locked(struct agent_link *link, const struct wire_lease_news *news)
{
    struct link_lease *lease = find(link, news->lease);
    if (news->what == WIRE_LEASE_OTHERS || news->what == WIRE_LEASE_DENIED) {
        take_news_of_asks(link, news);
        return;
    }
    if (lease == NULL) {
        link->lease_ended_early |= news->what == WIRE_LEASE_ENDED && link->lease_is_granted &&
                                   link->lease_ask.leased.lease == news->lease;
        return;
    }
    switch ((enum wire_lease_news_kind)news->what) {
    case WIRE_LEASE_WANTED:
        lease->core.is_wanted = true;
        break;
    case WIRE_LEASE_RECALLED:
        lease->core.is_recalled = true;
        take_back(link, lease);
        break;
    case WIRE_LEASE_BLOCKED:
        lease->core.is_blocked = true;
        take_back(link, lease);
        break;
    case WIRE_LEASE_UNBLOCKED:
        lease->core.is_blocked = false;
        break;
    case WIRE_LEASE_OTHERS:
    case WIRE_LEASE_DENIED:
        break;
    case WIRE_LEASE_ENDED:
        lease->core.has_ended = true;
        lease->wait_status = news->wait_status;
        settle_dead(link, lease);
        lease->is_settled = true;
        break;
    }
    push_locked(link, link_now_ns());
    call_library(link); /* which gives back what is to go back */
}

void leases_explain(struct agent_link *link, struct object_id id, struct wire_failure *failure)
{
    struct client_pending pending;
    pthread_mutex_lock(&link->lock);
    if (client_own_pending(link->core, id, link_now_ns(), &pending)) {
        failure->attempts = (int32_t)pending.attempts;
        failure->pid = pending.lease == NULL ? 0 : CONTAINER_OF(pending.lease, const struct link_lease, core)->pid;
        snprintf(failure->function, sizeof failure->function, "%s", pending.function);
        snprintf(failure->node, sizeof failure->node, "%s", link->rt->node_name);
        snprintf(failure->text, sizeof failure->text, "%s", pending.text);
    }
    pthread_mutex_unlock(&link->lock);
}

/* ---- the library's thread ---- */

static void forget(struct link_lease *lease)
{
    munmap(lease->page, lease_page_layout().bytes);
    free(lease);
}

static int attach(struct agent_link *link, const struct wire_leased *leased, struct link_lease **lease_out)
{
    struct link_lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL) {
        return ROOST_ENOMEM;
    }
    int status = link_lease_map(link, leased->lease, &lease->page);
    if (status != 0) {
        free(lease);
        return status;
    }
    const struct lease_page_layout layout = lease_page_layout();
    unsigned char *base = (unsigned char *)lease->page;
    status = lease_page_check(base, layout.bytes);
    if (status == 0) {
        status = task_ring_attach(&lease->tasks, base + layout.tasks, LEASE_SLOTS, LEASE_TAKER_HOLDER);
    }
    if (status == 0) {
        status = ring_consumer_attach(&lease->completes, base + layout.completes, LEASE_COMPLETES_BYTES);
    }
    if (status == 0 && leased->slot >= CLIENTS_MAX) {
        status = error_set(ROOST_EINVAL, "a lease of the worker in slot %u", leased->slot);
    }
    if (status != 0) {
        forget(lease);
        return status;
    }
    lease->bell = &link->node_bells[leased->slot].of[CLIENT_BELL_TASKS].doorbell;
    lease->pid = leased->pid;
    *lease_out = lease;
    return 0;
}

/* Without the lock: the agent is asked for the memory. */
static void take_grant(struct agent_link *link)
{
    struct link_lease *lease = NULL;
    const struct wire_leased leased = link->lease_ask.leased;
    int status = attach(link, &leased, &lease);
    pthread_mutex_lock(&link->lock);
    link_drain_locked(link); /* its worker may have died meanwhile: the news has come by now, or will find the lease */
    bool is_dead = link->lease_ended_early;
    link->lease_is_granted = link->lease_is_asked = link->lease_ended_early = false;
    link->others = leased.others;
    if (status != 0) {
        log_debug("event=lease_not_mapped lease=%" PRIu64 " why=\"%s\"", leased.lease, error_text());
        lease = calloc(1, sizeof *lease); /* to be given back, nothing else */
        ROOST_INVARIANT(lease != NULL);
    }
    client_lease_add(link->core, &lease->core, leased.lease);
    if (status != 0 || is_dead) {
        lease->core.is_recalled = true;
    }
    list_append(&link->leases, &lease->of_link);
    link->leases_count++;
    lease->core.changed_ns = link_now_ns();
    push_locked(link, lease->core.changed_ns);
    pthread_mutex_unlock(&link->lock);
}

static void give_back_locked(struct agent_link *link, uint64_t now_ns)
{
    LIST_EACH_SAFE (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        bool is_idle = lease->core.changed_ns + (uint64_t)LEASE_IDLE_MS * 1000000 <= now_ns;
        bool is_over = is_idle || lease->core.is_wanted || lease->core.is_recalled || lease->is_settled;
        if (lease->core.depth > 0 || !is_over || client_lease_remove(link->core, &lease->core) != 0) {
            continue;
        }
        list_remove(&lease->of_link);
        link->leases_count--;
        if (lease->page != NULL) {
            forget(lease);
        } else {
            free(lease);
        }
    }
}

/* Behind a task that takes long nothing waits: it is pushed elsewhere, or waits here for anybody. */
static void take_back_late(struct agent_link *link, uint64_t now_ns)
{
    LIST_EACH (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        if (lease->core.depth > 1 && lease->core.changed_ns + LONG_NS <= now_ns) {
            take_back(link, lease);
            lease->core.is_slow = true; /* until it completes something */
        }
    }
    push_locked(link, now_ns);
}

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

/* Without the lock, which it takes: the oldest calls that nobody takes go the agent's way, and all that need what went there
 * before. */
static void send_impatient(struct agent_link *link)
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

uint64_t leases_work(struct agent_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool is_granted = link->lease_is_granted;
    pthread_mutex_unlock(&link->lock);
    if (is_granted) {
        take_grant(link);
    }
    send_impatient(link);
    pthread_mutex_lock(&link->lock);
    link->lease_is_due = link->lease_is_granted; /* all else is done below */
    uint64_t now_ns = link_now_ns();
    take_back_late(link, now_ns);
    give_back_locked(link, now_ns);
    link_flush_locked(link);
    link->lease_ticks = link->lease_is_busy || client_calls_queued(link->core) > 0 || client_calls_leave(link->core) ||
                        link->unsent != NULL;
    link->lease_is_busy = false;
    LIST_EACH (at, &link->leases) {
        link->lease_ticks = link->lease_ticks || CONTAINER_OF(at, struct link_lease, of_link)->core.depth > 1;
    }
    uint64_t pause_ns = link->lease_ticks               ? (uint64_t)LOOK_NS
                        : !list_is_empty(&link->leases) ? (uint64_t)LEASE_IDLE_MS * 1000000
                                                        : WAIT_SLEEP_NS_MAX;
    pthread_mutex_unlock(&link->lock);
    return pause_ns;
}

void leases_fini(struct agent_link *link)
{
    if (link->lease_is_asked) {
        client_forget(link->core, &link->lease_ask);
    }
    LIST_EACH_SAFE (at, &link->leases) {
        struct link_lease *lease = CONTAINER_OF(at, struct link_lease, of_link);
        list_remove(&lease->of_link);
        if (lease->page != NULL) {
            munmap(lease->page, lease_page_layout().bytes);
            lease->page = NULL;
        }
        list_append(&link->leases_closed, &lease->of_link); /* their calls are the core's, which goes first */
    }
}

void leases_free(struct agent_link *link)
{
    LIST_EACH_SAFE (at, &link->leases_closed) {
        free(CONTAINER_OF(at, struct link_lease, of_link));
    }
}

/* ---- waiting ---- */

static void wait_is_over(struct client_own_wait *over)
{
    struct own_wait *wait = CONTAINER_OF(over, struct own_wait, wait);
    struct doorbell *bell = link_bell(wait->link, wait->bell);
    atomic_store_explicit(&wait->is_over, true, memory_order_release); /* its thread may go on */
    doorbell_ring(bell);
}

void leases_wait_init(struct agent_link *link, struct own_wait *wait)
{
    *wait = (struct own_wait){ .wait = { .on_over = wait_is_over }, .link = link };
    list_init(&wait->all);
}

void leases_wait_begin_locked(struct agent_link *link, struct own_wait *wait)
{
    list_append(&link->own_waits, &wait->all);
    leases_set_lead_locked(link);
    leases_drain_locked(link);
}

void leases_wait_end_locked(struct agent_link *link, struct own_wait *wait)
{
    list_remove(&wait->all);
    leases_set_lead_locked(link);
    leases_drain_locked(link); /* what rang this thread, and was not for it */
}
