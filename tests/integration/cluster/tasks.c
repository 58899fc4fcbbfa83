/* Tasks that call tasks, many of everything, and what is told of those that fail. */
#include "tests/integration/cluster/cluster.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 2, .store_bytes = 256 << 20 };

enum { MANY = 10000 };

static struct roost_error explain(roost_ref ref)
{
    struct roost_error error = ROOST_ERROR_INIT;
    OK(roost_explain(rt, ref, &error));
    return error;
}

static uint64_t get_number(roost_ref ref)
{
    uint64_t number;
    OK(roost_get_value(rt, ref, &number, LONG_MS));
    return number;
}

ROOST_TASK(echo);
int echo(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0);
    return roost_return_value(task, 0, value);
}

/* ---- nested ---- */

ROOST_TASK(count_tree);
int count_tree(struct roost_task *task)
{
    enum { FAN_OUT = 3 };
    uint64_t depth = roost_arg_uint(task, 0), sum = 1, below;
    roost_ref refs[FAN_OUT];
    for (int i = 0; depth > 1 && i < FAN_OUT; i++) {
        ROOST_TRY(roost_call(roost_of(task), count_tree, &refs[i], depth - 1));
    }
    for (int i = 0; depth > 1 && i < FAN_OUT; i++) {
        ROOST_TRY(roost_get_value(roost_of(task), refs[i], &below, ROOST_FOREVER));
        sum += below;
    }
    return roost_return_value(task, 0, sum);
}

TEST(tasks, a_task_that_waits_for_its_children_gives_its_cpu_back)
{
    roost_ref tree;
    OK(roost_call(rt, count_tree, &tree, 6));
    CHECK_EQ(get_number(tree), (729 - 1) / 2);
    roost_free(rt, tree);
}

/* ---- many ---- */

ROOST_TASK(make_many);
int make_many(struct roost_task *task)
{
    for (uint32_t i = 0; i < ROOST_RETURNS_MAX; i++) {
        uint64_t value = (uint64_t)i * i;
        ROOST_TRY(roost_return_value(task, i, value));
    }
    return 0;
}

TEST(tasks, one_task_gives_4096_results)
{
    static roost_ref refs[ROOST_RETURNS_MAX];
    OK(roost_call_with(rt, make_many, &ROOST_TASK_OPTIONS(.returns = ROOST_RETURNS_MAX), refs));
    for (uint32_t i = 0; i < ROOST_RETURNS_MAX; i++) {
        CHECK_EQ(get_number(refs[i]), (uint64_t)i * i);
    }
    roost_free_many(rt, refs, ROOST_RETURNS_MAX);
}

ROOST_TASK(add_all);
int add_all(struct roost_task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        sum += roost_arg_uint(task, i);
    }
    return roost_return_value(task, 0, sum);
}

static roost_ref many[MANY];
static roost_view views[MANY];

static void put_many(void)
{
    for (uint64_t i = 0; i < MANY; i++) {
        OK(roost_put_value(rt, i, &many[i]));
    }
}

TEST(tasks, one_call_takes_10000_refs)
{
    roost_ref sum;
    put_many();
    OK(roost_call(rt, add_all, &sum, roost_in_refs(many, MANY)));
    roost_free_many(rt, many, MANY); /* the task keeps them */
    CHECK_EQ(get_number(sum), (uint64_t)MANY * (MANY - 1) / 2);
    roost_free(rt, sum);
}

TEST(tasks, get_many_sees_10000_objects)
{
    put_many();
    for (int half = 0; half < MANY; half += 2) { /* every other one is a task's */
        roost_free(rt, many[half]);
        OK(roost_call(rt, echo, &many[half], half));
    }
    OK(roost_get_many(rt, many, MANY, views, LONG_MS));
    for (uint64_t i = 0; i < MANY; i++) {
        CHECK_EQ(views[i].size, sizeof i);
        CHECK_EQ(*(const uint64_t *)views[i].data, i);
    }
    roost_release_many(rt, views, MANY);
    roost_free_many(rt, many, MANY);
}

TEST(tasks, a_call_is_known_to_whoever_asks_where_its_result_is)
{
    for (uint64_t i = 0; i < 300; i++) {
        roost_ref ref;
        size_t count;
        OK(roost_call(rt, echo, &ref, i));
        OK(roost_locate(rt, ref, NULL, 0, &count));
        CHECK(count <= 1);
        CHECK_EQ(get_number(ref), i);
        OK(roost_locate(rt, ref, NULL, 0, &count));
        CHECK_EQ(count, 1);
        roost_free(rt, ref);
    }
}

TEST(tasks, a_view_that_is_released_again_through_a_copy_ends_no_other_one)
{
    enum { COUNT = 40 };
    roost_ref refs[COUNT];
    roost_view seen[COUNT], copies[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        OK(roost_call(rt, echo, &refs[i], i));
        OK(roost_get(rt, refs[i], &seen[i], LONG_MS));
        copies[i] = seen[i];
        roost_release(rt, &seen[i]);
        roost_view stale = copies[i];
        roost_release(rt, &stale);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        OK(roost_get(rt, refs[i], &seen[i], LONG_MS));
        roost_release(rt, &copies[i]); /* its slot may be the one of what was seen just now */
        roost_free(rt, refs[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(*(const uint64_t *)seen[i].data, i);
        roost_release(rt, &seen[i]);
    }
}

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
    uint64_t value = roost_arg_uint(task, 1);
    return roost_return_value(task, 0, value);
}

ROOST_TASK(run_this_program);
int run_this_program(struct roost_task *task)
{
    char program[1024], command[2048];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length < 0 ? 0 : length] = '\0';
    snprintf(command, sizeof command, "'%s' one_task_gives_4096_results >/dev/null", program);
    int status = system(command);
    return roost_return_value(task, 0, status);
}

TEST(tasks, a_task_may_run_a_program_that_is_a_driver_itself)
{
    roost_ref ref;
    int status;
    OK(roost_call(rt, run_this_program, &ref));
    OK(roost_get_value(rt, ref, &status, LONG_MS));
    CHECK_EQ(status, 0);
    roost_free(rt, ref);
}

ROOST_TASK(name_gate);
int name_gate(struct roost_task *task)
{
    roost_ref ref;
    ROOST_TRY(roost_call(roost_of(task), pass_gate, &ref, roost_arg_text(task, 0), roost_arg_uint(task, 1)));
    return roost_return_ref(task, 0, ref);
}

static void watch_until_the_gate_opens(roost_fn *function, const char *gate)
{
    roost_ref ref;
    void *tag;
    const char *path = cluster_make_gate(gate);
    OK(roost_call(rt, function, &ref, path, 7u));
    OK(roost_watch(rt, ref, &ref));
    struct pollfd poll_fd = { roost_fd(rt), POLLIN, 0 };
    CHECK_EQ(poll(&poll_fd, 1, 300), 0); /* a moment in which a name could have come */
    CHECK_EQ(roost_ready(rt, &tag, 1), 0);
    cluster_open_gate(path);
    CHECK_EQ(poll(&poll_fd, 1, LONG_MS), 1);
    CHECK_EQ(roost_ready(rt, &tag, 1), 1);
    CHECK(tag == &ref);
    uint64_t number;
    OK(roost_get_value(rt, ref, &number, 0));
    CHECK_EQ(number, 7);
    roost_free(rt, ref);
}

TEST(tasks, a_watch_waits_for_the_value_of_a_call) { watch_until_the_gate_opens(pass_gate, "watched"); }

TEST(tasks, a_watch_waits_for_the_value_behind_the_name_that_a_call_gave)
{
    watch_until_the_gate_opens(name_gate, "named");
}

ROOST_TASK(second_of_two);
int second_of_two(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 1);
    return roost_return_value(task, 0, value);
}

TEST(tasks, wait_returns_when_500_of_1000_are_ready)
{
    enum { COUNT = 1000 };
    static roost_ref refs[COUNT];
    static bool ready[COUNT];
    roost_ref gate;
    const char *path = cluster_make_gate("gate-of-500");
    OK(roost_call(rt, pass_gate, &gate, path, 0));
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 == 0) {
            OK(roost_call(rt, echo, &refs[i], i));
        } else {
            OK(roost_call(rt, second_of_two, &refs[i], gate, i));
        }
    }
    OK(roost_wait(rt, refs, COUNT, COUNT / 2, false, ready, LONG_MS));
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(ready[i], i % 2 == 0);
    }
    CHECK_EQ(roost_wait(rt, refs, COUNT, COUNT / 2 + 1, false, ready, 20), ROOST_ETIMEDOUT);
    CHECK(ready[0] && !ready[1]);
    cluster_open_gate(path);
    OK(roost_wait(rt, refs, COUNT, COUNT, false, ready, LONG_MS));
    CHECK_EQ(get_number(refs[COUNT - 1]), COUNT - 1);
    roost_free_many(rt, refs, COUNT);
    roost_free(rt, gate);
}

/* ---- names in objects ---- */

/* A free reaches the agent with the next message or a moment later, so for as long the object may be seen. */
static void check_is_gone(roost_ref ref)
{
    uint64_t value;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t deadline = now.tv_sec + LONG_MS / 1000;
    int status;
    while ((status = roost_get_value(rt, ref, &value, LONG_MS)) == 0 && now.tv_sec < deadline) {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    CHECK_EQ(status, ROOST_EFREED);
}

ROOST_TASK(box_up);
int box_up(struct roost_task *task)
{
    roost_ref inside[2];
    uint64_t value = 4711;
    ROOST_TRY(roost_put_value(roost_of(task), value, &inside[0]));
    ROOST_TRY(roost_call(roost_of(task), echo, &inside[1], 815));
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, sizeof inside, &out));
    memcpy(out.data, inside, sizeof inside);
    return roost_declare_refs(roost_of(task), &out, inside, 2);
}

TEST(tasks, a_container_keeps_what_it_names)
{
    roost_ref inner, list, named;
    uint64_t value = 99;
    OK(roost_put_value(rt, value, &inner));
    OK(roost_put_refs(rt, &inner, 1, &list));
    roost_free(rt, inner);
    OK(roost_get_value(rt, list, &named, LONG_MS));
    CHECK_EQ(get_number(named), 99);
    roost_free(rt, list);
    check_is_gone(named);

    roost_ref box, inside[2];
    OK(roost_call(rt, box_up, &box));
    OK(roost_get_value(rt, box, &inside, LONG_MS));
    CHECK_EQ(get_number(inside[0]), 4711); /* the task that held them has ended */
    CHECK_EQ(get_number(inside[1]), 815);
    OK(roost_keep(rt, inside[1]));
    roost_free(rt, box);
    check_is_gone(inside[0]);
    CHECK_EQ(get_number(inside[1]), 815);
    roost_free(rt, inside[1]);
    check_is_gone(inside[1]);
}

ROOST_TASK(hand_on);
int hand_on(struct roost_task *task)
{
    uint64_t hops = roost_arg_uint(task, 0);
    roost_ref result;
    if (hops == 0) {
        ROOST_TRY(roost_call(roost_of(task), echo, &result, 31337));
    } else {
        ROOST_TRY(roost_call(roost_of(task), hand_on, &result, hops - 1));
    }
    return roost_return_ref(task, 0, result);
}

TEST(tasks, a_task_may_return_what_its_own_call_makes_whoever_is_done_first)
{
    for (uint64_t i = 0; i < 300; i++) {
        roost_ref result;
        OK(roost_call(rt, hand_on, &result, 1 + i % 3));
        CHECK_EQ(get_number(result), 31337);
        roost_free(rt, result);
    }
}

TEST(tasks, a_result_may_name_a_result_that_names_a_result)
{
    enum { FORWARDS = 8 }; /* STORE_FORWARDS_MAX */
    roost_ref result, twice;
    bool ready;
    OK(roost_call(rt, hand_on, &result, FORWARDS - 1));
    CHECK_EQ(get_number(result), 31337);
    OK(roost_call(rt, add_all, &twice, result, result));
    CHECK_EQ(get_number(twice), 2 * 31337);
    roost_free(rt, result);
    roost_free(rt, twice);
    OK(roost_call(rt, hand_on, &result, FORWARDS + 3)); /* too many: said, not hung */
    OK(roost_wait(rt, &result, 1, 1, true, &ready, LONG_MS));
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, result, &value, LONG_MS), ROOST_ELIMIT);
    roost_free(rt, result);
}

/* ---- failures ---- */

ROOST_TASK(read_line);
int read_line(struct roost_task *task) { return roost_fail(task, 7, "line %d is too long", 12); }

TEST(tasks, the_end_of_a_chain_tells_of_its_first_failure)
{
    roost_ref refs[6];
    OK(roost_call(rt, read_line, &refs[0]));
    for (int i = 1; i < 6; i++) {
        OK(roost_call(rt, add_all, &refs[i], refs[i - 1], i));
    }
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, refs[5], &value, LONG_MS), ROOST_EFAILED);
    CHECK_HAS(roost_last_error(), "read_line");
    CHECK_HAS(roost_last_error(), "line 12 is too long");
    struct roost_error error = explain(refs[5]);
    CHECK_EQ(error.status, ROOST_EFAILED);
    CHECK_EQ(error.app_code, 7);
    CHECK_TEXT(error.function, "read_line");
    CHECK_TEXT(error.text, "line 12 is too long");
    CHECK(error.node[0] != '\0' && error.pid > 0);
    roost_free_many(rt, refs, 6);
}

ROOST_TASK(fail_twice);
int fail_twice(struct roost_task *task)
{
    uint64_t attempt = roost_attempt(task);
    return attempt < 2 ? roost_fail(task, 1, "not yet") : roost_return_value(task, 0, attempt);
}

TEST(tasks, own_failures_are_retried_only_when_asked_for)
{
    roost_ref tried, untried, in_vain;
    OK(roost_call_with(rt, fail_twice, &ROOST_TASK_OPTIONS(.retry_on_failure = true), &tried));
    OK(roost_call(rt, fail_twice, &untried));
    OK(roost_call_with(rt, fail_twice, &ROOST_TASK_OPTIONS(.retry_on_failure = true, .max_retries = 1), &in_vain));
    CHECK_EQ(get_number(tried), 2);
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, untried, &value, LONG_MS), ROOST_EFAILED);
    CHECK_EQ(explain(untried).attempts, 1);
    CHECK_EQ(roost_get_value(rt, in_vain, &value, LONG_MS), ROOST_EFAILED);
    CHECK_EQ(explain(in_vain).attempts, 2);
    roost_free(rt, tried);
    roost_free(rt, untried);
    roost_free(rt, in_vain);
}

/* Writes its pid, so that a test knows who died. */
ROOST_TASK(die_before);
int die_before(struct roost_task *task)
{
    uint64_t attempt = roost_attempt(task);
    if (attempt < roost_arg_uint(task, 0)) {
        FILE *file = fopen(roost_arg_text(task, 1), "w");
        if (file == NULL) {
            return roost_fail(task, 1, "no file");
        }
        fprintf(file, "%ld", (long)getpid());
        fclose(file);
        raise(SIGKILL);
    }
    return roost_return_value(task, 0, attempt);
}

static long read_pid(const char *path)
{
    long pid = 0;
    FILE *file = fopen(path, "r");
    CHECK(file != NULL && fscanf(file, "%ld", &pid) == 1);
    fclose(file);
    return pid;
}

TEST(tasks, a_killed_worker_is_retried_and_then_named)
{
    roost_ref ref;
    const char *path = cluster_path("pid");
    OK(roost_call(rt, die_before, &ref, 3, path));
    CHECK_EQ(get_number(ref), 3); /* max_retries is 3 */
    roost_free(rt, ref);

    OK(roost_call_with(rt, die_before, &ROOST_TASK_OPTIONS(.max_retries = 2), &ref, 100, path));
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, ref, &value, LONG_MS), ROOST_EWORKER);
    struct roost_error error = explain(ref);
    CHECK_EQ(error.status, ROOST_EWORKER);
    CHECK_EQ(error.signal, SIGKILL);
    CHECK_EQ(error.attempts, 3);
    CHECK_EQ(error.pid, read_pid(path));
    CHECK_TEXT(error.function, "die_before");
    roost_free(rt, ref);

    OK(roost_call_with(rt, die_before, &ROOST_TASK_OPTIONS(.max_retries = ROOST_NONE), &ref, 100, path));
    CHECK_EQ(roost_get_value(rt, ref, &value, LONG_MS), ROOST_EWORKER);
    char pid[32], host[256];
    snprintf(pid, sizeof pid, "pid %ld", read_pid(path));
    CHECK_EQ(gethostname(host, sizeof host), 0);
    CHECK_HAS(roost_last_error(), "die_before");
    CHECK_HAS(roost_last_error(), "signal 9");
    CHECK_HAS(roost_last_error(), pid);
    CHECK_HAS(roost_last_error(), host);
    CHECK_EQ(explain(ref).attempts, 1);
    roost_free(rt, ref);
}

/* ---- the whole store is free in the end ---- */

TEST(tasks, nothing_of_all_that_is_left)
{
    struct roost_node_info node;
    size_t count;
    OK(roost_nodes(rt, &node, sizeof node, 1, &count));
    CHECK_EQ(count, 1);
    roost_buffer buffer;
    OK(roost_create(rt, node.store_bytes_total / 100 * 90, &buffer));
    roost_abort(rt, &buffer);
}
