<<<<<<< HEAD
/* head.c - `roost head`: the cluster's head in the foreground, or the playback of what an earlier one recorded */
#include "api/cli/command.h"
#include "common/error.h"
#include "common/log.h"
#include "scheduler/daemon.h"
#include "scheduler/record.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "usage: roost head [--listen HOST:PORT] [--folder DIR] [--ready-fd N] [--lifeline-fd N]\n"
                            "                  [--suspect-ms N] [--dead-ms N] [--record FILE]\n"
                            "       roost head --play FILE\n";

/* A number from 0 to `max`; false and a line on stderr otherwise. */
static bool read_number(const char *text, long max, long *number_out)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < 0 || number > max) {
        fprintf(stderr, "roost head: \"%s\" is not a number from 0 to %ld\n", text, max);
        return false;
    }
    *number_out = number;
    return true;
}

static int report(int status)
{
    if (status != 0) {
        fprintf(stderr, "roost head: %s\n", error_text()[0] != '\0' ? error_text() : error_name(status));
    }
    return status == 0 ? EXIT_OK : EXIT_FAILED;
}

static int play(const char *path)
{
    uint64_t hash;
    int status = head_play(path, &hash);
    if (status == 0) {
        printf("%016" PRIx64 "\n", hash);
    }
    return report(status);
}

int command_head(int argc, char **argv)
{
    enum { OPT_LISTEN = 1, OPT_FOLDER, OPT_READY, OPT_LIFELINE, OPT_SUSPECT, OPT_DEAD, OPT_RECORD, OPT_PLAY, OPT_HELP };
    static const struct option known[] = {
        { "listen", required_argument, NULL, OPT_LISTEN },
        { "folder", required_argument, NULL, OPT_FOLDER },
        { "ready-fd", required_argument, NULL, OPT_READY },
        { "lifeline-fd", required_argument, NULL, OPT_LIFELINE },
        { "suspect-ms", required_argument, NULL, OPT_SUSPECT },
        { "dead-ms", required_argument, NULL, OPT_DEAD },
        { "record", required_argument, NULL, OPT_RECORD },
        { "play", required_argument, NULL, OPT_PLAY },
        { "help", no_argument, NULL, OPT_HELP },
        { 0 },
    };
    struct head_options options = { .ready_fd = ROOST_NONE, .lifeline_fd = ROOST_NONE };
    const char *played = NULL;
    bool is_good = true;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1 && is_good;) {
        long number = 0;
        bool is_fd = option == OPT_READY || option == OPT_LIFELINE;
        if (is_fd || option == OPT_SUSPECT || option == OPT_DEAD) {
            is_good = read_number(optarg, is_fd ? 1 << 20 : 1 << 30, &number);
        }
        switch (option) {
        case OPT_LISTEN:
            options.listen = optarg;
            break;
        case OPT_FOLDER:
            options.folder = optarg;
            break;
        case OPT_READY:
            options.ready_fd = (int)number;
            break;
        case OPT_LIFELINE:
            options.lifeline_fd = (int)number;
            break;
        case OPT_SUSPECT:
            options.suspect_ms = (unsigned)number;
            break;
        case OPT_DEAD:
            options.dead_ms = (unsigned)number;
            break;
        case OPT_RECORD:
            options.record = optarg;
            break;
        case OPT_PLAY:
            played = optarg;
            break;
        case OPT_HELP:
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            is_good = false;
        }
    }
    if (!is_good || optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    log_start("head", LOG_INFO);
    return played != NULL ? play(played) : report(head_run(&options));
=======
/* head.c - `roost head`: the head in the foreground; also what `roost start --head` and `roost local` start */
#include "api/cli/command.h"
#include "api/cli/folder.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/io/address.h"
#include "common/log.h"
#include "scheduler/daemon.h"

static const char *folder, *listen_at = "127.0.0.1:0", *record;
static uint64_t ready_fd = UINT64_MAX, lifeline_fd = UINT64_MAX;
static bool removes_folder;

static const struct option_spec specs[] = {
    OPT_TEXT("listen", "HOST:PORT", &listen_at, "where agents connect (default: a free port of 127.0.0.1)"),
    OPT_TEXT("folder", "DIR", &folder, "an existing folder of yours, mode 0700, for head.json"),
    OPT_TEXT("record", "FILE", &record, "write every event of the scheduler there, for playing it back"),
    OPT_NUMBER("ready-fd", "FD", 0, 1 << 20, &ready_fd,
               "descriptor on which it writes a line, its address, when\nagents can connect"),
    OPT_NUMBER("lifeline-fd", "FD", 0, 1 << 20, &lifeline_fd, "a pipe whose other end's closing ends the head"),
    OPT_FLAG("remove-folder", &removes_folder, NULL),
    OPT_END,
};

static const struct option_set set = {
    .command = "head",
    .usage = "[--listen HOST:PORT] [--folder DIR] [--record FILE]",
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
    if (address_parse(listen_at, &parsed) != 0) {
        return options_refuse(&set, "--listen: %s", error_text());
    }
    struct head_options options = { .listen = listen_at,
                                    .folder = folder,
                                    .record = record,
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
>>>>>>> cli
}
