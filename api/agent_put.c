/* agent_put.c - a put, with an agent behind it
 *
 * Happy path: room from the leased slab, or a lease of its own -> the caller writes -> sealed: the core notes a private
 *             object. No message.
 * Failures:   no room within the store's patience -> ROOST_EFULL; the agent is gone -> ROOST_EDISCONNECTED.
 * Invariants: memory is leased before it is written and given back before anybody else may get it.
 * Thread:     any. The link's lock is never held while waiting for an answer.
 */
#include "api/agent_world.h"
#include "common/bytes.h"
#include "worker/runtime/task.h"

#include <inttypes.h>
#include <time.h>

/* Fast and coarse: it tells a slab's age to a few milliseconds. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void room_back(struct agent_link *link, const struct wire_place *place)
{
    pthread_mutex_lock(&link->lock);
    client_room_drop(link->core, place, false);
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
}

int link_room(struct agent_link *link, uint64_t scope, uint32_t purpose, uint64_t bytes, struct wire_place *place_out)
{
    struct agent_ask ask = {
        .ask = { .kind = WIRE_ROOM, .scope = scope, .bytes = align_up(bytes, STORE_PAGE_BYTES), .purpose = purpose }
    };
    int status = link_ask(link, &ask, LINK_ROOM_MS);
    if (status == 0) {
        status = ask.ask.status;
    }
    if (status == ROOST_EFULL || status == ROOST_ETIMEDOUT) {
        return error_set(ROOST_EFULL, "no room for %" PRIu64 " bytes in the object store of this node", bytes);
    }
    if (status != 0) {
        return status == ask.ask.status ? error_set(status, "room for %" PRIu64 " bytes: %s", bytes, error_name(status))
                                        : status;
    }
    const struct wire_place place = ask.ask.place;
    if (place.bytes < bytes || store_map_pointer(&link->map, link_place(&place)) == NULL) {
        room_back(link, &place);
        return error_set(ROOST_EIO, "the agent gave %" PRIu64 " bytes of room for %" PRIu64, place.bytes, bytes);
    }
    status = store_map_lease(&link->map, link_place(&place));
    if (status != 0) {
        room_back(link, &place);
        return status;
    }
    *place_out = place;
    return 0;
}

static int slab_take_now(struct agent_link *link, uint64_t bytes, struct wire_place *place_out,
                         uint64_t *slab_bytes_out)
{
    pthread_mutex_lock(&link->lock);
    int status = client_slab_take(link->core, bytes, now_ns(), place_out, slab_bytes_out);
    link_say_urgent_locked(link);
    pthread_mutex_unlock(&link->lock);
    return status;
}

/* One thread leases the next slab; others that need one wait for it. */
static int slab_lease(struct agent_link *link, uint64_t scope, uint64_t bytes, struct wire_place *place_out)
{
    uint64_t slab_bytes;
    struct wire_place slab;
    pthread_mutex_lock(&link->slab_lock);
    int status = slab_take_now(link, bytes, place_out, &slab_bytes);
    while (status == SLAB_WANTED) {
        status = link_room(link, scope, WIRE_ROOM_SLAB, slab_bytes, &slab);
        if (status != 0) {
            break;
        }
        pthread_mutex_lock(&link->lock);
        status = client_slab_add(link->core, &slab, now_ns());
        if (status != 0) {
            client_room_drop(link->core, &slab, false);
        }
        pthread_mutex_unlock(&link->lock);
        status = status != 0 ? no_memory("a slab's record") : slab_take_now(link, bytes, place_out, &slab_bytes);
    }
    pthread_mutex_unlock(&link->slab_lock);
    return status;
}

int agent_room(struct roost *rt, uint64_t scope, uint64_t bytes, struct room *room_out)
{
    struct agent_link *link = link_of(rt);
    uint64_t slab_bytes;
    bool in_slab = bytes < STORE_LARGE_BYTES;
    int status = in_slab ? slab_take_now(link, bytes, &room_out->place, &slab_bytes) : SLAB_WANTED;
    if (status != 0 && in_slab) {
        status = slab_lease(link, scope, bytes, &room_out->place);
        in_slab = status != ROOST_EFULL; /* no room for a slab: perhaps for this one object */
    }
    if (!in_slab) {
        status = link_room(link, scope, WIRE_ROOM_OBJECT, bytes == 0 ? 1 : bytes, &room_out->place);
    }
    if (status == 0) {
        room_out->in_slab = in_slab;
        room_out->data = store_map_pointer(&link->map, link_place(&room_out->place));
    }
    return status;
}

void agent_room_drop(struct roost *rt, const struct room *room)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    client_room_drop(link->core, &room->place, room->in_slab);
    link_say_urgent_locked(link);
    pthread_mutex_unlock(&link->lock);
}

/* What the room has become, and where. Whoever still writes to a large object gets a fault from here on. */
struct wire_object agent_seal_room(struct agent_link *link, const struct room *room, const struct object_draft *draft)
{
    struct wire_object object = { .place = room->place,
                                  .size = draft->size,
                                  .columns = draft->columns,
                                  .refs = draft->refs_count,
                                  .format = draft->format };
    if (room->in_slab) {
        uint64_t bytes = wire_object_bytes(draft->size, draft->columns, draft->refs_count);
        client_slab_trim(link->core, &object.place, bytes);
    } else {
        store_map_unlease(&link->map, link_place(&object.place));
    }
    return object;
}

int agent_ended_attempt(int status)
{
    return status == ROOST_ESTATE ? error_set(status, "the attempt has ended") : no_memory("an object's record");
}

int agent_seal(struct roost *rt, uint64_t scope, const struct room *room, const struct object_draft *draft,
               struct object_id *id_out)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    int status = client_scope_next_id(link->core, scope, id_out);
    if (status == 0) {
        struct wire_object object = agent_seal_room(link, room, draft);
        object.id = *id_out;
        status = client_object_add(link->core, scope, &object, draft->refs, room->in_slab);
        uintptr_t sights = client_sights(link->core);
        if (atomic_load_explicit(&link->sights, memory_order_relaxed) != sights) { /* its line is read by every look */
            atomic_store_explicit(&link->sights, sights, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : agent_ended_attempt(status);
}

int agent_result(struct roost_task *task, uint32_t index, const struct room *room, const struct object_draft *draft)
{
    struct agent_link *link = link_of(task->rt);
    pthread_mutex_lock(&link->lock);
    struct wire_object object = agent_seal_room(link, room, draft);
    object.id = task_result_id(task, index);
    int status = client_result(link->core, task->run, index, &object, draft->refs, room->in_slab);
    if (status == 0) {
        link_flush_locked(link);
    }
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : agent_ended_attempt(status);
}
