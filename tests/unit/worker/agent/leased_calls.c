/* leased_calls.c - calls in the rings of leases, as rows */
#include "worker/agent/leased_calls.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "tests/lib/rings.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

enum { RINGS = 3, NOW_NS = 9000000 };

static struct leased_ring rings[RINGS];
static struct task_ring producers[RINGS];
static struct leased_call calls[LEASED_CALLS_MAX];

static void start(void)
{
    size_t bytes = lease_page_layout().bytes;
    for (int i = 0; i < RINGS; i++) {
        void *memory = aligned_alloc(4096, bytes);
        memset(memory, 0, bytes);
        lease_page_format(memory);
        rings[i] = (struct leased_ring){
            .page = memory, .lease = 70 + (uint64_t)i, .worker_pid = 100 + i, .holder_pid = 50, .job = { 0, 0xb }
        };
        CHECK_EQ(task_ring_attach(&producers[i], (unsigned char *)memory + lease_page_layout().tasks, LEASE_SLOTS,
                                  LEASE_TAKER_HOLDER),
                 0);
    }
}

static void finish(void)
{
    for (int i = 0; i < RINGS; i++) {
        free(rings[i].page);
    }
}

static struct task_id push(int ring, const char *function, uint32_t call)
{
    _Alignas(8) unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
    struct spec_draft draft = {
        .function = function, .cpus_hundredths = 100, .returns = 2, .parent = { 1, 1 }, .call = call
    };
    size_t bytes;
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    const struct lease_task head = { (uint32_t)bytes, 0 };
    memcpy(payload, &head, sizeof head);
    struct spec *spec = (struct spec *)(void *)(payload + sizeof head);
    spec_write(&draft, spec, bytes);
    struct task_id id = spec->task;
    CHECK_EQ(task_ring_push(&producers[ring], rings[ring].lease, 4, payload, sizeof head + bytes, NULL), 0);
    return id;
}

/* The worker takes the next one, and says that it runs. */
static void run_next(int ring, const char *function, uint64_t since_ns)
{
    struct task_ring worker;
    struct task_ring_item item;
    CHECK_EQ(task_ring_attach(&worker, (unsigned char *)rings[ring].page + lease_page_layout().tasks, LEASE_SLOTS,
                              LEASE_TAKER_WORKER),
             0);
    CHECK_EQ(task_ring_claim(&worker, &item), 1);
    const struct spec *spec = (const struct spec *)(const void *)(item.payload + sizeof(struct lease_task));
    const struct lease_run run = { item.ticket, spec->task, since_ns, item.attempt, "" };
    lease_page_begin(rings[ring].page, &run, function);
}

TEST(leased_calls, a_ring_is_read_in_the_order_of_its_worker_and_nothing_is_taken)
{
    start();
    struct task_id first = push(0, "slow", 1), second = push(0, "f", 2), third = push(0, "g", 3);
    run_next(0, "slow", 1000);
    for (int look = 0; look < 2; look++) {
        CHECK_EQ(leased_calls_read(rings[0].page, calls), 3);
        CHECK(task_id_eq(calls[0].task, first) && task_id_eq(calls[1].task, second) &&
              task_id_eq(calls[2].task, third));
        CHECK(calls[0].runs && !calls[1].runs);
        CHECK_EQ(calls[0].since_ns, 1000);
        CHECK_TEXT(calls[0].function, "slow");
        CHECK_EQ(calls[1].before, 1);
        CHECK_EQ(calls[1].results, 2);
        CHECK_EQ(calls[1].attempt, 4);
        CHECK_TEXT(calls[2].function, "g");
        CHECK_EQ(calls[2].before, 2);
    }
    struct task_ring_item item;
    CHECK_EQ(task_ring_take_back(&producers[0], TASK_NEWEST, &item), 1);
    CHECK_EQ(leased_calls_read(rings[0].page, calls), 2);
    lease_page_end(rings[0].page);
    CHECK_EQ(leased_calls_read(rings[0].page, calls), 1);
    CHECK_EQ(calls[0].before, 0); /* it is next */
    finish();
}

TEST(leased_calls, a_full_ring_whose_slots_have_gone_round_is_read)
{
    start();
    struct task_ring_item item;
    for (uint32_t i = 0; i < LEASE_SLOTS + 5; i++) {
        push(0, "gone", i);
        CHECK_EQ(task_ring_take_back(&producers[0], TASK_NEWEST, &item), 1);
    }
    push(0, "runs", 1000);
    run_next(0, "runs", 1);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        push(0, "f", 2000 + i);
    }
    CHECK_EQ(leased_calls_read(rings[0].page, calls), LEASED_CALLS_MAX);
    for (uint32_t i = 0; i < LEASED_CALLS_MAX; i++) {
        CHECK_EQ(calls[i].before, i);
    }
    finish();
}

/* ---- rows ---- */

static struct {
    char text[20000];
    uint64_t total;
    size_t rows, parts;
    int status;
    bool is_over;
} said;

static int take(void *arg, const struct proto_rows *part)
{
    (void)arg;
    CHECK(!said.is_over);
    CHECK_EQ(part->query, 9);
    size_t used = strlen(said.text);
    for (size_t i = 0; i < part->cells_count && used + 300 < sizeof said.text; i++) {
        bool ends = i % part->columns_count == part->columns_count - 1;
        used += (size_t)snprintf(said.text + used, sizeof said.text - used, "%s%s", part->cells[i], ends ? "\n" : "|");
    }
    said.rows += part->columns_count > 0 ? part->cells_count / part->columns_count : 0;
    said.total = part->total;
    said.status = part->status;
    said.is_over = part->last;
    said.parts++;
    return 0;
}

static const char *ask(enum proto_query_what what, const char *filter, uint32_t limit)
{
    const struct proto_query query = { 9, what, limit, filter };
    memset(&said, 0, sizeof said);
    CHECK_EQ(leased_calls_answer(rings, RINGS, 7, NOW_NS, &query, take, NULL), 0);
    CHECK(said.is_over);
    return said.text;
}

/* "ID|f|in_ring|..." */
static const char *row_of(struct task_id task, const char *rest)
{
    static char text[600];
    char id[ID_TEXT_BYTES];
    snprintf(text, sizeof text, "%s|%s\n", task_id_print(task, id), rest);
    return text;
}

TEST(leased_calls, a_row_says_what_it_is_where_it_is_and_whose)
{
    start();
    struct task_id slow = push(1, "slow", 1), next = push(1, "f", 2);
    run_next(1, "slow", NOW_NS - 3000000);
    ask(PROTO_QUERY_TASKS, "state=running", 0);
    CHECK_TEXT(
        said.text,
        row_of(slow, "slow|running|7|4|3|in worker 101; lease 71 of process 50, job 0000000000000000000000000000000b"));
    ask(PROTO_QUERY_TASKS, "state=in_ring node=7", 0);
    CHECK_TEXT(said.text,
               row_of(next, "f|in_ring|7|4||in the ring of worker 101, behind 1 others; lease 71 of process 50, "
                            "job 0000000000000000000000000000000b"));
    CHECK_TEXT(ask(PROTO_QUERY_TASKS, "state=queued", 0), ""); /* those of the head */
    CHECK_EQ(said.total, 0);
    finish();
}

TEST(leased_calls, why_knows_a_call_by_its_own_id_and_by_its_results)
{
    start();
    char id[ID_TEXT_BYTES];
    push(2, "f", 5);
    struct task_id slow = push(0, "slow", 1), next = push(0, "f", 2);
    run_next(0, "slow", NOW_NS + 1); /* a clock that nobody can have */
    const char *runs = row_of(slow, "call|running|slow on node 7 for 0 ms, in worker 100; lease 70 of process 50, job "
                                    "0000000000000000000000000000000b");
    CHECK_TEXT(ask(PROTO_QUERY_WHY, task_id_print(slow, id), 0), runs);
    CHECK_TEXT(ask(PROTO_QUERY_WHY, object_id_print(result_id(slow, 1), id), 0), runs);
    const char *waits = row_of(next,
                               "call|in_ring|f on node 7, in the ring of worker 100, behind 1 others; lease 70 of "
                               "process 50, job 0000000000000000000000000000000b");
    CHECK_TEXT(ask(PROTO_QUERY_WHY, object_id_print(result_id(next, 0), id), 0), waits);
    CHECK_TEXT(ask(PROTO_QUERY_WHY, object_id_print(result_id(next, 2), id), 0), ""); /* it has two */
    CHECK_TEXT(ask(PROTO_QUERY_WHY, "00000000000000010000000000000001", 0), "");
    CHECK_EQ(said.status, 0); /* it may be others' */
    finish();
}

TEST(leased_calls, the_next_ones_come_first_and_those_beyond_the_limit_are_counted)
{
    start();
    for (uint32_t i = 0; i < 100; i++) {
        push(0, "f", i);
    }
    push(1, "g", 200);
    push(1, "g", 201);
    push(2, "h", 300);
    run_next(2, "h", 1);
    ask(PROTO_QUERY_TASKS, "", 4);
    CHECK_EQ(said.rows, 4);
    CHECK_EQ(said.total, 103);
    const char *text = said.text;
    const char *const order[] = { "|f|in_ring|", "|g|in_ring|", "|h|running|", "|f|in_ring|" };
    for (size_t i = 0; i < ROOST_COUNT_OF(order); i++) {
        CHECK(strncmp(text + 32, order[i], strlen(order[i])) == 0);
        text = strchr(text, '\n') + 1;
    }
    ask(PROTO_QUERY_TASKS, "name=g", 1);
    CHECK_EQ(said.rows, 1);
    CHECK_EQ(said.total, 2);
    finish();
}

TEST(leased_calls, many_rows_come_in_parts)
{
    start();
    for (uint32_t i = 0; i < RINGS * LEASE_SLOTS; i++) {
        push((int)(i % RINGS), "f", i);
    }
    ask(PROTO_QUERY_TASKS, "", 0);
    CHECK_EQ(said.rows, RINGS * LEASE_SLOTS);
    CHECK_EQ(said.total, RINGS * LEASE_SLOTS);
    CHECK(said.parts > 1);
    finish();
}

TEST(leased_calls, a_question_that_is_not_understood_is_refused)
{
    start();
    ask(PROTO_QUERY_TASKS, "colour=red", 0);
    CHECK_EQ(said.status, ROOST_EINVAL);
    ask(PROTO_QUERY_WHY, "xyz", 0);
    CHECK_EQ(said.status, ROOST_EINVAL);
    ask(PROTO_QUERY_OBJECTS, "", 0);
    CHECK_EQ(said.status, ROOST_EINVAL);
    finish();
}

/* asan is the judge */
TEST(leased_calls, garbage_in_a_ring_is_passed_over_and_leads_nowhere)
{
    start();
    uint64_t seen = 0;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        uint64_t random = seed;
        const struct lease_page_layout layout = lease_page_layout();
        lease_page_format(rings[0].page);
        CHECK_EQ(task_ring_attach(&producers[0], (unsigned char *)rings[0].page + layout.tasks, LEASE_SLOTS,
                                  LEASE_TAKER_HOLDER),
                 0);
        for (uint32_t i = 0; i < 8; i++) {
            push(0, "f", i);
        }
        run_next(0, "f", 1);
        uint64_t *slots = (uint64_t *)(void *)((unsigned char *)rings[0].page + layout.tasks + 64);
        for (int i = 0; i < 12;
             i++) { /* words, leases, lengths, heads and specs of the first slots; the note of what runs */
            uint64_t slot = rings_random(&random, 9) * (TASK_SLOT_BYTES / 8);
            slots[slot + 2 + rings_random(&random, 30)] ^= UINT64_C(1) << rings_random(&random, 64);
        }
        if (rings_random(&random, 4) == 0) { /* a word that may be */
            slots[rings_random(&random, 9) * (TASK_SLOT_BYTES / 8)] ^= rings_random(&random, 4);
        }
        memset(rings[0].page->function, 'x', sizeof rings[0].page->function);
        seen += leased_calls_read(rings[0].page, calls);
        ask(PROTO_QUERY_TASKS, "", 0);
    }
    CHECK(seen > 3000 && seen < UINT64_C(3000) * 8); /* some were good, and some were not */
    finish();
}
