#include "common/large_pages.h"
#include "common/bytes.h"

#include <sys/mman.h>

enum { LARGE_PAGE_BYTES = 2 << 20 };

void large_pages_ask(void *memory, size_t bytes)
{
    uintptr_t from = align_up((uintptr_t)memory, LARGE_PAGE_BYTES), end = (uintptr_t)memory + bytes;
    end -= end % LARGE_PAGE_BYTES;
    if (from < end) {
        (void)madvise((void *)from, end - from, MADV_HUGEPAGE);
    }
}
