/* A child of fork() may not use its parent's connection; the parent goes on as if there were none. */
#include "tests/integration/cluster/cluster.h"

#include <sys/wait.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 1, .store_bytes = 64 << 20 };

ROOST_TASK(twice);
int twice(struct roost_task *task)
{
    uint64_t value = 2 * roost_arg_uint(task, 0);
    return roost_return_value(task, 0, value);
}

static roost_ref ref;
static roost_view view;

#define FORKED(call) CHECK_EQ(call, ROOST_EFORK)

/* Every call that has a status. */
static void be_the_child(void)
{
    uint64_t value = 1;
    roost_ref out;
    roost_buffer buffer = { 0 };
    roost_view seen;
    roost_node node;
    struct roost_node_info info;
    struct roost_error error = ROOST_ERROR_INIT;
    size_t count;
    bool ready;
    FORKED(roost_put_value(rt, value, &out));
    FORKED(roost_put_file(rt, "/dev/null", 0, ROOST_WHOLE, &out));
    FORKED(roost_put_refs(rt, &ref, 1, &out));
    FORKED(roost_create(rt, 8, &buffer));
    FORKED(roost_declare_refs(rt, &buffer, &ref, 1));
    FORKED(roost_set_columns(rt, &buffer, &value, 1));
    FORKED(roost_seal(rt, &buffer, 0, &out));
    FORKED(roost_get(rt, ref, &seen, 0));
    FORKED(roost_get_many(rt, &ref, 1, &seen, 0));
    FORKED(roost_get_value(rt, ref, &value, 0));
    FORKED(roost_wait(rt, &ref, 1, 1, false, &ready, 0));
    FORKED(roost_keep(rt, ref));
    FORKED(roost_explain(rt, ref, &error));
    FORKED(roost_locate(rt, ref, &node, 1, &count));
    FORKED(roost_prefetch(rt, ref));
    FORKED(roost_call(rt, twice, &out, 1));
    FORKED(roost_nodes(rt, &info, sizeof info, 1, &count));
    FORKED(roost_watch(rt, ref, NULL));
    FORKED(roost_fd(rt));
    roost_abort(rt, &buffer); /* these have no status, and change nothing */
    roost_release(rt, &view);
    roost_free(rt, ref);
    roost_free_many(rt, &ref, 1);
    roost_close(rt);
    CHECK_HAS(roost_last_error(), "fork");
}

TEST(forks, the_child_gets_efork_from_every_call_and_the_parent_goes_on)
{
    uint64_t value = 21;
    roost_ref result;
    OK(roost_put_value(rt, value, &ref));
    OK(roost_get(rt, ref, &view, LONG_MS));
    for (int round = 0; round < 3; round++) {
        fflush(NULL);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            be_the_child();
            _exit(0);
        }
        int status = -1;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        CHECK_EQ(*(const uint64_t *)view.data, 21);
        OK(roost_call(rt, twice, &result, ref));
        OK(roost_get_value(rt, result, &value, LONG_MS));
        CHECK_EQ(value, 42);
        roost_free(rt, result);
    }
    roost_release(rt, &view);
    roost_free(rt, ref);
}
