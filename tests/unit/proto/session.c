#include "proto/session.h"
#include "common/error.h"
#include "proto/decode.h"
#include "tests/lib/test.h"

#include <string.h>

#define MS UINT64_C(1000000)

/* Two ends on one wire, both in hand; `now` moves only by the test. */
static struct proto_arena decoded[2], scratch;
static struct session ends[2];
static uint64_t now;
static struct proto_hello hellos[2];

static void set_up(void)
{
    now = 1000 * MS;
    proto_arena_init(&scratch, PROTO_ARENA_BYTES_MAX, NULL);
    for (uint64_t i = 0; i < 2; i++) {
        proto_arena_init(&decoded[i], PROTO_ARENA_BYTES_MAX, NULL);
        session_init(&ends[i], 100 + i, &decoded[i], &scratch, now);
        hellos[i] = (struct proto_hello){ .role = PROTO_ROLE_PEER, .node = { 1, i + 1 }, .host = i ? "b" : "a" };
    }
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++) {
        session_fini(&ends[i]);
        proto_arena_fini(&decoded[i]);
    }
    proto_arena_fini(&scratch);
}

static struct session_event next_of(struct session *session)
{
    struct session_event event = { .kind = 0 };
    session_next(session, &event);
    return event;
}

static void connect_both(void)
{
    CHECK_EQ(session_connected(&ends[0], &hellos[0], now), 0);
    CHECK_EQ(session_connected(&ends[1], &hellos[1], now), 0);
}

static void disconnect_both(void)
{
    session_disconnected(&ends[0]);
    session_disconnected(&ends[1]);
}

/* One frame from `from` to the other end, if there is one. */
static bool carry(int from, int *status_out)
{
    struct proto_bytes frame;
    if (!session_flush(&ends[from], now, &frame)) {
        return false;
    }
    *status_out = session_received(&ends[1 - from], frame.data, frame.size, now);
    return true;
}

/* The two hellos; both ends say UP, resumed or not. */
static void greet(bool resumed)
{
    connect_both();
    for (int from = 0; from < 2; from++) {
        int status = -1;
        CHECK(carry(from, &status));
        CHECK_EQ(status, 0);
    }
    for (int i = 0; i < 2; i++) {
        struct session_event event = next_of(&ends[i]);
        if (!resumed && event.kind == SESSION_EVENT_LOST) {
            CHECK(!event.u.lost.close);
            event = next_of(&ends[i]);
        }
        CHECK_EQ(event.kind, SESSION_EVENT_UP);
        CHECK_EQ(event.u.up.resumed, resumed);
        CHECK_TEXT(event.u.up.hello->host, i ? "a" : "b");
        CHECK_EQ(next_of(&ends[i]).kind, 0);
    }
}

static int say(int end, uint32_t number)
{
    struct proto_message message = { .kind = PROTO_LIST, .u.list = { number } };
    return session_add(&ends[end], &message);
}

static int say_much(int end, size_t bytes)
{
    static unsigned char spec[PROTO_FRAME_BYTES_MAX];
    struct proto_message message = { .kind = PROTO_SUBMIT, .u.submit = { .task = { 1, 1 }, .spec = { spec, bytes } } };
    return session_add(&ends[end], &message);
}

/* Flushes `from` until it has nothing to say, and takes in everything at the other end. Returns the messages. */
static size_t deliver(int from)
{
    size_t count = 0;
    int status = 0;
    while (carry(from, &status)) {
        CHECK_EQ(status, 0);
        struct session_event event;
        while (session_next(&ends[1 - from], &event)) {
            count += event.kind == SESSION_EVENT_MESSAGES ? event.u.messages.count : 0;
        }
    }
    return count;
}

TEST(session, messages_of_one_turn_ride_in_one_batch_and_its_ack_frees_them)
{
    set_up();
    greet(false);
    for (uint32_t i = 1; i <= 3; i++) {
        CHECK_EQ(say(0, i), 0);
    }
    int status;
    CHECK(carry(0, &status));
    struct session_event event = next_of(&ends[1]);
    CHECK_EQ(event.kind, SESSION_EVENT_MESSAGES);
    CHECK(event.u.messages.number == 1 && event.u.messages.seen == 0 && event.u.messages.count == 3);
    CHECK_EQ(event.u.messages.messages[2].u.list.list, 3);
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK(session_room_bytes(&ends[0]) < PROTO_CREDIT_BYTES);
    CHECK(!carry(0, &status));
    CHECK(carry(1, &status)); /* the acknowledgement, and no acknowledgement of that */
    CHECK_EQ(session_room_bytes(&ends[0]), PROTO_CREDIT_BYTES);
    CHECK(!carry(0, &status) && !carry(1, &status));
    tear_down();
}

TEST(session, what_is_added_while_a_batch_is_taken_in_has_not_seen_it)
{
    set_up();
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    int status;
    CHECK(carry(0, &status));
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_MESSAGES);
    CHECK_EQ(say(1, 10), 0); /* in the middle of batch 1 */
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK_EQ(say(1, 11), 0); /* after it */
    CHECK(carry(1, &status));
    struct session_event event = next_of(&ends[0]);
    CHECK(event.u.messages.seen == 0 && event.u.messages.count == 1 && event.u.messages.messages->u.list.list == 10);
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    CHECK(carry(1, &status));
    event = next_of(&ends[0]);
    CHECK(event.u.messages.seen == 1 && event.u.messages.count == 1 && event.u.messages.messages->u.list.list == 11);
    tear_down();
}

TEST(session, a_new_connection_resumes_and_sends_what_was_lost)
{
    set_up();
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    CHECK_EQ(deliver(0), 1); /* arrived, but its acknowledgement did not */
    CHECK_EQ(say(0, 2), 0);
    struct proto_bytes frame;
    CHECK(session_flush(&ends[0], now, &frame)); /* lost on the way */
    disconnect_both();
    CHECK_EQ(say(0, 3), 0); /* between connections */
    greet(true);
    CHECK_EQ(deliver(0), 2);
    CHECK_EQ(ends[0].counters.batches_resent, 1);
    CHECK_EQ(ends[1].counters.duplicates, 0); /* the hello said that 1 had arrived */
    tear_down();
}

TEST(session, an_end_that_began_anew_makes_the_other_lose_the_session)
{
    set_up();
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    disconnect_both();
    session_fini(&ends[1]);
    session_init(&ends[1], 555, &decoded[1], &scratch, now);
    connect_both();
    int status;
    CHECK(carry(1, &status) && carry(0, &status));
    CHECK_EQ(say(0, 2), ROOST_ESTATE); /* until the owner has heard of it */
    struct session_event event = next_of(&ends[0]);
    CHECK_EQ(event.kind, SESSION_EVENT_LOST);
    CHECK(!event.u.lost.close);
    event = next_of(&ends[0]);
    CHECK(event.kind == SESSION_EVENT_UP && !event.u.up.resumed);
    CHECK_EQ(say(0, 3), 0);
    event = next_of(&ends[1]);
    CHECK(event.kind == SESSION_EVENT_UP && !event.u.up.resumed);
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK(carry(0, &status));
    event = next_of(&ends[1]);
    CHECK(event.u.messages.count == 1 && event.u.messages.messages->u.list.list == 3); /* 1 is gone for good */
    tear_down();
}

TEST(session, one_that_is_ended_by_its_owner_does_not_resume)
{
    set_up();
    greet(false);
    session_lose(&ends[0], ROOST_ENODE, "declared dead");
    struct session_event event = next_of(&ends[0]);
    CHECK_EQ(event.kind, SESSION_EVENT_LOST);
    CHECK(event.u.lost.close && event.u.lost.status == ROOST_ENODE);
    CHECK_TEXT(event.u.lost.text, "declared dead");
    disconnect_both();
    greet(false);
    session_lose(&ends[1], ROOST_ENODE, "twice");
    disconnect_both();
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_LOST);
    greet(false);
    disconnect_both();
    greet(true);
    tear_down();
}

/* The next frame of `from`, held up on its way. */
static struct proto_buffer hold_up(int from)
{
    struct proto_buffer held = { NULL, 0, 0 };
    struct proto_bytes frame;
    CHECK(session_flush(&ends[from], now, &frame));
    CHECK_EQ(proto_buffer_append(&held, frame.data, frame.size), 0);
    return held;
}

/* It arrives at `to`, on a connection that `to` accepts with a hello of its own. */
static int arrive(int to, struct proto_buffer *held)
{
    CHECK_EQ(session_connected(&ends[to], &hellos[to], now), 0);
    int status = session_received(&ends[to], held->bytes, held->size, now);
    proto_buffer_fini(held);
    return status;
}

TEST(session, a_hello_that_another_connection_has_overtaken_ends_its_own_connection_only)
{
    set_up();
    CHECK_EQ(session_connected(&ends[1], &hellos[1], now),
             0); /* end 1 dials, and so does end 0, whose connection stays */
    struct proto_buffer late = hold_up(1);
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    CHECK_EQ(say(1, 2), 0);
    CHECK_EQ(deliver(0), 1);
    CHECK_EQ(deliver(1), 1);
    CHECK_EQ(say(0, 3), 0);
    CHECK_EQ(arrive(0, &late), ROOST_ESTATE);
    CHECK_TEXT(error_text(), "a hello of b from before this session");
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    disconnect_both();
    greet(true);
    CHECK_EQ(deliver(0), 1);
    tear_down();
}

TEST(session, a_hello_of_an_earlier_life_does_not_displace_the_present_one)
{
    set_up();
    greet(false);
    CHECK_EQ(session_connected(&ends[1], &hellos[1], now), 0);
    struct proto_buffer late = hold_up(1);
    session_lose(&ends[1], ROOST_ENODE, "given up");
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_LOST);
    disconnect_both();
    greet(false);
    CHECK_EQ(say(1, 2), 0);
    CHECK_EQ(deliver(1), 1);
    CHECK_EQ(arrive(0, &late), ROOST_ESTATE);
    disconnect_both();
    greet(true);
    tear_down();
}

TEST(session, a_peer_whose_side_has_not_begun_begins_it_and_gets_all_batches)
{
    set_up();
    connect_both();
    int status;
    CHECK(carry(1, &status)); /* the hello of end 0 is lost */
    CHECK_EQ(next_of(&ends[0]).kind, SESSION_EVENT_UP);
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    CHECK_EQ(say(0, 1), 0);
    disconnect_both();
    connect_both();
    CHECK(carry(1, &status) && carry(0, &status));
    struct session_event event = next_of(&ends[0]);
    CHECK(event.kind == SESSION_EVENT_UP && event.u.up.resumed);
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    event = next_of(&ends[1]);
    CHECK(event.kind == SESSION_EVENT_UP && !event.u.up.resumed);
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK_EQ(deliver(0), 1);
    CHECK_EQ(say(1, 2), 0);
    CHECK_EQ(deliver(1), 1);
    tear_down();
}

/* A batch that end 0 never sent, given to end 1. */
static int forge(uint32_t number, uint32_t seen)
{
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_message message = { .kind = PROTO_LIST, .u.list = { 1 } };
    if (number > 0) {
        CHECK_EQ(proto_encode_batch_start(number, seen, &buffer), 0);
        CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), 0);
    } else {
        CHECK_EQ(proto_encode_empty(0, seen, &buffer), 0);
    }
    int status = session_received(&ends[1], buffer.bytes, buffer.size, now);
    proto_buffer_fini(&buffer);
    return status;
}

TEST(session, old_numbers_are_dropped_and_a_gap_ends_it)
{
    set_up();
    greet(false);
    CHECK_EQ(forge(1, 0), 0);
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_MESSAGES);
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK_EQ(forge(1, 0), 0);
    CHECK_EQ(next_of(&ends[1]).kind, 0);
    CHECK_EQ(ends[1].counters.duplicates, 1);
    CHECK_EQ(forge(3, 0), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "batch 3 came after batch 1");
    struct session_event event = next_of(&ends[1]);
    CHECK(event.kind == SESSION_EVENT_LOST && event.u.lost.close);
    CHECK_TEXT(event.u.lost.text, "batch 3 came after batch 1");
    CHECK_EQ(forge(2, 0), ROOST_EDISCONNECTED);
    tear_down();
}

TEST(session, an_acknowledgement_of_what_was_never_sent_ends_it)
{
    set_up();
    greet(false);
    CHECK_EQ(say(1, 1), 0); /* open, not sent */
    CHECK_EQ(forge(0, 1), ROOST_EINVAL);
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_LOST);
    tear_down();
}

TEST(session, nobody_sends_beyond_the_peer_s_credit)
{
    set_up();
    greet(false);
    ends[0].window_bytes = PROTO_FRAME_BYTES_MAX; /* as a peer with little memory would say */
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(say_much(0, 5 << 20), 0);
    }
    int status;
    size_t carried = 0;
    while (carry(0, &status)) {
        CHECK_EQ(status, 0);
        while (next_of(&ends[1]).kind != 0) {
        }
        carried++;
    }
    CHECK_EQ(carried, 3);
    CHECK(carry(1, &status)); /* the acknowledgement makes room */
    CHECK_EQ(deliver(0), 1);
    tear_down();
}

TEST(session, what_is_acknowledged_ahead_of_a_batch_that_waits_is_not_said_to_be_seen_before_that_batch_has_come)
{
    set_up();
    greet(false);
    ends[0].window_bytes = PROTO_FRAME_BYTES_MAX;
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(say_much(0, 5 << 20), 0);
    }
    CHECK_EQ(say(1, 1), 0);
    CHECK_EQ(deliver(1), 1); /* end 0 takes that in: its last batch was said before, and waits for credit */
    int status;
    while (carry(0, &status)) {
        CHECK_EQ(status, 0);
        while (next_of(&ends[1]).kind != 0) {
        }
    }
    CHECK_EQ(session_acknowledged(&ends[1]), 1);
    CHECK_EQ(session_seen_in_order(&ends[1]), 0);
    CHECK(carry(1, &status)); /* the acknowledgement makes room */
    while (next_of(&ends[0]).kind != 0) {
    }
    CHECK_EQ(deliver(0), 1);
    CHECK_EQ(session_seen_in_order(&ends[1]), 0); /* as that batch says */
    CHECK_EQ(say(0, 2), 0);
    CHECK_EQ(deliver(0), 1);
    CHECK_EQ(session_seen_in_order(&ends[1]), 1);
    tear_down();
}

TEST(session, a_peer_that_acknowledges_nothing_is_given_up)
{
    set_up();
    greet(false);
    int status = 0, added = 0;
    for (; added < 100 && status == 0; added++) {
        status = say_much(0, 5 << 20);
    }
    CHECK_EQ(status, ROOST_EBUSY);
    CHECK_EQ(added, 13); /* 12 x 5 MiB fit into 64 MiB */
    CHECK_EQ(next_of(&ends[0]).kind, SESSION_EVENT_LOST);
    CHECK_EQ(session_room_bytes(&ends[0]), PROTO_CREDIT_BYTES);
    CHECK_EQ(say(0, 1), ROOST_ESTATE);
    tear_down();
}

TEST(session, a_peer_that_sends_beyond_its_credit_is_cut)
{
    set_up();
    greet(false);
    struct proto_buffer buffer = { NULL, 0, 0 };
    unsigned char *spec = calloc(1, 15 << 20);
    struct proto_message message = { .kind = PROTO_SUBMIT,
                                     .u.submit = { .task = { 1, 1 }, .spec = { spec, 15 << 20 } } };
    int status = 0;
    uint32_t number = 1;
    for (; status == 0 && number < 10; number++) { /* end 1 takes them in, but is never flushed */
        buffer.size = 0;
        CHECK_EQ(proto_encode_batch_start(number, 0, &buffer), 0);
        CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), 0);
        status = session_received(&ends[1], buffer.bytes, buffer.size, now);
        while (status == 0 && next_of(&ends[1]).kind != 0) {
        }
    }
    CHECK_EQ(status, ROOST_ETOOBIG);
    CHECK_EQ(number, 6); /* the fifth was too much */
    CHECK_EQ(next_of(&ends[1]).kind, SESSION_EVENT_LOST);
    free(spec);
    proto_buffer_fini(&buffer);
    tear_down();
}

TEST(session, a_batch_is_closed_at_its_size_and_a_large_message_goes_alone)
{
    set_up();
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    CHECK_EQ(say_much(0, 3 << 20), 0);
    CHECK_EQ(say(0, 2), 0);
    CHECK_EQ(say_much(0, PROTO_BATCH_BYTES / 2), 0);
    CHECK_EQ(say_much(0, PROTO_BATCH_BYTES / 2), 0);
    static const uint32_t wanted[] = { 1, 1, 2, 1 };
    for (uint32_t i = 0; i < 4; i++) {
        int status;
        CHECK(carry(0, &status));
        struct session_event event = next_of(&ends[1]);
        CHECK_EQ(event.u.messages.number, i + 1);
        CHECK_EQ(event.u.messages.count, wanted[i]);
        CHECK_EQ(next_of(&ends[1]).kind, 0);
    }
    CHECK_EQ(say_much(0, PROTO_FRAME_BYTES_MAX - 10), ROOST_ETOOBIG);
    CHECK_EQ(say(0, 3), 0);
    CHECK_EQ(deliver(0), 1);
    CHECK_EQ(deliver(1), 0);
    CHECK_EQ(session_room_bytes(&ends[0]), PROTO_CREDIT_BYTES);
    tear_down();
}

TEST(session, silence_is_broken_by_a_sign_of_life_and_measured)
{
    set_up();
    greet(false);
    int status;
    CHECK(!carry(0, &status));
    CHECK_EQ(session_deadline_ns(&ends[0]), now + HEARTBEAT_MS * MS);
    CHECK_EQ(session_heard_ns(&ends[1]), now);
    now = session_deadline_ns(&ends[0]);
    CHECK(carry(0, &status));
    CHECK_EQ(session_heard_ns(&ends[1]), now);
    CHECK(!carry(0, &status));
    now += 5 * MS;
    disconnect_both();
    CHECK_EQ(session_deadline_ns(&ends[0]), UINT64_MAX);
    CHECK_EQ(session_heard_ns(&ends[1]), now - 5 * MS); /* a cut does not count as a word */
    tear_down();
}

/* A hello that end 1 would not send, given to end 0, which is greeting. */
static int forge_hello(const struct proto_hello *hello)
{
    struct proto_buffer buffer = { NULL, 0, 0 };
    CHECK_EQ(session_connected(&ends[0], &hellos[0], now), 0);
    CHECK_EQ(proto_encode_hello(&scratch, hello, &buffer), 0);
    int status = session_received(&ends[0], buffer.bytes, buffer.size, now);
    proto_buffer_fini(&buffer);
    return status;
}

TEST(session, a_hello_that_does_not_fit_ends_the_connection_and_nothing_else)
{
    set_up();
    greet(false);
    CHECK_EQ(say(0, 1), 0);
    disconnect_both();
    struct proto_hello wrong = hellos[1];
    wrong.session = 1;
    wrong.credit_bytes = PROTO_CREDIT_BYTES;
    wrong.version_min = wrong.version_max = PROTO_VERSION_MAX + 1;
    CHECK_EQ(forge_hello(&wrong), ROOST_EVERSION);
    wrong.version_min = wrong.version_max = PROTO_VERSION_MAX;
    hellos[0].cluster = (struct cluster_id){ 1, 1 };
    wrong.cluster = (struct cluster_id){ 2, 2 };
    CHECK_EQ(forge_hello(&wrong), ROOST_EAUTH);
    wrong.cluster = hellos[0].cluster;
    wrong.session = ends[0].self;
    CHECK_EQ(forge_hello(&wrong), ROOST_EAUTH);
    CHECK_TEXT(error_text(), "connected to itself");
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    greet(true);
    CHECK_EQ(deliver(0), 1);
    tear_down();
}

TEST(session, a_refusal_says_why)
{
    set_up();
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_refusal refusal = { ROOST_EAUTH, "the key is another" };
    CHECK_EQ(proto_encode_refusal(&scratch, &refusal, &buffer), 0);
    CHECK_EQ(session_connected(&ends[0], &hellos[0], now), 0);
    CHECK_EQ(session_received(&ends[0], buffer.bytes, buffer.size, now), ROOST_EAUTH);
    CHECK_TEXT(error_text(), "refused by the peer: the key is another");
    CHECK_EQ(next_of(&ends[0]).kind, 0);
    proto_buffer_fini(&buffer);
    tear_down();
}

TEST(session, a_stranger_s_first_frame_is_small_and_a_hello)
{
    set_up();
    connect_both();
    unsigned char *bytes = calloc(1, PROTO_HELLO_BYTES_MAX + 1);
    CHECK_EQ(session_received(&ends[1], bytes, PROTO_HELLO_BYTES_MAX + 1, now), ROOST_ETOOBIG);
    free(bytes);
    connect_both();
    CHECK_EQ(forge(1, 0), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "a batch before the hello");
    tear_down();
}
