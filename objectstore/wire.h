/* wire.h - what a client and its agent say to each other on one machine
 *
 * Fixed-layout structs in shared-memory rings (common/ring.h, common/task_ring.h), with one layout version that is
 * checked at connect. The agent copies an entry out, checks the copy with wire_check(), and believes nothing that it
 * can compute or look up itself. Lists longer than one message travel as several entries with the same token.
 *
 * A client has, in memory that its agent made (client_page.h):
 *   requests    client -> agent   everything below but SUBMIT, TAKEN, TASK and COMPLETE
 *   replies     agent -> client
 *   submits     client -> agent   a task ring: struct wire_submit in each slot
 *   taken       agent -> client   WIRE_TAKEN, one per submit, once the agent holds what the task names
 *   tasks       agent -> worker   a task ring: struct wire_task in each slot
 *   completes   worker -> agent   WIRE_COMPLETE, WIRE_RUN_END
 * Order: what a client wrote into `requests` before it published a submit or a completion is read before it. The agent
 * keeps that promise by remembering the ends of submits and completes, draining requests, and only then going up to
 * the remembered ends. The other way round a request may be read before an earlier submit: so a name that is unknown
 * is looked up again after everything has been drained once, before it is called unknown.
 *
 * Scopes: 0 is the client itself; any other is the run (struct wire_task) of one attempt in a worker, and ends with it.
 */
#ifndef ROOST_OBJECTSTORE_WIRE_H
#define ROOST_OBJECTSTORE_WIRE_H

#include "common/id.h"
#include "common/limits.h"

enum {
    WIRE_LAYOUT = 5,
    WIRE_REFS_PER_ENTRY = 1000,
    WIRE_TEXT_BYTES_MAX = 1024,
    WIRE_TASK_INLINE_BYTES = 768 /* of a spec inside a task ring's slot; a longer one lies in the store */
};

enum wire_kind {
    /* requests */
    WIRE_ROOM = 1,     /* memory, please */
    WIRE_ROOM_BACK,    /* a lease that is no longer needed, or its tail */
    WIRE_REFS,         /* refs inside an object that a later ANNOUNCE or RESULT names */
    WIRE_ANNOUNCE,     /* a private object becomes the node's */
    WIRE_HOLD,         /* a scope now holds these */
    WIRE_FREE,         /* a scope no longer holds these */
    WIRE_WAIT,         /* tell me when so many of these are ready */
    WIRE_UNWAIT,       /* answer that wait now, as it stands */
    WIRE_PREFETCH,     /* start bringing this here */
    WIRE_LOCATE,       /* where are copies of this? */
    WIRE_NODES,        /* who is in the cluster? */
    WIRE_RESULT,       /* a worker's result, to become visible with its attempt's completion */
    WIRE_LEASE,        /* a worker that takes tasks from me, please */
    WIRE_LEASE_BACK,   /* it has nothing of mine any more; the answer to an end, too */
    WIRE_LEASE_BROKEN, /* it wrote what cannot be: end it */
    WIRE_RUN,          /* a worker runs a task of its lease that needs a scope */
    WIRE_ESCAPE,       /* a call through a lease whose results others may name from now on */
    WIRE_SETTLE,       /* the value of a result of such a call */
    WIRE_ADOPT,        /* a result that a leased task has stored is its holder's now, or nobody's */
    /* completes */
    WIRE_COMPLETE,
    WIRE_RUN_END, /* a run of the worker's own has ended: with a status, its results are void */
    /* replies */
    WIRE_ROOM_GIVEN,
    WIRE_READY,
    WIRE_WHY, /* in words, why a ref of a wait is not coming */
    WIRE_LOCATIONS,
    WIRE_NODE,
    WIRE_OUTPUT,     /* a line that a worker of this job printed; may be dropped and counted */
    WIRE_JOB_ENDED,  /* the job is over: a worker ends, a driver's calls fail with `status` */
    WIRE_LEASED,     /* the answer to LEASE */
    WIRE_LEASE_NEWS, /* what has become of a lease */
    /* taken */
    WIRE_TAKEN,
    WIRE_KINDS
};

/* Bytes in the store. `bytes` is what was allotted, at least what is used. */
struct wire_place {
    uint64_t offset, bytes;
    uint32_t segment, reserved;
};

/* Every entry begins with this. */
struct wire_entry {
    uint32_t kind;  /* enum wire_kind */
    uint32_t bytes; /* of the entry, this head included; a multiple of 8 */
    uint64_t token; /* of the request that asks for an answer, and of the answer; else 0 */
};

enum wire_room { WIRE_ROOM_SLAB = 1, WIRE_ROOM_OBJECT, WIRE_ROOM_SPEC };

/* Answered by ROOM_GIVEN, at most STORE_PATIENCE_MS later; a SLAB at once, with ROOST_EFULL when there is no room for a
 * whole one: then the object at hand asks for an OBJECT lease of its own. An OBJECT lease ends when an ANNOUNCE or
 * RESULT names its offset: what lies beyond the object and its trailer goes back. A SPEC lease goes back with ROOM_BACK
 * after TAKEN. */
struct wire_room_request {
    struct wire_entry head;
    uint64_t bytes;
    uint32_t purpose; /* enum wire_room */
    uint32_t bell;    /* rung with the answer */
    uint64_t scope;   /* whose place in the queue: the oldest admitted task of the node is served first */
};
struct wire_room_given {
    struct wire_entry head;
    struct wire_place place; /* when status is 0 */
    int32_t status;
    uint32_t reserved;
};

/* A slab whose private objects are all gone or announced, or an OBJECT or SPEC lease given up. */
struct wire_room_back {
    struct wire_entry head;
    struct wire_place place;
};

/* Where an object's bytes lie: payload, then, aligned to 8, `columns` ends of 8 bytes and `refs` refs of 32. */
struct wire_object {
    struct object_id id;
    struct wire_place place;
    uint64_t size; /* of the payload */
    uint32_t columns, refs;
    uint32_t format; /* enum table_format */
    uint32_t stays;  /* 1: its maker looks at the bytes in place; not to be moved while the announcing scope holds it */
};

struct wire_refs {
    struct wire_entry head;
    struct object_id container;
    uint32_t count, reserved;
    roost_ref refs[]; /* at most WIRE_REFS_PER_ENTRY */
};

/* `refs` refs came before in WIRE_REFS. The scope that made it holds it. */
struct wire_announce {
    struct wire_entry head;
    uint64_t scope;
    struct wire_object object;
    struct task_id task; /* none, or that of which the object is result `index` */
    uint32_t index, reserved;
};

/* HOLD and FREE. */
struct wire_names {
    struct wire_entry head;
    uint64_t scope;
    uint32_t count, reserved;
    struct object_id ids[]; /* at most WIRE_REFS_PER_ENTRY */
};

enum wire_wait_flag {
    WIRE_WAIT_FETCH = 1 << 0,  /* ready means: on this node */
    WIRE_WAIT_BLOCKS = 1 << 1, /* the scope's attempt does nothing else meanwhile: its CPU goes back */
    WIRE_WAIT_OWN = 1 << 2,    /* of no refs: for results of leases that come by themselves; UNWAIT ends it */
    WIRE_WAIT_FOLLOW = 1 << 3, /* with FETCH: of what is only another name, that which it names is waited for */
};

/* OWN: `total` is 0 and `wanted` 1; READY without an UNWAIT says that nothing will come: all that could run waits.
 * `total` refs in as many entries of one token as it takes; answered once, by READY, when `wanted` are ready, none
 * that is missing can become ready, or UNWAIT asks. */
struct wire_wait {
    struct wire_entry head;
    uint64_t scope;
    uint32_t total, wanted;
    uint32_t flags, bell;
    uint32_t count, reserved;
    roost_ref refs[]; /* at most WIRE_REFS_PER_ENTRY */
};

/* One byte per ref of the wait, in its order: 1 ready, 0 not yet, else a negative ROOST_E code (its error object, if it
 * has one, is in the table under the ref's own name; else there may have been a WHY). In as many entries as it takes;
 * the bell rings after the last. */
struct wire_ready {
    struct wire_entry head;
    uint32_t first, count; /* this entry tells about refs [first, first + count) */
    uint32_t total, reserved;
    int8_t ready[]; /* padded to 8 */
};

/* Of a ref of the wait that failed although its object is well: it cannot be brought here. Before READY, about one
 * ref. */
struct wire_why {
    struct wire_entry head;
    uint32_t index;
    uint32_t text_bytes;
    char text[]; /* at most WIRE_TEXT_BYTES_MAX, no NUL, padded to 8 */
};

/* UNWAIT (token), PREFETCH and LOCATE (ref), NODES. */
struct wire_ask {
    struct wire_entry head;
    roost_ref ref;
    uint32_t bell, reserved;
};

struct wire_locations {
    struct wire_entry head;
    int32_t status;
    uint32_t total, count, reserved; /* `count` of the `total` follow, the rest in further entries */
    struct node_id nodes[];
};

/* One node of the cluster; the answer to NODES is `total` of them, then the bell. What is free is 0, "not known", of
 * every node but this one. */
struct wire_node {
    struct wire_entry head;
    uint32_t index, total;
    struct node_id node;
    uint32_t alive, cpus_hundredths_total, cpus_hundredths_free, reserved;
    uint64_t memory_bytes_total, memory_bytes_free, store_bytes_total, store_bytes_free;
    char host[256];
    char labels[512];
};

/* In a slot of `submits`: the spec itself when it fits, else where it lies in a SPEC lease. */
struct wire_submit {
    uint64_t scope;
    uint32_t spec_bytes;
    uint32_t is_inline;
    uint32_t attempt, reserved; /* so many were made before, through leases, and ended with their workers */
    union {
        struct wire_place place;
        unsigned char bytes[8]; /* spec_bytes of them: the slot is larger than this struct */
    } u;
};

struct wire_taken {
    struct wire_entry head; /* token: the slot's ticket */
    struct task_id task;
};

/* In a slot of `tasks`. The arguments are on this node and will stay until the attempt has completed. */
struct wire_task {
    uint64_t run;    /* the scope of this attempt; never used again on this node */
    uint64_t prefix; /* of the ids of what the attempt puts: id.hi */
    uint32_t attempt;
    uint32_t spec_bytes;
    uint32_t is_inline, reserved;
    union {
        struct wire_place place;
        unsigned char bytes[8];
    } u;
};

struct wire_result {
    struct wire_entry head;
    uint64_t run;
    uint32_t index, reserved;
    struct wire_object object; /* id: result_id(task, index) */
};

/* Everything that the attempt names was said before, in requests. With a status that is not 0 the results are void. */
struct wire_complete {
    struct wire_entry head;
    uint64_t run;
    int32_t status, app_code;
    uint64_t duration_ns;
    uint32_t text_bytes, reserved;
    char text[]; /* at most WIRE_TEXT_BYTES_MAX, no NUL, padded to 8 */
};

/* What a worker printed: whole lines, each ended by '\n'. */
struct wire_output {
    struct wire_entry head;
    struct node_id node;
    int64_t pid;
    uint32_t is_stderr, text_bytes;
    uint32_t dropped, reserved; /* lines lost before this one */
    char function[ROOST_NAME_BYTES_MAX + 1];
    char node_name[64];
    char text[];
};

struct wire_job_ended {
    struct wire_entry head;
    int32_t status;
    uint32_t text_bytes;
    char text[];
};

/* ---- leases (lease_page.h). Numbers of leases are never used again on the node. */

/* Answered by LEASED when a worker of the client's job and a CPU are there: soon, or late. By the news DENIED when they
 * never will be. */
struct wire_lease {
    struct wire_entry head;
    uint64_t scope;
    uint32_t bell, reserved;
};
struct wire_leased {
    struct wire_entry head;
    uint64_t lease;
    int64_t pid; /* the worker's */
    uint32_t slot;
    uint32_t others; /* other nodes that live: calls may go there when this one has too many */
};

/* BACK: every task that was pushed is done or taken back; after it nothing more comes about the lease. BROKEN: the
 * worker, which is of the holder's own job, is killed, and the lease ends as when one dies. */
struct wire_lease_back {
    struct wire_entry head;
    uint64_t lease;
};

enum wire_lease_news_kind {
    WIRE_LEASE_WANTED = 1, /* others wait for its CPU: give it back as soon as it has nothing to do */
    WIRE_LEASE_RECALLED,   /* somebody else's turn: push no more, take back what nobody has claimed, give it back */
    WIRE_LEASE_BLOCKED,    /* its worker waits: what is unclaimed in the ring would wait too */
    WIRE_LEASE_UNBLOCKED,
    WIRE_LEASE_OTHERS, /* how many other nodes live, in `wait_status`: to who asks and will wait, and when it changes */
    WIRE_LEASE_DENIED, /* the ask is void, and so would be every later one: the calls go the agent's way */
    WIRE_LEASE_ENDED, /* its worker is dead, with `wait_status`; what it completed is in the ring. To be answered by BACK */
};

struct wire_lease_news {
    struct wire_entry head;
    uint64_t lease;
    uint32_t what; /* enum wire_lease_news_kind */
    int32_t wait_status;
};

/* A run of a worker's own numbers: WIRE_RUN_OWN is set, the rest counts upward. Before the first entry under this
 * scope. */
#define WIRE_RUN_OWN (UINT64_C(1) << 63)
struct wire_run {
    struct wire_entry head;
    uint64_t run;
    struct task_id task;
};
struct wire_run_end {
    struct wire_entry head;
    uint64_t run;
    int32_t status;
    uint32_t reserved;
};

/* The spec of a call whose attempt `attempt` runs under a lease, or will: its results are pending, the scope's. */
struct wire_escape {
    struct wire_entry head;
    uint64_t scope;
    uint32_t attempt, spec_bytes;
    unsigned char spec[]; /* at most WIRE_TASK_INLINE_BYTES, padded to 8 */
};

/* The agent writes the bytes into the store. Format: TABLE_RAW, or TABLE_ERROR with a struct wire_failure. */
struct wire_settle {
    struct wire_entry head;
    struct task_id task;
    uint32_t index, format;
    uint32_t reserved, bytes_count;
    unsigned char bytes[]; /* at most ROOST_SMALL_BYTES, padded to 8 */
};

/* Said by the holder, who has read the completion: result `index` of `run` is `scope`'s. Not wanted: its bytes go. */
struct wire_adopt {
    struct wire_entry head;
    uint64_t scope, lease, run;
    struct task_id task;
    uint32_t index, is_wanted;
};

/* Is this copied-out entry one that may come over this ring, with all its counts inside its bytes? The check is of form
 * alone: whether its names exist is for the one who acts on it. ROOST_EINVAL with a text. */
int wire_check(const struct wire_entry *entry, size_t bytes);

/* How many bytes of store an object with this trailer needs, or 0 when its payload is over ROOST_OBJECT_BYTES_MAX. */
uint64_t wire_object_bytes(uint64_t size, uint32_t columns, uint32_t refs);

/* Where in the object's bytes the ends of its columns and its refs begin. */
static inline uint64_t wire_columns_offset(uint64_t size) { return align_up(size, 8); }
static inline uint64_t wire_refs_offset(uint64_t size, uint32_t columns)
{
    return wire_columns_offset(size) + (uint64_t)columns * 8;
}

/* The payload of an object whose format says "error": why a task, and so each of its results, failed. The text may be
 * cut behind its NUL. */
struct wire_failure {
    int32_t status, app_code, signal, attempts;
    int64_t pid;
    char function[ROOST_NAME_BYTES_MAX + 1];
    char node[128];
    char text[WIRE_TEXT_BYTES_MAX];
};

#endif
