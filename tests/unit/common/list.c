#include "common/list.h"
#include "tests/lib/test.h"

#include <string.h>

struct item {
    char name;
    struct list_node node;
};

/* The names on the list, forwards; checks that it reads the same backwards. */
static const char *names(struct list_node *list)
{
    static char text[16];
    size_t count = 0;
    LIST_EACH (at, list) {
        CHECK(at->next->previous == at && at->previous->next == at);
        text[count++] = CONTAINER_OF(at, struct item, node)->name;
    }
    text[count] = '\0';
    for (const struct list_node *at = list->previous; at != list; at = at->previous) {
        CHECK(CONTAINER_OF(at, struct item, node)->name == text[--count]);
    }
    CHECK(count == 0);
    return text;
}

static struct list_node list;
static struct item items[4];

static void start(void)
{
    list_init(&list);
    for (size_t i = 0; i < 4; i++) {
        items[i].name = (char)('a' + i);
        list_init(&items[i].node);
    }
}

TEST(list, keeps_the_order_of_insertion)
{
    start();
    CHECK(list_is_empty(&list));
    CHECK_TEXT(names(&list), "");
    list_append(&list, &items[1].node);
    list_append(&list, &items[2].node);
    list_prepend(&list, &items[0].node);
    list_insert_before(&items[2].node, &items[3].node);
    CHECK(!list_is_empty(&list));
    CHECK_TEXT(names(&list), "abdc");
}

TEST(list, removes_at_either_end_and_in_between)
{
    start();
    for (size_t i = 0; i < 4; i++) {
        list_append(&list, &items[i].node);
    }
    list_remove(&items[1].node);
    CHECK_TEXT(names(&list), "acd");
    list_remove(&items[0].node);
    CHECK_TEXT(names(&list), "cd");
    list_remove(&items[3].node);
    list_remove(&items[2].node);
    CHECK(list_is_empty(&list));
}

TEST(list, what_is_on_no_list_can_be_removed_and_put_on_one_again)
{
    start();
    list_remove(&items[0].node);
    list_append(&list, &items[0].node);
    list_remove(&items[0].node);
    list_remove(&items[0].node);
    CHECK(list_is_empty(&list) && list_is_empty(&items[0].node));
    list_append(&list, &items[0].node);
    CHECK_TEXT(names(&list), "a");
}

TEST(list, the_element_at_hand_may_go_during_a_safe_walk)
{
    start();
    for (size_t i = 0; i < 4; i++) {
        list_append(&list, &items[i].node);
    }
    char seen[5] = "";
    LIST_EACH_SAFE (at, &list) {
        struct item *item = CONTAINER_OF(at, struct item, node);
        seen[strlen(seen)] = item->name;
        if (item->name != 'c') {
            list_remove(at);
            memset(item, 0xee, sizeof *item); /* as good as freed */
        }
    }
    CHECK_TEXT(seen, "abcd");
    CHECK_TEXT(names(&list), "c");
}

TEST(list, a_walk_sees_what_is_appended_meanwhile)
{
    start();
    list_append(&list, &items[0].node);
    int count = 0;
    LIST_EACH (at, &list) {
        if (++count < 4) {
            list_append(&list, &items[count].node);
        }
    }
    CHECK_EQ(count, 4);
}
