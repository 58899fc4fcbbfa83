#include "scheduler/ledger.h"
#include "common/error.h"

#include <stdlib.h>
#include <string.h>

enum { LEDGER_START = 64 };

int ledger_open(struct ledger *ledger)
{
    *ledger = (struct ledger){ .cluster = cluster_id_from(id_random()), .epoch = 1 };
    return 0;
}

static void free_texts(struct head_fact *fact)
{
    free((char *)fact->node.host);
    free((char *)fact->node.address);
    free((char *)fact->node.labels);
}

void ledger_close(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->facts_count; i++) {
        free_texts(&ledger->facts[i]);
    }
    free(ledger->facts);
    *ledger = (struct ledger){ .epoch = 0 };
}

static char *copy_of(const char *text) { return strdup(text == NULL ? "" : text); }

/* False: no memory, and nothing is owned. */
static bool copy(const struct head_fact *fact, struct head_fact *copy_out)
{
    struct head_fact made = *fact;
    made.node.host = copy_of(fact->node.host);
    made.node.address = copy_of(fact->node.address);
    made.node.labels = copy_of(fact->node.labels);
    if (made.node.host == NULL || made.node.address == NULL || made.node.labels == NULL) {
        free_texts(&made);
        return false;
    }
    *copy_out = made;
    return true;
}

/* NULL: no memory for one more. */
static struct head_fact *place_of(struct ledger *ledger, uint32_t number)
{
    for (size_t i = ledger->facts_count; i > 0; i--) {
        if (ledger->facts[i - 1].node.number == number) {
            return &ledger->facts[i - 1];
        }
    }
    if (ledger->facts_count == ledger->facts_capacity) {
        size_t capacity = ledger->facts_capacity == 0 ? LEDGER_START : ledger->facts_capacity * 2;
        struct head_fact *facts = realloc(ledger->facts, capacity * sizeof *facts);
        if (facts == NULL) {
            return NULL;
        }
        ledger->facts = facts;
        ledger->facts_capacity = capacity;
    }
    ledger->facts[ledger->facts_count] = (struct head_fact){ .news = 0 };
    return &ledger->facts[ledger->facts_count];
}

int ledger_commit(struct ledger *ledger, const struct head_fact *fact)
{
    struct head_fact *place = place_of(ledger, fact->node.number), kept;
    if (place == NULL || !copy(fact, &kept)) {
        return error_set(ROOST_ENOMEM, "the facts of node %u, beside those of %zu", fact->node.number,
                         ledger->facts_count);
    }
    ledger->facts_count += place == &ledger->facts[ledger->facts_count] ? 1 : 0;
    free_texts(place);
    *place = kept;
    return 0;
}
