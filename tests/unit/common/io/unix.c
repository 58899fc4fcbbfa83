/* Unix sockets between the agent and its clients: messages, descriptors, limits, and who is let in. */
#include "common/io/unix.h"
#include "tests/unit/common/io/fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct server {
    struct fixture fixture;
    struct unix_listener *listener;
    char directory[64], path[96];
    struct unix_connection *connection;
    int opened, closed, status, messages;
    char last[64];
    int kept[UNIX_FDS_MAX + 1], kept_count;
    bool keeps, echoes, done;
};

static void on_open(struct unix_connection *connection, void *arg)
{
    struct server *server = arg;
    server->connection = connection;
    server->opened++;
    server->done = true;
}

static void on_message(struct unix_connection *connection, void *arg, const void *data, struct unix_message *message)
{
    struct server *server = arg;
    server->messages++;
    snprintf(server->last, sizeof server->last, "%.*s", (int)(message->size < 63 ? message->size : 63),
             (const char *)data);
    if (server->echoes) {
        CHECK_EQ(unix_connection_send(connection, data, message->size, message->fds, message->fds_count), 0);
    }
    for (size_t i = 0; server->keeps && i < message->fds_count; i++) {
        server->kept[server->kept_count++] = message->fds[i];
        message->fds[i] = -1;
    }
    server->done = true;
}

static void on_closed(struct unix_connection *connection, void *arg, int status)
{
    struct server *server = arg;
    (void)connection;
    server->connection = NULL;
    server->closed++;
    server->status = status;
    server->done = true;
}

static const struct unix_handler handler = { on_open, on_message, on_closed };

static void server_start(struct server *server, unsigned connections_max)
{
    *server = (struct server){ .opened = 0 };
    strcpy(server->directory, "/tmp/unix-test-XXXXXX");
    CHECK(mkdtemp(server->directory) != NULL);
    snprintf(server->path, sizeof server->path, "%s/socket", server->directory);
    fixture_start(&server->fixture);
    CHECK_EQ(unix_listen(server->fixture.loop, server->path, connections_max, &handler, server, &server->listener), 0);
}

static void server_wait(struct server *server)
{
    fixture_run(&server->fixture, &server->done);
    server->done = false;
}

static void server_end(struct server *server)
{
    unix_listener_close(server->listener);
    if (server->connection != NULL) {
        unix_connection_close(server->connection);
    }
    fixture_end(&server->fixture);
    CHECK_EQ(access(server->path, F_OK), -1); /* the path went with the listener */
    CHECK_EQ(rmdir(server->directory), 0);
    CHECK_EQ(server->opened, server->closed);
}

static int connect_client(struct server *server)
{
    int fd;
    CHECK_EQ(unix_client_connect(server->path, 5000, &fd), 0);
    server->done = false;
    server_wait(server);
    return fd;
}

static ino_t inode_of(int fd)
{
    struct stat found;
    CHECK_EQ(fstat(fd, &found), 0);
    return found.st_ino;
}

TEST(unix_socket, passes_messages_whole_and_in_order_both_ways)
{
    struct server server;
    server_start(&server, 10);
    server.echoes = true;
    int fd = connect_client(&server);
    for (int i = 0; i < 100; i++) {
        char text[32], answer[32];
        snprintf(text, sizeof text, "message %d", i);
        CHECK_EQ(unix_message_send(fd, text, strlen(text) + 1, NULL, 0), 0);
        server_wait(&server);
        CHECK_TEXT(server.last, text);
        struct unix_message message;
        CHECK_EQ(unix_message_receive(fd, 5000, answer, sizeof answer, &message), 0);
        CHECK_TEXT(answer, text);
        CHECK_EQ(message.fds_count, 0);
    }
    close(fd);
    server_wait(&server);
    CHECK_EQ(server.status, ROOST_EDISCONNECTED);
    server_end(&server);
}

TEST(unix_socket, passes_descriptors_both_ways_close_on_exec)
{
    struct server server;
    server_start(&server, 10);
    server.echoes = server.keeps = true;
    int fd = connect_client(&server), fds[UNIX_FDS_MAX];
    for (int i = 0; i < UNIX_FDS_MAX; i++) {
        fds[i] = memfd_create("test", MFD_CLOEXEC);
    }
    CHECK_EQ(unix_message_send(fd, "fds", 4, fds, UNIX_FDS_MAX), 0);
    server_wait(&server);
    CHECK_EQ(server.kept_count, UNIX_FDS_MAX);
    char answer[8];
    struct unix_message message;
    CHECK_EQ(unix_message_receive(fd, 5000, answer, sizeof answer, &message), 0);
    CHECK_EQ(message.fds_count, UNIX_FDS_MAX);
    for (int i = 0; i < UNIX_FDS_MAX; i++) {
        CHECK(inode_of(server.kept[i]) == inode_of(fds[i]));
        CHECK(inode_of(message.fds[i]) == inode_of(fds[i]));
        CHECK_EQ(fcntl(server.kept[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        CHECK_EQ(fcntl(message.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(server.kept[i]);
        close(fds[i]);
    }
    unix_message_close(&message);
    CHECK_EQ(unix_message_send(fd, "x", 1, fds, UNIX_FDS_MAX + 1), ROOST_ETOOBIG);
    close(fd);
    server_wait(&server);
    server_end(&server); /* counts descriptors: what nobody took was closed */
}

TEST(unix_socket, closes_descriptors_that_nobody_takes)
{
    struct server server;
    server_start(&server, 10);
    int fd = connect_client(&server), passed = memfd_create("test", MFD_CLOEXEC);
    CHECK_EQ(unix_message_send(fd, "fd", 3, &passed, 1), 0);
    close(passed);
    server_wait(&server);
    close(fd);
    server_wait(&server);
    server_end(&server);
}

TEST(unix_socket, a_message_beyond_the_limit_is_refused_by_its_sender_and_cut_by_its_receiver)
{
    struct server server;
    server_start(&server, 10);
    int fd = connect_client(&server);
    static char bytes[UNIX_MESSAGE_BYTES_MAX + 1];
    CHECK_EQ(unix_message_send(fd, bytes, sizeof bytes, NULL, 0), ROOST_ETOOBIG);
    CHECK_EQ(unix_message_send(fd, bytes, 0, NULL, 0), ROOST_ETOOBIG);
    CHECK_EQ(unix_message_send(fd, bytes, UNIX_MESSAGE_BYTES_MAX, NULL, 0), 0);
    server_wait(&server);
    CHECK_EQ(server.messages, 1);
    CHECK_EQ(write(fd, bytes, sizeof bytes), sizeof bytes); /* a client that does not ask */
    server_wait(&server);
    CHECK_EQ(server.status, ROOST_ETOOBIG);
    char byte;
    struct unix_message message;
    CHECK_EQ(unix_message_receive(fd, 5000, &byte, 1, &message), ROOST_EDISCONNECTED);
    close(fd);
    server_end(&server);
}

TEST(unix_socket, queues_for_a_slow_client_up_to_a_limit)
{
    struct server server;
    server_start(&server, 10);
    int fd = connect_client(&server), passed = memfd_create("test", MFD_CLOEXEC), sent = 0, status;
    ino_t inode = inode_of(passed);
    static char bytes[30000];
    int too_many[UNIX_FDS_MAX + 1] = { 0 };
    while ((status = unix_connection_send(server.connection, bytes, sizeof bytes, &passed, 1)) == 0) {
        CHECK(++sent < 10000);
    }
    CHECK_EQ(status, ROOST_EBUSY);
    CHECK(sent > UNIX_QUEUE_MAX);
    CHECK_EQ(unix_connection_send(server.connection, bytes, 0, NULL, 0), ROOST_ETOOBIG); /* also while others wait */
    CHECK_EQ(unix_connection_send(server.connection, bytes, 1, too_many, UNIX_FDS_MAX + 1), ROOST_ETOOBIG);
    close(passed); /* the queue has its own */
    CHECK_EQ(unix_message_send(fd, "go", 3, NULL, 0), 0);
    for (int i = 0; i < sent; i++) {
        struct unix_message message;
        static char got[sizeof bytes];
        while ((status = unix_message_receive(fd, 0, got, sizeof got, &message)) == ROOST_ETIMEDOUT) {
            CHECK_EQ(unix_message_send(fd, "more", 5, NULL, 0), 0); /* makes a turn */
            server.done = false;
            server_wait(&server);
        }
        CHECK_EQ(status, 0);
        CHECK_EQ(message.size, sizeof bytes);
        CHECK(inode_of(message.fds[0]) == inode);
        unix_message_close(&message);
    }
    CHECK_EQ(unix_connection_send(server.connection, "x", 1, NULL, 0), 0);
    unix_connection_close(server.connection);
    unix_connection_close(server.connection);
    CHECK_EQ(unix_connection_send(server.connection, "x", 1, NULL, 0), ROOST_ESTATE);
    while (server.closed == 0) {
        server_wait(&server);
    }
    CHECK_EQ(server.status, ROOST_ECANCELED);
    close(fd);
    server_end(&server);
}

TEST(unix_socket, knows_the_process_at_the_other_end_and_its_death)
{
    struct server server;
    server_start(&server, 10);
    int go[2];
    CHECK_EQ(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd;
        char byte;
        close(go[1]);
        int status = unix_client_connect(server.path, 5000, &fd);
        if (status == 0 && read(go[0], &byte, 1) == 0) {
            _exit(0);
        }
        _exit(1);
    }
    close(go[0]);
    server_wait(&server);
    struct unix_peer peer = unix_connection_peer(server.connection);
    CHECK_EQ(peer.pid, child);
    CHECK_EQ(peer.uid, geteuid());
    struct pollfd pidfd = { .fd = dup(unix_connection_pidfd(server.connection)), .events = POLLIN };
    CHECK_EQ(poll(&pidfd, 1, 0), 0);
    close(go[1]);
    CHECK_EQ(poll(&pidfd, 1, 10000), 1); /* it has ended */
    close(pidfd.fd);
    server_wait(&server);
    CHECK_EQ(server.status, ROOST_EDISCONNECTED);
    int wait_status = 1;
    CHECK_EQ(waitpid(child, &wait_status, 0), child);
    CHECK_EQ(wait_status, 0);
    server_end(&server);
}

TEST(unix_socket, another_user_is_refused_even_where_the_path_is_open)
{
    if (geteuid() != 0) {
        TEST_SKIP("only root can become another user");
    }
    struct server server;
    server_start(&server, 10);
    struct stat found;
    CHECK_EQ(stat(server.path, &found), 0);
    CHECK_EQ(found.st_mode & 0777, 0600);
    CHECK_EQ(chmod(server.path, 0777), 0);
    CHECK_EQ(chmod(server.directory, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd;
        if (setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(1);
        }
        /* The client sees first that the server is another user's. */
        _exit(unix_client_connect(server.path, 5000, &fd) == ROOST_EAUTH ? 0 : 2);
    }
    int wait_status = 1;
    CHECK_EQ(waitpid(child, &wait_status, 0), child);
    CHECK_EQ(wait_status, 0);
    int fd = connect_client(&server); /* behind it in the backlog, so it was looked at */
    CHECK_EQ(server.opened, 1);
    CHECK_EQ(unix_connection_peer(server.connection).uid, 0);
    close(fd);
    server_wait(&server);
    server_end(&server);
}

TEST(unix_socket, refuses_connections_beyond_its_limit)
{
    struct server server;
    server_start(&server, 1);
    int first = connect_client(&server), second;
    CHECK_EQ(unix_client_connect(server.path, 5000, &second), 0);
    CHECK_EQ(unix_message_send(first, "turn", 5, NULL, 0), 0);
    server_wait(&server);
    char byte;
    struct unix_message message;
    int status;
    while ((status = unix_message_receive(second, 0, &byte, 1, &message)) == ROOST_ETIMEDOUT) {
        CHECK_EQ(unix_message_send(first, "turn", 5, NULL, 0), 0);
        server_wait(&server);
    }
    CHECK_EQ(status, ROOST_EDISCONNECTED);
    CHECK_EQ(server.opened, 1);
    close(second);
    close(first);
    while (server.closed == 0) {
        server.done = false;
        server_wait(&server);
    }
    server_end(&server);
}

TEST(unix_socket, takes_the_place_of_a_dead_socket_and_of_nothing_else)
{
    struct server server;
    server_start(&server, 10);
    struct unix_listener *second;
    CHECK_EQ(unix_listen(server.fixture.loop, server.path, 1, &handler, NULL, &second), ROOST_EEXIST);
    CHECK(strstr(error_text(), server.path) != NULL);
    char file[128], dead[128];
    snprintf(file, sizeof file, "%s/file", server.directory);
    snprintf(dead, sizeof dead, "%s/dead", server.directory);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(unix_listen(server.fixture.loop, file, 1, &handler, NULL, &second), ROOST_EEXIST);
    CHECK_EQ(access(file, F_OK), 0);
    CHECK_EQ(unlink(file), 0);
    pid_t child = fork();
    if (child == 0) { /* ends without closing its listener */
        _exit(unix_listen(server.fixture.loop, dead, 1, &handler, NULL, &second) != 0);
    }
    int wait_status = 1;
    CHECK_EQ(waitpid(child, &wait_status, 0), child);
    CHECK_EQ(wait_status, 0);
    CHECK_EQ(access(dead, F_OK), 0);
    int fd;
    CHECK_EQ(unix_client_connect(dead, 5000, &fd), ROOST_ECONNECT);
    CHECK_EQ(unix_listen(server.fixture.loop, dead, 1, &handler, NULL, &second), 0);
    unix_listener_close(second);
    CHECK_EQ(access(dead, F_OK), -1);
    /* the probe of the living one was a connection that came and went, or was never looked at */
    server.opened = server.closed;
    server_end(&server);
}

TEST(unix_socket, a_client_says_why_it_cannot_connect)
{
    int fd;
    CHECK_EQ(unix_client_connect("/no/such/socket", 100, &fd), ROOST_ECONNECT);
    CHECK(strstr(error_text(), "/no/such/socket") != NULL);
    char longest[200];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    CHECK_EQ(unix_client_connect(longest, 100, &fd), ROOST_EINVAL);
    CHECK_EQ(unix_client_connect("", 100, &fd), ROOST_EINVAL);
}

TEST(unix_socket, a_client_waits_no_longer_than_it_says)
{
    struct server server;
    server_start(&server, 10);
    int fd = connect_client(&server);
    char byte;
    struct unix_message message;
    uint64_t before_ns = loop_now_ns();
    CHECK_EQ(unix_message_receive(fd, 20, &byte, 1, &message), ROOST_ETIMEDOUT);
    CHECK(loop_now_ns() - before_ns >= 19000000);
    int others[400], count = 0, status;
    while ((status = unix_client_connect(server.path, 20, &others[count])) == 0) {
        CHECK(++count < 400); /* nobody accepts: the backlog fills */
    }
    CHECK_EQ(status, ROOST_ETIMEDOUT);
    for (int i = 0; i < count; i++) {
        close(others[i]);
    }
    close(fd);
    while (server.closed == 0 || server.opened > server.closed) {
        server_wait(&server);
    }
    server_end(&server);
}
