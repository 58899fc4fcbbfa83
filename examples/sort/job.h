/* job.h - the sort job, from options to parts */
#ifndef ROOST_EXAMPLES_SORT_JOB_H
#define ROOST_EXAMPLES_SORT_JOB_H

#include "examples/sort/options.h"

#include <roost.h>

/* Sorts, writes the report, prints a line of summary. Returns the exit status: 0, or 1 when something went wrong, which
 * has been printed then, and nothing is left in the output folder. `began` is seconds_now() before roost_open(). */
int job_run(struct roost *rt, const struct sort_options *options, double began);

#endif
