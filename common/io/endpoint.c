/* endpoint.c - framed messages over a stream
 *
 * Owns each connection: its inbox (a read buffer, and a buffer of its own for a long frame) and its queue of outgoing
 * blocks.
 *
 * Happy path: dial or accept -> open -> (frame)* -> close -> on_closed -> freed.
 *
 *     connecting --> open --> finishing --> closing --> (freed)
 *          |           |                       ^
 *          +-----------+-----------------------+
 *
 * Failures:   dial fails, stream fails, a bad length, silence -> closing, with the status that on_closed will carry.
 *             queue full -> the send is refused, the connection goes on.
 * Strangers:  of an accepted connection no more than the first length is read at first: it may be the word with which
 *             another kind of connection begins (bulk.c), and then the stream is handed over untouched.
 * Invariants: at most one send and one receive are under way; a length is checked before memory is taken for it;
 *             on_closed comes when the stream is gone.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "endpoint"
#include "common/io/endpoint.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/endpoint_internal.h"
#include "common/io/endpoint_queue.h"
#include "common/io/loop.h"
#include "common/limits.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum endpoint_state { ENDPOINT_CONNECTING = 1, ENDPOINT_OPEN, ENDPOINT_FINISHING, ENDPOINT_CLOSING };

struct endpoint {
    struct loop *loop;
    const struct endpoint_handler *handler;
    void *arg;
    enum endpoint_state state;
    struct stream_dial *dial;           /* while connecting */
    struct stream *stream;              /* from then on */
    struct endpoint_listener *listener; /* of a stranger, until its first length is there; a reference */
    struct loop_timer deadline;         /* of the first frame, later of finishing */

    unsigned char *buffer; /* ENDPOINT_READ_BYTES; [start, end) is not consumed yet */
    size_t start, end;
    unsigned char *frame; /* one that does not fit the buffer; then the buffer is empty */
    size_t frame_size, frame_got;
    size_t frame_bytes_max; /* of the next one: less for a stranger's first */

    struct endpoint_queue queue;
    bool sending, was_refused;

    int status; /* of on_closed */
    char text[ERROR_TEXT_BYTES / 2];
    char peer[ADDRESS_TEXT_BYTES];
};

struct endpoint_listener {
    struct loop *loop;
    struct stream_listener *stream_listener;
    const struct endpoint_handler *handler;
    void *arg;
    unsigned first_frame_ms, connections_max;
    size_t first_frame_bytes_max;
    uint32_t other_word;        /* with which connections of another kind begin */
    stream_accept_fn *other_fn; /* NULL: there are none */
    void *other_arg;
    unsigned references; /* the owner's, one of each stranger */
};

static void set_state(struct endpoint *endpoint, enum endpoint_state state)
{
    ROOST_PRE(state > endpoint->state); /* the drawing above: only forward */
    endpoint->state = state;
}

/* ------------------------------------------------------------------------------------------ end */

static void listener_release(struct endpoint_listener *listener)
{
    if (--listener->references == 0) {
        free(listener);
    }
}

static void is_no_stranger(struct endpoint *endpoint)
{
    if (endpoint->listener != NULL) {
        listener_release(endpoint->listener);
        endpoint->listener = NULL;
    }
}

static void endpoint_free(struct endpoint *endpoint)
{
    is_no_stranger(endpoint);
    loop_timer_disarm(&endpoint->deadline);
    endpoint_queue_fini(&endpoint->queue);
    free(endpoint->buffer);
    free(endpoint->frame);
    free(endpoint);
}

/* The stream is gone. */
static void on_stream_closed(void *arg)
{
    struct endpoint *endpoint = arg;
    endpoint_queue_fini(&endpoint->queue);
    error_set(endpoint->status, "%s", endpoint->text);
    endpoint->handler->on_closed(endpoint, endpoint->arg, endpoint->status);
    endpoint_free(endpoint);
}

/* error_text() holds the reason. */
static void end_with(struct endpoint *endpoint, int status)
{
    if (endpoint->state == ENDPOINT_CLOSING) {
        return;
    }
    bool is_connecting = endpoint->state == ENDPOINT_CONNECTING;
    set_state(endpoint, ENDPOINT_CLOSING);
    endpoint->status = status;
    snprintf(endpoint->text, sizeof endpoint->text, "%s", error_text());
    log_debug("event=closing peer=%s status=%s why=\"%s\"", endpoint->peer, error_code_name(status), endpoint->text);
    loop_timer_disarm(&endpoint->deadline);
    if (is_connecting) {
        stream_dial_cancel(endpoint->dial);
    } else {
        stream_close(endpoint->stream, on_stream_closed, endpoint);
    }
}

void endpoint_close(struct endpoint *endpoint)
{
    if (endpoint->state != ENDPOINT_CLOSING) {
        end_with(endpoint, error_set(ROOST_ECANCELED, "the connection with %s was closed here", endpoint->peer));
    }
}

static void on_deadline(void *arg)
{
    struct endpoint *endpoint = arg;
    if (endpoint->state == ENDPOINT_FINISHING) {
        endpoint_close(endpoint);
    } else {
        end_with(endpoint, error_set(ROOST_ETIMEDOUT, "%s connected and sent no message in time", endpoint->peer));
    }
}

void endpoint_finish(struct endpoint *endpoint)
{
    if (endpoint->state == ENDPOINT_CONNECTING) {
        endpoint_close(endpoint);
    } else if (endpoint->state == ENDPOINT_OPEN) {
        set_state(endpoint, ENDPOINT_FINISHING);
        loop_timer_arm(&endpoint->deadline, loop_now_ns() + ENDPOINT_LINGER_MS * UINT64_C(1000000));
    }
}

/* ------------------------------------------------------------------------------------------ receiving */

static void receive_more(struct endpoint *endpoint);

/* False when the connection has ended by it. */
static bool deliver(struct endpoint *endpoint, const unsigned char *data, size_t size)
{
    if (endpoint->state == ENDPOINT_OPEN) {
        loop_timer_disarm(&endpoint->deadline);
        endpoint->frame_bytes_max = PROTO_FRAME_BYTES_MAX;
        log_trace("event=frame peer=%s bytes=%zu", endpoint->peer, size);
        endpoint->handler->on_frame(endpoint, endpoint->arg, data, size);
    }
    return endpoint->state != ENDPOINT_CLOSING;
}

static uint32_t word_at(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The length that stands at `start`, checked. False, and the connection ended, when it cannot be one. */
static bool read_length(struct endpoint *endpoint, size_t *length_out)
{
    size_t length = word_at(endpoint->buffer + endpoint->start);
    if (length == 0) {
        end_with(endpoint, error_set(ROOST_EINVAL, "%s sent a frame of no bytes", endpoint->peer));
        return false;
    }
    if (length > endpoint->frame_bytes_max) {
        end_with(endpoint, error_set(ROOST_ETOOBIG, "%s announced a frame of %zu bytes; the limit is %zu",
                                     endpoint->peer, length, endpoint->frame_bytes_max));
        return false;
    }
    *length_out = length;
    return true;
}

/* A frame that the buffer cannot hold gets memory of its own; what is there of it moves in. */
static bool start_long_frame(struct endpoint *endpoint, size_t length)
{
    endpoint->frame = malloc(length);
    if (endpoint->frame == NULL) {
        end_with(endpoint,
                 error_set(ROOST_ENOMEM, "no memory for a frame of %zu bytes from %s", length, endpoint->peer));
        return false;
    }
    endpoint->start += ENDPOINT_HEADER_BYTES;
    endpoint->frame_size = length;
    endpoint->frame_got = endpoint->end - endpoint->start;
    memcpy(endpoint->frame, endpoint->buffer + endpoint->start, endpoint->frame_got);
    endpoint->start = endpoint->end = 0;
    return true;
}

/* Hands out the whole frames of the buffer. False when the connection has ended. */
static bool take_frames(struct endpoint *endpoint)
{
    size_t length;
    while (endpoint->end - endpoint->start >= ENDPOINT_HEADER_BYTES) {
        if (!read_length(endpoint, &length)) {
            return false;
        }
        if (ENDPOINT_HEADER_BYTES + length > ENDPOINT_READ_BYTES) {
            return start_long_frame(endpoint, length);
        }
        if (endpoint->end - endpoint->start < ENDPOINT_HEADER_BYTES + length) {
            break;
        }
        const unsigned char *data = endpoint->buffer + endpoint->start + ENDPOINT_HEADER_BYTES;
        endpoint->start += ENDPOINT_HEADER_BYTES + length;
        if (!deliver(endpoint, data, length)) {
            return false;
        }
    }
    if (endpoint->start > 0) {
        endpoint->end -= endpoint->start;
        memmove(endpoint->buffer, endpoint->buffer + endpoint->start, endpoint->end);
        endpoint->start = 0;
    }
    return true;
}

/* `bytes` more of the long frame, and what came after it. */
static bool take_long_frame(struct endpoint *endpoint, size_t bytes)
{
    size_t missing = endpoint->frame_size - endpoint->frame_got;
    ROOST_PRE(bytes >= missing); /* that many were asked for */
    endpoint->end = bytes - missing;
    unsigned char *frame = endpoint->frame;
    endpoint->frame = NULL;
    bool goes_on = deliver(endpoint, frame, endpoint->frame_size);
    free(frame);
    return goes_on;
}

/* True: the connection is of the other kind, and no endpoint any more. Not when something was said to it already. */
static bool hand_over(struct endpoint *endpoint)
{
    const struct endpoint_listener *listener = endpoint->listener;
    if (listener->other_fn == NULL || word_at(endpoint->buffer) != listener->other_word || endpoint->sending ||
        endpoint->state != ENDPOINT_OPEN) {
        return false;
    }
    log_debug("event=handed_over peer=%s", endpoint->peer);
    set_state(endpoint, ENDPOINT_CLOSING);
    listener->other_fn(listener->other_arg, endpoint->stream);
    int status = error_set(ROOST_ECANCELED, "%s does not speak in frames", endpoint->peer);
    endpoint->handler->on_closed(endpoint, endpoint->arg, status);
    endpoint_free(endpoint);
    return true;
}

static void on_received(void *arg, int status, size_t bytes)
{
    struct endpoint *endpoint = arg;
    if (status != 0) {
        if (endpoint->state == ENDPOINT_FINISHING) {
            endpoint_close(endpoint);
        } else {
            end_with(endpoint, status);
        }
        return;
    }
    bool goes_on = endpoint->state != ENDPOINT_CLOSING;
    if (goes_on && endpoint->frame != NULL) {
        goes_on = take_long_frame(endpoint, bytes);
    } else if (goes_on) {
        endpoint->end += bytes;
    }
    if (goes_on && endpoint->listener != NULL && endpoint->end == ENDPOINT_HEADER_BYTES) {
        if (hand_over(endpoint)) {
            return;
        }
        is_no_stranger(endpoint);
    }
    if (goes_on && take_frames(endpoint)) {
        receive_more(endpoint);
    }
}

static void receive_more(struct endpoint *endpoint)
{
    struct iovec iov[2];
    if (endpoint->frame == NULL) {
        size_t wanted = endpoint->listener != NULL ? ENDPOINT_HEADER_BYTES : ENDPOINT_READ_BYTES;
        iov[0] = (struct iovec){ endpoint->buffer + endpoint->end, wanted - endpoint->end };
        stream_receive(endpoint->stream, iov, 1, 1, on_received, endpoint);
        return;
    }
    size_t missing = endpoint->frame_size - endpoint->frame_got;
    iov[0] = (struct iovec){ endpoint->frame + endpoint->frame_got, missing };
    iov[1] = (struct iovec){ endpoint->buffer, ENDPOINT_READ_BYTES };
    stream_receive(endpoint->stream, iov, 2, missing, on_received, endpoint);
}

/* ------------------------------------------------------------------------------------------ sending */

static void on_sent(void *arg, int status, size_t bytes);

static void send_more(struct endpoint *endpoint)
{
    struct iovec iov[STREAM_IOVS_MAX];
    if (endpoint->sending) {
        return;
    }
    size_t count = endpoint_queue_gather(&endpoint->queue, iov, STREAM_IOVS_MAX);
    if (count > 0) {
        endpoint->sending = true;
        stream_send(endpoint->stream, iov, count, on_sent, endpoint);
    }
}

static void on_sent(void *arg, int status, size_t bytes)
{
    (void)bytes;
    struct endpoint *endpoint = arg;
    endpoint->sending = false;
    endpoint_queue_pop(&endpoint->queue);
    if (endpoint->state == ENDPOINT_CLOSING) {
        return;
    }
    if (status != 0) {
        end_with(endpoint, status);
        return;
    }
    send_more(endpoint);
    if (endpoint->was_refused && endpoint->queue.bytes <= ENDPOINT_QUEUE_BYTES_MAX / 2) {
        endpoint->was_refused = false;
        if (endpoint->handler->on_room != NULL && endpoint->state == ENDPOINT_OPEN) {
            endpoint->handler->on_room(endpoint, endpoint->arg);
        }
    }
}

/* May one more frame of these pieces be queued? */
static int check_send(struct endpoint *endpoint, const struct endpoint_piece *pieces, size_t count, size_t *size_out)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!size_add(size, pieces[i].size, &size) || size > PROTO_FRAME_BYTES_MAX) {
            return error_set(ROOST_ETOOBIG, "a frame for %s is over the limit of %u bytes", endpoint->peer,
                             (unsigned)PROTO_FRAME_BYTES_MAX);
        }
    }
    if (size == 0) {
        return error_set(ROOST_ETOOBIG, "a frame for %s has no bytes", endpoint->peer);
    }
    if (endpoint->state != ENDPOINT_OPEN) {
        return error_set(ROOST_ESTATE, "the connection with %s is not open", endpoint->peer);
    }
    if (endpoint->queue.bytes + ENDPOINT_HEADER_BYTES + size > ENDPOINT_QUEUE_BYTES_MAX) {
        endpoint->was_refused = true;
        return error_set(ROOST_EBUSY, "%zu bytes wait to be sent to %s already", endpoint->queue.bytes, endpoint->peer);
    }
    *size_out = size;
    return 0;
}

int endpoint_send(struct endpoint *endpoint, const struct endpoint_piece *pieces, size_t count)
{
    size_t size = 0;
    int status = check_send(endpoint, pieces, count, &size);
    if (status == 0) {
        status = endpoint_queue_add(&endpoint->queue, pieces, count, size);
    }
    if (status == 0) {
        send_more(endpoint);
    }
    return status;
}

size_t endpoint_queued_bytes(const struct endpoint *endpoint) { return endpoint->queue.bytes; }

/* ------------------------------------------------------------------------------------------ begin */

static struct endpoint *endpoint_create(struct loop *loop, const struct endpoint_handler *handler, void *arg)
{
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (endpoint == NULL) {
        return NULL;
    }
    endpoint->loop = loop;
    endpoint->handler = handler;
    endpoint->arg = arg;
    endpoint->state = ENDPOINT_CONNECTING;
    endpoint->frame_bytes_max = PROTO_FRAME_BYTES_MAX;
    loop_timer_init(&endpoint->deadline, loop, on_deadline, endpoint);
    endpoint->buffer = malloc(ENDPOINT_READ_BYTES);
    if (endpoint->buffer == NULL) {
        endpoint_free(endpoint);
        return NULL;
    }
    return endpoint;
}

static void opened(struct endpoint *endpoint, struct stream *stream)
{
    endpoint->stream = stream;
    snprintf(endpoint->peer, sizeof endpoint->peer, "%s", stream_peer(stream));
    set_state(endpoint, ENDPOINT_OPEN);
    log_debug("event=open peer=%s", endpoint->peer);
    receive_more(endpoint);
    endpoint->handler->on_open(endpoint, endpoint->arg);
}

static void on_dialed(void *arg, int status, struct stream *stream)
{
    struct endpoint *endpoint = arg;
    endpoint->dial = NULL;
    if (status == 0 && endpoint->state == ENDPOINT_CONNECTING) {
        opened(endpoint, stream);
        return;
    }
    ROOST_INVARIANT(status != 0); /* a dial that was given up gives no stream */
    if (endpoint->state == ENDPOINT_CONNECTING) {
        set_state(endpoint, ENDPOINT_CLOSING);
        endpoint->status = status;
        snprintf(endpoint->text, sizeof endpoint->text, "%s", error_text());
    }
    on_stream_closed(endpoint);
}

int endpoint_dial(struct loop *loop, const char *address, unsigned timeout_ms, const struct endpoint_handler *handler,
                  void *arg, struct endpoint **endpoint_out)
{
    struct address target;
    int status = address_parse(address, &target);
    if (status != 0) {
        return status;
    }
    struct endpoint *endpoint = endpoint_create(loop, handler, arg);
    if (endpoint == NULL) {
        return error_set(ROOST_ENOMEM, "connecting to %s: out of memory", address);
    }
    address_print(&target, endpoint->peer);
    status = stream_dial(loop, &target, timeout_ms, on_dialed, endpoint, &endpoint->dial);
    if (status != 0) {
        endpoint_free(endpoint);
        return status;
    }
    *endpoint_out = endpoint;
    return 0;
}

static void ignore_closed(void *arg) { (void)arg; }

static void on_accepted(void *arg, struct stream *stream)
{
    struct endpoint_listener *listener = arg;
    struct endpoint *endpoint = endpoint_create(listener->loop, listener->handler, listener->arg);
    if (endpoint == NULL) {
        log_warn("event=refused peer=%s why=\"out of memory\"", stream_peer(stream));
        stream_close(stream, ignore_closed, NULL);
        return;
    }
    endpoint->listener = listener;
    listener->references++;
    endpoint->frame_bytes_max = listener->first_frame_bytes_max;
    if (listener->first_frame_ms > 0) {
        loop_timer_arm(&endpoint->deadline, loop_now_ns() + listener->first_frame_ms * UINT64_C(1000000));
    }
    opened(endpoint, stream);
}

int endpoint_listen(struct loop *loop, const char *host, unsigned port, unsigned first_frame_ms,
                    size_t first_frame_bytes_max, unsigned connections_max, const struct endpoint_handler *handler,
                    void *arg, struct endpoint_listener **listener_out)
{
    struct address address;
    int status = address_make(host, port, &address);
    if (status != 0) {
        return status;
    }
    struct endpoint_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return error_set(ROOST_ENOMEM, "listening on %s: out of memory", host);
    }
    *listener = (struct endpoint_listener){ .loop = loop,
                                            .handler = handler,
                                            .arg = arg,
                                            .first_frame_ms = first_frame_ms,
                                            .connections_max = connections_max,
                                            .first_frame_bytes_max = first_frame_bytes_max,
                                            .references = 1 };
    status = stream_listen(loop, &address, connections_max, on_accepted, listener, &listener->stream_listener);
    if (status != 0) {
        free(listener);
        return status;
    }
    *listener_out = listener;
    return 0;
}

const struct address *endpoint_listener_address(const struct endpoint_listener *listener)
{
    return stream_listener_address(listener->stream_listener);
}

void endpoint_listener_close(struct endpoint_listener *listener)
{
    if (listener != NULL) {
        ROOST_PRE(listener->other_fn == NULL);
        stream_listener_close(listener->stream_listener);
        listener_release(listener);
    }
}

void endpoint_listener_divert(struct endpoint_listener *listener, uint32_t word, unsigned connections_max,
                              stream_accept_fn *fn, void *arg)
{
    ROOST_PRE(word > PROTO_FRAME_BYTES_MAX);
    ROOST_PRE((fn == NULL) != (listener->other_fn == NULL));
    listener->other_word = word;
    listener->other_fn = fn;
    listener->other_arg = arg;
    stream_listener_limit(listener->stream_listener, listener->connections_max + connections_max);
}

void endpoint_set_arg(struct endpoint *endpoint, void *arg) { endpoint->arg = arg; }

const char *endpoint_peer(const struct endpoint *endpoint) { return endpoint->peer; }
