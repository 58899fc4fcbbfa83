/* Calls that no daemon sees: through leases, on an agent of its own process, whose pid is ROOST_TEST_AGENT_PID. */
#include "common/limits.h"
#include "tests/integration/cluster/cluster.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { PAGE = 4096, STOPPED_CALLS = 1000, STOPPED_MS = 1000, MANY = 3000, KILLS = 12, THREADS = 4 };

ROOST_TASK(add_one);
int add_one(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0) + 1;
    return roost_return_value(task, 0, value);
}

static uint64_t number_of(roost_ref ref)
{
    uint64_t value = 0;
    OK(roost_get_value(rt, ref, &value, LONG_MS));
    return value;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t one_more(uint64_t number)
{
    roost_ref ref;
    OK(roost_call(rt, add_one, &ref, number));
    uint64_t value = number_of(ref);
    roost_free(rt, ref);
    return value;
}

/* Nothing runs: a CPU that is not free is in a lease. */
static bool has_lease(void)
{
    struct roost_node_info info;
    size_t count;
    OK(roost_nodes(rt, &info, sizeof info, 1, &count));
    return info.cpus_free < info.cpus_total;
}

static void warm_up(void)
{
    uint64_t end = now_ms() + LONG_MS;
    for (uint64_t i = 0; i < 10 || !has_lease(); i++) {
        CHECK_EQ(one_more(i), i + 1);
        CHECK(now_ms() < end);
    }
}

static pid_t agent_pid(void)
{
    const char *text = getenv("ROOST_TEST_AGENT_PID");
    CHECK(text != NULL);
    return (pid_t)strtol(text, NULL, 10);
}

/* A call that needs the agent after all (the lease was not mapped yet, or had just gone back idle) is done once it goes
 * on. */
static bool is_done_without_the_agent(uint64_t number)
{
    uint64_t value = 0;
    roost_ref ref;
    OK(roost_call(rt, add_one, &ref, number));
    int status = roost_get_value(rt, ref, &value, STOPPED_MS);
    if (status == ROOST_ETIMEDOUT) {
        CHECK_EQ(kill(agent_pid(), SIGCONT), 0);
        value = number_of(ref);
        CHECK_EQ(kill(agent_pid(), SIGSTOP), 0);
    }
    CHECK_EQ(value, number + 1);
    roost_free(rt, ref);
    return status == 0;
}

TEST(leases, calls_are_made_and_done_while_the_agent_is_stopped)
{
    warm_up();
    CHECK_EQ(kill(agent_pid(), SIGSTOP), 0);
    uint64_t end = now_ms() + LONG_MS, done = 0;
    for (uint64_t i = 0; done < STOPPED_CALLS && now_ms() < end; i++) {
        done += is_done_without_the_agent(i);
    }
    CHECK_EQ(kill(agent_pid(), SIGCONT), 0);
    CHECK_EQ(done, STOPPED_CALLS);
}

ROOST_TASK(make_bytes);
int make_bytes(struct roost_task *task)
{
    static unsigned char bytes[200000];
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        memset(bytes, (int)i + 1, sizeof bytes);
        ROOST_TRY(roost_return(task, i, bytes, roost_arg_uint(task, i)));
    }
    return 0;
}

TEST(leases, results_of_every_size_come_back_together)
{
    static const size_t sizes[] = {
        8, 0, 4096, 4097, 200000, 4096, 4096, 4096, 4096
    }; /* some inside, some in the store */
    enum { COUNT = sizeof sizes / sizeof *sizes };
    roost_in args[COUNT];
    for (int round = 0; round < 50; round++) {
        roost_ref refs[COUNT];
        roost_view views[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            args[i] = roost_in_uint(sizes[i]);
        }
        struct roost_task_options options = ROOST_TASK_OPTIONS(.returns = COUNT);
        OK(roost_submit(rt, make_bytes, &options, refs, args, COUNT));
        OK(roost_get_many(rt, refs, COUNT, views, LONG_MS));
        for (size_t i = 0; i < COUNT; i++) {
            CHECK_EQ(views[i].size, sizes[i]);
            for (size_t b = 0; b < sizes[i]; b += 4095) {
                CHECK_EQ(((const unsigned char *)views[i].data)[b], i + 1);
            }
        }
        roost_release_many(rt, views, COUNT);
        roost_free_many(rt, refs, COUNT);
    }
}

ROOST_TASK(sum_all);
int sum_all(struct roost_task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        sum += roost_arg_uint(task, i);
    }
    return roost_return_value(task, 0, sum);
}

TEST(leases, arguments_that_are_here_stay_until_the_call_is_done)
{
    enum { CALLS = 500 };
    static roost_ref sums[CALLS];
    roost_ref shared, part;
    uint64_t words[2] = { 1000, 7 };
    warm_up();
    OK(roost_put(rt, words, sizeof words, &shared));
    part = roost_slice(shared, 8, 8);
    for (uint64_t i = 0; i < CALLS; i++) {
        roost_ref own; /* private until now, and freed at once */
        OK(roost_put(rt, &i, sizeof i, &own));
        OK(roost_call(rt, sum_all, &sums[i], own, part, i));
        roost_free(rt, own);
    }
    roost_free(rt, shared);
    for (uint64_t i = 0; i < CALLS; i++) {
        CHECK_EQ(number_of(sums[i]), 2 * i + 7);
    }
    roost_free_many(rt, sums, CALLS);
}

TEST(leases, a_chain_of_calls_takes_its_values_along)
{
    enum { LINKS = 2000, FAN = 4 };
    static roost_ref refs[LINKS];
    warm_up();
    for (int round = 0; round < 3; round++) {
        OK(roost_call(rt, add_one, &refs[0], UINT64_C(0)));
        for (uint64_t i = 1; i < LINKS; i++) {
            OK(roost_call(rt, add_one, &refs[i], refs[i - 1]));
            roost_free(rt, refs[i - 1]);
        }
        CHECK_EQ(number_of(refs[LINKS - 1]), LINKS);
        roost_free(rt, refs[LINKS - 1]);
    }
    roost_ref parts[FAN], sum, more;
    for (uint64_t i = 0; i < FAN; i++) {
        OK(roost_call(rt, add_one, &parts[i], i));
    }
    OK(roost_call(rt, sum_all, &sum, parts[0], parts[1], parts[2], parts[3]));
    OK(roost_call(rt, sum_all, &more, roost_slice(sum, 0, 8), UINT64_C(5), parts[1]));
    CHECK_EQ(number_of(more), 1 + 2 + 3 + 4 + 5 + 2);
    CHECK_EQ(number_of(sum), 10);
    roost_free(rt, sum);
    roost_free(rt, more);
    roost_free_many(rt, parts, FAN);
}

ROOST_TASK(size_of);
int size_of(struct roost_task *task)
{
    uint64_t size = roost_arg(task, 0).size;
    return roost_return_value(task, 0, size);
}

TEST(leases, arguments_of_every_size_that_were_results_arrive)
{
    static const uint64_t sizes[] = { 0, 1, 8, 100, 300, 500, 4096, 4097, 200000 };
    enum { COUNT = sizeof sizes / sizeof *sizes };
    roost_ref made[COUNT], told[COUNT];
    warm_up();
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            OK(roost_call(rt, make_bytes, &made[i], sizes[i]));
            OK(roost_call(rt, size_of, &told[i], made[i]));
        }
        for (size_t i = 0; i < COUNT; i++) {
            CHECK_EQ(number_of(told[i]), sizes[i]);
        }
        roost_free_many(rt, made, COUNT);
        roost_free_many(rt, told, COUNT);
    }
}

ROOST_TASK(hand_on);
int hand_on(struct roost_task *task) { return roost_return_ref(task, 0, roost_arg_ref(task, 0)); }

TEST(leases, a_value_that_came_along_can_be_named_by_the_task)
{
    roost_ref first, same, next;
    warm_up();
    OK(roost_call(rt, add_one, &first, UINT64_C(41)));
    OK(roost_call(rt, hand_on, &same, first));
    OK(roost_call(rt, add_one, &next, same));
    roost_free(rt, first);
    CHECK_EQ(number_of(same), 42);
    CHECK_EQ(number_of(next), 43);
    roost_free(rt, same);
    roost_free(rt, next);
}

ROOST_TASK(fail_with_words);
int fail_with_words(struct roost_task *task) { return roost_fail(task, 7, "the first of the chain"); }

TEST(leases, a_chain_fails_by_its_first_failure)
{
    enum { LINKS = 500 };
    static roost_ref refs[LINKS];
    warm_up();
    OK(roost_call(rt, fail_with_words, &refs[0]));
    for (uint64_t i = 1; i < LINKS; i++) {
        OK(roost_call(rt, add_one, &refs[i], refs[i - 1]));
    }
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, refs[LINKS - 1], &value, LONG_MS), ROOST_EFAILED);
    CHECK_HAS(roost_last_error(), "the first of the chain");
    struct roost_error error = ROOST_ERROR_INIT;
    OK(roost_explain(rt, refs[LINKS - 1], &error));
    CHECK_TEXT(error.function, "fail_with_words");
    roost_free_many(rt, refs, LINKS);
}

ROOST_TASK(die_first);
int die_first(struct roost_task *task)
{
    if (roost_attempt(task) < roost_arg_uint(task, 0)) {
        raise(SIGKILL);
    }
    uint64_t value = roost_arg_uint(task, 1) + 1;
    return roost_return_value(task, 0, value);
}

TEST(leases, what_a_dead_worker_had_not_done_is_done_by_others)
{
    enum { CALLS = 60 };
    static roost_ref refs[CALLS];
    warm_up();
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t deaths = i % 20 == 7 ? i % 3 + 1 : 0;
        OK(roost_call(rt, die_first, &refs[i], deaths, i));
    }
    for (uint64_t i = 0; i < CALLS; i++) {
        CHECK_EQ(number_of(refs[i]), i + 1);
    }
    roost_free_many(rt, refs, CALLS);
}

TEST(leases, a_task_whose_worker_died_too_often_says_so)
{
    warm_up();
    roost_ref ref;
    struct roost_task_options options = ROOST_TASK_OPTIONS(.max_retries = ROOST_NONE);
    OK(roost_call_with(rt, die_first, &options, &ref, UINT64_C(9), UINT64_C(1)));
    uint64_t value;
    CHECK_EQ(roost_get_value(rt, ref, &value, LONG_MS), ROOST_EWORKER);
    CHECK_HAS(roost_last_error(), "killed by signal 9");
    struct roost_error error = ROOST_ERROR_INIT;
    OK(roost_explain(rt, ref, &error));
    CHECK_EQ(error.signal, SIGKILL);
    CHECK_EQ(error.attempts, 1);
    CHECK_TEXT(error.function, "die_first");
    roost_free(rt, ref);
}

ROOST_TASK(wait_at_gate);
int wait_at_gate(struct roost_task *task)
{
    char word[2];
    int fd = open(roost_arg_text(task, 0), O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, word, sizeof word);
    close(fd);
    uint64_t value = 77;
    return got == 2 ? roost_return_value(task, 0, value) : ROOST_EIO;
}

TEST(leases, a_pending_call_is_explained_by_its_driver)
{
    const char *gate = cluster_make_gate("gate-why");
    roost_ref slow, next;
    warm_up();
    OK(roost_call(rt, wait_at_gate, &slow, gate));
    OK(roost_call(rt, add_one, &next, slow));
    struct roost_error error = ROOST_ERROR_INIT;
    OK(roost_explain(rt, next, &error));
    CHECK_EQ(error.status, 0);
    CHECK_TEXT(error.function, "add_one");
    CHECK_HAS(error.text, "waits for 1 results");
    CHECK_EQ(error.pid, 0);
    OK(roost_explain(rt, slow, &error));
    CHECK_TEXT(error.function, "wait_at_gate");
    CHECK_HAS(error.text, "ms ago");
    cluster_open_gate(gate);
    CHECK_EQ(number_of(next), 78);
    OK(roost_explain(rt, next, &error));
    CHECK_EQ(error.status, 0);
    CHECK_TEXT(error.text, "");
    roost_free(rt, slow);
    roost_free(rt, next);
}

TEST(leases, short_tasks_do_not_wait_behind_a_long_one)
{
    enum { CALLS = 200 };
    const char *gate = cluster_make_gate("gate-long");
    static roost_ref refs[CALLS];
    roost_ref slow;
    warm_up();
    OK(roost_call(rt, wait_at_gate, &slow, gate));
    for (uint64_t i = 0; i < CALLS; i++) {
        OK(roost_call(rt, add_one, &refs[i], i));
    }
    for (uint64_t i = 0; i < CALLS; i++) {
        CHECK_EQ(number_of(refs[i]), i + 1);
    }
    cluster_open_gate(gate);
    CHECK_EQ(number_of(slow), 77);
    roost_free(rt, slow);
    roost_free_many(rt, refs, CALLS);
}

TEST(leases, a_pending_result_whose_name_leaves_is_waited_for_by_others)
{
    const char *gate = cluster_make_gate("gate-escape");
    roost_ref refs[3], list, sum, next;
    warm_up();
    OK(roost_call(rt, add_one, &refs[0], UINT64_C(1)));
    CHECK_EQ(number_of(refs[0]), 2); /* sealed, small, and known to nobody else */
    OK(roost_call(rt, wait_at_gate, &refs[1], gate));
    OK(roost_call(rt, add_one, &refs[2], UINT64_C(10)));
    OK(roost_put_refs(rt, refs, 3, &list));
    OK(roost_call(rt, sum_list, &sum, roost_in_handle(list)));
    OK(roost_call(rt, add_one, &next, refs[1]));
    roost_free_many(rt, refs, 3); /* the list holds them */
    bool ready;
    CHECK_EQ(roost_wait(rt, &sum, 1, 1, true, &ready, 50), ROOST_ETIMEDOUT);
    cluster_open_gate(gate);
    CHECK_EQ(number_of(sum), 2 + 77 + 11);
    CHECK_EQ(number_of(next), 78);
    roost_free(rt, list);
    roost_free(rt, sum);
    roost_free(rt, next);
}

TEST(leases, a_wait_over_own_results_and_those_of_the_agent_ends_with_whichever_comes)
{
    const char *gates[2] = { NULL, NULL };
    static char paths[2][4096];
    roost_ref refs[2];
    bool ready[2];
    warm_up();
    for (int i = 0; i < 2; i++) {
        gates[i] = strcpy(paths[i], cluster_make_gate(i == 0 ? "gate-own" : "gate-others"));
    }
    struct roost_task_options options = ROOST_TASK_OPTIONS(.spread = true); /* no lease gives that */
    for (int round = 0; round < 2; round++) {
        OK(roost_call(rt, wait_at_gate, &refs[0], gates[0]));
        OK(roost_call_with(rt, wait_at_gate, &options, &refs[1], gates[1]));
        CHECK_EQ(roost_wait(rt, refs, 2, 1, true, ready, 20), ROOST_ETIMEDOUT);
        cluster_open_gate(gates[round]);
        OK(roost_wait(rt, refs, 2, 1, true, ready, LONG_MS));
        CHECK(ready[round] && !ready[1 - round]);
        cluster_open_gate(gates[1 - round]);
        OK(roost_wait(rt, refs, 2, 2, true, ready, LONG_MS));
        roost_free_many(rt, refs, 2);
        for (int i = 0; i < 2; i++) {
            unlink(gates[i]);
            strcpy(paths[i], cluster_make_gate(i == 0 ? "gate-own" : "gate-others"));
        }
    }
}

/* Bytes of ones over all that its worker and its holder share, as a stray pointer might. */
static bool scribble_over_the_lease(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], *found = NULL;
    unsigned long begin = 0, end = 0;
    while (maps != NULL && found == NULL && fgets(line, sizeof line, maps) != NULL) {
        found = strstr(line, "roost-lease");
        found = found != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2 ? found : NULL;
    }
    if (maps != NULL) {
        fclose(maps);
    }
    if (found != NULL) {
        memset((void *)(begin + PAGE), 0xff, end - begin - PAGE);
    }
    return found != NULL;
}

ROOST_TASK(break_the_lease);
int break_the_lease(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0);
    if (roost_attempt(task) == 0) {
        CHECK(scribble_over_the_lease());
        for (;;) { /* it lives on, and will never look at its ring */
            pause();
        }
    }
    return roost_return_value(task, 0, value);
}

TEST(leases, a_living_worker_that_breaks_its_ring_is_ended_and_its_tasks_are_tried_again)
{
    enum { CALLS = 20 };
    static roost_ref refs[CALLS];
    roost_ref broken;
    warm_up();
    OK(roost_call(rt, break_the_lease, &broken, UINT64_C(5)));
    for (uint64_t i = 0; i < CALLS; i++) {
        OK(roost_call(rt, add_one, &refs[i], i));
    }
    for (uint64_t i = 0; i < CALLS; i++) {
        CHECK_EQ(number_of(refs[i]), i + 1);
    }
    CHECK_EQ(number_of(broken), 5);
    roost_free(rt, broken);
    roost_free_many(rt, refs, CALLS);
}

static void *many_calls(void *failed)
{
    for (uint64_t i = 0; i < MANY; i++) {
        if (one_more(i) != i + 1) {
            *(bool *)failed = true;
        }
    }
    return NULL;
}

TEST(leases, threads_that_wait_at_once_hand_the_lead_on)
{
    pthread_t threads[THREADS];
    bool failed[THREADS] = { false };
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, many_calls, &failed[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK(!failed[i]);
    }
}

/* More than may wait for a lease, and none is waited for until all are made. */
ROOST_TASK(call_too_many);
int call_too_many(struct roost_task *task)
{
    enum { COUNT = CLIENT_CALLS_QUEUED_MAX + 1000 };
    struct roost *within = roost_of(task);
    roost_ref *refs = calloc(COUNT, sizeof *refs);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        ROOST_TRY(roost_call(within, add_one, &refs[i], i));
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t value;
        ROOST_TRY(roost_get_value(within, refs[i], &value, LONG_MS));
        sum += value;
        roost_free(within, refs[i]);
    }
    free(refs);
    return roost_return_value(task, 0, sum);
}

TEST(leases, tasks_that_call_more_than_may_wait_lend_their_cpus_to_their_calls_and_get_every_result)
{
    const uint64_t count = CLIENT_CALLS_QUEUED_MAX + 1000;
    roost_ref parents[THREADS]; /* more than CPUs */
    for (int i = 0; i < THREADS; i++) {
        OK(roost_call(rt, call_too_many, &parents[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(number_of(parents[i]), count * (count + 1) / 2);
        roost_free(rt, parents[i]);
    }
}

ROOST_TASK(tell_pid);
int tell_pid(struct roost_task *task)
{
    uint64_t value = (uint64_t)getpid();
    return roost_return_value(task, 0, value);
}

TEST(leases, workers_killed_at_any_moment_lose_no_task)
{
    enum { CALLS = 4000 };
    static roost_ref refs[CALLS];
    struct roost_task_options options = ROOST_TASK_OPTIONS(.max_retries = 1000);
    unsigned seed = 4711;
    for (int round = 0; round < KILLS; round++) {
        roost_ref pid;
        OK(roost_call(rt, tell_pid, &pid));
        pid_t victim = (pid_t)number_of(pid);
        roost_free(rt, pid);
        uint64_t when = (uint64_t)rand_r(&seed) % CALLS;
        for (uint64_t i = 0; i < CALLS; i++) {
            OK(roost_call_with(rt, add_one, &options, &refs[i], i));
            if (i == when) {
                kill(victim, SIGKILL);
            }
        }
        for (uint64_t i = 0; i < CALLS; i++) {
            if (i % 7 != 0) {
                CHECK_EQ(number_of(refs[i]), i + 1);
            }
        }
        roost_free_many(rt, refs, CALLS); /* some before anybody has looked */
    }
}
