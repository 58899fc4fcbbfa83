/* agent.h - the agent's core: one node's objects, tasks, workers and clients, decided without touching the world
 *
 * Events and commands are core.h's. What the agent adds to them:
 *
 *   CORE_CLIENT_UP     a client has connected; for a worker, u.client.token is the spawn's, for a driver data is its job
 *   CORE_RING_ENTRY    a wire entry that wire_check() accepted; SUBMIT arrives as struct agent_submit
 *   CORE_CLIENT_GONE   the process is dead and everything that it committed has been read; status: its wait status
 *   CORE_DRAINED       every ring has been read to the end that it had at some moment after the previous CORE_DRAINED
 *   CORE_DONE          token kinds below
 *
 *   CORE_REPLY         to a client; body: a wire entry; token: 0, or 1 + the bell to ring after it
 *   CORE_TASK          to a worker; body: struct agent_task
 *   CORE_LEASE         to a worker; body: struct agent_lease
 *   CORE_TABLE         body: struct agent_entry; a retired entry is answered by CORE_DONE once no pin names it
 *   CORE_WRITE         body: struct agent_write
 *   CORE_SPAWN         body: struct agent_spawn; answered by CLIENT_UP, or CORE_DONE when it ended before connecting;
 *                      of a forker (AGENT_TOKEN_FORKER) by CORE_DONE when it is ready, and again when it has ended
 *   CORE_KILL          token: the spawn's; to: the signal
 *   CORE_DRAIN         run a turn that reads every ring
 *   CORE_SEND          body: struct proto_message; to: core_peer_key(), node 0 is the head
 *   CORE_PULL          body: struct agent_pull
 *   CORE_WAKE          body: struct agent_names: names have come from another agent; answered by CORE_DONE with its token
 *                      once whoever they are for has said that it holds them
 *
 * Names that a call carries to another agent are given by CORE_DONE, token AGENT_TOKEN_NAMES with serial 0, data:
 * struct agent_names, before the call is sent; somebody here holds them at that moment. For that u.message.seen of the
 * head's messages is, as on its own side, the mark (the token of a CORE_SEND) of the last batch that it had applied,
 * and a body of NULL only says what was seen.
 *
 * What clients have read lately, as far as their notes tell, is told by CORE_DONE, token AGENT_TOKEN_TOUCHED, data:
 * struct agent_names, while agent_wants_touches().
 *
 * Thread: the agent's loop. */
#ifndef ROOST_WORKER_AGENT_CORE_AGENT_H
#define ROOST_WORKER_AGENT_CORE_AGENT_H

#include "common/core.h"
#include "common/id.h"
#include "common/spec.h"
#include "objectstore/wire.h"

enum agent_token_kind {
    AGENT_TOKEN_RETIRE = 1,
    AGENT_TOKEN_EVICT,
    AGENT_TOKEN_SPAWN,
    AGENT_TOKEN_PULL,
    AGENT_TOKEN_SERVE,
    AGENT_TIMER,
    AGENT_TOKEN_NAMES,
    AGENT_TOKEN_TOUCHED,
    AGENT_TOKEN_FORKER
};

static inline uint64_t agent_token(enum agent_token_kind kind, uint64_t serial)
{
    return (uint64_t)kind << 56 | serial;
}
static inline enum agent_token_kind agent_token_kind(uint64_t token) { return (enum agent_token_kind)(token >> 56); }
static inline uint64_t agent_token_serial(uint64_t token) { return token & ((UINT64_C(1) << 56) - 1); }

/* The rule of lifetime that this core keeps by itself; switched off by the simulator's mutation tests and by nobody
 * else. */
enum agent_rule { AGENT_RULE_TRANSIT = 1 << 3 /* names given to a peer are held here until it acknowledges them */ };

struct agent_config {
    struct node_id node;
    char node_name[64];
    uint32_t cpus_hundredths;
    uint64_t memory_bytes;
    uint32_t segments_count;
    uint64_t segment_bytes[STORE_SEGMENTS_MAX];
    bool segment_is_huge[STORE_SEGMENTS_MAX];
    uint32_t entries_max;      /* of the shared table; 0: as many as there are objects */
    uint64_t secret;           /* random, of this life: makes the names of transfers and puts its own */
    uint64_t patience_ns;      /* 0: STORE_PATIENCE_MS */
    uint32_t prestart_workers; /* per job */
    uint32_t workers_max;      /* blocked ones included */
    bool forks;                /* workers may be forked from a forker */
    bool alone;                /* no head: everything is decided here */
    uint32_t rules_off;        /* of enum agent_rule */
};

struct agent_names {
    struct core_peer peer;
    uint32_t count, reserved;
    struct object_id ids[];
};

/* CORE_RING_ENTRY of a submits ring: the entry, then the spec, already copied and checked by spec_check(). */
struct agent_submit {
    struct wire_entry head; /* kind: AGENT_SUBMIT; token: the ticket */
    uint64_t scope;
    uint32_t attempt;        /* the first one's number: earlier ones were made through leases */
    struct wire_place place; /* of the SPEC lease, when the spec came in one; bytes 0: inline */
    const struct spec *spec;
};
enum { AGENT_SUBMIT = WIRE_KINDS };

struct agent_task {
    struct wire_task task;   /* spec_bytes and place are set; is_inline is for the host to decide */
    const struct spec *spec; /* valid until the attempt has ended */
};

/* The lease stands from now on, or (number 0) none does: then the memory has no holder. */
struct agent_lease {
    uint64_t number;
    struct core_client holder;
};

/* PUBLISH may follow EVICT or REVIVE of the same id: then the entry is there, and says "ask". REVIVE: the id is named
 * again while bytes that were retired under it wait for their last reader. The entry stays, readers that come now ask;
 * the retired bytes are answered as before. */
enum agent_entry_op { AGENT_ENTRY_PUBLISH = 1, AGENT_ENTRY_RETIRE, AGENT_ENTRY_EVICT, AGENT_ENTRY_REVIVE };

struct agent_entry {
    enum agent_entry_op op;
    struct wire_object object; /* id alone but for PUBLISH */
    int32_t status;            /* of an object that failed without an error object; then there is no place */
    uint32_t version;
};

struct agent_write {
    struct wire_place place;
    size_t bytes;
    const void *data; /* in the command arena, or valid until the core's next step */
};

/* A worker is started, or forked from the job's forker (started all the same when there is none any more). */
enum agent_spawn_way { AGENT_SPAWN_EXEC, AGENT_SPAWN_FORK, AGENT_SPAWN_FORKER };

struct agent_spawn {
    struct job_id job;
    const struct job_spec *spec; /* valid while the job has workers */
    enum agent_spawn_way way;
};

/* CORE_DONE of a forker, value: it waits for requests, or it has ended (status: how, data: its own words). */
enum agent_forker_said { AGENT_FORKER_OVER, AGENT_FORKER_READY };

/* Bytes on their way between two stores. The receiving agent's host gets RECEIVE when it knows where they go, the
 * sending one's SEND for each range that the receiver asked for; OPEN asks the sending host what a ref means (a
 * column's ends lie in the object's trailer). */
enum agent_pull_op { AGENT_PULL_OPEN = 1, AGENT_PULL_SEND, AGENT_PULL_RECEIVE, AGENT_PULL_CANCEL, AGENT_PULL_RAISE };

/* token: AGENT_TOKEN_PULL on the receiving side, AGENT_TOKEN_SERVE on the sending one.
 *   OPEN     object, ref    -> CORE_DONE: status, data: struct agent_opened
 *   RECEIVE  place, size    -> CORE_DONE when all of [0, size) has come: value: the transfer, data: the refs of the
 *                              object's trailer
 *   SEND     place, size, transfer, offset, stream -> CORE_DONE, perhaps more than once, when the bytes may not arrive;
 *              else no answer: the receiver says when it has all
 *   CANCEL   bytes that still come are thrown away -> CORE_DONE when none can be written to the place any more
 *   RAISE    transfer: its ranges that have not begun to go out go over the streams of the first lane; no answer */
struct agent_pull {
    enum agent_pull_op op;
    struct core_peer peer;
    uint64_t transfer;         /* the receiver's token: names the transfer on the wire */
    struct wire_object object; /* OPEN: where it lies; RECEIVE: columns and refs of what comes */
    roost_ref ref;
    struct wire_place place; /* of the range */
    uint64_t offset, size;   /* of the range in what is transferred */
    uint32_t stream;         /* those of lane L begin at L * PULL_STREAMS_MAX */
};

struct agent_opened {
    uint64_t offset, size;  /* of the ref's bytes in the object */
    uint64_t trailer_bytes; /* that follow, with what lies between; 0 for a part */
};

struct agent;

/* ROOST_ENOMEM, ROOST_EINVAL. */
int agent_create(struct agent **agent_out, const struct agent_config *config);
void agent_destroy(struct agent *agent);

extern const struct core_vtable agent_core;

/* The client is about to announce that object, perhaps: what the agent will look at is fetched. Changes nothing. */
void agent_foresee(struct agent *agent, struct core_client client, struct object_id id);

/* CORE_DONE of these tokens is about to come, of `next` earlier than of `soon`. Changes nothing. */
void agent_foresee_done(const struct agent *agent, uint64_t soon, uint64_t next);

/* id.hi of what a client puts outside any attempt. */
uint64_t agent_client_prefix(const struct agent *agent, struct core_client client);

struct agent_counts {
    uint64_t objects, objects_here, bytes_used, bytes_total;
    uint64_t tasks_waiting, tasks_ready, tasks_running, tasks_blocked, tasks_away;
    uint64_t leases, leases_blocked, leases_granted;
    uint64_t tasks_leased, tasks_done, tasks_failed, workers, workers_idle, clients, retries, evictions, pulls,
        pulled_bytes, attempts_done;
    int64_t cpus_hundredths_free;
};
struct agent_counts agent_counts(const struct agent *agent);
/* Copies may have to go before long: what is read meanwhile should not be the first of them. */
bool agent_wants_touches(const struct agent *agent);
/* Somebody waits for room: what is given up should be said, and looked at, at once. */
bool agent_wants_room(const struct agent *agent);

#endif
