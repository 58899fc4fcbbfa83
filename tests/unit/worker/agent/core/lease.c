#include "common/hash.h"
#include "tests/lib/agent_bench.h"
#include "tests/lib/test.h"
#include "worker/agent/core/agent_internal.h"

#include <string.h>

static struct bench bench;

enum { HOLD_NS = LEASE_HOLD_MS * 1000000 };

static void ask(struct core_client client)
{
    struct wire_lease entry = { .head = { WIRE_LEASE, sizeof entry, ++bench.next_token } };
    bench_entry(&bench, client, &entry.head);
}

static uint64_t granted(struct core_client client)
{
    const struct wire_leased *leased = bench_said(&bench, client, WIRE_LEASED);
    return leased == NULL ? 0 : leased->lease;
}

/* A lease for the client, its worker started if need be. */
static uint64_t lease(struct core_client client)
{
    size_t before = bench_said_count(&bench, client, WIRE_LEASED);
    ask(client);
    bench_workers_come(&bench);
    CHECK_EQ(bench_said_count(&bench, client, WIRE_LEASED), before + 1);
    return granted(client);
}

static struct core_client worker_of(struct core_client client)
{
    const struct wire_leased *leased = bench_said(&bench, client, WIRE_LEASED);
    return (struct core_client){ leased->slot, 1 };
}

static void give_back(struct core_client client, uint64_t number)
{
    struct wire_lease_back entry = { .head = { WIRE_LEASE_BACK, sizeof entry, 0 }, .lease = number };
    bench_entry(&bench, client, &entry.head);
}

/* 0: nothing was said about that lease. */
static uint32_t news_of(struct core_client client, uint64_t number)
{
    const struct wire_lease_news *news = bench_said(&bench, client, WIRE_LEASE_NEWS);
    return news != NULL && news->lease == number ? news->what : 0;
}

static void run(struct core_client worker, uint64_t number, struct task_id task)
{
    struct wire_run entry = { .head = { WIRE_RUN, sizeof entry, 0 }, .run = WIRE_RUN_OWN | number, .task = task };
    bench_entry(&bench, worker, &entry.head);
}

static void run_end(struct core_client worker, uint64_t number, int status)
{
    struct wire_run_end entry = { .head = { WIRE_RUN_END, sizeof entry, 0 },
                                  .run = WIRE_RUN_OWN | number,
                                  .status = status };
    bench_entry(&bench, worker, &entry.head);
}

static void result(struct core_client worker, uint64_t number, struct task_id task, uint32_t index, uint64_t bytes)
{
    struct wire_result entry = { .head = { WIRE_RESULT, sizeof entry, 0 },
                                 .run = WIRE_RUN_OWN | number,
                                 .index = index,
                                 .object = { .id = result_id(task, index), .size = bytes } };
    CHECK_EQ(bench_room(&bench, worker, 0, WIRE_ROOM_OBJECT, bytes, &entry.object.place), 0);
    bench_entry(&bench, worker, &entry.head);
}

static void adopt(struct core_client client, uint64_t number, uint64_t run_number, struct task_id task, uint32_t index,
                  bool is_wanted)
{
    struct wire_adopt entry = { .head = { WIRE_ADOPT, sizeof entry, 0 },
                                .lease = number,
                                .run = WIRE_RUN_OWN | run_number,
                                .task = task,
                                .index = index,
                                .is_wanted = is_wanted };
    bench_entry(&bench, client, &entry.head);
}

/* The worker that was asked for last ends before it has connected: of a new program that is enough. */
static void worker_does_not_start(void) { bench_done(&bench, bench.spawns[--bench.spawns_count], 0x100, 0, NULL, 0); }

static int64_t cpus_free(void) { return agent_counts(bench.agent).cpus_hundredths_free; }

static void job(uint64_t number) { bench.job = (struct job_id){ number, number }; }

TEST(task_lease, a_lease_brings_a_worker_and_has_its_cpu_until_every_ring_was_read_after_it_came_back)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    ask(driver);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASED), 0); /* a worker is being started */
    bench_workers_come(&bench);
    uint64_t number = granted(driver);
    CHECK(number != 0);
    CHECK_EQ(cpus_free(), 100);
    CHECK_EQ(bench.lease_memory.number, number);
    CHECK_EQ(bench.lease_memory.holder.slot, driver.slot);
    give_back(driver, number);
    CHECK_EQ(cpus_free(), 100);
    bench_drain(&bench);
    CHECK_EQ(cpus_free(), 200);
    CHECK_EQ(bench.lease_memory.number, 0);
    CHECK_EQ(agent_counts(bench.agent).workers_idle, 1);
    bench_end(&bench, true);
}

TEST(task_lease, a_holder_hears_how_many_other_nodes_live)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    CHECK_EQ(((const struct wire_leased *)bench_said(&bench, driver, WIRE_LEASED))->others, 0);
    struct proto_node other = { .number = 77, .state = PROTO_NODE_ALIVE, .host = "", .labels = "" };
    const struct proto_message joined = { .kind = PROTO_NODES, .u.nodes = { &other, 1 } };
    bench_head_comes(&bench); /* and tells of one */
    const struct wire_lease_news *news = bench_said(&bench, driver, WIRE_LEASE_NEWS);
    CHECK(news != NULL && news->what == WIRE_LEASE_OTHERS);
    CHECK_EQ(news->wait_status, 1);
    bench_message(&bench, (struct core_peer){ 0, 0 }, &joined);
    news = bench_said(&bench, driver, WIRE_LEASE_NEWS);
    CHECK_EQ(news->wait_status, 2);
    bench_end(&bench, false);
}

TEST(task_lease, who_asks_for_one_hears_of_other_nodes_when_neither_a_cpu_nor_a_worker_is_on_its_way)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client first = bench_driver(&bench), second = bench_driver(&bench);
    bench_head_comes(&bench); /* and tells of one */
    ask(first);               /* its worker is being started */
    CHECK_EQ(bench_said_count(&bench, first, WIRE_LEASE_NEWS), 0);
    ask(second);
    const struct wire_lease_news *news = bench_said(&bench, second, WIRE_LEASE_NEWS);
    CHECK(news != NULL && news->what == WIRE_LEASE_OTHERS);
    CHECK_EQ(news->wait_status, 1);
    bench_workers_come(&bench);
    CHECK(granted(first) != 0);
    CHECK_EQ(bench_said_count(&bench, second, WIRE_LEASE_NEWS), 1);
    bench_end(&bench, false);
}

TEST(task_lease, one_that_never_can_be_granted_is_denied_when_it_is_asked_for_or_when_that_is_known)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    ask(driver);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASE_NEWS), 0);
    worker_does_not_start();
    const struct wire_lease_news *news = bench_said(&bench, driver, WIRE_LEASE_NEWS);
    CHECK(news != NULL && news->what == WIRE_LEASE_DENIED);
    ask(driver);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASE_NEWS), 2);
    bench_end(&bench, true);

    bench_start(&bench, ROOST_MIB(1), 0);
    driver = bench_driver(&bench);
    ask(driver);
    news = bench_said(&bench, driver, WIRE_LEASE_NEWS);
    CHECK(news != NULL && news->what == WIRE_LEASE_DENIED);
    bench_end(&bench, true);
}

TEST(task_lease, a_leased_worker_gets_no_attempts)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    CHECK_EQ(bench.tasks_count, 0);
    bench_workers_come(&bench); /* another one was started for it */
    struct bench_task task = bench_take(&bench);
    CHECK(task.client.slot != worker_of(driver).slot);
    bench_complete(&bench, &task, 0, "");
    bench_end(&bench, false);
}

TEST(task_lease, a_task_that_lacks_the_cpu_of_a_lease_gets_it_once_the_lease_was_held_for_its_time)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    CHECK_EQ(news_of(driver, number), 0);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_WANTED); /* if it has nothing to do */
    bench_time(&bench, bench.now_ns + HOLD_NS);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_RECALLED);
    ask(driver); /* it wants another one at once, and the task goes first */
    give_back(driver, number);
    bench_drain(&bench);
    struct bench_task task = bench_take(&bench);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASED), 1);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASED), 2);
    bench_end(&bench, false);
}

TEST(task_lease, a_lease_and_tasks_take_turns_in_the_order_in_which_they_came)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    const struct spec_draft draft = { .function = "f", .returns = 1 };
    bench_submit(&bench, driver, 0, &draft);
    bench_workers_come(&bench);
    struct bench_task first = bench_take(&bench);
    bench_submit(&bench, driver, 0, &draft); /* came before the lease was asked for, */
    ask(driver);
    bench_submit(&bench, driver, 0, &draft); /* and after */
    bench_complete(&bench, &first, 0, "");
    struct bench_task second = bench_take(&bench);
    CHECK_EQ(granted(driver), 0);
    bench_complete(&bench, &second, 0, "");
    uint64_t number = granted(driver);
    CHECK(number != 0);
    CHECK_EQ(bench.tasks_count, 0);
    bench_time(&bench, bench.now_ns + HOLD_NS);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_RECALLED); /* the task waits its turn, not for ever */
    give_back(driver, number);
    bench_drain(&bench);
    struct bench_task third = bench_take(&bench);
    bench_complete(&bench, &third, 0, "");
    bench_end(&bench, false);
}

TEST(task_lease, who_gives_one_back_and_has_asked_for_another_comes_after_what_waited_for_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    ask(driver);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_WANTED);
    give_back(driver, number);
    bench_drain(&bench);
    struct bench_task task = bench_take(&bench);
    bench_complete(&bench, &task, 0, "");
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_LEASED), 2);
    bench_end(&bench, false);
}

TEST(task_lease, a_lease_whose_worker_is_starting_keeps_its_cpu_from_tasks_that_came_later)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    ask(driver);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    bench_workers_come(&bench);
    CHECK(granted(driver) != 0);
    CHECK_EQ(bench.tasks_count, 0);
    bench_end(&bench, false);
}

TEST(task_lease, a_job_without_a_lease_gets_one_of_the_job_that_has_more)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client first = bench_driver(&bench);
    lease(first);
    uint64_t newer = lease(first);
    job(2);
    struct core_client second = bench_driver(&bench);
    ask(second);
    bench_time(&bench, bench.now_ns + HOLD_NS);
    bench_workers_come(&bench);
    CHECK_EQ(bench_said_count(&bench, first, WIRE_LEASE_NEWS), 2 + 1); /* both are wanted, one is called back */
    const struct wire_lease_news *news = bench_said(&bench, first, WIRE_LEASE_NEWS);
    CHECK(news->what == WIRE_LEASE_RECALLED && news->lease != newer);
    give_back(first, news->lease);
    bench_drain(&bench);
    bench_workers_come(&bench);
    CHECK_EQ(bench_said_count(&bench, second, WIRE_LEASED), 1);
    bench_time(&bench, bench.now_ns + 10 * HOLD_NS);
    CHECK_EQ(bench_said_count(&bench, first, WIRE_LEASE_NEWS), 2 + 1); /* one each: nobody has more */
    bench_end(&bench, true);
}

TEST(task_lease, a_dead_worker_is_told_of_and_its_cpu_is_free_at_once)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    bench_gone(&bench, worker_of(driver), 9);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_ENDED);
    CHECK_EQ(((const struct wire_lease_news *)bench_said(&bench, driver, WIRE_LEASE_NEWS))->wait_status, 9);
    CHECK_EQ(cpus_free(), 100);
    give_back(driver, number);
    CHECK_EQ(bench.closed_count, 0);
    lease(driver);
    bench_end(&bench, true);
}

TEST(task_lease, a_worker_that_broke_its_lease_is_killed_and_the_lease_ends_as_if_it_had_died)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    struct wire_lease_back broken = { .head = { WIRE_LEASE_BROKEN, sizeof broken, 0 }, .lease = number };
    bench_entry(&bench, driver, &broken.head);
    CHECK_EQ(bench.killed_count, 1);
    CHECK_EQ(news_of(driver, number), 0);
    bench_gone(&bench, worker_of(driver), 9);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_ENDED);
    bench_entry(&bench, driver, &broken.head); /* said before the news had come */
    give_back(driver, number);
    CHECK_EQ(bench.closed_count, 0);
    bench_end(&bench, true);
}

TEST(task_lease, attempts_that_were_made_through_leases_count)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench.submit_attempt = 2;
    struct spec_draft draft = { .function = "f", .returns = 1, .max_retries = 2 };
    struct task_id id = bench_submit(&bench, driver, 0, &draft);
    bench.submit_attempt = 0;
    bench_workers_come(&bench);
    struct bench_task task = bench_take(&bench);
    CHECK_EQ(task.task.attempt, 2);
    bench_gone(&bench, task.client, 9);
    const struct agent_entry *entry = bench_find(&bench, result_id(id, 0));
    CHECK(entry != NULL && entry->object.format == TABLE_ERROR);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(id, 0));
    bench_end(&bench, true);
}

TEST(task_lease, a_driver_that_goes_takes_its_leases_and_workers_along)
{
    bench_start(&bench, ROOST_MIB(1), 2);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    struct core_client worker = worker_of(driver);
    ask(driver);
    bench_gone(&bench, driver, 0);
    CHECK(bench.killed_count >= 1);
    bench_gone(&bench, worker, 9);
    CHECK_EQ(cpus_free(), 200);
    CHECK_EQ(agent_counts(bench.agent).leases, 0);
    bench_end(&bench, true);
}

TEST(task_lease, a_stored_result_is_nobodys_until_it_is_adopted)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    struct task_id task = { 5, 6 };
    run(worker_of(driver), 1, task);
    result(worker_of(driver), 1, task, 0, 100);
    result(worker_of(driver), 1, task, 1, 100);
    run_end(worker_of(driver), 1, 0);
    CHECK(bench_find(&bench, result_id(task, 0)) == NULL);
    adopt(driver, number, 1, task, 0, true);
    adopt(driver, number, 1, task, 1, false);
    CHECK(bench_find(&bench, result_id(task, 0)) != NULL);
    CHECK(bench_find(&bench, result_id(task, 1)) == NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(task, 0));
    bench_end(&bench, true);
}

TEST(task_lease, a_result_may_be_adopted_and_the_lease_be_given_back_before_the_workers_words_are_read)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    struct task_id task = { 5, 6 };
    struct object_id ids[] = { result_id(task, 0) };
    adopt(driver, number, 1, task, 0, true);
    adopt(driver, number, 1, task, 1, false);
    give_back(driver, number);
    bench_wait(&bench, driver, 0, 0, 1, ids, 1);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_READY), 0);
    run(worker_of(driver), 1, task);
    result(worker_of(driver), 1, task, 0, 100);
    result(worker_of(driver), 1, task, 1, 100);
    run_end(worker_of(driver), 1, 0);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->ready[0] == 1);
    bench_drain(&bench);
    CHECK_EQ(agent_counts(bench.agent).leases, 0);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(task, 0));
    bench_end(&bench, true);
}

TEST(task_lease, what_a_failed_or_dead_attempt_had_stored_is_dropped)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    struct task_id task = { 5, 6 };
    run(worker_of(driver), 1, task);
    result(worker_of(driver), 1, task, 0, 100);
    run_end(worker_of(driver), 1, ROOST_EFAILED);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 0);
    run(worker_of(driver), 2, task);
    result(worker_of(driver), 2, task, 0, 100);
    bench_gone(&bench, worker_of(driver), 9);
    give_back(driver, number);
    bench_end(&bench, true);
}

TEST(task_lease, a_leased_task_puts_calls_and_waits_under_its_own_scope_and_gives_its_cpu_back_meanwhile)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    uint64_t number = lease(driver);
    struct core_client worker = worker_of(driver);
    struct task_id task = { 5, 6 };
    uint64_t scope = WIRE_RUN_OWN | 1;
    run(worker, 1, task);
    struct spec_draft draft = { .function = "child", .returns = 1, .parent = task };
    struct task_id child = bench_submit(&bench, worker, scope, &draft);
    CHECK_EQ(bench.closed_count, 0);
    struct object_id ids[] = { result_id(child, 0) };
    bench_wait(&bench, worker, scope, WIRE_WAIT_BLOCKS, 1, ids, 1);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_BLOCKED);
    bench_workers_come(&bench);
    struct bench_task taken = bench_take(&bench); /* on the CPU of the one that waits */
    CHECK_EQ(cpus_free(), 0);
    bench_complete(&bench, &taken, 0, "");
    CHECK_EQ(bench_said_count(&bench, worker, WIRE_READY), 1);
    CHECK_EQ(news_of(driver, number), WIRE_LEASE_UNBLOCKED);
    CHECK_EQ(cpus_free(), 0);
    run_end(worker, 1, 0);
    bench_end(&bench, true); /* what it held went with its scope */
}

/* The spec of a call, as it goes out with an escape: the draft, of a call with one result. */
static struct task_id escape_draft(struct core_client client, uint64_t scope, struct spec_draft draft)
{
    struct {
        struct wire_escape head;
        unsigned char spec[WIRE_TASK_INLINE_BYTES];
    } entry;
    _Alignas(8) unsigned char spec[WIRE_TASK_INLINE_BYTES];
    draft.job = bench.job;
    draft.cpus_hundredths = 100;
    draft.returns = 1;
    draft.max_retries = 3;
    size_t bytes;
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    CHECK(bytes <= sizeof spec);
    memset(&entry, 0, sizeof entry);
    spec_write(&draft, spec, bytes);
    memcpy(entry.head.spec, spec, bytes);
    size_t size = (offsetof(struct wire_escape, spec) + bytes + 7) / 8 * 8;
    entry.head.head = (struct wire_entry){ WIRE_ESCAPE, (uint32_t)size, 0 };
    entry.head.scope = scope;
    entry.head.spec_bytes = (uint32_t)bytes;
    bench_entry(&bench, client, &entry.head.head);
    return ((const struct spec *)(const void *)spec)->task;
}

/* Of the driver's next call. */
static struct task_id escape(struct core_client client)
{
    struct task_id parent = task_id_from(job_id_key(bench.job));
    return escape_draft(client, 0, (struct spec_draft){ .function = "f", .parent = parent, .call = ++bench.next_call });
}

static void settle_bytes(struct core_client client, struct task_id task, uint32_t format, uint32_t bytes)
{
    struct {
        struct wire_settle head;
        unsigned char bytes[sizeof(struct wire_failure)];
    } entry = { .head = { .task = task, .format = format } };
    struct wire_failure failure = { .status = ROOST_EFAILED };
    entry.head.bytes_count = bytes;
    memcpy(entry.head.bytes, &failure, entry.head.bytes_count);
    size_t size = (offsetof(struct wire_settle, bytes) + entry.head.bytes_count + 7) / 8 * 8;
    entry.head.head = (struct wire_entry){ WIRE_SETTLE, (uint32_t)size, 0 };
    bench_entry(&bench, client, &entry.head.head);
}

static void settle(struct core_client client, struct task_id task, uint32_t format)
{
    settle_bytes(client, task, format, format == TABLE_ERROR ? sizeof(struct wire_failure) : 8);
}

TEST(task_lease, an_escaped_call_is_waited_for_until_its_holder_says_the_value)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    struct task_id task = escape(driver);
    struct object_id ids[] = { result_id(task, 0) };
    bench_wait(&bench, driver, 0, 0, 1, ids, 1);
    bench_drain(&bench);
    CHECK_EQ(bench_said_count(&bench, driver, WIRE_READY), 0); /* neither unknown nor there */
    settle(driver, task, TABLE_RAW);
    const struct wire_ready *ready = bench_said(&bench, driver, WIRE_READY);
    CHECK(ready != NULL && ready->ready[0] == 1);
    settle(driver, task, TABLE_RAW); /* twice: the first stands */
    CHECK_EQ(bench.closed_count, 0);
    bench_names(&bench, driver, WIRE_FREE, 0, ids[0]);
    bench_end(&bench, true);
}

TEST(task_lease, an_escaped_call_that_the_head_places_here_is_complete_when_its_holder_says_the_value)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_head_comes(&bench);
    lease(driver);
    struct task_id task = escape(driver);
    struct proto_message placed = { .kind = PROTO_TASK, .u.task = { .task = task, .attempt = 2 } };
    bench_message(&bench, (struct core_peer){ 0, 0 }, &placed);
    CHECK(bench_sent(&bench, PROTO_COMPLETE) == NULL);
    settle(driver, task, TABLE_RAW);
    const struct proto_complete *complete = &bench_sent(&bench, PROTO_COMPLETE)->message.u.complete;
    CHECK(task_id_eq(complete->task, task) && complete->attempt == 2);
    CHECK(complete->returns_count == 1 && complete->returns[0].located);
    bench_end(&bench, false);
}

TEST(task_lease, the_value_of_an_escaped_call_that_gave_nothing_takes_no_room)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    struct task_id nothing = escape(driver), something = escape(driver);
    settle_bytes(driver, nothing, TABLE_RAW, 0);
    const struct agent_entry *entry = bench_find(&bench, result_id(nothing, 0));
    CHECK(entry != NULL && entry->status == 0 && entry->object.size == 0);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 0);
    settle_bytes(driver, something, TABLE_RAW, 8);
    CHECK_EQ(agent_counts(bench.agent).bytes_used, STORE_ALIGNMENT);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(nothing, 0));
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(something, 0));
    CHECK_EQ(agent_counts(bench.agent).bytes_used, 0);
    bench_end(&bench, true);
}

TEST(task_lease, a_result_that_was_announced_before_its_call_stays_what_it_is)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct spec_draft draft = { .function = "f",
                                .job = bench.job,
                                .parent = task_id_from(job_id_key(bench.job)),
                                .call = bench.next_call + 1,
                                .cpus_hundredths = 100,
                                .returns = 1,
                                .max_retries = 3 };
    size_t bytes;
    _Alignas(8) unsigned char spec[WIRE_TASK_INLINE_BYTES];
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    spec_write(&draft, spec, bytes);
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                      .object = { .size = 100 },
                                      .task = ((const struct spec *)(const void *)spec)->task };
    announce.object.id = result_id(announce.task, 0);
    CHECK_EQ(bench_room(&bench, driver, 0, WIRE_ROOM_OBJECT, 100, &announce.object.place), 0);
    bench_entry(&bench, driver, &announce.head);
    CHECK(task_id_eq(escape(driver), announce.task));
    CHECK_EQ(bench.closed_count, 0);
    CHECK_EQ(agent_counts(bench.agent).tasks_leased, 0);
    CHECK(bench_find(&bench, announce.object.id) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, announce.object.id);
    bench_end(&bench, true);
}

TEST(task_lease, who_needs_an_escaped_call_that_failed_fails_by_it)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    lease(driver);
    struct task_id task = escape(driver);
    const roost_in arg = roost_in_ref(object_ref(result_id(task, 0)));
    struct spec_draft draft = { .function = "g", .returns = 1, .args = &arg, .args_count = 1 };
    struct task_id user = bench_submit(&bench, driver, 0, &draft);
    settle(driver, task, TABLE_ERROR);
    const struct agent_entry *entry = bench_find(&bench, result_id(user, 0));
    CHECK(entry != NULL && entry->object.format == TABLE_FORWARD);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(user, 0));
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(task, 0));
    bench_end(&bench, true);
}

TEST(task_lease, an_escaped_call_that_no_lease_took_is_done_by_the_agent)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    struct task_id task = escape(driver);
    bench.next_call--; /* the same call once more, the agent's way */
    struct spec_draft draft = { .function = "f", .returns = 1, .max_retries = 3 };
    struct task_id again = bench_submit(&bench, driver, 0, &draft);
    CHECK(task_id_eq(task, again));
    bench_workers_come(&bench);
    struct bench_task taken = bench_take(&bench);
    bench_result(&bench, &taken, 0, 8);
    bench_complete(&bench, &taken, 0, "");
    CHECK(bench_find(&bench, result_id(task, 0)) != NULL);
    bench_names(&bench, driver, WIRE_FREE, 0, result_id(task, 0));
    bench_end(&bench, true);
}

/* A task of the driver's runs in a worker that holds a lease itself; who is the worker, and which is its lease. */
static struct bench_task hold_in_a_task(uint64_t *number_out)
{
    struct core_client driver = bench_driver(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1, .max_retries = 3 });
    bench_workers_come(&bench);
    struct bench_task parent = bench_take(&bench);
    *number_out = lease(parent.client);
    return parent;
}

/* Of the task's first call. */
static struct task_id escape_under(struct core_client client, uint64_t scope, struct task_id parent,
                                   const roost_in *arg)
{
    return escape_draft(client, scope,
                        (struct spec_draft){
                            .function = "child", .parent = parent, .call = 1, .args = arg, .args_count = arg != NULL });
}

TEST(task_lease, a_task_that_held_leases_is_tried_again_only_when_what_it_had_called_is_dead_too)
{
    bench_start(&bench, ROOST_MIB(1), 3);
    uint64_t number;
    struct bench_task parent = hold_in_a_task(&number);
    struct core_client child = worker_of(parent.client);
    bench_gone(&bench, parent.client, 9);
    CHECK_EQ(bench.killed_count, 1);
    bench_workers_come(&bench);
    CHECK_EQ(bench.tasks_count, 0);
    bench_gone(&bench, child, 9);
    bench_workers_come(&bench);
    struct bench_task again = bench_take(&bench);
    CHECK(task_id_eq(again.id, parent.id));
    CHECK_EQ(again.task.attempt, 1);
    CHECK_EQ(agent_counts(bench.agent).leases, 0);
    bench_complete(&bench, &again, 0, "");
    bench_end(&bench, false);
}

TEST(task_lease, what_the_workers_of_a_job_that_has_ended_still_say_starts_nobody_and_the_job_goes_with_them)
{
    bench_start(&bench, ROOST_MIB(1), 3);
    uint64_t number;
    struct bench_task parent = hold_in_a_task(&number);
    struct core_client child = worker_of(parent.client);
    bench_gone(&bench, (struct core_client){ 0, 1 }, 9); /* the driver */
    CHECK_EQ(bench.killed_count, 2);
    escape_under(parent.client, parent.task.run, parent.id, NULL);
    struct spec_draft draft = { .function = "g", .parent = parent.id, .returns = 1, .max_retries = 3 };
    bench_submit(&bench, parent.client, parent.task.run, &draft);
    CHECK_EQ(bench.spawns_count, 0);
    bench_gone(&bench, parent.client, 9);
    bench_gone(&bench, child, 9);
    CHECK_EQ(bench.spawns_count, 0);
    CHECK_EQ(agent_counts(bench.agent).clients, 0);
    CHECK(list_is_empty(&bench.agent->jobs));
    bench_end(&bench, true);
}

/* Two idle workers, each of which holds a lease of the other from tasks that are over. */
static void hold_each_other(struct core_client workers_out[2])
{
    uint64_t number;
    struct bench_task parent = hold_in_a_task(&number);
    workers_out[0] = parent.client;
    workers_out[1] = worker_of(parent.client);
    bench_complete(&bench, &parent, 0, "");
    CHECK(lease(workers_out[1]) != 0);
    CHECK_EQ(worker_of(workers_out[1]).slot, workers_out[0].slot);
    CHECK_EQ(agent_counts(bench.agent).leases, 2);
}

TEST(task_lease, workers_that_hold_each_other_die_like_others)
{
    for (int first = 0; first < 2; first++) {
        bench_start(&bench, ROOST_MIB(1), 2);
        struct core_client workers[2];
        hold_each_other(workers);
        CHECK_EQ(cpus_free(), 0);
        bench_gone(&bench, workers[first], 9);
        CHECK_EQ(bench.killed_count, 1);
        CHECK_EQ(agent_counts(bench.agent).leases, 2); /* what the living one runs may be of the dead one's */
        bench_gone(&bench, workers[1 - first], 9);
        CHECK_EQ(agent_counts(bench.agent).leases, 0);
        CHECK_EQ(cpus_free(), 200);
        bench_end(&bench, false);
    }
}

TEST(task_lease, a_call_that_others_know_of_is_the_agents_when_its_holder_is_dead_and_so_is_what_it_reads)
{
    bench_start(&bench, ROOST_MIB(1), 3);
    uint64_t number;
    struct bench_task parent = hold_in_a_task(&number);
    struct core_client child = worker_of(parent.client);
    struct object_id read = bench_put(&bench, parent.client, 100, NULL, 0);
    const roost_in arg = roost_in_ref(object_ref(read));
    struct task_id task = escape_under(parent.client, parent.task.run, parent.id, &arg);
    bench_gone(&bench, parent.client, 9); /* with its scope; the call still needs what it read */
    bench_gone(&bench, child, 9);
    bench_workers_come(&bench);
    bench_workers_come(&bench);
    struct bench_task taken[2] = { bench_take(&bench), bench_take(&bench) };
    CHECK(task_id_eq(taken[0].id, task) || task_id_eq(taken[1].id, task));
    CHECK(bench_find(&bench, read) != NULL);
    for (int i = 0; i < 2; i++) {
        bench_complete(&bench, &taken[i], 0, "");
    }
    CHECK(bench_find(&bench, read) == NULL);
    bench_end(&bench, false);
}

TEST(task_lease, a_wait_for_own_calls_gives_the_cpu_back_until_it_is_ended)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client driver = bench_driver(&bench);
    bench_submit(&bench, driver, 0, &(struct spec_draft){ .function = "f", .returns = 1 });
    bench_workers_come(&bench);
    struct bench_task parent = bench_take(&bench);
    CHECK_EQ(cpus_free(), 0);
    struct wire_wait wait = { .head = { WIRE_WAIT, sizeof wait, 70 },
                              .scope = parent.task.run,
                              .wanted = 1,
                              .flags = WIRE_WAIT_BLOCKS | WIRE_WAIT_OWN };
    bench_entry(&bench, parent.client, &wait.head);
    CHECK_EQ(cpus_free(), 100);
    struct wire_ask end = { .head = { WIRE_UNWAIT, sizeof end, 70 } };
    bench_entry(&bench, parent.client, &end.head);
    CHECK_EQ(cpus_free(), 0);
    CHECK_EQ(bench_said_count(&bench, parent.client, WIRE_READY), 1);
    bench_complete(&bench, &parent, 0, "");
    bench_end(&bench, false);
}

TEST(task_lease, when_every_worker_is_blocked_and_a_lease_lacks_one_the_newest_wait_for_own_calls_fails)
{
    bench_start(&bench, ROOST_MIB(1), 1);
    struct core_client client = bench_driver(&bench);
    for (uint32_t depth = 1; depth <= 4; depth++) { /* workers_max of one CPU here */
        lease(client);
        client = worker_of(client);
        run(client, depth, (struct task_id){ 7, depth });
        struct wire_wait wait = { .head = { WIRE_WAIT, sizeof wait, 100 + depth },
                                  .scope = WIRE_RUN_OWN | depth,
                                  .flags = WIRE_WAIT_BLOCKS | WIRE_WAIT_OWN,
                                  .wanted = 1 };
        bench_entry(&bench, client, &wait.head);
        CHECK_EQ(bench_said_count(&bench, client, WIRE_READY), 0);
    }
    ask(client); /* of a fifth */
    const struct wire_ready *ready = bench_said(&bench, client, WIRE_READY);
    CHECK(ready != NULL && ready->head.token == 104);
    bench_end(&bench, false);
}

TEST(task_lease, a_stored_result_that_others_wait_for_is_theirs_although_its_scope_has_ended)
{
    bench_start(&bench, ROOST_MIB(1), 3);
    uint64_t number;
    struct bench_task parent = hold_in_a_task(&number);
    struct core_client child = worker_of(parent.client);
    struct task_id task = escape_under(parent.client, parent.task.run, parent.id, NULL);
    struct object_id ids[] = { result_id(task, 0) };
    struct core_client other = bench_driver(&bench);
    bench_wait(&bench, other, 0, 0, 1, ids, 1);
    bench_complete(&bench, &parent, 0, "");
    run(child, 1, task);
    result(child, 1, task, 0, 100);
    run_end(child, 1, 0);
    struct wire_adopt entry = { .head = { WIRE_ADOPT, sizeof entry, 0 },
                                .scope = parent.task.run,
                                .lease = number,
                                .run = WIRE_RUN_OWN | 1,
                                .task = task,
                                .is_wanted = 1 };
    bench_entry(&bench, parent.client, &entry.head);
    const struct wire_ready *ready = bench_said(&bench, other, WIRE_READY);
    CHECK(ready != NULL && ready->ready[0] == 1);
    bench_end(&bench, false);
}
