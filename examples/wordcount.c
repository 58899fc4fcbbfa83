/* wordcount - counts the words of many files: a task for each file, and one that adds their counts up
 *
 * Happy path: each file goes into the store -> count_file, on whichever node has room -> merge_counts, which reads all
 *             the counts in place and returns them in the order to print.
 * Failures:   a file that cannot be read: its path and why, exit status 1. More different words than a table may hold:
 *             the task that met them fails, and its words are what the user sees.
 * Invariants: a table is at most half full, so looking up always ends at the word or at a free slot.
 */
#include <errno.h>
#include <roost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD_BYTES = 32,          /* with the NUL: of a longer word the first 31 letters count */
    SLOTS_FIRST = 1 << 10,    /* most files are small, and scratch memory is zeroed */
    WORDS_MAX = 1 << 20,      /* different words in a table, of 80 MB then; English has half as many */
    SLOTS_MAX = 2 * WORDS_MAX /* 2^n, as every number of slots */
};

static const char usage_text[] =
    "usage: wordcount FILE...\n"
    "Count how often each word occurs in all FILEs together; the most frequent come first, words that are\n"
    "equally frequent in alphabetical order.\n"
    "\n"
    "A word is a row of letters a to z; capitals count as small ones, and every other byte parts words, so\n"
    "any file will do. Words that agree in their first 31 letters count as one.\n"
    "\n"
    "Files are read here and counted by the cluster that $ROOST_ADDRESS names, or else by one that is\n"
    "started on this machine for as long as it takes. With ROOST_INLINE=1 there is no cluster at all.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage.\n";

struct entry {
    char word[WORD_BYTES];
    uint64_t count; /* 0: the slot is free */
};

/* Open addressing. The entries are the task's scratch memory, so nobody frees them. */
struct table {
    struct entry *entries;
    size_t slots, used;
};

/* ---- in tasks ---- */

static size_t hash_of(const char *word)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = word; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    }
    return (size_t)(hash ^ hash >> 32);
}

static struct entry *slot_of(const struct table *table, const char *word)
{
    size_t mask = table->slots - 1, at = hash_of(word) & mask;
    while (table->entries[at].count != 0 && strcmp(table->entries[at].word, word) != 0) {
        at = (at + 1) & mask;
    }
    return &table->entries[at];
}

/* Twice the slots, or the first ones. The old ones stay scratch until the task ends: as much again, at most. */
static int table_grow(struct roost_task *task, struct table *table)
{
    struct table larger = { .slots = table->slots == 0 ? SLOTS_FIRST : 2 * table->slots, .used = table->used };
    if (larger.slots > SLOTS_MAX) {
        return roost_fail(task, 0, "more than %d different words: count fewer files at a time", WORDS_MAX);
    }
    larger.entries = roost_scratch(task, larger.slots * sizeof *larger.entries);
    if (larger.entries == NULL) {
        return ROOST_ENOMEM;
    }
    for (size_t i = 0; i < table->slots; i++) {
        if (table->entries[i].count != 0) {
            *slot_of(&larger, table->entries[i].word) = table->entries[i];
        }
    }
    *table = larger;
    return 0;
}

static int table_add(struct roost_task *task, struct table *table, const char *word, uint64_t count)
{
    struct entry *entry = table->slots > 0 ? slot_of(table, word) : NULL;
    if (entry == NULL || (entry->count == 0 && 2 * (table->used + 1) > table->slots)) {
        ROOST_TRY(table_grow(task, table));
        entry = slot_of(table, word);
    }
    if (entry->count == 0) {
        snprintf(entry->word, sizeof entry->word, "%s", word);
        table->used++;
    }
    entry->count += count;
    return 0;
}

/* Moves the words to the front; after this it is no table any more. */
static struct entry *table_entries(struct table *table)
{
    size_t to = 0;
    for (size_t i = 0; i < table->slots; i++) {
        if (table->entries[i].count != 0) {
            table->entries[to++] = table->entries[i];
        }
    }
    return table->entries;
}

/* The small letter, or 0. Not isalpha(), which asks the locale. */
static char letter(unsigned char byte)
{
    unsigned char small = byte | 0x20;
    return small >= 'a' && small <= 'z' ? (char)small : 0;
}

/* file -> its words with their counts, in no order */
ROOST_TASK(count_file);
int count_file(struct roost_task *task)
{
    roost_view file = roost_arg(task, 0);
    const unsigned char *bytes = file.data;
    struct table table = { NULL, 0, 0 };
    for (size_t i = 0; i < file.size; i++) {
        char word[WORD_BYTES];
        size_t length = 0;
        for (; i < file.size && letter(bytes[i]) != 0; i++) {
            if (length < WORD_BYTES - 1) {
                word[length++] = letter(bytes[i]);
            }
        }
        if (length > 0) {
            word[length] = '\0';
            ROOST_TRY(table_add(task, &table, word, 1));
        }
    }
    return roost_return(task, 0, table_entries(&table), table.used * sizeof(struct entry));
}

static int by_count_then_word(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->count != right->count) {
        return left->count > right->count ? -1 : 1;
    }
    return strcmp(left->word, right->word);
}

/* counts... -> their sum, in the order to print */
ROOST_TASK(merge_counts);
int merge_counts(struct roost_task *task)
{
    struct table sum = { NULL, 0, 0 };
    for (size_t a = 0; a < roost_arg_count(task); a++) {
        roost_view part = roost_arg(task, a);
        const struct entry *from = part.data;
        for (size_t i = 0; i < part.size / sizeof *from; i++) {
            ROOST_TRY(table_add(task, &sum, from[i].word, from[i].count));
        }
    }
    struct entry *entries = table_entries(&sum);
    if (sum.used > 0) {
        qsort(entries, sum.used, sizeof *entries, by_count_then_word);
    }
    return roost_return(task, 0, entries, sum.used * sizeof *entries);
}

/* ---- in the driver ---- */

/* Every file into the store, a task for each, and one for all their results; none of this waits for a task. `counts`
 * has room for the tasks' results. */
static int submit(struct roost *rt, char **paths, roost_ref *counts, size_t count, roost_ref *total_out)
{
    int status = 0;
    size_t submitted = 0;
    while (submitted < count && status == 0) {
        roost_ref file;
        status = roost_put_file(rt, paths[submitted], 0, ROOST_WHOLE, &file);
        if (status == 0) {
            status = roost_call(rt, count_file, &counts[submitted], file);
            roost_free(rt, file); /* the task keeps it alive */
        }
        submitted += status == 0;
    }
    if (status == 0) {
        status = roost_call(rt, merge_counts, total_out, roost_in_refs(counts, count));
    }
    roost_free_many(rt, counts, submitted); /* so does that one keep these */
    return status;
}

static int print(const struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        printf("%8llu %s\n", (unsigned long long)entries[i].count, entries[i].word);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "wordcount: cannot write the counts: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}

static int driver(struct roost *rt, int argc, char **argv)
{
    size_t files = (size_t)argc - 1;
    roost_ref *counts = calloc(files, sizeof *counts), total;
    roost_view view;
    if (counts == NULL) {
        fputs("wordcount: out of memory\n", stderr);
        return 1;
    }
    int status = submit(rt, argv + 1, counts, files, &total);
    free(counts);
    if (status == 0) {
        status = roost_get(rt, total, &view, ROOST_FOREVER);
    }
    if (status != 0) {
        fprintf(stderr, "wordcount: %s\n", roost_last_error());
        return 1;
    }
    status = print(view.data, view.size / sizeof(struct entry));
    roost_release(rt, &view);
    return status;
}

static int refuse(const char *what, const char *detail)
{
    fprintf(stderr, "wordcount: %s%s\nTry 'wordcount --help'.\n", what, detail);
    return 2;
}

/* The workers come by here too, with the same arguments: what stands before roost_main() only looks at them. */
int main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (argc < 2) {
        return refuse("no FILE is named", "");
    }
    if (argv[1][0] == '-') {
        return refuse("unknown option ", argv[1]);
    }
    return roost_main(argc, argv, driver);
}
