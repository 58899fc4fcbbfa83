#include "proto/encode.h"
#include "common/error.h"
#include "proto/decode.h"
#include "tests/lib/test.h"

#include <string.h>

static struct proto_arena scratch, decoded;

static void set_up(void)
{
    proto_arena_init(&scratch, PROTO_ARENA_BYTES_MAX, NULL);
    proto_arena_init(&decoded, PROTO_ARENA_BYTES_MAX, NULL);
}

static void tear_down(void)
{
    proto_arena_fini(&scratch);
    proto_arena_fini(&decoded);
}

static struct proto_message query(uint32_t number, const char *filter)
{
    return (struct proto_message){ .kind = PROTO_QUERY,
                                   .u.query = { .query = number, .what = PROTO_QUERY_TASKS, .filter = filter } };
}

TEST(encode, pieces_one_after_the_other_are_a_frame)
{
    set_up();
    struct proto_buffer buffer = { NULL, 0, 0 };
    CHECK_EQ(proto_encode_batch_start(3, 2, &buffer), 0);
    for (uint32_t i = 0; i < 100; i++) {
        struct proto_message message = query(i, NULL);
        CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), 0);
    }
    struct proto_frame frame;
    CHECK_EQ(proto_decode(&decoded, buffer.bytes, buffer.size, &frame), 0);
    CHECK(frame.number == 3 && frame.seen == 2 && frame.count == 100);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(frame.messages[i].u.query.query, i);
        CHECK_TEXT(frame.messages[i].u.query.filter, "");
    }
    proto_buffer_fini(&buffer);
    tear_down();
}

TEST(encode, what_could_not_be_read_is_refused_and_leaves_the_buffer)
{
    set_up();
    struct proto_buffer buffer = { NULL, 0, 0 };
    CHECK_EQ(proto_encode_batch_start(1, 0, &buffer), 0);
    size_t before = buffer.size;
    char long_text[PROTO_TEXT_BYTES_MAX + 2];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    struct proto_message message = query(1, long_text);
    CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), ROOST_ETOOBIG);
    CHECK_TEXT(error_text(), "QUERY: filter: longer than 4096 bytes");
    long_text[PROTO_TEXT_BYTES_MAX] = '\0';
    CHECK_EQ(buffer.size, before);
    CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), 0);

    struct proto_location locations[2] = { { .object = { 1, 1 } }, { .object = { 0, 0 } } };
    struct proto_message listed = { .kind = PROTO_LOCATIONS, .u.locations = { locations, 2 } };
    CHECK_EQ(proto_encode_message(&scratch, &listed, &buffer), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "LOCATIONS: items: [1]: object: no id");
    proto_buffer_fini(&buffer);
    tear_down();
}

static int encode_answer(uint64_t size, uint32_t columns, uint32_t refs, uint64_t trailer_bytes)
{
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_message message = { .kind = PROTO_PULL_ANSWER,
                                     .u.pull_answer = { .content = { .size = size, .columns = columns },
                                                        .refs_count = refs,
                                                        .trailer_bytes = trailer_bytes } };
    int status = proto_encode_message(&scratch, &message, &buffer);
    proto_buffer_fini(&buffer);
    return status;
}

TEST(encode, what_a_pull_is_answered_says_a_trailer_that_holds_its_columns_and_refs_or_none)
{
    set_up();
    CHECK_EQ(encode_answer(100, 2, 3, 4 + 2 * 8 + 3 * sizeof(roost_ref)), 0);
    CHECK_EQ(encode_answer(100, 2, 0, 0), 0); /* a part, or all of the bytes and nothing else */
    CHECK_EQ(encode_answer(100, 2, 3, 0), ROOST_EINVAL);
    CHECK_EQ(encode_answer(100, 2, 3, 4 + 2 * 8), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "PULL_ANSWER: the trailer is not that of the columns and refs");
    CHECK_EQ(encode_answer(100, 0, ROOST_GATHER_MAX, 8), ROOST_EINVAL);
    tear_down();
}

TEST(encode, a_message_that_is_more_than_a_frame_is_refused)
{
    set_up();
    struct proto_buffer buffer = { NULL, 0, 0 };
    void *spec = calloc(1, PROTO_FRAME_BYTES_MAX);
    struct proto_message message = { .kind = PROTO_SUBMIT,
                                     .u.submit = { .task = { 1, 1 }, .spec = { spec, PROTO_FRAME_BYTES_MAX } } };
    CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), ROOST_ETOOBIG);
    message.u.submit.spec.size = PROTO_FRAME_BYTES_MAX - (64 << 10);
    CHECK_EQ(proto_encode_message(&scratch, &message, &buffer), 0);
    free(spec);
    proto_buffer_fini(&buffer);
    tear_down();
}

TEST(encode, a_null_text_is_an_empty_one)
{
    set_up();
    struct proto_buffer buffer = { NULL, 0, 0 };
    struct proto_refusal refusal = { ROOST_EAUTH, NULL };
    CHECK_EQ(proto_encode_refusal(&scratch, &refusal, &buffer), 0);
    struct proto_frame frame;
    CHECK_EQ(proto_decode(&decoded, buffer.bytes, buffer.size, &frame), 0);
    CHECK_EQ(frame.refusal.status, ROOST_EAUTH);
    CHECK_TEXT(frame.refusal.text, "");
    proto_buffer_fini(&buffer);
    tear_down();
}
