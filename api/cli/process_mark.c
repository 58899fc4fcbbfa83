/* process_mark.c - a process written down so that another one with its number is never taken for it
 *
 * Invariant: a descriptor is opened first and the start time compared after it. A number that is used again in between
 * shows a later start; a process that ends after the comparison keeps its descriptor to itself.
 * Thread:    main.
 */
#include "api/cli/process_mark.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STAT_BYTES = 1024, STAT_FIELDS_BEFORE_START = 19 }; /* between the state and the start time */

static int read_small(const char *path, char *text_out, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text_out, bytes - 1);
    int status = got < 0 ? (errno == ENOENT || errno == ESRCH ? error_set(ROOST_ENOENT, "%s: no such process", path)
                                                              : error_from_errno("%s", path))
                         : 0;
    if (fd >= 0) {
        close(fd);
    }
    text_out[got < 0 ? 0 : got] = '\0';
    return status;
}

/* The name, between brackets, may hold anything: what follows the last one is counted. */
static int read_start(pid_t pid, uint64_t *ticks_out)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    ROOST_TRY(read_small(path, text, sizeof text));
    const char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ') {
        return error_set(ROOST_EIO, "%s: not what a kernel writes", path);
    }
    at += 2;
    if (*at == 'Z' || *at == 'X') {
        return error_set(ROOST_ENOENT, "%s: it has ended", path);
    }
    for (int field = 0; at != NULL && field < STAT_FIELDS_BEFORE_START; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL || sscanf(at, "%" SCNu64, ticks_out) != 1) {
        return error_set(ROOST_EIO, "%s: not what a kernel writes", path);
    }
    return 0;
}

static int read_here(uint64_t *namespace_out, char boot_out[MARK_BOOT_BYTES])
{
    struct stat about;
    ROOST_TRY(read_small("/proc/sys/kernel/random/boot_id", boot_out, MARK_BOOT_BYTES));
    boot_out[strcspn(boot_out, "\n")] = '\0';
    if (stat("/proc/self/ns/pid", &about) != 0) {
        return error_from_errno("/proc/self/ns/pid");
    }
    *namespace_out = about.st_ino;
    return 0;
}

int process_mark_of(pid_t pid, const char *role, struct process_mark *mark_out)
{
    struct process_mark mark = { .pid = pid };
    ROOST_TRY(read_start(pid, &mark.start_ticks));
    ROOST_TRY(read_here(&mark.pid_namespace, mark.boot));
    snprintf(mark.role, sizeof mark.role, "%s", role);
    *mark_out = mark;
    return 0;
}

size_t process_mark_print(const struct process_mark *mark, char line_out[MARK_LINE_BYTES])
{
    int length = snprintf(line_out, MARK_LINE_BYTES, "%s %d %" PRIu64 " %" PRIu64 " %s\n", mark->role, (int)mark->pid,
                          mark->start_ticks, mark->pid_namespace, mark->boot);
    return (size_t)length;
}

int process_mark_parse(const char *line, struct process_mark *mark_out)
{
    struct process_mark mark = { .pid = 0 };
    int end = 0;
    int got = sscanf(line, "%15s %d %" SCNu64 " %" SCNu64 " %39s%n", mark.role, &mark.pid, &mark.start_ticks,
                     &mark.pid_namespace, mark.boot, &end);
    if (got != 5 || mark.pid <= 0 || (line[end] != '\0' && line[end] != '\n')) {
        return error_set(ROOST_EINVAL, "no mark of a process: %.64s", line);
    }
    *mark_out = mark;
    return 0;
}

enum process_state process_mark_look(const struct process_mark *mark, int *pidfd_out)
{
    char boot[MARK_BOOT_BYTES];
    uint64_t here = 0, start_ticks;
    if (read_here(&here, boot) != 0) {
        return PROCESS_ELSEWHERE; /* without /proc nobody is declared dead */
    }
    if (strcmp(boot, mark->boot) != 0) {
        return PROCESS_ENDED;
    }
    if (here != mark->pid_namespace) {
        return PROCESS_ELSEWHERE;
    }
    int fd = (int)syscall(SYS_pidfd_open, mark->pid, 0);
    if (fd < 0 || read_start(mark->pid, &start_ticks) != 0 || start_ticks != mark->start_ticks) {
        if (fd >= 0) {
            close(fd);
        }
        return PROCESS_ENDED;
    }
    if (pidfd_out != NULL) {
        *pidfd_out = fd;
    } else {
        close(fd);
    }
    return PROCESS_ALIVE;
}

void process_signal(int pidfd, int signal_number) { syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0); }
