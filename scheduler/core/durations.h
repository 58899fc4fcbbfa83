/* durations.h - how long a function takes, learned from the tasks of it that ended
 *
 * The mean of what was seen, in which old samples fade once there are DURATION_SAMPLES. A function that was never seen
 * counts PLACEMENT_PRIOR_NS: a prior that is too short heals with the first completions, one that is too long moves
 * bytes for good. Integers only. One thread. */
#ifndef ROOST_SCHEDULER_CORE_DURATIONS_H
#define ROOST_SCHEDULER_CORE_DURATIONS_H

#include "common/id_map.h"
#include "common/list.h"

struct durations {
    struct id_map by_function;
    struct list_node by_age; /* the one longest unseen first */
};

void durations_init(struct durations *durations);
void durations_fini(struct durations *durations);

/* Expected run time in ns, at least 1. A zero key is a function without a name: always the prior. */
uint64_t durations_estimate_ns(const struct durations *durations, struct id_key function);

/* A task of `function` ran for `duration_ns`. At DURATIONS_MAX functions the one longest unseen is forgotten; without
 * memory for a new function nothing is learned, and the next completion tries again. */
void durations_learn(struct durations *durations, struct id_key function, uint64_t duration_ns);

#endif
