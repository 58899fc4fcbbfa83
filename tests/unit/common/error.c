#include "common/error.h"
#include "common/id.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

TEST(error, the_line_names_the_failure_and_the_code_passes_through)
{
    CHECK_EQ(error_set(ROOST_ETOOBIG, "%d bytes", 12), ROOST_ETOOBIG);
    CHECK_TEXT(error_text(), "12 bytes");
    CHECK_EQ(error_prefix(ROOST_ETOOBIG, "put"), ROOST_ETOOBIG);
    CHECK_TEXT(error_text(), "put: 12 bytes");
}

TEST(error, errno_becomes_eio_with_the_system_s_words)
{
    errno = ENOENT;
    CHECK_EQ(error_from_errno("open %s", "x"), ROOST_EIO);
    CHECK_TEXT(error_text(), "open x: No such file or directory");
    errno = ENOMEM;
    CHECK_EQ(error_from_errno("mmap"), ROOST_ENOMEM);
}

TEST(error, every_code_has_a_name_and_a_text)
{
    CHECK_TEXT(error_code_name(ROOST_EFULL), "EFULL");
    CHECK_TEXT(error_name(ROOST_EFULL), "no room in the object store");
    CHECK_TEXT(error_name(-12345), "unknown status");
}

TEST(id, text_and_back_is_the_same_id)
{
    char text[ID_TEXT_BYTES];
    struct id_key id = id_random(), back = { 0, 0 };
    CHECK_EQ(id_parse(id_print(id, text), &back), 0);
    CHECK(id_key_eq(id, back));
}

TEST(id, what_is_no_id_is_refused_and_leaves_the_output)
{
    static const char *const wrong[] = { "", "12", "0123456789abcdef0123456789abcdeg",
                                         "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcdef0" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct id_key id = { 1, 2 };
        CHECK_EQ(id_parse(wrong[i], &id), ROOST_EINVAL);
        CHECK(id.hi == 1 && id.lo == 2);
    }
}
