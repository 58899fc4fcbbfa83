/* output.c - the folder, as driver and reducers see it
 *
 * Happy path: driver: open -> ... -> close. Reducer: temporary file -> records -> fsync -> its name.
 * Failures:   a reducer that fails removes its temporary file; one that is killed leaves it to the driver, or to the
 *             next job in the folder.
 * Invariants: only names that this job makes are ever removed: part-NNNNN and part-NNNNN.*.tmp. There was no part when
 *             the lock was taken, so all that are there under it are this job's.
 * Thread:     the driver's; a task's.
 */
#include "examples/sort/output.h"

#include "examples/sort/gather.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PART_DIGITS = 5, PREFIX_BYTES = 5 + PART_DIGITS };

static const char probe_name[] = "part-00000.probe.tmp";

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- names ---- */

enum name_kind { NAME_OTHER, NAME_PART, NAME_UNFINISHED };

static enum name_kind name_kind(const char *name)
{
    size_t length = strlen(name);
    if (length < PREFIX_BYTES || strncmp(name, "part-", 5) != 0 || strspn(name + 5, "0123456789") != PART_DIGITS) {
        return NAME_OTHER;
    }
    if (length == PREFIX_BYTES) {
        return NAME_PART;
    }
    return name[PREFIX_BYTES] == '.' && strcmp(name + length - 4, ".tmp") == 0 ? NAME_UNFINISHED : NAME_OTHER;
}

/* Removes the unfinished parts, and the finished ones too if asked to. The first finished part that stays is copied to
 * `found`, an empty text if there is none. 0 or -errno. */
static int folder_sweep(int folder_fd, bool with_parts, char found[NAME_MAX + 1])
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    int status = folder == NULL ? -errno : 0;
    found[0] = '\0';
    for (struct dirent *entry; status == 0 && (errno = 0, entry = readdir(folder)) != NULL;) {
        enum name_kind kind = name_kind(entry->d_name);
        if (kind == NAME_UNFINISHED || (kind == NAME_PART && with_parts)) {
            status = unlinkat(folder_fd, entry->d_name, 0) == 0 || errno == ENOENT ? 0 : -errno;
        } else if (kind == NAME_PART && (found[0] == '\0' || strcmp(entry->d_name, found) < 0)) {
            snprintf(found, NAME_MAX + 1, "%s", entry->d_name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    } else if (fd >= 0) {
        close(fd);
    }
    return status;
}

/* ---- the driver's ---- */

static int complain(const char *path, const char *what)
{
    fprintf(stderr, "sort: cannot write to %s: %s\n", path, what);
    return -1;
}

/* Whoever may do everything may still not do this: a read-only file system, a folder of the kernel's. Only trying
 * tells. */
static int folder_try(int folder_fd)
{
    int fd = openat(folder_fd, probe_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return -errno;
    }
    close(fd);
    return unlinkat(folder_fd, probe_name, 0) == 0 ? 0 : -errno;
}

static int folder_prepare(struct output *output, const char *path)
{
    char found[NAME_MAX + 1];
    if (flock(output->fd, LOCK_EX | LOCK_NB) != 0) {
        return complain(path, errno == EWOULDBLOCK ? "another sort is writing there" : strerror(errno));
    }
    int status = folder_sweep(output->fd, false, found);
    if (status == 0 && found[0] != '\0') {
        fprintf(stderr, "sort: %s/%s exists; parts are never replaced: remove them or name another folder\n", path,
                found);
        return -1;
    }
    if (status == 0) {
        status = folder_try(output->fd);
    }
    return status == 0 ? 0 : complain(path, strerror(-status));
}

int output_open(struct output *output, const char *path)
{
    *output = (struct output){ .fd = -1, .is_ours = mkdir(path, 0777) == 0 };
    if (!output->is_ours && errno != EEXIST) {
        return complain(path, strerror(errno));
    }
    output->path = realpath(path, NULL);
    output->fd = output->path == NULL ? -1 : open(output->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = output->fd < 0 ? complain(path, strerror(errno)) : folder_prepare(output, path);
    if (status != 0) {
        if (output->is_ours) {
            rmdir(path);
        }
        free(output->path);
        if (output->fd >= 0) {
            close(output->fd);
        }
        *output = (struct output){ .fd = -1 };
    }
    return status;
}

/* All names are on disk. EINVAL: a file system that has no such thing. */
static int folder_sync(int folder_fd) { return fsync(folder_fd) == 0 || errno == EINVAL ? 0 : -errno; }

int output_close(struct output *output, bool is_success)
{
    char found[NAME_MAX + 1];
    int status = folder_sweep(output->fd, !is_success, found);
    if (status == 0 && is_success) {
        status = folder_sync(output->fd);
    }
    if (status != 0) {
        complain(output->path, strerror(-status));
        folder_sweep(output->fd, true, found); /* as much of it as can be */
    }
    if ((!is_success || status != 0) && output->is_ours) {
        rmdir(output->path); /* stays if somebody has put something else there */
    }
    close(output->fd);
    free(output->path);
    *output = (struct output){ .fd = -1 };
    return is_success && status != 0 ? -1 : 0;
}

/* ---- the reducers' ---- */

static int fail(struct sort_fault *fault, int failed, const char *what, const char *path)
{
    return sort_fail(fault, -failed, "cannot %s %s: %s", what, path, strerror(failed));
}

/* A file with the attempt's name can only be left of a worker that died: it makes room for a new one. */
static int part_create(const char *path, int *fd_out, struct sort_fault *fault)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return fail(fault, errno, "remove the old", path);
    }
    *fd_out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *fd_out >= 0 ? 0 : fail(fault, errno, "make", path);
}

static int part_fill(int fd, const char *path, const struct sort_entry *entries, size_t count,
                     struct part_seconds *seconds, struct sort_fault *fault)
{
    double begin = seconds_now();
    int status = gather_write(entries, count, fd, path, fault);
    double written = seconds_now();
    if (status == 0 && fsync(fd) != 0) {
        status = fail(fault, errno, "write to disk", path);
    }
    *seconds = (struct part_seconds){ written - begin, seconds_now() - written };
    return status;
}

int part_write(const char *folder, unsigned partition, unsigned attempt, const struct sort_entry *entries, size_t count,
               struct part_seconds *seconds_out, struct sort_fault *fault)
{
    char path[PATH_MAX], unfinished[PATH_MAX];
    int fd = -1, length = snprintf(unfinished, sizeof unfinished, "%s/part-%05u.%u.tmp", folder, partition, attempt);
    if (length < 0 || (size_t)length >= sizeof unfinished) {
        return sort_fail(fault, -ENAMETOOLONG, "the path of part %u is too long", partition);
    }
    snprintf(path, sizeof path, "%s/part-%05u", folder, partition);
    int status = part_create(unfinished, &fd, fault);
    if (status != 0) {
        return status;
    }
    status = part_fill(fd, unfinished, entries, count, seconds_out, fault);
    if (close(fd) != 0 && status == 0) {
        status = fail(fault, errno, "write", unfinished);
    }
    if (status == 0 && rename(unfinished, path) != 0) {
        status = fail(fault, errno, "name", path);
    }
    if (status != 0) {
        unlink(unfinished);
    }
    return status;
}
