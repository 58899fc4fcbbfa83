/* agent_lease.c - leases as this process holds them: got, asked back, ended, given back
 *
 * Happy path: granted -> its memory is mapped -> calls go through it (agent_push.c, agent_completions.c) -> idle for
 *             LEASE_IDLE_MS -> given back.
 * Failures:   asked back, or blocked -> what nobody has claimed is taken back and pushed elsewhere.
 *             the worker dies        -> what it completed is read, what it had not begun waits again, what it ran is tried
 *                                       again or fails.
 *             behind a long task     -> taken back after LONG_NS.
 *             a broken ring          -> the agent is told, ends the worker, and says so: as when one dies.
 * Invariants: a lease goes back only when every call that was pushed is done or taken back.
 * Thread:     any, under the link's lock; mapping and giving back: the library's.
 */
#define LOG_TOPIC "lease"
#include "api/agent_lease.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { LOOK_NS = 1000000, LONG_NS = 2000000 };

uint64_t link_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void leases_call_library(struct agent_link *link)
{
    link->lease_is_due = true;
    doorbell_ring(link_bell(link, CLIENT_BELL_LIBRARY));
}

void lease_break(struct agent_link *link, struct link_lease *lease)
{
    client_lease_break(link->core, &lease->core);
    leases_call_library(link);
}

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
            lease_break(link, lease);
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
    lease_drain(link, lease);
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
        struct wire_failure failure = lease_failure(link, spec, ROOST_EWORKER, attempts, lease->pid);
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

/* ---- news ---- */

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
    leases_call_library(link); /* which sends what may go the agent's way now */
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
    leases_push_locked(link, link_now_ns());
    leases_call_library(link); /* which gives back what is to go back */
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
    leases_push_locked(link, lease->core.changed_ns);
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
    leases_push_locked(link, now_ns);
}

uint64_t leases_work(struct agent_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool is_granted = link->lease_is_granted;
    pthread_mutex_unlock(&link->lock);
    if (is_granted) {
        take_grant(link);
    }
    leases_send_late(link);
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
