/* peer.c - one remote: its session, its connection at the time, its clock
 *
 * Owns the peer's session and the decision when to connect, when to speak and when to give up.
 *
 * Happy path: (dial | accepted) -> our hello -> its hello -> UP -> (frames both ways) -> down -> dial again -> UP,
 *             resumed.
 * Failures:   dial fails, cut, refused     -> down; the session stands; a dialed peer is tried again after a pause that
 *                                             doubles; a command is over.
 *             session lost                 -> on_lost, the connection is cut; what it is good for begins anew.
 *             no hello in time, or silence -> the connection is cut, as if the other side had done it.
 *             this process stood still     -> the silence of that time is nobody's.
 * Invariants: callbacks are made by peer_announce() and on_timer() only, never inside a call of the owner's; a peer
 *             that is closed is never named to its owner again; nothing is read from a connection that was given up
 *             (link->peer is NULL from then on).
 * Clock:      one timer a peer, never moved for a single frame: it fires when the nearest deadline was to be,
 *             and looks.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "peer"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/limits.h"
#include "common/log.h"
#include "proto/io/peers_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS UINT64_C(1000000)

/* ------------------------------------------------------------------------------------------ life */

static void on_timer(void *arg);

struct peer *peer_create(struct peers *peers, struct node_id node, const char *address, int *status_out)
{
    *status_out = ROOST_ELIMIT;
    if (peers->count >= peers->peers_max) {
        error_set(ROOST_ELIMIT, "there are %u peers already", peers->count);
        return NULL;
    }
    *status_out = ROOST_ENOMEM;
    struct peer *peer = calloc(1, sizeof *peer);
    bool is_named = peer != NULL && !node_id_is_none(node);
    if (peer == NULL || (is_named && id_map_put(&peers->by_node, node_id_key(node), peer) != 0)) {
        error_set(ROOST_ENOMEM, "a peer: out of memory");
        free(peer);
        return NULL;
    }
    peer->peers = peers;
    peer->node = node;
    peer->silence = PEER_HEARD;
    peer->retry_ms = PEERS_RETRY_MS_MIN;
    peer->dial_at_ns = peer->greet_by_ns = UINT64_MAX;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    uint64_t half = id_random().hi;
    session_init(&peer->session, half != 0 ? half : 1, &peers->decoded, &peers->scratch, loop_now_ns());
    loop_timer_init(&peer->timer, peers->loop, on_timer, peer);
    list_append(&peers->all, &peer->all);
    list_init(&peer->due);
    peers->count++;
    *status_out = 0;
    return peer;
}

/* Out of every book; the memory goes when nobody uses it. */
static void retire(struct peer *peer)
{
    struct peers *peers = peer->peers;
    ROOST_PRE(!peer->is_closed && peer->link == NULL);
    peer->is_closed = true;
    peer_set_key(peer, 0);
    if (!node_id_is_none(peer->node)) {
        id_map_remove(&peers->by_node, node_id_key(peer->node));
    }
    loop_timer_disarm(&peer->timer);
    list_remove(&peer->all);
    list_remove(&peer->due);
    session_fini(&peer->session);
    peers->count--;
}

static void hold(struct peer *peer)
{
    peers_hold(peer->peers);
    peer->busy++;
}

static void release(struct peer *peer)
{
    struct peers *peers = peer->peers;
    if (--peer->busy == 0 && peer->is_closed) {
        free(peer);
    }
    peers_release(peers);
}

static void is_due(struct peer *peer)
{
    list_remove(&peer->due);
    list_append(&peer->peers->due, &peer->due);
}

/* ------------------------------------------------------------------------------------------ connections */

/* Gives the connection up; nothing of it comes here any more. */
static void let_go(struct peer *peer)
{
    struct link *link = peer->link;
    peer->link = NULL;
    if (link != NULL) {
        link->peer = NULL;
        endpoint_close(link->endpoint);
    }
}

static uint64_t next_pause_ns(struct peer *peer)
{
    struct peers *peers = peer->peers;
    bool was_good = peer->up_ns != 0 && loop_now_ns() - peer->up_ns > PEERS_RETRY_MS_MAX * NS_PER_MS;
    unsigned pause_ms = was_good ? PEERS_RETRY_MS_MIN : peer->retry_ms;
    peer->retry_ms = pause_ms * 2 < PEERS_RETRY_MS_MAX ? pause_ms * 2 : PEERS_RETRY_MS_MAX;
    peers->jitter = hash_mix(peers->jitter, pause_ms);
    return pause_ms * NS_PER_MS / 2 + peers->jitter % (pause_ms * NS_PER_MS / 2);
}

void peer_dial_at(struct peer *peer, uint64_t at_ns)
{
    peer->dial_at_ns = at_ns;
    peer_arm(peer);
}

void peer_disconnected(struct peer *peer, int status, const char *text)
{
    peer->link = NULL;
    peer->greet_by_ns = UINT64_MAX;
    session_disconnected(&peer->session);
    peer->down_is_due = true;
    peer->down_status = status;
    snprintf(peer->down_text, sizeof peer->down_text, "%s", text);
    log_debug("event=down peer=%s status=%s why=\"%s\"", peer->address, error_code_name(status), peer->down_text);
    if (peer->is_dialed) {
        peer_dial_at(peer, loop_now_ns() + next_pause_ns(peer));
    } else if (node_id_is_none(peer->node)) {
        session_lose(&peer->session, status, peer->down_text);
    }
    peer->up_ns = 0;
    is_due(peer);
}

/* `text` may be error_text(), which does not survive the closing. */
static void cut(struct peer *peer, int status, const char *text)
{
    if (peer->link != NULL) {
        char copy[SESSION_TEXT_BYTES];
        snprintf(copy, sizeof copy, "%s", text);
        let_go(peer);
        peer_disconnected(peer, status, copy);
    }
    is_due(peer);
}

static int say_hello(struct peer *peer)
{
    struct peers *peers = peer->peers;
    struct proto_hello hello = { .session = 0 };
    peers->handler->say_hello(peers->arg, &hello);
    peer->greet_by_ns = loop_now_ns() + peers->hello_ns;
    peer_arm(peer);
    is_due(peer);
    return session_connected(&peer->session, &hello, loop_now_ns());
}

static void dial(struct peer *peer)
{
    peer->dial_at_ns = UINT64_MAX;
    struct link *link = peers_link(peer->peers, peer);
    if (link == NULL) {
        peer_disconnected(peer, ROOST_ENOMEM, "connecting: out of memory");
        return;
    }
    link->is_dialed = true;
    int status = endpoint_dial(peer->peers->loop, peer->address, PEERS_DIAL_MS, &peers_endpoint_handler, link,
                               &link->endpoint);
    if (status != 0) {
        peers_forget_link(link);
        peer_disconnected(peer, status, error_text());
        return;
    }
    peer->link = link;
}

void peer_connected(struct peer *peer)
{
    int status = say_hello(peer);
    if (status != 0) {
        log_error("event=bad_hello peer=%s why=\"%s\"", peer->address, error_text());
        cut(peer, status, error_text());
    }
}

/* ------------------------------------------------------------------------------------------ what comes in */

static void was_lost(struct peer *peer, const struct session_event *event)
{
    struct peers *peers = peer->peers;
    if (event->u.lost.close) {
        cut(peer, event->u.lost.status, event->u.lost.text);
    }
    if (peer->has_session) {
        peer->has_session = false;
        peer->silence = PEER_HEARD;
        peers->handler->on_lost(peers->arg, peer, event->u.lost.status, event->u.lost.text);
        if (!peer->is_closed) {
            peer_set_key(peer, 0);
        }
    }
}

static void came_up(struct peer *peer, const struct session_event *event)
{
    struct peers *peers = peer->peers;
    const struct proto_hello *hello = event->u.up.hello;
    if (!node_id_is_none(peer->node) && !node_id_eq(peer->node, hello->node)) {
        session_lose(&peer->session, ROOST_EAUTH, "another node answers at this address");
        return;
    }
    peer->has_session = peer->was_up = true;
    peer->greet_by_ns = UINT64_MAX;
    peer->up_ns = loop_now_ns();
    log_debug("event=up peer=%s resumed=%d", peer->address, event->u.up.resumed);
    peer_arm(peer);
    peers->handler->on_up(peers->arg, peer, event->u.up.resumed, hello);
}

/* What the owner does with one message may end the session, or the peer: then the rest is not for it. */
static void deliver(struct peer *peer, const struct session_event *event)
{
    struct peers *peers = peer->peers;
    for (size_t i = 0; i < event->u.messages.count; i++) {
        if (peer->is_closed || peer->session.lost_is_due) {
            return;
        }
        peers->handler->on_message(peers->arg, peer, event->u.messages.number, event->u.messages.seen,
                                   &event->u.messages.messages[i]);
    }
}

static void say_down(struct peer *peer)
{
    struct peers *peers = peer->peers;
    if (peer->down_is_due && !peer->is_closed) {
        peer->down_is_due = false;
        if (peers->handler->on_down != NULL && (peer->is_dialed || peer->was_up)) {
            peers->handler->on_down(peers->arg, peer, peer->down_status, peer->down_text);
        }
    }
}

/* An accepted peer that has nothing left is gone. */
static void go_if_over(struct peer *peer)
{
    struct peers *peers = peer->peers;
    if (peer->is_closed || peer->is_dialed || peer->link != NULL || peer->has_session ||
        peer->session.state != SESSION_DOWN) {
        return;
    }
    if (peer->was_up && peers->handler->on_gone != NULL) {
        peers->handler->on_gone(peers->arg, peer);
    }
    if (!peer->is_closed) {
        retire(peer);
    }
}

/* Returns the batch that was delivered, 0 when there was none, with what it has seen. */
static uint32_t announce(struct peer *peer, uint32_t *seen_out)
{
    struct session_event event;
    uint32_t batch = 0;
    *seen_out = session_seen_in_order(&peer->session);
    say_down(peer);
    while (!peer->is_closed && session_next(&peer->session, &event)) {
        switch (event.kind) {
        case SESSION_EVENT_LOST:
            was_lost(peer, &event);
            break;
        case SESSION_EVENT_UP:
            came_up(peer, &event);
            break;
        case SESSION_EVENT_MESSAGES:
            batch = event.u.messages.number;
            *seen_out = event.u.messages.seen;
            deliver(peer, &event);
            break;
        }
        say_down(peer);
    }
    return batch;
}

void peer_announce(struct peer *peer)
{
    uint32_t seen;
    hold(peer);
    announce(peer, &seen);
    go_if_over(peer);
    release(peer);
}

int peer_attach(struct peer *peer, struct link *link, const void *hello, size_t size)
{
    hold(peer);
    uint32_t seen;
    cut(peer, ROOST_EDISCONNECTED, "it has made a newer connection");
    announce(peer, &seen); /* what is due from before; a session takes frames only then */
    int status = peer->is_closed ? error_set(ROOST_ECANCELED, "its owner wants it no more") : say_hello(peer);
    if (status == 0) {
        status = session_received(&peer->session, hello, size, loop_now_ns());
    }
    if (status == 0) {
        peer->link = link;
        link->peer = peer;
        peer->dial_at_ns = UINT64_MAX;
        if (!peer->is_dialed) {
            snprintf(peer->address, sizeof peer->address, "%s", endpoint_peer(link->endpoint));
        }
        peer_announce(peer);
    } else if (!peer->is_closed) {
        char text[SESSION_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", error_text());
        peer_disconnected(peer, status, text);
        peer_announce(peer);
        error_set(status, "%s", text);
    }
    release(peer);
    return status;
}

static void heard(struct peer *peer)
{
    struct peers *peers = peer->peers;
    if (peer->silence != PEER_HEARD) {
        peer->silence = PEER_HEARD;
        peer_arm(peer);
        if (peers->handler->on_silence != NULL && peer->has_session) {
            peers->handler->on_silence(peers->arg, peer, PEER_HEARD);
        }
    }
}

void peer_received(struct peer *peer, const void *frame, size_t size)
{
    struct peers *peers = peer->peers;
    hold(peer);
    bool was_up = peer->session.state == SESSION_UP;
    int status = session_received(&peer->session, frame, size, loop_now_ns());
    if (status != 0) {
        log_info("event=broken peer=%s status=%s why=\"%s\"", peer->address, error_code_name(status), error_text());
        cut(peer, status, error_text());
    } else {
        heard(peer);
    }
    uint32_t seen, batch = announce(peer, &seen);
    if (!peer->is_closed && was_up && peer->session.state == SESSION_UP) {
        peers->handler->on_batch_end(peers->arg, peer, batch, seen);
    }
    if (!peer->is_closed) {
        is_due(peer); /* there is something to acknowledge */
    }
    go_if_over(peer);
    release(peer);
}

/* ------------------------------------------------------------------------------------------ what goes out */

/* Only as much as the endpoint surely takes; when more is waiting, the acknowledgement of what it has brings us back.
 */
void peer_flush(struct peer *peer)
{
    struct proto_bytes frame;
    size_t room = ENDPOINT_QUEUE_BYTES_MAX - PROTO_FRAME_BYTES_MAX - 64;
    while (peer->link != NULL && peer->link->is_open && endpoint_queued_bytes(peer->link->endpoint) < room &&
           session_flush(&peer->session, loop_now_ns(), &frame)) {
        int status = endpoint_send(peer->link->endpoint, &(struct endpoint_piece){ frame.data, frame.size }, 1);
        if (status != 0) {
            cut(peer, status, error_text());
        }
    }
}

int peers_send(struct peer *peer, const struct proto_message *message)
{
    int status = session_add(&peer->session, message);
    if (status == ROOST_EBUSY) {
        cut(peer, status, "too much is not acknowledged");
    }
    is_due(peer);
    return status;
}

void peer_lose(struct peer *peer, int status, const char *text)
{
    session_lose(&peer->session, status, text);
    cut(peer, status, text);
}

void peer_close(struct peer *peer)
{
    hold(peer);
    peer_flush(peer);
    struct link *link = peer->link;
    if (link != NULL) {
        link->peer = NULL;
        peer->link = NULL;
        endpoint_queued_bytes(link->endpoint) > 0 ? endpoint_finish(link->endpoint) : endpoint_close(link->endpoint);
    }
    retire(peer);
    release(peer);
}

/* ------------------------------------------------------------------------------------------ the clock */

static uint64_t silence_at(const struct peer *peer)
{
    if (!peer->has_session || peer->silence == PEER_DEAD) {
        return UINT64_MAX;
    }
    const struct peers *peers = peer->peers;
    return peer_heard_ns(peer) + (peer->silence == PEER_HEARD ? peers->suspect_ns : peers->dead_ns);
}

static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

void peer_arm(struct peer *peer)
{
    uint64_t at_ns = sooner(sooner(peer->dial_at_ns, peer->greet_by_ns),
                            sooner(session_deadline_ns(&peer->session), silence_at(peer)));
    if (at_ns != UINT64_MAX) {
        peer->armed_ns = at_ns;
        loop_timer_arm(&peer->timer, at_ns);
    }
}

/* A look that comes late: this process stood still, and what the peer has said meanwhile is still to be read. */
static void look_at_silence(struct peer *peer, uint64_t now_ns)
{
    struct peers *peers = peer->peers;
    if (now_ns > peer->armed_ns + SILENCE_LATE_MS * NS_PER_MS) {
        session_excuse_silence(&peer->session, now_ns);
    }
    while (!peer->is_closed && silence_at(peer) <= now_ns) {
        peer->silence = peer->silence == PEER_HEARD ? PEER_SUSPECT : PEER_DEAD;
        enum peer_silence silence = peer->silence;
        if (silence == PEER_DEAD) {
            cut(peer, ROOST_ETIMEDOUT, "it was silent for too long");
        }
        if (peers->handler->on_silence != NULL) {
            peers->handler->on_silence(peers->arg, peer, silence);
        }
    }
}

static void on_timer(void *arg)
{
    struct peer *peer = arg;
    uint64_t now_ns = loop_now_ns();
    hold(peer);
    if (peer->greet_by_ns <= now_ns) {
        cut(peer, ROOST_ETIMEDOUT, "it did not greet in time");
    }
    look_at_silence(peer, now_ns);
    if (!peer->is_closed && peer->dial_at_ns <= now_ns && peer->link == NULL) {
        dial(peer);
    }
    if (!peer->is_closed) {
        peer_flush(peer);
        peer_arm(peer);
    }
    release(peer);
}

/* ------------------------------------------------------------------------------------------ what the owner asks */

uint32_t peer_last_batch(const struct peer *peer) { return session_last_number(&peer->session); }
uint32_t peer_seen(const struct peer *peer) { return session_acknowledged(&peer->session); }
uint64_t peer_room_bytes(const struct peer *peer) { return session_room_bytes(&peer->session); }
uint64_t peer_heard_ns(const struct peer *peer) { return session_heard_ns(&peer->session); }
uint64_t peer_key(const struct peer *peer) { return peer->key; }
void peer_set_arg(struct peer *peer, void *arg) { peer->arg = arg; }
void *peer_arg(const struct peer *peer) { return peer->arg; }
const char *peer_address(const struct peer *peer) { return peer->address; }
