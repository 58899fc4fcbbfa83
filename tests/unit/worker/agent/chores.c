#include "worker/agent/chores.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <semaphore.h>

struct errand {
    struct chore chore;
    sem_t *may_end;
    pthread_t ran_on;
    bool has_run;
};

static struct loop *loop;
static sem_t may_end;
static int came_back;

static void run(struct chore *chore)
{
    struct errand *errand = CONTAINER_OF(chore, struct errand, chore);
    errand->ran_on = pthread_self();
    if (errand->may_end != NULL) {
        CHECK_EQ(sem_wait(errand->may_end), 0);
    }
    errand->has_run = true;
}

/* The loop goes on while the first chore stands still: it is the loop that lets it go on. */
static void let_it_end(void *arg)
{
    const struct errand *first = arg;
    CHECK(!first->has_run);
    CHECK_EQ(sem_post(&may_end), 0);
}

static void comes_back(void *arg)
{
    const struct errand *errand = arg;
    CHECK(errand->has_run);
    CHECK(!pthread_equal(errand->ran_on, pthread_self()));
    if (++came_back == 2) {
        loop_stop(loop);
    }
}

TEST(chores, the_loop_goes_on_while_one_takes_long_and_hears_of_its_end)
{
    struct chores *chores;
    CHECK_EQ(sem_init(&may_end, 0, 0), 0);
    CHECK_EQ(loop_create(&loop), 0);
    CHECK_EQ(chores_create(loop, &chores), 0);
    struct errand errands[2] = { { .may_end = &may_end }, { .may_end = NULL } };
    for (int i = 0; i < 2; i++) {
        errands[i].chore = (struct chore){ .run = run, .after = { .run = comes_back, .arg = &errands[i] } };
        chores_add(chores, &errands[i].chore);
    }
    struct loop_task task = { .run = let_it_end, .arg = &errands[0] };
    loop_post(loop, &task);
    loop_run(loop);
    CHECK_EQ(came_back, 2);
    chores_destroy(chores);
    loop_destroy(loop);
    sem_destroy(&may_end);
}

TEST(chores, all_that_were_given_are_done_before_the_end)
{
    enum { CHORES = 100 };
    static struct errand errands[CHORES];
    struct chores *chores;
    CHECK_EQ(loop_create(&loop), 0);
    CHECK_EQ(chores_create(loop, &chores), 0);
    for (int i = 0; i < CHORES; i++) {
        errands[i].chore.run = run;
        chores_add(chores, &errands[i].chore);
    }
    chores_destroy(chores);
    for (int i = 0; i < CHORES; i++) {
        CHECK(errands[i].has_run);
    }
    loop_destroy(loop);
}
