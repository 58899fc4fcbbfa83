/* What the client core says to its agent, against a scripted agent: each test reads the entries in their order. */
#include "api/core/client_core.h"
#include "common/hash.h"
#include "objectstore/slab.h"
#include "objectstore/table.h"
#include "tests/lib/test.h"

#include <string.h>

static struct client_core *core;
static struct core_out out;

static void start(void)
{
    const struct client_core_setup setup = { 77, { 5, 6 } };
    CHECK_EQ(client_core_create(&setup, &core), 0);
    CHECK_EQ(core_out_init(&out, CLIENT_OUT_BYTES_MAX), 0);
}

static void finish(void)
{
    client_core_destroy(core);
    core_out_fini(&out);
}

/* Everything that is to be said, as a line of words: "ANNOUNCE 3 FREE 1+2" frees 1 and two more. */
static const char *said(void)
{
    static char text[4096];
    static const char *const names[WIRE_KINDS] = {
        [WIRE_ROOM] = "ROOM",         [WIRE_ROOM_BACK] = "BACK", [WIRE_REFS] = "REFS",     [WIRE_ANNOUNCE] = "ANNOUNCE",
        [WIRE_HOLD] = "HOLD",         [WIRE_FREE] = "FREE",      [WIRE_WAIT] = "WAIT",     [WIRE_UNWAIT] = "UNWAIT",
        [WIRE_PREFETCH] = "PREFETCH", [WIRE_LOCATE] = "LOCATE",  [WIRE_RESULT] = "RESULT",
    };
    size_t used = 0;
    text[0] = '\0';
    CHECK(client_core_is_valid(core));
    while (client_core_has_more(core)) {
        core_out_clear(&out);
        client_core_emit(core, &out);
        for (const struct core_command *at = core_next(&out, NULL); at != NULL; at = core_next(&out, at)) {
            const struct wire_entry *entry = core_body(at);
            const void *body = entry;
            CHECK_EQ(wire_check(entry, entry->bytes), 0);
            unsigned long long number = 0, more = 0;
            if (entry->kind == WIRE_ANNOUNCE) {
                number = ((const struct wire_announce *)body)->object.id.lo;
            } else if (entry->kind == WIRE_REFS) {
                number = ((const struct wire_refs *)body)->count;
            } else if (entry->kind == WIRE_ROOM_BACK) {
                number = ((const struct wire_room_back *)body)->place.offset;
            } else if (entry->kind == WIRE_HOLD || entry->kind == WIRE_FREE) {
                const struct wire_names *list = body;
                number = list->ids[0].lo;
                more = list->count - 1;
            } else if (entry->kind == WIRE_WAIT) {
                number = ((const struct wire_wait *)body)->count;
            } else if (entry->kind == WIRE_RESULT) {
                number = ((const struct wire_result *)body)->index;
            }
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %llu", used > 0 ? " " : "",
                                     names[entry->kind], number);
            if (more > 0) {
                used += (size_t)snprintf(text + used, sizeof text - used, "+%llu", more);
            }
            CHECK(used < sizeof text);
        }
    }
    return text;
}

static void add_slab(uint64_t offset, uint64_t bytes)
{
    const struct wire_place place = { offset, bytes, 0, 0 };
    CHECK_EQ(client_slab_add(core, &place, 0), 0);
}

static struct object_id put(uint64_t scope, uint64_t bytes, const roost_ref *refs, uint32_t count)
{
    struct wire_object wire = { .size = bytes, .refs = count, .format = count > 0 ? TABLE_REFS : TABLE_RAW };
    uint64_t wanted;
    CHECK_EQ(client_slab_take(core, bytes, 0, &wire.place, &wanted), 0);
    CHECK_EQ(client_scope_next_id(core, scope, &wire.id), 0);
    CHECK_EQ(client_object_add(core, scope, &wire, refs, true), 0);
    return wire.id;
}

static struct spec *spec_with(uint64_t scope, const roost_in *args, size_t count, uint32_t flags)
{
    struct spec_draft draft = {
        .function = "f", .cpus_hundredths = 100, .returns = 1, .flags = flags, .args = args, .args_count = count
    };
    size_t bytes;
    CHECK_EQ(client_scope_call(core, scope, &draft.parent, &draft.call), 0);
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    spec_write(&draft, spec, bytes);
    return spec;
}

static void take_taken(uint64_t ticket)
{
    const struct wire_taken taken = { { WIRE_TAKEN, sizeof taken, ticket }, { 0, 0 } };
    client_core_take(core, &taken.head);
}

TEST(client_core, a_private_object_comes_and_goes_in_silence)
{
    start();
    add_slab(0, 65536);
    struct object_id id = put(0, 100, NULL, 0);
    CHECK_EQ(id.hi, 77);
    CHECK(client_object_is_private(core, id));
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK(!client_object_is_private(core, id));
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_core_count(core).names, 0);
    CHECK_EQ(client_core_count(core).objects, 0);
    CHECK_EQ(client_free(core, 0, id), ROOST_ENOENT);
    finish();
}

TEST(client_core, an_argument_is_announced_before_the_call_and_freed_after_it_was_taken)
{
    start();
    add_slab(0, 65536);
    struct object_id id = put(0, 100, NULL, 0);
    const roost_in arg = roost_in_ref(object_ref(id));
    struct spec *spec = spec_with(0, &arg, 1, 0);
    struct client_flight *flight;
    CHECK_EQ(client_submit(core, 0, spec, NULL, &flight), 0);
    CHECK_TEXT(said(), "ANNOUNCE 1");
    client_submitted(core, flight, 9);
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK_EQ(client_free(core, 0, result_id(spec->task, 0)), 0);
    CHECK_TEXT(said(), "");
    take_taken(8);
    CHECK_TEXT(said(), "");
    take_taken(9);
    CHECK(client_core_has_more(core));
    CHECK(!client_core_is_urgent(core));
    CHECK_TEXT(said(), "FREE 1+1");
    CHECK_EQ(client_core_count(core).names, 0);
    CHECK_EQ(client_core_count(core).flights, 0);
    free(spec);
    finish();
}

TEST(client_core, what_a_container_holds_goes_first_and_lives_as_long_as_it)
{
    start();
    add_slab(0, 65536);
    struct object_id a = put(0, 10, NULL, 0), b = put(0, 10, NULL, 0);
    const roost_ref inner_refs[] = { object_ref(a), object_ref(b) };
    struct object_id inner = put(0, 64, inner_refs, 2);
    const roost_ref outer_ref = object_ref(inner);
    struct object_id outer = put(0, 32, &outer_ref, 1);
    CHECK_EQ(client_free(core, 0, a) | client_free(core, 0, b) | client_free(core, 0, inner), 0);
    CHECK(client_object_is_private(core, a));
    const roost_in arg = roost_in_handle(object_ref(outer));
    struct spec *spec = spec_with(0, &arg, 1, SPEC_UNHELD);
    struct client_flight *flight;
    CHECK_EQ(client_submit(core, 0, spec, NULL, &flight), 0);
    /* a container's entry comes before the frees of what it alone held */
    CHECK_TEXT(said(), "ANNOUNCE 1 ANNOUNCE 2 REFS 2 ANNOUNCE 3 FREE 1+1 REFS 1 ANNOUNCE 4 FREE 3");
    client_submit_undo(core, flight);
    CHECK_EQ(client_free(core, 0, outer), 0);
    CHECK_TEXT(said(), "FREE 4");
    CHECK_EQ(client_core_count(core).names, 0);
    free(spec);
    finish();
}

TEST(client_core, a_private_container_takes_all_below_it_along)
{
    start();
    add_slab(0, 1 << 20);
    struct object_id below = put(0, 10, NULL, 0);
    for (int depth = 0; depth < 5000; depth++) { /* deep enough to break a recursion */
        const roost_ref ref = object_ref(below);
        struct object_id above = put(0, 32, &ref, 1);
        CHECK_EQ(client_free(core, 0, below), 0);
        below = above;
    }
    CHECK_EQ(client_core_count(core).names, 5001);
    CHECK_EQ(client_free(core, 0, below), 0);
    CHECK_EQ(client_core_count(core).names, 0);
    CHECK_EQ(client_core_count(core).objects, 0);
    CHECK_TEXT(said(), "");
    finish();
}

TEST(client_core, bytes_that_somebody_looks_at_outlive_their_name)
{
    start();
    const struct wire_place lease = { 4096, 8192, 0, 0 };
    struct wire_object wire = { .place = lease, .size = 8000 };
    CHECK_EQ(client_scope_next_id(core, 0, &wire.id), 0);
    CHECK_EQ(client_object_add(core, 0, &wire, NULL, false), 0);
    struct client_sight seen;
    uint64_t pin;
    CHECK(client_object_view(core, wire.id, &seen, &pin));
    CHECK_EQ(seen.offset, 4096);
    CHECK_EQ(client_free(core, 0, wire.id), 0);
    CHECK_TEXT(said(), "");
    client_object_unview(core, pin);
    CHECK_TEXT(said(), "BACK 4096");
    client_object_unview(core, pin); /* a copy of the view, released again */
    CHECK_TEXT(said(), "");
    finish();
}

TEST(client_core, an_object_in_the_place_of_one_that_is_gone_has_another_id_and_its_own_looks)
{
    start();
    add_slab(0, 65536);
    struct client_sight seen;
    uint64_t old_pin, pin;
    struct object_id old = put(0, 100, NULL, 0);
    CHECK(client_object_view(core, old, &seen, &old_pin));
    CHECK_EQ(client_free(core, 0, old), 0);
    client_object_unview(core, old_pin);
    struct object_id id = put(0, 200, NULL, 0);
    CHECK(!object_id_eq(id, old));
    CHECK(!client_object_is_private(core, old));
    CHECK(!client_object_is_private(core, (struct object_id){ 78, id.lo })); /* nobody puts under this prefix */
    CHECK_EQ(client_scope_begin(core, 42, (struct task_id){ 1, 2 }, 88), 0);
    CHECK(!client_object_is_private(core, (struct object_id){ 88, id.lo })); /* who does has put another */
    client_scope_end(core, 42);
    CHECK(!client_object_is_private(core, (struct object_id){ 77, UINT64_MAX }));
    CHECK(client_object_view(core, id, &seen, &pin));
    CHECK_EQ(seen.size, 200);
    client_object_unview(core, old_pin); /* a copy of the view of what was there before */
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK_EQ(client_core_count(core).objects, 1); /* still looked at */
    client_object_unview(core, pin);
    CHECK_EQ(client_core_count(core).objects, 0);
    finish();
}

TEST(client_core, what_stays_is_found_however_much_comes_and_goes_and_no_id_comes_again)
{
    start();
    add_slab(0, 1 << 20);
    struct client_sight seen;
    uint64_t pin, newest = 0;
    struct object_id stays[3];
    for (uint32_t i = 0; i < 1000; i++) {
        struct object_id id = put(0, 100, NULL, 0);
        CHECK(id.lo > newest);
        newest = id.lo;
        if (i % 5 == 0 && i < 15) {
            stays[i / 5] = id;
        } else {
            CHECK_EQ(client_free(core, 0, id), 0);
            CHECK(!client_object_is_private(core, id));
        }
    }
    CHECK(newest > 1000 && newest < 1100); /* the places of the three were passed now and then */
    for (size_t i = 0; i < ROOST_COUNT_OF(stays); i++) {
        CHECK(client_object_view(core, stays[i], &seen, &pin));
        client_object_unview(core, pin);
        CHECK_EQ(client_free(core, 0, stays[i]), 0);
    }
    finish();
}

TEST(client_core, looks_go_on_while_more_and_more_is_put)
{
    enum { MANY = 5000 };
    static struct object_id ids[MANY];
    static uint64_t pins[MANY];
    start();
    add_slab(0, 1 << 20);
    struct client_sight seen;
    for (size_t i = 0; i < MANY; i++) {
        ids[i] = put(0, i % 100, NULL, 0);
        CHECK(client_object_view(core, ids[i], &seen, &pins[i]));
    }
    for (size_t i = 0; i < MANY; i++) {
        CHECK_EQ(client_free(core, 0, ids[i]), 0);
    }
    CHECK_EQ(client_core_count(core).objects, MANY);
    for (size_t i = 0; i < MANY; i++) {
        client_object_unview(core, pins[i]);
    }
    CHECK_EQ(client_core_count(core).objects, 0);
    said();
    finish();
}

TEST(client_core, looks_at_many_end_where_one_is_not_private)
{
    start();
    add_slab(0, 65536);
    CHECK_EQ(client_scope_begin(core, 42, (struct task_id){ 1, 2 }, 88), 0);
    roost_ref refs[2 * CLIENT_VIEWS_AT_ONCE];
    const struct client_sight *sights[2 * CLIENT_VIEWS_AT_ONCE];
    uint64_t pins[2 * CLIENT_VIEWS_AT_ONCE];
    for (size_t i = 0; i < ROOST_COUNT_OF(refs); i++) {
        refs[i] = object_ref(put(i % 2 == 0 ? 0 : 42, 100 + i, NULL, 0)); /* names of two scopes */
    }
    CHECK_EQ(client_objects_view(core, refs, ROOST_COUNT_OF(refs), sights, pins), CLIENT_VIEWS_AT_ONCE);
    for (size_t i = 0; i < CLIENT_VIEWS_AT_ONCE; i++) {
        CHECK_EQ(sights[i]->size, 100 + i);
    }
    CHECK_EQ(client_free(core, 0, object_id_of(refs[0])), 0);
    struct client_sight seen;
    uint64_t pin;
    CHECK(!client_object_view(core, object_id_of(refs[0]), &seen, &pin));
    CHECK_EQ(client_core_count(core).objects, ROOST_COUNT_OF(refs)); /* it is looked at */
    client_objects_unview(core, pins, CLIENT_VIEWS_AT_ONCE);
    CHECK_EQ(client_core_count(core).objects, ROOST_COUNT_OF(refs) - 1);
    client_objects_unview(core, pins, CLIENT_VIEWS_AT_ONCE); /* copies of the views, released again */
    client_objects_unview(core, (uint64_t[]){ 1, UINT64_MAX, 0 }, 3);
    CHECK_EQ(client_core_count(core).objects, ROOST_COUNT_OF(refs) - 1);

    CHECK_EQ(client_keep(core, 0, object_id_of(refs[5])), 0); /* of the other scope: announced by that */
    CHECK_EQ(client_objects_view(core, &refs[1], ROOST_COUNT_OF(refs) - 1, sights, pins), 4);
    client_objects_unview(core, pins, 4);
    CHECK_EQ(client_objects_view(core, &refs[5], 1, sights, pins), 0);
    CHECK_EQ(client_objects_view(core, &refs[0], 2, sights, pins), 0); /* no name at all */
    client_scope_end(core, 42);
    said();
    finish();
}

TEST(client_core, an_object_announced_under_a_look_stays_and_its_free_waits)
{
    start();
    add_slab(0, 65536);
    struct object_id id = put(0, 100, NULL, 0);
    struct client_sight seen;
    uint64_t pin;
    CHECK(client_object_view(core, id, &seen, &pin));
    const roost_in arg = roost_in_ref(object_ref(id));
    struct spec *spec = spec_with(0, &arg, 1, SPEC_UNHELD);
    struct client_flight *flight;
    CHECK_EQ(client_submit(core, 0, spec, NULL, &flight), 0);
    core_out_clear(&out);
    client_core_emit(core, &out);
    const struct wire_announce *announce = core_body(core_next(&out, NULL));
    CHECK_EQ(announce->object.stays, 1);
    client_submitted(core, flight, 1);
    take_taken(1);
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK_TEXT(said(), "");
    client_object_unview(core, pin);
    CHECK_TEXT(said(), "FREE 1");
    CHECK_EQ(client_core_count(core).objects, 0);
    free(spec);
    finish();
}

TEST(client_core, a_kept_name_is_held_at_the_agent_until_its_last_free)
{
    start();
    const struct object_id id = { 9, 9 };
    CHECK_EQ(client_keep(core, 0, id), 0);
    CHECK_EQ(client_keep(core, 0, id), 0);
    CHECK_TEXT(said(), "HOLD 9");
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_free(core, 0, id), 0);
    CHECK_EQ(client_keep(core, 0, id), 0);
    CHECK_TEXT(said(), "FREE 9 HOLD 9");
    finish();
}

TEST(client_core, an_attempts_end_says_nothing_and_leaves_nothing)
{
    start();
    add_slab(0, 65536);
    CHECK_EQ(client_scope_begin(core, 42, (struct task_id){ 1, 2 }, 88), 0);
    CHECK_EQ(client_scope_begin(core, 42, (struct task_id){ 1, 2 }, 88), ROOST_EEXIST);
    struct object_id id = put(42, 100, NULL, 0), looked = put(42, 100, NULL, 0);
    CHECK_EQ(id.hi, 88);
    struct client_sight seen;
    uint64_t pin;
    CHECK(client_object_view(core, looked, &seen, &pin));
    const struct wire_place spec_place = { 1 << 20, 4096, 0, 0 };
    struct spec *spec = spec_with(42, NULL, 0, 0);
    CHECK(task_id_eq(spec->parent, (struct task_id){ 1, 2 }));
    struct client_flight *flight;
    CHECK_EQ(client_submit(core, 42, spec, &spec_place, &flight), 0);
    client_submitted(core, flight, 3);
    client_scope_end(core, 42);
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_core_count(core).names, 0);
    CHECK_EQ(client_core_count(core).objects, 0);
    CHECK_EQ(client_scope_next_id(core, 42, &id), ROOST_ESTATE);
    take_taken(3);
    CHECK_TEXT(said(), "BACK 1048576");
    free(spec);
    finish();
}

TEST(client_core, a_result_is_said_after_what_it_names)
{
    start();
    add_slab(0, 65536);
    CHECK_EQ(client_scope_begin(core, 42, (struct task_id){ 1, 2 }, 88), 0);
    struct object_id inside = put(42, 100, NULL, 0);
    const roost_ref ref = object_ref(inside);
    struct wire_object wire = { .id = { 3, 3 }, .size = 32, .refs = 1, .format = TABLE_FORWARD };
    uint64_t wanted;
    CHECK_EQ(client_slab_take(core, 64, 0, &wire.place, &wanted), 0);
    CHECK_EQ(client_result(core, 42, 7, &wire, &ref, true), 0);
    CHECK_TEXT(said(), "ANNOUNCE 1 REFS 1 RESULT 7");
    client_scope_end(core, 42);
    CHECK_EQ(client_core_count(core).objects, 0);
    finish();
}

TEST(client_core, a_slab_goes_back_when_it_is_closed_and_nothing_in_it_is_private)
{
    start();
    add_slab(0, 65536);
    struct object_id first = put(0, 60000, NULL, 0);
    struct wire_place place;
    uint64_t wanted = 0;
    CHECK_EQ(client_slab_take(core, 60000, 1000, &place, &wanted), SLAB_WANTED);
    CHECK_EQ(wanted, 131072);
    add_slab(1 << 20, wanted);
    CHECK_TEXT(said(), "");
    CHECK_EQ(client_free(core, 0, first), 0);
    CHECK_TEXT(said(), "BACK 0");
    finish();
}

TEST(client_core, a_list_that_is_longer_than_a_message_leaves_in_pieces)
{
    enum { COUNT = 10500 };
    start();
    static roost_ref refs[COUNT];
    static int8_t ready[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        refs[i] = object_ref((struct object_id){ 4, i + 1 });
    }
    struct client_ask ask = { .kind = WIRE_WAIT, .refs = refs, .total = COUNT, .wanted = COUNT, .ready = ready };
    CHECK_EQ(client_ask(core, &ask), 0);
    CHECK_TEXT(said(), "WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 WAIT 1000 "
                       "WAIT 1000 WAIT 500");
    static union {
        struct wire_ready ready;
        unsigned char bytes[sizeof(struct wire_ready) + COUNT];
    } answer;
    answer.ready =
        (struct wire_ready){ .head = { WIRE_READY, sizeof answer, ask.token }, .count = 10000, .total = COUNT };
    memset(answer.ready.ready, 1, 10000);
    client_core_take(core, &answer.ready.head);
    CHECK(!ask.done);
    answer.ready.first = 10000;
    answer.ready.count = 600; /* beyond the end: dropped */
    client_core_take(core, &answer.ready.head);
    CHECK(!ask.done);
    answer.ready.count = 500;
    answer.ready.ready[499] = (int8_t)ROOST_EFREED;
    client_core_take(core, &answer.ready.head);
    CHECK(ask.done);
    CHECK_EQ(ready[0], 1);
    CHECK_EQ(ready[COUNT - 1], ROOST_EFREED);
    CHECK_EQ(client_core_count(core).asks, 0);
    client_forget(core, &ask);
    finish();
}

TEST(client_core, words_about_a_ref_are_kept_with_the_answer_those_about_none_are_not)
{
    start();
    roost_ref refs[2] = { object_ref((struct object_id){ 4, 1 }), object_ref((struct object_id){ 4, 2 }) };
    int8_t ready[2] = { 0 };
    struct client_ask ask = { .kind = WIRE_WAIT, .refs = refs, .total = 2, .wanted = 2, .ready = ready };
    CHECK_EQ(client_ask(core, &ask), 0);
    CHECK_TEXT(said(), "WAIT 2");
    union {
        struct wire_why why;
        unsigned char bytes[sizeof(struct wire_why) + 8];
    } words = { .why = { .head = { WIRE_WHY, sizeof words, ask.token }, .index = 2, .text_bytes = 7 } };
    memcpy(words.why.text, "no room", 7);
    client_core_take(core, &words.why.head);
    CHECK(ask.items == NULL);
    words.why.index = 1;
    client_core_take(core, &words.why.head);
    words.why.index = 0; /* one is enough */
    client_core_take(core, &words.why.head);
    const struct wire_why *kept = ask.items;
    CHECK(kept != NULL && !ask.done);
    CHECK_EQ(kept->index, 1);
    CHECK(kept->text_bytes == 7 && memcmp(kept->text, "no room", 7) == 0);
    client_forget(core, &ask);
    finish();
}

TEST(client_core, room_that_nobody_waits_for_any_more_goes_back)
{
    start();
    struct client_ask ask = { .kind = WIRE_ROOM, .bytes = 5 << 20, .purpose = WIRE_ROOM_OBJECT };
    CHECK_EQ(client_ask(core, &ask), 0);
    CHECK_TEXT(said(), "ROOM 0");
    client_forget(core, &ask);
    const struct wire_room_given given = { .head = { WIRE_ROOM_GIVEN, sizeof given, ask.token },
                                           .place = { 4096, 5 << 20, 0, 0 } };
    client_core_take(core, &given.head);
    CHECK(!ask.done);
    CHECK_TEXT(said(), "BACK 4096");
    finish();
}

TEST(client_core, what_is_kept_together_is_one_message)
{
    start();
    roost_ref refs[WIRE_REFS_PER_ENTRY + 2];
    for (uint64_t i = 0; i < ROOST_COUNT_OF(refs); i++) {
        refs[i] = object_ref((struct object_id){ 4, i + 1 });
    }
    CHECK_EQ(client_keep(core, 0, object_id_of(refs[1])), 0); /* the agent counts it already */
    said();
    CHECK_EQ(client_keep_many(core, 0, refs, ROOST_COUNT_OF(refs)), 0);
    CHECK(client_core_is_urgent(core));
    CHECK_TEXT(said(), "HOLD 1+999 HOLD 1002");
    CHECK_EQ(client_free_many(core, 0, refs, ROOST_COUNT_OF(refs)), ROOST_COUNT_OF(refs));
    CHECK_TEXT(said(), "FREE 1+999 FREE 1002");
    CHECK_EQ(client_free_many(core, 0, refs + 1, 2), 1); /* held twice; the next one is not */
    finish();
}

/* A hold is never said before what it follows, or after what it goes before. */
TEST(client_core, holds_and_frees_go_in_the_order_in_which_they_came)
{
    start();
    const roost_ref a = object_ref((struct object_id){ 4, 1 }), b = object_ref((struct object_id){ 4, 2 });
    CHECK_EQ(client_keep_many(core, 0, &a, 1), 0);
    CHECK_EQ(client_free_many(core, 0, &a, 1), 1);
    CHECK_EQ(client_keep_many(core, 0, &b, 1), 0);
    CHECK_EQ(client_keep_many(core, 0, &a, 1), 0);
    CHECK_TEXT(said(), "HOLD 1 FREE 1 HOLD 2+1");
    finish();
}

TEST(client_core, many_frees_are_one_message)
{
    start();
    for (uint64_t i = 1; i <= CLIENT_FREES_LAZY; i++) {
        CHECK_EQ(client_keep(core, 0, (struct object_id){ 4, i }), 0);
    }
    said();
    for (uint64_t i = 1; i <= CLIENT_FREES_LAZY; i++) {
        CHECK(!client_core_is_urgent(core));
        CHECK_EQ(client_free(core, 0, (struct object_id){ 4, i }), 0);
    }
    CHECK(client_core_is_urgent(core));
    CHECK_EQ(client_core_count(core).sayings, 1);
    finish();
}

/* The same calls: the same entries, byte for byte, and the same hash. */
TEST(client_core, is_deterministic)
{
    uint64_t hashes[2], content[2] = { 0, 0 };
    for (int run = 0; run < 2; run++) {
        start();
        add_slab(0, 1 << 20);
        uint64_t random = 1;
        struct object_id held[64] = { { 0, 0 } };
        for (int step = 0; step < 5000; step++) {
            random = hash_mix(random, 7);
            struct object_id *place = &held[random % 64];
            if (object_id_is_none(*place)) {
                const roost_ref ref = object_ref(held[(random >> 8) % 64]);
                bool contains = !object_id_is_none(object_id_of(ref)) && random >> 63 != 0;
                *place = put(0, 64, &ref, contains ? 1 : 0);
            } else if ((random >> 32) % 3 == 0) {
                const roost_in arg = roost_in_ref(object_ref(*place));
                struct spec *spec = spec_with(0, &arg, 1, SPEC_UNHELD);
                struct client_flight *flight;
                CHECK_EQ(client_submit(core, 0, spec, NULL, &flight), 0);
                client_submitted(core, flight, (uint64_t)step + 1);
                take_taken((uint64_t)step + 1);
                free(spec);
            } else {
                CHECK_EQ(client_free(core, 0, *place), 0);
                *place = (struct object_id){ 0, 0 };
            }
            const char *text = said();
            content[run] = hash64(text, strlen(text), content[run]);
        }
        hashes[run] = client_core_hash(core);
        finish();
    }
    CHECK(hashes[0] == hashes[1]);
    CHECK(content[0] == content[1]);
}
