/* agent_internal.h - the records of the agent's core, and what its files ask of each other. Objects: agent_objects.h
 *
 * Who holds what: the agent holds every record. An object record lives while something names it or its bytes are still
 * here; a task record while it is not done or one of its results lives; a client record while its process lives.
 * Records point at each other; each pointer is cleared by the file that owns the record it leads to. */
#ifndef ROOST_WORKER_AGENT_CORE_AGENT_INTERNAL_H
#define ROOST_WORKER_AGENT_CORE_AGENT_INTERNAL_H

#include "common/contract.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/job.h"
#include "common/list.h"
#include "common/trace.h"
#include "objectstore/client_page.h"
#include "objectstore/extent.h"
#include "objectstore/table.h"
#include "proto/message.h"
#include "worker/agent/core/agent_objects.h"

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

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_IDLE, WORKER_BUSY, WORKER_LEASED, WORKER_ENDING };

struct client {
    struct core_client key;
    struct list_node all; /* agent.clients */
    uint64_t prefix;
    int64_t pid;
    struct job *job;
    struct scope base;
    struct list_node leases;      /* struct lease.of_client */
    struct list_node refs;        /* struct pending_refs */
    struct list_node waits;       /* struct wait.of_client */
    struct list_node task_leases; /* struct task_lease.of_holder */
    uint32_t leases_count;        /* of them */
    struct id_map refs_by_container, waits_by_token;
    uint64_t refs_count;    /* in all pending_refs */
    uint64_t waited_count;  /* refs in all waits for values */
    uint32_t prefetches;    /* waits of PREFETCH */
    uint32_t room_requests; /* not answered yet */
    enum worker_state worker;
    struct worker *as_worker; /* NULL for a driver */
    bool has_escaped;         /* a call of its leases is known here, or was */
    bool is_gone;             /* dead, but workers that ran its calls are not yet */
    bool is_over;             /* nor does it wait for them: its end goes on in this step */
    int32_t gone_status;
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
    struct object *object; /* the record it is listed with; counted in its uses */
    roost_ref ref;
    int8_t ready;
    bool is_told; /* of LOCATE: the head has said what it knows of the object */
};

/* LOCATE and PREFETCH are waits of one ref: for its state to be known, and for it to be somewhere. */
enum wait_kind { WAIT_READY, WAIT_LOCATE, WAIT_PREFETCH };

struct wait {
    enum wait_kind kind;
    struct list_node of_client;
    struct client *client;
    struct attempt *blocked;        /* whose CPU is back while this waits */
    struct leased_run *blocked_run; /* the same, of a leased task */
    uint64_t token, scope;
    uint32_t total, arrived, wanted, ready, flags, bell;
    bool has_said_why;     /* of one ref, which is enough */
    struct wait_ref *refs; /* total of them */
};

void wait_entry(struct agent *agent, struct client *client, const struct wire_wait *entry);
void wait_locate(struct agent *agent, struct client *client, const struct wire_ask *ask);
void wait_prefetch(struct agent *agent, struct client *client, const struct wire_ask *ask);
void wait_end(struct agent *agent, struct client *client, uint64_t token);
void wait_drop_all(struct agent *agent, struct client *client);
void wait_object_changed(struct agent *agent, struct object *object);
/* It cannot be brought here: who waits for that is told `status`, and why. The object is well. */
void wait_object_refused(struct agent *agent, struct object *object, int32_t status, const char *why);
/* The head is about to say what it knows of the object; then it may have changed. */
void wait_object_told(struct object *object);
/* The head will say nothing for a while: where copies are is answered as far as it is known here. */
void waits_head_lost(struct agent *agent);
/* All workers are blocked and no further one may be started: the newest of their waits fails. */
void wait_fail_newest_blocked(struct agent *agent);

/* ------------------------------------------------------------------ tasks (task.c), attempts (attempt.c) */

/*  WAITING --> READY --> RUNNING --> DONE     WAITING: for inputs. READY: for a worker and a CPU. A dead worker or a
 *     ^          ^          |                 failure that may be tried again leads from RUNNING back to WAITING.
                                               LEASED: whoever escaped it runs it under a lease, and says the values. */
enum task_state { TASK_WAITING = 1, TASK_READY, TASK_RUNNING, TASK_AWAY, TASK_DONE, TASK_LEASED };

struct input {
    struct list_node consumer; /* object.consumers while it is waited for */
    struct task *task;
    struct object *object; /* whole; counted in its tasks, or, of a gather, in its uses */
    struct object *bytes;  /* the record whose bytes the worker reads: object, or a part of it */
    roost_ref ref;
    bool is_gathered, is_pinned;
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
    uint64_t turn;                /* since it was READY: its place among tasks and leases that wait for a CPU */
    struct spec *spec;            /* owned */
    struct job *job;
    struct list_node handles;     /* struct inputs: named, but neither waited for nor read */
    struct list_node inputs;      /* struct inputs: what must be here; grows when a gather's list has arrived */
    uint32_t missing;             /* inputs that are not here yet */
    bool is_spread_out;           /* the gathers' lists have been turned into inputs */
    struct object *bad_input;     /* the first input that failed: so will the task, at the step's end */
    struct wire_failure *refusal; /* or why it cannot be brought here; owned */
    struct list_node failing;     /* agent.failing until then */
    bool is_leaving;              /* it goes to the head at the step's end */
    struct list_node leaving;     /* agent.leaving until then */
    bool was_submitted;           /* the head has its spec */
    bool is_refused;              /* AWAY, and the head had no room for its spec: it is here alone until asked for */
    bool is_home;                 /* submitted on this node: its spec is kept until its results are gone */
    bool is_from_head;            /* the attempt at hand was placed here by the head, which is told of its end */
    uint32_t head_attempt;        /* the number that the head gave it */
    struct object **results;      /* returns of them; NULL once gone */
    uint32_t results_left;
    uint32_t attempts;
    struct client *leased_to; /* while LEASED */
    struct attempt *attempt;  /* while RUNNING */
    struct scope kept;        /* results of the calls of attempts that did not succeed: the next one makes them again */
};

struct given {                /* a result that a running attempt has given */
    struct wire_object value; /* id none: not given */
    roost_ref *refs;          /* owned */
    struct lease *lease;      /* where its bytes lie, counted there; NULL for none */
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
/* A call that runs under a lease of `client`: others may wait for its results. */
void task_escape(struct agent *agent, struct client *client, const struct wire_escape *escape);
void task_settle(struct agent *agent, struct client *client, const struct wire_settle *settle);
/* The holder is dead, and nothing runs that it had called: calls that others know of are the agent's. */
void tasks_holder_gone(struct agent *agent, struct client *client);
/* The call that makes it runs on this node, or waits to: nobody else need be asked for it. */
static inline bool task_is_made_here(const struct object *object)
{
    const struct task *producer = object->producer;
    return producer != NULL &&
           (producer->state == TASK_WAITING || producer->state == TASK_READY || producer->state == TASK_RUNNING);
}
/* A result of an escaped call has got its value. */
void task_settled(struct agent *agent, struct task *task);
/* The object that `input` waits for has a value, or never will. */
void task_input_changed(struct agent *agent, struct input *input);
/* Records of `count` inputs, at the end of one of the task's two lists. */
struct inputs *inputs_add(struct list_node *list, struct task *task, uint32_t count);
void input_set(struct agent *agent, struct input *input, struct object *object, roost_ref ref, bool is_gathered);
/* Each in turn, and what it leads on to: pinned when it is here, else waited for, and asked for or pulled. Ends with
 * the first that makes the task fail or leave. */
void inputs_look(struct agent *agent, struct task *task, struct inputs *inputs);
/* None is missing any more: gathers are spread out, which may make some missing again; else the task is READY. */
void task_inputs_are_here(struct agent *agent, struct task *task);
/* Pins and holds of all. */
void task_inputs_release(struct agent *agent, struct task *task);
/* Its bytes cannot be brought here: so the task fails, with `status` and these words. */
void task_input_refused(struct agent *agent, struct input *input, int32_t status, const char *why);
/* Bytes of copies here that tasks read which run, or are about to: they can go when those have ended. */
uint64_t tasks_read_bytes(struct agent *agent);
void task_sweep(struct agent *agent);
void task_forget_result(struct agent *agent, struct task *task, struct object *result);
/* The same of a task that is not done, which names its results. */
void task_disown_result(struct agent *agent, struct task *task, struct object *result);
void task_cancel(struct agent *agent, struct task *task);
void task_fail(struct agent *agent, struct task *task, const struct wire_failure *failure);
void task_try_again(struct agent *agent, struct task *task);
void task_done(struct agent *agent, struct task *task);
struct task *task_find(struct agent *agent, struct task_id id);
struct task *task_create(struct agent *agent, struct job *job, const struct spec *spec);
/* Each result that is not there is pending from now on, held by `scope` (NULL: by nobody here). False: an id is already
 * something else, which then is no result of this task. */
bool task_expect_results(struct agent *agent, struct task *task, struct scope *scope);
/* DONE -> WAITING: results that are gone are expected once more. */
void task_wake(struct agent *agent, struct task *task, struct scope *scope);
/* AWAY or DONE, and the head may have forgotten its results: it is told of them, as with the call itself. */
void task_submit_anew(struct agent *agent, struct task *task);
void task_begin_anew(struct agent *agent, struct task *task);
/* Looks at every argument; the task is ready, waits, fails or leaves. */
void task_begin(struct agent *agent, struct task *task);
bool task_may_leave(const struct task *task);
void task_leaves(struct agent *agent, struct task *task);
/* The head tries its attempt elsewhere by now: what is left of it here ends. */
void task_void(struct agent *agent, struct task *task);
/* An attempt of the head's is over here without results: AWAY at home, forgotten elsewhere. */
void task_give_up(struct agent *agent, struct task *task);
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
    struct client *client;    /* once it has connected */
    struct attempt *attempt;  /* while BUSY */
    struct task_lease *lease; /* while LEASED, and until the worker is gone */
    uint64_t since_ns;        /* of its state */
};

enum forker_state { FORKER_NONE, FORKER_STARTING, FORKER_READY, FORKER_NEVER };

struct job {
    struct job_id id;
    struct list_node all;  /* agent.jobs */
    struct client *driver; /* NULL: on another node, or gone */
    struct job_spec *spec; /* owned */
    char program[128];     /* its file's name */
    struct list_node workers, tasks;
    uint32_t workers_count, idle_count, starting_count, leases_count;
    uint32_t starts_failed; /* in a row */
    enum forker_state forker;
    uint64_t forker_token, forker_since_ns; /* the newest one's; since when it is in its state */
    uint32_t forkers_lost;                  /* after they were ready */
    bool is_known_to_head;
    bool has_ended;              /* its driver is gone */
    bool has_connected;          /* a worker of it came as far as roost_open() */
    struct wire_failure *broken; /* why its workers cannot start, once that is clear; owned */
};

struct job *job_find(struct agent *agent, struct job_id id);
/* `spec` is copied. driver is NULL for a job of another node. */
struct job *job_open(struct agent *agent, struct job_id id, struct client *driver, const void *spec, size_t bytes);
void worker_kill(struct agent *agent, struct worker *worker);
void job_end(struct agent *agent, struct job *job);
void job_drop_if_over(struct agent *agent, struct job *job); /* ended, and with it the last of its workers and tasks */
void worker_up(struct agent *agent, struct client *client, uint64_t token);
void worker_gone(struct agent *agent, struct worker *worker, int32_t wait_status);
void worker_not_started(struct agent *agent, uint64_t token, int32_t wait_status, const char *text, size_t bytes);
void worker_dispatch(struct agent *agent); /* ready tasks to idle workers; starts what is lacking */
void worker_freed(struct agent *agent, struct worker *worker);
/* The idle one to take next, or NULL. */
struct worker *worker_idle(struct job *job);
void worker_leased(struct agent *agent, struct worker *worker); /* IDLE -> LEASED */
/* It is dead, and its end is still to be worked off. */
void worker_is_dead(struct agent *agent, struct worker *worker);
/* A lease of the job waits for a worker: one is started unless one is starting. */
void worker_lack(struct agent *agent, struct job *job);
void worker_expire(struct agent *agent);
/* As many as a job has from its beginning, when that may be now. */
void worker_prestart(struct agent *agent, struct job *job);
uint64_t worker_next_deadline(const struct agent *agent);
void workers_fini(struct agent *agent);

/* ------------------------------------------------------------------ forkers (forker.c) */

void forker_job_opens(struct agent *agent, struct job *job, size_t bytes);
/* May a worker be started now? While a forker is on its way few are. */
bool forker_lets_start(const struct job *job);
/* How the job's next worker comes about. */
enum agent_spawn_way forker_way(const struct job *job);
/* After a worker that has been asked for: a forker, for those after it, when it is time for one. */
void forker_follows(struct agent *agent, struct job *job);
void forker_done(struct agent *agent, const struct core_event *event);
uint64_t forker_deadline(const struct job *job); /* UINT64_MAX: none */
void forker_expire(struct agent *agent, struct job *job);
void forker_end(struct agent *agent, struct job *job); /* with its job */

/* ------------------------------------------------------------------ leases of workers (lease.c) */

enum task_lease_state {
    TASK_LEASE_WANTED = 1,
    TASK_LEASE_HELD,
    TASK_LEASE_RECALLED,
    TASK_LEASE_RETURNED,
    TASK_LEASE_ENDED
};

struct staged { /* a result of a leased task that its holder has not adopted yet */
    struct list_node of_lease;
    uint64_t run;
    struct wire_object value;
    roost_ref *refs;          /* owned */
    struct object **contains; /* value.refs of them, each counted in its tasks; owned */
    struct lease *lease;      /* where its bytes lie, counted there; NULL for none */
};

struct expected { /* a result that was adopted before the worker's words were read */
    struct list_node of_lease;
    uint64_t run;
    struct object_id id;
    struct object *object; /* counted in its uses; NULL: not wanted */
};

struct leased_run {
    struct list_node of_lease;
    uint64_t number, prefix, rank;
    struct task_id task;
    struct task_lease *lease;
    struct scope scope;
};

struct task_lease {
    struct list_node all, of_holder; /* agent.task_leases; client.task_leases */
    uint64_t number;
    enum task_lease_state state;
    struct client *holder; /* is_gone: the worker is being killed */
    struct worker *worker; /* while it stands */
    uint64_t token;        /* of the request, for its answer */
    uint32_t bell;
    uint64_t turn;     /* while WANTED: as a task's; anew when its holder gives another one back */
    uint64_t since_ns; /* of the grant */
    bool has_cpu, is_passed_over;
    bool is_late;     /* neither a CPU nor a worker was on its way once: its holder hears of other nodes */
    bool is_told;     /* its holder, that others wait for its CPU */
    uint32_t blocked; /* waits of its task that gave the CPU back */
    uint32_t drain;   /* RETURNED: the turn in which it was given back */
    struct list_node
        runs; /* struct leased_run: the tasks that run, or whose ends were not read yet, that need the agent */
    struct list_node staged, expected;
    uint32_t staged_count;
};

void lease_ask(struct agent *agent, struct client *client, const struct wire_lease *ask);
void lease_back(struct agent *agent, struct client *client, uint64_t number);
/* The holder says that its worker wrote what cannot be. */
void lease_broken(struct agent *agent, struct client *client, uint64_t number);
void lease_run(struct agent *agent, struct client *client, const struct wire_run *run);
void lease_run_end(struct agent *agent, struct client *client, const struct wire_run_end *end);
/* False: it is no result of what runs under the client's lease, and nothing has happened. */
bool lease_result(struct agent *agent, struct client *client, const struct wire_result *result);
void lease_adopt(struct agent *agent, struct client *client, const struct wire_adopt *adopt);
/* The leased task that runs under this number in `client`, or NULL. */
struct leased_run *leased_run_find(const struct client *client, uint64_t number);
void lease_block(struct agent *agent, struct task_lease *lease);
void lease_unblock(struct agent *agent, struct task_lease *lease);
void lease_worker_gone(struct agent *agent, struct worker *worker, int32_t wait_status);
/* Its workers are killed. */
void leases_holder_gone(struct agent *agent, struct client *holder);
/* Does it hold a lease of a worker that is not over? */
bool leases_wait_for_others(const struct client *holder);
/* They end: it is dead, and so are their workers. */
void leases_end_with(struct agent *agent, struct client *holder);
/* Every ring was read, in turn `drain`. */
void leases_drained(struct agent *agent, uint32_t drain);
/* Grant those whose turn came before `before`, out of `*cpus`, which becomes what is left. A
 * lease whose worker is starting keeps its CPU free. False: one of them lacks a CPU, so it is nobody's turn after
 * it. Sets `*lacks_workers` when one of them found none. */
bool leases_dispatch(struct agent *agent, uint64_t before, int64_t *cpus, bool *lacks_workers);
/* That was all of it for this time. */
void leases_dispatched(struct agent *agent);
/* How many other nodes live may have changed: every holder hears of it, and who waits for one. */
void leases_tell_of_others(struct agent *agent);
/* The job's workers cannot start: what was asked for its calls never comes. */
void leases_deny(struct agent *agent, const struct job *job);
/* Whom to ask for one back because others wait. */
void leases_recall(struct agent *agent);
bool leases_are_valid(struct agent *agent, int64_t *cpus_out);
void leases_fini(struct agent *agent);

/* ------------------------------------------------------------------ the head (link.c, link_list.c, link_heard.c) */

enum {
    AGENT_TIMER_DEADLINES,
    AGENT_TIMER_DROPS,
    AGENT_TIMER_LOAD,
    AGENT_TIMER_LIST,
    AGENT_TIMER_PULLS,
    AGENT_TIMER_NAMES,
    AGENT_TIMER_SETTLE
};

struct member {           /* another node, as the head describes it */
    struct list_node all; /* agent.members, in the order heard of */
    uint32_t number, incarnation;
    uint32_t named_in; /* this node's incarnation when the head described it last */
    struct node_id id;
    bool is_alive;
    struct proto_node info; /* its texts are NULL */
    char host[256], labels[512];
};

struct member *member_find(struct agent *agent, uint32_t number);
void link_session(struct agent *agent, const struct core_event *event);
void link_message(struct agent *agent, const struct core_event *event);
void link_timer(struct agent *agent, uint64_t which);
/* The step's end: what was held is told, what is to be dropped gets its timer. */
void link_flush(struct agent *agent);
/* The head learns the object, and first what it contains. Nothing when it knows it. */
void link_publish(struct agent *agent, struct object *object);
/* The head may have freed it, as this node did not hold it there, or held it too late. */
static inline bool link_may_be_freed(const struct object *object)
{
    return object->is_public && (!object->is_registered || object->is_by_hold);
}
/* One that may be freed is named here once more, not out of another object: it is made known again, with what it
 * contains. False: not all of that is this node's to say. */
bool link_publish_anew(struct agent *agent, struct object *object);
/* A public object's value has become known here. */
void link_value(struct agent *agent, struct object *object);
void link_location(struct agent *agent, struct object *object, bool added);
/* The head knows the name, from elsewhere; of bytes that lie here under it, it does not. */
void link_is_known(struct agent *agent, struct object *object);
void link_want(struct agent *agent, struct object *object);
/* The record goes although the head lists this node: it will be told by name. */
void link_forget(struct agent *agent, struct object *object);
void link_failed(struct agent *agent, struct object *object, int32_t status, const struct proto_failure *from);
void link_submit(struct agent *agent, struct task *task);
void link_complete(struct agent *agent, struct task *task, uint64_t duration_ns, bool died,
                   const struct wire_failure *failure);
void link_input_failed(struct agent *agent, struct task *task);
void link_job(struct agent *agent, struct job *job);
void link_job_ended(struct agent *agent, const struct job *job);
void link_list(struct agent *agent);
/* What the three share: a message to the head, to be filled in, and parts of messages. */
struct proto_message *link_say(struct agent *agent, enum proto_kind kind);
void link_say_publish(struct agent *agent, struct object *object); /* which is a hold, too */
void link_say_submit(struct agent *agent, const struct task *task);
/* EDGES of what the object contains, until at most `most` names are left for another message: these. */
struct proto_objects link_say_edges(struct agent *agent, const struct object *object, size_t most);
struct proto_content link_content(const struct object *object);
struct proto_bytes link_spec_bytes(const struct task *task);
/* The head lists this node for the object from now on; a hold that nobody has here is dropped at once. */
void link_listed(struct agent *agent, struct object *object);
/* The message said last makes the object known, `located` with its bytes here: a FREE that has not seen it is void. */
void link_note_said(const struct agent *agent, struct object *object, bool located);
/* It has no value yet, and a task or a wait of this node is for one. */
bool link_is_awaited(const struct object *object);
/* A DROP of what has no record here. */
void link_drop_name(struct agent *agent, struct object_id id);

/* ------------------------------------------------------------------ what the head is told of the node (load.c) */

struct pulled { /* from one peer */
    uint64_t bytes;
    uint32_t node; /* 0: from all those that have no place of their own */
    bool is_told;
};

/* Bytes that have come from `node`. */
void load_pulled(struct agent *agent, uint32_t node, uint64_t bytes);
/* `bytes` of a task's inputs have come from node `source`; 0: it runs. Only the head's tasks are told of. */
void load_progress(struct agent *agent, const struct task *task, uint32_t source, uint64_t bytes);
/* The step's end: what has changed is told after a pause, with what changes meanwhile. */
void load_flush(struct agent *agent);
void load_timer(struct agent *agent);
void load_say(struct agent *agent, bool all);

/* ------------------------------------------------------------------ pulls (pull.c) */

/* Bring the bytes of `object` (whole or part) here; a pull that is under way takes the higher class. */
void pull_want(struct agent *agent, struct object *object, enum proto_pull_class priority);
/* Nobody waits for it any more. */
void pull_cancel(struct agent *agent, struct pull *pull);
void pull_holders_known(struct agent *agent, struct object *object);
void pull_peer_lost(struct agent *agent, struct core_peer peer);
void pull_message(struct agent *agent, const struct core_event *event);
void pull_done(struct agent *agent, const struct core_event *event);
void pull_served(struct agent *agent, const struct core_event *event);
/* Room has become free, a transfer has ended or a pause: others may begin. */
void pull_retry(struct agent *agent);
/* The head's session is a new one: what it was asked there is asked again. */
void pull_ask_again(struct agent *agent);
void pulls_fini(struct agent *agent);

/* ------------------------------------------------------------------ names between agents (transit.c) */

void transit_give(struct agent *agent, const struct agent_names *names);
void transit_taken(struct agent *agent, uint64_t serial);
void transit_message(struct agent *agent, struct core_peer peer, const struct proto_message *message);
void transit_lost(struct agent *agent, struct core_peer peer);
void transit_again(struct agent *agent, struct core_peer peer);
void transit_timer(struct agent *agent);
void transit_dead(struct agent *agent, struct core_peer peer);
void transit_head_lost(struct agent *agent);
void transit_settle(struct agent *agent);
void transits_fini(struct agent *agent);

/* ------------------------------------------------------------------ the whole (agent.c) */

struct agent {
    struct agent_config config;
    uint64_t now_ns, serial; /* serial: the last one given out */
    struct core_out *out;    /* of the step at hand */
    struct extents segments[STORE_SEGMENTS_MAX];
    struct id_map task_leases_by_number;
    struct list_node task_leases; /* in the order in which they were asked for */
    uint64_t recall_ns;           /* when somebody may be asked to give one back; UINT64_MAX: nobody waits */
    uint64_t deadline_ns;         /* of room requests and workers: the earliest, or earlier */
    uint64_t armed_ns;            /* what the timer of deadlines is armed for */
    struct dying dying;
    struct id_map objects_by_id, leases, tasks_by_id, attempts_by_run, clients_by_key;
    struct list_node
        unheard; /* by struct object.unnamed: failures that nobody here names and the head does not know yet */
    struct list_node objects, unknown, unnamed, holds, drops, idle, failing, leaving, finished, members, pulls, serves,
        clients, tasks, ready, jobs, room_requests;
    uint32_t drain;              /* turns so far in which every ring was read */
    int64_t cpus_free;           /* hundredths; below zero when woken attempts wait for nobody */
    uint32_t blocked_hundredths; /* CPUs that attempts of the head's have given back */
    uint32_t workers_count;
    uint64_t slab_bytes; /* leased as slabs */
    uint32_t entries;    /* of the shared table, those that wait for their last pin included */
    uint64_t state_hash;
    bool dispatch_due, room_due, pull_due, cycles_are_due;
    bool is_behind;        /* marks are left, for want of room for what comes of them: a step for them is armed */
    struct core_peer self; /* as the head numbers this node; 0: not yet */
    bool head_is_up;       /* WELCOME has come, and the session stands */
    bool head_is_new;      /* it has begun since this node was last welcomed, and has seen no list: it knows nothing */
    bool has_listed;       /* to this head, in this session */
    uint64_t head_epoch;
    uint32_t said_mark, head_seen; /* marks of what was said to the head in this session, and of what it has applied */
    uint32_t listed_mark;          /* of the end of the last list */
    struct list_node given, arrived; /* struct transit.all */
    uint32_t nodes_count;            /* members, this node included */
    uint32_t list_number;            /* of the list to say next */
    struct object_id *forgotten;     /* held at the head, unknown here by now: to be dropped by name; owned */
    size_t forgotten_count, forgotten_capacity;
    uint64_t memory_booked; /* by running attempts, blocked ones included */
    uint64_t load_told;     /* hash of what the head was told last */
    uint32_t blocked_told;  /* its blocked_hundredths */
    bool load_is_due;
    struct proto_progress_item *progress; /* to be said with the load; owned */
    size_t progress_count, progress_capacity;
    struct pulled *pulled; /* by peer, in the order of their first bytes; owned */
    uint32_t pulled_count;
    uint64_t pulling_bytes[PULL_LANES]; /* of pulls that have room */
    bool pulls_want_room;               /* the first in the order that could begin found none */
    uint64_t room_short_ns; /* since when that has been so, without any other finding some; 0: it is not so */
    struct id_map pulls_by_transfer;
    struct id_map evicted; /* serial -> lease whose last readers have not gone */
    uint64_t evicting_bytes;
    struct agent_counts counts;
};

/* Tasks that run may together have booked more than there is: nobody is sent away for want of it yet. */
static inline uint64_t memory_free(const struct agent *agent)
{
    uint64_t all = agent->config.memory_bytes;
    return agent->memory_booked < all ? all - agent->memory_booked : 0;
}

/* May the step at hand say more? Marks wait for the next one otherwise; a list is said whole. */
enum { AGENT_OUT_BYTES_MAX = 8 << 20, AGENT_OUT_RESERVE = 4 << 20 };
static inline bool agent_has_room(const struct agent *agent) { return core_out_left(agent->out) > AGENT_OUT_RESERVE; }

/* Somebody may not wait beyond `at_ns`: a tick looks at that. */
void agent_deadline(struct agent *agent, uint64_t at_ns);

/* Memory for a small record, zeroed; a node without memory for that cannot go on. */
void *agent_alloc(size_t bytes);
/* Into the running hash and the trace; the word has at least 7 characters. */
void agent_note(struct agent *agent, const char *what, uint64_t a, uint64_t b);
static inline struct id_key serial_key(uint64_t serial) { return (struct id_key){ 1, serial }; }

#endif
