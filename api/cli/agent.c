/* agent.c - `roost agent`: one node's agent in the foreground; started by `roost start`, `roost local` and libroost */
#include "api/cli/command.h"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int command_agent(int argc, char **argv)
{
    enum { OPT_FOLDER = 1, OPT_NAME, OPT_CPUS, OPT_STORE, OPT_READY, OPT_LIFELINE };
    static const struct option known[] = { { "folder", required_argument, NULL, OPT_FOLDER },
                                           { "name", required_argument, NULL, OPT_NAME },
                                           { "cpus", required_argument, NULL, OPT_CPUS },
                                           { "store-bytes", required_argument, NULL, OPT_STORE },
                                           { "ready-fd", required_argument, NULL, OPT_READY },
                                           { "lifeline-fd", required_argument, NULL, OPT_LIFELINE },
                                           { 0 } };
    static char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) {
        perror("roost agent: /proc/self/exe");
        return EXIT_FAILED;
    }
    self[length] = '\0';
    struct agent_options options = {
        .command = self, .ready_fd = ROOST_NONE, .lifeline_fd = ROOST_NONE, .parent_fd = ROOST_NONE, .populate = true
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case OPT_FOLDER:
            options.folder = optarg;
            break;
        case OPT_NAME:
            options.node_name = optarg;
            break;
        case OPT_CPUS:
            options.cpus = strtod(optarg, NULL);
            break;
        case OPT_STORE:
            options.store_bytes = strtoull(optarg, NULL, 10);
            break;
        case OPT_READY:
            options.ready_fd = (int)strtol(optarg, NULL, 10);
            break;
        case OPT_LIFELINE:
            options.lifeline_fd = (int)strtol(optarg, NULL, 10);
            break;
        default:
            return EXIT_USAGE;
        }
    }
    if (options.folder == NULL) {
        fprintf(stderr, "roost agent: --folder is missing\n");
        return EXIT_USAGE;
    }
    log_start("agent", LOG_INFO);
    int status = agent_run(&options);
    if (status != 0) {
        fprintf(stderr, "roost agent: %s\n", error_text()[0] != '\0' ? error_text() : error_name(status));
    }
    return status == 0 ? EXIT_OK : EXIT_FAILED;
}
