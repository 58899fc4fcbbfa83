/* ring.h - messages from one process to another through memory that both map
 *
 * One producer, one consumer, no lock, no system call. The memory is somebody else's: formatted once, by its owner,
 * before either side attaches. Each side has a private handle with its own index; what the other side wrote (its index,
 * the message headers) is checked before use and never leads outside the memory. A message lies in one piece, 8-byte
 * aligned.
 *
 * A side may be killed at any instruction: what was reserved and not committed never existed; what was committed can be
 * read by whoever attaches in the consumer's place. It starts at what the consumer last published, so up to one batch
 * may be seen a second time.
 *
 * A handle belongs to one thread at a time. Nothing here blocks; doorbell.h is for waiting. */
#ifndef ROOST_COMMON_RING_H
#define ROOST_COMMON_RING_H

#include "common/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_HEADER_BYTES = 8 }; /* in front of each message */

struct ring_memory; /* the shared layout; 64-byte aligned */

/* Private to each side; not for other files to read, except for printing. */
struct ring_producer {
    struct ring_memory *memory;
    uint64_t capacity;
    uint64_t committed;     /* what the consumer may read ends here */
    uint64_t reserved;      /* what this side has handed out ends here; >= committed */
    uint64_t consumed_seen; /* the consumer's index when it was last read and found possible */
    bool broken;
};
struct ring_consumer {
    struct ring_memory *memory;
    uint64_t capacity;
    uint64_t taken;          /* everything before this has been copied out */
    uint64_t published;      /* what the producer knows of that */
    uint64_t committed_seen; /* the producer's index when it was last read and found possible */
    bool broken;
};

/* Memory for a ring of `capacity` bytes: a power of two from RING_BYTES_MIN to RING_BYTES_MAX. */
size_t ring_bytes(size_t capacity);

/* The first `bytes` of the message that comes next, in place, when they are known to be there; else NULL. The producer may
 * change them: for fetching ahead what they name, and nothing else. */
const void *ring_ahead(const struct ring_consumer *consumer, size_t bytes);

/* Make an empty ring out of ring_bytes(capacity) bytes, aligned to 64. Before anybody attaches. */
void ring_format(void *memory, size_t capacity);

/* What a message of `size` bytes takes. `count` messages of up to `size` bytes each, in any order, are sure to fit when
 * ring_space() is at least (count + 1) * ring_message_bytes(size): one for what the end of the memory may waste. */
static inline size_t ring_message_bytes(size_t size) { return align_up(RING_HEADER_BYTES + size, 8); }

/* The largest message for a ring of this capacity: half of it, less the header, so that it fits wherever the end lies.
 */
static inline size_t ring_message_bytes_max(size_t capacity) { return capacity / 2 - RING_HEADER_BYTES; }

/* ---- producer ---- */

/* Write where the last producer stopped committing. `memory` is borrowed until the last call on the handle, and must be
 * mapped for ring_bytes(capacity) bytes.
 * ROOST_EVERSION: another layout or capacity. ROOST_EINVAL: indices that cannot be. */
int ring_producer_attach(struct ring_producer *producer, void *memory, size_t capacity);

/* Room for a message of `size` (at most ring_message_bytes_max) bytes, to be filled in before ring_commit(); several
 * may be reserved before one commit. NULL when there is no room, and for ever when the consumer's index is impossible
 * (`broken`). The memory is shared: write it, never read it back. */
void *ring_reserve(struct ring_producer *producer, size_t size);

/* Publish all that was reserved. The consumer is not woken: ring its bell. */
void ring_commit(struct ring_producer *producer);

/* Free bytes, with the consumer's index read afresh. 0 when broken. */
size_t ring_space(struct ring_producer *producer);

/* ---- consumer ---- */

/* Read from what the last consumer published. Otherwise as ring_producer_attach(). */
int ring_consumer_attach(struct ring_consumer *consumer, void *memory, size_t capacity);

/* Copy the next message to `copy_out` (`capacity` bytes) and its size to `*size_out`. Check the copy, not the ring: the
 * other side can still write there.
 *
 * 1: one message. 0: there is none. ROOST_EINVAL: the producer broke the ring, or sent more than `capacity` bytes; the
 * handle stays broken. The producer learns of the room with the next ring_consumed(). */
int ring_take(struct ring_consumer *consumer, void *copy_out, size_t capacity, size_t *size_out);

/* The place up to which messages are committed now, for ring_take_until(). What was committed to another ring before
 * the messages in front of this place is visible to whoever has called this. */
uint64_t ring_snapshot(struct ring_consumer *consumer);

/* As ring_take(), but 0 at the place, whatever has been committed since. */
int ring_take_until(struct ring_consumer *consumer, uint64_t place, void *copy_out, size_t capacity, size_t *size_out);

/* Tell the producer what has been taken: one store for a whole batch. */
void ring_consumed(struct ring_consumer *consumer);

/* Nothing to take? Reads the producer's index afresh: after doorbell_arm() this is the second look. False when broken,
 * so that the next take tells. */
bool ring_is_empty(struct ring_consumer *consumer);

#endif
