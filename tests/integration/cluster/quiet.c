/* A local object is seen and released again without a system call. */
#include "tests/integration/cluster/cluster.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

/* Kills the process at the first system call of this thread but its end. */
static void allow_nothing(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
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

/* A driver's child of fork() may not use the connection; a thread of its own is filtered just as well. */
static void *see_quietly(void *times)
{
    bool is_seen = see_all(); /* the thread's first look may ask the kernel for its place */
    allow_nothing();
    for (int i = 0; i < TIMES && is_seen; i++) {
        is_seen = see_all();
    }
    *(bool *)times = is_seen;
    syscall(SYS_exit, 0); /* not through the library: what it does at a thread's end it may ask the kernel for */
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

    bool is_done = false;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, see_quietly, &is_done), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(is_done);
    CHECK_EQ(atomic_load(&sum), (TIMES + 1) * (3 + 3 + 0));
    roost_free_many(rt, refs, 3);
}
