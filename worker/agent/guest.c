/* guest.c - client processes coming and going
 *
 * Owns the guests: the socket on which they say hello, the page of rings that each shares with the agent, and the watch
 * over each one's life.
 *
 * Happy path: connect -> hello -> page, table and segments handed over -> rings -> process ends -> rings read out ->
 *             gone.
 * Failures:   a hello that cannot be taken is answered with a status and a text, then the socket is closed. the socket
 *             closes, the process lives -> nothing: its rings and pins count until it is dead.
 * Invariant:  a slot is used again only with a new generation.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "guest"
#include "common/error.h"
#include "common/hash.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GUEST_FDS_MAX = CONNECT_WELCOME_FDS + 2 * STORE_SEGMENTS_MAX };

struct guest *guest_find(struct daemon *daemon, struct core_client key)
{
    struct guest *guest = key.slot < CLIENTS_MAX ? daemon->slots[key.slot] : NULL;
    return guest != NULL && guest->key.generation == key.generation ? guest : NULL;
}

void guest_kill(struct guest *guest)
{
    guest->is_condemned = true;
    guest->late_bytes = 0;
    if (guest->process != NULL && guest->process->spawn != NULL) {
        spawn_kill(guest->process->spawn, SIGKILL);
    }
    if (guest->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, guest->pidfd, SIGKILL, NULL, 0);
    }
}

void guest_destroy(struct guest *guest)
{
    if (guest == NULL) {
        return;
    }
    struct daemon *daemon = guest->daemon;
    if (guest->process != NULL) {
        guest->process->guest = NULL;
    }
    LIST_EACH_SAFE (at, &daemon->programs) {
        struct program *program = CONTAINER_OF(at, struct program, all);
        if (program->driver == guest) {
            program->driver = NULL;
            program_drop_if_unused(daemon, program);
        }
    }
    if (guest->connection != NULL) {
        unix_connection_set_arg(guest->connection, NULL);
        unix_connection_close(guest->connection);
    }
    loop_watch_close(guest->event_watch);
    loop_watch_close(guest->pid_watch);
    if (guest->event_fd >= 0) {
        close(guest->event_fd);
    }
    if (guest->pidfd >= 0) {
        close(guest->pidfd);
    }
    if (guest->lease_page != NULL) {
        munmap(guest->lease_page, lease_page_layout().bytes);
    }
    if (guest->lease_fd >= 0) {
        close(guest->lease_fd);
    }
    if (guest->page != NULL) {
        munmap(guest->page, guest->layout.bytes);
    }
    store_client_destroy(guest->store_client);
    if (guest_find(daemon, guest->key) == guest) {
        daemon->slots[guest->key.slot] = NULL;
    }
    list_remove(&guest->all);
    free(guest->late);
    free(guest);
}

/* ------------------------------------------------------------------ hello */

int shared_memory_create(const char *name, size_t bytes, int *fd_out, void **memory_out)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int status = error_from_errno("%s of %zu bytes", name, bytes);
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int status = error_from_errno("%s of %zu bytes", name, bytes);
        close(fd);
        return status;
    }
    *fd_out = fd;
    *memory_out = memory;
    return 0;
}

static int make_page(struct guest *guest, int *page_fd_out)
{
    void *page;
    guest->layout = client_page_layout();
    ROOST_TRY(shared_memory_create("roost-client", guest->layout.bytes, page_fd_out, &page));
    guest->page = page;
    guest->bell_page = &guest->daemon->node_bells[guest->key.slot];
    client_bells_format(guest->bell_page);
    client_page_format(page, guest->key.slot, guest->key.generation, guest->role);
    return 0;
}

static void attach_rings(struct guest *guest)
{
    unsigned char *page = guest->page;
    const struct client_page_layout *at = &guest->layout;
    int status = ring_consumer_attach(&guest->requests, page + at->requests, CLIENT_REQUEST_RING_BYTES) |
                 ring_producer_attach(&guest->replies, page + at->replies, CLIENT_REPLY_RING_BYTES) |
                 ring_producer_attach(&guest->taken, page + at->taken, CLIENT_SMALL_RING_BYTES) |
                 ring_consumer_attach(&guest->completes, page + at->completes, CLIENT_SMALL_RING_BYTES) |
                 task_ring_attach(&guest->submits, page + at->submits, CLIENT_TASK_SLOTS, TASK_TAKER_AGENT) |
                 task_ring_attach(&guest->tasks, page + at->tasks, WORKER_TASK_SLOTS, TASK_TAKER_AGENT);
    ROOST_INVARIANT(status == 0); /* formatted a moment ago, and handed to nobody yet */
}

static void on_bell(void *arg, unsigned events)
{
    (void)events;
    agent_bell_clear(((struct guest *)arg)->event_fd); /* the turn's end reads every ring */
}

static void on_process_end(void *arg, unsigned events)
{
    (void)events;
    struct guest *guest = arg;
    loop_watch_close(guest->pid_watch);
    guest->pid_watch = NULL;
    if (guest->process != NULL && guest->process->spawn != NULL) {
        spawn_kill(guest->process->spawn, SIGKILL); /* what ran it, or was run by it; its exit brings the status */
        return;
    }
    guest->is_dead = true;
}

static int take_slot(struct daemon *daemon, struct guest *guest)
{
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (daemon->slots[slot] == NULL) {
            guest->key = (struct core_client){ slot, ++daemon->generations[slot] };
            daemon->slots[slot] = guest;
            return 0;
        }
    }
    return error_set(ROOST_ELIMIT, "this agent has %d clients, and that is the most", CLIENTS_MAX);
}

/* A driver's job, out of the memfd that came along. */
static int take_program(struct daemon *daemon, struct guest *guest, int fd)
{
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0 || about.st_size < (off_t)sizeof(struct job_spec) ||
        about.st_size > JOB_BYTES_MAX) {
        return error_set(ROOST_EINVAL, "a driver without a job, or one larger than %d bytes", JOB_BYTES_MAX);
    }
    size_t size = (size_t)about.st_size;
    struct program *program = calloc(1, sizeof *program);
    struct job_spec *job = malloc(size);
    int status = 0;
    if (program == NULL || job == NULL) {
        status = ROOST_ENOMEM;
    } else if (pread(fd, job, size, 0) != (ssize_t)size) {
        status = error_from_errno("job");
    } else {
        status = job_check(job, size);
    }
    if (status != 0) {
        free(program);
        free(job);
        return status;
    }
    *program = (struct program){ .id = job_id_from(id_random()), .job = job, .driver = guest };
    list_append(&daemon->programs, &program->all);
    return 0;
}

static int take_worker(struct daemon *daemon, struct guest *guest, uint64_t token)
{
    struct process *process = process_find(daemon, token);
    if (process != NULL) {
        forker_adopt(process); /* it may be here before its forker has said that it made it */
    }
    if (process == NULL || process->guest != NULL || process->spawn == NULL) {
        return error_set(ROOST_EAUTH, "no worker was started under this token");
    }
    guest->process = process;
    process->guest = guest;
    return 0;
}

static void say_welcome(struct guest *guest, int status, int page_fd, int pins_fd)
{
    struct daemon *daemon = guest->daemon;
    struct connect_welcome welcome = { .kind = CONNECT_WELCOME,
                                       .layout = WIRE_LAYOUT,
                                       .status = status,
                                       .slot = guest->key.slot,
                                       .generation = guest->key.generation,
                                       .node = daemon->node,
                                       .agent_pid = getpid(),
                                       .page_bytes = guest->layout.bytes };
    strcpy(welcome.node_name, daemon->node_name);
    if (status != 0) {
        snprintf(welcome.text, sizeof welcome.text, "%.*s", (int)sizeof welcome.text - 1, error_text());
        unix_connection_send(guest->connection, &welcome, sizeof welcome, NULL, 0);
        return;
    }
    welcome.prefix = agent_client_prefix(daemon->core, guest->key);
    struct program *program = guest->process != NULL ? guest->process->program
                                                     : CONTAINER_OF(daemon->programs.previous, struct program, all);
    welcome.job = program->id;
    struct store_fds fds;
    store_fds(daemon->store, &fds);
    welcome.table_bytes = fds.table_bytes;
    welcome.segments = fds.segments_count;
    int list[GUEST_FDS_MAX] = { page_fd, guest->event_fd, daemon->node_page_ro,
                                pins_fd, fds.table,       daemon->node_bells_fd };
    size_t count = CONNECT_WELCOME_FDS;
    for (uint32_t i = 0; i < fds.segments_count; i++) {
        welcome.segment_bytes[i] = fds.segments[i].bytes;
        welcome.segment_is_huge[i] = daemon->store->segments[i].is_huge;
        list[count++] = fds.segments[i].rw;
        list[count++] = fds.segments[i].ro;
    }
    unix_connection_send(guest->connection, &welcome, sizeof welcome, list, count);
}

static void tell_core(struct guest *guest)
{
    struct daemon *daemon = guest->daemon;
    struct core_event event = { .kind = CORE_CLIENT_UP, .u.client = { .client = guest->key, .pid = guest->pid } };
    if (guest->process != NULL) {
        event.u.client.token = guest->process->token;
    } else {
        const struct program *program = CONTAINER_OF(daemon->programs.previous, struct program, all);
        event.u.client.job = job_id_key(program->id);
        event.u.client.data = program->job;
        event.u.client.bytes = program->job->bytes;
    }
    daemon_step(daemon, &event);
}

static int watch_life(struct guest *guest)
{
    guest->pidfd = fcntl(unix_connection_pidfd(guest->connection), F_DUPFD_CLOEXEC, 0);
    if (guest->pidfd < 0) {
        return error_from_errno("pidfd of %lld", (long long)guest->pid);
    }
    int status = agent_bell_open_event(&guest->event_fd);
    if (status == 0) {
        status = loop_watch_start(guest->daemon->loop, guest->event_fd, LOOP_READ, on_bell, guest, &guest->event_watch);
    }
    return status != 0 ? status
                       : loop_watch_start(guest->daemon->loop, guest->pidfd, LOOP_READ, on_process_end, guest,
                                          &guest->pid_watch);
}

/* Everything that a greeted guest has; on failure guest_destroy() takes what is there. */
static int prepare(struct guest *guest, const struct connect_hello *words, int job_fd, int *page_fd, int *pins_fd)
{
    struct daemon *daemon = guest->daemon;
    if (words->layout != WIRE_LAYOUT) {
        return error_set(ROOST_EVERSION, "the library speaks layout %u, this agent %d", words->layout, WIRE_LAYOUT);
    }
    int status = take_slot(daemon, guest);
    if (status == 0) {
        status = store_client_create(daemon->store, &guest->store_client);
    }
    if (status == 0) {
        status = store_client_grow(guest->store_client, pins_fd);
    }
    if (status == 0) {
        status = make_page(guest, page_fd);
    }
    if (status == 0) {
        attach_rings(guest);
        status = watch_life(guest);
    }
    if (status == 0) {
        status = guest->role == CLIENT_WORKER ? take_worker(daemon, guest, words->token)
                                              : take_program(daemon, guest, job_fd);
    }
    return status;
}

/* A worker may have been killed while it came: its words are heard after its end, and nobody minds. */
static void say_refused(const struct guest *guest, int status)
{
    char text[ERROR_TEXT_BYTES + 2];
    struct pollfd life = { unix_connection_pidfd(guest->connection), POLLIN, 0 };
    enum log_level level = poll(&life, 1, 0) == 1 ? LOG_DEBUG : LOG_WARN;
    if (log_is_wanted(LOG_TOPIC, level)) {
        log_write(LOG_TOPIC, level, "event=refused pid=%lld status=%s why=%s", (long long)guest->pid,
                  error_code_name(status), log_quote(error_text(), text, sizeof text));
    }
}

static void hello(struct guest *guest, const struct connect_hello *words, struct unix_message *message)
{
    int page_fd = -1, pins_fd = -1;
    guest->role = words->role == CLIENT_WORKER ? CLIENT_WORKER : CLIENT_DRIVER;
    guest->pid = unix_connection_peer(guest->connection).pid;
    int status = prepare(guest, words, message->fds_count > 0 ? message->fds[0] : -1, &page_fd, &pins_fd);
    if (status != 0) {
        say_refused(guest, status);
    }
    say_welcome(guest, status, page_fd, pins_fd);
    if (page_fd >= 0) {
        close(page_fd);
    }
    if (pins_fd >= 0) {
        close(pins_fd);
    }
    if (status != 0) {
        guest_destroy(guest);
        return;
    }
    log_debug("event=connected pid=%lld role=%s slot=%u", (long long)guest->pid,
              guest->role == CLIENT_WORKER ? "worker" : "driver", guest->key.slot);
    list_append(&guest->daemon->guests, &guest->all);
    tell_core(guest);
}

static void more_pins(struct guest *guest, uint32_t page)
{
    int fd = -1;
    struct connect_pins_given given = { .kind = CONNECT_PINS_GIVEN, .page = page };
    given.status = store_client_grow(guest->store_client, &fd);
    unix_connection_send(guest->connection, &given, sizeof given, &fd, given.status == 0);
    if (fd >= 0) {
        close(fd);
    }
}

/* Of a worker, its own; of anybody, that of a lease that it holds. */
static struct guest *lease_worker(struct guest *guest, uint64_t number)
{
    if (number == 0) {
        return guest->role == CLIENT_WORKER ? guest : NULL;
    }
    LIST_EACH (at, &guest->daemon->guests) {
        struct guest *worker = CONTAINER_OF(at, struct guest, all);
        if (worker->lease_page != NULL &&
            atomic_load_explicit(&worker->lease_page->lease, memory_order_relaxed) == number &&
            worker->lease_holder.slot == guest->key.slot && worker->lease_holder.generation == guest->key.generation) {
            return worker;
        }
    }
    return NULL;
}

static void give_lease(struct guest *guest, uint64_t number)
{
    struct connect_lease_given given = { .kind = CONNECT_LEASE_GIVEN, .status = ROOST_ENOENT, .lease = number };
    struct guest *worker = lease_worker(guest, number);
    if (worker != NULL) {
        void *memory = worker->lease_page;
        given.status = memory != NULL
                           ? 0
                           : shared_memory_create("roost-lease", lease_page_layout().bytes, &worker->lease_fd, &memory);
        worker->lease_page = memory;
    }
    unix_connection_send(guest->connection, &given, sizeof given, worker != NULL ? &worker->lease_fd : NULL,
                         given.status == 0);
}

/* ------------------------------------------------------------------ the socket */

static void on_open(struct unix_connection *connection, void *arg)
{
    struct guest *guest = calloc(1, sizeof *guest);
    unix_connection_set_arg(connection, guest);
    if (guest == NULL) {
        unix_connection_close(connection);
        return;
    }
    *guest = (struct guest){ .daemon = arg, .connection = connection, .event_fd = -1, .pidfd = -1, .lease_fd = -1 };
    list_init(&guest->all);
}

static void on_message(struct unix_connection *connection, void *arg, const void *data, struct unix_message *message)
{
    struct guest *guest = arg;
    uint32_t kind = 0;
    if (message->size >= sizeof kind) {
        memcpy(&kind, data, sizeof kind);
    }
    if (guest->page == NULL && kind == CONNECT_HELLO && message->size == sizeof(struct connect_hello)) {
        hello(guest, data, message);
    } else if (guest->page != NULL && kind == CONNECT_PINS && message->size == sizeof(struct connect_pins)) {
        more_pins(guest, ((const struct connect_pins *)data)->page);
    } else if (guest->page != NULL && kind == CONNECT_LEASE && message->size == sizeof(struct connect_lease)) {
        give_lease(guest, ((const struct connect_lease *)data)->lease);
    } else {
        log_error("event=bad_message pid=%lld kind=%u bytes=%zu", (long long)unix_connection_peer(connection).pid, kind,
                  message->size);
        unix_connection_close(connection);
    }
}

/* Says nothing about the process: a forked child may hold the socket, or the process may have closed it early. */
static void on_closed(struct unix_connection *connection, void *arg, int status)
{
    (void)connection, (void)status;
    struct guest *guest = arg;
    if (guest == NULL) {
        return;
    }
    guest->connection = NULL;
    if (guest->page == NULL) {
        guest_destroy(guest);
    }
}

int guests_listen(struct daemon *daemon)
{
    static const struct unix_handler handler = { on_open, on_message, on_closed };
    return unix_listen(daemon->loop, daemon->socket_path, CLIENTS_MAX, &handler, daemon, &daemon->listener);
}
