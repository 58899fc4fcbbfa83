/* A local object is seen and released again without a system call.
 * The connection's own thread has messages to read for a while after a call, and where it wants its lock in the very
 * moment of a look, one of the two asks the kernel for a futex: such a round is done again. One round of ten thousand
 * looks must make no call at all, and none may make a call of another kind. */
#include "tests/integration/cluster/cluster.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options, .cpus = 1, .store_bytes = 64 << 20 };

enum { TIMES = 10000, LARGE_BYTES = 16 << 20 };

static roost_ref refs[3];
static const size_t sizes[3] = { 1024, LARGE_BYTES, 8 };
static _Atomic uint64_t sum;

ROOST_TASK(make_number);
int make_number(struct roost_task *task)
{
    uint64_t number = 4711;
    return roost_return_value(task, 0, number);
}

/* What the filtered thread has asked the kernel for. Written by its signal handler alone, read once it has ended. */
static struct {
    int futexes; /* where two threads met at a lock */
    int others;  /* anything else: what this test is about */
    int first_other;
} calls;

enum { ROUNDS_MAX = 20, BY_HAND = 4711 };

/* Where a system call's arguments stand in its signal's context, and where its result goes. */
#if defined(__aarch64__)
#define ARGUMENT(context, i) ((long)(context)->uc_mcontext.regs[i])
#define RESULT(context)      (context)->uc_mcontext.regs[0]
#else
static const int registers[] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8 };
#define ARGUMENT(context, i) ((context)->uc_mcontext.gregs[registers[i]])
#define RESULT(context)      (context)->uc_mcontext.gregs[REG_RAX]
#endif

/* A futex is done by hand, for whoever waits at the other end; the filter knows it by its last argument, which neither
 * a wait nor a wake has a use for. Any other call is counted and not done. */
static void on_call(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    ucontext_t *at = context;
    if (info->si_syscall == SYS_futex) {
        calls.futexes++;
        long value = syscall(SYS_futex, ARGUMENT(at, 0), ARGUMENT(at, 1), ARGUMENT(at, 2), ARGUMENT(at, 3),
                             ARGUMENT(at, 4), BY_HAND);
        RESULT(at) = value < 0 ? -errno : value;
        return;
    }
    if (calls.others++ == 0) {
        calls.first_other = info->si_syscall;
    }
    RESULT(at) = -ENOSYS;
}

/* From here on, every system call of this thread but its end goes to on_call(). */
static void watch_calls(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BY_HAND, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
}

static bool see_all(void)
{
    for (size_t i = 0; i < 3; i++) {
        roost_view view;
        if (roost_get(rt, refs[i], &view, ROOST_FOREVER) != 0 || view.size != sizes[i]) {
            return false;
        }
        sum += ((const unsigned char *)view.data)[view.size - 1];
        roost_release(rt, &view);
    }
    return true;
}

/* A driver's child of fork() may not use the connection; a thread of its own is filtered just as well. One for all rounds:
 * it cannot end through the library, which may ask the kernel for something then. */
static void *see_quietly(void *is_done)
{
    bool is_seen = see_all(); /* the thread's first look may ask the kernel for its place */
    watch_calls();
    for (int round = 0; is_seen && round < ROUNDS_MAX && (round == 0 || calls.futexes > 0); round++) {
        calls.futexes = 0;
        sum = 0;
        for (int i = 0; i < TIMES && is_seen; i++) {
            is_seen = see_all();
        }
    }
    *(bool *)is_done = is_seen;
    syscall(SYS_exit, 0);
    return NULL;
}

TEST(quiet, ten_thousand_gets_and_releases_make_no_system_call)
{
    static unsigned char bytes[LARGE_BYTES];
    memset(bytes, 3, sizeof bytes);
    OK(roost_put(rt, bytes, sizes[0], &refs[0]));
    OK(roost_put(rt, bytes, sizes[1], &refs[1]));
    OK(roost_call(rt, make_number, &refs[2]));
    roost_view view;
    OK(roost_get(rt, refs[2], &view, LONG_MS));
    roost_release(rt, &view);

    struct sigaction action = { .sa_sigaction = on_call, .sa_flags = SA_SIGINFO };
    CHECK_EQ(sigaction(SIGSYS, &action, NULL), 0);
    bool is_done = false;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, see_quietly, &is_done), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(is_done);
    CHECK_EQ(calls.first_other, 0);
    CHECK_EQ(calls.others, 0);
    CHECK_EQ(calls.futexes, 0);
    CHECK_EQ(atomic_load(&sum), TIMES * (3 + 3 + 0));
    roost_free_many(rt, refs, 3);
}
