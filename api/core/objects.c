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
    if (object->state == OBJECT_PRIVATE) {
        sight_hide(core, object);
    }
    object->state = state;
    core_note(core, 20 + state, object->wire.id.lo);
}

/* ---- making ---- */

static struct client_object *object_new(struct client_core *core, const struct wire_object *wire, const roost_ref *refs,
                                        bool in_slab)
{
    struct client_object *object = calloc(1, sizeof *object);
    if (object == NULL) {
        return NULL;
    }
    ROOST_PRE(refs != NULL || wire->refs == 0);
    object->wire = *wire;
    object->in_slab = in_slab;
    object->state = OBJECT_PRIVATE;
    if (refs != NULL && wire->refs > 0) {
        object->refs = malloc(wire->refs * sizeof *refs);
        if (object->refs == NULL) {
            free(object);
            return NULL;
        }
        memcpy(object->refs, refs, wire->refs * sizeof *refs);
    }
    if (sight_take(core, object) != 0) {
        free(object->refs);
        free(object);
        return NULL;
    }
    list_init(&object->say.node);
    list_append(&core->objects, &object->node);
    return object;
}

void object_destroy(struct client_core *core, struct client_object *object)
{
    sight_give(core, object);
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
    ROOST_PRE(name->object == NULL && name->holds == 0 && wire->id.hi == scope->prefix);
    name->holds = 1;
    give_name(object, name);
    sight_show(core, object);
    core_note(core, 20, wire->id.lo);
    return 0;
}

/* ---- looking ---- */

struct client_object *object_find_private(const struct client_core *core, struct object_id id)
{
    const struct sight_slot *slot = sight_of_private(core, id);
    return slot == NULL ? NULL : slot->object;
}

void private_foresee(const struct client_core *core, struct object_id id)
{
    const struct client_object *object = object_find_private(core, id);
    if (object != NULL) {
        prefetch_lines(object, sizeof *object);
    }
}

bool client_object_is_private(const struct client_core *core, struct object_id id)
{
    return sight_of_private(core, id) != NULL;
}

bool client_object_view(struct client_core *core, struct object_id id, struct client_sight *sight_out,
                        uint64_t *pin_out)
{
    struct sight_slot *slot = sight_of_private(core, id);
    if (slot == NULL) {
        return false;
    }
    *pin_out = sight_look(slot);
    *sight_out = slot->sight;
    return true;
}

size_t client_objects_view(struct client_core *core, const roost_ref *refs, size_t count,
                           const struct client_sight *sights_out[], uint64_t pins_out[])
{
    count = count < CLIENT_VIEWS_AT_ONCE ? count : CLIENT_VIEWS_AT_ONCE;
    uintptr_t sights = client_sights(core);
    for (size_t i = 0; i < count; i++) {
        client_foresee_look(sights, refs[i].id.lo);
    }
    for (size_t i = 0; i < count; i++) {
        struct sight_slot *slot = sight_of_private(core, object_id_of(refs[i]));
        if (slot == NULL) {
            return i;
        }
        sights_out[i] = &slot->sight;
        pins_out[i] = sight_look(slot);
    }
    return count;
}

void client_objects_unview(struct client_core *core, const uint64_t *pins, size_t count)
{
    uintptr_t sights = client_sights(core);
    for (size_t i = 0; i < count; i++) {
        client_foresee_look(sights, pins[i]);
    }
    for (size_t i = 0; i < count; i++) {
        client_object_unview(core, pins[i]);
    }
}

static uint64_t *views_of(struct client_core *core, const struct client_object *object)
{
    return &sight_of(core, object)->views;
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
    struct sight_slot *slot = sight_of_pin(core, pin);
    if (slot == NULL || slot->views == 0) {
        return; /* released twice, through a copy of the view */
    }
    if (--slot->views > 0 || slot->prefix != 0) { /* others look, or it is private and stays */
        return;
    }
    struct client_object *object = slot->object;
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
        uint64_t *views = views_of(core, object);
        if (object->run != scope || *views == 0) {
            continue;
        }
        *views = 0;
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
    object->wire.stays = *views_of(core, object) > 0;
    object->refs_visited = 0;
    say(core, &object->say, SAY_OBJECT);
    if (object->in_slab) { /* after it: the slab may go back by this */
        slab_left(core, &object->wire.place, true);
    }
    object_untie_refs(core, object, name->scope); /* before the state changes; what that frees is said after it */
    object_set_state(core, object, OBJECT_SAID);
    name->is_registered = true;
    if (*views_of(core, object) > 0) {
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
    if (*views_of(core, object) > 0) {
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
