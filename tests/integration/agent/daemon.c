/* The agent's process from outside: a real `roost agent`, drivers and workers that speak to it by hand. What a client
 * may do wrong, it does here; whoever else is there must not notice. */
#include "common/error.h"
#include "common/hash.h"
#include "common/unix_client.h"
#include "tests/lib/agent_process.h"
#include "tests/lib/hand_client.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STORE_TEXT "16777216"
enum { STORE_BYTES = 16 << 20 };

static struct agent_process agent;
static struct hand_client driver;

static void start(void)
{
    int status;
    agent_folder_make(&agent);
    CHECK(agent_start(&agent, "2", STORE_TEXT, &status));
}

/* Ends as it should, and leaves nothing. */
static void stop(void)
{
    CHECK_EQ(agent_signal(&agent, SIGTERM), 0);
    pid_t pids[AGENT_PROCESS_CHILDREN_MAX];
    char variable[128];
    snprintf(variable, sizeof variable, "ROOST_AGENT=%s", agent.socket);
    CHECK_EQ(processes_with(variable, pids), 0);
    int fd;
    CHECK_EQ(unix_client_connect(agent.socket, 0, &fd), ROOST_ECONNECT);
    agent_folder_check(&agent);
}

/* What the workers of a job have in their environment, and nobody else on this machine. */
static const char *mark_of(const char *tag)
{
    static char variable[128];
    snprintf(variable, sizeof variable, "JOB=%s/%s", agent.root, tag);
    return variable;
}

static size_t workers_of(const char *tag, pid_t pids_out[AGENT_PROCESS_CHILDREN_MAX])
{
    return processes_with(mark_of(tag), pids_out);
}

static struct job_spec *job_of(const char *what, const char *tag)
{
    static char run[256];
    char *args[] = { "worker", (char *)(uintptr_t)what, NULL };
    const char *mark = getenv("ROOST_TEST_RUN");
    snprintf(run, sizeof run, "ROOST_TEST_RUN=%s", mark == NULL ? "" : mark);
    char *env[] = { (char *)(uintptr_t)mark_of(tag), run, NULL };
    return hand_job(WORKER_PROGRAM, args, env);
}

static void connect_as(struct hand_client *client, const char *what, const char *tag)
{
    struct job_spec *job = job_of(what, tag);
    CHECK_EQ(hand_connect(client, agent.socket, job, 0), 0);
    free(job);
}

static void start_with_driver(const char *what)
{
    start();
    connect_as(&driver, what, "a");
}

static void stop_with_driver(void)
{
    stop();
    hand_close(&driver);
}

/* Until no byte of the store is taken: whatever was freed has come back. */
static void wait_until_empty(struct hand_client *client)
{
    uint64_t deadline = now_ms() + AGENT_PROCESS_MS;
    for (struct wire_node node = hand_node(client); node.store_bytes_free != node.store_bytes_total;
         node = hand_node(client)) {
        if (now_ms() > deadline) {
            fprintf(stderr, "%llu of %llu bytes are free\n", (unsigned long long)node.store_bytes_free,
                    (unsigned long long)node.store_bytes_total);
            test_fails("the store does not become empty");
        }
        a_moment();
    }
}

/* The last one may be on its way out when what it held is free already. */
static void wait_until_no_workers(const char *tag)
{
    pid_t workers[AGENT_PROCESS_CHILDREN_MAX];
    uint64_t deadline = now_ms() + AGENT_PROCESS_MS;
    while (workers_of(tag, workers) > 0) {
        CHECK(now_ms() <= deadline);
        a_moment();
    }
}

static void check_bytes(const struct hand_client *client, struct object_id id, const char *wanted)
{
    struct store_view view;
    CHECK_EQ(store_map_get(&client->map, client->thread, object_ref(id), &view), 0);
    CHECK_EQ(view.size, strlen(wanted));
    CHECK(memcmp(view.data, wanted, view.size) == 0);
    store_map_release(&client->map, client->thread, view.pin);
}

/* With a retry: it may have been given to a worker of which the agent does not know yet that it is dead. */
static void check_task_works(struct hand_client *client)
{
    const roost_in args[] = { roost_in_text("it works") };
    struct object_id id = result_id(hand_submit(client, "say", args, 1, 1), 0);
    CHECK_EQ(hand_wait(client, id, HAND_MS), 1);
    check_bytes(client, id, "it works");
    hand_free(client, id);
}

/* ------------------------------------------------------------------ hello */

TEST(agent_daemon, the_welcome_brings_everything_and_says_who_it_is)
{
    start_with_driver("serve");
    const struct connect_welcome *welcome = &driver.welcome;
    const struct client_page_head *head = (const struct client_page_head *)(const void *)driver.page;
    CHECK_EQ(welcome->layout, WIRE_LAYOUT);
    CHECK_EQ(welcome->agent_pid, agent.pid);
    CHECK_TEXT(welcome->node_name, "by-hand");
    CHECK(!node_id_is_none(welcome->node) && !job_id_is_none(welcome->job) && welcome->prefix != 0);
    CHECK(head->slot == welcome->slot && head->generation == welcome->generation && head->role == CLIENT_DRIVER);
    CHECK_EQ(welcome->segment_bytes[0], STORE_BYTES);
    struct wire_node node = hand_node(&driver);
    CHECK(node_id_eq(node.node, welcome->node) && node.total == 1 && node.alive == 1);
    CHECK_EQ(node.cpus_hundredths_total, 200);
    CHECK_EQ(node.store_bytes_total, STORE_BYTES);
    stop_with_driver();
}

TEST(agent_daemon, two_drivers_have_nothing_in_common_but_the_store)
{
    start_with_driver("serve");
    struct hand_client other;
    connect_as(&other, "serve", "b");
    CHECK(other.welcome.slot != driver.welcome.slot);
    CHECK(other.welcome.prefix != driver.welcome.prefix);
    CHECK(!job_id_eq(other.welcome.job, driver.welcome.job));
    struct object_id id = hand_put(&driver, "shared", 6);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_bytes(&other, id, "shared");
    hand_close(&other);
    stop_with_driver();
}

static int say_hello(const struct connect_hello *hello, int job_fd, struct connect_welcome *welcome)
{
    int fd;
    struct unix_message message;
    CHECK_EQ(unix_client_connect(agent.socket, HAND_MS, &fd), 0);
    CHECK_EQ(unix_message_send(fd, hello, sizeof *hello, &job_fd, job_fd >= 0), 0);
    CHECK_EQ(unix_message_receive(fd, HAND_MS, welcome, sizeof *welcome, &message), 0);
    CHECK_EQ(message.fds_count, 0);
    close(fd);
    return welcome->status;
}

TEST(agent_daemon, a_hello_that_cannot_be_is_refused_with_words)
{
    start();
    struct connect_welcome welcome;
    struct connect_hello hello = { .kind = CONNECT_HELLO, .layout = WIRE_LAYOUT + 1, .role = CLIENT_DRIVER };
    CHECK_EQ(say_hello(&hello, -1, &welcome), ROOST_EVERSION);
    CHECK(strstr(welcome.text, "layout") != NULL);
    hello.layout = WIRE_LAYOUT;
    CHECK_EQ(say_hello(&hello, -1, &welcome), ROOST_EINVAL);
    CHECK(strstr(welcome.text, "without a job") != NULL);
    int fd = memfd_create("no job", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    CHECK_EQ(say_hello(&hello, fd, &welcome), ROOST_EINVAL);
    CHECK(strstr(welcome.text, "job of 4096 bytes") != NULL);
    close(fd);
    hello.role = CLIENT_WORKER;
    hello.token = 12345;
    CHECK_EQ(say_hello(&hello, -1, &welcome), ROOST_EAUTH);
    CHECK(strstr(welcome.text, "token") != NULL);
    connect_as(&driver, "serve", "a"); /* and the next one is welcome */
    check_task_works(&driver);
    stop_with_driver();
}

TEST(agent_daemon, a_stranger_that_talks_nonsense_is_hung_up_on)
{
    start();
    int fd;
    struct unix_message message;
    char answer[64];
    CHECK_EQ(unix_client_connect(agent.socket, HAND_MS, &fd), 0);
    CHECK_EQ(unix_message_send(fd, "nonsense", 8, NULL, 0), 0);
    CHECK_EQ(unix_message_receive(fd, HAND_MS, answer, sizeof answer, &message), ROOST_EDISCONNECTED);
    close(fd);
    stop();
}

/* ------------------------------------------------------------------ objects and room */

TEST(agent_daemon, an_announced_object_is_in_the_table_until_it_is_freed)
{
    start_with_driver("serve");
    struct object_id id = hand_put(&driver, "some bytes", 10);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_bytes(&driver, id, "some bytes");
    CHECK(hand_node(&driver).store_bytes_free < STORE_BYTES);
    hand_free(&driver, id);
    wait_until_empty(&driver);
    struct store_view view;
    CHECK_EQ(store_map_get(&driver.map, driver.thread, object_ref(id), &view), STORE_GET_ASK);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), ROOST_EFREED);
    stop_with_driver();
}

TEST(agent_daemon, a_view_keeps_the_bytes_until_it_is_released)
{
    start_with_driver("serve");
    struct object_id id = hand_put(&driver, "some bytes", 10);
    struct store_view view, late;
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    CHECK_EQ(store_map_get(&driver.map, driver.thread, object_ref(id), &view), 0);
    hand_free(&driver, id);
    uint64_t until = now_ms() + 200; /* some looks at the pins */
    while (now_ms() < until) {
        CHECK(hand_node(&driver).store_bytes_free < STORE_BYTES);
        CHECK(memcmp(view.data, "some bytes", 10) == 0);
        a_moment();
    }
    CHECK_EQ(store_map_get(&driver.map, driver.thread, object_ref(id), &late), ROOST_EFREED);
    store_map_release(&driver.map, driver.thread, view.pin);
    wait_until_empty(&driver);
    stop_with_driver();
}

TEST(agent_daemon, room_is_given_apart_and_comes_back)
{
    start_with_driver("serve");
    struct wire_place slab, extent, spec, none;
    CHECK_EQ(hand_room(&driver, 0, WIRE_ROOM_SLAB, STORE_SLAB_BYTES_MIN, &slab), 0);
    CHECK_EQ(hand_room(&driver, 0, WIRE_ROOM_OBJECT, STORE_LARGE_BYTES, &extent), 0);
    CHECK_EQ(hand_room(&driver, 0, WIRE_ROOM_SPEC, 5000, &spec), 0);
    const struct wire_place *places[] = { &slab, &extent, &spec };
    for (int i = 0; i < 3; i++) {
        CHECK(range_is_inside(places[i]->offset, places[i]->bytes, STORE_BYTES));
        for (int j = 0; j < i; j++) {
            CHECK(places[i]->offset + places[i]->bytes <= places[j]->offset ||
                  places[j]->offset + places[j]->bytes <= places[i]->offset);
        }
    }
    CHECK(slab.bytes >= STORE_SLAB_BYTES_MIN && extent.bytes >= STORE_LARGE_BYTES && spec.bytes >= 5000);
    CHECK_EQ(hand_node(&driver).store_bytes_free, STORE_BYTES - slab.bytes - extent.bytes - spec.bytes);
    CHECK_EQ(hand_room(&driver, 0, WIRE_ROOM_OBJECT, STORE_BYTES + 1, &none), ROOST_EFULL);
    for (int i = 0; i < 3; i++) {
        hand_room_back(&driver, places[i]);
    }
    CHECK_EQ(hand_node(&driver).store_bytes_free, STORE_BYTES);
    stop_with_driver();
}

/* More answers than the ring of replies holds: the rest comes when there is room, though nobody asks for anything. */
TEST(agent_daemon, answers_that_are_not_read_come_later_and_in_order)
{
    enum { ASKS = 3000 };
    _Static_assert(ASKS * sizeof(struct wire_node) > 4 * CLIENT_REPLY_RING_BYTES, "they do not fit");
    _Static_assert((int)ASKS <= (int)HAND_KEPT_MAX, "they can be kept");
    start_with_driver("serve");
    for (uint64_t i = 1; i <= ASKS; i++) {
        struct wire_ask ask = { .head = { WIRE_NODES, sizeof ask, i } };
        hand_say(&driver, &ask.head);
    }
    for (uint64_t i = 1; i <= ASKS; i++) {
        struct wire_node *node = hand_hear(&driver, WIRE_NODE, 0, HAND_MS);
        CHECK(node != NULL);
        CHECK_EQ(node->head.token, i);
        free(node);
    }
    stop_with_driver();
}

/* ------------------------------------------------------------------ tasks */

TEST(agent_daemon, a_task_goes_to_a_worker_and_its_result_comes_back)
{
    start_with_driver("serve");
    check_task_works(&driver);
    static char text[20000]; /* a spec that fits no slot, on either side */
    memset(text, 't', sizeof text - 1);
    const roost_in args[] = { roost_in_text(text) };
    struct task_id task = hand_submit(&driver, "say", args, 1, 0);
    struct object_id id = result_id(task, 0);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_bytes(&driver, id, text);
    unsigned char entry[64] __attribute__((__aligned__(8)));
    size_t size;
    struct wire_taken taken;
    CHECK(ring_take(&driver.taken, entry, sizeof entry, &size) == 1 && size == sizeof taken);
    CHECK(ring_take(&driver.taken, entry, sizeof entry, &size) == 1 && size == sizeof taken);
    memcpy(&taken, entry, sizeof taken);
    CHECK(taken.head.kind == WIRE_TAKEN && task_id_eq(taken.task, task));
    stop_with_driver();
}

TEST(agent_daemon, many_tasks_all_come_back)
{
    enum { TASKS = 300 };
    start_with_driver("serve");
    struct task_id tasks[TASKS];
    for (size_t i = 0; i < TASKS; i++) {
        const roost_in args[] = { roost_in_text("x") };
        tasks[i] = hand_submit(&driver, "say", args, 1, 0);
    }
    for (size_t i = 0; i < TASKS; i++) {
        struct object_id id = result_id(tasks[i], 0);
        CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
        check_bytes(&driver, id, "x");
        hand_free(&driver, id);
    }
    struct wire_node node = hand_node(&driver);
    CHECK_EQ(node.cpus_hundredths_free, node.cpus_hundredths_total);
    stop_with_driver();
}

/* Each task finds the workers asleep: one that was not woken would look by itself only after WAIT_SLEEP_NS_MAX. */
TEST(agent_daemon, a_task_wakes_a_worker_that_sleeps)
{
    enum { TASKS = 40 };
    start_with_driver("serve");
    check_task_works(&driver);
    uint64_t before = now_ms();
    for (int i = 0; i < TASKS; i++) {
        a_moment();
        check_task_works(&driver);
    }
    CHECK(now_ms() - before < TASKS * (WAIT_SLEEP_NS_MAX / 1000000) / 4);
    stop_with_driver();
}

/* The next line that contains `text`. */
static struct wire_output *hear_line(struct hand_client *client, const char *text)
{
    for (;;) {
        struct wire_output *line = hand_hear(client, WIRE_OUTPUT, 0, HAND_MS);
        CHECK(line != NULL);
        CHECK(line->text_bytes > 0 && line->text[line->text_bytes - 1] == '\n');
        if (memmem(line->text, line->text_bytes, text, strlen(text)) != NULL) {
            return line;
        }
        free(line);
    }
}

static pid_t pid_that_hangs(struct hand_client *client)
{
    struct wire_output *line = hear_line(client, "hangs");
    pid_t pid = (pid_t)line->pid;
    free(line);
    return pid;
}

TEST(agent_daemon, a_task_whose_worker_is_killed_is_tried_again)
{
    start_with_driver("serve");
    struct object_id id = result_id(hand_submit(&driver, "hang_first", NULL, 0, 1), 0);
    pid_t worker = pid_that_hangs(&driver);
    CHECK(kill(worker, SIGKILL) == 0);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_bytes(&driver, id, "second attempt");
    CHECK(process_has_ended(worker, AGENT_PROCESS_MS));
    stop_with_driver();
}

/* Checks that the object tells of a failure. */
static void check_failure(struct object_id id, int status, int signal_number, const char *text)
{
    struct store_view view;
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    CHECK_EQ(store_map_get(&driver.map, driver.thread, object_ref(id), &view), STORE_GET_ERROR);
    struct wire_failure failure = { .status = 0 };
    CHECK(view.size <= sizeof failure);
    memcpy(&failure, view.data, view.size);
    store_map_release(&driver.map, driver.thread, view.pin);
    CHECK_EQ(failure.status, status);
    CHECK_EQ(failure.signal, signal_number);
    CHECK_TEXT(failure.node, "by-hand");
    if (strstr(failure.text, text) == NULL) {
        fprintf(stderr, "\"%s\" is not in \"%s\"\n", text, failure.text);
        test_fails("the failure's text");
    }
}

TEST(agent_daemon, a_task_whose_worker_dies_each_time_fails)
{
    start_with_driver("serve");
    struct object_id id = result_id(hand_submit(&driver, "hang", NULL, 0, 1), 0);
    for (int i = 0; i < 2; i++) {
        CHECK(kill(pid_that_hangs(&driver), SIGKILL) == 0);
    }
    check_failure(id, ROOST_EWORKER, SIGKILL, "killed by signal 9");
    check_task_works(&driver);
    stop_with_driver();
}

TEST(agent_daemon, a_function_that_fails_says_why)
{
    start_with_driver("serve");
    struct object_id id = result_id(hand_submit(&driver, "unknown", NULL, 0, 3), 0);
    check_failure(id, ROOST_EFAILED, 0, "no such function");
    stop_with_driver();
}

TEST(agent_daemon, a_program_that_ends_before_it_connects_is_quoted)
{
    start_with_driver("exit");
    struct object_id id = result_id(hand_submit(&driver, "say", NULL, 0, 3), 0);
    check_failure(id, ROOST_EWORKER, 0, "these were my last words");
    id = result_id(hand_submit(&driver, "say", NULL, 0, 3), 0); /* and one that comes later, too */
    check_failure(id, ROOST_EWORKER, 0, "status 7");
    free(hear_line(&driver, "these were my last words"));
    stop_with_driver();
}

TEST(agent_daemon, a_program_that_does_not_exist_is_named)
{
    char *args[] = { "worker", NULL }, *env[] = { NULL };
    start();
    struct job_spec *job = hand_job("/nowhere/program", args, env);
    CHECK_EQ(hand_connect(&driver, agent.socket, job, 0), 0);
    free(job);
    check_failure(result_id(hand_submit(&driver, "say", NULL, 0, 0), 0), ROOST_EWORKER, 0, "/nowhere/program");
    stop_with_driver();
}

TEST(agent_daemon, a_worker_that_breaks_the_protocol_is_ended_and_its_work_stays)
{
    start_with_driver("serve");
    struct object_id id = result_id(hand_submit(&driver, "break", NULL, 0, 0), 0);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_bytes(&driver, id, "");
    for (int i = 0; i < 4; i++) { /* more than there are workers */
        check_task_works(&driver);
    }
    stop_with_driver();
}

static void check_line(const char *text, size_t bytes, bool is_stderr)
{
    struct wire_output *line = hand_hear(&driver, WIRE_OUTPUT, 0, HAND_MS);
    for (; line != NULL && (line->is_stderr != 0) != is_stderr; line = hand_hear(&driver, WIRE_OUTPUT, 0, HAND_MS)) {
        free(line);
    }
    CHECK(line != NULL);
    CHECK_EQ(line->text_bytes, bytes);
    CHECK(memcmp(line->text, text, bytes) == 0);
    CHECK_TEXT(line->function, "print");
    CHECK_TEXT(line->node_name, "by-hand");
    CHECK(node_id_eq(line->node, driver.welcome.node) && line->dropped == 0);
    free(line);
}

TEST(agent_daemon, what_workers_print_comes_line_by_line)
{
    static char longest[WORKER_LINE_BYTES_MAX];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\n';
    start_with_driver("serve");
    struct object_id id = result_id(hand_submit(&driver, "print", NULL, 0, 0), 0);
    CHECK_EQ(hand_wait(&driver, id, HAND_MS), 1);
    check_line("first\n", 6, false);
    check_line(longest, sizeof longest, false);
    check_line("\n", 1, false); /* the empty one that was printed, and none beside it */
    pid_t workers[AGENT_PROCESS_CHILDREN_MAX];
    size_t count = workers_of("a", workers);
    for (size_t i = 0; i < count; i++) {
        kill(workers[i], SIGKILL);
    }
    check_line("second, without an end\n", 23, false);
    hand_submit(&driver, "print", NULL, 0, 2); /* retried, as above */
    check_line("to stderr\n", 10, true);
    stop_with_driver();
}

/* ------------------------------------------------------------------ who dies */

static pid_t fork_client(void (*body)(int argument), int argument)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(AGENT_PROCESS_MS / 1000 * 3);
        body(argument);
        _exit(1);
    }
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    CHECK(process_has_ended(pid, AGENT_PROCESS_MS));
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static int told[2]; /* a pipe to the test */

static void use_everything(int argument)
{
    (void)argument;
    struct hand_client client;
    struct wire_place place;
    connect_as(&client, "serve", "b");
    for (int i = 0; i < 2; i++) {
        hand_submit(&client, "hang", NULL, 0, 3);
        (void)pid_that_hangs(&client);
    }
    const roost_in args[] = { roost_in_text("x") };
    hand_submit(&client, "say", args, 1, 3); /* there is no CPU for it */
    struct object_id id = hand_put(&client, "bytes", 5);
    struct store_view view;
    CHECK_EQ(hand_wait(&client, id, HAND_MS), 1);
    CHECK_EQ(store_map_get(&client.map, client.thread, object_ref(id), &view), 0);
    CHECK_EQ(hand_room(&client, 0, WIRE_ROOM_SLAB, STORE_SLAB_BYTES_MIN, &place), 0);
    CHECK_EQ(hand_room(&client, 0, WIRE_ROOM_OBJECT, 100000, &place), 0);
    CHECK(write(told[1], "x", 1) == 1);
    for (;;) {
        pause();
    }
}

static void wait_until_told(void)
{
    char byte;
    struct pollfd poll_fd = { .fd = told[0], .events = POLLIN };
    CHECK_EQ(poll(&poll_fd, 1, AGENT_PROCESS_MS), 1);
    CHECK(read(told[0], &byte, 1) == 1);
}

TEST(agent_daemon, with_a_killed_driver_goes_all_that_was_its_own)
{
    start_with_driver("serve");
    check_task_works(&driver);
    CHECK(pipe2(told, O_CLOEXEC) == 0);
    pid_t victim = fork_client(use_everything, 0), workers[AGENT_PROCESS_CHILDREN_MAX];
    wait_until_told();
    size_t count = workers_of("b", workers);
    CHECK(count >= 2);
    CHECK(kill(victim, SIGKILL) == 0);
    CHECK_EQ(end_of(victim), SIGKILL);
    for (size_t i = 0; i < count; i++) {
        CHECK(process_has_ended(workers[i], AGENT_PROCESS_MS));
    }
    wait_until_empty(&driver);
    CHECK_EQ(workers_of("b", workers), 0);
    check_task_works(&driver); /* its CPUs are free again, too */
    stop_with_driver();
}

/* ------------------------------------------------------------------ who lies */

static uint64_t random_state;

static uint64_t random_next(void) { return random_state = hash_mix(random_state, 1); }

static void fill_random(void *to, size_t bytes)
{
    unsigned char *at = to;
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (unsigned char)random_next();
    }
}

enum lie { LIE_MESSAGES, LIE_RING, LIE_SUBMITS, LIE_SUBMIT_PLACES, LIE_PAGE, LIE_FORMS, LIE_BACKWARDS, LIES };

static void random_messages(struct hand_client *client)
{
    for (int i = 0; i < 50; i++) {
        size_t size = 16 + 8 * (random_next() % 60);
        void *to = ring_reserve(&client->requests, size);
        if (to != NULL) {
            fill_random(to, size);
        }
    }
    ring_commit(&client->requests);
}

/* Entries of the right size and kind, with contents that mean nothing. */
static void random_forms(struct hand_client *client)
{
    static const struct {
        uint32_t kind, bytes;
    } forms[] = { { WIRE_ROOM, sizeof(struct wire_room_request) }, { WIRE_ROOM_BACK, sizeof(struct wire_room_back) },
                  { WIRE_ANNOUNCE, sizeof(struct wire_announce) }, { WIRE_RESULT, sizeof(struct wire_result) },
                  { WIRE_UNWAIT, sizeof(struct wire_ask) },        { WIRE_PREFETCH, sizeof(struct wire_ask) },
                  { WIRE_LOCATE, sizeof(struct wire_ask) },        { WIRE_ROOM_GIVEN, sizeof(struct wire_room_given) },
                  { WIRE_TAKEN, sizeof(struct wire_taken) } };
    for (int i = 0; i < 20; i++) {
        size_t which = random_next() % ROOST_COUNT_OF(forms);
        struct wire_entry *to = ring_reserve(&client->requests, forms[which].bytes);
        if (to != NULL) {
            fill_random(to, forms[which].bytes);
            *to = (struct wire_entry){ forms[which].kind, forms[which].bytes, random_next() };
        }
    }
    struct wire_room_back none = { .head = { WIRE_ROOM_BACK, sizeof none, 0 } }; /* of which one surely is a lie */
    hand_say(client, &none.head);
}

static void random_submits(struct hand_client *client, bool is_inline)
{
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
    fill_random(payload, sizeof payload);
    struct wire_submit submit;
    memcpy(&submit, payload, sizeof submit);
    submit.is_inline = is_inline;
    submit.scope = 0;
    submit.spec_bytes %= is_inline ? (uint32_t)sizeof payload : 1u << 20;
    submit.u.place.segment = is_inline ? submit.u.place.segment : 0;
    submit.u.place.offset = is_inline ? submit.u.place.offset : (random_next() % (2 * STORE_BYTES)) & ~UINT64_C(7);
    memcpy(payload, &submit, sizeof submit);
    CHECK_EQ(task_ring_push(&client->submits, random_next(), 0, payload, sizeof payload, NULL), 0);
}

static void lie(int which)
{
    struct hand_client client;
    random_state = (uint64_t)which;
    connect_as(&client, "serve", "b");
    unsigned char *page = client.page;
    switch ((enum lie)(which % LIES)) {
    case LIE_MESSAGES:
        random_messages(&client);
        break;
    case LIE_RING:
        fill_random(page + client.layout.requests, ring_bytes(CLIENT_REQUEST_RING_BYTES));
        break;
    case LIE_SUBMITS:
        random_submits(&client, true);
        break;
    case LIE_SUBMIT_PLACES:
        random_submits(&client, false);
        break;
    case LIE_PAGE:
        fill_random(page, client.layout.bytes);
        break;
    case LIE_FORMS:
        random_forms(&client);
        break;
    case LIE_BACKWARDS: { /* a word that only workers say, on their ring's neighbour */
        struct wire_complete complete = { .head = { WIRE_COMPLETE, sizeof complete, 0 }, .run = 1 };
        memcpy(ring_reserve(&client.requests, sizeof complete), &complete, sizeof complete);
        ring_commit(&client.requests);
        break;
    }
    case LIES:
        break;
    }
    for (;;) { /* the agent sleeps or not, whatever the page says now */
        uint64_t one = 1;
        (void)!write(client.event_fd, &one, sizeof one);
        a_moment();
    }
}

TEST(agent_daemon, who_lies_is_killed_and_nobody_else_notices)
{
    start_with_driver("serve");
    struct object_id kept = hand_put(&driver, "kept", 4);
    for (int i = 0; i < 5 * LIES; i++) {
        pid_t liar = fork_client(lie, i);
        int status = end_of(liar);
        if (status != SIGKILL) {
            fprintf(stderr, "lie %d ended with 0x%x\n", i, (unsigned)status);
            test_fails("a liar was not killed");
        }
        check_task_works(&driver);
        check_bytes(&driver, kept, "kept");
    }
    hand_free(&driver, kept);
    wait_until_empty(&driver);
    wait_until_no_workers("b");
    stop_with_driver();
}

/* ------------------------------------------------------------------ the agent's own end */

TEST(agent_daemon, a_terminated_agent_leaves_no_process_no_socket_and_no_file)
{
    start_with_driver("serve");
    hand_submit(&driver, "hang", NULL, 0, 3);
    pid_t busy = pid_that_hangs(&driver), workers[AGENT_PROCESS_CHILDREN_MAX];
    size_t count = workers_of("a", workers);
    CHECK(count >= 1);
    CHECK_EQ(agent_signal(&agent, SIGTERM), 0);
    CHECK(process_has_ended(busy, 0)); /* by now, not soon */
    for (size_t i = 0; i < count; i++) {
        CHECK(process_has_ended(workers[i], 0));
    }
    agent_folder_check(&agent);
    hand_close(&driver);
}

TEST(agent_daemon, an_agent_whose_lifeline_breaks_ends_as_if_it_had_been_told)
{
    start();
    CHECK(close(agent.lifeline) == 0);
    CHECK_EQ(end_of(agent.pid), 0);
    agent_folder_check(&agent);
}

TEST(agent_daemon, workers_end_with_a_killed_agent_and_another_one_may_live_in_its_folder)
{
    int status;
    start_with_driver("serve");
    hand_submit(&driver, "hang", NULL, 0, 3);
    pid_t busy = pid_that_hangs(&driver);
    CHECK_EQ(agent_signal(&agent, SIGKILL), SIGKILL);
    CHECK(process_has_ended(busy, AGENT_PROCESS_MS));
    hand_close(&driver);
    CHECK(agent_start(&agent, "2", STORE_TEXT, &status));
    connect_as(&driver, "serve", "a");
    check_task_works(&driver);
    stop_with_driver();
}

TEST(agent_daemon, a_second_agent_in_a_folder_does_not_start_and_does_not_hurt)
{
    int status;
    start_with_driver("serve");
    struct agent_process second = agent;
    CHECK(!agent_start(&second, "2", STORE_TEXT, &status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    char path[128];
    snprintf(path, sizeof path, "%s/node.json", agent.folder);
    CHECK(access(path, R_OK) == 0);
    check_task_works(&driver);
    stop_with_driver();
}
