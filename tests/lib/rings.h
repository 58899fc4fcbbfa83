/* rings.h - what the tests and the bench of rings share */
#ifndef ROOST_TESTS_LIB_RINGS_H
#define ROOST_TESTS_LIB_RINGS_H

#include "tests/lib/test.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* splitmix64, Steele et al. 2014; a number below `end`. */
static inline uint64_t rings_random(uint64_t *state, uint64_t end)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % end;
}

/* Zeroed memory that a fork()ed child shares. */
static inline void *rings_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* fork(), with a child that does not outlive a failed test. */
static inline pid_t rings_fork(void)
{
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
    }
    return child;
}

/* Waits for it. */
static inline bool rings_child_succeeded(pid_t child)
{
    int status = -1;
    return waitpid(child, &status, 0) == child && status == 0;
}

#endif
