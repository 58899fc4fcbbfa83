/* agent_process.h - a real `roost agent` in a folder of its own, for tests
 *
 * The agent ends with the test, however that ends: it holds a lifeline. Waits have deadlines; a failed expectation
 * fails the test. */
#ifndef ROOST_TESTS_LIB_AGENT_PROCESS_H
#define ROOST_TESTS_LIB_AGENT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { AGENT_PROCESS_MS = 60000, AGENT_PROCESS_CHILDREN_MAX = 256 };

struct agent_process {
    char root[80], folder[96], socket[112]; /* folder is all that is in root; socket is in folder */
    pid_t pid;
    int lifeline;
};

/* A new folder, no agent in it. */
void agent_folder_make(struct agent_process *agent);
/* Starts one there: true when clients can connect, false when it ended instead, which it did with `*status_out`. */
bool agent_start(struct agent_process *agent, const char *cpus, const char *store_bytes, int *status_out);
/* Sends the signal, waits for the end, returns the wait status. */
int agent_signal(struct agent_process *agent, int signal_number);
/* Fails the test unless nothing is left in the folder; removes it. */
void agent_folder_check(struct agent_process *agent);

/* The processes with `variable`, a whole "NAME=VALUE", in their environment. Returns how many. */
size_t processes_with(const char *variable, pid_t pids_out[AGENT_PROCESS_CHILDREN_MAX]);
/* Has the process ended, within `timeout_ms`? */
bool process_has_ended(pid_t pid, int timeout_ms);
uint64_t now_ms(void);
_Noreturn void test_fails(const char *why);
/* Between two looks at something that tells nobody when it changes. */
void a_moment(void);

#endif
