/* agent_copies.c - views of values that came back with their calls: copies in this process's heap
 *
 * Owns the copies that users look at, in slots; a slot and how often it was used before make the pin of a view. A slot
 * keeps its memory for the next small value.
 *
 * Happy path: add -> the view is read -> drop.
 * Failures:   dropped again through a copy of the view -> the slot is at another use by now: nothing happens.
 *             never dropped -> freed when the link closes.
 * Invariants: a slot is on the free list, or a view stands for it. A free slot's memory is LINK_COPY_BYTES, or none.
 * Thread:     any; under the link's lock.
 */
#include "api/agent_link.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

enum { COPIES_FIRST = 64, COPIES_MAX = CLIENT_PINS_MAX, USES_MASK = (1 << 30) - 1, COPY_ALIGN = 64 };

struct link_copy {
    void *bytes; /* owned */
    bool is_held, is_kept;
    uint32_t next; /* the next free slot, plus one; 0: none */
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

static void drop_bytes(struct link_copy *copy)
{
    free(copy->bytes);
    copy->bytes = NULL;
}

int copies_add_locked(struct link_copies *copies, const void *data, size_t bytes, void **copy_out, uint64_t *pin_out)
{
    if (copies->free == 0) {
        ROOST_TRY(grow(copies));
    }
    uint32_t index = copies->free - 1;
    struct link_copy *copy = &copies->of[index];
    copy->is_kept = bytes <= LINK_COPY_BYTES;
    if (copy->bytes == NULL || !copy->is_kept) {
        drop_bytes(copy);
        copy->bytes = aligned_alloc(COPY_ALIGN, copy->is_kept ? LINK_COPY_BYTES : align_up(bytes, COPY_ALIGN));
    }
    if (copy->bytes == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a value of %zu bytes", bytes);
    }
    if (bytes > 0) {
        memcpy(copy->bytes, data, bytes);
    }
    copies->free = copy->next;
    copy->is_held = true;
    *copy_out = copy->bytes;
    *pin_out = (uint64_t)(copy->uses & USES_MASK) << 32 | index;
    return 0;
}

void copies_drop_locked(struct link_copies *copies, uint64_t pin)
{
    uint32_t index = (uint32_t)pin;
    struct link_copy *copy = index < copies->count ? &copies->of[index] : NULL;
    if (copy == NULL || !copy->is_held || (copy->uses & USES_MASK) != pin >> 32) {
        return;
    }
    if (!copy->is_kept) {
        drop_bytes(copy);
    }
    copy->is_held = false;
    copy->uses++;
    copy->next = copies->free;
    copies->free = index + 1;
}

void copies_fini(struct link_copies *copies)
{
    for (uint32_t i = 0; i < copies->count; i++) {
        drop_bytes(&copies->of[i]);
    }
    free(copies->of);
    *copies = (struct link_copies){ 0 };
}
