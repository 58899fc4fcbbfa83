#include "common/spec.h"
#include "common/bytes.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static const roost_ref a_ref = { { 11, 12 }, 5, 6 };

static struct spec_draft plain(const roost_in *args, size_t count)
{
    return (struct spec_draft){ .parent = { 1, 2 },
                                .job = { 3, 4 },
                                .call = 9,
                                .function = "sum",
                                .cpus_hundredths = 100,
                                .returns = 1,
                                .args = args,
                                .args_count = count };
}

/* Written and found good. */
static struct spec *write_spec(const struct spec_draft *draft)
{
    size_t bytes = 0;
    CHECK_EQ(spec_measure(draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    memset(spec, 0xa5, bytes); /* nothing is left to what was there before */
    spec_write(draft, spec, bytes);
    CHECK_EQ(spec->bytes, bytes);
    CHECK_EQ(spec_check(spec, bytes), 0);
    return spec;
}

static void check_refused(const void *bytes, size_t size, const char *why)
{
    CHECK_EQ(spec_check(bytes, size), ROOST_EINVAL);
    CHECK(strstr(error_text(), why) != NULL);
}

static struct task_id id_of(const struct spec_draft *draft)
{
    struct spec *spec = write_spec(draft);
    struct task_id id = spec->task;
    free(spec);
    return id;
}

/* ------------------------------------------------------------------ there and back */

TEST(spec, every_kind_of_argument_is_read_as_it_was_written)
{
    const roost_ref group[] = { { { 21, 22 }, 0, ROOST_WHOLE }, { { 31, 32 }, 7, 8 } };
    const roost_in args[] = { roost_in_int(-5),           roost_in_uint(UINT64_MAX), roost_in_real(-0.5),
                              roost_in_text("two words"), roost_in_bytes("a\0b", 3), roost_in_ref(a_ref),
                              roost_in_handle(a_ref),     roost_in_refs(group, 2),   roost_in_gather(group[0], 3),
                              roost_in_text(""),          roost_in_bytes(NULL, 0),   roost_in_refs(NULL, 0) };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    struct spec *spec = write_spec(&draft);
    const struct spec_arg *arg = spec_args(spec);
    CHECK_EQ(spec->args_count, ROOST_COUNT_OF(args)); /* one group became two, one none */
    static const roost_kind kinds[] = { ROOST_IN_INT,   ROOST_IN_UINT,   ROOST_IN_REAL,   ROOST_IN_TEXT,
                                        ROOST_IN_BYTES, ROOST_IN_REF,    ROOST_IN_HANDLE, ROOST_IN_REF,
                                        ROOST_IN_REF,   ROOST_IN_GATHER, ROOST_IN_TEXT,   ROOST_IN_BYTES };
    for (size_t i = 0; i < ROOST_COUNT_OF(kinds); i++) {
        CHECK_EQ(arg[i].kind, kinds[i]);
    }
    CHECK_EQ(arg[0].as.i, -5);
    CHECK(arg[1].as.u == UINT64_MAX);
    CHECK(arg[2].as.r == -0.5);
    CHECK_EQ(arg[3].size, 9);
    CHECK_TEXT((const char *)spec + arg[3].as.offset, "two words");
    CHECK_EQ(arg[4].size, 3);
    CHECK(memcmp((const char *)spec + arg[4].as.offset, "a\0b", 3) == 0);
    CHECK(memcmp(&arg[5].as.ref, &a_ref, sizeof a_ref) == 0);
    CHECK(memcmp(&arg[6].as.ref, &a_ref, sizeof a_ref) == 0);
    CHECK(memcmp(&arg[7].as.ref, &group[0], sizeof a_ref) == 0);
    CHECK(memcmp(&arg[8].as.ref, &group[1], sizeof a_ref) == 0);
    CHECK(arg[9].as.ref.id.hi == 21 && arg[9].as.ref.offset == 3 && arg[9].as.ref.size == ROOST_COLUMN);
    CHECK_TEXT((const char *)spec + arg[10].as.offset, "");
    CHECK_EQ(arg[11].size, 0);
    free(spec);
}

TEST(spec, refs_and_inputs_are_told_apart)
{
    const roost_in args[] = { roost_in_ref(a_ref), roost_in_handle(a_ref), roost_in_gather(a_ref, 0), roost_in_int(1) };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    struct spec *spec = write_spec(&draft);
    static const bool is_ref[] = { true, true, true, false }, is_input[] = { true, false, true, false };
    for (size_t i = 0; i < ROOST_COUNT_OF(args); i++) {
        roost_ref ref = { { 0, 0 }, 0, 0 };
        CHECK_EQ(spec_arg_ref(&spec_args(spec)[i], &ref), is_ref[i]);
        CHECK_EQ(ref.id.hi, is_ref[i] ? 11 : 0);
        CHECK_EQ(spec_arg_is_input(&spec_args(spec)[i]), is_input[i]);
    }
    free(spec);
}

TEST(spec, options_and_names_are_read_as_they_were_written)
{
    const char *const env[] = { "A=1", "B=", NULL };
    struct spec_draft draft = plain(NULL, 0);
    draft.name = "for people";
    draft.env = env;
    draft.node = (struct node_id){ 5, 6 };
    draft.memory_bytes = 1000;
    draft.cpus_hundredths = 250;
    draft.flags = SPEC_SPREAD | SPEC_UNHELD;
    draft.returns = ROOST_RETURNS_MAX;
    draft.max_retries = 4;
    struct spec *spec = write_spec(&draft);
    CHECK_EQ(spec->layout, SPEC_LAYOUT);
    CHECK(task_id_eq(spec->parent, draft.parent) && job_id_eq(spec->job, draft.job));
    CHECK_EQ(spec->call, 9);
    CHECK(node_id_eq(spec->node, draft.node));
    CHECK_EQ(spec->memory_bytes, 1000);
    CHECK_EQ(spec->cpus_hundredths, 250);
    CHECK_EQ(spec->flags, SPEC_SPREAD | SPEC_UNHELD);
    CHECK_EQ(spec->returns, ROOST_RETURNS_MAX);
    CHECK_EQ(spec->max_retries, 4);
    CHECK_EQ(spec->env_count, 2);
    CHECK_EQ(spec->env.bytes, sizeof "A=1" + sizeof "B=");
    CHECK(memcmp(spec_string(spec, spec->env), "A=1\0B=\0", 8) == 0);
    CHECK_TEXT(spec_function(spec), "sum");
    CHECK_TEXT(spec_name(spec), "for people");
    free(spec);
}

TEST(spec, people_see_the_function_when_the_call_has_no_name)
{
    struct spec_draft draft = plain(NULL, 0);
    struct spec *spec = write_spec(&draft);
    CHECK_EQ(spec->name.bytes, 0);
    CHECK_TEXT(spec_name(spec), "sum");
    free(spec);
}

TEST(spec, lies_in_the_order_that_the_header_draws)
{
    const char *const env[] = { "A=1", NULL };
    const roost_in args[] = { roost_in_text("12345678"), roost_in_int(1), roost_in_bytes("x", 1) };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    draft.name = "n";
    draft.env = env;
    struct spec *spec = write_spec(&draft);
    uint64_t end = sizeof *spec + 3 * sizeof(struct spec_arg);
    CHECK_EQ(spec->function.offset, end);
    CHECK_EQ(spec_args(spec)[0].as.offset, end += 8); /* "sum" and its NUL, padded */
    CHECK_EQ(spec_args(spec)[2].as.offset, end += 16);
    CHECK_EQ(spec->env.offset, end += 8);
    CHECK_EQ(spec->name.offset, end += 8);
    CHECK_EQ(spec->bytes, end += 8);
    free(spec);
}

TEST(spec, the_same_call_is_the_same_bytes)
{
    const roost_in args[] = { roost_in_int(1), roost_in_text("t"), roost_in_ref(a_ref) };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    struct spec *one = write_spec(&draft), *two = write_spec(&draft);
    CHECK_EQ(one->bytes, two->bytes);
    CHECK(memcmp(one, two, one->bytes) == 0);
    free(one);
    free(two);
}

/* ------------------------------------------------------------------ what a caller may not say */

static void check_says(const struct spec_draft *draft, int status, const char *text)
{
    size_t bytes = 77;
    CHECK_EQ(spec_measure(draft, &bytes), status);
    CHECK_TEXT(error_text(), text);
    CHECK_EQ(bytes, 77);
}

static void check_arg_says(roost_in in, int status, const char *text)
{
    const roost_in args[] = { roost_in_int(1), in };
    struct spec_draft draft = plain(args, 2);
    check_says(&draft, status, text);
}

TEST(spec, an_argument_that_cannot_be_is_named)
{
    roost_in odd = roost_in_int(1), actor = roost_in_int(1), list = roost_in_gather(a_ref, 0);
    const roost_ref group[] = { a_ref, { { 0, 0 }, 0, ROOST_WHOLE } }, nothing = group[1];
    odd.kind = (roost_kind)99;
    actor.kind = ROOST_IN_ACTOR;
    list.as.ref.size = 10;
    check_arg_says(odd, ROOST_EINVAL, "argument 1: kind 99 is unknown");
    check_arg_says(actor, ROOST_EINVAL, "argument 1: this version has no actors");
    check_arg_says(roost_in_text(NULL), ROOST_EINVAL, "argument 1: the text is NULL");
    check_arg_says(roost_in_bytes(NULL, 3), ROOST_EINVAL, "argument 1: 3 bytes at NULL");
    check_arg_says(roost_in_refs(NULL, 3), ROOST_EINVAL, "argument 1: 3 refs at NULL");
    check_arg_says(roost_in_refs(group, 2), ROOST_EINVAL, "argument 1: ref 1 of it names nothing");
    check_arg_says(roost_in_ref(nothing), ROOST_EINVAL, "argument 1: the ref names nothing");
    check_arg_says(roost_in_handle(nothing), ROOST_EINVAL, "argument 1: the ref names nothing");
    check_arg_says(roost_in_gather(nothing, 0), ROOST_EINVAL, "argument 1: the ref names nothing");
    check_arg_says(list, ROOST_EINVAL, "argument 1: a gather takes a whole list and a column below 1048576");
    check_arg_says(roost_in_gather(a_ref, ROOST_COLUMNS_MAX), ROOST_EINVAL,
                   "argument 1: a gather takes a whole list and a column below 1048576");
}

TEST(spec, a_call_may_have_so_many_arguments_and_no_more)
{
    static roost_ref group[ROOST_ARGS_MAX];
    for (size_t i = 0; i < ROOST_ARGS_MAX; i++) {
        group[i] = a_ref;
    }
    const roost_in args[] = { roost_in_refs(group, ROOST_ARGS_MAX), roost_in_int(1) };
    struct spec_draft draft = plain(args, 1);
    free(write_spec(&draft));
    draft.args_count = 2;
    check_says(&draft, ROOST_ETOOBIG, "argument 1 brings the call over 65536 arguments (ROOST_ARGS_MAX)");
}

TEST(spec, texts_and_bytes_share_one_limit)
{
    static char text[ROOST_INLINE_BYTES_MAX];
    memset(text, 'x', sizeof text - 1);
    roost_in args[] = { roost_in_text(text), roost_in_bytes("1", 1), roost_in_bytes("", 0) };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    free(write_spec(&draft));
    args[2] = roost_in_bytes("2", 1);
    static const char too_many[] = "argument 2 brings the call over 65536 inline bytes (ROOST_INLINE_BYTES_MAX): "
                                   "put it into an object and pass its ref";
    check_says(&draft, ROOST_ETOOBIG, too_many);
    args[2] = roost_in_bytes(text, SIZE_MAX); /* does not wrap around */
    check_says(&draft, ROOST_ETOOBIG, too_many);
}

TEST(spec, options_that_cannot_be_are_refused_with_their_limit)
{
    struct spec_draft draft = plain(NULL, 0);
    draft.returns = ROOST_RETURNS_MAX + 1;
    check_says(&draft, ROOST_ETOOBIG, "returns: 4097, at most 4096 (ROOST_RETURNS_MAX)");
    draft = plain(NULL, 0);
    draft.cpus_hundredths = 0;
    check_says(&draft, ROOST_EINVAL, "0 hundredths of a CPU, 0 retries, flags 0x0: at least 1, at least 0, of 0xf");
    draft = plain(NULL, 0);
    draft.max_retries = -1;
    CHECK_EQ(spec_measure(&draft, &(size_t){ 0 }), ROOST_EINVAL);
    draft = plain(NULL, 0);
    draft.flags = SPEC_FLAGS_ALL + 1;
    CHECK_EQ(spec_measure(&draft, &(size_t){ 0 }), ROOST_EINVAL);
}

TEST(spec, names_are_as_long_as_names_may_be)
{
    char name[ROOST_NAME_BYTES_MAX + 2] = "";
    memset(name, 'n', ROOST_NAME_BYTES_MAX);
    struct spec_draft draft = plain(NULL, 0);
    draft.function = draft.name = name;
    free(write_spec(&draft));
    name[ROOST_NAME_BYTES_MAX] = 'n';
    draft.function = "f";
    check_says(&draft, ROOST_ETOOBIG, "name: 128 bytes, at most 127 (ROOST_NAME_BYTES_MAX)");
    draft.function = name;
    draft.name = NULL;
    check_says(&draft, ROOST_ETOOBIG, "function: 128 bytes, at most 127 (ROOST_NAME_BYTES_MAX)");
    draft.function = "";
    check_says(&draft, ROOST_EINVAL, "function: without a name");
    draft.function = NULL;
    check_says(&draft, ROOST_EINVAL, "function: without a name");
}

TEST(spec, environments_are_pairs_and_have_a_limit)
{
    const char *no_equals[] = { "A=1", "PATH", NULL }, *no_name[] = { "=1", NULL };
    static const char *many[SPEC_ENV_MAX + 2];
    static char large[ROOST_INLINE_BYTES_MAX + 1] = "A=";
    struct spec_draft draft = plain(NULL, 0);
    draft.env = no_equals;
    check_says(&draft, ROOST_EINVAL, "env: \"PATH\" is not NAME=VALUE");
    draft.env = no_name;
    check_says(&draft, ROOST_EINVAL, "env: \"=1\" is not NAME=VALUE");
    for (size_t i = 0; i < SPEC_ENV_MAX; i++) {
        many[i] = "A=1";
    }
    draft.env = many;
    free(write_spec(&draft));
    many[SPEC_ENV_MAX] = "A=1";
    check_says(&draft, ROOST_ETOOBIG, "env: more than 1024 variables or 65536 bytes");
    const char *one[] = { large, NULL };
    memset(large + 2, 'x', ROOST_INLINE_BYTES_MAX - 3);
    draft.env = one;
    free(write_spec(&draft));
    large[ROOST_INLINE_BYTES_MAX - 1] = 'x';
    check_says(&draft, ROOST_ETOOBIG, "env: more than 1024 variables or 65536 bytes");
}

/* ------------------------------------------------------------------ what a peer may not send */

static struct spec *rich_spec(void)
{
    static const char *const env[] = { "A=1", "BC=", NULL };
    static const roost_in args[] = { { ROOST_IN_INT, 0, { 7 } },
                                     { ROOST_IN_TEXT, 0, { .p = "text" } },
                                     { ROOST_IN_BYTES, 3, { .p = "\1\2\3" } },
                                     { ROOST_IN_REF, 0, { .ref = { { 11, 12 }, 5, 6 } } },
                                     { ROOST_IN_GATHER, 0, { .ref = { { 11, 12 }, 5, ROOST_COLUMN } } } };
    struct spec_draft draft = plain(args, ROOST_COUNT_OF(args));
    draft.name = "people";
    draft.env = env;
    return write_spec(&draft);
}

/* Whatever is no option is covered by the id or by the form: one bit changes it, and the spec is refused. */
TEST(spec, no_bit_of_what_the_task_is_can_change_unseen)
{
    struct spec *spec = rich_spec();
    unsigned char *bytes = (unsigned char *)spec;
    size_t size = spec->bytes;
    for (size_t bit = 0; bit < size * 8; bit++) {
        size_t byte = bit / 8;
        bool is_option = (byte >= offsetof(struct spec, job) && byte < offsetof(struct spec, call)) ||
                         (byte >= offsetof(struct spec, node) && byte < offsetof(struct spec, args_count)) ||
                         (byte >= spec->env.offset && byte < spec->env.offset + spec->env.bytes) ||
                         (byte >= spec->name.offset && byte < spec->name.offset + spec->name.bytes);
        if (!is_option) {
            bytes[byte] ^= (unsigned char)(1u << bit % 8);
            CHECK_EQ(spec_check(bytes, size), ROOST_EINVAL);
            bytes[byte] ^= (unsigned char)(1u << bit % 8);
        }
    }
    CHECK_EQ(spec_check(bytes, size), 0);
    free(spec);
}

TEST(spec, what_is_cut_short_or_too_long_is_refused)
{
    struct spec *spec = rich_spec();
    size_t size = spec->bytes;
    for (size_t less = 0; less < size; less += 8) {
        void *part = malloc(less + 8); /* of its own, for the address sanitizer */
        memcpy(part, spec, less);
        CHECK_EQ(spec_check(part, less), ROOST_EINVAL);
        if (less >= sizeof *spec) { /* with a size that agrees, too */
            ((struct spec *)part)->bytes = (uint32_t)less;
            CHECK_EQ(spec_check(part, less), ROOST_EINVAL);
        }
        free(part);
    }
    struct spec *longer = calloc(1, size + 8);
    memcpy(longer, spec, size);
    longer->bytes = (uint32_t)size + 8;
    check_refused(longer, size + 8, "bytes that nothing names");
    free(longer);
    free(spec);
}

/* `change` breaks one field of a good spec; its id is made right again, so that only the form can tell. */
static void check_form(void (*change)(struct spec *spec), const char *why)
{
    struct spec *spec = rich_spec();
    size_t size = spec->bytes;
    change(spec);
    if (spec->env.offset >= sizeof *spec && spec->env.offset <= size) {
        spec->task = spec_task_id(spec);
    }
    check_refused(spec, size, why);
    free(spec);
}

static struct spec_arg *arg_of(struct spec *spec, size_t index)
{
    return (struct spec_arg *)(void *)(spec + 1) + index;
}

static void other_layout(struct spec *spec) { spec->layout++; }
static void reserved(struct spec *spec) { spec->reserved = 1; }
static void many_args(struct spec *spec) { spec->args_count = ROOST_ARGS_MAX + 1; }
static void endless_args(struct spec *spec) { spec->args_count = ROOST_ARGS_MAX; }
static void many_returns(struct spec *spec) { spec->returns = ROOST_RETURNS_MAX + 1; }
static void odd_flag(struct spec *spec) { spec->flags = SPEC_FLAGS_ALL + 1; }
static void no_cpu(struct spec *spec) { spec->cpus_hundredths = 0; }
static void fewer_than_no_retries(struct spec *spec) { spec->max_retries = -1; }
static void no_function(struct spec *spec) { spec->function.bytes = 0; }
static void long_function(struct spec *spec) { spec->function.bytes = ROOST_NAME_BYTES_MAX + 1; }
static void long_name(struct spec *spec) { spec->name.bytes = UINT32_MAX; }
static void function_behind_the_end(struct spec *spec) { spec->function.offset = UINT32_MAX - 7; }
static void function_in_the_head(struct spec *spec) { spec->function.offset = 0; }
static void name_over_function(struct spec *spec) { spec->name = spec->function; }
static void name_cut(struct spec *spec) { spec->name.bytes--; }
static void nul_in_name(struct spec *spec) { ((char *)spec)[spec->name.offset + 1] = '\0'; }
static void nul_in_function(struct spec *spec) { ((char *)spec)[spec->function.offset + 1] = '\0'; }
static void one_variable_more(struct spec *spec) { spec->env_count++; }
static void many_variables(struct spec *spec) { spec->env_count = SPEC_ENV_MAX + 1; }
static void no_variables(struct spec *spec) { spec->env_count = 0; }
static void variable_without_equals(struct spec *spec) { ((char *)spec)[spec->env.offset + 1] = 'x'; }
static void variable_without_name(struct spec *spec) { ((char *)spec)[spec->env.offset] = '='; }
static void dirty_padding(struct spec *spec) { ((char *)spec)[spec->name.offset + spec->name.bytes + 1] = 1; }
static void arg_unknown(struct spec *spec) { arg_of(spec, 0)->kind = 99; }
static void arg_of_none(struct spec *spec) { arg_of(spec, 0)->kind = 0; }
static void arg_refs(struct spec *spec) { arg_of(spec, 3)->kind = ROOST_IN_REFS; }
static void arg_actor(struct spec *spec) { arg_of(spec, 3)->kind = ROOST_IN_ACTOR; }
static void arg_reserved(struct spec *spec) { arg_of(spec, 0)->reserved = 1; }
static void int_with_size(struct spec *spec) { arg_of(spec, 0)->size = 8; }
static void int_with_more(struct spec *spec) { arg_of(spec, 0)->as.ref.size = 1; }
static void text_with_more(struct spec *spec) { arg_of(spec, 1)->as.ref.offset = 1; }
static void bytes_with_more(struct spec *spec) { arg_of(spec, 2)->as.ref.id.lo = 1; }
static void nul_in_text(struct spec *spec) { ((char *)spec)[arg_of(spec, 1)->as.offset + 1] = '\0'; }
static void text_longer(struct spec *spec) { arg_of(spec, 1)->size += 8; }
static void text_over_function(struct spec *spec) { arg_of(spec, 1)->as.offset = spec->function.offset; }
static void bytes_over_text(struct spec *spec) { arg_of(spec, 2)->as.offset = arg_of(spec, 1)->as.offset; }
static void bytes_far_away(struct spec *spec) { arg_of(spec, 2)->as.offset = UINT64_MAX - 7; }
static void bytes_endless(struct spec *spec) { arg_of(spec, 2)->size = UINT64_MAX - 7; }
static void ref_to_nothing(struct spec *spec) { arg_of(spec, 3)->as.ref.id.hi = arg_of(spec, 3)->as.ref.id.lo = 0; }
static void gather_of_all(struct spec *spec) { arg_of(spec, 4)->as.ref.size = ROOST_WHOLE; }
static void gather_of_no_column(struct spec *spec) { arg_of(spec, 4)->as.ref.offset = ROOST_COLUMNS_MAX; }

TEST(spec, each_lie_about_the_form_is_refused)
{
    check_form(other_layout, "size or layout");
    check_form(reserved, "size or layout");
    static void (*const counts[])(struct spec *) = { many_args, many_returns, odd_flag, no_cpu, fewer_than_no_retries };
    static void (*const lengths[])(struct spec *) = { no_function, long_function, long_name };
    static void (*const functions[])(struct spec *) = { endless_args, function_behind_the_end, function_in_the_head,
                                                        nul_in_function };
    static void (*const rests[])(struct spec *) = { name_over_function,      nul_in_name,           one_variable_more,
                                                    many_variables,          no_variables,          dirty_padding,
                                                    variable_without_equals, variable_without_name, name_cut };
    static void (*const args[])(struct spec *) = {
        arg_unknown,     arg_of_none,    arg_refs,      arg_actor,      arg_reserved,       int_with_size,
        int_with_more,   text_with_more, nul_in_text,   text_longer,    text_over_function, bytes_with_more,
        bytes_over_text, bytes_far_away, bytes_endless, ref_to_nothing, gather_of_all,      gather_of_no_column
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(counts); i++) {
        check_form(counts[i], "a count, a flag or an option");
    }
    for (size_t i = 0; i < ROOST_COUNT_OF(lengths); i++) {
        check_form(lengths[i], "the length of a name");
    }
    for (size_t i = 0; i < ROOST_COUNT_OF(functions); i++) {
        check_form(functions[i], "the function");
    }
    for (size_t i = 0; i < ROOST_COUNT_OF(rests); i++) {
        check_form(rests[i], "the environment or the name");
    }
    for (size_t i = 0; i < ROOST_COUNT_OF(args); i++) {
        check_form(args[i], "an argument");
    }
}

TEST(spec, more_inline_bytes_than_a_call_may_have_are_refused)
{
    static char half[ROOST_INLINE_BYTES_MAX / 2];
    const roost_in args[] = { roost_in_bytes(half, sizeof half), roost_in_bytes(half, sizeof half) };
    struct spec_draft draft = plain(args, 2);
    struct spec *spec = write_spec(&draft);
    size_t size = spec->bytes + (size_t)8;
    unsigned char *more = calloc(1, size); /* the last argument has one byte more, and so all that follows moves */
    size_t cut = spec->env.offset;
    memcpy(more, spec, cut);
    memcpy(more + cut + 8, (unsigned char *)spec + cut, spec->bytes - cut);
    struct spec *large = (struct spec *)(void *)more;
    large->bytes = (uint32_t)size;
    large->env.offset += 8;
    large->name.offset += 8;
    arg_of(large, 1)->size += 8;
    large->task = spec_task_id(large);
    check_refused(large, size, "an argument");
    free(large);
    free(spec);
}

TEST(spec, an_id_that_is_not_the_hash_of_the_content_is_refused)
{
    struct spec *spec = rich_spec();
    spec->task.lo ^= 1;
    check_refused(spec, spec->bytes, "its id is not the hash of its content");
    free(spec);
}

/* ------------------------------------------------------------------ the id */

TEST(spec, another_parent_call_function_or_argument_is_another_task)
{
    const roost_in args[] = { roost_in_int(1), roost_in_text("t"), roost_in_bytes("b", 1), roost_in_ref(a_ref) };
    struct spec_draft draft = plain(args, 4), other = draft;
    struct task_id id = id_of(&draft);
    other.parent.lo++;
    CHECK(!task_id_eq(id_of(&other), id));
    other = draft;
    other.call++;
    CHECK(!task_id_eq(id_of(&other), id));
    other = draft;
    other.function = "sun";
    CHECK(!task_id_eq(id_of(&other), id));
    other = draft;
    other.args_count = 3;
    CHECK(!task_id_eq(id_of(&other), id));
    roost_ref slice = a_ref;
    slice.size++;
    const roost_in changes[] = { roost_in_uint(1), roost_in_text("u"), roost_in_bytes("c", 1), roost_in_ref(slice) };
    for (size_t i = 0; i < 4; i++) {
        roost_in changed[4];
        memcpy(changed, args, sizeof changed);
        changed[i] = changes[i];
        other = plain(changed, 4);
        CHECK(!task_id_eq(id_of(&other), id));
    }
    const roost_in swapped[] = { args[1], args[0], args[2], args[3] };
    other = plain(swapped, 4);
    CHECK(!task_id_eq(id_of(&other), id));
}

TEST(spec, other_options_are_the_same_task)
{
    const roost_in args[] = { roost_in_int(1), roost_in_text("t") };
    const char *const env[] = { "A=1", NULL };
    struct spec_draft draft = plain(args, 2), other = draft;
    other.job = (struct job_id){ 8, 8 }; /* which the parent stands for */
    other.name = "another name";
    other.env = env;
    other.node = (struct node_id){ 5, 6 };
    other.memory_bytes = 1;
    other.cpus_hundredths = 1;
    other.flags = SPEC_FLAGS_ALL;
    other.returns = 2;
    other.max_retries = 1;
    CHECK(task_id_eq(id_of(&other), id_of(&draft)));
}

TEST(spec, the_id_is_part_of_the_protocol)
{
    const roost_in args[] = { roost_in_int(1), roost_in_text("t") };
    struct spec_draft draft = plain(args, 2);
    char text[ID_TEXT_BYTES];
    CHECK_TEXT(task_id_print(id_of(&draft), text), "2a1ab2cb4171f3a50a2a2007ec90da4b");
}
