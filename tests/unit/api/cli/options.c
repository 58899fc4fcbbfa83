/* The reader of options: what it takes, and in which words it refuses the rest. */
#include "api/cli/options.h"
#include "common/bytes.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static bool flag;
static const char *text;
static struct option_list list;
static uint64_t number, size, hundredths, patience;

static const struct option_spec specs[] = {
    OPT_FLAG("head", &flag, "a flag"),
    OPT_TEXT("name", "NAME", &text, "a text"),
    OPT_LIST("filter", "K=V", &list, "a list"),
    OPT_NUMBER("nodes", "N", 1, 64, &number, "a number"),
    OPT_BYTES("store-bytes", ROOST_MIB(1), UINT64_C(1) << 46, &size, "a size"),
    OPT_HUNDREDTHS("cpus", "C", 1, 6553600, &hundredths, "a decimal"),
    OPT_SECONDS("timeout", 1, 86400000, &patience, "a time"),
    OPT_NUMBER("secret", "N", 0, 1, &number, NULL),
    OPT_END,
};
static const struct option_set set = {
    .command = "try", .usage = "[WORD]", .text = "", .specs = specs, .words_max = 1
};
static const struct option_set wraps = {
    .command = "try", .usage = "[--] COMMAND", .text = "", .specs = specs, .words_min = 1, .rest_is_command = true
};

enum { WORDS_MAX = 16 };
static char *words[WORDS_MAX + 2];
static int words_count;
static bool wants_help;

/* Reads the arguments of a line split at blanks; "''" is an empty one. */
static int read_line(const struct option_set *with, const char *line)
{
    static char copy[256];
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    words[0] = (char *)"try";
    for (char *rest, *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        CHECK(argc < WORDS_MAX);
        words[argc++] = strcmp(word, "''") == 0 ? (char *)"" : word;
    }
    words[argc] = NULL;
    list.count = 0;
    return options_read(with, argc, words, &words_count, &wants_help);
}

static void check_refused(const char *line, const char *why)
{
    CHECK_EQ(read_line(&set, line), ROOST_EINVAL);
    CHECK_TEXT(error_text(), why);
}

TEST(options, values_come_as_a_word_or_behind_an_equals_sign)
{
    CHECK_EQ(read_line(&set, "--name one --nodes=3 --head word"), 0);
    CHECK_TEXT(text, "one");
    CHECK_EQ(number, 3);
    CHECK(flag);
    CHECK_EQ(words_count, 1);
    CHECK_TEXT(words[1], "word");
    CHECK(words[2] == NULL);
    CHECK_EQ(read_line(&set, "--name=--odd=er word"), 0);
    CHECK_TEXT(text, "--odd=er");
}

TEST(options, words_and_options_may_be_mixed_until_two_dashes)
{
    CHECK_EQ(read_line(&set, "word --nodes 4"), 0);
    CHECK_EQ(number, 4);
    CHECK_TEXT(words[1], "word");
    CHECK_EQ(read_line(&set, "-- --nodes"), 0);
    CHECK_TEXT(words[1], "--nodes");
    CHECK_EQ(read_line(&set, "-"), 0);
    CHECK_TEXT(words[1], "-");
}

TEST(options, what_follows_the_first_word_belongs_to_the_other_command)
{
    CHECK_EQ(read_line(&wraps, "--nodes 2 prog --help --nodes x -- y"), 0);
    CHECK_EQ(words_count, 6);
    CHECK_TEXT(words[1], "prog");
    CHECK_TEXT(words[2], "--help");
    CHECK_TEXT(words[6], "y");
    CHECK(words[7] == NULL && !wants_help);
    CHECK_EQ(read_line(&wraps, "--nodes 2 -- --prog -x"), 0);
    CHECK_TEXT(words[1], "--prog");
    CHECK_EQ(words_count, 2);
    CHECK_EQ(read_line(&wraps, "--nodes 2 --"), ROOST_EINVAL);
    CHECK_EQ(read_line(&wraps, "--nodes 2"), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "something is missing; usage: roost try [--] COMMAND");
}

TEST(options, sizes_have_units_of_1024)
{
    static const struct {
        const char *value;
        uint64_t bytes;
    } cases[] = { { "1048576", ROOST_MIB(1) }, { "500M", ROOST_MIB(500) },   { "500m", ROOST_MIB(500) },
                  { "500MB", ROOST_MIB(500) }, { "500MiB", ROOST_MIB(500) }, { "1.5G", ROOST_MIB(1536) },
                  { "2G", ROOST_GIB(2) },      { "1T", UINT64_C(1) << 40 },  { "2097153B", 2097153 } };
    for (size_t i = 0; i < ROOST_COUNT_OF(cases); i++) {
        uint64_t got = 0;
        CHECK_EQ(options_read_number(&specs[4], cases[i].value, &got), 0);
        CHECK_EQ(got, cases[i].bytes);
    }
}

TEST(options, decimals_are_exact)
{
    CHECK_EQ(read_line(&set, "--cpus 0.29 --timeout 1.5"), 0); /* 0.29 * 100 is 28.999... in a double */
    CHECK_EQ(hundredths, 29);
    CHECK_EQ(patience, 1500);
    CHECK_EQ(read_line(&set, "--cpus 2 --timeout 500ms"), 0);
    CHECK_EQ(hundredths, 200);
    CHECK_EQ(patience, 500);
    CHECK_EQ(read_line(&set, "--timeout 2m"), 0);
    CHECK_EQ(patience, 120000);
    check_refused("--cpus 0.001", "--cpus is \"0.001\", wanted a number such as 2 or 0.5");
    check_refused("--cpus 1.", "--cpus is \"1.\", wanted a number such as 2 or 0.5");
    check_refused("--cpus .5", "--cpus is \".5\", wanted a number such as 2 or 0.5");
}

TEST(options, a_number_out_of_range_names_the_limits)
{
    check_refused("--nodes 65", "--nodes is 65, wanted 1 to 64");
    check_refused("--nodes 0", "--nodes is 0, wanted 1 to 64");
    check_refused("--store-bytes 1K", "--store-bytes is 1K, wanted 1M to 64T");
    check_refused("--cpus 0", "--cpus is 0, wanted 0.01 to 65536");
    check_refused("--timeout 0", "--timeout is 0, wanted 0.001 s to 86400 s");
}

TEST(options, what_is_no_number_is_refused)
{
    static const char *const wrong[] = { "x", "-1", "+1", "1x", "0x10", "1 ", "", "18446744073709551616", "1.5", "1K" };
    for (size_t i = 0; i < ROOST_COUNT_OF(wrong); i++) {
        uint64_t got = 7;
        CHECK_EQ(options_read_number(&specs[3], wrong[i], &got), ROOST_EINVAL);
        CHECK_EQ(got, 7);
    }
    uint64_t got = 7;
    CHECK_EQ(options_read_number(&specs[4], "16777216T", &got), ROOST_EINVAL); /* 2^64 */
    CHECK_EQ(options_read_number(&specs[4], "17592186044416M", &got), ROOST_EINVAL);
    CHECK_EQ(options_read_number(&specs[4], "500Q", &got), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "--store-bytes is \"500Q\", wanted a size such as 500M or 2G");
    CHECK_EQ(got, 7);
}

TEST(options, an_unknown_option_suggests_the_nearest)
{
    check_refused("--noeds 3", "there is no option --noeds; did you mean --nodes?");
    check_refused("--store 1G", "there is no option --store; did you mean --store-bytes?");
    check_refused("--hepl", "there is no option --hepl; did you mean --help?");
    check_refused("-nodes 3", "there is no option -nodes; did you mean --nodes?");
    check_refused("--secrte 3", "there is no option --secrte");
    check_refused("--completely-different=1", "there is no option --completely-different");
    check_refused("-x", "there is no option -x");
}

TEST(options, missing_and_superfluous_values_are_told)
{
    check_refused("--nodes", "--nodes wants a value: --nodes N");
    check_refused("--nodes --head", "--nodes wants a value: --nodes N");
    check_refused("--head=yes", "--head takes no value, and has \"yes\"");
    check_refused("--nodes 1 --nodes 2", "--nodes is given twice");
    check_refused("--name ''", "--name has 0 bytes, wanted 1 to 4095");
    check_refused("one two", "what is \"two\" for? usage: roost try [WORD]");
}

TEST(options, a_list_takes_several_up_to_its_limit)
{
    CHECK_EQ(read_line(&set, "--filter a=1 --filter b=2"), 0);
    CHECK_EQ(list.count, 2);
    CHECK_TEXT(list.items[1], "b=2");
    char *many[2 * (OPTION_LIST_MAX + 1) + 2] = { (char *)"try" };
    int argc = 1;
    for (int i = 0; i <= OPTION_LIST_MAX; i++) {
        many[argc++] = (char *)"--filter";
        many[argc++] = (char *)"a=1";
    }
    list.count = 0;
    CHECK_EQ(options_read(&set, argc, many, &words_count, &wants_help), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "--filter is given more than 16 times");
}

TEST(options, help_is_found_before_anything_is_refused)
{
    CHECK_EQ(read_line(&set, "--help --nonsense"), 0);
    CHECK(wants_help);
    CHECK_EQ(read_line(&set, "a -h"), 0);
    CHECK(wants_help);
    CHECK_EQ(read_line(&set, "-- -h"), 0);
    CHECK(!wants_help);
}

TEST(options, what_is_not_given_stays_as_it_was)
{
    number = 11;
    text = "default";
    CHECK_EQ(read_line(&set, "--head"), 0);
    CHECK_EQ(number, 11);
    CHECK_TEXT(text, "default");
}
