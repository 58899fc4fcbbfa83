/* bulk.c - ranges of memory over a stream
 *
 * Owns each bulk connection: the queue of ranges to send, and the ranges that are arriving.
 *
 * Happy path: open -> send: (header + chunk, chunk*)*; receive: (header, (chunk)*)* -> close -> on_closed -> freed.
 * The wire:   from the one who dials the word "RBLK", by which the port tells these connections from those of
 *             messages (endpoint.c); then frames. A header of 176 bytes, little-endian: magic, how many ranges, then
 *             token, offset and size of seven (what is not used is 0); then the bytes of the ranges, one after the
 *             other. A large range has a frame to itself; small ones that wait share one, and the end of a frame is
 *             received together with what has come of the next header: an operation of nng costs several threads'
 *             turns, which 100 KB do not.
 * Failures:   no header, refused by on_range, the stream fails -> closing; every range under way gets that status once
 *             the stream is quiet, so nobody writes into its memory any more; then on_closed.
 * Invariants: one send and one receive at most; ranges end in the order in which they began.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "bulk"
#include "common/io/bulk.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/endpoint_internal.h"
#include "common/io/loop.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/log.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAME_RANGES_MAX = STREAM_IOVS_MAX - 1, /* each is a piece, the header another */
    HEADER_WORDS = 1 + 3 * FRAME_RANGES_MAX,
    HEADER_BYTES = 8 * HEADER_WORDS,
    SCRATCH_BYTES = 64 << 10,
    BULK_MAGIC = 0x4b4c4252 /* "RBLK": no length of a frame of messages */
};

enum bulk_state { BULK_CONNECTING = 1, BULK_OPEN, BULK_CLOSING };

struct bulk_out {
    struct list_node node;
    struct bulk_range range;
    const unsigned char *data;
};

struct bulk_in {
    struct bulk_range range;
    unsigned char *to; /* NULL: thrown away, or over */
    uint64_t received_bytes;
};

struct bulk_stream {
    struct bulk base;
    struct loop *loop;
    const struct bulk_handler *handler;
    enum bulk_state state;
    struct stream_dial *dial;
    struct stream *stream;
    struct loop_timer deadline;

    struct list_node queue; /* of bulk_out; the first out_count are the frame that is under way */
    unsigned queue_count, out_count;
    uint64_t out_sent_bytes, out_bytes; /* of the frame, without its header */
    bool sending;
    unsigned char out_header[HEADER_BYTES];

    unsigned char in_header[HEADER_BYTES];
    size_t in_header_bytes;
    struct bulk_in in[FRAME_RANGES_MAX]; /* of the frame that arrives: in_at to in_count are not over */
    unsigned in_at, in_count;
    unsigned char *scratch; /* for what is thrown away; made when first needed */
    uint64_t asked_bytes;   /* of the frame, in the receive under way */

    int status;
    char text[ERROR_TEXT_BYTES / 2];
    char peer[ADDRESS_TEXT_BYTES];
};

struct bulk_listener {
    struct loop *loop;
    struct endpoint_listener *messages;
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

/* The range that is arriving is over. */
static void end_in(struct bulk_stream *bulk, int status)
{
    struct bulk_in *in = &bulk->in[bulk->in_at++];
    if (in->to != NULL) {
        in->to = NULL;
        bulk->handler->on_received(&bulk->base, bulk->base.arg, &in->range, status);
    }
}

/* The stream is gone, nothing touches anybody's memory. */
static void on_stream_closed(void *arg)
{
    struct bulk_stream *bulk = arg;
    while (bulk->in_at < bulk->in_count) {
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

/* Which ranges go out next: one, or as many small ones as wait and make no more than a chunk. */
static void begin_frame(struct bulk_stream *bulk)
{
    uint64_t words[HEADER_WORDS] = { 0 };
    _Static_assert(sizeof words == HEADER_BYTES, "the header is words");
    bulk->out_count = 0;
    bulk->out_bytes = bulk->out_sent_bytes = 0;
    LIST_EACH (at, &bulk->queue) {
        const struct bulk_range *range = &CONTAINER_OF(at, struct bulk_out, node)->range;
        if (bulk->out_count > 0 &&
            (bulk->out_count == FRAME_RANGES_MAX || range->size > PULL_CHUNK_BYTES - bulk->out_bytes)) {
            break;
        }
        uint64_t *entry = &words[1 + 3 * bulk->out_count++];
        entry[0] = htole64(range->token);
        entry[1] = htole64(range->offset);
        entry[2] = htole64(range->size);
        bulk->out_bytes += range->size;
        if (bulk->out_bytes >= PULL_CHUNK_BYTES) {
            break;
        }
    }
    words[0] = htole64((uint64_t)bulk->out_count << 32 | BULK_MAGIC);
    memcpy(bulk->out_header, words, sizeof words);
}

static void on_sent(void *arg, int status, size_t bytes);

/* A frame of several ranges at once; of one, its next chunk. */
static size_t frame_pieces(struct bulk_stream *bulk, struct iovec *iov)
{
    const struct list_node *at = bulk->queue.next;
    uint64_t skip = bulk->out_sent_bytes;
    for (unsigned i = 0; i < bulk->out_count; i++, at = at->next) {
        const struct bulk_out *out = CONTAINER_OF(at, const struct bulk_out, node);
        uint64_t left = out->range.size - skip;
        iov[i] = (struct iovec){ (void *)(uintptr_t)(out->data + skip),
                                 left < PULL_CHUNK_BYTES ? (size_t)left : PULL_CHUNK_BYTES };
    }
    return bulk->out_count;
}

static void send_more(struct bulk_stream *bulk)
{
    struct iovec iov[STREAM_IOVS_MAX];
    size_t count = 0;
    if (bulk->sending || list_is_empty(&bulk->queue)) {
        return;
    }
    if (bulk->out_count == 0) {
        begin_frame(bulk);
        iov[count++] = (struct iovec){ bulk->out_header, HEADER_BYTES };
    }
    count += frame_pieces(bulk, iov + count);
    bulk->sending = true;
    stream_send(bulk->stream, iov, count, on_sent, bulk);
}

/* All of the frame is out. The handler may close in the middle: the rest then ends with that. */
static void end_frame(struct bulk_stream *bulk)
{
    unsigned count = bulk->out_count;
    bulk->out_count = 0;
    for (unsigned i = 0; i < count && bulk->state == BULK_OPEN; i++) {
        end_out(bulk, 0);
    }
}

static void on_sent(void *arg, int status, size_t bytes)
{
    struct bulk_stream *bulk = arg;
    if (status != 0) {
        end_with(bulk, status);
    }
    if (bulk->state == BULK_CLOSING) {
        return;
    }
    bulk->out_sent_bytes += bytes - (bulk->out_sent_bytes == 0 ? HEADER_BYTES : 0);
    if (bulk->out_sent_bytes == bulk->out_bytes) {
        end_frame(bulk); /* `sending` still: what is queued by it waits for its end */
    } else if (bulk->handler->on_progress != NULL) {
        const struct bulk_out *out = CONTAINER_OF(bulk->queue.next, struct bulk_out, node);
        bulk->handler->on_progress(&bulk->base, bulk->base.arg, &out->range, bulk->out_sent_bytes, true);
    }
    bulk->sending = false;
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
    *out = (struct bulk_out){ .range = *range, .data = data };
    list_append(&bulk->queue, &out->node);
    bulk->queue_count++;
    loop_timer_disarm(&bulk->deadline);
    send_more(bulk);
    return 0;
}

/* ------------------------------------------------------------------------------------------ receiving */

static void receive_more(struct bulk_stream *bulk);

/* False, and the connection ended, when this is no header. */
static bool read_header(struct bulk_stream *bulk)
{
    uint64_t words[HEADER_WORDS], bytes = 0;
    memcpy(words, bulk->in_header, sizeof words);
    uint64_t count = le64toh(words[0]) >> 32;
    bool is_good = (uint32_t)le64toh(words[0]) == BULK_MAGIC && count > 0 && count <= FRAME_RANGES_MAX;
    bulk->in_header_bytes = 0;
    for (unsigned i = 0; is_good && i < count; i++) {
        const uint64_t *entry = &words[1 + 3 * i];
        bulk->in[i] = (struct bulk_in){ .range = { le64toh(entry[0]), le64toh(entry[1]), le64toh(entry[2]) } };
        is_good = range_is_valid(&bulk->in[i].range) &&
                  (count == 1 || bulk->in[i].range.size <= PULL_CHUNK_BYTES - bytes);
        bytes += bulk->in[i].range.size;
    }
    if (!is_good) {
        end_with(bulk, error_set(ROOST_EINVAL, "%s sent what is no transfer", bulk->peer));
        return false;
    }
    bulk->in_count = (unsigned)count;
    bulk->in_at = 0;
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

/* A new frame: ask where its ranges go. What was not asked for when it ends in the middle, does not come. */
static void start_frame(struct bulk_stream *bulk)
{
    if (!read_header(bulk)) {
        return;
    }
    loop_timer_disarm(&bulk->deadline);
    unsigned count = bulk->in_count;
    for (unsigned i = 0; i < count && bulk->state == BULK_OPEN; i++) {
        struct bulk_in *in = &bulk->in[i];
        void *to = NULL;
        int status = bulk->handler->on_range(&bulk->base, bulk->base.arg, &in->range, &to);
        if (status != 0) {
            end_with(bulk, error_set(status, "the transfer %llx from %s was refused",
                                     (unsigned long long)in->range.token, bulk->peer));
        } else if ((in->to = to) == NULL && bulk->state == BULK_OPEN) {
            make_scratch(bulk);
        }
    }
}

/* `bytes` of the frame have come, for the ranges in turn. */
static void took_bytes(struct bulk_stream *bulk, uint64_t bytes)
{
    while (bytes > 0 && bulk->state == BULK_OPEN) {
        struct bulk_in *in = &bulk->in[bulk->in_at];
        uint64_t left = in->range.size - in->received_bytes, part = bytes < left ? bytes : left;
        in->received_bytes += part;
        bytes -= part;
        if (part == left) {
            end_in(bulk, 0);
        } else if (in->to != NULL && bulk->handler->on_progress != NULL) {
            bulk->handler->on_progress(&bulk->base, bulk->base.arg, &in->range, in->received_bytes, false);
        }
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
    took_bytes(bulk, bulk->asked_bytes);
    if (bulk->state == BULK_OPEN && bulk->in_header_bytes == HEADER_BYTES) {
        start_frame(bulk);
    }
    if (bulk->state == BULK_OPEN) {
        receive_more(bulk);
    }
}

/* Up to FRAME_RANGES_MAX pieces of at most a chunk in all, each at its place; what is thrown away, at the same scratch
 * memory. Adds them to asked_bytes and returns how many. */
static size_t place_pieces(struct bulk_stream *bulk, struct iovec *iov)
{
    size_t count = 0;
    for (unsigned i = bulk->in_at; i < bulk->in_count; i++) {
        const struct bulk_in *in = &bulk->in[i];
        for (uint64_t at = in->received_bytes; at < in->range.size;) {
            uint64_t left = in->range.size - at, room = PULL_CHUNK_BYTES - bulk->asked_bytes;
            uint64_t piece = left < room ? left : room;
            piece = in->to == NULL && piece > SCRATCH_BYTES ? SCRATCH_BYTES : piece;
            if (count == FRAME_RANGES_MAX || piece == 0) {
                return count;
            }
            iov[count++] = (struct iovec){ in->to == NULL ? bulk->scratch : in->to + at, (size_t)piece };
            bulk->asked_bytes += piece;
            at += piece;
        }
    }
    return count;
}

static bool asks_for_all(const struct bulk_stream *bulk)
{
    uint64_t left = 0;
    for (unsigned i = bulk->in_at; i < bulk->in_count; i++) {
        left += bulk->in[i].range.size - bulk->in[i].received_bytes;
    }
    return left == bulk->asked_bytes;
}

static void receive_more(struct bulk_stream *bulk)
{
    struct iovec iov[STREAM_IOVS_MAX];
    bulk->asked_bytes = 0;
    size_t count = place_pieces(bulk, iov), min_bytes = (size_t)bulk->asked_bytes;
    if (asks_for_all(bulk)) {
        size_t missing = HEADER_BYTES - bulk->in_header_bytes;
        iov[count++] = (struct iovec){ bulk->in_header + bulk->in_header_bytes, missing };
        min_bytes = min_bytes > 0 ? min_bytes : missing;
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

static void on_greeted(void *arg, int status, size_t bytes)
{
    (void)bytes;
    struct bulk_stream *bulk = arg;
    bulk->sending = false;
    if (status != 0) {
        end_with(bulk, status);
    } else if (bulk->state == BULK_OPEN) {
        send_more(bulk);
    }
}

static void greet(struct bulk_stream *bulk, struct stream *stream)
{
    static char word[4] = { 'R', 'B', 'L', 'K' }; /* BULK_MAGIC; nobody writes it */
    bulk->sending = true;
    stream_send(stream, &(struct iovec){ word, sizeof word }, 1, on_greeted, bulk);
}

static void on_dialed(void *arg, int status, struct stream *stream)
{
    struct bulk_stream *bulk = arg;
    bulk->dial = NULL;
    if (status == 0 && bulk->state == BULK_CONNECTING) {
        greet(bulk, stream);
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

static int stream_bulk_listen(struct loop *loop, struct endpoint_listener *messages, unsigned first_range_ms,
                              unsigned connections_max, const struct bulk_handler *handler, void *arg,
                              struct bulk_listener **listener_out)
{
    struct bulk_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return error_set(ROOST_ENOMEM, "listening for transfers: out of memory");
    }
    *listener = (struct bulk_listener){ loop, messages, handler, arg, first_range_ms };
    endpoint_listener_divert(messages, BULK_MAGIC, connections_max, on_accepted, listener);
    *listener_out = listener;
    return 0;
}

static void stream_bulk_listener_close(struct bulk_listener *listener)
{
    if (listener != NULL) {
        endpoint_listener_divert(listener->messages, BULK_MAGIC, 0, NULL, NULL);
        free(listener);
    }
}

static const char *stream_bulk_peer(const struct bulk *base) { return bulk_of((struct bulk *)(uintptr_t)base)->peer; }

const struct bulk_ops bulk_stream_ops = {
    .name = "stream",
    .listen = stream_bulk_listen,
    .listener_close = stream_bulk_listener_close,
    .dial = stream_bulk_dial,
    .send = stream_bulk_send,
    .close = stream_bulk_close,
    .peer = stream_bulk_peer,
};
