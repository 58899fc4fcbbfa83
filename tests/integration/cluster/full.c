/* A full store: who puts waits while others may free, and is told when nobody does. */
#include "tests/integration/cluster/cluster.h"

#include <pthread.h>
#include <time.h>

enum { STORE_BYTES = 64 << 20, BIG_BYTES = 40 << 20, PATIENCE_MS = 10000 };

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 1, .store_bytes = STORE_BYTES };

static unsigned char bytes[BIG_BYTES];

ROOST_TASK(pass_gate);
int pass_gate(struct roost_task *task)
{
    char byte;
    const char *path = roost_arg_text(task, 0);
    FILE *gate = fopen(path, "r");
    if (gate == NULL || fread(&byte, 1, 1, gate) != 1) {
        return roost_fail(task, 1, "%s is no gate", path);
    }
    fclose(gate);
    return 0;
}

ROOST_TASK(make_big);
int make_big(struct roost_task *task)
{
    roost_buffer buffer;
    return roost_return_create(task, 0, BIG_BYTES, &buffer);
}

struct putting {
    roost_ref ref;
    int status;
    atomic_bool is_done;
};

static void *put_big(void *arg)
{
    struct putting *putting = arg;
    putting->status = roost_put(rt, bytes, sizeof bytes, &putting->ref);
    atomic_store(&putting->is_done, true);
    return NULL;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

TEST(full, a_put_that_does_not_fit_waits_until_another_thread_frees)
{
    roost_ref first, gate;
    bool ready;
    const char *path = cluster_make_gate("gate");
    struct putting putting = { .status = 1 };
    pthread_t thread;
    OK(roost_put(rt, bytes, sizeof bytes, &first));
    OK(roost_call(rt, pass_gate, &gate, path));
    CHECK_EQ(pthread_create(&thread, NULL, put_big, &putting), 0);
    /* long enough for a put that does not wait */
    CHECK_EQ(roost_wait(rt, &gate, 1, 1, false, &ready, 300), ROOST_ETIMEDOUT);
    CHECK(!atomic_load(&putting.is_done));
    roost_free(rt, first);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    OK(putting.status);
    roost_view view;
    OK(roost_get(rt, putting.ref, &view, LONG_MS));
    CHECK_EQ(view.size, sizeof bytes);
    CHECK(memcmp(view.data, bytes, sizeof bytes) == 0);
    roost_release(rt, &view);
    roost_free(rt, putting.ref);
    cluster_open_gate(path);
    OK(roost_wait(rt, &gate, 1, 1, false, &ready, LONG_MS));
    roost_free(rt, gate);
}

TEST(full, what_a_task_made_makes_room_as_soon_as_it_is_released_and_freed)
{
    roost_ref made, put;
    roost_view view;
    struct putting putting = { .status = 1 };
    pthread_t thread;
    OK(roost_call(rt, make_big, &made));
    OK(roost_get(rt, made, &view, LONG_MS));
    OK(roost_put(rt, bytes, 1000, &put)); /* now: it would not overtake the one that waits */
    roost_free(rt, made);                 /* the view keeps the bytes */
    CHECK_EQ(pthread_create(&thread, NULL, put_big, &putting), 0);
    CHECK(!atomic_load(&putting.is_done));
    int64_t before = now_ms();
    roost_release(rt, &view);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    OK(putting.status);
    CHECK(now_ms() - before < PATIENCE_MS / 2);
    roost_free(rt, putting.ref);
    roost_free(rt, put);
}

TEST(full, when_nobody_frees_it_is_efull_after_the_store_s_patience_and_the_store_goes_on)
{
    roost_ref first, second, small;
    OK(roost_put(rt, bytes, sizeof bytes, &first));
    int64_t before = now_ms();
    CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &second), ROOST_EFULL);
    int64_t waited = now_ms() - before;
    CHECK(waited >= PATIENCE_MS - 100 && waited < 2 * PATIENCE_MS);
    OK(roost_put(rt, bytes, 1000, &small)); /* the others go on */
    roost_free(rt, first);
    OK(roost_put(rt, bytes, sizeof bytes, &second));
    roost_free(rt, second);
    roost_free(rt, small);
}

TEST(full, what_can_never_fit_is_refused_at_once)
{
    roost_buffer buffer;
    int64_t before = now_ms();
    CHECK_EQ(roost_create(rt, (size_t)STORE_BYTES + 1, &buffer), ROOST_EFULL);
    CHECK(now_ms() - before < PATIENCE_MS / 2);
}
