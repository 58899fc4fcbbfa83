#include "common/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct id_key hash128(const void *data, size_t size, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, seed);
    struct id_key key = { hash.high64, hash.low64 };
    if ((key.hi | key.lo) == 0) {
        key.lo = 1; /* zero means "none" */
    }
    return key;
}

uint64_t hash64(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

uint64_t hash_mix(uint64_t state, uint64_t value)
{
    /* the finaliser of splitmix64 over the sum: cheap, and every bit of both reaches every bit of the result */
    uint64_t x = state + 0x9e3779b97f4a7c15u + value;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

struct object_id result_id(struct task_id task, uint32_t index)
{
    uint64_t words[3] = { task.hi, task.lo, index };
    return object_id_from(hash128(words, sizeof words, 1));
}

struct object_id part_id(roost_ref ref)
{
    if (ref.offset == 0 && ref.size == ROOST_WHOLE) {
        return object_id_of(ref);
    }
    return object_id_from(hash128(&ref, sizeof ref, 2)); /* a ref is four 64-bit words, without padding */
}

uint64_t run_prefix(struct task_id task, uint32_t attempt)
{
    uint64_t words[3] = { task.hi, task.lo, attempt };
    return hash64(words, sizeof words, 5) | 1;
}
