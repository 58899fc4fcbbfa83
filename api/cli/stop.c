/* stop.c - `roost stop`: ends daemons of this user on this machine
 *
 * Happy path: folders -> those of the cluster that is meant -> agents, then heads: SIGTERM, wait, SIGKILL -> folders
 *             removed. Stale folders go too.
 * Invariants: a signal goes through a pidfd of exactly the process whose start the folder has written down.
 */
#include "api/cli/cluster.h"
#include "api/cli/command.h"
#include "api/cli/daemon_end.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/io/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOP_MS_DEFAULT = 10000 };

static const char *address, *node;
static bool wants_all;
static uint64_t timeout_ms = STOP_MS_DEFAULT;

static const struct option_spec specs[] = {
    OPT_TEXT("address", "HOST:PORT", &address, "the cluster of the head there: its daemons on this machine"),
    OPT_TEXT("node", "NAME", &node, "this one node only; its tasks are tried again on others"),
    OPT_FLAG("all", &wants_all, "every daemon of this user on this machine, also those of\nprograms and `roost local`"),
    OPT_TIMEOUT(&timeout_ms, "after so long what has not ended is killed (default: 10)"),
    OPT_END,
};

static const struct option_set set = {
    .command = "stop",
    .usage = "[--address HOST:PORT] [--node NAME] [--timeout SECONDS]\n--all [--timeout SECONDS]",
    .text =
        "Ends the daemons that `roost start` started on this machine, with their workers, and removes what they and\n"
        "daemons that died leave. Without options: those of $ROOST_ADDRESS, else of the only cluster there is.\n"
        "Exit status 3: there was nothing to stop.",
    .examples = "roost stop\n"
                "roost stop --address 127.0.0.1:7000\n"
                "roost stop --node second                  the rest of the cluster goes on\n"
                "roost stop --all --timeout 2",
    .specs = specs,
};

struct victim {
    const struct folder *folder;
    pid_t pid;
    struct daemon_end end;
};

static bool is_meant(const struct folder *folder, const char *wanted)
{
    if (wants_all) {
        return true;
    }
    if (node != NULL && (folder->is_head || strcmp(folder->name, node) != 0)) {
        return false;
    }
    return !folder_is_passing(folder) && (wanted == NULL || strcmp(folder->address, wanted) == 0);
}

/* With neither --address nor --all nor $ROOST_ADDRESS: all daemons that are meant, as long as they are of one
 * cluster. */
static int check_one_cluster(const struct folder *folders, size_t count)
{
    const struct folder *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!is_meant(&folders[i], NULL) || folder_look(&folders[i], NULL) != PROCESS_ALIVE) {
            continue;
        }
        if (first != NULL && strcmp(first->address, folders[i].address) != 0) {
            return error_set(ROOST_EINVAL, "there are several clusters (%s of %s, %s of %s); say --address or --all",
                             first->name, first->address[0] != '\0' ? first->address : "no head", folders[i].name,
                             folders[i].address[0] != '\0' ? folders[i].address : "no head");
        }
        first = &folders[i];
    }
    return 0;
}

static bool is_collected(const struct victim *victims, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (victims[i].pid == pid) { /* `roost local` marks all its folders */
            return true;
        }
    }
    return false;
}

/* Every live process of the folder, as an end to be brought about. Returns how many there are now. */
static size_t collect(struct victim *victims, size_t count, const struct folder *folder)
{
    for (size_t i = 0; i < folder->marks_count; i++) {
        const struct process_mark *mark = &folder->marks[i];
        int pidfd = -1;
        if (is_collected(victims, count, mark->pid)) {
            continue;
        }
        switch (process_mark_look(mark, &pidfd)) {
        case PROCESS_ALIVE:
            victims[count].folder = folder;
            victims[count].pid = mark->pid;
            victims[count].end.pidfd = pidfd;
            snprintf(victims[count].end.what, sizeof victims[count].end.what, "the %s of %s (pid %d)", mark->role,
                     folder->name, (int)mark->pid);
            count++;
            break;
        case PROCESS_ELSEWHERE:
            fprintf(stderr, "roost stop: %s belongs to a process of another container, left alone\n", folder->name);
            break;
        case PROCESS_ENDED:
            break;
        }
    }
    return count;
}

static bool end_some(struct victim *victims, size_t count, bool heads)
{
    struct daemon_end *ends = calloc(count + 1, sizeof *ends);
    size_t chosen = 0;
    for (size_t i = 0; i < count && ends != NULL; i++) {
        if (victims[i].folder->is_head == heads) {
            ends[chosen++] = victims[i].end;
        }
    }
    bool all_ended = ends != NULL && daemons_end(ends, chosen, timeout_ms);
    for (size_t i = 0; i < chosen; i++) {
        fprintf(stderr, "%s %s\n", ends[i].what,
                !ends[i].has_ended   ? "does not end"
                : ends[i].was_killed ? "had to be killed"
                                     : "has ended");
    }
    free(ends);
    return all_ended;
}

/* The folders of what has ended, and those that were stale before: of folders that are meant, and unless one node is
 * meant, of what no live cluster claims. */
static size_t clear(const struct folder *folders, size_t count, const char *wanted)
{
    size_t cleared = 0;
    for (size_t i = 0; i < count; i++) {
        bool removed = false;
        bool is_nobodys = folders[i].address[0] == '\0' || folder_is_passing(&folders[i]);
        bool is_stale = is_meant(&folders[i], wanted) || (node == NULL && is_nobodys);
        if (is_stale && folder_look(&folders[i], NULL) == PROCESS_ENDED &&
            folder_remove_stale(&folders[i], &removed) != 0) {
            fprintf(stderr, "roost stop: %s\n", error_text());
        }
        cleared += removed;
    }
    return cleared;
}

static int stop(const struct folder *folders, size_t count, const char *wanted)
{
    struct victim *victims = calloc(count * FOLDER_MARKS_MAX + 1, sizeof *victims);
    size_t victims_count = 0;
    if (victims == NULL) {
        return command_failed("stop", error_set(ROOST_ENOMEM, "no memory for a list of daemons"));
    }
    for (size_t i = 0; i < count; i++) {
        if (is_meant(&folders[i], wanted)) {
            victims_count = collect(victims, victims_count, &folders[i]);
        }
    }
    bool all_ended = end_some(victims, victims_count, false);
    all_ended = end_some(victims, victims_count, true) && all_ended;
    for (size_t i = 0; i < victims_count; i++) {
        close(victims[i].end.pidfd);
    }
    free(victims);
    size_t cleared = clear(folders, count, wanted);
    if (victims_count == 0 && cleared > 0) {
        fprintf(stderr, "removed what %zu dead daemon%s left\n", cleared, cleared > 1 ? "s" : "");
    }
    if (victims_count + cleared == 0) {
        fprintf(stderr, "roost stop: nothing to stop%s%s%s%s%s\n", node != NULL ? ": no node " : "",
                node != NULL ? node : "", wanted != NULL ? " of the cluster at " : "", wanted != NULL ? wanted : "",
                node != NULL ? " runs on this machine (`roost ls nodes` lists them all)" : "");
        return EXIT_NO_CLUSTER;
    }
    return all_ended ? EXIT_OK : EXIT_FAILED;
}

int command_stop(int argc, char **argv)
{
    struct folder *folders;
    size_t count;
    struct address parsed;
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    const char *named = getenv("ROOST_ADDRESS");
    const char *wanted = address != NULL ? address : named != NULL && named[0] != '\0' && !wants_all ? named : NULL;
    if (wants_all && (address != NULL || node != NULL)) {
        return options_refuse(&set, "--all or --%s: not both", address != NULL ? "address" : "node");
    }
    if (node != NULL && folder_check_name(node) != 0) {
        return options_refuse(&set, "--node: %s", error_text());
    }
    if (wanted != NULL && address_parse(wanted, &parsed) != 0) {
        return options_refuse(&set, "%s: %s", address != NULL ? "--address" : "$ROOST_ADDRESS", error_text());
    }
    int status = folders_read(&folders, &count);
    if (status != 0) {
        return command_failed("stop", status);
    }
    if (wanted == NULL && !wants_all && check_one_cluster(folders, count) != 0) {
        code = options_refuse(&set, "%s", error_text());
    } else {
        code = stop(folders, count, wanted);
    }
    free(folders);
    return code;
}
