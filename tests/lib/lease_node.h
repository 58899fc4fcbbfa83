/* lease_node.h - one holder of leases, its workers and an agent, as fibers of one process
 *
 * The holder is a struct agent_link as api/agent_link.c makes it, over rings in plain memory; its threads and the workers are
 * fibers that run libroost's own files, compiled again with tests/lib/fibers_process.h. The agent is a hand-written one: it
 * grants leases, says what the test wants it to say, and looks at what must hold when a lease comes back.
 *
 * One world at a time: lease_node_begin(seed), add fibers, fibers_run(), look, lease_node_end(). */
#ifndef ROOST_TESTS_LIB_LEASE_NODE_H
#define ROOST_TESTS_LIB_LEASE_NODE_H

#include "api/agent_world.h"
#include "tests/lib/fibers.h"

enum { NODE_WORKERS_MAX = 3, NODE_NUMBERS = 64 };

/* What happens inside a task; it may yield, and wait for others. */
typedef void node_body(unsigned worker, uint32_t attempt, uint64_t number);

struct node_worker {
    struct roost rt;
    struct agent_link link;
    struct lease_page_head *page;
    uint64_t lease; /* 0: none */
    unsigned fiber;
    int memory_fd;
    bool is_there, is_recalled, was_told_dead;
};

struct lease_node {
    struct roost rt;
    struct agent_link link;
    struct ring_consumer requests;
    struct ring_producer replies;
    struct task_ring submits;
    struct ring_producer taken;
    struct node_worker workers[NODE_WORKERS_MAX];
    uint64_t serial, asked_token; /* 0: no question for a lease is open */
    uint32_t asked_bell;
    struct wire_wait waits[8]; /* that nobody has answered; of no refs: unused */
    bool is_over;
    bool refuses;    /* every question for a lease is left open */
    bool denies;     /* every one is void */
    uint32_t others; /* nodes that live beside this one */
    bool misses;     /* nobody but the holder sees objects, nor do they come */
    bool dawdles;    /* what went its way is never ready: a wait is answered when it is told to */
    unsigned granted, back, broken, submitted, escaped;
    unsigned claimed;                                     /* by workers that died then, and not copied out */
    unsigned begun[NODE_NUMBERS], attempts[NODE_NUMBERS]; /* of each task, by its number */
    unsigned running;                                     /* tasks, now */
    unsigned silent_looks;                                /* a whole second passed for somebody who waited */
    node_body *body;                                      /* NULL: none */
};
extern struct lease_node node;

/* With so many workers, each a fiber of lease_node_work(). */
void lease_node_begin(uint64_t seed);
void lease_node_end(void);

/* The number of the fiber; numbers count as fibers_add() does. */
unsigned lease_node_add(void (*run)(void *arg), void *arg);
/* A worker's fiber. */
struct node_worker *lease_node_add_worker(void);
/* The library's thread of the holder, and the agent; both end with lease_node_close(). */
void lease_node_library(void *arg);
void lease_node_agent(void *arg);
/* Before the fibers run: a lease of this worker is the holder's, with no agent. */
void lease_node_hold(struct node_worker *worker);
/* Nothing more will be called. */
void lease_node_close(void);

/* ---- inside a fiber: the holder's calls ---- */

/* A call of task `number`, which returns number + 1. */
roost_ref lease_node_call(uint64_t number, int32_t max_retries);
/* It reads `ref` too. */
roost_ref lease_node_call_with(uint64_t number, roost_ref ref);
/* One that no lease takes. */
roost_ref lease_node_call_elsewhere(uint64_t number);
/* Until so many are ready. The status of the wait. */
int lease_node_wait(const roost_ref *refs, uint32_t total, uint32_t wanted);
/* 0 and the value; else the status of its failure. ROOST_ENOENT: it went the agent's way. */
int lease_node_value(roost_ref ref, uint64_t *value_out);
void lease_node_free(roost_ref ref);

/* What the agent says unasked, of a lease that stands. */
void lease_node_tell(struct node_worker *worker, enum wire_lease_news_kind what);

#endif
