#include "common/io/alarms.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/id_map.h"
#include "common/io/loop.h"
#include "common/list.h"

#include <stdlib.h>

struct alarms {
    struct loop *loop;
    alarms_fn *fire;
    void *arg;
    struct id_map by_key;
    struct list_node armed; /* the same alarms, to walk them at the end */
};

struct alarm {
    struct loop_timer timer;
    struct alarms *book;
    uint64_t key;
    struct list_node node;
};

/* Key 0 is an alarm like any other, but a map takes no zero key. */
static struct id_key map_key(uint64_t key) { return (struct id_key){ .hi = key, .lo = 1 }; }

int alarms_create(struct loop *loop, alarms_fn *fire, void *arg, struct alarms **alarms_out)
{
    struct alarms *alarms = calloc(1, sizeof *alarms);
    if (alarms == NULL) {
        return error_set(ROOST_ENOMEM, "a book of alarms: out of memory");
    }
    alarms->loop = loop;
    alarms->fire = fire;
    alarms->arg = arg;
    list_init(&alarms->armed);
    *alarms_out = alarms;
    return 0;
}

static void drop(struct alarm *alarm)
{
    loop_timer_disarm(&alarm->timer);
    id_map_remove(&alarm->book->by_key, map_key(alarm->key));
    list_remove(&alarm->node);
    free(alarm);
}

void alarms_destroy(struct alarms *alarms)
{
    if (alarms == NULL) {
        return;
    }
    LIST_EACH_SAFE (node, &alarms->armed) {
        drop(CONTAINER_OF(node, struct alarm, node));
    }
    id_map_fini(&alarms->by_key);
    free(alarms);
}

static void on_due(void *arg)
{
    struct alarm *alarm = arg;
    struct alarms *book = alarm->book;
    uint64_t key = alarm->key;
    drop(alarm);
    book->fire(book->arg, key);
}

void alarms_arm(struct alarms *alarms, uint64_t key, uint64_t at_ns)
{
    struct alarm *alarm = id_map_get(&alarms->by_key, map_key(key));
    if (alarm == NULL) {
        alarm = calloc(1, sizeof *alarm);
        ROOST_INVARIANT(alarm != NULL);
        alarm->book = alarms;
        alarm->key = key;
        loop_timer_init(&alarm->timer, alarms->loop, on_due, alarm);
        list_append(&alarms->armed, &alarm->node);
        int status = id_map_put(&alarms->by_key, map_key(key), alarm);
        ROOST_INVARIANT(status == 0);
    }
    loop_timer_arm(&alarm->timer, at_ns);
}

void alarms_disarm(struct alarms *alarms, uint64_t key)
{
    struct alarm *alarm = id_map_get(&alarms->by_key, map_key(key));
    if (alarm != NULL) {
        drop(alarm);
    }
}

uint32_t alarms_count(const struct alarms *alarms) { return alarms->by_key.count; }
