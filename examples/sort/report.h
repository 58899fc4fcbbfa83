/* report.h - what a sort job did: gathered by the driver, told as one line and as JSON */
#ifndef ROOST_EXAMPLES_SORT_REPORT_H
#define ROOST_EXAMPLES_SORT_REPORT_H

#include "examples/sort/tasks.h"

#include <stdio.h>

struct report_node {
    roost_node node;
    char host[256];
    size_t maps, parts;
    uint64_t records_mapped, records_reduced;
    uint64_t *columns; /* bytes that maps of this node made, for each partition; owned */
};

struct report_part {
    size_t node; /* that made it: an index of nodes */
    struct reduce_facts facts;
    double gather_wait; /* seconds that its worker had nothing to do before it */
};

/* A task in its process, to tell how long the process waited between two. */
struct report_span {
    size_t node, part; /* part: SIZE_MAX for a map task */
    int64_t pid;
    double begin, end;
};

/* All zero is empty. */
struct report {
    uint64_t bytes;
    size_t inputs, maps, partitions, keys_sampled;
    bool has_sum;
    struct record_sum sum_in, sum_out;
    uint64_t records_in, records_out;
    struct report_node *nodes;
    size_t nodes_count;
    struct report_part *parts; /* `partitions` of them */
    struct report_span *spans;
    size_t spans_count;
    double cpu_driver, cpu_maps, cpu_parts;
    /* of the driver's clock */
    double wall, open, check, sample, map, reduce, finish;
};

/* `nodes` are those that the cluster had when the job began. -1: no memory. A report_fini() is owed in any case. */
int report_init(struct report *report, const struct roost_node_info *nodes, size_t nodes_count, size_t maps,
                size_t partitions);
void report_fini(struct report *report);

/* Enter the result of a task; -1: no memory. `columns` are the bytes of each partition. */
int report_add_map(struct report *report, const struct task_facts *facts, const uint64_t *columns);
int report_add_part(struct report *report, size_t partition, const struct reduce_facts *facts);

/* Nodes that have joined since report_init() and run tasks get their names. */
void report_name_nodes(struct report *report, const struct roost_node_info *nodes, size_t nodes_count);

/* All tasks are entered: works out the rest. `cpu_process` is what this process has used; tasks that ran in it, as they
 * do with ROOST_INLINE=1, count as tasks. */
void report_complete(struct report *report, roost_node here, double cpu_process);

/* Bytes of columns that were mapped on one node and reduced on another (or the same). */
uint64_t report_bytes_between(const struct report *report, size_t from, size_t to);

void report_print_line(const struct report *report, FILE *out);
/* The caller asks ferror(). */
void report_print_json(const struct report *report, FILE *out);

#endif
