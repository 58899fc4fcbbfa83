/* main.c - main() in one line */
#include "common/error.h"

#include <roost.h>
#include <stdio.h>

/* A failure to open is the user's to read, not a developer's: no file and line. */
static int refuse(int argc, char **argv, int status)
{
    const char *program = argc > 0 && argv[0] != NULL ? argv[0] : "roost_main";
    const char *detail = error_text();
    fprintf(stderr, "%s: roost_open: %s (%s)%s%s\n", program, error_name(status), error_code_name(status),
            detail[0] != '\0' ? ": " : "", detail);
    return 1;
}

int roost_main(int argc, char **argv, int (*driver)(struct roost *rt, int argc, char **argv))
{
    struct roost *rt;
    if (driver == NULL) {
        return refuse(argc, argv, error_set(ROOST_EINVAL, "roost_main needs a driver"));
    }
    int status = roost_open(&rt, NULL);
    if (status != 0) {
        return refuse(argc, argv, status);
    }
    status = driver(rt, argc, argv);
    roost_close(rt);
    return status;
}
