/* program_objects.c - what a program does with one object: it makes it, calls for it, or looks at it
 *
 * What is seen must be right: the bytes follow from the id, and a failure is an answer only when something has happened
 * in this world that explains it (oracle_may_see()).
 *
 * Failures: no room -> false. What is said to be here again and again and is not -> the world fails.
 */
#include "tests/sim/program_objects.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/sim/oracle.h"
#include "tests/sim/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS_MAX = 200, HOPS_MAX = 24 };

/* ------------------------------------------------------------------------------------------------ making */

/* As agent_room() in api/agent_world.c. */
static bool take_room(struct client *client, uint64_t scope, uint64_t bytes, struct wire_place *place_out,
                      bool *in_slab_out)
{
    uint64_t slab_bytes;
    *in_slab_out = true;
    for (int tries = 0; tries < 4; tries++) {
        if (client_slab_take(client->core, bytes, client->world->now_ns, place_out, &slab_bytes) == 0) {
            return true;
        }
        struct client_ask ask = { .kind = WIRE_ROOM, .scope = scope, .bytes = slab_bytes, .purpose = WIRE_ROOM_SLAB };
        ROOST_INVARIANT(client_ask(client->core, &ask) == 0);
        client_wait_for(client, &ask, 0);
        if (ask.status != 0 || client_slab_add(client->core, &ask.place, client->world->now_ns) != 0) {
            break;
        }
    }
    *in_slab_out = false;
    struct client_ask ask = {
        .kind = WIRE_ROOM, .scope = scope, .bytes = bytes == 0 ? 1 : bytes, .purpose = WIRE_ROOM_OBJECT
    };
    ROOST_INVARIANT(client_ask(client->core, &ask) == 0);
    client_wait_for(client, &ask, 0);
    *place_out = ask.place;
    return ask.status == 0;
}

/* Bytes and trailer of a new object; false: no room. A list's payload is its refs, a forward's is its one ref. */
bool program_make(struct client *client, uint64_t scope, struct object_id id, enum table_format format,
                  const roost_ref *refs, uint32_t count, bool columned, struct wire_object *wire_out, bool *in_slab_out)
{
    bool is_names = format == TABLE_REFS || format == TABLE_FORWARD;
    uint64_t size = is_names ? count * sizeof *refs : content_size(id);
    uint32_t columns = columned ? CONTENT_COLUMNS : 0;
    struct wire_object wire = { .id = id, .size = size, .columns = columns, .refs = count, .format = format };
    uint64_t bytes = wire_object_bytes(size, columns, count);
    if (!take_room(client, scope, bytes, &wire.place, in_slab_out)) {
        return false;
    }
    unsigned char *data = store_at(client->world, client->node, &wire.place, bytes);
    if (is_names) {
        memcpy(data, refs, size);
    } else {
        content_write(id, data);
    }
    for (uint32_t i = 0; i < columns; i++) {
        uint64_t end = content_column_end(id, i);
        memcpy(data + wire_columns_offset(size) + i * 8, &end, 8);
    }
    if (count > 0) {
        memcpy(data + wire_refs_offset(size, columns), refs, count * sizeof *refs);
    }
    if (*in_slab_out) {
        client_slab_trim(client->core, &wire.place, bytes);
    }
    *wire_out = wire;
    return true;
}

bool program_put(struct client *client, uint64_t scope, enum table_format format, const roost_ref *refs, uint32_t count,
                 bool columned, roost_ref *ref_out)
{
    struct object_id id;
    struct wire_object wire;
    bool in_slab;
    ROOST_INVARIANT(client_scope_next_id(client->core, scope, &id) == 0);
    if (!program_make(client, scope, id, format, refs, count, columned, &wire, &in_slab)) {
        return false;
    }
    ROOST_INVARIANT(client_object_add(client->core, scope, &wire, refs, in_slab) == 0);
    *ref_out = object_ref(id);
    return true;
}

/* False: no room for its spec. */
bool program_call(struct client *client, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out)
{
    size_t bytes;
    ROOST_INVARIANT(client_scope_call(client->core, scope, &draft->parent, &draft->call) == 0);
    draft->job = client->job;
    if (spec_measure(draft, &bytes) != 0) {
        world_fail(client->world, "no spec: %s", error_text());
    }
    struct spec *spec = malloc(bytes);
    ROOST_INVARIANT(spec != NULL);
    spec_write(draft, spec, bytes);
    oracle_keep(client, spec); /* freed with the process if it dies in here */
    struct wire_place place;
    bool has_place = bytes > WIRE_TASK_INLINE_BYTES;
    if (has_place) {
        struct client_ask ask = { .kind = WIRE_ROOM, .scope = scope, .bytes = bytes, .purpose = WIRE_ROOM_SPEC };
        ROOST_INVARIANT(client_ask(client->core, &ask) == 0);
        client_wait_for(client, &ask, 0);
        if (ask.status != 0) {
            oracle_let_go(client, spec);
            return false;
        }
        place = ask.place;
    }
    struct client_flight *flight;
    ROOST_INVARIANT(client_submit(client->core, scope, spec, has_place ? &place : NULL, &flight) == 0);
    client_publish(client, scope, spec, has_place ? &place : NULL, flight);
    for (uint32_t i = 0; i < draft->returns && refs_out != NULL; i++) {
        refs_out[i] = object_ref(result_id(spec->task, i));
    }
    char names[160] = "";
    for (size_t i = 0, used = 0; i < draft->args_count && client->world->options.trace && used < 120; i++) {
        if (draft->args[i].kind == ROOST_IN_REF || draft->args[i].kind == ROOST_IN_HANDLE ||
            draft->args[i].kind == ROOST_IN_GATHER) {
            used += (size_t)snprintf(names + used, sizeof names - used, " %llx",
                                     world_word(object_id_of(draft->args[i].as.ref)));
        }
    }
    world_tell(client->world, (int)client->node->place, "client %u calls %s %llx: of%s, %u returns", client->key.slot,
               draft->function, (unsigned long long)spec->task.lo, names, draft->returns);
    oracle_let_go(client, spec);
    return true;
}

/* ------------------------------------------------------------------------------------------------ looking */

/* `copy`, NULL for a private one: what was retired while it was looked at may be of an object that has been freed, and
 * another of its name, with other names in it, may be known by now. */
static void check_bytes(struct client *client, const struct copy *copy, roost_ref ref, const struct wire_object *object,
                        const unsigned char *whole, const unsigned char *data, uint64_t size, struct seen *seen)
{
    struct object_id id = object_id_of(ref);
    bool is_part = ref.offset != 0 || ref.size != ROOST_WHOLE;
    if (object->format == TABLE_REFS) {
        bool is_right = object->size == object->refs * sizeof(roost_ref) &&
                        memcmp(whole, whole + wire_refs_offset(object->size, 0), object->size) == 0;
        if (!is_right) {
            world_fail(client->world, "place %u: list %llx is not as it was made", client->node->place, world_word(id));
        }
    } else {
        uint64_t begin = ref.size != ROOST_COLUMN ? ref.offset
                         : ref.offset == 0        ? 0
                                                  : content_column_end(id, (uint32_t)ref.offset - 1);
        uint64_t wanted = ref.size == ROOST_COLUMN  ? content_column_end(id, (uint32_t)ref.offset) - begin
                          : ref.size == ROOST_WHOLE ? content_size(id) - begin
                                                    : ref.size;
        if (size != wanted || !content_is_right(id, data, begin, size)) {
            world_fail(client->world, "place %u: client %u sees other bytes in %llx:%llx (%llu from %llu)",
                       client->node->place, client->key.slot, (unsigned long long)id.hi, world_word(id),
                       (unsigned long long)size, (unsigned long long)ref.offset);
        }
    }
    if (!is_part && object->refs > 0) {
        const unsigned char *refs = whole + wire_refs_offset(object->size, object->columns);
        if (copy == NULL || copy->token == 0) {
            oracle_seen(client, id, refs, object->refs);
        }
        seen->refs_count = object->refs < 8 ? object->refs : 8;
        memcpy(seen->refs, refs, seen->refs_count * sizeof(roost_ref));
    }
}

static bool look_private(struct client *client, roost_ref ref, struct seen *seen)
{
    struct client_sight sight;
    uint64_t pin;
    if (!client_object_view(client->core, object_id_of(ref), &sight, &pin)) {
        return false;
    }
    const struct wire_object object = { .place = { .offset = sight.offset, .segment = sight.segment },
                                        .size = sight.size,
                                        .columns = sight.columns,
                                        .refs = sight.refs,
                                        .format = sight.format };
    uint64_t bytes = wire_object_bytes(object.size, object.columns, object.refs);
    const unsigned char *data = store_at(client->world, client->node, &object.place, bytes);
    roost_ref whole = object_ref(object_id_of(ref));
    check_bytes(client, NULL, whole, &object, data, data, object.size, seen);
    if (one_in(client, 4)) {
        client_sleep(client, below(client, 3 * SIM_MS));
        check_bytes(client, NULL, whole, &object, data, data, object.size, seen);
    }
    client_object_unview(client->core, pin);
    return true;
}

static int program_wait(struct client *client, uint64_t scope, roost_ref ref)
{
    int8_t ready = 0;
    uint64_t began_ns = client->world->now_ns;
    while (ready == 0) {
        struct client_ask ask = { .kind = WIRE_WAIT,
                                  .scope = scope,
                                  .refs = &ref,
                                  .total = 1,
                                  .wanted = 1,
                                  .flags = WIRE_WAIT_FETCH | (scope != 0 ? (uint32_t)WIRE_WAIT_BLOCKS : 0),
                                  .ready = &ready };
        ROOST_INVARIANT(client_ask(client->core, &ask) == 0);
        if (!client_wait_for(client, &ask, one_in(client, 6) ? below(client, 20 * SIM_MS) + 1 : 2000 * SIM_MS)) {
            ROOST_INVARIANT(client_unwait(client->core, &ask) == 0);
            client_wait_for(client, &ask, 0);
        }
        if (ready == 0) {
            oracle_waits(client, ref, began_ns);
        }
    }
    return ready;
}

void program_look(struct client *client, uint64_t scope, roost_ref ref, struct seen *seen)
{
    struct view view;
    int8_t refused = 0;
    int hops = 0;
    *seen = (struct seen){ 0 };
    for (int looks = 0; looks < LOOKS_MAX; looks++) {
        if (look_private(client, ref, seen)) {
            return;
        }
        switch (store_look(client->world, client->node, ref, &view)) {
        case LOOK_HERE:
            client_pin(client, view.copy);
            const struct wire_object object = view.copy->object;
            const unsigned char *whole = object.size + object.refs + object.columns == 0
                                             ? view.data
                                             : store_at(client->world, client->node, &object.place, object.size);
            check_bytes(client, view.copy, ref, &object, whole, view.data, view.size, seen);
            if (one_in(client, 3)) { /* looks for a while */
                client_sleep(client, below(client, 20 * SIM_MS));
                check_bytes(client, view.copy, ref, &object, whole, view.data, view.size, seen);
            }
            client_unpin(client, view.copy);
            return;
        case LOOK_FORWARD:
            ref = view.forward;
            if (++hops > HOPS_MAX) {
                seen->status = ROOST_ELIMIT;
                return;
            }
            refused = 0;
            break;
        case LOOK_FAILED:
        case LOOK_ERROR:
            seen->status = view.status;
            oracle_may_see(client, ref, view.status, view.text);
            return;
        case LOOK_ASK:
            if (refused != 0) {
                seen->status = refused;
                oracle_may_see(client, ref, refused, "as the wait said");
                return;
            }
            int ready = program_wait(client, scope, ref);
            refused = ready < 0 ? (int8_t)ready : 0;
            break;
        }
    }
    world_fail(client->world, "place %u: %llx was said to be here %d times, and was not", client->node->place,
               world_word(object_id_of(ref)), LOOKS_MAX);
}
