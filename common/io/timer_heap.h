/* timer_heap.h - deadlines in order, without an allocation
 *
 * A pairing heap of embedded nodes: the earliest deadline first, equal ones in the order in which they were added.
 * Adding is O(1), removing O(log n) amortised (Fredman, Sedgewick, Sleator, Tarjan 1986). A node may not move while it
 * is in the heap. */
#ifndef ROOST_COMMON_IO_TIMER_HEAP_H
#define ROOST_COMMON_IO_TIMER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct timer_node {
    uint64_t at_ns, order;                         /* order: how many were added before this one */
    struct timer_node *child, *sibling, *previous; /* previous: the left sibling, or the parent of a first child */
    bool queued;
};

/* A zeroed heap is an empty one. */
struct timer_heap {
    struct timer_node *first; /* the earliest, or NULL */
    uint64_t added;
};

/* `node` is zeroed or was removed. */
void timer_heap_add(struct timer_heap *heap, struct timer_node *node, uint64_t at_ns);

/* No effect on a node that is not queued. */
void timer_heap_remove(struct timer_heap *heap, struct timer_node *node);

#endif
