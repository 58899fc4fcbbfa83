/* object.c - what this node knows of each object, and when it goes
 *
 * Owns the object records. An object is named by scopes (drivers and attempts), by tasks (as argument, or as result to
 * be) and by objects that contain its ref; when the last name goes, so do its bytes, as soon as no client has them
 * pinned, and then its own names in turn.
 *
 * Happy path: unknown or pending -> here -> dying -> gone.
 * Failures:   asked for, and unknown after every ring has been read -> the asker gets ROOST_EFREED.
 *             no room even for an error object -> the entry itself says "failed" with the status.
 * Invariants: object_is_valid(). Records are destroyed in object_sweep() and object_reclaimed() only.
 * Thread: the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t allowed_moves[] = {
    [OBJECT_UNKNOWN] = 1u << OBJECT_PENDING | 1u << OBJECT_HERE | 1u << OBJECT_ELSEWHERE | 1u << OBJECT_FAILED,
    [OBJECT_PENDING] = 1u << OBJECT_HERE | 1u << OBJECT_ELSEWHERE | 1u << OBJECT_FAILED,
    [OBJECT_HERE] = 1u << OBJECT_DYING | 1u << OBJECT_ELSEWHERE,
    [OBJECT_ELSEWHERE] = 1u << OBJECT_HERE | 1u << OBJECT_FAILED | 1u << OBJECT_PENDING,
    [OBJECT_FAILED] = 1u << OBJECT_DYING,
    [OBJECT_DYING] = 0,
};

static void set_state(struct agent *agent, struct object *object, enum object_state state)
{
    ROOST_PRE((allowed_moves[object->state] >> state & 1) != 0);
    agent_note(agent, "object state", object->id.lo, (uint64_t)object->state << 8 | state);
    object->state = state;
    list_remove(&object->unknown);
}

struct object *object_find(struct agent *agent, struct object_id id)
{
    struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    return object != NULL && object->state != OBJECT_DYING ? object : NULL;
}

struct object *object_demand(struct agent *agent, struct object_id id)
{
    struct object *object = id_map_get(&agent->objects_by_id, object_id_key(id));
    if (object != NULL) {
        return object;
    }
    object = agent_alloc(sizeof *object);
    object->id = id;
    object->state = OBJECT_UNKNOWN;
    object->serial = ++agent->serial;
    object->drain = agent->drain;
    list_append(&agent->objects, &object->all);
    list_append(&agent->unknown, &object->unknown);
    list_init(&object->unnamed);
    list_init(&object->consumers);
    list_init(&object->waits);
    ROOST_INVARIANT(id_map_put(&agent->objects_by_id, object_id_key(id), object) == 0);
    agent->counts.objects++;
    core_put(agent->out, CORE_DRAIN, 0, 0, 0);
    return object;
}

void object_expect(struct agent *agent, struct object *object, struct task *producer)
{
    set_state(agent, object, OBJECT_PENDING);
    object->producer = producer;
}

/* Tells tasks and waits that the object has a value now, or never will. */
static void tell(struct agent *agent, struct object *object)
{
    LIST_EACH_SAFE (at, &object->consumers) {
        task_input_changed(agent, CONTAINER_OF(at, struct input, consumer));
    }
    wait_object_changed(agent, object);
}

static void publish(struct agent *agent, const struct object *object)
{
    struct agent_entry *entry = core_put(agent->out, CORE_TABLE, 0, 0, sizeof *entry);
    entry->op = AGENT_ENTRY_PUBLISH;
    entry->object = object->value;
    entry->object.id = object->id;
    entry->status = object->status;
}

void object_arrive(struct agent *agent, struct object *object, const struct wire_object *value, struct lease *lease,
                   roost_ref *refs)
{
    set_state(agent, object, OBJECT_HERE);
    object->value = *value;
    object->lease = lease;
    object->refs = refs;
    if (value->refs > 0) {
        object->contains = agent_alloc(value->refs * sizeof *object->contains);
        for (uint32_t i = 0; i < value->refs; i++) {
            object->contains[i] = object_demand(agent, object_id_of(refs[i]));
            object_name(object->contains[i], &object->contains[i]->containers);
        }
    }
    agent->counts.objects_here++;
    ROOST_INVARIANT(id_map_put(&agent->objects_by_serial, serial_key(object->serial), object) == 0);
    publish(agent, object);
    tell(agent, object);
}

void object_fail(struct agent *agent, struct object *object, int32_t status)
{
    ROOST_PRE(status < 0);
    set_state(agent, object, OBJECT_FAILED);
    object->status = status;
    ROOST_INVARIANT(id_map_put(&agent->objects_by_serial, serial_key(object->serial), object) == 0);
    publish(agent, object);
    tell(agent, object);
}

bool object_write(struct agent *agent, struct object *object, uint32_t format, const void *data, size_t size,
                  const roost_ref *ref)
{
    uint32_t refs_count = ref == NULL ? 0 : 1;
    uint64_t bytes = wire_object_bytes(size, 0, refs_count);
    struct lease *lease = room_take(agent, bytes);
    if (lease == NULL) {
        return false;
    }
    struct agent_write *write = core_put(agent->out, CORE_WRITE, 0, 0, sizeof *write);
    unsigned char *copy = core_alloc(agent->out, bytes);
    memcpy(copy, data, size);
    roost_ref *refs = NULL;
    if (ref != NULL) {
        memcpy(copy + wire_refs_offset(size, 0), ref, sizeof *ref);
        refs = agent_alloc(sizeof *refs);
        *refs = *ref;
    }
    *write = (struct agent_write){ lease->place, bytes, copy };
    struct wire_object value = { object->id, lease->place, size, 0, refs_count, format, 0 };
    object_arrive(agent, object, &value, lease, refs);
    return true;
}

void object_name(struct object *object, uint32_t *counter)
{
    ROOST_PRE(*counter < UINT32_MAX);
    ++*counter;
    list_remove(&object->unnamed);
}

void object_unname(struct agent *agent, struct object *object, uint32_t *counter)
{
    ROOST_PRE(*counter > 0);
    --*counter;
    if (!object_is_named(object) && list_is_empty(&object->unnamed)) {
        list_append(&agent->unnamed, &object->unnamed);
    }
}

static void destroy(struct agent *agent, struct object *object)
{
    ROOST_PRE(!object_is_named(object));
    ROOST_PRE(list_is_empty(&object->waits));
    ROOST_PRE(list_is_empty(&object->consumers));
    if (object->producer != NULL) {
        task_forget_result(agent, object->producer, object);
    }
    list_remove(&object->all);
    list_remove(&object->unknown);
    list_remove(&object->unnamed);
    id_map_remove(&agent->objects_by_id, object_id_key(object->id));
    id_map_remove(&agent->objects_by_serial, serial_key(object->serial));
    agent->counts.objects--;
    free(object->contains);
    free(object->refs);
    free(object);
}

/* Nothing names it any more: whoever still waits is told, and its own names go. */
static void let_go(struct agent *agent, struct object *object)
{
    bool was_published = object->state == OBJECT_HERE || object->state == OBJECT_FAILED;
    agent->counts.objects_here -= object->state == OBJECT_HERE;
    if (was_published) {
        set_state(agent, object, OBJECT_DYING);
    }
    wait_object_changed(agent, object);
    for (uint32_t i = 0; i < object->value.refs && object->contains != NULL; i++) {
        object_unname(agent, object->contains[i], &object->contains[i]->containers);
    }
    free(object->contains);
    object->contains = NULL;
    if (!was_published) {
        destroy(agent, object);
        return;
    }
    if (object->producer != NULL) {
        task_forget_result(agent, object->producer, object);
        object->producer = NULL;
    }
    struct agent_entry *entry = core_put(agent->out, CORE_TABLE, 0, agent_token(AGENT_TOKEN_RETIRE, object->serial),
                                         sizeof *entry);
    entry->op = AGENT_ENTRY_RETIRE;
    entry->object.id = object->id;
}

void object_sweep(struct agent *agent)
{
    while (!list_is_empty(&agent->unnamed)) {
        struct object *object = CONTAINER_OF(agent->unnamed.next, struct object, unnamed);
        list_remove(&object->unnamed);
        let_go(agent, object);
    }
}

void object_reclaimed(struct agent *agent, uint64_t serial)
{
    struct object *object = id_map_get(&agent->objects_by_serial, serial_key(serial));
    ROOST_PRE(object != NULL && object->state == OBJECT_DYING);
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
        bool is_named = object_is_named(object);
        object_fail(agent, object, ROOST_EFREED);
        if (!is_named && list_is_empty(&object->unnamed)) {
            list_append(&agent->unnamed, &object->unnamed);
        }
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
    return object->state == OBJECT_UNKNOWN || object_is_named(object) || object->state == OBJECT_DYING;
}

void objects_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, all);
        free(object->contains);
        free(object->refs);
        free(object);
    }
    list_init(&agent->objects);
}
