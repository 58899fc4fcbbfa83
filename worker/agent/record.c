#include "worker/agent/record.h"
#include "common/error.h"
#include "worker/agent/core/agent.h"

static int create(const void *config, void **core_out)
{
    struct agent *agent;
    int status = agent_create(&agent, config);
    if (status == 0) {
        *core_out = agent;
    }
    return status;
}

static void destroy(void *core) { agent_destroy(core); }

/* Only a submit leads to more: its spec. */
static size_t entry_parts(const struct wire_entry *entry, const void **more_out, size_t *more_bytes_out)
{
    const struct spec *spec = entry->kind == AGENT_SUBMIT ? ((const struct agent_submit *)entry)->spec : NULL;
    *more_out = spec;
    *more_bytes_out = spec == NULL ? 0 : spec->bytes;
    return entry->bytes;
}

static int entry_fix(struct wire_entry *entry, size_t bytes, const void *more, size_t more_bytes)
{
    if (bytes < sizeof *entry || entry->kind != AGENT_SUBMIT) {
        return wire_check(entry, bytes);
    }
    if (bytes != sizeof(struct agent_submit)) {
        return error_set(ROOST_EINVAL, "a submit of %zu bytes", bytes);
    }
    ((struct agent_submit *)entry)->spec = more;
    return spec_check(more, more_bytes);
}

const struct record_core agent_record = { .name = "agent",
                                          .vtable = &agent_core,
                                          .config_bytes = sizeof(struct agent_config),
                                          .create = create,
                                          .destroy = destroy,
                                          .entry_parts = entry_parts,
                                          .entry_fix = entry_fix };
