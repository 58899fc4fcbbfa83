/* daemon.c - starting and ending the head's process
 *
 * Happy path: ledger -> core -> loop -> record -> host (listens) -> head.json -> ready; runs until it is told to end.
 * Ending:     no new agents; the agents are told (by the core when a command said STOP, else here) and waited for, a
 *             moment or, when the cluster drains, as long as they need. A second signal ends it at once.
 * Failures:   whatever cannot be had at the start ends it again with a text; nothing is left in the folder.
 * Thread:     main.
 */
#define LOG_TOPIC "head"
#include "scheduler/daemon.h"
#include "common/error.h"
#include "common/io/loop.h"
#include "common/io/nng_threads.h"
#include "common/io/spawn.h"
#include "common/limits.h"
#include "common/log.h"
#include "scheduler/host.h"
#include "scheduler/ledger.h"
#include "scheduler/record.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)

struct daemon {
    const struct head_options *options;
    struct loop *loop;
    struct ledger ledger;
    struct head *core;
    struct host *host;
    struct record *record;
    struct loop_watch *lifeline;
    struct loop_timer patience; /* with the agents, at the end */
    bool is_stopping, wrote_file;
};

/* ------------------------------------------------------------------------------------------ ending */

/* When the last agent has gone the turn's end sees it. */
static void stop(struct daemon *daemon, const char *why, bool drain)
{
    if (daemon->is_stopping) {
        return;
    }
    log_info("event=stops why=\"%s\" agents=%u", why, host_agents_count(daemon->host));
    daemon->is_stopping = true;
    host_refuse_agents(daemon->host);
    if (!drain) {
        unsigned stop_ms = daemon->options->stop_ms != 0 ? daemon->options->stop_ms : HEAD_STOP_MS;
        loop_timer_arm(&daemon->patience, loop_now_ns() + stop_ms * NS_PER_MS);
    }
}

static void stop_here(struct daemon *daemon, const char *why)
{
    if (daemon->is_stopping) {
        loop_stop(daemon->loop);
        return;
    }
    stop(daemon, why, false);
    host_stop_agents(daemon->host);
}

static void on_stop(void *arg, bool drain) { stop(arg, "a command said so", drain); }

static void on_signal(void *arg, int signal_number) { stop_here(arg, strsignal(signal_number)); }

static void on_patience(void *arg)
{
    struct daemon *daemon = arg;
    log_warn("event=agents_left count=%u", host_agents_count(daemon->host));
    loop_stop(daemon->loop);
}

static void on_lifeline(void *arg, unsigned events)
{
    struct daemon *daemon = arg;
    char byte;
    if ((events & LOOP_HANGUP) != 0 || read(daemon->options->lifeline_fd, &byte, 1) == 0) {
        loop_watch_close(daemon->lifeline);
        daemon->lifeline = NULL;
        stop_here(daemon, "whoever started it is gone");
    }
}

static void on_turn_end(void *arg)
{
    struct daemon *daemon = arg;
    host_turn(daemon->host);
    if (daemon->is_stopping && host_agents_count(daemon->host) == 0) {
        loop_stop(daemon->loop);
    }
}

/* ------------------------------------------------------------------------------------------ the folder */

static int write_file(struct daemon *daemon)
{
    char path[4096], wip[4100], cluster[ID_TEXT_BYTES];
    if (daemon->options->folder == NULL) {
        return 0;
    }
    if (snprintf(path, sizeof path, "%s/head.json", daemon->options->folder) >= (int)sizeof path) {
        return error_set(ROOST_EINVAL, "the path of the folder is too long");
    }
    snprintf(wip, sizeof wip, "%s.tmp", path);
    FILE *file = fopen(wip, "we");
    if (file == NULL) {
        return error_from_errno("%s", wip);
    }
    fprintf(file, "{\"address\":\"%s\",\"cluster\":\"%s\",\"pid\":%d}\n", host_address(daemon->host),
            cluster_id_print(daemon->ledger.cluster, cluster), (int)getpid());
    if (fclose(file) != 0 || rename(wip, path) != 0) {
        int status = error_from_errno("%s", path);
        unlink(wip);
        return status;
    }
    daemon->wrote_file = true;
    return 0;
}

static void clear_folder(const struct daemon *daemon)
{
    char path[4096];
    if (daemon->wrote_file) {
        snprintf(path, sizeof path, "%s/head.json", daemon->options->folder);
        unlink(path);
    }
}

static void say_ready(const struct daemon *daemon)
{
    int fd = daemon->options->ready_fd;
    if (fd != ROOST_NONE) {
        dprintf(fd, "%s\n", host_address(daemon->host));
        close(fd);
    }
}

/* ------------------------------------------------------------------------------------------ the whole */

static int commit(void *arg, const void *fact, size_t bytes)
{
    struct daemon *daemon = arg;
    (void)bytes; /* at least one fact, aligned to 16 */
    return ledger_commit(&daemon->ledger, fact);
}

static int make_core(struct daemon *daemon)
{
    const struct head_options *options = daemon->options;
    struct head_config config = { .cluster = daemon->ledger.cluster,
                                  .epoch = daemon->ledger.epoch,
                                  .suspect_ns = options->suspect_ms * NS_PER_MS,
                                  .dead_ns = options->dead_ms * NS_PER_MS,
                                  .facts = daemon->ledger.facts,
                                  .facts_count = daemon->ledger.facts_count };
    int status = head_create(&daemon->core, &config);
    return status != 0 || options->record == NULL ? status
                                                  : head_record_open(&daemon->record, options->record, &config);
}

static int make_host(struct daemon *daemon)
{
    const struct head_options *options = daemon->options;
    struct host_options host = { .vtable = &head_core,
                                 .core = daemon->core,
                                 .listen = options->listen != NULL ? options->listen : "127.0.0.1:0",
                                 .cluster = daemon->ledger.cluster,
                                 .epoch = daemon->ledger.epoch,
                                 .suspect_ms = options->suspect_ms,
                                 .dead_ms = options->dead_ms,
                                 .record = daemon->record,
                                 .commit = commit,
                                 .on_stop = on_stop,
                                 .arg = daemon };
    return host_open(&daemon->host, daemon->loop, &host);
}

static int watch(struct daemon *daemon)
{
    int fd = daemon->options->lifeline_fd;
    loop_on_turn_end(daemon->loop, on_turn_end, daemon);
    int status = loop_on_stop_signal(daemon->loop, on_signal, daemon);
    if (status == 0 && fd != ROOST_NONE) {
        status = loop_watch_start(daemon->loop, fd, LOOP_READ, on_lifeline, daemon, &daemon->lifeline);
    }
    return status;
}

static int start(struct daemon *daemon)
{
    spawn_raise_files_limit();
    int status = ledger_open(&daemon->ledger);
    if (status == 0) {
        status = loop_create(&daemon->loop);
    }
    if (status == 0) {
        loop_timer_init(&daemon->patience, daemon->loop, on_patience, daemon);
        status = make_core(daemon);
    }
    if (status == 0) {
        status = make_host(daemon);
    }
    if (status == 0) {
        status = watch(daemon);
    }
    return status == 0 ? write_file(daemon) : status;
}

static void end(struct daemon *daemon)
{
    clear_folder(daemon);
    host_close(daemon->host);
    if (daemon->loop != NULL) {
        loop_watch_close(daemon->lifeline);
        loop_timer_disarm(&daemon->patience);
        loop_destroy(daemon->loop);
    }
    record_close(daemon->record, daemon->core != NULL ? head_core.hash(daemon->core) : 0);
    head_destroy(daemon->core);
    ledger_close(&daemon->ledger);
    nng_threads_end();
}

int head_run(const struct head_options *options)
{
    struct daemon daemon = { .options = options };
    int status = start(&daemon);
    if (status == 0) {
        char cluster[ID_TEXT_BYTES];
        log_info("event=started address=%s cluster=%s", host_address(daemon.host),
                 cluster_id_print(daemon.ledger.cluster, cluster));
        say_ready(&daemon);
        loop_run(daemon.loop);
    }
    end(&daemon);
    return status;
}
