/* records.h - records for the tests of the sort kernels: random ones, and those that are hard to sort */
#ifndef ROOST_TESTS_UNIT_EXAMPLES_SORT_RECORDS_H
#define ROOST_TESTS_UNIT_EXAMPLES_SORT_RECORDS_H

#include "examples/sort/record.h"
#include "tests/lib/test.h"

static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1du;
}

enum pattern {
    PATTERN_RANDOM,       /* all 80 bits */
    PATTERN_PRINTABLE,    /* every byte ' ' to '~' */
    PATTERN_EQUAL,        /* one key */
    PATTERN_TWO,          /* two keys that differ in the last bit */
    PATTERN_EXTREMES,     /* the lowest key, the highest, and some between */
    PATTERN_SIX_SHARED,   /* bytes 0..5 the same, as skewed input has them */
    PATTERN_EIGHT_SHARED, /* the whole prefix the same */
    PATTERN_CLUSTERS,     /* few prefixes, many last bytes */
    PATTERN_MAGNITUDES,   /* prefixes of every bit length: each level of a radix sort sees one long run */
    PATTERN_HEAVY,        /* half of the records one key, the others random */
    PATTERN_ASCENDING,
    PATTERN_DESCENDING,
    PATTERNS,
};

static inline void key_store(unsigned char *key, uint64_t prefix, uint64_t rest)
{
    uint64_t high = htobe64(prefix);
    uint16_t low = htobe16((uint16_t)rest);
    memcpy(key, &high, sizeof high);
    memcpy(key + sizeof high, &low, sizeof low);
}

static inline void key_make(unsigned char *key, enum pattern pattern, size_t index, uint64_t *state)
{
    uint64_t a = random_next(state), b = random_next(state), c = random_next(state);
    switch (pattern) {
    case PATTERN_RANDOM:
        key_store(key, a, b);
        break;
    case PATTERN_PRINTABLE:
        for (size_t i = 0; i < KEY_BYTES; i++) {
            key[i] = (unsigned char)(' ' + random_next(state) % 95);
        }
        break;
    case PATTERN_EQUAL:
        key_store(key, 0x4242424242424242, 0x4242);
        break;
    case PATTERN_TWO:
        key_store(key, 0x4242424242424242, 0x4242 + (a & 1));
        break;
    case PATTERN_EXTREMES:
        key_store(key, a % 3 == 0 ? 0 : a % 3 == 1 ? UINT64_MAX : b, a % 2 == 0 ? 0 : 0xffff);
        break;
    case PATTERN_SIX_SHARED:
        key_store(key, UINT64_C(0x414243444546) << 16 | (a & 0xffff), b);
        break;
    case PATTERN_EIGHT_SHARED:
        key_store(key, 0x4142434445464748, b);
        break;
    case PATTERN_CLUSTERS:
        key_store(key, (a % 7) << 40, b);
        break;
    case PATTERN_MAGNITUDES:
        key_store(key, a >> (b & 63), c);
        break;
    case PATTERN_HEAVY:
        key_store(key, a % 2 == 0 ? 0x7777777777777777 : b, a % 2 == 0 ? 7 : c);
        break;
    case PATTERN_ASCENDING:
        key_store(key, index / 3, index % 3);
        break;
    case PATTERN_DESCENDING:
        key_store(key, UINT64_MAX - index / 3, 2 - index % 3);
        break;
    case PATTERNS:
        abort();
    }
}

/* Records whose bytes behind the key hold the record's number, so that no two are the same. To be freed. */
static inline unsigned char *records_make(enum pattern pattern, size_t count)
{
    unsigned char *records = malloc(count * RECORD_BYTES + 1);
    CHECK(records != NULL);
    uint64_t state = 88172645463325252u + (uint64_t)pattern;
    for (size_t i = 0; i < count; i++) {
        unsigned char *record = records + i * RECORD_BYTES;
        uint64_t number = i;
        memset(record, (int)(i & 255), RECORD_BYTES);
        memcpy(record + KEY_BYTES, &number, sizeof number);
        memcpy(record + RECORD_BYTES - sizeof number, &number, sizeof number);
        key_make(record, pattern, i, &state);
    }
    return records;
}

#endif
