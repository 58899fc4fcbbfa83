/* worker.c - the worker processes of each job, and which task goes to which
 *
 * Owns jobs and workers. A job's workers are its own program, started again; some are started with the job, more when
 * tasks are ready and CPUs free, and those that idle above the prestarted ones end after a while. How one comes about,
 * started or forked, forker.c says.
 *
 * Happy path: STARTING -> IDLE <-> BUSY or LEASED -> ENDING.
 * Failures:   ends before it has connected -> the job's tasks fail with the program's last words: when none of the job
 *             ever connected at once, otherwise after three in a row; when somebody kills them, after 16.
 *             dies while BUSY -> attempt.c. No further one allowed while another job's are idle -> one of these ends;
 *             while all are blocked -> the newest wait fails.
 * Invariants: a LEASED worker gets no attempts (lease.c). A worker is BUSY exactly while it has an attempt; idle_count
 *             and starting_count count their states.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "worker"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { WORKER_STARTS_FAILED_MAX = 3, WORKER_STARTS_KILLED_MAX = 16, WORKER_SCAN_MAX = 256 };

static const uint32_t allowed_moves[] = {
    [WORKER_NONE] = 1u << WORKER_STARTING,
    [WORKER_STARTING] = 1u << WORKER_IDLE | 1u << WORKER_ENDING,
    [WORKER_IDLE] = 1u << WORKER_BUSY | 1u << WORKER_LEASED | 1u << WORKER_ENDING,
    [WORKER_BUSY] = 1u << WORKER_IDLE | 1u << WORKER_ENDING,
    [WORKER_LEASED] = 1u << WORKER_IDLE | 1u << WORKER_ENDING,
    [WORKER_ENDING] = 0,
};

static uint64_t deadline_of(const struct agent *agent, const struct worker *worker)
{
    if (worker->state == WORKER_IDLE && worker->job->idle_count > agent->config.prestart_workers) {
        return worker->since_ns + (uint64_t)WORKER_IDLE_MS * 1000000;
    }
    return worker->state == WORKER_STARTING ? worker->since_ns + (uint64_t)WORKER_START_MS * 1000000 : UINT64_MAX;
}

static uint64_t next_deadline_of(const struct agent *agent, const struct job *job)
{
    uint64_t next = forker_deadline(job);
    LIST_EACH (at, (struct list_node *)(uintptr_t)&job->workers) {
        uint64_t deadline = deadline_of(agent, CONTAINER_OF(at, struct worker, of_job));
        next = deadline < next ? deadline : next;
    }
    return next;
}

static void set_state(struct agent *agent, struct worker *worker, enum worker_state state)
{
    ROOST_PRE((allowed_moves[worker->state] >> state & 1) != 0);
    agent_note(agent, "worker state", worker->token, (uint64_t)worker->state << 8 | state);
    struct job *job = worker->job;
    job->idle_count += (uint32_t)(state == WORKER_IDLE) - (uint32_t)(worker->state == WORKER_IDLE);
    job->starting_count += (uint32_t)(state == WORKER_STARTING) - (uint32_t)(worker->state == WORKER_STARTING);
    agent->counts.workers_idle += (uint64_t)(state == WORKER_IDLE) - (uint64_t)(worker->state == WORKER_IDLE);
    worker->state = state;
    worker->since_ns = agent->now_ns;
    agent->dispatch_due = true;
    if (state == WORKER_STARTING) {
        agent_deadline(agent, deadline_of(agent, worker));
    } else if (state == WORKER_IDLE && job->idle_count > agent->config.prestart_workers) {
        agent_deadline(agent, next_deadline_of(agent, job)); /* of those that idled before it, too */
    }
}

/* ------------------------------------------------------------------ jobs */

struct job *job_find(struct agent *agent, struct job_id id)
{
    LIST_EACH (at, &agent->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        if (job_id_eq(job->id, id)) {
            return job;
        }
    }
    return NULL;
}

static void start(struct agent *agent, struct job *job)
{
    struct worker *worker = agent_alloc(sizeof *worker);
    worker->job = job;
    worker->token = agent_token(AGENT_TOKEN_SPAWN, ++agent->serial);
    list_append(&job->workers, &worker->of_job);
    job->workers_count++;
    agent->workers_count++;
    set_state(agent, worker, WORKER_STARTING);
    struct agent_spawn *spawn = core_put(agent->out, CORE_SPAWN, 0, worker->token, sizeof *spawn);
    *spawn = (struct agent_spawn){ .job = job->id, .spec = job->spec, .way = forker_way(job) };
    forker_follows(agent, job);
}

static bool may_start(const struct agent *agent, const struct job *job)
{
    return agent->workers_count < agent->config.workers_max && forker_lets_start(job);
}

void worker_prestart(struct agent *agent, struct job *job)
{
    while (job->broken == NULL && job->workers_count < agent->config.prestart_workers && may_start(agent, job)) {
        start(agent, job);
    }
}

/* As people know it: the last part of its path. */
static void name_program(struct job *job, size_t bytes)
{
    const char *program = "the program";
    if (job_check(job->spec, bytes) == 0) {
        const struct job_spec *spec = (const struct job_spec *)job->spec;
        const char *name = (const char *)(spec + 1), *path = name + strlen(name) + 1, *slash = strrchr(path, '/');
        program = slash == NULL ? path : slash + 1;
    }
    snprintf(job->program, sizeof job->program, "%s", program);
}

struct job *job_open(struct agent *agent, struct job_id id, struct client *driver, const void *spec, size_t bytes)
{
    struct job *job = agent_alloc(sizeof *job);
    job->id = id;
    job->driver = driver;
    job->spec = agent_alloc(bytes + 1);
    if (bytes > 0) {
        memcpy(job->spec, spec, bytes);
    }
    name_program(job, bytes);
    list_init(&job->workers);
    list_init(&job->tasks);
    list_append(&agent->jobs, &job->all);
    forker_job_opens(agent, job, bytes);
    worker_prestart(agent, job);
    link_job(agent, job);
    return job;
}

void job_drop_if_over(struct agent *agent, struct job *job)
{
    if (job->has_ended && list_is_empty(&job->workers) && list_is_empty(&job->tasks)) {
        list_remove(&job->all);
        agent->cycles_are_due = true;
        free(job->broken);
        free(job->spec);
        free(job);
    }
}

void worker_kill(struct agent *agent, struct worker *worker)
{
    if (worker->state != WORKER_ENDING) {
        set_state(agent, worker, WORKER_ENDING);
        core_put(agent->out, CORE_KILL, SIGKILL, worker->token, 0);
    }
}

void job_end(struct agent *agent, struct job *job)
{
    agent_note(agent, "job ends", job->id.lo, 0);
    job->has_ended = true;
    link_job_ended(agent, job);
    job->driver = NULL;
    LIST_EACH_SAFE (at, &job->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, of_job);
        if (task->state == TASK_WAITING || task->state == TASK_READY || task->state == TASK_LEASED ||
            task->state == TASK_AWAY) {
            task_cancel(agent, task);
        }
    }
    forker_end(agent, job);
    LIST_EACH_SAFE (at, &job->workers) {
        worker_kill(agent, CONTAINER_OF(at, struct worker, of_job));
    }
    job_drop_if_over(agent, job);
}

/* Its workers cannot start: every task that is not running fails with the reason, and every later one, which a call
 * that waits for a lease becomes. */
static void job_break(struct agent *agent, struct job *job, const char *text)
{
    job->broken = agent_alloc(sizeof *job->broken);
    job->broken->status = ROOST_EWORKER;
    snprintf(job->broken->text, sizeof job->broken->text, "%s", text);
    char quoted[WIRE_TEXT_BYTES_MAX + 64];
    log_warn("event=workers_cannot_start text=%s", log_quote(text, quoted, sizeof quoted));
    LIST_EACH_SAFE (at, &job->tasks) {
        struct task *task = CONTAINER_OF(at, struct task, of_job);
        if (task->state == TASK_WAITING || task->state == TASK_READY) {
            task_fail(agent, task, job->broken);
        }
    }
    leases_deny(agent, job);
}

/* ------------------------------------------------------------------ workers */

static struct worker *find_starting(struct agent *agent, uint64_t token)
{
    LIST_EACH (job_at, &agent->jobs) {
        LIST_EACH (at, &CONTAINER_OF(job_at, struct job, all)->workers) {
            struct worker *worker = CONTAINER_OF(at, struct worker, of_job);
            if (worker->token == token) {
                return worker;
            }
        }
    }
    return NULL;
}

void worker_up(struct agent *agent, struct client *client, uint64_t token)
{
    struct worker *worker = find_starting(agent, token);
    if (worker == NULL || worker->client != NULL) {
        client_broken(agent, client, "a worker that was not started, or twice");
        return;
    }
    worker->client = client;
    client->as_worker = worker;
    client->job = worker->job;
    worker->job->has_connected = true;
    worker->job->starts_failed = 0;
    if (worker->state == WORKER_STARTING) { /* else its job has ended, and it was killed already */
        set_state(agent, worker, WORKER_IDLE);
    }
}

static void destroy(struct agent *agent, struct worker *worker)
{
    struct job *job = worker->job;
    if (worker->state != WORKER_ENDING) {
        set_state(agent, worker, WORKER_ENDING);
    }
    list_remove(&worker->of_job);
    job->workers_count--;
    agent->workers_count--;
    agent->dispatch_due = true;
    free(worker);
    job_drop_if_over(agent, job);
}

void worker_gone(struct agent *agent, struct worker *worker, int32_t wait_status)
{
    if (worker->attempt != NULL) {
        attempt_worker_died(agent, worker->attempt, wait_status);
    }
    lease_worker_gone(agent, worker, wait_status);
    destroy(agent, worker);
}

void worker_not_started(struct agent *agent, uint64_t token, int32_t wait_status, const char *text, size_t bytes)
{
    struct worker *worker = find_starting(agent, token);
    ROOST_PRE(worker != NULL && worker->client == NULL);
    struct job *job = worker->job;
    bool was_killed = worker->state == WORKER_ENDING;
    destroy(agent, worker);
    if (was_killed) {
        return;
    }
    job->starts_failed++;
    bool was_killed_by_others = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
    uint32_t most = was_killed_by_others ? WORKER_STARTS_KILLED_MAX : job->has_connected ? WORKER_STARTS_FAILED_MAX : 1;
    if (job->broken == NULL && job->starts_failed >= most) {
        char why[WIRE_TEXT_BYTES_MAX];
        while (bytes > 0 && text[bytes - 1] == '\n') {
            bytes--;
        }
        snprintf(why, sizeof why, "%s ended with %s %d before roost_open(); is it the first call in main()?%s%.*s",
                 job->program, WIFSIGNALED(wait_status) ? "signal" : "status",
                 WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status),
                 bytes > 0 ? " Its last words: " : "", (int)(bytes > 600 ? 600 : bytes), bytes > 0 ? text : "");
        job_break(agent, job, why);
    }
}

void worker_freed(struct agent *agent, struct worker *worker)
{
    if (worker->state == WORKER_BUSY || worker->state == WORKER_LEASED) {
        set_state(agent, worker, WORKER_IDLE);
    }
}

/* The one that was busy last: its caches are warm. */
struct worker *worker_idle(struct job *job)
{
    struct worker *found = NULL;
    if (job->idle_count == 0) {
        return NULL;
    }
    LIST_EACH (at, &job->workers) {
        struct worker *worker = CONTAINER_OF(at, struct worker, of_job);
        if (worker->state == WORKER_IDLE && (found == NULL || worker->since_ns > found->since_ns)) {
            found = worker;
        }
    }
    return found;
}

void worker_leased(struct agent *agent, struct worker *worker) { set_state(agent, worker, WORKER_LEASED); }

void worker_is_dead(struct agent *agent, struct worker *worker)
{
    if (worker->state != WORKER_ENDING) {
        set_state(agent, worker, WORKER_ENDING);
    }
}

void worker_lack(struct agent *agent, struct job *job)
{
    if (job->starting_count == 0 && may_start(agent, job)) {
        start(agent, job);
    }
}

/* Nobody runs, nobody can: then the newest that waits must give way. */
static bool is_stuck(const struct agent *agent)
{
    LIST_EACH (at, (struct list_node *)(uintptr_t)&agent->jobs) {
        if (CONTAINER_OF(at, struct job, all)->starting_count > 0) {
            return false;
        }
    }
    uint64_t running = agent->counts.tasks_running + agent->counts.leases;
    return agent->workers_count >= agent->config.workers_max && agent->counts.workers_idle == 0 &&
           running == agent->counts.tasks_blocked + agent->counts.leases_blocked && running > 0;
}

/* No further worker may be started: one that has been idle longest, which is another job's, makes room. */
static void make_room(struct agent *agent)
{
    struct worker *found = NULL;
    LIST_EACH (job_at, &agent->jobs) {
        LIST_EACH (at, &CONTAINER_OF(job_at, struct job, all)->workers) {
            struct worker *worker = CONTAINER_OF(at, struct worker, of_job);
            if (worker->state == WORKER_ENDING || worker->state == WORKER_STARTING) {
                return; /* that one makes room, or serves */
            }
            if (worker->state == WORKER_IDLE && (found == NULL || worker->since_ns < found->since_ns)) {
                found = worker;
            }
        }
    }
    if (found != NULL) {
        worker_kill(agent, found);
    }
}

/* A worker for the task, or one on its way, or nothing to be done now. False: there is no room for the task's spec. */
static bool dispatch_task(struct agent *agent, struct task *task, uint32_t before, bool *lacks_workers_out)
{
    struct worker *worker = worker_idle(task->job);
    if (worker != NULL) {
        set_state(agent, worker, WORKER_BUSY);
        if (!attempt_start(agent, task, worker)) {
            set_state(agent, worker, WORKER_IDLE);
            return false;
        }
        return true;
    }
    *lacks_workers_out = true;
    if (task->job->starting_count <= before && may_start(agent, task->job)) {
        start(agent, task->job);
    }
    return true;
}

/* Tasks and leases take turns in the order in which they came to wait. */
void worker_dispatch(struct agent *agent)
{
    int64_t cpus = agent->cpus_free;
    uint64_t turn = UINT64_MAX; /* of the task that could not go on: nobody goes before it who came after it */
    uint32_t scanned = 0;
    bool lacks_workers = false;
    LIST_EACH_SAFE (at, &agent->ready) {
        struct task *task = CONTAINER_OF(at, struct task, queue);
        bool is_its_turn = leases_dispatch(agent, task->turn, &cpus, &lacks_workers);
        if (!is_its_turn || cpus < task->spec->cpus_hundredths || scanned == WORKER_SCAN_MAX) {
            turn = task->turn; /* in order: what is large is not overtaken for ever by what is small */
            break;
        }
        cpus -= task->spec->cpus_hundredths;
        if (!dispatch_task(agent, task, scanned++, &lacks_workers)) {
            agent->dispatch_due = false; /* room.c marks when there is some */
            leases_dispatched(agent);
            return;
        }
    }
    leases_dispatch(agent, turn, &cpus, &lacks_workers);
    leases_dispatched(agent);
    if (lacks_workers && agent->workers_count >= agent->config.workers_max) {
        make_room(agent);
    }
    if (lacks_workers && is_stuck(agent)) {
        wait_fail_newest_blocked(agent);
    }
    leases_recall(agent);
}

uint64_t worker_next_deadline(const struct agent *agent)
{
    uint64_t next = UINT64_MAX;
    LIST_EACH (at, (struct list_node *)(uintptr_t)&agent->jobs) {
        uint64_t deadline = next_deadline_of(agent, CONTAINER_OF(at, struct job, all));
        next = deadline < next ? deadline : next;
    }
    return next;
}

void worker_expire(struct agent *agent)
{
    LIST_EACH (job_at, &agent->jobs) {
        forker_expire(agent, CONTAINER_OF(job_at, struct job, all));
        LIST_EACH_SAFE (at, &CONTAINER_OF(job_at, struct job, all)->workers) {
            struct worker *worker = CONTAINER_OF(at, struct worker, of_job);
            if (deadline_of(agent, worker) <= agent->now_ns) {
                log_info("event=%s token=%llx", worker->state == WORKER_IDLE ? "idle_too_long" : "did_not_connect",
                         (unsigned long long)worker->token);
                if (worker->state == WORKER_STARTING) {
                    forker_end(agent, worker->job); /* whose fault it may be: the next ones are started */
                }
                worker_kill(agent, worker);
            }
        }
    }
}

/* The agent ends: records only. */
void workers_fini(struct agent *agent)
{
    LIST_EACH_SAFE (job_at, &agent->jobs) {
        struct job *job = CONTAINER_OF(job_at, struct job, all);
        LIST_EACH_SAFE (at, &job->workers) {
            struct worker *worker = CONTAINER_OF(at, struct worker, of_job);
            struct attempt *attempt = worker->attempt;
            if (attempt != NULL) {
                LIST_EACH_SAFE (hold_at, &attempt->scope.holds) {
                    free(CONTAINER_OF(hold_at, struct hold, of_scope));
                }
                for (uint32_t i = 0; i < attempt->task->spec->returns; i++) {
                    free(attempt->given[i].refs);
                }
                id_map_fini(&attempt->scope.held);
                free(attempt->given);
                free(attempt);
            }
            free(worker);
        }
        free(job->broken);
        free(job->spec);
        free(job);
    }
}
