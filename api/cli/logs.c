/* logs.c - `roost logs`: what the daemons of this machine have written
 *
 * Happy path: folders -> their *.log -> printed; with --follow an inotify watch on each, until Ctrl-C or until all
 *             folders are gone.
 */
#include "api/cli/command.h"
#include "api/cli/folder.h"
#include "api/cli/log_tail.h"
#include "api/cli/options.h"
#include "common/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { LOGS_MAX = 256, COPY_BYTES = 64 << 10, EVENTS_BYTES = 16 << 10 };

static bool follow;
static uint64_t lines;

static const struct option_spec specs[] = {
    OPT_FLAG("follow", &follow, "go on with what is written from now on, until Ctrl-C"),
    OPT_NUMBER("lines", "N", 1, 1000000000, &lines, "only the last N lines of each (default: all)"),
    OPT_END,
};

static const struct option_set set = {
    .command = "logs",
    .usage = "[NODE] [--lines N] [--follow]",
    .text =
        "Prints the logs of the daemons on this machine, or of the one whose folder is NODE; with several, each line\n"
        "begins with its folder. What tasks print goes to their programs, not here.",
    .examples = "roost logs\n"
                "roost logs head --lines 50\n"
                "roost logs --follow | grep level=warn",
    .specs = specs,
    .words_max = 1,
};

struct log {
    char label[FOLDER_NAME_BYTES + 2]; /* "NAME: ", or "" */
    int fd, watch;
    bool at_line_start, is_gone;
};

static struct log logs[LOGS_MAX];
static size_t logs_count;

static bool ends_in_log(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".log") == 0;
}

/* False when standard output takes no more. */
static bool print_bytes(struct log *log, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        if (log->at_line_start) {
            fputs(log->label, stdout);
        }
        const char *newline = memchr(bytes + at, '\n', size - at);
        size_t length = newline != NULL ? (size_t)(newline - bytes) + 1 - at : size - at;
        fwrite(bytes + at, 1, length, stdout);
        log->at_line_start = newline != NULL;
        at += length;
    }
    return ferror(stdout) == 0;
}

/* From where it was read last to the end. */
static bool print_new(struct log *log)
{
    static char bytes[COPY_BYTES];
    bool fine = true;
    for (ssize_t got; fine && (got = read(log->fd, bytes, sizeof bytes)) > 0;) {
        fine = print_bytes(log, bytes, (size_t)got);
    }
    return fflush(stdout) == 0 && fine;
}

static void open_logs(const struct folder *folder, bool with_label, int notify_fd)
{
    DIR *dir = opendir(folder->path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL && logs_count < LOGS_MAX;) {
        char path[PATH_MAX];
        if (!ends_in_log(entry->d_name)) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder->path, entry->d_name);
        struct log *log = &logs[logs_count];
        *log = (struct log){ .fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), .watch = -1, .at_line_start = true };
        if (log->fd < 0) {
            continue;
        }
        snprintf(log->label, sizeof log->label, with_label ? "%s: " : "%.0s", folder->name);
        if (notify_fd >= 0) {
            log->watch = inotify_add_watch(notify_fd, path, IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF);
        }
        if (lines > 0) {
            lseek(log->fd, log_tail_start(log->fd, lines), SEEK_SET);
        }
        logs_count++;
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

/* A removed file whose descriptor is still open shows itself as an attribute's change: its links. */
static bool take_event(const struct inotify_event *event, size_t *gone)
{
    bool fine = true;
    for (size_t i = 0; i < logs_count; i++) {
        if (logs[i].watch == event->wd && !logs[i].is_gone) {
            char path[64], target[PATH_MAX];
            fine = print_new(&logs[i]);
            snprintf(path, sizeof path, "/proc/self/fd/%d", logs[i].fd);
            ssize_t length = readlink(path, target, sizeof target);
            logs[i].is_gone = length > 10 && memcmp(target + length - 10, " (deleted)", 10) == 0;
            *gone += logs[i].is_gone;
        }
    }
    return fine;
}

static void follow_all(int notify_fd)
{
    _Alignas(struct inotify_event) char bytes[EVENTS_BYTES];
    bool fine = true;
    for (size_t gone = 0; fine && gone < logs_count;) {
        ssize_t got = read(notify_fd, bytes, sizeof bytes);
        if (got < 0 && errno != EINTR) {
            return;
        }
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            fine = take_event(event, &gone) && fine;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
}

static int open_all(const char *wanted, int notify_fd)
{
    struct folder *folders;
    size_t count, chosen = 0;
    ROOST_TRY(folders_read(&folders, &count));
    for (size_t i = 0; i < count; i++) {
        if (wanted == NULL || strcmp(folders[i].name, wanted) == 0) {
            open_logs(&folders[i], wanted == NULL && count > 1, notify_fd);
            chosen++;
        }
    }
    free(folders);
    if (chosen == 0) {
        char root[FOLDER_PATH_BYTES] = "";
        folder_root(root);
        return wanted != NULL
                   ? error_set(ROOST_ECONNECT, "no daemon of this machine has a folder %s in %s", wanted, root)
                   : error_set(ROOST_ECONNECT, "no daemons of this machine in %s", root);
    }
    return 0;
}

int command_logs(int argc, char **argv)
{
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    int notify_fd = follow ? inotify_init1(IN_CLOEXEC) : -1;
    int status = open_all(argv[1], notify_fd);
    if (status != 0) {
        return command_failed("logs", status);
    }
    bool fine = true;
    for (size_t i = 0; i < logs_count && fine; i++) {
        fine = print_new(&logs[i]);
    }
    if (fine && notify_fd >= 0) {
        follow_all(notify_fd);
    }
    return EXIT_OK;
}
