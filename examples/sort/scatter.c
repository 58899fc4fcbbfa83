/* scatter.c - one pass to find and count each record's partition, one pass to put the records there
 *
 * The second pass is bound by memory. Written straight to the columns, each 64-byte line of output would first be read
 * from memory to be written; so records are gathered in a small buffer per partition and leave it as whole lines by
 * non-temporal stores, which read nothing. All buffers together fit a second-level cache for up to 1,000 partitions.
 *
 * Failures:   bad size, no memory: reported before anything is written.
 * Invariants: a lane's buffer mirrors the output from `line` on, which is aligned to a line; bytes [begin, fill) of it
 *             are waiting, and begin is not 0 only before the first flush of a column that starts inside a line.
 *             A line that two columns share is written in part by each, with ordinary stores.
 * Thread:     any.
 */
#include "examples/sort/scatter.h"

#include <errno.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    LINE_BYTES = 64,
    LANE_FLUSH_BYTES = 6 * LINE_BYTES,              /* leaves the buffer at once; 2 lines are slower, 48 no faster */
    LANE_BYTES = LANE_FLUSH_BYTES + 2 * LINE_BYTES, /* one more record fits when it is about to leave */
};
_Static_assert(LANE_BYTES >= LANE_FLUSH_BYTES - 1 + RECORD_BYTES, "a record always fits a lane");

struct lane {
    unsigned char bytes[LANE_BYTES] __attribute__((__aligned__(LINE_BYTES)));
};

struct lane_state {
    unsigned char *line; /* where bytes[0] belongs */
    uint32_t begin, fill;
};

static void lines_store(unsigned char *to, const unsigned char *from, size_t bytes)
{
#ifdef __SSE2__
    for (size_t at = 0; at < bytes; at += sizeof(__m128i)) {
        _mm_stream_si128((__m128i *)(void *)(to + at), _mm_load_si128((const __m128i *)(const void *)(from + at)));
    }
#else
    memcpy(to, from, bytes);
#endif
}

static void lines_store_end(void)
{
#ifdef __SSE2__
    _mm_sfence(); /* non-temporal stores are ordered with nothing else */
#endif
}

/* A full buffer: its whole lines go out, what is beyond them moves to the front. */
static void lane_flush(struct lane *lane, struct lane_state *state)
{
    uint32_t begin = state->begin;
    if (begin > 0) { /* the column begins inside this line, the rest of which is another's */
        memcpy(state->line + begin, lane->bytes + begin, LINE_BYTES - begin);
        lines_store(state->line + LINE_BYTES, lane->bytes + LINE_BYTES, LANE_FLUSH_BYTES - LINE_BYTES);
        state->begin = 0;
    } else {
        lines_store(state->line, lane->bytes, LANE_FLUSH_BYTES);
    }
    state->line += LANE_FLUSH_BYTES;
    state->fill -= LANE_FLUSH_BYTES;
    memcpy(lane->bytes, lane->bytes + LANE_FLUSH_BYTES, LANE_BYTES - LANE_FLUSH_BYTES);
}

/* First pass: the partition of each record, and how many each has. */
static void partitions_count(const struct splits *splits, const unsigned char *records, size_t count,
                             uint16_t *partition_of, uint64_t *counts)
{
    memset(counts, 0, splits->partitions * sizeof *counts);
    for (size_t i = 0; i < count; i++) {
        uint16_t partition = splits_partition(splits, key_load(records + i * RECORD_BYTES));
        partition_of[i] = partition;
        counts[partition]++;
    }
}

/* Turns counts into ends and sets each lane to the beginning of its column. */
static void columns_lay_out(size_t partitions, unsigned char *out, uint64_t *ends, struct lane_state *states)
{
    uint64_t begin = 0;
    for (size_t p = 0; p < partitions; p++) {
        uint32_t inside = (uint32_t)((uintptr_t)(out + begin) % LINE_BYTES);
        states[p] = (struct lane_state){ out + begin - inside, inside, inside };
        begin += ends[p] * RECORD_BYTES;
        ends[p] = begin;
    }
}

/* Second pass. */
static void records_move(const unsigned char *records, size_t count, const uint16_t *partition_of, struct lane *lanes,
                         struct lane_state *states)
{
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = &lanes[partition_of[i]];
        struct lane_state *state = &states[partition_of[i]];
        memcpy(lane->bytes + state->fill, records + i * RECORD_BYTES, RECORD_BYTES);
        state->fill += RECORD_BYTES;
        if (state->fill >= LANE_FLUSH_BYTES) {
            lane_flush(lane, state);
        }
    }
}

static void lanes_empty(size_t partitions, const struct lane *lanes, const struct lane_state *states)
{
    for (size_t p = 0; p < partitions; p++) {
        memcpy(states[p].line + states[p].begin, lanes[p].bytes + states[p].begin, states[p].fill - states[p].begin);
    }
    lines_store_end();
}

int scatter(const struct splits *splits, struct sort_piece input, void *out, uint64_t *ends_out,
            struct sort_fault *fault)
{
    size_t count, partitions = splits->partitions;
    int status = records_count(input.size, &count, fault);
    if (status != 0) {
        return status;
    }
    if (count == 0) {
        memset(ends_out, 0, partitions * sizeof *ends_out);
        return 0;
    }
    size_t lanes_bytes = partitions * sizeof(struct lane), states_bytes = partitions * sizeof(struct lane_state);
    size_t bytes = lanes_bytes + states_bytes + count * sizeof(uint16_t); /* less than input.size + 64 MiB */
    struct lane *lanes = aligned_alloc(LINE_BYTES, (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
    if (lanes == NULL) {
        return sort_fail(fault, -ENOMEM, "no memory to scatter %zu records over %zu partitions", count, partitions);
    }
    struct lane_state *states = (struct lane_state *)(void *)((char *)lanes + lanes_bytes);
    uint16_t *partition_of = (uint16_t *)(void *)((char *)states + states_bytes);

    partitions_count(splits, input.data, count, partition_of, ends_out);
    columns_lay_out(partitions, out, ends_out, states);
    records_move(input.data, count, partition_of, lanes, states);
    lanes_empty(partitions, lanes, states);
    free(lanes);
    return 0;
}
