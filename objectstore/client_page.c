#include "objectstore/client_page.h"
#include "common/bytes.h"
#include "common/error.h"

enum { PAGE_BYTES = 4096 };

/* The next part, on a cache line of its own. */
static size_t part(size_t *end, size_t bytes)
{
    size_t begin = align_up(*end, 64);
    *end = begin + bytes;
    return begin;
}

struct client_page_layout client_page_layout(void)
{
    size_t end = sizeof(struct client_page_head);
    struct client_page_layout layout;
    layout.requests = part(&end, ring_bytes(CLIENT_REQUEST_RING_BYTES));
    layout.replies = part(&end, ring_bytes(CLIENT_REPLY_RING_BYTES));
    layout.taken = part(&end, ring_bytes(CLIENT_SMALL_RING_BYTES));
    layout.submits = part(&end, task_ring_bytes(CLIENT_TASK_SLOTS));
    layout.tasks = part(&end, task_ring_bytes(WORKER_TASK_SLOTS));
    layout.completes = part(&end, ring_bytes(CLIENT_SMALL_RING_BYTES));
    layout.bytes = align_up(end, PAGE_BYTES);
    return layout;
}

void client_page_format(void *memory, uint32_t slot, uint32_t generation, enum client_role role)
{
    struct client_page_layout layout = client_page_layout();
    unsigned char *base = memory;
    ring_format(base + layout.requests, CLIENT_REQUEST_RING_BYTES);
    ring_format(base + layout.replies, CLIENT_REPLY_RING_BYTES);
    ring_format(base + layout.taken, CLIENT_SMALL_RING_BYTES);
    task_ring_format(base + layout.submits, CLIENT_TASK_SLOTS);
    task_ring_format(base + layout.tasks, WORKER_TASK_SLOTS);
    ring_format(base + layout.completes, CLIENT_SMALL_RING_BYTES);
    *(struct client_page_head *)memory =
        (struct client_page_head){ CLIENT_PAGE_MAGIC, CLIENT_PAGE_LAYOUT, slot, generation, role, layout.bytes };
}

void client_bells_format(struct client_bells *bells)
{
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        atomic_store_explicit(&bells->of[i].doorbell.sleeping, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&bells->is_patient, 0, memory_order_relaxed);
    atomic_store_explicit(&bells->lead, CLIENT_LEAD_NONE, memory_order_release);
}

int client_page_check(const void *memory, size_t bytes)
{
    const struct client_page_head *head = memory;
    if (bytes != client_page_layout().bytes || head->magic != CLIENT_PAGE_MAGIC || head->layout != CLIENT_PAGE_LAYOUT ||
        head->bytes != bytes) {
        return error_set(ROOST_EVERSION, "the agent lays out %zu bytes for a client, this library %zu (layout %d)",
                         bytes, client_page_layout().bytes, CLIENT_PAGE_LAYOUT);
    }
    return 0;
}
