/* What holds of calls in every world. */
#include "tests/lib/test.h"
#include "tests/unit/api/tasks.h"

#include <stdint.h>
#include <string.h>

enum { WAIT_MS = 20000 };

static bool says(const char *word) { return strstr(roost_last_error(), word) != NULL; }

struct point {
    double x, y;
    int32_t tag;
};

#define TASK_CHECK(condition)                                    \
    do {                                                         \
        if (!(condition)) {                                      \
            return roost_fail(task, __LINE__, "%s", #condition); \
        }                                                        \
    } while (0)

ROOST_TASK(see_arguments);
int see_arguments(struct roost_task *task)
{
    TASK_CHECK(roost_arg_count(task) == 13);
    roost_view text = roost_arg(task, 0);
    TASK_CHECK(text.size == 5 && memcmp(text.data, "hello", 5) == 0);
    TASK_CHECK(roost_arg_int(task, 1) == -7);
    TASK_CHECK(roost_arg_uint(task, 2) == UINT64_MAX);
    TASK_CHECK(roost_arg_real(task, 3) == 0.25);
    TASK_CHECK(strcmp(roost_arg_text(task, 4), "a text") == 0);
    struct point point = roost_arg_value(task, 5, struct point);
    TASK_CHECK(point.x == 1.5 && point.y == -2 && point.tag == 9);
    TASK_CHECK(roost_arg(task, 6).size == 3 && memcmp(roost_arg(task, 6).data, "abc", 3) == 0);
    TASK_CHECK(roost_arg_ref(task, 7).id.hi != 0);
    TASK_CHECK(roost_arg(task, 7).size == sizeof(roost_ref)); /* a handle: the ref itself */
    TASK_CHECK(roost_arg(task, 8).size == 4 && memcmp(roost_arg(task, 8).data, "hell", 4) == 0);
    TASK_CHECK(roost_arg(task, 9).size == 1 && roost_arg_ref(task, 9).size == 1);
    TASK_CHECK(roost_arg_int(task, 10) == 123456);
    TASK_CHECK(roost_arg_real(task, 1) == -7 && roost_arg_uint(task, 10) == 123456 && roost_arg_int(task, 11) == 1);
    TASK_CHECK(roost_arg(task, 12).size == 0);
    TASK_CHECK(roost_arg(task, 1).size == 8 && *(const int64_t *)roost_arg(task, 1).data == -7);
    TASK_CHECK(roost_attempt(task) == 0 && !roost_stopping(task));
    return 0;
}

void tasks_arguments(struct roost *rt)
{
    roost_ref text, number, out, empty;
    const struct point point = { 1.5, -2, 9 };
    const int32_t integer = 123456;
    CHECK_EQ(roost_put(rt, "hello", 5, &text), 0);
    CHECK_EQ(roost_put(rt, NULL, 0, &empty), 0);
    CHECK_EQ(roost_put_value(rt, integer, &number), 0);
    const roost_ref parts[] = { roost_slice(text, 0, 4), roost_slice(text, 4, 1) };
    CHECK_EQ(roost_call(rt, see_arguments, &out, text, -7, UINT64_MAX, 0.25, "a text", roost_in_value(point),
                        roost_in_bytes("abc", 3), roost_in_handle(text), roost_in_refs(parts, 2), number, true, empty),
             0);
    roost_free(rt, text);
    roost_free(rt, number);
    roost_free(rt, empty);
    roost_view view;
    int status = roost_get(rt, out, &view, WAIT_MS);
    if (status != 0) {
        fprintf(stderr, "%s\n", roost_last_error());
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(view.size, 0); /* not given: an empty object */
    roost_release(rt, &view);
    roost_free(rt, out);
}

ROOST_TASK(give_results);
int give_results(struct roost_task *task)
{
    uint64_t number = 77;
    roost_buffer sealed, open, dropped;
    roost_ref ref;
    ROOST_TRY(roost_return_value(task, 0, number));
    ROOST_TRY(roost_return_create(task, 1, 100, &sealed));
    memcpy(sealed.data, "sealed", 6);
    ROOST_TRY(roost_seal(roost_of(task), &sealed, 6, &ref));
    ROOST_TRY(roost_return_create(task, 2, 4, &open));
    memcpy(open.data, "open", 4);
    const uint64_t ends[] = { 1, 4 };
    ROOST_TRY(roost_set_columns(roost_of(task), &open, ends, 2));
    ROOST_TRY(roost_return_create(task, 3, 4, &dropped));
    roost_abort(roost_of(task), &dropped);
    ROOST_TRY(roost_return(task, 3, "again", 5));
    return 0;
}

static void check_text(struct roost *rt, roost_ref ref, const char *text)
{
    roost_view view;
    int status = roost_get(rt, ref, &view, WAIT_MS);
    if (status != 0) {
        fprintf(stderr, "%s\n", roost_last_error());
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(view.size, strlen(text));
    CHECK(memcmp(view.data, text, view.size) == 0);
    roost_release(rt, &view);
}

void tasks_results(struct roost *rt)
{
    roost_ref out[5];
    uint64_t number;
    CHECK_EQ(roost_call_with(rt, give_results, &ROOST_TASK_OPTIONS(.returns = 5), out), 0);
    CHECK_EQ(roost_get_value(rt, out[0], &number, WAIT_MS), 0);
    CHECK_EQ(number, 77);
    check_text(rt, out[1], "sealed");
    check_text(rt, out[2], "open");
    check_text(rt, roost_column(out[2], 1), "pen");
    check_text(rt, out[3], "again");
    check_text(rt, out[4], "");
    roost_free_many(rt, out, 5);
}

ROOST_TASK(pass_on);
int pass_on(struct roost_task *task)
{
    roost_ref inside;
    ROOST_TRY(roost_put(roost_of(task), "made inside", 11, &inside));
    ROOST_TRY(roost_return_ref(task, 0, inside));
    ROOST_TRY(roost_return_ref(task, 1, roost_slice(inside, 5, 6)));
    return roost_return_ref(task, 2, roost_arg_ref(task, 0));
}

void tasks_return_refs(struct roost *rt)
{
    roost_ref out[3], again[3], given;
    bool ready[3];
    CHECK_EQ(roost_put(rt, "given", 5, &given), 0);
    CHECK_EQ(roost_call_with(rt, pass_on, &ROOST_TASK_OPTIONS(.returns = 3), out, roost_in_handle(given)), 0);
    roost_free(rt, given);
    check_text(rt, out[0], "made inside");
    check_text(rt, out[1], "inside");
    check_text(rt, roost_slice(out[1], 0, 2), "in");
    check_text(rt, out[2], "given");
    CHECK_EQ(roost_call_with(rt, pass_on, &ROOST_TASK_OPTIONS(.returns = 3), again, out[2]), 0);
    CHECK_EQ(roost_wait(rt, again, 3, 3, true, ready, WAIT_MS), 0);
    check_text(rt, again[2], "given"); /* a name of a name */
    roost_free_many(rt, out, 3);
    roost_free_many(rt, again, 3);
}

ROOST_TASK(partition);
int partition(struct roost_task *task)
{
    char letter = (char)('a' + roost_arg_int(task, 0));
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, 6, &out));
    memset(out.data, letter, 6);
    const uint64_t ends[] = { 1, 3, 6 };
    return roost_set_columns(roost_of(task), &out, ends, 3);
}

ROOST_TASK(concatenate);
int concatenate(struct roost_task *task)
{
    char text[256];
    size_t used = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        roost_view piece = roost_arg(task, i);
        memcpy(text + used, piece.data, piece.size);
        used += piece.size;
    }
    return roost_return(task, 0, text, used);
}

void tasks_gathers(struct roost *rt)
{
    roost_ref maps[4], list, out[3], wrong;
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(roost_call(rt, partition, &maps[i], i), 0);
    }
    CHECK_EQ(roost_put_refs(rt, maps, 4, &list), 0);
    roost_free_many(rt, maps, 4);
    for (uint64_t c = 0; c < 3; c++) {
        CHECK_EQ(roost_call(rt, concatenate, &out[c], "<", roost_in_gather(list, c), ">"), 0);
    }
    CHECK_EQ(roost_call(rt, concatenate, &wrong, roost_in_gather(list, 3)), 0);
    roost_free(rt, list);
    check_text(rt, out[0], "<abcd>");
    check_text(rt, out[1], "<aabbccdd>");
    check_text(rt, out[2], "<aaabbbcccddd>");
    roost_view view;
    CHECK_EQ(roost_get(rt, wrong, &view, WAIT_MS), ROOST_ERANGE);
    CHECK(says("column 3"));
    roost_free_many(rt, out, 3);
    roost_free(rt, wrong);
}

ROOST_TASK(factorial);
int factorial(struct roost_task *task)
{
    uint64_t n = roost_arg_uint(task, 0), below = 1;
    if (n > 1) {
        roost_ref ref;
        ROOST_TRY(roost_call(roost_of(task), factorial, &ref, n - 1));
        ROOST_TRY(roost_get_value(roost_of(task), ref, &below, WAIT_MS));
    }
    uint64_t result = n * below;
    return roost_return_value(task, 0, result);
}

void tasks_call_tasks(struct roost *rt)
{
    roost_ref ref;
    uint64_t result;
    CHECK_EQ(roost_call(rt, factorial, &ref, 3), 0);
    CHECK_EQ(roost_get_value(rt, ref, &result, WAIT_MS), 0);
    CHECK_EQ(result, 6);
    roost_free(rt, ref);
}

ROOST_TASK(fail_with_code);
int fail_with_code(struct roost_task *task) { return roost_fail(task, 42, "shard %d is busy", 3); }

ROOST_TASK(fail_by_a_call);
int fail_by_a_call(struct roost_task *task)
{
    uint32_t wrong;
    (void)wrong;
    roost_ref ref;
    ROOST_TRY(roost_put(roost_of(task), "12345", 5, &ref));
    return roost_get_value(roost_of(task), ref, &wrong, 0);
}

ROOST_TASK(return_a_number);
int return_a_number(struct roost_task *task)
{
    (void)task;
    return 5;
}

ROOST_TASK(return_in_silence);
int return_in_silence(struct roost_task *task)
{
    (void)task;
    return ROOST_EBUSY;
}

void tasks_fail_with_words(struct roost *rt)
{
    roost_ref coded, called, number, silent, below;
    roost_view view;
    bool ready;
    struct roost_error error = ROOST_ERROR_INIT;
    CHECK_EQ(roost_call(rt, fail_with_code, &coded), 0);
    CHECK_EQ(roost_get(rt, coded, &view, WAIT_MS), ROOST_EFAILED);
    CHECK(says("fail_with_code") && says("shard 3 is busy") && says("app code 42") && says("pid "));
    CHECK_EQ(roost_explain(rt, roost_slice(coded, 0, 3), &error), 0);
    CHECK_EQ(error.status, ROOST_EFAILED);
    CHECK_EQ(error.app_code, 42);
    CHECK_EQ(error.attempts, 1);
    CHECK(error.pid > 0);
    CHECK_TEXT(error.function, "fail_with_code");
    CHECK_TEXT(error.text, "shard 3 is busy");
    CHECK_EQ(roost_wait(rt, &coded, 1, 1, true, &ready, 0), 0);
    CHECK(ready);
    CHECK_EQ(roost_call(rt, fail_by_a_call, &called), 0);
    CHECK_EQ(roost_get(rt, called, &view, WAIT_MS), ROOST_ESIZE);
    CHECK(says("roost_get_copy") && says("5 bytes, wanted 4"));
    CHECK_EQ(roost_call(rt, return_a_number, &number), 0);
    CHECK_EQ(roost_get(rt, number, &view, WAIT_MS), ROOST_EFAILED);
    CHECK(says("returned 5"));
    CHECK_EQ(roost_call(rt, return_in_silence, &silent), 0);
    CHECK_EQ(roost_get(rt, silent, &view, WAIT_MS), ROOST_EBUSY);
    CHECK(says("EBUSY"));
    /* what needs the result fails with the same */
    CHECK_EQ(roost_call(rt, concatenate, &below, coded), 0);
    CHECK_EQ(roost_get(rt, below, &view, WAIT_MS), ROOST_EFAILED);
    CHECK(says("shard 3 is busy"));
    roost_ref all[] = { coded, called, number, silent, below };
    roost_free_many(rt, all, 5);
}

ROOST_TASK(misread);
int misread(struct roost_task *task)
{
    int64_t what = roost_arg_int(task, 0);
    bool gave_zeros = false;
    if (what == 0) {
        gave_zeros = roost_arg(task, 9).size == 0;
    } else if (what == 1) {
        gave_zeros = roost_arg_int(task, 1) == 0;
    } else if (what == 2) {
        gave_zeros = roost_arg_text(task, 0)[0] == '\0';
    } else if (what == 3) {
        gave_zeros = roost_arg_ref(task, 1).id.hi == 0;
    } else if (what == 4) {
        gave_zeros = roost_arg_value(task, 1, struct point).tag == 0;
    } else if (what == 5) {
        gave_zeros = roost_arg_real(task, 1) == 0;
    } else {
        gave_zeros = roost_arg_uint(task, 2) == 0; /* a negative one */
    }
    return gave_zeros ? 0 : roost_fail(task, 1, "not zeros");
}

void tasks_misuse_of_arguments(struct roost *rt)
{
    static const char *const words[] = { "argument 9 was asked for, there are 3",
                                         "argument 1 is a text of 5 bytes, asked for as an integer",
                                         "argument 0 is an integer of 8 bytes, asked for as a text",
                                         "argument 1 is a text of 5 bytes, asked for as a ref",
                                         "asked for as a value of 24 bytes",
                                         "asked for as a real number",
                                         "argument 2 is an integer of 8 bytes, asked for as an unsigned integer" };
    for (int i = 0; i < 7; i++) {
        roost_ref ref;
        roost_view view;
        CHECK_EQ(roost_call(rt, misread, &ref, i, "hello", -1), 0);
        CHECK_EQ(roost_get(rt, ref, &view, WAIT_MS), ROOST_EINVAL);
        if (!says(words[i])) {
            fprintf(stderr, "%s\nwanted: %s\n", roost_last_error(), words[i]);
        }
        CHECK(says(words[i]));
        roost_free(rt, ref);
    }
    CHECK_EQ(roost_arg_count(NULL), 0);
    CHECK_EQ(roost_arg_int(NULL, 0), 0);
    CHECK(roost_of(NULL) == NULL && !roost_stopping(NULL) && roost_attempt(NULL) == 0);
    CHECK(roost_scratch(NULL, 1) == NULL);
    CHECK_EQ(roost_return(NULL, 0, "", 0), ROOST_EINVAL);
}

ROOST_TASK(misgive);
int misgive(struct roost_task *task)
{
    roost_buffer buffer;
    const roost_ref none = { { 0, 0 }, 0, 0 };
    struct roost *rt = NULL;
    TASK_CHECK(roost_return(task, 1, "x", 1) == ROOST_EINVAL);
    TASK_CHECK(roost_return(task, 0, NULL, 1) == ROOST_EINVAL);
    TASK_CHECK(roost_return_ref(task, 0, none) == ROOST_EINVAL);
    TASK_CHECK(roost_return_create(task, 0, 10, NULL) == ROOST_EINVAL);
    TASK_CHECK(roost_return_create(task, 0, 10, &buffer) == 0);
    TASK_CHECK(roost_return(task, 0, "x", 1) == ROOST_ESTATE);
    TASK_CHECK(roost_return_create(task, 0, 10, &buffer) == ROOST_ESTATE);
    roost_abort(roost_of(task), &buffer);
    TASK_CHECK(roost_return(task, 0, "given", 5) == 0);
    TASK_CHECK(roost_return(task, 0, "again", 5) == ROOST_ESTATE);
    TASK_CHECK(roost_open(&rt, NULL) == ROOST_ESTATE);
    return 0;
}

void tasks_misuse_of_results(struct roost *rt)
{
    roost_ref ref;
    CHECK_EQ(roost_call(rt, misgive, &ref), 0);
    check_text(rt, ref, "given");
    roost_free(rt, ref);
}

ROOST_TASK(read_environment);
int read_environment(struct roost_task *task)
{
    const char *value = getenv("ROOST_TEST_VALUE");
    return roost_return(task, 0, value == NULL ? "(unset)" : value, value == NULL ? 7 : strlen(value));
}

void tasks_environment(struct roost *rt)
{
    const char *const env[] = { "ROOST_TEST_VALUE=red wheel", "ROOST_TEST_OTHER=", NULL }, *const bad[] = { "x", NULL };
    roost_ref with, without;
    CHECK_EQ(roost_call_with(rt, read_environment, &ROOST_TASK_OPTIONS(.env = env), &with), 0);
    check_text(rt, with, "red wheel");
    CHECK_EQ(roost_call(rt, read_environment, &without), 0);
    check_text(rt, without, "(unset)");
    CHECK_EQ(roost_call_with(rt, read_environment, &ROOST_TASK_OPTIONS(.env = bad), &with), ROOST_EINVAL);
    roost_free(rt, with);
    roost_free(rt, without);
}

ROOST_TASK(leave_open);
int leave_open(struct roost_task *task)
{
    struct roost *rt = roost_of(task);
    roost_ref ref;
    roost_buffer buffer;
    roost_view view, shared;
    unsigned char *scratch = roost_scratch(task, 1000);
    TASK_CHECK(scratch != NULL && scratch[0] == 0 && scratch[999] == 0 && (uintptr_t)scratch % 16 == 0);
    ROOST_TRY(roost_put(rt, "left", 4, &ref));
    ROOST_TRY(roost_get(rt, ref, &view, 0));
    ROOST_TRY(roost_get(rt, roost_arg_ref(task, 0), &shared, WAIT_MS));
    ROOST_TRY(roost_create(rt, 100, &buffer));
    return roost_return(task, 0, "done", 4);
}

void tasks_leave_nothing_open(struct roost *rt)
{
    for (int i = 0; i < 20; i++) {
        roost_ref ref, shared;
        CHECK_EQ(roost_put(rt, "shared", 6, &shared), 0);
        CHECK_EQ(roost_call(rt, leave_open, &ref, shared), 0);
        roost_free(rt, shared);
        check_text(rt, ref, "done");
        roost_free(rt, ref);
    }
}

static int not_registered(struct roost_task *task)
{
    (void)task;
    return 0;
}

static void check_refused(struct roost *rt, struct roost_task_options options, const char *word)
{
    roost_ref ref = { { 1, 2 }, 3, 4 };
    options.size = sizeof options;
    int status = roost_call_with(rt, give_results, &options, &ref);
    CHECK_EQ(status, ROOST_EINVAL);
    if (!says(word)) {
        fprintf(stderr, "%s, wanted %s\n", roost_last_error(), word);
    }
    CHECK(says(word));
    CHECK(ref.id.hi == 1 && ref.size == 4); /* untouched */
}

void tasks_options(struct roost *rt)
{
    roost_ref ref;
    const roost_ref none = { { 0, 0 }, 0, 0 };
    check_refused(rt, (struct roost_task_options){ .timeout_ms = 1 }, "timeout_ms");
    check_refused(rt, (struct roost_task_options){ .priority = 1 }, "priority");
    check_refused(rt, (struct roost_task_options){ .resources = "gpu=1" }, "resources");
    check_refused(rt, (struct roost_task_options){ .labels = "a=b" }, "labels");
    check_refused(rt, (struct roost_task_options){ .group = { { 1, 1 } } }, "group");
    check_refused(rt, (struct roost_task_options){ .bundle = 1 }, "bundle");
    check_refused(rt, (struct roost_task_options){ .stream_window = 1 }, "stream_window");
    check_refused(rt, (struct roost_task_options){ .node_only = true }, "node_only");
    check_refused(rt, (struct roost_task_options){ .cpus = 1.5 }, "cpus");
    check_refused(rt, (struct roost_task_options){ .cpus = 0.001 }, "cpus");
    check_refused(rt, (struct roost_task_options){ .cpus = -3 }, "cpus");
    check_refused(rt, (struct roost_task_options){ .max_retries = -3 }, "max_retries");
    check_refused(rt, (struct roost_task_options){ .cpus = ROOST_FOREVER }, "cpus");
    struct roost_task_options no_size = { .size = 0 };
    CHECK_EQ(roost_call_with(rt, give_results, &no_size, &ref), ROOST_EINVAL);
    CHECK_EQ(roost_call(rt, not_registered, &ref), ROOST_ENOFUNC);
    CHECK_EQ(roost_call(rt, concatenate, &ref, none), ROOST_EINVAL);
    CHECK(says("argument 0"));
    CHECK_EQ(roost_call(rt, concatenate, &ref, roost_in_text(NULL)), ROOST_EINVAL);
    CHECK_EQ(roost_submit(rt, NULL, NULL, &ref, NULL, 0), ROOST_EINVAL);
    CHECK_EQ(roost_submit(rt, concatenate, NULL, &ref, NULL, 1), ROOST_EINVAL);
    CHECK_EQ(roost_submit(NULL, concatenate, NULL, &ref, NULL, 0), ROOST_EINVAL);
    static char large[ROOST_INLINE_BYTES_MAX + 1];
    CHECK_EQ(roost_call(rt, concatenate, &ref, roost_in_bytes(large, sizeof large)), ROOST_ETOOBIG);
    CHECK(says("ROOST_INLINE_BYTES_MAX"));
    CHECK_EQ(roost_call_with(rt, concatenate, &ROOST_TASK_OPTIONS(.returns = ROOST_RETURNS_MAX + 1), &ref),
             ROOST_ETOOBIG);
    /* a spec that does not fit a slot, and options that are fine */
    CHECK_EQ(roost_call_with(rt, concatenate,
                             &ROOST_TASK_OPTIONS(.name = "joined", .cpus = 0.5, .max_retries = ROOST_NONE,
                                                 .memory_bytes = 1 << 20, .spread = true),
                             &ref, "0123456789", "0123456789", "0123456789", "0123456789", "0123456789", "0123456789",
                             "0123456789", "0123456789", "0123456789", "0123456789"),
             0);
    roost_view view;
    CHECK_EQ(roost_get(rt, ref, &view, WAIT_MS), 0);
    CHECK_EQ(view.size, 100);
    roost_release(rt, &view);
    roost_free(rt, ref);
    CHECK_EQ(roost_call(rt, concatenate, NULL, "not wanted"), 0);
    CHECK_EQ(roost_call_with(rt, concatenate, &ROOST_TASK_OPTIONS(.returns = (uint32_t)ROOST_NONE), &ref, "x"), 0);
}
