/* head_host.c - steps the head's core as scheduler/host.c does, in virtual time
 *
 * Owns the core while the head lives, the marks of each session, and what was committed, which outlives the core.
 *
 * Happy path: message -> step -> commands at once, in order.
 * Failures:   a message for a session that is over -> dropped, as SESSION_LOST is on its way or was there.
 *             killed -> core, sessions and marks are gone, the facts stay.
 * Invariants: a guest has a key exactly while the core knows its session.
 */
#include "tests/sim/head_host.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/marks.h"
#include "scheduler/ledger.h"
#include "tests/sim/network.h"
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

enum { TIMERS = 4 };

struct guest {
    uint64_t key; /* 0: no session */
    struct marks marks;
};

struct head_host {
    struct head *core;
    uint64_t life, epoch, armed_ns[TIMERS], armed[TIMERS]; /* armed: the serial of the arming that counts */
    struct guest guests[SIM_PLACES];
    struct ledger ledger;
    uint32_t handle;
    uint64_t arming;
};

static void step(struct world *world, struct core_event *event);

/* ------------------------------------------------------------------------------------------------ commands */

static uint32_t place_of_key(const struct head_host *host, uint64_t key)
{
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (host->guests[i].key == key) {
            return i;
        }
    }
    return 0;
}

uint32_t head_host_place_of(const struct world *world, uint32_t number, uint32_t incarnation)
{
    return place_of_key(world->head, core_peer_key((struct core_peer){ number, incarnation }));
}

static void send(struct world *world, const struct core_command *command)
{
    struct head_host *host = world->head;
    const struct proto_message *message = core_body(command);
    uint32_t place = place_of_key(host, command->to);
    if (place == 0) {
        return;
    }
    struct guest *guest = &host->guests[place];
    oracle_tell_message(world, 0, place, message);
    if (network_send(world, 0, place, message) != 0) {
        return;
    }
    ROOST_INVARIANT(marks_note(&guest->marks, network_last_batch(world, 0, place), (uint32_t)command->token) == 0);
    if (message->kind == PROTO_WELCOME) {
        uint64_t key = core_peer_key((struct core_peer){ message->u.welcome.number, message->u.welcome.incarnation });
        uint32_t other = place_of_key(host, key);
        if (other != 0 && other != place) {
            world_fail(world, "two places have one name");
        }
        guest->key = key;
    }
}

static void on_timer(struct world *world, const struct occurrence *what)
{
    struct head_host *host = world->head;
    if (host->life == what->life && host->armed[what->other] == what->number) {
        host->armed[what->other] = 0;
        struct core_event event = { .kind = CORE_TICK, .u.timer.key = what->other };
        step(world, &event);
    }
}

static void arm(struct world *world, const struct core_command *command)
{
    struct head_host *host = world->head;
    ROOST_PRE(command->token < TIMERS);
    host->armed[command->token] = ++host->arming;
    struct occurrence what = {
        .run = on_timer, .other = (uint32_t)command->token, .life = host->life, .number = host->arming
    };
    uint64_t after = command->at_ns > world->now_ns ? command->at_ns - world->now_ns : 0;
    world_at(world, after + world_below(world, world->shape.latency_ns / 16 + 1), &what);
}

static void commit(struct world *world, const struct head_fact *fact)
{
    struct head_host *host = world->head;
    ROOST_INVARIANT(ledger_commit(&host->ledger, fact) == 0);
    if (head_fact_is_dead(fact)) {
        world_wound(world, WOUND_NODE_LOST);
        oracle_node_dead(world, fact->node.id);
    }
    world_tell(world, 0, "node %u incarnation %u %s", fact->node.number, fact->node.incarnation,
               head_fact_is_dead(fact) ? "is dead" : "lives");
}

static void run(struct world *world, const struct core_command *command)
{
    uint32_t place;
    switch (command->kind) {
    case CORE_SEND:
        send(world, command);
        break;
    case CORE_ARM:
        arm(world, command);
        break;
    case CORE_COMMIT:
        commit(world, core_body(command));
        break;
    case CORE_CLOSE:
        place = place_of_key(world->head, command->to);
        if (place != 0) {
            network_lose(world, 0, place);
        }
        break;
    case CORE_DISARM:
    case CORE_FILLER:
    case CORE_REPLY:
    case CORE_SPAWN:
    case CORE_KILL:
    case CORE_PULL:
    case CORE_LEASE:
    case CORE_SPILL:
    case CORE_TABLE:
    case CORE_WRITE:
    case CORE_TASK:
    case CORE_DRAIN:
    case CORE_WAKE:
        world_fail(world, "the head gives command %d", command->kind);
    }
}

static void step(struct world *world, struct core_event *event)
{
    struct head_host *host = world->head;
    uint64_t life = host->life;
    event->now_ns = world->now_ns;
    struct core_out *out = &world->outs[0];
    core_out_clear(out);
    head_core.step(host->core, event, out);
    world->steps++;
    world_note(world, 1, head_core.hash(host->core));
    if (!head_core.touched_are_valid(host->core)) {
        world_fail(world, "the head: what the step touched is not valid");
    }
    if ((world->shape.is_small || world->steps % 64 == 0) && !head_core.is_valid(host->core)) {
        world_fail(world, "the head is not valid");
    }
    for (const struct core_command *c = core_next(out, NULL); c != NULL && host->life == life; c = core_next(out, c)) {
        run(world, c);
    }
    oracle_head_stepped(world);
}

/* ------------------------------------------------------------------------------------------------ sessions */

void head_host_hello(struct world *world, struct proto_hello *hello_out)
{
    *hello_out = (struct proto_hello){ .role = PROTO_ROLE_HEAD,
                                       .node = { 0xfeed, 1 },
                                       .cluster = { 5, 5 },
                                       .epoch = world->head->epoch,
                                       .host = "head",
                                       .address = "head:1",
                                       .labels = "" };
}

void head_host_up(struct world *world, uint32_t place, bool resumed, const struct proto_hello *hello)
{
    struct head_host *host = world->head;
    struct guest *guest = &host->guests[place];
    if (!resumed) {
        marks_fini(&guest->marks);
        guest->key = core_peer_key((struct core_peer){ 0, ++host->handle });
    }
    struct core_event event = { .kind = CORE_SESSION_UP,
                                .u.session = { .peer = core_peer_of(guest->key),
                                               .epoch = hello->epoch,
                                               .hello = resumed ? NULL : hello,
                                               .resumed = resumed } };
    step(world, &event);
}

static void to_core(struct world *world, uint32_t place, uint32_t batch, uint32_t seen,
                    const struct proto_message *message)
{
    struct guest *guest = &world->head->guests[place];
    struct core_event event = { .kind = CORE_MESSAGE,
                                .u.message = { .peer = core_peer_of(guest->key),
                                               .batch = batch,
                                               .seen = marks_at(&guest->marks, seen),
                                               .body = message } };
    step(world, &event);
}

void head_host_message(struct world *world, uint32_t place, uint32_t batch, uint32_t seen,
                       const struct proto_message *message)
{
    if (world->head->guests[place].key != 0) {
        to_core(world, place, batch, seen, message);
    }
}

void head_host_batch_end(struct world *world, uint32_t place, uint32_t batch, uint32_t seen)
{
    struct guest *guest = &world->head->guests[place];
    if (batch != 0) {
        marks_forget_before(&guest->marks, seen);
    } else if (core_peer_of(guest->key).node != 0) {
        to_core(world, place, 0, seen, NULL);
    }
}

void head_host_lost(struct world *world, uint32_t place)
{
    struct guest *guest = &world->head->guests[place];
    world_wound(world, WOUND_SESSION_LOST);
    marks_fini(&guest->marks);
    if (guest->key != 0) {
        struct core_event event = { .kind = CORE_SESSION_LOST,
                                    .u.session = { .peer = core_peer_of(guest->key), .epoch = world->head->epoch } };
        step(world, &event);
        guest->key = 0;
    }
}

/* ------------------------------------------------------------------------------------------------ life */

struct head_host *head_host_create(struct world *world)
{
    (void)world;
    struct head_host *host = calloc(1, sizeof *host);
    ROOST_INVARIANT(host != NULL);
    return host;
}

static void forget_sessions(struct head_host *host)
{
    for (uint32_t i = 0; i < SIM_PLACES; i++) {
        marks_fini(&host->guests[i].marks);
        host->guests[i].key = 0;
    }
}

void head_host_destroy(struct head_host *host)
{
    forget_sessions(host);
    head_destroy(host->core);
    ledger_close(&host->ledger);
    free(host);
}

void head_host_begin(struct world *world)
{
    struct head_host *host = world->head;
    ROOST_PRE(host->core == NULL);
    struct head_config config = { .cluster = { 5, 5 },
                                  .epoch = ++host->epoch,
                                  .spec_bytes_max = world->shape.spec_bytes_max,
                                  .rules_off = world->options.rules_off,
                                  .is_fixed = false,
                                  .facts = host->ledger.facts,
                                  .facts_count = host->ledger.facts_count };
    if (head_create(&host->core, &config) != 0) {
        world_fail(world, "no head: %s", error_text());
    }
    host->life = ++world->lives;
    memset(host->armed, 0, sizeof host->armed);
    world_tell(world, 0, "the head begins, epoch %llu, %zu facts", (unsigned long long)host->epoch,
               host->ledger.facts_count);
    network_begin(world, 0);
    /* a tick starts the clock of those that the ledger names */
    struct core_event event = { .kind = CORE_TICK, .u.timer.key = HEAD_TIMER_TURN };
    step(world, &event);
}

bool head_host_has_met_all(const struct world *world) { return world->head->ledger.facts_count >= world->shape.nodes; }

void head_host_end(struct world *world)
{
    struct head_host *host = world->head;
    world_tell(world, 0, "the head is killed");
    world_wound(world, WOUND_HEAD_LOST);
    if (!head_host_has_met_all(world)) {
        world_wound(world, WOUND_NODE_UNKNOWN);
    }
    network_end(world, 0, false);
    forget_sessions(host);
    head_destroy(host->core);
    host->core = NULL;
    host->life = 0;
    oracle_head_gone(world);
}

uint64_t head_host_life(const struct world *world) { return world->head == NULL ? 0 : world->head->life; }

const struct head *head_host_core(const struct world *world) { return world->head->core; }
