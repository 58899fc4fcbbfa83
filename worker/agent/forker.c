/* forker.c - a job's forker as the agent's process sees it
 *
 * Owns the socket and the page that a forker shares with the agent, and the requests that it has not answered yet. The
 * forker itself is a process like a worker's (process.c).
 *
 * Happy path: started -> SAFE -> the core is told -> a worker is wanted: a slot, MAKE -> MADE, or the worker's own
 *             hello comes first -> its pid is read from the page -> it is watched like one that was started.
 * Failures:   UNSAFE, an unknown word, a closed socket -> it is ended. It has ended -> the page tells which of its
 *             requests were done; the others are done by starting.
 * Invariants: a slot is free, or has one process whose child may exist. No more than FORKER_SLOTS requests are on their
 *             way.
 * Thread: the loop's.
 */
#define LOG_TOPIC "forker"
#include "common/forker.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct forker {
    struct process *process; /* that it is */
    int fd;
    struct loop_watch *watch; /* NULL once the socket is closed at the other end */
    struct forker_page *page;
    struct process *slots[FORKER_SLOTS];
    struct list_node queue; /* struct process.queue: wait for a slot */
    bool is_ready;
    char why[FORKER_WHY_BYTES]; /* it ends, in its own words */
};

/* ------------------------------------------------------------------ what it says */

static void tell_core(struct forker *forker, enum agent_forker_said said, int wait_status, const char *why)
{
    struct core_event event = { .kind = CORE_DONE,
                                .u.done = { .token = forker->process->token,
                                            .status = wait_status,
                                            .value = said,
                                            .data = why,
                                            .bytes = strlen(why) } };
    daemon_step(forker->process->daemon, &event);
}

static void send_next(struct forker *forker);

/* The child is there, its pid in the page, or the request is none of the forker's any more. */
static void free_slot(struct process *process)
{
    struct forker *forker = process->slot_of;
    atomic_store_explicit(&forker->page->pids[process->slot], 0, memory_order_relaxed);
    forker->slots[process->slot] = NULL;
    process->slot_of = NULL;
}

bool forker_adopt(struct process *process)
{
    if (process->slot_of == NULL) {
        return false;
    }
    /* relaxed: written by the kernel before it let the child, or the forker's answer, come to pass */
    pid_t pid = atomic_load_explicit(&process->slot_of->page->pids[process->slot], memory_order_relaxed);
    if (pid == 0) {
        return false;
    }
    free_slot(process);
    process_adopt(process, pid);
    return true;
}

static void is_made(struct forker *forker, uint32_t slot)
{
    struct process *process = slot < FORKER_SLOTS ? forker->slots[slot] : NULL;
    if (process != NULL) { /* else it said hello before this */
        forker_adopt(process);
    }
}

static void on_answer(struct forker *forker, const struct forker_answer *answer)
{
    switch ((enum forker_kind)answer->kind) {
    case FORKER_SAFE:
        if (!forker->is_ready) {
            forker->is_ready = true;
            spawn_spare_group(forker->process->spawn); /* children of its that lead no session yet are not its own */
            tell_core(forker, AGENT_FORKER_READY, 0, "");
        }
        return;
    case FORKER_UNSAFE:
        snprintf(forker->why, sizeof forker->why, "%.*s", (int)sizeof answer->why - 1, answer->why);
        return;
    case FORKER_MADE:
        is_made(forker, answer->slot);
        return;
    case FORKER_BEGIN:
    case FORKER_MAKE:
        break;
    }
    log_error("event=bad_answer pid=%lld kind=%u", (long long)forker->process->pid, answer->kind);
    spawn_kill(forker->process->spawn, SIGKILL);
}

static void on_readable(void *arg, unsigned events)
{
    (void)events;
    struct forker *forker = arg;
    struct forker_answer answer;
    struct unix_message message;
    int status;
    while ((status = unix_message_receive(forker->fd, 0, &answer, sizeof answer, &message)) == 0) {
        unix_message_close(&message);
        if (message.size != sizeof answer) {
            status = ROOST_ETOOBIG;
            break;
        }
        on_answer(forker, &answer);
    }
    if (status != ROOST_ETIMEDOUT) { /* its end tells the rest */
        loop_watch_close(forker->watch);
        forker->watch = NULL;
        forker->is_ready = false;
        if (forker->process->spawn != NULL) {
            spawn_kill(forker->process->spawn, SIGKILL);
        }
        return;
    }
    send_next(forker);
}

/* ------------------------------------------------------------------ what it is asked for */

static int send_make(struct forker *forker, struct process *process, uint32_t slot, const int fds[FORKER_MAKE_FDS])
{
    struct forker_request request = {
        .kind = FORKER_MAKE, .layout = FORKER_LAYOUT, .slot = slot, .token = process->token
    };
    ROOST_TRY(process_make_folder(process, request.folder));
    return unix_message_send(forker->fd, &request, sizeof request, fds, FORKER_MAKE_FDS);
}

/* What cannot be asked for is started. */
static void ask(struct forker *forker, struct process *process, uint32_t slot)
{
    int fds[FORKER_MAKE_FDS] = { -1, -1 };
    int status = process_open_outputs(process, fds);
    if (status == 0) {
        status = send_make(forker, process, slot, fds);
    }
    for (int i = 0; i < FORKER_MAKE_FDS; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (status != 0) {
        log_debug("event=not_asked status=%s", error_code_name(status));
        process_launch(process);
        return;
    }
    forker->slots[slot] = process;
    process->slot_of = forker;
    process->slot = slot;
}

static void send_next(struct forker *forker)
{
    for (uint32_t slot = 0; slot < FORKER_SLOTS && !list_is_empty(&forker->queue); slot++) {
        if (forker->slots[slot] == NULL) {
            struct process *process = CONTAINER_OF(forker->queue.next, struct process, queue);
            list_remove(&process->queue);
            ask(forker, process, slot);
        }
    }
}

bool forker_take(struct forker *forker, struct process *process)
{
    if (forker == NULL || !forker->is_ready) {
        return false;
    }
    list_append(&forker->queue, &process->queue);
    send_next(forker);
    return true;
}

/* ------------------------------------------------------------------ its life */

static int begin(struct forker *forker, int page_fd)
{
    struct forker_request request = { .kind = FORKER_BEGIN, .layout = FORKER_LAYOUT };
    process_folder(forker->process, request.folder);
    return unix_message_send(forker->fd, &request, sizeof request, &page_fd, 1);
}

int forker_create(struct process *process, int *child_fd_out)
{
    int fds[2], page_fd = -1;
    void *page = NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return error_from_errno("a forker's socket");
    }
    struct forker *forker = calloc(1, sizeof *forker);
    ROOST_INVARIANT(forker != NULL);
    *forker = (struct forker){ .process = process, .fd = fds[0] };
    list_init(&forker->queue);
    int status = shared_memory_create(FORKER_PAGE_NAME, sizeof *forker->page, &page_fd, &page);
    forker->page = page;
    if (status == 0) {
        status = begin(forker, page_fd);
        close(page_fd);
    }
    if (status == 0) {
        status = loop_watch_start(process->daemon->loop, fds[0], LOOP_READ, on_readable, forker, &forker->watch);
    }
    process->forker = forker;
    if (status != 0) {
        close(fds[1]);
        return status;
    }
    *child_fd_out = fds[1];
    return 0;
}

void forker_is_over(struct forker *forker, int wait_status)
{
    forker->is_ready = false;
    if (forker->watch != NULL) {
        struct forker_answer answer; /* its last word may have come after its end was seen */
        struct unix_message message;
        while (unix_message_receive(forker->fd, 0, &answer, sizeof answer, &message) == 0) {
            unix_message_close(&message);
            if (message.size == sizeof answer && answer.kind == FORKER_UNSAFE) {
                on_answer(forker, &answer);
            }
        }
    }
    if (!forker->process->daemon->is_stopping) {
        tell_core(forker, AGENT_FORKER_OVER, wait_status,
                  forker->why[0] != '\0' ? forker->why : forker->process->last_words);
    }
    for (uint32_t slot = 0; slot < FORKER_SLOTS; slot++) {
        struct process *process = forker->slots[slot];
        if (process != NULL && !forker_adopt(process)) {
            free_slot(process);
            process_launch(process);
        }
    }
    LIST_EACH_SAFE (at, &forker->queue) {
        list_remove(at);
        process_launch(CONTAINER_OF(at, struct process, queue));
    }
}

void forker_destroy(struct forker *forker)
{
    if (forker == NULL) {
        return;
    }
    loop_watch_close(forker->watch);
    close(forker->fd);
    if (forker->page != NULL) {
        munmap(forker->page, sizeof *forker->page);
    }
    free(forker);
}
