/* object.c - the directory: every public object, who holds it, where it is
 *
 * Owns the object records (records.h). Two holders and two locations fit in the record, what few objects have lies beside
 * it.
 *
 * Happy path: made PENDING or SEALED -> sealed -> holders and locations come and go -> nothing names it (free.c).
 * Failures:   the task fails -> FAILED; the last copy goes -> LOST, and sealed again should a copy turn up.
 * Invariants: a holder's number is that of a living member; containers is the number of living objects that list it;
 *             what nothing names is on head.unnamed.
 * Thread:     the core's.
 */
#include "common/limits.h"
#include "common/trace.h"
#include "objectstore/table.h"
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct object) == 80, "a hundred million of them");

/* ------------------------------------------------------------------------------------------------ records */

struct object *head_object_find(const struct head *head, struct object_id id)
{
    return records_find(&head->objects, object_id_key(id));
}

struct object *head_object_number(const struct head *head, uint32_t number)
{
    return records_number(&head->objects, number);
}

void head_object_touch(struct head *head, const struct object *object)
{
    if (head->touched_count < HEAD_TOUCHED_MAX) {
        head->touched[head->touched_count++] = object->id;
    }
}

struct object *head_object_make(struct head *head, struct object_id id, enum object_state state)
{
    struct object *object = records_make(&head->objects, object_id_key(id));
    object->state = (uint8_t)state;
    head->unknown_count += state == OBJECT_UNKNOWN ? 1 : 0;
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
    head_record(head, 'f', object->id.lo, object->state);
    head->unknown_count -= object->state == OBJECT_UNKNOWN ? 1 : 0;
    for (uint32_t i = 0; i < head_object_locations_count(object); i++) {
        stored_less(head, object, head_object_location(object, i));
    }
    free_more(object->more);
    records_forget(&head->objects, object);
}

void head_objects_fini(struct head *head)
{
    for (uint32_t i = 0; i < head->objects.used; i++) { /* gathers are linked to other objects */
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            gather_free(object);
        }
    }
    for (uint32_t i = 0; i < head->objects.used; i++) {
        struct object *object = head_object_number(head, i);
        if (object != NULL) {
            free_more(object->more);
        }
    }
    records_fini(&head->objects);
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

bool head_object_is_orphan(const struct object *object)
{
    return object->state == OBJECT_PENDING && object->home == HEAD_NOBODY &&
           (object->more == NULL || object->more->producer == NULL);
}

void head_object_changed(struct head *head, struct object *object, bool all)
{
    object->flags |= all ? OBJECT_TOLD_ALL : 0;
    if ((object->flags & OBJECT_CHANGED) == 0) {
        object->flags |= OBJECT_CHANGED;
        line_add(&head->changed, object);
    }
}

void head_object_led_on(struct head *head, struct object *object)
{
    object->flags |= OBJECT_LED_ON;
    head_object_changed(head, object, false);
}

bool head_object_is_forward(const struct object *object)
{
    return object->state == OBJECT_SEALED && object->format == TABLE_FORWARD && object->more != NULL &&
           object->more->contained_count == 1;
}

struct object *head_object_end(struct object *object)
{
    for (int hops = 0; hops < STORE_FORWARDS_MAX && head_object_is_forward(object); hops++) {
        object = object->more->contained[0];
    }
    return object;
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
    if (object->more != NULL && object->more->gather != NULL && !gather_is_valid(head, object->more->gather)) {
        return false;
    }
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
