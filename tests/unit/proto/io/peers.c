/* peers.c - sessions over real loopback sockets: two sets of peers, and strangers on bare endpoints */
#include "proto/io/peers.h"
#include "proto/decode.h"
#include "proto/encode.h"
#include "proto/io/peers_internal.h"
#include "tests/unit/common/io/fixture.h"

enum { MANY = 10000, PER_TURN = 50 };

/* One side, as a test sees it: everything that it was told. */
struct side {
    struct peers *peers;
    struct peer *peer; /* the one it has, or had last */
    struct node_id node;
    struct cluster_id cluster;
    enum proto_role role;
    uint64_t sent, sends_wanted, got, batches_ended;
    int ups, resumed, lost, downs, gone, silences, refuses, lost_status, down_status;
    enum peer_silence silence;
    char text[SESSION_TEXT_BYTES];
    bool in_batch, closes_peer_at_message, closes_all_at_message, loses_at_message;
    uint64_t cut_every; /* messages received, then the connection is cut */
};

struct world {
    struct fixture fixture;
    struct side a, b; /* a dials, b listens */
    bool (*is_done)(struct world *world);
    bool done;
};

static struct world world;

/* ------------------------------------------------------------------------------------------ what it hears */

static bool is_up(const struct peer *peer) { return peer->has_session && peer->session.state == SESSION_UP; }

static void say_hello(void *arg, struct proto_hello *hello)
{
    struct side *side = arg;
    hello->role = side->role;
    hello->node = side->node;
    hello->cluster = side->cluster;
    hello->host = "here";
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    struct side *side = arg;
    CHECK_TEXT(hello->host, "here");
    if (side->refuses > 0) {
        side->refuses--;
        return error_set(ROOST_EAUTH, "not today");
    }
    return 0;
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    struct side *side = arg;
    CHECK(!node_id_eq(hello->node, side->node) || node_id_is_none(hello->node));
    CHECK(is_up(peer));
    side->peer = peer;
    resumed ? side->resumed++ : side->ups++;
    if (!resumed) {
        side->sent = side->got = 0;
        peer_set_key(peer, 7);
    }
    CHECK(peers_find(side->peers, 7) == peer);
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    struct side *side = arg;
    CHECK(batch > 0 && seen <= peer_last_batch(peer));
    CHECK_EQ(message->kind, PROTO_NAMES_ACK);
    CHECK_EQ(message->u.names_ack.message, side->got + 1);
    side->got++;
    side->in_batch = true;
    if (side->cut_every != 0 && side->got % side->cut_every == 0 && peer->link != NULL) {
        endpoint_close(peer->link->endpoint);
    }
    if (side->loses_at_message) {
        side->loses_at_message = false;
        peer_lose(peer, ROOST_EINVAL, "enough of this");
    }
    if (side->closes_peer_at_message) {
        peer_close(peer);
        side->peer = NULL;
    } else if (side->closes_all_at_message) {
        peers_close(side->peers);
        side->peers = NULL;
        side->peer = NULL;
    }
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    struct side *side = arg;
    CHECK_EQ(side->in_batch, batch != 0);
    CHECK(seen <= peer_seen(peer));
    side->in_batch = false;
    side->batches_ended++;
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    struct side *side = arg;
    CHECK_EQ(peers_send(peer, &(struct proto_message){ .kind = PROTO_NAMES_ACK }), ROOST_ESTATE);
    side->lost++;
    side->lost_status = status;
    side->in_batch = false;
    snprintf(side->text, sizeof side->text, "%s", text);
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    struct side *side = arg;
    CHECK(!is_up(peer));
    side->downs++;
    side->down_status = status;
    snprintf(side->text, sizeof side->text, "%s", text);
}

static void on_silence(void *arg, struct peer *peer, enum peer_silence silence)
{
    struct side *side = arg;
    (void)peer;
    side->silences++;
    side->silence = silence;
}

static void on_gone(void *arg, struct peer *peer)
{
    struct side *side = arg;
    CHECK(peer == side->peer);
    side->peer = NULL;
    side->gone++;
}

static const struct peers_handler handler = { say_hello, on_hello, on_up,      on_message, on_batch_end,
                                              on_lost,   on_down,  on_silence, on_gone };

/* ------------------------------------------------------------------------------------------ the world */

/* A side that has something to say says a little of it in each turn. */
static void talk(struct side *side)
{
    for (int i = 0; i < PER_TURN && side->peer != NULL && side->sent < side->sends_wanted; i++) {
        struct proto_message message = { .kind = PROTO_NAMES_ACK, .u.names_ack = { side->sent + 1 } };
        if (peers_send(side->peer, &message) != 0) {
            return;
        }
        side->sent++;
    }
}

static void turn_end(void *arg)
{
    struct side *sides[] = { &world.a, &world.b };
    (void)arg;
    for (int i = 0; i < 2; i++) {
        talk(sides[i]);
        if (sides[i]->peers != NULL) {
            peers_flush(sides[i]->peers);
        }
    }
    if (world.is_done(&world)) {
        world.done = true;
        loop_stop(world.fixture.loop);
    }
}

static void run_until(bool (*is_done)(struct world *))
{
    world.is_done = is_done;
    world.done = false;
    loop_timer_arm(&world.fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(world.fixture.loop, turn_end, NULL);
    loop_run(world.fixture.loop);
    loop_on_turn_end(world.fixture.loop, NULL, NULL);
    loop_timer_disarm(&world.fixture.guard);
    CHECK(world.done);
}

static void open_side(struct side *side, const struct peers_options *options)
{
    CHECK_EQ(peers_open(&side->peers, world.fixture.loop, options, &handler, side), 0);
}

static const struct peers_options b_options = { .listen = "127.0.0.1:0", .self = { 2, 2 }, .seed = 5 };
static const struct peers_options a_options = { .self = { 1, 1 }, .seed = 5 };

static void world_start_with(const struct peers_options *options)
{
    fixture_start(&world.fixture);
    world.a = (struct side){ .node = { 1, 1 }, .role = PROTO_ROLE_AGENT };
    world.b = (struct side){ .node = { 2, 2 }, .role = PROTO_ROLE_HEAD, .cluster = { 3, 3 } };
    open_side(&world.b, options);
    open_side(&world.a, &a_options);
}

static void dial_b(void)
{
    struct peer *peer;
    CHECK_EQ(peers_dial(world.a.peers, peers_address(world.b.peers), world.b.node, &peer), 0);
    CHECK_EQ(peers_dial(world.a.peers, peers_address(world.b.peers), world.b.node, &peer), ROOST_EEXIST);
}

static void world_start(void)
{
    world_start_with(&b_options);
    dial_b();
}

static void world_end(void)
{
    peers_close(world.a.peers);
    peers_close(world.b.peers);
    fixture_end(&world.fixture);
}

static bool both_are_up(struct world *w)
{
    return w->a.peer != NULL && w->b.peer != NULL && is_up(w->a.peer) && is_up(w->b.peer);
}
static bool all_has_come(struct world *w) { return w->a.got == w->b.sends_wanted && w->b.got == w->a.sends_wanted; }

/* ------------------------------------------------------------------------------------------ tests */

TEST(peers, ten_thousand_messages_each_way_come_in_order)
{
    world_start();
    world.a.sends_wanted = world.b.sends_wanted = MANY;
    run_until(all_has_come);
    CHECK_EQ(world.a.ups, 1);
    CHECK_EQ(world.b.ups, 1);
    CHECK_EQ(world.a.downs + world.b.downs + world.a.lost + world.b.lost, 0);
    CHECK(world.a.batches_ended > 1);
    CHECK(peer_heard_ns(world.a.peer) <= loop_now_ns());
    world_end();
}

TEST(peers, a_cut_connection_resumes_without_loss_or_duplicate)
{
    world_start();
    world.a.sends_wanted = world.b.sends_wanted = MANY;
    world.a.cut_every = 1700;
    world.b.cut_every = 2300;
    run_until(all_has_come);
    CHECK_EQ(world.a.ups, 1);
    CHECK_EQ(world.b.ups, 1);
    CHECK_EQ(world.a.lost + world.b.lost, 0);
    CHECK(world.a.resumed >= 5);
    CHECK(world.b.resumed >= 5);
    CHECK(world.a.downs >= 5);
    world_end();
}

static bool a_is_known_anew(struct world *w) { return w->b.ups == 2; }

TEST(peers, a_peer_that_started_again_is_lost_and_up_anew)
{
    world_start();
    world.a.sends_wanted = 10;
    run_until(all_has_come);
    peers_close(world.a.peers);
    world.a.peer = NULL;
    open_side(&world.a, &a_options);
    dial_b();
    run_until(a_is_known_anew);
    CHECK_EQ(world.b.lost, 1);
    CHECK_EQ(world.b.lost_status, ROOST_EDISCONNECTED);
    CHECK_EQ(world.b.resumed, 0);
    CHECK_EQ(world.b.gone, 0);
    run_until(all_has_come); /* the new session begins to count at 0 */
    world_end();
}

static bool a_is_up_twice(struct world *w) { return w->a.ups == 2 && all_has_come(w); }

TEST(peers, a_session_given_up_on_one_side_begins_anew_on_both)
{
    world_start();
    world.a.sends_wanted = world.b.sends_wanted = 1000;
    world.b.loses_at_message = true;
    run_until(a_is_up_twice);
    CHECK_EQ(world.b.lost, 1);
    CHECK_EQ(world.b.lost_status, ROOST_EINVAL);
    CHECK_EQ(world.b.gone, 1); /* and was made again by its hello */
    CHECK_EQ(world.b.ups, 2);
    CHECK_EQ(world.a.lost, 1);
    CHECK_EQ(world.a.resumed + world.b.resumed, 0);
    world_end();
}

TEST(peers, who_is_refused_hears_why_and_tries_again)
{
    world_start();
    world.b.refuses = 3;
    run_until(both_are_up);
    CHECK_EQ(world.a.downs, 3);
    CHECK_EQ(world.a.down_status, ROOST_EAUTH);
    CHECK(strstr(world.a.text, "not today") != NULL);
    CHECK_EQ(world.a.lost, 0);
    CHECK_EQ(world.b.downs + world.b.lost + world.b.gone, 0);
    world_end();
}

static bool a_was_down(struct world *w) { return w->a.downs > 0; }

TEST(peers, another_cluster_is_refused)
{
    world_start();
    world.a.cluster = (struct cluster_id){ 4, 4 };
    run_until(a_was_down);
    CHECK_EQ(world.a.down_status, ROOST_EAUTH);
    CHECK(strstr(world.a.text, "another cluster") != NULL);
    CHECK_EQ(world.b.ups + world.b.gone, 0);
    CHECK_EQ(world.b.peers->count, 0);
    world_end();
}

TEST(peers, another_node_at_the_address_is_not_taken_for_it)
{
    struct peer *peer;
    world_start_with(&b_options);
    CHECK_EQ(peers_dial(world.a.peers, peers_address(world.b.peers), (struct node_id){ 9, 9 }, &peer), 0);
    run_until(a_was_down);
    CHECK_EQ(world.a.down_status, ROOST_EAUTH);
    CHECK_EQ(world.a.ups + world.a.lost, 0);
    world_end();
}

TEST(peers, two_that_dial_each_other_at_once_have_one_session)
{
    struct peers_options options = a_options;
    world_start_with(&b_options);
    peers_close(world.a.peers);
    options.listen = "localhost:0";
    open_side(&world.a, &options);
    dial_b();
    struct peer *peer;
    CHECK_EQ(peers_dial(world.b.peers, peers_address(world.a.peers), world.a.node, &peer), 0);
    world.a.sends_wanted = world.b.sends_wanted = 1000;
    run_until(all_has_come);
    CHECK_EQ(world.a.ups, 1);
    CHECK_EQ(world.b.ups, 1);
    CHECK_EQ(world.a.lost + world.b.lost, 0);
    CHECK_EQ(world.a.peers->count, 1);
    CHECK_EQ(world.b.peers->count, 1);
    world_end();
}

static bool b_has_none(struct world *w) { return w->b.gone == 1; }

TEST(peers, a_command_goes_with_its_connection)
{
    world_start_with(&b_options);
    world.a.node = (struct node_id){ 0, 0 };
    world.a.role = PROTO_ROLE_COMMAND;
    dial_b();
    run_until(both_are_up);
    CHECK_EQ(world.b.peers->count, 1);
    peers_close(world.a.peers);
    world.a.peers = NULL;
    world.a.peer = NULL;
    run_until(b_has_none);
    CHECK_EQ(world.b.lost, 1);
    CHECK_EQ(world.b.peers->count, 0);
    CHECK(peers_find(world.b.peers, 7) == NULL);
    world_end();
}

static bool b_has_closed(struct world *w) { return w->b.got > 0 && w->b.peer == NULL; }

TEST(peers, a_peer_may_be_closed_by_what_it_says)
{
    world_start();
    world.a.sends_wanted = 2 * PER_TURN;
    world.b.closes_peer_at_message = true;
    run_until(b_has_closed);
    CHECK_EQ(world.b.got, 1);
    CHECK_EQ(world.b.lost + world.b.gone + world.b.downs, 0);
    world_end();
}

TEST(peers, all_of_them_may_be_closed_by_what_one_says)
{
    world_start();
    world.a.sends_wanted = 2 * PER_TURN;
    world.b.closes_all_at_message = true;
    run_until(b_has_closed);
    CHECK_EQ(world.b.got, 1);
    world_end();
}

TEST(peers, a_session_over_its_credit_is_lost_once_and_begins_anew)
{
    static unsigned char bytes[PROTO_OUTPUT_BYTES_MAX];
    world_start();
    run_until(both_are_up);
    struct proto_message message = {
        .kind = PROTO_OUTPUT,
        .u.output = { .job = { 1, 1 }, .function = "f", .stream = PROTO_STDOUT, .bytes = { bytes, sizeof bytes } }
    };
    int status = 0;
    uint64_t room = peer_room_bytes(world.a.peer);
    while (status == 0) { /* nothing is flushed meanwhile */
        status = peers_send(world.a.peer, &message);
        CHECK(status != 0 || peer_room_bytes(world.a.peer) < room);
    }
    CHECK_EQ(status, ROOST_EBUSY);
    CHECK_EQ(world.a.lost, 0); /* not from inside the call */
    CHECK_EQ(peers_send(world.a.peer, &message), ROOST_ESTATE);
    run_until(a_is_known_anew);
    CHECK_EQ(world.a.lost, 1);
    CHECK_EQ(world.a.lost_status, ROOST_EBUSY);
    world_end();
}

TEST(peers, beyond_the_limit_strangers_are_refused)
{
    struct peers_options options = b_options;
    options.peers_max = 1;
    world_start_with(&options);
    struct peer *peer;
    CHECK_EQ(peers_dial(world.b.peers, "127.0.0.1:1", (struct node_id){ 8, 8 }, &peer), 0);
    CHECK_EQ(peers_dial(world.b.peers, "127.0.0.1:1", (struct node_id){ 0, 0 }, &peer), ROOST_ELIMIT);
    dial_b();
    run_until(a_was_down);
    CHECK_EQ(world.a.down_status, ROOST_ELIMIT);
    world_end();
}

TEST(peers, listens_on_loopback_only)
{
    struct peers *peers;
    struct peers_options options = { .listen = "0.0.0.0:0" };
    fixture_start(&world.fixture);
    CHECK_EQ(peers_open(&peers, world.fixture.loop, &options, &handler, NULL), ROOST_EAUTH);
    options.listen = "nonsense";
    CHECK_EQ(peers_open(&peers, world.fixture.loop, &options, &handler, NULL), ROOST_EINVAL);
    fixture_end(&world.fixture);
}

/* ------------------------------------------------------------------------------------------ strangers */

/* A bare connection: what it says first, and what it hears. */
struct stranger {
    const void *first;
    size_t first_bytes;
    struct endpoint *endpoint;
    bool is_closed;
    int refusal;
    uint64_t hellos, others;
} stranger;

static void stranger_open(struct endpoint *endpoint, void *arg)
{
    struct stranger *self = arg;
    if (self->first_bytes > 0) {
        CHECK_EQ(endpoint_send(endpoint, &(struct endpoint_piece){ self->first, self->first_bytes }, 1), 0);
    }
}

static void stranger_frame(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    struct stranger *self = arg;
    struct proto_arena arena;
    struct proto_frame frame;
    (void)endpoint;
    proto_arena_init(&arena, PROTO_ARENA_BYTES_MAX, NULL);
    CHECK_EQ(proto_decode(&arena, data, size, &frame), 0);
    if (frame.kind == PROTO_FRAME_REFUSAL) {
        self->refusal = frame.refusal.status;
    } else if (frame.kind == PROTO_FRAME_HELLO) {
        self->hellos++;
    } else {
        self->others++;
    }
    proto_arena_fini(&arena);
}

static void stranger_closed(struct endpoint *endpoint, void *arg, int status)
{
    struct stranger *self = arg;
    (void)endpoint, (void)status;
    self->endpoint = NULL;
    self->is_closed = true;
}

static const struct endpoint_handler stranger_handler = { stranger_open, stranger_frame, NULL, stranger_closed };

static void dial_stranger(const void *first, size_t bytes)
{
    stranger = (struct stranger){ .first = first, .first_bytes = bytes };
    CHECK_EQ(endpoint_dial(world.fixture.loop, peers_address(world.b.peers), 5000, &stranger_handler, &stranger,
                           &stranger.endpoint),
             0);
}

static bool stranger_is_closed(struct world *w)
{
    (void)w;
    return stranger.is_closed;
}

TEST(peers, a_stranger_with_garbage_is_refused)
{
    static unsigned char noise[PROTO_HELLO_BYTES_MAX + 1];
    world_start_with(&b_options);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)(i * 131 + 7);
    }
    dial_stranger("GET / HTTP/1.1\r\n\r\n", 18);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, ROOST_EINVAL);
    dial_stranger(noise, sizeof noise);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, 0); /* it was not read, so there is nothing to answer */
    struct proto_buffer batch = { NULL, 0, 0 };
    CHECK_EQ(proto_encode_empty(0, 0, &batch), 0);
    dial_stranger(batch.bytes, batch.size);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, ROOST_EINVAL);
    CHECK_EQ(stranger.hellos, 0);
    proto_buffer_fini(&batch);
    CHECK_EQ(world.b.peers->count, 0);
    CHECK_EQ(world.b.ups, 0);
    world_end();
}

TEST(peers, a_stranger_that_says_nothing_is_cut)
{
    struct peers_options options = b_options;
    options.hello_ms = 50;
    world_start_with(&options);
    dial_stranger(NULL, 0);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, 0);
    world_end();
}

/* The hello of node 5 in its session `half`. */
static struct proto_buffer hello_of_five(uint64_t half, uint32_t version)
{
    struct proto_arena arena;
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_hello hello = { .version_min = version,
                                 .version_max = version,
                                 .session = half,
                                 .credit_bytes = PROTO_CREDIT_BYTES,
                                 .role = PROTO_ROLE_AGENT,
                                 .node = { 5, 5 },
                                 .host = "here" };
    proto_arena_init(&arena, PROTO_ARENA_BYTES_MAX, NULL);
    CHECK_EQ(proto_encode_hello(&arena, &hello, &buffer), 0);
    proto_arena_fini(&arena);
    return buffer;
}

TEST(peers, another_version_is_refused)
{
    world_start_with(&b_options);
    struct proto_buffer hello = hello_of_five(50, PROTO_VERSION_MAX + 1);
    dial_stranger(hello.bytes, hello.size);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, ROOST_EVERSION);
    CHECK_EQ(world.b.ups, 0);
    proto_buffer_fini(&hello);
    world_end();
}

static bool b_knows_five(struct world *w) { return w->b.ups == 1; }

TEST(peers, a_connection_is_not_given_up_for_one_that_cannot_stand)
{
    world_start_with(&b_options);
    struct proto_buffer hello = hello_of_five(50, PROTO_VERSION_MAX);
    dial_stranger(hello.bytes, hello.size);
    run_until(b_knows_five);
    struct endpoint *good = stranger.endpoint;
    struct proto_buffer other = hello_of_five(51, PROTO_VERSION_MAX + 1);
    dial_stranger(other.bytes, other.size);
    run_until(stranger_is_closed);
    CHECK_EQ(stranger.refusal, ROOST_EVERSION);
    CHECK_EQ(world.b.downs, 0);
    endpoint_close(good);
    proto_buffer_fini(&hello);
    proto_buffer_fini(&other);
    world_end();
}

static bool b_found_it_dead(struct world *w) { return w->b.silence == PEER_DEAD && stranger.is_closed; }

TEST(peers, silence_is_reported_and_the_connection_cut)
{
    struct peers_options options = b_options;
    options.suspect_ms = 60;
    options.dead_ms = 150;
    world_start_with(&options);
    struct proto_buffer hello = hello_of_five(50, PROTO_VERSION_MAX);
    dial_stranger(hello.bytes, hello.size);
    run_until(b_found_it_dead);
    CHECK_EQ(world.b.silences, 2); /* suspect, dead */
    CHECK_EQ(world.b.downs, 1);
    CHECK_EQ(world.b.down_status, ROOST_ETIMEDOUT);
    CHECK_EQ(world.b.lost, 0); /* its owner decides */
    CHECK_EQ(stranger.hellos, 1);
    struct proto_buffer again = hello_of_five(51, PROTO_VERSION_MAX); /* the node is back, as another */
    dial_stranger(again.bytes, again.size);
    run_until(a_is_known_anew);
    CHECK_EQ(world.b.lost, 1);
    peer_lose(world.b.peer, ROOST_ENODE, "dead");
    run_until(b_has_none);
    CHECK_EQ(world.b.lost, 2);
    run_until(stranger_is_closed);
    proto_buffer_fini(&hello);
    proto_buffer_fini(&again);
    world_end();
}

static bool b_knows_it(struct world *w) { return w->b.ups == 1; }
static bool b_has_looked_again(struct world *w) { return w->b.peer->armed_ns > loop_now_ns() - 1000000000; }

TEST(peers, a_process_that_stood_still_takes_nobody_for_silent)
{
    world_start_with(&b_options);
    struct proto_buffer hello = hello_of_five(50, PROTO_VERSION_MAX);
    dial_stranger(hello.bytes, hello.size);
    run_until(b_knows_it);
    struct peer *peer = world.b.peer;
    uint64_t stood_ns = 2 * NODE_DEAD_MS * UINT64_C(1000000);
    peer->session.heard_ns -= stood_ns; /* as if the loop had not run for so long */
    peer->armed_ns = loop_now_ns() - stood_ns + NODE_SUSPECT_MS * UINT64_C(1000000);
    loop_timer_arm(&peer->timer, peer->armed_ns);
    run_until(b_has_looked_again);
    CHECK_EQ(world.b.silences, 0);
    CHECK_EQ(world.b.downs, 0);
    endpoint_close(stranger.endpoint);
    proto_buffer_fini(&hello);
    world_end();
}

static bool stranger_hears_life(struct world *w)
{
    (void)w;
    return stranger.others >= 2;
}

TEST(peers, a_quiet_session_gives_signs_of_life)
{
    world_start_with(&b_options);
    struct proto_buffer hello = hello_of_five(50, PROTO_VERSION_MAX);
    dial_stranger(hello.bytes, hello.size);
    run_until(stranger_hears_life);
    endpoint_close(stranger.endpoint);
    proto_buffer_fini(&hello);
    world_end();
}
