/* agent_completions.c - taking in what leased workers have completed
 *
 * Happy path: the worker writes a completion into the lease's ring and rings the lead -> that thread takes in all there is,
 *             and pushes what has room or is ready now.
 *             The lead is the first thread that waits; the library's thread, if more hangs on a completion than its value;
 *             else nobody, and whoever calls or waits next takes in.
 * Failures:   an argument is gone -> the worker gives the call back, and it goes the agent's way.
 *             a broken ring, or words that cannot be -> the lease is broken: its worker ends, as if it had died.
 * Invariants: who begins to lead looks, or is rung, for what came before.
 * Thread:     any, under the link's lock.
 */
#include "api/agent_lease.h"
#include "common/bytes.h"
#include "common/thread_hooks.h"

#include <stdio.h>
#include <string.h>

enum { PATIENT_LEFT = 64 }; /* a thread that waits for more than so many results may get them together */

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

/* ---- taking in ---- */

struct wire_failure lease_failure(const struct agent_link *link, const struct spec *spec, int32_t status,
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
        lease_break(link, lease);
        return;
    }
    struct client_call *call = head.lease == lease->core.number ? client_call_of(&lease->core, head.ticket) : NULL;
    uint32_t attempt;
    if (call == NULL) { /* nobody here pushed that */
        lease_break(link, lease);
        return;
    }
    if (head.needs_pull != 0) {
        client_call_needs_pull(link->core, call, now_ns);
        return;
    }
    const struct spec *spec = client_call_spec(call, &attempt);
    if (done.status == 0 && done.results != spec->returns) {
        lease_break(link, lease);
        return;
    }
    struct wire_failure failure;
    if (done.status != 0) {
        failure = lease_failure(link, spec, done.status, attempt + 1, lease->pid);
        failure.app_code = head.app_code;
        memcpy(failure.text, text, head.text_bytes < sizeof failure.text ? head.text_bytes : sizeof failure.text - 1);
        done.failure = &failure;
    }
    client_call_done(link->core, call, &done, now_ns);
}

uint64_t lease_drain(struct agent_link *link, struct link_lease *lease)
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
        lease_break(link, lease);
    }
    if (lease->core.depth == 0 && (lease->core.is_wanted || lease->core.is_recalled)) {
        leases_call_library(link); /* which gives it back */
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
        uint64_t now_ns = lease_drain(link, CONTAINER_OF(at, struct link_lease, of_link));
        last_ns = now_ns != 0 ? now_ns : last_ns;
    }
    if (last_ns != 0) {
        leases_push_locked(link, last_ns);
        if (client_core_is_urgent(link->core)) { /* results that others wait for */
            link_flush_locked(link);
        }
    }
    return last_ns != 0 && nothing_is_behind(link);
}

bool leases_are_empty(struct agent_link *link) { return completions_are_empty(link) && !link->lease_is_due; }

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
