#include "examples/sort/gather.h"
#include "tests/unit/examples/sort/records.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* write() as the program under test calls it: the linker's --wrap sends it here. */
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);

static size_t write_bytes_max = SIZE_MAX;
static unsigned write_calls, write_interrupts_every;

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    write_calls++;
    if (write_interrupts_every != 0 && write_calls % write_interrupts_every == 0) {
        errno = EINTR;
        return -1;
    }
    return __real_write(fd, bytes, size < write_bytes_max ? size : write_bytes_max);
}

static struct sort_fault fault;

/* Entries that name the records from the last to the first. To be freed. */
static struct sort_entry *entries_backwards(const unsigned char *records, size_t count)
{
    struct sort_entry *entries = malloc((count + 1) * sizeof *entries);
    CHECK(entries != NULL);
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct sort_entry){ 0, (uint64_t)0xffff << 48 |
                                                 (uintptr_t)(records + (count - 1 - i) * RECORD_BYTES) };
    }
    return entries;
}

static void check_written(int fd, const unsigned char *records, size_t count)
{
    unsigned char record[RECORD_BYTES];
    for (size_t i = 0; i < count; i++) {
        CHECK_EQ(pread(fd, record, sizeof record, (off_t)(i * RECORD_BYTES)), RECORD_BYTES);
        CHECK(memcmp(record, records + (count - 1 - i) * RECORD_BYTES, RECORD_BYTES) == 0);
    }
    CHECK_EQ(lseek(fd, 0, SEEK_END), count * RECORD_BYTES);
}

static void check_gather(size_t count)
{
    unsigned char *records = records_make(PATTERN_RANDOM, count);
    struct sort_entry *entries = entries_backwards(records, count);
    int fd = memfd_create("gather", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(gather_write(entries, count, fd, "out", &fault), 0);
    check_written(fd, records, count);
    close(fd);
    free(records);
    free(entries);
}

TEST(gather, records_are_written_in_the_order_of_their_entries)
{
    static const size_t counts[] = { 0, 1, 15, 16, 17, 2620, 2621, 2622, 9000 }; /* 2621 fill the buffer */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_gather(counts[i]);
    }
    CHECK_EQ(write_calls, 0 + 6 + 2 + 4);
}

TEST(gather, short_and_interrupted_writes_lose_nothing)
{
    write_bytes_max = 777;
    write_interrupts_every = 3;
    check_gather(6000);
    CHECK(write_calls > 6000 * RECORD_BYTES / 777);
}

TEST(gather, a_full_disk_is_reported_with_the_path)
{
    unsigned char *records = records_make(PATTERN_RANDOM, 10);
    struct sort_entry *entries = entries_backwards(records, 10);
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(gather_write(entries, 10, fd, "/data/part-7", &fault), -ENOSPC);
    CHECK_TEXT(fault.text, "cannot write /data/part-7: No space left on device (0 of 1000 bytes written)");
    close(fd);
    free(records);
    free(entries);
}

TEST(gather, what_was_written_before_the_failure_is_counted)
{
    enum { COUNT = 5000, LIMIT = 300001 };
    unsigned char *records = records_make(PATTERN_RANDOM, COUNT);
    struct sort_entry *entries = entries_backwards(records, COUNT);
    char path[] = "gather-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(path), 0);
    struct rlimit limit = { LIMIT, LIMIT };
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_EQ(gather_write(entries, COUNT, fd, "out", &fault), -EFBIG);
    CHECK_TEXT(fault.text, "cannot write out: File too large (300001 of 500000 bytes written)");
    CHECK_EQ(lseek(fd, 0, SEEK_END), LIMIT);
    close(fd);
    free(records);
    free(entries);
}

TEST(gather, a_pipe_nobody_reads_is_an_error_and_no_hang)
{
    int ends[2];
    unsigned char *records = records_make(PATTERN_RANDOM, 1);
    struct sort_entry *entries = entries_backwards(records, 1);
    signal(SIGPIPE, SIG_IGN);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    CHECK_EQ(gather_write(entries, 1, ends[1], "a pipe", &fault), -EPIPE);
    close(ends[1]);
    free(records);
    free(entries);
}
