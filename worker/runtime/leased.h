/* leased.h - a worker's side of a lease (leased.c), as serve.c uses it. The worker's thread alone. */
#ifndef ROOST_WORKER_RUNTIME_LEASED_H
#define ROOST_WORKER_RUNTIME_LEASED_H

#include "api/agent_link.h"
#include "common/hash.h"
#include "worker/runtime/task.h"

/* The lease that stands, or 0. */
uint64_t leased_number(const struct agent_link *link);

/* The next task of the lease that stands: 1, 0 for none, ROOST_EINVAL when the holder broke the ring. */
int leased_claim(struct agent_link *link, struct task_ring_item *item);
bool leased_has_more(struct agent_link *link);

/* Runs one attempt on this thread. */
typedef void task_body(struct roost *rt, const struct spec *spec, uint64_t run, uint64_t prefix, uint32_t attempt,
                       struct kept_results *kept, const struct task_values *values, struct task_end *end);

/* Run what was claimed, say how it ended. The link's status when it is gone. */
int leased_run(struct roost *rt, const struct task_ring_item *item, task_body *body);

#endif
