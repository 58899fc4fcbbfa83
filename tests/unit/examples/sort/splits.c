#include "examples/sort/splits.h"
#include "tests/unit/examples/sort/records.h"

#include <errno.h>

enum { MANY = 20000 };

static struct sort_fault fault;

static unsigned char *keys_of(const unsigned char *records, size_t count)
{
    unsigned char *keys = malloc(count * KEY_BYTES + 1);
    CHECK(keys != NULL);
    for (size_t i = 0; i < count; i++) {
        memcpy(keys + i * KEY_BYTES, records + i * RECORD_BYTES, KEY_BYTES);
    }
    return keys;
}

/* What the header promises, said with memcmp. */
static size_t partition_model(const unsigned char *splits, size_t partitions, const unsigned char *key)
{
    size_t at_or_below = 0;
    for (size_t s = 0; s + 1 < partitions; s++) {
        at_or_below += memcmp(splits + s * KEY_BYTES, key, KEY_BYTES) <= 0;
    }
    return at_or_below;
}

/* Chooses splits from the keys of all records and counts the records of each partition. To be freed. */
static size_t *partition_sizes(const unsigned char *records, size_t count, size_t partitions)
{
    unsigned char *keys = keys_of(records, count), *chosen = malloc(partitions * KEY_BYTES);
    size_t *sizes = calloc(partitions, sizeof *sizes);
    struct splits splits;
    CHECK_EQ(splits_choose(keys, count, partitions, chosen, &fault), 0);
    CHECK_EQ(splits_init(&splits, chosen, partitions, &fault), 0);
    for (size_t i = 0; i < count; i++) {
        sizes[splits_partition(&splits, key_load(records + i * RECORD_BYTES))]++;
    }
    splits_fini(&splits);
    free(keys);
    free(chosen);
    return sizes;
}

static size_t largest_of(const size_t *sizes, size_t count)
{
    size_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = sizes[i] > largest ? sizes[i] : largest;
    }
    return largest;
}

TEST(splits, a_key_is_looked_up_as_the_splits_at_or_below_it)
{
    static const size_t partitions[] = { 1, 2, 3, 48, 1000 };
    for (enum pattern pattern = 0; pattern < PATTERNS; pattern++) {
        unsigned char *records = records_make(pattern, 3000);
        unsigned char *keys = keys_of(records, 1500), *chosen = malloc(1000 * KEY_BYTES);
        for (size_t p = 0; p < sizeof partitions / sizeof *partitions; p++) {
            struct splits splits;
            CHECK_EQ(splits_choose(keys, 1500, partitions[p], chosen, &fault), 0);
            CHECK_EQ(splits_init(&splits, chosen, partitions[p], &fault), 0);
            for (size_t i = 0; i < 3000; i++) {
                const unsigned char *key = records + i * RECORD_BYTES;
                CHECK_EQ(splits_partition(&splits, key_load(key)), partition_model(chosen, partitions[p], key));
            }
            for (size_t s = 0; s + 1 < partitions[p]; s++) { /* and exactly on a split */
                const unsigned char *key = chosen + s * KEY_BYTES;
                CHECK_EQ(splits_partition(&splits, key_load(key)), partition_model(chosen, partitions[p], key));
            }
            splits_fini(&splits);
        }
        free(records);
        free(keys);
        free(chosen);
    }
}

TEST(splits, the_most_partitions_that_are_possible_can_be_told_apart)
{
    unsigned char *chosen = malloc((size_t)SPLITS_PARTITIONS_MAX * KEY_BYTES), key[KEY_BYTES];
    for (size_t s = 0; s + 1 < SPLITS_PARTITIONS_MAX; s++) {
        key_store(chosen + s * KEY_BYTES, (uint64_t)(s + 1) << 44, s & 7);
    }
    struct splits splits;
    CHECK_EQ(splits_init(&splits, chosen, SPLITS_PARTITIONS_MAX, &fault), 0);
    for (size_t s = 0; s + 1 < SPLITS_PARTITIONS_MAX; s++) {
        CHECK_EQ(splits_partition(&splits, key_load(chosen + s * KEY_BYTES)), s + 1);
        key_store(key, ((uint64_t)(s + 1) << 44) - 1, 0xffff);
        CHECK_EQ(splits_partition(&splits, key_load(key)), s);
    }
    splits_fini(&splits);
    free(chosen);
}

TEST(splits, distinct_keys_are_shared_out_evenly_however_alike_they_are)
{
    static const enum pattern patterns[] = { PATTERN_RANDOM,     PATTERN_PRINTABLE, PATTERN_SIX_SHARED,
                                             PATTERN_MAGNITUDES, PATTERN_ASCENDING, PATTERN_DESCENDING };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        unsigned char *records = records_make(patterns[i], MANY);
        size_t *sizes = partition_sizes(records, MANY, 48);
        CHECK(largest_of(sizes, 48) <= MANY / 48 * 11 / 10);
        free(records);
        free(sizes);
    }
}

TEST(splits, a_heavy_key_leaves_the_other_partitions_even)
{
    unsigned char *records = records_make(PATTERN_HEAVY, MANY);
    size_t *sizes = partition_sizes(records, MANY, 49);
    size_t heavy = 0;
    for (size_t p = 0; p < 49; p++) {
        if (sizes[p] > MANY / 4) {
            heavy++;
        } else {
            CHECK(sizes[p] <= MANY / 49 * 2); /* a fair share before, half of that when the heavy key is taken off */
        }
    }
    CHECK_EQ(heavy, 1);
    free(records);
    free(sizes);
}

TEST(splits, fewer_keys_than_partitions_get_one_each)
{
    unsigned char *records = records_make(PATTERN_TWO, 1000);
    size_t *sizes = partition_sizes(records, 1000, 5);
    CHECK(sizes[0] > 400 && sizes[1] > 400);
    CHECK_EQ(sizes[0] + sizes[1], 1000);
    free(records);
    free(sizes);
    records = records_make(PATTERN_EQUAL, 1000);
    sizes = partition_sizes(records, 1000, 5);
    CHECK_EQ(sizes[0], 1000);
    free(records);
    free(sizes);
}

TEST(splits, an_empty_sample_puts_everything_into_the_first_partition)
{
    unsigned char chosen[2 * KEY_BYTES], key[KEY_BYTES] = { 0xfe };
    struct splits splits;
    CHECK_EQ(splits_choose(NULL, 0, 3, chosen, &fault), 0);
    CHECK_EQ(splits_init(&splits, chosen, 3, &fault), 0);
    CHECK_EQ(splits_partition(&splits, key_load(key)), 0);
    splits_fini(&splits);
}

TEST(splits, impossible_partitions_and_disordered_splits_are_refused)
{
    unsigned char chosen[2 * KEY_BYTES] = { 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
    struct splits splits;
    CHECK_EQ(splits_choose(NULL, 0, 0, chosen, &fault), -EINVAL);
    CHECK_EQ(splits_choose(NULL, 0, (size_t)SPLITS_PARTITIONS_MAX + 1, chosen, &fault), -EINVAL);
    CHECK_TEXT(fault.text, "65537 partitions: 1 to 65536 are possible");
    CHECK_EQ(splits_init(&splits, chosen, 0, &fault), -EINVAL);
    CHECK_EQ(splits_init(&splits, chosen, 3, &fault), -EINVAL);
    CHECK_TEXT(fault.text, "split 1 lies below split 0");
}

TEST(splits, a_sample_takes_one_key_from_each_stretch_and_is_repeatable)
{
    unsigned char *records = records_make(PATTERN_ASCENDING, 1003);
    unsigned char keys[100 * KEY_BYTES], again[100 * KEY_BYTES];
    CHECK_EQ(splits_sample(records, 1003, 100, keys), 100);
    CHECK_EQ(splits_sample(records, 1003, 100, again), 100);
    CHECK(memcmp(keys, again, sizeof keys) == 0);
    size_t at_the_beginning = 0;
    for (size_t i = 0; i < 100; i++) {
        struct sort_key key = key_load(keys + i * KEY_BYTES);
        size_t record = (size_t)(key.prefix * 3 + key.rest);
        CHECK(record >= 1003 * i / 100 && record < 1003 * (i + 1) / 100);
        at_the_beginning += record == 1003 * i / 100;
    }
    CHECK(at_the_beginning < 50);
    free(records);
}

TEST(splits, a_sample_of_few_records_has_each_once)
{
    unsigned char *records = records_make(PATTERN_ASCENDING, 7), keys[7 * KEY_BYTES];
    CHECK_EQ(splits_sample(records, 7, 100, keys), 7);
    for (size_t i = 0; i < 7; i++) {
        CHECK(memcmp(keys + i * KEY_BYTES, records + i * RECORD_BYTES, KEY_BYTES) == 0);
    }
    CHECK_EQ(splits_sample(records, 0, 100, keys), 0);
    free(records);
}
