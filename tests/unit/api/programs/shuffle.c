/* The shape of a shuffle: one object per map task with a column per partition, reducers gather their column. No ends
 * travel through the driver, and reducers are submitted before the first map has run. */
#include <roost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8 };
struct record {
    unsigned char bytes[100];
};

static size_t part_of(const struct record *r) { return r->bytes[0] * (size_t)PARTS / 256; }
static int by_key(const void *a, const void *b) { return memcmp(a, b, 10); }

ROOST_TASK(map_part);
int map_part(struct roost_task *task)
{
    roost_view in = roost_arg(task, 0);
    const struct record *records = in.data;
    size_t count = in.size / sizeof *records;
    uint64_t ends[PARTS] = { 0 };
    for (size_t i = 0; i < count; i++) {
        ends[part_of(&records[i])]++;
    }
    uint64_t next[PARTS], sum = 0;
    for (size_t p = 0; p < PARTS; p++) {
        next[p] = sum;
        sum += ends[p];
        ends[p] = sum * sizeof *records;
    }
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, in.size, &out));
    struct record *to = out.data;
    for (size_t i = 0; i < count; i++) {
        to[next[part_of(&records[i])]++] = records[i];
    }
    return roost_set_columns(roost_of(task), &out, ends, PARTS);
}

ROOST_TASK(reduce_part);
int reduce_part(struct roost_task *task)
{
    size_t size = 0;
    for (size_t a = 0; a < roost_arg_count(task); a++) {
        size += roost_arg(task, a).size;
    }
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, 0, size, &out));
    char *to = out.data;
    for (size_t a = 0; a < roost_arg_count(task); a++) {
        roost_view piece = roost_arg(task, a);
        memcpy(to, piece.data, piece.size);
        to += piece.size;
    }
    qsort(out.data, size / sizeof(struct record), sizeof(struct record), by_key);
    return 0;
}

static int driver(struct roost *rt, int argc, char **argv)
{
    enum { MAPS = 16 };
    (void)argc, (void)argv;
    roost_ref maps[MAPS], list, parts[PARTS];
    for (int m = 0; m < MAPS; m++) {
        roost_buffer buffer;
        roost_ref input;
        ROOST_CHECK(roost_create(rt, 100000 * sizeof(struct record), &buffer));
        unsigned char *bytes = buffer.data;
        for (size_t i = 0; i < buffer.size; i++) {
            bytes[i] = (unsigned char)rand();
        }
        ROOST_CHECK(roost_seal(rt, &buffer, buffer.size, &input));
        ROOST_CHECK(roost_call(rt, map_part, &maps[m], input));
        roost_free(rt, input);
    }
    ROOST_CHECK(roost_put_refs(rt, maps, MAPS, &list));
    roost_free_many(rt, maps, MAPS); /* the list keeps them */
    for (int p = 0; p < PARTS; p++) {
        ROOST_CHECK(roost_call(rt, reduce_part, &parts[p], roost_in_gather(list, (uint64_t)p)));
    }
    roost_free(rt, list); /* the reducers keep it */
    roost_view views[PARTS];
    ROOST_CHECK(roost_get_many(rt, parts, PARTS, views, 60000));
    for (int p = 0; p < PARTS; p++) {
        printf("part %d: %zu records\n", p, views[p].size / 100);
    }
    roost_release_many(rt, views, PARTS);
    return 0;
}

int main(int argc, char **argv) { return roost_main(argc, argv, driver); }
