/* error.h - a status and, for people, one line about it
 *
 * Functions return 0 or a negative ROOST_E code of roost.h. The first function that knows what went wrong may leave
 * a line for this thread; roost_last_error() shows it to the user, a daemon logs it. */
#ifndef ROOST_COMMON_ERROR_H
#define ROOST_COMMON_ERROR_H

#include <roost.h>

enum { ERROR_TEXT_BYTES = 1024 };

/* Sets this thread's line and returns `status`, so that `return error_set(ROOST_ETOOBIG, "...")` reads well.
 * Keeps errno. Longer texts are cut. */
int error_set(int status, const char *format, ...) ROOST_PRINTF(2, 3);

/* Puts "prefix: " before the line that is there. Returns `status`. */
int error_prefix(int status, const char *format, ...) ROOST_PRINTF(2, 3);

/* ROOST_EIO with "what: strerror(errno)"; ROOST_ENOMEM when that is what errno says. */
int error_from_errno(const char *format, ...) ROOST_PRINTF(1, 2);

/* As before the first failure. */
void error_clear(void);

/* Never NULL; "" before the first failure. Valid until this thread's next failure. */
const char *error_text(void);

/* The fixed text of a status. Never NULL. */
const char *error_name(int status);

/* "EFULL", for logs and JSON. Never NULL. */
const char *error_code_name(int status);

#endif
