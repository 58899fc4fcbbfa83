/* wire.c - the form of every ring entry, as one table
 *
 * For each kind: the size of its fixed part, and for those that carry a list or a text, where its count stands, what
 * one item takes and how many there may be. One function walks the table; adding a kind is adding a line. */
#include "objectstore/wire.h"
#include "common/bytes.h"
#include "common/error.h"

#include <stddef.h>

struct form {
    const char *name;
    uint32_t fixed_bytes;
    uint32_t count_at; /* offset of a uint32_t count, or 0: no list */
    uint32_t item_bytes, items_max;
};

#define FORM_(kind, type) [kind] = { #kind, sizeof(struct type), 0, 0, 0 }
#define FORM_LIST_(kind, type, count, items, max)                                 \
    [kind] = { #kind, offsetof(struct type, items), offsetof(struct type, count), \
               sizeof(((struct type *)0)->items[0]), max }

static const struct form forms[WIRE_KINDS] = {
    FORM_(WIRE_ROOM, wire_room_request),
    FORM_(WIRE_ROOM_BACK, wire_room_back),
    FORM_LIST_(WIRE_REFS, wire_refs, count, refs, WIRE_REFS_PER_ENTRY),
    FORM_(WIRE_ANNOUNCE, wire_announce),
    FORM_LIST_(WIRE_HOLD, wire_names, count, ids, WIRE_REFS_PER_ENTRY),
    FORM_LIST_(WIRE_FREE, wire_names, count, ids, WIRE_REFS_PER_ENTRY),
    FORM_LIST_(WIRE_WAIT, wire_wait, count, refs, WIRE_REFS_PER_ENTRY),
    FORM_(WIRE_UNWAIT, wire_ask),
    FORM_(WIRE_PREFETCH, wire_ask),
    FORM_(WIRE_LOCATE, wire_ask),
    FORM_(WIRE_NODES, wire_ask),
    FORM_(WIRE_RESULT, wire_result),
    FORM_(WIRE_LEASE, wire_lease),
    FORM_(WIRE_LEASE_BACK, wire_lease_back),
    FORM_(WIRE_LEASE_BROKEN, wire_lease_back),
    FORM_(WIRE_RUN, wire_run),
    FORM_(WIRE_RUN_END, wire_run_end),
    FORM_LIST_(WIRE_ESCAPE, wire_escape, spec_bytes, spec, WIRE_TASK_INLINE_BYTES),
    FORM_LIST_(WIRE_SETTLE, wire_settle, bytes_count, bytes, ROOST_SMALL_BYTES),
    FORM_(WIRE_ADOPT, wire_adopt),
    FORM_(WIRE_LEASED, wire_leased),
    FORM_(WIRE_LEASE_NEWS, wire_lease_news),
    FORM_LIST_(WIRE_COMPLETE, wire_complete, text_bytes, text, WIRE_TEXT_BYTES_MAX),
    FORM_(WIRE_ROOM_GIVEN, wire_room_given),
    FORM_LIST_(WIRE_READY, wire_ready, count, ready, CLIENT_MESSAGE_BYTES_MAX),
    FORM_LIST_(WIRE_WHY, wire_why, text_bytes, text, WIRE_TEXT_BYTES_MAX),
    FORM_LIST_(WIRE_LOCATIONS, wire_locations, count, nodes, WIRE_REFS_PER_ENTRY),
    FORM_(WIRE_NODE, wire_node),
    FORM_LIST_(WIRE_OUTPUT, wire_output, text_bytes, text, WORKER_LINE_BYTES_MAX),
    FORM_LIST_(WIRE_JOB_ENDED, wire_job_ended, text_bytes, text, WIRE_TEXT_BYTES_MAX),
    FORM_(WIRE_TAKEN, wire_taken),
};

_Static_assert(sizeof(struct wire_wait) + WIRE_REFS_PER_ENTRY * sizeof(roost_ref) <= CLIENT_MESSAGE_BYTES_MAX,
               "a full entry is one ring message");

int wire_check(const struct wire_entry *entry, size_t bytes)
{
    if (bytes < sizeof *entry || entry->bytes != bytes || bytes % 8 != 0 || bytes > CLIENT_MESSAGE_BYTES_MAX) {
        return error_set(ROOST_EINVAL, "ring entry of %zu bytes: wrong size", bytes);
    }
    const struct form *form = entry->kind < WIRE_KINDS ? &forms[entry->kind] : NULL;
    if (form == NULL || form->name == NULL) {
        return error_set(ROOST_EINVAL, "ring entry of %zu bytes: kind %u is unknown", bytes, entry->kind);
    }
    if (form->count_at == 0) {
        return bytes == form->fixed_bytes
                   ? 0
                   : error_set(ROOST_EINVAL, "%s: %zu bytes, wanted %u", form->name, bytes, form->fixed_bytes);
    }
    if (bytes < form->fixed_bytes) {
        return error_set(ROOST_EINVAL, "%s: %zu bytes, wanted at least %u", form->name, bytes, form->fixed_bytes);
    }
    uint32_t count;
    memcpy(&count, (const char *)entry + form->count_at, sizeof count);
    if (count > form->items_max) {
        return error_set(ROOST_EINVAL, "%s: %u items, at most %u", form->name, count, form->items_max);
    }
    uint64_t wanted = align_up(form->fixed_bytes + (uint64_t)count * form->item_bytes, 8);
    return bytes == wanted ? 0
                           : error_set(ROOST_EINVAL, "%s: %zu bytes, wanted %llu for %u items", form->name, bytes,
                                       (unsigned long long)wanted, count);
}

uint64_t wire_object_bytes(uint64_t size, uint32_t columns, uint32_t refs)
{
    if (size > ROOST_OBJECT_BYTES_MAX) {
        return 0;
    }
    uint64_t bytes = wire_refs_offset(size, columns) + (uint64_t)refs * sizeof(roost_ref);
    return columns == 0 && refs == 0 ? size : bytes;
}
