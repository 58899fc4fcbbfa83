/* daemon.h - the agent's process: one node's store, workers and clients around the core
 *
 * Thread: main. */
#ifndef ROOST_WORKER_AGENT_DAEMON_H
#define ROOST_WORKER_AGENT_DAEMON_H

#include <roost.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_options {
    const char *folder;       /* of this node, existing, mode 0700: socket, logs, node.json */
    const char *node_name;    /* for people; NULL: the host's name */
    const char *head_address; /* HOST:PORT of a head to join; NULL: a node by itself */
    const char *command;      /* path of `roost`, to start workers with */
    double cpus;              /* 0: the machine's */
    uint64_t store_bytes;     /* 0: from memory */
    uint64_t memory_bytes;    /* for tasks; 0: what is left beside the store */
    int ready_fd;       /* a line "SOCKET\n" is written here once clients can connect, then it is closed; ROOST_NONE */
    int lifeline_fd;    /* the agent ends when the other end of this pipe closes; ROOST_NONE */
    int parent_fd;      /* a pidfd: the agent ends with that process; ROOST_NONE */
    const char *record; /* a file for every event of the core, for playing it back (record.h); NULL: none */
    bool populate;      /* fill the store's memory in the background */
};

/* Runs until a signal, the lifeline or a stop message; ends its workers and leaves nothing behind.
 * 0, or why it could not start, with a text. */
int agent_run(const struct agent_options *options);

#endif
