/* proto_random.c - see the header
 *
 * Fills a message field by field as proto/shape.c describes it, so that a new kind or field is covered without a line
 * here; two messages are the same when every field that the shape names is. Ends of ranges and empty lists come often.
 * Failures:   a kind that the shape does not have is a programmer's error.
 * Invariants: the same seed gives the same messages.
 * Thread:     one.
 */
#include "tests/lib/proto_random.h"
#include "common/bytes.h"
#include "proto/shape_internal.h"

uint64_t proto_random_next(struct proto_random *random) /* splitmix64 */
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t proto_random_below(struct proto_random *random, uint64_t limit) { return proto_random_next(random) % limit; }

/* Both ends of the range come often, small numbers too. */
static uint64_t between(struct proto_random *random, uint64_t min, uint64_t max)
{
    uint64_t span = max - min;
    switch (proto_random_below(random, 4)) {
    case 0:
        return min;
    case 1:
        return max;
    case 2:
        return min + proto_random_below(random, span < 100 ? span + 1 : 100);
    default:
        return span == UINT64_MAX ? proto_random_next(random) : min + proto_random_below(random, span + 1);
    }
}

static size_t few(struct proto_random *random, uint64_t min, uint64_t max)
{
    uint64_t most = min + 4;
    return (size_t)(min + proto_random_below(random, (max < most ? max : most) - min + 1));
}

static struct id_key some_id(struct proto_random *random)
{
    return (struct id_key){ proto_random_next(random), proto_random_next(random) | 1 };
}

static const char *some_text(struct proto_random *random, struct proto_arena *arena, uint64_t max)
{
    size_t size = proto_random_below(random, 20) == 0 ? max : few(random, 0, max);
    char *text = proto_arena_take(arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)(1 + proto_random_below(random, 255));
    }
    text[size] = '\0';
    return text;
}

static struct proto_bytes some_bytes(struct proto_random *random, struct proto_arena *arena, size_t size)
{
    unsigned char *data = proto_arena_take(arena, size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)proto_random_next(random);
    }
    return (struct proto_bytes){ size == 0 ? NULL : data, size };
}

static void fill_shape(struct proto_random *random, struct proto_arena *arena, const struct shape *shape, void *ours);

static void fill_field(struct proto_random *random, struct proto_arena *arena, const struct field *field, void *ours)
{
    void *at = field_at(ours, field->ours);
    size_t *count = field_at(ours, field->ours_count);
    switch (field->kind) {
    case FIELD_ID:
        *(struct id_key *)at = field->min == 0 && proto_random_below(random, 2) == 0 ? (struct id_key){ 0, 0 }
                                                                                     : some_id(random);
        break;
    case FIELD_U32:
        *(uint32_t *)at = (uint32_t)between(random, field->min, field->max);
        break;
    case FIELD_I32: /* a negative status is always right */
        *(int32_t *)at = -1 - (int32_t)proto_random_below(random, 100);
        break;
    case FIELD_U64:
        *(uint64_t *)at = between(random, field->min, field->max);
        break;
    case FIELD_BOOL:
        *(bool *)at = proto_random_below(random, 2) == 1;
        break;
    case FIELD_TEXT:
        *(const char **)at = some_text(random, arena, field->max);
        break;
    case FIELD_BYTES:
        *(struct proto_bytes *)at = some_bytes(random, arena, few(random, field->min, field->max));
        break;
    case FIELD_IDS: {
        size_t ids = few(random, 0, field->max);
        struct id_key *list = proto_arena_take_zeroed(arena, ids, sizeof *list);
        for (size_t i = 0; i < ids; i++) {
            list[i] = some_id(random);
        }
        *(struct proto_objects *)at = (struct proto_objects){ (const void *)list, ids };
        break;
    }
    case FIELD_NUMBERS: {
        size_t numbers = few(random, 0, field->max);
        uint32_t *list = proto_arena_take_zeroed(arena, numbers, sizeof *list);
        for (size_t i = 0; i < numbers; i++) {
            list[i] = (uint32_t)between(random, 0, NODES_MAX - 1);
        }
        *(struct proto_holders *)at = (struct proto_holders){ list, numbers };
        break;
    }
    case FIELD_TEXTS: {
        *count = few(random, 1, field->max);
        const char **texts = proto_arena_take_zeroed(arena, *count, sizeof *texts);
        for (size_t i = 0; i < *count; i++) {
            texts[i] = some_text(random, arena, 30);
        }
        *(const char ***)at = texts;
        break;
    }
    case FIELD_PART:
        fill_shape(random, arena, field->shape, at);
        break;
    case FIELD_OPTIONAL: {
        void *part = proto_arena_take_zeroed(arena, 1, field->shape->ours_bytes);
        fill_shape(random, arena, field->shape, part);
        *(void **)at = proto_random_below(random, 2) == 0 ? part : NULL;
        break;
    }
    case FIELD_LIST: {
        *count = few(random, 0, field->max);
        void *items = proto_arena_take_zeroed(arena, *count, field->shape->ours_bytes);
        for (size_t i = 0; i < *count; i++) {
            fill_shape(random, arena, field->shape, field_at(items, i * field->shape->ours_bytes));
        }
        *(void **)at = items;
        break;
    }
    }
}

/* What a rule asks of several fields together, for values: all of it or nothing. */
static void agree(bool sealed, bool *has_value, struct proto_bytes *value, struct proto_content *content)
{
    *has_value = *has_value && sealed;
    if (*has_value) {
        content->size = value->size;
    } else {
        *value = (struct proto_bytes){ NULL, 0 };
    }
}

static void fill_return(struct proto_return *item) { agree(true, &item->has_value, &item->value, &item->content); }
static void fill_arg(struct proto_task_arg *arg) { agree(true, &arg->has_value, &arg->value, &arg->content); }

static const struct proto_failure *failure_for(bool failed, struct proto_arena *arena)
{
    struct proto_failure *failure = proto_arena_take_zeroed(arena, 1, sizeof *failure);
    failure->status = ROOST_EFAILED;
    failure->function = failure->node = failure->text = "why";
    return failed ? failure : NULL;
}

static void fill_shape(struct proto_random *random, struct proto_arena *arena, const struct shape *shape, void *ours)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        fill_field(random, arena, &shape->fields[i], ours);
    }
    if (shape->descriptor == &roost__v1__return__descriptor) {
        fill_return(ours);
    } else if (shape->descriptor == &roost__v1__task_arg__descriptor) {
        fill_arg(ours);
    }
}

static void settle(struct proto_random *random, struct proto_arena *arena, struct proto_message *message)
{
    struct proto_publish *publish = &message->u.publish;
    struct proto_found *found = &message->u.found;
    struct proto_rows *rows = &message->u.rows;
    roost_ref *ref = &message->u.pull.ref;
    if (message->kind == PROTO_PUBLISH) {
        publish->failure = failure_for(publish->state == PROTO_FAILED, arena);
        agree(publish->state == PROTO_SEALED, &publish->has_value, &publish->value, &publish->content);
    } else if (message->kind == PROTO_FOUND) {
        found->failure = failure_for(found->state == PROTO_FAILED, arena);
        agree(found->state == PROTO_SEALED, &found->has_value, &found->value, &found->content);
    } else if (message->kind == PROTO_COMPLETE && message->u.complete.failure != NULL) {
        message->u.complete.returns_count = 0;
    } else if (message->kind == PROTO_ROWS) {
        rows->cells_count -= rows->cells_count % rows->columns_count;
    } else if (message->kind == PROTO_PULL) {
        ref->offset = proto_random_below(random, 1000);
        ref->size = proto_random_below(random, 2) == 0 ? ROOST_COLUMN : proto_random_below(random, 1000);
    } else if (message->kind == PROTO_PULL_ANSWER) {
        struct proto_pull_answer *answer = &message->u.pull_answer;
        bool is_part = proto_random_below(random, 2) == 0;
        answer->refs_count = is_part ? 0 : answer->refs_count;
        answer->trailer_bytes = is_part ? 0
                                        : align_up(answer->content.size, 8) - answer->content.size +
                                              answer->content.columns * sizeof(uint64_t) +
                                              answer->refs_count * sizeof(roost_ref);
    } else if (message->kind == PROTO_PULL_STREAM) {
        message->u.pull_stream.offset = proto_random_below(random, 1000);
        message->u.pull_stream.size = proto_random_below(random, ROOST_OBJECT_BYTES_MAX);
    }
}

void proto_random_message(struct proto_random *random, struct proto_arena *arena, enum proto_kind kind,
                          struct proto_message *message_out)
{
    memset(message_out, 0, sizeof *message_out);
    message_out->kind = kind;
    const struct shape_of_kind *found = shape_of_kind(kind);
    fill_shape(random, arena, found->shape, field_at(message_out, found->ours));
    settle(random, arena, message_out);
}

void proto_random_hello(struct proto_random *random, struct proto_arena *arena, struct proto_hello *hello_out)
{
    memset(hello_out, 0, sizeof *hello_out);
    fill_shape(random, arena, &proto_hello_shape, hello_out);
    struct id_key id = some_id(random);
    hello_out->node = node_id_from(id);
    hello_out->version_min = PROTO_VERSION_MIN;
    hello_out->version_max = PROTO_VERSION_MAX;
}

/* ---------------------------------------------------------------------------------------------- the same? */

static bool bytes_are_same(const void *a, const void *b, size_t size) { return size == 0 || memcmp(a, b, size) == 0; }
static bool shapes_are_same(const struct shape *shape, const void *a, const void *b);

static bool lists_are_same(const struct shape *shape, const void *a, const void *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!shapes_are_same(shape, field_in(a, i * shape->ours_bytes), field_in(b, i * shape->ours_bytes))) {
            return false;
        }
    }
    return true;
}

static bool fields_are_same(const struct field *field, const void *a, const void *b)
{
    const void *x = field_in(a, field->ours), *y = field_in(b, field->ours);
    const size_t *x_count = field_in(a, field->ours_count), *y_count = field_in(b, field->ours_count);
    switch (field->kind) {
    case FIELD_ID:
        return memcmp(x, y, 16) == 0;
    case FIELD_U32:
    case FIELD_I32:
        return memcmp(x, y, 4) == 0;
    case FIELD_U64:
        return memcmp(x, y, 8) == 0;
    case FIELD_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case FIELD_TEXT:
        return strcmp(*(const char *const *)x, *(const char *const *)y) == 0;
    case FIELD_BYTES: {
        const struct proto_bytes *p = x, *q = y;
        return p->size == q->size && bytes_are_same(p->data, q->data, p->size);
    }
    case FIELD_IDS: {
        const struct proto_objects *p = x, *q = y;
        return p->count == q->count && bytes_are_same(p->ids, q->ids, 16 * p->count);
    }
    case FIELD_NUMBERS: {
        const struct proto_holders *p = x, *q = y;
        return p->count == q->count && bytes_are_same(p->nodes, q->nodes, 4 * p->count);
    }
    case FIELD_TEXTS: {
        const char *const *p = *(const char *const *const *)x, *const *q = *(const char *const *const *)y;
        bool same = *x_count == *y_count;
        for (size_t i = 0; same && i < *x_count; i++) {
            same = strcmp(p[i], q[i]) == 0;
        }
        return same;
    }
    case FIELD_PART:
        return shapes_are_same(field->shape, x, y);
    case FIELD_OPTIONAL: {
        const void *p = *(const void *const *)x, *q = *(const void *const *)y;
        return p == NULL || q == NULL ? p == q : shapes_are_same(field->shape, p, q);
    }
    case FIELD_LIST:
        return *x_count == *y_count &&
               lists_are_same(field->shape, *(const void *const *)x, *(const void *const *)y, *x_count);
    }
    return false;
}

static bool shapes_are_same(const struct shape *shape, const void *a, const void *b)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        if (!fields_are_same(&shape->fields[i], a, b)) {
            return false;
        }
    }
    return true;
}

bool proto_message_is_same(const struct proto_message *a, const struct proto_message *b)
{
    const struct shape_of_kind *kind = shape_of_kind(a->kind);
    return a->kind == b->kind && shapes_are_same(kind->shape, field_in(a, kind->ours), field_in(b, kind->ours));
}

bool proto_hello_is_same(const struct proto_hello *a, const struct proto_hello *b)
{
    return shapes_are_same(&proto_hello_shape, a, b);
}
