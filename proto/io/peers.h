/* peers.h - live sessions with other machines: proto/session.h over common/io/endpoint.h
 *
 * A daemon owns one struct peers. A peer is a remote with whom there is, or shall be, a session; it outlives its
 * connections. A dialed peer is the owner's: it is connected to, again and again, until peer_close(). An accepted peer
 * is found by the node in its hello, or made by it, and goes by itself when it has neither connection nor session; a
 * command (no node) goes with its connection.
 *
 *     peers_dial() -> [on_down]* -> on_up -> (on_message* on_batch_end | on_down)* -> on_lost -> [on_up ...] -> on_gone
 *
 * The owner calls peers_flush() at the end of each turn of the loop (loop_on_turn_end): what was sent in the turn goes
 * out then, and what became due outside a frame (a session lost by a send) is announced.
 *
 * Everything belongs to the loop's thread; nothing blocks. Callbacks come from the loop or from peers_flush(), never
 * from inside another call, and may call anything here, peers_close() included. */
#ifndef ROOST_PROTO_IO_PEERS_H
#define ROOST_PROTO_IO_PEERS_H

#include "proto/message.h"

struct endpoint_listener;
struct loop;
struct peers;
struct peer;

enum peer_silence { PEER_HEARD = 1, PEER_SUSPECT, PEER_DEAD };

struct peers_handler {
    /* Fill in what we say of ourselves on a new connection, all but the first group; everything it points to is read
     * before the next turn. `hello_out` is zeroed. */
    void (*say_hello)(void *arg, struct proto_hello *hello_out);

    /* Somebody connected and said this. 0: goes on; negative: refused with this status and error_text() (roles,
     * tokens). Versions and clusters have still to be compared: only on_up says that there is a session. */
    int (*on_hello)(void *arg, const struct proto_hello *hello);

    /* There is a session, or (resumed) there is a connection again and nothing was lost. peer_seen() is what the peer
     * has applied of it. The place for peer_set_key(). */
    void (*on_up)(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello);

    /* In order, once. `seen`: what the peer had applied of ours when it began the batch. Borrowed for the call. */
    void (*on_message)(void *arg, struct peer *peer, uint32_t batch, uint32_t seen,
                       const struct proto_message *message);

    /* After the last message of each batch, and for each batch without messages (`batch` 0): a sign of life. */
    void (*on_batch_end)(void *arg, struct peer *peer, uint32_t batch, uint32_t seen);

    /* Nothing more of this session; sends fail until the next on_up, which will not be a resumed one. */
    void (*on_lost)(void *arg, struct peer *peer, int status, const char *text);

    /* May be NULL. A connection ended, was refused, or could not be had; the session, if there is one, stands. A dialed
     * peer is tried again. */
    void (*on_down)(void *arg, struct peer *peer, int status, const char *text);

    /* May be NULL. The silence of a session has reached suspect_ms, dead_ms, or has ended. A connection that is silent
     * for dead_ms is cut. */
    void (*on_silence)(void *arg, struct peer *peer, enum peer_silence silence);

    /* The last of an accepted peer that had an on_up; it is freed after it. A session that stood was lost before. Not
     * after peer_close(). */
    void (*on_gone)(void *arg, struct peer *peer);
};

struct peers_options {
    const char *listen;           /* "HOST:PORT", port 0: a free one; NULL: only dials. Loopback */
    struct node_id self;          /* none for a command */
    uint64_t seed;                /* of the jitter between dials; 0: random */
    unsigned hello_ms;            /* 0: PEERS_HELLO_MS. A connection that has not greeted by then is cut */
    unsigned suspect_ms, dead_ms; /* 0: NODE_SUSPECT_MS, NODE_DEAD_MS */
    unsigned peers_max;           /* 0: NODES_MAX + PEERS_COMMANDS_MAX; beyond it strangers are refused: ROOST_ELIMIT */
};

/* `handler` and `arg` are borrowed until peers_close(), the options for the call.
 * Errors: those of endpoint_listen(); ROOST_EINVAL (the address), ROOST_ENOMEM. */
int peers_open(struct peers **peers_out, struct loop *loop, const struct peers_options *options,
               const struct peers_handler *handler, void *arg);

/* No callback after this. What the endpoints still hold is sent if the other side takes it within ENDPOINT_LINGER_MS;
 * the memory goes with the last connection, at the latest in loop_destroy(). Accepts NULL. */
void peers_close(struct peers *peers);

/* "HOST:PORT" with the port that was bound; "" without a listener. Valid until peers_close(). */
const char *peers_address(const struct peers *peers);

/* Where connections of another kind may come in at the same port (bulk.h); NULL without a listener. Valid until
 * peers_close(). */
struct endpoint_listener *peers_listener(const struct peers *peers);

/* A peer to connect to, first in the next turn, then after each loss with growing pauses. `node`: who it is, so that
 * a connection that it makes to us is used as well; none when unknown. At most one peer a node.
 * Errors: ROOST_EINVAL (no address), ROOST_EEXIST (the node has a peer), ROOST_ELIMIT, ROOST_ENOMEM. */
int peers_dial(struct peers *peers, const char *address, struct node_id node, struct peer **peer_out);

/* Everything sent since the last call goes out, and what is due is announced. */
void peers_flush(struct peers *peers);

/* Queues a message for this turn's flush; what it points to is borrowed for the call.
 * Errors: those of session_add(). After ROOST_EBUSY the session is lost and on_lost comes. */
int peers_send(struct peer *peer, const struct proto_message *message);

/* The number of the batch in which the message travels that was sent last. */
uint32_t peer_last_batch(const struct peer *peer);

/* The newest of our batches that the peer is known to have applied in this session. */
uint32_t peer_seen(const struct peer *peer);

/* session_room_bytes(). */
uint64_t peer_room_bytes(const struct peer *peer);

/* CLOCK_MONOTONIC of the last word of the peer, also of earlier connections. */
uint64_t peer_heard_ns(const struct peer *peer);

/* The name by which the owner finds it; 0: none. No other peer of these has it. */
void peer_set_key(struct peer *peer, uint64_t key);
uint64_t peer_key(const struct peer *peer);
struct peer *peers_find(const struct peers *peers, uint64_t key);

/* Memory of the owner's. */
void peer_set_arg(struct peer *peer, void *arg);
void *peer_arg(const struct peer *peer);

/* "HOST:PORT" that was dialed or connected from, for logs. */
const char *peer_address(const struct peer *peer);

/* End the session from this side: on_lost comes, the connection is cut, the peer learns it when it comes back.
 * Nothing happens without a session, except that the connection is cut. */
void peer_lose(struct peer *peer, int status, const char *text);

/* The owner needs it no more: what was sent goes out if it still can, then it is gone, without a callback. */
void peer_close(struct peer *peer);

#endif
