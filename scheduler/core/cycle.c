/* cycle.c - objects that only each other name
 *
 * Owns nothing. Holders and counts of containers free what nothing names, but not two objects that contain each other:
 * those go after the end of a job.
 *
 * Happy path: a job ends -> a moment later, when its nodes have given up what they held -> everything that a node, a
 *             queued spec or something of these names is marked -> what is not lets go of what it contains, and free.c
 *             does the rest.
 * Failures:   frees are held back (a death, a census) -> the walk waits for them. A node that gives up later than that
 *             moment -> the end of the next job.
 * Limits:     one walk over the directory in HEAD_CYCLES_MS, and none while no object contains another.
 * Invariants: no mark outlives the step.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>

void cycles_due(struct head *head)
{
    if (!head->cycles_are_due) {
        head->cycles_are_due = true;
        core_arm(head->out, HEAD_TIMER_CYCLES, head->now_ns + HEAD_CYCLES_MS * UINT64_C(1000000));
    }
}

static void mark(struct line *marked, struct object *object)
{
    if ((object->flags & OBJECT_MARKED) == 0) {
        object->flags |= OBJECT_MARKED;
        line_add(marked, object);
    }
}

/* From everything that has a name of its own, down; a line, no recursion. */
static void mark_all(struct head *head, struct line *marked)
{
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL &&
            (object->containers == 0 || object->nodes_count > 0 || head_object_is_queued(head, object))) {
            mark(marked, object);
        }
    }
    while (!line_is_empty(marked)) {
        const struct object *object = line_take(marked);
        for (uint32_t i = 0; object->more != NULL && i < object->more->contained_count; i++) {
            mark(marked, object->more->contained[i]);
        }
    }
}

static bool any_contains(const struct head *head) { return head->contained_count > 0; }

void cycles_end(struct head *head)
{
    struct line marked = { NULL, 0, 0, 0 };
    head->cycles_are_due = false;
    if (!any_contains(head)) {
        return;
    }
    if (!frees_may_go(head)) {
        cycles_due(head);
        return;
    }
    mark_all(head, &marked);
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL && (object->flags & OBJECT_MARKED) == 0) {
            head_object_let_go(head, object);
        }
    }
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            object->flags &= (uint16_t)~OBJECT_MARKED;
        }
    }
    free(marked.at);
}
