/* placement.h - which node a task goes to
 *
 * A task goes where it is expected to start first, its inputs included (design: scheduling.md, the rule):
 *
 *     start(node) = wait(node) + net(node, task)
 *
 * and among nodes that come close, where fewer bytes move: a toll of PLACEMENT_TOLL_PERCENT of the time that its
 * missing bytes take is added. wait is what is assigned there and has not ended, in learned durations; net is the later
 * of everything planned into the node and, for each source, everything planned out of it, at the speed of its network.
 * A decision looks at the 4 nodes with most of the task's bytes, the 4 that would start it first if it had no inputs,
 * and the one that it wishes for: O(inputs + log nodes).
 *
 * The caller (the head's core) owns the tasks and the directory of objects; the queue is here, as bookings that the
 * tasks embed. What the caller does with a task:
 *
 *     placement_enqueue(p, &task->booking, false);
 *     placement_turn_begin(p);                              something ended, came, or a node has room again
 *     while ((booking = placement_next(p)) != NULL)         the next that is worth a look
 *         placement_plan(p, &request, booking, &choice);
 *             PLACEMENT_CHOSEN: booked; send it, and enter its copies in the directory as coming, before the next plan
 *             PLACEMENT_QUEUED: stays queued, planned where it wants to go: the rest is judged as if it were there
 *             infeasible:       it has left the queue
 *     placement_turn_end(p);
 *     placement_transfer_done(p, &task->booking, source, bytes);   as its inputs arrive
 *     placement_started(p, &task->booking);
 *     placement_completed(p, &task->booking, duration_ns);         before the tasks that it makes ready are planned
 *
 * Pure: no clock, no randomness, integers only (ns, bytes, hundredths of a CPU), no order by hash or address. The same
 * calls give the same choices and the same placement_hash(). One thread; nothing blocks. */
#ifndef ROOST_SCHEDULER_CORE_PLACEMENT_H
#define ROOST_SCHEDULER_CORE_PLACEMENT_H

#include "common/id.h"
#include "common/limits.h"
#include "common/list.h"

#include <stddef.h>

#define PLACEMENT_NOWHERE UINT32_MAX

struct placement;

/* ROOST_ENOMEM, or 0 and an empty cluster. */
int placement_create(struct placement **placement_out);

/* NULL is fine. Bookings that are still held must not be used afterwards, except to be thrown away. */
void placement_destroy(struct placement *placement);

/* ------------------------------------------------------------------------------------------------ nodes */

struct placement_shape {
    uint32_t cpus; /* hundredths */
    uint64_t memory_bytes;
    uint64_t bytes_in_per_s, bytes_out_per_s; /* 0: not measured, PLACEMENT_NIC_BYTES_PER_S */
};

/* A node joins under a number below NODES_MAX that no present node has. A number may be used again after its removal:
 * bookings at the former bearer do not touch the new one.
 *
 * Errors: ROOST_EINVAL  number out of range or taken, no CPU
 *         ROOST_ENOMEM  nothing changed */
int placement_node_add(struct placement *placement, uint32_t node, const struct placement_shape *shape);

/* The node is gone. The caller releases the bookings of its tasks, now or later. */
void placement_node_remove(struct placement *placement, uint32_t node);

/* A suspect node gets nothing new and gives bytes only when nobody else has them; what it has stays booked. Both may be
 * repeated. */
void placement_node_suspend(struct placement *placement, uint32_t node);
void placement_node_resume(struct placement *placement, uint32_t node);

/* As measured. Zero: PLACEMENT_NIC_BYTES_PER_S. */
void placement_node_set_bandwidth(struct placement *placement, uint32_t node, uint64_t bytes_in_per_s,
                                  uint64_t bytes_out_per_s);

/* What the agent gave away on its own, leases and local tasks, as its last batch said: so many CPUs and bytes, each for
 * about `each_ns` more. Replaces what was said before. */
void placement_node_set_local(struct placement *placement, uint32_t node, uint32_t cpus, uint64_t memory_bytes,
                              uint64_t each_ns);

/* Of the node's tasks some wait for others and have given back so many CPUs, which it may fill again: else tasks that
 * wait for their children would keep them out. Replaces what was said before. */
void placement_node_set_blocked(struct placement *placement, uint32_t node, uint32_t cpus);

struct placement_node_view {
    bool suspended;
    uint32_t planned;              /* queued tasks that want to go there */
    uint32_t cpus, cpus_committed; /* hundredths; committed: tasks of the head, queued there or running or blocked */
    uint32_t cpus_blocked;
    uint64_t wait_ns;             /* of one more small task */
    uint64_t bytes_in, bytes_out; /* booked, by what is planned too */
};

/* False when there is no such node. */
bool placement_node_get(const struct placement *placement, uint32_t node, struct placement_node_view *view_out);

/* The biggest node that could still join, for the difference between "infeasible now" and "for ever". At first nothing
 * limits it; zeros say that the cluster stays as it is. */
void placement_set_growth(struct placement *placement, uint32_t cpus, uint64_t memory_bytes);

/* ------------------------------------------------------------------------------------------------ tasks */

/* One argument that is not inline. Nodes are in ascending order. A node with the whole object has every range of it;
 * one that has, or pulls, a range counts for the same range only. An input that is nowhere (not made yet, and nobody
 * knows where) counts nothing. Any number of objects on one node may be put together into one input. */
struct placement_input {
    uint64_t bytes;
    const uint32_t *copies; /* sealed: can be read there, and pulled from there */
    const uint32_t *coming; /* planned, in flight, or being made there: counts as there */
    uint32_t copies_count, coming_count;
};

enum placement_wish {
    PLACEMENT_ANYWHERE,
    PLACEMENT_SOFT, /* there if the node is present, not suspect and big enough; else by the rule */
    PLACEMENT_HARD  /* there or not at all */
};

/* What many tasks have in common: bookings lead to it, so it lives as long as they do. */
struct placement_kind {
    struct id_key function; /* whose durations count. Zero: of no name */
    struct id_key spread; /* the function or job to be spread: first the nodes with fewest tasks of it. Zero: no wish */
};

/* Borrowed for each call, but for its kind. Zeroed: a task of no name that needs nothing. */
struct placement_request {
    const struct placement_kind *kind; /* NULL: of no name, no wish */
    uint32_t cpus;                     /* hundredths */
    uint64_t memory_bytes;
    enum placement_wish wish;
    uint32_t node;           /* of the wish */
    const uint32_t *allowed; /* only these (labels, other resources), ascending; NULL: all. Costs O(allowed) */
    uint32_t allowed_count;
    uint32_t avoid; /* 0: nobody. Not this node, if there is any other: it handed the task back */
    const struct placement_input *inputs;
    uint32_t inputs_count;
    bool gather;                            /* early placement only: */
    uint32_t inputs_missing, inputs_wanted; /* of all its inputs so many do not exist yet */
};

enum placement_verdict {
    PLACEMENT_CHOSEN = 1,
    PLACEMENT_QUEUED,         /* best on a node that has its share of tasks, or on suspects only (NOWHERE) */
    PLACEMENT_INFEASIBLE_NOW, /* demand: a node that could join would do */
    PLACEMENT_INFEASIBLE,     /* for ever */
    PLACEMENT_TOO_EARLY       /* too few inputs exist */
};

struct placement_choice {
    enum placement_verdict verdict;
    uint32_t node;          /* CHOSEN, QUEUED; else NOWHERE */
    uint64_t start_ns;      /* expected there, from now */
    uint64_t missing_bytes; /* to be moved there */
};

struct placement_share {
    uint32_t node, life;
    uint64_t bytes;
};

enum placement_state {
    PLACEMENT_NONE,     /* zeroed */
    PLACEMENT_NEW,      /* queued; nothing is booked */
    PLACEMENT_PLANNED,  /* queued; what it wants is booked, apart from what is really assigned */
    PLACEMENT_EARLY,    /* soft: no CPU, no NIC time */
    PLACEMENT_ASSIGNED, /* CPU, memory, NIC time at both ends */
    PLACEMENT_STARTED   /* CPU and memory */
};

/* What one task has booked, embedded in the caller's task, which lives as long as the booking does. Written here only;
 * node and state may be read. Copying it is forbidden. */
struct placement_booking {
    struct list_node all; /* the queue, the plan of a node, or all others */
    uint64_t age;         /* its place in the queue */
    uint64_t memory_kib, estimate_ns;
    const struct placement_kind *kind;
    uint64_t bytes_in;              /* still to come */
    struct placement_share *shares; /* by source; bytes still to come */
    uint32_t node, life;
    uint32_t cpus;
    uint16_t shares_count;
    enum placement_state state : 8;
    bool is_bound : 1;  /* planned, and wishes for that node */
    bool is_spread : 1; /* its wish to be spread was heard */
    bool follows : 1;   /* EARLY, by placement_follow() */
};

/* Judge, and change nothing. The verdict is CHOSEN, QUEUED or one of the infeasible two.
 * ROOST_ENOMEM when there is no memory to look at so many inputs. */
int placement_choose(struct placement *placement, const struct placement_request *request,
                     struct placement_choice *choice_out);

/* Is `node` present and big enough, whatever it has to do? */
bool placement_fits(const struct placement *placement, const struct placement_request *request, uint32_t node);

/* QUEUED: there is a node that would do, busy or suspect as it may be. Else INFEASIBLE_NOW or INFEASIBLE. Looks at no
 * input and at no `allowed`; O(log nodes). */
enum placement_verdict placement_outlook(struct placement *placement, const struct placement_request *request);

/* Book the task on `node`, which is present and big enough, whatever its window. `booking` is in state NONE.
 * ROOST_ENOMEM leaves everything as it was. */
int placement_assign(struct placement *placement, const struct placement_request *request, uint32_t node,
                     struct placement_booking *booking);

/* `bytes` of the task's inputs have come in from `source`. To be called as parts arrive, every 100 ms or so (agents say
 * it in their batches): a pull that is known only when it ends keeps two networks looking busy that are nearly free,
 * and tasks go away from their data. More than was booked counts as what was booked; a source that was not planned
 * takes the place of those that were. */
void placement_transfer_done(struct placement *placement, struct placement_booking *booking, uint32_t source,
                             uint64_t bytes);

/* All inputs are there and the task runs: NIC time is free. */
void placement_started(struct placement *placement, struct placement_booking *booking);

/* A call about this node's tasks comes: the processor may fetch what it keeps of the node. */
void placement_fetch(const struct placement *placement, uint32_t node);

/* The task ended after `duration_ns` of run time: learned. The booking is NONE again. */
void placement_completed(struct placement *placement, struct placement_booking *booking, uint64_t duration_ns);

/* The task leaves its node, or the queue, without a lesson (canceled, failed, handed back, node lost). NONE is fine. */
void placement_release(struct placement *placement, struct placement_booking *booking);

/* ------------------------------------------------------------------------------------------------ the queue */

/* Into the queue, at its end, or before all others: one that was placed before. `booking` is in state NONE. A task is shown to
 * placement_outlook() when it comes, so that one that is infeasible is known even while every window is full. It leaves
 * the queue by placement_plan() or placement_release(). */
void placement_enqueue(struct placement *placement, struct placement_booking *booking, bool goes_first);

/* Tasks in the queue that do not wait for one certain node. */
uint64_t placement_queued(const struct placement *placement);

/* One turn over the queue. A queued task is judged once, and planned where it wants to go, until that node has room;
 * what is behind it sees a cluster in which it is there already. A turn looks for tasks for the nodes that have room, and at
 * no others: at the oldest that is planned there; at a few older ones that are next at a node which has no room; at new
 * ones; and when there are none, at a few of those planned where the wait is longest. So of equal tasks the older
 * goes first, and a turn costs what it places, and a few looks.
 *
 * A node with room keeps it for the oldest task that is planned there, however much that needs. */
void placement_turn_begin(struct placement *placement);

/* Who is behind a NEW one in the queue, and will probably be judged after it; else NULL. For a caller that fetches ahead
 * what it will be asked about: of a million tasks hardly anything is in a cache. */
struct placement_booking *placement_behind(const struct placement *placement, const struct placement_booking *booking);

/* The next to be judged, or NULL: every node has its share, nothing is left for those that have not, or
 * PLACEMENT_SCAN_MAX tasks stayed queued. */
struct placement_booking *placement_next(struct placement *placement);

/* Judge what placement_next() gave. CHOSEN: booked as placement_assign() does. QUEUED: it stays. Infeasible: it is in state
 * NONE. ROOST_ENOMEM leaves everything as it was. */
int placement_plan(struct placement *placement, const struct placement_request *request,
                   struct placement_booking *booking, struct placement_choice *choice_out);

/* After any task. True: there is more to judge, and another turn is worth its while before something has changed. */
bool placement_turn_end(struct placement *placement);

/* ------------------------------------------------------------------------------------------------ early placement */

/* Where a task whose inputs do not all exist should begin to pull those that do: one is missing, or the task is a
 * gather and PLACEMENT_EARLY_PERCENT of them exist. TOO_EARLY otherwise. Soft assignments count against each other, and
 * against nothing else: a node takes PLACEMENT_WINDOW_PER_CPU times its CPUs of them, then QUEUED. */
int placement_choose_early(struct placement *placement, const struct placement_request *request,
                           struct placement_choice *choice_out);

/* Until placement_release(), which comes before the task is planned in earnest: with what it has pulled counted as
 * copies, that mostly ends at the same node. */
void placement_assign_early(struct placement *placement, const struct placement_request *request, uint32_t node,
                            struct placement_booking *booking);

/* A task misses only what is being made on `node`, and follows whoever makes it there: softly assigned as above, but
 * counted apart. False, and nothing has changed: the node is absent or suspect, the task is too big for it or wishes for
 * another one, or those that follow there are many, or are work for long. */
bool placement_follow(struct placement *placement, const struct placement_request *request, uint32_t node,
                      struct placement_booking *booking);

/* ------------------------------------------------------------------------------------------------ why not */

struct placement_lack {
    uint32_t node; /* NOWHERE: there is no node, or none that is allowed */
    uint32_t cpus; /* missing there, hundredths */
    uint64_t memory_bytes;
};

/* For a task that is infeasible: the node that comes nearest and what it lacks, by the larger of the two fractions.
 * O(nodes): once per report, not per turn. */
void placement_nearest(const struct placement *placement, const struct placement_request *request,
                       struct placement_lack *lack_out);

/* ------------------------------------------------------------------------------------------------ looking in */

uint64_t placement_estimate_ns(const struct placement *placement, struct id_key function);

/* Of every change so far, in order. */
uint64_t placement_hash(const struct placement *placement);

/* Do the sums of every node agree with the bookings? O(everything). */
bool placement_is_valid(const struct placement *placement);

/* Inputs, copies and cells looked at since creation: the cost of decisions, for tests and metrics. */
uint64_t placement_steps(const struct placement *placement);

#endif
