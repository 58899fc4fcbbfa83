/* agent_lease.h - what the files of leases share: the lease as this process holds it
 *
 * agent_push.c gives calls to leases, agent_completions.c takes in what they have done, agent_lease.c gets leases, gives them
 * back, and settles those that end. All of it under the link's lock unless it says otherwise. */
#ifndef ROOST_API_AGENT_LEASE_H
#define ROOST_API_AGENT_LEASE_H

#include "api/agent_world.h"
#include "objectstore/lease_page.h"

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

/* There is work for the library's thread. It looks at the mark before it sleeps, as its bell is not armed while it works. */
void leases_call_library(struct agent_link *link);
/* Its ring says what cannot be: the library's thread tells the agent. */
void lease_break(struct agent_link *link, struct link_lease *lease);

/* ---- agent_push.c ---- */

/* All that has room in a ring, and the asking for more leases. `now_ns` is read once for all that is done about a call or a
 * completion: a look at the clock is a tenth of a call. */
void leases_push_locked(struct agent_link *link, uint64_t now_ns);
/* Without the lock, which it takes: the oldest calls that nobody takes go the agent's way, and all that need what went there
 * before. */
void leases_send_late(struct agent_link *link);

/* ---- agent_completions.c ---- */

/* When it took something in, or 0: there was nothing. */
uint64_t lease_drain(struct agent_link *link, struct link_lease *lease);
/* Of a task of the lease's worker: what is known beside the text. */
struct wire_failure lease_failure(const struct agent_link *link, const struct spec *spec, int32_t status,
                                  uint32_t attempts, int64_t pid);

#endif
