/* starpu.c - StarPU as a peer: threads of one process, no objects that others could see
 *
 * Says hello, then answers each line `CASE` as peer.py does. Tasks are empty codelets, or METG's, on as many workers as
 * there are cores; dependences are its implicit ones, over one handle of 16 bytes per result. Its workers spin while
 * they have no task: between METG's graphs they are paused, as the machine's peak is measured there.
 *
 * A graph of METG: a handle per task, registered before and used once in each run; inputs are read through handles, and
 * checked. Failures: a wrong input or output is an answer with that error. */
#include "tests/bench/metg_graph.h"
#include "tests/bench/metg_kernel.h"
#include "tests/bench/peers/metg.h"

#include <starpu.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SYNC = 1000, MANY = 1000, QUEUED = 10000, RESULT_BYTES = sizeof(struct metg_output) };
enum { METG_WIDTH = METG_WIDTH_MAX, METG_STEPS = 1000, METG_REPETITIONS = 3 };

static void nothing(void *buffers[], void *arg) { (void)buffers, (void)arg; }

static struct starpu_codelet plain = { .cpu_funcs = { nothing }, .nbuffers = 0, .name = "plain" };
static struct starpu_codelet link_of_chain = {
    .cpu_funcs = { nothing }, .nbuffers = 2, .modes = { STARPU_R, STARPU_W }, .name = "link"
};
static struct starpu_codelet sink = { .cpu_funcs = { nothing }, .nbuffers = STARPU_VARIABLE_NBUFFERS, .name = "sink" };

static starpu_data_handle_t handles[MANY + 1];
static char results[MANY + 1][RESULT_BYTES];

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void submit_plain(int is_synchronous)
{
    struct starpu_task *task = starpu_task_create();
    task->cl = &plain;
    task->synchronous = is_synchronous;
    if (starpu_task_submit(task) != 0) {
        abort();
    }
}

static double task_sync(void)
{
    double started = now_ns();
    for (int i = 0; i < SYNC; i++) {
        submit_plain(1);
    }
    return (now_ns() - started) / SYNC;
}

static double tasks(int count)
{
    double started = now_ns();
    for (int i = 0; i < count; i++) {
        submit_plain(0);
    }
    starpu_task_wait_for_all();
    return now_ns() - started;
}

static double chain(void)
{
    double started = now_ns();
    for (int i = 0; i < MANY; i++) {
        if (starpu_task_insert(&link_of_chain, STARPU_R, handles[i], STARPU_W, handles[i + 1], 0) != 0) {
            abort();
        }
    }
    starpu_task_wait_for_all();
    return now_ns() - started;
}

static double fan_in(void)
{
    static struct starpu_data_descr inputs[MANY];
    double started = now_ns();
    for (int i = 0; i < MANY; i++) {
        if (starpu_task_insert(&link_of_chain, STARPU_R, handles[MANY], STARPU_W, handles[i], 0) != 0) {
            abort();
        }
        inputs[i].handle = handles[i];
        inputs[i].mode = STARPU_R;
    }
    if (starpu_task_insert(&sink, STARPU_DATA_MODE_ARRAY, inputs, MANY, 0) != 0) {
        abort();
    }
    starpu_task_wait_for_all();
    return now_ns() - started;
}

/* ------------------------------------------------------------------ METG */

struct graph {
    enum metg_pattern pattern;
    uint32_t steps;
    /* steps * METG_WIDTH of each */
    struct metg_place *places;
    struct metg_output *outputs;
    starpu_data_handle_t *handles;
};

enum { READS_MAX = 5 };
_Static_assert(1 + READS_MAX <= STARPU_NMAXBUFS, "a task's output and inputs");
static atomic_int wrong_inputs;

/* Buffer 0 is the output. The place is the driver's, which keeps it until the graph has ended. */
static void metg_body(void *buffers[], void *arg)
{
    const struct metg_place *place = arg;
    const void *inputs[METG_WIDTH];
    size_t sizes[METG_WIDTH];
    uint32_t count = (uint32_t)starpu_task_get_current()->nbuffers - 1;
    for (uint32_t i = 0; i < count; i++) {
        inputs[i] = (const void *)STARPU_VARIABLE_GET_PTR(buffers[1 + i]);
        sizes[i] = STARPU_VARIABLE_GET_ELEMSIZE(buffers[1 + i]);
    }
    if (metg_check(place, inputs, sizes, count) != METG_ALL_RIGHT) {
        atomic_fetch_add(&wrong_inputs, 1);
    }
    *(struct metg_output *)STARPU_VARIABLE_GET_PTR(buffers[0]) = (struct metg_output){ place->step, place->column };
    metg_kernel(place->iterations);
}

static struct starpu_codelet metg_codelet = { .cpu_funcs = { metg_body },
                                              .nbuffers = STARPU_VARIABLE_NBUFFERS,
                                              .name = "metg" };

static int metg_submit(struct graph *graph, uint32_t step, uint32_t column, uint64_t iterations)
{
    uint32_t columns[METG_WIDTH], reads = metg_reads(graph->pattern, METG_WIDTH, step, column, columns);
    size_t at = (size_t)step * METG_WIDTH + column;
    graph->places[at] = (struct metg_place){ graph->pattern, METG_WIDTH, step, column, iterations };
    struct starpu_task *task = starpu_task_create();
    task->cl = &metg_codelet;
    task->cl_arg = &graph->places[at];
    task->cl_arg_size = sizeof graph->places[at];
    task->nbuffers = (int)(1 + reads);
    task->handles[0] = graph->handles[at];
    task->modes[0] = STARPU_W;
    for (uint32_t i = 0; i < reads; i++) {
        task->handles[1 + i] = graph->handles[(size_t)(step - 1) * METG_WIDTH + columns[i]];
        task->modes[1 + i] = STARPU_R;
    }
    return starpu_task_submit(task);
}

static bool metg_is_right(const struct graph *graph)
{
    for (uint32_t step = 0; step < graph->steps; step++) {
        for (uint32_t column = 0; column < metg_row_tasks(graph->pattern, METG_WIDTH, step); column++) {
            const struct metg_output *output = &graph->outputs[(size_t)step * METG_WIDTH + column];
            if (output->step != step || output->column != column) {
                return false;
            }
        }
    }
    return atomic_load(&wrong_inputs) == 0;
}

/* Of metg_measure(). */
static int metg_run(void *arg, uint64_t iterations, double *seconds_out)
{
    struct graph *graph = arg;
    int status = 0;
    memset(graph->outputs, 0xff, (size_t)graph->steps * METG_WIDTH * sizeof *graph->outputs);
    starpu_resume();
    double started = now_ns();
    for (uint32_t step = 0; step < graph->steps && status == 0; step++) {
        for (uint32_t column = 0; column < metg_row_tasks(graph->pattern, METG_WIDTH, step) && status == 0; column++) {
            status = metg_submit(graph, step, column, iterations);
        }
    }
    starpu_task_wait_for_all();
    *seconds_out = (now_ns() - started) / 1e9;
    starpu_pause();
    return status != 0 || !metg_is_right(graph) ? -1 : 0;
}

/* Answers by itself. */
static void metg(enum metg_pattern pattern)
{
    if (pattern == METG_PATTERNS || pattern == METG_ALL_TO_ALL) { /* more buffers than a task of StarPU's usually has */
        puts("{}");
        return;
    }
    struct graph graph = { .pattern = pattern,
                           .steps = metg_steps(strtoull(getenv("PEER_BYTES"), NULL, 10), METG_STEPS) };
    size_t places = (size_t)graph.steps * METG_WIDTH;
    graph.places = calloc(places, sizeof *graph.places);
    graph.outputs = calloc(places, sizeof *graph.outputs);
    graph.handles = calloc(places, sizeof(starpu_data_handle_t));
    if (graph.places == NULL || graph.outputs == NULL || graph.handles == NULL) {
        abort();
    }
    for (size_t i = 0; i < places; i++) {
        starpu_variable_data_register(&graph.handles[i], STARPU_MAIN_RAM, (uintptr_t)&graph.outputs[i], RESULT_BYTES);
    }
    double ns = 0;
    bool is_above = false;
    atomic_store(&wrong_inputs, 0);
    starpu_pause();
    if (metg_measure(metg_run, &graph, metg_tasks(pattern, METG_WIDTH, graph.steps), METG_REPETITIONS, &ns,
                     &is_above) == 0) {
        printf("{\"ns\":%.0f,\"steps\":%u,\"above\":%s}\n", ns, graph.steps, is_above ? "true" : "false");
    } else {
        puts("{\"error\":\"a task had a wrong input or was not taken, or the processor has no AVX2 and FMA\"}");
    }
    starpu_resume();
    for (size_t i = 0; i < places; i++) {
        starpu_data_unregister(graph.handles[i]);
    }
    free(graph.places);
    free(graph.outputs);
    free(graph.handles);
}

/* ------------------------------------------------------------------ the others */

static double run(const char *name)
{
    if (strcmp(name, "task_sync") == 0) {
        return task_sync();
    }
    if (strcmp(name, "task_async") == 0) {
        return tasks(MANY) / MANY;
    }
    if (strcmp(name, "queued_10000") == 0) {
        return tasks(QUEUED) / QUEUED;
    }
    if (strcmp(name, "tasks_and_get") == 0 || strcmp(name, "wait_all_1000") == 0) {
        return tasks(MANY);
    }
    return strcmp(name, "chain_1000") == 0 ? chain() : strcmp(name, "fan_in_1000") == 0 ? fan_in() : -1;
}

int main(void)
{
    char line[64];
    if (starpu_init(NULL) != 0) {
        puts("{\"error\":\"did not start\"}");
        return 1;
    }
    for (int i = 0; i <= MANY; i++) {
        starpu_variable_data_register(&handles[i], STARPU_MAIN_RAM, (uintptr_t)results[i], RESULT_BYTES);
    }
    tasks(MANY);
    puts("{}");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "metg_", 5) == 0) {
            metg(metg_pattern_find(line + 5));
        } else {
            double ns = run(line);
            ns < 0 ? puts("{}") : printf("{\"ns\":%.0f}\n", ns);
        }
        fflush(stdout);
    }
    for (int i = 0; i <= MANY; i++) {
        starpu_data_unregister(handles[i]);
    }
    starpu_shutdown();
    return 0;
}
