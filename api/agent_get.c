/* agent_get.c - a get of what is on this node, with an agent behind it
 *
 * Happy path: the own private objects -> the shared table, with a pin. No message, no system call. Of a small value
 *             that came back with a call a copy is seen.
 * Failures:   not here, or not yet -> the caller is told which, and waits (agent_wait.c).
 * Invariants: a pin says by its two upper bits whose it is to end.
 * Thread:     any.
 */
#include "api/agent_world.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "objectstore/range.h"
#include "worker/runtime/task.h"

#include <stdlib.h>
#include <string.h>

#define PIN_IS_COPY (UINT64_C(1) << 62) /* and not private: the rest is of agent_copies.c */

/* Something that this process has put: others' ids have other prefixes, or are hashes. */
static bool is_own_put(struct agent_link *link, roost_ref ref)
{
    return ref.id.hi == link->prefix || ref.id.hi == atomic_load_explicit(&link->run_prefix, memory_order_relaxed);
}

/* Can it be one of this process's own? A hash may be that of a call through a lease. */
static bool may_be_private(struct agent_link *link, roost_ref ref)
{
    return atomic_load_explicit(&link->has_own, memory_order_relaxed) || is_own_put(link, ref);
}

/* What the pin, which stays the caller's, keeps in its place. */
static int show_private(const struct agent_link *link, roost_ref ref, const struct client_sight *object, uint64_t pin,
                        struct store_view *view_out)
{
    const unsigned char *data = link->map.segments[object->segment].view + object->offset;
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

/* Takes the pin. Without the lock. */
static int view_private(struct agent_link *link, roost_ref ref, const struct client_sight *object, uint64_t pin,
                        struct store_view *view_out)
{
    int status = show_private(link, ref, object, pin, view_out);
    if (status < 0) {
        agent_release(link->rt, pin);
    }
    return status;
}

void agent_release(struct roost *rt, uint64_t pin)
{
    struct agent_link *link = link_of(rt);
    if ((pin & CLIENT_PIN_PRIVATE) == 0 && (pin & PIN_IS_COPY) != 0) {
        pthread_mutex_lock(&link->lock);
        copies_drop_locked(&link->copies, pin & ~PIN_IS_COPY);
        pthread_mutex_unlock(&link->lock);
    } else if ((pin & CLIENT_PIN_PRIVATE) != 0) {
        pthread_mutex_lock(&link->lock);
        client_object_unview(link->core, pin);
        link_say_urgent_locked(link);
        pthread_mutex_unlock(&link->lock);
    } else if (store_map_release(&link->map, pthread_getspecific(link->pins_key), pin)) {
        agent_bell_ring(&link->ringer);
    }
}

/* ---- values that came back with their calls ---- */

static int look_at_own(struct agent_link *link, roost_ref ref, enum look_how how, struct store_view *view_out);

/* It becomes a private object, as a put would, or one that the agent hears of, if a call names it. Another thread may have
 * been faster, or it was given up meanwhile: then whatever it is now. */
static int look_in_store(struct agent_link *link, roost_ref ref, uint32_t bytes, struct store_view *view_out)
{
    struct object_id id = object_id_of(ref);
    struct client_own_value value;
    struct wire_object object;
    struct client_sight sight;
    struct room room;
    uint64_t pin = 0;
    ROOST_TRY(agent_room(link->rt, client_scope(link->rt), bytes, &room));
    pthread_mutex_lock(&link->lock);
    bool is_still = client_own_look(link->core, id, &value) == CLIENT_OWN_SEALED && value.bytes == bytes;
    bool is_private = false;
    int status = 0;
    if (is_still) {
        const struct object_draft draft = { .size = bytes, .format = (enum table_format)value.format };
        memcpy(room.data, value.data, bytes);
        object = agent_seal_room(link, &room, &draft);
        object.id = id;
        status = client_own_settle(link->core, &object, room.in_slab);
        is_private = status == 0 && client_object_view(link->core, id, &sight, &pin);
        link_note_own_locked(link);
    }
    pthread_mutex_unlock(&link->lock);
    if (!is_still || status != 0) {
        agent_room_drop(link->rt, &room);
    }
    if (status == 0) {
        status = is_private ? view_private(link, ref, &sight, pin, view_out)
                            : look_at_own(link, ref, LOOK_LASTING, view_out);
    }
    return status;
}

/* Under the lock, which it gives up. A view is of a copy: whatever its reader does to it, the value stays. A value that
 * is too much for that, and to ride along with a call, is brought into the store. */
static int look_at_value(struct agent_link *link, roost_ref ref, const struct client_own_value *value,
                         enum look_how how, struct store_view *view_out)
{
    uint32_t bytes = value->bytes;
    uint64_t begin = 0, pin = 0;
    void *copy = NULL;
    int status = 0;
    *view_out = (struct store_view){ .format = (enum table_format)value->format, .size = bytes };
    bool is_error = view_out->format == TABLE_ERROR;
    bool is_for_store = how == LOOK_LASTING && bytes > LINK_COPY_BYTES && !is_error;
    if (how != LOOK_PEEK && !is_for_store) {
        status = copies_add_locked(&link->copies, value->data, bytes, &copy, &pin);
    }
    pthread_mutex_unlock(&link->lock);
    if (is_for_store) {
        return look_in_store(link, ref, bytes, view_out);
    }
    view_out->pin = copy == NULL ? 0 : PIN_IS_COPY | pin;
    if (status == 0) {
        status = is_error ? STORE_GET_ERROR : range_resolve(ref, bytes, NULL, 0, &begin, &view_out->size);
        view_out->data = copy == NULL ? NULL : (const unsigned char *)copy + begin;
    }
    if (status < 0 && view_out->pin != 0) {
        agent_release(link->rt, view_out->pin);
    }
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

enum { NOT_OWN = STORE_GET_FORWARD + 1 };

/* Of what this process alone knows; NOT_OWN: look at the table. */
static int look_at_own(struct agent_link *link, roost_ref ref, enum look_how how, struct store_view *view_out)
{
    struct client_own_value value;
    struct client_sight object;
    uint64_t pin;
    pthread_mutex_lock(&link->lock);
    enum client_own own = client_own_look(link->core, object_id_of(ref), &value);
    if (own == CLIENT_OWN_PENDING) { /* it may have come since anybody looked */
        uint64_t before = link->completions;
        leases_drain_locked(link);
        own = link->completions == before ? own : client_own_look(link->core, object_id_of(ref), &value);
    }
    if (own == CLIENT_OWN_SEALED) {
        return look_at_value(link, ref, &value, how, view_out);
    }
    bool is_private = own == CLIENT_OWN_NOT && client_object_view(link->core, object_id_of(ref), &object, &pin);
    pthread_mutex_unlock(&link->lock);
    return is_private                  ? view_private(link, ref, &object, pin, view_out)
           : own == CLIENT_OWN_PENDING ? STORE_GET_ASK
                                       : NOT_OWN;
}

/* False: not a put of this process. */
static bool foresee_own(struct agent_link *link, roost_ref ref)
{
    bool is_own = is_own_put(link, ref);
    if (is_own) {
        client_foresee_look(atomic_load_explicit(&link->sights, memory_order_relaxed), ref.id.lo);
    }
    return is_own;
}

int agent_look(struct roost *rt, roost_ref ref, enum look_how how, struct store_view *view_out)
{
    struct agent_link *link = link_of(rt);
    foresee_own(link, ref);
    int answer = may_be_private(link, ref) ? look_at_own(link, ref, how, view_out) : NOT_OWN;
    if (answer != NOT_OWN) {
        return answer;
    }
    struct pins_thread *thread = link_pins(link);
    answer = thread == NULL ? ROOST_ENOMEM : store_map_get(&link->map, thread, ref, view_out);
    return answer == ROOST_EFREED ? look_at_given_up(link, ref) : answer;
}

/* ---- many ---- */

void agent_look_soon(struct roost *rt, roost_ref ref)
{
    struct agent_link *link = link_of(rt);
    if (!foresee_own(link, ref) && !may_be_private(link, ref)) {
        table_prefetch(&link->map.table, object_id_of(ref));
    }
}

void agent_peek_run(struct roost *rt, const roost_ref *refs, size_t count, enum peek *answers_out)
{
    static const enum peek answers[] = {
        [CLIENT_OWN_NOT] = PEEK_UNKNOWN, [CLIENT_OWN_PENDING] = PEEK_PENDING, [CLIENT_OWN_SEALED] = PEEK_READY
    };
    struct agent_link *link = link_of(rt);
    memset(answers_out, 0, count * sizeof *answers_out);
    if (!atomic_load_explicit(&link->has_own, memory_order_relaxed)) {
        return;
    }
    bool is_drained = false;
    pthread_mutex_lock(&link->lock);
    for (size_t i = 0; i < count; i++) {
        client_foresee(link->core, refs, i, count);
        enum client_own own = client_own_look(link->core, object_id_of(refs[i]), NULL);
        if (own == CLIENT_OWN_PENDING && !is_drained) { /* it may have come since anybody looked */
            is_drained = true;
            leases_drain_locked(link);
            own = client_own_look(link->core, object_id_of(refs[i]), NULL);
        }
        answers_out[i] = answers[own];
    }
    pthread_mutex_unlock(&link->lock);
}

static size_t look_at_private(struct agent_link *link, const roost_ref *refs, size_t count,
                              struct store_view *views_out)
{
    const struct client_sight *objects[CLIENT_VIEWS_AT_ONCE];
    uint64_t pins[CLIENT_VIEWS_AT_ONCE];
    size_t seen = 0;
    pthread_mutex_lock(&link->lock);
    size_t viewed = client_objects_view(link->core, refs, count, objects, pins);
    while (seen < viewed && show_private(link, refs[seen], objects[seen], pins[seen], &views_out[seen]) == 0) {
        seen++;
    }
    client_objects_unview(link->core, &pins[seen], viewed - seen);
    pthread_mutex_unlock(&link->lock);
    return seen;
}

static size_t look_at_shared(struct agent_link *link, const roost_ref *refs, size_t count, struct store_view *views_out)
{
    struct pins_thread *thread = link_pins(link);
    size_t wanted = 0, seen = 0;
    for (; wanted < count && wanted < CLIENT_VIEWS_AT_ONCE && !may_be_private(link, refs[wanted]); wanted++) {
        table_prefetch(&link->map.table, object_id_of(refs[wanted]));
    }
    for (; thread != NULL && seen < wanted; seen++) {
        int answer = store_map_get(&link->map, thread, refs[seen], &views_out[seen]);
        if (answer == STORE_GET_ERROR) {
            store_map_release(&link->map, thread, views_out[seen].pin);
        }
        if (answer != 0) {
            break;
        }
    }
    return seen;
}

size_t agent_look_run(struct roost *rt, const roost_ref *refs, size_t count, struct store_view *views_out)
{
    struct agent_link *link = link_of(rt);
    return may_be_private(link, refs[0]) ? look_at_private(link, refs, count, views_out)
                                         : look_at_shared(link, refs, count, views_out);
}

void agent_release_many(struct roost *rt, const uint64_t *pins, size_t count)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    client_objects_unview(link->core, pins, count);
    link_say_urgent_locked(link);
    pthread_mutex_unlock(&link->lock);
    for (size_t i = 0; i < count; i++) {
        if ((pins[i] & CLIENT_PIN_PRIVATE) == 0) {
            agent_release(rt, pins[i]);
        }
    }
}
