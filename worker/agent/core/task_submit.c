/* task_submit.c - how a task begins: submitted, escaped from a lease, or made again
 *
 * Happy path: a call -> its record, its results, the objects that its arguments name held -> it begins here, or goes to
 *             the head: by its wishes, or because this node has as much to do as the head would give it.
 * Failures:   no node can ever run it -> ROOST_EINFEASIBLE, in words; a false parent, or a word that cannot be -> the
 *             client is ended. The job is broken -> it fails with the job's reason.
 * Invariants: a later attempt of the parent makes the same call again and finds the first one's record.
 * Thread:     the agent's loop.
 */
#include "common/error.h"
#include "worker/agent/core/agent_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ARGS_AHEAD = 8, RESULTS_AHEAD = 8 };

static void foresee_args(const struct agent *agent, const struct spec *spec, uint32_t i)
{
    roost_ref soon, next;
    if (i + ARGS_AHEAD < spec->args_count && spec_arg_ref(&spec_args(spec)[i + ARGS_AHEAD], &soon) &&
        spec_arg_ref(&spec_args(spec)[i + ARGS_AHEAD / 2], &next)) {
        object_foresee(agent, object_id_of(soon), object_id_of(next));
    }
}

static void collect_args(struct agent *agent, struct task *task)
{
    const struct spec *spec = task->spec;
    uint32_t inputs_count = 0, handles_count = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        inputs_count += spec_arg_is_input(&spec_args(spec)[i]);
        handles_count += spec_args(spec)[i].kind == ROOST_IN_HANDLE;
    }
    struct inputs *inputs = inputs_add(&task->inputs, task, inputs_count);
    struct inputs *handles = inputs_add(&task->handles, task, handles_count);
    uint32_t input = 0, handle = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        roost_ref ref;
        foresee_args(agent, spec, i);
        if (spec_arg_ref(arg, &ref)) {
            bool is_input = spec_arg_is_input(arg);
            input_set(agent, is_input ? &inputs->input[input++] : &handles->input[handle++],
                      object_demand(agent, object_id_of(ref)),
                      arg->kind == ROOST_IN_GATHER ? object_ref(object_id_of(ref)) : ref, false);
        }
    }
    inputs_look(agent, task, inputs);
}

/* Of a task that runs under a lease: what it names stays, so that it can be made once more without who called it. What
 * is not known here has gone along with it. */
static void hold_args(struct agent *agent, struct task *task)
{
    const struct spec *spec = task->spec;
    uint32_t known = 0;
    roost_ref ref;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        known += spec_arg_ref(&spec_args(spec)[i], &ref) && object_find(agent, object_id_of(ref)) != NULL;
    }
    struct inputs *handles = inputs_add(&task->handles, task, known);
    for (uint32_t i = 0, handle = 0; i < spec->args_count; i++) {
        struct object *object = spec_arg_ref(&spec_args(spec)[i], &ref) ? object_find(agent, object_id_of(ref)) : NULL;
        if (object != NULL) {
            input_set(agent, &handles->input[handle++], object, ref, false);
        }
    }
}

static void foresee_result(const struct agent *agent, const struct scope *scope, struct object_id soon)
{
    id_map_prefetch(&agent->objects_by_id, object_id_key(soon));
    if (scope != NULL) {
        id_map_prefetch(&scope->held, object_id_key(soon));
    }
}

/* A name may be here before the task that makes what it names: UNKNOWN when somebody asked, PENDING when the head has
 * told. */
bool task_expect_results(struct agent *agent, struct task *task, struct scope *scope)
{
    const struct spec *spec = task->spec;
    bool are_all_new = true;
    for (uint32_t i = 0; i < spec->returns; i++) {
        if (i + RESULTS_AHEAD < spec->returns) {
            foresee_result(agent, scope, result_id(task->id, i + RESULTS_AHEAD));
        }
        if (task->results[i] != NULL) {
            continue;
        }
        struct object *object = object_demand(agent, result_id(task->id, i));
        if (object->state == OBJECT_UNKNOWN) {
            object_expect(agent, object, task);
        } else if (object->state == OBJECT_PENDING && object->producer == NULL) {
            object->producer = task;
        } else {
            are_all_new = false;
            continue;
        }
        object_name(agent, object, &object->uses);
        task->results[i] = object;
        object->index = i;
        task->results_left++;
        if (scope != NULL && (spec->flags & SPEC_UNHELD) == 0) {
            scope_hold(agent, scope, object);
        }
    }
    return are_all_new;
}

struct task *task_create(struct agent *agent, struct job *job, const struct spec *spec)
{
    struct task *task = agent_alloc(sizeof *task);
    task->id = spec->task;
    task->state = TASK_WAITING;
    task->job = job;
    task->spec = agent_alloc(spec->bytes);
    memcpy(task->spec, spec, spec->bytes);
    task->results = agent_alloc((spec->returns + (size_t)1) * sizeof(struct object *));
    list_init(&task->handles);
    list_init(&task->inputs);
    list_init(&task->queue);
    list_init(&task->failing);
    list_init(&task->leaving);
    scope_init(&task->kept, NULL, 0);
    list_append(&agent->tasks, &task->all);
    list_append(&job->tasks, &task->of_job);
    ROOST_INVARIANT(id_map_put(&agent->tasks_by_id, task_id_key(task->id), task) == 0);
    agent->counts.tasks_waiting++;
    return task;
}

static void fail_with(struct agent *agent, struct task *task, int32_t status, const char *format, ...)
    ROOST_PRINTF(4, 5);
static void fail_with(struct agent *agent, struct task *task, int32_t status, const char *format, ...)
{
    struct wire_failure failure = { .status = status, .attempts = (int32_t)task->attempts };
    va_list args;
    va_start(args, format);
    vsnprintf(failure.text, sizeof failure.text, format, args);
    va_end(args);
    task_fail(agent, task, &failure);
}

static bool is_feasible_here(const struct agent *agent, const struct spec *spec)
{
    const struct agent_config *config = &agent->config;
    return spec->cpus_hundredths <= config->cpus_hundredths && spec->memory_bytes <= config->memory_bytes &&
           ((spec->flags & SPEC_NODE_ONLY) == 0 || node_id_eq(spec->node, config->node));
}

/* What a node without a head can never give is said at once. */
static void fail_infeasible(struct agent *agent, struct task *task)
{
    const struct spec *spec = task->spec;
    const struct agent_config *config = &agent->config;
    if (spec->cpus_hundredths > config->cpus_hundredths) {
        fail_with(agent, task, ROOST_EINFEASIBLE, "it asks for %u.%02u CPUs, the largest node (%s) has %u.%02u",
                  spec->cpus_hundredths / 100, spec->cpus_hundredths % 100, config->node_name,
                  config->cpus_hundredths / 100, config->cpus_hundredths % 100);
    } else if (spec->memory_bytes > config->memory_bytes) {
        fail_with(agent, task, ROOST_EINFEASIBLE, "it asks for %llu bytes of memory, the largest node (%s) has %llu",
                  (unsigned long long)spec->memory_bytes, config->node_name, (unsigned long long)config->memory_bytes);
    } else {
        char text[ID_TEXT_BYTES];
        fail_with(agent, task, ROOST_EINFEASIBLE, "it may run on node %s only, which is not in the cluster",
                  node_id_print(spec->node, text));
    }
}

static bool job_is_broken(struct agent *agent, struct task *task)
{
    if (task->job->broken != NULL) {
        task_fail(agent, task, task->job->broken);
    }
    return task->state == TASK_DONE;
}

/* By its wishes, or because the node has as much to do as the head would give it. */
static bool wants_another_node(const struct agent *agent, const struct task *task)
{
    const struct spec *spec = task->spec;
    if (agent->nodes_count < 2) { /* as far as is known here: the head may know more, and it spreads */
        return spec->cpus_hundredths > agent->config.cpus_hundredths ||
               (spec->flags & (SPEC_NODE_ONLY | SPEC_SPREAD)) != 0;
    }
    bool elsewhere = !node_id_is_none(spec->node) && !node_id_eq(spec->node, agent->config.node);
    uint64_t busy = agent->counts.tasks_ready + agent->counts.tasks_running - agent->counts.tasks_blocked +
                    agent->counts.leases - agent->counts.leases_blocked;
    uint64_t window = (uint64_t)agent->config.cpus_hundredths * PLACEMENT_WINDOW_PER_CPU / 100;
    return elsewhere || (spec->flags & SPEC_SPREAD) != 0 || spec->cpus_hundredths > agent->config.cpus_hundredths ||
           spec->memory_bytes > agent->config.memory_bytes || busy >= window;
}

static void say_taken(struct agent *agent, struct client *client, uint64_t ticket, struct task_id id)
{
    struct wire_taken *taken = core_put(agent->out, CORE_REPLY, core_client_key(client->key), 0, sizeof *taken);
    taken->head = (struct wire_entry){ WIRE_TAKEN, sizeof *taken, ticket };
    taken->task = id;
}

/* Whose child the task is, and of which job: computed, not believed. */
static bool parent_is_right(struct agent *agent, struct client *client, uint64_t scope, const struct spec *spec)
{
    if (client->job == NULL || !job_id_eq(spec->job, client->job->id)) {
        return false;
    }
    struct attempt *attempt = scope == 0 ? NULL : attempt_find(agent, scope);
    struct leased_run *run = leased_run_find(client, scope);
    struct task_id parent = attempt != NULL ? attempt->task->id
                            : run != NULL   ? run->task
                                            : task_id_from(job_id_key(client->job->id));
    return task_id_eq(spec->parent, parent);
}

static void go_to_head(struct agent *agent, struct task *task)
{
    collect_args(agent, task);
    task_leaves(agent, task);
}

/* AWAY, or woken for this. */
static void submit_once_more(struct agent *agent, struct task *task)
{
    if (task->state == TASK_AWAY) {
        task_set_state(agent, task, TASK_WAITING);
    }
    go_to_head(agent, task);
}

/* Of a call that is made again, what the first one made and the head may have freed: a put or a wait that names it may
 * have been read before the call. True: the head alone knows, and is asked by the call. A copy whose own names may lead
 * nowhere goes, as it can be had elsewhere if it counts. */
static bool ask_for_result(struct agent *agent, struct task *task, struct object *result)
{
    bool is_here = result->state == OBJECT_HERE && !result->says_nothing;
    bool is_elsewhere = result->state == OBJECT_ELSEWHERE || result->state == OBJECT_PENDING;
    if (task->state == TASK_AWAY || (task->state == TASK_DONE && is_elsewhere)) {
        return !result->is_registered; /* else GONE would say so */
    }
    if (link_publish_anew(agent, result) || task->state != TASK_DONE || !is_here) {
        return false;
    }
    if (result->is_copy && result->pins == 0 && agent->head_is_up) {
        object_evict(agent, result);
    } else {
        link_location(agent, result, true); /* they go before the call is made anew, if they do not count */
    }
    return true;
}

static void take_over_result(struct agent *agent, struct task *task, uint32_t i, struct object *object)
{
    object->producer = task;
    object->index = i;
    task->results[i] = object;
    task->results_left++;
    if (task->state != TASK_DONE) {
        object_name(agent, object, &object->uses);
    }
}

/* Its record had gone, and somebody has named it here since then: what became of it is known. */
static void find_results(struct agent *agent, struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *object = task->results[i] != NULL ? NULL : object_find(agent, result_id(task->id, i));
        bool is_open = object == NULL || object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING;
        if (!is_open && object->producer == NULL && object->is_public && !object->is_freed) {
            take_over_result(agent, task, i, object);
        }
    }
}

/* A later attempt of the parent makes the same call again: it holds what the first one made, and what of that is gone
 * is made once more. */
static void submit_again(struct agent *agent, struct task *task, struct scope *scope)
{
    if ((task->spec->flags & SPEC_UNHELD) != 0) {
        return;
    }
    find_results(agent, task);
    bool is_gone = task->results_left < task->spec->returns, asks_head = is_gone && task->state == TASK_AWAY;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result == NULL) {
            continue;
        }
        if (link_may_be_freed(result)) {
            asks_head = ask_for_result(agent, task, result) || asks_head;
        }
        scope_hold(agent, scope, result);
    }
    bool is_over = task->state == TASK_DONE;
    if (is_over && (is_gone || asks_head)) {
        task->is_from_head = false;
        task_wake(agent, task, scope);
    } else if (is_gone) {
        task_expect_results(agent, task, scope);
    }
    if (asks_head) {
        submit_once_more(agent, task);
    } else if (is_over && is_gone) {
        task_begin(agent, task);
    }
}

void task_submit_anew(struct agent *agent, struct task *task)
{
    if (task->state == TASK_DONE) {
        task->is_from_head = false;
        task_wake(agent, task, NULL);
    }
    submit_once_more(agent, task);
}

void task_wake(struct agent *agent, struct task *task, struct scope *scope)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL) {
            object_name(agent, task->results[i], &task->results[i]->uses); /* as of every task that is not done */
        }
    }
    task_set_state(agent, task, TASK_WAITING);
    task_expect_results(agent, task, scope);
}

static bool has_value(const struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && task->results[i]->state != OBJECT_PENDING) {
            return true;
        }
    }
    return false;
}

/* A result is known here and has a value: an earlier attempt of the parent made the same call on another node. The head
 * says what becomes of this one. False: nobody could have made it. */
static bool take_over_results(struct agent *agent, struct task *task, struct scope *scope)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *object = object_demand(agent, result_id(task->id, i));
        if (task->results[i] != NULL) {
            continue;
        }
        if (object->producer != NULL || !object->is_public || object->whole != NULL) {
            return false;
        }
        take_over_result(agent, task, i, object);
        if ((task->spec->flags & SPEC_UNHELD) == 0) {
            scope_hold(agent, scope, object);
        }
    }
    return true;
}

/* An attempt that has had others before it, perhaps on other nodes: of its calls the head may know from those. */
static bool may_be_known_to_head(struct agent *agent, uint64_t scope)
{
    const struct attempt *caller = scope == 0 ? NULL : attempt_find(agent, scope);
    return caller != NULL && caller->task->is_from_head && caller->task->head_attempt > 1;
}

static void begin_at_home(struct agent *agent, struct task *task)
{
    if (is_feasible_here(agent, task->spec)) {
        task_begin(agent, task);
    } else if (!agent->config.alone) {
        go_to_head(agent, task); /* when there is a head again, if there is none now */
    } else {
        fail_infeasible(agent, task);
    }
}

/* Its attempt is the agent's to make: no lease has it any more. */
static void begin_after_lease(struct agent *agent, struct task *task)
{
    task->leased_to = NULL;
    task_set_state(agent, task, TASK_WAITING);
    task_inputs_release(agent, task);
    if (!job_is_broken(agent, task)) {
        begin_at_home(agent, task);
    }
}

void tasks_holder_gone(struct agent *agent, struct client *client)
{
    if (!client->has_escaped) {
        return;
    }
    LIST_EACH_SAFE (at, &agent->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, all);
        if (task->state == TASK_LEASED && task->leased_to == client) {
            begin_after_lease(agent, task);
        }
    }
}

/* It is being killed, and what it had called is canceled: nothing new is begun for it. */
static bool is_of_ended_job(const struct client *client) { return client->job != NULL && client->job->has_ended; }

void task_submit(struct agent *agent, struct client *client, const struct agent_submit *submit)
{
    if (is_of_ended_job(client)) {
        return;
    }
    const struct spec *spec = submit->spec;
    struct scope *scope = client_scope(agent, client, submit->scope);
    struct task *task = task_find(agent, spec->task);
    if (task != NULL && task->state == TASK_LEASED && task->leased_to == client) { /* no lease has taken it after all */
        say_taken(agent, client, submit->head.token, spec->task);
        task->attempts = submit->attempt;
        begin_after_lease(agent, task);
        return;
    }
    if (scope == NULL || !parent_is_right(agent, client, submit->scope, spec)) {
        client_broken(agent, client, "a task under a scope, a parent or a job that is not its own");
        return;
    }
    if (task != NULL) {
        submit_again(agent, task, scope);
        say_taken(agent, client, submit->head.token, spec->task);
        return;
    }
    task = task_create(agent, client->job, spec);
    task->is_home = true;
    task->attempts = submit->attempt;
    if (!task_expect_results(agent, task, scope) && !take_over_results(agent, task, scope)) {
        client_broken(agent, client, "a task whose results exist");
        task_cancel(agent, task);
        return;
    }
    say_taken(agent, client, submit->head.token, spec->task);
    if (job_is_broken(agent, task)) {
        return;
    }
    if (has_value(task)) {
        go_to_head(agent, task);
        return;
    }
    bool is_for_head = may_be_known_to_head(agent, submit->scope) || wants_another_node(agent, task);
    if (agent->head_is_up && task_may_leave(task) && is_for_head) {
        go_to_head(agent, task);
    } else {
        begin_at_home(agent, task);
    }
}

void task_escape(struct agent *agent, struct client *client, const struct wire_escape *escape)
{
    if (is_of_ended_job(client)) {
        return;
    }
    _Alignas(8) unsigned char copy[WIRE_TASK_INLINE_BYTES];
    const struct spec *spec = (const struct spec *)(const void *)copy;
    struct scope *scope = client_scope(agent, client, escape->scope);
    memcpy(copy, escape->spec, escape->spec_bytes);
    bool is_spec = spec_check(copy, escape->spec_bytes) == 0;
    if (!is_spec || scope == NULL || !parent_is_right(agent, client, escape->scope, spec)) {
        client_broken(agent, client, "ESCAPE of no call of its own");
        return;
    }
    struct task *task = task_find(agent, spec->task);
    if (task != NULL && task->leased_to == client) {
        client_broken(agent, client, "ESCAPE of a call, twice");
        return;
    }
    if (task != NULL) { /* made before, by an earlier life of its parent: that one's values count */
        submit_again(agent, task, scope);
        return;
    }
    task = task_create(agent, client->job, spec);
    task->is_home = true;
    task->attempts = escape->attempt;
    task->leased_to = client;
    client->has_escaped = true;
    task_expect_results(agent, task,
                        scope); /* one may be here: announced by its maker, and an object by itself since then */
    task_set_state(agent, task, TASK_LEASED);
    hold_args(agent, task);
    task_settled(agent, task);
}

void task_settled(struct agent *agent, struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && task->results[i]->state == OBJECT_PENDING) {
            return;
        }
    }
    task->leased_to = NULL;
    if (task->is_from_head) { /* which had placed it here meanwhile, for another attempt of its caller */
        link_complete(agent, task, 0, false, NULL);
    }
    task_done(agent, task);
}

void task_settle(struct agent *agent, struct client *client, const struct wire_settle *settle)
{
    struct task *task = task_find(agent, settle->task);
    if (settle->format != TABLE_RAW && settle->format != TABLE_ERROR) {
        client_broken(agent, client, "SETTLE in a format of the agent's own");
        return;
    }
    if (task == NULL || task->state != TASK_LEASED || task->leased_to != client ||
        settle->index >= task->spec->returns) {
        return; /* its results are gone, or settled otherwise */
    }
    struct object *result = task->results[settle->index];
    if (result != NULL && result->state == OBJECT_PENDING &&
        !object_write(agent, result, settle->format, settle->bytes, settle->bytes_count, NULL)) {
        object_fail(agent, result, ROOST_EFULL);
    }
    task_settled(agent, task);
}

void task_begin(struct agent *agent, struct task *task)
{
    collect_args(agent, task);
    if (task->missing == 0 && task->bad_input == NULL && !task->is_leaving) {
        task_inputs_are_here(agent, task);
    }
}
