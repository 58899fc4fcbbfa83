/* oracle_agent.c - an agent's core, looked at from outside */
#include "tests/sim/oracle_views.h"
#include "worker/agent/core/agent_internal.h"

#include <stdio.h>
#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const struct agent_view *x = a, *y = b;
    return id_key_compare(object_id_key(x->id), object_id_key(y->id));
}

size_t agent_views(const struct agent *agent, struct agent_view **views_out)
{
    size_t count = 0;
    struct agent_view *views = calloc(agent->counts.objects + 1, sizeof *views);
    ROOST_INVARIANT(views != NULL);
    LIST_EACH (at, &agent->objects) {
        const struct object *object = CONTAINER_OF(at, const struct object, all);
        if (object->state != OBJECT_DYING) {
            views[count++] = (struct agent_view){ .id = object->id,
                                                  .is_public = object->is_public,
                                                  .is_held = object_is_held(object),
                                                  .is_registered = object->is_registered,
                                                  .is_here = object->state == OBJECT_HERE && !object->says_nothing,
                                                  .is_freed = object->is_freed,
                                                  .is_part = object->whole != NULL,
                                                  .scopes = object->scopes,
                                                  .tasks = object->tasks,
                                                  .private_containers = object->private_containers,
                                                  .containers = object->containers,
                                                  .uses = object->uses,
                                                  .state = (int)object->state };
        }
    }
    qsort(views, count, sizeof *views, by_id);
    *views_out = views;
    return count;
}

bool agent_view_makes(const struct agent *agent, struct object_id id)
{
    const struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object != NULL &&
           (object->state == OBJECT_HERE || (object->state == OBJECT_PENDING && object->producer != NULL));
}

bool agent_view_is_public(const struct agent *agent, struct object_id id)
{
    const struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object != NULL && object->is_public;
}

bool agent_view_holds(const struct agent *agent, struct object_id id)
{
    const struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object != NULL && object->state != OBJECT_DYING && object_is_held(object) && object->is_public &&
           !object->is_freed;
}

size_t agent_view_running(const struct agent *agent, struct running *running_out, size_t most)
{
    size_t count = 0;
    LIST_EACH (at, &agent->tasks) {
        const struct task *task = CONTAINER_OF(at, const struct task, all);
        if (task->attempt != NULL && count < most) {
            bool is_child = !id_key_eq(task_id_key(task->spec->parent), job_id_key(task->spec->job));
            running_out[count++] = (struct running){ task->id, task->is_from_head, is_child, task->head_attempt };
        }
    }
    return count;
}

const char *agent_view_busy(const struct agent *agent)
{
    static char text[160];
    LIST_EACH (at, &agent->tasks) {
        const struct task *task = CONTAINER_OF(at, const struct task, all);
        if (task->state != TASK_DONE && task->state != TASK_AWAY) { /* of what is away the head knows the end */
            snprintf(text, sizeof text, "task %llx is in state %d at node %u, %u missing, %d attempts",
                     (unsigned long long)task->id.lo, task->state, agent->self.node, task->missing,
                     (int)task->attempts);
            return text;
        }
    }
    return NULL;
}

bool agent_view_is_up(const struct agent *agent) { return agent->head_is_up; }

static const char *describe(const struct object *object)
{
    static char text[240];
    snprintf(
        text, sizeof text,
        "object %llx, state %d status %d format %u, scopes %u tasks %u transits %u private %u containers %u uses %u "
        "pins %u, public %d registered %d freed %d told %d part %d",
        (unsigned long long)object->id.lo, (int)object->state, object->status, object->value.format, object->scopes,
        object->tasks, object->transits, object->private_containers, object->containers, object->uses, object->pins,
        object->is_public, object->is_registered, object->is_freed, !list_is_empty(&object->told),
        object->whole != NULL);
    return text;
}

const char *agent_view_object(const struct agent *agent, struct object_id id)
{
    const struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object == NULL ? "unknown" : describe(object);
}

const char *agent_view_fault(const struct agent *agent)
{
    LIST_EACH (at, &agent->objects) {
        const struct object *object = CONTAINER_OF(at, const struct object, all);
        if (!object_is_valid(object)) {
            return describe(object);
        }
    }
    return "no object";
}

static int print_inputs(char *text, size_t size, const struct list_node *list)
{
    int used = 0;
    LIST_EACH (at, list) {
        const struct inputs *inputs = CONTAINER_OF(at, const struct inputs, of_task);
        for (uint32_t i = 0; i < inputs->count && (size_t)used < size; i++) {
            const struct object *object = inputs->input[i].object, *bytes = inputs->input[i].bytes;
            used += snprintf(text + used, size - (size_t)used, " %llx:%d%s", (unsigned long long)object->id.lo,
                             (int)object->state, (bytes == NULL ? object : bytes)->pull != NULL ? " pulled" : "");
        }
    }
    return used;
}

const char *agent_view_tasks(const struct agent *agent)
{
    static char text[4000];
    size_t used = 0;
    LIST_EACH (at, &agent->tasks) {
        const struct task *task = CONTAINER_OF(at, const struct task, all);
        if (task->state != TASK_DONE && used + 400 < sizeof text) {
            used += (size_t)snprintf(
                text + used, sizeof text - used,
                "task %llx state %d leaving %d head's %d missing %u blocked %u:", (unsigned long long)task->id.lo,
                (int)task->state, task->is_leaving, task->is_from_head, task->missing,
                task->attempt == NULL ? 0 : task->attempt->blocked);
            used += (size_t)print_inputs(text + used, 300, &task->inputs);
            text[used++] = '\n';
        }
    }
    text[used] = '\0';
    return text;
}
