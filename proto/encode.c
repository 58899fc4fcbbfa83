/* encode.c - structs to bytes: the table checks ours, fills protobuf-c's struct in the scratch arena, protobuf-c packs
 * it
 *
 * Failures:   before anything is appended, so the buffer is never left with half a message.
 * Invariants: protobuf-c's structs point into ours or into the scratch arena; they are not written to by packing.
 * Thread:     any; the scratch arena's.
 */
#include "proto/encode.h"
#include "common/error.h"
#include "proto/shape_internal.h"

#include <stdlib.h>

enum { ID_BYTES = 16, BUFFER_BYTES_FIRST = 512 };

void proto_buffer_fini(struct proto_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct proto_buffer){ NULL, 0, 0 };
}

static int make_room(struct proto_buffer *buffer, size_t bytes)
{
    size_t needed, capacity = buffer->capacity == 0 ? BUFFER_BYTES_FIRST : buffer->capacity;
    if (!size_add(buffer->size, bytes, &needed)) {
        return ROOST_ENOMEM;
    }
    while (capacity < needed) {
        if (!size_mul(capacity, 2, &capacity)) {
            return ROOST_ENOMEM;
        }
    }
    if (capacity > buffer->capacity) {
        unsigned char *bigger = realloc(buffer->bytes, capacity);
        if (bigger == NULL) {
            return error_set(ROOST_ENOMEM, "a frame of %zu bytes", needed);
        }
        buffer->bytes = bigger;
        buffer->capacity = capacity;
    }
    return 0;
}

int proto_buffer_append(struct proto_buffer *buffer, const void *bytes, size_t size)
{
    int status = make_room(buffer, size);
    if (status == 0 && size > 0) {
        memcpy(buffer->bytes + buffer->size, bytes, size);
        buffer->size += size;
    }
    return status;
}

static int no_room(const struct proto_arena *scratch)
{
    return error_set(ROOST_ENOMEM, "more than %zu bytes to encode one message", scratch->bytes_max);
}

/* protobuf-c reads through pointers to non-const. */
static ProtobufCBinaryData view_of(const void *data, size_t size)
{
    return (ProtobufCBinaryData){ size, (uint8_t *)(uintptr_t)data };
}

static ProtobufCBinaryData view_of_text(const char *text)
{
    return text == NULL ? view_of(NULL, 0) : view_of(text, strlen(text));
}

static ProtobufCBinaryData view_of_id(const struct id_key *id)
{
    return (id->hi | id->lo) == 0 ? view_of(NULL, 0) : view_of(id, ID_BYTES);
}

static int give_texts(struct proto_arena *scratch, const char *const *texts, size_t count,
                      ProtobufCBinaryData **wire_out)
{
    ProtobufCBinaryData *wire = proto_arena_take_zeroed(scratch, count, sizeof *wire);
    if (wire == NULL) {
        return no_room(scratch);
    }
    for (size_t i = 0; i < count; i++) {
        wire[i] = view_of_text(texts[i]);
    }
    *wire_out = wire;
    return 0;
}

static int give_shape(struct proto_arena *scratch, const struct shape *shape, const void *ours, void **wire_out);

static int give_list(struct proto_arena *scratch, const struct shape *shape, const void *items, size_t count,
                     void ***wire_out)
{
    void **wire = proto_arena_take_zeroed(scratch, count, sizeof *wire);
    if (wire == NULL) {
        return no_room(scratch);
    }
    for (size_t i = 0; i < count; i++) {
        int status = give_shape(scratch, shape, field_in(items, i * shape->ours_bytes), &wire[i]);
        if (status != 0) {
            return status;
        }
    }
    *wire_out = wire;
    return 0;
}

static int give_field(struct proto_arena *scratch, const struct field *field, const void *ours, void *wire)
{
    const void *from = field_in(ours, field->ours);
    void *to = field_at(wire, field->wire);
    const size_t *count = field_in(ours, field->ours_count); /* of lists only */
    size_t *wire_count = field_at(wire, field->wire_count);
    switch (field->kind) {
    case FIELD_ID:
        *(ProtobufCBinaryData *)to = view_of_id(from);
        return 0;
    case FIELD_U32:
    case FIELD_I32:
        memcpy(to, from, sizeof(uint32_t));
        return 0;
    case FIELD_U64:
        memcpy(to, from, sizeof(uint64_t));
        return 0;
    case FIELD_BOOL:
        *(protobuf_c_boolean *)to = *(const bool *)from;
        return 0;
    case FIELD_TEXT:
        *(ProtobufCBinaryData *)to = view_of_text(*(const char *const *)from);
        return 0;
    case FIELD_BYTES: {
        const struct proto_bytes *bytes = from;
        *(ProtobufCBinaryData *)to = view_of(bytes->data, bytes->size);
        return 0;
    }
    case FIELD_IDS: {
        const struct proto_objects *objects = from;
        *(ProtobufCBinaryData *)to = view_of(objects->ids, objects->count * ID_BYTES);
        return 0;
    }
    case FIELD_NUMBERS: {
        const struct proto_holders *holders = from;
        *(uint32_t **)to = (uint32_t *)(uintptr_t)holders->nodes;
        *wire_count = holders->count;
        return 0;
    }
    case FIELD_TEXTS:
        *wire_count = *count;
        return give_texts(scratch, *(const char *const *const *)from, *count, to);
    case FIELD_PART:
        return give_shape(scratch, field->shape, from, to);
    case FIELD_OPTIONAL: {
        const void *part = *(const void *const *)from;
        return part == NULL ? 0 : give_shape(scratch, field->shape, part, to);
    }
    case FIELD_LIST:
        *wire_count = *count;
        return give_list(scratch, field->shape, *(const void *const *)from, *count, to);
    }
    ROOST_IMPOSSIBLE("a kind of field that cannot be written");
}

static int give_shape(struct proto_arena *scratch, const struct shape *shape, const void *ours, void **wire_out)
{
    void *wire = proto_arena_take_zeroed(scratch, 1, shape->wire_bytes);
    if (wire == NULL) {
        return no_room(scratch);
    }
    protobuf_c_message_init(shape->descriptor, wire);
    for (uint32_t i = 0; i < shape->count; i++) {
        int status = give_field(scratch, &shape->fields[i], ours, wire);
        if (status != 0) {
            return status;
        }
    }
    *wire_out = wire;
    return 0;
}

/* Also the pieces of a frame: protobuf puts together what stands one after the other. */
static int append(const Roost__V1__Frame *wire, struct proto_buffer *buffer)
{
    size_t bytes = roost__v1__frame__get_packed_size(wire);
    if (bytes > PROTO_FRAME_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "%zu bytes, at most %d", bytes, PROTO_FRAME_BYTES_MAX);
    }
    int status = make_room(buffer, bytes);
    if (status == 0) {
        buffer->size += roost__v1__frame__pack(wire, buffer->bytes + buffer->size);
    }
    return status;
}

static int encode_start(uint32_t number, uint32_t after, uint32_t seen, struct proto_buffer *buffer)
{
    Roost__V1__Frame wire = ROOST__V1__FRAME__INIT;
    wire.kind = PROTO_FRAME_BATCH;
    wire.number = number;
    wire.after = after;
    wire.seen = seen;
    return append(&wire, buffer);
}

int proto_encode_batch_start(uint32_t number, uint32_t seen, struct proto_buffer *buffer)
{
    return encode_start(number, 0, seen, buffer);
}

int proto_encode_empty(uint32_t after, uint32_t seen, struct proto_buffer *buffer)
{
    return encode_start(0, after, seen, buffer);
}

/* Checks `ours` and hangs its wire form under *part, a member of *wire. */
static int encode(struct proto_arena *scratch, const struct shape *shape, const char *name, const void *ours,
                  const Roost__V1__Frame *wire, void **part, struct proto_buffer *buffer)
{
    int status = shape_check(shape, ours);
    if (status == 0) {
        status = give_shape(scratch, shape, ours, part);
    }
    if (status == 0) {
        status = append(wire, buffer);
    }
    proto_arena_clear(scratch);
    return status == 0 ? 0 : error_prefix(status, "%s", name);
}

int proto_encode_hello(struct proto_arena *scratch, const struct proto_hello *hello, struct proto_buffer *buffer)
{
    Roost__V1__Frame wire = ROOST__V1__FRAME__INIT;
    wire.kind = PROTO_FRAME_HELLO;
    return encode(scratch, &proto_hello_shape, "HELLO", hello, &wire, (void **)&wire.hello, buffer);
}

int proto_encode_refusal(struct proto_arena *scratch, const struct proto_refusal *refusal, struct proto_buffer *buffer)
{
    Roost__V1__Frame wire = ROOST__V1__FRAME__INIT;
    wire.kind = PROTO_FRAME_REFUSAL;
    return encode(scratch, &proto_refusal_shape, "REFUSAL", refusal, &wire, (void **)&wire.refusal, buffer);
}

int proto_encode_message(struct proto_arena *scratch, const struct proto_message *message, struct proto_buffer *buffer)
{
    const struct shape_of_kind *kind = shape_of_kind(message->kind);
    ROOST_PRE(kind != NULL);
    Roost__V1__Message body = ROOST__V1__MESSAGE__INIT, *bodies[1] = { &body };
    Roost__V1__Frame wire = ROOST__V1__FRAME__INIT;
    wire.messages = bodies;
    wire.n_messages = 1;
    body.body_case = (Roost__V1__Message__BodyCase)message->kind;
    return encode(scratch, kind->shape, kind->name, field_in(message, kind->ours), &wire, (void **)&body.publish,
                  buffer);
}

static int encode_batch(struct proto_arena *scratch, const struct proto_frame *frame, struct proto_buffer *buffer)
{
    size_t before = buffer->size;
    int status = frame->number == 0 ? proto_encode_empty(frame->after, frame->seen, buffer)
                                    : proto_encode_batch_start(frame->number, frame->seen, buffer);
    for (size_t i = 0; i < frame->count && status == 0; i++) {
        status = proto_encode_message(scratch, &frame->messages[i], buffer);
    }
    if (status != 0) {
        buffer->size = before;
    }
    return status;
}

int proto_encode_frame(struct proto_arena *scratch, const struct proto_frame *frame, struct proto_buffer *buffer)
{
    switch (frame->kind) {
    case PROTO_FRAME_HELLO:
        return proto_encode_hello(scratch, &frame->hello, buffer);
    case PROTO_FRAME_REFUSAL:
        return proto_encode_refusal(scratch, &frame->refusal, buffer);
    case PROTO_FRAME_BATCH:
        return encode_batch(scratch, frame, buffer);
    }
    ROOST_IMPOSSIBLE("a kind of frame that cannot be written");
}
