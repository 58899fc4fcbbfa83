/* query.c - one question to the head, on a loop of its own
 *
 * Happy path: dial -> up -> the question -> rows -> the last of them (or: taken, and the connection closed).
 * Failures:   the first connection that cannot be had or ends ends the query; so does the deadline. There is no second
 *             try: whoever types a command can type it again, and a STOP must not be said twice.
 * Thread:     the caller's, which runs the loop.
 */
#include "proto/io/query.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "proto/io/peers.h"

#include <stdio.h>
#include <unistd.h>

struct query {
    struct loop *loop;
    struct peers *peers;
    struct peer *head; /* NULL when it could not even be dialed */
    const struct proto_message *message;
    query_rows_fn *fn;
    void *arg;
    struct loop_timer deadline;
    char host[PROTO_ADDRESS_BYTES_MAX + 1];
    uint32_t batch; /* in which the message went; 0: not yet */
    bool was_taken, is_over;
    int status;
    char text[ERROR_TEXT_BYTES];
};

static void end_with(struct query *query, int status, const char *text)
{
    if (!query->is_over) {
        query->is_over = true;
        query->status = status;
        snprintf(query->text, sizeof query->text, "%s", text);
        loop_stop(query->loop);
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
    if (hello->role != PROTO_ROLE_HEAD) {
        end_with(query, ROOST_ECONNECT, "what listens there is not a head");
        return;
    }
    int status = peers_send(peer, query->message);
    if (status != 0) {
        end_with(query, status, error_text());
        return;
    }
    query->batch = peer_last_batch(peer);
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    (void)peer, (void)batch, (void)seen;
    struct query *query = arg;
    if (query->is_over || message->kind != PROTO_ROWS || query->message->kind != PROTO_QUERY ||
        message->u.rows.query != query->message->u.query.query) {
        return;
    }
    const struct proto_rows *rows = &message->u.rows;
    if (rows->status != 0) {
        end_with(query, rows->status, rows->text);
        return;
    }
    int status = query->fn(query->arg, rows);
    if (status != 0 || rows->last) {
        end_with(query, status, status == 0 ? "" : error_text());
    }
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    (void)batch, (void)seen;
    struct query *query = arg;
    query->was_taken = query->batch != 0 && peer_seen(peer) >= query->batch;
    if (query->was_taken && query->message->kind == PROTO_STOP && query->message->u.stop.node != 0) {
        end_with(query, 0, "");
    }
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    (void)arg, (void)peer, (void)status, (void)text; /* on_down says the same */
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    (void)peer;
    struct query *query = arg;
    bool has_stopped = query->was_taken && query->message->kind == PROTO_STOP;
    end_with(query, has_stopped ? 0 : status, has_stopped ? "" : text);
}

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost,
                                              .on_down = on_down };

static void on_deadline(void *arg) { end_with(arg, ROOST_ETIMEDOUT, "the head did not answer in time"); }

static void flush(void *arg)
{
    struct query *query = arg;
    if (!query->is_over) {
        peers_flush(query->peers);
    }
}

static void ask(struct query *query, const char *address, unsigned timeout_ms)
{
    struct peers_options options = { .listen = NULL };
    int status = peers_open(&query->peers, query->loop, &options, &handler, query);
    if (status == 0) {
        status = peers_dial(query->peers, address, (struct node_id){ 0, 0 }, &query->head);
    }
    if (status != 0) {
        end_with(query, status, error_text());
        return;
    }
    loop_timer_init(&query->deadline, query->loop, on_deadline, query);
    loop_timer_arm(&query->deadline, loop_now_ns() + timeout_ms * UINT64_C(1000000));
    loop_on_turn_end(query->loop, flush, query);
    loop_run(query->loop);
    loop_timer_disarm(&query->deadline);
}

int query_head(const char *address, unsigned timeout_ms, const struct proto_message *message, query_rows_fn *fn,
               void *arg)
{
    struct query query = { .message = message, .fn = fn, .arg = arg };
    gethostname(query.host, sizeof query.host - 1);
    int status = loop_create(&query.loop);
    if (status != 0) {
        return status;
    }
    ask(&query, address, timeout_ms);
    if (query.head != NULL) {
        peer_lose(query.head, ROOST_ECANCELED, "the command has its answer"); /* all is said: nothing to linger for */
    }
    peers_close(query.peers);
    loop_destroy(query.loop);
    return query.status == 0 ? 0 : error_set(query.status, "%s", query.text);
}
