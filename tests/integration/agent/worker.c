/* worker.c - a worker by hand, the program of the jobs in daemon.c
 *
 *     worker serve        does what a task's function says
 *     worker exit         says something on stderr and ends before it has connected
 */
#include "common/error.h"
#include "common/hash.h"
#include "tests/lib/hand_client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct hand_client client;

static void give(const struct wire_task *task, const struct spec *spec, const char *text)
{
    struct wire_result result = { .head = { WIRE_RESULT, sizeof result, 0 },
                                  .run = task->run,
                                  .object = hand_write(&client, task->run, text, strlen(text)) };
    result.object.id = result_id(spec->task, 0);
    hand_say(&client, &result.head);
}

static void complete(const struct wire_task *task, int32_t status, const char *text)
{
    struct {
        struct wire_complete head;
        char text[64];
    } complete = { .head = { .run = task->run, .status = status, .text_bytes = (uint32_t)strlen(text) } };
    uint32_t bytes = (uint32_t)align_up(sizeof complete.head + complete.head.text_bytes, 8);
    HAND_CHECK(bytes <= sizeof complete);
    complete.head.head = (struct wire_entry){ WIRE_COMPLETE, bytes, 0 };
    memcpy(complete.text, text, complete.head.text_bytes);
    hand_say(&client, &complete.head.head);
}

static void hang(void)
{
    printf("pid %d hangs\n", (int)getpid());
    fflush(stdout);
    for (;;) {
        pause();
    }
}

static void print(void)
{
    static char longest[WORKER_LINE_BYTES_MAX];
    memset(longest, 'x', sizeof longest - 1);
    printf("first\n%s\n\nsecond, without an end", longest);
    fprintf(stderr, "to stderr\n");
    fflush(stdout);
}

/* Bytes that no library would say. */
static void break_protocol(const struct wire_task *task)
{
    complete(task, 0, "");
    complete(task, 0, ""); /* once more: there is no such run any more */
    for (;;) {
        pause();
    }
}

static void run(const struct wire_task *task, const struct spec *spec)
{
    const char *function = spec_function(spec);
    if (strcmp(function, "say") == 0) { /* its text, as it came */
        give(task, spec, (const char *)spec + spec_args(spec)[0].as.offset);
    } else if (strcmp(function, "hang") == 0) {
        hang();
    } else if (strcmp(function, "hang_first") == 0) {
        if (task->attempt == 0) {
            hang();
        }
        give(task, spec, "second attempt");
    } else if (strcmp(function, "print") == 0) {
        print();
        give(task, spec, "");
    } else if (strcmp(function, "break") == 0) {
        give(task, spec, "");
        break_protocol(task);
    } else {
        complete(task, ROOST_EFAILED, "no such function");
        return;
    }
    complete(task, 0, "");
}

static bool has_task(void *arg)
{
    (void)arg;
    return task_ring_has_queued(&client.tasks);
}

static void serve_one(void)
{
    static struct task_ring_item item;
    int claimed;
    while ((claimed = task_ring_claim(&client.tasks, &item)) == 0) {
        (void)waiter_wait(&client.task_waiter, ROOST_FOREVER, has_task, NULL); /* the agent's end is ours too */
    }
    HAND_CHECK(claimed == 1);
    struct wire_task task;
    memcpy(&task, item.payload, sizeof task);
    const void *from = item.payload + offsetof(struct wire_task, u);
    if (!task.is_inline) {
        struct store_place place = { task.u.place.offset, task.spec_bytes, task.u.place.segment };
        from = store_map_pointer(&client.map, place);
    }
    struct spec *spec = malloc(task.spec_bytes);
    HAND_CHECK(spec != NULL && from != NULL);
    memcpy(spec, from, task.spec_bytes);
    HAND_CHECK(spec_check(spec, task.spec_bytes) == 0);
    run(&task, spec);
    free(spec);
}

int main(int argc, char **argv)
{
    HAND_CHECK(argc >= 2);
    if (strcmp(argv[1], "exit") == 0) {
        fprintf(stderr, "these were my last words\n");
        return 7;
    }
    const char *agent = getenv("ROOST_AGENT"), *token = getenv("ROOST_WORKER");
    HAND_CHECK(agent != NULL && token != NULL);
    HAND_CHECK(hand_connect(&client, agent, NULL, strtoull(token, NULL, 10)) == 0);
    for (;;) {
        serve_one();
    }
}
