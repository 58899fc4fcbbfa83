/* A job's spec as bytes, what is refused of it, and the hash of its program. */
#include "common/job.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *args_of_two[] = { "program", "two words", NULL }, *env_of_two[] = { "A=1", "", NULL };
static char *nothing[] = { NULL };

static struct job_draft a_draft(void)
{
    return (struct job_draft){ .name = "wordcount",
                               .program = "/bin/program",
                               .worker_prefix = "valgrind -q",
                               .program_hash = { 1, 2 },
                               .driver_pid = 77,
                               .args = args_of_two,
                               .env = env_of_two };
}

static struct job_spec *write_job(const struct job_draft *draft)
{
    struct job_spec *job = NULL;
    CHECK_EQ(job_write(draft, &job), 0);
    CHECK_EQ(job_check(job, job->bytes), 0);
    return job;
}

TEST(job, is_read_as_it_was_written)
{
    struct job_draft draft = a_draft();
    struct job_spec *job = write_job(&draft);
    CHECK_EQ(job->layout, JOB_LAYOUT);
    CHECK(id_key_eq(job->program_hash, draft.program_hash));
    CHECK_EQ(job->driver_pid, 77);
    CHECK_EQ(job->args_count, 2);
    CHECK_EQ(job->env_count, 2);
    const char *strings[7];
    CHECK_EQ(job_strings_count(job), 7);
    job_strings(job, strings);
    static const char *const wanted[] = {
        "wordcount", "/bin/program", "valgrind -q", "program", "two words", "A=1", ""
    };
    for (size_t i = 0; i < 7; i++) {
        CHECK_TEXT(strings[i], wanted[i]);
    }
    free(job);
}

TEST(job, needs_neither_prefix_nor_arguments_nor_environment)
{
    struct job_draft draft = a_draft();
    draft.worker_prefix = NULL;
    draft.args = draft.env = nothing;
    struct job_spec *job = write_job(&draft);
    const char *strings[3];
    CHECK_EQ(job_strings_count(job), 3);
    job_strings(job, strings);
    CHECK_TEXT(strings[2], "");
    free(job);
}

TEST(job, fits_into_its_limits_and_says_which_it_is_over)
{
    static char *many[JOB_STRINGS_MAX + 2];
    static char large[JOB_BYTES_MAX];
    char *one[] = { large, NULL };
    struct job_draft draft = a_draft();
    struct job_spec *job = NULL;
    for (size_t i = 0; i < JOB_STRINGS_MAX; i++) {
        many[i] = "x";
    }
    draft.args = many;
    draft.env = nothing;
    free(write_job(&draft));
    draft.env = env_of_two;
    CHECK_EQ(job_write(&draft, &job), ROOST_ETOOBIG);
    CHECK(strstr(error_text(), "16386 strings, at most 1048576 in 16384") != NULL);

    draft = a_draft();
    draft.args = one;
    draft.env = nothing;
    size_t rest = sizeof *job + sizeof "wordcount" + sizeof "/bin/program" + sizeof "valgrind -q";
    memset(large, 'x', JOB_BYTES_MAX - rest - 1);
    job = write_job(&draft);
    CHECK_EQ(job->bytes, JOB_BYTES_MAX);
    free(job);
    job = NULL;
    large[JOB_BYTES_MAX - rest - 1] = 'x';
    CHECK_EQ(job_write(&draft, &job), ROOST_ETOOBIG);
    CHECK(job == NULL);
}

static void check_refused(const void *job, size_t size, const char *why)
{
    CHECK_EQ(job_check(job, size), ROOST_EINVAL);
    CHECK(strstr(error_text(), why) != NULL);
}

TEST(job, that_is_cut_short_is_refused)
{
    struct job_draft draft = a_draft();
    struct job_spec *job = write_job(&draft);
    for (size_t less = 0; less < job->bytes; less++) {
        struct job_spec *part = malloc(less < sizeof *part ? sizeof *part : less);
        memcpy(part, job, less < sizeof *part ? sizeof *part : less);
        CHECK_EQ(job_check(part, less), ROOST_EINVAL);
        part->bytes = (uint32_t)less;
        CHECK_EQ(job_check(part, less), ROOST_EINVAL);
        free(part);
    }
    free(job);
}

TEST(job, with_a_head_that_cannot_be_is_refused)
{
    struct job_draft draft = a_draft();
    struct job_spec *job = write_job(&draft);
    size_t size = job->bytes;
    job->layout++;
    check_refused(job, size, "size, layout or counts");
    job->layout--;
    job->args_count = JOB_STRINGS_MAX - 1; /* with the environment too many */
    check_refused(job, size, "size, layout or counts");
    job->args_count = UINT32_MAX;
    check_refused(job, size, "size, layout or counts");
    job->args_count = 2;
    job->env_count = UINT32_MAX;
    check_refused(job, size, "size, layout or counts");
    job->env_count = 2;
    CHECK_EQ(job_check(job, size), 0);
    free(job);
}

TEST(job, whose_strings_are_not_as_counted_is_refused)
{
    struct job_draft draft = a_draft();
    struct job_spec *job = write_job(&draft);
    char *text = (char *)(job + 1), *end = (char *)job + job->bytes;
    size_t size = job->bytes;
    job->args_count = 100;
    check_refused(job, size, "does not end");
    job->args_count = 0;
    job->env_count = 0;
    check_refused(job, size, "bytes that nothing names");
    job->args_count = job->env_count = 2;
    CHECK(end[-1] == '\0' && end[-2] == '\0'); /* the end of "", and at least a byte behind it */
    end[-1] = 'x';
    check_refused(job, size, "bytes that nothing names");
    end[-1] = '\0';
    text[sizeof "wordcount"] = '\0'; /* the program is now "", and one string more than counted */
    check_refused(job, size, "no program");
    free(job);
}

static void make_folder(char path_out[64])
{
    const char *under = getenv("TMPDIR");
    snprintf(path_out, 64, "%.40s/roost-job-XXXXXX", under == NULL ? "/tmp" : under);
    CHECK(mkdtemp(path_out) != NULL);
}

TEST(job, hash_of_a_file_is_the_hash_of_its_bytes)
{
    char folder[64], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/program", folder);
    static const char content[] = "some bytes";
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
    struct id_key hash = { 0, 0 };
    CHECK_EQ(job_hash_file(path, &hash), 0);
    CHECK(id_key_eq(hash, hash128("", 0, 0)));
    file = fopen(path, "w");
    CHECK(file != NULL && fwrite(content, 1, sizeof content, file) == sizeof content && fclose(file) == 0);
    CHECK_EQ(job_hash_file(path, &hash), 0);
    CHECK(id_key_eq(hash, hash128(content, sizeof content, 0)));
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

TEST(job, hash_of_a_large_file_is_the_hash_of_its_bytes)
{
    enum { BYTES = 3 << 20 | 17 };
    char folder[64], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/program", folder);
    unsigned char *content = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fwrite(content, 1, BYTES, file) == BYTES && fclose(file) == 0);
    struct id_key hash = { 0, 0 };
    CHECK_EQ(job_hash_file(path, &hash), 0);
    CHECK(id_key_eq(hash, hash128(content, BYTES, 0)));
    free(content);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

TEST(job, hash_of_what_is_no_file_fails_with_its_path)
{
    char folder[64], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/program", folder);
    struct id_key hash = { 5, 6 };
    CHECK_EQ(job_hash_file(path, &hash), ROOST_EIO);
    CHECK(strstr(error_text(), path) != NULL);
    CHECK_EQ(job_hash_file(folder, &hash), ROOST_EIO);
    CHECK(strstr(error_text(), folder) != NULL);
    CHECK_EQ(mkfifo(path, 0600), 0); /* and nobody writes into it */
    CHECK_EQ(job_hash_file(path, &hash), ROOST_EIO);
    CHECK(strstr(error_text(), "not a file") != NULL);
    CHECK(hash.hi == 5 && hash.lo == 6);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}
