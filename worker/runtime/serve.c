/* serve.c - what a worker process does: take a task, run it, say how it ended
 *
 * Happy path: roost_open() finds $ROOST_WORKER (of a forker: is forked, forker.c) -> connect to $ROOST_AGENT with that
 *             token -> (claim a task from the ring -> copy and check its spec -> task_run() -> results were said -> the
 *             completion) for ever.
 * Failures:   a spec that is not one -> the attempt completes with that. The agent is gone, or the job has ended -> the
 *             process ends, without the user's exit handlers: they are the driver's business.
 * Invariants: one attempt at a time; its scope begins before and ends after it. What it names was said before its
 *             completion is published.
 * Thread:     the one that called roost_open(). */
#include "api/agent_link.h"
#include "api/register.h"
#include "common/bytes.h"
#include "common/forker.h"
#include "worker/runtime/forker.h"
#include "worker/runtime/leased.h"
#include "worker/runtime/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKER_CONNECT_MS = 10000, ARENA_BYTES = 16384 };

static _Noreturn void worker_end(int code)
{
    fflush(NULL);
    _exit(code);
}

/* ---- the end of an attempt ---- */

/* Under the lock: the completion, waiting while its ring is full. */
static int publish(struct agent_link *link, uint64_t run, const struct task_end *end, uint64_t duration_ns)
{
    size_t text_bytes = strlen(end->text);
    size_t bytes = align_up(sizeof(struct wire_complete) + text_bytes, 8);
    struct wire_complete *to = NULL;
    for (unsigned tries = 0; to == NULL; tries++) {
        ROOST_TRY(link_say_all(link));
        to = ring_reserve(&link->completes, bytes);
        if (to == NULL) {
            agent_bell_ring(&link->ringer);
            pthread_mutex_unlock(&link->lock);
            link_back_off(link, tries);
            pthread_mutex_lock(&link->lock);
            link_drain_locked(link);
        }
    }
    memset(to, 0, bytes);
    *to = (struct wire_complete){ .head = { WIRE_COMPLETE, (uint32_t)bytes, 0 },
                                  .run = run,
                                  .status = end->status,
                                  .app_code = end->app_code,
                                  .duration_ns = duration_ns,
                                  .text_bytes = (uint32_t)text_bytes };
    memcpy(to->text, end->text, text_bytes);
    ring_commit(&link->completes);
    return 0;
}

static void complete(struct agent_link *link, uint64_t run, const struct task_end *end, uint64_t duration_ns)
{
    pthread_mutex_lock(&link->lock);
    leases_scope_ends(link, run);
    int status = publish(link, run, end, duration_ns);
    client_scope_end(link->core, run);
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
    if (status != 0) {
        worker_end(0);
    }
    agent_bell_ring(&link->ringer);
}

/* ---- one attempt ---- */

/* A copy of the spec that nobody else can change; NULL with the reason. */
static struct spec *copy_spec(struct agent_link *link, const struct wire_task *task, size_t bytes)
{
    size_t inline_max = bytes - offsetof(struct wire_task, u);
    const void *from = task->is_inline != 0 ? (const void *)task->u.bytes
                                            : store_map_pointer(&link->map, link_place(&task->u.place));
    bool fits = task->is_inline != 0 ? task->spec_bytes <= inline_max
                                     : from != NULL && task->spec_bytes <= task->u.place.bytes;
    struct spec *spec = fits ? malloc(task->spec_bytes == 0 ? 1 : task->spec_bytes) : NULL;
    if (spec == NULL) {
        error_set(fits ? ROOST_ENOMEM : ROOST_EINVAL, "a task spec of %u bytes %s", task->spec_bytes,
                  fits ? "does not fit in memory" : "lies outside the store");
        return NULL;
    }
    memcpy(spec, from, task->spec_bytes);
    if (spec_check(spec, task->spec_bytes) != 0) {
        free(spec);
        return NULL;
    }
    return spec;
}

static void run_spec(struct roost *rt, const struct spec *spec, uint64_t run, uint64_t prefix, uint32_t attempt,
                     struct kept_results *kept, const struct task_values *values, struct task_end *end)
{
    static _Alignas(64) unsigned char arena[ARENA_BYTES]; /* one attempt at a time */
    struct roost_task task;
    task_init(&task, rt, spec, run, attempt);
    task.arena = arena;
    task.arena_bytes = sizeof arena;
    task.kept = kept;
    if (values != NULL) {
        task.values = *values;
    }
    atomic_store_explicit(&rt->agent->run_prefix, prefix, memory_order_relaxed);
    atomic_store_explicit(&rt->run, run, memory_order_relaxed);
    task_run(&task, end);
    atomic_store_explicit(&rt->run, 0, memory_order_relaxed);
    atomic_store_explicit(&rt->agent->run_prefix, 0, memory_order_relaxed);
    fflush(stdout); /* what the task printed belongs to it; the pipe would keep it until there is more */
}

static void run_item(struct roost *rt, const struct task_ring_item *item)
{
    static struct task_end end; /* one attempt at a time */
    const struct wire_task *wire = (const struct wire_task *)(const void *)item->payload;
    struct agent_link *link = rt->agent;
    if (item->bytes < sizeof *wire) {
        return; /* not even a run whose end could be said: the agent notices, as it made the entry */
    }
    uint64_t started_ns = link_now_ns();
    struct spec *spec = copy_spec(link, wire, item->bytes);
    end = (struct task_end){ .status = 0 };
    pthread_mutex_lock(&link->lock);
    int status = spec == NULL ? ROOST_EINVAL : client_scope_begin(link->core, wire->run, spec->task, wire->prefix);
    if (wire->attempt > 0) {
        client_scope_is_again(link->core, wire->run);
    }
    pthread_mutex_unlock(&link->lock);
    if (status == 0) {
        run_spec(rt, spec, wire->run, wire->prefix, wire->attempt, NULL, NULL, &end);
    } else {
        end.status = status;
        snprintf(end.text, sizeof end.text, "%s", spec == NULL ? error_text() : error_name(status));
    }
    complete(link, wire->run, &end, link_now_ns() - started_ns);
    free(spec);
}

/* ---- the loop ---- */

/* From a lease, or from the agent, which gives none while a lease stands. */
static int claim(struct agent_link *link, struct task_ring_item *item, bool *is_leased_out)
{
    int got = leased_claim(link, item);
    *is_leased_out = got != 0;
    return got != 0 ? got : task_ring_claim(&link->tasks, item);
}

static int next_task(struct agent_link *link, struct task_ring_item *item, bool *is_leased_out)
{
    struct waiter *waiter = &link->waiters[CLIENT_BELL_TASKS];
    int got;
    waiter_begin(waiter, ROOST_FOREVER);
    while ((got = claim(link, item, is_leased_out)) == 0) {
        if (atomic_load_explicit(&link->gone, memory_order_acquire) != 0) {
            break;
        }
        if (waiter_pause(waiter) == WAITER_LOOK) {
            link_check_peer(link);
        }
    }
    waiter_end(waiter);
    return got;
}

static _Noreturn void serve(struct roost *rt)
{
    static struct task_ring_item item;
    for (;;) {
        bool is_leased;
        int got = next_task(rt->agent, &item, &is_leased);
        if (got != 1) {
            worker_end(got < 0 ? 1 : 0);
        }
        if (!is_leased) {
            run_item(rt, &item);
        } else if (leased_run(rt, &item, run_spec) != 0) {
            worker_end(0);
        }
    }
}

static int read_token(uint64_t *token_out)
{
    const char *text = getenv("ROOST_WORKER");
    char *end;
    if (strcmp(text, FORKER_TOKEN) == 0) {
        unsetenv("ROOST_WORKER"); /* as below */
        *token_out = forker_serve();
        return 0;
    }
    errno = 0;
    unsigned long long token = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || token == 0) {
        return error_set(ROOST_EINVAL, "roost_open: $ROOST_WORKER is \"%s\", which is no worker's token", text);
    }
    *token_out = token;
    unsetenv("ROOST_WORKER"); /* it is used up: a program that a task starts is no worker */
    return 0;
}

int worker_serve(struct register_book *book)
{
    struct link_request request = { .role = CLIENT_WORKER, .timeout_ms = WORKER_CONNECT_MS };
    request.socket_path = getenv("ROOST_AGENT");
    if (request.socket_path == NULL) {
        return error_set(ROOST_EINVAL, "roost_open: $ROOST_WORKER is set, and $ROOST_AGENT is not");
    }
    ROOST_TRY(read_token(&request.token));
    struct roost *rt = client_new(&world_agent);
    if (rt == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a connection");
    }
    int status = link_open(rt, &request);
    if (status != 0) {
        client_delete(rt);
        return error_prefix(status, "roost_open, in a worker");
    }
    rt->book = book;
    serve(rt);
}
