/* peers_internal.h - what peers.c (the set, and strangers) and peer.c (one peer) share */
#ifndef ROOST_PROTO_IO_PEERS_INTERNAL_H
#define ROOST_PROTO_IO_PEERS_INTERNAL_H

#include "common/id_map.h"
#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "proto/io/peers.h"
#include "proto/session.h"

struct link {             /* one connection; its endpoint's arg, freed when that has closed */
    struct list_node all; /* peers.links */
    struct peers *peers;
    struct peer *peer; /* NULL: a stranger, or whoever it was has another connection now */
    struct endpoint *endpoint;
    bool is_dialed, is_open;
};

struct peer {
    struct peers *peers;
    struct list_node all, due; /* due: something is to be sent or announced by peers_flush() */
    struct session session;
    struct node_id node;
    struct link *link; /* NULL: no connection */
    struct loop_timer timer;
    char address[ADDRESS_TEXT_BYTES];
    bool is_dialed, has_session, was_up; /* has_session: between on_up and on_lost */
    bool is_closed;
    unsigned busy; /* calls that use it; it is freed when closed and not busy */
    enum peer_silence silence;
    unsigned retry_ms;
    uint64_t dial_at_ns, greet_by_ns, up_ns; /* UINT64_MAX: never */
    uint64_t armed_ns;                       /* what the timer was armed for last */
    uint64_t key;
    void *arg;
    bool down_is_due;
    int down_status;
    char down_text[SESSION_TEXT_BYTES];
};

struct peers {
    struct loop *loop;
    const struct peers_handler *handler;
    void *arg;
    struct node_id self;
    uint64_t jitter, hello_ns, suspect_ns, dead_ns;
    unsigned peers_max, count;
    struct endpoint_listener *listener;
    char address[ADDRESS_TEXT_BYTES];
    struct list_node all, due, links;
    struct id_map by_node, by_key;
    struct proto_arena decoded, scratch;
    bool is_closed;
    unsigned holds; /* the owner's, one per link, one per call that uses it */
};

extern const struct endpoint_handler peers_endpoint_handler;

void peers_hold(struct peers *peers);
void peers_release(struct peers *peers);
struct link *peers_link(struct peers *peers, struct peer *peer); /* NULL: no memory */
void peers_forget_link(struct link *link);

/* NULL with a text: ROOST_ELIMIT, ROOST_ENOMEM. */
struct peer *peer_create(struct peers *peers, struct node_id node, const char *address, int *status_out);

/* A stranger's connection becomes this peer's, with its hello. On failure it is the stranger's still. */
int peer_attach(struct peer *peer, struct link *link, const void *hello, size_t size);
void peer_connected(struct peer *peer); /* its own dial stands */
void peer_received(struct peer *peer, const void *frame, size_t size);
void peer_disconnected(struct peer *peer, int status, const char *text); /* its link is gone */

/* Gives out what is due; the peer may be gone after it. */
void peer_announce(struct peer *peer);
void peer_flush(struct peer *peer);
void peer_arm(struct peer *peer);
void peer_dial_at(struct peer *peer, uint64_t at_ns);

#endif
