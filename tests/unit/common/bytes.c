#include "common/bytes.h"
#include "tests/lib/test.h"

TEST(bytes, products_and_sums_that_do_not_fit_leave_the_result_alone)
{
    size_t result = 5;
    CHECK(size_mul(6, 7, &result) && result == 42);
    CHECK(size_mul(SIZE_MAX, 1, &result) && result == SIZE_MAX);
    CHECK(size_mul(SIZE_MAX, 0, &result) && result == 0);
    result = 5;
    CHECK(!size_mul(SIZE_MAX / 2 + 1, 2, &result) && result == 5);
    CHECK(size_add(SIZE_MAX - 1, 1, &result) && result == SIZE_MAX);
    result = 5;
    CHECK(!size_add(SIZE_MAX, 1, &result) && result == 5);
}

TEST(bytes, aligning_goes_up_and_only_as_far_as_needed)
{
    CHECK_EQ(align_up(0, 8), 0);
    CHECK_EQ(align_up(1, 8), 8);
    CHECK_EQ(align_up(8, 8), 8);
    CHECK_EQ(align_up(9, 8), 16);
    CHECK_EQ(align_up(7, 1), 7);
    CHECK(align_up(UINT64_MAX - 7, 8) == UINT64_MAX - 7);
    CHECK(align_up(UINT64_MAX - 63, 64) == UINT64_MAX - 63);
}

TEST(bytes, a_range_is_inside_also_at_the_end_and_never_by_wrapping_around)
{
    CHECK(range_is_inside(0, 0, 0));
    CHECK(range_is_inside(0, 10, 10));
    CHECK(range_is_inside(10, 0, 10));
    CHECK(range_is_inside(9, 1, 10));
    CHECK(!range_is_inside(9, 2, 10));
    CHECK(!range_is_inside(11, 0, 10));
    CHECK(!range_is_inside(5, UINT64_MAX, 10));
    CHECK(!range_is_inside(UINT64_MAX, 1, 10));
    CHECK(!range_is_inside(UINT64_MAX, 1, UINT64_MAX));
    CHECK(range_is_inside(UINT64_MAX - 1, 1, UINT64_MAX));
}

TEST(bytes, units_are_powers_of_two)
{
    CHECK_EQ(ROOST_KIB(3), 3072);
    CHECK_EQ(ROOST_MIB(1), 1048576);
    CHECK(ROOST_GIB(8) == UINT64_C(8589934592)); /* more than an int holds */
    static const int three[3];
    CHECK_EQ(ROOST_COUNT_OF(three), 3);
}
