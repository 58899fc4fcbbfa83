#include "common/core.h"
#include "tests/lib/test.h"

#include <stdint.h>

TEST(core_out, walks_commands_in_the_order_given_and_steps_over_memory)
{
    struct core_out out;
    CHECK_EQ(core_out_init(&out, 4096), 0);
    int *first = core_put(&out, CORE_SEND, 1, 10, sizeof *first);
    *first = 7;
    CHECK(core_alloc(&out, 100) != NULL);
    core_put(&out, CORE_DISARM, 2, 20, 0);

    const struct core_command *command = core_next(&out, NULL);
    CHECK(command != NULL && command->kind == CORE_SEND && command->token == 10);
    CHECK_EQ(*(const int *)core_body(command), 7);
    command = core_next(&out, command);
    CHECK(command != NULL && command->kind == CORE_DISARM && command->to == 2);
    CHECK(core_next(&out, command) == NULL);
    core_out_fini(&out);
}

TEST(core_out, bodies_are_aligned_and_zeroed)
{
    struct core_out out;
    CHECK_EQ(core_out_init(&out, 4096), 0);
    for (size_t size = 0; size < 40; size++) {
        unsigned char *body = core_put(&out, CORE_REPLY, 0, 0, size);
        CHECK_EQ((uintptr_t)body % 16, 0);
        for (size_t i = 0; i < size; i++) {
            CHECK_EQ(body[i], 0);
            body[i] = 0xff;
        }
        if (size % 10 == 9) {
            core_out_clear(&out);
        }
    }
    core_out_fini(&out);
}

TEST(core_out, goes_on_in_further_blocks_when_a_step_has_more_to_say_than_it_promised)
{
    enum { COMMANDS = 1000 };
    struct core_out out;
    CHECK_EQ(core_out_init(&out, 1024), 0);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < COMMANDS; i++) {
            uint64_t *body = core_put(&out, CORE_SEND, 0, i, i == 500 ? 100000 : sizeof *body);
            uint64_t *beside = core_alloc(&out, sizeof *beside);
            *body = (uintptr_t)beside;
            *beside = i * 7;
        }
        CHECK_EQ(core_out_left(&out), 0);
        uint64_t seen = 0;
        for (const struct core_command *c = core_next(&out, NULL); c != NULL; c = core_next(&out, c)) {
            CHECK_EQ(c->token, seen);
            CHECK_EQ(*(const uint64_t *)(uintptr_t) * (const uint64_t *)core_body(c), seen * 7);
            seen++;
        }
        CHECK_EQ(seen, COMMANDS);
        core_out_clear(&out);
        CHECK_EQ(core_out_left(&out), 1024);
        CHECK(core_next(&out, NULL) == NULL);
    }
    core_out_fini(&out);
}

TEST(core_keys, survive_the_trip_through_a_number)
{
    struct core_peer peer = core_peer_of(core_peer_key((struct core_peer){ 7, 0xffffffff }));
    CHECK(peer.node == 7 && peer.incarnation == 0xffffffff);
    struct core_client client = core_client_of(core_client_key((struct core_client){ 0xffffffff, 1 }));
    CHECK(client.slot == 0xffffffff && client.generation == 1);
}
