/* report.c - samples become a line
 *
 * A line for people, or a JSON object for programs, on stdout; the progress on stderr, when that is a terminal. The
 * ratio is the limit's median over the case's: 1 means as fast as the hardware.
 * Thread: the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const placements[] = {
    [PLACED_FREE] = "not pinned", [PLACED_ONE_CORE] = "one core", [PLACED_TWO_CORES] = "two cores"
};

static double ns_per(const char *unit)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(units[i].name, unit) == 0) {
            return units[i].ns;
        }
    }
    return 1;
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
}

int report_line(const struct bench *bench, struct line *line)
{
    int status = 0;
    clear_progress();
    if (line->found.count == 0 || line->limit.count == 0) {
        status = error_set(ROOST_ESTATE, "%s has no runs", line->name);
    } else {
        double scale = ns_per(line->unit);
        double middle = line->found_median > 0 ? line->found_median : samples_quantile(&line->found, 0.5);
        double median = middle / scale, p99 = samples_quantile(&line->found, 0.99) / scale;
        double limit = samples_quantile(&line->limit, 0.5) / scale;
        if (bench->json) {
            printf("{\"case\":\"%s\",\"unit\":\"%s\",\"median\":%.6g,\"p99\":%.6g,\"runs\":%zu,\"limit\":%.6g,"
                   "\"ratio\":%.4g,\"placement\":\"%s\"%s%s}\n",
                   line->name, line->unit, median, p99, line->found.count, limit, limit / median,
                   placements[line->placement], line->more == NULL ? "" : ",", line->more == NULL ? "" : line->more);
        } else {
            printf("%-22s %-10s %10.4g %-3s p99 %10.4g   limit %10.4g   ratio %7.3g   %zu runs\n", line->name,
                   placements[line->placement], median, line->unit, p99, limit, limit / median, line->found.count);
        }
        chart_bar(line->name, line->placement == PLACED_FREE ? "" : placements[line->placement], line->unit, median,
                  limit / median);
        fflush(stdout);
    }
    samples_fini(&line->found);
    samples_fini(&line->limit);
    return status;
}

void report_progress(const struct bench *bench, int run, int runs)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s: run %d of %d", bench->now, run + 1, runs);
    }
}
