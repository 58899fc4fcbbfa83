/* command.h - the subcommands of `roost`
 *
 * Exit codes: 0, 1 failed, 2 usage, 3 no cluster. Each command reads its own arguments with options.h and prints its
 * own help; main.c knows only the table. */
#ifndef ROOST_API_CLI_COMMAND_H
#define ROOST_API_CLI_COMMAND_H

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_CLUSTER = 3 };

enum command_group {
    GROUP_CLUSTER = 1, /* begin and end one */
    GROUP_LOOK,        /* see what it does */
    GROUP_DAEMON,      /* one daemon, in the foreground */
    GROUP_INTERNAL     /* for our own programs; not in the help */
};

struct command {
    const char *name;
    enum command_group group;
    const char *summary;               /* one line */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; the result is the exit code */
};

int command_agent(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_cluster_of_one(int argc, char **argv);
int command_head(int argc, char **argv);
int command_local(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_start(int argc, char **argv);
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_why(int argc, char **argv);
int command_worker_exec(int argc, char **argv);

struct record_core;
/* Plays a daemon's recorded events (proto/io/record.h) and prints the hash of the state at their end; the exit code. */
int command_play(const char *command, const char *path, const struct record_core *core);

/* Says on stderr, after "roost COMMAND: ", the text of the last error. EXIT_NO_CLUSTER when `status` is that there is
 * none, else EXIT_FAILED. */
int command_failed(const char *command, int status);

#endif
