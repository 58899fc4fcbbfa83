/* daemon_end.c - ending daemons: asked first, killed when they do not answer */
#include "api/cli/daemon_end.h"
#include "api/cli/process_mark.h"
#include "api/cli/progress.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void look(struct daemon_end *all, struct pollfd *fds, size_t count, int timeout_ms)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = (struct pollfd){ .fd = all[i].has_ended ? -1 : all[i].pidfd, .events = POLLIN };
    }
    if (poll(fds, count, timeout_ms) > 0) {
        for (size_t i = 0; i < count; i++) {
            all[i].has_ended = all[i].has_ended || (fds[i].revents & (POLLIN | POLLHUP | POLLNVAL)) != 0;
        }
    }
}

static bool wait_for(struct daemon_end *all, struct pollfd *fds, size_t count, uint64_t deadline_ms,
                     struct progress *progress)
{
    for (;;) {
        size_t left = 0;
        const struct daemon_end *first = NULL;
        for (size_t i = count; i-- > 0;) {
            left += !all[i].has_ended;
            first = all[i].has_ended ? first : &all[i];
        }
        if (left == 0 || progress_now_ms() >= deadline_ms) {
            return left == 0;
        }
        char what[192];
        snprintf(what, sizeof what, left > 1 ? "%s and %zu more to end" : "%s to end", first->what, left - 1);
        progress_show(progress, what);
        look(all, fds, count, progress_patience(progress, deadline_ms));
    }
}

static void signal_all(struct daemon_end *all, size_t count, int signal_number)
{
    for (size_t i = 0; i < count; i++) {
        if (!all[i].has_ended) {
            process_signal(all[i].pidfd, signal_number);
            all[i].was_killed = signal_number == SIGKILL;
        }
    }
}

bool daemons_end(struct daemon_end *all, size_t count, uint64_t patience_ms)
{
    struct progress progress;
    struct pollfd *fds = calloc(count + 1, sizeof *fds);
    if (fds == NULL) {
        return false;
    }
    progress_start(&progress);
    for (size_t i = 0; i < count; i++) {
        all[i].has_ended = all[i].pidfd < 0;
    }
    signal_all(all, count, SIGTERM);
    bool all_ended = wait_for(all, fds, count, progress_now_ms() + patience_ms, &progress);
    if (!all_ended) {
        signal_all(all, count, SIGKILL);
        all_ended = wait_for(all, fds, count, progress_now_ms() + DAEMON_KILL_MS, &progress);
    }
    progress_end(&progress);
    free(fds);
    return all_ended;
}
