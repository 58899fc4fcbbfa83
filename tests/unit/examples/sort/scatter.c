#include "examples/sort/scatter.h"
#include "tests/unit/examples/sort/records.h"

#include <errno.h>

enum { GUARD_BYTES = 256, GUARD = 0xa5, PARTITIONS_MAX = 1000 };

static struct sort_fault fault;

/* Splits chosen from the records themselves. */
static struct splits splits_of(const unsigned char *records, size_t count, size_t partitions)
{
    unsigned char *keys = malloc(count * KEY_BYTES + 1), chosen[PARTITIONS_MAX * KEY_BYTES];
    struct splits splits;
    size_t sampled = splits_sample(records, count, count, keys);
    CHECK_EQ(splits_choose(keys, sampled, partitions, chosen, &fault), 0);
    CHECK_EQ(splits_init(&splits, chosen, partitions, &fault), 0);
    free(keys);
    return splits;
}

/* Scatters to an output that begins `offset` bytes inside a line, and compares with one walk over the input for each
 * partition. */
static void check_against_model(enum pattern pattern, size_t count, size_t partitions, size_t offset)
{
    unsigned char *records = records_make(pattern, count);
    struct splits splits = splits_of(records, count, partitions);
    size_t size = count * RECORD_BYTES;
    unsigned char *memory = aligned_alloc(64, (size + 2 * GUARD_BYTES + 64 + 63) / 64 * 64);
    unsigned char *out = memory + GUARD_BYTES + offset;
    uint64_t ends[PARTITIONS_MAX];
    memset(memory, GUARD, size + 2 * GUARD_BYTES + 64);

    CHECK_EQ(scatter(&splits, (struct sort_piece){ records, size }, out, ends, &fault), 0);

    size_t at = 0;
    for (size_t p = 0; p < partitions; p++) {
        for (size_t i = 0; i < count; i++) {
            const unsigned char *record = records + i * RECORD_BYTES;
            if (splits_partition(&splits, key_load(record)) == p) {
                CHECK(memcmp(out + at, record, RECORD_BYTES) == 0);
                at += RECORD_BYTES;
            }
        }
        CHECK_EQ(ends[p], at);
    }
    CHECK_EQ(at, size);
    for (size_t i = 0; i < GUARD_BYTES; i++) {
        CHECK_EQ(*(out - 1 - i), GUARD);
        CHECK_EQ(out[size + i % 64], GUARD);
    }
    splits_fini(&splits);
    free(records);
    free(memory);
}

TEST(scatter, every_pattern_comes_out_grouped_and_in_its_own_order)
{
    for (enum pattern pattern = 0; pattern < PATTERNS; pattern++) {
        check_against_model(pattern, 5000, 48, 0);
        check_against_model(pattern, 777, 3, 36);
    }
}

TEST(scatter, any_alignment_of_the_output_and_any_small_count)
{
    for (size_t offset = 0; offset < 64; offset++) {
        check_against_model(PATTERN_RANDOM, 100 + offset, 5, offset);
    }
    for (size_t count = 0; count < 40; count++) {
        check_against_model(PATTERN_RANDOM, count, 1, 12);
        check_against_model(PATTERN_RANDOM, count, 4, 60);
    }
}

TEST(scatter, more_partitions_than_records)
{
    check_against_model(PATTERN_RANDOM, 200, PARTITIONS_MAX, 4);
    check_against_model(PATTERN_TWO, 3000, PARTITIONS_MAX, 0);
}

TEST(scatter, nothing_in_gives_ends_of_zero)
{
    struct splits splits = splits_of(NULL, 0, 3);
    uint64_t ends[3] = { 1, 1, 1 };
    CHECK_EQ(scatter(&splits, (struct sort_piece){ NULL, 0 }, NULL, ends, &fault), 0);
    CHECK(ends[0] == 0 && ends[1] == 0 && ends[2] == 0);
    splits_fini(&splits);
}

TEST(scatter, half_a_record_is_refused_and_nothing_written)
{
    unsigned char *records = records_make(PATTERN_RANDOM, 2), out[2 * RECORD_BYTES] = { GUARD };
    struct splits splits = splits_of(records, 2, 2);
    uint64_t ends[2] = { 7, 7 };
    CHECK_EQ(scatter(&splits, (struct sort_piece){ records, 150 }, out, ends, &fault), -EINVAL);
    CHECK_TEXT(fault.text, "150 bytes are no whole number of 100-byte records: 50 are left over");
    CHECK(out[0] == GUARD && ends[0] == 7 && ends[1] == 7);
    splits_fini(&splits);
    free(records);
}
