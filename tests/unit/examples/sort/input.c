/* input.c - how an input is checked, cut and sampled */
#include "examples/sort/input.h"
#include "tests/lib/test.h"

#include <unistd.h>

enum { NAME_BYTES = 32 };

/* A file of `records` records, each of whose bytes is `byte`. The name is to be unlinked. */
static void file_make(char name[NAME_BYTES], size_t records, char byte)
{
    strcpy(name, "sort-input-XXXXXX");
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    for (size_t i = 0; i < records; i++) {
        char record[RECORD_BYTES];
        memset(record, byte, sizeof record);
        CHECK_EQ(write(fd, record, sizeof record), RECORD_BYTES);
    }
    close(fd);
}

TEST(input, a_gigabyte_on_three_nodes_is_24_maps_and_48_partitions)
{
    CHECK_EQ(input_maps_default(1000000000, 3), 24);
    CHECK_EQ(input_partitions_default(1000000000, 3), 48);
}

TEST(input, each_node_has_as_many_maps_of_at_most_64_megabytes)
{
    CHECK_EQ(input_maps_default(4000000000, 3), 63); /* 62.5 rounded up to a multiple of 3 */
    CHECK_EQ(input_partitions_default(4000000000, 3), 192);
    CHECK_EQ(input_maps_default(1000000000, 1), 16);
    CHECK_EQ(input_partitions_default(1000000000, 1), 48);
}

TEST(input, small_inputs_are_few_tasks)
{
    CHECK_EQ(input_maps_default(0, 3), 1);
    CHECK_EQ(input_partitions_default(0, 3), 1);
    CHECK_EQ(input_maps_default(100, 3), 1);
    CHECK_EQ(input_maps_default(10000000, 3), 10);
    CHECK_EQ(input_partitions_default(10000000, 3), 10);
    CHECK_EQ(input_maps_default(10000000, 0), 8); /* no node yet: as for one */
}

TEST(input, partitions_end_where_a_partition_number_does)
{
    CHECK_EQ(input_partitions_default(UINT64_C(4000000000000), 100), 65536);
}

TEST(input, pieces_cover_every_record_once_in_order)
{
    static const size_t records[] = { 7, 0, 1, 30 };
    char names[4][NAME_BYTES];
    const char *paths[4];
    for (size_t i = 0; i < 4; i++) {
        file_make(names[i], records[i], 'x');
        paths[i] = names[i];
    }
    for (size_t wanted = 1; wanted <= 50; wanted++) {
        struct input input;
        CHECK_EQ(input_open(&input, paths, 4), 0);
        CHECK_EQ(input.size, 3800);
        CHECK_EQ(input_cut(&input, wanted), 0);
        CHECK(input.pieces_count <= wanted + 4);
        size_t piece = 0;
        for (size_t i = 0; i < 4; i++) {
            for (uint64_t at = 0; at < input.files[i].size; at += input.pieces[piece++].size) {
                CHECK(piece < input.pieces_count);
                CHECK(input.pieces[piece].file == &input.files[i]);
                CHECK_EQ(input.pieces[piece].offset, at);
                CHECK(input.pieces[piece].size > 0);
                CHECK_EQ(input.pieces[piece].size % RECORD_BYTES, 0);
            }
        }
        CHECK_EQ(piece, input.pieces_count);
        input_fini(&input);
    }
    for (size_t i = 0; i < 4; i++) {
        unlink(names[i]);
    }
}

TEST(input, an_empty_input_is_one_empty_piece)
{
    char name[NAME_BYTES];
    file_make(name, 0, 'x');
    const char *path = name;
    struct input input;
    CHECK_EQ(input_open(&input, &path, 1), 0);
    CHECK_EQ(input_cut(&input, 8), 0);
    CHECK_EQ(input.pieces_count, 1);
    CHECK_EQ(input.pieces[0].size, 0);
    input_fini(&input);
    unlink(name);
}

TEST(input, every_file_gives_its_share_of_the_sample)
{
    char names[2][NAME_BYTES];
    const char *paths[] = { names[0], names[1] };
    file_make(names[0], 300, 'a');
    file_make(names[1], 100, 'b');
    struct input input;
    unsigned char *keys;
    size_t count, of_first = 0;
    CHECK_EQ(input_open(&input, paths, 2), 0);
    CHECK_EQ(input_sample(&input, 40, &keys, &count), 0);
    CHECK_EQ(count, 40);
    for (size_t i = 0; i < count; i++) {
        of_first += keys[i * KEY_BYTES] == 'a';
    }
    CHECK_EQ(of_first, 30);
    free(keys);
    CHECK_EQ(input_sample(&input, 100000, &keys, &count), 0);
    CHECK_EQ(count, 400); /* all there are */
    free(keys);
    CHECK_EQ(truncate(names[1], 0), 0);
    CHECK_EQ(input_sample(&input, 40, &keys, &count), -1); /* and not a SIGBUS */
    input_fini(&input);
    unlink(names[0]);
    unlink(names[1]);
}
