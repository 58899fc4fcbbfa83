/* link.c - what the agent and the head tell each other
 *
 * Owns the agent's side of the lifetime protocol and of task hand-over: which objects the head knows, what it has been
 * told about this node's holds, and what of its messages means what here.
 *
 * Happy path: WELCOME -> LIST (all that is here) -> PUBLISH before a name's first use there, HOLD before any DROP that
 *             it makes possible, SUBMIT, COMPLETE; from the head TASK, FOUND, FREE.
 * Failures:   session lost -> everything goes on alone; what is public waits for the next session and its LIST.
 *             a new incarnation -> attempts that the head had placed here are void.
 * Order: HOLDs leave at the end of the step that made them, DROPs and LISTs from a timer armed for now, so that the
 *        batch that carries them has seen what this agent has seen (proto/session.h).
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "link"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct proto_message *say(struct agent *agent, enum proto_kind kind)
{
    struct proto_message *message = core_put(agent->out, CORE_SEND, core_peer_key((struct core_peer){ 0, 0 }),
                                             ++agent->said_mark, sizeof *message);
    message->kind = kind;
    return message;
}

static void say_names(struct agent *agent, enum proto_kind kind, const struct object_id *ids, size_t count)
{
    struct proto_message *message = say(agent, kind);
    struct object_id *copy = core_alloc(agent->out, count * sizeof *copy);
    memcpy(copy, ids, count * sizeof *copy);
    message->u.hold.objects = (struct proto_objects){ copy, count }; /* HOLD, DROP, WANT share one struct */
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

/* The names beyond what one message may carry go ahead of it. */
static struct proto_objects say_contained(struct agent *agent, const struct object *object)
{
    struct proto_objects all = contained_of(agent, object);
    while (all.count > PROTO_OBJECTS_MAX) {
        struct proto_message *edges = say(agent, PROTO_EDGES);
        edges->u.edges.object = object->id;
        edges->u.edges.contained = (struct proto_objects){ all.ids, PROTO_OBJECTS_MAX };
        all.ids += PROTO_OBJECTS_MAX;
        all.count -= PROTO_OBJECTS_MAX;
    }
    return all;
}

static struct proto_content content_of(const struct object *object)
{
    if (object->state != OBJECT_HERE) {
        return (struct proto_content){ 0 };
    }
    const struct wire_object *value = &object->value;
    return (struct proto_content){
        .size = value->size, .version = object->version, .columns = value->columns, .format = value->format
    };
}

static void say_publish(struct agent *agent, struct object *object)
{
    struct proto_objects contained = say_contained(agent, object);
    struct proto_message *message = say(agent, PROTO_PUBLISH);
    struct proto_publish *publish = &message->u.publish;
    publish->object = object->id;
    publish->content = content_of(object);
    publish->contained = contained;
    publish->state = object->state == OBJECT_HERE     ? PROTO_SEALED
                     : object->state == OBJECT_FAILED ? PROTO_FAILED
                                                      : PROTO_PENDING;
    publish->located = object->state == OBJECT_HERE;
    if (object->producer != NULL) {
        publish->task = object->producer->id;
    }
    if (object->state == OBJECT_FAILED) {
        struct proto_failure *failure = core_alloc(agent->out, sizeof *failure);
        failure->status = object->status;
        publish->failure = failure;
    }
}

/* The name alone: the value follows. */
static void say_name(struct agent *agent, const struct object *object)
{
    if (agent->head_is_up) {
        struct proto_message *message = say(agent, PROTO_PUBLISH);
        message->u.publish.object = object->id;
        message->u.publish.state = PROTO_PENDING;
    }
}

/* What was just said is a hold of this node: each PUBLISH is, and a SUBMIT of each return. A hold that nobody has here is
 * dropped at once; so nothing stays at the head when the value and the end of an object cross. */
static void is_listed(struct agent *agent, struct object *object)
{
    object->is_registered = true;
    object->is_freed = false;
    object->said = agent->said_mark;
    list_remove(&object->told);
    if (!object_is_held(object)) {
        list_append(&agent->drops, &object->told);
    }
}

static void say_all_of(struct agent *agent, struct object *object)
{
    if (!object->is_public) {
        object_becomes_public(agent, object);
    }
    if (agent->head_is_up) { /* else the next list says it */
        say_publish(agent, object);
        is_listed(agent, object);
    }
}

/* Not known to the head; or, `anew`, perhaps not any more. */
static bool is_to_be_said(const struct object *object, bool anew)
{
    bool is_ours = object->state == OBJECT_HERE || object->state == OBJECT_PENDING;
    return !object->is_public || (anew && !object->is_registered && is_ours && !object->says_nothing);
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

/* Inner names first, in a loop: a chain of containers may be long. */
static void publish_all(struct agent *agent, struct object *object, bool anew)
{
    struct object **stack = NULL;
    size_t count = 0, capacity = 0;
    for (struct object *at = object; at != NULL;) {
        at->is_being_said = true;
        struct object *inner = inner_of(agent, at, anew);
        if (inner != NULL) {
            if (count == capacity) {
                capacity = capacity * 2 + 16;
                stack = realloc(stack, capacity * sizeof(struct object *));
                ROOST_INVARIANT(stack != NULL);
            }
            stack[count++] = at;
            at = inner;
            continue;
        }
        say_all_of(agent, at);
        at->is_being_said = false;
        at = count > 0 ? stack[--count] : NULL;
    }
    free(stack);
}

void link_publish(struct agent *agent, struct object *object)
{
    if (!object->is_public) {
        publish_all(agent, object, false);
    }
}

/* Of what it contains and lies elsewhere, the head alone knows whether it is still there. */
static bool is_whole(const struct object *object)
{
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        const struct object *inner = object->contains[i];
        if (inner->is_public && !inner->is_registered && !is_to_be_said(inner, true)) {
            return false;
        }
    }
    return true;
}

void link_publish_anew(struct agent *agent, struct object *object)
{
    if (agent->head_is_up && is_to_be_said(object, true) && is_whole(object)) {
        publish_all(agent, object, true);
    }
}

/* The head lists this node, and there is no record that could say when that ends: now. */
static void drop_by_name(struct agent *agent, struct object_id id)
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
    if (object->is_copy) {
        link_location(agent, object, true);
        return;
    }
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        link_publish(agent, object->contains[i]);
    }
    bool is_said_by_complete = object->producer != NULL && object->producer->is_from_head; /* with all the others */
    if (agent->head_is_up && !is_said_by_complete) {
        say_publish(agent, object);
        is_listed(agent, object);
    }
}

void link_location(struct agent *agent, struct object *object, bool added)
{
    if (!agent->head_is_up || object->whole != NULL) {
        return;
    }
    struct proto_location *item = core_alloc(agent->out, sizeof *item);
    *item = (struct proto_location){ object->id, added, content_of(object) };
    struct proto_message *message = say(agent, PROTO_LOCATIONS);
    message->u.locations = (struct proto_locations){ item, 1 };
    object->said = added ? agent->said_mark : object->said;
}

void link_is_known(struct agent *agent, struct object *object)
{
    if (!object->is_public) {
        object_becomes_public(agent, object);
        if (object->state == OBJECT_HERE) {
            link_location(agent, object, true);
        }
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
        drop_by_name(agent, object->id);
    }
}

static size_t collect(struct agent *agent, struct list_node *list, struct object_id *ids, bool registered)
{
    size_t count = 0;
    while (!list_is_empty(list) && count < PROTO_OBJECTS_MAX) {
        struct object *object = CONTAINER_OF(list->next, struct object, told);
        list_remove(&object->told);
        object->is_registered = registered;
        ids[count++] = object->id;
    }
    (void)agent;
    return count;
}

void link_flush(struct agent *agent)
{
    if (!agent->head_is_up) {
        return;
    }
    while (!list_is_empty(&agent->holds)) {
        struct object_id *ids = agent_alloc(PROTO_OBJECTS_MAX * sizeof *ids);
        size_t count = collect(agent, &agent->holds, ids, true);
        say_names(agent, PROTO_HOLD, ids, count);
        free(ids);
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
    struct object_id *ids = agent_alloc(PROTO_OBJECTS_MAX * sizeof *ids);
    while (!list_is_empty(&agent->drops)) {
        size_t count = collect(agent, &agent->drops, ids, false);
        say_names(agent, PROTO_DROP, ids, count);
    }
    free(ids);
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

static struct proto_bytes spec_bytes(const struct task *task)
{
    return (struct proto_bytes){ task->spec, task->spec->bytes };
}

/* A hold of each return, on this side as on the head's. */
static void say_submit(struct agent *agent, const struct task *task)
{
    struct proto_message *message = say(agent, PROTO_SUBMIT);
    message->u.submit.task = task->id;
    message->u.submit.spec = spec_bytes(task);
    bool is_unheld = (task->spec->flags & SPEC_UNHELD) != 0;
    for (uint32_t i = 0; i < task->spec->returns && !is_unheld; i++) {
        if (task->results[i] != NULL) {
            is_listed(agent, task->results[i]);
        } else {
            drop_by_name(agent, result_id(task->id, i));
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
    say_submit(agent, task);
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
        if (object == NULL || object->state != OBJECT_HERE) {
            continue;
        }
        for (uint32_t r = 0; object->contains != NULL && r < object->value.refs; r++) {
            link_publish(agent, object->contains[r]);
        }
        if (!object->is_public) { /* it was given up, and is wanted again */
            object_becomes_public(agent, object);
        }
        object->is_freed = false; /* the head hears that it is here, and frees it once more */
        items[i].contained = say_contained(agent, object);
        items[i].content = content_of(object);
        items[i].located = true;
    }
    struct proto_message *message = say(agent, PROTO_COMPLETE);
    for (uint32_t i = 0; i < returns; i++) {
        if (items[i].located) {
            task->results[i]->said = agent->said_mark;
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
    link_complete(agent, task, 0, false, &failure);
    task_give_up(agent, task);
}

void link_job(struct agent *agent, struct job *job)
{
    if (!agent->head_is_up || job->driver == NULL) {
        return;
    }
    job->is_known_to_head = true;
    struct proto_message *message = say(agent, PROTO_JOB_OPEN);
    message->u.job_open = (struct proto_job_open){ .job = job->id,
                                                   .name = (const char *)(job->spec + 1),
                                                   .driver_pid = (uint64_t)job->spec->driver_pid,
                                                   .spec = { job->spec, job->spec->bytes } };
}

void link_job_ended(struct agent *agent, const struct job *job)
{
    if (agent->head_is_up && job->is_known_to_head) {
        say(agent, PROTO_JOB_END)->u.job_end.job = job->id;
    }
}

/* ------------------------------------------------------------------ the list */

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
            say_publish(agent, object);
            is_listed(agent, object);
            continue;
        }
        object->is_registered = object_is_held(object);
        object->is_freed = false; /* the head hears of it, and frees it once more */
        list_remove(&object->told);
        items[count++] = (struct proto_list_object){
            .object = object->id,
            .held = object->is_registered,
            .stored = object->state == OBJECT_HERE && !object->says_nothing, /* not the head's own words on a failure */
            .state = listed_state(object),
            .content = content_of(object),
            .task = object->producer != NULL && object->producer->is_home ? object->producer->id
                                                                          : (struct task_id){ 0 },
        };
    }
    qsort(items, count, sizeof *items, by_id); /* ids differ, so the order is one */
    for (size_t at = 0; at < count; at += PROTO_ITEMS_MAX) {
        size_t part = count - at < PROTO_ITEMS_MAX ? count - at : PROTO_ITEMS_MAX;
        for (size_t i = 0; i < part; i++) {
            struct object *object = object_find(agent, items[at + i].object);
            struct proto_objects contained = contained_of(agent, object);
            for (size_t from = 0; from < contained.count; from += PROTO_OBJECTS_MAX) {
                struct proto_message *edges = say(agent, PROTO_EDGES);
                size_t left = contained.count - from;
                edges->u.edges.object = object->id;
                edges->u.edges.contained =
                    (struct proto_objects){ contained.ids + from, left < PROTO_OBJECTS_MAX ? left : PROTO_OBJECTS_MAX };
            }
        }
        struct proto_list_object *copy = core_alloc(agent->out, part * sizeof *copy);
        memcpy(copy, items + at, part * sizeof *copy);
        say(agent, PROTO_LIST_OBJECTS)->u.list_objects = (struct proto_list_objects){ copy, part };
        for (size_t i = 0; i < part; i++) {
            object_find(agent, items[at + i].object)->said = agent->said_mark;
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
            item.spec = spec_bytes(task);
        }
        struct proto_list_task *copy = core_alloc(agent->out, sizeof *copy);
        *copy = item;
        say(agent, PROTO_LIST_TASKS)->u.list_tasks = (struct proto_list_tasks){ copy, 1 };
    }
}

static bool is_awaited(const struct object *object)
{
    bool has_no_value = object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING;
    return has_no_value && (!list_is_empty(&object->consumers) || !list_is_empty(&object->waits));
}

void link_list(struct agent *agent)
{
    uint32_t number = agent->list_number;
    say(agent, PROTO_LIST_BEGIN)->u.list_begin.list = number;
    load_say(agent, true);
    LIST_EACH (at, &agent->jobs) {
        link_job(agent, CONTAINER_OF(at, struct job, all));
    }
    list_tasks(agent, false);
    say(agent, PROTO_LIST_PLACED)->u.list_placed.list = number;
    agent->forgotten_count = 0;
    list_objects(agent);
    list_tasks(agent, true);
    say(agent, PROTO_LIST_END)->u.list_end.list = number;
    agent->has_listed = true;
    LIST_EACH (at, &agent->objects) { /* what was asked for is asked for again */
        struct object *object = CONTAINER_OF(at, struct object, all);
        if (object->is_public && is_awaited(object)) {
            link_want(agent, object);
        }
    }
    pull_ask_again(agent);
}

/* ------------------------------------------------------------------ from the head */

static void on_welcome(struct agent *agent, const struct proto_welcome *welcome)
{
    bool is_new_life = agent->self.incarnation != 0 && agent->self.incarnation != welcome->incarnation;
    agent->self = (struct core_peer){ welcome->number, welcome->incarnation };
    agent->head_is_up = true;
    agent->head_is_new = agent->head_epoch != 0 && agent->head_epoch != welcome->epoch;
    agent->head_epoch = welcome->epoch;
    agent->list_number = 1;
    agent->said_mark = agent->head_seen = 0;
    LIST_EACH (at, &agent->objects) {
        CONTAINER_OF(at, struct object, all)->said = 0;
    }
    agent->has_listed = false;
    transit_head_lost(agent);
    if (is_new_life) { /* it was declared dead: what the head had placed here runs elsewhere by now */
        LIST_EACH_SAFE (at, &agent->tasks) {
            struct task *task = CONTAINER_OF(at, struct task, all);
            if (task->is_from_head && task->state != TASK_DONE) {
                task_void(agent, task);
            }
        }
    }
    core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LIST), agent->now_ns);
}

static void on_nodes(struct agent *agent, const struct proto_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct proto_node *node = &nodes->items[i];
        struct member *member = member_find(agent, node->number);
        if (member == NULL) {
            member = agent_alloc(sizeof *member);
            member->number = node->number;
            list_append(&agent->members, &member->all);
            agent->nodes_count++;
        }
        member->id = node->id;
        member->incarnation = node->incarnation;
        member->is_alive = node->state != PROTO_NODE_DEAD;
        member->info = *node;
        member->info.host = member->info.address_messages = member->info.address_bulk = member->info.labels = NULL;
        snprintf(member->host, sizeof member->host, "%s", node->host);
        snprintf(member->labels, sizeof member->labels, "%s", node->labels);
    }
    agent->dispatch_due = true;
}

struct member *member_find(struct agent *agent, uint32_t number)
{
    LIST_EACH (at, &agent->members) {
        struct member *member = CONTAINER_OF(at, struct member, all);
        if (member->number == number) {
            return member;
        }
    }
    return NULL;
}

static void set_holders(struct object *object, const struct proto_holders *holders)
{
    free(object->holders);
    object->holders = agent_alloc((holders->count + 1) * sizeof *object->holders);
    memcpy(object->holders, holders->nodes, holders->count * sizeof *object->holders);
    object->holders_count = (uint32_t)holders->count;
}

/* What the head says of an object's value, in FOUND or beside a task. */
static void learn(struct agent *agent, struct object *object, enum proto_object_state state,
                  const struct proto_content *content, const struct proto_holders *holders,
                  const struct proto_failure *failure)
{
    bool has_no_value = object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING;
    switch (state) {
    case PROTO_PENDING:
        if (object->state == OBJECT_UNKNOWN) {
            object_expect(agent, object, NULL);
        }
        return;
    case PROTO_SEALED:
        set_holders(object, holders);
        if (has_no_value) {
            object_is_elsewhere(agent, object, content);
        }
        pull_holders_known(agent, object);
        return;
    case PROTO_FAILED:
    case PROTO_LOST:
        if (has_no_value || object->state == OBJECT_ELSEWHERE) {
            link_failed(agent, object, state == PROTO_LOST ? ROOST_ELOST : ROOST_EFAILED, failure);
        }
        return;
    case PROTO_FREED:
        if (has_no_value || object->state == OBJECT_ELSEWHERE) {
            object_free(agent, object);
        }
        return;
    }
}

/* The words of the failure become an object here, if somebody here names it. */
void link_failed(struct agent *agent, struct object *object, int32_t status, const struct proto_failure *from)
{
    struct wire_failure failure = { .status = from != NULL ? from->status : status };
    if (from != NULL) {
        failure.app_code = from->app_code;
        failure.signal = (int32_t)from->signal;
        failure.attempts = (int32_t)from->attempts;
        failure.pid = (int64_t)from->pid;
        snprintf(failure.function, sizeof failure.function, "%s", from->function);
        snprintf(failure.node, sizeof failure.node, "%s", from->node);
        snprintf(failure.text, sizeof failure.text, "%s", from->text);
    }
    size_t size = offsetof(struct wire_failure, text) + strlen(failure.text) + 1;
    object->is_copy = false;
    object->says_nothing = true; /* the head knows */
    if (!object_is_named(object) || !object_write(agent, object, TABLE_ERROR, &failure, size, NULL)) {
        object_fail(agent, object, failure.status);
    }
}

/* A task of this home is over when the last of its results has a value, unless its spec waits here to be asked for. */
static void settle_home(struct agent *agent, struct task *task)
{
    if (task == NULL || task->state != TASK_AWAY || task->is_refused) {
        return;
    }
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && task->results[i]->state == OBJECT_PENDING) {
            return;
        }
    }
    task_done(agent, task);
}

static void on_found(struct agent *agent, const struct proto_found *found)
{
    struct object *object = object_find(agent, found->object);
    if (object == NULL) {
        return;
    }
    struct task *producer = object->producer;
    learn(agent, object, found->state, &found->content, &found->holders, found->failure);
    if (found->state == PROTO_FAILED) {
        object_refused(agent, object);
    }
    settle_home(agent, producer);
}

/* What the head knows anew it does not know to be wanted here. */
static void want_again(struct agent *agent, struct object *object)
{
    object->is_wanted = false;
    if (is_awaited(object)) {
        link_want(agent, object);
    }
}

/* A result of a call of this home, with no bytes here; DONE by a word of the head's on what it has freed since then. */
static bool can_be_made_again(const struct object *object)
{
    const struct task *producer = object->producer;
    bool is_elsewhere = object->state == OBJECT_ELSEWHERE;
    return producer != NULL && object_is_held(object) && !producer->job->has_ended &&
           (producer->state == TASK_AWAY || (producer->state == TASK_DONE && producer->is_home && is_elsewhere));
}

static void one_freed(struct agent *agent, struct object *object, enum proto_kind kind)
{
    struct task *producer = object->producer;
    if (object->said > agent->head_seen || (kind == PROTO_FREE && object->is_registered)) {
        want_again(agent, object); /* it crosses a word of ours that makes the object known once more */
        return;
    }
    if (kind == PROTO_GONE && can_be_made_again(object)) {
        task_submit_anew(agent, producer); /* a call that was made again, too late for what had become of the first */
        return;
    }
    link_forget(agent, object);
    object_free(agent, object);
    settle_home(agent, producer);
}

static void on_names(struct agent *agent, const struct proto_names *names, enum proto_kind kind)
{
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = object_find(agent, names->objects.ids[i]);
        if (object != NULL) {
            one_freed(agent, object, kind);
        }
    }
}

/* Every object that the spec names was mentioned: the head lists this node as a holder from now on (rule 2). What nobody
 * here goes on to hold is dropped; what is not known here is made known only for a task that begins. */
static void take_mentions(struct agent *agent, const struct spec *spec, bool begins)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (!spec_arg_ref(&spec_args(spec)[i], &ref)) {
            continue;
        }
        struct object_id id = object_id_of(ref);
        struct object *object = begins ? object_demand(agent, id) : object_find(agent, id);
        if (object == NULL) {
            drop_by_name(agent, id);
            continue;
        }
        link_is_known(agent, object);
        list_remove(&object->unknown);
        is_listed(agent, object);
    }
}

/* Its job has ended here, and the head does not know yet. */
static void refuse_task(struct agent *agent, const struct proto_task *message)
{
    log_info("event=task_of_ended_job task=%llx", (unsigned long long)message->task.lo);
    take_mentions(agent, message->spec.data, false);
    struct proto_failure *failure = core_alloc(agent->out, sizeof *failure);
    failure->status = ROOST_ECANCELED;
    struct proto_message *complete = say(agent, PROTO_COMPLETE);
    complete->u.complete =
        (struct proto_complete){ .task = message->task, .attempt = message->attempt, .failure = failure };
}

static void learn_args(struct agent *agent, const struct proto_task *message)
{
    for (size_t i = 0; i < message->args_count; i++) {
        const struct proto_task_arg *arg = &message->args[i];
        struct object *object = object_demand(agent, arg->object);
        bool is_sealed = arg->holders.count > 0;
        object->is_public = true;
        list_remove(&object->unknown);
        learn(agent, object, is_sealed ? PROTO_SEALED : PROTO_PENDING, &arg->content, &arg->holders, NULL);
    }
}

static bool has_all_results(const struct task *task)
{
    bool all = true;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        all = all && task->results[i] != NULL && task->results[i]->state == OBJECT_HERE;
    }
    return all;
}

/* What is here of its results are the head's own words on their failure, of a life before this one. */
static bool has_failed(const struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        const struct object *result = task->results[i];
        if (result != NULL && result->says_nothing && result->state == OBJECT_HERE) {
            return true;
        }
    }
    return false;
}

static void results_become_public(struct agent *agent, struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && !task->results[i]->is_public) {
            object_becomes_public(agent, task->results[i]);
        }
    }
}

/* The call is known here: an attempt that is over made it, another has made it again, elsewhere, and the head has placed
 * it here. What runs goes on as the head's; what is done is said. False: it is to begin, as the head's. */
static bool adopt(struct agent *agent, struct task *task, const struct proto_task *message)
{
    log_info("event=task_is_here_already task=%llx attempt=%u state=%d", (unsigned long long)message->task.lo,
             message->attempt, task->state);
    take_mentions(agent, task->spec, task->state != TASK_DONE);
    if (task->state == TASK_WAITING) {
        task_begin_anew(agent, task);
        results_become_public(agent, task);
        return false;
    }
    task->is_from_head = true;
    task->head_attempt = message->attempt;
    if (task->state != TASK_DONE) {
        results_become_public(agent, task);
        return true;
    }
    if (has_failed(task)) {
        struct wire_failure failure = { .status = ROOST_EFAILED, .text = "it had failed before the head began anew" };
        link_complete(agent, task, 0, false, &failure);
        return true;
    }
    if (has_all_results(task)) {
        results_become_public(agent, task);
        link_complete(agent, task, 0, false, NULL);
        return true;
    }
    task_wake(agent, task, NULL);
    results_become_public(agent, task);
    return false;
}

static void on_task(struct agent *agent, const struct proto_task *message)
{
    const struct spec *spec = message->spec.data; /* the decode door has run spec_check() */
    struct task *task = task_find(agent, message->task);
    if (task != NULL && task->state != TASK_AWAY && adopt(agent, task, message)) {
        return;
    }
    struct job *job = job_find(agent, spec->job);
    if (job == NULL || job->has_ended) {
        refuse_task(agent, message);
        return;
    }
    if (task == NULL) {
        task = task_create(agent, job, spec);
        bool is_new = task_expect_results(agent, task, NULL);
        if (!is_new) {
            log_warn("event=results_are_here_already task=%llx", (unsigned long long)message->task.lo);
        }
        results_become_public(agent, task);
    } else if (task->state == TASK_AWAY) {
        task_set_state(agent, task, TASK_WAITING);
    }
    task->is_from_head = true;
    task->head_attempt = message->attempt;
    task->attempts = message->attempt > 0 ? message->attempt - 1 : 0; /* the head counts from 1, a task from 0 */
    take_mentions(agent, task->spec, true);
    learn_args(agent, message);
    task_begin(agent, task);
}

static void on_cancel(struct agent *agent, const struct proto_cancel *cancel)
{
    struct task *task = task_find(agent, cancel->task);
    if (task == NULL || !task->is_from_head || task->head_attempt != cancel->attempt || task->state == TASK_DONE) {
        return;
    }
    if (task->attempt != NULL) {
        worker_kill(agent, task->attempt->worker);
        return;
    }
    struct wire_failure failure = { .status = ROOST_ECANCELED };
    link_complete(agent, task, 0, false, &failure);
    task_give_up(agent, task);
}

/* The head has no room for the spec now: it waits here, and is sent again when the head says so. */
static void on_handback(struct agent *agent, const struct proto_handback *handback)
{
    struct task *task = task_find(agent, handback->task);
    bool is_asked_for = handback->reason == PROTO_HANDBACK_AGAIN;
    if (task == NULL || task->state != TASK_AWAY) {
        if (is_asked_for) { /* its job has ended here; the head keeps a place for it */
            say(agent, PROTO_CANCEL)->u.cancel = (struct proto_cancel){ .task = handback->task };
        }
        return;
    }
    task->is_refused = handback->reason == PROTO_HANDBACK_ROOM;
    if (is_asked_for) {
        say_submit(agent, task); /* out of the record, which therefore stays, at the latest until the job's end */
    }
}

static void on_job_open(struct agent *agent, const struct proto_job_open *open)
{
    if (job_find(agent, open->job) == NULL) {
        struct job *job = job_open(agent, open->job, NULL, open->spec.data, open->spec.size);
        job->is_known_to_head = true;
    }
}

static void on_job_end(struct agent *agent, const struct proto_job_end *end)
{
    struct job *job = job_find(agent, end->job);
    if (job != NULL && job->driver == NULL) {
        job_end(agent, job);
    }
}

static void on_dead(struct agent *agent, const struct proto_dead *dead)
{
    struct member *member = member_find(agent, dead->node);
    if (member != NULL && member->incarnation == dead->incarnation) {
        member->is_alive = false;
    }
    pull_peer_lost(agent, (struct core_peer){ dead->node, dead->incarnation });
    transit_dead(agent, (struct core_peer){ dead->node, dead->incarnation });
}

void link_message(struct agent *agent, const struct core_event *event)
{
    const struct proto_message *message = event->u.message.body;
    if (event->u.message.peer.node != 0) {
        bool is_transit = message->kind == PROTO_NAMES || message->kind == PROTO_NAMES_ACK;
        is_transit ? transit_message(agent, event->u.message.peer, message) : pull_message(agent, event);
        return;
    }
    agent->head_seen = event->u.message.seen > agent->head_seen ? event->u.message.seen : agent->head_seen;
    if (message == NULL) {
        return;
    }
    switch (message->kind) {
    case PROTO_WELCOME:
        on_welcome(agent, &message->u.welcome);
        break;
    case PROTO_NODES:
        on_nodes(agent, &message->u.nodes);
        break;
    case PROTO_TASK:
        on_task(agent, &message->u.task);
        break;
    case PROTO_FREE:
    case PROTO_GONE:
        on_names(agent, &message->u.free, message->kind);
        break;
    case PROTO_FOUND:
        on_found(agent, &message->u.found);
        break;
    case PROTO_DEAD:
        on_dead(agent, &message->u.dead);
        break;
    case PROTO_CANCEL:
        on_cancel(agent, &message->u.cancel);
        break;
    case PROTO_JOB_OPEN:
        on_job_open(agent, &message->u.job_open);
        break;
    case PROTO_JOB_END:
        on_job_end(agent, &message->u.job_end);
        break;
    case PROTO_HANDBACK:
        on_handback(agent, &message->u.handback);
        break;
    case PROTO_LIST:
        agent->list_number = message->u.list.list;
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LIST), agent->now_ns);
        break;
#define NOT_FOR_AGENTS_(kind) case kind:
        NOT_FOR_AGENTS_(PROTO_PUBLISH)
        NOT_FOR_AGENTS_(PROTO_EDGES)
        NOT_FOR_AGENTS_(PROTO_HOLD)
        NOT_FOR_AGENTS_(PROTO_DROP)
        NOT_FOR_AGENTS_(PROTO_SUBMIT)
        NOT_FOR_AGENTS_(PROTO_COMPLETE)
        NOT_FOR_AGENTS_(PROTO_LOCATIONS)
        NOT_FOR_AGENTS_(PROTO_WANT)
        NOT_FOR_AGENTS_(PROTO_UNWANT)
        NOT_FOR_AGENTS_(PROTO_LOAD)
        NOT_FOR_AGENTS_(PROTO_PROGRESS)
        NOT_FOR_AGENTS_(PROTO_LIST_BEGIN)
        NOT_FOR_AGENTS_(PROTO_LIST_TASKS)
        NOT_FOR_AGENTS_(PROTO_LIST_PLACED)
        NOT_FOR_AGENTS_(PROTO_LIST_OBJECTS)
        NOT_FOR_AGENTS_(PROTO_LIST_END)
        NOT_FOR_AGENTS_(PROTO_OUTPUT)
        NOT_FOR_AGENTS_(PROTO_PULL)
        NOT_FOR_AGENTS_(PROTO_PULL_ANSWER)
        NOT_FOR_AGENTS_(PROTO_PULL_STREAM)
        NOT_FOR_AGENTS_(PROTO_PULL_DONE)
        NOT_FOR_AGENTS_(PROTO_PULL_CANCEL)
        NOT_FOR_AGENTS_(PROTO_NAMES)
        NOT_FOR_AGENTS_(PROTO_NAMES_ACK)
        NOT_FOR_AGENTS_(PROTO_QUERY)
        NOT_FOR_AGENTS_(PROTO_ROWS)
        NOT_FOR_AGENTS_(PROTO_STOP)
        NOT_FOR_AGENTS_(PROTO_KIND_END)
#undef NOT_FOR_AGENTS_
        log_error("event=unexpected_message from=head kind=%s", proto_kind_name(message->kind));
        break;
    }
}

void link_session(struct agent *agent, const struct core_event *event)
{
    bool is_up = event->kind == CORE_SESSION_UP;
    if (event->u.session.peer.node != 0) {
        if (!is_up) { /* what was asked for before a session is sent once it is there */
            pull_peer_lost(agent, event->u.session.peer);
            transit_lost(agent, event->u.session.peer);
        } else if (!event->u.session.resumed) {
            transit_again(agent, event->u.session.peer);
        }
        return;
    }
    if (!is_up) {
        agent->has_listed = false;
        agent->head_is_up = false; /* WELCOME of the next session sets it again; what is leaving waits for it */
    }
}
