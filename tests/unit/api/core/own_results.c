/* Results of calls through leases: until and when they become the agent's. */
#include "common/hash.h"
#include "tests/lib/test.h"
#include "tests/unit/api/core/call_bench.h"

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
