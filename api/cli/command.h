/* command.h - the subcommands of `roost`
 *
 * Exit codes: 0, 1 failed, 2 usage, 3 no cluster. Each command parses its own arguments with options.h and prints its
 * own help; main.c knows only the table. */
#ifndef ROOST_API_CLI_COMMAND_H
#define ROOST_API_CLI_COMMAND_H

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_CLUSTER = 3 };

struct command {
    const char *name;
    const char *arguments;             /* as in the usage line */
    const char *summary;               /* one line; NULL: internal, not in the help */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct command commands[]; /* ends with a NULL name */

int command_agent(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_cluster_of_one(int argc, char **argv);
int command_head(int argc, char **argv);
int command_worker_exec(int argc, char **argv);

#endif
