/* tasks.c - where the kernels meet Roost
 *
 * Happy path: map: file mapped -> scattered straight into result 0 -> facts. Reduce: pieces looked at -> entries sorted
 *             -> part written -> facts.
 * Failures:   the kernel's words, or the system's with the path, become the task's; no file of a failed attempt stays.
 * Invariants: both may run any number of times, on any node, at once even: a map only reads files, and a reducer writes
 *             to a name that its attempt has for itself.
 * Thread:     the worker's; the memory to sort in is kept from one task to the next, one for each thread.
 */
#include "examples/sort/tasks.h"

#include "examples/sort/output.h"
#include "examples/sort/radix.h"
#include "examples/sort/scatter.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local struct radix_memory sort_memory;

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static struct task_facts facts_begin(struct roost_task *task)
{
    return (struct task_facts){
        .node = roost_here(roost_of(task)), .pid = getpid(), .begin = seconds_now(), .cpu_seconds = cpu_seconds()
    };
}

static void facts_end(struct task_facts *facts)
{
    facts->end = seconds_now();
    facts->cpu_seconds = cpu_seconds() - facts->cpu_seconds;
}

/* ---- map ---- */

/* A stretch of a file in memory. The mapping begins with a page, the stretch anywhere in it. */
struct stretch {
    void *base;
    size_t mapped;
    struct sort_piece piece;
};

static int stretch_fail(const char *path, const char *what, struct sort_fault *fault)
{
    return sort_fail(fault, -EIO, "cannot read %s: %s", path, what);
}

static int stretch_map_fd(int fd, uint64_t offset, size_t size, const char *path, struct stretch *out,
                          struct sort_fault *fault)
{
    struct stat info;
    uint64_t page = offset / (uint64_t)sysconf(_SC_PAGESIZE) * (uint64_t)sysconf(_SC_PAGESIZE);
    size_t mapped = size + (size_t)(offset - page);
    if (fstat(fd, &info) != 0) {
        return stretch_fail(path, strerror(errno), fault);
    }
    if ((uint64_t)info.st_size < offset + size) { /* reading what is not there would be a SIGBUS */
        return stretch_fail(path, "it has become shorter since the job began", fault);
    }
    void *base = mmap(NULL, mapped, PROT_READ, MAP_SHARED, fd, (off_t)page);
    if (base == MAP_FAILED) {
        return stretch_fail(path, strerror(errno), fault);
    }
    madvise(base, mapped, MADV_SEQUENTIAL);
    *out = (struct stretch){ base, mapped, { (const char *)base + (offset - page), size } };
    return 0;
}

static int stretch_open(const char *path, uint64_t offset, size_t size, struct stretch *out, struct sort_fault *fault)
{
    *out = (struct stretch){ NULL, 0, { NULL, 0 } };
    if (size == 0) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return stretch_fail(path, strerror(errno), fault);
    }
    int status = stretch_map_fd(fd, offset, size, path, out, fault);
    close(fd);
    return status;
}

static void stretch_close(struct stretch *stretch)
{
    if (stretch->base != NULL) {
        munmap(stretch->base, stretch->mapped);
    }
}

/* Makes result 0: the records of `piece`, partition by partition. ends[p] becomes the end of column p. */
static int columns_return(struct roost_task *task, const struct splits *splits, struct sort_piece piece, uint64_t *ends)
{
    struct sort_fault fault;
    roost_buffer records;
    ROOST_TRY(roost_return_create(task, MAP_RECORDS, piece.size, &records));
    if (scatter(splits, piece, records.data, ends, &fault) != 0) {
        return roost_fail(task, 0, "%s", fault.text);
    }
    return roost_set_columns(roost_of(task), &records, ends, splits->partitions);
}

/* Makes result 1, once the ends are known. */
static int map_facts_return(struct roost_task *task, struct task_facts *facts, const uint64_t *ends, size_t partitions)
{
    roost_buffer out;
    ROOST_TRY(roost_return_create(task, MAP_FACTS, sizeof *facts + partitions * sizeof *ends, &out));
    uint64_t *sizes = (uint64_t *)(void *)((char *)out.data + sizeof *facts);
    for (size_t p = 0; p < partitions; p++) {
        sizes[p] = ends[p] - (p == 0 ? 0 : ends[p - 1]);
    }
    facts_end(facts);
    memcpy(out.data, facts, sizeof *facts);
    return 0;
}

static int piece_map(struct roost_task *task, const struct splits *splits, struct sort_piece piece,
                     struct task_facts *facts)
{
    uint64_t *ends = roost_scratch(task, splits->partitions * sizeof *ends);
    if (ends == NULL) {
        return ROOST_ENOMEM;
    }
    ROOST_TRY(columns_return(task, splits, piece, ends));
    facts->records = piece.size / RECORD_BYTES;
    for (size_t i = 0; i < facts->records && roost_arg_uint(task, MAP_WANTS_SUM) != 0; i++) {
        sum_add_record(&facts->sum, (const char *)piece.data + i * RECORD_BYTES);
    }
    return map_facts_return(task, facts, ends, splits->partitions);
}

ROOST_TASK(sort_map);
int sort_map(struct roost_task *task)
{
    struct task_facts facts = facts_begin(task);
    struct sort_fault fault;
    struct splits splits;
    struct stretch stretch;
    roost_view keys = roost_arg(task, MAP_SPLITS);
    if (stretch_open(roost_arg_text(task, MAP_PATH), roost_arg_uint(task, MAP_OFFSET), roost_arg_uint(task, MAP_SIZE),
                     &stretch, &fault) != 0) {
        return roost_fail(task, 0, "%s", fault.text);
    }
    int status = splits_init(&splits, keys.data, keys.size / KEY_BYTES + 1, &fault);
    if (status != 0) {
        stretch_close(&stretch);
        return roost_fail(task, 0, "%s", fault.text);
    }
    status = piece_map(task, &splits, stretch.piece, &facts);
    splits_fini(&splits);
    stretch_close(&stretch);
    return status;
}

/* ---- reduce ---- */

/* All pieces of the partition, in the order of the maps. NULL when there is no memory for them. */
static struct sort_piece *pieces_look_at(struct roost_task *task, size_t count)
{
    struct sort_piece *pieces = roost_scratch(task, (count + 1) * sizeof *pieces);
    for (size_t i = 0; pieces != NULL && i < count; i++) {
        roost_view view = roost_arg(task, REDUCE_PIECES + i);
        pieces[i] = (struct sort_piece){ view.data, view.size };
    }
    return pieces;
}

ROOST_TASK(sort_reduce);
int sort_reduce(struct roost_task *task)
{
    struct reduce_facts facts = { .task = facts_begin(task) };
    struct sort_fault fault;
    struct part_seconds seconds;
    const struct sort_entry *entries;
    size_t count, pieces_count = roost_arg_count(task) - REDUCE_PIECES;
    unsigned partition = (unsigned)roost_arg_uint(task, REDUCE_PARTITION);

    const struct sort_piece *pieces = pieces_look_at(task, pieces_count);
    if (pieces == NULL) {
        return ROOST_ENOMEM;
    }
    double looked = seconds_now();
    if (radix_sort(pieces, pieces_count, &sort_memory, &entries, &count, &fault) != 0) {
        return roost_fail(task, 0, "%s", fault.text);
    }
    double sorted = seconds_now();
    if (part_write(roost_arg_text(task, REDUCE_FOLDER), partition, roost_attempt(task), entries, count, &seconds,
                   &fault) != 0) {
        return roost_fail(task, 0, "%s", fault.text);
    }
    for (size_t i = 0; i < count && roost_arg_uint(task, REDUCE_WANTS_SUM) != 0; i++) {
        sum_add_record(&facts.task.sum, entry_record(entries[i]));
    }
    facts.task.records = count;
    facts.gather = looked - facts.task.begin;
    facts.sort = sorted - looked;
    facts.write = seconds.write;
    facts.sync = seconds.sync;
    facts_end(&facts.task);
    return roost_return_value(task, 0, facts);
}
