/* record.h - what the kernels of the sort job share: the record, its key, a piece of records, a failure
 *
 * A record is 100 bytes of which the first 10 are the key; keys are ordered as memcmp orders them. A kernel reads a key
 * once, as two big-endian numbers, and compares numbers from then on.
 *
 * Kernels know nothing of Roost, so that they can be measured and tested without a cluster: a failing one returns a
 * negative errno value and leaves its words in a struct sort_fault, which a task hands to roost_fail(). */
#ifndef ROOST_EXAMPLES_SORT_RECORD_H
#define ROOST_EXAMPLES_SORT_RECORD_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { RECORD_BYTES = 100, KEY_BYTES = 10 };

/* Why a kernel failed; written only then. */
struct sort_fault {
    char text[256];
};

/* Writes the words, cut to the room there is, and returns `status`. Keeps errno. */
int sort_fail(struct sort_fault *fault, int status, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

/* Records in a row, anywhere in memory and aligned to nothing. `size` is in bytes, a multiple of 100, and may be 0, in
 * which case `data` may be NULL. */
struct sort_piece {
    const void *data;
    size_t size;
};

/* A key as a number: `prefix` is bytes 0..7, `rest` bytes 8..9. */
struct sort_key {
    uint64_t prefix, rest;
};

static inline struct sort_key key_load(const void *key)
{
    uint64_t prefix;
    uint16_t rest;
    memcpy(&prefix, key, sizeof prefix);
    memcpy(&rest, (const unsigned char *)key + sizeof prefix, sizeof rest);
    return (struct sort_key){ be64toh(prefix), be16toh(rest) };
}

/* a <= b, without a branch. */
static inline bool key_is_at_most(struct sort_key a, struct sort_key b)
{
    return ((unsigned __int128)a.prefix << 64 | a.rest) <= ((unsigned __int128)b.prefix << 64 | b.rest);
}

/* The number of records in `size` bytes.
 * Errors: -EINVAL  `size` is no multiple of 100 */
int records_count(size_t size, size_t *count_out, struct sort_fault *fault);

#endif
