#include "objectstore/extent.h"
#include "common/hash.h"
#include "tests/lib/test.h"

#include <math.h>
#include <string.h>

enum { GRANULES = 4096, STEPS = 60000, LIVE_MAX = 512 };

struct piece {
    uint64_t offset, size;
};

/* What is right by definition: a flag per granule, and the lowest place that fits, found by looking at all. */
struct model {
    bool taken[GRANULES];
};

static uint64_t model_first_fit(const struct model *model, uint64_t granules, uint64_t alignment_granules)
{
    for (uint64_t at = 0; at + granules <= GRANULES; at += alignment_granules) {
        uint64_t length = 0;
        while (length < granules && !model->taken[at + length]) {
            length++;
        }
        if (length == granules) {
            return at;
        }
    }
    return UINT64_MAX;
}

static void model_set(struct model *model, uint64_t offset, uint64_t size, bool taken)
{
    for (uint64_t granule = offset / EXTENT_GRANULE; granule < (offset + size) / EXTENT_GRANULE; granule++) {
        CHECK(model->taken[granule] != taken);
        model->taken[granule] = taken;
    }
}

static uint64_t model_largest_free(const struct model *model)
{
    uint64_t largest = 0, run = 0;
    for (uint64_t granule = 0; granule < GRANULES; granule++) {
        run = model->taken[granule] ? 0 : run + 1;
        largest = run > largest ? run : largest;
    }
    return largest * EXTENT_GRANULE;
}

static struct extents extents;
static struct model model;
static struct piece pieces[LIVE_MAX];
static uint32_t pieces_count;

static void take(uint64_t size, uint64_t alignment)
{
    uint64_t offset, granules = (size + EXTENT_GRANULE - 1) / EXTENT_GRANULE;
    uint64_t lowest = model_first_fit(&model, granules, alignment / EXTENT_GRANULE);
    int status = extent_alloc(&extents, size, alignment, &offset);
    CHECK_EQ(status, lowest == UINT64_MAX ? ROOST_EFULL : 0);
    if (status == 0) {
        CHECK_EQ(offset % alignment, 0);
        if (alignment == EXTENT_GRANULE) {
            CHECK_EQ(offset, lowest * EXTENT_GRANULE);
        }
        CHECK_EQ(extent_size(&extents, offset), granules * EXTENT_GRANULE);
        model_set(&model, offset, granules * EXTENT_GRANULE, true);
        pieces[pieces_count++] = (struct piece){ offset, granules * EXTENT_GRANULE };
    }
}

static void give_back(uint64_t random)
{
    uint32_t index = (uint32_t)(random % pieces_count);
    struct piece piece = pieces[index];
    if (random >> 32 & 1) {
        uint64_t kept = 1 + (random >> 33) % piece.size, rounded = align_up(kept, EXTENT_GRANULE);
        CHECK_EQ(extent_shrink(&extents, piece.offset, kept), piece.size - rounded);
        model_set(&model, piece.offset + rounded, piece.size - rounded, false);
        pieces[index].size = rounded;
    } else {
        CHECK_EQ(extent_free(&extents, piece.offset), piece.size);
        model_set(&model, piece.offset, piece.size, false);
        pieces[index] = pieces[--pieces_count];
    }
}

TEST(extent, agrees_with_a_map_of_flags_through_many_steps)
{
    static const uint64_t alignments[] = { 64, 64, 64, 4096, 1024 };
    uint64_t random = 7, full = 0;
    CHECK_EQ(extent_init(&extents, GRANULES * EXTENT_GRANULE + 63), 0);
    for (int step = 0; step < STEPS; step++) {
        random = hash_mix(random, (uint64_t)step);
        uint32_t before = pieces_count;
        bool wants_more = random % 16 < (step / 4000 % 2 ? 6u : 11u); /* fill, drain, fill ... */
        if (pieces_count == 0 || (wants_more && pieces_count < LIVE_MAX)) {
            take(1 + (random >> 8) % (random >> 40 & 7 ? 4000 : 40000), alignments[(random >> 50) % 5]);
            full += pieces_count == before;
        } else {
            give_back(random >> 8);
        }
        uint64_t used = 0;
        for (uint32_t i = 0; i < pieces_count; i++) {
            used += pieces[i].size;
        }
        CHECK_EQ(extents.free_bytes, extents.bytes - used);
        CHECK_EQ(extents.taken_count, pieces_count);
        if (step % 16 == 0) {
            CHECK_EQ(extent_largest_free(&extents), model_largest_free(&model));
            CHECK(extent_is_valid(&extents));
        }
    }
    CHECK(full > 100); /* the refusals were tried too */
    while (pieces_count > 0) {
        extent_free(&extents, pieces[--pieces_count].offset);
    }
    CHECK_EQ(extent_largest_free(&extents), extents.bytes);
    CHECK_EQ(extents.free_count, 1);
    CHECK(extent_is_valid(&extents));
    extent_fini(&extents);
}

TEST(extent, an_aligned_hole_behind_many_bad_ones_is_found)
{
    uint64_t offset, holes[200];
    CHECK_EQ(extent_init(&extents, ROOST_MIB(16)), 0);
    for (int i = 0; i < 200; i++) { /* holes of 4096 bytes at odd places, 64 taken bytes between */
        CHECK_EQ(extent_alloc(&extents, 64, 64, &offset), 0);
        CHECK_EQ(extent_alloc(&extents, 4096, 64, &holes[i]), 0);
    }
    uint64_t last;
    CHECK_EQ(extent_alloc(&extents, 4096, 4096, &last), 0);
    while (extent_largest_free(&extents) >= 64) {
        CHECK_EQ(extent_alloc(&extents, extent_largest_free(&extents), 64, &offset), 0);
    }
    for (int i = 0; i < 200; i++) {
        extent_free(&extents, holes[i]);
    }
    CHECK_EQ(extent_alloc(&extents, 4096, 4096, &offset), 0); /* hole 63 happens to be aligned */
    CHECK_EQ(offset % 4096, 0);
    CHECK_EQ(extent_alloc(&extents, 4096, 4096, &offset), 0);
    while (extent_alloc(&extents, 4096, 4096, &offset) == 0) {
        CHECK_EQ(offset % 4096, 0);
    }
    extent_free(&extents, last);
    CHECK_EQ(extent_alloc(&extents, 4096, 4096, &offset), 0);
    CHECK_EQ(offset, last);
    extent_fini(&extents);
}

TEST(extent, the_same_calls_give_the_same_offsets)
{
    struct extents a, b;
    CHECK_EQ(extent_init(&a, ROOST_GIB(1)), 0);
    CHECK_EQ(extent_init(&b, ROOST_GIB(1)), 0);
    uint64_t random = 3, kept[64] = { 0 };
    for (int step = 0; step < 5000; step++) {
        random = hash_mix(random, (uint64_t)step);
        uint64_t *slot = &kept[random % 64], other = 0;
        if (*slot != 0) {
            CHECK_EQ(extent_free(&a, *slot - 1), extent_free(&b, *slot - 1));
            *slot = 0;
        } else if (extent_alloc(&a, 1 + (random >> 8) % 10000000, 2097152, slot) == 0) {
            CHECK_EQ(extent_alloc(&b, 1 + (random >> 8) % 10000000, 2097152, &other), 0);
            CHECK_EQ(*slot, other);
            *slot += 1;
        }
    }
    extent_fini(&a);
    extent_fini(&b);
}

TEST(extent, what_can_never_fit_is_refused_with_the_sizes)
{
    uint64_t offset = 5;
    CHECK_EQ(extent_init(&extents, 63), ROOST_EINVAL);
    CHECK_EQ(extent_init(&extents, ROOST_MIB(1)), 0);
    CHECK_EQ(extent_alloc(&extents, ROOST_MIB(1) + 1, 64, &offset), ROOST_EFULL);
    CHECK_EQ(extent_alloc(&extents, UINT64_MAX, 64, &offset), ROOST_EFULL);
    CHECK_EQ(extent_alloc(&extents, 1, UINT64_C(1) << 63, &offset), ROOST_EFULL);
    CHECK_EQ(offset, 5);
    CHECK_EQ(extent_alloc(&extents, ROOST_MIB(1), 2097152, &offset), 0);
    CHECK_EQ(offset, 0);
    extent_fini(&extents);
}

/* Figures of the comment in extent.c; a bar well below them. */
enum spread { LOG_UNIFORM, UNIFORM };

static uint64_t draw(uint64_t *random, enum spread spread, double low, double high)
{
    *random = hash_mix(*random, 1);
    double unit = (double)(*random >> 11) * 0x1p-53;
    return (uint64_t)(spread == UNIFORM ? low + unit * (high - low) : low * pow(high / low, unit));
}

/* Filled at the first refusal, mean of some seeds. */
static double fill(enum spread spread, double low, double high)
{
    enum { SEEDS = 20 };
    double sum = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t random = seed, offset;
        CHECK_EQ(extent_init(&extents, ROOST_GIB(1)), 0);
        while (extent_alloc(&extents, draw(&random, spread, low, high), 64, &offset) == 0) {
        }
        sum += 100.0 - 100.0 * (double)extents.free_bytes / (double)extents.bytes;
        extent_fini(&extents);
    }
    return sum / SEEDS;
}

static double live_when_the_oldest_goes(enum spread spread, double low, double high)
{
    enum { QUEUE = 1 << 20, ROUNDS = 20000 };
    static uint64_t queue[QUEUE];
    uint64_t random = 13, head = 0, tail = 0, refusals = 0;
    double sum = 0;
    CHECK_EQ(extent_init(&extents, ROOST_GIB(1)), 0);
    while (refusals < ROUNDS) {
        uint64_t size = draw(&random, spread, low, high), offset;
        while (extent_alloc(&extents, size, 64, &offset) != 0) {
            sum += (double)(extents.bytes - extents.free_bytes);
            refusals++;
            extent_free(&extents, queue[head++ % QUEUE]);
        }
        queue[tail++ % QUEUE] = offset;
    }
    double live = 100.0 * sum / (double)refusals / (double)extents.bytes;
    extent_fini(&extents);
    return live;
}

TEST(extent, fills_a_segment_and_keeps_it_filled)
{
    double mixed = fill(LOG_UNIFORM, 1024, 67108864), big = fill(UNIFORM, 1024, 67108864),
           small = fill(LOG_UNIFORM, 1024, 1048576);
    double live_mixed = live_when_the_oldest_goes(LOG_UNIFORM, 1024, 67108864),
           live_small = live_when_the_oldest_goes(LOG_UNIFORM, 1024, 1048576);
    printf("filled: log-uniform to 64 MiB %.1f %%, uniform to 64 MiB %.1f %%, log-uniform to 1 MiB %.1f %%; "
           "live: %.1f %%, %.1f %%\n",
           mixed, big, small, live_mixed, live_small);
    CHECK(mixed > 95 && big > 92 && small > 98);
    CHECK(live_mixed > 85 && live_small > 85);
}
