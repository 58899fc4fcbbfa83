/* results.c - what a task gives back
 *
 *     OPEN --return--> GIVEN
 *     OPEN --return_create--> WRITING --seal, or the end of a task that succeeded--> GIVEN
 *                             WRITING --abort--> OPEN
 *
 * Happy path: each result is given once, in any order; what was not given is an empty object.
 * Failures:   an index that is not there, a second time -> an error of that call. A task that fails gives nothing: what
 *             it had given is void.
 * Thread:     the one that runs the task. */
#include "common/bytes.h"
#include "objectstore/copy.h"
#include "worker/runtime/task.h"

#include <inttypes.h>

static int need_open(struct roost_task *task, size_t index, const char *call)
{
    if (task == NULL) {
        return error_set(ROOST_EINVAL, "%s: task is NULL", call);
    }
    if (index >= task->spec->returns) {
        return error_set(ROOST_EINVAL, "%s: result %zu of %u", call, index, task->spec->returns);
    }
    if (task->results[index] != RESULT_OPEN) {
        return error_set(ROOST_ESTATE, "%s: result %zu is given already", call, index);
    }
    return 0;
}

/* Into the completion, when it is small and names nothing. */
static bool keep(struct roost_task *task, uint32_t index, const void *data, const struct object_draft *draft)
{
    struct kept_results *kept = task->kept;
    if (kept == NULL || index >= LEASE_RETURNS_MAX || draft->size > ROOST_SMALL_BYTES || draft->refs_count > 0 ||
        draft->format != TABLE_RAW || align_up(draft->size, 8) > sizeof kept->data - kept->used) {
        return false;
    }
    kept->of[index].is_kept = true;
    kept->of[index].offset = kept->used;
    kept->of[index].bytes = (uint32_t)draft->size;
    if (draft->size > 0) {
        memcpy(kept->data + kept->used, data, draft->size);
    }
    kept->used += (uint32_t)align_up(draft->size, 8);
    task->results[index] = RESULT_GIVEN;
    return true;
}

static int give(struct roost_task *task, uint32_t index, const void *data, const struct object_draft *draft)
{
    struct roost *rt = task->rt;
    struct room room;
    uint64_t bytes = wire_object_bytes(draft->size, 0, draft->refs_count);
    if (keep(task, index, data, draft)) {
        return 0;
    }
    if (draft->size > 0 && bytes == 0) {
        return error_set(ROOST_ETOOBIG, "a result of %" PRIu64 " bytes, at most %" PRIu64 " (ROOST_OBJECT_BYTES_MAX)",
                         draft->size, ROOST_OBJECT_BYTES_MAX);
    }
    int status = rt->world->room(rt, task->run, bytes, &room);
    if (status != 0) {
        return status;
    }
    if (draft->size > 0) {
        store_copy(room.data, data, draft->size);
    }
    room_write_trailer(&room, draft);
    status = rt->world->result(task, index, &room, draft);
    if (status != 0) {
        rt->world->room_drop(rt, &room);
        return status;
    }
    task->results[index] = RESULT_GIVEN;
    return 0;
}

int roost_return(struct roost_task *task, size_t index, const void *data, size_t size)
{
    int status = need_open(task, index, "roost_return");
    if (status == 0 && data == NULL && size > 0) {
        status = error_set(ROOST_EINVAL, "roost_return: data is NULL");
    }
    const struct object_draft draft = { .size = size, .format = TABLE_RAW };
    return status != 0 ? status : give(task, (uint32_t)index, data, &draft);
}

int roost_return_ref(struct roost_task *task, size_t index, roost_ref ref)
{
    int status = need_open(task, index, "roost_return_ref");
    if (status == 0 && object_id_is_none(object_id_of(ref))) {
        status = error_set(ROOST_EINVAL, "roost_return_ref: the ref names nothing");
    }
    if (status == 0 && object_id_eq(object_id_of(ref), task_result_id(task, (uint32_t)index))) {
        status = error_set(ROOST_EINVAL, "roost_return_ref: the ref is the result itself");
    }
    const struct object_draft draft = { .size = sizeof ref, .refs = &ref, .refs_count = 1, .format = TABLE_FORWARD };
    return status != 0 ? status : give(task, (uint32_t)index, &ref, &draft);
}

int roost_return_create(struct roost_task *task, size_t index, size_t size, roost_buffer *buffer_out)
{
    int status = need_open(task, index, "roost_return_create");
    if (status == 0 && buffer_out == NULL) {
        status = error_set(ROOST_EINVAL, "roost_return_create: buffer_out is NULL");
    }
    if (status == 0) {
        status = buffer_open(task->rt, task, (uint32_t)index, size, buffer_out);
    }
    if (status == 0) {
        task->results[index] = RESULT_WRITING;
    }
    return status;
}

void task_result_closed(struct roost_task *task, uint32_t index, bool is_sealed)
{
    task->results[index] = is_sealed ? RESULT_GIVEN : RESULT_OPEN;
}

int task_results_complete(struct roost_task *task)
{
    static const struct object_draft empty = { .size = 0, .format = TABLE_RAW };
    int status = buffers_close_task(task->rt, task, true);
    for (uint32_t i = 0; i < task->spec->returns && status == 0; i++) {
        status = task->results[i] == RESULT_OPEN ? give(task, i, NULL, &empty) : 0;
    }
    return status;
}
