/* task.h - one attempt of one task, inside the process that runs it
 *
 * serve.c takes attempts from the agent, inline.c makes them inside a call; both run them with task_run(). args.c reads
 * the arguments, results.c gives the results, task.c is the rest of a task's life. */
#ifndef ROOST_WORKER_RUNTIME_TASK_H
#define ROOST_WORKER_RUNTIME_TASK_H

#include "api/client.h"
#include "objectstore/lease_page.h"

/* One argument as the function sees it: a gather has become as many as its list names. */
struct task_arg {
    enum roost_kind kind;
    const void *data; /* any kind's bytes */
    uint64_t size;
    uint64_t pin; /* of REF; 0: none */
    const void
        *whole; /* of REF whose value came along: all of it, of whole_size bytes; nobody else knows it by the ref */
    uint64_t whole_size;
    roost_ref ref; /* of REF and HANDLE */
    union {
        int64_t i;
        uint64_t u;
        double r;
    } number; /* of INT, UINT, REAL; `data` points here */
};

enum result_state { RESULT_OPEN = 0, RESULT_WRITING, RESULT_GIVEN };

struct task_scratch;

/* Results that are small enough to ride in the completion, one behind the other, each padded to 8. */
struct kept_results {
    uint32_t used;
    struct {
        bool is_kept; /* else it lies in the store */
        uint32_t offset, bytes;
    } of[LEASE_RETURNS_MAX];
    _Alignas(8) unsigned char data[LEASE_INLINE_BYTES_MAX];
};

/* Of arguments that came along with the task: struct lease_value and its bytes, one behind the other, inside `end`. */
struct task_values {
    const unsigned char *at, *end;
    uint32_t count;
};
/* The bytes of argument `index`, if they came along. */
bool task_values_find(const struct task_values *values, uint32_t index, const void **data_out, uint32_t *bytes_out);

struct roost_task {
    struct roost *rt;
    const struct spec *spec;
    struct roost_task *outer; /* that this thread ran before: only inline */
    uint64_t run;
    uint32_t attempt;
    struct task_arg *args;
    size_t args_count, args_capacity;
    uint8_t *results; /* enum result_state, spec->returns of them: in `few`, zero to begin with, if they fit */
    uint8_t few[8];
    struct task_scratch *scratch; /* what the arena had no room for */
    unsigned char *arena; /* borrowed: memory for small things, aligned to 64, arena_bytes of it left; or NULL */
    size_t arena_bytes;
    int misuse;      /* 0, or the status of the first wrong use of an argument */
    bool has_failed; /* roost_fail() */
    int app_code;
    void *world;                           /* inline.c: what the attempt has given so far */
    struct kept_results *kept;             /* of a leased task: what goes back in the completion; else NULL */
    struct task_values values;             /* of a leased task */
    char misuse_text[WIRE_TEXT_BYTES_MAX]; /* these two mean nothing before there is something to say */
    char fail_text[WIRE_TEXT_BYTES_MAX];
};

static inline void task_init(struct roost_task *task, struct roost *rt, const struct spec *spec, uint64_t run,
                             uint32_t attempt)
{
    memset(task, 0, offsetof(struct roost_task, misuse_text));
    task->rt = rt;
    task->spec = spec;
    task->run = run;
    task->attempt = attempt;
}

/* How an attempt ended. */
struct task_end {
    int status, app_code;
    char text[WIRE_TEXT_BYTES_MAX]; /* cut to fit */
};

/* Run an attempt on this thread: see its arguments, call the function, complete its results, give everything back.
 * `task` comes from task_init(), and has what its world adds; the scope `run` exists. Blocks as the function does. */
void task_run(struct roost_task *task, struct task_end *end_out);

/* Memory that lasts as long as the task, aligned to 64. NULL: there is none. */
void *task_room(struct roost_task *task, size_t size);

struct object_id task_result_id(const struct roost_task *task, uint32_t index);

/* ---- args.c ---- */

/* See all arguments: pinned, forwards followed, gathers spread out. */
int task_args_open(struct roost_task *task);
void task_args_close(struct roost_task *task);
/* The task fails with this, whatever it returns. Keeps the first. */
void task_misused(struct roost_task *task, int status, const char *format, ...) ROOST_PRINTF(3, 4);

/* ---- results.c ---- */

/* A buffer of result `index` was sealed, or given up. */
void task_result_closed(struct roost_task *task, uint32_t index, bool is_sealed);
/* Seal what is open; make empty objects of what was not given. */
int task_results_complete(struct roost_task *task);

#endif
