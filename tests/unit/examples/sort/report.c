/* report.c - the books of a job on several nodes */
#include "examples/sort/report.h"
#include "tests/lib/test.h"

#include <unistd.h>

enum { PARTITIONS = 3 };

static const roost_node first = { { 1, 1 } }, second = { { 2, 2 } }, late = { { 3, 3 } };

static void map_enter(struct report *report, roost_node node, double begin, double end, const uint64_t *columns)
{
    struct task_facts facts = { .node = node, .pid = 7, .begin = begin, .end = end, .cpu_seconds = 1, .records = 6 };
    facts.sum.low = UINT64_MAX;
    CHECK_EQ(report_add_map(report, &facts, columns), 0);
}

static void part_enter(struct report *report, size_t partition, roost_node node, int64_t pid, double begin, double end)
{
    struct reduce_facts facts = {
        .task = { .node = node, .pid = pid, .begin = begin, .end = end, .cpu_seconds = 2, .records = 4 }
    };
    CHECK_EQ(report_add_part(report, partition, &facts), 0);
}

/* Two maps on the first node, one on the second; a part on each of them and one on a node that came later. */
static void books_fill(struct report *report)
{
    static const uint64_t columns[][PARTITIONS] = { { 100, 200, 300 }, { 1000, 2000, 3000 }, { 10, 20, 30 } };
    struct roost_node_info nodes[] = { { .node = first, .alive = true, .host = "a \"b\"\n" },
                                       { .node = { { 9, 9 } }, .alive = false },
                                       { .node = second, .alive = true, .host = "c" } };
    *report = (struct report){ .bytes = 6660 };
    CHECK_EQ(report_init(report, nodes, 3, 3, PARTITIONS), 0);
    CHECK_EQ(report->nodes_count, 2);
    map_enter(report, first, 10, 11, columns[0]);
    map_enter(report, second, 500, 501, columns[1]);
    map_enter(report, first, 11, 12, columns[2]);
    part_enter(report, 2, late, 7, 90, 91);
    part_enter(report, 0, first, 7, 15, 16);
    part_enter(report, 1, second, 8, 503, 504);
}

TEST(report, moved_is_what_was_made_on_one_node_and_used_on_another)
{
    struct report report;
    books_fill(&report);
    CHECK_EQ(report.nodes_count, 3);
    static const uint64_t wanted[3][3] = { { 110, 220, 330 }, { 1000, 2000, 3000 }, { 0, 0, 0 } };
    for (size_t from = 0; from < 3; from++) {
        for (size_t to = 0; to < 3; to++) {
            CHECK_EQ(report_bytes_between(&report, from, to), wanted[from][to]);
        }
    }
    report_fini(&report);
}

TEST(report, a_node_that_came_later_gets_its_name_and_others_keep_theirs)
{
    struct report report;
    books_fill(&report);
    const struct roost_node_info nodes[] = { { .node = late, .host = "d" }, { .node = second, .host = "x" } };
    report_name_nodes(&report, nodes, 2);
    CHECK_TEXT(report.nodes[2].host, "d");
    CHECK_TEXT(report.nodes[1].host, "c");
    report_fini(&report);
}

TEST(report, a_reducer_waited_since_its_process_was_last_busy)
{
    struct report report;
    books_fill(&report);
    report_complete(&report, first, 5);
    CHECK_EQ(report.parts[0].gather_wait * 1000, 3000); /* since the map that ended at 12 */
    CHECK_EQ(report.parts[1].gather_wait * 1000, 0);    /* another process than the map's: its first task */
    CHECK_EQ(report.parts[2].gather_wait * 1000, 0);
    CHECK_EQ(report.cpu_driver, 5);
    CHECK_EQ(report.cpu_maps, 3);
    CHECK_EQ(report.cpu_parts, 6);
    report_fini(&report);
}

TEST(report, tasks_in_this_very_process_are_not_counted_twice)
{
    struct report report = { 0 };
    const struct roost_node_info node = { .node = first, .alive = true };
    CHECK_EQ(report_init(&report, &node, 1, 0, 1), 0);
    part_enter(&report, 0, first, getpid(), 1, 2);
    report_complete(&report, first, 5);
    CHECK_EQ(report.cpu_driver, 3);
    report_fini(&report);
}

TEST(report, sums_carry_into_their_upper_half)
{
    struct report report;
    char text[SUM_TEXT_BYTES];
    books_fill(&report);
    CHECK_TEXT(sum_print(report.sum_in, text), "2fffffffffffffffd");
    CHECK_TEXT(sum_print(report.sum_out, text), "0");
    CHECK(!sum_equal(report.sum_in, report.sum_out));
    report_fini(&report);
}

TEST(report, json_says_it_all_and_quotes_what_needs_it)
{
    struct report report;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    books_fill(&report);
    report_complete(&report, first, 5);
    report_print_json(&report, out);
    CHECK_EQ(fclose(out), 0);
    static const char *const wanted[] = {
        "\"host\": \"a \\\"b\\\"\\u000a\", \"maps\": 2, \"reducers\": 1,",
        "\"bytes_in_place\": 2110,\n  \"bytes_moved\": 4550,",
        "[110, 220, 330],\n    [1000, 2000, 3000],\n    [0, 0, 0]\n",
        "{ \"part\": 2, \"node\": 2, \"records\": 4, \"bytes\": 400, ",
        "\"total\": 14.000000, \"driver\": 5.000000, \"maps\": 3.000000, \"reducers\": 6.000000",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (strstr(text, wanted[i]) == NULL) {
            fprintf(stderr, "not in the report: %s\n%s", wanted[i], text);
        }
        CHECK(strstr(text, wanted[i]) != NULL);
    }
    CHECK(strstr(text, "checksum") == NULL);
    free(text);
    report_fini(&report);
}
