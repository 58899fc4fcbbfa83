/* range.h - the part of an object that a ref names: a range, a column, or what a forward leads to. Pure */
#ifndef ROOST_OBJECTSTORE_RANGE_H
#define ROOST_OBJECTSTORE_RANGE_H

#include "common/id.h"

#include <stdint.h>

/* `ends` are those of the object's `columns`. They may lie in memory that somebody else can write: each is read once,
 * and what comes out lies inside `size` bytes. ROOST_ERANGE, with a text. */
int range_resolve(roost_ref ref, uint64_t size, const uint64_t *ends, uint32_t columns, uint64_t *begin_out,
                  uint64_t *size_out);

/* `ref` of an object that is only another name for `target`. ROOST_ERANGE: it is no range of that. */
int range_forward(roost_ref ref, roost_ref target, roost_ref *forward_out);

#endif
