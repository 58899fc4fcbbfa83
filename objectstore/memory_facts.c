/* memory_facts.c - how big may a store be?
 *
 * Owns the arithmetic and the reading of /proc and of the cgroups. There is no asking by trying: in a small cgroup
 * populate, fallocate and touch all end in SIGKILL, never in an error.
 *
 * Happy path: meminfo -> /proc/self/cgroup -> each level of the memory controller up to its root: limit - use, with
 *             what the kernel would drop at once (inactive file pages) counted as free -> the least of all.
 * Failures:   a file that is not there or not a number sets no limit.
 * Thread:     any. */
#include "common/bytes.h"
#include "common/error.h"
#include "objectstore/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 4096, PAGE_BYTES = 4096, MAPPINGS_PER_PROCESS = 2, SHARE_TENTHS = 3 };

/* A store of s bytes costs, in each process that maps it twice, 8 bytes of page table per page: 2 MiB per GiB and
 * mapping with 4 KiB pages, 4 KiB with huge ones. So s * (1 + processes * 2 * 8 / page) must fit the share. */
uint64_t segment_size_default(const struct memory_facts *facts)
{
    uint64_t room = facts->available < facts->cgroup_headroom ? facts->available : facts->cgroup_headroom;
    uint64_t share = room / 10 * SHARE_TENTHS;
    uint64_t page = facts->is_huge ? SEGMENT_HUGE_BYTES : PAGE_BYTES;
    uint64_t tables = (uint64_t)facts->processes * MAPPINGS_PER_PROCESS * sizeof(uint64_t); /* bytes per page */
    uint64_t bytes = share / (page + tables) * page;
    bytes = bytes / SEGMENT_HUGE_BYTES * SEGMENT_HUGE_BYTES;
    return bytes > SEGMENT_HUGE_BYTES ? bytes : SEGMENT_HUGE_BYTES;
}

uint64_t memory_beside_store(const struct memory_facts *facts, uint64_t store_bytes)
{
    uint64_t all = facts->total < facts->cgroup_headroom ? facts->total : facts->cgroup_headroom;
    return all > store_bytes ? all - store_bytes : 0;
}

/* The file's beginning as text, "" when it cannot be read. */
static void read_text(char text_out[TEXT_BYTES], const char *root, const char *folder, const char *name)
{
    char path[TEXT_BYTES];
    text_out[0] = '\0';
    if (snprintf(path, sizeof path, "%s%s/%s", root, folder, name) >= (int)sizeof path) {
        return;
    }
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        text_out[fread(text_out, 1, TEXT_BYTES - 1, file)] = '\0';
        fclose(file);
    }
}

/* The number behind `key` at the beginning of a line; `otherwise` when there is none ("max" is none). */
static uint64_t number_after(const char *text, const char *key, uint64_t otherwise)
{
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, strlen(key)) == 0) {
            const char *at = line + strlen(key);
            at += strspn(at, " \t");
            return *at >= '0' && *at <= '9' ? strtoull(at, NULL, 10) : otherwise;
        }
        if (*line == '\0') {
            break;
        }
    }
    return otherwise;
}

struct cgroup_names {
    const char *mount, *limit, *usage, *inactive;
};
static const struct cgroup_names version_2 = { "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file " };
static const struct cgroup_names version_1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                               "memory.usage_in_bytes", "total_inactive_file " };

static uint64_t headroom_of(const char *root, const char *folder, const struct cgroup_names *names)
{
    char text[TEXT_BYTES];
    read_text(text, root, folder, names->limit);
    uint64_t limit = number_after(text, "", UINT64_MAX);
    if (limit >= UINT64_MAX / 4) { /* version 1 says "none" by a huge number */
        return UINT64_MAX;
    }
    read_text(text, root, folder, names->usage);
    uint64_t usage = number_after(text, "", 0);
    read_text(text, root, folder, "memory.stat");
    uint64_t inactive = number_after(text, names->inactive, 0);
    usage = usage > inactive ? usage - inactive : 0;
    return limit > usage ? limit - usage : 0;
}

/* The least over the cgroup `path` and all above it. */
static uint64_t least_headroom(const char *root, const char *path, const struct cgroup_names *names)
{
    char folder[TEXT_BYTES];
    if (snprintf(folder, sizeof folder, "%s%s", names->mount, path) >= (int)sizeof folder) {
        return UINT64_MAX;
    }
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t headroom = headroom_of(root, folder, names);
        least = headroom < least ? headroom : least;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < strlen(names->mount)) {
            return least;
        }
        *slash = '\0';
    }
}

/* A line of /proc/self/cgroup is number:controllers:path; version 2 has number 0 and no controllers. */
static uint64_t headroom_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL) {
        return UINT64_MAX;
    }
    *path++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        return least_headroom(root, path, &version_2);
    }
    char list[256];
    snprintf(list, sizeof list, ",%s,", controllers);
    return strstr(list, ",memory,") != NULL ? least_headroom(root, path, &version_1) : UINT64_MAX;
}

int memory_facts_read(struct memory_facts *facts, const char *root)
{
    char text[TEXT_BYTES];
    read_text(text, root, "/proc", "meminfo");
    uint64_t available_kib = number_after(text, "MemAvailable:", UINT64_MAX);
    uint64_t total_kib = number_after(text, "MemTotal:", UINT64_MAX);
    if (available_kib == UINT64_MAX || total_kib == UINT64_MAX) {
        return error_set(ROOST_EIO, "%s/proc/meminfo lacks MemTotal or MemAvailable", root);
    }
    uint64_t headroom = UINT64_MAX;
    read_text(text, root, "/proc/self", "cgroup");
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        uint64_t least = headroom_of_line(root, line);
        headroom = least < headroom ? least : headroom;
    }
    facts->total = total_kib * 1024;
    facts->available = available_kib * 1024;
    facts->cgroup_headroom = headroom;
    return 0;
}
