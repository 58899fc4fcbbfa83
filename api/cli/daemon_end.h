/* daemon_end.h - ending daemons: asked first, killed when they do not answer */
#ifndef ROOST_API_CLI_DAEMON_END_H
#define ROOST_API_CLI_DAEMON_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DAEMON_KILL_MS = 5000 }; /* after SIGKILL: the kernel frees a big store first */

struct daemon_end {
    int pidfd; /* borrowed; -1: there is none */
    char what[128];
    bool has_ended, was_killed; /* out */
};

/* SIGTERM to all, then wait for their ends; SIGKILL to those that remain after `patience_ms`. Shows what it waits for.
 * True when all have ended. Children of the caller are still to be reaped. */
bool daemons_end(struct daemon_end *all, size_t count, uint64_t patience_ms);

#endif
