/* lease.c - which client may write tasks straight into which worker's ring
 *
 * Owns the leases: a worker and the CPU of one ordinary task, for as long as the holder has work; what its tasks do
 * under the agent's eyes (their scope, waits, large results); and who is asked to give a lease back when others wait.
 *
 *                granted             BACK, then every ring was read
 *     WANTED ------------> HELD ------------------------------------> gone, the worker IDLE
 *        |                  |  '--others wait--> RECALLED ----BACK----^
 *        | holder gone      | worker dies, from either
 *        '-----> gone       '---------------> ENDED ----BACK, or holder gone----> gone
 *
 * Happy path: LEASE -> LEASED -> (tasks that the agent does not see) -> BACK.
 * Failures:   holder gone    -> the worker is killed: what runs there is the holder's, and nobody would take it. Only when it is
 *                               dead the holder's own end goes on: whoever makes its calls again, makes them alone.
 *             worker gone    -> the holder is told, reads what was completed, and answers with BACK.
 *             worker broken  -> the holder says so; it is killed, and gone.
 *             never a worker -> denied: the job's cannot start, or the node has not one CPU. The calls come as tasks, which
 *                               run elsewhere, or tell why they fail.
 *             stale message  -> a number that is no lease of this client: dropped; the other side had not heard yet.
 * Invariants: a worker is LEASED exactly while its lease is HELD or RECALLED. Each of those has its CPU, counted in
 *             cpus_free, unless it is blocked. A result is staged until its holder adopts it or the lease is gone.
 * Thread:     the agent's loop.
 */
#define LOG_TOPIC "lease"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

enum { LEASE_CPUS_HUNDREDTHS = 100 };

static const uint32_t allowed_moves[] = {
    [TASK_LEASE_WANTED] = 1u << TASK_LEASE_HELD,
    [TASK_LEASE_HELD] = 1u << TASK_LEASE_RECALLED | 1u << TASK_LEASE_RETURNED | 1u << TASK_LEASE_ENDED,
    [TASK_LEASE_RECALLED] = 1u << TASK_LEASE_RETURNED | 1u << TASK_LEASE_ENDED,
    [TASK_LEASE_RETURNED] = 1u << TASK_LEASE_ENDED,
    [TASK_LEASE_ENDED] = 0,
};

static void set_state(struct agent *agent, struct task_lease *lease, enum task_lease_state state)
{
    ROOST_PRE((allowed_moves[lease->state] >> state & 1) != 0);
    agent_note(agent, "lease state", lease->number, (uint64_t)lease->state << 8 | state);
    lease->state = state;
    agent->dispatch_due = true;
}

static bool stands(const struct task_lease *lease)
{
    return lease->state == TASK_LEASE_HELD || lease->state == TASK_LEASE_RECALLED ||
           lease->state == TASK_LEASE_RETURNED;
}

static struct task_lease *find(struct agent *agent, const struct client *holder, uint64_t number)
{
    struct task_lease *lease = id_map_get(&agent->task_leases_by_number, serial_key(number));
    return lease != NULL && lease->holder == holder ? lease : NULL;
}

/* ------------------------------------------------------------------ CPUs */

static void take_cpu(struct agent *agent, struct task_lease *lease)
{
    lease->has_cpu = true;
    agent->cpus_free -= LEASE_CPUS_HUNDREDTHS;
}

static void give_cpu(struct agent *agent, struct task_lease *lease)
{
    if (lease->has_cpu) {
        lease->has_cpu = false;
        agent->cpus_free += LEASE_CPUS_HUNDREDTHS;
        agent->dispatch_due = true;
    }
}

static void tell(struct agent *agent, const struct task_lease *lease, enum wire_lease_news_kind what,
                 int32_t wait_status)
{
    if (lease->holder->is_gone) {
        return;
    }
    struct wire_lease_news *news = core_put(agent->out, CORE_REPLY, core_client_key(lease->holder->key),
                                            1 + (uint64_t)CLIENT_BELL_LIBRARY, sizeof *news);
    *news = (struct wire_lease_news){
        .head = { WIRE_LEASE_NEWS, sizeof *news, 0 }, .lease = lease->number, .what = what, .wait_status = wait_status
    };
}

void lease_block(struct agent *agent, struct task_lease *lease)
{
    if (lease->blocked++ == 0) {
        give_cpu(agent, lease);
        agent->counts.leases_blocked++;
        tell(agent, lease, WIRE_LEASE_BLOCKED, 0);
    }
}

void lease_unblock(struct agent *agent, struct task_lease *lease)
{
    ROOST_PRE(lease->blocked > 0);
    if (--lease->blocked == 0) {
        take_cpu(agent, lease); /* at once, even above the node's CPUs: woken tasks go before new ones */
        agent->counts.leases_blocked--;
        tell(agent, lease, WIRE_LEASE_UNBLOCKED, 0);
    }
}

/* ------------------------------------------------------------------ results */

static void staged_destroy(struct agent *agent, struct staged *staged)
{
    if (staged->lease != NULL) {
        room_object_gone(agent, staged->lease);
    }
    for (uint32_t i = 0; staged->refs != NULL && i < staged->value.refs; i++) {
        object_unname(agent, staged->contains[i], &staged->contains[i]->tasks);
    }
    list_remove(&staged->of_lease);
    free(staged->contains);
    free(staged->refs);
    free(staged);
}

static struct staged *staged_find(struct list_node *list, uint64_t run, struct object_id id)
{
    LIST_EACH (at, list) {
        struct staged *staged = CONTAINER_OF(at, struct staged, of_lease);
        if (staged->run == run && object_id_eq(staged->value.id, id)) {
            return staged;
        }
    }
    return NULL;
}

/* What the result names stays with it, as if a task named it, until the result itself does. */
static void name_contents(struct agent *agent, struct staged *staged)
{
    staged->contains = agent_alloc((staged->value.refs + (size_t)1) * sizeof(struct object *));
    for (uint32_t i = 0; i < staged->value.refs; i++) {
        staged->contains[i] = object_demand(agent, object_id_of(staged->refs[i]));
        object_name(agent, staged->contains[i], &staged->contains[i]->tasks);
    }
}

/* It is somebody's: the object has its value, unless another one has come under this name. */
static void publish(struct agent *agent, struct staged *staged)
{
    struct object *object = object_find(agent, staged->value.id);
    bool is_others = object != NULL && object->producer != NULL && object->producer->state != TASK_LEASED;
    if (object != NULL && !is_others && (object->state == OBJECT_PENDING || object->state == OBJECT_UNKNOWN)) {
        size_t bytes = staged->value.refs * sizeof(roost_ref);
        roost_ref *refs = NULL;
        if (bytes > 0) {
            refs = agent_alloc(bytes);
            memcpy(refs, staged->refs, bytes);
        }
        struct lease *room = staged->lease;
        staged->lease = NULL;
        object_mark_own_result(agent, object);
        object_arrive(agent, object, &staged->value, room, refs);
        if (object->producer != NULL && object->producer->state == TASK_LEASED) {
            task_settled(agent, object->producer);
        }
    }
    staged_destroy(agent, staged);
}

static void drop_staged_of(struct agent *agent, struct task_lease *lease, uint64_t run)
{
    LIST_EACH_SAFE (at, &lease->staged) {
        struct staged *staged = CONTAINER_OF(at, struct staged, of_lease);
        if (run == 0 || staged->run == run) {
            lease->staged_count--;
            staged_destroy(agent, staged);
        }
    }
}

/* The holder waits for what its worker, by protocol, must have said before: it never will now. */
static void fail_expected(struct agent *agent, struct task_lease *lease)
{
    LIST_EACH_SAFE (at, &lease->expected) {
        struct expected *expected = CONTAINER_OF(at, struct expected, of_lease);
        struct object *object = expected->object;
        list_remove(&expected->of_lease);
        if (object != NULL && object->state == OBJECT_PENDING) {
            object_fail(agent, object, ROOST_EWORKER);
        }
        if (object != NULL) {
            object_unname(agent, object, &object->uses);
        }
        free(expected);
    }
}

static bool take_expected(struct agent *agent, struct task_lease *lease, uint64_t run, struct object_id id,
                          bool *is_wanted_out)
{
    LIST_EACH (at, &lease->expected) {
        struct expected *expected = CONTAINER_OF(at, struct expected, of_lease);
        if (expected->run == run && object_id_eq(expected->id, id)) {
            *is_wanted_out = expected->object != NULL;
            list_remove(&expected->of_lease);
            if (expected->object != NULL) {
                object_unname(agent, expected->object, &expected->object->uses);
            }
            free(expected);
            return true;
        }
    }
    return false;
}

bool lease_result(struct agent *agent, struct client *client, const struct wire_result *result)
{
    struct leased_run *run = leased_run_find(client, result->run);
    struct task_lease *lease = run == NULL ? NULL : run->lease;
    if (lease == NULL || result->object.format > TABLE_USER ||
        !object_id_eq(result->object.id, result_id(run->task, result->index)) ||
        staged_find(&lease->staged, result->run, result->object.id) != NULL ||
        lease->staged_count == CLIENT_STAGED_MAX) {
        return false;
    }
    bool needs_room = room_is_needed(&result->object), is_wanted = false;
    struct lease *room = needs_room ? room_lease_of(agent, client, &result->object) : NULL;
    roost_ref *refs;
    if (needs_room && room == NULL) {
        return false;
    }
    if (!client_take_refs(agent, client, &result->object, &refs)) {
        return true; /* which has ended the client */
    }
    struct staged *staged = agent_alloc(sizeof *staged);
    *staged = (struct staged){ .run = result->run, .value = result->object, .refs = refs, .lease = room };
    if (room != NULL) {
        room_settle(agent, room, &staged->value);
    }
    name_contents(agent, staged);
    list_append(&lease->staged, &staged->of_lease);
    lease->staged_count++;
    if (take_expected(agent, lease, result->run, result->object.id, &is_wanted)) {
        lease->staged_count--;
        if (is_wanted) {
            publish(agent, staged);
        } else {
            staged_destroy(agent, staged);
        }
    }
    return true;
}

/* ------------------------------------------------------------------ runs */

static void run_destroy(struct agent *agent, struct leased_run *run)
{
    LIST_EACH (at, &run->lease->worker->client->waits) { /* of other threads of it, that nobody listens to any more */
        struct wait *wait = CONTAINER_OF(at, struct wait, of_client);
        if (wait->blocked_run == run) {
            wait->blocked_run = NULL;
            lease_unblock(agent, run->lease);
        }
    }
    scope_fini(agent, &run->scope);
    list_remove(&run->of_lease);
    free(run);
}

struct leased_run *leased_run_find(const struct client *client, uint64_t number)
{
    struct task_lease *lease = client->as_worker == NULL ? NULL : client->as_worker->lease;
    if (lease != NULL && (number & WIRE_RUN_OWN) != 0) {
        LIST_EACH (at, &lease->runs) {
            struct leased_run *run = CONTAINER_OF(at, struct leased_run, of_lease);
            if (run->number == number) {
                return run;
            }
        }
    }
    return NULL;
}

void lease_run(struct agent *agent, struct client *client, const struct wire_run *run)
{
    struct task_lease *lease = client->as_worker == NULL ? NULL : client->as_worker->lease;
    if (lease == NULL || (run->run & WIRE_RUN_OWN) == 0 || leased_run_find(client, run->run) != NULL) {
        client_broken(agent, client, "RUN without a lease, under another's number, or twice");
        return;
    }
    struct leased_run *leased = agent_alloc(sizeof *leased);
    *leased = (struct leased_run){ .number = run->run,
                                   .prefix = run_prefix(run->task, client->prefix, run->run),
                                   .rank = ++agent->serial,
                                   .task = run->task,
                                   .lease = lease };
    scope_init(&leased->scope, client, run->run);
    list_append(&lease->runs, &leased->of_lease);
}

void lease_run_end(struct agent *agent, struct client *client, const struct wire_run_end *end)
{
    struct leased_run *run = leased_run_find(client, end->run);
    if (run == NULL) {
        client_broken(agent, client, "RUN_END of what does not run");
        return;
    }
    if (end->status != 0) {
        drop_staged_of(agent, run->lease, end->run);
    }
    run_destroy(agent, run);
}

/* ------------------------------------------------------------------ ends */

static void destroy(struct agent *agent, struct task_lease *lease)
{
    drop_staged_of(agent, lease, 0);
    fail_expected(agent, lease);
    lease->holder->leases_count--;
    list_remove(&lease->of_holder);
    list_remove(&lease->all);
    id_map_remove(&agent->task_leases_by_number, serial_key(lease->number));
    free(lease);
}

/* Worker and lease part. */
static void part(struct agent *agent, struct task_lease *lease)
{
    LIST_EACH_SAFE (at, &lease->runs) {
        run_destroy(agent, CONTAINER_OF(at, struct leased_run, of_lease));
    }
    give_cpu(agent, lease);
    agent->counts.leases--;
    lease->worker->job->leases_count--;
    lease->worker->lease = NULL;
    lease->worker = NULL;
}

static void close_memory(struct agent *agent, const struct task_lease *lease)
{
    core_put(agent->out, CORE_LEASE, core_client_key(lease->worker->client->key), 0, sizeof(struct agent_lease));
}

/* What its worker said before the holder did has been read. */
static void finish(struct agent *agent, struct task_lease *lease)
{
    struct worker *worker = lease->worker;
    close_memory(agent, lease);
    part(agent, lease);
    destroy(agent, lease);
    worker_freed(agent, worker);
}

/* What the holder has asked for besides: it had its turn, and others have waited for it. */
static void queue_anew(struct agent *agent, struct client *holder)
{
    LIST_EACH (at, &holder->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, of_holder);
        if (lease->state == TASK_LEASE_WANTED) {
            lease->turn = ++agent->serial;
        }
    }
}

void lease_back(struct agent *agent, struct client *client, uint64_t number)
{
    struct task_lease *lease = find(agent, client, number);
    if (lease == NULL || lease->state == TASK_LEASE_WANTED || lease->state == TASK_LEASE_RETURNED) {
        client_broken(agent, client, "LEASE_BACK of what it does not hold");
    } else if (lease->state == TASK_LEASE_ENDED) {
        destroy(agent, lease);
    } else {
        set_state(agent, lease, TASK_LEASE_RETURNED);
        lease->drain = agent->drain;
        core_put(agent->out, CORE_DRAIN, 0, 0, 0);
        queue_anew(agent, client);
    }
}

void lease_broken(struct agent *agent, struct client *client, uint64_t number)
{
    struct task_lease *lease = find(agent, client, number);
    if (lease == NULL || lease->state == TASK_LEASE_WANTED || lease->state == TASK_LEASE_RETURNED) {
        client_broken(agent, client, "LEASE_BROKEN of what it does not hold");
    } else if (lease->state != TASK_LEASE_ENDED) {
        log_warn("event=lease_broken lease=%llu pid=%lld", (unsigned long long)number,
                 (long long)lease->worker->client->pid);
        worker_kill(agent, lease->worker);
    }
}

void leases_drained(struct agent *agent, uint32_t drain)
{
    LIST_EACH_SAFE (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (lease->state != TASK_LEASE_RETURNED || lease->holder->is_gone) { /* its worker is being killed */
            continue;
        }
        if (lease->drain == drain) {
            core_put(agent->out, CORE_DRAIN, 0, 0, 0); /* given back during this turn: one more, whole */
        } else {
            finish(agent, lease);
        }
    }
}

static void end(struct agent *agent, struct task_lease *lease)
{
    set_state(agent, lease, TASK_LEASE_ENDED);
    part(agent, lease);
    fail_expected(agent, lease);
}

void lease_worker_gone(struct agent *agent, struct worker *worker, int32_t wait_status)
{
    struct task_lease *lease = worker->lease;
    if (lease == NULL) {
        return;
    }
    bool was_returned = lease->state == TASK_LEASE_RETURNED;
    end(agent, lease);
    if (lease->holder->is_gone || was_returned) {
        destroy(agent, lease);
    } else {
        tell(agent, lease, WIRE_LEASE_ENDED, wait_status);
    }
}

bool leases_wait_for_others(const struct client *holder)
{
    LIST_EACH (at, (struct list_node *)(uintptr_t)&holder->task_leases) {
        if (!CONTAINER_OF(at, struct task_lease, of_holder)->worker->client->is_over) {
            return true;
        }
    }
    return false;
}

void leases_end_with(struct agent *agent, struct client *holder)
{
    LIST_EACH_SAFE (at, &holder->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, of_holder);
        end(agent, lease);
        destroy(agent, lease);
    }
}

void leases_holder_gone(struct agent *agent, struct client *holder)
{
    LIST_EACH_SAFE (at, &holder->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, of_holder);
        if (!stands(lease)) {
            destroy(agent, lease);
            continue;
        }
        worker_kill(agent, lease->worker); /* its end brings the lease's */
    }
}

/* ------------------------------------------------------------------ results that are adopted */

void lease_adopt(struct agent *agent, struct client *client, const struct wire_adopt *adopt)
{
    struct task_lease *lease = find(agent, client, adopt->lease);
    struct scope *scope = client_scope(agent, client, adopt->scope);
    if (lease == NULL || lease->state == TASK_LEASE_WANTED || adopt->index >= ROOST_RETURNS_MAX) {
        client_broken(agent, client, "ADOPT of a lease that is not its own");
        return;
    }
    struct object_id id = result_id(adopt->task, adopt->index);
    struct object *object = NULL;
    if (adopt->is_wanted != 0 && scope != NULL) {
        object = object_demand(agent, id);
        if (object->state == OBJECT_UNKNOWN) {
            object_expect(agent, object, NULL);
        }
        scope_hold(agent, scope, object);
    } else if (adopt->is_wanted != 0) { /* the scope has ended meanwhile: others may want it */
        object = object_find(agent, id);
    }
    struct staged *staged = staged_find(&lease->staged, adopt->run, id);
    if (staged != NULL) {
        lease->staged_count--;
        if (object != NULL) {
            publish(agent, staged);
        } else {
            staged_destroy(agent, staged);
        }
        return;
    }
    if (lease->state == TASK_LEASE_ENDED) {
        if (object != NULL && object->state == OBJECT_PENDING) {
            object_fail(agent, object, ROOST_EWORKER); /* everything that the worker said has been read */
        }
        return;
    }
    struct expected *expected = agent_alloc(sizeof *expected);
    *expected = (struct expected){ .run = adopt->run, .id = id, .object = object };
    if (object != NULL) {
        object_name(agent, object, &object->uses);
    }
    list_append(&lease->expected, &expected->of_lease);
}

/* ------------------------------------------------------------------ asking and granting */

static void deny(struct agent *agent, struct task_lease *lease)
{
    tell(agent, lease, WIRE_LEASE_DENIED, 0);
    destroy(agent, lease);
}

void leases_deny(struct agent *agent, const struct job *job)
{
    LIST_EACH_SAFE (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (lease->state == TASK_LEASE_WANTED && lease->holder->job == job) {
            deny(agent, lease);
        }
    }
}

static int32_t others(struct agent *agent)
{
    int32_t count = 0;
    LIST_EACH (at, &agent->members) {
        const struct member *member = CONTAINER_OF(at, struct member, all);
        count += member->is_alive && member->number != agent->self.node;
    }
    return count;
}

void leases_tell_of_others(struct agent *agent)
{
    int32_t count = others(agent);
    LIST_EACH (at, &agent->task_leases) {
        const struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (lease->is_late || stands(lease)) {
            tell(agent, lease, WIRE_LEASE_OTHERS, count);
        }
    }
}

void lease_ask(struct agent *agent, struct client *client, const struct wire_lease *ask)
{
    if (client->job == NULL || ask->bell >= CLIENT_DOORBELLS || client->leases_count == CLIENT_LEASES_MAX) {
        client_broken(agent, client, "LEASE without a job, with a bell out of range, or more than a client may hold");
        return;
    }
    struct task_lease *lease = agent_alloc(sizeof *lease);
    lease->number = lease->turn = ++agent->serial;
    lease->state = TASK_LEASE_WANTED;
    lease->holder = client;
    lease->token = ask->head.token;
    lease->bell = ask->bell;
    list_init(&lease->runs);
    list_init(&lease->staged);
    list_init(&lease->expected);
    list_append(&agent->task_leases, &lease->all);
    list_append(&client->task_leases, &lease->of_holder);
    client->leases_count++;
    ROOST_INVARIANT(id_map_put(&agent->task_leases_by_number, serial_key(lease->number), lease) == 0);
    agent->dispatch_due = true;
    if (client->job->broken != NULL || agent->config.cpus_hundredths < LEASE_CPUS_HUNDREDTHS) {
        deny(agent, lease);
    }
}

/* Whose turn is it, of those before `before`? The job with the fewest leases, then who came first. */
static struct task_lease *next_wanted(struct agent *agent, uint64_t before)
{
    struct task_lease *next = NULL;
    LIST_EACH (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        bool may = lease->state == TASK_LEASE_WANTED && lease->turn < before && !lease->is_passed_over &&
                   !lease->holder->job->has_ended && lease->holder->job->broken == NULL;
        if (may && (next == NULL || lease->holder->job->leases_count < next->holder->job->leases_count)) {
            next = lease;
        }
    }
    return next;
}

static void grant(struct agent *agent, struct task_lease *lease, struct worker *worker)
{
    set_state(agent, lease, TASK_LEASE_HELD);
    lease->worker = worker;
    lease->since_ns = agent->now_ns;
    worker->lease = lease;
    worker_leased(agent, worker);
    worker->job->leases_count++;
    take_cpu(agent, lease);
    agent->counts.leases++;
    agent->counts.leases_granted++;
    struct agent_lease *memory = core_put(agent->out, CORE_LEASE, core_client_key(worker->client->key), 0,
                                          sizeof *memory);
    *memory = (struct agent_lease){ lease->number, lease->holder->key };
    struct wire_leased *leased = core_put(agent->out, CORE_REPLY, core_client_key(lease->holder->key),
                                          1 + (uint64_t)lease->bell, sizeof *leased);
    *leased = (struct wire_leased){ .head = { WIRE_LEASED, sizeof *leased, lease->token },
                                    .lease = lease->number,
                                    .pid = worker->client->pid,
                                    .slot = worker->client->key.slot,
                                    .others = (uint32_t)others(agent) };
}

bool leases_dispatch(struct agent *agent, uint64_t before, int64_t *cpus, bool *lacks_workers)
{
    struct task_lease *lease = NULL;
    while (*cpus >= LEASE_CPUS_HUNDREDTHS && (lease = next_wanted(agent, before)) != NULL) {
        struct job *job = lease->holder->job;
        struct worker *worker = worker_idle(job);
        if (worker != NULL) {
            grant(agent, lease, worker);
        } else {
            worker_lack(agent, job);
            *lacks_workers = true;
            lease->is_passed_over = true; /* somebody of another job may find one */
        }
        *cpus -= worker != NULL || job->starting_count > 0 ? LEASE_CPUS_HUNDREDTHS : 0;
    }
    return *cpus >= LEASE_CPUS_HUNDREDTHS || next_wanted(agent, before) == NULL;
}

/* Whoever asked, and for whom neither a CPU is there nor a worker on its way, had better know of other nodes. */
void leases_dispatched(struct agent *agent)
{
    LIST_EACH (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        bool is_soon = lease->is_passed_over && lease->holder->job->starting_count > 0;
        if (lease->state == TASK_LEASE_WANTED && !is_soon && !lease->is_late) {
            lease->is_late = true;
            if (others(agent) > 0) {
                tell(agent, lease, WIRE_LEASE_OTHERS, others(agent));
            }
        }
        lease->is_passed_over = false;
    }
}

/* ------------------------------------------------------------------ others wait */

/* CPUs that those who wait lack, beyond what is free or on its way back. */
static int64_t lacking(struct agent *agent)
{
    int64_t wanted = 0;
    if (!list_is_empty(&agent->ready)) {
        wanted = CONTAINER_OF(agent->ready.next, struct task, queue)->spec->cpus_hundredths;
    } else {
        struct task_lease *next = next_wanted(agent, UINT64_MAX);
        LIST_EACH (at, &agent->task_leases) {
            struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
            bool has_more = next != NULL && lease->state == TASK_LEASE_HELD &&
                            lease->worker->job->leases_count > next->holder->job->leases_count;
            wanted = has_more ? LEASE_CPUS_HUNDREDTHS : wanted;
        }
    }
    int64_t coming = agent->cpus_free > 0 ? agent->cpus_free : 0;
    LIST_EACH (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        bool is_coming = lease->state == TASK_LEASE_RECALLED || lease->state == TASK_LEASE_RETURNED;
        coming += is_coming && lease->has_cpu ? LEASE_CPUS_HUNDREDTHS : 0;
    }
    return wanted - coming;
}

/* The one to ask: of the job with most of them, the one that was granted first. */
static struct task_lease *to_recall(struct agent *agent)
{
    struct task_lease *found = NULL;
    LIST_EACH (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (lease->state == TASK_LEASE_HELD && lease->has_cpu &&
            (found == NULL || lease->worker->job->leases_count > found->worker->job->leases_count ||
             (lease->worker->job->leases_count == found->worker->job->leases_count &&
              lease->since_ns < found->since_ns))) {
            found = lease;
        }
    }
    return found;
}

static uint64_t may_be_recalled_ns(const struct task_lease *lease)
{
    return lease->since_ns + (uint64_t)LEASE_HOLD_MS * 1000000;
}

/* Who has nothing to do gives it back without being asked. */
static void tell_of_lack(struct agent *agent)
{
    LIST_EACH (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (lease->state == TASK_LEASE_HELD && lease->has_cpu && !lease->is_told) {
            lease->is_told = true;
            tell(agent, lease, WIRE_LEASE_WANTED, 0);
        }
    }
}

void leases_recall(struct agent *agent)
{
    agent->recall_ns = UINT64_MAX;
    for (int64_t lack = agent->counts.leases == 0 ? 0 : lacking(agent); lack > 0; lack -= LEASE_CPUS_HUNDREDTHS) {
        struct task_lease *lease = to_recall(agent);
        if (lease == NULL) {
            return;
        }
        if (may_be_recalled_ns(lease) > agent->now_ns) {
            agent->recall_ns = may_be_recalled_ns(lease);
            tell_of_lack(agent);
            return;
        }
        set_state(agent, lease, TASK_LEASE_RECALLED);
        tell(agent, lease, WIRE_LEASE_RECALLED, 0);
    }
}

/* ------------------------------------------------------------------ the whole */

bool leases_are_valid(struct agent *agent, int64_t *cpus_out)
{
    uint64_t count = 0;
    *cpus_out = 0;
    LIST_EACH (at, &agent->task_leases) {
        const struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        if (stands(lease) != (lease->worker != NULL) || (lease->worker != NULL && lease->worker->lease != lease) ||
            (lease->holder->is_gone && lease->worker == NULL)) {
            return false;
        }
        if (lease->has_cpu != (stands(lease) && lease->blocked == 0)) {
            return false;
        }
        count += stands(lease);
        *cpus_out += lease->has_cpu ? LEASE_CPUS_HUNDREDTHS : 0;
    }
    return count == agent->counts.leases;
}

void leases_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->task_leases) {
        struct task_lease *lease = CONTAINER_OF(at, struct task_lease, all);
        LIST_EACH_SAFE (staged_at, &lease->staged) {
            struct staged *staged = CONTAINER_OF(staged_at, struct staged, of_lease);
            free(staged->contains);
            free(staged->refs);
            free(staged);
        }
        LIST_EACH_SAFE (expected_at, &lease->expected) {
            free(CONTAINER_OF(expected_at, struct expected, of_lease));
        }
        LIST_EACH_SAFE (run_at, &lease->runs) {
            struct leased_run *run = CONTAINER_OF(run_at, struct leased_run, of_lease);
            LIST_EACH_SAFE (hold_at, &run->scope.holds) {
                free(CONTAINER_OF(hold_at, struct hold, of_scope));
            }
            id_map_fini(&run->scope.held);
            free(run);
        }
        free(lease);
    }
    id_map_fini(&agent->task_leases_by_number);
}
