/* ring.c - single producer, single consumer, over memory that the other side can scribble on
 *
 * Owns the layout of a ring and the two private handles over it.
 *
 *     committed      [magic|layout|capacity] [committed] [consumed] [bytes, a power of two ............]
 *     index mod size                          producer    consumer    |header|message|header|message|pad|
 *
 * Indices count bytes since the ring was formatted and never wrap (64 bits). A message does not wrap either: when the
 * rest of the memory is too short a pad header covers it. Everything is a multiple of 8, so a header always fits.
 *
 * Happy path: reserve* -> commit (one release store) -> take* -> consumed (one release store).
 * Failures:   full            -> ring_reserve() is NULL; the caller has a behaviour for that.
 *             other side lies -> `broken`: the producer gets no more room, the consumer ROOST_EINVAL, for ever.
 *             killed          -> the shared indices are the truth of whoever attaches next.
 * Invariants: consumed <= committed <= consumed + capacity, both multiples of 8. Checked wherever the other's index is
 *             read.
 * Thread:     one per handle.
 */
#include "common/ring.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/thread_hooks.h"

#include <string.h>

enum { RING_MAGIC = 0x676e6952, RING_LAYOUT = 1, RING_KIND_MESSAGE = 1, RING_KIND_PAD = 2 };

struct ring_memory {
    uint32_t magic, layout;
    uint64_t capacity;
    /* A line each: a side that only looks at the other's index takes no line away from the side that writes its own. */
    _Atomic uint64_t committed __attribute__((__aligned__(64)));
    _Atomic uint64_t consumed __attribute__((__aligned__(64)));
    unsigned char bytes[] __attribute__((__aligned__(64)));
};
_Static_assert(sizeof(struct ring_memory) == 192, "layout 1");

struct ring_header {
    uint32_t size; /* of the message, without this header and without what aligns the next one */
    uint32_t kind;
};
_Static_assert(sizeof(struct ring_header) == RING_HEADER_BYTES, "layout 1");

static bool capacity_is_possible(size_t capacity)
{
    return capacity >= RING_BYTES_MIN && capacity <= RING_BYTES_MAX && (capacity & (capacity - 1)) == 0;
}

static bool indices_are_possible(uint64_t consumed, uint64_t committed, uint64_t capacity)
{
    return consumed <= committed && committed - consumed <= capacity && ((consumed | committed) & 7) == 0;
}

size_t ring_bytes(size_t capacity)
{
    ROOST_PRE(capacity_is_possible(capacity));
    return sizeof(struct ring_memory) + capacity;
}

void ring_format(void *memory, size_t capacity)
{
    ROOST_PRE(capacity_is_possible(capacity));
    ROOST_PRE((uintptr_t)memory % 64 == 0);
    memset(memory, 0, sizeof(struct ring_memory));
    struct ring_memory *ring = memory;
    ring->magic = RING_MAGIC;
    ring->layout = RING_LAYOUT;
    ring->capacity = capacity;
}

/* Both sides begin here: is it a ring of ours, and where do its indices stand? */
static int attach(void *memory, size_t capacity, uint64_t *consumed_out, uint64_t *committed_out)
{
    ROOST_PRE(capacity_is_possible(capacity));
    ROOST_PRE((uintptr_t)memory % 64 == 0);
    struct ring_memory *ring = memory;
    if (ring->magic != RING_MAGIC || ring->layout != RING_LAYOUT || ring->capacity != capacity) {
        return error_set(ROOST_EVERSION, "a ring has magic %x, layout %u, %llu bytes; wanted %x, %u, %zu", ring->magic,
                         ring->layout, (unsigned long long)ring->capacity, (unsigned)RING_MAGIC, (unsigned)RING_LAYOUT,
                         capacity);
    }
    /* consumed first: the ring may be in use, and an older committed could lie behind a newer consumed.
     * acquire: what the last holder of either side wrote before it published its index is visible to its successor. */
    uint64_t consumed = atomic_load_explicit(&ring->consumed, memory_order_acquire);
    uint64_t committed = atomic_load_explicit(&ring->committed, memory_order_acquire);
    if (!indices_are_possible(consumed, committed, capacity)) {
        return error_set(ROOST_EINVAL, "a ring of %zu bytes has impossible indices %llu and %llu", capacity,
                         (unsigned long long)consumed, (unsigned long long)committed);
    }
    *consumed_out = consumed;
    *committed_out = committed;
    return 0;
}

/* ---- producer ---- */

int ring_producer_attach(struct ring_producer *producer, void *memory, size_t capacity)
{
    uint64_t consumed, committed;
    int status = attach(memory, capacity, &consumed, &committed);
    if (status != 0) {
        return status;
    }
    *producer = (struct ring_producer){ memory, capacity, committed, committed, consumed, false };
    return 0;
}

static void look_at_consumer(struct ring_producer *producer)
{
    ROOST_YIELD_POINT();
    /* acquire: the consumer's copies out of the room that it gives back are done before we write there again */
    uint64_t consumed = atomic_load_explicit(&producer->memory->consumed, memory_order_acquire);
    if (consumed < producer->consumed_seen ||
        !indices_are_possible(consumed, producer->committed, producer->capacity)) {
        producer->broken = true;
        return;
    }
    producer->consumed_seen = consumed;
}

static uint64_t free_bytes(const struct ring_producer *producer)
{
    return producer->broken ? 0 : producer->capacity - (producer->reserved - producer->consumed_seen);
}

static void write_header(struct ring_producer *producer, uint32_t size, uint32_t kind)
{
    struct ring_header header = { size, kind };
    memcpy(producer->memory->bytes + (producer->reserved & (producer->capacity - 1)), &header, sizeof header);
}

void *ring_reserve(struct ring_producer *producer, size_t size)
{
    ROOST_PRE(size <= ring_message_bytes_max(producer->capacity));
    uint64_t needed = ring_message_bytes(size);
    uint64_t to_end = producer->capacity - (producer->reserved & (producer->capacity - 1));
    uint64_t pad = needed > to_end ? to_end : 0;
    if (free_bytes(producer) < pad + needed) {
        look_at_consumer(producer);
        if (free_bytes(producer) < pad + needed) {
            return NULL;
        }
    }
    ROOST_YIELD_POINT();
    if (pad != 0) {
        write_header(producer, (uint32_t)(pad - RING_HEADER_BYTES), RING_KIND_PAD);
        producer->reserved += pad;
    }
    write_header(producer, (uint32_t)size, RING_KIND_MESSAGE);
    void *message = producer->memory->bytes + (producer->reserved & (producer->capacity - 1)) + RING_HEADER_BYTES;
    producer->reserved += needed;
    return message;
}

void ring_commit(struct ring_producer *producer)
{
    if (producer->committed == producer->reserved) {
        return;
    }
    producer->committed = producer->reserved;
    ROOST_YIELD_POINT();
    /* release: the messages are written before the index that lets the consumer read them */
    atomic_store_explicit(&producer->memory->committed, producer->committed, memory_order_release);
    ROOST_YIELD_POINT();
}

size_t ring_space(struct ring_producer *producer)
{
    look_at_consumer(producer);
    return (size_t)free_bytes(producer);
}

/* ---- consumer ---- */

int ring_consumer_attach(struct ring_consumer *consumer, void *memory, size_t capacity)
{
    uint64_t consumed, committed;
    int status = attach(memory, capacity, &consumed, &committed);
    if (status != 0) {
        return status;
    }
    *consumer = (struct ring_consumer){ memory, capacity, consumed, consumed, committed, false };
    return 0;
}

static int broken(struct ring_consumer *consumer, const char *what)
{
    consumer->broken = true;
    return error_set(ROOST_EINVAL, "the other side broke the ring at byte %llu: %s",
                     (unsigned long long)consumer->taken, what);
}

/* False when the producer's index cannot be. */
static bool look_at_producer(struct ring_consumer *consumer)
{
    ROOST_YIELD_POINT();
    /* acquire: the messages before this index were written before it; and whatever is read from another ring after this
     * is at least as new (ring_snapshot) */
    uint64_t committed = atomic_load_explicit(&consumer->memory->committed, memory_order_acquire);
    if (committed < consumer->committed_seen ||
        !indices_are_possible(consumer->published, committed, consumer->capacity)) {
        return false;
    }
    consumer->committed_seen = committed;
    return true;
}

uint64_t ring_snapshot(struct ring_consumer *consumer)
{
    if (!consumer->broken && !look_at_producer(consumer)) {
        consumer->broken = true;
    }
    return consumer->committed_seen;
}

bool ring_is_empty(struct ring_consumer *consumer)
{
    return consumer->taken == ring_snapshot(consumer) && !consumer->broken;
}

/* The header at `taken`, copied once (the producer could change it between two looks) and found to describe bytes that
 * are committed and inside the memory. Steps over one pad. */
static int next_header(struct ring_consumer *consumer, struct ring_header *header_out)
{
    for (int pads = 0;; pads++) {
        uint64_t at = consumer->taken & (consumer->capacity - 1);
        uint64_t to_end = consumer->capacity - at, left = consumer->committed_seen - consumer->taken;
        uint64_t word = *(const volatile uint64_t *)(const void *)(consumer->memory->bytes + at);
        struct ring_header header;
        memcpy(&header, &word, sizeof header);
        uint64_t bytes = ring_message_bytes(header.size);
        if (header.kind == RING_KIND_MESSAGE && bytes <= left && bytes <= to_end) {
            *header_out = header;
            return 0;
        }
        if (header.kind != RING_KIND_PAD || pads > 0 || bytes != to_end || bytes >= left) {
            return broken(consumer, "no such header");
        }
        consumer->taken += bytes;
    }
}

int ring_take_until(struct ring_consumer *consumer, uint64_t place, void *copy_out, size_t capacity, size_t *size_out)
{
    if (consumer->broken) {
        return error_set(ROOST_EINVAL, "the other side had broken the ring");
    }
    if (consumer->taken >= place) {
        return 0;
    }
    if (consumer->taken == consumer->committed_seen) {
        if (!look_at_producer(consumer)) {
            return broken(consumer, "impossible index");
        }
        if (consumer->taken == consumer->committed_seen) {
            return 0;
        }
    }
    ROOST_YIELD_POINT();
    struct ring_header header = { 0, 0 };
    int status = next_header(consumer, &header);
    if (status != 0) {
        return status;
    }
    if (header.size > capacity) {
        return broken(consumer, "a message is too long");
    }
    memcpy(copy_out, consumer->memory->bytes + (consumer->taken & (consumer->capacity - 1)) + RING_HEADER_BYTES,
           header.size);
    consumer->taken += ring_message_bytes(header.size);
    *size_out = header.size;
    return 1;
}

const void *ring_ahead(const struct ring_consumer *consumer, size_t bytes)
{
    uint64_t at = consumer->taken & (consumer->capacity - 1), needed = RING_HEADER_BYTES + bytes;
    bool is_there = !consumer->broken && needed <= consumer->committed_seen - consumer->taken &&
                    needed <= consumer->capacity - at;
    return is_there ? consumer->memory->bytes + at + RING_HEADER_BYTES : NULL;
}

int ring_take(struct ring_consumer *consumer, void *copy_out, size_t capacity, size_t *size_out)
{
    return ring_take_until(consumer, UINT64_MAX, copy_out, capacity, size_out);
}

void ring_consumed(struct ring_consumer *consumer)
{
    if (consumer->published == consumer->taken) {
        return;
    }
    consumer->published = consumer->taken;
    ROOST_YIELD_POINT();
    /* release: our copies are done before the producer may write there again */
    atomic_store_explicit(&consumer->memory->consumed, consumer->published, memory_order_release);
    ROOST_YIELD_POINT();
}
