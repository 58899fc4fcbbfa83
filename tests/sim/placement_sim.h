/* placement_sim.h - the placement core against other rules, over nine workloads, in a simulated cluster */
#ifndef ROOST_TESTS_SIM_PLACEMENT_SIM_H
#define ROOST_TESTS_SIM_PLACEMENT_SIM_H

#include <stdbool.h>
#include <stdio.h>

/* Policies other than ours; ours is the last of the table. */
enum { PLACEMENT_RIVALS = 5, PLACEMENT_POLICIES, PLACEMENT_WORKLOADS = 9 };

struct placement_cell {
    double makespan; /* over work / cores: 1 is perfect */
    double moved_gb;
};

/* The mean over runs with the seeds from `first_seed` on of one policy on one workload. Deterministic: no real time is
 * involved. A makespan below zero says that tasks were left over. */
struct placement_cell placement_run(int policy, int workload, int first_seed, int seeds);

/* Runs everything (some seconds) and writes the table, or one JSON object with a number per policy and workload.
 * 0, or ROOST_EIO when writing failed. */
int placement_table(FILE *to, bool json);

const char *placement_policy_name(int policy);
const char *placement_workload_name(int workload);

#endif
