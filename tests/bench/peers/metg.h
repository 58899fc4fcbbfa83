/* metg.h - METG(50 %) of a peer, with the graph, the kernel and the search of Roost's own case
 *
 * A shared object: StarPU's program links it, Python calls it (metg.py). What a peer's task and driver need beside is
 * in metg_graph.h and metg_kernel.h, and is in it, too. */
#ifndef ROOST_TESTS_BENCH_PEERS_METG_H
#define ROOST_TESTS_BENCH_PEERS_METG_H

#include <stdbool.h>
#include <stdint.h>

/* ns of METG on the cores that the caller may use; above: not once was half of them used. `run` is that of struct
 * metg_sweep; the peak is measured with it in turns, so nothing of the peer may keep a core busy outside of `run`.
 * Returns 0, or what `run` returned when that was not 0; any other failure is below 0 as well.
 * Errors: ROOST_EINVAL: the processor has no AVX2 and FMA. */
int metg_measure(int (*run)(void *arg, uint64_t iterations, double *seconds_out), void *arg, uint64_t tasks,
                 int repetitions, double *ns_out, bool *is_above_out);

#endif
