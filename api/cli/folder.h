/* folder.h - the folders of this user's daemons on this machine
 *
 *     $ROOST_DIR or /tmp/roost-UID     the root: a folder of this user's that nobody else can write into
 *       NAME/                          one per daemon, 0700
 *         pids                         marks of the processes that the folder belongs to
 *         node.json or head.json       written by the daemon when it can be reached
 *         agent.log or head.log        its standard output and error
 *         agent.sock, work/            the agent's own
 *
 * A folder whose every mark is of an ended process is stale: it may be removed. Creating and removing happen under a
 * lock of the root. Thread: main. */
#ifndef ROOST_API_CLI_FOLDER_H
#define ROOST_API_CLI_FOLDER_H

#include "api/cli/process_mark.h"

#include <stdbool.h>

enum {
    FOLDER_PATH_BYTES = 108, /* with the socket's name it must still be a socket's path */
    FOLDER_NAME_BYTES = 64,
    FOLDER_ADDRESS_BYTES = 272,
    FOLDER_MARKS_MAX = 8, /* live processes of one folder; then ROOST_ELIMIT */
    FOLDER_FILE_BYTES_MAX = 64 << 10,
};

struct folder {
    char name[FOLDER_NAME_BYTES];
    char path[FOLDER_PATH_BYTES];
    char address[FOLDER_ADDRESS_BYTES]; /* of the head that it is or belongs to; "": none, or not ready yet */
    bool is_head;
    struct process_mark marks[FOLDER_MARKS_MAX];
    size_t marks_count;
};

/* Where the root is, absolute; nothing is created. ROOST_EINVAL when the path is too long. */
int folder_root(char path_out[FOLDER_PATH_BYTES]);

/* ROOST_EINVAL unless it can be a folder's name: letters, digits, '.', '_' and '-', no '.' or '-' first. */
int folder_check_name(const char *name);

/* Make the root and in it a new folder, marked as this process's under `role`, so that nobody thinks it stale. If the
 * name is taken by a live folder: NAME-2, NAME-3 ... or, when `exact`, ROOST_EEXIST. A stale one of that name is
 * replaced; those that were left by a cluster-of-one or a `roost local` are removed on the way.
 *
 * Errors: ROOST_EAUTH    the root is a link, somebody else's, or others may write into it
 *         ROOST_EEXIST, ROOST_EINVAL (the name, or the path is too long for a socket), ROOST_EIO */
int folder_create(const char *name, const char *role, bool exact, struct folder *folder_out);

/* Enter this process's mark into a folder, the way daemons do first. ROOST_ELIMIT, ROOST_EIO. */
int folder_enter(const char *path, const char *role);

/* Take this process's mark out again, and `pids` with the last one. A daemon does it when it ends in order, so that a
 * folder which somebody else made for it is as it was; one from folder_create() keeps its maker's mark. */
void folder_leave(const char *path);

/* The folder and everything in it; no link is followed. A folder that is not there is fine. */
int folder_remove(const char *path);

/* The same if it is (still) stale; `*removed_out` says whether. */
int folder_remove_stale(const struct folder *folder, bool *removed_out);

/* Every folder of this user below the root, by name, in memory of the caller's. What is no folder of ours (a link,
 * somebody else's, without a `pids`) is passed over; no root, no folders. */
int folders_read(struct folder **folders_out, size_t *count_out);

/* Read one again, by path. ROOST_ENOENT when it is no folder of ours. */
int folder_read(const char *path, struct folder *folder_out);

/* ALIVE when any mark is; else ELSEWHERE when any is; else ENDED. `*mark_out`, unless NULL, is that mark. */
enum process_state folder_look(const struct folder *folder, const struct process_mark **mark_out);

#endif
