/* bulk.c - what every way to carry bulk bytes must do, over real loopback sockets */
#include "common/io/bulk.h"
#include "common/hash.h"
#include "common/limits.h"
#include "tests/unit/common/io/fixture.h"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct bulk_ops *const implementations[] = { &bulk_stream_ops };

enum { RANGES_MAX = 512, FRAME_RANGES = 7, HEADER_WORDS = 1 + 3 * FRAME_RANGES };

static const uint64_t one_range = UINT64_C(1) << 32 | 0x4b4c4252; /* how a frame of one range begins */

/* One end of a connection, as a test sees it. */
struct end {
    struct bulk *bulk;
    int opened, closed, status;
    char text[256];
    unsigned char *memory; /* where range offsets point; NULL: everything is thrown away */
    size_t memory_bytes;
    int refuses_with, asked, received, received_bad, sent, sent_bad;
    bool closes_when_asked, frees_when_over, throws_away_odd;
    struct bulk_range last;
    uint64_t tokens_received[RANGES_MAX];
    uint64_t progress_bytes;
    int progress_calls;
    int received_wanted, sent_wanted; /* then `done`; both 0: `done` when closed */
    bool done;
};

struct net {
    struct fixture fixture;
    const struct bulk_ops *ops;
    struct endpoint_listener *messages;
    struct bulk_listener *listener;
    char address[ADDRESS_TEXT_BYTES];
    struct end server, client;
};

static void on_open(struct bulk *bulk, void *arg)
{
    struct end *end = arg;
    end->bulk = bulk;
    end->opened++;
}

static int on_range(struct bulk *bulk, void *arg, const struct bulk_range *range, void **to_out)
{
    struct end *end = arg;
    CHECK(bulk == end->bulk);
    end->asked++;
    end->progress_bytes = 0;
    if (end->refuses_with != 0) {
        return end->refuses_with;
    }
    if (end->memory != NULL && !(end->throws_away_odd && range->token % 2 == 1)) {
        CHECK(range_is_inside(range->offset, range->size, end->memory_bytes));
        *to_out = end->memory + range->offset;
    }
    if (end->closes_when_asked) {
        bulk_close(bulk);
    }
    return 0;
}

static void check_done(struct end *end)
{
    if ((end->received_wanted > 0 && end->received + end->received_bad == end->received_wanted) ||
        (end->sent_wanted > 0 && end->sent + end->sent_bad == end->sent_wanted)) {
        end->done = true;
    }
}

static void on_received(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    struct end *end = arg;
    (void)bulk;
    CHECK_EQ(end->closed, 0);
    end->last = *range;
    if (status == 0) {
        end->tokens_received[end->received++ % RANGES_MAX] = range->token;
    } else {
        end->received_bad++;
    }
    if (end->frees_when_over && status != 0) {
        free(end->memory); /* nobody may write there any more */
        end->memory = NULL;
    }
    check_done(end);
}

static void on_sent(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    struct end *end = arg;
    (void)bulk, (void)range;
    CHECK_EQ(end->closed, 0);
    status == 0 ? end->sent++ : end->sent_bad++;
    check_done(end);
}

static void on_progress(struct bulk *bulk, void *arg, const struct bulk_range *range, uint64_t bytes, bool is_send)
{
    struct end *end = arg;
    (void)bulk;
    if (!is_send) {
        CHECK(bytes > end->progress_bytes && bytes < range->size);
        end->progress_bytes = bytes;
        end->progress_calls++;
    }
}

static void on_closed(struct bulk *bulk, void *arg, int status)
{
    struct end *end = arg;
    (void)bulk;
    end->bulk = NULL;
    end->closed++;
    end->status = status;
    snprintf(end->text, sizeof end->text, "%s", error_text());
    if (end->received_wanted == 0 && end->sent_wanted == 0) {
        end->done = true;
    }
}

static const struct bulk_handler handler = { on_open, on_range, on_received, on_sent, on_progress, on_closed };

static void net_start(struct net *net, const struct bulk_ops *ops, unsigned first_range_ms)
{
    *net = (struct net){ .ops = ops };
    fixture_start(&net->fixture);
    net->messages = fixture_listen(&net->fixture, net->address);
    CHECK_EQ(ops->listen(net->fixture.loop, net->messages, first_range_ms, 10, &handler, &net->server, &net->listener),
             0);
}

static void net_end(struct net *net)
{
    net->ops->listener_close(net->listener);
    endpoint_listener_close(net->messages);
    if (net->client.bulk != NULL) {
        bulk_close(net->client.bulk);
    }
    if (net->server.bulk != NULL) {
        bulk_close(net->server.bulk);
    }
    fixture_end(&net->fixture);
    CHECK_EQ(net->server.closed, net->server.opened);
}

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
    CHECK_EQ(net->ops->dial(net->fixture.loop, net->address, 5000, &handler, &net->client, &net->client.bulk), 0);
    struct bulk_range range = { 1, 0, 1 };
    CHECK_EQ(bulk_send(net->client.bulk, &range, ""), ROOST_ESTATE); /* not open yet */
    loop_timer_arm(&net->fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(net->fixture.loop, opened_both, net);
    loop_run(net->fixture.loop);
    loop_on_turn_end(net->fixture.loop, NULL, NULL);
    loop_timer_disarm(&net->fixture.guard);
}

/* A bare socket that has said `words` and nothing else. */
static int bare_connect(const struct net *net, const char *words)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(endpoint_listener_address(net->messages)->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 10 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(write(fd, words, strlen(words)), (ssize_t)strlen(words));
    return fd;
}

static void fill(unsigned char *memory, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        memory[i] = (unsigned char)(i * 31 + (i >> 13) + seed);
    }
}

static unsigned char *map_memfd(size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, (off_t)size), 0);
    unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED);
    close(fd);
    return memory;
}

/* Each test is a function of the implementation. */
#define BULK_TEST(name_)                                               \
    static void name_##_with(const struct bulk_ops *ops);              \
    TEST(bulk, name_)                                                  \
    {                                                                  \
        for (size_t i = 0; i < ROOST_COUNT_OF(implementations); i++) { \
            name_##_with(implementations[i]);                          \
        }                                                              \
    }                                                                  \
    static void name_##_with(const struct bulk_ops *ops)

BULK_TEST(moves_ranges_of_every_awkward_size_both_ways_in_order)
{
    static const size_t sizes[] = { 1,
                                    31,
                                    32,
                                    33,
                                    65536,
                                    PULL_CHUNK_BYTES - 33,
                                    PULL_CHUNK_BYTES - 1,
                                    PULL_CHUNK_BYTES,
                                    PULL_CHUNK_BYTES + 1,
                                    3 * PULL_CHUNK_BYTES + 7,
                                    1,
                                    5 };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    size_t total = 0;
    for (size_t i = 0; i < SIZES; i++) {
        total += sizes[i];
    }
    struct net net;
    net_start(&net, ops, 0);
    unsigned char *from[2] = { map_memfd(total), map_memfd(total) };
    net.server.memory = map_memfd(total);
    net.client.memory = map_memfd(total);
    net.server.memory_bytes = net.client.memory_bytes = total;
    net.server.received_wanted = net.client.received_wanted = SIZES;
    fill(from[0], total, 1);
    fill(from[1], total, 2);
    net_connect(&net);
    size_t offset = 0;
    for (size_t i = 0; i < SIZES; offset += sizes[i++]) {
        struct bulk_range range = { 100 + i, offset, sizes[i] };
        CHECK_EQ(bulk_send(net.client.bulk, &range, from[0] + offset), 0);
        CHECK_EQ(bulk_send(net.server.bulk, &range, from[1] + offset), 0);
    }
    net_wait(&net, &net.server);
    net_wait(&net, &net.client);
    CHECK_EQ(memcmp(net.server.memory, from[0], total), 0);
    CHECK_EQ(memcmp(net.client.memory, from[1], total), 0);
    for (size_t i = 0; i < SIZES; i++) {
        CHECK_EQ(net.server.tokens_received[i], 100 + i);
        CHECK_EQ(net.client.tokens_received[i], 100 + i);
    }
    CHECK_EQ(net.server.progress_calls, 1 + 3);
    munmap(from[0], total);
    munmap(from[1], total);
    munmap(net.server.memory, total);
    munmap(net.client.memory, total);
    net.server.received_wanted = net.client.received_wanted = 0;
    net_end(&net);
    CHECK_EQ(net.client.sent, SIZES);
    CHECK_EQ(net.client.sent_bad, 0);
}

BULK_TEST(moves_many_small_ranges_through_a_full_queue)
{
    enum { RANGES = 5000 };
    static unsigned char from[RANGES], to[RANGES];
    struct net net;
    net_start(&net, ops, 0);
    fill(from, sizeof from, 3);
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    net.server.received_wanted = RANGES;
    net_connect(&net);
    int refused = 0;
    for (size_t i = 0; i < RANGES;) {
        struct bulk_range range = { i, i, 1 };
        int status = bulk_send(net.client.bulk, &range, from + i);
        if (status == 0) {
            i++;
            continue;
        }
        CHECK_EQ(status, ROOST_EBUSY);
        refused++;
        net.client.sent_wanted = net.client.sent + 1;
        net.client.done = false;
        net_wait(&net, &net.client);
    }
    CHECK(refused > 0);
    net.client.sent_wanted = 0;
    net_wait(&net, &net.server);
    CHECK_EQ(memcmp(from, to, sizeof to), 0);
    net.server.received_wanted = 0;
    net_end(&net);
}

BULK_TEST(throws_away_what_has_no_place_and_goes_on)
{
    static unsigned char bytes[3 << 20], to[10];
    struct net net;
    net_start(&net, ops, 0);
    net_connect(&net);
    struct bulk_range unwanted = { 1, 0, sizeof bytes }, wanted = { 2, 0, sizeof to };
    fill(bytes, sizeof bytes, 4);
    CHECK_EQ(bulk_send(net.client.bulk, &unwanted, bytes), 0);
    net.client.sent_wanted = 1;
    net_wait(&net, &net.client);
    while (net.server.asked == 0) { /* turns, until the header is in */
        net.client.sent_wanted = 0;
        struct bulk_range small = { 3, 0, 1 };
        CHECK_EQ(bulk_send(net.client.bulk, &small, bytes), 0);
        net.client.sent_wanted = net.client.sent + 1;
        net_wait(&net, &net.client);
    }
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    int earlier = net.server.received;
    CHECK_EQ(bulk_send(net.client.bulk, &wanted, bytes + 5), 0);
    while (net.server.last.token != 2) {
        net.server.received_wanted = ++earlier;
        net_wait(&net, &net.server);
    }
    CHECK_EQ(memcmp(to, bytes + 5, sizeof to), 0);
    CHECK_EQ(net.server.received_bad, 0);
    net.server.received_wanted = net.client.sent_wanted = 0;
    net_end(&net);
}

/* Small ranges share a frame: some have a place, some are thrown away, and a large one comes in between. */
BULK_TEST(a_frame_mixes_ranges_that_are_kept_and_thrown_away)
{
    enum { RANGES = 40, RANGE_BYTES = 100000, LARGE = 20 };
    static unsigned char from[RANGES * RANGE_BYTES + 2 * PULL_CHUNK_BYTES], to[sizeof from];
    struct net net;
    net_start(&net, ops, 0);
    fill(from, sizeof from, 5);
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    net.server.throws_away_odd = true;
    net_connect(&net);
    size_t offset = 0;
    for (uint64_t i = 0; i < RANGES; i++) {
        struct bulk_range range = { i, offset, i == LARGE ? 2 * PULL_CHUNK_BYTES : RANGE_BYTES };
        CHECK_EQ(bulk_send(net.client.bulk, &range, from + offset), 0);
        offset += range.size;
    }
    net.server.received_wanted = RANGES / 2;
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.last.token, RANGES - 2);
    offset = 0;
    for (uint64_t i = 0; i < RANGES; i++) {
        size_t size = i == LARGE ? 2 * PULL_CHUNK_BYTES : RANGE_BYTES;
        static const unsigned char nothing[RANGE_BYTES];
        CHECK_EQ(memcmp(to + offset, i % 2 == 1 ? nothing : from + offset, size), 0);
        offset += size;
    }
    net.server.received_wanted = 0;
    net_end(&net);
    CHECK_EQ(net.client.sent, RANGES);
}

BULK_TEST(a_refused_range_ends_the_connection_and_every_range_with_it)
{
    static unsigned char bytes[8 << 20];
    struct net net;
    net_start(&net, ops, 0);
    net.server.refuses_with = ROOST_ENOENT;
    net_connect(&net);
    for (uint64_t i = 0; i < 5; i++) {
        struct bulk_range range = { 0xabc, 0, sizeof bytes };
        CHECK_EQ(bulk_send(net.client.bulk, &range, bytes), 0);
    }
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ENOENT);
    CHECK(strstr(net.server.text, "the transfer abc from 127.0.0.1:") != NULL);
    CHECK_EQ(net.server.asked, 1);
    CHECK_EQ(net.server.received + net.server.received_bad, 0);
    net_wait(&net, &net.client);
    CHECK_EQ(net.client.status, ROOST_EDISCONNECTED);
    CHECK_EQ(net.client.sent + net.client.sent_bad, 5);
    CHECK(net.client.sent_bad >= 4);
    net_end(&net);
}

/* The words of a header, the rest is 0. */
static void expect_cut(const struct bulk_ops *ops, const uint64_t words[HEADER_WORDS])
{
    struct net net;
    net_start(&net, ops, 0);
    int fd = bare_connect(&net, "RBLK");
    CHECK_EQ(write(fd, words, 8 * HEADER_WORDS), 8 * HEADER_WORDS);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_EINVAL);
    CHECK_EQ(net.server.asked, 0);
    close(fd);
    net_end(&net);
}

BULK_TEST(cuts_a_peer_whose_header_is_none)
{
    const uint64_t one = htole64(one_range), two = htole64(one_range + (UINT64_C(1) << 32)), bytes = htole64(8);
    const uint64_t most = htole64(ROOST_OBJECT_BYTES_MAX), chunk = htole64(PULL_CHUNK_BYTES);
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ 0 });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ htole64(0x4b4c4252), 1, 0, bytes }); /* no range */
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ htole64(UINT64_C(8) << 32 | 0x4b4c4252), 1, 0, bytes, 1, 0, bytes });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ htole64(UINT64_MAX << 32 | 0x4b4c4252), 1, 0, bytes });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ one, 1, 0, 0 });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ one, 1, htole64(1), most });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ one, 1, htole64(UINT64_MAX), htole64(2) });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ two, 1, 0, bytes, 2, 0, 0 });
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ two, 1, 0, bytes, 2, 0, chunk }); /* more than a chunk, shared */
    expect_cut(ops, (uint64_t[HEADER_WORDS]){ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX });
}

BULK_TEST(reads_a_header_that_comes_in_pieces_behind_a_range)
{
    static unsigned char to[16];
    struct net net;
    net_start(&net, ops, 0);
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    int fd = bare_connect(&net, "RBLK");
    struct {
        uint64_t first[HEADER_WORDS];
        char bytes[8];
        uint64_t second[HEADER_WORDS];
        char more[8];
    } wire = { { htole64(one_range), 1, 0, htole64(8) },
               "firstly",
               { htole64(one_range), 2, htole64(8), htole64(8) },
               "further" };
    enum { CUT = 8 * HEADER_WORDS + 8 + 10 }; /* in the second header */
    CHECK_EQ(write(fd, &wire, CUT), CUT);
    net.server.received_wanted = 1;
    net_wait(&net, &net.server);
    CHECK_EQ(write(fd, (char *)&wire + CUT, sizeof wire - CUT), sizeof wire - CUT);
    net.server.received_wanted = 2;
    net_wait(&net, &net.server);
    CHECK_EQ(memcmp(to, "firstly\0further", 16), 0);
    close(fd);
    net.server.received_wanted = 0;
    net_end(&net);
}

BULK_TEST(a_peer_that_goes_in_the_middle_of_a_range_ends_it_once)
{
    struct net net;
    net_start(&net, ops, 0);
    net.server.memory_bytes = 9 << 20;
    net.server.memory = malloc(net.server.memory_bytes);
    net.server.frees_when_over = true;
    int fd = bare_connect(&net, "RBLK");
    uint64_t words[HEADER_WORDS] = { htole64(one_range), 7, 0, htole64(9 << 20) };
    static unsigned char some[5 << 20];
    CHECK_EQ(write(fd, words, sizeof words), sizeof words);
    net.server.memory[0] = 1;
    CHECK(send(fd, some, sizeof some, MSG_DONTWAIT) > 0);
    close(fd);
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_EDISCONNECTED);
    CHECK_EQ(net.server.received, 0);
    CHECK_EQ(net.server.received_bad, 1);
    CHECK_EQ(net.server.last.token, 7);
    CHECK(net.server.memory == NULL);
    net_end(&net);
}

BULK_TEST(may_be_closed_with_traffic_in_flight)
{
    static unsigned char bytes[10 << 20];
    for (int round = 0; round < 30; round++) {
        struct net net;
        net_start(&net, ops, 0);
        net.server.memory_bytes = sizeof bytes;
        net.server.memory = malloc(sizeof bytes);
        net.server.frees_when_over = true;
        net.server.closes_when_asked = round % 5 == 4;
        net_connect(&net);
        for (uint64_t i = 0; i < 20; i++) {
            struct bulk_range range = { i, 0, round % 2 == 0 ? sizeof bytes : 70000 };
            CHECK_EQ(bulk_send(net.client.bulk, &range, bytes), 0);
        }
        if (round % 5 != 4) {
            net.server.received_wanted = 1 + round % 3;
            net_wait(&net, &net.server);
            net.server.received_wanted = 0;
            bulk_close(round % 3 == 0 ? net.client.bulk : net.server.bulk);
        }
        net_wait(&net, &net.client);
        CHECK_EQ(net.client.closed, 1);
        CHECK_EQ(net.client.sent + net.client.sent_bad, 20);
        if (net.server.closed == 0) {
            net.server.done = false;
            net_wait(&net, &net.server);
        }
        CHECK(net.server.received_bad <= FRAME_RANGES);
        CHECK_EQ(net.server.asked, net.server.received + net.server.received_bad);
        free(net.server.memory);
        net_end(&net);
    }
}

BULK_TEST(two_hundred_connections_come_and_go_without_a_trace)
{
    static unsigned char to[100];
    struct net net;
    net_start(&net, ops, 0);
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    for (int i = 0; i < 200; i++) {
        net.client = (struct end){ .opened = 0 };
        net.server.opened = net.server.closed = 0;
        net_connect(&net);
        struct bulk_range range = { 1, 0, sizeof to };
        if (i % 2 == 0) {
            CHECK_EQ(bulk_send(net.client.bulk, &range, to), 0);
        }
        bulk_close(i % 4 < 2 ? net.client.bulk : net.server.bulk);
        net_wait(&net, &net.client);
        net.server.done = net.server.closed > 0;
        net_wait(&net, &net.server);
        CHECK_EQ(net.client.sent + net.client.sent_bad, i % 2 == 0);
    }
    net_end(&net);
}

BULK_TEST(checks_what_it_is_told_to_send)
{
    struct net net;
    net_start(&net, ops, 0);
    net_connect(&net);
    CHECK_EQ(bulk_send(net.client.bulk, &(struct bulk_range){ 1, 0, 0 }, ""), ROOST_EINVAL);
    CHECK_EQ(bulk_send(net.client.bulk, &(struct bulk_range){ 1, UINT64_MAX, 2 }, ""), ROOST_EINVAL);
    CHECK_EQ(bulk_send(net.client.bulk, &(struct bulk_range){ 1, 0, ROOST_OBJECT_BYTES_MAX + 1 }, ""), ROOST_EINVAL);
    CHECK(strncmp(bulk_peer(net.client.bulk), "127.0.0.1:", 10) == 0);
    bulk_close(net.client.bulk);
    CHECK_EQ(bulk_send(net.client.bulk, &(struct bulk_range){ 1, 0, 1 }, ""), ROOST_ESTATE);
    bulk_close(net.client.bulk);
    net_wait(&net, &net.client);
    CHECK_EQ(net.client.status, ROOST_ECANCELED);
    CHECK_EQ(net.client.closed, 1);
    net_end(&net);
}

BULK_TEST(closes_a_connection_that_stays_silent)
{
    struct net net;
    net_start(&net, ops, 30);
    int fd = bare_connect(&net, "RBLK");
    net_wait(&net, &net.server);
    CHECK_EQ(net.server.status, ROOST_ETIMEDOUT);
    close(fd);
    net_end(&net);
}

BULK_TEST(says_when_nobody_listens)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct end end = { .opened = 0 };
    CHECK_EQ(ops->dial(fixture.loop, "nonsense", 1000, &handler, &end, &end.bulk), ROOST_EINVAL);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0); /* bound, not listening */
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(address.sin_port));
    CHECK_EQ(ops->dial(fixture.loop, text, 5000, &handler, &end, &end.bulk), 0);
    fixture_run(&fixture, &end.done);
    CHECK_EQ(end.status, ROOST_ECONNECT);
    CHECK_EQ(end.opened, 0);
    CHECK_EQ(end.closed, 1);
    close(fd);
    fixture_end(&fixture);
}

/* ---- beside messages */

struct talk { /* the server's half of connections in frames */
    int opened, closed, status, frames, opened_wanted;
    bool done; /* a connection has closed, a frame has come, or as many as wanted have opened */
};

static void on_talk_open(struct endpoint *endpoint, void *arg)
{
    struct talk *talk = arg;
    (void)endpoint;
    talk->done |= ++talk->opened == talk->opened_wanted;
}

static void on_talk_frame(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    struct talk *talk = arg;
    (void)data;
    talk->frames++;
    talk->done = true;
    CHECK_EQ(endpoint_send(endpoint, &(struct endpoint_piece){ data, size }, 1), 0);
}

static void on_talk_closed(struct endpoint *endpoint, void *arg, int status)
{
    struct talk *talk = arg;
    (void)endpoint;
    talk->closed++;
    talk->status = status;
    talk->done = true;
}

static const struct endpoint_handler talk_handler = { on_talk_open, on_talk_frame, NULL, on_talk_closed };

static void talk_start(struct net *net, const struct bulk_ops *ops, struct talk *talk, unsigned first_frame_ms)
{
    *net = (struct net){ .ops = ops };
    *talk = (struct talk){ .opened = 0 };
    fixture_start(&net->fixture);
    CHECK_EQ(
        endpoint_listen(net->fixture.loop, "127.0.0.1", 0, first_frame_ms, 100, 1, &talk_handler, talk, &net->messages),
        0);
    address_print(endpoint_listener_address(net->messages), net->address);
    CHECK_EQ(ops->listen(net->fixture.loop, net->messages, 0, 1, &handler, &net->server, &net->listener), 0);
}

static void talk_wait(struct net *net, struct talk *talk)
{
    fixture_run(&net->fixture, &talk->done);
    talk->done = false;
}

/* One of each kind at a time is what the two limits allow together. */
BULK_TEST(comes_in_at_the_port_of_messages_which_go_on_beside_it)
{
    static unsigned char bytes[100000], to[sizeof bytes];
    char answer[5];
    struct net net;
    struct talk talk;
    talk_start(&net, ops, &talk, 0);
    fill(bytes, sizeof bytes, 6);
    int fd = bare_connect(&net, "\1"); /* no whole length yet */
    net_connect(&net);
    CHECK_EQ(talk.opened, 2); /* who has said nothing may be anyone */
    CHECK_EQ(talk.closed, 1);
    CHECK_EQ(talk.status, ROOST_ECANCELED);
    talk.done = false;
    CHECK_EQ(write(fd, "\0\0\0h", 4), 4);
    talk_wait(&net, &talk);
    net.server.memory = to;
    net.server.memory_bytes = sizeof to;
    net.server.received_wanted = 1;
    CHECK_EQ(bulk_send(net.client.bulk, &(struct bulk_range){ 1, 0, sizeof bytes }, bytes), 0);
    net_wait(&net, &net.server);
    CHECK_EQ(memcmp(to, bytes, sizeof to), 0);
    CHECK_EQ(recv(fd, answer, sizeof answer, MSG_WAITALL), 5);
    CHECK_EQ(memcmp(answer, "\1\0\0\0h", 5), 0);
    CHECK_EQ(write(fd, "\4\0\0\0RBLK", 8), 8); /* a frame, in the middle of others */
    talk_wait(&net, &talk);
    CHECK_EQ(talk.frames, 2);
    close(fd);
    talk_wait(&net, &talk);
    CHECK_EQ(talk.closed, 2);
    net.server.received_wanted = 0;
    net_end(&net);
}

BULK_TEST(a_stranger_in_the_middle_of_its_first_word_outlives_both_listeners)
{
    char byte;
    struct net net;
    struct talk talk;
    talk_start(&net, ops, &talk, 0);
    int early = bare_connect(&net, "RB"), late = bare_connect(&net, "RBL");
    talk.opened_wanted = 2;
    talk_wait(&net, &talk);
    ops->listener_close(net.listener);
    net.listener = NULL;
    CHECK_EQ(write(early, "LK", 2), 2);
    talk_wait(&net, &talk);
    CHECK_EQ(talk.status, ROOST_ETOOBIG); /* a length as any other */
    endpoint_listener_close(net.messages);
    net.messages = NULL;
    CHECK_EQ(write(late, "K", 1), 1);
    talk_wait(&net, &talk);
    CHECK_EQ(talk.status, ROOST_ETOOBIG);
    CHECK(read(late, &byte, 1) <= 0);
    CHECK_EQ(net.server.opened, 0);
    close(early);
    close(late);
    net_end(&net);
}

BULK_TEST(is_cut_when_its_first_word_does_not_come_in_time)
{
    struct net net;
    struct talk talk;
    talk_start(&net, ops, &talk, 30);
    int fd = bare_connect(&net, "RBL");
    talk_wait(&net, &talk);
    CHECK_EQ(talk.status, ROOST_ETIMEDOUT);
    CHECK_EQ(net.server.opened, 0);
    close(fd);
    net_end(&net);
}
