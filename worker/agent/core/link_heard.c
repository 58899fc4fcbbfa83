/* link_heard.c - what the head says, and what it means here
 *
 * Happy path: WELCOME -> a LIST is due; TASK -> its inputs are learnt, it is adopted; FOUND, FREE, HANDBACK, JOB_END ->
 *             whoever waits goes on.
 * Failures:   session lost -> everything goes on alone (link.c).
 *             a new incarnation -> attempts that the head had placed here are void.
 *             a message about what is gone here -> passed over, or refused to the head where it waits for a word.
 * Thread:     the agent's loop.
 */
#define LOG_TOPIC "link"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void on_welcome(struct agent *agent, const struct proto_welcome *welcome)
{
    bool is_new_life = agent->self.incarnation != 0 && agent->self.incarnation != welcome->incarnation;
    agent->self = (struct core_peer){ welcome->number, welcome->incarnation };
    agent->head_is_up = true;
    agent->head_is_new = agent->head_is_new || (agent->head_epoch != 0 && agent->head_epoch != welcome->epoch);
    agent->head_epoch = welcome->epoch;
    agent->list_number = 1;
    agent->said_mark = agent->head_seen = 0;
    LIST_EACH (at, &agent->objects) {
        CONTAINER_OF(at, struct object, all)->said = 0;
    }
    agent->has_listed = false;
    transit_head_lost(agent);
    if (agent->head_is_new) { /* it is told of the specs, and refuses anew what it must */
        LIST_EACH (at, &agent->tasks) {
            CONTAINER_OF(at, struct task, all)->is_refused = false;
        }
    }
    if (is_new_life) { /* it was declared dead: what the head had placed here runs elsewhere by now */
        LIST_EACH_SAFE (at, &agent->tasks) {
            struct task *task = CONTAINER_OF(at, struct task, all);
            if (task->is_from_head && task->state != TASK_DONE) {
                task_void(agent, task);
            }
        }
    }
    core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LIST), agent->now_ns);
}

/* A new life is told of all that live, and of no death before it: whom it does not hear of is dead. */
static void forget_unnamed(struct agent *agent)
{
    LIST_EACH (at, &agent->members) {
        struct member *member = CONTAINER_OF(at, struct member, all);
        member->is_alive = member->is_alive && member->named_in == agent->self.incarnation;
    }
}

static void on_nodes(struct agent *agent, const struct proto_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct proto_node *node = &nodes->items[i];
        struct member *member = member_find(agent, node->number);
        if (member == NULL) {
            member = agent_alloc(sizeof *member);
            member->number = node->number;
            list_append(&agent->members, &member->all);
            agent->nodes_count++;
        }
        member->id = node->id;
        member->incarnation = node->incarnation;
        member->named_in = agent->self.incarnation;
        member->is_alive = node->state != PROTO_NODE_DEAD;
        member->info = *node;
        member->info.host = member->info.address = member->info.labels = NULL;
        snprintf(member->host, sizeof member->host, "%s", node->host);
        snprintf(member->labels, sizeof member->labels, "%s", node->labels);
    }
    if (nodes->news != 0) { /* all parts of it have come */
        forget_unnamed(agent);
    }
    leases_tell_of_others(agent);
    agent->dispatch_due = true;
}

struct member *member_find(struct agent *agent, uint32_t number)
{
    LIST_EACH (at, &agent->members) {
        struct member *member = CONTAINER_OF(at, struct member, all);
        if (member->number == number) {
            return member;
        }
    }
    return NULL;
}

static void set_holders(struct object *object, const struct proto_holders *holders)
{
    free(object->holders);
    object->holders = agent_alloc((holders->count + 1) * sizeof *object->holders);
    memcpy(object->holders, holders->nodes, holders->count * sizeof *object->holders);
    object->holders_count = (uint32_t)holders->count;
}

/* What the head says of an object's value, in FOUND or beside a task. */
static void learn(struct agent *agent, struct object *object, enum proto_object_state state,
                  const struct proto_content *content, const struct proto_holders *holders,
                  const struct proto_failure *failure)
{
    bool has_no_value = object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING;
    switch (state) {
    case PROTO_PENDING:
        if (object->state == OBJECT_UNKNOWN) {
            object_expect(agent, object, NULL);
        }
        return;
    case PROTO_SEALED:
        set_holders(object, holders);
        if (has_no_value) {
            object_is_elsewhere(agent, object, content);
        }
        pull_holders_known(agent, object);
        return;
    case PROTO_FAILED:
    case PROTO_LOST:
        if (has_no_value || object->state == OBJECT_ELSEWHERE) {
            link_failed(agent, object, state == PROTO_LOST ? ROOST_ELOST : ROOST_EFAILED, failure);
        }
        return;
    case PROTO_FREED:
        if (has_no_value || object->state == OBJECT_ELSEWHERE) {
            object_free(agent, object);
        }
        return;
    }
}

/* The words of the failure become an object here, if somebody here names it. */
void link_failed(struct agent *agent, struct object *object, int32_t status, const struct proto_failure *from)
{
    struct wire_failure failure = { .status = from != NULL ? from->status : status };
    if (from != NULL) {
        failure.app_code = from->app_code;
        failure.signal = (int32_t)from->signal;
        failure.attempts = (int32_t)from->attempts;
        failure.pid = (int64_t)from->pid;
        snprintf(failure.function, sizeof failure.function, "%s", from->function);
        snprintf(failure.node, sizeof failure.node, "%s", from->node);
        snprintf(failure.text, sizeof failure.text, "%s", from->text);
    }
    size_t size = offsetof(struct wire_failure, text) + strlen(failure.text) + 1;
    object->is_copy = false;
    object->says_nothing = true; /* the head knows */
    if (!object_is_named(object) || !object_write(agent, object, TABLE_ERROR, &failure, size, NULL)) {
        object_fail(agent, object, failure.status);
    }
}

/* A task of this home is over when the last of its results has a value, unless its spec waits here to be asked for. */
static void settle_home(struct agent *agent, struct task *task)
{
    if (task == NULL || task->state != TASK_AWAY || task->is_refused) {
        return;
    }
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && task->results[i]->state == OBJECT_PENDING) {
            return;
        }
    }
    task_done(agent, task);
}

static void on_found(struct agent *agent, const struct proto_found *found)
{
    struct object *object = object_find(agent, found->object);
    if (object == NULL) {
        return;
    }
    struct task *producer = object->producer;
    wait_object_told(object);
    learn(agent, object, found->state, &found->content, &found->holders, found->failure);
    if (found->state == PROTO_FAILED) {
        object_refused(agent, object);
    }
    wait_object_changed(agent, object);
    settle_home(agent, producer);
}

/* What the head knows anew it does not know to be wanted here. */
static void want_again(struct agent *agent, struct object *object)
{
    object->is_wanted = false;
    if (link_is_awaited(object)) {
        link_want(agent, object);
    }
}

/* A result of a call of this home, with no bytes here; DONE by a word of the head's on what it has freed since then. */
static bool can_be_made_again(const struct object *object)
{
    const struct task *producer = object->producer;
    bool is_elsewhere = object->state == OBJECT_ELSEWHERE || object->state == OBJECT_PENDING;
    return producer != NULL && object_is_held(object) && !producer->job->has_ended &&
           (producer->state == TASK_AWAY || (producer->state == TASK_DONE && producer->is_home && is_elsewhere));
}

static void one_freed(struct agent *agent, struct object *object, enum proto_kind kind)
{
    struct task *producer = object->producer;
    bool crosses = object->said > agent->head_seen; /* a word of ours that makes the object known once more */
    bool is_of_copy = kind == PROTO_FREE && object->is_registered; /* the object stays: this node is a holder */
    if (crosses || is_of_copy) {
        if (!crosses && object->state == OBJECT_HERE) {
            object_copy_refused(agent, object);
        } else if (object->state == OBJECT_HERE && !object->says_nothing && !object->is_said_here) {
            link_location(agent, object, true); /* a SUBMIT is of the name alone */
        }
        want_again(agent, object);
        return;
    }
    if (kind == PROTO_GONE && can_be_made_again(object)) {
        object->holders_count = 0;         /* what they had is freed */
        task_submit_anew(agent, producer); /* a call that was made again, too late for what had become of the first */
        return;
    }
    link_forget(agent, object);
    object_free(agent, object);
    settle_home(agent, producer);
}

static void on_names(struct agent *agent, const struct proto_names *names, enum proto_kind kind)
{
    for (size_t i = 0; i < names->objects.count; i++) {
        struct object *object = object_find(agent, names->objects.ids[i]);
        if (object != NULL) {
            wait_object_told(object);
            one_freed(agent, object, kind);
            wait_object_changed(agent, object);
        }
    }
}

/* Every object that the spec names was mentioned: the head lists this node as a holder from now on (rule 2). What
 * nobody here goes on to hold is dropped; what is not known here is made known only for a task that begins. */
static void take_mentions(struct agent *agent, const struct spec *spec, bool begins)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (!spec_arg_ref(&spec_args(spec)[i], &ref)) {
            continue;
        }
        struct object_id id = object_id_of(ref);
        struct object *object = begins ? object_demand(agent, id) : object_find(agent, id);
        if (object == NULL) {
            link_drop_name(agent, id);
            continue;
        }
        link_is_known(agent, object);
        list_remove(&object->unknown);
        link_listed(agent, object); /* by the head's word: no word of ours crosses what it says next */
    }
}

/* Its job has ended here, and the head does not know yet. */
static void refuse_task(struct agent *agent, const struct proto_task *message)
{
    log_info("event=task_of_ended_job task=%llx", (unsigned long long)message->task.lo);
    take_mentions(agent, message->spec.data, false);
    struct proto_failure *failure = core_alloc(agent->out, sizeof *failure);
    failure->status = ROOST_ECANCELED;
    struct proto_message *complete = link_say(agent, PROTO_COMPLETE);
    complete->u.complete =
        (struct proto_complete){ .task = message->task, .attempt = message->attempt, .failure = failure };
}

static void learn_args(struct agent *agent, const struct proto_task *message)
{
    for (size_t i = 0; i < message->args_count; i++) {
        const struct proto_task_arg *arg = &message->args[i];
        struct object *object = object_demand(agent, arg->object);
        bool is_sealed = arg->holders.count > 0;
        object->is_public = true;
        list_remove(&object->unknown);
        learn(agent, object, is_sealed ? PROTO_SEALED : PROTO_PENDING, &arg->content, &arg->holders, NULL);
    }
}

static bool has_all_results(const struct task *task)
{
    bool all = true;
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        all = all && task->results[i] != NULL && task->results[i]->state == OBJECT_HERE;
    }
    return all;
}

/* What is here of its results are the head's own words on their failure, of a life before this one. */
static bool has_failed(const struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        const struct object *result = task->results[i];
        if (result != NULL && result->says_nothing && result->state == OBJECT_HERE) {
            return true;
        }
    }
    return false;
}

static void results_become_public(struct agent *agent, struct task *task)
{
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && !task->results[i]->is_public) {
            object_becomes_public(agent, task->results[i]);
        }
    }
}

/* It begins, as the head's, with what lies here of an earlier making: the head says of each whether it counts, also when
 * this attempt never completes. */
static void results_are_known_to_lie_here(struct agent *agent, struct task *task)
{
    results_become_public(agent, task);
    for (uint32_t i = 0; i < task->spec->returns; i++) {
        if (task->results[i] != NULL && task->results[i]->state == OBJECT_HERE && !task->results[i]->says_nothing) {
            link_location(agent, task->results[i], true);
        }
    }
}

/* The call is known here: an attempt that is over made it, another has made it again, elsewhere, and the head has
 * placed it here. What runs goes on as the head's; what is done is said. False: it is to begin, as the head's. */
static bool adopt(struct agent *agent, struct task *task, const struct proto_task *message)
{
    log_info("event=task_is_here_already task=%llx attempt=%u state=%d", (unsigned long long)message->task.lo,
             message->attempt, task->state);
    take_mentions(agent, task->spec, task->state != TASK_DONE);
    if (task->state == TASK_WAITING) {
        task_begin_anew(agent, task);
        results_are_known_to_lie_here(agent, task);
        return false;
    }
    task->is_from_head = true;
    task->head_attempt = message->attempt;
    if (task->state != TASK_DONE) {
        results_are_known_to_lie_here(agent, task);
        return true;
    }
    if (has_failed(task)) {
        struct wire_failure failure = { .status = ROOST_EFAILED, .text = "it had failed before the head began anew" };
        link_complete(agent, task, 0, false, &failure);
        return true;
    }
    if (has_all_results(task)) {
        results_become_public(agent, task);
        link_complete(agent, task, 0, false, NULL);
        return true;
    }
    task_wake(agent, task, NULL);
    results_are_known_to_lie_here(agent, task);
    return false;
}

static void on_task(struct agent *agent, const struct proto_task *message)
{
    const struct spec *spec = message->spec.data; /* the decode door has run spec_check() */
    struct task *task = task_find(agent, message->task);
    if (task != NULL && task->state != TASK_AWAY && adopt(agent, task, message)) {
        return;
    }
    struct job *job = job_find(agent, spec->job);
    if (job == NULL || job->has_ended) {
        refuse_task(agent, message);
        return;
    }
    if (task == NULL) {
        task = task_create(agent, job, spec);
        bool is_new = task_expect_results(agent, task, NULL);
        if (!is_new) {
            log_warn("event=results_are_here_already task=%llx", (unsigned long long)message->task.lo);
        }
        results_become_public(agent, task);
    } else if (task->state == TASK_AWAY) {
        task_set_state(agent, task, TASK_WAITING);
    }
    task->is_from_head = true;
    task->head_attempt = message->attempt;
    task->attempts = message->attempt > 0 ? message->attempt - 1 : 0; /* the head counts from 1, a task from 0 */
    take_mentions(agent, task->spec, true);
    learn_args(agent, message);
    task_begin(agent, task);
}

static void on_cancel(struct agent *agent, const struct proto_cancel *cancel)
{
    struct task *task = task_find(agent, cancel->task);
    if (task == NULL || !task->is_from_head || task->head_attempt != cancel->attempt || task->state == TASK_DONE) {
        return;
    }
    if (task->attempt != NULL) {
        worker_kill(agent, task->attempt->worker);
        return;
    }
    struct wire_failure failure = { .status = ROOST_ECANCELED };
    link_complete(agent, task, 0, false, &failure);
    task_give_up(agent, task);
}

/* The head has no room for the spec now: it waits here, and is sent again when the head says so. */
static void on_handback(struct agent *agent, const struct proto_handback *handback)
{
    struct task *task = task_find(agent, handback->task);
    bool is_asked_for = handback->reason == PROTO_HANDBACK_AGAIN;
    if (task == NULL || task->state != TASK_AWAY) {
        if (is_asked_for) { /* its job has ended here; the head keeps a place for it */
            link_say(agent, PROTO_CANCEL)->u.cancel = (struct proto_cancel){ .task = handback->task };
        }
        return;
    }
    task->is_refused = handback->reason == PROTO_HANDBACK_ROOM;
    if (is_asked_for) {
        link_say_submit(agent, task); /* out of the record, which therefore stays, at the latest until the job's end */
    }
}

static void on_job_open(struct agent *agent, const struct proto_job_open *open)
{
    if (job_find(agent, open->job) == NULL) {
        struct job *job = job_open(agent, open->job, NULL, open->spec.data, open->spec.size);
        job->is_known_to_head = true;
    }
}

static void on_job_end(struct agent *agent, const struct proto_job_end *end)
{
    struct job *job = job_find(agent, end->job);
    if (job != NULL && job->driver == NULL) {
        job_end(agent, job);
    }
}

static void on_dead(struct agent *agent, const struct proto_dead *dead)
{
    struct member *member = member_find(agent, dead->node);
    if (member != NULL && member->incarnation <= dead->incarnation) {
        /* of the end of a life before this one nobody may have told */
        pull_peer_lost(agent, (struct core_peer){ dead->node, member->incarnation });
        member->incarnation = dead->incarnation;
        member->is_alive = false;
        leases_tell_of_others(agent);
    }
    pull_peer_lost(agent, (struct core_peer){ dead->node, dead->incarnation });
    transit_dead(agent, (struct core_peer){ dead->node, dead->incarnation });
}

void link_message(struct agent *agent, const struct core_event *event)
{
    const struct proto_message *message = event->u.message.body;
    if (event->u.message.peer.node != 0) {
        bool is_transit = message->kind == PROTO_NAMES || message->kind == PROTO_NAMES_ACK;
        is_transit ? transit_message(agent, event->u.message.peer, message) : pull_message(agent, event);
        return;
    }
    agent->head_seen = event->u.message.seen > agent->head_seen ? event->u.message.seen : agent->head_seen;
    if (agent->has_listed && agent->head_seen >= agent->listed_mark) {
        agent->head_is_new = false;
    }
    objects_heard(agent);
    if (message == NULL) {
        return;
    }
    switch (message->kind) {
    case PROTO_WELCOME:
        on_welcome(agent, &message->u.welcome);
        break;
    case PROTO_NODES:
        on_nodes(agent, &message->u.nodes);
        break;
    case PROTO_TASK:
        on_task(agent, &message->u.task);
        break;
    case PROTO_FREE:
    case PROTO_GONE:
        on_names(agent, &message->u.free, message->kind);
        break;
    case PROTO_FOUND:
        on_found(agent, &message->u.found);
        break;
    case PROTO_DEAD:
        on_dead(agent, &message->u.dead);
        break;
    case PROTO_CANCEL:
        on_cancel(agent, &message->u.cancel);
        break;
    case PROTO_JOB_OPEN:
        on_job_open(agent, &message->u.job_open);
        break;
    case PROTO_JOB_END:
        on_job_end(agent, &message->u.job_end);
        break;
    case PROTO_HANDBACK:
        on_handback(agent, &message->u.handback);
        break;
    case PROTO_LIST:
        agent->list_number = message->u.list.list;
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_LIST), agent->now_ns);
        break;
#define NOT_FOR_AGENTS_(kind) case kind:
        NOT_FOR_AGENTS_(PROTO_PUBLISH)
        NOT_FOR_AGENTS_(PROTO_EDGES)
        NOT_FOR_AGENTS_(PROTO_HOLD)
        NOT_FOR_AGENTS_(PROTO_DROP)
        NOT_FOR_AGENTS_(PROTO_SUBMIT)
        NOT_FOR_AGENTS_(PROTO_COMPLETE)
        NOT_FOR_AGENTS_(PROTO_LOCATIONS)
        NOT_FOR_AGENTS_(PROTO_WANT)
        NOT_FOR_AGENTS_(PROTO_UNWANT)
        NOT_FOR_AGENTS_(PROTO_LOAD)
        NOT_FOR_AGENTS_(PROTO_PROGRESS)
        NOT_FOR_AGENTS_(PROTO_LIST_BEGIN)
        NOT_FOR_AGENTS_(PROTO_LIST_TASKS)
        NOT_FOR_AGENTS_(PROTO_LIST_PLACED)
        NOT_FOR_AGENTS_(PROTO_LIST_OBJECTS)
        NOT_FOR_AGENTS_(PROTO_LIST_END)
        NOT_FOR_AGENTS_(PROTO_OUTPUT)
        NOT_FOR_AGENTS_(PROTO_PULL)
        NOT_FOR_AGENTS_(PROTO_PULL_ANSWER)
        NOT_FOR_AGENTS_(PROTO_PULL_STREAM)
        NOT_FOR_AGENTS_(PROTO_PULL_DONE)
        NOT_FOR_AGENTS_(PROTO_PULL_CANCEL)
        NOT_FOR_AGENTS_(PROTO_NAMES)
        NOT_FOR_AGENTS_(PROTO_NAMES_ACK)
        NOT_FOR_AGENTS_(PROTO_QUERY)
        NOT_FOR_AGENTS_(PROTO_ROWS)
        NOT_FOR_AGENTS_(PROTO_STOP)
        NOT_FOR_AGENTS_(PROTO_KIND_END)
#undef NOT_FOR_AGENTS_
        log_error("event=unexpected_message from=head kind=%s", proto_kind_name(message->kind));
        break;
    }
}

void link_session(struct agent *agent, const struct core_event *event)
{
    bool is_up = event->kind == CORE_SESSION_UP;
    if (event->u.session.peer.node != 0) {
        if (!is_up) { /* what was asked for before a session is sent once it is there */
            pull_peer_lost(agent, event->u.session.peer);
            transit_lost(agent, event->u.session.peer);
        } else if (!event->u.session.resumed) {
            transit_again(agent, event->u.session.peer);
        }
        return;
    }
    if (!is_up) {
        agent->has_listed = false;
        agent->head_is_up = false; /* WELCOME of the next session sets it again; what is leaving waits for it */
        waits_head_lost(agent);
    }
}
