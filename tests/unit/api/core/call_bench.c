/* The bench of calls: a client's core with one lease, whose worker and agent the test plays. */
#include "tests/unit/api/core/call_bench.h"
#include "common/hash.h"
#include "objectstore/table.h"
#include "tests/lib/test.h"

#include <string.h>

enum { LEASE = 40 };

struct client_core *core;
struct core_out out;
struct client_lease lease;

void start(void)
{
    const struct client_core_setup setup = { 77, { 5, 6 } };
    CHECK_EQ(client_core_create(&setup, &core), 0);
    CHECK_EQ(core_out_init(&out, CLIENT_OUT_BYTES_MAX), 0);
    client_lease_add(core, &lease, LEASE);
}

void finish(void)
{
    client_core_destroy(core);
    core_out_fini(&out);
}

const char *said(void)
{
    static char text[1024];
    static const char *const names[WIRE_KINDS] = {
        [WIRE_ESCAPE] = "ESCAPE", [WIRE_SETTLE] = "SETTLE",    [WIRE_ADOPT] = "ADOPT",         [WIRE_FREE] = "FREE",
        [WIRE_HOLD] = "HOLD",     [WIRE_LEASE_BACK] = "BACK",  [WIRE_LEASE_BROKEN] = "BROKEN", [WIRE_RUN] = "RUN",
        [WIRE_WAIT] = "WAIT",     [WIRE_ANNOUNCE] = "ANNOUNCE"
    };
    size_t used = 0;
    text[0] = '\0';
    CHECK(client_core_is_valid(core));
    while (client_core_has_more(core)) {
        core_out_clear(&out);
        client_core_emit(core, &out);
        for (const struct core_command *at = core_next(&out, NULL); at != NULL; at = core_next(&out, at)) {
            const struct wire_entry *entry = core_body(at);
            CHECK_EQ(wire_check(entry, entry->bytes), 0);
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? " " : "", names[entry->kind]);
            CHECK(used < sizeof text);
        }
    }
    return text;
}

struct spec *spec_of(struct spec_draft draft)
{
    size_t bytes;
    draft.function = draft.function == NULL ? "f" : draft.function;
    draft.cpus_hundredths = draft.cpus_hundredths == 0 ? 100 : draft.cpus_hundredths;
    draft.returns = 1;
    CHECK_EQ(client_scope_call(core, 0, &draft.parent, &draft.call), 0);
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    spec_write(&draft, spec, bytes);
    return spec;
}

struct object_id call(struct spec_draft draft)
{
    struct spec *spec = spec_of(draft);
    struct object_id id = result_id(spec->task, 0);
    CHECK_EQ(client_call_add(core, 0, spec, true, 1), 0);
    free(spec);
    return id;
}

struct object_id put(bool in_slab)
{
    struct wire_object wire = { .size = 100, .format = TABLE_RAW, .place = { 0, 65536, 0, 0 } };
    uint64_t wanted;
    if (in_slab) {
        CHECK_EQ(client_slab_add(core, &wire.place, 0), 0);
        CHECK_EQ(client_slab_take(core, wire.size, 0, &wire.place, &wanted), 0);
    }
    CHECK_EQ(client_scope_next_id(core, 0, &wire.id), 0);
    CHECK_EQ(client_object_add(core, 0, &wire, NULL, in_slab), 0);
    return wire.id;
}

uint64_t push(void)
{
    static uint64_t ticket = 100;
    struct client_lease *to;
    struct client_call *next;
    uint64_t count = 0;
    while ((next = client_call_next(core, &to)) != NULL) {
        client_call_pushed(core, next, to, ++ticket, 1);
        count++;
    }
    return count;
}

void complete(uint64_t value, bool is_stored)
{
    struct client_done done = { .run = WIRE_RUN_OWN | 1, .results = 1, .duration_ns = 1000 };
    done.result[0].is_stored = is_stored;
    done.result[0].bytes = sizeof value;
    done.result[0].data = &value;
    client_call_done(core, client_call_at(lease.pushed.next), &done, 2);
}

uint64_t value_of(struct object_id id)
{
    struct client_own_value own;
    uint64_t value;
    CHECK_EQ(client_own_look(core, id, &own), CLIENT_OWN_SEALED);
    CHECK_EQ(own.bytes, sizeof value);
    memcpy(&value, own.data, sizeof value);
    return value;
}

struct object_id call_on(struct object_id id)
{
    const roost_in arg = roost_in_ref(object_ref(id));
    return call((struct spec_draft){ .args = &arg, .args_count = 1, .max_retries = 3 });
}
