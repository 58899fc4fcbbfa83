#include "tests/bench/cores.h"
#include "common/error.h"

#include <errno.h>
#include <stdbool.h>

static cpu_set_t remembered;
static bool is_remembered;

void cores_remember(void) { is_remembered = sched_getaffinity(0, sizeof remembered, &remembered) == 0; }

void cores_set(int core, cpu_set_t *set_out)
{
    CPU_ZERO(set_out);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (core < 0 ? !is_remembered || CPU_ISSET(i, &remembered) : i == (size_t)core) {
            CPU_SET(i, set_out);
        }
    }
}

int cores_pin(int core)
{
    cpu_set_t set;
    cores_set(core, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : error_from_errno("pinning to core %d", core);
}
