/* sortgen.c - makes a file of records to sort: the public 100-byte record format of the sort benchmarks
 *
 * Record i is a pure function of i, so any stretch can be made alone: the generator is a linear congruence over 128
 * bits, and a jump of n steps is the n-th power of one step.
 *
 * Happy path: temporary file beside FILE -> threads take chunks and write each where it belongs -> renamed to FILE.
 * Failures:   anything wrong, or SIGINT, SIGTERM, SIGHUP: the temporary file goes, FILE is as it was, exit status 1.
 * Invariants: FILE never holds a part of what was asked for; without --force an existing FILE is never replaced, not
 *             even one that appears meanwhile.
 * Threads:    main and one per further job; they share the chunk counter, the first failure and the sum.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned __int128 u128;

enum {
    RECORD_BYTES = 100,
    CHUNK_RECORDS = 2500, /* 250 KB: made, summed and written while it is in the second-level cache */
    JOBS_MAX = 256,
    SKEW_BYTES = 6,
    SKEW_ROWS = 65, /* one for each bit length of a record number */
    PATH_BYTES = 4096,
};

static const char usage_text[] =
    "usage: sortgen [OPTION]... RECORDS FILE\n"
    "Write RECORDS 100-byte records with 10-byte keys to FILE.\n"
    "\n"
    "  -a, --ascii       printable keys and lines that end in CR LF (the default)\n"
    "  -b, --binary      binary keys and filler, as gensort 1.5 makes them\n"
    "  -s, --skew        three quarters of the keys begin like many others, as those of gensort -s\n"
    "      --first N     begin with record number N instead of 0\n"
    "  -c, --checksum    print the sum of the CRC-32 of all records, in hexadecimal; sortcheck --input-sum\n"
    "                    takes it\n"
    "  -j, --jobs N      threads, 1 to 256 (default: one for each CPU)\n"
    "  -f, --force       replace FILE if it exists\n"
    "  -h, --help\n"
    "\n"
    "FILE appears whole or not at all. Exit status: 0 done, 1 failed, 2 wrong usage.\n";

struct options {
    bool is_binary, is_skewed, prints_sum, is_forced;
    uint64_t first, records;
    unsigned jobs;
    const char *path;
};

static void __attribute__((__format__(__printf__, 1, 2), __noreturn__)) usage_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("sortgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\nTry 'sortgen --help'.\n", stderr);
    va_end(arguments);
    exit(2);
}

/* ---- the generator ---- */

#define U128(high, low) ((u128)(high) << 64 | (low))

/* x -> multiplier * x + increment, modulo 2^128 */
struct step {
    u128 multiplier, increment;
};

static const struct step one_step = { U128(0x2360ed051fc65da4, 0x4385df649fccf645),
                                      U128(0x4a696d4772617952, 0x4950202020202001) };

static u128 step_apply(struct step step, u128 x) { return step.multiplier * x + step.increment; }

/* First a, then b. */
static struct step step_then(struct step a, struct step b)
{
    return (struct step){ b.multiplier * a.multiplier, b.multiplier * a.increment + b.increment };
}

/* The generator's state that belongs to a record: X(number + 1), where X(0) is 0. */
static u128 state_of_record(u128 number)
{
    struct step power = one_step, sum = { 1, 0 };
    for (u128 steps = number + 1; steps != 0; steps >>= 1) {
        if (steps & 1) {
            sum = step_then(sum, power);
        }
        power = step_then(power, power);
    }
    return step_apply(sum, 0);
}

/* ---- records ---- */

static unsigned char skew_rows[SKEW_ROWS][SKEW_BYTES];

/* Eight, or fewer, printable characters: the digits of `value` to base 95, the lowest first. */
static void printable_write(unsigned char *to, uint64_t value, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        to[i] = (unsigned char)(' ' + value % 95);
        value /= 95;
    }
}

/* The beginnings that skewed keys share are those of the keys of the first records. The published checksums of skewed
 * files confirm it, for both formats. */
static void skew_rows_fill(bool is_binary)
{
    u128 state = 0;
    for (unsigned row = 0; row < SKEW_ROWS; row++) {
        state = step_apply(one_step, state);
        uint64_t high = (uint64_t)(state >> 64), big_endian = htobe64(high);
        if (is_binary) {
            memcpy(skew_rows[row], &big_endian, SKEW_BYTES);
        } else {
            printable_write(skew_rows[row], high, SKEW_BYTES);
        }
    }
}

static const unsigned char *skew_row(uint64_t number)
{
    return skew_rows[number == 0 ? 0 : 64 - __builtin_clzll(number)];
}

static void hexadecimal_write(unsigned char *to, uint64_t value, unsigned digits)
{
    for (unsigned i = 0; i < digits; i++) {
        to[i] = (unsigned char)"0123456789ABCDEF"[value >> (4 * (digits - 1 - i)) & 15];
    }
}

static void ascii_record_write(unsigned char *to, uint64_t number, u128 state, bool is_skewed)
{
    uint64_t high = (uint64_t)(state >> 64), low = (uint64_t)state;
    printable_write(to, high, 8);
    printable_write(to + 8, low, 2);
    if (is_skewed) {
        unsigned shared = low >> 32 & 7;
        memcpy(to, skew_row(number), shared == 7 ? 0 : shared);
    }
    memset(to + 10, ' ', 2);
    memset(to + 12, '0', 16); /* record numbers have 128 bits in the format, 64 here */
    hexadecimal_write(to + 28, number, 16);
    memset(to + 44, ' ', 2);
    for (unsigned group = 0; group < 13; group++) {
        uint32_t digit = (unsigned char)"0123456789ABCDEF"[low >> (4 * (12 - group)) & 15];
        digit *= 0x01010101u;
        memcpy(to + 46 + 4 * group, &digit, sizeof digit);
    }
    to[98] = '\r';
    to[99] = '\n';
}

/* The upper ten bytes of a 128-bit number, as high and low part. */
struct ten_bytes {
    uint64_t high;
    uint16_t low;
};

static void ten_bytes_write(unsigned char *to, uint64_t high, uint64_t low)
{
    uint64_t first = htobe64(high);
    uint16_t last = htobe16((uint16_t)(low >> 48));
    memcpy(to, &first, sizeof first);
    memcpy(to + sizeof first, &last, sizeof last);
}

static void binary_key_skew(unsigned char *key, uint64_t number, unsigned bits)
{
    const unsigned char *row = skew_row(number);
    memcpy(key, row, bits / 8);
    if (bits % 8 != 0) {
        unsigned kept = 0xffu >> bits % 8;
        key[bits / 8] = (unsigned char)((row[bits / 8] & ~kept) | (key[bits / 8] & kept));
    }
}

static void binary_record_write(unsigned char *to, uint64_t number, u128 state, bool is_skewed)
{
    static const struct ten_bytes filler[9] = {
        { 0xF0E8E4E2E1D8D4D2, 0xD1CC }, { 0xCAC9C6C5C3B8B4B2, 0xB1AC }, { 0xAAA9A6A5A39C9A99, 0x9695 },
        { 0x938E8D8B87787472, 0x716C }, { 0x6A696665635C5A59, 0x5655 }, { 0x534E4D4B473C3A39, 0x3635 },
        { 0x332E2D2B271E1D1B, 0x170F }, { 0xC8C4C2C198949291, 0x8CE0 }, { 0x170F332E2D2B271E, 0x1D1B },
    };
    ten_bytes_write(to, (uint64_t)(state >> 64), (uint64_t)state);
    if (is_skewed) {
        unsigned bits = (uint64_t)state >> 32 & 63;
        binary_key_skew(to, number, bits > 48 ? 0 : bits);
    }
    for (unsigned chunk = 0; chunk < 9; chunk++) {
        state = step_apply(one_step, state);
        ten_bytes_write(to + 10 * (chunk + 1), (uint64_t)(state >> 64) ^ filler[chunk].high,
                        (uint64_t)state ^ (uint64_t)filler[chunk].low << 48);
    }
}

/* ---- checksum ---- */

static uint32_t crc_tables[4][256]; /* [k][b]: b followed by k zero bytes */

static void crc_tables_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        }
        crc_tables[0][byte] = crc;
    }
    for (int table = 1; table < 4; table++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t before = crc_tables[table - 1][byte];
            crc_tables[table][byte] = before >> 8 ^ crc_tables[0][before & 255];
        }
    }
}

/* zlib's CRC-32, four bytes at a time: 100 is a multiple of that. */
static uint32_t record_crc(const unsigned char *record)
{
    uint32_t crc = UINT32_MAX;
    for (int at = 0; at < RECORD_BYTES; at += 4) {
        crc ^= (uint32_t)record[at] | (uint32_t)record[at + 1] << 8 | (uint32_t)record[at + 2] << 16 |
               (uint32_t)record[at + 3] << 24;
        crc = crc_tables[3][crc & 255] ^ crc_tables[2][crc >> 8 & 255] ^ crc_tables[1][crc >> 16 & 255] ^
              crc_tables[0][crc >> 24];
    }
    return ~crc;
}

/* ---- the work ---- */

struct work {
    const struct options *options;
    int fd;
    atomic_uint_fast64_t next_chunk;
    atomic_int failure; /* errno of the first failed write; the others stop at their next chunk */
    pthread_mutex_t sum_lock;
    u128 sum;
};

/* Makes `count` records from record number `number` on; returns the sum of their CRCs, or 0 when none is wanted. */
static u128 records_make(const struct options *options, unsigned char *to, uint64_t number, size_t count)
{
    u128 state = state_of_record(number), sum = 0;
    for (size_t i = 0; i < count; i++, to += RECORD_BYTES, state = step_apply(one_step, state)) {
        if (options->is_binary) {
            binary_record_write(to, number + i, state, options->is_skewed);
        } else {
            ascii_record_write(to, number + i, state, options->is_skewed);
        }
        sum += options->prints_sum ? record_crc(to) : 0;
    }
    return sum;
}

/* 0, or an errno value. */
static int write_at(int fd, const unsigned char *bytes, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t taken = pwrite(fd, bytes, size, (off_t)offset);
        if (taken < 0 && errno == EINTR) {
            continue;
        }
        if (taken <= 0) {
            return taken == 0 ? EIO : errno;
        }
        bytes += taken;
        size -= (size_t)taken;
        offset += (uint64_t)taken;
    }
    return 0;
}

static void work_fail(struct work *work, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&work->failure, &none, error);
}

static void *work_run(void *argument)
{
    struct work *work = argument;
    const struct options *options = work->options;
    unsigned char *buffer = malloc(CHUNK_RECORDS * RECORD_BYTES);
    if (buffer == NULL) {
        work_fail(work, ENOMEM);
        return NULL;
    }
    u128 sum = 0;
    while (atomic_load(&work->failure) == 0) {
        uint64_t begin = atomic_fetch_add(&work->next_chunk, 1) * CHUNK_RECORDS;
        if (begin >= options->records) {
            break;
        }
        uint64_t left = options->records - begin;
        size_t count = left < CHUNK_RECORDS ? (size_t)left : CHUNK_RECORDS;
        sum += records_make(options, buffer, options->first + begin, count);
        int error = write_at(work->fd, buffer, count * RECORD_BYTES, begin * RECORD_BYTES);
        if (error != 0) {
            work_fail(work, error);
        }
    }
    free(buffer);
    pthread_mutex_lock(&work->sum_lock);
    work->sum += sum;
    pthread_mutex_unlock(&work->sum_lock);
    return NULL;
}

/* Runs the jobs to their end. 0, or an errno value. A thread that cannot be had is one that the others do without. */
static int work_run_all(struct work *work)
{
    pthread_t threads[JOBS_MAX];
    unsigned started = 0;
    while (started + 1 < work->options->jobs && pthread_create(&threads[started], NULL, work_run, work) == 0) {
        started++;
    }
    work_run(work);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    return atomic_load(&work->failure);
}

/* ---- the file ---- */

static char temporary_path[PATH_BYTES];
static volatile sig_atomic_t temporary_exists;

static void temporary_remove(void)
{
    if (temporary_exists) {
        temporary_exists = 0;
        unlink(temporary_path);
    }
}

/* Removes the temporary file, then dies of the same signal: SA_RESETHAND has restored what it does by default. */
static void on_signal(int number)
{
    temporary_remove();
    raise(number);
}

static void signals_prepare(void)
{
    static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
        struct sigaction before;
        if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            sigaction(ending[i], &action, NULL);
        }
    }
    signal(SIGXFSZ, SIG_IGN); /* so that a file size limit is an error of write(), EFBIG */
}

static void __attribute__((__noreturn__)) file_fail(const char *path, int error)
{
    fprintf(stderr, "sortgen: cannot write %s: %s\n", path, strerror(error));
    temporary_remove();
    exit(1);
}

/* Before anything is made: may FILE be written at all? */
static void target_check(const struct options *options)
{
    struct stat about;
    if (lstat(options->path, &about) != 0) {
        return;
    }
    if (!S_ISREG(about.st_mode)) {
        fprintf(stderr, "sortgen: %s exists and is no regular file\n", options->path);
        exit(1);
    }
    if (!options->is_forced) {
        fprintf(stderr, "sortgen: %s exists; --force replaces it\n", options->path);
        exit(1);
    }
}

static int temporary_open(const char *path)
{
    int length = snprintf(temporary_path, sizeof temporary_path, "%s.part-%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary_path) {
        file_fail(path, ENAMETOOLONG);
    }
    temporary_exists = 1; /* before it does, so that no signal falls between */
    int fd = open(temporary_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        temporary_exists = 0; /* it is not ours */
        file_fail(temporary_path, errno);
    }
    return fd;
}

/* Gives the finished file its name. */
static void temporary_publish(const struct options *options)
{
    int status;
    if (options->is_forced) {
        /* ext4 writes a file out before it lets it replace another: 2 to 4 s for 1 GB that is made in 0.6 */
        status = rename(temporary_path, options->path);
    } else {
        status = renameat2(AT_FDCWD, temporary_path, AT_FDCWD, options->path, RENAME_NOREPLACE);
        if (status != 0 && errno == EINVAL) { /* a file system without it; link() does not replace either */
            status = link(temporary_path, options->path);
            if (status == 0) {
                unlink(temporary_path);
            }
        }
    }
    if (status != 0) {
        file_fail(options->path, errno);
    }
    temporary_exists = 0;
}

/* ---- arguments ---- */

/* A decimal number of at most `most`. */
static uint64_t number_parse(const char *what, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') {
        usage_fail("%s is '%s', which is no number", what, text);
    }
    if (errno == ERANGE || value > most) {
        usage_fail("%s is %s; at most %" PRIu64 " is possible", what, text, most);
    }
    return value;
}

static unsigned jobs_default(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < 1 ? 1 : cpus > JOBS_MAX ? JOBS_MAX : (unsigned)cpus;
}

static struct options options_parse(int argc, char **argv)
{
    enum { OPTION_FIRST = 256 };
    static const struct option known[] = {
        { "ascii", no_argument, NULL, 'a' },
        { "binary", no_argument, NULL, 'b' },
        { "skew", no_argument, NULL, 's' },
        { "first", required_argument, NULL, OPTION_FIRST },
        { "checksum", no_argument, NULL, 'c' },
        { "jobs", required_argument, NULL, 'j' },
        { "force", no_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct options options = { .jobs = jobs_default() };
    bool is_ascii = false;
    for (int option; (option = getopt_long(argc, argv, "abscj:fh", known, NULL)) != -1;) {
        switch (option) {
        case 'a':
            is_ascii = true;
            break;
        case 'b':
            options.is_binary = true;
            break;
        case 's':
            options.is_skewed = true;
            break;
        case 'c':
            options.prints_sum = true;
            break;
        case 'f':
            options.is_forced = true;
            break;
        case 'j':
            options.jobs = (unsigned)number_parse("--jobs", optarg, JOBS_MAX);
            break;
        case OPTION_FIRST:
            options.first = number_parse("--first", optarg, UINT64_MAX);
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(0);
        default:
            fputs("Try 'sortgen --help'.\n", stderr);
            exit(2);
        }
    }
    if (is_ascii && options.is_binary) {
        usage_fail("--ascii and --binary exclude each other");
    }
    if (options.jobs == 0) {
        usage_fail("--jobs is 0; at least 1 is needed");
    }
    if (argc - optind != 2) {
        usage_fail("RECORDS and FILE are needed, in this order, and nothing else");
    }
    options.records = number_parse("RECORDS", argv[optind], INT64_MAX / RECORD_BYTES);
    if (options.records > 0 && options.first > UINT64_MAX - (options.records - 1)) {
        usage_fail("--first %" PRIu64 " and RECORDS %" PRIu64 " go beyond record number 2^64 - 1", options.first,
                   options.records);
    }
    options.path = argv[optind + 1];
    return options;
}

static void sum_print(u128 sum)
{
    uint64_t high = (uint64_t)(sum >> 64), low = (uint64_t)sum;
    if (high != 0) {
        printf("%" PRIx64 "%016" PRIx64 "\n", high, low);
    } else {
        printf("%" PRIx64 "\n", low);
    }
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv);
    target_check(&options);
    crc_tables_fill();
    skew_rows_fill(options.is_binary);
    signals_prepare();

    struct work work = { .options = &options, .fd = temporary_open(options.path) };
    pthread_mutex_init(&work.sum_lock, NULL);
    int error = work_run_all(&work);
    if (close(work.fd) != 0 && error == 0) {
        error = errno;
    }
    if (error != 0) {
        file_fail(options.path, error);
    }
    temporary_publish(&options);
    if (options.prints_sum) {
        sum_print(work.sum);
        if (fflush(stdout) != 0) {
            fprintf(stderr, "sortgen: cannot print the checksum: %s\n", strerror(errno));
            return 1;
        }
    }
    return 0;
}
