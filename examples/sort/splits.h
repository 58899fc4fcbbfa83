/* splits.h - which partition a key belongs to
 *
 * R partitions are told apart by R - 1 split keys in ascending order: partition p holds the keys that at least p splits
 * are at or below. Equal keys are therefore always in one partition, and a repeated split makes an empty one.
 *
 * The driver samples and chooses; the chosen keys travel to the tasks as they are, 10 bytes each; each task builds a
 * struct splits from them, which is the form for looking keys up. */
#ifndef ROOST_EXAMPLES_SORT_SPLITS_H
#define ROOST_EXAMPLES_SORT_SPLITS_H

#include "examples/sort/record.h"

enum {
    SPLITS_PARTITIONS_MAX = 1 << 16, /* a partition number is a uint16_t */
    SPLITS_INDEX_BITS = 12,          /* 8 KiB of index: a quarter of a first-level cache */
};

/* Copies the keys of `keys_count` records out of `records`, one from a pseudo-random place in each of that many equal
 * stretches, so that no period of the input can fool it. The same input gives the same keys. When there are fewer
 * records than asked for, every key once. With k keys for each partition the largest partition of random input is about
 * 1 + 2.5 / sqrt(k) times the average: 200 give 1.16, 1,000 give 1.08. Returns how many keys were written to keys_out,
 * 10 bytes each. */
size_t splits_sample(const void *records, size_t records_count, size_t keys_count, unsigned char *keys_out);

/* Chooses partitions - 1 split keys, written to splits_out (10 bytes each, ascending) such that partitions of the
 * sample are as even as its repeated keys allow: a key that is more frequent than a fair share gets a partition that
 * starts and ends with it, and the others share the rest. Spare splits are FF FF ... FF. Sorts `sample` in place.
 *
 * Errors: -EINVAL  partitions is 0 or more than SPLITS_PARTITIONS_MAX */
int splits_choose(unsigned char *sample, size_t sample_count, size_t partitions, unsigned char *splits_out,
                  struct sort_fault *fault);

/* For looking up. About 8 KiB and 16 bytes for each split. */
struct splits {
    size_t partitions;
    uint64_t base;  /* prefix of the lowest split */
    unsigned shift; /* bucket of a prefix: (prefix - base) >> shift, clamped at both ends */
    uint16_t first[(1 << SPLITS_INDEX_BITS) + 1]; /* how many splits lie in the buckets before this one */
    struct sort_key *keys;                        /* partitions - 1 of them, owned */
};

/* `splits` are partitions - 1 keys of 10 bytes as chosen above; borrowed for the call. On success the caller owes a
 * splits_fini(); on failure nothing is left.
 *
 * Errors: -EINVAL  partitions is 0 or more than SPLITS_PARTITIONS_MAX, or the splits are not ascending
 *         -ENOMEM */
int splits_init(struct splits *splits_out, const unsigned char *splits, size_t partitions, struct sort_fault *fault);
void splits_fini(struct splits *splits);

/* The partition of a key: one look into the index, and only where splits share the key's bucket a search among those.
 */
static inline uint16_t splits_partition(const struct splits *splits, struct sort_key key)
{
    uint64_t above = key.prefix > splits->base ? key.prefix - splits->base : 0;
    uint64_t bucket = above >> splits->shift;
    const uint64_t last = (1 << SPLITS_INDEX_BITS) - 1;
    bucket = bucket < last ? bucket : last;
    size_t at = splits->first[bucket], left = splits->first[bucket + 1] - at;
    while (left > 0) {
        size_t half = left / 2;
        bool is_above = key_is_at_most(splits->keys[at + half], key);
        at = is_above ? at + half + 1 : at;
        left = is_above ? left - half - 1 : half;
    }
    return (uint16_t)at;
}

#endif
