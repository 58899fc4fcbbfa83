/* store.c - the table, the pins, the bytes on their way
 *
 * Owns a node's memory, the copies in it, and the transfers that come here.
 *
 * Happy path: publish -> look, pin -> unpin -> retire -> no pin left -> DONE.
 *             RECEIVE -> bytes arrive, in pieces -> all there -> DONE with the refs of the trailer.
 * Failures:   a node is cut off, or gone, while bytes are on their way to it -> the transfer fails there, if it lives.
 * Invariants: an entry has one copy at most; memory of a copy is not given back while a pin is on it.
 */
#include "tests/sim/store.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "objectstore/table.h"
#include "tests/sim/oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct incoming { /* a transfer that this node waits for */
    struct list_node all;
    uint64_t transfer, token;
    struct wire_object object;
    struct wire_place place;
    uint64_t size, received;
};

void store_init(struct node *node, uint64_t bytes)
{
    node->memory = malloc(bytes);
    ROOST_INVARIANT(node->memory != NULL);
    node->memory_bytes = bytes;
    list_init(&node->entries);
    list_init(&node->incoming);
    list_init(&node->copies);
}

void store_fini(struct node *node)
{
    LIST_EACH_SAFE (at, &node->entries) {
        free(CONTAINER_OF(at, struct entry, all));
    }
    LIST_EACH_SAFE (copy_at, &node->copies) {
        free(CONTAINER_OF(copy_at, struct copy, all));
    }
    LIST_EACH_SAFE (incoming_at, &node->incoming) {
        free(CONTAINER_OF(incoming_at, struct incoming, all));
    }
    id_map_fini(&node->table);
    free(node->memory);
    node->memory = NULL;
    node->copies_waiting = 0;
}

unsigned char *store_at(struct world *world, struct node *node, const struct wire_place *place, uint64_t bytes)
{
    if (place->segment != 0 || !range_is_inside(place->offset, bytes, node->memory_bytes)) {
        world_fail(world, "place %u: bytes outside of the store", node->place);
    }
    return node->memory + place->offset;
}

/* ------------------------------------------------------------------------------------------------ the table */

static struct entry *find(const struct node *node, struct object_id id)
{
    return id_map_get(&node->table, object_id_key(id));
}

static void settle(struct world *world, struct node *node, struct copy *copy)
{
    if (copy->token != 0 && copy->pins == 0) {
        node_done(world, node, world_below(world, SIM_MS), copy->token, 0, 0, NULL, 0);
        node->copies_waiting--;
        list_remove(&copy->all);
        free(copy);
    }
}

static void retire_copy(struct world *world, struct node *node, struct copy *copy, uint64_t token)
{
    if (copy == NULL) {
        node_done(world, node, world_below(world, SIM_MS), token, 0, 0, NULL, 0);
        return;
    }
    ROOST_PRE(copy->token == 0 && token != 0);
    copy->token = token;
    node->copies_waiting++;
    settle(world, node, copy);
}

static struct entry *need(struct node *node, struct object_id id)
{
    struct entry *entry = find(node, id);
    if (entry == NULL) {
        entry = calloc(1, sizeof *entry);
        ROOST_INVARIANT(entry != NULL);
        entry->id = id;
        list_append(&node->entries, &entry->all);
        ROOST_INVARIANT(id_map_put(&node->table, object_id_key(id), entry) == 0);
    }
    return entry;
}

static void publish(struct world *world, struct node *node, const struct agent_entry *body)
{
    struct entry *entry = need(node, body->object.id);
    if (entry->copy != NULL) {
        world_fail(world, "place %u: an object is published twice", node->place);
    }
    struct copy *copy = calloc(1, sizeof *copy);
    ROOST_INVARIANT(copy != NULL);
    copy->object = body->object;
    copy->status = body->status;
    entry->copy = copy;
    list_append(&node->copies, &copy->all);
}

void store_entry(struct world *world, struct node *node, uint64_t token, const struct agent_entry *body)
{
    struct entry *entry = find(node, body->object.id);
    world_tell(world, (int)node->place, "table: %llx %s", world_word(body->object.id),
               body->op == AGENT_ENTRY_PUBLISH  ? "published"
               : body->op == AGENT_ENTRY_RETIRE ? "retired"
               : body->op == AGENT_ENTRY_EVICT  ? "evicted"
                                                : "revived");
    switch (body->op) {
    case AGENT_ENTRY_PUBLISH:
        publish(world, node, body);
        return;
    case AGENT_ENTRY_REVIVE: /* who looks now asks */
        need(node, body->object.id);
        return;
    case AGENT_ENTRY_RETIRE:
    case AGENT_ENTRY_EVICT:
        if (entry == NULL) {
            world_fail(world, "place %u: what was never published is retired", node->place);
        }
        retire_copy(world, node, entry->copy, token);
        entry->copy = NULL;
        if (body->op == AGENT_ENTRY_RETIRE) {
            oracle_retired(world, entry->id);
            id_map_remove(&node->table, object_id_key(entry->id));
            list_remove(&entry->all);
            free(entry);
        }
        return;
    }
}

bool store_names(struct world *world, struct node *node, struct object_id id, const void *refs, uint32_t count)
{
    const struct entry *entry = find(node, id);
    if (entry == NULL || entry->copy == NULL || entry->copy->status != 0) {
        return false;
    }
    const struct wire_object *object = &entry->copy->object;
    uint64_t bytes = wire_object_bytes(object->size, object->columns, object->refs);
    const unsigned char *data = store_at(world, node, &object->place, bytes);
    return object->refs == count &&
           memcmp(data + wire_refs_offset(object->size, object->columns), refs, count * sizeof(roost_ref)) == 0;
}

uint64_t store_entries(const struct node *node) { return node->table.count; }

void store_write(struct world *world, struct node *node, const struct agent_write *body)
{
    memcpy(store_at(world, node, &body->place, body->bytes), body->data, body->bytes);
}

/* ------------------------------------------------------------------------------------------------ looking */

static int resolve(roost_ref ref, const struct wire_object *object, const unsigned char *data, uint64_t *begin_out,
                   uint64_t *size_out)
{
    uint64_t begin = ref.offset, size = ref.size == ROOST_WHOLE ? object->size - ref.offset : ref.size;
    if (ref.size == ROOST_COLUMN) {
        if (ref.offset >= object->columns) {
            return ROOST_ERANGE;
        }
        uint64_t ends[2] = { 0, 0 };
        const unsigned char *at = data + wire_columns_offset(object->size) + ref.offset * 8;
        if (ref.offset > 0) {
            memcpy(&ends[0], at - 8, 8);
        }
        memcpy(&ends[1], at, 8);
        begin = ends[0];
        size = ends[1] - ends[0];
    }
    if (!range_is_inside(begin, size, object->size)) {
        return ROOST_ERANGE;
    }
    *begin_out = begin;
    *size_out = size;
    return 0;
}

static bool is_whole(roost_ref ref) { return ref.offset == 0 && ref.size == ROOST_WHOLE; }

static roost_ref through(roost_ref ref, roost_ref target)
{
    return is_whole(ref) ? target : is_whole(target) ? (roost_ref){ target.id, ref.offset, ref.size } : target;
}

static enum look look_at(struct world *world, struct node *node, struct entry *entry, roost_ref ref, struct view *view)
{
    struct copy *copy = entry == NULL ? NULL : entry->copy;
    if (copy == NULL) {
        return LOOK_ASK;
    }
    if (copy->status != 0) {
        view->status = copy->status;
        return LOOK_FAILED;
    }
    const struct wire_object *object = &copy->object;
    uint64_t bytes = wire_object_bytes(object->size, object->columns, object->refs), begin = 0, size = 0;
    const unsigned char *data = bytes == 0 ? node->memory : store_at(world, node, &object->place, bytes);
    if (object->format == TABLE_ERROR) {
        struct wire_failure failure = { 0 };
        memcpy(&failure, data, object->size < sizeof failure ? object->size : sizeof failure);
        view->status = failure.status;
        snprintf(view->text, sizeof view->text, "%.40s: %.80s", failure.function, failure.text);
        return LOOK_ERROR;
    }
    if (object->format == TABLE_FORWARD) {
        roost_ref target;
        memcpy(&target, data, sizeof target);
        view->forward = through(ref, target);
        return LOOK_FORWARD;
    }
    view->status = resolve(ref, object, data, &begin, &size);
    if (view->status != 0) {
        return LOOK_FAILED;
    }
    view->copy = copy;
    view->data = data + begin;
    view->size = size;
    copy->pins++;
    return LOOK_HERE;
}

enum look store_look(struct world *world, struct node *node, roost_ref ref, struct view *view_out)
{
    memset(view_out, 0, sizeof *view_out);
    enum look look = look_at(world, node, find(node, object_id_of(ref)), ref, view_out);
    if (look == LOOK_ASK && !is_whole(ref)) {
        look = look_at(world, node, find(node, part_id(ref)), object_ref(part_id(ref)), view_out);
    }
    return look;
}

void store_unpin(struct world *world, struct node *node, struct copy *copy)
{
    ROOST_PRE(copy->pins > 0);
    copy->pins--;
    settle(world, node, copy);
}

/* ------------------------------------------------------------------------------------------------ transfers */

static struct incoming *incoming_of(const struct node *node, uint64_t transfer)
{
    LIST_EACH (at, &node->incoming) {
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, all);
        if (incoming->transfer == transfer) {
            return incoming;
        }
    }
    return NULL;
}

static void end_incoming(struct world *world, struct node *node, struct incoming *incoming, int status)
{
    roost_ref refs[256];
    uint32_t count = incoming->object.refs;
    ROOST_INVARIANT(count <= 256);
    if (status == 0 && count > 0) {
        const unsigned char *data = store_at(world, node, &incoming->place, incoming->size);
        memcpy(refs, data + wire_refs_offset(incoming->object.size, incoming->object.columns), count * sizeof *refs);
    }
    node_done(world, node, world_below(world, SIM_MS / 4), incoming->token, status, incoming->transfer, refs,
              status == 0 ? count * sizeof *refs : 0);
    incoming->token = 0; /* it stays until it is canceled, or all there */
    if (status == 0) {
        list_remove(&incoming->all);
        free(incoming);
    }
}

static void receive(struct world *world, struct node *node, uint64_t token, const struct agent_pull *body)
{
    struct incoming *incoming = calloc(1, sizeof *incoming);
    ROOST_INVARIANT(incoming != NULL);
    *incoming = (struct incoming){
        .transfer = body->transfer, .token = token, .object = body->object, .place = body->place, .size = body->size
    };
    if (incoming_of(node, body->transfer) != NULL) {
        world_fail(world, "place %u: a transfer is received twice at once", node->place);
    }
    store_at(world, node, &body->place, body->size);
    list_append(&node->incoming, &incoming->all);
    if (body->size == 0) {
        end_incoming(world, node, incoming, 0);
    }
}

static void cancel(struct world *world, struct node *node, uint64_t token, uint64_t transfer)
{
    struct incoming *incoming = incoming_of(node, transfer);
    if (incoming != NULL) {
        list_remove(&incoming->all);
        free(incoming);
    }
    node_done(world, node, world_below(world, SIM_MS / 2), token, 0, transfer, NULL, 0);
}

struct piece {
    uint64_t transfer, offset, size;
    struct core_peer to; /* the receiver's name */
    uint64_t to_life, serve_token;
    struct wire_place place;
    unsigned char bytes[];
};

static void on_arrival(struct world *world, const struct occurrence *what)
{
    const struct piece *piece = what->data;
    struct node *node = world->nodes[what->place];
    if (!node_is_there(world, node, piece->to_life)) {
        return;
    }
    struct incoming *incoming = incoming_of(node, piece->transfer);
    if (incoming == NULL || incoming->token == 0) {
        return;
    }
    if (what->number != 0) { /* it was lost: the connection has broken */
        end_incoming(world, node, incoming, ROOST_EDISCONNECTED);
        return;
    }
    if (!range_is_inside(piece->offset, piece->size, incoming->size)) {
        world_fail(world, "place %u: bytes come that nobody asked for", node->place);
    }
    memcpy(store_at(world, node, &incoming->place, incoming->size) + piece->offset, piece->bytes, piece->size);
    incoming->received += piece->size;
    if (incoming->received == incoming->size) {
        end_incoming(world, node, incoming, 0);
    }
}

/* The bytes leave: they are read now, not when the command was given. */
static void on_departure(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    const struct piece *wanted = what->data;
    if (!node_is_there(world, node, what->life)) {
        return;
    }
    size_t bytes = sizeof *wanted + wanted->size;
    struct piece *piece = malloc(bytes);
    ROOST_INVARIANT(piece != NULL);
    *piece = *wanted;
    memcpy(piece->bytes, store_at(world, node, &piece->place, piece->size), piece->size);
    bool is_lost = !world->is_healed && world_one_in(world, 60);
    struct occurrence arrival = {
        .run = on_arrival, .place = what->other, .other = what->place, .number = is_lost, .data = piece, .bytes = bytes
    };
    world_at(world, world->shape.latency_ns / 4 + world_below(world, world->shape.latency_ns * 2), &arrival);
    free(piece);
}

static uint32_t place_of_life(const struct world *world, const struct node *node, struct core_peer peer)
{
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        bool is_it = core_peer_key(node->ways[i].peer) == core_peer_key(peer) ||
                     core_peer_key(node->neighbours[i]) == core_peer_key(peer);
        if (is_it) {
            return i;
        }
    }
    (void)world;
    return 0;
}

static void send(struct world *world, struct node *node, uint64_t token, const struct agent_pull *body)
{
    uint32_t place = place_of_life(world, node, body->peer);
    if (place == 0 || node_life(world, place) == 0) {
        return;
    }
    struct piece piece = { .transfer = body->transfer,
                           .offset = body->offset,
                           .size = body->size,
                           .to = body->peer,
                           .to_life = node_life(world, place),
                           .serve_token = token,
                           .place = body->place };
    struct occurrence departure = { .run = on_departure,
                                    .place = node->place,
                                    .other = place,
                                    .life = node->life,
                                    .data = &piece,
                                    .bytes = sizeof piece };
    world_at(world, world_below(world, world->shape.latency_ns), &departure);
}

static void open_ref(struct world *world, struct node *node, uint64_t token, const struct agent_pull *body)
{
    struct agent_opened opened = { 0 };
    const struct wire_object *object = &body->object;
    uint64_t bytes = wire_object_bytes(object->size, object->columns, object->refs);
    const unsigned char *data = bytes == 0 ? node->memory : store_at(world, node, &object->place, bytes);
    int status = resolve(body->ref, object, data, &opened.offset, &opened.size);
    if (status == 0 && is_whole(body->ref)) {
        opened.trailer_bytes = bytes - object->size;
    }
    node_done(world, node, world_below(world, SIM_MS / 4), token, status, 0, &opened, sizeof opened);
}

void store_pull(struct world *world, struct node *node, uint64_t token, const struct agent_pull *body)
{
    switch (body->op) {
    case AGENT_PULL_OPEN:
        open_ref(world, node, token, body);
        return;
    case AGENT_PULL_SEND:
        send(world, node, token, body);
        return;
    case AGENT_PULL_RECEIVE:
        receive(world, node, token, body);
        return;
    case AGENT_PULL_CANCEL:
        cancel(world, node, token, body->transfer);
        return;
    case AGENT_PULL_RAISE:
        return; /* the network here has no lanes */
    }
}
