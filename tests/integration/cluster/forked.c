/* A program of which many workers are wanted at once; forked.sh looks at what it says, and at how they came about.
 *
 *     forked safe            what a forked worker is, what it prints, and how its death is told
 *     forked kill FILE SEED  its forkers, which leave their pids in FILE, are killed at random moments
 *     forked WAY             does before roost_open(), in a worker, what a fork does not carry over (table `ways`) */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <roost.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 24, ROUNDS = 4, ROUND_WORKERS = 8, GET_MS = 100000, KILL_MS_MAX = 30, PATH_BYTES = 4096 };

static pid_t born; /* that came to main(): of a forked worker, its forker */

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "forked: not so: %s\n", what);
        exit(2);
    }
}

/* ------------------------------------------------------------------ in workers */

struct seen {
    int64_t pid, parent, is_forked;
    char wrong[64]; /* in which it is unlike a worker that was started; "": in nothing */
};

static size_t entries_count(const char *path)
{
    size_t count = 0;
    DIR *list = opendir(path);
    while (list != NULL && readdir(list) != NULL) {
        count++;
    }
    if (list != NULL) {
        closedir(list);
    }
    return count;
}

static const char *what_is_wrong(void)
{
    int *number = NULL, signal_number = 0;
    struct stat in, out;
    if (prctl(PR_GET_TID_ADDRESS, &number) != 0 || *number != (int)syscall(SYS_gettid)) {
        return "libc has another thread's number";
    }
    if (prctl(PR_GET_PDEATHSIG, &signal_number) != 0 || signal_number != SIGKILL) {
        return "it outlives its agent";
    }
    if (getsid(0) != getpid()) {
        return "it leads no session";
    }
    if (entries_count(".") != 2) {
        return "its folder is not empty";
    }
    if (fstat(0, &in) != 0 || !S_ISCHR(in.st_mode) || fstat(1, &out) != 0 || !S_ISFIFO(out.st_mode)) {
        return "its input or output";
    }
    return getenv("ROOST_WORKER") != NULL ? "it passes its token on" : "";
}

/* Says that it is there, and goes on when all are: `gate` and, of the arrivals, `gate`-here are named pipes. */
static void wait_at(const char *gate)
{
    char byte = 'x', here[PATH_BYTES];
    snprintf(here, sizeof here, "%s-here", gate);
    int fd = open(here, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, &byte, 1) == 1) {
        close(fd);
    }
    fd = open(gate, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, &byte, 1) == 1) {
        close(fd);
    }
}

/* Does not end before the gate opens: so many workers are there at once. */
ROOST_TASK(look);
int look(struct roost_task *task)
{
    struct seen seen = { .pid = getpid(), .parent = getppid(), .is_forked = born != getpid() };
    snprintf(seen.wrong, sizeof seen.wrong, "%s", seen.is_forked ? what_is_wrong() : "");
    printf("here is %d\n", (int)getpid());
    wait_at(roost_arg_text(task, 0));
    return roost_return_value(task, 0, seen);
}

ROOST_TASK(fall);
int fall(struct roost_task *task)
{
    int64_t pid = getpid();
    wait_at(roost_arg_text(task, 0));
    if (born != getpid()) {
        raise(SIGUSR1);
    }
    return roost_return_value(task, 0, pid);
}

/* ------------------------------------------------------------------ in the driver */

static const struct roost_task_options many = { .size = sizeof many, .cpus = 0.01, .max_retries = ROOST_NONE };

struct gate {
    char path[PATH_BYTES - 8];
    int here, fd; /* open for both ways: nobody blocks in opening them */
};

static void make_gate(const char *name, struct gate *gate)
{
    char here[PATH_BYTES];
    snprintf(gate->path, sizeof gate->path, "%s/../%s", getenv("ROOST_DIR"), name);
    snprintf(here, sizeof here, "%s-here", gate->path);
    require(mkfifo(gate->path, 0600) == 0 && mkfifo(here, 0600) == 0, "named pipes can be made");
    gate->fd = open(gate->path, O_RDWR | O_CLOEXEC);
    gate->here = open(here, O_RDWR | O_CLOEXEC);
    require(gate->fd >= 0 && gate->here >= 0, "named pipes can be opened");
}

/* Once `count` are there. */
static void open_gate(const struct gate *gate, int count)
{
    char byte;
    for (int i = 0; i < count; i++) {
        struct pollfd fd = { gate->here, POLLIN, 0 };
        require(poll(&fd, 1, GET_MS) == 1 && read(gate->here, &byte, 1) == 1, "all come to the gate");
    }
    for (int i = 0; i < count; i++) {
        require(write(gate->fd, "x", 1) == 1, "the gate opens");
    }
}

static int by_pid(const void *a, const void *b)
{
    int64_t x = ((const struct seen *)a)->pid, y = ((const struct seen *)b)->pid;
    return (x > y) - (x < y);
}

/* All at once, so each by a worker of its own; how many of these were forked. */
static int look_all(struct roost *rt, const char *gate_name, int count, int kill_ms, const char *pid_file)
{
    roost_ref refs[ROUNDS * ROUND_WORKERS > WORKERS ? ROUNDS * ROUND_WORKERS : WORKERS];
    struct seen seen[sizeof refs / sizeof *refs];
    struct gate gate;
    int forked = 0;
    make_gate(gate_name, &gate);
    for (int i = 0; i < count; i++) {
        ROOST_CHECK(roost_call_with(rt, look, &many, &refs[i], gate.path));
    }
    if (pid_file != NULL) {
        long pid = 0;
        poll(NULL, 0, kill_ms);
        FILE *file = fopen(pid_file, "r");
        if (file != NULL && fscanf(file, "%ld", &pid) == 1 && pid > 0) {
            printf("killed: %d\n", kill((pid_t)pid, SIGKILL) == 0);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    open_gate(&gate, count);
    for (int i = 0; i < count; i++) {
        ROOST_CHECK(roost_get_value(rt, refs[i], &seen[i], GET_MS));
        roost_free(rt, refs[i]);
        forked += seen[i].is_forked != 0;
        require(seen[i].wrong[0] == '\0', seen[i].wrong);
        require(seen[i].parent == seen[0].parent, "all are children of the agent");
    }
    qsort(seen, (size_t)count, sizeof *seen, by_pid);
    for (int i = 0; i < count; i++) {
        require(i == 0 || seen[i].pid != seen[i - 1].pid, "each has a worker of its own");
        printf("%s %lld\n", seen[i].is_forked ? "forked" : "started", (long long)seen[i].pid);
    }
    return forked;
}

static void fall_all(struct roost *rt)
{
    roost_ref refs[WORKERS];
    struct gate gate;
    int fell = 0;
    make_gate("fall", &gate);
    for (int i = 0; i < WORKERS; i++) {
        ROOST_CHECK(roost_call_with(rt, fall, &many, &refs[i], gate.path));
    }
    open_gate(&gate, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        struct roost_error error = ROOST_ERROR_INIT;
        int64_t pid;
        int status = roost_get_value(rt, refs[i], &pid, GET_MS);
        if (status != 0) {
            ROOST_CHECK(roost_explain(rt, refs[i], &error));
            require(status == ROOST_EWORKER && error.signal == SIGUSR1 && error.pid > 0, "its signal and pid are told");
            fell++;
        }
    }
    require(fell > 0, "forked workers die");
}

static int driver(struct roost *rt, int argc, char **argv)
{
    if (strcmp(argv[1], "kill") == 0 && argc == 4) {
        unsigned seed = (unsigned)strtoul(argv[3], NULL, 10);
        for (int round = 1; round <= ROUNDS; round++) {
            char gate[32];
            snprintf(gate, sizeof gate, "look-%d", round);
            look_all(rt, gate, round * ROUND_WORKERS, rand_r(&seed) % KILL_MS_MAX, argv[2]);
        }
        return 0;
    }
    printf("%d forked\n", look_all(rt, "look", WORKERS, 0, NULL));
    if (strcmp(argv[1], "safe") == 0) {
        fall_all(rt);
    }
    return 0;
}

/* ------------------------------------------------------------------ before roost_open() */

static void *sleep_on(void *arg)
{
    (void)arg;
    for (;;) {
        pause();
    }
    return NULL;
}

static void start_a_thread(void)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, sleep_on, NULL) == 0, "a thread starts");
}

static void open_a_file(void) { require(open("/etc/passwd", O_RDONLY) >= 0, "a file opens"); }

static void share_memory(void)
{
    require(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "memory is had");
}

static void keep_memory_back(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED && madvise(memory, 4096, MADV_DONTFORK) == 0, "memory is had");
}

static void have_a_child(void)
{
    if (fork() == 0) {
        sleep_on(NULL);
    }
}

static void set_a_timer(void)
{
    const struct itimerval hour = { .it_value.tv_sec = 3600 };
    require(setitimer(ITIMER_REAL, &hour, NULL) == 0, "a timer is set");
}

static void create_a_timer(void)
{
    timer_t timer;
    require(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0, "a timer is made");
}

static void lock_memory(void)
{
    static char bytes[1];
    require(syscall(SYS_mlock, bytes, sizeof bytes) == 0, "memory is locked"); /* a sanitizer has its own mlock() */
}

static void leave_its_folder(void) { require(chdir("/") == 0, "the folder changes"); }

static void write_a_file(void)
{
    FILE *file = fopen("settings", "w");
    require(file != NULL && fclose(file) == 0, "a file is written");
}

static void move_its_output(void) { require(freopen("/dev/null", "w", stdout) != NULL, "its output moves"); }

static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {
    { "locked", lock_memory },     { "clock", create_a_timer },   { "thread", start_a_thread },
    { "descriptor", open_a_file }, { "shared", share_memory },    { "dontfork", keep_memory_back },
    { "child", have_a_child },     { "timer", set_a_timer },      { "chdir", leave_its_folder },
    { "folder", write_a_file },    { "output", move_its_output },
};

static void leave_pid(const char *path)
{
    char whole[PATH_BYTES];
    snprintf(whole, sizeof whole, "%s.new", path);
    FILE *file = fopen(whole, "w");
    require(file != NULL && fprintf(file, "%d\n", (int)getpid()) > 0 && fclose(file) == 0, "the pid is written");
    require(rename(whole, path) == 0, "the pid is written");
}

int main(int argc, char **argv)
{
    const char *worker = getenv("ROOST_WORKER");
    born = getpid();
    require(argc > 1, "it is told what to do");
    if (worker != NULL && strcmp(worker, "forker") == 0 && strcmp(argv[1], "kill") == 0 && argc == 4) {
        leave_pid(argv[2]);
    }
    for (size_t i = 0; worker != NULL && i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(argv[1], ways[i].name) == 0) {
            ways[i].run();
        }
    }
    struct roost *rt;
    const struct roost_options options = ROOST_OPTIONS(.cpus = 2, .store_bytes = 64 << 20);
    ROOST_CHECK(roost_open(&rt, &options));
    int status = driver(rt, argc, argv);
    roost_close(rt);
    return status;
}
