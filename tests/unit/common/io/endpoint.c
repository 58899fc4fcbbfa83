/* endpoint.c - framed connections over real loopback sockets, against themselves and against bare sockets */
#include "common/io/endpoint.h"
#include "common/hash.h"
#include "common/limits.h"
#include "tests/unit/common/io/fixture.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* One end of a connection, as a test sees it. */
struct end {
    struct endpoint *endpoint;
    int opened, closed, status, rooms;
    char text[256];
    int frames;
    size_t last_size;
    uint64_t last_hash;
    int frames_wanted; /* then `done`; 0: `done` when closed */
    bool done;
    bool closes_at_frame, finishes_at_frame, closes_at_open;
    bool is_numbered; /* each frame begins with its number */
    bool echoes;
};

struct net {
    struct fixture fixture;
    struct endpoint_listener *listener;
    char address[ADDRESS_TEXT_BYTES];
    struct end server; /* all accepted connections together */
    struct end client;
};

static void on_open(struct endpoint *endpoint, void *arg)
{
    struct end *end = arg;
    CHECK_EQ(end->closed > end->opened, 0);
    end->endpoint = endpoint;
    end->opened++;
    if (end->closes_at_open) {
        endpoint_close(endpoint);
    }
}

static void on_frame(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    struct end *end = arg;
    uint32_t number = 0;
    if (end->is_numbered) {
        memcpy(&number, data, sizeof number);
        CHECK_EQ(number, end->frames);
    }
    end->frames++;
    end->last_size = size;
    end->last_hash = hash64(data, size, 0);
    if (end->echoes) {
        CHECK_EQ(endpoint_send(endpoint, &(struct endpoint_piece){ data, size }, 1), 0);
    }
    if (end->closes_at_frame) {
        endpoint_close(endpoint);
        endpoint_close(endpoint);
        CHECK_EQ(endpoint_send(endpoint, &(struct endpoint_piece){ data, size }, 1), ROOST_ESTATE);
    }
    if (end->finishes_at_frame) {
        CHECK_EQ(endpoint_send(endpoint, &(struct endpoint_piece){ "no", 2 }, 1), 0);
        endpoint_finish(endpoint);
    }
    if (end->frames == end->frames_wanted) {
        end->done = true;
    }
}

static void on_room(struct endpoint *endpoint, void *arg)
{
    struct end *end = arg;
    CHECK(endpoint_queued_bytes(endpoint) <= ENDPOINT_QUEUE_BYTES_MAX / 2);
    end->rooms++;
    end->done = true;
}

static void on_closed(struct endpoint *endpoint, void *arg, int status)
{
    struct end *end = arg;
    (void)endpoint;
    end->endpoint = NULL;
    end->closed++;
    end->status = status;
    snprintf(end->text, sizeof end->text, "%s", error_text());
    if (end->frames_wanted == 0) {
        end->done = true;
    }
}

static const struct endpoint_handler handler = { on_open, on_frame, on_room, on_closed };

enum { FIRST_FRAME = PROTO_FRAME_BYTES_MAX };

static void net_start_with(struct net *net, unsigned first_frame_ms, size_t first_frame_bytes_max,
                           unsigned connections_max)
{
    *net = (struct net){ .listener = NULL };
    fixture_start(&net->fixture);
    CHECK_EQ(endpoint_listen(net->fixture.loop, "localhost", 0, first_frame_ms, first_frame_bytes_max, connections_max,
                             &handler, &net->server, &net->listener),
             0);
    CHECK(endpoint_listener_address(net->listener)->port != 0);
    address_print(endpoint_listener_address(net->listener), net->address);
}

static void net_start(struct net *net, unsigned first_frame_ms, unsigned connections_max)
{
    net_start_with(net, first_frame_ms, FIRST_FRAME, connections_max);
}

static void net_end(struct net *net)
{
    endpoint_listener_close(net->listener);
    if (net->client.endpoint != NULL) {
        endpoint_close(net->client.endpoint);
    }
    if (net->server.endpoint != NULL) {
        endpoint_close(net->server.endpoint);
    }
    fixture_end(&net->fixture);
    CHECK_EQ(net->server.closed, net->server.opened);
}

/* Runs until the last thing that `end` waits for. */
static void net_wait(struct net *net, struct end *end)
{
    fixture_run(&net->fixture, &end->done);
    end->done = false;
}

static void opened_both(void *arg)
{
    struct net *net = arg;
    if (net->client.opened > 0 && net->server.opened > 0) {
        loop_stop(net->fixture.loop);
    }
}

static void net_connect(struct net *net)
{
    CHECK_EQ(endpoint_dial(net->fixture.loop, net->address, 5000, &handler, &net->client, &net->client.endpoint), 0);
    loop_timer_arm(&net->fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(net->fixture.loop, opened_both, net);
    loop_run(net->fixture.loop);
    loop_on_turn_end(net->fixture.loop, NULL, NULL);
    loop_timer_disarm(&net->fixture.guard);
    CHECK_EQ(net->client.opened, 1);
}

/* A bare TCP connection to the listener, which waits at most a few seconds in read and write. */
static int bare_connect(const struct net *net)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(endpoint_listener_address(net->listener)->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 10 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* The server gets `bytes` from a bare socket and must end the connection with `status`. */
static void expect_cut(const void *bytes, size_t size, bool closes, int status, const char *text)
{
    struct net net;
    net_start(&net, 0, 10);
    int fd = bare_connect(&net);
    CHECK_EQ(write(fd, bytes, size), (ssize_t)size);
    if (closes) {
        close(fd);
    }
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, status);
    CHECK(strstr(net.server.text, text) != NULL);
    CHECK(strstr(net.server.text, "127.0.0.1:") != NULL);
    CHECK_EQ(net.server.frames, 0);
    CHECK_EQ(net.server.closed, 1);
    if (!closes) {
        char byte;
        CHECK(read(fd, &byte, 1) <= 0); /* cut here too */
        close(fd);
    }
    net_end(&net);
}

/* ---- frames */

TEST(endpoint, carries_many_small_frames_both_ways_in_order)
{
    enum { FRAMES = 20000 };
    struct net net;
    net_start(&net, 0, 10);
    net.server.is_numbered = net.client.is_numbered = net.server.echoes = true;
    net.client.frames_wanted = FRAMES;
    net_connect(&net);
    char bytes[600] = { 0 };
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct endpoint_piece pieces[3] = { { &i, sizeof i }, { NULL, 0 }, { bytes, i % sizeof bytes } };
        CHECK_EQ(endpoint_send(net.client.endpoint, pieces, 3), 0);
    }
    net_wait(&net, &net.client);
    CHECK_EQ(net.client.frames, FRAMES);
    CHECK_EQ(net.client.last_size, 4 + (FRAMES - 1) % sizeof bytes);
    CHECK_EQ(endpoint_queued_bytes(net.client.endpoint), 0);
    net_end(&net);
}

TEST(endpoint, carries_frames_of_every_awkward_size)
{
    static const size_t sizes[] = { 1,
                                    2,
                                    ENDPOINT_READ_BYTES - 5,
                                    ENDPOINT_READ_BYTES - 4,
                                    ENDPOINT_READ_BYTES - 3,
                                    ENDPOINT_READ_BYTES,
                                    ENDPOINT_BLOCK_BYTES - 4,
                                    ENDPOINT_BLOCK_BYTES,
                                    1 << 20,
                                    PROTO_FRAME_BYTES_MAX - 1,
                                    PROTO_FRAME_BYTES_MAX,
                                    1 };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    struct net net;
    net_start(&net, 0, 10);
    unsigned char *bytes = malloc(PROTO_FRAME_BYTES_MAX + 1);
    for (size_t i = 0; i <= PROTO_FRAME_BYTES_MAX; i++) {
        bytes[i] = (unsigned char)(i * 7 + (i >> 11));
    }
    net.server.echoes = true;
    net_connect(&net);
    for (size_t i = 0; i < SIZES; i++) {
        net.client.frames_wanted = (int)i + 1;
        struct endpoint_piece pieces[2] = { { bytes, sizes[i] / 3 },
                                            { bytes + sizes[i] / 3, sizes[i] - sizes[i] / 3 } };
        CHECK_EQ(endpoint_send(net.client.endpoint, pieces, 2), 0);
        net_wait(&net, &net.client);
        CHECK_EQ(net.client.last_size, sizes[i]);
        CHECK(net.client.last_hash == hash64(bytes, sizes[i], 0));
    }
    CHECK_EQ(endpoint_send(net.client.endpoint, &(struct endpoint_piece){ bytes, PROTO_FRAME_BYTES_MAX + 1 }, 1),
             ROOST_ETOOBIG);
    CHECK_EQ(endpoint_send(net.client.endpoint, &(struct endpoint_piece){ bytes, 0 }, 1), ROOST_ETOOBIG);
    free(bytes);
    net_end(&net);
}

TEST(endpoint, reads_frames_that_come_in_single_bytes)
{
    struct net net;
    net_start(&net, 0, 10);
    int fd = bare_connect(&net), on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    static const unsigned char bytes[] = { 3, 0, 0, 0, 'a', 'b', 'c', 1, 0, 0, 0, 'd' };
    for (size_t i = 0; i < sizeof bytes; i++) {
        CHECK_EQ(write(fd, bytes + i, 1), 1);
        net.server.frames_wanted = i == 6 ? 1 : i == 11 ? 2 : -1;
        if (net.server.frames_wanted > 0) {
            net_wait(&net, &net.server);
        }
    }
    CHECK_EQ(net.server.frames, 2);
    CHECK(net.server.last_hash == hash64("d", 1, 0));
    close(fd);
    net_end(&net);
}

TEST(endpoint, joins_the_pieces_of_a_frame_however_long_they_are)
{
    enum { FRAMES = 50 };
    struct net net;
    net_start(&net, 0, 10);
    net.server.is_numbered = true;
    net.server.frames_wanted = FRAMES;
    net_connect(&net);
    static unsigned char bytes[200000];
    static uint32_t numbers[FRAMES];
    for (uint32_t i = 0; i < FRAMES; i++) {
        numbers[i] = i;
        struct endpoint_piece pieces[3] = { { &numbers[i], 4 },
                                            { bytes, sizeof bytes / 2 },
                                            { bytes, sizeof bytes / 2 } };
        CHECK_EQ(endpoint_send(net.client.endpoint, pieces, 3), 0);
    }
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.last_size, 4 + sizeof bytes);
    endpoint_close(net.client.endpoint);
    net_wait(&net, &net.client);
    net_end(&net);
}

/* ---- bad peers */

TEST(endpoint, cuts_a_peer_that_announces_too_much)
{
    static const unsigned char bytes[] = { 1, 0, 0, 1, 'x' }; /* 16 MiB and a byte */
    expect_cut(bytes, sizeof bytes, false, ROOST_ETOOBIG, "announced a frame of 16777217 bytes; the limit is 16777216");
}

TEST(endpoint, cuts_a_stranger_whose_first_frame_is_longer_than_a_greeting)
{
    struct net net;
    net_start_with(&net, 0, 1000, 10);
    net.server.frames_wanted = 2;
    int fd = bare_connect(&net);
    static unsigned char bytes[1 + 4 + 1001 + 4] = { 0 };
    CHECK_EQ(write(fd, "\1\0\0\0h\xe9\3\0\0", 9), 9); /* one byte; then it is no stranger any more: 1001 bytes */
    CHECK_EQ(write(fd, bytes, 1001), 1001);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.last_size, 1001);
    net.server.frames_wanted = 0;
    net.server.done = false;
    int other = bare_connect(&net);
    CHECK_EQ(write(other, "\xe9\3\0\0", 4), 4);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ETOOBIG);
    close(fd);
    close(other);
    net_end(&net);
}

TEST(endpoint, cuts_a_peer_that_speaks_something_else)
{
    static const char bytes[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    expect_cut(bytes, sizeof bytes, false, ROOST_ETOOBIG, "announced a frame of");
}

TEST(endpoint, cuts_a_peer_that_sends_a_frame_of_nothing)
{
    static const unsigned char bytes[] = { 0, 0, 0, 0 };
    expect_cut(bytes, sizeof bytes, false, ROOST_EINVAL, "a frame of no bytes");
}

TEST(endpoint, notices_a_peer_that_closes_in_the_middle_of_a_short_frame)
{
    static const unsigned char bytes[] = { 9, 0, 0, 0, 'h', 'a', 'l', 'f' };
    expect_cut(bytes, sizeof bytes, true, ROOST_EDISCONNECTED, "the peer closed the connection");
}

TEST(endpoint, notices_a_peer_that_closes_in_the_middle_of_a_long_frame)
{
    static const unsigned char bytes[100000] = { 0, 0, 0x80, 0, 'h' }; /* 8 MiB announced */
    expect_cut(bytes, sizeof bytes, true, ROOST_EDISCONNECTED, "the peer closed the connection");
}

TEST(endpoint, notices_a_peer_that_closes_in_a_header)
{
    expect_cut("\1", 1, true, ROOST_EDISCONNECTED, "the peer closed the connection");
}

TEST(endpoint, closes_a_connection_that_stays_silent)
{
    struct net net;
    net_start(&net, 30, 10);
    int silent = bare_connect(&net);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ETIMEDOUT);
    int half = bare_connect(&net);
    CHECK_EQ(write(half, "\5\0\0\0h", 5), 5); /* half a frame is silence too */
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ETIMEDOUT);
    close(silent);
    close(half);
    net_end(&net);
}

static void set_flag(void *arg) { *(bool *)arg = true; }

TEST(endpoint, a_first_frame_ends_the_deadline)
{
    struct net net;
    net_start(&net, 50, 10);
    int fd = bare_connect(&net);
    net.server.frames_wanted = 1;
    CHECK_EQ(write(fd, "\1\0\0\0h", 5), 5);
    net_wait(&net, &net.server);
    bool later = false;
    struct loop_timer timer;
    loop_timer_init(&timer, net.fixture.loop, set_flag, &later);
    loop_timer_arm(&timer, loop_now_ns() + 150000000);
    fixture_run(&net.fixture, &later);
    CHECK_EQ(net.server.closed, 0);
    close(fd);
    net_end(&net);
}

TEST(endpoint, refuses_connections_beyond_its_limit)
{
    struct net net;
    net_start(&net, 0, 2);
    net.server.frames_wanted = 2;
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = bare_connect(&net);
        ssize_t written = write(fds[i], "\1\0\0\0h", 5);
        CHECK(written == 5 || i == 2);
    }
    net_wait(&net, &net.server);
    struct pollfd third = { .fd = fds[2], .events = POLLIN };
    net.server.frames_wanted = 3;
    while (poll(&third, 1, 0) == 0) { /* the loop's turns go on until the third is told */
        bool later = false;
        struct loop_timer timer;
        loop_timer_init(&timer, net.fixture.loop, set_flag, &later);
        loop_timer_arm(&timer, loop_now_ns() + 1000000);
        fixture_run(&net.fixture, &later);
    }
    char byte;
    CHECK(read(fds[2], &byte, 1) <= 0);
    CHECK_EQ(net.server.opened, 2);
    CHECK_EQ(net.server.closed, 0);
    net.server.frames_wanted = 0;
    close(fds[0]);
    net_wait(&net, &net.server); /* one has gone, so one may come */
    net.server.frames_wanted = 3;
    int fourth = bare_connect(&net);
    CHECK_EQ(write(fourth, "\1\0\0\0h", 5), 5);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.opened, 3);
    close(fds[1]);
    close(fds[2]);
    close(fourth);
    net.server.frames_wanted = 0;
    while (net.server.closed < 3) {
        net_wait(&net, &net.server);
    }
    net_end(&net);
}

/* ---- limits of sending */

TEST(endpoint, refuses_to_queue_without_end_and_says_when_there_is_room)
{
    struct net net;
    net_start(&net, 0, 10);
    net.server.frames_wanted = 1;
    int fd = bare_connect(&net); /* never reads, for now */
    CHECK_EQ(write(fd, "\1\0\0\0h", 5), 5);
    net_wait(&net, &net.server);
    unsigned char *bytes = calloc(1, 1 << 20);
    struct endpoint_piece piece = { bytes, 1 << 20 };
    int status = 0, sent = 0;
    for (; status == 0; sent += status == 0) {
        status = endpoint_send(net.server.endpoint, &piece, 1);
        CHECK(sent < 200);
    }
    CHECK_EQ(status, ROOST_EBUSY);
    CHECK(endpoint_queued_bytes(net.server.endpoint) <= ENDPOINT_QUEUE_BYTES_MAX);
    unsigned char *sink = malloc(1 << 20);
    net.server.done = false;
    while (!net.server.done) { /* now it reads, and the loop turns */
        CHECK(recv(fd, sink, 1 << 20, MSG_DONTWAIT) != 0);
        bool later = false;
        struct loop_timer timer;
        loop_timer_init(&timer, net.fixture.loop, set_flag, &later);
        loop_timer_arm(&timer, loop_now_ns());
        fixture_run(&net.fixture, &later);
    }
    CHECK_EQ(net.server.rooms, 1);
    CHECK_EQ(endpoint_send(net.server.endpoint, &piece, 1), 0);
    endpoint_close(net.server.endpoint);
    net.server.frames_wanted = 0;
    net.server.done = false;
    net_wait(&net, &net.server);
    free(bytes);
    free(sink);
    close(fd);
    net_end(&net);
}

/* ---- closing */

TEST(endpoint, hands_out_no_frame_after_its_close)
{
    struct net net;
    net_start(&net, 0, 10);
    net.server.closes_at_frame = true;
    int fd = bare_connect(&net);
    CHECK_EQ(write(fd, "\1\0\0\0a\1\0\0\0b\1\0\0\0c", 15), 15);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.frames, 1);
    CHECK_EQ(net.server.status, ROOST_ECANCELED);
    close(fd);
    net_end(&net);
}

TEST(endpoint, finishing_brings_the_last_word_to_the_peer)
{
    struct net net;
    net_start(&net, 0, 10);
    net.server.finishes_at_frame = true;
    int fd = bare_connect(&net);
    static unsigned char bytes[60000] = { 1, 0, 0, 0, 'a', 0xff, 0xff, 0xff, 0 }; /* more that nobody will look at */
    CHECK_EQ(send(fd, bytes, sizeof bytes, 0), sizeof bytes);
    bool later = false;
    char answer[7] = "";
    while (recv(fd, answer, 6, MSG_DONTWAIT | MSG_PEEK) < 6) {
        later = false;
        struct loop_timer timer;
        loop_timer_init(&timer, net.fixture.loop, set_flag, &later);
        loop_timer_arm(&timer, loop_now_ns());
        fixture_run(&net.fixture, &later);
    }
    CHECK_EQ(recv(fd, answer, 6, 0), 6);
    CHECK_EQ(memcmp(answer, "\2\0\0\0no", 6), 0);
    CHECK_EQ(net.server.frames, 1);
    CHECK_EQ(net.server.closed, 0);
    close(fd); /* the peer has read it and goes */
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ECANCELED);
    net_end(&net);
}

TEST(endpoint, two_hundred_connections_come_and_go_without_a_trace)
{
    struct net net;
    net_start(&net, 0, 300);
    for (int i = 0; i < 200; i++) {
        struct end client = { .closes_at_open = i % 4 == 1 };
        CHECK_EQ(endpoint_dial(net.fixture.loop, net.address, 5000, &handler, &client, &client.endpoint), 0);
        if (i % 4 == 0) {
            endpoint_close(client.endpoint); /* while it connects */
        } else if (i % 4 >= 2) {
            net.server.closes_at_open = i % 4 == 2; /* the other end closes */
            net.server.done = false;
            client.frames_wanted = i % 4 == 3 ? 1 : 0;
            if (i % 4 == 3) {
                net.server.frames_wanted = 1;
                while (client.opened == 0) {
                    bool later = false;
                    struct loop_timer timer;
                    loop_timer_init(&timer, net.fixture.loop, set_flag, &later);
                    loop_timer_arm(&timer, loop_now_ns());
                    fixture_run(&net.fixture, &later);
                }
                client.frames_wanted = 0;
                endpoint_close(client.endpoint);
            }
        }
        fixture_run(&net.fixture, &client.done);
        CHECK_EQ(client.closed, 1);
        CHECK_EQ(client.status, i % 4 == 2 ? ROOST_EDISCONNECTED : ROOST_ECANCELED);
        net.server.closes_at_open = false;
    }
    net.server.endpoint = NULL;
    net.server.frames_wanted = 0;
    while (net.server.closed < net.server.opened) {
        net.server.done = false;
        net_wait(&net, &net.server);
    }
    CHECK(net.server.opened >= 100);
    net_end(&net);
}

TEST(endpoint, may_be_closed_with_traffic_in_flight)
{
    static unsigned char bytes[3 << 20];
    for (int round = 0; round < 40; round++) {
        struct net net;
        net_start(&net, 0, 10);
        net.server.frames_wanted = round % 8 + 1;
        net.server.echoes = true;
        net_connect(&net);
        struct endpoint_piece piece = { bytes, (size_t)(round % 2 == 0 ? 5000 : sizeof bytes) };
        for (int i = 0; i < 12; i++) {
            CHECK_EQ(endpoint_send(net.client.endpoint, &piece, 1), 0);
        }
        net_wait(&net, &net.server);
        net.server.frames_wanted = 0;
        net.server.done = net.client.done = false;
        endpoint_close(round % 3 == 0 ? net.client.endpoint : net.server.endpoint);
        net_wait(&net, &net.client);
        CHECK_EQ(net.client.closed, 1);
        net_end(&net);
    }
}

/* ---- dialing and listening */

static void expect_dial_fails(const char *address, unsigned timeout_ms, int status, const char *text)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct end end = { .closed = 0 };
    CHECK_EQ(endpoint_dial(fixture.loop, address, timeout_ms, &handler, &end, &end.endpoint), 0);
    CHECK_EQ(end.closed, 0); /* not from inside the call */
    fixture_run(&fixture, &end.done);
    CHECK_EQ(end.status, status);
    CHECK(strstr(end.text, address) != NULL);
    CHECK(strstr(end.text, text) != NULL);
    CHECK_EQ(end.opened, 0);
    CHECK_EQ(end.closed, 1);
    fixture_end(&fixture);
}

/* A listening socket of this test's own; returns its descriptor and its address. */
static int bare_listen(int backlog, char address_out[ADDRESS_TEXT_BYTES])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK(backlog < 0 || listen(fd, backlog) == 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(address_out, ADDRESS_TEXT_BYTES, "127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

TEST(endpoint, a_dial_to_nobody_fails_at_once)
{
    char address[ADDRESS_TEXT_BYTES];
    int fd = bare_listen(-1, address); /* bound, not listening: nobody else gets the port */
    expect_dial_fails(address, 5000, ROOST_ECONNECT, "refused");
    close(fd);
}

TEST(endpoint, a_dial_without_an_answer_ends_at_its_deadline)
{
    char address[ADDRESS_TEXT_BYTES];
    int fd = bare_listen(0, address), fillers[4];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    to.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    for (int i = 0; i < 4; i++) { /* a full backlog answers no one */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int failed = connect(fillers[i], (struct sockaddr *)&to, sizeof to);
        CHECK(failed == 0 || errno == EINPROGRESS);
    }
    expect_dial_fails(address, 60, ROOST_ETIMEDOUT, "no answer within 60 ms");
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(fd);
}

TEST(endpoint, a_dial_to_a_name_that_does_not_exist_fails)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct end end = { .closed = 0 };
    CHECK_EQ(endpoint_dial(fixture.loop, "no-such-host.invalid:1", 20000, &handler, &end, &end.endpoint), 0);
    fixture_run(&fixture, &end.done);
    CHECK(end.status == ROOST_EINVAL || end.status == ROOST_ETIMEDOUT);
    fixture_end(&fixture);
    CHECK_EQ(endpoint_dial(fixture.loop, "nonsense", 1, &handler, &end, &end.endpoint), ROOST_EINVAL);
}

TEST(endpoint, listens_on_loopback_only)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct endpoint_listener *listener;
    static const char *const hosts[] = { "0.0.0.0", "::", "192.168.1.1", "example.com", "*" };
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        int status = endpoint_listen(fixture.loop, hosts[i], 0, 0, FIRST_FRAME, 1, &handler, NULL, &listener);
        CHECK_EQ(status, hosts[i][0] == '*' ? ROOST_EINVAL : ROOST_EAUTH);
    }
    CHECK_EQ(endpoint_listen(fixture.loop, "0.0.0.0", 0, 0, FIRST_FRAME, 1, &handler, NULL, &listener), ROOST_EAUTH);
    CHECK(strstr(error_text(), "refusing to listen on 0.0.0.0") != NULL &&
          strstr(error_text(), "use 127.0.0.1") != NULL);
    fixture_end(&fixture);
}

TEST(endpoint, says_that_a_port_is_taken)
{
    struct net net;
    net_start(&net, 0, 10);
    struct endpoint_listener *second;
    CHECK_EQ(endpoint_listen(net.fixture.loop, "127.0.0.1", endpoint_listener_address(net.listener)->port, 0,
                             FIRST_FRAME, 1, &handler, NULL, &second),
             ROOST_EEXIST);
    CHECK(strstr(error_text(), "127.0.0.1") != NULL);
    net_end(&net);
}

TEST(endpoint, keeps_the_thread_pools_of_nng_small_by_a_sysconf_of_its_own)
{
    struct net net;
    net_start(&net, 0, 10); /* links what is tested */
    Dl_info found, own;
    CHECK(dladdr(dlsym(RTLD_DEFAULT, "sysconf"), &found) != 0);
    CHECK(dladdr((void *)(uintptr_t)&sysconf, &own) != 0);
    CHECK(found.dli_fbase == own.dli_fbase);
    nng_threads_starting(true);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) <= NNG_CPUS_MAX);
    CHECK_EQ(sysconf(_SC_PAGESIZE), getpagesize());
    nng_threads_starting(false);
    net_end(&net);
}
