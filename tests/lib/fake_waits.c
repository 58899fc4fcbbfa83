/* fake_waits.c - what clients of the fake agent wait for: objects, and room
 *
 * Owns the waits from the question to the answer. All are looked at again whenever something has changed. */
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>

/* ---- readiness ---- */

static bool all_is_drained(struct fake_agent *agent)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].page != NULL &&
            (task_ring_queued_count(&agent->clients[i].submits) > 0 || !ring_is_empty(&agent->clients[i].requests))) {
            return false;
        }
    }
    return true;
}

/* 1 ready, 0 not yet, else a status. What is unknown may lie in a ring that was drained before its name was heard. */
static int8_t readiness(struct fake_agent *agent, roost_ref ref)
{
    struct object *object = fake_object_find(agent, object_id_of(ref));
    if (object == NULL) {
        return (int8_t)(all_is_drained(agent) ? ROOST_EFREED : 0);
    }
    return (int8_t)(object->failed != 0 ? object->failed : object->is_sealed);
}

/* As an argument: what it forwards to as well; of a gather, what its list names. */
int8_t fake_readiness(struct fake_agent *agent, roost_ref ref, bool is_list, struct object_id *which_out)
{
    int8_t ready = readiness(agent, ref);
    *which_out = object_id_of(ref);
    struct object *object = fake_object_find(agent, *which_out);
    bool goes_on = ready == 1 && (object->format == TABLE_FORWARD || is_list);
    for (uint32_t i = 0; goes_on && ready == 1 && i < object->refs_count; i++) {
        ready = fake_readiness(agent, object->refs[i], is_list && object->format == TABLE_FORWARD, which_out);
    }
    return ready;
}

static int8_t readiness_for(struct fake_agent *agent, const struct wait *wait, uint32_t index)
{
    struct object_id which;
    return wait->follows ? fake_readiness(agent, wait->refs[index], false, &which)
                         : readiness(agent, wait->refs[index]);
}

static void answer_wait(struct fake_agent *agent, struct wait *wait)
{
    enum { CHUNK = 1000 };
    struct client *client = &agent->clients[wait->client];
    for (uint32_t first = 0; first < wait->total; first += CHUNK) {
        uint32_t count = wait->total - first < CHUNK ? wait->total - first : CHUNK;
        struct wire_ready *ready = fake_reply_begin(client, WIRE_READY, sizeof *ready + count, wait->token);
        ready->first = first;
        ready->count = count;
        ready->total = wait->total;
        for (uint32_t i = 0; i < count; i++) {
            ready->ready[i] = readiness_for(agent, wait, first + i);
        }
    }
    fake_reply_end(client, wait->bell);
    list_remove(&wait->node);
    free(wait->refs);
    free(wait);
}

/* Looks no further than it must: a wait for thousands is asked about after each of them. */
static bool has_enough(struct fake_agent *agent, struct wait *wait)
{
    while (wait->done < wait->got && readiness_for(agent, wait, wait->done) != 0) {
        wait->done++;
    }
    uint32_t ready = wait->done;
    for (uint32_t i = wait->done; i < wait->got && ready < wait->wanted && ready + wait->got - i >= wait->wanted; i++) {
        ready += readiness_for(agent, wait, i) != 0;
    }
    return ready >= wait->wanted;
}

void fake_waits_answer(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->waits) {
        struct wait *wait = CONTAINER_OF(at, struct wait, node);
        if (wait->got == wait->total && (wait->is_hurried || has_enough(agent, wait))) {
            answer_wait(agent, wait);
        }
    }
}

/* ---- room ---- */

static void answer_room(struct fake_agent *agent, struct room_wait *wait, int status, uint64_t offset)
{
    struct client *client = &agent->clients[wait->client];
    struct wire_room_given *given = fake_reply_begin(client, WIRE_ROOM_GIVEN, sizeof *given, wait->request.head.token);
    given->status = status;
    given->place = (struct wire_place){ offset, align_up(wait->request.bytes, 4096), 0, 0 };
    if (status == 0 && wait->request.purpose == WIRE_ROOM_SLAB) {
        struct slab *slab = calloc(1, sizeof *slab);
        slab->place = given->place;
        slab->client = wait->client;
        list_append(&agent->slabs, &slab->node);
    }
    fake_reply_end(client, wait->request.bell);
    list_remove(&wait->node);
    free(wait);
}

void fake_rooms_answer(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->rooms) {
        struct room_wait *wait = CONTAINER_OF(at, struct room_wait, node);
        uint64_t bytes = align_up(wait->request.bytes, 4096), offset = 0;
        bool is_slab = wait->request.purpose == WIRE_ROOM_SLAB;
        if (is_slab && bytes > agent->store_bytes / STORE_SLABS_SHARE) {
            answer_room(agent, wait, ROOST_EFULL, 0);
        } else if (extent_alloc(&agent->extents, bytes, 4096, &offset) == 0) {
            answer_room(agent, wait, 0, offset);
        } else if (fake_now_ms() >= wait->deadline_ms) {
            answer_room(agent, wait, ROOST_EFULL, 0);
        }
    }
    table_set_room_wanted(&agent->table, !list_is_empty(&agent->rooms));
}
