/* Stores that are too small for everything: copies go, pins keep them, who needs room waits. */
#include "tests/integration/nodes/nodes.h"

#include <pthread.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { OBJECTS = 8, BYTES = 6 << 20, STORE = 32 << 20, PATIENCE_MS = 10000 };

static roost_ref make_on(int node, uint64_t size, int byte)
{
    roost_ref ref;
    bool ready;
    struct roost_task_options only = nodes_only(node);
    OK(roost_call_with(rt, fill_bytes, &only, &ref, size, byte));
    OK(roost_wait(rt, &ref, 1, 1, false, &ready, LONG_MS));
    return ref;
}

static void check_bytes(const roost_view *view, int byte)
{
    CHECK_EQ(view->size, BYTES);
    const unsigned char *bytes = view->data;
    CHECK(bytes[0] == byte && bytes[BYTES / 2] == byte && bytes[BYTES - 1] == byte);
}

static roost_ref refs[OBJECTS]; /* more than this node's store holds, on the two others */

TEST(store, copies_that_nobody_reads_make_room_for_others)
{
    for (int i = 0; i < OBJECTS; i++) {
        refs[i] = make_on(2 + i % 2, BYTES, i + 1);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < OBJECTS; i++) {
            roost_view view;
            OK(roost_get(rt, refs[i], &view, LONG_MS));
            check_bytes(&view, i + 1);
            roost_release(rt, &view);
        }
    }
}

TEST(store, a_view_keeps_its_bytes_and_what_has_no_room_comes_when_there_is_some)
{
    roost_view views[OBJECTS], late;
    int held = 0, status = 0;
    while (held < OBJECTS && (status = roost_get(rt, refs[held], &views[held], 1000)) == 0) {
        held++;
    }
    CHECK_EQ(status, ROOST_ETIMEDOUT);
    CHECK(held >= 3 && held < OBJECTS);
    for (int i = 0; i < held; i++) {
        check_bytes(&views[i], i + 1);
    }
    roost_release(rt, &views[0]);
    OK(roost_get(rt, refs[held], &late, LONG_MS));
    check_bytes(&late, held + 1);
    roost_release(rt, &late);
    for (int i = 1; i < held; i++) {
        check_bytes(&views[i], i + 1);
        roost_release(rt, &views[i]);
    }
}

TEST(store, a_put_drives_copies_out_and_is_told_when_only_what_is_needed_is_left)
{
    static unsigned char bytes[BYTES];
    roost_ref own[OBJECTS], one_more;
    int count = 0, status = 0;
    roost_view view;
    OK(roost_get(rt, refs[0], &view, LONG_MS)); /* pinned all the while */
    uint64_t before = nodes_now_ms();
    while (count < OBJECTS && (status = roost_put(rt, bytes, sizeof bytes, &own[count])) == 0) {
        count++;
        before = nodes_now_ms();
    }
    CHECK_EQ(status, ROOST_EFULL);
    CHECK(nodes_now_ms() - before >= PATIENCE_MS - 100);
    CHECK(count >= 3);
    check_bytes(&view, 1);
    roost_release(rt, &view);
    OK(roost_put(rt, bytes, sizeof bytes, &one_more)); /* its copy has gone for this */
    roost_free(rt, one_more);
    roost_free_many(rt, own, (size_t)count);
    OK(roost_get(rt, refs[0], &view, LONG_MS));
    check_bytes(&view, 1);
    roost_release(rt, &view);
}

ROOST_TASK(add_first_bytes);
int add_first_bytes(struct roost_task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        sum += *(const unsigned char *)roost_arg(task, i).data;
    }
    return roost_return_value(task, 0, sum);
}

TEST(store, tasks_with_more_arguments_than_the_store_holds_run_one_after_the_other)
{
    roost_ref sums[OBJECTS];
    struct roost_task_options only = nodes_only(1);
    for (int i = 0; i < OBJECTS; i++) {
        OK(roost_call_with(rt, add_first_bytes, &only, &sums[i], refs[i], refs[(i + 3) % OBJECTS]));
    }
    for (int i = 0; i < OBJECTS; i++) {
        uint64_t sum;
        OK(roost_get_value(rt, sums[i], &sum, LONG_MS));
        CHECK_EQ(sum, i + 1 + (i + 3) % OBJECTS + 1);
    }
    roost_free_many(rt, sums, OBJECTS);
}

TEST(store, what_goes_here_goes_everywhere)
{
    roost_free_many(rt, refs, OBJECTS);
    for (int node = 1; node <= 3; node++) { /* as much as it can hold */
        roost_ref ref;
        roost_view view;
        struct roost_task_options only = nodes_only(node);
        OK(roost_call_with(rt, fill_bytes, &only, &ref, STORE - (8 << 20), 5));
        bool ready;
        OK(roost_wait(rt, &ref, 1, 1, false, &ready, LONG_MS));
        OK(roost_get(rt, roost_slice(ref, 0, 1), &view, LONG_MS));
        roost_release(rt, &view);
        roost_free(rt, ref);
    }
}
