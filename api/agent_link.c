/* agent_link.c - meeting the agent: connect, map, one thread, and the end of it
 *
 *     connect -> hello (a driver brings its job) -> welcome with descriptors -> page, pins, store mapped
 *     -> rings attached -> the library's thread runs -> ... -> close
 *
 * Failures:   nobody there, another version, a refusal -> the status with the agent's words; everything is undone.
 *             the agent dies -> whoever looks next (each waiter looks once a second, the library's thread too) loses
 *             the link.
 * Invariants: the socket carries requests for memory alone, pages of pins and of leases, one at a time.
 * Thread:     open and close: one. The library's thread has all signals blocked and owns nothing.
 */
#define LOG_TOPIC "link"
#include "api/agent_link.h"
#include "common/bytes.h"
#include "common/job.h"
#include "common/log.h"
#include "common/unix_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREAD_STACK_BYTES = 256 << 10 };

/* ---- mapping ---- */

static void *map_shared(int fd, size_t bytes, int protection, const char *what)
{
    void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        error_from_errno("mapping %s", what);
        return NULL;
    }
    madvise(memory, bytes, MADV_DONTFORK);
    madvise(memory, bytes, MADV_DONTDUMP);
    return memory;
}

/* Page 0 came with the welcome; the others the agent makes when they are asked for. Under the pins' lock. */
static int grow_pins(void *context, uint32_t page, struct pins_page **page_out)
{
    struct agent_link *link = context;
    if (page == 0) {
        *page_out = link->pins_first;
        return 0;
    }
    const struct connect_pins request = { CONNECT_PINS, page };
    struct connect_pins_given given;
    struct unix_message message;
    pthread_mutex_lock(&link->socket_lock);
    int status = unix_message_send(link->socket, &request, sizeof request, NULL, 0);
    if (status == 0) {
        status = unix_message_receive(link->socket, LINK_ANSWER_MS, &given, sizeof given, &message);
    }
    pthread_mutex_unlock(&link->socket_lock);
    if (status != 0) {
        return error_prefix(status, "asking for page %u of pins", page);
    }
    if (message.size != sizeof given || given.kind != CONNECT_PINS_GIVEN || given.page != page || given.status != 0 ||
        message.fds_count != 1) {
        unix_message_close(&message);
        return error_set(message.size == sizeof given && given.status < 0 ? given.status : ROOST_ELIMIT,
                         "the agent gave no page %u of pins: too many views at once", page);
    }
    *page_out = map_shared(message.fds[0], pins_page_bytes(page), PROT_READ | PROT_WRITE, "a page of pins");
    unix_message_close(&message);
    return *page_out != NULL ? 0 : ROOST_EIO;
}

int link_lease_map(struct agent_link *link, uint64_t number, struct lease_page_head **page_out)
{
    const struct connect_lease request = { .kind = CONNECT_LEASE, .lease = number };
    struct connect_lease_given given;
    struct unix_message message;
    pthread_mutex_lock(&link->socket_lock);
    int status = unix_message_send(link->socket, &request, sizeof request, NULL, 0);
    if (status == 0) {
        status = unix_message_receive(link->socket, LINK_ANSWER_MS, &given, sizeof given, &message);
    }
    pthread_mutex_unlock(&link->socket_lock);
    if (status != 0) {
        return error_prefix(status, "asking for the memory of a lease");
    }
    bool is_given = message.size == sizeof given && given.kind == CONNECT_LEASE_GIVEN && given.lease == number &&
                    given.status == 0 && message.fds_count == 1;
    void *memory = is_given ? map_shared(message.fds[0], lease_page_layout().bytes, PROT_READ | PROT_WRITE,
                                         "the memory of a lease")
                            : NULL;
    unix_message_close(&message);
    if (!is_given) {
        return error_set(ROOST_ENOENT, "the agent gave no memory of lease %llu", (unsigned long long)number);
    }
    *page_out = memory;
    return memory != NULL ? 0 : ROOST_EIO;
}

static void end_pins_thread(void *thread) { pins_thread_close(thread); }

struct pins_thread *link_pins(struct agent_link *link)
{
    struct pins_thread *thread = pthread_getspecific(link->pins_key);
    if (thread == NULL && pins_thread_start(&link->pins, &thread) == 0 &&
        pthread_setspecific(link->pins_key, thread) != 0) {
        pins_thread_close(thread);
        thread = NULL;
    }
    if (thread == NULL) {
        error_set(ROOST_ENOMEM, "no memory for this thread's pins");
    }
    return thread;
}

/* ---- the first words ---- */

static int job_memfd(const struct job_spec *job, int *fd_out)
{
    int fd = memfd_create("roost-job", MFD_CLOEXEC);
    if (fd < 0) {
        return error_from_errno("memfd_create");
    }
    ssize_t written = pwrite(fd, job, job->bytes, 0);
    if (written != (ssize_t)job->bytes) {
        int status = error_from_errno("writing the job");
        close(fd);
        return status;
    }
    *fd_out = fd;
    return 0;
}

static int send_hello(int socket, const struct link_request *request)
{
    const struct connect_hello hello = {
        .kind = CONNECT_HELLO, .layout = WIRE_LAYOUT, .role = request->role, .token = request->token
    };
    int fd = -1;
    int status = request->job != NULL ? job_memfd(request->job, &fd) : 0;
    if (status == 0) {
        status = unix_message_send(socket, &hello, sizeof hello, &fd, fd >= 0 ? 1 : 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

static int check_welcome(struct connect_welcome *welcome, const struct unix_message *message)
{
    welcome->text[sizeof welcome->text - 1] = '\0';
    welcome->node_name[sizeof welcome->node_name - 1] = '\0';
    if (message->size != sizeof *welcome || welcome->kind != CONNECT_WELCOME) {
        return error_set(ROOST_EVERSION, "the agent's welcome has %zu bytes, wanted %zu", message->size,
                         sizeof *welcome);
    }
    if (welcome->layout != WIRE_LAYOUT) {
        return error_set(ROOST_EVERSION, "the agent speaks layout %u, this library %d", welcome->layout, WIRE_LAYOUT);
    }
    if (welcome->status != 0) {
        return error_set(welcome->status < 0 ? welcome->status : ROOST_ECONNECT, "the agent refused: %s",
                         welcome->text[0] != '\0' ? welcome->text : error_name(welcome->status));
    }
    if (welcome->segments == 0 || welcome->segments > STORE_SEGMENTS_MAX ||
        message->fds_count != CONNECT_WELCOME_FDS + 2 * (size_t)welcome->segments) {
        return error_set(ROOST_EVERSION, "the agent's welcome has %zu descriptors for %u segments", message->fds_count,
                         welcome->segments);
    }
    return 0;
}

static int map_page(struct agent_link *link, const struct connect_welcome *welcome, const int *fds)
{
    if (welcome->page_bytes != client_page_layout().bytes) {
        return error_set(ROOST_EVERSION, "the page shared with the agent has %llu bytes, wanted %zu",
                         (unsigned long long)welcome->page_bytes, client_page_layout().bytes);
    }
    link->page_bytes = welcome->page_bytes;
    link->page = map_shared(fds[0], link->page_bytes, PROT_READ | PROT_WRITE, "the page shared with the agent");
    link->node_page = map_shared(fds[2], sizeof *link->node_page, PROT_READ, "the node's page");
    link->node_bells = map_shared(fds[5], NODE_BELLS_BYTES, PROT_READ | PROT_WRITE, "the node's bells");
    if (link->page == NULL || link->node_page == NULL || link->node_bells == NULL) {
        return ROOST_EIO;
    }
    if (welcome->slot >= CLIENTS_MAX) {
        return error_set(ROOST_EVERSION, "the agent's welcome gives slot %u, this library knows %d", welcome->slot,
                         CLIENTS_MAX);
    }
    link->bells = &link->node_bells[welcome->slot];
    if (link->node_page->magic != NODE_PAGE_MAGIC || link->node_page->layout != NODE_PAGE_LAYOUT) {
        return error_set(ROOST_EVERSION, "the node's page has layout %u, this library knows %d",
                         link->node_page->layout, NODE_PAGE_LAYOUT);
    }
    return client_page_check(link->page, link->page_bytes);
}

static int map_store(struct agent_link *link, const struct connect_welcome *welcome, const int *fds)
{
    struct store_fds store = { .table = fds[4],
                               .segments_count = welcome->segments,
                               .table_bytes = welcome->table_bytes };
    for (uint32_t i = 0; i < welcome->segments; i++) {
        store.segments[i] = (struct store_segment_fds){ fds[CONNECT_WELCOME_FDS + 2 * i],
                                                        fds[CONNECT_WELCOME_FDS + 2 * i + 1],
                                                        welcome->segment_bytes[i] };
    }
    link->pins_first = map_shared(fds[3], pins_page_bytes(0), PROT_READ | PROT_WRITE, "a page of pins");
    if (link->pins_first == NULL) {
        return ROOST_EIO;
    }
    int status = pins_init(&link->pins, grow_pins, link);
    if (status != 0) {
        return error_set(status, "no memory for pins");
    }
    link->has_pins = true;
    link->has_pins_key = pthread_key_create(&link->pins_key, end_pins_thread) == 0;
    if (!link->has_pins_key) {
        return error_set(ROOST_ENOMEM, "no thread-local key is left");
    }
    return store_map_open(&link->map, &store, &link->pins);
}

static int attach_rings(struct agent_link *link, const struct connect_welcome *welcome)
{
    const struct client_page_layout layout = client_page_layout();
    unsigned char *base = link->page;
    uint32_t taker = welcome->slot + 1;
    ROOST_TRY(ring_producer_attach(&link->requests, base + layout.requests, CLIENT_REQUEST_RING_BYTES));
    ROOST_TRY(ring_producer_attach(&link->completes, base + layout.completes, CLIENT_SMALL_RING_BYTES));
    ROOST_TRY(ring_consumer_attach(&link->replies, base + layout.replies, CLIENT_REPLY_RING_BYTES));
    ROOST_TRY(ring_consumer_attach(&link->taken, base + layout.taken, CLIENT_SMALL_RING_BYTES));
    ROOST_TRY(task_ring_attach(&link->submits, base + layout.submits, CLIENT_TASK_SLOTS, taker));
    return task_ring_attach(&link->tasks, base + layout.tasks, WORKER_TASK_SLOTS, taker);
}

static int set_up(struct agent_link *link, const struct connect_welcome *welcome, struct unix_message *message)
{
    struct roost *rt = link->rt;
    ROOST_TRY(map_page(link, welcome, message->fds));
    ROOST_TRY(map_store(link, welcome, message->fds));
    ROOST_TRY(attach_rings(link, welcome));
    link->event_fd = message->fds[1];
    message->fds[1] = -1;
    agent_bell_ringer_init(&link->ringer, &link->node_page->bell, link->event_fd);
    if (link->node_page->wake_ns > 0) {
        waiter_set_wake_ns(link->node_page->wake_ns);
    }
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        waiter_init(&link->waiters[i], link_bell(link, i));
    }
    const struct client_core_setup setup = { welcome->prefix, task_id_from(job_id_key(welcome->job)) };
    link->entry = aligned_alloc(64, CLIENT_MESSAGE_BYTES_MAX);
    if (link->entry == NULL || client_core_create(&setup, &link->core) != 0 ||
        core_out_init(&link->out, CLIENT_OUT_BYTES_MAX) != 0) {
        return error_set(ROOST_ENOMEM, "no memory for a connection");
    }
    link->prefix = welcome->prefix;
    link->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)welcome->agent_pid, 0);
    rt->node = welcome->node;
    rt->job = welcome->job;
    memcpy(rt->node_name, welcome->node_name, sizeof rt->node_name);
    return 0;
}

static int meet(struct agent_link *link, const struct link_request *request)
{
    struct connect_welcome welcome = { .kind = 0 };
    struct unix_message message;
    uint64_t deadline = client_deadline(request->timeout_ms);
    unsigned timeout_ms = request->timeout_ms < 0 ? INT32_MAX : (unsigned)request->timeout_ms;
    ROOST_TRY(unix_client_connect(request->socket_path, timeout_ms, &link->socket));
    int status = send_hello(link->socket, request);
    if (status == 0) {
        int left_ms = client_time_left(deadline);
        status = unix_message_receive(link->socket, left_ms == 0 ? 1 : left_ms, &welcome, sizeof welcome, &message);
    }
    if (status != 0) {
        return error_prefix(status == ROOST_EDISCONNECTED || status == ROOST_ETIMEDOUT ? ROOST_ECONNECT : status,
                            "waiting for the agent's welcome at %s", request->socket_path);
    }
    status = check_welcome(&welcome, &message);
    if (status == 0) {
        status = set_up(link, &welcome, &message);
    }
    unix_message_close(&message);
    return status;
}

/* ---- the library's thread ---- */

/* Nothing to take in and nothing to say: after arming the bell, the second look. */
static bool may_sleep(struct agent_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool is_idle = leases_are_empty(link) && ring_is_empty(&link->replies) && ring_is_empty(&link->taken) &&
                   list_is_empty(&link->outputs);
    pthread_mutex_unlock(&link->lock);
    return is_idle && !atomic_load_explicit(&link->is_closing, memory_order_acquire);
}

static void *library_thread(void *arg)
{
    struct agent_link *link = arg;
    struct doorbell *bell = link_bell(link, CLIENT_BELL_LIBRARY);
    bool was_rung = false;
    while (!atomic_load_explicit(&link->is_closing, memory_order_acquire)) {
        pthread_mutex_lock(&link->lock);
        link_drain_locked(link);
        link_flush_locked(link);
        pthread_mutex_unlock(&link->lock);
        link_print_outputs(link);
        if (!was_rung) { /* who is rung has a living agent; a dead one shows when a sleep runs out */
            link_check_peer(link);
        }
        if (link->role == CLIENT_WORKER && atomic_load_explicit(&link->gone, memory_order_acquire) != 0) {
            _exit(0); /* nobody wants what runs here any more, and it may never look */
        }
        uint64_t pause_ns = leases_work(link);
        doorbell_arm(bell);
        if (may_sleep(link)) {
            was_rung = doorbell_sleep(bell, pause_ns);
        } else {
            doorbell_disarm(bell);
        }
    }
    return NULL;
}

static int start_thread(struct agent_link *link)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&link->thread, &attributes, library_thread, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    link->has_thread = failed == 0;
    return failed == 0 ? 0 : error_set(ROOST_EIO, "pthread_create: %s", strerror(failed));
}

void link_check_peer(struct agent_link *link)
{
    struct pollfd fds[2] = { { link->socket, POLLRDHUP, 0 }, { link->pidfd, POLLIN, 0 } };
    if (poll(fds, link->pidfd >= 0 ? 2 : 1, 0) <= 0) {
        return;
    }
    pthread_mutex_lock(&link->lock);
    link_drain_locked(link); /* what it still said, first: perhaps why */
    link_lose_locked(link, ROOST_EDISCONNECTED, "the agent of this machine is gone");
    pthread_mutex_unlock(&link->lock);
}

/* ---- open, close ---- */

int link_open(struct roost *rt, const struct link_request *request)
{
    struct agent_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a connection");
    }
    link->rt = rt;
    link->role = request->role;
    link->socket = link->pidfd = link->event_fd = link->cluster_fd = -1;
    link->bells_taken = UINT64_C(1) << CLIENT_DOORBELLS | UINT64_C(1) << CLIENT_BELL_LIBRARY |
                        UINT64_C(1) << CLIENT_BELL_TASKS;
    pthread_mutex_init(&link->lock, NULL);
    pthread_mutex_init(&link->socket_lock, NULL);
    pthread_mutex_init(&link->slab_lock, NULL);
    list_init(&link->outputs);
    list_init(&link->watches);
    list_init(&link->leases);
    list_init(&link->leases_closed);
    list_init(&link->own_waits);
    link->lead = CLIENT_LEAD_NONE;
    rt->agent = link;
    int status = meet(link, request);
    if (status == 0 && request->role == CLIENT_WORKER) {
        status = link_lease_map(link, 0, &link->lease_page);
    }
    if (status == 0) {
        status = start_thread(link);
    }
    if (status != 0) {
        rt->agent = NULL;
        link_close(link);
        return status;
    }
    log_debug("event=connected socket=%s node=%s", request->socket_path, rt->node_name);
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void unmap_pins(struct agent_link *link)
{
    struct pins_page *pages[PINS_PAGES_MAX] = { NULL };
    uint32_t count = link->pins.pages_count;
    memcpy(pages, link->pins.pages, count * sizeof pages[0]);
    pins_fini(&link->pins);
    for (uint32_t i = 1; i < count; i++) { /* page 0 was mapped with the welcome, whether it was used or not */
        munmap(pages[i], pins_page_bytes(i));
    }
}

/* Results of leased calls come past the agent, so what their workers have printed before may still lie in a pipe. In
 * the turn in which the agent answers the first question it reads every pipe; what it read comes before the second
 * answer. */
static void await_last_words(struct agent_link *link)
{
    int status = link_gone(link);
    for (int i = 0; i < 2 && status == 0; i++) {
        struct agent_ask ask = { .ask = { .kind = WIRE_NODES } };
        status = link_ask(link, &ask, LINK_LAST_WORDS_MS);
        link_ask_fini(&ask);
    }
}

void link_close(struct agent_link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->has_thread) {
        if (link->role == CLIENT_DRIVER) {
            await_last_words(link);
        }
        atomic_store_explicit(&link->is_closing, true, memory_order_release);
        doorbell_ring_always(link_bell(link, CLIENT_BELL_LIBRARY));
        pthread_join(link->thread, NULL);
        link_print_outputs(link);
    }
    if (link->socket >= 0) {
        shutdown(link->socket, SHUT_RDWR); /* also for a forked child that still has it */
    }
    agent_watches_free(link);
    store_map_close(&link->map);
    if (link->has_pins_key) {
        pthread_key_delete(link->pins_key);
    }
    if (link->has_pins) {
        unmap_pins(link);
    }
    if (link->pins_first != NULL) {
        munmap(link->pins_first, pins_page_bytes(0));
    }
    leases_fini(link);
    client_core_destroy(link->core);
    leases_free(link);
    copies_fini(&link->copies);
    core_out_fini(&link->out);
    free(link->entry);
    if (link->page != NULL) {
        munmap(link->page, link->page_bytes);
    }
    if (link->lease_page != NULL) {
        munmap(link->lease_page, lease_page_layout().bytes);
    }
    if (link->node_bells != NULL) {
        munmap(link->node_bells, NODE_BELLS_BYTES);
    }
    if (link->node_page != NULL) {
        munmap((void *)(uintptr_t)link->node_page, sizeof *link->node_page);
    }
    close_fd(link->socket);
    close_fd(link->pidfd);
    close_fd(link->event_fd);
    agent_stop(link->cluster_fd, link->cluster_pid);
    pthread_mutex_destroy(&link->lock);
    pthread_mutex_destroy(&link->socket_lock);
    pthread_mutex_destroy(&link->slab_lock);
    free(link);
}
