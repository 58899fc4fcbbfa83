/* endpoint_queue.c - outgoing frames as a chain of blocks
 *
 * Owns the blocks.
 *
 * Happy path: add* -> gather (the first blocks, as they lie) -> pop (they are sent) -> gather the next.
 * Failures:   no memory for a block -> ROOST_ENOMEM, and the queue is as it was.
 * Invariants: bytes is the sum of all blocks; a block that was handed out takes nothing more; one gather at a time.
 * Thread:     the loop's.
 */
#include "common/io/endpoint_queue.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

struct out_block {
    struct out_block *next;
    size_t size, capacity; /* capacity 0: it has been handed out */
    unsigned char bytes[];
};

static struct out_block *block_create(size_t capacity)
{
    struct out_block *block = malloc(sizeof *block + capacity);
    if (block == NULL) {
        error_set(ROOST_ENOMEM, "queueing a frame: out of memory");
        return NULL;
    }
    *block = (struct out_block){ .capacity = capacity };
    return block;
}

static void append(struct endpoint_queue *queue, struct out_block *block)
{
    if (queue->last != NULL) {
        queue->last->next = block;
    } else {
        queue->first = block;
    }
    queue->last = block;
    queue->bytes += block->size;
}

/* Room for `size` bytes at the end, in the last block when nobody reads it. NULL: no memory. */
static struct out_block *block_with_room(struct endpoint_queue *queue, size_t size)
{
    struct out_block *last = queue->last;
    if (last != NULL && last->capacity >= last->size && last->capacity - last->size >= size) {
        return last;
    }
    struct out_block *block = block_create(size > ENDPOINT_BLOCK_BYTES ? size : ENDPOINT_BLOCK_BYTES);
    if (block != NULL) {
        append(queue, block);
    }
    return block;
}

static void write_bytes(struct endpoint_queue *queue, struct out_block *block, const void *data, size_t size)
{
    ROOST_PRE(size <= block->capacity - block->size);
    memcpy(block->bytes + block->size, data, size);
    block->size += size;
    queue->bytes += size;
}

static void write_header(struct endpoint_queue *queue, struct out_block *block, size_t size)
{
    unsigned char header[ENDPOINT_HEADER_BYTES] = { (unsigned char)size, (unsigned char)(size >> 8),
                                                    (unsigned char)(size >> 16), (unsigned char)(size >> 24) };
    write_bytes(queue, block, header, sizeof header);
}

int endpoint_queue_add(struct endpoint_queue *queue, const struct endpoint_piece *pieces, size_t count, size_t size)
{
    struct out_block *block = block_with_room(queue, ENDPOINT_HEADER_BYTES + size);
    if (block == NULL) {
        return ROOST_ENOMEM;
    }
    write_header(queue, block, size);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > 0) {
            write_bytes(queue, block, pieces[i].data, pieces[i].size);
        }
    }
    return 0;
}

size_t endpoint_queue_gather(struct endpoint_queue *queue, struct iovec *iov, size_t iov_max)
{
    ROOST_PRE(queue->flight_count == 0);
    size_t count = 0;
    for (struct out_block *block = queue->first; block != NULL && count < iov_max; block = block->next) {
        iov[count++] = (struct iovec){ block->bytes, block->size };
        block->capacity = 0; /* nothing is added to it any more */
    }
    queue->flight_count = count;
    return count;
}

void endpoint_queue_pop(struct endpoint_queue *queue)
{
    for (; queue->flight_count > 0; queue->flight_count--) {
        struct out_block *block = queue->first;
        queue->first = block->next;
        if (queue->first == NULL) {
            queue->last = NULL;
        }
        queue->bytes -= block->size;
        free(block);
    }
}

void endpoint_queue_fini(struct endpoint_queue *queue)
{
    while (queue->first != NULL) {
        struct out_block *next = queue->first->next;
        free(queue->first);
        queue->first = next;
    }
    *queue = (struct endpoint_queue){ 0 };
}
