/* Calls through leases in the client core: which may, where they go, and what ends them. */
#include "objectstore/table.h"
#include "tests/lib/test.h"
#include "tests/unit/api/core/call_bench.h"

#include <string.h>

TEST(calls, what_no_lease_gives_goes_the_agents_way)
{
    start();
    const roost_in gather = roost_in_gather(object_ref((struct object_id){ 1, 2 }), 3);
    const struct {
        struct spec_draft draft;
        bool may;
    } cases[] = {
        { { .max_retries = 3 }, true },
        { { .flags = SPEC_RETRY_ON_FAILURE }, true },
        { { .cpus_hundredths = 200 }, false },
        { { .cpus_hundredths = 50 }, false },
        { { .memory_bytes = 1 }, false },
        { { .node = { 1, 1 } }, false },
        { { .flags = SPEC_SPREAD }, false },
        { { .flags = SPEC_UNHELD }, false },
        { { .args = &gather, .args_count = 1 }, false },
        { { .function = "a_name_of_many_letters_that_fits_in_a_slot_all_the_same" }, true },
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(cases); i++) {
        struct spec *spec = spec_of(cases[i].draft);
        CHECK_EQ(client_call_may_lease(spec), cases[i].may);
        free(spec);
    }
    finish();
}

TEST(calls, a_call_and_its_result_cost_no_message)
{
    start();
    struct object_id id = call((struct spec_draft){ .max_retries = 3 });
    CHECK_EQ(client_own_look(core, id, NULL), CLIENT_OWN_PENDING);
    CHECK_EQ(push(), 1);
    complete(42, false);
    CHECK_EQ(value_of(id), 42);
    CHECK(client_owns_any(core));
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK(!client_owns_any(core));
    CHECK_EQ(client_own_look(core, id, NULL), CLIENT_OWN_NOT);
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_core_count(core).names, 0);
    finish();
}

TEST(calls, a_ring_takes_a_moments_work_and_the_rest_waits)
{
    start();
    for (int i = 0; i < 100; i++) {
        call((struct spec_draft){ .max_retries = 3 });
    }
    uint64_t first = push(); /* nobody knows yet how long it takes */
    CHECK(first > 1 && first < 100);
    lease.is_blocked = true;
    complete(1, false);
    CHECK_EQ(push(), 0);
    lease.is_blocked = false;
    CHECK(push() >= 1);
    while (lease.depth > 0) { /* it is short: more of it at once */
        complete(1, false);
        push();
    }
    CHECK_EQ(client_calls_queued(core), 0);
    finish();
}

TEST(calls, taken_back_calls_go_first_and_in_their_order)
{
    start();
    struct object_id ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = call((struct spec_draft){ .max_retries = 3 });
    }
    CHECK_EQ(push(), 3);
    for (int i = 0; i < 3; i++) {
        client_call_taken_back(core, client_call_at(lease.pushed.previous));
    }
    CHECK_EQ(push(), 3);
    for (uint64_t i = 0; i < 3; i++) {
        complete(i, false);
        CHECK_EQ(value_of(ids[i]), i);
    }
    finish();
}

TEST(calls, behind_a_slow_call_nothing_is_pushed_but_an_empty_ring_takes_one_again)
{
    start();
    call((struct spec_draft){ .max_retries = 3 });
    call((struct spec_draft){ .max_retries = 3 });
    CHECK_EQ(push(), 2);
    lease.is_slow = true;
    client_call_taken_back(core, client_call_at(lease.pushed.previous));
    CHECK_EQ(push(), 0); /* the first runs, and takes long */
    client_call_taken_back(core, client_call_at(lease.pushed.previous));
    CHECK_EQ(push(), 2); /* it had not begun */
    finish();
}

TEST(calls, a_dead_attempt_is_tried_again_as_often_as_it_may)
{
    start();
    call((struct spec_draft){ .max_retries = 1 });
    uint32_t attempts, attempt;
    push();
    CHECK(client_call_try_again(core, client_call_at(lease.pushed.next), &attempts));
    push();
    client_call_spec(client_call_at(lease.pushed.next), &attempt);
    CHECK_EQ(attempt, 1);
    CHECK(!client_call_try_again(core, client_call_at(lease.pushed.next), &attempts));
    CHECK_EQ(attempts, 2);
    CHECK_EQ(lease.depth, 1); /* it is the host's to say why it failed */
    finish();
}

TEST(calls, a_call_that_was_tried_goes_the_agents_way_with_the_number_of_its_attempt)
{
    start();
    call((struct spec_draft){ .max_retries = 3 });
    uint32_t attempts, attempt;
    push();
    CHECK(client_call_try_again(core, client_call_at(lease.pushed.next), &attempts));
    struct client_call *gone;
    struct client_flight *flight;
    CHECK_EQ(client_call_submit(core, true, &gone, &flight), 0);
    CHECK(gone != NULL);
    client_call_spec(gone, &attempt);
    CHECK_EQ(attempt, 1);
    client_submitted(core, flight, 9);
    client_call_forget(gone);
    finish();
}

TEST(calls, a_call_whose_argument_is_gone_when_its_turn_comes_goes_the_agents_way_and_its_argument_stays)
{
    start();
    const struct object_id id = { 8, 9 };
    CHECK_EQ(client_keep(core, 0, id), 0);
    const roost_in arg = roost_in_ref(object_ref(id));
    struct object_id result = call((struct spec_draft){ .args = &arg, .args_count = 1, .max_retries = 3 });
    CHECK_TEXT(said(), "HOLD");
    CHECK_EQ(push(), 1);
    CHECK_EQ(client_free(core, 0, id), 0);
    client_call_needs_pull(core, client_call_at(lease.pushed.next), 5);
    CHECK_EQ(lease.depth, 0);
    CHECK_EQ(lease.changed_ns, 5);
    CHECK(client_calls_leave(core));
    struct client_call *gone;
    struct client_flight *flight;
    uint32_t attempt;
    CHECK_EQ(client_call_submit(core, false, &gone, &flight), 0);
    CHECK(gone != NULL);
    client_call_spec(gone, &attempt);
    CHECK_EQ(attempt, 0); /* none was made */
    client_call_forget(gone);
    CHECK_TEXT(said(), ""); /* the argument is tied until the agent has the call */
    CHECK_EQ(client_own_look(core, result, NULL), CLIENT_OWN_NOT);
    client_submitted(core, flight, 9);
    const struct wire_taken taken = { { WIRE_TAKEN, sizeof taken, 9 }, { 0, 0 } };
    client_core_take(core, &taken.head);
    CHECK_TEXT(said(), "FREE");
    finish();
}

static const char *where_is(struct object_id id)
{
    static struct client_pending pending;
    return client_own_pending(core, id, 3000001, &pending) ? pending.text : "";
}

TEST(calls, a_pending_call_says_where_it_stands)
{
    start();
    struct object_id first = call((struct spec_draft){ .max_retries = 3 });
    struct object_id second = call((struct spec_draft){ .max_retries = 3 });
    const roost_in arg = roost_in_ref(object_ref(second));
    struct object_id third = call((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_TEXT(where_is(second), "waits for a worker, behind 1 other calls; called 3 ms ago");
    CHECK_EQ(push(), 2);
    CHECK_TEXT(where_is(first), "runs in a worker, or is about to; called 3 ms ago");
    CHECK_TEXT(where_is(second), "was given to a worker, behind 1 other calls; called 3 ms ago");
    CHECK_TEXT(where_is(third), "waits for 1 results of other calls; called 3 ms ago");
    struct client_pending pending;
    CHECK(client_own_pending(core, first, 0, &pending));
    CHECK(pending.lease == &lease);
    CHECK_TEXT(pending.function, "f");
    complete(1, false);
    CHECK_TEXT(where_is(first), "");
    finish();
}

TEST(calls, a_lease_that_is_broken_takes_no_more_and_the_agent_is_told_once)
{
    start();
    call((struct spec_draft){ .max_retries = 3 });
    client_lease_break(core, &lease);
    client_lease_break(core, &lease);
    CHECK_EQ(push(), 0);
    CHECK_TEXT(said(), "BROKEN");
    finish();
}

TEST(calls, a_freed_argument_waits_for_the_call)
{
    start();
    const struct object_id arg_id = put(true);
    const roost_in arg = roost_in_ref(object_ref(arg_id));
    struct object_id id = call((struct spec_draft){ .args = &arg, .args_count = 1 });
    push();
    CHECK_EQ(client_free(core, 0, arg_id), 0);
    CHECK_TEXT(said(), "ANNOUNCE");
    complete(1, false);
    CHECK_TEXT(said(), "FREE");
    CHECK_EQ(value_of(id), 1);
    finish();
}

TEST(calls, an_argument_that_the_scope_does_not_hold_goes_the_agents_way)
{
    start();
    const roost_in arg = roost_in_ref(object_ref((struct object_id){ 8, 9 }));
    struct spec *spec = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_call_add(core, 0, spec, true, 1), ROOST_EEXIST);
    CHECK_EQ(client_core_count(core).names, 0);
    free(spec);
    finish();
}

TEST(calls, who_waits_for_a_shorter_queue_holds_a_result_of_its_own_scope_that_somebody_wants)
{
    start();
    struct object_id ids[4], held;
    for (int i = 0; i < 4; i++) {
        ids[i] = call((struct spec_draft){ .max_retries = 3 });
    }
    CHECK_EQ(client_free(core, 0, ids[2]), 0);
    CHECK(client_calls_hold_queued(core, 0, 1, &held));
    CHECK(object_id_eq(held, ids[1]));
    CHECK_EQ(client_holds(core, 0, ids[1]), 2);
    CHECK(client_calls_hold_queued(core, 0, 2, &held)); /* nobody wants that one: the next */
    CHECK(object_id_eq(held, ids[3]));
    CHECK(!client_calls_hold_queued(core, 0, 4, &held));
    CHECK(!client_calls_hold_queued(core, WIRE_RUN_OWN | 5, 0, &held));
    finish();
}

TEST(calls, a_completion_is_urgent_when_more_hangs_on_it_than_its_value)
{
    start();
    struct object_id id = call((struct spec_draft){ .max_retries = 3 });
    CHECK(client_calls_are_urgent(core)); /* it is to be pushed */
    push();
    CHECK(!client_calls_are_urgent(core));
    struct object_id next = call_on(id);
    CHECK(client_calls_are_urgent(core)); /* a call needs it */
    complete(7, false);
    push();
    CHECK(client_calls_are_urgent(core)); /* it has an argument to give up */
    complete(8, false);
    CHECK(!client_calls_are_urgent(core));
    CHECK_EQ(value_of(next), 8);
    struct object_id last = call((struct spec_draft){ .max_retries = 3 });
    push();
    CHECK(!client_calls_are_urgent(core));
    lease.is_wanted = true;
    CHECK(client_calls_are_urgent(core)); /* others wait for its CPU */
    lease.is_wanted = false;
    struct client_flight *flight;
    const roost_in arg = roost_in_ref(object_ref(last));
    struct spec *user = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_submit(core, 0, user, NULL, &flight), 0);
    CHECK(client_calls_are_urgent(core)); /* others wait for it */
    client_call_taken_back(core, client_call_at(lease.pushed.next));
    push();
    CHECK(client_calls_are_urgent(core)); /* wherever it is pushed */
    complete(9, false);
    CHECK(!client_calls_are_urgent(core));
    client_submit_undo(core, flight);
    free(user);
    said();
    finish();
}

TEST(calls, a_lease_goes_back_when_nothing_of_it_is_left)
{
    start();
    CHECK_EQ(client_lease_remove(core, &lease), 0);
    CHECK_TEXT(said(), "BACK");
    finish();
}
