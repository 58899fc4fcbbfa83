/* agent.c - the step function: which event goes to whom, and what is settled before the step ends
 *
 * Happy path: an event changes records in one file and leaves marks (unnamed objects, failing tasks, room or workers
 *             that came free); settle() works the marks off, so that no function frees a record under another one's
 *             feet. More of them than a step has room for go on in the next one, which a timer begins at once.
 * Failures:   a client that breaks the protocol is killed, what it did before stands.
 * Invariants: agent_is_valid().
 * Thread:     the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

void *agent_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    ROOST_INVARIANT(memory != NULL);
    return memory;
}

void agent_note(struct agent *agent, const char *what, uint64_t a, uint64_t b)
{
    uint64_t begin; /* of the word: tells it from the others */
    memcpy(&begin, what, sizeof begin);
    trace_add(what, a, b, agent->now_ns);
    agent->state_hash = hash_step(hash_step(hash_step(agent->state_hash, begin), a), b);
}

int agent_create(struct agent **agent_out, const struct agent_config *config)
{
    ROOST_PRE(config->segments_count > 0 && config->segments_count <= STORE_SEGMENTS_MAX);
    struct agent *agent = calloc(1, sizeof *agent);
    if (agent == NULL) {
        return ROOST_ENOMEM;
    }
    agent->config = *config;
    agent->cpus_free = config->cpus_hundredths;
    agent->recall_ns = agent->deadline_ns = agent->armed_ns = UINT64_MAX;
    list_init(&agent->task_leases);
    struct list_node *lists[] = { &agent->holds,    &agent->drops,         &agent->idle,    &agent->leaving,
                                  &agent->members,  &agent->pulls,         &agent->serves,  &agent->objects,
                                  &agent->unknown,  &agent->unnamed,       &agent->unheard, &agent->failing,
                                  &agent->finished, &agent->clients,       &agent->tasks,   &agent->ready,
                                  &agent->jobs,     &agent->room_requests, &agent->given,   &agent->arrived };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    for (uint32_t i = 0; i < config->segments_count; i++) {
        int status = extent_init(&agent->segments[i], config->segment_bytes[i]);
        if (status != 0) {
            agent_destroy(agent);
            return status;
        }
        agent->counts.bytes_total += config->segment_bytes[i];
    }
    *agent_out = agent;
    return 0;
}

void agent_destroy(struct agent *agent)
{
    if (agent == NULL) {
        return;
    }
    leases_fini(agent);
    clients_fini(agent);
    workers_fini(agent);
    tasks_fini(agent);
    pulls_fini(agent);
    transits_fini(agent);
    objects_fini(agent);
    room_fini(agent);
    for (uint32_t i = 0; i < agent->config.segments_count; i++) {
        extent_fini(&agent->segments[i]);
    }
    struct id_map *maps[] = { &agent->objects_by_id,    &agent->leases,         &agent->tasks_by_id,
                              &agent->attempts_by_run,  &agent->clients_by_key, &agent->evicted,
                              &agent->pulls_by_transfer };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        id_map_fini(maps[i]);
    }
    LIST_EACH_SAFE (at, &agent->members) {
        free(CONTAINER_OF(at, struct member, all));
    }
    free(agent->forgotten);
    free(agent->progress);
    free(agent->pulled);
    free(agent);
}

static void done(struct agent *agent, const struct core_event *event)
{
    uint64_t serial = agent_token_serial(event->u.done.token);
    switch (agent_token_kind(event->u.done.token)) {
    case AGENT_TOKEN_RETIRE:
        object_reclaimed(agent, serial);
        break;
    case AGENT_TOKEN_SPAWN:
        worker_not_started(agent, event->u.done.token, event->u.done.status, event->u.done.data, event->u.done.bytes);
        break;
    case AGENT_TOKEN_EVICT:
        room_evicted(agent, serial);
        break;
    case AGENT_TOKEN_PULL:
        pull_done(agent, event);
        break;
    case AGENT_TOKEN_SERVE:
        pull_served(agent, event);
        break;
    case AGENT_TOKEN_NAMES:
        if (serial == 0) {
            transit_give(agent, event->u.done.data);
        } else {
            transit_taken(agent, serial);
        }
        break;
    case AGENT_TOKEN_TOUCHED:
        objects_touched(agent, event->u.done.data);
        break;
    case AGENT_TOKEN_FORKER:
        forker_done(agent, event);
        break;
    case AGENT_TIMER:
        ROOST_IMPOSSIBLE("nothing was asked for under this token");
    }
}

/* One timer serves every deadline: the earliest of them. Others are armed by link.c. What is kept may be too early, as
 * some are met before their time: then the tick finds nothing, and looks for the next. */
void agent_deadline(struct agent *agent, uint64_t at_ns)
{
    agent->deadline_ns = at_ns < agent->deadline_ns ? at_ns : agent->deadline_ns;
}

static uint64_t next_deadline(const struct agent *agent)
{
    uint64_t room = room_next_deadline(agent), worker = worker_next_deadline(agent);
    return room < worker ? room : worker;
}

static void expire(struct agent *agent)
{
    room_expire(agent);
    worker_expire(agent);
    agent->dispatch_due = agent->dispatch_due || agent->recall_ns <= agent->now_ns;
    agent->deadline_ns = next_deadline(agent);
    agent->armed_ns = UINT64_MAX;
}

static void arm(struct agent *agent)
{
    uint64_t next = agent->recall_ns < agent->deadline_ns ? agent->recall_ns : agent->deadline_ns;
    if (next != UINT64_MAX && next != agent->armed_ns) {
        agent->armed_ns = next;
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_DEADLINES), next);
    }
}

static bool has_marks(const struct agent *agent)
{
    return !list_is_empty(&agent->unnamed) || !list_is_empty(&agent->failing) || !list_is_empty(&agent->finished) ||
           agent->room_due || agent->pull_due || agent->dispatch_due || agent->cycles_are_due;
}

/* Until nothing is left to do: letting go of objects may finish tasks, and what they used may start others. */
static void settle(struct agent *agent)
{
    do {
        agent->is_behind = false;
        task_sweep(agent);
        object_sweep(agent);
        if (agent->room_due) {
            agent->room_due = false;
            room_retry(agent);
            agent->pull_due = true;
        }
        if (agent->pull_due) {
            agent->pull_due = false;
            pull_retry(agent);
        }
        if (agent->dispatch_due) {
            agent->dispatch_due = false;
            worker_dispatch(agent);
        }
        if (agent->cycles_are_due && list_is_empty(&agent->unnamed)) {
            agent->cycles_are_due = false;
            cycles_end(agent);
        }
    } while (!agent->is_behind && has_marks(agent));
    link_flush(agent);
    transit_settle(agent);
    object_sweep(agent); /* what only a transit held; its DROP goes by a timer in any case */
    link_flush(agent);
    if (agent->is_behind) {
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_SETTLE), agent->now_ns);
    }
    arm(agent);
}

static void step(void *core, const struct core_event *event, struct core_out *out)
{
    struct agent *agent = core;
    ROOST_PRE(event->now_ns >= agent->now_ns);
    agent->now_ns = event->now_ns;
    agent->out = out;
    switch (event->kind) {
    case CORE_TICK:
        if (agent_token_serial(event->u.timer.key) == AGENT_TIMER_DEADLINES) {
            expire(agent);
        } else if (agent_token_serial(event->u.timer.key) == AGENT_TIMER_PULLS) {
            agent->pull_due = true;
        } else if (agent_token_serial(event->u.timer.key) == AGENT_TIMER_NAMES) {
            transit_timer(agent);
        } else {
            link_timer(agent, agent_token_serial(event->u.timer.key));
        }
        break;
    case CORE_CLIENT_UP:
        client_up(agent, event);
        break;
    case CORE_RING_ENTRY:
        client_entry(agent, event);
        break;
    case CORE_CLIENT_GONE:
        client_gone(agent, event->u.client.client, event->u.client.status);
        break;
    case CORE_DRAINED:
        leases_drained(agent, agent->drain);
        object_check_unknown(agent);
        break;
    case CORE_DONE:
        done(agent, event);
        break;
    case CORE_SESSION_UP:
    case CORE_SESSION_LOST:
        link_session(agent, event);
        break;
    case CORE_MESSAGE:
        link_message(agent, event);
        break;
    }
    settle(agent);
    agent->out = NULL;
}

static bool is_valid(const void *core)
{
    struct agent *agent = (struct agent *)(uintptr_t)core; /* the lists have no const walk; nothing is changed */
    uint64_t used = 0;
    for (uint32_t i = 0; i < agent->config.segments_count; i++) {
        if (!extent_is_valid(&agent->segments[i])) {
            return false;
        }
        used += agent->segments[i].bytes - agent->segments[i].free_bytes;
    }
    if (used != agent->counts.bytes_used || agent->deadline_ns > next_deadline(agent)) {
        return false;
    }
    LIST_EACH (at, &agent->objects) {
        if (!object_is_valid(CONTAINER_OF(at, struct object, all))) {
            return false;
        }
    }
    int64_t cpus = agent->config.cpus_hundredths;
    uint64_t memory_booked = 0;
    LIST_EACH (at, &agent->tasks) {
        const struct task *task = CONTAINER_OF(at, struct task, all);
        if ((task->state == TASK_RUNNING) != (task->attempt != NULL)) {
            return false;
        }
        if (task->attempt != NULL && task->attempt->has_cpu) {
            cpus -= task->spec->cpus_hundredths;
        }
        memory_booked += task->attempt != NULL ? task->spec->memory_bytes : 0;
    }
    int64_t leased;
    return leases_are_valid(agent, &leased) && cpus - leased == agent->cpus_free &&
           memory_booked == agent->memory_booked;
}

static uint64_t hash(const void *core) { return ((const struct agent *)core)->state_hash; }

const struct core_vtable agent_core = {
    .name = "agent",
    .out_bytes_max = AGENT_OUT_BYTES_MAX,
    .step = step,
    .touched_are_valid = is_valid,
    .is_valid = is_valid,
    .hash = hash,
};

struct agent_counts agent_counts(const struct agent *agent)
{
    struct agent_counts counts = agent->counts;
    counts.cpus_hundredths_free = agent->cpus_free;
    counts.workers = agent->workers_count;
    return counts;
}
