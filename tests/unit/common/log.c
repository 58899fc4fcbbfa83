/* Lines of the log: which are written, at which levels, and that no text breaks out of its line. */
#define LOG_TOPIC "here"
#include "common/log.h"
#include "common/limits.h"
#include "tests/lib/test.h"

#include <string.h>
#include <unistd.h>

/* What a function writes to stderr. One at a time; each test is a process of its own, and $ROOST_LOG is read once in
 * it. */
static char *captured(void (*write_lines)(void))
{
    static char text[16384];
    FILE *file = tmpfile();
    CHECK(file != NULL);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    CHECK(dup2(fileno(file), STDERR_FILENO) >= 0);
    write_lines();
    fflush(stderr);
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static int evaluated;

static void one_of_each(void)
{
    log_error("event=e n=%d", ++evaluated);
    log_warn("event=w n=%d", ++evaluated);
    log_info("event=i n=%d", ++evaluated);
    log_debug("event=d n=%d", ++evaluated);
    log_trace("event=t n=%d", ++evaluated);
}

static int lines_in(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

TEST(log, outside_of_daemons_only_warnings_and_errors_are_written)
{
    unsetenv("ROOST_LOG");
    const char *text = captured(one_of_each);
    CHECK_EQ(lines_in(text), 2);
    CHECK(strstr(text, " level=error who=roost topic=here event=e n=1\n") != NULL);
    CHECK(strstr(text, " level=warn who=roost topic=here event=w n=2\n") != NULL);
    CHECK_EQ(evaluated, 2); /* arguments of unwanted lines are not computed */
}

TEST(log, a_daemon_has_its_name_and_its_level_in_each_line)
{
    unsetenv("ROOST_LOG");
    log_start("agent-3", LOG_INFO);
    const char *text = captured(one_of_each);
    CHECK_EQ(lines_in(text), 3);
    CHECK(strstr(text, " level=info who=agent-3 topic=here event=i n=3\n") != NULL);
}

TEST(log, a_line_begins_with_the_time_in_utc)
{
    unsetenv("ROOST_LOG");
    const char *text = captured(one_of_each);
    int year, month, day, hour, minute, second, micros, length = 0;
    CHECK_EQ(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%6dZ %n", &year, &month, &day, &hour, &minute, &second, &micros,
                    &length),
             7);
    CHECK_EQ(length, 33);
    CHECK(year > 2020 && month >= 1 && month <= 12 && second <= 60);
}

TEST(log, the_environment_overrules_the_daemons_level)
{
    setenv("ROOST_LOG", "trace", 1);
    log_start("head", LOG_INFO);
    CHECK_EQ(lines_in(captured(one_of_each)), 5);
}

TEST(log, topics_have_levels_of_their_own)
{
    setenv("ROOST_LOG", "error,there:trace,here:debug", 1);
    CHECK_EQ(lines_in(captured(one_of_each)), 4);
    CHECK(log_is_wanted("there", LOG_TRACE));
    CHECK(!log_is_wanted("here", LOG_TRACE));
    CHECK(log_is_wanted("elsewhere", LOG_ERROR) && !log_is_wanted("elsewhere", LOG_WARN));
    CHECK(!log_is_wanted("her", LOG_DEBUG) && !log_is_wanted("hereabouts", LOG_DEBUG)); /* whole names */
}

TEST(log, what_cannot_be_read_in_the_environment_is_skipped)
{
    setenv("ROOST_LOG", ",loud,here:louder,:,a_topic_with_a_name_that_is_too_long:trace,here:info,,", 1);
    CHECK(log_is_wanted("here", LOG_INFO) && !log_is_wanted("here", LOG_DEBUG));
    CHECK(log_is_wanted("elsewhere", LOG_WARN) && !log_is_wanted("elsewhere", LOG_INFO)); /* the default stands */
    CHECK(!log_is_wanted("a_topic_with_a_name_that_is_too_long", LOG_INFO));
}

TEST(log, more_topics_than_there_is_room_for_leave_the_first_ones)
{
    char list[2000];
    size_t used = 0;
    for (int i = 0; i < 40; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "topic%d:trace,", i);
    }
    setenv("ROOST_LOG", list, 1);
    CHECK(log_is_wanted("topic0", LOG_TRACE) && log_is_wanted("topic31", LOG_TRACE));
    CHECK(!log_is_wanted("topic32", LOG_TRACE));
}

static void the_same_for_a_thousand_objects(void)
{
    for (int i = 0; i < 1000; i++) {
        log_error_sparsely("event=not_published object=%d", ++evaluated);
    }
}

TEST(log, what_goes_wrong_for_a_thousand_objects_at_once_is_one_line)
{
    unsetenv("ROOST_LOG");
    const char *text = captured(the_same_for_a_thousand_objects);
    CHECK_EQ(lines_in(text), 1);
    CHECK(strstr(text, " level=error who=roost topic=here event=not_published object=1 left_out=0\n") != NULL);
    CHECK_EQ(evaluated, 1);
}

TEST(log, after_the_pause_a_line_says_how_many_were_left_out)
{
    struct log_pause pause = { 0 };
    const uint64_t ms = 1000000, end = 5 * ms + LOG_PAUSE_MS * ms;
    uint64_t left_out = 77;
    CHECK(log_pause_is_over(&pause, 5 * ms, &left_out));
    CHECK_EQ(left_out, 0);
    for (int i = 0; i < 3; i++) {
        CHECK(!log_pause_is_over(&pause, end - 1, &left_out));
    }
    CHECK(log_pause_is_over(&pause, end, &left_out));
    CHECK_EQ(left_out, 3);
    CHECK(!log_pause_is_over(&pause, end + 1, &left_out));
    CHECK(log_pause_is_over(&pause, 2 * end, &left_out));
    CHECK_EQ(left_out, 1);
}

static char long_text[3000];

static void long_lines(void)
{
    memset(long_text, 'x', sizeof long_text - 1);
    log_error("event=long text=%s", long_text);
    for (size_t length = 900; length < 1024; length++) { /* every length around the limit */
        log_error("event=long text=%.*s", (int)length, long_text);
    }
}

static void forged_line(void) { log_error("why=\"%s\"", "x\"\ntime=now level=error\033[2J\r\x7f"); }

TEST(log, no_text_of_a_peer_begins_a_line_of_its_own)
{
    unsetenv("ROOST_LOG");
    const char *text = captured(forged_line);
    CHECK_EQ(lines_in(text), 1);
    CHECK(strstr(text, "why=\"x\" time=now level=error [2J  \"\n") != NULL);
}

TEST(log, a_long_line_is_cut_and_still_ends)
{
    static char text[200000];
    unsetenv("ROOST_LOG");
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    long_lines();
    dup2(saved, STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    CHECK_EQ(lines_in(text), 1 + 1024 - 900);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        CHECK(strncmp(line, "time=", 5) == 0);
        CHECK(strlen(line) + 1 <= 1024);
        CHECK(line[strlen(line) - 1] == 'x');
    }
    fclose(file);
}

TEST(log_quote, escapes_what_would_end_the_value_or_the_line)
{
    char out[64];
    CHECK_TEXT(log_quote("plain text", out, sizeof out), "\"plain text\"");
    CHECK_TEXT(log_quote("", out, sizeof out), "\"\"");
    CHECK_TEXT(log_quote("say \"hi\" \\", out, sizeof out), "\"say \\\"hi\\\" \\\\\"");
    log_quote("two\nlines\tand\x01", out, sizeof out);
    CHECK(strpbrk(out, "\n\t\x01") == NULL);
    CHECK(strstr(out, "two") != NULL && strstr(out, "lines") != NULL);
}

TEST(log_quote, cuts_to_fit_and_never_in_the_middle_of_an_escape)
{
    for (unsigned bytes = 3; bytes < 12; bytes++) {
        char out[16];
        memset(out, '#', sizeof out);
        log_quote("a\"\"\"\"\"\"", out, bytes);
        size_t length = strlen(out);
        CHECK(length < bytes && out[bytes] == '#');
        CHECK(out[0] == '"' && out[length - 1] == '"');
        size_t backslashes = 0;
        for (size_t i = 1; i + 1 < length; i++) { /* every inner quote is escaped, every escape complete */
            backslashes += out[i] == '\\';
            CHECK(out[i] != '\\' || (out[i + 1] == '"' && i + 2 < length));
        }
        CHECK_EQ(length - 2, (length > 2) + 2 * backslashes);
    }
}
