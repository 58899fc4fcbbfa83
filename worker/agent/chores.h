/* chores.h - work that may take long, done beside the loop by a thread of its own, one piece after the other */
#ifndef ROOST_WORKER_AGENT_CHORES_H
#define ROOST_WORKER_AGENT_CHORES_H

#include "common/io/loop.h"
#include "common/list.h"

struct chores;

struct chore {
    struct list_node waiting;
    void (*run)(struct chore *chore); /* on the thread. Without `after` the chore is its own to free */
    struct loop_task after;           /* posted to the loop when it has run; after.run NULL: nothing */
};

/* The thread begins with the first chore. ROOST_ENOMEM. */
int chores_create(struct loop *loop, struct chores **chores_out);

/* Any number: whoever adds them has the limit. Borrowed until it has run. The loop's thread. */
void chores_add(struct chores *chores, struct chore *chore);

/* Waits until all have run; what they post to the loop may not come any more. NULL is fine. */
void chores_destroy(struct chores *chores);

#endif
