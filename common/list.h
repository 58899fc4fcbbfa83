/* list.h - intrusive doubly linked lists: order of insertion, O(1) removal, no allocation
 *
 * A list is a struct list_node that is linked to itself when empty; an element that is on no list is linked to itself
 * too, so list_remove() may always be called. */
#ifndef ROOST_COMMON_LIST_H
#define ROOST_COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *previous;
};

#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list_node *node) { node->next = node->previous = node; }
static inline bool list_is_empty(const struct list_node *list) { return list->next == list; }

static inline void list_insert_before(struct list_node *place, struct list_node *node)
{
    node->next = place;
    node->previous = place->previous;
    place->previous->next = node;
    place->previous = node;
}

static inline void list_append(struct list_node *list, struct list_node *node) { list_insert_before(list, node); }
static inline void list_prepend(struct list_node *list, struct list_node *node)
{
    list_insert_before(list->next, node);
}

static inline void list_remove(struct list_node *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}

/* All of `from`, in its order, to the end of `list`. */
static inline void list_append_all(struct list_node *list, struct list_node *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->previous = list->previous;
    list->previous->next = from->next;
    from->previous->next = list;
    list->previous = from->previous;
    list_init(from);
}

#define LIST_EACH(at, list) for (struct list_node *at = (list)->next; at != (list); at = at->next)
/* The element at hand may be removed, no other. */
#define LIST_EACH_SAFE(at, list) \
    for (struct list_node *at = (list)->next, *at##_next = at->next; at != (list); at = at##_next, at##_next = at->next)

#endif
