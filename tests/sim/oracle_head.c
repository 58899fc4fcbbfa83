/* oracle_head.c - the head's core, looked at from outside */
#include "scheduler/core/head_internal.h"
#include "tests/sim/oracle_views.h"

#include <stdio.h>
#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const struct head_view *x = a, *y = b;
    return id_key_compare(object_id_key(x->id), object_id_key(y->id));
}

size_t head_views(const struct head *head, struct head_view **views_out)
{
    size_t count = 0;
    struct head_view *views = calloc(head->objects.count + 1u, sizeof *views);
    ROOST_INVARIANT(views != NULL);
    for (uint32_t i = 0; i < head->objects.used; i++) {
        const struct object *object = head_object_number(head, i);
        if (object == NULL) {
            continue;
        }
        struct head_view *view = &views[count++];
        view->id = object->id;
        view->is_sealed = object->state == OBJECT_SEALED;
        view->is_unknown = object->state == OBJECT_UNKNOWN;
        view->queued = head_object_queued(object);
        view->containers = object->containers;
        view->is_named = head_object_is_named(head, object);
        for (uint32_t n = 0; n < head_object_holders_count(object) && n < VIEW_NODES; n++) {
            view->holders[view->holders_count++] = head_object_holder(object, n).node;
        }
        for (uint32_t n = 0; n < head_object_locations_count(object) && n < VIEW_NODES; n++) {
            view->locations[view->locations_count++] = head_object_location(object, n);
        }
    }
    qsort(views, count, sizeof *views, by_id);
    *views_out = views;
    return count;
}

bool head_view_knows(const struct head *head, struct object_id id) { return head_object_find(head, id) != NULL; }

bool head_view_was_sealed(const struct head *head, struct object_id id)
{
    const struct object *object = head_object_find(head, id);
    return object != NULL && (object->flags & OBJECT_WAS_SEALED) != 0;
}

bool head_view_has_job(const struct head *head, struct job_id id) { return head_job_find(head, id) != NULL; }

bool head_view_lives(const struct head *head, struct core_peer peer) { return member_of(head, peer) != NULL; }

const char *head_view_busy(const struct head *head)
{
    static char text[160];
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        const struct task *task = head_task_number(head, i);
        if (task != NULL && task->state != TASK_DONE) {
            snprintf(text, sizeof text, "task %llx is %s at the head, node %u, attempt %u, %u missing",
                     (unsigned long long)task->id.lo, head_task_state_name(task->state), task->node, task->attempt,
                     task->missing);
            return text;
        }
    }
    if (head->echoes_missing + head->lists_missing > 0) {
        snprintf(text, sizeof text, "%u echoes and %u lists are missing", head->echoes_missing, head->lists_missing);
        return text;
    }
    return NULL;
}

bool head_view_attempt(const struct head *head, struct task_id id, uint32_t *node_out, uint32_t *attempt_out)
{
    const struct task *task = head_task_find(head, id);
    if (task == NULL || task->node == HEAD_NOBODY) {
        return false;
    }
    *node_out = task->node;
    *attempt_out = task->attempt;
    return true;
}

const char *head_view_tasks(const struct head *head)
{
    static char text[6000];
    size_t used = 0;
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        const struct task *task = head_task_number(head, i);
        if (task != NULL && task->state != TASK_DONE && used + 200 < sizeof text) {
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "task %llx %s home %u node %u missing %u listed %d\n",
                                     (unsigned long long)task->id.lo, head_task_state_name(task->state), task->home,
                                     task->node, task->missing, !list_is_empty(&task->line));
        }
    }
    text[used] = '\0';
    return text;
}
