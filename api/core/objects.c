/* objects.c - bytes that only this process knows of
 *
 *                 add                 announce              its turn has come
 *     (nothing) ------> PRIVATE ------> LEAVING ------> SAID ------> gone, the agent's
 *                          |      what it contains first   |
 *                          | last name gone                +--viewed--> ANNOUNCED --last look over--> gone
 *                          +--------> gone, or DEAD while viewed ------last look over--> gone
 *
 * Happy path: a put is added, its name goes into a call, the object is announced before the call.
 * Failures:   none after add: announcing needs no memory.
 * Invariants: a private object has one name, in the scope that made it, and ties what it contains in that scope. Bytes
 *             that somebody looks at stay where they are: of a dead object they are not given back, of an announced one
 *             the name stays tied, so that the agent, which does not move what is announced with `stays`, is told late.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"

#include <stdlib.h>
#include <string.h>

#define PIN_PRIVATE (UINT64_C(1) << 63)
enum { PIN_GENERATIONS = 0x7fffffff, PINS_FIRST = 64 };

static void object_set_state(struct client_core *core, struct client_object *object, enum object_state state)
{
    static const uint8_t allowed[] = {
        [OBJECT_PRIVATE] = 1 << OBJECT_LEAVING | 1 << OBJECT_DEAD,
        [OBJECT_LEAVING] = 1 << OBJECT_SAID,
        [OBJECT_SAID] = 1 << OBJECT_ANNOUNCED,
        [OBJECT_ANNOUNCED] = 0,
        [OBJECT_DEAD] = 0,
    };
    ROOST_INVARIANT((allowed[object->state] >> state & 1) != 0);
    object->state = state;
    core_note(core, 20 + state, object->wire.id.lo);
}

/* ---- pins: how a look at a private object is named outside ---- */

static int pin_slot_take(struct client_core *core, struct client_object *object)
{
    if (core->pins_free == PIN_NONE) {
        uint32_t count = core->pins_count == 0 ? PINS_FIRST : core->pins_count * 2;
        struct pin_slot *pins = realloc(core->pins, count * sizeof *pins);
        if (pins == NULL) {
            return ROOST_ENOMEM;
        }
        for (uint32_t i = core->pins_count; i < count; i++) {
            pins[i] = (struct pin_slot){ NULL, 1, i + 1 < count ? i + 1 : PIN_NONE };
        }
        core->pins_free = core->pins_count;
        core->pins_count = count;
        core->pins = pins;
    }
    object->pin_index = core->pins_free;
    struct pin_slot *slot = &core->pins[object->pin_index];
    core->pins_free = slot->next_free;
    slot->object = object;
    object->pin_generation = slot->generation;
    return 0;
}

static void pin_slot_give(struct client_core *core, struct client_object *object)
{
    struct pin_slot *slot = &core->pins[object->pin_index];
    slot->object = NULL;
    slot->generation = slot->generation % PIN_GENERATIONS + 1;
    slot->next_free = core->pins_free;
    core->pins_free = object->pin_index;
}

/* ---- making ---- */

static struct client_object *object_new(struct client_core *core, const struct wire_object *wire, const roost_ref *refs,
                                        bool in_slab)
{
    struct client_object *object = calloc(1, sizeof *object);
    if (object == NULL) {
        return NULL;
    }
    object->wire = *wire;
    object->in_slab = in_slab;
    object->state = OBJECT_PRIVATE;
    if (wire->refs > 0) {
        object->refs = malloc(wire->refs * sizeof *refs);
    }
    if ((wire->refs > 0 && object->refs == NULL) || pin_slot_take(core, object) != 0) {
        free(object->refs);
        free(object);
        return NULL;
    }
    if (wire->refs > 0) {
        memcpy(object->refs, refs, wire->refs * sizeof *refs);
    }
    list_init(&object->say.node);
    list_append(&core->objects, &object->node);
    return object;
}

void object_destroy(struct client_core *core, struct client_object *object)
{
    pin_slot_give(core, object);
    list_remove(&object->node);
    list_remove(&object->say.node);
    core->owned_count -= !task_id_is_none(object->task);
    free(object->refs);
    free(object);
}

static int object_tie_refs(struct client_core *core, struct client_object *object, struct client_scope *scope)
{
    for (uint32_t i = 0; i < object->wire.refs; i++) {
        struct client_name *name = name_need(core, scope, object_id_of(object->refs[i]));
        if (name == NULL) {
            while (i-- > 0) {
                name_untie(core, name_find(scope, object_id_of(object->refs[i])));
            }
            return ROOST_ENOMEM;
        }
        name->ties++;
    }
    return 0;
}

void object_untie_refs(struct client_core *core, struct client_object *object, struct client_scope *scope)
{
    if (object->state != OBJECT_PRIVATE && object->state != OBJECT_LEAVING) {
        return;
    }
    for (uint32_t i = 0; i < object->wire.refs; i++) {
        name_untie(core, name_find(scope, object_id_of(object->refs[i])));
    }
}

static void give_name(struct client_object *object, struct client_name *name)
{
    name->object = object;
    name->is_made_here = object->in_slab;
    object->name = name;
    object->run = name->scope->number;
}

struct client_object *object_adopt(struct client_core *core, const struct wire_object *wire, bool in_slab,
                                   struct client_name *name)
{
    struct client_object *object = object_new(core, wire, NULL, in_slab);
    if (object != NULL) {
        give_name(object, name);
    }
    return object;
}

int client_object_add(struct client_core *core, uint64_t number, const struct wire_object *wire, const roost_ref *refs,
                      bool in_slab)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    struct client_object *object = object_new(core, wire, refs, in_slab);
    if (object == NULL) {
        return ROOST_ENOMEM;
    }
    struct client_name *name = name_need(core, scope, wire->id);
    if (name == NULL || object_tie_refs(core, object, scope) != 0) {
        object_destroy(core, object);
        if (name != NULL) {
            name_settle(core, name);
        }
        return ROOST_ENOMEM;
    }
    ROOST_PRE(name->object == NULL && name->holds == 0);
    name->holds = 1;
    give_name(object, name);
    core_note(core, 20, wire->id.lo);
    return 0;
}

/* ---- looking ---- */

struct client_object *object_find_private(const struct client_core *core, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        const struct client_name *name = name_find(CONTAINER_OF(at, struct client_scope, node), id);
        if (name != NULL && name->object != NULL && name->object->state == OBJECT_PRIVATE) {
            return name->object;
        }
    }
    return NULL;
}

bool client_object_is_private(const struct client_core *core, struct object_id id)
{
    return object_find_private(core, id) != NULL;
}

static uint64_t object_view(struct client_core *core, struct client_object *object)
{
    object->views++;
    __builtin_prefetch(&core->pins[object->pin_index]); /* for the release */
    return PIN_PRIVATE | (uint64_t)object->pin_generation << 32 | object->pin_index;
}

bool client_object_view(struct client_core *core, struct object_id id, struct wire_object *wire_out, uint64_t *pin_out)
{
    struct client_object *object = object_find_private(core, id);
    if (object == NULL) {
        return false;
    }
    *pin_out = object_view(core, object);
    *wire_out = object->wire;
    return true;
}

/* ---- looking at many: each step asks for what the next one reads ---- */

static void prefetch_slots(const struct client_core *core, const roost_ref *refs, size_t count)
{
    LIST_EACH (at, &core->scopes) {
        for (size_t i = 0; i < count; i++) {
            id_map_prefetch(&CONTAINER_OF(at, struct client_scope, node)->names, object_id_key(object_id_of(refs[i])));
        }
    }
}

/* Until one has no name in any scope. */
static size_t find_names(const struct client_core *core, const roost_ref *refs, size_t count,
                         struct client_name *names_out[CLIENT_VIEWS_AT_ONCE])
{
    for (size_t i = 0; i < count; i++) {
        struct client_name *name = NULL;
        for (struct list_node *at = core->scopes.next; name == NULL && at != &core->scopes; at = at->next) {
            name = name_find(CONTAINER_OF(at, struct client_scope, node), object_id_of(refs[i]));
        }
        if (name == NULL) {
            return i;
        }
        __builtin_prefetch(&name->object);
        names_out[i] = name;
    }
    return count;
}

size_t client_objects_view(struct client_core *core, const roost_ref *refs, size_t count,
                           const struct wire_object *objects_out[], uint64_t pins_out[])
{
    struct client_name *names[CLIENT_VIEWS_AT_ONCE];
    size_t seen = 0;
    count = count < CLIENT_VIEWS_AT_ONCE ? count : CLIENT_VIEWS_AT_ONCE;
    prefetch_slots(core, refs, count);
    count = find_names(core, refs, count, names);
    for (size_t i = 0; i < count && names[i]->object != NULL; i++) {
        prefetch_lines(names[i]->object, sizeof *names[i]->object);
        seen++;
    }
    for (size_t i = 0; i < seen; i++) {
        __builtin_prefetch(&core->pins[names[i]->object->pin_index]);
    }
    for (size_t i = 0; i < seen; i++) {
        if (names[i]->object->state != OBJECT_PRIVATE) {
            return i;
        }
        objects_out[i] = &names[i]->object->wire;
        pins_out[i] = object_view(core, names[i]->object);
    }
    return seen;
}

void client_objects_unview(struct client_core *core, const uint64_t *pins, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(&core->pins[(uint32_t)pins[i] < core->pins_count ? (uint32_t)pins[i] : 0]);
    }
    for (size_t i = 0; i < count; i++) {
        bool is_known = (pins[i] & PIN_PRIVATE) != 0 && (uint32_t)pins[i] < core->pins_count;
        if (is_known && core->pins[(uint32_t)pins[i]].object != NULL) {
            prefetch_lines(core->pins[(uint32_t)pins[i]].object, sizeof(struct client_object));
        }
    }
    for (size_t i = 0; i < count; i++) {
        if ((pins[i] & PIN_PRIVATE) != 0) {
            client_object_unview(core, pins[i]);
        }
    }
}

/* The agent may now free or move what it was told stays. */
static void object_release_name(struct client_core *core, struct client_object *object)
{
    struct client_name *name = object->name;
    if (name != NULL) {
        object->name = NULL;
        name->object = NULL;
        name_untie(core, name);
    }
}

static void object_give_back(struct client_core *core, struct client_object *object)
{
    client_room_drop(core, &object->wire.place, object->in_slab);
    object_destroy(core, object);
}

void client_object_unview(struct client_core *core, uint64_t pin)
{
    uint32_t index = (uint32_t)pin, generation = (uint32_t)(pin >> 32) & PIN_GENERATIONS;
    if (index >= core->pins_count || core->pins[index].generation != generation || core->pins[index].object == NULL ||
        core->pins[index].object->views == 0) {
        return; /* released twice, through a copy of the view */
    }
    struct client_object *object = core->pins[index].object;
    if (--object->views > 0) {
        return;
    }
    if (object->state == OBJECT_DEAD) {
        object_give_back(core, object);
    } else if (object->state == OBJECT_ANNOUNCED) {
        object_release_name(core, object);
        object_destroy(core, object);
    } else if (object->state == OBJECT_SAID) {
        object_release_name(core, object);
    }
}

void objects_unview_scope(struct client_core *core, uint64_t scope)
{
    LIST_EACH_SAFE (at, &core->objects) {
        struct client_object *object = CONTAINER_OF(at, struct client_object, node);
        if (object->run != scope || object->views == 0) {
            continue;
        }
        object->views = 0;
        if (object->state == OBJECT_DEAD) {
            object_give_back(core, object);
        } else if (object->state != OBJECT_PRIVATE) {
            object->name->object = NULL;
            object->name = NULL;
            if (object->state == OBJECT_ANNOUNCED) {
                object_destroy(core, object);
            }
        }
    }
}

/* ---- leaving ---- */

static struct client_object *next_private_below(struct client_core *core, struct client_object *object)
{
    while (object->refs_visited < object->wire.refs) {
        struct object_id id = object_id_of(object->refs[object->refs_visited++]);
        struct client_object *below = object_find_private(core, id);
        if (below != NULL) {
            return below;
        }
        own_let_out(core, id);
    }
    return NULL;
}

/* Everything below it has been said. */
static void object_leave(struct client_core *core, struct client_object *object)
{
    struct client_name *name = object->name;
    scope_tell(core, name->scope);
    object->wire.stays = object->views > 0;
    object->refs_visited = 0;
    say(core, &object->say, SAY_OBJECT);
    if (object->in_slab) { /* after it: the slab may go back by this */
        slab_left(core, &object->wire.place, true);
    }
    object_untie_refs(core, object, name->scope); /* before the state changes; what that frees is said after it */
    object_set_state(core, object, OBJECT_SAID);
    name->is_registered = true;
    if (object->views > 0) {
        name->ties++;
    } else {
        object->name = NULL;
        name->object = NULL;
    }
}

void object_announce(struct client_core *core, struct client_object *object)
{
    ROOST_PRE(object->state == OBJECT_PRIVATE);
    object->above = NULL;
    for (struct client_object *top = object; top != NULL;) {
        if (top->state == OBJECT_PRIVATE) {
            object_set_state(core, top, OBJECT_LEAVING);
        }
        struct client_object *below = next_private_below(core, top), *above = top->above;
        if (below != NULL) {
            below->above = top;
            top = below;
        } else {
            object_leave(core, top);
            top = above;
        }
    }
}

void object_said(struct client_core *core, struct client_object *object)
{
    if (object->name != NULL) {
        list_remove(&object->say.node);
        free(object->refs);
        object->refs = NULL;
        object_set_state(core, object, OBJECT_ANNOUNCED);
    } else {
        object_destroy(core, object);
    }
}

void object_orphan(struct client_core *core, struct client_object *object)
{
    ROOST_PRE(object->state == OBJECT_PRIVATE);
    object->name = NULL;
    if (object->views > 0) {
        object_set_state(core, object, OBJECT_DEAD);
    } else {
        object_give_back(core, object);
    }
}

int client_result(struct client_core *core, uint64_t run, uint32_t index, const struct wire_object *wire,
                  const roost_ref *refs, bool in_slab)
{
    struct client_scope *scope = core_scope(core, run);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    struct client_object *object = object_new(core, wire, refs, in_slab);
    if (object == NULL) {
        return ROOST_ENOMEM;
    }
    object->is_result = true;
    object->run = run;
    object->index = index;
    object_set_state(core, object, OBJECT_LEAVING);
    for (struct client_object *below = next_private_below(core, object); below != NULL;
         below = next_private_below(core, object)) {
        object_announce(core, below);
    }
    object->refs_visited = 0;
    scope_tell(core, scope);
    say(core, &object->say, SAY_OBJECT);
    if (object->in_slab) { /* after it: the slab may go back by this */
        slab_left(core, &object->wire.place, true);
    }
    object_set_state(core, object, OBJECT_SAID);
    return 0;
}
