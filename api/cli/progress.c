/* progress.c - what a command is waiting for, on a terminal */
#include "api/cli/progress.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t progress_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_start(struct progress *progress)
{
    *progress = (struct progress){ .since_ms = progress_now_ms(), .is_terminal = isatty(STDERR_FILENO) != 0 };
}

void progress_show(struct progress *progress, const char *what)
{
    uint64_t waited_ms = progress_now_ms() - progress->since_ms;
    if (progress->is_terminal && waited_ms >= PROGRESS_QUIET_MS) {
        fprintf(stderr, "\r\033[Kwaiting for %s ... %llu s", what, (unsigned long long)waited_ms / 1000);
        progress->is_shown = true;
    }
}

int progress_patience(const struct progress *progress, uint64_t deadline_ms)
{
    uint64_t now_ms = progress_now_ms(), left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    if (progress->is_terminal && left_ms > PROGRESS_PERIOD_MS) {
        left_ms = progress->is_shown ? PROGRESS_PERIOD_MS : PROGRESS_QUIET_MS;
    }
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

void progress_end(struct progress *progress)
{
    if (progress->is_shown) {
        fputs("\r\033[K", stderr);
        progress->is_shown = false;
    }
}
