/* Who reads whom, and that a reader notices what it should not have been given. */
#include "tests/bench/metg_graph.h"
#include "tests/lib/test.h"

#include <string.h>

enum { WIDTH = 32 };

static void check_reads(enum metg_pattern pattern, uint32_t step, uint32_t column, const char *wanted)
{
    uint32_t columns[METG_WIDTH_MAX];
    char text[METG_WIDTH_MAX * 4] = "";
    uint32_t count = metg_reads(pattern, WIDTH, step, column, columns);
    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, i == 0 ? "%u" : " %u", columns[i]);
    }
    CHECK_TEXT(text, wanted);
}

TEST(metg_graph, reads_the_row_before_as_each_pattern_says)
{
    check_reads(METG_TRIVIAL, 5, 7, "");
    check_reads(METG_NO_COMM, 5, 7, "7");
    check_reads(METG_STENCIL_1D, 5, 0, "0 1");
    check_reads(METG_STENCIL_1D, 5, 7, "6 7 8");
    check_reads(METG_STENCIL_1D, 5, 31, "30 31");
    check_reads(METG_STENCIL_1D, 0, 7, "");
    check_reads(METG_FFT, 1, 7, "6 7 8");
    check_reads(METG_FFT, 3, 7, "3 7 11");
    check_reads(METG_FFT, 3, 2, "2 6");
    check_reads(METG_FFT, 6, 7, "6 7 8");
    check_reads(METG_NEAREST, 5, 7, "5 6 7 8 9");
    check_reads(METG_NEAREST, 5, 1, "0 1 2 3");
    check_reads(METG_TREE, 5, 7, "3");
}

TEST(metg_graph, has_all_tasks_in_each_row_but_the_first_of_a_tree)
{
    CHECK_EQ(metg_tasks(METG_STENCIL_1D, WIDTH, 100), 3200);
    CHECK_EQ(metg_tasks(METG_TREE, WIDTH, 7), 1 + 2 + 4 + 8 + 16 + 32 + 32);
}

TEST(metg_graph, is_found_by_its_name)
{
    for (int pattern = 0; pattern < METG_PATTERNS; pattern++) {
        CHECK_EQ(metg_pattern_find(metg_pattern_name((enum metg_pattern)pattern)), pattern);
    }
    CHECK_EQ(metg_pattern_find("stencil"), METG_PATTERNS);
}

TEST(metg_graph, is_shorter_where_objects_are_small_and_never_of_few_rows)
{
    CHECK_EQ(metg_steps(UINT64_C(1) << 30, 1000), 1000);
    CHECK_EQ(metg_steps(UINT64_C(32) << 20, 1000), 500);
    CHECK_EQ(metg_steps(1, 1000), 8);
}

TEST(metg_graph, notices_an_input_that_is_of_another_task_or_missing_or_of_another_size)
{
    const struct metg_place place = { .pattern = METG_STENCIL_1D, .width = WIDTH, .step = 5, .column = 7 };
    struct metg_output outputs[3] = { { 4, 6 }, { 4, 7 }, { 4, 8 } };
    const void *inputs[3] = { &outputs[0], &outputs[1], &outputs[2] };
    size_t sizes[3] = { sizeof *outputs, sizeof *outputs, sizeof *outputs };
    CHECK_EQ(metg_check(&place, inputs, sizes, 3), METG_ALL_RIGHT);
    CHECK_EQ(metg_check(&place, inputs, sizes, 2), 2);
    CHECK_EQ(metg_check(&place, inputs, sizes, 0), 0);
    sizes[1] = sizeof *outputs - 1;
    CHECK_EQ(metg_check(&place, inputs, sizes, 3), 1);
    sizes[1] = sizeof *outputs;
    outputs[2].column = 9;
    CHECK_EQ(metg_check(&place, inputs, sizes, 3), 2);
    outputs[0].step = 3;
    CHECK_EQ(metg_check(&place, inputs, sizes, 3), 0);
}
