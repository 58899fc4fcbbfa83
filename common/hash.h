/* hash.h - the one hash of the house: XXH3, compiled in from xxhash's header
 *
 * Object and task ids are 128-bit hashes that agents compute again from what they were given, so the function is part
 * of the wire format. */
#ifndef ROOST_COMMON_HASH_H
#define ROOST_COMMON_HASH_H

#include "common/id.h"

#include <stddef.h>

struct id_key hash128(const void *data, size_t size, uint64_t seed);
/* The same, of bytes that come in pieces. NULL for want of memory; hash_stream_end() frees it. */
struct hash_stream;
struct hash_stream *hash_stream_begin(uint64_t seed);
void hash_stream_add(struct hash_stream *stream, const void *data, size_t size);
struct id_key hash_stream_end(struct hash_stream *stream);

uint64_t hash64(const void *data, size_t size, uint64_t seed);

/* Every bit of both reaches every bit of the result; order matters. */
uint64_t hash_mix(uint64_t state, uint64_t value);

/* One step of the running hash that a core keeps of what it does: order matters, and it costs next to nothing. */
static inline uint64_t hash_step(uint64_t state, uint64_t value)
{
    return ((state << 23 | state >> 41) + value + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
}

/* The home of an id in a table of `capacity` places, a power of two above 1 << group_bits. Counters that follow each other,
 * as ids of puts nearly always have them in `lo`, lie side by side in groups; `group` is made of the rest of the id and of
 * lo >> group_bits. The upper bits of a product with the golden ratio put groups evenly apart, whatever the capacity. */
static inline uint32_t hash_home(uint64_t group, uint64_t lo, uint32_t group_bits, uint32_t capacity)
{
    uint32_t bits = 31u - (uint32_t)__builtin_clz(capacity);
    uint64_t place = group * 0x9e3779b97f4a7c15u >> (64 - bits + group_bits);
    return (uint32_t)(place << group_bits | (lo & ((UINT64_C(1) << group_bits) - 1)));
}

/* The id of result `index` of a task. */
struct object_id result_id(struct task_id task, uint32_t index);

/* id.hi of what an attempt of a task puts: `giver` is the prefix of the worker's process, or the agent's secret, and
 * `run` its number there. No other attempt has it, also when a call is made again and counts its attempts anew. */
uint64_t run_prefix(struct task_id task, uint64_t giver, uint64_t run);

/* The id under which a pulled part of an object (a range or a column) is kept beside whole objects.
 * A ref to a whole object gives the object's own id. */
struct object_id part_id(roost_ref ref);

#endif
