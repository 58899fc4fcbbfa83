/* range.c - the part of an object that a ref names
 *
 * Owns nothing. The same rules for the table's readers, for private objects, and for the agent that serves a pull.
 *
 * Failures: there is no such range, or it would be one of a range -> ROOST_ERANGE.
 * Thread:   any. */
#include "objectstore/range.h"
#include "common/bytes.h"
#include "common/error.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>

static bool is_whole(roost_ref ref) { return ref.offset == 0 && ref.size == ROOST_WHOLE; }

/* Relaxed: whoever changes it meanwhile gives up any order; it only must not be read a second time after the check. */
static uint64_t end_of(const uint64_t *ends, uint64_t column)
{
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)&ends[column], memory_order_relaxed);
}

int range_resolve(roost_ref ref, uint64_t size, const uint64_t *ends, uint32_t columns, uint64_t *begin_out,
                  uint64_t *size_out)
{
    uint64_t begin = ref.offset, wanted = ref.size;
    if (ref.size == ROOST_COLUMN) {
        if (ref.offset >= columns) {
            return error_set(ROOST_ERANGE, "column %" PRIu64 " of an object with %u columns", ref.offset, columns);
        }
        begin = ref.offset == 0 ? 0 : end_of(ends, ref.offset - 1);
        wanted = end_of(ends, ref.offset) - begin; /* a wild value fails below */
    } else if (ref.size == ROOST_WHOLE && ref.offset <= size) {
        wanted = size - ref.offset;
    }
    if (!range_is_inside(begin, wanted, size)) {
        return error_set(ROOST_ERANGE, "%" PRIu64 " bytes from byte %" PRIu64 " of an object of %" PRIu64, ref.size,
                         ref.offset, size);
    }
    *begin_out = begin;
    *size_out = wanted;
    return 0;
}

int range_forward(roost_ref ref, roost_ref target, roost_ref *forward_out)
{
    if (is_whole(ref)) {
        *forward_out = target;
        return 0;
    }
    if (is_whole(target)) {
        *forward_out = (roost_ref){ target.id, ref.offset, ref.size };
        return 0;
    }
    uint64_t known = target.size == ROOST_WHOLE ? UINT64_MAX - target.offset : target.size, size = ref.size;
    if (ref.size == ROOST_WHOLE && ref.offset <= known && target.size != ROOST_WHOLE) {
        size = known - ref.offset;
    }
    bool fits = size == ROOST_WHOLE ? ref.offset <= known : range_is_inside(ref.offset, size, known);
    if (ref.size == ROOST_COLUMN || target.size == ROOST_COLUMN || !fits) {
        return error_set(ROOST_ERANGE, "a range of an object that is itself a range or a column of another");
    }
    *forward_out = (roost_ref){ target.id, target.offset + ref.offset, size };
    return 0;
}
