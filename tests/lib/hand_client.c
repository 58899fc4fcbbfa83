/* hand_client.c - see the header
 *
 * Happy path: connect -> the page, the rings and the store are mapped -> entries are put and taken one by one.
 * Failures:   the agent hangs up, or says nothing within HAND_MS -> it is printed, and the process ends with status 1.
 * Invariants: an entry that is not the one that is waited for is kept, and found by the wait that wants it.
 * Thread:     one.
 */
#include "tests/lib/hand_client.h"
#include "common/error.h"
#include "common/unix_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct job_spec *hand_job(const char *program, char *const *args, char *const *env)
{
    struct job_draft draft = {
        .name = "by hand", .program = program, .driver_pid = getpid(), .args = args, .env = env
    };
    struct job_spec *job;
    HAND_CHECK(job_write(&draft, &job) == 0);
    return job;
}

/* ------------------------------------------------------------------ connecting */

static void *map(int fd, size_t bytes, int protection)
{
    void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
    HAND_CHECK(memory != MAP_FAILED);
    return memory;
}

static int first_pins(void *context, uint32_t page, struct pins_page **page_out)
{
    struct hand_client *client = context;
    *page_out = client->pins_page;
    return page == 0 ? 0 : ROOST_ELIMIT;
}

static void say_hello(const struct hand_client *client, const struct job_spec *job, uint64_t token)
{
    struct connect_hello hello = { .kind = CONNECT_HELLO,
                                   .layout = WIRE_LAYOUT,
                                   .role = job != NULL ? CLIENT_DRIVER : CLIENT_WORKER,
                                   .token = token };
    int fd = -1;
    if (job != NULL) {
        fd = memfd_create("job", MFD_CLOEXEC);
        HAND_CHECK(fd >= 0 && pwrite(fd, job, job->bytes, 0) == (ssize_t)job->bytes);
    }
    HAND_CHECK(unix_message_send(client->socket, &hello, sizeof hello, &fd, job != NULL) == 0);
    if (fd >= 0) {
        close(fd);
    }
}

static void attach(struct hand_client *client, uint32_t taker)
{
    const struct client_page_layout *at = &client->layout;
    unsigned char *page = client->page;
    HAND_CHECK(ring_producer_attach(&client->requests, page + at->requests, CLIENT_REQUEST_RING_BYTES) == 0 &&
               ring_producer_attach(&client->completes, page + at->completes, CLIENT_SMALL_RING_BYTES) == 0 &&
               ring_consumer_attach(&client->replies, page + at->replies, CLIENT_REPLY_RING_BYTES) == 0 &&
               ring_consumer_attach(&client->taken, page + at->taken, CLIENT_SMALL_RING_BYTES) == 0 &&
               task_ring_attach(&client->submits, page + at->submits, CLIENT_TASK_SLOTS, taker) == 0 &&
               task_ring_attach(&client->tasks, page + at->tasks, WORKER_TASK_SLOTS, taker) == 0);
    struct client_bells *bells = &client->node_bells[client->welcome.slot];
    waiter_init(&client->waiter, &bells->of[CLIENT_BELL_LIBRARY].doorbell);
    waiter_init(&client->task_waiter, &bells->of[CLIENT_BELL_TASKS].doorbell);
}

/* Everything that came with the welcome is used: a descriptor that was forgotten is noticed. */
static void take_all(struct hand_client *client, struct unix_message *message)
{
    const struct connect_welcome *welcome = &client->welcome;
    const int *fds = message->fds;
    HAND_CHECK(welcome->segments >= 1 && welcome->segments <= STORE_SEGMENTS_MAX);
    HAND_CHECK(message->fds_count == CONNECT_WELCOME_FDS + 2 * (size_t)welcome->segments);
    client->layout = client_page_layout();
    client->page = map(fds[0], welcome->page_bytes, PROT_READ | PROT_WRITE);
    HAND_CHECK(client_page_check(client->page, welcome->page_bytes) == 0);
    client->event_fd = fds[1];
    message->fds[1] = -1;
    client->node_page = map(fds[2], sizeof *client->node_page, PROT_READ);
    HAND_CHECK(client->node_page->magic == NODE_PAGE_MAGIC && client->node_page->layout == NODE_PAGE_LAYOUT);
    agent_bell_ringer_init(&client->ringer, &client->node_page->bell, client->event_fd);
    client->node_bells = map(fds[5], NODE_BELLS_BYTES, PROT_READ | PROT_WRITE);
    client->pins_page = map(fds[3], pins_page_bytes(0), PROT_READ | PROT_WRITE);
    struct store_fds store = { .table = fds[4],
                               .segments_count = welcome->segments,
                               .table_bytes = welcome->table_bytes };
    for (uint32_t i = 0; i < welcome->segments; i++) {
        store.segments[i] = (struct store_segment_fds){ fds[CONNECT_WELCOME_FDS + 2 * i],
                                                        fds[CONNECT_WELCOME_FDS + 1 + 2 * i],
                                                        welcome->segment_bytes[i] };
    }
    HAND_CHECK(pins_init(&client->pins, first_pins, client) == 0);
    HAND_CHECK(pins_thread_start(&client->pins, &client->thread) == 0);
    HAND_CHECK(store_map_open(&client->map, &store, &client->pins) == 0);
    attach(client, welcome->slot + 1);
}

int hand_connect(struct hand_client *client, const char *socket_path, const struct job_spec *job, uint64_t token)
{
    memset(client, 0, sizeof *client);
    struct unix_message message;
    int status = unix_client_connect(socket_path, HAND_MS, &client->socket);
    if (status != 0) {
        return status;
    }
    say_hello(client, job, token);
    status = unix_message_receive(client->socket, HAND_MS, &client->welcome, sizeof client->welcome, &message);
    HAND_CHECK(status == 0 && message.size == sizeof client->welcome && client->welcome.kind == CONNECT_WELCOME);
    status = client->welcome.status;
    if (status == 0) {
        take_all(client, &message);
    } else {
        HAND_CHECK(message.fds_count == 0);
        error_set(status, "%.255s", client->welcome.text);
        close(client->socket);
    }
    unix_message_close(&message);
    return status;
}

void hand_close(struct hand_client *client)
{
    store_map_close(&client->map);
    pins_fini(&client->pins);
    munmap(client->pins_page, pins_page_bytes(0));
    munmap((void *)(uintptr_t)client->node_page, sizeof *client->node_page);
    munmap(client->node_bells, NODE_BELLS_BYTES);
    munmap(client->page, client->layout.bytes);
    close(client->event_fd);
    close(client->socket);
    for (size_t i = 0; i < client->kept_count; i++) {
        free(client->kept[i]);
    }
}

/* ------------------------------------------------------------------ words */

void hand_say(struct hand_client *client, const struct wire_entry *entry)
{
    struct ring_producer *ring = entry->kind == WIRE_COMPLETE ? &client->completes : &client->requests;
    void *to = ring_reserve(ring, entry->bytes);
    HAND_CHECK(to != NULL); /* a test does not say more at once than the ring takes */
    memcpy(to, entry, entry->bytes);
    ring_commit(ring);
    agent_bell_ring(&client->ringer);
}

static bool something_came(void *arg)
{
    struct hand_client *client = arg;
    return !ring_is_empty(&client->replies);
}

static void keep_replies(struct hand_client *client)
{
    static unsigned char entry[CLIENT_MESSAGE_BYTES_MAX] __attribute__((__aligned__(8)));
    size_t size;
    int taken;
    while ((taken = ring_take(&client->replies, entry, sizeof entry, &size)) == 1) {
        HAND_CHECK(wire_check((const struct wire_entry *)(const void *)entry, size) == 0);
        HAND_CHECK(client->kept_count < HAND_KEPT_MAX);
        struct wire_entry *kept = malloc(size);
        HAND_CHECK(kept != NULL);
        client->kept[client->kept_count++] = memcpy(kept, entry, size);
    }
    HAND_CHECK(taken == 0);
    ring_consumed(&client->replies);
}

static void *find_kept(struct hand_client *client, enum wire_kind kind, uint64_t token)
{
    for (size_t i = 0; i < client->kept_count; i++) {
        struct wire_entry *entry = client->kept[i];
        if (entry->kind == kind && (token == 0 || entry->token == token)) {
            client->kept_count--;
            memmove(&client->kept[i], &client->kept[i + 1], (client->kept_count - i) * sizeof(struct wire_entry *));
            return entry;
        }
    }
    return NULL;
}

void *hand_hear(struct hand_client *client, enum wire_kind kind, uint64_t token, int timeout_ms)
{
    void *found;
    while (keep_replies(client), (found = find_kept(client, kind, token)) == NULL) {
        if (waiter_wait(&client->waiter, timeout_ms, something_came, client) != 0) {
            return NULL;
        }
    }
    return found;
}

/* ------------------------------------------------------------------ objects */

int hand_room(struct hand_client *client, uint64_t scope, enum wire_room purpose, uint64_t bytes,
              struct wire_place *place_out)
{
    struct wire_room_request request = {
        .head = { WIRE_ROOM, sizeof request, ++client->next_token }, .bytes = bytes, .purpose = purpose, .scope = scope
    };
    hand_say(client, &request.head);
    struct wire_room_given *given = hand_hear(client, WIRE_ROOM_GIVEN, request.head.token, HAND_MS);
    HAND_CHECK(given != NULL);
    int status = given->status;
    if (status == 0) {
        *place_out = given->place;
    }
    free(given);
    return status;
}

void hand_room_back(struct hand_client *client, const struct wire_place *place)
{
    struct wire_room_back back = { .head = { WIRE_ROOM_BACK, sizeof back, 0 }, .place = *place };
    hand_say(client, &back.head);
}

static void write_at(struct hand_client *client, const struct wire_place *place, const void *data, size_t bytes)
{
    struct store_place lease = { place->offset, place->bytes, place->segment };
    HAND_CHECK(store_map_lease(&client->map, lease) == 0);
    store_map_write(&client->map, lease, 0, data, bytes);
    HAND_CHECK(store_map_unlease(&client->map, lease) == 0);
}

struct wire_object hand_write(struct hand_client *client, uint64_t scope, const void *data, size_t bytes)
{
    struct wire_object object = { .size = bytes };
    if (bytes > 0) {
        HAND_CHECK(hand_room(client, scope, WIRE_ROOM_OBJECT, bytes, &object.place) == 0);
        write_at(client, &object.place, data, bytes);
    }
    return object;
}

struct object_id hand_put(struct hand_client *client, const void *data, size_t bytes)
{
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                      .object = hand_write(client, 0, data, bytes) };
    announce.object.id = (struct object_id){ client->welcome.prefix, ++client->next_object };
    hand_say(client, &announce.head);
    return announce.object.id;
}

/* Zeroed memory for an entry and the list behind it; free() it. */
static void *entry_of(enum wire_kind kind, size_t bytes, uint64_t token)
{
    struct wire_entry *entry = calloc(1, bytes);
    HAND_CHECK(entry != NULL);
    *entry = (struct wire_entry){ kind, (uint32_t)bytes, token };
    return entry;
}

void hand_free(struct hand_client *client, struct object_id id)
{
    struct wire_names *names = entry_of(WIRE_FREE, sizeof *names + sizeof id, 0);
    names->count = 1;
    names->ids[0] = id;
    hand_say(client, &names->head);
    free(names);
}

int hand_wait(struct hand_client *client, struct object_id id, int timeout_ms)
{
    uint64_t token = ++client->next_token;
    struct wire_wait *wait = entry_of(WIRE_WAIT, sizeof *wait + sizeof(roost_ref), token);
    wait->total = wait->wanted = wait->count = 1;
    wait->flags = WIRE_WAIT_FETCH;
    wait->refs[0] = object_ref(id);
    hand_say(client, &wait->head);
    free(wait);
    struct wire_ready *ready = hand_hear(client, WIRE_READY, token, timeout_ms);
    int answer = ready == NULL ? 0 : ready->ready[0];
    free(ready);
    return answer;
}

struct wire_node hand_node(struct hand_client *client)
{
    struct wire_ask ask = { .head = { WIRE_NODES, sizeof ask, ++client->next_token } };
    hand_say(client, &ask.head);
    struct wire_node *heard = hand_hear(client, WIRE_NODE, ask.head.token, HAND_MS);
    HAND_CHECK(heard != NULL);
    struct wire_node node = *heard;
    free(heard);
    return node;
}

/* ------------------------------------------------------------------ tasks */

static void push_submit(struct hand_client *client, const struct spec *spec)
{
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX] __attribute__((__aligned__(8)));
    struct wire_submit submit = { .spec_bytes = spec->bytes };
    size_t head = offsetof(struct wire_submit, u), bytes = sizeof submit;
    submit.is_inline = head + spec->bytes <= sizeof payload;
    if (!submit.is_inline) {
        HAND_CHECK(hand_room(client, 0, WIRE_ROOM_SPEC, spec->bytes, &submit.u.place) == 0);
        write_at(client, &submit.u.place, spec, spec->bytes);
    }
    memcpy(payload, &submit, sizeof submit);
    if (submit.is_inline) {
        memcpy(payload + head, spec, spec->bytes);
        bytes = head + spec->bytes;
    }
    HAND_CHECK(task_ring_push(&client->submits, 0, 0, payload, bytes, NULL) == 0);
    agent_bell_ring(&client->ringer);
}

struct task_id hand_submit(struct hand_client *client, const char *function, const roost_in *args, size_t count,
                           int32_t max_retries)
{
    struct spec_draft draft = { .parent = task_id_from(job_id_key(client->welcome.job)),
                                .job = client->welcome.job,
                                .call = ++client->next_call,
                                .function = function,
                                .cpus_hundredths = 100,
                                .returns = 1,
                                .max_retries = max_retries,
                                .args = args,
                                .args_count = count };
    size_t bytes;
    HAND_CHECK(spec_measure(&draft, &bytes) == 0);
    struct spec *spec = malloc(bytes);
    HAND_CHECK(spec != NULL);
    spec_write(&draft, spec, bytes);
    struct task_id id = spec->task;
    push_submit(client, spec);
    free(spec);
    return id;
}
