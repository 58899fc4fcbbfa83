/* agent_wait.c - a wait, with an agent behind it
 *
 * Happy path: what this process's own calls bring back is waited for here, in their leases; the rest is one question to
 *             the agent, answered when enough are ready, or as it stands when the time is over.
 * Failures:   the agent is gone -> ROOST_EDISCONNECTED, or why the job ended.
 * Invariants: a task that waits for own calls for long gives its CPU back, and gets it again before it goes on.
 * Thread:     any. The link's lock is never held while waiting for an answer.
 */
#include "api/agent_world.h"
#include "worker/runtime/task.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_MS = 1, FEW = 4 };

static uint32_t count_ready(const struct wait_request *request)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->total; i++) {
        count += request->ready[i] != 0;
    }
    return count;
}

/* ---- waiting for what comes back with calls of this process's own ---- */

/* Without the agent: until so many more of those are there, or some went the agent's way. */
static int wait_own(struct agent_link *link, struct own_wait *wait, int timeout_ms)
{
    int bell = link_bell_take(link), status = 0;
    if (bell < 0) {
        return bell;
    }
    struct waiter *waiter = &link->waiters[bell];
    pthread_mutex_lock(&link->lock);
    wait->bell = (uint32_t)bell; /* until now another thread may have ended the wait, and rung nobody's */
    leases_wait_begin_locked(link, wait);
    pthread_mutex_unlock(&link->lock);
    waiter_begin(waiter, timeout_ms);
    while (!own_is_over(wait) && status != ROOST_ETIMEDOUT) {
        link_work(link, waiter);
        if (own_is_over(wait) || atomic_load_explicit(&link->gone, memory_order_relaxed) != 0) {
            break;
        }
        status = waiter_pause(waiter);
        if (status == WAITER_LOOK) {
            link_check_peer(link);
        }
    }
    waiter_end(waiter);
    pthread_mutex_lock(&link->lock);
    leases_wait_end_locked(link, wait);
    pthread_mutex_unlock(&link->lock);
    link_bell_give(link, bell);
    return own_is_over(wait) ? 0 : status == ROOST_ETIMEDOUT ? status : link_gone(link);
}

/* A wait, split into what this process waits for by itself and what it asks the agent about. */
struct split {
    struct client_own_node *own;
    roost_ref *refs; /* of the others, */
    uint32_t *which; /* where they stand in the request, */
    int8_t *ready;   /* and the answers */
    uint32_t own_count, others_count;
    bool is_few;
    struct { /* a get waits for one */
        struct client_own_node own[FEW];
        roost_ref refs[FEW];
        uint32_t which[FEW];
        int8_t ready[FEW];
    } few;
};

static int split_init(struct split *split, uint32_t total)
{
    split->own_count = split->others_count = 0;
    split->is_few = total <= FEW;
    split->own = split->is_few ? split->few.own : malloc(total * sizeof *split->own);
    split->refs = split->is_few ? split->few.refs : malloc(total * sizeof *split->refs);
    split->which = split->is_few ? split->few.which : malloc(total * sizeof *split->which);
    split->ready = split->is_few ? split->few.ready : malloc(total);
    bool is_there = split->own != NULL && split->refs != NULL && split->which != NULL && split->ready != NULL;
    if (is_there) {
        memset(split->ready, 0, total);
    }
    return is_there ? 0 : no_memory("a wait");
}

static void split_fini(struct split *split)
{
    if (!split->is_few) {
        free(split->own);
        free(split->refs);
        free(split->which);
        free(split->ready);
    }
}

/* Under the lock. What is sealed here is ready at once; when that is enough the rest is left. */
static void split_fill(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                       struct split *split)
{
    uint32_t ready = count_ready(request);
    for (uint32_t i = 0; i < request->total && ready < request->wanted; i++) {
        struct client_own_node *node = &split->own[split->own_count];
        struct object_id id = object_id_of(request->refs[i]);
        client_foresee(link->core, request->refs, i, request->total);
        if (request->ready[i] != 0) {
            continue;
        }
        *node = (struct client_own_node){ .wait = &wait->wait, .ready = &request->ready[i] };
        list_init(&node->of_result);
        switch (client_own_attend(link->core, id, node)) {
        case CLIENT_OWN_PENDING:
            split->own_count++;
            break;
        case CLIENT_OWN_SEALED:
            request->ready[i] = WAIT_READY_HERE;
            ready++;
            break;
        case CLIENT_OWN_NOT:
            split->refs[split->others_count] = request->refs[i];
            split->which[split->others_count++] = i;
            break;
        }
    }
}

/* Words that came with the answer; refs of the wait stand in the request where `which` says, or where they are. */
static void take_why(const struct wait_request *request, const uint32_t *which, struct agent_ask *ask)
{
    const struct wire_why *why = ask->ask.items;
    if (why != NULL && request->why != NULL) {
        request->why->index = which == NULL ? why->index : which[why->index];
        snprintf(request->why->text, sizeof request->why->text, "%.*s", (int)why->text_bytes, why->text);
    }
    link_ask_fini(ask);
}

/* Of own ones and others: whichever comes first. */
static int wait_mixed(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                      struct split *split, uint32_t flags, uint32_t wanted, int timeout_ms)
{
    struct agent_ask ask = { .ask = { .kind = WIRE_WAIT,
                                      .scope = client_scope(link->rt),
                                      .refs = split->refs,
                                      .total = split->others_count,
                                      .wanted = wanted,
                                      .flags = flags,
                                      .ready = split->ready },
                             .own = wait };
    int status = link_ask(link, &ask, timeout_ms);
    for (uint32_t i = 0; i < split->others_count; i++) {
        request->ready[split->which[i]] = split->ready[i];
    }
    take_why(request, split->which, &ask);
    return status == ROOST_ETIMEDOUT && wait != NULL && own_is_over(wait) ? 0 : status;
}

/* As wait_own(), in a task: a wait that lasts gives its CPU back to whoever makes what it waits for. */
static int wait_own_in_task(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                            struct split *split, uint32_t flags, int timeout_ms)
{
    bool is_short = timeout_ms >= 0 && timeout_ms <= BLOCK_MS;
    int status = wait_own(link, wait, is_short ? timeout_ms : BLOCK_MS);
    if (status != ROOST_ETIMEDOUT || is_short) {
        return status;
    }
    status = wait_mixed(link, request, wait, split, flags | (uint32_t)WIRE_WAIT_OWN, 1,
                        timeout_ms < 0 ? timeout_ms : timeout_ms - BLOCK_MS);
    if (status == 0 && !own_is_over(wait)) { /* nobody on this node can go on */
        pthread_mutex_lock(&link->lock);
        for (uint32_t i = 0; i < split->own_count; i++) {
            *split->own[i].ready = *split->own[i].ready == 0 ? ROOST_ELIMIT : *split->own[i].ready;
        }
        pthread_mutex_unlock(&link->lock);
    }
    return status;
}

/* 0: look again, something has changed, or enough are ready. */
static int wait_round(struct agent_link *link, const struct wait_request *request, uint32_t flags, int timeout_ms)
{
    struct split split;
    struct own_wait wait;
    leases_wait_init(link, &wait);
    wait.wait.left = 1;
    int status = split_init(&split, request->total);
    if (status != 0) {
        split_fini(&split);
        return status;
    }
    pthread_mutex_lock(&link->lock);
    leases_drain_locked(link); /* what has come back need not be waited for */
    split_fill(link, request, &wait, &split);
    uint32_t ready = count_ready(request), left = request->wanted > ready ? request->wanted - ready : 0;
    bool wants_all_own = left >= split.own_count + split.others_count || split.others_count == 0;
    wait.wait.left = wants_all_own && left < split.own_count ? left : wants_all_own ? split.own_count : 1;
    pthread_mutex_unlock(&link->lock);
    if (left > 0 && split.own_count == 0) {
        status = wait_mixed(link, request, NULL, &split, flags, left, timeout_ms);
    } else if (left > 0 && wants_all_own && split.others_count == 0 && (flags & WIRE_WAIT_BLOCKS) != 0) {
        status = wait_own_in_task(link, request, &wait, &split, flags, timeout_ms);
    } else if (left > 0 && wants_all_own && (flags & WIRE_WAIT_BLOCKS) == 0) {
        status = wait_own(link, &wait, timeout_ms);
    } else if (left > 0) {
        status = wait_mixed(link, request, &wait, &split, flags, 1, timeout_ms);
    }
    pthread_mutex_lock(&link->lock);
    for (uint32_t i = 0; i < split.own_count; i++) {
        client_own_leave(&split.own[i]);
        *split.own[i].ready = *split.own[i].ready == 1 ? WAIT_READY_HERE : *split.own[i].ready;
    }
    pthread_mutex_unlock(&link->lock);
    split_fini(&split);
    return status;
}

/* Some of the refs may be this process's own. */
static int wait_with_own(struct agent_link *link, const struct wait_request *request, uint32_t flags)
{
    uint64_t deadline = client_deadline(request->timeout_ms);
    int status = link_gone(link);
    while (status == 0 && count_ready(request) < request->wanted) {
        status = wait_round(link, request, flags, client_time_left(deadline));
    }
    return count_ready(request) >= request->wanted ? 0 : status;
}

int agent_wait(struct roost *rt, const struct wait_request *request)
{
    struct agent_link *link = link_of(rt);
    uint32_t flags = (request->fetch ? (uint32_t)WIRE_WAIT_FETCH : 0u) |
                     (client_task != NULL && client_task->rt == rt ? (uint32_t)WIRE_WAIT_BLOCKS : 0u);
    if (atomic_load_explicit(&link->has_own, memory_order_relaxed)) {
        return wait_with_own(link, request, flags);
    }
    struct agent_ask ask = { .ask = { .kind = WIRE_WAIT,
                                      .scope = client_scope(rt),
                                      .refs = request->refs,
                                      .total = request->total,
                                      .wanted = request->wanted,
                                      .flags = flags,
                                      .ready = request->ready } };
    int status = link_gone(link);
    if (status == 0) {
        status = link_ask(link, &ask, request->timeout_ms);
    }
    take_why(request, NULL, &ask);
    if ((status == 0 || status == ROOST_ETIMEDOUT) && count_ready(request) >= request->wanted) {
        return 0;
    }
    return status != 0 ? status
                       : error_set(ROOST_EDEADLOCK, "%u of %u objects are ready, and no other ever will be",
                                   count_ready(request), request->total);
}
