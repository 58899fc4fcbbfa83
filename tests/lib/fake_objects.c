/* fake_objects.c - the fake agent's objects
 *
 * Owns the entries of the table, the bytes of the store, who holds what, and what is forgotten once nobody names it; and how a
 * client is answered. */
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

/* ---- saying ---- */

struct doorbell *fake_bell(struct client *client, uint32_t bell)
{
    CHECK(bell < CLIENT_DOORBELLS);
    return &client->bells->of[bell].doorbell;
}

void *fake_reply_begin(struct client *client, uint32_t kind, size_t bytes, uint64_t token)
{
    struct wire_entry *entry = ring_reserve(&client->replies, align_up(bytes, 8));
    CHECK(entry != NULL);
    memset(entry, 0, align_up(bytes, 8));
    *entry = (struct wire_entry){ kind, (uint32_t)align_up(bytes, 8), token };
    return entry;
}

void fake_reply_end(struct client *client, uint32_t bell)
{
    ring_commit(&client->replies);
    doorbell_ring(fake_bell(client, bell));
}

/* ---- objects ---- */

struct object *fake_object_find(struct fake_agent *agent, struct object_id id)
{
    return id_map_get(&agent->ids, object_id_key(id));
}

struct object *fake_object_need(struct fake_agent *agent, struct object_id id)
{
    struct object *object = fake_object_find(agent, id);
    if (object == NULL) {
        object = calloc(1, sizeof *object);
        object->id = id;
        list_init(&object->holders);
        list_append(&agent->objects, &object->node);
        agent->names_changed = true;
        CHECK_EQ(id_map_put(&agent->ids, object_id_key(id), object), 0);
    }
    return object;
}

void fake_hold(struct fake_agent *agent, struct object_id id, uint32_t client, uint64_t scope)
{
    struct object *object = fake_object_need(agent, id);
    LIST_EACH (at, &object->holders) {
        struct holder *holder = CONTAINER_OF(at, struct holder, node);
        if (holder->client == client && holder->scope == scope) {
            return;
        }
    }
    struct holder *holder = calloc(1, sizeof *holder);
    holder->client = client;
    holder->scope = scope;
    list_append(&object->holders, &holder->node);
    if (scope != 0) {
        agent->clients[client].task_holds++;
    }
}

bool fake_drop(struct fake_agent *agent, struct object *object, uint32_t client, uint64_t scope)
{
    LIST_EACH_SAFE (at, &object->holders) {
        struct holder *holder = CONTAINER_OF(at, struct holder, node);
        if (holder->client == client && holder->scope == scope) {
            list_remove(&holder->node);
            free(holder);
            if (scope != 0) {
                agent->clients[client].task_holds--;
            }
            agent->names_changed = true;
            return true;
        }
    }
    return false;
}

struct slab *fake_slab_find(struct fake_agent *agent, uint64_t offset)
{
    LIST_EACH (at, &agent->slabs) {
        struct slab *slab = CONTAINER_OF(at, struct slab, node);
        if (offset >= slab->place.offset && offset < slab->place.offset + slab->place.bytes) {
            return slab;
        }
    }
    return NULL;
}

void fake_slab_settle(struct fake_agent *agent, struct slab *slab)
{
    if (slab->is_back && slab->objects == 0) {
        extent_free(&agent->extents, slab->place.offset);
        list_remove(&slab->node);
        free(slab);
    }
}

void fake_object_give_back(struct fake_agent *agent, const struct object *object)
{
    struct slab *slab = fake_slab_find(agent, object->place.offset);
    if (slab != NULL) {
        slab->objects--;
        fake_slab_settle(agent, slab);
    } else {
        extent_free(&agent->extents, object->place.offset);
    }
}

void fake_object_enter(struct fake_agent *agent, struct object *object)
{
    const struct table_entry entry = { .id = object->id,
                                       .offset = object->place.offset,
                                       .size = object->size,
                                       .state = TABLE_SEALED,
                                       .format = (uint8_t)object->format,
                                       .refs = object->refs_count,
                                       .columns = object->table_index };
    CHECK_EQ(table_insert(&agent->table, &entry, &object->table_index), 0);
    object->is_sealed = true;
    for (uint32_t i = 0; i < object->refs_count; i++) {
        fake_object_need(agent, object_id_of(object->refs[i]))->kept++;
    }
}

/* The bytes of an object that a client has written. columns travel in table_index until it is entered. */
void fake_object_take(struct fake_agent *agent, struct client *client, const struct wire_object *wire,
                      struct object *object)
{
    CHECK(wire->refs == client->said_refs_count);
    struct slab *slab = fake_slab_find(agent, wire->place.offset);
    uint64_t bytes = wire_object_bytes(wire->size, wire->columns, wire->refs);
    CHECK(bytes <= wire->place.bytes);
    if (slab != NULL) {
        slab->objects++;
    } else {
        extent_shrink(&agent->extents, wire->place.offset, bytes == 0 ? 1 : bytes);
    }
    object->place = wire->place;
    object->size = wire->size;
    object->format = (enum table_format)wire->format;
    object->refs_count = wire->refs;
    object->refs = client->said_refs;
    object->table_index = wire->columns;
    client->said_refs = NULL;
    client->said_refs_count = 0;
}

/* An object of the agent's own. */
void fake_object_make(struct fake_agent *agent, struct object *object, const void *data, size_t size,
                      enum table_format format)
{
    uint64_t offset;
    CHECK_EQ(extent_alloc(&agent->extents, size == 0 ? 1 : size, 64, &offset), 0);
    memcpy(agent->segment + offset, data, size);
    object->place = (struct wire_place){ offset, size, 0, 0 };
    object->size = size;
    object->format = format;
    object->table_index = 0;
    fake_object_enter(agent, object);
}

void fake_object_fail(struct fake_agent *agent, struct object *object, const struct wire_failure *failure)
{
    object->failed = failure->status;
    fake_object_make(agent, object, failure, sizeof *failure, TABLE_ERROR);
}

static bool is_pinned(struct fake_agent *agent, uint64_t name)
{
    struct pins_set set;
    CHECK_EQ(pins_set_init(&set, 1), 0);
    pins_set_add(&set, name);
    for (int c = 0; c < CLIENTS; c++) {
        for (uint32_t page = 0; page < agent->clients[c].pins_count; page++) {
            pins_set_scan(&set, agent->clients[c].pins[page], page);
        }
    }
    bool pinned = pins_set_is_pinned(&set, name);
    pins_set_fini(&set);
    return pinned;
}

/* What nobody names goes; what only it contained, in the next round. */
bool fake_objects_forget(struct fake_agent *agent)
{
    bool any = false, is_due = agent->names_changed;
    agent->names_changed = false;
    LIST_EACH_SAFE (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, node);
        if (!is_due) {
            break;
        }
        if (!list_is_empty(&object->holders) || object->kept > 0) {
            continue;
        }
        any = true;
        id_map_remove(&agent->ids, object_id_key(object->id));
        list_remove(&object->node);
        for (uint32_t i = 0; object->is_sealed && i < object->refs_count; i++) {
            fake_object_need(agent, object_id_of(object->refs[i]))->kept--;
            agent->names_changed = true;
        }
        free(object->refs);
        object->refs = NULL;
        if (object->is_sealed) {
            object->pin_name = pins_name(object->table_index, table_retire(&agent->table, object->table_index));
            list_append(&agent->retired, &object->node);
        } else {
            free(object);
        }
    }
    LIST_EACH_SAFE (at, &agent->retired) {
        struct object *object = CONTAINER_OF(at, struct object, node);
        if (!is_pinned(agent, object->pin_name)) {
            table_remove(&agent->table, object->table_index);
            fake_object_give_back(agent, object);
            list_remove(&object->node);
            free(object);
            any = true;
        }
    }
    return any;
}
