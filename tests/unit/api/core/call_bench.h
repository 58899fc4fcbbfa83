/* call_bench.h - a client's core with one lease, on a test bench: the test is its host, the lease's worker and the agent */
#ifndef ROOST_TESTS_UNIT_API_CORE_CALL_BENCH_H
#define ROOST_TESTS_UNIT_API_CORE_CALL_BENCH_H

#include "api/core/client_core.h"

extern struct client_core *core;
extern struct core_out out;
extern struct client_lease lease;

void start(void);
void finish(void);
/* What is said, as a line of kinds. */
const char *said(void);

/* Owned by the caller. */
struct spec *spec_of(struct spec_draft draft);
/* Adds a call; the id of its result. */
struct object_id call(struct spec_draft draft);
/* The same, of a call that needs that result. */
struct object_id call_on(struct object_id id);
/* Puts an object of 100 bytes, in a slab or as a large one lies. */
struct object_id put(bool in_slab);
/* Pushes all that goes; how many. */
uint64_t push(void);
/* The call in front of the ring is done. */
void complete(uint64_t value, bool is_stored);
uint64_t value_of(struct object_id id);

#endif
