/* link_bench.h - one bench of an agent with a head, and what the head often says */
#ifndef ROOST_TESTS_UNIT_WORKER_AGENT_CORE_LINK_BENCH_H
#define ROOST_TESTS_UNIT_WORKER_AGENT_CORE_LINK_BENCH_H

#include "tests/lib/agent_bench.h"

extern struct bench bench;
extern const struct core_peer head;
extern unsigned char placed[1024]; /* the spec of the task that was placed last; aligned */

/* The head says FREE or GONE of one name. */
void names(enum proto_kind kind, struct object_id id);
/* It answers that the object is sealed, and that the other node has it. */
void found(struct object_id id, uint64_t size, uint32_t columns);
/* A call of one result, which another node alone may run. */
struct task_id call_elsewhere(struct core_client driver);
/* The head gives a task back to its home. */
void hand_back(struct task_id task, enum proto_handback_reason reason);
/* Calls, until one leaves: its SUBMIT, or NULL. */
const struct bench_sent *busy_until_it_leaves(struct core_client driver, struct task_id *id_out);
/* The id that a task placed by place() will have. */
struct task_id placed_id(struct object_id argument);
/* The peer sends the argument that is being pulled. */
void give_argument(uint64_t size);
/* The job, and an attempt of the task, which the head places here; its argument is elsewhere. */
struct task_id place_attempt(struct object_id argument, uint64_t size, uint32_t attempt);
/* The first one. */
struct task_id place(struct object_id argument, uint64_t size);
/* A call of one result that leaves for another node; nobody here holds the result any more. */
struct task_id leave_unheld(struct core_client driver);
/* The node gives the name of a result to another one, which makes it public. */
void give_away(struct object_id id);
/* The first result, which names `inner`. */
void give_result_naming(const struct bench_task *task, struct object_id inner);

#endif
