/* member.c - who is in the cluster
 *
 * Owns the member records: one per node number, for ever; an incarnation is one life of an agent under that number.
 * When all numbers have been given a newcomer gets that of a dead node: the next incarnation tells the two apart.
 *
 * Happy path: HELLO -> WELCOME, the NODES that it does not know, the deaths it has not echoed -> messages keep it ALIVE.
 * Failures:   silence -> SUSPECT (nothing new is placed there) -> DEAD: out of all lists, its attempts go elsewhere,
 *             DEAD to all, and nothing is freed before all have echoed it (rule 4).
 *             session lost -> the same life may come back and list; silence decides.
 *             dead but alive -> its messages are dropped; its next HELLO begins a new incarnation.
 *             the head itself stood still -> nobody's silence counts that long; what they said is still to be read.
 * Invariants: a member is known to the placement while it lives; echoes_missing counts the living members that have not
 *             echoed the last notice; hearing is ordered by heard_ns.
 * Thread:     the core's.
 */
#define LOG_TOPIC "member"
#include "common/error.h"
#include "common/log.h"
#include "common/trace.h"
#include "scheduler/core/head_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARK_RESET = 1u << 30, /* a session that begins above this starts again from zero; it costs O(objects) */
    NEWS_PART = 1024       /* nodes in one NODES: 5 MiB if each had the longest texts */
};

struct member *member_at(const struct head *head, uint32_t number)
{
    return number < NODES_MAX ? head->members[number] : NULL;
}

struct member *member_of(const struct head *head, struct core_peer peer)
{
    struct member *member = peer.node == 0 ? NULL : member_at(head, peer.node);
    bool is_it = member != NULL && member->incarnation == peer.incarnation && member_lives(member);
    return is_it ? member : NULL;
}

const char *member_name(const struct head *head, uint32_t number)
{
    const struct member *member = member_at(head, number);
    return member == NULL || member->host == NULL ? "" : member->host;
}

static struct member *make(struct head *head, struct node_id id, uint32_t number)
{
    struct member *member = head_alloc(sizeof *member);
    member->id = id;
    member->number = number;
    member->state = PROTO_NODE_DEAD;
    list_init(&member->hearing);
    list_init(&member->tasks);
    list_init(&member->homed);
    list_init(&member->edges);
    list_init(&member->with_freeing);
    ROOST_INVARIANT(id_map_put(&head->members_by_id, node_id_key(id), member) == 0);
    head->members[number] = member;
    head->members_count = number >= head->members_count ? number + 1 : head->members_count;
    return member;
}

static void free_texts(struct member *member)
{
    free(member->host);
    free(member->address);
    free(member->labels);
    member->host = member->address = member->labels = NULL;
}

static bool is_as_said(const struct member *member, const struct proto_node *said)
{
    return member->host != NULL && strcmp(member->host, said->host) == 0 &&
           strcmp(member->address, said->address) == 0 && strcmp(member->labels, said->labels) == 0 &&
           member->memory_domain == said->memory_domain && member->cpus_hundredths == said->cpus_hundredths &&
           member->memory_bytes == said->memory_bytes && member->store_bytes == said->store_bytes;
}

/* False: nothing has changed that others are told. */
static bool take_what_is_said(struct member *member, const struct proto_node *said)
{
    if (is_as_said(member, said)) {
        return false;
    }
    free_texts(member);
    member->host = head_text(said->host);
    member->address = head_text(said->address);
    member->labels = head_text(said->labels);
    member->memory_domain = said->memory_domain;
    member->cpus_hundredths = said->cpus_hundredths;
    member->memory_bytes = said->memory_bytes;
    member->store_bytes = said->store_bytes;
    return true;
}

void members_fini(struct head *head)
{
    for (uint32_t i = 0; head->members != NULL && i < head->members_count; i++) {
        struct member *member = head->members[i];
        if (member != NULL) {
            free_texts(member);
            edges_drop_all(member);
            id_map_fini(&member->listed);
            free(member->freeing);
            free(member->pulled);
            free(member);
        }
    }
    free(head->members);
    free(head->deaths);
    id_map_fini(&head->members_by_id);
}

static void set_state(struct head *head, struct member *member, enum proto_node_state state)
{
    trace_add("member state", member->number, member->state, state);
    head_record(head, 'm', (uint64_t)member->number << 32 | member->incarnation, state);
    member->state = state;
}

static void add_death(struct head *head, uint32_t node, uint32_t incarnation)
{
    if (head->deaths_count == head->deaths_capacity) {
        head->deaths_capacity = head->deaths_capacity == 0 ? 16 : head->deaths_capacity * 2;
        head->deaths = head_grow(head->deaths, head->deaths_capacity, sizeof *head->deaths);
    }
    head->deaths[head->deaths_count++] = (struct death){ node, incarnation };
}

int members_restore(struct head *head, const struct head_fact *facts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct proto_node *node = &facts[i].node;
        bool is_known = id_map_get(&head->members_by_id, node_id_key(node->id)) != NULL;
        if (node->number == 0 || node->number >= NODES_MAX || node->incarnation == 0 || is_known ||
            node_id_is_none(node->id) || member_at(head, node->number) != NULL) {
            return error_set(ROOST_EINVAL, "the ledger names node %" PRIu32 " twice or out of range", node->number);
        }
        struct member *member = make(head, node->id, node->number);
        member->incarnation = node->incarnation;
        take_what_is_said(member, node);
        member->news = facts[i].news;
        head->news = member->news > head->news ? member->news : head->news;
        if (head_fact_is_dead(&facts[i])) {
            add_death(head, node->number, node->incarnation);
            continue;
        }
        set_state(head, member, PROTO_NODE_SUSPECT);
        list_append(&head->hearing, &member->hearing);
        member->must_list = true;
        head->lists_missing++;
    }
    head->echoes_missing = head->deaths_count > 0 ? head->lists_missing : 0;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ silence */

static uint64_t deadline_of(const struct head *head, const struct member *member)
{
    bool is_alive = member->state == PROTO_NODE_ALIVE;
    return member->heard_ns + (is_alive ? head->config.suspect_ns : head->config.dead_ns);
}

/* The one longest silent is due first among its like; those that are not ALIVE have more time. */
static uint64_t next_deadline(const struct head *head)
{
    uint64_t next = UINT64_MAX;
    LIST_EACH (at, &head->hearing) {
        const struct member *member = CONTAINER_OF(at, struct member, hearing);
        uint64_t due = deadline_of(head, member);
        next = due < next ? due : next;
        if (member->state == PROTO_NODE_ALIVE) {
            break;
        }
    }
    return next;
}

void members_arm(struct head *head)
{
    uint64_t next = head->silence_is_armed ? UINT64_MAX : next_deadline(head);
    if (next != UINT64_MAX) {
        head->silence_at_ns = next > head->now_ns ? next : head->now_ns;
        head->silence_is_armed = true;
        core_arm(head->out, HEAD_TIMER_SILENCE, head->silence_at_ns);
    }
}

static void suspect(struct head *head, struct member *member)
{
    set_state(head, member, PROTO_NODE_SUSPECT);
    if (member->is_placed) {
        placement_node_suspend(head->placement, member->number);
        head_turn_due(head);
    }
}

void members_begin(struct head *head)
{
    LIST_EACH (at, &head->hearing) {
        CONTAINER_OF(at, struct member, hearing)->heard_ns = head->now_ns;
    }
}

void members_expire(struct head *head)
{
    head->silence_is_armed = false;
    if (head->now_ns - head->silence_at_ns > SILENCE_LATE_MS * UINT64_C(1000000)) {
        log_info("event=stood_still late_ms=%" PRIu64, (head->now_ns - head->silence_at_ns) / 1000000);
        members_begin(head);
        return;
    }
    LIST_EACH_SAFE (at, &head->hearing) {
        struct member *member = CONTAINER_OF(at, struct member, hearing);
        if (!head_has_room(head) || (deadline_of(head, member) > head->now_ns && member->state == PROTO_NODE_ALIVE)) {
            break;
        }
        if (deadline_of(head, member) > head->now_ns) {
            continue;
        }
        if (member->heard_ns + head->config.dead_ns <= head->now_ns) {
            member_die(head, member, "was silent for too long");
        } else {
            suspect(head, member);
        }
    }
}

uint32_t member_seen(const struct member *member, uint32_t seen)
{
    return seen > member->mark_base ? seen : member->mark_base;
}

static bool owes_echo(const struct head *head, const struct member *member)
{
    return member->deaths_echoed < head->deaths_first + head->deaths_count;
}

/* What everybody has echoed is needed no more. */
static void trim_deaths(struct head *head)
{
    if (head->echoes_missing == 0 && head->lists_missing == 0 && head->deaths_count > 0) {
        head->deaths_first += head->deaths_count;
        head->deaths_count = 0;
    }
}

static void echoed(struct head *head, struct member *member, uint32_t seen)
{
    uint64_t all = head->deaths_first + head->deaths_count;
    if (owes_echo(head, member) && member->deaths_sent == all && seen >= member->deaths_mark) {
        member->deaths_echoed = all;
        head->echoes_missing--;
        trim_deaths(head);
    }
}

void member_heard(struct head *head, struct member *member, uint32_t seen)
{
    member->heard_ns = head->now_ns;
    list_remove(&member->hearing);
    list_append(&head->hearing, &member->hearing);
    if (member->state == PROTO_NODE_SUSPECT && member->has_session) {
        set_state(head, member, PROTO_NODE_ALIVE);
        if (member->is_placed) {
            placement_node_resume(head->placement, member->number);
            head_turn_due(head);
        }
    }
    echoed(head, member, seen);
}

uint32_t member_mark(struct head *head, struct member *member)
{
    if (member->mark >= UINT32_MAX - 1) { /* years of mentions in one session: it begins again */
        core_put(head->out, CORE_CLOSE, core_peer_key((struct core_peer){ member->number, member->incarnation }), 0, 0);
        return member->mark;
    }
    return ++member->mark;
}

/* ------------------------------------------------------------------------------------------------ coming */

/* Its texts are borrowed: a HELLO alone replaces them, before anybody is told of the node in its step. */
static struct proto_node describe(const struct member *member)
{
    return (struct proto_node){ .id = member->id,
                                .number = member->number,
                                .incarnation = member->incarnation,
                                .state = member->state,
                                .host = member->host,
                                .address = member->address,
                                .labels = member->labels,
                                .memory_domain = member->memory_domain,
                                .cpus_hundredths = member->cpus_hundredths,
                                .memory_bytes = member->memory_bytes,
                                .store_bytes = member->store_bytes };
}

static const char *text_of_step(struct head *head, const char *text) { return head_copy(head, text, strlen(text) + 1); }

/* A life that a HELLO ends is committed before its texts are replaced. */
static void commit(struct head *head, const struct member *member)
{
    struct head_fact *fact = core_put(head->out, CORE_COMMIT, 0, 0, sizeof *fact);
    *fact = (struct head_fact){ describe(member), member->news };
    fact->node.host = text_of_step(head, member->host);
    fact->node.address = text_of_step(head, member->address);
    fact->node.labels = text_of_step(head, member->labels);
}

/* All that has changed after `told`. */
static struct news gather_news(struct head *head, uint64_t told)
{
    struct proto_node *nodes = core_alloc(head->out, head->members_count * sizeof *nodes);
    size_t count = 0;
    for (uint32_t i = 1; i < head->members_count; i++) {
        const struct member *member = head->members[i];
        if (member != NULL && member_lives(member) && member->news > told) {
            nodes[count++] = describe(member);
        }
    }
    return (struct news){ nodes, count, told };
}

void member_tell_news(struct head *head, struct member *member)
{
    struct news *news = &head->news_of_step;
    if (news->nodes == NULL || news->told != member->told) {
        *news = gather_news(head, member->told);
    }
    member->told = head->news; /* first: head_send() asks */
    for (size_t at = 0, count; at < news->count; at += count) {
        count = news->count - at < NEWS_PART ? news->count - at : NEWS_PART;
        uint64_t known = at + count == news->count ? head->news : 0;
        head_send(head, member, PROTO_NODES)->u.nodes = (struct proto_nodes){ news->nodes + at, count, known };
    }
}

void members_tell_news(struct head *head)
{
    for (uint32_t i = 1; i < head->members_count; i++) {
        struct member *member = head->members[i];
        if (member == NULL || !member->has_session || member->told == head->news) {
            continue;
        }
        if (!head_has_room(head)) {
            return;
        }
        member_tell_news(head, member);
    }
    head->news_are_due = false;
}

static void tell_deaths(struct head *head, struct member *member)
{
    uint64_t all = head->deaths_first + head->deaths_count;
    if (!member->has_session || member->deaths_sent == all) {
        return;
    }
    member->deaths_mark = member_mark(head, member);
    for (uint64_t i = member->deaths_sent; i < all; i++) {
        const struct death *death = &head->deaths[i - head->deaths_first];
        struct proto_message *message = head_send(head, member, PROTO_DEAD);
        message->u.dead = (struct proto_dead){ death->node, death->incarnation };
    }
    member->deaths_sent = all;
}

static void place_member(struct head *head, struct member *member)
{
    if (!member->is_placed) {
        struct placement_shape shape = { .cpus = member->cpus_hundredths, .memory_bytes = member->memory_bytes };
        ROOST_INVARIANT(placement_node_add(head->placement, member->number, &shape) == 0);
        member->is_placed = true;
        place_demand_again(head);
    }
    if (member->state != PROTO_NODE_DRAINING) {
        placement_node_resume(head->placement, member->number);
    }
}

/* The number of a node that is dead becomes that of another one. */
static struct member *take_over(struct head *head, struct node_id id)
{
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        head->number_taken = (head->number_taken + 1) % NODES_MAX; /* the others first: it may come back for its own */
        struct member *member = head->members[head->number_taken];
        if (member != NULL && !member_lives(member)) {
            log_info("event=number_goes_on node=%" PRIu32 " incarnation=%" PRIu32 " from=%s", member->number,
                     member->incarnation, member_name(head, member->number));
            id_map_remove(&head->members_by_id, node_id_key(member->id));
            ROOST_INVARIANT(id_map_put(&head->members_by_id, node_id_key(id), member) == 0);
            member->id = id;
            return member;
        }
    }
    return NULL;
}

/* The record of a node that is not known. NULL: NODES_MAX of them live. */
static struct member *newcomer(struct head *head, struct node_id id)
{
    if (head->members_count < NODES_MAX) {
        return make(head, id, head->members_count > 0 ? head->members_count : 1);
    }
    for (uint32_t i = 1; i < NODES_MAX; i++) {
        if (head->members[i] == NULL) {
            return make(head, id, i);
        }
    }
    return take_over(head, id);
}

static void new_life(struct head *head, struct member *member)
{
    member->incarnation++;
    set_state(head, member, PROTO_NODE_ALIVE);
    member->load = (struct proto_load){ 0 };
    member->pulled_count = 0; /* it counts from its own beginning */
    member->deaths_sent = member->deaths_echoed = head->deaths_first + head->deaths_count;
    list_append(&head->hearing, &member->hearing);
}

static void reset_marks(struct head *head, struct member *member)
{
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            head_object_reset_marks(object, member->number);
        }
    }
    member->mark = 0;
}

/* What was sent in the session before and not applied never will be: all its mentions count as seen. */
static void begin_session(struct head *head, struct member *member, struct core_peer handle, uint64_t told)
{
    if (member->mark > MARK_RESET) {
        reset_marks(head, member);
    }
    member->mark_base = member->mark;
    member->has_session = true;
    member->told = told <= head->news ? told : 0;
    head->news_are_due = head->news_are_due || member->told < head->news;
    member->deaths_sent = member->deaths_echoed;
    list_void(member);
    edges_drop_all(member);
    head_jobs_untell(head, member->number);
    LIST_EACH (at, &member->tasks) {
        CONTAINER_OF(at, struct task, line)->is_relisted = false;
    }
    struct proto_message *welcome = core_put(head->out, CORE_SEND, core_peer_key(handle), member->mark,
                                             sizeof *welcome);
    welcome->kind = PROTO_WELCOME;
    welcome->u.welcome = (struct proto_welcome){ head->config.cluster, head->config.epoch, member->number,
                                                 member->incarnation };
    head->counts.sent++;
}

static void tell_stop(struct head *head, struct member *member)
{
    struct proto_message *message = head_send(head, member, PROTO_STOP);
    if (message != NULL) {
        message->u.stop = member->stop;
    }
}

static void agent_up(struct head *head, struct core_peer handle, const struct proto_hello *hello)
{
    struct member *member = id_map_get(&head->members_by_id, node_id_key(hello->node));
    member = member != NULL || node_id_is_none(hello->node) ? member : newcomer(head, hello->node);
    if (member == NULL) {
        log_warn("event=refused host=%s why=\"%s\" limit=%d", hello->host,
                 node_id_is_none(hello->node) ? "it names no node" : "there are as many nodes as there may be",
                 NODES_MAX - 1);
        core_put(head->out, CORE_CLOSE, core_peer_key(handle), 0, 0);
        head->counts.bad_messages++;
        return;
    }
    bool is_same_life = member_lives(member) && hello->number == member->number &&
                        hello->incarnation == member->incarnation;
    if (!is_same_life && member_lives(member)) {
        head->is_changing_lives = true;
        member_die(head, member, "was started again");
    }
    struct proto_node said = { .host = hello->host,
                               .address = hello->address,
                               .labels = hello->labels,
                               .memory_domain = hello->memory_domain,
                               .cpus_hundredths = hello->cpus_hundredths == 0 ? 100 : hello->cpus_hundredths,
                               .memory_bytes = hello->memory_bytes,
                               .store_bytes = hello->store_bytes };
    bool has_changed = take_what_is_said(member, &said);
    if (!is_same_life) {
        new_life(head, member);
    }
    if (has_changed || !is_same_life) {
        member->news = ++head->news;
        commit(head, member);
    }
    begin_session(head, member, handle, is_same_life ? hello->news : 0);
    head->is_changing_lives = false;
    place_member(head, member);
    tell_deaths(head, member);
    if (member->state == PROTO_NODE_DRAINING) {
        tell_stop(head, member); /* it may have been lost with the session before */
    }
    member_heard(head, member, member->mark_base);
}

void member_session_up(struct head *head, const struct core_event *event)
{
    struct core_peer peer = event->u.session.peer;
    const struct proto_hello *hello = event->u.session.hello;
    if (event->u.session.resumed) {
        struct member *member = member_of(head, peer);
        if (member != NULL) {
            member->has_session = true;
            head->news_are_due = head->news_are_due || member->told < head->news;
            member_heard(head, member, member->mark_base);
        }
    } else if (hello != NULL && hello->role == PROTO_ROLE_AGENT) {
        agent_up(head, peer, hello);
    } else if (hello == NULL || hello->role != PROTO_ROLE_COMMAND) {
        core_put(head->out, CORE_CLOSE, core_peer_key(peer), 0, 0);
    }
}

void member_session_lost(struct head *head, struct core_peer peer)
{
    struct member *member = member_of(head, peer);
    if (member == NULL) {
        return;
    }
    member->has_session = false;
    list_void(member);
    edges_drop_all(member);
    if (member->state == PROTO_NODE_ALIVE) {
        suspect(head, member);
    }
}

/* ------------------------------------------------------------------------------------------------ dying */

static void move_tasks(struct head *head, struct member *member)
{
    struct failure *why = failure_make(ROOST_ENODE, member_name(head, member->number), "node %u (%s) died",
                                       member->number, member_name(head, member->number));
    while (!list_is_empty(&member->tasks)) {
        struct task *task = CONTAINER_OF(member->tasks.next, struct task, line);
        head_attempt_lost(head, task, task->state == TASK_PLACED, why);
    }
    LIST_EACH_SAFE (at, &member->homed) {
        struct task *task = CONTAINER_OF(at, struct task, of_home);
        list_remove(at);
        task->home = HEAD_NOBODY;
        if (task->state == TASK_LOCAL || (task->state == TASK_HOME && !head_in_census(head))) {
            head_attempt_lost(head, task, task->state == TASK_LOCAL, why);
        } else if (task->state == TASK_REFUSED) {
            head_task_fail(head, task, failure_ref(why));
        }
    }
    failure_unref(why);
}

static void leave_objects(struct head *head, struct member *member)
{
    head->counts.walks++;
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object == NULL) {
            continue;
        }
        head_object_release(head, object, member->number);
        head_object_unlocate(head, object, member->number, "died");
        if (object->more != NULL) {
            numbers_remove(&object->more->wants, member->number);
            numbers_remove(&object->more->coming, member->number);
        }
        object->home = object->home == member->number ? HEAD_NOBODY : object->home;
        if (head_object_is_orphan(object) && (!head_in_census(head) || !head_keeps(head, HEAD_RULE_CENSUS))) {
            head_object_fail(head, object, OBJECT_LOST,
                             failure_make(ROOST_ENODE, member_name(head, member->number),
                                          "node %u (%s), which was to make it, died", member->number,
                                          member_name(head, member->number)));
        }
    }
}

static void tell_all(struct head *head)
{
    for (uint32_t i = 1; i < head->members_count; i++) {
        struct member *other = head->members[i];
        if (other == NULL || !member_lives(other)) {
            continue;
        }
        if (other->deaths_echoed + 1 == head->deaths_first + head->deaths_count) {
            head->echoes_missing++; /* until now it owed nothing */
        }
        tell_deaths(head, other);
    }
}

void member_die(struct head *head, struct member *member, const char *why)
{
    log_info("event=node_dead node=%" PRIu32 " incarnation=%" PRIu32 " host=%s why=\"%s\"", member->number,
             member->incarnation, member_name(head, member->number), why);
    trace_add("member died", member->number, member->incarnation, head->now_ns);
    if (owes_echo(head, member)) {
        head->echoes_missing--;
    }
    if (member->has_session) {
        core_put(head->out, CORE_CLOSE, core_peer_key((struct core_peer){ member->number, member->incarnation }), 0, 0);
    }
    head->counts.deaths++;
    set_state(head, member, PROTO_NODE_DEAD);
    member->has_session = false;
    list_remove(&member->hearing);
    free_nothing_at(member);
    list_void(member);
    edges_drop_all(member);
    commit(head, member);
    if (member->is_placed) {
        placement_node_remove(head->placement, member->number);
        member->is_placed = false;
    }
    move_tasks(head, member);
    head_jobs_node_dead(head, member->number);
    leave_objects(head, member);
    add_death(head, member->number, member->incarnation);
    tell_all(head);
    list_census_arrived(head, member);
    head_turn_due(head);
}

/* ------------------------------------------------------------------------------------------------ load, stop */

static struct proto_pulled *pulled_from(struct member *member, uint32_t node)
{
    for (size_t i = 0; i < member->pulled_count; i++) {
        if (member->pulled[i].node == node) {
            return &member->pulled[i];
        }
    }
    if (member->pulled == NULL) {
        member->pulled = calloc(PULL_PEERS_COUNTED_MAX + 1, sizeof *member->pulled);
        ROOST_INVARIANT(member->pulled != NULL);
    }
    if (member->pulled_count == PULL_PEERS_COUNTED_MAX + 1) {
        return NULL;
    }
    struct proto_pulled *pulled = &member->pulled[member->pulled_count++];
    *pulled = (struct proto_pulled){ node, 0 };
    return pulled;
}

/* Totals, so that what is told twice counts once. */
static void take_pulled(struct member *member, const struct proto_load *load)
{
    for (size_t i = 0; i < load->pulled_count; i++) {
        struct proto_pulled *pulled = pulled_from(member, load->pulled[i].node);
        if (pulled == NULL) {
            log_error("event=pulled_from_too_many node=%u limit=%d", member->number, PULL_PEERS_COUNTED_MAX);
            return;
        }
        pulled->bytes = load->pulled[i].bytes;
    }
}

void member_load(struct head *head, struct member *member, const struct proto_load *load)
{
    take_pulled(member, load);
    member->load = *load;
    member->load.pulled = NULL; /* borrowed for the step */
    member->load.pulled_count = 0;
    struct placement_node_view view;
    if (!member->is_placed || !placement_node_get(head->placement, member->number, &view)) {
        return;
    }
    uint64_t total = member->cpus_hundredths;
    uint64_t idle = load->blocked_hundredths, busy = view.cpus_committed > idle ? view.cpus_committed - idle : 0;
    uint64_t ours = busy < total ? busy : total;
    uint64_t used = load->cpus_free_hundredths < total ? total - load->cpus_free_hundredths : 0;
    placement_node_set_local(head->placement, member->number, used > ours ? (uint32_t)(used - ours) : 0, 0,
                             PLACEMENT_PRIOR_NS);
    placement_node_set_blocked(head->placement, member->number, load->blocked_hundredths);
    head_turn_due(head);
}

void member_stop(struct head *head, const struct proto_stop *stop)
{
    for (uint32_t i = 1; i < head->members_count; i++) {
        struct member *member = head->members[i];
        if (member == NULL || !member_lives(member) || (stop->node != 0 && stop->node != i)) {
            continue;
        }
        set_state(head, member, PROTO_NODE_DRAINING);
        if (member->is_placed) {
            placement_node_suspend(head->placement, i);
            head_turn_due(head);
        }
        member->stop = *stop;
        tell_stop(head, member);
    }
}

bool member_is_valid(const struct head *head, const struct member *member)
{
    bool lives = member_lives(member);
    if (lives != !list_is_empty(&member->hearing) || (member->is_placed && !lives)) {
        return false;
    }
    if (!lives && (member->has_session || !list_is_empty(&member->tasks) || !list_is_empty(&member->homed))) {
        return false;
    }
    if (member->told > head->news || member->news > head->news) {
        return false;
    }
    return !lives || member->deaths_echoed <= member->deaths_sent || !member->has_session ||
           member->deaths_sent <= head->deaths_first + head->deaths_count;
}
