#include "objectstore/segment.h"
#include "common/bytes.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t resident(const struct segment *segment)
{
    struct stat stat;
    CHECK_EQ(fstat(segment->rw, &stat), 0);
    return (uint64_t)stat.st_blocks * 512;
}

static void behaves(enum segment_pages pages)
{
    struct segment segment;
    CHECK_EQ(segment_create(&segment, ROOST_MIB(8) - 5, pages), 0);
    CHECK_EQ(segment.bytes, ROOST_MIB(8));
    CHECK_EQ(segment.is_huge, pages == SEGMENT_HUGE);
    CHECK_EQ(resident(&segment), 0);
    CHECK_EQ(segment_populate(&segment, ROOST_MIB(3)), 0);
    CHECK_EQ(segment.populated, ROOST_MIB(4));
    CHECK_EQ(resident(&segment), ROOST_MIB(4));
    CHECK_EQ(segment_populate(&segment, ROOST_GIB(1)), 0);
    CHECK_EQ(segment_populate(&segment, ROOST_GIB(1)), 0);
    CHECK_EQ(resident(&segment), ROOST_MIB(8));
    memset(segment.memory, 7, segment.bytes);
    CHECK_EQ(segment_punch(&segment, ROOST_MIB(2), ROOST_MIB(4)), 0);
    CHECK_EQ(resident(&segment), ROOST_MIB(4));
    CHECK_EQ(segment.memory[ROOST_MIB(2) - 1], 7);
    CHECK_EQ(segment_refill(&segment, ROOST_MIB(2), ROOST_MIB(4)), 0);
    CHECK_EQ(resident(&segment), ROOST_MIB(8));
    CHECK_EQ(segment.memory[ROOST_MIB(2)], 0);
    unsigned char *view = mmap(NULL, segment.bytes, PROT_READ, MAP_SHARED, segment.ro, 0);
    CHECK(view != MAP_FAILED);
    CHECK_EQ(view[0], 7);
    CHECK(mprotect(view, 4096, PROT_READ | PROT_WRITE) != 0 && errno == EACCES);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, segment.ro, 0) == MAP_FAILED);
    CHECK(fallocate(segment.ro, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0 && errno == EBADF);
    if (pages == SEGMENT_SMALL) {
        CHECK(ftruncate(segment.rw, 4096) != 0 && errno == EPERM);
    }
    munmap(view, segment.bytes);
    segment_destroy(&segment);
    segment_destroy(&segment);
}

TEST(segment, of_small_pages_is_filled_punched_and_never_writable_through_its_view) { behaves(SEGMENT_SMALL); }

TEST(segment, of_huge_pages_too)
{
    struct segment segment;
    if (segment_create(&segment, ROOST_MIB(2), SEGMENT_HUGE) != 0) {
        TEST_SKIP("no huge pages on this system: %s", error_text());
    }
    segment_destroy(&segment);
    behaves(SEGMENT_HUGE);
}

/* 0: made and filled; 1: not; 2: this system lets no user have a namespace. */
static int make_huge_as_a_user(void)
{
    struct segment segment;
    if (setgid(65534) != 0 || setuid(65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) { /* else /proc/self is root's */
        return 2;
    }
    if (segment_create(&segment, ROOST_MIB(2), SEGMENT_HUGE) != 0) {
        return unshare(CLONE_NEWUSER) != 0 ? 2 : 1;
    }
    return segment_populate(&segment, ROOST_MIB(2)) == 0 && segment.is_huge ? 0 : 1;
}

TEST(segment, a_user_gets_huge_pages_through_a_namespace)
{
    struct segment segment;
    if (geteuid() != 0 || segment_create(&segment, ROOST_MIB(2), SEGMENT_HUGE) != 0) {
        TEST_SKIP("needs root, to become a user, and huge pages");
    }
    segment_destroy(&segment);
    pid_t child = fork();
    if (child == 0) {
        _exit(make_huge_as_a_user());
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        TEST_SKIP("no user namespaces here");
    }
    CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(segment, takes_what_it_can_get_when_not_told)
{
    struct segment segment;
    CHECK_EQ(segment_create(&segment, ROOST_MIB(2), SEGMENT_HUGE_OR_SMALL), 0);
    segment_destroy(&segment);
    CHECK_EQ(segment_create(&segment, 0, SEGMENT_SMALL), ROOST_EINVAL);
    CHECK_EQ(segment_create(&segment, UINT64_MAX, SEGMENT_SMALL), ROOST_EINVAL);
}

TEST(segment, the_default_size_leaves_room_for_page_tables)
{
    struct memory_facts facts = { .available = ROOST_GIB(100), .cgroup_headroom = UINT64_MAX, .processes = 0 };
    uint64_t alone = segment_size_default(&facts);
    CHECK(alone <= ROOST_GIB(30) && alone > ROOST_GIB(30) - 4 * SEGMENT_HUGE_BYTES);
    facts.processes = 64; /* 2 mappings of 2 MiB per GiB each: a quarter of the store again */
    uint64_t many = segment_size_default(&facts);
    CHECK(many + many / 1024 * 2 * 2 * 64 <= ROOST_GIB(30));
    CHECK(many + many / 1024 * 2 * 2 * 64 > ROOST_GIB(30) - ROOST_MIB(16));
    facts.is_huge = true;
    CHECK(segment_size_default(&facts) > alone / 1000 * 999);
    facts.cgroup_headroom = ROOST_GIB(1);
    CHECK(segment_size_default(&facts) < ROOST_GIB(1) / 10 * 3);
    facts.cgroup_headroom = 0;
    CHECK_EQ(segment_size_default(&facts), SEGMENT_HUGE_BYTES);
}

/* A machine of files below a folder of its own. */
static char root[64];

static void make_file(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    CHECK(file != NULL);
    fputs(text, file);
    CHECK_EQ(fclose(file), 0);
}

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/roost-facts-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    make_file("/proc/meminfo", "MemTotal:       2000 kB\nMemFree:   5 kB\nMemAvailable:    1000 kB\n");
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    CHECK_EQ(system(command), 0);
}

TEST(segment, tasks_have_what_the_store_leaves_of_the_machine_or_of_the_cgroup)
{
    struct memory_facts facts = { .total = ROOST_GIB(16), .available = 1, .cgroup_headroom = UINT64_MAX };
    CHECK_EQ(memory_beside_store(&facts, ROOST_GIB(4)), ROOST_GIB(12));
    facts.cgroup_headroom = ROOST_GIB(6);
    CHECK_EQ(memory_beside_store(&facts, ROOST_GIB(4)), ROOST_GIB(2));
    CHECK_EQ(memory_beside_store(&facts, ROOST_GIB(7)), 0);
}

TEST(segment, facts_of_a_version_2_cgroup_are_the_least_of_all_levels)
{
    struct memory_facts facts;
    make_root();
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK_EQ(facts.available, 1000 * 1024);
    CHECK_EQ(facts.total, 2000 * 1024);
    CHECK(facts.cgroup_headroom == UINT64_MAX);
    make_file("/proc/self/cgroup", "0::/outer/inner\n");
    make_file("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK(facts.cgroup_headroom == UINT64_MAX);
    make_file("/sys/fs/cgroup/outer/memory.max", "500000\n");
    make_file("/sys/fs/cgroup/outer/memory.current", "300000\n");
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK_EQ(facts.cgroup_headroom, 200000);
    make_file("/sys/fs/cgroup/outer/memory.stat", "anon 100\nfile 90000\nactive_file 2\ninactive_file 50000\n");
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK_EQ(facts.cgroup_headroom, 250000);
    make_file("/sys/fs/cgroup/outer/inner/memory.max", "1000\n");
    make_file("/sys/fs/cgroup/outer/inner/memory.current", "2000\n");
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK_EQ(facts.cgroup_headroom, 0);
    remove_root();
}

TEST(segment, facts_of_a_version_1_cgroup_come_from_its_memory_controller)
{
    struct memory_facts facts;
    make_root();
    make_file("/proc/self/cgroup", "9:name=systemd:/a\n5:cpu,cpuacct:/b\n4:hugetlb,memory:/jobs\n0::/\n");
    make_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    make_file("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "700\n");
    make_file("/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "600\n");
    make_file("/sys/fs/cgroup/memory/jobs/memory.stat", "inactive_file 5\ntotal_inactive_file 50\n");
    make_file("/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "1\n");
    CHECK_EQ(memory_facts_read(&facts, root), 0);
    CHECK_EQ(facts.cgroup_headroom, 150);
    remove_root();
    CHECK_EQ(memory_facts_read(&facts, root), ROOST_EIO);
    CHECK_EQ(memory_facts_read(&facts, ""), 0);
    CHECK(facts.available > 0);
}
