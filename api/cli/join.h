/* join.h - waiting until the head knows nodes */
#ifndef ROOST_API_CLI_JOIN_H
#define ROOST_API_CLI_JOIN_H

#include <stdint.h>

/* Wait until `count` living nodes that match `filter` (as in a query, "" for all) are in the cluster. A `stop_fd` (or
 * -1) that becomes readable ends the wait. Shows what it waits for.
 *
 * Errors: ROOST_ECONNECT   nobody listens at the address
 *         ROOST_ETIMEDOUT  not there within `timeout_ms`
 *         ROOST_ECANCELED  stop_fd
 *         what the head refused with
 * Forks, so it must be the only thread. */
int join_wait(const char *address, const char *filter, uint64_t count, uint64_t timeout_ms, int stop_fd);

#endif
