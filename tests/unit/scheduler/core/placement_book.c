#include "common/hash.h"
#include "tests/unit/scheduler/core/placement_fixture.h"

static const uint32_t on_0[] = { 0 }, on_1[] = { 1 };

TEST(placement_book, bytes_come_off_as_they_arrive_and_never_more_than_was_booked)
{
    struct placement *placement = cluster_of(2, 4);
    struct placement_input input = input_at(1000, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct placement_booking booking = { 0 };
    assign(placement, &request, 1, &booking);
    placement_transfer_done(placement, &booking, 0, 400);
    CHECK_EQ(view(placement, 1).bytes_in, 600);
    CHECK_EQ(view(placement, 0).bytes_out, 600);
    placement_transfer_done(placement, &booking, 0, 5000);
    CHECK_EQ(view(placement, 1).bytes_in, 0);
    CHECK_EQ(view(placement, 0).bytes_out, 0);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, bytes_from_a_source_that_was_not_planned_free_those_that_were)
{
    struct placement *placement = cluster_of(3, 4);
    const struct placement_input inputs[2] = { input_at(1000, on_0, 1), input_at(500, on_1, 1) };
    struct placement_request request = task_of(1, inputs, 2);
    struct placement_booking booking = { 0 };
    assign(placement, &request, 2, &booking);
    placement_transfer_done(placement, &booking, 7, 1200);
    CHECK_EQ(view(placement, 0).bytes_out, 0);
    CHECK_EQ(view(placement, 1).bytes_out, 300);
    CHECK_EQ(view(placement, 2).bytes_in, 300);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, a_start_frees_the_networks_and_the_end_frees_the_rest)
{
    struct placement *placement = cluster_of(2, 4);
    struct placement_input input = input_at(1000, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct placement_booking booking = { 0 };
    assign(placement, &request, 1, &booking);
    placement_started(placement, &booking);
    CHECK_EQ(view(placement, 0).bytes_out, 0);
    CHECK_EQ(view(placement, 1).bytes_in, 0);
    CHECK_EQ(view(placement, 1).cpus_committed, 100);
    placement_completed(placement, &booking, 5);
    CHECK_EQ(view(placement, 1).cpus_committed, 0);
    CHECK_EQ(booking.state, PLACEMENT_NONE);
    CHECK_EQ(placement_estimate_ns(placement, request.kind->function), 5);
    placement_destroy(placement);
}

TEST(placement_book, a_release_teaches_nothing_and_may_be_repeated)
{
    struct placement *placement = cluster_of(1, 4);
    struct placement_request request = task_of(1, NULL, 0);
    struct placement_booking booking = { 0 };
    assign(placement, &request, 0, &booking);
    placement_release(placement, &booking);
    placement_release(placement, &booking);
    CHECK_EQ(view(placement, 0).cpus_committed, 0);
    CHECK_EQ(placement_estimate_ns(placement, request.kind->function), PLACEMENT_PRIOR_NS);
    placement_destroy(placement);
}

TEST(placement_book, what_a_removed_node_had_does_not_touch_the_next_of_its_number)
{
    struct placement *placement = cluster_of(2, 4);
    struct placement_input input = input_at(1000, on_0, 1);
    struct placement_request request = task_of(1, &input, 1);
    struct placement_booking to_1 = { 0 }, at_0 = { 0 };
    struct placement_shape shape = shape_of(4, ROOST_GIB(16));
    assign(placement, &request, 1, &to_1); /* from node 0 */
    assign(placement, &request, 0, &at_0);
    placement_node_remove(placement, 0);
    CHECK_EQ(placement_node_add(placement, 0, &shape), 0);
    CHECK_EQ(view(placement, 0).bytes_out, 0);
    CHECK_EQ(view(placement, 0).cpus_committed, 0);
    CHECK(placement_is_valid(placement));
    placement_release(placement, &at_0);
    placement_release(placement, &to_1);
    CHECK_EQ(view(placement, 0).cpus_committed, 0);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, a_task_without_cpus_counts_in_the_window_all_the_same)
{
    struct placement *placement = cluster_of(1, 1);
    struct placement_request request = task_of(1, NULL, 0);
    static struct placement_booking bookings[PLACEMENT_WINDOW_PER_CPU * 100];
    request.cpus = 0;
    for (size_t i = 0; i < ROOST_COUNT_OF(bookings); i++) {
        CHECK_EQ(choose(placement, &request).verdict, PLACEMENT_CHOSEN);
        assign(placement, &request, 0, &bookings[i]);
    }
    CHECK_EQ(choose(placement, &request).verdict, PLACEMENT_QUEUED);
    placement_destroy(placement);
}

TEST(placement_book, a_task_with_more_sources_than_the_limit_books_the_largest)
{
    enum { NODES = PLACEMENT_SOURCES_MAX + 10 };
    struct placement *placement = cluster_of(NODES, 4);
    static uint32_t numbers[NODES];
    static struct placement_input inputs[NODES];
    for (uint32_t node = 1; node < NODES; node++) {
        numbers[node] = node;
        inputs[node] = input_at(1000 + node, &numbers[node], 1);
    }
    struct placement_request request = task_of(1, &inputs[1], NODES - 1);
    struct placement_booking booking = { 0 };
    assign(placement, &request, 0, &booking);
    CHECK_EQ(booking.shares_count, PLACEMENT_SOURCES_MAX);
    CHECK_EQ(view(placement, 1).bytes_out, 0);
    CHECK_EQ(view(placement, NODES - 1).bytes_out, 1000 + NODES - 1);
    placement_release(placement, &booking);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, absurd_sizes_neither_overflow_nor_stay_behind)
{
    struct placement *placement = cluster_of(2, 4);
    struct placement_input inputs[4];
    for (size_t i = 0; i < 4; i++) {
        inputs[i] = input_at(ROOST_OBJECT_BYTES_MAX, on_0, 1);
    }
    struct placement_request request = task_of(1, inputs, 4);
    struct placement_booking bookings[8] = { 0 };
    for (size_t i = 0; i < 8; i++) {
        assign(placement, &request, 1, &bookings[i]);
    }
    CHECK_EQ(view(placement, 0).bytes_out, 8 * PLACEMENT_TASK_BYTES_MAX);
    CHECK_EQ(choose(placement, &request).node, 0);
    for (size_t i = 0; i < 8; i++) {
        placement_completed(placement, &bookings[i], UINT64_MAX);
    }
    CHECK_EQ(view(placement, 0).bytes_out, 0);
    CHECK_EQ(placement_estimate_ns(placement, request.kind->function), PLACEMENT_DURATION_NS_MAX);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

/* Everything that can happen to nodes and bookings, in any order; the sums are recounted as it goes. */
TEST(placement_book, the_sums_agree_with_the_bookings_through_a_random_life)
{
    enum { NODES = 12, TASKS = 400, STEPS = 40000 };
    static struct queued tasks[TASKS];
    static struct placement_input inputs[TASKS];
    static uint32_t places[TASKS];
    struct placement *placement = cluster_of(NODES, 4);
    uint64_t random = 5;
    for (uint64_t step = 0; step < STEPS; step++) {
        random = hash_mix(random, step);
        size_t at = random % TASKS;
        struct placement_booking *booking = &tasks[at].booking;
        uint32_t node = (uint32_t)(random >> 8) % NODES, source = (uint32_t)(random >> 16) % NODES;
        struct placement_request request = task_of(random >> 20 & 3, &inputs[at], 1);
        struct placement_shape shape = shape_of(4, ROOST_GIB(16));
        struct placement_choice choice;
        spread_by(&request, (struct id_key){ 0, random >> 22 & 3 });
        request.memory_bytes = random >> 33;
        request.inputs_wanted = 1;
        request.wish = (random >> 30 & 15) < 13 ? PLACEMENT_ANYWHERE : (random >> 30 & 1) + PLACEMENT_SOFT;
        request.node = node;
        if (booking->state == PLACEMENT_NONE) {
            places[at] = source;
            inputs[at] = input_at(random >> 34, &places[at], 1);
        }
        switch (random >> 24 & 15) {
        case 0:
            placement_node_suspend(placement, node);
            break;
        case 1:
            placement_node_resume(placement, node);
            break;
        case 2:
            if ((random >> 28 & 7) == 0) {
                placement_node_remove(placement, node);
            }
            placement_node_add(placement, node, &shape); /* most of the time it is there */
            break;
        case 3:
            placement_node_set_local(placement, node, (uint32_t)(random >> 28 & 511), random >> 40, random >> 36);
            break;
        case 4:
            placement_release(placement, booking);
            break;
        case 5:
            placement_started(placement, booking);
            break;
        case 6:
            placement_transfer_done(placement, booking, source, random >> 35);
            break;
        case 8:
            if (booking->state == PLACEMENT_NONE && placement_choose_early(placement, &request, &choice) == 0 &&
                choice.verdict == PLACEMENT_CHOSEN) {
                placement_assign_early(placement, &request, choice.node, booking);
            }
            break;
        default:
            if (booking->state == PLACEMENT_NONE) {
                enqueue(placement, &tasks[at], &request);
            } else if (booking->state == PLACEMENT_ASSIGNED || booking->state == PLACEMENT_STARTED) {
                placement_completed(placement, booking, random >> 36);
            }
            take_turn(placement);
        }
        if (step % 64 == 0) {
            CHECK(placement_is_valid(placement));
        }
    }
    for (size_t i = 0; i < TASKS; i++) {
        placement_release(placement, &tasks[i].booking);
    }
    CHECK_EQ(placement_queued(placement), 0);
    for (uint32_t node = 0; node < NODES; node++) {
        placement_node_set_local(placement, node, 0, 0, 0);
    }
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, those_that_follow_on_a_node_are_bounded_by_number_and_by_work_and_take_no_cpu)
{
    enum { CPUS = 2, MANY = CPUS * PLACEMENT_FOLLOWERS_PER_CPU };
    struct placement *placement = cluster_of(2, CPUS);
    struct placement_request unknown = task_of(1, NULL, 0), fast = task_of(2, NULL, 0);
    struct placement_booking first = { 0 }, slow[CPUS + 1] = { 0 };
    static struct placement_booking followers[MANY + 1];
    for (int i = 0; i <= CPUS; i++) { /* ten milliseconds each, as far as is known */
        CHECK_EQ(placement_follow(placement, &unknown, 0, &slow[i]), i < CPUS);
    }
    CHECK(placement_is_valid(placement));
    for (int i = 0; i < CPUS; i++) {
        placement_release(placement, &slow[i]);
    }
    CHECK_EQ(placement_assign(placement, &fast, 0, &first), 0);
    placement_completed(placement, &first, 1000);
    for (int i = 0; i <= MANY; i++) {
        CHECK_EQ(placement_follow(placement, &fast, 0, &followers[i]), i < MANY);
    }
    struct placement_node_view view;
    CHECK(placement_node_get(placement, 0, &view));
    CHECK(view.cpus_committed == 0 && view.wait_ns == 0);
    CHECK(placement_is_valid(placement));
    for (int i = 0; i < MANY; i++) {
        placement_release(placement, &followers[i]);
    }
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}

TEST(placement_book, nobody_follows_to_a_node_that_is_absent_suspect_too_small_or_not_wished_for)
{
    struct placement *placement = cluster_of(2, 2);
    struct placement_request request = task_of(1, NULL, 0), large = request, bound = request;
    struct placement_booking booking = { 0 };
    large.cpus = 300;
    bound.wish = PLACEMENT_HARD;
    bound.node = 1;
    CHECK(!placement_follow(placement, &request, 7, &booking));
    CHECK(!placement_follow(placement, &large, 0, &booking));
    CHECK(!placement_follow(placement, &bound, 0, &booking));
    placement_node_suspend(placement, 0);
    CHECK(!placement_follow(placement, &request, 0, &booking));
    CHECK_EQ(booking.state, PLACEMENT_NONE);
    CHECK(!booking.follows);
    placement_node_resume(placement, 0);
    CHECK(placement_follow(placement, &request, 0, &booking));
    placement_release(placement, &booking);
    CHECK(placement_is_valid(placement));
    placement_destroy(placement);
}
