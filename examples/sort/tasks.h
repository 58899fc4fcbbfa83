/* tasks.h - the two remote functions of the sort job, and what driver and tasks say to each other
 *
 * A map task reads a piece of a file and gives one object with a column for each partition; nothing is sorted yet. A
 * reducer gathers its column of all of them, in place where they lie on its node, sorts, and writes its part. */
#ifndef ROOST_EXAMPLES_SORT_TASKS_H
#define ROOST_EXAMPLES_SORT_TASKS_H

#include "examples/sort/checksum.h"

#include <roost.h>

/* What every task tells about itself. */
struct task_facts {
    roost_node node;
    int64_t pid;
    double begin, end; /* seconds_now() of its machine: to be compared within one process only */
    double cpu_seconds;
    uint64_t records;
    struct record_sum sum; /* zero unless it was asked for */
};

/* Result 1 of a map task: the facts, then the size in bytes of each column. */
enum { MAP_RECORDS, MAP_FACTS, MAP_RESULTS };

/* The result of a reducer. Seconds by step: looking at the arguments, sorting, write(), fsync() and rename(). */
struct reduce_facts {
    struct task_facts task;
    double gather, sort, write, sync;
};

/* path, offset, size, want the sum?, split keys (an object, 10 bytes each) -> records with columns; facts */
roost_fn sort_map;
enum { MAP_PATH, MAP_OFFSET, MAP_SIZE, MAP_WANTS_SUM, MAP_SPLITS };

/* folder, partition, want the sum?, pieces... -> struct reduce_facts */
roost_fn sort_reduce;
enum { REDUCE_FOLDER, REDUCE_PARTITION, REDUCE_WANTS_SUM, REDUCE_PIECES };

#endif
