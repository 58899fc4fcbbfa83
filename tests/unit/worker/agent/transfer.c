/* Bytes from one store into another, over real loopback sockets: two agents' halves on one loop. */
#include "worker/agent/transfer.h"
#include "common/hash.h"
#include "common/limits.h"
#include "tests/unit/common/io/fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STORE_BYTES = 16 << 20, ANSWERS_MAX = 16 }; /* small: these also run under the thread sanitizer */

struct answer {
    uint64_t token, value;
    int status;
};

struct side {
    struct store *store;
    struct endpoint_listener *messages;
    char address[ADDRESS_TEXT_BYTES];
    struct transfers *transfers;
    struct answer answers[ANSWERS_MAX];
    int answers_count, answers_wanted;
    bool done; /* as many as wanted have come */
};

/* Node 1 receives, node 2 sends. */
static struct fixture fixture;
static struct side receiver, sender;
static const struct core_peer to_receiver = { 1, 1 };
static const char *dead_end; /* where the next connection to the receiver leads instead; for one connection */

static void on_done(void *arg, uint64_t token, int status, uint64_t value, const void *data, size_t bytes)
{
    struct side *side = arg;
    (void)data, (void)bytes;
    CHECK(side->answers_count < ANSWERS_MAX);
    side->answers[side->answers_count++] = (struct answer){ token, value, status };
    side->done = side->answers_count >= side->answers_wanted;
}

static const char *address_of(void *arg, uint32_t node)
{
    (void)arg;
    const char *address = node == 1 ? receiver.address : NULL;
    address = address != NULL && dead_end != NULL ? dead_end : address;
    dead_end = NULL;
    return address;
}

static void side_start(struct side *side)
{
    struct store_options options = { .bytes = STORE_BYTES, .entries = TABLE_CAPACITY_MIN, .pages = SEGMENT_SMALL };
    struct transfer_owner owner = { on_done, address_of, side };
    *side = (struct side){ .done = false };
    CHECK_EQ(store_open(&side->store, &options), 0);
    side->messages = fixture_listen(&fixture, side->address);
    CHECK_EQ(transfers_create(&side->transfers, fixture.loop, side->store, side->messages, &owner), 0);
}

static void start(void)
{
    fixture_start(&fixture);
    side_start(&receiver);
    side_start(&sender);
}

static void end(void)
{
    transfers_stop(sender.transfers);
    transfers_stop(receiver.transfers);
    endpoint_listener_close(sender.messages);
    endpoint_listener_close(receiver.messages);
    loop_destroy(fixture.loop);
    transfers_destroy(sender.transfers);
    transfers_destroy(receiver.transfers);
    store_close(sender.store);
    store_close(receiver.store);
    nng_threads_end();
    CHECK_EQ(open_fds(), fixture.fds_before);
    if (__lsan_do_recoverable_leak_check != NULL) {
        CHECK_EQ(__lsan_do_recoverable_leak_check(), 0);
    }
}

static unsigned char *bytes_at(const struct side *side, uint64_t offset, uint64_t size)
{
    unsigned char *bytes = store_bytes(side->store, (struct store_place){ offset, size, 0 });
    CHECK(bytes != NULL);
    return bytes;
}

static void fill(uint64_t offset, uint64_t size, uint32_t seed)
{
    uint32_t *words = (uint32_t *)(void *)bytes_at(&sender, offset, size);
    for (uint64_t i = 0; i < size / 4; i++) {
        words[i] = seed * 2654435761u + (uint32_t)i;
    }
}

static bool is_same(uint64_t from, uint64_t to, uint64_t size)
{
    return memcmp(bytes_at(&sender, from, size), bytes_at(&receiver, to, size), size) == 0;
}

/* Answers are counted from now on; `count` of them end the run. */
static void run_until_answers(struct side *side, int count)
{
    side->answers_wanted = count;
    side->done = side->answers_count >= count;
    fixture_run(&fixture, &side->done);
}

static void receive(uint64_t transfer, uint64_t offset, uint64_t size)
{
    struct agent_pull command = { .op = AGENT_PULL_RECEIVE,
                                  .transfer = transfer,
                                  .object = { .size = size },
                                  .place = { .offset = offset, .bytes = size },
                                  .size = size };
    transfers_run(receiver.transfers, 100 + transfer, &command);
}

/* `size` bytes at `from` of the sender's store, which are those at `offset` of the transfer. */
static void send_range(uint64_t transfer, uint32_t stream, uint64_t from, uint64_t offset, uint64_t size)
{
    struct agent_pull command = { .op = AGENT_PULL_SEND,
                                  .peer = to_receiver,
                                  .transfer = transfer,
                                  .place = { .offset = from, .bytes = size },
                                  .offset = offset,
                                  .size = size,
                                  .stream = stream };
    transfers_run(sender.transfers, 200 + transfer, &command);
}

static void change_lanes(uint64_t transfer)
{
    struct agent_pull command = { .op = AGENT_PULL_RAISE, .peer = to_receiver, .transfer = transfer };
    transfers_run(sender.transfers, 200 + transfer, &command);
}

TEST(transfer, ranges_of_an_object_arrive_over_every_stream_of_both_lanes)
{
    enum { STREAMS = PULL_LANES * PULL_STREAMS_MAX, SIZE = 8 << 20, SHARE = SIZE / STREAMS };
    start();
    fill(0, SIZE, 1);
    receive(1, 4096, SIZE);
    for (uint32_t i = 0; i < STREAMS; i++) {
        send_range(1, i, (uint64_t)i * SHARE, (uint64_t)i * SHARE, SHARE);
    }
    run_until_answers(&receiver, 1);
    CHECK_EQ(receiver.answers[0].token, 101);
    CHECK_EQ(receiver.answers[0].value, 1);
    CHECK_EQ(receiver.answers[0].status, 0);
    CHECK(is_same(0, 4096, SIZE));
    CHECK_EQ(sender.answers_count, 0);
    end();
}

TEST(transfer, many_small_ones_share_a_connection_and_each_is_told_by_itself)
{
    enum { COUNT = 16, SIZE = 100000 };
    start();
    fill(0, COUNT * SIZE, 2);
    for (uint64_t i = 0; i < COUNT; i++) {
        receive(i + 1, (COUNT - i) * 100032, SIZE);
        send_range(i + 1, 0, i * SIZE, 0, SIZE);
    }
    run_until_answers(&receiver, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(receiver.answers[i].value, i + 1); /* in the order in which they were sent */
        CHECK_EQ(receiver.answers[i].status, 0);
        CHECK(is_same(i * SIZE, (COUNT - i) * 100032, SIZE));
    }
    end();
}

TEST(transfer, bytes_for_a_transfer_that_was_given_up_are_thrown_away)
{
    enum { SIZE = 1 << 20 };
    start();
    fill(0, 2 * SIZE, 3);
    receive(1, 0, SIZE);
    struct agent_pull cancel = { .op = AGENT_PULL_CANCEL, .peer = to_receiver, .transfer = 1 };
    transfers_run(receiver.transfers, 300, &cancel);
    receive(2, SIZE, SIZE);
    send_range(1, 0, 0, 0, SIZE);
    send_range(2, 0, SIZE, 0, SIZE);
    run_until_answers(&receiver, 2);
    CHECK_EQ(receiver.answers[0].token, 300);
    CHECK_EQ(receiver.answers[1].token, 102);
    CHECK(is_same(SIZE, SIZE, SIZE));
    const unsigned char *place = bytes_at(&receiver, 0, SIZE);
    CHECK(place[0] == 0 && memcmp(place, place + 1, SIZE - 1) == 0); /* as it was */
    end();
}

TEST(transfer, bytes_for_a_node_that_has_no_address_are_told_as_not_sent)
{
    start();
    struct agent_pull command = { .op = AGENT_PULL_SEND, .peer = { 9, 1 }, .place = { .bytes = 64 }, .size = 64 };
    transfers_run(sender.transfers, 209, &command);
    run_until_answers(&sender, 1);
    CHECK_EQ(sender.answers[0].token, 209);
    CHECK_EQ(sender.answers[0].status, ROOST_ECONNECT);
    end();
}

/* ---- lanes: a connection of the second one leads to a socket that nobody reads from ---- */

struct hole {
    int listener, accepted;
    struct loop_watch *watch;
    char address[64];
    bool has_begun; /* the first bytes have come */
};

static void hole_is_readable(void *arg, unsigned events)
{
    struct hole *hole = arg;
    (void)events;
    loop_watch_set(hole->watch, 0);
    hole->has_begun = true;
}

static void hole_is_connected(void *arg, unsigned events)
{
    struct hole *hole = arg;
    (void)events;
    hole->accepted = accept4(hole->listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(hole->accepted >= 0);
    loop_watch_close(hole->watch);
    CHECK_EQ(loop_watch_start(fixture.loop, hole->accepted, LOOP_READ, hole_is_readable, hole, &hole->watch), 0);
}

static void hole_open(struct hole *hole)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    *hole = (struct hole){ .accepted = -1, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    CHECK(hole->listener >= 0);
    CHECK_EQ(bind(hole->listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(hole->listener, 4), 0);
    CHECK_EQ(getsockname(hole->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(hole->address, sizeof hole->address, "127.0.0.1:%u", ntohs(address.sin_port));
    CHECK_EQ(loop_watch_start(fixture.loop, hole->listener, LOOP_READ, hole_is_connected, hole, &hole->watch), 0);
    dead_end = hole->address;
}

static void hole_close(struct hole *hole)
{
    loop_watch_close(hole->watch);
    close(hole->listener);
    close(hole->accepted);
}

TEST(transfer, what_waits_behind_what_goes_out_changes_lanes_when_somebody_blocks_on_it)
{
    enum { LARGE = 12 << 20, SIZE = 1 << 20 };
    struct hole hole;
    start();
    fill(LARGE, 2 * SIZE, 4);
    hole_open(&hole);
    receive(2, SIZE, SIZE);
    receive(3, 2 * SIZE, SIZE);
    send_range(1, PULL_STREAMS_MAX, 0, 0, LARGE);
    send_range(2, PULL_STREAMS_MAX, LARGE, 0, SIZE);
    send_range(3, PULL_STREAMS_MAX, LARGE + SIZE, 0, SIZE);
    fixture_run(&fixture, &hole.has_begun);
    change_lanes(3);
    run_until_answers(&receiver, 1);
    CHECK_EQ(receiver.answers[0].token, 103); /* and not the one before it */
    CHECK(is_same(LARGE + SIZE, 2 * SIZE, SIZE));
    change_lanes(1); /* is on its way already */
    change_lanes(2);
    run_until_answers(&receiver, 2);
    CHECK_EQ(receiver.answers[1].token, 102);
    CHECK(is_same(LARGE, SIZE, SIZE));
    CHECK_EQ(sender.answers_count, 0);
    hole_close(&hole);
    end();
}
