#include "scheduler/ledger.h"
#include "common/error.h"

#include <stdlib.h>

enum { LEDGER_START = 64 };

int ledger_open(struct ledger *ledger)
{
    *ledger = (struct ledger){ .cluster = cluster_id_from(id_random()), .epoch = 1 };
    return 0;
}

void ledger_close(struct ledger *ledger)
{
    free(ledger->facts);
    *ledger = (struct ledger){ .epoch = 0 };
}

int ledger_commit(struct ledger *ledger, const struct head_fact *fact)
{
    for (size_t i = ledger->facts_count; i > 0; i--) {
        if (ledger->facts[i - 1].number == fact->number) {
            ledger->facts[i - 1] = *fact;
            return 0;
        }
    }
    if (ledger->facts_count == ledger->facts_capacity) {
        size_t capacity = ledger->facts_capacity == 0 ? LEDGER_START : ledger->facts_capacity * 2;
        struct head_fact *facts = realloc(ledger->facts, capacity * sizeof *facts);
        if (facts == NULL) {
            return error_set(ROOST_ENOMEM, "facts of %zu nodes", capacity);
        }
        ledger->facts = facts;
        ledger->facts_capacity = capacity;
    }
    ledger->facts[ledger->facts_count++] = *fact;
    return 0;
}
