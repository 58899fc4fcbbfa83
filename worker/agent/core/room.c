/* room.c - whose bytes of the store are whose
 *
 * Owns the leases: every taken extent is one, in the hands of a client that may write there, of the agent, or of nobody
 * but the objects that lie in it. Decides who gets room when there is none: the oldest admitted task of the node first.
 *
 * Happy path: ask -> lease -> (object announced in it) -> objects gone -> extent free.
 * Failures:   no room now -> waits its turn; no room within the store's patience -> ROOST_EFULL;
 *             few entries left in the shared table -> the same, as what is made there needs one.
 *             more than the store can ever hold -> ROOST_EFULL at once, naming both sizes in the log;
 *             client dies -> its leases without objects go at once, the others with their last object.
 * Invariants: the sum of leases is what the extents say is taken; the slabs that clients write are at most
 *             1/STORE_SLABS_SHARE.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "room"
#include "common/bytes.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>

enum { ROOM_PAGE_BYTES = 4096, ROOM_HUGE_PAGE_BYTES = 2 << 20 };

static struct id_key lease_key(const struct wire_place *place)
{
    return (struct id_key){ 1 + (uint64_t)place->segment, place->offset };
}

static struct lease *lease_add(struct agent *agent, struct client *client, enum wire_room purpose,
                               const struct wire_place *place)
{
    struct lease *lease = agent_alloc(sizeof *lease);
    *lease = (struct lease){ .key = lease_key(place), .client = client, .purpose = purpose, .place = *place };
    list_init(&lease->of_client);
    if (client != NULL && purpose == WIRE_ROOM_SLAB) {
        list_prepend(&client->leases, &lease->of_client); /* slabs in front: room_lease_of() walks only them */
    } else if (client != NULL) {
        list_append(&client->leases, &lease->of_client);
    }
    ROOST_INVARIANT(id_map_put(&agent->leases, lease->key, lease) == 0);
    agent->counts.bytes_used += place->bytes;
    agent->slab_bytes += purpose == WIRE_ROOM_SLAB ? place->bytes : 0;
    return lease;
}

static void lease_end(struct agent *agent, struct lease *lease)
{
    uint64_t freed = extent_free(&agent->segments[lease->place.segment], lease->place.offset);
    ROOST_INVARIANT(freed == lease->place.bytes);
    agent->counts.bytes_used -= freed;
    id_map_remove(&agent->leases, lease->key);
    list_remove(&lease->of_client);
    free(lease);
    agent->room_due = true;
}

/* Clients change the protection of whole pages, so what they get is whole pages. */
static bool take(struct agent *agent, uint64_t bytes, bool for_client, struct wire_place *place_out)
{
    for (uint32_t i = 0; i < agent->config.segments_count; i++) {
        bool is_large = agent->config.segment_is_huge[i] && bytes >= ROOM_HUGE_PAGE_BYTES;
        uint64_t unit = for_client ? ROOM_PAGE_BYTES : STORE_ALIGNMENT, offset;
        uint64_t alignment = for_client && is_large ? ROOM_HUGE_PAGE_BYTES : unit;
        if (extent_alloc(&agent->segments[i], align_up(bytes, unit), alignment, &offset) == 0) {
            *place_out = (struct wire_place){ offset, align_up(bytes, unit), i, 0 };
            return true;
        }
    }
    return false;
}

static bool slabs_allow(const struct agent *agent, uint32_t purpose, uint64_t bytes)
{
    return purpose != WIRE_ROOM_SLAB || agent->slab_bytes + bytes <= agent->counts.bytes_total / STORE_SLABS_SHARE;
}

static void answer(struct agent *agent, const struct room_request *request, int32_t status,
                   const struct wire_place *place)
{
    struct wire_room_given *given = core_put(agent->out, CORE_REPLY, core_client_key(request->client->key),
                                             1 + (uint64_t)request->bell, sizeof *given);
    given->head = (struct wire_entry){ WIRE_ROOM_GIVEN, sizeof *given, request->token };
    given->status = status;
    if (status == 0) {
        given->place = *place;
    }
}

bool agent_wants_touches(const struct agent *agent)
{
    return !list_is_empty(&agent->idle) && agent->counts.bytes_used > agent->counts.bytes_total / 4 * 3;
}

/* Copies that nobody reads go, the longest unused first, until so many bytes are on their way back. What has come for
 * somebody just now stays until that one has had the time to look, or it would come and go for ever. */
static void make_room(struct agent *agent, uint64_t bytes)
{
    uint64_t coming = agent->evicting_bytes;
    LIST_EACH_SAFE (at, &agent->idle) {
        struct object *object = CONTAINER_OF(at, struct object, idle);
        if (coming >= bytes) {
            return;
        }
        if (object->stays_until_ns > agent->now_ns) {
            agent_deadline(agent, object->stays_until_ns);
            continue;
        }
        coming += object->lease == NULL ? 0 : object->lease->place.bytes;
        object_evict(agent, object);
    }
}

static bool try_request(struct agent *agent, const struct room_request *request)
{
    struct wire_place place;
    bool needs_entry = request->purpose != WIRE_ROOM_SPEC;
    if (!slabs_allow(agent, request->purpose, request->bytes) ||
        (needs_entry && !object_entry_is_left(agent, OBJECT_ENTRIES_ASKED))) {
        return false;
    }
    if (!take(agent, request->bytes, true, &place)) {
        make_room(agent, request->bytes);
        return false;
    }
    lease_add(agent, request->client, (enum wire_room)request->purpose, &place);
    answer(agent, request, 0, &place);
    return true;
}

/* In order of rank: who was admitted first, is served first. */
static void enqueue(struct agent *agent, const struct room_request *request)
{
    struct room_request *queued = agent_alloc(sizeof *queued);
    *queued = *request;
    struct list_node *place = agent->room_requests.previous;
    while (place != &agent->room_requests && CONTAINER_OF(place, struct room_request, waiting)->rank > request->rank) {
        place = place->previous;
    }
    list_insert_before(place->next, &queued->waiting);
    request->client->room_requests++;
    agent_deadline(agent, request->deadline_ns);
}

static void dequeue(struct agent *agent, struct room_request *request)
{
    request->client->room_requests--;
    list_remove(&request->waiting);
    free(request);
    agent->room_due = true; /* the next may be smaller */
}

bool room_can_ever_hold(const struct agent *agent, uint64_t bytes)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < agent->config.segments_count; i++) {
        largest = agent->config.segment_bytes[i] > largest ? agent->config.segment_bytes[i] : largest;
    }
    return bytes <= largest;
}

uint64_t room_patience_ns(const struct agent *agent)
{
    return agent->config.patience_ns != 0 ? agent->config.patience_ns : (uint64_t)STORE_PATIENCE_MS * 1000000;
}

static bool can_ever_fit(const struct agent *agent, const struct room_request *request)
{
    return room_can_ever_hold(agent, request->bytes) &&
           (request->purpose != WIRE_ROOM_SLAB || request->bytes <= agent->counts.bytes_total / STORE_SLABS_SHARE);
}

/* In the order in which tasks were admitted; who is no task comes last. */
static uint64_t rank_of(struct agent *agent, const struct client *client, uint64_t scope)
{
    const struct leased_run *run = leased_run_find(client, scope);
    bool is_attempt = scope != 0 && (scope & WIRE_RUN_OWN) == 0;
    return is_attempt ? scope : run != NULL ? run->rank : ++agent->serial;
}

void room_ask(struct agent *agent, struct client *client, const struct wire_room_request *asked)
{
    if (asked->bytes == 0 || asked->bytes > ROOST_OBJECT_BYTES_MAX * 2 || asked->purpose < WIRE_ROOM_SLAB ||
        asked->purpose > WIRE_ROOM_SPEC || asked->bell >= CLIENT_DOORBELLS) {
        client_broken(agent, client, "ROOM with a size, purpose or bell out of range");
        return;
    }
    if (client->room_requests == CLIENT_ROOM_REQUESTS_MAX) {
        client_broken(agent, client, "more ROOM requests than it has threads");
        return;
    }
    struct room_request request = { .client = client,
                                    .token = asked->head.token,
                                    .bytes = asked->bytes,
                                    .rank = rank_of(agent, client, asked->scope),
                                    .deadline_ns = agent->now_ns + room_patience_ns(agent),
                                    .purpose = asked->purpose,
                                    .bell = asked->bell };
    if (!can_ever_fit(agent, &request)) {
        log_warn("event=larger_than_store bytes=%llu store_bytes=%llu", (unsigned long long)request.bytes,
                 (unsigned long long)agent->counts.bytes_total);
        answer(agent, &request, ROOST_EFULL, NULL);
    } else if (!list_is_empty(&agent->room_requests) || !try_request(agent, &request)) {
        if (request.purpose == WIRE_ROOM_SLAB) {
            answer(agent, &request, ROOST_EFULL, NULL); /* it asks for its one object next, and waits with that */
            return;
        }
        enqueue(agent, &request);
        agent->room_due = true;
    }
}

void room_retry(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->room_requests) {
        struct room_request *request = CONTAINER_OF(at, struct room_request, waiting);
        if (!try_request(agent, request)) {
            return; /* nobody overtakes the first, or the largest would wait for ever */
        }
        dequeue(agent, request);
    }
}

bool agent_wants_room(const struct agent *agent) { return !list_is_empty(&agent->room_requests); }

void room_look_again(struct agent *agent)
{
    agent->room_due = agent->room_due || agent_wants_room(agent) || agent->pulls_want_room;
}

uint64_t room_next_deadline(const struct agent *agent)
{
    uint64_t next = UINT64_MAX;
    LIST_EACH (at, (struct list_node *)(uintptr_t)&agent->room_requests) {
        const struct room_request *request = CONTAINER_OF(at, struct room_request, waiting);
        next = request->deadline_ns < next ? request->deadline_ns : next;
    }
    return next;
}

void room_expire(struct agent *agent)
{
    room_look_again(agent); /* what stayed for its readers may go now */
    LIST_EACH_SAFE (at, &agent->room_requests) {
        struct room_request *request = CONTAINER_OF(at, struct room_request, waiting);
        if (request->deadline_ns <= agent->now_ns) {
            if (!object_entry_is_left(agent, OBJECT_ENTRIES_ASKED)) {
                log_error_sparsely("event=table_full entries=%u limit=%u", agent->entries, agent->config.entries_max);
            }
            answer(agent, request, ROOST_EFULL, NULL);
            dequeue(agent, request);
        }
    }
}

bool room_is_needed(const struct wire_object *object)
{
    return object->size > 0 || object->columns > 0 || object->refs > 0;
}

static bool lies_in(const struct wire_object *object, const struct lease *lease)
{
    uint64_t bytes = wire_object_bytes(object->size, object->columns, object->refs);
    return object->place.segment == lease->place.segment && object->place.offset >= lease->place.offset &&
           range_is_inside(object->place.offset - lease->place.offset, bytes, lease->place.bytes) &&
           (!room_is_needed(object) || bytes > 0);
}

struct lease *room_lease_of(struct agent *agent, struct client *client, const struct wire_object *object)
{
    struct lease *exact = id_map_get(&agent->leases, lease_key(&object->place));
    if (exact != NULL && exact->client == client && exact->purpose == WIRE_ROOM_OBJECT) {
        return lies_in(object, exact) ? exact : NULL;
    }
    LIST_EACH (at, &client->leases) {
        struct lease *lease = CONTAINER_OF(at, struct lease, of_client);
        if (lease->purpose != WIRE_ROOM_SLAB) {
            return NULL;
        }
        if (lies_in(object, lease)) {
            return lease;
        }
    }
    return NULL;
}

/* The rest of an extent whose object turned out smaller goes back at once. */
static void cut(struct agent *agent, struct lease *lease, uint64_t bytes)
{
    uint64_t kept = align_up(bytes == 0 ? 1 : bytes, ROOM_PAGE_BYTES);
    if (kept < lease->place.bytes) {
        uint64_t given = extent_shrink(&agent->segments[lease->place.segment], lease->place.offset, kept);
        lease->place.bytes -= given;
        agent->counts.bytes_used -= given;
        agent->room_due = true;
    }
}

void room_settle(struct agent *agent, struct lease *lease, struct wire_object *object)
{
    lease->objects++;
    if (lease->purpose == WIRE_ROOM_OBJECT) {
        list_remove(&lease->of_client);
        lease->client = NULL;
        lease->is_given_back = true;
        cut(agent, lease, wire_object_bytes(object->size, object->columns, object->refs));
        object->place.bytes = lease->place.bytes;
    }
}

uint64_t room_let_evicted_go(struct agent *agent, struct lease *lease)
{
    uint64_t serial = ++agent->serial;
    if (lease != NULL) {
        agent->evicting_bytes += lease->place.bytes;
        lease->evicted = serial;
        ROOST_INVARIANT(id_map_put(&agent->evicted, serial_key(serial), lease) == 0);
    }
    return agent_token(AGENT_TOKEN_EVICT, serial);
}

void room_evicted(struct agent *agent, uint64_t serial)
{
    struct lease *lease = id_map_remove(&agent->evicted, serial_key(serial));
    if (lease != NULL) {
        agent->evicting_bytes -= lease->place.bytes;
        room_object_gone(agent, lease);
    }
}

struct lease *room_take(struct agent *agent, uint64_t bytes)
{
    struct wire_place place;
    if (!take(agent, bytes == 0 ? 1 : bytes, false, &place)) {
        make_room(agent, bytes);
        return NULL;
    }
    struct lease *lease = lease_add(agent, NULL, WIRE_ROOM_OBJECT, &place);
    lease->is_given_back = true;
    lease->objects = 1;
    return lease;
}

void room_object_gone(struct agent *agent, struct lease *lease)
{
    ROOST_PRE(lease->objects > 0);
    lease->objects--;
    if (lease->objects == 0 && lease->is_given_back) {
        lease_end(agent, lease);
    }
}

/* No client writes there any more. */
static void give_back(struct agent *agent, struct lease *lease)
{
    list_remove(&lease->of_client);
    lease->client = NULL;
    lease->is_given_back = true;
    agent->slab_bytes -= lease->purpose == WIRE_ROOM_SLAB ? lease->place.bytes : 0;
    agent->room_due = true;
    if (lease->objects == 0) {
        lease_end(agent, lease);
    }
}

void room_give_back(struct agent *agent, struct client *client, const struct wire_place *place)
{
    struct lease *lease = id_map_get(&agent->leases, lease_key(place));
    if (lease == NULL || lease->client != client) {
        client_broken(agent, client, "ROOM_BACK of what it does not hold");
        return;
    }
    give_back(agent, lease);
}

void room_client_gone(struct agent *agent, struct client *client)
{
    LIST_EACH_SAFE (at, &agent->room_requests) {
        struct room_request *request = CONTAINER_OF(at, struct room_request, waiting);
        if (request->client == client) {
            dequeue(agent, request);
        }
    }
    LIST_EACH_SAFE (at, &client->leases) {
        give_back(agent, CONTAINER_OF(at, struct lease, of_client));
    }
}

void room_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->room_requests) {
        free(CONTAINER_OF(at, struct room_request, waiting));
    }
    for (uint32_t i = 0; i < agent->leases.capacity; i++) { /* freeing has no order */
        free(agent->leases.slots[i].value);
    }
}
