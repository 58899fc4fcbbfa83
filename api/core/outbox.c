/* outbox.c - what is to be said to the agent, in order
 *
 * Owns the queue of sayings. Each kind knows how to write itself as one or more entries; what does not fit now goes on
 * where it stopped.
 *
 * Happy path: say -> emit -> written -> gone.
 * Failures:   no memory for a free or for giving room back -> that stays the client's until it ends.
 * Invariants: entries leave in the order of say().
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"

#include <stdlib.h>
#include <string.h>

void say(struct client_core *core, struct client_saying *saying, enum saying_kind kind)
{
    saying->kind = kind;
    list_append(&core->sayings, &saying->node);
}

struct say_entry *say_entry_new(uint32_t kind, size_t bytes)
{
    size_t whole = offsetof(struct say_entry, u) + bytes;
    struct say_entry *entry = calloc(1, whole > sizeof *entry ? whole : sizeof *entry);
    if (entry != NULL) {
        entry->u.head = (struct wire_entry){ kind, (uint32_t)bytes, 0 };
    }
    return entry;
}

void say_room_back(struct client_core *core, const struct wire_place *place)
{
    struct say_entry *entry = say_entry_new(WIRE_ROOM_BACK, sizeof entry->u.back);
    if (entry != NULL) {
        entry->u.back.place = *place;
        say(core, &entry->say, SAY_ENTRY);
    }
}

/* The batch at the end of the queue that takes one more, or NULL. */
static struct say_names *open_batch(const struct client_core *core, uint32_t kind, uint64_t scope)
{
    if (list_is_empty(&core->sayings)) {
        return NULL;
    }
    struct client_saying *last = CONTAINER_OF(core->sayings.previous, struct client_saying, node);
    struct say_names *names = CONTAINER_OF(last, struct say_names, say);
    bool is_open = last->kind == SAY_NAMES && names->kind == kind && names->scope == scope;
    return is_open && names->count < WIRE_REFS_PER_ENTRY ? names : NULL;
}

bool say_name(struct client_core *core, uint32_t kind, uint64_t scope, struct object_id id)
{
    struct say_names *names = open_batch(core, kind, scope);
    if (names == NULL) {
        names = malloc(sizeof *names);
        if (names == NULL) {
            return false;
        }
        names->kind = kind;
        names->scope = scope;
        names->count = 0;
        say(core, &names->say, SAY_NAMES);
    }
    names->ids[names->count++] = id;
    return true;
}

void say_free(struct client_core *core, uint64_t scope, struct object_id id) { say_name(core, WIRE_FREE, scope, id); }

void saying_destroy(struct client_core *core, struct client_saying *saying)
{
    list_remove(&saying->node);
    switch ((enum saying_kind)saying->kind) {
    case SAY_ENTRY:
        free(CONTAINER_OF(saying, struct say_entry, say));
        return;
    case SAY_NAMES:
        free(CONTAINER_OF(saying, struct say_names, say));
        return;
    case SAY_OBJECT:
        object_destroy(core, CONTAINER_OF(saying, struct client_object, say));
        return;
    case SAY_ASK:
        return; /* the host's */
    }
}

void sayings_drop_scope(struct client_core *core, uint64_t scope)
{
    LIST_EACH_SAFE (at, &core->sayings) {
        struct client_saying *saying = CONTAINER_OF(at, struct client_saying, node);
        bool is_its = (saying->kind == SAY_NAMES && CONTAINER_OF(saying, struct say_names, say)->scope == scope) ||
                      (saying->kind == SAY_OBJECT && CONTAINER_OF(saying, struct client_object, say)->run == scope);
        if (is_its) {
            saying_destroy(core, saying);
        }
    }
}

bool client_core_has_more(const struct client_core *core) { return !list_is_empty(&core->sayings); }

bool client_core_is_urgent(const struct client_core *core)
{
    if (list_is_empty(&core->sayings)) {
        return false;
    }
    struct client_saying *first = CONTAINER_OF(core->sayings.next, struct client_saying, node);
    const struct say_names *names = CONTAINER_OF(first, struct say_names, say);
    bool are_frees = first->kind == SAY_NAMES && names->kind == WIRE_FREE;
    return !are_frees || first->node.next != &core->sayings || names->count >= CLIENT_FREES_LAZY;
}

/* ---- writing: each returns false when what is left did not fit ---- */

static bool fits(const struct core_out *out, size_t bytes)
{
    return sizeof(struct core_command) + align_up(bytes, 16) <= core_out_left(out);
}

static void *put(struct core_out *out, uint32_t kind, size_t bytes)
{
    size_t padded = align_up(bytes, 8);
    if (!fits(out, padded)) {
        return NULL;
    }
    struct wire_entry *head = core_put(out, CORE_REPLY, 0, 0, padded);
    *head = (struct wire_entry){ kind, (uint32_t)padded, 0 };
    return head;
}

static bool emit_entry(const struct say_entry *entry, struct core_out *out)
{
    void *to = put(out, entry->u.head.kind, entry->u.head.bytes);
    if (to == NULL) {
        return false;
    }
    memcpy(to, &entry->u, entry->u.head.bytes);
    return true;
}

static bool emit_names(const struct say_names *names, struct core_out *out)
{
    struct wire_names *to = put(out, names->kind, sizeof *to + names->count * sizeof to->ids[0]);
    if (to == NULL) {
        return false;
    }
    to->scope = names->scope;
    to->count = names->count;
    memcpy(to->ids, names->ids, names->count * sizeof to->ids[0]);
    return true;
}

static uint32_t next_chunk(uint32_t total, uint32_t said)
{
    return total - said < WIRE_REFS_PER_ENTRY ? total - said : WIRE_REFS_PER_ENTRY;
}

static bool emit_refs(struct client_object *object, struct core_out *out)
{
    while (object->refs_visited < object->wire.refs) {
        uint32_t count = next_chunk(object->wire.refs, object->refs_visited);
        struct wire_refs *to = put(out, WIRE_REFS, sizeof *to + count * sizeof to->refs[0]);
        if (to == NULL) {
            return false;
        }
        to->container = object->wire.id;
        to->count = count;
        memcpy(to->refs, object->refs + object->refs_visited, count * sizeof to->refs[0]);
        object->refs_visited += count;
    }
    return true;
}

static bool emit_object(struct client_object *object, struct core_out *out)
{
    if (!emit_refs(object, out)) {
        return false;
    }
    if (object->is_result) {
        struct wire_result *to = put(out, WIRE_RESULT, sizeof *to);
        if (to == NULL) {
            return false;
        }
        to->run = object->run;
        to->index = object->index;
        to->object = object->wire;
        return true;
    }
    struct wire_announce *to = put(out, WIRE_ANNOUNCE, sizeof *to);
    if (to == NULL) {
        return false;
    }
    to->scope = object->run;
    to->object = object->wire;
    to->task = object->task;
    to->index = object->index;
    return true;
}

static bool emit_wait(struct client_ask *ask, struct core_out *out)
{
    do {
        uint32_t count = next_chunk(ask->total, ask->said);
        struct wire_wait *to = put(out, WIRE_WAIT, sizeof *to + count * sizeof to->refs[0]);
        if (to == NULL) {
            return false;
        }
        to->head.token = ask->token;
        to->scope = ask->scope;
        to->total = ask->total;
        to->wanted = ask->wanted;
        to->flags = ask->flags;
        to->bell = ask->bell;
        to->count = count;
        memcpy(to->refs, ask->refs + ask->said, count * sizeof to->refs[0]);
        ask->said += count;
    } while (ask->said < ask->total);
    return true;
}

static bool emit_ask(struct client_ask *ask, struct core_out *out)
{
    if (ask->kind == WIRE_WAIT) {
        return emit_wait(ask, out);
    }
    if (ask->kind == WIRE_ROOM) {
        struct wire_room_request *to = put(out, WIRE_ROOM, sizeof *to);
        if (to == NULL) {
            return false;
        }
        to->head.token = ask->token;
        to->bytes = ask->bytes;
        to->purpose = ask->purpose;
        to->bell = ask->bell;
        to->scope = ask->scope;
        return true;
    }
    if (ask->kind == WIRE_LEASE) {
        struct wire_lease *to = put(out, WIRE_LEASE, sizeof *to);
        if (to == NULL) {
            return false;
        }
        to->head.token = ask->token;
        to->scope = ask->scope;
        to->bell = ask->bell;
        return true;
    }
    struct wire_ask *to = put(out, ask->kind, sizeof *to);
    if (to == NULL) {
        return false;
    }
    to->head.token = ask->token;
    to->bell = ask->bell;
    if (ask->kind == WIRE_LOCATE) {
        to->ref = ask->refs[0];
    }
    return true;
}

/* Wholly written? Then it is off the queue, and gone unless it is the host's. */
static bool emit_one(struct client_core *core, struct client_saying *saying, struct core_out *out)
{
    bool is_done = false;
    switch ((enum saying_kind)saying->kind) {
    case SAY_ENTRY:
        is_done = emit_entry(CONTAINER_OF(saying, struct say_entry, say), out);
        break;
    case SAY_NAMES:
        is_done = emit_names(CONTAINER_OF(saying, struct say_names, say), out);
        break;
    case SAY_OBJECT:
        is_done = emit_object(CONTAINER_OF(saying, struct client_object, say), out);
        if (is_done) {
            object_said(core, CONTAINER_OF(saying, struct client_object, say));
        }
        return is_done;
    case SAY_ASK:
        is_done = emit_ask(CONTAINER_OF(saying, struct client_ask, say), out);
        break;
    }
    if (is_done) {
        saying_destroy(core, saying);
    }
    return is_done;
}

/* So much of what is said next is asked for: an object, as a rule. */
enum { SAYING_BYTES = sizeof(struct client_object) };

void client_core_emit(struct client_core *core, struct core_out *out)
{
    ROOST_PRE(core_out_left(out) >= CLIENT_OUT_BYTES_MAX);
    while (!list_is_empty(&core->sayings)) {
        prefetch_lines(core->sayings.next->next, SAYING_BYTES);
        if (!emit_one(core, CONTAINER_OF(core->sayings.next, struct client_saying, node), out)) {
            return;
        }
    }
}
