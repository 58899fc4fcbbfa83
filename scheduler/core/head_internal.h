/* head_internal.h - the records of the head's core, and what its files ask of each other
 *
 * Who holds what: the head holds every record. A member record lives for ever (its number comes back), an object
 * record until it is freed, a task record while it is not done or one of its returns lives, a job record until its
 * JOB_END. Records point at each other; each pointer is cleared by the file that owns the record it leads to. */
#ifndef ROOST_SCHEDULER_CORE_HEAD_INTERNAL_H
#define ROOST_SCHEDULER_CORE_HEAD_INTERNAL_H

#include "common/contract.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/list.h"
#include "common/spec.h"
#include "proto/message.h"
#include "scheduler/core/head.h"
#include "scheduler/core/placement.h"
#include "scheduler/core/records.h"

#include <stdarg.h>

enum {
    HEAD_OUT_BYTES_MAX = 64 << 20,
    HEAD_OUT_RESERVE = 32 << 20, /* less than this left: the rest is for another step. The largest single reaction (an
                                  * object, a death or a job's end told to NODES_MAX nodes, a task of ROOST_ARGS_MAX
                                  * arguments) is below it */
    HEAD_NOBODY = 0              /* the head's own number, so nobody's among nodes */
};

struct task;
struct job;
struct gather;

/* ------------------------------------------------------------------ small parts (parts.c) */

/* A growing array of pointers, used as a queue: next is the first that was not taken yet. */
struct line {
    void **at;
    size_t next, count, capacity;
};
void line_add(struct line *line, void *item);
void *line_take(struct line *line); /* NULL when empty */
static inline bool line_is_empty(const struct line *line) { return line->next == line->count; }

/* A small set of node numbers, ascending. */
struct numbers {
    uint16_t *at;
    uint16_t count, capacity;
};
bool numbers_has(const struct numbers *numbers, uint32_t number);
bool numbers_add(struct numbers *numbers, uint32_t number);    /* false: was there */
bool numbers_remove(struct numbers *numbers, uint32_t number); /* false: was not */

/* Why something failed; shared by the returns of a task and those of its dependents. */
struct failure {
    uint32_t refs;
    struct proto_failure what; /* its texts lie behind it */
};
struct failure *failure_copy(const struct proto_failure *what);
struct failure *failure_make(int status, const char *node, const char *format, ...) ROOST_PRINTF(3, 4);
void failure_unref(struct failure *failure);
static inline struct failure *failure_ref(struct failure *failure)
{
    failure->refs++;
    return failure;
}

void *head_alloc(size_t bytes); /* zeroed; a daemon without memory for a record ends */
void *head_grow(void *old, size_t count, size_t bytes);
char *head_text(const char *text); /* a copy; NULL is "" */

/* ------------------------------------------------------------------ members (member.c) */

/*  ALIVE <--> SUSPECT     DRAINING takes nothing new. DEAD: this incarnation is over; the next HELLO of the node begins
 *    |  \--> DRAINING     another (DEAD -> ALIVE).
 *    +----------+--> DEAD */
struct pending_edges {
    struct list_node of_member;
    struct object_id object;
    struct object_id *ids;
    size_t count;
};

struct member {
    uint32_t number, incarnation;
    struct node_id id;
    enum proto_node_state state;
    struct proto_stop stop;      /* what a DRAINING one was told */
    bool has_session, is_placed; /* is_placed: known to the placement */
    bool must_list;              /* of the ledger, and has not listed: holds back the census */
    uint64_t heard_ns;
    struct list_node hearing;            /* head.hearing, the one longest silent first; alone when dead */
    uint64_t news, told;                 /* of its last change; of the last change of any that it has been told */
    uint32_t mark, mark_base;            /* last used; that of the present session's beginning */
    uint64_t deaths_sent, deaths_echoed; /* of head.deaths, counted from the first ever */
    uint32_t deaths_mark;                /* of the last notice */
    char *host, *address, *labels;
    uint64_t memory_domain, memory_bytes, store_bytes;
    uint32_t cpus_hundredths;
    struct proto_load load;      /* as it was told last; what it has pulled is kept apart, peer by peer: */
    struct proto_pulled *pulled; /* PULL_PEERS_COUNTED_MAX + 1 places, or NULL: nothing yet; owned */
    size_t pulled_count;
    struct list_node tasks;    /* struct task.line: EARLY and PLACED here */
    struct list_node homed;    /* struct task.of_home */
    struct list_node edges;    /* struct pending_edges */
    size_t edges_count;        /* their names, and one for each */
    struct object_id *freeing; /* names of the FREE that the turn's end sends */
    size_t freeing_count, freeing_capacity;
    bool frees_copies;                   /* some of them were refused, and may have been said once more since then */
    struct list_node with_freeing;       /* head.with_freeing */
    uint32_t list;                       /* being received, or 0 */
    uint32_t list_seen;                  /* at its beginning */
    struct id_map listed;                /* object id -> enum listed_flag, of the list being received */
    uint32_t listed_held, listed_stored; /* how many have the flag */
    uint32_t held, stored;               /* objects that it holds; that lie there */
};

struct death {
    uint32_t node, incarnation;
};

struct news {                       /* in the arena of a step */
    const struct proto_node *nodes; /* changed after `told`; NULL: not put together in this step */
    size_t count;
    uint64_t told;
};

struct member *member_at(const struct head *head, uint32_t number);       /* NULL: never was */
struct member *member_of(const struct head *head, struct core_peer peer); /* NULL: not this life, or dead */
static inline bool member_lives(const struct member *member) { return member->state != PROTO_NODE_DEAD; }
const char *member_name(const struct head *head, uint32_t number);
int members_restore(struct head *head, const struct head_fact *facts, size_t count);
void members_fini(struct head *head);
void member_session_up(struct head *head, const struct core_event *event);
void member_session_lost(struct head *head, struct core_peer peer);
/* Something came: it lives, and has seen so much. */
void member_heard(struct head *head, struct member *member, uint32_t seen);
/* The mark up to which this member is known to have applied what was sent. */
uint32_t member_seen(const struct member *member, uint32_t seen);
void member_die(struct head *head, struct member *member, const char *why);
/* The first step, or the first after a standstill: everybody's time begins with ours. */
void members_begin(struct head *head);
void members_arm(struct head *head);
/* What it does not know yet of the nodes; before anything else is sent to it. */
void member_tell_news(struct head *head, struct member *member);
/* All, as far as there is room. */
void members_tell_news(struct head *head);
void members_expire(struct head *head);
void member_load(struct head *head, struct member *member, const struct proto_load *load);
void member_stop(struct head *head, const struct proto_stop *stop);
/* Next mark, for a message that answers will be compared with. */
uint32_t member_mark(struct head *head, struct member *member);
bool member_is_valid(const struct head *head, const struct member *member);

/* ------------------------------------------------------------------ objects (object.c) */

/*  UNKNOWN --> PENDING --> SEALED --> LOST        UNKNOWN: named after a restart, before its keeper has listed it.
 *     |  \--------+-------> ^ |        |          LOST may be sealed again: a copy turned up.
 *     |           v           v        |
 *     +-------> FAILED <------+--------+          the record goes when nothing names it */
enum object_state { OBJECT_UNKNOWN = 1, OBJECT_PENDING, OBJECT_SEALED, OBJECT_FAILED, OBJECT_LOST };

enum object_flag {
    OBJECT_UNNAMED = 1 << 0,    /* on head.unnamed */
    OBJECT_CHANGED = 1 << 1,    /* on head.changed */
    OBJECT_TOLD_ALL = 1 << 2,   /* of the change: holders are told too, not only those who want it */
    OBJECT_BUSY = 1 << 3,       /* its lists are being walked */
    OBJECT_MARKED = 1 << 4,     /* cycle.c: something outside names it */
    OBJECT_WAS_SEALED = 1 << 5, /* size and fingerprint are those of its first seal, also when it is lost */
    OBJECT_LED_ON = 1 << 6      /* on head.changed: what it leads to has changed, so who waits for it looks again */
};

enum { OBJECT_MANY = 3 }; /* more than two: in struct object_more */

struct holder {
    uint32_t mark; /* of the last mention, 0: none */
    uint16_t node;
};

/* A public object. 80 bytes, and 5 to 11 in the index: there are a hundred million of them. */
struct object {
    struct object_id id;
    uint64_t size, fingerprint;
    uint32_t version;
    uint32_t containers; /* living objects that contain it */
    struct object_more *more;
    struct input *inputs; /* of specs at the head that name it: the first, linked in a ring; NULL: none */
    uint32_t mark[2];
    uint16_t node[2];                     /* holders */
    uint16_t location[2];                 /* where its bytes are */
    uint8_t nodes_count, locations_count; /* 0 to 2, or OBJECT_MANY */
    uint8_t state, format;
    uint16_t home;
    uint16_t flags;
};

/* What few objects have. */
struct object_more {
    struct holder *holders; /* ascending */
    uint32_t holders_count, holders_capacity;
    struct numbers locations, wants, coming; /* coming: a task there will pull it */
    struct object **contained;
    uint32_t contained_count;
    struct list_node watches; /* struct watch.of_object */
    struct gather *gather;    /* when tasks gather what it names */
    struct task *producer;
    struct failure *failure;
    void *value;
    bool has_value;
    uint32_t columns; /* 0: none are declared */
};

struct object *head_object_find(const struct head *head, struct object_id id); /* NULL: unknown */
struct object *head_object_make(struct head *head, struct object_id id, enum object_state state);
/* Found, or made UNKNOWN while a census goes on; else NULL. */
struct object *head_object_named(struct head *head, struct object_id id);
/* The record with this number, or NULL; for walks in order of creation (of records: they are used again). */
struct object *head_object_number(const struct head *head, uint32_t number);
struct object_more *head_object_more(struct object *object);
void head_object_trim(struct object *object); /* gives back what it does not need beside its record */
void head_objects_fini(struct head *head);

void head_object_set_state(struct head *head, struct object *object, enum object_state state);
/* No value of it is known, and none was to this head: the first that lies somewhere is it. */
static inline bool head_object_is_open(const struct object *object)
{
    bool was_sealed = (object->flags & OBJECT_WAS_SEALED) != 0;
    return object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING ||
           (object->state == OBJECT_LOST && !was_sealed);
}
void head_object_seal(struct head *head, struct object *object, const struct proto_content *content);
void head_object_set_value(struct object *object, const struct proto_bytes *value);
/* Takes the failure over. `state` is FAILED or LOST. */
void head_object_fail(struct head *head, struct object *object, enum object_state state, struct failure *failure);
/* Tell those who want it, and with `all` those who hold it. */
void head_object_changed(struct head *head, struct object *object, bool all);
/* It is as it was, but what it leads to is not. */
void head_object_led_on(struct head *head, struct object *object);
/* A result that only names another one. */
bool head_object_is_forward(const struct object *object);
/* The first that is none, from `object` on; after STORE_FORWARDS_MAX of them the next, as nobody reads on. */
struct object *head_object_end(struct object *object);
/* Nobody is to make it: its home is dead, and its call is not known here. In a census somebody else may still list it. */
bool head_object_is_orphan(const struct object *object);

uint32_t head_object_holders_count(const struct object *object);
struct holder head_object_holder(const struct object *object, uint32_t i);
bool head_object_is_held_by(const struct object *object, uint32_t node);
/* mark 0: a HOLD, which leaves an earlier mention's mark. */
void head_object_hold(struct head *head, struct object *object, uint32_t node, uint32_t mark);
void head_object_release(struct head *head, struct object *object, uint32_t node);
/* As a DROP that has seen so much: void if the last mention was later. */
void head_object_drop(struct head *head, struct object *object, const struct member *member, uint32_t seen);
void head_object_reset_marks(struct object *object, uint32_t node);

uint32_t head_object_locations_count(const struct object *object);
uint32_t head_object_location(const struct object *object, uint32_t i);
bool head_object_is_at(const struct object *object, uint32_t node);
void head_object_locate(struct head *head, struct object *object, uint32_t node);
/* The last one, and no value: LOST, with the reason. */
void head_object_unlocate(struct head *head, struct object *object, uint32_t node, const char *why);

bool head_object_is_named(const struct head *head, const struct object *object);
/* One more container, or one less. */
void head_object_name(struct object *object);
void head_object_unname(struct head *head, struct object *object);
/* A spec that waits here names it, until it is unlinked; in order. */
void head_object_link(struct object *object, struct input *input);
void head_object_unlink(struct head *head, struct object *object, struct input *input);
/* The next one of the ring, or NULL; to be asked for before `input` may go. */
struct input *head_object_next_input(const struct object *object, const struct input *input);
bool head_object_is_queued(const struct head *head, const struct object *object);
uint32_t head_object_queued(const struct object *object); /* how many; counts them */
uint32_t head_object_columns(const struct object *object);
void head_object_check_named(struct head *head, struct object *object);
/* Sets what a sealed object contains: takes the array over. */
void head_object_contain(struct head *head, struct object *object, struct object **contained, uint32_t count);
struct proto_content head_object_content(const struct object *object);
/* What it contains goes on without it. */
void head_object_let_go(struct head *head, struct object *object);
bool head_object_is_valid(const struct head *head, const struct object *object);
void head_object_touch(struct head *head, const struct object *object);
/* For free.c's loop alone: the record goes, everything has let go of it. */
void head_object_forget(struct head *head, struct object *object);

/* ------------------------------------------------------------------ what agents say of objects (publish.c) */

void publish_entry(struct head *head, struct member *member, const struct proto_publish *publish);
void publish_edges(struct head *head, struct member *member, const struct proto_edges *edges);
void publish_hold(struct head *head, struct member *member, const struct proto_names *names);
void publish_drop(struct head *head, struct member *member, const struct proto_names *names, uint32_t seen);
void publish_want(struct head *head, struct member *member, const struct proto_names *names);
void publish_unwant(struct head *head, struct member *member, const struct proto_names *names);
void publish_locations(struct head *head, struct member *member, const struct proto_locations *locations);
/* Edges said before and those of the message itself become what `object` contains, whose value has come. */
void publish_contained(struct head *head, struct member *member, struct object *object,
                       const struct proto_objects *contained);
/* A copy lies at the member. False: of another version, or it differs; counted, and the object FAILED if it differs. */
bool publish_copy(struct head *head, struct member *member, struct object *object, const struct proto_content *content);
/* The member has made it again after it was lost, and somebody may have read what it was. False: it differs from that, and
 * has FAILED. */
bool publish_is_as_it_was(struct head *head, const struct member *member, struct object *object,
                          const struct proto_content *content);
/* The member has bytes that are not what the object is: it is told to give them up. False. */
bool publish_refuse_copy(struct head *head, struct member *member, const struct object *object);
/* FOUND to one member. */
void publish_found(struct head *head, struct member *member, const struct object *object);
/* FOUND to those who want it and, with `all`, to those who hold it and do not know. */
void publish_tell(struct head *head, struct object *object, bool all);
void edges_drop(struct member *member, struct object_id id);
void edges_drop_all(struct member *member);

/* ------------------------------------------------------------------ the end of objects (free.c) */

bool frees_may_go(const struct head *head);
/* One step of the loop; false: nothing is left that may go now. */
bool free_next(struct head *head);
/* Bytes that do not count lie there; unless a word makes them count before the turn's end. */
void free_copy_at(struct head *head, struct member *member, struct object_id id);
void free_nothing_at(struct member *member); /* it is dead */
void free_send(struct head *head);
/* Every member has listed: what has no bytes, or was never made known, is lost. */
void free_census_ended(struct head *head);

/* ------------------------------------------------------------------ cycles (cycle.c) */

/* A job has ended: objects that only each other name are to be looked for. */
void cycles_due(struct head *head);
void cycles_end(struct head *head);

/* ------------------------------------------------------------------ gathers (gather.c) */

struct watch {
    struct list_node of_object;
    struct gather *gather;
    struct object *object;
    bool is_settled, is_bad; /* it, or what it leads to */
};

struct gather_sum {
    uint32_t node;
    uint64_t bytes;
};

/* What is known of the objects that one list names, once for all tasks that gather them. A forward is a list of one:
 * only `list` and the link of its watch are of use then. */
struct gather {
    struct object *list;
    struct watch *watches;
    uint32_t total, missing, bad;
    struct object *failed; /* one of those that are bad */
    bool is_forward, sums_are_valid;
    struct gather_sum *sums; /* bytes of whole objects by node, each at its first location; ascending */
    uint32_t sums_count;
};

/* The list is sealed. */
struct gather *gather_of(struct head *head, struct object *list);
/* Of the list where forwards from `object` on lead to; NULL: it is not sealed. */
struct gather *gather_behind(struct head *head, struct object *object);
/* Sealed, and so is what it leads to; if that is not, who waits for `object` looks again when it changes. */
bool gather_is_settled(struct head *head, struct object *object);
/* NULL, or one of those that the list names, or what it leads to, that is failed or lost. */
struct object *gather_failed(const struct gather *gather);
void gather_free(struct object *list);
/* `itself`, or only what it leads to. */
void gather_object_changed(struct head *head, struct object *object, bool itself);
void gather_object_moved(struct object *object);
void gather_sum_up(struct head *head, struct gather *gather);
bool gather_is_valid(const struct head *head, const struct gather *gather);

/* ------------------------------------------------------------------ specs (shape.c) */

struct kept_spec;

struct kept_spec *kept_spec_make(struct id_map *shapes, const struct spec *spec); /* a copy of one that was checked */
void kept_spec_free(struct id_map *shapes, struct kept_spec *kept);               /* accepts NULL */
/* All but its arguments and texts, and the task's id; O(1). */
struct spec kept_spec_header(const struct kept_spec *kept);
/* Of its function; lives as long as `kept`. */
const struct placement_kind *kept_spec_kind(const struct kept_spec *kept, bool is_spread);
uint32_t kept_spec_bytes(const struct kept_spec *kept);
/* Of kept_spec_bytes(). */
void kept_spec_write(const struct kept_spec *kept, struct task_id task, void *to);

/* ------------------------------------------------------------------ tasks (task.c, attempt.c) */

/*            +--> REFUSED (over the budget, spec at home)
 *  (SUBMIT) -+--> WAITING --> QUEUED --> PLACED --> DONE
 *                   |  ^                   ^
 *                   v  |                   |
 *                  EARLY ------------------+
 *
 *  A death, a failure that may be tried again and a HANDBACK lead from EARLY and PLACED back to WAITING.
 *  LOCAL (PUBLISH): its home runs it; queued here if that dies.
 *  HOME (LIST): who runs it is known when the census ends. */
enum task_state {
    TASK_WAITING = 1, /* for inputs */
    TASK_QUEUED,
    TASK_EARLY,
    TASK_PLACED,
    TASK_REFUSED,
    TASK_LOCAL,
    TASK_HOME,
    TASK_DONE
};

struct input {
    struct list_node of_object; /* the ring of object->inputs, while the task holds its arguments */
    struct task *task;
    struct object *object;
    uint64_t bytes; /* of the range that is named; ROOST_WHOLE, ROOST_COLUMN */
    uint8_t kind;   /* enum roost_kind: REF, HANDLE, GATHER */
    bool is_ready;
};

/* There are millions of them: packed, and first what a decision reads. */
struct task {
    struct task_id id;
    struct kept_spec *spec; /* owned; NULL while REFUSED */
    struct input *inputs;   /* each object once, ascending; NULL while placed */
    struct placement_booking booking;
    uint32_t spec_bytes; /* counted in head.spec_bytes while it waits here */
    uint32_t attempt;    /* of the next or present run, from 1 on */
    uint32_t tries;      /* of max_retries */
    uint32_t inputs_count, missing;
    uint32_t returns_count, returns_alive;
    uint16_t home, node; /* HEAD_NOBODY: gone; not placed */
    uint16_t avoid;      /* the node that handed it back */
    uint8_t losses;      /* that count for nothing */
    uint8_t handbacks;
    enum task_state state : 8;
    bool is_counted : 1;
    bool is_canceled : 1, is_forced : 1; /* the cancel was */
    bool is_demand : 1, is_relisted : 1;
    bool is_followed : 1;  /* at its node one waits for what it makes, to run there in its place */
    struct job *job;       /* NULL: ended */
    uint64_t since_ns;     /* in this state */
    struct list_node line; /* member.tasks while it is at a node; else head.demand or one of the refused, or alone */
    struct list_node of_job, of_home;
    union {
        struct object *one;   /* if there is one at most, */
        struct object **many; /* else owned; NULL: freed, or never named */
    } returns;
};
_Static_assert(sizeof(struct task) <= 224, "a million of them wait");

static inline struct object **head_task_returns(struct task *task)
{
    return task->returns_count > 1 ? task->returns.many : &task->returns.one;
}
static inline const struct object *head_task_return_at(const struct task *task, uint32_t i)
{
    return task->returns_count > 1 ? task->returns.many[i] : task->returns.one;
}

/* Waiting here, or placed by the head: its end is still to come. */
static inline bool head_task_is_under_way(const struct task *task)
{
    return task->state != TASK_LOCAL && task->state != TASK_HOME && task->state != TASK_DONE;
}
struct task *head_task_find(const struct head *head, struct task_id id);
void head_task_submit(struct head *head, struct member *member, const struct proto_submit *submit);
/* The task with this number, or NULL; for walks in order of creation (of records: they are used again). */
struct task *head_task_number(const struct head *head, uint32_t number);
/* A checked spec for `task`, where head_task_spec() puts them, or NULL: counted as a bad message. */
const struct spec *head_task_spec_check(struct head *head, struct task_id id, const struct proto_bytes *bytes);
/* A record in state LOCAL or HOME. */
struct task *head_task_make(struct head *head, struct member *home, const struct spec *spec, enum task_state state);
/* Its return; a pending record if `may_make` and there is none. NULL: no such, or freed. */
struct object *head_task_return(struct head *head, struct task *task, uint32_t index, bool may_make);
/* Hold the arguments and wait for inputs, or be queued at once. */
void head_task_enter(struct head *head, struct task *task);
void head_task_fail(struct head *head, struct task *task, struct failure *failure); /* takes it over */
void head_task_set_state(struct head *head, struct task *task, enum task_state state);
void head_task_input_changed(struct head *head, struct input *input);
void head_task_release_inputs(struct head *head, struct task *task);
/* Why an input failed for good, with a reference; NULL: none did. */
struct failure *head_task_failed_input(struct head *head, const struct task *task);
void head_task_return_freed(struct head *head, struct task *task, const struct object *object);
void head_task_forget(struct head *head, struct task *task);
void head_task_leave_node(struct head *head, struct task *task);
/* A refused one, also once more. */
void head_task_wait_to_be_asked(struct head *head, struct task *task);
void head_task_ask_again(struct head *head);
void head_tasks_fini(struct head *head);
bool head_task_is_valid(const struct head *head, const struct task *task);
const char *head_task_state_name(enum task_state state);

/* Fetches ahead, in whichever step, what its first arguments name. */
void head_task_fetch_args(const struct head *head, const struct spec *spec,
                          void (*fetch)(const struct records *objects, struct id_key id));
/* Its spec, whole, until the next one is asked for. */
const struct spec *head_task_spec(struct head *head, const struct task *task);
void *head_spec_room(struct head *head, size_t bytes);

void head_attempt_complete(struct head *head, struct member *member, const struct proto_complete *complete);
void head_attempt_handback(struct head *head, struct member *member, const struct proto_handback *handback);
void head_attempt_cancel(struct head *head, struct member *member, const struct proto_cancel *cancel);
/* To the node that has it. */
void head_attempt_send_cancel(struct head *head, const struct task *task, bool force);
/* Its node is gone, or has forgotten it. `counts`: against max_retries. */
void head_attempt_lost(struct head *head, struct task *task, bool counts, struct failure *why);

/* ------------------------------------------------------------------ placing (place.c) */

void place_turn(struct head *head);
/* It has entered the queue: could any node run it? If not it becomes demand, or fails. */
void place_queued(struct head *head, struct task *task);
/* It waits for inputs: softly placed where it may begin to pull those that exist, or where the others are being made. */
void place_early(struct head *head, struct task *task);
/* All inputs of an early one are there. */
void place_early_ready(struct head *head, struct task *task);
/* Bytes of placed tasks have come in, or they run: what was booked for that is free. */
void place_progress(struct head *head, struct member *member, const struct proto_progress *progress);
/* After a restart: the node says that it has this attempt. */
void place_listed(struct head *head, struct task *task, struct member *member, bool runs);
/* What was infeasible, or of a job that was not known yet, is looked at again. */
void place_demand_again(struct head *head);
struct placement_request place_request(struct head *head, const struct task *task);
void place_describe_lack(struct head *head, const struct task *task, char *text_out, size_t size);

/* ------------------------------------------------------------------ jobs (job.c), lists (list.c), queries (query.c) */

struct job {
    struct job_id id;
    struct list_node all;   /* head.jobs, or head.jobs_ended */
    struct list_node tasks; /* struct task.of_job */
    char *name;
    void *spec;
    size_t spec_bytes;
    uint64_t driver_pid;
    uint32_t node;  /* of the driver */
    bool is_listed; /* by that node, in the list that is being received */
    struct numbers told;
};

struct job *head_job_find(const struct head *head, struct job_id id);
void head_job_open(struct head *head, struct member *member, const struct proto_job_open *open);
/* Its tasks fail, nobody finds it any more; that all are told is for the step's end. */
void head_job_end(struct head *head, struct job *job);
/* One that has ended: every member is told. False: there is none. */
bool head_jobs_tell_next(struct head *head);
void head_job_tell(struct head *head, struct job *job, struct member *member);
/* A list of the member begins; it has ended: what it does not name has ended too. */
void head_jobs_unlist(struct head *head, uint32_t node);
void head_jobs_end_unlisted(struct head *head, uint32_t node);
/* Its session is another one: what was told in the last may not have arrived. */
void head_jobs_untell(struct head *head, uint32_t node);
void head_jobs_node_dead(struct head *head, uint32_t node);
void head_job_output(struct head *head, const struct proto_output *output);
void head_jobs_fini(struct head *head);

enum listed_flag {
    LISTED = 1,
    LISTED_HELD = 2,
    LISTED_STORED = 4,
    LISTED_MADE = 8
}; /* MADE: by a task that it knows */
void list_begin(struct head *head, struct member *member, uint32_t list, uint32_t seen);
void list_tasks(struct head *head, struct member *member, const struct proto_list_tasks *tasks);
void list_placed(struct head *head, struct member *member, uint32_t list);
void list_objects(struct head *head, struct member *member, const struct proto_list_objects *objects);
void list_end(struct head *head, struct member *member, uint32_t list);
/* Said by another message while a list is on its way: it counts as listed. */
void list_note(struct head *head, uint32_t node, struct object_id id, uint32_t set, uint32_t clear);
/* What was listed is not so any more. */
void list_gone(struct member *member, struct object_id id, uint32_t clear);
void list_void(struct member *member);
void list_census_arrived(struct head *head, struct member *member);
/* In a census: it has bytes that only its list can tell the head how to judge. */
void list_again(struct head *head, struct member *member);

void query_answer(struct head *head, struct core_peer peer, const struct proto_query *query);

/* ------------------------------------------------------------------ the whole (head.c) */

enum { HEAD_TOUCHED_MAX = 4096 };

struct head {
    struct head_config config; /* facts are gone */
    uint64_t now_ns, state_hash;
    struct core_out *out; /* during a step */
    struct placement *placement;

    struct member **members; /* by number, NODES_MAX of them */
    uint32_t members_count;  /* above the highest number in use */
    uint32_t number_taken;   /* the last one that went from a dead node to another */
    struct id_map members_by_id;
    struct list_node hearing;
    uint64_t news;            /* of the last change of a node that others are told */
    bool news_are_due;        /* not all have been told */
    bool is_changing_lives;   /* a node has died that lives again by the end of this step */
    struct news news_of_step; /* who lacks the same shares it */
    struct death *deaths;     /* in order; deaths[0] is the deaths_first-th ever */
    uint64_t deaths_first;
    size_t deaths_count, deaths_capacity;
    uint32_t echoes_missing, lists_missing;
    bool has_begun, silence_is_armed;
    uint64_t silence_at_ns; /* what it is armed for */

    struct records objects;
    struct line unnamed, changed;
    struct list_node with_freeing;
    size_t freeing_bytes; /* that the FREEs of this step will take, at most */

    struct list_node demand, refused, refused_ready; /* ready: inputs are there, or one has failed */
    uint64_t asked_count;                            /* refused ones that were asked for and have not come */
    struct records tasks;
    struct id_map shapes; /* of specs */
    void *spec_room;      /* for one spec, until the next one is put there */
    size_t spec_room_bytes;
    uint64_t spec_bytes;
    bool turn_is_due, turn_is_armed;

    struct list_node jobs, jobs_ended; /* ended: members have still to be told */
    struct id_map jobs_by_id;
    uint64_t contained_count; /* names in all objects together */
    uint64_t unknown_count;   /* objects that are UNKNOWN */
    bool cycles_are_due;      /* the timer is armed */

    uint64_t tasks_in[TASK_DONE + 1];     /* by state */
    uint64_t *scratch_bytes;              /* by node number; zero between uses */
    struct placement_input *place_inputs; /* of one question */
    struct line place_leaders;            /* of one task that was placed: itself, and who follows it */
    uint32_t *place_nodes;
    size_t place_inputs_capacity, place_nodes_capacity;
    struct object_id touched[HEAD_TOUCHED_MAX];
    size_t touched_count;
    struct head_counts counts;
};

static inline bool head_keeps(const struct head *head, enum head_rule rule)
{
    return (head->config.rules_off & rule) == 0;
}
static inline bool head_has_room(const struct head *head)
{
    return core_out_left(head->out) > HEAD_OUT_RESERVE + head->freeing_bytes;
}
static inline bool head_in_census(const struct head *head) { return head->lists_missing > 0; }
static inline void head_record(struct head *head, uint64_t what, uint64_t a, uint64_t b)
{
    head->state_hash = hash_step(hash_step(hash_step(head->state_hash, what), a), b);
}
/* A message to a living member; its body is to be filled in. NULL: it has no session that would carry it, and will
 * list. */
struct proto_message *head_send(struct head *head, struct member *member, enum proto_kind kind);
void *head_copy(struct head *head, const void *data, size_t bytes); /* into the arena; NULL for none */
void head_turn_due(struct head *head);

#endif
