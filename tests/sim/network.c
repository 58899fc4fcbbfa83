/* network.c - lines, connections, frames
 *
 * Owns the lines between places (a session at each end) and every connection that was ever made.
 *
 * Happy path: dial -> the first frame reaches the other end, which connects too -> frames -> messages to the owners.
 * Failures:   cut -> frames that had not arrived by some moment are gone, each end notices at a moment of its own.
 *             parted -> frames wait until the end of it, or their connection is gone and the silence says so; dials
 *             fail. damaged -> a frame is missing, or there twice: the session's numbers tell.
 *             both ends dial -> the connection of the lower place stays.
 * Invariants: a frame reaches only the process that its connection was made with. What a side has said and the other
 *             not taken in is in `said`, in order, as long as both are in the same session.
 */
#include "tests/sim/network.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "proto/decode.h"
#include "proto/session.h"
#include "tests/sim/head_host.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

#define SILENCE_NS (NODE_DEAD_MS * SIM_MS)
#define BEAT_NS    (HEARTBEAT_MS * SIM_MS / 2)

struct connection {
    uint32_t places[2];
    uint64_t lives[2];   /* of the processes */
    uint64_t last_ns[2]; /* when the newest frame to each arrives */
    uint64_t gone_ns[2]; /* nothing arrives at this end from then on */
    bool is_open[2];     /* seen from each end */
};

struct side {
    struct session session;
    bool exists, is_wanted, has_session, is_flushing, is_dialing, beats;
    uint32_t connection; /* 0: none */
    uint64_t connected_ns;
    uint32_t damage; /* 1: the next frame is lost, 2: comes twice */
    struct transit *said;
    size_t said_first, said_count, said_capacity;
};

struct line {
    uint64_t parted_until_ns;
    struct side sides[2]; /* [0]: of the lower place */
};

struct network {
    struct line *lines[SIM_PLACES][SIM_PLACES]; /* [lower][higher] */
    struct connection *connections;
    uint32_t connections_count, connections_capacity;
};

/* ------------------------------------------------------------------------------------------------ books */

static struct line *line_of(struct network *network, uint32_t a, uint32_t b)
{
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    ROOST_PRE(low != high && high < SIM_PLACES);
    if (network->lines[low][high] == NULL) {
        network->lines[low][high] = calloc(1, sizeof(struct line));
        ROOST_INVARIANT(network->lines[low][high] != NULL);
    }
    return network->lines[low][high];
}

static struct side *side_of(struct world *world, uint32_t self, uint32_t other)
{
    return &line_of(world->network, self, other)->sides[self < other ? 0 : 1];
}

static uint64_t life_of(const struct world *world, uint32_t place)
{
    return place == 0 ? head_host_life(world) : node_life(world, place);
}

static void forget_said(struct side *side)
{
    for (size_t i = 0; i < side->said_count; i++) {
        free(side->said[side->said_first + i].ids);
    }
    free(side->said);
    side->said = NULL;
    side->said_first = side->said_count = side->said_capacity = 0;
}

static void say(struct side *side, const struct proto_message *message)
{
    if (side->said_first + side->said_count == side->said_capacity) {
        size_t capacity = side->said_count * 2 + 16;
        struct transit *said = malloc(capacity * sizeof *said);
        ROOST_INVARIANT(said != NULL);
        if (side->said_count > 0) {
            memcpy(said, side->said + side->said_first, side->said_count * sizeof *said);
        }
        free(side->said);
        side->said = said;
        side->said_first = 0;
        side->said_capacity = capacity;
    }
    struct transit *transit = &side->said[side->said_first + side->said_count++];
    *transit = (struct transit){ .batch = session_last_number(&side->session), .kind = message->kind };
    if (message->kind == PROTO_SUBMIT) {
        const struct spec *spec = message->u.submit.spec.data;
        transit->job = spec->job;
    }
    transit->count = oracle_names_of(message, &transit->ids, &transit->makes);
}

static void pop(struct side *side)
{
    free(side->said[side->said_first].ids);
    side->said_first++;
    side->said_count--;
}

static bool are_paired(const struct side *a, const struct side *b)
{
    return a->exists && b->exists && a->session.is_established && a->session.self == b->session.peer &&
           a->session.peer == b->session.self;
}

/* One message of this batch is taken in; those before it have been. */
static void heard(struct side *by, struct side *from, uint32_t batch)
{
    if (!are_paired(by, from)) {
        return;
    }
    while (from->said_count > 0 && from->said[from->said_first].batch < batch) {
        pop(from);
    }
    if (from->said_count > 0 && from->said[from->said_first].batch == batch) {
        pop(from);
    }
}

/* ------------------------------------------------------------------------------------------------ owners */

static void tell_up(struct world *world, uint32_t self, uint32_t other, bool resumed, const struct proto_hello *hello)
{
    world_tell(world, self, "session with %u %s", other, resumed ? "goes on" : "begins");
    self == 0 ? head_host_up(world, other, resumed, hello) : node_up(world, self, other, resumed, hello);
}

static void tell_message(struct world *world, uint32_t self, uint32_t other, uint32_t batch, uint32_t seen,
                         const struct proto_message *message)
{
    self == 0 ? head_host_message(world, other, batch, seen, message)
              : node_message(world, self, other, batch, seen, message);
}

static void tell_batch_end(struct world *world, uint32_t self, uint32_t other, uint32_t batch, uint32_t seen)
{
    self == 0 ? head_host_batch_end(world, other, batch, seen) : node_batch_end(world, self, other, batch, seen);
}

static void tell_lost(struct world *world, uint32_t self, uint32_t other, const char *why)
{
    world_tell(world, self, "session with %u is lost: %s", other, why);
    self == 0 ? head_host_lost(world, other) : node_lost(world, self, other);
}

static void tell_down(struct world *world, uint32_t self, uint32_t other)
{
    if (self != 0) {
        node_down(world, self, other);
    }
}

/* ------------------------------------------------------------------------------------------------ frames */

static uint64_t latency(struct world *world)
{
    return world->shape.latency_ns / 4 + world_below(world, world->shape.latency_ns);
}

static void flush_soon(struct world *world, uint32_t self, uint32_t other);
static void redial(struct world *world, uint32_t self, uint32_t other, uint64_t after_ns);

static void on_closed(struct world *world, const struct occurrence *what);
static struct side *need_side(struct world *world, uint32_t self, uint32_t other);

/* This side has no connection from now on; the other end of it notices a little later. */
/* For good: a later end does not bring it back. */
static void be_gone_at(struct connection *connection, int end, uint64_t at_ns)
{
    connection->gone_ns[end] = at_ns < connection->gone_ns[end] ? at_ns : connection->gone_ns[end];
}

static void disconnect(struct world *world, uint32_t self, uint32_t other)
{
    struct side *side = side_of(world, self, other);
    if (side->connection == 0) {
        return;
    }
    struct connection *connection = &world->network->connections[side->connection];
    int end = connection->places[0] == self ? 0 : 1;
    connection->is_open[end] = false;
    be_gone_at(connection, end, world->now_ns);
    struct occurrence closed = {
        .run = on_closed, .place = other, .other = self, .life = connection->lives[1 - end], .number = side->connection
    };
    uint64_t last = connection->last_ns[1 - end] > world->now_ns ? connection->last_ns[1 - end] - world->now_ns : 0;
    world_at(world, last + latency(world), &closed);
    side->connection = 0;
    session_disconnected(&side->session);
    tell_down(world, self, other);
    if (side->exists && side->is_wanted) {
        redial(world, self, other, (PEERS_RETRY_MS_MIN + world_below(world, PEERS_RETRY_MS_MIN)) * SIM_MS);
    }
}

static void take_events(struct world *world, uint32_t self, uint32_t other)
{
    struct side *side = side_of(world, self, other), *peer = side_of(world, other, self);
    uint64_t life = life_of(world, self);
    struct session_event event;
    while (side->exists && life_of(world, self) == life && session_next(&side->session, &event)) {
        switch (event.kind) {
        case SESSION_EVENT_LOST:
            forget_said(side);
            if (event.u.lost.close) {
                disconnect(world, self, other);
            }
            if (side->has_session) {
                side->has_session = false;
                tell_lost(world, self, other, event.u.lost.text);
            }
            break;
        case SESSION_EVENT_UP:
            side->has_session = true;
            tell_up(world, self, other, event.u.up.resumed, event.u.up.hello);
            break;
        case SESSION_EVENT_MESSAGES:
            for (size_t i = 0; i < event.u.messages.count; i++) {
                heard(side, peer, event.u.messages.number);
                tell_message(world, self, other, event.u.messages.number, event.u.messages.seen,
                             &event.u.messages.messages[i]);
            }
            tell_batch_end(world, self, other, event.u.messages.number, event.u.messages.seen);
            break;
        }
    }
}

static void connect_side(struct world *world, uint32_t self, uint32_t other, uint32_t number)
{
    disconnect(world, self, other); /* its owner may hang up on hearing that: who comes now is somebody new */
    struct side *side = need_side(world, self, other);
    struct proto_hello hello = { 0 };
    self == 0 ? head_host_hello(world, &hello) : node_hello(world, self, other, &hello);
    if (session_connected(&side->session, &hello, world->now_ns) != 0) {
        world_fail(world, "no hello: %s", error_text());
    }
    side->connection = number;
    side->connected_ns = world->now_ns;
    flush_soon(world, self, other);
}

/* Both dialed: the lower place's connection stays while it is being made. */
static bool ours_stays(const struct side *side, uint32_t self, uint32_t other)
{
    return side->connection != 0 && side->session.state != SESSION_UP && side->is_wanted && self < other;
}

static void on_frame(struct world *world, const struct occurrence *what)
{
    uint32_t self = what->place, other = what->other, number = (uint32_t)what->number;
    struct connection *connection = &world->network->connections[number];
    int end = connection->places[0] == self ? 0 : 1;
    struct side *side = side_of(world, self, other);
    if (life_of(world, self) != connection->lives[end] || !connection->is_open[end] ||
        world->now_ns > connection->gone_ns[end]) {
        return;
    }
    if (side->connection != number && end == 1) { /* accepted */
        if (ours_stays(side, self, other)) {
            connection->is_open[end] = false;
            return;
        }
        need_side(world, self, other);
        connect_side(world, self, other, number);
    }
    if (side->connection != number) {
        return;
    }
    int status = session_received(&side->session, what->data, what->bytes, world->now_ns);
    if (status != 0) {
        if (world->shape.damages == 0 && status != ROOST_ESTATE) { /* connections cross in a world without damage too */
            world_fail(world, "%u refuses a frame from %u: %s", self, other, error_text());
        }
        world_tell(world, self, "a frame from %u is refused: %s", other, error_text());
        disconnect(world, self, other);
    } else if (side->session.frame.kind == PROTO_FRAME_BATCH && side->session.frame.number == 0) {
        tell_batch_end(world, self, other, 0, session_seen_in_order(&side->session));
    }
    take_events(world, self, other);
    flush_soon(world, self, other);
}

static void send_frame(struct world *world, uint32_t self, uint32_t other, const struct proto_bytes *frame)
{
    struct side *side = side_of(world, self, other);
    struct line *line = line_of(world->network, self, other);
    struct connection *connection = &world->network->connections[side->connection];
    int to = connection->places[0] == self ? 1 : 0;
    uint32_t times = side->damage == 1 ? 0 : side->damage == 2 ? 2 : 1;
    side->damage = 0;
    for (uint32_t i = 0; i < times; i++) {
        uint64_t at = world->now_ns + latency(world);
        at = at > connection->last_ns[to] ? at : connection->last_ns[to] + 1;
        at = line->parted_until_ns > world->now_ns && at < line->parted_until_ns
                 ? line->parted_until_ns + at / 1000 % 1000
                 : at;
        at = at > connection->last_ns[to] ? at : connection->last_ns[to] + 1;
        connection->last_ns[to] = at;
        struct occurrence arrival = { .run = on_frame,
                                      .place = other,
                                      .other = self,
                                      .number = side->connection,
                                      .data = (void *)(uintptr_t)frame->data,
                                      .bytes = frame->size };
        world_at(world, at - world->now_ns, &arrival);
    }
}

static void flush(struct world *world, uint32_t self, uint32_t other)
{
    struct side *side = side_of(world, self, other);
    struct proto_bytes frame;
    take_events(world, self, other);
    while (side->exists && side->connection != 0 && session_flush(&side->session, world->now_ns, &frame)) {
        send_frame(world, self, other, &frame);
    }
}

static void on_flush(struct world *world, const struct occurrence *what)
{
    struct side *side = side_of(world, what->place, what->other);
    if (life_of(world, what->place) == what->life && side->exists) {
        side->is_flushing = false;
        flush(world, what->place, what->other);
    }
}

static void flush_soon(struct world *world, uint32_t self, uint32_t other)
{
    struct side *side = side_of(world, self, other);
    if (side->exists && !side->is_flushing) {
        side->is_flushing = true;
        struct occurrence what = { .run = on_flush, .place = self, .other = other, .life = life_of(world, self) };
        world_at(world, world_below(world, world->shape.latency_ns / 4 + 1), &what);
    }
}

/* ------------------------------------------------------------------------------------------------ coming, going */

static void on_closed(struct world *world, const struct occurrence *what)
{
    struct side *side = side_of(world, what->place, what->other);
    if (life_of(world, what->place) == what->life && side->exists && side->connection == (uint32_t)what->number) {
        disconnect(world, what->place, what->other);
    }
}

static void on_beat(struct world *world, const struct occurrence *what)
{
    struct side *side = side_of(world, what->place, what->other);
    if (life_of(world, what->place) != what->life || !side->exists) {
        return;
    }
    flush(world, what->place, what->other);
    uint64_t heard_ns = session_heard_ns(&side->session);
    heard_ns = heard_ns > side->connected_ns ? heard_ns : side->connected_ns;
    if (side->connection != 0 && world->now_ns - heard_ns > SILENCE_NS) {
        world_tell(world, what->place, "%u is silent", what->other);
        disconnect(world, what->place, what->other);
    }
    if (what->place != 0 && what->other != 0 && side->has_session &&
        world->now_ns - session_heard_ns(&side->session) > SILENCE_NS) {
        network_lose(world, what->place, what->other); /* between agents: on_silence() in worker/agent/network.c */
    }
    struct occurrence next = *what;
    next.data = NULL;
    world_at(world, BEAT_NS, &next);
}

static struct side *need_side(struct world *world, uint32_t self, uint32_t other)
{
    struct side *side = side_of(world, self, other);
    if (!side->exists) {
        memset(side, 0, sizeof *side);
        side->exists = true;
        session_init(&side->session, world_random(world) | 1, &world->decoded, &world->scratch, world->now_ns);
        struct occurrence beat = { .run = on_beat, .place = self, .other = other, .life = life_of(world, self) };
        world_at(world, world_below(world, BEAT_NS), &beat);
    }
    return side;
}

static void drop_side(struct side *side)
{
    if (side->exists) {
        session_fini(&side->session);
        forget_said(side);
    }
    memset(side, 0, sizeof *side);
}

static void on_dial(struct world *world, const struct occurrence *what)
{
    uint32_t self = what->place, other = what->other;
    struct network *network = world->network;
    struct side *side = side_of(world, self, other);
    if (life_of(world, self) != what->life || !side->exists || !side->is_wanted) {
        return;
    }
    side->is_dialing = false;
    if (side->connection != 0) {
        return;
    }
    uint64_t life = life_of(world, other);
    bool is_nobody = self != 0 && other != 0 &&
                     (world->nodes[self]->self.node == 0 || world->nodes[other]->self.node == 0);
    if (life == 0 || is_nobody || /* who has no number yet is refused */
        line_of(network, self, other)->parted_until_ns > world->now_ns) {
        tell_down(world, self, other);
        if (side->exists && side->is_wanted) {
            redial(world, self, other, (PEERS_RETRY_MS_MIN + world_below(world, 200)) * SIM_MS);
        }
        return;
    }
    if (network->connections_count + 1 >= network->connections_capacity) {
        network->connections_capacity = network->connections_capacity * 2 + 64;
        network->connections = realloc(network->connections,
                                       network->connections_capacity * sizeof *network->connections);
        ROOST_INVARIANT(network->connections != NULL);
    }
    uint32_t number = ++network->connections_count;
    network->connections[number] = (struct connection){ .places = { self, other },
                                                        .lives = { what->life, life },
                                                        .gone_ns = { UINT64_MAX, UINT64_MAX },
                                                        .is_open = { true, true } };
    need_side(world, other, self);
    connect_side(world, self, other, number);
}

static void redial(struct world *world, uint32_t self, uint32_t other, uint64_t after_ns)
{
    struct side *side = side_of(world, self, other);
    if (!side->is_dialing) {
        side->is_dialing = true;
        struct occurrence what = { .run = on_dial, .place = self, .other = other, .life = life_of(world, self) };
        world_at(world, after_ns, &what);
    }
}

struct network *network_create(struct world *world)
{
    (void)world;
    struct network *network = calloc(1, sizeof *network);
    ROOST_INVARIANT(network != NULL);
    return network;
}

void network_destroy(struct world *world, struct network *network)
{
    (void)world;
    for (uint32_t a = 0; a < SIM_PLACES; a++) {
        for (uint32_t b = a + 1; b < SIM_PLACES; b++) {
            if (network->lines[a][b] != NULL) {
                drop_side(&network->lines[a][b]->sides[0]);
                drop_side(&network->lines[a][b]->sides[1]);
                free(network->lines[a][b]);
            }
        }
    }
    free(network->connections);
    free(network);
}

void network_begin(struct world *world, uint32_t place)
{
    for (uint32_t other = 0; other < SIM_PLACES; other++) {
        if (other != place &&
            world->network->lines[place < other ? place : other][place < other ? other : place] != NULL) {
            ROOST_INVARIANT(!side_of(world, place, other)->exists);
        }
    }
}

void network_end(struct world *world, uint32_t place, bool silent)
{
    for (uint32_t other = 0; other < SIM_PLACES; other++) {
        if (other == place ||
            world->network->lines[place < other ? place : other][place < other ? other : place] == NULL) {
            continue;
        }
        struct side *side = side_of(world, place, other);
        if (side->exists && side->connection != 0) {
            struct connection *connection = &world->network->connections[side->connection];
            int end = connection->places[0] == place ? 0 : 1;
            connection->is_open[end] = false;
            struct occurrence closed = { .run = on_closed,
                                         .place = other,
                                         .other = place,
                                         .life = connection->lives[1 - end],
                                         .number = side->connection };
            uint64_t gone = world->now_ns + world_below(world, world->shape.latency_ns * 2 + 1);
            if (!silent && connection->last_ns[1 - end] > gone && world_one_in(world, 2)) {
                gone = connection->last_ns[1 - end]; /* its machine still sends what it said */
            }
            be_gone_at(connection, 1 - end, gone);
            if (!silent) {
                world_at(world, gone - world->now_ns + 1, &closed);
            }
        }
        drop_side(side);
    }
}

void network_dial(struct world *world, uint32_t from, uint32_t to)
{
    struct side *side = need_side(world, from, to);
    side->is_wanted = true;
    if (side->connection == 0) {
        redial(world, from, to, world_below(world, SIM_MS));
    }
}

bool network_is_wanted(struct world *world, uint32_t from, uint32_t to)
{
    const struct side *side = side_of(world, from, to);
    return side->exists && (side->is_wanted || side->connection != 0 || side->has_session);
}

void network_hang_up(struct world *world, uint32_t from, uint32_t to)
{
    struct side *side = side_of(world, from, to);
    if (side->exists) {
        side->is_wanted = false;
        disconnect(world, from, to);
        drop_side(side);
    }
}

int network_send(struct world *world, uint32_t from, uint32_t to, const struct proto_message *message)
{
    struct side *side = side_of(world, from, to);
    if (!side->exists) {
        return error_set(ROOST_ESTATE, "there is no session");
    }
    int status = session_add(&side->session, message);
    if (status == 0) {
        say(side, message);
        flush_soon(world, from, to);
    } else if (status != ROOST_ESTATE && status != ROOST_EBUSY) {
        world_fail(world, "place %u cannot say %s to %u: %s", from, proto_kind_name(message->kind), to, error_text());
    }
    return status;
}

uint32_t network_last_batch(struct world *world, uint32_t from, uint32_t to)
{
    return session_last_number(&side_of(world, from, to)->session);
}

void network_lose(struct world *world, uint32_t from, uint32_t to)
{
    struct side *side = side_of(world, from, to);
    if (side->exists) {
        session_lose(&side->session, ROOST_ENODE, "ended from this side");
        disconnect(world, from, to);
        flush_soon(world, from, to);
    }
}

/* ------------------------------------------------------------------------------------------------ faults */

void network_cut(struct world *world, uint32_t a, uint32_t b)
{
    uint32_t places[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        struct side *side = side_of(world, places[i], places[1 - i]);
        if (!side->exists || side->connection == 0) {
            continue;
        }
        struct connection *connection = &world->network->connections[side->connection];
        int end = connection->places[0] == places[i] ? 0 : 1;
        uint64_t span = world->shape.latency_ns * 2 + 1;
        uint64_t gone = world->now_ns + world_below(world, span);
        be_gone_at(connection, end, gone);
        struct occurrence closed = { .run = on_closed,
                                     .place = places[i],
                                     .other = places[1 - i],
                                     .life = connection->lives[end],
                                     .number = side->connection };
        world_at(world, gone - world->now_ns + world_below(world, span * 4), &closed);
    }
}

void network_part(struct world *world, uint32_t a, uint32_t b, uint64_t for_ns)
{
    struct line *line = line_of(world->network, a, b);
    line->parted_until_ns = world->now_ns + for_ns;
    if (world_one_in(world, 2)) { /* the connection does not survive it, and nobody says so */
        for (int i = 0; i < 2; i++) {
            struct side *side = &line->sides[i];
            if (side->exists && side->connection != 0) {
                struct connection *connection = &world->network->connections[side->connection];
                be_gone_at(connection, 0, world->now_ns);
                be_gone_at(connection, 1, world->now_ns);
            }
        }
    }
}

void network_damage(struct world *world, uint32_t from, uint32_t to, bool twice)
{
    struct side *side = side_of(world, from, to);
    if (side->exists && side->session.state == SESSION_UP) {
        side->damage = twice ? 2 : 1;
    }
}

void network_heal(struct world *world)
{
    for (uint32_t a = 0; a < SIM_PLACES; a++) {
        for (uint32_t b = a + 1; b < SIM_PLACES; b++) {
            if (world->network->lines[a][b] != NULL) {
                world->network->lines[a][b]->parted_until_ns = 0;
                world->network->lines[a][b]->sides[0].damage = world->network->lines[a][b]->sides[1].damage = 0;
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------------ looking */

size_t network_transits(struct world *world, uint32_t from, uint32_t to, const struct transit **transits_out)
{
    const struct side *side = side_of(world, from, to);
    *transits_out = side->said + side->said_first;
    return side->exists ? side->said_count : 0;
}

/* Of two agents only what both know of counts: one may still wait for a life of the other that is over. */
static bool is_quiet(const struct line *line, bool has_head)
{
    const struct side *a = &line->sides[0], *b = &line->sides[1];
    if (!are_paired(a, b)) {
        return !has_head;
    }
    return a->said_count + b->said_count == 0;
}

bool network_is_quiet(struct world *world)
{
    for (uint32_t a = 0; a < SIM_PLACES; a++) {
        for (uint32_t b = a + 1; b < SIM_PLACES; b++) {
            const struct line *line = world->network->lines[a][b];
            if (line != NULL && life_of(world, a) != 0 && life_of(world, b) != 0 && !is_quiet(line, a == 0)) {
                return false;
            }
        }
    }
    return true;
}
