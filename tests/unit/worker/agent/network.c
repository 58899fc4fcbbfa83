/* An agent's sessions over real loopback sockets: the head and another agent are played, and so is the core, which is
 * told through daemon_step(). */
#include "worker/agent/network.h"
#include "proto/io/peers.h"
#include "tests/unit/common/io/fixture.h"
#include "worker/agent/daemon_internal.h"

enum { STORE_BYTES = 1 << 20, HEARD_MAX = 16 };

struct heard {
    enum core_event_kind kind;
    struct core_peer peer;
};

/* One that is played: it says what it is told to when a session begins, and answers each NAMES_ACK with another. */
struct played {
    struct peers *peers;
    struct proto_hello hello;
    void (*greet)(struct peer *peer);
};

static const struct core_peer old_life = { 2, 1 }, new_life = { 2, 2 };
static const struct cluster_id cluster = { 3, 3 };

static struct fixture fixture;
static struct daemon node;
static struct played head, other;
static struct heard heard[HEARD_MAX]; /* what the core was told, but for the head's words */
static size_t heard_count;
static void (*core)(const struct core_event *event);
static bool done;

/* ------------------------------------------------------------------------------------------ the played */

static void say_hello(void *arg, struct proto_hello *hello_out)
{
    const struct played *played = arg;
    *hello_out = played->hello;
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    (void)arg, (void)hello;
    return 0;
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    const struct played *played = arg;
    (void)hello;
    CHECK(!resumed);
    if (played->greet != NULL) {
        played->greet(peer);
    }
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    (void)arg, (void)batch, (void)seen;
    CHECK_EQ(message->kind, PROTO_NAMES_ACK);
    CHECK_EQ(peers_send(peer, message), 0);
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    (void)arg, (void)peer, (void)batch, (void)seen;
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    (void)arg, (void)peer, (void)status, (void)text;
}

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost };

/* The node is welcome, and hears of the other one as that was in its old life. */
static void welcome(struct peer *peer)
{
    struct proto_message message = { .kind = PROTO_WELCOME, .u.welcome = { cluster, 1, 1, 1 } };
    CHECK_EQ(peers_send(peer, &message), 0);
    const struct proto_node about = { .id = other.hello.node,
                                      .number = old_life.node,
                                      .incarnation = old_life.incarnation,
                                      .state = PROTO_NODE_ALIVE,
                                      .host = "other",
                                      .address = peers_address(other.peers),
                                      .labels = "" };
    message = (struct proto_message){ .kind = PROTO_NODES, .u.nodes = { &about, 1, 1 } };
    CHECK_EQ(peers_send(peer, &message), 0);
}

/* ------------------------------------------------------------------------------------------ the daemon */

void daemon_step(struct daemon *daemon, struct core_event *event)
{
    struct core_peer peer = event->kind == CORE_MESSAGE ? event->u.message.peer : event->u.session.peer;
    CHECK(daemon == &node);
    if (peer.node != 0) {
        CHECK(heard_count < HEARD_MAX);
        heard[heard_count++] = (struct heard){ event->kind, peer };
    }
    core(event);
}

void daemon_stop(struct daemon *daemon, const char *why)
{
    (void)daemon, (void)why;
    ROOST_IMPOSSIBLE("the head stops nobody here");
}

int daemon_answer(struct daemon *daemon, uint32_t number, const struct proto_query *query, leased_rows_fn *fn,
                  void *arg)
{
    (void)daemon, (void)number, (void)query, (void)fn, (void)arg;
    ROOST_IMPOSSIBLE("nobody asks here");
}

struct program *program_find(struct daemon *daemon, struct job_id job)
{
    (void)daemon, (void)job;
    return NULL;
}

bool output_say(const struct worker_line *line, const char *text, size_t bytes)
{
    (void)line, (void)text, (void)bytes;
    return false;
}

/* ------------------------------------------------------------------------------------------ the world */

static void play(struct played *played, enum proto_role role, uint64_t id, struct core_peer life)
{
    struct peers_options options = { .listen = "127.0.0.1:0", .self = { id, id } };
    CHECK_EQ(peers_open(&played->peers, fixture.loop, &options, &handler, played), 0);
    played->hello = (struct proto_hello){ .role = role,
                                          .node = options.self,
                                          .cluster = cluster,
                                          .epoch = 1,
                                          .number = life.node,
                                          .incarnation = life.incarnation,
                                          .host = "played",
                                          .address = peers_address(played->peers) };
}

static void turn_end(void *arg)
{
    (void)arg;
    network_flush(node.network);
    peers_flush(head.peers);
    peers_flush(other.peers);
    if (done) {
        loop_stop(fixture.loop);
    }
}

static void run(void (*with)(const struct core_event *event))
{
    core = with;
    done = false;
    heard_count = 0;
    loop_timer_arm(&fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(fixture.loop, turn_end, NULL);
    loop_run(fixture.loop);
    loop_on_turn_end(fixture.loop, NULL, NULL);
    loop_timer_disarm(&fixture.guard);
    CHECK(done);
}

static void start(void)
{
    struct store_options options = { .bytes = STORE_BYTES, .entries = TABLE_CAPACITY_MIN, .pages = SEGMENT_SMALL };
    fixture_start(&fixture);
    node = (struct daemon){ .loop = fixture.loop, .node = { 1, 1 }, .node_name = "node" };
    CHECK_EQ(store_open(&node.store, &options), 0);
    play(&head, PROTO_ROLE_HEAD, 9, (struct core_peer){ 0, 0 });
    play(&other, PROTO_ROLE_PEER, 2, new_life);
    head.greet = welcome;
    CHECK_EQ(network_open(&node.network, &node, peers_address(head.peers)), 0);
}

static void end(void)
{
    network_close(node.network);
    peers_close(head.peers);
    peers_close(other.peers);
    loop_destroy(fixture.loop);
    network_destroy(node.network);
    store_close(node.store);
    nng_threads_end();
    CHECK_EQ(open_fds(), fixture.fds_before);
    if (__lsan_do_recoverable_leak_check != NULL) {
        CHECK_EQ(__lsan_do_recoverable_leak_check(), 0);
    }
}

static void say_to(struct core_peer peer)
{
    const struct proto_message message = { .kind = PROTO_NAMES_ACK, .u.names_ack = { 1 } };
    size_t before = heard_count;
    network_send(node.network, core_peer_key(peer), 0, &message);
    CHECK_EQ(heard_count, before); /* nothing is told from inside the core's own command */
}

static bool is_nodes(const struct core_event *event)
{
    return event->kind == CORE_MESSAGE && event->u.message.body->kind == PROTO_NODES;
}

static void check_heard(size_t i, enum core_event_kind kind, struct core_peer peer)
{
    CHECK(i < heard_count);
    CHECK_EQ(heard[i].kind, kind);
    CHECK_EQ(core_peer_key(heard[i].peer), core_peer_key(peer));
}

/* ------------------------------------------------------------------------------------------ tests */

static void says_something_to_who_is_not_known(const struct core_event *event)
{
    if (is_nodes(event)) {
        say_to(new_life);
    }
    done = event->kind == CORE_SESSION_LOST;
}

TEST(network, that_an_agent_cannot_be_reached_is_told_in_a_later_turn)
{
    start();
    run(says_something_to_who_is_not_known);
    CHECK_EQ(heard_count, 1);
    check_heard(0, CORE_SESSION_LOST, new_life);
    end();
}

/* What the old life does not answer is asked of the new one, of which the head has told the core alone so far. */
static void goes_from_one_life_to_the_next(const struct core_event *event)
{
    if (is_nodes(event)) {
        say_to(old_life);
    } else if (event->kind == CORE_SESSION_LOST && event->u.session.peer.incarnation == old_life.incarnation) {
        say_to(new_life);
    } else if (event->kind == CORE_SESSION_UP && event->u.session.peer.node != 0) {
        say_to(new_life);
    }
    done = event->kind == CORE_MESSAGE && event->u.message.peer.node != 0;
}

TEST(network, that_an_agent_could_not_be_reached_is_told_before_a_session_with_it_begins)
{
    start();
    run(goes_from_one_life_to_the_next);
    CHECK_EQ(heard_count, 4);
    check_heard(0, CORE_SESSION_LOST, old_life);
    check_heard(1, CORE_SESSION_LOST, new_life);
    check_heard(2, CORE_SESSION_UP, new_life);
    check_heard(3, CORE_MESSAGE, new_life);
    end();
}
