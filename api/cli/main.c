/* main.c - the `roost` command: finds the subcommand and runs it */
#include "api/cli/command.h"

#include <roost.h>
#include <stdio.h>
#include <string.h>

const struct command commands[] = {
    { "agent", "--folder DIR [--name NAME] [--cpus C] [--store-bytes N]", "run one node's agent in the foreground",
      command_agent },
    { "bench", "[--json] [--bytes N] [--runs N] [CASE...]", "measure this machine and Roost on it", command_bench },
    { "cluster-of-one", "", NULL, command_cluster_of_one },
    { "head", "[--listen HOST:PORT] [--folder DIR] [--record FILE]", "run the head in the foreground", command_head },
    { "worker-exec", "", NULL, command_worker_exec },
    { NULL, NULL, NULL, NULL },
};

static void print_help(FILE *to)
{
    fprintf(to, "roost %s: run functions where their data is\n\nusage: roost COMMAND [ARGUMENTS]\n\n", roost_version());
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (command->summary != NULL) {
            fprintf(to, "  %-8s %s\n", command->name, command->summary);
        }
    }
    fprintf(to, "\n`roost COMMAND --help` tells more. Exit status: 0, 1 failed, 2 usage, 3 no cluster.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("roost %s\n", roost_version());
        return EXIT_OK;
    }
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, argv[1]) == 0) {
            return command->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "roost: there is no command \"%s\"; `roost --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
