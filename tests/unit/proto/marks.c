/* marks.c - which mark a batch has */
#include "proto/marks.h"
#include "common/limits.h"
#include "tests/lib/test.h"

#include <roost.h>

TEST(marks, a_batch_has_the_mark_of_its_last_message)
{
    struct marks marks = { NULL, 0, 0, 0 };
    CHECK_EQ(marks_at(&marks, 9), 0);
    CHECK_EQ(marks_note(&marks, 3, 10), 0);
    CHECK_EQ(marks_note(&marks, 3, 12), 0);
    CHECK_EQ(marks_note(&marks, 4, 12), 0);
    CHECK_EQ(marks_note(&marks, 5, 0), 0); /* says nothing */
    CHECK_EQ(marks_note(&marks, 7, 13), 0);
    CHECK_EQ(marks_at(&marks, 2), 0);
    CHECK_EQ(marks_at(&marks, 3), 12);
    CHECK_EQ(marks_at(&marks, 6), 12);
    CHECK_EQ(marks_at(&marks, 7), 13);
    CHECK_EQ(marks_at(&marks, UINT32_MAX), 13);
    CHECK_EQ(marks.end - marks.first, 2); /* batches that did not raise it are not kept */
    marks_fini(&marks);
}

TEST(marks, what_may_still_be_asked_for_is_kept)
{
    struct marks marks = { NULL, 0, 0, 0 };
    for (uint32_t batch = 1; batch <= 100000; batch++) {
        CHECK_EQ(marks_note(&marks, batch, batch * 2), 0);
        if (batch > 50) {
            marks_forget_before(&marks, batch - 50);
            CHECK_EQ(marks_at(&marks, batch - 50), (batch - 50) * 2);
            CHECK_EQ(marks_at(&marks, batch - 49), (batch - 49) * 2);
        }
    }
    CHECK(marks.capacity <= 256);
    marks_forget_before(&marks, UINT32_MAX);
    CHECK_EQ(marks_at(&marks, 100000), 200000);
    marks_fini(&marks);
}

TEST(marks, there_is_a_limit)
{
    struct marks marks = { NULL, 0, 0, 0 };
    for (uint32_t batch = 1; batch <= SESSION_MARKS_MAX; batch++) {
        CHECK_EQ(marks_note(&marks, batch, batch), 0);
    }
    CHECK_EQ(marks_note(&marks, SESSION_MARKS_MAX + 1, SESSION_MARKS_MAX + 1), ROOST_ELIMIT);
    CHECK_EQ(marks_note(&marks, SESSION_MARKS_MAX, SESSION_MARKS_MAX + 1), 0); /* no further batch */
    marks_forget_before(&marks, 2);
    CHECK_EQ(marks_at(&marks, 1), 0);
    marks_fini(&marks);
}
