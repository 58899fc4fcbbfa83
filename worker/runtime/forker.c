/* forker.c - the job's program, waiting inside roost_open() to be forked
 *
 * Owns the socket to the agent, and the page in which the kernel leaves the pid of each child.
 *
 * Happy path: what stands before roost_open() has run -> fork_check() -> SAFE -> (MAKE -> a child -> MADE) for ever.
 *             The child: its own session, folder and outputs, then serve.c goes on as after a start.
 * Failures:   fork_check() has an objection, or no child can be made -> UNSAFE with the reason, and the end. The agent
 *             ends -> the kernel ends the forker, and each child.
 * Invariants: nothing of libroost has begun here: no thread, no connection, no shared mapping but the page, which
 *             children do not get. stdio is flushed before the first child.
 * Thread: the only one.
 *
 * A child must be the agent's (CLONE_PARENT), for the agent waits for it and its end must be the child's. fork() cannot
 * do that, so what glibc's does beside the system call is done here, and fork_check() refuses what cannot be done here:
 * other threads' locks, and the handlers of pthread_atfork().
 */
#include "worker/runtime/forker.h"
#include "common/error.h"
#include "common/forker.h"
#include "common/unix_client.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FORKER_BEGIN_MS = 10000 };

struct forker {
    pid_t agent;
    struct forker_page *page;
    int32_t *tid; /* where glibc keeps the thread's own number */
    struct robust_list_head *robust;
    size_t robust_bytes;
};

static void answer(enum forker_kind kind, uint32_t slot, const char *why)
{
    struct forker_answer answer = { .kind = kind, .slot = slot };
    snprintf(answer.why, sizeof answer.why, "%s", why);
    if (unix_message_send(FORKER_FD, &answer, sizeof answer, NULL, 0) != 0) {
        _exit(0); /* the agent has no use for this forker any more */
    }
}

static _Noreturn void refuse(const char *why)
{
    answer(FORKER_UNSAFE, 0, why);
    _exit(0);
}

static void receive(int timeout_ms, enum forker_kind kind, size_t fds_count, struct forker_request *request,
                    struct unix_message *message)
{
    int status = unix_message_receive(FORKER_FD, timeout_ms, request, sizeof *request, message);
    if (status != 0) {
        _exit(0);
    }
    if (message->size != sizeof *request || request->layout != FORKER_LAYOUT || request->kind != (uint32_t)kind ||
        request->slot >= FORKER_SLOTS || message->fds_count != fds_count) {
        refuse("library and agent do not understand each other");
    }
    request->folder[sizeof request->folder - 1] = '\0';
}

/* ------------------------------------------------------------------ the child */

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "a forked worker: %s: %s\n", what, strerror(errno));
    _exit(126);
}

/* What a start gives a worker, and what glibc's fork() gives a child. */
static void become_worker(const struct forker *forker, const struct forker_request *request, const int *outputs)
{
    syscall(SYS_set_robust_list, forker->robust, forker->robust_bytes);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != forker->agent) {
        _exit(EXIT_FAILURE); /* the agent is gone, and nobody reads this */
    }
    setsid(); /* it leads no group: this cannot fail */
    if (dup2(outputs[0], STDOUT_FILENO) < 0 || dup2(outputs[1], STDERR_FILENO) < 0) {
        give_up("its output");
    }
    if (chdir(request->folder) != 0) {
        give_up(request->folder);
    }
    close(outputs[0]);
    close(outputs[1]);
    close(FORKER_FD);
}

/* ------------------------------------------------------------------ the forker */

/* Of this thread, as glibc has told the kernel: a child must tell it anew, and its own number is to be put there. */
static void find_own_thread(struct forker *forker)
{
    if (prctl(PR_GET_TID_ADDRESS, &forker->tid) != 0 || forker->tid == NULL ||
        *forker->tid != (int32_t)syscall(SYS_gettid)) {
        refuse("this kernel does not tell where a thread keeps its number");
    }
    if (syscall(SYS_get_robust_list, 0, &forker->robust, &forker->robust_bytes) != 0) {
        refuse("this kernel does not tell a thread's robust list");
    }
}

static void map_page(struct forker *forker, int fd)
{
    void *page = mmap(NULL, sizeof *forker->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || madvise(page, sizeof *forker->page, MADV_DONTFORK) != 0) {
        refuse("its page cannot be mapped");
    }
    close(fd);
    forker->page = page;
}

/* 0 in the child. The pid is in the page before the child runs, whatever becomes of this process meanwhile. */
static pid_t make_child(const struct forker *forker, uint32_t slot)
{
    struct clone_args args = { .flags = CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                               .parent_tid = (uint64_t)(uintptr_t)&forker->page->pids[slot],
                               .child_tid = (uint64_t)(uintptr_t)forker->tid };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

uint64_t forker_serve(void)
{
    struct forker forker = { .agent = getppid() };
    struct forker_request request;
    struct unix_message message;
    receive(FORKER_BEGIN_MS, FORKER_BEGIN, 1, &request, &message);
    int page_fd = message.fds[0];
    fflush(NULL);
    find_own_thread(&forker);
    map_page(&forker, page_fd);
    const char *objection = fork_check(request.folder);
    if (objection != NULL) {
        refuse(objection);
    }
    answer(FORKER_SAFE, 0, "");
    for (;;) {
        receive(ROOST_FOREVER, FORKER_MAKE, FORKER_MAKE_FDS, &request, &message);
        pid_t pid = make_child(&forker, request.slot);
        if (pid == 0) {
            become_worker(&forker, &request, message.fds);
            return request.token;
        }
        if (pid < 0) {
            char why[FORKER_WHY_BYTES];
            snprintf(why, sizeof why, "no child could be made: %s", strerror(errno));
            refuse(why);
        }
        unix_message_close(&message);
        answer(FORKER_MADE, request.slot, "");
    }
}
