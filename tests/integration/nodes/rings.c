/* Calls that no daemon has heard of, as the command tells of them: in the ring of the one worker of a node. */
#include "tests/integration/nodes/nodes.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

const struct roost_options cluster_options = { .size = sizeof cluster_options };

enum { OUT_BYTES = 1 << 16 };

ROOST_TASK(pid_of_worker);
int pid_of_worker(struct roost_task *task)
{
    uint64_t pid = (uint64_t)getpid();
    return roost_return_value(task, 0, pid);
}

ROOST_TASK(wait_at_gate);
int wait_at_gate(struct roost_task *task)
{
    char word[2];
    int fd = open(roost_arg_text(task, 0), O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, word, sizeof word);
    close(fd);
    uint64_t value = 77;
    return got == 2 ? roost_return_value(task, 0, value) : ROOST_EIO;
}

static uint64_t value_of(roost_ref ref)
{
    uint64_t value;
    OK(roost_get_value(rt, ref, &value, LONG_MS));
    roost_free(rt, ref);
    return value;
}

/* Runs the command until its words have `part` in them; what it has said then. Its failures are looked over until then: of what is
 * nowhere yet it says that. */
static const char *told(const char *words, const char *part)
{
    static char out[OUT_BYTES], loose[512];
    snprintf(loose, sizeof loose, "%s || true", words);
    uint64_t end = nodes_now_ms() + LONG_MS;
    for (nodes_roost(loose, out, sizeof out); strstr(out, part) == NULL; nodes_roost(loose, out, sizeof out)) {
        CHECK(nodes_now_ms() < end);
        nodes_moment();
    }
    return out;
}

static const char *why(roost_ref ref)
{
    static char words[64];
    snprintf(words, sizeof words, "why %016llx%016llx", (unsigned long long)ref.id.hi, (unsigned long long)ref.id.lo);
    return words;
}

/* The worker that has the driver's lease: the node has one CPU. */
static pid_t leased_worker(void)
{
    roost_ref ref;
    uint64_t pid = 0, again = 1;
    for (int i = 0; i < 100 || pid != again; i++) {
        OK(roost_call(rt, pid_of_worker, &ref));
        again = pid;
        pid = value_of(ref);
    }
    return (pid_t)pid;
}

TEST(rings, a_call_that_runs_is_told_by_the_id_of_its_result)
{
    const char *gate = cluster_make_gate("gate-runs");
    pid_t worker = leased_worker();
    char text[64];
    roost_ref ref;
    OK(roost_call(rt, wait_at_gate, &ref, gate));
    const char *out = told(why(ref), "running");
    CHECK_HAS(out, "wait_at_gate on node 1 for ");
    snprintf(text, sizeof text, "in worker %d; lease ", (int)worker);
    CHECK_HAS(out, text);
    snprintf(text, sizeof text, " of process %d, job ", (int)getpid());
    CHECK_HAS(out, text);
    out = told("ls tasks --json --filter name=wait_at_gate", "running");
    CHECK_HAS(out, "\"node\": 1");
    CHECK_HAS(out, "\"since_ms\": ");
    cluster_open_gate(gate);
    CHECK_EQ(value_of(ref), 77);
}

TEST(rings, a_call_that_its_worker_has_not_taken_is_told)
{
    pid_t worker = leased_worker();
    char text[64];
    roost_ref ref;
    CHECK_EQ(kill(worker, SIGSTOP), 0);
    OK(roost_call(rt, pid_of_worker, &ref));
    const char *out = told(why(ref), "in_ring");
    snprintf(text, sizeof text, "in the ring of worker %d, behind 0 others", (int)worker);
    CHECK_HAS(out, "pid_of_worker on node 1");
    CHECK_HAS(out, text);
    CHECK_HAS(told("ls tasks --filter state=in_ring", "pid_of_worker"), text);
    CHECK_EQ(kill(worker, SIGCONT), 0);
    CHECK_EQ(value_of(ref), (uint64_t)worker);
}

TEST(rings, what_nobody_has_heard_of_is_said_to_be_unknown)
{
    static char out[OUT_BYTES];
    nodes_roost("why 00000000000000010000000000000001 2>&1 || true", out, sizeof out);
    CHECK_HAS(out, "no ring of a worker has such a call");
}
