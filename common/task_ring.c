/* task_ring.c - slots that one producer fills and exactly one taker empties
 *
 * Owns the layout of the slots, the state word of each, and the handles over them. The state word is the whole truth:
 *
 *     [ ticket : 48 | taker : 14 | state : 2 ]
 *
 *              push (producer, store)          claim (any taker, compare-and-swap)
 *     FREE t-slots -----------------> QUEUED t -----------------------> CLAIMED t by X
 *        ^                                                                   |  ^  recover (agent, compare-and-swap):
 *        |                                                                   |  |  X is dead, CLAIMED t by agent
 *        '---------------------- FREE t <------------------------------------'--'
 *                             copied out (the taker, store)
 *
 * Happy path: push t -> claim t -> copy -> free; a taker walks the tickets upward with a private index, and needs no
 *             shared index at all: the word of slot t % slots says whether t is still to come, queued, or gone. So a
 *             task costs its taker the lines of its slot and no other.
 * Failures:   full                  -> ROOST_EBUSY. The producer looks at one word: is the slot of the next ticket free?
 *             lost compare-and-swap -> somebody else took it; the next ticket.
 *             killed producer       -> the slot is still FREE with the old ticket: the push never existed.
 *             killed taker          -> CLAIMED with its number: task_ring_recover(). FREE: it had its copy.
 *             hostile side          -> words that cannot be set `broken`; contents and lengths are copied, then checked.
 *                                      Slots are addressed by private indices modulo `slots` only, so nothing leads
 *                                      outside the memory.
 *             out of tickets        -> ROOST_EBUSY for ever, after 2^48 pushes: most of a year of them. Another lease,
 *                                      then.
 * Invariants: a ticket leaves QUEUED once. Tickets in the ring lie in [next - slots, next).
 * Thread:     one per handle.
 */
#include "common/task_ring.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/prefetch.h"
#include "common/thread_hooks.h"

#include <string.h>

enum { TASK_RING_MAGIC = 0x6b736154, TASK_RING_LAYOUT = 1, TAKER_SHIFT = 2, TICKET_SHIFT = 16, PREFETCH_BYTES = 256 };
#define TICKET_END (UINT64_MAX >> TICKET_SHIFT)

struct task_slot {
    _Atomic uint64_t
        word; /* on one line with the rest of the header and a small payload: one transfer per small task */
    uint64_t lease;
    uint32_t attempt, bytes;
    uint64_t unused;
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
};
_Static_assert(sizeof(struct task_slot) == TASK_SLOT_BYTES, "layout 1");

struct task_ring_memory {
    uint32_t magic, layout, slots, slot_bytes;
    struct task_slot slot[] __attribute__((__aligned__(64)));
};
_Static_assert(sizeof(struct task_ring_memory) == 64, "layout 1");
_Static_assert(TASK_TAKERS_MAX <= 1 << (TICKET_SHIFT - TAKER_SHIFT), "a taker's number fits in the word");

static uint64_t word_of(uint64_t ticket, uint32_t taker, enum task_slot_state state)
{
    return ticket << TICKET_SHIFT | (uint64_t)taker << TAKER_SHIFT | (uint64_t)state;
}

static uint64_t word_ticket(uint64_t word) { return word >> TICKET_SHIFT; }
static uint32_t word_taker(uint64_t word) { return (uint32_t)(word >> TAKER_SHIFT) & (TASK_TAKERS_MAX - 1); }
static unsigned word_state(uint64_t word) { return word & 3; }

static struct task_slot *slot_of(const struct task_ring *ring, uint64_t ticket)
{
    return &ring->memory->slot[ticket & (ring->slots - 1)];
}

static uint64_t load_word(struct task_slot *slot)
{
    ROOST_YIELD_POINT();
    /* acquire: QUEUED is seen with its payload; FREE is seen after its taker's reads of the payload */
    return atomic_load_explicit(&slot->word, memory_order_acquire);
}

static int broken(struct task_ring *ring, const char *what)
{
    ring->broken = true;
    return error_set(ROOST_EINVAL, "the other side broke the task ring: %s", what);
}

static bool slots_are_possible(uint32_t slots)
{
    return slots >= 2 && slots <= TASK_RING_SLOTS_MAX && (slots & (slots - 1)) == 0;
}

size_t task_ring_bytes(uint32_t slots)
{
    ROOST_PRE(slots_are_possible(slots));
    return sizeof(struct task_ring_memory) + (size_t)slots * sizeof(struct task_slot);
}

void task_ring_format(void *memory, uint32_t slots)
{
    ROOST_PRE(slots_are_possible(slots));
    ROOST_PRE((uintptr_t)memory % 64 == 0);
    struct task_ring_memory *ring = memory;
    memset(ring, 0, task_ring_bytes(slots));
    *ring = (struct task_ring_memory){ TASK_RING_MAGIC, TASK_RING_LAYOUT, slots, TASK_SLOT_BYTES };
    for (uint32_t i = 0; i < slots; i++) {
        /* as if tickets 0 to slots - 1 had come and gone; relaxed: nobody is attached */
        atomic_store_explicit(&ring->slot[i].word, word_of(i, 0, TASK_SLOT_FREE), memory_order_relaxed);
    }
}

/* The newest ticket in the ring, or ROOST_EINVAL when some slot holds a ticket that is not its own or no state. */
static int find_newest(struct task_ring *ring, uint64_t *newest_out)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < ring->slots; i++) {
        uint64_t word = load_word(&ring->memory->slot[i]), ticket = word_ticket(word);
        if (word_state(word) > TASK_SLOT_CLAIMED || (ticket & (ring->slots - 1)) != i) {
            return broken(ring, "a slot is in no state");
        }
        newest = ticket > newest ? ticket : newest;
    }
    *newest_out = newest;
    return 0;
}

int task_ring_attach(struct task_ring *ring, void *memory, uint32_t slots, uint32_t taker)
{
    ROOST_PRE(slots_are_possible(slots));
    ROOST_PRE((uintptr_t)memory % 64 == 0);
    ROOST_PRE(taker < TASK_TAKERS_MAX);
    const struct task_ring_memory *shared = memory;
    if (shared->magic != TASK_RING_MAGIC || shared->layout != TASK_RING_LAYOUT || shared->slots != slots ||
        shared->slot_bytes != TASK_SLOT_BYTES) {
        return error_set(ROOST_EVERSION,
                         "a task ring has magic %x, layout %u, %u slots of %u bytes; wanted %x, %u, %u, %u",
                         shared->magic, shared->layout, shared->slots, shared->slot_bytes, (unsigned)TASK_RING_MAGIC,
                         (unsigned)TASK_RING_LAYOUT, slots, (unsigned)TASK_SLOT_BYTES);
    }
    struct task_ring attached = { .memory = memory, .slots = slots, .taker = taker };
    uint64_t newest = 0;
    int status = find_newest(&attached, &newest);
    if (status != 0) {
        return status;
    }
    attached.next = newest + 1;
    attached.oldest = newest + 1 < slots ? 0 : newest + 1 - slots;
    *ring = attached;
    return 0;
}

/* ---- producer ---- */

/* 0 when the slot of the next ticket is free. */
static int check_slot_is_free(struct task_ring *ring, struct task_slot *slot)
{
    uint64_t word = load_word(slot);
    if (word_ticket(word) + ring->slots != ring->next) {
        return broken(ring, "a ticket that the producer did not give");
    }
    switch (word_state(word)) {
    case TASK_SLOT_FREE:
        return 0;
    case TASK_SLOT_QUEUED:
    case TASK_SLOT_CLAIMED:
        return ROOST_EBUSY;
    }
    return broken(ring, "a slot is in no state");
}

int task_ring_reserve(struct task_ring *ring, void **payload_out)
{
    if (ring->broken) {
        return error_set(ROOST_EINVAL, "the other side had broken the task ring");
    }
    struct task_slot *slot = slot_of(ring, ring->next);
    int status = ring->next < TICKET_END ? check_slot_is_free(ring, slot) : ROOST_EBUSY;
    if (status == 0) {
        *payload_out = slot->payload;
    }
    ROOST_YIELD_POINT();
    return status;
}

uint64_t task_ring_publish(struct task_ring *ring, uint64_t lease, uint32_t attempt, size_t bytes)
{
    ROOST_PRE(bytes <= TASK_PAYLOAD_BYTES_MAX);
    struct task_slot *slot = slot_of(ring, ring->next);
    slot->lease = lease;
    slot->attempt = attempt;
    slot->bytes = (uint32_t)bytes;
    ROOST_YIELD_POINT();
    /* release: the task is written before it can be claimed. A plain store: only the producer moves a slot out of FREE
     */
    atomic_store_explicit(&slot->word, word_of(ring->next, 0, TASK_SLOT_QUEUED), memory_order_release);
    ROOST_YIELD_POINT();
    /* its taker had it last; the one before it, a taker may look at all the time */
    prefetch_lines(slot_of(ring, ring->next + 2), PREFETCH_BYTES);
    return ring->next++;
}

int task_ring_push(struct task_ring *ring, uint64_t lease, uint32_t attempt, const void *payload, size_t bytes,
                   uint64_t *ticket_out)
{
    if (bytes > TASK_PAYLOAD_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "%zu bytes do not fit in a task slot of %u", bytes,
                         (unsigned)TASK_PAYLOAD_BYTES_MAX);
    }
    void *place = NULL;
    ROOST_TRY(task_ring_reserve(ring, &place));
    if (bytes > 0) {
        memcpy(place, payload, bytes);
    }
    uint64_t ticket = task_ring_publish(ring, lease, attempt, bytes);
    if (ticket_out != NULL) {
        *ticket_out = ticket;
    }
    return 0;
}

/* ---- takers ---- */

/* The slot is the caller's: copy the task out and give the slot back. */
static int copy_and_free(struct task_ring *ring, struct task_slot *slot, uint64_t ticket, struct task_ring_item *out)
{
    ROOST_YIELD_POINT();
    uint32_t bytes = *(const volatile uint32_t *)&slot->bytes; /* once: it may change under our eyes */
    bool possible = bytes <= TASK_PAYLOAD_BYTES_MAX;
    if (possible) {
        out->ticket = ticket;
        out->lease = slot->lease;
        out->attempt = slot->attempt;
        out->bytes = bytes;
        memcpy(out->payload, slot->payload, bytes);
    }
    ROOST_YIELD_POINT();
    /* release: our copy is done before the producer may write the slot again. A plain store: a claimed slot is its
     * taker's */
    atomic_store_explicit(&slot->word, word_of(ticket, 0, TASK_SLOT_FREE), memory_order_release);
    ROOST_YIELD_POINT();
    return possible ? 1 : broken(ring, "a payload is too long");
}

/* The one compare-and-swap. */
static bool move_to_us(struct task_ring *ring, struct task_slot *slot, uint64_t word)
{
    ROOST_YIELD_POINT();
    /* acquire: the payload is read after the claim. relaxed failure: whoever won reads it, not we */
    return atomic_compare_exchange_strong_explicit(&slot->word, &word,
                                                   word_of(word_ticket(word), ring->taker, TASK_SLOT_CLAIMED),
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Some ticket is queued or not, or there was too much of a change to tell. */
enum find { FIND_NONE, FIND_QUEUED, FIND_LOOK_AGAIN, FIND_BROKEN };

/* What slot word `word` says about ticket `oldest`; moves `oldest` on when it says that the ticket is gone. */
static enum find judge_oldest(struct task_ring *ring, uint64_t word)
{
    /* turns of the ring, in slots: 0: our ticket; -slots: it is still to come; more than 0: it is gone */
    int64_t ahead = (int64_t)word_ticket(word) - (int64_t)ring->oldest;
    if (word_state(word) > TASK_SLOT_CLAIMED || ahead % ring->slots != 0 || ahead < -(int64_t)ring->slots) {
        return FIND_BROKEN;
    }
    if (word == word_of(ring->oldest, 0, TASK_SLOT_QUEUED)) {
        return FIND_QUEUED;
    }
    if (ahead < 0) {
        return FIND_NONE;
    }
    /* a slot that is turns ahead: every ticket up to one turn before it is gone */
    ring->oldest += ahead == 0 ? 1 : (uint64_t)ahead - ring->slots + 1;
    return FIND_LOOK_AGAIN;
}

/* Move `oldest` up to the first ticket that is queued. The number of looks is bounded, because a producer that pushes
 * and takes back for ever could otherwise hold the agent here. */
static enum find find_oldest(struct task_ring *ring)
{
    enum find found = FIND_LOOK_AGAIN;
    for (uint32_t looks = 0; found == FIND_LOOK_AGAIN && looks <= 2 * ring->slots; looks++) {
        found = judge_oldest(ring, load_word(slot_of(ring, ring->oldest)));
    }
    return found;
}

/* Ticket `ticket` was seen queued: 1 when it is ours now, 0 when it went to somebody else. */
static int claim_ticket(struct task_ring *ring, uint64_t ticket, struct task_ring_item *out)
{
    struct task_slot *slot = slot_of(ring, ticket);
    if (!move_to_us(ring, slot, word_of(ticket, 0, TASK_SLOT_QUEUED))) {
        return 0;
    }
    return copy_and_free(ring, slot, ticket, out);
}

int task_ring_claim(struct task_ring *ring, struct task_ring_item *out)
{
    for (uint32_t tries = 0; !ring->broken && tries <= ring->slots; tries++) {
        enum find found = find_oldest(ring);
        if (found == FIND_BROKEN) {
            return broken(ring, "a slot is in no state");
        }
        int status = found == FIND_QUEUED ? claim_ticket(ring, ring->oldest++, out) : 0;
        if (status != 0 || found != FIND_QUEUED) {
            return status;
        }
    }
    return ring->broken ? error_set(ROOST_EINVAL, "the other side had broken the task ring") : 0;
}

bool task_ring_has_queued(struct task_ring *ring) { return ring->broken || find_oldest(ring) != FIND_NONE; }

bool task_ring_has_ahead(const struct task_ring *ring, uint32_t count)
{
    uint64_t ticket = ring->oldest + count;
    return count < ring->slots &&
           load_word(&ring->memory->slot[ticket & (ring->slots - 1)]) == word_of(ticket, 0, TASK_SLOT_QUEUED);
}

/* The newest queued ticket (or, for recovery, the oldest one that `taker` has claimed); 0: none. */
static uint64_t find_slot(const struct task_ring *ring, enum task_slot_state state, uint32_t taker)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < ring->slots; i++) {
        uint64_t word = load_word(&ring->memory->slot[i]), ticket = word_ticket(word);
        bool better = best == 0 || (state == TASK_SLOT_QUEUED ? ticket > best : ticket < best);
        if (better && word == word_of(ticket, taker, state) && (ticket & (ring->slots - 1)) == i) {
            best = ticket;
        }
    }
    return best;
}

int task_ring_take_back(struct task_ring *ring, uint64_t ticket, struct task_ring_item *out)
{
    if (ring->broken) {
        return error_set(ROOST_EINVAL, "the other side had broken the task ring");
    }
    if (ticket != TASK_NEWEST) { /* a number that no word can hold must not stand for another one */
        return ticket < TICKET_END ? claim_ticket(ring, ticket, out) : 0;
    }
    /* a lost compare-and-swap means that another taker got a task, so a live ring allows `slots` of them between pushes
     */
    for (uint32_t tries = 0; tries <= ring->slots; tries++) {
        uint64_t newest = find_slot(ring, TASK_SLOT_QUEUED, 0);
        int status = newest != 0 ? claim_ticket(ring, newest, out) : 0;
        if (status != 0 || newest == 0) {
            return status;
        }
    }
    return 0;
}

int task_ring_peek(const struct task_ring *ring, uint32_t index, struct task_ring_item *out)
{
    ROOST_PRE(index < ring->slots);
    struct task_slot *slot = &ring->memory->slot[index];
    uint64_t word = load_word(slot), ticket = word_ticket(word);
    if (word != word_of(ticket, 0, TASK_SLOT_QUEUED) || (ticket & (ring->slots - 1)) != index) {
        return 0;
    }
    uint32_t bytes = *(const volatile uint32_t *)&slot->bytes; /* once: it may change under our eyes */
    if (bytes > TASK_PAYLOAD_BYTES_MAX) {
        return 0;
    }
    out->ticket = ticket;
    out->lease = slot->lease;
    out->attempt = slot->attempt;
    out->bytes = bytes;
    memcpy(out->payload, slot->payload, bytes);
    full_barrier(); /* all is read before the word is looked at again */
    return load_word(slot) == word;
}

uint32_t task_ring_queued_count(const struct task_ring *ring)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ring->slots; i++) {
        count += word_state(load_word(&ring->memory->slot[i])) == TASK_SLOT_QUEUED;
    }
    return count;
}

/* ---- after a death ---- */

int task_ring_recover(struct task_ring *ring, uint32_t dead_taker, struct task_ring_item *out)
{
    ROOST_PRE(dead_taker < TASK_TAKERS_MAX);
    if (ring->broken) {
        return error_set(ROOST_EINVAL, "the other side had broken the task ring");
    }
    uint64_t ticket = find_slot(ring, TASK_SLOT_CLAIMED, dead_taker);
    if (ticket == 0) {
        return 0;
    }
    struct task_slot *slot = slot_of(ring, ticket);
    if (!move_to_us(ring, slot, word_of(ticket, dead_taker, TASK_SLOT_CLAIMED))) {
        return broken(ring, "a dead taker's slot changed");
    }
    return copy_and_free(ring, slot, ticket, out);
}

enum task_slot_state task_ring_slot(const struct task_ring *ring, uint32_t index, uint64_t *ticket_out,
                                    uint32_t *taker_out)
{
    ROOST_PRE(index < ring->slots);
    uint64_t word = load_word(&ring->memory->slot[index]);
    *ticket_out = word_ticket(word);
    *taker_out = word_taker(word);
    return word_state(word) > TASK_SLOT_CLAIMED ? TASK_SLOT_FREE : (enum task_slot_state)word_state(word);
}
