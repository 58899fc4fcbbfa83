#include "common/io/timer_heap.h"
#include "common/contract.h"

#include <stddef.h>

static bool is_before(const struct timer_node *a, const struct timer_node *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

/* Two heaps into one. Either may be NULL. */
static struct timer_node *join(struct timer_node *a, struct timer_node *b)
{
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    if (is_before(b, a)) {
        struct timer_node *earlier = b;
        b = a;
        a = earlier;
    }
    b->previous = a;
    b->sibling = a->child;
    if (b->sibling != NULL) {
        b->sibling->previous = b;
    }
    a->child = b;
    return a;
}

/* The children of a removed node into one heap: pairs from the left, then all of them from the right. The loop takes
 * the place of the usual recursion, which a long list of children would let overflow the stack. */
static struct timer_node *join_children(struct timer_node *first)
{
    struct timer_node *pairs = NULL, *joined = NULL;
    while (first != NULL) {
        struct timer_node *a = first, *b = first->sibling;
        first = b != NULL ? b->sibling : NULL;
        a->sibling = a->previous = NULL;
        if (b != NULL) {
            b->sibling = b->previous = NULL;
        }
        struct timer_node *pair = join(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct timer_node *pair = pairs;
        pairs = pair->sibling;
        pair->sibling = NULL;
        joined = join(joined, pair);
    }
    return joined;
}

void timer_heap_add(struct timer_heap *heap, struct timer_node *node, uint64_t at_ns)
{
    ROOST_PRE(!node->queued);
    *node = (struct timer_node){ .at_ns = at_ns, .order = heap->added++, .queued = true };
    heap->first = join(heap->first, node);
}

void timer_heap_remove(struct timer_heap *heap, struct timer_node *node)
{
    if (!node->queued) {
        return;
    }
    struct timer_node *children = join_children(node->child);
    if (node == heap->first) {
        heap->first = children;
    } else {
        if (node->previous->child == node) {
            node->previous->child = node->sibling;
        } else {
            node->previous->sibling = node->sibling;
        }
        if (node->sibling != NULL) {
            node->sibling->previous = node->previous;
        }
        heap->first = join(heap->first, children);
    }
    *node = (struct timer_node){ .at_ns = node->at_ns };
    ROOST_POST(heap->first == NULL || heap->first->previous == NULL);
}
