/* starpu.c - StarPU as a peer: threads of one process, no objects that others could see
 *
 * Says hello, then answers each line `CASE` as peer.py does. Tasks are empty codelets on as many workers as there are
 * cores; dependences are its implicit ones, over one handle of 16 bytes per result. Its workers spin while they have no
 * task: they are paused between the cases, so that they take no core from who is measured next. */
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SYNC = 1000, MANY = 1000, QUEUED = 10000, RESULT_BYTES = 16 };

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
    starpu_pause();
    puts("{}");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        starpu_resume();
        double ns = run(line);
        starpu_pause();
        ns < 0 ? puts("{}") : printf("{\"ns\":%.0f}\n", ns);
        fflush(stdout);
    }
    starpu_resume();
    for (int i = 0; i <= MANY; i++) {
        starpu_data_unregister(handles[i]);
    }
    starpu_shutdown();
    return 0;
}
