/* What goes wrong, told apart; retry where it makes sense. */
#include <roost.h>
#include <stdio.h>
#include <stdlib.h>

struct query {
    int32_t shard;
    char table[32];
    double limit;
};

ROOST_TASK(flaky);
int flaky(struct roost_task *task)
{
    struct query query = roost_arg_value(task, 0, struct query);
    if (roost_attempt(task) < 2) {
        return roost_fail(task, 42, "shard %d of %s is busy", query.shard, query.table);
    }
    if (query.shard == 3) {
        abort();
    }
    return roost_return_value(task, 0, query.limit);
}

static int driver(struct roost *rt, int argc, char **argv)
{
    enum { N = 5 };
    (void)argc, (void)argv;
    roost_ref refs[N];
    for (int i = 0; i < N; i++) {
        struct query query = { .shard = i, .table = "orders", .limit = 0.5 };
        ROOST_CHECK(roost_call_with(rt, flaky, &ROOST_TASK_OPTIONS(.max_retries = 5, .retry_on_failure = true),
                                    &refs[i], roost_in_value(query)));
    }
    bool ready[N];
    int status = roost_wait(rt, refs, N, N, false, ready, 30000);
    if (status == ROOST_ETIMEDOUT) {
        fprintf(stderr, "%s\n", roost_last_error());
    }
    for (int i = 0; i < N; i++) {
        double value;
        status = ready[i] ? roost_get_value(rt, refs[i], &value, 0) : ROOST_ETIMEDOUT;
        switch (status) {
        case 0:
            printf("%d: %f\n", i, value);
            break;
        case ROOST_EFAILED:
        case ROOST_EWORKER: {
            struct roost_error error = ROOST_ERROR_INIT;
            ROOST_CHECK(roost_explain(rt, refs[i], &error));
            printf("%d: %s on %s (pid %lld, signal %d, app code %d, %d attempts): %s\n", i, error.function, error.node,
                   (long long)error.pid, error.signal, error.app_code, error.attempts, error.text);
            break;
        }
        default:
            printf("%d: %s\n", i, roost_strerror(status));
        }
    }
    roost_free_many(rt, refs, N);
    return 0;
}

int main(int argc, char **argv) { return roost_main(argc, argv, driver); }
