/* agent.c - `roost agent`: one node's agent in the foreground; also what `roost start` and `roost local` start */
#include "api/cli/command.h"
#include "api/cli/folder.h"
#include "api/cli/launch.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/io/address.h"
#include "common/log.h"
#include "worker/agent/daemon.h"
#include "worker/agent/record.h"

static const char *folder, *node_name, *address, *record, *recorded;
static uint64_t cpus, store_bytes, ready_fd = UINT64_MAX, lifeline_fd = UINT64_MAX;
static bool removes_folder;

static const struct option_spec specs[] = {
    OPT_TEXT("folder", "DIR", &folder,
             "of this node: an existing folder of yours, mode 0700, for its\nsocket and files"),
    OPT_TEXT("address", "HOST:PORT", &address, "of the head to join (else it is a cluster of its own)"),
    OPT_TEXT("name", "NAME", &node_name, "for people (default: the host's name)"),
    OPT_CPUS(&cpus, "CPUs that tasks may use, such as 4 or 0.5 (default: all)"),
    OPT_STORE_BYTES(&store_bytes, "of shared memory for objects (default: a share of what is free)"),
    OPT_TEXT("record", "FILE", &record, "write every event of the agent there, for playing it back"),
    OPT_TEXT("play", "FILE", &recorded, "give a recorded file to a fresh core, in this process, and end"),
    OPT_NUMBER("ready-fd", "FD", 0, 1 << 20, &ready_fd,
               "descriptor on which it writes a line, the path of its\nsocket, when clients can connect"),
    OPT_NUMBER("lifeline-fd", "FD", 0, 1 << 20, &lifeline_fd, "a pipe whose other end's closing ends the agent"),
    OPT_FLAG("remove-folder", &removes_folder, NULL),
    OPT_END,
};

static const struct option_set set = {
    .command = "agent",
    .usage = "--folder DIR [--address HOST:PORT] [--name NAME] [--cpus C] [--store-bytes SIZE] [--record FILE]\n"
             "--play FILE",
    .text = "Runs the agent of one node in the foreground: it owns the node's store and worker processes. It ends on\n"
            "SIGTERM or SIGINT, with its workers, and leaves its folder as it found it. Logs go to standard error.\n"
            "`roost start` runs it in the background.",
    .examples = "mkdir -m 700 /run/roost && roost agent --folder /run/roost --address 10.0.0.1:7000\n"
                "roost agent --folder /run/roost --address 10.0.0.1:7000 --cpus 8 --store-bytes 20G",
    .specs = specs,
};

static int check(void)
{
    struct address parsed;
    if (folder == NULL) {
        return error_set(ROOST_EINVAL, "--folder is missing");
    }
    if (node_name != NULL) {
        ROOST_TRY(folder_check_name(node_name));
    }
    int status = address == NULL ? 0 : address_parse(address, &parsed);
    return status == 0 ? 0 : error_prefix(status, "--address");
}

int command_agent(int argc, char **argv)
{
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (recorded != NULL) {
        return command_play("agent", recorded, &agent_record);
    }
    if (check() != 0) {
        return options_refuse(&set, "%s", error_text());
    }
    struct agent_options options = { .folder = folder,
                                     .node_name = node_name,
                                     .head_address = address,
                                     .command = launch_self(),
                                     .cpus = (double)cpus / 100,
                                     .store_bytes = store_bytes,
                                     .ready_fd = ready_fd == UINT64_MAX ? ROOST_NONE : (int)ready_fd,
                                     .lifeline_fd = lifeline_fd == UINT64_MAX ? ROOST_NONE : (int)lifeline_fd,
                                     .parent_fd = ROOST_NONE,
                                     .record = record,
                                     .populate = true };
    log_start("agent", LOG_INFO);
    int status = folder_enter(folder, "agent");
    if (status == 0) {
        status = agent_run(&options);
        folder_leave(folder);
    }
    if (status != 0) {
        command_failed("agent", status);
        return EXIT_FAILED;
    }
    return removes_folder && folder_remove(folder) != 0 ? EXIT_FAILED : EXIT_OK;
}
