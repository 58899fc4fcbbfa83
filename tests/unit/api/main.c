/* roost_main() between a roost_open() and a roost_close() of this file's own. */
#include "common/error.h"
#include "tests/lib/test.h"

#include <string.h>

static int open_status, opened, closed, driven;
static struct roost *const handle = (struct roost *)(void *)&opened;

int roost_open(struct roost **rt_out, const struct roost_options *options)
{
    CHECK(options == NULL);
    opened++;
    if (open_status != 0) {
        return error_set(open_status, "no agent at 127.0.0.1:1");
    }
    *rt_out = handle;
    return 0;
}

void roost_close(struct roost *rt)
{
    CHECK(rt == handle);
    CHECK_EQ(driven, 1);
    closed++;
}

static int driver(struct roost *rt, int argc, char **argv)
{
    CHECK(rt == handle);
    CHECK_EQ(argc, 2);
    CHECK_TEXT(argv[1], "x");
    CHECK_EQ(closed, 0);
    driven++;
    return 7;
}

static char *arguments[] = { "program", "x", NULL };

TEST(main, it_opens_drives_closes_and_gives_the_driver_s_status)
{
    CHECK_EQ(roost_main(2, arguments, driver), 7);
    CHECK_EQ(opened, 1);
    CHECK_EQ(closed, 1);
}

TEST(main, a_failure_to_open_is_1_and_nothing_is_driven_or_closed)
{
    open_status = ROOST_ECONNECT;
    CHECK_EQ(roost_main(2, arguments, driver), 1);
    CHECK_EQ(driven + closed, 0);
    CHECK_TEXT(roost_last_error(), "no agent at 127.0.0.1:1");
}

TEST(main, without_a_driver_nothing_is_opened)
{
    CHECK_EQ(roost_main(2, arguments, NULL), 1);
    CHECK_EQ(opened, 0);
}
