/* host.c - a toy core among live sessions: what it is told, under which names, with which marks */
#include "scheduler/host.h"
#include "common/io/endpoint.h"
#include "proto/io/peers_internal.h"
#include "tests/unit/common/io/fixture.h"

enum { EVENTS_MAX = 256, TIMER_KEY = 77, WELCOME_MARK = 5 };

/* A core that answers a NAMES_ACK n with one of its own, marked 10 n; some numbers mean more. */
enum { SAY_CLOSE = 1000, SAY_ARM, SAY_COMMIT };

struct toy {
    struct core_event events[EVENTS_MAX]; /* pointers in them are void */
    uint64_t bodies[EVENTS_MAX];
    uint32_t count, next_number;
    bool is_stepping;
};

static void put_answer(struct core_out *out, struct core_peer to, uint64_t number, uint64_t mark)
{
    struct proto_message *message = core_put(out, CORE_SEND, core_peer_key(to), mark, sizeof *message);
    message->kind = PROTO_NAMES_ACK;
    message->u.names_ack.message = number;
}

static void toy_message(const struct core_event *event, struct core_out *out)
{
    struct core_peer peer = event->u.message.peer;
    const struct proto_message *body = event->u.message.body;
    if (body == NULL || body->kind != PROTO_NAMES_ACK) {
        return;
    }
    uint64_t number = body->u.names_ack.message;
    if (number == SAY_CLOSE) {
        core_put(out, CORE_CLOSE, core_peer_key(peer), 0, 0);
    } else if (number == SAY_ARM) {
        core_arm(out, TIMER_KEY, event->now_ns);
    } else if (number == SAY_COMMIT) {
        *(uint64_t *)core_put(out, CORE_COMMIT, 0, 0, sizeof number) = number;
    } else {
        put_answer(out, peer, number, number * 10);
    }
}

static void toy_step(void *core, const struct core_event *event, struct core_out *out)
{
    struct toy *toy = core;
    CHECK(!toy->is_stepping);
    CHECK(toy->count < EVENTS_MAX);
    toy->is_stepping = true;
    bool has_body = event->kind == CORE_MESSAGE && event->u.message.body != NULL &&
                    event->u.message.body->kind == PROTO_NAMES_ACK;
    toy->bodies[toy->count] = has_body ? event->u.message.body->u.names_ack.message : 0;
    toy->events[toy->count++] = *event;
    if (event->kind == CORE_SESSION_UP && !event->u.session.resumed &&
        event->u.session.hello->role == PROTO_ROLE_AGENT) {
        struct proto_message *message = core_put(out, CORE_SEND, core_peer_key(event->u.session.peer), WELCOME_MARK,
                                                 sizeof *message);
        message->kind = PROTO_WELCOME;
        message->u.welcome = (struct proto_welcome){ { 3, 3 }, 1, 12, ++toy->next_number };
        put_answer(out, (struct core_peer){ 12, toy->next_number }, 1, WELCOME_MARK); /* under its new name */
    } else if (event->kind == CORE_MESSAGE) {
        toy_message(event, out);
    }
    toy->is_stepping = false;
}

static bool always(const void *core) { return core != NULL; }
static uint64_t no_hash(const void *core) { return core == NULL; }

static const struct core_vtable toy_core = { "toy", 1 << 20, toy_step, always, always, no_hash };

/* ------------------------------------------------------------------------------------------ the other side */

struct agent {
    struct peers *peers;
    struct peer *peer;
    enum proto_role role;
    int ups, resumed, lost, downs, welcomes, stops;
    uint64_t answers, last_answer;
    uint64_t says_at_message, says_at_batch_end; /* once, when an answer comes */
};

static struct world {
    struct fixture fixture;
    struct toy toy;
    struct host *host;
    struct agent agent;
    int commits, stops;
    bool (*is_done)(void);
} world;

static void say(uint64_t number)
{
    struct proto_message message = { .kind = PROTO_NAMES_ACK, .u.names_ack = { number } };
    CHECK_EQ(peers_send(world.agent.peer, &message), 0);
}

static void say_hello(void *arg, struct proto_hello *hello)
{
    struct agent *agent = arg;
    hello->role = agent->role;
    hello->node = agent->role == PROTO_ROLE_COMMAND ? (struct node_id){ 0, 0 } : (struct node_id){ 1, 1 };
    hello->host = "here";
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    (void)arg, (void)hello;
    return ROOST_EAUTH;
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    struct agent *agent = arg;
    CHECK_EQ(hello->role, PROTO_ROLE_HEAD);
    agent->peer = peer;
    resumed ? agent->resumed++ : agent->ups++;
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    struct agent *agent = arg;
    (void)peer, (void)batch, (void)seen;
    agent->welcomes += message->kind == PROTO_WELCOME;
    agent->stops += message->kind == PROTO_STOP;
    if (message->kind == PROTO_NAMES_ACK) {
        agent->answers++;
        agent->last_answer = message->u.names_ack.message;
        if (agent->says_at_message != 0) {
            say(agent->says_at_message);
            agent->says_at_message = 0;
        }
    }
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    struct agent *agent = arg;
    (void)peer, (void)batch, (void)seen;
    if (agent->answers > 0 && agent->says_at_message == 0 && agent->says_at_batch_end != 0) {
        say(agent->says_at_batch_end);
        agent->says_at_batch_end = 0;
    }
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    struct agent *agent = arg;
    (void)peer, (void)status, (void)text;
    agent->lost++;
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    struct agent *agent = arg;
    (void)peer, (void)status, (void)text;
    agent->downs++;
}

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost,
                                              .on_down = on_down };

/* ------------------------------------------------------------------------------------------ the world */

static int commit(void *arg, const void *fact, size_t bytes)
{
    (void)arg;
    CHECK(bytes >= sizeof(uint64_t));
    CHECK_EQ(*(const uint64_t *)fact, SAY_COMMIT);
    world.commits++;
    return 0;
}

static void on_stop(void *arg, bool drain)
{
    (void)arg;
    CHECK(drain);
    world.stops++;
}

static void turn_end(void *arg)
{
    (void)arg;
    host_turn(world.host);
    if (world.agent.peers != NULL) {
        peers_flush(world.agent.peers);
    }
    if (world.is_done()) {
        loop_stop(world.fixture.loop);
    }
}

static void run_until(bool (*is_done)(void))
{
    world.is_done = is_done;
    loop_timer_arm(&world.fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(world.fixture.loop, turn_end, NULL);
    loop_run(world.fixture.loop);
    loop_on_turn_end(world.fixture.loop, NULL, NULL);
    loop_timer_disarm(&world.fixture.guard);
}

static void join(enum proto_role role)
{
    struct peer *peer;
    world.agent = (struct agent){ .role = role };
    CHECK_EQ(peers_open(&world.agent.peers, world.fixture.loop, &(struct peers_options){ .self = { 1, 1 } }, &handler,
                        &world.agent),
             0);
    CHECK_EQ(peers_dial(world.agent.peers, host_address(world.host), (struct node_id){ 0, 0 }, &peer), 0);
}

static void world_start(enum proto_role role)
{
    struct host_options options = { .vtable = &toy_core,
                                    .core = &world.toy,
                                    .listen = "127.0.0.1:0",
                                    .cluster = { 3, 3 },
                                    .epoch = 1,
                                    .commit = commit,
                                    .on_stop = on_stop };
    fixture_start(&world.fixture);
    CHECK_EQ(host_open(&world.host, world.fixture.loop, &options), 0);
    join(role);
}

static void world_end(void)
{
    peers_close(world.agent.peers);
    host_close(world.host);
    fixture_end(&world.fixture);
}

static const struct core_event *last_event(void) { return &world.toy.events[world.toy.count - 1]; }

/* The event that brought this number. */
static const struct core_event *event_of(uint64_t number)
{
    for (uint32_t i = 0; i < world.toy.count; i++) {
        if (world.toy.bodies[i] == number) {
            return &world.toy.events[i];
        }
    }
    return NULL;
}

static bool was_answered(void) { return world.agent.answers > 0; }
static bool three_has_come(void) { return event_of(3) != NULL; }
static bool life_has_come(void) { return last_event()->kind == CORE_MESSAGE && last_event()->u.message.body == NULL; }

/* ------------------------------------------------------------------------------------------ tests */

TEST(host, an_agent_is_called_by_its_handle_and_then_by_its_name)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    CHECK_EQ(world.toy.events[0].kind, CORE_SESSION_UP);
    CHECK_EQ(world.toy.events[0].u.session.peer.node, 0);
    CHECK(world.toy.events[0].u.session.peer.incarnation != 0);
    CHECK_EQ(world.agent.welcomes, 1);
    CHECK_EQ(world.agent.last_answer, 1);
    CHECK_EQ(host_agents_count(world.host), 1);
    say(3);
    run_until(three_has_come);
    CHECK_EQ(event_of(3)->u.message.peer.node, 12);
    CHECK_EQ(event_of(3)->u.message.peer.incarnation, 1);
    world_end();
}

TEST(host, a_message_has_seen_the_mark_of_what_was_applied_before_it)
{
    world_start(PROTO_ROLE_AGENT);
    world.agent.says_at_message = 2;   /* amid the first batch: has seen none */
    world.agent.says_at_batch_end = 3; /* after it */
    run_until(three_has_come);
    CHECK_EQ(event_of(2)->u.message.seen, 0);
    CHECK_EQ(event_of(3)->u.message.seen, WELCOME_MARK);
    world_end();
}

static bool all_is_seen(void) { return life_has_come() && last_event()->u.message.seen == 30; }

TEST(host, a_sign_of_life_says_what_was_seen)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    say(3);
    run_until(all_is_seen);
    CHECK_EQ(last_event()->u.message.batch, 0);
    CHECK_EQ(last_event()->u.message.peer.node, 12);
    world_end();
}

static bool has_resumed(void)
{
    return world.agent.resumed == 1 && last_event()->kind != CORE_SESSION_LOST && event_of(3) != NULL;
}

TEST(host, a_cut_connection_is_not_a_new_life)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    endpoint_close(world.agent.peer->link->endpoint);
    say(3);
    run_until(has_resumed);
    CHECK_EQ(world.agent.welcomes, 1);
    bool was_resumed = false;
    for (uint32_t i = 0; i < world.toy.count; i++) {
        CHECK(world.toy.events[i].kind != CORE_SESSION_LOST);
        bool is_it = world.toy.events[i].kind == CORE_SESSION_UP && world.toy.events[i].u.session.resumed;
        was_resumed = was_resumed || is_it;
        CHECK(!is_it || world.toy.events[i].u.session.peer.node == 12);
    }
    CHECK(was_resumed);
    CHECK_EQ(host_agents_count(world.host), 1);
    world_end();
}

static bool was_welcomed_again(void) { return world.agent.welcomes == 2; }

TEST(host, a_session_that_the_core_closes_is_lost_and_may_begin_anew)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    say(SAY_CLOSE);
    run_until(was_welcomed_again);
    CHECK_EQ(world.agent.lost, 1);
    uint32_t lost = 0, handles[2] = { 0, 0 }, ups = 0;
    for (uint32_t i = 0; i < world.toy.count; i++) {
        const struct core_event *event = &world.toy.events[i];
        if (event->kind == CORE_SESSION_LOST) {
            CHECK_EQ(event->u.session.peer.node, 12);
            CHECK_EQ(event->u.session.peer.incarnation, 1);
            lost++;
        } else if (event->kind == CORE_SESSION_UP) {
            handles[ups++] = event->u.session.peer.incarnation;
        }
    }
    CHECK_EQ(lost, 1);
    CHECK_EQ(ups, 2);
    CHECK(handles[0] != handles[1]);
    world_end();
}

static bool has_ticked(void) { return last_event()->kind == CORE_TICK; }
static bool has_committed(void) { return world.commits == 1; }

TEST(host, timers_and_facts_are_run)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    say(SAY_ARM);
    run_until(has_ticked);
    CHECK_EQ(last_event()->u.timer.key, TIMER_KEY);
    say(SAY_COMMIT);
    run_until(has_committed);
    world_end();
}

static bool has_stopped(void) { return world.stops == 1; }
static bool command_is_gone(void) { return last_event()->kind == CORE_SESSION_LOST; }
static bool is_up(void) { return world.agent.ups == 1; }

TEST(host, a_command_keeps_its_handle_and_may_stop_the_cluster)
{
    world_start(PROTO_ROLE_COMMAND);
    run_until(is_up);
    CHECK_EQ(host_agents_count(world.host), 0);
    struct proto_message of_one = { .kind = PROTO_STOP, .u.stop = { .node = 4 } };
    struct proto_message of_all = { .kind = PROTO_STOP, .u.stop = { .drain = true } };
    CHECK_EQ(peers_send(world.agent.peer, &of_one), 0);
    CHECK_EQ(peers_send(world.agent.peer, &of_all), 0);
    run_until(has_stopped);
    uint32_t handle = world.toy.events[0].u.session.peer.incarnation;
    CHECK_EQ(last_event()->kind, CORE_MESSAGE);
    CHECK_EQ(last_event()->u.message.peer.node, 0);
    CHECK_EQ(last_event()->u.message.peer.incarnation, handle);
    peers_close(world.agent.peers);
    world.agent.peers = NULL;
    run_until(command_is_gone);
    CHECK_EQ(last_event()->u.session.peer.incarnation, handle);
    world_end();
}

static bool was_refused(void) { return world.agent.downs > 0; }

TEST(host, takes_agents_and_commands_only)
{
    world_start(PROTO_ROLE_PEER);
    run_until(was_refused);
    CHECK_EQ(world.toy.count, 0);
    peers_close(world.agent.peers);
    host_refuse_agents(world.host);
    join(PROTO_ROLE_AGENT);
    run_until(was_refused);
    CHECK_EQ(world.toy.count, 0);
    world_end();
}

static bool was_told(void) { return world.agent.stops == 1; }
static bool no_agent_left(void) { return host_agents_count(world.host) == 0; }

TEST(host, agents_are_told_to_end_and_counted_until_they_did)
{
    world_start(PROTO_ROLE_AGENT);
    run_until(was_answered);
    host_stop_agents(world.host);
    run_until(was_told);
    CHECK_EQ(host_agents_count(world.host), 1);
    peers_close(world.agent.peers);
    world.agent.peers = NULL;
    run_until(no_agent_left);
    world_end();
}
