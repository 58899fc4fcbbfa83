/* decode.c - bytes to structs
 *
 * Happy path: protobuf-c unpacks into the capped arena; each struct is taken over field by field by its table
 *             (shape.c), then checked as a whole (check.c). Runs of bytes, ids and numbers stay where protobuf-c put
 *             them.
 * Failures:   protobuf-c says only "no"; everything found here names the message and the field. Nothing is given back
 *             one by one: the arena goes as a whole.
 * Invariants: no allocation outside the arena, so its cap bounds what a frame can cost. The schema has no message
 *             inside itself, so the depth of recursion here and in protobuf-c is that of the schema.
 * Thread:     any; the arena's.
 */
#include "proto/decode.h"
#include "common/error.h"
#include "proto/shape_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ids are taken over as they stand on the wire");
_Static_assert(sizeof(struct object_id) == 16 && sizeof(struct id_key) == 16, "ids are 16 bytes");

enum { ID_BYTES = 16 };

static void *take_for_protobuf(void *arena, size_t size) { return proto_arena_take(arena, size); }

static void give_back_nothing(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

/* The cap, or malloc: from here they cannot be told apart, and the frame is refused either way. */
static int no_room(const struct proto_arena *arena)
{
    return error_set(ROOST_ETOOBIG, "decoded, it is over %zu bytes", arena->bytes_max);
}

static int take_id(const ProtobufCBinaryData *wire, struct id_key *id)
{
    *id = (struct id_key){ 0, 0 };
    if (wire->len == 0) {
        return 0; /* none; check.c knows whether that is allowed */
    }
    if (wire->len != ID_BYTES) {
        return error_set(ROOST_EINVAL, "an id of %zu bytes", wire->len);
    }
    memcpy(id, wire->data, ID_BYTES);
    return (id->hi | id->lo) == 0 ? error_set(ROOST_EINVAL, "an id of zeros") : 0;
}

static int take_ids(const ProtobufCBinaryData *wire, struct proto_objects *objects)
{
    if (wire->len % ID_BYTES != 0) {
        return error_set(ROOST_EINVAL, "ids of %zu bytes together", wire->len);
    }
    *objects = (struct proto_objects){ (const void *)wire->data, wire->len / ID_BYTES };
    return 0;
}

static int take_text(struct proto_arena *arena, const ProtobufCBinaryData *wire, uint64_t max, const char **text)
{
    if (wire->len == 0) {
        *text = "";
        return 0;
    }
    if (wire->len > max) {
        return error_set(ROOST_ETOOBIG, "%zu bytes, at most %llu", wire->len, (unsigned long long)max);
    }
    if (memchr(wire->data, 0, wire->len) != NULL) {
        return error_set(ROOST_EINVAL, "a NUL in a text");
    }
    char *copy = proto_arena_take(arena, wire->len + 1);
    if (copy == NULL) {
        return no_room(arena);
    }
    memcpy(copy, wire->data, wire->len);
    copy[wire->len] = '\0';
    *text = copy;
    return 0;
}

static int take_texts(struct proto_arena *arena, const struct field *field, const ProtobufCBinaryData *wire,
                      size_t count, const char *const **texts_out)
{
    if (count > field->max) {
        return error_set(ROOST_ETOOBIG, "%zu, at most %llu", count, (unsigned long long)field->max);
    }
    const char **texts = proto_arena_take_zeroed(arena, count, sizeof *texts);
    if (texts == NULL) {
        return no_room(arena);
    }
    for (size_t i = 0; i < count; i++) {
        int status = take_text(arena, &wire[i], PROTO_TEXT_BYTES_MAX, &texts[i]);
        if (status != 0) {
            return error_prefix(status, "[%zu]", i);
        }
    }
    *texts_out = texts;
    return 0;
}

static int take_bytes(const struct proto_arena *arena, const struct field *field, const ProtobufCBinaryData *wire,
                      struct proto_bytes *bytes)
{
    *bytes = (struct proto_bytes){ wire->data, wire->len };
    if (wire->len == 0 || wire->len > field->max) {
        return 0; /* check.c knows */
    }
    switch (field->check) {
    case CHECK_NOTHING:
        return 0;
    case CHECK_SPEC:
        return arena->checks.spec == NULL ? 0 : arena->checks.spec(bytes->data, bytes->size);
    case CHECK_JOB:
        return arena->checks.job == NULL ? 0 : arena->checks.job(bytes->data, bytes->size);
    }
    ROOST_IMPOSSIBLE("a kind of run without a check");
}

static int take_shape(struct proto_arena *arena, const struct shape *shape, const void *wire, void *ours);

static int take_optional(struct proto_arena *arena, const struct shape *shape, const void *wire, const void **part_out)
{
    *part_out = NULL;
    if (wire == NULL) {
        return 0;
    }
    void *part = proto_arena_take_zeroed(arena, 1, shape->ours_bytes);
    if (part == NULL) {
        return no_room(arena);
    }
    *part_out = part;
    return take_shape(arena, shape, wire, part);
}

static int take_list(struct proto_arena *arena, const struct field *field, const void *const *wire, size_t count,
                     const void **items_out)
{
    const struct shape *shape = field->shape;
    if (count > field->max) {
        return error_set(ROOST_ETOOBIG, "%zu, at most %llu", count, (unsigned long long)field->max);
    }
    void *items = proto_arena_take_zeroed(arena, count, shape->ours_bytes);
    if (items == NULL) {
        return no_room(arena);
    }
    for (size_t i = 0; i < count; i++) {
        int status = take_shape(arena, shape, wire[i], field_at(items, i * shape->ours_bytes));
        if (status != 0) {
            return error_prefix(status, "[%zu]", i);
        }
    }
    *items_out = items;
    return 0;
}

/* `ours` is zeroed. */
static int take_field(struct proto_arena *arena, const struct field *field, const void *wire, void *ours)
{
    const void *from = field_in(wire, field->wire);
    void *to = field_at(ours, field->ours);
    const size_t *wire_count = field_in(wire, field->wire_count); /* of lists only */
    size_t *count = field_at(ours, field->ours_count);
    switch (field->kind) {
    case FIELD_ID:
        return take_id(from, to);
    case FIELD_U32:
    case FIELD_I32:
        memcpy(to, from, sizeof(uint32_t));
        return 0;
    case FIELD_U64:
        memcpy(to, from, sizeof(uint64_t));
        return 0;
    case FIELD_BOOL:
        *(bool *)to = *(const protobuf_c_boolean *)from != 0;
        return 0;
    case FIELD_TEXT:
        return take_text(arena, from, field->max, to);
    case FIELD_BYTES:
        return take_bytes(arena, field, from, to);
    case FIELD_IDS:
        return take_ids(from, to);
    case FIELD_NUMBERS:
        *(struct proto_holders *)to = (struct proto_holders){ *(uint32_t *const *)from, *wire_count };
        return 0;
    case FIELD_TEXTS:
        *count = *wire_count;
        return take_texts(arena, field, *(ProtobufCBinaryData *const *)from, *wire_count, to);
    case FIELD_PART: {
        const void *part = *(const void *const *)from;
        return part == NULL ? 0 : take_shape(arena, field->shape, part, to);
    }
    case FIELD_OPTIONAL:
        return take_optional(arena, field->shape, *(const void *const *)from, to);
    case FIELD_LIST:
        *count = *wire_count;
        return take_list(arena, field, *(const void *const *const *)from, *wire_count, to);
    }
    ROOST_IMPOSSIBLE("a kind of field that cannot be read");
}

static int take_shape(struct proto_arena *arena, const struct shape *shape, const void *wire, void *ours)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        int status = take_field(arena, &shape->fields[i], wire, ours);
        if (status != 0) {
            return error_prefix(status, "%s", shape->fields[i].name);
        }
    }
    return 0;
}

static int take_message(struct proto_arena *arena, const Roost__V1__Message *wire, struct proto_message *message)
{
    const struct shape_of_kind *kind = shape_of_kind((enum proto_kind)wire->body_case);
    if (kind == NULL) {
        return error_set(ROOST_EINVAL, "of no known kind");
    }
    message->kind = (enum proto_kind)wire->body_case;
    void *ours = field_at(message, kind->ours);
    int status = take_shape(arena, kind->shape, wire->publish, ours); /* the member of the oneof, whichever it is */
    if (status == 0) {
        status = shape_check(kind->shape, ours);
    }
    return status == 0 ? 0 : error_prefix(status, "%s", kind->name);
}

static int take_batch(struct proto_arena *arena, const Roost__V1__Frame *wire, struct proto_frame *frame)
{
    if ((wire->number == 0) != (wire->n_messages == 0)) {
        return error_set(ROOST_EINVAL, "batch %u with %zu messages", wire->number, wire->n_messages);
    }
    if (wire->number != 0 && wire->after != 0) {
        return error_set(ROOST_EINVAL, "batch %u after batch %u", wire->number, wire->after);
    }
    struct proto_message *messages = proto_arena_take_zeroed(arena, wire->n_messages, sizeof *messages);
    if (messages == NULL) {
        return no_room(arena);
    }
    for (size_t i = 0; i < wire->n_messages; i++) {
        int status = take_message(arena, wire->messages[i], &messages[i]);
        if (status != 0) {
            return error_prefix(status, "message %zu", i);
        }
    }
    *frame = (struct proto_frame){ .kind = PROTO_FRAME_BATCH,
                                   .number = wire->number,
                                   .seen = wire->seen,
                                   .after = wire->after,
                                   .messages = messages,
                                   .count = wire->n_messages };
    return 0;
}

static int take_greeting(struct proto_arena *arena, const struct shape *shape, const void *wire, void *ours)
{
    if (wire == NULL) {
        return error_set(ROOST_EINVAL, "is not there");
    }
    int status = take_shape(arena, shape, wire, ours);
    return status == 0 ? shape_check(shape, ours) : status;
}

static int take_frame(struct proto_arena *arena, const Roost__V1__Frame *wire, size_t size, struct proto_frame *frame)
{
    bool is_batch = wire->kind == PROTO_FRAME_BATCH;
    if (!is_batch && size > PROTO_HELLO_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "a hello of %zu bytes, at most %d", size, PROTO_HELLO_BYTES_MAX);
    }
    bool holds_batch = wire->n_messages > 0 || (wire->number | wire->seen | wire->after) != 0;
    if ((wire->hello != NULL) + (wire->refusal != NULL) + (holds_batch || is_batch) > 1) {
        return error_set(ROOST_EINVAL, "a frame that is several things");
    }
    frame->kind = (enum proto_frame_kind)wire->kind;
    int status;
    switch (frame->kind) {
    case PROTO_FRAME_HELLO:
        status = take_greeting(arena, &proto_hello_shape, wire->hello, &frame->hello);
        return status == 0 ? 0 : error_prefix(status, "HELLO");
    case PROTO_FRAME_REFUSAL:
        status = take_greeting(arena, &proto_refusal_shape, wire->refusal, &frame->refusal);
        return status == 0 ? 0 : error_prefix(status, "REFUSAL");
    case PROTO_FRAME_BATCH:
        return take_batch(arena, wire, frame);
    }
    return error_set(ROOST_EINVAL, "a frame of no known kind (%u)", wire->kind);
}

int proto_decode(struct proto_arena *arena, const void *bytes, size_t size, struct proto_frame *frame_out)
{
    if (size > PROTO_FRAME_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "a frame of %zu bytes, at most %d", size, PROTO_FRAME_BYTES_MAX);
    }
    ProtobufCAllocator allocator = { take_for_protobuf, give_back_nothing, arena };
    const Roost__V1__Frame *wire = roost__v1__frame__unpack(&allocator, size, bytes);
    if (wire == NULL) {
        return arena->is_full ? no_room(arena) : error_set(ROOST_EINVAL, "%zu bytes that are no frame", size);
    }
    struct proto_frame frame = { .number = 0 };
    int status = take_frame(arena, wire, size, &frame);
    if (status == 0) {
        *frame_out = frame;
    }
    return status;
}
