/* chaos_calls.c - ten thousand leased calls of every kind, in a driver that others kill the workers of
 *
 * Each result that is waited for is compared with what it must be. A call without retries may fail with ROOST_EWORKER instead,
 * and with nothing else; all others have more retries than there are kills. */
#include "tests/integration/cluster/chaos.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 10000, THREADS = 2, BATCH = 250, CHILDREN = 6, LISTED = 4, BLOCK_WORDS = 1000 };

enum kind { PLAIN, WITHOUT_RETRIES, ON_THE_ONE_BEFORE, STORED, ON_STORED, LISTS, PARENT, KINDS };

static const struct roost_task_options often = { .size = sizeof often, .max_retries = 1000 };
static const struct roost_task_options once = { .size = sizeof once, .max_retries = ROOST_NONE };

/* ---- tasks ---- */

ROOST_TASK(add_one);
int add_one(struct roost_task *task)
{
    uint64_t value = roost_arg_uint(task, 0) + 1;
    return roost_return_value(task, 0, value);
}

/* More than rides along in a completion: the store has it. */
ROOST_TASK(make_block);
int make_block(struct roost_task *task)
{
    uint64_t words[BLOCK_WORDS];
    for (uint64_t i = 0; i < BLOCK_WORDS; i++) {
        words[i] = roost_arg_uint(task, 0) + i;
    }
    return roost_return(task, 0, words, sizeof words);
}

static uint64_t sum_of_block(uint64_t number)
{
    return number * BLOCK_WORDS + (uint64_t)BLOCK_WORDS * (BLOCK_WORDS - 1) / 2;
}

ROOST_TASK(sum_block);
int sum_block(struct roost_task *task)
{
    roost_view view = roost_arg(task, 0);
    uint64_t sum = 0;
    for (size_t i = 0; i < view.size / sizeof sum; i++) {
        sum += ((const uint64_t *)view.data)[i];
    }
    return roost_return_value(task, 0, sum);
}

/* Of results that were pending when their names left the driver. */
ROOST_TASK(sum_listed);
int sum_listed(struct roost_task *task)
{
    roost_view list;
    uint64_t sum = 0, value;
    ROOST_TRY(roost_get(roost_of(task), roost_arg_ref(task, 0), &list, ROUND_MS));
    for (size_t i = 0; i < LISTED; i++) {
        ROOST_TRY(roost_get_value(roost_of(task), ((const roost_ref *)list.data)[i], &value, ROUND_MS));
        sum += value;
    }
    return roost_return_value(task, 0, sum);
}

/* A worker that holds leases itself. */
ROOST_TASK(sum_children);
int sum_children(struct roost_task *task)
{
    struct roost *rt = roost_of(task);
    roost_ref refs[CHILDREN];
    uint64_t sum = 0, value;
    for (uint64_t i = 0; i < CHILDREN; i++) {
        ROOST_TRY(roost_call_with(rt, add_one, &often, &refs[i], roost_arg_uint(task, 0) + i));
    }
    for (int i = 0; i < CHILDREN; i++) {
        ROOST_TRY(roost_get_value(rt, refs[i], &value, ROUND_MS));
        sum += value;
    }
    return roost_return_value(task, 0, sum);
}

static uint64_t sum_of_children(uint64_t number)
{
    return CHILDREN * (number + 1) + (uint64_t)CHILDREN * (CHILDREN - 1) / 2;
}

/* ---- the driver ---- */

struct call {
    roost_ref ref;
    uint64_t wanted;
    bool may_fail;
};

struct caller {
    struct roost *rt;
    uint64_t chance;
    struct call calls[BATCH];
    unsigned done, failed;
    int status;
};

static int call_on_stored(struct roost *rt, uint64_t number, struct call *call)
{
    roost_ref block;
    ROOST_TRY(roost_call_with(rt, make_block, &often, &block, number));
    int status = roost_call_with(rt, sum_block, &often, &call->ref, block);
    roost_free(rt, block);
    call->wanted = sum_of_block(number);
    return status;
}

static int call_on_list(struct roost *rt, uint64_t number, struct call *call)
{
    roost_ref refs[LISTED], list;
    call->wanted = 0;
    for (uint64_t i = 0; i < LISTED; i++) {
        ROOST_TRY(roost_call_with(rt, add_one, &often, &refs[i], number + i));
        call->wanted += number + i + 1;
    }
    ROOST_TRY(roost_put_refs(rt, refs, LISTED, &list));
    roost_free_many(rt, refs, LISTED); /* the list holds them */
    int status = roost_call_with(rt, sum_listed, &often, &call->ref, roost_in_handle(list));
    roost_free(rt, list);
    return status;
}

static int call(struct caller *caller, enum kind kind, uint64_t number, const struct call *before, struct call *call)
{
    struct roost *rt = caller->rt;
    *call = (struct call){ .wanted = number + 1 };
    switch (kind) {
    case WITHOUT_RETRIES:
        call->may_fail = true;
        return roost_call_with(rt, add_one, &once, &call->ref, number);
    case ON_THE_ONE_BEFORE:
        if (before == NULL || before->may_fail) {
            break;
        }
        call->wanted = before->wanted + 1;
        return roost_call_with(rt, add_one, &often, &call->ref, before->ref);
    case ON_STORED:
        return call_on_stored(rt, number, call);
    case LISTS:
        return call_on_list(rt, number, call);
    case PARENT:
        call->wanted = sum_of_children(number);
        return roost_call_with(rt, sum_children, &often, &call->ref, number);
    case STORED: /* and nobody looks at it */
        call->may_fail = true;
        return roost_call_with(rt, make_block, &often, &call->ref, number);
    case PLAIN:
    case KINDS:
        break;
    }
    return roost_call_with(rt, add_one, &often, &call->ref, number);
}

/* Mostly the short ones. */
static enum kind random_kind(uint64_t *chance)
{
    uint64_t number = next_random(chance) % 40;
    return number < KINDS ? (enum kind)number : number < 20 ? PLAIN : number < 30 ? ON_THE_ONE_BEFORE : WITHOUT_RETRIES;
}

static int check(struct caller *caller, const struct call *call, enum kind kind)
{
    uint64_t value = 0;
    roost_view view;
    int status;
    if (kind == STORED) {
        status = roost_get(caller->rt, call->ref, &view, ROUND_MS);
        value = status == 0 && view.size == BLOCK_WORDS * sizeof value ? call->wanted : 0;
        if (status == 0) {
            roost_release(caller->rt, &view);
        }
    } else {
        status = roost_get_value(caller->rt, call->ref, &value, ROUND_MS);
    }
    if (kind == WITHOUT_RETRIES && status == ROOST_EWORKER && strstr(roost_last_error(), "signal 9") != NULL) {
        caller->failed++;
        return 0;
    }
    if (status != 0 || value != call->wanted) {
        fprintf(stderr, "a call of kind %d: status %d (%s), value %llu, wanted %llu\n", (int)kind, status,
                status == 0 ? "" : roost_last_error(), (unsigned long long)value, (unsigned long long)call->wanted);
        return 2;
    }
    caller->done++;
    return 0;
}

/* A batch at a time; one in seven is given up before anybody has looked. */
static int call_batch(struct caller *caller)
{
    enum kind kinds[BATCH];
    for (int i = 0; i < BATCH; i++) {
        kinds[i] = random_kind(&caller->chance);
        ROOST_TRY(call(caller, kinds[i], next_random(&caller->chance) % 1000000, i > 0 ? &caller->calls[i - 1] : NULL,
                       &caller->calls[i]));
    }
    int status = 0;
    for (int i = 0; i < BATCH && status == 0; i++) {
        if (next_random(&caller->chance) % 7 != 0) {
            status = check(caller, &caller->calls[i], kinds[i]);
        }
        roost_free(caller->rt, caller->calls[i].ref);
    }
    return status;
}

static void *call_all(void *arg)
{
    struct caller *caller = arg;
    for (int i = 0; i < CALLS / THREADS / BATCH && caller->status == 0; i++) {
        caller->status = call_batch(caller);
        if (caller->status < 0) {
            fprintf(stderr, "%s\n", roost_last_error());
        }
    }
    return NULL;
}

int chaos_calls(struct roost *rt, int argc, char **argv)
{
    static struct caller callers[THREADS];
    pthread_t threads[THREADS];
    (void)argc;
    int status = 0;
    unsigned done = 0, failed = 0;
    for (uint64_t i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){ .rt = rt, .chance = strtoull(argv[2], NULL, 10) * THREADS + i };
        if (pthread_create(&threads[i], NULL, call_all, &callers[i]) != 0) {
            return 3;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        status = callers[i].status != 0 ? callers[i].status : status;
        done += callers[i].done;
        failed += callers[i].failed;
    }
    printf("%d calls: %u results, %u failed with their workers\n", CALLS, done, failed);
    return status == 0 ? 0 : 2;
}
