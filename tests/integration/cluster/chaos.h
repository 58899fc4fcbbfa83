/* chaos.h - what chaos.c and the drivers that it kills share */
#ifndef ROOST_TESTS_INTEGRATION_CHAOS_H
#define ROOST_TESTS_INTEGRATION_CHAOS_H

#include <roost.h>
#include <stdint.h>

enum { ROUND_MS = 100000 };

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* chaos_calls.c: `chaos calls SEED` */
int chaos_calls(struct roost *rt, int argc, char **argv);

#endif
