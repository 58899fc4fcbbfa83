/* forker.h - a worker that is forked instead of started
 *
 * Thread: the one that called roost_open(), which is the only one there is. */
#ifndef ROOST_WORKER_RUNTIME_FORKER_H
#define ROOST_WORKER_RUNTIME_FORKER_H

#include <stddef.h>
#include <stdint.h>

/* Be the job's forker. Returns in its children alone, with the token of the worker that the child is; the forker itself
 * ends when it is not safe to fork, or with its agent. */
uint64_t forker_serve(void);

/* Is a fork of this process, taken now, as good as another start of its program? NULL, or the first reason why not;
 * static memory. `folder` is the working directory that it was started in; the socket at FORKER_FD is the agent's. */
const char *fork_check(const char *folder);

#endif
