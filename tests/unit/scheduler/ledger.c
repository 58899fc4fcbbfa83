#include "scheduler/ledger.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

static int commit(struct ledger *ledger, uint32_t number, const char *host, uint64_t news)
{
    char text[16];
    snprintf(text, sizeof text, "%s", host);
    struct head_fact fact = { .node = { .id = { 1, number },
                                        .number = number,
                                        .incarnation = 1,
                                        .state = PROTO_NODE_ALIVE,
                                        .host = text,
                                        .address = "a:1",
                                        .labels = "disk=ssd" },
                              .news = news };
    int status = ledger_commit(ledger, &fact);
    memset(text, 'x', sizeof text - 1); /* it was borrowed */
    return status;
}

TEST(ledger, each_node_is_kept_once_as_it_was_committed_last)
{
    struct ledger ledger;
    CHECK_EQ(ledger_open(&ledger), 0);
    for (uint32_t number = 1; number <= 100; number++) {
        CHECK_EQ(commit(&ledger, number, "before", number), 0);
    }
    CHECK_EQ(commit(&ledger, 7, "after", 101), 0);
    CHECK_EQ(ledger.facts_count, 100);
    CHECK_EQ(ledger.facts[6].node.number, 7);
    CHECK(strcmp(ledger.facts[6].node.host, "after") == 0);
    CHECK_EQ(ledger.facts[6].news, 101);
    CHECK(strcmp(ledger.facts[5].node.host, "before") == 0);
    CHECK(strcmp(ledger.facts[99].node.labels, "disk=ssd") == 0);
    ledger_close(&ledger);
}

TEST(ledger, a_node_that_said_nothing_of_itself_has_empty_texts)
{
    struct ledger ledger = { .epoch = 0 };
    struct head_fact fact = { .node = { .id = { 1, 1 }, .number = 1, .incarnation = 1, .state = PROTO_NODE_DEAD } };
    CHECK_EQ(ledger_commit(&ledger, &fact), 0);
    CHECK(head_fact_is_dead(&ledger.facts[0]));
    CHECK(strcmp(ledger.facts[0].node.host, "") == 0);
    ledger_close(&ledger);
}
