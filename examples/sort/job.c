/* job.c - the driver of the sort job
 *
 * Happy path: inputs checked -> folder made ready -> keys sampled, splits chosen and put -> all maps submitted -> a
 *             list of their results put -> all reducers submitted, each with its column of that list; they start when
 *             their columns exist, which no one here waits for -> facts of the maps taken in, then those of the
 *             reducers -> counts and sums compared -> report.
 * Failures:   the first is printed; then every reducer is waited for, failed or not, so that none writes a file after
 *             the folder has been cleared.
 * Invariants: records mapped = records reduced = records of the inputs, or the job fails.
 * Thread:     main's.
 */
#include "examples/sort/job.h"

#include "examples/sort/input.h"
#include "examples/sort/output.h"
#include "examples/sort/report.h"
#include "examples/sort/splits.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SAMPLE_KEYS_MIN = 10000, SAMPLE_KEYS_PER_PARTITION = 200 };

struct job {
    struct roost *rt;
    const struct sort_options *options;
    struct input input;
    struct output output;
    struct report report;
    size_t maps, partitions;
    roost_ref *map_facts;    /* `maps` of them, held until they have been read */
    roost_ref *parts;        /* reducers' results */
    size_t parts_submitted;  /* so many of them, held */
    char *report_unfinished; /* path of the report while it is none, or NULL */
    FILE *report_file;
};

static int fail(const char *what)
{
    fprintf(stderr, "sort: %s\n", what);
    return -1;
}

static int no_memory(void) { return fail("out of memory"); }

/* A call of Roost's: its words are the user's. */
static int fail_unless_ok(int status) { return status == 0 ? 0 : fail(roost_last_error()); }

/* ---- report file ---- */

static int report_fail(const struct job *job)
{
    fprintf(stderr, "sort: cannot write the report %s: %s\n", job->options->report, strerror(errno));
    return -1;
}

/* Before anything is sorted, so that a path that is no good is known at once. */
static int report_open(struct job *job)
{
    if (job->options->report == NULL) {
        return 0;
    }
    if (asprintf(&job->report_unfinished, "%s.%d.tmp", job->options->report, (int)getpid()) < 0) {
        job->report_unfinished = NULL;
        return no_memory();
    }
    job->report_file = fopen(job->report_unfinished, "we");
    return job->report_file != NULL ? 0 : report_fail(job);
}

static int report_write(struct job *job)
{
    if (job->report_file == NULL) {
        return 0;
    }
    report_print_json(&job->report, job->report_file);
    bool is_bad = ferror(job->report_file) != 0;
    is_bad |= fclose(job->report_file) != 0;
    job->report_file = NULL;
    if (is_bad || rename(job->report_unfinished, job->options->report) != 0) {
        return report_fail(job);
    }
    free(job->report_unfinished);
    job->report_unfinished = NULL;
    return 0;
}

static void report_abandon(struct job *job)
{
    if (job->report_file != NULL) {
        fclose(job->report_file);
    }
    if (job->report_unfinished != NULL) {
        unlink(job->report_unfinished);
        free(job->report_unfinished);
    }
}

/* ---- plan ---- */

static int nodes_ask(struct job *job, struct roost_node_info **nodes_out, size_t *count_out)
{
    size_t capacity, count;
    if (fail_unless_ok(roost_nodes(job->rt, NULL, sizeof **nodes_out, 0, &capacity)) != 0) {
        return -1;
    }
    struct roost_node_info *nodes = calloc(capacity + 1, sizeof *nodes);
    if (nodes == NULL) {
        return no_memory();
    }
    if (fail_unless_ok(roost_nodes(job->rt, nodes, sizeof *nodes, capacity, &count)) != 0) {
        free(nodes);
        return -1;
    }
    *nodes_out = nodes;
    *count_out = count < capacity ? count : capacity;
    return 0;
}

static size_t alive_count(const struct roost_node_info *nodes, size_t count)
{
    size_t alive = 0;
    for (size_t i = 0; i < count; i++) {
        alive += nodes[i].alive;
    }
    return alive;
}

/* How many maps and partitions, and room for what they give back. */
static int plan(struct job *job)
{
    const struct sort_options *options = job->options;
    struct roost_node_info *nodes = NULL;
    size_t nodes_count = 0;
    if (nodes_ask(job, &nodes, &nodes_count) != 0) {
        return -1;
    }
    size_t alive = alive_count(nodes, nodes_count);
    job->partitions = options->partitions != 0 ? options->partitions : input_partitions_default(job->input.size, alive);
    int status = input_cut(&job->input,
                           options->maps != 0 ? options->maps : input_maps_default(job->input.size, alive));
    job->maps = job->input.pieces_count;
    if (status == 0) {
        job->map_facts = calloc(job->maps, sizeof *job->map_facts);
        job->parts = calloc(job->partitions, sizeof *job->parts);
        status = job->map_facts == NULL || job->parts == NULL ||
                         report_init(&job->report, nodes, nodes_count, job->maps, job->partitions) != 0
                     ? no_memory()
                     : 0;
    }
    free(nodes);
    return status;
}

/* The split keys as an object: every map reads them in place. */
static int splits_put(struct job *job, roost_ref *splits_out)
{
    size_t wanted = job->partitions * SAMPLE_KEYS_PER_PARTITION;
    unsigned char *keys, *splits = malloc(job->partitions * KEY_BYTES);
    struct sort_fault fault;
    wanted = wanted < SAMPLE_KEYS_MIN ? SAMPLE_KEYS_MIN : wanted;
    if (splits == NULL) {
        return no_memory();
    }
    int status = input_sample(&job->input, wanted, &keys, &job->report.keys_sampled);
    if (status == 0) {
        if (splits_choose(keys, job->report.keys_sampled, job->partitions, splits, &fault) != 0) {
            status = fail(fault.text);
        }
        free(keys);
    }
    if (status == 0) {
        status = fail_unless_ok(roost_put(job->rt, splits, (job->partitions - 1) * KEY_BYTES, splits_out));
    }
    free(splits);
    return status;
}

/* ---- submit ---- */

/* A piece of a file is near to no node, so maps go wherever there is least to do. */
static int map_submit(struct job *job, const struct input_piece *piece, roost_ref splits, roost_ref *results_out)
{
    return fail_unless_ok(
        roost_call_with(job->rt, sort_map, &ROOST_TASK_OPTIONS(.returns = MAP_RESULTS, .spread = true), results_out,
                        piece->file->path, piece->offset, piece->size, job->options->checksum, splits));
}

/* All maps, and the list of their records. The list is all that keeps the records from then on. */
static int maps_submit(struct job *job, roost_ref splits, roost_ref *list_out)
{
    roost_ref *records = calloc(job->maps, sizeof *records);
    if (records == NULL) {
        return no_memory();
    }
    int status = 0;
    size_t submitted = 0;
    while (submitted < job->maps && status == 0) {
        roost_ref results[MAP_RESULTS];
        status = map_submit(job, &job->input.pieces[submitted], splits, results);
        if (status == 0) {
            records[submitted] = results[MAP_RECORDS];
            job->map_facts[submitted++] = results[MAP_FACTS];
        }
    }
    if (status == 0) {
        status = fail_unless_ok(roost_put_refs(job->rt, records, submitted, list_out));
    }
    roost_free_many(job->rt, records, submitted);
    free(records);
    return status;
}

/* None of the maps need have run. */
static int parts_submit(struct job *job, roost_ref list)
{
    int status = 0;
    for (size_t p = 0; p < job->partitions && status == 0; p++) {
        status = fail_unless_ok(roost_call(job->rt, sort_reduce, &job->parts[p], job->output.path, p,
                                           job->options->checksum, roost_in_gather(list, p)));
        job->parts_submitted += status == 0;
    }
    roost_free(job->rt, list); /* the reducers keep it */
    return status;
}

/* ---- take in ---- */

static int map_take(struct job *job, roost_ref ref)
{
    roost_view view;
    struct task_facts facts;
    if (fail_unless_ok(roost_get(job->rt, ref, &view, ROOST_FOREVER)) != 0) {
        return -1;
    }
    int status = view.size == sizeof facts + job->partitions * sizeof(uint64_t) ? 0 : fail("a map's facts are cut");
    if (status == 0) {
        memcpy(&facts, view.data, sizeof facts);
        const void *columns = (const char *)view.data + sizeof facts;
        status = report_add_map(&job->report, &facts, columns) == 0 ? 0 : no_memory();
    }
    roost_release(job->rt, &view);
    return status;
}

static int maps_take(struct job *job)
{
    for (size_t m = 0; m < job->maps; m++) {
        if (map_take(job, job->map_facts[m]) != 0) {
            return -1;
        }
        roost_free(job->rt, job->map_facts[m]); /* a column size for each partition: large, together */
    }
    return 0;
}

static int parts_take(struct job *job)
{
    for (size_t p = 0; p < job->partitions; p++) {
        struct reduce_facts facts;
        if (fail_unless_ok(roost_get_value(job->rt, job->parts[p], &facts, ROOST_FOREVER)) != 0) {
            return -1;
        }
        if (report_add_part(&job->report, p, &facts) != 0) {
            return no_memory();
        }
    }
    return 0;
}

/* After a failure: until no reducer of this job runs, or will. */
static void parts_end(struct job *job)
{
    for (size_t p = 0; p < job->parts_submitted; p++) {
        bool is_ready;
        if (fail_unless_ok(roost_wait(job->rt, &job->parts[p], 1, 1, false, &is_ready, ROOST_FOREVER)) != 0) {
            return; /* nobody is there to be asked any more */
        }
    }
}

static int compare(const struct job *job)
{
    const struct report *report = &job->report;
    uint64_t records = job->input.size / RECORD_BYTES;
    char in[SUM_TEXT_BYTES], out[SUM_TEXT_BYTES];
    if (report->records_in != records || report->records_out != records) {
        fprintf(stderr, "sort: %llu records were read and %llu written, there are %llu\n",
                (unsigned long long)report->records_in, (unsigned long long)report->records_out,
                (unsigned long long)records);
        return -1;
    }
    if (!sum_equal(report->sum_in, report->sum_out)) {
        fprintf(stderr, "sort: the records written are not those read: checksum %s, was %s\n",
                sum_print(report->sum_out, out), sum_print(report->sum_in, in));
        return -1;
    }
    return 0;
}

/* ---- the whole ---- */

static double lap(double *last)
{
    double now = seconds_now(), seconds = now - *last;
    *last = now;
    return seconds;
}

/* The folder is ready; `last` is when the phase before ended. */
static int sort(struct job *job, double *last)
{
    roost_ref splits, list;
    if (plan(job) != 0 || splits_put(job, &splits) != 0) {
        return -1;
    }
    job->report.sample = lap(last);
    int status = maps_submit(job, splits, &list);
    roost_free(job->rt, splits); /* the maps keep it */
    if (status != 0 || parts_submit(job, list) != 0 || maps_take(job) != 0) {
        return -1;
    }
    job->report.map = lap(last);
    status = parts_take(job);
    job->report.reduce = lap(last);
    return status == 0 ? compare(job) : status;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static int nodes_name(struct job *job)
{
    struct roost_node_info *nodes;
    size_t nodes_count;
    if (nodes_ask(job, &nodes, &nodes_count) != 0) {
        return -1;
    }
    report_name_nodes(&job->report, nodes, nodes_count);
    free(nodes);
    return 0;
}

/* Sorted, and in its place. */
static int tell(struct job *job, double began, double *last)
{
    struct report *report = &job->report;
    report->bytes = job->input.size;
    report->inputs = job->input.files_count;
    report->has_sum = job->options->checksum;
    report->finish = lap(last);
    report->wall = *last - began;
    if (nodes_name(job) != 0) {
        return -1;
    }
    report_complete(report, roost_here(job->rt), cpu_seconds());
    report_print_line(report, stdout);
    if (fflush(stdout) != 0) {
        return fail("cannot write to standard output");
    }
    return report_write(job);
}

static void job_fini(struct job *job)
{
    if (job->parts_submitted > 0) {
        roost_free_many(job->rt, job->parts, job->parts_submitted);
    }
    report_abandon(job);
    report_fini(&job->report);
    input_fini(&job->input);
    free(job->map_facts);
    free(job->parts);
}

int job_run(struct roost *rt, const struct sort_options *options, double began)
{
    struct job job = { .rt = rt, .options = options };
    double last = began;
    job.report.open = lap(&last);
    int status = input_open(&job.input, options->inputs, options->inputs_count);
    if (status == 0) {
        status = report_open(&job);
    }
    if (status == 0) {
        status = output_open(&job.output, options->output);
    }
    if (status == 0) {
        job.report.check = lap(&last);
        status = sort(&job, &last);
        if (status != 0) {
            parts_end(&job);
        }
        if (output_close(&job.output, status == 0) != 0) {
            status = -1;
        }
        if (status == 0) {
            status = tell(&job, began, &last);
        }
    }
    job_fini(&job);
    return status == 0 ? 0 : 1;
}
