/* fake_agent.c - the other side of libroost's rings, in a thread of the test
 *
 * Owns the agent: a store (one segment, its table, its extents), what lives in it, and its clients' pages. One thread: wait for
 * a bell, a connection or the test; drain every client; answer what can be answered; give out calls; forget what nobody
 * names. The test's own calls take the same lock. What lives in the store is fake_objects.c's, who waits is fake_waits.c's, calls
 * are fake_calls.c's; entries come in by fake_requests.c, clients by fake_clients.c. */
#include "common/unix_client.h"
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t fake_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the thread ---- */

static bool work(struct fake_agent *agent)
{
    bool any = false;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].page != NULL) {
            any |= fake_client_drain(agent, i);
        }
    }
    fake_calls_give_out(agent);
    fake_waits_answer(agent);
    any |= fake_objects_forget(agent);
    fake_rooms_answer(agent);
    pthread_cond_broadcast(&agent->changed);
    return any;
}

static void *agent_thread(void *arg)
{
    struct fake_agent *agent = arg;
    struct pollfd fds[2 + 2 * CLIENTS];
    pthread_mutex_lock(&agent->lock);
    while (!agent->is_stopping) {
        while (work(agent)) {
        }
        agent_bell_asleep(&agent->node_page->bell);
        bool any = work(agent);
        fds[0] = (struct pollfd){ agent->listener, POLLIN, 0 };
        fds[1] = (struct pollfd){ agent->wake_fd, POLLIN, 0 };
        for (int i = 0; i < CLIENTS; i++) {
            bool is_used = agent->clients[i].is_used;
            fds[2 + 2 * i] = (struct pollfd){ is_used ? agent->clients[i].socket : -1, POLLIN, 0 };
            fds[3 + 2 * i] = (struct pollfd){ is_used ? agent->clients[i].event_fd : -1, POLLIN, 0 };
        }
        int timeout_ms = any ? 0 : list_is_empty(&agent->rooms) && list_is_empty(&agent->retired) ? 1000 : 20;
        pthread_mutex_unlock(&agent->lock);
        poll(fds, 2 + 2 * CLIENTS, timeout_ms);
        pthread_mutex_lock(&agent->lock);
        agent_bell_awake(&agent->node_page->bell);
        agent_bell_clear(agent->wake_fd);
        if ((fds[0].revents & POLLIN) != 0) {
            fake_connection_take(agent);
        }
        for (uint32_t i = 0; i < CLIENTS; i++) {
            if (agent->clients[i].is_used && fds[3 + 2 * i].revents != 0) {
                agent_bell_clear(agent->clients[i].event_fd);
            }
            if (agent->clients[i].is_used && fds[2 + 2 * i].revents != 0) {
                fake_client_hear(agent, i);
            }
        }
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}

/* ---- the test's side ---- */

struct fake_agent *fake_agent_new(uint64_t store_bytes)
{
    struct fake_agent *agent = calloc(1, sizeof *agent);
    struct list_node *lists[] = { &agent->objects, &agent->retired, &agent->slabs,
                                  &agent->waits,   &agent->rooms,   &agent->calls };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(agent->folder, sizeof agent->folder, "%.32s/roost-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(agent->folder) != NULL);
    snprintf(agent->node_folder, sizeof agent->node_folder, "%s/node", agent->folder);
    CHECK_EQ(mkdir(agent->node_folder, 0700), 0);
    snprintf(agent->path, sizeof agent->path, "%s/agent.sock", agent->node_folder);
    struct sockaddr_un address;
    CHECK_EQ(unix_address_of(agent->path, &address), 0);
    agent->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(agent->listener, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(agent->listener, CLIENTS), 0);
    CHECK_EQ(agent_bell_open_event(&agent->wake_fd), 0);
    void *memory;
    agent->store_bytes = store_bytes;
    agent->segment_fd = fake_memory_fd("segment", store_bytes, &memory);
    agent->segment = memory;
    agent->table_fd = fake_memory_fd("table", table_bytes(TABLE_ENTRIES), &memory);
    table_format(&agent->table, memory, TABLE_ENTRIES);
    agent->node_fd = fake_memory_fd("node", sizeof *agent->node_page, &memory);
    agent->node_page = memory;
    agent->node_page->magic = NODE_PAGE_MAGIC;
    agent->node_page->layout = NODE_PAGE_LAYOUT;
    agent->bells_fd = fake_memory_fd("bells", NODE_BELLS_BYTES, &memory);
    agent->node_bells = memory;
    CHECK_EQ(extent_init(&agent->extents, store_bytes), 0);
    agent->node = node_id_from(id_random());
    agent->job = job_id_from(id_random());
    pthread_mutex_init(&agent->lock, NULL);
    pthread_cond_init(&agent->changed, NULL);
    return agent;
}

const char *fake_agent_path(const struct fake_agent *agent) { return agent->path; }
const char *fake_agent_folder(const struct fake_agent *agent) { return agent->folder; }

void fake_agent_fork_workers(struct fake_agent *agent, int count)
{
    for (int i = 0; i < count; i++) {
        fflush(NULL);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char token[32];
            struct roost *rt;
            snprintf(token, sizeof token, "%d", TOKEN);
            close(agent->listener);
            setenv("ROOST_WORKER", token, 1);
            setenv("ROOST_AGENT", agent->path, 1);
            int status = roost_open(&rt, NULL);
            if (status == ROOST_ECONNECT) {
                _exit(0); /* the test was over before this worker had begun */
            }
            fprintf(stderr, "worker: roost_open returned %d: %s\n", status, roost_last_error());
            _exit(99);
        }
        agent->workers[agent->workers_count++] = child;
    }
}

void fake_agent_start(struct fake_agent *agent)
{
    agent->has_thread = true;
    CHECK_EQ(pthread_create(&agent->thread, NULL, agent_thread, agent), 0);
}

void fake_agent_die(struct fake_agent *agent)
{
    if (!agent->has_thread) {
        return;
    }
    pthread_mutex_lock(&agent->lock);
    agent->is_stopping = true;
    pthread_mutex_unlock(&agent->lock);
    eventfd_write(agent->wake_fd, 1);
    pthread_join(agent->thread, NULL);
    agent->has_thread = false;
    for (int i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].is_used) {
            shutdown(agent->clients[i].socket, SHUT_RDWR);
        }
    }
    close(agent->listener);
}

static void free_all(struct fake_agent *agent)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].is_used) {
            fake_client_forget(agent, i); /* which may still complete its call */
            struct call *call = agent->clients[i].call;
            if (call != NULL) {
                list_append(&agent->calls, &call->node);
            }
        }
    }
    LIST_EACH_SAFE (at, &agent->calls) {
        struct call *call = CONTAINER_OF(at, struct call, node);
        LIST_EACH_SAFE (result_at, &call->results) {
            struct object *given = CONTAINER_OF(result_at, struct object, node);
            free(given->refs);
            free(given);
        }
        fake_call_free(agent, call);
    }
    LIST_EACH_SAFE (at, &agent->waits) {
        free(CONTAINER_OF(at, struct wait, node)->refs);
        free(CONTAINER_OF(at, struct wait, node));
    }
    LIST_EACH_SAFE (at, &agent->rooms) {
        free(CONTAINER_OF(at, struct room_wait, node));
    }
    LIST_EACH (at, &agent->objects) {
        CONTAINER_OF(at, struct object, node)->kept = 0;
        LIST_EACH_SAFE (holder_at, &CONTAINER_OF(at, struct object, node)->holders) {
            list_remove(holder_at);
            free(CONTAINER_OF(holder_at, struct holder, node));
        }
    }
    while (!list_is_empty(&agent->objects)) {
        struct object *object = CONTAINER_OF(agent->objects.next, struct object, node);
        list_remove(&object->node);
        free(object->refs);
        free(object);
    }
    LIST_EACH_SAFE (at, &agent->retired) {
        free(CONTAINER_OF(at, struct object, node));
    }
    LIST_EACH_SAFE (at, &agent->slabs) {
        free(CONTAINER_OF(at, struct slab, node));
    }
}

void fake_agent_unlink(struct fake_agent *agent)
{
    char json[160];
    snprintf(json, sizeof json, "%s/node.json", agent->node_folder);
    unlink(json);
    unlink(agent->path);
    rmdir(agent->node_folder);
    rmdir(agent->folder);
}

void fake_agent_free(struct fake_agent *agent)
{
    fake_agent_die(agent);
    for (int i = 0; i < agent->workers_count; i++) {
        int status = -1;
        CHECK_EQ(waitpid(agent->workers[i], &status, 0), agent->workers[i]);
        CHECK_EQ(status, 0);
    }
    free_all(agent);
    id_map_fini(&agent->ids);
    extent_fini(&agent->extents);
    munmap(agent->segment, agent->store_bytes);
    munmap(agent->table.header, table_bytes(TABLE_ENTRIES));
    munmap(agent->node_page, sizeof *agent->node_page);
    close(agent->segment_fd);
    close(agent->table_fd);
    close(agent->node_fd);
    munmap(agent->node_bells, NODE_BELLS_BYTES);
    close(agent->bells_fd);
    close(agent->wake_fd);
    fake_agent_unlink(agent);
    pthread_mutex_destroy(&agent->lock);
    pthread_cond_destroy(&agent->changed);
    free(agent);
}

unsigned fake_agent_count(struct fake_agent *agent, uint32_t kind)
{
    pthread_mutex_lock(&agent->lock);
    unsigned count = agent->counts[kind];
    pthread_mutex_unlock(&agent->lock);
    return count;
}

static unsigned count_sealed(struct fake_agent *agent)
{
    unsigned count = 0;
    LIST_EACH (at, &agent->objects) {
        count += CONTAINER_OF(at, struct object, node)->is_sealed;
    }
    LIST_EACH (at, &agent->retired) {
        count++; /* somebody still looks at it */
    }
    return count;
}

unsigned fake_agent_objects(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    unsigned count = count_sealed(agent);
    pthread_mutex_unlock(&agent->lock);
    return count;
}

bool fake_agent_wait_objects(struct fake_agent *agent, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    int failed = 0;
    pthread_mutex_lock(&agent->lock);
    while (count_sealed(agent) != count && failed == 0) {
        failed = pthread_cond_timedwait(&agent->changed, &agent->lock, &until);
    }
    bool is_so = count_sealed(agent) == count;
    pthread_mutex_unlock(&agent->lock);
    return is_so;
}

uint64_t fake_agent_used_bytes(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    uint64_t used = agent->store_bytes - agent->extents.free_bytes;
    pthread_mutex_unlock(&agent->lock);
    return used;
}

void fake_agent_hold_calls(struct fake_agent *agent, bool hold_them)
{
    pthread_mutex_lock(&agent->lock);
    agent->holds_calls = hold_them;
    pthread_mutex_unlock(&agent->lock);
    eventfd_write(agent->wake_fd, 1);
}

void fake_agent_finish(struct fake_agent *agent, roost_ref result, const void *data, size_t size,
                       enum table_format format)
{
    pthread_mutex_lock(&agent->lock);
    struct object *object = fake_object_need(agent, object_id_of(result));
    CHECK(!object->is_sealed);
    if (list_is_empty(&object->holders)) {
        fake_hold(agent, object->id, CLIENTS, 0); /* a copy that was pulled: nobody's, and here */
    }
    if (format == TABLE_FORWARD) {
        object->refs = malloc(size);
        memcpy(object->refs, data, size);
        object->refs_count = 1;
        unsigned char both[2 * sizeof(roost_ref)];
        memcpy(both, data, size);
        memcpy(both + size, data, size);
        uint64_t offset;
        CHECK_EQ(extent_alloc(&agent->extents, sizeof both, 64, &offset), 0);
        memcpy(agent->segment + offset, both, sizeof both);
        object->place = (struct wire_place){ offset, sizeof both, 0, 0 };
        object->size = size;
        object->format = format;
        object->table_index = 0;
        fake_object_enter(agent, object);
    } else if (format == TABLE_ERROR) {
        fake_object_fail(agent, object, data);
    } else {
        fake_object_make(agent, object, data, size, format);
    }
    pthread_mutex_unlock(&agent->lock);
    eventfd_write(agent->wake_fd, 1);
}

static void say_to_drivers(struct fake_agent *agent, uint32_t kind, const void *entry, size_t bytes)
{
    pthread_mutex_lock(&agent->lock);
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &agent->clients[i];
        if (client->page != NULL && client->role == CLIENT_DRIVER) {
            struct wire_entry *to = fake_reply_begin(client, kind, bytes, 0);
            memcpy(to + 1, (const struct wire_entry *)entry + 1, bytes - sizeof *to);
            fake_reply_end(client, CLIENT_BELL_LIBRARY);
        }
    }
    pthread_mutex_unlock(&agent->lock);
}

void fake_agent_output(struct fake_agent *agent, const char *function, const char *text)
{
    union {
        struct wire_output output;
        unsigned char bytes[sizeof(struct wire_output) + 1024];
    } entry = { .output = { .node = agent->node, .pid = 123, .text_bytes = (uint32_t)strlen(text) } };
    snprintf(entry.output.function, sizeof entry.output.function, "%s", function);
    snprintf(entry.output.node_name, sizeof entry.output.node_name, "fake");
    memcpy(entry.output.text, text, strlen(text));
    say_to_drivers(agent, WIRE_OUTPUT, &entry, sizeof entry.output + strlen(text));
}

void fake_agent_end_job(struct fake_agent *agent, int status, const char *text)
{
    union {
        struct wire_job_ended ended;
        unsigned char bytes[sizeof(struct wire_job_ended) + 1024];
    } entry = { .ended = { .status = status, .text_bytes = (uint32_t)strlen(text) } };
    memcpy(entry.ended.text, text, strlen(text));
    say_to_drivers(agent, WIRE_JOB_ENDED, &entry, sizeof entry.ended + strlen(text));
}
