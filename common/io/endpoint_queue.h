/* endpoint_queue.h - outgoing frames of one connection, in order
 *
 * Frames are copied into blocks of ENDPOINT_BLOCK_BYTES, or a longer one of their own, so that many of them are one
 * piece of one send. Pure: knows neither loop nor stream. */
#ifndef ROOST_COMMON_IO_ENDPOINT_QUEUE_H
#define ROOST_COMMON_IO_ENDPOINT_QUEUE_H

#include "common/io/endpoint.h"

#include <sys/uio.h>

struct out_block;

/* A zeroed queue is an empty one. */
struct endpoint_queue {
    struct out_block *first, *last;
    size_t bytes;        /* of all blocks */
    size_t flight_count; /* of the first blocks, handed out by the last gather and not yet popped */
};

enum { ENDPOINT_HEADER_BYTES = 4 };

/* `size` is the sum of the pieces, already checked. ROOST_ENOMEM leaves the queue as it was. */
int endpoint_queue_add(struct endpoint_queue *queue, const struct endpoint_piece *pieces, size_t count, size_t size);

/* The next bytes to send, in at most `iov_max` pieces; they stay where they are until endpoint_queue_pop(). Returns the
 * number of pieces, 0 when the queue is empty. */
size_t endpoint_queue_gather(struct endpoint_queue *queue, struct iovec *iov, size_t iov_max);

/* What was gathered has been sent: release it. */
void endpoint_queue_pop(struct endpoint_queue *queue);

/* Release everything. */
void endpoint_queue_fini(struct endpoint_queue *queue);

#endif
