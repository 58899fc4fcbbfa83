#include "proto/decode.h"
#include "common/error.h"
#include "proto/encode.h"
#include "proto/shape_internal.h"
#include "tests/lib/proto_random.h"
#include "tests/lib/test.h"

#include <string.h>

/* The test's memory: one arena for what is decoded, one for what a test makes up. */
static struct proto_arena decoded, made, scratch;
static struct proto_buffer buffer;

static void set_up(const struct proto_checks *checks)
{
    proto_arena_init(&decoded, PROTO_ARENA_BYTES_MAX, checks);
    proto_arena_init(&made, PROTO_ARENA_BYTES_MAX, NULL);
    proto_arena_init(&scratch, PROTO_ARENA_BYTES_MAX, NULL);
}

static void tear_down(void)
{
    proto_arena_fini(&decoded);
    proto_arena_fini(&made);
    proto_arena_fini(&scratch);
    proto_buffer_fini(&buffer);
}

static ProtobufCBinaryData run_of(const void *data, size_t size)
{
    return (ProtobufCBinaryData){ size, (uint8_t *)(uintptr_t)data };
}

static const unsigned char one_id[16] = { 1, 2, 3 };

/* What another implementation might send: packed by protobuf-c's own structs, past every check of encode.c. */
static int decode_wire(Roost__V1__Message *message, struct proto_frame *frame_out)
{
    Roost__V1__Message *messages[1] = { message };
    Roost__V1__Frame frame = ROOST__V1__FRAME__INIT;
    frame.kind = PROTO_FRAME_BATCH;
    frame.number = 1;
    frame.messages = messages;
    frame.n_messages = 1;
    size_t size = roost__v1__frame__get_packed_size(&frame);
    unsigned char *bytes = proto_arena_take(&made, size);
    roost__v1__frame__pack(&frame, bytes);
    return proto_decode(&decoded, bytes, size, frame_out);
}

static int decode_publish(Roost__V1__Publish *publish)
{
    Roost__V1__Message message = ROOST__V1__MESSAGE__INIT;
    message.body_case = ROOST__V1__MESSAGE__BODY_PUBLISH;
    message.publish = publish;
    struct proto_frame frame;
    return decode_wire(&message, &frame);
}

static Roost__V1__Publish good_publish(void)
{
    Roost__V1__Publish publish = ROOST__V1__PUBLISH__INIT;
    publish.object = run_of(one_id, 16);
    publish.state = PROTO_PENDING;
    return publish;
}

TEST(decode, every_message_comes_back_as_it_was)
{
    set_up(NULL);
    struct proto_random random = { 7 };
    for (int kind = 1; kind < PROTO_KIND_END; kind++) {
        for (int i = 0; i < 100; i++) {
            struct proto_message message;
            proto_random_message(&random, &made, (enum proto_kind)kind, &message);
            struct proto_frame frame = { .kind = PROTO_FRAME_BATCH, .number = 5, .seen = 3, .count = 1 }, back;
            frame.messages = &message;
            buffer.size = 0;
            int status = proto_encode_frame(&scratch, &frame, &buffer);
            if (status == 0) {
                status = proto_decode(&decoded, buffer.bytes, buffer.size, &back);
            }
            if (status != 0) {
                fprintf(stderr, "%s: %s\n", proto_kind_name(message.kind), error_text());
            }
            CHECK_EQ(status, 0);
            CHECK(back.number == 5 && back.seen == 3 && back.count == 1);
            CHECK(proto_message_is_same(&message, &back.messages[0]));
            proto_arena_clear(&decoded);
            proto_arena_clear(&made);
        }
    }
    tear_down();
}

TEST(decode, a_hello_comes_back_as_it_was)
{
    set_up(NULL);
    struct proto_random random = { 8 };
    for (int i = 0; i < 300; i++) {
        struct proto_hello hello;
        proto_random_hello(&random, &made, &hello);
        struct proto_frame back;
        buffer.size = 0;
        CHECK_EQ(proto_encode_hello(&scratch, &hello, &buffer), 0);
        CHECK_EQ(proto_decode(&decoded, buffer.bytes, buffer.size, &back), 0);
        CHECK_EQ(back.kind, PROTO_FRAME_HELLO);
        CHECK(proto_hello_is_same(&hello, &back.hello));
        proto_arena_clear(&made);
    }
    tear_down();
}

TEST(decode, members_land_where_the_schema_says)
{
    set_up(NULL);
    uint64_t halves[2] = { 0x1122334455667788u, 0x99aabbccddeeff00u };
    Roost__V1__Complete complete = ROOST__V1__COMPLETE__INIT;
    Roost__V1__Return item = ROOST__V1__RETURN__INIT, *items[1] = { &item };
    Roost__V1__Content content = ROOST__V1__CONTENT__INIT;
    complete.task = run_of(one_id, 16);
    complete.attempt = 3;
    complete.duration_ns = 44;
    complete.died = 1;
    complete.returns = items;
    complete.n_returns = 1;
    item.object = run_of(halves, 16);
    item.content = &content;
    item.located = 1;
    item.contained = run_of(halves, 16);
    content.size = 9;
    content.fingerprint = 10;
    content.version = 11;
    content.columns = 12;
    content.format = 13;
    Roost__V1__Message message = ROOST__V1__MESSAGE__INIT;
    message.body_case = ROOST__V1__MESSAGE__BODY_COMPLETE;
    message.complete = &complete;
    struct proto_frame frame;
    CHECK_EQ(decode_wire(&message, &frame), 0);
    CHECK_EQ(frame.messages[0].kind, PROTO_COMPLETE);
    const struct proto_complete *got = &frame.messages[0].u.complete;
    CHECK(got->attempt == 3 && got->duration_ns == 44 && got->died && got->failure == NULL && got->returns_count == 1);
    CHECK(got->returns[0].object.hi == halves[0] && got->returns[0].object.lo == halves[1]);
    CHECK(got->returns[0].located && !got->returns[0].has_value);
    CHECK(got->returns[0].contained.count == 1 && got->returns[0].contained.ids[0].lo == halves[1]);
    const struct proto_content *sealed = &got->returns[0].content;
    CHECK(sealed->size == 9 && sealed->fingerprint == 10 && sealed->version == 11 && sealed->columns == 12);
    CHECK_EQ(sealed->format, 13);
    tear_down();
}

/* Lends a mutated publish to a check: what is wrong with it, in words. */
#define REFUSED(status, words, ...)                             \
    do {                                                        \
        Roost__V1__Publish publish = good_publish();            \
        Roost__V1__Content content = ROOST__V1__CONTENT__INIT;  \
        Roost__V1__Failure failure = ROOST__V1__FAILURE__INIT;  \
        publish.content = &content;                             \
        (void)failure;                                          \
        __VA_ARGS__;                                            \
        CHECK_EQ(decode_publish(&publish), (status));           \
        CHECK_TEXT(error_text(), "message 0: PUBLISH: " words); \
    } while (0)

TEST(decode, what_a_field_may_not_hold_is_refused_by_name)
{
    static const unsigned char zeros[16], long_text[PROTO_TEXT_BYTES_MAX + 1] = { [0 ... PROTO_TEXT_BYTES_MAX] = 'x' };
    set_up(NULL);
    Roost__V1__Publish good = good_publish();
    CHECK_EQ(decode_publish(&good), 0);
    REFUSED(ROOST_EINVAL, "object: an id of 15 bytes", publish.object.len = 15);
    REFUSED(ROOST_EINVAL, "object: an id of 17 bytes", publish.object = run_of(long_text, 17));
    REFUSED(ROOST_EINVAL, "object: no id", publish.object.len = 0);
    REFUSED(ROOST_EINVAL, "task: an id of zeros", publish.task = run_of(zeros, 16));
    REFUSED(ROOST_EINVAL, "state: 0, at least 1", publish.state = 0);
    REFUSED(ROOST_ETOOBIG, "state: 4, at most 3", publish.state = PROTO_LOST);
    REFUSED(ROOST_ETOOBIG, "content: size: 70368744177665, at most 70368744177664",
            content.size = ROOST_OBJECT_BYTES_MAX + 1);
    REFUSED(ROOST_ETOOBIG, "content: columns: 1048577, at most 1048576", content.columns = ROOST_COLUMNS_MAX + 1);
    REFUSED(ROOST_ETOOBIG, "content: format: 256, at most 255", content.format = 256);
    REFUSED(ROOST_EINVAL, "contained: ids of 24 bytes together", publish.contained = run_of(long_text, 24));
    REFUSED(ROOST_EINVAL, "contained: no id at [0]", publish.contained = run_of(zeros, 16));
    REFUSED(ROOST_ETOOBIG, "value: 4097 bytes, at most 4096", publish.value = run_of(long_text, 4097));
    REFUSED(ROOST_EINVAL, "a value of an object that is not sealed", publish.has_value = 1);
    REFUSED(ROOST_EINVAL, "the value is not as long as the object", publish.value = run_of(one_id, 3);
            publish.state = PROTO_SEALED; publish.has_value = 1);
    REFUSED(ROOST_EINVAL, "a failure and its state do not agree", publish.state = PROTO_FAILED);
    REFUSED(ROOST_EINVAL, "failure: status is 0", publish.failure = &failure; publish.state = PROTO_FAILED);
    REFUSED(ROOST_EINVAL, "failure: status: 5 is no status", publish.failure = &failure; failure.status = 5);
    REFUSED(ROOST_ETOOBIG, "failure: text: 4097 bytes, at most 4096", publish.failure = &failure;
            failure.text = run_of(long_text, sizeof long_text));
    REFUSED(ROOST_EINVAL, "failure: text: a NUL in a text", publish.failure = &failure;
            failure.text = run_of("a\0b", 3));
    tear_down();
}

TEST(decode, lists_over_their_limit_are_refused)
{
    set_up(NULL);
    size_t count = PROTO_OBJECTS_MAX + 1;
    unsigned char *ids = proto_arena_take_zeroed(&made, count, 16);
    memset(ids, 1, count * 16);
    REFUSED(ROOST_ETOOBIG, "contained: 65537, at most 65536", publish.contained = run_of(ids, 16 * count));
    Roost__V1__Rows rows = ROOST__V1__ROWS__INIT;
    rows.n_columns = PROTO_COLUMNS_MAX + 1;
    rows.columns = proto_arena_take_zeroed(&made, rows.n_columns, sizeof *rows.columns);
    Roost__V1__Message message = ROOST__V1__MESSAGE__INIT;
    message.body_case = ROOST__V1__MESSAGE__BODY_ROWS;
    message.rows = &rows;
    struct proto_frame frame;
    CHECK_EQ(decode_wire(&message, &frame), ROOST_ETOOBIG);
    CHECK_TEXT(error_text(), "message 0: ROWS: columns: 65, at most 64");
    rows.n_columns = 2;
    rows.n_cells = 3;
    rows.cells = rows.columns;
    CHECK_EQ(decode_wire(&message, &frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "message 0: ROWS: a row in part");
    tear_down();
}

static int decode_pull(uint64_t offset, uint64_t size)
{
    Roost__V1__Pull pull = ROOST__V1__PULL__INIT;
    pull.object = run_of(one_id, 16);
    pull.offset = offset;
    pull.size = size;
    pull.priority = PROTO_PULL_BLOCKED;
    Roost__V1__Message message = ROOST__V1__MESSAGE__INIT;
    message.body_case = ROOST__V1__MESSAGE__BODY_PULL;
    message.pull = &pull;
    struct proto_frame frame;
    return decode_wire(&message, &frame);
}

TEST(decode, a_ref_is_a_whole_a_column_or_a_range_inside_the_largest_object)
{
    set_up(NULL);
    CHECK_EQ(decode_pull(0, ROOST_WHOLE), 0);
    CHECK_EQ(decode_pull(ROOST_OBJECT_BYTES_MAX, ROOST_WHOLE), 0);
    CHECK_EQ(decode_pull(ROOST_OBJECT_BYTES_MAX + 1, ROOST_WHOLE), ROOST_EINVAL);
    CHECK_EQ(decode_pull(ROOST_COLUMNS_MAX - 1, ROOST_COLUMN), 0);
    CHECK_EQ(decode_pull(ROOST_COLUMNS_MAX, ROOST_COLUMN), ROOST_EINVAL);
    CHECK_EQ(decode_pull(ROOST_OBJECT_BYTES_MAX - 1, 1), 0);
    CHECK_EQ(decode_pull(ROOST_OBJECT_BYTES_MAX, 1), ROOST_EINVAL);
    CHECK_EQ(decode_pull(UINT64_MAX, 1), ROOST_EINVAL);
    tear_down();
}

static int decode_bytes(const void *bytes, size_t size)
{
    struct proto_frame frame;
    return proto_decode(&decoded, bytes, size, &frame);
}

static int decode_frame(const Roost__V1__Frame *frame)
{
    unsigned char bytes[256];
    CHECK(roost__v1__frame__get_packed_size(frame) <= sizeof bytes);
    return decode_bytes(bytes, roost__v1__frame__pack(frame, bytes));
}

TEST(decode, a_frame_is_exactly_one_thing)
{
    set_up(NULL);
    Roost__V1__Refusal refusal = ROOST__V1__REFUSAL__INIT;
    refusal.status = ROOST_EAUTH;
    Roost__V1__Frame frame = ROOST__V1__FRAME__INIT;
    CHECK_EQ(decode_bytes("", 0), ROOST_EINVAL);
    frame.kind = 4;
    CHECK_EQ(decode_frame(&frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "a frame of no known kind (4)");
    frame.kind = PROTO_FRAME_REFUSAL;
    CHECK_EQ(decode_frame(&frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "REFUSAL: is not there");
    frame.refusal = &refusal;
    CHECK_EQ(decode_frame(&frame), 0);
    frame.number = 1;
    CHECK_EQ(decode_frame(&frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "a frame that is several things");
    frame = (Roost__V1__Frame)ROOST__V1__FRAME__INIT;
    frame.kind = PROTO_FRAME_BATCH;
    CHECK_EQ(decode_frame(&frame), 0);
    frame.number = 2;
    CHECK_EQ(decode_frame(&frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "batch 2 with 0 messages");
    Roost__V1__Message empty = ROOST__V1__MESSAGE__INIT, *messages[1] = { &empty };
    frame.messages = messages;
    frame.n_messages = 1;
    CHECK_EQ(decode_frame(&frame), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "message 0: of no known kind");
    tear_down();
}

TEST(decode, no_prefix_of_a_frame_does_harm_or_writes_the_output)
{
    set_up(NULL);
    struct proto_random random = { 9 };
    struct proto_message message;
    proto_random_message(&random, &made, PROTO_COMPLETE, &message);
    struct proto_frame frame = { .kind = PROTO_FRAME_BATCH, .number = 1, .messages = &message, .count = 1 };
    CHECK_EQ(proto_encode_frame(&scratch, &frame, &buffer), 0);
    for (size_t size = 0; size < buffer.size; size++) {
        unsigned char *exact = malloc(size + 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, buffer.bytes, size);
        struct proto_frame back = { .number = 77 };
        CHECK(proto_decode(&decoded, exact, size, &back) != 0 || back.number != 77);
        free(exact);
        proto_arena_clear(&decoded);
    }
    tear_down();
}

static size_t checked_bytes;
static int refuse_spec(const void *bytes, size_t size)
{
    checked_bytes = size;
    CHECK_EQ((uintptr_t)bytes % 8, 0);
    return error_set(ROOST_EINVAL, "not a spec");
}

TEST(decode, opaque_runs_go_through_the_check_that_was_given)
{
    set_up(&(struct proto_checks){ .spec = refuse_spec });
    REFUSED(ROOST_EINVAL, "spec: not a spec", publish.spec = run_of(one_id, 11));
    CHECK_EQ(checked_bytes, 11);
    Roost__V1__Publish without = good_publish();
    CHECK_EQ(decode_publish(&without), 0);
    tear_down();
}

TEST(decode, a_megabyte_of_nothing_stays_within_the_cap)
{
    set_up(NULL);
    proto_arena_fini(&decoded);
    proto_arena_init(&decoded, 8 << 20, NULL);
    size_t size = 1 << 20;
    unsigned char *bytes = proto_arena_take(&made, size); /* the empty Message, again and again */
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 6 << 3 | 2;
        bytes[i + 1] = 0;
    }
    CHECK_EQ(decode_bytes(bytes, size), ROOST_ETOOBIG);
    CHECK_TEXT(error_text(), "decoded, it is over 8388608 bytes");
    CHECK(decoded.bytes <= 8 << 20);
    proto_arena_clear(&decoded);
    Roost__V1__Publish publish = good_publish();
    CHECK_EQ(decode_publish(&publish), 0);
    tear_down();
}

TEST(decode, a_frame_or_a_hello_over_its_size_is_refused)
{
    set_up(NULL);
    unsigned char *bytes = proto_arena_take_zeroed(&made, 1, PROTO_FRAME_BYTES_MAX + 1);
    CHECK_EQ(decode_bytes(bytes, PROTO_FRAME_BYTES_MAX + 1), ROOST_ETOOBIG);
    struct proto_random random = { 10 };
    struct proto_hello hello;
    proto_random_hello(&random, &made, &hello);
    for (int i = 0; buffer.size <= PROTO_HELLO_BYTES_MAX; i++) { /* one hello after the other is still one frame */
        CHECK_EQ(proto_encode_hello(&scratch, &hello, &buffer), 0);
    }
    CHECK_EQ(decode_bytes(buffer.bytes, buffer.size), ROOST_ETOOBIG);
    tear_down();
}
