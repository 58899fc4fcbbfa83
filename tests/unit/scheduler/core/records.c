#include "scheduler/core/records.h"
#include "common/hash.h"
#include "tests/lib/test.h"

struct thing {
    struct id_key id;
    uint64_t payload[5];
};

static struct records things(void) { return (struct records){ .record_bytes = sizeof(struct thing) }; }

static struct id_key id_of(uint64_t number) { return (struct id_key){ hash_mix(7, number), number + 1 }; }

TEST(records, what_was_made_is_found_until_it_is_forgotten)
{
    enum { IDS = 5000, STEPS = 60000 };
    static struct thing *made[IDS];
    struct records records = things();
    uint64_t random = 3;
    uint32_t count = 0;
    for (uint64_t step = 0; step < STEPS; step++) {
        random = hash_mix(random, step);
        uint64_t at = random % IDS;
        CHECK(records_find(&records, id_of(at)) == made[at]);
        if (made[at] == NULL) {
            made[at] = records_make(&records, id_of(at));
            CHECK_EQ(made[at]->payload[0] | made[at]->payload[4], 0);
            made[at]->payload[0] = made[at]->payload[4] = at;
            count++;
        } else {
            CHECK_EQ(made[at]->payload[4], at);
            records_forget(&records, made[at]);
            made[at] = NULL;
            count--;
        }
        records_prefetch_slot(&records, id_of(at));
        records_prefetch(&records, id_of(at));
    }
    CHECK_EQ(records.count, count);
    records_fini(&records);
}

TEST(records, a_walk_by_number_meets_each_that_lives_once)
{
    enum { RECORDS = 300000 }; /* more than the small chunks hold */
    struct records records = things();
    uint64_t sum = 0, met = 0;
    for (uint64_t i = 0; i < RECORDS; i++) {
        ((struct thing *)records_make(&records, id_of(i)))->payload[2] = i;
    }
    for (uint64_t i = 0; i < RECORDS; i += 3) {
        records_forget(&records, records_find(&records, id_of(i)));
    }
    for (uint32_t number = 0; number < records.used; number++) {
        const struct thing *thing = records_number(&records, number);
        met += thing != NULL ? 1 : 0;
        sum += thing != NULL ? thing->payload[2] : 0;
    }
    CHECK_EQ(met, RECORDS - RECORDS / 3);
    CHECK_EQ(sum, (uint64_t)RECORDS * (RECORDS - 1) / 2 - 3 * ((uint64_t)(RECORDS / 3) * (RECORDS / 3 - 1) / 2));
    CHECK(records_number(&records, records.used) == NULL);
    records_fini(&records);
}

TEST(records, numbers_of_those_that_went_are_given_again)
{
    struct records records = things();
    for (uint64_t round = 0; round < 100; round++) {
        for (uint64_t i = 0; i < 10; i++) {
            records_make(&records, id_of(round * 10 + i));
        }
        for (uint64_t i = 0; i < 10; i++) {
            records_forget(&records, records_find(&records, id_of(round * 10 + i)));
        }
    }
    CHECK_EQ(records.used, 10);
    records_fini(&records);
    CHECK(records_find(&records, id_of(1)) == NULL);
}

TEST(records, the_memory_of_a_burst_goes_with_its_last_record)
{
    enum { RECORDS = 300000 };
    struct records records = things();
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < RECORDS; i++) {
            records_make(&records, id_of(i));
        }
        for (uint64_t i = 0; i < RECORDS; i++) {
            CHECK(records_bytes(&records) > RECORDS * sizeof(struct thing));
            records_forget(&records, records_find(&records, id_of(i)));
        }
        CHECK_EQ(records_bytes(&records), 0);
        CHECK(records_number(&records, 0) == NULL);
    }
    records_fini(&records);
}
