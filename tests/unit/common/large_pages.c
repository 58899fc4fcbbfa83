#include "common/large_pages.h"
#include "common/bytes.h"
#include "tests/lib/test.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 2 << 20, PAGES = 8 };

static unsigned char *mapped; /* PAGES of them, and one to align them in */

static unsigned char *map_some(void)
{
    mapped = mmap(NULL, (size_t)LARGE * (PAGES + 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    return mapped + (align_up((uintptr_t)mapped, LARGE) - (uintptr_t)mapped);
}

static void unmap(void) { CHECK_EQ(munmap(mapped, (size_t)LARGE * (PAGES + 1)), 0); }

/* How many of these bytes the kernel knows the wish of. */
static size_t asked_for(const unsigned char *memory, size_t bytes)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    CHECK(maps != NULL);
    char line[512];
    unsigned long start = 0, end = 0, from, to;
    size_t sum = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            start = from > (uintptr_t)memory ? from : (uintptr_t)memory;
            end = to < (uintptr_t)memory + bytes ? to : (uintptr_t)memory + bytes;
        } else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") != NULL && start < end) {
            sum += end - start;
        }
    }
    fclose(maps);
    return sum;
}

TEST(large_pages, those_that_lie_in_it_whole_are_asked_for)
{
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) {
        TEST_SKIP("this kernel has no large pages for memory that is not mapped from a file");
    }
    unsigned char *memory = map_some();
    large_pages_ask(memory + 100, 4 * (size_t)LARGE); /* ends in the fifth */
    CHECK_EQ(asked_for(memory, (size_t)PAGES * LARGE), 3 * (size_t)LARGE);
    CHECK_EQ(asked_for(memory + LARGE, 3 * (size_t)LARGE), 3 * (size_t)LARGE);
    unmap();
}

TEST(large_pages, what_has_no_whole_one_is_left_as_it_is)
{
    unsigned char *memory = map_some();
    large_pages_ask(memory + 1, LARGE);
    large_pages_ask(memory + LARGE + 1, LARGE - 2);
    large_pages_ask(memory, 0);
    CHECK_EQ(asked_for(memory, (size_t)PAGES * LARGE), 0);
    unmap();
}

TEST(large_pages, what_lies_there_stays)
{
    unsigned char *memory = map_some();
    for (size_t at = 0; at < (size_t)PAGES * LARGE; at += 4093) {
        memory[at] = (unsigned char)(at % 251);
    }
    large_pages_ask(memory + 4093, (size_t)(PAGES - 1) * LARGE);
    for (size_t at = 0; at < (size_t)PAGES * LARGE; at += 4093) {
        CHECK_EQ(memory[at], at % 251);
    }
    unmap();
}
