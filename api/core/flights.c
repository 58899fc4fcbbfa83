/* flights.c - calls between their submission and the agent's TAKEN
 *
 * Owns the calls in flight. A flight ties what the call names, so that a free of it waits: the agent may read the ring
 * of requests, where frees are, before an earlier entry of the ring of submits.
 *
 * Happy path: submit -> (published) submitted -> taken.
 * Failures:   not published -> undo: nobody ever hears of the results.
 *             the scope ends meanwhile -> the flight goes on without names; a SPEC lease still goes back when taken.
 * Invariants: a flight of a living scope has a tie on each of its names, once per mention.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"
#include "common/hash.h"

#include <stdlib.h>

static uint32_t count_refs(const struct spec *spec)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        count += spec_arg_ref(&spec_args(spec)[i], &ref);
    }
    return count;
}

static struct client_flight *flight_new(struct client_scope *scope, const struct spec *spec)
{
    uint32_t results = (spec->flags & SPEC_UNHELD) != 0 ? 0 : spec->returns, ties = 0;
    struct client_flight *flight = calloc(1, sizeof *flight + (count_refs(spec) + results) * sizeof flight->ties[0]);
    if (flight == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            flight->ties[ties++] = object_id_of(ref);
        }
    }
    for (uint32_t i = 0; i < results; i++) {
        flight->ties[ties++] = result_id(spec->task, i);
    }
    flight->scope = scope;
    flight->ties_count = ties;
    flight->results_count = results;
    list_init(&flight->node);
    return flight;
}

static void untie_first(struct client_core *core, struct client_flight *flight, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        name_untie(core, name_find(flight->scope, flight->ties[i]));
    }
}

static int tie_all(struct client_core *core, struct client_flight *flight)
{
    for (uint32_t i = 0; i < flight->ties_count; i++) {
        if (i + LOOK_AHEAD < flight->ties_count) {
            name_foresee(flight->scope, flight->ties[i + LOOK_AHEAD], false);
            name_foresee(flight->scope, flight->ties[i + LOOK_AHEAD / 2], true);
        }
        struct client_name *name = name_need(core, flight->scope, flight->ties[i]);
        if (name == NULL) {
            untie_first(core, flight, i);
            return ROOST_ENOMEM;
        }
        name->ties++;
    }
    return 0;
}

static bool is_result(const struct client_flight *flight, uint32_t tie)
{
    return tie >= flight->ties_count - flight->results_count;
}

int client_submit(struct client_core *core, uint64_t number, const struct spec *spec,
                  const struct wire_place *spec_place, struct client_flight **flight_out)
{
    struct client_scope *scope = core_scope(core, number);
    if (scope == NULL) {
        return ROOST_ESTATE;
    }
    struct client_flight *flight = flight_new(scope, spec);
    if (flight == NULL || tie_all(core, flight) != 0) {
        free(flight);
        return ROOST_ENOMEM;
    }
    for (uint32_t i = 0; i < flight->ties_count; i++) {
        if (i + LOOK_AHEAD < flight->ties_count) {
            client_foresee_look(client_sights(core), flight->ties[i + LOOK_AHEAD].lo);
            private_foresee(core, flight->ties[i + LOOK_AHEAD / 2]);
        }
        if (is_result(flight, i)) {
            struct client_name *name = name_find(scope, flight->ties[i]);
            name->holds++;
            name->is_registered = true; /* the agent enters the submitter when it reads the call */
        } else {
            struct client_object *object = object_find_private(core, flight->ties[i]);
            if (object != NULL) {
                object_announce(core, object);
            }
            own_let_out(core, flight->ties[i]);
        }
    }
    scope_tell(core, scope);
    if (spec_place != NULL) {
        flight->spec_place = *spec_place;
        flight->has_place = true;
    }
    list_append(&core->flights, &flight->node);
    core_note(core, 40, spec->task.lo);
    *flight_out = flight;
    return 0;
}

struct client_flight *flight_orphan(struct client_core *core)
{
    struct client_flight *flight = calloc(1, sizeof *flight);
    if (flight != NULL) {
        list_init(&flight->node);
        list_append(&core->flights, &flight->node);
    }
    return flight;
}

void client_submitted(struct client_core *core, struct client_flight *flight, uint64_t ticket)
{
    ROOST_PRE(flight->ticket == 0 && ticket != 0);
    flight->ticket = ticket;
    core_note(core, 41, ticket);
}

static void flight_end(struct client_core *core, struct client_flight *flight)
{
    list_remove(&flight->node);
    if (flight->scope != NULL) {
        untie_first(core, flight, flight->ties_count);
    }
    if (flight->has_place) {
        say_room_back(core, &flight->spec_place);
    }
    free(flight);
}

void client_submit_undo(struct client_core *core, struct client_flight *flight)
{
    for (uint32_t i = 0; i < flight->ties_count && flight->scope != NULL; i++) {
        if (is_result(flight, i)) {
            struct client_name *name = name_find(flight->scope, flight->ties[i]);
            name->is_registered = false;
            name->holds -= name->holds > 0;
        }
    }
    flight_end(core, flight);
}

/* Calls are taken in about the order in which they were published: the search ends early. */
void flight_taken(struct client_core *core, uint64_t ticket)
{
    LIST_EACH (at, &core->flights) {
        struct client_flight *flight = CONTAINER_OF(at, struct client_flight, node);
        if (flight->ticket == ticket && ticket != 0) {
            core_note(core, 42, ticket);
            flight_end(core, flight);
            return;
        }
    }
}
