/* network.c - the agent's sessions with the head and with other agents
 *
 * Happy path: dial the head -> on_up -> the core lists; a message to an agent -> dial it by the address that the head
 *             gave -> what waited goes out -> answers come.
 * Failures:   the head is away -> dialed again for ever, the core goes on alone meanwhile.
 *             a command asks what this node alone knows -> it is answered at once (answer.c), and has no way.
 *             an agent cannot be reached, or its session is lost -> the core is told, and asks another holder.
 *             the head declares a node dead, or gives this one a new life -> sessions of the old life are closed; who
 *             still greets as an earlier life than the head knows is refused.
 * Limits:     NETWORK_WAITING_MAX messages wait for an agent that is being dialed; then it counts as lost.
 * Invariants: a way is between two lives, and no node has two ways.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "network"
#include "worker/agent/network.h"
#include "common/error.h"
#include "common/log.h"
#include "proto/io/peers.h"
#include "proto/marks.h"
#include "worker/agent/daemon_internal.h"
#include "worker/agent/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NETWORK_WAITING_MAX = 4096, NETWORK_TRIES = 3 };

struct neighbour { /* another agent, as the head describes it */
    struct list_node all;
    uint32_t number, incarnation;
    struct node_id id;
    char host[64];    /* its name, for people */
    char address[64]; /* "HOST:PORT" */
};

struct waiting { /* for a session that is being made; agents' messages point to nothing */
    struct list_node of_way;
    struct proto_message message;
};

struct way {              /* to one life of another agent: the peer's arg */
    struct list_node all; /* network.ways */
    struct peer *link;
    struct core_peer peer;
    struct list_node waiting;
    uint32_t waiting_count, tries;
};

struct unreachable { /* told in a later turn: not from inside the core's own command */
    struct list_node all;
    struct core_peer peer;
};

struct network {
    struct daemon *daemon;
    struct peers *with_head, *with_agents;
    struct peer *head;
    struct transfers *transfers;
    struct list_node neighbours, ways, unreachable;
    struct loop_task tell;
    int head_status;              /* why it was not reached the last time; 0: it was */
    struct marks head_marks;      /* of what the core says to the head */
    uint32_t number, incarnation; /* this node's, from WELCOME */
    struct cluster_id cluster;
    uint64_t epoch, news; /* news: what the head has said of nodes */
    bool is_closed;
};

static void to_core(struct network *network, struct core_event *event)
{
    if (!network->is_closed) {
        daemon_step(network->daemon, event);
    }
}

/* ------------------------------------------------------------------ hello */

static void describe(struct network *network, struct proto_hello *hello, enum proto_role role)
{
    const struct daemon *daemon = network->daemon;
    hello->role = role;
    hello->node = daemon->node;
    hello->cluster = network->cluster;
    hello->epoch = network->epoch;
    hello->number = network->number;
    hello->incarnation = network->incarnation;
    hello->host = daemon->node_name;
    hello->address = peers_address(network->with_agents);
    hello->cpus_hundredths = daemon->config.cpus_hundredths;
    hello->memory_bytes = daemon->config.memory_bytes;
    for (uint32_t i = 0; i < daemon->config.segments_count; i++) {
        hello->store_bytes += daemon->config.segment_bytes[i];
    }
    hello->pid = (uint64_t)getpid();
}

static void hello_to_head(void *arg, struct proto_hello *hello_out)
{
    const struct network *network = arg;
    describe(arg, hello_out, PROTO_ROLE_AGENT);
    hello_out->news = network->news;
}

static void hello_to_agent(void *arg, struct proto_hello *hello_out) { describe(arg, hello_out, PROTO_ROLE_PEER); }

static int on_hello(void *arg, const struct proto_hello *hello, enum proto_role wanted)
{
    (void)arg;
    return hello->role == wanted ? 0 : error_set(ROOST_EAUTH, "the other end is not what was looked for here");
}

static int on_hello_of_head(void *arg, const struct proto_hello *hello)
{
    return on_hello(arg, hello, PROTO_ROLE_HEAD);
}

static struct neighbour *find_neighbour(struct network *network, uint32_t number)
{
    LIST_EACH (at, &network->neighbours) {
        struct neighbour *neighbour = CONTAINER_OF(at, struct neighbour, all);
        if (neighbour->number == number) {
            return neighbour;
        }
    }
    return NULL;
}

/* One that was declared dead and has not heard of it yet comes again, with its new life. Who has no number yet could
 * not be told from the head. */
static int on_hello_of_agent(void *arg, const struct proto_hello *hello)
{
    if (hello->role == PROTO_ROLE_COMMAND) {
        return node_id_is_none(hello->node) ? 0 : error_set(ROOST_EINVAL, "a command that says that it is a node");
    }
    if (hello->number == 0) {
        return error_set(ROOST_ESTATE, "the head has not welcomed this node yet");
    }
    const struct neighbour *neighbour = find_neighbour(arg, hello->number);
    if (neighbour != NULL && hello->incarnation < neighbour->incarnation) {
        return error_set(ROOST_ENODE, "%s has been declared dead, and has a new life", hello->host);
    }
    return on_hello(arg, hello, PROTO_ROLE_PEER);
}

/* ------------------------------------------------------------------ ways */

static void say_lost(struct network *network, struct core_peer peer)
{
    struct core_event event = { .kind = CORE_SESSION_LOST, .u.session.peer = peer };
    to_core(network, &event);
}

static void tell_unreachable(void *arg)
{
    struct network *network = arg;
    while (!list_is_empty(&network->unreachable)) {
        struct unreachable *unreachable = CONTAINER_OF(network->unreachable.next, struct unreachable, all);
        struct core_peer peer = unreachable->peer;
        list_remove(&unreachable->all);
        free(unreachable);
        say_lost(network, peer);
    }
}

static void unreachable_soon(struct network *network, struct core_peer peer)
{
    struct unreachable *unreachable = calloc(1, sizeof *unreachable);
    ROOST_INVARIANT(unreachable != NULL);
    unreachable->peer = peer;
    list_append(&network->unreachable, &unreachable->all);
    network->tell.run = tell_unreachable;
    network->tell.arg = network;
    loop_post(network->daemon->loop, &network->tell);
}

static struct way *way_create(struct network *network, struct peer *peer, struct core_peer name)
{
    struct way *way = calloc(1, sizeof *way);
    ROOST_INVARIANT(way != NULL);
    way->peer = name;
    way->link = peer;
    list_init(&way->waiting);
    list_append(&network->ways, &way->all);
    peer_set_arg(peer, way);
    peer_set_key(peer, core_peer_key(name));
    return way;
}

static void way_destroy(struct way *way)
{
    if (way == NULL) {
        return;
    }
    LIST_EACH_SAFE (at, &way->waiting) {
        free(CONTAINER_OF(at, struct waiting, of_way));
    }
    list_remove(&way->all);
    free(way);
}

static struct way *find_way(struct network *network, struct core_peer name)
{
    LIST_EACH (at, &network->ways) {
        struct way *way = CONTAINER_OF(at, struct way, all);
        if (core_peer_key(way->peer) == core_peer_key(name)) {
            return way;
        }
    }
    return NULL;
}

/* The session is given up; the core hears of it in a later turn. */
static void way_close(struct network *network, struct way *way)
{
    struct peer *peer = way->link;
    unreachable_soon(network, way->peer);
    peer_set_arg(peer, NULL);
    way_destroy(way);
    peer_close(peer);
}

/* Those to this life of a node, or (node 0) all. */
static void close_ways(struct network *network, struct core_peer name)
{
    LIST_EACH_SAFE (at, &network->ways) {
        struct way *way = CONTAINER_OF(at, struct way, all);
        if (name.node == 0 || core_peer_key(way->peer) == core_peer_key(name)) {
            way_close(network, way);
        }
    }
}

/* ------------------------------------------------------------------ the head */

static void on_head_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    (void)peer;
    struct network *network = arg;
    network->epoch = hello->epoch;
    network->head_status = 0;
    if (!resumed) {
        marks_fini(&network->head_marks);
    }
    log_info("event=head_is_there address=%s resumed=%d", peer_address(peer), resumed);
    struct core_event event = { .kind = CORE_SESSION_UP, .u.session = { .epoch = hello->epoch, .resumed = resumed } };
    to_core(network, &event);
}

static void learn_nodes(struct network *network, const struct proto_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct proto_node *node = &nodes->items[i];
        struct neighbour *neighbour = find_neighbour(network, node->number);
        if (neighbour == NULL) {
            neighbour = calloc(1, sizeof *neighbour);
            ROOST_INVARIANT(neighbour != NULL);
            neighbour->number = node->number;
            list_append(&network->neighbours, &neighbour->all);
        }
        neighbour->incarnation = node->incarnation;
        neighbour->id = node->id;
        snprintf(neighbour->host, sizeof neighbour->host, "%s", node->host);
        snprintf(neighbour->address, sizeof neighbour->address, "%s", node->address);
    }
    network->news = nodes->news == 0 ? network->news : nodes->news;
}

/* Lines of a worker elsewhere, for the terminal of a driver here. */
static void show_output(struct network *network, const struct proto_output *output)
{
    struct program *program = program_find(network->daemon, output->job);
    struct guest *driver = program == NULL ? NULL : program->driver;
    if (driver == NULL) {
        return;
    }
    const struct neighbour *from = find_neighbour(network, output->node);
    const char *text = output->bytes.data, *end = text + output->bytes.size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t bytes = newline == NULL ? (size_t)(end - text) : (size_t)(newline - text) + 1;
        bytes = bytes < WORKER_LINE_BYTES_MAX ? bytes : WORKER_LINE_BYTES_MAX;
        struct worker_line line = { .driver = driver,
                                    .node = from == NULL ? (struct node_id){ 0, 0 } : from->id,
                                    .pid = (int64_t)output->pid,
                                    .function = output->function,
                                    .node_name = from == NULL ? "?" : from->host,
                                    .is_stderr = output->stream == PROTO_STDERR,
                                    .dropped = output->dropped };
        output_say(&line, text, bytes);
        text += bytes;
    }
}

static void on_head_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen,
                            const struct proto_message *message)
{
    (void)peer;
    struct network *network = arg;
    switch ((int)message->kind) {
    case PROTO_WELCOME:
        if (network->incarnation != message->u.welcome.incarnation) {
            close_ways(network, (struct core_peer){ 0, 0 });
        }
        network->number = message->u.welcome.number;
        network->incarnation = message->u.welcome.incarnation;
        network->cluster = message->u.welcome.cluster;
        break;
    case PROTO_NODES:
        learn_nodes(network, &message->u.nodes);
        break;
    case PROTO_DEAD:
        close_ways(network, (struct core_peer){ message->u.dead.node, message->u.dead.incarnation });
        break;
    case PROTO_OUTPUT:
        show_output(network, &message->u.output);
        return;
    case PROTO_STOP:
        daemon_stop(network->daemon, "the head says so");
        return;
    default:
        break;
    }
    struct core_event event = { .kind = CORE_MESSAGE,
                                .u.message = {
                                    .batch = batch, .seen = marks_at(&network->head_marks, seen), .body = message } };
    to_core(network, &event);
}

/* Timers that are armed for now fire in the next turn. */
static void on_head_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    struct network *network = arg;
    (void)peer;
    if (batch != 0) {
        marks_forget_before(&network->head_marks, seen);
        return;
    }
    struct core_event event = { .kind = CORE_MESSAGE, .u.message = { .seen = marks_at(&network->head_marks, seen) } };
    to_core(network, &event);
}

static void on_head_lost(void *arg, struct peer *peer, int status, const char *text)
{
    (void)peer;
    log_warn("event=head_lost status=%s why=\"%.200s\"", error_code_name(status), text);
    struct core_event event = { .kind = CORE_SESSION_LOST };
    to_core(arg, &event);
}

static void on_head_down(void *arg, struct peer *peer, int status, const char *text)
{
    struct network *network = arg;
    char why[ERROR_TEXT_BYTES + 2];
    if (status == network->head_status) {
        return; /* said already, and it is dialed for ever */
    }
    network->head_status = status;
    log_quote(text, why, sizeof why);
    if (status == ROOST_EAUTH) {
        log_warn(
            "event=head_refuses address=%s why=%s advice=\"a head that was started again begins another cluster: end "
            "this agent with roost stop, then roost start --address %s\"",
            peer_address(peer), why, peer_address(peer));
    } else {
        log_warn("event=head_not_reached address=%s status=%s why=%s", peer_address(peer), error_code_name(status),
                 why);
    }
}

static const struct peers_handler head_handler = { .say_hello = hello_to_head,
                                                   .on_hello = on_hello_of_head,
                                                   .on_up = on_head_up,
                                                   .on_message = on_head_message,
                                                   .on_batch_end = on_head_batch_end,
                                                   .on_lost = on_head_lost,
                                                   .on_down = on_head_down };

/* ------------------------------------------------------------------ agents */

static void on_agent_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    (void)arg, (void)peer, (void)batch, (void)seen;
}

static void on_agent_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    struct network *network = arg;
    struct core_peer name = { hello->number, hello->incarnation };
    struct way *way = peer_arg(peer);
    if (hello->role == PROTO_ROLE_COMMAND) {
        return; /* it has no way: what it asks is answered at once */
    }
    if (way != NULL && core_peer_key(way->peer) != core_peer_key(name)) {
        struct core_peer old = way->peer; /* another life of that node answers */
        peer_set_arg(peer, NULL);
        way_destroy(way); /* first, as the core may have something to say to the other life at once */
        way = NULL;
        say_lost(network, old);
    }
    if (way == NULL) {
        way = way_create(network, peer, name);
    }
    peer_set_key(peer, core_peer_key(name)); /* again, when a session was lost in between */
    way->tries = 0;
    tell_unreachable(network); /* later it would be taken for the end of this session */
    struct core_event event = { .kind = CORE_SESSION_UP, .u.session = { .peer = name, .resumed = resumed } };
    to_core(network, &event);
    while (!list_is_empty(&way->waiting)) {
        struct waiting *waiting = CONTAINER_OF(way->waiting.next, struct waiting, of_way);
        list_remove(&waiting->of_way);
        way->waiting_count--;
        peers_send(peer, &waiting->message); /* a failure is a lost session, and that is told */
        free(waiting);
    }
}

/* A failure is a command that has gone, and is not told. */
static int send_rows(void *peer, const struct proto_rows *part)
{
    const struct proto_message message = { .kind = PROTO_ROWS, .u.rows = *part };
    return peers_send(peer, &message);
}

static void on_command_message(struct network *network, struct peer *peer, const struct proto_message *message)
{
    if (message->kind == PROTO_QUERY) {
        daemon_answer(network->daemon, network->number, &message->u.query, send_rows, peer);
    } else {
        peer_lose(peer, ROOST_EINVAL, "an agent takes questions of commands, and nothing else");
    }
}

static void on_agent_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen,
                             const struct proto_message *message)
{
    struct way *way = peer_arg(peer);
    if (way == NULL) {
        on_command_message(arg, peer, message);
        return;
    }
    struct core_event event = { .kind = CORE_MESSAGE,
                                .u.message = { .peer = way->peer, .batch = batch, .seen = seen, .body = message } };
    to_core(arg, &event);
}

static void on_agent_lost(void *arg, struct peer *peer, int status, const char *text)
{
    struct way *way = peer_arg(peer);
    if (way != NULL) {
        log_info("event=agent_lost node=%u status=%s why=\"%.200s\"", way->peer.node, error_code_name(status), text);
        say_lost(arg, way->peer);
    }
}

/* A dialed agent that cannot be reached: after a few tries it is given up, until somebody needs it again. */
static void on_agent_down(void *arg, struct peer *peer, int status, const char *text)
{
    (void)status, (void)text;
    struct way *way = peer_arg(peer);
    if (way == NULL || ++way->tries < NETWORK_TRIES) {
        return;
    }
    struct core_peer name = way->peer;
    peer_set_arg(peer, NULL);
    way_destroy(way);
    peer_close(peer);
    say_lost(arg, name);
}

/* Who dialed may have given up, and then nobody would ever speak in this session again. */
static void on_agent_silence(void *arg, struct peer *peer, enum peer_silence silence)
{
    (void)arg;
    if (silence == PEER_DEAD) {
        peer_lose(peer, ROOST_ETIMEDOUT, "it has been silent for too long");
    }
}

/* What waits goes nowhere: the core says it again, over a session that this side dials. */
static void on_agent_gone(void *arg, struct peer *peer)
{
    struct way *way = peer_arg(peer);
    if (way != NULL && !list_is_empty(&way->waiting)) {
        unreachable_soon(arg, way->peer);
    }
    way_destroy(way);
}

static const struct peers_handler agent_handler = { .say_hello = hello_to_agent,
                                                    .on_hello = on_hello_of_agent,
                                                    .on_up = on_agent_up,
                                                    .on_message = on_agent_message,
                                                    .on_batch_end = on_agent_batch_end,
                                                    .on_lost = on_agent_lost,
                                                    .on_silence = on_agent_silence,
                                                    .on_down = on_agent_down,
                                                    .on_gone = on_agent_gone };

static struct peer *dial(struct network *network, struct core_peer name)
{
    const struct neighbour *neighbour = find_neighbour(network, name.node);
    struct peer *peer;
    LIST_EACH_SAFE (at, &network->ways) {
        struct way *way = CONTAINER_OF(at, struct way, all);
        if (way->peer.node == name.node && way->peer.incarnation > name.incarnation) {
            return NULL; /* that life is over, which the head will say: the present one goes on undisturbed */
        }
        if (way->peer.node == name.node) {
            way_close(network, way);
        }
    }
    if (neighbour == NULL || neighbour->incarnation != name.incarnation ||
        peers_dial(network->with_agents, neighbour->address, neighbour->id, &peer) != 0) {
        log_warn("event=agent_unknown node=%u incarnation=%u why=\"%.200s\"", name.node, name.incarnation,
                 error_text());
        return NULL;
    }
    way_create(network, peer, name);
    return peer;
}

static bool keep_waiting(struct way *way, const struct proto_message *message)
{
    if (message->kind == PROTO_NAMES) {
        return true; /* they point to something, and the core says them again in a session that begins */
    }
    struct waiting *waiting = way->waiting_count < NETWORK_WAITING_MAX ? malloc(sizeof *waiting) : NULL;
    if (waiting == NULL) {
        return false;
    }
    waiting->message = *message;
    list_append(&way->waiting, &waiting->of_way);
    way->waiting_count++;
    return true;
}

static void send_to_agent(struct network *network, struct core_peer name, const struct proto_message *message)
{
    struct peer *peer = peers_find(network->with_agents, core_peer_key(name));
    if (peer == NULL) {
        const struct way *way = find_way(network, name);
        peer = way != NULL ? way->link : dial(network, name);
    }
    if (peer == NULL) {
        unreachable_soon(network, name);
        return;
    }
    if (peers_send(peer, message) != 0 && !keep_waiting(peer_arg(peer), message)) {
        peer_lose(peer, ROOST_EBUSY, "too many messages wait for it");
    }
}

static void send_to_head(struct network *network, uint32_t mark, const struct proto_message *message)
{
    int status = peers_send(network->head, message);
    if (status != 0) {
        log_warn("event=not_sent kind=%s why=\"%.200s\"", proto_kind_name(message->kind), error_text());
        return;
    }
    status = marks_note(&network->head_marks, peer_last_batch(network->head), mark);
    if (status != 0) { /* an answer would be taken for one to older words */
        peer_lose(network->head, status, error_text());
    }
}

void network_send(struct network *network, uint64_t peer_key, uint64_t mark, const struct proto_message *message)
{
    struct core_peer peer = core_peer_of(peer_key);
    if (network == NULL) {
        return;
    }
    if (peer.node != 0) {
        send_to_agent(network, peer, message);
    } else {
        send_to_head(network, (uint32_t)mark, message);
    }
}

bool network_output(struct network *network, const struct proto_output *output)
{
    struct proto_message message = { .kind = PROTO_OUTPUT, .u.output = *output };
    message.u.output.node = network == NULL ? 0 : network->number;
    return network != NULL && network->number != 0 && peers_send(network->head, &message) == 0;
}

/* ------------------------------------------------------------------ bytes */

static void transfer_done(void *arg, uint64_t token, int status, uint64_t value, const void *data, size_t bytes)
{
    struct core_event event = {
        .kind = CORE_DONE, .u.done = { .token = token, .status = status, .value = value, .data = data, .bytes = bytes }
    };
    to_core(arg, &event);
}

static const char *address_of(void *arg, uint32_t node)
{
    const struct neighbour *neighbour = find_neighbour(arg, node);
    return neighbour == NULL ? NULL : neighbour->address;
}

void network_pull(struct network *network, uint64_t token, const void *body)
{
    if (network != NULL) {
        transfers_run(network->transfers, token, body);
    }
}

/* ------------------------------------------------------------------ the whole */

int network_open(struct network **network_out, struct daemon *daemon, const char *head_address)
{
    struct network *network = calloc(1, sizeof *network);
    if (network == NULL) {
        return ROOST_ENOMEM;
    }
    network->daemon = daemon;
    list_init(&network->neighbours);
    list_init(&network->ways);
    list_init(&network->unreachable);
    struct transfer_owner owner = { transfer_done, address_of, network };
    struct peers_options for_head = { .self = daemon->node };
    struct peers_options for_agents = { .listen = "127.0.0.1:0", .self = daemon->node };
    int status = peers_open(&network->with_agents, daemon->loop, &for_agents, &agent_handler, network);
    if (status == 0) {
        status = transfers_create(&network->transfers, daemon->loop, daemon->store,
                                  peers_listener(network->with_agents), &owner);
    }
    if (status == 0) {
        status = peers_open(&network->with_head, daemon->loop, &for_head, &head_handler, network);
    }
    if (status == 0) {
        status = peers_dial(network->with_head, head_address, (struct node_id){ 0, 0 }, &network->head);
    }
    *network_out = network; /* also of a failure: network_close() takes what is there */
    return status;
}

void network_close(struct network *network)
{
    if (network == NULL) {
        return;
    }
    network->is_closed = true;
    if (network->transfers != NULL) {
        transfers_stop(network->transfers);
    }
    peers_close(network->with_head);
    peers_close(network->with_agents);
}

void network_destroy(struct network *network)
{
    if (network == NULL) {
        return;
    }
    LIST_EACH_SAFE (at, &network->neighbours) {
        free(CONTAINER_OF(at, struct neighbour, all));
    }
    LIST_EACH_SAFE (at, &network->ways) {
        way_destroy(CONTAINER_OF(at, struct way, all));
    }
    LIST_EACH_SAFE (at, &network->unreachable) {
        free(CONTAINER_OF(at, struct unreachable, all));
    }
    transfers_destroy(network->transfers);
    marks_fini(&network->head_marks);
    free(network);
}

void network_flush(struct network *network)
{
    if (network != NULL) {
        peers_flush(network->with_agents);
        peers_flush(network->with_head);
    }
}
