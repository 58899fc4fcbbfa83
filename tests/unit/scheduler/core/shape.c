#include "scheduler/core/head_internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static struct id_map shapes;

static struct spec *spec_of(const struct spec_draft *draft)
{
    size_t bytes;
    CHECK_EQ(spec_measure(draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    CHECK(spec != NULL);
    spec_write(draft, spec, bytes);
    return spec;
}

static bool gives_back(const struct kept_spec *kept, const struct spec *spec)
{
    void *written = malloc(spec->bytes);
    kept_spec_write(kept, spec->task, written);
    bool is_same = kept_spec_bytes(kept) == spec->bytes && memcmp(written, spec, spec->bytes) == 0;
    struct spec header = kept_spec_header(kept);
    header.task = spec->task;
    free(written);
    return is_same && memcmp(&header, spec, sizeof header) == 0;
}

/* Whatever differs from call to call: names, wishes, arguments of all kinds. */
static struct spec *random_spec(uint64_t random)
{
    static const char text[] = "some bytes, of which a part goes with each call, so that lengths differ too";
    static const char *const env[] = { "A=1", "BCD=23456", NULL };
    static const char *const functions[] = { "f", "a longer name of a function" };
    roost_in args[70]; /* more words than there are bits in one */
    size_t count = random % 7 == 0 ? 70 : random % 4;
    for (size_t i = 0; i < count; i++) {
        struct object_id id = { hash_mix(random, i), i + 1 };
        args[i] = i % 3 == 2 ? roost_in_bytes(text, (random >> i % 32) % sizeof text) : roost_in_ref(object_ref(id));
    }
    struct spec_draft draft = { .parent = { 1, random >> 8 & 1 },
                                .job = { 1, 1 + (random >> 9 & 1) },
                                .call = random,
                                .function = functions[random >> 10 & 1],
                                .name = text + (random >> 11 & 31),
                                .env = (random >> 16 & 1) != 0 ? env : NULL,
                                .node = { random >> 17 & 1, random >> 17 & 1 },
                                .memory_bytes = random >> 18 & 0xfff,
                                .cpus_hundredths = 1 + (random >> 30 & 0xff),
                                .flags = random >> 38 & SPEC_FLAGS_ALL,
                                .max_retries = random >> 42 & 3,
                                .returns = random >> 44 & 3,
                                .args = args,
                                .args_count = count };
    return spec_of(&draft);
}

TEST(shape, what_is_kept_comes_back_byte_by_byte)
{
    enum { SPECS = 200, STEPS = 4000 };
    static struct spec *specs[SPECS];
    static struct kept_spec *kept[SPECS];
    uint64_t random = 11;
    for (uint64_t step = 0; step < STEPS; step++) {
        random = hash_mix(random, step);
        size_t at = random % SPECS;
        if (kept[at] != NULL) {
            CHECK(gives_back(kept[at], specs[at]));
        }
        kept_spec_free(&shapes, kept[at]);
        free(specs[at]);
        specs[at] = random_spec(hash_mix(random, 1));
        kept[at] = kept_spec_make(&shapes, specs[at]);
        CHECK(gives_back(kept[at], specs[at]));
    }
    for (size_t i = 0; i < SPECS; i++) {
        kept_spec_free(&shapes, kept[i]);
        free(specs[i]);
    }
    CHECK_EQ(shapes.count, 0);
    id_map_fini(&shapes);
}

TEST(shape, calls_of_one_function_share_one)
{
    enum { CALLS = 100 };
    struct kept_spec *kept[CALLS];
    for (uint64_t call = 0; call < CALLS; call++) {
        roost_in in = roost_in_ref(object_ref((struct object_id){ 5, call + 1 }));
        struct spec *spec = spec_of(&(struct spec_draft){
            .job = { 1, 1 }, .call = call, .function = "f", .cpus_hundredths = 100, .args = &in, .args_count = 1 });
        kept[call] = kept_spec_make(&shapes, spec);
        CHECK(gives_back(kept[call], spec));
        CHECK(kept_spec_kind(kept[call], false) == kept_spec_kind(kept[0], false));
        free(spec);
    }
    CHECK_EQ(shapes.count, 1);
    CHECK(id_key_eq(kept_spec_kind(kept[0], false)->function, hash128("f", 1, 0)));
    CHECK(id_key_eq(kept_spec_kind(kept[0], true)->spread, hash128("f", 1, 0)));
    for (size_t i = 0; i < CALLS; i++) { /* the first one goes first: the others need what it was */
        kept_spec_free(&shapes, kept[i]);
    }
    CHECK_EQ(shapes.count, 0);
    id_map_fini(&shapes);
}
