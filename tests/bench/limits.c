/* limits.c - what this machine can do, measured beside each case
 *
 * Each function is one run of one figure; a case calls it in turns with its own, so that a neighbour who comes and goes
 * slows both. What takes two processes uses a child that sleeps in a futex between the runs.
 *
 * The peer: one shared mapping. A request goes into `asked`, the peer does its half and sets `served` to the same
 *           number. It ends with its parent (the kernel's death signal), or when asked for LAST.
 * Failures: no child -> ROOST_EIO. A peer that dies ends the program: its parent sees it when it waits too long.
 * Thread:   the driver's. */
#include "common/error.h"
#include "tests/bench/bench.h"
#include "tests/bench/cores.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STREAM_SLOTS = 1024, STREAM_UNDER_WAY = 1000, SPIN_ROUNDS = 200, PEER_SECONDS_MAX = 60 };
enum peer_request { PEER_PING_PONG = 1, PEER_STREAM, PEER_LAST };

struct slot {
    _Alignas(LIMIT_SLOT_BYTES) _Atomic uint32_t number; /* of the entry that lies here; entries begin at 1 */
    char rest[LIMIT_SLOT_BYTES - sizeof(uint32_t)];
};
_Static_assert(sizeof(struct slot) == LIMIT_SLOT_BYTES, "an entry is one line");

struct peer_page {
    _Alignas(LIMIT_SLOT_BYTES) _Atomic uint32_t asked; /* counts requests, and is the futex of the peer */
    uint32_t request, count;
    _Alignas(LIMIT_SLOT_BYTES) _Atomic uint32_t served; /* the last request that was answered; futex of the parent */
    struct slot there[STREAM_SLOTS], back[STREAM_SLOTS];
};

struct limit_peer {
    struct peer_page *page;
    pid_t pid;
    bool one_core; /* both sides yield rather than spin */
};

double limit_touch_ns(void *table, const uint32_t *order, uint32_t count)
{
    double started = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint64_t *word = (_Atomic uint64_t *)(void *)((char *)table + (size_t)order[i] * LIMIT_SLOT_BYTES);
        atomic_fetch_add(word, 1);
        atomic_fetch_sub(word, 1);
    }
    return (bench_now_ns() - started) / count;
}

double limit_copy_ns(void *to, const void *from, uint64_t size)
{
    double started = bench_now_ns();
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
    return bench_now_ns() - started;
}

double limit_small_copy_ns(void *area, uint64_t area_bytes, size_t size, int count)
{
    static char from[4096];
    size_t stride = (size + sizeof(uint64_t) + LIMIT_SLOT_BYTES - 1) / LIMIT_SLOT_BYTES * LIMIT_SLOT_BYTES;
    uint64_t places = area_bytes / stride;
    double started = bench_now_ns();
    for (int i = 0; i < count; i++) {
        char *to = (char *)area + (uint64_t)i % places * stride;
        memcpy(to + sizeof(uint64_t), from, size < sizeof from ? size : sizeof from);
        atomic_store_explicit((_Atomic uint64_t *)(void *)to, (uint64_t)i, memory_order_release);
    }
    return (bench_now_ns() - started) / count;
}

static void futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

static void futex_sleep(_Atomic uint32_t *word, uint32_t while_it_is, const struct timespec *timeout)
{
    while (atomic_load(word) == while_it_is) {
        if (syscall(SYS_futex, word, FUTEX_WAIT, while_it_is, timeout, NULL, 0) != 0 && errno == ETIMEDOUT) {
            fprintf(stderr, "roost-bench: the second process of a limit does not answer\n");
            exit(1);
        }
    }
}

static void pause_or_yield(bool one_core, int *rounds)
{
    if (one_core || ++*rounds >= SPIN_ROUNDS) {
        *rounds = 0;
        sched_yield();
    }
}

static bool take(struct slot *slots, uint32_t number)
{
    return atomic_load_explicit(&slots[number % STREAM_SLOTS].number, memory_order_acquire) == number;
}

static void give(struct slot *slots, uint32_t number)
{
    struct slot *slot = &slots[number % STREAM_SLOTS];
    memset(slot->rest, (int)number, sizeof slot->rest);
    atomic_store_explicit(&slot->number, number, memory_order_release);
}

static void peer_stream(struct peer_page *page, bool one_core)
{
    for (uint32_t number = 1; number <= page->count; number++) {
        for (int rounds = 0; !take(page->there, number);) {
            pause_or_yield(one_core, &rounds);
        }
        give(page->back, number);
    }
}

static void peer_serve(struct peer_page *page, bool one_core)
{
    for (uint32_t seen = 0;; seen++) {
        futex_sleep(&page->asked, seen, NULL);
        uint32_t request = page->request;
        if (request == PEER_STREAM) {
            peer_stream(page, one_core);
        }
        atomic_store(&page->served, seen + 1);
        futex_wake(&page->served);
        if (request == PEER_LAST) {
            _exit(0);
        }
    }
}

int limit_peer_start(struct limit_peer **peer_out, const struct bench *bench, enum bench_placement placement)
{
    struct limit_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        return error_set(ROOST_ENOMEM, "no memory for the second process of a limit");
    }
    peer->one_core = placement == PLACED_ONE_CORE || bench->cores[1] < 0;
    peer->page = mmap(NULL, sizeof *peer->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (peer->page == MAP_FAILED) {
        free(peer);
        return error_from_errno("memory of the second process of a limit");
    }
    peer->pid = fork();
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (placement != PLACED_FREE) {
            cores_pin(bench->cores[placement == PLACED_TWO_CORES ? 1 : 0]);
        }
        peer_serve(peer->page, peer->one_core);
    }
    if (peer->pid < 0) {
        int status = error_from_errno("fork");
        munmap(peer->page, sizeof *peer->page);
        free(peer);
        return status;
    }
    *peer_out = peer;
    return 0;
}

static void ask(struct peer_page *page, enum peer_request request)
{
    page->request = request;
    atomic_fetch_add(&page->asked, 1);
    futex_wake(&page->asked);
}

static void wait_served(struct peer_page *page)
{
    static const struct timespec timeout = { PEER_SECONDS_MAX, 0 };
    futex_sleep(&page->served, atomic_load(&page->asked) - 1, &timeout);
}

double limit_ping_pong_ns(struct limit_peer *peer)
{
    double started = bench_now_ns();
    ask(peer->page, PEER_PING_PONG);
    wait_served(peer->page);
    return bench_now_ns() - started;
}

/* From the first entry's return on: until then the peer may still have been asleep. */
double limit_stream_ns(struct limit_peer *peer, int count)
{
    struct peer_page *page = peer->page;
    memset(page->there, 0, sizeof page->there);
    memset(page->back, 0, sizeof page->back);
    page->count = (uint32_t)count + 1;
    ask(page, PEER_STREAM);
    int rounds = 0;
    for (give(page->there, 1); !take(page->back, 1);) {
        pause_or_yield(peer->one_core, &rounds);
    }
    double started = bench_now_ns();
    for (uint32_t given = 1, taken = 1; taken < page->count;) {
        if (given < page->count && given - taken < STREAM_UNDER_WAY) {
            give(page->there, ++given);
        } else if (!take(page->back, taken + 1)) {
            pause_or_yield(peer->one_core, &rounds);
        }
        while (taken < given && take(page->back, taken + 1)) {
            taken++;
        }
    }
    double ns = (bench_now_ns() - started) / count;
    wait_served(page);
    return ns;
}

void limit_peer_stop(struct limit_peer *peer)
{
    if (peer == NULL) {
        return;
    }
    ask(peer->page, PEER_LAST);
    waitpid(peer->pid, NULL, 0);
    munmap(peer->page, sizeof *peer->page);
    free(peer);
}
