/* cycle.c - private objects that only each other name
 *
 * Owns nothing. An object goes with the last that names it, but two that contain each other would stay: those go with
 * the job. Public ones are the head's to find.
 *
 * Happy path: a job is over -> everything that a scope, a task, a wait or a public object names is marked, and what
 *             that contains -> what is not lets go of its contents, and the step's sweep does the rest.
 * Limits:     one walk over the records of the node for each job that ends.
 * Invariants: no mark outlives the call.
 * Thread: the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>

struct marked {
    struct object **at;
    size_t count;
};

static void mark(struct marked *marked, struct object *object)
{
    if (!object->is_marked) {
        object->is_marked = true;
        marked->at[marked->count++] = object; /* each once, so there is room */
    }
}

static void mark_all(struct agent *agent, struct marked *marked)
{
    LIST_EACH (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, all);
        if (object->is_public || object->containers == 0 || object_is_named_from_outside(object)) {
            mark(marked, object);
        }
    }
    for (size_t next = 0; next < marked->count; next++) {
        const struct object *object = marked->at[next];
        for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
            mark(marked, object->contains[i]);
        }
    }
}

void cycles_end(struct agent *agent)
{
    struct marked marked = { agent_alloc((agent->counts.objects + 1) * sizeof(struct object *)), 0 };
    mark_all(agent, &marked);
    LIST_EACH (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, all);
        if (!object->is_marked) {
            object_let_go_of_contents(agent, object);
        }
    }
    for (size_t i = 0; i < marked.count; i++) {
        marked.at[i]->is_marked = false;
    }
    free(marked.at);
}
