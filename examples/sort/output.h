/* output.h - the folder that receives the sorted parts
 *
 * A part is written by a reducer as part-00007.ATTEMPT.tmp and becomes part-00007 when all of it is on disk: two
 * attempts at one part never share a file, and a name without .tmp always stands for a whole part. The driver makes
 * sure of what is there before and after. */
#ifndef ROOST_EXAMPLES_SORT_OUTPUT_H
#define ROOST_EXAMPLES_SORT_OUTPUT_H

#include "examples/sort/radix.h"

/* The driver's hold on the folder. */
struct output {
    char *path;   /* absolute */
    int fd;       /* -1: not open; locked while it is */
    bool is_ours; /* it was made for this job */
};

/* Makes the folder if need be, locks it against a second job, removes the unfinished parts of earlier jobs, and finds
 * out whether files can be made in it. Refuses a folder with finished parts. Prints what is wrong, with the path, and
 * returns -1; then nothing is left to be closed, and what it had made is gone. */
int output_open(struct output *output, const char *path);

/* After a job that went well: unfinished parts of lost attempts go, and all names are on disk. After one that did not,
 * or when that fails: parts go too, and the folder if it was made for the job. No task of the job may be running.
 * Returns -1, and has printed why, when a job that went well has failed after all. */
int output_close(struct output *output, bool is_success);

/* In a reducer: seconds spent, by step. */
struct part_seconds {
    double write, sync;
};

/* Write the records of `entries`, in that order, as part `partition`. On failure no file of this attempt is left.
 *
 * Errors: -ENOSPC, -EFBIG, -EIO, -EACCES, ...  what the system said; the text has the path
 *         -ENOMEM */
int part_write(const char *folder, unsigned partition, unsigned attempt, const struct sort_entry *entries, size_t count,
               struct part_seconds *seconds_out, struct sort_fault *fault);

/* Seconds of a clock that all processes of a machine share. */
double seconds_now(void);

#endif
