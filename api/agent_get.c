/* agent_get.c - a get of what is on this node, with an agent behind it
 *
 * Happy path: the own private objects -> the shared table, with a pin. No message, no system call. A small value that came
 *             back with a call is seen where it lies; what may not move is copied.
 * Failures:   not here, or not yet -> the caller is told which, and waits (agent_wait.c).
 * Invariants: a pin says by its two upper bits whose it is to end.
 * Thread:     any.
 */
#include "api/agent_world.h"
#include "common/hash.h"
#include "objectstore/range.h"
#include "worker/runtime/task.h"

#include <stdlib.h>

#define PIN_IS_PRIVATE (UINT64_C(1) << 63)
#define PIN_IS_COPY    (UINT64_C(1) << 62) /* and not private: the rest is of agent_copies.c */

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

void agent_release(struct roost *rt, uint64_t pin)
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
        link_say_urgent_locked(link);
        pthread_mutex_unlock(&link->lock);
    } else if (store_map_release(&link->map, pthread_getspecific(link->pins_key), pin)) {
        agent_bell_ring(&link->ringer);
    }
}

bool agent_is_copy(const struct store_view *view)
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
int agent_bring(struct roost *rt, uint64_t scope, roost_ref ref)
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
        struct wire_object object = agent_seal_room(link, &room, &draft);
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

int agent_look(struct roost *rt, roost_ref ref, struct store_view *view_out)
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
