/* sort_kernels.c - CPU seconds of each phase of the sort job's data path, in one process and one thread
 *
 *     sort_kernels [--maps N] [--partitions N] [--pages small|huge] [--read mmap|populate] FILE DIRECTORY
 *
 * FILE holds 100-byte records and should be in the page cache. The sorted partitions are written to DIRECTORY as
 * part-0000 and so on, for another program to check; they are the caller's to remove. The rate of memcpy in the same
 * run says how fast the machine was meanwhile. Page faults of mapping the input count in the map; those of making the
 * column objects, which in a store are there before, are reported apart. */
#include "examples/sort/gather.h"
#include "examples/sort/radix.h"
#include "examples/sort/scatter.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLE_KEYS = 10000, MEMCPY_BYTES = 256 << 20 };

struct bench {
    const char *file, *directory;
    size_t maps, partitions;
    bool huge, populate;

    int fd;
    size_t size;
    unsigned char *columns; /* all column objects, one after the other: as many bytes as the file */
    uint64_t *ends;         /* [map][partition] */
    unsigned char *splits;
};

struct clocks {
    double wall, cpu;
};

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static struct clocks clocks_now(void)
{
    return (struct clocks){ seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID) };
}

static void report(const char *phase, struct clocks since)
{
    struct clocks now = clocks_now();
    printf("%-34s %7.3f CPU-s  %7.3f s\n", phase, now.cpu - since.cpu, now.wall - since.wall);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void check(int status, const struct sort_fault *fault)
{
    if (status != 0) {
        fprintf(stderr, "sort_kernels: %s\n", fault->text);
        exit(1);
    }
}

/* Pages that are there. */
static void *pages(size_t size, bool huge)
{
    void *base = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        die("mmap");
    }
    madvise(base, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(base, 1, size);
    return base;
}

static void measure_memcpy(const struct bench *bench)
{
    unsigned char *from = pages(MEMCPY_BYTES, bench->huge), *to = pages(MEMCPY_BYTES, bench->huge);
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        struct clocks since = clocks_now();
        memcpy(to, from, MEMCPY_BYTES);
        __asm__ volatile("" ::"r"(to) : "memory");
        double took = clocks_now().wall - since.wall;
        best = took < best ? took : best;
    }
    printf("%-34s %7.2f GB/s\n", "memcpy", MEMCPY_BYTES / best * 1e-9);
    munmap(from, MEMCPY_BYTES + 1);
    munmap(to, MEMCPY_BYTES + 1);
}

/* The range of records of one map, in bytes. */
static size_t map_begin(const struct bench *bench, size_t map)
{
    return bench->size / RECORD_BYTES * map / bench->maps * RECORD_BYTES;
}

static void run_sample(struct bench *bench)
{
    struct clocks since = clocks_now();
    struct sort_fault fault;
    unsigned char *keys = malloc(SAMPLE_KEYS * KEY_BYTES);
    const void *input = mmap(NULL, bench->size, PROT_READ, MAP_SHARED, bench->fd, 0);
    if (keys == NULL || input == MAP_FAILED) {
        die(bench->file);
    }
    size_t count = splits_sample(input, bench->size / RECORD_BYTES, SAMPLE_KEYS, keys);
    check(splits_choose(keys, count, bench->partitions, bench->splits, &fault), &fault);
    munmap((void *)(uintptr_t)input, bench->size);
    free(keys);
    report("sample, splits", since);
}

static void run_map(struct bench *bench, size_t map)
{
    struct sort_fault fault;
    struct splits splits;
    size_t begin = map_begin(bench, map), end = map_begin(bench, map + 1);
    size_t page = begin & ~(size_t)4095;
    if (end == begin) {
        memset(bench->ends + map * bench->partitions, 0, bench->partitions * sizeof *bench->ends);
        return;
    }
    unsigned char *input = mmap(NULL, end - page, PROT_READ, MAP_SHARED | (bench->populate ? MAP_POPULATE : 0),
                                bench->fd, (off_t)page);
    if (input == MAP_FAILED) {
        die(bench->file);
    }
    check(splits_init(&splits, bench->splits, bench->partitions, &fault), &fault);
    struct sort_piece records = { input + (begin - page), end - begin };
    check(scatter(&splits, records, bench->columns + begin, bench->ends + map * bench->partitions, &fault), &fault);
    splits_fini(&splits);
    munmap(input, end - page);
}

static void run_maps(struct bench *bench)
{
    struct clocks since = clocks_now();
    for (size_t map = 0; map < bench->maps; map++) {
        run_map(bench, map);
    }
    report("map: mmap, histogram, scatter", since);
}

/* The column `partition` of each map's object. */
static void partition_pieces(const struct bench *bench, size_t partition, struct sort_piece *pieces_out)
{
    for (size_t map = 0; map < bench->maps; map++) {
        const uint64_t *ends = bench->ends + map * bench->partitions;
        uint64_t begin = partition == 0 ? 0 : ends[partition - 1];
        pieces_out[map] = (struct sort_piece){ bench->columns + map_begin(bench, map) + begin,
                                               ends[partition] - begin };
    }
}

static void run_reduces(struct bench *bench)
{
    struct sort_fault fault;
    struct radix_memory memory = { NULL, 0 };
    struct sort_piece *pieces = calloc(bench->maps, sizeof *pieces);
    double sort_cpu = 0, sort_wall = 0;
    size_t largest = 0;
    struct clocks since = clocks_now();
    for (size_t p = 0; p < bench->partitions && pieces != NULL; p++) {
        const struct sort_entry *sorted;
        size_t count;
        char path[4096];
        partition_pieces(bench, p, pieces);
        struct clocks begin = clocks_now();
        check(radix_sort(pieces, bench->maps, &memory, &sorted, &count, &fault), &fault);
        struct clocks end = clocks_now();
        sort_cpu += end.cpu - begin.cpu;
        sort_wall += end.wall - begin.wall;
        largest = count > largest ? count : largest;

        snprintf(path, sizeof path, "%s/part-%04zu", bench->directory, p);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0) {
            die(path);
        }
        check(gather_write(sorted, count, fd, path, &fault), &fault);
        close(fd);
    }
    since.cpu += sort_cpu;
    since.wall += sort_wall;
    printf("%-34s %7.3f CPU-s  %7.3f s\n", "reduce: entries, radix", sort_cpu, sort_wall);
    report("gather, write", since);
    printf("%-34s %7.2f times the average\n", "largest partition",
           (double)largest * (double)bench->partitions / ((double)bench->size / RECORD_BYTES));
    radix_memory_release(&memory);
    free(pieces);
}

static void usage(void)
{
    fputs(
        "usage: sort_kernels [--maps N] [--partitions N] [--pages small|huge] [--read mmap|populate] FILE DIRECTORY\n",
        stderr);
    exit(2);
}

static void arguments_parse(struct bench *bench, int argc, char **argv)
{
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        const char *value = argv[at + 1];
        if (strcmp(argv[at], "--maps") == 0) {
            bench->maps = strtoul(value, NULL, 10);
        } else if (strcmp(argv[at], "--partitions") == 0) {
            bench->partitions = strtoul(value, NULL, 10);
        } else if (strcmp(argv[at], "--pages") == 0) {
            bench->huge = strcmp(value, "huge") == 0;
        } else if (strcmp(argv[at], "--read") == 0) {
            bench->populate = strcmp(value, "populate") == 0;
        } else {
            usage();
        }
    }
    if (argc - at != 2 || bench->maps == 0 || bench->maps > 100000 || bench->partitions == 0 ||
        bench->partitions > SPLITS_PARTITIONS_MAX) {
        usage();
    }
    bench->file = argv[at];
    bench->directory = argv[at + 1];
}

int main(int argc, char **argv)
{
    struct bench bench = { .maps = 24, .partitions = 48, .huge = true, .populate = true };
    arguments_parse(&bench, argc, argv);
    struct stat about;
    bench.fd = open(bench.file, O_RDONLY | O_CLOEXEC);
    if (bench.fd < 0 || fstat(bench.fd, &about) != 0) {
        die(bench.file);
    }
    bench.size = (size_t)about.st_size;
    if (bench.size == 0 || bench.size % RECORD_BYTES != 0) {
        fprintf(stderr, "sort_kernels: %s: %zu bytes are no records\n", bench.file, bench.size);
        return 1;
    }
    bench.ends = calloc(bench.maps * bench.partitions, sizeof *bench.ends);
    bench.splits = malloc(bench.partitions * KEY_BYTES);
    if (bench.ends == NULL || bench.splits == NULL) {
        die("malloc");
    }
    printf("%zu bytes, %zu maps, %zu partitions, %s pages\n", bench.size, bench.maps, bench.partitions,
           bench.huge ? "huge" : "small");
    measure_memcpy(&bench);
    struct clocks since = clocks_now();
    bench.columns = pages(bench.size, bench.huge);
    report("(first touch of the columns)", since);
    run_sample(&bench);
    run_maps(&bench);
    run_reduces(&bench);
    munmap(bench.columns, bench.size + 1);
    free(bench.ends);
    free(bench.splits);
    close(bench.fd);
    return 0;
}
