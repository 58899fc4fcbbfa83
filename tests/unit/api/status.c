/* Statuses: names, texts and the last error. */
#include "common/error.h"
#include "tests/lib/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(status, the_version_is_the_header_s)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%d.%d.%d", ROOST_VERSION_MAJOR, ROOST_VERSION_MINOR, ROOST_VERSION_PATCH);
    CHECK_TEXT(roost_version(), wanted);
}

TEST(status, every_code_has_its_text)
{
    CHECK_TEXT(roost_strerror(0), "ok");
    CHECK_TEXT(roost_strerror(ROOST_EEXIST), "the name is taken");
    CHECK_TEXT(roost_strerror(-4711), "unknown status");
}

TEST(status, the_last_error_is_this_thread_s_line_and_empty_before)
{
    CHECK_TEXT(roost_last_error(), "");
    error_set(ROOST_EFULL, "put of %d bytes", 7);
    CHECK_TEXT(roost_last_error(), "put of 7 bytes");
}

/* What a child that dies in ROOST_CHECK() prints to stderr. */
static void dying_words(const char *detail, char *words_out, size_t size)
{
    int pipe_ends[2];
    CHECK_EQ(pipe(pipe_ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(pipe_ends[1], STDERR_FILENO);
        if (detail[0] != '\0') {
            error_set(ROOST_EFULL, "%s", detail);
        }
        ROOST_CHECK(ROOST_EFULL + 0);
        _exit(0);
    }
    close(pipe_ends[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(pipe_ends[0], words_out + used, size - 1 - used)) > 0;) {
        used += (size_t)got;
    }
    words_out[used] = '\0';
    close(pipe_ends[0]);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 1);
}

TEST(status, check_says_where_what_and_why_and_exits_1)
{
    char words[1024];
    dying_words("put of 7 bytes", words, sizeof words);
    CHECK(strstr(words, "status.c:") != NULL);
    CHECK(strstr(words, ": ROOST_EFULL + 0: no room in the object store (EFULL): put of 7 bytes\n") != NULL);
    dying_words("", words, sizeof words);
    CHECK(strstr(words, "no room in the object store (EFULL)\n") != NULL);
}
