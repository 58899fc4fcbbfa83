/* buffer.c - objects that are written in place: between create and seal
 *
 * Owns the open buffers of a connection. A buffer's lease is a number that finds its record here, so that a buffer that
 * was copied, sealed and used again is an error and not a wild pointer.
 *
 * Happy path: create -> (fill, declare refs, set columns) -> seal.
 * Failures:   abort, or the end of the attempt or the process -> the room goes back, nothing was ever visible.
 *             a trailer that does not fit behind the payload -> the payload moves once to new room, at the seal.
 * Invariants: a record is on the list and in the map, or gone.
 * Thread:     any; the book under rt->lock. One buffer is one thread's at a time. */
#include "api/client.h"
#include "common/bytes.h"
#include "objectstore/copy.h"
#include "worker/runtime/task.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SLACK_MIN = 512, SLACK_MAX = 64 << 10, SLACK_SHARE = 16 };

struct buffer {
    struct list_node node;
    uint64_t lease, scope, size;
    struct room room;
    struct roost_task *task; /* whose result it becomes, or NULL */
    uint32_t index;
    bool is_of_task; /* made by a task: ends with its attempt */
    roost_ref *refs;
    uint64_t *ends;
    uint32_t refs_count, columns;
};

static struct id_key key_of(uint64_t lease) { return (struct id_key){ 1, lease }; }

void room_write_trailer(const struct room *room, const struct object_draft *draft)
{
    uint64_t columns_at = wire_columns_offset(draft->size), refs_at = wire_refs_offset(draft->size, draft->columns);
    if (draft->columns > 0) {
        memcpy(room->data + columns_at, draft->ends, draft->columns * sizeof *draft->ends);
    }
    if (draft->refs_count > 0) {
        memcpy(room->data + refs_at, draft->refs, draft->refs_count * sizeof *draft->refs);
    }
}

/* Room behind the payload for the usual trailer; what is not used goes back at the seal. */
static uint64_t slack_of(uint64_t size)
{
    uint64_t slack = size / SLACK_SHARE;
    slack = slack < SLACK_MIN ? SLACK_MIN : slack;
    return slack < SLACK_MAX ? slack : SLACK_MAX;
}

static void buffer_delete(struct buffer *buffer)
{
    if (buffer != NULL) {
        free(buffer->refs);
        free(buffer->ends);
        free(buffer);
    }
}

static int book_enter(struct roost *rt, struct buffer *buffer)
{
    pthread_mutex_lock(&rt->lock);
    buffer->lease = ++rt->leases;
    int status = id_map_put(&rt->buffers, key_of(buffer->lease), buffer);
    if (status == 0) {
        list_append(&rt->buffers_list, &buffer->node);
    }
    pthread_mutex_unlock(&rt->lock);
    return status;
}

static struct buffer *book_find(struct roost *rt, const roost_buffer *buffer)
{
    if (buffer == NULL || buffer->lease == 0) {
        return NULL;
    }
    pthread_mutex_lock(&rt->lock);
    struct buffer *found = id_map_get(&rt->buffers, key_of(buffer->lease));
    pthread_mutex_unlock(&rt->lock);
    return found;
}

static void book_remove(struct roost *rt, struct buffer *buffer)
{
    pthread_mutex_lock(&rt->lock);
    id_map_remove(&rt->buffers, key_of(buffer->lease));
    list_remove(&buffer->node);
    pthread_mutex_unlock(&rt->lock);
}

int buffer_open(struct roost *rt, struct roost_task *task, uint32_t index, size_t size, roost_buffer *buffer_out)
{
    if (size > ROOST_OBJECT_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "a buffer of %zu bytes, at most %" PRIu64 " (ROOST_OBJECT_BYTES_MAX)", size,
                         ROOST_OBJECT_BYTES_MAX);
    }
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for a buffer's record");
    }
    buffer->scope = client_scope(rt);
    buffer->size = size;
    buffer->task = task;
    buffer->index = index;
    buffer->is_of_task = buffer->scope != 0;
    list_init(&buffer->node);
    int status = rt->world->room(rt, buffer->scope, align_up(size, 8) + slack_of(size), &buffer->room);
    if (status != 0) {
        buffer_delete(buffer);
        return status;
    }
    status = book_enter(rt, buffer);
    if (status != 0) {
        rt->world->room_drop(rt, &buffer->room);
        buffer_delete(buffer);
        return error_set(status, "no memory for a buffer's record");
    }
    *buffer_out = (roost_buffer){ buffer->room.data, size, buffer->lease };
    return 0;
}

int roost_create(struct roost *rt, size_t size, roost_buffer *buffer_out)
{
    int status = client_check(rt, "roost_create");
    if (status != 0) {
        return status;
    }
    if (buffer_out == NULL) {
        return error_set(ROOST_EINVAL, "roost_create: buffer_out is NULL");
    }
    return buffer_open(rt, NULL, 0, size, buffer_out);
}

static int need_buffer(struct roost *rt, const roost_buffer *buffer, const char *call, struct buffer **found_out)
{
    int status = client_check(rt, call);
    if (status != 0) {
        return status;
    }
    *found_out = book_find(rt, buffer);
    return *found_out != NULL ? 0
                              : error_set(ROOST_EINVAL, "%s: %s", call,
                                          buffer == NULL ? "buffer is NULL" : "the buffer is not open (any more)");
}

int roost_declare_refs(struct roost *rt, roost_buffer *buffer, const roost_ref *refs, size_t count)
{
    struct buffer *found;
    int status = need_buffer(rt, buffer, "roost_declare_refs", &found);
    if (status != 0) {
        return status;
    }
    if (refs == NULL && count > 0) {
        return error_set(ROOST_EINVAL, "roost_declare_refs: refs is NULL");
    }
    if (count > ROOST_GATHER_MAX - found->refs_count) {
        return error_set(ROOST_ETOOBIG, "roost_declare_refs: %zu refs after %u, at most %d (ROOST_GATHER_MAX)", count,
                         found->refs_count, ROOST_GATHER_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "roost_declare_refs: ref %zu names nothing", i);
        }
    }
    if (count == 0) {
        return 0;
    }
    roost_ref *grown = realloc(found->refs, (found->refs_count + count) * sizeof *grown);
    if (grown == NULL) {
        return error_set(ROOST_ENOMEM, "roost_declare_refs: no memory for %zu refs", count);
    }
    memcpy(grown + found->refs_count, refs, count * sizeof *grown);
    found->refs = grown;
    found->refs_count += (uint32_t)count;
    return 0;
}

static int check_ends(const uint64_t *ends, size_t count, uint64_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (ends[i] > size || (i > 0 && ends[i] < ends[i - 1])) {
            return error_set(ROOST_EINVAL, "column %zu ends at %" PRIu64 " of %" PRIu64 " bytes%s", i, ends[i], size,
                             i > 0 && ends[i] < ends[i - 1] ? ", before the one in front of it" : "");
        }
    }
    return 0;
}

int roost_set_columns(struct roost *rt, roost_buffer *buffer, const uint64_t *ends, size_t count)
{
    struct buffer *found;
    int status = need_buffer(rt, buffer, "roost_set_columns", &found);
    if (status != 0) {
        return status;
    }
    if (ends == NULL && count > 0) {
        return error_set(ROOST_EINVAL, "roost_set_columns: ends is NULL");
    }
    if (count > ROOST_COLUMNS_MAX) {
        return error_set(ROOST_ETOOBIG, "roost_set_columns: %zu columns, at most %d (ROOST_COLUMNS_MAX)", count,
                         ROOST_COLUMNS_MAX);
    }
    status = check_ends(ends, count, found->size);
    if (status != 0) {
        return status;
    }
    uint64_t *copy = count > 0 ? malloc(count * sizeof *copy) : NULL;
    if (count > 0 && copy == NULL) {
        return error_set(ROOST_ENOMEM, "roost_set_columns: no memory for %zu ends", count);
    }
    if (count > 0) {
        memcpy(copy, ends, count * sizeof *copy);
    }
    free(found->ends);
    found->ends = copy;
    found->columns = (uint32_t)count;
    return 0;
}

/* The trailer does not fit: new room, and the payload once more. */
static int move_payload(struct roost *rt, struct buffer *buffer, uint64_t bytes, uint64_t size)
{
    struct room room;
    int status = rt->world->room(rt, buffer->scope, bytes, &room);
    if (status != 0) {
        return status;
    }
    store_copy(room.data, buffer->room.data, size);
    rt->world->room_drop(rt, &buffer->room);
    buffer->room = room;
    return 0;
}

/* On failure the buffer is still open. */
static int buffer_seal(struct roost *rt, struct buffer *buffer, uint64_t size, struct object_id *id_out)
{
    const struct object_draft draft = {
        .size = size,
        .ends = buffer->ends,
        .columns = buffer->columns,
        .refs = buffer->refs,
        .refs_count = buffer->refs_count,
        .format = TABLE_RAW,
    };
    uint64_t bytes = wire_object_bytes(size, buffer->columns, buffer->refs_count);
    int status = bytes > buffer->room.place.bytes ? move_payload(rt, buffer, bytes, size) : 0;
    if (status != 0) {
        return status;
    }
    room_write_trailer(&buffer->room, &draft);
    if (buffer->task == NULL) {
        return rt->world->seal(rt, buffer->scope, &buffer->room, &draft, id_out);
    }
    *id_out = task_result_id(buffer->task, buffer->index);
    return rt->world->result(buffer->task, buffer->index, &buffer->room, &draft);
}

static void buffer_close(struct roost *rt, struct buffer *buffer, bool is_sealed)
{
    book_remove(rt, buffer);
    if (!is_sealed) {
        rt->world->room_drop(rt, &buffer->room);
    }
    if (buffer->task != NULL) {
        task_result_closed(buffer->task, buffer->index, is_sealed);
    }
    buffer_delete(buffer);
}

int roost_seal(struct roost *rt, roost_buffer *buffer, size_t size, roost_ref *ref_out)
{
    struct buffer *found;
    int status = need_buffer(rt, buffer, "roost_seal", &found);
    if (status != 0) {
        return status;
    }
    if (ref_out == NULL) {
        return error_set(ROOST_EINVAL, "roost_seal: ref_out is NULL");
    }
    if (size > found->size) {
        return error_set(ROOST_EINVAL, "roost_seal: %zu bytes of a buffer of %" PRIu64, size, found->size);
    }
    status = check_ends(found->ends, found->columns, size);
    if (status != 0) {
        return status;
    }
    struct object_id id;
    status = buffer_seal(rt, found, size, &id);
    if (status == 0) {
        buffer_close(rt, found, true);
        *buffer = (roost_buffer){ NULL, 0, 0 };
        *ref_out = object_ref(id);
    }
    return status;
}

void roost_abort(struct roost *rt, roost_buffer *buffer)
{
    struct buffer *found = client_check(rt, "roost_abort") == 0 ? book_find(rt, buffer) : NULL;
    if (found != NULL) {
        buffer_close(rt, found, false);
    }
    if (buffer != NULL) {
        *buffer = (roost_buffer){ NULL, 0, 0 };
    }
}

static struct buffer *next_of_scope(struct roost *rt, uint64_t scope)
{
    struct buffer *found = NULL;
    pthread_mutex_lock(&rt->lock);
    LIST_EACH (at, &rt->buffers_list) {
        struct buffer *buffer = CONTAINER_OF(at, struct buffer, node);
        if (found == NULL && buffer->is_of_task && buffer->scope == scope) {
            found = buffer;
        }
    }
    pthread_mutex_unlock(&rt->lock);
    return found;
}

int buffers_close_task(struct roost *rt, struct roost_task *task, bool is_success)
{
    int status = 0;
    struct buffer *buffer;
    while ((buffer = next_of_scope(rt, task->run)) != NULL) {
        struct object_id id;
        bool is_sealed = false;
        if (is_success && status == 0 && buffer->task == task) {
            status = buffer_seal(rt, buffer, buffer->size, &id);
            is_sealed = status == 0;
        }
        buffer_close(rt, buffer, is_sealed);
    }
    return status;
}

void buffers_close_all(struct roost *rt)
{
    LIST_EACH_SAFE (at, &rt->buffers_list) {
        buffer_close(rt, CONTAINER_OF(at, struct buffer, node), false);
    }
}
