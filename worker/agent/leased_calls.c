/* leased_calls.c - calls in the rings of this node's leases, as rows for people
 *
 * Owns nothing: looks at each slot, and at what each worker says that it runs.
 *
 * Happy path: QUERY -> the calls of every ring, by how soon they run -> rows, in parts, the last of which says so.
 * Failures:   another question, a filter that names no column, an id that is none -> a part with a status and a text.
 *             a ring, a slot or a spec that cannot be                             -> passed over: its users will meet it.
 *             a slot that is taken while it is looked at                          -> passed over: the call runs, or has come back.
 * Limits:     the rows that were asked for; of those beyond, how many match is counted.
 * Thread:     the agent's loop. */
#include "worker/agent/leased_calls.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "proto/row_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_COLUMNS_MAX = 7, ANSWER_PART_ROWS = 256 };

/* ------------------------------------------------------------------ one ring */

/* The item is a private copy. */
static bool take_call(const struct task_ring_item *item, struct leased_call *call_out)
{
    struct lease_task head;
    _Alignas(8) unsigned char copy[TASK_PAYLOAD_BYTES_MAX];
    if (item->bytes < sizeof head) {
        return false;
    }
    memcpy(&head, item->payload, sizeof head);
    if (head.spec_bytes > item->bytes - sizeof head) {
        return false;
    }
    memcpy(copy, item->payload + sizeof head, head.spec_bytes);
    if (spec_check(copy, head.spec_bytes) != 0) {
        return false;
    }
    const struct spec *spec = (const struct spec *)(const void *)copy;
    *call_out = (struct leased_call){ .task = spec->task,
                                      .attempt = item->attempt,
                                      .results = spec->returns < LEASE_RETURNS_MAX ? spec->returns
                                                                                   : LEASE_RETURNS_MAX };
    snprintf(call_out->function, sizeof call_out->function, "%s", spec_function(spec));
    return true;
}

struct queued {
    uint64_t ticket;
    uint32_t slot;
};

static int by_ticket(const void *a, const void *b)
{
    uint64_t left = ((const struct queued *)a)->ticket, right = ((const struct queued *)b)->ticket;
    return left < right ? -1 : left > right;
}

size_t leased_calls_read(struct lease_page_head *page, struct leased_call calls_out[LEASED_CALLS_MAX])
{
    struct task_ring ring;
    unsigned char *tasks = (unsigned char *)page + lease_page_layout().tasks;
    if (task_ring_attach(&ring, tasks, LEASE_SLOTS, TASK_TAKER_AGENT) != 0) {
        return 0;
    }
    struct queued queued[LEASE_SLOTS];
    uint32_t queued_count = 0, taker, before = 0;
    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        if (task_ring_slot(&ring, i, &queued[queued_count].ticket, &taker) == TASK_SLOT_QUEUED) {
            queued[queued_count++].slot = i;
        }
    }
    qsort(queued, queued_count, sizeof queued[0], by_ticket);
    size_t count = 0;
    struct lease_run run;
    if (lease_page_run(page, &run)) {
        calls_out[count] = (struct leased_call){ .task = run.task,
                                                 .attempt = run.attempt,
                                                 .results = LEASE_RETURNS_MAX,
                                                 .runs = true,
                                                 .since_ns = run.since_ns };
        memcpy(calls_out[count++].function, run.function, sizeof run.function);
        before = 1;
    }
    for (uint32_t i = 0; i < queued_count; i++) {
        struct task_ring_item item;
        if (task_ring_peek(&ring, queued[i].slot, &item) == 1 && take_call(&item, &calls_out[count])) {
            calls_out[count++].before = before++;
        }
    }
    return count;
}

/* ------------------------------------------------------------------ all rings */

struct calls { /* owned */
    struct leased_call *of;
    size_t count, capacity;
};

static int add_ring(struct calls *calls, struct lease_page_head *page, uint32_t ring)
{
    if (calls->capacity - calls->count < LEASED_CALLS_MAX) {
        size_t capacity = (calls->capacity + LEASED_CALLS_MAX) * 2;
        struct leased_call *more = reallocarray(calls->of, capacity, sizeof *more);
        if (more == NULL) {
            return ROOST_ENOMEM;
        }
        calls->of = more;
        calls->capacity = capacity;
    }
    size_t count = leased_calls_read(page, calls->of + calls->count);
    for (size_t i = 0; i < count; i++) {
        calls->of[calls->count++].ring = ring;
    }
    return 0;
}

static int by_turn(const void *a, const void *b)
{
    const struct leased_call *left = a, *right = b;
    if (left->before != right->before) {
        return left->before < right->before ? -1 : 1;
    }
    return left->ring == right->ring ? 0 : (left->ring < right->ring ? -1 : 1);
}

static bool is_about(const struct leased_call *call, struct id_key key)
{
    if (id_key_eq(task_id_key(call->task), key)) {
        return true;
    }
    for (uint32_t i = 0; i < call->results; i++) {
        if (id_key_eq(object_id_key(result_id(call->task, i)), key)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ rows */

struct answer {
    const struct leased_ring *rings;
    const struct proto_query *query;
    uint32_t node;
    uint64_t now_ns, limit, given, total;
    const char *const *columns;
    uint32_t columns_count;
    struct row_filter filter;
    struct id_key key; /* of WHY */
    leased_rows_fn *fn;
    void *arg;
    size_t rows_count;                                                    /* of the part that is being filled */
    char (*rows)[ANSWER_COLUMNS_MAX][ROW_CELL_BYTES];                     /* ANSWER_PART_ROWS of them; owned */
    const char *cells[(size_t)ANSWER_PART_ROWS * ANSWER_COLUMNS_MAX + 1]; /* into `rows` */
};

static int send_part(struct answer *answer, bool is_last)
{
    size_t cells_count = 0;
    for (size_t row = 0; row < answer->rows_count; row++) {
        for (uint32_t i = 0; i < answer->columns_count; i++) {
            answer->cells[cells_count++] = answer->rows[row][i];
        }
    }
    const struct proto_rows part = { .query = answer->query->query,
                                     .text = "",
                                     .last = is_last,
                                     .total = answer->total,
                                     .columns = answer->columns,
                                     .columns_count = answer->columns_count,
                                     .cells = answer->cells,
                                     .cells_count = cells_count };
    answer->rows_count = 0;
    return answer->fn(answer->arg, &part);
}

static int refuse(const struct answer *answer, int status, const char *text)
{
    const struct proto_rows part = { .query = answer->query->query, .status = status, .text = text, .last = true };
    return answer->fn(answer->arg, &part);
}

static uint64_t runs_ms(const struct answer *answer, const struct leased_call *call)
{
    return call->since_ns < answer->now_ns ? (answer->now_ns - call->since_ns) / 1000000 : 0;
}

static void say_why(const struct answer *answer, const struct leased_call *call, char text[ROW_CELL_BYTES])
{
    const struct leased_ring *ring = &answer->rings[call->ring];
    char job[ID_TEXT_BYTES];
    int used = call->runs ? snprintf(text, ROW_CELL_BYTES, "in worker %" PRId64, ring->worker_pid)
                          : snprintf(text, ROW_CELL_BYTES, "in the ring of worker %" PRId64 ", behind %u others",
                                     ring->worker_pid, call->before);
    snprintf(text + used, ROW_CELL_BYTES - (size_t)used, "; lease %" PRIu64 " of process %" PRId64 ", job %s",
             ring->lease, ring->holder_pid, job_id_print(ring->job, job));
}

static void write_row(const struct answer *answer, const struct leased_call *call, char row[][ROW_CELL_BYTES])
{
    char id[ID_TEXT_BYTES], why[ROW_CELL_BYTES];
    const char *state = call->runs ? "running" : "in_ring";
    task_id_print(call->task, id);
    say_why(answer, call, why);
    if (answer->query->what == PROTO_QUERY_WHY) {
        snprintf(row[0], ROW_CELL_BYTES, "%s", id);
        snprintf(row[1], ROW_CELL_BYTES, "call");
        snprintf(row[2], ROW_CELL_BYTES, "%s", state);
        int used = snprintf(row[3], ROW_CELL_BYTES, "%.60s on node %u", call->function, answer->node);
        used += call->runs ? snprintf(row[3] + used, ROW_CELL_BYTES - (size_t)used, " for %" PRIu64 " ms",
                                      runs_ms(answer, call))
                           : 0;
        snprintf(row[3] + used, ROW_CELL_BYTES - (size_t)used, ", %.*s", ROW_CELL_BYTES - used - 3, why);
        return;
    }
    snprintf(row[0], ROW_CELL_BYTES, "%s", id);
    snprintf(row[1], ROW_CELL_BYTES, "%s", call->function);
    snprintf(row[2], ROW_CELL_BYTES, "%s", state);
    snprintf(row[3], ROW_CELL_BYTES, "%u", answer->node);
    snprintf(row[4], ROW_CELL_BYTES, "%u", call->attempt);
    row[5][0] = '\0'; /* of one that waits nobody has noted it */
    if (call->runs) {
        snprintf(row[5], ROW_CELL_BYTES, "%" PRIu64, runs_ms(answer, call));
    }
    snprintf(row[6], ROW_CELL_BYTES, "%s", why);
}

static int add_row(struct answer *answer, const struct leased_call *call)
{
    if (answer->query->what == PROTO_QUERY_WHY && !is_about(call, answer->key)) {
        return 0;
    }
    char(*row)[ROW_CELL_BYTES] = answer->rows[answer->rows_count];
    write_row(answer, call, row);
    if (!row_filter_matches(&answer->filter, (const char(*)[ROW_CELL_BYTES])row)) {
        return 0;
    }
    answer->total++;
    if (answer->given == answer->limit) {
        return 0;
    }
    answer->given++;
    return ++answer->rows_count == ANSWER_PART_ROWS ? send_part(answer, false) : 0;
}

static int answer_with(struct answer *answer, struct calls *calls, size_t rings_count)
{
    int status = 0;
    for (uint32_t i = 0; i < rings_count && status == 0; i++) {
        status = add_ring(calls, answer->rings[i].page, i);
    }
    answer->rows = reallocarray(NULL, ANSWER_PART_ROWS, sizeof *answer->rows);
    if (status != 0 || answer->rows == NULL) {
        return refuse(answer, ROOST_ENOMEM, "no memory to list what is in the rings of leases");
    }
    if (calls->count > 0) {
        qsort(calls->of, calls->count, sizeof *calls->of, by_turn);
    }
    for (size_t i = 0; i < calls->count && status == 0; i++) {
        status = add_row(answer, &calls->of[i]);
    }
    return status != 0 ? status : send_part(answer, true);
}

static int set_question(struct answer *answer, const char **text_out)
{
    static const char *const tasks_columns[] = { PROTO_TASKS_COLUMNS }, *const why_columns[] = { PROTO_WHY_COLUMNS };
    _Static_assert(ROOST_COUNT_OF(tasks_columns) <= ANSWER_COLUMNS_MAX, "a row has room for them");
    const struct proto_query *query = answer->query;
    const char *wrong;
    answer->limit = query->limit == 0 || query->limit > PROTO_ROWS_MAX ? PROTO_ROWS_MAX : query->limit;
    if (query->what == PROTO_QUERY_WHY) {
        answer->columns = why_columns;
        answer->columns_count = ROOST_COUNT_OF(why_columns);
        *text_out = "an id is 32 hexadecimal digits";
        return query->filter != NULL && id_parse(query->filter, &answer->key) == 0 ? 0 : ROOST_EINVAL;
    }
    answer->columns = tasks_columns;
    answer->columns_count = ROOST_COUNT_OF(tasks_columns);
    if (query->what != PROTO_QUERY_TASKS) {
        *text_out = "an agent tells of tasks alone; the rest is asked of the head";
        return ROOST_EINVAL;
    }
    *text_out = "not a filter of tasks";
    return row_filter_parse(&answer->filter, query->filter, answer->columns, answer->columns_count, &wrong)
               ? 0
               : ROOST_EINVAL;
}

int leased_calls_answer(const struct leased_ring *rings, size_t count, uint32_t node, uint64_t now_ns,
                        const struct proto_query *query, leased_rows_fn *fn, void *arg)
{
    struct answer answer = { .rings = rings, .query = query, .node = node, .now_ns = now_ns, .fn = fn, .arg = arg };
    struct calls calls = { .count = 0 };
    const char *text;
    int status = set_question(&answer, &text);
    if (status != 0) {
        return refuse(&answer, status, text);
    }
    status = answer_with(&answer, &calls, count);
    free(answer.rows);
    free(calls.of);
    return status;
}
