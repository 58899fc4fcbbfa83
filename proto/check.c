/* check.c - is a decoded struct within its table?
 *
 * Runs over our structs only, so it serves both ways: what decode.c has taken apart, before anybody sees it, and what
 * encode.c is about to put together. The failure's line is built from the inside out: the field says what is wrong,
 * each level on the way up puts its own name before it ("COMPLETE: returns[3]: content: columns: 2000000, at most
 * 1048576").
 */
#include "common/error.h"
#include "proto/shape_internal.h"

#include <inttypes.h>

static int out_of_range(uint64_t value, uint64_t min, uint64_t max)
{
    if (value > max) {
        return error_set(ROOST_ETOOBIG, "%" PRIu64 ", at most %" PRIu64, value, max);
    }
    return value < min ? error_set(ROOST_EINVAL, "%" PRIu64 ", at least %" PRIu64, value, min) : 0;
}

static int check_id(const struct field *field, const struct id_key *id)
{
    return field->min > 0 && (id->hi | id->lo) == 0 ? error_set(ROOST_EINVAL, "no id") : 0;
}

static int check_i32(const struct field *field, int32_t value)
{
    return field->min == 0 && value > 0 ? error_set(ROOST_EINVAL, "%" PRId32 " is no status", value) : 0;
}

static int check_text(const char *text, uint64_t max)
{
    size_t size = text == NULL ? 0 : strnlen(text, max + 1);
    return size > max ? error_set(ROOST_ETOOBIG, "longer than %" PRIu64 " bytes", max) : 0;
}

static int check_bytes(const struct field *field, const struct proto_bytes *bytes)
{
    if (bytes->size > field->max) {
        return error_set(ROOST_ETOOBIG, "%zu bytes, at most %" PRIu64, bytes->size, field->max);
    }
    return bytes->size < field->min ? error_set(ROOST_EINVAL, "empty") : 0;
}

static int check_ids(const struct field *field, const struct proto_objects *objects)
{
    for (size_t i = 0; i < objects->count && i < field->max; i++) {
        if (object_id_is_none(objects->ids[i])) {
            return error_set(ROOST_EINVAL, "no id at [%zu]", i);
        }
    }
    return out_of_range(objects->count, 0, field->max);
}

static int check_numbers(const struct field *field, const struct proto_holders *holders)
{
    for (size_t i = 0; i < holders->count && i < field->max; i++) {
        if (holders->nodes[i] >= NODES_MAX) {
            return error_set(ROOST_ETOOBIG, "node %" PRIu32 ", below %d", holders->nodes[i], NODES_MAX);
        }
    }
    return out_of_range(holders->count, 0, field->max);
}

static int check_texts(const struct field *field, const char *const *texts, size_t count)
{
    int status = out_of_range(count, 0, field->max);
    for (size_t i = 0; i < count && status == 0; i++) {
        status = check_text(texts[i], PROTO_TEXT_BYTES_MAX);
    }
    return status;
}

static int check_list(const struct field *field, const void *items, size_t count)
{
    int status = out_of_range(count, 0, field->max);
    for (size_t i = 0; i < count && status == 0; i++) {
        status = shape_check(field->shape, field_in(items, i * field->shape->ours_bytes));
        if (status != 0) {
            error_prefix(status, "[%zu]", i);
        }
    }
    return status;
}

static int check_field(const struct field *field, const void *ours)
{
    const void *at = field_in(ours, field->ours);
    const size_t *count = field_in(ours, field->ours_count); /* of lists only */
    switch (field->kind) {
    case FIELD_ID:
        return check_id(field, at);
    case FIELD_U32:
        return out_of_range(*(const uint32_t *)at, field->min, field->max);
    case FIELD_I32:
        return check_i32(field, *(const int32_t *)at);
    case FIELD_U64:
        return out_of_range(*(const uint64_t *)at, field->min, field->max);
    case FIELD_BOOL:
        return 0;
    case FIELD_TEXT:
        return check_text(*(const char *const *)at, field->max);
    case FIELD_BYTES:
        return check_bytes(field, at);
    case FIELD_IDS:
        return check_ids(field, at);
    case FIELD_NUMBERS:
        return check_numbers(field, at);
    case FIELD_TEXTS:
        return check_texts(field, *(const char *const *const *)at, *count);
    case FIELD_PART:
        return shape_check(field->shape, at);
    case FIELD_OPTIONAL: {
        const void *part = *(const void *const *)at;
        return part == NULL ? 0 : shape_check(field->shape, part);
    }
    case FIELD_LIST:
        return check_list(field, *(const void *const *)at, *count);
    }
    ROOST_IMPOSSIBLE("a kind of field without a check");
}

int shape_check(const struct shape *shape, const void *ours)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        int status = check_field(&shape->fields[i], ours);
        if (status != 0) {
            return error_prefix(status, "%s", shape->fields[i].name);
        }
    }
    const char *wrong = shape->rule == NULL ? NULL : shape->rule(ours);
    return wrong == NULL ? 0 : error_set(ROOST_EINVAL, "%s", wrong);
}
