/* transit.c - names that go straight from agent to agent, outside the head's sight (rule 3)
 *
 * Owns the names that this node has given to another and those that have come and were not taken yet. Both are holds of
 * this node.
 *
 * Happy path: given -> published, held here -> the head has seen that, NAMES -> the other registers with the head,
 *             hands them on -> the head has seen that -> NAMES_ACK -> no longer held here for that.
 * Failures:   the session ends -> NAMES again after a pause, or in the next one; the peer is dead -> what was given to
 *             it is forgotten. the head is away -> what has come is registered by the next LIST, and acknowledged after
 *             that was seen.
 * Invariants: an object's transits is the number of its names in this file's lists.
 * Thread: the agent's loop.
 */
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TRANSIT_PAUSE_NS = 20000000 };

struct transit {
    struct list_node all; /* agent.given or agent.arrived */
    struct core_peer peer;
    uint64_t message;
    uint64_t serial;
    uint32_t mark; /* what the head must have seen before NAMES go, or are acknowledged */
    bool is_marked, is_said, is_lost, is_acknowledged, is_taken;
    uint32_t count;
    struct object *objects[];
};

static struct transit *make(struct agent *agent, struct list_node *list, struct core_peer peer,
                            const struct object_id *ids, size_t count)
{
    struct transit *transit = agent_alloc(sizeof *transit + count * sizeof(struct object *));
    transit->peer = peer;
    transit->serial = ++agent->serial;
    for (size_t i = 0; i < count; i++) {
        struct object *object = object_demand(agent, ids[i]);
        transit->objects[transit->count++] = object;
        object_name(agent, object, &object->transits);
    }
    list_append(list, &transit->all);
    return transit;
}

static void end(struct agent *agent, struct transit *transit)
{
    for (uint32_t i = 0; i < transit->count; i++) {
        object_unname(agent, transit->objects[i], &transit->objects[i]->transits);
    }
    list_remove(&transit->all);
    free(transit);
}

static struct proto_message *say(struct agent *agent, struct core_peer peer, enum proto_kind kind)
{
    struct proto_message *message = core_put(agent->out, CORE_SEND, core_peer_key(peer), 0, sizeof *message);
    message->kind = kind;
    return message;
}

static void say_names(struct agent *agent, const struct transit *transit)
{
    struct object_id *ids = core_alloc(agent->out, transit->count * sizeof *ids);
    for (uint32_t i = 0; i < transit->count; i++) {
        ids[i] = transit->objects[i]->id;
    }
    say(agent, transit->peer, PROTO_NAMES)->u.names = (struct proto_transit){ transit->message,
                                                                              { ids, transit->count } };
}

void transit_give(struct agent *agent, const struct agent_names *names)
{
    const struct member *member = member_find(agent, names->peer.node);
    bool lives = member != NULL && member->is_alive && member->incarnation == names->peer.incarnation;
    if (!agent->head_is_up || !lives) {
        return; /* what the head cannot be told of does not leave, and to the dead nothing does */
    }
    struct transit *transit = make(agent, &agent->given, names->peer, names->ids, names->count);
    transit->message = transit->serial;
    for (uint32_t i = 0; i < transit->count; i++) {
        link_publish(agent, transit->objects[i]);
    }
}

/* Not before the head knows them: a HOLD from the other end could overtake their PUBLISH. */
static void settle_given(struct agent *agent, struct transit *transit)
{
    if (!transit->is_said && agent->head_seen >= transit->mark) {
        transit->is_said = true;
        say_names(agent, transit);
        if ((agent->config.rules_off & AGENT_RULE_TRANSIT) != 0) {
            end(agent, transit);
        }
    }
}

static void settle_arrived(struct agent *agent, struct transit *transit)
{
    if (!transit->is_acknowledged && agent->head_seen >= transit->mark) {
        transit->is_acknowledged = true;
        say(agent, transit->peer, PROTO_NAMES_ACK)->u.names_ack.message = transit->message;
    }
    if (transit->is_acknowledged && transit->is_taken) {
        end(agent, transit);
    }
}

static struct transit *find_arrived(struct agent *agent, struct core_peer peer, uint64_t message)
{
    LIST_EACH (at, &agent->arrived) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->message == message && core_peer_key(transit->peer) == core_peer_key(peer)) {
            return transit;
        }
    }
    return NULL;
}

static void on_names(struct agent *agent, struct core_peer peer, const struct proto_transit *names)
{
    struct transit *transit = find_arrived(agent, peer, names->message);
    if (transit != NULL) { /* said again, as the session between us is another one: so is its acknowledgement */
        transit->is_acknowledged = false;
        return;
    }
    transit = make(agent, &agent->arrived, peer, names->objects.ids, names->objects.count);
    transit->message = names->message;
    struct agent_names *body = core_put(agent->out, CORE_WAKE, 0, agent_token(AGENT_TOKEN_NAMES, transit->serial),
                                        sizeof *body + transit->count * sizeof body->ids[0]);
    body->peer = peer;
    body->count = transit->count;
    for (uint32_t i = 0; i < transit->count; i++) {
        struct object *object = transit->objects[i];
        body->ids[i] = object->id;
        list_remove(&object->unknown);
        link_is_known(agent, object); /* whoever sent it has told the head */
    }
}

static void on_ack(struct agent *agent, struct core_peer peer, uint64_t message)
{
    LIST_EACH_SAFE (at, &agent->given) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->message == message && core_peer_key(transit->peer) == core_peer_key(peer)) {
            end(agent, transit);
        }
    }
}

void transit_message(struct agent *agent, struct core_peer peer, const struct proto_message *message)
{
    if (message->kind == PROTO_NAMES) {
        on_names(agent, peer, &message->u.names);
    } else {
        on_ack(agent, peer, message->u.names_ack.message);
    }
}

static void mark(struct agent *agent, struct transit *transit)
{
    if (!transit->is_marked) {
        transit->is_marked = true;
        transit->mark = agent->said_mark;
    }
}

/* The step's end: all that was published or held in it has been said by now. */
void transit_settle(struct agent *agent)
{
    if (!agent->has_listed) {
        return;
    }
    LIST_EACH_SAFE (given_at, &agent->given) {
        struct transit *transit = CONTAINER_OF(given_at, struct transit, all);
        mark(agent, transit);
        settle_given(agent, transit);
    }
    LIST_EACH_SAFE (at, &agent->arrived) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        mark(agent, transit);
        settle_arrived(agent, transit);
    }
}

/* Who they were for has them. */
void transit_taken(struct agent *agent, uint64_t serial)
{
    LIST_EACH (at, &agent->arrived) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        transit->is_taken = transit->is_taken || transit->serial == serial;
    }
}

/* The head's session is a new one: its LIST publishes and registers what the last one may have left out. */
void transit_head_lost(struct agent *agent)
{
    struct list_node *lists[] = { &agent->given, &agent->arrived };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        LIST_EACH (at, lists[i]) {
            CONTAINER_OF(at, struct transit, all)->is_marked = false;
        }
    }
}

/* The session is lost, or another one: what may not have arrived is said again, which makes the host look for a
 * session. */
/* A peer may be known as gone here before the head says so: no haste. */
void transit_lost(struct agent *agent, struct core_peer peer)
{
    LIST_EACH (at, &agent->given) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->is_said && core_peer_key(transit->peer) == core_peer_key(peer)) {
            transit->is_lost = true;
            core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_NAMES), agent->now_ns + TRANSIT_PAUSE_NS);
        }
    }
}

void transit_again(struct agent *agent, struct core_peer peer)
{
    LIST_EACH (at, &agent->given) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->is_said && core_peer_key(transit->peer) == core_peer_key(peer)) {
            transit->is_lost = false;
            say_names(agent, transit);
        }
    }
}

/* Also without a DEAD: a head that has begun since then says who lives, not who died before. */
static bool has_died(struct agent *agent, struct core_peer peer)
{
    const struct member *member = member_find(agent, peer.node);
    return member != NULL && (!member->is_alive || member->incarnation > peer.incarnation);
}

void transit_timer(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->given) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->is_lost && has_died(agent, transit->peer)) {
            end(agent, transit);
        } else if (transit->is_lost) {
            transit->is_lost = false;
            say_names(agent, transit);
        }
    }
}

void transit_dead(struct agent *agent, struct core_peer peer)
{
    LIST_EACH_SAFE (at, &agent->given) {
        struct transit *transit = CONTAINER_OF(at, struct transit, all);
        if (transit->peer.node == peer.node && transit->peer.incarnation <= peer.incarnation) {
            end(agent, transit);
        }
    }
}

void transits_fini(struct agent *agent)
{
    struct list_node *lists[] = { &agent->given, &agent->arrived };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        LIST_EACH_SAFE (at, lists[i]) {
            free(CONTAINER_OF(at, struct transit, all));
        }
    }
}
