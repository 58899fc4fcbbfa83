/* chores.c - work that may take long, beside the loop
 *
 * Owns a thread and the line of chores before it: files that are read or removed take as long as a disk likes, and an
 * agent whose loop stands still is declared dead.
 *
 * Happy path: add -> the thread runs it -> `after` is posted to the loop.
 * Failures:   no thread can be had -> the loop does it itself, late rather than never.
 * Thread:     add and destroy belong to the loop's.
 */
#define LOG_TOPIC "chores"
#include "worker/agent/chores.h"
#include "common/contract.h"
#include "common/log.h"

#include <pthread.h>
#include <roost.h>
#include <signal.h>
#include <stdlib.h>

struct chores {
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct list_node waiting;
    bool has_thread, is_ending;
};

int chores_create(struct loop *loop, struct chores **chores_out)
{
    struct chores *chores = calloc(1, sizeof *chores);
    if (chores == NULL) {
        return ROOST_ENOMEM;
    }
    chores->loop = loop;
    list_init(&chores->waiting);
    pthread_mutex_init(&chores->lock, NULL);
    pthread_cond_init(&chores->changed, NULL);
    *chores_out = chores;
    return 0;
}

static void do_one(struct chores *chores, struct chore *chore)
{
    struct loop_task *after = chore->after.run != NULL ? &chore->after : NULL;
    chore->run(chore);
    if (after != NULL) {
        loop_post(chores->loop, after);
    }
}

/* The next one, or NULL when there will be none. */
static struct chore *next(struct chores *chores)
{
    struct chore *chore = NULL;
    pthread_mutex_lock(&chores->lock);
    while (list_is_empty(&chores->waiting) && !chores->is_ending) {
        pthread_cond_wait(&chores->changed, &chores->lock);
    }
    if (!list_is_empty(&chores->waiting)) {
        chore = CONTAINER_OF(chores->waiting.next, struct chore, waiting);
        list_remove(&chore->waiting);
    }
    pthread_mutex_unlock(&chores->lock);
    return chore;
}

static void *work(void *arg)
{
    struct chores *chores = arg;
    for (struct chore *chore; (chore = next(chores)) != NULL;) {
        do_one(chores, chore);
    }
    return NULL;
}

/* Signals are the loop's. */
static bool begin(struct chores *chores)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&chores->thread, NULL, work, chores);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        log_error_sparsely("event=no_thread errno=%d", error);
    }
    return error == 0;
}

void chores_add(struct chores *chores, struct chore *chore)
{
    list_init(&chore->waiting);
    chores->has_thread = chores->has_thread || begin(chores);
    if (!chores->has_thread) {
        do_one(chores, chore);
        return;
    }
    pthread_mutex_lock(&chores->lock);
    list_append(&chores->waiting, &chore->waiting);
    pthread_cond_signal(&chores->changed);
    pthread_mutex_unlock(&chores->lock);
}

void chores_destroy(struct chores *chores)
{
    if (chores == NULL) {
        return;
    }
    if (chores->has_thread) {
        pthread_mutex_lock(&chores->lock);
        chores->is_ending = true;
        pthread_cond_signal(&chores->changed);
        pthread_mutex_unlock(&chores->lock);
        pthread_join(chores->thread, NULL);
    }
    pthread_cond_destroy(&chores->changed);
    pthread_mutex_destroy(&chores->lock);
    free(chores);
}
