/* daemon.c - starting and ending the agent's process
 *
 * Happy path: store -> node page -> loop -> core -> socket -> ready; ends on a signal or when its lifeline closes.
 * Failures:   whatever cannot be had at the start ends it again with a text; nothing is left in the folder.
 * Order at the end: no more clients, workers killed and reaped, guests forgotten, then the store.
 * Thread: main.
 */
#define LOG_TOPIC "agent"
#include "worker/agent/daemon.h"
#include "common/error.h"
#include "common/io/nng_threads.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"
#include "worker/agent/record.h"

#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAP_KEPT_BYTES = 16 << 20,
    POPULATE_BYTES = 2 << 20,
    POPULATE_PAUSE_NS = 20000000,
    DAEMON_WORKERS_EXPECTED = 8
};

/* ------------------------------------------------------------------ what a node has */

static uint32_t cpus_hundredths(double cpus)
{
    return cpus > 0 ? (uint32_t)(cpus * 100 + 0.5) : (uint32_t)get_nprocs() * 100;
}

static int open_store(struct daemon *daemon)
{
    const struct agent_options *options = daemon->options;
    struct store_options wanted = { .bytes = options->store_bytes };
    if (wanted.bytes == 0) {
        struct memory_facts facts = { .processes = DAEMON_WORKERS_EXPECTED };
        int status = memory_facts_read(&facts, "");
        if (status != 0) {
            return status;
        }
        wanted.bytes = segment_size_default(&facts);
    }
    return store_open(&daemon->store, &wanted);
}

static int make_node_page(struct daemon *daemon)
{
    char path[64];
    int fd = memfd_create("roost-node", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof(struct node_page)) != 0) {
        return error_from_errno("node page");
    }
    void *page = mmap(NULL, sizeof(struct node_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    daemon->node_page_ro = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    if (page == MAP_FAILED || daemon->node_page_ro < 0) {
        return error_from_errno("node page");
    }
    daemon->node_page = page;
    *daemon->node_page =
        (struct node_page){ .magic = NODE_PAGE_MAGIC, .layout = NODE_PAGE_LAYOUT, .wake_ns = waiter_wake_ns() };
    return 0;
}

static int make_node_bells(struct daemon *daemon)
{
    daemon->node_bells_fd = memfd_create("roost-bells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (daemon->node_bells_fd < 0 || ftruncate(daemon->node_bells_fd, NODE_BELLS_BYTES) != 0 ||
        fcntl(daemon->node_bells_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return error_from_errno("bells of %d clients", CLIENTS_MAX);
    }
    void *bells = mmap(NULL, NODE_BELLS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, daemon->node_bells_fd, 0);
    if (bells == MAP_FAILED) {
        return error_from_errno("bells of %d clients", CLIENTS_MAX);
    }
    daemon->node_bells = bells;
    return 0;
}

static int make_core(struct daemon *daemon)
{
    const struct agent_options *options = daemon->options;
    struct agent_config *config = &daemon->config;
    *config = (struct agent_config){ .node = daemon->node,
                                     .cpus_hundredths = cpus_hundredths(options->cpus),
                                     .memory_bytes = options->memory_bytes,
                                     .segments_count = daemon->store->segments_count,
                                     .entries_max = table_entries_max(daemon->store->table.capacity),
                                     .secret = id_random().lo,
                                     .forks = true,
                                     .alone = options->head_address == NULL };
    memcpy(config->node_name, daemon->node_name, sizeof config->node_name);
    uint64_t store_bytes = 0;
    for (uint32_t i = 0; i < config->segments_count; i++) {
        config->segment_bytes[i] = daemon->store->segments[i].bytes;
        config->segment_is_huge[i] = daemon->store->segments[i].is_huge;
        store_bytes += config->segment_bytes[i];
    }
    if (config->memory_bytes == 0) { /* nothing of the store is populated yet, so no cgroup counts it */
        struct memory_facts facts = { 0 };
        int status = memory_facts_read(&facts, "");
        if (status != 0) {
            return status;
        }
        config->memory_bytes = memory_beside_store(&facts, store_bytes);
    }
    config->prestart_workers = (config->cpus_hundredths + 99) / 100;
    config->workers_max = config->prestart_workers * WORKERS_PER_CPU_MAX;
    int status = agent_create(&daemon->core, config);
    if (status == 0 && options->record != NULL) {
        status = record_open(&daemon->record, options->record, &agent_record, config);
    }
    return status != 0 ? status : core_out_init(&daemon->out, agent_core.out_bytes_max);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One piece. A thread that had to wait for its processor meanwhile is in somebody's way: then it pauses, where a low
 * priority would hold the lock of the address space for long. */
static int populate_politely(struct store *store)
{
    uint64_t wall_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    int status = store_populate(store, POPULATE_BYTES);
    wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
    cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    if (wall_ns > cpu_ns + cpu_ns / 8) {
        nanosleep(&(struct timespec){ .tv_nsec = POPULATE_PAUSE_NS }, NULL);
    }
    return status;
}

/* Fills the store's memory while the node already works, so that few ever meet an empty page. */
static void *populate(void *arg)
{
    struct daemon *daemon = arg;
    int status = 1;
    while (status > 0 && !atomic_load(&daemon->populate_stop)) {
        status = populate_politely(daemon->store);
    }
    if (status < 0) {
        log_warn("event=not_populated why=\"%s\"", error_text());
    } else if (status == 0) {
        log_info("event=populated bytes=%llu", (unsigned long long)daemon->store->segments[0].bytes);
    }
    return NULL;
}

static void start_populating(struct daemon *daemon)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    daemon->populates = daemon->options->populate &&
                        pthread_create(&daemon->populate_thread, NULL, populate, daemon) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ------------------------------------------------------------------ events of the process itself */

void daemon_stop(struct daemon *daemon, const char *why)
{
    if (!daemon->is_stopping) {
        log_info("event=stops why=\"%s\"", why);
        daemon->is_stopping = true;
        loop_stop(daemon->loop);
    }
}

static void on_signal(void *arg, int signal_number) { daemon_stop(arg, strsignal(signal_number)); }

static void on_lifeline(void *arg, unsigned events)
{
    struct daemon *daemon = arg;
    char byte;
    if ((events & LOOP_HANGUP) != 0 || read(daemon->options->lifeline_fd, &byte, 1) == 0) {
        daemon_stop(daemon, "whoever started it is gone");
    }
}

static void on_parent_end(void *arg, unsigned events)
{
    (void)events;
    daemon_stop(arg, "the process that it belongs to has ended");
}

static void on_core_timer(void *arg, uint64_t key)
{
    struct core_event event = { .kind = CORE_TICK, .u.timer.key = key };
    daemon_step(arg, &event);
}

/* The turn's end does what there is to do. */
static void on_scan_timer(void *arg)
{
    struct daemon *daemon = arg;
    daemon->scan_is_armed = false;
    daemon->scan_is_due = true;
}

/* ------------------------------------------------------------------ the folder */

static int write_node_file(const struct daemon *daemon)
{
    char path[256], wip[272], id[ID_TEXT_BYTES];
    snprintf(path, sizeof path, "%s/node.json", daemon->options->folder);
    snprintf(wip, sizeof wip, "%s.tmp", path);
    FILE *file = fopen(wip, "w");
    if (file == NULL) {
        return error_from_errno("%s", wip);
    }
    fprintf(file, "{\"head\":\"%s\",\"node\":\"%s\",\"pid\":%d,\"socket\":\"%s\"}\n",
            daemon->options->head_address == NULL ? "" : daemon->options->head_address, node_id_print(daemon->node, id),
            (int)getpid(), daemon->socket_path);
    if (fclose(file) != 0 || rename(wip, path) != 0) {
        return error_from_errno("%s", path);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about, (void)kind, (void)place;
    return remove(path);
}

/* Without what an agent left that was killed here. */
static int make_folders(const struct daemon *daemon)
{
    char path[256];
    snprintf(path, sizeof path, "%s/work", daemon->options->folder);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return mkdir(path, 0700) == 0 ? 0 : error_from_errno("%s", path);
}

static void clear_folder(const struct daemon *daemon)
{
    char path[256];
    if (!daemon->owns_folder) {
        return;
    }
    snprintf(path, sizeof path, "%s/node.json", daemon->options->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/work", daemon->options->folder);
    rmdir(path);
}

static void say_ready(const struct daemon *daemon)
{
    int fd = daemon->options->ready_fd;
    if (fd != ROOST_NONE) {
        dprintf(fd, "%s\n", daemon->socket_path);
        close(fd);
    }
}

/* ------------------------------------------------------------------ the whole */

static int start(struct daemon *daemon)
{
    const struct agent_options *options = daemon->options;
    spawn_raise_files_limit();
    daemon->node = node_id_from(id_random());
    if (options->node_name != NULL) {
        snprintf(daemon->node_name, sizeof daemon->node_name, "%s", options->node_name);
    } else {
        gethostname(daemon->node_name, sizeof daemon->node_name - 1);
    }
    int length = snprintf(daemon->socket_path, sizeof daemon->socket_path, "%s/agent.sock", options->folder);
    if (length >= (int)sizeof daemon->socket_path) {
        return error_set(ROOST_EINVAL, "the path of the socket in %s is longer than %zu bytes", options->folder,
                         sizeof daemon->socket_path - 1);
    }
    daemon->slots = calloc(CLIENTS_MAX, sizeof *daemon->slots);
    daemon->generations = calloc(CLIENTS_MAX, sizeof *daemon->generations);
    daemon->entry = aligned_alloc(64, CLIENT_MESSAGE_BYTES_MAX);
    if (daemon->slots == NULL || daemon->generations == NULL || daemon->entry == NULL) {
        return ROOST_ENOMEM;
    }
    int status = open_store(daemon); /* first: it may fork, and nothing else runs yet */
    if (status == 0) {
        status = make_node_page(daemon);
    }
    if (status == 0) {
        status = make_node_bells(daemon);
    }
    if (status == 0) {
        status = loop_create(&daemon->loop);
    }
    if (status == 0) {
        status = chores_create(daemon->loop, &daemon->removals);
    }
    if (status == 0) {
        status = chores_create(daemon->loop, &daemon->checks);
    }
    if (status == 0) {
        status = make_core(daemon);
    }
    if (status != 0) {
        return status;
    }
    loop_timer_init(&daemon->scan_timer, daemon->loop, on_scan_timer, daemon);
    loop_on_turn_end(daemon->loop, daemon_turn, daemon);
    status = alarms_create(daemon->loop, on_core_timer, daemon, &daemon->alarms);
    if (status == 0) {
        status = loop_on_stop_signal(daemon->loop, on_signal, daemon);
    }
    if (status == 0 && options->head_address != NULL) {
        status = network_open(&daemon->network, daemon, options->head_address);
    }
    if (status == 0 && options->lifeline_fd != ROOST_NONE) {
        status = loop_watch_start(daemon->loop, options->lifeline_fd, LOOP_READ, on_lifeline, daemon,
                                  &daemon->lifeline);
    }
    if (status == 0 && options->parent_fd != ROOST_NONE) {
        status = loop_watch_start(daemon->loop, options->parent_fd, LOOP_READ, on_parent_end, daemon, &daemon->parent);
    }
    if (status == 0) {
        status = guests_listen(daemon); /* which tells whether another agent lives here */
    }
    daemon->owns_folder = status == 0;
    if (status == 0) {
        status = make_folders(daemon);
    }
    return status == 0 ? write_node_file(daemon) : status;
}

static void stop_when_alone(void *arg)
{
    struct daemon *daemon = arg;
    if (list_is_empty(&daemon->processes)) {
        loop_stop(daemon->loop);
    }
}

/* Kills the workers and waits for their ends, so that nobody writes into the store any more. */
static void end_workers(struct daemon *daemon)
{
    if (!list_is_empty(&daemon->processes)) {
        processes_end(daemon);
        loop_on_turn_end(daemon->loop, stop_when_alone, daemon);
        loop_run(daemon->loop);
    }
    loop_on_turn_end(daemon->loop, NULL, NULL);
}

static void end(struct daemon *daemon)
{
    unix_listener_close(daemon->listener);
    if (daemon->loop != NULL) {
        end_workers(daemon);
        LIST_EACH_SAFE (at, &daemon->guests) {
            guest_destroy(CONTAINER_OF(at, struct guest, all));
        }
        chores_destroy(daemon->removals);
        chores_destroy(daemon->checks);
        loop_watch_close(daemon->lifeline);
        loop_watch_close(daemon->parent);
        alarms_destroy(daemon->alarms);
        network_close(daemon->network);
        loop_timer_disarm(&daemon->scan_timer);
        loop_destroy(daemon->loop);
        programs_fini(daemon); /* the end of a check may have come until here */
        network_destroy(daemon->network);
        nng_threads_end();
    }
    if (daemon->populates) {
        atomic_store(&daemon->populate_stop, true);
        pthread_join(daemon->populate_thread, NULL);
    }
    clear_folder(daemon);
    record_close(daemon->record, daemon->core != NULL ? agent_core.hash(daemon->core) : 0);
    agent_destroy(daemon->core);
    core_out_fini(&daemon->out);
    store_close(daemon->store);
    if (daemon->node_page != NULL) {
        munmap(daemon->node_page, sizeof *daemon->node_page);
    }
    if (daemon->node_page_ro >= 0) {
        close(daemon->node_page_ro);
    }
    if (daemon->node_bells != NULL) {
        munmap(daemon->node_bells, NODE_BELLS_BYTES);
    }
    if (daemon->node_bells_fd >= 0) {
        close(daemon->node_bells_fd);
    }
    free(daemon->done);
    free(daemon->slots);
    free(daemon->generations);
    free(daemon->entry);
}

/* What a burst of many records has used is for the next one to use, instead of being given back to the system, and taken
 * from it again page by page, each time: of 10,000 arguments that was a tenth of the time. A little of it alone stays for
 * good when it is not. */
static void keep_some_heap(void)
{
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, HEAP_KEPT_BYTES / 2);
}

int agent_run(const struct agent_options *options)
{
    static struct daemon daemon; /* one per process */
    daemon =
        (struct daemon){ .options = options, .node_page_ro = -1, .node_bells_fd = -1, .scan_pause_ns = TURN_LOOK_NS };
    list_init(&daemon.guests);
    list_init(&daemon.programs);
    list_init(&daemon.processes);
    keep_some_heap();
    int status = start(&daemon);
    if (status == 0) {
        log_info("event=started folder=%s store_bytes=%llu huge=%d cpus=%u", options->folder,
                 (unsigned long long)daemon.store->segments[0].bytes, daemon.store->segments[0].is_huge,
                 cpus_hundredths(options->cpus));
        start_populating(&daemon);
        say_ready(&daemon);
        loop_run(daemon.loop);
    }
    end(&daemon);
    return status;
}
