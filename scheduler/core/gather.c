/* gather.c - what a list names, watched once for all tasks that gather it, and where forwards lead to
 *
 * Owns struct gather, which hangs on the list's object from the first task that gathers it until the list is freed.
 * M objects times R tasks would be too many links: each object is linked to the list, each task to the list.
 *
 * A forward whose end is not sealed is no more there than that: a task that got a node's CPU for it would keep it from
 * the one that makes the end. So it is watched as a list of one, and who waits for it is linked to it alone.
 *
 * Happy path: the list is sealed -> every object that it names is watched -> the last is sealed -> its tasks are ready.
 * Failures:   one of them fails or is lost -> `failed`; the tasks fail with it. One that was lost comes back -> another
 *             that is still gone takes its place there.
 * Invariants: missing is the number of watches that are not settled, bad that of those failed or lost; `failed` is one
 *             of them if there is any. Each forward on the way to an end that is not settled has its gather.
 * Thread:     the core's.
 */
#include "common/limits.h"
#include "scheduler/core/head_internal.h"

#include <stdlib.h>

static bool is_bad(struct object *object)
{
    const struct object *end = head_object_end(object);
    return end->state == OBJECT_FAILED || end->state == OBJECT_LOST;
}

bool gather_is_settled(struct head *head, struct object *object)
{
    struct object *end = head_object_end(object);
    if (end->state == OBJECT_SEALED) {
        return true;
    }
    for (; object != end; object = object->more->contained[0]) {
        gather_of(head, object);
    }
    return false;
}

struct gather *gather_behind(struct head *head, struct object *object)
{
    struct object *end = head_object_end(object);
    for (; object != end; object = object->more->contained[0]) {
        gather_of(head, object);
    }
    return end->state == OBJECT_SEALED ? gather_of(head, end) : NULL;
}

struct object *gather_failed(const struct gather *gather)
{
    return gather->failed != NULL && is_bad(gather->failed) ? head_object_end(gather->failed) : NULL;
}

struct gather *gather_of(struct head *head, struct object *list)
{
    struct object_more *more = head_object_more(list);
    if (more->gather != NULL) {
        return more->gather;
    }
    struct gather *gather = head_alloc(sizeof *gather);
    gather->list = list;
    gather->is_forward = head_object_is_forward(list);
    gather->total = more->contained_count;
    gather->watches = head_alloc((gather->total + (size_t)1) * sizeof *gather->watches);
    for (uint32_t i = 0; i < gather->total; i++) {
        struct watch *watch = &gather->watches[i];
        struct object *object = more->contained[i];
        *watch = (struct watch){
            .gather = gather, .object = object, .is_settled = gather_is_settled(head, object), .is_bad = is_bad(object)
        };
        list_append(&head_object_more(object)->watches, &watch->of_object);
        gather->missing += watch->is_settled ? 0 : 1;
        gather->bad += watch->is_bad ? 1 : 0;
        gather->failed = gather->failed == NULL && watch->is_bad ? object : gather->failed;
    }
    more->gather = gather;
    head_record(head, 'g', list->id.lo, gather->missing);
    return gather;
}

void gather_free(struct object *list)
{
    struct gather *gather = list->more == NULL ? NULL : list->more->gather;
    if (gather == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gather->total; i++) {
        if (gather->watches[i].object != NULL) {
            list_remove(&gather->watches[i].of_object);
        }
    }
    free(gather->watches);
    free(gather->sums);
    free(gather);
    list->more->gather = NULL;
}

/* Its tasks are looked at when something of theirs has come to be decided: all is there, something failed, or enough to
 * be placed early. */
static bool is_of_note(const struct gather *gather)
{
    uint64_t there = gather->total - gather->missing, part = (uint64_t)gather->total * PLACEMENT_EARLY_PERCENT;
    bool just_enough = there * 100 >= part && (there - 1) * 100 < part;
    return gather->missing == 0 || gather->failed != NULL || just_enough;
}

/* From the one that came back on: what is made again in order costs one walk in all. */
static struct object *next_bad(const struct gather *gather, const struct watch *from)
{
    uint32_t at = (uint32_t)(from - gather->watches);
    for (uint32_t i = 0; gather->bad > 0 && i < gather->total; i++) {
        const struct watch *watch = &gather->watches[(at + i) % gather->total];
        if (watch->is_bad) {
            return watch->object;
        }
    }
    return NULL;
}

/* Who waits for a forward that leads to `object` looks again, as far as anybody reads on. */
static void lead_on(struct head *head, const struct object *object, int hops)
{
    if (hops == STORE_FORWARDS_MAX || object->more == NULL) {
        return;
    }
    LIST_EACH (at, &object->more->watches) {
        const struct gather *gather = CONTAINER_OF(at, struct watch, of_object)->gather;
        if (gather->is_forward) {
            head_object_led_on(head, gather->list);
            lead_on(head, gather->list, hops + 1);
        }
    }
}

static void watch_changed(struct head *head, struct watch *watch)
{
    struct gather *gather = watch->gather;
    bool was_settled = watch->is_settled, was_bad = watch->is_bad;
    watch->is_settled = gather_is_settled(head, watch->object);
    watch->is_bad = is_bad(watch->object);
    gather->sums_are_valid = false;
    gather->missing = gather->missing + (was_settled ? 1 : 0) - (watch->is_settled ? 1 : 0);
    gather->bad = gather->bad + (watch->is_bad ? 1 : 0) - (was_bad ? 1 : 0);
    if (watch->is_bad) {
        gather->failed = watch->object;
    } else if (gather->failed == watch->object) {
        gather->failed = next_bad(gather, watch);
    }
    bool is_news = was_settled != watch->is_settled || was_bad != watch->is_bad;
    if (!is_news || !is_of_note(gather)) {
        return;
    }
    for (struct input *input = gather->list->inputs, *next; input != NULL; input = next) {
        next = head_object_next_input(gather->list, input);
        if (input->kind == ROOST_IN_GATHER) {
            head_task_input_changed(head, input);
        }
    }
    lead_on(head, gather->list, 0);
}

void gather_object_changed(struct head *head, struct object *object, bool itself)
{
    if (object->more == NULL) {
        return;
    }
    if (itself) {
        lead_on(head, object, 0);
    }
    LIST_EACH (at, &object->more->watches) {
        struct watch *watch = CONTAINER_OF(at, struct watch, of_object);
        if (!watch->gather->is_forward) {
            watch_changed(head, watch);
        }
    }
}

void gather_object_moved(struct object *object)
{
    if (object->more == NULL) {
        return;
    }
    LIST_EACH (at, &object->more->watches) {
        CONTAINER_OF(at, struct watch, of_object)->gather->sums_are_valid = false;
    }
}

void gather_sum_up(struct head *head, struct gather *gather)
{
    if (gather->sums_are_valid) {
        return;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < gather->total; i++) {
        const struct object *object = gather->watches[i].object;
        if (object != NULL && object->state == OBJECT_SEALED && head_object_locations_count(object) > 0) {
            uint64_t *bytes = &head->scratch_bytes[head_object_location(object, 0)];
            count += *bytes == 0 ? 1 : 0;
            *bytes += object->size + 1; /* an empty one marks its node too */
        }
    }
    gather->sums = head_grow(gather->sums, count + (size_t)1, sizeof *gather->sums);
    gather->sums_count = 0;
    for (uint32_t node = 0; node < head->members_count; node++) {
        if (head->scratch_bytes[node] != 0) {
            gather->sums[gather->sums_count++] = (struct gather_sum){ node, head->scratch_bytes[node] };
            head->scratch_bytes[node] = 0;
        }
    }
    gather->sums_are_valid = true;
}

bool gather_is_valid(const struct head *head, const struct gather *gather)
{
    uint32_t missing = 0, bad = 0;
    bool have_all_looked = line_is_empty(&head->changed) && !gather->is_forward;
    for (uint32_t i = 0; i < gather->total; i++) {
        const struct watch *watch = &gather->watches[i];
        missing += watch->is_settled ? 0 : 1;
        bad += watch->is_bad ? 1 : 0;
        bool is_sealed = watch->object != NULL && head_object_end(watch->object)->state == OBJECT_SEALED;
        if (!watch->is_settled && is_sealed && have_all_looked) {
            return false;
        }
    }
    return missing == gather->missing && bad == gather->bad;
}
