/* input.c - reads nothing but sizes and a few keys; the records themselves are the tasks' to read
 *
 * Failures:   the first that is met is printed, with its path.
 * Invariants: pieces are in the order of the files and of the records in them, and cover each record once. That order
 *             is the order in which equal keys leave the job.
 * Thread:     the driver's.
 */
#include "examples/sort/input.h"

#include "examples/sort/splits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAPS_PER_NODE = 8,
    PARTITIONS_PER_NODE = 16,
    PIECE_BYTES_MAX = 64000000,
    PARTITION_BYTES_MAX = 21000000, /* its records and entries still leave a node's cache some use */
    TASK_BYTES_MIN = 1000000,       /* below this the task itself begins to show */
};

static int complain(const char *path, const char *what)
{
    fprintf(stderr, "sort: cannot sort %s: %s\n", path, what);
    return -1;
}

static int no_memory(void)
{
    fputs("sort: out of memory\n", stderr);
    return -1;
}

/* ---- files ---- */

static int file_open(struct input_file *file, const char *path)
{
    struct stat info;
    char left_over[96];
    file->path = realpath(path, NULL);
    if (file->path == NULL || access(file->path, R_OK) != 0 || stat(file->path, &info) != 0) {
        return complain(path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return complain(path, "it is not a regular file");
    }
    file->size = (uint64_t)info.st_size;
    if (file->size % RECORD_BYTES != 0) {
        snprintf(left_over, sizeof left_over, "its %llu bytes are no whole number of %d-byte records: %u are left over",
                 (unsigned long long)file->size, RECORD_BYTES, (unsigned)(file->size % RECORD_BYTES));
        return complain(path, left_over);
    }
    return 0;
}

int input_open(struct input *input, const char *const *paths, size_t count)
{
    *input = (struct input){ .files = calloc(count, sizeof *input->files), .files_count = count };
    if (input->files == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        if (file_open(&input->files[i], paths[i]) != 0) {
            return -1;
        }
        input->size += input->files[i].size;
    }
    return 0;
}

void input_fini(struct input *input)
{
    for (size_t i = 0; input->files != NULL && i < input->files_count; i++) {
        free(input->files[i].path);
    }
    free(input->files);
    free(input->pieces);
    *input = (struct input){ 0 };
}

/* ---- pieces ---- */

static uint64_t divide_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/* Pieces of a file: as few as keep each within piece_bytes. */
static size_t file_pieces(const struct input_file *file, uint64_t piece_bytes)
{
    return (size_t)divide_up(file->size, piece_bytes);
}

static void file_cut(struct input *input, const struct input_file *file, size_t count)
{
    uint64_t records = file->size / RECORD_BYTES;
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = (uint64_t)((unsigned __int128)records * i / count);
        uint64_t end = (uint64_t)((unsigned __int128)records * (i + 1) / count);
        input->pieces[input->pieces_count++] = (struct input_piece){ file, begin * RECORD_BYTES,
                                                                     (end - begin) * RECORD_BYTES };
    }
}

int input_cut(struct input *input, size_t wanted)
{
    uint64_t records = input->size / RECORD_BYTES;
    uint64_t piece_bytes = records == 0 ? RECORD_BYTES : divide_up(records, wanted) * RECORD_BYTES;
    size_t count = 0;
    for (size_t i = 0; i < input->files_count; i++) {
        count += file_pieces(&input->files[i], piece_bytes);
    }
    input->pieces = calloc(count + 1, sizeof *input->pieces);
    if (input->pieces == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < input->files_count; i++) {
        file_cut(input, &input->files[i], file_pieces(&input->files[i], piece_bytes));
    }
    if (count == 0) { /* no records at all: parts are made nevertheless, by the same way */
        input->pieces[input->pieces_count++] = (struct input_piece){ &input->files[0], 0, 0 };
    }
    return 0;
}

/* At least so many for each node, the same number for each, unless tasks would be too large or too small. */
static size_t tasks_default(uint64_t size, size_t nodes, size_t per_node, uint64_t bytes_max, size_t max)
{
    nodes = nodes == 0 ? 1 : nodes;
    uint64_t wanted = divide_up(divide_up(size, bytes_max), nodes) * nodes;
    uint64_t most = divide_up(size, TASK_BYTES_MIN);
    wanted = wanted < nodes * per_node ? nodes * per_node : wanted;
    wanted = wanted < most ? wanted : most;
    wanted = wanted < max ? wanted : max;
    return wanted == 0 ? 1 : (size_t)wanted;
}

size_t input_maps_default(uint64_t size, size_t nodes)
{
    return tasks_default(size, nodes, MAPS_PER_NODE, PIECE_BYTES_MAX, SIZE_MAX);
}

size_t input_partitions_default(uint64_t size, size_t nodes)
{
    return tasks_default(size, nodes, PARTITIONS_PER_NODE, PARTITION_BYTES_MAX, SPLITS_PARTITIONS_MAX);
}

/* ---- sample ---- */

static int file_sample(const struct input_file *file, size_t wanted, unsigned char *keys_out, size_t *count_out)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int failed = errno;
        if (fd >= 0) {
            close(fd);
        }
        return complain(file->path, strerror(failed));
    }
    bool is_whole = (uint64_t)info.st_size >= file->size;
    void *records = is_whole ? mmap(NULL, file->size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    int failed = errno;
    close(fd);
    if (records == MAP_FAILED) {
        return complain(file->path, is_whole ? strerror(failed) : "it has become shorter");
    }
    madvise(records, file->size, MADV_RANDOM); /* one page for a key, not the pages behind it */
    *count_out = splits_sample(records, file->size / RECORD_BYTES, wanted, keys_out);
    munmap(records, file->size);
    return 0;
}

/* wanted x size / whole, rounded up */
static uint64_t share_of(uint64_t wanted, uint64_t size, uint64_t whole)
{
    return (uint64_t)(((unsigned __int128)wanted * size + whole - 1) / whole);
}

int input_sample(const struct input *input, size_t wanted, unsigned char **keys_out, size_t *count_out)
{
    unsigned char *keys = malloc((wanted + input->files_count) * KEY_BYTES); /* shares are rounded up */
    size_t count = 0;
    if (keys == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < input->files_count; i++) {
        const struct input_file *file = &input->files[i];
        size_t taken = 0;
        size_t share = input->size == 0 ? 0 : (size_t)share_of(wanted, file->size, input->size);
        if (file->size > 0 && file_sample(file, share, keys + count * KEY_BYTES, &taken) != 0) {
            free(keys);
            return -1;
        }
        count += taken;
    }
    *keys_out = keys;
    *count_out = count;
    return 0;
}
