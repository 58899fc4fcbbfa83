/* thread_hooks.h - where tests take control of what threads do to each other
 *
 * Lock-free code names its steps: ROOST_YIELD_POINT() stands before each access to memory that others write. It is
 * empty, and the system calls below are themselves, except in tests that compile the file again with ROOST_THREAD_HOOKS
 * naming a header with their own (tests/lib/fibers.h: seeded interleavings, virtual time). */
#ifndef ROOST_COMMON_THREAD_HOOKS_H
#define ROOST_COMMON_THREAD_HOOKS_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef ROOST_THREAD_HOOKS
#include ROOST_THREAD_HOOKS
#else

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROOST_YIELD_POINT() ((void)0)

static inline uint64_t hook_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void hook_yield(void) { sched_yield(); }

/* Sleep while *word is `value`, at most timeout_ns. It may return early without a reason. Shared between processes. */
static inline void hook_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct timespec timeout = { (time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u) };
    syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

static inline void hook_futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif

/* Tell the processor that this is a spin. */
static inline void hook_spin(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most cores; isb waits about as long as pause */
#endif
}

/* gcc's thread sanitizer does not model fences and says so by a warning. The places that use one compare atomics only;
 * what they publish is ordered by the release and acquire of its own index. */
#if defined(__SANITIZE_THREAD__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void full_barrier(void) { atomic_thread_fence(memory_order_seq_cst); }

#endif
