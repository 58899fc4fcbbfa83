#include "proto/arena.h"
#include "tests/lib/test.h"

#include <stdint.h>
#include <string.h>

TEST(arena, pieces_are_aligned_and_apart)
{
    struct proto_arena arena;
    proto_arena_init(&arena, 1 << 20, NULL);
    unsigned char *last = NULL;
    for (size_t size = 0; size < 500; size++) {
        unsigned char *piece = proto_arena_take(&arena, size);
        CHECK(piece != NULL && (uintptr_t)piece % 16 == 0);
        memset(piece, (int)size, size);
        CHECK(last == NULL || last[size - 2] == (unsigned char)(size - 1));
        last = size == 0 ? NULL : piece;
    }
    proto_arena_fini(&arena);
}

TEST(arena, beyond_the_cap_there_is_nothing_until_it_is_cleared)
{
    struct proto_arena arena;
    proto_arena_init(&arena, 1 << 20, NULL);
    size_t taken = 0;
    while (proto_arena_take(&arena, 1000) != NULL) {
        taken += 1000;
    }
    CHECK(taken > 900000 && arena.bytes <= 1 << 20);
    CHECK(arena.is_full);
    CHECK(proto_arena_take(&arena, SIZE_MAX) == NULL);
    CHECK(proto_arena_take_zeroed(&arena, SIZE_MAX / 2, 3) == NULL);
    proto_arena_clear(&arena);
    CHECK(!arena.is_full && arena.bytes <= 64 << 10);
    CHECK(proto_arena_take(&arena, 900000) != NULL);
    proto_arena_fini(&arena);
}
