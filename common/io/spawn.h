/* spawn.h - processes that a daemon starts, and their end
 *
 * A child is the leader of a session and process group of its own, reads from /dev/null, and has no descriptor beyond
 * 0, 1 and 2 but the one that it was given. All functions belong to the loop's thread, which should be the process's
 * main thread: a child that asks to die with its parent (PR_SET_PDEATHSIG) dies with the thread that started it. */
#ifndef ROOST_COMMON_IO_SPAWN_H
#define ROOST_COMMON_IO_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct spawn;

struct spawn_options {
    const char *path;         /* of the program; not looked up in $PATH */
    char *const *argv;        /* ends with NULL */
    char *const *envp;        /* ends with NULL; NULL: this process's own */
    const char *cwd;          /* NULL: this process's own */
    int stdout_fd, stderr_fd; /* borrowed, above 2; or ROOST_NONE: this process's own */
    int third_fd;             /* borrowed, above 2: the child's descriptor 3; 0: none */
    bool ends_group;          /* when the child has ended, SIGKILL what is left of its process group */
};

/* `wait_status` as from waitpid(): the child has been reaped, and its spawn is gone. */
typedef void spawn_exit_fn(void *arg, pid_t pid, int wait_status);

/* Start a program. `on_exit` comes exactly once, after the child has ended, in a later turn.
 * The options are borrowed for the call. Blocks until the child has started the program or could not.
 *
 * Errors: ROOST_ENOENT  no such program or directory, or it may not be run
 *         ROOST_ELIMIT  no more processes or descriptors
 *         ROOST_EIO, ROOST_ENOMEM
 * and then there is no child. */
int spawn_start(struct loop *loop, const struct spawn_options *options, spawn_exit_fn *on_exit, void *arg,
                struct spawn **spawn_out);

/* Watch over a child that a process of this one's made for it (CLONE_PARENT), from here on as over any other;
 * ends_group holds for it. It may not lead its session yet.
 * Errors: ROOST_ENOENT  `pid` is no child of this process
 *         ROOST_ELIMIT, ROOST_EIO, and then the child has been killed and reaped. */
int spawn_adopt(struct loop *loop, pid_t pid, spawn_exit_fn *on_exit, void *arg, struct spawn **spawn_out);

/* What is left of its process group when the child has ended is left alone after all. */
void spawn_spare_group(struct spawn *spawn);

pid_t spawn_pid(const struct spawn *spawn);

/* Send a signal to the child's process group. No other process can have its number before on_exit. */
void spawn_kill(struct spawn *spawn, int signal_number);

/* Raise the soft limit of open descriptors to the hard one; what is in force then. */
uint64_t spawn_raise_files_limit(void);

#endif
