#include "common/hash.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

static struct id_key key_of(XXH128_hash_t hash)
{
    struct id_key key = { hash.high64, hash.low64 };
    if ((key.hi | key.lo) == 0) {
        key.lo = 1; /* zero means "none" */
    }
    return key;
}

struct id_key hash128(const void *data, size_t size, uint64_t seed)
{
    return key_of(XXH3_128bits_withSeed(data, size, seed));
}

struct hash_stream {
    XXH3_state_t state;
};

struct hash_stream *hash_stream_begin(uint64_t seed)
{
    struct hash_stream *stream = aligned_alloc(_Alignof(struct hash_stream), sizeof *stream);
    if (stream != NULL) {
        XXH3_INITSTATE(&stream->state);
        XXH3_128bits_reset_withSeed(&stream->state, seed);
    }
    return stream;
}

void hash_stream_add(struct hash_stream *stream, const void *data, size_t size)
{
    XXH3_128bits_update(&stream->state, data, size);
}

struct id_key hash_stream_end(struct hash_stream *stream)
{
    struct id_key key = key_of(XXH3_128bits_digest(&stream->state));
    free(stream);
    return key;
}

uint64_t hash64(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

uint64_t hash_mix(uint64_t state, uint64_t value)
{
    /* the finaliser of splitmix64 over the sum */
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

uint64_t run_prefix(struct task_id task, uint64_t giver, uint64_t run)
{
    uint64_t words[4] = { task.hi, task.lo, giver, run };
    return hash64(words, sizeof words, 5) | 1;
}
