/* status.c - what a status means, in words */
#include "common/error.h"

#include <roost.h>
#include <stdio.h>
#include <stdlib.h>

const char *roost_strerror(int status) { return error_name(status); }

const char *roost_last_error(void) { return error_text(); }

const char *roost_version(void) { return ROOST_VERSION_TEXT; }

/* The failing call is this thread's latest failure, so the line that it left, if any, is about it. */
void roost_die(int status, const char *call, const char *file, int line)
{
    const char *detail = error_text();
    fflush(stdout); /* what the program said before stays before */
    fprintf(stderr, "%s:%d: %s: %s (%s)%s%s\n", file, line, call, error_name(status), error_code_name(status),
            detail[0] != '\0' ? ": " : "", detail);
    exit(1);
}
