/* task_bench.h - one bench of a head with agents and a job */
#ifndef ROOST_TESTS_UNIT_SCHEDULER_CORE_TASK_BENCH_H
#define ROOST_TESTS_UNIT_SCHEDULER_CORE_TASK_BENCH_H

#include "tests/lib/head_bench.h"

extern struct bench bench;

/* So many agents of `cpus` CPUs each, all of which have listed, and a job of the first one. */
void start(uint32_t agents, uint32_t cpus);
/* A call of one result, of agent `i`. */
struct task_id submit(uint32_t i, const roost_in *args, size_t count, int32_t max_retries);

#endif
