/* Calls through leases that need the results of others: when they go, and what rides along. */
#include "common/hash.h"
#include "objectstore/table.h"
#include "tests/lib/test.h"
#include "tests/unit/api/core/call_bench.h"

#include <string.h>

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

TEST(calls, what_this_process_has_put_is_here_though_the_agent_may_not_have_read_of_it)
{
    start();
    const struct object_id small = put(true), large = put(false);
    const roost_in args[] = { roost_in_ref(object_ref(small)), roost_in_ref(object_ref(large)) };
    for (int is_said = 0; is_said < 2; is_said++) {
        struct spec *reads_small = spec_of((struct spec_draft){ .args = args, .args_count = 1 });
        struct spec *reads_both = spec_of((struct spec_draft){ .args = args, .args_count = 2 });
        CHECK_EQ(client_call_add(core, 0, reads_small, false, 1), 0);
        CHECK_EQ(client_call_add(core, 0, reads_both, false, 1), ROOST_ENOENT);
        CHECK_TEXT(said(), is_said ? "" : "ANNOUNCE");
        free(reads_small);
        free(reads_both);
    }
    finish();
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
