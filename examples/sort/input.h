/* input.h - the files to sort: checked, sampled, and cut into the pieces that map tasks read */
#ifndef ROOST_EXAMPLES_SORT_INPUT_H
#define ROOST_EXAMPLES_SORT_INPUT_H

#include "examples/sort/record.h"

struct input_file {
    char *path; /* absolute: a task's working directory is another one */
    uint64_t size;
};

/* A stretch of a file, a whole number of records. */
struct input_piece {
    const struct input_file *file;
    uint64_t offset, size;
};

/* All zero is empty. */
struct input {
    struct input_file *files;
    size_t files_count;
    uint64_t size; /* of all files */
    struct input_piece *pieces;
    size_t pieces_count;
};

/* All of these print what is wrong, with the path, and return -1. input_fini() is owed in any case.
 *
 * Each file is there, is a regular file that may be read, and holds whole records. */
int input_open(struct input *input, const char *const *paths, size_t count);

/* Cuts the files into about `wanted` pieces of about one size; at least one piece, which may be empty. */
int input_cut(struct input *input, size_t wanted);

/* About `wanted` keys from all files, as splits_sample() takes them; 10 bytes each, *keys_out is the caller's to
 * free. Touches one page for each key. */
int input_sample(const struct input *input, size_t wanted, unsigned char **keys_out, size_t *count_out);

void input_fini(struct input *input);

/* How many pieces and partitions suit an input of so many bytes on so many nodes: enough of them that every node is
 * busy to the end, and of a size at which the cost of a task does not show; never 0. */
size_t input_maps_default(uint64_t size, size_t nodes);
size_t input_partitions_default(uint64_t size, size_t nodes);

#endif
