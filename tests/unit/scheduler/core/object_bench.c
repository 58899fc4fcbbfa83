#include "tests/unit/scheduler/core/object_bench.h"

struct bench bench;

void start_with_rules_off(uint32_t rules, uint32_t agents)
{
    struct head_config config = { .is_fixed = true, .rules_off = rules };
    bench_cluster(&bench, &config, agents, 4);
}

void start(uint32_t agents) { start_with_rules_off(0, agents); }

uint64_t objects(void) { return head_counts(bench.head).objects; }
