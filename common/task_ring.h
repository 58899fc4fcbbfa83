/* task_ring.h - the slots of a lease: tasks from one producer, each claimed by exactly one taker
 *
 * A driver writes tasks, the leased worker claims the oldest, and what nobody has claimed can be taken back, newest
 * first, by the driver or by the agent: one compare-and-swap decides. Memory comes from the agent, which keeps it
 * mapped. Results travel in an ordinary ring (ring.h): a completion written into the slot costs four times more.
 *
 * Every push gets a ticket: counted upward from `slots`, never reused within the ring, so 0 is no ticket. The slot of a
 * ticket is ticket % slots, and is free for ticket + slots once its taker has copied the task out. So the ring is full
 * when the oldest unclaimed ticket is `slots` old, even if newer ones were taken back.
 *
 * Any side may be killed at any instruction. A push that did not end never existed. A slot that a dead taker had
 * claimed and not yet copied out says whose it is: task_ring_recover(). That task was not started: takers run their
 * copy, after the slot is free.
 *
 * A handle belongs to one thread at a time. Nothing here blocks or rings a bell. */
#ifndef ROOST_COMMON_TASK_RING_H
#define ROOST_COMMON_TASK_RING_H

#include "common/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TASK_TAKERS_MAX = 1 << 14, /* a taker's number is below this: a client's slot + 1, say */
    TASK_TAKER_AGENT = 0,
};
#define TASK_NEWEST UINT64_C(0) /* for task_ring_take_back() */

struct task_ring_memory; /* the shared layout; 64-byte aligned */

struct task_ring {
    struct task_ring_memory *memory;
    uint32_t slots;
    uint32_t taker;  /* who this handle is when it claims */
    uint64_t next;   /* producer: the ticket of the next push */
    uint64_t oldest; /* taker: everything before this ticket is gone */
    bool broken;     /* somebody wrote what cannot be; every call says ROOST_EINVAL from here on */
};

enum task_slot_state { TASK_SLOT_FREE, TASK_SLOT_QUEUED, TASK_SLOT_CLAIMED };

/* A task copied out. The bytes are the producer's: check them. */
struct task_ring_item {
    uint64_t ticket, lease;
    uint32_t attempt;
    uint32_t bytes; /* of the payload; at most TASK_PAYLOAD_BYTES_MAX */
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX] __attribute__((__aligned__(8)));
};

/* Memory for `slots` slots: a power of two from 2 to TASK_RING_SLOTS_MAX. */
size_t task_ring_bytes(uint32_t slots);

/* Make an empty ring out of task_ring_bytes(slots) bytes, aligned to 64. Before anybody attaches. */
void task_ring_format(void *memory, uint32_t slots);

/* Producer, worker and agent attach the same way, each under its own taker number. The next push continues after the
 * newest ticket that is in the ring. O(slots). ROOST_EVERSION: another layout or number of slots. ROOST_EINVAL: states
 * that cannot be. */
int task_ring_attach(struct task_ring *ring, void *memory, uint32_t slots, uint32_t taker);

/* ---- producer: one handle ---- */

/* Queue a task and publish it at once; ring the worker's bell after the last of a batch. `ticket_out` may be NULL.
 * ROOST_EBUSY: full, without a text. ROOST_ETOOBIG: more than TASK_PAYLOAD_BYTES_MAX bytes. ROOST_EINVAL: a taker broke
 * the ring. */
int task_ring_push(struct task_ring *ring, uint64_t lease, uint32_t attempt, const void *payload, size_t bytes,
                   uint64_t *ticket_out);
/* The same in two steps, for who writes the payload in place: room for TASK_PAYLOAD_BYTES_MAX, which nobody sees before
 * it is published. Reserving again, or pushing, gives up what was reserved. */
int task_ring_reserve(struct task_ring *ring, void **payload_out);
uint64_t task_ring_publish(struct task_ring *ring, uint64_t lease, uint32_t attempt, size_t bytes);

/* ---- takers ---- */

/* Claim the oldest queued task and copy it out. 1: it is the caller's alone. 0: none is queued; also when other takers
 * were faster all the time, and then task_ring_has_queued() is true. ROOST_EINVAL: somebody broke the ring. */
int task_ring_claim(struct task_ring *ring, struct task_ring_item *out);

/* Claim one ticket, or the newest that is queued (TASK_NEWEST, O(slots)), and copy it out.
 * 1: the caller's alone. 0: it is not queued (any more). ROOST_EINVAL. */
int task_ring_take_back(struct task_ring *ring, uint64_t ticket, struct task_ring_item *out);

/* Might something be queued? Usually costs one cache line; a worker's second look after doorbell_arm(). True when
 * broken, so that the next claim tells; never false while a task is queued. */
bool task_ring_has_queued(struct task_ring *ring);
/* Is the task queued that comes `count` after the oldest one that is not gone, as a taker last saw it? A hint: one cache
 * line. */
bool task_ring_has_ahead(const struct task_ring *ring, uint32_t count);

/* Copy out the task of slot `index` while it stays queued: to be looked at, not taken. 1: it was queued during the whole of
 * the copy. 0: it is not, or went meanwhile, or its length cannot be. */
int task_ring_peek(const struct task_ring *ring, uint32_t index, struct task_ring_item *out);

/* How many are queued now. O(slots). */
uint32_t task_ring_queued_count(const struct task_ring *ring);

/* ---- the agent, after a death ---- */

/* Copy out the oldest task that `dead_taker` had claimed and not copied, and free its slot. Only when that taker can no
 * longer run. 1, 0 or ROOST_EINVAL as above. O(slots). */
int task_ring_recover(struct task_ring *ring, uint32_t dead_taker, struct task_ring_item *out);

/* The state of slot `index`, its ticket, and who has claimed it (TASK_SLOT_CLAIMED only). For listings and tests. */
enum task_slot_state task_ring_slot(const struct task_ring *ring, uint32_t index, uint64_t *ticket_out,
                                    uint32_t *taker_out);

#endif
