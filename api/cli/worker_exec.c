/* worker_exec.c - `roost worker-exec AGENT_PID PREFIX PROGRAM ARGUMENTS...`: becomes a worker that cannot outlive its
 * agent
 *
 * The kernel kills the process when its parent dies; then a look whether the parent died before that was asked for;
 * then the program, or the command that is to run it (PREFIX, split at blanks: "valgrind -q"). ARGUMENTS begin with the
 * program's own argv[0].
 *
 * Failures: a message on stderr and status 126 or 127, as a shell does; the agent shows them as the worker's last
 * words.
 */
#include "api/cli/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WORKER_EXEC_PREFIX_WORDS = 64 };

/* The words of the prefix in front of the program and its arguments but the first. */
static char **with_prefix(char *prefix, char *program, char **args)
{
    size_t count = 0, words = 0;
    while (args[count] != NULL) {
        count++;
    }
    char **argv = calloc(WORKER_EXEC_PREFIX_WORDS + count + 2, sizeof *argv);
    if (argv == NULL) {
        return NULL;
    }
    char *rest;
    for (char *word = strtok_r(prefix, " ", &rest); word != NULL && words < WORKER_EXEC_PREFIX_WORDS;
         word = strtok_r(NULL, " ", &rest)) {
        argv[words++] = word;
    }
    argv[words++] = program;
    for (size_t i = 1; i < count; i++) {
        argv[words++] = args[i];
    }
    return argv;
}

int command_worker_exec(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "roost worker-exec: for agents only\n");
        return EXIT_USAGE;
    }
    char *prefix = argv[2], *program = argv[3], **args = argv + 4;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != (pid_t)strtol(argv[1], NULL, 10)) {
        return EXIT_FAILED; /* the agent is gone, and nobody reads this */
    }
    if (prefix[strspn(prefix, " ")] == '\0') {
        execv(program, args);
    } else {
        char **prefixed = with_prefix(prefix, program, args);
        if (prefixed != NULL) {
            program = prefixed[0];
            execvp(program, prefixed);
        }
    }
    fprintf(stderr, "%s: %s\n", program, strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
