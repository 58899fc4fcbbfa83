/* task.c - tasks of this node: their states and their ends (task_submit.c is how they begin, task_inputs.c what they
 * read)
 *
 * Owns the task records: what each names, which of its inputs are here, and which results it will make. A task holds
 * the objects that its arguments name until it is done, and pins the bytes of its inputs from the moment they are here.
 *
 * Happy path: WAITING (for inputs) -> READY (for a worker) -> RUNNING -> DONE; the record goes with its last result.
 *             What cannot start here soon, or has its inputs elsewhere, goes to the head: AWAY. It may come back.
 * Failures:   an input failed -> every result of the task leads on to that input's failure.
 *             an input cannot be brought here -> the task fails with ROOST_EFULL.
 *             a worker died, or the function failed and wants another try -> WAITING again, at most max_retries times.
 * Invariants: missing is the number of inputs that are on a consumers list; a DONE task holds nothing.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "task"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t allowed_moves[] = {
    [TASK_LEASED] = 1u << TASK_WAITING | 1u << TASK_DONE,
    [TASK_WAITING] = 1u << TASK_LEASED | 1u << TASK_READY | 1u << TASK_AWAY | 1u << TASK_DONE,
    [TASK_READY] = 1u << TASK_RUNNING | 1u << TASK_AWAY | 1u << TASK_DONE,
    [TASK_RUNNING] = 1u << TASK_WAITING | 1u << TASK_AWAY | 1u << TASK_DONE,
    [TASK_AWAY] = 1u << TASK_WAITING | 1u << TASK_DONE,
    [TASK_DONE] = 1u << TASK_WAITING, /* a later attempt of its parent wants results that are gone by now */
};

static uint64_t *counter_of(struct agent *agent, enum task_state state)
{
    switch (state) {
    case TASK_WAITING:
        return &agent->counts.tasks_waiting;
    case TASK_READY:
        return &agent->counts.tasks_ready;
    case TASK_RUNNING:
        return &agent->counts.tasks_running;
    case TASK_AWAY:
        return &agent->counts.tasks_away;
    case TASK_LEASED:
        return &agent->counts.tasks_leased;
    case TASK_DONE:
        return &agent->counts.tasks_done;
    }
    ROOST_IMPOSSIBLE("a task is in no state");
}

void task_set_state(struct agent *agent, struct task *task, enum task_state state)
{
    ROOST_PRE((allowed_moves[task->state] >> state & 1) != 0);
    agent_note(agent, "task state", task->id.lo, (uint64_t)task->state << 8 | state);
    --*counter_of(agent, task->state);
    ++*counter_of(agent, state);
    task->state = state;
    list_remove(&task->queue);
    if (state == TASK_READY) {
        task->turn = ++agent->serial;
        list_append(&agent->ready, &task->queue);
    } else if (state == TASK_DONE) {
        list_append(&agent->finished, &task->queue);
    }
    agent->dispatch_due = true;
}

struct task *task_find(struct agent *agent, struct task_id id)
{
    return id_map_get(&agent->tasks_by_id, task_id_key(id));
}

/* ------------------------------------------------------------------ endings */

void task_forget_result(struct agent *agent, struct task *task, struct object *result)
{
    ROOST_PRE(result->index < task->spec->returns && task->results[result->index] == result);
    task->results[result->index] = NULL;
    task->results_left--;
    result->producer = NULL;
    if (task->results_left == 0 && task->state == TASK_DONE && list_is_empty(&task->queue)) {
        list_append(&agent->finished, &task->queue);
    }
}

void task_disown_result(struct agent *agent, struct task *task, struct object *result)
{
    task_forget_result(agent, task, result);
    object_unname(agent, result, &result->uses);
}

void task_done(struct agent *agent, struct task *task)
{
    task_set_state(agent, task, TASK_DONE);
    list_remove(&task->leaving);
    task_inputs_release(agent, task);
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL) {
            object_unname(agent, task->results[i], &task->results[i]->uses);
        }
    }
}

static void log_if_nobody_looks(const struct task *task, const struct wire_failure *failure)
{
    if ((task->spec->flags & SPEC_UNHELD) != 0) {
        char id[ID_TEXT_BYTES], text[WIRE_TEXT_BYTES_MAX + 64];
        log_warn("event=unheld_task_failed task=%s function=%s status=%s text=%s", task_id_print(task->id, id),
                 spec_function(task->spec), error_code_name(failure->status),
                 log_quote(failure->text, text, sizeof text));
    }
}

void task_fail(struct agent *agent, struct task *task, const struct wire_failure *failure)
{
    ROOST_PRE(failure->status < 0);
    struct wire_failure full = *failure;
    if (full.function[0] == '\0') {
        snprintf(full.function, sizeof full.function, "%s", spec_function(task->spec));
    }
    if (full.node[0] == '\0') {
        snprintf(full.node, sizeof full.node, "%s", agent->config.node_name);
    }
    log_if_nobody_looks(task, &full);
    size_t size = offsetof(struct wire_failure, text) + strlen(full.text) + 1;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        bool is_open = result != NULL && result->state == OBJECT_PENDING; /* else an earlier run has made it */
        if (is_open && !object_write(agent, result, TABLE_ERROR, &full, size, NULL)) {
            object_fail(agent, result, full.status);
        }
    }
    agent->counts.tasks_failed++;
    task_done(agent, task);
}

/* An input failed: each result leads on to it, so whoever gets one is told about the first failure in the chain. */
static void fail_by_input(struct agent *agent, struct task *task)
{
    struct object *bad = task->bad_input;
    if (task->refusal != NULL) {
        task_fail(agent, task, task->refusal);
        return;
    }
    roost_ref ref = object_ref(bad->id);
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result == NULL || result->state != OBJECT_PENDING) {
            continue;
        }
        bool can_lead_on = bad->state == OBJECT_HERE;
        if (!can_lead_on || !object_write(agent, result, TABLE_FORWARD, &ref, sizeof ref, &ref)) {
            object_fail(agent, result, bad->state == OBJECT_FAILED ? bad->status : ROOST_EFAILED);
        }
    }
    agent->counts.tasks_failed++;
    task_done(agent, task);
}

void task_cancel(struct agent *agent, struct task *task)
{
    ROOST_PRE(task->attempt == NULL);
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result != NULL && result->state == OBJECT_PENDING) {
            result->says_nothing = result->says_nothing ||
                                   task->state == TASK_AWAY; /* the head has its own word on it */
            object_fail(agent, result, ROOST_ECANCELED);
        }
    }
    task_done(agent, task);
}

/* An attempt that the head places where the call is known already, but has not begun: begun as the head's. */
void task_begin_anew(struct agent *agent, struct task *task)
{
    ROOST_PRE(task->state == TASK_WAITING);
    task_inputs_release(agent, task);
    list_remove(&task->leaving);
    task->is_leaving = false;
}

void task_try_again(struct agent *agent, struct task *task)
{
    agent->counts.retries++;
    task_set_state(agent, task, TASK_WAITING);
    if (task->missing == 0 && task->bad_input == NULL) {
        task_inputs_are_here(agent, task);
    }
}

/* The head had freed a result, as nobody named it, and somebody here has asked for it again since then. */
static bool is_forgotten(const struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        const struct object *result = task->results[i];
        if (result != NULL && result->state == OBJECT_PENDING && object_is_held(result) && !result->is_registered) {
            return true;
        }
    }
    return false;
}

/* What the head has freed while it was made here, and nobody here holds: no word on it will come. */
static void forget_unknown_results(struct agent *agent, struct task *task)
{
    bool is_settled = task->results_left > 0;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result == NULL || result->state != OBJECT_PENDING) {
            continue;
        }
        if (result->is_public) {
            is_settled = false;
            continue;
        }
        task_disown_result(agent, task, result);
        object_fail(agent, result, ROOST_EFREED);
    }
    if (is_settled) {
        task_done(agent, task);
    }
}

/* It is not made here any more: for those here who wait for what it makes, and have not asked, the head is asked. */
static void ask_head_for_results(struct agent *agent, const struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result != NULL && result->is_public && link_is_awaited(result)) {
            link_want(agent, result);
        }
    }
}

void task_give_up(struct agent *agent, struct task *task)
{
    task->is_from_head = false;
    if (task->is_home) {
        task_set_state(agent, task, TASK_AWAY);
        ask_head_for_results(agent, task);
        task_inputs_release(agent, task);
        if (task->job->has_ended) { /* nobody would say what became of it */
            task_cancel(agent, task);
        } else if (is_forgotten(task)) {
            task_submit_anew(agent, task);
        } else {
            forget_unknown_results(agent, task);
        }
        return;
    }
    ask_head_for_results(agent, task);
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result != NULL) { /* somebody else's now; here it is one more pending object */
            task_disown_result(agent, task, result);
        }
    }
    task_inputs_release(agent, task);
    task_set_state(agent, task, TASK_DONE);
}

void task_void(struct agent *agent, struct task *task)
{
    if (task->attempt != NULL) {
        worker_kill(agent, task->attempt->worker); /* its end brings the task back here, void */
    } else {
        task_give_up(agent, task);
    }
}

bool task_may_leave(const struct task *task) { return task->job->is_known_to_head; }

void task_leaves(struct agent *agent, struct task *task)
{
    if (!task->is_leaving) {
        task->is_leaving = true;
        list_append(&agent->leaving, &task->leaving);
    }
}

/* Its arguments and results are made known, then the task: from then on the head holds what it names. */
static void leave(struct agent *agent, struct task *task)
{
    task->is_leaving = false;
    list_remove(&task->leaving);
    task->was_submitted = true;
    ask_head_for_results(agent, task); /* what becomes known only now is held, and its hold asks */
    link_submit(agent, task);
    task_set_state(agent, task, TASK_AWAY);
    task_inputs_release(agent, task);
}

static void destroy(struct agent *agent, struct task *task)
{
    struct job *job = task->job;
    list_remove(&task->all);
    list_remove(&task->of_job);
    list_remove(&task->queue);
    id_map_remove(&agent->tasks_by_id, task_id_key(task->id));
    free(task->results);
    free(task->spec);
    free(task);
    job_drop_if_over(agent, job);
}

void task_sweep(struct agent *agent)
{
    while (!list_is_empty(&agent->failing) && agent_has_room(agent)) {
        struct task *task = CONTAINER_OF(agent->failing.next, struct task, failing);
        list_remove(&task->leaving);
        task->is_leaving = false;
        if (task->is_from_head) {
            link_input_failed(agent, task);
        } else {
            fail_by_input(agent, task);
        }
    }
    agent->is_behind = agent->is_behind || !list_is_empty(&agent->failing);
    LIST_EACH_SAFE (leaving_at, &agent->leaving) {
        struct task *task = CONTAINER_OF(leaving_at, struct task, leaving);
        if (!agent->has_listed) { /* the list opens jobs whose JOB_OPEN was lost with the session before */
            break;
        }
        if (!agent_has_room(agent)) {
            agent->is_behind = true;
            break;
        }
        if (task_may_leave(task)) {
            leave(agent, task);
        }
    }
    LIST_EACH_SAFE (at, &agent->finished) {
        struct task *task = CONTAINER_OF(at, struct task, queue);
        list_remove(&task->queue);
        if (task->results_left == 0) {
            destroy(agent, task);
        }
    }
}

void tasks_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, all);
        struct list_node *lists[] = { &task->inputs, &task->handles };
        for (size_t l = 0; l < 2; l++) {
            LIST_EACH_SAFE (inputs_at, lists[l]) {
                free(CONTAINER_OF(inputs_at, struct inputs, of_task));
            }
        }
        free(task->refusal);
        LIST_EACH_SAFE (hold_at, &task->kept.holds) {
            free(CONTAINER_OF(hold_at, struct hold, of_scope));
        }
        id_map_fini(&task->kept.held);
        free(task->results);
        free(task->spec);
        free(task);
    }
}
