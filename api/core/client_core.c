/* client_core.c - scopes, and what the agent says
 *
 * Owns the core as a whole and its scopes. names.c keeps who names what, objects.c private bytes, sights.c how looks find
 * these, flights.c calls, asks.c questions, slabs.c room for small objects, outbox.c what is to be said.
 *
 * Happy path: scope begins -> (put | call | free | ask)* -> scope ends.
 * Failures:   no memory -> the call that needed it fails and nothing has changed; the agent's entries never fail.
 *             an answer to a question that is no longer asked -> dropped; room that came with it goes back.
 * Invariants: client_core_is_valid().
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"

#include <stdlib.h>
#include <string.h>

static void scope_init(struct client_core *core, struct client_scope *scope, uint64_t number, struct task_id task,
                       uint64_t prefix)
{
    ROOST_PRE(prefix != 0);
    *scope = (struct client_scope){ .number = number, .task = task, .prefix = prefix };
    list_init(&scope->names_list);
    list_append(&core->scopes, &scope->node);
}

static void scope_free(struct client_scope *scope)
{
    if (scope != NULL) {
        free(scope->untold);
        free(scope);
    }
}

int client_core_create(const struct client_core_setup *setup, struct client_core **core_out)
{
    struct client_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return ROOST_ENOMEM;
    }
    struct list_node *lists[] = { &core->scopes, &core->objects, &core->flights, &core->sayings, &core->doomed };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    slab_book_init(&core->slabs);
    calls_init(core);
    core->sights_next = 1;
    scope_init(core, &core->root, CLIENT_SCOPE, setup->root, setup->prefix);
    *core_out = core;
    return 0;
}

void client_core_destroy(struct client_core *core)
{
    if (core == NULL) {
        return;
    }
    LIST_EACH_SAFE (at, &core->scopes) {
        client_scope_end(core, CONTAINER_OF(at, struct client_scope, node)->number);
    }
    LIST_EACH_SAFE (at, &core->sayings) {
        saying_destroy(core, CONTAINER_OF(at, struct client_saying, node));
    }
    LIST_EACH_SAFE (at, &core->objects) {
        object_destroy(core, CONTAINER_OF(at, struct client_object, node));
    }
    LIST_EACH_SAFE (at, &core->flights) {
        free(CONTAINER_OF(at, struct client_flight, node));
    }
    calls_fini(core);
    names_fini(core);
    scope_free(core->spare_run);
    slab_book_fini(&core->slabs);
    id_map_fini(&core->asks_by_token);
    sights_fini(core);
    free(core);
}

struct client_scope *core_scope(const struct client_core *core, uint64_t number)
{
    LIST_EACH (at, &core->scopes) {
        struct client_scope *scope = CONTAINER_OF(at, struct client_scope, node);
        if (scope->number == number) {
            return scope;
        }
    }
    return NULL;
}

int client_scope_begin(struct client_core *core, uint64_t number, struct task_id task, uint64_t prefix)
{
    if (core_scope(core, number) != NULL) {
        return ROOST_EEXIST;
    }
    struct client_scope *scope = malloc(sizeof *scope);
    if (scope == NULL) {
        return ROOST_ENOMEM;
    }
    scope_init(core, scope, number, task, prefix);
    core_note(core, 1, number);
    return 0;
}

/* One run ends before the next one begins, as a rule, and most end without a word: the memory is used again. */
static struct client_scope *run_take(struct client_core *core)
{
    struct client_scope *scope = core->spare_run;
    core->spare_run = NULL;
    if (scope != NULL) {
        return scope;
    }
    scope = malloc(sizeof *scope);
    struct say_entry *untold = say_entry_new(WIRE_RUN, sizeof untold->u.run);
    if (scope == NULL || untold == NULL) {
        free(scope);
        free(untold);
        return NULL;
    }
    scope->untold = untold;
    return scope;
}

static void scope_drop(struct client_core *core, struct client_scope *scope)
{
    if (scope->untold != NULL && core->spare_run == NULL) {
        core->spare_run = scope;
    } else if (scope != &core->root) {
        scope_free(scope);
    }
}

int client_run_begin(struct client_core *core, uint64_t run, struct task_id task)
{
    if (core_scope(core, run) != NULL) {
        return ROOST_EEXIST;
    }
    struct client_scope *scope = run_take(core);
    if (scope == NULL) {
        return ROOST_ENOMEM;
    }
    struct say_entry *untold = scope->untold;
    scope_init(core, scope, run, task, run_prefix(task, core->root.prefix, run));
    scope->untold = untold;
    untold->u.run.run = run;
    untold->u.run.task = task;
    core_note(core, 1, run);
    return 0;
}

bool client_run_is_told(const struct client_core *core, uint64_t run)
{
    const struct client_scope *scope = core_scope(core, run);
    return scope != NULL && scope->untold == NULL;
}

void client_scope_is_again(struct client_core *core, uint64_t number)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope != NULL) {
        scope->is_again = true;
    }
}

void scope_tell(struct client_core *core, struct client_scope *scope)
{
    if (scope->untold != NULL) {
        say(core, &scope->untold->say, SAY_ENTRY);
        scope->untold = NULL;
    }
}

void client_scope_end(struct client_core *core, uint64_t number)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return;
    }
    LIST_EACH (at, &core->flights) {
        struct client_flight *flight = CONTAINER_OF(at, struct client_flight, node);
        if (flight->scope == scope) {
            flight->scope = NULL;
        }
    }
    objects_unview_scope(core, number);
    scope_drop_names(core, scope);
    sayings_drop_scope(core, number);
    list_remove(&scope->node);
    id_map_fini(&scope->names);
    scope_drop(core, scope);
    core_note(core, 2, number);
}

int client_scope_call(struct client_core *core, uint64_t number, struct task_id *parent_out, uint64_t *call_out)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    *parent_out = scope->task;
    *call_out = scope->calls++;
    core_note(core, 3, *call_out);
    return 0;
}

int client_scope_next_id(struct client_core *core, uint64_t number, struct object_id *id_out)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    struct object_id id = { scope->prefix, 0 };
    ROOST_TRY(sight_next(core, &id.lo));
    core_note(core, 4, id.lo);
    *id_out = id;
    return 0;
}

static void take_job_ended(struct client_core *core, const struct wire_job_ended *ended)
{
    core->ended = ended->status < 0 ? ended->status : ROOST_ECANCELED;
    size_t bytes = ended->text_bytes < WIRE_TEXT_BYTES_MAX ? ended->text_bytes : WIRE_TEXT_BYTES_MAX;
    memcpy(core->ended_text, ended->text, bytes);
    core->ended_text[bytes] = '\0';
}

void client_core_take(struct client_core *core, const struct wire_entry *entry)
{
    core_note(core, 5, entry->kind);
    if (entry->kind == WIRE_TAKEN) {
        flight_taken(core, entry->token);
    } else if (entry->kind == WIRE_JOB_ENDED) {
        take_job_ended(core, (const struct wire_job_ended *)(const void *)entry);
    } else {
        ask_take(core, entry);
    }
}

int client_core_ended(const struct client_core *core, const char **text_out)
{
    *text_out = core->ended_text;
    return core->ended;
}

static uint64_t list_count(const struct list_node *list)
{
    uint64_t count = 0;
    LIST_EACH (at, list) {
        count++;
    }
    return count;
}

struct client_core_counts client_core_count(const struct client_core *core)
{
    struct client_core_counts counts = { .scopes = list_count(&core->scopes),
                                         .objects = list_count(&core->objects),
                                         .slabs = core->slabs.count,
                                         .flights = list_count(&core->flights),
                                         .asks = core->asks_by_token.count,
                                         .sayings = list_count(&core->sayings) };
    LIST_EACH (at, &core->scopes) {
        counts.names += CONTAINER_OF(at, struct client_scope, node)->names.count;
    }
    return counts;
}

/* Every tie has its reason: a flight of a living scope, a private container, a look at announced bytes. */
static uint64_t reasons_to_tie(const struct client_core *core)
{
    uint64_t reasons = calls_ties(core);
    LIST_EACH (at, &core->flights) {
        const struct client_flight *flight = CONTAINER_OF(at, struct client_flight, node);
        reasons += flight->scope != NULL ? flight->ties_count : 0;
    }
    LIST_EACH (at, &core->objects) {
        const struct client_object *object = CONTAINER_OF(at, struct client_object, node);
        reasons += object->state == OBJECT_PRIVATE ? object->wire.refs : 0;
        reasons += object->state > OBJECT_LEAVING && object->name != NULL;
    }
    return reasons;
}

bool client_core_is_valid(const struct client_core *core)
{
    uint64_t ties = 0;
    LIST_EACH (at, &core->scopes) {
        const struct client_scope *scope = CONTAINER_OF(at, struct client_scope, node);
        if (list_count(&scope->names_list) != scope->names.count) {
            return false;
        }
        LIST_EACH (name_at, &scope->names_list) {
            const struct client_name *name = CONTAINER_OF(name_at, struct client_name, node);
            if (name->holds + name->ties == 0 || name->scope != scope || name_find(scope, name->id) != name ||
                (name->object != NULL && name->object->name != name)) {
                return false;
            }
            ties += name->ties;
        }
    }
    return ties == reasons_to_tie(core) && list_is_empty(&core->doomed);
}

uint64_t client_core_hash(const struct client_core *core) { return core->hash; }
