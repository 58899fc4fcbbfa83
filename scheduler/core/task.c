/* task.c - every task that the head knows: its spec, its arguments, its returns, where it stands
 *
 * Owns the task records. A record lives while the task is not done, or one of its returns does; the spec with it, so
 * that an attempt can be made again.
 *
 * Happy path: SUBMIT -> arguments held, returns entered -> WAITING -> QUEUED -> PLACED (place.c) -> DONE (attempt.c).
 * Failures:   an input failed, was lost or freed -> FAILED with the same reason. Over the budget -> REFUSED: the spec
 *             goes back to its home, the arguments stay held; asked for again when there is room, or one at a time when
 *             its inputs are there and nothing else could be placed: those that wait here may wait for what it makes.
 * Invariants: a task holds its arguments (its inputs are linked) exactly while it is WAITING, QUEUED, EARLY
 *             or REFUSED; missing is the number of inputs that are not ready; spec_bytes is the sum over those counted.
 * Thread:     the core's.
 */
#include "common/error.h"
#include "common/trace.h"
#include "scheduler/core/head_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FETCH_ARGS_MAX = 8 }; /* more are more than a processor fetches at once */

const char *head_task_state_name(enum task_state state)
{
    static const char *const names[] = {
        "", "waiting", "queued", "early", "placed", "refused", "local", "home", "done"
    };
    return names[state];
}

struct task *head_task_find(const struct head *head, struct task_id id)
{
    return task_id_is_none(id) ? NULL : records_find(&head->tasks, task_id_key(id));
}

struct task *head_task_number(const struct head *head, uint32_t number) { return records_number(&head->tasks, number); }

/* ------------------------------------------------------------------------------------------------ state */

static uint32_t moves_from(enum task_state from)
{
    switch (from) {
    case TASK_WAITING:
        return 1u << TASK_QUEUED | 1u << TASK_EARLY | 1u << TASK_REFUSED | 1u << TASK_DONE;
    case TASK_QUEUED:
        return 1u << TASK_WAITING | 1u << TASK_PLACED | 1u << TASK_DONE;
    case TASK_EARLY:
        return 1u << TASK_WAITING | 1u << TASK_PLACED | 1u << TASK_DONE;
    case TASK_PLACED:
        return 1u << TASK_WAITING | 1u << TASK_DONE;
    case TASK_REFUSED:
        return 1u << TASK_WAITING | 1u << TASK_DONE;
    case TASK_LOCAL:
    case TASK_HOME:
        return 1u << TASK_WAITING | 1u << TASK_PLACED | 1u << TASK_LOCAL | 1u << TASK_DONE;
    case TASK_DONE:
        return 1u << TASK_WAITING; /* the same call once more */
    }
    return 0;
}

static bool is_at_node(enum task_state state) { return state == TASK_EARLY || state == TASK_PLACED; }
static bool is_queued_here(enum task_state state) { return state == TASK_WAITING || state == TASK_QUEUED; }

static void count_spec(struct head *head, struct task *task, bool counts)
{
    if (task->is_counted != counts) {
        head->spec_bytes += counts ? task->spec_bytes : 0;
        head->spec_bytes -= counts ? 0 : task->spec_bytes;
        task->is_counted = counts;
    }
}

void head_task_set_state(struct head *head, struct task *task, enum task_state state)
{
    ROOST_PRE((moves_from(task->state) & 1u << state) != 0);
    trace_add("task state", task->id.lo, task->state, state);
    head_record(head, 't', task->id.lo, (uint64_t)state << 32 | task->attempt);
    head->tasks_in[task->state]--;
    head->tasks_in[state]++;
    head->asked_count -= task->state == TASK_REFUSED && task->is_counted ? 1 : 0;
    bool was_queued = task->state == TASK_QUEUED;
    task->state = state;
    task->since_ns = head->now_ns;
    task->is_demand = false;
    if (!is_at_node(state)) {
        list_remove(&task->line);
    }
    if (was_queued && state != TASK_PLACED) {
        placement_release(head->placement, &task->booking);
    }
    count_spec(head, task, is_queued_here(state));
    for (uint32_t i = 0; state == TASK_DONE && i < task->returns_count; i++) {
        struct object *object = head_task_returns(task)[i];
        if (object != NULL) {
            head_object_check_named(head, object);
        }
    }
    if (state == TASK_QUEUED) {
        bool goes_first = task->attempt > 1 || task->handbacks > 0;
        placement_enqueue(head->placement, &task->booking, goes_first);
        head_turn_due(head);
    }
}

/* ------------------------------------------------------------------------------------------------ arguments */

static int compare_inputs(const void *left, const void *right)
{
    const struct input *a = left, *b = right;
    if (a->object != b->object) { /* by id, never by address */
        return id_key_compare(object_id_key(a->object->id), object_id_key(b->object->id));
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    return a->bytes == b->bytes ? 0 : (a->bytes < b->bytes ? -1 : 1);
}

static uint32_t kind_rank(uint32_t kind) { return kind == ROOST_IN_GATHER ? 2 : kind == ROOST_IN_REF ? 1 : 0; }

/* Each object once: the strongest wish for it, the whole if parts differ. */
static uint32_t merge_inputs(struct input *inputs, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && inputs[kept - 1].object == inputs[i].object) {
            struct input *last = &inputs[kept - 1];
            last->bytes = last->bytes == inputs[i].bytes ? last->bytes : ROOST_WHOLE;
            last->kind = kind_rank(inputs[i].kind) > kind_rank(last->kind) ? inputs[i].kind : last->kind;
        } else {
            inputs[kept++] = inputs[i];
        }
    }
    return kept;
}

static size_t refs_count(const struct spec *spec)
{
    size_t count = 0;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        count += spec_arg_ref(&spec_args(spec)[i], &ref) ? 1 : 0;
    }
    return count;
}

/* False: an argument is gone; *gone_out. Nothing is held then. */
static bool take_inputs(struct head *head, struct task *task, struct object_id *gone_out)
{
    const struct spec *spec = head_task_spec(head, task);
    const struct spec_arg *args = spec_args(spec);
    uint32_t count = 0;
    struct input *inputs = head_alloc(refs_count(spec) * sizeof *inputs + 1);
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (!spec_arg_ref(&args[i], &ref)) {
            continue;
        }
        struct object *object = head_object_named(head, object_id_of(ref));
        if (object == NULL) {
            *gone_out = object_id_of(ref);
            free(inputs);
            return false;
        }
        inputs[count++] = (struct input){ .object = object, .kind = (uint8_t)args[i].kind, .bytes = ref.size };
    }
    qsort(inputs, count, sizeof *inputs, compare_inputs);
    task->inputs_count = merge_inputs(inputs, count);
    task->inputs = inputs;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        struct input *input = &inputs[i];
        input->task = task;
        head_object_link(input->object, input);
    }
    return true;
}

void head_task_release_inputs(struct head *head, struct task *task)
{
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        struct object *object = task->inputs[i].object;
        head_object_unlink(head, object, &task->inputs[i]);
        head_object_trim(object);
    }
    free(task->inputs);
    task->inputs = NULL;
    task->inputs_count = task->missing = 0;
}

static bool is_bad(const struct object *object)
{
    return object->state == OBJECT_FAILED || object->state == OBJECT_LOST;
}

/* NULL, or the object whose failure is the task's. */
static struct object *bad_of(struct head *head, const struct input *input)
{
    struct object *end = input->kind == ROOST_IN_HANDLE ? NULL : head_object_end(input->object);
    if (end == NULL || is_bad(end)) {
        return end;
    }
    bool is_list = end->state == OBJECT_SEALED && input->kind == ROOST_IN_GATHER;
    return is_list ? gather_failed(gather_of(head, end)) : NULL;
}

struct failure *head_task_failed_input(struct head *head, const struct task *task)
{
    struct object *bad = NULL;
    for (uint32_t i = 0; i < task->inputs_count && bad == NULL; i++) {
        bad = bad_of(head, &task->inputs[i]);
    }
    return bad == NULL ? NULL : failure_ref(bad->more->failure);
}

static struct object *look_at(struct head *head, struct input *input)
{
    input->is_ready = input->kind == ROOST_IN_HANDLE || gather_is_settled(head, input->object);
    if (input->is_ready && input->kind == ROOST_IN_GATHER) {
        input->is_ready = gather_behind(head, input->object)->missing == 0;
    }
    return bad_of(head, input);
}

/* Counts those that are missing. NULL, or the one whose failure is the task's. */
static struct object *look_at_inputs(struct head *head, struct task *task)
{
    struct object *bad = NULL;
    task->missing = 0;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        struct object *at = look_at(head, &task->inputs[i]);
        bad = bad != NULL ? bad : at;
        task->missing += task->inputs[i].is_ready ? 0 : 1;
    }
    return bad;
}

void head_task_input_changed(struct head *head, struct input *input)
{
    struct task *task = input->task;
    if (!is_queued_here(task->state) && task->state != TASK_EARLY && task->state != TASK_REFUSED) {
        return;
    }
    bool was_ready = input->is_ready;
    struct object *bad = look_at(head, input);
    task->missing = task->missing + (was_ready ? 1 : 0) - (input->is_ready ? 1 : 0);
    if (task->state == TASK_REFUSED) {
        bool waits_to_be_asked = !list_is_empty(&task->line);
        if (waits_to_be_asked && (bad != NULL || task->missing == 0)) {
            head_task_wait_to_be_asked(head, task);
        }
    } else if (task->state == TASK_EARLY) {
        if (task->missing == 0) {
            place_early_ready(head, task);
        } /* of what has failed its node is told too, and completes it */
    } else if (bad != NULL) {
        head_task_fail(head, task, failure_ref(bad->more->failure));
    } else if (task->missing == 0 && task->state == TASK_WAITING) {
        head_task_set_state(head, task, TASK_QUEUED);
        place_queued(head, task);
    } else if (task->missing > 0 && task->state == TASK_WAITING) {
        place_early(head, task);
    }
}

/* ------------------------------------------------------------------------------------------------ entering */

const struct spec *head_task_spec_check(struct head *head, struct task_id id, const struct proto_bytes *bytes)
{
    struct spec *spec = head_spec_room(head, bytes->size);
    if (bytes->size > 0) {
        memcpy(spec, bytes->data, bytes->size);
    }
    if (spec_check(spec, bytes->size) != 0 || !task_id_eq(spec->task, id)) {
        head->counts.bad_messages++;
        return NULL;
    }
    return spec;
}

struct task *head_task_make(struct head *head, struct member *home, const struct spec *spec, enum task_state state)
{
    struct task *task = records_make(&head->tasks, task_id_key(spec->task));
    task->spec = kept_spec_make(&head->shapes, spec);
    task->spec_bytes = spec->bytes;
    task->home = (uint16_t)home->number;
    task->attempt = 1;
    task->state = state;
    task->since_ns = head->now_ns;
    task->returns_count = spec->returns;
    if (spec->returns > 1) {
        task->returns.many = head_alloc(spec->returns * sizeof *task->returns.many);
    }
    task->job = head_job_find(head, spec->job);
    list_init(&task->of_job);
    list_init(&task->line);
    list_append(&home->homed, &task->of_home);
    if (task->job != NULL) {
        list_append(&task->job->tasks, &task->of_job);
    }
    head->tasks_in[state]++;
    head_record(head, 'T', task->id.lo, state);
    return task;
}

struct object *head_task_return(struct head *head, struct task *task, uint32_t index, bool may_make)
{
    struct object **at = index < task->returns_count ? &head_task_returns(task)[index] : NULL;
    if (at == NULL || *at != NULL || !may_make) {
        return at == NULL ? NULL : *at;
    }
    struct object_id id = result_id(task->id, index);
    struct object *object = head_object_find(head, id);
    if (object == NULL) {
        object = head_object_make(head, id, OBJECT_PENDING);
    } else if (object->state == OBJECT_UNKNOWN) {
        head_object_set_state(head, object, OBJECT_PENDING);
    }
    object->home = (uint16_t)task->home;
    head_object_more(object)->producer = task;
    *at = object;
    task->returns_alive++;
    return object;
}

static void enter_returns(struct head *head, struct task *task, struct member *member)
{
    bool is_held = (kept_spec_header(task->spec).flags & SPEC_UNHELD) == 0;
    for (uint32_t i = 0; is_held && i < task->returns_count; i++) {
        struct object *object = head_task_return(head, task, i, true);
        head_object_hold(head, object, member->number, 0);
        list_note(head, member->number, object->id, LISTED | LISTED_HELD, 0);
        if (object->state != OBJECT_PENDING) { /* of a call made again */
            publish_found(head, member, object);
        }
    }
}

void head_task_enter(struct head *head, struct task *task)
{
    if (task->state != TASK_WAITING) {
        head_task_set_state(head, task, TASK_WAITING);
    }
    count_spec(head, task, true);
    task->is_followed = false;
    struct object_id gone;
    if (task->job == NULL && !head_in_census(head)) {
        head_task_fail(head, task, failure_make(ROOST_ECANCELED, "", "its job has ended"));
        return;
    }
    if (task->inputs == NULL && !take_inputs(head, task, &gone)) {
        char text[ID_TEXT_BYTES];
        bool ran_before = task->attempt > 1; /* what it made is lost, and so is what it was made of */
        head_task_fail(head, task,
                       failure_make(ran_before ? ROOST_ELOST : ROOST_EFREED, "", "argument %s was given up%s",
                                    object_id_print(gone, text), ran_before ? " since it ran first" : ""));
        return;
    }
    struct object *bad = look_at_inputs(head, task);
    if (bad != NULL) {
        head_task_fail(head, task, failure_ref(bad->more->failure));
    } else if (task->missing == 0) {
        head_task_set_state(head, task, TASK_QUEUED);
        place_queued(head, task);
    } else {
        place_early(head, task);
    }
}

static void send_handback(struct head *head, struct task *task, enum proto_handback_reason reason, const char *text)
{
    struct member *home = member_at(head, task->home);
    struct proto_message *message = home == NULL ? NULL : head_send(head, home, PROTO_HANDBACK);
    if (message != NULL) {
        message->u.handback = (struct proto_handback){ .task = task->id, .reason = reason, .text = text };
    }
}

void head_task_wait_to_be_asked(struct head *head, struct task *task)
{
    bool may_run = look_at_inputs(head, task) != NULL || task->missing == 0;
    head->asked_count -= task->is_counted ? 1 : 0;
    count_spec(head, task, false);
    list_remove(&task->line);
    list_append(may_run ? &head->refused_ready : &head->refused, &task->line);
}

/* Its arguments stay held; its spec is at home. */
static void refuse(struct head *head, struct task *task)
{
    head_task_set_state(head, task, TASK_REFUSED);
    kept_spec_free(&head->shapes, task->spec);
    task->spec = NULL;
    head_task_wait_to_be_asked(head, task);
    send_handback(head, task, PROTO_HANDBACK_ROOM, "the head's budget for specs is used up");
}

/* The next to ask for, or NULL. When nothing is left that could be placed, those that wait here may do so for ever for
 * what a refused one would make. */
static struct task *next_refused(const struct head *head)
{
    const struct list_node *line = list_is_empty(&head->refused_ready) ? &head->refused : &head->refused_ready;
    bool has_room = head->spec_bytes < head->config.spec_bytes_max / 4 * 3;
    bool is_stuck = line == &head->refused_ready && placement_queued(head->placement) == 0 && head->asked_count == 0;
    return !list_is_empty(line) && (has_room || is_stuck) ? CONTAINER_OF(line->next, struct task, line) : NULL;
}

void head_task_ask_again(struct head *head)
{
    for (struct task *task; head_has_room(head) && (task = next_refused(head)) != NULL;) {
        list_remove(&task->line);
        head->asked_count++;
        count_spec(head, task, true); /* its place is kept */
        send_handback(head, task, PROTO_HANDBACK_AGAIN, "");
    }
}

static bool lacks_returns(const struct task *task)
{
    for (uint32_t i = 0; i < task->returns_count; i++) {
        const struct object *object = head_task_return_at(task, i);
        if (object == NULL || (object->state != OBJECT_SEALED && object->state != OBJECT_FAILED)) {
            return true;
        }
    }
    return false;
}

/* What the head had refused and asked for; or a call that another attempt of its parent makes again: its returns are
 * held for the caller, and when one of them is gone that an earlier run had made, it runs once more. */
static void submit_again(struct head *head, struct member *member, struct task *task, const struct spec *spec)
{
    bool is_refused = task->state == TASK_REFUSED;
    bool is_gone = task->state == TASK_DONE && lacks_returns(task) && (spec->flags & SPEC_UNHELD) == 0;
    bool is_wanted = is_refused || is_gone || task->state == TASK_LOCAL || task->state == TASK_HOME;
    if (is_wanted) {
        bool is_counted = task->is_counted;
        count_spec(head, task, false);
        kept_spec_free(&head->shapes, task->spec);
        task->spec = kept_spec_make(&head->shapes, spec);
        task->spec_bytes = spec->bytes;
        count_spec(head, task, is_counted);
    } else {
        head->counts.stale++;
    }
    if (task->spec != NULL) {
        enter_returns(head, task, member);
    }
    if (is_wanted) {
        task->attempt += is_gone ? 1 : 0;
        head_task_enter(head, task);
    }
}

void head_task_fetch_args(const struct head *head, const struct spec *spec,
                          void (*fetch)(const struct records *objects, struct id_key id))
{
    for (uint32_t i = 0; i < spec->args_count && i < FETCH_ARGS_MAX; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            fetch(&head->objects, object_id_key(object_id_of(ref)));
        }
    }
}

void head_task_submit(struct head *head, struct member *member, const struct proto_submit *submit)
{
    records_prefetch_slot(&head->tasks, task_id_key(submit->task));
    const struct spec *spec = head_task_spec_check(head, submit->task, &submit->spec);
    if (spec == NULL) {
        return;
    }
    head_task_fetch_args(head, spec, records_prefetch_slot);
    struct task *task = head_task_find(head, submit->task);
    if (task != NULL) {
        submit_again(head, member, task, spec);
        return;
    }
    task = head_task_make(head, member, spec, TASK_WAITING);
    head_task_fetch_args(head, spec, records_prefetch);
    task->handbacks = submit->handed_back ? 1 : 0;
    enter_returns(head, task, member);
    if (task->returns_count > 0 && !lacks_returns(task)) { /* an attempt of its caller had it made elsewhere */
        head_task_set_state(head, task, TASK_DONE);
        return;
    }
    bool may_run = task->job != NULL || head_in_census(head);
    bool is_over = may_run && head->spec_bytes > 0 && head->spec_bytes + task->spec_bytes > head->config.spec_bytes_max;
    struct object_id gone;
    if (is_over && take_inputs(head, task, &gone)) {
        refuse(head, task);
        return;
    }
    head_task_enter(head, task);
}

/* ------------------------------------------------------------------------------------------------ leaving */

void head_task_leave_node(struct head *head, struct task *task)
{
    placement_release(head->placement, &task->booking);
    list_remove(&task->line);
    const struct spec *spec = head_task_spec(head, task);
    head_task_fetch_args(head, spec, records_prefetch);
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            struct object *object = head_object_find(head, object_id_of(ref));
            if (object != NULL && object->more != NULL) {
                numbers_remove(&object->more->coming, task->node);
                head_object_trim(object);
            }
        }
    }
    task->node = HEAD_NOBODY;
    head_turn_due(head);
}

void head_task_fail(struct head *head, struct task *task, struct failure *failure)
{
    if (task->node != HEAD_NOBODY) {
        head_task_leave_node(head, task);
    }
    head_task_release_inputs(head, task);
    head_task_set_state(head, task, TASK_DONE);
    head->counts.failed++;
    for (uint32_t i = 0; i < task->returns_count; i++) {
        struct object *object = head_task_returns(task)[i];
        if (object != NULL && object->state != OBJECT_SEALED && object->state != OBJECT_FAILED) {
            head_object_fail(head, object, OBJECT_FAILED, failure_ref(failure));
        }
    }
    failure_unref(failure);
    if (task->returns_alive == 0) {
        head_task_forget(head, task);
    }
}

void head_task_return_freed(struct head *head, struct task *task, const struct object *object)
{
    for (uint32_t i = 0; i < task->returns_count; i++) {
        if (head_task_returns(task)[i] == object) {
            head_task_returns(task)[i] = NULL;
            task->returns_alive--;
        }
    }
    bool is_kept_for_returns = task->state == TASK_DONE || task->state == TASK_LOCAL || task->state == TASK_HOME;
    if (task->returns_alive == 0 && is_kept_for_returns) {
        head_task_forget(head, task);
    }
}

static void free_parts(struct head *head, struct task *task)
{
    free(task->inputs);
    kept_spec_free(&head->shapes, task->spec);
    if (task->returns_count > 1) {
        free(task->returns.many);
    }
}

void head_task_forget(struct head *head, struct task *task)
{
    ROOST_PRE(task->inputs == NULL && task->returns_alive == 0);
    placement_release(head->placement, &task->booking);
    count_spec(head, task, false);
    head->tasks_in[task->state]--;
    list_remove(&task->of_job);
    list_remove(&task->of_home);
    list_remove(&task->line);
    head_record(head, 'x', task->id.lo, 0);
    free_parts(head, task);
    records_forget(&head->tasks, task);
}

void head_tasks_fini(struct head *head)
{
    for (uint32_t i = 0; i < head->tasks.used; i++) {
        struct task *task = head_task_number(head, i);
        if (task != NULL) {
            placement_release(head->placement, &task->booking);
            free_parts(head, task);
        }
    }
    records_fini(&head->tasks);
    id_map_fini(&head->shapes);
}

/* It is there, and its task waits on: nobody has told it. */
static bool is_overlooked(const struct head *head, const struct input *input)
{
    const struct object *end = head_object_end(input->object);
    bool is_there = end->state == OBJECT_SEALED;
    if (is_there && input->kind == ROOST_IN_GATHER) {
        is_there = end->more == NULL || end->more->gather == NULL || end->more->gather->missing == 0;
    }
    return is_there && !input->is_ready && line_is_empty(&head->changed);
}

bool head_task_is_valid(const struct head *head, const struct task *task)
{
    bool holds = is_queued_here(task->state) || task->state == TASK_EARLY || task->state == TASK_REFUSED;
    uint32_t missing = 0, alive = 0;
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        missing += task->inputs[i].is_ready ? 0 : 1;
        if (task->inputs[i].object->inputs == NULL || is_overlooked(head, &task->inputs[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < task->returns_count; i++) {
        alive += head_task_return_at(task, i) != NULL ? 1 : 0;
    }
    const struct member *member = member_at(head, task->node);
    return holds == (task->inputs != NULL) && is_at_node(task->state) == (task->node != HEAD_NOBODY) &&
           (!is_at_node(task->state) || (member != NULL && member_lives(member))) && alive == task->returns_alive &&
           missing == task->missing && (task->state != TASK_QUEUED || missing == 0) &&
           (task->spec != NULL || task->state == TASK_REFUSED || task->state == TASK_DONE);
}
