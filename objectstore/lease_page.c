#include "objectstore/lease_page.h"
#include "common/bytes.h"
#include "common/error.h"

enum { PAGE_BYTES = 4096 };

struct lease_page_layout lease_page_layout(void)
{
    struct lease_page_layout layout;
    layout.tasks = align_up(sizeof(struct lease_page_head), 64);
    layout.completes = align_up(layout.tasks + task_ring_bytes(LEASE_SLOTS), 64);
    layout.bytes = align_up(layout.completes + ring_bytes(LEASE_COMPLETES_BYTES), PAGE_BYTES);
    return layout;
}

void lease_page_format(void *memory)
{
    struct lease_page_layout layout = lease_page_layout();
    unsigned char *base = memory;
    struct lease_page_head *head = memory;
    task_ring_format(base + layout.tasks, LEASE_SLOTS);
    ring_format(base + layout.completes, LEASE_COMPLETES_BYTES);
    head->magic = LEASE_PAGE_MAGIC;
    head->layout = LEASE_PAGE_LAYOUT;
    head->bytes = layout.bytes;
}

int lease_page_check(const void *memory, size_t bytes)
{
    const struct lease_page_head *head = memory;
    size_t wanted = lease_page_layout().bytes;
    if (bytes != wanted || head->magic != LEASE_PAGE_MAGIC || head->layout != LEASE_PAGE_LAYOUT ||
        head->bytes != wanted) {
        return error_set(ROOST_EVERSION, "the agent lays out %zu bytes for a lease, this library %zu (layout %d)",
                         bytes, wanted, LEASE_PAGE_LAYOUT);
    }
    return 0;
}
