/* lease_page.h - the memory through which a lease holder gives tasks to a worker of its node
 *
 * The agent makes one memfd per worker and keeps it mapped; the worker maps it when it has connected, the holder of a
 * lease for as long as the lease lasts. It passes from holder to holder: tickets go on counting, and between two leases
 * both rings are empty.
 *
 *     head | tasks (holder -> worker) | completes (worker -> holder)
 *
 * A task slot's payload is a struct lease_task, a completion a struct lease_done; both sides are clients of one job, so
 * each checks the bounds of what it copies out and believes the rest. */
#ifndef ROOST_OBJECTSTORE_LEASE_PAGE_H
#define ROOST_OBJECTSTORE_LEASE_PAGE_H

#include "common/limits.h"
#include "common/ring.h"
#include "common/task_ring.h"
#include "objectstore/wire.h"

enum { LEASE_PAGE_LAYOUT = 4 };
#define LEASE_PAGE_MAGIC UINT64_C(0x65736165746f6f72)

struct lease_page_head {
    uint64_t magic;
    uint32_t layout, reserved;
    uint64_t bytes;
    _Atomic uint64_t lease;  /* of the agent: the number of the lease that stands; 0: none, nothing else is valid yet */
    _Atomic uint32_t holder; /* of the agent: its client slot, whose bells the worker rings */
    char function[ROOST_NAME_BYTES_MAX + 1]; /* of the worker: what it runs or ran, for the lines that it prints */
    struct {                                 /* of the worker: what it runs, for people */
        _Atomic uint64_t ticket;             /* 0: nothing, or what follows is being written */
        _Atomic uint64_t task_hi, task_lo, since_ns, attempt;
    } runs;
};

struct lease_page_layout {
    size_t tasks;     /* task ring of LEASE_SLOTS */
    size_t completes; /* ring of LEASE_COMPLETES_BYTES */
    size_t bytes;     /* of the whole, a multiple of the page size */
};
struct lease_page_layout lease_page_layout(void);

/* Lays out zeroed memory of layout.bytes. Not before the first lease: memory that no lease needs is never touched. */
void lease_page_format(void *memory);
/* Is this memory laid out as we would? ROOST_EVERSION with a text. Once `lease` is not 0. */
int lease_page_check(const void *memory, size_t bytes);

/* What a worker runs. */
struct lease_run {
    uint64_t ticket;
    struct task_id task;
    uint64_t since_ns; /* CLOCK_MONOTONIC */
    uint32_t attempt;
    char function[ROOST_NAME_BYTES_MAX + 1]; /* when it is read; the writer gives its own */
};
/* The worker runs this, or nothing. A few stores: it is done for each task. `function` has at most ROOST_NAME_BYTES_MAX bytes. */
void lease_page_begin(struct lease_page_head *page, const struct lease_run *run, const char *function);
void lease_page_end(struct lease_page_head *page);
/* For whoever lists what runs; the bytes are the worker's, and end. False: nothing does, or what does was changing. */
bool lease_page_run(struct lease_page_head *page, struct lease_run *run_out);

/* Who claims in the task ring; the agent is TASK_TAKER_AGENT. */
enum { LEASE_TAKER_WORKER = 1, LEASE_TAKER_HOLDER = 2 };

/* In a slot of `tasks`: the spec follows, padded to 8, then the values of arguments that came back with calls of the
 * holder's and that nobody else knows. What it reads otherwise is here, and stays until it is done. */
struct lease_task {
    uint32_t spec_bytes, values;
};
struct lease_value { /* its bytes follow, padded to 8 */
    uint32_t arg, bytes;
};
enum { LEASE_SPEC_BYTES_MAX = WIRE_TASK_INLINE_BYTES }; /* it may have to go the agent's way, inline too */

enum lease_result_kind {
    LEASE_RESULT_INLINE = 1, /* its bytes follow, padded to 8 */
    LEASE_RESULT_STORED      /* sealed in the store and told to the agent, which waits for the holder's ADOPT */
};

enum { LEASE_RETURNS_MAX = 64 }; /* of a leased task */

/* One result of a task that is done, in the order of their indices. */
struct lease_result {
    uint32_t kind, bytes;
};

/* A task is done. Its results follow the text, which is padded to 8; with a status that is not 0 there are none. Or
 * (needs_pull, with nothing else) it was not begun: an argument that was here when it was pushed is not any more. */
struct lease_done {
    uint64_t lease, ticket, run;
    int32_t status, app_code;
    uint64_t duration_ns;
    uint32_t attempt, results, text_bytes, needs_pull;
};

#endif
