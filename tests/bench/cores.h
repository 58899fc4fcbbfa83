/* cores.h - which cores this process runs on: one, or those that it was started on
 *
 * Whoever starts the bench may have pinned it, as the peers' script does, so "any core" means any of those. */
#ifndef ROOST_TESTS_BENCH_CORES_H
#define ROOST_TESTS_BENCH_CORES_H

#include <sched.h>

/* The cores that this process may run on now are those that it was started on. Comes before anything is pinned; without
 * it all cores are. */
void cores_remember(void);
/* That core alone; -1: those that were remembered. */
void cores_set(int core, cpu_set_t *set_out);
/* This thread to cores_set(). A status with its text. */
int cores_pin(int core);

#endif
