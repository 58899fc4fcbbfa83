/* decode.c - any bytes at the door: refused with a text, or decoded into what can be sent again and reads the same */
#include "proto/decode.h"
#include "common/error.h"
#include "proto/encode.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

uint64_t fuzz_taken;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proto_arena first, second, scratch;
    static struct proto_buffer once, twice;
    if (scratch.bytes_max == 0) {
        proto_arena_init(&first, 32 << 20, NULL);
        proto_arena_init(&second, 32 << 20, NULL);
        proto_arena_init(&scratch, 32 << 20, NULL);
    }
    proto_arena_clear(&first);
    proto_arena_clear(&second);
    once.size = twice.size = 0;

    struct proto_frame frame, again;
    int status = proto_decode(&first, data, size, &frame);
    if (status != 0) {
        FUZZ_CHECK(status < 0 && error_text()[0] != '\0');
        return 0;
    }
    FUZZ_CHECK(proto_encode_frame(&scratch, &frame, &once) == 0);
    FUZZ_CHECK(proto_decode(&second, once.bytes, once.size, &again) == 0);
    FUZZ_CHECK(proto_encode_frame(&scratch, &again, &twice) == 0);
    FUZZ_CHECK(once.size == twice.size && memcmp(once.bytes, twice.bytes, once.size) == 0);
    fuzz_taken++;
    return 0;
}
