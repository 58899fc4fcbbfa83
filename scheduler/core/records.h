/* records.h - records of one size that begin with their id: found by id, or walked by number
 *
 * Records lie in chunks that never move, each under a number below records.used; numbers of records that went are
 * given again. The index takes 4 bytes per slot, as it keeps numbers and no ids. Zeroed but for record_bytes it is
 * empty. One thread. */
#ifndef ROOST_SCHEDULER_CORE_RECORDS_H
#define ROOST_SCHEDULER_CORE_RECORDS_H

#include "common/id.h"

#include <stddef.h>

struct records {
    uint32_t record_bytes;  /* at least 24; the first 16 are the id, zero in a record that is free */
    unsigned char **chunks; /* the first ones small, so that few records take little */
    uint32_t chunks_count, chunks_capacity;
    uint32_t *index; /* open addressing; 0: free (records.c) */
    uint32_t index_capacity, count;
    uint32_t free_first; /* number + 1; 0: none */
    uint32_t used;       /* numbers below this exist */
};

void records_fini(struct records *records);

/* NULL: unknown. */
void *records_find(const struct records *records, struct id_key id);

/* Zeroed but for its id, which is not none and not known yet. A daemon without memory for it ends. */
void *records_make(struct records *records, struct id_key id);

/* The record is free, and its memory another's. With the last one all memory of many goes, and numbers begin anew. */
void records_forget(struct records *records, void *record);

/* The record with this number, or NULL when it is free or was never taken. For walks in order of number, in which the
 * record at hand may be forgotten, and new ones made. */
void *records_number(const struct records *records, uint32_t number);

/* The next find of `id` need not wait for the index; nor, if that is already here, for the record. */
void records_prefetch_slot(const struct records *records, struct id_key id);
void records_prefetch(const struct records *records, struct id_key id);

/* Of what was used, and of the index. */
uint64_t records_bytes(const struct records *records);

#endif
