/* pull.c - bytes that come here because somebody here reads them, and bytes that go to others
 *
 * Owns pulls (this node wants an object, or a part of one) and serves (another node does). One pull per record, however
 * many wait for it; a pull lives while somebody does.
 *
 * Happy path: QUEUED -> ASKED (a holder is told) -> ROOM (its size is known) -> RECEIVING -> the object arrives.
 * Failures:   no holder known -> the head is asked, QUEUED again with its answer.
 *             a holder cannot, or is gone -> the next one; after all of them the head is asked again, at once, and
 *             when that has not helped after a pause that doubles.
 *             the ref names no range of the object -> the part FAILED with ROOST_ERANGE.
 *             no room -> waits in ROOM until some is free; copies that nobody reads are evicted for it. What the store
 *             can never hold, or no room for longer than the store's patience: who waits gets ROOST_EFULL; the object
 *             is well, and whoever asks next begins anew. Patience begins again whenever a pull finds room, while
 *             others come, and while tasks run here that read copies instead of which it would fit.
 *             nobody waits any more -> the pull ends, bytes that still come are thrown away.
 * Order:      somebody blocks on it, then arguments of tasks, then prefetch; within a class first come, first served.
 * Lanes:      what somebody blocks on has streams of its own, and does not count what is brought ahead, which pauses
 *             for it. A pull of the other lane that somebody comes to block on changes lanes, with what has not begun
 *             to come.
 * Limits:     PULL_ADMITTED_BYTES of announced bytes at once in the first lane, and in both if it is for the second; at
 *             least one pull always.
 * Invariants: pulling_bytes is the sum of what RECEIVING pulls of a lane take; a serve pins what it sends.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "pull"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PULL_ASKED_MAX = 256, PULL_ROUNDS_WARN = 8, PULL_PAUSE_MS_MIN = 2, PULL_PAUSE_MS_MAX = 500 };

enum pull_lane { LANE_BLOCKED, LANE_AHEAD };
enum pull_state { PULL_QUEUED = 1, PULL_LOCATING, PULL_ASKED, PULL_ROOM, PULL_RECEIVING };

struct pull {
    struct list_node all;      /* agent.pulls: by class, then in order of creation */
    uint64_t serial, transfer; /* transfer: the name of its newest try on the wire, which nobody else can guess */
    struct object *object;     /* whose bytes are to come; ELSEWHERE, and object->pull leads here */
    roost_ref ref;
    enum pull_state state;
    enum proto_pull_class priority;
    uint32_t next_holder, tried, rounds, tries;
    uint64_t not_before_ns;          /* of a LOCATING one: the end of its pause */
    uint64_t room_since_ns;          /* in ROOM since then */
    struct core_peer peer;           /* from ASKED on */
    struct proto_pull_answer answer; /* from ROOM on */
    struct lease *lease;             /* while RECEIVING */
    uint64_t bytes;                  /* that come: payload and trailer */
};

struct serve {
    struct list_node all;   /* agent.serves */
    uint64_t serial, token; /* token: the asker's */
    struct core_peer peer;
    struct object *object; /* pinned */
    struct agent_opened opened;
    bool is_open;
};

static struct id_key pull_key(uint64_t transfer) { return (struct id_key){ 4, transfer }; }

static struct proto_message *say(struct agent *agent, struct core_peer peer, enum proto_kind kind)
{
    struct proto_message *message = core_put(agent->out, CORE_SEND, core_peer_key(peer), 0, sizeof *message);
    message->kind = kind;
    return message;
}

static enum pull_lane lane_of(const struct pull *pull)
{
    return pull->priority == PROTO_PULL_BLOCKED ? LANE_BLOCKED : LANE_AHEAD;
}

static struct object *whole_of(const struct pull *pull)
{
    return pull->object->whole != NULL ? pull->object->whole : pull->object;
}

/* ------------------------------------------------------------------ asking */

static void say_pull(struct agent *agent, const struct pull *pull)
{
    struct proto_message *message = say(agent, pull->peer, PROTO_PULL);
    message->u.pull = (struct proto_pull){ .token = pull->transfer, .ref = pull->ref, .priority = pull->priority };
}

static void enqueue(struct agent *agent, struct pull *pull)
{
    struct list_node *place = agent->pulls.previous;
    while (place != &agent->pulls) {
        const struct pull *before = CONTAINER_OF(place, struct pull, all);
        if (before->priority < pull->priority ||
            (before->priority == pull->priority && before->serial < pull->serial)) {
            break;
        }
        place = place->previous;
    }
    list_insert_before(place->next, &pull->all);
}

/* What comes already changes lanes as well: its holder is told. */
static void raise_to(struct agent *agent, struct pull *pull, enum proto_pull_class priority)
{
    enum pull_lane before = lane_of(pull);
    pull->priority = priority;
    list_remove(&pull->all);
    enqueue(agent, pull);
    if (pull->state == PULL_RECEIVING && lane_of(pull) != before) {
        agent->pulling_bytes[before] -= pull->bytes;
        agent->pulling_bytes[lane_of(pull)] += pull->bytes;
        say_pull(agent, pull);
    }
}

static bool is_wanted_by_one(const struct object *object)
{
    const struct list_node *waits = &object->waits, *consumers = &object->consumers;
    bool is_both = waits->next != waits && consumers->next != consumers;
    return !is_both && waits->next == waits->previous && consumers->next == consumers->previous;
}

void pull_want(struct agent *agent, struct object *object, enum proto_pull_class priority)
{
    ROOST_PRE(object->state == OBJECT_ELSEWHERE);
    struct pull *pull = object->pull;
    if (pull == NULL) {
        pull = agent_alloc(sizeof *pull);
        *pull =
            (struct pull){ .serial = ++agent->serial, .object = object, .state = PULL_QUEUED, .priority = priority };
        pull->ref = object->whole != NULL ? object->part_ref : object_ref(object->id);
        object->pull = pull;
        enqueue(agent, pull);
        agent->counts.pulls++;
    } else if (priority < pull->priority) {
        raise_to(agent, pull, priority);
    }
    if (is_wanted_by_one(object)) { /* by who asks now; those before have left */
        pull->room_since_ns = agent->now_ns;
    }
    agent->pull_due = true;
}

static bool peer_of(struct agent *agent, uint32_t number, struct core_peer *peer_out)
{
    struct member *member = member_find(agent, number);
    if (member == NULL || !member->is_alive || number == agent->self.node) {
        return false;
    }
    *peer_out = (struct core_peer){ number, member->incarnation };
    return true;
}

/* The next holder in turn; different objects begin with different ones, so that copies share the work. */
static bool choose(struct agent *agent, struct pull *pull)
{
    const struct object *whole = whole_of(pull);
    while (pull->tried < whole->holders_count) {
        uint32_t index = (uint32_t)((pull->serial + pull->next_holder++) % whole->holders_count);
        pull->tried++;
        if (peer_of(agent, whole->holders[index], &pull->peer)) {
            return true;
        }
    }
    return false;
}

static void ask_head(struct agent *agent, struct pull *pull)
{
    struct object *whole = whole_of(pull);
    pull->not_before_ns = 0;
    whole->is_wanted = false; /* the answer is wanted anew */
    link_want(agent, whole);
}

void pull_ask_again(struct agent *agent)
{
    LIST_EACH (at, &agent->pulls) {
        struct pull *pull = CONTAINER_OF(at, struct pull, all);
        if (pull->state == PULL_LOCATING && pull->not_before_ns == 0) {
            ask_head(agent, pull);
        }
    }
}

/* The first question is asked at once: what is known of the holders may just be old. */
static void locate(struct agent *agent, struct pull *pull)
{
    pull->state = PULL_LOCATING;
    pull->tried = 0;
    if (pull->rounds++ < 2) {
        ask_head(agent, pull);
        return;
    }
    if (pull->rounds == PULL_ROUNDS_WARN) {
        log_warn("event=no_holder_can rounds=%u object=%llx", pull->rounds, (unsigned long long)whole_of(pull)->id.lo);
    }
    uint64_t pause_ms = (uint64_t)PULL_PAUSE_MS_MIN << (pull->rounds < 16 ? pull->rounds : 16);
    pause_ms = pause_ms < PULL_PAUSE_MS_MAX ? pause_ms : PULL_PAUSE_MS_MAX;
    pull->not_before_ns = agent->now_ns + pause_ms * 1000000;
    agent->pull_due = true; /* arms the timer */
}

/* Each try has a name of its own: what still comes of an earlier one, here or there, is not taken for it. */
static void set_transfer(struct agent *agent, struct pull *pull)
{
    uint64_t words[3] = { agent->config.secret, pull->serial, ++pull->tries };
    id_map_remove(&agent->pulls_by_transfer, pull_key(pull->transfer));
    pull->transfer = hash64(words, sizeof words, 6);
    ROOST_INVARIANT(id_map_put(&agent->pulls_by_transfer, pull_key(pull->transfer), pull) == 0);
}

static void ask(struct agent *agent, struct pull *pull)
{
    if (!choose(agent, pull)) {
        locate(agent, pull);
        return;
    }
    set_transfer(agent, pull);
    pull->state = PULL_ASKED;
    say_pull(agent, pull);
}

static bool is_admitted(const struct agent *agent, const struct pull *pull)
{
    uint64_t coming = agent->pulling_bytes[LANE_BLOCKED];
    coming += lane_of(pull) == LANE_AHEAD ? agent->pulling_bytes[LANE_AHEAD] : 0;
    return coming == 0 || coming + pull->bytes <= PULL_ADMITTED_BYTES;
}

/* The bytes have a place: the holder may send. Large ones over several streams. */
static bool receive(struct agent *agent, struct pull *pull)
{
    pull->lease = room_take(agent, pull->bytes);
    if (pull->lease == NULL) {
        return false;
    }
    pull->state = PULL_RECEIVING;
    agent->pulling_bytes[lane_of(pull)] += pull->bytes;
    struct agent_pull *body = core_put(agent->out, CORE_PULL, 0, agent_token(AGENT_TOKEN_PULL, pull->serial),
                                       sizeof *body);
    *body = (struct agent_pull){ .op = AGENT_PULL_RECEIVE,
                                 .peer = pull->peer,
                                 .transfer = pull->transfer,
                                 .object = { .size = pull->answer.content.size,
                                             .columns = pull->answer.trailer_bytes > 0 ? pull->answer.content.columns
                                                                                       : 0,
                                             .refs = pull->answer.refs_count,
                                             .place = pull->lease->place },
                                 .place = pull->lease->place,
                                 .size = pull->bytes };
    uint32_t streams = pull->bytes >= PULL_LARGE_BYTES ? PULL_STREAMS_MAX : 1;
    uint32_t first = lane_of(pull) * (uint32_t)PULL_STREAMS_MAX;
    uint64_t share = align_up((pull->bytes + streams - 1) / streams, STORE_ALIGNMENT);
    for (uint32_t i = 0; i < streams && i * share < pull->bytes; i++) {
        uint64_t left = pull->bytes - i * share;
        struct proto_message *message = say(agent, pull->peer, PROTO_PULL_STREAM);
        message->u.pull_stream = (struct proto_pull_stream){
            .token = pull->transfer, .stream = first + i, .offset = i * share, .size = left < share ? left : share
        };
    }
    return true;
}

/* ------------------------------------------------------------------ no room */

static uint64_t end_of_patience(const struct agent *agent, const struct pull *pull)
{
    uint64_t since = pull->room_since_ns > agent->room_short_ns ? pull->room_since_ns : agent->room_short_ns;
    return since + room_patience_ns(agent);
}

/* Does anything come that somebody has waited for longer, or will it fit when the tasks that run here have let go of
 * what they read? Then it waits for that: nothing is brought for others past it, so there is ever less of it. */
static bool room_will_come(struct agent *agent, const struct pull *pull)
{
    if (agent->pulling_bytes[LANE_BLOCKED] + agent->pulling_bytes[LANE_AHEAD] > 0) {
        return true;
    }
    uint64_t free_bytes = agent->counts.bytes_total - agent->counts.bytes_used, read_bytes = tasks_read_bytes(agent);
    return read_bytes > 0 && free_bytes + read_bytes >= pull->bytes;
}

static void refuse_for_want_of_room(struct agent *agent, struct pull *pull)
{
    struct object *object = pull->object;
    unsigned long long bytes = pull->bytes, store_bytes = agent->counts.bytes_total;
    const char *node = agent->config.node_name;
    char id[ID_TEXT_BYTES], what[ID_TEXT_BYTES + 32], why[WIRE_TEXT_BYTES_MAX / 2];
    object_id_print(whole_of(pull)->id, id);
    snprintf(what, sizeof what, "%sobject %s", object->whole != NULL ? "a part of " : "", id);
    if (!room_can_ever_hold(agent, bytes)) {
        log_warn("event=larger_than_store object=%s bytes=%llu store_bytes=%llu", id, bytes, store_bytes);
        snprintf(why, sizeof why, "%s does not fit: it has %llu bytes, the store of %s has %llu", what, bytes, node,
                 store_bytes);
    } else {
        log_debug("event=no_room object=%s bytes=%llu store_bytes=%llu", id, bytes, store_bytes);
        snprintf(why, sizeof why,
                 "no room for %s: it has %llu bytes, and of the %llu of the store of %s too few came free in %llu ms",
                 what, bytes, store_bytes, node, (unsigned long long)room_patience_ns(agent) / 1000000);
    }
    pull_cancel(agent, pull);
    wait_object_refused(agent, object, ROOST_EFULL, why);
    if (!list_is_empty(&object->consumers)) {
        agent->room_short_ns = agent->now_ns; /* what else these tasks read goes now, and may be all that is wanted */
    }
    while (!list_is_empty(&object->consumers)) {
        task_input_refused(agent, CONTAINER_OF(object->consumers.next, struct input, consumer), ROOST_EFULL, why);
    }
    agent->pull_due = true;
}

/* The first in the order that has a size. False: it has to wait, and so has every later one. */
static bool begin(struct agent *agent, struct pull *pull, uint64_t *next_ns)
{
    if (!is_admitted(agent, pull)) {
        return false;
    }
    if (receive(agent, pull)) {
        agent->room_short_ns = 0;
        return true;
    }
    agent->pulls_want_room = true;
    agent->room_short_ns = agent->room_short_ns == 0 ? agent->now_ns : agent->room_short_ns;
    if (end_of_patience(agent, pull) <= agent->now_ns && room_will_come(agent, pull)) {
        agent->room_short_ns = agent->now_ns;
    }
    uint64_t end_ns = end_of_patience(agent, pull);
    if (end_ns <= agent->now_ns) {
        refuse_for_want_of_room(agent, pull);
        return true;
    }
    *next_ns = end_ns < *next_ns ? end_ns : *next_ns;
    return false;
}

void pull_retry(struct agent *agent)
{
    uint32_t asked = 0;
    uint64_t next_ns = UINT64_MAX;
    bool is_stuck = false;
    agent->pulls_want_room = false;
    LIST_EACH_SAFE (at, &agent->pulls) {
        struct pull *pull = CONTAINER_OF(at, struct pull, all);
        if (pull->not_before_ns != 0 && pull->not_before_ns <= agent->now_ns) {
            ask_head(agent, pull);
        }
        if (pull->not_before_ns != 0 && pull->not_before_ns < next_ns) {
            next_ns = pull->not_before_ns;
        }
        asked += pull->state == PULL_ASKED;
        if (pull->state == PULL_QUEUED && asked < PULL_ASKED_MAX) {
            ask(agent, pull);
            asked++;
        } else if (pull->state == PULL_ROOM && !is_stuck) {
            is_stuck = !begin(agent, pull, &next_ns); /* nobody overtakes within what is asked for */
        }
    }
    agent->room_short_ns = agent->pulls_want_room ? agent->room_short_ns : 0;
    if (next_ns != UINT64_MAX) {
        core_arm(agent->out, agent_token(AGENT_TIMER, AGENT_TIMER_PULLS), next_ns);
    }
}

/* ------------------------------------------------------------------ ends */

static void destroy(struct agent *agent, struct pull *pull)
{
    if (pull->lease != NULL) {
        agent->pulling_bytes[lane_of(pull)] -= pull->bytes;
    }
    pull->object->pull = NULL;
    list_remove(&pull->all);
    id_map_remove(&agent->pulls_by_transfer, pull_key(pull->transfer));
    free(pull);
    agent->pull_due = true;
}

static void tell_done(struct agent *agent, const struct pull *pull, int32_t status)
{
    struct proto_message *message = say(agent, pull->peer, PROTO_PULL_DONE);
    message->u.pull_done = (struct proto_pull_done){ pull->transfer, status };
}

/* The host throws away what still comes; the place is free when it says so. How much had come or will come, only it
 * knows: all of it counts, so that what is told is never less than what crossed. */
static void stop_receiving(struct agent *agent, struct pull *pull)
{
    load_pulled(agent, pull->peer.node, pull->bytes);
    struct agent_pull *body = core_put(agent->out, CORE_PULL, 0, room_let_evicted_go(agent, pull->lease), sizeof *body);
    *body = (struct agent_pull){ .op = AGENT_PULL_CANCEL, .peer = pull->peer, .transfer = pull->transfer };
}

void pull_cancel(struct agent *agent, struct pull *pull)
{
    if (pull->state == PULL_RECEIVING) {
        stop_receiving(agent, pull);
    }
    if (pull->state >= PULL_ASKED) {
        tell_done(agent, pull, ROOST_ECANCELED);
    }
    destroy(agent, pull);
}

/* This holder is no use: back into the queue, for the next one. */
static void try_next(struct agent *agent, struct pull *pull)
{
    if (pull->state == PULL_RECEIVING) {
        stop_receiving(agent, pull);
        agent->pulling_bytes[lane_of(pull)] -= pull->bytes;
        pull->lease = NULL;
    }
    pull->state = PULL_QUEUED;
    agent->pull_due = true;
}

/* One in its pause waits on: the same holders would say the same. */
static void is_located(struct agent *agent, struct pull *pull)
{
    if (pull != NULL && pull->state == PULL_LOCATING && pull->not_before_ns == 0) {
        pull->state = PULL_QUEUED;
        agent->pull_due = true;
    }
}

void pull_holders_known(struct agent *agent, struct object *object)
{
    is_located(agent, object->pull);
    LIST_EACH (at, &object->parts) {
        is_located(agent, CONTAINER_OF(at, struct object, parts)->pull);
    }
}

static struct pull *find(struct agent *agent, uint64_t transfer)
{
    return id_map_get(&agent->pulls_by_transfer, pull_key(transfer));
}

void pull_done(struct agent *agent, const struct core_event *event)
{
    struct pull *pull = find(agent, event->u.done.value);
    if (pull == NULL || pull->state != PULL_RECEIVING) {
        return; /* canceled meanwhile */
    }
    if (event->u.done.status != 0) {
        log_warn("event=transfer_failed from=%u status=%d", pull->peer.node, event->u.done.status);
        tell_done(agent, pull, ROOST_ECANCELED); /* it may still hold the bytes for this try */
        try_next(agent, pull);
        return;
    }
    tell_done(agent, pull, 0);
    struct object *object = pull->object;
    struct lease *lease = pull->lease;
    const struct proto_pull_answer *answer = &pull->answer;
    bool is_part = object->whole != NULL;
    struct wire_object value = { .id = object->id,
                                 .place = lease->place,
                                 .size = answer->content.size,
                                 .columns = is_part ? 0 : answer->content.columns,
                                 .refs = is_part ? 0 : answer->refs_count,
                                 .format = is_part ? TABLE_RAW : answer->content.format };
    roost_ref *refs = NULL;
    if (value.refs > 0) {
        ROOST_INVARIANT(event->u.done.bytes == value.refs * sizeof *refs);
        refs = agent_alloc(event->u.done.bytes);
        memcpy(refs, event->u.done.data, event->u.done.bytes);
    }
    object->version = answer->content.version;
    load_pulled(agent, pull->peer.node, pull->bytes);
    LIST_EACH (at, &object->consumers) {
        load_progress(agent, CONTAINER_OF(at, struct input, consumer)->task, pull->peer.node, pull->bytes);
    }
    destroy(agent, pull);
    object_arrive(agent, object, &value, lease, refs);
    object_check_named(agent, object);
}

static void on_answer(struct agent *agent, struct core_peer peer, const struct proto_pull_answer *answer)
{
    struct pull *pull = find(agent, answer->token);
    bool is_given_up = pull == NULL || pull->state < PULL_ASKED;
    if (is_given_up && answer->status == 0) { /* its holder keeps the bytes for nothing */
        struct proto_message *message = say(agent, peer, PROTO_PULL_DONE);
        message->u.pull_done = (struct proto_pull_done){ answer->token, ROOST_ECANCELED };
    }
    if (is_given_up || (pull->state != PULL_ASKED && answer->status == 0)) {
        return;
    }
    struct object *object = pull->object;
    if (answer->status == ROOST_ERANGE && object->whole != NULL) { /* every other holder would say the same */
        destroy(agent, pull);
        object_fail(agent, object, ROOST_ERANGE);
        return;
    }
    if (answer->status != 0) {
        try_next(agent, pull);
        return;
    }
    pull->answer = *answer;
    pull->bytes = answer->content.size + answer->trailer_bytes;
    pull->state = PULL_ROOM;
    pull->room_since_ns = agent->now_ns;
    agent->pull_due = true;
    if (!room_can_ever_hold(agent, pull->bytes)) {
        refuse_for_want_of_room(agent, pull);
    }
}

/* The holder cannot go on. */
static void on_done(struct agent *agent, const struct proto_pull_done *done)
{
    struct pull *pull = find(agent, done->token);
    if (pull != NULL && pull->state >= PULL_ASKED && done->status != 0) {
        try_next(agent, pull);
    }
}

/* ------------------------------------------------------------------ serving */

static struct serve *find_serve(struct agent *agent, struct core_peer peer, uint64_t token)
{
    LIST_EACH (at, &agent->serves) {
        struct serve *serve = CONTAINER_OF(at, struct serve, all);
        if (serve->token == token && serve->peer.node == peer.node && serve->peer.incarnation == peer.incarnation) {
            return serve;
        }
    }
    return NULL;
}

static void end_serve(struct agent *agent, struct serve *serve)
{
    object_unpin(agent, serve->object);
    object_unname(agent, serve->object, &serve->object->uses);
    list_remove(&serve->all);
    free(serve);
}

static void refuse(struct agent *agent, struct core_peer peer, uint64_t token, int32_t status)
{
    struct proto_message *message = say(agent, peer, PROTO_PULL_ANSWER);
    message->u.pull_answer.token = token;
    message->u.pull_answer.status = status;
}

/* Somebody there has come to block on it. */
static void raise_serve(struct agent *agent, const struct serve *serve)
{
    struct agent_pull *body = core_put(agent->out, CORE_PULL, 0, agent_token(AGENT_TOKEN_SERVE, serve->serial),
                                       sizeof *body);
    *body = (struct agent_pull){ .op = AGENT_PULL_RAISE, .peer = serve->peer, .transfer = serve->token };
}

static void on_pull(struct agent *agent, struct core_peer peer, const struct proto_pull *asked)
{
    const struct serve *known = find_serve(agent, peer, asked->token);
    if (known != NULL) {
        raise_serve(agent, known);
        return;
    }
    struct object *object = object_find(agent, object_id_of(asked->ref));
    bool is_here = object != NULL && object->state == OBJECT_HERE;
    if (!is_here || (object->lease == NULL && object->value.size > 0)) {
        refuse(agent, peer, asked->token, object == NULL ? ROOST_EFREED : ROOST_ELOST);
        return;
    }
    struct serve *serve = agent_alloc(sizeof *serve);
    *serve = (struct serve){ .serial = ++agent->serial, .token = asked->token, .peer = peer, .object = object };
    list_append(&agent->serves, &serve->all);
    object_pin(object);
    object_name(agent, object, &object->uses);
    struct agent_pull *body = core_put(agent->out, CORE_PULL, 0, agent_token(AGENT_TOKEN_SERVE, serve->serial),
                                       sizeof *body);
    *body = (struct agent_pull){ .op = AGENT_PULL_OPEN, .peer = peer, .object = object->value, .ref = asked->ref };
}

void pull_served(struct agent *agent, const struct core_event *event)
{
    uint64_t serial = agent_token_serial(event->u.done.token);
    LIST_EACH (at, &agent->serves) {
        struct serve *serve = CONTAINER_OF(at, struct serve, all);
        if (serve->serial != serial) {
            continue;
        }
        if (event->u.done.status != 0) { /* the ref means nothing, or the bytes cannot be sent */
            refuse(agent, serve->peer, serve->token, event->u.done.status);
            end_serve(agent, serve);
            return;
        }
        memcpy(&serve->opened, event->u.done.data, sizeof serve->opened);
        serve->is_open = true;
        const struct wire_object *value = &serve->object->value;
        bool is_whole = serve->opened.trailer_bytes > 0 || serve->opened.size == value->size;
        struct proto_message *message = say(agent, serve->peer, PROTO_PULL_ANSWER);
        message->u.pull_answer = (struct proto_pull_answer){
            .token = serve->token,
            .content = { .size = serve->opened.size,
                         .version = serve->object->version,
                         .columns = is_whole ? value->columns : 0,
                         .format = value->format },
            .offset = serve->opened.offset,
            .refs_count = serve->opened.trailer_bytes > 0 ? value->refs : 0,
            .trailer_bytes = serve->opened.trailer_bytes,
        };
        return;
    }
}

static void on_stream(struct agent *agent, struct core_peer peer, const struct proto_pull_stream *range)
{
    struct serve *serve = find_serve(agent, peer, range->token);
    if (serve == NULL || !serve->is_open) {
        return;
    }
    uint64_t bytes = serve->opened.size + serve->opened.trailer_bytes;
    if (!range_is_inside(range->offset, range->size, bytes)) {
        log_error("event=range_outside peer=%u offset=%llu size=%llu of=%llu", peer.node,
                  (unsigned long long)range->offset, (unsigned long long)range->size, (unsigned long long)bytes);
        refuse(agent, peer, range->token, ROOST_ERANGE);
        end_serve(agent, serve);
        return;
    }
    struct wire_place place = serve->object->value.place;
    place.offset += serve->opened.offset + range->offset;
    place.bytes = range->size;
    struct agent_pull *body = core_put(agent->out, CORE_PULL, 0, agent_token(AGENT_TOKEN_SERVE, serve->serial),
                                       sizeof *body);
    *body = (struct agent_pull){ .op = AGENT_PULL_SEND,
                                 .peer = peer,
                                 .transfer = range->token,
                                 .place = place,
                                 .offset = range->offset,
                                 .size = range->size,
                                 .stream = range->stream };
}

/* The asker has everything, or wants no more. */
static void on_asker_done(struct agent *agent, struct core_peer peer, uint64_t token)
{
    struct serve *serve = find_serve(agent, peer, token);
    if (serve != NULL) {
        end_serve(agent, serve);
    }
}

void pull_message(struct agent *agent, const struct core_event *event)
{
    struct core_peer peer = event->u.message.peer;
    const struct proto_message *message = event->u.message.body;
    if (message->kind == PROTO_PULL) {
        on_pull(agent, peer, &message->u.pull);
    } else if (message->kind == PROTO_PULL_STREAM) {
        on_stream(agent, peer, &message->u.pull_stream);
    } else if (message->kind == PROTO_PULL_CANCEL) {
        on_asker_done(agent, peer, message->u.pull_cancel.token);
    } else if (message->kind == PROTO_PULL_ANSWER) {
        on_answer(agent, peer, &message->u.pull_answer);
    } else if (message->kind == PROTO_PULL_DONE && find_serve(agent, peer, message->u.pull_done.token) != NULL) {
        on_asker_done(agent, peer, message->u.pull_done.token);
    } else if (message->kind == PROTO_PULL_DONE) {
        on_done(agent, &message->u.pull_done);
    } else {
        log_error("event=unexpected_message from=%u kind=%s", peer.node, proto_kind_name(message->kind));
    }
}

void pull_peer_lost(struct agent *agent, struct core_peer peer)
{
    LIST_EACH (at, &agent->pulls) {
        struct pull *pull = CONTAINER_OF(at, struct pull, all);
        if (pull->state >= PULL_ASKED && pull->peer.node == peer.node && pull->peer.incarnation == peer.incarnation) {
            try_next(agent, pull);
        }
    }
    LIST_EACH_SAFE (at, &agent->serves) {
        struct serve *serve = CONTAINER_OF(at, struct serve, all);
        if (serve->peer.node == peer.node && serve->peer.incarnation == peer.incarnation) {
            end_serve(agent, serve);
        }
    }
}

void pulls_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->pulls) {
        free(CONTAINER_OF(at, struct pull, all));
    }
    LIST_EACH_SAFE (at, &agent->serves) {
        free(CONTAINER_OF(at, struct serve, all));
    }
}
