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
#include "objectstore/lease_page.h"
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
int client_run_begin(struct client_core *core, uint64_t run, struct task_id task);
/* Has the agent heard of it? Then it is to be told of the end, too. */
bool client_run_is_told(const struct client_core *core, uint64_t run);
/* The scope is of a later attempt: calls that it makes may be known, so they all go the agent's way. */
void client_scope_is_again(struct client_core *core, uint64_t scope);

/* Everything it holds goes; nothing is said, as the agent ends its side with the attempt. Its calls in flight go on. */
void client_scope_end(struct client_core *core, uint64_t scope);

/* The number of the scope's next call, and on whose behalf it calls. ROOST_ESTATE: no such scope (any more). */
int client_scope_call(struct client_core *core, uint64_t scope, struct task_id *parent_out, uint64_t *call_out);

/* The id that an object of the scope would have now. It is not taken: the next object of any scope, a result's too, has the
 * number, so add it before anything else is made. ROOST_ESTATE, ROOST_ENOMEM: *id_out is as it was. */
int client_scope_next_id(struct client_core *core, uint64_t scope, struct object_id *id_out);

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

enum { CLIENT_VIEWS_AT_ONCE = 16 };
#define CLIENT_PIN_PRIVATE (UINT64_C(1) << 63) /* set in every pin of such a look, and in no other */

/* Where the bytes lie, and what they are. */
struct client_sight {
    uint64_t offset, size; /* of the payload */
    uint32_t segment, columns, refs;
    uint32_t format; /* enum table_format */
};

/* `wire` is sealed and belongs to the scope, which holds it once; its id is of client_scope_next_id(). Its memory is in a slab,
 * or a lease of its own.
 * `refs` (wire->refs of them) are copied, and tied for as long as the object is private. ROOST_ESTATE, ROOST_ENOMEM:
 * nothing has changed, the memory is still the caller's. */
int client_object_add(struct client_core *core, uint64_t scope, const struct wire_object *wire, const roost_ref *refs,
                      bool in_slab);

/* A look at a private object: its bytes stay where they are until client_object_unview(). False: it is not private. */
bool client_object_view(struct client_core *core, struct object_id id, struct client_sight *sight_out,
                        uint64_t *pin_out);
void client_object_unview(struct client_core *core, uint64_t pin);
/* Where the sights lie now. */
uintptr_t client_sights(const struct client_core *core);
/* What a look at the put of this id.lo will read there, or the end of a look of this pin, is asked for. Needs no lock: of
 * sights that have moved since, nothing is read. */
void client_foresee_look(uintptr_t sights, uint64_t number);
/* Such a look at each of the first of `count` refs, at most CLIENT_VIEWS_AT_ONCE, until one is not private; returns how
 * many. What all these looks read comes from the memory at the same time. The sights are to be read under the host's
 * lock. */
size_t client_objects_view(struct client_core *core, const roost_ref *refs, size_t count,
                           const struct client_sight *sights_out[], uint64_t pins_out[]);
/* The ends of as many looks; of a pin that is none of a private object, nothing happens. */
void client_objects_unview(struct client_core *core, const uint64_t *pins, size_t count);
bool client_object_is_private(const struct client_core *core, struct object_id id);

/* ---- holds ---- */

/* One more hold of each. ROOST_ESTATE, ROOST_ENOMEM: of none. */
int client_keep_many(struct client_core *core, uint64_t scope, const roost_ref *refs, size_t count);
/* One less of each, in turn, up to the first that the scope does not hold. How many those are. */
size_t client_free_many(struct client_core *core, uint64_t scope, const roost_ref *refs, size_t count);
/* Of one. ROOST_ENOENT: it is not held. */
static inline int client_keep(struct client_core *core, uint64_t scope, struct object_id id)
{
    const roost_ref ref = object_ref(id);
    return client_keep_many(core, scope, &ref, 1);
}
static inline int client_free(struct client_core *core, uint64_t scope, struct object_id id)
{
    const roost_ref ref = object_ref(id);
    return client_free_many(core, scope, &ref, 1) == 1 ? 0 : ROOST_ENOENT;
}
/* Something will be done about number `i` of the refs now, and about the next ones soon: what that reads is asked for. */
void client_foresee(const struct client_core *core, const roost_ref *refs, size_t i, size_t count);
uint32_t client_holds(const struct client_core *core, uint64_t scope, struct object_id id);
/* Does any scope hold or tie it? Then it is no object that was given up, whatever the table still says of an earlier
 * one: a call that is made again gives its results the same ids. */
bool client_is_named(const struct client_core *core, struct object_id id);

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
    enum wire_kind kind; /* WIRE_ROOM, WIRE_WAIT, WIRE_LOCATE, WIRE_NODES, WIRE_LEASE; WIRE_PREFETCH has no answer */
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
    struct wire_place place;   /* ROOM */
    struct wire_leased leased; /* LEASE */
    void *items; /* LOCATE: struct node_id; NODES: struct wire_node; WAIT: NULL or a WHY; free()d by client_forget() */
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

/* ---- calls through leases (calls.c): made by this process, run by a worker of the node, known to nobody else ---- */

struct client_call;

/* A worker that takes calls of this process. Part of the host's record of it. */
struct client_lease {
    struct list_node of_core, pushed; /* the calls in its ring, oldest first */
    uint64_t number, ahead_ns;        /* what is in the ring should take so long */
    uint64_t changed_ns;              /* the last push into an empty ring, or completion */
    uint32_t depth;                   /* calls in `pushed` */
    bool is_wanted;                   /* by others: it goes back once nothing is in its ring */
    bool is_recalled, is_blocked, has_ended;
    bool is_slow; /* the host has taken back what waited behind a long call: nothing goes there until it is done */
};

/* May calls be pushed there? */
static inline bool client_lease_is_open(const struct client_lease *lease)
{
    return !lease->is_recalled && !lease->is_blocked && !lease->has_ended;
}

/* How a call of a lease ended. The results' bytes are borrowed. */
struct client_done {
    uint64_t run;
    int32_t status; /* 0: its results follow */
    uint64_t duration_ns;
    const struct wire_failure *failure; /* when the status is not 0 */
    uint32_t results;
    struct {
        bool is_stored;
        uint32_t bytes;
        const void *data;
    } result[LEASE_RETURNS_MAX];
};

/* May a call go through a lease at all, by its options and shape? One function, for all who ask. */
bool client_call_may_lease(const struct spec *spec);

/* It will be added soon: the searches of that are asked for. */
void client_call_foresee(const struct client_core *core, uint64_t scope, const struct spec *spec);
/* The call waits for a lease, and before that for those of its arguments that are pending results of such calls; its
 * own results are held by the scope, pending, this process's own. ROOST_EEXIST: it has to go the agent's way (a call
 * made again, an argument that the scope does not hold, a handle of such a result, too many that wait). ROOST_ENOENT: it
 * reads what is neither a result of this process's own nor small and put by it: the host is to see first that it is here;
 * then `others_are_here`. ROOST_ESTATE, ROOST_ENOMEM. Nothing has changed then. */
int client_call_add(struct client_core *core, uint64_t scope, const struct spec *spec, bool others_are_here,
                    uint64_t now_ns);
/* The next call to push, and into which ring; NULL: none waits, or no ring should have more. Then one of the two
 * below. */
struct client_call *client_call_next(struct client_core *core, struct client_lease **lease_out);
void client_call_pushed(struct client_core *core, struct client_call *call, struct client_lease *lease, uint64_t ticket,
                        uint64_t now_ns);
/* What goes into the slot: struct lease_task and what follows it; at most TASK_PAYLOAD_BYTES_MAX. */
size_t client_call_write(const struct client_core *core, const struct client_call *call, void *to);
const struct spec *client_call_spec(const struct client_call *call, uint32_t *attempt_out);
/* Is more to be done than hand out a value once a call is completed? Others wait for it, or for the lease, or an argument
 * is to be given up, or calls that were not pushed go on. Else who waits for the value takes it in, at leisure if nobody does. */
bool client_calls_are_urgent(const struct client_core *core);
/* How many wait for a lease. */
uint32_t client_calls_queued(const struct client_core *core);
/* A result of the scope's queued call number `place`, or of the next one that has any, for somebody who waits until the
 * queue is shorter: held once more, to be freed by client_free(). False: there is none. */
bool client_calls_hold_queued(struct client_core *core, uint64_t scope, uint32_t place, struct object_id *id_out);
/* How long the queued ones should take, and with those that were pushed; when the oldest was queued. */
uint64_t client_calls_queued_ns(const struct client_core *core);
uint64_t client_calls_ahead_ns(const struct client_core *core);
uint64_t client_calls_oldest_ns(const struct client_core *core);

/* By its place in `pushed`. */
struct client_call *client_call_at(struct list_node *of_queue);
uint64_t client_call_ticket(const struct client_call *call);
/* What was completed under `ticket`, or NULL: nobody pushed that. */
struct client_call *client_call_of(struct client_lease *lease, uint64_t ticket);
void client_call_done(struct client_core *core, struct client_call *call, const struct client_done *done,
                      uint64_t now_ns);
/* Taken back unclaimed: it waits again, before those that came later. */
void client_call_taken_back(struct client_core *core, struct client_call *call);
/* Its worker has not begun it: an argument is not here any more. It goes the agent's way, as client_calls_leave() says. */
void client_call_needs_pull(struct client_core *core, struct client_call *call, uint64_t now_ns);
/* Its attempt died with its worker: it waits again, as its next attempt. False: it has none left; the host says why it
 * failed. `attempts_out`: how many there were. */
bool client_call_try_again(struct client_core *core, struct client_call *call, uint32_t *attempts_out);
/* A call goes the agent's way, as client_submit() of it: one whose argument went there, or, when `is_late`, the oldest
 * that is queued. NULL: there is none. The host frees the spec's memory with client_call_forget() once it is published.
 * ROOST_ENOMEM: it stays. */
int client_call_submit(struct client_core *core, bool is_late, struct client_call **call_out,
                       struct client_flight **flight_out);
bool client_calls_leave(const struct client_core *core); /* is there one of the first kind? */
/* The scope is about to end, and what is unclaimed of its calls has been taken back: all but those that run go the
 * agent's way, as client_calls_leave() says; of these the agent hears, and keeps what they read. */
void client_calls_scope_ends(struct client_core *core, uint64_t scope);
uint64_t client_call_scope(const struct client_call *call); /* 0: also when it has ended */
void client_call_forget(struct client_call *call);

void client_lease_add(struct client_core *core, struct client_lease *lease, uint64_t number);
/* Its worker wrote what cannot be: nothing more goes there, and the agent is told to end it. */
void client_lease_break(struct client_core *core, struct client_lease *lease);
/* No call is in its ring. Says BACK. ROOST_ENOMEM: it stays. */
int client_lease_remove(struct client_core *core, struct client_lease *lease);

/* Results of such calls (own_results.c). */
/* False: nothing under a result's id is known to this process alone. */
bool client_owns_any(const struct client_core *core);
enum client_own { CLIENT_OWN_NOT, CLIENT_OWN_PENDING, CLIENT_OWN_SEALED };
struct client_own_value {
    const void *data; /* borrowed, until anything happens to the core */
    uint32_t bytes, format;
};
/* SEALED: its value in `*value_out`, which may be NULL. Of no result, or one that has gone the agent's way, NOT. */
enum client_own client_own_look(const struct client_core *core, struct object_id id,
                                struct client_own_value *value_out);
/* Its bytes lie in the store by now: it is a private object like any other. ROOST_ENOENT: it is no sealed own result
 * any more. ROOST_ENOMEM. The memory is the caller's still, then. */
int client_own_settle(struct client_core *core, const struct wire_object *wire, bool in_slab);

/* Where its call stands, for people. False: it is no pending one. O(calls that stand before it). */
struct client_pending {
    char function[ROOST_NAME_BYTES_MAX + 1], text[128];
    uint32_t attempts;                /* that ended with their workers */
    const struct client_lease *lease; /* whose worker has it; NULL: none has */
};
bool client_own_pending(const struct client_core *core, struct object_id id, uint64_t now_ns,
                        struct client_pending *pending_out);

/* A thread that waits for some of them. */
struct client_own_wait {
    uint32_t left;                                 /* so many must still be sealed */
    bool is_over;                                  /* enough are, */
    bool is_moved;                                 /* or one of them went the agent's way: look again */
    void (*on_over)(struct client_own_wait *wait); /* called once, under the host's lock */
};
struct client_own_node {
    struct list_node of_result;
    struct client_own_wait *wait;
    int8_t *ready;
};
/* When it is pending the node is attached, and `*node->ready` becomes 1 once it is sealed. */
enum client_own client_own_attend(struct client_core *core, struct object_id id, struct client_own_node *node);
/* Nobody waits with it any more. */
void client_own_leave(struct client_own_node *node);

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
