/* progress.h - what a command is waiting for, on a terminal
 *
 * One line on stderr that is written over and taken away again; nothing where stderr is no terminal. */
#ifndef ROOST_API_CLI_PROGRESS_H
#define ROOST_API_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_QUIET_MS = 300, PROGRESS_PERIOD_MS = 500 };

struct progress {
    uint64_t since_ms;
    bool is_terminal, is_shown;
};

/* CLOCK_MONOTONIC. */
uint64_t progress_now_ms(void);

void progress_start(struct progress *progress);

/* Says "waiting for WHAT ... 3 s" when it has lasted long enough to be noticed. */
void progress_show(struct progress *progress, const char *what);

/* How long a poll() until `deadline_ms` may sleep before the line wants to be shown again. */
int progress_patience(const struct progress *progress, uint64_t deadline_ms);

/* Takes the line away, before anything else is printed. */
void progress_end(struct progress *progress);

#endif
