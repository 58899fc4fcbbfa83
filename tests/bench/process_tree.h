/* process_tree.h - what a process and all that it started use, from /proc
 *
 * A look at one moment: processes that come or go meanwhile are counted or not. */
#ifndef ROOST_TESTS_BENCH_PROCESS_TREE_H
#define ROOST_TESTS_BENCH_PROCESS_TREE_H

#include <stdint.h>
#include <sys/types.h>

struct process_use {
    uint32_t processes, threads, listeners; /* listeners: TCP sockets, of any address */
    uint32_t listeners_beyond_loopback;
    double private_bytes, shared_bytes; /* shares (PSS): of ordinary memory and files; of shared memory */
    double cpu_seconds;                 /* also of what has ended and was waited for */
};

/* Of `root` and its descendants; of those whose command is one of `skip` (NULL-ended) only what they have started. */
void process_tree_use(pid_t root, const char *const *skip, struct process_use *use_out);
/* Adds the memory of one process. */
void process_add_memory(pid_t pid, struct process_use *use);

#endif
