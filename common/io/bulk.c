/* bulk.c - ranges of memory over a stream
 *
 * Owns each bulk connection: the queue of ranges to send, and the range that is arriving.
 *
 * Happy path: open -> send: (header + chunk, chunk*)*; receive: (header, (chunk)*)* -> close -> on_closed -> freed. The
 *             wire:   32 bytes, little-endian: magic, 0, token, offset, size; then the bytes. The last chunk of a range
 *             is received together with what has come of the next header, which saves a system call and a hop per
 *             range.
 * Failures:   no header, refused by on_range, the stream fails -> closing; every range under way gets that status once
 *             the stream is quiet, so nobody writes into its memory any more; then on_closed.
 * Invariants: one send and one receive at most; ranges end in the order in which they began.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "bulk"
#include "common/io/bulk.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "common/io/stream_internal.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/log.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 32, SCRATCH_BYTES = 64 << 10, BULK_MAGIC = 0x4b4c4252 /* "RBLK" */ };

enum bulk_state { BULK_CONNECTING = 1, BULK_OPEN, BULK_CLOSING };

struct bulk_out {
    struct list_node node;
    struct bulk_range range;
    const unsigned char *data;
    uint64_t sent_bytes;
    bool header_sent;
};

struct bulk_stream {
    struct bulk base;
    struct loop *loop;
    const struct bulk_handler *handler;
    enum bulk_state state;
    struct stream_dial *dial;
    struct stream *stream;
    struct loop_timer deadline;

    struct list_node queue; /* of bulk_out; the first is under way when `sending` */
    unsigned queue_count;
    bool sending;
    unsigned char out_header[HEADER_BYTES];

    unsigned char in_header[HEADER_BYTES];
    size_t in_header_bytes;
    bool in_range; /* a header has been read and not all its bytes */
    struct bulk_range range;
    unsigned char *to;      /* NULL: thrown away */
    unsigned char *scratch; /* for what is thrown away; made when first needed */
    uint64_t received_bytes;
    uint64_t asked_bytes; /* of the range, in the receive under way */

    int status;
    char text[ERROR_TEXT_BYTES / 2];
    char peer[ADDRESS_TEXT_BYTES];
};

struct bulk_listener {
    struct loop *loop;
    struct stream_listener *stream_listener;
    const struct bulk_handler *handler;
    void *arg;
    unsigned first_range_ms;
};

static struct bulk_stream *bulk_of(struct bulk *base) { return CONTAINER_OF(base, struct bulk_stream, base); }

/* ------------------------------------------------------------------------------------------ end */

static void bulk_free(struct bulk_stream *bulk)
{
    loop_timer_disarm(&bulk->deadline);
    free(bulk->scratch);
    free(bulk);
}

static void end_out(struct bulk_stream *bulk, int status)
{
    struct bulk_out *out = CONTAINER_OF(bulk->queue.next, struct bulk_out, node);
    struct bulk_range range = out->range;
    list_remove(&out->node);
    free(out);
    bulk->queue_count--;
    bulk->handler->on_sent(&bulk->base, bulk->base.arg, &range, status);
}

static void end_in(struct bulk_stream *bulk, int status)
{
    bulk->in_range = false;
    if (bulk->to != NULL) {
        bulk->to = NULL;
        bulk->handler->on_received(&bulk->base, bulk->base.arg, &bulk->range, status);
    }
}

/* The stream is gone, nothing touches anybody's memory. */
static void on_stream_closed(void *arg)
{
    struct bulk_stream *bulk = arg;
    if (bulk->in_range) {
        end_in(bulk, bulk->status);
    }
    while (!list_is_empty(&bulk->queue)) {
        end_out(bulk, bulk->status);
    }
    error_set(bulk->status, "%s", bulk->text);
    bulk->handler->on_closed(&bulk->base, bulk->base.arg, bulk->status);
    bulk_free(bulk);
}

/* error_text() holds the reason. */
static void end_with(struct bulk_stream *bulk, int status)
{
    if (bulk->state == BULK_CLOSING) {
        return;
    }
    bool is_connecting = bulk->state == BULK_CONNECTING;
    bulk->state = BULK_CLOSING;
    bulk->status = status;
    snprintf(bulk->text, sizeof bulk->text, "%s", error_text());
    log_debug("event=closing peer=%s status=%s why=\"%s\"", bulk->peer, error_code_name(status), bulk->text);
    loop_timer_disarm(&bulk->deadline);
    if (is_connecting) {
        stream_dial_cancel(bulk->dial);
    } else {
        stream_close(bulk->stream, on_stream_closed, bulk);
    }
}

static void stream_bulk_close(struct bulk *base)
{
    struct bulk_stream *bulk = bulk_of(base);
    if (bulk->state != BULK_CLOSING) {
        end_with(bulk, error_set(ROOST_ECANCELED, "the transfer with %s was closed here", bulk->peer));
    }
}

static void on_deadline(void *arg)
{
    struct bulk_stream *bulk = arg;
    end_with(bulk, error_set(ROOST_ETIMEDOUT, "%s connected and moved nothing in time", bulk->peer));
}

/* ------------------------------------------------------------------------------------------ sending */

static bool range_is_valid(const struct bulk_range *range)
{
    return range->size > 0 && range_is_inside(range->offset, range->size, ROOST_OBJECT_BYTES_MAX);
}

static void put_header(const struct bulk_range *range, unsigned char header_out[HEADER_BYTES])
{
    uint64_t words[4] = { htole64(BULK_MAGIC), htole64(range->token), htole64(range->offset), htole64(range->size) };
    _Static_assert(sizeof words == HEADER_BYTES, "the header is four words");
    memcpy(header_out, words, sizeof words);
}

static void on_sent(void *arg, int status, size_t bytes);

/* The header and the first chunk of the next range, or the next chunk of the one under way. */
static void send_more(struct bulk_stream *bulk)
{
    if (bulk->sending || list_is_empty(&bulk->queue)) {
        return;
    }
    struct bulk_out *out = CONTAINER_OF(bulk->queue.next, struct bulk_out, node);
    uint64_t left = out->range.size - out->sent_bytes;
    size_t chunk = left < PULL_CHUNK_BYTES ? (size_t)left : PULL_CHUNK_BYTES;
    struct iovec iov[2];
    size_t count = 0;
    if (!out->header_sent) {
        put_header(&out->range, bulk->out_header);
        iov[count++] = (struct iovec){ bulk->out_header, HEADER_BYTES };
    }
    iov[count++] = (struct iovec){ (void *)(uintptr_t)(out->data + out->sent_bytes), chunk };
    bulk->sending = true;
    stream_send(bulk->stream, iov, count, on_sent, bulk);
}

static void on_sent(void *arg, int status, size_t bytes)
{
    struct bulk_stream *bulk = arg;
    bulk->sending = false;
    if (status != 0) {
        end_with(bulk, status);
    }
    if (bulk->state == BULK_CLOSING) {
        return;
    }
    struct bulk_out *out = CONTAINER_OF(bulk->queue.next, struct bulk_out, node);
    out->sent_bytes += bytes - (out->header_sent ? 0 : HEADER_BYTES);
    out->header_sent = true;
    if (out->sent_bytes == out->range.size) {
        end_out(bulk, 0);
    } else if (bulk->handler->on_progress != NULL) {
        bulk->handler->on_progress(&bulk->base, bulk->base.arg, &out->range, out->sent_bytes, true);
    }
    if (bulk->state == BULK_OPEN) {
        send_more(bulk);
    }
}

static int stream_bulk_send(struct bulk *base, const struct bulk_range *range, const void *data)
{
    struct bulk_stream *bulk = bulk_of(base);
    if (!range_is_valid(range)) {
        return error_set(ROOST_EINVAL, "a transfer of %llu bytes at %llu", (unsigned long long)range->size,
                         (unsigned long long)range->offset);
    }
    if (bulk->state != BULK_OPEN) {
        return error_set(ROOST_ESTATE, "the transfer connection with %s is not open", bulk->peer);
    }
    if (bulk->queue_count == BULK_QUEUE_MAX) {
        return error_set(ROOST_EBUSY, "%u transfers to %s wait already", bulk->queue_count, bulk->peer);
    }
    struct bulk_out *out = calloc(1, sizeof *out);
    if (out == NULL) {
        return error_set(ROOST_ENOMEM, "queueing a transfer: out of memory");
    }
    out->range = *range;
    out->data = data;
    list_append(&bulk->queue, &out->node);
    bulk->queue_count++;
    loop_timer_disarm(&bulk->deadline);
    send_more(bulk);
    return 0;
}

/* ------------------------------------------------------------------------------------------ receiving */

static void receive_more(struct bulk_stream *bulk);

/* False, and the connection ended, when these 32 bytes are no header. */
static bool read_header(struct bulk_stream *bulk)
{
    uint64_t words[4];
    memcpy(words, bulk->in_header, sizeof words);
    bulk->in_header_bytes = 0;
    bulk->range = (struct bulk_range){ le64toh(words[1]), le64toh(words[2]), le64toh(words[3]) };
    if (le64toh(words[0]) != BULK_MAGIC || !range_is_valid(&bulk->range)) {
        end_with(bulk, error_set(ROOST_EINVAL, "%s sent what is no transfer", bulk->peer));
        return false;
    }
    return true;
}

static void make_scratch(struct bulk_stream *bulk)
{
    if (bulk->scratch == NULL) {
        bulk->scratch = malloc(SCRATCH_BYTES);
    }
    if (bulk->scratch == NULL) {
        end_with(bulk, error_set(ROOST_ENOMEM, "throwing away a transfer: out of memory"));
    }
}

/* A new range: ask where it goes. */
static void start_range(struct bulk_stream *bulk)
{
    if (!read_header(bulk)) {
        return;
    }
    loop_timer_disarm(&bulk->deadline);
    void *to = NULL;
    int status = bulk->handler->on_range(&bulk->base, bulk->base.arg, &bulk->range, &to);
    if (status != 0) {
        end_with(bulk, error_set(status, "the transfer %llx from %s was refused", (unsigned long long)bulk->range.token,
                                 bulk->peer));
        return;
    }
    bulk->to = to;
    bulk->in_range = true;
    bulk->received_bytes = 0;
    if (to == NULL) {
        make_scratch(bulk);
    }
}

static void took_bytes(struct bulk_stream *bulk)
{
    bulk->received_bytes += bulk->asked_bytes;
    if (bulk->received_bytes == bulk->range.size) {
        end_in(bulk, 0);
    } else if (bulk->to != NULL && bulk->handler->on_progress != NULL) {
        bulk->handler->on_progress(&bulk->base, bulk->base.arg, &bulk->range, bulk->received_bytes, false);
    }
}

static void on_received(void *arg, int status, size_t bytes)
{
    struct bulk_stream *bulk = arg;
    if (status != 0) {
        end_with(bulk, status);
    }
    if (bulk->state == BULK_CLOSING) {
        return;
    }
    ROOST_INVARIANT(bytes >= bulk->asked_bytes);
    bulk->in_header_bytes += bytes - bulk->asked_bytes;
    if (bulk->in_range) {
        took_bytes(bulk);
    }
    if (bulk->state == BULK_OPEN && bulk->in_header_bytes == HEADER_BYTES) {
        start_range(bulk);
    }
    if (bulk->state == BULK_OPEN) {
        receive_more(bulk);
    }
}

/* Up to STREAM_IOVS_MAX - 1 pieces at the same scratch memory, or one at the right place. Returns how many. */
static size_t place_pieces(struct bulk_stream *bulk, struct iovec *iov)
{
    uint64_t left = bulk->range.size - bulk->received_bytes;
    bulk->asked_bytes = 0;
    if (bulk->to != NULL) {
        bulk->asked_bytes = left < PULL_CHUNK_BYTES ? left : PULL_CHUNK_BYTES;
        iov[0] = (struct iovec){ bulk->to + bulk->received_bytes, (size_t)bulk->asked_bytes };
        return 1;
    }
    size_t count = 0;
    while (left > 0 && count < STREAM_IOVS_MAX - 1) {
        size_t piece = left < SCRATCH_BYTES ? (size_t)left : SCRATCH_BYTES;
        iov[count++] = (struct iovec){ bulk->scratch, piece };
        bulk->asked_bytes += piece;
        left -= piece;
    }
    return count;
}

static void receive_more(struct bulk_stream *bulk)
{
    struct iovec iov[STREAM_IOVS_MAX];
    size_t count = 0, min_bytes;
    bulk->asked_bytes = 0;
    bool reads_header = true;
    if (bulk->in_range) {
        count = place_pieces(bulk, iov);
        reads_header = bulk->received_bytes + bulk->asked_bytes == bulk->range.size;
    }
    min_bytes = (size_t)bulk->asked_bytes;
    if (reads_header) {
        size_t missing = HEADER_BYTES - bulk->in_header_bytes;
        iov[count++] = (struct iovec){ bulk->in_header + bulk->in_header_bytes, missing };
        min_bytes = bulk->in_range ? min_bytes : missing;
    }
    stream_receive(bulk->stream, iov, count, min_bytes, on_received, bulk);
}

/* ------------------------------------------------------------------------------------------ begin */

static struct bulk_stream *bulk_create(struct loop *loop, const struct bulk_handler *handler, void *arg)
{
    struct bulk_stream *bulk = calloc(1, sizeof *bulk);
    if (bulk == NULL) {
        return NULL;
    }
    bulk->base = (struct bulk){ &bulk_stream_ops, arg };
    bulk->loop = loop;
    bulk->handler = handler;
    bulk->state = BULK_CONNECTING;
    list_init(&bulk->queue);
    loop_timer_init(&bulk->deadline, loop, on_deadline, bulk);
    return bulk;
}

static void opened(struct bulk_stream *bulk, struct stream *stream)
{
    bulk->stream = stream;
    bulk->state = BULK_OPEN;
    snprintf(bulk->peer, sizeof bulk->peer, "%s", stream_peer(stream));
    log_debug("event=open peer=%s", bulk->peer);
    receive_more(bulk);
    bulk->handler->on_open(&bulk->base, bulk->base.arg);
}

static void on_dialed(void *arg, int status, struct stream *stream)
{
    struct bulk_stream *bulk = arg;
    bulk->dial = NULL;
    if (status == 0 && bulk->state == BULK_CONNECTING) {
        opened(bulk, stream);
        return;
    }
    ROOST_INVARIANT(status != 0); /* a dial that was given up gives no stream */
    if (bulk->state == BULK_CONNECTING) {
        bulk->state = BULK_CLOSING;
        bulk->status = status;
        snprintf(bulk->text, sizeof bulk->text, "%s", error_text());
    }
    on_stream_closed(bulk);
}

static int stream_bulk_dial(struct loop *loop, const char *address, unsigned timeout_ms,
                            const struct bulk_handler *handler, void *arg, struct bulk **bulk_out)
{
    struct address target;
    int status = address_parse(address, &target);
    if (status != 0) {
        return status;
    }
    struct bulk_stream *bulk = bulk_create(loop, handler, arg);
    if (bulk == NULL) {
        return error_set(ROOST_ENOMEM, "connecting to %s: out of memory", address);
    }
    address_print(&target, bulk->peer);
    status = stream_dial(loop, &target, timeout_ms, on_dialed, bulk, &bulk->dial);
    if (status != 0) {
        bulk_free(bulk);
        return status;
    }
    *bulk_out = &bulk->base;
    return 0;
}

static void ignore_closed(void *arg) { (void)arg; }

static void on_accepted(void *arg, struct stream *stream)
{
    struct bulk_listener *listener = arg;
    struct bulk_stream *bulk = bulk_create(listener->loop, listener->handler, listener->arg);
    if (bulk == NULL) {
        log_warn("event=refused peer=%s why=\"out of memory\"", stream_peer(stream));
        stream_close(stream, ignore_closed, NULL);
        return;
    }
    if (listener->first_range_ms > 0) {
        loop_timer_arm(&bulk->deadline, loop_now_ns() + listener->first_range_ms * UINT64_C(1000000));
    }
    opened(bulk, stream);
}

static int stream_bulk_listen(struct loop *loop, const char *host, unsigned port, unsigned first_range_ms,
                              unsigned connections_max, const struct bulk_handler *handler, void *arg,
                              struct bulk_listener **listener_out)
{
    struct address address;
    int status = address_make(host, port, &address);
    if (status != 0) {
        return status;
    }
    struct bulk_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return error_set(ROOST_ENOMEM, "listening on %s: out of memory", host);
    }
    *listener = (struct bulk_listener){ loop, NULL, handler, arg, first_range_ms };
    status = stream_listen(loop, &address, connections_max, on_accepted, listener, &listener->stream_listener);
    if (status != 0) {
        free(listener);
        return status;
    }
    *listener_out = listener;
    return 0;
}

static const struct address *stream_bulk_listener_address(const struct bulk_listener *listener)
{
    return stream_listener_address(listener->stream_listener);
}

static void stream_bulk_listener_close(struct bulk_listener *listener)
{
    if (listener != NULL) {
        stream_listener_close(listener->stream_listener);
        free(listener);
    }
}

static const char *stream_bulk_peer(const struct bulk *base) { return bulk_of((struct bulk *)(uintptr_t)base)->peer; }

const struct bulk_ops bulk_stream_ops = {
    .name = "stream",
    .listen = stream_bulk_listen,
    .listener_address = stream_bulk_listener_address,
    .listener_close = stream_bulk_listener_close,
    .dial = stream_bulk_dial,
    .send = stream_bulk_send,
    .close = stream_bulk_close,
    .peer = stream_bulk_peer,
};
