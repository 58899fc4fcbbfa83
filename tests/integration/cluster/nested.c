/* Tasks that call tasks, on a node of one CPU: each level can only go on when the one above gives its CPU back. */
#include "tests/integration/cluster/cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 1, .store_bytes = 64 << 20 };

enum { CHILDREN = 50, KILLS = 8 };

static uint64_t number_of(roost_ref ref)
{
    uint64_t value = 0;
    OK(roost_get_value(rt, ref, &value, LONG_MS));
    return value;
}

/* A file that says `number`, all at once. */
static int tell(const char *path, long number)
{
    char part[4096];
    int bytes = snprintf(part, sizeof part, "%s.part", path);
    FILE *file = bytes < (int)sizeof part ? fopen(part, "we") : NULL;
    if (file == NULL) {
        return ROOST_EIO;
    }
    fprintf(file, "%ld\n", number);
    return fclose(file) == 0 && rename(part, path) == 0 ? 0 : ROOST_EIO;
}

/* By the task of `ref`, unless it ends before. */
static long told(const char *path, roost_ref ref)
{
    FILE *file;
    bool ready;
    for (int i = 0; (file = fopen(path, "re")) == NULL; i++) {
        CHECK(errno == ENOENT && i < LONG_MS);
        if (roost_wait(rt, &ref, 1, 1, true, &ready, 1) == 0 && access(path, F_OK) != 0) {
            number_of(ref);
            return 0;
        }
    }
    long number = 0;
    CHECK_EQ(fscanf(file, "%ld", &number), 1);
    fclose(file);
    unlink(path);
    return number;
}

ROOST_TASK(add_one);
int add_one(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0) + 1;
    return roost_return_value(task, 0, value);
}

/* Calls so many, in chains of two, and adds them up. */
static int sum_of_children(struct roost_task *task, uint64_t count, uint64_t *sum_out)
{
    struct roost *inside = roost_of(task);
    struct roost_task_options options = ROOST_TASK_OPTIONS(.max_retries = 1000);
    roost_ref refs[CHILDREN];
    *sum_out = 0;
    for (uint64_t i = 0; i < count; i++) {
        roost_ref first;
        ROOST_TRY(roost_call_with(inside, add_one, &options, &first, i));
        ROOST_TRY(roost_call_with(inside, add_one, &options, &refs[i], first));
        roost_free(inside, first);
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value;
        ROOST_TRY(roost_get_value(inside, refs[i], &value, LONG_MS));
        *sum_out += value;
    }
    return 0;
}

ROOST_TASK(add_children);
int add_children(struct roost_task *task)
{
    uint64_t sum;
    ROOST_TRY(sum_of_children(task, roost_arg_uint(task, 0), &sum));
    return roost_return_value(task, 0, sum);
}

TEST(nested, a_task_waits_for_its_children_on_the_only_cpu)
{
    roost_ref refs[4];
    for (size_t i = 0; i < 4; i++) {
        OK(roost_call(rt, add_children, &refs[i], (uint64_t)CHILDREN));
    }
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(number_of(refs[i]), CHILDREN * (CHILDREN - 1) / 2 + 2 * CHILDREN);
    }
    roost_free_many(rt, refs, 4);
}

ROOST_TASK(fibonacci);
int fibonacci(struct roost_task *task)
{
    uint64_t n = roost_arg_uint(task, 0), value[2] = { n, 0 };
    roost_ref refs[2];
    for (uint64_t i = 0; n >= 2 && i < 2; i++) {
        uint64_t less = n - 1 - i;
        ROOST_TRY(roost_call(roost_of(task), fibonacci, &refs[i], less));
    }
    for (uint64_t i = 0; n >= 2 && i < 2; i++) {
        ROOST_TRY(roost_get_value(roost_of(task), refs[i], &value[i], LONG_MS));
    }
    uint64_t sum = value[0] + value[1];
    return roost_return_value(task, 0, sum);
}

TEST(nested, children_have_children)
{
    roost_ref ref;
    OK(roost_call(rt, fibonacci, &ref, UINT64_C(7)));
    CHECK_EQ(number_of(ref), 13);
    roost_free(rt, ref);
}

ROOST_TASK(wait_at_gate);
int wait_at_gate(struct roost_task *task) /* a file: any number of attempts may pass */
{
    const struct timespec pause = { 0, 1000000 };
    for (int i = 0; access(roost_arg_text(task, 0), F_OK) != 0; i++) {
        if (i == LONG_MS) {
            return ROOST_ETIMEDOUT;
        }
        nanosleep(&pause, NULL);
    }
    uint64_t value = 77;
    return roost_return_value(task, 0, value);
}

static void open_gate(const char *path) { CHECK_EQ(tell(path, 0), 0); }

ROOST_TASK(say_number);
int say_number(struct roost_task *task) /* once the gate, if there is one, is open */
{
    uint64_t size = roost_arg(task, 2).size;
    return tell(roost_arg_text(task, 0), (long)roost_arg_uint(task, 1) + (long)size);
}

/* One that runs, one behind it, one that waits for the first, and leaves them all. */
ROOST_TASK(leave_children);
int leave_children(struct roost_task *task)
{
    struct roost *inside = roost_of(task);
    static const unsigned char bytes[100000];
    roost_ref gate, put, refs[3];
    ROOST_TRY(roost_put(inside, bytes, sizeof bytes, &put)); /* read by a child when its maker is gone */
    ROOST_TRY(roost_call(inside, wait_at_gate, &gate, roost_arg_text(task, 0)));
    ROOST_TRY(roost_call(inside, say_number, &refs[0], roost_arg_text(task, 1), UINT64_C(1), put));
    ROOST_TRY(roost_call(inside, say_number, &refs[1], roost_arg_text(task, 2), UINT64_C(2), gate));
    ROOST_TRY(roost_call(inside, add_one, &refs[2], gate));
    return roost_return_ref(task, 0, refs[2]);
}

TEST(nested, children_go_on_when_their_parent_has_ended)
{
    for (int round = 0; round < 5; round++) {
        char gate[4096], one[4096], two[4096];
        snprintf(gate, sizeof gate, "%s", cluster_path("gate"));
        snprintf(one, sizeof one, "%s", cluster_path("one"));
        snprintf(two, sizeof two, "%s", cluster_path("two"));
        roost_ref ref;
        bool ready;
        OK(roost_call(rt, leave_children, &ref, gate, one, two));
        CHECK_EQ(roost_wait(rt, &ref, 1, 1, true, &ready, round * 10), ROOST_ETIMEDOUT);
        open_gate(gate);
        CHECK_EQ(number_of(ref), 78);
        CHECK_EQ(told(one, ref), 100001);
        CHECK_EQ(told(two, ref), 10);
        roost_free(rt, ref);
        unlink(gate);
    }
}

ROOST_TASK(add_children_and_say_who);
int add_children_and_say_who(struct roost_task *task)
{
    uint64_t sum, all = 0;
    for (uint64_t i = 0; i < 20; i++) {
        if (i == 1 && roost_attempt(task) < 2) {
            ROOST_TRY(tell(roost_arg_text(task, 0), (long)getpid()));
        }
        ROOST_TRY(sum_of_children(task, CHILDREN, &sum));
        all += sum;
    }
    return roost_return_value(task, 0, all);
}

TEST(nested, a_holder_that_is_killed_at_any_moment_loses_no_task)
{
    unsigned seed = 4711;
    for (int round = 0; round < KILLS; round++) {
        char path[4096];
        snprintf(path, sizeof path, "%s", cluster_path("who"));
        roost_ref ref;
        struct roost_task_options options = ROOST_TASK_OPTIONS(.max_retries = 1000);
        OK(roost_call_with(rt, add_children_and_say_who, &options, &ref, path));
        for (int kills = 0; kills < 2; kills++) {
            pid_t holder = (pid_t)told(path, ref);
            const struct timespec pause = { 0, rand_r(&seed) % 5000000 };
            nanosleep(&pause, NULL);
            if (holder == 0 || kill(holder, SIGKILL) != 0 || round % 2 == 1) { /* it has ended */
                break;
            }
        }
        CHECK_EQ(number_of(ref), 20 * (CHILDREN * (CHILDREN - 1) / 2 + 2 * CHILDREN));
        roost_free(rt, ref);
        unlink(path);
    }
}

/* Names pending results of its leases to others, and stops for ever, the first time. */
ROOST_TASK(show_children);
int show_children(struct roost_task *task)
{
    struct roost *inside = roost_of(task);
    roost_ref refs[2], list, sum;
    ROOST_TRY(roost_call(inside, wait_at_gate, &refs[0], roost_arg_text(task, 0)));
    ROOST_TRY(roost_call(inside, add_one, &refs[1], refs[0]));
    ROOST_TRY(roost_put_refs(inside, refs, 2, &list));
    ROOST_TRY(roost_call(inside, sum_list, &sum, roost_in_handle(list)));
    if (roost_attempt(task) == 0) {
        uint64_t value;
        ROOST_TRY(tell(roost_arg_text(task, 1), (long)getpid()));
        ROOST_TRY(roost_get_value(inside, sum, &value, LONG_MS));
        pause();
    }
    return roost_return_ref(task, 0, sum);
}

TEST(nested, what_others_know_of_a_dead_holders_calls_is_made_all_the_same)
{
    for (int round = 0; round < 4; round++) {
        char gate[4096], path[4096];
        snprintf(gate, sizeof gate, "%s", cluster_path("gate-dead"));
        snprintf(path, sizeof path, "%s", cluster_path("who-dead"));
        roost_ref ref;
        bool ready;
        OK(roost_call(rt, show_children, &ref, gate, path));
        pid_t holder = (pid_t)told(path, ref);
        CHECK_EQ(roost_wait(rt, &ref, 1, 1, true, &ready, round * 10), ROOST_ETIMEDOUT);
        CHECK_EQ(kill(holder, SIGKILL), 0);
        open_gate(gate);
        CHECK_EQ(number_of(ref), 77 + 78);
        roost_free(rt, ref);
        unlink(gate);
    }
}
