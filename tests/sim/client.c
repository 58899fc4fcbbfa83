/* client.c - processes, their rings, and the turns in which an agent reads them
 *
 * Owns the clients of a node.
 *
 * Happy path: driver, or spawn -> UP -> the program runs, from pause to pause -> what it wrote is read -> GONE.
 * Failures:   killed -> the program never comes back from its pause; everything written is read, then GONE.
 *             killed before it connected -> DONE with the spawn's token.
 * Order:      completes, submits and requests are read up to places that were the ends of these rings at one moment,
 *             and requests last moment: what was written into requests before a submit or a completion is read before
 *             it.
 * Invariants: the program of a dead client does not run; a pin goes with its process at the latest.
 */
#include "tests/sim/client.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/job.h"
#include "common/spec.h"
#include "tests/sim/oracle.h"
#include "tests/sim/program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_BYTES = 192 << 10, KILLED = SIGKILL /* as a wait status */ };

struct written {
    struct list_node of_ring;
    uint64_t number; /* of what the client wrote */
    uint64_t scope, ticket;
    bool has_place;
    struct wire_place place;
    size_t bytes;
    unsigned char data[] __attribute__((__aligned__(16)));
};

struct spawned {
    uint64_t token;
    struct job_id job;
    struct client *client; /* NULL: has not connected */
};

static struct id_key spawn_key(uint64_t token) { return (struct id_key){ 7, token }; }

/* ------------------------------------------------------------------------------------------------ the program's
 * stack */

static ucontext_t main_context;

static void enter(unsigned high, unsigned low)
{
    struct client *client = (struct client *)(uintptr_t)((uint64_t)high << 32 | low);
    client->program(client);
    client->has_ended = true;
    swapcontext(&client->context, &main_context);
}

static void resume(struct client *client)
{
    client->wakes++;
    client->waits_for_task = false;
    swapcontext(&main_context, &client->context);
    if (client->has_ended && !client->is_dead) { /* an orderly exit */
        client_kill(client->world, client, 0);
    }
}

static void on_wake(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (!node_is_there(world, node, what->life)) {
        return;
    }
    LIST_EACH (at, &node->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        if (client->serial == (uint64_t)what->other && !client->is_dead && client->wakes == what->number) {
            resume(client);
            return;
        }
    }
}

static void wake(struct client *client, uint64_t after_ns)
{
    struct occurrence what = { .run = on_wake,
                               .place = client->node->place,
                               .other = (uint32_t)client->serial,
                               .life = client->life,
                               .number = client->wakes };
    world_at(client->world, after_ns, &what);
}

/* Somebody else runs; the process may die here. */
static void pause_(struct client *client)
{
    if (client->dies_after > 0 && --client->dies_after == 0) {
        client_kill(client->world, client, client->token == 0 ? 0 : KILLED);
    }
    swapcontext(&client->context, &main_context);
}

void client_sleep(struct client *client, uint64_t ns)
{
    client_say(client, false);
    wake(client, ns);
    pause_(client);
}

bool client_wait_for(struct client *client, struct client_ask *ask, uint64_t at_most_ns)
{
    uint64_t until = at_most_ns == 0 ? UINT64_MAX : client->world->now_ns + at_most_ns;
    client_say(client, true);
    while (!ask->done && client->world->now_ns < until) {
        if (until != UINT64_MAX) {
            wake(client, until - client->world->now_ns);
        }
        pause_(client);
    }
    return ask->done;
}

struct given_task *client_next_task(struct client *client)
{
    client_say(client, true);
    while (list_is_empty(&client->tasks)) {
        client->waits_for_task = true;
        pause_(client);
    }
    struct given_task *task = CONTAINER_OF(client->tasks.next, struct given_task, of_client);
    list_remove(&task->of_client);
    return task;
}

void client_pin(struct client *client, struct copy *copy)
{
    for (size_t i = 0; i < CLIENT_VIEWS; i++) {
        if (client->views[i] == NULL) {
            client->views[i] = copy;
            return;
        }
    }
    ROOST_IMPOSSIBLE("a program that views so much at once");
}

void client_unpin(struct client *client, struct copy *copy)
{
    for (size_t i = 0; i < CLIENT_VIEWS; i++) {
        if (client->views[i] == copy) {
            client->views[i] = NULL;
            store_unpin(client->world, client->node, copy);
            return;
        }
    }
    ROOST_IMPOSSIBLE("what is unpinned was pinned");
}

/* ------------------------------------------------------------------------------------------------ writing */

static struct written *write_(struct client *client, struct list_node *ring, const void *data, size_t bytes)
{
    struct written *written = calloc(1, sizeof *written + bytes);
    ROOST_INVARIANT(written != NULL);
    written->number = ++client->written;
    written->bytes = bytes;
    memcpy(written->data, data, bytes);
    list_append(ring, &written->of_ring);
    node_turn_soon(client->world, client->node);
    return written;
}

void client_say(struct client *client, bool all)
{
    struct core_out *out = &client->world->outs[2];
    while (client_core_has_more(client->core) && (all || client_core_is_urgent(client->core))) {
        core_out_clear(out);
        client_core_emit(client->core, out);
        for (const struct core_command *c = core_next(out, NULL); c != NULL; c = core_next(out, c)) {
            const struct wire_entry *entry = core_body(c);
            if (wire_check(entry, entry->bytes) != 0) {
                world_fail(client->world, "a client core says what is no entry: %s", error_text());
            }
            write_(client, &client->requests, entry, entry->bytes);
        }
    }
}

void client_publish(struct client *client, uint64_t scope, const struct spec *spec, const struct wire_place *place,
                    struct client_flight *flight)
{
    client_say(client, true);
    struct written *written = write_(client, &client->submits, spec, spec->bytes);
    written->scope = scope;
    written->ticket = ++client->tickets;
    written->has_place = place != NULL;
    if (place != NULL) {
        written->place = *place;
    }
    client_submitted(client->core, flight, written->ticket);
}

void client_complete(struct client *client, uint64_t run, int32_t status, const char *text)
{
    struct {
        struct wire_complete complete;
        char text[256];
    } entry = { .complete = { .run = run, .status = status, .duration_ns = 1000 } };
    size_t text_bytes = strlen(text);
    ROOST_PRE(text_bytes < sizeof entry.text);
    client_say(client, true);
    entry.complete.text_bytes = (uint32_t)text_bytes;
    entry.complete.head = (struct wire_entry){ WIRE_COMPLETE,
                                               (uint32_t)align_up(offsetof(struct wire_complete, text) + text_bytes, 8),
                                               0 };
    memcpy(entry.complete.text, text, text_bytes);
    write_(client, &client->completes, &entry, entry.complete.head.bytes);
}

/* ------------------------------------------------------------------------------------------------ being read */

static void read_entries(struct world *world, struct client *client, struct list_node *ring, uint64_t until)
{
    while (!list_is_empty(ring)) {
        struct written *written = CONTAINER_OF(ring->next, struct written, of_ring);
        if (written->number > until) {
            return;
        }
        list_remove(&written->of_ring);
        struct core_event event = { .kind = CORE_RING_ENTRY, .u.ring = { client->key, (const void *)written->data } };
        node_step(world, client->node, &event);
        free(written);
    }
}

static void read_submits(struct world *world, struct client *client, uint64_t until)
{
    while (!list_is_empty(&client->submits)) {
        struct written *written = CONTAINER_OF(client->submits.next, struct written, of_ring);
        if (written->number > until) {
            return;
        }
        list_remove(&written->of_ring);
        struct agent_submit entry = { .head = { AGENT_SUBMIT, sizeof entry, written->ticket },
                                      .scope = written->scope,
                                      .place = written->place,
                                      .spec = (const void *)written->data };
        if (spec_check(written->data, written->bytes) != 0) {
            world_fail(world, "a program submits what is no spec: %s", error_text());
        }
        struct core_event event = { .kind = CORE_RING_ENTRY, .u.ring = { client->key, &entry.head } };
        node_step(world, client->node, &event);
        free(written);
    }
}

static void read_client(struct world *world, struct client *client)
{
    uint64_t commits = client->written, requests = client->written;
    if (!client->is_dead && world_one_in(world, 3)) { /* some of it comes while the agent reads */
        commits = client->floor + world_below(world, client->written - client->floor + 1);
        requests = commits + world_below(world, client->written - commits + 1);
    }
    read_entries(world, client, &client->requests, requests);
    if ((world->options.rules_off & SIM_RULE_ESCAPE) == 0) {
        read_submits(world, client, commits);
        read_entries(world, client, &client->completes, commits);
    } else { /* rule 7 off: a completion may name a child that the agent has not been told of */
        read_entries(world, client, &client->completes, commits);
        read_submits(world, client, commits);
    }
}

static void destroy(struct client *client)
{
    struct list_node *rings[] = { &client->requests, &client->submits, &client->completes };
    for (size_t i = 0; i < ROOST_COUNT_OF(rings); i++) {
        LIST_EACH_SAFE (at, rings[i]) {
            free(CONTAINER_OF(at, struct written, of_ring));
        }
    }
    LIST_EACH_SAFE (task_at, &client->tasks) {
        struct given_task *task = CONTAINER_OF(task_at, struct given_task, of_client);
        free(task->spec);
        free(task);
    }
    list_remove(&client->all);
    client_core_destroy(client->core);
    free(client->stack);
    free(client->state);
    free(client);
}

static void bury(struct world *world, struct client *client)
{
    struct node *node = client->node;
    read_client(world, client);
    for (size_t i = 0; i < CLIENT_VIEWS; i++) {
        if (client->views[i] != NULL) {
            store_unpin(world, node, client->views[i]);
        }
    }
    struct core_event event = { .kind = CORE_CLIENT_GONE,
                                .u.client = { .client = client->key, .status = client->wait_status } };
    if (client->token == 0) {
        world->drivers_left--;
        world_wound(world, WOUND_JOB_ENDED);
    } else {
        free(id_map_remove(&node->spawned, spawn_key(client->token)));
    }
    world_tell(world, (int)node->place, "client %u is gone", client->key.slot);
    oracle_client_gone(world, client);
    node_step(world, node, &event);
    destroy(client);
}

void clients_read(struct world *world, struct node *node)
{
    LIST_EACH (at, &node->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        if (!client->is_dead) {
            read_client(world, client);
        }
    }
    LIST_EACH_SAFE (dead_at, &node->clients) {
        struct client *client = CONTAINER_OF(dead_at, struct client, all);
        if (client->is_dead) {
            bury(world, client);
        }
    }
    bool is_left = false;
    LIST_EACH (left_at, &node->clients) {
        struct client *client = CONTAINER_OF(left_at, struct client, all);
        client->floor = node->drain_wanted ? client->written : client->floor;
        is_left = is_left || !list_is_empty(&client->requests) || !list_is_empty(&client->submits) ||
                  !list_is_empty(&client->completes);
    }
    if (is_left) {
        node_turn_soon(world, node);
    }
}

/* ------------------------------------------------------------------------------------------------ coming and going */

static struct client *create(struct world *world, struct node *node, uint64_t token, struct job_id job,
                             void (*program)(struct client *client))
{
    struct client *client = calloc(1, sizeof *client);
    ROOST_INVARIANT(client != NULL);
    client->world = world;
    client->node = node;
    client->life = node->life;
    client->serial = ++world->pids;
    client->key = (struct core_client){ node->slots++, 1 };
    client->token = token;
    client->job = job;
    client->pid = (int64_t)(1000 + world->pids);
    client->prefix = agent_client_prefix(node->core, client->key);
    client->program = program;
    struct client_core_setup setup = { client->prefix, task_id_from(job_id_key(job)) };
    ROOST_INVARIANT(client_core_create(&setup, &client->core) == 0);
    list_init(&client->requests);
    list_init(&client->submits);
    list_init(&client->completes);
    list_init(&client->tasks);
    list_append(&node->clients, &client->all);
    client->stack = malloc(STACK_BYTES);
    ROOST_INVARIANT(client->stack != NULL && getcontext(&client->context) == 0);
    client->context.uc_stack.ss_sp = client->stack;
    client->context.uc_stack.ss_size = STACK_BYTES;
    client->context.uc_link = &main_context;
    uint64_t address = (uint64_t)(uintptr_t)client;
    makecontext(&client->context, (void (*)(void))(uintptr_t)enter, 2, (unsigned)(address >> 32), (unsigned)address);
    wake(client, world_below(world, SIM_MS));
    return client;
}

static void connect_(struct world *world, struct client *client)
{
    char *const none[] = { NULL };
    struct job_draft draft = { .name = "job", .program = "/program", .args = none, .env = none };
    struct job_spec *job;
    ROOST_INVARIANT(job_write(&draft, &job) == 0);
    struct core_event event = { .kind = CORE_CLIENT_UP,
                                .u.client = { .client = client->key,
                                              .token = client->token,
                                              .pid = client->pid,
                                              .job = job_id_key(client->job),
                                              .data = job,
                                              .bytes = job->bytes } };
    world_tell(world, (int)client->node->place, "%s %u connects", client->token == 0 ? "driver" : "worker",
               client->key.slot);
    node_step(world, client->node, &event);
    free(job);
}

struct client *client_driver(struct world *world, struct node *node)
{
    struct job_id job = { 0x10b, ++world->pids };
    struct client *client = create(world, node, 0, job, program_driver);
    connect_(world, client);
    return client;
}

static void on_connect(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (!node_is_there(world, node, what->life)) {
        return;
    }
    struct spawned *spawned = id_map_get(&node->spawned, spawn_key(what->number));
    if (spawned != NULL && spawned->client == NULL) {
        spawned->client = create(world, node, spawned->token, spawned->job, program_worker);
        connect_(world, spawned->client);
    }
}

void client_spawn(struct world *world, struct node *node, uint64_t token, const struct agent_spawn *spawn)
{
    struct spawned *spawned = calloc(1, sizeof *spawned);
    ROOST_INVARIANT(spawned != NULL);
    *spawned = (struct spawned){ .token = token, .job = spawn->job };
    ROOST_INVARIANT(id_map_put(&node->spawned, spawn_key(token), spawned) == 0);
    struct occurrence what = { .run = on_connect, .place = node->place, .life = node->life, .number = token };
    world_at(world, SIM_MS / 2 + world_below(world, 4 * SIM_MS), &what);
}

void client_kill_spawned(struct world *world, struct node *node, uint64_t token)
{
    struct spawned *spawned = id_map_get(&node->spawned, spawn_key(token));
    if (spawned == NULL) {
        return;
    }
    if (spawned->client != NULL) {
        client_kill(world, spawned->client, KILLED);
        return;
    }
    id_map_remove(&node->spawned, spawn_key(token));
    free(spawned);
    node_done(world, node, world_below(world, SIM_MS), token, KILLED, 0, NULL, 0);
}

void client_kill(struct world *world, struct client *client, int32_t wait_status)
{
    if (!client->is_dead) {
        world_tell(world, (int)client->node->place, "client %u ends, %d", client->key.slot, wait_status);
        client->is_dead = true;
        client->wait_status = wait_status;
        node_turn_soon(world, client->node);
    }
}

void clients_end(struct world *world, struct node *node)
{
    LIST_EACH_SAFE (at, &node->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        world->drivers_left -= client->token == 0 ? 1 : 0;
        oracle_client_gone(world, client);
        destroy(client);
    }
    for (uint32_t i = 0; i < node->spawned.capacity; i++) { /* freeing has no order */
        free(node->spawned.slots[i].value);
    }
    id_map_fini(&node->spawned);
    node->spawned = (struct id_map){ 0 };
}

/* ------------------------------------------------------------------------------------------------ what the agent
 * says */

static struct client *find(struct node *node, struct core_client key)
{
    LIST_EACH (at, &node->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        if (client->key.slot == key.slot && client->key.generation == key.generation) {
            return client;
        }
    }
    return NULL;
}

static void on_reply(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    struct client *client = node_is_there(world, node, what->life) ? find(node, core_client_of(what->number)) : NULL;
    if (client == NULL || client->is_dead) {
        return;
    }
    const struct wire_entry *entry = what->data;
    client_core_take(client->core, entry);
    if (!client_core_is_valid(client->core)) {
        world_fail(world, "a client core is not valid after an entry of kind %u", entry->kind);
    }
    client_say(client, false);
    if (entry->kind != WIRE_TAKEN) {
        wake(client, world_below(world, SIM_MS / 8));
    }
}

void client_reply(struct world *world, struct node *node, struct core_client key, const struct wire_entry *entry)
{
    struct client *client = find(node, key);
    if (client == NULL || client->is_dead) {
        return;
    }
    if (wire_check(entry, entry->bytes) != 0) {
        world_fail(world, "place %u: the agent says what is no entry: %s", node->place, error_text());
    }
    uint64_t *last = entry->kind == WIRE_TAKEN ? &client->taken_ns : &client->reply_ns;
    uint64_t at = world->now_ns + world_below(world, SIM_MS / 4);
    at = at > *last ? at : *last + 1;
    *last = at;
    struct occurrence what = { .run = on_reply,
                               .place = node->place,
                               .life = node->life,
                               .number = core_client_key(key),
                               .data = (void *)(uintptr_t)entry,
                               .bytes = entry->bytes };
    world_at(world, at - world->now_ns, &what);
}

void client_task(struct world *world, struct node *node, struct core_client key, const struct agent_task *body)
{
    struct client *client = find(node, key);
    if (client == NULL) {
        world_fail(world, "place %u: a task for a client that is gone", node->place);
    }
    struct given_task *given = calloc(1, sizeof *given);
    struct spec *spec = malloc(body->spec->bytes);
    ROOST_INVARIANT(given != NULL && spec != NULL);
    memcpy(spec, body->spec, body->spec->bytes);
    given->task = body->task;
    given->spec = spec;
    list_append(&client->tasks, &given->of_client);
    if (client->waits_for_task) {
        wake(client, world_below(world, SIM_MS / 4));
    }
}

/* ------------------------------------------------------------------------------------------------ names from
 * elsewhere */

struct gift {
    uint64_t token, client; /* client: who took it; 0: nobody yet */
    uint32_t count;
    struct object_id ids[];
};

static void on_gift(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    struct gift *gift = what->data;
    if (!node_is_there(world, node, what->life)) {
        return;
    }
    struct client *taker = NULL;
    LIST_EACH (at, &node->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        bool may = client->token == 0 && !client->is_dead && (gift->client == 0 || gift->client == client->serial);
        taker = taker == NULL && may ? client : taker;
    }
    if (taker != NULL && gift->client == 0) {
        gift->client = program_takes(taker, gift->ids, gift->count) ? taker->serial : 0;
    }
    bool is_unread = taker != NULL && gift->client != 0 &&
                     !(list_is_empty(&taker->requests) && !client_core_has_more(taker->core));
    if (is_unread) {
        struct occurrence again = *what;
        world_at(world, SIM_MS, &again);
        return;
    }
    node_done(world, node, 0, gift->token, 0, 0, NULL, 0);
}

void clients_take_names(struct world *world, struct node *node, uint64_t token, const struct agent_names *names)
{
    size_t bytes = sizeof(struct gift) + names->count * sizeof names->ids[0];
    struct gift *gift = calloc(1, bytes);
    ROOST_INVARIANT(gift != NULL);
    *gift = (struct gift){ .token = token, .count = names->count };
    memcpy(gift->ids, names->ids, names->count * sizeof names->ids[0]);
    struct occurrence what = { .run = on_gift, .place = node->place, .life = node->life, .data = gift, .bytes = bytes };
    world_at(world, world_below(world, 3 * SIM_MS), &what);
    free(gift);
}
