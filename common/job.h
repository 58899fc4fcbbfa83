/* job.h - what a job is, so that any node can start its workers: program, arguments, environment
 *
 * One run of bytes, written by the driver's library, carried unchanged by agents and head. The program travels as its
 * path and the hash of its file; a node whose file differs refuses. */
#ifndef ROOST_COMMON_JOB_H
#define ROOST_COMMON_JOB_H

#include "common/id.h"

#include <stddef.h>

enum { JOB_LAYOUT = 1, JOB_BYTES_MAX = 1 << 20, JOB_STRINGS_MAX = 16384 };

struct job_spec {
    uint32_t layout, bytes;     /* of the whole */
    struct id_key program_hash; /* hash128 of the file */
    int64_t driver_pid;
    uint32_t args_count, env_count;
    /* then, each NUL-ended, one after the other: the name, the program's path, the worker prefix (or ""), the
     * arguments, the environment; zeros up to a multiple of 8 */
};

struct job_draft {
    const char *name, *program, *worker_prefix; /* prefix: NULL is "" */
    struct id_key program_hash;
    int64_t driver_pid;
    char *const *args; /* NULL-ended */
    char *const *env;  /* NULL-ended */
};

/* malloc()ed bytes of a job, the caller's. ROOST_ETOOBIG names the limit, ROOST_ENOMEM. */
int job_write(const struct job_draft *draft, struct job_spec **job_out);

/* ROOST_EINVAL with a text when these are not the bytes of a job. Aligned to 8, private to the caller. */
int job_check(const void *bytes, size_t size);

/* The strings of a checked job, in order: 0 name, 1 program, 2 prefix, then arguments, then environment.
 * `strings_out` takes job_strings_count() pointers into the job. */
static inline size_t job_strings_count(const struct job_spec *job)
{
    return 3 + (size_t)job->args_count + job->env_count;
}
void job_strings(const struct job_spec *job, const char **strings_out);

/* hash128 of a file's content. ROOST_EIO with the path: it cannot be read, or is no file. */
int job_hash_file(const char *path, struct id_key *hash_out);

#endif
