/* sort_tools.c - sortgen and sortcheck as programs, each against the published checksums and against damage
 *
 * Each test works in a folder of its own, which it removes when it has passed. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 100, KEY = 10, OUTPUT_BYTES = 4096, DEADLINE_MS = 60000 };

static char folder[] = "sort-tools-XXXXXX";
static char output[OUTPUT_BYTES]; /* what the last program printed, on either stream */

static void folder_enter(void)
{
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
}

static size_t files_count(void)
{
    size_t count = 0;
    DIR *here = opendir(".");
    CHECK(here != NULL);
    for (struct dirent *entry; (entry = readdir(here)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(here);
    return count;
}

static void folder_leave(void)
{
    DIR *here = opendir(".");
    CHECK(here != NULL);
    for (struct dirent *entry; (entry = readdir(here)) != NULL;) {
        if (entry->d_name[0] != '.') {
            CHECK_EQ(unlink(entry->d_name), 0);
        }
    }
    closedir(here);
    CHECK_EQ(chdir(".."), 0);
    CHECK_EQ(rmdir(folder), 0);
}

/* Runs a shell command, keeps its output, returns its exit status; -1 when it ended otherwise. */
static int run(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
static int run(const char *format, ...)
{
    char command[1024];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(command, sizeof command - 8, format, list);
    va_end(list);
    CHECK(length > 0 && (size_t)length < sizeof command - 8);
    strcat(command, " 2>&1");
    FILE *program = popen(command, "r");
    CHECK(program != NULL);
    size_t size = fread(output, 1, sizeof output - 1, program);
    output[size] = '\0';
    int status = pclose(program);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool output_has(const char *text)
{
    if (strstr(output, text) == NULL) {
        fprintf(stderr, "\"%s\" is not in:\n%s", text, output);
        return false;
    }
    return true;
}

static unsigned char *file_read(const char *path, size_t *size_out)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &about) == 0);
    unsigned char *bytes = malloc((size_t)about.st_size + 1);
    CHECK_EQ(read(fd, bytes, (size_t)about.st_size), about.st_size);
    close(fd);
    *size_out = (size_t)about.st_size;
    return bytes;
}

static void file_write(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static int record_compare(const void *a, const void *b) { return memcmp(a, b, KEY); }

/* 1,000 ASCII records in order. To be freed. */
static unsigned char *sorted_thousand(void)
{
    size_t size;
    CHECK_EQ(run(SORTGEN " 1000 input"), 0);
    unsigned char *bytes = file_read("input", &size);
    CHECK_EQ(size, 1000 * RECORD);
    qsort(bytes, 1000, RECORD, record_compare);
    return bytes;
}

static const char thousand_sum[] = "1f5dfb3631a";

/* ---- sortgen ---- */

TEST(sort_tools, the_published_checksums_are_met_by_both_programs)
{
    static const struct {
        const char *records, *options, *sum;
    } vectors[] = {
        { "1", "", "3fcaea0a" },
        { "10", "", "469302dca" },
        { "1000", "--ascii", "1f5dfb3631a" },
        { "100000", "", "c34e19c81885" },
        { "1000000", "", "7a19cff467438" },
        { "1", "--binary", "9ea593a0" },
        { "10", "--binary", "55fea8a1a" },
        { "1000", "--binary", "1ea6370b955" },
        { "100000", "--binary", "c3068574c6ff" },
        { "1000000", "--binary", "7a0e0d4868cd4" },
        { "1", "--binary --skew", "9ea593a0" },
        { "10", "--binary --skew", "5d95519b3" },
        { "1000", "--binary --skew", "1e96301166b" },
        { "100000", "--binary --skew", "c3480c053dda" },
        { "1000000", "--binary --skew", "79f9a7e6de673" },
        { "1", "--skew", "3fcaea0a" },
        { "10", "--skew", "46073c01c" },
        { "1000", "--skew", "1eef17d1cac" },
        { "100000", "--skew", "c30e6c1fe3e5" },
        { "1000000", "--skew", "7a135fbce6df2" },
    };
    folder_enter();
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char line[64];
        CHECK_EQ(run(SORTGEN " --force --checksum %s %s f", vectors[i].options, vectors[i].records), 0);
        snprintf(line, sizeof line, "%s\n", vectors[i].sum);
        CHECK_TEXT(output, line);
        CHECK_EQ(run(SORTCHECK " --input-sum %s f", vectors[i].sum), strcmp(vectors[i].records, "1") != 0);
        snprintf(line, sizeof line, "Records: %s\nChecksum: %s\n", vectors[i].records, vectors[i].sum);
        CHECK(output_has(line));
    }
    folder_leave();
}

TEST(sort_tools, records_look_as_the_format_says)
{
    static const char ascii[] = "AsfAGHM5om  00000000000000000000000000000000  "
                                "0000222200002222000022220000222200002222000000001111\r\n"
                                "~sHd0jDv6X  00000000000000000000000000000001  "
                                "77779999444488885555CCCC777755555555BBBB666644446666\r\n";
    size_t size;
    folder_enter();
    CHECK_EQ(run(SORTGEN " 2 f"), 0);
    unsigned char *bytes = file_read("f", &size);
    CHECK(size == sizeof ascii - 1 && memcmp(bytes, ascii, size) == 0);
    free(bytes);
    CHECK_EQ(run(SORTGEN " --binary 1 b"), 0);
    bytes = file_read("b", &size);
    CHECK(size == RECORD && memcmp(bytes, "\x4a\x69\x6d\x47\x72\x61\x79\x52\x49\x50", KEY) == 0);
    free(bytes);
    folder_leave();
}

TEST(sort_tools, parts_and_jobs_make_the_same_bytes_as_one_run)
{
    static const char *const options[] = { "", "--binary", "--skew", "--binary --skew" };
    folder_enter();
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        CHECK_EQ(run(SORTGEN " -f -j 1 %s 20001 whole", options[i]), 0);
        CHECK_EQ(run(SORTGEN " -f -j 4 %s 20001 jobs", options[i]), 0);
        CHECK_EQ(run(SORTGEN " -f %s 7777 a", options[i]), 0);
        CHECK_EQ(run(SORTGEN " -f --first 7777 %s 12224 b", options[i]), 0);
        CHECK_EQ(run("cat a b | cmp - whole && cmp jobs whole"), 0);
    }
    folder_leave();
}

TEST(sort_tools, record_numbers_reach_their_last_and_no_further)
{
    size_t size;
    folder_enter();
    CHECK_EQ(run(SORTGEN " --skew --first 18446744073709551614 2 f"), 0);
    unsigned char *bytes = file_read("f", &size);
    CHECK(size == 2 * RECORD && memcmp(bytes + RECORD + 12, "0000000000000000FFFFFFFFFFFFFFFF", 32) == 0);
    free(bytes);
    CHECK_EQ(run(SORTGEN " --first 18446744073709551614 3 g"), 2);
    folder_leave();
}

TEST(sort_tools, an_existing_file_is_replaced_only_by_force)
{
    size_t size;
    folder_enter();
    file_write("f", "precious", 8);
    CHECK_EQ(run(SORTGEN " 1 f"), 1);
    CHECK(output_has("f exists; --force replaces it"));
    unsigned char *bytes = file_read("f", &size);
    CHECK(size == 8 && memcmp(bytes, "precious", 8) == 0);
    free(bytes);
    CHECK_EQ(run(SORTGEN " --force 0 f"), 0);
    free(file_read("f", &size));
    CHECK_EQ(size, 0);
    CHECK_EQ(run(SORTGEN " --force 1 /dev/full"), 1);
    CHECK(output_has("no regular file"));
    CHECK_EQ(run(SORTGEN " 1 no/such/folder"), 1);
    CHECK(output_has("No such file or directory"));
    CHECK_EQ(files_count(), 1);
    folder_leave();
}

TEST(sort_tools, a_failed_write_leaves_nothing_behind)
{
    folder_enter();
    CHECK_EQ(run("ulimit -f 1000; " SORTGEN " 100000 f"), 1);
    CHECK(output_has("cannot write f: File too large"));
    CHECK_EQ(files_count(), 0);
    folder_leave();
}

/* Starts sortgen and returns once it has written something; *ready_out says whether it did before the deadline. */
static pid_t sortgen_start(const char *records, int *ready_out)
{
    int events = inotify_init1(IN_CLOEXEC);
    CHECK(events >= 0 && inotify_add_watch(events, ".", IN_MODIFY) >= 0);
    pid_t program = fork();
    CHECK(program >= 0);
    if (program == 0) {
        execl(SORTGEN, SORTGEN, "-j", "2", records, "f", (char *)NULL);
        _exit(127);
    }
    struct pollfd written = { .fd = events, .events = POLLIN };
    *ready_out = poll(&written, 1, DEADLINE_MS);
    close(events);
    return program;
}

TEST(sort_tools, a_signal_leaves_nothing_behind)
{
    int status, ready;
    folder_enter();
    pid_t program = sortgen_start("100000000", &ready); /* 10 GB, if nobody stopped it */
    kill(program, SIGTERM);
    CHECK_EQ(waitpid(program, &status, 0), program);
    CHECK_EQ(ready, 1);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    CHECK_EQ(files_count(), 0);
    folder_leave();
}

TEST(sort_tools, a_file_that_appears_meanwhile_is_not_replaced)
{
    int status = 0, ready, fd = -1;
    size_t size;
    folder_enter();
    /* The file has to appear while sortgen runs; where it was too quick for that, it gets more to do. */
    for (unsigned records = 200000; fd < 0 && records <= 16 * 200000; records *= 4) {
        char text[16];
        snprintf(text, sizeof text, "%u", records);
        pid_t program = sortgen_start(text, &ready);
        kill(program, SIGSTOP);
        fd = open("f", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        kill(program, SIGCONT);
        CHECK_EQ(waitpid(program, &status, 0), program);
        CHECK_EQ(ready, 1);
        CHECK(fd >= 0 || unlink("f") == 0);
    }
    CHECK(fd >= 0);
    close(fd);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    free(file_read("f", &size));
    CHECK_EQ(size, 0);
    CHECK_EQ(files_count(), 1);
    folder_leave();
}

TEST(sort_tools, wrong_usage_of_either_is_told_apart_from_failure)
{
    static const char *const wrong[] = {
        SORTGEN,
        SORTGEN " 10",
        SORTGEN " ten f",
        SORTGEN " -1 f",
        SORTGEN " 1x f",
        SORTGEN " 99999999999999999999999 f",
        SORTGEN " 92233720368547759 f",
        SORTGEN " --jobs 0 1 f",
        SORTGEN " --jobs 257 1 f",
        SORTGEN " --ascii --binary 1 f",
        SORTGEN " --nonsense 1 f",
        SORTCHECK,
        SORTCHECK " --input-sum f",
        SORTCHECK " --input-sum 12g4 f",
        SORTCHECK " --input-sum 123456789012345678901234567890123 f",
        SORTCHECK " --nonsense f",
    };
    folder_enter();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ(run("%s", wrong[i]), 2);
        CHECK(output_has("sort"));
    }
    CHECK_EQ(run(SORTGEN " --help"), 0);
    CHECK_EQ(run(SORTCHECK " --help"), 0);
    CHECK_EQ(files_count(), 0);
    folder_leave();
}

/* ---- sortcheck ---- */

TEST(sort_tools, sorted_files_are_one_sequence_in_the_order_given)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    file_write("a", bytes, 400 * RECORD);
    file_write("none", bytes, 0);
    file_write("b", bytes + 400 * RECORD, 600 * RECORD);
    CHECK_EQ(run(SORTCHECK " a"), 0);
    CHECK_TEXT(output, "Records: 400\nChecksum: c4df938655\nDuplicate keys: 0\nSUCCESS - all records are in order\n");
    CHECK_EQ(run(SORTCHECK " --input-sum 131001FDCC5 b"), 0);
    CHECK_EQ(run(SORTCHECK " --input-sum %s a none b", thousand_sum), 0);
    CHECK_EQ(run(SORTCHECK " b a"), 1);
    CHECK(output_has("First unordered record: 600\nERROR - there are 1 unordered records"));
    free(bytes);
    folder_leave();
}

TEST(sort_tools, a_swapped_pair_is_found)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand(), record[RECORD];
    memcpy(record, bytes + 500 * RECORD, RECORD);
    memcpy(bytes + 500 * RECORD, bytes + 501 * RECORD, RECORD);
    memcpy(bytes + 501 * RECORD, record, RECORD);
    file_write("f", bytes, 1000 * RECORD);
    CHECK_EQ(run(SORTCHECK " --input-sum %s f", thousand_sum), 1);
    CHECK(output_has("Checksum: 1f5dfb3631a\n"));
    CHECK(output_has("First unordered record: 501\nERROR - there are 1 unordered records"));
    free(bytes);
    folder_leave();
}

TEST(sort_tools, a_lost_record_is_found_by_the_sum)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    memmove(bytes + 300 * RECORD, bytes + 301 * RECORD, 699 * RECORD);
    file_write("f", bytes, 999 * RECORD);
    CHECK_EQ(run(SORTCHECK " f"), 0); /* it is sorted */
    CHECK_EQ(run(SORTCHECK " --input-sum %s f", thousand_sum), 1);
    CHECK(output_has("Records: 999\n") && output_has("ERROR - the checksum of the input is 1f5dfb3631a"));
    free(bytes);
    folder_leave();
}

TEST(sort_tools, a_duplicated_record_is_counted_and_found_by_the_sum)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    memcpy(bytes + 300 * RECORD, bytes + 301 * RECORD, RECORD);
    file_write("f", bytes, 1000 * RECORD);
    CHECK_EQ(run(SORTCHECK " --input-sum %s f", thousand_sum), 1);
    CHECK(output_has("Records: 1000\n") && output_has("Duplicate keys: 1\nERROR - the checksum"));
    free(bytes);
    folder_leave();
}

TEST(sort_tools, a_flipped_bit_anywhere_in_a_record_is_found_by_the_sum)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    for (size_t at = KEY; at < RECORD; at++) {
        bytes[999 * RECORD + at] ^= 0x10;
        file_write("f", bytes + 999 * RECORD, RECORD);
        CHECK_EQ(run(SORTCHECK " f"), 0);
        char damaged[OUTPUT_BYTES];
        memcpy(damaged, output, sizeof damaged);
        bytes[999 * RECORD + at] ^= 0x10;
        file_write("f", bytes + 999 * RECORD, RECORD);
        CHECK_EQ(run(SORTCHECK " f"), 0);
        CHECK(strcmp(damaged, output) != 0);
    }
    bytes[500 * RECORD + 50] ^= 1;
    file_write("f", bytes, 1000 * RECORD);
    CHECK_EQ(run(SORTCHECK " --input-sum %s f", thousand_sum), 1);
    free(bytes);
    folder_leave();
}

TEST(sort_tools, a_truncated_an_empty_and_a_missing_file_are_errors)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    file_write("f", bytes, 1000 * RECORD - 1);
    CHECK_EQ(run(SORTCHECK " f"), 1);
    CHECK(output_has("Records: 999\n") && output_has("ERROR - f ends with 99 bytes that are no whole record"));
    file_write("f", bytes, 0);
    CHECK_EQ(run(SORTCHECK " f f"), 1);
    CHECK(output_has("ERROR - there is no record at all"));
    CHECK_EQ(run(SORTCHECK " missing"), 1);
    CHECK(output_has("ERROR - cannot read missing: No such file or directory"));
    CHECK_EQ(run(SORTCHECK " ."), 1);
    CHECK(output_has("ERROR - cannot read .: Is a directory"));
    free(bytes);
    folder_leave();
}

TEST(sort_tools, the_report_can_be_json)
{
    folder_enter();
    unsigned char *bytes = sorted_thousand();
    file_write("f", bytes, 1000 * RECORD);
    CHECK_EQ(run(SORTCHECK " --json --input-sum %s f", thousand_sum), 0);
    CHECK_TEXT(output, "{\"ok\": true, \"records\": 1000, \"checksum\": \"1f5dfb3631a\", \"duplicate_keys\": 0, "
                       "\"unordered\": 0, \"first_unordered\": null, \"input_checksum\": \"1f5dfb3631a\", "
                       "\"problem\": null}\n");
    CHECK_EQ(run(SORTCHECK " --json input 'no \"such\" file'"), 1);
    CHECK(output_has("{\"ok\": false, \"records\": 1000,") && output_has("\"first_unordered\": ") &&
          output_has("\"problem\": \"cannot read no \\\"such\\\" file: No such file or directory\"}"));
    free(bytes);
    folder_leave();
}
