/* placement_core.c - the placement core of the head, driven as the head drives it
 *
 * Keeps what the head's directory would: which copies are planned, and whose booking pays for each. Ranges that lie on
 * one node are put together into one input, as the head does for a gather. */
#include "tests/sim/placement_cluster.h"

#include <stdlib.h>

struct buffers {
    struct placement_input *inputs;
    uint32_t *nodes; /* of all inputs, one after the other */
    size_t nodes_count;
};

static void *core_create(struct sim *sim)
{
    (void)sim;
    struct placement *placement;
    const struct placement_shape shape = { .cpus = SIM_CORES * 100,
                                           .memory_bytes = ROOST_GIB(64),
                                           .bytes_in_per_s = (uint64_t)SIM_BYTES_PER_S,
                                           .bytes_out_per_s = (uint64_t)SIM_BYTES_PER_S };
    int status = placement_create(&placement);
    for (uint32_t node = 0; status == 0 && node < SIM_NODES; node++) {
        status = placement_node_add(placement, node, &shape);
    }
    ROOST_INVARIANT(status == 0);
    return placement;
}

static void core_destroy(void *policy)
{
    ROOST_INVARIANT(placement_is_valid(policy));
    placement_destroy(policy);
}

static const uint32_t *nodes_of(struct buffers *buffers, uint32_t bits, uint32_t *count_out)
{
    uint32_t *first = buffers->nodes + buffers->nodes_count;
    *count_out = 0;
    for (uint32_t node = 0; node < SIM_NODES; node++) {
        if ((bits >> node & 1) != 0) {
            buffers->nodes[buffers->nodes_count++] = node;
            ++*count_out;
        }
    }
    return first;
}

static void add_input(struct buffers *buffers, struct placement_request *request, double bytes, uint32_t copies,
                      uint32_t coming)
{
    struct placement_input *input = &buffers->inputs[request->inputs_count++];
    input->bytes = (uint64_t)bytes;
    input->copies = nodes_of(buffers, copies, &input->copies_count);
    input->coming = nodes_of(buffers, coming & ~copies, &input->coming_count);
}

static struct placement_request request_of(const struct sim *sim, int number, struct buffers *buffers)
{
    const struct sim_task *task = &sim->tasks[number];
    size_t inputs_max = (size_t)task->inputs_count + SIM_NODES;
    double ranges[SIM_NODES] = { 0 };
    buffers->inputs = calloc(inputs_max, sizeof *buffers->inputs);
    buffers->nodes = calloc(inputs_max * SIM_NODES, sizeof *buffers->nodes);
    buffers->nodes_count = 0;
    ROOST_INVARIANT(buffers->inputs != NULL && buffers->nodes != NULL);
    struct placement_request request = { .kind = &task->kind, .cpus = 100, .inputs = buffers->inputs };
    for (int i = 0; i < task->inputs_count; i++) {
        const struct sim_input *input = &task->inputs[i];
        const struct sim_object *object = &sim->objects[input->object];
        if (!input->whole && (object->copies & (object->copies - 1)) == 0) {
            ranges[__builtin_ctz(object->copies)] += input->bytes;
        } else {
            uint32_t coming = input->whole ? object->planned | object->flying : 0;
            add_input(buffers, &request, input->bytes, object->copies, coming);
        }
    }
    for (int node = 0; node < SIM_NODES; node++) {
        if (ranges[node] > 0) {
            add_input(buffers, &request, ranges[node], 1u << node, 0);
        }
    }
    return request;
}

static void plan_copies(struct sim *sim, int number, int node)
{
    const struct sim_task *task = &sim->tasks[number];
    for (int i = 0; i < task->inputs_count; i++) {
        struct sim_object *object = &sim->objects[task->inputs[i].object];
        uint32_t there = object->copies | object->flying | object->planned;
        if (task->inputs[i].whole && (there >> node & 1) == 0) {
            object->planned |= 1u << node;
            object->planner[node] = number;
        }
    }
}

static void core_place(void *policy, struct sim *sim)
{
    for (int i = 0; i < sim->ready.count; i++) {
        struct sim_task *task = &sim->tasks[sim->ready.items[i]];
        task->kind.function = (struct id_key){ 1, (uint64_t)task->function };
        placement_enqueue(policy, &task->booking, false);
    }
    sim->ready.count = 0;
    placement_turn_begin(policy);
    for (struct placement_booking *booking; (booking = placement_next(policy)) != NULL;) {
        struct buffers buffers;
        struct placement_choice choice;
        int number = (int)(CONTAINER_OF(booking, struct sim_task, booking) - sim->tasks);
        struct placement_request request = request_of(sim, number, &buffers);
        int status = placement_plan(policy, &request, booking, &choice);
        ROOST_INVARIANT(status == 0);
        free(buffers.inputs);
        free(buffers.nodes);
        if (choice.verdict == PLACEMENT_CHOSEN) {
            plan_copies(sim, number, (int)choice.node);
            sim_send(sim, number, (int)choice.node);
        }
    }
    placement_turn_end(policy);
}

static bool core_has_more(void *policy) { return placement_queued(policy) > 0; }

static void core_report(void *policy, struct sim *sim) { (void)policy, (void)sim; }

static void core_transferred(void *policy, struct sim *sim, int task, int source, double bytes)
{
    placement_transfer_done(policy, &sim->tasks[task].booking, (uint32_t)source, (uint64_t)bytes);
}

static void core_started(void *policy, struct sim *sim, int task)
{
    placement_started(policy, &sim->tasks[task].booking);
}

static void core_ended(void *policy, struct sim *sim, int task)
{
    placement_completed(policy, &sim->tasks[task].booking, (uint64_t)(sim->tasks[task].duration_s * 1e9));
}

const struct sim_policy sim_core_policy = {
    .name = "roost",
    .progress_s = 0.1,
    .create = core_create,
    .destroy = core_destroy,
    .place = core_place,
    .has_more = core_has_more,
    .report = core_report,
    .transferred = core_transferred,
    .started = core_started,
    .ended = core_ended,
};
