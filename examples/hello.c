/* hello - one object, one task, one answer */
#include <roost.h>
#include <stdio.h>
#include <string.h>

/* Runs on the node that holds `text`, and reads it in place. */
ROOST_TASK(count_words);
int count_words(struct roost_task *task)
{
    roost_view text = roost_arg(task, 0);
    const char *byte = text.data;
    uint64_t words = 0;
    for (size_t i = 0; i < text.size; i++) {
        words += byte[i] == ' ';
    }
    return roost_return_value(task, 0, words);
}

int main(void)
{
    static const char poem[] = "so much depends upon a red wheel barrow ";
    struct roost *rt;
    roost_ref page, words;
    uint64_t count;

    ROOST_CHECK(roost_open(&rt, NULL)); /* joins $ROOST_ADDRESS, or starts a cluster here */
    ROOST_CHECK(roost_put(rt, poem, strlen(poem), &page));
    ROOST_CHECK(roost_call(rt, count_words, &words, page)); /* returns at once */
    ROOST_CHECK(roost_get_value(rt, words, &count, ROOST_FOREVER));
    printf("%llu words\n", (unsigned long long)count);
    roost_close(rt);
}
