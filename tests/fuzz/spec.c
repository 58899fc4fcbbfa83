/* spec.c - any bytes as a task: refused with a text, or every accessor stays inside them
 *
 * The id of a spec is a hash of it, which mutations would never hit. So the input is tried as it is, and once more with
 * the id that it should have. */
#include "common/spec.h"
#include "common/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

uint64_t fuzz_taken;

static volatile uint64_t seen; /* what was read must not be optimised away */

static void look_at(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        seen += bytes[i];
    }
}

static void read_all(const struct spec *spec)
{
    seen += strlen(spec_function(spec)) + strlen(spec_name(spec));
    const char *text = spec_string(spec, spec->env);
    for (uint32_t i = 0; i < spec->env_count; i++, text += strlen(text) + 1) {
        FUZZ_CHECK(strchr(text, '=') > text);
    }
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        roost_ref ref;
        if (arg->kind == ROOST_IN_TEXT || arg->kind == ROOST_IN_BYTES) {
            look_at((const char *)spec + arg->as.offset, arg->size);
        }
        FUZZ_CHECK(!spec_arg_is_input(arg) || spec_arg_ref(arg, &ref));
    }
}

static bool is_taken(const struct spec *spec, size_t size)
{
    int status = spec_check(spec, size);
    FUZZ_CHECK(status == 0 || (status == ROOST_EINVAL && error_text()[0] != '\0'));
    if (status == 0) {
        FUZZ_CHECK(spec->bytes == size && task_id_eq(spec_task_id(spec), spec->task));
        read_all(spec);
    }
    return status == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spec *spec = malloc(size == 0 ? 1 : size); /* of its own: aligned */
    FUZZ_CHECK(spec != NULL);
    memcpy(spec, data, size);
    bool taken = is_taken(spec, size);
    if (!taken && size >= sizeof *spec) {
        spec->bytes = (uint32_t)size;
        if (spec->env.offset >= sizeof *spec && spec->env.offset <= size) {
            spec->task = spec_task_id(spec);
            taken = is_taken(spec, size);
        }
    }
    fuzz_taken += taken;
    free(spec);
    return 0;
}
