/* agent_objects.h - what the agent knows of objects, and the memory that they lie in
 *
 * An object's record lives while something names it or its bytes are still here. Its counters say who names it, and its
 * flags what the head knows; object.c alone moves its state. Room in the store is handed out as leases: room.c. */
#ifndef ROOST_WORKER_AGENT_CORE_AGENT_OBJECTS_H
#define ROOST_WORKER_AGENT_CORE_AGENT_OBJECTS_H

#include "common/hash.h"
#include "common/list.h"
#include "objectstore/extent.h"
#include "objectstore/table.h"
#include "proto/message.h"
#include "worker/agent/core/agent.h"

struct task;
struct job;
struct client;
struct pull;

/* ------------------------------------------------------------------ objects (object.c) */

/*  UNKNOWN --> PENDING <--> HERE <--> ELSEWHERE     a value's way; FAILED has a status and no bytes. Back from HERE to
 *     |           |          |           |          PENDING: the head has refused it, another attempt's value counts.
 *     |           |          |           |          DYING: nothing names it, its bytes or its entry wait for the last
 *     |           |          |           |          pin. An id that is named again gets a new record.
 *     +-----------+----------+-----------+--> DYING */
enum object_state {
    OBJECT_UNKNOWN = 1, /* somebody asked for it before anybody made it known */
    OBJECT_PENDING,
    OBJECT_HERE,
    OBJECT_ELSEWHERE,
    OBJECT_FAILED,
    OBJECT_DYING,
};

enum { OBJECT_VERSION_OWN = 1 << 30 }; /* in the version of what an attempt of the agent's own made */

struct object {
    struct object_id id;
    enum object_state state;
    uint64_t serial;          /* of this record: makes the version of what this node has made by its own word */
    uint32_t dying_place;     /* of DYING: names it in its token */
    struct list_node all;     /* agent.objects, in order of creation */
    struct wire_object value; /* place and sizes while HERE; sizes also when they are known */
    int32_t status;           /* of FAILED */
    struct lease *lease;      /* the slab or extent that holds the bytes, while HERE or DYING */
    struct object **contains; /* value.refs of them: what the object names; each counted in its containers */
    roost_ref *refs;          /* the same as refs, ranges and all; owned */

    /* who names it. The first four are what the head is told about (object_is_held()) */
    uint32_t scopes, tasks, transits;
    uint32_t private_containers; /* objects here that contain it and are not public */
    uint32_t containers;         /* all objects here that contain it */
    uint32_t uses;               /* inputs of gathers, results to be, parts: the record must stay, nobody holds it */
    uint32_t pins;               /* attempts and transfers that need the bytes here */

    /* what the head knows */
    bool is_public;     /* it knows the object */
    bool is_registered; /* it lists this node among the holders */
    bool is_by_hold;    /* that is by a HOLD, which comes too late when it had freed the object */
    bool is_wanted;     /* it was asked for FOUND */
    bool is_copy;       /* the bytes here can be had elsewhere: evictable */
    bool is_freed;      /* it said FREE, and was told nothing of the object since then */
    bool is_refused;    /* it wants no copy from here, and was told of none since then */
    bool says_nothing;  /* its value came from the head, which need not be told */
    bool is_marked;     /* cycle.c: something outside names it */
    bool is_being_said; /* link.c: what it contains is made public first */
    bool has_entry;     /* in the shared table, under its id */
    bool is_replaced;   /* DYING, and another record has its id by now */
    bool is_said_here;  /* `said` is of a word on its bytes, too, which lie here */
    uint32_t version;   /* the attempt of the head's that made it, or OBJECT_VERSION_OWN and a number; 0: it was put */
    uint32_t said;      /* mark of the last word to the head, in this session, that makes it known */
    uint32_t *holders;  /* nodes that have copies, as the head said last; owned */
    uint32_t holders_count;
    uint32_t index; /* of its producer's results it is this one */

    /* parts: ranges and columns of an object that were pulled here alone */
    struct object *whole; /* of a part; counted in the whole's uses */
    roost_ref part_ref;
    struct list_node parts; /* of a whole: its parts; of a part: its place among them */

    uint32_t drain;             /* UNKNOWN: the turn in which it was asked for */
    struct list_node unknown;   /* agent.unknown while UNKNOWN and not public */
    struct list_node unnamed;   /* agent.unnamed from the moment nothing names it until the step's end; agent.unheard */
    struct list_node told;      /* agent.holds or agent.drops: the head is to be told */
    uint64_t stays_until_ns;    /* a copy that somebody has waited for, so that it is seen before it goes */
    struct list_node idle;      /* agent.idle: evictable, the longest unused first */
    struct list_node consumers; /* struct input.consumer: tasks that wait for the value */
    struct list_node waits;     /* struct wait_ref.of_object */
    struct task *producer;      /* whose result it is, while that record lives */
    struct pull *pull;          /* that brings it here */
};

/* Those that wait for their last readers, each in the place that its token names. */
struct dying {
    struct dying_place {
        struct object *object; /* NULL: free */
        uint32_t next_free;    /* place + 1, or 0 */
    } * places;                /* owned */
    uint32_t capacity, first_free;
};

/* NULL for what was never heard of, and for what is dying. */
struct object *object_find(struct agent *agent, struct object_id id);
/* Will be looked for soon, and (of an object in hand) read. */
void object_foresee(const struct agent *agent, struct object_id soon, struct object_id next);
struct object *object_demand(struct agent *agent, struct object_id id);                /* found or new, UNKNOWN */
void object_expect(struct agent *agent, struct object *object, struct task *producer); /* UNKNOWN -> PENDING */
/* The bytes are at value->place, in `lease`; `refs` are taken over. Publishes it, and tells everybody who waits.
 * Without an entry of the table for it the object fails with ROOST_EFULL. */
void object_arrive(struct agent *agent, struct object *object, const struct wire_object *value, struct lease *lease,
                   roost_ref *refs);
/* No attempt of the head's has made it: its version is of this making alone, as others may make it as well. What is put
 * is made once, by one. */
void object_mark_own_result(const struct agent *agent, struct object *object);
void object_fail(struct agent *agent, struct object *object, int32_t status);
/* `counter` is one of the object's own: scopes, tasks, containers. What is unnamed goes at the end of the step. */
void object_name(struct agent *agent, struct object *object, uint32_t *counter);
/* Named by nobody: on the list of those that object_sweep() looks at. */
void object_check_named(struct agent *agent, struct object *object);
void object_unname(struct agent *agent, struct object *object, uint32_t *counter);
static inline bool object_is_named(const struct object *object)
{
    return object->scopes + object->tasks + object->transits + object->containers + object->uses > 0;
}
static inline bool object_is_named_from_outside(const struct object *object)
{
    return object->scopes + object->tasks + object->uses + object->pins > 0;
}
static inline bool object_is_held(const struct object *object)
{
    return object->scopes + object->tasks + object->transits + object->private_containers > 0;
}
/* The record of the bytes that `ref` names: the object's own, or that of its part, made if need be. A part may have
 * FAILED although its whole is well: there is no such range. */
struct object *object_part(struct agent *agent, struct object *whole, roost_ref ref);
static inline bool object_is_forward(const struct object *object)
{
    return object->state == OBJECT_HERE && object->value.format == TABLE_FORWARD && object->value.refs == 1;
}
/* The range of `ref` carried over to what its object points at. */
static inline roost_ref ref_through(roost_ref ref, roost_ref target)
{
    bool is_whole = ref.offset == 0 && ref.size == ROOST_WHOLE;
    bool target_is_whole = target.offset == 0 && target.size == ROOST_WHOLE;
    return !is_whole && target_is_whole ? (roost_ref){ target.id, ref.offset, ref.size } : target;
}
/* Where the forwards that are here lead to, from `object` on, at most STORE_FORWARDS_MAX of them; `ref`, which named
 * the first, names the same bytes under the last one's name then. */
struct object *object_behind(struct object *object, roost_ref *ref);
/* Bytes that attempts or transfers need here. */
void object_pin(struct object *object);
void object_unpin(struct agent *agent, struct object *object);
/* Readers have used them: of the copies, these go last. */
void objects_touched(struct agent *agent, const struct agent_names *names);
/* The copy here goes, the value stays elsewhere. */
void object_evict(struct agent *agent, struct object *object);
/* It has a value, on other nodes. UNKNOWN, PENDING -> ELSEWHERE. */
void object_is_elsewhere(struct agent *agent, struct object *object, const struct proto_content *content);
/* The head knows it from now on; what it contains is kept there through it. */
void object_becomes_public(struct agent *agent, struct object *object);
/* What it contains goes on without it. */
void object_let_go_of_contents(struct agent *agent, struct object *object);
/* The head has its own word on it, a failure, and does not count the bytes that lie here. */
void object_refused(struct agent *agent, struct object *object);
/* The head does not count the bytes that lie here. A result's go when no task here reads them, and those who name it
 * wait for the head's word; what was put goes with the last name here. */
void object_copy_refused(struct agent *agent, struct object *object);
/* It will have a value by this node's own doing. */
bool object_is_being_made(const struct object *object);
/* FREE: the head says that nobody names it. */
void object_free(struct agent *agent, struct object *object);
static inline bool object_is_error(const struct object *object)
{
    return object->state == OBJECT_HERE && object->value.format == TABLE_ERROR;
}
/* The step's end: lets go of what nothing names, and of what that named, and so on; in a loop, not by recursion. */
void object_sweep(struct agent *agent);
/* The head has seen more of what was said: unnamed failures that it knows of now go. */
void objects_heard(struct agent *agent);
void object_reclaimed(struct agent *agent, uint64_t place);
/* Every ring has been read: whoever waits for what is still unknown has named something that is gone. */
void object_check_unknown(struct agent *agent);
void objects_fini(struct agent *agent);
bool object_is_valid(const struct object *object);
/* May so many entries more come into the shared table? What clients make leaves some for copies and for the words of
 * failures, what they have asked room for leaves some for what comes meanwhile. */
enum object_entries { OBJECT_ENTRIES_ALL, OBJECT_ENTRIES_MADE, OBJECT_ENTRIES_ASKED };
bool object_entry_is_left(const struct agent *agent, enum object_entries which);
/* An object that the agent makes itself, of a few bytes; false when the store has no room even for that. */
bool object_write(struct agent *agent, struct object *object, uint32_t format, const void *data, size_t size,
                  const roost_ref *ref);

/* ------------------------------------------------------------------ cycles (cycle.c) */

/* A job is over: private objects that only each other name go. */
void cycles_end(struct agent *agent);

/* ------------------------------------------------------------------ room (room.c) */

/* Memory of the store in somebody's hands: a slab or an extent of a client, or the agent's own. */
struct lease {
    struct id_key key;          /* segment and offset: agent.leases */
    struct list_node of_client; /* client.leases while a client may write there; else alone */
    struct client *client;
    enum wire_room purpose;
    struct wire_place place;
    uint32_t objects;   /* announced objects that lie in it and are not yet reclaimed */
    bool is_given_back; /* no client writes there any more */
    uint64_t evicted;   /* serial of its eviction, while readers may still be there */
};

struct room_request {
    struct list_node waiting; /* agent.room_requests, in order of rank */
    struct client *client;
    uint64_t token, bytes, rank, deadline_ns;
    uint32_t purpose, bell;
};

void room_fini(struct agent *agent);
void room_ask(struct agent *agent, struct client *client, const struct wire_room_request *request);
void room_give_back(struct agent *agent, struct client *client, const struct wire_place *place);
void room_client_gone(struct agent *agent, struct client *client);
/* Does it take bytes of the store at all, its trailer included? */
bool room_is_needed(const struct wire_object *object);
/* The lease of `client` in which `object` lies, whole, or NULL. */
struct lease *room_lease_of(struct agent *agent, struct client *client, const struct wire_object *object);
/* An object now lives in the lease; an OBJECT lease is cut to its size and passes to the agent. */
void room_settle(struct agent *agent, struct lease *lease, struct wire_object *object);
/* The agent's own room for `bytes`: NULL when there is none now, and then what can be evicted is. */
struct lease *room_take(struct agent *agent, uint64_t bytes);
/* The largest segment has so many bytes. */
bool room_can_ever_hold(const struct agent *agent, uint64_t bytes);
/* How long who finds no room waits for some. */
uint64_t room_patience_ns(const struct agent *agent);
void room_object_gone(struct agent *agent, struct lease *lease);
/* The bytes of an evicted copy: a token for the day on which nobody reads them any more. */
uint64_t room_let_evicted_go(struct agent *agent, struct lease *lease);
void room_evicted(struct agent *agent, uint64_t serial);
void room_retry(struct agent *agent);
/* A copy may go now: at the step's end for who waits, if anybody does. */
void room_look_again(struct agent *agent);
uint64_t room_next_deadline(const struct agent *agent);
void room_expire(struct agent *agent);

#endif
