/* forker.c - whether a job's next worker is started or forked
 *
 * A forker is the job's program, started once more, that waits inside roost_open() and makes workers by forking itself.
 * It costs a process, so a job gets one with the third worker that it wants; workers are started as ever while it is on
 * its way.
 *
 * Happy path: NONE -> STARTING (with the third worker) -> READY: workers are forked -> the job ends.
 * Failures:   the program says that it cannot be forked, or the forker does not come as far as that -> NEVER, the
 *             reason logged once. it ends later -> NONE, and the next worker brings another; after a few, NEVER. What
 *             it was asked for and did not do the host does by starting.
 * Invariants: a job has at most one. While it is on its way few workers are started, so that a burst is forked; the
 *             first of them always are.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "forker"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const uint32_t allowed_moves[] = {
    [FORKER_NONE] = 1u << FORKER_STARTING,
    [FORKER_STARTING] = 1u << FORKER_READY | 1u << FORKER_NEVER,
    [FORKER_READY] = 1u << FORKER_NONE | 1u << FORKER_NEVER,
    [FORKER_NEVER] = 0,
};

static void set_state(struct agent *agent, struct job *job, enum forker_state state)
{
    ROOST_PRE((allowed_moves[job->forker] >> state & 1) != 0);
    agent_note(agent, "forker state", job->forker_token, state);
    job->forker = state;
    job->forker_since_ns = agent->now_ns;
    agent->dispatch_due = true; /* who waited for it is started or forked now */
}

/* A prefix is a debugger: each worker is to begin under it. The environment is where people switch it off. */
static bool may_fork(const struct job_spec *job, size_t bytes)
{
    if (job_check(job, bytes) != 0) {
        return false;
    }
    const char *at = (const char *)(job + 1);
    for (size_t i = 0; i < job_strings_count(job); i++, at += strlen(at) + 1) {
        bool is_prefix = i == 2, is_environment = i >= 3 + (size_t)job->args_count;
        if ((is_prefix && at[strspn(at, " ")] != '\0') || (is_environment && strcmp(at, "ROOST_FORK=0") == 0)) {
            return false;
        }
    }
    return true;
}

void forker_job_opens(struct agent *agent, struct job *job, size_t bytes)
{
    job->forker = agent->config.forks && may_fork(job->spec, bytes) ? FORKER_NONE : FORKER_NEVER;
}

bool forker_lets_start(const struct job *job)
{
    return job->forker != FORKER_STARTING || job->starting_count < FORKER_MEANWHILE_MAX;
}

enum agent_spawn_way forker_way(const struct job *job)
{
    return job->forker == FORKER_READY ? AGENT_SPAWN_FORK : AGENT_SPAWN_EXEC;
}

void forker_follows(struct agent *agent, struct job *job)
{
    if (job->forker != FORKER_NONE || job->workers_count <= FORKER_WORKERS_BEFORE) {
        return;
    }
    job->forker_token = agent_token(AGENT_TOKEN_FORKER, ++agent->serial);
    set_state(agent, job, FORKER_STARTING);
    agent_deadline(agent, forker_deadline(job));
    struct agent_spawn *spawn = core_put(agent->out, CORE_SPAWN, 0, job->forker_token, sizeof *spawn);
    *spawn = (struct agent_spawn){ .job = job->id, .spec = job->spec, .way = AGENT_SPAWN_FORKER };
}

static struct job *find(struct agent *agent, uint64_t token)
{
    LIST_EACH (at, &agent->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        if (job->forker_token == token && (job->forker == FORKER_STARTING || job->forker == FORKER_READY)) {
            return job;
        }
    }
    return NULL;
}

/* Once per job: it has no forker after this. */
static void say_why_not(const struct job *job, const char *why)
{
    char quoted[ERROR_TEXT_BYTES + 2];
    log_info("event=not_forked program=%s why=%s", job->program, log_quote(why, quoted, sizeof quoted));
}

static void is_over(struct agent *agent, struct job *job, int32_t wait_status, const char *text, size_t bytes)
{
    char why[ERROR_TEXT_BYTES / 2];
    snprintf(why, sizeof why, "%.*s", (int)(bytes < sizeof why ? bytes : sizeof why - 1), bytes > 0 ? text : "");
    if (bytes == 0) {
        snprintf(why, sizeof why, "the forker ended with %s %d", WIFSIGNALED(wait_status) ? "signal" : "status",
                 WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    }
    if (job->forker == FORKER_READY && ++job->forkers_lost < FORKERS_LOST_MAX) {
        set_state(agent, job, FORKER_NONE);
        return;
    }
    say_why_not(job, why);
    set_state(agent, job, FORKER_NEVER);
}

/* Of a forker that was given up, or whose job is over, nothing more is of interest. */
void forker_done(struct agent *agent, const struct core_event *event)
{
    struct job *job = find(agent, event->u.done.token);
    if (job == NULL) {
        return;
    }
    if (event->u.done.value == AGENT_FORKER_READY) {
        set_state(agent, job, FORKER_READY);
    } else {
        is_over(agent, job, event->u.done.status, event->u.done.data, event->u.done.bytes);
    }
    worker_prestart(agent, job);
}

uint64_t forker_deadline(const struct job *job)
{
    return job->forker == FORKER_STARTING ? job->forker_since_ns + (uint64_t)WORKER_START_MS * 1000000 : UINT64_MAX;
}

void forker_expire(struct agent *agent, struct job *job)
{
    if (forker_deadline(job) <= agent->now_ns) {
        say_why_not(job, "the forker did not come to roost_open() in time");
        forker_end(agent, job);
        worker_prestart(agent, job);
    }
}

void forker_end(struct agent *agent, struct job *job)
{
    if (job->forker == FORKER_STARTING || job->forker == FORKER_READY) {
        core_put(agent->out, CORE_KILL, SIGKILL, job->forker_token, 0);
        set_state(agent, job, FORKER_NEVER);
    }
}
