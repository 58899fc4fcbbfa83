#include "tests/unit/scheduler/core/object_bench.h"

struct bench bench;

void start_with_rules_off(uint32_t rules, uint32_t agents)
{
    struct head_config config = { .is_fixed = true, .rules_off = rules };
    bench_start(&bench, &config);
    for (uint32_t i = 0; i < agents; i++) {
        bench_agent(&bench, i, 4);
        bench_list(&bench, i, NULL, 0);
    }
    bench_job(&bench, 0);
}

void start(uint32_t agents) { start_with_rules_off(0, agents); }

uint64_t objects(void) { return head_counts(bench.head).objects; }
