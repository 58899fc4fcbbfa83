/* metg_kernel.c - see the header
 *
 * 16 registers of four doubles, A = A * A + A in each of them: the values overflow soon, which costs nothing. At the
 * end all 64 are multiplied together. */
#include "tests/bench/metg_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { REGISTERS = 16 };

bool metg_kernel_is_possible(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

double metg_kernel(uint64_t iterations)
{
    __m256d values[REGISTERS];
    for (int i = 0; i < REGISTERS; i++) {
        values[i] = _mm256_set_pd(1, 2, 3, 4);
    }
    for (uint64_t n = 0; n < iterations; n++) {
#pragma GCC unroll 16
        for (int i = 0; i < REGISTERS; i++) {
            values[i] = _mm256_fmadd_pd(values[i], values[i], values[i]);
        }
    }
    double product = 1, lanes[4];
    for (int i = 0; i < REGISTERS; i++) {
        _mm256_storeu_pd(lanes, values[i]);
        product *= lanes[0] * lanes[1] * lanes[2] * lanes[3];
    }
    return product;
}
#else
bool metg_kernel_is_possible(void) { return false; }

double metg_kernel(uint64_t iterations) { return (double)iterations; }
#endif
