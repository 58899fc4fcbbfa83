/* bench.h - what the parts of roost-bench share
 *
 * A case opens a session (its own one-node cluster), measures in turns its operation and the hardware's limit for it,
 * and gives each series to report_line(). Everything runs on the driver's thread; tasks run in the cluster's workers.
 * Functions return 0 or a ROOST_E status, whose text is roost_last_error(). */
#ifndef ROOST_TESTS_BENCH_BENCH_H
#define ROOST_TESTS_BENCH_BENCH_H

#include "tests/bench/samples.h"

#include <roost.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Room of a store beside the objects' own bytes: their table entries, the ends of slabs, results of tasks. */
#define SESSION_SPARE_BYTES (UINT64_C(64) << 20)

enum { BENCH_GET_MS = 30000, BENCH_BATCH_MS = 600000, BENCH_SMALL_BYTES = 100, BENCH_WARM_UPS = 2 };
/* Where driver and worker ran. Free: wherever the kernel puts them, and any number of workers. */
enum bench_placement { PLACED_FREE, PLACED_ONE_CORE, PLACED_TWO_CORES };

struct bench {
    struct roost *rt;     /* of the session, or NULL */
    uint64_t large_bytes; /* of the largest object; everything else is sized from it */
    int runs;             /* of each series; 0: the case's own choice */
    const char *only;     /* the series that was asked for, or NULL */
    bool json;
    const char *chart; /* the file for it, or NULL */
    int cores[2];      /* the first two that this process may use; -1: there is no such */
    pid_t cluster;     /* of several nodes, or 0; `lifeline` is its standard input */
    int lifeline;
    unsigned cpus_of_node; /* of the nodes of such a cluster; 0: one */
    const char *now;       /* the line that is being measured, for the progress */
};

/* One operation on `count` items at once. */
struct batch_work;
struct bench_batch {
    const char *name, *unit;
    uint32_t count;
    int runs;
    int (*run)(struct batch_work *work, double *ns_out);
    bool is_per_item; /* the line is per item */
    bool is_free;     /* any number of workers, wherever they are; else one worker, on a core of its own */
};

struct bench_case {
    const char *name, *unit, *what;
    int (*run)(struct bench *bench);   /* NULL: `batches` */
    const struct bench_batch *batches; /* ends with a NULL name */
};
extern const struct bench_case bench_cases[]; /* ends with a NULL name */

int batch_tasks_and_get(struct batch_work *work, double *ns_out);
int batch_arguments(struct batch_work *work, double *ns_out);
int batch_returns(struct batch_work *work, double *ns_out);
int batch_get_refs(struct batch_work *work, double *ns_out);
int batch_chain(struct batch_work *work, double *ns_out);
int batch_fan_in(struct batch_work *work, double *ns_out);
int batch_queued(struct batch_work *work, double *ns_out);
int batch_multi_client(struct batch_work *work, double *ns_out);
int bench_batch_run(struct bench *bench, const struct bench_batch *batch);

int case_get_local(struct bench *bench);
int case_get_many(struct bench *bench);
int case_put_small(struct bench *bench);
int case_put_large(struct bench *bench);
int case_put_multi(struct bench *bench);
int case_task_sync(struct bench *bench);
int case_task_async(struct bench *bench);
int case_wait(struct bench *bench);
int case_pull_large(struct bench *bench);
int case_pull_many(struct bench *bench);
int case_metg(struct bench *bench);
int case_startup(struct bench *bench);
int case_footprint(struct bench *bench);
int case_sort(struct bench *bench);
int case_sched_scale(struct bench *bench);
int case_placement(struct bench *bench);

/* ---- session.c */

double bench_now_ns(void);
/* In a worker it serves tasks and does not return. Comes before anything else that the program does. */
void session_serve(void);
/* Opens a one-node cluster whose store takes `store_bytes` of objects, with `cpus` workers (0: the machine's). */
int session_open(struct bench *bench, uint64_t store_bytes, double cpus);
/* Opens a cluster of `nodes` nodes on this machine with one worker (or bench->cpus_of_node)
 * and a store of `store_bytes` each; what goes between
 * them goes over TCP. */
int session_open_nodes(struct bench *bench, unsigned nodes, uint64_t store_bytes);
/* Ends it and lets this thread run again on every core that it was started on. */
void session_close(struct bench *bench);
/* Puts this thread and the worker where `placement` says. The cluster must have been opened for one worker, unless the
 * placement is free. *done_out: false when this machine has no such placement. */
int session_place(struct bench *bench, enum bench_placement placement, bool *done_out);
/* Memory of one's own, written once, so that it is backed. NULL when there is not enough. Give back with
 * bench_unmap. */
void *bench_map(uint64_t bytes);
void bench_unmap(void *memory, uint64_t bytes);
/* Backs `bytes` of memory and gives it back, so that the host has it ready for whoever asks next. */
void bench_ready_memory(uint64_t bytes);

/* The task that does nothing with any arguments. One that makes argument 0 objects of argument 1 bytes (at most
 * BENCH_OBJECT_BYTES_MAX): its result is the list of their refs. One that calls argument 0 empty tasks and waits. */
enum { BENCH_OBJECT_BYTES_MAX = 1024 };
roost_fn bench_nothing, bench_make_refs, bench_client;

/* ---- limits.c: the hardware's figures, each for one run */

enum { LIMIT_SLOT_BYTES = 64 };
/* ns of one atomic addition and its undoing in each of `count` lines of `table`, in the order of `order`. */
double limit_touch_ns(void *table, const uint32_t *order, uint32_t count);
/* ns to copy `size` bytes with memcpy; both warm. */
double limit_copy_ns(void *to, const void *from, uint64_t size);
/* ns per copy of `size` bytes into successive places of `area`, each with a store that publishes it. */
double limit_small_copy_ns(void *area, uint64_t area_bytes, size_t size, int count);

/* A second process, for what takes two. Placed as the worker is. */
struct limit_peer;
int limit_peer_start(struct limit_peer **peer_out, const struct bench *bench, enum bench_placement placement);
void limit_peer_stop(struct limit_peer *peer);
/* ns of one futex ping-pong: wake the peer, sleep until it has answered. */
double limit_ping_pong_ns(struct limit_peer *peer);
/* ns per entry of `count` entries of a line each that go to the peer and come back, at most 1,000 under way. */
double limit_stream_ns(struct limit_peer *peer, int count);

/* A second process that writes `bytes` into a TCP connection over loopback when asked. */
struct limit_socket;
int limit_socket_start(struct limit_socket **socket_out, uint64_t bytes);
void limit_socket_stop(struct limit_socket *socket); /* accepts NULL */
/* ns from asking for the bytes to having them. */
double limit_socket_ns(struct limit_socket *socket);

/* ---- report.c */

struct line {
    const char *name; /* CASE or CASE/VARIANT */
    const char *unit; /* "ns", "us", "ms" or "s": the samples are ns; else they are printed as they are */
    enum bench_placement placement;
    struct samples found, limit;
    double found_median; /* when it is not that of the samples; else 0 */
    const char *more;    /* further members of the JSON object, or NULL */
};
/* Prints the line and frees its samples, also on failure. Fewer than one sample in either series: ROOST_ESTATE. */
int report_line(const struct bench *bench, struct line *line);
/* On a terminal: which run it is at. */
void report_progress(const struct bench *bench, int run, int runs);

/* ---- chart.c: what was reported, as a picture */

void chart_bar(const char *name, const char *placement, const char *unit, double median, double ratio);
enum chart_panel { CHART_METG, CHART_DECISION, CHART_TASK, CHART_OBJECT, CHART_CENSUS };
/* A point more of the panel's curve of that name. */
void chart_point(enum chart_panel panel, const char *name, double x, double y);
int chart_write(const char *path);
void chart_fini(void);

/* ---- series.c */

/* Runs of a series: what the user asked for, or `usual`. */
int bench_runs(const struct bench *bench, int usual);
/* Was that series asked for? */
bool bench_wants(const struct bench *bench, const char *name);
/* One run of an operation, and one of its limit beside it. */
typedef int bench_run(struct bench *bench, void *arg, double *found_out, double *limit_out);
/* Warms up, measures `usual_runs` runs, or as many as the user asked for, and prints the line; nothing of a series that
 * was not asked for. */
int bench_series(struct bench *bench, struct line line, int usual_runs, bench_run *run_once, void *arg);

#endif
