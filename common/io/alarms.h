/* alarms.h - timers by key, for the host of a core
 *
 * CORE_ARM names a timer by a number that the core chose. The book keeps one timer per number and calls one function
 * for all of them. Loop thread. */
#ifndef ROOST_COMMON_IO_ALARMS_H
#define ROOST_COMMON_IO_ALARMS_H

#include <stdint.h>

struct loop;
struct alarms;

typedef void alarms_fn(void *arg, uint64_t key);

/* ROOST_ENOMEM. `fire` may arm and disarm, also the key that fires. */
int alarms_create(struct loop *loop, alarms_fn *fire, void *arg, struct alarms **alarms_out);

/* Disarms all. Accepts NULL. Not from inside `fire`. Before the loop is destroyed. */
void alarms_destroy(struct alarms *alarms);

/* `fire` is called once, at or after `at_ns`; arming again moves the alarm. Order as for loop_timer_arm().
 * Aborts when there is no memory for one more timer: a core's timers are few and small. */
void alarms_arm(struct alarms *alarms, uint64_t key, uint64_t at_ns);

/* No effect when the key is not armed. */
void alarms_disarm(struct alarms *alarms, uint64_t key);

/* How many are armed. */
uint32_t alarms_count(const struct alarms *alarms);

#endif
