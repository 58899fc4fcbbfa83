/* agent_find.c - which of this machine's agents belongs to a head
 *
 * Each agent has a folder, NODE/ below $ROOST_DIR or /tmp/roost-UID, mode 0700, with its socket `agent.sock` and
 * `node.json`: {"head": "HOST:PORT", "node": "...", "pid": 123, ...}. Of those of this uid that name
 * the head and still run, the oldest is it.
 * Failures:   none -> ROOST_ECONNECT with the folder's name. A folder of somebody else, or a damaged file -> passed
 *             over.
 */
#define LOG_TOPIC "link"
#include "api/agent_link.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODE_JSON_BYTES_MAX = 16 << 10, HEAD_BYTES_MAX = 256 };

struct candidate {
    char head[HEAD_BYTES_MAX];
    long long pid;
    struct timespec since;
};

/* The value of `"key":` in a flat object, or NULL. The file is our own agent's: a scanner is enough, and nothing that
 * stands in it is believed beyond the text of an address and a pid. */
static const char *value_of(const char *json, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = strchr(json, '"'); at != NULL; at = strchr(at + 1, '"')) {
        if (strncmp(at + 1, key, length) == 0 && at[length + 1] == '"') {
            const char *value = at + length + 2;
            value += strspn(value, " \t\r\n");
            if (*value == ':') {
                value++;
                return value + strspn(value, " \t\r\n");
            }
        }
    }
    return NULL;
}

static bool parse(const char *json, struct candidate *found)
{
    const char *head = value_of(json, "head"), *pid = value_of(json, "pid");
    const char *end = head != NULL && *head == '"' ? strchr(head + 1, '"') : NULL;
    if (end == NULL || pid == NULL || end - head - 1 >= HEAD_BYTES_MAX) {
        return false;
    }
    memcpy(found->head, head + 1, (size_t)(end - head - 1));
    found->head[end - head - 1] = '\0';
    found->pid = strtoll(pid, NULL, 10);
    return found->pid > 0;
}

static bool read_candidate(const char *path, struct candidate *found)
{
    static const struct candidate nothing;
    char json[NODE_JSON_BYTES_MAX + 1];
    struct stat stat;
    *found = nothing;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return false;
    }
    ssize_t got = fstat(fd, &stat) == 0 && stat.st_uid == geteuid() ? read(fd, json, NODE_JSON_BYTES_MAX) : -1;
    close(fd);
    if (got <= 0) {
        return false;
    }
    json[got] = '\0';
    found->since = stat.st_mtim;
    return parse(json, found);
}

static bool is_alive(long long pid) { return kill((pid_t)pid, 0) == 0 || errno == EPERM; }

static bool is_older(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static int base_folder(char *path_out)
{
    const char *named = getenv("ROOST_DIR");
    int length = named != NULL && named[0] != '\0'
                     ? snprintf(path_out, LINK_PATH_BYTES, "%s", named)
                     : snprintf(path_out, LINK_PATH_BYTES, "/tmp/roost-%u", (unsigned)geteuid());
    return length < LINK_PATH_BYTES ? 0 : error_set(ROOST_EINVAL, "$ROOST_DIR is too long for a path");
}

int agent_find(const char *address, char *path_out)
{
    char base[LINK_PATH_BYTES], path[LINK_PATH_BYTES];
    struct candidate best = { .pid = 0 };
    ROOST_TRY(base_folder(base));
    DIR *folder = opendir(base);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        struct candidate found;
        int length = snprintf(path, sizeof path, "%s/%s/node.json", base, entry->d_name);
        if (entry->d_name[0] == '.' || length >= (int)sizeof path || !read_candidate(path, &found)) {
            continue;
        }
        bool is_wanted = strcmp(found.head, address) == 0 && is_alive(found.pid);
        if (is_wanted && (best.pid == 0 || is_older(found.since, best.since))) {
            best = found;
            if (snprintf(path_out, LINK_PATH_BYTES, "%s/%s/agent.sock", base, entry->d_name) >= LINK_PATH_BYTES) {
                best.pid = 0;
            }
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    if (best.pid == 0) {
        return error_set(ROOST_ECONNECT,
                         "no agent of this machine belongs to the head at %s (looked in %s); start one with "
                         "`roost start --address=%s`",
                         address, base, address);
    }
    log_debug("event=agent_found pid=%lld socket=%s", best.pid, path_out);
    return 0;
}
