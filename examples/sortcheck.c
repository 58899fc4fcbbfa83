/* sortcheck.c - says whether files of 100-byte records are one sorted sequence, and which records they hold
 *
 * Shares no line with the programs whose work it checks. It keeps one key and a few counters, so files may be of any
 * size; given several, it checks the sequence across their borders.
 *
 * Happy path: for each file, for each block of records: CRC into the sum, key against the key before -> a report.
 * Failures:   unreadable file, bytes left after the last record, no record at all: reported, exit status 1. So are
 *             records out of order, and a sum that is not --input-sum.
 * Invariants: records counted = records summed = records compared.
 * Thread:     one.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORD_SIZE = 100,
    KEY_SIZE = 10,
    BLOCK_RECORDS = 2560, /* 256,000 bytes: read and used while in the second-level cache */
    SUM_DIGITS_MAX = 32,
    PROBLEM_BYTES = 512,
};

static const char usage_text[] =
    "usage: sortcheck [OPTION]... FILE...\n"
    "Check that the 100-byte records of all FILEs, in the order given, are sorted by their first 10 bytes.\n"
    "\n"
    "      --input-sum HEX   also check that their checksum is HEX, that of the records before sorting\n"
    "                        (sortgen --checksum prints it)\n"
    "      --json            report as one JSON object\n"
    "  -h, --help\n"
    "\n"
    "The checksum is the sum of the CRC-32 of each record; it does not depend on their order.\n"
    "Exit status: 0 all is well, 1 not sorted, not the same records, or not readable, 2 wrong usage.\n";

/* A 128-bit number in two halves. */
struct sum {
    uint64_t high, low;
};

struct options {
    bool has_sum, is_json;
    struct sum sum;
    char **paths;
    int paths_count;
};

/* What has been seen. Record numbers count through all files. */
struct verdict {
    uint64_t records, duplicates, unordered, first_unordered;
    struct sum sum;
    unsigned char last_key[KEY_SIZE];
    char problem[PROBLEM_BYTES]; /* the first thing that ended the check early; "" when nothing did */
};

static void problem_set(struct verdict *verdict, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));
static void problem_set(struct verdict *verdict, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(verdict->problem, sizeof verdict->problem, format, list);
    va_end(list);
}

/* ---- CRC-32 (the polynomial of zlib, reflected), sixteen bytes at a time ---- */

enum { SLICES = 16 };
static uint32_t slice[SLICES][256]; /* slice[n][b]: what byte b contributes when n bytes follow it */

static void slices_prepare(void)
{
    for (unsigned n = 0; n < SLICES; n++) {
        for (unsigned b = 0; b < 256; b++) {
            uint32_t remainder = n == 0 ? b : slice[n - 1][b];
            for (unsigned bit = 0; bit < 8; bit++) {
                remainder = (remainder >> 1) ^ (0xEDB88320u & (0u - (remainder & 1u)));
            }
            slice[n][b] = remainder;
        }
    }
}

static inline uint32_t little_endian32(const unsigned char *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return le32toh(value);
}

static inline uint32_t word_slices(uint32_t word, unsigned following)
{
    return slice[following + 3][word & 0xff] ^ slice[following + 2][word >> 8 & 0xff] ^
           slice[following + 1][word >> 16 & 0xff] ^ slice[following][word >> 24];
}

static uint32_t crc_of_record(const unsigned char *p)
{
    uint32_t crc = ~0u;
    const unsigned char *last = p + RECORD_SIZE / SLICES * SLICES;
    for (; p < last; p += SLICES) {
        crc = word_slices(crc ^ little_endian32(p), 12) ^ word_slices(little_endian32(p + 4), 8) ^
              word_slices(little_endian32(p + 8), 4) ^ word_slices(little_endian32(p + 12), 0);
    }
    return ~word_slices(crc ^ little_endian32(p), 0); /* the four bytes that remain of 100 */
}

/* ---- the check ---- */

static void sum_add(struct sum *sum, uint64_t value)
{
    sum->low += value;
    sum->high += sum->low < value;
}

static void records_check(struct verdict *verdict, const unsigned char *records, size_t count)
{
    const unsigned char *before = verdict->last_key;
    uint64_t block_sum = 0; /* of at most BLOCK_RECORDS 32-bit numbers */
    for (size_t i = 0; i < count; i++) {
        const unsigned char *record = records + i * RECORD_SIZE;
        block_sum += crc_of_record(record);
        int order = memcmp(before, record, KEY_SIZE);
        if (order >= 0 && verdict->records + i > 0) {
            if (order == 0) {
                verdict->duplicates++;
            } else if (verdict->unordered++ == 0) {
                verdict->first_unordered = verdict->records + i;
            }
        }
        before = record;
    }
    sum_add(&verdict->sum, block_sum);
    verdict->records += count;
    memmove(verdict->last_key, before, KEY_SIZE);
}

/* Reads until the block is full or the file ends, however little comes at a time. -1: read() failed. */
static ssize_t block_read(int fd, unsigned char *block, size_t size)
{
    size_t filled = 0;
    while (filled < size) {
        ssize_t got = read(fd, block + filled, size - filled);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        filled += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)filled;
}

static void file_check(struct verdict *verdict, const char *path)
{
    static unsigned char block[BLOCK_RECORDS * RECORD_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 0;
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        do {
            got = block_read(fd, block, sizeof block);
            records_check(verdict, block, got < 0 ? 0 : (size_t)got / RECORD_SIZE);
        } while (got == (ssize_t)sizeof block);
    }
    if (got < 0) {
        problem_set(verdict, "cannot read %s: %s", path, strerror(errno));
    } else if (got % RECORD_SIZE != 0) {
        problem_set(verdict, "%s ends with %d bytes that are no whole record", path, (int)(got % RECORD_SIZE));
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- the report ---- */

static bool sum_is_wrong(const struct options *options, const struct verdict *verdict)
{
    return options->has_sum && (verdict->sum.high != options->sum.high || verdict->sum.low != options->sum.low);
}

static bool verdict_is_good(const struct options *options, const struct verdict *verdict)
{
    return verdict->problem[0] == '\0' && verdict->unordered == 0 && !sum_is_wrong(options, verdict);
}

static const char *sum_text(struct sum sum, char text[SUM_DIGITS_MAX + 1])
{
    if (sum.high != 0) {
        snprintf(text, SUM_DIGITS_MAX + 1, "%" PRIx64 "%016" PRIx64, sum.high, sum.low);
    } else {
        snprintf(text, SUM_DIGITS_MAX + 1, "%" PRIx64, sum.low);
    }
    return text;
}

static void report_print(const struct options *options, const struct verdict *verdict)
{
    char seen[SUM_DIGITS_MAX + 1], wanted[SUM_DIGITS_MAX + 1];
    printf("Records: %" PRIu64 "\nChecksum: %s\nDuplicate keys: %" PRIu64 "\n", verdict->records,
           sum_text(verdict->sum, seen), verdict->duplicates);
    if (verdict->problem[0] != '\0') {
        printf("ERROR - %s\n", verdict->problem);
    }
    if (verdict->unordered > 0) {
        printf("First unordered record: %" PRIu64 "\nERROR - there are %" PRIu64 " unordered records\n",
               verdict->first_unordered, verdict->unordered);
    }
    if (sum_is_wrong(options, verdict)) {
        printf("ERROR - the checksum of the input is %s: records were lost, added or changed\n",
               sum_text(options->sum, wanted));
    }
    if (verdict_is_good(options, verdict)) {
        puts("SUCCESS - all records are in order");
    }
}

static void json_text_print(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < ' ') {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

/* "first_unordered", "input_checksum" and "problem" are null where there is nothing to say. */
static void report_print_json(const struct options *options, const struct verdict *verdict)
{
    char text[SUM_DIGITS_MAX + 1];
    printf("{\"ok\": %s, \"records\": %" PRIu64 ", \"checksum\": \"%s\", \"duplicate_keys\": %" PRIu64
           ", \"unordered\": %" PRIu64 ", \"first_unordered\": ",
           verdict_is_good(options, verdict) ? "true" : "false", verdict->records, sum_text(verdict->sum, text),
           verdict->duplicates, verdict->unordered);
    if (verdict->unordered > 0) {
        printf("%" PRIu64, verdict->first_unordered);
    } else {
        fputs("null", stdout);
    }
    fputs(", \"input_checksum\": ", stdout);
    if (options->has_sum) {
        json_text_print(sum_text(options->sum, text));
    } else {
        fputs("null", stdout);
    }
    fputs(", \"problem\": ", stdout);
    if (verdict->problem[0] != '\0') {
        json_text_print(verdict->problem);
    } else {
        fputs("null", stdout);
    }
    puts("}");
}

/* ---- arguments ---- */

static bool sum_parse(const char *text, struct sum *sum_out)
{
    struct sum sum = { 0, 0 };
    size_t digits = strlen(text);
    if (digits == 0 || digits > SUM_DIGITS_MAX) {
        return false;
    }
    for (; *text != '\0'; text++) {
        int digit = *text >= '0' && *text <= '9'   ? *text - '0'
                    : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10
                    : *text >= 'A' && *text <= 'F' ? *text - 'A' + 10
                                                   : -1;
        if (digit < 0) {
            return false;
        }
        sum.high = sum.high << 4 | sum.low >> 60;
        sum.low = sum.low << 4 | (uint64_t)digit;
    }
    *sum_out = sum;
    return true;
}

static struct options options_parse(int argc, char **argv)
{
    enum { OPTION_SUM = 256, OPTION_JSON };
    static const struct option known[] = {
        { "input-sum", required_argument, NULL, OPTION_SUM },
        { "json", no_argument, NULL, OPTION_JSON },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct options options = { .has_sum = false };
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        switch (option) {
        case OPTION_SUM:
            if (!sum_parse(optarg, &options.sum)) {
                fprintf(stderr, "sortcheck: --input-sum '%s' is not 1 to %d hexadecimal digits\n", optarg,
                        SUM_DIGITS_MAX);
                exit(2);
            }
            options.has_sum = true;
            break;
        case OPTION_JSON:
            options.is_json = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(0);
        default:
            fputs("Try 'sortcheck --help'.\n", stderr);
            exit(2);
        }
    }
    options.paths = argv + optind;
    options.paths_count = argc - optind;
    if (options.paths_count == 0) {
        fputs("sortcheck: no FILE is given\nTry 'sortcheck --help'.\n", stderr);
        exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv);
    struct verdict verdict = { .records = 0 };
    slices_prepare();
    for (int i = 0; i < options.paths_count && verdict.problem[0] == '\0'; i++) {
        file_check(&verdict, options.paths[i]);
    }
    if (verdict.records == 0 && verdict.problem[0] == '\0') {
        problem_set(&verdict, "there is no record at all");
    }
    if (options.is_json) {
        report_print_json(&options, &verdict);
    } else {
        report_print(&options, &verdict);
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "sortcheck: cannot print the report: %s\n", strerror(errno));
        return 1;
    }
    return verdict_is_good(&options, &verdict) ? 0 : 1;
}
