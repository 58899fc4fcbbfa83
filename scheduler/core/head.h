/* head.h - the head's core: who is in the cluster, where objects are, where tasks go, decided without touching the
 * world
 *
 * Events and commands are core.h's. What the head adds to them:
 *
 *   CORE_SESSION_UP    u.session.hello is the peer's. resumed: the peer is who it was. Otherwise the peer is
 *                      {0, handle}: `handle` is the host's name for the session, not 0, not used again while it is open
 *   CORE_SEND          of PROTO_WELCOME to {0, handle} gives an agent its name: from there on the host calls this session
 *                      {number, incarnation}, and so do the commands behind it in the same arena. A command's session
 *                      (PROTO_ROLE_COMMAND) stays {0, handle}
 *   CORE_SEND          token: the peer's mark (below)
 *   CORE_MESSAGE       of an agent after its WELCOME. body NULL: a sign of life that only says what was seen. The host
 *                      passes one on for every batch or empty frame, as the silence of an agent is judged by them
 *   CORE_SESSION_LOST  of an agent: its life goes on, it may come back and list; silence decides
 *   CORE_CLOSE         the session of this peer is to be closed
 *   CORE_ARM, CORE_TICK  token: enum head_timer
 *   CORE_COMMIT        body: struct head_fact, to be made durable before the commands behind it are run
 *
 * Marks. The core does not know in which batch its messages will ride, so it numbers what later answers are compared
 * with (mentions, rule 2; notices of death, rule 4): each SEND carries the mark of its peer in `token`, which never
 * goes down while a session lasts. A batch has the mark of its last message, and u.message.seen is the mark of the last
 * batch that the peer had applied when it began its own; 0 while there was none in this session.
 *
 * SUBMIT. The head then holds the arguments until the task is placed, and the sender holds each return, as if it had
 * sent HOLD, unless the spec says SPEC_UNHELD. A hold on what is pending is answered with FOUND when that has ended.
 * Over its budget of specs the head answers HANDBACK with PROTO_HANDBACK_ROOM: the spec waits at its home, the
 * arguments stay held; HANDBACK with PROTO_HANDBACK_AGAIN asks for the same SUBMIT once more.
 *
 * Early. A TASK whose args are not all sealed is placed early: its node pulls what exists and starts when FOUND has
 * told of the rest.
 *
 * Thread: the head's loop. */
#ifndef ROOST_SCHEDULER_CORE_HEAD_H
#define ROOST_SCHEDULER_CORE_HEAD_H

#include "common/core.h"
#include "common/limits.h"
#include "proto/message.h"

enum head_timer { HEAD_TIMER_TURN = 1, HEAD_TIMER_SILENCE, HEAD_TIMER_CYCLES };

/* What the ledger keeps of a node: whom to wait for after a restart, and what all the others have been told of it. */
struct head_fact {
    struct proto_node node; /* its texts are borrowed; NULL: it was never heard */
    uint64_t news;          /* number of this change among those of all nodes */
};
static inline bool head_fact_is_dead(const struct head_fact *fact) { return fact->node.state == PROTO_NODE_DEAD; }

/* The rules of lifetime.md that the head keeps. Switched off by the simulator's mutation tests and by nobody else;
 * rules 3 and 7 are kept by agents. */
enum head_rule {
    HEAD_RULE_ORDER = 1 << 1,   /* a SUBMIT holds its arguments */
    HEAD_RULE_MENTION = 1 << 2, /* a DROP that has not seen the last mention is void */
    HEAD_RULE_SWEEP = 1 << 4,   /* nothing is freed before every living agent has echoed DEAD */
    HEAD_RULE_CENSUS = 1 << 5,  /* nothing is freed or lost before every member has listed */
    HEAD_RULE_FREE = 1 << 6     /* a living container holds what it contains */
};

struct head_config {
    struct cluster_id cluster;
    uint64_t epoch;                /* of this life of the head: committed by the host, above all earlier ones */
    uint64_t suspect_ns, dead_ns;  /* 0: NODE_SUSPECT_MS, NODE_DEAD_MS */
    uint64_t spec_bytes_max;       /* 0: HEAD_SPEC_BYTES_MAX */
    bool is_fixed;                 /* no node bigger than the present ones will ever join */
    uint32_t rules_off;            /* of enum head_rule */
    const struct head_fact *facts; /* of earlier lives, each number once; borrowed for head_create() */
    size_t facts_count;
};

struct head;

/* ROOST_ENOMEM, ROOST_EINVAL (facts that contradict each other). */
int head_create(struct head **head_out, const struct head_config *config);
void head_destroy(struct head *head);

extern const struct core_vtable head_core;

struct head_counts {
    uint64_t members, suspects, deaths; /* deaths: ever */
    uint64_t objects, object_bytes;     /* object_bytes: of the directory, index and all, without what is optional */
    uint64_t tasks, tasks_waiting, tasks_queued, tasks_early, tasks_placed, tasks_refused, tasks_done;
    uint64_t jobs, spec_bytes;
    uint64_t completed, failed, retries;                            /* ever */
    uint64_t stale, void_drops, gone, refused_copies, bad_messages; /* ever */
    uint64_t echoes_missing, lists_missing;                         /* what holds frees back */
    uint64_t frees, sent;                                           /* ever: objects freed, messages sent */
    uint64_t walks;                                                 /* ever: over the whole directory */
};
struct head_counts head_counts(const struct head *head);

#endif
