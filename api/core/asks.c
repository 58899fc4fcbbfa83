/* asks.c - questions to the agent and their answers
 *
 * Owns the book of questions, by token; the memory of each is the host's.
 *
 * Happy path: ask -> said -> answered, in one or more entries -> done -> forget.
 * Failures:   an answer whose numbers do not fit the question, or that nobody waits for -> dropped; room goes back.
 *             no memory for a list -> done, with ROOST_ENOMEM.
 * Invariants: a question is done once, and nothing touches it afterwards.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"
#include "common/error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct id_key key_of(uint64_t token) { return (struct id_key){ 1, token }; }

int client_ask(struct client_core *core, struct client_ask *ask)
{
    ROOST_PRE(ask->kind == WIRE_ROOM || ask->kind == WIRE_WAIT || ask->kind == WIRE_LOCATE || ask->kind == WIRE_NODES ||
              ask->kind == WIRE_LEASE);
    if (ask->kind == WIRE_WAIT && core->waited + ask->total > CLIENT_WAITED_MAX) {
        return error_set(ROOST_EBUSY,
                         "%" PRIu64 " refs are waited for at once, and %u more would be over the limit of %d",
                         core->waited, ask->total, CLIENT_WAITED_MAX);
    }
    ask->token = core->tokens + 1;
    if (id_map_put(&core->asks_by_token, key_of(ask->token), ask) != 0) {
        return error_set(ROOST_ENOMEM, "no memory for a question");
    }
    core->waited += ask->kind == WIRE_WAIT ? ask->total : 0;
    core->tokens++;
    ask->items = NULL;
    ask->items_count = ask->items_capacity = ask->said = ask->answered = 0;
    ask->status = 0;
    ask->done = false;
    struct client_scope *scope = ask->kind == WIRE_WAIT ? core_scope(core, ask->scope) : NULL;
    if (scope != NULL) {
        scope_tell(core, scope);
    }
    for (uint32_t i = 0; ask->kind == WIRE_WAIT && i < ask->total; i++) {
        own_let_out(core, object_id_of(ask->refs[i])); /* it is asked about */
    }
    say(core, &ask->say, SAY_ASK);
    core_note(core, 50, ask->token);
    return 0;
}

int client_unwait(struct client_core *core, const struct client_ask *ask)
{
    struct say_entry *entry = say_entry_new(WIRE_UNWAIT, sizeof entry->u.ask);
    if (entry == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a question");
    }
    entry->u.head.token = ask->token;
    say(core, &entry->say, SAY_ENTRY);
    return 0;
}

int client_prefetch(struct client_core *core, roost_ref ref)
{
    struct say_entry *entry = say_entry_new(WIRE_PREFETCH, sizeof entry->u.ask);
    if (entry == NULL) {
        return ROOST_ENOMEM;
    }
    entry->u.ask.ref = ref;
    say(core, &entry->say, SAY_ENTRY);
    return 0;
}

/* It is open no more: answered, or given up. */
static void strike(struct client_core *core, const struct client_ask *ask)
{
    if (id_map_remove(&core->asks_by_token, key_of(ask->token)) != NULL && ask->kind == WIRE_WAIT) {
        core->waited -= ask->total;
    }
}

void client_forget(struct client_core *core, struct client_ask *ask)
{
    strike(core, ask);
    list_remove(&ask->say.node); /* half-said waits are never answered, as they stay incomplete */
    free(ask->items);
    ask->items = NULL;
}

static void finish(struct client_core *core, struct client_ask *ask, int status)
{
    strike(core, ask);
    ask->status = status;
    core_note(core, 51, ask->token);
    ask->done = true;
    if (ask->on_done != NULL) {
        ask->on_done(ask);
    }
}

static void take_room(struct client_core *core, struct client_ask *ask, const struct wire_room_given *given)
{
    if (ask != NULL) {
        ask->place = given->place;
        finish(core, ask, given->status);
    } else if (given->status == 0) {
        say_room_back(core, &given->place);
    }
}

static void take_ready(struct client_core *core, struct client_ask *ask, const struct wire_ready *ready)
{
    if (ready->total != ask->total || !range_is_inside(ready->first, ready->count, ask->total)) {
        return;
    }
    memcpy(ask->ready + ready->first, ready->ready, ready->count);
    ask->answered += ready->count;
    if (ask->answered >= ask->total) {
        finish(core, ask, 0);
    }
}

/* Words about one ref are as many as anybody reads. */
static void take_why(struct client_ask *ask, const struct wire_why *why)
{
    if (ask->items != NULL || why->index >= ask->total) {
        return;
    }
    ask->items = malloc(why->head.bytes);
    if (ask->items != NULL) {
        memcpy(ask->items, why, why->head.bytes);
    }
}

/* Append `count` items of `bytes` each to the answer. */
static void take_items(struct client_core *core, struct client_ask *ask, const void *items, uint32_t count,
                       size_t bytes, uint32_t total)
{
    if (count > NODES_MAX - ask->items_count) {
        finish(core, ask, ROOST_ETOOBIG);
        return;
    }
    if (ask->items_count + count > ask->items_capacity) {
        uint32_t capacity = total < NODES_MAX && total > ask->items_count + count ? total : ask->items_count + count;
        void *grown = realloc(ask->items, capacity * bytes);
        if (grown == NULL) {
            finish(core, ask, ROOST_ENOMEM);
            return;
        }
        ask->items = grown;
        ask->items_capacity = capacity;
    }
    if (count > 0) {
        memcpy((char *)ask->items + ask->items_count * bytes, items, count * bytes);
    }
    ask->items_count += count;
    if (ask->items_count >= total) {
        finish(core, ask, 0);
    }
}

static void take_locations(struct client_core *core, struct client_ask *ask, const struct wire_locations *answer)
{
    if (answer->status != 0) {
        finish(core, ask, answer->status);
    } else {
        take_items(core, ask, answer->nodes, answer->count, sizeof answer->nodes[0], answer->total);
    }
}

void ask_take(struct client_core *core, const struct wire_entry *entry)
{
    struct client_ask *ask = id_map_get(&core->asks_by_token, key_of(entry->token));
    const void *body = entry;
    if (entry->kind == WIRE_ROOM_GIVEN && (ask == NULL || ask->kind == WIRE_ROOM)) {
        take_room(core, ask, body);
    } else if (ask == NULL) {
        return;
    } else if (entry->kind == WIRE_LEASED && ask->kind == WIRE_LEASE) {
        ask->leased = *(const struct wire_leased *)body;
        finish(core, ask, 0);
    } else if (entry->kind == WIRE_READY && ask->kind == WIRE_WAIT) {
        take_ready(core, ask, body);
    } else if (entry->kind == WIRE_WHY && ask->kind == WIRE_WAIT) {
        take_why(ask, body);
    } else if (entry->kind == WIRE_LOCATIONS && ask->kind == WIRE_LOCATE) {
        take_locations(core, ask, body);
    } else if (entry->kind == WIRE_NODE && ask->kind == WIRE_NODES) {
        take_items(core, ask, body, 1, sizeof(struct wire_node), ((const struct wire_node *)body)->total);
    }
}
