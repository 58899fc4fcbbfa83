/* watch.c - refs for event loops
 *
 * Owns the watches of a connection and the descriptor that is readable while one is ready.
 *
 * Happy path: watch -> (ready on this node, or failed) -> the eventfd is written -> ready() hands the tag out, once.
 * Failures:   the agent is gone -> every watch becomes ready: getting its ref says why.
 * Invariants: the eventfd is readable exactly while watches_ready is not empty.
 * Thread:     any; under rt->lock. */
#include "api/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

void watch_ready_locked(struct roost *rt, struct watch *watch)
{
    bool is_first = list_is_empty(&rt->watches_ready);
    list_remove(&watch->node);
    list_append(&rt->watches_ready, &watch->node);
    if (is_first && rt->watch_fd >= 0) {
        eventfd_write(rt->watch_fd, 1);
    }
}

int roost_fd(struct roost *rt)
{
    int status = client_check(rt, "roost_fd");
    if (status != 0) {
        return status;
    }
    pthread_mutex_lock(&rt->lock);
    if (rt->watch_fd < 0) {
        rt->watch_fd = eventfd(list_is_empty(&rt->watches_ready) ? 0 : 1, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    int fd = rt->watch_fd;
    pthread_mutex_unlock(&rt->lock);
    return fd >= 0 ? fd : error_from_errno("roost_fd: eventfd");
}

int roost_watch(struct roost *rt, roost_ref ref, void *tag)
{
    int status = client_check(rt, "roost_watch");
    if (status != 0) {
        return status;
    }
    if (object_id_is_none(object_id_of(ref))) {
        return error_set(ROOST_EINVAL, "roost_watch: the ref names nothing");
    }
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_set(ROOST_ENOMEM, "roost_watch: no memory");
    }
    watch->ref = ref;
    watch->tag = tag;
    pthread_mutex_lock(&rt->lock);
    list_append(&rt->watches, &watch->node);
    pthread_mutex_unlock(&rt->lock);
    status = rt->world->watch(rt, watch);
    if (status != 0) {
        pthread_mutex_lock(&rt->lock);
        list_remove(&watch->node);
        pthread_mutex_unlock(&rt->lock);
        free(watch);
    }
    return status;
}

size_t roost_ready(struct roost *rt, void **tags_out, size_t capacity)
{
    if (client_check(rt, "roost_ready") != 0 || (tags_out == NULL && capacity > 0)) {
        return 0;
    }
    size_t count = 0;
    pthread_mutex_lock(&rt->lock);
    while (count < capacity && !list_is_empty(&rt->watches_ready)) {
        struct watch *watch = CONTAINER_OF(rt->watches_ready.next, struct watch, node);
        list_remove(&watch->node);
        tags_out[count++] = watch->tag;
        free(watch);
    }
    if (list_is_empty(&rt->watches_ready) && rt->watch_fd >= 0) {
        eventfd_t value;
        eventfd_read(rt->watch_fd, &value);
    }
    pthread_mutex_unlock(&rt->lock);
    return count;
}
