/* stream.c - TCP byte streams over nng_stream
 *
 * Owns every nng object of the process. The only file that includes nng, so that a later nng is this file's work.
 *
 * Happy path: dial or accept -> (send, receive)* -> close -> both operations have completed -> freed.
 * Failures:   an operation fails -> its completion says so, the stream stays until it is closed.
 *             accept fails (no descriptors) -> logged once, tried again after a pause.
 *             dial says EAGAIN -> tried again until its deadline.
 * What nng 1.5.2 wants, each of these a hang or a use after free otherwise:
 *             - sends are partial: loop on the count. Never two sends at once, they would interleave.
 *             - an operation posted on a closed stream never completes: `lock` is held over "not closing? then post",
 *               and closing sets the flag under it.
 *             - a stopped aio drops what is posted on it without a callback: nothing is posted after nng_aio_stop().
 *             - a timeout on a reused aio can hit the next operation: deadlines are loop timers, never aio timeouts.
 *             - an aio's cancel function points at the stream: aios are freed before their stream.
 *             - a dial can succeed while the handshake is still under way: epoll reports a hangup for a socket that has
 *               not begun to connect, and when nng gets to it the connect runs and SO_ERROR is still 0. A send of no
 *               bytes completes when the connection stands, and fails when it does not come about.
 * Invariants: an operation is nng's from posting until its task runs on the loop; nobody else touches it meanwhile.
 * Thread:     the loop's. nng's threads run op_step(), accept_step() and dial_step(): the first continues a partial
 *             transfer (a hop through the loop for each 64 KiB would cost more than the copy), all else they do is to
 *             post to the loop.
 */
#define LOG_TOPIC "stream"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "common/io/nng_threads.h"
#include "common/io/stream_internal.h"
#include "common/limits.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(STREAM_IOVS_MAX <= 8, "nng_aio_set_iov takes 8");

struct stream_op {
    struct stream *stream;
    nng_aio *aio;
    struct loop_task task; /* posted when the operation is over */
    bool is_send, busy;
    struct iovec iov[STREAM_IOVS_MAX]; /* what is left */
    unsigned count;
    size_t done_bytes, min_bytes;
    int nng_error;
    stream_done_fn *fn;
    void *arg;
};

struct stream {
    struct loop *loop;
    nng_stream *nng;
    struct stream_listener *listener; /* counts it; NULL when dialed */
    struct stream_op send, receive;
    struct loop_task close_task;
    bool close_ran;
    stream_closed_fn *on_closed;
    void *on_closed_arg;
    char peer[ADDRESS_TEXT_BYTES];

    pthread_mutex_t lock;
    bool closing; /* written by the loop under `lock`; read by nng's threads under it */
};

struct stream_listener {
    struct loop *loop;
    nng_stream_listener *nng;
    nng_aio *aio;
    struct loop_task task;
    struct loop_timer retry;
    struct address address;
    stream_accept_fn *fn;
    void *arg;
    int nng_error;
    unsigned streams, streams_max;
    unsigned references; /* one of its own until closed and quiet, one of each stream */
    bool accepting, closing, has_warned;
};

struct stream_dial {
    struct loop *loop;
    nng_stream_dialer *nng;
    nng_aio *aio;
    struct loop_task task;
    struct loop_timer deadline, retry;
    char target[ADDRESS_TEXT_BYTES];
    unsigned timeout_ms;
    stream_dialed_fn *fn;
    void *arg;
    int nng_error;
    struct stream *stream; /* dialed, and not known to be connected */
    int ended_by;          /* ROOST_ETIMEDOUT or ROOST_ECANCELED: the result does not count any more */
    bool dialing;
};

static atomic_bool nng_is_used;

/* Around the calls that may be the first into nng. */
static void first_call_begins(void)
{
    atomic_store(&nng_is_used, true);
    nng_threads_starting(true);
}

/* The one place where nng's codes become ours. */
static int error_from_nng(int code, const char *doing, const char *whom)
{
    int status;
    switch (code) {
    case NNG_ENOMEM:
        status = ROOST_ENOMEM;
        break;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
        status = ROOST_ECANCELED;
        break;
    case NNG_ETIMEDOUT:
        status = ROOST_ETIMEDOUT;
        break;
    case NNG_ECONNSHUT:
    case NNG_ECONNRESET:
    case NNG_ECONNABORTED:
        return error_set(ROOST_EDISCONNECTED, "%s %s: the peer closed the connection", doing, whom);
    case NNG_ECONNREFUSED:
    case NNG_EUNREACHABLE:
        status = ROOST_ECONNECT;
        break;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
        status = ROOST_EINVAL;
        break;
    case NNG_EADDRINUSE:
        status = ROOST_EEXIST;
        break;
    case NNG_ENOFILES:
        status = ROOST_ELIMIT;
        break;
    default:
        status = ROOST_EIO;
        break;
    }
    return error_set(status, "%s %s: %s", doing, whom, nng_strerror(code));
}

/* ------------------------------------------------------------------------------------------ operations */

/* Hands what is left of the operation to nng. Its callback may run before this returns, on another thread. */
static void op_submit(struct stream_op *op)
{
    nng_iov iov[STREAM_IOVS_MAX];
    for (unsigned i = 0; i < op->count; i++) {
        iov[i] = (nng_iov){ op->iov[i].iov_base, op->iov[i].iov_len };
    }
    int failed = nng_aio_set_iov(op->aio, op->count, iov);
    ROOST_INVARIANT(failed == 0);
    if (op->is_send) {
        nng_stream_send(op->stream->nng, op->aio);
    } else {
        nng_stream_recv(op->stream->nng, op->aio);
    }
}

static void op_advance(struct stream_op *op, size_t bytes)
{
    unsigned first = 0;
    op->done_bytes += bytes;
    while (first < op->count && bytes >= op->iov[first].iov_len) {
        bytes -= op->iov[first++].iov_len;
    }
    op->count -= first;
    memmove(op->iov, op->iov + first, op->count * sizeof op->iov[0]);
    if (op->count > 0) {
        op->iov[0].iov_base = (char *)op->iov[0].iov_base + bytes;
        op->iov[0].iov_len -= bytes;
    }
    ROOST_POST(op->count > 0 || bytes == 0);
}

/* On an nng thread. False when the stream is being closed, and then nothing was posted. */
static bool op_continue(struct stream_op *op)
{
    struct stream *stream = op->stream;
    pthread_mutex_lock(&stream->lock);
    bool may = !stream->closing;
    if (may) {
        op_submit(op);
    }
    /* nng_aio_free() waits for this callback too, so the lock is still there. */
    pthread_mutex_unlock(&stream->lock);
    return may;
}

/* On an nng thread. */
static void op_step(void *arg)
{
    struct stream_op *op = arg;
    op->nng_error = nng_aio_result(op->aio);
    if (op->nng_error == 0) {
        op_advance(op, nng_aio_count(op->aio));
        if (op->done_bytes < op->min_bytes) {
            if (op_continue(op)) {
                return;
            }
            op->nng_error = NNG_ECANCELED;
        }
    }
    loop_post(op->stream->loop, &op->task);
}

static void stream_finish_close(struct stream *stream);

static void op_done(void *arg)
{
    struct stream_op *op = arg;
    struct stream *stream = op->stream;
    op->busy = false;
    int status = 0;
    if (op->nng_error != 0) {
        status = stream->closing
                     ? error_set(ROOST_ECANCELED, "the connection with %s was closed here", stream->peer)
                     : error_from_nng(op->nng_error, op->is_send ? "sending to" : "receiving from", stream->peer);
    }
    op->fn(op->arg, status, op->done_bytes);
    stream_finish_close(stream);
}

static void op_start(struct stream_op *op, const struct iovec *iov, size_t count, size_t min_bytes, stream_done_fn *fn,
                     void *arg)
{
    ROOST_PRE(!op->busy);
    ROOST_PRE(!op->stream->closing);
    ROOST_PRE(count <= STREAM_IOVS_MAX);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        op->iov[i] = iov[i];
        total += iov[i].iov_len;
    }
    op->count = (unsigned)count;
    op->done_bytes = 0;
    op->min_bytes = op->is_send ? total : min_bytes;
    ROOST_PRE(op->min_bytes <= total);
    op->fn = fn;
    op->arg = arg;
    op->busy = true;
    op_submit(op); /* only the loop closes, and that is this thread: no lock needed */
}

void stream_send(struct stream *stream, const struct iovec *iov, size_t count, stream_done_fn *fn, void *arg)
{
    ROOST_PRE(count > 0);
    op_start(&stream->send, iov, count, 0, fn, arg);
}

void stream_receive(struct stream *stream, const struct iovec *iov, size_t count, size_t min_bytes, stream_done_fn *fn,
                    void *arg)
{
    ROOST_PRE(min_bytes > 0);
    op_start(&stream->receive, iov, count, min_bytes, fn, arg);
}

/* Completes when the connection stands. */
static void stream_wait_connected(struct stream *stream, stream_done_fn *fn, void *arg)
{
    op_start(&stream->send, NULL, 0, 0, fn, arg);
}

/* ------------------------------------------------------------------------------------------ streams */

const char *stream_peer(const struct stream *stream) { return stream->peer; }

static void print_peer(nng_stream *nng, char text_out[ADDRESS_TEXT_BYTES])
{
    nng_sockaddr peer;
    struct address address = { .host = "?" };
    if (nng_stream_get_addr(nng, NNG_OPT_REMADDR, &peer) == 0) {
        if (peer.s_family == NNG_AF_INET) {
            inet_ntop(AF_INET, &peer.s_in.sa_addr, address.host, sizeof address.host);
            address.port = ntohs(peer.s_in.sa_port);
        } else if (peer.s_family == NNG_AF_INET6) {
            inet_ntop(AF_INET6, peer.s_in6.sa_addr, address.host, sizeof address.host);
            address.port = ntohs(peer.s_in6.sa_port);
        }
    }
    address_print(&address, text_out);
}

static void discard(nng_stream *nng)
{
    nng_stream_close(nng);
    nng_stream_free(nng);
}

static void listener_unref(struct stream_listener *listener);

static void stream_free(struct stream *stream)
{
    if (stream->listener != NULL) {
        stream->listener->streams--;
        listener_unref(stream->listener);
    }
    nng_aio_free(stream->send.aio);
    nng_aio_free(stream->receive.aio);
    nng_stream_free(stream->nng);
    pthread_mutex_destroy(&stream->lock);
    loop_release(stream->loop);
    free(stream);
}

static int op_init(struct stream_op *op, struct stream *stream, bool is_send)
{
    op->stream = stream;
    op->is_send = is_send;
    op->task = (struct loop_task){ .run = op_done, .arg = op };
    return nng_aio_alloc(&op->aio, op_step, op);
}

/* Takes `nng` over, also when it fails (NULL: out of memory). */
static struct stream *stream_wrap(struct loop *loop, nng_stream *nng, struct stream_listener *listener)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        discard(nng);
        return NULL;
    }
    stream->loop = loop;
    stream->nng = nng;
    pthread_mutex_init(&stream->lock, NULL);
    loop_hold(loop);
    if (listener != NULL) {
        stream->listener = listener;
        listener->streams++;
        listener->references++;
    }
    if (op_init(&stream->send, stream, true) != 0 || op_init(&stream->receive, stream, false) != 0) {
        nng_stream_close(nng);
        stream_free(stream);
        return NULL;
    }
    print_peer(nng, stream->peer);
    return stream;
}

/* After the close was asked for and each operation has completed. */
static void stream_finish_close(struct stream *stream)
{
    if (!stream->close_ran || stream->send.busy || stream->receive.busy) {
        return;
    }
    stream_closed_fn *fn = stream->on_closed;
    void *arg = stream->on_closed_arg;
    stream_free(stream);
    fn(arg);
}

static void close_later(void *arg)
{
    struct stream *stream = arg;
    stream->close_ran = true;
    stream_finish_close(stream);
}

void stream_close(struct stream *stream, stream_closed_fn *fn, void *arg)
{
    ROOST_PRE(!stream->closing);
    pthread_mutex_lock(&stream->lock);
    stream->closing = true;
    pthread_mutex_unlock(&stream->lock);
    nng_stream_close(stream->nng); /* completes what was posted */
    stream->on_closed = fn;
    stream->on_closed_arg = arg;
    stream->close_task = (struct loop_task){ .run = close_later, .arg = stream };
    loop_post(stream->loop, &stream->close_task);
}

/* ------------------------------------------------------------------------------------------ listeners */

const struct address *stream_listener_address(const struct stream_listener *listener) { return &listener->address; }

void stream_listener_limit(struct stream_listener *listener, unsigned streams_max)
{
    listener->streams_max = streams_max;
}

static void listener_unref(struct stream_listener *listener)
{
    if (--listener->references == 0) {
        free(listener);
    }
}

/* After the last accept has completed. */
static void listener_free(struct stream_listener *listener)
{
    nng_aio_free(listener->aio);
    nng_stream_listener_free(listener->nng);
    loop_release(listener->loop);
    listener_unref(listener);
}

static void accept_next(void *arg)
{
    struct stream_listener *listener = arg;
    listener->accepting = true;
    nng_stream_listener_accept(listener->nng, listener->aio);
}

/* On an nng thread. */
static void accept_step(void *arg)
{
    struct stream_listener *listener = arg;
    listener->nng_error = nng_aio_result(listener->aio);
    loop_post(listener->loop, &listener->task);
}

static void take_accepted(struct stream_listener *listener, nng_stream *nng)
{
    if (listener->streams >= listener->streams_max) {
        log_warn("event=refused why=\"%u connections are open\" port=%u", listener->streams, listener->address.port);
        discard(nng);
        return;
    }
    struct stream *stream = stream_wrap(listener->loop, nng, listener);
    if (stream == NULL) {
        log_warn("event=refused why=\"out of memory\" port=%u", listener->address.port);
        return;
    }
    listener->fn(listener->arg, stream);
}

static void on_accept(void *arg)
{
    struct stream_listener *listener = arg;
    listener->accepting = false;
    if (listener->closing) {
        if (listener->nng_error == 0) {
            discard(nng_aio_get_output(listener->aio, 0));
        }
        listener_free(listener);
        return;
    }
    if (listener->nng_error != 0) {
        if (!listener->has_warned) {
            listener->has_warned = true;
            log_warn("event=accept_failed port=%u why=\"%s\"", listener->address.port,
                     nng_strerror(listener->nng_error));
        }
        loop_timer_arm(&listener->retry, loop_now_ns() + STREAM_ACCEPT_RETRY_MS * UINT64_C(1000000));
        return;
    }
    nng_stream *nng = nng_aio_get_output(listener->aio, 0);
    listener->has_warned = false;
    accept_next(listener); /* first: the callback below may close the listener */
    take_accepted(listener, nng);
}

void stream_listener_close(struct stream_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    ROOST_PRE(!listener->closing);
    listener->closing = true;
    nng_stream_listener_close(listener->nng);
    if (!listener->accepting) {
        loop_timer_disarm(&listener->retry);
        listener_free(listener);
    }
}

/* "tcp://HOST:PORT"; localhost is 127.0.0.1 at both ends, as nng takes only the first address that a name has. */
static void url_of(const struct address *address, char url_out[ADDRESS_TEXT_BYTES + 8])
{
    struct address numeric = *address;
    if (strcmp(numeric.host, "localhost") == 0) {
        strcpy(numeric.host, "127.0.0.1");
    }
    char text[ADDRESS_TEXT_BYTES];
    snprintf(url_out, ADDRESS_TEXT_BYTES + 8, "tcp://%s", address_print(&numeric, text));
}

static int listener_start(struct stream_listener *listener, const char *url)
{
    int failed, port = 0;
    first_call_begins();
    failed = nng_stream_listener_alloc(&listener->nng, url);
    nng_threads_starting(false);
    if (failed != 0 || (failed = nng_stream_listener_set_bool(listener->nng, NNG_OPT_TCP_NODELAY, true)) != 0 ||
        (failed = nng_stream_listener_set_bool(listener->nng, NNG_OPT_TCP_KEEPALIVE, true)) != 0 ||
        (failed = nng_aio_alloc(&listener->aio, accept_step, listener)) != 0 ||
        (failed = nng_stream_listener_listen(listener->nng)) != 0 ||
        (failed = nng_stream_listener_get_int(listener->nng, NNG_OPT_TCP_BOUND_PORT, &port)) != 0) {
        return failed;
    }
    listener->address.port = (uint16_t)port;
    return 0;
}

int stream_listen(struct loop *loop, const struct address *address, unsigned streams_max, stream_accept_fn *fn,
                  void *arg, struct stream_listener **listener_out)
{
    int status = address_check_listen(address);
    if (status != 0) {
        return status;
    }
    struct stream_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        return error_set(ROOST_ENOMEM, "listening: out of memory");
    }
    listener->loop = loop;
    listener->address = *address;
    listener->streams_max = streams_max;
    listener->fn = fn;
    listener->arg = arg;
    listener->references = 1;
    listener->task = (struct loop_task){ .run = on_accept, .arg = listener };
    loop_timer_init(&listener->retry, loop, accept_next, listener);
    loop_hold(loop);
    char url[ADDRESS_TEXT_BYTES + 8];
    url_of(address, url);
    int failed = listener_start(listener, url);
    if (failed != 0) {
        status = error_from_nng(failed, "listening on", url);
        listener_free(listener);
        return status;
    }
    accept_next(listener);
    *listener_out = listener;
    return 0;
}

/* ------------------------------------------------------------------------------------------ dials */

static void dial_free(struct stream_dial *dial)
{
    loop_timer_disarm(&dial->deadline);
    loop_timer_disarm(&dial->retry);
    nng_aio_free(dial->aio);
    if (dial->nng != NULL) {
        nng_stream_dialer_close(dial->nng);
        nng_stream_dialer_free(dial->nng);
    }
    loop_release(dial->loop);
    free(dial);
}

/* On an nng thread. */
static void dial_step(void *arg)
{
    struct stream_dial *dial = arg;
    dial->nng_error = nng_aio_result(dial->aio);
    loop_post(dial->loop, &dial->task);
}

static void dial_submit(struct stream_dial *dial)
{
    dial->dialing = true;
    nng_stream_dialer_dial(dial->nng, dial->aio);
}

/* The end of every dial: `stream` is connected, or `status` and error_text() say why there is none. */
static void dial_report(struct stream_dial *dial, int status, struct stream *stream)
{
    stream_dialed_fn *fn = dial->fn;
    void *arg = dial->arg;
    dial_free(dial);
    fn(arg, status, stream);
}

static int dial_ended_text(const struct stream_dial *dial)
{
    return dial->ended_by == ROOST_ETIMEDOUT
               ? error_set(ROOST_ETIMEDOUT, "connecting to %s: no answer within %u ms", dial->target, dial->timeout_ms)
               : error_set(ROOST_ECANCELED, "connecting to %s: given up", dial->target);
}

/* The connection did not come about, and its stream is gone. */
static void on_unconnected(void *arg)
{
    struct stream_dial *dial = arg;
    int status = dial->ended_by != 0 ? dial_ended_text(dial)
                                     : error_set(ROOST_ECONNECT, "connecting to %s: refused", dial->target);
    dial_report(dial, status, NULL);
}

static void on_connected(void *arg, int status, size_t bytes)
{
    (void)bytes;
    struct stream_dial *dial = arg;
    if (dial->ended_by != 0) {
        return; /* the stream is being closed, on_unconnected() comes */
    }
    if (status != 0) {
        stream_close(dial->stream, on_unconnected, dial);
        return;
    }
    print_peer(dial->stream->nng, dial->stream->peer);
    dial_report(dial, 0, dial->stream);
}

static void on_dialed(void *arg)
{
    struct stream_dial *dial = arg;
    nng_stream *nng = dial->dialing && dial->nng_error == 0 ? nng_aio_get_output(dial->aio, 0) : NULL;
    dial->dialing = false;
    if (dial->ended_by != 0) {
        if (nng != NULL) {
            discard(nng);
        }
        dial_report(dial, dial_ended_text(dial), NULL);
    } else if (dial->nng_error == NNG_EAGAIN) {
        loop_timer_arm(&dial->retry, loop_now_ns() + STREAM_DIAL_RETRY_MS * UINT64_C(1000000));
    } else if (nng == NULL) {
        dial_report(dial, error_from_nng(dial->nng_error, "connecting to", dial->target), NULL);
    } else if ((dial->stream = stream_wrap(dial->loop, nng, NULL)) == NULL) {
        dial_report(dial, error_set(ROOST_ENOMEM, "connecting to %s: out of memory", dial->target), NULL);
    } else {
        stream_wait_connected(dial->stream, on_connected, dial);
    }
}

static void dial_again(void *arg)
{
    struct stream_dial *dial = arg;
    if (dial->ended_by != 0) {
        on_dialed(dial);
    } else {
        dial_submit(dial);
    }
}

static void dial_end(struct stream_dial *dial, int why)
{
    if (dial->ended_by != 0) {
        return;
    }
    dial->ended_by = why;
    if (dial->stream != NULL) {
        stream_close(dial->stream, on_unconnected, dial);
    } else if (dial->dialing) {
        nng_aio_abort(dial->aio, NNG_ECANCELED);
    } else {
        loop_timer_arm(&dial->retry, loop_now_ns());
    }
}

static void dial_expire(void *arg) { dial_end(arg, ROOST_ETIMEDOUT); }

void stream_dial_cancel(struct stream_dial *dial) { dial_end(dial, ROOST_ECANCELED); }

static int dial_start(struct stream_dial *dial, const char *url)
{
    int failed;
    first_call_begins();
    failed = nng_stream_dialer_alloc(&dial->nng, url);
    nng_threads_starting(false);
    if (failed != 0 || (failed = nng_stream_dialer_set_bool(dial->nng, NNG_OPT_TCP_NODELAY, true)) != 0 ||
        (failed = nng_stream_dialer_set_bool(dial->nng, NNG_OPT_TCP_KEEPALIVE, true)) != 0) {
        return failed;
    }
    return nng_aio_alloc(&dial->aio, dial_step, dial);
}

int stream_dial(struct loop *loop, const struct address *address, unsigned timeout_ms, stream_dialed_fn *fn, void *arg,
                struct stream_dial **dial_out)
{
    struct stream_dial *dial = calloc(1, sizeof *dial);
    if (dial == NULL) {
        return error_set(ROOST_ENOMEM, "connecting: out of memory");
    }
    dial->loop = loop;
    dial->timeout_ms = timeout_ms;
    dial->fn = fn;
    dial->arg = arg;
    dial->task = (struct loop_task){ .run = on_dialed, .arg = dial };
    loop_timer_init(&dial->deadline, loop, dial_expire, dial);
    loop_timer_init(&dial->retry, loop, dial_again, dial);
    loop_hold(loop);
    address_print(address, dial->target);
    char url[ADDRESS_TEXT_BYTES + 8];
    url_of(address, url);
    int failed = dial_start(dial, url);
    if (failed != 0) {
        int status = error_from_nng(failed, "connecting to", dial->target);
        dial_free(dial);
        return status;
    }
    loop_timer_arm(&dial->deadline, loop_now_ns() + timeout_ms * UINT64_C(1000000));
    dial_submit(dial);
    *dial_out = dial;
    return 0;
}

/* nng_fini() before nng was ever used closes descriptors 0 and 0. */
void nng_threads_end(void)
{
    if (atomic_exchange(&nng_is_used, false)) {
        nng_fini();
    }
}
