/* chart.c - how far each line is from its limit, and what changes with the size of something, as an SVG file
 *
 * Owns what was reported so far. Bars are on a logarithmic scale from a ten-thousandth to ten times the limit's speed;
 * a line at 1 is the hardware. Curves follow below, a panel for each kind of them.
 * Failures: no memory for a line -> it is not on the chart; a file that cannot be written -> a status.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 512, POINTS_MAX = 64, ROW = 18, LEFT = 300, WIDTH = 620, MARGIN = 40, LEGEND = 14, STEPS = 4 };
#define RATIO_MIN 1e-4
#define RATIO_MAX 10.0

struct bar {
    char name[96], text[64];
    double ratio;
};

struct axis {
    const char *unit;
    double min, max;
    bool is_linear; /* from 0, else logarithmic */
};

/* What is outside is drawn at the edge. */
static const struct panel {
    const char *title;
    struct axis x, y;
    double mark; /* a line on the y axis: the bar; 0: none */
    int height;
} panels[] = {
    [CHART_METG] = { "efficiency by the length of a task", { " us", 1, 1e4, false }, { "", 0, 1, true }, 0.5, 360 },
    [CHART_DECISION] = { "a decision of the head", { " nodes", 10, 1e4, false }, { " ns", 1e3, 1e5, false }, 0, 160 },
    [CHART_TASK] = { "a queued task at the head", { " nodes", 10, 1e4, false }, { " B", 0, 800, true }, 600, 160 },
    [CHART_OBJECT] = { "a public object at the head", { " nodes", 10, 1e4, false }, { " B", 0, 160, true }, 100, 160 },
    [CHART_CENSUS] = { "a census after a restart", { " nodes", 10, 1e4, false }, { " ms", 1, 1e5, false }, 0, 160 },
};

struct curve {
    enum chart_panel panel;
    char name[96];
    double x[POINTS_MAX], y[POINTS_MAX];
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

static struct curve *curve_of(enum chart_panel panel, const char *name)
{
    for (size_t i = curves_count; i > 0; i--) {
        if (curves[i - 1]->panel == panel && strcmp(curves[i - 1]->name, name) == 0) {
            return curves[i - 1];
        }
    }
    struct curve *curve = curves_count < LINES_MAX ? calloc(1, sizeof *curve) : NULL;
    if (curve != NULL) {
        curve->panel = panel;
        snprintf(curve->name, sizeof curve->name, "%s", name);
        curves[curves_count++] = curve;
    }
    return curve;
}

void chart_point(enum chart_panel panel, const char *name, double x, double y)
{
    struct curve *curve = curve_of(panel, name);
    if (curve != NULL && curve->count < POINTS_MAX) {
        curve->x[curve->count] = x;
        curve->y[curve->count++] = y;
    }
}

/* Where `value` lies between the ends of a logarithmic axis: 0 to 1, held there. */
static double on_axis(double value, double min, double max)
{
    double at = log(value / min) / log(max / min);
    return !(at > 0) ? 0 : at > 1 ? 1 : at;
}

static double on(const struct axis *axis, double value)
{
    double at = value / axis->max;
    return !axis->is_linear ? on_axis(value, axis->min, axis->max) : !(at > 0) ? 0 : at > 1 ? 1 : at;
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

static double x_of(const struct panel *panel, double x) { return LEFT + on(&panel->x, x) * WIDTH; }
static double y_of(const struct panel *panel, double top, double y)
{
    return top + panel->height * (1 - on(&panel->y, y));
}

static void draw_level(FILE *to, const struct panel *panel, double top, double value, const char *colour)
{
    char text[32];
    double y = y_of(panel, top, value);
    snprintf(text, sizeof text, "%g%s", value, panel->y.unit);
    fprintf(to, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\"/>\n", LEFT, y, LEFT + WIDTH, y,
            colour);
    draw_text(to, LEFT - 8, y + 4, "end", text);
}

static void draw_axes(FILE *to, const struct panel *panel, double top)
{
    const struct axis *y = &panel->y;
    draw_text(to, LEFT, top - 6, "start", panel->title);
    for (double level = y->min; level <= y->max * 1.01; level = y->is_linear ? level + y->max / STEPS : level * 10) {
        draw_level(to, panel, top, level, "#ddd");
    }
    if (panel->mark > 0) {
        draw_level(to, panel, top, panel->mark, "#c33");
    }
    for (double tick = panel->x.min; tick <= panel->x.max * 1.01; tick *= 10) {
        char text[32];
        snprintf(text, sizeof text, "%g%s", tick, panel->x.unit);
        draw_text(to, x_of(panel, tick), top + panel->height + 14, "middle", text);
    }
}

static size_t curves_of(enum chart_panel which)
{
    size_t count = 0;
    for (size_t i = 0; i < curves_count; i++) {
        count += curves[i]->panel == which ? 1 : 0;
    }
    return count;
}

static void draw_curve(FILE *to, const struct curve *curve, double top, size_t number, size_t count)
{
    const struct panel *panel = &panels[curve->panel];
    int hue = (int)(number * 360 / count);
    double at = top + (double)number * LEGEND;
    fprintf(to, "<polyline fill=\"none\" stroke=\"hsl(%d,70%%,40%%)\" points=\"", hue);
    for (size_t i = 0; i < curve->count; i++) {
        fprintf(to, "%.1f,%.1f ", x_of(panel, curve->x[i]), y_of(panel, top, curve->y[i]));
    }
    fputs("\"/>\n", to);
    fprintf(to, "<rect x=\"8\" y=\"%.1f\" width=\"8\" height=\"8\" fill=\"hsl(%d,70%%,40%%)\"/>\n", at, hue);
    draw_text(to, 20, at + 8, "start", curve->name);
}

/* What a panel takes, its margin included; nothing without a curve. */
static double height_of(enum chart_panel which)
{
    double legend = (double)curves_of(which) * LEGEND;
    return legend == 0 ? 0 : (legend > panels[which].height ? legend : panels[which].height) + 1.5 * MARGIN;
}

static void draw_panel(FILE *to, enum chart_panel which, double top)
{
    size_t count = curves_of(which), number = 0;
    if (count > 0) {
        draw_axes(to, &panels[which], top);
    }
    for (size_t i = 0; i < curves_count; i++) {
        if (curves[i]->panel == which) {
            draw_curve(to, curves[i], top, number++, count);
        }
    }
}

int chart_write(const char *path)
{
    double top = MARGIN + 20, below = top + (double)bars_count * ROW + MARGIN, height = below;
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) {
        height += height_of((enum chart_panel)i);
    }
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
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) {
        draw_panel(to, (enum chart_panel)i, below);
        below += height_of((enum chart_panel)i);
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
