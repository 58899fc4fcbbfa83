/* libroost against an agent: the fake one of tests/lib, with and without workers. */
#include "common/doorbell.h"
#include "common/hash.h"
#include "objectstore/map.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/test.h"
#include "tests/unit/api/objects.h"
#include "tests/unit/api/tasks.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct fake_agent *agent;

static struct roost *open_with(int workers, uint64_t store_bytes)
{
    struct roost *rt;
    agent = fake_agent_new(store_bytes);
    fake_agent_fork_workers(agent, workers);
    fake_agent_start(agent);
    setenv("ROOST_AGENT", fake_agent_path(agent), 1);
    int status = roost_open(&rt, NULL);
    if (status != 0) {
        fprintf(stderr, "%s\n", roost_last_error());
    }
    CHECK_EQ(status, 0);
    return rt;
}

static void close_with(struct roost *rt)
{
    roost_close(rt);
    fake_agent_free(agent);
}

static bool says(const char *word) { return strstr(roost_last_error(), word) != NULL; }

#define OBJECTS_TEST(name)                         \
    TEST(objects_agent, name)                      \
    {                                              \
        struct roost *rt = open_with(0, 16 << 20); \
        objects_##name(rt);                        \
        close_with(rt);                            \
    }

OBJECTS_TEST(put_and_get)
OBJECTS_TEST(parts)
OBJECTS_TEST(buffers)
OBJECTS_TEST(buffer_misuse)
OBJECTS_TEST(files)
OBJECTS_TEST(containers)
OBJECTS_TEST(many)
OBJECTS_TEST(keeps)
OBJECTS_TEST(waits)
OBJECTS_TEST(watches)
OBJECTS_TEST(misuse)

#define TASKS_TEST(name)                                                               \
    TEST(tasks_agent, name)                                                            \
    {                                                                                  \
        struct roost *rt = open_with(4, 16 << 20);                                     \
        tasks_##name(rt);                                                              \
        CHECK(fake_agent_wait_objects(agent, 0)); /* whatever was made is forgotten */ \
        close_with(rt);                                                                \
    }

TASKS_TEST(arguments)
TASKS_TEST(results)
TASKS_TEST(return_refs)
TASKS_TEST(gathers)
TASKS_TEST(call_tasks)
TASKS_TEST(fail_with_words)
TASKS_TEST(misuse_of_arguments)
TASKS_TEST(misuse_of_results)
TASKS_TEST(environment)
TASKS_TEST(leave_nothing_open)
TASKS_TEST(options)

ROOST_TASK(never_run);
int never_run(struct roost_task *task)
{
    (void)task;
    return 0;
}

/* What no lease gives goes to the agent at once. */
static const struct roost_task_options straight = { .size = sizeof straight, .spread = true };

static roost_ref pending(struct roost *rt)
{
    roost_ref ref;
    CHECK_EQ(roost_call_with(rt, never_run, &straight, &ref), 0);
    return ref;
}

TEST(agent, a_sleeping_agent_is_rung)
{
    struct roost *rt = open_with(0, 16 << 20);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; i < 30; i++) {
        size_t count;
        CHECK_EQ(roost_nodes(rt, NULL, sizeof(struct roost_node_info), 0, &count), 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec < 10); /* it looks by itself once a second */
    close_with(rt);
}

TEST(agent, a_private_object_costs_no_message)
{
    struct roost *rt = open_with(0, 16 << 20);
    for (int i = 0; i < 1000; i++) {
        roost_ref ref;
        uint64_t got;
        CHECK_EQ(roost_put_value(rt, i, &ref), 0);
        CHECK_EQ(roost_get_copy(rt, ref, &got, sizeof i, 0), 0);
        roost_free(rt, ref);
    }
    CHECK_EQ(fake_agent_count(agent, WIRE_ROOM), 1); /* the slab */
    CHECK_EQ(fake_agent_count(agent, WIRE_ANNOUNCE), 0);
    CHECK_EQ(fake_agent_count(agent, WIRE_FREE), 0);
    CHECK_EQ(fake_agent_count(agent, WIRE_WAIT), 0);
    close_with(rt);
}

TEST(agent, a_large_object_has_an_extent_of_its_own_and_gives_it_back)
{
    struct roost *rt = open_with(0, 16 << 20);
    static unsigned char bytes[5 << 20];
    memset(bytes, 7, sizeof bytes);
    for (int i = 0; i < 5; i++) { /* two fit at a time */
        roost_ref ref;
        roost_view view;
        CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &ref), 0);
        CHECK_EQ(roost_get(rt, ref, &view, 0), 0);
        CHECK(view.size == sizeof bytes && memcmp(view.data, bytes, sizeof bytes) == 0);
        roost_release(rt, &view);
        roost_free(rt, ref);
    }
    CHECK_EQ(fake_agent_count(agent, WIRE_ANNOUNCE), 0);
    close_with(rt);
}

TEST(agent, a_full_store_is_an_error_and_no_hang)
{
    struct roost *rt = open_with(0, 16 << 20);
    static unsigned char bytes[5 << 20];
    roost_ref refs[8];
    roost_buffer buffer;
    int count = 0, status = 0;
    while (count < 8 && (status = roost_put(rt, bytes, sizeof bytes, &refs[count])) == 0) {
        count++;
    }
    CHECK_EQ(status, ROOST_EFULL);
    CHECK_EQ(count, 3);
    CHECK(says("no room for 5242880 bytes"));
    CHECK_EQ(roost_create(rt, sizeof bytes, &buffer), ROOST_EFULL);
    roost_free(rt, refs[0]);
    CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &refs[0]), 0);
    close_with(rt);
}

TEST(agent, small_objects_fall_back_to_rooms_of_their_own_when_slabs_are_not_given)
{
    struct roost *rt = open_with(0, 1 << 20); /* at most 256 KiB of slabs */
    static unsigned char bytes[400 << 10];
    roost_ref a, b;
    CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &a), 0);
    CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &b), 0);
    roost_free(rt, a);
    CHECK_EQ(roost_put(rt, bytes, sizeof bytes, &a), 0);
    close_with(rt);
}

TEST(agent, a_result_is_waited_for_and_its_failure_explained)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref good = pending(rt), bad = pending(rt);
    roost_view view;
    bool ready[2] = { true, true };
    struct timespec before, after;
    CHECK_EQ(roost_get(rt, good, &view, 0), ROOST_ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_EQ(roost_get(rt, good, &view, 60), ROOST_ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 55);
    roost_ref both[] = { good, bad };
    CHECK_EQ(roost_wait(rt, both, 2, 1, true, ready, 20), ROOST_ETIMEDOUT);
    CHECK(!ready[0] && !ready[1]);
    CHECK(says("0 of 2"));
    fake_agent_finish(agent, good, "good", 4, TABLE_RAW);
    CHECK_EQ(roost_wait(rt, both, 2, 1, true, ready, 10000), 0);
    CHECK(ready[0] && !ready[1]);
    CHECK_EQ(roost_wait(rt, both, 2, 2, true, ready, 20), ROOST_ETIMEDOUT);
    CHECK(ready[0] && !ready[1]);
    struct wire_failure failure = { .status = ROOST_EWORKER,
                                    .signal = 11,
                                    .attempts = 4,
                                    .pid = 99,
                                    .function = "crash",
                                    .node = "n1",
                                    .text = "it died" };
    fake_agent_finish(agent, bad, &failure, sizeof failure, TABLE_ERROR);
    CHECK_EQ(roost_get(rt, bad, &view, ROOST_FOREVER), ROOST_EWORKER);
    CHECK_TEXT(roost_last_error(), "crash on n1: it died (pid 99, signal 11, 4 attempts)");
    roost_view views[2];
    CHECK_EQ(roost_get_many(rt, both, 2, views, ROOST_FOREVER), ROOST_EWORKER);
    CHECK(says("ref 1 of 2: crash on n1"));
    struct roost_error error = ROOST_ERROR_INIT;
    CHECK_EQ(roost_explain(rt, bad, &error), 0);
    CHECK_EQ(error.signal, 11);
    CHECK_TEXT(error.node, "n1");
    CHECK_EQ(roost_explain(rt, good, &error), 0);
    CHECK_EQ(error.status, 0);
    close_with(rt);
}

TEST(agent, a_name_of_a_name_is_followed_and_waited_for)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref chain[3] = { pending(rt), pending(rt), pending(rt) };
    bool ready[1];
    roost_view view;
    fake_agent_finish(agent, chain[0], &chain[1], sizeof(roost_ref), TABLE_FORWARD);
    CHECK_EQ(roost_wait(rt, chain, 1, 1, true, ready, 20), ROOST_ETIMEDOUT);
    const roost_ref part = roost_slice(chain[2], 4, 8);
    fake_agent_finish(agent, chain[1], &part, sizeof part, TABLE_FORWARD);
    CHECK_EQ(roost_wait(rt, chain, 1, 1, true, ready, 20), ROOST_ETIMEDOUT);
    fake_agent_finish(agent, chain[2], "the red wheel", 13, TABLE_RAW);
    CHECK_EQ(roost_wait(rt, chain, 1, 1, true, ready, 10000), 0);
    CHECK_EQ(roost_get(rt, roost_slice(chain[0], 4, 4), &view, 10000), 0);
    CHECK(view.size == 4 && memcmp(view.data, "whee", 4) == 0);
    roost_release(rt, &view);
    /* a ring of names is an error, not a loop */
    roost_ref ring[2] = { pending(rt), pending(rt) };
    fake_agent_finish(agent, ring[0], &ring[1], sizeof(roost_ref), TABLE_FORWARD);
    fake_agent_finish(agent, ring[1], &ring[0], sizeof(roost_ref), TABLE_FORWARD);
    CHECK_EQ(roost_get(rt, ring[0], &view, ROOST_FOREVER), ROOST_ELIMIT);
    close_with(rt);
}

TEST(agent, a_part_that_came_alone_is_found_under_its_own_name)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref whole = pending(rt), part = roost_slice(whole, 100, 5), column = roost_column(whole, 2);
    roost_view view;
    fake_agent_finish(agent, object_ref(part_id(part)), "wheel", 5, TABLE_RAW);
    fake_agent_finish(agent, object_ref(part_id(column)), "column", 6, TABLE_RAW);
    CHECK_EQ(roost_get(rt, part, &view, 0), 0);
    CHECK(view.size == 5 && memcmp(view.data, "wheel", 5) == 0);
    roost_release(rt, &view);
    CHECK_EQ(roost_get(rt, column, &view, 0), 0);
    CHECK(view.size == 6 && memcmp(view.data, "column", 6) == 0);
    roost_release(rt, &view);
    CHECK_EQ(roost_get(rt, whole, &view, 0), ROOST_ETIMEDOUT);
    close_with(rt);
}

static void *die_soon(void *arg)
{
    (void)arg;
    while (fake_agent_count(agent, WIRE_WAIT) < 2) {
        sched_yield();
    }
    fake_agent_die(agent);
    return NULL;
}

static void *wait_for_ever(void *arg)
{
    struct roost *rt = arg;
    roost_view view;
    int status = roost_get(rt, pending(rt), &view, ROOST_FOREVER);
    return (void *)(intptr_t)status;
}

TEST(agent, its_death_ends_every_wait_within_seconds)
{
    struct roost *rt = open_with(0, 16 << 20);
    pthread_t killer, other;
    void *status;
    roost_ref mine, ref = pending(rt);
    roost_view view;
    struct timespec before, after;
    CHECK_EQ(roost_put(rt, "mine", 4, &mine), 0);
    CHECK_EQ(pthread_create(&other, NULL, wait_for_ever, rt), 0);
    CHECK_EQ(pthread_create(&killer, NULL, die_soon, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_EQ(roost_get(rt, ref, &view, ROOST_FOREVER), ROOST_EDISCONNECTED);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec <= 5);
    pthread_join(other, &status);
    pthread_join(killer, NULL);
    CHECK_EQ((intptr_t)status, ROOST_EDISCONNECTED);
    CHECK_EQ(roost_call(rt, never_run, &ref), ROOST_EDISCONNECTED);
    CHECK_EQ(roost_keep(rt, ref), ROOST_EDISCONNECTED);
    size_t count;
    CHECK_EQ(roost_nodes(rt, NULL, sizeof(struct roost_node_info), 0, &count), ROOST_EDISCONNECTED);
    CHECK_EQ(roost_get(rt, mine, &view, 0), 0); /* what is here can be read */
    roost_release(rt, &view);
    roost_free(rt, mine);
    close_with(rt);
}

TEST(agent, the_jobs_end_is_told_with_its_reason)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref ref = pending(rt);
    roost_view view;
    void *tags[1];
    struct pollfd poll_fd = { roost_fd(rt), POLLIN, 0 };
    CHECK_EQ(roost_watch(rt, ref, &ref), 0);
    fake_agent_end_job(agent, ROOST_ENODE, "the head gave this node up");
    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
    CHECK_EQ(roost_ready(rt, tags, 1), 1);
    CHECK_EQ(roost_get(rt, ref, &view, ROOST_FOREVER), ROOST_ENODE);
    CHECK(says("the head gave this node up"));
    close_with(rt);
}

/* A socket in `folder` to which anybody may connect, and at which nobody ever says a word. */
static int listen_and_be_silent(const char *folder, char *path, size_t bytes)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(path, bytes, "%s/agent.sock", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 4), 0);
    return fd;
}

TEST(agent, opening_takes_no_longer_than_its_timeout_in_all)
{
    char folder[] = "/tmp/roost-test-XXXXXX", path[64], command[64];
    struct timespec before, after;
    CHECK(mkdtemp(folder) != NULL);
    int fd = listen_and_be_silent(folder, path, sizeof path);
    snprintf(command, sizeof command, "%s/command", folder);
    FILE *file = fopen(command, "w");
    CHECK(file != NULL);
    /* a cluster that is ready late, and ends with its lifeline */
    fprintf(file, "#!/bin/sh\nsleep 3\necho %s >&3\nexec cat <&4\n", path);
    CHECK_EQ(fchmod(fileno(file), 0700), 0);
    CHECK_EQ(fclose(file), 0);
    unsetenv("ROOST_AGENT");
    unsetenv("ROOST_ADDRESS");
    setenv("ROOST_COMMAND", command, 1);
    struct roost *rt;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.open_timeout_ms = 4000)), ROOST_ECONNECT);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(says("welcome"));
    CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < 6500); /* not 3 s more */
    unsetenv("ROOST_COMMAND");
    close(fd);
    CHECK_EQ(unlink(path) + unlink(command) + rmdir(folder), 0);
}

TEST(agent, a_watch_becomes_ready_with_its_object)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref ref = pending(rt);
    void *tags[2];
    struct pollfd poll_fd = { roost_fd(rt), POLLIN, 0 };
    CHECK_EQ(roost_watch(rt, ref, &ref), 0);
    CHECK_EQ(poll(&poll_fd, 1, 0), 0);
    fake_agent_finish(agent, ref, "x", 1, TABLE_RAW);
    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
    CHECK_EQ(roost_ready(rt, tags, 2), 1);
    CHECK(tags[0] == &ref);
    CHECK_EQ(roost_watch(rt, pending(rt), NULL), 0); /* left: close frees it */
    close_with(rt);
}

TEST(agent, a_watch_of_a_name_becomes_ready_with_what_it_names)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref name = pending(rt), value = pending(rt);
    void *tags[2];
    struct pollfd poll_fd = { roost_fd(rt), POLLIN, 0 };
    CHECK_EQ(roost_watch(rt, name, &name), 0);
    fake_agent_finish(agent, name, &value, sizeof value, TABLE_FORWARD);
    CHECK_EQ(roost_watch(rt, name, &value), 0); /* one that is a name already */
    CHECK_EQ(poll(&poll_fd, 1, 50), 0);
    fake_agent_finish(agent, value, "x", 1, TABLE_RAW);
    size_t count = 0;
    while (count < 2 && poll(&poll_fd, 1, 10000) == 1) {
        count += roost_ready(rt, tags, 2 - count);
    }
    CHECK_EQ(count, 2);
    close_with(rt);
}

TEST(agent, frees_wait_until_calls_are_taken_and_go_in_company)
{
    struct roost *rt = open_with(0, 16 << 20);
    fake_agent_hold_calls(agent, true);
    enum { COUNT = 500 };
    for (int i = 0; i < COUNT; i++) {
        roost_ref argument, out;
        CHECK_EQ(roost_put_value(rt, i, &argument), 0);
        CHECK_EQ(roost_call_with(rt, never_run, &straight, &out, argument), 0);
        roost_free(rt, argument); /* a free before its call was read would fail the fake's check */
        roost_free(rt, out);
    }
    size_t count;
    CHECK_EQ(roost_nodes(rt, NULL, sizeof(struct roost_node_info), 0, &count), 0);
    CHECK_EQ(fake_agent_count(agent, WIRE_ANNOUNCE), COUNT);
    CHECK_EQ(fake_agent_count(agent, WIRE_TAKEN), COUNT);
    CHECK(fake_agent_count(agent, WIRE_FREE) < COUNT);
    close_with(rt);
}

TEST(agent, ten_thousand_calls_and_results_come_through)
{
    struct roost *rt = open_with(2, 16 << 20);
    enum { COUNT = 10000 };
    static roost_ref refs[COUNT];
    static roost_view views[COUNT];
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(roost_call(rt, never_run, &refs[i]), 0);
    }
    CHECK_EQ(roost_get_many(rt, refs, COUNT, views, 100000), 0);
    roost_release_many(rt, views, COUNT);
    roost_free_many(rt, refs, COUNT);
    CHECK(fake_agent_wait_objects(agent, 0));
    close_with(rt);
}

static void *call_often(void *arg)
{
    struct roost *rt = arg;
    for (int i = 0; i < 300; i++) {
        roost_ref argument, ref;
        roost_view view;
        CHECK_EQ(roost_put_value(rt, i, &argument), 0);
        CHECK_EQ(roost_call(rt, never_run, &ref, argument), 0);
        roost_free(rt, argument);
        CHECK_EQ(roost_get(rt, ref, &view, 60000), 0);
        roost_release(rt, &view);
        roost_free(rt, ref);
    }
    return NULL;
}

TEST(agent, several_threads_call_at_once)
{
    struct roost *rt = open_with(2, 16 << 20);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, call_often, rt), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(fake_agent_wait_objects(agent, 0));
    close_with(rt);
}

TEST(agent, lines_of_workers_are_printed_with_where_they_come_from)
{
    int lines[2], saved = dup(STDERR_FILENO);
    CHECK_EQ(pipe(lines), 0);
    struct roost *rt = open_with(0, 16 << 20);
    CHECK_EQ(dup2(lines[1], STDERR_FILENO), STDERR_FILENO);
    fake_agent_output(agent, "count_words", "one\ntwo\n");
    char text[256] = "";
    size_t used = 0;
    while (strstr(text, "two\n") == NULL) {
        ssize_t got = read(lines[0], text + used, sizeof text - 1 - used);
        CHECK(got > 0);
        used += (size_t)got;
    }
    dup2(saved, STDERR_FILENO);
    CHECK_TEXT(text, "count_words fake 123 | one\ncount_words fake 123 | two\n");
    close_with(rt);
}

/* From here on this thread is killed, and the test with it, for any system call but exit_group and `allowed`. */
static void forbid_system_calls(unsigned allowed)
{
    fake_agent_unlink(agent); /* nobody will be able to later */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void get_often(struct roost *rt, roost_ref ref, const char *text)
{
    roost_view view;
    bool is_fine = true;
    for (int i = 0; i < 20000; i++) {
        is_fine = is_fine && roost_get(rt, ref, &view, 0) == 0 && memcmp(view.data, text, view.size) == 0;
        roost_release(rt, &view);
    }
    syscall(SYS_exit_group, is_fine ? 0 : 1); /* nothing else is left to this thread */
}

TEST(agent, getting_what_is_in_the_table_makes_no_system_call)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref ref = pending(rt);
    roost_view view;
    fake_agent_finish(agent, ref, "shared", 6, TABLE_RAW);
    CHECK_EQ(roost_get(rt, ref, &view, 10000), 0);
    roost_release(rt, &view);
    forbid_system_calls(SYS_exit_group);
    get_often(rt, ref, "shared");
}

TEST(agent, getting_what_is_private_makes_none_either)
{
    struct roost *rt = open_with(0, 16 << 20);
    roost_ref ref;
    CHECK_EQ(roost_put(rt, "private", 7, &ref), 0);
    forbid_system_calls(SYS_futex); /* the library's thread may hold the lock just then */
    get_often(rt, ref, "private");
}

TEST(agent, it_is_found_by_the_address_of_its_head)
{
    struct roost *rt;
    char path[256];
    agent = fake_agent_new(16 << 20);
    fake_agent_start(agent);
    snprintf(path, sizeof path, "%s/node/node.json", fake_agent_folder(agent));
    FILE *file = fopen(path, "w");
    fprintf(file, "{\n  \"cluster\": \"c\", \"head\": \"10.0.0.1:7000\",\n  \"node\": \"n\", \"pid\" : %d\n}\n",
            getpid());
    fclose(file);
    unsetenv("ROOST_AGENT");
    setenv("ROOST_DIR", fake_agent_folder(agent), 1);
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.address = "10.0.0.2:7000")), ROOST_ECONNECT);
    CHECK(says("10.0.0.2:7000") && says(fake_agent_folder(agent)));
    CHECK_EQ(roost_open(&rt, &ROOST_OPTIONS(.address = "10.0.0.1:7000")), 0);
    close_with(rt);
}

TEST(agent, a_command_that_cannot_start_is_named)
{
    struct roost *rt;
    unsetenv("ROOST_AGENT");
    unsetenv("ROOST_ADDRESS");
    setenv("ROOST_COMMAND", "/no/such/roost", 1);
    CHECK_EQ(roost_open(&rt, NULL), ROOST_ECONNECT);
    CHECK(says("/no/such/roost"));
    setenv("ROOST_COMMAND", "/bin/false", 1);
    CHECK_EQ(roost_open(&rt, NULL), ROOST_ECONNECT);
    CHECK(says("ended before it was ready"));
    setenv("ROOST_AGENT", "/no/such/socket", 1);
    CHECK_EQ(roost_open(&rt, NULL), ROOST_ECONNECT);
    CHECK(says("/no/such/socket"));
}
