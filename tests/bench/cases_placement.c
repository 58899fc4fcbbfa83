/* cases_placement.c - how well tasks are placed, in the simulator
 *
 * No real time is involved: the samples are the makespans of our placement on each workload, over work per core, so the
 * limit is 1. For people the whole table follows; in JSON it is the member "table".
 * Failures: no memory, or a workload that was not finished -> a status.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/sim/placement_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SEED = 1, SEEDS = 3, OURS = PLACEMENT_RIVALS };

/* "\"table\":{...}" without the newline; the caller frees it. NULL on failure. */
static char *table_member(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL) {
        return NULL;
    }
    fputs("\"table\":", to);
    int status = placement_table(to, true);
    fclose(to);
    if (status != 0 || text == NULL) {
        free(text);
        return NULL;
    }
    for (char *newline; (newline = strchr(text, '\n')) != NULL;) {
        *newline = ' ';
    }
    return text;
}

int case_placement(struct bench *bench)
{
    struct line line = { .name = "placement", .unit = "x" };
    for (int workload = 0; workload < PLACEMENT_WORKLOADS; workload++) {
        report_progress(bench, workload, PLACEMENT_WORKLOADS);
        samples_add(&line.found, placement_run(OURS, workload, FIRST_SEED, SEEDS).makespan);
        samples_add(&line.limit, 1);
    }
    char *table = bench->json ? table_member() : NULL;
    if (bench->json && table == NULL) {
        samples_fini(&line.found);
        samples_fini(&line.limit);
        return error_set(ROOST_ENOMEM, "no memory for the table of placements");
    }
    line.more = table;
    int status = report_line(bench, &line);
    free(table);
    return status != 0 || bench->json ? status : placement_table(stdout, false);
}
