/* The folders of clusters under $ROOST_DIR, and the marks of the processes in them. */
#include "api/cli/folder.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];

/* A root of this test's own. */
static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/roost-run-f-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    setenv("ROOST_DIR", root, 1);
}

static void remove_root(void)
{
    CHECK_EQ(folder_remove(root), 0);
    CHECK(access(root, F_OK) != 0);
}

static void write_file(const char *folder, const char *name, const char *content)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(content, file);
    CHECK_EQ(fclose(file), 0);
}

static bool exists(const char *folder, const char *name)
{
    char path[256];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &about) == 0;
}

/* Runs `name` into the folder's marks as a process that has ended by then. */
static void create_dead(const char *name, const char *role, struct folder *folder)
{
    pid_t child = fork();
    if (child == 0) {
        struct folder made;
        _exit(folder_create(name, role, true, &made) == 0 ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    char path[FOLDER_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, name);
    CHECK_EQ(folder_read(path, folder), 0);
}

TEST(folder, a_new_one_is_private_and_marked)
{
    struct folder folder;
    struct stat about;
    make_root();
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    CHECK_EQ(stat(folder.path, &about), 0);
    CHECK_EQ(about.st_mode & 0777, 0700);
    CHECK_TEXT(folder.name, "alpha");
    CHECK_EQ(folder.marks_count, 1);
    CHECK_EQ(folder.marks[0].pid, getpid());
    CHECK_TEXT(folder.marks[0].role, "start");
    const struct process_mark *mark = NULL;
    CHECK_EQ(folder_look(&folder, &mark), PROCESS_ALIVE);
    CHECK(mark == &folder.marks[0]);
    remove_root();
}

TEST(folder, the_root_is_made_private)
{
    struct folder folder;
    struct stat about;
    char below[96];
    make_root();
    snprintf(below, sizeof below, "%s/new", root);
    setenv("ROOST_DIR", below, 1);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    CHECK_EQ(stat(below, &about), 0);
    CHECK_EQ(about.st_mode & 0777, 0700);
    remove_root();
}

TEST(folder, a_root_that_is_a_link_is_refused)
{
    struct folder folder;
    char link_path[96], target[96];
    make_root();
    snprintf(link_path, sizeof link_path, "%s/link", root);
    snprintf(target, sizeof target, "%s/target", root);
    CHECK_EQ(mkdir(target, 0700), 0);
    CHECK_EQ(symlink(target, link_path), 0);
    setenv("ROOST_DIR", link_path, 1);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EAUTH);
    CHECK(strstr(error_text(), "is a link or no folder") != NULL);
    CHECK(!exists(target, "alpha"));
    struct folder *folders;
    size_t count;
    CHECK_EQ(folders_read(&folders, &count), ROOST_EAUTH);
    remove_root();
}

TEST(folder, a_root_that_others_may_write_into_is_refused)
{
    struct folder folder;
    make_root();
    CHECK_EQ(chmod(root, 0777), 0);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EAUTH);
    CHECK(strstr(error_text(), "is open to others (mode 777)") != NULL);
    CHECK_EQ(chmod(root, 0755), 0);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    remove_root();
}

TEST(folder, a_root_of_another_user_is_refused)
{
    struct folder folder;
    if (geteuid() != 0) {
        TEST_SKIP("only root can make a folder that is somebody else's");
    }
    make_root();
    CHECK_EQ(chown(root, 12345, (gid_t)-1), 0);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EAUTH);
    CHECK(strstr(error_text(), "belongs to user 12345, not to you") != NULL);
    remove_root();
}

TEST(folder, a_live_name_is_taken_and_a_second_one_is_numbered)
{
    struct folder first, second;
    make_root();
    CHECK_EQ(folder_create("alpha", "start", true, &first), 0);
    CHECK_EQ(folder_create("alpha", "start", true, &second), ROOST_EEXIST);
    char wanted[96];
    snprintf(wanted, sizeof wanted, "\"alpha\" runs already (start, pid %d)", (int)getpid());
    CHECK_TEXT(error_text(), wanted);
    CHECK_EQ(folder_create("alpha", "start", false, &second), 0);
    CHECK_TEXT(second.name, "alpha-2");
    remove_root();
}

TEST(folder, a_stale_name_is_replaced_with_all_that_was_in_it)
{
    struct folder dead, folder;
    make_root();
    create_dead("alpha", "start", &dead);
    CHECK_EQ(folder_look(&dead, NULL), PROCESS_ENDED);
    write_file(dead.path, "agent.sock", "");
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    CHECK_TEXT(folder.name, "alpha");
    CHECK(!exists(folder.path, "agent.sock"));
    CHECK_EQ(folder_look(&folder, NULL), PROCESS_ALIVE);
    remove_root();
}

TEST(folder, what_programs_and_local_clusters_left_goes_with_the_next_creation)
{
    struct folder one, local, start, folder;
    make_root();
    create_dead("one-1", "one", &one);
    create_dead("start-1", "start", &start);
    create_dead("local-1", "local", &local); /* its creation has swept one-1 away already */
    CHECK(!exists(root, "one-1"));
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    CHECK(!exists(root, "local-1"));
    CHECK(exists(root, "start-1")); /* its logs may be wanted */
    remove_root();
}

TEST(folder, something_else_of_that_name_stays)
{
    struct folder folder;
    char path[96];
    make_root();
    snprintf(path, sizeof path, "%s/alpha", root);
    CHECK_EQ(mkdir(path, 0700), 0);
    write_file(path, "mine", "precious");
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EEXIST);
    CHECK(exists(path, "mine"));
    CHECK_EQ(folder_create("alpha", "start", false, &folder), 0);
    CHECK_TEXT(folder.name, "alpha-2");
    remove_root();
}

TEST(folder, names_and_paths_have_limits)
{
    struct folder folder;
    char deep[200];
    make_root();
    CHECK_EQ(folder_create("../alpha", "start", true, &folder), ROOST_EINVAL);
    CHECK_EQ(folder_create(".alpha", "start", true, &folder), ROOST_EINVAL);
    CHECK_EQ(folder_create("-alpha", "start", true, &folder), ROOST_EINVAL);
    CHECK_EQ(folder_create("", "start", true, &folder), ROOST_EINVAL);
    CHECK_EQ(folder_check_name("a.b_c-9"), 0);
    snprintf(deep, sizeof deep, "%s/%080d", root, 0);
    setenv("ROOST_DIR", deep, 1);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EINVAL);
    CHECK(strstr(error_text(), "too long for a socket's path") != NULL);
    snprintf(deep, sizeof deep, "%s/%0120d", root, 0);
    setenv("ROOST_DIR", deep, 1);
    CHECK_EQ(folder_create("alpha", "start", true, &folder), ROOST_EINVAL);
    CHECK(strstr(error_text(), "path of more than 107 bytes") != NULL);
    remove_root();
}

TEST(folder, the_list_has_addresses_and_passes_strangers_over)
{
    struct folder alpha, beta, *folders;
    size_t count;
    char path[96];
    make_root();
    CHECK_EQ(folder_create("beta", "start", true, &beta), 0);
    CHECK_EQ(folder_create("alpha", "start", true, &alpha), 0);
    write_file(alpha.path, "node.json", "{\"head\":\"h:1\",\"pid\":1}");
    write_file(beta.path, "head.json", "{\"address\":\"h:2\",\"pid\":1}");
    snprintf(path, sizeof path, "%s/gamma", root);
    CHECK_EQ(mkdir(path, 0700), 0); /* no pids */
    snprintf(path, sizeof path, "%s/delta", root);
    CHECK_EQ(symlink(alpha.path, path), 0);
    CHECK_EQ(folders_read(&folders, &count), 0);
    CHECK_EQ(count, 2);
    CHECK_TEXT(folders[0].name, "alpha");
    CHECK_TEXT(folders[0].address, "h:1");
    CHECK(!folders[0].is_head);
    CHECK_TEXT(folders[1].address, "h:2");
    CHECK(folders[1].is_head);
    free(folders);
    remove_root();
}

TEST(folder, no_root_means_no_folders)
{
    struct folder *folders;
    size_t count = 9;
    setenv("ROOST_DIR", "/tmp/roost-run-no-such-folder", 1);
    CHECK_EQ(folders_read(&folders, &count), 0);
    CHECK_EQ(count, 0);
}

TEST(folder, a_damaged_json_is_no_address)
{
    static const char *const damaged[] = { "", "{", "[]", "{\"head\":7}", "null", "{\"head\":\"a\\u0000b\"}" };
    struct folder folder, again;
    make_root();
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        write_file(folder.path, "node.json", damaged[i]);
        CHECK_EQ(folder_read(folder.path, &again), 0);
        CHECK_TEXT(again.address, "");
    }
    remove_root();
}

TEST(folder, entering_and_leaving_keeps_the_marks_of_others)
{
    struct folder dead, folder;
    make_root();
    create_dead("alpha", "start", &dead);
    CHECK_EQ(folder_enter(dead.path, "agent"), 0); /* what had ended by then is dropped */
    CHECK_EQ(folder_read(dead.path, &folder), 0);
    CHECK_EQ(folder.marks_count, 1);
    CHECK_TEXT(folder.marks[0].role, "agent");
    folder_leave(dead.path);
    CHECK(!exists(dead.path, "pids"));
    CHECK_EQ(folder_create("beta", "start", true, &folder), 0);
    pid_t child = fork();
    if (child == 0) {
        int status = folder_enter(folder.path, "agent");
        folder_leave(folder.path);
        _exit(status == 0 ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(folder_read(folder.path, &folder), 0);
    CHECK_EQ(folder.marks_count, 1);
    CHECK_TEXT(folder.marks[0].role, "start");
    remove_root();
}

TEST(folder, removing_follows_no_link)
{
    struct folder folder;
    char path[192], target[96];
    make_root();
    snprintf(target, sizeof target, "%s/target", root);
    CHECK_EQ(mkdir(target, 0700), 0);
    write_file(target, "mine", "precious");
    CHECK_EQ(folder_create("alpha", "start", true, &folder), 0);
    snprintf(path, sizeof path, "%s/link", folder.path);
    CHECK_EQ(symlink(target, path), 0);
    snprintf(path, sizeof path, "%s/closed", folder.path);
    CHECK_EQ(mkdir(path, 0700), 0);
    write_file(path, "inside", "");
    CHECK_EQ(chmod(path, 0), 0);
    CHECK_EQ(folder_remove(folder.path), 0);
    CHECK(!exists(root, "alpha"));
    CHECK(exists(target, "mine"));
    remove_root();
}

TEST(folder, only_stale_ones_are_removed_as_stale)
{
    struct folder dead, live;
    bool removed = true;
    make_root();
    CHECK_EQ(folder_create("live", "start", true, &live), 0);
    CHECK_EQ(folder_remove_stale(&live, &removed), 0);
    CHECK(!removed && exists(root, "live"));
    create_dead("dead", "start", &dead);
    CHECK_EQ(folder_remove_stale(&dead, &removed), 0);
    CHECK(removed && !exists(root, "dead"));
    remove_root();
}

TEST(process_mark, survives_print_and_parse)
{
    struct process_mark mark, again;
    char line[MARK_LINE_BYTES];
    CHECK_EQ(process_mark_of(getpid(), "agent", &mark), 0);
    CHECK_EQ(process_mark_print(&mark, line), strlen(line));
    CHECK_EQ(process_mark_parse(line, &again), 0);
    CHECK_EQ(again.pid, getpid());
    CHECK_EQ(again.start_ticks, mark.start_ticks);
    CHECK_EQ(again.pid_namespace, mark.pid_namespace);
    CHECK_TEXT(again.boot, mark.boot);
    CHECK_EQ(process_mark_parse("agent x 1 1 b", &again), ROOST_EINVAL);
    CHECK_EQ(process_mark_parse("agent 0 1 1 b", &again), ROOST_EINVAL);
    CHECK_EQ(process_mark_parse("agent 1 1 1 b more", &again), ROOST_EINVAL);
    CHECK_EQ(process_mark_parse("", &again), ROOST_EINVAL);
}

TEST(process_mark, a_process_with_the_number_of_an_ended_one_is_not_it)
{
    struct process_mark mark;
    int pidfd = -1;
    CHECK_EQ(process_mark_of(getpid(), "agent", &mark), 0);
    CHECK_EQ(process_mark_look(&mark, NULL), PROCESS_ALIVE);
    mark.start_ticks--;
    CHECK_EQ(process_mark_look(&mark, &pidfd), PROCESS_ENDED);
    CHECK_EQ(pidfd, -1);
}

TEST(process_mark, another_boot_is_over_and_another_container_unknown)
{
    struct process_mark mark;
    CHECK_EQ(process_mark_of(getpid(), "agent", &mark), 0);
    mark.pid_namespace++;
    CHECK_EQ(process_mark_look(&mark, NULL), PROCESS_ELSEWHERE);
    mark.boot[0] = mark.boot[0] == '0' ? '1' : '0';
    CHECK_EQ(process_mark_look(&mark, NULL), PROCESS_ENDED);
}

TEST(process_mark, a_zombie_has_ended_and_its_descriptor_is_its_own)
{
    struct process_mark mark;
    siginfo_t info;
    int pidfd = -1;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    CHECK_EQ(process_mark_of(child, "agent", &mark), 0);
    CHECK_EQ(process_mark_look(&mark, &pidfd), PROCESS_ALIVE);
    process_signal(pidfd, SIGKILL);
    CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(process_mark_look(&mark, NULL), PROCESS_ENDED);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(process_mark_look(&mark, NULL), PROCESS_ENDED);
    process_signal(pidfd, SIGKILL); /* reaches nobody */
    close(pidfd);
}
