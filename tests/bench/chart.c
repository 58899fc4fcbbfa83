/* chart.c - how far each line is from its limit, and efficiency against the length of tasks, as an SVG file
 *
 * Owns what was reported so far. Bars are on a logarithmic scale from a ten-thousandth to ten times the limit's speed;
 * a line at 1 is the hardware. Curves (metg) follow below, one chart for all of them.
 * Failures: no memory for a line -> it is not on the chart; a file that cannot be written -> a status.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 512, POINTS_MAX = 64, ROW = 18, LEFT = 300, WIDTH = 620, MARGIN = 40, CURVES = 360, LEGEND = 14 };
#define RATIO_MIN 1e-4
#define RATIO_MAX 10.0
#define TASK_MIN  1.0 /* us */
#define TASK_MAX  1.0e4

struct bar {
    char name[96], text[64];
    double ratio;
};

struct curve {
    char name[96];
    double us[POINTS_MAX], efficiency[POINTS_MAX];
    size_t count;
};

static struct bar *bars[LINES_MAX];
static struct curve *curves[LINES_MAX];
static size_t bars_count, curves_count;

void chart_bar(const char *name, const char *placement, const char *unit, double median, double ratio)
{
    struct bar *bar = bars_count < LINES_MAX ? calloc(1, sizeof *bar) : NULL;
    if (bar != NULL) {
        snprintf(bar->name, sizeof bar->name, "%s%s%s", name, placement[0] == '\0' ? "" : ", ", placement);
        snprintf(bar->text, sizeof bar->text, "%.4g %s", median, unit);
        bar->ratio = ratio;
        bars[bars_count++] = bar;
    }
}

void chart_point(const char *name, double us, double efficiency)
{
    struct curve *curve = curves_count > 0 ? curves[curves_count - 1] : NULL;
    if (curve == NULL || strcmp(curve->name, name) != 0) {
        curve = curves_count < LINES_MAX ? calloc(1, sizeof *curve) : NULL;
        if (curve == NULL) {
            return;
        }
        snprintf(curve->name, sizeof curve->name, "%s", name);
        curves[curves_count++] = curve;
    }
    if (curve->count < POINTS_MAX) {
        curve->us[curve->count] = us;
        curve->efficiency[curve->count++] = efficiency;
    }
}

/* Where `value` lies between the ends of a logarithmic axis: 0 to 1, held there. */
static double on_axis(double value, double min, double max)
{
    double at = log(value / min) / log(max / min);
    return !(at > 0) ? 0 : at > 1 ? 1 : at;
}

static void draw_text(FILE *to, double x, double y, const char *anchor, const char *text)
{
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, text);
}

static void draw_bars(FILE *to, double top)
{
    for (double tick = RATIO_MIN; tick <= RATIO_MAX * 1.01; tick *= 10) {
        double x = LEFT + on_axis(tick, RATIO_MIN, RATIO_MAX) * WIDTH;
        char text[16];
        snprintf(text, sizeof text, "%g", tick);
        fprintf(to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x, top, x,
                top + (double)bars_count * ROW, tick > 0.99 && tick < 1.01 ? "#c33" : "#ddd");
        draw_text(to, x, top - 6, "middle", text);
    }
    for (size_t i = 0; i < bars_count; i++) {
        double y = top + (double)i * ROW, end = on_axis(bars[i]->ratio, RATIO_MIN, RATIO_MAX) * WIDTH;
        draw_text(to, LEFT - 8, y + ROW - 5, "end", bars[i]->name);
        fprintf(to, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"#47a\"/>\n", LEFT, y + 2, end,
                ROW - 4);
        draw_text(to, LEFT + end + 6, y + ROW - 5, "start", bars[i]->text);
    }
}

static void draw_curves(FILE *to, double top)
{
    fprintf(to, "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#999\"/>\n", LEFT, top,
            WIDTH, CURVES);
    fprintf(to, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#c33\"/>\n", LEFT, top + CURVES / 2.0,
            LEFT + WIDTH, top + CURVES / 2.0);
    draw_text(to, LEFT - 8, top + CURVES / 2.0, "end", "efficiency 0.5");
    for (double tick = TASK_MIN; tick <= TASK_MAX * 1.01; tick *= 10) {
        char text[32];
        snprintf(text, sizeof text, "%g us", tick);
        draw_text(to, LEFT + on_axis(tick, TASK_MIN, TASK_MAX) * WIDTH, top + CURVES + 14, "middle", text);
    }
    for (size_t i = 0; i < curves_count; i++) {
        const struct curve *curve = curves[i];
        int hue = (int)(i * 360 / curves_count);
        fprintf(to, "<polyline fill=\"none\" stroke=\"hsl(%d,70%%,40%%)\" points=\"", hue);
        for (size_t p = 0; p < curve->count; p++) {
            double efficiency = curve->efficiency[p] > 1 ? 1 : curve->efficiency[p];
            fprintf(to, "%.1f,%.1f ", LEFT + on_axis(curve->us[p], TASK_MIN, TASK_MAX) * WIDTH,
                    top + CURVES * (1 - efficiency));
        }
        fputs("\"/>\n", to);
        fprintf(to, "<rect x=\"8\" y=\"%.1f\" width=\"8\" height=\"8\" fill=\"hsl(%d,70%%,40%%)\"/>\n",
                top + (double)i * LEGEND, hue);
        draw_text(to, 20, top + 8 + (double)i * LEGEND, "start", curve->name);
    }
}

int chart_write(const char *path)
{
    double top = MARGIN + 20, below = top + (double)bars_count * ROW + MARGIN;
    double legend = (double)curves_count * LEGEND > CURVES ? (double)curves_count * LEGEND : CURVES;
    double height = below + (curves_count > 0 ? legend + MARGIN : 0);
    FILE *to = fopen(path, "we");
    if (to == NULL) {
        return error_from_errno("writing %s", path);
    }
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" font-family=\"sans-serif\" "
            "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            LEFT + WIDTH + 140, height);
    draw_text(to, LEFT, 20, "start",
              "speed over the limit measured beside it; 1 is the hardware's (or what the page names)");
    draw_bars(to, top);
    if (curves_count > 0) {
        draw_curves(to, below);
    }
    fputs("</svg>\n", to);
    bool is_written = ferror(to) == 0;
    return fclose(to) == 0 && is_written ? 0 : error_from_errno("writing %s", path);
}

void chart_fini(void)
{
    while (bars_count > 0) {
        free(bars[--bars_count]);
    }
    while (curves_count > 0) {
        free(curves[--curves_count]);
    }
}
