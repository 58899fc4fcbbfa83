#include "examples/sort/radix.h"
#include "tests/unit/examples/sort/records.h"

#include <errno.h>

static struct sort_fault fault;

/* By key, and records of equal keys by where they are: pieces are cut from one array, in order. */
static int model_compare(const void *a, const void *b)
{
    const unsigned char *left = *(const unsigned char *const *)a, *right = *(const unsigned char *const *)b;
    int order = memcmp(left, right, KEY_BYTES);
    return order != 0 ? order : left < right ? -1 : left > right;
}

static void check_against_model(const unsigned char *records, const struct sort_piece *pieces, size_t pieces_count,
                                size_t count, struct radix_memory *memory)
{
    const unsigned char **model = malloc((count + 1) * sizeof *model);
    for (size_t i = 0; i < count; i++) {
        model[i] = records + i * RECORD_BYTES;
    }
    qsort(model, count, sizeof *model, model_compare);
    const struct sort_entry *sorted = NULL;
    size_t sorted_count = SIZE_MAX;
    CHECK_EQ(radix_sort(pieces, pieces_count, memory, &sorted, &sorted_count, &fault), 0);
    CHECK_EQ(sorted_count, count);
    for (size_t i = 0; i < count; i++) {
        CHECK(entry_record(sorted[i]) == model[i]);
        CHECK(memcmp(&(struct sort_key){ entry_key(sorted[i]).prefix, entry_key(sorted[i]).rest },
                     &(struct sort_key){ key_load(model[i]).prefix, key_load(model[i]).rest },
                     sizeof(struct sort_key)) == 0);
    }
    free(model);
}

TEST(radix, every_pattern_and_size_is_sorted_and_equal_keys_keep_their_order)
{
    static const size_t counts[] = { 1, 2, 3, 24, 25, 26, 100, 1000, 5000, 60000 };
    struct radix_memory memory = { NULL, 0 };
    for (enum pattern pattern = 0; pattern < PATTERNS; pattern++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            unsigned char *records = records_make(pattern, counts[i]);
            struct sort_piece piece = { records, counts[i] * RECORD_BYTES };
            check_against_model(records, &piece, 1, counts[i], &memory);
            free(records);
        }
    }
    radix_memory_release(&memory);
}

TEST(radix, pieces_are_one_sequence_and_empty_ones_do_not_matter)
{
    enum { COUNT = 10000, PIECES = 30 };
    unsigned char *records = records_make(PATTERN_CLUSTERS, COUNT);
    struct sort_piece pieces[2 * PIECES + 1] = { { NULL, 0 } };
    struct radix_memory memory = { NULL, 0 };
    for (size_t p = 0; p < PIECES; p++) {
        size_t begin = COUNT * p * p / PIECES / PIECES, end = COUNT * (p + 1) * (p + 1) / PIECES / PIECES;
        pieces[2 * p + 1] = (struct sort_piece){ records + begin * RECORD_BYTES, (end - begin) * RECORD_BYTES };
        pieces[2 * p + 2] = (struct sort_piece){ records, 0 };
    }
    check_against_model(records, pieces, 2 * PIECES + 1, COUNT, &memory);
    radix_memory_release(&memory);
    free(records);
}

TEST(radix, runs_within_runs_are_sorted_down_to_the_last_bit)
{
    /* from the top: 20 keys per step, and each step's keys agree in ever more of the topmost bits */
    enum { COUNT = 64 * 40 };
    unsigned char *records = records_make(PATTERN_RANDOM, COUNT);
    uint64_t state = 5;
    for (size_t i = 0; i < COUNT; i++) {
        unsigned depth = (unsigned)(i % 64);
        uint64_t high = depth == 0 ? 0 : UINT64_MAX << (64 - depth);
        key_store(records + i * RECORD_BYTES, high | (random_next(&state) & 1), random_next(&state) & 3);
    }
    struct sort_piece piece = { records, COUNT * RECORD_BYTES };
    struct radix_memory memory = { NULL, 0 };
    check_against_model(records, &piece, 1, COUNT, &memory);
    radix_memory_release(&memory);
    free(records);
}

TEST(radix, nothing_is_sorted_to_nothing)
{
    struct radix_memory memory = { NULL, 0 };
    check_against_model(NULL, NULL, 0, 0, &memory);
    struct sort_piece empty[2] = { { NULL, 0 }, { NULL, 0 } };
    check_against_model(NULL, empty, 2, 0, &memory);
    radix_memory_release(&memory);
}

TEST(radix, half_a_record_is_refused_with_the_number_of_its_piece)
{
    unsigned char *records = records_make(PATTERN_RANDOM, 2);
    struct sort_piece pieces[2] = { { records, 100 }, { records + 100, 99 } };
    struct radix_memory memory = { NULL, 0 };
    const struct sort_entry *sorted;
    size_t count;
    CHECK_EQ(radix_sort(pieces, 2, &memory, &sorted, &count, &fault), -EINVAL);
    CHECK_TEXT(fault.text, "piece 1 of 2: 99 bytes are no whole number of 100-byte records");
    CHECK(memory.base == NULL);
    free(records);
}

TEST(radix, a_piece_that_no_entry_can_point_to_is_refused)
{
    struct sort_piece piece = { (const void *)((uintptr_t)1 << 50), RECORD_BYTES };
    struct radix_memory memory = { NULL, 0 };
    const struct sort_entry *sorted;
    size_t count;
    CHECK_EQ(radix_sort(&piece, 1, &memory, &sorted, &count, &fault), -EINVAL);
}

TEST(radix, memory_is_kept_for_less_grown_for_more_and_refused_when_there_is_none)
{
    struct radix_memory memory = { NULL, 0 };
    CHECK_EQ(radix_memory_reserve(&memory, 100000, &fault), 0);
    CHECK(memory.size_bytes >= 100000 * 32);
    void *base = memory.base;
    CHECK_EQ(radix_memory_reserve(&memory, 10, &fault), 0);
    CHECK(memory.base == base);
    size_t before = memory.size_bytes;
    CHECK_EQ(radix_memory_reserve(&memory, 1000000, &fault), 0);
    CHECK(memory.size_bytes > before);
    CHECK_EQ(radix_memory_reserve(&memory, (size_t)1 << 45, &fault), -ENOMEM); /* more than an address space */
    CHECK(memory.base == NULL);
    CHECK_EQ(radix_memory_reserve(&memory, SIZE_MAX / 8, &fault), -ENOMEM); /* a product that overflows */
    radix_memory_release(&memory);
}
