/* nodes.h - tests in a driver of a cluster of several nodes, which in_cluster.sh --nodes has started
 *
 * As cluster.h; the driver is node-1's. */
#ifndef ROOST_TESTS_INTEGRATION_NODES_H
#define ROOST_TESTS_INTEGRATION_NODES_H

#include "tests/integration/cluster/cluster.h"

enum { NODES_MAX_HERE = 8 };

/* Every member of the cluster by the number of its name: nodes_of(2) is node-2. The first call waits until all
 * `ROOST_TEST_PIDS` names are there. */
roost_node nodes_of(int number);

/* What the driver's agent knows of it now. */
struct roost_node_info nodes_info(int number);

/* Options for a task that runs on node `number` and nowhere else. */
struct roost_task_options nodes_only(int number);

uint64_t nodes_now_ms(void);

/* Between two looks at something that tells nobody when it changes. */
void nodes_moment(void);

/* Runs `roost WORDS`, a command of the shell's; what it prints, at most so much, into `out`. Fails with it. */
void nodes_roost(const char *words, char *out, size_t bytes);

#endif
