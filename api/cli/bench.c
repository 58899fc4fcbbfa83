/* bench.c - `roost bench`: becomes roost-bench, which is installed beside this program */
#include "api/cli/command.h"
#include "api/cli/launch.h"
#include "common/bytes.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* From the folder of this program: where an installation has it, then where the build does. */
static const char *const places[] = { "../libexec/roost/roost-bench", "../tests/bench/roost-bench" };

int command_bench(int argc, char **argv)
{
    char path[PATH_MAX];
    const char *self = launch_self(), *slash = strrchr(self, '/');
    (void)argc;
    for (size_t i = 0; i < ROOST_COUNT_OF(places); i++) {
        if (snprintf(path, sizeof path, "%.*s/%s", (int)(slash - self), self, places[i]) < (int)sizeof path &&
            access(path, X_OK) == 0) {
            argv[0] = path;
            execv(path, argv);
            fprintf(stderr, "roost bench: %s: %s\n", path, strerror(errno));
            return EXIT_FAILED;
        }
    }
    fprintf(stderr, "roost bench: there is no libexec/roost/roost-bench beside %s: it was not installed\n", self);
    return EXIT_FAILED;
}
