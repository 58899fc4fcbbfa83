/* process_tree.c - see the header
 *
 * Failures: what cannot be read counts as nothing: a process may end at any moment.
 * Thread:   any. */
#include "tests/bench/process_tree.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 4096, LISTENERS_MAX = 4096, PATH_BYTES = 64, LISTENING = 10 };

struct process {
    pid_t pid, parent;
    bool is_below;
    uint32_t threads;
    double cpu_seconds;
    char command[32];
};

struct listener {
    unsigned long inode;
    bool is_loopback;
};

static FILE *open_file(pid_t pid, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

/* "pid (command) state ppid ..."; the command may hold anything, so the last parenthesis counts. */
static bool read_process(pid_t pid, struct process *process_out)
{
    char text[1024], *end, *begin;
    FILE *from = open_file(pid, "stat");
    size_t bytes = from == NULL ? 0 : fread(text, 1, sizeof text - 1, from);
    if (from != NULL) {
        fclose(from);
    }
    text[bytes] = '\0';
    begin = strchr(text, '(');
    end = strrchr(text, ')');
    if (begin == NULL || end == NULL) {
        return false;
    }
    int parent;
    unsigned long times[4];
    long threads;
    if (sscanf(end + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu %*d %*d %ld", &parent, &times[0],
               &times[1], &times[2], &times[3], &threads) != 6) {
        return false;
    }
    *process_out = (struct process){ .pid = pid, .parent = parent, .threads = (uint32_t)threads };
    process_out->cpu_seconds = (double)(times[0] + times[1] + times[2] + times[3]) / (double)sysconf(_SC_CLK_TCK);
    snprintf(process_out->command, sizeof process_out->command, "%.*s", (int)(end - begin - 1), begin + 1);
    return true;
}

static size_t read_processes(struct process *processes)
{
    size_t count = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all != NULL && count < PROCESSES_MAX && (entry = readdir(all)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        count += pid > 0 && read_process(pid, &processes[count]) ? 1 : 0;
    }
    if (all != NULL) {
        closedir(all);
    }
    return count;
}

/* Until nothing is added: parents need not come before their children. */
static void mark_below(struct process *processes, size_t count, pid_t root)
{
    for (bool has_added = true; has_added;) {
        has_added = false;
        for (size_t i = 0; i < count; i++) {
            bool is_below = processes[i].pid == root;
            for (size_t p = 0; p < count && !is_below; p++) {
                is_below = processes[p].is_below && processes[p].pid == processes[i].parent;
            }
            has_added |= is_below && !processes[i].is_below;
            processes[i].is_below |= is_below;
        }
    }
}

static size_t read_listeners(const char *path, const char *loopback, struct listener *listeners, size_t count)
{
    char line[512], address[64];
    FILE *from = fopen(path, "re");
    while (from != NULL && count < LISTENERS_MAX && fgets(line, sizeof line, from) != NULL) {
        unsigned state;
        unsigned long inode;
        if (sscanf(line, " %*d: %63[^:]:%*x %*s %x %*s %*s %*s %*s %*s %lu", address, &state, &inode) == 3 &&
            state == LISTENING) {
            listeners[count++] = (struct listener){ inode, strcmp(address, loopback) == 0 };
        }
    }
    if (from != NULL) {
        fclose(from);
    }
    return count;
}

static void count_listeners(pid_t pid, const struct listener *listeners, size_t count, struct process_use *use)
{
    char path[PATH_BYTES], name[PATH_BYTES + 300], target[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *all = opendir(path);
    for (struct dirent *entry; all != NULL && (entry = readdir(all)) != NULL;) {
        unsigned long inode;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        ssize_t bytes = readlink(name, target, sizeof target - 1);
        target[bytes > 0 ? bytes : 0] = '\0';
        if (sscanf(target, "socket:[%lu]", &inode) != 1) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            if (listeners[i].inode == inode) {
                use->listeners++;
                use->listeners_beyond_loopback += listeners[i].is_loopback ? 0 : 1;
            }
        }
    }
    if (all != NULL) {
        closedir(all);
    }
}

void process_add_memory(pid_t pid, struct process_use *use)
{
    char line[256];
    double kib;
    FILE *from = open_file(pid, "smaps_rollup");
    while (from != NULL && fgets(line, sizeof line, from) != NULL) {
        if (sscanf(line, "Pss_Anon: %lf", &kib) == 1 || sscanf(line, "Pss_File: %lf", &kib) == 1) {
            use->private_bytes += kib * 1024;
        } else if (sscanf(line, "Pss_Shmem: %lf", &kib) == 1) {
            use->shared_bytes += kib * 1024;
        }
    }
    if (from != NULL) {
        fclose(from);
    }
}

static bool is_skipped(const struct process *process, const char *const *skip)
{
    while (*skip != NULL && strcmp(*skip, process->command) != 0) {
        skip++;
    }
    return *skip != NULL;
}

void process_tree_use(pid_t root, const char *const *skip, struct process_use *use_out)
{
    static struct process processes[PROCESSES_MAX];
    static struct listener listeners[LISTENERS_MAX];
    size_t count = read_processes(processes);
    size_t listeners_count = read_listeners("/proc/net/tcp", "0100007F", listeners, 0);
    listeners_count = read_listeners("/proc/net/tcp6", "00000000000000000000000001000000", listeners, listeners_count);
    *use_out = (struct process_use){ 0 };
    mark_below(processes, count, root);
    for (size_t i = 0; i < count; i++) {
        if (!processes[i].is_below) {
            continue;
        }
        use_out->cpu_seconds += processes[i].cpu_seconds;
        if (processes[i].pid != root && !is_skipped(&processes[i], skip)) {
            use_out->processes++;
            use_out->threads += processes[i].threads;
            process_add_memory(processes[i].pid, use_out);
            count_listeners(processes[i].pid, listeners, listeners_count, use_out);
        }
    }
}
