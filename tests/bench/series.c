/* series.c - a series: one operation and its limit, measured in turns
 *
 * The first runs are not counted: they warm caches, start workers, make connections. A series of one run has one.
 * Failures: a run that fails ends the series; what was measured until then is still printed.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <string.h>

int bench_runs(const struct bench *bench, int usual) { return bench->runs > 0 ? bench->runs : usual; }

bool bench_wants(const struct bench *bench, const char *name)
{
    return bench->only == NULL || strcmp(bench->only, name) == 0;
}

int bench_series(struct bench *bench, struct line line, int usual_runs, bench_run *run_once, void *arg)
{
    if (!bench_wants(bench, line.name)) {
        return 0;
    }
    int runs = bench_runs(bench, usual_runs), status = 0;
    bench->now = line.name;
    for (int run = runs < BENCH_WARM_UPS ? -runs : -BENCH_WARM_UPS; status == 0 && run < runs; run++) {
        double found = 0, limit = 0;
        report_progress(bench, run < 0 ? 0 : run, runs);
        status = run_once(bench, arg, &found, &limit);
        if (status == 0 && run >= 0) {
            samples_add(&line.found, found);
            samples_add(&line.limit, limit);
        }
    }
    if (status != 0) {
        error_prefix(status, "%s", line.name);
    }
    int said = line.found.count > 0 || status == 0 ? report_line(bench, &line) : 0;
    return status != 0 ? status : said;
}
