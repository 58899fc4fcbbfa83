#include "common/job.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"
#include "worker/agent/core/agent_internal.h"

#include <string.h>

enum { PAUSE_NS = 50000000 };

static struct bench bench;
static const struct core_peer other = { BENCH_OTHER, 1 };

static const struct proto_load *load(void) { return &bench_sent(&bench, PROTO_LOAD)->message.u.load; }
static void pause_ends(void) { bench_time(&bench, bench.now_ns + PAUSE_NS); }

/* A driver of this node waits for an object of the other one, whose bytes may come from now on. The transfer. */
static uint64_t pull_begins(uint64_t size)
{
    struct core_client driver = bench_driver(&bench);
    static struct object_id id;
    id = (struct object_id){ 77, id.lo + 1 };
    bench_wait(&bench, driver, 0, WIRE_WAIT_FETCH, 1, &id, 1);
    static const uint32_t holders[] = { BENCH_OTHER };
    struct proto_message found = {
        .kind = PROTO_FOUND,
        .u.found = { .object = id, .state = PROTO_SEALED, .content = { .size = size }, .holders = { holders, 1 } }
    };
    bench_message(&bench, (struct core_peer){ 0, 0 }, &found);
    uint64_t transfer = bench_sent(&bench, PROTO_PULL)->message.u.pull.token;
    struct proto_message answer = { .kind = PROTO_PULL_ANSWER,
                                    .u.pull_answer = { .token = transfer, .content = { .size = size } } };
    bench_message(&bench, other, &answer);
    CHECK(bench_pull(&bench, AGENT_PULL_RECEIVE) != NULL);
    return transfer;
}

static void begin(void)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    bench_head_comes(&bench);
    bench_tick(&bench);
}

TEST(agent_load, pulled_bytes_are_told_under_the_node_that_they_came_from)
{
    begin();
    for (int i = 0; i < 2; i++) {
        uint64_t transfer = pull_begins(1000);
        CHECK_EQ(agent_counts(bench.agent).pulled_bytes, i * 1000);
        bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, NULL, 0);
    }
    pause_ends();
    CHECK_EQ(load()->pulled_count, 1);
    CHECK_EQ(bench_sent(&bench, PROTO_LOAD)->pulled[0].node, BENCH_OTHER);
    CHECK_EQ(bench_sent(&bench, PROTO_LOAD)->pulled[0].bytes, 2000);
    bench_end(&bench, false);
}

TEST(agent_load, workers_that_are_leased_are_told)
{
    begin();
    struct core_client driver = bench_driver(&bench);
    struct wire_lease ask = { .head = { WIRE_LEASE, sizeof ask, 7 } };
    bench_entry(&bench, driver, &ask.head);
    bench_workers_come(&bench);
    pause_ends();
    CHECK_EQ(load()->leased, 1);
    bench_end(&bench, false);
}

TEST(agent_load, a_transfer_that_breaks_counts_whole)
{
    begin();
    uint64_t transfer = pull_begins(1000);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, ROOST_EIO, transfer, NULL, 0);
    pause_ends();
    CHECK_EQ(bench_sent(&bench, PROTO_LOAD)->pulled[0].bytes, 1000);
    bench_end(&bench, false);
}

TEST(agent_load, a_peer_whose_count_has_not_changed_is_named_again_only_in_a_list)
{
    begin();
    uint64_t transfer = pull_begins(1000);
    bench_done(&bench, bench_pull(&bench, AGENT_PULL_RECEIVE)->token, 0, transfer, NULL, 0);
    pause_ends();
    bench_put(&bench, bench_driver(&bench), 100, NULL, 0);
    pause_ends();
    CHECK_EQ(load()->pulled_count, 0);
    bench_head_comes(&bench); /* a session that was not resumed */
    bench_tick(&bench);
    CHECK_EQ(load()->pulled_count, 1);
    bench_end(&bench, false);
}

TEST(agent_load, peers_beyond_the_limit_are_counted_together)
{
    begin();
    for (uint32_t node = 1; node <= PULL_PEERS_COUNTED_MAX + 3; node++) {
        load_pulled(bench.agent, node, 10);
    }
    CHECK_EQ(bench.agent->pulled_count, PULL_PEERS_COUNTED_MAX + 1);
    CHECK_EQ(bench.agent->pulled[PULL_PEERS_COUNTED_MAX].node, 0);
    CHECK_EQ(bench.agent->pulled[PULL_PEERS_COUNTED_MAX].bytes, 30);
    CHECK_EQ(agent_counts(bench.agent).pulled_bytes, 10 * (PULL_PEERS_COUNTED_MAX + 3));
    bench_end(&bench, true);
}

TEST(agent_load, what_a_running_task_has_booked_is_not_free_until_it_ends)
{
    begin();
    struct core_client driver = bench_driver(&bench);
    pause_ends();
    uint64_t all = load()->memory_free_bytes;
    CHECK_EQ(all, bench.agent->config.memory_bytes);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1, .memory_bytes = 300 });
    struct bench_task task = bench_take(&bench);
    pause_ends();
    CHECK_EQ(load()->memory_free_bytes, all - 300);
    CHECK_EQ(load()->running, 1);
    bench_complete(&bench, &task, 0, "");
    pause_ends();
    CHECK_EQ(load()->memory_free_bytes, all);
    CHECK_EQ(load()->attempts_done, 1);
    bench_end(&bench, false);
}

TEST(agent_load, changes_are_told_once_in_a_pause_and_nothing_when_nothing_changes)
{
    begin();
    struct core_client driver = bench_driver(&bench);
    pause_ends();
    size_t before = bench_sent_count(&bench, PROTO_LOAD);
    struct object_id a = bench_put(&bench, driver, 1000, NULL, 0), b = bench_put(&bench, driver, 1000, NULL, 0);
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOAD), before);
    pause_ends();
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOAD), before + 1);
    CHECK_EQ(load()->store_used_bytes, agent_counts(bench.agent).bytes_used);
    CHECK_EQ(load()->store_used_bytes + load()->store_free_bytes, ROOST_MIB(1));
    pause_ends();
    CHECK_EQ(bench_sent_count(&bench, PROTO_LOAD), before + 1);
    bench_names(&bench, driver, WIRE_FREE, 0, a);
    bench_names(&bench, driver, WIRE_FREE, 0, b);
    bench_end(&bench, true);
}
