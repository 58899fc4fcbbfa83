/* output.c - the life of a part, without a driver that clears up after it */
#include "examples/sort/output.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sort_fault fault;
static char folder[] = "sort-output-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* One record, written as part 7. */
static int part_7_write(unsigned attempt)
{
    static const char record[RECORD_BYTES] = "0123456789";
    const struct sort_entry entry = { 0, (uint64_t)(uintptr_t)record };
    struct part_seconds seconds;
    return part_write(folder, 7, attempt, &entry, 1, &seconds, &fault);
}

TEST(output, a_part_has_its_name_when_it_is_whole)
{
    struct stat info;
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(part_7_write(0), 0);
    CHECK_EQ(stat(path_of("part-00007"), &info), 0);
    CHECK_EQ(info.st_size, RECORD_BYTES);
    CHECK_EQ(unlink(path_of("part-00007")), 0);
    CHECK_EQ(rmdir(folder), 0); /* nothing else was there */
}

TEST(output, an_attempt_begins_anew_where_a_dead_one_left_its_file)
{
    struct stat info;
    CHECK(mkdtemp(folder) != NULL);
    FILE *left = fopen(path_of("part-00007.2.tmp"), "w");
    CHECK(left != NULL);
    for (size_t i = 0; i < 1000; i++) {
        fputs("left", left);
    }
    fclose(left);
    CHECK_EQ(part_7_write(2), 0);
    CHECK_EQ(stat(path_of("part-00007"), &info), 0);
    CHECK_EQ(info.st_size, RECORD_BYTES);
    CHECK_EQ(unlink(path_of("part-00007")), 0);
    CHECK_EQ(rmdir(folder), 0);
}

TEST(output, an_attempt_that_fails_removes_its_file)
{
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(mkdir(path_of("part-00007"), 0700), 0); /* in the way of the name */
    CHECK_EQ(part_7_write(0), -EISDIR);
    CHECK(strstr(fault.text, path_of("part-00007")) != NULL);
    CHECK_EQ(rmdir(path_of("part-00007")), 0);
    CHECK_EQ(rmdir(folder), 0);
}
