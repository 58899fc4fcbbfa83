/* report.c - the books of a sort job
 *
 * What moved is worked out, not measured: each column was made on the node that its map names and used on the node that
 * its reducer names, so it had to cross from one to the other, or did not. That is the least that had to move; an agent
 * that pulled a column twice, or for an attempt that was lost, moved more.
 *
 * Invariants: a node that is not known yet is entered when a task names it: nodes may join meanwhile.
 * Thread:     the driver's.
 */
#include "examples/sort/report.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- nodes ---- */

static int node_enter(struct report *report, roost_node node, const char *host)
{
    struct report_node *nodes = realloc(report->nodes, (report->nodes_count + 1) * sizeof *nodes);
    if (nodes == NULL) {
        return -1;
    }
    report->nodes = nodes;
    struct report_node *entered = &nodes[report->nodes_count];
    *entered = (struct report_node){ .node = node, .columns = calloc(report->partitions, sizeof(uint64_t)) };
    snprintf(entered->host, sizeof entered->host, "%s", host);
    if (entered->columns == NULL) {
        return -1;
    }
    report->nodes_count++;
    return 0;
}

static bool node_equal(roost_node a, roost_node b) { return a.id.hi == b.id.hi && a.id.lo == b.id.lo; }

/* Its index, or -1: no memory to enter it. */
static int64_t node_find(struct report *report, roost_node node)
{
    for (size_t i = 0; i < report->nodes_count; i++) {
        if (node_equal(report->nodes[i].node, node)) {
            return (int64_t)i;
        }
    }
    return node_enter(report, node, "") == 0 ? (int64_t)report->nodes_count - 1 : -1;
}

int report_init(struct report *report, const struct roost_node_info *nodes, size_t nodes_count, size_t maps,
                size_t partitions)
{
    report->maps = maps;
    report->partitions = partitions;
    report->parts = calloc(partitions, sizeof *report->parts);
    report->spans = calloc(maps + partitions, sizeof *report->spans);
    int status = report->parts != NULL && report->spans != NULL ? 0 : -1;
    for (size_t i = 0; i < nodes_count && status == 0; i++) {
        status = nodes[i].alive ? node_enter(report, nodes[i].node, nodes[i].host) : 0;
    }
    return status;
}

void report_fini(struct report *report)
{
    for (size_t i = 0; i < report->nodes_count; i++) {
        free(report->nodes[i].columns);
    }
    free(report->nodes);
    free(report->parts);
    free(report->spans);
    *report = (struct report){ 0 };
}

/* ---- tasks ---- */

static int64_t task_enter(struct report *report, const struct task_facts *facts, size_t part)
{
    int64_t node = node_find(report, facts->node);
    if (node >= 0) {
        report->spans[report->spans_count++] = (struct report_span){ (size_t)node, part, facts->pid, facts->begin,
                                                                     facts->end };
    }
    return node;
}

int report_add_map(struct report *report, const struct task_facts *facts, const uint64_t *columns)
{
    int64_t index = task_enter(report, facts, SIZE_MAX);
    if (index < 0) {
        return -1;
    }
    struct report_node *node = &report->nodes[index];
    node->maps++;
    node->records_mapped += facts->records;
    for (size_t p = 0; p < report->partitions; p++) {
        node->columns[p] += columns[p];
    }
    report->records_in += facts->records;
    report->cpu_maps += facts->cpu_seconds;
    sum_add(&report->sum_in, facts->sum);
    return 0;
}

int report_add_part(struct report *report, size_t partition, const struct reduce_facts *facts)
{
    int64_t index = task_enter(report, &facts->task, partition);
    if (index < 0) {
        return -1;
    }
    struct report_node *node = &report->nodes[index];
    node->parts++;
    node->records_reduced += facts->task.records;
    report->parts[partition] = (struct report_part){ (size_t)index, *facts, 0 };
    report->records_out += facts->task.records;
    report->cpu_parts += facts->task.cpu_seconds;
    sum_add(&report->sum_out, facts->task.sum);
    return 0;
}

void report_name_nodes(struct report *report, const struct roost_node_info *nodes, size_t nodes_count)
{
    for (size_t i = 0; i < report->nodes_count; i++) {
        struct report_node *node = &report->nodes[i];
        for (size_t n = 0; n < nodes_count && node->host[0] == '\0'; n++) {
            if (node_equal(node->node, nodes[n].node)) {
                snprintf(node->host, sizeof node->host, "%s", nodes[n].host);
            }
        }
    }
}

/* ---- working out ---- */

static int by_process_then_begin(const void *a, const void *b)
{
    const struct report_span *left = a, *right = b;
    if (left->node != right->node) {
        return left->node < right->node ? -1 : 1;
    }
    if (left->pid != right->pid) {
        return left->pid < right->pid ? -1 : 1;
    }
    return (left->begin > right->begin) - (left->begin < right->begin);
}

/* Before its first task a process has not waited but started. */
static void waits_fill(struct report *report)
{
    if (report->spans_count > 0) {
        qsort(report->spans, report->spans_count, sizeof *report->spans, by_process_then_begin);
    }
    for (size_t i = 1; i < report->spans_count; i++) {
        const struct report_span *before = &report->spans[i - 1], *span = &report->spans[i];
        if (span->part != SIZE_MAX && span->node == before->node && span->pid == before->pid) {
            report->parts[span->part].gather_wait = span->begin - before->end;
        }
    }
}

void report_complete(struct report *report, roost_node here, double cpu_process)
{
    waits_fill(report);
    report->cpu_driver = cpu_process;
    int64_t self = getpid();
    for (size_t i = 0; i < report->spans_count; i++) {
        if (report->spans[i].pid == self && node_equal(report->nodes[report->spans[i].node].node, here)) {
            report->cpu_driver = cpu_process - report->cpu_maps - report->cpu_parts; /* then all of them did */
            break;
        }
    }
}

uint64_t report_bytes_between(const struct report *report, size_t from, size_t to)
{
    uint64_t bytes = 0;
    for (size_t p = 0; p < report->partitions; p++) {
        bytes += report->parts[p].node == to ? report->nodes[from].columns[p] : 0;
    }
    return bytes;
}

static uint64_t part_bytes_in_place(const struct report *report, const struct report_part *part)
{
    return report->nodes[part->node].columns[part - report->parts];
}

static uint64_t bytes_in_place(const struct report *report)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < report->nodes_count; i++) {
        bytes += report_bytes_between(report, i, i);
    }
    return bytes;
}

/* ---- telling ---- */

static double gigabytes(uint64_t bytes) { return (double)bytes * 1e-9; }

void report_print_line(const struct report *report, FILE *out)
{
    char sum[SUM_TEXT_BYTES];
    fprintf(out, "%llu records in %zu parts, %.3f GB, %.2f s (map %.2f, reduce %.2f), %zu node%s, %.3f GB moved",
            (unsigned long long)report->records_out, report->partitions, gigabytes(report->bytes), report->wall,
            report->map, report->reduce, report->nodes_count, report->nodes_count == 1 ? "" : "s",
            gigabytes(report->bytes - bytes_in_place(report)));
    if (report->has_sum) {
        fprintf(out, ", checksum %s", sum_print(report->sum_out, sum));
    }
    fputc('\n', out);
}

static void json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            fprintf(out, "\\u%04x", *c);
        } else {
            fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        }
    }
    fputc('"', out);
}

static void json_seconds(const struct report *report, FILE *out)
{
    double gather_wait = 0, gather = 0, sort = 0, write = 0, sync = 0;
    for (size_t p = 0; p < report->partitions; p++) {
        gather_wait += report->parts[p].gather_wait;
        gather += report->parts[p].facts.gather;
        sort += report->parts[p].facts.sort;
        write += report->parts[p].facts.write;
        sync += report->parts[p].facts.sync;
    }
    fprintf(out,
            "  \"wall_seconds\": %.6f,\n  \"cpu_seconds\": { \"total\": %.6f, \"driver\": %.6f, \"maps\": %.6f, "
            "\"reducers\": %.6f },\n",
            report->wall, report->cpu_driver + report->cpu_maps + report->cpu_parts, report->cpu_driver,
            report->cpu_maps, report->cpu_parts);
    fprintf(
        out,
        "  \"phase_seconds\": { \"open\": %.6f, \"check\": %.6f, \"sample\": %.6f, \"map\": %.6f, \"reduce\": %.6f, "
        "\"finish\": %.6f },\n",
        report->open, report->check, report->sample, report->map, report->reduce, report->finish);
    fprintf(out,
            "  \"reducers_seconds\": { \"gather_wait\": %.6f, \"gather\": %.6f, \"sort\": %.6f, \"write\": %.6f, "
            "\"sync\": %.6f },\n",
            gather_wait, gather, sort, write, sync);
}

static void json_nodes(const struct report *report, FILE *out)
{
    fputs("  \"nodes\": [", out);
    for (size_t i = 0; i < report->nodes_count; i++) {
        const struct report_node *node = &report->nodes[i];
        fprintf(out, "%s\n    { \"node\": \"%016llx%016llx\", \"host\": ", i == 0 ? "" : ",",
                (unsigned long long)node->node.id.hi, (unsigned long long)node->node.id.lo);
        json_text(out, node->host);
        fprintf(out, ", \"maps\": %zu, \"reducers\": %zu, \"records_mapped\": %llu, \"records_reduced\": %llu }",
                node->maps, node->parts, (unsigned long long)node->records_mapped,
                (unsigned long long)node->records_reduced);
    }
    fputs("\n  ],\n", out);
}

/* Row: mapped on; column: reduced on. */
static void json_moved(const struct report *report, FILE *out)
{
    uint64_t in_place = bytes_in_place(report);
    fprintf(out, "  \"bytes_in_place\": %llu,\n  \"bytes_moved\": %llu,\n  \"bytes_from_to\": [",
            (unsigned long long)in_place, (unsigned long long)(report->bytes - in_place));
    for (size_t from = 0; from < report->nodes_count; from++) {
        fputs(from == 0 ? "\n    [" : ",\n    [", out);
        for (size_t to = 0; to < report->nodes_count; to++) {
            fprintf(out, "%s%llu", to == 0 ? "" : ", ", (unsigned long long)report_bytes_between(report, from, to));
        }
        fputc(']', out);
    }
    fputs("\n  ],\n", out);
}

static void json_parts(const struct report *report, FILE *out)
{
    fputs("  \"parts\": [", out);
    for (size_t p = 0; p < report->partitions; p++) {
        const struct report_part *part = &report->parts[p];
        uint64_t bytes = part->facts.task.records * RECORD_BYTES, in_place = part_bytes_in_place(report, part);
        fprintf(out,
                "%s\n    { \"part\": %zu, \"node\": %zu, \"records\": %llu, \"bytes\": %llu, \"bytes_in_place\": %llu, "
                "\"bytes_moved\": %llu, \"gather_wait\": %.6f, \"gather\": %.6f, \"sort\": %.6f, \"write\": %.6f, "
                "\"sync\": %.6f }",
                p == 0 ? "" : ",", p, part->node, (unsigned long long)part->facts.task.records,
                (unsigned long long)bytes, (unsigned long long)in_place, (unsigned long long)(bytes - in_place),
                part->gather_wait, part->facts.gather, part->facts.sort, part->facts.write, part->facts.sync);
    }
    fputs("\n  ]\n", out);
}

void report_print_json(const struct report *report, FILE *out)
{
    char sum[SUM_TEXT_BYTES];
    fprintf(out,
            "{\n  \"records\": %llu,\n  \"bytes\": %llu,\n  \"inputs\": %zu,\n  \"maps\": %zu,\n"
            "  \"partitions\": %zu,\n  \"keys_sampled\": %zu,\n",
            (unsigned long long)report->records_out, (unsigned long long)report->bytes, report->inputs, report->maps,
            report->partitions, report->keys_sampled);
    if (report->has_sum) {
        fprintf(out, "  \"checksum\": \"%s\",\n", sum_print(report->sum_out, sum));
    }
    json_seconds(report, out);
    json_nodes(report, out);
    json_moved(report, out);
    json_parts(report, out);
    fputs("}\n", out);
}
