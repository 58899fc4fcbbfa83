/* job.c - writing, checking and reading a job; the hash of its program
 *
 * Owns nothing: what it makes is its caller's.
 *
 * Happy path: the driver's library writes it -> it travels -> each node checks its own copy once -> the accessors read
 *             it.
 * Failures:   too many strings or bytes -> ROOST_ETOOBIG before memory is taken; bytes of a peer that are no job -> a
 *             text that says what of it; no program there -> what the file system says.
 * Invariants: a checked job has exactly the strings that it counts, each ended inside it, zeros behind the last.
 * Thread:     any.
 */
#include "common/job.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOB_READ_BYTES = 1 << 20 };

static size_t count_strings(char *const *strings)
{
    size_t count = 0;
    while (strings[count] != NULL) {
        count++;
    }
    return count;
}

static void put(char **to, const char *text)
{
    size_t size = strlen(text) + 1;
    memcpy(*to, text, size);
    *to += size;
}

int job_write(const struct job_draft *draft, struct job_spec **job_out)
{
    const char *prefix = draft->worker_prefix == NULL ? "" : draft->worker_prefix;
    size_t args_count = count_strings(draft->args), env_count = count_strings(draft->env);
    size_t bytes = sizeof(struct job_spec) + strlen(draft->name) + strlen(draft->program) + strlen(prefix) + 3;
    for (size_t i = 0; i < args_count; i++) {
        bytes += strlen(draft->args[i]) + 1;
    }
    for (size_t i = 0; i < env_count; i++) {
        bytes += strlen(draft->env[i]) + 1;
    }
    bytes = align_up(bytes, 8);
    if (bytes > JOB_BYTES_MAX || args_count + env_count > JOB_STRINGS_MAX) {
        return error_set(ROOST_ETOOBIG, "arguments and environment: %zu bytes in %zu strings, at most %d in %d", bytes,
                         args_count + env_count, JOB_BYTES_MAX, JOB_STRINGS_MAX);
    }
    struct job_spec *job = calloc(1, bytes);
    if (job == NULL) {
        return ROOST_ENOMEM;
    }
    *job = (struct job_spec){ JOB_LAYOUT,        (uint32_t)bytes,      draft->program_hash,
                              draft->driver_pid, (uint32_t)args_count, (uint32_t)env_count };
    char *to = (char *)(job + 1);
    put(&to, draft->name);
    put(&to, draft->program);
    put(&to, prefix);
    for (size_t i = 0; i < args_count; i++) {
        put(&to, draft->args[i]);
    }
    for (size_t i = 0; i < env_count; i++) {
        put(&to, draft->env[i]);
    }
    *job_out = job;
    return 0;
}

int job_check(const void *bytes, size_t size)
{
    const struct job_spec *job = bytes;
    if (size < sizeof *job || size > JOB_BYTES_MAX || size % 8 != 0 || job->layout != JOB_LAYOUT ||
        job->bytes != size || job->args_count > JOB_STRINGS_MAX || job->env_count > JOB_STRINGS_MAX - job->args_count) {
        return error_set(ROOST_EINVAL, "job of %zu bytes: size, layout or counts", size);
    }
    const char *at = (const char *)(job + 1), *end = (const char *)bytes + size;
    for (size_t i = 0; i < job_strings_count(job); i++) {
        const char *nul = memchr(at, 0, (size_t)(end - at));
        if (nul == NULL) {
            return error_set(ROOST_EINVAL, "job of %zu bytes: string %zu does not end", size, i);
        }
        if (i == 1 && nul == at) {
            return error_set(ROOST_EINVAL, "job of %zu bytes: it has no program", size);
        }
        at = nul + 1;
    }
    static const char zeros[8];
    return end - at < 8 && memcmp(at, zeros, (size_t)(end - at)) == 0
               ? 0
               : error_set(ROOST_EINVAL, "job of %zu bytes: bytes that nothing names", size);
}

void job_strings(const struct job_spec *job, const char **strings_out)
{
    const char *at = (const char *)(job + 1);
    for (size_t i = 0; i < job_strings_count(job); i++) {
        strings_out[i] = at;
        at += strlen(at) + 1;
    }
}

/* Read, not mapped: a file may be cut short meanwhile. */
static int hash_of(int file, struct id_key *hash_out)
{
    struct hash_stream *stream = hash_stream_begin(0);
    char *bytes = malloc(JOB_READ_BYTES);
    int status = 0;
    if (stream == NULL || bytes == NULL) {
        status = error_set(ROOST_ENOMEM, "%d bytes to read it", JOB_READ_BYTES);
    }
    for (ssize_t size = 1; status == 0 && size != 0;) {
        size = read(file, bytes, JOB_READ_BYTES);
        if (size > 0) {
            hash_stream_add(stream, bytes, (size_t)size);
        } else if (size < 0 && errno != EINTR) {
            status = error_from_errno("reading it");
        }
    }
    if (stream != NULL) {
        struct id_key hash = hash_stream_end(stream);
        *hash_out = status == 0 ? hash : *hash_out;
    }
    free(bytes);
    return status;
}

int job_hash_file(const char *path, struct id_key *hash_out)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would not open otherwise */
    if (file < 0) {
        return error_from_errno("program %s", path);
    }
    struct stat about;
    int status = fstat(file, &about) != 0  ? error_from_errno("reading it")
                 : !S_ISREG(about.st_mode) ? error_set(ROOST_EIO, "not a file")
                                           : hash_of(file, hash_out);
    close(file);
    return status == 0 ? 0 : error_prefix(status, "program %s", path);
}
