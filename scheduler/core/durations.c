#include "scheduler/core/durations.h"
#include "common/contract.h"
#include "common/limits.h"

#include <stdlib.h>

struct duration {
    struct list_node age;
    struct id_key function;
    uint64_t sum_ns;
    uint32_t samples;
};

void durations_init(struct durations *durations)
{
    *durations = (struct durations){ 0 };
    list_init(&durations->by_age);
}

static void forget(struct durations *durations, struct duration *duration)
{
    id_map_remove(&durations->by_function, duration->function);
    list_remove(&duration->age);
    free(duration);
}

void durations_fini(struct durations *durations)
{
    while (!list_is_empty(&durations->by_age)) {
        forget(durations, CONTAINER_OF(durations->by_age.next, struct duration, age));
    }
    id_map_fini(&durations->by_function);
}

static bool has_name(struct id_key function) { return (function.hi | function.lo) != 0; }

uint64_t durations_estimate_ns(const struct durations *durations, struct id_key function)
{
    const struct duration *duration = has_name(function) ? id_map_get(&durations->by_function, function) : NULL;
    if (duration == NULL) {
        return PLACEMENT_PRIOR_NS;
    }
    uint64_t mean_ns = duration->sum_ns / duration->samples;
    return mean_ns == 0 ? 1 : mean_ns;
}

static struct duration *add(struct durations *durations, struct id_key function)
{
    struct duration *duration = calloc(1, sizeof *duration);
    if (duration == NULL) {
        return NULL;
    }
    duration->function = function;
    list_init(&duration->age);
    if (id_map_put(&durations->by_function, function, duration) != 0) {
        free(duration);
        return NULL;
    }
    return duration;
}

void durations_learn(struct durations *durations, struct id_key function, uint64_t duration_ns)
{
    if (!has_name(function)) {
        return;
    }
    struct duration *duration = id_map_get(&durations->by_function, function);
    if (duration == NULL) {
        if (durations->by_function.count >= DURATIONS_MAX) {
            forget(durations, CONTAINER_OF(durations->by_age.next, struct duration, age));
        }
        duration = add(durations, function);
        if (duration == NULL) {
            return;
        }
    }
    if (duration->samples >= DURATION_SAMPLES) {
        duration->sum_ns /= 2;
        duration->samples /= 2;
    }
    duration->sum_ns += duration_ns < PLACEMENT_DURATION_NS_MAX ? duration_ns : PLACEMENT_DURATION_NS_MAX;
    duration->samples++;
    list_remove(&duration->age);
    list_append(&durations->by_age, &duration->age);
}
