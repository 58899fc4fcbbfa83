/* agent_internal.h - the records of the agent's core, and what its files ask of each other
 *
 * Who holds what: the agent holds every record. An object record lives while something names it or its bytes are still
 * here; a task record while it is not done or one of its results lives; a client record while its process lives.
 * Records point at each other; each pointer is cleared by the file that owns the record it leads to. */
#ifndef ROOST_WORKER_AGENT_CORE_AGENT_INTERNAL_H
#define ROOST_WORKER_AGENT_CORE_AGENT_INTERNAL_H

#include "common/contract.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/list.h"
#include "common/trace.h"
#include "objectstore/extent.h"
#include "objectstore/table.h"
#include "worker/agent/core/agent.h"

struct task;
struct job;
struct client;

/* ------------------------------------------------------------------ objects (object.c) */

/*  UNKNOWN --> PENDING --> HERE <--> ELSEWHERE      a value's way; FAILED has a status and no bytes.
 *     |           |          |           |          DYING: nothing names it, its bytes wait for the last pin.
 *     +-----------+----------+-----------+--> DYING */
enum object_state {
    OBJECT_UNKNOWN = 1, /* somebody asked for it before anybody made it known */
    OBJECT_PENDING,
    OBJECT_HERE,
    OBJECT_ELSEWHERE,
    OBJECT_FAILED,
    OBJECT_DYING,
};

struct object {
    struct object_id id;
    enum object_state state;
    uint64_t serial;                    /* of this record: names it in tokens */
    struct list_node all;               /* agent.objects, in order of creation */
    struct wire_object value;           /* place and sizes while HERE; sizes also when they are known */
    int32_t status;                     /* of FAILED */
    struct lease *lease;                /* the slab or extent that holds the bytes, while HERE or DYING */
    struct object **contains;           /* value.refs of them: what the object names; each counted in its containers */
    roost_ref *refs;                    /* the same as refs, ranges and all; owned */
    uint32_t scopes, tasks, containers; /* how many name it */
    uint32_t pins;                      /* attempts and transfers that need the bytes here */
    uint32_t drain;                     /* UNKNOWN: the turn in which it was asked for */
    struct list_node unknown;           /* agent.unknown while UNKNOWN */
    struct list_node unnamed;           /* agent.unnamed from the moment nothing names it until the step's end */
    struct list_node consumers;         /* struct input.consumer: tasks that wait for the value */
    struct list_node waits;             /* struct wait_ref.of_object */
    struct task *producer;              /* whose result it is, while that record lives */
};

/* NULL for what was never heard of, and for what is dying. */
struct object *object_find(struct agent *agent, struct object_id id);
struct object *object_demand(struct agent *agent, struct object_id id);                /* found or new, UNKNOWN */
void object_expect(struct agent *agent, struct object *object, struct task *producer); /* UNKNOWN -> PENDING */
/* The bytes are at value->place, in `lease`; `refs` are taken over. Publishes it, and tells everybody who waits. */
void object_arrive(struct agent *agent, struct object *object, const struct wire_object *value, struct lease *lease,
                   roost_ref *refs);
void object_fail(struct agent *agent, struct object *object, int32_t status);
/* `counter` is one of the object's own: scopes, tasks, containers. What is unnamed goes at the end of the step. */
void object_name(struct object *object, uint32_t *counter);
void object_unname(struct agent *agent, struct object *object, uint32_t *counter);
static inline bool object_is_named(const struct object *object)
{
    return object->scopes + object->tasks + object->containers > 0;
}
static inline bool object_is_error(const struct object *object)
{
    return object->state == OBJECT_HERE && object->value.format == TABLE_ERROR;
}
/* The step's end: lets go of what nothing names, and of what that named, and so on; in a loop, not by recursion. */
void object_sweep(struct agent *agent);
void object_reclaimed(struct agent *agent, uint64_t serial);
/* Every ring has been read: whoever waits for what is still unknown has named something that is gone. */
void object_check_unknown(struct agent *agent);
void objects_fini(struct agent *agent);
bool object_is_valid(const struct object *object);
/* An object that the agent makes itself, of a few bytes; false when the store has no room even for that. */
bool object_write(struct agent *agent, struct object *object, uint32_t format, const void *data, size_t size,
                  const roost_ref *ref);

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
};

struct room_request {
    struct list_node waiting; /* agent.room_requests, in order of rank */
    struct client *client;
    uint64_t token, bytes, rank, deadline_ns;
    uint32_t purpose, bell;
};

void room_init(struct agent *agent);
void room_fini(struct agent *agent);
void room_ask(struct agent *agent, struct client *client, const struct wire_room_request *request);
void room_give_back(struct agent *agent, struct client *client, const struct wire_place *place);
void room_client_gone(struct agent *agent, struct client *client);
/* The lease of `client` in which `object` lies, whole, or NULL. */
struct lease *room_lease_of(struct agent *agent, struct client *client, const struct wire_object *object);
/* An object now lives in the lease; an OBJECT lease is cut to its size and passes to the agent. */
void room_settle(struct agent *agent, struct lease *lease, struct wire_object *object);
/* The agent's own room for `bytes`: NULL when there is none now. */
struct lease *room_take(struct agent *agent, uint64_t bytes);
void room_object_gone(struct agent *agent, struct lease *lease);
void room_retry(struct agent *agent);
uint64_t room_next_deadline(const struct agent *agent);
void room_expire(struct agent *agent);

/* ------------------------------------------------------------------ clients (client.c) */

struct scope {
    uint64_t number; /* 0, or an attempt's run */
    struct client *client;
    struct id_map held; /* object id -> struct hold */
    struct list_node holds;
};

struct hold {
    struct list_node of_scope;
    struct object *object;
};

struct pending_refs { /* WIRE_REFS of an object that has not been announced yet */
    struct list_node of_client;
    struct object_id container;
    roost_ref *refs;
    uint32_t count, capacity;
};

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_IDLE, WORKER_BUSY, WORKER_ENDING };

struct client {
    struct core_client key;
    struct list_node all; /* agent.clients */
    uint64_t prefix;
    int64_t pid;
    struct job *job;
    struct scope base;
    struct list_node leases; /* struct lease.of_client */
    struct list_node refs;   /* struct pending_refs */
    struct list_node waits;  /* struct wait.of_client */
    uint64_t refs_count;     /* in all pending_refs */
    enum worker_state worker;
    struct worker *as_worker; /* NULL for a driver */
};

struct client *client_find(struct agent *agent, struct core_client key);
struct scope *client_scope(struct agent *agent, struct client *client, uint64_t number);
void client_up(struct agent *agent, const struct core_event *event);
void client_entry(struct agent *agent, const struct core_event *event);
void client_gone(struct agent *agent, struct core_client key, int32_t status);
/* The refs that were told ahead of `object`, now the caller's; NULL for none. False: told otherwise, the client is
 * broken. */
bool client_take_refs(struct agent *agent, struct client *client, const struct wire_object *object,
                      roost_ref **refs_out);
void clients_fini(struct agent *agent);
/* A client that broke the protocol: logged, killed; what it did so far stands. */
void client_broken(struct agent *agent, struct client *client, const char *why);
void scope_init(struct scope *scope, struct client *client, uint64_t number);
void scope_hold(struct agent *agent, struct scope *scope, struct object *object);
void scope_free(struct agent *agent, struct scope *scope, struct object_id id);
void scope_fini(struct agent *agent, struct scope *scope);

/* ------------------------------------------------------------------ waits (wait.c) */

struct wait_ref {
    struct list_node of_object; /* object.waits, until it is ready */
    struct wait *wait;
    roost_ref ref;
    int8_t ready;
};

struct wait {
    struct list_node of_client;
    struct client *client;
    struct attempt *blocked; /* whose CPU is back while this waits */
    uint64_t token, scope;
    uint32_t total, arrived, wanted, ready, flags, bell;
    struct wait_ref *refs; /* total of them */
};

void wait_entry(struct agent *agent, struct client *client, const struct wire_wait *entry);
void wait_end(struct agent *agent, struct client *client, uint64_t token);
void wait_drop_all(struct agent *agent, struct client *client);
void wait_object_changed(struct agent *agent, struct object *object);
/* All workers are blocked and no further one may be started: the newest of their waits fails. */
void wait_fail_newest_blocked(struct agent *agent);

/* ------------------------------------------------------------------ tasks (task.c), attempts (attempt.c) */

/*  WAITING --> READY --> RUNNING --> DONE     WAITING: for inputs. READY: for a worker and a CPU. A dead worker or a
 *     ^          ^          |                 failure that may be tried again leads from RUNNING back to WAITING. */
enum task_state { TASK_WAITING = 1, TASK_READY, TASK_RUNNING, TASK_DONE };

struct input {
    struct list_node consumer; /* object.consumers while it is waited for */
    struct task *task;
    struct object *object; /* counted in its tasks; NULL once let go */
    bool is_pinned;
};

struct inputs { /* some of a task's inputs, found together */
    struct list_node of_task;
    uint32_t count;
    struct input input[];
};

struct task {
    struct task_id id;
    enum task_state state;
    struct list_node all, of_job; /* agent.tasks; job.tasks */
    struct list_node queue;       /* agent.ready while READY, agent.finished once DONE */
    struct spec *spec;            /* owned */
    struct job *job;
    struct list_node handles; /* struct inputs: named, but neither waited for nor read */
    struct list_node inputs;  /* struct inputs: what must be here; grows when a gather's list has arrived */
    uint32_t missing;         /* inputs that are not here yet */
    bool is_spread_out;       /* the gathers' lists have been turned into inputs */
    struct object *bad_input; /* the first input that failed: so will the task, at the step's end */
    struct list_node failing; /* agent.failing until then */
    struct object **results;  /* returns of them; NULL once gone */
    uint32_t results_left;
    uint32_t attempts, deaths;
    struct attempt *attempt; /* while RUNNING */
};

struct given {                /* a result that a running attempt has given */
    struct wire_object value; /* id none: not given */
    roost_ref *refs;          /* owned */
};

struct attempt {
    uint64_t run, prefix;
    struct task *task;
    struct worker *worker;
    struct scope scope;
    struct lease *spec_lease; /* where a spec lies that is too large for a slot; else NULL */
    uint32_t blocked;         /* waits that gave the CPU back */
    bool has_cpu;
    struct given *given; /* returns of them */
};

void task_submit(struct agent *agent, struct client *client, const struct agent_submit *submit);
/* The object that `input` waits for has a value, or never will. */
void task_input_changed(struct agent *agent, struct input *input);
void task_sweep(struct agent *agent);
void task_forget_result(struct agent *agent, struct task *task, struct object *result);
void task_cancel(struct agent *agent, struct task *task);
void task_fail(struct agent *agent, struct task *task, const struct wire_failure *failure);
void task_try_again(struct agent *agent, struct task *task);
void task_done(struct agent *agent, struct task *task);
struct task *task_find(struct agent *agent, struct task_id id);
void task_set_state(struct agent *agent, struct task *task, enum task_state state);
void tasks_fini(struct agent *agent);

struct attempt *attempt_find(struct agent *agent, uint64_t run);
/* False, and nothing changed, when the store has no room for a spec that is too large for a slot. */
bool attempt_start(struct agent *agent, struct task *task, struct worker *worker);
void attempt_result(struct agent *agent, struct client *client, const struct wire_result *result);
void attempt_complete(struct agent *agent, struct client *client, const struct wire_complete *complete);
void attempt_worker_died(struct agent *agent, struct attempt *attempt, int32_t wait_status);
void attempt_block(struct agent *agent, struct attempt *attempt);
void attempt_unblock(struct agent *agent, struct attempt *attempt);

/* ------------------------------------------------------------------ workers and jobs (worker.c) */

struct worker {
    struct list_node of_job; /* job.workers */
    enum worker_state state;
    uint64_t token; /* of its spawn */
    struct job *job;
    struct client *client;   /* once it has connected */
    struct attempt *attempt; /* while BUSY */
    uint64_t since_ns;       /* of its state */
};

struct job {
    struct job_id id;
    struct list_node all; /* agent.jobs */
    struct client *driver;
    struct list_node workers, tasks;
    uint32_t workers_count, idle_count, starting_count;
    uint32_t starts_failed;      /* in a row */
    bool has_ended;              /* its driver is gone */
    bool has_connected;          /* a worker of it came as far as roost_open() */
    struct wire_failure *broken; /* why its workers cannot start, once that is clear; owned */
};

struct job *job_find(struct agent *agent, struct job_id id);
struct job *job_open(struct agent *agent, struct job_id id, struct client *driver);
void job_end(struct agent *agent, struct job *job);
void worker_up(struct agent *agent, struct client *client, uint64_t token);
void worker_gone(struct agent *agent, struct worker *worker, int32_t wait_status);
void worker_not_started(struct agent *agent, uint64_t token, int32_t wait_status, const char *text, size_t bytes);
void worker_dispatch(struct agent *agent); /* ready tasks to idle workers; starts what is lacking */
void worker_freed(struct agent *agent, struct worker *worker);
void worker_expire(struct agent *agent);
uint64_t worker_next_deadline(const struct agent *agent);
void workers_fini(struct agent *agent);

/* ------------------------------------------------------------------ the whole (agent.c) */

struct agent {
    struct agent_config config;
    uint64_t now_ns, serial; /* serial: the last one given out */
    struct core_out *out;    /* of the step at hand */
    struct extents segments[STORE_SEGMENTS_MAX];
    struct id_map objects_by_id, objects_by_serial, leases, tasks_by_id, attempts_by_run, clients_by_key;
    struct list_node objects, unknown, unnamed, failing, finished, clients, tasks, ready, jobs, room_requests;
    uint32_t drain;    /* turns so far in which every ring was read */
    int64_t cpus_free; /* hundredths; below zero when woken attempts wait for nobody */
    uint32_t workers_count;
    uint64_t slab_bytes; /* leased as slabs */
    uint64_t state_hash;
    bool dispatch_due, room_due;
    struct agent_counts counts;
};

/* Memory for a small record, zeroed; a node without memory for that cannot go on. */
void *agent_alloc(size_t bytes);
void agent_note(struct agent *agent, const char *what, uint64_t a, uint64_t b);
static inline struct id_key serial_key(uint64_t serial) { return (struct id_key){ 1, serial }; }

#endif
