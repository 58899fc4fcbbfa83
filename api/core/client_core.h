/* client_core.h - what a client of an agent knows and says: names, private objects, calls in flight, questions
 *
 * A core in the sense of common/core.h: it does no input or output, reads no clock and draws no random number; the same
 * calls in the same order leave the same state and the same entries. Its host (api/agent_world.c) calls it under one
 * lock, writes what it emits into the ring of requests, hands it what the agent answers, and does all waiting.
 *
 * What it keeps:
 *   scope    who holds names: 0 is the client, any other one attempt of a task. Ends with all that it holds.
 *   name     one object as one scope knows it: how often it is held, how often it is tied. Ties keep a name that the
 *            user gave up: a call that the agent has not taken yet, a private object that contains it. What is neither
 *            held nor tied is freed, silently when it is private.
 *   object   bytes that only this process knows of. It is announced, after what it contains, when its name is about to
 *            leave: in a call, in a result, inside an object that is announced.
 *   flight   a call between its submission and the agent's TAKEN.
 *   ask      a question to the agent: room, a wait, where, who.
 *
 * Commands: CORE_REPLY alone; its body is an entry for the ring of requests. Entries leave in the order in which they
 * were said. Long ones leave in pieces, so that a step never has more to emit than the host has room for. */
#ifndef ROOST_API_CORE_CLIENT_CORE_H
#define ROOST_API_CORE_CLIENT_CORE_H

#include "common/core.h"
#include "common/list.h"
#include "common/spec.h"
#include "objectstore/wire.h"

enum {
    CLIENT_SCOPE = 0,       /* of the client itself */
    CLIENT_FREES_LAZY = 64, /* so many names given up are worth a message of their own */
    CLIENT_OUT_BYTES_MAX = 64 << 10,
};

struct client_core;
struct client_flight;

struct client_core_setup {
    uint64_t prefix;     /* id.hi of what scope 0 puts */
    struct task_id root; /* the parent of what scope 0 calls */
};

int client_core_create(const struct client_core_setup *setup, struct client_core **core_out);
/* NULL is fine. Asks that are under way are the host's and just forgotten. */
void client_core_destroy(struct client_core *core);

/* ---- scopes ---- */

/* ROOST_EEXIST, ROOST_ENOMEM. */
int client_scope_begin(struct client_core *core, uint64_t scope, struct task_id task, uint64_t prefix);

/* The scope of a task of a lease: the agent hears of it (WIRE_RUN) before the first entry that needs it, and only then.
 * Before anything is said under it. ROOST_EEXIST, ROOST_ENOMEM. */
int client_run_begin(struct client_core *core, uint64_t run, struct task_id task, uint32_t attempt);
/* Has the agent heard of it? Then it is to be told of the end, too. */
bool client_run_is_told(const struct client_core *core, uint64_t run);

/* Everything it holds goes; nothing is said, as the agent ends its side with the attempt. Its calls in flight go on. */
void client_scope_end(struct client_core *core, uint64_t scope);

/* The number of the scope's next call, and on whose behalf it calls. ROOST_ESTATE: no such scope (any more). */
int client_scope_call(struct client_core *core, uint64_t scope, struct task_id *parent_out, uint64_t *call_out);

/* A new id for something that the scope puts. ROOST_ESTATE. */
int client_scope_id(struct client_core *core, uint64_t scope, struct object_id *id_out);

/* ---- room for small objects: slabs leased from the agent ---- */

/* Room inside the newest slab for an object in the making of at most STORE_LARGE_BYTES, trailer included.
 * SLAB_WANTED: there is none; ask for WIRE_ROOM_SLAB of *slab_bytes_out, add it, try again. `now_ns` tells how fast
 * slabs are used up. */
int client_slab_take(struct client_core *core, uint64_t bytes, uint64_t now_ns, struct wire_place *place_out,
                     uint64_t *slab_bytes_out);
int client_slab_add(struct client_core *core, const struct wire_place *place, uint64_t now_ns); /* ROOST_ENOMEM */
/* The object needs only `bytes` of what was allotted. */
void client_slab_trim(struct client_core *core, struct wire_place *place, uint64_t bytes);

/* Memory that will not become an object: back to its slab, or to the agent. */
void client_room_drop(struct client_core *core, const struct wire_place *place, bool in_slab);

/* ---- private objects ---- */

/* `wire` is sealed and belongs to the scope, which holds it once. Its memory is in a slab, or a lease of its own.
 * `refs` (wire->refs of them) are copied, and tied for as long as the object is private. ROOST_ESTATE, ROOST_ENOMEM:
 * nothing has changed, the memory is still the caller's. */
int client_object_add(struct client_core *core, uint64_t scope, const struct wire_object *wire, const roost_ref *refs,
                      bool in_slab);

/* A look at a private object: its bytes stay where they are until client_object_unview(). False: it is not private. */
bool client_object_view(struct client_core *core, struct object_id id, struct wire_object *wire_out, uint64_t *pin_out);
void client_object_unview(struct client_core *core, uint64_t pin);
bool client_object_is_private(const struct client_core *core, struct object_id id);

/* ---- holds ---- */

/* One more hold. ROOST_ESTATE, ROOST_ENOMEM. */
int client_keep(struct client_core *core, uint64_t scope, struct object_id id);
/* One less. ROOST_ENOENT: the scope does not hold it; nothing changed. */
int client_free(struct client_core *core, uint64_t scope, struct object_id id);
uint32_t client_holds(const struct client_core *core, uint64_t scope, struct object_id id);

/* ---- calls ---- */

/* A call is about to be published: what it names is announced, its arguments and results are tied until it is taken,
 * its results held (unless SPEC_UNHELD). `spec_place` is the SPEC lease it lies in, or NULL. The host publishes when
 * client_core_has_more() is false, then says which ticket it got.
 * ROOST_ESTATE, ROOST_ENOMEM: nothing has changed. */
int client_submit(struct client_core *core, uint64_t scope, const struct spec *spec,
                  const struct wire_place *spec_place, struct client_flight **flight_out);
void client_submitted(struct client_core *core, struct client_flight *flight, uint64_t ticket);
/* It could not be published: its results are not held, its ties go. */
void client_submit_undo(struct client_core *core, struct client_flight *flight);

/* A worker's result `index` of the attempt `run`: said at once, after what it names. The memory is the agent's then.
 * ROOST_ESTATE, ROOST_ENOMEM: nothing said, the memory is still the caller's. */
int client_result(struct client_core *core, uint64_t run, uint32_t index, const struct wire_object *wire,
                  const roost_ref *refs, bool in_slab);

/* ---- questions ---- */

/* Something that waits for its turn in the ring of requests. The core's own. */
struct client_saying {
    struct list_node node;
    uint32_t kind;
};

/* One question. The host's memory, unmoved between client_ask() and client_forget(). */
struct client_ask {
    /* filled in by the host */
    enum wire_kind kind; /* WIRE_ROOM, WIRE_WAIT, WIRE_LOCATE, WIRE_NODES; WIRE_PREFETCH has no answer */
    uint32_t bell;       /* the agent rings it when it has answered */
    uint64_t scope;
    uint64_t bytes;                          /* ROOM */
    uint32_t purpose;                        /* ROOM */
    const roost_ref *refs;                   /* WAIT: `total` of them; LOCATE, PREFETCH: one. Borrowed until said */
    uint32_t total, wanted;                  /* WAIT */
    uint32_t flags;                          /* WAIT */
    int8_t *ready;                           /* WAIT: `total` zeros; becomes the answer */
    void (*on_done)(struct client_ask *ask); /* NULL, or called last when it is answered, under the host's lock */
    /* the answer */
    bool done;
    int32_t status;
    struct wire_place place; /* ROOM */
    void *items;             /* LOCATE: struct node_id; NODES: struct wire_node; free()d by client_forget() */
    uint32_t items_count;
    /* the core's */
    struct client_saying say;
    uint64_t token;
    uint32_t said, answered, items_capacity;
};

/* Said with the next entries. ROOST_ENOMEM; ROOST_EBUSY for a wait beyond CLIENT_WAITED_MAX. */
int client_ask(struct client_core *core, struct client_ask *ask);
/* "Answer that wait now." ROOST_ENOMEM. */
int client_unwait(struct client_core *core, const struct client_ask *ask);
/* Whether answered or not; room that is given later goes back by itself. */
void client_forget(struct client_core *core, struct client_ask *ask);

/* An asynchronous hint: no answer. ROOST_ENOMEM. */
int client_prefetch(struct client_core *core, roost_ref ref);

/* ---- the agent ---- */

/* One checked entry from the ring of replies or of taken. Entries for people (OUTPUT) are the host's and not for here.
 */
void client_core_take(struct client_core *core, const struct wire_entry *entry);

/* 0, or the status with which the job ended; its text. */
int client_core_ended(const struct client_core *core, const char **text_out);

/* ---- what is to be said ---- */

/* Anything? */
bool client_core_has_more(const struct client_core *core);
/* Anything that should not wait for company? Names given up do, up to CLIENT_FREES_LAZY. */
bool client_core_is_urgent(const struct client_core *core);
/* Write entries into `out` (empty, of CLIENT_OUT_BYTES_MAX) until all is said or no room is left. They count as said.
 */
void client_core_emit(struct client_core *core, struct core_out *out);

/* ---- for tests ---- */

struct client_core_counts {
    uint64_t scopes, names, objects, slabs, flights, asks, sayings;
};
struct client_core_counts client_core_count(const struct client_core *core);
/* O(everything). */
bool client_core_is_valid(const struct client_core *core);
uint64_t client_core_hash(const struct client_core *core);

#endif
