/* play.c - `roost head --play FILE` and `roost agent --play FILE`: what a daemon did, done again
 *
 * No socket, no store, no process: only the core and its events. Meant for a debugger: the state before each event is
 * what it was, or the first that is not is named. */
#include "api/cli/command.h"
#include "common/log.h"
#include "proto/io/record.h"

#include <inttypes.h>
#include <stdio.h>

int command_play(const char *command, const char *path, const struct record_core *core)
{
    uint64_t hash;
    log_start(command, LOG_ERROR);
    int status = record_play(path, core, &hash);
    if (status != 0) {
        return command_failed(command, status);
    }
    printf("%016" PRIx64 "\n", hash);
    return EXIT_OK;
}
