/* process_mark.h - a process written down so that another one with its number is never taken for it
 *
 * A number alone is used again, and is another process's in another container or after a restart of the machine. So a
 * mark is the number, the start time that the kernel keeps for it, the boot, and the pid namespace. */
#ifndef ROOST_API_CLI_PROCESS_MARK_H
#define ROOST_API_CLI_PROCESS_MARK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MARK_ROLE_BYTES = 16, MARK_BOOT_BYTES = 40, MARK_LINE_BYTES = 160 };

struct process_mark {
    char role[MARK_ROLE_BYTES]; /* "agent", "head", ... a word */
    pid_t pid;
    uint64_t start_ticks;       /* field 22 of /proc/PID/stat */
    uint64_t pid_namespace;     /* its inode */
    char boot[MARK_BOOT_BYTES]; /* the kernel's boot_id */
};

enum process_state {
    PROCESS_ENDED = 1,
    PROCESS_ALIVE,
    PROCESS_ELSEWHERE /* in another container of this boot: alive or not, nobody can tell from here */
};

/* Of a process of this namespace. ROOST_ENOENT when there is none, ROOST_EIO without /proc. */
int process_mark_of(pid_t pid, const char *role, struct process_mark *mark_out);

/* One line, with its '\n', of at most MARK_LINE_BYTES - 1 bytes. Returns its length. */
size_t process_mark_print(const struct process_mark *mark, char line_out[MARK_LINE_BYTES]);

/* ROOST_EINVAL when the line is no mark. */
int process_mark_parse(const char *line, struct process_mark *mark_out);

/* With `pidfd_out` not NULL and the process alive: a descriptor of exactly that process, the caller's to close. What is
 * sent through it reaches that process or nobody. */
enum process_state process_mark_look(const struct process_mark *mark, int *pidfd_out);

/* Through a descriptor from above. Nothing happens when it has ended. */
void process_signal(int pidfd, int signal_number);

#endif
