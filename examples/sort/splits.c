/* splits.c - chooses split keys from a sample and indexes them for looking keys up
 *
 * Owns the keys of a struct splits. Choosing walks the sorted sample in groups of equal keys and closes a partition
 * where it comes closest to a fair share of what is left; the share is worked out again after each cut, so a heavy key
 * takes one partition and does not starve those behind it.
 *
 * Failures:   bad counts, no memory: reported, nothing kept.
 * Invariants: first[] ascends from 0 to the number of splits; each split lies in the bucket that first[] says.
 * Thread:     any; a finished struct splits is only read.
 */
#include "examples/sort/splits.h"

#include <errno.h>
#include <stdlib.h>

static int keys_compare(const void *a, const void *b) { return memcmp(a, b, KEY_BYTES); }

/* splitmix64's finaliser: a place in a stretch that no regular input can have been built around by accident */
static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

size_t splits_sample(const void *records, size_t records_count, size_t keys_count, unsigned char *keys_out)
{
    size_t count = keys_count < records_count ? keys_count : records_count;
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)((unsigned __int128)records_count * i / count);
        size_t end = (size_t)((unsigned __int128)records_count * (i + 1) / count);
        size_t record = begin + (size_t)(scramble(i) % (end - begin));
        memcpy(keys_out + i * KEY_BYTES, (const unsigned char *)records + record * RECORD_BYTES, KEY_BYTES);
    }
    return count;
}

static int partitions_check(size_t partitions, struct sort_fault *fault)
{
    if (partitions == 0 || partitions > SPLITS_PARTITIONS_MAX) {
        return sort_fail(fault, -EINVAL, "%zu partitions: 1 to %d are possible", partitions, SPLITS_PARTITIONS_MAX);
    }
    return 0;
}

/* Where the group of keys equal to the one at `at` ends. */
static size_t group_end(const unsigned char *sample, size_t count, size_t at)
{
    size_t end = at + 1;
    while (end < count && memcmp(sample + end * KEY_BYTES, sample + at * KEY_BYTES, KEY_BYTES) == 0) {
        end++;
    }
    return end;
}

int splits_choose(unsigned char *sample, size_t sample_count, size_t partitions, unsigned char *splits_out,
                  struct sort_fault *fault)
{
    int status = partitions_check(partitions, fault);
    if (status != 0) {
        return status;
    }
    if (sample_count > 0) {
        qsort(sample, sample_count, KEY_BYTES, keys_compare);
    }
    size_t wanted = partitions - 1, chosen = 0, opened = 0; /* opened: where the partition in the making begins */
    for (size_t at = 0, end; at < sample_count && chosen < wanted; at = end) {
        end = group_end(sample, sample_count, at);
        /* Twice the distances from the fair share without and with this group, so that nothing is rounded:
         * share = (sample_count - opened) / left, without = at - opened, with = end - opened. */
        size_t left = partitions - chosen;
        size_t twice_share = 2 * (sample_count - opened) / left;
        if (at > opened && (at - opened) + (end - opened) > twice_share) {
            memcpy(splits_out + chosen++ * KEY_BYTES, sample + at * KEY_BYTES, KEY_BYTES);
            opened = at;
        }
    }
    memset(splits_out + chosen * KEY_BYTES, 0xff, (wanted - chosen) * KEY_BYTES);
    return 0;
}

static void index_build(struct splits *splits)
{
    size_t count = splits->partitions - 1;
    uint64_t range = count > 0 ? splits->keys[count - 1].prefix - splits->base : 0;
    unsigned range_bits = range == 0 ? 0 : 64 - (unsigned)__builtin_clzll(range);
    splits->shift = range_bits > SPLITS_INDEX_BITS ? range_bits - SPLITS_INDEX_BITS : 0;
    size_t at = 0;
    for (uint64_t bucket = 0; bucket <= 1u << SPLITS_INDEX_BITS; bucket++) {
        while (at < count && (splits->keys[at].prefix - splits->base) >> splits->shift < bucket) {
            at++;
        }
        splits->first[bucket] = (uint16_t)at;
    }
}

int splits_init(struct splits *splits_out, const unsigned char *splits, size_t partitions, struct sort_fault *fault)
{
    int status = partitions_check(partitions, fault);
    if (status != 0) {
        return status;
    }
    size_t count = partitions - 1;
    struct sort_key *keys = malloc((count + 1) * sizeof *keys);
    if (keys == NULL) {
        return sort_fail(fault, -ENOMEM, "no memory for %zu split keys", count);
    }
    for (size_t i = 0; i < count; i++) {
        keys[i] = key_load(splits + i * KEY_BYTES);
        if (i > 0 && !key_is_at_most(keys[i - 1], keys[i])) {
            free(keys);
            return sort_fail(fault, -EINVAL, "split %zu lies below split %zu", i, i - 1);
        }
    }
    splits_out->partitions = partitions;
    splits_out->keys = keys;
    splits_out->base = count > 0 ? keys[0].prefix : 0;
    index_build(splits_out);
    return 0;
}

void splits_fini(struct splits *splits)
{
    free(splits->keys);
    splits->keys = NULL;
}
