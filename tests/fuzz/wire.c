/* wire.c - any bytes as a ring entry: refused with a text, or its list lies inside them */
#include "objectstore/wire.h"
#include "common/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

uint64_t fuzz_taken;

/* Where the list of an entry ends, for those that have one. */
static size_t end_of(const struct wire_entry *entry)
{
    const void *at = entry;
    switch ((enum wire_kind)entry->kind) {
    case WIRE_REFS:
        return offsetof(struct wire_refs, refs) + ((const struct wire_refs *)at)->count * sizeof(roost_ref);
    case WIRE_HOLD:
    case WIRE_FREE:
        return offsetof(struct wire_names, ids) + ((const struct wire_names *)at)->count * sizeof(struct object_id);
    case WIRE_WAIT:
        return offsetof(struct wire_wait, refs) + ((const struct wire_wait *)at)->count * sizeof(roost_ref);
    case WIRE_COMPLETE:
        return offsetof(struct wire_complete, text) + ((const struct wire_complete *)at)->text_bytes;
    case WIRE_READY:
        return offsetof(struct wire_ready, ready) + ((const struct wire_ready *)at)->count;
    case WIRE_WHY:
        return offsetof(struct wire_why, text) + ((const struct wire_why *)at)->text_bytes;
    case WIRE_LOCATIONS:
        return offsetof(struct wire_locations, nodes) +
               ((const struct wire_locations *)at)->count * sizeof(struct node_id);
    case WIRE_OUTPUT:
        return offsetof(struct wire_output, text) + ((const struct wire_output *)at)->text_bytes;
    case WIRE_JOB_ENDED:
        return offsetof(struct wire_job_ended, text) + ((const struct wire_job_ended *)at)->text_bytes;
    case WIRE_ROOM:
        return sizeof(struct wire_room_request);
    case WIRE_ROOM_BACK:
        return sizeof(struct wire_room_back);
    case WIRE_ANNOUNCE:
        return sizeof(struct wire_announce);
    case WIRE_UNWAIT:
    case WIRE_PREFETCH:
    case WIRE_LOCATE:
    case WIRE_NODES:
        return sizeof(struct wire_ask);
    case WIRE_RESULT:
        return sizeof(struct wire_result);
    case WIRE_ROOM_GIVEN:
        return sizeof(struct wire_room_given);
    case WIRE_NODE:
        return sizeof(struct wire_node);
    case WIRE_TAKEN:
        return sizeof(struct wire_taken);
    case WIRE_LEASE:
        return sizeof(struct wire_lease);
    case WIRE_LEASE_BACK:
    case WIRE_LEASE_BROKEN:
        return sizeof(struct wire_lease_back);
    case WIRE_RUN:
        return sizeof(struct wire_run);
    case WIRE_RUN_END:
        return sizeof(struct wire_run_end);
    case WIRE_ESCAPE:
        return offsetof(struct wire_escape, spec) + ((const struct wire_escape *)at)->spec_bytes;
    case WIRE_SETTLE:
        return offsetof(struct wire_settle, bytes) + ((const struct wire_settle *)at)->bytes_count;
    case WIRE_ADOPT:
        return sizeof(struct wire_adopt);
    case WIRE_LEASED:
        return sizeof(struct wire_leased);
    case WIRE_LEASE_NEWS:
        return sizeof(struct wire_lease_news);
    case WIRE_KINDS:
        break;
    }
    abort(); /* a kind that does not exist was taken */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_entry *entry = malloc(size == 0 ? 1 : size); /* of its own: aligned */
    FUZZ_CHECK(entry != NULL);
    memcpy(entry, data, size);
    int status = 1;
    for (int try = 0; try < 2 && status != 0; try++) { /* as it is, and with the size that it has */
        if (try == 1 && size >= sizeof *entry) {
            entry->bytes = (uint32_t)size;
        }
        status = wire_check(entry, size);
        FUZZ_CHECK(status == 0 || (status == ROOST_EINVAL && error_text()[0] != '\0'));
    }
    if (status == 0) {
        FUZZ_CHECK(end_of(entry) <= size && size - end_of(entry) < 8);
        fuzz_taken++;
    }
    free(entry);
    return 0;
}
