/* attempt.c - one run of one task in one worker
 *
 * Owns attempts: their scope, the CPU that they have (or gave back while they wait), and the results that they have
 * given so far. Nothing that an attempt makes under a result's name is seen before it completes, and then all of it.
 *
 * Happy path: start -> results -> complete.
 * Failures:   the function fails, or its worker dies -> what it gave is dropped, the task is tried again or fails.
 * Invariants: an attempt has its CPU unless it is blocked; cpus_free is the node's CPUs less those;
 *             memory_booked is what the tasks of all attempts have asked for.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "attempt"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct id_key run_key(uint64_t run) { return (struct id_key){ 3, run }; }

struct attempt *attempt_find(struct agent *agent, uint64_t run)
{
    return id_map_get(&agent->attempts_by_run, run_key(run));
}

static void take_cpu(struct agent *agent, struct attempt *attempt)
{
    attempt->has_cpu = true;
    agent->cpus_free -= attempt->task->spec->cpus_hundredths;
}

static void give_cpu(struct agent *agent, struct attempt *attempt)
{
    attempt->has_cpu = false;
    agent->cpus_free += attempt->task->spec->cpus_hundredths;
    agent->dispatch_due = true;
}

static void count_blocked(struct agent *agent, const struct attempt *attempt, bool is_blocked)
{
    uint32_t cpus = attempt->task->spec->cpus_hundredths;
    cpus = !attempt->task->is_from_head ? 0 : cpus > 0 ? cpus : 1; /* as the head counts them */
    agent->counts.tasks_blocked += is_blocked ? 1 : 0;
    agent->counts.tasks_blocked -= is_blocked ? 0 : 1;
    agent->blocked_hundredths += is_blocked ? cpus : 0;
    agent->blocked_hundredths -= is_blocked ? 0 : cpus;
}

/* The spec goes along in the slot when it fits; the host decides, and uses this place when it does not. */
static bool place_spec(struct agent *agent, struct attempt *attempt)
{
    const struct spec *spec = attempt->task->spec;
    attempt->spec_lease = room_take(agent, spec->bytes);
    if (attempt->spec_lease == NULL) {
        return false;
    }
    struct agent_write *write = core_put(agent->out, CORE_WRITE, 0, 0, sizeof *write);
    *write = (struct agent_write){ attempt->spec_lease->place, spec->bytes, spec };
    return true;
}

bool attempt_start(struct agent *agent, struct task *task, struct worker *worker)
{
    struct attempt *attempt = agent_alloc(sizeof *attempt);
    attempt->task = task;
    if (task->spec->bytes > WIRE_TASK_INLINE_BYTES && !place_spec(agent, attempt)) {
        free(attempt);
        return false;
    }
    attempt->run = ++agent->serial;
    attempt->prefix = run_prefix(task->id, agent->config.secret, attempt->run);
    attempt->worker = worker;
    attempt->given = agent_alloc((task->spec->returns + (size_t)1) * sizeof(struct given));
    scope_init(&attempt->scope, worker->client, attempt->run);
    ROOST_INVARIANT(id_map_put(&agent->attempts_by_run, run_key(attempt->run), attempt) == 0);
    task_set_state(agent, task, TASK_RUNNING);
    task->attempt = attempt;
    worker->attempt = attempt;
    take_cpu(agent, attempt);
    agent->memory_booked += task->spec->memory_bytes;

    struct agent_task *body = core_put(agent->out, CORE_TASK, core_client_key(worker->client->key), 0, sizeof *body);
    body->spec = task->spec;
    body->task = (struct wire_task){ .run = attempt->run,
                                     .prefix = attempt->prefix,
                                     .attempt = task->attempts,
                                     .spec_bytes = task->spec->bytes,
                                     .is_inline = attempt->spec_lease == NULL };
    if (attempt->spec_lease != NULL) {
        body->task.u.place = attempt->spec_lease->place;
    }
    task->attempts++;
    load_progress(agent, task, 0, 0);
    return true;
}

/* What its calls make stays named: a later attempt here makes the same calls, and finds it. */
static void keep_results_of_calls(struct agent *agent, struct attempt *attempt)
{
    struct task *task = attempt->task;
    LIST_EACH (at, &attempt->scope.holds) {
        struct object *object = CONTAINER_OF(at, struct hold, of_scope)->object;
        if (object->producer != NULL && task_id_eq(object->producer->spec->parent, task->id)) {
            scope_hold(agent, &task->kept, object);
        }
    }
}

/* The task is free of the attempt, the worker of the task; what was given and not taken over goes. */
static void end(struct agent *agent, struct attempt *attempt, bool has_succeeded)
{
    struct task *task = attempt->task;
    if (!has_succeeded && !task->is_from_head) {
        keep_results_of_calls(agent, attempt);
    }
    if (attempt->has_cpu) {
        give_cpu(agent, attempt);
    }
    agent->memory_booked -= task->spec->memory_bytes;
    if (attempt->blocked > 0) { /* it ended while another of its threads waited */
        count_blocked(agent, attempt, false);
    }
    LIST_EACH (at, &attempt->worker->client->waits) {
        struct wait *wait = CONTAINER_OF(at, struct wait, of_client);
        wait->blocked = wait->blocked == attempt ? NULL : wait->blocked;
    }
    task->attempt = NULL;
    attempt->worker->attempt = NULL;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        free(attempt->given[i].refs);
        if (attempt->given[i].lease != NULL) {
            room_object_gone(agent, attempt->given[i].lease);
        }
    }
    if (attempt->spec_lease != NULL) {
        room_object_gone(agent, attempt->spec_lease);
    }
    scope_fini(agent, &attempt->scope);
    id_map_remove(&agent->attempts_by_run, run_key(attempt->run));
    free(attempt->given);
    free(attempt);
}

void attempt_block(struct agent *agent, struct attempt *attempt)
{
    if (attempt->blocked++ == 0) {
        give_cpu(agent, attempt);
        count_blocked(agent, attempt, true);
    }
}

void attempt_unblock(struct agent *agent, struct attempt *attempt)
{
    ROOST_PRE(attempt->blocked > 0);
    if (--attempt->blocked == 0) {
        take_cpu(agent, attempt); /* at once, even above the node's CPUs: woken tasks go before new ones */
        count_blocked(agent, attempt, false);
    }
}

/* ------------------------------------------------------------------ results */

void attempt_result(struct agent *agent, struct client *client, const struct wire_result *result)
{
    struct attempt *attempt = attempt_find(agent, result->run);
    if (attempt == NULL && lease_result(agent, client, result)) {
        return;
    }
    if (attempt == NULL || attempt->worker->client != client || result->index >= attempt->task->spec->returns ||
        !object_id_eq(result->object.id, result_id(attempt->task->id, result->index)) ||
        result->object.format > TABLE_USER || !object_id_is_none(attempt->given[result->index].value.id)) {
        client_broken(agent, client, "RESULT of another task, under another id, or twice");
        return;
    }
    struct given *given = &attempt->given[result->index];
    bool needs_room = room_is_needed(&result->object);
    struct lease *lease = needs_room ? room_lease_of(agent, client, &result->object) : NULL;
    if (lease == NULL && needs_room) {
        client_broken(agent, client, "RESULT in memory that it does not hold");
        return;
    }
    if (client_take_refs(agent, client, &result->object, &given->refs)) {
        given->value = result->object;
        given->lease = lease;
        if (lease != NULL) { /* from now on: the worker may give a full slab back before it completes */
            room_settle(agent, lease, &given->value);
        }
    }
}

static void publish(struct agent *agent, struct attempt *attempt)
{
    struct task *task = attempt->task;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct given *given = &attempt->given[i];
        struct object *object = task->results[i];
        if (object != NULL && object->state == OBJECT_PENDING) { /* else nobody wants it any more, and end() drops it */
            given->value.id = object->id;
            object->version = task->is_from_head ? task->head_attempt : 0;
            object_arrive(agent, object, &given->value, given->lease, given->refs);
            given->refs = NULL;
            given->lease = NULL;
        }
    }
}

/* Crashes and, where asked for, failures draw on the same budget. */
static bool may_try_again(const struct task *task) { return (int64_t)task->attempts <= task->spec->max_retries; }

/* The head decides what becomes of the task; what was made stays here, for it to know where. */
static void end_of_heads(struct agent *agent, struct task *task, uint64_t duration_ns, bool died,
                         const struct wire_failure *failure)
{
    link_complete(agent, task, duration_ns, died, failure);
    if (failure == NULL) {
        task_done(agent, task);
    } else {
        task_give_up(agent, task);
    }
}

void attempt_complete(struct agent *agent, struct client *client, const struct wire_complete *complete)
{
    struct attempt *attempt = attempt_find(agent, complete->run);
    if (attempt == NULL || attempt->worker->client != client || complete->status > 0) {
        client_broken(agent, client, "COMPLETE of an attempt that is not its own");
        return;
    }
    struct task *task = attempt->task;
    struct worker *worker = attempt->worker;
    if (complete->status == 0) {
        publish(agent, attempt);
        agent->counts.attempts_done++;
    }
    struct wire_failure failure = { .status = complete->status,
                                    .app_code = complete->app_code,
                                    .attempts = (int32_t)task->attempts,
                                    .pid = client->pid };
    if (complete->status != 0) {
        memcpy(failure.text, complete->text,
               complete->text_bytes < sizeof failure.text ? complete->text_bytes : sizeof failure.text - 1);
    }
    uint64_t duration_ns = complete->duration_ns;
    end(agent, attempt, complete->status == 0);
    if (task->is_from_head) {
        end_of_heads(agent, task, duration_ns, false, complete->status == 0 ? NULL : &failure);
        worker_freed(agent, worker);
        return;
    }
    bool again = (task->spec->flags & SPEC_RETRY_ON_FAILURE) != 0 && may_try_again(task);
    if (complete->status == 0) {
        task_done(agent, task);
    } else if (task->job->has_ended) {
        task_cancel(agent, task);
    } else if (again) {
        task_try_again(agent, task);
    } else {
        task_fail(agent, task, &failure);
    }
    worker_freed(agent, worker);
}

void attempt_worker_died(struct agent *agent, struct attempt *attempt, int32_t wait_status)
{
    struct task *task = attempt->task;
    int64_t pid = attempt->worker->client->pid;
    int signal_number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    end(agent, attempt, false);
    log_warn("event=worker_died pid=%lld function=%s signal=%d exit=%d attempts=%u max_retries=%d", (long long)pid,
             spec_function(task->spec), signal_number, WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1,
             task->attempts, task->spec->max_retries);
    struct wire_failure failure = {
        .status = ROOST_EWORKER, .signal = signal_number, .attempts = (int32_t)task->attempts, .pid = pid
    };
    if (signal_number != 0) {
        snprintf(failure.text, sizeof failure.text, "killed by signal %d (%s)", signal_number,
                 strsignal(signal_number));
    } else {
        snprintf(failure.text, sizeof failure.text, "ended with status %d inside the function",
                 WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
    }
    if (task->is_from_head) {
        end_of_heads(agent, task, 0, true, &failure);
    } else if (task->job->has_ended) {
        task_cancel(agent, task);
    } else if (may_try_again(task)) {
        task_try_again(agent, task);
    } else {
        task_fail(agent, task, &failure);
    }
}
