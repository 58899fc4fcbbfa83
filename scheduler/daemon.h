/* daemon.h - the head's process: the scheduling core, its sessions and its record
 *
 * Thread: main. */
#ifndef ROOST_SCHEDULER_DAEMON_H
#define ROOST_SCHEDULER_DAEMON_H

#include <roost.h>
#include <stdint.h>

struct head_options {
    const char *listen; /* HOST:PORT; NULL: 127.0.0.1:0. Port 0 takes a free one */
    const char *folder; /* existing; head.json is written there: address, cluster, pid. NULL: none */
    const char *record; /* a file for every event of the core, for playing it back (record.h); NULL: none */
    int ready_fd;    /* a line "HOST:PORT\n" is written here once agents can connect, then it is closed; ROOST_NONE */
    int lifeline_fd; /* the head ends when the other end of this pipe closes; ROOST_NONE */
    unsigned suspect_ms, dead_ms; /* of silence; 0: NODE_SUSPECT_MS, NODE_DEAD_MS */
    unsigned stop_ms;             /* how long it waits for the agents at the end; 0: HEAD_STOP_MS */
};

/* Runs until SIGTERM, SIGINT, the lifeline or a STOP of the cluster; passes STOP to the agents, waits for them a
 * moment and leaves nothing behind but the record. 0, or why it could not start, with a text. */
int head_run(const struct head_options *options);

#endif
