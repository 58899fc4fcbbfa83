/* task.c - the life of one attempt
 *
 * Happy path: arguments are seen -> the environment is set -> the function runs -> results are completed -> looks,
 *             buffers, scratch and arguments are given back.
 * Failures:   the function's status, a wrong use of an argument, a result that cannot be made: each ends the attempt
 *             with a status and a text. A function that returned an error without words is quoted with the call that
 *             failed.
 * Invariants: whatever the function left open is closed before task_run() returns.
 * Thread:     the one that runs the task. */
#include "worker/runtime/task.h"
#include "api/register.h"
#include "common/bytes.h"
#include "common/hash.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Thread_local struct roost_task *client_task;

struct task_scratch {
    struct task_scratch *next;
    _Alignas(64) unsigned char bytes[];
};

struct object_id task_result_id(const struct roost_task *task, uint32_t index)
{
    return result_id(task->spec->task, index);
}

/* ---- what a task may ask ---- */

struct roost *roost_of(struct roost_task *task) { return task == NULL ? NULL : task->rt; }

uint32_t roost_attempt(const struct roost_task *task) { return task == NULL ? 0 : task->attempt; }

bool roost_stopping(const struct roost_task *task) { return task != NULL && task->rt->world->stopping(task->rt); }

void *task_room(struct roost_task *task, size_t size)
{
    size_t bytes;
    if (!size_add(size, sizeof(struct task_scratch) + 64, &bytes)) {
        return NULL;
    }
    bytes &= ~(size_t)63; /* a multiple of the alignment, as aligned_alloc() wants it */
    if (bytes <= task->arena_bytes) {
        unsigned char *room = task->arena;
        task->arena += bytes;
        task->arena_bytes -= bytes;
        return room;
    }
    struct task_scratch *scratch = aligned_alloc(64, bytes);
    if (scratch == NULL) {
        return NULL;
    }
    scratch->next = task->scratch;
    task->scratch = scratch;
    return scratch->bytes;
}

void *roost_scratch(struct roost_task *task, size_t size)
{
    if (task == NULL) {
        error_set(ROOST_EINVAL, "roost_scratch: task is NULL");
        return NULL;
    }
    void *room = task_room(task, size);
    if (room == NULL) {
        error_set(ROOST_ENOMEM, "roost_scratch: no memory for %zu bytes", size);
        return NULL;
    }
    return memset(room, 0, size);
}

static void scratch_free_all(struct roost_task *task)
{
    while (task->scratch != NULL) {
        struct task_scratch *next = task->scratch->next;
        free(task->scratch);
        task->scratch = next;
    }
}

int roost_fail(struct roost_task *task, int app_code, const char *format, ...)
{
    char text[WIRE_TEXT_BYTES_MAX] = "";
    if (format != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
    }
    if (task != NULL) {
        task->has_failed = true;
        task->app_code = app_code;
        memcpy(task->fail_text, text, sizeof text);
    }
    return error_set(ROOST_EFAILED, "%s", text);
}

void task_misused(struct roost_task *task, int status, const char *format, ...)
{
    if (task->misuse == 0) {
        task->misuse = status;
        va_list args;
        va_start(args, format);
        vsnprintf(task->misuse_text, sizeof task->misuse_text, format, args);
        va_end(args);
    }
}

/* ---- the environment of one call ---- */

struct env_saved {
    char *name, *value; /* value NULL: was not set */
};

static void env_restore(struct env_saved *saved, uint32_t count)
{
    while (count-- > 0) {
        if (saved[count].name != NULL && saved[count].value != NULL) {
            setenv(saved[count].name, saved[count].value, 1);
        } else if (saved[count].name != NULL) {
            unsetenv(saved[count].name);
        }
        free(saved[count].name);
        free(saved[count].value);
    }
    free(saved);
}

static int env_set_one(const char *text, struct env_saved *saved)
{
    const char *equals = strchr(text, '=');
    saved->name = strndup(text, equals == NULL ? strlen(text) : (size_t)(equals - text));
    const char *before = saved->name == NULL ? NULL : getenv(saved->name);
    saved->value = before == NULL ? NULL : strdup(before);
    if (saved->name == NULL || (before != NULL && saved->value == NULL) ||
        setenv(saved->name, equals == NULL ? "" : equals + 1, 1) != 0) {
        return error_set(ROOST_ENOMEM, "no memory for the task's environment");
    }
    return 0;
}

static int env_set(const struct spec *spec, struct env_saved **saved_out, uint32_t *count_out)
{
    *saved_out = NULL;
    *count_out = 0;
    if (spec->env_count == 0) {
        return 0;
    }
    struct env_saved *saved = calloc(spec->env_count, sizeof *saved);
    if (saved == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for the task's environment");
    }
    const char *text = spec_string(spec, spec->env);
    for (uint32_t i = 0; i < spec->env_count; i++, text += strlen(text) + 1) {
        int status = env_set_one(text, &saved[i]);
        if (status != 0) {
            env_restore(saved, i + 1);
            return status;
        }
    }
    *saved_out = saved;
    *count_out = spec->env_count;
    return 0;
}

/* ---- running ---- */

static void end_set(struct task_end *end, int status, int app_code, const char *text)
{
    end->status = status;
    end->app_code = app_code;
    end->text[0] = '\0';
    if (text[0] != '\0') {
        snprintf(end->text, sizeof end->text, "%s", text);
    }
}

/* What the function returned, in words. `text` is this thread's error line. */
static void judge(const struct roost_task *task, int returned, const char *text, struct task_end *end)
{
    if (task->misuse != 0) {
        end_set(end, task->misuse, 0, task->misuse_text);
    } else if (returned == 0) {
        end_set(end, 0, 0, "");
    } else if (returned == ROOST_EFAILED && task->has_failed) {
        end_set(end, ROOST_EFAILED, task->app_code, task->fail_text);
    } else if (returned > 0 || strcmp(error_code_name(returned), "UNKNOWN") == 0) {
        end_set(end, ROOST_EFAILED, returned, "");
        snprintf(end->text, sizeof end->text, "returned %d, which is no status", returned);
    } else if (text[0] != '\0') {
        end_set(end, returned, 0, text);
    } else {
        end_set(end, returned, 0, "");
        snprintf(end->text, sizeof end->text, "returned %s: %s", error_code_name(returned), error_name(returned));
    }
}

static void call(struct roost_task *task, roost_fn *function, struct task_end *end)
{
    struct env_saved *saved;
    uint32_t saved_count;
    int status = env_set(task->spec, &saved, &saved_count);
    if (status != 0) {
        end_set(end, status, 0, error_text());
        return;
    }
    error_clear(); /* what went wrong before this task is not its fault */
    status = function(task);
    env_restore(saved, saved_count);
    judge(task, status, error_text(), end);
}

/* The function, by its name in this program. */
static int find(const struct roost_task *task, roost_fn **function_out)
{
    const struct roost_function_ *record;
    int status = register_find_name(task->rt->book, NULL, spec_function(task->spec), &record);
    if (status == 0 && record->kind != ROOST_KIND_TASK_) {
        status = error_set(ROOST_ENOFUNC, "%s is not a task in this program", record->name);
    }
    if (status != 0) {
        return error_prefix(status, "%s", program_invocation_name);
    }
    *function_out = record->function;
    return 0;
}

static int prepare(struct roost_task *task, roost_fn **function_out)
{
    int status = find(task, function_out);
    if (status == 0 && task->spec->returns > 0) {
        bool is_few = task->spec->returns <= sizeof task->few;
        task->results = is_few ? task->few : calloc(task->spec->returns, sizeof *task->results);
        status = task->results != NULL ? 0 : error_set(ROOST_ENOMEM, "no memory for %u results", task->spec->returns);
    }
    return status != 0 ? status : task_args_open(task);
}

void task_run(struct roost_task *task, struct task_end *end_out)
{
    roost_fn *function = NULL;
    task->outer = client_task;
    client_task = task;
    int status = prepare(task, &function);
    if (status != 0) {
        end_set(end_out, status, 0, error_text());
    } else {
        call(task, function, end_out);
    }
    if (end_out->status == 0) {
        status = task_results_complete(task);
        if (status != 0) {
            end_set(end_out, status, 0, error_text());
        }
    }
    buffers_close_task(task->rt, task, false);
    task_args_close(task);
    views_close_scope(task->rt, task->run);
    scratch_free_all(task);
    if (task->results != task->few) {
        free(task->results);
    }
    task->results = NULL;
    client_task = task->outer;
}
