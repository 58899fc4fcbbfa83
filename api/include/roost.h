/* roost.h - run functions where their data is
 *
 * A remote function is an ordinary C function with one line in front. It runs in a worker process on the node that
 * already holds its arguments, reads them in place, and what it returns is an object that others can name, slice,
 * wait for and pass on before it exists.
 *
 *     ROOST_TASK(count_words);
 *     int count_words(struct roost_task *task) { ... }
 *
 *     roost_call(rt, count_words, &words, page);
 *
 * What holds for every call:
 *   status     An int is 0 or a negative ROOST_E... code. roost_last_error() is its text, for this thread.
 *              Outputs come last, end in _out, may not be NULL unless said so, and are written only on success.
 *   ownership  Inputs are borrowed for the call. Each ref written to a ref_out is one hold, the caller's, until
 *              roost_free(). Copying or slicing a ref adds none. In a task, holds end with the task.
 *   blocking   Only calls with a timeout_ms block, for as long as that says, and, without one:
 *              roost_open     at most its open_timeout_ms
 *              roost_close    until the agent has let go of this process, a second or two
 *              making objects (roost_put..., roost_create, roost_return..., large inline arguments) while the store makes
 *                             room, at most its patience of 10 s
 *              calling        while too much is queued: back-pressure, without an end of its own
 *              roost_nodes, roost_locate   for an answer that needs nobody's work, at most 10 s
 *   threads    A struct roost, and what hangs off it, may be used from any thread; a struct roost_task only by the
 *              thread that runs the task. After fork() the child may use neither (ROOST_EFORK).
 *   limits     63 threads of a process may wait at once, and a process may hold 2^20 views; then ROOST_ELIMIT.
 *   options    0 in an option means "the default"; ROOST_NONE means "none", ROOST_FOREVER "no limit".
 *   versions   What a comment marks "not in this version" is refused with ROOST_EINVAL where it is a field, and has no
 *              function yet where it is a type: the constants and structs stand, so that they need not change.
 *   names      Handles are struct pointers. Small values (roost_ref, roost_view, ...) are typedefs and are copied.
 *
 * C11, or C++17 and later. Linux. No signal handler is installed, no thread of Roost takes a signal.
 */
#ifndef ROOST_H
#define ROOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ROOST_API                   __attribute__((__visibility__("default")))
#define ROOST_PRINTF(string, first) __attribute__((__format__(__printf__, string, first)))
#define ROOST_MUST_CHECK            __attribute__((__warn_unused_result__))

/* Structs that may grow begin with their own size. ROOST_OPTIONS(.cpus = 4) and its kin fill it in; in C++ it fills
 * itself in, and the rest is zeroed by {}: `roost_options options{};`. */
#ifdef __cplusplus
#define ROOST_ASSERT_           static_assert
#define ROOST_SIZE_OF_(type)    size_t size = sizeof(type)
#define ROOST_SIZED_(type, ...) (type{ __VA_ARGS__ })
#else
#define ROOST_ASSERT_           _Static_assert
#define ROOST_SIZE_OF_(type)    size_t size
#define ROOST_SIZED_(type, ...) ((struct type){ .size = sizeof(struct type), __VA_ARGS__ })
#endif

enum { ROOST_VERSION_MAJOR = 0, ROOST_VERSION_MINOR = 1, ROOST_VERSION_PATCH = 0 };

enum {
    ROOST_NONE = -2,    /* in an option: really none, as 0 means "the default" */
    ROOST_FOREVER = -1, /* as a timeout or a limit: no end */
};

/* ---------------------------------------------------------------------------------------------- limits */

enum {
    ROOST_ARGS_MAX = 65536,         /* arguments of one call; roost_in_refs counts its items, a gather is one */
    ROOST_GATHER_MAX = 1 << 20,     /* objects that one gather argument may name */
    ROOST_COLUMNS_MAX = 1 << 20,    /* columns of one object */
    ROOST_RETURNS_MAX = 4096,       /* results of one task */
    ROOST_INLINE_BYTES_MAX = 65536, /* bytes of all inline arguments of one call; more belongs in an object */
    ROOST_NAME_BYTES_MAX = 127,     /* functions, actors, groups, keys of resources and labels, without the NUL */
    ROOST_KV_VALUE_BYTES_MAX = 1 << 20,
};
#define ROOST_OBJECT_BYTES_MAX (UINT64_C(1) << 46)

/* ---------------------------------------------------------------------------------------------- status */

#define ROOST_STATUS_MAP(X)                                                             \
    X(EINVAL, -1, "invalid argument")                                                   \
    X(ENOMEM, -2, "out of memory in this process")                                      \
    X(ETIMEDOUT, -3, "timed out; nothing changed, the call may be made again")          \
    X(ECANCELED, -4, "canceled")                                                        \
    X(ETOOBIG, -5, "over a limit")                                                      \
    X(ESIZE, -6, "the object's size is not the size asked for")                         \
    X(ERANGE, -7, "the range lies outside the object")                                  \
    X(ESTATE, -8, "not possible in this state")                                         \
    X(EFORK, -9, "used in a child of fork()")                                           \
    X(EVERSION, -10, "library and agent do not understand each other")                  \
    X(ECONNECT, -11, "no agent could be reached")                                       \
    X(EAUTH, -12, "the cluster refused this key")                                       \
    X(EIO, -13, "an operating system call failed")                                      \
    X(EDISCONNECTED, -14, "the agent of this machine is gone")                          \
    X(EFULL, -20, "no room in the object store")                                        \
    X(ELOST, -21, "the object's bytes are gone and cannot be made again")               \
    X(EFREED, -22, "the object was given up")                                           \
    X(ECHANGED, -23, "the object was made again and differs from the one already seen") \
    X(ENOFUNC, -30, "the program has no such remote function")                          \
    X(EDUPLICATE, -31, "two remote functions have the same name")                       \
    X(EFAILED, -32, "the remote function failed")                                       \
    X(EWORKER, -33, "the worker died")                                                  \
    X(ENODE, -34, "the node died")                                                      \
    X(EMEMORY, -35, "the worker was killed for the memory it used")                     \
    X(EINFEASIBLE, -36, "no node of the cluster can ever run this")                     \
    X(EEND, -37, "the stream has ended")                                                \
    X(EDEADLOCK, -38, "this wait can never end")                                        \
    X(ELIMIT, -39, "a limit of this process or node is reached")                         \
    X(EACTOR, -40, "the actor is dead")                                                 \
    X(EBUSY, -41, "too many calls are pending")                                         \
    X(ENOENT, -42, "no such name")                                                      \
    X(EEXIST, -43, "the name is taken")

enum roost_status {
    ROOST_OK = 0,
#define ROOST_X_(name, number, text) ROOST_##name = number,
    ROOST_STATUS_MAP(ROOST_X_)
#undef ROOST_X_
};

/* The fixed text of a code. Never NULL. */
ROOST_API const char *roost_strerror(int status);

/* What went wrong last on this thread: one line that names the call, the object, the limit; for a remote failure also
 * the function, node, pid, signal, attempts and the function's own words. Never NULL; valid until the thread's next
 * failing call. */
ROOST_API const char *roost_last_error(void);

/* ---------------------------------------------------------------------------------------------- values */

typedef struct roost_id {
    uint64_t hi, lo;
} roost_id; /* all zero: nothing */
typedef struct roost_node {
    roost_id id;
} roost_node;
typedef struct roost_actor {
    roost_id id;
    uint64_t key;
} roost_actor;
typedef struct roost_group {
    roost_id id;
} roost_group;

/* Names an object, a range of one, or a column of one; 32 bytes, to be copied and stored at will, also inside objects.
 * The bytes need not exist yet. size is ROOST_WHOLE while it is not known, ROOST_COLUMN when offset is a column. */
typedef struct roost_ref {
    roost_id id;
    uint64_t offset, size;
} roost_ref;
#define ROOST_WHOLE  UINT64_MAX
#define ROOST_COLUMN (UINT64_MAX - 1)
ROOST_ASSERT_(sizeof(roost_ref) == 32, "roost_ref is part of the ABI and of stored objects");

/* Bytes of an object, in the store. Read-only: writing through it is a fault. */
typedef struct roost_view {
    const void *data;
    size_t size;
    uint64_t pin;
} roost_view;

/* Bytes of an object in the making: between create and seal. */
typedef struct roost_buffer {
    void *data;
    size_t size;
    uint64_t lease;
} roost_buffer;

struct roost;        /* a driver's or a worker's connection */
struct roost_task;   /* one attempt of one task, inside a worker */
struct roost_stream; /* results of a task, as they appear; not in this version */

/* ---------------------------------------------------------------------------------------------- life */

struct roost_options {
    ROOST_SIZE_OF_(roost_options);
    const char *address;       /* HOST:PORT of a head; default $ROOST_ADDRESS, else a new cluster */
    const char *job_name;      /* default: the program's name */
    const char *name_space;    /* of actors and keys; default: the job's own. Not in this version */
    uint64_t store_bytes;      /* of a cluster started here; default from memory */
    double cpus;               /* of a cluster started here; default: the machine's */
    const char *const *files;  /* further files that a worker needs beside the program (NULL-ended); travel by hash.
                                * Not in this version */
    const char *worker_prefix; /* run workers under this command, e.g. "valgrind -q"; default $ROOST_WORKER_PREFIX */
    bool run_inline;           /* no cluster: tasks run inside roost_call, for a debugger; default $ROOST_INLINE */
    int32_t open_timeout_ms;   /* default 10000 */
};
#define ROOST_OPTIONS(...) ROOST_SIZED_(roost_options, __VA_ARGS__)

/* Join the cluster at options->address or $ROOST_ADDRESS, through the agent of this machine; without an address, start
 * a one-node cluster that ends with this process, however it ends. `options` may be NULL.
 *
 * The workers of a job are the same program, started again by the agents with the same arguments, the job's
 * environment, an empty working directory and no standard input. In a worker this call never returns: it serves tasks
 * and exits. So let it come first in main(): constructors and what stands before it run in every worker too.
 * (roost_main() leaves no room for that mistake.) Workers may be copies, made by a fork inside this call, of one that was
 * started so; what stands before it has then run once for all of them. $ROOST_FORK=0 has each started.
 *
 * Blocks for at most open_timeout_ms. Errors: ROOST_ECONNECT, ROOST_EAUTH, ROOST_EVERSION,
 * ROOST_EDUPLICATE (names both places), ROOST_EINVAL.
 */
ROOST_API int roost_open(struct roost **rt_out, const struct roost_options *options) ROOST_MUST_CHECK;

/* Leave: unfinished tasks of this job are canceled, its objects and actors that are not detached go. NULL is fine. */
ROOST_API void roost_close(struct roost *rt);

/* main() in one line: opens, calls driver(), closes, returns its status; a failure to open is printed and returns 1.
 * In a worker driver() is never called. */
ROOST_API int roost_main(int argc, char **argv, int (*driver)(struct roost *rt, int argc, char **argv));

/* "0.1.0", of the library that is loaded. */
ROOST_API const char *roost_version(void);

/* For programs in which failing means ending: print where, what and why, then exit(1). Not for libraries or tasks. */
#define ROOST_CHECK(call)                                        \
    do {                                                         \
        int roost_status_ = (call);                              \
        if (roost_status_ != 0) {                                \
            roost_die(roost_status_, #call, __FILE__, __LINE__); \
        }                                                        \
    } while (0)
ROOST_API void roost_die(int status, const char *call, const char *file, int line) __attribute__((__noreturn__));

/* In a function that returns a status, so in every task: pass a failure on. */
#define ROOST_TRY(call)             \
    do {                            \
        int roost_status_ = (call); \
        if (roost_status_ != 0) {   \
            return roost_status_;   \
        }                           \
    } while (0)

/* ---------------------------------------------------------------------------------------------- objects */

/* Copy `size` bytes into the store. Waits while the store makes room, at most its patience; then ROOST_EFULL. */
ROOST_API int roost_put(struct roost *rt, const void *data, size_t size, roost_ref *ref_out) ROOST_MUST_CHECK;
#define roost_put_value(rt, value, ref_out) roost_put((rt), &(value), sizeof(value), (ref_out))

/* A file, or `size` bytes of it from `offset` (ROOST_WHOLE: to its end), read straight into the store. */
ROOST_API int roost_put_file(struct roost *rt, const char *path, uint64_t offset, uint64_t size, roost_ref *ref_out);

/* An object that holds refs keeps what they name alive. Read it back as an array of roost_ref. */
ROOST_API int roost_put_refs(struct roost *rt, const roost_ref *refs, size_t count, roost_ref *ref_out);

/* Write an object in place: create, fill buffer->data, seal. The first `size` bytes become the object; the rest goes
 * back. A buffer ends by seal or abort, both of which clear it; abort of a cleared buffer does nothing. Refs that lie
 * inside the bytes are declared before sealing; so are columns: column c is the bytes from ends[c - 1] (0 for the
 * first) to ends[c], ascending, the last at most the sealed size. A dying process leaves no trace of its buffers. */
ROOST_API int roost_create(struct roost *rt, size_t size, roost_buffer *buffer_out) ROOST_MUST_CHECK;
ROOST_API int roost_declare_refs(struct roost *rt, roost_buffer *buffer, const roost_ref *refs, size_t count);
ROOST_API int roost_set_columns(struct roost *rt, roost_buffer *buffer, const uint64_t *ends, size_t count);
ROOST_API int roost_seal(struct roost *rt, roost_buffer *buffer, size_t size, roost_ref *ref_out);
ROOST_API void roost_abort(struct roost *rt, roost_buffer *buffer);

/* See an object's bytes, waiting until they exist and are on this node. The view stays valid until roost_release(),
 * which clears it; releasing a cleared view does nothing. A failed task's code is returned by getting its result.
 * ROOST_EFULL: it is on another node, and no room came for it here within the store's patience; it is well. */
ROOST_API int roost_get(struct roost *rt, roost_ref ref, roost_view *view_out, int timeout_ms) ROOST_MUST_CHECK;
ROOST_API void roost_release(struct roost *rt, roost_view *view);

/* All or none of `count` objects: pins and transfers are asked for at once. On failure no view is held; roost_explain()
 * tells which of the refs failed and why. */
ROOST_API int roost_get_many(struct roost *rt, const roost_ref *refs, size_t count, roost_view *views_out,
                             int timeout_ms);
ROOST_API void roost_release_many(struct roost *rt, roost_view *views, size_t count);

/* Copy an object of exactly `size` bytes out; ROOST_ESIZE otherwise. Nothing to release. */
ROOST_API int roost_get_copy(struct roost *rt, roost_ref ref, void *data_out, size_t size,
                             int timeout_ms) ROOST_MUST_CHECK;
#define roost_get_value(rt, ref, value_out, timeout_ms) \
    roost_get_copy((rt), (ref), (value_out), sizeof *(value_out), (timeout_ms))

/* Wait until `wanted` of the refs are ready: sealed, or failed; with fetch, ready means "on this node". ready_out[i] says
 * which were seen to be: at least `wanted`, perhaps more; of all refs when `wanted` is 0 or their number, and on
 * ROOST_ETIMEDOUT. After other failures what it says is true but need not be all. A ref given twice counts twice. */
ROOST_API int roost_wait(struct roost *rt, const roost_ref *refs, size_t count, size_t wanted, bool fetch,
                         bool *ready_out, int timeout_ms);

/* Give up a hold. The object goes when nothing names it: no hold, no task, no living object. A slice stands for its
 * whole. Freeing what is not held is logged and changes nothing. */
ROOST_API void roost_free(struct roost *rt, roost_ref ref);
ROOST_API void roost_free_many(struct roost *rt, const roost_ref *refs, size_t count);

/* One more hold on a ref that came from elsewhere: an argument, the inside of an object, another thread. */
ROOST_API int roost_keep(struct roost *rt, roost_ref ref);
/* One more hold on each, or on none: what a list of refs names, say, before the list is freed. */
ROOST_API int roost_keep_many(struct roost *rt, const roost_ref *refs, size_t count);

/* The range [offset, offset + size) of what `ref` names. Pure: no call, no hold. A range that turns out to lie outside
 * the object is ROOST_ERANGE where it is used. */
static inline roost_ref roost_slice(roost_ref ref, uint64_t offset, uint64_t size)
{
    /* UINT64_MAX is outside every object: a slice of a column fails where it is used */
    roost_ref slice = { ref.id, ref.size == ROOST_COLUMN ? UINT64_MAX : ref.offset + offset, size };
    return slice;
}

/* Column `column` of what `ref` names whole, as its maker declared it with roost_set_columns(). Pure, and good before
 * the object exists: where it lies is looked up by whoever reads or moves it. No such column, or a slice of a column,
 * is ROOST_ERANGE there. */
static inline roost_ref roost_column(roost_ref ref, uint64_t column)
{
    roost_ref part = { ref.id, column, ROOST_COLUMN };
    return part;
}

struct roost_error {
    ROOST_SIZE_OF_(roost_error);
    int status;   /* 0: not failed (or not yet) */
    int app_code; /* of roost_fail() */
    int signal;   /* that ended the worker, or 0 */
    int attempts;
    int64_t pid;
    char function[128];
    char node[128];
    char text[1024];
};
#define ROOST_ERROR_INIT ROOST_SIZED_(roost_error, )

/* Why `ref` failed. Of several: call it for each. Of the pending result of a call that this process alone knows of (a short
 * task of this node, which no `roost why` can find): status 0, and the text says what it waits for, pid which worker has it. */
ROOST_API int roost_explain(struct roost *rt, roost_ref ref, struct roost_error *error_out);

/* Where copies of the whole object are: this node first, if it has one. Up to `capacity` nodes (nodes_out may be NULL
 * when it is 0); *count_out is how many there are in all, at most 65. What is not made yet, or has failed, has none.
 *
 * Errors: ROOST_EFREED, ROOST_EINVAL, ROOST_ELIMIT; ROOST_ETIMEDOUT.
 * Blocks until the agent, and for an object that other nodes know the head, has answered: at most 10 s. */
ROOST_API int roost_locate(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out);

/* Start bringing `ref` here; when it does not exist yet, as soon as it does. A hint: it never waits, never fails for lack
 * of room, and is dropped when 65536 of this process wait for objects to be made. */
ROOST_API int roost_prefetch(struct roost *rt, roost_ref ref);

/* ---------------------------------------------------------------------------------------------- tasks: calling */

typedef int roost_fn(struct roost_task *task);

/* Make a function known under its name, in the driver and in the workers. Stands before the function, or after it
 * when the function is static; anywhere at file scope, in the program or in a library that it links. Two functions of
 * one name in a job are ROOST_EDUPLICATE at roost_open(). In a header, the declaration alone: roost_fn count_words; */
#define ROOST_TASK(function) ROOST_REGISTER_(function, #function, NULL, ROOST_KIND_TASK_, 0)

struct roost_task_options {
    ROOST_SIZE_OF_(roost_task_options);
    const char *name;      /* for people; default: the function's */
    uint32_t returns;      /* results, so refs in refs_out; default 1 */
    int32_t max_retries;   /* after a crash or a lost node; default 3; ROOST_NONE: never, ROOST_FOREVER: always */
    bool retry_on_failure; /* retry also what the function itself reports */
    int32_t timeout_ms;    /* of one attempt; default none. Not in this version */
    int32_t priority;      /* higher first, within the job; default 0. Not in this version */
    double cpus;           /* default 1; below one in hundredths, above in whole numbers */
    uint64_t memory_bytes; /* admission; default: what this function was seen to use */
    const char *resources; /* "gpu=1 license=2". Not in this version */
    const char *labels;    /* "zone=a disk!=hdd". Not in this version */
    roost_node node;       /* wish; all zero: none */
    bool node_only;        /* the wish is a condition */
    bool spread;
    roost_group group;     /* not in this version */
    uint32_t bundle;       /* not in this version */
    uint32_t stream_window; /* streamed results that may wait to be taken; default 16. Not in this version */
    const char *const *env; /* "K=V", NULL-ended */
};
#define ROOST_TASK_OPTIONS(...) ROOST_SIZED_(roost_task_options, __VA_ARGS__)

typedef enum roost_kind {
    ROOST_IN_REF = 1,
    ROOST_IN_HANDLE,
    ROOST_IN_REFS,
    ROOST_IN_INT,
    ROOST_IN_UINT,
    ROOST_IN_REAL,
    ROOST_IN_TEXT,
    ROOST_IN_BYTES,
    ROOST_IN_ACTOR,
    ROOST_IN_GATHER,
} roost_kind;

/* One argument. Borrows what it points to until the call returns. */
typedef struct roost_in {
    roost_kind kind;
    size_t size; /* bytes of BYTES, items of REFS */
    union {
        int64_t i;
        uint64_t u;
        double r;
        const void *p;
        roost_ref ref;
        roost_actor actor;
    } as;
} roost_in;

/* roost_call(rt, function, ref_out, argument...)
 * roost_call_with(rt, function, options, refs_out, argument...)
 *
 * Submit a task; up to 12 arguments, any number with roost_in_refs() or roost_submit(). Returns at once (when too much
 * is queued it waits: back-pressure). ref_out may be NULL when the result does not matter; a failure is then logged.
 *
 * An argument is
 *   a roost_ref            the task sees its bytes: it is waited for, moved if needed, and alive until the task ends
 *   a number, a bool       travels inline
 *   a string               travels inline
 *   roost_in_value(x)      a struct or an array of yours, inline; roost_in_bytes(p, n) likewise
 *   roost_in_refs(p, n)    n arguments, each a ref
 *   roost_in_handle(ref)   the ref itself: not waited for, not moved, kept alive
 * and anything else does not compile.
 *
 * Errors: ROOST_ENOFUNC, ROOST_ETOOBIG (names the argument and the limit), ROOST_EINVAL.
 */
ROOST_API int roost_submit(struct roost *rt, roost_fn *function, const struct roost_task_options *options,
                           roost_ref *refs_out, const roost_in *args, size_t count) ROOST_MUST_CHECK;

/* ---------------------------------------------------------------------------------------------- tasks: inside */

/* A task returns 0, or a status (any failing call's; roost_fail's). Asking for an argument that is not there, or that
 * is of another kind, gives zeros and fails the task with a text that says so, whatever it returns afterwards. */
ROOST_API size_t roost_arg_count(const struct roost_task *task);
ROOST_API roost_view roost_arg(struct roost_task *task, size_t index);  /* any kind's bytes; not to release */
ROOST_API int64_t roost_arg_int(struct roost_task *task, size_t index); /* also an object of 1, 2, 4, 8 bytes */
ROOST_API uint64_t roost_arg_uint(struct roost_task *task, size_t index);
ROOST_API double roost_arg_real(struct roost_task *task, size_t index);
ROOST_API const char *roost_arg_text(struct roost_task *task, size_t index); /* "" on failure, never NULL */
ROOST_API roost_ref roost_arg_ref(struct roost_task *task, size_t index);    /* to slice or pass on */
ROOST_API const void *roost_arg_value_(struct roost_task *task, size_t index, size_t size);
#define roost_arg_value(task, index, type) (*(const type *)roost_arg_value_((task), (index), sizeof(type)))

/* Give result `index`, once each: by copy, written in place (then roost_seal, or the task's end, completes it), or under
 * the name of another object, which need not exist yet: whoever gets the result gets that, and it stays alive for as long.
 * A result that is not given is an empty object. `data` and `ref` are borrowed; the buffer is the task's until it is sealed
 * or aborted, and ends with it. Nothing is seen by others before the task has returned 0.
 *
 * Errors: ROOST_EINVAL (no such result), ROOST_ESTATE (given already, or the attempt has ended), ROOST_EFULL,
 *         ROOST_ETOOBIG, ROOST_ENOMEM. */
ROOST_API int roost_return(struct roost_task *task, size_t index, const void *data, size_t size);
ROOST_API int roost_return_create(struct roost_task *task, size_t index, size_t size, roost_buffer *buffer_out);
ROOST_API int roost_return_ref(struct roost_task *task, size_t index, roost_ref ref);
#define roost_return_value(task, index, value) roost_return((task), (index), &(value), sizeof(value))

/* Fail with words: `return roost_fail(task, 7, "line %zu is too long", line);`. Returns ROOST_EFAILED. */
ROOST_API int roost_fail(struct roost_task *task, int app_code, const char *format, ...) ROOST_PRINTF(3, 4);

ROOST_API struct roost *roost_of(struct roost_task *task);           /* to call further tasks; not to be closed */
ROOST_API void *roost_scratch(struct roost_task *task, size_t size); /* zeroed; freed at the task's end; may be NULL */
ROOST_API bool roost_stopping(const struct roost_task *task);        /* see below */
ROOST_API uint32_t roost_attempt(const struct roost_task *task);     /* 0 the first time */
ROOST_API roost_node roost_here(struct roost *rt);
/* roost_stopping(): is this attempt wanted no more, so that it should tidy up and return? In this version it turns true only
 * once the node's agent or the job is gone, shortly before the worker is killed: whoever cancels a task kills its worker. */

/* ---------------------------------------------------------------------------------------------- actors */

/* Not in this version, as are roost_actor and ROOST_IN_ACTOR. */
struct roost_actor_options {
    ROOST_SIZE_OF_(roost_actor_options);
    const char *actor_name; /* to be found by; default none */
    bool get_if_exists;
    bool detached;                         /* outlives the job */
    int32_t max_restarts;                  /* default 0 */
    int32_t max_task_retries;              /* default 0 */
    uint32_t max_concurrency;              /* threads; default 1 */
    uint32_t max_pending_calls;            /* per caller; default 10000, then ROOST_EBUSY */
    const struct roost_task_options *task; /* where it lives and what it needs; default NULL */
};
#define ROOST_ACTOR_OPTIONS(...) ROOST_SIZED_(roost_actor_options, __VA_ARGS__)

/* ---------------------------------------------------------------------------------------------- groups */

/* Not in this version, as is roost_group. */
enum roost_strategy { ROOST_PACK = 1, ROOST_SPREAD, ROOST_STRICT_PACK, ROOST_STRICT_SPREAD };

/* ---------------------------------------------------------------------------------------------- cluster */

/* What is free is what this node's agent knows of itself at the moment; of every other node it is 0, "not known", in this
 * version (`roost status` asks the head). */
struct roost_node_info {
    roost_node node;
    bool alive;
    double cpus_total, cpus_free;
    uint64_t memory_bytes_total, memory_bytes_free, store_bytes_total, store_bytes_free;
    char host[256];   /* the node's name: of its machine, or as it was started with --name */
    char labels[512]; /* not in this version: "" */
};
/* Who is in the cluster, this node first, as far as its agent has heard from the head; nodes that died are among them, not
 * alive. Up to `capacity` are written (nodes_out may be NULL when it is 0); *count_out is how many there are in all.
 * `info_size` is sizeof(struct roost_node_info).
 *
 * Errors: ROOST_EINVAL, ROOST_EDISCONNECTED, ROOST_ELIMIT, ROOST_ENOMEM; ROOST_ETIMEDOUT.
 * Blocks until the agent has answered, at most 10 s. */
ROOST_API int roost_nodes(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                          size_t *count_out);

/* As the version of a key that is put or deleted: whatever it is. Not in this version, as is ROOST_KV_VALUE_BYTES_MAX. */
#define ROOST_KV_ANY UINT64_MAX

/* For event loops. Watch a ref: once it is ready (on this node, or failed), roost_fd() polls readable and roost_ready()
 * hands `tag` out, once. A watch holds nothing: keep the ref until its tag has come. It cannot be taken back; it ends with
 * its tag or with the connection. When the agent is lost, all that are open become ready: getting their refs says why.
 *
 * roost_watch    ROOST_EINVAL, ROOST_EBUSY (too many refs are waited for), ROOST_ENOMEM, ROOST_EDISCONNECTED. No watch then.
 * roost_fd       The descriptor, the same each time, or a negative status. It is the library's: poll it, never read or
 *                close it; roost_close() does.
 * roost_ready    How many tags were written, at most `capacity`; it stays readable while more are there. Never waits. */
ROOST_API int roost_watch(struct roost *rt, roost_ref ref, void *tag);
ROOST_API int roost_fd(struct roost *rt);
ROOST_API size_t roost_ready(struct roost *rt, void **tags_out, size_t capacity);

/* ---------------------------------------------------------------------------------------------- arguments */

static inline roost_in roost_in_same(roost_in in) { return in; }
static inline roost_in roost_in_ref(roost_ref ref)
{
    roost_in in = { ROOST_IN_REF, 0, { 0 } };
    in.as.ref = ref;
    return in;
}
/* Read it with roost_arg_ref(). */
static inline roost_in roost_in_handle(roost_ref ref)
{
    roost_in in = { ROOST_IN_HANDLE, 0, { 0 } };
    in.as.ref = ref;
    return in;
}
static inline roost_in roost_in_int(int64_t value)
{
    roost_in in = { ROOST_IN_INT, 0, { value } };
    return in;
}
static inline roost_in roost_in_uint(uint64_t value)
{
    roost_in in = { ROOST_IN_UINT, 0, { 0 } };
    in.as.u = value;
    return in;
}
static inline roost_in roost_in_real(double value)
{
    roost_in in = { ROOST_IN_REAL, 0, { 0 } };
    in.as.r = value;
    return in;
}
/* NULL is ROOST_EINVAL at the call. */
static inline roost_in roost_in_text(const char *text)
{
    roost_in in = { ROOST_IN_TEXT, 0, { 0 } };
    in.as.p = text;
    return in;
}
static inline roost_in roost_in_bytes(const void *data, size_t size)
{
    roost_in in = { ROOST_IN_BYTES, size, { 0 } };
    in.as.p = data;
    return in;
}
#define roost_in_value(value) roost_in_bytes(&(value), sizeof(value))
static inline roost_in roost_in_refs(const roost_ref *refs, size_t count)
{
    roost_in in = { ROOST_IN_REFS, count, { 0 } };
    in.as.p = refs;
    return in;
}

/* Column `column` of every object that `list` names, in its order: as many arguments as the list has refs, and one line
 * in the task's spec. `list` comes from roost_put_refs(); neither it nor what it names need exist yet. This is how a
 * shuffle of M maps and R reducers costs M + R names, not M x R. */
static inline roost_in roost_in_gather(roost_ref list, uint64_t column)
{
    roost_in in = { ROOST_IN_GATHER, 0, { 0 } };
    in.as.ref = roost_column(list, column);
    return in;
}

/* ---------------------------------------------------------------------------------------------- machinery */

enum {
    ROOST_KIND_TASK_ = 1,
    ROOST_KIND_ACTOR_,
    ROOST_KIND_METHOD_,
    ROOST_KIND_EXIT_,
    ROOST_KIND_SAVE_,
    ROOST_KIND_LOAD_
};

struct roost_function_ {
    uint32_t abi, kind;
    const char *name, *actor, *file;
    roost_fn *function;
    uint64_t line, state_bytes;
    struct roost_function_ *next;
};

/* Links the record into a list: no allocation, no lock, safe before main() and in dlopen(). */
ROOST_API void roost_register_(struct roost_function_ *function);

#define ROOST_REGISTER_(function_, name_, actor_, kind_, state_)                  \
    roost_fn function_;                                                           \
    __attribute__((__constructor__)) static void roost_register_##function_(void) \
    {                                                                             \
        static struct roost_function_ record = {                                  \
            1, kind_, name_, actor_, __FILE__, function_, __LINE__, state_, NULL  \
        };                                                                        \
        roost_register_(&record);                                                 \
    }                                                                             \
    ROOST_ASSERT_(sizeof(name_) <= ROOST_NAME_BYTES_MAX + 1, "the name of a remote function is too long")

#ifndef __cplusplus

/* What an argument may be. A type that is not here does not compile: for a struct say roost_in_value(it), for an array
 * of refs roost_in_refs(them, count). */
#define ROOST_IN(x) \
    _Generic((x),                                                                                       \
        roost_ref: roost_in_ref, roost_in: roost_in_same,                                               \
        char *: roost_in_text, const char *: roost_in_text,                                             \
        float: roost_in_real, double: roost_in_real,                                                    \
        _Bool: roost_in_uint, unsigned char: roost_in_uint, unsigned short: roost_in_uint,              \
        unsigned: roost_in_uint, unsigned long: roost_in_uint, unsigned long long: roost_in_uint,       \
        char: roost_in_int, signed char: roost_in_int, short: roost_in_int, int: roost_in_int,          \
        long: roost_in_int, long long: roost_in_int)(x)

/* (out, a, b) -> out, { ROOST_IN(a), ROOST_IN(b) }, 2 */
#define ROOST_ARGS_(...)                                                                                             \
    ROOST_PICK_(__VA_ARGS__, ROOST_ARGS_MANY_, ROOST_ARGS_MANY_, ROOST_ARGS_MANY_, ROOST_ARGS_MANY_, ROOST_ARGS_12_, \
                ROOST_ARGS_11_, ROOST_ARGS_10_, ROOST_ARGS_9_, ROOST_ARGS_8_, ROOST_ARGS_7_, ROOST_ARGS_6_,          \
                ROOST_ARGS_5_, ROOST_ARGS_4_, ROOST_ARGS_3_, ROOST_ARGS_2_, ROOST_ARGS_1_, ROOST_ARGS_0_, 0)         \
    (__VA_ARGS__)
#define ROOST_PICK_(o, a, b, c, d, e, f, g, h, i, j, k, l, m, n, p, q, macro, ...) macro
#define ROOST_ARGS_MANY_(...)                                                      more_than_12_arguments__use_roost_in_refs_or_roost_submit
#define ROOST_ARGS_0_(o)                                                           o, NULL, 0
#define ROOST_ARGS_1_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_1_(__VA_ARGS__) }, 1
#define ROOST_ARGS_2_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_2_(__VA_ARGS__) }, 2
#define ROOST_ARGS_3_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_3_(__VA_ARGS__) }, 3
#define ROOST_ARGS_4_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_4_(__VA_ARGS__) }, 4
#define ROOST_ARGS_5_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_5_(__VA_ARGS__) }, 5
#define ROOST_ARGS_6_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_6_(__VA_ARGS__) }, 6
#define ROOST_ARGS_7_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_7_(__VA_ARGS__) }, 7
#define ROOST_ARGS_8_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_8_(__VA_ARGS__) }, 8
#define ROOST_ARGS_9_(o, ...)                                                      o, (const roost_in[]){ ROOST_IN_9_(__VA_ARGS__) }, 9
#define ROOST_ARGS_10_(o, ...)                                                     o, (const roost_in[]){ ROOST_IN_10_(__VA_ARGS__) }, 10
#define ROOST_ARGS_11_(o, ...)                                                     o, (const roost_in[]){ ROOST_IN_11_(__VA_ARGS__) }, 11
#define ROOST_ARGS_12_(o, ...)                                                     o, (const roost_in[]){ ROOST_IN_12_(__VA_ARGS__) }, 12
#define ROOST_IN_1_(a)                                                             ROOST_IN(a)
#define ROOST_IN_2_(a, ...)                                                        ROOST_IN(a), ROOST_IN_1_(__VA_ARGS__)
#define ROOST_IN_3_(a, ...)                                                        ROOST_IN(a), ROOST_IN_2_(__VA_ARGS__)
#define ROOST_IN_4_(a, ...)                                                        ROOST_IN(a), ROOST_IN_3_(__VA_ARGS__)
#define ROOST_IN_5_(a, ...)                                                        ROOST_IN(a), ROOST_IN_4_(__VA_ARGS__)
#define ROOST_IN_6_(a, ...)                                                        ROOST_IN(a), ROOST_IN_5_(__VA_ARGS__)
#define ROOST_IN_7_(a, ...)                                                        ROOST_IN(a), ROOST_IN_6_(__VA_ARGS__)
#define ROOST_IN_8_(a, ...)                                                        ROOST_IN(a), ROOST_IN_7_(__VA_ARGS__)
#define ROOST_IN_9_(a, ...)                                                        ROOST_IN(a), ROOST_IN_8_(__VA_ARGS__)
#define ROOST_IN_10_(a, ...)                                                       ROOST_IN(a), ROOST_IN_9_(__VA_ARGS__)
#define ROOST_IN_11_(a, ...)                                                       ROOST_IN(a), ROOST_IN_10_(__VA_ARGS__)
#define ROOST_IN_12_(a, ...)                                                       ROOST_IN(a), ROOST_IN_11_(__VA_ARGS__)

#define roost_call(rt, function, ...)               roost_submit((rt), (function), NULL, ROOST_ARGS_(__VA_ARGS__))
#define roost_call_with(rt, function, options, ...) roost_submit((rt), (function), (options), ROOST_ARGS_(__VA_ARGS__))

#else /* C++: the same calls, with overloads in place of _Generic */

} /* extern "C" */

#include <type_traits>

template <class T> inline roost_in roost_in_from(const T &x)
{
    if constexpr (std::is_same_v<T, roost_ref>) {
        return roost_in_ref(x);
    } else if constexpr (std::is_same_v<T, roost_in>) {
        return x;
    } else if constexpr (std::is_convertible_v<T, const char *>) {
        return roost_in_text(x);
    } else if constexpr (std::is_floating_point_v<T>) {
        return roost_in_real(static_cast<double>(x));
    } else if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T>) {
        return roost_in_uint(x);
    } else if constexpr (std::is_integral_v<T>) {
        return roost_in_int(x);
    } else {
        static_assert(sizeof(T) == 0, "not an argument: for a struct say roost_in_value(it)");
    }
}
template <class... A>
inline int roost_call_with(roost *rt, roost_fn *function, const roost_task_options *options, roost_ref *refs_out,
                           const A &...a)
{
    const roost_in args[] = { roost_in_from(a)..., roost_in_int(0) };
    return roost_submit(rt, function, options, refs_out, args, sizeof...(A));
}
template <class... A> inline int roost_call(roost *rt, roost_fn *function, roost_ref *ref_out, const A &...a)
{
    return roost_call_with(rt, function, nullptr, ref_out, a...);
}

#endif /* __cplusplus */
#endif /* ROOST_H */
