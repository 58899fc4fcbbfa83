/* Calls in the inline world. */
#include "tests/unit/api/tasks.h"
#include "tests/lib/test.h"

#include <string.h>

static struct roost *open_inline(void)
{
    struct roost *rt;
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.run_inline = true)), 0);
    return rt;
}

#define TASKS_TEST(name)                  \
    TEST(tasks_inline, name)              \
    {                                     \
        struct roost *rt = open_inline(); \
        tasks_##name(rt);                 \
        roost_close(rt);                  \
    }

TASKS_TEST(arguments)
TASKS_TEST(results)
TASKS_TEST(return_refs)
TASKS_TEST(gathers)
TASKS_TEST(call_tasks)
TASKS_TEST(fail_with_words)
TASKS_TEST(misuse_of_arguments)
TASKS_TEST(misuse_of_results)
TASKS_TEST(environment)
TASKS_TEST(leave_nothing_open)
TASKS_TEST(options)

ROOST_TASK(flaky);
int flaky(struct roost_task *task)
{
    uint32_t attempt = roost_attempt(task);
    return attempt < 2 ? roost_fail(task, 7, "attempt %u", attempt) : roost_return_value(task, 0, attempt);
}

ROOST_TASK(flaky_for_long);
int flaky_for_long(struct roost_task *task)
{
    uint32_t attempt = roost_attempt(task);
    return attempt < 20 ? ROOST_EFAILED : roost_return_value(task, 0, attempt);
}

TEST(tasks_inline, retries_without_end_are_not_none)
{
    struct roost *rt = open_inline();
    roost_ref ref;
    uint32_t attempt;
    struct roost_task_options options = ROOST_TASK_OPTIONS(.retry_on_failure = true, .max_retries = ROOST_FOREVER);
    CHECK_EQ(roost_call_with(rt, flaky_for_long, &options, &ref), 0);
    CHECK_EQ(roost_get_value(rt, ref, &attempt, 0), 0);
    CHECK_EQ(attempt, 20);
    options.max_retries = ROOST_NONE;
    CHECK_EQ(roost_call_with(rt, flaky_for_long, &options, &ref), 0);
    CHECK_EQ(roost_get_value(rt, ref, &attempt, 0), ROOST_EFAILED);
    roost_close(rt);
}

TEST(tasks_inline, what_a_task_reports_is_tried_again_when_asked_for)
{
    struct roost *rt = open_inline();
    roost_ref ref;
    uint32_t attempt;
    struct roost_error error = ROOST_ERROR_INIT;
    CHECK_EQ(roost_call_with(rt, flaky, &ROOST_TASK_OPTIONS(.retry_on_failure = true), &ref), 0);
    CHECK_EQ(roost_get_value(rt, ref, &attempt, 0), 0);
    CHECK_EQ(attempt, 2);
    CHECK_EQ(roost_call_with(rt, flaky, &ROOST_TASK_OPTIONS(.retry_on_failure = true, .max_retries = 1), &ref), 0);
    CHECK_EQ(roost_get_value(rt, ref, &attempt, 0), ROOST_EFAILED);
    CHECK_EQ(roost_explain(rt, ref, &error), 0);
    CHECK_EQ(error.attempts, 2);
    CHECK_TEXT(error.text, "attempt 1");
    CHECK(strstr(roost_last_error(), "2 attempts") != NULL);
    roost_close(rt);
}

ROOST_TASK(keep_argument);
int keep_argument(struct roost_task *task)
{
    static roost_ref kept; /* a name that a task takes along ends with its attempt */
    if (roost_arg_count(task) == 0) {
        roost_view view;
        int status = roost_get(roost_of(task), kept, &view, 0);
        return status == ROOST_EFREED ? 0 : roost_fail(task, 1, "%d", status);
    }
    kept = roost_arg_ref(task, 0);
    return roost_keep(roost_of(task), kept);
}

TEST(tasks_inline, holds_end_with_the_attempt)
{
    struct roost *rt = open_inline();
    roost_ref ref, first, second;
    roost_view view;
    CHECK_EQ(roost_put(rt, "x", 1, &ref), 0);
    CHECK_EQ(roost_call(rt, keep_argument, &first, ref), 0);
    CHECK_EQ(roost_get(rt, first, &view, 0), 0);
    roost_release(rt, &view);
    roost_free(rt, ref);
    CHECK_EQ(roost_call(rt, keep_argument, &second), 0);
    CHECK_EQ(roost_get(rt, second, &view, 0), 0);
    roost_release(rt, &view);
    roost_close(rt);
}
