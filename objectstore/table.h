/* table.h - the shared table of this node's objects: id -> where its bytes are
 *
 * Lies in shared memory of a fixed layout. One writer, the agent; any number of readers in other processes, which map
 * it read-only and ask nobody. An entry is a cache line under a generation of its own (a seqlock): odd while it is
 * being written, never the same twice. A reader that wants to use bytes pins (index, generation) first (pins.h).
 *
 * Bytes of a sealed object at [offset, offset + size) of `segment`; right after, at the next multiple of 8, its
 * trailer: `columns` ends of columns (uint64_t each), then `refs` roost_refs. */
#ifndef ROOST_OBJECTSTORE_TABLE_H
#define ROOST_OBJECTSTORE_TABLE_H

#include "common/id.h"
#include "common/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_LAYOUT = 1, TABLE_CAPACITY_MIN = 16, TABLE_HEADER_BYTES = 4096, TABLE_READ_TRIES = 64 };

/* Stored; never renumbered. */
enum table_state {
    TABLE_CREATING = 1, /* its bytes are being written: wait */
    TABLE_SEALED,       /* may be pinned */
    TABLE_SPILLED,      /* ask the agent */
    TABLE_LOST,         /* ask the agent */
    TABLE_FAILED,       /* a status in `offset`, as two's complement */
    TABLE_FREED         /* ROOST_EFREED; stays until no pin names it */
};

enum table_format {
    TABLE_RAW = 0,
    TABLE_TEXT,
    TABLE_INT,
    TABLE_UINT,
    TABLE_REAL,
    TABLE_ARROW,
    TABLE_REFS,
    TABLE_FORWARD, /* the payload is one roost_ref: read that instead */
    TABLE_ERROR,   /* the payload describes a failure */
    TABLE_USER
};

/* An entry in private memory. */
struct table_entry {
    struct object_id id;
    uint64_t generation; /* set by the table */
    uint64_t offset, size;
    uint32_t columns, refs;
    uint32_t version; /* the attempt that made it */
    uint16_t segment;
    uint8_t state, format;
};

struct table_slot {
    _Atomic uint64_t id_hi, id_lo; /* zero: unused */
    _Atomic uint64_t generation;
    _Atomic uint64_t offset, size;
    _Atomic uint64_t kind;  /* state, format << 8, segment << 16, version << 32 */
    _Atomic uint64_t parts; /* columns, refs << 32 */
    uint32_t reserved;
    _Atomic uint32_t passed; /* entries that lie behind this slot although their home is here or before it */
};
_Static_assert(sizeof(struct table_slot) == 64, "one cache line");

struct table_header {
    uint64_t magic;
    uint32_t layout, slot_bytes, capacity;
    _Atomic uint32_t count;
    _Atomic uint32_t room_wanted __attribute__((__aligned__(64))); /* a release should ring the agent */
};
_Static_assert(sizeof(struct table_header) <= TABLE_HEADER_BYTES, "slots begin behind it");

/* One process's handle. Borrows the memory. The capacity is a copy: what the memory says later does not matter. */
struct table {
    struct table_header *header;
    struct table_slot *slots;
    uint32_t capacity;
};

/* How many entries a store of so many bytes gets: a power of two between STORE_ENTRIES_MIN and STORE_ENTRIES_MAX. */
uint32_t table_capacity_for(uint64_t store_bytes);
size_t table_bytes(uint32_t capacity);
/* How many entries a table takes: 80 % of its capacity. */
uint32_t table_entries_max(uint32_t capacity);

/* Make an empty table in zeroed memory of table_bytes(capacity); touches the header alone. `capacity`: a power of two
 * of TABLE_CAPACITY_MIN to STORE_ENTRIES_MAX. For the writer. */
void table_format(struct table *table, void *memory, uint32_t capacity);

/* Use a table that somebody else made; never writes. ROOST_EVERSION for another layout, ROOST_EINVAL when the header
 * and the size disagree. */
int table_attach(struct table *table, const void *memory, size_t bytes);

/* ---- the writer, one thread ---- */

/* Enter `entry` (its generation does not matter).
 * Errors: ROOST_EFULL    at 80 % load; the text names the limit
 *         ROOST_EEXIST   the id is there */
int table_insert(struct table *table, const struct table_entry *entry, uint32_t *index_out);

/* Write all of an entry anew; its id stays. Returns the generation that was: bytes at the old place may be used again
 * only when no pin names (index, that one). */
uint64_t table_update(struct table *table, uint32_t index, const struct table_entry *entry);

/* Nobody can pin it from now on: state freed, a new generation, sequentially consistent, so that a scan for pins that
 * begins afterwards sees every pin that will ever hold. Returns the generation that was. */
uint64_t table_retire(struct table *table, uint32_t index);

/* Forget the entry: the slot is free. Only when no pin names the generation that was retired. */
void table_remove(struct table *table, uint32_t index);

void table_set_room_wanted(struct table *table, bool wanted);

/* The writer's own look at an entry. The index is one that insert gave. */
struct table_entry table_peek(const struct table *table, uint32_t index);

/* ---- readers, any thread of any process; no system call, never waits ---- */

enum table_answer {
    TABLE_FOUND = 0,
    TABLE_ABSENT, /* no such entry: the agent may know more */
    TABLE_BUSY    /* being written all the while: ask the agent */
};

enum table_answer table_find(const struct table *table, struct object_id id, uint32_t *index_out);

/* A consistent copy of whatever entry is there. An index out of range is absent. */
enum table_answer table_read(const struct table *table, uint32_t index, struct table_entry *entry_out);

/* Find and read, and make sure that it is still that id's entry. */
enum table_answer table_look_up(const struct table *table, struct object_id id, uint32_t *index_out,
                                struct table_entry *entry_out);

/* The next look for `id` finds where it begins in the processor's cache. Costs nothing to wait for. */
void table_prefetch(const struct table *table, struct object_id id);

/* Sequentially consistent, for the check after a pin. `index` must be in range. */
static inline bool table_is_current(const struct table *table, uint32_t index, uint64_t generation)
{
    return atomic_load_explicit(&table->slots[index].generation, memory_order_seq_cst) == generation;
}

static inline bool table_room_is_wanted(const struct table *table)
{
    return atomic_load_explicit(&table->header->room_wanted, memory_order_relaxed) != 0;
}

/* Where in the segment the object's trailer begins, and where it ends: just behind the payload when there are neither
 * columns nor refs. False when the numbers are larger than any object's: the entry is damaged. */
bool table_trailer(const struct table_entry *entry, uint64_t *trailer_offset_out, uint64_t *end_out);

/* What an object takes in a segment, from its offset on. False on overflow. */
bool table_object_bytes(uint64_t size, uint32_t columns, uint32_t refs, uint64_t *bytes_out);

#endif
