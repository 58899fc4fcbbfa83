/* copy.c - copying into the store at memory speed
 *
 * Owns the choice between memcpy and non-temporal stores.
 *
 * 1 GiB into shared memory, both sides resident, one thread, best of five: pieces of 1 MiB 51 ms against 107 for
 * memcpy, 64 MiB 48 against 104, 1 GiB in one call 49 against 80 (there memcpy streams too, with narrower stores);
 * pieces of 64 KiB stay with memcpy, whose lines a reader on this machine may still find in a cache. */
#include "objectstore/copy.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

enum { LINE = 64 };

/* `to` is aligned to a line, `size` is a multiple of four lines in all three. */
static void stream_sse2(char *to, const char *from, size_t size)
{
    for (size_t i = 0; i < size; i += 16) {
        _mm_stream_si128((__m128i *)(void *)(to + i), _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
    }
}

__attribute__((__target__("avx2"))) static void stream_avx2(char *to, const char *from, size_t size)
{
    for (size_t i = 0; i < size; i += 2 * LINE) {
        const __m256i *in = (const __m256i *)(const void *)(from + i);
        __m256i *out = (__m256i *)(void *)(to + i);
        __m256i a = _mm256_loadu_si256(in), b = _mm256_loadu_si256(in + 1);
        __m256i c = _mm256_loadu_si256(in + 2), d = _mm256_loadu_si256(in + 3);
        _mm256_stream_si256(out, a);
        _mm256_stream_si256(out + 1, b);
        _mm256_stream_si256(out + 2, c);
        _mm256_stream_si256(out + 3, d);
    }
}

__attribute__((__target__("avx512f"))) static void stream_avx512(char *to, const char *from, size_t size)
{
    for (size_t i = 0; i < size; i += 4 * LINE) {
        const char *in = from + i;
        char *out = to + i;
        __m512i a = _mm512_loadu_si512(in), b = _mm512_loadu_si512(in + LINE);
        __m512i c = _mm512_loadu_si512(in + 2 * LINE), d = _mm512_loadu_si512(in + 3 * LINE);
        _mm512_stream_si512((void *)out, a);
        _mm512_stream_si512((void *)(out + LINE), b);
        _mm512_stream_si512((void *)(out + 2 * LINE), c);
        _mm512_stream_si512((void *)(out + 3 * LINE), d);
    }
}

static void stream(char *to, const char *from, size_t size)
{
    if (__builtin_cpu_supports("avx512f")) {
        stream_avx512(to, from, size);
    } else if (__builtin_cpu_supports("avx2")) {
        stream_avx2(to, from, size);
    } else {
        stream_sse2(to, from, size);
    }
    _mm_sfence(); /* streaming stores are not ordered by the release store that will publish the object */
}

void store_copy(void *to, const void *from, size_t size)
{
    if (size < STORE_COPY_STREAM_BYTES) {
        memcpy(to, from, size);
        return;
    }
    char *out = to;
    const char *in = from;
    size_t head = (size_t)(-(uintptr_t)out % LINE), body = (size - head) / (4 * LINE) * (4 * LINE);
    memcpy(out, in, head);
    stream(out + head, in + head, body);
    memcpy(out + head + body, in + head + body, size - head - body);
}

#else

void store_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

#endif
