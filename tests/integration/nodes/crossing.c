/* Bytes of small stores cross between two nodes, both ways at once. Few and small enough for the thread sanitizer. */
#include "tests/integration/nodes/nodes.h"

#include <pthread.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { THREADS = 4, ROUNDS = 40, MAPS = 4, PARTS = 3, PART_WORDS = 3000 };

static const uint64_t counts[] = { 0, 1, 1500, 25000, 200000 }; /* in words */

static uint32_t word(uint64_t seed, uint64_t at) { return (uint32_t)(seed * 2654435761u + at); }

static void fill(uint32_t *words, uint64_t count, uint64_t seed)
{
    for (uint64_t i = 0; i < count; i++) {
        words[i] = word(seed, i);
    }
}

static uint64_t wrong_words(roost_view view, uint64_t count, uint64_t seed)
{
    uint64_t wrong = view.size != 4 * count;
    for (uint64_t i = 0; i < view.size / 4; i++) {
        wrong += ((const uint32_t *)view.data)[i] != word(seed, i);
    }
    return wrong;
}

ROOST_TASK(make_words);
int make_words(struct roost_task *task)
{
    roost_buffer out;
    uint64_t count = roost_arg_uint(task, 0);
    ROOST_TRY(roost_return_create(task, 0, 4 * count, &out));
    fill(out.data, count, roost_arg_uint(task, 1));
    return 0;
}

ROOST_TASK(count_wrong);
int count_wrong(struct roost_task *task)
{
    uint64_t wrong = wrong_words(roost_arg(task, 0), roost_arg_uint(task, 1), roost_arg_uint(task, 2));
    return roost_return_value(task, 0, wrong);
}

static uint64_t get_number(roost_ref ref)
{
    uint64_t number;
    OK(roost_get_value(rt, ref, &number, LONG_MS));
    roost_free(rt, ref);
    return number;
}

static void check_here(roost_ref ref, uint64_t count, uint64_t seed)
{
    roost_view view;
    OK(roost_get(rt, ref, &view, LONG_MS));
    CHECK_EQ(wrong_words(view, count, seed), 0);
    roost_release(rt, &view);
}

struct crossing {
    pthread_t thread;
    uint64_t number;
    roost_ref shared;
    struct roost_task_options second; /* only on node-2 */
};

static void *there_and_back(void *arg)
{
    const struct crossing *crossing = arg;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t seed = crossing->number * ROUNDS + round, count = counts[seed % (sizeof counts / sizeof *counts)];
        roost_ref theirs, ours, wrong;
        roost_buffer buffer;
        OK(roost_call_with(rt, make_words, &crossing->second, &theirs, count, seed));
        OK(roost_create(rt, 4 * count, &buffer));
        fill(buffer.data, count, seed + 1);
        OK(roost_seal(rt, &buffer, 4 * count, &ours));
        OK(roost_call_with(rt, count_wrong, &crossing->second, &wrong, ours, count, seed + 1));
        check_here(theirs, count, seed);
        CHECK_EQ(get_number(wrong), 0);
        roost_free(rt, theirs);
        roost_free(rt, ours);
    }
    return NULL;
}

static void run_threads(void *(*run)(void *), roost_ref shared)
{
    struct crossing crossings[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        crossings[i] = (struct crossing){ .number = i, .shared = shared, .second = nodes_only(2) };
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&crossings[i].thread, NULL, run, &crossings[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(crossings[i].thread, NULL), 0);
    }
}

TEST(crossing, objects_of_every_size_cross_both_ways_at_once) { run_threads(there_and_back, (roost_ref){ 0 }); }

static void *get_shared(void *arg)
{
    check_here(((struct crossing *)arg)->shared, 200000, 77);
    return NULL;
}

TEST(crossing, threads_that_want_the_same_get_it_from_one_transfer)
{
    roost_ref ref;
    struct roost_task_options second = nodes_only(2);
    OK(roost_call_with(rt, make_words, &second, &ref, 200000, 77));
    OK(roost_prefetch(rt, ref));
    run_threads(get_shared, ref);
    roost_free(rt, ref);
}

ROOST_TASK(map_words);
int map_words(struct roost_task *task)
{
    uint64_t ends[PARTS];
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, PARTS * PART_WORDS * 4, &out));
    for (uint64_t p = 0; p < PARTS; p++) {
        fill((uint32_t *)out.data + p * PART_WORDS, PART_WORDS, roost_arg_uint(task, 0) * PARTS + p);
        ends[p] = (p + 1) * PART_WORDS * 4;
    }
    return roost_set_columns(roost_of(task), &out, ends, PARTS);
}

ROOST_TASK(check_part);
int check_part(struct roost_task *task)
{
    uint64_t wrong = roost_arg_count(task) != 1 + MAPS, part = roost_arg_uint(task, 0);
    for (size_t m = 1; m < roost_arg_count(task); m++) {
        wrong += wrong_words(roost_arg(task, m), PART_WORDS, (m - 1) * PARTS + part);
    }
    return roost_return_value(task, 0, wrong);
}

TEST(crossing, columns_of_a_shuffle_cross_to_their_reducers)
{
    roost_ref maps[MAPS], list, parts[PARTS];
    for (uint64_t m = 0; m < MAPS; m++) {
        struct roost_task_options only = nodes_only(1 + (int)(m % 2));
        OK(roost_call_with(rt, map_words, &only, &maps[m], m));
    }
    OK(roost_put_refs(rt, maps, MAPS, &list));
    roost_free_many(rt, maps, MAPS);
    for (uint64_t p = 0; p < PARTS; p++) {
        struct roost_task_options only = nodes_only(2 - (int)(p % 2));
        OK(roost_call_with(rt, check_part, &only, &parts[p], p, roost_in_gather(list, p)));
    }
    roost_free(rt, list);
    for (int p = 0; p < PARTS; p++) {
        CHECK_EQ(get_number(parts[p]), 0);
    }
}
