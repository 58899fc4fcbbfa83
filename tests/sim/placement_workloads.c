/* placement_workloads.c - nine shapes of work that a placement rule has to get right, after scheduling.md
 *
 * The order in which random numbers are drawn is part of each workload: the figures in scheduling.md come from it. */
#include "tests/sim/placement_cluster.h"

#include <math.h>

#define MB 1e6

const char *const sim_workload_names[SIM_WORKLOADS] = {
    "shuffle_even",   "shuffle_skewed", "map_skewed", "map_on_one_node", "broadcast",
    "tree_reduction", "map_heavy_tail", "join_reuse", "stencil",
};

static uint32_t any_node(struct sim *sim) { return 1u << (int)(sim_random(sim) * SIM_NODES); }

static uint32_t one_of_three(struct sim *sim, double probability)
{
    return sim_random(sim) < probability ? 1u << (int)(sim_random(sim) * 3) : any_node(sim);
}

static void shuffle(struct sim *sim, bool skewed)
{
    enum { MAPS = 512, REDUCERS = 256 };
    int first = sim->tasks_count;
    for (int map = 0; map < MAPS; map++) {
        uint32_t home = skewed ? one_of_three(sim, 0.6) : 1u << map % SIM_NODES;
        int object = sim_add_object(sim, 256 * MB, home);
        int task = sim_add_task(sim, 0.8 + 0.4 * sim_random(sim), 256 * MB, 0);
        sim_add_input(sim, task, object, 256 * MB, true);
    }
    for (int reducer = 0; reducer < REDUCERS; reducer++) {
        int task = sim_add_task(sim, 1.2 + 0.6 * sim_random(sim), 0, 1);
        for (int map = 0; map < MAPS; map++) {
            sim_add_input(sim, task, sim->tasks[first + map].output, 256 * MB / REDUCERS, false);
        }
    }
}

static void map_one(struct sim *sim, uint32_t home, double duration_s)
{
    int object = sim_add_object(sim, 128 * MB, home);
    int task = sim_add_task(sim, duration_s, 1 * MB, 0);
    sim_add_input(sim, task, object, 128 * MB, true);
}

static void map_skewed(struct sim *sim)
{
    for (int map = 0; map < 1024; map++) {
        uint32_t home = one_of_three(sim, 0.8);
        map_one(sim, home, 0.4 + 0.2 * sim_random(sim));
    }
}

static void map_on_one_node(struct sim *sim)
{
    for (int map = 0; map < 1024; map++) {
        map_one(sim, 1, 0.04 + 0.02 * sim_random(sim));
    }
}

static void broadcast(struct sim *sim)
{
    int object = sim_add_object(sim, 1000 * MB, 1);
    for (int i = 0; i < 512; i++) {
        int task = sim_add_task(sim, 0.2, 1 * MB, 0);
        sim_add_input(sim, task, object, 1000 * MB, true);
    }
}

static void tree_reduction(struct sim *sim)
{
    enum { LEAVES = 1024, ARITY = 4 };
    int level[LEAVES];
    for (int i = 0; i < LEAVES; i++) {
        level[i] = sim_add_object(sim, 64 * MB, any_node(sim));
    }
    for (int width = LEAVES; width > 1; width /= ARITY) {
        for (int i = 0; i < width; i += ARITY) {
            int task = sim_add_task(sim, 0.1, 64 * MB, 0);
            for (int child = i; child < i + ARITY; child++) {
                sim_add_input(sim, task, level[child], 64 * MB, true);
            }
            level[i / ARITY] = sim->tasks[task].output;
        }
    }
}

static void map_heavy_tail(struct sim *sim)
{
    for (int map = 0; map < 1024; map++) {
        double duration_s = 0.3 * pow(1 - sim_random(sim), -1 / 1.5);
        map_one(sim, 1u << map % SIM_NODES, duration_s < 15 ? duration_s : 15);
    }
}

static void join_reuse(struct sim *sim)
{
    enum { PARTS = 64, TASKS = 768 };
    int big[PARTS], small[PARTS];
    for (int i = 0; i < PARTS; i++) {
        big[i] = sim_add_object(sim, 512 * MB, 1u << i % SIM_NODES);
        small[i] = sim_add_object(sim, 32 * MB, any_node(sim));
    }
    for (int i = 0; i < TASKS; i++) {
        int task = sim_add_task(sim, 0.3 + 0.2 * sim_random(sim), 1 * MB, 0);
        sim_add_input(sim, task, big[(int)(sim_random(sim) * PARTS)], 512 * MB, true);
        sim_add_input(sim, task, small[(int)(sim_random(sim) * PARTS)], 32 * MB, true);
    }
}

static void stencil(struct sim *sim)
{
    enum { WIDTH = 128, STEPS = 20 };
    int row[WIDTH], next[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        row[i] = sim_add_object(sim, 64 * MB, 1u << i * SIM_NODES / WIDTH);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < WIDTH; i++) {
            int task = sim_add_task(sim, 0.08 + 0.04 * sim_random(sim), 64 * MB, 0);
            sim_add_input(sim, task, row[i], 64 * MB, true);
            sim_add_input(sim, task, row[(i + 1) % WIDTH], 4 * MB, false);
            sim_add_input(sim, task, row[(i + WIDTH - 1) % WIDTH], 4 * MB, false);
            next[i] = sim->tasks[task].output;
        }
        for (int i = 0; i < WIDTH; i++) {
            row[i] = next[i];
        }
    }
}

void sim_workload(struct sim *sim, int workload, int seed)
{
    *sim = (struct sim){ .random = 88172645463325252u ^ ((uint64_t)seed * 0x9E3779B97F4A7C15u) };
    for (int i = 0; i < 10; i++) {
        sim_random(sim);
    }
    switch (workload) {
    case 0:
    case 1:
        shuffle(sim, workload == 1);
        break;
    case 2:
        map_skewed(sim);
        break;
    case 3:
        map_on_one_node(sim);
        break;
    case 4:
        broadcast(sim);
        break;
    case 5:
        tree_reduction(sim);
        break;
    case 6:
        map_heavy_tail(sim);
        break;
    case 7:
        join_reuse(sim);
        break;
    case 8:
        stencil(sim);
        break;
    default:
        ROOST_IMPOSSIBLE("there are nine workloads");
    }
}
