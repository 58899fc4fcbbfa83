/* query.c - one question to the head, or to many agents at once, on a loop of its own
 *
 * Happy path: dial -> up -> the question -> rows -> the last of them (or: taken, and the connection closed).
 * Failures:   the first connection that cannot be had or ends ends the question to whom it led; so does the deadline, to
 *             all. There is no second try: whoever types a command can type it again, and a STOP must not be said twice.
 * Thread:     the caller's, which runs the loop.
 */
#include "proto/io/query.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "proto/io/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct query {
    struct loop *loop;
    struct peers *peers;
    const struct proto_message *message;
    enum proto_role role; /* of whoever is asked */
    struct loop_timer deadline;
    char host[PROTO_ADDRESS_BYTES_MAX + 1];
    struct question *questions;
    size_t count, open;
};

struct question { /* to one of those who are asked: the arg of its peer */
    struct query *query;
    struct query_target *target;
    struct peer *peer; /* NULL when it could not even be dialed */
    uint32_t batch;    /* in which the message went; 0: not yet */
    bool was_taken, is_over;
};

static void end_with(struct question *question, int status, const char *text)
{
    if (!question->is_over) {
        question->is_over = true;
        question->target->status = status;
        snprintf(question->target->text, sizeof question->target->text, "%s", text);
        if (--question->query->open == 0) {
            loop_stop(question->query->loop);
        }
    }
}

static void say_hello(void *arg, struct proto_hello *hello)
{
    struct query *query = arg;
    hello->role = PROTO_ROLE_COMMAND;
    hello->host = query->host;
    hello->pid = (uint64_t)getpid();
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    (void)arg, (void)hello;
    return error_set(ROOST_EAUTH, "a command takes no connections");
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    (void)resumed;
    struct query *query = arg;
    struct question *question = peer_arg(peer);
    if (hello->role != query->role) {
        end_with(question, ROOST_ECONNECT,
                 query->role == PROTO_ROLE_HEAD ? "what listens there is not a head"
                                                : "what listens there is no agent");
        return;
    }
    int status = peers_send(peer, query->message);
    if (status != 0) {
        end_with(question, status, error_text());
        return;
    }
    question->batch = peer_last_batch(peer);
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    (void)batch, (void)seen;
    const struct query *query = arg;
    struct question *question = peer_arg(peer);
    if (question->is_over || message->kind != PROTO_ROWS || query->message->kind != PROTO_QUERY ||
        message->u.rows.query != query->message->u.query.query) {
        return;
    }
    const struct proto_rows *rows = &message->u.rows;
    if (rows->status != 0) {
        end_with(question, rows->status, rows->text);
        return;
    }
    int status = question->target->fn(question->target->arg, rows);
    if (status != 0 || rows->last) {
        end_with(question, status, status == 0 ? "" : error_text());
    }
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    (void)batch, (void)seen;
    const struct query *query = arg;
    struct question *question = peer_arg(peer);
    question->was_taken = question->batch != 0 && peer_seen(peer) >= question->batch;
    if (question->was_taken && query->message->kind == PROTO_STOP && query->message->u.stop.node != 0) {
        end_with(question, 0, "");
    }
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    (void)arg, (void)peer, (void)status, (void)text; /* on_down says the same */
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    const struct query *query = arg;
    struct question *question = peer_arg(peer);
    bool has_stopped = question->was_taken && query->message->kind == PROTO_STOP;
    end_with(question, has_stopped ? 0 : status, has_stopped ? "" : text);
}

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost,
                                              .on_down = on_down };

static void on_deadline(void *arg)
{
    const struct query *query = arg;
    for (size_t i = 0; i < query->count; i++) {
        end_with(&query->questions[i], ROOST_ETIMEDOUT,
                 query->role == PROTO_ROLE_HEAD ? "the head did not answer in time"
                                                : "the agent did not answer in time");
    }
}

static void flush(void *arg)
{
    struct query *query = arg;
    if (query->open > 0) {
        peers_flush(query->peers);
    }
}

static void dial(struct query *query)
{
    struct peers_options options = { .listen = NULL };
    int opened = peers_open(&query->peers, query->loop, &options, &handler, query);
    for (size_t i = 0; i < query->count; i++) {
        struct question *question = &query->questions[i];
        int status = opened != 0 ? opened
                                 : peers_dial(query->peers, question->target->address, (struct node_id){ 0, 0 },
                                              &question->peer);
        if (status != 0) {
            end_with(question, status, error_text());
        } else {
            peer_set_arg(question->peer, question);
        }
    }
}

/* Every target has its status then. */
static void ask(struct query *query, struct query_target *targets, unsigned timeout_ms)
{
    gethostname(query->host, sizeof query->host - 1);
    query->open = query->count;
    for (size_t i = 0; i < query->count; i++) {
        query->questions[i] = (struct question){ .query = query, .target = &targets[i] };
    }
    dial(query);
    if (query->open > 0) {
        loop_timer_init(&query->deadline, query->loop, on_deadline, query);
        loop_timer_arm(&query->deadline, loop_now_ns() + timeout_ms * UINT64_C(1000000));
        loop_on_turn_end(query->loop, flush, query);
        loop_run(query->loop);
        loop_timer_disarm(&query->deadline);
    }
    for (size_t i = 0; i < query->count; i++) {
        if (query->questions[i].peer != NULL) { /* all is said: nothing to linger for */
            peer_lose(query->questions[i].peer, ROOST_ECANCELED, "the command has its answer");
        }
    }
    peers_close(query->peers);
}

static int run(enum proto_role role, struct query_target *targets, size_t count, unsigned timeout_ms,
               const struct proto_message *message)
{
    struct query query = { .role = role, .message = message, .count = count };
    query.questions = calloc(count + 1, sizeof *query.questions);
    int status = query.questions == NULL ? error_set(ROOST_ENOMEM, "no memory for %zu questions", count)
                                         : loop_create(&query.loop);
    if (status == 0) {
        ask(&query, targets, timeout_ms);
        loop_destroy(query.loop);
    }
    free(query.questions);
    return status;
}

int query_head(const char *address, unsigned timeout_ms, const struct proto_message *message, query_rows_fn *fn,
               void *arg)
{
    struct query_target head = { .address = address, .fn = fn, .arg = arg };
    ROOST_TRY(run(PROTO_ROLE_HEAD, &head, 1, timeout_ms, message));
    return head.status == 0 ? 0 : error_set(head.status, "%s", head.text);
}

int query_agents(struct query_target *targets, size_t count, unsigned timeout_ms, const struct proto_message *message)
{
    return count == 0 ? 0 : run(PROTO_ROLE_PEER, targets, count, timeout_ms, message);
}
