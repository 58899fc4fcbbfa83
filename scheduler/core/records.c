/* records.c - see the header
 *
 * Owns the chunks and the index.
 *
 * Happy path: make -> find, number -> forget.
 * Failures:   none: head_alloc() ends a daemon without memory.
 * Invariants: a record is in the index exactly while its id is not none; a free one has behind its id what free_first
 *             was before.
 * Thread:     the core's. */
#include "scheduler/core/records.h"
#include "common/large_pages.h"
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL_CHUNK = 4096,
    SMALL_CHUNKS = 32,
    SMALL_RECORDS = SMALL_CHUNK * SMALL_CHUNKS, /* and as many are in each later chunk */
    INDEX_FIRST = 1024,
    LINE_BYTES = 64,
    GROW_AHEAD = 16, /* records whose slots are on their way */
    PREFETCHED_BYTES_MAX = 4 * LINE_BYTES
};

/* ------------------------------------------------------------------------------------------------ chunks */

static unsigned char *record_at(const struct records *records, uint32_t number)
{
    bool is_small = number < SMALL_RECORDS;
    uint32_t chunk = is_small ? number / SMALL_CHUNK : number / SMALL_RECORDS + SMALL_CHUNKS - 1;
    uint32_t place = is_small ? number % SMALL_CHUNK : number % SMALL_RECORDS;
    return records->chunks[chunk] + (size_t)place * records->record_bytes;
}

static struct id_key id_of(const void *record)
{
    struct id_key id;
    memcpy(&id, record, sizeof id);
    return id;
}

static bool is_free(const void *record) { return (id_of(record).hi | id_of(record).lo) == 0; }

static void *link_of(void *free_record) { return (unsigned char *)free_record + sizeof(struct id_key); }

static void *alloc_chunk(const struct records *records)
{
    bool is_small = records->chunks_count < SMALL_CHUNKS;
    size_t bytes = (size_t)(is_small ? SMALL_CHUNK : SMALL_RECORDS) * records->record_bytes;
    void *chunk = head_alloc(bytes);
    if (!is_small) {
        large_pages_ask(chunk, bytes);
    }
    return chunk;
}

static uint32_t take_number(struct records *records)
{
    if (records->free_first != 0) {
        uint32_t number = records->free_first - 1;
        memcpy(&records->free_first, link_of(record_at(records, number)), sizeof records->free_first);
        return number;
    }
    uint32_t small = records->chunks_count < SMALL_CHUNKS ? records->chunks_count : SMALL_CHUNKS;
    if (records->used == small * SMALL_CHUNK + (records->chunks_count - small) * SMALL_RECORDS) {
        if (records->chunks_count == records->chunks_capacity) {
            records->chunks_capacity = records->chunks_capacity == 0 ? SMALL_CHUNKS : records->chunks_capacity * 2;
            records->chunks = head_grow(records->chunks, records->chunks_capacity, sizeof *records->chunks);
        }
        records->chunks[records->chunks_count] = alloc_chunk(records);
        records->chunks_count++;
    }
    return records->used++;
}

/* ------------------------------------------------------------------------------------------------ the index */

static uint64_t hash_of(struct id_key id) { return (id.hi ^ id.lo) * 0x9e3779b97f4a7c15u; }

static uint32_t home_of(const struct records *records, struct id_key id)
{
    return (uint32_t)(hash_of(id) >> 32) & (records->index_capacity - 1);
}

/* A slot has the number of a record + 1, in as many bits as the capacity has, and above them a part of the id's hash, so
 * that records of other ids are not visited: each is a line that is in no cache. */
static uint32_t entry_of(const struct records *records, struct id_key id, uint32_t number)
{
    return ((uint32_t)hash_of(id) & ~(records->index_capacity - 1)) | (number + 1);
}

static uint32_t number_in(const struct records *records, uint32_t slot)
{
    return (records->index[slot] & (records->index_capacity - 1)) - 1;
}

/* The slot of `id`, or the free one where it would go. */
static uint32_t slot_of(const struct records *records, struct id_key id)
{
    uint32_t mask = records->index_capacity - 1, part = (uint32_t)hash_of(id) & ~mask;
    for (uint32_t i = home_of(records, id);; i = (i + 1) & mask) {
        uint32_t entry = records->index[i];
        bool may_be_it = entry != 0 && (entry & ~mask) == part;
        if (entry == 0 || (may_be_it && id_key_eq(id_of(record_at(records, number_in(records, i))), id))) {
            return i;
        }
    }
}

static void grow_index(struct records *records)
{
    free(records->index);
    records->index_capacity = records->index_capacity == 0 ? INDEX_FIRST : records->index_capacity * 2;
    size_t bytes = records->index_capacity * sizeof *records->index;
    records->index = head_alloc(bytes);
    large_pages_ask(records->index, bytes);
    for (uint32_t i = 0; i < records->used; i++) { /* in the order of memory */
        if (i + GROW_AHEAD < records->used) {
            __builtin_prefetch(&records->index[home_of(records, id_of(record_at(records, i + GROW_AHEAD)))], 1);
        }
        struct id_key id = id_of(record_at(records, i));
        if ((id.hi | id.lo) != 0) {
            records->index[slot_of(records, id)] = entry_of(records, id, i);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ the interface */

void *records_find(const struct records *records, struct id_key id)
{
    if (records->count == 0) {
        return NULL;
    }
    uint32_t slot = slot_of(records, id);
    return records->index[slot] == 0 ? NULL : record_at(records, number_in(records, slot));
}

void *records_number(const struct records *records, uint32_t number)
{
    void *record = number < records->used ? record_at(records, number) : NULL;
    return record == NULL || is_free(record) ? NULL : record;
}

void *records_make(struct records *records, struct id_key id)
{
    ROOST_PRE((id.hi | id.lo) != 0);
    if (records->count >= records->index_capacity / 4 * 3) {
        grow_index(records);
    }
    uint32_t slot = slot_of(records, id), number = take_number(records);
    ROOST_PRE(records->index[slot] == 0);
    records->index[slot] = entry_of(records, id, number);
    records->count++;
    unsigned char *record = record_at(records, number);
    memset(record, 0, records->record_bytes);
    memcpy(record, &id, sizeof id);
    return record;
}

void records_forget(struct records *records, void *record)
{
    uint32_t mask = records->index_capacity - 1, gap = slot_of(records, id_of(record));
    uint32_t number = number_in(records, gap);
    ROOST_PRE(record_at(records, number) == record);
    /* close the gap: move back each follower whose home lies at or before it */
    for (uint32_t i = (gap + 1) & mask; records->index[i] != 0; i = (i + 1) & mask) {
        uint32_t home = home_of(records, id_of(record_at(records, number_in(records, i))));
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            records->index[gap] = records->index[i];
            gap = i;
        }
    }
    records->index[gap] = 0;
    records->count--;
    memset(record, 0, records->record_bytes);
    memcpy(link_of(record), &records->free_first, sizeof records->free_first);
    records->free_first = number + 1;
    if (records->count == 0 && records->used > SMALL_RECORDS) { /* a burst is over */
        records_fini(records);
    }
}

void records_prefetch_slot(const struct records *records, struct id_key id)
{
    if (records->count > 0) {
        __builtin_prefetch(&records->index[home_of(records, id)]);
    }
}

void records_prefetch(const struct records *records, struct id_key id)
{
    if (records->count == 0) {
        return;
    }
    uint32_t mask = records->index_capacity - 1, part = (uint32_t)hash_of(id) & ~mask;
    for (uint32_t i = home_of(records, id); records->index[i] != 0; i = (i + 1) & mask) {
        if ((records->index[i] & ~mask) == part) { /* it, or one that will be visited on the way */
            const unsigned char *record = record_at(records, number_in(records, i));
            for (size_t at = 0; at < records->record_bytes && at < PREFETCHED_BYTES_MAX; at += LINE_BYTES) {
                __builtin_prefetch(record + at);
            }
            return;
        }
    }
}

uint64_t records_bytes(const struct records *records)
{
    return (uint64_t)records->used * records->record_bytes + (uint64_t)records->index_capacity * sizeof *records->index;
}

void records_fini(struct records *records)
{
    for (uint32_t i = 0; i < records->chunks_count; i++) {
        free(records->chunks[i]);
    }
    free(records->chunks);
    free(records->index);
    *records = (struct records){ .record_bytes = records->record_bytes };
}
