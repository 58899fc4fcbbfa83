/* cases_scale.c - the head's core as the cluster grows
 *
 * The real core with generated agents: nodes, queued tasks and objects grow together, tenfold each time. Costs should
 * stay as they are: the limit of a decision is its cost at the smallest size. The limit of an object is an id, a size,
 * a place and a count; of a queued task, its spec; of a census, one visit of a line per object in random order.
 *
 * Failures: a status, such as no memory; sizes follow from --bytes.
 * Thread:   the driver's. */
#include "common/bytes.h"
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/head_load.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZES = 4, DECISIONS = 2000, DECISION_RUNS = 10, BYTES_PER_TASK = 1024, BYTES_PER_OBJECT = 100 };
enum { OBJECT_BYTES_MIN = 32, TOUCHED_MAX = 1 << 20, SMALL_NODES_MAX = 100, SMALL_BYTES = 64 << 20 };

struct size {
    uint64_t nodes, tasks, objects;
};

struct scale {
    struct bench *bench;
    struct size size;
    struct head_load *load;
    double smallest; /* ns of a decision at the smallest size */
};

#if defined(__SANITIZE_ADDRESS__) /* its heap is not glibc's */
size_t __sanitizer_get_current_allocated_bytes(void);
static double heap_bytes(void) { return (double)__sanitizer_get_current_allocated_bytes(); }
#else
static double heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return (double)info.uordblks + (double)info.hblkhd;
}
#endif

/* What is measured at each size. Times are ns, whatever their unit is. */
static const struct measure {
    const char *name, *unit;
    enum chart_panel panel;
    double scale; /* of the unit */
} decision = { "decision", "ns", CHART_DECISION, 1 }, census = { "census", "ms", CHART_CENSUS, 1e6 },
  of_task = { "task", "B", CHART_TASK, 1 }, of_object = { "object", "B", CHART_OBJECT, 1 };

static int print_one(struct scale *scale, const struct measure *measure, double found, double limit)
{
    char name[64];
    snprintf(name, sizeof name, "sched_scale/%s_%llu", measure->name, (unsigned long long)scale->size.nodes);
    struct line line = { .name = name, .unit = measure->unit };
    chart_point(measure->panel, "measured", (double)scale->size.nodes, found / measure->scale);
    chart_point(measure->panel, "limit", (double)scale->size.nodes, limit / measure->scale);
    samples_add(&line.found, found);
    samples_add(&line.limit, limit);
    char more[128];
    snprintf(more, sizeof more, "\"nodes\":%llu,\"tasks\":%llu,\"objects\":%llu", (unsigned long long)scale->size.nodes,
             (unsigned long long)scale->size.tasks, (unsigned long long)scale->size.objects);
    line.more = more;
    return report_line(scale->bench, &line);
}

static int measure_decisions(struct scale *scale)
{
    struct samples found = { 0 };
    int status = 0, runs = bench_runs(scale->bench, DECISION_RUNS);
    for (int run = -1; status == 0 && run < runs; run++) {
        double started = bench_now_ns();
        status = head_load_decide(scale->load, DECISIONS);
        if (status == 0 && run >= 0) {
            samples_add(&found, (bench_now_ns() - started) / DECISIONS);
        }
    }
    double median = samples_median(&found);
    samples_fini(&found);
    scale->smallest = scale->smallest == 0 ? median : scale->smallest;
    return status != 0 ? status : print_one(scale, &decision, median, scale->smallest);
}

/* ns to visit a line per object, of as many as make it one of memory. */
static double visit_ns(uint64_t objects)
{
    uint32_t count = (uint32_t)(objects < TOUCHED_MAX ? objects : TOUCHED_MAX);
    uint32_t *order = calloc(count, sizeof *order);
    void *lines = bench_map((uint64_t)count * LIMIT_SLOT_BYTES);
    double ns = 0;
    if (order != NULL && lines != NULL) {
        for (uint32_t i = 0; i < count; i++) {
            order[i] = (uint32_t)((uint64_t)i * 2654435761u % count);
        }
        ns = limit_touch_ns(lines, order, count) * (double)objects;
    }
    bench_unmap(lines, (uint64_t)count * LIMIT_SLOT_BYTES);
    free(order);
    return ns;
}

static int measure_census(struct scale *scale)
{
    double started = bench_now_ns();
    ROOST_TRY(head_load_census(scale->load));
    return print_one(scale, &census, bench_now_ns() - started, visit_ns(scale->size.objects));
}

static int measure_loaded(struct scale *scale)
{
    double empty = heap_bytes();
    ROOST_TRY(head_load_publish(scale->load, scale->size.objects));
    double with_objects = heap_bytes();
    ROOST_TRY(head_load_submit(scale->load, scale->size.tasks));
    double with_tasks = heap_bytes();
    ROOST_TRY(print_one(scale, &of_object, (with_objects - empty) / (double)scale->size.objects, OBJECT_BYTES_MIN));
    ROOST_TRY(print_one(scale, &of_task, (with_tasks - with_objects) / (double)scale->size.tasks,
                        (double)head_load_spec_bytes(scale->load)));
    ROOST_TRY(measure_decisions(scale));
    return measure_census(scale);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

int case_sched_scale(struct bench *bench)
{
    struct scale scale = { .bench = bench };
    uint64_t nodes_max = bench->large_bytes < SMALL_BYTES ? SMALL_NODES_MAX : UINT64_MAX, nodes = 10, factor = 1;
    int status = 0;
    for (int i = 0; status == 0 && i < SIZES && nodes <= nodes_max; i++, nodes *= 10, factor *= 10) {
        scale.size = (struct size){ nodes, least(10000 * factor, least(1000000, bench->large_bytes / BYTES_PER_TASK)),
                                    least(100000 * factor, bench->large_bytes / BYTES_PER_OBJECT) };
        report_progress(bench, i, SIZES);
        status = head_load_create(&scale.load, (uint32_t)nodes);
        status = status == 0 ? measure_loaded(&scale) : status;
        head_load_destroy(scale.load);
        scale.load = NULL;
    }
    return status;
}
