/* message.h - everything that machines say to each other, decoded
 *
 * Plain structs: what a core reads and writes. proto/decode.h makes them out of bytes from the network and checks every
 * field; proto/encode.h is the way back. lifetime rules mean those of "who keeps an object alive" (proto/README.md).
 *
 * Pointers are borrowed: from the arena that the frame was decoded into, from the sender's arena on the way out. Arrays
 * are a pointer and a count; with a count of 0 the pointer may be NULL. Texts are never NULL in a decoded message; NULL
 * is "" on the way out. A run of bytes starts at a multiple of 8. Ids may be none only where it says so. */
#ifndef ROOST_PROTO_MESSAGE_H
#define ROOST_PROTO_MESSAGE_H

#include "common/id.h"
#include "common/limits.h"

#include <stddef.h>

/* ---------------------------------------------------------------------------------------------- parts */

struct proto_bytes {
    const void *data;
    size_t size;
};

struct proto_objects {
    const struct object_id *ids; /* none of them "none" */
    size_t count;                /* at most PROTO_OBJECTS_MAX */
};

/* Numbers of nodes, each below NODES_MAX. */
struct proto_holders {
    const uint32_t *nodes;
    size_t count; /* at most PROTO_HOLDERS_MAX: the best ones, if there are more */
};

enum proto_object_state {
    PROTO_PENDING = 1, /* its task has not completed; all that follows is zero, the spec apart */
    PROTO_SEALED,
    PROTO_FAILED, /* `failure` says why */
    PROTO_LOST,   /* the bytes are gone; it may be rebuilt */
    PROTO_FREED
};

/* What is known about the bytes of a sealed object wherever it is mentioned; all zero while it is not sealed. */
struct proto_content {
    uint64_t size;        /* at most ROOST_OBJECT_BYTES_MAX */
    uint64_t fingerprint; /* of sampled lines; equal versions with different fingerprints are ROOST_ECHANGED */
    uint32_t version;     /* the attempt that made it; from 1 << 30 on: its maker's own; 0 for a put */
    uint32_t columns;     /* at most ROOST_COLUMNS_MAX; 0: it declares none */
    uint32_t format;      /* the store's format tag, at most PROTO_FORMAT_MAX */
};

/* Why a task, and so what it returns, failed: what roost_explain() shows. */
struct proto_failure {
    int32_t status;    /* negative; codes of a newer peer are passed on as they are */
    int32_t app_code;  /* of roost_fail() */
    uint32_t signal;   /* that ended the worker, or 0 */
    uint32_t attempts; /* made in all; filled in by the head or by whoever retried */
    uint64_t pid;      /* of the worker, or 0 */
    const char *function, *node, *text;
};

/* ---------------------------------------------------------------------------------------------- hello */

enum proto_role { PROTO_ROLE_AGENT = 1, PROTO_ROLE_HEAD, PROTO_ROLE_PEER, PROTO_ROLE_COMMAND };

/* The first frame each way on every connection, and the first bytes of a stranger: at most PROTO_HELLO_BYTES_MAX. The
 * one who connected sends first; the one who accepted finds the session by it. The owner fills in what it knows, the
 * session (session.h) fills in the first group. */
struct proto_hello {
    uint32_t version_min, version_max; /* of the protocol, that the sender speaks */
    uint64_t session;                  /* the sender's half of the session: never 0, never used again */
    uint64_t session_peer;             /* the receiver's half as the sender knows it; 0: it knows none */
    uint32_t seen;                     /* last batch of the receiver that the sender has applied */
    uint32_t credit_bytes;             /* how much the sender takes before it has acknowledged */

    uint64_t features;            /* bits; unknown ones are ignored */
    enum proto_role role;         /* PEER: an agent to another agent */
    struct node_id node;          /* the sender's; none for a command */
    struct cluster_id cluster;    /* none while the sender belongs to none */
    uint64_t epoch;               /* the head's, as last heard of; 0: never */
    uint32_t number, incarnation; /* of the node, as the head gave them; 0: not yet. The head is number 0 */
    struct proto_bytes token;     /* proof of the key; checked by the owner */
    uint64_t memory_domain;       /* who has the same can map the sender's store; 0: nobody */
    const char *host, *address;   /* "host:port", of messages and of bulk bytes */
    uint32_t cpus_hundredths;
    uint64_t memory_bytes, store_bytes, pid;
    const char *labels; /* "zone=a disk=ssd" */
    uint64_t news;      /* of the last NODES that the sender has applied in this life; 0: none */
};

/* In place of a hello: the connection will not be used, and why. Closed after it. */
struct proto_refusal {
    int32_t status; /* negative */
    const char *text;
};

/* ---------------------------------------------------------------------------------------------- agent to head */

/* Enters an object at the head before its name is first used there (rule 1), or tells that a known one changed: now
 * sealed, failed. Contained names beyond PROTO_OBJECTS_MAX come before it, in PROTO_EDGES. */
struct proto_publish {
    struct object_id object;
    enum proto_object_state state; /* pending, sealed or failed */
    struct task_id task;           /* that makes it; none for a put */
    struct proto_content content;
    bool located;             /* the bytes lie in the sender's store */
    bool has_value;           /* sealed and small: `value` is all of it */
    struct proto_bytes value; /* at most ROOST_SMALL_BYTES */
    struct proto_objects contained;
    struct proto_bytes spec;             /* of `task`, with the first of its returns to be published; else empty */
    const struct proto_failure *failure; /* state failed, else NULL */
};

/* The names that an object contains, in part: they are put together and count with the PROTO_PUBLISH, PROTO_COMPLETE or
 * PROTO_LIST_OBJECTS that names the object next in the same session. */
struct proto_edges {
    struct object_id object;
    struct proto_objects contained;
};

/* PROTO_HOLD, agent to head: the node's list of holders of these became non-empty (and no mention said so already).
 * PROTO_DROP, agent to head: became empty; void by rule 2 if a mention was on its way.
 * PROTO_WANT, agent to head: answer with PROTO_FOUND, now and at each change, until PROTO_UNWANT. Holds nothing.
 * PROTO_FREE, head to locations and home: nothing names these any more (rule 6).
 * PROTO_GONE, head to agent: the answer to a HOLD or a WANT that came too late. */
struct proto_names {
    struct proto_objects objects;
};

/* A task that the agent cannot or should not run itself. The head holds its arguments until it is placed. */
struct proto_submit {
    struct task_id task;
    struct proto_bytes spec;
    struct proto_objects missing; /* inputs that the sender knows not to be sealed: spares the head a look-up */
    bool handed_back;             /* it was queued at the sender before: the head's second placement is final */
};

struct proto_return {
    struct object_id object;
    struct proto_content content;
    bool located, has_value;
    struct proto_bytes value;
    struct proto_objects contained; /* and what PROTO_EDGES said before */
};

/* An attempt has ended. Its edges are entered and its returns become visible at once. Stale attempts are dropped. */
struct proto_complete {
    struct task_id task;
    uint32_t attempt;
    uint64_t duration_ns;
    bool died; /* the worker's death, not the function's failure: counts against max_retries */
    const struct proto_failure *failure; /* NULL: it succeeded */
    const struct proto_return *returns;  /* empty when it failed */
    size_t returns_count;                /* at most ROOST_RETURNS_MAX */
};

enum proto_handback_reason {
    PROTO_HANDBACK_ROOM = 1, /* no room now, and not soon */
    PROTO_HANDBACK_INPUTS,   /* an input cannot be had from here */
    PROTO_HANDBACK_DRAIN,    /* the node takes no more */
    PROTO_HANDBACK_PROGRAM,  /* the node's file of the program is another */
    PROTO_HANDBACK_AGAIN     /* head to agent: what was refused for want of room may be submitted now */
};

/* Agent to head: an attempt that was not started and will not be; the head places it again, with the same number.
 * Head to agent, attempt 0: with ROOM, the head's budget for specs is used up; the spec waits at its home, its
 * arguments stay held. With AGAIN, the head asks for the same SUBMIT once more. */
struct proto_handback {
    struct task_id task;
    uint32_t attempt;
    enum proto_handback_reason reason;
    const char *text;
};

struct proto_location {
    struct object_id object;
    bool added;                   /* else removed: evicted, or found damaged */
    struct proto_content content; /* of an added one: a copy of another version is refused by the head */
};

/* Copies came and went. Order counts. */
struct proto_locations {
    const struct proto_location *items;
    size_t count; /* at most PROTO_ITEMS_MAX */
};

/* What has become of an attempt that the head placed here, before its COMPLETE. */
struct proto_progress_item {
    struct task_id task;
    uint32_t attempt;
    uint32_t source; /* the node that sent `bytes` of its inputs; 0: it runs, and nothing more comes */
    uint64_t bytes;
};

/* Agent to head, collected for a moment: what the head has booked of networks is free again. May be lost with
 * a session: COMPLETE frees the rest. */
struct proto_progress {
    const struct proto_progress_item *items;
    size_t count; /* at most PROTO_ITEMS_MAX */
};

/* Agent to head: a driver has opened a job on this node, also within a LIST. Head to agent: before the first task of a
 * job that the node has not seen. `spec` is a struct job_spec (common/job.h). */
struct proto_job_open {
    struct job_id job;
    const char *name;
    uint64_t driver_pid;
    struct proto_bytes spec; /* at most PROTO_JOB_BYTES_MAX */
};

/* Agent to head: the driver is gone. Head to every agent: cancel what is left of the job, drop its scopes. */
struct proto_job_end {
    struct job_id job;
};

/* Bytes that have crossed from a peer's store into the sender's since the sender began: payloads and trailers, and all
 * of a transfer that was stopped on its way. */
struct proto_pulled {
    uint32_t node; /* the peer; 0: those beyond PULL_PEERS_COUNTED_MAX, together */
    uint64_t bytes;
};

/* Agent to head, when it changed: what assignments and completions do not tell. */
struct proto_load {
    uint32_t cpus_free_hundredths;
    uint64_t memory_free_bytes; /* what running attempts have not booked */
    uint64_t store_free_bytes, store_used_bytes;
    uint32_t queued, running, workers;
    uint64_t attempts_done;            /* that succeeded, since the sender began */
    const struct proto_pulled *pulled; /* peers whose count has changed since the last LOAD; in a LIST: all */
    size_t pulled_count;               /* at most PULL_PEERS_COUNTED_MAX + 1 */
    uint32_t blocked_hundredths;       /* CPUs that attempts of the head's have given back while they wait */
    uint32_t leased; /* workers that take tasks straight from a client; `running` does not count these */
};

/* The full state of an agent: on a session that was not resumed, unasked, and when the head sends PROTO_LIST with a
 * number of its own. Two parts, so that tasks can be placed before every object is known:
 *
 *   LIST_BEGIN  LOAD  JOB_OPEN*  LIST_TASKS*  LIST_PLACED
 *   (EDGES* LIST_OBJECTS)*  LIST_TASKS*  LIST_END
 *
 * Other messages may come between them. After LIST_END all that the node holds is known (rule 5). A list that begins
 * voids an earlier one that has not ended. What is listed as not held obeys rule 2 as a DROP does. */
struct proto_list_mark {
    uint32_t list; /* 1 when unasked, else as in PROTO_LIST: from 2 on */
};

struct proto_list_object {
    struct object_id object;
    bool held;                     /* the node's list of holders is not empty */
    bool stored;                   /* a copy lies in its store */
    enum proto_object_state state; /* as the agent knows it: pending, sealed, failed or lost */
    struct proto_content content;
    struct task_id task; /* that makes it, if the agent is its home; else none */
};

struct proto_list_objects {
    const struct proto_list_object *items;
    size_t count; /* at most PROTO_ITEMS_MAX; ascending by id within one list */
};

enum proto_task_state {
    PROTO_TASK_QUEUED = 1, /* given by the head, not started */
    PROTO_TASK_RUNNING,
    PROTO_TASK_HOME, /* the agent keeps its spec; it waits at the head, runs elsewhere, or is done with returns named */
    PROTO_TASK_LOCAL /* of this node alone so far, and so not the head's to place */
};

struct proto_list_task {
    struct task_id task;
    uint32_t attempt;
    enum proto_task_state state;
    struct proto_bytes spec; /* empty in the part before LIST_PLACED, unless the head cannot know it */
};

struct proto_list_tasks {
    const struct proto_list_task *items;
    size_t count; /* at most PROTO_ITEMS_MAX */
};

enum proto_stream { PROTO_STDOUT = 1, PROTO_STDERR };

/* Lines of a worker, to the agent of the job's driver by way of the head. May be dropped under pressure; counted. */
struct proto_output {
    struct job_id job;
    uint32_t node; /* where the worker runs */
    uint64_t pid;
    const char *function;
    enum proto_stream stream;
    uint32_t dropped;         /* lines of this worker lost before these */
    struct proto_bytes bytes; /* any bytes, at most PROTO_OUTPUT_BYTES_MAX */
};

/* ---------------------------------------------------------------------------------------------- head to agent */

/* The first message of a session that was not resumed: who the agent is from now on. A new incarnation voids its old
 * attempts and scopes. */
struct proto_welcome {
    struct cluster_id cluster;
    uint64_t epoch;
    uint32_t number, incarnation; /* 1 to NODES_MAX - 1; from 1 on */
};

enum proto_node_state { PROTO_NODE_ALIVE = 1, PROTO_NODE_SUSPECT, PROTO_NODE_DRAINING, PROTO_NODE_DEAD };

struct proto_node {
    struct node_id id;
    uint32_t number, incarnation;
    enum proto_node_state state;
    const char *host, *address, *labels;
    uint64_t memory_domain;
    uint32_t cpus_hundredths;
    uint64_t memory_bytes, store_bytes;
};

/* Nodes that are new to the receiver or have changed since the `news` of its HELLO, in parts if need be. */
struct proto_nodes {
    const struct proto_node *items;
    size_t count;  /* at most PROTO_ITEMS_MAX */
    uint64_t news; /* so much of what the head has to say of nodes is known with this message; 0: more follows */
};

struct proto_task_arg {
    struct object_id object;
    struct proto_content content; /* size 0 and version 0 while it is pending */
    bool has_value;
    struct proto_bytes value; /* the whole of a small object */
    struct proto_holders holders;
};

/* Run this attempt. A mention (rule 2) of every object that its spec names. */
struct proto_task {
    struct task_id task;
    uint32_t attempt;
    struct proto_bytes spec;
    const struct proto_task_arg *args; /* each input once, ascending by id; a gather's list, not what it names */
    size_t args_count;                 /* at most ROOST_ARGS_MAX */
};

/* What became of an object that the agent wants. With `holders` or a value when sealed. */
struct proto_found {
    struct object_id object;
    enum proto_object_state state;
    struct proto_content content;
    bool has_value;
    struct proto_bytes value;
    struct proto_holders holders;
    const struct proto_failure *failure; /* state failed or lost; else NULL */
};

/* All names and attempts of that life are void. The next batch's `seen` is the echo (rule 4). */
struct proto_dead {
    uint32_t node, incarnation;
};

/* Agent to head: nobody wants the returns (attempt 0). Head to agent: end this attempt. Answered by COMPLETE with
 * ROOST_ECANCELED, or by the COMPLETE that was on its way. */
struct proto_cancel {
    struct task_id task;
    uint32_t attempt;
    bool force; /* kill the worker rather than ask it */
};

/* ---------------------------------------------------------------------------------------------- agent to agent */

enum proto_pull_class { PROTO_PULL_BLOCKED = 1, PROTO_PULL_ARGUMENT, PROTO_PULL_PREFETCH };

/* Asks a holder for an object, a range or a column. `token` is the asker's, not used twice in a session. */
struct proto_pull {
    uint64_t token;
    roost_ref ref;
    enum proto_pull_class
        priority; /* the same token again: ranges that have not begun go over to the streams of BLOCKED */
};

/* The holder has pinned it: what will come. The object's trailer follows its bytes on the bulk streams. */
struct proto_pull_answer {
    uint64_t token;
    int32_t status;               /* 0, or ROOST_EFREED, ROOST_ELOST, ROOST_ERANGE, ROOST_EBUSY; then the rest is 0 */
    struct proto_content content; /* size: of what is sent, resolved: a range's, a column's */
    uint64_t offset;              /* of what is sent, in the object */
    uint32_t refs_count;          /* names in the object, in the trailer; 0 for a part */
    uint64_t trailer_bytes;       /* at most PROTO_TRAILER_BYTES_MAX; 0 for a part */
};

/* This range of the pull goes over bulk stream `stream`, next in that stream's order. Trailers lie after `size`. */
struct proto_pull_stream {
    uint64_t token;
    uint32_t stream; /* below PULL_LANES * PULL_STREAMS_MAX; the first PULL_STREAMS_MAX are of the class BLOCKED */
    uint64_t offset, size;
};

/* From the asker: it has everything (or gives up, with a status), the holder unpins. From the holder: it cannot go on.
 */
struct proto_pull_done {
    uint64_t token;
    int32_t status;
};

/* The asker's last waiter has left. Answered by PULL_DONE with ROOST_ECANCELED; bytes on their way still come. */
struct proto_pull_cancel {
    uint64_t token;
};

/* Names given to a peer outside the head's sight: held by the sender until NAMES_ACK (rule 3). */
struct proto_transit {
    uint64_t message; /* the sender's count, in this session */
    struct proto_objects objects;
};

struct proto_transit_ack {
    uint64_t message;
};

/* ---------------------------------------------------------------------------------------------- command and head */

enum proto_query_what {
    PROTO_QUERY_STATUS = 1,
    PROTO_QUERY_NODES,
    PROTO_QUERY_WORKERS,
    PROTO_QUERY_JOBS,
    PROTO_QUERY_TASKS,
    PROTO_QUERY_OBJECTS,
    PROTO_QUERY_WHY,  /* `filter` is an id: why is it pending, who holds it */
    PROTO_QUERY_PULLS /* bytes that each node has pulled from each */
};

/* Of what more than one process tells: the head, and each agent of the calls that are in the rings of its leases. */
#define PROTO_TASKS_COLUMNS "task", "name", "state", "node", "attempt", "since_ms", "why"
#define PROTO_WHY_COLUMNS   "id", "kind", "state", "why"

/* Answered by one or more PROTO_ROWS, the last of which says so. An agent answers TASKS and WHY. */
struct proto_query {
    uint32_t query; /* the asker's number of it */
    enum proto_query_what what;
    uint32_t limit;     /* rows; 0: PROTO_ROWS_MAX, which is also the most */
    const char *filter; /* "state=running node=3", "" for all */
};

struct proto_rows {
    uint32_t query;
    int32_t status; /* negative: it failed, `text` says why, there are no rows */
    const char *text;
    bool last;
    uint64_t total;             /* rows that match, beyond the limit too */
    const char *const *columns; /* names; in every part */
    size_t columns_count;       /* at most PROTO_COLUMNS_MAX */
    const char *const *cells;   /* row by row; a multiple of columns_count */
    size_t cells_count;         /* at most PROTO_CELLS_MAX */
};

/* Head: end the cluster, passed on to every agent. Agent: end this node, after its tasks when `drain`. */
struct proto_stop {
    bool drain;
    uint32_t node; /* command to head: only this one; 0: all */
};

/* ---------------------------------------------------------------------------------------------- the union */

/* X(KIND, number on the wire, member, struct). Numbers are never used again. */
#define PROTO_MESSAGE_MAP(X)                              \
    X(PUBLISH, 1, publish, proto_publish)                 \
    X(EDGES, 2, edges, proto_edges)                       \
    X(HOLD, 3, hold, proto_names)                         \
    X(DROP, 4, drop, proto_names)                         \
    X(SUBMIT, 5, submit, proto_submit)                    \
    X(COMPLETE, 6, complete, proto_complete)              \
    X(HANDBACK, 7, handback, proto_handback)              \
    X(LOCATIONS, 8, locations, proto_locations)           \
    X(WANT, 9, want, proto_names)                         \
    X(UNWANT, 10, unwant, proto_names)                    \
    X(JOB_OPEN, 11, job_open, proto_job_open)             \
    X(JOB_END, 12, job_end, proto_job_end)                \
    X(LOAD, 13, load, proto_load)                         \
    X(LIST_BEGIN, 14, list_begin, proto_list_mark)        \
    X(LIST_TASKS, 15, list_tasks, proto_list_tasks)       \
    X(LIST_PLACED, 16, list_placed, proto_list_mark)      \
    X(LIST_OBJECTS, 17, list_objects, proto_list_objects) \
    X(LIST_END, 18, list_end, proto_list_mark)            \
    X(OUTPUT, 19, output, proto_output)                   \
    X(WELCOME, 20, welcome, proto_welcome)                \
    X(NODES, 21, nodes, proto_nodes)                      \
    X(TASK, 22, task, proto_task)                         \
    X(FREE, 23, free, proto_names)                        \
    X(GONE, 24, gone, proto_names)                        \
    X(FOUND, 25, found, proto_found)                      \
    X(DEAD, 26, dead, proto_dead)                         \
    X(CANCEL, 27, cancel, proto_cancel)                   \
    X(LIST, 28, list, proto_list_mark)                    \
    X(PULL, 29, pull, proto_pull)                         \
    X(PULL_ANSWER, 30, pull_answer, proto_pull_answer)    \
    X(PULL_STREAM, 31, pull_stream, proto_pull_stream)    \
    X(PULL_DONE, 32, pull_done, proto_pull_done)          \
    X(PULL_CANCEL, 33, pull_cancel, proto_pull_cancel)    \
    X(NAMES, 34, names, proto_transit)                    \
    X(NAMES_ACK, 35, names_ack, proto_transit_ack)        \
    X(QUERY, 36, query, proto_query)                      \
    X(ROWS, 37, rows, proto_rows)                         \
    X(STOP, 38, stop, proto_stop)                         \
    X(PROGRESS, 39, progress, proto_progress)

enum proto_kind {
#define PROTO_X_(kind, number, member, type) PROTO_##kind = number,
    PROTO_MESSAGE_MAP(PROTO_X_)
#undef PROTO_X_
        PROTO_KIND_END
};

struct proto_message {
    enum proto_kind kind;
    union {
#define PROTO_X_(kind, number, member, type) struct type member;
        PROTO_MESSAGE_MAP(PROTO_X_)
#undef PROTO_X_
    } u;
};

/* One frame of the stream. A batch has a number from 1 on and at least one message; number 0 has none and only says
 * what was seen. `seen`: the last batch of the receiver that the sender had applied, whole, before it added the first
 * message (session.h). */
enum proto_frame_kind { PROTO_FRAME_HELLO = 1, PROTO_FRAME_REFUSAL, PROTO_FRAME_BATCH };

struct proto_frame {
    enum proto_frame_kind kind;
    struct proto_hello hello;     /* of PROTO_FRAME_HELLO */
    struct proto_refusal refusal; /* of PROTO_FRAME_REFUSAL */
    uint32_t number, seen;        /* of PROTO_FRAME_BATCH, with the messages */
    uint32_t after;               /* of number 0: the newest batch that had been begun; it may come later */
    const struct proto_message *messages;
    size_t count;
};

/* "PUBLISH"; "?" for what is no kind. Never NULL. */
const char *proto_kind_name(enum proto_kind kind);

#endif
