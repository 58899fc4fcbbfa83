/* main.c - main() in one line */
#include "common/error.h"

#include <roost.h>
#include <stdio.h>

/* A failure to open is the user's to read, not a developer's: no file and line. */
static void say_why_not(const char *program, int status)
{
    const char *detail = error_text();
    fprintf(stderr, "%s: roost_open: %s (%s)%s%s\n", program, error_name(status), error_code_name(status),
            detail[0] != '\0' ? ": " : "", detail);
}

int roost_main(int argc, char **argv, int (*driver)(struct roost *rt, int argc, char **argv))
{
    struct roost *rt;
    int status = driver != NULL ? roost_open(&rt, NULL) : error_set(ROOST_EINVAL, "roost_main needs a driver");
    if (status != 0) {
        say_why_not(argc > 0 && argv[0] != NULL ? argv[0] : "roost_main", status);
        return 1;
    }
    status = driver(rt, argc, argv);
    roost_close(rt);
    return status;
}
