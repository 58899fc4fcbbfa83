/* client_core_internal.h - what the files of the client core share */
#ifndef ROOST_API_CORE_CLIENT_CORE_INTERNAL_H
#define ROOST_API_CORE_CLIENT_CORE_INTERNAL_H

#include "api/core/client_core.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/prefetch.h"
#include "objectstore/slab.h"

/* Anything that waits for its turn in the ring of requests. */
enum saying_kind {
    SAY_ENTRY = 1, /* a small entry as it stands */
    SAY_NAMES,     /* ids that one scope gave up, or holds from now on */
    SAY_OBJECT,    /* an object is announced, or a result */
    SAY_ASK        /* a question of the host's */
};

struct say_entry {
    struct client_saying say;
    union {
        struct wire_entry head;
        struct wire_room_back back;
        struct wire_ask ask;
        struct wire_run run;
        struct wire_adopt adopt;
        struct wire_lease lease;
        struct wire_lease_back lease_back;
        struct wire_escape escape; /* these two with what follows them */
        struct wire_settle settle;
    } u;
};

struct say_names {
    struct client_saying say;
    uint64_t scope;
    uint32_t kind; /* WIRE_FREE or WIRE_HOLD */
    uint32_t count;
    struct object_id ids[WIRE_REFS_PER_ENTRY];
};

enum object_state {
    OBJECT_PRIVATE = 1, /* nobody else knows it */
    OBJECT_LEAVING,     /* to be announced: what it contains goes first */
    OBJECT_SAID,        /* waits for its turn in the ring */
    OBJECT_ANNOUNCED,   /* the agent's; here only while somebody looks at its bytes in place */
    OBJECT_DEAD         /* nobody names it; here only while somebody looks at its bytes */
};

struct client_object {
    struct client_saying say; /* while SAID */
    struct list_node node;
    enum object_state state;
    struct wire_object wire;
    struct client_name *name; /* NULL: dead, or a result */
    bool in_slab;             /* else a lease of its own */
    roost_ref *refs;          /* wire.refs of them; owned, gone once said */
    uint32_t refs_visited;    /* while LEAVING: looked below; while SAID: said */
    uint64_t number;          /* names its slot in core->sights */
    bool is_result;
    uint64_t run;        /* the scope that announces it; for a result, its attempt */
    struct task_id task; /* whose result `index` it is, of a call through a lease; else none */
    uint32_t index;
    struct client_object *above; /* while LEAVING: the container that waits for it */
};

struct client_name {
    union {
        struct list_node node;          /* in scope->names */
        struct client_name *next_spare; /* in core->names_spare */
    };
    struct client_scope *scope;
    struct object_id id;
    uint32_t holds, ties;
    bool is_registered;           /* the agent counts our scope among its holders */
    bool is_doomed;               /* on core->doomed */
    bool is_made_here;            /* small, by this process: on this node, or about to be */
    struct client_object *object; /* while private, or announced with views */
    struct own_result *result;    /* of a call through a lease, while it is this process's own */
};

struct client_scope {
    struct list_node node, names_list;
    uint64_t number, prefix, calls;
    struct task_id task;
    struct id_map names;
    struct say_entry *untold; /* its WIRE_RUN, until something is said under it; else NULL; owned */
    bool is_again;            /* of a later attempt: others may have made its calls before */
};

struct client_flight {
    struct list_node node;
    uint64_t ticket;            /* 0: not published yet */
    struct client_scope *scope; /* NULL: has ended */
    struct wire_place spec_place;
    bool has_place;
    uint32_t ties_count, results_count; /* results are the last of the ties */
    struct object_id ties[];
};

/* sights.c */
struct sight_slot {
    struct client_sight sight;
    struct client_object *object; /* NULL: free */
    uint64_t number;              /* its place is in the lower bits */
    uint64_t prefix;              /* id.hi of what a scope put, while it is private: its id.lo is `number`; else 0 */
    uint64_t views;
};

/* own_results.c */
struct own_result {
    struct client_call *call;
    struct client_name *name; /* NULL: nobody wants it, or (is_gone) it goes on elsewhere */
    bool is_sealed, is_gone;
    uint32_t bytes, format;
    void *data; /* owned, or `few` */
    _Alignas(8) unsigned char few[32];
    struct list_node waits; /* struct client_own_node */
    struct list_node needs; /* struct need: calls that wait for it */
};

/* needs.c */
struct need {                   /* of one argument that names something */
    struct list_node of_result; /* while the result is pending */
    struct client_call *call;
    struct client_name *name; /* tied by it, until its scope ends */
    uint32_t arg;             /* which */
};

/* calls.c */
enum call_state { CALL_WAITING = 1, CALL_QUEUED, CALL_PUSHED, CALL_LEAVING, CALL_DONE, CALL_GONE };

struct client_call {
    struct list_node of_queue;
    enum call_state state;
    uint64_t scope;
    struct client_lease *lease;
    uint64_t ticket, queued_ns, expected_ns;
    uint64_t function; /* hash of its name */
    uint32_t attempt;
    uint32_t results_count, results_left; /* results; those with a name */
    uint32_t needs_left;                  /* while WAITING */
    struct client_call *above;            /* while it is let out: the call that needs it */
    uint32_t needs_visited;
    bool is_orphan;  /* its scope has ended */
    bool is_urgent;  /* PUSHED, and counted in calls_urgent_count */
    bool is_escaped; /* the agent has it among its tasks, and waits for the values */
    uint32_t needs_count;
    struct need *needs;
    struct spec *spec; /* behind the results and the needs */
    struct own_result results[];
};

/* How long a function takes, as seen here. */
struct pace {
    uint64_t function; /* hash of its name */
    uint64_t mean_ns;
};
enum { PACES = 256 }; /* a later function takes the place of one with the same remainder */

struct client_core {
    struct list_node calls_waiting, calls_met, calls_queued, calls_leaving, leases;
    uint32_t calls_waiting_count, calls_queued_count, calls_urgent_count;
    uint64_t owned_count; /* results that a name stands for, and objects that such have become */
    uint64_t calls_queued_ns;
    struct pace paces[PACES];
    struct list_node scopes, objects, flights, sayings, doomed;
    struct client_name *names_spare; /* at most NAMES_SPARE_MAX, to be used again; owned */
    uint32_t names_spare_count;
    struct client_scope root;
    struct client_scope *spare_run; /* of a run that ended without a word, with its `untold`; or NULL; owned */
    struct id_map asks_by_token;
    struct slab_book slabs;
    struct sight_slot *sights;
    void *sights_memory;                /* which they lie in; owned */
    uint32_t sights_count, sights_used; /* a power of two, or 0 */
    uint64_t sights_next;               /* no number from it on has been given out */
    uint64_t tokens;
    uint64_t waited; /* refs in the waits that are open */
    int ended;
    char ended_text[WIRE_TEXT_BYTES_MAX + 1];
    uint64_t hash;
};

/* client_core.c */
/* Something is about to be said under the scope. */
void scope_tell(struct client_core *core, struct client_scope *scope);
struct client_scope *core_scope(const struct client_core *core, uint64_t number);
static inline void core_note(struct client_core *core, uint64_t what, uint64_t value)
{
    core->hash = hash_step(hash_step(core->hash, what), value);
}

/* names.c */
struct client_name *name_find(const struct client_scope *scope, struct object_id id);
/* Found or made, with neither hold nor tie when made: name_settle() it if nothing comes of it. NULL: no memory. */
struct client_name *name_need(struct client_core *core, struct client_scope *scope, struct object_id id);
/* LOOK_AHEAD steps before a name is needed its place is asked for, half as many (`is_soon`) before, the name itself. */
enum { LOOK_AHEAD = 8 };
void name_foresee(const struct client_scope *scope, struct object_id id, bool is_soon);
void name_untie(struct client_core *core, struct client_name *name);
/* What is neither held nor tied goes, and what only it kept. */
void name_settle(struct client_core *core, struct client_name *name);
void names_fini(struct client_core *core);
void scope_drop_names(struct client_core *core, struct client_scope *scope);

/* sights.c */
void sights_fini(struct client_core *core);
/* The slot of an object. It may move when another one is taken. */
struct sight_slot *sight_of(const struct client_core *core, const struct client_object *object);
/* The number that the next object will have. ROOST_ENOMEM. */
int sight_next(struct client_core *core, uint64_t *number_out);
/* A slot for a new object, and its number. ROOST_ENOMEM. */
int sight_take(struct client_core *core, struct client_object *object);
void sight_give(struct client_core *core, const struct client_object *object);
/* What a scope puts is found by its id, of its prefix and number, from here on; or not any more. */
void sight_show(struct client_core *core, const struct client_object *object);
void sight_hide(struct client_core *core, const struct client_object *object);
/* Is it the id of something that a scope puts, or has put? Then it is no result's. */
bool id_is_of_put(const struct client_core *core, struct object_id id);
/* NULL: there is no private object of this id. */
struct sight_slot *sight_of_private(const struct client_core *core, struct object_id id);
/* One more look; the pin names it until its end. */
uint64_t sight_look(struct sight_slot *slot);
/* NULL: it names no look at what was private then, or that is gone. */
struct sight_slot *sight_of_pin(const struct client_core *core, uint64_t pin);

/* objects.c */
void object_untie_refs(struct client_core *core, struct client_object *object, struct client_scope *scope);
/* Looks at what the scope made end with it. */
void objects_unview_scope(struct client_core *core, uint64_t scope);
struct client_object *object_find_private(const struct client_core *core, struct object_id id); /* or NULL */
/* What it finds is asked for. */
void private_foresee(const struct client_core *core, struct object_id id);
/* Everything private below these names and they themselves: say them, in order. Cannot fail. */
void object_announce(struct client_core *core, struct client_object *object);
/* Its last name is gone. */
void object_orphan(struct client_core *core, struct client_object *object);
void object_said(struct client_core *core, struct client_object *object);
void object_destroy(struct client_core *core, struct client_object *object);

/* calls.c */
void calls_init(struct client_core *core);
void calls_fini(struct client_core *core);
uint64_t calls_ties(const struct client_core *core); /* of arguments of calls that are not done */
/* WAITING -> QUEUED, behind the others. */
void call_queue(struct client_core *core, struct client_call *call);
/* It fails without having run: each result is what `failed` is. */
void call_fail_by(struct client_core *core, struct client_call *call, const struct own_result *failed);
/* A pushed call is urgent while others wait for its end: client_calls_are_urgent(). */
void call_set_urgent(struct client_core *core, struct client_call *call, bool is_urgent);
/* Is it done, and has no result a name? Then nothing of it is left but memory, and that goes. */
void call_drop_if_over(struct client_call *call);

/* own_results.c */
/* A new call, its spec in place: its results are pending, each held once under its name. ROOST_EEXIST: a name is in use
 * already; ROOST_ENOMEM. No name has changed then. */
int own_results_begin(struct client_core *core, struct client_scope *scope, struct client_call *call);
/* It is done, and not yet untied: each result is sealed, or is the agent's. */
void own_results_take(struct client_core *core, struct client_call *call, const struct client_done *done);
/* It goes the agent's way, submitted: so do its results. */
void own_results_move(struct client_core *core, struct client_call *call);
/* The call's memory is about to go: the values' goes. */
void own_results_fini(struct client_call *call);
/* The result of a call through a lease, while it is this process's own; or NULL. */
struct own_result *own_find(const struct client_core *core, struct object_id id);
/* Its name is about to leave the process: the agent knows of it first. Nothing when the id is no own result. */
void own_let_out(struct client_core *core, struct object_id id);
/* The agent hears of the call, which has not escaped, and of those whose results it needs; it may be freed by that. */
void call_let_out(struct client_core *core, struct client_call *call);
/* Its name has gone. */
void own_result_unwanted(struct client_core *core, struct own_result *result);

/* flights.c */
/* Of a call whose scope has ended, and that the agent knows. NULL: no memory. */
struct client_flight *flight_orphan(struct client_core *core);

/* needs.c */
/* WAITING -> LEAVING: the agent's way. */
void call_leave(struct client_core *core, struct client_call *call);
/* The call of an argument, from needs_visited on, that the agent has not heard of and that is not done; NULL: there is
 * none. */
struct client_call *need_below(struct client_core *core, struct client_call *call);
/* The names of a new call's arguments, its needs in place; nothing is tied. ROOST_EEXIST: one may go before the call is
 * done, or is not to be given along; ROOST_ENOENT: an input was not made here, as far as is known, and others are not here. */
int needs_find(const struct client_scope *scope, struct client_call *call, bool others_are_here);
/* Its arguments are tied; it waits, or needs_settle() finds it. */
void needs_begin(struct client_core *core, struct client_call *call);
/* It is done, or gone. */
void needs_end(struct client_core *core, struct client_call *call);
/* The result has got its value, or (is_moved) will get it from the agent. */
void needs_tell(struct client_core *core, struct own_result *result, bool is_moved);
/* Calls whose last need was met are queued, leave, or fail. */
void needs_settle(struct client_core *core);

/* The bytes are the object's; it belongs to the name, and ties nothing. NULL: no memory. */
struct client_object *object_adopt(struct client_core *core, const struct wire_object *wire, bool in_slab,
                                   struct client_name *name);

/* slabs.c */
/* An object's room in a slab: it is the agent's, or free again. */
void slab_left(struct client_core *core, const struct wire_place *place, bool announced);

/* flights.c, asks.c */
void flight_taken(struct client_core *core, uint64_t ticket);
void ask_take(struct client_core *core, const struct wire_entry *entry);

/* outbox.c */
void say(struct client_core *core, struct client_saying *saying, enum saying_kind kind);
/* Of WIRE_FREE or WIRE_HOLD, in one entry with those of the same kind and scope said just before. False: no memory. */
bool say_name(struct client_core *core, uint32_t kind, uint64_t scope, struct object_id id);
/* Without memory these are lost; what they would have given back then goes with the client. */
void say_free(struct client_core *core, uint64_t scope, struct object_id id);
void say_room_back(struct client_core *core, const struct wire_place *place);
struct say_entry *say_entry_new(uint32_t kind, size_t bytes);
void sayings_drop_scope(struct client_core *core, uint64_t scope);
void saying_destroy(struct client_core *core, struct client_saying *saying);

#endif
