/* agent_open.c - a driver's way to its agent
 *
 * Happy path: $ROOST_AGENT, or the agent of this machine whose head is at the address, or a new cluster of one ->
 *             connect, with the job: what any node needs to start this program as a worker.
 * Failures:   no agent -> ROOST_ECONNECT, naming where it was looked for; the new cluster's own words when it did not
 *             start. Nothing stays open, and a cluster that was started ends.
 */
#include "api/agent_link.h"
#include "common/bytes.h"
#include "common/job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

/* The arguments as the kernel keeps them: nobody hands argv to a library. `*text_out` holds the strings. */
static int read_arguments(char **text_out, char ***args_out)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    char *text = malloc(JOB_BYTES_MAX + 1);
    size_t used = 0, count = 0;
    ssize_t got = 0;
    while (fd >= 0 && text != NULL && used < JOB_BYTES_MAX && (got = read(fd, text + used, JOB_BYTES_MAX - used)) > 0) {
        used += (size_t)got;
    }
    int status = fd < 0 || got < 0 ? error_from_errno("reading /proc/self/cmdline") : 0;
    if (fd >= 0) {
        close(fd);
    }
    for (size_t i = 0; status == 0 && text != NULL && i < used; i++) {
        count += text[i] == '\0';
    }
    char **args = status == 0 && text != NULL ? calloc(count + 1, sizeof *args) : NULL;
    if (args == NULL) {
        free(text);
        return status != 0 ? status : error_set(ROOST_ENOMEM, "no memory for the program's arguments");
    }
    char *at = text;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1) {
        args[i] = at;
    }
    *text_out = text;
    *args_out = args;
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static int describe_job(const struct open_request *request, struct job_spec **job_out)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) {
        return error_from_errno("readlink /proc/self/exe");
    }
    program[length] = '\0';
    struct job_draft draft = { .name = request->job_name != NULL ? request->job_name : base_name(program),
                               .program = program,
                               .worker_prefix = request->worker_prefix,
                               .driver_pid = getpid(),
                               .env = environ };
    char *text = NULL, **args = NULL;
    ROOST_TRY(job_hash_file("/proc/self/exe", &draft.program_hash));
    ROOST_TRY(read_arguments(&text, &args));
    draft.args = args;
    int status = job_write(&draft, job_out);
    free(args);
    free(text);
    return status;
}

static int find_socket(const struct open_request *request, char *path_out, int *fd_out, pid_t *pid_out)
{
    const char *named = getenv("ROOST_AGENT");
    *fd_out = -1;
    *pid_out = 0;
    if (named != NULL && named[0] != '\0') {
        if (strlen(named) >= LINK_PATH_BYTES) {
            return error_set(ROOST_EINVAL, "$ROOST_AGENT is longer than %d bytes", LINK_PATH_BYTES - 1);
        }
        memcpy(path_out, named, strlen(named) + 1);
        return 0;
    }
    return request->address != NULL ? agent_find(request->address, path_out)
                                    : agent_start(request, path_out, fd_out, pid_out);
}

int agent_open(const struct open_request *request, struct register_book *book, struct roost **rt_out)
{
    char path[LINK_PATH_BYTES];
    struct job_spec *job = NULL;
    int cluster_fd;
    pid_t cluster_pid;
    uint64_t deadline = client_deadline(request->timeout_ms);
    ROOST_TRY(describe_job(request, &job));
    int status = find_socket(request, path, &cluster_fd, &cluster_pid);
    if (status != 0) {
        free(job);
        return error_prefix(status, "roost_open");
    }
    struct roost *rt = client_new(&world_agent);
    int left_ms = client_time_left(deadline);
    const struct link_request link_request = {
        .socket_path = path, .role = CLIENT_DRIVER, .job = job, .timeout_ms = left_ms == 0 ? 1 : left_ms
    };
    status = rt == NULL ? error_set(ROOST_ENOMEM, "no memory for a connection") : link_open(rt, &link_request);
    free(job);
    if (status != 0) {
        client_delete(rt);
        agent_stop(cluster_fd, cluster_pid);
        return error_prefix(status, "roost_open");
    }
    rt->agent->cluster_fd = cluster_fd;
    rt->agent->cluster_pid = cluster_pid;
    rt->book = book;
    *rt_out = rt;
    return 0;
}
