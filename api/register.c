/* register.c - the remote functions of this program
 *
 * Owns the list of records that constructors left, and makes the books that look them up.
 *
 * Happy path: roost_register_() (before main) -> register_book_create() (roost_open) -> register_find_...().
 * Failures:   two functions of one name -> ROOST_EDUPLICATE with both places; the book is not made. the same function
 *             registered twice under one name and kind -> it is one function: the earlier by place stays. a function
 *             unknown to the book -> ROOST_ENOFUNC with the reason.
 * Invariants: the list only grows, at its head; a record is never written after it was linked. A book never changes. A
 *             library that holds remote functions must stay loaded: the list keeps pointers into it.
 * Thread:     any. Registering takes no lock and no memory, so it may run in any constructor, also inside dlopen().
 */
#include "api/register.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(struct roost_function_ *) registered;

struct register_book {
    size_t count;
    const struct roost_function_ **by_name; /* both have `count` entries, in one allocation with the book */
    const struct roost_function_ **by_function;
};

void roost_register_(struct roost_function_ *function)
{
    struct roost_function_ *head = atomic_load_explicit(&registered, memory_order_relaxed);
    do {
        function->next = head;
        /* release: who sees the record sees its fields and its `next` */
    } while (!atomic_compare_exchange_weak_explicit(&registered, &head, function, memory_order_release,
                                                    memory_order_relaxed));
}

/* acquire: pairs with the release above */
static const struct roost_function_ *newest(void) { return atomic_load_explicit(&registered, memory_order_acquire); }

static int compare_actors(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return (a != NULL) - (b != NULL);
    }
    return strcmp(a, b);
}

/* The name as a user knows it: (actor, name). */
static int compare_keys(const struct roost_function_ *a, const struct roost_function_ *b)
{
    int order = compare_actors(a->actor, b->actor);
    return order != 0 ? order : strcmp(a->name, b->name);
}

/* Total: duplicates are reported in the same order whatever the order of the constructors was. */
static int compare_names(const void *left, const void *right)
{
    const struct roost_function_ *a = *(const struct roost_function_ *const *)left;
    const struct roost_function_ *b = *(const struct roost_function_ *const *)right;
    int order = compare_keys(a, b);
    if (order == 0) {
        order = strcmp(a->file, b->file);
    }
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static uintptr_t address_of(const struct roost_function_ *record) { return (uintptr_t)record->function; }

static int compare_functions(const void *left, const void *right)
{
    const struct roost_function_ *a = *(const struct roost_function_ *const *)left;
    const struct roost_function_ *b = *(const struct roost_function_ *const *)right;
    int order = (address_of(a) > address_of(b)) - (address_of(a) < address_of(b));
    return order != 0 ? order : compare_names(left, right);
}

/* Records come from the program, possibly built with another roost.h or by a binding: nothing in them is trusted. */
static int check_record(const struct roost_function_ *record)
{
    if (record->abi != REGISTER_ABI) {
        return error_set(ROOST_EVERSION,
                         "a remote function was registered by a roost.h of ABI %u; libroost %s reads %d", record->abi,
                         roost_version(), REGISTER_ABI);
    }
    if (record->name == NULL || record->file == NULL || record->function == NULL) {
        return error_set(ROOST_EINVAL, "a remote function was registered without name, place or address");
    }
    if (record->name[0] == '\0' || strnlen(record->name, ROOST_NAME_BYTES_MAX + 1) > ROOST_NAME_BYTES_MAX) {
        return error_set(ROOST_EINVAL, "the remote function at %s:%llu has a name of no or more than %d bytes",
                         record->file, (unsigned long long)record->line, ROOST_NAME_BYTES_MAX);
    }
    if (record->actor != NULL && strnlen(record->actor, ROOST_NAME_BYTES_MAX + 1) > ROOST_NAME_BYTES_MAX) {
        return error_set(ROOST_EINVAL, "the method at %s:%llu has an actor's name of more than %d bytes", record->file,
                         (unsigned long long)record->line, ROOST_NAME_BYTES_MAX);
    }
    return 0;
}

static int check_list(const struct roost_function_ *list, size_t *count_out)
{
    size_t count = 0;
    for (const struct roost_function_ *record = list; record != NULL; record = record->next) {
        ROOST_TRY(check_record(record));
        count++;
    }
    *count_out = count;
    return 0;
}

static int refuse_duplicate(const struct roost_function_ *a, const struct roost_function_ *b)
{
    return error_set(ROOST_EDUPLICATE, "%s%s%s is registered at %s:%llu and at %s:%llu",
                     a->actor != NULL ? a->actor : "", a->actor != NULL ? "." : "", a->name, a->file,
                     (unsigned long long)a->line, b->file, (unsigned long long)b->line);
}

/* `by_name` is sorted: functions of one name are neighbours. Leaves one record of each, or fails. */
static int merge_same_names(struct register_book *book)
{
    size_t kept = 0;
    for (size_t i = 0; i < book->count; i++) {
        const struct roost_function_ *at = book->by_name[i];
        const struct roost_function_ *previous = kept > 0 ? book->by_name[kept - 1] : NULL;
        if (previous == NULL || compare_keys(previous, at) != 0) {
            book->by_name[kept++] = at;
        } else if (previous->function != at->function || previous->kind != at->kind) {
            return refuse_duplicate(previous, at);
        }
    }
    book->count = kept;
    return 0;
}

static struct register_book *book_of(const struct roost_function_ *list, size_t count)
{
    size_t bytes;
    if (!size_mul(count, 2 * sizeof(struct roost_function_ *), &bytes) ||
        !size_add(bytes, sizeof(struct register_book), &bytes)) {
        return NULL;
    }
    struct register_book *book = calloc(1, bytes);
    if (book == NULL) {
        return NULL;
    }
    book->count = count;
    book->by_name = (const struct roost_function_ **)(book + 1);
    book->by_function = book->by_name + count;
    for (size_t i = 0; i < count; i++, list = list->next) {
        book->by_name[i] = list;
    }
    return book;
}

int register_book_create(struct register_book **book_out)
{
    const struct roost_function_ *list = newest(); /* what is linked meanwhile stands before it */
    size_t count;
    ROOST_TRY(check_list(list, &count));
    struct register_book *book = book_of(list, count);
    if (book == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for the names of %zu remote functions", count);
    }
    qsort(book->by_name, book->count, sizeof *book->by_name, compare_names);
    int status = merge_same_names(book);
    if (status != 0) {
        register_book_destroy(book);
        return status;
    }
    memcpy(book->by_function, book->by_name, book->count * sizeof *book->by_name);
    qsort(book->by_function, book->count, sizeof *book->by_function, compare_functions);
    *book_out = book;
    return 0;
}

void register_book_destroy(struct register_book *book) { free(book); }

size_t register_book_count(const struct register_book *book) { return book->count; }

const struct roost_function_ *register_book_at(const struct register_book *book, size_t index)
{
    ROOST_PRE(index < book->count);
    return book->by_name[index];
}

int register_find_name(const struct register_book *book, const char *actor, const char *name,
                       const struct roost_function_ **record_out)
{
    const struct roost_function_ wanted = { .name = name, .actor = actor };
    size_t low = 0, high = book->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_keys(book->by_name[middle], &wanted);
        if (order == 0) {
            *record_out = book->by_name[middle];
            return 0;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return error_set(ROOST_ENOFUNC, "this program has no remote function %s%s%s", actor != NULL ? actor : "",
                     actor != NULL ? "." : "", name);
}

/* Why the book does not have it. Off the hot path. */
static int explain_unknown(roost_fn *function)
{
    for (const struct roost_function_ *record = newest(); record != NULL; record = record->next) {
        if (record->function == function) {
            return error_set(ROOST_ENOFUNC, "%s (%s:%llu) was registered after roost_open(), so no worker has it",
                             record->name, record->file, (unsigned long long)record->line);
        }
    }
    return error_set(ROOST_ENOFUNC, "the function at %p has no ROOST_TASK() line in this program",
                     (void *)(uintptr_t)function);
}

int register_find_function(const struct register_book *book, roost_fn *function,
                           const struct roost_function_ **record_out)
{
    uintptr_t address = (uintptr_t)function;
    size_t low = 0, high = book->count; /* the first whose address is not below */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (address_of(book->by_function[middle]) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == book->count || book->by_function[low]->function != function) {
        return explain_unknown(function);
    }
    *record_out = book->by_function[low];
    return 0;
}
