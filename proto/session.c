/* session.c - numbered batches, kept until acknowledged
 *
 * Owns the batches that the peer has not acknowledged, and what is due to the session's owner.
 *
 * Happy path: DOWN -> connected -> GREETING -> the peer's hello -> UP -> (batch)* -> disconnected -> DOWN.
 * The hello says both halves as its sender knows them. A session goes on (resumed) when each side knows the other's
 * half. Then everything after the hello's `seen` is sent again. A hello with the peer's half that does not know ours
 * was sent before the peer had heard ours: as long as no frame of the peer says that it has, the session goes on with
 * all of its batches, and the peer begins it; later it is a hello that another connection has overtaken.
 *
 * Failures:   before UP           -> the connection ends, the session stands.
 *             the peer forgot it  -> its hello says so: LOST here, and UP(resumed=false) on both sides. Our half stays:
 *                                    it stands in the hello just sent, and the pair with the peer's new half is new.
 *             lost on this side   -> a new half, so that the peer finds out.
 *             an overtaken hello  -> both sides dialed: its connection ends, the session stands.
 *             old number          -> counted, dropped; happens when a batch crossed with the cut.
 *             gap, false seen     -> a broken peer: LOST.
 *             credit              -> the peer sends more than it may, or acknowledges nothing: LOST.
 * Invariants: kept batches have the numbers acknowledged + 1 to number_last, without holes; kept_bytes is their sum and
 *             the open one's; `next` cuts them in sent and not sent on this connection; applied <= received.
 * Thread:     the owner's.
 */
#include "proto/session.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/decode.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS UINT64_C(1000000)

enum { BATCH_START_BYTES_MAX = 32 };

struct session_batch {
    struct list_node link;
    uint32_t number, seen, count;
    bool was_sent;
    struct proto_buffer frame;
};

static struct session_batch *batch_of(struct list_node *node) { return CONTAINER_OF(node, struct session_batch, link); }

static void batch_free(struct session_batch *batch)
{
    if (batch != NULL) {
        list_remove(&batch->link);
        proto_buffer_fini(&batch->frame);
        free(batch);
    }
}

void session_init(struct session *session, uint64_t half, struct proto_arena *decoded, struct proto_arena *scratch,
                  uint64_t now_ns)
{
    ROOST_PRE(half != 0);
    ROOST_PRE(decoded != scratch);
    *session = (struct session){
        .state = SESSION_DOWN, .self = half, .decoded = decoded, .scratch = scratch, .heard_ns = now_ns
    };
    list_init(&session->kept);
}

static void forget_batches(struct session *session)
{
    LIST_EACH_SAFE (at, &session->kept) {
        batch_free(batch_of(at));
    }
    batch_free(session->open);
    session->open = session->next = NULL;
    session->kept_bytes = session->flight_bytes = 0;
}

void session_fini(struct session *session)
{
    forget_batches(session);
    proto_buffer_fini(&session->hello);
    proto_buffer_fini(&session->empty);
}

/* ---------------------------------------------------------------------------------------------- losing */

/* The common past is void. The half stays. */
static void begin_anew(struct session *session)
{
    forget_batches(session);
    session->is_established = false;
    session->peer = 0;
    session->number_last = session->number_sent = session->number_acknowledged = 0;
    session->received = session->applied = session->seen_sent = session->seen_in_order = 0;
    session->unacknowledged_bytes = 0;
}

static void announce_loss(struct session *session, int status, const char *text, bool close)
{
    snprintf(session->lost_text, sizeof session->lost_text, "%s", text);
    session->lost = (struct session_event){ .kind = SESSION_EVENT_LOST,
                                            .u.lost = { status, session->lost_text, close } };
    session->lost_is_due = true;
    session->up_is_due = session->messages_are_due = false;
    session->counters.lost++;
}

void session_lose(struct session *session, int status, const char *text)
{
    if (!session->is_established) {
        return;
    }
    announce_loss(session, status, text, true);
    begin_anew(session);
    uint64_t half = hash_mix(session->self, 1);
    session->self = half != 0 ? half : 1;
    session_disconnected(session);
}

void session_disconnected(struct session *session)
{
    session->state = SESSION_DOWN;
    session->hello.size = 0;
    session->flight_bytes = 0;
    session->next = NULL;
}

/* Something from the peer cannot be taken; error_text() says what. */
static int fail(struct session *session, int status)
{
    if (session->state == SESSION_UP) {
        session_lose(session, status, error_text());
    }
    session_disconnected(session);
    return status;
}

/* ---------------------------------------------------------------------------------------------- out */

int session_connected(struct session *session, const struct proto_hello *hello, uint64_t now_ns)
{
    session_disconnected(session);
    struct proto_hello filled = *hello;
    filled.version_min = PROTO_VERSION_MIN;
    filled.version_max = PROTO_VERSION_MAX;
    filled.session = session->self;
    filled.session_peer = session->peer;
    filled.seen = session->applied;
    filled.credit_bytes = PROTO_CREDIT_BYTES;
    int status = proto_encode_hello(session->scratch, &filled, &session->hello);
    if (status == 0) {
        session->cluster = hello->cluster;
        session->state = SESSION_GREETING;
        session->sent_ns = now_ns; /* a connection is not a word from the peer: heard_ns stays */
    }
    return status;
}

/* A new open batch, or NULL with a text. The number is used up only when the batch ends. */
static struct session_batch *open_batch(struct session *session)
{
    struct session_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        error_set(ROOST_ENOMEM, "a batch");
        return NULL;
    }
    list_init(&batch->link);
    batch->number = session->number_last + 1;
    batch->seen = session->applied;
    if (proto_encode_batch_start(batch->number, batch->seen, &batch->frame) != 0) {
        batch_free(batch);
        return NULL;
    }
    session->open = batch;
    session->kept_bytes += batch->frame.size;
    return batch;
}

static void drop_open_batch(struct session *session)
{
    session->kept_bytes -= session->open->frame.size;
    batch_free(session->open);
    session->open = NULL;
}

static void end_batch(struct session *session)
{
    struct session_batch *batch = session->open;
    ROOST_INVARIANT(batch->count > 0);
    session->open = NULL;
    session->number_last = batch->number;
    list_append(&session->kept, &batch->link);
    if (session->next == NULL) {
        session->next = batch;
    }
}

/* An encoded message into the open batch, which is empty. */
static int append_bytes(struct session *session, const struct proto_buffer *message)
{
    struct session_batch *batch = session->open;
    int status = proto_buffer_append(&batch->frame, message->bytes, message->size);
    if (status != 0) {
        drop_open_batch(session);
        return status;
    }
    session->kept_bytes += message->size;
    batch->count = 1;
    return 0;
}

/* Takes back the message that stands from byte `from` on. */
static int take_back(struct session *session, size_t from, int status)
{
    struct session_batch *batch = session->open;
    session->kept_bytes -= batch->frame.size - from;
    batch->frame.size = from;
    if (batch->count == 0) {
        drop_open_batch(session);
    }
    return status;
}

/* The message that stands from byte `from` on made the open batch too long: it begins the next one. */
static int split_batch(struct session *session, size_t from)
{
    struct session_batch *full = session->open;
    struct proto_buffer moved = { NULL, 0, 0 };
    int status = proto_buffer_append(&moved, full->frame.bytes + from, full->frame.size - from);
    take_back(session, from, 0);
    end_batch(session);
    if (status == 0) {
        status = open_batch(session) == NULL ? ROOST_ENOMEM : append_bytes(session, &moved);
    }
    proto_buffer_fini(&moved);
    return status;
}

static int put_in_batch(struct session *session, const struct proto_message *message)
{
    struct session_batch *batch = session->open != NULL ? session->open : open_batch(session);
    if (batch == NULL) {
        return ROOST_ENOMEM;
    }
    size_t from = batch->frame.size;
    int status = proto_encode_message(session->scratch, message, &batch->frame);
    size_t bytes = batch->frame.size - from;
    session->kept_bytes += bytes;
    if (status == 0 && bytes > PROTO_FRAME_BYTES_MAX - BATCH_START_BYTES_MAX) {
        status = error_set(ROOST_ETOOBIG, "%s: %zu bytes, more than a frame", proto_kind_name(message->kind), bytes);
    }
    if (status != 0) {
        return take_back(session, from, status);
    }
    if (batch->count > 0 && batch->frame.size > PROTO_BATCH_BYTES) {
        return split_batch(session, from);
    }
    batch->count++;
    return 0;
}

int session_add(struct session *session, const struct proto_message *message)
{
    if (!session->is_established || session->lost_is_due || session->up_is_due) {
        return error_set(ROOST_ESTATE, "no session to send a %s on", proto_kind_name(message->kind));
    }
    if (session->number_last >= UINT32_MAX - 2) {
        session_lose(session, ROOST_EBUSY, "the numbers of its batches are used up");
        return error_set(ROOST_EBUSY, "%s", session->lost_text);
    }
    int status = put_in_batch(session, message);
    if (status == 0 && session->open->frame.size > PROTO_BATCH_BYTES) {
        end_batch(session);
    }
    if (session->kept_bytes > PROTO_CREDIT_BYTES) {
        session_lose(session, ROOST_EBUSY, "the peer has left all its credit unacknowledged");
        return error_set(ROOST_EBUSY, "%s", session->lost_text);
    }
    return status;
}

uint64_t session_room_bytes(const struct session *session) { return PROTO_CREDIT_BYTES - session->kept_bytes; }

static void note_seen_sent(struct session *session, uint32_t seen)
{
    if (seen > session->seen_sent) {
        session->seen_sent = seen;
    }
    if (seen == session->applied) { /* all but the batch at hand, if there is one */
        session->unacknowledged_bytes = session->applied == session->received ? 0 : session->last_bytes;
    }
}

static bool flush_batch(struct session *session, struct proto_bytes *frame_out)
{
    if (session->next == NULL && session->open != NULL &&
        session->flight_bytes + session->open->frame.size <= session->window_bytes) {
        end_batch(session);
    }
    struct session_batch *batch = session->next;
    if (batch == NULL || session->flight_bytes + batch->frame.size > session->window_bytes) {
        return false;
    }
    session->next = batch->link.next == &session->kept ? NULL : batch_of(batch->link.next);
    session->flight_bytes += batch->frame.size;
    session->number_sent = batch->number > session->number_sent ? batch->number : session->number_sent;
    batch->was_sent ? session->counters.batches_resent++ : session->counters.batches_sent++;
    batch->was_sent = true;
    note_seen_sent(session, batch->seen);
    *frame_out = (struct proto_bytes){ batch->frame.bytes, batch->frame.size };
    return true;
}

static bool flush_empty(struct session *session, uint64_t now_ns, struct proto_bytes *frame_out)
{
    if (session->seen_sent == session->applied && now_ns < session_deadline_ns(session)) {
        return false;
    }
    session->empty.size = 0;
    if (proto_encode_empty(session_last_number(session), session->applied, &session->empty) != 0) {
        return false; /* no memory for 16 bytes: the next turn tries again */
    }
    session->counters.empty_sent++;
    note_seen_sent(session, session->applied);
    *frame_out = (struct proto_bytes){ session->empty.bytes, session->empty.size };
    return true;
}

bool session_flush(struct session *session, uint64_t now_ns, struct proto_bytes *frame_out)
{
    if (session->state == SESSION_DOWN) {
        return false;
    }
    if (session->hello.size > 0) {
        *frame_out = (struct proto_bytes){ session->hello.bytes, session->hello.size };
        session->hello.size = 0;
    } else if (session->state != SESSION_UP ||
               (!flush_batch(session, frame_out) && !flush_empty(session, now_ns, frame_out))) {
        return false;
    }
    session->sent_ns = now_ns;
    return true;
}

/* ---------------------------------------------------------------------------------------------- in */

static int acknowledge(struct session *session, uint32_t seen)
{
    if (seen > session->number_sent) {
        return error_set(ROOST_EINVAL, "batch %u is acknowledged, the last one sent was %u", seen,
                         session->number_sent);
    }
    LIST_EACH_SAFE (at, &session->kept) {
        struct session_batch *batch = batch_of(at);
        if (batch->number > seen) {
            break;
        }
        if (session->next == batch) { /* sent on an earlier connection, and arrived */
            session->next = at_next == &session->kept ? NULL : batch_of(at_next);
        } else {
            session->flight_bytes -= session->state == SESSION_UP ? batch->frame.size : 0;
        }
        session->kept_bytes -= batch->frame.size;
        batch_free(batch);
    }
    session->number_acknowledged = seen > session->number_acknowledged ? seen : session->number_acknowledged;
    return 0;
}

/* Sent before this session, or before it had begun on the other side; but the peer is in it: a frame of it has come.
 * Two connections that cross bring such a hello when both sides dial. */
static bool is_overtaken(const struct session *session, const struct proto_hello *hello)
{
    bool is_earlier = hello->session == session->peer ? hello->session_peer != session->self
                                                      : hello->session == session->peer_before;
    return session->is_established && is_earlier && (session->received > 0 || session->number_acknowledged > 0);
}

int session_check_hello(const struct session *session, const struct proto_hello *hello)
{
    if (hello->version_min > PROTO_VERSION_MAX || hello->version_max < PROTO_VERSION_MIN) {
        return error_set(ROOST_EVERSION, "%s speaks versions %u to %u of the protocol, this side %d to %d", hello->host,
                         hello->version_min, hello->version_max, PROTO_VERSION_MIN, PROTO_VERSION_MAX);
    }
    if (!cluster_id_is_none(hello->cluster) && !cluster_id_is_none(session->cluster) &&
        !cluster_id_eq(hello->cluster, session->cluster)) {
        return error_set(ROOST_EAUTH, "%s belongs to another cluster", hello->host);
    }
    if (hello->session == session->self) {
        return error_set(ROOST_EAUTH, "connected to itself");
    }
    if (is_overtaken(session, hello)) {
        return error_set(ROOST_ESTATE, "a hello of %s from before this session", hello->host);
    }
    return 0;
}

/* Goes on where the last connection ended: what the peer has not seen is sent again. */
static int resume(struct session *session, const struct proto_hello *hello)
{
    int status = acknowledge(session, hello->session_peer == session->self ? hello->seen : 0);
    if (status != 0) {
        session_lose(session, status, error_text());
        return status;
    }
    session->next = list_is_empty(&session->kept) ? NULL : batch_of(session->kept.next);
    session->seen_sent = session->applied;
    session->unacknowledged_bytes = 0;
    return 0;
}

static int take_hello(struct session *session)
{
    const struct proto_hello *hello = &session->frame.hello;
    int status = session_check_hello(session, hello);
    bool resumed = session->is_established && hello->session == session->peer;
    if (status == 0 && resumed) {
        status = resume(session, hello);
    }
    if (status != 0) {
        return status;
    }
    if (!resumed && session->is_established) {
        announce_loss(session, ROOST_EDISCONNECTED, "the peer has begun a new session", false);
        session->peer_before = session->peer;
    }
    if (!resumed) {
        begin_anew(session);
    }
    session->is_established = true;
    session->peer = hello->session;
    session->version = hello->version_max < PROTO_VERSION_MAX ? hello->version_max : PROTO_VERSION_MAX;
    session->window_bytes = hello->credit_bytes;
    session->state = SESSION_UP;
    session->up = (struct session_event){ .kind = SESSION_EVENT_UP, .u.up = { resumed, session->version, hello } };
    session->up_is_due = true;
    return 0;
}

static int take_batch(struct session *session, size_t size)
{
    const struct proto_frame *frame = &session->frame;
    int status = acknowledge(session, frame->seen);
    if (status != 0) {
        return status;
    }
    if (frame->number == 0) {
        session->seen_in_order = frame->after <= session->received ? frame->seen : session->seen_in_order;
        return 0;
    }
    if (frame->number <= session->received) {
        session->counters.duplicates++;
        return 0;
    }
    if (frame->number != session->received + 1) {
        return error_set(ROOST_EINVAL, "batch %u came after batch %u", frame->number, session->received);
    }
    session->unacknowledged_bytes += size;
    if (session->unacknowledged_bytes > PROTO_CREDIT_BYTES) {
        return error_set(ROOST_ETOOBIG, "the peer sends beyond its credit of %d bytes", PROTO_CREDIT_BYTES);
    }
    session->received = frame->number;
    session->seen_in_order = frame->seen;
    session->last_bytes = size;
    session->counters.batches_received++;
    session->messages = (struct session_event){
        .kind = SESSION_EVENT_MESSAGES, .u.messages = { frame->number, frame->seen, frame->messages, frame->count }
    };
    session->messages_are_due = true;
    return 0;
}

static int take_frame(struct session *session, size_t size)
{
    switch (session->frame.kind) {
    case PROTO_FRAME_HELLO:
        return session->state == SESSION_GREETING ? take_hello(session) : error_set(ROOST_EINVAL, "a second hello");
    case PROTO_FRAME_REFUSAL:
        return error_set(session->frame.refusal.status, "refused by the peer: %s", session->frame.refusal.text);
    case PROTO_FRAME_BATCH:
        return session->state == SESSION_UP ? take_batch(session, size)
                                            : error_set(ROOST_EINVAL, "a batch before the hello");
    }
    ROOST_IMPOSSIBLE("a kind of frame that decode.c lets through");
}

/* The owner has taken in all that came. */
static void apply(struct session *session)
{
    if (session->applied != session->received) {
        session->applied = session->received;
        if (session->open != NULL) { /* it says that it has seen less */
            end_batch(session);
        }
    }
}

int session_received(struct session *session, const void *bytes, size_t size, uint64_t now_ns)
{
    ROOST_PRE(!session->lost_is_due && !session->up_is_due && !session->messages_are_due);
    apply(session);
    if (session->state == SESSION_DOWN) {
        return error_set(ROOST_EDISCONNECTED, "a frame without a connection");
    }
    if (session->state == SESSION_GREETING && size > PROTO_HELLO_BYTES_MAX) {
        return fail(session,
                    error_set(ROOST_ETOOBIG, "a first frame of %zu bytes, at most %d", size, PROTO_HELLO_BYTES_MAX));
    }
    proto_arena_clear(session->decoded);
    int status = proto_decode(session->decoded, bytes, size, &session->frame);
    if (status == 0) {
        session->heard_ns = now_ns;
        status = take_frame(session, size);
    }
    return status == 0 ? 0 : fail(session, status);
}

static bool take_due(bool *is_due, const struct session_event *event, struct session_event *event_out)
{
    if (!*is_due) {
        return false;
    }
    *is_due = false;
    *event_out = *event;
    return true;
}

bool session_next(struct session *session, struct session_event *event_out)
{
    if (take_due(&session->lost_is_due, &session->lost, event_out) ||
        take_due(&session->up_is_due, &session->up, event_out) ||
        take_due(&session->messages_are_due, &session->messages, event_out)) {
        return true;
    }
    apply(session);
    return false;
}

/* ---------------------------------------------------------------------------------------------- time */

uint64_t session_deadline_ns(const struct session *session)
{
    return session->state == SESSION_UP ? session->sent_ns + HEARTBEAT_MS * NS_PER_MS : UINT64_MAX;
}
