/* options.h - what the user asked the sort job for */
#ifndef ROOST_EXAMPLES_SORT_OPTIONS_H
#define ROOST_EXAMPLES_SORT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Everything points into argv, but for the list of inputs itself. */
struct sort_options {
    const char **inputs; /* paths as given, owned */
    size_t inputs_count;
    const char *output, *report; /* report may be NULL */
    size_t maps, partitions;     /* 0: as many as suit the input and the cluster */
    bool checksum;
};

enum options_verdict {
    OPTIONS_RUN,   /* *options_out is filled in; the caller owes an options_fini() */
    OPTIONS_HELP,  /* the help was printed: exit status 0 */
    OPTIONS_WRONG, /* what is wrong was printed: exit status 2 */
};

/* Only looks at the arguments and prints, so it does no harm in the workers, which are started with the same ones. */
enum options_verdict options_read(int argc, char **argv, struct sort_options *options_out);
void options_fini(struct sort_options *options);

#endif
