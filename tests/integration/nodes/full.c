/* A store that is too small for what is wanted here, and another node that has it: whoever waits is told, and no
 * more. */
#include "tests/integration/nodes/nodes.h"

#include <pthread.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { STORE = 32 << 20, TOO_LARGE = 40000000, LARGE = 20 << 20, SMALL = 5 << 20, PATIENCE_MS = 10000 };

ROOST_TASK(last_byte);
int last_byte(struct roost_task *task)
{
    roost_view view = roost_arg(task, 0);
    uint64_t last = ((const unsigned char *)view.data)[view.size - 1];
    return roost_return_value(task, 0, last);
}

/* On node-2, which has room for it. */
static roost_ref make_there(uint64_t size, int byte)
{
    roost_ref ref;
    bool ready;
    struct roost_task_options only = nodes_only(2);
    OK(roost_call_with(rt, fill_bytes, &only, &ref, size, byte));
    OK(roost_wait(rt, &ref, 1, 1, false, &ready, LONG_MS));
    return ref;
}

static void check_comes(roost_ref ref, uint64_t size, int byte)
{
    roost_view view;
    OK(roost_get(rt, ref, &view, LONG_MS));
    CHECK_EQ(view.size, size);
    const unsigned char *bytes = view.data;
    CHECK(bytes[0] == byte && bytes[size - 1] == byte);
    roost_release(rt, &view);
}

struct getting {
    roost_ref ref;
    int status;
    char text[512];
};

static void *get_it(void *arg)
{
    struct getting *getting = arg;
    roost_view view;
    getting->status = roost_get(rt, getting->ref, &view, LONG_MS);
    snprintf(getting->text, sizeof getting->text, "%s", roost_last_error());
    return NULL;
}

TEST(full, a_get_of_more_than_the_store_can_hold_is_told_so_at_once_and_other_gets_go_on)
{
    roost_ref large = make_there(TOO_LARGE, 7), small = make_there(SMALL, 8);
    roost_view views[2];
    uint64_t before = nodes_now_ms();
    CHECK_EQ(roost_get(rt, large, &views[0], LONG_MS), ROOST_EFULL);
    CHECK_HAS(roost_last_error(), "does not fit");
    CHECK_HAS(roost_last_error(), "40000000 bytes");
    CHECK_HAS(roost_last_error(), "node-1 has 33554432");
    CHECK_EQ(roost_get_many(rt, (roost_ref[]){ small, large }, 2, views, LONG_MS), ROOST_EFULL);
    CHECK_HAS(roost_last_error(), "40000000 bytes");
    CHECK(nodes_now_ms() - before < PATIENCE_MS);
    check_comes(small, SMALL, 8);
    check_comes(roost_slice(large, TOO_LARGE - 1000, ROOST_WHOLE), 1000, 7);
    roost_free(rt, large);
    roost_free(rt, small);
}

TEST(full, a_task_here_whose_argument_the_store_cannot_hold_fails_with_that_and_runs_where_it_fits)
{
    roost_ref large = make_there(TOO_LARGE, 9), here, there;
    struct roost_task_options first = nodes_only(1), second = nodes_only(2);
    uint64_t last;
    OK(roost_call_with(rt, last_byte, &first, &here, large));
    OK(roost_call_with(rt, last_byte, &second, &there, large));
    CHECK_EQ(roost_get_value(rt, here, &last, LONG_MS), ROOST_EFULL);
    CHECK_HAS(roost_last_error(), "last_byte on node-1");
    CHECK_HAS(roost_last_error(), "40000000 bytes");
    CHECK_HAS(roost_last_error(), "node-1 has 33554432");
    OK(roost_get_value(rt, there, &last, LONG_MS));
    CHECK_EQ(last, 9);
    roost_free(rt, here);
    roost_free(rt, there);
    roost_free(rt, large);
}

TEST(full, gets_for_which_no_room_comes_wait_for_the_store_s_patience_all_of_them)
{
    enum { THREADS = 3 };
    roost_ref own, large = make_there(LARGE, 10);
    roost_buffer buffer;
    struct getting getting[THREADS];
    pthread_t threads[THREADS];
    OK(roost_create(rt, LARGE, &buffer));
    OK(roost_seal(rt, &buffer, LARGE, &own));
    uint64_t before = nodes_now_ms();
    for (int i = 0; i < THREADS; i++) {
        getting[i].ref = large;
        CHECK_EQ(pthread_create(&threads[i], NULL, get_it, &getting[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(getting[i].status, ROOST_EFULL);
        CHECK_HAS(getting[i].text, "no room for object");
        CHECK_HAS(getting[i].text, "20971520 bytes");
        CHECK_HAS(getting[i].text, "33554432");
    }
    uint64_t waited = nodes_now_ms() - before;
    CHECK(waited >= PATIENCE_MS - 100 && waited < 3 * PATIENCE_MS);
    roost_free(rt, own);
    check_comes(large, LARGE, 10); /* nothing is lost */
    roost_free(rt, large);
}
