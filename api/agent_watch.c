/* agent_watch.c - objects watched through a descriptor, with an agent behind it
 *
 * Happy path: ready already, or a question with no deadline whose answer the library's thread takes in.
 * Failures:   the link is lost -> every watch has become ready by that.
 * Thread:     any; the answer comes under the link's lock.
 */
#include "api/agent_world.h"

#include <stdlib.h>

struct agent_watch {
    struct list_node node; /* in link->watches */
    struct client_ask ask;
    struct roost *rt;
    struct watch *watch; /* until it is answered, or the link is lost */
    roost_ref ref;
    int8_t ready;
};

/* Under the link's lock. The ask is the core's no more. */
static void watch_answered(struct client_ask *ask)
{
    struct agent_watch *watch = CONTAINER_OF(ask, struct agent_watch, ask);
    pthread_mutex_lock(&watch->rt->lock);
    watch_ready_locked(watch->rt, watch->watch);
    pthread_mutex_unlock(&watch->rt->lock);
    list_remove(&watch->node);
    free(watch->ask.items); /* words: who gets the ref is told them again */
    free(watch);
}

/* Ready already? Then nobody need be asked. */
static bool is_here(struct roost *rt, roost_ref ref)
{
    int answer = client_peek(rt, ref, NULL);
    return answer != STORE_GET_ASK && answer != STORE_GET_WAIT && answer != STORE_GET_FORWARD;
}

int agent_watch(struct roost *rt, struct watch *watch)
{
    struct agent_link *link = link_of(rt);
    ROOST_TRY(link_gone(link));
    if (is_here(rt, watch->ref)) {
        pthread_mutex_lock(&rt->lock);
        watch_ready_locked(rt, watch);
        pthread_mutex_unlock(&rt->lock);
        return 0;
    }
    struct agent_watch *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        return no_memory("a watch");
    }
    asked->rt = rt;
    asked->watch = watch;
    asked->ref = watch->ref;
    asked->ask = (struct client_ask){ .kind = WIRE_WAIT,
                                      .bell = CLIENT_BELL_LIBRARY,
                                      .scope = client_scope(rt),
                                      .refs = &asked->ref,
                                      .total = 1,
                                      .wanted = 1,
                                      .flags = WIRE_WAIT_FETCH | WIRE_WAIT_FOLLOW,
                                      .ready = &asked->ready,
                                      .on_done = watch_answered };
    pthread_mutex_lock(&link->lock);
    int status = client_ask(link->core, &asked->ask);
    if (status == 0) {
        list_append(&link->watches, &asked->node);
        link_say_all(link); /* when the link is lost meanwhile, the watch has become ready by that */
    } else {
        free(asked);
    }
    pthread_mutex_unlock(&link->lock);
    return status;
}

void agent_watches_free(struct agent_link *link)
{
    LIST_EACH_SAFE (at, &link->watches) {
        struct agent_watch *watch = CONTAINER_OF(at, struct agent_watch, node);
        client_forget(link->core, &watch->ask);
        list_remove(&watch->node);
        free(watch);
    }
}
