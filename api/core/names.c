/* names.c - who names what
 *
 * Owns the names of each scope: how often it holds them, how often they are tied.
 *
 * Happy path: need -> hold or tie -> ... -> neither -> settle: freed.
 * Failures:   no memory -> the name is not made, nothing has changed.
 * Invariants: a name exists exactly while it is held or tied. A name whose object is private is not registered with the
 *             agent; a free is said for registered names alone.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"

#include <stdlib.h>

struct client_name *name_find(const struct client_scope *scope, struct object_id id)
{
    return id_map_get(&scope->names, object_id_key(id));
}

struct client_name *name_need(struct client_scope *scope, struct object_id id)
{
    struct client_name *name = name_find(scope, id);
    if (name != NULL) {
        return name;
    }
    name = malloc(sizeof *name);
    if (name == NULL) {
        return NULL;
    }
    *name = (struct client_name){ .scope = scope, .id = id };
    if (id_map_put(&scope->names, object_id_key(id), name) != 0) {
        free(name);
        return NULL;
    }
    list_append(&scope->names_list, &name->node);
    return name;
}

static void name_end(struct client_core *core, struct client_name *name)
{
    struct client_object *object = name->object;
    id_map_remove(&name->scope->names, object_id_key(name->id));
    list_remove(&name->node);
    if (name->is_registered) {
        say_free(core, name->scope->number, name->id);
    }
    core_note(core, 10, name->id.lo);
    if (object != NULL) {
        object_orphan(core, object);
    }
    if (name->result != NULL) {
        own_result_unwanted(core, name->result);
    }
    free(name);
}

/* A container's end may end what it contains, and so on down: a list, no recursion. */
void name_settle(struct client_core *core, struct client_name *name)
{
    if (name->holds + name->ties > 0 || name->is_doomed) {
        return;
    }
    bool is_first = list_is_empty(&core->doomed);
    name->is_doomed = true;
    list_remove(&name->node);
    list_append(&core->doomed, &name->node);
    while (is_first && !list_is_empty(&core->doomed)) {
        /* the name at hand stays on the list while it ends: what it dooms is only appended */
        struct client_name *next = CONTAINER_OF(core->doomed.next, struct client_name, node);
        struct client_object *orphan = next->object;
        struct client_scope *scope = next->scope;
        if (orphan != NULL) {
            object_untie_refs(core, orphan, scope);
        }
        name_end(core, next);
    }
}

void name_untie(struct client_core *core, struct client_name *name)
{
    ROOST_INVARIANT(name != NULL && name->ties > 0);
    name->ties--;
    name_settle(core, name);
}

void scope_drop_names(struct client_core *core, struct client_scope *scope)
{
    while (!list_is_empty(&scope->names_list)) {
        struct client_name *name = CONTAINER_OF(scope->names_list.next, struct client_name, node);
        name->is_registered = false; /* the agent ends its side by itself */
        name_end(core, name);
    }
}

/* Another scope of this process made it and nobody else knows it yet. */
static void announce_foreign(struct client_core *core, const struct client_scope *scope, struct object_id id)
{
    struct client_object *object = object_find_private(core, id);
    if (object != NULL && object->name->scope != scope) {
        object_announce(core, object);
    }
    own_let_out(core, id);
}

int client_keep(struct client_core *core, uint64_t number, struct object_id id)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    struct client_name *name = name_need(scope, id);
    if (name == NULL) {
        return ROOST_ENOMEM;
    }
    if (!name->is_registered && name->object == NULL && name->result == NULL) {
        struct say_entry *entry = say_entry_new(WIRE_HOLD, sizeof entry->u.one_name);
        if (entry == NULL) {
            name_settle(core, name);
            return ROOST_ENOMEM;
        }
        announce_foreign(core, scope, id);
        scope_tell(core, scope);
        entry->u.names.scope = number;
        entry->u.names.count = 1;
        entry->u.names.ids[0] = id;
        say(core, &entry->say, SAY_ENTRY);
        name->is_registered = true;
    }
    name->holds++;
    core_note(core, 11, id.lo);
    return 0;
}

int client_free(struct client_core *core, uint64_t number, struct object_id id)
{
    struct client_scope *scope = core_scope(core, number);
    struct client_name *name = scope == NULL ? NULL : name_find(scope, id);
    if (name == NULL || name->holds == 0) {
        return ROOST_ENOENT;
    }
    name->holds--;
    core_note(core, 12, id.lo);
    name_settle(core, name);
    return 0;
}

bool client_is_named(const struct client_core *core, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        if (name_find(CONTAINER_OF(at, struct client_scope, node), id) != NULL) {
            return true;
        }
    }
    return false;
}

uint32_t client_holds(const struct client_core *core, uint64_t number, struct object_id id)
{
    const struct client_scope *scope = core_scope(core, number);
    const struct client_name *name = scope == NULL ? NULL : name_find(scope, id);
    return name == NULL ? 0 : name->holds;
}
