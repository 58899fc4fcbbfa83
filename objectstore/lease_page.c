#include "objectstore/lease_page.h"
#include "common/bytes.h"
#include "common/error.h"

#include <stdatomic.h>
#include <string.h>

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

/* The ticket goes first and comes last, and is never used twice. Whoever has read (acquire) one of the fields that were
 * written (release) in between, finds that it has changed. */
void lease_page_begin(struct lease_page_head *page, const struct lease_run *run, const char *function)
{
    lease_page_end(page);
    if (strcmp(page->function, function) != 0) {
        memcpy(page->function, function, strlen(function) + 1);
    }
    atomic_store_explicit(&page->runs.task_hi, run->task.hi, memory_order_release);
    atomic_store_explicit(&page->runs.task_lo, run->task.lo, memory_order_release);
    atomic_store_explicit(&page->runs.since_ns, run->since_ns, memory_order_release);
    atomic_store_explicit(&page->runs.attempt, run->attempt, memory_order_release);
    atomic_store_explicit(&page->runs.ticket, run->ticket, memory_order_release);
}

void lease_page_end(struct lease_page_head *page)
{
    atomic_store_explicit(&page->runs.ticket, 0, memory_order_relaxed); /* the release of what follows it is enough */
}

bool lease_page_run(struct lease_page_head *page, struct lease_run *run_out)
{
    struct lease_run run = { .ticket = atomic_load_explicit(&page->runs.ticket, memory_order_acquire) };
    memcpy(run.function, page->function, sizeof run.function);
    run.function[sizeof run.function - 1] = '\0';
    run.task.hi = atomic_load_explicit(&page->runs.task_hi, memory_order_acquire);
    run.task.lo = atomic_load_explicit(&page->runs.task_lo, memory_order_acquire);
    run.since_ns = atomic_load_explicit(&page->runs.since_ns, memory_order_acquire);
    run.attempt = (uint32_t)atomic_load_explicit(&page->runs.attempt, memory_order_acquire);
    /* relaxed: after the loads above */
    if (run.ticket == 0 || atomic_load_explicit(&page->runs.ticket, memory_order_relaxed) != run.ticket) {
        return false;
    }
    *run_out = run;
    return true;
}
