/* radix.h - the reduce step: the order of the records of many pieces
 *
 * Records stay where they are; what is sorted is a 16-byte entry for each, which holds the whole key, so that no
 * comparison goes back to a record. Equal keys keep the order of the pieces and of the records in them: the result is
 * the same on every run. */
#ifndef ROOST_EXAMPLES_SORT_RADIX_H
#define ROOST_EXAMPLES_SORT_RADIX_H

#include "examples/sort/record.h"

/* A record's key and address. User addresses have 47 bits, which leaves room for the last two bytes of the key. */
struct sort_entry {
    uint64_t prefix;
    uint64_t rest_and_address; /* rest << 48 | address */
};

static inline const unsigned char *entry_record(struct sort_entry entry)
{
    return (const unsigned char *)(uintptr_t)(entry.rest_and_address & ((UINT64_C(1) << 48) - 1));
}

static inline struct sort_key entry_key(struct sort_entry entry)
{
    return (struct sort_key){ entry.prefix, entry.rest_and_address >> 48 };
}

/* Memory for entries, on huge pages where there are any, to be kept from one sort to the next: making it costs more
 * than sorting in it. All zero is empty. */
struct radix_memory {
    void *base;
    size_t size_bytes;
};

/* Makes room to sort `records_count` records, 32 bytes for each. What was in it is lost when it has to grow. On failure
 * the memory is empty. The caller owes a radix_memory_release().
 *
 * Errors: -ENOMEM */
int radix_memory_reserve(struct radix_memory *memory, size_t records_count, struct sort_fault *fault);
void radix_memory_release(struct radix_memory *memory);

/* Sorts the records of `pieces`; reserves what it needs in `memory`. *sorted_out lies in `memory` and is valid until
 * its next use; it points into the pieces.
 *
 * Errors: -EINVAL  a piece is no whole number of records (the text says which), or lies above 2^48
 *         -ENOMEM
 * Any thread that has `memory` to itself. */
int radix_sort(const struct sort_piece *pieces, size_t pieces_count, struct radix_memory *memory,
               const struct sort_entry **sorted_out, size_t *sorted_count_out, struct sort_fault *fault);

#endif
