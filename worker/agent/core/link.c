/* link.c - what the agent tells the head
 *
 * Owns the agent's side of the lifetime protocol and of task hand-over: which objects the head knows, and what it has
 * been told about this node's holds. What the head says is in link_heard.c, the LIST in link_list.c.
 *
 * Happy path: WELCOME -> LIST (all that is here) -> PUBLISH before a name's first use there, HOLD before any DROP that
 *             it makes possible, SUBMIT, COMPLETE.
 * Failures:   session lost -> everything goes on alone; what is public waits for the next session and its LIST.
 * Order: HOLDs leave at the end of the step that made them, DROPs and LISTs from a timer armed for now, so that the
 *        batch that carries them has seen what this agent has seen (proto/session.h).
 * Thread: the agent's loop.
 */
#include "common/error.h"
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

struct proto_message *link_say(struct agent *agent, enum proto_kind kind)
{
    struct proto_message *message = core_put(agent->out, CORE_SEND, core_peer_key((struct core_peer){ 0, 0 }),
                                             ++agent->said_mark, sizeof *message);
    message->kind = kind;
    return message;
}

/* Room for `count` names in a message, to be filled in. HOLD, DROP and WANT share one struct. */
static struct object_id *say_so_many(struct agent *agent, enum proto_kind kind, size_t count)
{
    struct proto_message *message = link_say(agent, kind);
    struct object_id *ids = core_alloc(agent->out, count * sizeof *ids);
    message->u.hold.objects = (struct proto_objects){ ids, count };
    return ids;
}

static void say_names(struct agent *agent, enum proto_kind kind, const struct object_id *ids, size_t count)
{
    memcpy(say_so_many(agent, kind, count), ids, count * sizeof *ids);
}

/* ------------------------------------------------------------------ names */

static struct proto_objects contained_of(struct agent *agent, const struct object *object)
{
    uint32_t count = object->contains == NULL ? 0 : object->value.refs;
    struct object_id *ids = core_alloc(agent->out, count * sizeof *ids);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = object->contains[i]->id;
    }
    return (struct proto_objects){ ids, count };
}

struct proto_objects link_say_edges(struct agent *agent, const struct object *object, size_t most)
{
    struct proto_objects left = contained_of(agent, object);
    while (left.count > most) {
        size_t count = left.count < PROTO_OBJECTS_MAX ? left.count : PROTO_OBJECTS_MAX;
        struct proto_message *edges = link_say(agent, PROTO_EDGES);
        edges->u.edges.object = object->id;
        edges->u.edges.contained = (struct proto_objects){ left.ids, count };
        left.ids += count;
        left.count -= count;
    }
    return left;
}

struct proto_content link_content(const struct object *object)
{
    if (object->state != OBJECT_HERE) {
        return (struct proto_content){ 0 };
    }
    const struct wire_object *value = &object->value;
    return (struct proto_content){
        .size = value->size, .version = object->version, .columns = value->columns, .format = value->format
    };
}

/* A hold that nobody has here is dropped at once; so nothing stays at the head when the value and the end of an object
 * cross. */
void link_listed(struct agent *agent, struct object *object)
{
    object->is_registered = true;
    object->is_by_hold = false;
    object->is_freed = false;
    list_remove(&object->told);
    if (!object_is_held(object)) {
        list_append(&agent->drops, &object->told);
    }
}

void link_note_said(const struct agent *agent, struct object *object, bool located)
{
    object->said = agent->said_mark;
    object->is_said_here = located;
}

/* What was just said is a hold of this node: each PUBLISH is, and a SUBMIT of each return. */
static void note_hold(struct agent *agent, struct object *object, bool located)
{
    link_note_said(agent, object, located);
    link_listed(agent, object);
}

void link_say_publish(struct agent *agent, struct object *object)
{
    struct proto_objects contained = link_say_edges(agent, object, PROTO_OBJECTS_MAX);
    struct proto_message *message = link_say(agent, PROTO_PUBLISH);
    struct proto_publish *publish = &message->u.publish;
    publish->object = object->id;
    publish->content = link_content(object);
    publish->contained = contained;
    publish->state = object->state == OBJECT_HERE     ? PROTO_SEALED
                     : object->state == OBJECT_FAILED ? PROTO_FAILED
                                                      : PROTO_PENDING;
    publish->located = object->state == OBJECT_HERE;
    object->is_refused = object->is_refused && !publish->located;
    if (object->producer != NULL) {
        publish->task = object->producer->id;
    }
    if (object->state == OBJECT_FAILED) {
        struct proto_failure *failure = core_alloc(agent->out, sizeof *failure);
        failure->status = object->status;
        publish->failure = failure;
    }
    note_hold(agent, object, publish->located);
}

/* The name alone: the value follows. */
static void say_name(struct agent *agent, const struct object *object)
{
    if (agent->head_is_up) {
        struct proto_message *message = link_say(agent, PROTO_PUBLISH);
        message->u.publish.object = object->id;
        message->u.publish.state = PROTO_PENDING;
    }
}

static void say_all_of(struct agent *agent, struct object *object)
{
    if (!object->is_public) {
        object_becomes_public(agent, object);
    }
    if (agent->head_is_up) { /* else the next list says it */
        link_say_publish(agent, object);
    }
}

/* Not known to the head; or, `anew`, perhaps not any more. */
static bool is_to_be_said(const struct object *object, bool anew)
{
    bool is_ours = object->state == OBJECT_HERE || object_is_being_made(object);
    return !object->is_public || (anew && link_may_be_freed(object) && is_ours && !object->says_nothing);
}

/* What `object` contains and is to be said before it. */
static struct object *inner_of(struct agent *agent, struct object *object, bool anew)
{
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        struct object *inner = object->contains[i];
        if (inner->is_being_said && !inner->is_public) { /* it contains itself in the end: its name goes ahead */
            object_becomes_public(agent, inner);
            say_name(agent, inner);
        } else if (!inner->is_being_said && is_to_be_said(inner, anew)) {
            return inner;
        }
    }
    return NULL;
}

/* Objects on the way through containers; is_being_said while they are in it. */
struct pile {
    struct object **at; /* owned */
    size_t count, capacity;
};

static void pile_add(struct pile *pile, struct object *object)
{
    if (pile->count == pile->capacity) {
        pile->capacity = pile->capacity * 2 + 16;
        pile->at = realloc(pile->at, pile->capacity * sizeof(struct object *));
        ROOST_INVARIANT(pile->at != NULL);
    }
    object->is_being_said = true;
    pile->at[pile->count++] = object;
}

/* Inner names first, in a loop: a chain of containers may be long. */
static void publish_all(struct agent *agent, struct object *object, bool anew)
{
    struct pile outer = { NULL, 0, 0 }; /* most objects contain nothing, and none is made */
    for (struct object *at = object; at != NULL;) {
        at->is_being_said = true;
        struct object *inner = inner_of(agent, at, anew);
        if (inner != NULL) {
            pile_add(&outer, at);
            at = inner;
            continue;
        }
        say_all_of(agent, at);
        at->is_being_said = false;
        at = outer.count > 0 ? outer.at[--outer.count] : NULL;
    }
    free(outer.at);
}

void link_publish(struct agent *agent, struct object *object)
{
    if (!object->is_public) {
        publish_all(agent, object, false);
    }
}

/* All that it contains is this node's to say, or is known to be there. Of what lies elsewhere and may be freed, the head
 * alone knows. */
static bool is_whole(struct object *object)
{
    struct pile pile = { NULL, 0, 0 };
    bool is_whole = true;
    pile_add(&pile, object);
    for (size_t at = 0; at < pile.count && is_whole; at++) {
        const struct object *outer = pile.at[at];
        for (uint32_t i = 0; outer->contains != NULL && i < outer->value.refs && is_whole; i++) {
            struct object *inner = outer->contains[i];
            if (!is_to_be_said(inner, true)) {
                is_whole = !link_may_be_freed(inner);
            } else if (!inner->is_being_said) {
                pile_add(&pile, inner);
            }
        }
    }
    for (size_t at = 0; at < pile.count; at++) {
        pile.at[at]->is_being_said = false;
    }
    free(pile.at);
    return is_whole;
}

bool link_publish_anew(struct agent *agent, struct object *object)
{
    bool may = is_to_be_said(object, true) && is_whole(object);
    if (may && agent->head_is_up) { /* else the next list says it */
        publish_all(agent, object, true);
    }
    return may;
}

/* The head lists this node, and there is no record that could say when that ends: now. */
void link_drop_name(struct agent *agent, struct object_id id)
{
    if (agent->forgotten_count == agent->forgotten_capacity) {
        agent->forgotten_capacity = agent->forgotten_capacity * 2 + 64;
        agent->forgotten = realloc(agent->forgotten, agent->forgotten_capacity * sizeof *agent->forgotten);
        ROOST_INVARIANT(agent->forgotten != NULL);
    }
    agent->forgotten[agent->forgotten_count++] = id;
}

void link_value(struct agent *agent, struct object *object)
{
    if (!object->is_public || object->whole != NULL) {
        return;
    }
    if (object->is_copy) { /* what it names the head knows, from elsewhere; here it may have been this node's alone */
        for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
            link_is_known(agent, object->contains[i]);
        }
        link_location(agent, object, true);
        return;
    }
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        link_publish(agent, object->contains[i]);
    }
    bool is_said_by_complete = object->producer != NULL && object->producer->is_from_head; /* with all the others */
    if (agent->head_is_up && !is_said_by_complete) {
        link_say_publish(agent, object);
    }
}

void link_location(struct agent *agent, struct object *object, bool added)
{
    if (!agent->head_is_up || object->whole != NULL) {
        return;
    }
    struct proto_location *item = core_alloc(agent->out, sizeof *item);
    *item = (struct proto_location){ object->id, added, link_content(object) };
    struct proto_message *message = link_say(agent, PROTO_LOCATIONS);
    message->u.locations = (struct proto_locations){ item, 1 };
    if (added) {
        link_note_said(agent, object, true);
        object->is_refused = false;
    }
}

void link_is_known(struct agent *agent, struct object *object)
{
    bool knows_where = object->is_public && !object->is_freed;
    if (!object->is_public) {
        object_becomes_public(agent, object);
    }
    if (!knows_where && object->state == OBJECT_HERE && !object->says_nothing) {
        link_location(agent, object, true);
    }
}

void link_want(struct agent *agent, struct object *object)
{
    if (agent->head_is_up && !object->is_wanted) {
        object->is_wanted = true;
        say_names(agent, PROTO_WANT, &object->id, 1);
    }
}

void link_forget(struct agent *agent, struct object *object)
{
    list_remove(&object->told);
    if (object->is_registered) {
        object->is_registered = false;
        link_drop_name(agent, object->id);
    }
}

/* As many of the list as one message takes. */
static void say_told(struct agent *agent, enum proto_kind kind, struct list_node *list, bool registered)
{
    size_t count = 0;
    for (const struct list_node *at = list->next; at != list && count < PROTO_OBJECTS_MAX; at = at->next) {
        count++;
    }
    struct object_id *ids = say_so_many(agent, kind, count);
    for (size_t i = 0; i < count; i++) {
        struct object *object = CONTAINER_OF(list->next, struct object, told);
        list_remove(&object->told);
        object->is_registered = object->is_by_hold = registered;
        ids[i] = object->id;
    }
}

void link_flush(struct agent *agent)
{
    if (!agent->head_is_up) {
        return;
    }
    while (!list_is_empty(&agent->holds)) {
        say_told(agent, PROTO_HOLD, &agent->holds, true);
    }
    if (!list_is_empty(&agent->drops) || agent->forgotten_count > 0) {
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_DROPS), agent->now_ns);
    }
    load_flush(agent);
}

/* What was named again meanwhile, by the head or here, is held by its new record: that one is dropped when its time
 * comes. */
static void keep_what_is_registered_again(struct agent *agent)
{
    size_t kept = 0;
    for (size_t i = 0; i < agent->forgotten_count; i++) {
        const struct object *object = object_find(agent, agent->forgotten[i]);
        if (object == NULL || !object->is_registered) {
            agent->forgotten[kept++] = agent->forgotten[i];
        }
    }
    agent->forgotten_count = kept;
}

static void say_drops(struct agent *agent)
{
    keep_what_is_registered_again(agent);
    for (size_t at = 0; at < agent->forgotten_count; at += PROTO_OBJECTS_MAX) {
        size_t left = agent->forgotten_count - at;
        say_names(agent, PROTO_DROP, agent->forgotten + at, left < PROTO_OBJECTS_MAX ? left : PROTO_OBJECTS_MAX);
    }
    agent->forgotten_count = 0;
    while (!list_is_empty(&agent->drops) && agent_has_room(agent)) { /* the others by the next timer */
        say_told(agent, PROTO_DROP, &agent->drops, false);
    }
}

void link_timer(struct agent *agent, uint64_t which)
{
    if (which == AGENT_TIMER_LOAD) {
        load_timer(agent);
    } else if (!agent->head_is_up) {
        return;
    } else if (which == AGENT_TIMER_DROPS && agent->has_listed) { /* before it, LIST says what is held */
        say_drops(agent);
    } else if (which == AGENT_TIMER_LIST) {
        link_list(agent);
    }
}

/* ------------------------------------------------------------------ tasks out */

struct proto_bytes link_spec_bytes(const struct task *task)
{
    return (struct proto_bytes){ task->spec, task->spec->bytes };
}

/* A hold of each return, on this side as on the head's. */
void link_say_submit(struct agent *agent, const struct task *task)
{
    struct proto_message *message = link_say(agent, PROTO_SUBMIT);
    message->u.submit.task = task->id;
    message->u.submit.spec = link_spec_bytes(task);
    bool is_unheld = (task->spec->flags & SPEC_UNHELD) != 0;
    for (uint32_t i = 0; i < task->spec->returns && !is_unheld; i++) {
        if (task->results[i] != NULL) {
            note_hold(agent, task->results[i], false);
        } else {
            link_drop_name(agent, result_id(task->id, i));
        }
    }
}

void link_submit(struct agent *agent, struct task *task)
{
    struct list_node *lists[] = { &task->inputs, &task->handles };
    for (size_t l = 0; l < 2; l++) {
        LIST_EACH (at, lists[l]) {
            struct inputs *inputs = CONTAINER_OF(at, struct inputs, of_task);
            for (uint32_t i = 0; i < inputs->count; i++) {
                link_publish(agent, inputs->input[i].object);
            }
        }
    }
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL) {
            link_publish(agent, task->results[i]);
        }
    }
    link_say_submit(agent, task);
}

static struct proto_failure *failure_of(struct agent *agent, const struct task *task, const struct wire_failure *from)
{
    struct proto_failure *failure = core_alloc(agent->out, sizeof *failure);
    char *text = core_alloc(agent->out, sizeof from->text);
    memcpy(text, from->text, sizeof from->text);
    const char *name = spec_function(task->spec); /* the task may be gone by the end of this step */
    char *function = core_alloc(agent->out, strlen(name) + 1);
    strcpy(function, name);
    *failure = (struct proto_failure){ .status = from->status,
                                       .app_code = from->app_code,
                                       .signal = (uint32_t)from->signal,
                                       .attempts = task->head_attempt,
                                       .pid = (uint64_t)from->pid,
                                       .function = function,
                                       .node = agent->config.node_name,
                                       .text = text };
    return failure;
}

void link_complete(struct agent *agent, struct task *task, uint64_t duration_ns, bool died,
                   const struct wire_failure *failure)
{
    if (!agent->head_is_up) {
        return; /* LIST will say what is here; the head tries the attempt again if it must */
    }
    uint32_t returns = failure == NULL ? task->spec->returns : 0;
    struct proto_return *items = core_alloc(agent->out, returns * sizeof *items);
    for (uint32_t i = 0; i < returns; i++) {
        struct object *object = task->results[i];
        items[i].object = result_id(task->id, i);
        if (object == NULL || object->state != OBJECT_HERE || object->says_nothing) {
            continue;
        }
        for (uint32_t r = 0; object->contains != NULL && r < object->value.refs; r++) {
            link_publish(agent, object->contains[r]);
        }
        if (!object->is_public) { /* it was given up, and is wanted again */
            object_becomes_public(agent, object);
        }
        object->is_freed = object->is_refused = false; /* the head hears that it is here, and frees it once more */
        items[i].contained = link_say_edges(agent, object, PROTO_OBJECTS_MAX);
        items[i].content = link_content(object);
        items[i].located = true;
    }
    struct proto_message *message = link_say(agent, PROTO_COMPLETE);
    for (uint32_t i = 0; i < returns; i++) {
        if (items[i].located) {
            link_note_said(agent, task->results[i], true);
        }
    }
    message->u.complete = (struct proto_complete){ .task = task->id,
                                                   .attempt = task->head_attempt,
                                                   .duration_ns = duration_ns,
                                                   .died = died,
                                                   .failure = failure == NULL ? NULL : failure_of(agent, task, failure),
                                                   .returns = items,
                                                   .returns_count = returns };
}

void link_input_failed(struct agent *agent, struct task *task)
{
    const struct object *bad = task->bad_input;
    struct wire_failure failure = { .status = bad->state == OBJECT_FAILED ? bad->status : ROOST_EFAILED };
    char id[ID_TEXT_BYTES];
    object_id_print(bad->whole != NULL ? bad->whole->id : bad->id, id);
    snprintf(failure.text, sizeof failure.text, "its argument %s failed: %s", id, error_name(failure.status));
    if (task->refusal != NULL) {
        failure = *task->refusal;
    }
    link_complete(agent, task, 0, false, &failure);
    task_give_up(agent, task);
}

void link_job(struct agent *agent, struct job *job)
{
    if (!agent->head_is_up || job->driver == NULL) {
        return;
    }
    job->is_known_to_head = true;
    struct proto_message *message = link_say(agent, PROTO_JOB_OPEN);
    message->u.job_open = (struct proto_job_open){ .job = job->id,
                                                   .name = (const char *)(job->spec + 1),
                                                   .driver_pid = (uint64_t)job->spec->driver_pid,
                                                   .spec = { job->spec, job->spec->bytes } };
}

void link_job_ended(struct agent *agent, const struct job *job)
{
    if (agent->head_is_up && job->is_known_to_head) {
        link_say(agent, PROTO_JOB_END)->u.job_end.job = job->id;
    }
}
