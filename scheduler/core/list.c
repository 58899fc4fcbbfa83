/* list.c - LIST, the full state of an agent on a session that was not resumed, and the census after a head's restart
 *
 * Owns what one member has listed so far, and the count of those that have not.
 *
 * Happy path: LIST_BEGIN -> tasks -> LIST_PLACED -> objects -> LIST_END: what the head had of this node and the list
 *             has not is gone; attempts that it does not have are lost.
 * Failures:   a list that begins voids the one before. Mentions that the list had not seen stand (rule 2). Attempts
 *             under an old number are canceled at the agent. What nobody names any more is freed there. Bytes that
 *             are told of in a census, after their node has listed and before anybody has listed their name -> can be
 *             neither entered, as only a list says what they name, nor freed (rule 5): their node lists once more.
 * Invariants: until every member of the ledger has listed or died, nothing is freed or declared lost (rule 5).
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>

enum {
    LIST_AHEAD = 16,   /* objects of a list whose records are on their way into the cache */
    LIST_ASKED_FOR = 2 /* number of a list that no session began with; that is 1 */
};

static uintptr_t flags_of(const struct member *member, struct object_id id)
{
    return (uintptr_t)id_map_get(&member->listed, object_id_key(id));
}

static void count_flags(struct member *member, uintptr_t flags, uint32_t one)
{
    member->listed_held += (flags & LISTED_HELD) != 0 ? one : 0;
    member->listed_stored += (flags & LISTED_STORED) != 0 ? one : 0;
}

static void change_flags(struct member *member, struct object_id id, uintptr_t set, uintptr_t clear)
{
    struct id_key key = object_id_key(id);
    uintptr_t was = (uintptr_t)id_map_remove(&member->listed, key), is = (was | set | LISTED) & ~clear;
    ROOST_INVARIANT(id_map_put(&member->listed, key, (void *)is) == 0);
    count_flags(member, was, -1u);
    count_flags(member, is, 1);
}

void list_note(struct head *head, uint32_t node, struct object_id id, uint32_t set, uint32_t clear)
{
    struct member *member = member_at(head, node);
    if (member->list != 0) {
        change_flags(member, id, set, clear);
    }
}

void list_gone(struct member *member, struct object_id id, uint32_t clear)
{
    if (member->list != 0 && (flags_of(member, id) & clear) != 0) {
        change_flags(member, id, 0, clear);
    }
}

void list_void(struct member *member)
{
    member->list = member->listed_held = member->listed_stored = 0;
    id_map_fini(&member->listed);
}

void list_begin(struct head *head, struct member *member, uint32_t list, uint32_t seen)
{
    list_void(member);
    member->list = list;
    member->list_seen = member_seen(member, seen);
    head_jobs_unlist(head, member->number);
    head_record(head, 'L', member->number, list);
}

/* ------------------------------------------------------------------------------------------------ tasks */

/* Returns that others have named before the task was known. */
static void link_returns(struct task *task, const struct head *head)
{
    for (uint32_t i = 0; i < task->returns_count; i++) {
        bool is_linked = head_task_return_at(task, i) != NULL;
        struct object *object = is_linked ? NULL : head_object_find(head, result_id(task->id, i));
        if (object != NULL && (object->more == NULL || object->more->producer == NULL)) {
            head_object_more(object)->producer = task;
            head_task_returns(task)[i] = object;
            task->returns_alive++;
        }
    }
}

static struct task *listed_task(struct head *head, struct member *member, const struct proto_list_task *listed)
{
    struct task *task = head_task_find(head, listed->task);
    if (task == NULL && listed->spec.size > 0) {
        const struct spec *spec = head_task_spec_check(head, listed->task, &listed->spec);
        task = spec == NULL
                   ? NULL
                   : head_task_make(head, member, spec, listed->state == PROTO_TASK_LOCAL ? TASK_LOCAL : TASK_HOME);
    }
    if (task != NULL) {
        link_returns(task, head);
    }
    return task;
}

static void cancel_stale(struct head *head, struct member *member, const struct proto_list_task *listed)
{
    head->counts.stale++;
    struct proto_message *message = head_send(head, member, PROTO_CANCEL);
    if (message != NULL) {
        message->u.cancel = (struct proto_cancel){ listed->task, listed->attempt, true };
    }
}

static void list_attempt(struct head *head, struct member *member, struct task *task,
                         const struct proto_list_task *listed)
{
    if (task != NULL && task->node == member->number && task->attempt == listed->attempt) {
        task->is_relisted = true;
        if (task->is_canceled) { /* the CANCEL may have been lost with the session before */
            head_attempt_send_cancel(head, task, task->is_forced);
        }
    } else if (task != NULL && (task->state == TASK_HOME || task->state == TASK_LOCAL) && listed->attempt > 0) {
        task->attempt = listed->attempt;
        task->is_relisted = true;
        place_listed(head, task, member, listed->state == PROTO_TASK_RUNNING);
    } else {
        cancel_stale(head, member, listed);
    }
}

static void list_home(struct head *head, struct member *member, struct task *task)
{
    if (task == NULL) {
        return;
    }
    if (task->home == HEAD_NOBODY || task->state == TASK_HOME) {
        list_remove(&task->of_home);
        list_append(&member->homed, &task->of_home);
        task->home = (uint16_t)member->number;
    }
    if (task->state == TASK_REFUSED && list_is_empty(&task->line)) {
        head_task_wait_to_be_asked(head, task); /* the asking may have been lost */
    }
}

void list_tasks(struct head *head, struct member *member, const struct proto_list_tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++) {
        const struct proto_list_task *listed = &tasks->items[i];
        struct task *task = listed_task(head, member, listed);
        switch (listed->state) {
        case PROTO_TASK_QUEUED:
        case PROTO_TASK_RUNNING:
            list_attempt(head, member, task, listed);
            break;
        case PROTO_TASK_HOME:
        case PROTO_TASK_LOCAL:
            list_home(head, member, task);
            break;
        }
    }
}

void list_placed(struct head *head, struct member *member, uint32_t list)
{
    if (member->list == list) {
        head_turn_due(head);
    }
}

/* ------------------------------------------------------------------------------------------------ objects */

/* NULL: its end had come before; the member hears of it. What lies there, or is made for a call of its own, may have been
 * said in the session before and be an argument of a call that is listed last: it is kept until the list's end. */
static struct object *listed_object(struct head *head, struct member *member, const struct proto_list_object *listed)
{
    struct object *object = head_object_find(head, listed->object);
    if (object != NULL) {
        return object;
    }
    if (head_in_census(head) || listed->stored || !task_id_is_none(listed->task)) {
        object = head_object_make(head, listed->object, OBJECT_UNKNOWN);
        head_object_hold(head, object, member->number, 0);
        return object;
    }
    struct proto_message *message = listed->held ? head_send(head, member, PROTO_GONE) : NULL;
    if (message != NULL) {
        message->u.gone.objects = (struct proto_objects){ head_copy(head, &listed->object, sizeof listed->object), 1 };
    }
    return NULL;
}

/* Its COMPLETE was lost with the session, and this is what it would have said. */
static bool is_result_of(const struct object *object, const struct member *member, uint32_t version)
{
    const struct task *task = object->more == NULL ? NULL : object->more->producer;
    return task == NULL || task->state == TASK_HOME || task->state == TASK_LOCAL ||
           (task->node == member->number && task->attempt == version);
}

static void learn(struct head *head, struct member *member, struct object *object,
                  const struct proto_list_object *listed)
{
    if (listed->stored && !head_object_is_open(object)) {
        publish_copy(head, member, object, &listed->content);
    } else if (listed->stored && is_result_of(object, member, listed->content.version)) {
        struct proto_objects none = { NULL, 0 };
        publish_contained(head, member, object, &none);
        head_object_seal(head, object, &listed->content);
        head_object_locate(head, object, member->number);
    } else if (listed->stored) {
        publish_refuse_copy(head, member, object);
    }
    if (!task_id_is_none(listed->task)) {
        object->home = (uint16_t)member->number;
        struct task *task = head_task_find(head, listed->task);
        if (task != NULL) {
            link_returns(task, head);
        }
        bool is_over = task != NULL && task->state == TASK_DONE; /* and freed: the list's end decides */
        if (object->state == OBJECT_UNKNOWN && !is_over) {
            head_object_set_state(head, object, OBJECT_PENDING);
        }
    }
}

/* The word on its value may have been lost with the session before, or came when another head was told. A call that is
 * made again there because another of its results is gone leaves alone what has a value. */
static void tell_value(struct head *head, struct member *member, struct object *object,
                       const struct proto_list_object *listed)
{
    bool has_ended = object->state != OBJECT_UNKNOWN && object->state != OBJECT_PENDING;
    if (!listed->held || listed->state != PROTO_PENDING || !has_ended) {
        return;
    }
    if (head_has_room(head)) {
        publish_found(head, member, object);
    } else {
        head_object_changed(head, object, true);
    }
}

void list_objects(struct head *head, struct member *member, const struct proto_list_objects *objects)
{
    for (size_t i = 0; i < objects->count && member->list != 0; i++) {
        if (i + LIST_AHEAD < objects->count) {
            records_prefetch_slot(&head->objects, object_id_key(objects->items[i + LIST_AHEAD].object));
            records_prefetch(&head->objects, object_id_key(objects->items[i + LIST_AHEAD / 2].object));
        }
        const struct proto_list_object *listed = &objects->items[i];
        struct object *object = listed_object(head, member, listed);
        if (object == NULL) {
            edges_drop(member, listed->object);
            continue;
        }
        if (listed->held) {
            head_object_hold(head, object, member->number, 0);
        }
        learn(head, member, object, listed);
        tell_value(head, member, object, listed);
        bool is_stored = listed->stored && head_object_is_at(object, member->number);
        uint32_t flags = LISTED | (listed->held ? LISTED_HELD : 0) | (is_stored ? LISTED_STORED : 0) |
                         (task_id_is_none(listed->task) ? 0 : LISTED_MADE);
        list_note(head, member->number, listed->object, flags, 0);
        edges_drop(member, listed->object);
    }
}

/* ------------------------------------------------------------------------------------------------ the end */

/* Whether the list has all that the head had of the member; a flag is set only while it is true, so counts tell. And nobody
 * waits for a keeper that this member should have been. */
static bool is_complete(const struct head *head, const struct member *member)
{
    return member->listed_held == member->held && member->listed_stored == member->stored &&
           (head->unknown_count == 0 || head_in_census(head));
}

/* Nobody makes it: its name alone is in the list, or the end of its task and its own were lost with the session before.
 * Held there, it is made once more, as when its call is. */
static void decide_open(struct head *head, struct member *member, struct object *object, uintptr_t flags)
{
    struct task *producer = object->more == NULL ? NULL : object->more->producer;
    bool is_over = producer != NULL && producer->state == TASK_DONE;
    if (is_over && producer->spec != NULL && (flags & LISTED_HELD) != 0) {
        head_object_set_state(head, object, OBJECT_PENDING);
        producer->attempt++;
        head_task_enter(head, producer);
    } else if (is_over || (flags & LISTED_MADE) == 0) {
        head_object_fail(head, object, OBJECT_LOST,
                         failure_make(ROOST_ELOST, member_name(head, member->number),
                                      "named by an object of node %u (%s), and nobody has it", member->number,
                                      member_name(head, member->number)));
    }
}

static void forget_unlisted(struct head *head, struct member *member)
{
    if (is_complete(head, member)) {
        return;
    }
    head->counts.walks++;
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object == NULL) {
            continue;
        }
        bool is_held = head_object_is_held_by(object, member->number);
        bool is_at = head_object_is_at(object, member->number);
        bool is_open = object->state == OBJECT_UNKNOWN && !head_in_census(head);
        uintptr_t flags = is_held || is_at || is_open ? flags_of(member, object->id) : 0;
        if (is_open) {
            decide_open(head, member, object, flags);
        }
        if (is_held && (flags & LISTED_HELD) == 0) {
            head_object_drop(head, object, member, member->list_seen);
        }
        if (is_at && (flags & LISTED_STORED) == 0) {
            head_object_unlocate(head, object, member->number, "does not have it any more");
        }
    }
}

static bool has_given_all(const struct task *task)
{
    uint32_t sealed = 0;
    for (uint32_t i = 0; i < task->returns_count; i++) {
        const struct object *object = head_task_return_at(task, i);
        sealed += object != NULL && object->state == OBJECT_SEALED ? 1 : 0;
    }
    return task->returns_alive > 0 && sealed == task->returns_alive;
}

static void lose_attempts(struct head *head, struct member *member)
{
    struct failure *why = failure_make(ROOST_EWORKER, member_name(head, member->number),
                                       "node %u (%s) lost it with its session", member->number,
                                       member_name(head, member->number));
    LIST_EACH_SAFE (at, &member->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, line);
        if (task->is_relisted) {
            continue;
        }
        if (has_given_all(task)) {
            head_task_leave_node(head, task);
            head_task_release_inputs(head, task);
            head_task_set_state(head, task, TASK_DONE);
            head->counts.completed++;
        } else {
            head_attempt_lost(head, task, false, why);
        }
    }
    failure_unref(why);
}

/* HOME was all that was known of it: nobody runs it, so it waits here, or it is done. */
static void decide_home(struct head *head, struct task *task)
{
    bool is_wanted = task->returns_count == 0 || (kept_spec_header(task->spec).flags & SPEC_UNHELD) != 0;
    for (uint32_t i = 0; i < task->returns_count; i++) {
        const struct object *object = head_task_return_at(task, i);
        is_wanted = is_wanted || (object != NULL && object->state != OBJECT_SEALED && object->state != OBJECT_FAILED);
    }
    for (uint32_t i = 0; is_wanted && i < task->returns_count; i++) {
        struct object *object = head_task_returns(task)[i];
        if (object != NULL && object->state == OBJECT_UNKNOWN) {
            head_object_set_state(head, object, OBJECT_PENDING);
        }
    }
    if (is_wanted) {
        task->attempt++; /* whatever ran before the head's end */
        head_task_enter(head, task);
    } else {
        head_task_set_state(head, task, TASK_DONE);
        if (task->returns_alive == 0) {
            head_task_forget(head, task);
        }
    }
}

static void census_ends(struct head *head)
{
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        struct task *task = head_task_number(head, i);
        if (task == NULL) {
            continue;
        }
        link_returns(task, head);
        if (task->state == TASK_HOME) {
            decide_home(head, task);
        } else if (task->job == NULL && task->state != TASK_DONE && task->state != TASK_LOCAL) {
            if (task->node != HEAD_NOBODY) {
                head_attempt_send_cancel(head, task, true);
            }
            head_task_fail(head, task, failure_make(ROOST_ECANCELED, "", "its job has ended"));
        }
    }
    head->counts.walks++;
    for (uint32_t i = 0; i < head->objects.used; i++) { /* what a live attempt makes is not lost */
        struct object *object = head_object_number(head, i);
        if (object != NULL && object->state == OBJECT_UNKNOWN && object->more != NULL &&
            object->more->producer != NULL && object->more->producer->state != TASK_DONE) {
            head_object_set_state(head, object, OBJECT_PENDING);
        }
    }
    free_census_ended(head);
    place_demand_again(head);
}

void list_census_arrived(struct head *head, struct member *member)
{
    if (member->must_list) {
        member->must_list = false;
        if (--head->lists_missing == 0) {
            census_ends(head);
        }
    }
}

void list_again(struct head *head, struct member *member)
{
    if (member->must_list) {
        return; /* its list is still to come */
    }
    member->must_list = true;
    head->lists_missing++;
    struct proto_message *message = head_send(head, member, PROTO_LIST);
    if (message != NULL) { /* else its next session begins with one */
        message->u.list.list = LIST_ASKED_FOR;
    }
}

/* SUBMITs that were lost with the session before. */
static void decide_homes(struct head *head, struct member *member)
{
    LIST_EACH_SAFE (at, &member->homed) {
        struct task *task = CONTAINER_OF(at, struct task, of_home);
        if (task->state == TASK_HOME && !head_in_census(head)) {
            decide_home(head, task);
        }
    }
}

void list_end(struct head *head, struct member *member, uint32_t list)
{
    if (member->list == 0 || member->list != list) {
        head->counts.stale++;
        return;
    }
    head_jobs_end_unlisted(head, member->number);
    decide_homes(head, member);
    forget_unlisted(head, member);
    lose_attempts(head, member);
    list_void(member);
    edges_drop_all(member);
    list_census_arrived(head, member);
}
