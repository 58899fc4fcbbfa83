/* Calls through leases in the client core: which may, where they go, what becomes of their results. */
#include "api/core/client_core.h"
#include "common/hash.h"
#include "objectstore/table.h"
#include "tests/lib/test.h"

#include <string.h>

enum { LEASE = 40 };

static struct client_core *core;
static struct core_out out;
static struct client_lease lease;

static void start(void)
{
    const struct client_core_setup setup = { 77, { 5, 6 } };
    CHECK_EQ(client_core_create(&setup, &core), 0);
    CHECK_EQ(core_out_init(&out, CLIENT_OUT_BYTES_MAX), 0);
    client_lease_add(core, &lease, LEASE);
}

static void finish(void)
{
    client_core_destroy(core);
    core_out_fini(&out);
}

/* What is said, as a line of kinds. */
static const char *said(void)
{
    static char text[1024];
    static const char *const names[WIRE_KINDS] = {
        [WIRE_ESCAPE] = "ESCAPE", [WIRE_SETTLE] = "SETTLE",    [WIRE_ADOPT] = "ADOPT",         [WIRE_FREE] = "FREE",
        [WIRE_HOLD] = "HOLD",     [WIRE_LEASE_BACK] = "BACK",  [WIRE_LEASE_BROKEN] = "BROKEN", [WIRE_RUN] = "RUN",
        [WIRE_WAIT] = "WAIT",     [WIRE_ANNOUNCE] = "ANNOUNCE"
    };
    size_t used = 0;
    text[0] = '\0';
    CHECK(client_core_is_valid(core));
    while (client_core_has_more(core)) {
        core_out_clear(&out);
        client_core_emit(core, &out);
        for (const struct core_command *at = core_next(&out, NULL); at != NULL; at = core_next(&out, at)) {
            const struct wire_entry *entry = core_body(at);
            CHECK_EQ(wire_check(entry, entry->bytes), 0);
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? " " : "", names[entry->kind]);
            CHECK(used < sizeof text);
        }
    }
    return text;
}

static struct spec *spec_of(struct spec_draft draft)
{
    size_t bytes;
    draft.function = draft.function == NULL ? "f" : draft.function;
    draft.cpus_hundredths = draft.cpus_hundredths == 0 ? 100 : draft.cpus_hundredths;
    draft.returns = 1;
    CHECK_EQ(client_scope_call(core, 0, &draft.parent, &draft.call), 0);
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    spec_write(&draft, spec, bytes);
    return spec;
}

/* Adds a call; the id of its result. */
static struct object_id call(struct spec_draft draft)
{
    struct spec *spec = spec_of(draft);
    struct object_id id = result_id(spec->task, 0);
    CHECK_EQ(client_call_add(core, 0, spec, true, 1), 0);
    free(spec);
    return id;
}

/* Pushes all that goes; how many. */
static uint64_t push(void)
{
    static uint64_t ticket = 100;
    struct client_lease *to;
    struct client_call *next;
    uint64_t count = 0;
    while ((next = client_call_next(core, &to)) != NULL) {
        client_call_pushed(core, next, to, ++ticket, 1);
        count++;
    }
    return count;
}

static void complete(uint64_t value, bool is_stored)
{
    struct client_done done = { .run = WIRE_RUN_OWN | 1, .results = 1, .duration_ns = 1000 };
    done.result[0].is_stored = is_stored;
    done.result[0].bytes = sizeof value;
    done.result[0].data = &value;
    client_call_done(core, client_call_at(lease.pushed.next), &done, 2);
}

static uint64_t value_of(struct object_id id)
{
    struct client_own_value own;
    uint64_t value;
    CHECK_EQ(client_own_look(core, id, &own), CLIENT_OWN_SEALED);
    CHECK_EQ(own.bytes, sizeof value);
    memcpy(&value, own.data, sizeof value);
    return value;
}

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

TEST(calls, a_stored_result_is_adopted_or_said_to_be_unwanted)
{
    start();
    struct object_id kept = call((struct spec_draft){ .max_retries = 3 });
    struct object_id freed = call((struct spec_draft){ .max_retries = 3 });
    push();
    CHECK_EQ(client_free(core, 0, freed), 0);
    complete(0, true);
    complete(0, true);
    CHECK_TEXT(said(), "ADOPT ADOPT");
    CHECK_EQ(client_free(core, 0, kept), 0);
    CHECK_TEXT(said(), "FREE"); /* of the one that is the agent's now */
    finish();
}

TEST(calls, a_pending_result_whose_name_leaves_goes_with_its_spec_and_its_value_follows)
{
    start();
    struct object_id id = call((struct spec_draft){ .max_retries = 3 });
    push();
    struct client_flight *flight;
    const roost_in arg = roost_in_ref(object_ref(id));
    struct spec *user = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_submit(core, 0, user, NULL, &flight), 0);
    client_submitted(core, flight, 9);
    CHECK_TEXT(said(), "ESCAPE");
    complete(42, false);
    CHECK_TEXT(said(), "SETTLE");
    CHECK_EQ(client_own_look(core, id, NULL), CLIENT_OWN_NOT); /* an object like any other */
    free(user);
    finish();
}

TEST(calls, a_sealed_result_whose_name_leaves_goes_with_its_value)
{
    start();
    struct object_id id = call((struct spec_draft){ .max_retries = 3 });
    push();
    complete(42, false);
    struct client_flight *flight;
    const roost_in arg = roost_in_ref(object_ref(id));
    struct spec *user = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_submit(core, 0, user, NULL, &flight), 0);
    client_submitted(core, flight, 9);
    CHECK_TEXT(said(), "ESCAPE SETTLE");
    free(user);
    finish();
}

TEST(calls, a_freed_argument_waits_for_the_call)
{
    start();
    const struct wire_place place = { 0, 65536, 0, 0 };
    CHECK_EQ(client_slab_add(core, &place, 0), 0);
    struct wire_object wire = { .size = 100, .format = TABLE_RAW };
    uint64_t wanted;
    CHECK_EQ(client_slab_take(core, 100, 0, &wire.place, &wanted), 0);
    CHECK_EQ(client_scope_id(core, 0, &wire.id), 0);
    CHECK_EQ(client_object_add(core, 0, &wire, NULL, true), 0);
    const roost_in arg = roost_in_ref(object_ref(wire.id));
    struct object_id id = call((struct spec_draft){ .args = &arg, .args_count = 1 });
    push();
    CHECK_EQ(client_free(core, 0, wire.id), 0);
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

TEST(calls, of_an_input_that_is_no_result_of_its_own_the_host_says_first_that_it_is_here)
{
    start();
    const struct object_id id = { 8, 9 };
    CHECK_EQ(client_keep(core, 0, id), 0);
    const roost_in args[] = { roost_in_ref(object_ref(call((struct spec_draft){ .max_retries = 3 }))),
                              roost_in_ref(object_ref(id)) };
    for (size_t count = 1; count <= 2; count++) {
        struct spec *spec = spec_of((struct spec_draft){ .args = args, .args_count = count });
        CHECK_EQ(client_call_add(core, 0, spec, false, 1), count == 1 ? 0 : ROOST_ENOENT);
        CHECK_EQ(client_call_add(core, 0, spec, true, 1), count == 1 ? ROOST_EEXIST : 0); /* one is there already */
        free(spec);
    }
    CHECK(client_core_is_valid(core));
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

static struct object_id call_on(struct object_id id)
{
    const roost_in arg = roost_in_ref(object_ref(id));
    return call((struct spec_draft){ .args = &arg, .args_count = 1, .max_retries = 3 });
}

/* The value that the call in front of the ring takes along. */
static uint64_t value_that_goes_along(void)
{
    _Alignas(8) unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
    size_t bytes = client_call_write(core, client_call_at(lease.pushed.next), payload);
    const struct lease_task *head = (const struct lease_task *)(const void *)payload;
    struct lease_value value;
    uint64_t found;
    size_t at = sizeof *head + (head->spec_bytes + 7) / 8 * 8;
    CHECK_EQ(head->values, 1);
    CHECK_EQ(bytes, at + sizeof value + sizeof found);
    memcpy(&value, payload + at, sizeof value);
    CHECK_EQ(value.arg, 0);
    CHECK_EQ(value.bytes, sizeof found);
    memcpy(&found, payload + at + sizeof value, sizeof found);
    return found;
}

TEST(calls, a_call_waits_for_results_that_it_needs_and_takes_their_values_along_without_a_message)
{
    start();
    struct object_id first = call((struct spec_draft){ .max_retries = 3 }), next = call_on(first);
    struct object_id last = call_on(next);
    CHECK_EQ(client_free(core, 0, first), 0);
    CHECK_EQ(client_free(core, 0, next), 0);
    CHECK_EQ(push(), 1);
    complete(7, false);
    CHECK_EQ(push(), 1);
    CHECK_EQ(value_that_goes_along(), 7);
    complete(8, false);
    CHECK_EQ(push(), 1);
    CHECK_EQ(value_that_goes_along(), 8);
    complete(9, false);
    CHECK_EQ(value_of(last), 9);
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_core_count(core).names, 1);
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

TEST(calls, the_value_goes_along_again_with_the_next_attempt)
{
    start();
    struct object_id first = call((struct spec_draft){ .max_retries = 3 });
    call_on(first);
    push();
    complete(7, false);
    CHECK_EQ(client_free(core, 0, first), 0);
    push();
    uint32_t attempts;
    CHECK(client_call_try_again(core, client_call_at(lease.pushed.next), &attempts));
    CHECK_EQ(push(), 1);
    CHECK_EQ(value_that_goes_along(), 7);
    complete(8, false);
    CHECK_TEXT(said(), "");
    finish();
}

TEST(calls, who_needs_a_failed_result_fails_by_it_and_so_on_without_a_run)
{
    start();
    struct object_id first = call((struct spec_draft){ .max_retries = 0 }), last = first;
    for (int i = 0; i < 1000; i++) {
        last = call_on(last);
    }
    CHECK_EQ(push(), 1);
    struct wire_failure failure = { .status = ROOST_EFAILED, .text = "the first" };
    const struct client_done done = { .run = WIRE_RUN_OWN | 1, .status = ROOST_EFAILED, .failure = &failure };
    client_call_done(core, client_call_at(lease.pushed.next), &done, 2);
    CHECK_EQ(push(), 0);
    struct client_own_value own;
    CHECK_EQ(client_own_look(core, last, &own), CLIENT_OWN_SEALED);
    CHECK_EQ(own.format, TABLE_ERROR);
    CHECK_TEXT((const char *)own.data + offsetof(struct wire_failure, text), "the first");
    finish();
}

/* Who needs a call that went the agent's way, or lies in its store, follows it. */
static void follow(const char *wanted)
{
    struct client_call *gone;
    struct client_flight *flight;
    CHECK(client_calls_leave(core));
    CHECK_EQ(push(), 0);
    CHECK_EQ(client_call_submit(core, false, &gone, &flight), 0);
    CHECK(gone != NULL);
    client_submitted(core, flight, 9);
    client_call_forget(gone);
    CHECK(!client_calls_leave(core));
    CHECK_TEXT(said(), wanted);
}

TEST(calls, who_needs_a_stored_result_goes_the_agents_way)
{
    start();
    call_on(call((struct spec_draft){ .max_retries = 3 }));
    CHECK_EQ(push(), 1);
    complete(0, true);
    follow("ADOPT");
    finish();
}

TEST(calls, who_needs_a_call_that_went_the_agents_way_follows_it)
{
    start();
    call_on(call((struct spec_draft){ .max_retries = 3 }));
    struct client_call *gone;
    struct client_flight *flight;
    CHECK_EQ(client_call_submit(core, true, &gone, &flight), 0);
    client_submitted(core, flight, 8);
    client_call_forget(gone);
    follow("");
    finish();
}

TEST(calls, values_that_do_not_fit_into_a_slot_go_the_agents_way)
{
    start();
    call_on(call((struct spec_draft){ .max_retries = 3 }));
    CHECK_EQ(push(), 1);
    static const unsigned char large[TASK_PAYLOAD_BYTES_MAX];
    struct client_done done = { .run = WIRE_RUN_OWN | 1, .results = 1, .duration_ns = 1000 };
    done.result[0].bytes = sizeof large;
    done.result[0].data = large;
    client_call_done(core, client_call_at(lease.pushed.next), &done, 2);
    follow("ESCAPE SETTLE");
    finish();
}

TEST(calls, a_handle_of_an_own_result_goes_the_agents_way)
{
    start();
    const roost_in arg = roost_in_handle(object_ref(call((struct spec_draft){ .max_retries = 3 })));
    struct spec *spec = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_call_add(core, 0, spec, true, 1), ROOST_EEXIST);
    free(spec);
    finish();
}

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

TEST(calls, what_a_call_needs_goes_out_before_it)
{
    start();
    struct object_id last = call((struct spec_draft){ .max_retries = 3 });
    for (int i = 0; i < 3; i++) {
        last = call_on(last);
    }
    push();
    complete(1, false); /* of the first: its value goes along */
    struct client_flight *flight;
    const roost_in arg = roost_in_handle(object_ref(last));
    struct spec *user = spec_of((struct spec_draft){ .args = &arg, .args_count = 1 });
    CHECK_EQ(client_submit(core, 0, user, NULL, &flight), 0);
    client_submitted(core, flight, 9);
    CHECK_TEXT(said(), "ESCAPE SETTLE ESCAPE ESCAPE ESCAPE");
    free(user);
    finish();
}

TEST(calls, a_result_that_was_brought_into_the_store_does_not_go_out_with_the_others_of_its_call)
{
    start();
    struct spec_draft draft = { .function = "f", .cpus_hundredths = 100, .returns = 2 };
    size_t bytes;
    CHECK_EQ(client_scope_call(core, 0, &draft.parent, &draft.call), 0);
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    spec_write(&draft, spec, bytes);
    CHECK_EQ(client_call_add(core, 0, spec, true, 1), 0);
    push();
    uint64_t value = 42;
    struct client_done done = { .run = WIRE_RUN_OWN | 1, .results = 2, .duration_ns = 1000 };
    for (int i = 0; i < 2; i++) {
        done.result[i].bytes = sizeof value;
        done.result[i].data = &value;
    }
    client_call_done(core, client_call_at(lease.pushed.next), &done, 2);
    const struct wire_object wire = { .id = result_id(spec->task, 0), .size = 8, .place = { .bytes = 64 } };
    CHECK_EQ(client_own_settle(core, &wire, false), 0);
    roost_ref ref = object_ref(result_id(spec->task, 1));
    int8_t ready = 0;
    struct client_ask wait = { .kind = WIRE_WAIT, .refs = &ref, .total = 1, .wanted = 1, .ready = &ready };
    CHECK_EQ(client_ask(core, &wait), 0);
    CHECK_TEXT(said(), "ESCAPE SETTLE WAIT");
    client_forget(core, &wait);
    free(spec);
    finish();
}

TEST(calls, a_pending_result_that_the_agent_is_asked_about_goes_out_first)
{
    start();
    roost_ref ref = object_ref(call((struct spec_draft){ .max_retries = 3 }));
    int8_t ready = 0;
    struct client_ask wait = { .kind = WIRE_WAIT, .refs = &ref, .total = 1, .wanted = 1, .ready = &ready };
    CHECK_EQ(client_ask(core, &wait), 0);
    CHECK_TEXT(said(), "ESCAPE WAIT");
    client_forget(core, &wait);
    finish();
}

TEST(calls, a_lease_goes_back_when_nothing_of_it_is_left)
{
    start();
    CHECK_EQ(client_lease_remove(core, &lease), 0);
    CHECK_TEXT(said(), "BACK");
    finish();
}
