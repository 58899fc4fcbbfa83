#include "tests/unit/scheduler/core/task_bench.h"

struct bench bench;

void start(uint32_t agents, uint32_t cpus) { bench_cluster(&bench, NULL, agents, cpus); }

struct task_id submit(uint32_t i, const roost_in *args, size_t count, int32_t max_retries)
{
    struct bench_call call = { .args = args, .args_count = count, .returns = 1, .max_retries = max_retries };
    return bench_submit(&bench, i, &call);
}
