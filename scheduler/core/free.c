/* free.c - when nothing names an object any more
 *
 * Owns the loop over what has lost its last name, and the FREE messages of a step, one for each node.
 *
 * Happy path: the last name goes -> on the line -> FREE to its places and its home, its own names go, and so on.
 * Failures:   named again before its turn -> stays. A death that is not echoed by all, or a census that is not
 *             complete, holds the whole line back.
 * Limits:     what the FREEs of a step will take counts as taken from the first name on, so that all of them fit.
 * Invariants: an object is freed only when no node, no queued spec and no living object names it.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

/* What a FREE takes beside its names: its command, that of their memory, what aligning them costs. */
enum { FREE_MESSAGE_BYTES = 2 * sizeof(struct core_command) + sizeof(struct proto_message) + 32 };

bool frees_may_go(const struct head *head)
{
    return (head->echoes_missing == 0 || !head_keeps(head, HEAD_RULE_SWEEP)) &&
           (!head_in_census(head) || !head_keeps(head, HEAD_RULE_CENSUS));
}

static void free_name_at(struct head *head, struct member *member, struct object_id id)
{
    if (!member->has_session) {
        return; /* it will list, and hear then */
    }
    if (member->freeing_count == member->freeing_capacity) {
        member->freeing_capacity = member->freeing_capacity == 0 ? 64 : member->freeing_capacity * 2;
        member->freeing = head_grow(member->freeing, member->freeing_capacity, sizeof *member->freeing);
    }
    if (member->freeing_count == 0) {
        list_append(&head->with_freeing, &member->with_freeing);
    }
    head->freeing_bytes += sizeof id + (member->freeing_count % PROTO_OBJECTS_MAX == 0 ? FREE_MESSAGE_BYTES : 0);
    member->freeing[member->freeing_count++] = id;
}

void free_copy_at(struct head *head, struct member *member, struct object_id id)
{
    member->frees_copies = true;
    free_name_at(head, member, id);
}

void free_nothing_at(struct member *member)
{
    list_remove(&member->with_freeing);
    member->freeing_count = 0;
    member->frees_copies = false;
}

static void tell_places(struct head *head, const struct object *object)
{
    bool home_is_told = object->home == HEAD_NOBODY;
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        uint32_t node = head_object_location(object, i);
        home_is_told = home_is_told || node == object->home;
        free_name_at(head, member_at(head, node), object->id);
    }
    struct member *home = home_is_told ? NULL : member_at(head, object->home);
    if (home != NULL && member_lives(home)) {
        free_name_at(head, home, object->id);
    }
}

static void tell_wanters(struct head *head, const struct object *object)
{
    for (uint32_t i = 0; object->more != NULL && i < object->more->wants.count; i++) {
        struct proto_message *gone = head_send(head, member_at(head, object->more->wants.at[i]), PROTO_GONE);
        if (gone != NULL) {
            gone->u.gone.objects = (struct proto_objects){ head_copy(head, &object->id, sizeof object->id), 1 };
        }
    }
}

static void free_object(struct head *head, struct object *object)
{
    tell_places(head, object);
    tell_wanters(head, object);
    ROOST_INVARIANT(!head_object_is_queued(head, object));
    while (object->inputs != NULL) { /* only with rule 1 switched off */
        head_task_fail(head, object->inputs->task, failure_make(ROOST_EFREED, "", "an argument was given up"));
    }
    struct object_more *more = object->more;
    if (more != NULL) {
        object->flags |= OBJECT_BUSY;
        LIST_EACH_SAFE (at, &more->watches) {
            list_remove(at); /* only with rule 6 switched off */
            CONTAINER_OF(at, struct watch, of_object)->object = NULL;
        }
        head_object_let_go(head, object);
        if (more->producer != NULL) {
            head_task_return_freed(head, more->producer, object);
        }
    }
    head->counts.frees++;
    head_object_forget(head, object);
}

bool free_next(struct head *head)
{
    struct object *object = frees_may_go(head) ? line_take(&head->unnamed) : NULL;
    if (object == NULL) {
        return false;
    }
    object->flags &= (uint16_t)~OBJECT_UNNAMED;
    if (head_object_is_named(head, object)) {
        return true;
    }
    if ((object->flags & OBJECT_CHANGED) != 0) {
        head_object_check_named(head, object); /* after the line of changes, on which it still is */
        return true;
    }
    free_object(head, object);
    return true;
}

/* A copy that was refused before the turn came, and has been said once more since then, by a word that made it count. */
static void spare_copies(const struct head *head, struct member *member)
{
    size_t kept = 0;
    for (size_t i = 0; i < member->freeing_count; i++) {
        const struct object *object = head_object_find(head, member->freeing[i]);
        if (object == NULL || !head_object_is_at(object, member->number)) {
            member->freeing[kept++] = member->freeing[i];
        }
    }
    member->freeing_count = kept;
}

void free_send(struct head *head)
{
    LIST_EACH_SAFE (at, &head->with_freeing) {
        struct member *member = CONTAINER_OF(at, struct member, with_freeing);
        if (member->frees_copies) {
            spare_copies(head, member);
        }
        for (size_t sent = 0; sent < member->freeing_count;) {
            size_t count = member->freeing_count - sent;
            count = count < PROTO_OBJECTS_MAX ? count : PROTO_OBJECTS_MAX;
            struct proto_message *message = head_send(head, member, PROTO_FREE);
            if (message == NULL) {
                break;
            }
            const void *ids = head_copy(head, member->freeing + sent, count * sizeof *member->freeing);
            message->u.free.objects = (struct proto_objects){ ids, count };
            sent += count;
        }
        free_nothing_at(member);
    }
    head->freeing_bytes = 0;
}

static void look_at(struct head *head, struct object *object)
{
    bool has_value = object->more != NULL && object->more->has_value;
    if (object->state == OBJECT_UNKNOWN) {
        head_object_fail(
            head, object, OBJECT_LOST,
            failure_make(ROOST_ELOST, "", "the node that kept it did not come back after the head's restart"));
    } else if (object->state == OBJECT_SEALED && head_object_locations_count(object) == 0 && !has_value) {
        head_object_fail(
            head, object, OBJECT_LOST,
            failure_make(ROOST_ELOST, "", "no node that came back after the head's restart has its bytes"));
    } else if (head_object_is_orphan(object)) {
        head_object_fail(
            head, object, OBJECT_LOST,
            failure_make(ROOST_ENODE, "", "the node that was to make it died before the head had heard of all others"));
    }
}

void free_census_ended(struct head *head)
{
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            look_at(head, object);
        }
    }
}
