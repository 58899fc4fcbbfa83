/* wordcount FILE... - count words of many files, one task each, then merge the counts. */
#include <ctype.h>
#include <roost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES = 24, TABLE = 1 << 16 };
struct entry {
    char word[WORD_BYTES];
    uint64_t count;
};

static struct entry *entry_of(struct entry *table, const char *word)
{
    uint64_t hash = 1469598103934665603u;
    for (const char *c = word; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    }
    for (size_t i = hash % TABLE;; i = (i + 1) % TABLE) {
        if (table[i].count == 0) {
            strcpy(table[i].word, word);
            return &table[i];
        }
        if (strcmp(table[i].word, word) == 0) {
            return &table[i];
        }
    }
}

ROOST_TASK(count_file);
int count_file(struct roost_task *task)
{
    roost_view file = roost_arg(task, 0);
    const char *text = file.data;
    struct entry *table = roost_scratch(task, TABLE * sizeof *table);
    if (table == NULL) {
        return ROOST_ENOMEM;
    }
    char word[WORD_BYTES];
    size_t length = 0;
    for (size_t i = 0; i <= file.size; i++) {
        int c = i < file.size ? (unsigned char)text[i] : ' ';
        if (isalpha(c) && length < sizeof word - 1) {
            word[length++] = (char)tolower(c);
        } else if (length > 0) {
            word[length] = '\0';
            entry_of(table, word)->count++;
            length = 0;
        }
    }
    return roost_return(task, 0, table, TABLE * sizeof *table);
}

ROOST_TASK(merge_counts);
int merge_counts(struct roost_task *task)
{
    struct entry *sum = roost_scratch(task, TABLE * sizeof *sum);
    if (sum == NULL) {
        return ROOST_ENOMEM;
    }
    for (size_t a = 0; a < roost_arg_count(task); a++) {
        roost_view part = roost_arg(task, a);
        const struct entry *from = part.data;
        for (size_t i = 0; i < part.size / sizeof *from; i++) {
            if (from[i].count > 0) {
                entry_of(sum, from[i].word)->count += from[i].count;
            }
        }
    }
    return roost_return(task, 0, sum, TABLE * sizeof *sum);
}

int main(int argc, char **argv)
{
    struct roost *rt;
    ROOST_CHECK(roost_open(&rt, NULL));

    size_t files = (size_t)argc - 1;
    roost_ref *counts = calloc(files + 1, sizeof *counts);
    for (size_t i = 0; i < files; i++) {
        roost_ref file;
        ROOST_CHECK(roost_put_file(rt, argv[i + 1], 0, ROOST_WHOLE, &file));
        ROOST_CHECK(roost_call(rt, count_file, &counts[i], file));
        roost_free(rt, file); /* the task keeps it alive */
    }
    roost_ref total;
    ROOST_CHECK(roost_call(rt, merge_counts, &total, roost_in_refs(counts, files)));
    roost_free_many(rt, counts, files);

    roost_view view;
    ROOST_CHECK(roost_get(rt, total, &view, ROOST_FOREVER));
    const struct entry *entries = view.data;
    for (size_t i = 0; i < TABLE; i++) {
        if (entries[i].count > 0) {
            printf("%8llu %s\n", (unsigned long long)entries[i].count, entries[i].word);
        }
    }
    roost_release(rt, &view);
    free(counts);
    roost_close(rt);
}
