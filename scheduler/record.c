#include "scheduler/record.h"
#include "scheduler/core/head.h"

struct start {
    uint64_t cluster_hi, cluster_lo, epoch, suspect_ns, dead_ns;
};

static int create(const void *config, void **core_out)
{
    const struct start *start = config;
    struct head_config from = { .cluster = { start->cluster_hi, start->cluster_lo },
                                .epoch = start->epoch,
                                .suspect_ns = start->suspect_ns,
                                .dead_ns = start->dead_ns };
    struct head *head;
    int status = head_create(&head, &from);
    if (status == 0) {
        *core_out = head;
    }
    return status;
}

static void destroy(void *core) { head_destroy(core); }

const struct record_core head_record = {
    .name = "head", .vtable = &head_core, .config_bytes = sizeof(struct start), .create = create, .destroy = destroy
};

int head_record_open(struct record **record_out, const char *path, const struct head_config *config)
{
    const struct start start = { config->cluster.hi, config->cluster.lo, config->epoch, config->suspect_ns,
                                 config->dead_ns };
    return record_open(record_out, path, &head_record, &start);
}
