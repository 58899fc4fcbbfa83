/* cluster.c - main() of a test program that is a driver
 *
 * Happy path: open -> each test, in the order of the file -> close -> the counts. A failing test ends the process, and
 * with it its cluster.
 * Thread: main. */
#include "tests/integration/cluster/cluster.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct roost *rt;

static struct test_record *first, **last = &first;

void test_register(struct test_record *record)
{
    *last = record;
    last = &record->next;
}

const char *cluster_path(const char *name)
{
    static char path[4096];
    const char *folder = getenv("ROOST_DIR");
    CHECK(folder != NULL);
    snprintf(path, sizeof path, "%s/../%s", folder, name);
    return path;
}

const char *cluster_make_gate(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s", cluster_path(name));
    CHECK_EQ(mkfifo(path, 0600), 0);
    return path;
}

void cluster_open_gate(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC); /* never blocks, and ends what blocks in opening it to read */
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "go", 2), 2); /* who opens it later finds this as long as fd is open: for ever */
}

ROOST_TASK(fill_bytes);
int fill_bytes(struct roost_task *task)
{
    roost_buffer out;
    uint64_t size = roost_arg_uint(task, 0);
    ROOST_TRY(roost_return_create(task, 0, size, &out));
    memset(out.data, (int)roost_arg_uint(task, 1), size);
    return 0;
}

ROOST_TASK(sum_list);
int sum_list(struct roost_task *task)
{
    roost_view list;
    ROOST_TRY(roost_get(roost_of(task), roost_arg_ref(task, 0), &list, LONG_MS));
    const roost_ref *refs = list.data;
    uint64_t sum = 0, value;
    for (size_t i = 0; i < list.size / sizeof *refs; i++) {
        ROOST_TRY(roost_get_value(roost_of(task), refs[i], &value, LONG_MS));
        sum += value;
    }
    return roost_return_value(task, 0, sum);
}

int main(int argc, char **argv)
{
    int passed = 0;
    OK(roost_open(&rt, &cluster_options));
    for (struct test_record *test = first; test != NULL; test = test->next) {
        if (argc > 1 && strcmp(argv[1], test->name) != 0) {
            continue;
        }
        fprintf(stderr, "[RUN ] %s::%s\n", test->suite, test->name);
        test->run();
        passed++;
    }
    roost_close(rt);
    printf("%d passed\n", passed);
    return passed == 0;
}
