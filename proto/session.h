/* session.h - one conversation with one peer, longer than its connections
 *
 * Pure: bytes in, bytes out, time passed in; the owner has the streams and the timers. Messages go in numbered batches;
 * each side keeps what it has sent until the other acknowledges it, and sends it again on the next connection. So each
 * message is seen once and in order, or the session is lost as a whole, and both sides learn it.
 *
 * The owner's loop, per peer:
 *
 *     connected:   session_connected(), then flush
 *     a frame:     session_received(); close the connection if it fails; then session_next() until it says false
 *     to send:     session_add() as often as there is something to say
 *     once a turn, and when session_deadline_ns() is past:
 *                  while (session_flush(session, now_ns, &frame)) the stream sends frame
 *     closed:      session_disconnected()
 *
 * Who accepts a connection finds the session by the first frame: proto_decode() it, see the hello's node and check its
 * token, then session_connected() and session_received() with that frame. Two connections between the same two: the
 * newer one counts.
 *
 * `seen`. What a batch says it has seen is what its sender's core had applied, whole, when the batch was begun; a batch
 * is ended when that changes. While the messages of batch N are given to the core, what the core adds is still said to
 * have seen N - 1. Therefore a core emits DROP, and a LIST, not from the step of a message but from a timer armed for
 * now, which the host runs after the last message of a batch: only so is "after the DROP's `seen`" (rule 2) exact. */
#ifndef ROOST_PROTO_SESSION_H
#define ROOST_PROTO_SESSION_H

#include "common/list.h"
#include "proto/arena.h"
#include "proto/encode.h"
#include "proto/message.h"

enum { SESSION_TEXT_BYTES = 256 };

enum session_state {
    SESSION_DOWN = 1, /* no connection */
    SESSION_GREETING, /* connected; the peer's hello has not come */
    SESSION_UP
};

enum session_event_kind { SESSION_EVENT_LOST = 1, SESSION_EVENT_UP, SESSION_EVENT_MESSAGES };

/* Borrowed until the next session_received() on any session that shares the arena. */
struct session_event {
    enum session_event_kind kind;
    union {
        struct {
            int status;       /* why: negative, and in words */
            const char *text; /* valid until the session is lost again */
            bool close;       /* the connection, if there is one, is of no more use; else UP follows at once */
        } lost;
        struct {
            bool resumed; /* false: this side begins anew and lists */
            uint32_t version;
            const struct proto_hello *hello; /* the peer's */
        } up;
        struct {
            uint32_t number, seen;
            const struct proto_message *messages;
            size_t count;
        } messages;
    } u;
};

struct session_counters {
    uint64_t batches_sent, batches_resent, batches_received, duplicates, empty_sent, lost;
};

struct session_batch;

/* Embedded by its owner; the members are the session's own. */
struct session {
    enum session_state state;
    bool is_established;       /* there is a common past: `peer`, the numbers and the kept batches mean something */
    uint64_t self, peer;       /* the two halves, never used again: together they name the session */
    uint64_t peer_before;      /* the half that the peer's present one came in place of, or 0 */
    struct cluster_id cluster; /* ours, of the last hello */
    uint32_t version;          /* spoken on this connection */

    /* out */
    struct list_node kept;      /* of struct session_batch, ended, not acknowledged, ascending */
    struct session_batch *next; /* the first of them not sent on this connection, or NULL */
    struct session_batch *open; /* being filled, or NULL */
    uint32_t number_last;       /* of the newest ended batch */
    uint32_t number_sent;       /* the newest ever sent */
    uint32_t number_acknowledged;
    uint64_t kept_bytes;   /* with the open one; at most PROTO_CREDIT_BYTES */
    uint64_t flight_bytes; /* sent on this connection and not acknowledged; at most window_bytes */
    uint64_t window_bytes; /* the peer's credit */

    /* in */
    uint32_t received, applied;    /* newest batch decoded; newest that the owner's core has taken whole */
    uint32_t seen_in_order;        /* see session_seen_in_order() */
    uint32_t seen_sent;            /* newest acknowledgement handed out */
    uint64_t last_bytes;           /* of batch `received` */
    uint64_t unacknowledged_bytes; /* of the batches after seen_sent */

    uint64_t sent_ns, heard_ns;
    struct proto_buffer hello, empty; /* the frames that are no batch; hello is empty once sent */
    struct proto_arena *decoded, *scratch;

    /* events that session_next() has still to give out, in this order */
    bool lost_is_due, up_is_due, messages_are_due;
    struct session_event lost, up, messages;
    struct proto_frame frame;
    char lost_text[SESSION_TEXT_BYTES];
    struct session_counters counters;
};

/* `half` is random, not 0, and new in each life of a process. The arenas are borrowed for good and may be shared by all
 * sessions of a loop: `decoded` holds the frame at hand (PROTO_ARENA_BYTES_MAX), `scratch` a message being encoded. */
void session_init(struct session *session, uint64_t half, struct proto_arena *decoded, struct proto_arena *scratch,
                  uint64_t now_ns);
void session_fini(struct session *session);

/* A new connection. `hello` is borrowed for the call; its first group (versions, halves, seen, credit) is filled in
 * here. Errors: those of proto_encode_hello(), and then the session has no connection. */
int session_connected(struct session *session, const struct proto_hello *hello, uint64_t now_ns);

/* The connection is gone. What was not acknowledged is kept. Also when there was none. */
void session_disconnected(struct session *session);

/* Adds a message to the open batch; everything it points to is borrowed for the call.
 * Errors: ROOST_ESTATE  not before the first UP, not between LOST and UP: nothing was lost that was not announced
 *         ROOST_EBUSY   the peer has left PROTO_CREDIT_BYTES unacknowledged: the session is lost, session_next() says so
 *         those of proto_encode_message(); the message is not sent, all else stands. */
int session_add(struct session *session, const struct proto_message *message);

/* How many bytes of messages fit before ROOST_EBUSY. Senders of long lists wait while it is below half. */
uint64_t session_room_bytes(const struct session *session);

/* The next frame for the stream, if there is one to send now: the hello, batches within the peer's credit, an
 * acknowledgement or a sign of life when nothing else goes. *frame_out is valid until the next call that takes the
 * session, session_next() excepted. */
bool session_flush(struct session *session, uint64_t now_ns, struct proto_bytes *frame_out);

/* A frame came. All events of an earlier one have been taken out.
 * On failure the connection must be closed; it counts as closed already. What goes wrong before the hello has been
 * taken leaves the session as it was; what goes wrong later ends it, and a LOST event says so.
 * Errors: those of proto_decode()
 *         ROOST_EVERSION       no common version
 *         ROOST_EAUTH          of another cluster, or this very session
 *         ROOST_ESTATE         a hello that another connection has overtaken
 *         ROOST_EINVAL         a gap in the numbers, an acknowledgement of what was never sent, a frame out of place
 *         ROOST_ETOOBIG        over its credit, or a first frame that is too long
 *         ROOST_EDISCONNECTED  there is no connection
 *         or what the peer's refusal says. */
int session_received(struct session *session, const void *bytes, size_t size, uint64_t now_ns);

/* Would session_received() take this hello on a new connection? So a good connection is not given up for one that
 * cannot stand. Errors: ROOST_EVERSION, ROOST_EAUTH, ROOST_ESTATE as above. */
int session_check_hello(const struct session *session, const struct proto_hello *hello);

/* The next event, or false. False means that the owner has taken in everything: only then it counts as applied. */
bool session_next(struct session *session, struct session_event *event_out);

/* Ends the session from this side (a peer declared dead, a message that makes no sense): LOST is due, the connection is
 * to be closed, and the peer learns it when it comes back. Nothing happens to one that is not established. */
void session_lose(struct session *session, int status, const char *text);

/* The batch in which the message travels that was added last. */
static inline uint32_t session_last_number(const struct session *session)
{
    return session->number_last + (session->open != NULL);
}

/* The newest of our batches that the peer is known to have applied. */
static inline uint32_t session_acknowledged(const struct session *session) { return session->number_acknowledged; }

/* The newest of our batches that the peer had applied when it said what it had said up to now. It may have acknowledged
 * more by an empty frame that ran ahead of a batch, which waits for credit. */
static inline uint32_t session_seen_in_order(const struct session *session) { return session->seen_in_order; }

/* When the last frame of the peer came, on whatever connection. */
static inline uint64_t session_heard_ns(const struct session *session) { return session->heard_ns; }

/* The silence so far was not the peer's: it is measured from now on. */
static inline void session_excuse_silence(struct session *session, uint64_t now_ns) { session->heard_ns = now_ns; }

/* When session_flush() has something to do even if nothing happens; UINT64_MAX: never. */
uint64_t session_deadline_ns(const struct session *session);

#endif
