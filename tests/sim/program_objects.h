/* program_objects.h - the objects of a program: made, put, called for, and looked at */
#ifndef ROOST_TESTS_SIM_PROGRAM_OBJECTS_H
#define ROOST_TESTS_SIM_PROGRAM_OBJECTS_H

#include "common/spec.h"
#include "objectstore/table.h"
#include "tests/sim/client.h"

static inline uint64_t below(struct client *client, uint64_t limit) { return world_below(client->world, limit); }
static inline bool one_in(struct client *client, uint64_t n) { return world_one_in(client->world, n); }

/* Bytes of the object `id`, written and not announced; false: there was no room. */
bool program_make(struct client *client, uint64_t scope, struct object_id id, enum table_format format,
                  const roost_ref *refs, uint32_t count, bool columned, struct wire_object *wire_out,
                  bool *in_slab_out);
/* The same, announced or kept private, under a new id. */
bool program_put(struct client *client, uint64_t scope, enum table_format format, const roost_ref *refs, uint32_t count,
                 bool columned, roost_ref *ref_out);
/* A call of the draft's function; false: there was no room for it. `refs_out`: room for all its results. */
bool program_call(struct client *client, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out);

struct seen {
    int32_t status; /* 0: seen and right */
    roost_ref refs[8];
    uint32_t refs_count; /* names in it */
};

/* Waits for it as long as need be, and checks what it sees. The object of a failure is looked at, as its text is
 * wanted. */
void program_look(struct client *client, uint64_t scope, roost_ref ref, struct seen *seen);

#endif
