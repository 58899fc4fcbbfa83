/* bulk_rate.c - how fast bulk connections are, beside a bare socket
 *
 * Moves 1 GiB from a memfd in one process to a memfd in another over loopback TCP, in chunks of PULL_CHUNK_BYTES, in
 * turns: with write() and read(), as one bulk range, and as one range per chunk. Prints the median of each and its
 * ratio to the bare socket. Usage: bench_bulk_rate [rounds [MiB]]
 *
 * The sender is forked off before nng is touched and takes its orders through a socket pair. */
#include "common/bytes.h"
#include "common/io/bulk.h"
#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/nng_threads.h"
#include "common/limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 101, WAYS = 3 };
static const char *const way_names[WAYS] = { "bare socket", "bulk, one range", "bulk, a range per chunk" };

struct order {
    uint32_t way; /* WAYS: the end */
    uint32_t port;
};

static size_t total_bytes = (size_t)1 << 30;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static unsigned char *map_memory(void)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)total_bytes) != 0) {
        fail("memfd");
    }
    unsigned char *memory = mmap(NULL, total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    close(fd);
    return memory;
}

static size_t chunk_at(size_t offset)
{
    return total_bytes - offset < PULL_CHUNK_BYTES ? total_bytes - offset : PULL_CHUNK_BYTES;
}

/* ---- bare sockets */

static int bare_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) {
        fail("socket");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void bare_send(const unsigned char *memory, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = bare_socket();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail("connect");
    }
    for (size_t offset = 0; offset < total_bytes;) {
        ssize_t sent = write(fd, memory + offset, chunk_at(offset));
        if (sent <= 0) {
            fail("write");
        }
        offset += (size_t)sent;
    }
    close(fd);
}

static uint64_t bare_receive(unsigned char *memory, int listener)
{
    int fd = accept(listener, NULL, NULL);
    uint64_t start_ns = loop_now_ns();
    for (size_t offset = 0; offset < total_bytes;) {
        ssize_t got = read(fd, memory + offset, chunk_at(offset));
        if (got <= 0) {
            fail("read");
        }
        offset += (size_t)got;
    }
    uint64_t took_ns = loop_now_ns() - start_ns;
    close(fd);
    return took_ns;
}

/* ---- bulk */

struct side {
    struct loop *loop;
    unsigned char *memory;
    size_t range_bytes, moved_bytes;
    uint64_t start_ns, took_ns;
    struct bulk *bulk;
};

/* Fills the queue; on_sent goes on. */
static void send_ranges(struct side *side, struct bulk *bulk)
{
    static size_t queued;
    if (side->moved_bytes == 0 && queued >= total_bytes) {
        queued = 0;
    }
    while (queued < total_bytes) {
        size_t size = total_bytes - queued < side->range_bytes ? total_bytes - queued : side->range_bytes;
        struct bulk_range range = { 1, queued, size };
        if (bulk_send(bulk, &range, side->memory + queued) != 0) {
            return;
        }
        queued += size;
    }
}

static void on_open(struct bulk *bulk, void *arg)
{
    struct side *side = arg;
    side->bulk = bulk;
    side->start_ns = loop_now_ns();
    if (side->range_bytes > 0) {
        send_ranges(side, bulk);
    }
}

static int on_range(struct bulk *bulk, void *arg, const struct bulk_range *range, void **to_out)
{
    struct side *side = arg;
    (void)bulk;
    *to_out = side->memory + range->offset;
    return 0;
}

static void on_received(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    struct side *side = arg;
    side->moved_bytes += status == 0 ? range->size : 0;
    if (side->moved_bytes == total_bytes) {
        side->took_ns = loop_now_ns() - side->start_ns;
        bulk_close(bulk);
    }
}

static void on_sent(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    struct side *side = arg;
    side->moved_bytes += range->size;
    if (status == 0) {
        send_ranges(side, bulk);
    }
}

static void on_closed(struct bulk *bulk, void *arg, int status)
{
    struct side *side = arg;
    (void)bulk, (void)status;
    loop_stop(side->loop);
}

static const struct bulk_handler handler = { on_open, on_range, on_received, on_sent, NULL, on_closed };

static void bulk_send_all(struct loop *loop, unsigned char *memory, const struct order *order)
{
    struct side side = { .loop = loop, .memory = memory };
    side.range_bytes = order->way == 1 ? total_bytes : PULL_CHUNK_BYTES;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", order->port);
    if (bulk_stream_ops.dial(loop, address, 5000, &handler, &side, &side.bulk) != 0) {
        fail("dial");
    }
    loop_run(loop);
    if (side.moved_bytes != total_bytes) {
        fail("the transfer broke off");
    }
}

/* ---- both */

static void sender(int orders)
{
    unsigned char *memory = map_memory();
    memset(memory, 0x5a, total_bytes);
    struct loop *loop;
    struct order order;
    if (loop_create(&loop) != 0 || write(orders, "r", 1) != 1) {
        fail("sender");
    }
    while (read(orders, &order, sizeof order) == sizeof order && order.way < WAYS) {
        if (order.way == 0) {
            bare_send(memory, order.port);
        } else {
            bulk_send_all(loop, memory, &order);
        }
    }
    loop_destroy(loop);
    nng_threads_end();
    exit(0);
}

static uint64_t run_bare(int orders, unsigned char *memory)
{
    int listener = bare_socket();
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    struct order order = { 0, ntohs(address.sin_port) };
    if (write(orders, &order, sizeof order) != sizeof order) {
        fail("order");
    }
    uint64_t took_ns = bare_receive(memory, listener);
    close(listener);
    return took_ns;
}

/* Of the endpoints at whose port the bulk connections come in: none speaks. */
static void on_stranger(struct endpoint *endpoint, void *arg) { (void)endpoint, (void)arg; }
static void on_frame(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    (void)endpoint, (void)arg, (void)data, (void)size;
}
static void on_stranger_over(struct endpoint *endpoint, void *arg, int status)
{
    (void)endpoint, (void)arg, (void)status;
}
static const struct endpoint_handler stranger_handler = { on_stranger, on_frame, NULL, on_stranger_over };

static uint64_t run_bulk(struct loop *loop, int orders, unsigned char *memory, unsigned way)
{
    struct side side = { .loop = loop, .memory = memory };
    struct endpoint_listener *messages;
    struct bulk_listener *listener;
    if (endpoint_listen(loop, "127.0.0.1", 0, 0, 1, 1, &stranger_handler, NULL, &messages) != 0 ||
        bulk_stream_ops.listen(loop, messages, 0, 1, &handler, &side, &listener) != 0) {
        fail("listen");
    }
    struct order order = { way, endpoint_listener_address(messages)->port };
    if (write(orders, &order, sizeof order) != sizeof order) {
        fail("order");
    }
    loop_run(loop);
    bulk_stream_ops.listener_close(listener);
    endpoint_listener_close(messages);
    return side.took_ns;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_rates(double rates[WAYS][ROUNDS_MAX], int rounds)
{
    double bare = 0;
    for (int way = 0; way < WAYS; way++) {
        qsort(rates[way], (size_t)rounds, sizeof rates[way][0], compare);
        double median = rates[way][rounds / 2];
        bare = way == 0 ? median : bare;
        printf("%-24s %6.2f GB/s (%.2f to %.2f)  %.2f of the bare socket\n", way_names[way], median, rates[way][0],
               rates[way][rounds - 1], median / bare);
    }
}

int main(int argc, char **argv)
{
    static double rates[WAYS][ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 5, orders[2];
    total_bytes = argc > 2 ? (size_t)atoi(argv[2]) << 20 : total_bytes;
    if (rounds < 1 || rounds > ROUNDS_MAX || total_bytes == 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders) != 0) {
        fprintf(stderr, "usage: bench_bulk_rate [rounds [MiB]]\n");
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        close(orders[0]);
        sender(orders[1]);
    }
    close(orders[1]);
    unsigned char *memory = map_memory();
    struct loop *loop;
    char ready;
    if (read(orders[0], &ready, 1) != 1 || loop_create(&loop) != 0) {
        fail("start");
    }
    for (int round = 0; round < rounds; round++) {
        for (unsigned way = 0; way < WAYS; way++) {
            memset(memory, 0, total_bytes);
            uint64_t took_ns = way == 0 ? run_bare(orders[0], memory) : run_bulk(loop, orders[0], memory, way);
            rates[way][round] = (double)total_bytes / (double)took_ns;
            if (memory[0] != 0x5a || memory[total_bytes / 2] != 0x5a || memory[total_bytes - 1] != 0x5a) {
                fail("the bytes are not the sender's");
            }
        }
    }
    print_rates(rates, rounds);
    struct order end = { WAYS, 0 };
    int wait_status = 1;
    if (write(orders[0], &end, sizeof end) != sizeof end || waitpid(child, &wait_status, 0) != child) {
        fail("sender");
    }
    loop_destroy(loop);
    nng_threads_end();
    return wait_status != 0;
}
