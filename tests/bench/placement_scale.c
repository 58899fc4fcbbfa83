/* placement_scale.c - ns per placement decision at 10, 100, 1,000 and 10,000 nodes
 *
 * A decision is one task with two inputs planned and assigned, another one started and completed, on a cluster that is
 * three quarters full; and, apart from it, the judging alone. */
#include "common/hash.h"
#include "scheduler/core/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DECISIONS = 200000, CORES = 8 };

/* Two inputs of 64 MB with two copies each, on nodes drawn at random. */
struct work_task {
    struct placement_booking booking;
    struct placement_kind kind;
    uint32_t places[4];
    struct placement_input inputs[2];
};

struct work {
    struct placement *placement;
    uint32_t nodes_count;
    uint64_t random;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t some_node(struct work *work)
{
    work->random = hash_mix(work->random, 1);
    return (uint32_t)(work->random % work->nodes_count);
}

static void draw(struct work *work, struct work_task *task)
{
    for (size_t i = 0; i < 2; i++) {
        uint32_t *copies = &task->places[2 * i];
        copies[0] = some_node(work);
        copies[1] = copies[0] + 1 < work->nodes_count ? copies[0] + 1 : copies[0];
        task->inputs[i] = (struct placement_input){ .bytes = 64 << 20,
                                                    .copies = copies,
                                                    .copies_count = copies[0] == copies[1] ? 1 : 2 };
    }
    task->kind.function = (struct id_key){ 1, work->random % 8 };
}

static struct placement_request request_of(const struct work_task *task)
{
    return (struct placement_request){ .kind = &task->kind, .cpus = 100, .inputs = task->inputs, .inputs_count = 2 };
}

static int place_next(struct work *work, struct work_task *task)
{
    int status = 0;
    draw(work, task);
    placement_enqueue(work->placement, &task->booking, false);
    placement_turn_begin(work->placement);
    for (struct placement_booking *next; status == 0 && (next = placement_next(work->placement)) != NULL;) {
        struct placement_request request = request_of(CONTAINER_OF(next, struct work_task, booking));
        struct placement_choice choice;
        status = placement_plan(work->placement, &request, next, &choice);
    }
    placement_turn_end(work->placement);
    return status;
}

static int measure(uint32_t nodes_count)
{
    struct work work = { .nodes_count = nodes_count, .random = 42 };
    const struct placement_shape shape = { .cpus = CORES * 100, .memory_bytes = ROOST_GIB(64) };
    size_t tasks_count = (size_t)nodes_count * CORES * PLACEMENT_WINDOW_PER_CPU * 3 / 4;
    struct work_task *tasks = calloc(tasks_count, sizeof *tasks), one = { .places = { 0 } };
    int status = tasks == NULL ? ROOST_ENOMEM : placement_create(&work.placement);
    for (uint32_t node = 0; status == 0 && node < nodes_count; node++) {
        status = placement_node_add(work.placement, node, &shape);
    }
    for (size_t i = 0; status == 0 && i < tasks_count; i++) {
        status = place_next(&work, &tasks[i]);
    }
    uint64_t steps = status == 0 ? placement_steps(work.placement) : 0, started_ns = now_ns();
    for (uint64_t i = 0; status == 0 && i < DECISIONS; i++) {
        struct work_task *task = &tasks[hash_mix(7, i) % tasks_count];
        placement_started(work.placement, &task->booking);
        if (task->booking.state == PLACEMENT_STARTED) {
            placement_completed(work.placement, &task->booking, 20000000 + i % 1000);
        }
        if (task->booking.state == PLACEMENT_NONE) {
            status = place_next(&work, task);
        }
    }
    uint64_t whole_ns = now_ns() - started_ns;
    steps = status == 0 ? placement_steps(work.placement) - steps : 0;
    started_ns = now_ns();
    for (int i = 0; status == 0 && i < DECISIONS; i++) {
        struct placement_choice choice;
        draw(&work, &one);
        struct placement_request request = request_of(&one);
        status = placement_choose(work.placement, &request, &choice);
    }
    uint64_t choice_ns = now_ns() - started_ns;
    printf("nodes=%-6u  place+start+complete ns=%-6llu  judge ns=%-6llu  steps=%llu\n", nodes_count,
           (unsigned long long)(whole_ns / DECISIONS), (unsigned long long)(choice_ns / DECISIONS),
           (unsigned long long)(steps / DECISIONS));
    placement_destroy(work.placement);
    free(tasks);
    return status;
}

int main(void)
{
    for (uint32_t nodes_count = 10; nodes_count <= 10000; nodes_count *= 10) {
        int status = measure(nodes_count);
        if (status != 0) {
            fprintf(stderr, "placement_scale: status %d at %u nodes\n", status, nodes_count);
            return 1;
        }
    }
    return 0;
}
