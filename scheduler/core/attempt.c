/* attempt.c - how one run of a task ends: COMPLETE, HANDBACK, CANCEL, or the death of its node
 *
 * Owns no record: an attempt is a task's number and node. What arrives under another number, or from another node, is
 * counted and dropped.
 *
 * Happy path: COMPLETE -> edges entered, returns visible, all at once; then those who wait are looked at.
 * Failures:   a death, or a failure that the spec lets be tried again -> attempt k + 1, at most max_retries times; else
 *             the returns are FAILED with the reason. A HANDBACK -> placed elsewhere, once, under the same number.
 * Invariants: one attempt of a task is live at a time: k + 1 starts only after k ended or its node's life did.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    ATTEMPT_LOSSES_MAX = 8, /* of attempts that never ran, by HANDBACKs and lost sessions; then it fails */
    FETCH_RETURNS_MAX = 8   /* ahead; more are more than a processor fetches at once */
};

static uint8_t one_more(uint8_t count) { return count < UINT8_MAX ? (uint8_t)(count + 1) : count; }

static struct task *live_attempt(struct head *head, const struct member *member, struct task_id id, uint32_t attempt)
{
    struct task *task = head_task_find(head, id);
    bool is_live = task != NULL && task->node == member->number && task->attempt == attempt;
    head->counts.stale += is_live ? 0 : 1;
    return is_live ? task : NULL;
}

/* Bytes that nobody will ask for; or, in a census, of a task of which nobody has told yet who runs it. */
static void drop_returns(struct head *head, struct member *member, const struct proto_complete *complete)
{
    const struct task *task = head_in_census(head) ? head_task_find(head, complete->task) : NULL;
    bool may_be_wanted = head_in_census(head) && (task == NULL || task->state == TASK_HOME);
    for (size_t i = 0; i < complete->returns_count; i++) {
        edges_drop(member, complete->returns[i].object);
        const struct object *object = head_object_find(head, complete->returns[i].object);
        bool is_known = object != NULL && head_object_is_at(object, member->number);
        if (complete->returns[i].located && !is_known && may_be_wanted) {
            list_again(head, member);
        } else if (complete->returns[i].located && !is_known) {
            free_copy_at(head, member, complete->returns[i].object);
        }
    }
}

static struct object *return_of(struct task *task, size_t hint, struct object_id id)
{
    struct object **returns = head_task_returns(task);
    if (hint < task->returns_count && returns[hint] != NULL && object_id_eq(returns[hint]->id, id)) {
        return returns[hint];
    }
    for (uint32_t i = 0; i < task->returns_count; i++) {
        if (returns[i] != NULL && object_id_eq(returns[i]->id, id)) {
            return returns[i];
        }
    }
    return NULL;
}

/* In a census: a return that nobody has listed yet. It is entered all the same, so that who lists it finds it made, and is
 * freed when the census has ended and nobody has. */
static struct object *return_not_listed(struct head *head, struct task *task, const struct proto_return *given)
{
    for (uint32_t i = 0; given->located && head_in_census(head) && i < task->returns_count; i++) {
        if (head_task_return_at(task, i) == NULL && object_id_eq(result_id(task->id, i), given->object)) {
            return head_task_return(head, task, i, true);
        }
    }
    return NULL;
}

static void apply_return(struct head *head, struct member *member, struct object *object,
                         const struct proto_return *given)
{
    bool is_open = object->state == OBJECT_PENDING || object->state == OBJECT_UNKNOWN || object->state == OBJECT_LOST;
    if (!is_open || (!given->located && !given->has_value)) {
        head->counts.bad_messages++;
        return;
    }
    struct proto_content content = given->content;
    content.size = given->has_value ? given->value.size : content.size;
    if (!publish_is_as_it_was(head, member, object, &content)) {
        return; /* its bytes are given up with those that nobody will ask for */
    }
    publish_contained(head, member, object, &given->contained);
    head_object_seal(head, object, &given->content);
    if (given->has_value) {
        head_object_set_value(object, &given->value);
    }
    if (given->located) {
        head_object_locate(head, object, member->number);
        list_note(head, member->number, object->id, LISTED | LISTED_STORED, 0);
    }
}

static void succeed(struct head *head, struct member *member, struct task *task, const struct proto_complete *complete)
{
    for (size_t i = 0; i < complete->returns_count; i++) {
        const struct proto_return *given = &complete->returns[i];
        struct object *object = return_of(task, i, given->object);
        object = object != NULL ? object : return_not_listed(head, task, given);
        if (object != NULL) {
            apply_return(head, member, object, given);
        }
    }
    drop_returns(head, member, complete);
    for (uint32_t i = 0; i < task->returns_count; i++) {
        struct object *object = head_task_returns(task)[i];
        if (object != NULL && object->state == OBJECT_PENDING) {
            head_object_fail(head, object, OBJECT_FAILED,
                             failure_make(ROOST_EFAILED, member_name(head, member->number),
                                          "%s completed without its result %u", spec_name(head_task_spec(head, task)),
                                          i));
        }
    }
    head->counts.completed++;
    head_task_set_state(head, task, TASK_DONE);
    if (task->returns_alive == 0) {
        head_task_forget(head, task);
    }
}

static void try_again(struct head *head, struct task *task)
{
    task->attempt++;
    head->counts.retries++;
    head_task_enter(head, task);
}

static struct failure * final(const struct task *task, const struct proto_failure *what)
{
    struct failure *failure = failure_copy(what);
    failure->what.attempts = task->attempt;
    return failure;
}

static void fail(struct head *head, struct task *task, const struct proto_complete *complete)
{
    bool may = complete->died || (kept_spec_header(task->spec).flags & SPEC_RETRY_ON_FAILURE) != 0;
    struct failure *of_input = head_task_failed_input(head, task);
    if (of_input != NULL) { /* of one that was placed early: the first words in the chain are worth more than its own */
        head_task_fail(head, task, of_input);
        return;
    }
    task->tries++;
    if (may && !task->is_canceled && (int64_t)task->tries <= kept_spec_header(task->spec).max_retries) {
        try_again(head, task);
    } else {
        head_task_fail(head, task, final(task, complete->failure));
    }
}

void head_attempt_complete(struct head *head, struct member *member, const struct proto_complete *complete)
{
    placement_fetch(head->placement, member->number);
    for (size_t i = 0; i < complete->returns_count && i < FETCH_RETURNS_MAX; i++) {
        records_prefetch_slot(&head->objects, object_id_key(complete->returns[i].object));
    }
    struct task *task = live_attempt(head, member, complete->task, complete->attempt);
    if (task == NULL) {
        drop_returns(head, member, complete);
        return;
    }
    head_task_fetch_args(head, head_task_spec(head, task), records_prefetch_slot); /* for when it leaves the node */
    if (task->booking.state == PLACEMENT_ASSIGNED || task->booking.state == PLACEMENT_STARTED) {
        placement_completed(head->placement, &task->booking, complete->duration_ns);
    }
    head_task_leave_node(head, task);
    if (complete->failure != NULL) {
        fail(head, task, complete);
    } else {
        head_task_release_inputs(head, task); /* of one that was placed early and ended before the head saw it ready */
        succeed(head, member, task, complete);
    }
}

void head_attempt_lost(struct head *head, struct task *task, bool counts, struct failure *why)
{
    if (task->node != HEAD_NOBODY) {
        head_task_leave_node(head, task);
    }
    task->tries += counts ? 1 : 0;
    task->losses = counts ? task->losses : one_more(task->losses);
    if (task->is_canceled) {
        head_task_fail(head, task, failure_make(ROOST_ECANCELED, "", "canceled"));
    } else if ((int64_t)task->tries > kept_spec_header(task->spec).max_retries || task->losses > ATTEMPT_LOSSES_MAX) {
        struct proto_failure what = why->what;
        what.function = spec_function(head_task_spec(head, task));
        head_task_fail(head, task, final(task, &what));
    } else {
        try_again(head, task);
    }
}

void head_attempt_handback(struct head *head, struct member *member, const struct proto_handback *handback)
{
    struct task *task = live_attempt(head, member, handback->task, handback->attempt);
    if (task == NULL) {
        return;
    }
    head_task_leave_node(head, task);
    task->avoid = (uint16_t)member->number;
    task->handbacks = one_more(task->handbacks);
    task->losses = task->handbacks > 1 ? one_more(task->losses) : task->losses;
    if (task->handbacks > 1 && task->losses > ATTEMPT_LOSSES_MAX) {
        head_task_fail(head, task,
                       failure_make(ROOST_EBUSY, member_name(head, member->number), "handed back by every node: %s",
                                    handback->text));
    } else if (task->is_canceled) {
        head_task_fail(head, task, failure_make(ROOST_ECANCELED, "", "canceled"));
    } else {
        head_task_enter(head, task);
    }
}

void head_attempt_send_cancel(struct head *head, const struct task *task, bool force)
{
    struct proto_message *message = head_send(head, member_at(head, task->node), PROTO_CANCEL);
    if (message != NULL) {
        message->u.cancel = (struct proto_cancel){ task->id, task->attempt, force };
    }
}

void head_attempt_cancel(struct head *head, struct member *member, const struct proto_cancel *cancel)
{
    (void)member;
    struct task *task = head_task_find(head, cancel->task);
    if (task == NULL) {
        return;
    }
    switch (task->state) {
    case TASK_WAITING:
    case TASK_QUEUED:
    case TASK_REFUSED:
        head_task_fail(head, task, failure_make(ROOST_ECANCELED, "", "canceled before it started"));
        break;
    case TASK_EARLY:
    case TASK_PLACED:
        task->is_canceled = true;
        task->is_forced = task->is_forced || cancel->force;
        head_attempt_send_cancel(head, task, cancel->force);
        break;
    case TASK_LOCAL:
    case TASK_HOME:
    case TASK_DONE:
        break;
    }
}
