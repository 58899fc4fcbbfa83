/* job.c - any bytes as a job: refused with a text, or all of its strings lie inside them */
#include "common/job.h"
#include "common/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

uint64_t fuzz_taken;

static void read_all(const struct job_spec *job, size_t size)
{
    size_t count = job_strings_count(job);
    const char **strings = malloc(count * sizeof *strings);
    FUZZ_CHECK(strings != NULL);
    job_strings(job, strings);
    const char *at = (const char *)(job + 1), *end = (const char *)job + size;
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(strings[i] == at);
        at += strlen(at) + 1;
        FUZZ_CHECK(at <= end);
    }
    FUZZ_CHECK(end - at < 8 && strings[1][0] != '\0');
    free(strings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_spec *job = malloc(size < sizeof *job ? sizeof *job : size); /* of its own: aligned */
    FUZZ_CHECK(job != NULL);
    memcpy(job, data, size);
    int status = 1;
    for (int try = 0; try < 2 && status != 0; try++) { /* as it is, and with the size that it has */
        if (try == 1) {
            job->bytes = (uint32_t)size;
        }
        status = job_check(job, size);
        FUZZ_CHECK(status == 0 || (status == ROOST_EINVAL && error_text()[0] != '\0'));
    }
    if (status == 0) {
        read_all(job, size);
        fuzz_taken++;
    }
    free(job);
    return 0;
}
