/* metg_kernel.h - the work of a task of known length, in arithmetic
 *
 * One iteration is 64 scalar fused multiply-adds: 128 operations, some 2 ns of one core. A translation unit of its own,
 * compiled for AVX2 and FMA whatever the rest is compiled for; without them it must not be called. */
#ifndef ROOST_TESTS_BENCH_METG_KERNEL_H
#define ROOST_TESTS_BENCH_METG_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

bool metg_kernel_is_possible(void);
/* The result is of no interest; it is returned so that the work cannot be dropped. */
double metg_kernel(uint64_t iterations);
/* Floating point operations of one call. */
static inline double metg_kernel_flop(uint64_t iterations) { return 128.0 * (double)iterations + 64; }

#endif
