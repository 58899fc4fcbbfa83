#include "tests/sim/placement_sim.h"
#include "common/error.h"
#include "tests/sim/placement_cluster.h"

enum { SEEDS = 3 };

_Static_assert((int)PLACEMENT_WORKLOADS == (int)SIM_WORKLOADS, "the table has a column for each workload");

static const struct sim_policy *const policies[PLACEMENT_POLICIES] = {
    &sim_random_policy,   &sim_locality_policy,   &sim_ray_policy,
    &sim_snapshot_policy, &sim_sequential_policy, &sim_core_policy,
};

const char *placement_policy_name(int policy) { return policies[policy]->name; }
const char *placement_workload_name(int workload) { return sim_workload_names[workload]; }

struct placement_cell placement_run(int policy, int workload, int first_seed, int seeds)
{
    struct placement_cell mean = { 0, 0 };
    for (int seed = first_seed; seed < first_seed + seeds; seed++) {
        struct sim sim;
        sim_workload(&sim, workload, seed);
        double work_s = sim_work_s(&sim), makespan_s = sim_run(&sim, policies[policy]);
        double moved_gb = sim.moved_bytes / 1e9;
        sim_fini(&sim);
        if (makespan_s < 0) {
            return (struct placement_cell){ -1, 0 };
        }
        mean.makespan += makespan_s / work_s / seeds;
        mean.moved_gb += moved_gb / seeds;
    }
    return mean;
}

static void print_table(FILE *to)
{
    fprintf(to,
            "makespan / (work / cores) | GB moved; %d nodes of %d cores, %.2f GB/s each way, mean of %d runs\n%-12s",
            SIM_NODES, SIM_CORES, SIM_BYTES_PER_S / 1e9, SEEDS, "");
    for (int workload = 0; workload < PLACEMENT_WORKLOADS; workload++) {
        fprintf(to, "%-17s", sim_workload_names[workload]);
    }
    for (int policy = 0; policy < PLACEMENT_POLICIES; policy++) {
        fprintf(to, "\n%-12s", policies[policy]->name);
        for (int workload = 0; workload < PLACEMENT_WORKLOADS; workload++) {
            struct placement_cell cell = placement_run(policy, workload, 1, SEEDS);
            fprintf(to, "%6.2f | %-8.1f", cell.makespan, cell.moved_gb);
            fflush(to);
        }
    }
    fprintf(to, "\n");
}

static void print_json(FILE *to)
{
    fprintf(to, "{\"nodes\":%d,\"cores\":%d,\"bytes_per_s\":%.0f,\"runs\":%d,\"policies\":{", SIM_NODES, SIM_CORES,
            SIM_BYTES_PER_S, SEEDS);
    for (int policy = 0; policy < PLACEMENT_POLICIES; policy++) {
        fprintf(to, "%s\"%s\":{", policy > 0 ? "," : "", policies[policy]->name);
        for (int workload = 0; workload < PLACEMENT_WORKLOADS; workload++) {
            struct placement_cell cell = placement_run(policy, workload, 1, SEEDS);
            fprintf(to, "%s\"%s\":{\"makespan\":%.4f,\"moved_gb\":%.2f}", workload > 0 ? "," : "",
                    sim_workload_names[workload], cell.makespan, cell.moved_gb);
        }
        fprintf(to, "}");
    }
    fprintf(to, "}}\n");
}

int placement_table(FILE *to, bool json)
{
    if (json) {
        print_json(to);
    } else {
        print_table(to);
    }
    fflush(to);
    return ferror(to) ? error_set(ROOST_EIO, "the placement table could not be written") : 0;
}
