/* bytes.h - arithmetic on sizes that cannot overflow unseen, and a reader that cannot leave its bytes */
#ifndef ROOST_COMMON_BYTES_H
#define ROOST_COMMON_BYTES_H

#include "common/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ROOST_KIB(n) ((uint64_t)(n) << 10)
#define ROOST_MIB(n) ((uint64_t)(n) << 20)
#define ROOST_GIB(n) ((uint64_t)(n) << 30)

#define ROOST_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* False, and *result_out untouched, on overflow. */
static inline bool size_mul(size_t a, size_t b, size_t *result_out)
{
    size_t result;
    if (__builtin_mul_overflow(a, b, &result)) {
        return false;
    }
    *result_out = result;
    return true;
}

static inline bool size_add(size_t a, size_t b, size_t *result_out)
{
    size_t result;
    if (__builtin_add_overflow(a, b, &result)) {
        return false;
    }
    *result_out = result;
    return true;
}

/* `alignment` is a power of two; the result must fit. */
static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    ROOST_PRE(alignment != 0 && (alignment & (alignment - 1)) == 0);
    ROOST_PRE(value <= UINT64_MAX - (alignment - 1));
    return (value + alignment - 1) & ~(alignment - 1);
}

/* Is [offset, offset + size) inside [0, limit)? */
static inline bool range_is_inside(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

#endif
