/* task.c - tasks of this node: from submission to the last of their results
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

#include <stdarg.h>
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

/* ------------------------------------------------------------------ inputs */

static void pin(struct input *input, struct object *bytes)
{
    input->bytes = bytes;
    object_pin(bytes);
    input->is_pinned = true;
}

static void wait_for(struct input *input, struct object *object)
{
    list_append(&object->consumers, &input->consumer);
    input->task->missing++;
}

static void fails_by(struct agent *agent, struct task *task, struct object *object)
{
    if (task->bad_input == NULL) {
        task->bad_input = object;
        list_append(&agent->failing, &task->failing);
    }
}

/* The bytes are on other nodes. A task of the head's came here all the same: they are pulled, the part that it reads.
 * One of our own goes where they are, unless there is no head to ask. */
static void look_elsewhere(struct agent *agent, struct input *input)
{
    struct task *task = input->task;
    struct object *object = input->object;
    if (object->value.format == TABLE_ERROR) {
        fails_by(agent, task, object);
        return;
    }
    if (!task->is_from_head && agent->head_is_up && task_may_leave(task)) {
        wait_for(input, object);
        task_leaves(agent, task);
        return;
    }
    bool is_pointer = object->value.format == TABLE_FORWARD;
    struct object *bytes = is_pointer ? object : object_part(agent, object, input->ref);
    if (bytes != object && input->bytes == NULL) {
        input->bytes = bytes;
        object_name(agent, bytes, &bytes->uses);
    }
    if (bytes->state == OBJECT_HERE) {
        pin(input, bytes);
        return;
    }
    if (bytes->state == OBJECT_FAILED) {
        fails_by(agent, task, bytes);
        return;
    }
    wait_for(input, bytes);
    pull_want(agent, bytes, PROTO_PULL_ARGUMENT);
}

/* Has the object a value that a worker can read? If it never will, marks the task as failing. */
static void look_at(struct agent *agent, struct input *input)
{
    struct object *object = input->object;
    switch (object->state) {
    case OBJECT_HERE:
        if (object_is_error(object)) {
            fails_by(agent, input->task, object);
        } else if (input->bytes != NULL && input->bytes->state == OBJECT_HERE) {
            pin(input, input->bytes);
        } else {
            if (input->bytes != NULL && input->bytes != object) { /* it was to be a part; the whole is here */
                object_unname(agent, input->bytes, &input->bytes->uses);
            }
            pin(input, object);
        }
        return;
    case OBJECT_FAILED:
        fails_by(agent, input->task, object);
        return;
    case OBJECT_UNKNOWN:
    case OBJECT_PENDING:
        wait_for(input, object);
        if (object->is_public) {
            link_want(agent, object);
        }
        return;
    case OBJECT_ELSEWHERE:
        look_elsewhere(agent, input);
        return;
    case OBJECT_DYING:
        ROOST_IMPOSSIBLE("an input is named, so it does not die");
    }
}

static struct inputs *add_inputs(struct list_node *list, struct task *task, uint32_t count)
{
    struct inputs *inputs = agent_alloc(sizeof *inputs + count * sizeof(struct input));
    inputs->count = count;
    for (uint32_t i = 0; i < count; i++) {
        list_init(&inputs->input[i].consumer);
        inputs->input[i].task = task;
    }
    list_append(list, &inputs->of_task);
    return inputs;
}

static void set_input(struct agent *agent, struct input *input, struct object *object, roost_ref ref, bool is_gathered)
{
    input->object = object;
    input->ref = ref;
    input->is_gathered = is_gathered;
    object_name(agent, object, is_gathered ? &object->uses : &object->tasks);
}

/* What `object` only points at must be here too: the target of a forward. */
static void follow(struct agent *agent, struct input *input)
{
    for (int hops = 0; hops < STORE_FORWARDS_MAX && input->is_pinned && object_is_forward(input->object); hops++) {
        const struct object *object = input->object;
        struct inputs *inputs = add_inputs(&input->task->inputs, input->task, 1);
        set_input(agent, &inputs->input[0], object->contains[0], ref_through(input->ref, object->refs[0]), true);
        input = &inputs->input[0];
        look_at(agent, input);
    }
}

/* The list of a gather is here: each object that it names becomes an input, kept alive by the list. */
static void spread_out(struct agent *agent, struct task *task, const struct object *list, uint64_t column)
{
    struct inputs *inputs = add_inputs(&task->inputs, task, list->value.refs);
    for (uint32_t i = 0; i < inputs->count; i++) {
        roost_ref ref = { list->refs[i].id, column, ROOST_COLUMN };
        set_input(agent, &inputs->input[i], list->contains[i], ref, true);
    }
    for (uint32_t i = 0; i < inputs->count && task->bad_input == NULL && !task->is_leaving; i++) {
        look_at(agent, &inputs->input[i]);
        follow(agent, &inputs->input[i]);
    }
}

/* Nothing is missing of what is known so far. Forwards and gathers may add more; only then it is ready. */
static void inputs_are_here(struct agent *agent, struct task *task)
{
    if (!task->is_spread_out) {
        task->is_spread_out = true;
        const struct spec *spec = task->spec;
        for (uint32_t i = 0; i < spec->args_count; i++) {
            const struct spec_arg *arg = &spec_args(spec)[i];
            if (arg->kind == ROOST_IN_GATHER) {
                roost_ref ref = object_ref(object_id_of(arg->as.ref));
                struct object *list = object_behind(object_find(agent, object_id_of(ref)), &ref); /* all are inputs */
                spread_out(agent, task, list, arg->as.ref.offset);
            }
        }
    }
    if (task->missing == 0 && task->bad_input == NULL && !task->is_leaving) {
        task_set_state(agent, task, TASK_READY);
    }
}

void task_input_changed(struct agent *agent, struct input *input)
{
    struct task *task = input->task;
    list_remove(&input->consumer);
    task->missing--;
    if (task->bad_input != NULL || task->is_leaving) {
        return;
    }
    look_at(agent, input);
    follow(agent, input);
    if (task->state == TASK_WAITING && task->missing == 0 && task->bad_input == NULL) {
        inputs_are_here(agent, task);
    }
}

void task_input_refused(struct agent *agent, struct input *input, int32_t status, const char *why)
{
    struct task *task = input->task;
    list_remove(&input->consumer);
    task->missing--;
    if (task->bad_input == NULL && !task->is_leaving) {
        task->refusal = agent_alloc(sizeof *task->refusal);
        task->refusal->status = status;
        task->refusal->attempts = (int32_t)task->attempts;
        snprintf(task->refusal->text, sizeof task->refusal->text, "its argument: %s", why);
        fails_by(agent, task, input->object);
    }
}

static bool lets_go_when_it_ends(const struct task *task)
{
    return task->state == TASK_READY || (task->state == TASK_RUNNING && task->attempt->blocked == 0);
}

uint64_t tasks_read_bytes(struct agent *agent)
{
    uint64_t bytes = 0;
    LIST_EACH (at, &agent->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, all);
        if (!lets_go_when_it_ends(task)) {
            continue;
        }
        LIST_EACH (inputs_at, &task->inputs) {
            struct inputs *inputs = CONTAINER_OF(inputs_at, struct inputs, of_task);
            for (uint32_t i = 0; i < inputs->count; i++) {
                const struct object *object = inputs->input[i].is_pinned ? inputs->input[i].bytes : NULL;
                bool can_go = object != NULL && object->is_copy && object->lease != NULL;
                bytes += can_go ? object->lease->place.bytes : 0;
            }
        }
    }
    return bytes;
}

static void release(struct agent *agent, struct list_node *list)
{
    LIST_EACH_SAFE (at, list) {
        struct inputs *inputs = CONTAINER_OF(at, struct inputs, of_task);
        for (uint32_t i = 0; i < inputs->count; i++) {
            struct input *input = &inputs->input[i];
            list_remove(&input->consumer);
            if (input->is_pinned) {
                object_unpin(agent, input->bytes);
            }
            if (input->bytes != NULL && input->bytes != input->object) {
                object_unname(agent, input->bytes, &input->bytes->uses);
            }
            object_unname(agent, input->object, input->is_gathered ? &input->object->uses : &input->object->tasks);
        }
        list_remove(&inputs->of_task);
        free(inputs);
    }
}

static void release_all(struct agent *agent, struct task *task)
{
    release(agent, &task->inputs);
    release(agent, &task->handles);
    task->missing = 0;
    task->is_spread_out = false;
    task->bad_input = NULL;
    free(task->refusal);
    task->refusal = NULL;
    list_remove(&task->failing);
    scope_fini(agent, &task->kept);
}

/* ------------------------------------------------------------------ submission */

static void collect_args(struct agent *agent, struct task *task)
{
    const struct spec *spec = task->spec;
    uint32_t inputs_count = 0, handles_count = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        inputs_count += spec_arg_is_input(&spec_args(spec)[i]);
        handles_count += spec_args(spec)[i].kind == ROOST_IN_HANDLE;
    }
    struct inputs *inputs = add_inputs(&task->inputs, task, inputs_count);
    struct inputs *handles = add_inputs(&task->handles, task, handles_count);
    uint32_t input = 0, handle = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        roost_ref ref;
        if (spec_arg_ref(arg, &ref)) {
            bool is_input = spec_arg_is_input(arg);
            set_input(agent, is_input ? &inputs->input[input++] : &handles->input[handle++],
                      object_demand(agent, object_id_of(ref)),
                      arg->kind == ROOST_IN_GATHER ? object_ref(object_id_of(ref)) : ref, false);
        }
    }
    for (uint32_t i = 0; i < inputs_count && task->bad_input == NULL && !task->is_leaving; i++) {
        look_at(agent, &inputs->input[i]);
        follow(agent, &inputs->input[i]);
    }
}

/* Of a task that runs under a lease: what it names stays, so that it can be made once more without who called it. What is
 * not known here has gone along with it. */
static void hold_args(struct agent *agent, struct task *task)
{
    const struct spec *spec = task->spec;
    uint32_t known = 0;
    roost_ref ref;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        known += spec_arg_ref(&spec_args(spec)[i], &ref) && object_find(agent, object_id_of(ref)) != NULL;
    }
    struct inputs *handles = add_inputs(&task->handles, task, known);
    for (uint32_t i = 0, handle = 0; i < spec->args_count; i++) {
        struct object *object = spec_arg_ref(&spec_args(spec)[i], &ref) ? object_find(agent, object_id_of(ref)) : NULL;
        if (object != NULL) {
            set_input(agent, &handles->input[handle++], object, ref, false);
        }
    }
}

/* A name may be here before the task that makes what it names: UNKNOWN when somebody asked, PENDING when the head has
 * told. */
bool task_expect_results(struct agent *agent, struct task *task, struct scope *scope)
{
    const struct spec *spec = task->spec;
    bool are_all_new = true;
    for (uint32_t i = 0; i < spec->returns; i++) {
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

/* AWAY, or woken for this. */
static void submit_once_more(struct agent *agent, struct task *task)
{
    if (task->state == TASK_AWAY) {
        task_set_state(agent, task, TASK_WAITING);
    }
    collect_args(agent, task);
    task_leaves(agent, task);
}

/* A later attempt of the parent makes the same call again: it holds what the first one made, and what of that is gone
 * is made once more. */
static void submit_again(struct agent *agent, struct task *task, struct scope *scope)
{
    if ((task->spec->flags & SPEC_UNHELD) != 0) {
        return;
    }
    bool is_gone = task->results_left < task->spec->returns, asks_head = is_gone && task->state == TASK_AWAY;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result == NULL) {
            continue;
        }
        if (result->is_public && !result->is_registered) { /* it may be gone at the head */
            bool is_elsewhere = task->state == TASK_DONE && result->state == OBJECT_ELSEWHERE;
            bool is_made_there = task->state == TASK_AWAY || is_elsewhere;
            asks_head = asks_head || is_made_there;
            if (!is_made_there) {
                link_publish_anew(agent, result);
            }
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
        object->producer = task;
        object_name(agent, object, &object->uses);
        task->results[i] = object;
        task->results_left++;
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
        collect_args(agent, task);
        task_leaves(agent, task); /* when there is a head again, if there is none now */
    } else {
        fail_infeasible(agent, task);
    }
}

/* Its attempt is the agent's to make: no lease has it any more. */
static void begin_after_lease(struct agent *agent, struct task *task)
{
    task->leased_to = NULL;
    task_set_state(agent, task, TASK_WAITING);
    release_all(agent, task);
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

void task_submit(struct agent *agent, struct client *client, const struct agent_submit *submit)
{
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
        collect_args(agent, task);
        task_leaves(agent, task);
        return;
    }
    bool is_for_head = may_be_known_to_head(agent, submit->scope) || wants_another_node(agent, task);
    if (agent->head_is_up && task_may_leave(task) && is_for_head) {
        collect_args(agent, task);
        task_leaves(agent, task);
    } else {
        begin_at_home(agent, task);
    }
}

void task_escape(struct agent *agent, struct client *client, const struct wire_escape *escape)
{
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
        inputs_are_here(agent, task);
    }
}

/* ------------------------------------------------------------------ endings */

void task_forget_result(struct agent *agent, struct task *task, struct object *result)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] == result) {
            task->results[i] = NULL;
            task->results_left--;
            if (task->results_left == 0 && task->state == TASK_DONE && list_is_empty(&task->queue)) {
                list_append(&agent->finished, &task->queue);
            }
            return;
        }
    }
    ROOST_IMPOSSIBLE("an object's producer knows it");
}

void task_done(struct agent *agent, struct task *task)
{
    task_set_state(agent, task, TASK_DONE);
    list_remove(&task->leaving);
    release_all(agent, task);
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
    release_all(agent, task);
    list_remove(&task->leaving);
    task->is_leaving = false;
}

void task_try_again(struct agent *agent, struct task *task)
{
    agent->counts.retries++;
    task_set_state(agent, task, TASK_WAITING);
    if (task->missing == 0 && task->bad_input == NULL) {
        inputs_are_here(agent, task);
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

void task_give_up(struct agent *agent, struct task *task)
{
    task->is_from_head = false;
    if (task->is_home) {
        task_set_state(agent, task, TASK_AWAY);
        release_all(agent, task);
        if (task->job->has_ended) { /* nobody would say what became of it */
            task_cancel(agent, task);
        } else if (is_forgotten(task)) {
            task_submit_anew(agent, task);
        }
        return;
    }
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        struct object *result = task->results[i];
        if (result != NULL) {
            result->producer = NULL; /* somebody else's now; here it is one more pending object */
            object_unname(agent, result, &result->uses);
            task->results[i] = NULL;
        }
    }
    task->results_left = 0;
    release_all(agent, task);
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
    link_submit(agent, task);
    task_set_state(agent, task, TASK_AWAY);
    release_all(agent, task);
}

static void destroy(struct agent *agent, struct task *task)
{
    list_remove(&task->all);
    list_remove(&task->of_job);
    list_remove(&task->queue);
    id_map_remove(&agent->tasks_by_id, task_id_key(task->id));
    free(task->results);
    free(task->spec);
    free(task);
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
        if (!agent->head_is_up) {
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
