/* ledger.h - what a head must still know in its next life
 *
 * Kept in this process's memory: a head that ends takes its cluster with it. Tests keep facts in one as well. */
#ifndef ROOST_SCHEDULER_LEDGER_H
#define ROOST_SCHEDULER_LEDGER_H

#include "scheduler/core/head.h"

/* All zero is a closed one, and an empty one. The members are to be read. */
struct ledger {
    struct cluster_id cluster;
    uint64_t epoch;          /* of this life of the head, above all earlier ones */
    struct head_fact *facts; /* each number once; owned, with their texts */
    size_t facts_count, facts_capacity;
};

/* A new cluster, in its first epoch. */
int ledger_open(struct ledger *ledger);
void ledger_close(struct ledger *ledger);

/* In place of what was known of that number. ROOST_ENOMEM: it is not kept. */
int ledger_commit(struct ledger *ledger, const struct head_fact *fact);

#endif
