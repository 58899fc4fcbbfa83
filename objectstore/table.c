/* table.c - the shared table of this node's objects
 *
 * Owns the layout of the table's memory, and every write to it. Open addressing with linear probing; an entry never
 * moves, as pins name it by its index.
 *
 * Happy path: insert (creating or sealed) -> update* -> retire -> [no pin names it] -> remove.
 * Failures:   80 % load -> ROOST_EFULL. A writer that dies in the middle: the readers' bounded tries end in "ask".
 * Invariants: a slot's generation only grows; passed[s] counts the entries e with home(e) <= s < slot(e), cyclically.
 * Thread:     one writer; readers anywhere.
 *
 * Instead of tombstones each slot counts the entries that passed it when they were entered (as F14 does), and a search
 * ends at the first slot that nobody passed, used or not. A removal takes its counts back and leaves nothing behind.
 * Tombstones do, even when those before a free slot become free again: after three turnovers at 80 % load 6 of 16,384
 * slots were still free and a search for what is absent (each pending result that a reader asks for) walked 6,300
 * slots, after five all of them. Here, with ids that are hashes, it settles at 3.6 slots in the mean at 50 % load, 8 at 60 %,
 * 27 at 70 % and about 150 at the limit; ids in groups cost up to twice as many, next to each other, before any turnover.
 * Why readers without a lock may rely on it: while X is entered, every slot between its home and its own carries X's
 * count, added before X's id appears and taken back after it has gone. So no reader that looks for X meanwhile can meet
 * a zero before X, whatever else comes and goes. A reader that began before X came, or goes on after X went, may miss
 * it: that is "absent", and the agent answers.
 *
 * Memory orders. Reader: generation, fields, generation again, all acquire: none can move before the one above it.
 * Writer: an odd generation, then each field by release, so a reader that sees a new field sees the odd generation (or
 * a later one) in its second look; the even one by seq_cst, because a scan for pins follows it (pins.c). */
#include "objectstore/table.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"

enum { GROUP_BITS = 2 };
#define TABLE_MAGIC UINT64_C(0x656c626174746f52)

static uint64_t get(const _Atomic uint64_t *word) { return atomic_load_explicit(word, memory_order_acquire); }
static void set(_Atomic uint64_t *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_release); }

/* Ids carry prefixes and counters, and a client chooses its own prefix: its bits are mixed. */
static uint32_t home_of(const struct table *table, struct object_id id)
{
    uint64_t prefix = (id.hi ^ id.hi >> 32) * 0xbf58476d1ce4e5b9u;
    return hash_home(prefix + (id.lo >> GROUP_BITS), id.lo, GROUP_BITS, table->capacity);
}

static uint32_t next_of(const struct table *table, uint32_t index) { return (index + 1) & (table->capacity - 1); }

static bool is_capacity(uint32_t capacity)
{
    return capacity >= TABLE_CAPACITY_MIN && capacity <= STORE_ENTRIES_MAX && (capacity & (capacity - 1)) == 0;
}

uint32_t table_capacity_for(uint64_t store_bytes)
{
    uint32_t capacity = STORE_ENTRIES_MIN;
    while (capacity < STORE_ENTRIES_MAX && capacity < store_bytes / STORE_ENTRY_PER_BYTES) {
        capacity *= 2;
    }
    return capacity;
}

uint32_t table_entries_max(uint32_t capacity) { return capacity / 5 * 4; }

size_t table_bytes(uint32_t capacity) { return TABLE_HEADER_BYTES + (size_t)capacity * sizeof(struct table_slot); }

void table_format(struct table *table, void *memory, uint32_t capacity)
{
    ROOST_PRE(is_capacity(capacity));
    ROOST_PRE((uintptr_t)memory % sizeof(struct table_slot) == 0);
    *table = (struct table){ memory, (void *)((char *)memory + TABLE_HEADER_BYTES), capacity };
    table->header->magic = TABLE_MAGIC;
    table->header->layout = TABLE_LAYOUT;
    table->header->slot_bytes = sizeof(struct table_slot);
    table->header->capacity = capacity;
    atomic_init(&table->header->count, 0);
    atomic_init(&table->header->room_wanted, 0);
}

int table_attach(struct table *table, const void *memory, size_t bytes)
{
    const struct table_header *header = memory;
    if (bytes < TABLE_HEADER_BYTES || header->magic != TABLE_MAGIC) {
        return error_set(ROOST_EINVAL, "%zu bytes that are no table of objects", bytes);
    }
    if (header->layout != TABLE_LAYOUT || header->slot_bytes != sizeof(struct table_slot)) {
        return error_set(ROOST_EVERSION, "the table of objects has layout %u, this library knows %d", header->layout,
                         TABLE_LAYOUT);
    }
    uint32_t capacity = header->capacity;
    if (!is_capacity(capacity) || table_bytes(capacity) > bytes) {
        return error_set(ROOST_EINVAL, "a table of %u entries does not fit its %zu bytes", capacity, bytes);
    }
    char *base = (char *)(uintptr_t)memory; /* readers have no function that writes */
    *table = (struct table){ (void *)base, (void *)(base + TABLE_HEADER_BYTES), capacity };
    return 0;
}

static void write_begin(struct table_slot *slot)
{
    uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    ROOST_INVARIANT(generation % 2 == 0);
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_relaxed);
}

static void write_end(struct table_slot *slot)
{
    uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_seq_cst);
}

static void write_fields(struct table_slot *slot, const struct table_entry *entry)
{
    set(&slot->offset, entry->offset);
    set(&slot->size, entry->size);
    set(&slot->kind, (uint64_t)entry->state | (uint64_t)entry->format << 8 | (uint64_t)entry->segment << 16 |
                         (uint64_t)entry->version << 32);
    set(&slot->parts, (uint64_t)entry->columns | (uint64_t)entry->refs << 32);
}

static void set_id(struct table_slot *slot, struct object_id id)
{
    set(&slot->id_hi, id.hi);
    set(&slot->id_lo, id.lo);
}

static bool is_used(const struct table_slot *slot)
{
    return (atomic_load_explicit(&slot->id_hi, memory_order_relaxed) |
            atomic_load_explicit(&slot->id_lo, memory_order_relaxed)) != 0;
}

/* Add `change` to what passed the slots from the id's home up to, not including, `index`. */
static void count_path(struct table *table, struct object_id id, uint32_t index, uint32_t change)
{
    for (uint32_t i = home_of(table, id); i != index; i = next_of(table, i)) {
        uint32_t passed = atomic_load_explicit(&table->slots[i].passed, memory_order_relaxed);
        ROOST_INVARIANT(change == 1 || passed > 0);
        atomic_store_explicit(&table->slots[i].passed, passed + change, memory_order_release);
    }
}

static void count_add(struct table *table, uint32_t change)
{
    uint32_t count = atomic_load_explicit(&table->header->count, memory_order_relaxed);
    atomic_store_explicit(&table->header->count, count + change, memory_order_relaxed);
}

int table_insert(struct table *table, const struct table_entry *entry, uint32_t *index_out)
{
    ROOST_PRE(!object_id_is_none(entry->id));
    ROOST_PRE(entry->state >= TABLE_CREATING && entry->state <= TABLE_FREED);
    uint32_t count = atomic_load_explicit(&table->header->count, memory_order_relaxed);
    uint32_t limit = table_entries_max(table->capacity), known;
    if (count >= limit) {
        return error_set(ROOST_EFULL, "the table of objects holds %u entries, its limit (80 %% of %u)", count,
                         table->capacity);
    }
    if (table_find(table, entry->id, &known) == TABLE_FOUND) {
        return error_set(ROOST_EEXIST, "the object is in the table already");
    }
    uint32_t index = home_of(table, entry->id);
    while (is_used(&table->slots[index])) {
        index = next_of(table, index);
    }
    struct table_slot *slot = &table->slots[index];
    count_path(table, entry->id, index, 1);
    write_begin(slot);
    set_id(slot, entry->id);
    write_fields(slot, entry);
    write_end(slot);
    count_add(table, 1);
    *index_out = index;
    return 0;
}

static struct table_slot *used_slot(struct table *table, uint32_t index)
{
    ROOST_PRE(index < table->capacity);
    ROOST_PRE(is_used(&table->slots[index]));
    return &table->slots[index];
}

static struct object_id id_of(const struct table_slot *slot)
{
    return (struct object_id){ get(&slot->id_hi), get(&slot->id_lo) };
}

uint64_t table_update(struct table *table, uint32_t index, const struct table_entry *entry)
{
    struct table_slot *slot = used_slot(table, index);
    ROOST_PRE(object_id_eq(entry->id, id_of(slot)));
    ROOST_PRE(entry->state >= TABLE_CREATING && entry->state <= TABLE_FREED);
    uint64_t generation = get(&slot->generation);
    write_begin(slot);
    write_fields(slot, entry);
    write_end(slot);
    return generation;
}

uint64_t table_retire(struct table *table, uint32_t index)
{
    struct table_entry entry = table_peek(table, index);
    entry.state = TABLE_FREED;
    return table_update(table, index, &entry);
}

void table_remove(struct table *table, uint32_t index)
{
    struct table_slot *slot = used_slot(table, index);
    struct object_id id = id_of(slot);
    static const struct table_entry nothing = { .state = 0 };
    write_begin(slot);
    set_id(slot, nothing.id);
    write_fields(slot, &nothing);
    write_end(slot);
    count_path(table, id, index, UINT32_MAX); /* minus one */
    count_add(table, UINT32_MAX);
}

void table_set_room_wanted(struct table *table, bool wanted)
{
    atomic_store_explicit(&table->header->room_wanted, wanted, memory_order_relaxed);
}

static struct table_entry read_fields(const struct table_slot *slot)
{
    struct table_entry entry = { .id = id_of(slot), .offset = get(&slot->offset), .size = get(&slot->size) };
    uint64_t kind = get(&slot->kind), parts = get(&slot->parts);
    entry.state = (uint8_t)kind;
    entry.format = (uint8_t)(kind >> 8);
    entry.segment = (uint16_t)(kind >> 16);
    entry.version = (uint32_t)(kind >> 32);
    entry.columns = (uint32_t)parts;
    entry.refs = (uint32_t)(parts >> 32);
    return entry;
}

struct table_entry table_peek(const struct table *table, uint32_t index)
{
    ROOST_PRE(index < table->capacity);
    const struct table_slot *slot = &table->slots[index];
    ROOST_PRE(is_used(slot));
    struct table_entry entry = read_fields(slot);
    entry.generation = get(&slot->generation);
    return entry;
}

enum table_answer table_find(const struct table *table, struct object_id id, uint32_t *index_out)
{
    if (object_id_is_none(id)) {
        return TABLE_ABSENT;
    }
    uint32_t index = home_of(table, id);
    for (uint32_t probes = 0; probes < table->capacity; probes++) {
        const struct table_slot *slot = &table->slots[index];
        if (object_id_eq(id_of(slot), id)) {
            *index_out = index;
            return TABLE_FOUND;
        }
        if (atomic_load_explicit(&slot->passed, memory_order_acquire) == 0) {
            return TABLE_ABSENT;
        }
        index = next_of(table, index);
    }
    return TABLE_ABSENT;
}

enum table_answer table_read(const struct table *table, uint32_t index, struct table_entry *entry_out)
{
    if (index >= table->capacity) {
        return TABLE_ABSENT;
    }
    const struct table_slot *slot = &table->slots[index];
    for (int tries = 0; tries < TABLE_READ_TRIES; tries++) {
        uint64_t generation = get(&slot->generation);
        struct table_entry entry = read_fields(slot);
        if (generation % 2 == 0 && get(&slot->generation) == generation) {
            if (object_id_is_none(entry.id)) {
                return TABLE_ABSENT;
            }
            entry.generation = generation;
            *entry_out = entry;
            return TABLE_FOUND;
        }
    }
    return TABLE_BUSY;
}

void table_prefetch(const struct table *table, struct object_id id)
{
    __builtin_prefetch(&table->slots[home_of(table, id)]);
}

enum table_answer table_look_up(const struct table *table, struct object_id id, uint32_t *index_out,
                                struct table_entry *entry_out)
{
    for (int tries = 0; tries < TABLE_READ_TRIES; tries++) {
        struct table_entry entry;
        uint32_t index;
        enum table_answer answer = table_find(table, id, &index);
        if (answer != TABLE_FOUND) {
            return answer;
        }
        answer = table_read(table, index, &entry);
        if (answer == TABLE_FOUND && object_id_eq(entry.id, id)) {
            *index_out = index;
            *entry_out = entry;
            return TABLE_FOUND;
        }
        if (answer == TABLE_BUSY) {
            return answer;
        }
        /* it went between the two looks, or the halves of two other ids looked like it: search again */
    }
    return TABLE_BUSY;
}

bool table_trailer(const struct table_entry *entry, uint64_t *trailer_offset_out, uint64_t *end_out)
{
    if (entry->size > ROOST_OBJECT_BYTES_MAX || entry->offset > UINT64_MAX / 4) {
        return false;
    }
    *trailer_offset_out = align_up(entry->offset + entry->size, sizeof(uint64_t));
    *end_out = *trailer_offset_out + entry->columns * sizeof(uint64_t) + entry->refs * sizeof(roost_ref);
    return true;
}

bool table_object_bytes(uint64_t size, uint32_t columns, uint32_t refs, uint64_t *bytes_out)
{
    struct table_entry entry = { .size = size, .columns = columns, .refs = refs };
    uint64_t trailer;
    return table_trailer(&entry, &trailer, bytes_out);
}
