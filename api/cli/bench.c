/* bench.c - `roost bench [--json] [--bytes SIZE] [--runs N] [CASE...]`: becomes roost-bench
 *
 * The measurements are a program of their own, because workers run the program that called roost_open(). It is looked
 * for beside this one: ../libexec/roost/roost-bench when installed, ../tests/bench/roost-bench in a build folder. It
 * starts its clusters with this command, not with another one that PATH may have.
 * Failures: not there -> a message and exit code 1. */
#include "api/cli/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int command_bench(int argc, char **argv)
{
    static const char *const places[] = { "../libexec/roost/roost-bench", "../tests/bench/roost-bench" };
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)argc;
    if (length < 0) {
        perror("roost bench: /proc/self/exe");
        return EXIT_FAILED;
    }
    self[length] = '\0';
    int folder_bytes = (int)(strrchr(self, '/') - self);
    setenv("ROOST_COMMAND", self, 0);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%.*s/%s", folder_bytes, self, places[i]);
        execv(path, argv);
        if (errno != ENOENT) {
            fprintf(stderr, "roost bench: %s: %s\n", path, strerror(errno));
            return EXIT_FAILED;
        }
    }
    fprintf(stderr, "roost bench: roost-bench is not installed beside %s\n", self);
    return EXIT_FAILED;
}
