/* node_options.h - what agent, start, local and cluster-of-one are all told about a node */
#ifndef ROOST_API_CLI_NODE_OPTIONS_H
#define ROOST_API_CLI_NODE_OPTIONS_H

#include "common/bytes.h"

#define NODE_CPUS_MAX        6553600 /* hundredths */
#define NODE_STORE_BYTES_MIN ROOST_MIB(1)
#define NODE_STORE_BYTES_MAX (UINT64_C(1) << 46)
#define WAIT_MS_DEFAULT      30000
#define WAIT_MS_MAX          86400000

#define OPT_CPUS(to_, help_)        OPT_HUNDREDTHS("cpus", "C", 1, NODE_CPUS_MAX, (to_), (help_))
#define OPT_STORE_BYTES(to_, help_) OPT_BYTES("store-bytes", NODE_STORE_BYTES_MIN, NODE_STORE_BYTES_MAX, (to_), (help_))
#define OPT_TIMEOUT(to_, help_)     OPT_SECONDS("timeout", 1, WAIT_MS_MAX, (to_), (help_))

#endif
