/* host.c - steps the head's core and does what it says
 *
 * Owns the peers, the timers, the arena of commands and, per session, its marks. A session is named to the core
 * {0, handle} until a WELCOME goes over it, then {number, incarnation}; that name is the peer's key.
 *
 * Happy path: frame -> CORE_MESSAGE each -> commands at once, in order; at the end of the turn everything goes out.
 * Failures:   a message for a session that is over -> dropped: SESSION_LOST is on its way to the core, or was there.
 *             one that cannot be encoded         -> the session is lost, so that both sides list: a gap would not do.
 *             a peer that never says what it saw -> SESSION_MARKS_MAX, then the session is lost.
 *             a fact that cannot be committed    -> the process ends: what was not kept must not be acknowledged.
 * Invariants: a step runs with an empty arena and never inside another; a peer with a key is one that the core knows.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "host"
#include "scheduler/host.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/io/alarms.h"
#include "common/io/loop.h"
#include "common/list.h"
#include "common/log.h"
#include "proto/io/peers.h"
#include "proto/io/record.h"
#include "proto/marks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST_STEPS_PER_CHECK = 1 << 16 };

struct guest { /* a peer as the host sees it; its arg, from the first on_up to on_gone */
    struct list_node all;
    struct peer *peer;
    struct marks marks;
    bool is_agent, is_up;
};

struct host {
    struct host_options options;
    struct loop *loop;
    struct peers *peers;
    struct alarms *alarms;
    struct core_out out;
    struct list_node guests;
    unsigned agents_up;
    uint32_t handle; /* the last one given */
    uint64_t now_ns, steps;
    struct node_id node;
    char name[PROTO_ADDRESS_BYTES_MAX + 1];
    bool refuses_agents;
};

/* ------------------------------------------------------------------------------------------ what the core says */

static void lose(struct peer *peer, int status, const char *text)
{
    log_warn("event=session_ended peer=%s status=%s why=\"%s\"", peer_address(peer), error_code_name(status), text);
    peer_lose(peer, status, text);
}

/* From its WELCOME on a session has the name that stands in it. */
static void rename_peer(struct host *host, struct peer *peer, const struct proto_welcome *welcome)
{
    uint64_t key = core_peer_key((struct core_peer){ welcome->number, welcome->incarnation });
    struct peer *other = peers_find(host->peers, key);
    if (other != NULL && other != peer) {
        peer_set_key(other, 0);
        lose(other, ROOST_ESTATE, "its life goes on in another session");
    }
    peer_set_key(peer, key);
}

static void send(struct host *host, uint64_t to, uint64_t mark, const struct proto_message *message)
{
    struct peer *peer = peers_find(host->peers, to);
    if (peer == NULL) {
        log_debug("event=nobody kind=%s to=%llx", proto_kind_name(message->kind), (unsigned long long)to);
        return;
    }
    struct guest *guest = peer_arg(peer);
    int status = peers_send(peer, message);
    if (status == 0) {
        status = marks_note(&guest->marks, peer_last_batch(peer), (uint32_t)mark);
    }
    if (status != 0 && status != ROOST_ESTATE && status != ROOST_EBUSY) { /* those two are announced by themselves */
        lose(peer, status, error_text());
    } else if (status == 0 && message->kind == PROTO_WELCOME) {
        rename_peer(host, peer, &message->u.welcome);
    }
}

static void commit(struct host *host, const struct core_command *command)
{
    int status = host->options.commit(host->options.arg, core_body(command), command->size);
    if (status != 0) {
        log_error("event=not_committed why=\"%s\"", error_text());
    }
    ROOST_INVARIANT(status == 0);
}

static void run(struct host *host, const struct core_command *command)
{
    struct peer *peer;
    switch (command->kind) {
    case CORE_SEND:
        send(host, command->to, command->token, core_body(command));
        break;
    case CORE_ARM:
        alarms_arm(host->alarms, command->token, command->at_ns);
        break;
    case CORE_DISARM:
        alarms_disarm(host->alarms, command->token);
        break;
    case CORE_COMMIT:
        commit(host, command);
        break;
    case CORE_CLOSE:
        peer = peers_find(host->peers, command->to);
        if (peer != NULL) {
            peer_lose(peer, ROOST_ENODE, "the head has closed this session");
        }
        break;
    case CORE_FILLER:
    case CORE_REPLY:
    case CORE_SPAWN:
    case CORE_KILL:
    case CORE_PULL:
    case CORE_SPILL:
    case CORE_TABLE:
    case CORE_WRITE:
    case CORE_TASK:
    case CORE_LEASE:
    case CORE_DRAIN:
    case CORE_WAKE:
        ROOST_IMPOSSIBLE("a command that no head gives");
    }
}

static void step(struct host *host, struct core_event *event)
{
    const struct core_vtable *vtable = host->options.vtable;
    uint64_t now_ns = loop_now_ns();
    host->now_ns = now_ns > host->now_ns ? now_ns : host->now_ns;
    event->now_ns = host->now_ns;
    if (host->options.record != NULL) {
        record_event(host->options.record, event, vtable->hash(host->options.core));
    }
    core_out_clear(&host->out);
    vtable->step(host->options.core, event, &host->out);
    ROOST_DEBUG_CHECK(vtable->touched_are_valid(host->options.core));
    if (++host->steps % HOST_STEPS_PER_CHECK == 0) {
        ROOST_DEBUG_CHECK(vtable->is_valid(host->options.core));
    }
    for (const struct core_command *c = core_next(&host->out, NULL); c != NULL; c = core_next(&host->out, c)) {
        run(host, c);
    }
}

static void on_alarm(void *arg, uint64_t key)
{
    struct core_event event = { .kind = CORE_TICK, .u.timer.key = key };
    step(arg, &event);
}

/* ------------------------------------------------------------------------------------------ what comes in */

static void say_hello(void *arg, struct proto_hello *hello)
{
    struct host *host = arg;
    hello->role = PROTO_ROLE_HEAD;
    hello->node = host->node;
    hello->cluster = host->options.cluster;
    hello->epoch = host->options.epoch;
    hello->host = host->name;
    hello->address = peers_address(host->peers);
    hello->pid = (uint64_t)getpid();
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    struct host *host = arg;
    if (hello->role == PROTO_ROLE_COMMAND) {
        return node_id_is_none(hello->node) ? 0 : error_set(ROOST_EINVAL, "a command that says that it is a node");
    }
    if (hello->role != PROTO_ROLE_AGENT || node_id_is_none(hello->node)) {
        return error_set(ROOST_EINVAL, "a head takes agents and commands");
    }
    return host->refuses_agents ? error_set(ROOST_ESTATE, "the cluster is ending") : 0;
}

static void set_up(struct host *host, struct guest *guest, bool is_up)
{
    if (guest->is_agent && guest->is_up != is_up) {
        host->agents_up += is_up ? 1u : UINT32_MAX;
    }
    guest->is_up = is_up;
}

static struct guest *guest_of(struct host *host, struct peer *peer, const struct proto_hello *hello)
{
    struct guest *guest = peer_arg(peer);
    if (guest == NULL) {
        guest = calloc(1, sizeof *guest);
        ROOST_INVARIANT(guest != NULL); /* small and of fixed size */
        guest->peer = peer;
        guest->is_agent = hello->role == PROTO_ROLE_AGENT;
        list_append(&host->guests, &guest->all);
        peer_set_arg(peer, guest);
    }
    return guest;
}

static uint64_t new_handle(struct host *host)
{
    uint64_t key;
    do {
        host->handle++;
        key = core_peer_key((struct core_peer){ 0, host->handle });
    } while (host->handle == 0 || peers_find(host->peers, key) != NULL);
    return key;
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    struct host *host = arg;
    struct guest *guest = guest_of(host, peer, hello);
    set_up(host, guest, true);
    if (!resumed) {
        marks_fini(&guest->marks);
        peer_set_key(peer, new_handle(host));
    }
    struct core_event event = { .kind = CORE_SESSION_UP,
                                .u.session = { .peer = core_peer_of(peer_key(peer)),
                                               .epoch = hello->epoch,
                                               .hello = resumed ? NULL : hello,
                                               .resumed = resumed } };
    step(host, &event);
}

static void to_core(struct host *host, struct peer *peer, uint32_t batch, uint32_t seen,
                    const struct proto_message *message)
{
    struct guest *guest = peer_arg(peer);
    struct core_event event = { .kind = CORE_MESSAGE,
                                .u.message = { .peer = core_peer_of(peer_key(peer)),
                                               .batch = batch,
                                               .seen = marks_at(&guest->marks, seen),
                                               .body = message } };
    step(host, &event);
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    struct host *host = arg;
    if (peer_key(peer) == 0) { /* its name was taken by another session */
        return;
    }
    to_core(host, peer, batch, seen, message);
    if (message->kind == PROTO_STOP && message->u.stop.node == 0) {
        host->options.on_stop(host->options.arg, message->u.stop.drain);
    }
}

/* Frames say what they have seen in ascending order, and the core is told of it in the order in which they were said. */
static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    struct host *host = arg;
    struct guest *guest = peer_arg(peer);
    if (batch != 0) {
        marks_forget_before(&guest->marks, seen);
    } else if (core_peer_of(peer_key(peer)).node != 0) {
        to_core(host, peer, 0, seen, NULL);
    }
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    struct host *host = arg;
    struct guest *guest = peer_arg(peer);
    if (guest->is_agent) {
        log_info("event=session_lost peer=%s status=%s why=\"%s\"", peer_address(peer), error_code_name(status), text);
    }
    set_up(host, guest, false);
    marks_fini(&guest->marks);
    if (peer_key(peer) != 0) {
        struct core_event event = { .kind = CORE_SESSION_LOST,
                                    .u.session = { .peer = core_peer_of(peer_key(peer)),
                                                   .epoch = host->options.epoch } };
        step(host, &event);
    }
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    struct host *host = arg;
    log_debug("event=down peer=%s status=%s why=\"%s\"", peer_address(peer), error_code_name(status), text);
    set_up(host, peer_arg(peer), false);
}

static void guest_free(struct host *host, struct guest *guest)
{
    set_up(host, guest, false);
    list_remove(&guest->all);
    marks_fini(&guest->marks);
    free(guest);
}

static void on_gone(void *arg, struct peer *peer) { guest_free(arg, peer_arg(peer)); }

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost,
                                              .on_down = on_down,
                                              .on_gone = on_gone };

/* ------------------------------------------------------------------------------------------ life */

int host_open(struct host **host_out, struct loop *loop, const struct host_options *options)
{
    struct host *host = calloc(1, sizeof *host);
    if (host == NULL) {
        return error_set(ROOST_ENOMEM, "a host: out of memory");
    }
    host->options = *options;
    host->loop = loop;
    host->node = node_id_from(id_random());
    list_init(&host->guests);
    gethostname(host->name, sizeof host->name - 1);
    struct peers_options peers = {
        .listen = options->listen, .self = host->node, .suspect_ms = options->suspect_ms, .dead_ms = options->dead_ms
    };
    int status = core_out_init(&host->out, options->vtable->out_bytes_max);
    if (status == 0) {
        status = alarms_create(loop, on_alarm, host, &host->alarms);
    }
    if (status == 0) {
        status = peers_open(&host->peers, loop, &peers, &handler, host);
    }
    if (status != 0) {
        host_close(host);
        return status;
    }
    *host_out = host;
    return 0;
}

void host_close(struct host *host)
{
    if (host == NULL) {
        return;
    }
    peers_close(host->peers);
    LIST_EACH_SAFE (at, &host->guests) {
        guest_free(host, CONTAINER_OF(at, struct guest, all));
    }
    alarms_destroy(host->alarms);
    core_out_fini(&host->out);
    free(host);
}

const char *host_address(const struct host *host) { return peers_address(host->peers); }

void host_turn(struct host *host) { peers_flush(host->peers); }

void host_refuse_agents(struct host *host) { host->refuses_agents = true; }

void host_stop_agents(struct host *host)
{
    struct proto_message message = { .kind = PROTO_STOP };
    LIST_EACH (at, &host->guests) {
        struct guest *guest = CONTAINER_OF(at, struct guest, all);
        if (guest->is_agent && guest->is_up) {
            (void)peers_send(guest->peer, &message); /* who cannot be told finds out when the head is gone */
        }
    }
}

unsigned host_agents_count(const struct host *host) { return host->agents_up; }
