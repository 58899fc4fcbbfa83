/* load.c - what the head is told of this node, beside tasks and objects
 *
 * Owns the counts of bytes that have come from each peer, what has become of the head's tasks before their end, and
 * when LOAD and PROGRESS are said.
 *
 * Happy path: something changes -> a timer -> LOAD, with whatever else has changed until then; that attempts block is
 *             said at the end of the turn.
 * Failures:   no head -> nothing is said; the LIST of the next session says all of it.
 * Limits:     one LOAD and one PROGRESS, of PROTO_ITEMS_MAX items, in LOAD_PAUSE_NS; PULL_PEERS_COUNTED_MAX peers are
 *             counted each, the rest together.
 * Invariants: counts only grow, while this process lives.
 * Thread: the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

enum { LOAD_PAUSE_NS = 50000000 };

static struct pulled *pulled_from(struct agent *agent, uint32_t node)
{
    for (uint32_t i = 0; i < agent->pulled_count; i++) {
        if (agent->pulled[i].node == node) {
            return &agent->pulled[i];
        }
    }
    if (agent->pulled_count >= PULL_PEERS_COUNTED_MAX && node != 0) {
        return pulled_from(agent, 0);
    }
    if (agent->pulled == NULL) {
        agent->pulled = agent_alloc((PULL_PEERS_COUNTED_MAX + 1) * sizeof *agent->pulled);
    }
    struct pulled *pulled = &agent->pulled[agent->pulled_count++];
    pulled->node = node;
    return pulled;
}

void load_pulled(struct agent *agent, uint32_t node, uint64_t bytes)
{
    struct pulled *pulled = pulled_from(agent, node);
    pulled->bytes += bytes;
    pulled->is_told = false;
    agent->counts.pulled_bytes += bytes;
}

void load_progress(struct agent *agent, const struct task *task, uint32_t source, uint64_t bytes)
{
    if (!agent->head_is_up || !task->is_from_head || agent->progress_count == PROTO_ITEMS_MAX) {
        return; /* what is not said is free at the head when the task has ended */
    }
    if (agent->progress_count == agent->progress_capacity) {
        agent->progress_capacity = agent->progress_capacity * 2 + 64;
        agent->progress = realloc(agent->progress, agent->progress_capacity * sizeof *agent->progress);
        ROOST_INVARIANT(agent->progress != NULL);
    }
    agent->progress[agent->progress_count++] = (struct proto_progress_item){ task->id, task->head_attempt, source,
                                                                             bytes };
}

static struct proto_load load_now(const struct agent *agent)
{
    struct agent_counts counts = agent_counts(agent);
    return (struct proto_load){
        .cpus_free_hundredths = agent->cpus_free > 0 ? (uint32_t)agent->cpus_free : 0,
        .memory_free_bytes = memory_free(agent),
        .store_free_bytes = counts.bytes_total - counts.bytes_used,
        .store_used_bytes = counts.bytes_used,
        .queued = (uint32_t)(counts.tasks_ready + counts.tasks_waiting),
        .running = (uint32_t)counts.tasks_running,
        .workers = (uint32_t)counts.workers,
        .attempts_done = counts.attempts_done,
        .blocked_hundredths = agent->blocked_hundredths,
        .leased = (uint32_t)counts.leases,
    };
}

static uint64_t load_hash(const struct agent *agent, const struct proto_load *load)
{
    uint64_t words[] = { load->cpus_free_hundredths,
                         load->memory_free_bytes,
                         load->store_used_bytes,
                         load->queued,
                         load->running,
                         load->workers,
                         load->attempts_done,
                         load->blocked_hundredths,
                         load->leased,
                         agent->counts.pulled_bytes };
    return hash64(words, sizeof words, 7);
}

void load_flush(struct agent *agent)
{
    struct proto_load load = load_now(agent);
    bool has_news = agent->progress_count > 0 || load_hash(agent, &load) != agent->load_told;
    if (agent->blocked_hundredths > agent->blocked_told) { /* what they wait for may wait for their place */
        agent->load_is_due = true;
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LOAD), agent->now_ns);
    } else if (!agent->load_is_due && has_news) {
        agent->load_is_due = true;
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LOAD), agent->now_ns + LOAD_PAUSE_NS);
    }
}

static struct proto_message *say(struct agent *agent, enum proto_kind kind)
{
    struct proto_message *message = core_put(agent->out, CORE_SEND, core_peer_key((struct core_peer){ 0, 0 }), 0,
                                             sizeof *message);
    message->kind = kind;
    return message;
}

static void say_progress(struct agent *agent)
{
    if (agent->progress_count > 0) {
        struct proto_progress_item *items = core_alloc(agent->out, agent->progress_count * sizeof *items);
        memcpy(items, agent->progress, agent->progress_count * sizeof *items);
        say(agent, PROTO_PROGRESS)->u.progress = (struct proto_progress){ items, agent->progress_count };
        agent->progress_count = 0;
    }
}

void load_timer(struct agent *agent)
{
    agent->load_is_due = false;
    if (agent->head_is_up) {
        say_progress(agent);
        load_say(agent, false);
    } else {
        agent->progress_count = 0;
    }
}

void load_say(struct agent *agent, bool all)
{
    struct proto_load load = load_now(agent);
    struct proto_pulled *pulled = core_alloc(agent->out, agent->pulled_count * sizeof *pulled);
    load.pulled = pulled;
    for (uint32_t i = 0; i < agent->pulled_count; i++) {
        struct pulled *from = &agent->pulled[i];
        if (all || !from->is_told) {
            pulled[load.pulled_count++] = (struct proto_pulled){ from->node, from->bytes };
        }
        from->is_told = true;
    }
    agent->load_told = load_hash(agent, &load);
    agent->blocked_told = agent->blocked_hundredths;
    say(agent, PROTO_LOAD)->u.load = load;
}
