/* metg_peak.h - the arithmetic of this machine when nothing else is done */
#ifndef ROOST_TESTS_BENCH_METG_PEAK_H
#define ROOST_TESTS_BENCH_METG_PEAK_H

/* The sum of the rates, in operations per second, of one thread for each of `cores` cores that runs the kernel and
 * nothing else; starting them is not in the time. Each has one of the caller's first `cores` cores for itself; where
 * the caller may use fewer, the rest go where the kernel puts them.
 * Errors: ROOST_EIO, ROOST_ENOMEM: a thread does not start. Blocks for some 50 ms. */
int metg_peak(int cores, double *rate_out);

enum { METG_CORES_MAX = 256 };
/* Cores that this thread may use; at most METG_CORES_MAX. */
int metg_cores(void);

#endif
