/* checksum.h - the sum that sorting must not change: the CRC-32 (zlib's) of each record, added up in 128 bits
 *
 * The sum that gensort, valsort and the tools beside this job print. It does not depend on the order of the records. */
#ifndef ROOST_EXAMPLES_SORT_CHECKSUM_H
#define ROOST_EXAMPLES_SORT_CHECKSUM_H

#include "examples/sort/record.h"

/* All zero is the sum of no records. */
struct record_sum {
    uint64_t high, low;
};

enum { SUM_TEXT_BYTES = 33 };

/* Any thread. */
void sum_add_record(struct record_sum *sum, const void *record);
void sum_add(struct record_sum *sum, struct record_sum other);
bool sum_equal(struct record_sum a, struct record_sum b);

/* Small hexadecimal digits without leading zeros. Returns `text`, which has room for SUM_TEXT_BYTES. */
const char *sum_print(struct record_sum sum, char *text);

#endif
