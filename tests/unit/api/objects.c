/* Objects in the inline world, and what opening and closing refuse. */
#include "tests/unit/api/objects.h"
#include "tests/lib/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct roost *open_inline(void)
{
    struct roost *rt;
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true)), 0);
    return rt;
}

#define OBJECTS_TEST(name)                \
    TEST(objects_inline, name)            \
    {                                     \
        struct roost *rt = open_inline(); \
        objects_##name(rt);               \
        roost_close(rt);                  \
    }

OBJECTS_TEST(put_and_get)
OBJECTS_TEST(parts)
OBJECTS_TEST(buffers)
OBJECTS_TEST(buffer_misuse)
OBJECTS_TEST(files)
OBJECTS_TEST(containers)
OBJECTS_TEST(many)
OBJECTS_TEST(keeps)
OBJECTS_TEST(waits)
OBJECTS_TEST(watches)
OBJECTS_TEST(misuse)

TEST(open_inline, what_was_freed_is_freed)
{
    struct roost *rt = open_inline();
    roost_ref ref, other;
    roost_view view;
    bool ready[2] = { false, false };
    CHECK_EQ(roost_put(rt, "x", 1, &ref), 0);
    CHECK_EQ(roost_put(rt, "y", 1, &other), 0);
    roost_free(rt, ref);
    CHECK_EQ(roost_get(rt, ref, &view, ROOST_FOREVER), ROOST_EFREED);
    CHECK_EQ(roost_keep(rt, ref), ROOST_EFREED);
    const roost_ref one_is_freed[] = { other, ref };
    CHECK_EQ(roost_keep_many(rt, one_is_freed, 2), ROOST_EFREED);
    roost_ref both[] = { ref, other };
    CHECK_EQ(roost_wait(rt, both, 2, 2, false, ready, 0), 0); /* failed is ready */
    CHECK(ready[0] && ready[1]);
    struct roost_error error = ROOST_ERROR_INIT;
    CHECK_EQ(roost_explain(rt, ref, &error), 0);
    CHECK_EQ(error.status, ROOST_EFREED);
    roost_close(rt);
}

TEST(open_inline, options_are_checked)
{
    struct roost *rt = NULL;
    const char *const files[] = { "x", NULL };
    static const char long_name[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
                                    "0123456789012345678901234567890123456789012345678901234567890123456789";
    struct roost_options no_size = { .size = 0, .run_inline = true };
    CHECK_EQ(roost_open(NULL, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_open(&rt, &no_size), ROOST_EINVAL);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true, .name_space = "n")), ROOST_EINVAL);
    CHECK(strstr(roost_last_error(), "name_space") != NULL);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true, .files = files)), ROOST_EINVAL);
    CHECK(strstr(roost_last_error(), "files") != NULL);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true, .cpus = -3)), ROOST_EINVAL);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true, .open_timeout_ms = -5)), ROOST_EINVAL);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true, .job_name = long_name)), ROOST_ETOOBIG);
    CHECK(rt == NULL);
    roost_close(NULL);
    CHECK_EQ(setenv("ROOST_INLINE", "1", 1), 0);
    CHECK_EQ(roost_open(&rt, NULL), 0);
    roost_close(rt);
}

TEST(open_inline, an_older_program_s_options_are_shorter)
{
    struct roost *rt = NULL;
    struct roost_options options = { .size = offsetof(struct roost_options, run_inline) };
    memset((char *)&options + options.size, 0xff, sizeof options - options.size); /* not ours to read */
    CHECK_EQ(setenv("ROOST_INLINE", "1", 1), 0);
    CHECK_EQ(roost_open(&rt, &options), 0);
    roost_close(rt);
}

TEST(open_inline, a_child_of_fork_may_use_nothing)
{
    struct roost *rt = open_inline();
    roost_ref ref;
    CHECK_EQ(roost_put(rt, "x", 1, &ref), 0);
    pid_t child = fork();
    if (child == 0) {
        roost_view view;
        bool is_refused = roost_get(rt, ref, &view, 0) == ROOST_EFORK && roost_put(rt, "x", 1, &ref) == ROOST_EFORK;
        roost_free(rt, ref);
        roost_close(rt);
        _exit(is_refused && roost_fd(rt) == ROOST_EFORK ? 0 : 1);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    roost_view view;
    CHECK_EQ(roost_get(rt, ref, &view, 0), 0);
    roost_release(rt, &view);
    roost_close(rt);
}
