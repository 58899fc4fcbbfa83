/* placement_book.c - what tasks have booked on nodes
 *
 * Owns the bookings' amounts, from the decision to the task's end.
 *
 *     NONE --enqueue--> NEW --plan--> PLANNED --plan--> ASSIGNED      (placement_turn.c)
 *     NONE --assign--> ASSIGNED --started--> STARTED --completed, release--> NONE
 *                      ASSIGNED --completed, release--> NONE        (a start may go unreported)
 *     NONE --assign_early, follow--> EARLY --release--> NONE
 *
 * Happy path: assign books CPU, memory, bytes into the node and out of each source; bytes go as they arrive, the rest
 *             of them at the start, CPU and memory at the end.
 * Failures:   no memory for the list of sources -> nothing is booked. a node left, or its number has a new bearer ->
 *             its part is skipped: the life does not match.
 * Invariants: every amount of a node is the sum over the bookings that are on `bookings` and the plans (placement_is_valid).
 *             A booking takes off exactly what it put on: its own numbers, never the estimates of today.
 * Thread:     the core's.
 */
#include "common/contract.h"
#include "common/hash.h"
#include "scheduler/core/placement_internal.h"

#include <stdlib.h>

/* A task without CPUs has to count in a window too, or a node would be given any number of them. */
uint64_t window_charge(uint64_t cpus) { return cpus > 0 ? cpus : 1; }

static void change(uint64_t *sum, uint64_t amount, bool more)
{
    ROOST_PRE(more || *sum >= amount);
    *sum = more ? *sum + amount : *sum - amount;
}

static void out_change(struct placement *placement, const struct placement_booking *booking,
                       const struct placement_share *share, uint64_t bytes, bool more)
{
    struct node *source = node_of(placement, share->node, share->life);
    if (source != NULL) {
        change(&source->bytes_out, bytes, more);
        if (booking->state == PLACEMENT_PLANNED) {
            change(&source->plan.bytes_out, bytes, more);
        }
    }
}

static void load_change(struct load *load, uint64_t amount, uint64_t duration_ns, bool more)
{
    if (more) {
        load_add(load, amount, duration_ns);
    } else {
        load_remove(load, amount, duration_ns);
    }
}

static void plan_change(struct plan *plan, const struct placement_booking *booking, bool more)
{
    load_change(&plan->cpus, booking->cpus, booking->estimate_ns, more);
    load_change(&plan->memory, booking->memory_kib, booking->estimate_ns, more);
    change(&plan->bytes_in, booking->bytes_in, more);
    plan->count += more ? 1u : -1u;
}

static void booking_change(struct placement *placement, const struct placement_booking *booking, bool more)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        out_change(placement, booking, &booking->shares[i], booking->shares[i].bytes, more);
    }
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node == NULL) {
        return;
    }
    if (booking->follows) {
        load_change(&node->following, window_charge(booking->cpus), booking->estimate_ns, more);
    } else if (booking->state == PLACEMENT_EARLY) {
        load_change(&node->early, booking->cpus, booking->estimate_ns, more);
    } else {
        load_change(&node->cpus, booking->cpus, booking->estimate_ns, more);
        load_change(&node->memory, booking->memory_kib, booking->estimate_ns, more);
        change(&node->bytes_in, booking->bytes_in, more);
        if (booking->state == PLACEMENT_PLANNED) {
            plan_change(&node->plan, booking, more);
        } else {
            change(&node->committed, window_charge(booking->cpus), more);
        }
    }
    node_refresh(placement, booking->node);
}

void booking_apply(struct placement *placement, const struct placement_booking *booking)
{
    booking_change(placement, booking, true);
}

void booking_unapply(struct placement *placement, const struct placement_booking *booking)
{
    booking_change(placement, booking, false);
}

/* ------------------------------------------------------------------------------------------------ making one */

/* A total order, so that equal shares do not depend on the sort. */
static int compare_shares(const void *a, const void *b)
{
    const struct placement_share *x = a, *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes > y->bytes ? -1 : 1;
    }
    return x->node < y->node ? -1 : x->node > y->node;
}

static int shares_take(const struct placement *placement, struct placement_booking *booking)
{
    uint32_t count = placement->share_count;
    if (count == 0) {
        return 0;
    }
    struct placement_share *shares = malloc(count * sizeof *shares);
    if (shares == NULL) {
        return ROOST_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t source = placement->share_nodes[i];
        const struct node *node = &placement->nodes[source];
        uint64_t bytes = node->share_bytes;
        shares[i] = (struct placement_share){ source, node->life,
                                              bytes < PLACEMENT_TASK_BYTES_MAX ? bytes : PLACEMENT_TASK_BYTES_MAX };
    }
    if (count > PLACEMENT_SOURCES_MAX) {
        qsort(shares, count, sizeof *shares, compare_shares);
        count = PLACEMENT_SOURCES_MAX;
        struct placement_share *fewer = realloc(shares, count * sizeof *shares);
        shares = fewer != NULL ? fewer : shares;
    }
    booking->shares = shares;
    booking->shares_count = (uint16_t)count; /* at most PLACEMENT_SOURCES_MAX */
    return 0;
}

static void fill(const struct placement *placement, const struct placement_request *request, uint32_t node,
                 struct placement_booking *booking)
{
    booking->node = node;
    booking->life = placement->nodes[node].life;
    booking->cpus = request->cpus;
    booking->memory_kib = need_of(request).memory_kib;
    booking->estimate_ns = durations_estimate_ns(&placement->durations, function_of(request->kind));
    booking->kind = request->kind;
    list_init(&booking->all);
}

static uint64_t age_of(const struct list_node *at)
{
    return CONTAINER_OF(at, const struct placement_booking, all)->age;
}

/* Into the plan of its node, by age: mostly at one of its ends. */
static void join_plan(struct placement *placement, struct placement_booking *booking)
{
    struct node *node = &placement->nodes[booking->node];
    struct list_node *list = booking->is_bound ? &node->bound : &node->planned, *place = list;
    bool is_of_older_half = !list_is_empty(list) &&
                            booking->age < age_of(list->next) + (age_of(list->previous) - age_of(list->next)) / 2;
    if (is_of_older_half) {
        for (place = list->next; age_of(place) < booking->age;) {
            place = place->next;
        }
    } else {
        while (place->previous != list && age_of(place->previous) > booking->age) {
            place = place->previous;
        }
    }
    list_insert_before(place, &booking->all);
}

int booking_make(struct placement *placement, const struct placement_request *request, uint32_t node,
                 enum placement_state state, struct placement_booking *booking)
{
    ROOST_PRE(booking->state == PLACEMENT_NONE);
    struct placement_booking made = { .state = state, .age = booking->age, .follows = booking->follows };
    fill(placement, request, node, &made);
    if (state != PLACEMENT_EARLY) {
        uint64_t missing_bytes = inputs_missing_at(placement, request, node);
        int status = shares_take(placement, &made);
        if (status != 0) {
            return status;
        }
        made.bytes_in = missing_bytes < PLACEMENT_TASK_BYTES_MAX ? missing_bytes : PLACEMENT_TASK_BYTES_MAX;
        made.is_spread = spread_change(placement, spread_wish(request->kind), node, made.life, true);
        made.is_bound = state == PLACEMENT_PLANNED && request->wish != PLACEMENT_ANYWHERE && request->node == node;
    }
    *booking = made;
    list_init(&booking->all);
    if (state == PLACEMENT_PLANNED) {
        join_plan(placement, booking);
        placement->queued_count += booking->is_bound ? 0 : 1;
    } else {
        list_append(&placement->bookings, &booking->all);
    }
    booking_apply(placement, booking);
    return 0;
}

void booking_estimate(struct placement *placement, struct placement_booking *booking)
{
    struct node *node = &placement->nodes[booking->node];
    struct load *loads[] = { &node->cpus, &node->plan.cpus, &node->memory, &node->plan.memory };
    uint64_t amounts[] = { booking->cpus, booking->cpus, booking->memory_kib, booking->memory_kib };
    uint64_t now_ns = durations_estimate_ns(&placement->durations, function_of(booking->kind));
    for (size_t i = 0; i < ROOST_COUNT_OF(loads); i++) {
        load_remove(loads[i], amounts[i], booking->estimate_ns);
        load_add(loads[i], amounts[i], now_ns);
    }
    booking->estimate_ns = now_ns;
}

/* Off its list and off its node; what is left is its place in the queue. */
static void take_off(struct placement *placement, struct placement_booking *booking)
{
    bool is_queued = booking->state == PLACEMENT_NEW || booking->state == PLACEMENT_PLANNED;
    placement->queued_count -= is_queued && !booking->is_bound ? 1 : 0;
    list_remove(&booking->all);
    if (booking->state != PLACEMENT_NEW) {
        booking_unapply(placement, booking);
        if (booking->is_spread) {
            spread_change(placement, booking->kind->spread, booking->node, booking->life, false);
        }
        free(booking->shares);
    }
    *booking = (struct placement_booking){ .age = booking->age };
    list_init(&booking->all);
}

void booking_clear(struct placement *placement, struct placement_booking *booking)
{
    take_off(placement, booking);
    *booking = (struct placement_booking){ 0 };
}

void booking_unplan(struct placement *placement, struct placement_booking *booking, struct list_node *queue)
{
    take_off(placement, booking);
    booking->state = PLACEMENT_NEW;
    placement->queued_count++;
    list_append(queue, &booking->all);
}

static void record(struct placement *placement, uint64_t what, const struct placement_booking *booking)
{
    uint64_t amounts = hash_mix(hash_mix(booking->cpus, booking->memory_kib), booking->estimate_ns);
    placement_record(placement, what, booking->node, hash_mix(amounts, booking->bytes_in));
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        placement_record(placement, 'o', booking->shares[i].node, booking->shares[i].bytes);
    }
}

int booking_assign(struct placement *placement, const struct placement_request *request, uint32_t node,
                   struct placement_booking *booking)
{
    int status = booking_make(placement, request, node, PLACEMENT_ASSIGNED, booking);
    if (status == 0) {
        placement->booked_count++;
        record(placement, 'a', booking);
    }
    return status;
}

int placement_assign(struct placement *placement, const struct placement_request *request, uint32_t node,
                     struct placement_booking *booking)
{
    ROOST_PRE(node_at(placement, node) != NULL);
    ROOST_PRE(node_is_big_enough(node_at(placement, node), need_of(request)));
    int status = inputs_survey(placement, request);
    return status != 0 ? status : booking_assign(placement, request, node, booking);
}

void placement_assign_early(struct placement *placement, const struct placement_request *request, uint32_t node,
                            struct placement_booking *booking)
{
    ROOST_PRE(node_at(placement, node) != NULL);
    int status = booking_make(placement, request, node, PLACEMENT_EARLY, booking);
    ROOST_POST(status == 0); /* it has no shares, so there is nothing to allocate */
    record(placement, 'e', booking);
}

/* Work and tasks of those that follow on the node, with one more. */
static bool may_follow(const struct placement *placement, const struct node *node,
                       const struct placement_request *request)
{
    struct load following = node->following;
    load_add(&following, window_charge(request->cpus),
             durations_estimate_ns(&placement->durations, function_of(request->kind)));
    return following.used <= node->cpus.capacity * PLACEMENT_FOLLOWERS_PER_CPU &&
           following.work <= (unsigned __int128)node->cpus.capacity * PLACEMENT_FOLLOW_NS;
}

bool placement_follow(struct placement *placement, const struct placement_request *request, uint32_t number,
                      struct placement_booking *booking)
{
    const struct node *node = node_at(placement, number);
    if (node == NULL || !may_go(placement, request, number) || !may_follow(placement, node, request)) {
        return false;
    }
    booking->follows = true;
    placement_assign_early(placement, request, number, booking);
    return true;
}

/* ------------------------------------------------------------------------------------------------ taking off */

static void arrived(struct placement *placement, const struct placement_booking *booking, struct placement_share *share,
                    uint64_t *bytes)
{
    uint64_t some = share->bytes < *bytes ? share->bytes : *bytes;
    out_change(placement, booking, share, some, false);
    share->bytes -= some;
    *bytes -= some;
}

void placement_transfer_done(struct placement *placement, struct placement_booking *booking, uint32_t source,
                             uint64_t bytes)
{
    if (booking->state != PLACEMENT_ASSIGNED) {
        return;
    }
    uint64_t in_bytes = bytes < booking->bytes_in ? bytes : booking->bytes_in, out_bytes = bytes;
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node != NULL) {
        change(&node->bytes_in, in_bytes, false);
    }
    booking->bytes_in -= in_bytes;
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        if (booking->shares[i].node == source) {
            arrived(placement, booking, &booking->shares[i], &out_bytes);
        }
    }
    for (uint32_t i = 0; i < booking->shares_count && out_bytes > 0; i++) {
        arrived(placement, booking, &booking->shares[i], &out_bytes);
    }
    placement_record(placement, 't', source, bytes);
}

static void free_nics(struct placement *placement, struct placement_booking *booking)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        out_change(placement, booking, &booking->shares[i], booking->shares[i].bytes, false);
    }
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node != NULL) {
        change(&node->bytes_in, booking->bytes_in, false);
    }
    free(booking->shares);
    booking->shares = NULL;
    booking->shares_count = 0;
    booking->bytes_in = 0;
}

void placement_started(struct placement *placement, struct placement_booking *booking)
{
    if (booking->state == PLACEMENT_ASSIGNED) {
        free_nics(placement, booking);
        booking->state = PLACEMENT_STARTED;
        record(placement, 's', booking);
    }
}

void placement_fetch(const struct placement *placement, uint32_t node)
{
    if (node < placement->nodes_capacity) {
        node_fetch(placement, node);
    }
}

void placement_completed(struct placement *placement, struct placement_booking *booking, uint64_t duration_ns)
{
    ROOST_PRE(booking->state == PLACEMENT_ASSIGNED || booking->state == PLACEMENT_STARTED);
    durations_learn(&placement->durations, function_of(booking->kind), duration_ns);
    placement_record(placement, 'd', booking->node, duration_ns);
    booking_clear(placement, booking);
}

void placement_release(struct placement *placement, struct placement_booking *booking)
{
    if (booking->state != PLACEMENT_NONE) {
        record(placement, 'r', booking);
        booking_clear(placement, booking);
    }
}

/* ------------------------------------------------------------------------------------------------ the paired check */

struct sums {
    struct load cpus, memory, early, following;
    struct plan plan;
    uint64_t committed, bytes_in, bytes_out;
};

static void sum_up(struct sums *sums, const struct placement *placement, const struct placement_booking *booking)
{
    bool is_planned = booking->state == PLACEMENT_PLANNED;
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        const struct placement_share *share = &booking->shares[i];
        if (node_of(placement, share->node, share->life) != NULL) {
            sums[share->node].bytes_out += share->bytes;
            sums[share->node].plan.bytes_out += is_planned ? share->bytes : 0;
        }
    }
    if (node_of(placement, booking->node, booking->life) == NULL) {
        return;
    }
    struct sums *at = &sums[booking->node];
    if (booking->state == PLACEMENT_EARLY) {
        booking->follows ? load_add(&at->following, window_charge(booking->cpus), booking->estimate_ns)
                         : load_add(&at->early, booking->cpus, booking->estimate_ns);
        return;
    }
    load_add(&at->cpus, booking->cpus, booking->estimate_ns);
    load_add(&at->memory, booking->memory_kib, booking->estimate_ns);
    at->bytes_in += booking->bytes_in;
    if (is_planned) {
        plan_change(&at->plan, booking, true);
    } else {
        at->committed += window_charge(booking->cpus);
    }
}

static bool loads_are_equal(const struct load *a, const struct load *b)
{
    return a->used == b->used && a->work == b->work;
}

static bool plans_are_equal(const struct plan *a, const struct plan *b)
{
    return loads_are_equal(&a->cpus, &b->cpus) && loads_are_equal(&a->memory, &b->memory) &&
           a->bytes_in == b->bytes_in && a->bytes_out == b->bytes_out && a->count == b->count;
}

static bool agrees(const struct placement *placement, uint32_t number, struct sums *sums)
{
    const struct node *node = &placement->nodes[number];
    bool active = node->present && !node->suspended;
    bool is_ranked = ranking_key(&placement->soonest, number) != UINT64_MAX;
    bool is_away = ranking_key(&placement->away, number) != UINT64_MAX;
    bool has_plan = node->present && !list_is_empty(&node->planned);
    if (is_ranked != active || is_away != (node->present && node->suspended) ||
        (ranking_key(&placement->fronts, number) != UINT64_MAX) != has_plan ||
        (ranking_key(&placement->longest, number) != UINT64_MAX) != has_plan) {
        return false;
    }
    if (!node->present) {
        return true;
    }
    load_add(&sums->cpus, node->local_cpus, node->local_ns);
    load_add(&sums->memory, node->local_memory_kib, node->local_ns);
    return loads_are_equal(&node->cpus, &sums->cpus) && loads_are_equal(&node->memory, &sums->memory) &&
           loads_are_equal(&node->early, &sums->early) && loads_are_equal(&node->following, &sums->following) &&
           plans_are_equal(&node->plan, &sums->plan) && node->committed == sums->committed &&
           node->bytes_in == sums->bytes_in && node->bytes_out == sums->bytes_out && (active || node->plan.count == 0);
}

/* A plan is in order of age. */
static bool sum_up_all(struct sums *sums, const struct placement *placement, const struct list_node *list)
{
    uint64_t age = 0;
    LIST_EACH (at, list) {
        const struct placement_booking *booking = CONTAINER_OF(at, struct placement_booking, all);
        sum_up(sums, placement, booking);
        if (booking->state == PLACEMENT_PLANNED && booking->age <= age) {
            return false;
        }
        age = booking->age;
    }
    return true;
}

/* Who asks for tasks is who has room. */
static bool asks_rightly(const struct node *node)
{
    const struct placement_booking *front = node->suspended ? NULL : node_front(node);
    bool has_room = !node->suspended &&
                    (front != NULL ? node_has_room(node, front->cpus) : node->committed < node_window(node));
    return has_room == !list_is_empty(&node->asking) && has_room == node->is_asking &&
           (!has_room || node->is_ready == (front != NULL));
}

bool placement_is_valid(const struct placement *placement)
{
    struct sums *sums = calloc(placement->nodes_capacity + 1u, sizeof *sums);
    if (sums == NULL) {
        return true; /* nothing is known against it */
    }
    bool is_valid = sum_up_all(sums, placement, &placement->bookings);
    for (uint32_t number = 0; number < placement->nodes_capacity; number++) {
        const struct node *node = &placement->nodes[number];
        is_valid = is_valid && (!node->present || (asks_rightly(node) && sum_up_all(sums, placement, &node->planned) &&
                                                   sum_up_all(sums, placement, &node->bound)));
    }
    for (uint32_t number = 0; number < placement->nodes_capacity; number++) {
        is_valid = is_valid && agrees(placement, number, &sums[number]);
    }
    free(sums);
    return is_valid;
}
