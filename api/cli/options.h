/* options.h - the options of a command as a table: read, checked, and told in its --help
 *
 *     --name VALUE, --name=VALUE, --flag, -h; `--` ends them. Options and words may be mixed.
 *
 * A table entry names the variable that is written; what is not given stays as it was, so variables are initialised
 * with their defaults. Sizes are in bytes with K, M, G, T for powers of 1024 (500M, 1.5G, 64KiB); times are in seconds
 * or with a unit (90, 1.5, 500ms, 2m, 1h); hundredths are decimals with at most two digits behind the point (CPUs). */
#ifndef ROOST_API_CLI_OPTIONS_H
#define ROOST_API_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_LIST,
    OPTION_NUMBER,
    OPTION_BYTES,
    OPTION_HUNDREDTHS,
    OPTION_SECONDS /* kept in milliseconds */
};

enum { OPTION_LIST_MAX = 16 };

struct option_list { /* of an option that may be given several times; the texts are argv's */
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

struct option_spec {
    const char *name;  /* without the dashes */
    const char *value; /* as in the help: "SIZE" */
    const char *help;  /* NULL: not in the help, for our own programs */
    enum option_kind kind;
    uint64_t min, max; /* of a number, in the unit that is kept; text and list: bytes; flag: unused */
    union {
        bool *flag;
        const char **text; /* points into argv afterwards */
        struct option_list *list;
        uint64_t *number; /* also bytes, hundredths, milliseconds */
    } to;
};

enum { OPTION_TEXT_BYTES_MAX = 4095 };

/* For the entries of a table: the macro's name and the variable's type must agree, or it does not compile. */
#define OPT_FLAG(name_, to_, help_)                                  \
    {                                                                \
        (name_), NULL, (help_), OPTION_FLAG, 0, 0, { .flag = (to_) } \
    }
#define OPT_TEXT(name_, value_, to_, help_)                                                  \
    {                                                                                        \
        (name_), (value_), (help_), OPTION_TEXT, 1, OPTION_TEXT_BYTES_MAX, { .text = (to_) } \
    }
#define OPT_LIST(name_, value_, to_, help_)                                                  \
    {                                                                                        \
        (name_), (value_), (help_), OPTION_LIST, 1, OPTION_TEXT_BYTES_MAX, { .list = (to_) } \
    }
#define OPT_NUMBER(name_, value_, min_, max_, to_, help_)                              \
    {                                                                                  \
        (name_), (value_), (help_), OPTION_NUMBER, (min_), (max_), { .number = (to_) } \
    }
#define OPT_BYTES(name_, min_, max_, to_, help_)                                    \
    {                                                                               \
        (name_), "SIZE", (help_), OPTION_BYTES, (min_), (max_), { .number = (to_) } \
    }
#define OPT_HUNDREDTHS(name_, value_, min_, max_, to_, help_)                              \
    {                                                                                      \
        (name_), (value_), (help_), OPTION_HUNDREDTHS, (min_), (max_), { .number = (to_) } \
    }
#define OPT_SECONDS(name_, min_ms_, max_ms_, to_, help_)                                       \
    {                                                                                          \
        (name_), "SECONDS", (help_), OPTION_SECONDS, (min_ms_), (max_ms_), { .number = (to_) } \
    }
#define OPT_END                                               \
    {                                                         \
        NULL, NULL, NULL, OPTION_FLAG, 0, 0, { .flag = NULL } \
    }

struct option_set {
    const char *command;             /* "start" */
    const char *usage;               /* lines behind "roost start ", each but the last ended by '\n' */
    const char *text;                /* what it does: paragraphs */
    const char *examples;            /* lines */
    const struct option_spec *specs; /* ends with OPT_END */
    unsigned words_min, words_max;   /* arguments that are no options */
    bool rest_is_command;            /* the first word begins somebody else's arguments: the rest is not looked at */
};

/* Reads argv[1] to argv[argc - 1]. On success argv[1] and on are the words, `*words_out` of them; when the set says
 * so, argv[1] is the first of the other command's arguments. `*help_out` is set when --help was among the options: then
 * nothing else was checked. argv keeps its NULL at the end.
 *
 * ROOST_EINVAL with a text that names option, value and limit; variables may have been written. */
int options_read(const struct option_set *set, int argc, char **argv, int *words_out, bool *help_out);

/* The same for a command: prints what is wrong, or the help. OPTIONS_FINE, or the exit code to end with. */
enum { OPTIONS_FINE = -1 };
int options_start(const struct option_set *set, int argc, char **argv, int *words_out);

/* Says on stderr, after "roost COMMAND: ", what is wrong and where the help is. Returns EXIT_USAGE. */
int options_refuse(const struct option_set *set, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The name of those `count` (each `stride` bytes from the one before, the first at `names`) that `word` was probably
 * meant to be, or NULL when none is near. */
const char *options_nearest(const char *word, const char *const *names, size_t count, size_t stride);

/* Reads one value as the option would. ROOST_EINVAL with a text. */
int options_read_number(const struct option_spec *spec, const char *value, uint64_t *number_out);

#endif
