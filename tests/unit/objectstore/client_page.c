#include "objectstore/client_page.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CLIENT_PAGE_LAYOUT == 2 && NODE_PAGE_LAYOUT == 1, "the sizes and offsets below are those of these");
_Static_assert(sizeof(struct client_page_head) == 32, "change CLIENT_PAGE_LAYOUT with it");
_Static_assert(offsetof(struct client_page_head, bytes) == 24, "change CLIENT_PAGE_LAYOUT with it");
_Static_assert(offsetof(struct node_page, wake_ns) == 16, "change NODE_PAGE_LAYOUT with it");
_Static_assert(offsetof(struct node_page, bell) == 64, "the bell has a cache line of its own");
_Static_assert(sizeof(struct connect_hello) == 24, "the first words are fixed");
_Static_assert(offsetof(struct connect_hello, token) == 16, "the first words are fixed");
_Static_assert(sizeof(struct connect_welcome) == 600, "the first words are fixed");
_Static_assert(offsetof(struct connect_welcome, node) == 24, "the first words are fixed");
_Static_assert(offsetof(struct connect_welcome, prefix) == 56, "the first words are fixed");
_Static_assert(offsetof(struct connect_welcome, segment_bytes) == 88, "the first words are fixed");
_Static_assert(offsetof(struct connect_welcome, node_name) == 280, "the first words are fixed");
_Static_assert(sizeof(struct connect_pins) == 8 && sizeof(struct connect_pins_given) == 16,
               "the first words are fixed");

static unsigned char *memory;
static struct client_page_layout layout;

static void start(void)
{
    layout = client_page_layout();
    memory = aligned_alloc(4096, layout.bytes);
    CHECK(memory != NULL);
    memset(memory, 0, layout.bytes);
    client_page_format(memory, 3, 5, CLIENT_WORKER);
}

TEST(client_page, parts_lie_one_after_the_other_each_on_a_cache_line_of_its_own)
{
    layout = client_page_layout();
    const struct {
        size_t begin, bytes;
    } parts[] = { { 0, sizeof(struct client_page_head) },
                  { layout.requests, ring_bytes(CLIENT_REQUEST_RING_BYTES) },
                  { layout.replies, ring_bytes(CLIENT_REPLY_RING_BYTES) },
                  { layout.taken, ring_bytes(CLIENT_SMALL_RING_BYTES) },
                  { layout.submits, task_ring_bytes(CLIENT_TASK_SLOTS) },
                  { layout.tasks, task_ring_bytes(WORKER_TASK_SLOTS) },
                  { layout.completes, ring_bytes(CLIENT_SMALL_RING_BYTES) },
                  { layout.bytes, 0 } };
    for (size_t i = 1; i < ROOST_COUNT_OF(parts); i++) {
        CHECK(parts[i].begin >= parts[i - 1].begin + parts[i - 1].bytes);
        CHECK_EQ(parts[i].begin % 64, 0);
    }
    CHECK_EQ(layout.bytes % 4096, 0);
}

TEST(client_page, what_was_formatted_is_found_good_and_says_whose_it_is)
{
    start();
    const struct client_page_head *head = (const struct client_page_head *)(const void *)memory;
    CHECK_EQ(client_page_check(memory, layout.bytes), 0);
    CHECK_EQ(head->slot, 3);
    CHECK_EQ(head->generation, 5);
    CHECK_EQ(head->role, CLIENT_WORKER);
    free(memory);
}

TEST(client_page, another_layout_magic_or_size_is_refused)
{
    start();
    struct client_page_head *head = (struct client_page_head *)(void *)memory, good = *head;
    CHECK_EQ(client_page_check(memory, layout.bytes - 4096), ROOST_EVERSION);
    CHECK_EQ(client_page_check(memory, 0), ROOST_EVERSION);
    head->magic++;
    CHECK_EQ(client_page_check(memory, layout.bytes), ROOST_EVERSION);
    *head = good;
    head->layout++;
    CHECK_EQ(client_page_check(memory, layout.bytes), ROOST_EVERSION);
    CHECK(strstr(error_text(), "layout") != NULL);
    *head = good;
    head->bytes += 4096;
    CHECK_EQ(client_page_check(memory, layout.bytes), ROOST_EVERSION);
    *head = good;
    CHECK_EQ(client_page_check(memory, layout.bytes), 0);
    free(memory);
}

static void fill(struct ring_producer *ring, unsigned char byte)
{
    void *to;
    while ((to = ring_reserve(ring, 1000)) != NULL) {
        memset(to, byte, 1000);
    }
    ring_commit(ring);
}

static void check_filled(struct ring_consumer *ring, unsigned char byte)
{
    unsigned char copy[1000];
    size_t size, count = 0;
    for (int taken; (taken = ring_take(ring, copy, sizeof copy, &size)) != 0; count++) {
        CHECK_EQ(taken, 1);
        CHECK(size == 1000 && copy[0] == byte && copy[999] == byte);
    }
    CHECK(count > 0);
}

static void fill_tasks(struct task_ring *ring, unsigned char byte)
{
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
    memset(payload, byte, sizeof payload);
    while (task_ring_push(ring, byte, 0, payload, sizeof payload, NULL) == 0) {
    }
}

static void check_tasks_filled(struct task_ring *ring, uint32_t slots, unsigned char byte)
{
    struct task_ring_item item;
    uint32_t count = 0;
    for (int taken; (taken = task_ring_claim(ring, &item)) != 0; count++) {
        CHECK_EQ(taken, 1);
        CHECK(item.lease == byte && item.payload[0] == byte && item.payload[TASK_PAYLOAD_BYTES_MAX - 1] == byte);
    }
    CHECK_EQ(count, slots);
}

/* Each of them full to the last byte, with a byte of its own: none reaches into another. */
TEST(client_page, all_rings_can_be_full_at_once)
{
    start();
    const struct {
        size_t at, bytes;
    } rings[] = { { layout.requests, CLIENT_REQUEST_RING_BYTES },
                  { layout.replies, CLIENT_REPLY_RING_BYTES },
                  { layout.taken, CLIENT_SMALL_RING_BYTES },
                  { layout.completes, CLIENT_SMALL_RING_BYTES } },
      tasks[] = { { layout.submits, CLIENT_TASK_SLOTS }, { layout.tasks, WORKER_TASK_SLOTS } };
    for (unsigned char i = 0; i < 4; i++) {
        struct ring_producer ring;
        CHECK_EQ(ring_producer_attach(&ring, memory + rings[i].at, rings[i].bytes), 0);
        fill(&ring, (unsigned char)(i + 1));
    }
    struct task_ring task_rings[2];
    for (unsigned char i = 0; i < 2; i++) {
        CHECK_EQ(task_ring_attach(&task_rings[i], memory + tasks[i].at, (uint32_t)tasks[i].bytes, 0), 0);
        fill_tasks(&task_rings[i], (unsigned char)(i + 11));
    }
    for (unsigned char i = 0; i < 4; i++) {
        struct ring_consumer ring;
        CHECK_EQ(ring_consumer_attach(&ring, memory + rings[i].at, rings[i].bytes), 0);
        check_filled(&ring, (unsigned char)(i + 1));
    }
    for (unsigned char i = 0; i < 2; i++) {
        check_tasks_filled(&task_rings[i], (uint32_t)tasks[i].bytes, (unsigned char)(i + 11));
    }
    CHECK_EQ(client_page_check(memory, layout.bytes), 0);
    free(memory);
}

TEST(client_page, the_bells_of_one_client_are_a_page_with_a_line_for_each_and_one_for_the_lead)
{
    static struct client_bells bells;
    CHECK_EQ(offsetof(struct client_bells, lead), (size_t)CLIENT_DOORBELLS * 64);
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        CHECK_EQ((uintptr_t)&bells.of[i].doorbell - (uintptr_t)&bells, (uintptr_t)i * 64);
        doorbell_arm(&bells.of[i].doorbell);
    }
    client_bells_format(&bells);
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        CHECK(
            !doorbell_ring(&bells.of[i].doorbell)); /* the client that had the slot before slept there, not this one */
    }
    CHECK_EQ(bells.lead, CLIENT_LEAD_NONE);
}
