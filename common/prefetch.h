/* prefetch.h - asking for memory before it is read
 *
 * Where many things are worked off one after the other, each in no cache, the one some steps further on is asked for now:
 * then the waits for memory lie side by side instead of one behind the other. A request changes nothing. */
#ifndef ROOST_COMMON_PREFETCH_H
#define ROOST_COMMON_PREFETCH_H

#include <stddef.h>

enum { CACHE_LINE_BYTES = 64 };

/* All lines of `bytes` from there on, which may be no memory at all. */
static inline void prefetch_lines(const void *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CACHE_LINE_BYTES) {
        __builtin_prefetch((const char *)memory + at, 1);
    }
}

#endif
