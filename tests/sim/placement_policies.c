/* placement_policies.c - the rules that ours is compared with
 *
 * random          any node.
 * locality        the node with most of the task's bytes; among equals the one with fewest tasks.
 * ray             an approximation of Ray's rule: prefer the node with most bytes while it is less than half busy, else
 * a random one of the best fifth by use; load is reported every 100 ms. snapshot        wait + missing bytes /
 * bandwidth, the load read once per batch. sequential      the same, each assignment applied before the next. All of
 * them know how long each task will run, which ours has to learn. */
#include "tests/sim/placement_cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct view {
    double seconds[SIM_NODES];
    int tasks[SIM_NODES];
};

struct state {
    struct view now, reported;
    struct sim_list pending;
};

/* A node, or -1 to wait. */
typedef int choose_fn(struct sim *sim, int task, const struct view *view);

static void *state_create(struct sim *sim)
{
    (void)sim;
    struct state *state = calloc(1, sizeof *state);
    ROOST_INVARIANT(state != NULL);
    return state;
}

static void state_destroy(void *policy)
{
    struct state *state = policy;
    free(state->pending.items);
    free(state);
}

static void bytes_by_node(const struct sim *sim, int task, double *bytes_out)
{
    for (int i = 0; i < sim->tasks[task].inputs_count; i++) {
        const struct sim_input *input = &sim->tasks[task].inputs[i];
        uint32_t nodes = sim->objects[input->object].copies | sim->objects[input->object].flying;
        for (int node = 0; node < SIM_NODES; node++) {
            bytes_out[node] += (nodes >> node & 1) != 0 ? input->bytes : 0;
        }
    }
}

static double missing_bytes(const struct sim *sim, int task, int node)
{
    double missing = 0;
    for (int i = 0; i < sim->tasks[task].inputs_count; i++) {
        const struct sim_input *input = &sim->tasks[task].inputs[i];
        const struct sim_object *object = &sim->objects[input->object];
        if ((object->copies >> node & 1) == 0) {
            missing += input->bytes * (input->whole && (object->flying >> node & 1) != 0 ? 0.3 : 1);
        }
    }
    return missing;
}

static double wait_s(const struct view *view, int node)
{
    int tasks = view->tasks[node];
    if (tasks < SIM_CORES) {
        return 0;
    }
    double seconds = view->seconds[node];
    return fmax(0, (seconds - 0.5 * SIM_CORES * seconds / tasks) / SIM_CORES);
}

static int choose_at_random(struct sim *sim, int task, const struct view *view)
{
    (void)task, (void)view;
    return (int)(sim_random(sim) * SIM_NODES);
}

static int choose_by_locality(struct sim *sim, int task, const struct view *view)
{
    double bytes[SIM_NODES] = { 0 };
    int best = 0;
    bytes_by_node(sim, task, bytes);
    for (int node = 1; node < SIM_NODES; node++) {
        if (bytes[node] > bytes[best] + 1 ||
            (bytes[node] >= bytes[best] - 1 && view->tasks[node] < view->tasks[best])) {
            best = node;
        }
    }
    return best;
}

static double use_of(const struct view *view, int node)
{
    double use = (double)view->tasks[node] / SIM_CORES;
    return use < 0.5 ? 0 : use;
}

static int choose_like_ray(struct sim *sim, int task, const struct view *view)
{
    double bytes[SIM_NODES] = { 0 }, most = 0, least_use = 9;
    int preferred = 0, free_nodes[SIM_NODES], count = 0;
    bytes_by_node(sim, task, bytes);
    for (int node = 0; node < SIM_NODES; node++) {
        if (bytes[node] > most) {
            most = bytes[node];
            preferred = node;
        }
        if (view->tasks[node] < SIM_CORES) {
            least_use = fmin(least_use, use_of(view, node));
            int at = count++; /* by use, then by number */
            for (; at > 0 && use_of(view, free_nodes[at - 1]) > use_of(view, node); at--) {
                free_nodes[at] = free_nodes[at - 1];
            }
            free_nodes[at] = node;
        }
    }
    if (count == 0) {
        return -1;
    }
    if (view->tasks[preferred] < SIM_CORES && use_of(view, preferred) <= least_use) {
        return preferred;
    }
    int top = SIM_NODES / 5;
    return free_nodes[(int)(sim_random(sim) * (top < count ? top : count))];
}

static int choose_by_sum(struct sim *sim, int task, const struct view *view)
{
    double least_s = 1e300;
    int best = 0;
    for (int node = 0; node < SIM_NODES; node++) {
        double start_s = wait_s(view, node) + missing_bytes(sim, task, node) / SIM_BYTES_PER_S +
                         1e-7 * view->tasks[node];
        if (start_s < least_s) {
            least_s = start_s;
            best = node;
        }
    }
    return best;
}

static void add(struct view *view, int node, double seconds, int tasks)
{
    view->seconds[node] = fmax(0, view->seconds[node] + seconds);
    view->tasks[node] += tasks;
}

/* What is pending is tried after what is new. */
static void place_each(struct state *state, struct sim *sim, choose_fn *choose, const struct view *view)
{
    struct sim_list ready = sim->ready;
    sim->ready = (struct sim_list){ 0 };
    for (int i = 0; i < state->pending.count; i++) {
        sim_list_add(&ready, state->pending.items[i]);
    }
    state->pending.count = 0;
    for (int i = 0; i < ready.count; i++) {
        int task = ready.items[i], node = choose(sim, task, view);
        if (node < 0) {
            sim_list_add(&state->pending, task);
            continue;
        }
        add(&state->now, node, sim->tasks[task].duration_s, 1);
        add(&state->reported, node, sim->tasks[task].duration_s, 1);
        sim_send(sim, task, node);
    }
    free(ready.items);
}

#define PLACE_BY(name, choose, view_of)                  \
    static void name(void *policy, struct sim *sim)      \
    {                                                    \
        struct state *state = policy;                    \
        place_each(state, sim, choose, &state->view_of); \
    }

PLACE_BY(place_at_random, choose_at_random, now)
PLACE_BY(place_by_locality, choose_by_locality, now)
PLACE_BY(place_like_ray, choose_like_ray, reported)
PLACE_BY(place_by_sum, choose_by_sum, now)

static void place_by_snapshot(void *policy, struct sim *sim)
{
    struct state *state = policy;
    struct view snapshot = state->now;
    place_each(state, sim, choose_by_sum, &snapshot);
}

static void report(void *policy, struct sim *sim)
{
    struct state *state = policy;
    (void)sim;
    state->reported = state->now;
}

static void ended(void *policy, struct sim *sim, int task)
{
    struct state *state = policy;
    add(&state->now, sim->tasks[task].node, -sim->tasks[task].duration_s, -1);
}

static void transferred(void *policy, struct sim *sim, int task, int source, double bytes)
{
    (void)policy, (void)sim, (void)task, (void)source, (void)bytes;
}

static void started(void *policy, struct sim *sim, int task) { (void)policy, (void)sim, (void)task; }

#define POLICY(name_, report_s_, place_)                                                                         \
    {                                                                                                            \
        .name = name_, .report_s = report_s_, .create = state_create, .destroy = state_destroy, .place = place_, \
        .report = report, .transferred = transferred, .started = started, .ended = ended                         \
    }

const struct sim_policy sim_random_policy = POLICY("random", 0, place_at_random);
const struct sim_policy sim_locality_policy = POLICY("locality", 0, place_by_locality);
const struct sim_policy sim_ray_policy = POLICY("ray", 0.1, place_like_ray);
const struct sim_policy sim_snapshot_policy = POLICY("snapshot", 0, place_by_snapshot);
const struct sim_policy sim_sequential_policy = POLICY("sequential", 0, place_by_sum);
