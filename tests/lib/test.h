/* test.h - how a test is written
 *
 *     TEST(lease, worker_loss_returns_only_its_own_tasks) { ... CHECK(leases == 1); ... }
 *
 * The name is the sentence. Under criterion in the ordinary builds; with ROOST_PLAIN_TESTS (the tsan preset, where
 * criterion's runner itself crashes) the same source becomes a plain main() that runs each test in a child of its own.
 * A test fails on a failed CHECK, a crash, or after TEST_SECONDS_MAX. */
#ifndef ROOST_TESTS_LIB_TEST_H
#define ROOST_TESTS_LIB_TEST_H

#include <stdio.h>
#include <stdlib.h>

enum { TEST_SECONDS_MAX = 120 };

#ifdef ROOST_PLAIN_TESTS

struct test_record {
    const char *suite, *name;
    void (*run)(void);
    struct test_record *next;
};
void test_register(struct test_record *record);

#define TEST(suite_, name_)                                                             \
    static void suite_##_##name_(void);                                                 \
    __attribute__((__constructor__)) static void suite_##_##name_##_register(void)      \
    {                                                                                   \
        static struct test_record record = { #suite_, #name_, suite_##_##name_, NULL }; \
        test_register(&record);                                                         \
    }                                                                                   \
    static void suite_##_##name_(void)

#define TEST_FAIL_()   _Exit(1)
#define TEST_SKIP(...) (printf("skipped: " __VA_ARGS__), puts(""), _Exit(0))

#else

#include <criterion/criterion.h>

#define TEST(suite_, name_) Test(suite_, name_, .timeout = TEST_SECONDS_MAX)
#define TEST_FAIL_()        cr_assert_fail("a check failed")
#define TEST_SKIP(...)      cr_skip_test(__VA_ARGS__)

#endif

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
            TEST_FAIL_();                                                                 \
        }                                                                                 \
    } while (0)

/* Two integers, both printed. */
#define CHECK_EQ(got, wanted)                                                                                 \
    do {                                                                                                      \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);                                     \
        if (got_ != wanted_) {                                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, wanted %lld (%s)\n", __FILE__, __LINE__, #got, got_, wanted_, \
                    #wanted);                                                                                 \
            TEST_FAIL_();                                                                                     \
        }                                                                                                     \
    } while (0)

#define CHECK_TEXT(got, wanted)                                                                               \
    do {                                                                                                      \
        const char *got_ = (got), *wanted_ = (wanted);                                                        \
        if (strcmp(got_, wanted_) != 0) {                                                                     \
            fprintf(stderr, "%s:%d: %s is \"%s\", wanted \"%s\"\n", __FILE__, __LINE__, #got, got_, wanted_); \
            TEST_FAIL_();                                                                                     \
        }                                                                                                     \
    } while (0)

#endif
