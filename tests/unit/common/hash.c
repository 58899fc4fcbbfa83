/* The hash is part of the wire format: ids that one node computes another computes again. So the numbers are fixed. */
#include "common/hash.h"
#include "tests/lib/test.h"

#include <string.h>

static void check_key(struct id_key key, const char *wanted)
{
    char text[ID_TEXT_BYTES];
    CHECK_TEXT(id_print(key, text), wanted);
}

TEST(hash, of_nothing_and_of_texts_is_what_it_was)
{
    check_key(hash128("", 0, 0), "99aa06d3014798d86001c324468d497f"); /* as xxhsum -H128 prints them */
    check_key(hash128("roost", 5, 0), "287fd15035642d8919d5b8d63e0459e2");
    check_key(hash128("roost", 5, 1), "4d6fbebf785fbb72c635b862143bb4a4");
    CHECK(hash64("", 0, 0) == 0x2d06800538d394c2u); /* as xxhsum -H3 does */
    CHECK(hash64("roost", 5, 0) == 0x1246b4a41170325bu);
    CHECK(hash64("roost", 5, 1) == 0x62826fedf0dc6a4fu);
}

/* xxhash takes another way for each of these lengths, and one of them depends on the processor. */
TEST(hash, is_the_same_on_every_way_through_xxhash)
{
    static const size_t sizes[] = { 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 1025, 65536 };
    static unsigned char bytes[65536];
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 131 + (i >> 8));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct id_key key = hash128(bytes, sizes[i], 7);
        all = hash_mix(hash_mix(hash_mix(all, key.hi), key.lo), hash64(bytes, sizes[i], 7));
    }
    CHECK(all == 0x24692ceb503addf4u);
}

TEST(hash, mixing_depends_on_order_and_is_what_it_was)
{
    CHECK(hash_mix(0, 0) == 0xe220a8397b1dcdafu); /* the first number of splitmix64 with seed 0 */
    CHECK(hash_mix(hash_mix(0, 1), 2) == 0xbcd9dbb49673066bu);
    CHECK(hash_mix(hash_mix(0, 2), 1) != hash_mix(hash_mix(0, 1), 2));
}

TEST(hash, results_of_a_task_have_ids_of_their_own)
{
    struct task_id task = { 1, 2 };
    check_key(object_id_key(result_id(task, 0)), "2e99d627a680a1c9c04c58067b9365e9");
    check_key(object_id_key(result_id(task, 1)), "aeb30c8f63c3b8b012c0529140c819de");
    CHECK(!object_id_eq(result_id((struct task_id){ 2, 1 }, 0), result_id(task, 0)));
}

TEST(hash, a_whole_object_is_its_own_part_and_every_other_part_has_its_own_id)
{
    roost_ref ref = { { 3, 4 }, 0, ROOST_WHOLE };
    CHECK(object_id_eq(part_id(ref), (struct object_id){ 3, 4 }));
    struct object_id column = part_id(roost_column(ref, 0)), slice = part_id(roost_slice(ref, 0, 8));
    check_key(object_id_key(column), "3dbc614e1583ab75b407dcfa8c7bd794");
    check_key(object_id_key(slice), "1af2ac49330caad28b94049dc2c6bb35");
    CHECK(!object_id_eq(part_id(roost_column(ref, 1)), column));
    CHECK(!object_id_eq(part_id(roost_slice(ref, 8, 8)), slice));
    CHECK(!object_id_eq(part_id(roost_slice(ref, 0, 16)), slice));
}
