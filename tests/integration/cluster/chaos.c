/* chaos.c - workers and drivers killed at random moments, on an agent that outlives them all
 *
 *     chaos [SEED [ROUNDS]] the test: starts the others, kills, judges; ROUNDS of each kind of death, fewer unless given
 *     chaos job SEED        a driver: a shuffle of generated records whose sums are known; fails unless they are exact
 *     chaos calls SEED      a driver: thousands of leased calls of every kind (chaos_calls.c)
 *     chaos fill            a driver: takes the whole store for itself
 *
 * in_cluster.sh names the agent: ROOST_AGENT is its socket, ROOST_TEST_AGENT_PID its pid; its children are the workers.
 * A round that fails prints its seed. */
#include "tests/integration/cluster/chaos.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <roost.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAPS = 12,
    PARTS = 6,
    RECORDS = 60000, /* of one map */
    KILLS_MAX = 8,   /* in one round of the job */
    GONE_MS = 5000,  /* within this nothing of a dead driver is left */
    WORKERS_MAX = 1024,
};

struct record {
    uint64_t key, value;
};
struct sums {
    uint64_t count, keys, mixed, unordered;
};

static struct record make_record(uint64_t *state)
{
    uint64_t key = next_random(state);
    return (struct record){ key, next_random(state) };
}

static void add_record(struct sums *sums, const struct record *record)
{
    sums->count++;
    sums->keys += record->key;
    sums->mixed += (record->key ^ record->value) * 0x9e3779b97f4a7c15u;
}

static size_t part_of(const struct record *record) { return (size_t)(record->key % PARTS); }

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the job ---- */

ROOST_TASK(map_records);
int map_records(struct roost_task *task)
{
    uint64_t seed = roost_arg_uint(task, 0), ends[PARTS] = { 0 }, next[PARTS], state = seed;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record record = make_record(&state);
        ends[part_of(&record)]++;
    }
    uint64_t sum = 0;
    for (size_t p = 0; p < PARTS; p++) {
        next[p] = sum;
        sum += ends[p];
        ends[p] = sum * sizeof(struct record);
    }
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, RECORDS * sizeof(struct record), &out));
    struct record *to = out.data;
    state = seed;
    for (size_t i = 0; i < RECORDS; i++) {
        struct record record = make_record(&state);
        to[next[part_of(&record)]++] = record;
    }
    return roost_set_columns(roost_of(task), &out, ends, PARTS);
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;
    return x < y ? -1 : x > y;
}

ROOST_TASK(sort_part);
int sort_part(struct roost_task *task)
{
    size_t size = 0;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        size += roost_arg(task, i).size;
    }
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, size, &out));
    char *to = out.data;
    for (size_t i = 0; i < roost_arg_count(task); i++) {
        roost_view piece = roost_arg(task, i);
        memcpy(to, piece.data, piece.size);
        to += piece.size;
    }
    qsort(out.data, size / sizeof(struct record), sizeof(struct record), by_key);
    return 0;
}

ROOST_TASK(sum_part);
int sum_part(struct roost_task *task)
{
    roost_view view = roost_arg(task, 0);
    const struct record *records = view.data;
    struct sums sums = { 0 };
    for (size_t i = 0; i < view.size / sizeof *records; i++) {
        add_record(&sums, &records[i]);
        sums.unordered += i > 0 && records[i - 1].key > records[i].key;
    }
    return roost_return_value(task, 0, sums);
}

static struct sums sums_wanted(uint64_t seed)
{
    struct sums sums = { 0 };
    for (uint64_t m = 0; m < MAPS; m++) {
        uint64_t state = seed + m;
        for (size_t i = 0; i < RECORDS; i++) {
            struct record record = make_record(&state);
            add_record(&sums, &record);
        }
    }
    return sums;
}

static int job(struct roost *rt, int argc, char **argv)
{
    (void)argc;
    const struct roost_task_options often = { .size = sizeof often, .max_retries = 2 * KILLS_MAX };
    uint64_t seed = strtoull(argv[2], NULL, 10);
    roost_ref maps[MAPS], list, parts[PARTS], results[PARTS];
    struct sums sums = { 0 }, part;
    for (uint64_t m = 0; m < MAPS; m++) {
        ROOST_CHECK(roost_call_with(rt, map_records, &often, &maps[m], seed + m));
    }
    ROOST_CHECK(roost_put_refs(rt, maps, MAPS, &list));
    roost_free_many(rt, maps, MAPS);
    for (uint64_t p = 0; p < PARTS; p++) {
        ROOST_CHECK(roost_call_with(rt, sort_part, &often, &parts[p], roost_in_gather(list, p)));
        ROOST_CHECK(roost_call_with(rt, sum_part, &often, &results[p], parts[p]));
    }
    roost_free(rt, list);
    roost_free_many(rt, parts, PARTS);
    for (int p = 0; p < PARTS; p++) {
        ROOST_CHECK(roost_get_value(rt, results[p], &part, ROUND_MS));
        sums.count += part.count;
        sums.keys += part.keys;
        sums.mixed += part.mixed;
        sums.unordered += part.unordered;
    }
    struct sums wanted = sums_wanted(seed);
    if (memcmp(&sums, &wanted, sizeof sums) != 0) {
        fprintf(stderr, "seed %llu: %llu records instead of %llu, or other ones\n", (unsigned long long)seed,
                (unsigned long long)sums.count, (unsigned long long)wanted.count);
        return 2;
    }
    return 0;
}

static int fill(struct roost *rt, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct roost_node_info node = { .store_bytes_total = 1 };
    size_t count;
    roost_buffer buffer;
    uint64_t deadline = now_ms() + GONE_MS;
    while (node.store_bytes_free < node.store_bytes_total && now_ms() < deadline) { /* it may still be at it */
        ROOST_CHECK(roost_nodes(rt, &node, sizeof node, 1, &count));
    }
    if (node.store_bytes_free < node.store_bytes_total) {
        fprintf(stderr, "%llu bytes are in use\n",
                (unsigned long long)(node.store_bytes_total - node.store_bytes_free));
        return 2;
    }
    ROOST_CHECK(roost_create(rt, node.store_bytes_total - node.store_bytes_total / 16, &buffer));
    roost_abort(rt, &buffer);
    return 0;
}

/* ---- the test ---- */

/* A driver, how often it meets each death, and how fast its workers are killed. */
struct role {
    const char *name;
    uint64_t worker_rounds, driver_rounds;
    int kills_max; /* in one round */
    uint64_t pause_ms_max;
};
static const struct role roles[] = {
    { "job", 20, 10, KILLS_MAX, 60 },
    { "calls", 4, 4, 200, 20 },
};

static char self[4096];
static pid_t agent_pid;
static uint64_t chance;

extern char **environ;

struct child {
    pid_t pid;
    int pidfd;
};

static struct child start(const char *role, uint64_t seed)
{
    char text[32];
    struct child child;
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    char *const argv[] = { self, (char *)(uintptr_t)role, text, NULL };
    CHECK_EQ(posix_spawn(&child.pid, self, NULL, NULL, argv, environ), 0);
    child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
    CHECK(child.pidfd >= 0);
    return child;
}

/* Waits for its end, at most so long. */
static bool has_ended(const struct child *child, uint64_t timeout_ms)
{
    struct pollfd fd = { child->pidfd, POLLIN, 0 };
    int got = poll(&fd, 1, (int)timeout_ms);
    CHECK(got >= 0 || errno == EINTR);
    return got > 0;
}

static int end_of(const struct child *child)
{
    int status = -1;
    CHECK_EQ(waitpid(child->pid, &status, 0), child->pid);
    close(child->pidfd);
    return status;
}

static size_t find_workers(pid_t workers[WORKERS_MAX])
{
    char path[64];
    size_t count = 0;
    long pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)agent_pid, (int)agent_pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    while (count < WORKERS_MAX && fscanf(file, "%ld", &pid) == 1) {
        workers[count++] = (pid_t)pid;
    }
    fclose(file);
    return count;
}

/* It has come through roost_open(): the library's thread is there. */
static bool has_begun(pid_t worker)
{
    char path[64];
    struct stat tasks;
    snprintf(path, sizeof path, "/proc/%d/task", (int)worker);
    return stat(path, &tasks) == 0 && tasks.st_nlink >= 2 + 2; /* as many links as threads, and two */
}

/* Seldom one that is only starting: a program of which many in a row do not come to roost_open() is given up. */
static bool kill_a_worker(void)
{
    pid_t workers[WORKERS_MAX];
    size_t count = find_workers(workers);
    pid_t victim = count > 0 ? workers[next_random(&chance) % count] : 0;
    return victim != 0 && (next_random(&chance) % 16 == 0 || has_begun(victim)) && kill(victim, SIGKILL) == 0;
}

static int kill_workers_during(const struct child *driver, const struct role *role)
{
    int kills = 0;
    uint64_t deadline = now_ms() + ROUND_MS;
    while (!has_ended(driver, kills < role->kills_max ? next_random(&chance) % role->pause_ms_max : ROUND_MS)) {
        CHECK(now_ms() < deadline);
        kills += kills < role->kills_max && kill_a_worker();
    }
    return kills;
}

static void check_store_is_empty(uint64_t seed)
{
    struct child filler = start("fill", 0);
    int status = has_ended(&filler, ROUND_MS) ? end_of(&filler) : -1;
    if (status != 0) {
        fprintf(stderr, "seed %llu: the store is not empty\n", (unsigned long long)seed);
    }
    CHECK_EQ(status, 0);
}

static void check_workers_are_gone(uint64_t seed)
{
    pid_t workers[WORKERS_MAX];
    uint64_t deadline = now_ms() + GONE_MS;
    size_t count;
    while ((count = find_workers(workers)) > 0 && now_ms() < deadline) {
        int pidfd = (int)syscall(SYS_pidfd_open, workers[0], 0);
        struct child worker = { workers[0], pidfd };
        if (pidfd >= 0) {
            has_ended(&worker, 100);
            close(pidfd);
        }
    }
    if (count > 0) {
        fprintf(stderr, "seed %llu: %zu workers outlived their driver\n", (unsigned long long)seed, count);
    }
    CHECK_EQ(count, 0);
}

static void workers_die(const struct role *role, uint64_t first_seed, uint64_t rounds)
{
    int kills = 0;
    uint64_t started = now_ms();
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        chance = seed;
        struct child driver = start(role->name, seed);
        kills += kill_workers_during(&driver, role);
        int status = end_of(&driver);
        if (status != 0) {
            fprintf(stderr, "%s, seed %llu: wait status 0x%x\n", role->name, (unsigned long long)seed,
                    (unsigned)status);
        }
        CHECK_EQ(status, 0);
        check_workers_are_gone(seed);
    }
    check_store_is_empty(first_seed);
    printf("%s: %d workers killed in %llu exact rounds, in %llu ms\n", role->name, kills, (unsigned long long)rounds,
           (unsigned long long)(now_ms() - started));
    CHECK(kills >= (int)rounds);
}

static uint64_t takes_ms(const struct role *role, uint64_t seed)
{
    uint64_t started = now_ms();
    struct child driver = start(role->name, seed);
    CHECK_EQ(end_of(&driver), 0);
    return now_ms() - started + 1;
}

static void drivers_die(const struct role *role, uint64_t first_seed, uint64_t rounds)
{
    int kills = 0;
    uint64_t duration_ms = takes_ms(role, first_seed);
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        chance = seed;
        struct child driver = start(role->name, seed);
        if (!has_ended(&driver, next_random(&chance) % duration_ms)) {
            kills++;
            kill(driver.pid, SIGKILL);
        }
        int status = end_of(&driver);
        CHECK(status == 0 || status == SIGKILL);
        check_workers_are_gone(seed);
        check_store_is_empty(seed);
        check_workers_are_gone(seed);
    }
    printf("%s: %d of %llu drivers killed\n", role->name, kills, (unsigned long long)rounds);
    CHECK(kills > 0);
}

static int test(uint64_t seed, uint64_t rounds)
{
    const char *agent = getenv("ROOST_TEST_AGENT_PID");
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0 && agent != NULL);
    agent_pid = (pid_t)strtol(agent, NULL, 10);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        workers_die(&roles[i], seed, rounds > 0 ? rounds : roles[i].worker_rounds);
        drivers_die(&roles[i], seed + 1000, rounds > 0 ? rounds : roles[i].driver_rounds);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "job") == 0) {
        return roost_main(argc, argv, job);
    }
    if (argc > 1 && strcmp(argv[1], "fill") == 0) {
        return roost_main(argc, argv, fill);
    }
    if (argc > 1 && strcmp(argv[1], "calls") == 0) {
        return roost_main(argc, argv, chaos_calls);
    }
    return test(argc > 1 ? strtoull(argv[1], NULL, 10) : 1, argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
}
