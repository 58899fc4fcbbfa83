/* place.c - from the queue to a node: what the placement is asked, and the TASK that says what it chose
 *
 * Owns no record. A turn over the queue runs from a timer armed for now, so after the last message of a batch: every
 * completion has been applied before the next task is judged.
 *
 * Happy path: QUEUED -> the placement chooses -> mentions entered, TASK sent, arguments let go -> PLACED.
 *             WAITING for what is being made on one node -> TASK sent there at once -> EARLY -> made -> PLACED.
 * Failures:   no room -> stays queued, planned where it wants to go;
 *             infeasible now -> demand, looked at again when a node joins; for ever -> FAILED, with the nearest node.
 *             Both are found out when it enters the queue, as a turn judges nothing while every node is busy.
 * Invariants: a mention is entered with the mark of its TASK before the TASK is sent.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACE_VALUE_BYTES_MAX = 4 << 20, /* of values in one TASK; the node asks for the others */
    PLACE_ARGS_MANY = 1024,          /* a TASK of more arguments names fewer holders of each */
    FOLLOW_INPUTS_MAX = 8,           /* of a task that follows another one; of more there is mostly one elsewhere */
    FOLLOW_LOOKS_MAX = 8,            /* at tasks that wait for one result, until one of them follows */
    FETCH_BYTES = 64,                /* a line of memory */
    FETCH_INPUTS_MAX = 8             /* of a task; more are more than a processor fetches at once */
};

/* ------------------------------------------------------------------------------------------------ the question */

static uint64_t bytes_of(const struct object *object, uint64_t range)
{
    if (range == ROOST_COLUMN) {
        return object->size / (head_object_columns(object) > 0 ? head_object_columns(object) : 1);
    }
    return range < object->size ? range : object->size;
}

static bool has_value(const struct object *object) { return object->more != NULL && object->more->has_value; }

static uint32_t *reserve_nodes(struct head *head, size_t count)
{
    if (head->place_nodes_capacity < count) {
        head->place_nodes_capacity = count * 2;
        head->place_nodes = head_grow(head->place_nodes, head->place_nodes_capacity, sizeof *head->place_nodes);
    }
    return head->place_nodes;
}

static void reserve_inputs(struct head *head, size_t count)
{
    if (head->place_inputs_capacity < count) {
        head->place_inputs_capacity = count * 2;
        head->place_inputs = head_grow(head->place_inputs, head->place_inputs_capacity, sizeof *head->place_inputs);
    }
}

/* Of the list that it gathers; NULL: it gathers none, or the list is not made yet. */
static struct gather *list_of(struct head *head, const struct input *input)
{
    return input->kind == ROOST_IN_GATHER ? gather_behind(head, input->object) : NULL;
}

/* How many inputs and nodes a request needs; sums up its gathers. */
static void measure(struct head *head, const struct task *task, size_t *inputs_out, size_t *nodes_out)
{
    *inputs_out = *nodes_out = 0;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        const struct object *object = input->object;
        *nodes_out += head_object_locations_count(object) + (object->more == NULL ? 0 : object->more->coming.count);
        *inputs_out += 1;
        struct gather *gather = list_of(head, input);
        if (gather != NULL) {
            gather_sum_up(head, gather);
            *inputs_out += gather->sums_count;
            *nodes_out += gather->sums_count;
        }
    }
}

static uint32_t *add_object(struct placement_input *to, const struct input *input, uint32_t *nodes)
{
    const struct object *object = input->object;
    *to = (struct placement_input){ .bytes = bytes_of(object, input->bytes), .copies = nodes };
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        *nodes++ = head_object_location(object, i);
        to->copies_count++;
    }
    to->coming = nodes;
    for (uint32_t i = 0; object->more != NULL && i < object->more->coming.count; i++) {
        *nodes++ = object->more->coming.at[i];
        to->coming_count++;
    }
    return nodes;
}

/* Of a column each node has its share; the head knows whole sizes, and how many columns one of them declares. */
static uint32_t *add_gather(struct placement_request *request, struct placement_input *to, const struct gather *gather,
                            const struct input *input, uint32_t *nodes)
{
    uint32_t columns = gather->total > 0 ? head_object_columns(gather->watches[0].object) : 1;
    uint64_t parts = input->bytes == ROOST_COLUMN && columns > 0 ? columns : 1;
    for (uint32_t i = 0; i < gather->sums_count; i++) {
        *nodes = gather->sums[i].node;
        to[i] = (struct placement_input){ .bytes = gather->sums[i].bytes / parts, .copies = nodes, .copies_count = 1 };
        nodes++;
    }
    request->inputs_count += gather->sums_count;
    request->gather = true;
    request->inputs_wanted += gather->total;
    request->inputs_missing += gather->missing;
    return nodes;
}

static void add_inputs(struct head *head, const struct task *task, struct placement_request *request)
{
    size_t inputs, nodes_count;
    measure(head, task, &inputs, &nodes_count);
    reserve_inputs(head, inputs + 1);
    uint32_t *nodes = reserve_nodes(head, nodes_count + 1);
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        if (input->kind == ROOST_IN_HANDLE) {
            continue;
        }
        bool is_sealed = input->object->state == OBJECT_SEALED;
        const struct gather *gather = list_of(head, input);
        request->inputs_wanted++;
        request->inputs_missing += input->is_ready || gather != NULL ? 0 : 1;
        if (is_sealed && !has_value(input->object)) {
            nodes = add_object(&head->place_inputs[request->inputs_count++], input, nodes);
        }
        if (gather != NULL) {
            nodes = add_gather(request, &head->place_inputs[request->inputs_count], gather, input, nodes);
        }
    }
    request->inputs = head->place_inputs;
}

/* What it needs and wishes, without what it reads. */
static struct placement_request wish_of(const struct head *head, const struct task *task)
{
    const struct spec spec = kept_spec_header(task->spec);
    struct placement_request request = { .kind = kept_spec_kind(task->spec, (spec.flags & SPEC_SPREAD) != 0),
                                         .cpus = spec.cpus_hundredths,
                                         .memory_bytes = spec.memory_bytes,
                                         .avoid = task->avoid };
    if (!node_id_is_none(spec.node)) {
        const struct member *member = id_map_get(&head->members_by_id, node_id_key(spec.node));
        request.wish = (spec.flags & SPEC_NODE_ONLY) != 0 ? PLACEMENT_HARD : PLACEMENT_SOFT;
        request.node = member != NULL ? member->number : HEAD_NOBODY;
    }
    return request;
}

struct placement_request place_request(struct head *head, const struct task *task)
{
    struct placement_request request = wish_of(head, task);
    add_inputs(head, task, &request);
    request.avoid = request.wish == PLACEMENT_HARD ? HEAD_NOBODY : request.avoid;
    return request;
}

/* ------------------------------------------------------------------------------------------------ TASK */

static struct proto_holders holders_of(struct head *head, const struct object *object, uint32_t most)
{
    uint32_t count = head_object_locations_count(object);
    count = count < most ? count : most;
    uint32_t *nodes = core_alloc(head->out, count * sizeof *nodes);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = head_object_location(object, i);
    }
    return (struct proto_holders){ nodes, count };
}

static void fill_args(struct head *head, const struct task *task, struct proto_task *to)
{
    struct proto_task_arg *args = core_alloc(head->out, task->inputs_count * sizeof *args);
    uint32_t most = task->inputs_count > PLACE_ARGS_MANY ? 2 : PROTO_HOLDERS_MAX;
    uint64_t value_bytes = 0;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        const struct object *object = input->object;
        if (input->kind == ROOST_IN_HANDLE) {
            continue;
        }
        struct proto_task_arg *arg = &args[to->args_count++];
        arg->object = object->id;
        arg->content = head_object_content(object);
        if (object->state == OBJECT_SEALED) {
            arg->holders = head_object_locations_count(object) > 0 ? holders_of(head, object, most) : arg->holders;
            if (has_value(object) && value_bytes + object->size <= PLACE_VALUE_BYTES_MAX) {
                arg->has_value = true;
                arg->value = (struct proto_bytes){ head_copy(head, object->more->value, object->size), object->size };
                value_bytes += object->size;
            }
        }
    }
    to->args = args;
}

/* Rule 2: entered before it is sent. A node that will pull an input counts as having it. */
static void mention_all(struct head *head, struct task *task, struct member *member, uint32_t mark)
{
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        head_object_hold(head, input->object, member->number, mark);
        list_note(head, member->number, input->object->id, LISTED | LISTED_HELD, 0);
        if (input->kind != ROOST_IN_HANDLE && !has_value(input->object) &&
            !head_object_is_at(input->object, member->number)) {
            numbers_add(&head_object_more(input->object)->coming, member->number);
        }
    }
}

static void send_task(struct head *head, struct task *task, uint32_t node, enum task_state state)
{
    struct member *member = member_at(head, node);
    head_job_tell(head, task->job, member);
    mention_all(head, task, member, member_mark(head, member));
    struct proto_message *message = head_send(head, member, PROTO_TASK);
    if (message != NULL) {
        message->u.task.task = task->id;
        message->u.task.attempt = task->attempt;
        void *spec = core_alloc(head->out, task->spec_bytes);
        kept_spec_write(task->spec, task->id, spec);
        message->u.task.spec = (struct proto_bytes){ spec, task->spec_bytes };
        fill_args(head, task, &message->u.task);
    }
    task->node = (uint16_t)node;
    task->is_relisted = true; /* a list that is on its way cannot know it */
    list_append(&member->tasks, &task->line);
    head_task_set_state(head, task, state);
    head_record(head, 'p', task->id.lo, node);
    if (state == TASK_PLACED) {
        head_task_release_inputs(head, task);
    }
}

/* ------------------------------------------------------------------------------------------------ following */

/* Of those that make on one node all that the task misses, one that nobody follows yet; NULL: there is none, or they are
 * on several nodes. */
static struct task *leader_of(const struct task *task)
{
    struct task *leader = NULL;
    uint32_t node = HEAD_NOBODY;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        if (input->is_ready) {
            continue;
        }
        const struct object *end = head_object_end(input->object);
        struct task *maker = end->more == NULL ? NULL : end->more->producer;
        if (maker == NULL || maker->node == HEAD_NOBODY || (node != HEAD_NOBODY && node != maker->node)) {
            return NULL;
        }
        node = maker->node;
        leader = leader == NULL && !maker->is_followed ? maker : leader;
    }
    return leader;
}

/* What it reads and exists lies there, or is next to nothing. */
static bool others_are_near(const struct task *task, uint32_t node)
{
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct object *object = task->inputs[i].object;
        bool is_read = task->inputs[i].is_ready && task->inputs[i].kind != ROOST_IN_HANDLE;
        if (is_read && !has_value(object) && object->size > ROOST_SMALL_BYTES && !head_object_is_at(object, node)) {
            return false;
        }
    }
    return true;
}

static bool gathers(const struct task *task)
{
    bool any = false;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        any = any || task->inputs[i].kind == ROOST_IN_GATHER;
    }
    return any;
}

/* What lies there and does not count goes first, in a turn. */
static bool may_send_before_turn(const struct head *head, uint32_t node)
{
    return !member_at(head, node)->frees_copies;
}

/* It goes where its inputs are being made, in the place of one that makes them: so of a chain the head hears at the ends
 * only, and a node has no more to do at once than before. Not one that may run only once: it may have run there when the
 * node dies, and nobody here could know. */
static bool follow(struct head *head, struct task *task)
{
    if (task->inputs_count > FOLLOW_INPUTS_MAX || gathers(task)) {
        return false;
    }
    struct task *leader = leader_of(task);
    const struct spec spec = kept_spec_header(task->spec);
    bool may = leader != NULL && (spec.flags & SPEC_SPREAD) == 0 && spec.max_retries != 0;
    if (!may || !may_send_before_turn(head, leader->node) || !others_are_near(task, leader->node)) {
        return false;
    }
    struct placement_request request = wish_of(head, task);
    if (!placement_follow(head->placement, &request, leader->node, &task->booking)) {
        return false;
    }
    leader->is_followed = true;
    send_task(head, task, leader->node, TASK_EARLY);
    return true;
}

/* Who waits for what it makes may follow it, and who waits for them: a line, no recursion. */
static void bring_followers(struct head *head, struct task *leader)
{
    for (; leader != NULL; leader = line_take(&head->place_leaders)) {
        for (uint32_t i = 0; i < leader->returns_count; i++) {
            const struct object *object = head_task_return_at(leader, i);
            struct input *at = object == NULL ? NULL : object->inputs;
            for (int looks = 0; at != NULL && !leader->is_followed && looks < FOLLOW_LOOKS_MAX; looks++) {
                struct task *task = at->task;
                at = head_object_next_input(object, at);
                bool waits = task->state == TASK_WAITING && task->missing > 0 && task->job != NULL;
                if (waits && head_has_room(head) && follow(head, task)) {
                    line_add(&head->place_leaders, task);
                }
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------------ the turn */

void place_describe_lack(struct head *head, const struct task *task, char *text_out, size_t size)
{
    struct placement_request request = place_request(head, task);
    struct placement_lack lack;
    placement_nearest(head->placement, &request, &lack);
    const char *name = spec_name(head_task_spec(head, task));
    unsigned cpus = request.cpus / 100, part = request.cpus % 100;
    if (lack.node == PLACEMENT_NOWHERE) {
        snprintf(text_out, size, "%s needs %u.%02u CPUs and %" PRIu64 " bytes of memory on %s", name, cpus, part,
                 request.memory_bytes,
                 request.wish == PLACEMENT_HARD ? "one certain node, which is not there" : "a node, and there is none");
        return;
    }
    snprintf(text_out, size,
             "%s needs %u.%02u CPUs and %" PRIu64 " bytes of memory; the nearest is node %u (%s), which lacks %u.%02u "
             "CPUs and %" PRIu64 " bytes",
             name, cpus, part, request.memory_bytes, lack.node, member_name(head, lack.node), lack.cpus / 100,
             lack.cpus % 100, lack.memory_bytes);
}

static void set_demand(struct head *head, struct task *task)
{
    placement_release(head->placement, &task->booking);
    list_remove(&task->line);
    list_append(&head->demand, &task->line);
    task->is_demand = true;
}

static void infeasible(struct head *head, struct task *task)
{
    if (head_in_census(head) || head->is_changing_lives) {
        set_demand(head, task); /* who is missing may be what it needs */
        return;
    }
    char text[512];
    place_describe_lack(head, task, text, sizeof text);
    struct proto_failure what = { .status = ROOST_EINFEASIBLE,
                                  .function = spec_function(head_task_spec(head, task)),
                                  .text = text };
    head_task_fail(head, task, failure_copy(&what));
}

void place_queued(struct head *head, struct task *task)
{
    if (task->job == NULL) {
        return; /* in a census: judge() waits for it */
    }
    struct placement_request request = wish_of(head, task);
    switch (placement_outlook(head->placement, &request)) {
    case PLACEMENT_INFEASIBLE_NOW:
        set_demand(head, task);
        break;
    case PLACEMENT_INFEASIBLE:
        infeasible(head, task);
        break;
    case PLACEMENT_QUEUED:
    case PLACEMENT_CHOSEN:
    case PLACEMENT_TOO_EARLY:
        break;
    }
}

/* False: no memory to look at it now. */
static bool judge(struct head *head, struct task *task)
{
    if (task->job == NULL) {
        set_demand(head, task); /* in a census: until its driver's node has told of the job */
        return true;
    }
    struct placement_request request = place_request(head, task);
    struct placement_choice choice;
    if (placement_plan(head->placement, &request, &task->booking, &choice) != 0) {
        return false;
    }
    switch (choice.verdict) {
    case PLACEMENT_CHOSEN:
        send_task(head, task, choice.node, TASK_PLACED);
        bring_followers(head, task);
        return true;
    case PLACEMENT_QUEUED:
        return true;
    case PLACEMENT_INFEASIBLE_NOW:
        set_demand(head, task);
        return true;
    case PLACEMENT_INFEASIBLE:
        infeasible(head, task);
        return true;
    case PLACEMENT_TOO_EARLY:
        break;
    }
    ROOST_IMPOSSIBLE("a verdict on what was planned");
}

static void fetch_record(const struct task *task)
{
    for (size_t at = 0; at < sizeof *task; at += FETCH_BYTES) {
        __builtin_prefetch((const char *)task + at);
    }
}

static void fetch_parts(const struct task *task)
{
    __builtin_prefetch(task->spec);
    __builtin_prefetch(task->inputs);
    __builtin_prefetch((const char *)task->inputs + FETCH_BYTES);
}

static void fetch_objects(const struct task *task)
{
    for (uint32_t i = 0; i < task->inputs_count && i < FETCH_INPUTS_MAX; i++) {
        __builtin_prefetch(task->inputs[i].object);
        __builtin_prefetch((const char *)task->inputs[i].object + FETCH_BYTES);
    }
}

/* Of a million tasks hardly anything is in a cache, and one thing leads to the next: so the three behind this one in the
 * queue are each brought a step nearer. */
static void fetch_ahead(const struct head *head, const struct placement_booking *booking)
{
    static void (*const steps[])(const struct task *) = { fetch_objects, fetch_parts, fetch_record };
    for (size_t i = 0; i < ROOST_COUNT_OF(steps); i++) {
        booking = placement_behind(head->placement, booking);
        if (booking == NULL) {
            return;
        }
        steps[i](CONTAINER_OF(booking, const struct task, booking));
    }
}

void place_turn(struct head *head)
{
    bool has_memory = true;
    head->turn_is_due = false;
    placement_turn_begin(head->placement);
    for (struct placement_booking *next;
         has_memory && head_has_room(head) && (next = placement_next(head->placement)) != NULL;) {
        struct task *task = CONTAINER_OF(next, struct task, booking);
        fetch_record(task);
        fetch_parts(task);
        fetch_ahead(head, next);
        fetch_objects(task);
        has_memory = judge(head, task);
    }
    if (placement_turn_end(head->placement) && has_memory) {
        head_turn_due(head);
    }
}

void place_demand_again(struct head *head)
{
    struct list_node again;
    list_init(&again);
    list_append_all(&again, &head->demand);
    while (!list_is_empty(&again)) {
        struct list_node *at = again.next;
        struct task *task = CONTAINER_OF(at, struct task, line);
        task->is_demand = false;
        list_remove(at);
        placement_enqueue(head->placement, &task->booking, false);
        place_queued(head, task);
    }
    head_turn_due(head);
}

/* ------------------------------------------------------------------------------------------------ early */

/* Something exists that it could begin to pull. */
static bool is_worth_it(struct head *head, const struct task *task)
{
    bool has_bytes = false;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        const struct gather *gather = list_of(head, input);
        if (input->kind == ROOST_IN_GATHER && gather == NULL) {
            return false;
        }
        if (input->kind == ROOST_IN_GATHER) {
            has_bytes = has_bytes || gather->missing < gather->total;
        } else if (input->kind == ROOST_IN_REF) {
            has_bytes = has_bytes || (input->is_ready && !has_value(input->object));
        }
    }
    return has_bytes;
}

void place_early(struct head *head, struct task *task)
{
    if (task->job == NULL || !head_has_room(head)) {
        return;
    }
    if (follow(head, task)) {
        bring_followers(head, task);
        return;
    }
    if (!is_worth_it(head, task) || (!gathers(task) && task->missing > 1)) {
        return; /* without a look at every input */
    }
    struct placement_request request = place_request(head, task);
    struct placement_choice choice;
    if (placement_choose_early(head->placement, &request, &choice) == 0 && choice.verdict == PLACEMENT_CHOSEN &&
        may_send_before_turn(head, choice.node)) {
        placement_assign_early(head->placement, &request, choice.node, &task->booking);
        send_task(head, task, choice.node, TASK_EARLY);
        bring_followers(head, task);
    }
}

void place_early_ready(struct head *head, struct task *task)
{
    struct placement_request request = place_request(head, task);
    placement_release(head->placement, &task->booking);
    ROOST_INVARIANT(placement_assign(head->placement, &request, task->node, &task->booking) == 0);
    head_task_set_state(head, task, TASK_PLACED);
    head_task_release_inputs(head, task);
}

/* What only waits there is not booked: it may follow others that wait here for the room that it would take. */
void place_listed(struct head *head, struct task *task, struct member *member, bool runs)
{
    struct placement_request request = place_request(head, task);
    if (runs && placement_fits(head->placement, &request, member->number)) { /* else it runs there all the same */
        ROOST_INVARIANT(placement_assign(head->placement, &request, member->number, &task->booking) == 0);
    }
    task->node = (uint16_t)member->number;
    list_append(&member->tasks, &task->line);
    head_task_set_state(head, task, TASK_PLACED);
    head_task_release_inputs(head, task);
}

void place_progress(struct head *head, struct member *member, const struct proto_progress *progress)
{
    for (size_t i = 0; i < progress->count; i++) {
        const struct proto_progress_item *item = &progress->items[i];
        struct task *task = head_task_find(head, item->task);
        if (task == NULL || task->node != member->number || task->attempt != item->attempt) {
            head->counts.stale++; /* it has ended meanwhile, and with it what it had booked */
        } else if (task->booking.state == PLACEMENT_ASSIGNED && item->source == HEAD_NOBODY) {
            placement_started(head->placement, &task->booking);
        } else if (task->booking.state == PLACEMENT_ASSIGNED) {
            placement_transfer_done(head->placement, &task->booking, item->source, item->bytes);
        }
    }
    head_turn_due(head);
}
