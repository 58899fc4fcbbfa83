/* client_page.c - where everything lies in the memory that a client and its agent share */
#include "objectstore/client_page.h"
#include "common/doorbell.h"
#include "common/error.h"
#include "objectstore/pins.h"
#include "objectstore/table.h"

enum { CLIENT_LINE_BYTES = 64, CLIENT_MEMORY_PAGE = 4096 };

_Static_assert(sizeof(struct doorbell) <= CLIENT_LINE_BYTES, "a bell has a cache line of its own");
_Static_assert(sizeof(struct table_header) <= CLIENT_BELL_OFFSET, "the agent's bell lies behind the table's header");
_Static_assert(CLIENT_BELL_OFFSET + sizeof(struct agent_bell) <= TABLE_HEADER_BYTES, "and before its entries");

static size_t place(size_t *used, size_t bytes, size_t alignment)
{
    size_t at = align_up(*used, alignment);
    *used = at + bytes;
    return at;
}

struct client_page_layout client_page_layout(void)
{
    struct client_page_layout layout;
    size_t used = sizeof(struct client_page_head);
    layout.bells = place(&used, CLIENT_DOORBELLS * CLIENT_LINE_BYTES, CLIENT_LINE_BYTES);
    layout.requests = place(&used, ring_bytes(CLIENT_REQUEST_RING_BYTES), CLIENT_LINE_BYTES);
    layout.replies = place(&used, ring_bytes(CLIENT_REPLY_RING_BYTES), CLIENT_LINE_BYTES);
    layout.taken = place(&used, ring_bytes(CLIENT_SMALL_RING_BYTES), CLIENT_LINE_BYTES);
    layout.submits = place(&used, task_ring_bytes(CLIENT_TASK_SLOTS), CLIENT_LINE_BYTES);
    layout.tasks = place(&used, task_ring_bytes(WORKER_TASK_SLOTS), CLIENT_LINE_BYTES);
    layout.completes = place(&used, ring_bytes(CLIENT_SMALL_RING_BYTES), CLIENT_LINE_BYTES);
    layout.pins = place(&used, pins_page_bytes(0), CLIENT_MEMORY_PAGE);
    layout.bytes = align_up(used, CLIENT_MEMORY_PAGE);
    return layout;
}

struct doorbell *client_page_bell(void *memory, uint32_t index)
{
    ROOST_PRE(index < CLIENT_DOORBELLS);
    size_t at = client_page_layout().bells + (size_t)index * CLIENT_LINE_BYTES;
    return (struct doorbell *)(void *)((char *)memory + at);
}

void client_page_format(void *memory, uint32_t slot, uint32_t generation, enum client_role role)
{
    const struct client_page_layout layout = client_page_layout();
    struct client_page_head *head = memory;
    char *base = memory;
    *head = (struct client_page_head) { .magic = CLIENT_PAGE_MAGIC,
                                        .layout = CLIENT_PAGE_LAYOUT,
                                        .slot = slot,
                                        .generation = generation,
                                        .role = role,
                                        .bytes = layout.bytes };
    ring_format(base + layout.requests, CLIENT_REQUEST_RING_BYTES);
    ring_format(base + layout.replies, CLIENT_REPLY_RING_BYTES);
    ring_format(base + layout.taken, CLIENT_SMALL_RING_BYTES);
    ring_format(base + layout.completes, CLIENT_SMALL_RING_BYTES);
    task_ring_format(base + layout.submits, CLIENT_TASK_SLOTS);
    task_ring_format(base + layout.tasks, WORKER_TASK_SLOTS);
    ((struct pins_page *)(void *)(base + layout.pins))->layout = PINS_LAYOUT;
}

int client_page_check(const void *memory, size_t bytes)
{
    const struct client_page_head *head = memory;
    size_t wanted = client_page_layout().bytes;
    if (bytes != wanted || head->magic != CLIENT_PAGE_MAGIC || head->layout != CLIENT_PAGE_LAYOUT ||
        head->bytes != wanted) {
        return error_set(ROOST_EVERSION, "the page shared with the agent: %zu bytes of layout %u, wanted %zu of %d",
                         bytes, bytes >= sizeof *head ? head->layout : 0, wanted, CLIENT_PAGE_LAYOUT);
    }
    return 0;
}
