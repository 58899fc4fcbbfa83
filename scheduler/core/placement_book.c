/* placement_book.c - what tasks have booked on nodes
 *
 * Owns the bookings' amounts, from the decision to the task's end.
 *
 *     NONE --assign--> ASSIGNED --started--> STARTED --completed, release--> NONE
 *                      ASSIGNED --completed, release--> NONE        (a start may go unreported)
 *     NONE --assign_early--> EARLY --release--> NONE
 *
 * Happy path: assign books CPU, memory, bytes into the node and out of each source; bytes go as they arrive, the rest
 *             of them at the start, CPU and memory at the end.
 * Failures:   no memory for the list of sources -> nothing is booked. a node left, or its number has a new bearer ->
 *             its part is skipped: the life does not match.
 * Invariants: every amount of a node is the sum over the bookings that are on `bookings` (placement_is_valid). A
 *             booking takes off exactly what it put on: its own numbers, never the estimates of today.
 * Thread:     the core's.
 */
#include "common/contract.h"
#include "common/hash.h"
#include "scheduler/core/placement_internal.h"

#include <stdlib.h>

/* A task without CPUs has to count in a window too, or a node would be given any number of them. */
uint64_t window_charge(uint64_t cpus) { return cpus > 0 ? cpus : 1; }

static void out_change(struct placement *placement, const struct placement_share *share, uint64_t bytes, bool more)
{
    struct node *source = node_of(placement, share->node, share->life);
    if (source != NULL) {
        ROOST_PRE(more || source->bytes_out >= bytes);
        source->bytes_out = more ? source->bytes_out + bytes : source->bytes_out - bytes;
    }
}

void booking_apply(struct placement *placement, const struct placement_booking *booking)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        out_change(placement, &booking->shares[i], booking->shares[i].bytes, true);
    }
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node == NULL) {
        return;
    }
    if (booking->state == PLACEMENT_EARLY) {
        load_add(&node->early, booking->cpus, booking->estimate_ns);
    } else {
        load_add(&node->cpus, booking->cpus, booking->estimate_ns);
        load_add(&node->memory, booking->memory_kib, booking->estimate_ns);
        node->committed += booking->tentative ? 0 : window_charge(booking->cpus);
        node->bytes_in += booking->bytes_in;
    }
    node_refresh(placement, booking->node);
}

void booking_unapply(struct placement *placement, const struct placement_booking *booking)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        out_change(placement, &booking->shares[i], booking->shares[i].bytes, false);
    }
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node == NULL) {
        return;
    }
    if (booking->state == PLACEMENT_EARLY) {
        load_remove(&node->early, booking->cpus, booking->estimate_ns);
    } else {
        uint64_t charge = booking->tentative ? 0 : window_charge(booking->cpus);
        ROOST_PRE(node->committed >= charge);
        ROOST_PRE(node->bytes_in >= booking->bytes_in);
        load_remove(&node->cpus, booking->cpus, booking->estimate_ns);
        load_remove(&node->memory, booking->memory_kib, booking->estimate_ns);
        node->committed -= charge;
        node->bytes_in -= booking->bytes_in;
    }
    node_refresh(placement, booking->node);
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
    booking->shares_count = count;
    return 0;
}

static void fill(const struct placement *placement, const struct placement_request *request, uint32_t node,
                 struct placement_booking *booking)
{
    booking->node = node;
    booking->life = placement->nodes[node].life;
    booking->cpus = request->cpus;
    booking->memory_kib = need_of(request).memory_kib;
    booking->estimate_ns = durations_estimate_ns(&placement->durations, request->function);
    booking->function = request->function;
    list_init(&booking->all);
}

int booking_make(struct placement *placement, const struct placement_request *request, uint32_t node,
                 enum placement_state state, bool tentative, struct placement_booking *booking)
{
    ROOST_PRE(booking->state == PLACEMENT_NONE);
    struct placement_booking made = { .state = state, .tentative = tentative };
    fill(placement, request, node, &made);
    if (state == PLACEMENT_ASSIGNED) {
        uint64_t missing_bytes = inputs_missing_at(placement, request, node);
        int status = shares_take(placement, &made);
        if (status != 0) {
            return status;
        }
        made.bytes_in = missing_bytes < PLACEMENT_TASK_BYTES_MAX ? missing_bytes : PLACEMENT_TASK_BYTES_MAX;
        bool is_heard = spread_change(placement, request->spread, node, made.life, true);
        made.spread = is_heard ? request->spread : made.spread;
    }
    *booking = made;
    list_init(&booking->all);
    list_append(&placement->bookings, &booking->all);
    booking_apply(placement, booking);
    return 0;
}

void booking_clear(struct placement *placement, struct placement_booking *booking)
{
    booking_unapply(placement, booking);
    spread_change(placement, booking->spread, booking->node, booking->life, false);
    list_remove(&booking->all);
    free(booking->shares);
    *booking = (struct placement_booking){ 0 };
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
    int status = booking_make(placement, request, node, PLACEMENT_ASSIGNED, false, booking);
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
    int status = booking_make(placement, request, node, PLACEMENT_EARLY, false, booking);
    ROOST_POST(status == 0); /* it has no shares, so there is nothing to allocate */
    record(placement, 'e', booking);
}

/* ------------------------------------------------------------------------------------------------ taking off */

static void arrived(struct placement *placement, struct placement_share *share, uint64_t *bytes)
{
    uint64_t some = share->bytes < *bytes ? share->bytes : *bytes;
    out_change(placement, share, some, false);
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
        ROOST_PRE(node->bytes_in >= in_bytes);
        node->bytes_in -= in_bytes;
    }
    booking->bytes_in -= in_bytes;
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        if (booking->shares[i].node == source) {
            arrived(placement, &booking->shares[i], &out_bytes);
        }
    }
    for (uint32_t i = 0; i < booking->shares_count && out_bytes > 0; i++) {
        arrived(placement, &booking->shares[i], &out_bytes);
    }
    placement_record(placement, 't', source, bytes);
}

static void free_nics(struct placement *placement, struct placement_booking *booking)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        out_change(placement, &booking->shares[i], booking->shares[i].bytes, false);
    }
    struct node *node = node_of(placement, booking->node, booking->life);
    if (node != NULL) {
        ROOST_PRE(node->bytes_in >= booking->bytes_in);
        node->bytes_in -= booking->bytes_in;
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

void placement_completed(struct placement *placement, struct placement_booking *booking, uint64_t duration_ns)
{
    ROOST_PRE(booking->state == PLACEMENT_ASSIGNED || booking->state == PLACEMENT_STARTED);
    durations_learn(&placement->durations, booking->function, duration_ns);
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
    struct load cpus, memory, early;
    uint64_t committed, bytes_in, bytes_out;
};

static void sum_up(struct sums *sums, const struct placement *placement, const struct placement_booking *booking)
{
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        if (node_of(placement, booking->shares[i].node, booking->shares[i].life) != NULL) {
            sums[booking->shares[i].node].bytes_out += booking->shares[i].bytes;
        }
    }
    if (node_of(placement, booking->node, booking->life) == NULL) {
        return;
    }
    struct sums *at = &sums[booking->node];
    if (booking->state == PLACEMENT_EARLY) {
        load_add(&at->early, booking->cpus, booking->estimate_ns);
        return;
    }
    load_add(&at->cpus, booking->cpus, booking->estimate_ns);
    load_add(&at->memory, booking->memory_kib, booking->estimate_ns);
    at->committed += booking->tentative ? 0 : window_charge(booking->cpus);
    at->bytes_in += booking->bytes_in;
}

static bool loads_are_equal(const struct load *a, const struct load *b)
{
    return a->used == b->used && a->work == b->work;
}

static bool agrees(const struct placement *placement, uint32_t number, struct sums *sums)
{
    const struct node *node = &placement->nodes[number];
    bool active = node->present && !node->suspended;
    bool is_ranked = ranking_key(&placement->soonest, number) != UINT64_MAX;
    bool is_away = ranking_key(&placement->away, number) != UINT64_MAX;
    if (is_ranked != active || is_away != (node->present && node->suspended)) {
        return false;
    }
    if (!node->present) {
        return !node->open;
    }
    load_add(&sums->cpus, node->local_cpus, node->local_ns);
    load_add(&sums->memory, node->local_memory_kib, node->local_ns);
    return loads_are_equal(&node->cpus, &sums->cpus) && loads_are_equal(&node->memory, &sums->memory) &&
           loads_are_equal(&node->early, &sums->early) && node->committed == sums->committed &&
           node->bytes_in == sums->bytes_in && node->bytes_out == sums->bytes_out;
}

bool placement_is_valid(const struct placement *placement)
{
    struct sums *sums = calloc(placement->nodes_capacity + 1u, sizeof *sums);
    if (sums == NULL) {
        return true; /* nothing is known against it */
    }
    LIST_EACH (at, &placement->bookings) {
        sum_up(sums, placement, CONTAINER_OF(at, struct placement_booking, all));
    }
    bool is_valid = true;
    uint32_t open = 0;
    for (uint32_t number = 0; number < placement->nodes_capacity; number++) {
        is_valid = is_valid && agrees(placement, number, &sums[number]);
        open += placement->nodes[number].open ? 1 : 0;
    }
    free(sums);
    return is_valid && open == placement->nodes_open;
}
