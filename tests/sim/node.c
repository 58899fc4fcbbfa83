/* node.c - steps an agent's core as worker/agent's turn, command and network files do, in virtual time
 *
 * Owns the node: its core, its timers, what waits for the sessions with other agents.
 *
 * Happy path: something happened -> step -> commands at once, in order; rings are read in turns of their own.
 * Failures:   killed -> core, memory and processes are gone; the node's id stays for the next process.
 *             another agent cannot be reached -> the core is told, after a few tries.
 * Invariants: steps do not nest: what a command leads to comes in a later turn.
 */
#include "tests/sim/node.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/sim/client.h"
#include "tests/sim/network.h"
#include "tests/sim/oracle.h"
#include "tests/sim/oracle_views.h"
#include "tests/sim/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool node_is_there(const struct world *world, const struct node *node, uint64_t life)
{
    (void)world;
    return node != NULL && node->life == life && life != 0;
}

uint64_t node_life(const struct world *world, uint32_t place)
{
    return world->nodes[place] == NULL ? 0 : world->nodes[place]->life;
}

/* ------------------------------------------------------------------------------------------------ later */

static void on_timer(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (node_is_there(world, node, what->life) && node->armed[what->other] == what->number) {
        node->armed[what->other] = 0;
        struct core_event event = { .kind = CORE_TICK, .u.timer.key = agent_token(AGENT_TIMER, what->other) };
        node_step(world, node, &event);
    }
}

static void arm(struct world *world, struct node *node, const struct core_command *command)
{
    uint64_t timer = agent_token_serial(command->token);
    ROOST_PRE(timer < NODE_TIMERS);
    node->armed[timer] = ++node->arming;
    struct occurrence what = {
        .run = on_timer, .place = node->place, .other = (uint32_t)timer, .life = node->life, .number = node->arming
    };
    uint64_t after = command->at_ns > world->now_ns ? command->at_ns - world->now_ns : 0;
    world_at(world, after + world_below(world, world->shape.latency_ns / 16 + 1), &what);
}

struct done {
    int status;
    uint64_t token, value;
    size_t bytes;
    unsigned char data[] __attribute__((__aligned__(16)));
};

static void on_done(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    const struct done *done = what->data;
    if (node_is_there(world, node, what->life)) {
        struct core_event event = { .kind = CORE_DONE,
                                    .u.done = { .token = done->token,
                                                .status = done->status,
                                                .value = done->value,
                                                .data = done->data,
                                                .bytes = done->bytes } };
        node_step(world, node, &event);
    }
}

void node_done(struct world *world, struct node *node, uint64_t delay_ns, uint64_t token, int status, uint64_t value,
               const void *data, size_t bytes)
{
    struct done *done = calloc(1, sizeof *done + bytes);
    ROOST_INVARIANT(done != NULL);
    *done = (struct done){ .status = status, .token = token, .value = value, .bytes = bytes };
    if (bytes > 0) {
        memcpy(done->data, data, bytes);
    }
    struct occurrence what = {
        .run = on_done, .place = node->place, .life = node->life, .data = done, .bytes = sizeof *done + bytes
    };
    world_at(world, delay_ns, &what);
    free(done);
}

static void on_turn(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (!node_is_there(world, node, what->life)) {
        return;
    }
    node->turn_is_due = false;
    clients_read(world, node);
    if (node_is_there(world, node, what->life) && node->drain_wanted) {
        node->drain_wanted = false;
        node->drains++;
        struct core_event event = { .kind = CORE_DRAINED };
        node_step(world, node, &event);
    }
}

void node_turn_soon(struct world *world, struct node *node)
{
    if (!node->turn_is_due) {
        node->turn_is_due = true;
        struct occurrence what = { .run = on_turn, .place = node->place, .life = node->life };
        world_at(world, world_below(world, SIM_MS / 2), &what);
    }
}

/* ------------------------------------------------------------------------------------------------ other agents */

/* With whom there is a session is known by it; anybody else by what the head has told. */
static uint32_t place_of(const struct node *node, struct core_peer peer)
{
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (core_peer_key(node->ways[i].peer) == core_peer_key(peer)) {
            return i;
        }
    }
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (node->neighbours[i].node == peer.node && peer.node != 0) {
            return node->neighbours[i].incarnation == peer.incarnation ? i : 0;
        }
    }
    return 0;
}

static void reset_way(struct way *way)
{
    free(way->waiting);
    *way = (struct way){ .peer = { 0, 0 } };
}

static void reset_ways(struct node *node)
{
    for (uint32_t i = 0; i < SIM_PLACES; i++) {
        reset_way(&node->ways[i]);
    }
}

/* NAMES point to something, and are said again in a session that begins. */
static void keep_waiting(struct way *way, const struct proto_message *message)
{
    if (message->kind != PROTO_NAMES) {
        way->waiting = realloc(way->waiting, (way->waiting_count + 1) * sizeof *way->waiting);
        ROOST_INVARIANT(way->waiting != NULL);
        way->waiting[way->waiting_count++] = *message;
    }
}

struct unreachable {
    struct list_node all; /* node.unreachable */
    struct core_peer peer;
};

/* At the latest before a session with the peer begins: later it would be taken for the end of that. */
static void tell_unreachable(struct world *world, struct node *node, struct core_peer peer)
{
    LIST_EACH_SAFE (at, &node->unreachable) {
        struct unreachable *unreachable = CONTAINER_OF(at, struct unreachable, all);
        if (core_peer_key(unreachable->peer) == core_peer_key(peer)) {
            list_remove(&unreachable->all);
            free(unreachable);
            struct core_event event = { .kind = CORE_SESSION_LOST, .u.session.peer = peer };
            node_step(world, node, &event);
        }
    }
}

static void forget_unreachable(struct node *node)
{
    LIST_EACH_SAFE (at, &node->unreachable) {
        list_remove(at);
        free(CONTAINER_OF(at, struct unreachable, all));
    }
}

static void on_unreachable(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (node_is_there(world, node, what->life)) {
        tell_unreachable(world, node, core_peer_of(what->number));
    }
}

static void unreachable_soon(struct world *world, struct node *node, struct core_peer peer)
{
    struct unreachable *unreachable = calloc(1, sizeof *unreachable);
    ROOST_INVARIANT(unreachable != NULL);
    unreachable->peer = peer;
    list_append(&node->unreachable, &unreachable->all);
    struct occurrence what = {
        .run = on_unreachable, .place = node->place, .life = node->life, .number = core_peer_key(peer)
    };
    world_at(world, world_below(world, SIM_MS), &what);
}

static void send_to_agent(struct world *world, struct node *node, struct core_peer peer,
                          const struct proto_message *message)
{
    uint32_t place = place_of(node, peer);
    oracle_tell_message(world, node->place, place, message);
    if (place == 0 || place == node->place) {
        unreachable_soon(world, node, peer);
        return;
    }
    struct way *way = &node->ways[place];
    if (way->peer.node == peer.node && way->peer.incarnation > peer.incarnation) { /* that life is over */
        unreachable_soon(world, node, peer);
        return;
    }
    if (core_peer_key(way->peer) != core_peer_key(peer)) { /* to nobody so far, or to an earlier life */
        if (way->peer.node != 0) {
            unreachable_soon(world, node, way->peer);
        }
        reset_way(way);
        network_hang_up(world, node->place, place);
        way->peer = peer;
        network_dial(world, node->place, place);
    }
    if (network_send(world, node->place, place, message) != 0) {
        keep_waiting(way, message);
        network_dial(world, node->place, place);
    }
}

static void send(struct world *world, struct node *node, const struct core_command *command)
{
    struct core_peer peer = core_peer_of(command->to);
    const struct proto_message *message = core_body(command);
    if (peer.node != 0) {
        send_to_agent(world, node, peer, message);
        return;
    }
    oracle_tell_message(world, node->place, 0, message);
    if (network_send(world, node->place, 0, message) == 0) { /* else lost with the session, as the core will hear */
        ROOST_INVARIANT(marks_note(&node->marks, network_last_batch(world, node->place, 0), (uint32_t)command->token) ==
                        0);
    }
}

/* ------------------------------------------------------------------------------------------------ steps */

static void run(struct world *world, struct node *node, const struct core_command *command)
{
    switch (command->kind) {
    case CORE_SEND:
        send(world, node, command);
        break;
    case CORE_REPLY:
        client_reply(world, node, core_client_of(command->to), core_body(command));
        break;
    case CORE_TASK:
        client_task(world, node, core_client_of(command->to), core_body(command));
        break;
    case CORE_TABLE:
        store_entry(world, node, command->token, core_body(command));
        break;
    case CORE_WRITE:
        store_write(world, node, core_body(command));
        break;
    case CORE_SPAWN:
        client_spawn(world, node, command->token, core_body(command));
        break;
    case CORE_KILL:
        client_kill_spawned(world, node, command->token);
        break;
    case CORE_CLOSE:
        world_fail(world, "place %u: the agent says that client %u broke the protocol", node->place,
                   core_client_of(command->to).slot);
    case CORE_DRAIN:
        node->drain_wanted = true;
        node_turn_soon(world, node);
        break;
    case CORE_ARM:
        arm(world, node, command);
        break;
    case CORE_PULL:
        store_pull(world, node, command->token, core_body(command));
        break;
    case CORE_WAKE:
        clients_take_names(world, node, command->token, core_body(command));
        break;
    case CORE_FILLER:
    case CORE_DISARM:
    case CORE_LEASE:
    case CORE_SPILL:
    case CORE_COMMIT:
        world_fail(world, "an agent gives command %d", command->kind);
    }
}

void node_step(struct world *world, struct node *node, struct core_event *event)
{
    uint64_t life = node->life;
    struct core_out *out = &world->outs[1];
    event->now_ns = world->now_ns;
    core_out_clear(out);
    agent_core.step(node->core, event, out);
    world->steps++;
    world_note(world, 100 + node->place, agent_core.hash(node->core));
    if ((world->shape.is_small || world->steps % 16 == 0) && !agent_core.is_valid(node->core)) {
        world_fail(world, "place %u: the agent is not valid: %s", node->place, agent_view_fault(node->core));
    }
    for (const struct core_command *c = core_next(out, NULL); c != NULL && node->life == life; c = core_next(out, c)) {
        run(world, node, c);
    }
}

/* ------------------------------------------------------------------------------------------------ sessions */

void node_hello(struct world *world, uint32_t place, uint32_t to, struct proto_hello *hello_out)
{
    const struct node *node = world->nodes[place];
    *hello_out = (struct proto_hello){ .role = to == 0 ? PROTO_ROLE_AGENT : PROTO_ROLE_PEER,
                                       .node = node->id,
                                       .cluster = { 5, 5 },
                                       .epoch = node->epoch,
                                       .number = node->self.node,
                                       .incarnation = node->self.incarnation,
                                       .host = "node",
                                       .address = "node:1",
                                       .labels = "",
                                       .cpus_hundredths = world->shape.cpus * 100,
                                       .memory_bytes = ROOST_GIB(1),
                                       .store_bytes = node->memory_bytes,
                                       .news = to == 0 ? node->news : 0 };
}

static void agent_up(struct world *world, struct node *node, uint32_t other, bool resumed,
                     const struct proto_hello *hello)
{
    struct core_peer peer = { hello->number, hello->incarnation };
    struct way *way = &node->ways[other];
    if (way->peer.node != 0 && core_peer_key(way->peer) != core_peer_key(peer)) {
        struct core_event lost = { .kind = CORE_SESSION_LOST, .u.session.peer = way->peer };
        node_step(world, node, &lost);
        reset_way(way);
    }
    way->peer = peer;
    way->tries = 0;
    tell_unreachable(world, node, peer);
    struct core_event event = { .kind = CORE_SESSION_UP, .u.session = { .peer = peer, .resumed = resumed } };
    node_step(world, node, &event);
    for (uint32_t i = 0; i < way->waiting_count; i++) {
        network_send(world, node->place, other, &way->waiting[i]); /* a failure is a lost session, and that is told */
    }
    free(way->waiting);
    way->waiting = NULL;
    way->waiting_count = 0;
}

void node_up(struct world *world, uint32_t place, uint32_t other, bool resumed, const struct proto_hello *hello)
{
    struct node *node = world->nodes[place];
    if (other != 0) {
        agent_up(world, node, other, resumed, hello);
        return;
    }
    node->epoch = hello->epoch;
    struct core_event event = { .kind = CORE_SESSION_UP, .u.session = { .epoch = hello->epoch, .resumed = resumed } };
    node_step(world, node, &event);
}

static void learn_nodes(struct world *world, struct node *node, const struct proto_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        for (uint32_t place = 1; place < SIM_PLACES; place++) {
            if (world->nodes[place] != NULL && node_id_eq(world->nodes[place]->id, nodes->items[i].id)) {
                node->neighbours[place] = (struct core_peer){ nodes->items[i].number, nodes->items[i].incarnation };
            }
        }
    }
    node->news = nodes->news == 0 ? node->news : nodes->news;
}

/* Rule 4: what a dead agent has said and nobody has read yet is not read any more. */
static void close_dead(struct world *world, struct node *node, struct core_peer dead)
{
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (core_peer_key(node->ways[i].peer) == core_peer_key(dead)) {
            reset_way(&node->ways[i]);
            network_hang_up(world, node->place, i);
        }
    }
}

void node_message(struct world *world, uint32_t place, uint32_t other, uint32_t batch, uint32_t seen,
                  const struct proto_message *message)
{
    struct node *node = world->nodes[place];
    struct core_event event = { .kind = CORE_MESSAGE, .u.message = { .batch = batch, .seen = seen, .body = message } };
    event.u.message.seen = other == 0 ? marks_at(&node->marks, seen) : seen;
    if (other != 0) {
        event.u.message.peer = node->ways[other].peer;
    } else if (message->kind == PROTO_DEAD) {
        close_dead(world, node, (struct core_peer){ message->u.dead.node, message->u.dead.incarnation });
    } else if (message->kind == PROTO_WELCOME) {
        node->self = (struct core_peer){ message->u.welcome.number, message->u.welcome.incarnation };
    } else if (message->kind == PROTO_NODES) {
        learn_nodes(world, node, &message->u.nodes);
    }
    node_step(world, node, &event);
}

void node_batch_end(struct world *world, uint32_t place, uint32_t other, uint32_t batch, uint32_t seen)
{
    struct node *node = world->nodes[place];
    if (other == 0 && batch == 0) {
        struct core_event event = { .kind = CORE_MESSAGE, .u.message = { .seen = marks_at(&node->marks, seen) } };
        node_step(world, node, &event);
    } else if (other == 0) {
        marks_forget_before(&node->marks, seen);
    }
}

void node_lost(struct world *world, uint32_t place, uint32_t other)
{
    struct node *node = world->nodes[place];
    struct core_event event = { .kind = CORE_SESSION_LOST };
    if (other == 0) {
        marks_fini(&node->marks);
    }
    event.u.session.peer = other == 0 ? (struct core_peer){ 0, 0 } : node->ways[other].peer;
    node_step(world, node, &event);
}

void node_down(struct world *world, uint32_t place, uint32_t other)
{
    struct node *node = world->nodes[place];
    struct way *way = &node->ways[other];
    if (other == 0 || node->life == 0 || way->peer.node == 0 || ++way->tries < NODE_TRIES) {
        return;
    }
    struct core_peer peer = way->peer;
    reset_way(way);
    network_hang_up(world, place, other);
    unreachable_soon(world, node, peer);
}

/* ------------------------------------------------------------------------------------------------ life */

void node_create(struct world *world, uint32_t place)
{
    struct node *node = calloc(1, sizeof *node);
    ROOST_INVARIANT(node != NULL);
    node->place = place;
    node->id = (struct node_id){ hash_mix(world->options.seed, place) | 1, place };
    list_init(&node->clients);
    list_init(&node->unreachable);
    world->nodes[place] = node;
}

void node_begin(struct world *world, uint32_t place)
{
    struct node *node = world->nodes[place];
    ROOST_PRE(node->life == 0);
    struct agent_config config = { .node = node->id,
                                   .cpus_hundredths = world->shape.cpus * 100,
                                   .memory_bytes = ROOST_GIB(1),
                                   .segments_count = 1,
                                   .segment_bytes = { world->shape.store_bytes },
                                   .secret = world_random(world),
                                   .patience_ns = 100 * SIM_MS,
                                   .workers_max = world->shape.cpus * 8,
                                   .rules_off = world->options.rules_off };
    snprintf(config.node_name, sizeof config.node_name, "place-%u", place);
    if (agent_create(&node->core, &config) != 0) {
        world_fail(world, "no agent: %s", error_text());
    }
    node->life = ++world->lives;
    node->self = (struct core_peer){ 0, 0 };
    node->slots = 0;
    node->drain_wanted = node->turn_is_due = false;
    memset(node->armed, 0, sizeof node->armed);
    memset(node->neighbours, 0, sizeof node->neighbours);
    store_init(node, world->shape.store_bytes);
    world_tell(world, place, "an agent begins");
    network_begin(world, place);
    network_dial(world, place, 0);
}

void node_end(struct world *world, uint32_t place, bool silent)
{
    struct node *node = world->nodes[place];
    world_tell(world, place, "the node is killed%s", silent ? ", in silence" : "");
    world_wound(world, WOUND_NODE_LOST);
    clients_end(world, node);
    node->life = 0;
    network_end(world, place, silent);
    reset_ways(node);
    forget_unreachable(node);
    marks_fini(&node->marks);
    agent_destroy(node->core);
    node->core = NULL;
    store_fini(node);
}

void node_destroy(struct world *world, struct node *node)
{
    if (node != NULL && node->life != 0) {
        clients_end(world, node);
        agent_destroy(node->core);
        marks_fini(&node->marks);
        reset_ways(node);
        forget_unreachable(node);
        store_fini(node);
    }
    free(node);
}

void node_give_names(struct world *world, struct node *node, uint32_t to, const struct object_id *ids, uint32_t count)
{
    size_t bytes = sizeof(struct agent_names) + count * sizeof *ids;
    struct agent_names *names = calloc(1, bytes);
    ROOST_INVARIANT(names != NULL);
    names->peer = node->neighbours[to];
    names->count = count;
    memcpy(names->ids, ids, count * sizeof *ids);
    struct core_event event = {
        .kind = CORE_DONE, .u.done = { .token = agent_token(AGENT_TOKEN_NAMES, 0), .data = names, .bytes = bytes }
    };
    if (names->peer.node != 0) {
        node_step(world, node, &event);
    }
    free(names);
}
