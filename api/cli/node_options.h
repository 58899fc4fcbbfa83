/* node_options.h - what agent, start, local and cluster-of-one are all told about a node, and head and start about the
 * silence of nodes */
#ifndef ROOST_API_CLI_NODE_OPTIONS_H
#define ROOST_API_CLI_NODE_OPTIONS_H

#include "common/bytes.h"
#include "common/error.h"
#include "common/limits.h"

#include <inttypes.h>

#define NODE_CPUS_MAX        6553600 /* hundredths */
#define NODE_STORE_BYTES_MIN ROOST_MIB(1)
#define NODE_STORE_BYTES_MAX (UINT64_C(1) << 46)
#define WAIT_MS_DEFAULT      30000
#define WAIT_MS_MAX          86400000

#define OPT_CPUS(to_, help_)        OPT_HUNDREDTHS("cpus", "C", 1, NODE_CPUS_MAX, (to_), (help_))
#define OPT_STORE_BYTES(to_, help_) OPT_BYTES("store-bytes", NODE_STORE_BYTES_MIN, NODE_STORE_BYTES_MAX, (to_), (help_))
/* Two signs of life must fit. */
#define OPT_SUSPECT(to_)                                               \
    OPT_SECONDS("suspect", 2 * HEARTBEAT_MS, WAIT_MS_MAX, (to_),       \
                "a node that is silent for so long gets nothing new\n" \
                "(default: 2)")
#define OPT_DEAD(to_)                                                        \
    OPT_SECONDS("dead", 2 * HEARTBEAT_MS, WAIT_MS_MAX, (to_),                \
                "a node that is silent for so long is dead, and its tasks\n" \
                "are tried elsewhere; longer than --suspect (default: 5)")
/* 0: the default. */
static inline int silence_check(uint64_t suspect_ms, uint64_t dead_ms)
{
    suspect_ms = suspect_ms == 0 ? NODE_SUSPECT_MS : suspect_ms;
    dead_ms = dead_ms == 0 ? NODE_DEAD_MS : dead_ms;
    return dead_ms > suspect_ms
               ? 0
               : error_set(ROOST_EINVAL,
                           "--dead is %" PRIu64 " ms, wanted more than --suspect, which is %" PRIu64 " ms", dead_ms,
                           suspect_ms);
}

#define OPT_TIMEOUT(to_, help_) OPT_SECONDS("timeout", 1, WAIT_MS_MAX, (to_), (help_))

#endif
