/* agent_call.c - a call, and what a scope holds, with an agent behind it
 *
 * Happy path: number -> spec -> to a worker under lease, or: the core announces what it names -> all that is said ->
 *             the slot in the ring of submits.
 * Failures:   the agent is gone -> ROOST_EDISCONNECTED, or why the job ended; no memory for the spec -> nothing was
 *             said.
 * Invariants: a name is known to the agent before the slot that holds it.
 * Thread:     any. The link's lock is never held while waiting for an answer.
 */
#include "api/agent_world.h"
#include "common/hash.h"

#include <stdlib.h>

enum { SPEC_ON_STACK = 4096 };

/* ---- holds ---- */
enum { HOLDS_AT_ONCE = 256 }; /* under one lock, which others want, too */

int agent_keep(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count)
{
    struct agent_link *link = link_of(rt);
    int status = link_gone(link);
    if (status != 0) {
        return status;
    }
    for (size_t kept = 0; kept < count && status == 0;) {
        size_t some = count - kept < HOLDS_AT_ONCE ? count - kept : HOLDS_AT_ONCE;
        pthread_mutex_lock(&link->lock);
        status = client_keep_many(link->core, scope, refs + kept, some);
        kept += status == 0 ? some : 0;
        if (status != 0) {
            client_free_many(link->core, scope, refs, kept);
        }
        if (kept == count || status != 0) { /* what came before goes in the same few words */
            link_say_urgent_locked(link);
        }
        pthread_mutex_unlock(&link->lock);
    }
    return status == 0 ? 0 : agent_ended_attempt(status);
}

size_t agent_free(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count)
{
    struct agent_link *link = link_of(rt);
    size_t freed = 0, some;
    do {
        some = count - freed < HOLDS_AT_ONCE ? count - freed : HOLDS_AT_ONCE;
        pthread_mutex_lock(&link->lock);
        size_t done = client_free_many(link->core, scope, refs + freed, some);
        freed += done;
        some -= done;
        link_note_own_locked(link);
        link_say_urgent_locked(link);
        pthread_mutex_unlock(&link->lock);
    } while (some == 0 && freed < count);
    return freed;
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
        return agent_ended_attempt(status);
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
    struct letter letter;
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
        return agent_ended_attempt(status);
    }
    spec_write(draft, spec, bytes);
    if (leases_take(link, scope, spec, &status)) {
        return status == 0 ? 0 : agent_ended_attempt(status);
    }
    status = letter_write(link, scope, spec, 0, &letter);
    return status != 0 ? status : send(link, scope, spec, &letter);
}

int agent_submit(struct roost *rt, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out)
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

bool agent_stopping(struct roost *rt) { return atomic_load_explicit(&link_of(rt)->gone, memory_order_relaxed) != 0; }
