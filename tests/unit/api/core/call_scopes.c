/* Calls through leases that a run has made: what becomes of them when it ends. */
#include "common/hash.h"
#include "tests/lib/test.h"
#include "tests/unit/api/core/call_bench.h"

/* A call under the scope of a run, on what `needed` names unless that is none. */
static struct object_id call_under(uint64_t run, struct object_id needed, int status)
{
    const roost_in arg = roost_in_ref(object_ref(needed));
    struct spec_draft draft = { .function = "f",
                                .cpus_hundredths = 100,
                                .returns = 1,
                                .max_retries = 3,
                                .args = &arg,
                                .args_count = !object_id_is_none(needed) };
    size_t bytes;
    CHECK_EQ(client_scope_call(core, run, &draft.parent, &draft.call), 0);
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    spec_write(&draft, spec, bytes);
    struct object_id id = result_id(spec->task, 0);
    CHECK_EQ(client_call_add(core, run, spec, true, 1), status);
    free(spec);
    return id;
}

TEST(calls, a_scope_that_ends_leaves_its_calls_to_the_agent_and_what_runs_goes_on)
{
    start();
    uint64_t run = WIRE_RUN_OWN | 9;
    CHECK_EQ(client_run_begin(core, run, (struct task_id){ 3, 4 }), 0);
    struct object_id none = { 0, 0 }, first = call_under(run, none, 0);
    CHECK_EQ(push(), 1); /* it runs */
    call_under(run, first, 0);
    call_under(run, none, 0);
    CHECK_TEXT(said(), "");
    client_calls_scope_ends(core, run);
    CHECK_TEXT(said(), "RUN ESCAPE");
    for (uint64_t i = 0; i < 2; i++) {
        struct client_call *gone;
        struct client_flight *flight;
        CHECK_EQ(client_call_submit(core, false, &gone, &flight), 0);
        CHECK(gone != NULL && client_call_scope(gone) == run);
        client_submitted(core, flight, 9 + i);
        client_call_forget(gone);
    }
    CHECK(!client_calls_leave(core));
    client_scope_end(core, run);
    CHECK(client_core_is_valid(core));
    uint32_t attempts;
    CHECK(client_call_try_again(core, client_call_at(lease.pushed.next), &attempts)); /* its worker died */
    CHECK_EQ(push(), 1);
    complete(42, false);
    CHECK_TEXT(said(), "SETTLE");
    finish();
}

TEST(calls, a_stored_result_is_adopted_by_a_run_that_the_agent_has_heard_of)
{
    start();
    uint64_t run = WIRE_RUN_OWN | 9;
    CHECK_EQ(client_run_begin(core, run, (struct task_id){ 3, 4 }), 0);
    call_under(run, (struct object_id){ 0, 0 }, 0);
    push();
    complete(0, true);
    CHECK_TEXT(said(), "RUN ADOPT");
    client_scope_end(core, run);
    finish();
}

TEST(calls, a_stored_result_of_a_scope_that_has_ended_is_adopted_and_not_freed_before_the_agent_hears_of_that)
{
    start();
    uint64_t run = WIRE_RUN_OWN | 9;
    CHECK_EQ(client_run_begin(core, run, (struct task_id){ 3, 4 }), 0);
    call_under(run, (struct object_id){ 0, 0 }, 0);
    push();
    client_calls_scope_ends(core, run);
    client_scope_end(core, run);
    CHECK_TEXT(said(), "RUN ESCAPE");
    complete(0, true);
    CHECK_TEXT(said(), "ADOPT"); /* what the run returned may name it, and is the agent's with the run's end alone */
    finish();
}

TEST(calls, a_call_of_a_scope_that_has_ended_may_go_back_to_the_agent)
{
    start();
    uint64_t run = WIRE_RUN_OWN | 9;
    CHECK_EQ(client_run_begin(core, run, (struct task_id){ 3, 4 }), 0);
    call_under(run, (struct object_id){ 0, 0 }, 0);
    push();
    client_calls_scope_ends(core, run);
    client_scope_end(core, run);
    client_call_taken_back(core, client_call_at(lease.pushed.next));
    struct client_call *gone;
    struct client_flight *flight;
    CHECK_EQ(client_call_submit(core, true, &gone, &flight), 0);
    CHECK(gone != NULL && client_call_scope(gone) == 0);
    client_submitted(core, flight, 9);
    client_call_forget(gone);
    finish();
}

TEST(calls, the_calls_of_a_later_attempt_go_the_agents_way)
{
    start();
    uint64_t run = WIRE_RUN_OWN | 9;
    CHECK_EQ(client_run_begin(core, run, (struct task_id){ 3, 4 }), 0);
    client_scope_is_again(core, run);
    call_under(run, (struct object_id){ 0, 0 }, ROOST_EEXIST);
    finish();
}
