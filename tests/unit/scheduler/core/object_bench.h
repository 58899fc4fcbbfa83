/* object_bench.h - one bench of a head whose agents hold objects */
#ifndef ROOST_TESTS_UNIT_SCHEDULER_CORE_OBJECT_BENCH_H
#define ROOST_TESTS_UNIT_SCHEDULER_CORE_OBJECT_BENCH_H

#include "tests/lib/head_bench.h"

extern struct bench bench;

/* So many agents, all of which have listed, and a job of the first one. */
void start(uint32_t agents);
/* With these rules of lifetime switched off. */
void start_with_rules_off(uint32_t rules, uint32_t agents);
/* How many the head knows. */
uint64_t objects(void);

#endif
