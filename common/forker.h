/* forker.h - what an agent and a forker say to each other
 *
 * A forker is a job's program, started as a worker is, with $ROOST_WORKER set to FORKER_TOKEN and a socket to the agent
 * (messages of common/unix_client.h) as its descriptor FORKER_FD. Inside roost_open() it looks whether a fork of it is
 * as good as a start, says so, and makes a child for each request. The child's parent is the agent, which learns its
 * pid from a shared page: the kernel writes it there before the child runs, so no child is ever unknown to the agent,
 * whoever dies.
 *
 *   agent   BEGIN, with the page's descriptor, at once
 *   forker  SAFE, or UNSAFE with the reason, and then it ends
 *   agent   MAKE, with the child's stdout and stderr; a slot of the page carries one request at a time
 *   forker  MADE, or UNSAFE when it could not, and then it ends */
#ifndef ROOST_COMMON_FORKER_H
#define ROOST_COMMON_FORKER_H

#include "common/limits.h"

#include <stdatomic.h>
#include <stdint.h>

#define FORKER_TOKEN     "forker"
#define FORKER_PAGE_NAME "roost-forker" /* of its memfd */

enum { FORKER_FD = 3, FORKER_LAYOUT = 1, FORKER_PATH_BYTES = 256, FORKER_WHY_BYTES = 256, FORKER_MAKE_FDS = 2 };

enum forker_kind { FORKER_BEGIN = 1, FORKER_MAKE, FORKER_SAFE, FORKER_UNSAFE, FORKER_MADE };

struct forker_page {
    _Atomic int32_t pids[FORKER_SLOTS]; /* of the child that a slot's request made; 0: none yet */
};

struct forker_request { /* agent to forker */
    uint32_t kind, layout;
    uint32_t slot, reserved;
    uint64_t token;                 /* of the worker to be; MAKE */
    char folder[FORKER_PATH_BYTES]; /* its working directory; of BEGIN, the forker's own */
};

struct forker_answer { /* forker to agent */
    uint32_t kind, slot;
    char why[FORKER_WHY_BYTES];
};

#endif
