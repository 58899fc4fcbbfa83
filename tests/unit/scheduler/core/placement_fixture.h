/* placement_fixture.h - small clusters and short requests for the tests of placement */
#ifndef ROOST_TESTS_UNIT_SCHEDULER_CORE_PLACEMENT_FIXTURE_H
#define ROOST_TESTS_UNIT_SCHEDULER_CORE_PLACEMENT_FIXTURE_H

#include "scheduler/core/placement.h"
#include "tests/lib/test.h"

#define GB           UINT64_C(1000000000)
#define MILLISECONDS UINT64_C(1000000)

/* One CPU, 1 GB/s each way unless said otherwise, so that a GB takes a second. */
static inline struct placement_shape shape_of(uint32_t cores, uint64_t memory_bytes)
{
    return (struct placement_shape){ cores * 100, memory_bytes, GB, GB };
}

static inline struct placement *cluster_of(uint32_t nodes_count, uint32_t cores)
{
    struct placement *placement;
    struct placement_shape shape = shape_of(cores, ROOST_GIB(16));
    CHECK_EQ(placement_create(&placement), 0);
    for (uint32_t node = 0; node < nodes_count; node++) {
        CHECK_EQ(placement_node_add(placement, node, &shape), 0);
    }
    return placement;
}

static inline struct placement_input input_at(uint64_t bytes, const uint32_t *copies, uint32_t count)
{
    return (struct placement_input){ .bytes = bytes, .copies = copies, .copies_count = count };
}

/* One of each for all bookings of the suite; they are few. */
static inline const struct placement_kind *kind_of(struct id_key function, struct id_key spread)
{
    enum { KINDS_MAX = 4 * PLACEMENT_SPREADS_MAX };
    static struct placement_kind kinds[KINDS_MAX];
    static size_t count;
    size_t i = 0;
    while (i < count && !(id_key_eq(kinds[i].function, function) && id_key_eq(kinds[i].spread, spread))) {
        i++;
    }
    CHECK(i < KINDS_MAX);
    kinds[i] = (struct placement_kind){ function, spread };
    count += i == count ? 1 : 0;
    return &kinds[i];
}

static inline void spread_by(struct placement_request *request, struct id_key spread)
{
    request->kind = kind_of(request->kind->function, spread);
}

static inline struct placement_request task_of(uint64_t function, const struct placement_input *inputs, uint32_t count)
{
    const struct placement_kind *kind = kind_of((struct id_key){ 1, function }, (struct id_key){ 0, 0 });
    return (struct placement_request){ .kind = kind, .cpus = 100, .inputs = inputs, .inputs_count = count };
}

static inline struct placement_choice choose(struct placement *placement, const struct placement_request *request)
{
    struct placement_choice choice;
    CHECK_EQ(placement_choose(placement, request, &choice), 0);
    return choice;
}

static inline void assign(struct placement *placement, const struct placement_request *request, uint32_t node,
                          struct placement_booking *booking)
{
    CHECK_EQ(placement_assign(placement, request, node, booking), 0);
}

/* A task with what it asks for, so that a turn can ask again. */
struct queued {
    struct placement_booking booking;
    struct placement_request request;
};

static inline void enqueue(struct placement *placement, struct queued *task, const struct placement_request *request)
{
    task->request = *request;
    placement_enqueue(placement, &task->booking, false);
}

/* The next task is judged. NULL: the turn is over. */
static inline struct queued *plan_next(struct placement *placement, struct placement_choice *choice_out)
{
    struct placement_booking *booking = placement_next(placement);
    if (booking == NULL) {
        return NULL;
    }
    struct queued *task = CONTAINER_OF(booking, struct queued, booking);
    CHECK_EQ(placement_plan(placement, &task->request, booking, choice_out), 0);
    return task;
}

/* A whole turn. Returns how many tasks were judged. */
static inline uint32_t take_turn(struct placement *placement)
{
    struct placement_choice choice;
    uint32_t judged = 0;
    placement_turn_begin(placement);
    while (plan_next(placement, &choice) != NULL) {
        judged++;
    }
    placement_turn_end(placement);
    return judged;
}

static inline struct placement_node_view view(const struct placement *placement, uint32_t node)
{
    struct placement_node_view seen;
    CHECK(placement_node_get(placement, node, &seen));
    return seen;
}

/* From now on the function is known to take so long. */
static inline void teach(struct placement *placement, uint64_t function, uint64_t duration_ns)
{
    struct placement_booking booking = { 0 };
    struct placement_request request = task_of(function, NULL, 0);
    assign(placement, &request, 0, &booking);
    placement_completed(placement, &booking, duration_ns);
}

#endif
