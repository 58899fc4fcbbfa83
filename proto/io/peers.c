/* peers.c - the set of a daemon's peers, and the strangers at its door
 *
 * Owns the listener, every connection (struct link), and the books in which peers are found.
 *
 * Happy path: accepted -> first frame is a hello -> on_hello -> the node's peer, or a new one -> peer.c.
 * Failures:   garbage, another cluster or version, overtaken, too many -> a refusal with the reason, then closed.
 *             no first frame in time, or one longer than a hello       -> closed by the endpoint.
 *             both sides dial at once -> the connection of the node with the lower id stays: both keep the same.
 * Invariants: a link has a peer exactly while that peer has the link; the set is freed with the last link and call.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "peers"
#include "common/contract.h"
#include "common/error.h"
#include "common/job.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/spec.h"
#include "proto/decode.h"
#include "proto/io/peers_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS UINT64_C(1000000)

/* ------------------------------------------------------------------------------------------ life */

void peers_hold(struct peers *peers) { peers->holds++; }

void peers_release(struct peers *peers)
{
    ROOST_PRE(peers->holds > 0);
    if (--peers->holds == 0) {
        id_map_fini(&peers->by_node);
        id_map_fini(&peers->by_key);
        proto_arena_fini(&peers->decoded);
        proto_arena_fini(&peers->scratch);
        free(peers);
    }
}

struct link *peers_link(struct peers *peers, struct peer *peer)
{
    struct link *link = calloc(1, sizeof *link);
    if (link != NULL) {
        link->peers = peers;
        link->peer = peer;
        list_append(&peers->links, &link->all);
        peers_hold(peers);
    }
    return link;
}

void peers_forget_link(struct link *link)
{
    list_remove(&link->all);
    peers_release(link->peers);
    free(link);
}

/* ------------------------------------------------------------------------------------------ strangers */

/* The last word on a connection: why there will be no session. */
static void refuse(struct link *link, int status, const char *why)
{
    struct peers *peers = link->peers;
    char text[SESSION_TEXT_BYTES], quoted[SESSION_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", why);
    log_info("event=refused peer=%s status=%s why=%s", endpoint_peer(link->endpoint), error_code_name(status),
             log_quote(text, quoted, sizeof quoted));
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_refusal refusal = { status, text };
    if (proto_encode_refusal(&peers->scratch, &refusal, &buffer) == 0) {
        (void)endpoint_send(link->endpoint, &(struct endpoint_piece){ buffer.bytes, buffer.size }, 1);
    }
    proto_buffer_fini(&buffer);
    endpoint_finish(link->endpoint);
}

static int read_hello(struct link *link, const void *data, size_t size, struct proto_frame *frame_out)
{
    struct peers *peers = link->peers;
    proto_arena_clear(&peers->decoded);
    int status = proto_decode(&peers->decoded, data, size, frame_out);
    if (status == 0 && frame_out->kind != PROTO_FRAME_HELLO) {
        status = error_set(ROOST_EINVAL, "the first frame is no hello");
    }
    return status == 0 ? peers->handler->on_hello(peers->arg, &frame_out->hello) : status;
}

static struct peer *of_node(const struct peers *peers, struct node_id node)
{
    return node_id_is_none(node) ? NULL : id_map_get(&peers->by_node, node_id_key(node));
}

/* Both dial: does our own connection, which is still under way, stay? */
static bool ours_stays(const struct peers *peers, const struct peer *peer)
{
    return peer->link != NULL && peer->link->is_dialed && peer->session.state != SESSION_UP &&
           id_key_compare(node_id_key(peers->self), node_id_key(peer->node)) < 0;
}

static void greet(struct link *link, const void *data, size_t size)
{
    struct peers *peers = link->peers;
    struct proto_frame frame;
    int status = read_hello(link, data, size, &frame);
    if (peers->is_closed) {
        return;
    }
    struct peer *peer = NULL;
    if (status == 0) {
        peer = of_node(peers, frame.hello.node);
    }
    if (peer != NULL && ours_stays(peers, peer)) {
        endpoint_close(link->endpoint);
        return;
    }
    if (status == 0 && peer != NULL) { /* before the connection that it has is given up for this one */
        status = session_check_hello(&peer->session, &frame.hello);
    }
    if (status == 0 && peer == NULL) {
        peer = peer_create(peers, frame.hello.node, endpoint_peer(link->endpoint), &status);
    }
    if (status == 0) {
        status = peer_attach(peer, link, data, size);
    }
    if (status != 0 && !peers->is_closed) {
        refuse(link, status, error_text());
    }
}

/* ------------------------------------------------------------------------------------------ connections */

static void on_open(struct endpoint *endpoint, void *arg)
{
    struct link *link = arg;
    link->is_open = true;
    if (link->peer != NULL) {
        link->endpoint = endpoint;
        peer_connected(link->peer);
    }
}

static void on_accepted(struct endpoint *endpoint, void *arg)
{
    struct peers *peers = arg;
    struct link *link = peers_link(peers, NULL);
    endpoint_set_arg(endpoint, link);
    if (link == NULL) {
        endpoint_close(endpoint);
        return;
    }
    link->endpoint = endpoint;
    link->is_open = true;
}

static void on_frame(struct endpoint *endpoint, void *arg, const void *data, size_t size)
{
    (void)endpoint;
    struct link *link = arg;
    struct peers *peers = link->peers;
    peers_hold(peers);
    if (link->peer != NULL) {
        peer_received(link->peer, data, size);
    } else if (!link->is_dialed && !peers->is_closed) {
        greet(link, data, size);
    }
    peers_release(peers);
}

static void on_closed(struct endpoint *endpoint, void *arg, int status)
{
    (void)endpoint;
    struct link *link = arg;
    if (link == NULL) { /* there was no memory for it */
        return;
    }
    struct peers *peers = link->peers;
    struct peer *peer = link->peer;
    peers_hold(peers);
    peers_forget_link(link);
    if (peer != NULL) {
        peer_disconnected(peer, status, error_text());
        peer_announce(peer);
    }
    peers_release(peers);
}

const struct endpoint_handler peers_endpoint_handler = { on_open, on_frame, NULL, on_closed };
static const struct endpoint_handler accepted_handler = { on_accepted, on_frame, NULL, on_closed };

/* ------------------------------------------------------------------------------------------ the owner's side */

static int listen_at(struct peers *peers, const char *text)
{
    struct address address;
    int status = address_parse(text, &address);
    if (status == 0) {
        status = endpoint_listen(peers->loop, address.host, address.port, (unsigned)(peers->hello_ns / NS_PER_MS),
                                 PROTO_HELLO_BYTES_MAX, peers->peers_max, &accepted_handler, peers, &peers->listener);
    }
    if (status == 0) {
        address_print(endpoint_listener_address(peers->listener), peers->address);
    }
    return status;
}

static uint64_t or_else(unsigned chosen, unsigned otherwise) { return chosen != 0 ? chosen : otherwise; }

int peers_open(struct peers **peers_out, struct loop *loop, const struct peers_options *options,
               const struct peers_handler *handler, void *arg)
{
    static const struct proto_checks checks = { spec_check, job_check };
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL) {
        return error_set(ROOST_ENOMEM, "a set of peers: out of memory");
    }
    peers->loop = loop;
    peers->handler = handler;
    peers->arg = arg;
    peers->self = options->self;
    peers->jitter = options->seed != 0 ? options->seed : id_random().hi;
    peers->hello_ns = or_else(options->hello_ms, PEERS_HELLO_MS) * NS_PER_MS;
    peers->suspect_ns = or_else(options->suspect_ms, NODE_SUSPECT_MS) * NS_PER_MS;
    peers->dead_ns = or_else(options->dead_ms, NODE_DEAD_MS) * NS_PER_MS;
    peers->peers_max = (unsigned)or_else(options->peers_max, NODES_MAX + PEERS_COMMANDS_MAX);
    peers->holds = 1;
    list_init(&peers->all);
    list_init(&peers->due);
    list_init(&peers->links);
    proto_arena_init(&peers->decoded, PROTO_ARENA_BYTES_MAX, &checks);
    proto_arena_init(&peers->scratch, PROTO_ARENA_BYTES_MAX, NULL);
    int status = options->listen != NULL ? listen_at(peers, options->listen) : 0;
    if (status != 0) {
        peers_release(peers);
        return status;
    }
    *peers_out = peers;
    return 0;
}

void peers_close(struct peers *peers)
{
    if (peers == NULL) {
        return;
    }
    ROOST_PRE(!peers->is_closed);
    peers->is_closed = true;
    endpoint_listener_close(peers->listener);
    while (!list_is_empty(&peers->all)) {
        peer_close(CONTAINER_OF(peers->all.next, struct peer, all));
    }
    LIST_EACH (at, &peers->links) {
        endpoint_finish(CONTAINER_OF(at, struct link, all)->endpoint);
    }
    peers_release(peers);
}

const char *peers_address(const struct peers *peers) { return peers->address; }

struct endpoint_listener *peers_listener(const struct peers *peers) { return peers->listener; }

int peers_dial(struct peers *peers, const char *address, struct node_id node, struct peer **peer_out)
{
    struct address parsed;
    int status = address_parse(address, &parsed);
    if (status == 0 && of_node(peers, node) != NULL) {
        status = error_set(ROOST_EEXIST, "there is a peer for the node at %s", address);
    }
    if (status != 0) {
        return status;
    }
    struct peer *peer = peer_create(peers, node, address, &status);
    if (peer == NULL) {
        return status;
    }
    peer->is_dialed = true;
    peer_dial_at(peer, loop_now_ns());
    *peer_out = peer;
    return 0;
}

void peers_flush(struct peers *peers)
{
    peers_hold(peers);
    while (!list_is_empty(&peers->due)) {
        struct peer *peer = CONTAINER_OF(peers->due.next, struct peer, due);
        list_remove(&peer->due);
        peer_flush(peer);
        peer_announce(peer);
    }
    peers_release(peers);
}

/* 0 is no key; a map takes no zero key either way. */
static struct id_key map_key(uint64_t key) { return (struct id_key){ key, 1 }; }

void peer_set_key(struct peer *peer, uint64_t key)
{
    struct peers *peers = peer->peers;
    if (peer->key != 0) {
        id_map_remove(&peers->by_key, map_key(peer->key));
    }
    peer->key = key;
    if (key != 0) {
        ROOST_PRE(peers_find(peers, key) == NULL);
        int status = id_map_put(&peers->by_key, map_key(key), peer);
        ROOST_INVARIANT(status == 0); /* one slot: small and of fixed size */
    }
}

struct peer *peers_find(const struct peers *peers, uint64_t key) { return id_map_get(&peers->by_key, map_key(key)); }
