/* register.h - the remote functions of this program
 *
 * ROOST_TASK() and its kin leave a static record each, which a constructor links into one list of the process
 * (roost_register_() of roost.h). roost_open() turns the list into a book: checked, free of duplicates, sorted once,
 * and unchanged from then on. Calls look functions up by their address, workers by their name.
 *
 * A function's name is unique in the program; a method's is unique within its actor. */
#ifndef ROOST_API_REGISTER_H
#define ROOST_API_REGISTER_H

#include <roost.h>

enum { REGISTER_ABI = 1 }; /* of the records that this library reads; a later one may only append to the struct */

struct register_book;

/* Make a book of everything that is registered by now. The caller owns it: register_book_destroy().
 *
 * Errors: ROOST_EDUPLICATE  two functions of one name; the text names both places
 *         ROOST_EVERSION    a record of a newer roost.h than this library's
 *         ROOST_EINVAL      a record without function or name, or with a name over ROOST_NAME_BYTES_MAX
 *         ROOST_ENOMEM
 * Any thread. Does not block. */
int register_book_create(struct register_book **book_out);

/* NULL is fine. The records themselves stay: they belong to the program. */
void register_book_destroy(struct register_book *book);

/* Functions in the book. */
size_t register_book_count(const struct register_book *book);

/* Record `index` of the book, in the order of (actor, name), tasks and actors' creators first: the same in every
 * process of the same program. `index` < count. */
const struct roost_function_ *register_book_at(const struct register_book *book, size_t index);

/* By name. `actor` is the creator's name for a method, NULL for a task or a creator.
 * ROOST_ENOFUNC when the program has none. O(log n), any thread. */
int register_find_name(const struct register_book *book, const char *actor, const char *name,
                       const struct roost_function_ **record_out);

/* By address. ROOST_ENOFUNC, saying so, when `function` has no ROOST_TASK() line or was registered after the book was
 * made (a library that was loaded after roost_open() is not in the workers). A linker that folds identical functions
 * into one address makes their names one as well: the first in the book's order. O(log n), any thread. */
int register_find_function(const struct register_book *book, roost_fn *function,
                           const struct roost_function_ **record_out);

#endif
