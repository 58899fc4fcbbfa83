/* spec.c - writing, checking and reading the bytes of a task
 *
 * One layout function (lay_out) decides where everything lies; measuring runs it without memory, writing with. The
 * check walks the same order and insists on it, so there is exactly one encoding of a task and a hash of the bytes is
 * a hash of the task. */
#include "common/spec.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"

#include <string.h>

_Static_assert(sizeof(struct spec) == 144, "the layout of a spec is part of the protocol: change SPEC_LAYOUT with it");
_Static_assert(sizeof(struct spec_arg) == 48, "the layout of a spec is part of the protocol");

/* Where the next piece goes. base is NULL while measuring. */
struct spec_cursor {
    unsigned char *base;
    size_t used;
};

/* Bytes at the cursor and a NUL, padded to 8. Returns where they went. */
static uint32_t put_bytes(struct spec_cursor *cursor, const void *data, size_t size)
{
    size_t offset = cursor->used, padded = align_up(size + 1, 8);
    if (cursor->base != NULL) {
        memcpy(cursor->base + offset, data, size);
        memset(cursor->base + offset + size, 0, padded - size);
    }
    cursor->used += padded;
    return (uint32_t)offset;
}

static struct spec_text put_text(struct spec_cursor *cursor, const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text);
    return (struct spec_text){ put_bytes(cursor, text == NULL ? "" : text, size), (uint32_t)size };
}

/* All the "K=V" one after the other, each with its NUL: one text whose last NUL is not counted. */
static struct spec_text put_environment(struct spec_cursor *cursor, const char *const *env, uint32_t *count_out)
{
    size_t offset = cursor->used, size = 0;
    uint32_t count = 0;
    for (; env != NULL && env[count] != NULL; count++) {
        size_t length = strlen(env[count]) + 1;
        if (cursor->base != NULL) {
            memcpy(cursor->base + offset + size, env[count], length);
        }
        size += length;
    }
    size_t padded = align_up(size + 1, 8);
    if (cursor->base != NULL) {
        memset(cursor->base + offset + size, 0, padded - size);
    }
    cursor->used += padded;
    *count_out = count;
    return (struct spec_text){ (uint32_t)offset, (uint32_t)size };
}

static size_t args_of(const roost_in *in) { return in->kind == ROOST_IN_REFS ? in->size : 1; }

static size_t count_args(const struct spec_draft *draft)
{
    size_t count = 0;
    for (size_t i = 0; i < draft->args_count; i++) {
        count += args_of(&draft->args[i]);
    }
    return count;
}

static struct spec_arg put_arg(struct spec_cursor *cursor, const roost_in *in)
{
    struct spec_arg arg;
    memset(&arg, 0, sizeof arg); /* all of the union: its bytes are hashed, and travel */
    arg.kind = in->kind;
    switch (in->kind) {
    case ROOST_IN_INT:
        arg.as.i = in->as.i;
        break;
    case ROOST_IN_UINT:
        arg.as.u = in->as.u;
        break;
    case ROOST_IN_REAL:
        arg.as.r = in->as.r;
        break;
    case ROOST_IN_TEXT:
        arg.size = strlen(in->as.p);
        arg.as.offset = put_bytes(cursor, in->as.p, arg.size);
        break;
    case ROOST_IN_BYTES:
        arg.size = in->size;
        arg.as.offset = put_bytes(cursor, in->size == 0 ? "" : in->as.p, in->size);
        break;
    case ROOST_IN_REF:
    case ROOST_IN_HANDLE:
    case ROOST_IN_GATHER:
        arg.as.ref = in->as.ref;
        break;
    case ROOST_IN_REFS:
    case ROOST_IN_ACTOR:
        ROOST_IMPOSSIBLE("spec_measure() refuses actors, and the caller spreads refs out");
    }
    return arg;
}

static void lay_out(const struct spec_draft *draft, struct spec_cursor *cursor)
{
    size_t args_count = count_args(draft);
    struct spec head = {
        .layout = SPEC_LAYOUT,
        .parent = draft->parent,
        .job = draft->job,
        .call = draft->call,
        .node = draft->node,
        .memory_bytes = draft->memory_bytes,
        .cpus_hundredths = draft->cpus_hundredths,
        .max_retries = draft->max_retries,
        .flags = draft->flags,
        .returns = draft->returns,
        .args_count = (uint32_t)args_count,
    };
    cursor->used = sizeof head + args_count * sizeof(struct spec_arg);
    head.function = put_text(cursor, draft->function);
    struct spec_arg *to = cursor->base == NULL ? NULL : (struct spec_arg *)(void *)(cursor->base + sizeof head);
    for (size_t i = 0; i < draft->args_count; i++) {
        const roost_in *in = &draft->args[i];
        for (size_t item = 0; item < args_of(in); item++) {
            struct spec_arg arg = in->kind == ROOST_IN_REFS
                                      ? (struct spec_arg){ .kind = ROOST_IN_REF,
                                                           .as.ref = ((const roost_ref *)in->as.p)[item] }
                                      : put_arg(cursor, in);
            if (to != NULL) {
                *to++ = arg;
            }
        }
    }
    head.env = put_environment(cursor, draft->env, &head.env_count);
    head.name = put_text(cursor, draft->name);
    head.bytes = (uint32_t)cursor->used;
    if (cursor->base != NULL) {
        memcpy(cursor->base, &head, sizeof head);
    }
}

static int check_draft_ref(roost_ref ref, size_t index)
{
    return !object_id_is_none(object_id_of(ref))
               ? 0
               : error_set(ROOST_EINVAL, "argument %zu: the ref names nothing", index);
}

static bool is_gather(roost_ref ref) { return ref.size == ROOST_COLUMN && ref.offset < ROOST_COLUMNS_MAX; }

static int check_draft_refs(const roost_in *in, size_t index)
{
    const roost_ref *refs = in->as.p;
    if (refs == NULL && in->size > 0) {
        return error_set(ROOST_EINVAL, "argument %zu: %zu refs at NULL", index, in->size);
    }
    for (size_t i = 0; i < in->size && i <= ROOST_ARGS_MAX; i++) { /* more are too many anyway */
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "argument %zu: ref %zu of it names nothing", index, i);
        }
    }
    return 0;
}

/* One argument of a draft; adds to *inline_bytes what it carries itself. */
static int check_draft_arg(const roost_in *in, size_t index, size_t *inline_bytes)
{
    switch (in->kind) {
    case ROOST_IN_INT:
    case ROOST_IN_UINT:
    case ROOST_IN_REAL:
        return 0;
    case ROOST_IN_REF:
    case ROOST_IN_HANDLE:
        return check_draft_ref(in->as.ref, index);
    case ROOST_IN_GATHER:
        return is_gather(in->as.ref)
                   ? check_draft_ref(in->as.ref, index)
                   : error_set(ROOST_EINVAL, "argument %zu: a gather takes a whole list and a column below %d", index,
                               ROOST_COLUMNS_MAX);
    case ROOST_IN_TEXT:
        if (in->as.p == NULL) {
            return error_set(ROOST_EINVAL, "argument %zu: the text is NULL", index);
        }
        *inline_bytes += strlen(in->as.p);
        return 0;
    case ROOST_IN_BYTES:
        if (in->as.p == NULL && in->size > 0) {
            return error_set(ROOST_EINVAL, "argument %zu: %zu bytes at NULL", index, in->size);
        }
        *inline_bytes += in->size > ROOST_INLINE_BYTES_MAX ? ROOST_INLINE_BYTES_MAX + 1 : in->size;
        return 0;
    case ROOST_IN_REFS:
        return check_draft_refs(in, index);
    case ROOST_IN_ACTOR:
        return error_set(ROOST_EINVAL, "argument %zu: this version has no actors", index);
    }
    return error_set(ROOST_EINVAL, "argument %zu: kind %u is unknown", index, (unsigned)in->kind);
}

static int check_draft_args(const struct spec_draft *draft)
{
    size_t count = 0, inline_bytes = 0;
    for (size_t i = 0; i < draft->args_count; i++) {
        const roost_in *in = &draft->args[i];
        int status = check_draft_arg(in, i, &inline_bytes);
        if (status != 0) {
            return status;
        }
        count += args_of(in) > ROOST_ARGS_MAX ? ROOST_ARGS_MAX + 1 : args_of(in);
        if (count > ROOST_ARGS_MAX) {
            return error_set(ROOST_ETOOBIG, "argument %zu brings the call over %d arguments (ROOST_ARGS_MAX)", i,
                             ROOST_ARGS_MAX);
        }
        if (inline_bytes > ROOST_INLINE_BYTES_MAX) {
            return error_set(ROOST_ETOOBIG,
                             "argument %zu brings the call over %d inline bytes (ROOST_INLINE_BYTES_MAX): "
                             "put it into an object and pass its ref",
                             i, ROOST_INLINE_BYTES_MAX);
        }
    }
    return 0;
}

static int check_draft_environment(const char *const *env)
{
    size_t bytes = 0;
    for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
        bytes += strlen(env[i]) + 1;
        if (i == SPEC_ENV_MAX || bytes > ROOST_INLINE_BYTES_MAX) {
            return error_set(ROOST_ETOOBIG, "env: more than %d variables or %d bytes", SPEC_ENV_MAX,
                             ROOST_INLINE_BYTES_MAX);
        }
        if (strchr(env[i], '=') == NULL || env[i][0] == '=') {
            return error_set(ROOST_EINVAL, "env: \"%.64s\" is not NAME=VALUE", env[i]);
        }
    }
    return 0;
}

static int check_draft_name(const char *what, const char *name)
{
    size_t bytes = name == NULL ? 0 : strlen(name);
    return bytes <= ROOST_NAME_BYTES_MAX ? 0
                                         : error_set(ROOST_ETOOBIG, "%s: %zu bytes, at most %d (ROOST_NAME_BYTES_MAX)",
                                                     what, bytes, ROOST_NAME_BYTES_MAX);
}

static int check_draft_options(const struct spec_draft *draft)
{
    if (draft->returns > ROOST_RETURNS_MAX) {
        return error_set(ROOST_ETOOBIG, "returns: %u, at most %d (ROOST_RETURNS_MAX)", draft->returns,
                         ROOST_RETURNS_MAX);
    }
    if (draft->cpus_hundredths == 0 || draft->max_retries < 0 || (draft->flags & ~(uint32_t)SPEC_FLAGS_ALL) != 0) {
        return error_set(ROOST_EINVAL,
                         "%u hundredths of a CPU, %d retries, flags 0x%x: at least 1, at least 0, of 0x%x",
                         draft->cpus_hundredths, draft->max_retries, draft->flags, (unsigned)SPEC_FLAGS_ALL);
    }
    if (draft->function == NULL || draft->function[0] == '\0') {
        return error_set(ROOST_EINVAL, "function: without a name");
    }
    int status = check_draft_name("function", draft->function);
    return status != 0 ? status : check_draft_name("name", draft->name);
}

int spec_measure(const struct spec_draft *draft, size_t *bytes_out)
{
    int status = check_draft_options(draft);
    if (status == 0) {
        status = check_draft_environment(draft->env);
    }
    if (status == 0) {
        status = check_draft_args(draft);
    }
    if (status != 0) {
        return status;
    }
    struct spec_cursor cursor = { NULL, 0 };
    lay_out(draft, &cursor);
    *bytes_out = cursor.used;
    return 0;
}

void spec_write(const struct spec_draft *draft, void *to, size_t bytes)
{
    ROOST_PRE((uintptr_t)to % 8 == 0);
    struct spec_cursor cursor = { to, 0 };
    lay_out(draft, &cursor);
    ROOST_POST(cursor.used == bytes);
    struct spec *spec = to;
    spec->task = spec_task_id(spec);
}

struct task_id spec_task_id(const struct spec *spec)
{
    struct {
        struct task_id parent;
        uint64_t call;
        struct id_key content; /* function and arguments, with their places */
    } identity = { spec->parent, spec->call,
                   hash128((const char *)spec + sizeof *spec, spec->env.offset - sizeof *spec, 0) };
    return task_id_from(hash128(&identity, sizeof identity, 3));
}

/* Takes `size` bytes, a NUL and the padding off the walk; they must lie where the writer would have put them. */
static bool take_bytes(const unsigned char *base, size_t *used, size_t limit, uint64_t offset, uint64_t size)
{
    if (offset != *used || !range_is_inside(offset, size, limit) || limit - offset - size < 1) {
        return false;
    }
    size_t padded = align_up(size + 1, 8);
    if (padded > limit - offset) {
        return false;
    }
    for (size_t i = size; i < padded; i++) {
        if (base[offset + i] != 0) {
            return false;
        }
    }
    *used += padded;
    return true;
}

/* A text without a NUL inside. */
static bool take_text(const unsigned char *base, size_t *used, size_t limit, struct spec_text text)
{
    return take_bytes(base, used, limit, text.offset, text.bytes) && memchr(base + text.offset, 0, text.bytes) == NULL;
}

/* As many "NAME=VALUE" as were counted. */
static bool take_environment(const struct spec *spec, size_t *used)
{
    const char *base = (const char *)spec;
    if (spec->env_count > SPEC_ENV_MAX || spec->env.bytes > ROOST_INLINE_BYTES_MAX ||
        !take_bytes((const unsigned char *)base, used, spec->bytes, spec->env.offset, spec->env.bytes)) {
        return false;
    }
    const char *at = base + spec->env.offset, *end = at + spec->env.bytes; /* a NUL follows: strlen() stays inside */
    uint32_t count = 0;
    for (; at < end; at += strlen(at) + 1, count++) {
        if (at[0] == '=' || strchr(at, '=') == NULL) {
            return false;
        }
    }
    return at == end && count == spec->env_count;
}

/* What is behind the `used` first bytes of an argument's value is zero, so that equal arguments are equal bytes. */
static bool rest_is_zero(const struct spec_arg *arg, size_t used)
{
    static const unsigned char zeros[sizeof arg->as];
    return memcmp((const unsigned char *)&arg->as + used, zeros, sizeof arg->as - used) == 0;
}

static bool take_arg(const struct spec *spec, const struct spec_arg *arg, size_t *used, uint64_t *inline_bytes)
{
    const unsigned char *base = (const unsigned char *)spec;
    bool has_bytes = arg->kind == ROOST_IN_TEXT || arg->kind == ROOST_IN_BYTES;
    if (arg->reserved != 0 || arg->size > (has_bytes ? ROOST_INLINE_BYTES_MAX - *inline_bytes : 0)) {
        return false;
    }
    *inline_bytes += arg->size;
    switch ((enum roost_kind)arg->kind) {
    case ROOST_IN_INT:
    case ROOST_IN_UINT:
    case ROOST_IN_REAL:
        return rest_is_zero(arg, sizeof arg->as.i);
    case ROOST_IN_REF:
    case ROOST_IN_HANDLE:
        return !object_id_is_none(object_id_of(arg->as.ref));
    case ROOST_IN_GATHER:
        return !object_id_is_none(object_id_of(arg->as.ref)) && is_gather(arg->as.ref);
    case ROOST_IN_TEXT:
        return rest_is_zero(arg, sizeof arg->as.offset) && arg->as.offset <= UINT32_MAX &&
               take_text(base, used, spec->bytes, (struct spec_text){ (uint32_t)arg->as.offset, (uint32_t)arg->size });
    case ROOST_IN_BYTES:
        return rest_is_zero(arg, sizeof arg->as.offset) &&
               take_bytes(base, used, spec->bytes, arg->as.offset, arg->size);
    case ROOST_IN_REFS:
    case ROOST_IN_ACTOR:
        return false;
    }
    return false;
}

static const char *what_is_wrong(const struct spec *spec, size_t size)
{
    const unsigned char *base = (const unsigned char *)spec;
    if (size < sizeof *spec || spec->layout != SPEC_LAYOUT || spec->bytes != size || spec->reserved != 0) {
        return "size or layout";
    }
    if (spec->args_count > ROOST_ARGS_MAX || spec->returns > ROOST_RETURNS_MAX ||
        (spec->flags & ~(uint32_t)SPEC_FLAGS_ALL) != 0 || spec->cpus_hundredths == 0 || spec->max_retries < 0) {
        return "a count, a flag or an option";
    }
    if (spec->function.bytes == 0 || spec->function.bytes > ROOST_NAME_BYTES_MAX ||
        spec->name.bytes > ROOST_NAME_BYTES_MAX) {
        return "the length of a name";
    }
    size_t used = sizeof *spec + spec->args_count * sizeof(struct spec_arg);
    uint64_t inline_bytes = 0;
    if (used > size || !take_text(base, &used, size, spec->function)) {
        return "the function";
    }
    for (uint32_t i = 0; i < spec->args_count; i++) {
        if (!take_arg(spec, &spec_args(spec)[i], &used, &inline_bytes)) {
            return "an argument";
        }
    }
    if (!take_environment(spec, &used) || !take_text(base, &used, size, spec->name)) {
        return "the environment or the name";
    }
    if (used != size) {
        return "bytes that nothing names";
    }
    return task_id_eq(spec->task, spec_task_id(spec)) ? NULL : "its id is not the hash of its content";
}

int spec_check(const void *bytes, size_t size)
{
    ROOST_PRE((uintptr_t)bytes % 8 == 0);
    const char *wrong = what_is_wrong(bytes, size);
    return wrong == NULL ? 0 : error_set(ROOST_EINVAL, "task spec of %zu bytes: %s", size, wrong);
}

bool spec_arg_ref(const struct spec_arg *arg, roost_ref *ref_out)
{
    if (arg->kind != ROOST_IN_REF && arg->kind != ROOST_IN_HANDLE && arg->kind != ROOST_IN_GATHER) {
        return false;
    }
    *ref_out = arg->as.ref;
    return true;
}
