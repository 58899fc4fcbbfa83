/* wait.c - waiting for many objects at once
 *
 * Happy path of roost_wait: look at one after the other (no system call) until enough are ready, and at as many again
 *             -> return. Else one wait for those that were not, asked of the agent and answered once; a result that
 *             turned out to be another name is waited for under that.
 * Failures:   the deadline -> ROOST_ETIMEDOUT, and ready_out says which are. A ref that failed is ready.
 * Invariants: a ref is asked for under its latest name, once per round.
 * Thread:     any. In a task the wait gives the attempt's CPU back meanwhile. */
#include "api/client.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_ON_STACK = 32, ROUNDS_MAX = STORE_FORWARDS_MAX + 1 };

/* One ref of the wait: the name under which it is waited for now. */
struct waited {
    roost_ref ref;
    bool is_ready;
};

struct wait_state {
    struct waited *waited;
    roost_ref *refs; /* of those that are asked for, and the answers */
    int8_t *answers;
    size_t count, ready_count;
};

/* Is it ready, as far as this process sees? It may change its name for that of what it forwards to. */
static bool is_ready_here(struct roost *rt, roost_ref *ref)
{
    for (int hops = 0; hops <= STORE_FORWARDS_MAX; hops++) {
        int answer = client_peek(rt, *ref, ref);
        if (answer == STORE_GET_ASK || answer == STORE_GET_WAIT) {
            return false;
        }
        if (answer != STORE_GET_FORWARD) {
            return true; /* here, or it failed, or was given up */
        }
    }
    return true; /* too many names: getting it says so */
}

static void mark(struct wait_state *state, struct waited *waited)
{
    if (!waited->is_ready) {
        waited->is_ready = true;
        state->ready_count++;
    }
}

/* From the first on, until `wanted` are ready and as many again have been looked at as that took: a program that waits
 * for one, takes out what is ready and waits again does not look at all that are left each time, and where many that
 * come first are not ready it gets many at once. `wanted` of 0 asks about all. */
static size_t look_at_first(struct roost *rt, const roost_ref *refs, size_t count, size_t wanted, bool *ready_out)
{
    enum peek peeks[PEEKS_AT_ONCE] = { PEEK_UNKNOWN };
    size_t ready = 0, end = count, peeked = 0, run = 0;
    memset(ready_out, 0, count * sizeof *ready_out);
    for (size_t i = 0; i < end; i++) {
        roost_ref ref = refs[i];
        if (i == peeked + run && rt->world->peek_run != NULL) { /* longer and longer runs: the first may be enough */
            size_t longer = run == 0 ? 1 : 2 * run < PEEKS_AT_ONCE ? 2 * run : PEEKS_AT_ONCE;
            peeked = i;
            run = longer < end - i ? longer : end - i;
            rt->world->peek_run(rt, &refs[i], run, peeks);
        }
        enum peek peek = peeks[i - peeked < run ? i - peeked : 0];
        ready_out[i] = peek == PEEK_UNKNOWN ? is_ready_here(rt, &ref) : peek == PEEK_READY;
        ready += ready_out[i];
        if (ready_out[i] && ready == wanted) {
            end = 2 * (i + 1) < count ? 2 * (i + 1) : count;
        }
    }
    return ready;
}

/* One question about all that is not ready. A name that did not change is ready when the agent says so; in the last
 * round any is: it has too many names, and getting it says so. */
static int ask(struct roost *rt, struct wait_state *state, size_t wanted, bool fetch, uint64_t deadline, bool is_last)
{
    uint32_t asked = 0;
    for (size_t i = 0; i < state->count; i++) {
        if (!state->waited[i].is_ready) {
            state->refs[asked++] = state->waited[i].ref;
        }
    }
    memset(state->answers, 0, asked);
    const struct wait_request request = { state->refs, asked,          (uint32_t)(wanted - state->ready_count),
                                          fetch,       state->answers, client_time_left(deadline),
                                          NULL };
    int status = rt->world->wait(rt, &request);
    asked = 0;
    for (size_t i = 0; i < state->count; i++) {
        struct waited *waited = &state->waited[i];
        if (waited->is_ready) {
            continue;
        }
        int8_t answer = state->answers[asked++];
        roost_ref before = waited->ref;
        bool is_here = answer == WAIT_READY_HERE || (answer > 0 && is_ready_here(rt, &waited->ref));
        bool has_new_name = !object_id_eq(object_id_of(before), object_id_of(waited->ref));
        if (answer < 0 || is_here || (answer > 0 && (!has_new_name || is_last))) {
            mark(state, waited);
        }
    }
    return status;
}

static int wait_for(struct roost *rt, struct wait_state *state, size_t wanted, bool fetch, uint64_t deadline)
{
    int status = 0;
    for (int round = 0; state->ready_count < wanted && status == 0 && round < ROUNDS_MAX; round++) {
        status = ask(rt, state, wanted, fetch, deadline, round == ROUNDS_MAX - 1);
    }
    if (state->ready_count >= wanted) {
        return 0;
    }
    if (status == ROOST_ETIMEDOUT) {
        return error_set(status, "timed out: %zu of %zu objects are ready, wanted %zu", state->ready_count,
                         state->count, wanted);
    }
    return status != 0
               ? status
               : error_set(ROOST_EIO, "the agent said %d times that something is ready, and it was not", ROUNDS_MAX);
}

/* `ready_out` says what is ready already: too few. */
static int wait_for_more(struct roost *rt, const roost_ref *refs, size_t count, size_t wanted, bool fetch,
                         bool *ready_out, int timeout_ms)
{
    struct waited on_stack[WAIT_ON_STACK];
    roost_ref refs_on_stack[WAIT_ON_STACK];
    int8_t answers_on_stack[WAIT_ON_STACK];
    bool is_small = count <= WAIT_ON_STACK;
    struct wait_state state = { is_small ? on_stack : malloc(count * sizeof *state.waited),
                                is_small ? refs_on_stack : malloc(count * sizeof *state.refs),
                                is_small ? answers_on_stack : malloc(count), count, 0 };
    int status = ROOST_ENOMEM;
    if (state.waited != NULL && state.refs != NULL && state.answers != NULL) {
        for (size_t i = 0; i < count; i++) {
            state.waited[i] = (struct waited){ refs[i], ready_out[i] };
            state.ready_count += ready_out[i];
        }
        status = wait_for(rt, &state, wanted, fetch, client_deadline(timeout_ms));
        for (size_t i = 0; i < count; i++) {
            ready_out[i] = state.waited[i].is_ready;
        }
    } else {
        error_set(status, "roost_wait: no memory for %zu refs", count);
    }
    if (!is_small) {
        free(state.waited);
        free(state.refs);
        free(state.answers);
    }
    return status;
}

int roost_wait(struct roost *rt, const roost_ref *refs, size_t count, size_t wanted, bool fetch, bool *ready_out,
               int timeout_ms)
{
    int status = client_check(rt, "roost_wait");
    if (status != 0) {
        return status;
    }
    if (count > 0 && (refs == NULL || ready_out == NULL)) {
        return error_set(ROOST_EINVAL, "roost_wait: %s is NULL", refs == NULL ? "refs" : "ready_out");
    }
    if (wanted > count || timeout_ms < ROOST_FOREVER) {
        return error_set(ROOST_EINVAL, "roost_wait: %zu of %zu refs, a timeout of %d ms", wanted, count, timeout_ms);
    }
    if (count > ROOST_GATHER_MAX) {
        return error_set(ROOST_ETOOBIG, "roost_wait: %zu refs, at most %d (ROOST_GATHER_MAX)", count, ROOST_GATHER_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "roost_wait: ref %zu names nothing", i);
        }
    }
    if (count == 0 || look_at_first(rt, refs, count, wanted, ready_out) >= wanted) {
        return 0;
    }
    return wait_for_more(rt, refs, count, wanted, fetch, ready_out, timeout_ms);
}
