#include "tests/lib/head_bench.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench bench;

static void start(uint32_t agents) { bench_cluster(&bench, NULL, agents, 4); }

TEST(head_members, a_new_agent_gets_a_number_and_an_incarnation_and_all_learn_of_it)
{
    start(2);
    CHECK_EQ(bench.agents[0].number, 1);
    CHECK_EQ(bench.agents[1].number, 2);
    CHECK_EQ(bench.agents[1].incarnation, 1);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_NODES), 2); /* itself, then the other */
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_NODES), 1);
    CHECK_EQ(bench.ledger.facts_count, 2);
    bench_end(&bench);
}

TEST(head_members, an_agent_that_comes_back_as_it_was_is_news_to_nobody)
{
    start(3);
    bench_forget(&bench);
    bench_agent_again(&bench, 1);
    bench_restart(&bench);
    for (uint32_t i = 0; i < 3; i++) {
        bench_agent_again(&bench, i);
        bench_list(&bench, i, NULL, 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(bench_said_count(&bench, i, PROTO_NODES), 0);
    }
    bench_end(&bench);
}

TEST(head_members, an_agent_that_comes_back_changed_is_told_to_all)
{
    start(3);
    bench_restart(&bench);
    bench_forget(&bench);
    bench.agents[1].cpus = 8;
    for (uint32_t i = 0; i < 3; i++) {
        bench_agent_again(&bench, i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(bench_said_count(&bench, i, PROTO_NODES), 1);
        CHECK_EQ(bench_last(&bench, i, PROTO_NODES)->nodes, 1);
        CHECK_EQ(bench_last(&bench, i, PROTO_NODES)->node, bench.agents[1].number);
    }
    bench_end(&bench);
}

TEST(head_members, who_comes_while_a_restarted_head_still_waits_is_told_of_those_that_have_not_come)
{
    start(3);
    bench_restart(&bench);
    bench_forget(&bench);
    bench_agent(&bench, 3, 4);
    CHECK_EQ(bench_last(&bench, 3, PROTO_NODES)->nodes, 4);
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench_last(&bench, 0, PROTO_NODES)->nodes, 1);
    bench_end(&bench);
}

TEST(head_members, what_an_agent_was_told_and_has_not_applied_is_told_again)
{
    start(1);
    bench.agents[0].is_deaf = true;
    bench_agent(&bench, 1, 4);
    bench_lost(&bench, 0);
    bench.agents[0].is_deaf = false;
    bench_forget(&bench);
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_NODES), 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_NODES)->node, bench.agents[1].number);
    bench_end(&bench);
}

TEST(head_members, what_an_earlier_life_was_told_does_not_count)
{
    start(2);
    bench_die(&bench, 1);
    bench_forget(&bench);
    bench_agent_again(&bench, 1); /* with all the news it had */
    CHECK_EQ(bench_last(&bench, 1, PROTO_NODES)->nodes, 2);
    bench_end(&bench);
}

TEST(head_members, those_that_come_in_one_turn_are_told_to_all_at_once)
{
    start(1);
    bench_forget(&bench);
    bench.turns_are_held = true;
    for (uint32_t i = 1; i < 5; i++) {
        bench_agent(&bench, i, 4);
    }
    bench_turn(&bench);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_EQ(bench_said_count(&bench, i, PROTO_NODES), 1);
        CHECK_EQ(bench_last(&bench, i, PROTO_NODES)->nodes, i == 0 ? 4 : 5);
    }
    bench_end(&bench);
}

TEST(head_members, an_agent_knows_a_node_before_anything_names_it)
{
    start(1);
    struct object_id id = bench_pending(&bench, 0);
    bench.turns_are_held = true;
    bench_agent(&bench, 1, 4);
    bench_forget(&bench);
    bench_seal(&bench, 1, id, 100);
    const struct bench_said *found = bench_last(&bench, 0, PROTO_FOUND);
    CHECK(found != NULL && found->holder == bench.agents[1].number);
    CHECK(bench_last(&bench, 0, PROTO_NODES) < found);
    CHECK(bench_last(&bench, 0, PROTO_NODES) != NULL);
    bench_end(&bench);
}

TEST(head_members, silence_makes_a_node_suspect_and_then_nothing_new_is_placed_there)
{
    start(2);
    bench.agents[1].is_up = false;
    bench_pass(&bench, NODE_SUSPECT_MS + HEARTBEAT_MS, true);
    CHECK_EQ(head_counts(bench.head).suspects, 1);
    CHECK_EQ(head_counts(bench.head).deaths, 0);
    for (int i = 0; i < 4; i++) {
        struct bench_call call = { .returns = 1 };
        CHECK_EQ(bench_placed(&bench, bench_submit(&bench, 0, &call)), 0);
    }
    bench.agents[1].is_up = true;
    bench_sign(&bench, 1);
    CHECK_EQ(head_counts(bench.head).suspects, 0);
    bench_end(&bench);
}

TEST(head_members, more_silence_makes_it_dead_and_all_are_told)
{
    start(3);
    bench_die(&bench, 1);
    CHECK_EQ(head_counts(bench.head).deaths, 1);
    CHECK_EQ(head_counts(bench.head).members, 2);
    CHECK_EQ(bench_last(&bench, 0, PROTO_DEAD)->node, 2);
    CHECK_EQ(bench_last(&bench, 2, PROTO_DEAD)->incarnation, 1);
    CHECK(head_fact_is_dead(&bench.ledger.facts[1]));
    CHECK_EQ(bench.closed_count, 1);
    bench_end(&bench);
}

TEST(head_members, a_head_that_stood_still_takes_nobody_for_silent)
{
    start(3);
    bench_pass(&bench, 2 * HEARTBEAT_MS, true);
    bench.now_ns += (NODE_DEAD_MS + 2000) * UINT64_C(1000000);
    bench_pass(&bench, 1, false);
    CHECK_EQ(head_counts(bench.head).deaths, 0);
    CHECK_EQ(head_counts(bench.head).suspects, 0);
    bench_pass(&bench, NODE_SUSPECT_MS + HEARTBEAT_MS, false); /* silence that the head has waited out counts */
    CHECK_EQ(head_counts(bench.head).suspects, 3);
    bench_pass(&bench, NODE_DEAD_MS, false);
    CHECK_EQ(head_counts(bench.head).deaths, 3);
    bench_end(&bench);
}

TEST(head_members, a_node_that_was_dead_comes_back_as_another_incarnation)
{
    start(2);
    bench_die(&bench, 1);
    bench_agent_again(&bench, 1); /* it believes that it is who it was */
    CHECK_EQ(bench.agents[1].number, 2);
    CHECK_EQ(bench.agents[1].incarnation, 2);
    CHECK_EQ(head_counts(bench.head).members, 2);
    bench_end(&bench);
}

TEST(head_members, when_all_numbers_have_been_given_those_of_dead_nodes_go_on)
{
    static struct head_fact facts[NODES_MAX - 1];
    for (uint32_t i = 0; i < NODES_MAX - 1; i++) {
        facts[i].node =
            (struct proto_node){ .id = { 500, i + 1 }, .number = i + 1, .incarnation = 3, .state = PROTO_NODE_DEAD };
    }
    struct head_config config = { .is_fixed = true, .facts = facts, .facts_count = NODES_MAX - 1 };
    bench_start(&bench, &config);
    for (uint32_t i = 0; i < 2; i++) {
        bench_agent(&bench, i, 4);
        CHECK_EQ(bench.agents[i].number, i + 1);
        CHECK_EQ(bench.agents[i].incarnation, 4); /* what is still said to or by the dead one does not fit */
    }
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench.agents[0].number, 1);
    CHECK_EQ(bench.agents[0].incarnation, 4);
    CHECK_EQ(head_counts(bench.head).members, 2);
    bench_end(&bench);
}

TEST(head_members, what_a_dead_incarnation_still_says_is_dropped)
{
    start(2);
    bench_die(&bench, 1);
    uint64_t hash = head_core.hash(bench.head);
    struct object_id id = { 1, 1 };
    bench_names(&bench, 1, PROTO_HOLD, id);
    CHECK_EQ(head_counts(bench.head).stale, 1);
    CHECK(hash == head_core.hash(bench.head));
    bench_end(&bench);
}

TEST(head_members, an_agent_that_was_started_again_ends_its_earlier_life)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_names(&bench, 0, PROTO_HOLD, id);
    bench_agent(&bench, 1, 4); /* no number in its HELLO */
    CHECK_EQ(bench.agents[1].incarnation, 2);
    CHECK_EQ(bench_last(&bench, 0, PROTO_DEAD)->incarnation, 1);
    CHECK_EQ(bench_last(&bench, 0, PROTO_FOUND)->state, PROTO_LOST);
    bench_end(&bench);
}

TEST(head_members, the_end_of_a_life_is_committed_as_it_was_and_the_next_one_behind_it)
{
    start(2);
    bench_agent(&bench, 1, 8); /* on a larger machine, without a word of its end */
    CHECK_EQ(bench.ledger.facts_count, 2);
    const struct proto_node *kept = &bench.ledger.facts[1].node;
    CHECK_EQ(kept->state, PROTO_NODE_ALIVE);
    CHECK_EQ(kept->incarnation, 2);
    CHECK_EQ(kept->cpus_hundredths, 800);
    CHECK(strcmp(kept->host, "host1") == 0);
    bench_end(&bench);
}

TEST(head_members, a_lost_session_of_the_same_life_keeps_its_objects)
{
    start(2);
    struct object_id id = bench_put(&bench, 1, 100);
    bench_lost(&bench, 1);
    CHECK_EQ(head_counts(bench.head).suspects, 1);
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, &(struct bench_listed){ id, true, true }, 1);
    CHECK_EQ(bench.agents[1].incarnation, 1);
    CHECK_EQ(head_counts(bench.head).deaths, 0);
    CHECK_EQ(head_counts(bench.head).objects, 1);
    bench_end(&bench);
}

TEST(head_members, a_new_session_hears_again_of_the_deaths_it_has_not_echoed)
{
    start(3);
    bench.agents[1].is_deaf = true;
    bench_die(&bench, 2);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 1);
    bench_lost(&bench, 1);
    bench_forget(&bench);
    bench_agent_again(&bench, 1);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_DEAD), 1);
    bench_hear(&bench, 1);
    bench_sign(&bench, 1);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 0);
    bench_end(&bench);
}

TEST(head_members, a_restarted_head_announces_the_deaths_of_its_ledger)
{
    start(2);
    bench_die(&bench, 1);
    bench_restart(&bench);
    bench_forget(&bench);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 1);
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench_last(&bench, 0, PROTO_DEAD)->node, 2);
    bench_sign(&bench, 0);
    CHECK_EQ(head_counts(bench.head).echoes_missing, 0);
    bench_end(&bench);
}

TEST(head_members, a_ledger_that_contradicts_itself_is_refused)
{
    struct head_fact facts[2] = {
        { .node = { .id = { 1, 1 }, .number = 1, .incarnation = 1, .state = PROTO_NODE_ALIVE } },
        { .node = { .id = { 1, 2 }, .number = 1, .incarnation = 1, .state = PROTO_NODE_ALIVE } },
    };
    struct head_config config = { .facts = facts, .facts_count = 2 };
    struct head *head = NULL;
    CHECK_EQ(head_create(&head, &config), ROOST_EINVAL);
}

TEST(head_members, a_stop_is_passed_on_to_every_agent)
{
    start(2);
    struct proto_message stop = { .kind = PROTO_STOP, .u.stop = { true, 0 } };
    bench_say(&bench, 0, &stop);
    CHECK_EQ(bench_said_count(&bench, 0, PROTO_STOP), 1);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_STOP), 1);
    bench_end(&bench);
}

TEST(head_members, a_node_that_drains_does_so_in_its_next_session_too)
{
    start(2);
    struct proto_message stop = { .kind = PROTO_STOP, .u.stop = { true, bench.agents[1].number } };
    bench_lost(&bench, 1);
    bench_say(&bench, 0, &stop);
    bench_agent_again(&bench, 1);
    bench_list(&bench, 1, NULL, 0);
    CHECK_EQ(bench_said_count(&bench, 1, PROTO_STOP), 1); /* which its last one did not hear */
    for (int i = 0; i < 6; i++) {
        struct bench_call call = { .returns = 1 };
        CHECK_EQ(bench_placed(&bench, bench_submit(&bench, 0, &call)), 0);
    }
    bench_end(&bench);
}

TEST(head_members, queries_answer_with_rows_that_match)
{
    start(3);
    bench_die(&bench, 2);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_NODES, "")->total, 3);
    const struct bench_said *dead = bench_query(&bench, PROTO_QUERY_NODES, "state=dead");
    CHECK_EQ(dead->total, 1);
    CHECK(strstr(dead->text, "host2") != NULL);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_WORKERS, "")->total, 2);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_JOBS, "name=job")->total, 1);
    CHECK(bench_query(&bench, PROTO_QUERY_STATUS, "what=nodes")->total == 1);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_NODES, "colour=red")->status, ROOST_EINVAL);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_WHY, "xyz")->status, ROOST_EINVAL);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_WHY, "00000000000000010000000000000001")->status, ROOST_ENOENT);
    struct object_id id = bench_put(&bench, 0, 100);
    char text[ID_TEXT_BYTES];
    CHECK(strstr(bench_query(&bench, PROTO_QUERY_WHY, object_id_print(id, text))->text, "held by 1 nodes") != NULL);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_OBJECTS, "state=sealed")->total, 1);
    bench_end(&bench);
}

TEST(head_members, rows_beyond_the_limit_are_counted_if_they_match)
{
    start(1);
    for (uint64_t i = 0; i < 10; i++) {
        bench_put(&bench, 0, 100 + i % 2);
    }
    const struct bench_said *rows = bench_query_some(&bench, PROTO_QUERY_OBJECTS, "size=101", 2);
    CHECK_EQ(rows->total, 5);
    CHECK_EQ(rows->cells, 2 * 7);
    rows = bench_query_some(&bench, PROTO_QUERY_OBJECTS, "", 3);
    CHECK_EQ(rows->total, 10);
    CHECK_EQ(rows->cells, 3 * 7);
    bench_end(&bench);
}

TEST(head_members, the_jobs_of_a_node_that_dies_end_in_several_steps_if_they_are_many)
{
    start(BENCH_AGENTS);
    bench.is_large = true;
    for (uint64_t i = 0; i < 12000; i++) {
        struct proto_message open = { .kind = PROTO_JOB_OPEN,
                                      .u.job_open = { .job = { 77, i + 1 }, .name = "j", .spec = { "x", 1 } } };
        bench_say(&bench, 1, &open);
    }
    bench.turns_are_held = true;
    bench_agent(&bench, 1, 4); /* started again */
    CHECK(core_out_left(&bench.out) > ROOST_MIB(31));
    CHECK_EQ(head_counts(bench.head).jobs, 1);
    bench_forget(&bench);
    bench_turn(&bench);
    CHECK(bench_said_count(&bench, 0, PROTO_JOB_END) > 0);
    bench_end(&bench);
}

static void say_pulled(uint32_t agent, uint32_t from, uint64_t bytes)
{
    struct proto_pulled pulled = { from, bytes };
    struct proto_message load = { .kind = PROTO_LOAD,
                                  .u.load = { .attempts_done = 5, .leased = 2, .pulled = &pulled, .pulled_count = 1 } };
    bench_say(&bench, agent, &load);
}

TEST(head_members, what_nodes_have_pulled_is_kept_by_peer_and_begins_anew_with_the_node)
{
    start(2);
    say_pulled(0, 2, 700);
    say_pulled(0, 0, 5);
    say_pulled(0, 2, 900); /* totals: the newest counts */
    CHECK(strcmp(bench_query(&bench, PROTO_QUERY_PULLS, "")->text, "1|2|900|1|0|5|") == 0);
    CHECK(strcmp(bench_query(&bench, PROTO_QUERY_PULLS, "from=0")->text, "1|0|5|") == 0);
    CHECK(strcmp(bench_query(&bench, PROTO_QUERY_STATUS, "what=pulled_bytes")->text, "pulled_bytes|905|") == 0);
    CHECK(strcmp(bench_query(&bench, PROTO_QUERY_WORKERS, "node=1")->text, "1|0|2|0|0|5|") == 0);
    CHECK(strcmp(bench_query(&bench, PROTO_QUERY_STATUS, "what=workers_leased")->text, "workers_leased|2|") == 0);
    bench_die(&bench, 0);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_PULLS, "")->total, 2);
    bench_agent_again(&bench, 0);
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_PULLS, "")->total, 0);
    bench_end(&bench);
}

TEST(head_members, a_node_that_pulls_from_more_peers_than_it_may_name_is_not_believed_beyond)
{
    start(1);
    for (uint32_t from = 0; from < PULL_PEERS_COUNTED_MAX + 10; from++) {
        say_pulled(0, from, 1);
    }
    CHECK_EQ(bench_query(&bench, PROTO_QUERY_PULLS, "")->total, PULL_PEERS_COUNTED_MAX + 1);
    bench_end(&bench);
}

TEST(head_members, the_same_events_give_the_same_hash)
{
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        start(4);
        struct object_id id = bench_put(&bench, 1, 1000);
        for (int k = 0; k < 20; k++) {
            struct bench_call call = {
                .args = (roost_in[]){ bench_ref(id) }, .args_count = 1, .returns = 1, .max_retries = 1
            };
            bench_submit(&bench, 0, &call);
        }
        bench_die(&bench, 3);
        hashes[i] = head_core.hash(bench.head);
        bench_end(&bench);
    }
    CHECK(hashes[0] == hashes[1]);
}
