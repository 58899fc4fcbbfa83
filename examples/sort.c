/* sort.c - sorts files of records on all nodes of a cluster: the command; the job itself is in sort/ */
#include "examples/sort/job.h"
#include "examples/sort/output.h"

#include <stdio.h>

/* The workers come by here too, with the same arguments, and stay in roost_open(): what stands before it only looks. */
int main(int argc, char **argv)
{
    double began = seconds_now();
    struct sort_options options;
    struct roost *rt;
    enum options_verdict verdict = options_read(argc, argv, &options);
    if (verdict != OPTIONS_RUN) {
        return verdict == OPTIONS_HELP ? 0 : 2;
    }
    int status = roost_open(&rt, &ROOST_OPTIONS(.job_name = "sort"));
    if (status == 0) {
        status = job_run(rt, &options, began);
        roost_close(rt);
    } else {
        fprintf(stderr, "sort: %s\n", roost_last_error());
        status = 1;
    }
    options_fini(&options);
    return status;
}
