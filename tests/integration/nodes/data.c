/* Bytes on one node, read on another. */
#include "tests/integration/nodes/nodes.h"

#include <pthread.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

static bool is_same(roost_node a, roost_node b) { return a.id.hi == b.id.hi && a.id.lo == b.id.lo; }

static uint64_t get_number(roost_ref ref)
{
    uint64_t number;
    OK(roost_get_value(rt, ref, &number, LONG_MS));
    return number;
}

/* ---- what the tasks do ---- */

static void fill(uint32_t *words, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        words[i] = seed * 2654435761u + (uint32_t)i;
    }
}

static size_t wrong_words(const uint32_t *words, size_t count, uint32_t seed, size_t first)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        wrong += words[i] != seed * 2654435761u + (uint32_t)(first + i);
    }
    return wrong;
}

ROOST_TASK(make_words);
int make_words(struct roost_task *task)
{
    roost_buffer out;
    uint64_t count = roost_arg_uint(task, 0);
    ROOST_TRY(roost_return_create(task, 0, count * sizeof(uint32_t), &out));
    fill(out.data, count, (uint32_t)roost_arg_uint(task, 1));
    return 0;
}

ROOST_TASK(here);
int here(struct roost_task *task)
{
    roost_node node = roost_here(roost_of(task));
    return roost_return_value(task, 0, node);
}

static roost_ref make_on(int node, uint64_t count, uint32_t seed)
{
    roost_ref ref;
    struct roost_task_options only = nodes_only(node);
    OK(roost_call_with(rt, make_words, &only, &ref, count, seed));
    return ref;
}

static void check_where(roost_ref ref, int node)
{
    roost_node nodes[NODES_MAX_HERE];
    size_t count;
    bool ready;
    OK(roost_wait(rt, &ref, 1, 1, false, &ready, LONG_MS));
    OK(roost_locate(rt, ref, nodes, NODES_MAX_HERE, &count));
    CHECK_EQ(count, 1);
    CHECK(is_same(nodes[0], nodes_of(node)));
}

ROOST_TASK(count_wrong);
int count_wrong(struct roost_task *task)
{
    roost_view view = roost_arg(task, 0);
    uint64_t wrong = wrong_words(view.data, view.size / 4, (uint32_t)roost_arg_uint(task, 1), roost_arg_uint(task, 2));
    wrong += view.size == 4 * roost_arg_uint(task, 3) ? 0 : 1000000;
    return roost_return_value(task, 0, wrong);
}

static void *get_it(void *arg)
{
    roost_view view;
    int status = roost_get(rt, *(roost_ref *)arg, &view, LONG_MS);
    if (status == 0) {
        roost_release(rt, &view);
    }
    return (void *)(intptr_t)status;
}

/* ---- each byte crosses once ---- */

/* The number after "NAME": in what `roost ls --json` says; 0 when there is no row. */
static uint64_t number_in(const char *words, const char *name)
{
    static char rows[65536];
    char key[64];
    nodes_roost(words, rows, sizeof rows);
    snprintf(key, sizeof key, "\"%s\": ", name);
    const char *at = strstr(rows, key);
    CHECK(at == NULL || strstr(at + 1, key) == NULL); /* one row */
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static uint64_t member_number(int node)
{
    char words[128];
    snprintf(words, sizeof words, "ls nodes --json --filter host=node-%d", node);
    uint64_t number = number_in(words, "node");
    CHECK(number > 0);
    return number;
}

/* Bytes that node `to` has pulled from node `from`, as the head knows. */
static uint64_t pulled(int to, int from)
{
    char words[128];
    snprintf(words, sizeof words, "ls pulls --json --filter node=%llu --filter from=%llu",
             (unsigned long long)member_number(to), (unsigned long long)member_number(from));
    return number_in(words, "pulled_bytes");
}

/* Of all that has come so far. An object more goes the same way: when its bytes are told, those before it are. */
static uint64_t pulled_with_a_mark(int to, int from, uint64_t mark_words, uint64_t at_least)
{
    uint64_t bytes, deadline = nodes_now_ms() + LONG_MS;
    roost_ref mark = make_on(from, mark_words, 1), wrong;
    struct roost_task_options only = nodes_only(to);
    OK(roost_call_with(rt, count_wrong, &only, &wrong, mark, 1, 0, mark_words));
    CHECK_EQ(get_number(wrong), 0);
    while ((bytes = pulled(to, from)) < at_least + 4 * mark_words) {
        CHECK(nodes_now_ms() < deadline);
        nodes_moment();
    }
    roost_free(rt, wrong);
    roost_free(rt, mark);
    return bytes;
}

/* The first of all: nothing has crossed yet. */
TEST(data, each_byte_crosses_once_however_many_wait_for_it_and_in_whichever_way)
{
    enum { THREADS = 8, TASKS = 4, MARK = 2500 };
    static const uint64_t counts[] = { 25000, 10000000 }; /* the second over several streams */
    uint64_t crossed = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint64_t count = counts[i];
        pthread_t threads[THREADS];
        roost_ref wrong[TASKS], ref = make_on(2, count, 11);
        uint32_t *copy = malloc(count * 4);
        struct roost_task_options only = nodes_only(1);
        CHECK(copy != NULL);
        OK(roost_prefetch(rt, ref));
        for (int t = 0; t < TASKS; t++) {
            OK(roost_call_with(rt, count_wrong, &only, &wrong[t], ref, 11, 0, count));
        }
        for (int t = 0; t < THREADS; t++) {
            CHECK_EQ(pthread_create(&threads[t], NULL, get_it, &ref), 0);
        }
        OK(roost_get_copy(rt, ref, copy, count * 4, LONG_MS));
        CHECK_EQ(wrong_words(copy, count, 11, 0), 0);
        for (int t = 0; t < THREADS; t++) {
            void *status;
            CHECK_EQ(pthread_join(threads[t], &status), 0);
            CHECK_EQ((intptr_t)status, 0);
        }
        for (int t = 0; t < TASKS; t++) {
            CHECK_EQ(get_number(wrong[t]), 0);
        }
        crossed += 4 * count;
        CHECK_EQ(pulled_with_a_mark(1, 2, MARK, crossed), crossed + 4 * MARK);
        crossed += 4 * MARK;
        roost_free_many(rt, wrong, TASKS);
        roost_free(rt, ref);
        free(copy);
    }
    CHECK_EQ(pulled(1, 3) + pulled(2, 1) + pulled(2, 3) + pulled(3, 1) + pulled(3, 2), 0);
}

/* ---- what is made elsewhere, read here ---- */

TEST(data, a_get_brings_what_another_node_made)
{
    static const uint64_t counts[] = { 0, 1, 25, 1000, 1024, 25000, 1000000 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        roost_view view;
        roost_ref ref = make_on(2 + (int)(i % 2), counts[i], (uint32_t)i);
        OK(roost_get(rt, ref, &view, LONG_MS));
        CHECK_EQ(view.size, counts[i] * 4);
        CHECK_EQ(wrong_words(view.data, counts[i], (uint32_t)i, 0), 0);
        roost_release(rt, &view);
        OK(roost_get(rt, ref, &view, 0)); /* it is here now */
        roost_release(rt, &view);
        roost_free(rt, ref);
    }
}

TEST(data, megabytes_by_the_hundred_come_over_several_streams)
{
    enum { COUNT = 25000000 };
    roost_view view;
    roost_ref ref = make_on(3, COUNT, 3);
    check_where(ref, 3);
    OK(roost_get(rt, ref, &view, LONG_MS));
    CHECK_EQ(view.size, 4 * (size_t)COUNT);
    CHECK_EQ(wrong_words(view.data, COUNT, 3, 0), 0);
    roost_release(rt, &view);
    roost_free(rt, ref);
}

TEST(data, copies_and_parts_come_too)
{
    uint32_t all[1000], part[10];
    roost_view view, again;
    roost_ref ref = make_on(2, 1000, 7);
    OK(roost_get_copy(rt, roost_slice(ref, 400, sizeof part), part, sizeof part, LONG_MS));
    CHECK_EQ(wrong_words(part, 10, 7, 100), 0);
    check_where(ref, 2); /* a part is no copy */
    OK(roost_get(rt, roost_slice(ref, 3960, ROOST_WHOLE), &view, LONG_MS));
    CHECK_EQ(view.size, 40);
    CHECK_EQ(wrong_words(view.data, 10, 7, 990), 0);
    OK(roost_get(rt, roost_slice(ref, 4000, 0), &again, LONG_MS));
    CHECK_EQ(again.size, 0);
    roost_release(rt, &again);
    CHECK_EQ(roost_get(rt, roost_slice(ref, 3999, 2), &again, LONG_MS), ROOST_ERANGE);
    CHECK_EQ(roost_get_copy(rt, ref, all, sizeof all - 1, LONG_MS), ROOST_ESIZE);
    OK(roost_get_copy(rt, ref, all, sizeof all, LONG_MS));
    CHECK_EQ(wrong_words(all, 1000, 7, 0), 0);
    CHECK_EQ(wrong_words(view.data, 10, 7, 990), 0);
    roost_release(rt, &view);
    roost_free(rt, ref);
}

enum { COLUMNS = 5 };

/* Column c has c * c + 1 words; the last one none. */
ROOST_TASK(make_columns);
int make_columns(struct roost_task *task)
{
    uint64_t ends[COLUMNS], count = 0;
    roost_buffer out;
    for (uint64_t c = 0; c < COLUMNS; c++) {
        count += c + 1 < COLUMNS ? c * c + 1 : 0;
        ends[c] = count * 4;
    }
    ROOST_TRY(roost_return_create(task, 0, ends[COLUMNS - 1], &out));
    fill(out.data, count, (uint32_t)roost_arg_uint(task, 0));
    return roost_set_columns(roost_of(task), &out, ends, COLUMNS);
}

TEST(data, columns_come_alone_and_with_the_whole)
{
    roost_ref ref;
    roost_view view;
    struct roost_task_options only = nodes_only(2);
    OK(roost_call_with(rt, make_columns, &only, &ref, 9));
    for (int whole = 0; whole < 2; whole++) {
        size_t first = 0;
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t count = c + 1 < COLUMNS ? c * c + 1 : 0;
            OK(roost_get(rt, roost_column(ref, c), &view, LONG_MS));
            CHECK_EQ(view.size, 4 * count);
            CHECK_EQ(wrong_words(view.data, count, 9, first), 0);
            roost_release(rt, &view);
            first += count;
        }
        CHECK_EQ(roost_get(rt, roost_column(ref, COLUMNS), &view, LONG_MS), ROOST_ERANGE);
        CHECK_EQ(roost_get(rt, roost_slice(roost_column(ref, 1), 0, 1), &view, LONG_MS), ROOST_ERANGE);
        OK(roost_get(rt, ref, &view, LONG_MS));
        roost_release(rt, &view);
    }
    roost_free(rt, ref);
}

TEST(data, get_many_brings_from_every_node_at_once)
{
    enum { COUNT = 300 };
    static roost_ref refs[COUNT];
    static roost_view views[COUNT];
    for (int i = 0; i < COUNT; i++) {
        refs[i] = make_on(1 + i % 3, (uint64_t)i * 10, (uint32_t)i);
    }
    OK(roost_get_many(rt, refs, COUNT, views, LONG_MS));
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(views[i].size, 40 * (size_t)i);
        CHECK_EQ(wrong_words(views[i].data, (size_t)i * 10, (uint32_t)i, 0), 0);
    }
    roost_release_many(rt, views, COUNT);
    roost_free_many(rt, refs, COUNT);
}

/* ---- what is made here, read elsewhere ---- */

TEST(data, a_task_reads_what_the_driver_put_wherever_it_runs)
{
    static const uint64_t counts[] = { 0, 1, 1000, 1500, 3000000 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int node = 1; node <= 3; node++) {
            roost_ref ref, wrong, half;
            roost_buffer buffer;
            struct roost_task_options only = nodes_only(node);
            OK(roost_create(rt, counts[i] * 4, &buffer));
            fill(buffer.data, counts[i], 5);
            OK(roost_seal(rt, &buffer, counts[i] * 4, &ref));
            OK(roost_call_with(rt, count_wrong, &only, &half, roost_slice(ref, counts[i] / 2 * 4, ROOST_WHOLE), 5,
                               counts[i] / 2, counts[i] - counts[i] / 2));
            OK(roost_call_with(rt, count_wrong, &only, &wrong, ref, 5, 0, counts[i]));
            roost_free(rt, ref);
            CHECK_EQ(get_number(half), 0);
            CHECK_EQ(get_number(wrong), 0);
            roost_free(rt, half);
            roost_free(rt, wrong);
        }
    }
}

TEST(data, a_chain_goes_over_all_nodes)
{
    roost_ref ref = make_on(2, 100000, 1), wrong;
    struct roost_task_options only = nodes_only(3);
    OK(roost_call_with(rt, count_wrong, &only, &wrong, ref, 1, 0, 100000));
    CHECK_EQ(get_number(wrong), 0);
    roost_free(rt, wrong);
    roost_free(rt, ref);
}

/* ---- names in objects ---- */

ROOST_TASK(box_up);
int box_up(struct roost_task *task)
{
    roost_ref inside[3];
    uint64_t value = 4711;
    roost_buffer out;
    ROOST_TRY(roost_put_value(roost_of(task), value, &inside[0]));
    ROOST_TRY(roost_call(roost_of(task), make_words, &inside[1], 10, 2));
    ROOST_TRY(roost_put_refs(roost_of(task), inside, 2, &inside[2]));
    ROOST_TRY(roost_return_create(task, 0, sizeof inside, &out));
    memcpy(out.data, inside, sizeof inside);
    return roost_declare_refs(roost_of(task), &out, inside, 3);
}

static void check_is_gone(roost_ref ref)
{
    roost_view view;
    uint64_t deadline = nodes_now_ms() + LONG_MS;
    int status;
    while ((status = roost_get(rt, ref, &view, LONG_MS)) == 0 && nodes_now_ms() < deadline) {
        roost_release(rt, &view);
        nodes_moment();
    }
    CHECK_EQ(status, ROOST_EFREED);
}

TEST(data, names_in_objects_of_another_node_lead_on)
{
    roost_ref box, inside[3], deep[2];
    uint32_t words[10];
    struct roost_task_options only = nodes_only(3);
    OK(roost_call_with(rt, box_up, &only, &box));
    OK(roost_get_value(rt, box, &inside, LONG_MS));
    CHECK_EQ(get_number(inside[0]), 4711);
    OK(roost_get_copy(rt, inside[1], words, sizeof words, LONG_MS));
    CHECK_EQ(wrong_words(words, 10, 2, 0), 0);
    OK(roost_get_value(rt, inside[2], &deep, LONG_MS));
    CHECK_EQ(get_number(deep[0]), 4711);
    OK(roost_keep(rt, inside[0]));
    roost_free(rt, box);
    check_is_gone(inside[1]);
    CHECK_EQ(get_number(inside[0]), 4711);
    roost_free(rt, inside[0]);
    check_is_gone(inside[0]);
}

ROOST_TASK(open_box);
int open_box(struct roost_task *task)
{
    const roost_ref *inside = roost_arg(task, 0).data;
    uint64_t value;
    ROOST_TRY(roost_get_value(roost_of(task), inside[0], &value, ROOST_FOREVER));
    return roost_return_value(task, 0, value);
}

TEST(data, a_box_of_the_driver_is_opened_on_another_node)
{
    roost_ref inner, box, value;
    uint64_t number = 12345;
    struct roost_task_options only = nodes_only(2);
    OK(roost_put_value(rt, number, &inner));
    OK(roost_put_refs(rt, &inner, 1, &box));
    roost_free(rt, inner);
    OK(roost_call_with(rt, open_box, &only, &value, box));
    roost_free(rt, box);
    CHECK_EQ(get_number(value), 12345);
    roost_free(rt, value);
}

ROOST_TASK(hand_on);
int hand_on(struct roost_task *task)
{
    uint64_t hops = roost_arg_uint(task, 0);
    roost_ref result;
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    if (hops == 0) {
        ROOST_TRY(roost_call_with(roost_of(task), make_words, &spread, &result, 2000, 6));
    } else {
        ROOST_TRY(roost_call_with(roost_of(task), hand_on, &spread, &result, hops - 1));
    }
    return roost_return_ref(task, 0, result);
}

TEST(data, a_result_may_name_a_result_of_another_node)
{
    for (uint64_t hops = 0; hops < 4; hops++) {
        roost_ref result, wrong;
        uint32_t words[2000];
        struct roost_task_options only = nodes_only(2);
        OK(roost_call_with(rt, hand_on, &only, &result, hops));
        OK(roost_get_copy(rt, result, words, sizeof words, LONG_MS));
        CHECK_EQ(wrong_words(words, 2000, 6, 0), 0);
        only = nodes_only(3);
        OK(roost_call_with(rt, count_wrong, &only, &wrong, roost_slice(result, 400, 4000), 6, 100, 1000));
        CHECK_EQ(get_number(wrong), 0);
        roost_free(rt, wrong);
        roost_free(rt, result);
    }
}

/* ---- many who wait ---- */

TEST(data, many_threads_wait_for_one_transfer)
{
    enum { THREADS = 16 };
    pthread_t threads[THREADS];
    roost_ref ref = make_on(2, 2000000, 8);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, get_it, &ref), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *status;
        CHECK_EQ(pthread_join(threads[i], &status), 0);
        CHECK_EQ((intptr_t)status, 0);
    }
    roost_free(rt, ref);
}

TEST(data, prefetch_brings_and_waits_for_nobody)
{
    roost_view view;
    roost_node nodes[NODES_MAX_HERE];
    size_t count = 0;
    roost_ref ref = make_on(3, 100000, 4);
    OK(roost_prefetch(rt, ref)); /* before it exists */
    uint64_t deadline = nodes_now_ms() + LONG_MS;
    while (count < 2) { /* copies: its maker's, and the one here */
        OK(roost_locate(rt, ref, nodes, NODES_MAX_HERE, &count));
        CHECK(nodes_now_ms() < deadline);
        nodes_moment();
    }
    CHECK(is_same(nodes[0], nodes_of(1)) && is_same(nodes[1], nodes_of(3)));
    OK(roost_get(rt, ref, &view, 0));
    CHECK_EQ(wrong_words(view.data, 100000, 4, 0), 0);
    roost_release(rt, &view);
    roost_free(rt, ref);
}

TEST(data, wait_looks_at_refs_of_all_nodes)
{
    enum { COUNT = 60 };
    roost_ref refs[COUNT];
    bool ready[COUNT];
    for (int i = 0; i < COUNT; i++) {
        refs[i] = make_on(1 + i % 3, 2000, 0);
    }
    OK(roost_wait(rt, refs, COUNT, COUNT, false, ready, LONG_MS));
    OK(roost_wait(rt, refs, COUNT, COUNT, true, ready, LONG_MS));
    for (int i = 0; i < COUNT; i++) {
        CHECK(ready[i]);
    }
    roost_free_many(rt, refs, COUNT);
}

/* ---- a shuffle ---- */

ROOST_TASK(map_words);
int map_words(struct roost_task *task)
{
    uint64_t parts = roost_arg_uint(task, 1), ends[64], each = 3000;
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, parts * each * 4, &out));
    for (uint64_t p = 0; p < parts; p++) {
        fill((uint32_t *)out.data + p * each, each, (uint32_t)(roost_arg_uint(task, 0) * 100 + p));
        ends[p] = (p + 1) * each * 4;
    }
    return roost_set_columns(roost_of(task), &out, ends, parts);
}

ROOST_TASK(check_part);
int check_part(struct roost_task *task)
{
    uint64_t right = 0, part = roost_arg_uint(task, 0);
    for (size_t m = 1; m < roost_arg_count(task); m++) {
        roost_view view = roost_arg(task, m);
        right += view.size == 12000 && wrong_words(view.data, 3000, (uint32_t)((m - 1) * 100 + part), 0) == 0;
    }
    return roost_return_value(task, 0, right);
}

TEST(data, a_shuffle_moves_each_column_to_its_reducer)
{
    enum { MAPS = 18, PARTS = 12 };
    roost_ref maps[MAPS], list, parts[PARTS];
    struct roost_task_options spread = { .size = sizeof spread, .spread = true };
    for (uint64_t m = 0; m < MAPS; m++) {
        OK(roost_call_with(rt, map_words, &spread, &maps[m], m, PARTS));
    }
    OK(roost_put_refs(rt, maps, MAPS, &list));
    roost_free_many(rt, maps, MAPS);
    for (uint64_t p = 0; p < PARTS; p++) {
        OK(roost_call(rt, check_part, &parts[p], p, roost_in_gather(list, p)));
    }
    roost_free(rt, list);
    for (int p = 0; p < PARTS; p++) {
        CHECK_EQ(get_number(parts[p]), MAPS);
    }
    roost_free_many(rt, parts, PARTS);
}

/* ---- the end ---- */

ROOST_TASK(used_here);
int used_here(struct roost_task *task)
{
    struct roost_node_info node;
    size_t count;
    ROOST_TRY(roost_nodes(roost_of(task), &node, sizeof node, 1, &count));
    uint64_t used = node.store_bytes_total - node.store_bytes_free;
    return roost_return_value(task, 0, used);
}

TEST(data, nothing_of_all_that_is_left_in_any_store)
{
    uint64_t deadline = nodes_now_ms() + 20000, used = 1;
    for (int node = 1; node <= 3; node++) {
        for (used = 1; used > (128 << 10) && nodes_now_ms() < deadline;) { /* the answers' own slabs */
            roost_ref ref;
            struct roost_task_options only = nodes_only(node);
            OK(roost_call_with(rt, used_here, &only, &ref));
            used = get_number(ref);
            roost_free(rt, ref);
        }
        if (used > (128 << 10)) {
            fprintf(stderr, "node-%d: %llu bytes are in use\n", node, (unsigned long long)used);
        }
    }
    CHECK(used <= (128 << 10));
}
