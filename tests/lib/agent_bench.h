/* agent_bench.h - an agent's core on a test bench: no processes, no memory, only events and what comes of them
 *
 * The bench feeds events, runs the commands (the table, retires, spawns are played by it) and remembers what was said
 * to each client. Every step is followed by the core's own check. */
#ifndef ROOST_TESTS_LIB_AGENT_BENCH_H
#define ROOST_TESTS_LIB_AGENT_BENCH_H

#include "common/spec.h"
#include "objectstore/table.h"
#include "proto/message.h"
#include "worker/agent/core/agent.h"

enum {
    BENCH_SAID_MAX = 4096,
    BENCH_ENTRIES_MAX = 4096,
    BENCH_SPAWNS_MAX = 256,
    BENCH_TASKS_MAX = 1024,
    BENCH_SENT_MAX = 1024,
    BENCH_PULLS_MAX = 256
};

struct bench_said { /* one entry to a client */
    struct core_client client;
    uint64_t bell; /* 0: not rung */
    unsigned char bytes[4096] __attribute__((__aligned__(8)));
};

struct bench_task { /* one attempt pushed to a worker, not yet taken by the test */
    struct core_client client;
    struct wire_task task;
    struct task_id id;
};

struct bench_sent { /* one message to a peer; what it points to is gone, but for the first of some lists */
    struct core_peer to;
    struct proto_message message;
    struct proto_progress_item items[8]; /* of a PROGRESS */
    struct object_id ids[8];             /* of a list of names */
    size_t ids_count;
    struct proto_pulled pulled[4]; /* of a LOAD */
    size_t spec_bytes;             /* of a LIST_TASKS: with its first task */
    int32_t failure_status;        /* of a COMPLETE; 0: none */
    char failure_text[256];
};

struct bench_pull {
    uint64_t token;
    struct agent_pull command;
};

struct bench_entry { /* of the shared table */
    struct agent_entry entry;
    uint64_t retire_token; /* not 0: retired, waits for bench_reclaim() when pinned */
    bool is_pinned;
    bool is_behind; /* another entry has its id by now */
};

struct bench {
    struct agent *agent;
    struct core_out out;
    uint64_t now_ns;
    struct job_id job;
    struct bench_said *said;
    size_t said_count;
    struct bench_task tasks[BENCH_TASKS_MAX];
    size_t tasks_count;
    struct bench_entry entries[BENCH_ENTRIES_MAX];
    size_t entries_count;
    uint64_t spawns[BENCH_SPAWNS_MAX];           /* tokens of workers that were asked for and have not come */
    enum agent_spawn_way ways[BENCH_SPAWNS_MAX]; /* of all workers that were asked for, in order */
    size_t spawns_count, ways_count, forkers_count;
    uint64_t forker;          /* token of the newest one that was asked for */
    struct job_spec *program; /* of drivers; NULL: a job without one, of which nothing is forked. Owned */
    uint64_t killed[BENCH_SPAWNS_MAX];
    uint32_t submit_attempt; /* of the next submits: earlier attempts were made through leases */
    size_t killed_count, closed_count;
    struct bench_sent sent[BENCH_SENT_MAX];
    size_t sent_count;
    struct bench_pull pulls[BENCH_PULLS_MAX];
    size_t pulls_count;
    uint64_t timers[8];              /* due times by the serial of the core's timers; UINT64_MAX: not armed */
    struct agent_lease lease_memory; /* what the newest CORE_LEASE said */
    bool drain_wanted;
    bool is_crowded; /* set by a test of very many objects: what is said is counted, not kept, and retires wait for
                              bench_reclaim_all(); bench_is_valid() when the test says so */
    size_t step_bytes_max; /* what the longest step said */
    uint64_t *retired;     /* tokens to be answered; owned */
    size_t retired_count, retired_capacity;
    size_t listed_objects, listed_tasks; /* in LISTs */
    uint32_t head_mark;                  /* of what was said to the head last: it has applied that when it speaks */
    uint32_t clients_count;
    uint64_t next_token, next_put, next_call;
};

/* `store_bytes` in one segment, `cpus` whole CPUs; workers are not prestarted. */
void bench_start(struct bench *bench, uint64_t store_bytes, uint32_t cpus);
/* The same, with a shared table of so many entries. */
void bench_start_with_entries(struct bench *bench, uint64_t store_bytes, uint32_t cpus, uint32_t entries_max);
/* `cpus` workers are prestarted, and may be forked unless the job's prefix or environment (NULL: none) is
 * against it. */
void bench_start_forking(struct bench *bench, uint32_t cpus, const char *prefix, const char *environment);
/* Fails the test when the core still holds bytes or objects although `empty` says that it should not. */
void bench_end(struct bench *bench, bool empty);

struct core_client bench_driver(struct bench *bench);
struct core_client bench_worker(struct bench *bench, uint64_t spawn_token);
/* Lets every worker that was asked for connect. */
void bench_workers_come(struct bench *bench);
void bench_gone(struct bench *bench, struct core_client client, int32_t wait_status);

void bench_entry(struct bench *bench, struct core_client client, const struct wire_entry *entry);
bool bench_is_valid(const struct bench *bench);
void bench_reclaim_all(struct bench *bench);
/* Turns in which every ring is read, until the core asks for no more. */
void bench_drain(struct bench *bench);
void bench_time(struct bench *bench, uint64_t now_ns); /* and the timer, if it is due */

/* The newest entry of `kind` said to the client, or NULL. */
const void *bench_said(const struct bench *bench, struct core_client client, enum wire_kind kind);
size_t bench_said_count(const struct bench *bench, struct core_client client, enum wire_kind kind);
/* The entry of an object, or NULL. */
const struct agent_entry *bench_find(const struct bench *bench, struct object_id id);
void bench_pin(struct bench *bench, struct object_id id);
void bench_unpin(struct bench *bench, struct object_id id);

/* What a client's library does, in one call each. */
int bench_room(struct bench *bench, struct core_client client, uint64_t scope, enum wire_room purpose, uint64_t bytes,
               struct wire_place *place_out); /* the status; 1 when there was no answer yet */
struct object_id bench_put(struct bench *bench, struct core_client client, uint64_t bytes, const roost_ref *refs,
                           uint32_t refs_count); /* an extent of its own, announced */
void bench_names(struct bench *bench, struct core_client client, enum wire_kind kind, uint64_t scope,
                 struct object_id id);
uint64_t bench_wait(struct bench *bench, struct core_client client, uint64_t scope, uint32_t flags, uint32_t wanted,
                    const struct object_id *ids, uint32_t count); /* the token */
struct task_id bench_submit(struct bench *bench, struct core_client client, uint64_t scope,
                            const struct spec_draft *draft);
struct bench_task bench_take(struct bench *bench); /* the oldest pushed attempt; the test fails when there is none */
void bench_result(struct bench *bench, const struct bench_task *task, uint32_t index, uint64_t bytes);
/* The result is another name for `target`. */
void bench_result_ref(struct bench *bench, const struct bench_task *task, uint32_t index, roost_ref target);
void bench_complete(struct bench *bench, const struct bench_task *task, int32_t status, const char *text);

/* ---- the head and peers, played by the test ---- */

enum { BENCH_NODE = 1, BENCH_OTHER = 2 }; /* this node's number, another node's */

/* WELCOME, and NODES with this node and another. */
void bench_head_welcomes(struct bench *bench);
/* The same, and the list that follows it. */
void bench_head_comes(struct bench *bench);
/* The head has seen all that was said to it; bench.head_mark set back: only so much. */
void bench_message(struct bench *bench, struct core_peer from, const struct proto_message *message);
/* A session with a peer has come up, new, or is lost. */
void bench_session(struct bench *bench, struct core_peer peer, bool is_up);
/* Timers that are armed for now: DROPs and lists leave. */
void bench_tick(struct bench *bench);
/* The newest message of `kind`, or NULL; how many there were. */
const struct bench_sent *bench_sent(const struct bench *bench, enum proto_kind kind);
size_t bench_sent_count(const struct bench *bench, enum proto_kind kind);
bool bench_sent_names(const struct bench *bench, enum proto_kind kind, struct object_id id);
/* The newest CORE_PULL of `op`, or NULL. */
const struct bench_pull *bench_pull(const struct bench *bench, enum agent_pull_op op);
void bench_done(struct bench *bench, uint64_t token, int status, uint64_t value, const void *data, size_t bytes);

#endif
