/* Children: what they are given, what they leave, and how their ends are told. */
#include "common/io/spawn.h"
#include "tests/unit/common/io/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    struct spawn *spawn;
    int exits, wait_status;
    pid_t pid;
    bool done;
};

static void on_exit_of(void *arg, pid_t pid, int wait_status)
{
    struct child *child = arg;
    child->exits++;
    child->pid = pid;
    child->wait_status = wait_status;
    child->done = true;
}

/* `sh -c script`, with its output into `out`. */
static void start_shell(struct fixture *fixture, const char *script, int out, const char *cwd, char *const *envp,
                        bool ends_group, struct child *child)
{
    char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)script, NULL };
    struct spawn_options options = { .path = "/bin/sh",
                                     .argv = argv,
                                     .envp = envp,
                                     .cwd = cwd,
                                     .stdout_fd = out,
                                     .stderr_fd = out,
                                     .ends_group = ends_group };
    CHECK_EQ(spawn_start(fixture->loop, &options, on_exit_of, child, &child->spawn), 0);
    CHECK(spawn_pid(child->spawn) > 0);
    CHECK_EQ(child->exits, 0);
}

/* What `script` prints, and its wait status. */
static void shell_output(const char *script, const char *cwd, char *const *envp, char *text_out, size_t bytes,
                         struct child *child)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int out[2];
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    start_shell(&fixture, script, out[1], cwd, envp, false, child);
    close(out[1]);
    fixture_run(&fixture, &child->done);
    size_t used = 0;
    ssize_t got;
    while ((got = read(out[0], text_out + used, bytes - 1 - used)) > 0) {
        used += (size_t)got;
    }
    text_out[used] = '\0';
    close(out[0]);
    fixture_end(&fixture);
}

TEST(spawn, tells_the_exit_code_once)
{
    struct child child = { .exits = 0 };
    char text[64];
    shell_output("exit 7", NULL, NULL, text, sizeof text, &child);
    CHECK(WIFEXITED(child.wait_status));
    CHECK_EQ(WEXITSTATUS(child.wait_status), 7);
    CHECK_EQ(child.exits, 1);
    CHECK_EQ(waitpid(child.pid, NULL, WNOHANG), -1); /* reaped */
}

TEST(spawn, tells_the_signal_that_ended_a_child)
{
    struct child child = { .exits = 0 };
    char text[64];
    shell_output("kill -SEGV $$", NULL, NULL, text, sizeof text, &child);
    CHECK(WIFSIGNALED(child.wait_status));
    CHECK_EQ(WTERMSIG(child.wait_status), SIGSEGV);
}

TEST(spawn, gives_directory_environment_output_and_an_empty_input)
{
    struct child child = { .exits = 0 };
    char text[256];
    char *envp[] = { (char[]){ "GREETING=hello" }, NULL };
    shell_output("pwd; echo $GREETING; cat; echo oops >&2", "/proc", envp, text, sizeof text, &child);
    CHECK_TEXT(text, "/proc\nhello\noops\n");
}

TEST(spawn, a_child_leads_a_session_of_its_own)
{
    struct child child = { .exits = 0 };
    char text[256];
    shell_output(
        "read -r _ _ _ _ group session _ < /proc/self/stat; read -r pid _ < /proc/self/stat; echo $$ $group $session",
        NULL, NULL, text, sizeof text, &child);
    int self = 0, group = 0, session = 0;
    CHECK_EQ(sscanf(text, "%d %d %d", &self, &group, &session), 3);
    CHECK_EQ(self, child.pid);
    CHECK_EQ(group, child.pid);
    CHECK_EQ(session, child.pid);
}

TEST(spawn, a_child_inherits_no_descriptor_beyond_three)
{
    int leaky[3];
    for (int i = 0; i < 3; i++) {
        leaky[i] = fcntl(STDERR_FILENO, F_DUPFD, 50 + 7 * i); /* not close-on-exec */
    }
    struct child child = { .exits = 0 };
    char text[256];
    shell_output("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done", NULL, NULL, text, sizeof text, &child);
    CHECK(strncmp(text, "0\n1\n2\n", 6) == 0);
    for (int i = 0; i < 3; i++) {
        char line[16];
        snprintf(line, sizeof line, "\n%d\n", leaky[i]);
        CHECK(strstr(text, line) == NULL);
        close(leaky[i]);
    }
}

TEST(spawn, a_child_starts_with_no_signal_blocked_or_ignored)
{
    signal(SIGPIPE, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    struct child child = { .exits = 0 };
    char text[1024];
    shell_output("while read -r line; do case $line in SigBlk*|SigIgn*) echo $line;; esac; done < /proc/self/status",
                 NULL, NULL, text, sizeof text, &child);
    unsigned long long blocked_bits, ignored_bits;
    CHECK_EQ(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked_bits, &ignored_bits), 2);
    CHECK_EQ(blocked_bits, 0);
    CHECK_EQ(ignored_bits & 0x7fffffff, 0); /* above: libc's own, which no program may touch */
}

TEST(spawn, says_why_a_program_cannot_be_started)
{
    struct fixture fixture;
    fixture_start(&fixture);
    char *argv[] = { (char[]){ "x" }, NULL };
    struct spawn_options options = { .path = "/no/such/program", .argv = argv, .stdout_fd = -1, .stderr_fd = -1 };
    struct spawn *spawn;
    CHECK_EQ(spawn_start(fixture.loop, &options, on_exit_of, NULL, &spawn), ROOST_ENOENT);
    CHECK(strstr(error_text(), "/no/such/program") != NULL && strstr(error_text(), "No such file") != NULL);
    options.path = "/bin/sh";
    options.cwd = "/no/such/directory";
    CHECK_EQ(spawn_start(fixture.loop, &options, on_exit_of, NULL, &spawn), ROOST_ENOENT);
    CHECK(strstr(error_text(), "in /no/such/directory") != NULL);
    options.cwd = NULL;
    options.path = "/etc/passwd";
    CHECK_EQ(spawn_start(fixture.loop, &options, on_exit_of, NULL, &spawn), ROOST_ENOENT);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* no child is left of it */
    fixture_end(&fixture);
}

TEST(spawn, a_signal_reaches_the_whole_group)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int out[2];
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    struct child child = { .exits = 0 };
    start_shell(&fixture, "(echo r; exec cat out_of_nowhere < /dev/zero > /dev/null; ) & exec tail -f /dev/null",
                out[1], NULL, NULL, false, &child);
    close(out[1]);
    char byte;
    CHECK_EQ(read(out[0], &byte, 1), 1); /* the grandchild runs */
    spawn_kill(child.spawn, SIGKILL);
    fixture_run(&fixture, &child.done);
    CHECK_EQ(WTERMSIG(child.wait_status), SIGKILL);
    while (read(out[0], &byte, 1) > 0) { /* the pipe ends when the last of the group has gone */
    }
    close(out[0]);
    fixture_end(&fixture);
}

TEST(spawn, what_a_child_leaves_running_can_end_with_it)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int out[2];
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    struct child child = { .exits = 0 };
    start_shell(&fixture, "tail -f /dev/null & exit 3", out[1], NULL, NULL, true, &child);
    close(out[1]);
    fixture_run(&fixture, &child.done);
    CHECK_EQ(WEXITSTATUS(child.wait_status), 3);
    char byte;
    CHECK_EQ(read(out[0], &byte, 1), 0); /* nobody holds the other end any more */
    close(out[0]);
    fixture_end(&fixture);
}

TEST(spawn, many_children_at_once_are_each_told_once)
{
    enum { CHILDREN = 40 };
    struct fixture fixture;
    fixture_start(&fixture);
    static struct child children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        char script[32];
        snprintf(script, sizeof script, "exit %d", i);
        start_shell(&fixture, script, -1, NULL, NULL, false, &children[i]);
    }
    for (int i = 0; i < CHILDREN; i++) {
        fixture_run(&fixture, &children[i].done);
        CHECK_EQ(WEXITSTATUS(children[i].wait_status), i);
        CHECK_EQ(children[i].exits, 1);
    }
    fixture_end(&fixture);
}

TEST(spawn, a_child_gets_one_descriptor_that_it_is_given_and_no_other)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int out[2], given[2], other;
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(given, O_CLOEXEC), 0);
    other = fcntl(STDERR_FILENO, F_DUPFD, 4); /* not close-on-exec */
    char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "echo hello >&3; ls /proc/self/fd | wc -l" }, NULL };
    struct spawn_options options = {
        .path = "/bin/sh", .argv = argv, .stdout_fd = out[1], .stderr_fd = out[1], .third_fd = given[1]
    };
    struct child child = { .exits = 0 };
    CHECK_EQ(spawn_start(fixture.loop, &options, on_exit_of, &child, &child.spawn), 0);
    close(out[1]);
    close(given[1]);
    fixture_run(&fixture, &child.done);
    char text[16] = "";
    CHECK_EQ(read(given[0], text, sizeof text - 1), 6);
    CHECK_TEXT(text, "hello\n");
    CHECK_EQ(read(out[0], text, sizeof text - 1), 2);
    CHECK_EQ(text[0], '5'); /* 0 to 3, and the folder that ls reads */
    close(out[0]);
    close(given[0]);
    close(other);
    fixture_end(&fixture);
}

/* A child of this process that does as little as one that another process made for it. */
static pid_t make_child(int exit_code)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (exit_code < 0) {
            pause();
        }
        _exit(exit_code);
    }
    return pid;
}

TEST(spawn, an_adopted_child_is_watched_also_when_it_has_ended_before)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct child child = { .exits = 0 };
    pid_t pid = make_child(9);
    siginfo_t ended;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
    CHECK_EQ(spawn_adopt(fixture.loop, pid, on_exit_of, &child, &child.spawn), 0);
    CHECK_EQ(spawn_pid(child.spawn), pid);
    CHECK_EQ(child.exits, 0);
    fixture_run(&fixture, &child.done);
    CHECK_EQ(child.pid, pid);
    CHECK_EQ(WEXITSTATUS(child.wait_status), 9);
    fixture_end(&fixture);
}

TEST(spawn, an_adopted_child_without_a_group_of_its_own_can_be_killed)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct child child = { .exits = 0 };
    CHECK_EQ(spawn_adopt(fixture.loop, make_child(-1), on_exit_of, &child, &child.spawn), 0);
    spawn_kill(child.spawn, SIGKILL);
    fixture_run(&fixture, &child.done);
    CHECK_EQ(WTERMSIG(child.wait_status), SIGKILL);
    fixture_end(&fixture);
}

TEST(spawn, no_other_process_than_a_child_is_adopted)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct child child = { .exits = 0 };
    CHECK_EQ(spawn_adopt(fixture.loop, getppid(), on_exit_of, &child, &child.spawn), ROOST_ENOENT);
    CHECK_EQ(spawn_adopt(fixture.loop, 1, on_exit_of, &child, &child.spawn), ROOST_ENOENT);
    CHECK_EQ(spawn_adopt(fixture.loop, -1, on_exit_of, &child, &child.spawn), ROOST_ENOENT);
    CHECK(child.spawn == NULL);
    fixture_end(&fixture);
}

TEST(spawn, a_group_that_is_spared_outlives_its_leader)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int out[2];
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    struct child child = { .exits = 0 };
    start_shell(&fixture, "tail -f /dev/null & exit 3", out[1], NULL, NULL, true, &child);
    close(out[1]);
    spawn_spare_group(child.spawn);
    fixture_run(&fixture, &child.done);
    CHECK_EQ(kill(-child.pid, SIGKILL), 0);
    char byte;
    CHECK_EQ(read(out[0], &byte, 1), 0); /* the last that held the other end has gone */
    close(out[0]);
    fixture_end(&fixture);
}

TEST(spawn, raises_the_limit_of_descriptors_to_what_is_allowed)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit low = { 64, limit.rlim_max };
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    CHECK_EQ(spawn_raise_files_limit(), limit.rlim_max);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(limit.rlim_cur, limit.rlim_max);
}
