/* agent_world.c - what the API asks for, with an agent behind it
 *
 * put:   room from the leased slab, or a lease of its own -> (copy) -> the core notes a private object. No message.
 * get:   the own private objects -> the shared table, with a pin. No message.
 * call:  number -> spec -> the core announces what it names -> all that is said -> the slot in the ring of submits.
 * wait:  one question; answered when enough are ready, or as it stands when the time is over.
 *
 * Failures:   the agent is gone -> ROOST_EDISCONNECTED (or why the job ended) from everything that needs it; what is
 *             here can still be read.
 * Invariants: memory is leased before it is written and given back before anybody else may get it.
 * Thread:     any. The link's lock is never held while waiting for an answer.
 */
#include "api/agent_link.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "objectstore/range.h"
#include "worker/runtime/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PIN_IS_PRIVATE (UINT64_C(1) << 63)
#define PIN_IS_COPY    (UINT64_C(1) << 62) /* and not private: the rest is of agent_copies.c */
enum { SPEC_ON_STACK = 4096, BLOCK_MS = 1 };

static struct agent_link *link_of(const struct roost *rt) { return rt->agent; }

/* Fast and coarse: it tells a slab's age to a few milliseconds. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int no_memory(const char *what) { return error_set(ROOST_ENOMEM, "no memory for %s", what); }

/* Under the lock: say what should not wait for company. */
static void say_urgent_locked(struct agent_link *link)
{
    if (client_core_is_urgent(link->core) ||
        (client_core_has_more(link->core) && table_room_is_wanted(&link->map.table))) {
        link_flush_locked(link);
    }
}

/* ---- room ---- */

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
    say_urgent_locked(link);
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

static int agent_room(struct roost *rt, uint64_t scope, uint64_t bytes, struct room *room_out)
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

static void agent_room_drop(struct roost *rt, const struct room *room)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    client_room_drop(link->core, &room->place, room->in_slab);
    say_urgent_locked(link);
    pthread_mutex_unlock(&link->lock);
}

/* What the room has become, and where. Whoever still writes to a large object gets a fault from here on. */
static struct wire_object seal_room(struct agent_link *link, const struct room *room, const struct object_draft *draft)
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

static int ended_attempt(int status)
{
    return status == ROOST_ESTATE ? error_set(status, "the attempt has ended") : no_memory("an object's record");
}

static int agent_seal(struct roost *rt, uint64_t scope, const struct room *room, const struct object_draft *draft,
                      struct object_id *id_out)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    int status = client_scope_id(link->core, scope, id_out);
    if (status == 0) {
        struct wire_object object = seal_room(link, room, draft);
        object.id = *id_out;
        status = client_object_add(link->core, scope, &object, draft->refs, room->in_slab);
    }
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : ended_attempt(status);
}

static int agent_result(struct roost_task *task, uint32_t index, const struct room *room,
                        const struct object_draft *draft)
{
    struct agent_link *link = link_of(task->rt);
    pthread_mutex_lock(&link->lock);
    struct wire_object object = seal_room(link, room, draft);
    object.id = task_result_id(task, index);
    int status = client_result(link->core, task->run, index, &object, draft->refs, room->in_slab);
    if (status == 0) {
        link_flush_locked(link);
    }
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : ended_attempt(status);
}

/* ---- looking ---- */

/* Can it be one of this process's own? Others' ids have other prefixes, or are hashes: of a call through a lease, say. */
static bool may_be_private(struct agent_link *link, roost_ref ref)
{
    return atomic_load_explicit(&link->has_own, memory_order_relaxed) || ref.id.hi == link->prefix ||
           ref.id.hi == atomic_load_explicit(&link->run_prefix, memory_order_relaxed);
}

static int view_private(struct agent_link *link, roost_ref ref, const struct wire_object *object, uint64_t pin,
                        struct store_view *view_out)
{
    const unsigned char *data = link->map.segments[object->place.segment].view + object->place.offset;
    const void *ends = data + wire_columns_offset(object->size);
    const void *refs = data + wire_refs_offset(object->size, object->columns);
    uint64_t begin, size;
    int status = range_resolve(ref, object->size, ends, object->columns, &begin, &size);
    if (status == 0) {
        *view_out = (struct store_view){ .data = data + begin,
                                         .size = size,
                                         .pin = pin,
                                         .refs = refs,
                                         .refs_count = object->refs,
                                         .format = (enum table_format)object->format };
    }
    return status == 0 && object->format == TABLE_ERROR ? STORE_GET_ERROR : status;
}

static void agent_release(struct roost *rt, uint64_t pin)
{
    struct agent_link *link = link_of(rt);
    if ((pin & PIN_IS_PRIVATE) == 0 && (pin & PIN_IS_COPY) != 0) {
        pthread_mutex_lock(&link->lock);
        void *copy = copies_take_locked(&link->copies, pin & ~PIN_IS_COPY);
        pthread_mutex_unlock(&link->lock);
        free(copy);
    } else if ((pin & PIN_IS_PRIVATE) != 0) {
        pthread_mutex_lock(&link->lock);
        client_object_unview(link->core, pin);
        say_urgent_locked(link);
        pthread_mutex_unlock(&link->lock);
    } else if (store_map_release(&link->map, pthread_getspecific(link->pins_key), pin)) {
        agent_bell_ring(&link->ringer);
    }
}

static bool agent_is_copy(const struct store_view *view)
{
    return (view->pin & PIN_IS_PRIVATE) == 0 && (view->pin & PIN_IS_COPY) != 0;
}

/* A value that came back with its call. */
static int view_copy(struct agent_link *link, roost_ref ref, void *copy, uint32_t bytes, uint32_t format,
                     struct store_view *view_out)
{
    uint64_t begin = 0, size = bytes, pin = 0;
    int status = copy == NULL ? no_memory("a value") : 0;
    if (status == 0 && format != TABLE_ERROR) {
        status = range_resolve(ref, bytes, NULL, 0, &begin, &size);
    }
    if (status == 0) {
        pthread_mutex_lock(&link->lock);
        status = copies_add_locked(&link->copies, copy, &pin);
        pthread_mutex_unlock(&link->lock);
    }
    if (status != 0) {
        free(copy);
        return status;
    }
    *view_out = (struct store_view){ .data = (unsigned char *)copy + begin,
                                     .size = size,
                                     .pin = PIN_IS_COPY | pin,
                                     .format = (enum table_format)format };
    return format == TABLE_ERROR ? STORE_GET_ERROR : 0;
}

/* A value that came back with its call becomes a private object, as a put would. */
static int agent_bring(struct roost *rt, uint64_t scope, roost_ref ref)
{
    struct agent_link *link = link_of(rt);
    struct object_id id = object_id_of(ref);
    struct room room;
    void *copy = NULL;
    uint32_t bytes, format;
    pthread_mutex_lock(&link->lock);
    enum client_own own = client_own_look(link->core, id, &copy, &bytes, &format);
    pthread_mutex_unlock(&link->lock);
    if (own != CLIENT_OWN_SEALED || copy == NULL) {
        return own != CLIENT_OWN_SEALED ? 0 : no_memory("a value");
    }
    int status = rt->world->room(rt, scope, bytes, &room);
    if (status == 0) {
        memcpy(room.data, copy, bytes);
        const struct object_draft draft = { .size = bytes, .format = (enum table_format)format };
        pthread_mutex_lock(&link->lock);
        struct wire_object object = seal_room(link, &room, &draft);
        object.id = id;
        status = client_own_settle(link->core, &object, room.in_slab);
        pthread_mutex_unlock(&link->lock);
        if (status != 0) {
            rt->world->room_drop(rt, &room);
        }
        status = status == ROOST_ENOENT ? 0 : status; /* another thread was faster, or it was given up */
    }
    free(copy);
    return status;
}

/* The table says that it was given up, and perhaps has not heard that it is made again. */
static int look_at_given_up(struct agent_link *link, roost_ref ref)
{
    pthread_mutex_lock(&link->lock);
    bool is_named = client_is_named(link->core, object_id_of(ref));
    pthread_mutex_unlock(&link->lock);
    return is_named ? STORE_GET_ASK : ROOST_EFREED;
}

static int agent_look(struct roost *rt, roost_ref ref, struct store_view *view_out)
{
    struct agent_link *link = link_of(rt);
    if (may_be_private(link, ref)) {
        struct wire_object object;
        uint64_t pin;
        pthread_mutex_lock(&link->lock);
        void *copy = NULL;
        uint32_t bytes, format;
        enum client_own own = client_own_look(link->core, object_id_of(ref), &copy, &bytes, &format);
        bool is_private = own == CLIENT_OWN_NOT && client_object_view(link->core, object_id_of(ref), &object, &pin);
        pthread_mutex_unlock(&link->lock);
        if (own != CLIENT_OWN_NOT) {
            return own == CLIENT_OWN_PENDING ? STORE_GET_ASK : view_copy(link, ref, copy, bytes, format, view_out);
        }
        if (is_private) {
            int status = view_private(link, ref, &object, pin, view_out);
            if (status < 0) {
                agent_release(rt, pin);
            }
            return status;
        }
    }
    struct pins_thread *thread = link_pins(link);
    int answer = thread == NULL ? ROOST_ENOMEM : store_map_get(&link->map, thread, ref, view_out);
    return answer == ROOST_EFREED ? look_at_given_up(link, ref) : answer;
}

/* ---- waiting ---- */

static uint32_t count_ready(const struct wait_request *request)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->total; i++) {
        count += request->ready[i] != 0;
    }
    return count;
}

/* ---- waiting for what comes back with calls of this process's own ---- */

/* Without the agent: until so many more of those are there, or some went the agent's way. */
static int wait_own(struct agent_link *link, struct own_wait *wait, int timeout_ms)
{
    int bell = link_bell_take(link), status = 0;
    if (bell < 0) {
        return error_set(ROOST_ELIMIT, "more than %d threads wait at once (CLIENT_DOORBELLS)",
                         CLIENT_DOORBELLS - CLIENT_BELL_FIRST);
    }
    struct waiter *waiter = &link->waiters[bell];
    pthread_mutex_lock(&link->lock);
    wait->bell = (uint32_t)bell; /* until now another thread may have ended the wait, and rung nobody's */
    leases_wait_begin_locked(link, wait);
    pthread_mutex_unlock(&link->lock);
    waiter_begin(waiter, timeout_ms);
    while (!own_is_over(wait) && status != ROOST_ETIMEDOUT) {
        link_work(link);
        if (own_is_over(wait) || atomic_load_explicit(&link->gone, memory_order_relaxed) != 0) {
            break;
        }
        status = waiter_pause(waiter);
        if (status == WAITER_LOOK) {
            link_check_peer(link);
        }
    }
    waiter_end(waiter);
    pthread_mutex_lock(&link->lock);
    leases_wait_end_locked(link, wait);
    pthread_mutex_unlock(&link->lock);
    link_bell_give(link, bell);
    return own_is_over(wait) ? 0 : status == ROOST_ETIMEDOUT ? status : link_gone(link);
}

/* A wait, split into what this process waits for by itself and what it asks the agent about. */
struct split {
    struct client_own_node *own;
    roost_ref *refs; /* of the others, */
    uint32_t *which; /* where they stand in the request, */
    int8_t *ready;   /* and the answers */
    uint32_t own_count, others_count;
};

static int split_init(struct split *split, uint32_t total)
{
    *split = (struct split){ calloc(total, sizeof *split->own),
                             malloc(total * sizeof *split->refs),
                             malloc(total * sizeof *split->which),
                             calloc(total, 1),
                             0,
                             0 };
    bool is_there = split->own != NULL && split->refs != NULL && split->which != NULL && split->ready != NULL;
    return is_there ? 0 : no_memory("a wait");
}

static void split_fini(struct split *split)
{
    free(split->own);
    free(split->refs);
    free(split->which);
    free(split->ready);
}

/* Under the lock. What is sealed here is ready at once. */
static void split_fill(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                       struct split *split)
{
    for (uint32_t i = 0; i < request->total; i++) {
        struct client_own_node *node = &split->own[split->own_count];
        struct object_id id = object_id_of(request->refs[i]);
        uint32_t bytes, format;
        if (request->ready[i] != 0) {
            continue;
        }
        *node = (struct client_own_node){ .wait = &wait->wait, .ready = &request->ready[i] };
        list_init(&node->of_result);
        if (client_own_attend(link->core, id, node)) {
            split->own_count++;
        } else if (client_own_look(link->core, id, NULL, &bytes, &format) == CLIENT_OWN_SEALED) {
            request->ready[i] = 1;
        } else {
            split->refs[split->others_count] = request->refs[i];
            split->which[split->others_count++] = i;
        }
    }
}

/* Words that came with the answer; refs of the wait stand in the request where `which` says, or where they are. */
static void take_why(const struct wait_request *request, const uint32_t *which, struct agent_ask *ask)
{
    const struct wire_why *why = ask->ask.items;
    if (why != NULL && request->why != NULL) {
        request->why->index = which == NULL ? why->index : which[why->index];
        snprintf(request->why->text, sizeof request->why->text, "%.*s", (int)why->text_bytes, why->text);
    }
    link_ask_fini(ask);
}

/* Of own ones and others: whichever comes first. */
static int wait_mixed(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                      struct split *split, uint32_t flags, uint32_t wanted, int timeout_ms)
{
    struct agent_ask ask = { .ask = { .kind = WIRE_WAIT,
                                      .scope = client_scope(link->rt),
                                      .refs = split->refs,
                                      .total = split->others_count,
                                      .wanted = wanted,
                                      .flags = flags,
                                      .ready = split->ready },
                             .own = wait };
    int status = link_ask(link, &ask, timeout_ms);
    for (uint32_t i = 0; i < split->others_count; i++) {
        request->ready[split->which[i]] = split->ready[i];
    }
    take_why(request, split->which, &ask);
    return status == ROOST_ETIMEDOUT && wait != NULL && own_is_over(wait) ? 0 : status;
}

/* As wait_own(), in a task: a wait that lasts gives its CPU back to whoever makes what it waits for. */
static int wait_own_in_task(struct agent_link *link, const struct wait_request *request, struct own_wait *wait,
                            struct split *split, uint32_t flags, int timeout_ms)
{
    bool is_short = timeout_ms >= 0 && timeout_ms <= BLOCK_MS;
    int status = wait_own(link, wait, is_short ? timeout_ms : BLOCK_MS);
    if (status != ROOST_ETIMEDOUT || is_short) {
        return status;
    }
    status = wait_mixed(link, request, wait, split, flags | (uint32_t)WIRE_WAIT_OWN, 1,
                        timeout_ms < 0 ? timeout_ms : timeout_ms - BLOCK_MS);
    if (status == 0 && !own_is_over(wait)) { /* nobody on this node can go on */
        pthread_mutex_lock(&link->lock);
        for (uint32_t i = 0; i < split->own_count; i++) {
            *split->own[i].ready = *split->own[i].ready == 0 ? ROOST_ELIMIT : *split->own[i].ready;
        }
        pthread_mutex_unlock(&link->lock);
    }
    return status;
}

/* 0: look again, something has changed, or enough are ready. */
static int wait_round(struct agent_link *link, const struct wait_request *request, uint32_t flags, int timeout_ms)
{
    struct split split;
    struct own_wait wait;
    leases_wait_init(link, &wait);
    wait.wait.left = 1;
    int status = split_init(&split, request->total);
    if (status != 0) {
        split_fini(&split);
        return status;
    }
    pthread_mutex_lock(&link->lock);
    split_fill(link, request, &wait, &split);
    uint32_t ready = count_ready(request), left = request->wanted > ready ? request->wanted - ready : 0;
    bool wants_all_own = left >= split.own_count + split.others_count || split.others_count == 0;
    wait.wait.left = wants_all_own && left < split.own_count ? left : wants_all_own ? split.own_count : 1;
    pthread_mutex_unlock(&link->lock);
    if (left > 0 && split.own_count == 0) {
        status = wait_mixed(link, request, NULL, &split, flags, left, timeout_ms);
    } else if (left > 0 && wants_all_own && split.others_count == 0 && (flags & WIRE_WAIT_BLOCKS) != 0) {
        status = wait_own_in_task(link, request, &wait, &split, flags, timeout_ms);
    } else if (left > 0 && wants_all_own && (flags & WIRE_WAIT_BLOCKS) == 0) {
        status = wait_own(link, &wait, timeout_ms);
    } else if (left > 0) {
        status = wait_mixed(link, request, &wait, &split, flags, 1, timeout_ms);
    }
    pthread_mutex_lock(&link->lock);
    for (uint32_t i = 0; i < split.own_count; i++) {
        client_own_leave(&split.own[i]);
    }
    pthread_mutex_unlock(&link->lock);
    split_fini(&split);
    return status;
}

/* Some of the refs may be this process's own. */
static int wait_with_own(struct agent_link *link, const struct wait_request *request, uint32_t flags)
{
    uint64_t deadline = client_deadline(request->timeout_ms);
    int status = link_gone(link);
    while (status == 0 && count_ready(request) < request->wanted) {
        status = wait_round(link, request, flags, client_time_left(deadline));
    }
    return count_ready(request) >= request->wanted ? 0 : status;
}

static int agent_wait(struct roost *rt, const struct wait_request *request)
{
    struct agent_link *link = link_of(rt);
    uint32_t flags = (request->fetch ? (uint32_t)WIRE_WAIT_FETCH : 0u) |
                     (client_task != NULL && client_task->rt == rt ? (uint32_t)WIRE_WAIT_BLOCKS : 0u);
    if (atomic_load_explicit(&link->has_own, memory_order_relaxed)) {
        return wait_with_own(link, request, flags);
    }
    struct agent_ask ask = { .ask = { .kind = WIRE_WAIT,
                                      .scope = client_scope(rt),
                                      .refs = request->refs,
                                      .total = request->total,
                                      .wanted = request->wanted,
                                      .flags = flags,
                                      .ready = request->ready } };
    int status = link_gone(link);
    if (status == 0) {
        status = link_ask(link, &ask, request->timeout_ms);
    }
    take_why(request, NULL, &ask);
    if ((status == 0 || status == ROOST_ETIMEDOUT) && count_ready(request) >= request->wanted) {
        return 0;
    }
    return status != 0 ? status
                       : error_set(ROOST_EDEADLOCK, "%u of %u objects are ready, and no other ever will be",
                                   count_ready(request), request->total);
}

/* ---- holds ---- */

static int agent_keep(struct roost *rt, uint64_t scope, struct object_id id)
{
    struct agent_link *link = link_of(rt);
    int status = link_gone(link);
    if (status != 0) {
        return status;
    }
    pthread_mutex_lock(&link->lock);
    status = client_keep(link->core, scope, id);
    if (status == 0) {
        say_urgent_locked(link);
    }
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : ended_attempt(status);
}

static int agent_free(struct roost *rt, uint64_t scope, struct object_id id)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    int status = client_free(link->core, scope, id);
    say_urgent_locked(link);
    pthread_mutex_unlock(&link->lock);
    return status;
}

/* ---- calls ---- */

/* Under the lock. What the call names has been said: into the ring of submits, waiting while it is full. */
static int publish(struct agent_link *link, const struct wire_submit *submit, size_t bytes, uint64_t *ticket_out)
{
    for (unsigned tries = 0;; tries++) {
        int status = link_say_all(link);
        if (status == 0) {
            status = task_ring_push(&link->submits, 0, 0, submit, bytes, ticket_out);
        }
        if (status != ROOST_EBUSY) {
            return status;
        }
        agent_bell_ring(&link->ringer);
        pthread_mutex_unlock(&link->lock);
        link_back_off(link, tries);
        pthread_mutex_lock(&link->lock);
        link_drain_locked(link);
    }
}

/* The spec, inline in the slot or in room of its own. */
struct letter {
    struct wire_place place;
    bool has_place;
    size_t bytes; /* of `slot` that count */
    union {
        struct wire_submit head;
        unsigned char bytes[sizeof(struct wire_submit) + WIRE_TASK_INLINE_BYTES];
    } slot;
};

static int letter_write(struct agent_link *link, uint64_t scope, const struct spec *spec, uint32_t attempt,
                        struct letter *letter)
{
    bool is_inline = spec->bytes <= WIRE_TASK_INLINE_BYTES;
    letter->slot.head =
        (struct wire_submit){ .scope = scope, .spec_bytes = spec->bytes, .is_inline = is_inline, .attempt = attempt };
    if (is_inline) {
        memcpy(letter->slot.bytes + offsetof(struct wire_submit, u), spec, spec->bytes);
        letter->bytes = offsetof(struct wire_submit, u) + spec->bytes;
        letter->has_place = false;
        return 0;
    }
    int status = link_room(link, scope, WIRE_ROOM_SPEC, spec->bytes, &letter->place);
    if (status == 0) {
        store_map_write(&link->map, link_place(&letter->place), 0, spec, spec->bytes);
        letter->slot.head.u.place = letter->place;
        letter->bytes = sizeof letter->slot.head;
        letter->has_place = true;
    }
    return status;
}

static int send(struct agent_link *link, uint64_t scope, const struct spec *spec, const struct letter *letter)
{
    struct client_flight *flight;
    uint64_t ticket = 0;
    pthread_mutex_lock(&link->lock);
    int status = client_submit(link->core, scope, spec, letter->has_place ? &letter->place : NULL, &flight);
    if (status != 0) {
        if (letter->has_place) {
            client_room_drop(link->core, &letter->place, false);
        }
        pthread_mutex_unlock(&link->lock);
        return ended_attempt(status);
    }
    status = publish(link, &letter->slot.head, letter->bytes, &ticket);
    if (status == 0) {
        client_submitted(link->core, flight, ticket);
    } else {
        client_submit_undo(link->core, flight);
    }
    pthread_mutex_unlock(&link->lock);
    if (status == 0) {
        agent_bell_ring(&link->ringer);
    }
    return status;
}

struct client_call *link_submit_call_locked(struct agent_link *link, bool is_late)
{
    struct client_call *call;
    struct client_flight *flight;
    uint64_t ticket, scope;
    uint32_t attempt;
    struct letter letter = { .has_place = false };
    if (client_call_submit(link->core, is_late, &call, &flight) != 0 || call == NULL) {
        return NULL;
    }
    const struct spec *spec = client_call_spec(call, &attempt);
    ROOST_PRE(spec->bytes <= WIRE_TASK_INLINE_BYTES);
    scope = client_call_scope(call);
    letter_write(link, scope, spec, attempt, &letter);
    link->calls_under_way++;
    if (publish(link, &letter.slot.head, letter.bytes, &ticket) == 0) {
        client_submitted(link->core, flight, ticket);
        agent_bell_ring(&link->ringer);
    } else {
        client_submit_undo(link->core, flight); /* the agent is gone: so is everything */
    }
    link->calls_under_way--;
    return call;
}

static int number_and_send(struct agent_link *link, uint64_t scope, struct spec_draft *draft, struct spec *spec,
                           size_t bytes)
{
    struct letter letter;
    pthread_mutex_lock(&link->lock);
    int status = client_scope_call(link->core, scope, &draft->parent, &draft->call);
    pthread_mutex_unlock(&link->lock);
    if (status != 0) {
        return ended_attempt(status);
    }
    spec_write(draft, spec, bytes);
    if (leases_take(link, scope, spec, &status)) {
        return status == 0 ? 0 : ended_attempt(status);
    }
    status = letter_write(link, scope, spec, 0, &letter);
    return status != 0 ? status : send(link, scope, spec, &letter);
}

static int agent_submit(struct roost *rt, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out)
{
    struct agent_link *link = link_of(rt);
    _Alignas(16) unsigned char on_stack[SPEC_ON_STACK];
    size_t bytes;
    ROOST_TRY(link_gone(link));
    draft->job = rt->job;
    ROOST_TRY(spec_measure(draft, &bytes));
    struct spec *spec = bytes <= sizeof on_stack ? (struct spec *)(void *)on_stack : malloc(bytes);
    if (spec == NULL) {
        return no_memory("a call");
    }
    int status = number_and_send(link, scope, draft, spec, bytes);
    for (uint32_t i = 0; status == 0 && refs_out != NULL && i < spec->returns; i++) {
        refs_out[i] = object_ref(result_id(spec->task, i));
    }
    if ((void *)spec != (void *)on_stack) {
        free(spec);
    }
    return status;
}

static bool agent_stopping(struct roost *rt)
{
    return atomic_load_explicit(&link_of(rt)->gone, memory_order_relaxed) != 0;
}

/* ---- the cluster ---- */

/* Ask something that only the agent knows; an answer needs no work of others. */
static int ask_agent(struct agent_link *link, struct agent_ask *ask, const char *call)
{
    int status = link_gone(link);
    if (status == 0) {
        status = link_ask(link, ask, LINK_ANSWER_MS);
    }
    if (status == ROOST_ETIMEDOUT) {
        return error_set(status, "%s: the agent has not answered for %d ms", call, LINK_ANSWER_MS);
    }
    if (status == 0 && ask->ask.status != 0) {
        status = error_set(ask->ask.status, "%s: %s", call, error_name(ask->ask.status));
    }
    return status;
}

static struct roost_node_info info_of(const struct wire_node *node)
{
    struct roost_node_info info = { .node = { { node->node.hi, node->node.lo } },
                                    .alive = node->alive != 0,
                                    .cpus_total = node->cpus_hundredths_total / 100.0,
                                    .cpus_free = node->cpus_hundredths_free / 100.0,
                                    .memory_bytes_total = node->memory_bytes_total,
                                    .memory_bytes_free = node->memory_bytes_free,
                                    .store_bytes_total = node->store_bytes_total,
                                    .store_bytes_free = node->store_bytes_free };
    memcpy(info.host, node->host, sizeof info.host - 1);
    memcpy(info.labels, node->labels, sizeof info.labels - 1);
    return info;
}

static int agent_nodes(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                       size_t *count_out)
{
    struct agent_ask ask = { .ask = { .kind = WIRE_NODES } };
    int status = ask_agent(link_of(rt), &ask, "roost_nodes");
    const struct wire_node *nodes = ask.ask.items;
    for (size_t i = 0; status == 0 && i < ask.ask.items_count && i < capacity; i++) {
        struct roost_node_info info = info_of(&nodes[i]);
        memcpy((char *)nodes_out + i * info_size, &info, info_size);
    }
    if (status == 0) {
        *count_out = ask.ask.items_count;
    }
    link_ask_fini(&ask);
    return status;
}

static int agent_locate(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    uint32_t own_bytes, own_format;
    enum client_own own = client_own_look(link->core, object_id_of(ref), NULL, &own_bytes, &own_format);
    bool is_private = own == CLIENT_OWN_NOT && client_object_is_private(link->core, object_id_of(ref));
    pthread_mutex_unlock(&link->lock);
    if (is_private || own != CLIENT_OWN_NOT) { /* here, or to be, and nobody else has heard of it */
        *count_out = is_private || (own == CLIENT_OWN_SEALED && own_format != TABLE_ERROR) ? 1 : 0;
        if (*count_out > 0 && capacity > 0) {
            nodes_out[0] = (roost_node){ { rt->node.hi, rt->node.lo } };
        }
        return 0;
    }
    struct agent_ask ask = { .ask = { .kind = WIRE_LOCATE, .refs = &ref, .total = 1 } };
    int status = ask_agent(link, &ask, "roost_locate");
    const struct node_id *nodes = ask.ask.items;
    for (size_t i = 0; status == 0 && i < ask.ask.items_count && i < capacity; i++) {
        nodes_out[i] = (roost_node){ { nodes[i].hi, nodes[i].lo } };
    }
    if (status == 0) {
        *count_out = ask.ask.items_count;
    }
    link_ask_fini(&ask);
    return status;
}

static int agent_prefetch(struct roost *rt, roost_ref ref)
{
    struct agent_link *link = link_of(rt);
    ROOST_TRY(link_gone(link));
    uint32_t bytes, format;
    pthread_mutex_lock(&link->lock);
    bool is_own = client_object_is_private(link->core, object_id_of(ref)) ||
                  client_own_look(link->core, object_id_of(ref), NULL, &bytes, &format) != CLIENT_OWN_NOT;
    int status = is_own ? 0 : client_prefetch(link->core, ref); /* its own are here, or will be */
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : no_memory("a question");
}

/* ---- watches ---- */

struct agent_watch {
    struct list_node node; /* in link->watches */
    struct client_ask ask;
    struct roost *rt;
    struct watch *watch; /* until it is answered, or the link is lost */
    roost_ref ref;
    int8_t ready;
};

/* Under the link's lock. The ask is the core's no more. */
static void watch_answered(struct client_ask *ask)
{
    struct agent_watch *watch = CONTAINER_OF(ask, struct agent_watch, ask);
    pthread_mutex_lock(&watch->rt->lock);
    watch_ready_locked(watch->rt, watch->watch);
    pthread_mutex_unlock(&watch->rt->lock);
    list_remove(&watch->node);
    free(watch->ask.items); /* words: who gets the ref is told them again */
    free(watch);
}

/* Ready already? Then nobody need be asked. */
static bool is_here(struct roost *rt, roost_ref ref)
{
    struct store_view view;
    int answer = agent_look(rt, ref, &view);
    if (answer == 0 || answer == STORE_GET_ERROR) {
        agent_release(rt, view.pin);
    }
    return answer != STORE_GET_ASK && answer != STORE_GET_WAIT && answer != STORE_GET_FORWARD;
}

static int agent_watch(struct roost *rt, struct watch *watch)
{
    struct agent_link *link = link_of(rt);
    ROOST_TRY(link_gone(link));
    if (is_here(rt, watch->ref)) {
        pthread_mutex_lock(&rt->lock);
        watch_ready_locked(rt, watch);
        pthread_mutex_unlock(&rt->lock);
        return 0;
    }
    struct agent_watch *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        return no_memory("a watch");
    }
    asked->rt = rt;
    asked->watch = watch;
    asked->ref = watch->ref;
    asked->ask = (struct client_ask){ .kind = WIRE_WAIT,
                                      .bell = CLIENT_BELL_LIBRARY,
                                      .scope = client_scope(rt),
                                      .refs = &asked->ref,
                                      .total = 1,
                                      .wanted = 1,
                                      .flags = WIRE_WAIT_FETCH | WIRE_WAIT_FOLLOW,
                                      .ready = &asked->ready,
                                      .on_done = watch_answered };
    pthread_mutex_lock(&link->lock);
    int status = client_ask(link->core, &asked->ask);
    if (status == 0) {
        list_append(&link->watches, &asked->node);
        link_say_all(link); /* when the link is lost meanwhile, the watch has become ready by that */
    } else {
        free(asked);
    }
    pthread_mutex_unlock(&link->lock);
    return status;
}

void agent_watches_free(struct agent_link *link)
{
    LIST_EACH_SAFE (at, &link->watches) {
        struct agent_watch *watch = CONTAINER_OF(at, struct agent_watch, node);
        client_forget(link->core, &watch->ask);
        list_remove(&watch->node);
        free(watch);
    }
}

static void agent_close(struct roost *rt)
{
    link_close(rt->agent);
    rt->agent = NULL;
}

const struct world world_agent = {
    .close = agent_close,
    .room = agent_room,
    .room_drop = agent_room_drop,
    .seal = agent_seal,
    .result = agent_result,
    .look = agent_look,
    .release = agent_release,
    .is_copy = agent_is_copy,
    .bring = agent_bring,
    .wait = agent_wait,
    .keep = agent_keep,
    .free = agent_free,
    .submit = agent_submit,
    .stopping = agent_stopping,
    .nodes = agent_nodes,
    .locate = agent_locate,
    .prefetch = agent_prefetch,
    .watch = agent_watch,
};
