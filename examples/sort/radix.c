/* radix.c - sorts entries by their 10-byte keys
 *
 * Happy path: the lowest prefix is taken off all prefixes, then the topmost bits of what is left (about ten more than
 * it takes to number the entries, at most 33) are sorted in two or three stable counting passes of at most 11 bits
 * each. Random keys are then almost in order; one more look finds the runs that are still equal in those bits and puts
 * them in order by insertion. Skewed keys: a longer run is sorted in the same way by the bits that its own keys differ
 * in. A run lies within the bits that were left out, so each level has at least 15 bits fewer to go and five levels see
 * all 64. Keys that share all of the prefix: one or two passes over the last two bytes.
 *
 * Failures:   bad pieces, no memory: reported before anything is sorted.
 * Invariants: every pass is stable, and insertion moves only past greater keys.
 * Thread:     any; the memory is the caller's.
 */
#include "examples/sort/radix.h"

#include <errno.h>
#include <sys/mman.h>

enum {
    DIGIT_BITS_MAX = 11, /* 2,048 streams of output: their lines fit a second-level cache, their pages its TLB */
    DIGITS_MAX = 3,
    SPARE_BITS = 10, /* beyond those that number the entries: one random key in 1,000 still has an equal neighbour */
    INSERTION_MAX = 24,
    HUGE_PAGE_BYTES = 2 << 20,
};

struct digits {
    uint64_t base;  /* taken off every prefix */
    unsigned shift; /* the lowest bit that is looked at */
    unsigned bits;  /* of one digit */
    unsigned count; /* digits; 0: all prefixes are equal */
};

static unsigned bits_of(uint64_t value) { return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value); }

/* ---- memory ---- */

int radix_memory_reserve(struct radix_memory *memory, size_t records_count, struct sort_fault *fault)
{
    size_t wanted;
    if (__builtin_mul_overflow(records_count, 2 * sizeof(struct sort_entry), &wanted) ||
        wanted > SIZE_MAX / 2 - HUGE_PAGE_BYTES) {
        return sort_fail(fault, -ENOMEM, "no memory to sort %zu records", records_count);
    }
    if (wanted <= memory->size_bytes) {
        return 0;
    }
    radix_memory_release(memory);
    wanted += wanted / 4; /* partitions differ a little; growing for each that is a little larger would be dear */
    wanted = (wanted + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    void *base = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return sort_fail(fault, -ENOMEM, "no memory to sort %zu records: %zu bytes", records_count, wanted);
    }
    madvise(base, wanted, MADV_HUGEPAGE); /* a wish: without it sorting only takes longer */
    memory->base = base;
    memory->size_bytes = wanted;
    return 0;
}

void radix_memory_release(struct radix_memory *memory)
{
    if (memory->base != NULL) {
        munmap(memory->base, memory->size_bytes);
    }
    *memory = (struct radix_memory){ NULL, 0 };
}

/* ---- small runs ---- */

static void insertion_sort(struct sort_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct sort_entry entry = entries[i];
        size_t at = i;
        while (at > 0 && !key_is_at_most(entry_key(entries[at - 1]), entry_key(entry))) {
            entries[at] = entries[at - 1];
            at--;
        }
        entries[at] = entry;
    }
}

/* ---- counting passes ---- */

/* One digit of a prefix; by value, so that a loop keeps it in registers whatever it writes. */
struct digit {
    uint64_t base, mask;
    unsigned shift;
};

static inline struct digit digit_at(const struct digits *digits, unsigned digit)
{
    return (struct digit){ digits->base, (UINT64_C(1) << digits->bits) - 1, digits->shift + digit * digits->bits };
}

static inline size_t digit_of(struct digit digit, struct sort_entry entry)
{
    return (entry.prefix - digit.base) >> digit.shift & digit.mask;
}

/* Turns counts into places. True when one value has all entries: then the pass would change nothing. */
static bool places_from_counts(uint32_t *counts, size_t values, size_t entries_count)
{
    uint32_t place = 0;
    bool is_idle = false;
    for (size_t value = 0; value < values; value++) {
        uint32_t count = counts[value];
        is_idle |= count == entries_count;
        counts[value] = place;
        place += count;
    }
    return is_idle;
}

/* Counts all digits in one look at the entries. */
static void digits_count(const struct digits *digits, const struct sort_entry *entries, size_t count,
                         uint32_t counts[DIGITS_MAX][1 << DIGIT_BITS_MAX])
{
    for (unsigned d = 0; d < digits->count; d++) {
        memset(counts[d], 0, sizeof counts[d][0] << digits->bits);
    }
    struct digit low = digit_at(digits, 0), middle = digit_at(digits, 1), high = digit_at(digits, 2);
    if (digits->count == DIGITS_MAX) { /* nearly all entries of a big sort pass here */
        for (size_t i = 0; i < count; i++) {
            struct sort_entry entry = entries[i];
            counts[0][digit_of(low, entry)]++;
            counts[1][digit_of(middle, entry)]++;
            counts[2][digit_of(high, entry)]++;
        }
        return;
    }
    for (unsigned d = 0; d < digits->count; d++) {
        struct digit digit = digit_at(digits, d);
        for (size_t i = 0; i < count; i++) {
            counts[d][digit_of(digit, entries[i])]++;
        }
    }
}

/* Sorts by all digits, from the lowest. Returns the array of the two that holds the result. */
static struct sort_entry *digits_sort(const struct digits *digits, struct sort_entry *from, struct sort_entry *to,
                                      size_t count)
{
    uint32_t counts[DIGITS_MAX][1 << DIGIT_BITS_MAX];
    digits_count(digits, from, count, counts);
    for (unsigned d = 0; d < digits->count; d++) {
        struct digit digit = digit_at(digits, d);
        uint32_t *place = counts[d];
        if (places_from_counts(place, (size_t)1 << digits->bits, count)) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            struct sort_entry entry = from[i];
            to[place[digit_of(digit, entry)]++] = entry;
        }
        struct sort_entry *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* By the last two bytes of the key alone: all prefixes are equal. */
static struct sort_entry *rest_sort(struct sort_entry *from, struct sort_entry *to, size_t count)
{
    for (unsigned shift = 48; shift < 64; shift += 8) {
        uint32_t place[256] = { 0 };
        for (size_t i = 0; i < count; i++) {
            place[from[i].rest_and_address >> shift & 255]++;
        }
        if (places_from_counts(place, 256, count)) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            to[place[from[i].rest_and_address >> shift & 255]++] = from[i];
        }
        struct sort_entry *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static struct digits digits_choose(uint64_t lowest, uint64_t highest, size_t count)
{
    struct digits digits = { .base = lowest };
    unsigned range = bits_of(highest - lowest), useful = bits_of(count) + SPARE_BITS;
    unsigned most = DIGITS_MAX * DIGIT_BITS_MAX;
    unsigned bits = useful < most ? useful : most;
    bits = bits < range ? bits : range;
    digits.count = (bits + DIGIT_BITS_MAX - 1) / DIGIT_BITS_MAX;
    digits.bits = digits.count == 0 ? 0 : (bits + digits.count - 1) / digits.count;
    unsigned looked_at = digits.bits * digits.count;
    digits.shift = range > looked_at ? range - looked_at : 0;
    return digits;
}

static struct sort_entry *range_sort(struct sort_entry *from, struct sort_entry *to, size_t count, uint64_t lowest,
                                     uint64_t highest);

/* Puts a run of entries that are equal in the bits looked at in order, in place. */
static void run_sort(struct sort_entry *run, struct sort_entry *spare, size_t count)
{
    if (count <= INSERTION_MAX) {
        insertion_sort(run, count);
        return;
    }
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (size_t i = 0; i < count; i++) {
        lowest = run[i].prefix < lowest ? run[i].prefix : lowest;
        highest = run[i].prefix > highest ? run[i].prefix : highest;
    }
    const struct sort_entry *sorted = range_sort(run, spare, count, lowest, highest);
    if (sorted != run) {
        memcpy(run, sorted, count * sizeof *run);
    }
}

/* Finds the runs and puts each in order. */
static void runs_sort(const struct digits *digits, struct sort_entry *entries, struct sort_entry *spare, size_t count)
{
    for (size_t begin = 0, end; begin < count; begin = end) {
        uint64_t top = (entries[begin].prefix - digits->base) >> digits->shift;
        for (end = begin + 1; end < count && (entries[end].prefix - digits->base) >> digits->shift == top;) {
            end++;
        }
        if (end - begin > 1) {
            run_sort(entries + begin, spare + begin, end - begin);
        }
    }
}

/* Sorts entries whose prefixes span lowest..highest. Returns the array of the two that holds the result. */
static struct sort_entry *range_sort(struct sort_entry *from, struct sort_entry *to, size_t count, uint64_t lowest,
                                     uint64_t highest)
{
    if (lowest >= highest) {
        return rest_sort(from, to, count);
    }
    struct digits digits = digits_choose(lowest, highest, count);
    struct sort_entry *sorted = digits_sort(&digits, from, to, count);
    runs_sort(&digits, sorted, sorted == from ? to : from, count);
    return sorted;
}

/* ---- entries ---- */

static int pieces_count_records(const struct sort_piece *pieces, size_t pieces_count, size_t *count_out,
                                struct sort_fault *fault)
{
    size_t sum = 0;
    for (size_t p = 0; p < pieces_count; p++) {
        uint64_t end = (uint64_t)(uintptr_t)pieces[p].data + pieces[p].size;
        if (pieces[p].size % RECORD_BYTES != 0) {
            return sort_fail(fault, -EINVAL, "piece %zu of %zu: %zu bytes are no whole number of %d-byte records", p,
                             pieces_count, pieces[p].size, RECORD_BYTES);
        }
        if (pieces[p].size > 0 && end >> 48 != 0) {
            return sort_fail(fault, -EINVAL, "piece %zu of %zu lies above 2^48, where an entry cannot point", p,
                             pieces_count);
        }
        sum += pieces[p].size / RECORD_BYTES;
    }
    if (sum > UINT32_MAX) {
        return sort_fail(fault, -EINVAL, "%zu records: at most %u can be sorted at once", sum, UINT32_MAX);
    }
    *count_out = sum;
    return 0;
}

/* Writes an entry for each record of a piece; returns where the next goes. Widens lowest and highest. */
static struct sort_entry *entries_add(struct sort_entry *to, struct sort_piece piece, uint64_t *lowest,
                                      uint64_t *highest)
{
    uint64_t low = *lowest, high = *highest;
    const unsigned char *end = (const unsigned char *)piece.data + piece.size;
    for (const unsigned char *record = piece.data; record != end; record += RECORD_BYTES) {
        struct sort_key key = key_load(record);
        *to++ = (struct sort_entry){ key.prefix, key.rest << 48 | (uint64_t)(uintptr_t)record };
        low = key.prefix < low ? key.prefix : low;
        high = key.prefix > high ? key.prefix : high;
    }
    *lowest = low;
    *highest = high;
    return to;
}

int radix_sort(const struct sort_piece *pieces, size_t pieces_count, struct radix_memory *memory,
               const struct sort_entry **sorted_out, size_t *sorted_count_out, struct sort_fault *fault)
{
    size_t count = 0;
    int status = pieces_count_records(pieces, pieces_count, &count, fault);
    if (status == 0) {
        status = radix_memory_reserve(memory, count, fault);
    }
    if (status != 0) {
        return status;
    }
    struct sort_entry *entries = memory->base, *at = entries;
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (size_t p = 0; p < pieces_count; p++) {
        if (pieces[p].size > 0) {
            at = entries_add(at, pieces[p], &lowest, &highest);
        }
    }
    *sorted_out = count <= 1 ? entries : range_sort(entries, entries + count, count, lowest, highest);
    *sorted_count_out = count;
    return 0;
}
