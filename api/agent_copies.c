/* agent_copies.c - views of values that came back with their calls: copies in this process's heap
 *
 * Owns the copies that users look at, in slots; a slot and how often it was used before make the pin of a view.
 *
 * Happy path: add -> the view is read -> take, and the taker frees it.
 * Failures:   released again through a copy of the view -> the slot is at another use by now: nothing is taken.
 *             never released -> freed when the link closes.
 * Invariants: a slot is on the free list, or holds a copy.
 * Thread:     any; under the link's lock.
 */
#include "api/agent_link.h"

#include <stdlib.h>

enum { COPIES_FIRST = 64, COPIES_MAX = CLIENT_PINS_MAX, USES_MASK = (1 << 30) - 1 };

struct link_copy {
    void *bytes;   /* NULL: the slot is free, */
    uint32_t next; /* and the next free one is this; plus one, 0: none */
    uint32_t uses; /* that have ended */
};

static int grow(struct link_copies *copies)
{
    uint32_t count = copies->count == 0 ? COPIES_FIRST : copies->count * 2;
    if (copies->count == COPIES_MAX) {
        return error_set(ROOST_ELIMIT, "this process holds %d views of values, the limit", COPIES_MAX);
    }
    struct link_copy *grown = realloc(copies->of, count * sizeof *grown);
    if (grown == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for %u views", count);
    }
    for (uint32_t i = copies->count; i < count; i++) {
        grown[i] = (struct link_copy){ .next = i + 1 < count ? i + 2 : 0 };
    }
    copies->free = copies->count + 1;
    copies->of = grown;
    copies->count = count;
    return 0;
}

int copies_add_locked(struct link_copies *copies, void *bytes, uint64_t *pin_out)
{
    if (copies->free == 0) {
        ROOST_TRY(grow(copies));
    }
    uint32_t index = copies->free - 1;
    struct link_copy *copy = &copies->of[index];
    copies->free = copy->next;
    copy->bytes = bytes;
    *pin_out = (uint64_t)(copy->uses & USES_MASK) << 32 | index;
    return 0;
}

void *copies_take_locked(struct link_copies *copies, uint64_t pin)
{
    uint32_t index = (uint32_t)pin;
    struct link_copy *copy = index < copies->count ? &copies->of[index] : NULL;
    if (copy == NULL || copy->bytes == NULL || (copy->uses & USES_MASK) != pin >> 32) {
        return NULL;
    }
    void *bytes = copy->bytes;
    copy->bytes = NULL;
    copy->uses++;
    copy->next = copies->free;
    copies->free = index + 1;
    return bytes;
}

void copies_fini(struct link_copies *copies)
{
    for (uint32_t i = 0; i < copies->count; i++) {
        free(copies->of[i].bytes);
    }
    free(copies->of);
    *copies = (struct link_copies){ 0 };
}
