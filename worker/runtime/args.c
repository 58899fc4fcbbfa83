/* args.c - what a task reads
 *
 * Happy path: open -> each argument is bytes in place: pinned in the store, in the spec, or a number beside the
 *             argument.
 * Failures:   an argument that cannot be seen fails the attempt before the function runs. One that is asked for wrongly
 *             gives zeros and a text, and fails the attempt after it.
 * Invariants: what `data` points to stays until task_args_close().
 * Thread:     the one that runs the task.
 */
#include "common/bytes.h"
#include "objectstore/range.h"
#include "worker/runtime/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE_ALIGNMENT = 16 };

static const char *kind_name(enum roost_kind kind)
{
    switch (kind) {
    case ROOST_IN_REF:
        return "an object";
    case ROOST_IN_HANDLE:
        return "a handle";
    case ROOST_IN_INT:
        return "an integer";
    case ROOST_IN_UINT:
        return "an unsigned integer";
    case ROOST_IN_REAL:
        return "a real number";
    case ROOST_IN_TEXT:
        return "a text";
    case ROOST_IN_BYTES:
        return "inline bytes";
    case ROOST_IN_REFS:
    case ROOST_IN_ACTOR:
    case ROOST_IN_GATHER:
        break; /* none of these reaches a function as it is */
    }
    return "of an unknown kind";
}

/* ---- opening ---- */

static int need_room(struct roost_task *task, size_t more)
{
    if (more <= task->args_capacity - task->args_count) {
        return 0;
    }
    size_t twice = 2 * task->args_capacity, wanted = task->args_count + more,
           capacity = wanted > twice ? wanted : twice;
    struct task_arg *args = task_room(task, capacity * sizeof *args); /* the old ones stay as long as the task */
    if (args == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for %zu arguments", capacity);
    }
    if (task->args_count > 0) {
        memcpy(args, task->args, task->args_count * sizeof *args);
    }
    task->args = args;
    task->args_capacity = capacity;
    return 0;
}

/* See an object; the agent has it here, so this does not wait unless it was moved meanwhile. */
static int open_ref(struct roost_task *task, roost_ref ref)
{
    struct store_view view;
    int status = client_view(task->rt, ref, LOOK_BRIEF, ROOST_FOREVER, &view);
    if (status == 0) {
        task->args[task->args_count++] = (struct task_arg){
            .kind = ROOST_IN_REF, .data = view.data, .size = view.size, .pin = view.pin, .ref = ref
        };
    }
    return status;
}

bool task_values_find(const struct task_values *values, uint32_t index, const void **data_out, uint32_t *bytes_out)
{
    const unsigned char *at = values->at;
    for (uint32_t i = 0; i < values->count; i++) {
        struct lease_value value;
        if ((size_t)(values->end - at) < sizeof value) {
            return false;
        }
        memcpy(&value, at, sizeof value);
        at += sizeof value;
        if (align_up(value.bytes, 8) > (size_t)(values->end - at)) {
            return false;
        }
        if (value.arg == index) {
            *data_out = at;
            *bytes_out = value.bytes;
            return true;
        }
        at += align_up(value.bytes, 8);
    }
    return false;
}

/* Laid out as an object in the store is. */
static int open_value(struct roost_task *task, roost_ref ref, const void *data, uint32_t bytes)
{
    uint64_t begin, size;
    void *copy = task_room(task, bytes);
    int status = copy == NULL ? ROOST_ENOMEM : range_resolve(ref, bytes, NULL, 0, &begin, &size);
    if (status == 0) {
        memcpy(copy, data, bytes);
        task->args[task->args_count++] = (struct task_arg){ .kind = ROOST_IN_REF,
                                                            .data = (unsigned char *)copy + begin,
                                                            .size = size,
                                                            .ref = ref,
                                                            .whole = copy,
                                                            .whole_size = bytes };
    }
    return status;
}

static int open_items(struct roost_task *task, const roost_ref *items, size_t count, uint64_t column)
{
    int status = need_room(task, count);
    for (size_t i = 0; i < count && status == 0; i++) {
        client_look_ahead(task->rt, items, i, count);
        if (items[i].offset != 0 || items[i].size != ROOST_WHOLE) {
            status = error_set(ROOST_ERANGE, "a column of a part of an object");
        } else {
            status = open_ref(task, roost_column(items[i], column));
        }
        if (status != 0) {
            error_prefix(status, "object %zu of %zu", i, count);
        }
    }
    return status;
}

/* Column c of every object that the list names: each an argument. */
static int open_gather(struct roost_task *task, roost_ref gather)
{
    struct store_view list;
    int status = client_view(task->rt, object_ref(object_id_of(gather)), LOOK_BRIEF, ROOST_FOREVER, &list);
    if (status != 0) {
        return status;
    }
    size_t count = list.size / sizeof(roost_ref);
    if (list.size % sizeof(roost_ref) != 0 || count > ROOST_GATHER_MAX) {
        status = error_set(ROOST_EINVAL, "a gather's list of %" PRIu64 " bytes; it comes from roost_put_refs()",
                           list.size);
    } else {
        status = open_items(task, list.data, count, gather.offset);
    }
    task->rt->world->release(task->rt, list.pin); /* the task's hold keeps the list and what it names */
    return status;
}

static int open_arg(struct roost_task *task, uint32_t index)
{
    const struct spec_arg *in = &spec_args(task->spec)[index];
    const void *value;
    uint32_t bytes;
    if (in->kind == ROOST_IN_GATHER) {
        return open_gather(task, in->as.ref);
    }
    int status = need_room(task, 1);
    if (status == 0 && in->kind == ROOST_IN_REF && task_values_find(&task->values, index, &value, &bytes)) {
        return open_value(task, in->as.ref, value, bytes);
    }
    if (status != 0 || in->kind == ROOST_IN_REF) {
        return status != 0 ? status : open_ref(task, in->as.ref);
    }
    struct task_arg arg = { .kind = (enum roost_kind)in->kind };
    if (in->kind == ROOST_IN_HANDLE) {
        arg.ref = in->as.ref;
        arg.data = &in->as.ref;
        arg.size = sizeof in->as.ref;
    } else if (in->kind == ROOST_IN_TEXT || in->kind == ROOST_IN_BYTES) {
        arg.data = (const char *)task->spec + in->as.offset;
        arg.size = in->size;
    } else {
        arg.number.u = in->as.u;
        arg.data = &in->as; /* eight bytes, whichever number it is */
        arg.size = sizeof arg.number;
    }
    task->args[task->args_count++] = arg;
    return 0;
}

static void look_ahead(struct roost_task *task, uint32_t index)
{
    uint32_t ahead = index + LOOKS_AHEAD;
    const struct spec_arg *in = ahead < task->spec->args_count ? &spec_args(task->spec)[ahead] : NULL;
    if (in != NULL && in->kind == ROOST_IN_REF) {
        client_look_soon(task->rt, in->as.ref);
    }
}

int task_args_open(struct roost_task *task)
{
    int status = need_room(task, task->spec->args_count);
    for (uint32_t i = 0; i < task->spec->args_count && status == 0; i++) {
        look_ahead(task, i);
        status = open_arg(task, i);
        if (status != 0) {
            return error_prefix(status, "argument %u", i);
        }
    }
    return status;
}

void task_args_close(struct roost_task *task)
{
    for (size_t i = 0; i < task->args_count; i++) {
        if (task->args[i].pin != 0) {
            task->rt->world->release(task->rt, task->args[i].pin);
        }
    }
    task->args = NULL;
    task->args_count = task->args_capacity = 0;
}

/* ---- reading ---- */

size_t roost_arg_count(const struct roost_task *task) { return task == NULL ? 0 : task->args_count; }

/* The argument, or NULL: then the task fails, and says so. */
static const struct task_arg *arg_at(struct roost_task *task, size_t index)
{
    if (task == NULL) {
        return NULL;
    }
    if (index >= task->args_count) {
        task_misused(task, ROOST_EINVAL, "argument %zu was asked for, there are %zu", index, task->args_count);
        return NULL;
    }
    return &task->args[index];
}

static void wrong_kind(struct roost_task *task, size_t index, const struct task_arg *arg, const char *wanted)
{
    task_misused(task, ROOST_EINVAL, "argument %zu is %s of %" PRIu64 " bytes, asked for as %s", index,
                 kind_name(arg->kind), arg->size, wanted);
}

roost_view roost_arg(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    return arg == NULL ? (roost_view){ "", 0, 0 } : (roost_view){ arg->data, arg->size, 0 };
}

/* The bytes of an object, or inline ones. */
static bool is_bytes(const struct task_arg *arg) { return arg->kind == ROOST_IN_REF || arg->kind == ROOST_IN_BYTES; }

static bool read_signed(const struct task_arg *arg, int64_t *value_out)
{
    switch (arg->size) {
    case 1:
        *value_out = *(const int8_t *)arg->data;
        return true;
    case 2: {
        int16_t value;
        memcpy(&value, arg->data, sizeof value);
        *value_out = value;
        return true;
    }
    case 4: {
        int32_t value;
        memcpy(&value, arg->data, sizeof value);
        *value_out = value;
        return true;
    }
    case 8:
        memcpy(value_out, arg->data, sizeof *value_out);
        return true;
    default:
        return false;
    }
}

static bool read_unsigned(const struct task_arg *arg, uint64_t *value_out)
{
    if (arg->size != 1 && arg->size != 2 && arg->size != 4 && arg->size != 8) {
        return false;
    }
    *value_out = 0;
    memcpy(value_out, arg->data, arg->size); /* little-endian, as everything here */
    return true;
}

int64_t roost_arg_int(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    int64_t value = 0;
    if (arg == NULL) {
        return 0;
    }
    if (arg->kind == ROOST_IN_INT || (arg->kind == ROOST_IN_UINT && arg->number.u <= INT64_MAX)) {
        return arg->number.i;
    }
    if (!is_bytes(arg) || !read_signed(arg, &value)) {
        wrong_kind(task, index, arg, "an integer");
        return 0;
    }
    return value;
}

uint64_t roost_arg_uint(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    uint64_t value = 0;
    if (arg == NULL) {
        return 0;
    }
    if (arg->kind == ROOST_IN_UINT || (arg->kind == ROOST_IN_INT && arg->number.i >= 0)) {
        return arg->number.u;
    }
    if (!is_bytes(arg) || !read_unsigned(arg, &value)) {
        wrong_kind(task, index, arg, "an unsigned integer");
        return 0;
    }
    return value;
}

/* An integer is a real number too: `roost_call(rt, f, &r, 1)` need not say 1.0. */
double roost_arg_real(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    double value = 0;
    float small;
    if (arg == NULL) {
        return 0;
    }
    if (arg->kind == ROOST_IN_REAL) {
        return arg->number.r;
    }
    if (arg->kind == ROOST_IN_INT || arg->kind == ROOST_IN_UINT) {
        return arg->kind == ROOST_IN_INT ? (double)arg->number.i : (double)arg->number.u;
    }
    if (is_bytes(arg) && arg->size == sizeof value) {
        memcpy(&value, arg->data, sizeof value);
    } else if (is_bytes(arg) && arg->size == sizeof small) {
        memcpy(&small, arg->data, sizeof small);
        value = (double)small;
    } else {
        wrong_kind(task, index, arg, "a real number");
    }
    return value;
}

const char *roost_arg_text(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    if (arg != NULL && arg->kind != ROOST_IN_TEXT) {
        wrong_kind(task, index, arg, "a text");
        return "";
    }
    return arg == NULL ? "" : arg->data;
}

/* A name that leaves the task must be one that others know: the value that came along becomes an object of the task's
 * own. */
static void name_value(struct roost_task *task, struct task_arg *arg)
{
    struct object_id id;
    int status = client_put(task->rt, task->run, arg->whole, arg->whole_size, NULL, 0, TABLE_RAW, &id);
    if (status != 0) {
        task_misused(task, status, "%s", error_text());
        arg->ref = (roost_ref){ { 0, 0 }, 0, 0 };
        return;
    }
    arg->ref = (roost_ref){ object_ref(id).id, arg->ref.offset, arg->ref.size };
    arg->whole = NULL;
}

roost_ref roost_arg_ref(struct roost_task *task, size_t index)
{
    const struct task_arg *arg = arg_at(task, index);
    if (arg != NULL && arg->whole != NULL) {
        name_value(task, &task->args[index]);
    }
    if (arg != NULL && arg->kind != ROOST_IN_REF && arg->kind != ROOST_IN_HANDLE) {
        wrong_kind(task, index, arg, "a ref");
        arg = NULL;
    }
    return arg == NULL ? (roost_ref){ { 0, 0 }, 0, 0 } : arg->ref;
}

/* A caller dereferences what comes back: zeros when there is nothing, aligned in any case. */
const void *roost_arg_value_(struct roost_task *task, size_t index, size_t size)
{
    static const _Alignas(64) unsigned char zeros[ROOST_INLINE_BYTES_MAX];
    const struct task_arg *arg = arg_at(task, index);
    if (arg != NULL && arg->size != size) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a value of %zu bytes", size);
        wrong_kind(task, index, arg, wanted);
        arg = NULL;
    }
    if (arg != NULL && (uintptr_t)arg->data % VALUE_ALIGNMENT == 0) {
        return arg->data;
    }
    if (arg == NULL && size <= sizeof zeros) {
        return zeros;
    }
    void *copy = task == NULL ? NULL : task_room(task, size);
    if (copy == NULL) { /* there is no way to say so to who dereferences the answer */
        contract_broken("out of memory", "the value of an argument", __FILE__, __LINE__);
    }
    return arg == NULL ? memset(copy, 0, size) : memcpy(copy, arg->data, size);
}
