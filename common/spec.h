/* spec.h - what a task is: one run of bytes from the caller to the worker
 *
 * A spec is position-independent: it is written once by the caller's library and then travels unchanged through the
 * task rings, the store, the agents, the messages between machines and the head, each of which reads it in place.
 * Whoever takes one from another process copies it first and calls spec_check() on the copy; after that the accessors
 * cannot leave its bytes. Little-endian, 8-byte aligned; `layout` changes with any change here.
 *
 *     struct spec | struct spec_arg [args_count] | function, inline bytes | environment, name
 *                 |<------------- what the task is: spec_task_id() ------->|
 */
#ifndef ROOST_COMMON_SPEC_H
#define ROOST_COMMON_SPEC_H

#include "common/id.h"

#include <stddef.h>

enum { SPEC_LAYOUT = 2, SPEC_ENV_MAX = 1024 };

enum spec_flag {
    SPEC_RETRY_ON_FAILURE = 1 << 0, /* also what the function itself reports */
    SPEC_NODE_ONLY = 1 << 1,        /* the wish in `node` is a condition */
    SPEC_SPREAD = 1 << 2,
    SPEC_UNHELD = 1 << 3, /* the caller took no refs: a failure is logged, the results go at once */
    SPEC_FLAGS_ALL = (1 << 4) - 1
};

struct spec_text {
    uint32_t offset, bytes; /* in the spec; a NUL follows that is not counted */
};

struct spec {
    uint32_t layout, bytes; /* of the whole */
    struct task_id task;    /* spec_task_id() of the rest */
    struct task_id parent;  /* the task that called, or the driver's job id */
    struct job_id job;
    uint64_t call;            /* the parent's how-many-th call */
    struct node_id node;      /* a wish, or none */
    uint64_t memory_bytes;    /* 0: what this function was seen to use */
    uint32_t cpus_hundredths; /* at least 1 */
    int32_t max_retries;
    uint32_t flags;   /* enum spec_flag */
    uint32_t returns; /* 0 to ROOST_RETURNS_MAX */
    uint32_t args_count;
    uint32_t env_count; /* "K=V" texts, each NUL-ended, one after the other in env */
    struct spec_text env;
    struct spec_text function; /* 1 to ROOST_NAME_BYTES_MAX bytes */
    struct spec_text name;     /* for people; may be empty */
    uint64_t reserved;         /* zero */
};

struct spec_arg {
    uint32_t kind;     /* enum roost_kind; never ROOST_IN_REFS, which becomes as many ROOST_IN_REF */
    uint32_t reserved; /* zero */
    uint64_t size;     /* of TEXT (without the NUL) and BYTES, else zero */
    union {
        int64_t i;
        uint64_t u;
        double r;
        uint64_t offset; /* of TEXT and BYTES, in the spec; aligned to 8; a NUL follows TEXT */
        roost_ref ref;   /* of REF, HANDLE and GATHER (the list, and its column) */
    } as;
};

/* What a caller says of a task, before it is a spec. Everything is borrowed. */
struct spec_draft {
    struct task_id parent;
    struct job_id job;
    uint64_t call;
    const char *function, *name; /* name may be NULL */
    const char *const *env;      /* NULL-ended, or NULL */
    struct node_id node;
    uint64_t memory_bytes;
    uint32_t cpus_hundredths, flags, returns;
    int32_t max_retries;
    const roost_in *args;
    size_t args_count; /* of roost_in: a ROOST_IN_REFS counts once here */
};

/* How many bytes spec_write() will need. What it accepts, spec_check() accepts once it is written.
 * Errors, each with a text that names the argument or option and the limit: ROOST_EINVAL (an unknown kind, a NULL text,
 * a group of refs or bytes with NULL, a ref that names nothing, a gather of anything but a column, no function, no CPU,
 * a flag or a number of retries that cannot be, env without '='), ROOST_ETOOBIG (ROOST_ARGS_MAX,
 * ROOST_INLINE_BYTES_MAX, ROOST_RETURNS_MAX, ROOST_NAME_BYTES_MAX, SPEC_ENV_MAX). */
int spec_measure(const struct spec_draft *draft, size_t *bytes_out);

/* Writes a draft that spec_measure() accepted to `to`, aligned to 8, of exactly the bytes that it named. */
void spec_write(const struct spec_draft *draft, void *to, size_t bytes);

/* Is this a spec, whole and within every limit, whose task id is the hash of the rest? ROOST_EINVAL with a text if not.
 * `bytes` must be aligned to 8 and private to the caller. */
int spec_check(const void *bytes, size_t size);

/* The id that a spec's content gives it: parent, call number, function and arguments, and no option: a parent that runs
 * again may ask for other resources, and means the same task. */
struct task_id spec_task_id(const struct spec *spec);

static inline const struct spec_arg *spec_args(const struct spec *spec)
{
    return (const struct spec_arg *)(const void *)(spec + 1);
}
static inline const char *spec_string(const struct spec *spec, struct spec_text text)
{
    return (const char *)spec + text.offset;
}
static inline const char *spec_function(const struct spec *spec) { return spec_string(spec, spec->function); }
/* What people see: the name given to the call, else the function's. */
static inline const char *spec_name(const struct spec *spec)
{
    return spec_string(spec, spec->name.bytes > 0 ? spec->name : spec->function);
}

/* Does this argument name an object? If so, `*ref_out`. */
bool spec_arg_ref(const struct spec_arg *arg, roost_ref *ref_out);

/* Must the object exist, and be here, before the task may start? False for handles. */
static inline bool spec_arg_is_input(const struct spec_arg *arg)
{
    return arg->kind == ROOST_IN_REF || arg->kind == ROOST_IN_GATHER;
}

#endif
