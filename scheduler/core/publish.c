/* publish.c - what agents say about objects: PUBLISH, EDGES, HOLD, DROP, WANT, UNWANT, LOCATIONS; and FOUND, the answer
 *
 * Owns no state but the edges that wait for the message with their object.
 *
 * Happy path: PUBLISH enters an object, its names and its maker's spec; HOLD and DROP say which nodes name it.
 * Failures:   HOLD or WANT of what is gone -> GONE. A DROP that has not seen a mention -> void (rule 2). A copy of
 *             another version -> refused, unless the one before is lost; with other lines -> the object FAILED with
 *             ROOST_ECHANGED. Names that nobody has entered -> left out, counted. Edges without end -> its session is
 *             closed, and it lists.
 * Invariants: those of object.c.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ contained names */

void edges_drop_all(struct member *member)
{
    LIST_EACH_SAFE (at, &member->edges) {
        struct pending_edges *edges = CONTAINER_OF(at, struct pending_edges, of_member);
        list_remove(at);
        free(edges->ids);
        free(edges);
    }
    member->edges_count = 0;
}

static struct pending_edges *edges_of(struct member *member, struct object_id id)
{
    LIST_EACH (at, &member->edges) {
        struct pending_edges *edges = CONTAINER_OF(at, struct pending_edges, of_member);
        if (object_id_eq(edges->object, id)) {
            return edges;
        }
    }
    return NULL;
}

void edges_drop(struct member *member, struct object_id id)
{
    struct pending_edges *edges = list_is_empty(&member->edges) ? NULL : edges_of(member, id);
    if (edges != NULL) {
        list_remove(&edges->of_member);
        member->edges_count -= edges->count + 1;
        free(edges->ids);
        free(edges);
    }
}

void publish_edges(struct head *head, struct member *member, const struct proto_edges *said)
{
    struct pending_edges *edges = edges_of(member, said->object);
    if (member->edges_count + said->contained.count + 1 > HEAD_EDGES_MAX) {
        head->counts.bad_messages++;
        core_put(head->out, CORE_CLOSE, core_peer_key((struct core_peer){ member->number, member->incarnation }), 0, 0);
        return;
    }
    if (edges == NULL) {
        edges = head_alloc(sizeof *edges);
        edges->object = said->object;
        list_append(&member->edges, &edges->of_member);
        member->edges_count++;
    }
    if (edges->count + said->contained.count > ROOST_GATHER_MAX) {
        head->counts.bad_messages++;
        return;
    }
    edges->ids = head_grow(edges->ids, edges->count + said->contained.count + 1, sizeof *edges->ids);
    if (said->contained.count > 0) {
        memcpy(edges->ids + edges->count, said->contained.ids, said->contained.count * sizeof *edges->ids);
    }
    edges->count += said->contained.count;
    member->edges_count += said->contained.count;
}

static uint32_t look_up(struct head *head, struct member *member, const struct object_id *ids, size_t count,
                        const struct object *container, struct object **found)
{
    uint32_t known = 0;
    for (size_t i = 0; i < count; i++) {
        struct object *object = head_object_named(head, ids[i]);
        if (object == NULL && member->list != 0) { /* its turn in the list comes, or the list's end */
            object = head_object_make(head, ids[i], OBJECT_UNKNOWN);
            head_object_hold(head, object, member->number, 0);
        }
        if (object == NULL || object == container) {
            head->counts.bad_messages++; /* against rule 1 */
        } else {
            found[known++] = object;
        }
    }
    return known;
}

void publish_contained(struct head *head, struct member *member, struct object *object,
                       const struct proto_objects *contained)
{
    struct pending_edges *edges = list_is_empty(&member->edges) ? NULL : edges_of(member, object->id);
    size_t before = edges == NULL ? 0 : edges->count, count = before + contained->count;
    if (object->more != NULL && object->more->contained != NULL) { /* of a lost value: another attempt's names others */
        head_object_let_go(head, object);
    }
    if (count > 0) {
        struct object **found = head_alloc(count * sizeof(struct object *));
        uint32_t known = edges == NULL ? 0 : look_up(head, member, edges->ids, before, object, found);
        known += look_up(head, member, contained->ids, contained->count, object, found + known);
        head_object_contain(head, object, found, known);
    }
    edges_drop(member, object->id);
}

/* ------------------------------------------------------------------------------------------------ copies */

/* It would lie there for ever, as nobody else knows of it. */
bool publish_refuse_copy(struct head *head, struct member *member, const struct object *object)
{
    head->counts.refused_copies++;
    free_copy_at(head, member, object->id);
    return false;
}

bool publish_is_as_it_was(struct head *head, const struct member *member, struct object *object,
                          const struct proto_content *content)
{
    bool differs = (object->flags & OBJECT_WAS_SEALED) != 0 &&
                   (content->size != object->size || content->fingerprint != object->fingerprint);
    if (differs) {
        head_object_fail(head, object, OBJECT_FAILED,
                         failure_make(ROOST_ECHANGED, member_name(head, member->number),
                                      "made again on node %u it differs from what it was", member->number));
    }
    return !differs;
}

bool publish_copy(struct head *head, struct member *member, struct object *object, const struct proto_content *content)
{
    bool may_have_copies = object->state == OBJECT_SEALED || object->state == OBJECT_LOST;
    if (!may_have_copies || content->version != object->version) {
        return publish_refuse_copy(head, member, object);
    }
    if (content->fingerprint != object->fingerprint || content->size != object->size) {
        head->counts.refused_copies++;
        head_object_fail(head, object, OBJECT_FAILED,
                         failure_make(ROOST_ECHANGED, member_name(head, member->number),
                                      "the copy on node %u has %llu bytes that differ from those already seen",
                                      member->number, (unsigned long long)content->size));
        return false;
    }
    if (object->state == OBJECT_LOST) {
        head_object_set_state(head, object, OBJECT_SEALED);
        head_object_changed(head, object, true);
    }
    head_object_locate(head, object, member->number);
    list_note(head, member->number, object->id, LISTED_STORED, 0);
    return true;
}

/* ------------------------------------------------------------------------------------------------ entering */

static void take_spec(struct head *head, struct member *member, struct object *object,
                      const struct proto_publish *publish)
{
    struct task *task = head_task_find(head, publish->task);
    if (task == NULL && publish->spec.size > 0) {
        const struct spec *spec = head_task_spec_check(head, publish->task, &publish->spec);
        task = spec == NULL ? NULL : head_task_make(head, member, spec, TASK_LOCAL);
    }
    for (uint32_t i = 0; task != NULL && i < task->returns_count; i++) {
        if (head_task_return_at(task, i) == NULL && object_id_eq(result_id(task->id, i), object->id)) {
            head_task_returns(task)[i] = object;
            task->returns_alive++;
            head_object_more(object)->producer = task;
        }
    }
}

/* The task of a public object ended where it was made: its record is for lineage alone now. */
static void home_is_done(struct head *head, struct object *object)
{
    struct task *task = object->more == NULL ? NULL : object->more->producer;
    if (task != NULL && task->state == TASK_LOCAL) {
        for (uint32_t i = 0; i < task->returns_count; i++) {
            const struct object *other = head_task_return_at(task, i);
            if (other != NULL && other->state == OBJECT_PENDING) {
                return;
            }
        }
        head_task_set_state(head, task, TASK_DONE);
    }
}

static void learn(struct head *head, struct member *member, struct object *object, const struct proto_publish *publish)
{
    bool is_anew = publish->state == PROTO_SEALED && object->state == OBJECT_LOST && publish->located &&
                   publish->content.version != object->version;
    bool is_open = head_object_is_open(object);
    if (is_anew && !publish_is_as_it_was(head, member, object, &publish->content)) {
        publish_refuse_copy(head, member, object);
    } else if (publish->state == PROTO_SEALED && (is_open || is_anew)) { /* anew: another attempt had it made */
        publish_contained(head, member, object, &publish->contained);
        head_object_seal(head, object, &publish->content);
        if (publish->has_value) {
            head_object_set_value(object, &publish->value);
        }
        if (publish->located) {
            head_object_locate(head, object, member->number);
            list_note(head, member->number, object->id, LISTED_STORED, 0);
        }
    } else if (publish->state == PROTO_SEALED && publish->located) {
        publish_copy(head, member, object, &publish->content);
    } else if (publish->state == PROTO_FAILED && is_open && publish->failure != NULL) {
        head_object_fail(head, object, OBJECT_FAILED, failure_copy(publish->failure));
    } else if (publish->state == PROTO_PENDING && object->state == OBJECT_UNKNOWN) {
        head_object_set_state(head, object, OBJECT_PENDING);
    }
}

void publish_entry(struct head *head, struct member *member, const struct proto_publish *publish)
{
    bool is_sealed = publish->state == PROTO_SEALED;
    if (is_sealed && !publish->located && !publish->has_value) {
        head->counts.bad_messages++;
        return;
    }
    struct object *object = head_object_find(head, publish->object);
    bool is_new = object == NULL;
    if (is_new) {
        object = head_object_make(head, publish->object, is_sealed ? OBJECT_UNKNOWN : OBJECT_PENDING);
    }
    if (is_new || object->state == OBJECT_UNKNOWN || head_object_is_orphan(object)) {
        object->home = (uint16_t)member->number;
    }
    head_object_hold(head, object, member->number, 0); /* who publishes a name has it, or drops it next */
    list_note(head, member->number, object->id, LISTED_HELD, 0);
    if (!task_id_is_none(publish->task)) {
        take_spec(head, member, object, publish);
    }
    learn(head, member, object, publish);
    if (publish->state == PROTO_PENDING && object->state != OBJECT_PENDING) {
        publish_found(head, member, object); /* it was made already: no change will come that could be waited for */
    }
    home_is_done(head, object);
}

/* ------------------------------------------------------------------------------------------------ names */

/* The ids that came too late, gathered for one answer. */
struct too_late {
    struct object_id *ids;
    size_t count;
};

static void note_gone(struct head *head, struct too_late *late, const struct proto_names *names, size_t i)
{
    if (late->ids == NULL) {
        late->ids = core_alloc(head->out, (names->objects.count - i) * sizeof *late->ids);
    }
    late->ids[late->count++] = names->objects.ids[i];
    head->counts.gone++;
}

static void send_gone(struct head *head, struct member *member, const struct too_late *late)
{
    struct proto_message *message = late->count > 0 ? head_send(head, member, PROTO_GONE) : NULL;
    if (message != NULL) {
        message->u.gone.objects = (struct proto_objects){ late->ids, late->count };
    }
}

void publish_hold(struct head *head, struct member *member, const struct proto_names *names)
{
    struct too_late late = { NULL, 0 };
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = head_object_named(head, names->objects.ids[i]);
        if (object == NULL) {
            note_gone(head, &late, names, i);
            continue;
        }
        head_object_hold(head, object, member->number, 0);
        list_note(head, member->number, object->id, LISTED | LISTED_HELD, 0);
        bool has_ended = object->state == OBJECT_FAILED || object->state == OBJECT_LOST;
        if (has_ended && head_has_room(head)) {
            publish_found(head, member, object); /* no change will come that it could wait for */
        } else if (has_ended) {
            head_object_changed(head, object, true);
        }
    }
    send_gone(head, member, &late);
}

void publish_drop(struct head *head, struct member *member, const struct proto_names *names, uint32_t seen)
{
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = head_object_find(head, names->objects.ids[i]);
        if (object != NULL) {
            head_object_drop(head, object, member, seen);
            list_note(head, member->number, object->id, 0, LISTED_HELD);
        }
    }
}

void publish_want(struct head *head, struct member *member, const struct proto_names *names)
{
    struct too_late late = { NULL, 0 };
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = head_object_named(head, names->objects.ids[i]);
        if (object == NULL) {
            note_gone(head, &late, names, i);
            continue;
        }
        numbers_add(&head_object_more(object)->wants, member->number);
        head_record(head, 'w', object->id.lo, member->number);
        if (head_has_room(head)) {
            publish_found(head, member, object);
        } else {
            head_object_changed(head, object, false);
        }
    }
    send_gone(head, member, &late);
}

void publish_unwant(struct head *head, struct member *member, const struct proto_names *names)
{
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = head_object_find(head, names->objects.ids[i]);
        if (object != NULL && object->more != NULL) {
            numbers_remove(&object->more->wants, member->number);
            head_record(head, 'W', object->id.lo, member->number);
        }
    }
}

void publish_locations(struct head *head, struct member *member, const struct proto_locations *locations)
{
    for (size_t i = 0; i < locations->count; i++) {
        const struct proto_location *location = &locations->items[i];
        struct object *object = head_object_find(head, location->object);
        bool is_open = object == NULL || head_object_is_open(object);
        if (location->added && is_open && head_in_census(head)) {
            list_again(head, member);
        } else if (object == NULL) {
            if (location->added) {
                free_copy_at(head, member, location->object); /* the copy came after the end */
            }
        } else if (location->added) {
            publish_copy(head, member, object, &location->content);
        } else {
            head_object_unlocate(head, object, member->number, "gave it up");
            list_note(head, member->number, object->id, 0, LISTED_STORED);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ FOUND */

static enum proto_object_state state_of(const struct object *object)
{
    switch ((enum object_state)object->state) {
    case OBJECT_UNKNOWN:
    case OBJECT_PENDING:
        return PROTO_PENDING;
    case OBJECT_SEALED:
        return PROTO_SEALED;
    case OBJECT_FAILED:
        return PROTO_FAILED;
    case OBJECT_LOST:
        return PROTO_LOST;
    }
    ROOST_IMPOSSIBLE("a state of objects");
}

static const struct proto_failure *copy_failure(struct head *head, const struct proto_failure *what)
{
    struct proto_failure *copy = head_copy(head, what, sizeof *what);
    copy->function = head_copy(head, what->function, strlen(what->function) + 1);
    copy->node = head_copy(head, what->node, strlen(what->node) + 1);
    copy->text = head_copy(head, what->text, strlen(what->text) + 1);
    return copy;
}

/* Up to `most` of its places; those under suspicion last. */
static struct proto_holders holders_of(struct head *head, const struct object *object)
{
    uint32_t count = head_object_locations_count(object), filled = 0;
    uint32_t *nodes = core_alloc(head->out, (count < PROTO_HOLDERS_MAX ? count : PROTO_HOLDERS_MAX) * sizeof *nodes);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count && filled < PROTO_HOLDERS_MAX; i++) {
            bool is_suspect = member_at(head, head_object_location(object, i))->state == PROTO_NODE_SUSPECT;
            if (is_suspect == (pass == 1)) {
                nodes[filled++] = head_object_location(object, i);
            }
        }
    }
    return (struct proto_holders){ nodes, filled };
}

/* For all that hear of it in this step alike. */
static struct proto_found describe(struct head *head, const struct object *object)
{
    struct proto_found found = { .object = object->id,
                                 .state = state_of(object),
                                 .content = head_object_content(object) };
    const struct object_more *more = object->more;
    if (object->state == OBJECT_SEALED) {
        found.holders = holders_of(head, object);
        if (more != NULL && more->has_value) {
            found.has_value = true;
            found.value = (struct proto_bytes){ head_copy(head, more->value, object->size), object->size };
        }
    } else if (more != NULL && more->failure != NULL) {
        found.failure = copy_failure(head, &more->failure->what);
    }
    return found;
}

static void send_found(struct head *head, struct member *member, const struct proto_found *found)
{
    struct proto_message *message = head_send(head, member, PROTO_FOUND);
    if (message != NULL) {
        message->u.found = *found;
    }
}

void publish_found(struct head *head, struct member *member, const struct object *object)
{
    struct proto_found found = describe(head, object);
    send_found(head, member, &found);
}

/* Who has the bytes of what is sealed made them known, and needs no telling. */
static bool knows_already(const struct object *object, uint32_t node)
{
    return object->state == OBJECT_SEALED && head_object_is_at(object, node);
}

/* `found` is described for the first of them: most objects change where all that hold them know. */
static void tell(struct head *head, const struct object *object, uint32_t node, struct proto_found *found)
{
    if (object_id_is_none(found->object)) {
        *found = describe(head, object);
    }
    send_found(head, member_at(head, node), found);
}

void publish_tell(struct head *head, struct object *object, bool all)
{
    uint32_t holders = all ? head_object_holders_count(object) : 0;
    uint32_t wants = object->more == NULL ? 0 : object->more->wants.count;
    struct proto_found found = { .object = { 0, 0 } };
    for (uint32_t i = 0; i < wants; i++) {
        tell(head, object, object->more->wants.at[i], &found);
    }
    for (uint32_t i = 0; i < holders; i++) {
        uint32_t node = head_object_holder(object, i).node;
        bool is_wanted = object->more != NULL && numbers_has(&object->more->wants, node);
        if (!is_wanted && !knows_already(object, node)) {
            tell(head, object, node, &found);
        }
    }
}
