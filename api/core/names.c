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

/* ---- memory: names come and go with every call ---- */

enum { NAMES_SPARE_MAX = 16384 };

void names_fini(struct client_core *core)
{
    while (core->names_spare != NULL) {
        struct client_name *name = core->names_spare;
        core->names_spare = name->next_spare;
        free(name);
    }
}

static struct client_name *name_new(struct client_core *core)
{
    struct client_name *name = core->names_spare;
    if (name == NULL) {
        return malloc(sizeof *name);
    }
    core->names_spare = name->next_spare;
    core->names_spare_count--;
    return name;
}

static void name_drop(struct client_core *core, struct client_name *name)
{
    if (core->names_spare_count == NAMES_SPARE_MAX) {
        free(name);
        return;
    }
    name->next_spare = core->names_spare;
    core->names_spare = name;
    core->names_spare_count++;
}

/* ---- a name's life ---- */

struct client_name *name_need(struct client_core *core, struct client_scope *scope, struct object_id id)
{
    void **at = id_map_at(&scope->names, object_id_key(id));
    if (at == NULL || *at != NULL) {
        return at == NULL ? NULL : *at;
    }
    struct client_name *name = name_new(core);
    if (name == NULL) {
        id_map_remove(&scope->names, object_id_key(id));
        return NULL;
    }
    *name = (struct client_name){ .scope = scope, .id = id };
    list_append(&scope->names_list, &name->node);
    *at = name;
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
    name_drop(core, name);
}

/* A container's end may end what it contains, and so on down: a list, no recursion. */
void name_settle(struct client_core *core, struct client_name *name)
{
    if (name->holds + name->ties > 0 || name->is_doomed) {
        return;
    }
    if (name->object == NULL && name->result == NULL) { /* it only stood for what others have */
        name_end(core, name);
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

/* ---- holds ---- */

/* Another scope of this process made it, and nobody else may know of it yet. */
static void announce_foreign(struct client_core *core, const struct client_scope *scope, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        const struct client_scope *other = CONTAINER_OF(at, struct client_scope, node);
        const struct client_name *name = other == scope ? NULL : name_find(other, id);
        if (name != NULL && name->object != NULL && name->object->state == OBJECT_PRIVATE) {
            object_announce(core, name->object);
        } else if (name != NULL && name->result != NULL && !name->result->call->is_escaped) {
            call_let_out(core, name->result->call);
        }
    }
}

static int keep(struct client_core *core, struct client_scope *scope, struct object_id id)
{
    struct client_name *name = name_need(core, scope, id);
    if (name == NULL) {
        return ROOST_ENOMEM;
    }
    if (!name->is_registered && name->object == NULL && name->result == NULL) {
        announce_foreign(core, scope, id);
        scope_tell(core, scope);
        if (!say_name(core, WIRE_HOLD, scope->number, id)) {
            name_settle(core, name);
            return ROOST_ENOMEM;
        }
        name->is_registered = true;
    }
    name->holds++;
    core_note(core, 11, id.lo);
    return 0;
}

void name_foresee(const struct client_scope *scope, struct object_id id, bool is_soon)
{
    if (is_soon) {
        __builtin_prefetch(name_find(scope, id), 1);
    } else {
        id_map_prefetch(&scope->names, object_id_key(id));
    }
}

/* Their places in the map, then their names, then what those stand for: each step reads what the one before asked for. */
static void foresee(const struct client_core *core, const struct client_scope *scope, const roost_ref *refs, size_t i,
                    size_t count)
{
    if (i + LOOK_AHEAD < count) {
        name_foresee(scope, object_id_of(refs[i + LOOK_AHEAD]), false);
    }
    if (i + LOOK_AHEAD / 2 < count) {
        name_foresee(scope, object_id_of(refs[i + LOOK_AHEAD / 2]), true);
    }
    bool any = i + LOOK_AHEAD / 4 < count && core->owned_count > 0;
    const struct client_name *name = any ? name_find(scope, object_id_of(refs[i + LOOK_AHEAD / 4])) : NULL;
    if (name != NULL && name->result != NULL) {
        prefetch_lines(name->result, sizeof *name->result);
        __builtin_prefetch(name->result->call, 1);
    }
}

void client_foresee(const struct client_core *core, const roost_ref *refs, size_t i, size_t count)
{
    LIST_EACH (at, &core->scopes) {
        foresee(core, CONTAINER_OF(at, struct client_scope, node), refs, i, count);
    }
}

static bool give_up(struct client_core *core, const struct client_scope *scope, struct object_id id)
{
    struct client_name *name = name_find(scope, id);
    if (name == NULL || name->holds == 0) {
        return false;
    }
    name->holds--;
    core_note(core, 12, id.lo);
    name_settle(core, name);
    return true;
}

size_t client_free_many(struct client_core *core, uint64_t number, const roost_ref *refs, size_t count)
{
    struct client_scope *scope = core_scope(core, number);
    for (size_t i = 0; i < count; i++) {
        if (scope != NULL) {
            foresee(core, scope, refs, i, count);
        }
        if (scope == NULL || !give_up(core, scope, object_id_of(refs[i]))) {
            return i;
        }
    }
    return count;
}

int client_keep_many(struct client_core *core, uint64_t number, const roost_ref *refs, size_t count)
{
    struct client_scope *scope = core_scope(core, number);
    int status = scope == NULL ? ROOST_ESTATE : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        foresee(core, scope, refs, i, count);
        status = keep(core, scope, object_id_of(refs[i]));
        if (status != 0) {
            client_free_many(core, number, refs, i);
        }
    }
    return status;
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
