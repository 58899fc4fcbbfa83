/* metg.c - see the header */
#include "tests/bench/peers/metg.h"
#include "tests/bench/metg_kernel.h"
#include "tests/bench/metg_peak.h"
#include "tests/bench/metg_sweep.h"

#include <roost.h>

int metg_measure(int (*run)(void *arg, uint64_t iterations, double *seconds_out), void *arg, uint64_t tasks,
                 int repetitions, double *ns_out, bool *is_above_out)
{
    struct metg_sweep sweep = { .run = run, .peak = metg_peak, .arg = arg, .cores = metg_cores() };
    sweep.tasks = (double)tasks;
    int status = metg_kernel_is_possible() ? metg_sweep_begin(&sweep) : ROOST_EINVAL;
    for (int i = 0; i < repetitions && status == 0; i++) {
        status = metg_sweep_repeat(&sweep);
    }
    if (status == 0) {
        *ns_out = metg_sweep_ns(&sweep, METG_OF_MEDIANS, is_above_out);
    }
    metg_sweep_fini(&sweep);
    return status;
}
