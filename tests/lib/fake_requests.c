/* fake_requests.c - what clients say to the fake agent, entry by entry */
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static void take_room_back(struct fake_agent *agent, const struct wire_room_back *back)
{
    struct slab *slab = fake_slab_find(agent, back->place.offset);
    if (slab != NULL && slab->place.offset == back->place.offset && !slab->is_back) {
        slab->is_back = true;
        fake_slab_settle(agent, slab);
    } else {
        CHECK(extent_size(&agent->extents, back->place.offset) > 0);
        extent_free(&agent->extents, back->place.offset);
    }
}

static void take_wait(struct fake_agent *agent, uint32_t index, const struct wire_wait *entry)
{
    struct wait *wait = NULL;
    LIST_EACH (at, &agent->waits) {
        struct wait *other = CONTAINER_OF(at, struct wait, node);
        wait = other->client == index && other->token == entry->head.token ? other : wait;
    }
    if (wait == NULL) {
        wait = calloc(1, sizeof *wait);
        *wait = (struct wait){ .client = index,
                               .token = entry->head.token,
                               .total = entry->total,
                               .wanted = entry->wanted,
                               .bell = entry->bell,
                               .follows = (entry->flags & WIRE_WAIT_FOLLOW) != 0,
                               .refs = calloc(entry->total, sizeof(roost_ref)) };
        list_append(&agent->waits, &wait->node);
    }
    CHECK(wait->got + entry->count <= wait->total);
    memcpy(wait->refs + wait->got, entry->refs, entry->count * sizeof entry->refs[0]);
    wait->got += entry->count;
}

static void take_result(struct fake_agent *agent, struct client *client, const struct wire_result *result)
{
    CHECK(client->call != NULL && client->call->run == result->run);
    struct object *object = calloc(1, sizeof *object);
    object->id = result_id(client->call->spec->task, result->index);
    CHECK(object_id_eq(object->id, result->object.id));
    fake_object_take(agent, client, &result->object, object);
    list_append(&client->call->results, &object->node);
}

/* No lease has the call, as none is ever granted here: it will be submitted. Until then its results are pending. */
static void take_escape(struct fake_agent *agent, uint32_t index, const struct wire_escape *escape)
{
    _Alignas(8) unsigned char copy[WIRE_TASK_INLINE_BYTES];
    const struct spec *spec = (const struct spec *)(const void *)copy;
    memcpy(copy, escape->spec, escape->spec_bytes);
    CHECK_EQ(spec_check(copy, escape->spec_bytes), 0);
    for (uint32_t i = 0; i < spec->returns; i++) {
        fake_hold(agent, result_id(spec->task, i), index, escape->scope);
    }
}

static void take_ask(struct fake_agent *agent, uint32_t index, const struct wire_ask *ask)
{
    struct client *client = &agent->clients[index];
    if (ask->head.kind == WIRE_UNWAIT) {
        LIST_EACH (at, &agent->waits) {
            struct wait *wait = CONTAINER_OF(at, struct wait, node);
            wait->is_hurried |= wait->client == index && wait->token == ask->head.token;
        }
    } else if (ask->head.kind == WIRE_LOCATE) {
        struct wire_locations *answer = fake_reply_begin(client, WIRE_LOCATIONS,
                                                         sizeof *answer + sizeof(struct node_id), ask->head.token);
        answer->total = answer->count = 1;
        answer->nodes[0] = agent->node;
        fake_reply_end(client, ask->bell);
    } else if (ask->head.kind == WIRE_NODES) {
        struct wire_node *answer = fake_reply_begin(client, WIRE_NODE, sizeof *answer, ask->head.token);
        answer->total = 1;
        answer->node = agent->node;
        answer->alive = 1;
        answer->cpus_hundredths_total = 200;
        fake_reply_end(client, ask->bell);
    } else if (ask->head.kind == WIRE_LEASE) { /* it has none to give */
        struct wire_lease_news *news = fake_reply_begin(client, WIRE_LEASE_NEWS, sizeof *news, 0);
        news->what = WIRE_LEASE_DENIED;
        fake_reply_end(client, CLIENT_BELL_LIBRARY);
    }
}

static void take_request(struct fake_agent *agent, uint32_t index, const struct wire_entry *entry)
{
    struct client *client = &agent->clients[index];
    const void *body = entry;
    agent->counts[entry->kind]++;
    if (entry->kind == WIRE_ROOM) {
        struct room_wait *wait = calloc(1, sizeof *wait);
        wait->client = index;
        wait->request = *(const struct wire_room_request *)body;
        wait->deadline_ms = fake_now_ms() + PATIENCE_MS;
        list_append(&agent->rooms, &wait->node);
    } else if (entry->kind == WIRE_ROOM_BACK) {
        take_room_back(agent, body);
    } else if (entry->kind == WIRE_REFS) {
        const struct wire_refs *refs = body;
        client->said_refs = realloc(client->said_refs, (client->said_refs_count + refs->count) * sizeof(roost_ref));
        memcpy(client->said_refs + client->said_refs_count, refs->refs, refs->count * sizeof(roost_ref));
        client->said_refs_count += refs->count;
    } else if (entry->kind == WIRE_ANNOUNCE) {
        const struct wire_announce *announce = body;
        struct object *object = fake_object_need(agent, announce->object.id);
        CHECK(!object->is_sealed);
        fake_object_take(agent, client, &announce->object, object);
        fake_object_enter(agent, object);
        fake_hold(agent, object->id, index, announce->scope);
    } else if (entry->kind == WIRE_HOLD || entry->kind == WIRE_FREE) {
        const struct wire_names *names = body;
        for (uint32_t i = 0; i < names->count; i++) {
            if (entry->kind == WIRE_HOLD) {
                fake_hold(agent, names->ids[i], index, names->scope);
            } else {
                struct object *object = fake_object_find(agent, names->ids[i]);
                CHECK(object != NULL &&
                      fake_drop(agent, object, index, names->scope)); /* nobody frees what it does not hold */
            }
        }
    } else if (entry->kind == WIRE_WAIT) {
        take_wait(agent, index, body);
    } else if (entry->kind == WIRE_RESULT) {
        take_result(agent, client, body);
    } else if (entry->kind == WIRE_ESCAPE) {
        take_escape(agent, index, body);
    } else {
        take_ask(agent, index, body);
    }
}

/* A call is taken only with a place for its TAKEN. */
static bool may_take(struct client *client)
{
    return ring_space(&client->taken) >= 2 * ring_message_bytes(sizeof(struct wire_taken));
}

/* In the order that wire.h promises: completes up to here, submits up to here, requests, then those. */
bool fake_client_drain(struct fake_agent *agent, uint32_t index)
{
    static _Thread_local union {
        struct wire_entry head;
        unsigned char bytes[CLIENT_MESSAGE_BYTES_MAX];
    } entry;
    static _Thread_local struct task_ring_item item;
    struct client *client = &agent->clients[index];
    size_t size;
    bool any = false;
    uint64_t completes_end = ring_snapshot(&client->completes);
    uint32_t submits = task_ring_queued_count(&client->submits);
    while (ring_take(&client->requests, &entry, sizeof entry, &size) == 1) {
        CHECK_EQ(wire_check(&entry.head, size), 0);
        take_request(agent, index, &entry.head);
        any = true;
    }
    ring_consumed(&client->requests);
    for (; submits > 0 && may_take(client) && task_ring_claim(&client->submits, &item) == 1; submits--) {
        fake_submit_take(agent, index, &item);
        any = true;
    }
    if (submits > 0) {
        doorbell_ring(fake_bell(client, CLIENT_BELL_LIBRARY));
    }
    while (ring_take_until(&client->completes, completes_end, &entry, sizeof entry, &size) == 1) {
        CHECK_EQ(wire_check(&entry.head, size), 0);
        agent->counts[WIRE_COMPLETE]++;
        fake_complete_take(agent, index, (const struct wire_complete *)(const void *)&entry);
        any = true;
    }
    ring_consumed(&client->completes);
    return any;
}
