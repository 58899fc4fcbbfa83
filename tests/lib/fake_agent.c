/* fake_agent.c - the other side of libroost's rings, in a thread of the test
 *
 * Owns a store (one segment, its table, its extents), what lives in it, and its clients' pages. One thread: wait for a
 * bell, a connection or the test; drain every client; answer what can be answered; give out calls; forget what nobody
 * names. The test's own calls take the same lock. */
#include "tests/lib/fake_agent.h"
#include "common/doorbell.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/list.h"
#include "common/unix_client.h"
#include "objectstore/client_page.h"
#include "objectstore/extent.h"
#include "objectstore/lease_page.h"
#include "objectstore/pins.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
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

enum { CLIENTS = 16, WORKERS = 8, TABLE_ENTRIES = 1 << 16, TOKEN = 4711, PATIENCE_MS = 300 };

struct holder {
    struct list_node node;
    uint32_t client;
    uint64_t scope;
};

struct object {
    struct list_node node; /* in agent->objects or agent->retired */
    struct object_id id;
    struct list_node holders;
    uint64_t kept; /* by containers and calls */
    bool is_sealed, in_slab, is_void;
    int failed; /* a status */
    enum table_format format;
    uint32_t table_index;
    uint64_t pin_name; /* once retired */
    struct wire_place place;
    uint64_t size;
    uint32_t refs_count;
    roost_ref *refs;
};

struct slab {
    struct list_node node;
    struct wire_place place;
    uint32_t client, objects;
    bool is_back;
};

struct wait {
    struct list_node node;
    uint32_t client;
    uint64_t token;
    uint32_t total, wanted, bell, got;
    uint32_t done; /* the first so many are ready, and stay so */
    bool is_hurried, follows;
    roost_ref *refs;
};

struct room_wait {
    struct list_node node;
    uint32_t client;
    struct wire_room_request request;
    uint64_t deadline_ms;
};

struct call {
    struct list_node node;
    uint32_t client, attempt;
    uint64_t scope, run;
    struct spec *spec;
    struct list_node results; /* struct object, not entered yet */
};

struct client {
    bool is_used, is_busy;
    uint32_t role;
    int socket, event_fd;
    unsigned char *page;
    struct client_bells *bells;
    struct ring_consumer requests, completes;
    struct ring_producer replies, taken;
    struct task_ring submits, tasks;
    struct pins_page *pins[PINS_PAGES_MAX];
    uint32_t pins_count;
    roost_ref *said_refs; /* WIRE_REFS since the last object */
    uint32_t said_refs_count;
    struct call *call;   /* a worker's */
    uint64_t task_holds; /* holders by its tasks, not by itself */
};

struct fake_agent {
    char folder[64], path[128], node_folder[96];
    int listener, wake_fd, segment_fd, table_fd, node_fd, bells_fd;
    uint64_t store_bytes;
    unsigned char *segment;
    struct table table;
    struct node_page *node_page;
    struct client_bells *node_bells;
    struct extents extents;
    struct id_map ids;
    bool names_changed; /* an object may have lost its last one */
    struct list_node objects, retired, slabs, waits, rooms, calls;
    struct client clients[CLIENTS];
    unsigned counts[WIRE_KINDS];
    pid_t workers[WORKERS];
    int workers_count;
    uint64_t runs;
    bool holds_calls, is_stopping, has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct node_id node;
    struct job_id job;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- saying ---- */

static struct doorbell *bell_of(struct client *client, uint32_t bell)
{
    CHECK(bell < CLIENT_DOORBELLS);
    return &client->bells->of[bell].doorbell;
}

static void *reply_begin(struct client *client, uint32_t kind, size_t bytes, uint64_t token)
{
    struct wire_entry *entry = ring_reserve(&client->replies, align_up(bytes, 8));
    CHECK(entry != NULL);
    memset(entry, 0, align_up(bytes, 8));
    *entry = (struct wire_entry){ kind, (uint32_t)align_up(bytes, 8), token };
    return entry;
}

static void reply_end(struct client *client, uint32_t bell)
{
    ring_commit(&client->replies);
    doorbell_ring(bell_of(client, bell));
}

/* ---- objects ---- */

static struct object *object_of(struct fake_agent *agent, struct object_id id)
{
    return id_map_get(&agent->ids, object_id_key(id));
}

static struct object *object_need(struct fake_agent *agent, struct object_id id)
{
    struct object *object = object_of(agent, id);
    if (object == NULL) {
        object = calloc(1, sizeof *object);
        object->id = id;
        list_init(&object->holders);
        list_append(&agent->objects, &object->node);
        agent->names_changed = true;
        CHECK_EQ(id_map_put(&agent->ids, object_id_key(id), object), 0);
    }
    return object;
}

static void hold(struct fake_agent *agent, struct object_id id, uint32_t client, uint64_t scope)
{
    struct object *object = object_need(agent, id);
    LIST_EACH (at, &object->holders) {
        struct holder *holder = CONTAINER_OF(at, struct holder, node);
        if (holder->client == client && holder->scope == scope) {
            return;
        }
    }
    struct holder *holder = calloc(1, sizeof *holder);
    holder->client = client;
    holder->scope = scope;
    list_append(&object->holders, &holder->node);
    if (scope != 0) {
        agent->clients[client].task_holds++;
    }
}

static bool drop(struct fake_agent *agent, struct object *object, uint32_t client, uint64_t scope)
{
    LIST_EACH_SAFE (at, &object->holders) {
        struct holder *holder = CONTAINER_OF(at, struct holder, node);
        if (holder->client == client && holder->scope == scope) {
            list_remove(&holder->node);
            free(holder);
            if (scope != 0) {
                agent->clients[client].task_holds--;
            }
            agent->names_changed = true;
            return true;
        }
    }
    return false;
}

static struct slab *slab_at(struct fake_agent *agent, uint64_t offset)
{
    LIST_EACH (at, &agent->slabs) {
        struct slab *slab = CONTAINER_OF(at, struct slab, node);
        if (offset >= slab->place.offset && offset < slab->place.offset + slab->place.bytes) {
            return slab;
        }
    }
    return NULL;
}

static void slab_settle(struct fake_agent *agent, struct slab *slab)
{
    if (slab->is_back && slab->objects == 0) {
        extent_free(&agent->extents, slab->place.offset);
        list_remove(&slab->node);
        free(slab);
    }
}

static void give_bytes_back(struct fake_agent *agent, const struct object *object)
{
    struct slab *slab = slab_at(agent, object->place.offset);
    if (slab != NULL) {
        slab->objects--;
        slab_settle(agent, slab);
    } else {
        extent_free(&agent->extents, object->place.offset);
    }
}

static void enter(struct fake_agent *agent, struct object *object)
{
    const struct table_entry entry = { .id = object->id,
                                       .offset = object->place.offset,
                                       .size = object->size,
                                       .state = TABLE_SEALED,
                                       .format = (uint8_t)object->format,
                                       .refs = object->refs_count,
                                       .columns = object->table_index };
    CHECK_EQ(table_insert(&agent->table, &entry, &object->table_index), 0);
    object->is_sealed = true;
    for (uint32_t i = 0; i < object->refs_count; i++) {
        object_need(agent, object_id_of(object->refs[i]))->kept++;
    }
}

/* The bytes of an object that a client has written. columns travel in table_index until it is entered. */
static void take_object(struct fake_agent *agent, struct client *client, const struct wire_object *wire,
                        struct object *object)
{
    CHECK(wire->refs == client->said_refs_count);
    struct slab *slab = slab_at(agent, wire->place.offset);
    uint64_t bytes = wire_object_bytes(wire->size, wire->columns, wire->refs);
    CHECK(bytes <= wire->place.bytes);
    if (slab != NULL) {
        slab->objects++;
    } else {
        extent_shrink(&agent->extents, wire->place.offset, bytes == 0 ? 1 : bytes);
    }
    object->place = wire->place;
    object->size = wire->size;
    object->format = (enum table_format)wire->format;
    object->refs_count = wire->refs;
    object->refs = client->said_refs;
    object->table_index = wire->columns;
    client->said_refs = NULL;
    client->said_refs_count = 0;
}

/* An object of the agent's own. */
static void make_object(struct fake_agent *agent, struct object *object, const void *data, size_t size,
                        enum table_format format)
{
    uint64_t offset;
    CHECK_EQ(extent_alloc(&agent->extents, size == 0 ? 1 : size, 64, &offset), 0);
    memcpy(agent->segment + offset, data, size);
    object->place = (struct wire_place){ offset, size, 0, 0 };
    object->size = size;
    object->format = format;
    object->table_index = 0;
    enter(agent, object);
}

static void fail_object(struct fake_agent *agent, struct object *object, const struct wire_failure *failure)
{
    object->failed = failure->status;
    make_object(agent, object, failure, sizeof *failure, TABLE_ERROR);
}

static bool is_pinned(struct fake_agent *agent, uint64_t name)
{
    struct pins_set set;
    CHECK_EQ(pins_set_init(&set, 1), 0);
    pins_set_add(&set, name);
    for (int c = 0; c < CLIENTS; c++) {
        for (uint32_t page = 0; page < agent->clients[c].pins_count; page++) {
            pins_set_scan(&set, agent->clients[c].pins[page], page);
        }
    }
    bool pinned = pins_set_is_pinned(&set, name);
    pins_set_fini(&set);
    return pinned;
}

/* What nobody names goes; what only it contained, in the next round. */
static bool forget_unnamed(struct fake_agent *agent)
{
    bool any = false, is_due = agent->names_changed;
    agent->names_changed = false;
    LIST_EACH_SAFE (at, &agent->objects) {
        struct object *object = CONTAINER_OF(at, struct object, node);
        if (!is_due) {
            break;
        }
        if (!list_is_empty(&object->holders) || object->kept > 0) {
            continue;
        }
        any = true;
        id_map_remove(&agent->ids, object_id_key(object->id));
        list_remove(&object->node);
        for (uint32_t i = 0; object->is_sealed && i < object->refs_count; i++) {
            object_need(agent, object_id_of(object->refs[i]))->kept--;
            agent->names_changed = true;
        }
        free(object->refs);
        object->refs = NULL;
        if (object->is_sealed) {
            object->pin_name = pins_name(object->table_index, table_retire(&agent->table, object->table_index));
            list_append(&agent->retired, &object->node);
        } else {
            free(object);
        }
    }
    LIST_EACH_SAFE (at, &agent->retired) {
        struct object *object = CONTAINER_OF(at, struct object, node);
        if (!is_pinned(agent, object->pin_name)) {
            table_remove(&agent->table, object->table_index);
            give_bytes_back(agent, object);
            list_remove(&object->node);
            free(object);
            any = true;
        }
    }
    return any;
}

/* ---- readiness ---- */

static bool all_is_drained(struct fake_agent *agent)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].page != NULL &&
            (task_ring_queued_count(&agent->clients[i].submits) > 0 || !ring_is_empty(&agent->clients[i].requests))) {
            return false;
        }
    }
    return true;
}

/* 1 ready, 0 not yet, else a status. What is unknown may lie in a ring that was drained before its name was heard. */
static int8_t readiness(struct fake_agent *agent, roost_ref ref)
{
    struct object *object = object_of(agent, object_id_of(ref));
    if (object == NULL) {
        return (int8_t)(all_is_drained(agent) ? ROOST_EFREED : 0);
    }
    return (int8_t)(object->failed != 0 ? object->failed : object->is_sealed);
}

/* As an argument: what it forwards to as well; of a gather, what its list names. */
static int8_t readiness_below(struct fake_agent *agent, roost_ref ref, bool is_list, struct object_id *which_out)
{
    int8_t ready = readiness(agent, ref);
    *which_out = object_id_of(ref);
    struct object *object = object_of(agent, *which_out);
    bool goes_on = ready == 1 && (object->format == TABLE_FORWARD || is_list);
    for (uint32_t i = 0; goes_on && ready == 1 && i < object->refs_count; i++) {
        ready = readiness_below(agent, object->refs[i], is_list && object->format == TABLE_FORWARD, which_out);
    }
    return ready;
}

static int8_t readiness_for(struct fake_agent *agent, const struct wait *wait, uint32_t index)
{
    struct object_id which;
    return wait->follows ? readiness_below(agent, wait->refs[index], false, &which)
                         : readiness(agent, wait->refs[index]);
}

static void answer_wait(struct fake_agent *agent, struct wait *wait)
{
    enum { CHUNK = 1000 };
    struct client *client = &agent->clients[wait->client];
    for (uint32_t first = 0; first < wait->total; first += CHUNK) {
        uint32_t count = wait->total - first < CHUNK ? wait->total - first : CHUNK;
        struct wire_ready *ready = reply_begin(client, WIRE_READY, sizeof *ready + count, wait->token);
        ready->first = first;
        ready->count = count;
        ready->total = wait->total;
        for (uint32_t i = 0; i < count; i++) {
            ready->ready[i] = readiness_for(agent, wait, first + i);
        }
    }
    reply_end(client, wait->bell);
    list_remove(&wait->node);
    free(wait->refs);
    free(wait);
}

/* Looks no further than it must: a wait for thousands is asked about after each of them. */
static bool has_enough(struct fake_agent *agent, struct wait *wait)
{
    while (wait->done < wait->got && readiness_for(agent, wait, wait->done) != 0) {
        wait->done++;
    }
    uint32_t ready = wait->done;
    for (uint32_t i = wait->done; i < wait->got && ready < wait->wanted && ready + wait->got - i >= wait->wanted; i++) {
        ready += readiness_for(agent, wait, i) != 0;
    }
    return ready >= wait->wanted;
}

static void answer_waits(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->waits) {
        struct wait *wait = CONTAINER_OF(at, struct wait, node);
        if (wait->got == wait->total && (wait->is_hurried || has_enough(agent, wait))) {
            answer_wait(agent, wait);
        }
    }
}

/* ---- room ---- */

static void answer_room(struct fake_agent *agent, struct room_wait *wait, int status, uint64_t offset)
{
    struct client *client = &agent->clients[wait->client];
    struct wire_room_given *given = reply_begin(client, WIRE_ROOM_GIVEN, sizeof *given, wait->request.head.token);
    given->status = status;
    given->place = (struct wire_place){ offset, align_up(wait->request.bytes, 4096), 0, 0 };
    if (status == 0 && wait->request.purpose == WIRE_ROOM_SLAB) {
        struct slab *slab = calloc(1, sizeof *slab);
        slab->place = given->place;
        slab->client = wait->client;
        list_append(&agent->slabs, &slab->node);
    }
    reply_end(client, wait->request.bell);
    list_remove(&wait->node);
    free(wait);
}

static void answer_rooms(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->rooms) {
        struct room_wait *wait = CONTAINER_OF(at, struct room_wait, node);
        uint64_t bytes = align_up(wait->request.bytes, 4096), offset = 0;
        bool is_slab = wait->request.purpose == WIRE_ROOM_SLAB;
        if (is_slab && bytes > agent->store_bytes / STORE_SLABS_SHARE) {
            answer_room(agent, wait, ROOST_EFULL, 0);
        } else if (extent_alloc(&agent->extents, bytes, 4096, &offset) == 0) {
            answer_room(agent, wait, 0, offset);
        } else if (now_ms() >= wait->deadline_ms) {
            answer_room(agent, wait, ROOST_EFULL, 0);
        }
    }
    table_set_room_wanted(&agent->table, !list_is_empty(&agent->rooms));
}

/* ---- calls ---- */

static void call_free(struct fake_agent *agent, struct call *call)
{
    for (uint32_t i = 0; i < call->spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(call->spec)[i], &ref)) {
            object_need(agent, object_id_of(ref))->kept--;
            agent->names_changed = true;
        }
    }
    list_remove(&call->node);
    free(call->spec);
    free(call);
}

static void take_submit(struct fake_agent *agent, uint32_t index, const struct task_ring_item *item)
{
    struct client *client = &agent->clients[index];
    const struct wire_submit *submit = (const struct wire_submit *)(const void *)item->payload;
    struct call *call = calloc(1, sizeof *call);
    call->spec = malloc(submit->spec_bytes);
    memcpy(call->spec, submit->is_inline != 0 ? submit->u.bytes : agent->segment + submit->u.place.offset,
           submit->spec_bytes);
    CHECK_EQ(spec_check(call->spec, submit->spec_bytes), 0);
    call->client = index;
    call->scope = submit->scope;
    list_init(&call->results);
    list_append(&agent->calls, &call->node);
    for (uint32_t i = 0; i < call->spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(call->spec)[i], &ref)) {
            object_need(agent, object_id_of(ref))->kept++;
        }
    }
    for (uint32_t i = 0; i < call->spec->returns && (call->spec->flags & SPEC_UNHELD) == 0; i++) {
        hold(agent, result_id(call->spec->task, i), index, submit->scope);
    }
    struct wire_taken *taken = ring_reserve(&client->taken, sizeof *taken);
    CHECK(taken != NULL);
    *taken = (struct wire_taken){ { WIRE_TAKEN, sizeof *taken, item->ticket }, call->spec->task };
    ring_commit(&client->taken);
    agent->counts[WIRE_TAKEN]++;
}

static void fail_call(struct fake_agent *agent, struct call *call, const struct wire_failure *failure)
{
    for (uint32_t i = 0; i < call->spec->returns; i++) {
        struct object *result = object_of(agent, result_id(call->spec->task, i));
        if (result != NULL && !result->is_sealed) {
            fail_object(agent, result, failure);
        }
    }
    call_free(agent, call);
}

static void dispatch(struct fake_agent *agent, struct client *worker, struct call *call)
{
    struct {
        struct wire_task head;
        unsigned char spec[WIRE_TASK_INLINE_BYTES];
    } slot = { .head = { .run = ++agent->runs, .prefix = UINT64_MAX - agent->runs, .spec_bytes = call->spec->bytes } };
    size_t bytes = sizeof slot.head;
    if (call->spec->bytes <= WIRE_TASK_INLINE_BYTES) {
        slot.head.is_inline = 1;
        memcpy((unsigned char *)&slot + offsetof(struct wire_task, u), call->spec, call->spec->bytes);
        bytes = offsetof(struct wire_task, u) + call->spec->bytes;
        bytes = bytes < sizeof slot.head ? sizeof slot.head : bytes;
    } else {
        uint64_t offset; /* stays: a test's store has room for it */
        CHECK_EQ(extent_alloc(&agent->extents, call->spec->bytes, 4096, &offset), 0);
        memcpy(agent->segment + offset, call->spec, call->spec->bytes);
        slot.head.u.place = (struct wire_place){ offset, call->spec->bytes, 0, 0 };
    }
    call->run = slot.head.run;
    worker->call = call;
    worker->is_busy = true;
    list_remove(&call->node);
    CHECK_EQ(task_ring_push(&worker->tasks, 0, 0, &slot, bytes, NULL), 0);
    doorbell_ring(bell_of(worker, CLIENT_BELL_TASKS));
}

static struct client *idle_worker(struct fake_agent *agent, bool *any_out)
{
    struct client *idle = NULL;
    *any_out = false;
    for (int c = 0; c < CLIENTS; c++) {
        struct client *client = &agent->clients[c];
        bool is_worker = client->is_used && client->role == CLIENT_WORKER;
        *any_out = *any_out || is_worker;
        idle = is_worker && !client->is_busy ? client : idle;
    }
    return idle;
}

/* Inputs ready: to an idle worker. One of them failed: so has the call. Where all workers are busy, the next one that
 * is not asks again. */
static void give_out_calls(struct fake_agent *agent)
{
    LIST_EACH_SAFE (at, &agent->calls) {
        struct call *call = CONTAINER_OF(at, struct call, node);
        bool any_worker;
        struct client *idle = idle_worker(agent, &any_worker);
        if (idle == NULL && any_worker) {
            return;
        }
        int8_t ready = 1;
        struct object_id which = { 0, 0 };
        for (uint32_t i = 0; i < call->spec->args_count && ready == 1; i++) {
            const struct spec_arg *arg = &spec_args(call->spec)[i];
            if (spec_arg_is_input(arg)) {
                ready = readiness_below(agent, arg->as.ref, arg->kind == ROOST_IN_GATHER, &which);
            }
        }
        if (ready < 0) {
            struct object *failed = object_of(agent, which);
            struct wire_failure failure = { .status = ready };
            if (failed != NULL && failed->format == TABLE_ERROR) {
                memcpy(&failure, agent->segment + failed->place.offset, sizeof failure);
            }
            fail_call(agent, call, &failure);
            continue;
        }
        if (idle != NULL && ready == 1 && !agent->holds_calls) {
            dispatch(agent, idle, call);
        }
    }
}

static void end_scope(struct fake_agent *agent, uint32_t client, uint64_t scope)
{
    if (agent->clients[client].task_holds == 0) {
        return;
    }
    LIST_EACH (at, &agent->objects) {
        drop(agent, CONTAINER_OF(at, struct object, node), client, scope);
    }
}

static void take_complete(struct fake_agent *agent, uint32_t index, const struct wire_complete *complete)
{
    struct client *worker = &agent->clients[index];
    struct call *call = worker->call;
    CHECK(call != NULL && call->run == complete->run);
    worker->call = NULL;
    worker->is_busy = false;
    LIST_EACH_SAFE (at, &call->results) {
        struct object *given = CONTAINER_OF(at, struct object, node);
        struct object *result = object_of(agent, given->id);
        list_remove(&given->node);
        if (complete->status == 0 && result != NULL) {
            result->place = given->place;
            result->size = given->size;
            result->format = given->format;
            result->table_index = given->table_index;
            result->refs = given->refs;
            result->refs_count = given->refs_count;
            enter(agent, result);
        } else {
            give_bytes_back(agent, given);
            free(given->refs);
        }
        free(given);
    }
    if (complete->status != 0) {
        struct wire_failure failure = {
            .status = complete->status, .app_code = complete->app_code, .attempts = 1, .pid = 4711
        };
        snprintf(failure.function, sizeof failure.function, "%s", spec_function(call->spec));
        snprintf(failure.node, sizeof failure.node, "fake");
        snprintf(failure.text, sizeof failure.text, "%.*s", (int)complete->text_bytes, complete->text);
        list_append(&agent->calls, &call->node);
        fail_call(agent, call, &failure);
    } else {
        call_free(agent, call);
    }
    end_scope(agent, index, complete->run);
}

/* ---- requests ---- */

static void take_room_back(struct fake_agent *agent, const struct wire_room_back *back)
{
    struct slab *slab = slab_at(agent, back->place.offset);
    if (slab != NULL && slab->place.offset == back->place.offset && !slab->is_back) {
        slab->is_back = true;
        slab_settle(agent, slab);
    } else {
        CHECK(extent_size(&agent->extents, back->place.offset) > 0);
        extent_free(&agent->extents, back->place.offset);
    }
}

static void take_wait(struct fake_agent *agent, uint32_t index, const struct wire_wait *entry)
{
    struct wait *wait = NULL;
    LIST_EACH (at, &agent->waits) {
        struct wait *other = CONTAINER_OF(at, struct wait, node);
        wait = other->client == index && other->token == entry->head.token ? other : wait;
    }
    if (wait == NULL) {
        wait = calloc(1, sizeof *wait);
        *wait = (struct wait){ .client = index,
                               .token = entry->head.token,
                               .total = entry->total,
                               .wanted = entry->wanted,
                               .bell = entry->bell,
                               .follows = (entry->flags & WIRE_WAIT_FOLLOW) != 0,
                               .refs = calloc(entry->total, sizeof(roost_ref)) };
        list_append(&agent->waits, &wait->node);
    }
    CHECK(wait->got + entry->count <= wait->total);
    memcpy(wait->refs + wait->got, entry->refs, entry->count * sizeof entry->refs[0]);
    wait->got += entry->count;
}

static void take_result(struct fake_agent *agent, struct client *client, const struct wire_result *result)
{
    CHECK(client->call != NULL && client->call->run == result->run);
    struct object *object = calloc(1, sizeof *object);
    object->id = result_id(client->call->spec->task, result->index);
    CHECK(object_id_eq(object->id, result->object.id));
    take_object(agent, client, &result->object, object);
    list_append(&client->call->results, &object->node);
}

/* No lease has the call, as none is ever granted here: it will be submitted. Until then its results are pending. */
static void take_escape(struct fake_agent *agent, uint32_t index, const struct wire_escape *escape)
{
    _Alignas(8) unsigned char copy[WIRE_TASK_INLINE_BYTES];
    const struct spec *spec = (const struct spec *)(const void *)copy;
    memcpy(copy, escape->spec, escape->spec_bytes);
    CHECK_EQ(spec_check(copy, escape->spec_bytes), 0);
    for (uint32_t i = 0; i < spec->returns; i++) {
        hold(agent, result_id(spec->task, i), index, escape->scope);
    }
}

static void take_ask(struct fake_agent *agent, uint32_t index, const struct wire_ask *ask)
{
    struct client *client = &agent->clients[index];
    if (ask->head.kind == WIRE_UNWAIT) {
        LIST_EACH (at, &agent->waits) {
            struct wait *wait = CONTAINER_OF(at, struct wait, node);
            wait->is_hurried |= wait->client == index && wait->token == ask->head.token;
        }
    } else if (ask->head.kind == WIRE_LOCATE) {
        struct wire_locations *answer = reply_begin(client, WIRE_LOCATIONS, sizeof *answer + sizeof(struct node_id),
                                                    ask->head.token);
        answer->total = answer->count = 1;
        answer->nodes[0] = agent->node;
        reply_end(client, ask->bell);
    } else if (ask->head.kind == WIRE_NODES) {
        struct wire_node *answer = reply_begin(client, WIRE_NODE, sizeof *answer, ask->head.token);
        answer->total = 1;
        answer->node = agent->node;
        answer->alive = 1;
        answer->cpus_hundredths_total = 200;
        reply_end(client, ask->bell);
    } else if (ask->head.kind == WIRE_LEASE) { /* it has none to give */
        struct wire_lease_news *news = reply_begin(client, WIRE_LEASE_NEWS, sizeof *news, 0);
        news->what = WIRE_LEASE_DENIED;
        reply_end(client, CLIENT_BELL_LIBRARY);
    }
}

static void take_request(struct fake_agent *agent, uint32_t index, const struct wire_entry *entry)
{
    struct client *client = &agent->clients[index];
    const void *body = entry;
    agent->counts[entry->kind]++;
    if (entry->kind == WIRE_ROOM) {
        struct room_wait *wait = calloc(1, sizeof *wait);
        wait->client = index;
        wait->request = *(const struct wire_room_request *)body;
        wait->deadline_ms = now_ms() + PATIENCE_MS;
        list_append(&agent->rooms, &wait->node);
    } else if (entry->kind == WIRE_ROOM_BACK) {
        take_room_back(agent, body);
    } else if (entry->kind == WIRE_REFS) {
        const struct wire_refs *refs = body;
        client->said_refs = realloc(client->said_refs, (client->said_refs_count + refs->count) * sizeof(roost_ref));
        memcpy(client->said_refs + client->said_refs_count, refs->refs, refs->count * sizeof(roost_ref));
        client->said_refs_count += refs->count;
    } else if (entry->kind == WIRE_ANNOUNCE) {
        const struct wire_announce *announce = body;
        struct object *object = object_need(agent, announce->object.id);
        CHECK(!object->is_sealed);
        take_object(agent, client, &announce->object, object);
        enter(agent, object);
        hold(agent, object->id, index, announce->scope);
    } else if (entry->kind == WIRE_HOLD || entry->kind == WIRE_FREE) {
        const struct wire_names *names = body;
        for (uint32_t i = 0; i < names->count; i++) {
            if (entry->kind == WIRE_HOLD) {
                hold(agent, names->ids[i], index, names->scope);
            } else {
                struct object *object = object_of(agent, names->ids[i]);
                CHECK(object != NULL &&
                      drop(agent, object, index, names->scope)); /* nobody frees what it does not hold */
            }
        }
    } else if (entry->kind == WIRE_WAIT) {
        take_wait(agent, index, body);
    } else if (entry->kind == WIRE_RESULT) {
        take_result(agent, client, body);
    } else if (entry->kind == WIRE_ESCAPE) {
        take_escape(agent, index, body);
    } else {
        take_ask(agent, index, body);
    }
}

/* A call is taken only with a place for its TAKEN. */
static bool may_take(struct client *client)
{
    return ring_space(&client->taken) >= 2 * ring_message_bytes(sizeof(struct wire_taken));
}

/* In the order that wire.h promises: completes up to here, submits up to here, requests, then those. */
static bool drain_client(struct fake_agent *agent, uint32_t index)
{
    static _Thread_local union {
        struct wire_entry head;
        unsigned char bytes[CLIENT_MESSAGE_BYTES_MAX];
    } entry;
    static _Thread_local struct task_ring_item item;
    struct client *client = &agent->clients[index];
    size_t size;
    bool any = false;
    uint64_t completes_end = ring_snapshot(&client->completes);
    uint32_t submits = task_ring_queued_count(&client->submits);
    while (ring_take(&client->requests, &entry, sizeof entry, &size) == 1) {
        CHECK_EQ(wire_check(&entry.head, size), 0);
        take_request(agent, index, &entry.head);
        any = true;
    }
    ring_consumed(&client->requests);
    for (; submits > 0 && may_take(client) && task_ring_claim(&client->submits, &item) == 1; submits--) {
        take_submit(agent, index, &item);
        any = true;
    }
    if (submits > 0) {
        doorbell_ring(bell_of(client, CLIENT_BELL_LIBRARY));
    }
    while (ring_take_until(&client->completes, completes_end, &entry, sizeof entry, &size) == 1) {
        CHECK_EQ(wire_check(&entry.head, size), 0);
        agent->counts[WIRE_COMPLETE]++;
        take_complete(agent, index, (const struct wire_complete *)(const void *)&entry);
        any = true;
    }
    ring_consumed(&client->completes);
    return any;
}

/* ---- connections ---- */

static int memory_fd(const char *name, size_t bytes, void **memory_out)
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
    int fd = memory_fd("pins", pins_page_bytes(client->pins_count), &memory);
    client->pins[client->pins_count++] = memory;
    ((struct pins_page *)memory)->layout = PINS_LAYOUT;
    return fd;
}

static void welcome(struct fake_agent *agent, uint32_t index, const struct connect_hello *hello)
{
    struct client *client = &agent->clients[index];
    void *page;
    size_t page_bytes = client_page_layout().bytes;
    int page_fd = memory_fd("page", page_bytes, &page);
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
    int fd = memory_fd("lease", bytes, &memory);
    CHECK_EQ(unix_message_send(client->socket, &given, sizeof given, &fd, 1), 0);
    munmap(memory, bytes);
    close(fd);
}

static void forget_client(struct fake_agent *agent, uint32_t index)
{
    struct client *client = &agent->clients[index];
    client->is_used = false;
    close(client->socket);
    if (client->page == NULL) {
        return;
    }
    drain_client(agent, index);
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

static void hear_socket(struct fake_agent *agent, uint32_t index)
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
        forget_client(agent, index);
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

static void take_connection(struct fake_agent *agent)
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

/* ---- the thread ---- */

static bool work(struct fake_agent *agent)
{
    bool any = false;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (agent->clients[i].page != NULL) {
            any |= drain_client(agent, i);
        }
    }
    give_out_calls(agent);
    answer_waits(agent);
    any |= forget_unnamed(agent);
    answer_rooms(agent);
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
            take_connection(agent);
        }
        for (uint32_t i = 0; i < CLIENTS; i++) {
            if (agent->clients[i].is_used && fds[3 + 2 * i].revents != 0) {
                agent_bell_clear(agent->clients[i].event_fd);
            }
            if (agent->clients[i].is_used && fds[2 + 2 * i].revents != 0) {
                hear_socket(agent, i);
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
    agent->segment_fd = memory_fd("segment", store_bytes, &memory);
    agent->segment = memory;
    agent->table_fd = memory_fd("table", table_bytes(TABLE_ENTRIES), &memory);
    table_format(&agent->table, memory, TABLE_ENTRIES);
    agent->node_fd = memory_fd("node", sizeof *agent->node_page, &memory);
    agent->node_page = memory;
    agent->node_page->magic = NODE_PAGE_MAGIC;
    agent->node_page->layout = NODE_PAGE_LAYOUT;
    agent->bells_fd = memory_fd("bells", NODE_BELLS_BYTES, &memory);
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
            forget_client(agent, i); /* which may still complete its call */
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
        call_free(agent, call);
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
    struct object *object = object_need(agent, object_id_of(result));
    CHECK(!object->is_sealed);
    if (list_is_empty(&object->holders)) {
        hold(agent, object->id, CLIENTS, 0); /* a copy that was pulled: nobody's, and here */
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
        enter(agent, object);
    } else if (format == TABLE_ERROR) {
        fail_object(agent, object, data);
    } else {
        make_object(agent, object, data, size, format);
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
            struct wire_entry *to = reply_begin(client, kind, bytes, 0);
            memcpy(to + 1, (const struct wire_entry *)entry + 1, bytes - sizeof *to);
            reply_end(client, CLIENT_BELL_LIBRARY);
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
