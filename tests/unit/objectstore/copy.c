#include "objectstore/copy.h"
#include "tests/lib/test.h"

#include <stdbool.h>
#include <string.h>

enum { ROOM = (2 << 20) + 4096 };

static unsigned char from[ROOM], to[ROOM];

static void copies_exactly(size_t to_at, size_t from_at, size_t size)
{
    memset(to, 0xee, sizeof to);
    store_copy(to + to_at, from + from_at, size);
    CHECK(memcmp(to + to_at, from + from_at, size) == 0);
    for (size_t i = 0; i < 256; i++) {
        CHECK(to_at < i + 1 || to[to_at - i - 1] == 0xee);
        CHECK(to[to_at + size + i] == 0xee);
    }
}

TEST(copy, copies_what_was_asked_for_and_not_a_byte_beside_it)
{
    for (size_t i = 0; i < ROOM; i++) {
        from[i] = (unsigned char)(i * 7 + i / 251);
    }
    static const size_t offsets[] = { 0, 1, 63, 64, 257 };
    static const size_t sizes[] = {
        0, 1, 1000, STORE_COPY_STREAM_BYTES - 1, STORE_COPY_STREAM_BYTES, STORE_COPY_STREAM_BYTES + 1, 1500000, 1500255
    };
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                copies_exactly(offsets[i], offsets[j], sizes[k]);
            }
        }
    }
}
