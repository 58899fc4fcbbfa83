/* placement_node.c - the nodes of a placement: who is there, how big, how busy
 *
 * Owns the table of nodes, the rankings and lists of them, and the spreads.
 *
 *     absent --add--> active <--suspend, resume--> suspect;  both --remove--> absent
 *
 * Failures:   no memory while growing -> the node is not added, nothing changed.
 *             bookings of a removed node -> they carry its life and find nobody.
 * Invariants: an active node is in `soonest`, `soonest_early` and each spread; a suspect one in `away`; an absent one
 *             nowhere. An active one with room is `ready` if it has a plan, else `hungry`; one with a plan that may go
 *             elsewhere is in `fronts` and `longest`. Only an active one has a plan.
 * Thread:     the core's. */
#include "common/bytes.h"
#include "common/hash.h"
#include "common/large_pages.h"
#include "scheduler/core/placement_internal.h"

#include <stdlib.h>
#include <string.h>

enum { NODES_FIRST = 16, NODES_MANY = 4096, PRESSURE_BITS = 16 };
#define AGE_MIDDLE (UINT64_C(1) << 62) /* ages below it are of those that go first */

static uint64_t kib_of(uint64_t bytes) { return bytes / 1024 + (bytes % 1024 != 0 ? 1 : 0); }

int placement_create(struct placement **placement_out)
{
    struct placement *placement = calloc(1, sizeof *placement);
    if (placement == NULL) {
        return ROOST_ENOMEM;
    }
    durations_init(&placement->durations);
    struct list_node *lists[] = { &placement->spreads,  &placement->bookings, &placement->queue,
                                  &placement->stranded, &placement->ready,    &placement->hungry };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    placement->age_first = placement->age_last = AGE_MIDDLE;
    placement->growth = (struct ranking_need){ UINT64_MAX, UINT64_MAX };
    placement->nodes_memory = calloc(NODES_MAX + 1, sizeof *placement->nodes); /* untouched pages cost nothing */
    if (placement->nodes_memory == NULL) {
        placement_destroy(placement);
        return ROOST_ENOMEM;
    }
    placement->nodes = (struct node *)align_up((uintptr_t)placement->nodes_memory, NODE_LINE_BYTES);
    *placement_out = placement;
    return 0;
}

static void spread_destroy(struct placement *placement, struct spread *spread)
{
    id_map_remove(&placement->spread_by_key, spread->key);
    list_remove(&spread->all);
    ranking_fini(&spread->fewest);
    free(spread);
}

static void give_up(struct list_node *bookings)
{
    LIST_EACH_SAFE (at, bookings) {
        struct placement_booking *booking = CONTAINER_OF(at, struct placement_booking, all);
        free(booking->shares);
        *booking = (struct placement_booking){ 0 };
    }
}

void placement_destroy(struct placement *placement)
{
    if (placement == NULL) {
        return;
    }
    give_up(&placement->bookings);
    give_up(&placement->queue);
    give_up(&placement->stranded);
    for (uint32_t number = 0; number < placement->nodes_capacity; number++) {
        if (placement->nodes[number].present) {
            give_up(&placement->nodes[number].planned);
            give_up(&placement->nodes[number].bound);
        }
    }
    LIST_EACH_SAFE (at, &placement->spreads) {
        spread_destroy(placement, CONTAINER_OF(at, struct spread, all));
    }
    id_map_fini(&placement->spread_by_key);
    durations_fini(&placement->durations);
    ranking_fini(&placement->soonest);
    ranking_fini(&placement->soonest_early);
    ranking_fini(&placement->away);
    ranking_fini(&placement->fronts);
    ranking_fini(&placement->longest);
    free(placement->input_sources);
    free(placement->here_nodes);
    free(placement->share_nodes);
    free(placement->nodes_memory);
    free(placement);
}

void placement_record(struct placement *placement, uint64_t what, uint64_t node, uint64_t value)
{
    placement->hash = hash_mix(hash_mix(placement->hash, what << 32 | node), value);
}

uint64_t placement_hash(const struct placement *placement) { return placement->hash; }
uint64_t placement_steps(const struct placement *placement) { return placement->steps; }

/* ------------------------------------------------------------------------------------------------ one node */

struct node *node_at(const struct placement *placement, uint32_t node)
{
    return node < placement->nodes_capacity && placement->nodes[node].present ? &placement->nodes[node] : NULL;
}

struct node *node_of(const struct placement *placement, uint32_t node, uint32_t life)
{
    struct node *found = node_at(placement, node);
    return found != NULL && found->life == life ? found : NULL;
}

struct id_key function_of(const struct placement_kind *kind)
{
    return kind == NULL ? (struct id_key){ 0, 0 } : kind->function;
}

struct id_key spread_wish(const struct placement_kind *kind)
{
    return kind == NULL ? (struct id_key){ 0, 0 } : kind->spread;
}

struct ranking_need need_of(const struct placement_request *request)
{
    return (struct ranking_need){ request->cpus, kib_of(request->memory_bytes) };
}

bool node_is_big_enough(const struct node *node, struct ranking_need need)
{
    return node->cpus.capacity >= need.cpus && node->memory.capacity >= need.memory_kib;
}

uint64_t node_window(const struct node *node) { return node->cpus.capacity * PLACEMENT_WINDOW_PER_CPU + node->blocked; }

uint64_t node_wait_ns(const struct node *node, struct ranking_need need, enum view view)
{
    struct load cpus = node->cpus, memory = node->memory;
    if (view == VIEW_EARLY) {
        load_join(&cpus, &node->early);
    } else if (view == VIEW_FIRST) {
        load_part(&cpus, &node->plan.cpus);
        load_part(&memory, &node->plan.memory);
    }
    uint64_t cpus_ns = load_wait_ns(&cpus, need.cpus), memory_ns = load_wait_ns(&memory, need.memory_kib);
    return cpus_ns > memory_ns ? cpus_ns : memory_ns;
}

static struct ranking_need capacity_of(const struct node *node)
{
    return (struct ranking_need){ node->cpus.capacity, node->memory.capacity };
}

/* By expected start of the smallest task, then by pressure: so idle nodes fill evenly. */
static uint64_t soonest_key(const struct node *node, enum view view)
{
    const struct ranking_need smallest = { 1, node->memory.capacity == 0 ? 0 : 1 };
    const uint64_t wait_max = UINT64_MAX >> (PRESSURE_BITS + 1);
    uint64_t wait_ns = node_wait_ns(node, smallest, view);
    struct load load = node->cpus;
    load.used += view == VIEW_EARLY ? node->early.used : 0;
    return (wait_ns < wait_max ? wait_ns : wait_max) << PRESSURE_BITS | load_pressure(&load);
}

static struct placement_booking *first_of(const struct list_node *list)
{
    return list_is_empty(list) ? NULL : CONTAINER_OF(list->next, struct placement_booking, all);
}

struct placement_booking *node_front(const struct node *node)
{
    struct placement_booking *planned = first_of(&node->planned), *bound = first_of(&node->bound);
    return bound == NULL || (planned != NULL && planned->age < bound->age) ? planned : bound;
}

bool node_has_room(const struct node *node, uint64_t cpus)
{
    return node->committed == 0 || node->committed + window_charge(cpus) <= node_window(node);
}

/* Its capacity is the same for as long as it is there. */
static uint32_t put(struct ranking *ranking, uint32_t number, uint64_t key, struct ranking_need capacity)
{
    bool is_there = ranking_key(ranking, number) != UINT64_MAX;
    return is_there ? ranking_move(ranking, number, key) : ranking_set(ranking, number, key, capacity);
}

static void rank_plan(struct placement *placement, uint32_t number, uint64_t soonest)
{
    const struct ranking_need any = { 0, 0 };
    struct node *node = &placement->nodes[number];
    const struct placement_booking *front = first_of(&node->planned);
    if (front == NULL && node->front_age != 0) {
        ranking_remove(&placement->fronts, number);
        ranking_remove(&placement->longest, number);
        node->front_age = 0;
    } else if (front != NULL) {
        if (node->front_age != front->age) { /* else it may have been looked at, and then it goes by that */
            placement->steps += put(&placement->fronts, number, front->age, any);
            node->front_age = front->age;
        }
        placement->steps += put(&placement->longest, number, UINT64_MAX / 2 - soonest, any);
    }
}

static void ask(struct placement *placement, uint32_t number, bool active)
{
    struct node *node = &placement->nodes[number];
    const struct placement_booking *front = active ? node_front(node) : NULL;
    bool has_room = active && (front != NULL ? node_has_room(node, front->cpus) : node->committed < node_window(node));
    bool is_ready = node->is_asking && node->is_ready;
    if (has_room == node->is_asking && (!has_room || is_ready == (front != NULL))) {
        return; /* keeps its place */
    }
    list_remove(&node->asking);
    node->is_asking = has_room;
    node->is_ready = front != NULL;
    if (has_room) {
        list_append(front != NULL ? &placement->ready : &placement->hungry, &node->asking);
    }
}

void node_refresh(struct placement *placement, uint32_t number)
{
    struct node *node = &placement->nodes[number];
    bool active = node->present && !node->suspended;
    uint64_t soonest = active ? soonest_key(node, VIEW_LAST) : 0;
    if (active) {
        struct ranking_need capacity = capacity_of(node);
        uint64_t early = node->early.used == 0 ? soonest : soonest_key(node, VIEW_EARLY);
        placement->steps += put(&placement->soonest, number, soonest, capacity);
        placement->steps += put(&placement->soonest_early, number, early, capacity);
    }
    rank_plan(placement, number, soonest);
    ask(placement, number, active);
}

/* ------------------------------------------------------------------------------------------------ spreads */

struct spread *spread_of(const struct placement *placement, struct id_key key)
{
    return (key.hi | key.lo) == 0 ? NULL : id_map_get(&placement->spread_by_key, key);
}

/* Room for one more, if need be in place of one that has no task. */
static bool spreads_have_room(struct placement *placement)
{
    if (placement->spread_by_key.count < PLACEMENT_SPREADS_MAX) {
        return true;
    }
    LIST_EACH (at, &placement->spreads) {
        struct spread *spread = CONTAINER_OF(at, struct spread, all);
        if (spread->tasks == 0) {
            spread_destroy(placement, spread);
            return true;
        }
    }
    return false;
}

static struct spread *spread_create(struct placement *placement, struct id_key key)
{
    struct spread *spread = spreads_have_room(placement) ? calloc(1, sizeof *spread) : NULL;
    if (spread == NULL) {
        return NULL;
    }
    spread->key = key;
    list_init(&spread->all);
    if (ranking_reserve(&spread->fewest, placement->nodes_capacity) != 0 ||
        id_map_put(&placement->spread_by_key, key, spread) != 0) {
        ranking_fini(&spread->fewest);
        free(spread);
        return NULL;
    }
    list_append(&placement->spreads, &spread->all);
    for (uint32_t number = 0; number < placement->nodes_capacity; number++) {
        const struct node *node = &placement->nodes[number];
        if (node->present && !node->suspended) {
            ranking_set(&spread->fewest, number, 0, capacity_of(node));
        }
    }
    return spread;
}

/* A spread that cannot be made, for want of memory or of room among PLACEMENT_SPREADS_MAX, is a wish not heard. */
bool spread_change(struct placement *placement, struct id_key key, uint32_t number, uint32_t life, bool more)
{
    struct spread *spread = spread_of(placement, key);
    if (spread == NULL && more && (key.hi | key.lo) != 0) {
        spread = spread_create(placement, key);
    }
    if (spread == NULL) {
        return false;
    }
    uint64_t place = ranking_key(&spread->fewest, number);
    const struct node *node = node_of(placement, number, life);
    if (node != NULL && place != UINT64_MAX) {
        uint64_t tasks = spread_tasks(place);
        uint64_t turn = more ? placement->booked_count + 1 : spread_turn(place); /* 0: never */
        ROOST_PRE(more || tasks > 0);
        ranking_move(&spread->fewest, number, spread_place(more ? tasks + 1 : tasks - 1, turn));
    }
    ROOST_PRE(more || spread->tasks > 0);
    spread->tasks = more ? spread->tasks + 1 : spread->tasks - 1;
    return true;
}

/* ------------------------------------------------------------------------------------------------ coming and going */

/* Its place in each spread, from the bookings that it has. */
static void rank_in_spreads(struct placement *placement, uint32_t number)
{
    struct ranking_need capacity = capacity_of(&placement->nodes[number]);
    LIST_EACH (at, &placement->spreads) {
        ranking_set(&CONTAINER_OF(at, struct spread, all)->fewest, number, 0, capacity);
    }
    if (list_is_empty(&placement->spreads)) {
        return;
    }
    LIST_EACH (at, &placement->bookings) {
        const struct placement_booking *booking = CONTAINER_OF(at, struct placement_booking, all);
        bool is_here = booking->state != PLACEMENT_EARLY && booking->node == number &&
                       node_of(placement, booking->node, booking->life) != NULL;
        struct spread *spread = is_here && booking->is_spread ? spread_of(placement, booking->kind->spread) : NULL;
        if (spread != NULL) {
            uint64_t tasks = spread_tasks(ranking_key(&spread->fewest, number));
            ranking_set(&spread->fewest, number, spread_place(tasks + 1, 0), capacity);
        }
    }
}

static void rank(struct placement *placement, uint32_t number)
{
    rank_in_spreads(placement, number);
    node_refresh(placement, number);
}

static void unrank(struct placement *placement, uint32_t number)
{
    ranking_remove(&placement->soonest, number);
    ranking_remove(&placement->soonest_early, number);
    LIST_EACH (at, &placement->spreads) {
        ranking_remove(&CONTAINER_OF(at, struct spread, all)->fewest, number);
    }
    node_refresh(placement, number);
}

static bool grow_array(uint32_t **array, uint32_t capacity)
{
    uint32_t *bigger = realloc(*array, capacity * sizeof **array);
    if (bigger != NULL) {
        *array = bigger;
    }
    return bigger != NULL;
}

/* Each part may grow on its own: a bigger one than needed does no harm when a later one fails. */
static int grow(struct placement *placement, uint32_t number)
{
    uint32_t capacity = placement->nodes_capacity == 0 ? NODES_FIRST : placement->nodes_capacity;
    while (capacity <= number) {
        capacity *= 2;
    }
    int status = ranking_reserve(&placement->soonest, capacity);
    status = status != 0 ? status : ranking_reserve(&placement->soonest_early, capacity);
    status = status != 0 ? status : ranking_reserve(&placement->away, capacity);
    status = status != 0 ? status : ranking_reserve(&placement->fronts, capacity);
    status = status != 0 ? status : ranking_reserve(&placement->longest, capacity);
    LIST_EACH (at, &placement->spreads) {
        status = status != 0 ? status : ranking_reserve(&CONTAINER_OF(at, struct spread, all)->fewest, capacity);
    }
    if (status != 0 || !grow_array(&placement->here_nodes, capacity) ||
        !grow_array(&placement->share_nodes, capacity)) {
        return ROOST_ENOMEM;
    }
    if (capacity >= NODES_MANY) {
        large_pages_ask(placement->nodes, NODES_MAX * sizeof *placement->nodes);
    }
    placement->nodes_capacity = capacity;
    return 0;
}

static uint64_t pace_of(uint64_t bytes_per_s)
{
    return nic_pace(bytes_per_s == 0 ? PLACEMENT_NIC_BYTES_PER_S : bytes_per_s);
}

int placement_node_add(struct placement *placement, uint32_t number, const struct placement_shape *shape)
{
    if (number >= NODES_MAX || node_at(placement, number) != NULL || shape->cpus == 0) {
        return ROOST_EINVAL;
    }
    if (number >= placement->nodes_capacity) {
        int status = grow(placement, number);
        if (status != 0) {
            return status;
        }
    }
    struct node *node = &placement->nodes[number];
    *node = (struct node){
        .present = true,
        .life = node->life + 1,
        .cpus = { .capacity = shape->cpus },
        .memory = { .capacity = shape->memory_bytes / 1024 },
        .early = { .capacity = shape->cpus },
        .pace_in = pace_of(shape->bytes_in_per_s),
        .pace_out = pace_of(shape->bytes_out_per_s),
    };
    list_init(&node->planned);
    list_init(&node->bound);
    list_init(&node->asking);
    rank(placement, number);
    plan_reconsider(placement);
    placement_record(placement, 'A', number, hash_mix(shape->cpus, shape->memory_bytes));
    placement_record(placement, 'B', number, hash_mix(node->pace_in, node->pace_out));
    return 0;
}

void placement_node_remove(struct placement *placement, uint32_t number)
{
    struct node *node = node_at(placement, number);
    if (node == NULL) {
        return;
    }
    plan_dissolve(placement, number);
    node->present = false;
    unrank(placement, number);
    ranking_remove(&placement->away, number);
    plan_reconsider(placement);
    placement_record(placement, 'X', number, 0);
}

void placement_node_suspend(struct placement *placement, uint32_t number)
{
    struct node *node = node_at(placement, number);
    if (node == NULL || node->suspended) {
        return;
    }
    plan_dissolve(placement, number);
    node->suspended = true;
    unrank(placement, number);
    ranking_set(&placement->away, number, 0, capacity_of(node));
    placement_record(placement, 'S', number, 0);
}

void placement_node_resume(struct placement *placement, uint32_t number)
{
    struct node *node = node_at(placement, number);
    if (node == NULL || !node->suspended) {
        return;
    }
    node->suspended = false;
    ranking_remove(&placement->away, number);
    rank(placement, number);
    plan_reconsider(placement);
    placement_record(placement, 'R', number, 0);
}

void placement_node_set_bandwidth(struct placement *placement, uint32_t number, uint64_t bytes_in_per_s,
                                  uint64_t bytes_out_per_s)
{
    struct node *node = node_at(placement, number);
    if (node != NULL) {
        node->pace_in = pace_of(bytes_in_per_s);
        node->pace_out = pace_of(bytes_out_per_s);
        placement_record(placement, 'B', number, hash_mix(node->pace_in, node->pace_out));
    }
}

void placement_node_set_local(struct placement *placement, uint32_t number, uint32_t cpus, uint64_t memory_bytes,
                              uint64_t each_ns)
{
    struct node *node = node_at(placement, number);
    if (node == NULL) {
        return;
    }
    load_remove(&node->cpus, node->local_cpus, node->local_ns);
    load_remove(&node->memory, node->local_memory_kib, node->local_ns);
    node->local_cpus = cpus;
    node->local_memory_kib = kib_of(memory_bytes);
    node->local_ns = each_ns < PLACEMENT_DURATION_NS_MAX ? each_ns : PLACEMENT_DURATION_NS_MAX;
    load_add(&node->cpus, node->local_cpus, node->local_ns);
    load_add(&node->memory, node->local_memory_kib, node->local_ns);
    node_refresh(placement, number);
    placement_record(placement, 'L', number, hash_mix(hash_mix(cpus, memory_bytes), each_ns));
}

void placement_node_set_blocked(struct placement *placement, uint32_t number, uint32_t cpus)
{
    struct node *node = node_at(placement, number);
    if (node != NULL && node->blocked != cpus) {
        node->blocked = cpus;
        node_refresh(placement, number);
        placement_record(placement, 'W', number, cpus);
    }
}

bool placement_node_get(const struct placement *placement, uint32_t number, struct placement_node_view *view_out)
{
    const struct node *node = node_at(placement, number);
    if (node == NULL) {
        return false;
    }
    *view_out = (struct placement_node_view){
        .suspended = node->suspended,
        .cpus = (uint32_t)node->cpus.capacity,
        .cpus_committed = (uint32_t)node->committed,
        .cpus_blocked = (uint32_t)node->blocked,
        .wait_ns = node_wait_ns(node, (struct ranking_need){ 1, 0 }, VIEW_LAST),
        .planned = node->plan.count,
        .bytes_in = node->bytes_in,
        .bytes_out = node->bytes_out,
    };
    return true;
}

void placement_set_growth(struct placement *placement, uint32_t cpus, uint64_t memory_bytes)
{
    placement->growth = (struct ranking_need){ cpus, memory_bytes / 1024 };
    placement_record(placement, 'G', 0, hash_mix(cpus, memory_bytes));
}
