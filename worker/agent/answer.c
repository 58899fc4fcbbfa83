/* answer.c - what a command asks this agent, because nobody else knows it
 *
 * Owns nothing. Finds the leases that stand, among the guests, for leased_calls.c to look into.
 * Failures: no memory for the list of leases -> a refusal.
 * Thread:   the loop's. */
#include "common/error.h"
#include "worker/agent/daemon_internal.h"

#include <stdlib.h>

static bool has_lease(struct guest *guest)
{
    /* relaxed: it was written by this thread; a worker that has written over it misleads who asks, and nobody else */
    return guest->lease_page != NULL && guest->process != NULL && !guest->is_dead && !guest->is_condemned &&
           atomic_load_explicit(&guest->lease_page->lease, memory_order_relaxed) != 0;
}

static size_t find_leases(struct daemon *daemon, struct leased_ring *rings)
{
    size_t count = 0;
    LIST_EACH (at, &daemon->guests) {
        struct guest *worker = CONTAINER_OF(at, struct guest, all);
        if (has_lease(worker)) {
            const struct guest *holder = guest_find(daemon, worker->lease_holder);
            rings[count++] = (struct leased_ring){
                .page = worker->lease_page,
                .lease = atomic_load_explicit(&worker->lease_page->lease, memory_order_relaxed),
                .worker_pid = worker->pid,
                .holder_pid = holder == NULL ? 0 : holder->pid,
                .job = worker->process->program->id,
            };
        }
    }
    return count;
}

int daemon_answer(struct daemon *daemon, uint32_t node, const struct proto_query *query, leased_rows_fn *fn, void *arg)
{
    size_t guests_count = 0;
    LIST_EACH (at, &daemon->guests) {
        guests_count++;
    }
    struct leased_ring *rings = calloc(guests_count + 1, sizeof *rings);
    if (rings == NULL) {
        const struct proto_rows refusal = {
            .query = query->query, .status = ROOST_ENOMEM, .text = "no memory", .last = true
        };
        return fn(arg, &refusal);
    }
    int status = leased_calls_answer(rings, find_leases(daemon, rings), node, loop_now_ns(), query, fn, arg);
    free(rings);
    return status;
}
