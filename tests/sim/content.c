/* content.c - the bytes of an object, as they follow from its id */
#include "common/hash.h"
#include "tests/sim/program.h"

static uint64_t seed_of(struct object_id id) { return hash_mix(hash_mix(77, id.hi), id.lo); }

uint64_t content_size(struct object_id id)
{
    uint64_t seed = seed_of(id);
    if (seed % 16 == 0) {
        return 0;
    }
    return seed % 24 == 1 ? 2000 + (seed >> 20) % 9000 : 1 + (seed >> 20) % 600;
}

uint64_t content_column_end(struct object_id id, uint32_t column)
{
    return content_size(id) * (column + 1) / CONTENT_COLUMNS;
}

static unsigned char byte_at(uint64_t seed, uint64_t i) { return (unsigned char)((seed >> i % 7 * 8) + i * 31); }

void content_write(struct object_id id, unsigned char *to)
{
    uint64_t seed = seed_of(id), size = content_size(id);
    for (uint64_t i = 0; i < size; i++) {
        to[i] = byte_at(seed, i);
    }
}

bool content_is_right(struct object_id id, const unsigned char *data, uint64_t offset, uint64_t size)
{
    uint64_t seed = seed_of(id);
    if (!range_is_inside(offset, size, content_size(id))) {
        return false;
    }
    for (uint64_t i = 0; i < size; i++) {
        if (data[i] != byte_at(seed, offset + i)) {
            return false;
        }
    }
    return true;
}
