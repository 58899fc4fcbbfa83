/* gather.c - copies records in sorted order into a buffer that stays in cache, and the buffer to a file
 *
 * Records lie anywhere, so each copy would wait for memory; their lines are asked for some records ahead.
 *
 * Failures:   write() fails or gives nothing: reported with the path and how far it came; what is written stays.
 * Thread:     any; blocks in write().
 */
#include "examples/sort/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    GATHER_AHEAD = 16, /* records; by measurement, anything from 8 to 32 does */
    GATHER_RECORDS = GATHER_BUFFER_BYTES / RECORD_BYTES,
};

/* A record covers two lines, or three. */
static inline void record_prefetch(struct sort_entry entry)
{
    const unsigned char *record = entry_record(entry);
    __builtin_prefetch(record);
    __builtin_prefetch(record + 64);
    __builtin_prefetch(record + RECORD_BYTES - 1);
}

static void records_copy(const struct sort_entry *entries, size_t count, size_t readable, unsigned char *to)
{
    for (size_t i = 0; i < count; i++) {
        if (i + GATHER_AHEAD < readable) {
            record_prefetch(entries[i + GATHER_AHEAD]);
        }
        memcpy(to + i * RECORD_BYTES, entry_record(entries[i]), RECORD_BYTES);
    }
}

/* All of it, however little the kernel takes at a time. 0, or what write() said, negative. */
static int write_all(int fd, const unsigned char *bytes, size_t size, size_t *written_out)
{
    size_t done = 0;
    int status = 0;
    while (done < size && status == 0) {
        ssize_t taken = write(fd, bytes + done, size - done);
        if (taken > 0) {
            done += (size_t)taken;
        } else if (taken == 0) {
            status = -EIO; /* no file of the kernel's does this; without an end it would be a loop */
        } else if (errno != EINTR) {
            status = -errno;
        }
    }
    *written_out += done;
    return status;
}

int gather_write(const struct sort_entry *entries, size_t count, int fd, const char *path, struct sort_fault *fault)
{
    unsigned char *buffer = malloc(GATHER_BUFFER_BYTES);
    if (buffer == NULL) {
        return sort_fail(fault, -ENOMEM, "no memory to write %s", path);
    }
    size_t written = 0;
    int status = 0;
    for (size_t at = 0; at < count && status == 0; at += GATHER_RECORDS) {
        size_t now = count - at < GATHER_RECORDS ? count - at : GATHER_RECORDS;
        records_copy(entries + at, now, count - at, buffer);
        status = write_all(fd, buffer, now * RECORD_BYTES, &written);
    }
    free(buffer);
    if (status != 0) {
        sort_fail(fault, status, "cannot write %s: %s (%zu of %zu bytes written)", path, strerror(-status), written,
                  count * RECORD_BYTES);
    }
    return status;
}
