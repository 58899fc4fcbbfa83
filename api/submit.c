/* submit.c - a call: from the user's words to a spec
 *
 * Happy path of roost_submit: the function's name by its address -> the options become a draft -> the world behind the
 * connection numbers the call, writes the spec and publishes it (agent_world.c), or runs it (inline.c). Everything that
 * can be wrong with the words is said here, before anything has happened.
 * Failures:   ROOST_ENOFUNC, ROOST_EINVAL with the option's name, ROOST_ETOOBIG; nothing is submitted then.
 * Thread:     any; waits only when too much is queued. */
#include "api/client.h"
#include "api/register.h"

enum { MAX_RETRIES_DEFAULT = 3, CPUS_MAX = 1 << 20 };

/* What this version cannot do is refused, not ignored. */
static int refuse_later_options(const struct roost_task_options *options)
{
    const struct {
        bool is_set;
        const char *name;
    } later[] = {
        { options->timeout_ms != 0, "timeout_ms" },
        { options->priority != 0, "priority" },
        { options->resources != NULL, "resources" },
        { options->labels != NULL, "labels" },
        { (options->group.id.hi | options->group.id.lo) != 0, "group" },
        { options->bundle != 0, "bundle" },
        { options->stream_window != 0, "stream_window" },
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(later); i++) {
        if (later[i].is_set) {
            return error_set(ROOST_EINVAL, "option %s: not in this version", later[i].name);
        }
    }
    return 0;
}

/* Below one in hundredths, above in whole numbers. No libm: a program that links libroost need not link it. */
static int take_cpus(double cpus, uint32_t *hundredths_out)
{
    if (cpus == 0 || cpus == ROOST_NONE) {
        *hundredths_out = cpus == 0 ? 100 : 1;
        return 0;
    }
    bool is_possible = cpus > 0 && cpus <= CPUS_MAX;
    uint32_t hundredths = is_possible ? (uint32_t)(cpus * 100 + 0.5) : 0;
    double off = cpus * 100 - hundredths;
    if (hundredths == 0 || off > 1e-6 || off < -1e-6 || (hundredths > 100 && hundredths % 100 != 0)) {
        return error_set(ROOST_EINVAL, "option cpus: %g; below one in hundredths, above in whole numbers", cpus);
    }
    *hundredths_out = hundredths;
    return 0;
}

static int take_options(const struct roost_task_options *options, struct spec_draft *draft)
{
    int status = refuse_later_options(options);
    if (status == 0) {
        status = take_cpus(options->cpus, &draft->cpus_hundredths);
    }
    if (status != 0) {
        return status;
    }
    if (options->max_retries < ROOST_NONE) {
        return error_set(ROOST_EINVAL, "option max_retries: %d", options->max_retries);
    }
    struct node_id node = { options->node.id.hi, options->node.id.lo };
    if (options->node_only && node_id_is_none(node)) {
        return error_set(ROOST_EINVAL, "option node_only: without a node");
    }
    draft->max_retries = options->max_retries == ROOST_NONE      ? 0
                         : options->max_retries == ROOST_FOREVER ? INT32_MAX
                         : options->max_retries == 0             ? MAX_RETRIES_DEFAULT
                                                                 : options->max_retries;
    draft->returns = options->returns == (uint32_t)ROOST_NONE ? 0 : options->returns == 0 ? 1 : options->returns;
    draft->name = options->name;
    draft->env = options->env;
    draft->node = node;
    draft->memory_bytes = options->memory_bytes;
    draft->flags |= (options->retry_on_failure ? (uint32_t)SPEC_RETRY_ON_FAILURE : 0u) |
                    (options->node_only ? (uint32_t)SPEC_NODE_ONLY : 0u) |
                    (options->spread ? (uint32_t)SPEC_SPREAD : 0u);
    return 0;
}

/* The caller's struct may be of an older header: shorter than ours. */
static int read_options(const struct roost_task_options *given, struct roost_task_options *options_out)
{
    *options_out = (struct roost_task_options){ .size = sizeof *options_out };
    if (given == NULL) {
        return 0;
    }
    if (given->size < sizeof given->size || given->size > sizeof *given) {
        return error_set(ROOST_EINVAL, "options: size is %zu, wanted at most %zu; begin with ROOST_TASK_OPTIONS()",
                         given->size, sizeof *given);
    }
    memcpy(options_out, given, given->size);
    return 0;
}

static int check_refs(const roost_in *args, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool is_ref = args[i].kind == ROOST_IN_REF || args[i].kind == ROOST_IN_HANDLE ||
                      args[i].kind == ROOST_IN_GATHER;
        if (is_ref && object_id_is_none(object_id_of(args[i].as.ref))) {
            return error_set(ROOST_EINVAL, "argument %zu: the ref names nothing", i);
        }
        if (args[i].kind == ROOST_IN_GATHER &&
            (args[i].as.ref.size != ROOST_COLUMN || args[i].as.ref.offset >= ROOST_COLUMNS_MAX)) {
            return error_set(ROOST_EINVAL, "argument %zu: a gather takes a whole list and a column below %d", i,
                             ROOST_COLUMNS_MAX);
        }
        for (size_t j = 0; args[i].kind == ROOST_IN_REFS && args[i].as.p != NULL && j < args[i].size; j++) {
            if (object_id_is_none(object_id_of(((const roost_ref *)args[i].as.p)[j]))) {
                return error_set(ROOST_EINVAL, "argument %zu: ref %zu of it names nothing", i, j);
            }
        }
    }
    return 0;
}

static int submit(struct roost *rt, roost_fn *function, const struct roost_task_options *given, roost_ref *refs_out,
                  const roost_in *args, size_t count)
{
    struct roost_task_options options;
    const struct roost_function_ *record;
    struct spec_draft draft = { .args = args,
                                .args_count = count,
                                .flags = refs_out == NULL ? (uint32_t)SPEC_UNHELD : 0u };
    ROOST_TRY(register_find_function(rt->book, function, &record));
    if (record->kind != ROOST_KIND_TASK_) {
        return error_set(ROOST_EINVAL, "%s is not a task", record->name);
    }
    draft.function = record->name;
    ROOST_TRY(read_options(given, &options));
    ROOST_TRY(take_options(&options, &draft));
    ROOST_TRY(check_refs(args, count));
    return rt->world->submit(rt, client_scope(rt), &draft, refs_out);
}

int roost_submit(struct roost *rt, roost_fn *function, const struct roost_task_options *options, roost_ref *refs_out,
                 const roost_in *args, size_t count)
{
    int status = client_check(rt, "roost_submit");
    if (status != 0) {
        return status;
    }
    if (function == NULL || (args == NULL && count > 0)) {
        return error_set(ROOST_EINVAL, "roost_submit: %s is NULL", function == NULL ? "function" : "args");
    }
    if (count > ROOST_ARGS_MAX) {
        return error_set(ROOST_ETOOBIG, "roost_submit: %zu arguments, at most %d (ROOST_ARGS_MAX)", count,
                         ROOST_ARGS_MAX);
    }
    status = submit(rt, function, options, refs_out, args, count);
    return status;
}
