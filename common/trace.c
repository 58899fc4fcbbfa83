#include "common/trace.h"

#include <inttypes.h>
#include <stdatomic.h>

struct trace_record {
    _Atomic uint64_t number; /* 1 + its place in the whole history; 0 while it is being written */
    const char *_Atomic what;
    _Atomic uint64_t a, b, c;
};

static struct trace_record records[TRACE_RECORDS];
static _Atomic uint64_t next_number;

void trace_add(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t number = atomic_fetch_add_explicit(&next_number, 1, memory_order_relaxed);
    struct trace_record *record = &records[number % TRACE_RECORDS];
    /* relaxed: a reader is the same process in its last moments, and checks `number` on both sides of a record */
    atomic_store_explicit(&record->number, 0, memory_order_relaxed);
    atomic_store_explicit(&record->what, what, memory_order_relaxed);
    atomic_store_explicit(&record->a, a, memory_order_relaxed);
    atomic_store_explicit(&record->b, b, memory_order_relaxed);
    atomic_store_explicit(&record->c, c, memory_order_relaxed);
    atomic_store_explicit(&record->number, number + 1, memory_order_release);
}

void trace_print(FILE *to)
{
    uint64_t end = atomic_load(&next_number);
    uint64_t begin = end > TRACE_RECORDS ? end - TRACE_RECORDS : 0;
    for (uint64_t number = begin; number < end; number++) {
        struct trace_record *record = &records[number % TRACE_RECORDS];
        if (atomic_load_explicit(&record->number, memory_order_acquire) != number + 1) {
            continue;
        }
        fprintf(to, "trace=%" PRIu64 " what=\"%s\" a=%" PRIx64 " b=%" PRIx64 " c=%" PRIx64 "\n", number,
                atomic_load(&record->what), atomic_load(&record->a), atomic_load(&record->b), atomic_load(&record->c));
    }
}
