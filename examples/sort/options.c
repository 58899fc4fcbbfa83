/* options.c - the sort job's command line
 *
 * Happy path: options in any order; what follows --input up to the next option is one more input.
 * Failures:   anything else is refused with the word that is wrong; nothing has been touched then.
 * Thread:     main's.
 */
#include "examples/sort/options.h"

#include "examples/sort/splits.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAPS_MAX = 1 << 20 }; /* objects that one gather may name (ROOST_GATHER_MAX) */

static const char usage_text[] =
    "usage: sort --input FILE... --output DIR [OPTION]...\n"
    "Sort 100-byte records by their first 10 bytes, compared as memcmp does, on all nodes of a cluster.\n"
    "\n"
    "  -i, --input FILE...   files of records; each holds a whole number of them, 0 included\n"
    "  -o, --output DIR      receives part-00000, part-00001, ...: read one after the other they are the\n"
    "                        sorted sequence. DIR is made if need be; parts that exist are never replaced\n"
    "  -p, --partitions N    how many parts, 1 to 65536 (default: 16 for each node, more when a part would\n"
    "                        be above 21 MB, fewer when it would be below 1 MB)\n"
    "  -m, --maps N          into how many pieces the input is cut (default: 8 for each node, more when a\n"
    "                        piece would be above 64 MB, fewer when it would be below 1 MB); pieces do not\n"
    "                        span files, so there may be a few more\n"
    "  -c, --checksum        sum the CRC-32 of all records before and after sorting, compare the sums, and\n"
    "                        print them; sortcheck --input-sum takes what is printed\n"
    "  -r, --report FILE     write what was done and how long it took to FILE, as JSON\n"
    "  -h, --help\n"
    "\n"
    "The cluster is the one that $ROOST_ADDRESS names; without it one is started on this machine and ends\n"
    "with the job. All nodes open the same paths: in a cluster of several machines, FILEs and DIR belong on\n"
    "a file system that all of them share. Records themselves travel between nodes by Roost.\n"
    "\n"
    "Equal keys keep the order of the input, so the same input gives the same bytes every time. The stores of\n"
    "all nodes together should have room for the whole input.\n"
    "\n"
    "When the job fails it says why and removes what it has written. When it is killed, parts that were\n"
    "finished stay (DIR/part-*); unfinished ones (DIR/part-*.tmp) are removed by the next job there. A\n"
    "report that cannot be written after all is a failure that leaves the sorted parts.\n"
    "\n"
    "Exit status: 0 sorted, 1 failed, 2 wrong usage.\n"
    "\n"
    "Example: sortgen 1000000 in && sort --input in --output sorted && sortcheck sorted/part-*\n";

static const struct option long_options[] = {
    { "input", required_argument, NULL, 'i' },
    { "output", required_argument, NULL, 'o' },
    { "partitions", required_argument, NULL, 'p' },
    { "maps", required_argument, NULL, 'm' },
    { "checksum", no_argument, NULL, 'c' },
    { "report", required_argument, NULL, 'r' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static bool refuse(const char *what, const char *detail)
{
    fprintf(stderr, "sort: %s%s\n", what, detail);
    return false;
}

static bool count_read(const char *text, const char *name, size_t max, size_t *count_out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 || number > max) {
        fprintf(stderr, "sort: %s is a number from 1 to %zu, not '%s'\n", name, max, text);
        return false;
    }
    *count_out = (size_t)number;
    return true;
}

/* One word of the command line: an option's letter, or 1 for a word of its own, which can only be a further input. */
static bool word_take(struct sort_options *options, int word, int before)
{
    switch (word) {
    case 1:
        if (before != 'i') {
            return refuse("files to sort follow --input; what is this: ", optarg);
        }
        options->inputs[options->inputs_count++] = optarg;
        return true;
    case 'i':
        options->inputs[options->inputs_count++] = optarg;
        return true;
    case 'o':
        options->output = optarg;
        return true;
    case 'p':
        return count_read(optarg, "--partitions", SPLITS_PARTITIONS_MAX, &options->partitions);
    case 'm':
        return count_read(optarg, "--maps", MAPS_MAX, &options->maps);
    case 'c':
        options->checksum = true;
        return true;
    case 'r':
        options->report = optarg;
        return true;
    default:
        return false; /* getopt has said what is wrong */
    }
}

static bool is_complete(const struct sort_options *options)
{
    if (options->inputs_count == 0) {
        return refuse("--input FILE is missing", "");
    }
    if (options->output == NULL || options->output[0] == '\0') {
        return refuse("--output DIR is missing", "");
    }
    return true;
}

/* True: *wants_help_out, or all words are taken. */
static bool words_take(int argc, char **argv, struct sort_options *options, bool *wants_help_out)
{
    int word, before = 0;
    /* '-' at the front: words stay in their places, and one that is no option comes as 1 */
    while ((word = getopt_long(argc, argv, "-i:o:p:m:cr:h", long_options, NULL)) != -1) {
        if (word == 'h') {
            *wants_help_out = true;
            return true;
        }
        if (!word_take(options, word, before)) {
            return false;
        }
        before = word == 1 ? before : word;
    }
    if (optind < argc) {
        return refuse("files to sort follow --input; what is this: ", argv[optind]);
    }
    return is_complete(options);
}

enum options_verdict options_read(int argc, char **argv, struct sort_options *options_out)
{
    struct sort_options options = { .inputs = calloc((size_t)argc + 1, sizeof *options.inputs) };
    bool wants_help = false;
    bool is_right = options.inputs != NULL ? words_take(argc, argv, &options, &wants_help)
                                           : refuse("out of memory", "");
    if (is_right && !wants_help) {
        *options_out = options;
        return OPTIONS_RUN;
    }
    options_fini(&options);
    if (wants_help) {
        fputs(usage_text, stdout);
        return OPTIONS_HELP;
    }
    fputs("Try 'sort --help'.\n", stderr);
    return OPTIONS_WRONG;
}

void options_fini(struct sort_options *options)
{
    free(options->inputs);
    options->inputs = NULL;
}
