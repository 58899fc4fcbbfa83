/* head_bench.h - the head's core on a test bench: agents that are played by the test, message by message
 *
 * The bench feeds events, delivers commands and remembers what was said to whom. A fake agent has applied all that was
 * said to it unless it is deaf; then its `seen` stays behind. Every step is followed by the core's own checks. */
#ifndef ROOST_TESTS_LIB_HEAD_BENCH_H
#define ROOST_TESTS_LIB_HEAD_BENCH_H

#include "common/hash.h"
#include "common/spec.h"
#include "proto/message.h"
#include "scheduler/core/head.h"
#include "scheduler/ledger.h"

enum { BENCH_AGENTS = 16, BENCH_SAID_MAX = 16384, BENCH_IDS_MAX = 32 };

struct bench_said {
    uint64_t to;
    enum proto_kind kind;
    struct object_id object; /* FOUND: its object; FREE, GONE: the first */
    uint32_t ids_count;      /* FREE, GONE */
    struct object_id ids[BENCH_IDS_MAX];
    struct task_id task; /* TASK, CANCEL, HANDBACK */
    uint32_t attempt, args_count, args_sealed;
    uint32_t node, incarnation; /* WELCOME, DEAD; NODES: the first */
    uint32_t nodes;             /* NODES: how many */
    enum proto_object_state state;
    enum proto_handback_reason reason;
    int32_t status; /* FOUND, ROWS */
    uint32_t holders, holder;
    bool has_value, last;
    uint64_t total;
    uint32_t cells;
    char text[512]; /* FOUND: of the failure; ROWS: all cells, "|" after each */
};

struct bench_agent {
    struct node_id id;
    uint32_t number, incarnation, cpus;
    uint64_t handle;
    uint32_t mark, seen; /* of the last message said to it; as it will say */
    bool is_deaf, is_up, has_job;
    uint32_t lists;
    uint64_t news; /* of nodes, that it has heard */
};

struct bench {
    struct head *head;
    struct head_config config;
    struct core_out out;
    uint64_t now_ns, timers[HEAD_TIMER_CYCLES + 1]; /* by enum head_timer; UINT64_MAX: not armed */
    struct bench_agent agents[BENCH_AGENTS];
    struct bench_said *said;
    size_t said_count;
    struct ledger ledger;
    uint64_t closed[BENCH_AGENTS];
    size_t closed_count;
    struct job_id job;
    uint64_t next_handle, next_put, next_call;
    bool turns_are_held; /* the test runs them by bench_turn() */
    uint32_t turns;      /* so far */
    size_t room_least;   /* what a step has left of the arena, at the least */
    bool is_large;       /* too much to check in every step, but for what it has changed, and to remember all of it */
};

void bench_start(struct bench *bench, const struct head_config *config); /* NULL: the defaults, a fixed cluster */
void bench_end(struct bench *bench);
/* The head dies; another begins with what it had committed. Agents keep their numbers and have no session. */
void bench_restart(struct bench *bench);

/* Agent `i` says HELLO with so many CPUs; a fresh one, or the same life again. It does not list by itself. */
void bench_agent(struct bench *bench, uint32_t i, uint32_t cpus);
void bench_agent_again(struct bench *bench, uint32_t i); /* the same life, a new session */
/* LIST with its job, if it has one, these objects and nothing else. */
struct bench_listed {
    struct object_id id;
    bool held, stored;
};
void bench_list(struct bench *bench, uint32_t i, const struct bench_listed *objects, size_t count);
void bench_lost(struct bench *bench, uint32_t i); /* its session */
void bench_say(struct bench *bench, uint32_t i, const struct proto_message *message);
void bench_sign(struct bench *bench, uint32_t i); /* of life */
void bench_all_sign(struct bench *bench);         /* every agent that is up */
void bench_hear(struct bench *bench, uint32_t i); /* no longer deaf: it has applied everything */
void bench_turn(struct bench *bench);
/* Time passes; timers come when they are due; agents that are up give their signs if `alive`. */
void bench_pass(struct bench *bench, uint64_t ms, bool alive);
void bench_die(struct bench *bench, uint32_t i); /* by silence, while the others live and echo */

/* Begins, with so many agents of `cpus` CPUs each, all of which have listed, and a job of the first one. */
void bench_cluster(struct bench *bench, const struct head_config *config, uint32_t agents, uint32_t cpus);

/* What agents say, in one call each. */
struct object_id bench_put(struct bench *bench, uint32_t i, uint64_t bytes); /* PUBLISH, sealed, held, here */
struct object_id bench_pending(struct bench *bench, uint32_t i);             /* PUBLISH of something not made yet */
struct object_id bench_box(struct bench *bench, uint32_t i, const struct object_id *contained, size_t count);
void bench_seal(struct bench *bench, uint32_t i, struct object_id id, uint64_t bytes);
/* The same, as a forward to `target`. */
void bench_lead(struct bench *bench, uint32_t i, struct object_id id, struct object_id target);
void bench_names(struct bench *bench, uint32_t i, enum proto_kind kind, struct object_id id);
void bench_location(struct bench *bench, uint32_t i, struct object_id id, uint64_t bytes, bool added);
void bench_job(struct bench *bench, uint32_t i);
struct bench_call {
    const roost_in *args;
    size_t args_count;
    uint32_t cpus_hundredths, flags, returns;
    uint64_t memory_bytes;
    int32_t max_retries;
    struct node_id node;
    const char *name; /* for people, or NULL */
};
struct task_id bench_submit(struct bench *bench, uint32_t i, const struct bench_call *call);
struct spec *bench_spec(struct bench *bench, const struct bench_call *call); /* malloc()ed */
void bench_complete(struct bench *bench, uint32_t i, struct task_id task, uint32_t attempt, uint32_t returns,
                    uint64_t bytes);
void bench_fail(struct bench *bench, uint32_t i, struct task_id task, uint32_t attempt, int32_t status, bool died);

/* What was said. */
size_t bench_said_count(const struct bench *bench, uint32_t i, enum proto_kind kind);
const struct bench_said *bench_last(const struct bench *bench, uint32_t i, enum proto_kind kind); /* NULL: never */
void bench_forget(struct bench *bench); /* what was said so far */
bool bench_was_freed(const struct bench *bench, uint32_t i, struct object_id id);
/* Which agent has been given the task's newest attempt; BENCH_AGENTS: none. */
uint32_t bench_placed(const struct bench *bench, struct task_id task);
uint32_t bench_attempt(const struct bench *bench, struct task_id task); /* that one's number, or 0 */
roost_in bench_ref(struct object_id id);
roost_in bench_gather(struct object_id list);
const struct bench_said *bench_query(struct bench *bench, enum proto_query_what what, const char *filter);
const struct bench_said *bench_query_some(struct bench *bench, enum proto_query_what what, const char *filter,
                                          uint32_t limit);

#endif
