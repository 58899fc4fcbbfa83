/* options.c - the options of a command as a table
 *
 * Happy path: each option is looked up, its value checked and written; words are moved to the front of argv.
 * Failures:   an unknown option names the nearest one; a value that cannot be read names option, value and what was
 *             wanted.
 * Invariants: numbers are read without floating point, so 0.1 is ten hundredths and nothing else; no value wraps.
 * Thread:     main.
 */
#include "api/cli/options.h"
#include "api/cli/command.h"
#include "common/bytes.h"
#include "common/error.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { OPTIONS_MAX = 32, NAME_BYTES_MAX = 64, HELP_COLUMN = 26, WORD_BYTES_MAX = 32, RANGE_BYTES = 160 };

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit byte_units[] = { { "", 1 },
                                          { "B", 1 },
                                          { "K", UINT64_C(1) << 10 },
                                          { "M", UINT64_C(1) << 20 },
                                          { "G", UINT64_C(1) << 30 },
                                          { "T", UINT64_C(1) << 40 },
                                          { NULL, 0 } };
static const struct unit time_units[] = { { "", 1000 },   { "s", 1000 },    { "ms", 1 },
                                          { "m", 60000 }, { "h", 3600000 }, { NULL, 0 } };
static const struct unit hundredth_units[] = { { "", 100 }, { NULL, 0 } };
static const struct unit plain_units[] = { { "", 1 }, { NULL, 0 } };

static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }

/* ------------------------------------------------------------------ numbers */

static const struct unit *units_of(enum option_kind kind)
{
    switch (kind) {
    case OPTION_BYTES:
        return byte_units;
    case OPTION_SECONDS:
        return time_units;
    case OPTION_HUNDREDTHS:
        return hundredth_units;
    case OPTION_NUMBER:
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_LIST:
        break;
    }
    return plain_units;
}

/* "K", "KB", "KiB", in either case, for sizes; exactly the name for the rest. */
static bool is_unit(const struct unit *unit, const char *text, bool is_size)
{
    size_t length = strlen(unit->name);
    if (!is_size) {
        return strcmp(text, unit->name) == 0;
    }
    return strncasecmp(text, unit->name, length) == 0 &&
           (text[length] == '\0' || (length == 1 && unit->factor > 1 && strcasecmp(text + length, "B") == 0) ||
            (length == 1 && unit->factor > 1 && strcasecmp(text + length, "iB") == 0));
}

/* "12", "12.5" with a unit, as a whole number of the kept unit. False: no such number, or it does not fit. */
static bool read_decimal(const char *text, const struct unit *units, bool is_size, uint64_t *number_out)
{
    uint64_t whole = 0, part = 0, scale = 1;
    const char *at = text;
    if (!isdigit((unsigned char)*at)) {
        return false;
    }
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole)) {
            return false;
        }
    }
    if (*at == '.') {
        for (at++; isdigit((unsigned char)*at) && scale < 1000000; at++, scale *= 10) {
            part = part * 10 + (uint64_t)(*at - '0');
        }
        if (at[-1] == '.' || isdigit((unsigned char)*at)) {
            return false;
        }
    }
    const struct unit *unit = units;
    while (unit->name != NULL && !is_unit(unit, at, is_size)) {
        unit++;
    }
    uint64_t product, more = part * unit->factor;
    if (unit->name == NULL || __builtin_mul_overflow(whole, unit->factor, &product) ||
        (!is_size && more % scale != 0)) { /* half a byte is nobody's loss, a third of a hundredth is */
        return false;
    }
    return !__builtin_add_overflow(product, more / scale, number_out);
}

static const char *print_kept(enum option_kind kind, uint64_t number, char *out, size_t bytes)
{
    static const char suffixes[] = "\0KMGT";
    size_t step = 0;
    switch (kind) {
    case OPTION_BYTES:
        for (; step < 4 && number != 0 && number % 1024 == 0; step++) {
            number /= 1024;
        }
        snprintf(out, bytes, "%" PRIu64 "%.1s", number, suffixes + step);
        break;
    case OPTION_HUNDREDTHS:
    case OPTION_SECONDS: {
        uint64_t scale = kind == OPTION_HUNDREDTHS ? 100 : 1000;
        snprintf(out, bytes, "%" PRIu64 "%s", number / scale, kind == OPTION_SECONDS ? " s" : "");
        if (number % scale != 0) {
            snprintf(out, bytes, "%" PRIu64 ".%0*" PRIu64 "%s", number / scale, scale == 100 ? 2 : 3, number % scale,
                     kind == OPTION_SECONDS ? " s" : "");
        }
        break;
    }
    case OPTION_NUMBER:
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_LIST:
        snprintf(out, bytes, "%" PRIu64, number);
        break;
    }
    return out;
}

static const char *wanted_of(enum option_kind kind)
{
    switch (kind) {
    case OPTION_BYTES:
        return "a size such as 500M or 2G";
    case OPTION_SECONDS:
        return "a time in seconds such as 10, 1.5 or 500ms";
    case OPTION_HUNDREDTHS:
        return "a number such as 2 or 0.5";
    case OPTION_NUMBER:
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_LIST:
        break;
    }
    return "a whole number";
}

int options_read_number(const struct option_spec *spec, const char *value, uint64_t *number_out)
{
    char low[RANGE_BYTES], high[RANGE_BYTES];
    uint64_t number;
    if (!read_decimal(value, units_of(spec->kind), spec->kind == OPTION_BYTES, &number)) {
        return error_set(ROOST_EINVAL, "--%s is \"%s\", wanted %s", spec->name, value, wanted_of(spec->kind));
    }
    if (number < spec->min || number > spec->max) {
        return error_set(ROOST_EINVAL, "--%s is %s, wanted %s to %s", spec->name, value,
                         print_kept(spec->kind, spec->min, low, sizeof low),
                         print_kept(spec->kind, spec->max, high, sizeof high));
    }
    *number_out = number;
    return 0;
}

/* ------------------------------------------------------------------ what was probably meant */

/* Letters to insert, delete, change or swap with the next, from `a` to `b` (Damerau and Levenshtein, restricted). */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_BYTES_MAX + 1], length_a = strlen(a), length_b = strlen(b);
    if (length_a > WORD_BYTES_MAX || length_b > WORD_BYTES_MAX) {
        return WORD_BYTES_MAX;
    }
    for (size_t j = 0; j <= length_b; j++) {
        rows[0][j] = rows[2][j] = j;
    }
    for (size_t i = 1; i <= length_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            row[j] = min_of(min_of(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = min_of(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[length_a % 3][length_b];
}

const char *options_nearest(const char *word, const char *const *names, size_t count, size_t stride)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2,
           length = strlen(word); /* one letter of three may be wrong, and one more */
    for (size_t i = 0; i < count; i++) {
        const char *name = *(const char *const *)(const void *)((const char *)names + i * stride);
        size_t away = distance(word, name);
        if (length >= 3 && strncmp(word, name, length) == 0) {
            away = 0; /* the beginning of a longer name */
        }
        if (away < best_distance && away < strlen(name)) {
            best = name;
            best_distance = away;
        }
    }
    return best;
}

/* ------------------------------------------------------------------ reading */

static int unknown_option(const struct option_set *set, const char *word, size_t length)
{
    const char *names[OPTIONS_MAX + 1];
    char given[NAME_BYTES_MAX];
    size_t count = 0;
    for (const struct option_spec *spec = set->specs; spec->name != NULL && count < OPTIONS_MAX; spec++) {
        if (spec->help != NULL) {
            names[count++] = spec->name;
        }
    }
    names[count++] = "help";
    snprintf(given, sizeof given, "%.*s", (int)min_of(length, sizeof given - 1), word);
    const char *near = word[0] == '-' && word[1] == '-' ? options_nearest(given + 2, names, count, sizeof *names)
                                                        : options_nearest(given + 1, names, count, sizeof *names);
    return near != NULL ? error_set(ROOST_EINVAL, "there is no option %s; did you mean --%s?", given, near)
                        : error_set(ROOST_EINVAL, "there is no option %s", given);
}

static const struct option_spec *find(const struct option_set *set, const char *name, size_t length)
{
    for (const struct option_spec *spec = set->specs; spec->name != NULL; spec++) {
        if (strlen(spec->name) == length && memcmp(spec->name, name, length) == 0) {
            return spec;
        }
    }
    return NULL;
}

static int take_value(const struct option_spec *spec, const char *value)
{
    if (spec->kind == OPTION_TEXT || spec->kind == OPTION_LIST) {
        size_t length = strlen(value);
        if (length < spec->min || length > spec->max) {
            return error_set(ROOST_EINVAL, "--%s has %zu bytes, wanted %" PRIu64 " to %" PRIu64, spec->name, length,
                             spec->min, spec->max);
        }
    }
    switch (spec->kind) {
    case OPTION_FLAG:
        *spec->to.flag = true;
        return 0;
    case OPTION_TEXT:
        *spec->to.text = value;
        return 0;
    case OPTION_LIST:
        if (spec->to.list->count == OPTION_LIST_MAX) {
            return error_set(ROOST_EINVAL, "--%s is given more than %d times", spec->name, OPTION_LIST_MAX);
        }
        spec->to.list->items[spec->to.list->count++] = value;
        return 0;
    case OPTION_NUMBER:
    case OPTION_BYTES:
    case OPTION_HUNDREDTHS:
    case OPTION_SECONDS:
        break;
    }
    return options_read_number(spec, value, spec->to.number);
}

/* The option at argv[*at]; moves *at over a value that is a word of its own. `seen`: a bit for each that was given. */
static int take_option(const struct option_set *set, int argc, char **argv, int *at, uint32_t *seen)
{
    char *word = argv[*at], *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct option_spec *spec = word[1] == '-' ? find(set, word + 2, length - 2) : NULL;
    if (spec == NULL) {
        return unknown_option(set, word, length);
    }
    uint32_t bit = UINT32_C(1) << (spec - set->specs);
    if ((*seen & bit) != 0 && spec->kind != OPTION_LIST) {
        return error_set(ROOST_EINVAL, "--%s is given twice", spec->name);
    }
    *seen |= bit;
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (spec->kind == OPTION_FLAG) {
        return value == NULL ? take_value(spec, "")
                             : error_set(ROOST_EINVAL, "--%s takes no value, and has \"%s\"", spec->name, value);
    }
    if (value == NULL && *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0) {
        value = argv[++*at];
    }
    if (value == NULL) {
        return error_set(ROOST_EINVAL, "--%s wants a value: --%s %s", spec->name, spec->name, spec->value);
    }
    return take_value(spec, value);
}

static bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

int options_read(const struct option_set *set, int argc, char **argv, int *words_out, bool *help_out)
{
    int words = 0, at = 1, status;
    uint32_t seen = 0;
    bool only_words = false;
    *help_out = false;
    for (; at < argc; at++) {
        char *word = argv[at];
        if (!only_words && is_help(word)) {
            *help_out = true;
            return 0;
        }
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (only_words || word[0] != '-' || word[1] == '\0') {
            if (set->rest_is_command) {
                break;
            }
            argv[1 + words++] = word;
        } else if ((status = take_option(set, argc, argv, &at, &seen)) != 0) {
            return status;
        }
    }
    if (set->rest_is_command) {
        words = argc - at;
        memmove(argv + 1, argv + at, (size_t)words * sizeof *argv);
    }
    argv[1 + words] = NULL;
    if ((unsigned)words > set->words_max && !set->rest_is_command) {
        return error_set(ROOST_EINVAL, "what is \"%s\" for? usage: roost %s %.*s", argv[1 + set->words_max],
                         set->command, (int)strcspn(set->usage, "\n"), set->usage);
    }
    if ((unsigned)words < set->words_min) {
        return error_set(ROOST_EINVAL, "something is missing; usage: roost %s %.*s", set->command,
                         (int)strcspn(set->usage, "\n"), set->usage);
    }
    *words_out = words;
    return 0;
}

/* ------------------------------------------------------------------ help */

static void print_indented(FILE *to, const char *text, const char *indent)
{
    for (const char *at = text; *at != '\0'; at += at[0] == '\n') {
        size_t length = strcspn(at, "\n");
        fprintf(to, "%s%.*s\n", length > 0 ? indent : "", (int)length, at);
        at += length;
    }
}

static void print_option(FILE *to, const struct option_spec *spec)
{
    char left[NAME_BYTES_MAX * 2];
    int length = snprintf(left, sizeof left, "  --%s%s%s", spec->name, spec->value != NULL ? " " : "",
                          spec->value != NULL ? spec->value : "");
    fputs(left, to);
    const char *line = spec->help;
    for (int at = length; *line != '\0'; at = 0) {
        size_t size = strcspn(line, "\n");
        if (at >= HELP_COLUMN) {
            fputc('\n', to);
            at = 0;
        }
        fprintf(to, "%*s%.*s\n", HELP_COLUMN - at, "", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void print_help(FILE *to, const struct option_set *set)
{
    const char *usage = set->usage;
    const char *before = "usage:";
    do {
        size_t length = strcspn(usage, "\n");
        fprintf(to, "%s roost %s %.*s\n", before, set->command, (int)length, usage);
        usage += length + (usage[length] == '\n');
        before = "      ";
    } while (*usage != '\0');
    fputc('\n', to);
    print_indented(to, set->text, "");
    fputs("\nOptions:\n", to);
    for (const struct option_spec *spec = set->specs; spec->name != NULL; spec++) {
        if (spec->help != NULL) {
            print_option(to, spec);
        }
    }
    fprintf(to, "  --help%*sthis text\n", HELP_COLUMN - 8, "");
    if (set->examples != NULL) {
        fputs("\nExamples:\n", to);
        print_indented(to, set->examples, "  ");
    }
}

int options_refuse(const struct option_set *set, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "roost %s: ", set->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n`roost %s --help` tells more\n", set->command);
    return EXIT_USAGE;
}

int options_start(const struct option_set *set, int argc, char **argv, int *words_out)
{
    bool wants_help;
    int words = 0;
    int status = options_read(set, argc, argv, &words, &wants_help);
    if (status != 0) {
        return options_refuse(set, "%s", error_text());
    }
    if (wants_help) {
        print_help(stdout, set);
        return EXIT_OK;
    }
    if (words_out != NULL) {
        *words_out = words;
    }
    return OPTIONS_FINE;
}
