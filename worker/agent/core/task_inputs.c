/* task_inputs.c - what a task reads, and whether it is here
 *
 * Owns the records of inputs: which objects a task waits for, follows to what they name, and pins.
 *
 * Happy path: an argument -> its input -> on the consumers list of an object that is not here yet, which is pulled or
 *             asked for -> here: pinned; a forward is followed, a gather's list spread out -> the last one makes the
 *             task READY.
 * Failures:   an input failed -> the task fails by it. One cannot be brought here -> ROOST_EFULL.
 * Invariants: missing is the number of inputs that are on a consumers list.
 * Thread:     the agent's loop.
 */
#include "common/prefetch.h"
#include "worker/agent/core/agent_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUTS_AHEAD = 8 };

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
        if (object->is_public && !task_is_made_here(object)) {
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

struct inputs *inputs_add(struct list_node *list, struct task *task, uint32_t count)
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

void input_set(struct agent *agent, struct input *input, struct object *object, roost_ref ref, bool is_gathered)
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
        struct inputs *inputs = inputs_add(&input->task->inputs, input->task, 1);
        input_set(agent, &inputs->input[0], object->contains[0], ref_through(input->ref, object->refs[0]), true);
        input = &inputs->input[0];
        look_at(agent, input);
    }
}

static void foresee(const struct inputs *inputs, uint32_t i)
{
    if (i + INPUTS_AHEAD < inputs->count) {
        prefetch_lines(inputs->input[i + INPUTS_AHEAD].object, sizeof(struct object));
    }
}

void inputs_look(struct agent *agent, struct task *task, struct inputs *inputs)
{
    for (uint32_t i = 0; i < inputs->count && task->bad_input == NULL && !task->is_leaving; i++) {
        foresee(inputs, i);
        look_at(agent, &inputs->input[i]);
        follow(agent, &inputs->input[i]);
    }
}

/* The list of a gather is here: each object that it names becomes an input, kept alive by the list. */
static void spread_out(struct agent *agent, struct task *task, const struct object *list, uint64_t column)
{
    struct inputs *inputs = inputs_add(&task->inputs, task, list->value.refs);
    for (uint32_t i = 0; i < inputs->count; i++) {
        roost_ref ref = { list->refs[i].id, column, ROOST_COLUMN };
        input_set(agent, &inputs->input[i], list->contains[i], ref, true);
    }
    inputs_look(agent, task, inputs);
}

/* Nothing is missing of what is known so far. Forwards and gathers may add more; only then it is ready. */
void task_inputs_are_here(struct agent *agent, struct task *task)
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
        task_inputs_are_here(agent, task);
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
            foresee(inputs, i);
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

void task_inputs_release(struct agent *agent, struct task *task)
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
