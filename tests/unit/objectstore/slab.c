#include "objectstore/slab.h"
#include "common/hash.h"
#include "tests/lib/test.h"

#include <roost.h>

static struct slab_book book;
static uint64_t leased_at; /* the next lease's offset: a generous agent */

static struct store_place lease(uint64_t bytes, uint64_t now_ns)
{
    struct store_place place = { leased_at, bytes, 1 };
    leased_at += bytes;
    CHECK_EQ(slab_add(&book, place, now_ns), 0);
    return place;
}

static struct store_place take(uint64_t size)
{
    struct store_place place;
    uint64_t bytes;
    if (slab_take(&book, size, 0, &place, &bytes) == SLAB_WANTED) {
        lease(bytes, 0);
        CHECK_EQ(slab_take(&book, size, 0, &place, &bytes), 0);
    }
    CHECK_EQ(place.size, size);
    CHECK_EQ(place.offset % STORE_ALIGNMENT, 0);
    return place;
}

TEST(slab, the_first_object_asks_for_a_small_slab_and_a_big_one_for_one_that_holds_it)
{
    struct store_place place;
    uint64_t bytes;
    slab_book_init(&book);
    CHECK_EQ(slab_take(&book, 100, 0, &place, &bytes), SLAB_WANTED);
    CHECK_EQ(bytes, STORE_SLAB_BYTES_MIN);
    CHECK_EQ(slab_take(&book, STORE_LARGE_BYTES, 0, &place, &bytes), SLAB_WANTED);
    CHECK_EQ(bytes, STORE_LARGE_BYTES);
    slab_book_fini(&book);
}

TEST(slab, sizes_follow_the_rate)
{
    struct store_place place;
    uint64_t bytes, now_ns = 0;
    slab_book_init(&book);
    for (int i = 0; i < 12; i++) { /* full at once, each time */
        while (slab_take(&book, 60000, now_ns, &place, &bytes) == 0) {
        }
        lease(bytes, now_ns);
    }
    CHECK_EQ(bytes, STORE_SLAB_BYTES_MAX);
    for (int i = 0; i < 12; i++) {
        now_ns += 2 * (uint64_t)SLAB_SLOW_NS;
        while (slab_take(&book, 60000, now_ns, &place, &bytes) == 0) {
        }
        lease(bytes, now_ns);
    }
    CHECK_EQ(bytes, STORE_SLAB_BYTES_MIN);
    slab_book_fini(&book);
}

TEST(slab, put_and_free_in_a_loop_stays_in_place)
{
    slab_book_init(&book);
    struct store_place first = take(1000);
    slab_drop(&book, first);
    for (int i = 0; i < 1000; i++) {
        struct store_place place = take(1000);
        CHECK_EQ(place.offset, first.offset);
        slab_drop(&book, place);
    }
    CHECK_EQ(book.count, 1);
    slab_book_fini(&book);
}

TEST(slab, bytes_of_a_handed_over_object_are_never_laid_out_again)
{
    slab_book_init(&book);
    struct store_place kept = take(1000), next;
    slab_hand_over(&book, kept);
    next = take(1000);
    CHECK(next.offset >= kept.offset + 1000);
    slab_drop(&book, next);
    next = take(1000);
    CHECK(next.offset >= kept.offset + 1000);
    slab_book_fini(&book);
}

TEST(slab, a_closed_slab_goes_back_when_its_last_private_object_went)
{
    struct store_place a, b, empty;
    slab_book_init(&book);
    a = take(40000);
    b = take(10000);
    struct store_place c = take(40000); /* does not fit: a second slab */
    CHECK_EQ(book.count, 2);
    slab_drop(&book, a);
    CHECK(!slab_next_empty(&book, &empty));
    slab_hand_over(&book, b);
    CHECK(slab_next_empty(&book, &empty));
    CHECK_EQ(empty.offset, a.offset);
    CHECK(!slab_next_empty(&book, &empty));
    slab_drop(&book, c); /* in the current one */
    CHECK(!slab_next_empty(&book, &empty));
    slab_close_current(&book);
    CHECK(slab_next_empty(&book, &empty));
    CHECK_EQ(book.count, 0);
    slab_book_fini(&book);
}

TEST(slab, trimming_the_last_object_gives_its_tail_back_at_once)
{
    slab_book_init(&book);
    struct store_place a = take(10000), old = a;
    slab_trim(&book, &a, 100);
    CHECK_EQ(a.size, 100);
    struct store_place b = take(10);
    CHECK_EQ(b.offset, old.offset + 128);
    slab_trim(&book, &a, 50); /* no longer the last: only shorter */
    CHECK_EQ(take(10).offset, b.offset + 64);
    slab_book_fini(&book);
}

TEST(slab, no_two_live_places_overlap_and_every_slab_comes_back)
{
    enum { LIVE = 300, STEPS = 50000 };
    static struct store_place live[LIVE];
    uint32_t count = 0, returned = 0, added = 0;
    uint64_t random = 3;
    slab_book_init(&book);
    uint64_t leased_from = leased_at;
    for (int step = 0; step < STEPS; step++) {
        random = hash_mix(random, (uint64_t)step);
        struct store_place empty;
        if (count < LIVE && random % 3 != 0) {
            struct store_place place = take(1 + (random >> 8) % 20000);
            for (uint32_t i = 0; i < count; i++) {
                CHECK(place.offset + place.size <= live[i].offset || live[i].offset + live[i].size <= place.offset);
            }
            live[count++] = place;
        } else if (count > 0) {
            uint32_t victim = (uint32_t)((random >> 8) % count);
            slab_drop(&book, live[victim]);
            live[victim] = live[--count];
        }
        while (slab_next_empty(&book, &empty)) {
            returned++;
        }
    }
    while (count > 0) {
        slab_drop(&book, live[--count]);
    }
    slab_close_current(&book);
    struct store_place empty;
    while (slab_next_empty(&book, &empty)) {
        returned++;
    }
    added = returned + book.count;
    CHECK_EQ(book.count, 0);
    CHECK(added > 10 && leased_at > leased_from);
    slab_book_fini(&book);
}
