/* fuzz.h - one target a program: LLVMFuzzerTestOneInput(), driven by standalone.c under ctest, or by libFuzzer */
#ifndef ROOST_TESTS_FUZZ_FUZZ_H
#define ROOST_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns 0, as libFuzzer wants it. Counts the well-formed inputs in fuzz_taken, which standalone.c looks at. */
extern uint64_t fuzz_taken;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition) \
    ((condition) ? (void)0    \
                 : (fprintf(stderr, "%s:%d: FUZZ_CHECK(%s) failed\n", __FILE__, __LINE__, #condition), abort()))

#endif
