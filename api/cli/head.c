/* head.c - `roost head`: the head in the foreground; also what `roost start --head` and `roost local` start */
#include "api/cli/command.h"
#include "api/cli/folder.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/io/address.h"
#include "common/log.h"
#include "scheduler/daemon.h"
#include "scheduler/record.h"

static const char *folder, *listen_at = "127.0.0.1:0", *record, *recorded;
static uint64_t ready_fd = UINT64_MAX, lifeline_fd = UINT64_MAX, suspect_ms, dead_ms;
static bool removes_folder;

static const struct option_spec specs[] = {
    OPT_TEXT("listen", "HOST:PORT", &listen_at, "where agents connect (default: a free port of 127.0.0.1)"),
    OPT_TEXT("folder", "DIR", &folder, "an existing folder of yours, mode 0700, for head.json"),
    OPT_TEXT("record", "FILE", &record, "write every event of the scheduler there, for playing it back"),
    OPT_TEXT("play", "FILE", &recorded, "give a recorded file to a fresh core, in this process, and end"),
    OPT_SUSPECT(&suspect_ms),
    OPT_DEAD(&dead_ms),
    OPT_NUMBER("ready-fd", "FD", 0, 1 << 20, &ready_fd,
               "descriptor on which it writes a line, its address, when\nagents can connect"),
    OPT_NUMBER("lifeline-fd", "FD", 0, 1 << 20, &lifeline_fd, "a pipe whose other end's closing ends the head"),
    OPT_FLAG("remove-folder", &removes_folder, NULL),
    OPT_END,
};

static const struct option_set set = {
    .command = "head",
    .usage = "[--listen HOST:PORT] [--folder DIR] [--record FILE] [--suspect SECONDS] [--dead SECONDS]\n"
             "--play FILE",
    .text =
        "Runs the head of a cluster in the foreground: it knows the nodes, where objects are, and places tasks. It\n"
        "ends on SIGTERM or SIGINT, and its agents with it. Logs go to standard error. `roost start --head` runs\n"
        "it in the background.",
    .examples = "roost head --listen 127.0.0.1:7000",
    .specs = specs,
};

int command_head(int argc, char **argv)
{
    struct address parsed;
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (recorded != NULL) {
        return command_play("head", recorded, &head_record);
    }
    if (address_parse(listen_at, &parsed) != 0) {
        return options_refuse(&set, "--listen: %s", error_text());
    }
    if (silence_check(suspect_ms, dead_ms) != 0) {
        return options_refuse(&set, "%s", error_text());
    }
    struct head_options options = { .listen = listen_at,
                                    .folder = folder,
                                    .record = record,
                                    .suspect_ms = (unsigned)suspect_ms,
                                    .dead_ms = (unsigned)dead_ms,
                                    .ready_fd = ready_fd == UINT64_MAX ? ROOST_NONE : (int)ready_fd,
                                    .lifeline_fd = lifeline_fd == UINT64_MAX ? ROOST_NONE : (int)lifeline_fd };
    log_start("head", LOG_INFO);
    int status = folder == NULL ? 0 : folder_enter(folder, "head");
    if (status == 0) {
        status = head_run(&options);
        if (folder != NULL) {
            folder_leave(folder);
        }
    }
    if (status != 0) {
        command_failed("head", status);
        return EXIT_FAILED;
    }
    return folder != NULL && removes_folder && folder_remove(folder) != 0 ? EXIT_FAILED : EXIT_OK;
}
