/* fake_clients.c - clients of the fake agent: from the connection and the memory that it gets to its end */
#include "common/unix_client.h"
#include "objectstore/lease_page.h"
#include "tests/lib/fake_agent_internal.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int fake_memory_fd(const char *name, size_t bytes, void **memory_out)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    *memory_out = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(*memory_out != MAP_FAILED);
    return fd;
}

static int read_only(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(copy >= 0);
    return copy;
}

static void attach(struct client *client)
{
    const struct client_page_layout layout = client_page_layout();
    unsigned char *page = client->page;
    CHECK_EQ(ring_consumer_attach(&client->requests, page + layout.requests, CLIENT_REQUEST_RING_BYTES), 0);
    CHECK_EQ(ring_consumer_attach(&client->completes, page + layout.completes, CLIENT_SMALL_RING_BYTES), 0);
    CHECK_EQ(ring_producer_attach(&client->replies, page + layout.replies, CLIENT_REPLY_RING_BYTES), 0);
    CHECK_EQ(ring_producer_attach(&client->taken, page + layout.taken, CLIENT_SMALL_RING_BYTES), 0);
    CHECK_EQ(task_ring_attach(&client->submits, page + layout.submits, CLIENT_TASK_SLOTS, TASK_TAKER_AGENT), 0);
    CHECK_EQ(task_ring_attach(&client->tasks, page + layout.tasks, WORKER_TASK_SLOTS, TASK_TAKER_AGENT), 0);
}

/* The client's next page of pins. */
static int new_pins(struct client *client)
{
    void *memory;
    int fd = fake_memory_fd("pins", pins_page_bytes(client->pins_count), &memory);
    client->pins[client->pins_count++] = memory;
    ((struct pins_page *)memory)->layout = PINS_LAYOUT;
    return fd;
}

static void welcome(struct fake_agent *agent, uint32_t index, const struct connect_hello *hello)
{
    struct client *client = &agent->clients[index];
    void *page;
    size_t page_bytes = client_page_layout().bytes;
    int page_fd = fake_memory_fd("page", page_bytes, &page);
    client->page = page;
    client->role = hello->role;
    client->bells = &agent->node_bells[index];
    client_bells_format(client->bells);
    client_page_format(page, index, 1, (enum client_role)hello->role);
    attach(client);
    CHECK_EQ(agent_bell_open_event(&client->event_fd), 0);
    int pins_fd = new_pins(client);
    struct connect_welcome welcome = { .kind = CONNECT_WELCOME,
                                       .layout = WIRE_LAYOUT,
                                       .slot = index,
                                       .generation = 1,
                                       .segments = 1,
                                       .node = agent->node,
                                       .job = agent->job,
                                       .prefix = 1000 + index,
                                       .agent_pid = getpid(),
                                       .page_bytes = page_bytes,
                                       .table_bytes = table_bytes(TABLE_ENTRIES),
                                       .segment_bytes = { agent->store_bytes },
                                       .node_name = "fake" };
    int fds[] = { page_fd,         client->event_fd,  read_only(agent->node_fd),   pins_fd, read_only(agent->table_fd),
                  agent->bells_fd, agent->segment_fd, read_only(agent->segment_fd) };
    CHECK_EQ(unix_message_send(client->socket, &welcome, sizeof welcome, fds, 8), 0);
    close(fds[0]);
    close(fds[2]);
    close(fds[3]);
    close(fds[4]);
    close(fds[7]);
}

static void give_pins(struct client *client, uint32_t page)
{
    CHECK(page == client->pins_count && page < PINS_PAGES_MAX);
    int fd = new_pins(client);
    const struct connect_pins_given given = { .kind = CONNECT_PINS_GIVEN, .page = page };
    CHECK_EQ(unix_message_send(client->socket, &given, sizeof given, &fd, 1), 0);
    close(fd);
}

static void give_lease(struct client *client)
{
    const struct connect_lease_given given = { .kind = CONNECT_LEASE_GIVEN };
    void *memory;
    size_t bytes = lease_page_layout().bytes;
    int fd = fake_memory_fd("lease", bytes, &memory);
    CHECK_EQ(unix_message_send(client->socket, &given, sizeof given, &fd, 1), 0);
    munmap(memory, bytes);
    close(fd);
}

void fake_client_forget(struct fake_agent *agent, uint32_t index)
{
    struct client *client = &agent->clients[index];
    client->is_used = false;
    close(client->socket);
    if (client->page == NULL) {
        return;
    }
    fake_client_drain(agent, index);
    LIST_EACH_SAFE (at, &agent->waits) {
        struct wait *wait = CONTAINER_OF(at, struct wait, node);
        if (wait->client == index) {
            list_remove(&wait->node);
            free(wait->refs);
            free(wait);
        }
    }
    LIST_EACH_SAFE (at, &agent->rooms) {
        struct room_wait *wait = CONTAINER_OF(at, struct room_wait, node);
        if (wait->client == index) {
            list_remove(&wait->node);
            free(wait);
        }
    }
    LIST_EACH (at, &agent->objects) {
        LIST_EACH_SAFE (holder_at, &CONTAINER_OF(at, struct object, node)->holders) {
            struct holder *holder = CONTAINER_OF(holder_at, struct holder, node);
            if (holder->client == index) {
                list_remove(&holder->node);
                free(holder);
            }
        }
    }
    for (uint32_t page = 0; page < client->pins_count; page++) {
        munmap(client->pins[page], pins_page_bytes(page));
    }
    client->pins_count = 0;
    munmap(client->page, client_page_layout().bytes);
    client->page = NULL;
    client->task_holds = 0;
    agent->names_changed = true;
    close(client->event_fd);
    free(client->said_refs);
    client->said_refs = NULL;
}

void fake_client_hear(struct fake_agent *agent, uint32_t index)
{
    union {
        struct connect_hello hello;
        struct connect_pins pins;
        struct connect_lease lease;
        unsigned char bytes[256];
    } words;
    struct unix_message message;
    struct client *client = &agent->clients[index];
    if (unix_message_receive(client->socket, 0, &words, sizeof words, &message) != 0) {
        fake_client_forget(agent, index);
        return;
    }
    if (words.hello.kind == CONNECT_HELLO) {
        CHECK(words.hello.role != CLIENT_WORKER || words.hello.token == TOKEN);
        CHECK_EQ(message.fds_count, words.hello.role == CLIENT_DRIVER ? 1 : 0);
        welcome(agent, index, &words.hello);
    } else if (words.lease.kind == CONNECT_LEASE) {
        CHECK_EQ(words.lease.lease, 0); /* a worker's own: no lease is ever granted here */
        give_lease(client);
    } else {
        CHECK_EQ(words.pins.kind, CONNECT_PINS);
        give_pins(client, words.pins.page);
    }
    unix_message_close(&message);
}

void fake_connection_take(struct fake_agent *agent)
{
    int fd = accept4(agent->listener, NULL, NULL, SOCK_CLOEXEC);
    for (uint32_t i = 0; i < CLIENTS && fd >= 0; i++) {
        if (!agent->clients[i].is_used) {
            agent->clients[i] = (struct client){ .is_used = true, .socket = fd, .event_fd = -1 };
            return;
        }
    }
    CHECK(fd < 0);
}
