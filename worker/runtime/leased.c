/* leased.c - a worker's side of a lease: tasks that a client of its node pushes straight into its ring
 *
 * Happy path: a lease stands -> the memory is attached -> claim -> run -> the results, small ones inside, into the ring of
 *             completions -> the bell of the thread that takes them in. The agent hears of it only when the task needs the
 *             agent: its scope says so itself (client_run_begin).
 * Failures:   a task under the number of a lease that is over -> counted and dropped: its holder took everything back.
 *             no room in the ring of completions -> the holder is rung and waited for.
 *             a spec that is not one -> done, with that.
 *             an argument that was here at the push and is gone -> not begun; the holder is told, and has it go the agent's
 *             way, who brings it. The next task is not kept waiting.
 * Invariants: what a result names was said before its completion is published. A completion is published before the next
 *             task is claimed: of a dead worker's tasks at most one was running.
 * Thread:     the worker's. */
#include "worker/runtime/leased.h"
#include "common/bytes.h"
#include "common/thread_hooks.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MISSING_MS = 5,       /* a moment for the agent: it may not have read yet that the argument was made */
    RING_LATE_NS = 50000, /* a wake-up costs both sides as much as a small task */
    RING_PATIENT_NS = 200000,
    RING_DRY_NS = 50000 /* the holder is to push more before this worker has nothing to do */
};

uint64_t leased_number(const struct agent_link *link)
{
    const struct lease_page_head *page = link->lease_page;
    /* acquire: the memory is laid out once there is a number */
    return page == NULL ? 0 : atomic_load_explicit(&page->lease, memory_order_acquire);
}

static int attach(struct agent_link *link)
{
    struct lease_page_head *page = link->lease_page;
    const struct lease_page_layout layout = lease_page_layout();
    unsigned char *base = (unsigned char *)page;
    ROOST_TRY(lease_page_check(page, layout.bytes));
    ROOST_TRY(task_ring_attach(&link->lease_tasks, base + layout.tasks, LEASE_SLOTS, LEASE_TAKER_WORKER));
    ROOST_TRY(ring_producer_attach(&link->lease_completes, base + layout.completes, LEASE_COMPLETES_BYTES));
    link->lease_is_attached = true;
    return 0;
}

static struct client_bells *holder_bells(const struct agent_link *link)
{
    uint32_t holder = atomic_load_explicit(&link->lease_page->holder, memory_order_relaxed); /* relaxed: a hint */
    return &link->node_bells[holder % CLIENTS_MAX];
}

/* Nothing more comes that would ring for it. */
static void ring_at_last(struct agent_link *link)
{
    struct client_bells *bells = holder_bells(link);
    uint32_t lead = atomic_load_explicit(&bells->lead,
                                         memory_order_relaxed); /* relaxed: whoever begins to lead looks */
    link->leased_unrung_ns = 0;
    if (lead != CLIENT_LEAD_NONE) {
        doorbell_ring(&bells->of[lead % CLIENT_DOORBELLS].doorbell);
    }
}

static int claim(struct agent_link *link, struct task_ring_item *item)
{
    uint64_t number = leased_number(link);
    if (number == 0) {
        return 0;
    }
    if (!link->lease_is_attached) {
        ROOST_TRY(attach(link));
    }
    int got;
    while ((got = task_ring_claim(&link->lease_tasks, item)) == 1 && item->lease != number) {
        number = leased_number(link); /* the next lease may have begun since */
        if (item->lease == number) {
            break;
        }
        link->leased_stale++;
    }
    return got;
}

int leased_claim(struct agent_link *link, struct task_ring_item *item)
{
    int got = claim(link, item);
    if (got == 0 && link->leased_unrung_ns != 0) {
        ring_at_last(link);
    }
    return got;
}

bool leased_has_more(struct agent_link *link)
{
    return link->lease_is_attached && task_ring_has_queued(&link->lease_tasks);
}

/* ---- the end ---- */

static size_t measure(const struct kept_results *kept, uint32_t results, size_t text_bytes)
{
    size_t bytes = sizeof(struct lease_done) + align_up(text_bytes, 8);
    for (uint32_t i = 0; i < results; i++) {
        bytes += sizeof(struct lease_result) + (kept->of[i].is_kept ? align_up(kept->of[i].bytes, 8) : 0);
    }
    return bytes;
}

static void write_done(unsigned char *to, const struct lease_done *done, const struct kept_results *kept,
                       const char *text)
{
    memcpy(to, done, sizeof *done);
    to += sizeof *done;
    memcpy(to, text, done->text_bytes);
    to += align_up(done->text_bytes, 8);
    for (uint32_t i = 0; i < done->results; i++) {
        const struct lease_result result = { kept->of[i].is_kept ? LEASE_RESULT_INLINE : LEASE_RESULT_STORED,
                                             kept->of[i].bytes };
        memcpy(to, &result, sizeof result);
        to += sizeof result;
        if (kept->of[i].is_kept) {
            memcpy(to, kept->data + kept->of[i].offset, kept->of[i].bytes);
            to += align_up(kept->of[i].bytes, 8);
        }
    }
}

/* A thread that sleeps is woken for several completions at once, as long as they come fast and this worker has more to do
 * than a wake-up takes. Should the next one take longer than this one did: the holder's library looks once in a millisecond
 * while a ring has tasks. */
static bool is_too_early(struct agent_link *link, const struct client_bells *bells, const struct doorbell *bell,
                         uint64_t duration_ns, uint64_t now_ns)
{
    uint64_t until_dry = 1 + RING_DRY_NS / (1 + duration_ns);
    if (!doorbell_is_armed(bell) || until_dry >= LEASE_SLOTS ||
        !task_ring_has_ahead(&link->lease_tasks, (uint32_t)until_dry)) {
        return false;
    }
    bool is_patient = atomic_load_explicit(&bells->is_patient, memory_order_relaxed) != 0; /* relaxed: a hint */
    link->leased_unrung_ns = link->leased_unrung_ns == 0 ? now_ns : link->leased_unrung_ns;
    return now_ns - link->leased_unrung_ns + duration_ns < (is_patient ? RING_PATIENT_NS : RING_LATE_NS);
}

/* Whoever takes completions in. The library's thread, if it is that one, may have more to do here once there is nothing
 * left. If it is nobody, what is but a value waits until somebody looks, while there is room. */
static void ring_holder(struct agent_link *link, bool is_but_values, uint64_t duration_ns, uint64_t now_ns)
{
    struct client_bells *bells = holder_bells(link);
    full_barrier(); /* the completion is visible before the lead is read */
    uint32_t lead = atomic_load_explicit(&bells->lead, memory_order_relaxed); /* relaxed: after the fence */
    struct doorbell *bell = &bells->of[lead % CLIENT_DOORBELLS].doorbell;
    bool waits = lead == CLIENT_LEAD_NONE || (lead == CLIENT_BELL_LIBRARY && leased_has_more(link));
    if (waits) {
        if (!is_but_values || ring_space(&link->lease_completes) < LEASE_COMPLETES_BYTES / 2) {
            doorbell_ring(&bells->of[CLIENT_BELL_LIBRARY].doorbell);
        }
    } else if (!is_too_early(link, bells, bell, duration_ns, now_ns)) {
        link->leased_unrung_ns = 0;
        doorbell_ring(bell);
    }
}

static bool is_but_values(const struct lease_done *done, const struct kept_results *kept)
{
    bool is_kept = done->status == 0 && done->needs_pull == 0; /* else it may be tried again, or goes another way */
    for (uint32_t i = 0; i < done->results; i++) {
        is_kept = is_kept && kept->of[i].is_kept;
    }
    return is_kept;
}

static int publish(struct agent_link *link, const struct lease_done *done, const struct kept_results *kept,
                   const char *text, uint64_t now_ns)
{
    size_t bytes = measure(kept, done->results, done->text_bytes);
    void *to;
    for (unsigned tries = 0; (to = ring_reserve(&link->lease_completes, bytes)) == NULL; tries++) {
        ROOST_TRY(link_gone(link));
        doorbell_ring(&holder_bells(link)->of[CLIENT_BELL_LIBRARY].doorbell);
        link_back_off(link, tries);
    }
    write_done(to, done, kept, text);
    ring_commit(&link->lease_completes);
    ring_holder(link, is_but_values(done, kept), done->duration_ns, now_ns);
    return 0;
}

/* Under the lock: the run's end, into the ring of completes, waiting while it is full. */
static int say_run_end(struct agent_link *link, uint64_t run, int status)
{
    struct wire_run_end *to = NULL;
    for (unsigned tries = 0; to == NULL; tries++) {
        ROOST_TRY(link_say_all(link));
        to = ring_reserve(&link->completes, sizeof *to);
        if (to == NULL) {
            agent_bell_ring(&link->ringer);
            pthread_mutex_unlock(&link->lock);
            link_back_off(link, tries);
            pthread_mutex_lock(&link->lock);
            link_drain_locked(link);
        }
    }
    *to = (struct wire_run_end){ .head = { WIRE_RUN_END, sizeof *to, 0 }, .run = run, .status = status };
    ring_commit(&link->completes);
    agent_bell_ring(&link->ringer);
    return 0;
}

/* ---- one task ---- */

static bool is_here(struct roost *rt, roost_ref ref)
{
    int8_t ready = 0;
    const struct wait_request request = { &ref, 1, 1, true, &ready, MISSING_MS, NULL };
    int answer = client_peek(rt, ref, NULL);
    if (answer != STORE_GET_ASK && answer != STORE_GET_WAIT) {
        return true;
    }
    rt->world->wait(rt, &request);
    return ready != 0; /* or it never will be, and the attempt says why */
}

/* All that did not come along. */
static bool inputs_are_here(struct roost *rt, const struct spec *spec, const struct task_values *values)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        const void *data;
        uint32_t bytes;
        if (spec_arg_is_input(arg) && !task_values_find(values, i, &data, &bytes) && !is_here(rt, arg->as.ref)) {
            return false;
        }
    }
    return true;
}

int leased_run(struct roost *rt, const struct task_ring_item *item, task_body *body)
{
    static struct kept_results kept; /* one at a time */
    static struct task_end end;
    struct agent_link *link = rt->agent;
    _Alignas(8) unsigned char copy[TASK_PAYLOAD_BYTES_MAX];
    const struct lease_task *task = (const struct lease_task *)(const void *)item->payload;
    const struct spec *spec = (const struct spec *)(const void *)copy;
    struct lease_done done = { .lease = item->lease, .ticket = item->ticket, .attempt = item->attempt };
    uint64_t started_ns = link_now_ns();
    int status = ROOST_EINVAL;
    struct task_values values = { .at = copy, .end = copy };
    if (item->bytes >= sizeof *task && align_up(task->spec_bytes, 8) <= item->bytes - sizeof *task) {
        memcpy(copy, task + 1, item->bytes - sizeof *task);
        values.at = copy + align_up(task->spec_bytes, 8);
        values.end = copy + (item->bytes - sizeof *task);
        values.count = task->values;
        status = spec_check(copy, task->spec_bytes);
        if (status == 0 && spec->returns > LEASE_RETURNS_MAX) {
            status = error_set(ROOST_EINVAL, "a leased task of %u results, at most %d", spec->returns,
                               LEASE_RETURNS_MAX);
        }
    }
    if (status == 0) {
        const struct lease_run run = {
            .ticket = item->ticket, .task = spec->task, .since_ns = started_ns, .attempt = item->attempt
        };
        lease_page_begin(link->lease_page, &run, spec_function(spec)); /* which spec_check() has measured */
    }
    if (status == 0 && !inputs_are_here(rt, spec, &values)) {
        lease_page_end(link->lease_page);
        done.needs_pull = 1;
        return publish(link, &done, &kept, "", started_ns);
    }
    kept.used = 0;
    memset(kept.of, 0, (status == 0 ? spec->returns : 0) * sizeof kept.of[0]);
    end.status = end.app_code = 0;
    end.text[0] = '\0';
    done.run = WIRE_RUN_OWN | ++link->leased_runs;
    pthread_mutex_lock(&link->lock);
    status = status != 0 ? status : client_run_begin(link->core, done.run, spec->task);
    if (item->attempt > 0) {
        client_scope_is_again(link->core, done.run);
    }
    pthread_mutex_unlock(&link->lock);
    if (status == 0) {
        body(rt, spec, done.run, run_prefix(spec->task, link->prefix, done.run), item->attempt, &kept, &values, &end);
    } else {
        end.status = status;
        snprintf(end.text, sizeof end.text, "%s", status == ROOST_EINVAL ? error_text() : error_name(status));
    }
    pthread_mutex_lock(&link->lock);
    leases_scope_ends(link, done.run);
    int said = client_run_is_told(link->core, done.run) ? say_run_end(link, done.run, end.status) : 0;
    client_scope_end(link->core, done.run);
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
    lease_page_end(link->lease_page);
    done.status = end.status;
    done.app_code = end.app_code;
    done.text_bytes = (uint32_t)strlen(end.text);
    done.results = end.status == 0 ? spec->returns : 0;
    uint64_t now_ns = link_now_ns();
    done.duration_ns = now_ns - started_ns;
    return said != 0 ? said : publish(link, &done, &kept, end.text, now_ns);
}
