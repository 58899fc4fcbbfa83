/* daemon.c - a head as a process of its own, with an agent made of peers, and commands */
#include "scheduler/daemon.h"
#include "proto/io/peers_internal.h"
#include "proto/io/query.h"
#include "scheduler/record.h"
#include "tests/unit/common/io/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUERY_MS = 20000 };

struct head_process {
    pid_t pid;
    int lifeline; /* our end of it */
    char folder[64], record[128], address[ADDRESS_TEXT_BYTES];
};

static struct agent {
    struct fixture fixture;
    struct peers *peers;
    struct peer *peer;
    struct proto_welcome welcome;
    int ups, resumed, lost, downs, welcomes, nodes, stops;
} agent;

/* ------------------------------------------------------------------------------------------ the head */

static void run_head(const struct head_process *head, int ready_fd, int lifeline_fd, unsigned dead_ms)
{
    struct head_options options = { .folder = head->folder,
                                    .record = head->record,
                                    .ready_fd = ready_fd,
                                    .lifeline_fd = lifeline_fd,
                                    .suspect_ms = dead_ms / 2,
                                    .dead_ms = dead_ms };
    int status = head_run(&options);
    exit(status == 0 && __lsan_do_recoverable_leak_check != NULL ? __lsan_do_recoverable_leak_check() : status != 0);
}

/* Before this process uses nng, which does not live through a fork. */
static void head_start(struct head_process *head, unsigned dead_ms)
{
    int ready[2], lifeline[2];
    snprintf(head->folder, sizeof head->folder, "/tmp/roost-head-XXXXXX");
    CHECK(mkdtemp(head->folder) != NULL);
    snprintf(head->record, sizeof head->record, "%s.record", head->folder);
    CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(lifeline, O_CLOEXEC) == 0);
    fflush(NULL);
    head->pid = fork();
    if (head->pid == 0) {
        close(ready[0]);
        close(lifeline[1]);
        run_head(head, ready[1], lifeline[0], dead_ms);
    }
    close(ready[1]);
    close(lifeline[0]);
    head->lifeline = lifeline[1];
    FILE *line = fdopen(ready[0], "r");
    CHECK(fgets(head->address, sizeof head->address, line) != NULL);
    fclose(line);
    head->address[strcspn(head->address, "\n")] = '\0';
    CHECK(strncmp(head->address, "127.0.0.1:", 10) == 0);
}

static void head_file(const struct head_process *head, char path[128])
{
    snprintf(path, 128, "%s/head.json", head->folder);
}

/* Its exit is awaited, and nothing of it may be left. */
static void head_wait(struct head_process *head)
{
    int status = -1;
    CHECK_EQ(waitpid(head->pid, &status, 0), head->pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(rmdir(head->folder), 0); /* empty */
    close(head->lifeline);
}

static void head_forget(const struct head_process *head) { CHECK_EQ(unlink(head->record), 0); }

/* ------------------------------------------------------------------------------------------ the agent */

static void say_hello(void *arg, struct proto_hello *hello)
{
    (void)arg;
    hello->role = PROTO_ROLE_AGENT;
    hello->node = (struct node_id){ 1, 1 };
    hello->number = agent.welcome.number;
    hello->incarnation = agent.welcome.incarnation;
    hello->host = "elsewhere";
    hello->address = "127.0.0.1:1";
    hello->cpus_hundredths = 400;
    hello->memory_bytes = hello->store_bytes = 1 << 30;
}

static int on_hello(void *arg, const struct proto_hello *hello)
{
    (void)arg, (void)hello;
    return ROOST_EAUTH;
}

static void list(void)
{
    const enum proto_kind kinds[] = { PROTO_LIST_BEGIN, PROTO_LIST_PLACED, PROTO_LIST_END };
    for (int i = 0; i < 3; i++) {
        struct proto_message message = { .kind = kinds[i], .u.list_begin.list = 1 };
        CHECK_EQ(peers_send(agent.peer, &message), 0);
    }
}

static void on_up(void *arg, struct peer *peer, bool resumed, const struct proto_hello *hello)
{
    (void)arg;
    CHECK_EQ(hello->role, PROTO_ROLE_HEAD);
    CHECK(!cluster_id_is_none(hello->cluster));
    agent.peer = peer;
    resumed ? agent.resumed++ : agent.ups++;
}

static void on_message(void *arg, struct peer *peer, uint32_t batch, uint32_t seen, const struct proto_message *message)
{
    (void)arg, (void)peer, (void)batch, (void)seen;
    if (message->kind == PROTO_WELCOME) {
        agent.welcomes++;
        agent.welcome = message->u.welcome;
        list();
    }
    agent.nodes += message->kind == PROTO_NODES;
    agent.stops += message->kind == PROTO_STOP;
}

static void on_batch_end(void *arg, struct peer *peer, uint32_t batch, uint32_t seen)
{
    (void)arg, (void)peer, (void)batch, (void)seen;
}

static void on_lost(void *arg, struct peer *peer, int status, const char *text)
{
    (void)arg, (void)peer, (void)status, (void)text;
    agent.lost++;
}

static void on_down(void *arg, struct peer *peer, int status, const char *text)
{
    (void)arg, (void)peer, (void)status, (void)text;
    agent.downs++;
}

static const struct peers_handler handler = { .say_hello = say_hello,
                                              .on_hello = on_hello,
                                              .on_up = on_up,
                                              .on_message = on_message,
                                              .on_batch_end = on_batch_end,
                                              .on_lost = on_lost,
                                              .on_down = on_down };

static bool (*wanted)(void);

static void turn_end(void *arg)
{
    (void)arg;
    peers_flush(agent.peers);
    if (wanted()) {
        loop_stop(agent.fixture.loop);
    }
}

static void run_until(bool (*is_done)(void))
{
    wanted = is_done;
    loop_timer_arm(&agent.fixture.guard, loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000));
    loop_on_turn_end(agent.fixture.loop, turn_end, NULL);
    loop_run(agent.fixture.loop);
    loop_timer_disarm(&agent.fixture.guard);
}

static bool is_member(void) { return agent.nodes > 0 && peer_seen(agent.peer) > 0; }
static bool is_told_to_end(void) { return agent.stops > 0; }
static bool is_down(void) { return agent.downs > 0; }
static bool has_resumed(void) { return agent.resumed > 0; }

static void agent_join(const struct head_process *head)
{
    struct peer *peer;
    fixture_start(&agent.fixture);
    CHECK_EQ(peers_open(&agent.peers, agent.fixture.loop, &(struct peers_options){ .self = { 1, 1 } }, &handler, NULL),
             0);
    CHECK_EQ(peers_dial(agent.peers, head->address, (struct node_id){ 0, 0 }, &peer), 0);
    run_until(is_member);
}

static void agent_leave(void)
{
    peers_close(agent.peers);
    agent.peers = NULL;
    loop_on_turn_end(agent.fixture.loop, NULL, NULL);
    fixture_end(&agent.fixture);
}

/* ------------------------------------------------------------------------------------------ commands */

struct answer {
    uint64_t parts, rows, total;
    char cells[4096]; /* one after the other */
};

static int take_rows(void *arg, const struct proto_rows *rows)
{
    struct answer *answer = arg;
    answer->parts++;
    answer->total = rows->total;
    answer->rows += rows->columns_count == 0 ? 0 : rows->cells_count / rows->columns_count;
    for (size_t i = 0; i < rows->cells_count; i++) {
        size_t used = strlen(answer->cells);
        snprintf(answer->cells + used, sizeof answer->cells - used, "%s ", rows->cells[i]);
    }
    return 0;
}

static struct answer ask(const struct head_process *head, enum proto_query_what what)
{
    struct answer answer = { .parts = 0 };
    struct proto_message message = { .kind = PROTO_QUERY, .u.query = { .query = 9, .what = what } };
    CHECK_EQ(query_head(head->address, QUERY_MS, &message, take_rows, &answer), 0);
    return answer;
}

/* ------------------------------------------------------------------------------------------ tests */

TEST(head, welcomes_an_agent_and_answers_a_query)
{
    struct head_process head;
    head_start(&head, 0);
    agent_join(&head);
    CHECK_EQ(agent.welcomes, 1);
    CHECK_EQ(agent.welcome.number, 1);
    CHECK_EQ(agent.welcome.incarnation, 1);
    struct answer nodes = ask(&head, PROTO_QUERY_NODES);
    CHECK_EQ(nodes.rows, 1);
    CHECK_EQ(nodes.total, 1);
    CHECK(strstr(nodes.cells, "elsewhere") != NULL);
    CHECK(ask(&head, PROTO_QUERY_STATUS).parts > 0);
    kill(head.pid, SIGTERM);
    run_until(is_told_to_end);
    agent_leave();
    head_wait(&head);
    head_forget(&head);
}

TEST(head, says_in_its_folder_where_it_is_and_ends_on_a_signal)
{
    struct head_process head;
    char path[128], text[512] = "";
    head_start(&head, 0);
    head_file(&head, path);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fgets(text, sizeof text, file) != NULL);
    fclose(file);
    CHECK(strstr(text, head.address) != NULL);
    CHECK(strstr(text, "\"cluster\":\"") != NULL);
    kill(head.pid, SIGINT);
    head_wait(&head);
    head_forget(&head);
}

TEST(head, ends_when_who_started_it_is_gone)
{
    struct head_process head;
    head_start(&head, 0);
    close(head.lifeline);
    head.lifeline = open("/dev/null", O_RDONLY);
    head_wait(&head);
    head_forget(&head);
}

TEST(head, ends_the_cluster_when_a_command_says_so)
{
    struct head_process head;
    struct proto_message stop = { .kind = PROTO_STOP };
    head_start(&head, 0);
    CHECK_EQ(query_head(head.address, QUERY_MS, &stop, NULL, NULL), 0);
    head_wait(&head);
    struct proto_message query = { .kind = PROTO_QUERY, .u.query = { .query = 1, .what = PROTO_QUERY_STATUS } };
    int status = query_head(head.address, QUERY_MS, &query, take_rows, &(struct answer){ .parts = 0 });
    CHECK(status == ROOST_ECONNECT || status == ROOST_EDISCONNECTED);
    CHECK(error_text()[0] != '\0');
    head_forget(&head);
}

TEST(head, a_second_signal_does_not_wait_for_agents)
{
    struct head_process head;
    head_start(&head, 0);
    agent_join(&head);
    kill(head.pid, SIGTERM);
    run_until(is_told_to_end);
    kill(head.pid, SIGTERM); /* the agent stays */
    run_until(is_down);
    agent_leave();
    head_wait(&head);
    head_forget(&head);
}

TEST(head, an_agent_that_was_cut_off_is_the_same_member)
{
    struct head_process head;
    head_start(&head, 0);
    agent_join(&head);
    endpoint_close(agent.peer->link->endpoint);
    run_until(has_resumed);
    CHECK_EQ(agent.welcomes, 1);
    CHECK_EQ(agent.lost, 0);
    kill(head.pid, SIGTERM);
    run_until(is_told_to_end);
    agent_leave();
    head_wait(&head);
    head_forget(&head);
}

/* Asks until the answer holds `word`. Each question waits for its answer, so this does not spin. */
static void ask_until(const struct head_process *head, const char *word)
{
    uint64_t end_ns = loop_now_ns() + FIXTURE_PATIENCE_S * UINT64_C(1000000000);
    while (strstr(ask(head, PROTO_QUERY_NODES).cells, word) == NULL) {
        CHECK(loop_now_ns() < end_ns);
    }
}

TEST(head, a_silent_agent_is_dead_and_begins_a_new_life)
{
    struct head_process head;
    head_start(&head, 200);
    agent_join(&head); /* and its loop does not turn any more */
    ask_until(&head, "dead");
    agent.nodes = 0;
    run_until(is_member);
    CHECK_EQ(agent.lost, 1);
    CHECK_EQ(agent.welcomes, 2);
    CHECK_EQ(agent.welcome.number, 1);
    CHECK_EQ(agent.welcome.incarnation, 2);
    kill(head.pid, SIGTERM);
    run_until(is_told_to_end);
    agent_leave();
    head_wait(&head);
    uint64_t hash; /* a record with deaths in it plays as well */
    CHECK_EQ(record_play(head.record, &head_record, &hash), 0);
    head_forget(&head);
}

/* ------------------------------------------------------------------------------------------ the record */

/* The record of a head that had an agent and a question. */
static void make_record(struct head_process *head)
{
    head_start(head, 0);
    agent_join(head);
    ask(head, PROTO_QUERY_NODES);
    kill(head->pid, SIGTERM);
    run_until(is_told_to_end);
    agent_leave();
    head_wait(head);
}

TEST(record, plays_to_the_same_state)
{
    struct head_process head;
    uint64_t hash = 0, again = 1;
    make_record(&head);
    CHECK_EQ(record_play(head.record, &head_record, &hash), 0);
    CHECK_EQ(record_play(head.record, &head_record, &again), 0);
    CHECK(hash == again);
    head_forget(&head);
}

TEST(record, that_ends_early_is_played_as_far_as_it_goes)
{
    struct head_process head;
    struct stat facts;
    uint64_t whole, part;
    make_record(&head);
    CHECK_EQ(record_play(head.record, &head_record, &whole), 0);
    CHECK_EQ(stat(head.record, &facts), 0);
    CHECK_EQ(truncate(head.record, facts.st_size - 96), 0); /* without its last line */
    CHECK_EQ(record_play(head.record, &head_record, &part), 0);
    CHECK(whole == part);
    CHECK_EQ(truncate(head.record, facts.st_size - 100), 0); /* within a line */
    CHECK_EQ(record_play(head.record, &head_record, &part), ROOST_EINVAL);
    CHECK_EQ(truncate(head.record, 20), 0);
    CHECK_EQ(record_play(head.record, &head_record, &part), ROOST_EINVAL);
    head_forget(&head);
    CHECK_EQ(record_play(head.record, &head_record, &part), ROOST_ENOENT);
}

/* Any byte may be another: it is an error, never more. */
TEST(record, that_is_damaged_is_refused)
{
    static unsigned char bytes[1 << 16];
    struct head_process head;
    uint64_t hash;
    make_record(&head);
    int fd = open(head.record, O_RDWR | O_CLOEXEC);
    ssize_t size = read(fd, bytes, sizeof bytes);
    CHECK(size > 500 && size < (ssize_t)sizeof bytes);
    int refused = 0;
    for (ssize_t at = 0; at < size; at += 7) {
        unsigned char other = bytes[at] ^ 0x41;
        CHECK_EQ(pwrite(fd, &other, 1, at), 1);
        int status = record_play(head.record, &head_record, &hash);
        bool is_config = at < 64; /* not all of it shows in the state */
        CHECK(status == ROOST_EINVAL || (is_config && (status == 0 || status == ROOST_ECHANGED)));
        refused += status != 0;
        CHECK_EQ(pwrite(fd, &bytes[at], 1, at), 1);
    }
    CHECK(refused > 20);
    CHECK_EQ(record_play(head.record, &head_record, &hash), 0);
    close(fd);
    head_forget(&head);
}

TEST(head, that_cannot_start_says_why_and_leaves_nothing)
{
    struct head_options options = { .listen = "0.0.0.0:0", .ready_fd = ROOST_NONE, .lifeline_fd = ROOST_NONE };
    CHECK_EQ(head_run(&options), ROOST_EAUTH);
    options.listen = NULL;
    options.folder = "/tmp/roost-head-there-is-none";
    CHECK_EQ(head_run(&options), ROOST_EIO);
    CHECK(strstr(error_text(), options.folder) != NULL);
    options.folder = NULL;
    options.record = "/tmp/roost-head-there-is-none/record";
    CHECK_EQ(head_run(&options), ROOST_EIO);
}
