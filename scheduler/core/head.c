/* head.c - the head's core as a whole: what each event leads to, and what a step still has to do at its end
 *
 * Owns struct head. A message changes records at once; what follows from it (who is told, whose tasks are ready, what
 * is freed) goes through lines that are worked off at the end of the step, in a loop. When the room for commands runs
 * low the rest is left for another step, by a timer armed for now.
 *
 * Happy path: event -> the file of its noun -> settle().
 * Failures:   a message of another life, or of nobody -> counted and dropped.
 * Invariants: is_valid() asks every record's own file; hash() is a hash of every change so far.
 * Thread:     the core's.
 */
#include "common/error.h"
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

void *head_copy(struct head *head, const void *data, size_t bytes)
{
    void *copy = core_alloc(head->out, bytes);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

struct proto_message *head_send(struct head *head, struct member *member, enum proto_kind kind)
{
    if (!member->has_session) {
        return NULL;
    }
    if (member->told < head->news) {
        member_tell_news(head, member);
    }
    struct core_peer peer = { member->number, member->incarnation };
    struct proto_message *message = core_put(head->out, CORE_SEND, core_peer_key(peer), member->mark, sizeof *message);
    message->kind = kind;
    head->counts.sent++;
    return message;
}

void head_turn_due(struct head *head) { head->turn_is_due = true; }

/* ------------------------------------------------------------------------------------------------ life */

int head_create(struct head **head_out, const struct head_config *config)
{
    struct head *head = calloc(1, sizeof *head);
    if (head == NULL) {
        return ROOST_ENOMEM;
    }
    head->config = *config;
    head->config.facts = NULL;
    head->config.suspect_ns = config->suspect_ns == 0 ? NODE_SUSPECT_MS * UINT64_C(1000000) : config->suspect_ns;
    head->config.dead_ns = config->dead_ns == 0 ? NODE_DEAD_MS * UINT64_C(1000000) : config->dead_ns;
    head->config.spec_bytes_max = config->spec_bytes_max == 0 ? HEAD_SPEC_BYTES_MAX : config->spec_bytes_max;
    struct list_node *lists[] = { &head->hearing,       &head->with_freeing, &head->demand,    &head->refused,
                                  &head->refused_ready, &head->jobs,         &head->jobs_ended };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    head->objects.record_bytes = sizeof(struct object);
    head->tasks.record_bytes = sizeof(struct task);
    int status = ROOST_ENOMEM;
    head->members = calloc(NODES_MAX, sizeof(struct member *));
    head->scratch_bytes = calloc(NODES_MAX, sizeof *head->scratch_bytes);
    if (head->members == NULL || head->scratch_bytes == NULL) {
        goto fail;
    }
    status = placement_create(&head->placement);
    if (status == 0) {
        status = members_restore(head, config->facts, config->facts_count);
    }
    if (status != 0) {
        goto fail;
    }
    if (config->is_fixed) {
        placement_set_growth(head->placement, 0, 0);
    }
    *head_out = head;
    return 0;
fail:
    head_destroy(head);
    return status;
}

void head_destroy(struct head *head)
{
    if (head == NULL) {
        return;
    }
    head_objects_fini(head);
    if (head->placement != NULL) {
        head_tasks_fini(head);
    }
    head_jobs_fini(head);
    members_fini(head);
    placement_destroy(head->placement);
    free(head->scratch_bytes);
    free(head->place_inputs);
    free(head->place_nodes);
    free(head->place_leaders.at);
    free(head->spec_room);
    free(head);
}

/* ------------------------------------------------------------------------------------------------ events */

static void from_command(struct head *head, struct core_peer peer, const struct proto_message *message)
{
    if (message->kind == PROTO_QUERY) {
        query_answer(head, peer, &message->u.query);
    } else if (message->kind == PROTO_STOP) {
        member_stop(head, &message->u.stop);
    } else {
        head->counts.bad_messages++;
    }
}

static void end_job(struct head *head, struct job_id id)
{
    struct job *job = head_job_find(head, id);
    if (job != NULL) {
        head_job_end(head, job);
    }
}

static void from_agent(struct head *head, struct member *member, const struct proto_message *message, uint32_t seen)
{
    switch (message->kind) {
    case PROTO_PUBLISH:
        publish_entry(head, member, &message->u.publish);
        break;
    case PROTO_EDGES:
        publish_edges(head, member, &message->u.edges);
        break;
    case PROTO_HOLD:
        publish_hold(head, member, &message->u.hold);
        break;
    case PROTO_DROP:
        publish_drop(head, member, &message->u.drop, seen);
        break;
    case PROTO_SUBMIT:
        head_task_submit(head, member, &message->u.submit);
        break;
    case PROTO_COMPLETE:
        head_attempt_complete(head, member, &message->u.complete);
        break;
    case PROTO_HANDBACK:
        head_attempt_handback(head, member, &message->u.handback);
        break;
    case PROTO_LOCATIONS:
        publish_locations(head, member, &message->u.locations);
        break;
    case PROTO_WANT:
        publish_want(head, member, &message->u.want);
        break;
    case PROTO_UNWANT:
        publish_unwant(head, member, &message->u.unwant);
        break;
    case PROTO_JOB_OPEN:
        head_job_open(head, member, &message->u.job_open);
        break;
    case PROTO_JOB_END:
        end_job(head, message->u.job_end.job);
        break;
    case PROTO_LOAD:
        member_load(head, member, &message->u.load);
        break;
    case PROTO_PROGRESS:
        place_progress(head, member, &message->u.progress);
        break;
    case PROTO_LIST_BEGIN:
        list_begin(head, member, message->u.list_begin.list, seen);
        break;
    case PROTO_LIST_TASKS:
        list_tasks(head, member, &message->u.list_tasks);
        break;
    case PROTO_LIST_PLACED:
        list_placed(head, member, message->u.list_placed.list);
        break;
    case PROTO_LIST_OBJECTS:
        list_objects(head, member, &message->u.list_objects);
        break;
    case PROTO_LIST_END:
        list_end(head, member, message->u.list_end.list);
        break;
    case PROTO_OUTPUT:
        head_job_output(head, &message->u.output);
        break;
    case PROTO_CANCEL:
        head_attempt_cancel(head, member, &message->u.cancel);
        break;
    case PROTO_QUERY:
        query_answer(head, (struct core_peer){ member->number, member->incarnation }, &message->u.query);
        break;
    case PROTO_STOP:
        member_stop(head, &message->u.stop);
        break;
    case PROTO_WELCOME:
    case PROTO_NODES:
    case PROTO_TASK:
    case PROTO_FREE:
    case PROTO_GONE:
    case PROTO_FOUND:
    case PROTO_DEAD:
    case PROTO_LIST:
    case PROTO_PULL:
    case PROTO_PULL_ANSWER:
    case PROTO_PULL_STREAM:
    case PROTO_PULL_DONE:
    case PROTO_PULL_CANCEL:
    case PROTO_NAMES:
    case PROTO_NAMES_ACK:
    case PROTO_ROWS:
    case PROTO_KIND_END:
        head->counts.bad_messages++;
        break;
    }
}

static void take_message(struct head *head, const struct core_event *event)
{
    struct core_peer peer = event->u.message.peer;
    const struct proto_message *body = event->u.message.body;
    if (peer.node == 0) {
        if (body != NULL) {
            from_command(head, peer, body);
        }
        return;
    }
    struct member *member = member_of(head, peer);
    if (member == NULL) {
        head->counts.stale += body == NULL ? 0 : 1; /* of a life that is over: fenced */
        return;
    }
    member_heard(head, member, event->u.message.seen);
    if (body != NULL) {
        from_agent(head, member, body, event->u.message.seen);
    }
}

/* ------------------------------------------------------------------------------------------------ the step's end */

/* One object that has changed: who subscribed is told, tasks and gathers look at it. */
static bool tell_next(struct head *head)
{
    struct object *object = line_take(&head->changed);
    if (object == NULL) {
        return false;
    }
    bool all = (object->flags & OBJECT_TOLD_ALL) != 0, is_led_on = (object->flags & OBJECT_LED_ON) != 0;
    object->flags &= (uint16_t) ~(OBJECT_CHANGED | OBJECT_TOLD_ALL | OBJECT_LED_ON);
    object->flags |= OBJECT_BUSY;
    publish_tell(head, object, all);
    if (all || is_led_on) {
        for (struct input *at = object->inputs, *next; at != NULL; at = next) {
            next = head_object_next_input(object, at);
            head_task_input_changed(head, at);
        }
        gather_object_changed(head, object, all);
    }
    object->flags &= (uint16_t)~OBJECT_BUSY;
    head_object_trim(object);
    return true;
}

static bool has_more(const struct head *head)
{
    return head->news_are_due || !list_is_empty(&head->jobs_ended) || !line_is_empty(&head->changed) ||
           (!line_is_empty(&head->unnamed) && frees_may_go(head)) || !list_is_empty(&head->with_freeing);
}

/* What follows from what has changed, as far as there is room for it; frees in a turn alone. */
static void work_off(struct head *head, bool frees)
{
    while (head_has_room(head) && (tell_next(head) || (frees && free_next(head)))) {
    }
}

/* Frees go in a turn, which a timer for now begins: so the batch that carries FREE has seen all that was taken in before
 * (proto/session.h), and the agent can tell one that crosses a word of its own. */
static void settle(struct head *head, bool is_turn)
{
    while (head_has_room(head) && head_jobs_tell_next(head)) {
    }
    work_off(head, is_turn);
    if (is_turn && head->news_are_due) {
        members_tell_news(head);
    }
    if (head->tasks_in[TASK_REFUSED] > 0) {
        head_task_ask_again(head);
    }
    if (is_turn) {
        free_send(head);
    }
    if ((head->turn_is_due || has_more(head)) && !head->turn_is_armed) {
        head->turn_is_armed = true;
        core_arm(head->out, HEAD_TIMER_TURN, head->now_ns);
    }
    members_arm(head);
}

static void tick(struct head *head, uint64_t timer)
{
    switch ((enum head_timer)timer) {
    case HEAD_TIMER_TURN:
        head->turn_is_armed = false;
        work_off(head, true);
        free_send(head); /* a copy that does not count goes before its maker is told to make it anew */
        if (line_is_empty(&head->changed)) { /* every completion has been applied */
            place_turn(head);
        }
        break;
    case HEAD_TIMER_SILENCE:
        members_expire(head);
        break;
    case HEAD_TIMER_CYCLES:
        cycles_end(head);
        break;
    }
}

static void step(void *core, const struct core_event *event, struct core_out *out)
{
    struct head *head = core;
    ROOST_PRE(event->now_ns >= head->now_ns);
    head->now_ns = event->now_ns;
    head->out = out;
    head->touched_count = 0;
    head->news_of_step.nodes = NULL;
    if (!head->has_begun) {
        head->has_begun = true;
        members_begin(head);
    }
    switch (event->kind) {
    case CORE_TICK:
        tick(head, event->u.timer.key);
        break;
    case CORE_SESSION_UP:
        member_session_up(head, event);
        break;
    case CORE_SESSION_LOST:
        member_session_lost(head, event->u.session.peer);
        break;
    case CORE_MESSAGE:
        take_message(head, event);
        break;
    case CORE_RING_ENTRY:
    case CORE_CLIENT_UP:
    case CORE_CLIENT_GONE:
    case CORE_DRAINED:
    case CORE_DONE:
        ROOST_IMPOSSIBLE("an event that no head asks for");
    }
    settle(head, event->kind == CORE_TICK && event->u.timer.key == HEAD_TIMER_TURN);
    head->out = NULL;
}

/* ------------------------------------------------------------------------------------------------ checks */

static bool touched_are_valid(const void *core)
{
    const struct head *head = core;
    for (size_t i = 0; i < head->touched_count; i++) {
        const struct object *object = head_object_find(head, head->touched[i]);
        if (object != NULL && !head_object_is_valid(head, object)) {
            return false;
        }
    }
    return true;
}

static bool members_are_valid(const struct head *head)
{
    uint32_t echoes = 0, lists = 0;
    for (uint32_t i = 1; i < head->members_count; i++) {
        const struct member *member = head->members[i];
        if (member != NULL && !member_is_valid(head, member)) {
            return false;
        }
        bool lives = member != NULL && member_lives(member);
        echoes += lives && member->deaths_echoed < head->deaths_first + head->deaths_count ? 1 : 0;
        lists += lives && member->must_list ? 1 : 0;
    }
    return echoes == head->echoes_missing && lists == head->lists_missing;
}

static void count_places(const struct object *object, uint32_t *held, uint32_t *stored)
{
    for (uint32_t i = 0; i < head_object_holders_count(object); i++) {
        held[head_object_holder(object, i).node]++;
    }
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        stored[head_object_location(object, i)]++;
    }
}

static bool places_are_valid(const struct head *head)
{
    uint32_t *held = head_alloc((head->members_count + (size_t)1) * sizeof *held);
    uint32_t *stored = head_alloc((head->members_count + (size_t)1) * sizeof *stored);
    for (uint32_t i = 0; i < head->objects.used; i++) {
        const struct object *object = head_object_number(head, i);
        if (object != NULL) {
            count_places(object, held, stored);
        }
    }
    bool is_valid = true;
    for (uint32_t i = 1; i < head->members_count; i++) {
        const struct member *member = head->members[i];
        is_valid = is_valid && (member == NULL || (member->held == held[i] && member->stored == stored[i]));
    }
    free(held);
    free(stored);
    return is_valid;
}

/* Counts are recounted: each object's containers and queued specs. Works on copies of nothing: sums only. */
static bool sums_are_valid(const struct head *head)
{
    uint64_t containers = 0, contained = 0, queued = 0, inputs = 0, unknown = 0;
    for (uint32_t i = 0; i < head->objects.used; i++) {
        const struct object *object = head_object_number(head, i);
        if (object == NULL) {
            continue;
        }
        if (!head_object_is_valid(head, object)) {
            return false;
        }
        unknown += object->state == OBJECT_UNKNOWN ? 1 : 0;
        containers += object->containers;
        queued += head_object_queued(object);
        contained += object->more == NULL ? 0 : object->more->contained_count;
    }
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        const struct task *task = head_task_number(head, i);
        inputs += task == NULL ? 0 : task->inputs_count;
    }
    bool holds = head_keeps(head, HEAD_RULE_ORDER), contains = head_keeps(head, HEAD_RULE_FREE);
    return contained == head->contained_count && unknown == head->unknown_count && (queued == inputs || !holds) &&
           (containers == contained || !contains);
}

static bool is_valid(const void *core)
{
    const struct head *head = core;
    uint64_t spec_bytes = 0, tasks = 0;
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        const struct task *task = head_task_number(head, i);
        if (task != NULL && !head_task_is_valid(head, task)) {
            return false;
        }
        spec_bytes += task != NULL && task->is_counted ? task->spec_bytes : 0;
        tasks += task != NULL ? 1 : 0;
    }
    return spec_bytes == head->spec_bytes && tasks == head->tasks.count && members_are_valid(head) &&
           sums_are_valid(head) && places_are_valid(head) && placement_is_valid(head->placement);
}

static uint64_t hash(const void *core)
{
    const struct head *head = core;
    return hash_mix(head->state_hash, placement_hash(head->placement));
}

const struct core_vtable head_core = {
    .name = "head",
    .out_bytes_max = HEAD_OUT_BYTES_MAX,
    .step = step,
    .touched_are_valid = touched_are_valid,
    .is_valid = is_valid,
    .hash = hash,
};

struct head_counts head_counts(const struct head *head)
{
    struct head_counts counts = head->counts;
    for (uint32_t i = 1; i < head->members_count; i++) {
        const struct member *member = head->members[i];
        counts.members += member != NULL && member_lives(member) ? 1 : 0;
        counts.suspects += member != NULL && member->state == PROTO_NODE_SUSPECT ? 1 : 0;
    }
    counts.objects = head->objects.count;
    counts.object_bytes = records_bytes(&head->objects);
    counts.tasks = head->tasks.count;
    counts.tasks_waiting = head->tasks_in[TASK_WAITING];
    counts.tasks_queued = head->tasks_in[TASK_QUEUED];
    counts.tasks_early = head->tasks_in[TASK_EARLY];
    counts.tasks_placed = head->tasks_in[TASK_PLACED];
    counts.tasks_refused = head->tasks_in[TASK_REFUSED];
    counts.tasks_done = head->tasks_in[TASK_DONE];
    counts.jobs = head->jobs_by_id.count;
    counts.spec_bytes = head->spec_bytes;
    counts.echoes_missing = head->echoes_missing;
    counts.lists_missing = head->lists_missing;
    return counts;
}
