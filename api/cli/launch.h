/* launch.h - daemons that a command starts, until they are ready
 *
 * A daemon is this same program, `roost ROLE --folder FOLDER ...`, in a session of its own, with its output in
 * FOLDER/ROLE.log. It says on fd 3 that it is ready, and, when it has a lifeline, ends with the other end of fd 4.
 * Thread: main, and it must be the only one: children are forked. */
#ifndef ROOST_API_CLI_LAUNCH_H
#define ROOST_API_CLI_LAUNCH_H

#include "api/cli/folder.h"

#include <stdbool.h>
#include <sys/types.h>

enum { LAUNCH_READY_FD = 3, LAUNCH_LIFE_FD = 4, LAUNCH_ARGS_MAX = 24, LAUNCH_WORD_BYTES = 320 };

struct launch {
    struct folder folder; /* the daemon's; made by the caller */
    char role[MARK_ROLE_BYTES];
    pid_t pid;    /* 0: not started, or reaped */
    int pidfd;    /* -1 likewise */
    int ready_fd; /* -1 once it is ready or has ended */
    int life_fd;  /* -1: it has no lifeline */
    bool is_ready;
    size_t ready_bytes;
    char ready_line[FOLDER_ADDRESS_BYTES]; /* what it said: a socket's path, an address */
    char args_text[LAUNCH_ARGS_MAX][LAUNCH_WORD_BYTES];
    size_t args_count;
};

/* An empty one, for a folder that the caller has made. */
void launch_init(struct launch *launch, const char *role, const struct folder *folder);

/* One more argument, such as "--cpus", "2.50". They are few and our own: too many or too long is a broken contract. */
void launch_arg(struct launch *launch, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Start it. With `has_lifeline` it ends when this process does, whatever happens to this process; without, it goes on.
 * ROOST_EIO, ROOST_ELIMIT: there is no daemon. */
int launch_start(struct launch *launch, bool has_lifeline);

/* Wait until all are ready; a `stop_fd` (or -1) that becomes readable ends the wait. Shows what it waits for.
 *
 * Errors: ROOST_ESTATE     one has ended; the text has its last line, which says why
 *         ROOST_ETIMEDOUT  not ready within `timeout_ms`
 *         ROOST_ECANCELED  stop_fd
 * All stay as they are. */
int launch_wait(struct launch *all, size_t count, uint64_t timeout_ms, int stop_fd);

/* End those that still run, all at once (by SIGTERM, after `patience_ms` by SIGKILL), reap them, and remove their
 * folders. Nothing is left afterwards, so it is fine to call it for what was never started. */
void launch_end(struct launch *all, size_t count, uint64_t patience_ms);

/* Let go of a daemon that is to outlive this process. */
void launch_release(struct launch *launch);

/* The path of this program; aborts the command when there is no /proc. */
const char *launch_self(void);

#endif
