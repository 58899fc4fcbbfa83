/* oracle_views.h - what the oracle looks at inside the cores
 *
 * Each function lives in a file that includes the internal header of its core; the two cores use the same names for
 * different records, so no file includes both. Ids ascend, so that nothing depends on memory. */
#ifndef ROOST_TESTS_SIM_ORACLE_VIEWS_H
#define ROOST_TESTS_SIM_ORACLE_VIEWS_H

#include "common/core.h"
#include "scheduler/core/head.h"
#include "worker/agent/core/agent.h"

enum { VIEW_NODES = 16 };

struct head_view { /* an object as the head knows it */
    struct object_id id;
    bool is_sealed, is_named, is_unknown;
    uint32_t queued, containers;
    uint32_t holders[VIEW_NODES], holders_count, locations[VIEW_NODES], locations_count;
};
size_t head_views(const struct head *head, struct head_view **views_out); /* the caller's */
bool head_view_knows(const struct head *head, struct object_id id);
/* Has it heard what the object is? */
bool head_view_was_sealed(const struct head *head, struct object_id id);
bool head_view_has_job(const struct head *head, struct job_id id);
bool head_view_lives(const struct head *head, struct core_peer peer);
/* Tasks that are neither done nor at home alone. */
const char *head_view_busy(const struct head *head);
/* Every task that is not done, a line each. */
const char *head_view_tasks(const struct head *head);
/* Where the task's live attempt is: false when it has none. */
bool head_view_attempt(const struct head *head, struct task_id task, uint32_t *node_out, uint32_t *attempt_out);

struct agent_view { /* an object as an agent knows it */
    struct object_id id;
    bool is_public, is_held, is_registered, is_here, is_freed, is_part;
    uint32_t scopes, tasks, private_containers, containers, uses;
    int state;
};
size_t agent_views(const struct agent *agent, struct agent_view **views_out); /* the caller's; without the dying */
/* Does it take it for one that the head knows? */
bool agent_view_is_public(const struct agent *agent, struct object_id id);
/* Does it hold the object, and must the head keep it therefore? What is here, or to be made here, can do without the
 * head: it comes down to this node when it is freed while a call that is made again asks for it. */
bool agent_view_holds(const struct agent *agent, struct object_id id);
bool agent_view_makes(const struct agent *agent, struct object_id id);
struct running { /* an attempt in a worker */
    struct task_id task;
    bool is_from_head, is_child; /* is_child: of a task, not of a driver */
    uint32_t attempt;            /* as the head counts */
};
size_t agent_view_running(const struct agent *agent, struct running *running_out, size_t most);
/* Every task that is not done, a line each: for a debugger, and for a wait without an end. */
const char *agent_view_tasks(const struct agent *agent);
const char *agent_view_busy(const struct agent *agent);
/* What the agent has under this id, in words. */
const char *agent_view_object(const struct agent *agent, struct object_id id);
/* Which record it is that is not valid, in words. */
const char *agent_view_fault(const struct agent *agent);
bool agent_view_is_up(const struct agent *agent);

#endif
