/* leased_calls.h - calls in the rings of this node's leases, as rows for people
 *
 * A caller writes such a call straight into the ring of a worker: the agent made the memory and maps it, but has heard of
 * no call in it, and nor has the head. So it is looked for here when somebody asks, and only then. Looking takes nothing
 * and changes nothing. What is read is the clients': copied, then checked; what cannot be is passed over. */
#ifndef ROOST_WORKER_AGENT_LEASED_CALLS_H
#define ROOST_WORKER_AGENT_LEASED_CALLS_H

#include "objectstore/lease_page.h"
#include "proto/message.h"

struct leased_ring {              /* of a lease that stands */
    struct lease_page_head *page; /* laid out, with its rings behind it */
    uint64_t lease;
    int64_t worker_pid, holder_pid;
    struct job_id job;
};

struct leased_call {
    struct task_id task;
    uint32_t ring;   /* index of its leased_ring */
    uint32_t before; /* calls that its worker takes first; 0: it runs, or is next */
    uint32_t attempt, results;
    bool runs;
    uint64_t since_ns; /* of one that runs */
    char function[ROOST_NAME_BYTES_MAX + 1];
};

/* The calls in one ring, in the order in which its worker takes them; how many. */
enum { LEASED_CALLS_MAX = LEASE_SLOTS + 1 };
size_t leased_calls_read(struct lease_page_head *page, struct leased_call calls_out[LEASED_CALLS_MAX]);

/* One part of an answer, borrowed for the call. A negative status ends it. */
typedef int leased_rows_fn(void *arg, const struct proto_rows *part);

/* Answers a QUERY for TASKS (those that run, then those that are next, and so on, of all rings) or for WHY (an id of a call
 * or of one of its results) in as many parts as it takes, the last of which says so. A refusal is a part with its status.
 * 0, or what `fn` said. */
int leased_calls_answer(const struct leased_ring *rings, size_t count, uint32_t node, uint64_t now_ns,
                        const struct proto_query *query, leased_rows_fn *fn, void *arg);

#endif
