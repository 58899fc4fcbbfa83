/* large_pages.h - large pages under what is big and visited at random
 *
 * With 4 KiB pages each such visit costs a second one, to the page table. Any thread. */
#ifndef ROOST_COMMON_LARGE_PAGES_H
#define ROOST_COMMON_LARGE_PAGES_H

#include <stddef.h>

/* Ask for large pages under this memory, which is about to be used in full: one that is touched takes its whole size. A
 * request, to which nothing is lost if the kernel does not hear it, and no-one is told. */
void large_pages_ask(void *memory, size_t bytes);

#endif
