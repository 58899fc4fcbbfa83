/* connection.c - a struct roost: opening one, closing it, and what every call checks first
 *
 * Happy path: open decides which world it is (a worker's, run_inline, an agent's) -> calls -> close.
 * Failures:   options that are wrong or of a later version -> ROOST_EINVAL with the option's name; two functions of one
 *             name -> ROOST_EDUPLICATE; the world's own. Nothing is left open then.
 *             in a child of fork() -> every call ROOST_EFORK; close leaves everything as it is, for the parent.
 * Thread:     open and close: one; the rest any. */
#include "api/client.h"
#include "api/register.h"
#include "common/bytes.h"
#include "worker/runtime/task.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_TIMEOUT_MS = 10000, OPEN_CPUS_MAX = 1 << 20 };

_Atomic uint64_t client_forks;

static void note_fork(void) { atomic_fetch_add_explicit(&client_forks, 1, memory_order_relaxed); }

static void watch_forks_once(void) { pthread_atfork(NULL, NULL, note_fork); }

void client_watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks_once);
}

struct roost *client_new(const struct world *world)
{
    struct roost *rt = calloc(1, sizeof *rt);
    if (rt == NULL) {
        return NULL;
    }
    client_watch_forks();
    rt->world = world;
    rt->forks = atomic_load_explicit(&client_forks, memory_order_relaxed);
    rt->watch_fd = -1;
    pthread_mutex_init(&rt->lock, NULL);
    list_init(&rt->views_list);
    list_init(&rt->buffers_list);
    list_init(&rt->watches);
    list_init(&rt->watches_ready);
    return rt;
}

static void free_watches(struct list_node *list)
{
    LIST_EACH_SAFE (at, list) {
        list_remove(at);
        free(CONTAINER_OF(at, struct watch, node));
    }
}

void client_delete(struct roost *rt)
{
    if (rt == NULL) {
        return;
    }
    free_watches(&rt->watches);
    free_watches(&rt->watches_ready);
    if (rt->watch_fd >= 0) {
        close(rt->watch_fd);
    }
    id_map_fini(&rt->views);
    id_map_fini(&rt->buffers);
    pthread_mutex_destroy(&rt->lock);
    register_book_destroy(rt->book);
    free(rt);
}

int client_check_slow(const struct roost *rt, const char *call)
{
    if (rt == NULL) {
        return error_set(ROOST_EINVAL, "%s: rt is NULL", call);
    }
    return error_set(ROOST_EFORK, "%s: in a child of fork(); call exec(), or roost_open() anew", call);
}

uint64_t client_scope(const struct roost *rt)
{
    const struct roost_task *task = client_task;
    return task != NULL && task->rt == rt ? task->run : atomic_load_explicit(&rt->run, memory_order_relaxed);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t client_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : timeout_ms == 0 ? 0 : now_ms() + (uint64_t)timeout_ms;
}

int client_time_left(uint64_t deadline)
{
    if (deadline == UINT64_MAX || deadline == 0) {
        return deadline == 0 ? 0 : ROOST_FOREVER;
    }
    uint64_t now = now_ms();
    return now >= deadline ? 0 : (int)(deadline - now);
}

/* ---- opening ---- */

static int read_options(const struct roost_options *given, struct roost_options *options)
{
    *options = (struct roost_options){ .size = sizeof *options };
    if (given != NULL) {
        if (given->size < sizeof given->size || given->size > sizeof *given) {
            return error_set(ROOST_EINVAL,
                             "roost_open: options->size is %zu, wanted at most %zu; begin with ROOST_OPTIONS()",
                             given->size, sizeof *given);
        }
        memcpy(options, given, given->size);
    }
    if (options->name_space != NULL || options->files != NULL) {
        return error_set(ROOST_EINVAL, "roost_open: option %s: not in this version",
                         options->name_space != NULL ? "name_space" : "files");
    }
    if (options->open_timeout_ms < ROOST_FOREVER) {
        return error_set(ROOST_EINVAL, "roost_open: option open_timeout_ms: %d", options->open_timeout_ms);
    }
    if (!(options->cpus >= 0 && options->cpus <= OPEN_CPUS_MAX)) {
        return error_set(ROOST_EINVAL, "roost_open: option cpus: %g", options->cpus);
    }
    if (options->job_name != NULL && strlen(options->job_name) > ROOST_NAME_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG, "roost_open: option job_name: %zu bytes, at most %d (ROOST_NAME_BYTES_MAX)",
                         strlen(options->job_name), ROOST_NAME_BYTES_MAX);
    }
    return 0;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool inline_is_wanted(const struct roost_options *options)
{
    const char *value = environment("ROOST_INLINE");
    return options->run_inline || (value != NULL && strcmp(value, "0") != 0);
}

static int open_driver(const struct roost_options *options, struct register_book *book, struct roost **rt_out)
{
    if (inline_is_wanted(options)) {
        return inline_open(book, rt_out);
    }
    const struct open_request request = {
        .address = options->address != NULL ? options->address : environment("ROOST_ADDRESS"),
        .job_name = options->job_name,
        .worker_prefix = options->worker_prefix != NULL ? options->worker_prefix : environment("ROOST_WORKER_PREFIX"),
        .store_bytes = options->store_bytes,
        .cpus_hundredths = (uint32_t)(options->cpus * 100 + 0.5),
        .timeout_ms = options->open_timeout_ms == 0 ? OPEN_TIMEOUT_MS : options->open_timeout_ms,
    };
    return agent_open(&request, book, rt_out);
}

int roost_open(struct roost **rt_out, const struct roost_options *given)
{
    struct roost_options options;
    struct register_book *book;
    if (rt_out == NULL) {
        return error_set(ROOST_EINVAL, "roost_open: rt_out is NULL");
    }
    if (client_task != NULL) {
        return error_set(ROOST_ESTATE, "roost_open: inside a task; roost_of(task) is its connection");
    }
    client_watch_forks();
    int status = read_options(given, &options);
    if (status != 0) {
        return status;
    }
    status = register_book_create(&book);
    if (status != 0) {
        return status;
    }
    struct roost *rt = NULL;
    status = environment("ROOST_WORKER") != NULL ? worker_serve(book) : open_driver(&options, book, &rt);
    if (status != 0) {
        register_book_destroy(book);
        return status;
    }
    *rt_out = rt;
    return 0;
}

void roost_close(struct roost *rt)
{
    if (client_check(rt, "roost_close") != 0) {
        return;
    }
    if (client_task != NULL && client_task->rt == rt) {
        error_set(ROOST_ESTATE, "roost_close: inside a task");
        return;
    }
    buffers_close_all(rt);
    rt->world->close(rt);
    client_delete(rt);
}
