/* link_list.c - the LIST: all that is here, told to a head that knows nothing of it any more
 *
 * Happy path: LIST_BEGIN -> jobs, what runs or is queued here -> LIST_PLACED -> objects with what they contain, by id,
 *             and the specs that this home keeps -> LIST_END; then what was asked for is asked for again.
 * Failures:   none of its own. What changes while the messages are on their way follows them in order.
 * Thread:     the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

static enum proto_object_state listed_state(const struct object *object)
{
    switch (object->state) {
    case OBJECT_UNKNOWN:
    case OBJECT_PENDING:
        return PROTO_PENDING;
    case OBJECT_HERE:
    case OBJECT_ELSEWHERE:
        return object->says_nothing ? PROTO_FAILED : PROTO_SEALED;
    case OBJECT_FAILED:
        return PROTO_FAILED;
    case OBJECT_DYING:
        break;
    }
    ROOST_IMPOSSIBLE("a dying object is not listed");
}

static int by_id(const void *a, const void *b)
{
    const struct proto_list_object *x = a, *y = b;
    return id_key_compare(object_id_key(x->object), object_id_key(y->object));
}

/* Its call is made here, or was; not one whose value has given way to another attempt's, which only the head knows. */
static bool is_of_call(const struct object *object)
{
    const struct task *producer = object->producer;
    return producer != NULL && producer->is_home && (producer->state != TASK_DONE || object->state != OBJECT_PENDING);
}

static void list_objects(struct agent *agent)
{
    size_t count = 0, capacity = agent->counts.objects;
    struct proto_list_object *items = agent_alloc((capacity + 1) * sizeof *items);
    LIST_EACH (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, all);
        if (!object->is_public || object->state == OBJECT_DYING || object->whole != NULL) {
            continue;
        }
        object->is_wanted = false;
        if (object->state == OBJECT_FAILED && !object->says_nothing) { /* a list does not say why */
            link_say_publish(agent, object);
            continue;
        }
        object->is_registered = object_is_held(object);
        object->is_by_hold = false;
        object->is_freed = object->is_refused = false; /* the head hears of it, and frees it once more */
        list_remove(&object->told);
        items[count++] = (struct proto_list_object){
            .object = object->id,
            .held = object->is_registered,
            .stored = object->state == OBJECT_HERE && !object->says_nothing, /* not the head's own words on a failure */
            .state = listed_state(object),
            .content = link_content(object),
            .task = is_of_call(object) ? object->producer->id : (struct task_id){ 0 },
        };
    }
    qsort(items, count, sizeof *items, by_id); /* ids differ, so the order is one */
    for (size_t at = 0; at < count; at += PROTO_ITEMS_MAX) {
        size_t part = count - at < PROTO_ITEMS_MAX ? count - at : PROTO_ITEMS_MAX;
        for (size_t i = 0; i < part; i++) {
            link_say_edges(agent, object_find(agent, items[at + i].object), 0);
        }
        struct proto_list_object *copy = core_alloc(agent->out, part * sizeof *copy);
        memcpy(copy, items + at, part * sizeof *copy);
        link_say(agent, PROTO_LIST_OBJECTS)->u.list_objects = (struct proto_list_objects){ copy, part };
        for (size_t i = 0; i < part; i++) {
            bool makes_known = copy[i].stored || !task_id_is_none(copy[i].task); /* else the answer may be GONE */
            struct object *object = object_find(agent, copy[i].object);
            if (makes_known) {
                link_note_said(agent, object, copy[i].stored);
            }
        }
    }
    free(items);
}

static bool listed_task(const struct task *task, struct proto_list_task *item_out)
{
    if (task->state == TASK_DONE && !(task->is_home && task->was_submitted)) {
        return false;
    }
    enum proto_task_state state = task->is_from_head && task->state != TASK_DONE
                                      ? (task->state == TASK_RUNNING ? PROTO_TASK_RUNNING : PROTO_TASK_QUEUED)
                                  : task->was_submitted ? PROTO_TASK_HOME
                                                        : PROTO_TASK_LOCAL;
    *item_out = (struct proto_list_task){ .task = task->id, .attempt = task->head_attempt, .state = state };
    return true;
}

/* Before LIST_PLACED what runs or is queued here, with specs only for a head that cannot know them; after it the specs
 * that this home keeps. */
static void list_tasks(struct agent *agent, bool homes)
{
    LIST_EACH (at, &agent->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, all);
        struct proto_list_task item;
        if (!listed_task(task, &item) || (item.state == PROTO_TASK_HOME) != homes || item.state == PROTO_TASK_LOCAL) {
            continue;
        }
        if (homes || agent->head_is_new) {
            item.spec = link_spec_bytes(task);
        }
        struct proto_list_task *copy = core_alloc(agent->out, sizeof *copy);
        *copy = item;
        link_say(agent, PROTO_LIST_TASKS)->u.list_tasks = (struct proto_list_tasks){ copy, 1 };
    }
}

bool link_is_awaited(const struct object *object)
{
    bool has_no_value = object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING;
    return has_no_value && (!list_is_empty(&object->consumers) || !list_is_empty(&object->waits));
}

void link_list(struct agent *agent)
{
    uint32_t number = agent->list_number;
    link_say(agent, PROTO_LIST_BEGIN)->u.list_begin.list = number;
    load_say(agent, true);
    LIST_EACH (at, &agent->jobs) {
        link_job(agent, CONTAINER_OF(at, struct job, all));
    }
    list_tasks(agent, false);
    link_say(agent, PROTO_LIST_PLACED)->u.list_placed.list = number;
    agent->forgotten_count = 0;
    list_objects(agent);
    list_tasks(agent, true);
    link_say(agent, PROTO_LIST_END)->u.list_end.list = number;
    agent->has_listed = true;
    agent->listed_mark = agent->said_mark;
    LIST_EACH (at, &agent->objects) { /* what was asked for is asked for again */
        struct object *object = CONTAINER_OF(at, struct object, all);
        if (object->is_public && link_is_awaited(object)) {
            link_want(agent, object);
        }
    }
    pull_ask_again(agent);
}
