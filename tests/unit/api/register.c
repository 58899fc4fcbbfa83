/* The list only grows, so each test counts on having a process of its own (tests/lib/test.h gives it one). */
#include "api/register.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

enum { FIRST_LINE = __LINE__ + 1 };
ROOST_TASK(first);
int first(struct roost_task *task) { return task == NULL ? 1 : 0; }

static int second(struct roost_task *task) { return task == NULL ? 2 : 0; }
ROOST_TASK(second);

static int other(struct roost_task *task) { return task == NULL ? 3 : 0; }

static struct roost_function_ record_of(const char *actor, const char *name, roost_fn *function, const char *file,
                                        uint64_t line)
{
    return (struct roost_function_){ .abi = REGISTER_ABI,
                                     .kind = actor == NULL ? ROOST_KIND_TASK_ : ROOST_KIND_METHOD_,
                                     .name = name,
                                     .actor = actor,
                                     .file = file,
                                     .function = function,
                                     .line = line };
}

static struct register_book *make_book(void)
{
    struct register_book *book = NULL;
    CHECK_EQ(register_book_create(&book), 0);
    return book;
}

static void check_refused(int status, const char *part_of_text)
{
    struct register_book *book = NULL;
    CHECK_EQ(register_book_create(&book), status);
    CHECK(book == NULL);
    CHECK(strstr(roost_last_error(), part_of_text) != NULL);
}

TEST(register, a_task_is_found_by_name_and_by_address)
{
    struct register_book *book = make_book();
    const struct roost_function_ *record = NULL;
    CHECK_EQ(register_book_count(book), 2);
    CHECK_EQ(register_find_name(book, NULL, "first", &record), 0);
    CHECK(record->function == first);
    CHECK_EQ(register_find_function(book, second, &record), 0);
    CHECK_TEXT(record->name, "second");
    register_book_destroy(book);
}

TEST(register, the_book_is_in_the_order_of_names_whatever_the_constructors_did)
{
    static struct roost_function_ method, early;
    method = record_of("counter", "add", other, "actor.c", 1);
    early = record_of(NULL, "a", other, "early.c", 1);
    roost_register_(&method);
    roost_register_(&early);
    struct register_book *book = make_book();
    static const char *const wanted[] = { "a", "first", "second", "add" };
    CHECK_EQ(register_book_count(book), 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK_TEXT(register_book_at(book, i)->name, wanted[i]);
    }
    register_book_destroy(book);
}

TEST(register, two_functions_of_one_name_are_refused_with_both_places)
{
    static struct roost_function_ again;
    again = record_of(NULL, "first", other, "elsewhere.c", 77);
    roost_register_(&again);
    check_refused(ROOST_EDUPLICATE, "elsewhere.c:77");
    char here[32];
    snprintf(here, sizeof here, "register.c:%d", FIRST_LINE);
    CHECK(strstr(roost_last_error(), here) != NULL);
    CHECK(strncmp(roost_last_error(), "first is", 8) == 0);
}

TEST(register, one_function_registered_twice_is_one_function)
{
    static struct roost_function_ again;
    again = record_of(NULL, "first", first, "elsewhere.c", 77);
    roost_register_(&again);
    struct register_book *book = make_book();
    CHECK_EQ(register_book_count(book), 2);
    register_book_destroy(book);
}

TEST(register, a_task_and_an_actor_of_one_name_are_refused_even_for_one_function)
{
    static struct roost_function_ again;
    again = record_of(NULL, "first", first, "elsewhere.c", 77);
    again.kind = ROOST_KIND_ACTOR_;
    roost_register_(&again);
    check_refused(ROOST_EDUPLICATE, "elsewhere.c:77");
}

TEST(register, methods_of_two_actors_may_share_a_name_of_one_actor_not)
{
    static struct roost_function_ a, b, c;
    a = record_of("counter", "add", first, "a.c", 1);
    b = record_of("ledger", "add", second, "b.c", 9); /* file before line */
    c = record_of("ledger", "add", other, "c.c", 3);
    roost_register_(&a);
    roost_register_(&b);
    struct register_book *book = make_book();
    const struct roost_function_ *record = NULL;
    CHECK_EQ(register_find_name(book, "ledger", "add", &record), 0);
    CHECK(record == &b);
    CHECK_EQ(register_find_name(book, NULL, "add", &record), ROOST_ENOFUNC);
    CHECK(record == &b);
    register_book_destroy(book);
    roost_register_(&c);
    check_refused(ROOST_EDUPLICATE, "ledger.add is registered at b.c:9 and at c.c:3");
}

TEST(register, what_is_not_in_the_book_is_refused_with_the_reason)
{
    struct register_book *book = make_book();
    const struct roost_function_ *record = NULL;
    CHECK_EQ(register_find_name(book, NULL, "third", &record), ROOST_ENOFUNC);
    CHECK_TEXT(roost_last_error(), "this program has no remote function third");
    CHECK_EQ(register_find_function(book, other, &record), ROOST_ENOFUNC);
    CHECK(strstr(roost_last_error(), "has no ROOST_TASK() line") != NULL);
    static struct roost_function_ late;
    late = record_of(NULL, "late", other, "plugin.c", 5);
    roost_register_(&late);
    CHECK_EQ(register_find_function(book, other, &record), ROOST_ENOFUNC);
    CHECK_TEXT(roost_last_error(), "late (plugin.c:5) was registered after roost_open(), so no worker has it");
    CHECK(record == NULL);
    register_book_destroy(book);
}

TEST(register, a_record_of_a_newer_header_is_refused)
{
    static struct roost_function_ newer;
    newer = record_of(NULL, "newer", other, "newer.c", 1);
    newer.abi = REGISTER_ABI + 1;
    roost_register_(&newer);
    check_refused(ROOST_EVERSION, "ABI 2");
}

TEST(register, a_name_over_the_limit_or_none_is_refused)
{
    static char name[ROOST_NAME_BYTES_MAX + 2];
    static struct roost_function_ record;
    memset(name, 'x', sizeof name - 2);
    record = record_of(NULL, name, other, "long.c", 9);
    roost_register_(&record);
    register_book_destroy(make_book()); /* as long as may be */
    name[sizeof name - 2] = 'x';
    check_refused(ROOST_EINVAL, "long.c:9");
    name[0] = '\0';
    check_refused(ROOST_EINVAL, "long.c:9");
    record.function = NULL;
    check_refused(ROOST_EINVAL, "without name, place or address");
}

enum { THREADS = 4, RECORDS_EACH = 1000, NAME_BYTES = 16 };
static struct roost_function_ many[THREADS][RECORDS_EACH];
static char names[THREADS][RECORDS_EACH][NAME_BYTES];

static void *register_many(void *argument)
{
    size_t thread = (size_t)(uintptr_t)argument;
    for (size_t i = 0; i < RECORDS_EACH; i++) {
        snprintf(names[thread][i], NAME_BYTES, "f%zu_%zu", thread, i);
        many[thread][i] = record_of(NULL, names[thread][i], other, "many.c", i);
        roost_register_(&many[thread][i]);
    }
    return NULL;
}

TEST(register, threads_that_register_at_once_lose_nothing_and_books_made_meanwhile_are_whole)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, register_many, (void *)(uintptr_t)i), 0);
    }
    for (size_t seen = 2; seen < 2 + THREADS * RECORDS_EACH;) {
        struct register_book *book = make_book();
        CHECK(register_book_count(book) >= seen); /* it only grows */
        seen = register_book_count(book);
        register_book_destroy(book);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct register_book *book = make_book();
    const struct roost_function_ *record = NULL;
    CHECK_EQ(register_book_count(book), 2 + THREADS * RECORDS_EACH);
    CHECK_EQ(register_find_name(book, NULL, "f3_999", &record), 0);
    CHECK(record == &many[3][999]);
    register_book_destroy(book);
}
