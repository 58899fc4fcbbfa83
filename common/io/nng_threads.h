/* nng_threads.h - how many threads nng may start, and their end
 *
 * nng 1.5.2 sizes its pools by the machine: 13 threads with 2 processors, 88 with 64, and it offers no setting. Roost
 * needs a few: they only copy between sockets and memory. */
#ifndef ROOST_COMMON_IO_NNG_THREADS_H
#define ROOST_COMMON_IO_NNG_THREADS_H

#include <stdbool.h>

/* Between true and false, this thread's sysconf(_SC_NPROCESSORS_ONLN) answers at most NNG_CPUS_MAX. */
void nng_threads_starting(bool is_starting);

/* Ends nng's threads and frees what is nng's (stream.c). Optional, at the end of a process, after every loop was
 * destroyed and when nothing else in the process uses nng; joins the threads, so it waits for a name that is just being
 * looked up. */
void nng_threads_end(void);

#endif
