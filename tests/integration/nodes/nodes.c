/* nodes.c - what the tests on several nodes share */
#include "tests/integration/nodes/nodes.h"

#include <time.h>

static int wanted_nodes(void)
{
    int count = -1; /* the first is the head */
    const char *pids = getenv("ROOST_TEST_PIDS");
    CHECK(pids != NULL);
    for (char *end = NULL; strtol(pids, &end, 10) > 0; pids = end) {
        count++;
    }
    CHECK(count > 0 && count <= NODES_MAX_HERE);
    return count;
}

uint64_t nodes_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void nodes_moment(void) { nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); }

static struct roost_node_info infos[NODES_MAX_HERE];

static size_t look(void)
{
    size_t count;
    OK(roost_nodes(rt, infos, sizeof infos[0], NODES_MAX_HERE, &count));
    CHECK(count <= NODES_MAX_HERE);
    return count;
}

struct roost_node_info nodes_info(int number)
{
    char name[16];
    uint64_t deadline = nodes_now_ms() + LONG_MS;
    size_t count;
    while ((count = look()) < (size_t)wanted_nodes()) {
        CHECK(nodes_now_ms() < deadline);
        nodes_moment();
    }
    snprintf(name, sizeof name, "node-%d", number);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(infos[i].host, name) == 0) {
            return infos[i];
        }
    }
    fprintf(stderr, "there is no %s\n", name);
    TEST_FAIL_();
}

roost_node nodes_of(int number) { return nodes_info(number).node; }

struct roost_task_options nodes_only(int number)
{
    return (struct roost_task_options){ .size = sizeof(struct roost_task_options),
                                        .node = nodes_of(number),
                                        .node_only = true };
}

void nodes_roost(const char *words, char *out, size_t bytes)
{
    char command[4096];
    snprintf(command, sizeof command, "\"$ROOST_COMMAND\" %s", words);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    size_t got = fread(out, 1, bytes - 1, pipe);
    out[got] = '\0';
    CHECK_EQ(pclose(pipe), 0);
}
