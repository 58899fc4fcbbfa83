/* Where tasks run, what they call from there, and what is told of those that fail there. */
#include "tests/integration/nodes/nodes.h"

#include <signal.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { NODES = 3 };

static bool is_same(roost_node a, roost_node b) { return a.id.hi == b.id.hi && a.id.lo == b.id.lo; }

static uint64_t get_number(roost_ref ref)
{
    uint64_t number;
    OK(roost_get_value(rt, ref, &number, LONG_MS));
    return number;
}

static int number_of(roost_node node)
{
    for (int number = 1; number <= NODES; number++) {
        if (is_same(node, nodes_of(number))) {
            return number;
        }
    }
    return 0;
}

/* Where the task ran whose result is its node; the ref is freed. */
static int where(roost_ref ref)
{
    roost_node node;
    OK(roost_get_value(rt, ref, &node, LONG_MS));
    roost_free(rt, ref);
    return number_of(node);
}

static struct roost_error explain(roost_ref ref)
{
    struct roost_error error = ROOST_ERROR_INIT;
    OK(roost_explain(rt, ref, &error));
    return error;
}

ROOST_TASK(here);
int here(struct roost_task *task)
{
    roost_node node = roost_here(roost_of(task));
    return roost_return_value(task, 0, node);
}

ROOST_TASK(make_bytes);
int make_bytes(struct roost_task *task)
{
    roost_buffer out;
    uint64_t size = roost_arg_uint(task, 0);
    ROOST_TRY(roost_return_create(task, 0, size, &out));
    memset(out.data, 7, size);
    return 0;
}

ROOST_TASK(echo);
int echo(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0);
    return roost_return_value(task, 0, value);
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

/* ---- the nodes ---- */

TEST(tasks, the_driver_sees_every_node_and_its_own_first)
{
    struct roost_node_info nodes[NODES];
    size_t count;
    nodes_of(1); /* waits for all */
    OK(roost_nodes(rt, nodes, sizeof nodes[0], NODES, &count));
    CHECK_EQ(count, NODES);
    CHECK(is_same(nodes[0].node, roost_here(rt)));
    CHECK_TEXT(nodes[0].host, "node-1");
    for (int i = 0; i < NODES; i++) {
        CHECK(nodes[i].alive);
        CHECK_EQ(nodes[i].cpus_total, 2);
        CHECK_EQ(nodes[i].store_bytes_total, 128 << 20);
        CHECK(number_of(nodes[i].node) > 0);
    }
}

/* ---- where ---- */

TEST(tasks, a_task_goes_to_its_data)
{
    for (int node = NODES; node >= 1; node--) {
        roost_ref big, ran;
        bool ready;
        struct roost_task_options only = nodes_only(node);
        OK(roost_call_with(rt, make_bytes, &only, &big, 20000000));
        OK(roost_wait(rt, &big, 1, 1, false, &ready, LONG_MS));
        OK(roost_call(rt, here, &ran, big));
        CHECK_EQ(where(ran), node);
        OK(roost_call(rt, here, &ran, roost_slice(big, 100, 10000000)));
        CHECK_EQ(where(ran), node);
        roost_free(rt, big);
    }
}

TEST(tasks, wishes_for_a_node_are_heard)
{
    for (int node = 1; node <= NODES; node++) {
        roost_ref soft, hard, big;
        struct roost_task_options wish = { .size = sizeof wish, .node = nodes_of(node) };
        struct roost_task_options only = nodes_only(node), other = nodes_only(node % NODES + 1);
        OK(roost_call_with(rt, make_bytes, &other, &big, 1000000));
        OK(roost_call_with(rt, here, &wish, &soft));
        OK(roost_call_with(rt, here, &only, &hard, big));
        CHECK_EQ(where(soft), node);
        CHECK_EQ(where(hard), node);
        roost_free(rt, big);
    }
    roost_ref ran;
    struct roost_task_options wish = { .size = sizeof wish, .node = { { 1, 2 } } };
    OK(roost_call_with(rt, here, &wish, &ran)); /* there is no such node, so it is any */
    CHECK(where(ran) > 0);
}

TEST(tasks, a_node_that_does_not_exist_is_said_soon)
{
    roost_ref ran;
    uint64_t value;
    struct roost_task_options only = { .size = sizeof only, .node = { { 1, 2 } }, .node_only = true };
    OK(roost_call_with(rt, here, &only, &ran));
    CHECK_EQ(roost_get_value(rt, ran, &value, LONG_MS), ROOST_EINFEASIBLE);
    CHECK_HAS(roost_last_error(), "here");
    roost_free(rt, ran);
}

ROOST_TASK(pass_gate);
int pass_gate(struct roost_task *task)
{
    char byte;
    const char *path = roost_arg_text(task, 0);
    FILE *gate = fopen(path, "r");
    if (gate == NULL || setvbuf(gate, NULL, _IONBF, 0) != 0 || fread(&byte, 1, 1, gate) != 1) {
        return roost_fail(task, 1, "%s is no gate", path);
    }
    fclose(gate);
    roost_node node = roost_here(roost_of(task));
    return roost_return_value(task, 0, node);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

TEST(tasks, spread_uses_every_node_alike)
{
    static char rows[65536];
    enum { COUNT = 9 }; /* all at once: fewer than any node may have at hand */
    roost_ref refs[COUNT];
    int ran[NODES + 1] = { 0 };
    const char *path = cluster_make_gate("spread");
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    for (int i = 0; i < COUNT; i++) {
        OK(roost_call_with(rt, pass_gate, &spread, &refs[i], path));
    }
    uint64_t deadline = nodes_now_ms() + LONG_MS;
    do { /* until each is with a node */
        CHECK(nodes_now_ms() < deadline);
        nodes_moment();
        nodes_roost("ls tasks --json --filter state=placed --filter name=pass_gate", rows, sizeof rows);
    } while (count_of(rows, "\"pass_gate\"") < COUNT);
    for (int i = 0; i < COUNT; i++) {
        cluster_open_gate(path); /* a byte for each, at least */
    }
    for (int i = 0; i < COUNT; i++) {
        ran[where(refs[i])]++;
    }
    for (int node = 1; node <= NODES; node++) {
        CHECK_EQ(ran[node], COUNT / NODES);
    }
}

ROOST_TASK(take_time);
int take_time(struct roost_task *task)
{
    uint64_t until = nodes_now_ms() + roost_arg_uint(task, 0);
    while (nodes_now_ms() < until) {
        nodes_moment();
    }
    roost_node node = roost_here(roost_of(task));
    return roost_return_value(task, 0, node);
}

TEST(tasks, more_than_one_node_can_do_goes_to_the_others)
{
    enum { COUNT = 24 };
    roost_ref refs[COUNT];
    int ran[NODES + 1] = { 0 };
    for (int i = 0; i < COUNT; i++) {
        OK(roost_call(rt, take_time, &refs[i], 60));
    }
    for (int i = 0; i < COUNT; i++) {
        ran[where(refs[i])]++;
    }
    for (int node = 1; node <= NODES; node++) {
        CHECK(ran[node] >= 2);
    }
}

/* ---- calls from there ---- */

ROOST_TASK(count_tree);
int count_tree(struct roost_task *task)
{
    enum { FAN_OUT = 3 };
    uint64_t depth = roost_arg_uint(task, 0), sum = 1, below;
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    roost_ref refs[FAN_OUT];
    for (int i = 0; depth > 1 && i < FAN_OUT; i++) {
        ROOST_TRY(roost_call_with(roost_of(task), count_tree, &spread, &refs[i], depth - 1));
    }
    for (int i = 0; depth > 1 && i < FAN_OUT; i++) {
        ROOST_TRY(roost_get_value(roost_of(task), refs[i], &below, ROOST_FOREVER));
        sum += below;
    }
    return roost_return_value(task, 0, sum);
}

TEST(tasks, a_tree_of_tasks_grows_over_all_nodes)
{
    roost_ref tree;
    struct roost_task_options only = nodes_only(2);
    OK(roost_call_with(rt, count_tree, &only, &tree, 5));
    CHECK_EQ(get_number(tree), (243 - 1) / 2);
    roost_free(rt, tree);
}

TEST(tasks, a_chain_goes_round_all_nodes)
{
    enum { STEPS = 90 };
    roost_ref at, next;
    uint64_t zero = 0;
    OK(roost_put_value(rt, zero, &at));
    for (int i = 0; i < STEPS; i++) {
        struct roost_task_options only = nodes_only(1 + i % NODES);
        OK(roost_call_with(rt, add_all, &only, &next, at, 1));
        roost_free(rt, at);
        at = next;
    }
    CHECK_EQ(get_number(at), STEPS);
    roost_free(rt, at);
}

TEST(tasks, one_task_takes_3000_results_of_all_nodes)
{
    enum { COUNT = 3000 };
    static roost_ref refs[COUNT];
    roost_ref sum;
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    for (int i = 0; i < COUNT; i++) {
        OK(roost_call_with(rt, echo, &spread, &refs[i], i));
    }
    struct roost_task_options only = nodes_only(3);
    OK(roost_call_with(rt, add_all, &only, &sum, roost_in_refs(refs, COUNT)));
    roost_free_many(rt, refs, COUNT);
    CHECK_EQ(get_number(sum), (uint64_t)COUNT * (COUNT - 1) / 2);
    roost_free(rt, sum);
}

ROOST_TASK(make_many);
int make_many(struct roost_task *task)
{
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t value = (uint64_t)i * i;
        ROOST_TRY(roost_return_value(task, i, value));
    }
    return 0;
}

TEST(tasks, a_task_elsewhere_gives_1000_results)
{
    enum { COUNT = 1000 };
    static roost_ref refs[COUNT];
    struct roost_task_options only = nodes_only(2);
    only.returns = COUNT;
    OK(roost_call_with(rt, make_many, &only, refs));
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_EQ(get_number(refs[i]), (uint64_t)i * i);
    }
    roost_free_many(rt, refs, COUNT);
}

ROOST_TASK(pass_on);
int pass_on(struct roost_task *task) { return roost_return_ref(task, 0, roost_arg_ref(task, 0)); }

TEST(tasks, a_handle_goes_there_and_back)
{
    roost_ref number, there, back;
    uint64_t value = 77;
    struct roost_task_options second = nodes_only(2), third = nodes_only(3);
    OK(roost_put_value(rt, value, &number));
    OK(roost_call_with(rt, pass_on, &second, &there, roost_in_handle(number)));
    roost_free(rt, number);
    OK(roost_call_with(rt, pass_on, &third, &back, roost_in_handle(there)));
    roost_free(rt, there);
    CHECK_EQ(get_number(back), 77);
    roost_free(rt, back);
}

ROOST_TASK(read_env);
int read_env(struct roost_task *task)
{
    const char *value = getenv(roost_arg_text(task, 0));
    return value == NULL ? roost_fail(task, 1, "not set") : roost_return(task, 0, value, strlen(value) + 1);
}

TEST(tasks, a_task_s_environment_goes_along)
{
    roost_ref ref;
    char value[6];
    struct roost_task_options only = nodes_only(3);
    only.env = (const char *const[]){ "COLOUR=green", NULL };
    OK(roost_call_with(rt, read_env, &only, &ref, "COLOUR"));
    OK(roost_get_copy(rt, ref, value, sizeof value, LONG_MS));
    CHECK_TEXT(value, "green");
    roost_free(rt, ref);
}

/* ---- failures ---- */

ROOST_TASK(read_line);
int read_line(struct roost_task *task)
{
    roost_arg(task, 0);
    return roost_fail(task, 7, "line %d is too long", 12);
}

TEST(tasks, a_failure_elsewhere_says_what_where_and_who)
{
    roost_ref first, second, third;
    uint64_t value;
    struct roost_task_options two = nodes_only(2), three = nodes_only(3);
    OK(roost_call_with(rt, read_line, &two, &first, 0));
    OK(roost_call_with(rt, add_all, &three, &second, first, 1));
    OK(roost_call(rt, add_all, &third, second, 1));
    CHECK_EQ(roost_get_value(rt, third, &value, LONG_MS), ROOST_EFAILED);
    CHECK_HAS(roost_last_error(), "read_line on node-2: line 12 is too long (pid ");
    CHECK_EQ(roost_get_value(rt, first, &value, LONG_MS), ROOST_EFAILED);
    CHECK_HAS(roost_last_error(), "read_line on node-2: line 12 is too long (pid ");
    struct roost_error error = explain(third);
    CHECK_EQ(error.status, ROOST_EFAILED);
    CHECK_EQ(error.app_code, 7);
    CHECK_TEXT(error.function, "read_line");
    CHECK_TEXT(error.node, "node-2");
    CHECK(error.pid > 0);
    roost_free(rt, first);
    roost_free(rt, second);
    roost_free(rt, third);
}

ROOST_TASK(die_before);
int die_before(struct roost_task *task)
{
    uint64_t attempt = roost_attempt(task);
    if (attempt < roost_arg_uint(task, 0)) {
        raise(SIGKILL);
    }
    return roost_return_value(task, 0, attempt);
}

TEST(tasks, a_worker_s_death_elsewhere_is_retried_and_then_named)
{
    roost_ref ref;
    uint64_t value;
    struct roost_task_options only = nodes_only(2);
    OK(roost_call_with(rt, die_before, &only, &ref, 3));
    CHECK_EQ(get_number(ref), 3);
    roost_free(rt, ref);
    only.max_retries = 1;
    OK(roost_call_with(rt, die_before, &only, &ref, 100));
    CHECK_EQ(roost_get_value(rt, ref, &value, LONG_MS), ROOST_EWORKER);
    CHECK_HAS(roost_last_error(), "die_before on node-2: ");
    struct roost_error error = explain(ref);
    CHECK_EQ(error.signal, SIGKILL);
    CHECK_EQ(error.attempts, 2);
    CHECK_TEXT(error.node, "node-2");
    CHECK_TEXT(error.function, "die_before");
    CHECK(error.pid > 0);
    roost_free(rt, ref);
}

ROOST_TASK(fail_twice);
int fail_twice(struct roost_task *task)
{
    uint64_t attempt = roost_attempt(task);
    return attempt < 2 ? roost_fail(task, 1, "not yet") : roost_return_value(task, 0, attempt);
}

TEST(tasks, own_failures_elsewhere_are_retried_only_when_asked_for)
{
    roost_ref tried, untried;
    uint64_t value;
    struct roost_task_options only = nodes_only(3);
    OK(roost_call_with(rt, fail_twice, &only, &untried));
    only.retry_on_failure = true;
    OK(roost_call_with(rt, fail_twice, &only, &tried));
    CHECK_EQ(get_number(tried), 2);
    CHECK_EQ(roost_get_value(rt, untried, &value, LONG_MS), ROOST_EFAILED);
    CHECK_EQ(explain(untried).attempts, 1);
    roost_free(rt, tried);
    roost_free(rt, untried);
}

TEST(tasks, a_range_outside_of_an_argument_elsewhere_fails_the_task)
{
    roost_ref bytes, ran;
    uint64_t value;
    struct roost_task_options two = nodes_only(2), three = nodes_only(3);
    OK(roost_call_with(rt, make_bytes, &two, &bytes, 10000));
    OK(roost_call_with(rt, here, &three, &ran, roost_slice(bytes, 9999, 2)));
    CHECK_EQ(roost_get_value(rt, ran, &value, LONG_MS), ROOST_ERANGE);
    roost_free(rt, ran);
    OK(roost_call_with(rt, here, &two, &ran, roost_slice(bytes, 9999, 2)));
    CHECK_EQ(roost_get_value(rt, ran, &value, LONG_MS), ROOST_ERANGE);
    roost_free(rt, ran);
    roost_free(rt, bytes);
}

/* ---- the command ---- */

TEST(tasks, every_agent_answers_the_command_for_its_rings)
{
    static char out[1 << 16];
    nodes_roost("ls tasks 2>&1", out, sizeof out);
    CHECK_HAS(out, "TASK");
    CHECK(strstr(out, "did not tell") == NULL);
}

/* ---- words ---- */

ROOST_TASK(speak);
int speak(struct roost_task *task)
{
    uint64_t pid = (uint64_t)getpid();
    printf("words from afar\n");
    return roost_return_value(task, 0, pid);
}

/* This program's stderr is the file that in_cluster.sh keeps; roost_close() would be the last moment for the line. */
TEST(tasks, what_a_task_prints_elsewhere_is_printed_here_with_its_node_and_pid)
{
    roost_ref ref;
    char line[200], text[65536];
    bool is_there = false;
    struct roost_task_options only = nodes_only(2);
    OK(roost_call_with(rt, speak, &only, &ref));
    snprintf(line, sizeof line, "speak node-2 %llu | words from afar\n", (unsigned long long)get_number(ref));
    uint64_t deadline = nodes_now_ms() + LONG_MS;
    while (!is_there && nodes_now_ms() < deadline) {
        FILE *file = fopen("/proc/self/fd/2", "r"); /* from its start */
        CHECK(file != NULL);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        is_there = strstr(text, line) != NULL;
        nodes_moment();
    }
    if (!is_there) {
        fprintf(stderr, "no line %s", line);
    }
    CHECK(is_there);
    roost_free(rt, ref);
}
