/* inline.c - run_inline: no agent, no worker; a call runs inside roost_call(), for a debugger
 *
 * Owns the objects (malloc()ed), who holds them, and nothing else: a world of one process in which everything that was
 * called for is done. Tasks go through the same code as in a worker (worker/runtime/task.c), so wrong arguments,
 * results and failures look the same.
 *
 * Happy path: put -> call (runs now, nested calls too) -> get -> free.
 * Failures:   a task that failed leaves an error object under each of its results. A task that crashes takes the
 *             process along, into the debugger: that is what this is for.
 * Invariants: an object lives while a scope holds it, a living object contains it, or a running call names it; its
 *             bytes also while somebody looks at them.
 * Thread:     any; one lock, not held while a task runs.
 */
#define LOG_TOPIC "inline"
#include "api/client.h"
#include "api/register.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "common/log.h"
#include "objectstore/range.h"
#include "worker/runtime/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct inline_object {
    struct list_node node; /* in world->objects_list, or world->dead */
    struct object_id id;
    uint64_t serial; /* the pin of every look at it */
    unsigned char *data;
    uint64_t size, holds; /* of scopes, containers and running calls */
    uint32_t columns, refs_count, views;
    enum table_format format;
};

struct inline_hold {
    struct list_node node;
    struct object_id id;
    uint64_t count;
};

struct inline_scope {
    struct list_node node, holds_list;
    struct id_map holds;
    uint64_t number, prefix, puts, calls;
    struct task_id task;
};

struct inline_world {
    pthread_mutex_t lock;
    struct id_map objects, pins;
    struct list_node objects_list, dead, scopes, doomed;
    uint64_t serials, runs, prefix;
};

/* What an attempt has given so far: nobody sees it before the attempt has succeeded. */
struct inline_attempt {
    struct inline_object **results;
};

static struct id_key pin_key(uint64_t serial) { return (struct id_key){ 2, serial }; }

/* ---- objects ---- */

static const uint64_t *ends_of(const struct inline_object *object)
{
    return (const uint64_t *)(const void *)(object->data + wire_columns_offset(object->size));
}

static const roost_ref *refs_of(const struct inline_object *object)
{
    return (const roost_ref *)(const void *)(object->data + wire_refs_offset(object->size, object->columns));
}

static struct inline_object *object_get(const struct inline_world *world, struct object_id id)
{
    return id_map_get(&world->objects, object_id_key(id));
}

static void object_delete(struct inline_world *world, struct inline_object *object)
{
    list_remove(&object->node);
    id_map_remove(&world->pins, pin_key(object->serial));
    free(object->data);
    free(object);
}

/* One reason less. What only it contained goes too: a list, no recursion. */
static void object_drop(struct inline_world *world, struct inline_object *object)
{
    if (object == NULL || --object->holds > 0) {
        return;
    }
    bool is_first = list_is_empty(&world->doomed);
    id_map_remove(&world->objects, object_id_key(object->id));
    list_remove(&object->node);
    list_append(&world->doomed, &object->node);
    while (is_first && !list_is_empty(&world->doomed)) {
        struct inline_object *next = CONTAINER_OF(world->doomed.next, struct inline_object, node);
        for (uint32_t i = 0; i < next->refs_count; i++) {
            object_drop(world, object_get(world, object_id_of(refs_of(next)[i])));
        }
        list_remove(&next->node);
        list_append(&world->dead, &next->node);
        if (next->views == 0) {
            object_delete(world, next);
        }
    }
}

/* Owns room->data from here on. In no map yet. */
static struct inline_object *object_new(struct inline_world *world, const struct room *room,
                                        const struct object_draft *draft)
{
    struct inline_object *object = calloc(1, sizeof *object);
    if (object == NULL) {
        return NULL;
    }
    *object = (struct inline_object){ .serial = ++world->serials,
                                      .data = room->data,
                                      .size = draft->size,
                                      .columns = draft->columns,
                                      .refs_count = draft->refs_count,
                                      .format = draft->format };
    list_init(&object->node);
    if (id_map_put(&world->pins, pin_key(object->serial), object) != 0) {
        free(object);
        return NULL;
    }
    return object;
}

static int object_enter(struct inline_world *world, struct inline_object *object, struct object_id id)
{
    object->id = id;
    if (id_map_put(&world->objects, object_id_key(id), object) != 0) {
        return ROOST_ENOMEM;
    }
    list_append(&world->objects_list, &object->node);
    for (uint32_t i = 0; i < object->refs_count; i++) {
        struct inline_object *below = object_get(world, object_id_of(refs_of(object)[i]));
        if (below != NULL) {
            below->holds++;
        }
    }
    return 0;
}

/* ---- scopes ---- */

static struct inline_scope *scope_get(const struct inline_world *world, uint64_t number)
{
    LIST_EACH (at, &world->scopes) {
        struct inline_scope *scope = CONTAINER_OF(at, struct inline_scope, node);
        if (scope->number == number) {
            return scope;
        }
    }
    return NULL;
}

static struct inline_scope *scope_begin(struct inline_world *world, uint64_t number, struct task_id task)
{
    struct inline_scope *scope = calloc(1, sizeof *scope);
    if (scope != NULL) {
        *scope = (struct inline_scope){ .number = number, .task = task, .prefix = world->prefix + number };
        list_init(&scope->holds_list);
        list_append(&world->scopes, &scope->node);
    }
    return scope;
}

static int scope_hold(struct inline_scope *scope, struct inline_object *object)
{
    struct inline_hold *hold = id_map_get(&scope->holds, object_id_key(object->id));
    if (hold == NULL) {
        hold = calloc(1, sizeof *hold);
        if (hold == NULL || id_map_put(&scope->holds, object_id_key(object->id), hold) != 0) {
            free(hold);
            return ROOST_ENOMEM;
        }
        hold->id = object->id;
        list_append(&scope->holds_list, &hold->node);
    }
    hold->count++;
    object->holds++;
    return 0;
}

static void hold_end(struct inline_scope *scope, struct inline_hold *hold)
{
    id_map_remove(&scope->holds, object_id_key(hold->id));
    list_remove(&hold->node);
    free(hold);
}

static void scope_end(struct inline_world *world, struct inline_scope *scope)
{
    while (!list_is_empty(&scope->holds_list)) {
        struct inline_hold *hold = CONTAINER_OF(scope->holds_list.next, struct inline_hold, node);
        for (; hold->count > 0; hold->count--) {
            object_drop(world, object_get(world, hold->id));
        }
        hold_end(scope, hold);
    }
    list_remove(&scope->node);
    id_map_fini(&scope->holds);
    free(scope);
}

/* ---- the world's functions ---- */

static int inline_room(struct roost *rt, uint64_t scope, uint64_t bytes, struct room *room_out)
{
    (void)rt, (void)scope;
    uint64_t rounded = align_up(bytes == 0 ? 1 : bytes, STORE_ALIGNMENT);
    void *data = aligned_alloc(STORE_ALIGNMENT, rounded);
    if (data == NULL) {
        return error_set(ROOST_EFULL, "no memory for an object of %llu bytes", (unsigned long long)bytes);
    }
    *room_out = (struct room){ .data = data, .place = { .bytes = rounded } };
    return 0;
}

static void inline_room_drop(struct roost *rt, const struct room *room)
{
    (void)rt;
    free(room->data);
}

static int no_memory(void) { return error_set(ROOST_ENOMEM, "no memory for an object's record"); }

static int seal_locked(struct inline_world *world, struct inline_scope *scope, const struct room *room,
                       const struct object_draft *draft, struct object_id *id_out)
{
    if (scope == NULL) {
        return error_set(ROOST_ESTATE, "the attempt has ended");
    }
    struct inline_object *object = object_new(world, room, draft);
    if (object == NULL) {
        return no_memory();
    }
    struct object_id id = { scope->prefix, ++scope->puts };
    int status = object_enter(world, object, id);
    if (status == 0) {
        status = scope_hold(scope, object);
    }
    if (status != 0) {
        object->data = NULL; /* the caller's still */
        object->refs_count = 0;
        id_map_remove(&world->objects, object_id_key(id));
        object_delete(world, object);
        return no_memory();
    }
    *id_out = id;
    return 0;
}

static int inline_seal(struct roost *rt, uint64_t scope, const struct room *room, const struct object_draft *draft,
                       struct object_id *id_out)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    int status = seal_locked(world, scope_get(world, scope), room, draft, id_out);
    pthread_mutex_unlock(&world->lock);
    return status;
}

static int inline_result(struct roost_task *task, uint32_t index, const struct room *room,
                         const struct object_draft *draft)
{
    struct inline_world *world = task->rt->alone;
    struct inline_attempt *attempt = task->world;
    pthread_mutex_lock(&world->lock);
    attempt->results[index] = object_new(world, room, draft);
    pthread_mutex_unlock(&world->lock);
    return attempt->results[index] != NULL ? 0 : no_memory();
}

static int look_at(struct inline_object *object, roost_ref ref, struct store_view *view)
{
    if (object->format == TABLE_FORWARD) {
        int status = range_forward(ref, refs_of(object)[0], &view->forward);
        return status != 0 ? status : STORE_GET_FORWARD;
    }
    uint64_t begin = 0, size = object->size;
    if (object->format != TABLE_ERROR) {
        int status = range_resolve(ref, object->size, ends_of(object), object->columns, &begin, &size);
        if (status != 0) {
            return status;
        }
    }
    object->views++;
    *view = (struct store_view){ .data = object->data + begin,
                                 .size = size,
                                 .pin = object->serial,
                                 .refs = refs_of(object),
                                 .refs_count = object->refs_count,
                                 .format = object->format };
    return object->format == TABLE_ERROR ? STORE_GET_ERROR : 0;
}

static int inline_look(struct roost *rt, roost_ref ref, enum look_how how, struct store_view *view_out)
{
    (void)how; /* all is in this process, and read-only */
    struct inline_world *world = rt->alone;
    char id[ID_TEXT_BYTES];
    pthread_mutex_lock(&world->lock);
    struct inline_object *object = object_get(world, object_id_of(ref));
    int status = object != NULL
                     ? look_at(object, ref, view_out)
                     : error_set(ROOST_EFREED, "object %s was given up", object_id_print(object_id_of(ref), id));
    pthread_mutex_unlock(&world->lock);
    return status;
}

static void inline_release(struct roost *rt, uint64_t pin)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    struct inline_object *object = id_map_get(&world->pins, pin_key(pin));
    if (object != NULL && object->views > 0 && --object->views == 0 && object->holds == 0) {
        object_delete(world, object);
    }
    pthread_mutex_unlock(&world->lock);
}

/* Nothing is ever under way here. */
static int inline_wait(struct roost *rt, const struct wait_request *request)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    for (uint32_t i = 0; i < request->total; i++) {
        bool is_known = object_get(world, object_id_of(request->refs[i])) != NULL;
        request->ready[i] = (int8_t)(is_known ? 1 : ROOST_EFREED);
    }
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static bool give_up_locked(struct inline_world *world, struct inline_scope *scope, struct object_id id)
{
    struct inline_hold *hold = scope == NULL ? NULL : id_map_get(&scope->holds, object_id_key(id));
    if (hold == NULL) {
        return false;
    }
    object_drop(world, object_get(world, id));
    if (--hold->count == 0) {
        hold_end(scope, hold);
    }
    return true;
}

static int inline_keep(struct roost *rt, uint64_t number, const roost_ref *refs, size_t count)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    struct inline_scope *scope = scope_get(world, number);
    int status = scope == NULL ? ROOST_ESTATE : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        struct inline_object *object = object_get(world, object_id_of(refs[i]));
        status = object == NULL ? ROOST_EFREED : scope_hold(scope, object);
        for (size_t kept = i; status != 0 && kept > 0; kept--) {
            give_up_locked(world, scope, object_id_of(refs[kept - 1]));
        }
    }
    pthread_mutex_unlock(&world->lock);
    return status == 0 ? 0 : error_set(status, "roost_keep: %s", error_name(status));
}

static size_t inline_free(struct roost *rt, uint64_t number, const roost_ref *refs, size_t count)
{
    struct inline_world *world = rt->alone;
    size_t freed = 0;
    pthread_mutex_lock(&world->lock);
    struct inline_scope *scope = scope_get(world, number);
    while (freed < count && give_up_locked(world, scope, object_id_of(refs[freed]))) {
        freed++;
    }
    pthread_mutex_unlock(&world->lock);
    return freed;
}

/* ---- calls ---- */

/* A running call names its arguments. */
static void tie_args(struct inline_world *world, const struct spec *spec, bool tied)
{
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        struct inline_object *object = spec_arg_ref(&spec_args(spec)[i], &ref) ? object_get(world, object_id_of(ref))
                                                                               : NULL;
        if (object != NULL && tied) {
            object->holds++;
        } else if (object != NULL) {
            object_drop(world, object);
        }
    }
}

static void drop_results(struct inline_world *world, struct inline_attempt *attempt, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (attempt->results[i] != NULL) {
            object_delete(world, attempt->results[i]);
            attempt->results[i] = NULL;
        }
    }
}

/* An object that says why, in place of a result. */
static struct inline_object *failure_new(struct roost *rt, const struct spec *spec, const struct task_end *end,
                                         uint32_t attempts)
{
    struct room room = { .data = NULL };
    struct wire_failure failure = {
        .status = end->status, .app_code = end->app_code, .attempts = (int32_t)attempts, .pid = getpid()
    };
    snprintf(failure.function, sizeof failure.function, "%s", spec_function(spec));
    snprintf(failure.node, sizeof failure.node, "%s", rt->node_name);
    snprintf(failure.text, sizeof failure.text, "%s", end->text);
    if (inline_room(rt, 0, sizeof failure, &room) != 0) {
        return NULL;
    }
    memcpy(room.data, &failure, sizeof failure);
    const struct object_draft draft = { .size = sizeof failure, .format = TABLE_ERROR };
    struct inline_object *object = object_new(rt->alone, &room, &draft);
    if (object == NULL) {
        free(room.data);
    }
    return object;
}

/* The caller holds the results from here on; without memory a result is as good as freed. */
static void publish(struct inline_world *world, struct inline_scope *caller, const struct spec *spec,
                    struct inline_attempt *attempt)
{
    for (uint32_t i = 0; i < spec->returns; i++) {
        struct inline_object *object = attempt->results[i];
        attempt->results[i] = NULL;
        if (object == NULL) {
            continue;
        }
        if (caller == NULL || (spec->flags & SPEC_UNHELD) != 0 ||
            object_enter(world, object, result_id(spec->task, i)) != 0) {
            object_delete(world, object);
            continue;
        }
        object->holds = 1;
        if (scope_hold(caller, object) != 0) {
            log_error("event=result_lost reason=no_memory function=%s", spec_function(spec));
        }
        object_drop(world, object);
    }
}

/* One attempt; its scope begins and ends here. */
static int run_once(struct roost *rt, uint64_t caller, const struct spec *spec, uint32_t number,
                    struct inline_attempt *attempt, struct task_end *end)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    uint64_t run = ++world->runs;
    struct inline_scope *scope = scope_begin(world, run, spec->task);
    pthread_mutex_unlock(&world->lock);
    if (scope == NULL) {
        return no_memory();
    }
    struct roost_task task;
    task_init(&task, rt, spec, run, number);
    task.world = attempt;
    task_run(&task, end);
    bool may_retry = (spec->flags & SPEC_RETRY_ON_FAILURE) != 0 && (int64_t)number < spec->max_retries;
    pthread_mutex_lock(&world->lock);
    if (end->status != 0) {
        drop_results(world, attempt, spec->returns);
    }
    if (end->status != 0 && !may_retry) {
        for (uint32_t i = 0; i < spec->returns; i++) {
            attempt->results[i] = failure_new(rt, spec, end, number + 1);
        }
    }
    if (end->status == 0 || !may_retry) {
        publish(world, scope_get(world, caller), spec, attempt);
    }
    scope_end(world, scope);
    pthread_mutex_unlock(&world->lock);
    return end->status != 0 && may_retry ? 1 : 0;
}

static int run_task(struct roost *rt, uint64_t caller, const struct spec *spec)
{
    struct inline_world *world = rt->alone;
    struct inline_attempt attempt = { calloc(spec->returns + 1, sizeof(struct inline_object *)) };
    struct task_end *end = calloc(1, sizeof *end);
    int status = attempt.results != NULL && end != NULL ? 1 : no_memory();
    pthread_mutex_lock(&world->lock);
    tie_args(world, spec, true);
    pthread_mutex_unlock(&world->lock);
    for (uint32_t number = 0; status > 0; number++) {
        status = run_once(rt, caller, spec, number, &attempt, end);
    }
    pthread_mutex_lock(&world->lock);
    tie_args(world, spec, false);
    pthread_mutex_unlock(&world->lock);
    if (status == 0 && end->status != 0 && (spec->flags & SPEC_UNHELD) != 0) {
        char text[512];
        log_error("event=task_failed function=%s status=%s text=%s", spec_function(spec), error_code_name(end->status),
                  log_quote(end->text, text, sizeof text));
    }
    free(attempt.results);
    free(end);
    return status;
}

static int inline_submit(struct roost *rt, uint64_t number, struct spec_draft *draft, roost_ref *refs_out)
{
    struct inline_world *world = rt->alone;
    size_t bytes;
    ROOST_TRY(spec_measure(draft, &bytes));
    struct spec *spec = malloc(bytes);
    if (spec == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a call of %zu bytes", bytes);
    }
    pthread_mutex_lock(&world->lock);
    struct inline_scope *scope = scope_get(world, number);
    if (scope != NULL) {
        draft->parent = scope->task;
        draft->call = scope->calls++;
    }
    pthread_mutex_unlock(&world->lock);
    draft->job = rt->job;
    spec_write(draft, spec, bytes);
    int status = scope != NULL ? run_task(rt, number, spec) : error_set(ROOST_ESTATE, "the attempt has ended");
    for (uint32_t i = 0; status == 0 && refs_out != NULL && i < spec->returns; i++) {
        refs_out[i] = object_ref(result_id(spec->task, i));
    }
    free(spec);
    return status;
}

/* ---- the cluster of one process ---- */

static bool inline_stopping(struct roost *rt)
{
    (void)rt;
    return false;
}

static int inline_nodes(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                        size_t *count_out)
{
    *count_out = 1;
    if (capacity == 0) {
        return 0;
    }
    long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    struct roost_node_info info = { .node = { { rt->node.hi, rt->node.lo } }, .alive = true };
    info.cpus_total = info.cpus_free = cpus > 0 ? (double)cpus : 1;
    info.memory_bytes_total = info.memory_bytes_free = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    gethostname(info.host, sizeof info.host - 1);
    memcpy(nodes_out, &info, info_size);
    return 0;
}

static int inline_locate(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out)
{
    struct inline_world *world = rt->alone;
    pthread_mutex_lock(&world->lock);
    bool is_known = object_get(world, object_id_of(ref)) != NULL;
    pthread_mutex_unlock(&world->lock);
    if (!is_known) {
        return error_set(ROOST_EFREED, "roost_locate: the object was given up");
    }
    *count_out = 1;
    if (capacity > 0) {
        nodes_out[0] = (roost_node){ { rt->node.hi, rt->node.lo } };
    }
    return 0;
}

static int inline_prefetch(struct roost *rt, roost_ref ref)
{
    (void)rt, (void)ref;
    return 0;
}

static int inline_watch(struct roost *rt, struct watch *watch)
{
    pthread_mutex_lock(&rt->lock);
    watch_ready_locked(rt, watch);
    pthread_mutex_unlock(&rt->lock);
    return 0;
}

static void inline_close(struct roost *rt)
{
    struct inline_world *world = rt->alone;
    LIST_EACH_SAFE (at, &world->scopes) {
        scope_end(world, CONTAINER_OF(at, struct inline_scope, node));
    }
    struct list_node *lists[] = { &world->objects_list, &world->dead };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        while (!list_is_empty(lists[i])) {
            object_delete(world, CONTAINER_OF(lists[i]->next, struct inline_object, node));
        }
    }
    id_map_fini(&world->objects);
    id_map_fini(&world->pins);
    pthread_mutex_destroy(&world->lock);
    free(world);
}

static const struct world world_inline = {
    .close = inline_close,
    .room = inline_room,
    .room_drop = inline_room_drop,
    .seal = inline_seal,
    .result = inline_result,
    .look = inline_look,
    .release = inline_release,
    .wait = inline_wait,
    .keep = inline_keep,
    .free = inline_free,
    .submit = inline_submit,
    .stopping = inline_stopping,
    .nodes = inline_nodes,
    .locate = inline_locate,
    .prefetch = inline_prefetch,
    .watch = inline_watch,
};

int inline_open(struct register_book *book, struct roost **rt_out)
{
    struct roost *rt = client_new(&world_inline);
    struct inline_world *world = calloc(1, sizeof *world);
    if (rt == NULL || world == NULL) {
        client_delete(rt);
        free(world);
        return error_set(ROOST_ENOMEM, "roost_open: no memory");
    }
    struct list_node *lists[] = { &world->objects_list, &world->dead, &world->scopes, &world->doomed };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    pthread_mutex_init(&world->lock, NULL);
    world->prefix = id_random().hi;
    rt->alone = world;
    rt->node = node_id_from(id_random());
    rt->job = job_id_from(id_random());
    snprintf(rt->node_name, sizeof rt->node_name, "inline");
    if (scope_begin(world, 0, task_id_from(job_id_key(rt->job))) == NULL) {
        inline_close(rt);
        client_delete(rt);
        return error_set(ROOST_ENOMEM, "roost_open: no memory");
    }
    rt->book = book;
    *rt_out = rt;
    return 0;
}
