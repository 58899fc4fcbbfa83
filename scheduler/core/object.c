/* object.c - the directory: every public object, who holds it, where it is
 *
 * Owns the object records. Records lie in chunks that never move, found by an index of 4-byte numbers; two holders and
 * two locations fit in the record, what few objects have lies beside it.
 *
 * Happy path: made PENDING or SEALED -> sealed -> holders and locations come and go -> nothing names it (free.c).
 * Failures:   the task fails -> FAILED; the last copy goes -> LOST, and sealed again should a copy turn up.
 * Invariants: a holder's number is that of a living member; containers is the number of living objects that list it;
 *             what nothing names is on head.unnamed.
 * Thread:     the core's.
 */
#include "common/trace.h"
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct object) == 80, "a hundred million of them");

enum { DIRECTORY_CHUNK = 4096, DIRECTORY_INDEX_FIRST = 1024 };

/* ------------------------------------------------------------------------------------------------ records */

static struct object *record(const struct directory *directory, uint32_t number)
{
    return &directory->chunks[number / DIRECTORY_CHUNK][number % DIRECTORY_CHUNK];
}

static uint64_t hash_of(struct object_id id) { return (id.hi ^ id.lo) * 0x9e3779b97f4a7c15u; }

static uint32_t home_slot(const struct directory *directory, struct object_id id)
{
    return (uint32_t)(hash_of(id) >> 32) & (directory->index_capacity - 1);
}

/* A slot has the number of a record + 1, in as many bits as the capacity has, and above them a part of the id's hash, so
 * that records of other ids are not visited: each is a line that is in no cache. */
static uint32_t entry_of(const struct directory *directory, struct object_id id, uint32_t number)
{
    return ((uint32_t)hash_of(id) & ~(directory->index_capacity - 1)) | (number + 1);
}

static uint32_t number_in(const struct directory *directory, uint32_t slot)
{
    return (directory->index[slot] & (directory->index_capacity - 1)) - 1;
}

/* The slot of `id`, or the free one where it would go. */
static uint32_t slot_of(const struct directory *directory, struct object_id id)
{
    uint32_t mask = directory->index_capacity - 1, part = (uint32_t)hash_of(id) & ~mask;
    for (uint32_t i = home_slot(directory, id);; i = (i + 1) & mask) {
        uint32_t entry = directory->index[i];
        bool may_be_it = entry != 0 && (entry & ~mask) == part;
        if (entry == 0 || (may_be_it && object_id_eq(record(directory, number_in(directory, i))->id, id))) {
            return i;
        }
    }
}

static void grow_index(struct directory *directory)
{
    uint32_t *old = directory->index, old_capacity = directory->index_capacity;
    directory->index_capacity = old_capacity == 0 ? DIRECTORY_INDEX_FIRST : old_capacity * 2;
    directory->index = head_alloc(directory->index_capacity * sizeof *directory->index);
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i] != 0) {
            uint32_t number = (old[i] & (old_capacity - 1)) - 1;
            struct object_id id = record(directory, number)->id;
            directory->index[slot_of(directory, id)] = entry_of(directory, id, number);
        }
    }
    free(old);
}

static uint32_t take_record(struct directory *directory)
{
    if (directory->free_first != 0) {
        uint32_t number = directory->free_first - 1;
        directory->free_first = (uint32_t)(uintptr_t)record(directory, number)->more;
        return number;
    }
    if (directory->used == directory->chunks_count * DIRECTORY_CHUNK) {
        if (directory->chunks_count == directory->chunks_capacity) {
            directory->chunks_capacity = directory->chunks_capacity == 0 ? 16 : directory->chunks_capacity * 2;
            directory->chunks = head_grow(directory->chunks, directory->chunks_capacity, sizeof(struct object *));
        }
        directory->chunks[directory->chunks_count++] = head_alloc(DIRECTORY_CHUNK * sizeof(struct object));
    }
    return directory->used++;
}

struct object *head_object_find(const struct head *head, struct object_id id)
{
    const struct directory *directory = &head->directory;
    if (directory->count == 0) {
        return NULL;
    }
    uint32_t slot = slot_of(directory, id);
    return directory->index[slot] == 0 ? NULL : record(directory, number_in(directory, slot));
}

struct object *head_object_number(const struct head *head, uint32_t number)
{
    struct object *object = number < head->directory.used ? record(&head->directory, number) : NULL;
    return object == NULL || object_id_is_none(object->id) ? NULL : object;
}

void head_object_touch(struct head *head, const struct object *object)
{
    if (head->touched_count < HEAD_TOUCHED_MAX) {
        head->touched[head->touched_count++] = object->id;
    }
}

struct object *head_object_make(struct head *head, struct object_id id, enum object_state state)
{
    struct directory *directory = &head->directory;
    if (directory->count >= directory->index_capacity / 4 * 3) {
        grow_index(directory);
    }
    uint32_t slot = slot_of(directory, id), number = take_record(directory);
    ROOST_PRE(directory->index[slot] == 0);
    directory->index[slot] = entry_of(directory, id, number);
    directory->count++;
    head->unknown_count += state == OBJECT_UNKNOWN ? 1 : 0;
    struct object *object = record(directory, number);
    *object = (struct object){ .id = id, .state = (uint8_t)state };
    head_record(head, 'o', id.lo, state);
    head_object_check_named(head, object); /* until somebody names it, it is on the line of those that go */
    return object;
}

struct object *head_object_named(struct head *head, struct object_id id)
{
    struct object *object = head_object_find(head, id);
    return object != NULL || !head_in_census(head) ? object : head_object_make(head, id, OBJECT_UNKNOWN);
}

struct object_more *head_object_more(struct object *object)
{
    if (object->more == NULL) {
        object->more = head_alloc(sizeof *object->more);
        list_init(&object->more->watches);
    }
    return object->more;
}

static void free_more(struct object_more *more)
{
    if (more == NULL) {
        return;
    }
    failure_unref(more->failure);
    free(more->holders);
    free(more->locations.at);
    free(more->wants.at);
    free(more->coming.at);
    free(more->contained);
    free(more->value);
    free(more);
}

void head_object_trim(struct object *object)
{
    const struct object_more *more = object->more;
    if (more != NULL && (object->flags & OBJECT_BUSY) == 0 && object->nodes_count != OBJECT_MANY &&
        object->locations_count != OBJECT_MANY && more->wants.count == 0 && more->coming.count == 0 &&
        more->contained == NULL && more->columns == 0 && list_is_empty(&more->watches) && more->gather == NULL &&
        more->producer == NULL && more->failure == NULL && !more->has_value) {
        free_more(object->more);
        object->more = NULL;
    }
}

static void held_less(const struct head *head, const struct object *object, uint32_t node)
{
    struct member *member = member_at(head, node);
    ROOST_PRE(member->held > 0);
    member->held--;
    list_gone(member, object->id, LISTED_HELD);
}

static void stored_less(const struct head *head, const struct object *object, uint32_t node)
{
    struct member *member = member_at(head, node);
    ROOST_PRE(member->stored > 0);
    member->stored--;
    list_gone(member, object->id, LISTED_STORED);
}

void head_object_forget(struct head *head, struct object *object)
{
    struct directory *directory = &head->directory;
    uint32_t mask = directory->index_capacity - 1, gap = slot_of(directory, object->id);
    uint32_t number = number_in(directory, gap);
    head_record(head, 'f', object->id.lo, object->state);
    head->unknown_count -= object->state == OBJECT_UNKNOWN ? 1 : 0;
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        stored_less(head, object, head_object_location(object, i));
    }
    free_more(object->more);
    /* close the gap: move back each follower whose home lies at or before it */
    for (uint32_t i = (gap + 1) & mask; directory->index[i] != 0; i = (i + 1) & mask) {
        uint32_t home = home_slot(directory, record(directory, number_in(directory, i))->id);
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            directory->index[gap] = directory->index[i];
            gap = i;
        }
    }
    directory->index[gap] = 0;
    directory->count--;
    *object = (struct object){ .more = (struct object_more *)(uintptr_t)directory->free_first };
    directory->free_first = number + 1;
}

uint64_t directory_bytes(const struct directory *directory)
{
    return (uint64_t)directory->used * sizeof(struct object) + (uint64_t)directory->index_capacity * sizeof(uint32_t);
}

void head_objects_fini(struct head *head)
{
    struct directory *directory = &head->directory;
    for (uint32_t i = 0; i < directory->used; i++) { /* gathers are linked to other objects */
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            gather_free(object);
        }
    }
    for (uint32_t i = 0; i < directory->used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            free_more(object->more);
        }
    }
    for (uint32_t i = 0; i < directory->chunks_count; i++) {
        free(directory->chunks[i]);
    }
    free(directory->chunks);
    free(directory->index);
    free(head->unnamed.at);
    free(head->changed.at);
}

/* ------------------------------------------------------------------------------------------------ state */

static bool may_become(enum object_state from, enum object_state to)
{
    switch (from) {
    case OBJECT_UNKNOWN:
        return to != OBJECT_UNKNOWN;
    case OBJECT_PENDING:
        return to == OBJECT_SEALED || to == OBJECT_FAILED || to == OBJECT_LOST;
    case OBJECT_SEALED:
        return to == OBJECT_FAILED || to == OBJECT_LOST;
    case OBJECT_LOST:
        return to == OBJECT_SEALED || to == OBJECT_FAILED;
    case OBJECT_FAILED:
        return false;
    }
    return false;
}

void head_object_set_state(struct head *head, struct object *object, enum object_state state)
{
    ROOST_PRE(may_become((enum object_state)object->state, state));
    trace_add("object state", object->id.lo, object->state, state);
    head->unknown_count -= object->state == OBJECT_UNKNOWN ? 1 : 0;
    object->state = (uint8_t)state;
    if (state == OBJECT_SEALED && object->more != NULL) { /* it may have been lost */
        failure_unref(object->more->failure);
        object->more->failure = NULL;
    }
    head_record(head, 's', object->id.lo, state);
    head_object_touch(head, object);
}

void head_object_seal(struct head *head, struct object *object, const struct proto_content *content)
{
    head_object_set_state(head, object, OBJECT_SEALED);
    object->flags |= OBJECT_WAS_SEALED;
    object->size = content->size;
    object->fingerprint = content->fingerprint;
    object->version = content->version;
    if (content->columns > 0 || object->more != NULL) {
        head_object_more(object)->columns = content->columns;
    }
    object->format = (uint8_t)content->format;
    head_record(head, 'v', object->size, object->version);
    head_object_changed(head, object, true);
}

void head_object_set_value(struct object *object, const struct proto_bytes *value)
{
    struct object_more *more = head_object_more(object);
    free(more->value);
    more->value = head_alloc(value->size + 1);
    more->has_value = true;
    object->size = value->size;
    if (value->size > 0) {
        memcpy(more->value, value->data, value->size);
    }
}

void head_object_fail(struct head *head, struct object *object, enum object_state state, struct failure *failure)
{
    struct object_more *more = head_object_more(object);
    failure_unref(more->failure);
    more->failure = failure;
    head_object_set_state(head, object, state);
    head_object_changed(head, object, true);
}

void head_object_changed(struct head *head, struct object *object, bool all)
{
    object->flags |= all ? OBJECT_TOLD_ALL : 0;
    if ((object->flags & OBJECT_CHANGED) == 0) {
        object->flags |= OBJECT_CHANGED;
        line_add(&head->changed, object);
    }
}

struct proto_content head_object_content(const struct object *object)
{
    if (object->state != OBJECT_SEALED) {
        return (struct proto_content){ 0 };
    }
    return (struct proto_content){ object->size, object->fingerprint, object->version, head_object_columns(object),
                                   object->format };
}

/* ------------------------------------------------------------------------------------------------ holders */

uint32_t head_object_holders_count(const struct object *object)
{
    return object->nodes_count == OBJECT_MANY ? object->more->holders_count : object->nodes_count;
}

struct holder head_object_holder(const struct object *object, uint32_t i)
{
    return object->nodes_count == OBJECT_MANY ? object->more->holders[i]
                                              : (struct holder){ object->mark[i], object->node[i] };
}

/* The place of `node` among the holders, or where it would go. */
static uint32_t holder_place(const struct object *object, uint32_t node, bool *is_there_out)
{
    uint32_t low = 0, high = head_object_holders_count(object), count = high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (head_object_holder(object, middle).node < node) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *is_there_out = low < count && head_object_holder(object, low).node == node;
    return low;
}

bool head_object_is_held_by(const struct object *object, uint32_t node)
{
    bool is_there;
    holder_place(object, node, &is_there);
    return is_there;
}

/* From the record's own two to the array, which has room for one more afterwards. */
static void holders_spill(struct object *object)
{
    struct object_more *more = head_object_more(object);
    if (object->nodes_count != OBJECT_MANY) {
        more->holders_capacity = more->holders_capacity == 0 ? 8 : more->holders_capacity;
        more->holders = head_grow(more->holders, more->holders_capacity, sizeof *more->holders);
        for (uint32_t i = 0; i < 2; i++) {
            more->holders[i] = (struct holder){ object->mark[i], object->node[i] };
        }
        more->holders_count = 2;
        object->nodes_count = OBJECT_MANY;
    } else if (more->holders_count == more->holders_capacity) {
        more->holders_capacity *= 2;
        more->holders = head_grow(more->holders, more->holders_capacity, sizeof *more->holders);
    }
}

static void insert_holder(struct object *object, uint32_t place, struct holder holder)
{
    if (object->nodes_count >= 2) {
        holders_spill(object);
        struct object_more *more = object->more;
        memmove(more->holders + place + 1, more->holders + place,
                (more->holders_count - place) * sizeof *more->holders);
        more->holders[place] = holder;
        more->holders_count++;
        return;
    }
    if (place == 0 && object->nodes_count == 1) {
        object->node[1] = object->node[0];
        object->mark[1] = object->mark[0];
    }
    object->node[place] = holder.node;
    object->mark[place] = holder.mark;
    object->nodes_count++;
}

static uint32_t *holder_mark(struct object *object, uint32_t place)
{
    return object->nodes_count == OBJECT_MANY ? &object->more->holders[place].mark : &object->mark[place];
}

void head_object_hold(struct head *head, struct object *object, uint32_t node, uint32_t mark)
{
    bool is_there;
    uint32_t place = holder_place(object, node, &is_there);
    if (!is_there) {
        insert_holder(object, place, (struct holder){ mark, (uint16_t)node });
        member_at(head, node)->held++;
    } else if (mark > *holder_mark(object, place)) {
        *holder_mark(object, place) = mark;
    } else {
        return;
    }
    head_record(head, 'h', object->id.lo, (uint64_t)node << 32 | mark);
    head_object_touch(head, object);
}

void head_object_release(struct head *head, struct object *object, uint32_t node)
{
    bool is_there;
    uint32_t place = holder_place(object, node, &is_there);
    if (!is_there) {
        return;
    }
    if (object->nodes_count == OBJECT_MANY) {
        struct object_more *more = object->more;
        more->holders_count--;
        memmove(more->holders + place, more->holders + place + 1,
                (more->holders_count - place) * sizeof *more->holders);
        if (more->holders_count == 2) { /* back into the record; the array stays for the next time */
            for (uint32_t i = 0; i < 2; i++) {
                object->mark[i] = more->holders[i].mark;
                object->node[i] = more->holders[i].node;
            }
            object->nodes_count = 2;
        }
    } else {
        object->nodes_count--;
        if (place == 0) {
            object->node[0] = object->node[1];
            object->mark[0] = object->mark[1];
        }
    }
    held_less(head, object, node);
    head_record(head, 'r', object->id.lo, node);
    head_object_touch(head, object);
    head_object_check_named(head, object);
}

void head_object_drop(struct head *head, struct object *object, const struct member *member, uint32_t seen)
{
    bool is_there;
    uint32_t place = holder_place(object, member->number, &is_there);
    if (is_there && head_keeps(head, HEAD_RULE_MENTION) && *holder_mark(object, place) > member_seen(member, seen)) {
        head->counts.void_drops++;
        return;
    }
    head_object_release(head, object, member->number);
}

void head_object_reset_marks(struct object *object, uint32_t node)
{
    bool is_there;
    uint32_t place = holder_place(object, node, &is_there);
    if (is_there) {
        *holder_mark(object, place) = 0;
    }
}

/* ------------------------------------------------------------------------------------------------ locations */

uint32_t head_object_locations_count(const struct object *object)
{
    return object->locations_count == OBJECT_MANY ? object->more->locations.count : object->locations_count;
}

uint32_t head_object_location(const struct object *object, uint32_t i)
{
    return object->locations_count == OBJECT_MANY ? object->more->locations.at[i] : object->location[i];
}

bool head_object_is_at(const struct object *object, uint32_t node)
{
    if (object->locations_count == OBJECT_MANY) {
        return numbers_has(&object->more->locations, node);
    }
    for (uint32_t i = 0; i < object->locations_count; i++) {
        if (object->location[i] == node) {
            return true;
        }
    }
    return false;
}

static void add_location(struct object *object, uint32_t node)
{
    if (object->locations_count >= 2) {
        struct numbers *many = &head_object_more(object)->locations;
        for (uint32_t i = 0; i < 2 && object->locations_count == 2; i++) {
            numbers_add(many, object->location[i]);
        }
        object->locations_count = OBJECT_MANY;
        numbers_add(many, node);
        return;
    }
    uint32_t place = object->locations_count == 1 && object->location[0] < node ? 1 : 0;
    if (place == 0) {
        object->location[1] = object->location[0];
    }
    object->location[place] = (uint16_t)node;
    object->locations_count++;
}

void head_object_locate(struct head *head, struct object *object, uint32_t node)
{
    if (object->more != NULL) {
        numbers_remove(&object->more->coming, node);
    }
    if (head_object_is_at(object, node)) {
        return;
    }
    add_location(object, node);
    member_at(head, node)->stored++;
    gather_object_moved(object);
    head_record(head, 'l', object->id.lo, node);
    head_object_touch(head, object);
    if (head_object_locations_count(object) == 1) {
        head_object_changed(head, object, false);
    }
}

void head_object_unlocate(struct head *head, struct object *object, uint32_t node, const char *why)
{
    if (!head_object_is_at(object, node)) {
        return;
    }
    if (object->locations_count == OBJECT_MANY) {
        struct numbers *many = &object->more->locations;
        numbers_remove(many, node);
        if (many->count == 2) {
            memcpy(object->location, many->at, sizeof object->location);
            many->count = 0;
            object->locations_count = 2;
        }
    } else {
        if (object->location[0] == node) {
            object->location[0] = object->location[1];
        }
        object->locations_count--;
    }
    gather_object_moved(object);
    stored_less(head, object, node);
    head_record(head, 'u', object->id.lo, node);
    head_object_touch(head, object);
    bool has_value = object->more != NULL && object->more->has_value;
    bool may_lose = !head_in_census(head) || !head_keeps(head, HEAD_RULE_CENSUS);
    if (head_object_locations_count(object) == 0 && !has_value && object->state == OBJECT_SEALED && may_lose) {
        head_object_fail(head, object, OBJECT_LOST,
                         failure_make(ROOST_ELOST, member_name(head, node),
                                      "its last copy was on node %u (%s), which %s", node, member_name(head, node),
                                      why));
    } else {
        head_object_changed(head, object, false);
    }
}

/* ------------------------------------------------------------------------------------------------ names */

/* The call that is to make it is under way here: made again by a later attempt of its caller, it is this one. */
static bool is_being_made(const struct object *object)
{
    const struct task *producer = object->more == NULL ? NULL : object->more->producer;
    return producer != NULL && head_task_is_under_way(producer);
}

bool head_object_is_named(const struct head *head, const struct object *object)
{
    return object->nodes_count > 0 || head_object_is_queued(head, object) ||
           (object->containers > 0 && head_keeps(head, HEAD_RULE_FREE)) || is_being_made(object);
}

void head_object_name(struct object *object)
{
    ROOST_PRE(object->containers < UINT32_MAX);
    object->containers++;
}

static void unnamed_by_one(struct head *head, struct object *object)
{
    head_object_touch(head, object);
    head_object_check_named(head, object);
}

void head_object_unname(struct head *head, struct object *object)
{
    ROOST_PRE(object->containers > 0);
    object->containers--;
    unnamed_by_one(head, object);
}

void head_object_link(struct object *object, struct input *input)
{
    list_init(&input->of_object);
    if (object->inputs == NULL) {
        object->inputs = input;
    } else {
        list_append(&object->inputs->of_object, &input->of_object);
    }
}

struct input *head_object_next_input(const struct object *object, const struct input *input)
{
    struct input *next = CONTAINER_OF(input->of_object.next, struct input, of_object);
    return next == object->inputs ? NULL : next;
}

void head_object_unlink(struct head *head, struct object *object, struct input *input)
{
    if (object->inputs == input) {
        object->inputs = head_object_next_input(object, input);
    }
    list_remove(&input->of_object);
    if (head_keeps(head, HEAD_RULE_ORDER)) {
        unnamed_by_one(head, object);
    }
}

bool head_object_is_queued(const struct head *head, const struct object *object)
{
    return object->inputs != NULL && head_keeps(head, HEAD_RULE_ORDER);
}

uint32_t head_object_queued(const struct object *object)
{
    uint32_t count = 0;
    for (const struct input *at = object->inputs; at != NULL; at = head_object_next_input(object, at)) {
        count++;
    }
    return count;
}

uint32_t head_object_columns(const struct object *object) { return object->more == NULL ? 0 : object->more->columns; }

void head_object_check_named(struct head *head, struct object *object)
{
    if (!head_object_is_named(head, object) && (object->flags & OBJECT_UNNAMED) == 0) {
        object->flags |= OBJECT_UNNAMED;
        line_add(&head->unnamed, object);
    }
}

void head_object_contain(struct head *head, struct object *object, struct object **contained, uint32_t count)
{
    struct object_more *more = head_object_more(object);
    ROOST_PRE(more->contained == NULL);
    more->contained = contained;
    more->contained_count = count;
    head->contained_count += count;
    for (uint32_t i = 0; i < count; i++) {
        head_object_name(contained[i]);
        head_record(head, 'c', object->id.lo, contained[i]->id.lo);
    }
}

void head_object_let_go(struct head *head, struct object *object)
{
    struct object_more *more = object->more;
    if (more == NULL) {
        return;
    }
    gather_free(object);
    for (uint32_t i = 0; i < more->contained_count; i++) {
        head_object_unname(head, more->contained[i]);
    }
    head->contained_count -= more->contained_count;
    free(more->contained);
    more->contained = NULL;
    more->contained_count = 0;
    head_object_touch(head, object);
}

bool head_object_is_valid(const struct head *head, const struct object *object)
{
    for (uint32_t i = 0; i < head_object_holders_count(object); i++) {
        const struct member *member = member_at(head, head_object_holder(object, i).node);
        if (member == NULL || !member_lives(member) ||
            (i > 0 && head_object_holder(object, i - 1).node >= head_object_holder(object, i).node)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        const struct member *member = member_at(head, head_object_location(object, i));
        if (member == NULL || !member_lives(member) ||
            (i > 0 && head_object_location(object, i - 1) >= head_object_location(object, i))) {
            return false;
        }
    }
    bool has_value = object->more != NULL && object->more->has_value;
    bool has_failure = object->more != NULL && object->more->failure != NULL;
    switch ((enum object_state)object->state) {
    case OBJECT_UNKNOWN:
    case OBJECT_PENDING:
        break;
    case OBJECT_SEALED:
        if (head_object_locations_count(object) == 0 && !has_value && !head_in_census(head)) {
            return false;
        }
        break;
    case OBJECT_FAILED:
    case OBJECT_LOST:
        if (!has_failure) {
            return false;
        }
        break;
    }
    return head_object_is_named(head, object) || (object->flags & OBJECT_UNNAMED) != 0;
}
