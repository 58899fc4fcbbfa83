/* lease_page.c - what a worker says that it runs */
#include "objectstore/lease_page.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static struct lease_page_head *make_page(void)
{
    size_t bytes = lease_page_layout().bytes;
    void *memory = aligned_alloc(4096, bytes);
    memset(memory, 0, bytes);
    lease_page_format(memory);
    return memory;
}

TEST(lease_page, what_runs_is_told_until_it_ends)
{
    struct lease_page_head *page = make_page();
    struct lease_run run;
    const struct lease_run first = { .ticket = 200, .task = { 1, 2 }, .since_ns = 5, .attempt = 3 };
    const struct lease_run second = { .ticket = 201, .task = { 1, 4 }, .since_ns = 9 };
    CHECK(!lease_page_run(page, &run));
    lease_page_begin(page, &first, "f");
    CHECK(lease_page_run(page, &run));
    CHECK_EQ(run.ticket, 200);
    CHECK(task_id_eq(run.task, first.task));
    CHECK_EQ(run.since_ns, 5);
    CHECK_EQ(run.attempt, 3);
    CHECK_TEXT(run.function, "f");
    lease_page_begin(page, &second, "g");
    CHECK(lease_page_run(page, &run));
    CHECK(task_id_eq(run.task, second.task));
    CHECK_EQ(run.attempt, 0);
    CHECK_TEXT(run.function, "g");
    lease_page_end(page);
    CHECK(!lease_page_run(page, &run));
    CHECK_TEXT(page->function, "g"); /* of lines that come late */
    free(page);
}

TEST(lease_page, a_name_that_does_not_end_is_ended)
{
    struct lease_page_head *page = make_page();
    struct lease_run run;
    lease_page_begin(page, &(struct lease_run){ .ticket = 200 }, "f");
    memset(page->function, 'x', sizeof page->function);
    CHECK(lease_page_run(page, &run));
    CHECK_EQ(strlen(run.function), ROOST_NAME_BYTES_MAX);
    free(page);
}
