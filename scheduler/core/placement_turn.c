/* placement_turn.c - the queue, the plans of the nodes, and who is looked at when a node has room
 *
 * Owns the order of the queue. A queued task is NEW, or PLANNED at the node that it wants.
 *
 * Happy path: enqueue -> NEW -> judged: its node has room -> ASSIGNED, else PLANNED there; the node has room -> ASSIGNED.
 * Failures:   the node goes or is suspected -> its plan is NEW again, every task with the place that it had.
 *             nobody but suspects would do -> stranded, until nodes come, go or are heard of again.
 * Invariants: a plan is in order of age; a node gives its room to the oldest of its plan, or to an older task.
 *             queued_count is that of NEW and of PLANNED that are not bound.
 * Thread:     the core's.
 */
#include "common/contract.h"
#include "scheduler/core/placement_internal.h"

enum {
    LOOKS_MAX = 4, /* at tasks that are next elsewhere, and as many where the wait is longest, for one place */
    PLANS_REFRESHED_MAX = 1024 /* tasks of a plan whose durations are looked up again at once */
};

static const struct ranking_need any_need = { 0, 0 };

static struct placement_booking *first_of(const struct list_node *list)
{
    return list_is_empty(list) ? NULL : CONTAINER_OF(list->next, struct placement_booking, all);
}

static uint32_t number_of(const struct placement *placement, const struct list_node *asking)
{
    return (uint32_t)(CONTAINER_OF(asking, struct node, asking) - placement->nodes);
}

/* ------------------------------------------------------------------------------------------------ the queue */

void placement_enqueue(struct placement *placement, struct placement_booking *booking, bool goes_first)
{
    ROOST_PRE(booking->state == PLACEMENT_NONE);
    *booking = (struct placement_booking){ .state = PLACEMENT_NEW,
                                           .age = goes_first ? --placement->age_first : ++placement->age_last };
    list_insert_before(goes_first ? placement->queue.next : &placement->queue, &booking->all);
    placement->queued_count++;
    placement_record(placement, 'q', 0, booking->age);
}

uint64_t placement_queued(const struct placement *placement) { return placement->queued_count; }

static void go_first(struct list_node *queue, struct list_node *these)
{
    list_append_all(these, queue);
    list_append_all(queue, these);
}

void plan_dissolve(struct placement *placement, uint32_t number)
{
    struct node *node = &placement->nodes[number];
    struct list_node again;
    list_init(&again);
    for (struct placement_booking *front; (front = node_front(node)) != NULL;) {
        booking_unplan(placement, front, &again);
    }
    go_first(&placement->queue, &again);
}

void plan_reconsider(struct placement *placement) { go_first(&placement->queue, &placement->stranded); }

/* ------------------------------------------------------------------------------------------------ who is next */

void placement_turn_begin(struct placement *placement)
{
    ROOST_PRE(!placement->turn.is_on);
    placement->turn = (struct turn){ .is_on = true };
}

bool placement_turn_end(struct placement *placement)
{
    ROOST_PRE(placement->turn.is_on);
    placement->turn.is_on = false;
    return !list_is_empty(&placement->ready) ||
           (!list_is_empty(&placement->hungry) && !list_is_empty(&placement->queue));
}

static struct placement_booking *look_at(struct placement *placement, enum look look, struct placement_booking *at,
                                         uint32_t node)
{
    placement->turn.look = look;
    placement->turn.at = at;
    placement->turn.node = node;
    return at;
}

/* One that is next at a node without room and older than `age`: what waits for a node that does not get on is seen so. */
static struct placement_booking *older_front(struct placement *placement, uint32_t node, uint64_t age)
{
    uint32_t other;
    if (placement->turn.looks >= LOOKS_MAX ||
        ranking_least(&placement->fronts, any_need, 1, &other, &placement->steps) == 0 || other == node ||
        ranking_key(&placement->fronts, other) >= age) {
        return NULL;
    }
    return look_at(placement, LOOK_FRONT, first_of(&placement->nodes[other].planned), node);
}

/* From the front on, as many as were looked at in vain. */
static struct placement_booking *one_of_the_longest(struct placement *placement, uint32_t node)
{
    uint32_t other;
    if (placement->turn.lasts >= LOOKS_MAX ||
        ranking_least(&placement->longest, any_need, 1, &other, &placement->steps) == 0) {
        return NULL;
    }
    const struct list_node *plan = &placement->nodes[other].planned, *at = plan->next;
    for (uint32_t i = 0; i < placement->turn.lasts && at->next != plan; i++) {
        at = at->next;
    }
    return look_at(placement, LOOK_LAST, CONTAINER_OF(at, struct placement_booking, all), node);
}

static struct placement_booking *next_for_ready(struct placement *placement, struct placement_booking *new)
{
    uint32_t number = number_of(placement, placement->ready.next);
    struct placement_booking *front = node_front(&placement->nodes[number]);
    if (new != NULL &&new->age < front->age) {
        return look_at(placement, LOOK_NEW, new, PLACEMENT_NOWHERE);
    }
    struct placement_booking *older = older_front(placement, number, front->age);
    return older != NULL ? older : look_at(placement, LOOK_OWN, front, number);
}

static struct placement_booking *next_for_hungry(struct placement *placement, struct placement_booking *new)
{
    uint32_t number = number_of(placement, placement->hungry.next);
    struct placement_booking *older = older_front(placement, number, new != NULL ? new->age : UINT64_MAX);
    if (older != NULL) {
        return older;
    }
    return new != NULL ? look_at(placement, LOOK_NEW, new, PLACEMENT_NOWHERE) : one_of_the_longest(placement, number);
}

struct placement_booking *placement_next(struct placement *placement)
{
    ROOST_PRE(placement->turn.is_on);
    struct placement_booking *new = first_of(&placement->queue);
    if (placement->turn.stayed >= PLACEMENT_SCAN_MAX) {
        return NULL;
    }
    if (!list_is_empty(&placement->ready)) {
        return next_for_ready(placement, new);
    }
    return list_is_empty(&placement->hungry) ? NULL : next_for_hungry(placement, new);
}

struct placement_booking *placement_behind(const struct placement *placement, const struct placement_booking *booking)
{
    bool is_last = booking->state != PLACEMENT_NEW || booking->all.next == &placement->queue ||
                   booking->all.next == &placement->stranded;
    return is_last ? NULL : CONTAINER_OF(booking->all.next, struct placement_booking, all);
}

/* ------------------------------------------------------------------------------------------------ judging it */

static struct placement_choice choice_of(enum placement_verdict verdict, const struct judgement *judgement)
{
    return (struct placement_choice){ verdict, judgement->node, judgement->start_ns, judgement->missing_bytes };
}

/* From the queue, or from the plan of any node, to this node. */
static int commit(struct placement *placement, const struct placement_request *request, uint32_t node,
                  struct placement_booking *booking)
{
    struct placement_booking made = { 0 };
    int status = booking_assign(placement, request, node, &made);
    if (status != 0) {
        return status;
    }
    booking_clear(placement, booking);
    list_remove(&made.all);
    *booking = made;
    list_init(&booking->all);
    list_append(&placement->bookings, &booking->all);
    placement->turn.looks = placement->turn.lasts = 0;
    return 0;
}

static int plan_at(struct placement *placement, const struct placement_request *request, uint32_t node,
                   struct placement_booking *booking)
{
    list_remove(&booking->all);
    booking->state = PLACEMENT_NONE;
    int status = booking_make(placement, request, node, PLACEMENT_PLANNED, booking);
    if (status != 0) {
        booking->state = PLACEMENT_NEW;
        list_prepend(&placement->queue, &booking->all);
        return status;
    }
    placement->queued_count--; /* as NEW; unless it is bound it was counted again */
    placement_record(placement, 'p', node, booking->age);
    return 0;
}

static int plan_new(struct placement *placement, const struct placement_request *request,
                    struct placement_booking *booking, struct placement_choice *choice_out)
{
    struct placement_choice choice = decide(placement, request, VIEW_LAST);
    *choice_out = choice;
    if (choice.verdict == PLACEMENT_INFEASIBLE || choice.verdict == PLACEMENT_INFEASIBLE_NOW) {
        booking_clear(placement, booking);
        return 0;
    }
    if (choice.node == PLACEMENT_NOWHERE) {
        list_remove(&booking->all);
        list_append(&placement->stranded, &booking->all);
        return 0;
    }
    const struct placement_booking *front = node_front(&placement->nodes[choice.node]);
    bool is_behind = front != NULL && front->age < booking->age;
    if (choice.verdict == PLACEMENT_CHOSEN && !is_behind) {
        return commit(placement, request, choice.node, booking);
    }
    choice_out->verdict = PLACEMENT_QUEUED;
    return plan_at(placement, request, choice.node, booking);
}

/* What is known of durations has changed since this plan was made: the wait for what is planned is summed up anew. */
static void refresh_estimates(struct placement *placement, const struct placement_booking *booking)
{
    uint64_t now_ns = durations_estimate_ns(&placement->durations, function_of(booking->kind)),
             then_ns = booking->estimate_ns;
    if (now_ns / 2 < then_ns && then_ns / 2 < now_ns) {
        return;
    }
    uint32_t number = booking->node, left = PLANS_REFRESHED_MAX;
    LIST_EACH (at, &placement->nodes[number].planned) {
        booking_estimate(placement, CONTAINER_OF(at, struct placement_booking, all));
        if (--left == 0) {
            break;
        }
    }
    node_refresh(placement, number);
}

static int plan_own(struct placement *placement, const struct placement_request *request,
                    struct placement_booking *booking, struct placement_choice *choice_out)
{
    refresh_estimates(placement, booking);
    struct judgement here = judge(placement, request, booking->node, VIEW_FIRST, booking);
    *choice_out = choice_of(PLACEMENT_CHOSEN, &here);
    return commit(placement, request, booking->node, booking);
}

/* The next node that asks in vain is another one. */
static void in_vain(struct placement *placement, uint32_t number, uint32_t *looks)
{
    struct node *node = &placement->nodes[number];
    if (++*looks == LOOKS_MAX && !node->is_ready) {
        list_remove(&node->asking);
        list_append(&placement->hungry, &node->asking);
    }
}

/* Would it start sooner there? Both as if nothing were planned on them: it is next here, and older than what is next
 * there. */
static int plan_front(struct placement *placement, const struct placement_request *request,
                      struct placement_booking *booking, struct placement_choice *choice_out)
{
    uint32_t there = placement->turn.node, here = booking->node;
    struct judgement stays = judge(placement, request, here, VIEW_FIRST, booking);
    if (may_go(placement, request, there) && node_has_room(&placement->nodes[there], request->cpus)) {
        struct judgement goes = judge(placement, request, there, VIEW_FIRST, booking);
        if (is_better(&goes, &stays)) {
            *choice_out = choice_of(PLACEMENT_CHOSEN, &goes);
            return commit(placement, request, there, booking);
        }
    }
    *choice_out = choice_of(PLACEMENT_QUEUED, &stays);
    ranking_set(&placement->fronts, here, ++placement->age_last, any_need); /* the others first */
    in_vain(placement, there, &placement->turn.looks);
    return 0;
}

/* Judged anew, as if it came last: where the wait is longest it may leave for any node, and those behind it move up. */
static int plan_last(struct placement *placement, const struct placement_request *request,
                     struct placement_booking *booking, struct placement_choice *choice_out)
{
    struct list_node again;
    uint32_t here = booking->node;
    refresh_estimates(placement, booking);
    list_init(&again);
    booking_unplan(placement, booking, &again);
    go_first(&placement->queue, &again);
    int status = plan_new(placement, request, booking, choice_out);
    if (status == 0 && booking->state == PLACEMENT_PLANNED && booking->node == here) {
        in_vain(placement, placement->turn.node, &placement->turn.lasts);
    }
    return status;
}

int placement_plan(struct placement *placement, const struct placement_request *request,
                   struct placement_booking *booking, struct placement_choice *choice_out)
{
    ROOST_PRE(placement->turn.is_on);
    ROOST_PRE(placement->turn.at == booking);
    int status = inputs_survey(placement, request);
    if (status != 0) {
        return status;
    }
    switch (placement->turn.look) {
    case LOOK_NEW:
        status = plan_new(placement, request, booking, choice_out);
        break;
    case LOOK_OWN:
        status = plan_own(placement, request, booking, choice_out);
        break;
    case LOOK_FRONT:
        status = plan_front(placement, request, booking, choice_out);
        break;
    case LOOK_LAST:
        status = plan_last(placement, request, booking, choice_out);
        break;
    case LOOK_NONE:
        ROOST_IMPOSSIBLE("a task that nobody asked for");
    }
    placement->turn.at = NULL;
    placement->turn.stayed += status == 0 && choice_out->verdict != PLACEMENT_CHOSEN ? 1 : 0;
    return status;
}
