/* main.c - the `roost` command: finds the subcommand and runs it */
#include "api/cli/command.h"
#include "api/cli/options.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/io/nng_threads.h"

#include <roost.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
    { "start", GROUP_CLUSTER, "start a cluster on this machine, or let this machine join one", command_start },
    { "stop", GROUP_CLUSTER, "end what `roost start` started", command_stop },
    { "local", GROUP_CLUSTER, "run a command with a cluster of its own around it", command_local },
    { "status", GROUP_LOOK, "nodes, stores, tasks and what is lacking, on one screen", command_status },
    { "ls", GROUP_LOOK, "list nodes, workers, tasks, objects or jobs", command_ls },
    { "why", GROUP_LOOK, "why a task waits, who holds an object", command_why },
    { "logs", GROUP_LOOK, "what the daemons of this machine say", command_logs },
    { "bench", GROUP_LOOK, "measure this machine and Roost on it", command_bench },
    { "head", GROUP_DAEMON, "run a head in the foreground", command_head },
    { "agent", GROUP_DAEMON, "run one node's agent in the foreground", command_agent },
    { "cluster-of-one", GROUP_INTERNAL, NULL, command_cluster_of_one },
    { "worker-exec", GROUP_INTERNAL, NULL, command_worker_exec },
};

static void print_group(FILE *to, enum command_group group, const char *title)
{
    fprintf(to, "\n%s\n", title);
    for (size_t i = 0; i < ROOST_COUNT_OF(commands); i++) {
        if (commands[i].group == group) {
            fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
        }
    }
}

static void print_help(FILE *to)
{
    fprintf(to, "roost %s: run functions where their data is\n\nusage: roost COMMAND [ARGUMENTS]\n", roost_version());
    print_group(to, GROUP_CLUSTER, "Begin and end a cluster:");
    print_group(to, GROUP_LOOK, "See what it does:");
    print_group(to, GROUP_DAEMON, "One daemon, in the foreground, for service managers and containers:");
    fputs("\nA program needs no cluster to begin with: without an address roost_open() starts one of its own.\n"
          "\n"
          "  roost local --nodes 3 -- ./program        a cluster of three nodes for one run\n"
          "  eval \"$(roost start --head)\"; ./program   a cluster that stays\n"
          "\n"
          "ROOST_ADDRESS   HOST:PORT of the head that commands and programs mean when they are not told\n"
          "ROOST_DIR       where the daemons of this machine have their folders (/tmp/roost-UID)\n"
          "ROOST_LOG       a level (debug), or levels by topic (warn,lease:trace)\n"
          "\n"
          "`roost COMMAND --help` tells more. Exit status: 0 done, 1 failed, 2 not understood, 3 no cluster.\n",
          to);
}

static int refuse(const char *name)
{
    const char *names[ROOST_COUNT_OF(commands)];
    size_t count = 0;
    for (size_t i = 0; i < ROOST_COUNT_OF(commands); i++) {
        if (commands[i].group != GROUP_INTERNAL) {
            names[count++] = commands[i].name;
        }
    }
    const char *near = options_nearest(name, names, count, sizeof *names);
    fprintf(stderr, "roost: there is no command \"%s\"", name);
    if (near != NULL) {
        fprintf(stderr, "; did you mean \"%s\"?", near);
    }
    fputs("\n`roost --help` lists them\n", stderr);
    return EXIT_USAGE;
}

int command_failed(const char *command, int status)
{
    fprintf(stderr, "roost %s: %s\n", command, error_text()[0] != '\0' ? error_text() : error_name(status));
    return status == ROOST_ECONNECT ? EXIT_NO_CLUSTER : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("roost %s\n", roost_version());
        return EXIT_OK;
    }
    char *help[] = { argv[argc - 1], (char *)"--help", NULL };
    bool wants_help = strcmp(argv[1], "help") == 0;
    const char *name = wants_help ? argv[2] : argv[1];
    for (size_t i = 0; i < ROOST_COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            int code = wants_help ? commands[i].run(2, help) : commands[i].run(argc - 1, argv + 1);
            nng_threads_end();
            if (fflush(stdout) != 0 && code == EXIT_OK) {
                perror("roost: standard output");
                return EXIT_FAILED;
            }
            return code;
        }
    }
    return refuse(name);
}
