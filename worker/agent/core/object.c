/* object.c - what this node knows of each object, and when it goes
 *
 * Owns the object records. An object is held by scopes (drivers and attempts), by tasks that name it and by private
 * objects that contain its ref; that is what the head is told about once the object is public. A record also stays
 * while something here uses it without holding it: a result to be, an input of a gather, a cached part.
 *
 * Happy path: unknown or pending -> here (or elsewhere, and here once pulled) -> dying -> gone.
 * Failures:   asked for, and unknown after every ring has been read -> the head is asked; without one, or when it does
 *             not know either, the asker gets ROOST_EFREED.
 *             no room even for an error object -> the entry itself says "failed" with the status.
 *             no entry left in the shared table -> the object fails with ROOST_EFULL; without one even for that, who
 *             asks the agent is told.
 *             a result that the head refuses, as another attempt's counts -> pending again once no task here reads it.
 * Lifetime:   private and unnamed -> the bytes go at once. Public and no longer held -> DROP; the bytes stay until the
 *             head says FREE, or, if they are a copy, until room is wanted.
 * Invariants: object_is_valid(). agent.entries counts the records with an entry that is their own. Records are
 *             destroyed in object_sweep() and object_reclaimed() only.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "object"
#include "common/bytes.h"
#include "common/log.h"
#include "common/prefetch.h"
#include "worker/agent/core/agent_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DYING_FIRST = 64, STAYS_FOR_READERS_NS = 5000000 };

static const uint32_t allowed_moves[] = {
    [OBJECT_UNKNOWN] = 1u << OBJECT_PENDING | 1u << OBJECT_HERE | 1u << OBJECT_ELSEWHERE | 1u << OBJECT_FAILED |
                       1u << OBJECT_DYING,
    [OBJECT_PENDING] = 1u << OBJECT_HERE | 1u << OBJECT_ELSEWHERE | 1u << OBJECT_FAILED | 1u << OBJECT_DYING,
    [OBJECT_HERE] = 1u << OBJECT_DYING | 1u << OBJECT_ELSEWHERE | 1u << OBJECT_PENDING,
    [OBJECT_ELSEWHERE] = 1u << OBJECT_HERE | 1u << OBJECT_FAILED | 1u << OBJECT_PENDING | 1u << OBJECT_DYING,
    [OBJECT_FAILED] = 1u << OBJECT_DYING,
    [OBJECT_DYING] = 0,
};

static void set_state(struct agent *agent, struct object *object, enum object_state state)
{
    ROOST_PRE((allowed_moves[object->state] >> state & 1) != 0);
    agent_note(agent, "object state", object->id.lo, (uint64_t)object->state << 8 | state);
    agent->counts.objects_here += (uint64_t)(state == OBJECT_HERE) - (uint64_t)(object->state == OBJECT_HERE);
    if (object->pull != NULL) { /* the head has another word on it than its holder */
        pull_cancel(agent, object->pull);
    }
    object->state = state;
    list_remove(&object->unknown);
}

struct object *object_find(struct agent *agent, struct object_id id)
{
    struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object != NULL && object->state != OBJECT_DYING ? object : NULL;
}

void object_foresee(const struct agent *agent, struct object_id soon, struct object_id next)
{
    id_map_prefetch(&agent->objects_by_id, object_id_key(soon));
    prefetch_lines(id_map_get(&agent->objects_by_id, object_id_key(next)), sizeof(struct object));
}

/* ------------------------------------------------------------------ those that wait for their last readers */

static void dying_grow(struct dying *dying)
{
    uint32_t before = dying->capacity, capacity = before == 0 ? DYING_FIRST : 2 * before;
    struct dying_place *places = agent_alloc(capacity * sizeof *places);
    if (before > 0) {
        memcpy(places, dying->places, before * sizeof *places);
    }
    for (uint32_t place = capacity; place-- > before;) {
        places[place].next_free = dying->first_free;
        dying->first_free = place + 1;
    }
    free(dying->places);
    dying->places = places;
    dying->capacity = capacity;
}

static uint64_t dying_add(struct dying *dying, struct object *object)
{
    if (dying->first_free == 0) {
        dying_grow(dying);
    }
    object->dying_place = dying->first_free - 1;
    struct dying_place *place = &dying->places[object->dying_place];
    dying->first_free = place->next_free;
    *place = (struct dying_place){ .object = object };
    return agent_token(AGENT_TOKEN_RETIRE, object->dying_place);
}

static struct object *dying_find(const struct dying *dying, uint64_t place)
{
    return place < dying->capacity ? dying->places[place].object : NULL;
}

static void dying_remove(struct dying *dying, const struct object *object)
{
    dying->places[object->dying_place] = (struct dying_place){ .next_free = dying->first_free };
    dying->first_free = object->dying_place + 1;
}

void agent_foresee_done(const struct agent *agent, uint64_t soon, uint64_t next)
{
    if (agent_token_kind(soon) != AGENT_TOKEN_RETIRE || agent_token_kind(next) != AGENT_TOKEN_RETIRE) {
        return;
    }
    prefetch_lines(dying_find(&agent->dying, agent_token_serial(soon)), sizeof(struct object));
    const struct object *object = dying_find(&agent->dying, agent_token_serial(next));
    if (object != NULL) {
        id_map_prefetch(&agent->objects_by_id, object_id_key(object->id));
    }
}

/* ------------------------------------------------------------------ records */

static struct object *create(struct agent *agent, struct object_id id, enum object_state state)
{
    struct object *object = agent_alloc(sizeof *object);
    object->id = id;
    object->state = state;
    object->serial = ++agent->serial;
    struct list_node *lists[] = { &object->unknown, &object->unnamed,   &object->told, &object->idle,
                                  &object->parts,   &object->consumers, &object->waits };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    list_append(&agent->objects, &object->all);
    ROOST_INVARIANT(id_map_put(&agent->objects_by_id, object_id_key(id), object) == 0);
    agent->counts.objects++;
    return object;
}

static void put_entry(struct agent *agent, const struct object *object, enum agent_entry_op op, uint64_t token)
{
    struct agent_entry *entry = core_put(agent->out, CORE_TABLE, 0, token, sizeof *entry);
    entry->op = op;
    entry->object = object->value;
    entry->object.id = object->id;
    entry->status = object->status;
}

enum { OBJECT_ENTRIES_SHARE = 64 }; /* one in so many is kept back, once for each step of object_entries */

bool object_entry_is_left(const struct agent *agent, enum object_entries which)
{
    uint32_t most = agent->config.entries_max;
    return most == 0 || agent->entries + most / OBJECT_ENTRIES_SHARE * (uint32_t)which < most;
}

static void publish(struct agent *agent, struct object *object)
{
    if (!object->has_entry) {
        object->has_entry = true;
        agent->entries++;
    }
    put_entry(agent, object, AGENT_ENTRY_PUBLISH, 0);
}

/* A new record takes over the id, and the entry, of one whose last readers have not gone. */
static struct object *replace(struct agent *agent, struct object *dying, enum object_state state)
{
    dying->is_replaced = true;
    id_map_remove(&agent->objects_by_id, object_id_key(dying->id));
    struct object *object = create(agent, dying->id, state);
    object->has_entry = true;
    put_entry(agent, object, AGENT_ENTRY_REVIVE, 0);
    return object;
}

struct object *object_demand(struct agent *agent, struct object_id id)
{
    struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    if (object != NULL && object->state != OBJECT_DYING) {
        return object;
    }
    object = object == NULL ? create(agent, id, OBJECT_UNKNOWN) : replace(agent, object, OBJECT_UNKNOWN);
    object->drain = agent->drain;
    list_append(&agent->unknown, &object->unknown);
    core_put(agent->out, CORE_DRAIN, 0, 0, 0);
    return object;
}

/* As far as the object's size and the number of its columns tell. */
static bool may_have(const struct wire_object *value, roost_ref ref)
{
    if (ref.size == ROOST_COLUMN) {
        return ref.offset < value->columns;
    }
    return ref.size == ROOST_WHOLE ? ref.offset <= value->size : range_is_inside(ref.offset, ref.size, value->size);
}

struct object *object_part(struct agent *agent, struct object *whole, roost_ref ref)
{
    struct object_id id = part_id(ref);
    struct object *part = id_map_get(&agent->objects_by_id, object_id_key(id));
    if (part == NULL || part->state == OBJECT_DYING) {
        part = part == NULL ? create(agent, id, OBJECT_ELSEWHERE) : replace(agent, part, OBJECT_ELSEWHERE);
        part->whole = whole;
        part->part_ref = ref;
        part->is_copy = true;
        list_append(&whole->parts, &part->parts);
        if (!may_have(&whole->value, ref)) {
            object_fail(agent, part, ROOST_ERANGE);
            list_append(&agent->unnamed, &part->unnamed);
        }
    }
    return part;
}

struct object *object_behind(struct object *object, roost_ref *ref)
{
    for (int i = 0; i < STORE_FORWARDS_MAX && object_is_forward(object); i++) {
        *ref = ref_through(*ref, object->refs[0]);
        object = object->contains[0];
    }
    return object;
}

void object_expect(struct agent *agent, struct object *object, struct task *producer)
{
    set_state(agent, object, OBJECT_PENDING);
    object->producer = producer;
    wait_object_changed(agent, object); /* whoever only asks where copies are knows enough now */
}

/* ------------------------------------------------------------------ names */

/* The head learns at the end of the step that the node's list has become non-empty. */
static void note_held(struct agent *agent, struct object *object)
{
    if (object->is_public && object_is_held(object)) {
        list_remove(&object->told);
        if (!object->is_registered) {
            list_append(&agent->holds, &object->told);
        }
    }
}

static void note_unheld(struct agent *agent, struct object *object)
{
    if (object->is_public && !object_is_held(object)) {
        list_remove(&object->told);
        if (object->is_registered) {
            list_append(&agent->drops, &object->told);
        }
    }
}

void object_name(struct agent *agent, struct object *object, uint32_t *counter)
{
    ROOST_PRE(*counter < UINT32_MAX);
    ++*counter;
    list_remove(&object->unnamed);
    note_held(agent, object);
}

void object_check_named(struct agent *agent, struct object *object)
{
    if (!object_is_named(object) && list_is_empty(&object->unnamed)) {
        list_append(&agent->unnamed, &object->unnamed);
    }
}

void object_unname(struct agent *agent, struct object *object, uint32_t *counter)
{
    ROOST_PRE(*counter > 0);
    --*counter;
    note_unheld(agent, object);
    object_check_named(agent, object);
}

static void name_contents(struct agent *agent, struct object *object)
{
    const struct wire_object *value = &object->value;
    object->contains = value->refs == 0 ? NULL : agent_alloc(value->refs * sizeof *object->contains);
    for (uint32_t i = 0; i < value->refs; i++) {
        struct object *inner = object_demand(agent, object_id_of(object->refs[i]));
        object->contains[i] = inner;
        if (inner == object) {
            continue; /* its own name keeps nothing alive */
        }
        object_name(agent, inner, &inner->containers);
        if (!object->is_public) {
            object_name(agent, inner, &inner->private_containers);
        } else if (inner->state == OBJECT_UNKNOWN && !inner->is_public) {
            inner->is_public = true; /* what a public object contains, the head knows */
            list_remove(&inner->unknown);
        }
    }
}

void object_let_go_of_contents(struct agent *agent, struct object *object)
{
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        struct object *inner = object->contains[i];
        if (inner == object) {
            continue;
        }
        object_unname(agent, inner, &inner->containers);
        if (!object->is_public) {
            object_unname(agent, inner, &inner->private_containers);
        }
    }
    free(object->contains);
    free(object->refs);
    object->contains = NULL;
    object->refs = NULL;
}

void object_becomes_public(struct agent *agent, struct object *object)
{
    object->is_public = true;
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        if (object->contains[i] != object) {
            object_unname(agent, object->contains[i], &object->contains[i]->private_containers);
        }
    }
    note_held(agent, object);
}

/* ------------------------------------------------------------------ values */

static void tell_one(struct agent *agent, struct object *object)
{
    struct list_node changed; /* an input may come back onto the list: each is looked at once */
    list_init(&changed);
    list_append_all(&changed, &object->consumers);
    while (!list_is_empty(&changed)) {
        task_input_changed(agent, CONTAINER_OF(changed.next, struct input, consumer));
    }
    wait_object_changed(agent, object);
}

/* Tells tasks and waits that the object has a value now, or never will; also those that wait for a part of it. */
static void tell(struct agent *agent, struct object *object)
{
    tell_one(agent, object);
    if (object->whole != NULL || object->state == OBJECT_ELSEWHERE) {
        return;
    }
    LIST_EACH (at, &object->parts) {
        struct object *part = CONTAINER_OF(at, struct object, parts);
        if (part->state == OBJECT_ELSEWHERE) {
            if (part->pull != NULL) {
                pull_cancel(agent, part->pull);
            }
            tell_one(agent, part);
        }
    }
}

void object_mark_own_result(const struct agent *agent, struct object *object)
{
    uint32_t making = (uint32_t)(agent->config.secret + object->serial); /* another node's has another secret */
    object->version = (making & (OBJECT_VERSION_OWN - 1)) | OBJECT_VERSION_OWN;
}

/* The bytes go; whoever asks is told why, in words if there is an entry for these. */
static void refuse(struct agent *agent, struct object *object, struct lease *lease, roost_ref *refs)
{
    struct wire_failure failure = { .status = ROOST_EFULL };
    snprintf(failure.text, sizeof failure.text,
             "the table of objects of node %s has no entry left for it; the limit is %u entries",
             agent->config.node_name, agent->config.entries_max);
    log_error_sparsely("event=table_full entries=%u limit=%u", agent->entries, agent->config.entries_max);
    free(refs);
    if (lease != NULL) {
        room_object_gone(agent, lease);
    }
    size_t size = offsetof(struct wire_failure, text) + strlen(failure.text) + 1;
    if (!object_write(agent, object, TABLE_ERROR, &failure, size, NULL)) {
        object_fail(agent, object, ROOST_EFULL);
    }
}

/* A copy that no attempt and no transfer needs. */
static void may_go(struct agent *agent, struct object *object)
{
    list_append(&agent->idle, &object->idle);
    room_look_again(agent);
}

void object_arrive(struct agent *agent, struct object *object, const struct wire_object *value, struct lease *lease,
                   roost_ref *refs)
{
    bool is_made = !object->is_copy && value->format != TABLE_ERROR && value->format != TABLE_FORWARD;
    if (!object->has_entry && !object_entry_is_left(agent, is_made ? OBJECT_ENTRIES_MADE : OBJECT_ENTRIES_ALL)) {
        refuse(agent, object, lease, refs);
        return;
    }
    set_state(agent, object, OBJECT_HERE);
    object->value = *value;
    object->lease = lease;
    object->refs = refs;
    if (object->version == 0 && object->producer != NULL) {
        object_mark_own_result(agent, object);
    }
    name_contents(agent, object);
    publish(agent, object);
    if (!object->says_nothing) {
        link_value(agent, object);
    }
    if (object->is_copy && object->pins == 0) {
        may_go(agent, object);
        object->stays_until_ns = list_is_empty(&object->waits) ? 0 : agent->now_ns + STAYS_FOR_READERS_NS;
    }
    tell(agent, object);
}

void object_fail(struct agent *agent, struct object *object, int32_t status)
{
    ROOST_PRE(status < 0);
    set_state(agent, object, OBJECT_FAILED);
    object->status = status;
    if (object->has_entry || object_entry_is_left(agent, OBJECT_ENTRIES_ALL)) { /* else who waits is told */
        publish(agent, object);
    }
    if (!object->says_nothing) {
        link_value(agent, object);
    }
    tell(agent, object);
}

void object_is_elsewhere(struct agent *agent, struct object *object, const struct proto_content *content)
{
    set_state(agent, object, OBJECT_ELSEWHERE);
    object->is_copy = true;
    object->value.size = content->size;
    object->value.columns = content->columns;
    object->value.format = content->format;
    tell(agent, object);
}

bool object_write(struct agent *agent, struct object *object, uint32_t format, const void *data, size_t size,
                  const roost_ref *ref)
{
    uint32_t refs_count = ref == NULL ? 0 : 1;
    uint64_t bytes = wire_object_bytes(size, 0, refs_count);
    bool has_entry = object->has_entry || object_entry_is_left(agent, OBJECT_ENTRIES_ALL);
    struct wire_object value = { .id = object->id, .size = size, .refs = refs_count, .format = format };
    bool needs_room = room_is_needed(&value);
    struct lease *lease = has_entry && needs_room ? room_take(agent, bytes) : NULL;
    if (!has_entry || (lease == NULL && needs_room)) {
        return false;
    }
    roost_ref *refs = NULL;
    if (needs_room) {
        struct agent_write *write = core_put(agent->out, CORE_WRITE, 0, 0, sizeof *write);
        unsigned char *copy = core_alloc(agent->out, bytes);
        memcpy(copy, data, size);
        if (ref != NULL) {
            memcpy(copy + wire_refs_offset(size, 0), ref, sizeof *ref);
            refs = agent_alloc(sizeof *refs);
            *refs = *ref;
        }
        *write = (struct agent_write){ lease->place, bytes, copy };
        value.place = lease->place;
    }
    object_arrive(agent, object, &value, lease, refs);
    return true;
}

/* The bytes go, as soon as no reader needs them. */
static void let_bytes_go(struct agent *agent, struct object *object, enum object_state state)
{
    list_remove(&object->idle);
    struct lease *lease = object->lease;
    object->lease = NULL;
    object_let_go_of_contents(agent, object);
    set_state(agent, object, state);
    put_entry(agent, object, AGENT_ENTRY_EVICT, room_let_evicted_go(agent, lease));
}

/* The head has refused the bytes: another attempt's are the value, or will be. Those who name it here see what all others
 * see. What is put has one value, whatever has become of it at the head. */
static void give_way(struct agent *agent, struct object *object)
{
    bool is_result = object->version != 0 && !object->says_nothing && object->whole == NULL;
    if (object->state != OBJECT_HERE || object->pins > 0 || !is_result) {
        return;
    }
    let_bytes_go(agent, object, OBJECT_PENDING);
    object->version = 0;
    object->is_copy = object->is_refused = false;
    object_check_named(agent, object);
}

void object_pin(struct object *object)
{
    object->pins++;
    list_remove(&object->idle);
}

void object_unpin(struct agent *agent, struct object *object)
{
    ROOST_PRE(object->pins > 0);
    object->pins--;
    if (object->pins == 0 && object->is_refused) {
        give_way(agent, object);
    }
    if (object->pins == 0 && object->is_copy && object->state == OBJECT_HERE) {
        may_go(agent, object);
    }
}

void objects_touched(struct agent *agent, const struct agent_names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        struct object *object = object_find(agent, names->ids[i]);
        if (object != NULL && !list_is_empty(&object->idle)) {
            list_remove(&object->idle);
            list_append(&agent->idle, &object->idle);
        }
    }
}

/* ------------------------------------------------------------------ endings */

static void destroy(struct agent *agent, struct object *object)
{
    ROOST_PRE(!object_is_named(object));
    ROOST_PRE(list_is_empty(&object->waits));
    ROOST_PRE(list_is_empty(&object->consumers));
    ROOST_PRE(object->pull == NULL);
    if (object->producer != NULL) {
        task_forget_result(agent, object->producer, object);
    }
    struct list_node *lists[] = { &object->all, &object->unknown, &object->unnamed, &object->told, &object->idle };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_remove(lists[i]);
    }
    if (object->whole != NULL) {
        list_remove(&object->parts);
    }
    if (!object->is_replaced) {
        id_map_remove(&agent->objects_by_id, object_id_key(object->id));
    }
    agent->counts.objects--;
    if (object->has_entry && !object->is_replaced) {
        agent->entries--;
        agent->room_due = agent->room_due || agent_wants_room(agent) || agent->pulls_want_room;
    }
    free(object->contains);
    free(object->refs);
    free(object->holders);
    free(object);
}

/* No reader gets at it from now on; DYING until the last one that was there has gone. */
static void retire(struct agent *agent, struct object *object)
{
    set_state(agent, object, OBJECT_DYING);
    list_remove(&object->idle);
    uint64_t token = dying_add(&agent->dying, object);
    if (object->producer != NULL) {
        task_forget_result(agent, object->producer, object);
    }
    if (object->whole != NULL) {
        list_remove(&object->parts);
        object->whole = NULL;
    }
    put_entry(agent, object, AGENT_ENTRY_RETIRE, token);
}

/* Its parts are no use without it. */
static void drop_parts(struct agent *agent, struct object *object)
{
    LIST_EACH_SAFE (at, &object->parts) {
        struct object *part = CONTAINER_OF(at, struct object, parts);
        list_remove(&part->parts);
        part->whole = NULL;
        object_check_named(agent, part);
    }
}

/* May the record stay although nothing names it? A public object's bytes are the head's to free, a part is a cache; of
 * the words of a failure that the head told, and of a copy that it has refused, it does not know that they lie here. */
static bool is_kept(const struct object *object)
{
    if (object->state != OBJECT_HERE) {
        return false;
    }
    bool head_knows = object->is_public && !object->is_freed && !object->is_refused && !object->says_nothing;
    return object->whole != NULL || head_knows;
}

/* Others may wait for it, and no list would say what became of it: of what lies nowhere, the head knows by that word
 * alone. */
static bool is_unheard(const struct agent *agent, const struct object *object)
{
    bool has_failed = object->state == OBJECT_FAILED && object->is_public && !object->says_nothing;
    return has_failed && !object->is_freed && (!agent->has_listed || object->said > agent->head_seen);
}

static void let_go(struct agent *agent, struct object *object)
{
    if (is_kept(object)) {
        return;
    }
    if (is_unheard(agent, object)) {
        list_append(&agent->unheard, &object->unnamed);
        return;
    }
    if (object->pull != NULL) {
        pull_cancel(agent, object->pull);
    }
    object_let_go_of_contents(agent, object);
    if (object->whole == NULL) {
        drop_parts(agent, object);
    }
    link_forget(agent, object); /* a head that still lists this node is told by name */
    if (object->has_entry) {
        retire(agent, object);
    } else {
        destroy(agent, object);
    }
}

/* Nobody elsewhere names it, and somebody here does, who has asked again for what a call had made: it is this node's
 * alone once more, with all that it contains. */
static void object_comes_down(struct agent *agent, struct object *object)
{
    object->is_public = object->is_registered = object->is_wanted = false;
    object->is_copy = false; /* if there is another copy, it is being freed */
    list_remove(&object->idle);
    list_remove(&object->told);
    for (uint32_t i = 0; object->contains != NULL && i < object->value.refs; i++) {
        if (object->contains[i] != object) {
            object_name(agent, object->contains[i], &object->contains[i]->private_containers);
        }
    }
}

void object_copy_refused(struct agent *agent, struct object *object)
{
    object->is_refused = true;
    give_way(agent, object);
    object_check_named(agent, object);
}

bool object_is_being_made(const struct object *object)
{
    const struct task *producer = object->producer;
    return object->state == OBJECT_PENDING && producer != NULL && producer->state != TASK_AWAY &&
           producer->state != TASK_DONE;
}

void object_free(struct agent *agent, struct object *object)
{
    const struct task *producer = object->producer;
    if (!object->is_public) {
        return;
    }
    if (object_is_being_made(object) ||
        (object->state == OBJECT_HERE && object_is_held(object) && !object->says_nothing)) {
        object_comes_down(agent, object);
        return;
    }
    object->is_freed = true;
    object->is_registered = false;
    list_remove(&object->told);
    list_remove(&object->unnamed); /* if it is unheard: the head has its own word on it */
    if (object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING || object->state == OBJECT_ELSEWHERE) {
        object->says_nothing = true;
        if (producer != NULL &&
            producer->state == TASK_AWAY) { /* if the call is made again, its result is another record */
            task_disown_result(agent, object->producer, object);
        }
        object_fail(agent, object, ROOST_EFREED); /* who still waits for it held nothing */
    }
    object_check_named(agent, object);
}

void object_refused(struct agent *agent, struct object *object)
{
    if (object->state != OBJECT_HERE || !object->is_public) {
        return;
    }
    object->says_nothing = true;
    object_check_named(agent, object);
}

void object_evict(struct agent *agent, struct object *object)
{
    ROOST_PRE(object->state == OBJECT_HERE && object->is_copy && object->pins == 0);
    agent->counts.evictions++;
    let_bytes_go(agent, object, OBJECT_ELSEWHERE);
    if (object->is_public) {
        link_location(agent, object, false);
    }
    object_check_named(agent, object);
}

void object_sweep(struct agent *agent)
{
    while (!list_is_empty(&agent->unnamed) && agent_has_room(agent)) {
        struct object *object = CONTAINER_OF(agent->unnamed.next, struct object, unnamed);
        list_remove(&object->unnamed);
        if (!list_is_empty(&agent->unnamed)) {
            prefetch_lines(CONTAINER_OF(agent->unnamed.next, struct object, unnamed), sizeof *object);
        }
        let_go(agent, object);
    }
    agent->is_behind = agent->is_behind || !list_is_empty(&agent->unnamed);
}

void objects_heard(struct agent *agent)
{
    while (!list_is_empty(&agent->unheard)) {
        struct object *object = CONTAINER_OF(agent->unheard.next, struct object, unnamed);
        if (is_unheard(agent, object)) {
            return;
        }
        list_remove(&object->unnamed);
        list_append(&agent->unnamed, &object->unnamed);
    }
}

void object_reclaimed(struct agent *agent, uint64_t place)
{
    struct object *object = dying_find(&agent->dying, place);
    ROOST_PRE(object != NULL && object->state == OBJECT_DYING);
    dying_remove(&agent->dying, object);
    if (object->lease != NULL) {
        room_object_gone(agent, object->lease);
    }
    destroy(agent, object);
}

void object_check_unknown(struct agent *agent)
{
    uint32_t drain = agent->drain++;
    LIST_EACH_SAFE (at, &agent->unknown) {
        struct object *object = CONTAINER_OF(at, struct object, unknown);
        if (object->drain == drain) {
            core_put(agent->out, CORE_DRAIN, 0, 0, 0); /* asked for during this turn: one more, whole */
            return;
        }
        list_remove(&object->unknown);
        if (agent->head_is_up) {
            object->is_public = true; /* or it is nothing at all: the head answers */
            note_held(agent, object);
            link_want(agent, object);
            continue;
        }
        object_fail(agent, object, ROOST_EFREED);
        object_check_named(agent, object);
    }
}

bool object_is_valid(const struct object *object)
{
    bool has_bytes = object->state == OBJECT_HERE || object->state == OBJECT_DYING;
    if (object->lease != NULL && !has_bytes) {
        return false;
    }
    if (object->state == OBJECT_DYING && object_is_named(object)) {
        return false;
    }
    if (object->is_public && !object->is_freed && object_is_held(object) && !object->is_registered &&
        list_is_empty(&object->told)) {
        return false;
    }
    return object->state == OBJECT_UNKNOWN || object->state == OBJECT_DYING || object_is_named(object) ||
           is_kept(object) || object->whole != NULL || !list_is_empty(&object->unnamed);
}

void objects_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, all);
        free(object->contains);
        free(object->refs);
        free(object->holders);
        free(object);
    }
    list_init(&agent->objects);
    free(agent->dying.places);
}
