/* agent_process.c - see the header
 *
 * Happy path: start -> the agent says its address -> what it logs, starts and leaves is looked at -> it is stopped, or
 *             killed.
 * Failures:   a deadline, or an agent that ends by itself, prints why and ends the test.
 * Invariants: processes are found by a variable in their environment that only this agent's have.
 * Thread:     one.
 */
#include "tests/lib/agent_process.h"
#include "common/limits.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

_Noreturn void test_fails(const char *why)
{
    fprintf(stderr, "%s\n", why);
    _Exit(1);
}

void a_moment(void) { poll(NULL, 0, 5); }

/* ------------------------------------------------------------------ processes */

static bool has_variable(const char *pid, const char *variable)
{
    static char text[256 << 10];
    char path[288];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = 0, got = 0;
    while (fd >= 0 && (got = read(fd, text + size, sizeof text - 1 - (size_t)size)) > 0) {
        size += got;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[size] = '\0';
    for (const char *at = text; at < text + size; at += strlen(at) + 1) {
        if (strcmp(at, variable) == 0) {
            return true;
        }
    }
    return false;
}

size_t processes_with(const char *variable, pid_t pids_out[AGENT_PROCESS_CHILDREN_MAX])
{
    DIR *all = opendir("/proc");
    CHECK(all != NULL);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(all)) != NULL;) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && has_variable(entry->d_name, variable)) {
            CHECK(count < AGENT_PROCESS_CHILDREN_MAX);
            pids_out[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    closedir(all);
    return count;
}

bool process_has_ended(pid_t pid, int timeout_ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        CHECK_EQ(errno, ESRCH);
        return true;
    }
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    int ready = poll(&poll_fd, 1, timeout_ms);
    close(fd);
    return ready == 1;
}

/* ------------------------------------------------------------------ the agent */

void agent_folder_make(struct agent_process *agent)
{
    const char *under = getenv("TMPDIR");
    *agent = (struct agent_process){ .pid = -1, .lifeline = -1 };
    snprintf(agent->root, sizeof agent->root, "%.50s/roost-agent-XXXXXX", under == NULL ? "/tmp" : under);
    CHECK(mkdtemp(agent->root) != NULL);
    snprintf(agent->folder, sizeof agent->folder, "%s/node", agent->root);
    CHECK(mkdir(agent->folder, 0700) == 0);
}

static _Noreturn void become_agent(const struct agent_process *agent, const char *cpus, const char *store_bytes,
                                   int ready, int lifeline)
{
    char ready_text[16], lifeline_text[16];
    snprintf(ready_text, sizeof ready_text, "%d", ready);
    snprintf(lifeline_text, sizeof lifeline_text, "%d", lifeline);
    setenv("ROOST_DIR", agent->root, 1);
    execl(ROOST_COMMAND, "roost", "agent", "--folder", agent->folder, "--name", "by-hand", "--cpus", cpus,
          "--store-bytes", store_bytes, "--ready-fd", ready_text, "--lifeline-fd", lifeline_text, (char *)NULL);
    perror(ROOST_COMMAND);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status;
    CHECK(process_has_ended(pid, AGENT_PROCESS_MS));
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

/* The line that the agent writes when it is ready; false at the pipe's end. */
static bool read_line(int fd, char *line_out, size_t capacity)
{
    size_t size = 0;
    for (;;) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        CHECK_EQ(poll(&poll_fd, 1, AGENT_PROCESS_MS), 1);
        CHECK(size < capacity);
        if (read(fd, line_out + size, 1) != 1) {
            return false;
        }
        if (line_out[size] == '\n') {
            line_out[size] = '\0';
            return true;
        }
        size++;
    }
}

bool agent_start(struct agent_process *agent, const char *cpus, const char *store_bytes, int *status_out)
{
    int ready[2], lifeline[2];
    CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(lifeline, O_CLOEXEC) == 0);
    agent->pid = fork();
    CHECK(agent->pid >= 0);
    if (agent->pid == 0) {
        CHECK(fcntl(ready[1], F_SETFD, 0) == 0 && fcntl(lifeline[0], F_SETFD, 0) == 0);
        become_agent(agent, cpus, store_bytes, ready[1], lifeline[0]);
    }
    close(ready[1]);
    close(lifeline[0]);
    agent->lifeline = lifeline[1];
    bool is_ready = read_line(ready[0], agent->socket, sizeof agent->socket);
    close(ready[0]);
    if (!is_ready) {
        *status_out = wait_for(agent->pid);
        close(agent->lifeline);
    }
    return is_ready;
}

int agent_signal(struct agent_process *agent, int signal_number)
{
    CHECK(kill(agent->pid, signal_number) == 0);
    int status = wait_for(agent->pid);
    close(agent->lifeline);
    return status;
}

void agent_folder_check(struct agent_process *agent)
{
    if (rmdir(agent->folder) != 0 || rmdir(agent->root) != 0) {
        DIR *folder = opendir(agent->folder);
        CHECK(folder != NULL);
        for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            fprintf(stderr, "in %s: %s\n", agent->folder, entry->d_name);
        }
        closedir(folder);
        test_fails("something is left in the agent's folder");
    }
}
