/* folder.c - the folders of this user's daemons on this machine
 *
 * Happy path: root checked -> locked -> folder made and marked -> unlocked; daemons enter their marks; when all marks
 *             are of ended processes it is removed.
 * Failures:   a root that others could have prepared is refused: what lies in it decides whom `roost stop` ends.
 * Invariants: a folder is never without a mark: it is made as .NAME, marked, and renamed.
 * Thread:     main.
 */
#include "api/cli/folder.h"
#include "common/bytes.h"
#include "common/error.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_TRIED_MAX = 1000, SUN_PATH_BYTES = 108 };

/* ------------------------------------------------------------------ the root */

int folder_root(char path_out[FOLDER_PATH_BYTES])
{
    const char *named = getenv("ROOST_DIR");
    char cwd[PATH_MAX] = "", path[2 * PATH_MAX];
    if (named == NULL || named[0] == '\0') {
        snprintf(path, sizeof path, "/tmp/roost-%u", (unsigned)geteuid());
    } else if (named[0] == '/') {
        snprintf(path, sizeof path, "%s", named);
    } else if (getcwd(cwd, sizeof cwd) != NULL) {
        snprintf(path, sizeof path, "%s/%s", cwd, named);
    } else {
        return error_from_errno("the current folder");
    }
    if (strlen(path) >= FOLDER_PATH_BYTES) {
        return error_set(ROOST_EINVAL, "the folder for nodes, %s, has a path of more than %d bytes; set $ROOST_DIR",
                         path, FOLDER_PATH_BYTES - 1);
    }
    memcpy(path_out, path, strlen(path) + 1);
    return 0;
}

/* A descriptor of the folder, or a negative status. */
static int open_own_folder(const char *path, bool others_may_read)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOTDIR || errno == ELOOP ? error_set(ROOST_EAUTH, "%s is a link or no folder", path)
               : errno == ENOENT                  ? error_set(ROOST_ENOENT, "there is no folder %s", path)
                                                  : error_from_errno("%s", path);
    }
    int status = 0;
    if (fstat(fd, &about) != 0) {
        status = error_from_errno("%s", path);
    } else if (about.st_uid != geteuid()) {
        status = error_set(ROOST_EAUTH, "%s belongs to user %u, not to you; set $ROOST_DIR to a folder of yours", path,
                           (unsigned)about.st_uid);
    } else if ((about.st_mode & (others_may_read ? 022 : 077)) != 0) {
        status = error_set(ROOST_EAUTH, "%s is open to others (mode %03o); `chmod 700 %s` if it is for nodes alone",
                           path, (unsigned)about.st_mode & 0777, path);
    }
    if (status != 0) {
        close(fd);
        return status;
    }
    return fd;
}

/* A locked descriptor of the root, which is made when it is missing; closing it unlocks. Or a negative status. */
static int lock_root(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_from_errno("the folder for nodes, %s", path);
    }
    int fd = open_own_folder(path, true);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            close(fd);
            return error_from_errno("locking %s", path);
        }
    }
    return fd;
}

/* ------------------------------------------------------------------ files in a folder */

static int open_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_uid != geteuid() ||
                    about.st_size > FOLDER_FILE_BYTES_MAX)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The text at `key` of the object in a file; false when there is none. */
static bool read_text(const char *folder, const char *file, const char *key, char *text_out, size_t bytes)
{
    int fd = open_file(folder, file);
    json_t *root = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
    const char *text = json_string_value(json_object_get(root, key));
    bool fits = text != NULL && strlen(text) < bytes;
    if (fits) {
        memcpy(text_out, text, strlen(text) + 1);
    }
    json_decref(root);
    if (fd >= 0) {
        close(fd);
    }
    return fits;
}

static bool read_marks(struct folder *folder)
{
    char line[MARK_LINE_BYTES];
    int fd = open_file(folder->path, "pids");
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (file == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    folder->marks_count = 0;
    while (fgets(line, sizeof line, file) != NULL && folder->marks_count < FOLDER_MARKS_MAX) {
        folder->marks_count += process_mark_parse(line, &folder->marks[folder->marks_count]) == 0;
    }
    fclose(file);
    return folder->marks_count > 0;
}

/* All marks of the folder anew, so that a reader sees the old ones or the new ones. No marks: no file. */
static int write_marks(const char *path, const struct process_mark *marks, size_t count)
{
    char name[PATH_MAX], wip[PATH_MAX + 16], line[MARK_LINE_BYTES];
    snprintf(name, sizeof name, "%s/pids", path);
    snprintf(wip, sizeof wip, "%s.%d", name, (int)getpid());
    if (count == 0) {
        return unlink(name) == 0 || errno == ENOENT ? 0 : error_from_errno("%s", name);
    }
    FILE *file = fopen(wip, "we");
    if (file == NULL) {
        return error_from_errno("%s", wip);
    }
    for (size_t i = 0; i < count; i++) {
        fwrite(line, 1, process_mark_print(&marks[i], line), file);
    }
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed || rename(wip, name) != 0;
    int status = failed ? error_from_errno("%s", name) : 0;
    if (failed) {
        unlink(wip);
    }
    return status;
}

/* The marks of `folder` but this process's and, when `only_live`, those of ended ones. Returns how many stay. */
static size_t drop_marks(struct folder *folder, bool only_live)
{
    size_t kept = 0;
    for (size_t i = 0; i < folder->marks_count; i++) {
        const struct process_mark *mark = &folder->marks[i];
        if (mark->pid != getpid() && (!only_live || process_mark_look(mark, NULL) != PROCESS_ENDED)) {
            folder->marks[kept++] = *mark;
        }
    }
    return kept;
}

int folder_enter(const char *path, const char *role)
{
    struct folder folder = { .marks_count = 0 };
    if (strlen(path) >= sizeof folder.path) {
        return error_set(ROOST_EINVAL, "the folder %s has a path of more than %zu bytes", path, sizeof folder.path - 1);
    }
    memcpy(folder.path, path, strlen(path) + 1);
    read_marks(&folder);
    size_t kept = drop_marks(&folder, true);
    if (kept == FOLDER_MARKS_MAX) {
        return error_set(ROOST_ELIMIT, "%s belongs to %zu processes already", path, kept);
    }
    ROOST_TRY(process_mark_of(getpid(), role, &folder.marks[kept]));
    return write_marks(path, folder.marks, kept + 1);
}

void folder_leave(const char *path)
{
    struct folder folder = { .marks_count = 0 };
    snprintf(folder.path, sizeof folder.path, "%s", path);
    if (read_marks(&folder)) {
        write_marks(path, folder.marks, drop_marks(&folder, false));
    }
}

/* ------------------------------------------------------------------ looking */

int folder_read(const char *path, struct folder *folder_out)
{
    struct folder folder = { .marks_count = 0 };
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    if (strlen(path) >= sizeof folder.path || strlen(name) >= sizeof folder.name) {
        return error_set(ROOST_ENOENT, "%s has too long a name for a folder of ours", path);
    }
    memcpy(folder.path, path, strlen(path) + 1);
    memcpy(folder.name, name, strlen(name) + 1);
    int fd = open_own_folder(path, false);
    if (fd < 0) {
        return error_set(ROOST_ENOENT, "%s is no folder of ours", path);
    }
    close(fd);
    if (!read_marks(&folder)) {
        return error_set(ROOST_ENOENT, "%s is no folder of ours", path);
    }
    folder.is_head = read_text(path, "head.json", "address", folder.address, sizeof folder.address);
    if (!folder.is_head) {
        read_text(path, "node.json", "head", folder.address, sizeof folder.address);
    }
    for (size_t i = 0; i < folder.marks_count; i++) {
        folder.is_head = folder.is_head || strcmp(folder.marks[i].role, "head") == 0;
    }
    *folder_out = folder;
    return 0;
}

enum process_state folder_look(const struct folder *folder, const struct process_mark **mark_out)
{
    enum process_state best = PROCESS_ENDED;
    for (size_t i = 0; i < folder->marks_count; i++) {
        enum process_state state = process_mark_look(&folder->marks[i], NULL);
        if (state == PROCESS_ALIVE || (state == PROCESS_ELSEWHERE && best == PROCESS_ENDED)) {
            best = state;
            if (mark_out != NULL) {
                *mark_out = &folder->marks[i];
            }
        }
        if (best == PROCESS_ALIVE) {
            break;
        }
    }
    return best;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct folder *)a)->name, ((const struct folder *)b)->name);
}

static int read_all(const char *root, struct folder **folders_out, size_t *count_out)
{
    struct folder *folders = NULL;
    size_t count = 0, capacity = 0;
    DIR *dir = opendir(root);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
        if (count == capacity) {
            capacity = capacity * 2 + 8;
            struct folder *more = realloc(folders, capacity * sizeof *folders);
            if (more == NULL) {
                free(folders);
                closedir(dir);
                return error_set(ROOST_ENOMEM, "no memory for a list of folders");
            }
            folders = more;
        }
        count += entry->d_name[0] != '.' && folder_read(path, &folders[count]) == 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (count > 0) {
        qsort(folders, count, sizeof *folders, by_name);
    }
    *folders_out = folders;
    *count_out = count;
    return 0;
}

int folders_read(struct folder **folders_out, size_t *count_out)
{
    char root[FOLDER_PATH_BYTES];
    *folders_out = NULL;
    *count_out = 0;
    ROOST_TRY(folder_root(root));
    int fd = open_own_folder(root, true);
    if (fd < 0) {
        return fd == ROOST_ENOENT ? 0 : fd;
    }
    close(fd);
    return read_all(root, folders_out, count_out);
}

/* ------------------------------------------------------------------ removing */

int folder_remove(const char *path)
{
    char *const paths[] = { (char *)(uintptr_t)path, NULL };
    int status = 0;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (tree == NULL) {
        return error_from_errno("%s", path);
    }
    for (FTSENT *entry; (entry = fts_read(tree)) != NULL;) {
        if (entry->fts_info == FTS_D) {
            chmod(entry->fts_accpath, 0700); /* a worker may have closed a folder of its own */
            continue;
        }
        bool is_folder = entry->fts_info == FTS_DP || entry->fts_info == FTS_DNR;
        if ((is_folder ? rmdir(entry->fts_accpath) : unlink(entry->fts_accpath)) != 0 && errno != ENOENT) {
            status = error_from_errno("removing %s", entry->fts_path);
        }
    }
    fts_close(tree);
    return status;
}

int folder_remove_stale(const struct folder *folder, bool *removed_out)
{
    char root[FOLDER_PATH_BYTES];
    struct folder now;
    *removed_out = false;
    ROOST_TRY(folder_root(root));
    int lock = lock_root(root);
    if (lock < 0) {
        return lock;
    }
    int status = 0;
    if (folder_read(folder->path, &now) == 0 && folder_look(&now, NULL) == PROCESS_ENDED) {
        status = folder_remove(folder->path);
        *removed_out = status == 0;
    }
    close(lock);
    return status;
}

/* What a cluster-of-one or a `roost local` leaves when it is killed is of no use to anybody. */
static void sweep(const char *root)
{
    struct folder *folders;
    size_t count;
    if (read_all(root, &folders, &count) != 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_passing = false;
        for (size_t j = 0; j < folders[i].marks_count; j++) {
            const char *role = folders[i].marks[j].role;
            is_passing = is_passing || strcmp(role, "one") == 0 || strcmp(role, "local") == 0;
        }
        if (is_passing && folder_look(&folders[i], NULL) == PROCESS_ENDED) {
            folder_remove(folders[i].path);
        }
    }
    free(folders);
}

/* ------------------------------------------------------------------ creating */

int folder_check_name(const char *name)
{
    size_t length = strlen(name);
    bool is_fine = length > 0 && length < FOLDER_NAME_BYTES - 8 && name[0] != '.' && name[0] != '-';
    for (size_t i = 0; i < length && is_fine; i++) {
        is_fine = isalnum((unsigned char)name[i]) || strchr("._-", name[i]) != NULL;
    }
    return is_fine ? 0
                   : error_set(ROOST_EINVAL,
                               "\"%s\" cannot be a node's name: 1 to %d letters, digits, '.', '_' or '-', beginning "
                               "with a letter or digit",
                               name, FOLDER_NAME_BYTES - 9);
}

/* Is the name free, or freed now? Under the lock. */
static int make_free(const char *path)
{
    struct folder there;
    struct stat about;
    if (lstat(path, &about) != 0) {
        return errno == ENOENT ? 0 : error_from_errno("%s", path);
    }
    if (folder_read(path, &there) != 0) {
        return error_set(ROOST_EEXIST, "%s is there already, and is no folder of a node", path);
    }
    const struct process_mark *mark = NULL;
    switch (folder_look(&there, &mark)) {
    case PROCESS_ENDED:
        return folder_remove(path);
    case PROCESS_ALIVE:
        break;
    case PROCESS_ELSEWHERE:
        return error_set(ROOST_EEXIST, "%s belongs to a process of another container", path);
    }
    return error_set(ROOST_EEXIST, "\"%s\" runs already (%s, pid %d)", there.name, mark->role, (int)mark->pid);
}

static int create_marked(const char *root, const char *path, const char *role)
{
    char wip[FOLDER_PATH_BYTES + 32];
    snprintf(wip, sizeof wip, "%s/.%d", root, (int)getpid());
    if (strlen(wip) >= FOLDER_PATH_BYTES) {
        return error_set(ROOST_EINVAL, "the folder %s has too long a path", root);
    }
    folder_remove(wip);
    if (mkdir(wip, 0700) != 0) {
        return error_from_errno("%s", wip);
    }
    int status = folder_enter(wip, role);
    if (status == 0 && rename(wip, path) != 0) {
        status = error_from_errno("%s", path);
    }
    if (status != 0) {
        folder_remove(wip);
    }
    return status;
}

static int create_locked(const char *root, const char *name, const char *role, bool exact, struct folder *folder_out)
{
    char path[2 * FOLDER_PATH_BYTES], numbered[FOLDER_NAME_BYTES];
    int status = ROOST_EEXIST;
    for (int i = 1; status == ROOST_EEXIST && i <= (exact ? 1 : NAMES_TRIED_MAX); i++) {
        snprintf(numbered, sizeof numbered, i == 1 ? "%.*s" : "%.*s-%d", FOLDER_NAME_BYTES - 9, name, i);
        snprintf(path, sizeof path, "%s/%s", root, numbered);
        if (strlen(path) + sizeof "/agent.sock" > SUN_PATH_BYTES) {
            return error_set(ROOST_EINVAL,
                             "%s is too long for a socket's path (%d bytes); set $ROOST_DIR to a shorter one", path,
                             SUN_PATH_BYTES - 1);
        }
        status = make_free(path);
    }
    if (status == 0) {
        status = create_marked(root, path, role);
    }
    return status == 0 ? folder_read(path, folder_out) : status;
}

int folder_create(const char *name, const char *role, bool exact, struct folder *folder_out)
{
    char root[FOLDER_PATH_BYTES];
    ROOST_TRY(folder_check_name(name));
    ROOST_TRY(folder_root(root));
    int lock = lock_root(root);
    if (lock < 0) {
        return lock;
    }
    sweep(root);
    int status = create_locked(root, name, role, exact, folder_out);
    close(lock);
    return status;
}
