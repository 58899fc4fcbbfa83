/* cases_get.c - reading objects that are on this node
 *
 * The objects' own bytes are not read: a get gives a pointer. Its limit is what no get can avoid: an atomic addition in
 * the object's line and its undoing, over as many lines and in the same random order.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdlib.h>

enum {
    KB = 1024,
    OBJECTS_MAX = 1 << 20,
    GETS = 20000,
    MANY = 10000,
    RUNS = 50,
    MANY_RUNS = 30,
    FOREIGN_RUNS = 10,
    TABLE_BYTES_EACH = 256
};

/* Objects of one size in the order in which they are visited, and as many lines for the limit in the same order. The
 * refs themselves are read one after the other: a program that looks for them pays for that itself. */
struct shelf {
    uint32_t count;
    roost_ref *refs;
    uint32_t *order;
    void *lines;
};

static void shelf_fini(struct bench *bench, struct shelf *shelf, uint32_t made)
{
    if (made > 0) {
        roost_free_many(bench->rt, shelf->refs, made);
    }
    free(shelf->refs);
    free(shelf->order);
    bench_unmap(shelf->lines, (uint64_t)shelf->count * LIMIT_SLOT_BYTES);
}

/* Fisher and Yates, from a fixed seed: the same order in every run. refs[i] is then the object made as order[i]. */
static void shuffle(roost_ref *refs, uint32_t *order, uint32_t count)
{
    uint64_t state = 42;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (uint32_t i = count; i > 1; i--) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t j = (uint32_t)((state >> 33) % i), kept = order[i - 1];
        roost_ref kept_ref = refs[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
        refs[i - 1] = refs[j];
        refs[j] = kept_ref;
    }
}

static int shelf_init(struct shelf *shelf)
{
    shelf->refs = calloc(shelf->count, sizeof *shelf->refs);
    shelf->order = calloc(shelf->count, sizeof *shelf->order);
    shelf->lines = bench_map((uint64_t)shelf->count * LIMIT_SLOT_BYTES);
    return shelf->refs == NULL || shelf->order == NULL || shelf->lines == NULL
               ? error_set(ROOST_ENOMEM, "no memory for %u refs", shelf->count)
               : 0;
}

static int shelf_fill(struct bench *bench, struct shelf *shelf, size_t size)
{
    static const char bytes[KB] = "bench";
    int status = shelf_init(shelf);
    uint32_t made = 0;
    for (; status == 0 && made < shelf->count; made += status == 0) {
        status = roost_put(bench->rt, bytes, size, &shelf->refs[made]);
    }
    if (status != 0) {
        shelf_fini(bench, shelf, made);
        return error_prefix(status, "object %u of %u", made + 1, shelf->count);
    }
    shuffle(shelf->refs, shelf->order, shelf->count);
    return 0;
}

static int get_and_release(struct bench *bench, roost_ref ref)
{
    roost_view view;
    ROOST_TRY(roost_get(bench->rt, ref, &view, BENCH_GET_MS));
    roost_release(bench->rt, &view);
    return 0;
}

/* ns per get and release of `gets` objects from the place `from` on; of that one over and over when `again`. */
static int time_gets(struct bench *bench, const struct shelf *shelf, uint32_t from, uint32_t gets, bool again,
                     double *ns_out)
{
    double started = bench_now_ns();
    for (uint32_t i = 0; i < gets; i++) {
        ROOST_TRY(get_and_release(bench, shelf->refs[again ? from : from + i]));
    }
    *ns_out = (bench_now_ns() - started) / gets;
    return 0;
}

struct gets {
    const struct shelf *shelf;
    uint32_t from; /* where the next run begins: each has its own objects, as long as there are */
};

static int get_others_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct gets *gets = arg;
    const struct shelf *shelf = gets->shelf;
    uint32_t count = shelf->count < GETS ? shelf->count : GETS, from = gets->from;
    gets->from = shelf->count - from - count >= count ? from + count : 0;
    *limit_out = limit_touch_ns(shelf->lines, shelf->order + from, count);
    return time_gets(bench, shelf, from, count, false, found_out);
}

static int get_same_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    static const uint32_t same[KB]; /* the first line, over and over */
    struct gets *gets = arg;
    *limit_out = limit_touch_ns(gets->shelf->lines, same, KB);
    return time_gets(bench, gets->shelf, 0, KB, true, found_out);
}

/* Objects that a worker has made and that nobody here has got before: the shelf is filled anew for each run. */
static int get_foreign_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct shelf *shelf = arg;
    roost_ref list;
    ROOST_TRY(roost_call(bench->rt, bench_make_refs, &list, shelf->count, KB));
    ROOST_TRY(roost_get_copy(bench->rt, list, shelf->refs, shelf->count * sizeof *shelf->refs, BENCH_GET_MS));
    ROOST_TRY(roost_keep_many(bench->rt, shelf->refs, shelf->count));
    roost_free(bench->rt, list);
    shuffle(shelf->refs, shelf->order, shelf->count);
    *limit_out = limit_touch_ns(shelf->lines, shelf->order, shelf->count);
    int status = time_gets(bench, shelf, 0, shelf->count, false, found_out);
    roost_free_many(bench->rt, shelf->refs, shelf->count);
    return status;
}

static int measure_foreign(struct bench *bench, uint32_t count)
{
    const struct line line = { .name = "get_local/1KB_other", .unit = "ns" };
    struct shelf shelf = { .count = count };
    int status = shelf_init(&shelf);
    status = status == 0 ? bench_series(bench, line, FOREIGN_RUNS, get_foreign_once, &shelf) : status;
    shelf_fini(bench, &shelf, 0);
    return status;
}

static int measure_gets(struct bench *bench, const struct shelf *shelf)
{
    const struct line others = { .name = "get_local/1KB", .unit = "ns" };
    const struct line same = { .name = "get_local/1KB_again", .unit = "ns" };
    struct gets gets = { shelf, 0 };
    ROOST_TRY(bench_series(bench, others, RUNS, get_others_once, &gets));
    return bench_series(bench, same, RUNS, get_same_once, &gets);
}

/* One object of --bytes: as cheap as a small one, or its bytes are being touched. */
static int measure_view(struct bench *bench)
{
    const struct line line = { .name = "get_local/large", .unit = "ns" };
    roost_buffer buffer;
    roost_ref ref;
    ROOST_TRY(roost_create(bench->rt, bench->large_bytes, &buffer));
    ROOST_TRY(roost_seal(bench->rt, &buffer, bench->large_bytes, &ref));
    struct shelf shelf = { .count = 1, .refs = &ref, .lines = bench_map(LIMIT_SLOT_BYTES) };
    struct gets gets = { &shelf, 0 };
    int status = shelf.lines == NULL ? error_set(ROOST_ENOMEM, "no memory for a line")
                                     : bench_series(bench, line, RUNS, get_same_once, &gets);
    bench_unmap(shelf.lines, LIMIT_SLOT_BYTES);
    roost_free(bench->rt, ref);
    return status;
}

int case_get_local(struct bench *bench)
{
    uint64_t count = bench->large_bytes / KB;
    struct shelf shelf = { .count = (uint32_t)(count < OBJECTS_MAX ? count : OBJECTS_MAX) };
    uint64_t small_bytes = (uint64_t)shelf.count * (KB + TABLE_BYTES_EACH);
    ROOST_TRY(session_open(bench, 4 * small_bytes, 1)); /* slabs get a quarter of a store */
    int status = shelf_fill(bench, &shelf, KB);
    if (status == 0) {
        status = measure_gets(bench, &shelf);
        shelf_fini(bench, &shelf, shelf.count);
    }
    status = status == 0 ? measure_foreign(bench, shelf.count < MANY ? shelf.count : MANY) : status;
    return status == 0 ? measure_view(bench) : status;
}

struct many {
    struct shelf shelf;
    roost_view *views;
};

/* One get of all and one release of all, and no more than that. */
static int get_many_once(struct bench *bench, void *arg, double *found_out, double *limit_out)
{
    struct many *many = arg;
    *limit_out = limit_touch_ns(many->shelf.lines, many->shelf.order, MANY) * MANY;
    double started = bench_now_ns();
    ROOST_TRY(roost_get_many(bench->rt, many->shelf.refs, MANY, many->views, BENCH_GET_MS));
    roost_release_many(bench->rt, many->views, MANY);
    *found_out = bench_now_ns() - started;
    return 0;
}

int case_get_many(struct bench *bench)
{
    const struct line line = { .name = "get_many_10000", .unit = "us" };
    struct many many = { .shelf.count = MANY };
    ROOST_TRY(session_open(bench, UINT64_C(64) << 20, 1));
    ROOST_TRY(shelf_fill(bench, &many.shelf, BENCH_SMALL_BYTES));
    many.views = calloc(MANY, sizeof *many.views);
    int status = many.views == NULL ? error_set(ROOST_ENOMEM, "no memory for %d views", MANY)
                                    : bench_series(bench, line, MANY_RUNS, get_many_once, &many);
    free(many.views);
    shelf_fini(bench, &many.shelf, MANY);
    return status;
}
