/* placement_cluster.c - the simulated cluster: events in order of time, transfers that share network cards fairly
 *
 * Owns everything of a run but the placing. A transfer runs at the lesser of its source's and its target's speed
 * divided by the number of transfers there; between two events all rates are constant.
 * One thread; the order of equal times is that of the heap, the same in every run. */
#include "tests/sim/placement_cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIM_PLACE_S 0.02 /* what stays queued at the head is judged again so often */

static void *grown(void *items, int count, int *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *bigger = realloc(items, (size_t)*capacity * size);
    ROOST_INVARIANT(bigger != NULL);
    return bigger;
}

#define MAKE_ROOM(sim, what) \
    (sim)->what = grown((sim)->what, (sim)->what##_count, &(sim)->what##_capacity, sizeof *(sim)->what)

void sim_list_add(struct sim_list *list, int item)
{
    list->items = grown(list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = item;
}

static void list_take(struct sim_list *list, int at)
{
    memmove(list->items + at, list->items + at + 1, (size_t)(list->count - at - 1) * sizeof *list->items);
    list->count--;
}

static int *with_one_more(int *items, int count, int item)
{
    int *bigger = realloc(items, (size_t)(count + 1) * sizeof *bigger);
    ROOST_INVARIANT(bigger != NULL);
    bigger[count] = item;
    return bigger;
}

double sim_random(struct sim *sim)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (double)(sim->random >> 11) * (1.0 / 9007199254740992.0);
}

static bool has_bit(uint32_t nodes, int node) { return (nodes >> node & 1) != 0; }

/* ------------------------------------------------------------------------------------------------ what there is */

int sim_add_object(struct sim *sim, double size, uint32_t copies)
{
    MAKE_ROOM(sim, objects);
    sim->objects[sim->objects_count] = (struct sim_object){ .size = size, .copies = copies, .made = copies != 0 };
    return sim->objects_count++;
}

int sim_add_task(struct sim *sim, double duration_s, double output_bytes, int function)
{
    MAKE_ROOM(sim, tasks);
    int output = sim_add_object(sim, output_bytes, 0);
    sim->tasks[sim->tasks_count] =
        (struct sim_task){ .duration_s = duration_s, .function = function, .output = output, .node = -1 };
    return sim->tasks_count++;
}

void sim_add_input(struct sim *sim, int number, int object, double bytes, bool whole)
{
    struct sim_task *task = &sim->tasks[number];
    task->inputs = realloc(task->inputs, (size_t)(task->inputs_count + 1) * sizeof *task->inputs);
    ROOST_INVARIANT(task->inputs != NULL);
    task->inputs[task->inputs_count++] = (struct sim_input){ object, bytes, whole };
}

double sim_work_s(const struct sim *sim)
{
    double sum_s = 0;
    for (int i = 0; i < sim->tasks_count; i++) {
        sum_s += sim->tasks[i].duration_s;
    }
    return sum_s / (SIM_NODES * SIM_CORES);
}

void sim_fini(struct sim *sim)
{
    for (int i = 0; i < sim->tasks_count; i++) {
        free(sim->tasks[i].inputs);
    }
    for (int i = 0; i < sim->objects_count; i++) {
        free(sim->objects[i].waiting);
    }
    for (int i = 0; i < sim->transfers_count; i++) {
        free(sim->transfers[i].waiting);
    }
    for (int node = 0; node < SIM_NODES; node++) {
        free(sim->queue[node].items);
    }
    free(sim->ready.items);
    free(sim->tasks);
    free(sim->objects);
    free(sim->transfers);
    free(sim->events);
}

/* ------------------------------------------------------------------------------------------------ events */

static void later(struct sim *sim, double after_s, enum sim_event_kind kind, int task, int node)
{
    MAKE_ROOM(sim, events);
    struct sim_event event = { sim->now_s + after_s, kind, task, node };
    int at = sim->events_count++;
    while (at > 0 && sim->events[(at - 1) / 2].at_s > event.at_s) {
        sim->events[at] = sim->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->events[at] = event;
}

static struct sim_event next_event(struct sim *sim)
{
    struct sim_event *events = sim->events, first = events[0];
    int count = --sim->events_count, at = 0;
    events[0] = events[count];
    for (;;) {
        int left = 2 * at + 1, least = at;
        least = left < count && events[left].at_s < events[least].at_s ? left : least;
        least = left + 1 < count && events[left + 1].at_s < events[least].at_s ? left + 1 : least;
        if (least == at) {
            return first;
        }
        struct sim_event swapped = events[least];
        events[least] = events[at];
        events[at] = swapped;
        at = least;
    }
}

void sim_send(struct sim *sim, int number, int node)
{
    sim->tasks[number].node = node;
    sim->tasks[number].state = SIM_ON_ITS_WAY;
    later(sim, SIM_MESSAGE_S, SIM_ARRIVES, number, node);
}

/* ------------------------------------------------------------------------------------------------ pulling */

static void start_transfer(struct sim *sim, int source, int target, int object, int payer, double bytes, int task)
{
    MAKE_ROOM(sim, transfers);
    sim->transfers[sim->transfers_count++] =
        (struct sim_transfer){ source, target, object, payer, bytes, bytes, 0, with_one_more(NULL, 0, task), 1 };
    sim->going_out[source]++;
    sim->coming_in[target]++;
    sim->moved_bytes += bytes;
    sim->tasks[task].transfers++;
}

static void join_transfer(struct sim *sim, int object, int task)
{
    for (int i = 0; i < sim->transfers_count; i++) {
        struct sim_transfer *transfer = &sim->transfers[i];
        if (transfer->object == object && transfer->target == sim->tasks[task].node) {
            transfer->waiting = with_one_more(transfer->waiting, transfer->waiting_count++, task);
            sim->tasks[task].transfers++;
            return;
        }
    }
}

static void pull_whole(struct sim *sim, int number, int task)
{
    struct sim_object *object = &sim->objects[number];
    int target = sim->tasks[task].node, source = -1;
    if (has_bit(object->flying, target)) {
        join_transfer(sim, number, task);
        return;
    }
    for (int node = 0; node < SIM_NODES; node++) {
        if (has_bit(object->copies, node) && (source < 0 || sim->going_out[node] < sim->going_out[source])) {
            source = node;
        }
    }
    int payer = has_bit(object->planned, target) ? object->planner[target] : -1;
    object->flying |= 1u << target;
    object->planned &= ~(1u << target);
    start_transfer(sim, source, target, number, payer, object->size, task);
}

static void pull_inputs(struct sim *sim, int number)
{
    struct sim_task *task = &sim->tasks[number];
    double ranges[SIM_NODES] = { 0 };
    task->state = SIM_PULLING;
    for (int i = 0; i < task->inputs_count; i++) {
        const struct sim_input *input = &task->inputs[i];
        const struct sim_object *object = &sim->objects[input->object];
        if (has_bit(object->copies, task->node)) {
            continue;
        }
        if (input->whole) {
            pull_whole(sim, input->object, number);
        } else {
            ranges[__builtin_ctz(object->copies)] += input->bytes;
        }
    }
    for (int source = 0; source < SIM_NODES; source++) {
        if (ranges[source] > 0) {
            start_transfer(sim, source, task->node, -1, number, ranges[source], number);
        }
    }
    if (task->transfers == 0) {
        task->state = SIM_READY;
    }
}

static void prefetch(struct sim *sim, int node)
{
    struct sim_list *queue = &sim->queue[node];
    for (int i = 0; i < queue->count && i < SIM_PREFETCH * SIM_CORES; i++) {
        if (sim->tasks[queue->items[i]].state == SIM_QUEUED) {
            pull_inputs(sim, queue->items[i]);
        }
    }
}

static void start_what_is_ready(struct sim *sim, int node)
{
    struct sim_list *queue = &sim->queue[node];
    prefetch(sim, node);
    for (int i = 0; i < queue->count && sim->running[node] < SIM_CORES;) {
        int number = queue->items[i];
        if (sim->tasks[number].state != SIM_READY) {
            i++;
            continue;
        }
        sim->tasks[number].state = SIM_RUNNING;
        sim->running[node]++;
        list_take(queue, i);
        later(sim, sim->tasks[number].duration_s, SIM_ENDS, number, node);
        sim->policy->started(sim->policy_state, sim, number);
        prefetch(sim, node);
        i = 0;
    }
}

/* ------------------------------------------------------------------------------------------------ what happens */

/* The policy hears of what is new since it last heard. */
static void tell(struct sim *sim, struct sim_transfer *transfer, double arrived)
{
    if (transfer->task >= 0 && arrived > transfer->told) {
        sim->policy->transferred(sim->policy_state, sim, transfer->task, transfer->source, arrived - transfer->told);
        transfer->told = arrived;
    }
}

static void tell_progress(struct sim *sim)
{
    for (int i = 0; i < sim->transfers_count; i++) {
        tell(sim, &sim->transfers[i], sim->transfers[i].bytes - sim->transfers[i].left);
    }
    later(sim, sim->policy->progress_s, SIM_PROGRESS, 0, 0);
}

static void output_is_made(struct sim *sim, int number, int node)
{
    struct sim_object *object = &sim->objects[number];
    object->made = true;
    object->copies |= 1u << node;
    for (int i = 0; i < object->waiting_count; i++) {
        if (--sim->tasks[object->waiting[i]].inputs_missing == 0) {
            later(sim, 2 * SIM_MESSAGE_S, SIM_BECOMES_READY, object->waiting[i], 0);
        }
    }
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

static void place(struct sim *sim)
{
    bool plans = sim->policy->has_more != NULL;
    if (plans && sim->ready.count > 0) {
        qsort(sim->ready.items, (size_t)sim->ready.count, sizeof *sim->ready.items, compare_ints);
    }
    sim->policy->place(sim->policy_state, sim);
    if (plans && sim->policy->has_more(sim->policy_state) && !sim->place_is_due) {
        sim->place_is_due = true;
        later(sim, SIM_PLACE_S, SIM_PLACE, 0, 0);
    }
}

static void becomes_ready(struct sim *sim, int task)
{
    sim_list_add(&sim->ready, task);
    bool more_at_once = sim->events_count > 0 && sim->events[0].kind == SIM_BECOMES_READY &&
                        sim->events[0].at_s <= sim->now_s + 1e-9;
    if (!more_at_once) {
        place(sim);
    }
}

static void task_ends(struct sim *sim, int task, int node)
{
    sim->running[node]--;
    sim->ended_count++;
    sim->tasks[task].state = SIM_ENDED;
    sim->policy->ended(sim->policy_state, sim, task); /* before anything that this makes ready is placed */
    output_is_made(sim, sim->tasks[task].output, node);
    start_what_is_ready(sim, node);
}

static void happen(struct sim *sim, struct sim_event event)
{
    switch (event.kind) {
    case SIM_ARRIVES:
        sim->tasks[event.task].state = SIM_QUEUED;
        sim_list_add(&sim->queue[event.node], event.task);
        start_what_is_ready(sim, event.node);
        break;
    case SIM_ENDS:
        task_ends(sim, event.task, event.node);
        break;
    case SIM_PLACE:
        sim->place_is_due = false;
        place(sim);
        break;
    case SIM_REPORT:
        sim->policy->report(sim->policy_state, sim);
        later(sim, sim->policy->report_s, SIM_REPORT, 0, 0);
        place(sim);
        break;
    case SIM_PROGRESS:
        tell_progress(sim);
        break;
    case SIM_BECOMES_READY:
        becomes_ready(sim, event.task);
        break;
    }
}

static void transfer_ends(struct sim *sim, int at)
{
    struct sim_transfer transfer = sim->transfers[at];
    sim->transfers[at] = sim->transfers[--sim->transfers_count];
    sim->going_out[transfer.source]--;
    sim->coming_in[transfer.target]--;
    if (transfer.object >= 0) {
        sim->objects[transfer.object].flying &= ~(1u << transfer.target);
        sim->objects[transfer.object].copies |= 1u << transfer.target;
    }
    tell(sim, &transfer, transfer.bytes);
    for (int i = 0; i < transfer.waiting_count; i++) {
        struct sim_task *task = &sim->tasks[transfer.waiting[i]];
        if (--task->transfers == 0 && task->state == SIM_PULLING) {
            task->state = SIM_READY;
        }
    }
    free(transfer.waiting);
    start_what_is_ready(sim, transfer.target);
}

static double rate_of(const struct sim *sim, const struct sim_transfer *transfer)
{
    return fmin(SIM_BYTES_PER_S / sim->going_out[transfer->source], SIM_BYTES_PER_S / sim->coming_in[transfer->target]);
}

/* To the next event or the end of the next transfer. */
static void advance(struct sim *sim)
{
    double until_s = sim->events_count > 0 ? sim->events[0].at_s : 1e300, transfer_s = 1e300;
    for (int i = 0; i < sim->transfers_count; i++) {
        transfer_s = fmin(transfer_s, sim->transfers[i].left / rate_of(sim, &sim->transfers[i]));
    }
    until_s = fmin(until_s, sim->now_s + transfer_s);
    double passed_s = until_s - sim->now_s;
    if (passed_s > 0) {
        for (int i = 0; i < sim->transfers_count; i++) {
            sim->transfers[i].left -= rate_of(sim, &sim->transfers[i]) * passed_s;
        }
    }
    sim->now_s = until_s;
}

static void find_what_waits(struct sim *sim)
{
    for (int number = 0; number < sim->tasks_count; number++) {
        struct sim_task *task = &sim->tasks[number];
        for (int i = 0; i < task->inputs_count; i++) {
            struct sim_object *object = &sim->objects[task->inputs[i].object];
            if (!object->made) {
                task->inputs_missing++;
                object->waiting = with_one_more(object->waiting, object->waiting_count++, number);
            }
        }
        if (task->inputs_missing == 0) {
            sim_list_add(&sim->ready, number);
        }
    }
}

double sim_run(struct sim *sim, const struct sim_policy *policy)
{
    sim->policy = policy;
    sim->policy_state = policy->create(sim);
    find_what_waits(sim);
    later(sim, 0, SIM_PLACE, 0, 0);
    if (policy->report_s > 0) {
        later(sim, policy->report_s, SIM_REPORT, 0, 0);
    }
    if (policy->progress_s > 0) {
        later(sim, policy->progress_s, SIM_PROGRESS, 0, 0);
    }
    while (sim->ended_count < sim->tasks_count && (sim->events_count > 0 || sim->transfers_count > 0)) {
        advance(sim);
        if (sim->events_count > 0 && sim->events[0].at_s <= sim->now_s + 1e-12) {
            happen(sim, next_event(sim));
        }
        for (int i = 0; i < sim->transfers_count;) {
            if (sim->transfers[i].left <= 1) {
                transfer_ends(sim, i);
            } else {
                i++;
            }
        }
    }
    policy->destroy(sim->policy_state);
    return sim->ended_count == sim->tasks_count ? sim->now_s : -1;
}
