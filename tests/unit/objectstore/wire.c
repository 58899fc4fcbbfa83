#include "objectstore/wire.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the layout, as WIRE_LAYOUT 4 has it */

#define SIZE_IS(type, bytes)        _Static_assert(sizeof(struct type) == (bytes), #type ": change WIRE_LAYOUT with it")
#define AT(type, member, offset)    _Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
#define ENDS_IN(type, list, offset) AT(type, list, offset)

_Static_assert(WIRE_LAYOUT == 5, "the sizes and offsets below are those of layout 5");
SIZE_IS(wire_place, 24);
AT(wire_place, bytes, 8);
AT(wire_place, segment, 16);
SIZE_IS(wire_entry, 16);
AT(wire_entry, bytes, 4);
AT(wire_entry, token, 8);
SIZE_IS(wire_room_request, 40);
AT(wire_room_request, bytes, 16);
AT(wire_room_request, purpose, 24);
AT(wire_room_request, bell, 28);
AT(wire_room_request, scope, 32);
SIZE_IS(wire_room_given, 48);
AT(wire_room_given, place, 16);
AT(wire_room_given, status, 40);
SIZE_IS(wire_room_back, 40);
AT(wire_room_back, place, 16);
SIZE_IS(wire_object, 64);
AT(wire_object, place, 16);
AT(wire_object, size, 40);
AT(wire_object, columns, 48);
AT(wire_object, refs, 52);
AT(wire_object, format, 56);
AT(wire_object, stays, 60);
AT(wire_refs, container, 16);
AT(wire_refs, count, 32);
ENDS_IN(wire_refs, refs, 40);
SIZE_IS(wire_announce, 112);
AT(wire_announce, task, 88);
AT(wire_announce, scope, 16);
AT(wire_announce, object, 24);
AT(wire_names, scope, 16);
AT(wire_names, count, 24);
ENDS_IN(wire_names, ids, 32);
AT(wire_wait, scope, 16);
AT(wire_wait, total, 24);
AT(wire_wait, wanted, 28);
AT(wire_wait, flags, 32);
AT(wire_wait, bell, 36);
AT(wire_wait, count, 40);
ENDS_IN(wire_wait, refs, 48);
AT(wire_ready, first, 16);
AT(wire_ready, count, 20);
AT(wire_ready, total, 24);
ENDS_IN(wire_ready, ready, 32);
AT(wire_why, index, 16);
AT(wire_why, text_bytes, 20);
ENDS_IN(wire_why, text, 24);
SIZE_IS(wire_ask, 56);
AT(wire_ask, ref, 16);
AT(wire_ask, bell, 48);
AT(wire_locations, status, 16);
AT(wire_locations, total, 20);
AT(wire_locations, count, 24);
ENDS_IN(wire_locations, nodes, 32);
SIZE_IS(wire_node, 856);
AT(wire_node, index, 16);
AT(wire_node, node, 24);
AT(wire_node, alive, 40);
AT(wire_node, memory_bytes_total, 56);
AT(wire_node, store_bytes_free, 80);
AT(wire_node, host, 88);
AT(wire_node, labels, 344);
SIZE_IS(wire_submit, 48);
AT(wire_submit, spec_bytes, 8);
AT(wire_submit, is_inline, 12);
AT(wire_submit, attempt, 16);
AT(wire_submit, u, 24);
SIZE_IS(wire_taken, 32);
AT(wire_taken, task, 16);
SIZE_IS(wire_task, 56);
AT(wire_task, prefix, 8);
AT(wire_task, attempt, 16);
AT(wire_task, spec_bytes, 20);
AT(wire_task, is_inline, 24);
AT(wire_task, u, 32);
SIZE_IS(wire_result, 96);
AT(wire_result, run, 16);
AT(wire_result, index, 24);
AT(wire_result, object, 32);
AT(wire_complete, run, 16);
AT(wire_complete, status, 24);
AT(wire_complete, app_code, 28);
AT(wire_complete, duration_ns, 32);
AT(wire_complete, text_bytes, 40);
ENDS_IN(wire_complete, text, 48);
AT(wire_output, node, 16);
AT(wire_output, pid, 32);
AT(wire_output, is_stderr, 40);
AT(wire_output, text_bytes, 44);
AT(wire_output, dropped, 48);
AT(wire_output, function, 56);
AT(wire_output, node_name, 184);
ENDS_IN(wire_output, text, 248);
AT(wire_job_ended, status, 16);
AT(wire_job_ended, text_bytes, 20);
ENDS_IN(wire_job_ended, text, 24);
SIZE_IS(wire_lease, 32);
AT(wire_lease, scope, 16);
AT(wire_lease, bell, 24);
SIZE_IS(wire_leased, 40);
AT(wire_leased, pid, 24);
AT(wire_leased, slot, 32);
SIZE_IS(wire_lease_back, 24);
SIZE_IS(wire_lease_news, 32);
AT(wire_lease_news, what, 24);
SIZE_IS(wire_run, 40);
AT(wire_run, task, 24);
SIZE_IS(wire_run_end, 32);
AT(wire_escape, attempt, 24);
ENDS_IN(wire_escape, spec, 32);
AT(wire_settle, index, 32);
ENDS_IN(wire_settle, bytes, 48);
SIZE_IS(wire_adopt, 64);
AT(wire_adopt, lease, 24);
AT(wire_adopt, task, 40);
AT(wire_adopt, index, 56);
SIZE_IS(wire_failure, 1304);
AT(wire_failure, pid, 16);
AT(wire_failure, function, 24);
AT(wire_failure, node, 152);
AT(wire_failure, text, 280);

_Static_assert(WIRE_ROOM == 1 && WIRE_RESULT == 12 && WIRE_LEASE == 13 && WIRE_COMPLETE == 20 &&
                   WIRE_ROOM_GIVEN == 22 && WIRE_LEASED == 29 && WIRE_TAKEN == 31 && WIRE_KINDS == 32,
               "kinds are numbers on the wire");
_Static_assert(offsetof(struct wire_task, u) + WIRE_TASK_INLINE_BYTES <= TASK_PAYLOAD_BYTES_MAX,
               "a spec of so many bytes fits a slot");

/* ------------------------------------------------------------------ the form of each kind */

struct form {
    uint32_t kind, fixed_bytes, count_at, item_bytes, items_max; /* count_at 0: no list */
};

static const struct form forms[] = {
    { WIRE_ROOM, 40, 0, 0, 0 },           { WIRE_ROOM_BACK, 40, 0, 0, 0 },
    { WIRE_REFS, 40, 32, 32, 1000 },      { WIRE_ANNOUNCE, 112, 0, 0, 0 },
    { WIRE_HOLD, 32, 24, 16, 1000 },      { WIRE_FREE, 32, 24, 16, 1000 },
    { WIRE_WAIT, 48, 40, 32, 1000 },      { WIRE_UNWAIT, 56, 0, 0, 0 },
    { WIRE_PREFETCH, 56, 0, 0, 0 },       { WIRE_LOCATE, 56, 0, 0, 0 },
    { WIRE_NODES, 56, 0, 0, 0 },          { WIRE_RESULT, 96, 0, 0, 0 },
    { WIRE_LEASE, 32, 0, 0, 0 },          { WIRE_LEASE_BACK, 24, 0, 0, 0 },
    { WIRE_LEASE_BROKEN, 24, 0, 0, 0 },   { WIRE_RUN, 40, 0, 0, 0 },
    { WIRE_ESCAPE, 32, 28, 1, 768 },      { WIRE_SETTLE, 48, 44, 1, 4096 },
    { WIRE_ADOPT, 64, 0, 0, 0 },          { WIRE_COMPLETE, 48, 40, 1, 1024 },
    { WIRE_RUN_END, 32, 0, 0, 0 },        { WIRE_ROOM_GIVEN, 48, 0, 0, 0 },
    { WIRE_READY, 32, 20, 1, 32736 },     { WIRE_WHY, 24, 20, 1, 1024 },
    { WIRE_LOCATIONS, 32, 24, 16, 1000 }, { WIRE_NODE, 856, 0, 0, 0 },
    { WIRE_OUTPUT, 248, 44, 1, 4096 },    { WIRE_JOB_ENDED, 24, 20, 1, 1024 },
    { WIRE_LEASED, 40, 0, 0, 0 },         { WIRE_LEASE_NEWS, 32, 0, 0, 0 },
    { WIRE_TAKEN, 32, 0, 0, 0 },
};

/* An entry of `bytes` bytes that says so, in memory of exactly that size. */
static int check(const struct form *form, uint32_t count, size_t bytes)
{
    struct wire_entry *entry = aligned_alloc(8, bytes);
    memset(entry, 0, bytes);
    *entry = (struct wire_entry){ form->kind, (uint32_t)bytes, 7 };
    if (form->count_at != 0 && form->count_at + sizeof count <= bytes) {
        memcpy((char *)entry + form->count_at, &count, sizeof count);
    }
    int status = wire_check(entry, bytes);
    free(entry);
    return status;
}

static size_t bytes_of(const struct form *form, uint32_t count)
{
    return align_up(form->fixed_bytes + (uint64_t)count * form->item_bytes, 8);
}

TEST(wire, there_is_a_form_for_each_kind)
{
    CHECK_EQ(sizeof forms / sizeof *forms, WIRE_KINDS - 1);
    for (uint32_t i = 0; i < WIRE_KINDS - 1; i++) {
        CHECK_EQ(forms[i].kind, i + 1);
    }
}

TEST(wire, each_kind_is_taken_at_its_size_and_at_no_other)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        static const uint32_t counts[] = { 0, 1, 7, 8, 9 };
        for (size_t c = 0; c < (forms[i].count_at == 0 ? 1 : 5); c++) {
            size_t bytes = bytes_of(&forms[i], counts[c]);
            CHECK_EQ(check(&forms[i], counts[c], bytes), 0);
            CHECK_EQ(check(&forms[i], counts[c], bytes + 8), ROOST_EINVAL);
            CHECK_EQ(check(&forms[i], counts[c], bytes - 8), ROOST_EINVAL);
        }
    }
}

TEST(wire, a_list_is_as_long_as_it_may_be_and_no_longer)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct form *form = &forms[i];
        if (form->count_at != 0) {
            CHECK_EQ(check(form, form->items_max, bytes_of(form, form->items_max)), 0);
            CHECK_EQ(check(form, form->items_max + 1, bytes_of(form, form->items_max + 1)), ROOST_EINVAL);
            CHECK_EQ(check(form, UINT32_MAX, form->fixed_bytes), ROOST_EINVAL);
            uint32_t wraps = UINT32_MAX / form->item_bytes + 1; /* times the item's size it is 0 in 32 bits */
            CHECK(wraps == 0 || check(form, wraps, form->fixed_bytes) == ROOST_EINVAL);
        }
    }
}

TEST(wire, an_entry_that_says_another_size_than_it_has_is_refused)
{
    struct wire_entry entry[2] = { { WIRE_TAKEN, sizeof entry, 0 } };
    CHECK_EQ(wire_check(entry, sizeof entry), 0);
    entry->bytes += 8;
    CHECK_EQ(wire_check(entry, sizeof entry), ROOST_EINVAL);
    entry->bytes -= 16;
    CHECK_EQ(wire_check(entry, sizeof entry), ROOST_EINVAL);
    entry->bytes = 0;
    CHECK_EQ(wire_check(entry, sizeof entry), ROOST_EINVAL);
    CHECK_EQ(wire_check(entry, 0), ROOST_EINVAL);
    for (uint32_t size = 1; size < 2 * sizeof *entry; size++) { /* shorter than a head, or no multiple of 8 */
        entry->bytes = size;
        CHECK_EQ(wire_check(entry, size), ROOST_EINVAL);
    }
}

TEST(wire, kinds_that_do_not_exist_are_refused_by_name)
{
    static const uint32_t kinds[] = { 0, WIRE_KINDS, WIRE_KINDS + 1, UINT32_MAX };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct wire_entry entry = { kinds[i], sizeof entry, 0 };
        char text[64];
        CHECK_EQ(wire_check(&entry, sizeof entry), ROOST_EINVAL);
        snprintf(text, sizeof text, "ring entry of 16 bytes: kind %u is unknown", kinds[i]);
        CHECK_TEXT(error_text(), text);
    }
}

TEST(wire, what_is_wrong_is_said_with_the_numbers)
{
    CHECK_EQ(check(&forms[WIRE_ROOM - 1], 0, 48), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "WIRE_ROOM: 48 bytes, wanted 40");
    CHECK_EQ(check(&forms[WIRE_HOLD - 1], 2, 48), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "WIRE_HOLD: 48 bytes, wanted 64 for 2 items");
    CHECK_EQ(check(&forms[WIRE_HOLD - 1], 1001, 48), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "WIRE_HOLD: 1001 items, at most 1000");
    CHECK_EQ(check(&forms[WIRE_HOLD - 1], 0, 24), ROOST_EINVAL);
    CHECK_TEXT(error_text(), "WIRE_HOLD: 24 bytes, wanted at least 32");
}

/* ------------------------------------------------------------------ what objects take */

TEST(wire, an_object_takes_its_payload_and_its_aligned_trailer)
{
    CHECK_EQ(wire_object_bytes(0, 0, 0), 0);
    CHECK_EQ(wire_object_bytes(13, 0, 0), 13);
    CHECK_EQ(wire_object_bytes(13, 2, 0), 16 + 16);
    CHECK_EQ(wire_object_bytes(13, 0, 3), 16 + 96);
    CHECK_EQ(wire_object_bytes(16, 2, 3), 16 + 16 + 96);
    CHECK_EQ(wire_object_bytes(0, 0, 1), 32);
    CHECK_EQ(wire_columns_offset(13), 16);
    CHECK_EQ(wire_refs_offset(13, 2), 32);
}

TEST(wire, an_object_larger_than_any_takes_nothing)
{
    CHECK(wire_object_bytes(ROOST_OBJECT_BYTES_MAX, 0, 0) == ROOST_OBJECT_BYTES_MAX);
    CHECK(wire_object_bytes(ROOST_OBJECT_BYTES_MAX, UINT32_MAX, UINT32_MAX) > ROOST_OBJECT_BYTES_MAX);
    CHECK_EQ(wire_object_bytes(ROOST_OBJECT_BYTES_MAX + 1, 0, 0), 0);
    CHECK_EQ(wire_object_bytes(UINT64_MAX, 1, 1), 0);
}
