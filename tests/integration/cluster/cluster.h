/* cluster.h - tests in a driver of a one-node cluster of real processes
 *
 * A program of such tests is its own worker, so nothing may happen in it before roost_open(): main() is cluster.c's,
 * which opens `rt`, runs every TEST in turn on it, and closes it. in_cluster.sh gives it a folder, and looks afterwards
 * whether anything was left behind. */
#ifndef ROOST_TESTS_INTEGRATION_CLUSTER_H
#define ROOST_TESTS_INTEGRATION_CLUSTER_H

#include "tests/lib/test.h"

#include <roost.h>
#include <stdatomic.h>
#include <string.h>

enum { LONG_MS = 100000 }; /* for what should come soon, also under a sanitizer */

/* The connection of the test program: never set in a worker. */
extern struct roost *rt;

/* Tasks that several programs call: `size` bytes of one value; the sum of the numbers that a list names, which it
 * gets. */
roost_fn fill_bytes, sum_list;

/* What the program asks of its cluster; each file defines it. */
extern const struct roost_options cluster_options;

#define OK(call)                                                                                            \
    do {                                                                                                    \
        int status_ = (call);                                                                               \
        if (status_ != 0) {                                                                                 \
            fprintf(stderr, "%s:%d: %s: %d: %s\n", __FILE__, __LINE__, #call, status_, roost_last_error()); \
            TEST_FAIL_();                                                                                   \
        }                                                                                                   \
    } while (0)

#define CHECK_HAS(text, part)                                                                                  \
    do {                                                                                                       \
        const char *text_ = (text), *part_ = (part);                                                           \
        if (strstr(text_, part_) == NULL) {                                                                    \
            fprintf(stderr, "%s:%d: %s is \"%s\", without \"%s\"\n", __FILE__, __LINE__, #text, text_, part_); \
            TEST_FAIL_();                                                                                      \
        }                                                                                                      \
    } while (0)

/* A path in the run's folder, which in_cluster.sh removes. Static memory. */
const char *cluster_path(const char *name);

/* A task that reads from it does not go on until cluster_open_gate(): a named pipe. Returns its path. */
const char *cluster_make_gate(const char *name);
void cluster_open_gate(const char *path);

#endif
